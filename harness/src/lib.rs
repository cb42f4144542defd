//! Reachmap proves, on a real Kubernetes cluster, who can reach a Service, by which way, and why.

pub mod claims;
pub mod cli;
pub mod command;
pub mod doctor;
pub mod environment;
mod error;
pub mod filter;
pub mod home;
pub mod kubernetes;
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

pub use error::{Context, Error, ErrorKind, Result};
pub use k8s_openapi;
pub use kube;
pub use reachmap_wire as wire;
