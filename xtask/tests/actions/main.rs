//! The GitHub workflows and the action: their scripts are run here, by bash as GitHub runs it, with its files faked.
//!
//! A script gets what GitHub would give it: variables from evaluated expressions, a workspace, `GITHUB_OUTPUT`. `cargo` and
//! `rustup` are small programs that write down how they were called. What would start a cluster or install something ends
//! there; what can be done here is handed to the real program.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that calls them")]

mod action;
mod hardened;
mod linted;
mod script;
mod workflows;
