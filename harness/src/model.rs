//! The executable model of Service networking: what must happen, derived from the [`State`](crate::state::State) alone.
//!
//! Everything below is pure: no I/O, no async, no look at what a probe saw.

pub mod balance;
mod deliver;
pub mod dns;
mod endpoints;
pub mod expect;
pub mod flow;
pub mod method;
pub mod reason;
mod route;
mod source;
mod target;
pub mod vantage;
pub(crate) mod why;

pub use balance::{Answering, Balance, Law, balance};
pub use endpoints::Selection;
pub use expect::expect;
pub use method::{Method, NameForm, ServiceRef, Target, Way};
pub use reason::{Expectation, Fact, Reason};
pub use source::{Interface, Seen, Source, SourceReason};
pub use vantage::{Vantage, VantageKind};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
