//! Reachmap proves, on a real Kubernetes cluster, who can reach a Service, by which way, and why.
//!
//! It makes a [kind](https://kind.sigs.k8s.io) cluster (or takes one that is there), sends real requests from every
//! place a person stands in, and holds what each of them met against what an executable model derives from the
//! cluster's state. The right answer for the wrong reason is a failure.
//!
//! Data goes one way:
//!
//! ```text
//! options -> environment (engine, images, cluster, add-ons, workloads)
//!              -> state         a typed snapshot; nothing in it is measured
//!                   -> expectations   pure functions of the state
//!              -> observations  agents at the vantages
//!         expectations x observations -> verdicts -> reports
//! ```
//!
//! The model never looks at observations and the probes never look at expectations: that is what makes a green
//! cell worth something. The model can be asked without any cluster:
//!
//! ```
//! use reachmap::{model::{Method, Vantage, expect}, state::State};
//!
//! # fn main() -> reachmap::Result<()> {
//! let state = State::example();
//! let laptop = Vantage::find(&state, "laptop")?;
//! let expectation = expect(&state, &laptop, &Method::find("pod-ip", 3)?)?;
//! assert!(!expectation.reachable);
//! assert_eq!(expectation.reason.kind(), "no_route_to_pods");
//! # Ok(())
//! # }
//! ```
//!
//! Where to go from here: [`cli::Cli`] is the whole of `cargo xtask` for another repository, [`session::Session`] what a
//! test gets in its hands, [`matrix`] the cells, [`model`] the reasons, [`report`] what a run leaves behind.

mod browser;
pub mod bundle;
pub mod claims;
pub mod cli;
mod colors;
pub mod command;
pub mod docs;
pub mod doctor;
pub mod environment;
mod error;
pub mod filter;
pub mod home;
pub mod kubernetes;
pub mod lint;
pub mod load;
pub mod matrix;
pub mod model;
pub mod plan;
pub mod probe;
pub mod process;
pub mod progress;
pub mod report;
pub mod session;
pub mod state;
#[cfg(test)]
mod testing;
pub mod verdict;
mod versioned;
mod watch;

pub use error::{Context, Error, ErrorCode, ErrorKind, Result};
pub use k8s_openapi;
pub use kube;
pub use reachmap_wire as wire;
