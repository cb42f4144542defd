//! The executable model of Service networking: what must happen, derived from the [`State`](crate::state::State) alone.
//!
//! Everything below is pure: no I/O, no async, no look at what a probe saw.

mod deliver;
pub mod dns;
pub mod expect;
pub mod method;
pub mod reason;
mod route;
mod target;
pub mod vantage;
pub(crate) mod why;

pub use expect::expect;
pub use method::{Method, NameForm, ServiceRef, Target, Way};
pub use reason::{Expectation, Fact, Reason};
pub use vantage::{Vantage, VantageKind};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
