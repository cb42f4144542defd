//! The conformance suites of Reachmap.
