//! DNS as the cluster's pods see it: Corefile, search path, answers.

pub mod corefile;
pub mod search;
