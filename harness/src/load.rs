//! Load: many requests from one vantage or several, and what became of each.
//!
//! A [`Plan`](generator::Plan) says what to send, and is refused if it makes no sense; [`generator::allow`] refuses a
//! target that is not the cluster's own. [`Agent::load`](crate::probe::Agent::load) carries a load out, and its
//! [`LoadResult`]s are merged; [`summary`] prints them as people know it from hey.

pub mod bench;
pub mod generator;
mod result;
pub mod summary;

pub use result::{Kept, LoadResult, Part, Results};
