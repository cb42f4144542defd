//! What a run leaves behind: [`Run`], and that same run as terminal text, Markdown, JSON, `JUnit` and HTML.
//!
//! Reports that are there already can be [`read`](read()) again, [`compare`](compare())d, and [`merge`](merge())d.
//!
//! Every renderer is a pure function of the [`Run`]; [`write`](write()) puts them all into the run's directory.
//! Text that came over the network (bodies, headers, DNS names, error messages) is never trusted: it is cut,
//! its control characters are made visible, and each renderer escapes it for its own format.

mod beside;
mod changes;
mod compare;
mod conformance;
pub mod dns;
mod explain;
pub mod github;
mod grid;
mod html;
mod json;
mod junit;
mod ledger;
mod loads;
mod lookups;
mod markdown;
mod merge;
mod other_tests;
pub mod plan;
pub mod plot;
mod read;
mod run;
#[cfg(test)]
mod sample;
mod screenshots;
pub mod terminal;
#[cfg(test)]
mod tests;
pub(crate) mod words;
mod write;

pub use beside::{Beside, Holds};
pub use changes::{ArpMove, ArpRecord, ChangeRecord};
pub(crate) use compare::essence;
pub use compare::{Comparison, Difference, Format, Said, Subject, compare, compare_files, said};
pub use conformance::{
    API_VERSION, ConformanceResult, Ground, Implementation, Profile, Reproduce, Statement, Statistics, conformance,
    conformance_schema, statement,
};
pub use explain::explain;
pub use html::html;
pub use json::{json, schema};
pub use junit::junit;
pub use ledger::{History, Ledger, Outcome, Repetition};
pub use loads::{
    Broken, Conserved, ErrorCount, ExpectedSpread, Latency, LatencyBucket, LoadOutcome, LoadRecord, PodLoad,
    explain_load,
};
pub use lookups::{CorefileEdit, Cost, LookupGroup, Mismatch, ReplicaTime, Timeline};
pub use markdown::markdown;
pub use merge::merge;
pub use other_tests::OtherTest;
pub use read::read;
pub use run::{Counts, Environment, FailedTest, Failure, Retry, Row, Run, StageRecord, VERSION};
pub use screenshots::{Picture, screenshots};
pub(crate) use terminal::other_failures;
pub use terminal::terminal;
pub(crate) use write::write_beside;
pub use write::{Paths, write, write_files};
