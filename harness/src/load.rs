//! Load, and what its answers prove: which pod answered, how evenly, and whether both ends saw the same.
//!
//! A [`Plan`](generator::Plan) says what to send, and is refused if it makes no sense; [`generator::allow`] refuses a
//! target that is not the cluster's own. [`Agent::load`](crate::probe::Agent::load) carries a load out, and its
//! [`LoadResult`]s are merged; [`summary`] prints them as people know it from hey. All else here is pure: no packet is
//! sent and no file is read.
//!
//! - [`statistics`]: the null model of each proxy mode, tests with a stated alpha, effect and power, and Holm's
//!   correction over the rows of a suite.
//! - [`access_log`] and [`conservation`]: what the servers wrote down, held against what the clients saw, by request id.
//! - [`hey`] and [`recorded`]: what people know from `hey`, read, and what can be concluded from such a run.
//! - [`timeline`]: a load in time, beside what happened to the cluster meanwhile; [`arp`]: who answered for its address.
//! - [`simulate`]: the proof that the statistics keep their word.
//!
//! ```
//! use reachmap::load::statistics::{Finding, Law, Plan, Sample};
//!
//! # fn main() -> reachmap::Result<()> {
//! let law = Law::even(["a", "b", "c"])?;
//! let plan = Plan { effect: 0.3, ..Plan::for_laws([&law]) };
//! let pods = ["a", "c", "c", "b", "a", "a", "b", "c", "b", "b"];
//! let sample = Sample::of_requests((0..200).map(|number: u64| (number, pods[(number * number % 97 % 10) as usize])));
//! for judgement in plan.judge("laptop/loadbalancer-address", &law, &sample)? {
//!     assert_eq!(judgement.verdict, Finding::Consistent, "{judgement}");
//! }
//! # Ok(())
//! # }
//! ```

pub mod access_log;
pub mod arp;
pub mod bench;
pub mod conservation;
pub mod datagrams;
pub mod generator;
pub mod hey;
pub mod recorded;
mod result;
pub mod simulate;
pub mod statistics;
pub mod summary;
pub mod timeline;

pub use result::{Kept, LoadResult, Part, Results};
