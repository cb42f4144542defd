//! The executable model of Service networking: what must happen, derived from the [`State`](crate::state::State) alone.
//!
//! Everything below is pure: no I/O, no async, no look at what a probe saw.

pub mod dns;
pub mod expect;
pub mod method;
pub mod reason;
pub mod vantage;

pub use expect::expect;
pub use method::{Method, NameForm, ServiceRef, Target, Way};
pub use reason::{Expectation, Fact, Reason};
pub use vantage::{Vantage, VantageKind};
