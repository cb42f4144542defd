//! Bad input and machines that lack something: each is refused at once, with what to do, and nothing is left behind.
//!
//! Every test runs the program itself, in a directory of its own, with a `PATH` that has nothing to build with:
//! a refusal that comes too late fails its test instead of building for minutes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that calls them")]

mod clusters;
mod machine;
mod options;
mod place;
mod reports;
