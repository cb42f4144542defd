//! The workloads of the tutorial.
