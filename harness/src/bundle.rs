//! What a failed run leaves behind for whoever was not there: one file, [`FILE`], in the run's directory.
//!
//! It has the run's `report.json`, the typed [`State`](crate::state::State) that each expectation was derived from, and
//! what the cluster itself said while it was in that state: rules, connections, routes, neighbours, Corefile, Services,
//! endpoints, events, logs. [`explain`](explain()) derives the expectations again from the recorded state, without any
//! cluster.
//!
//! - Collecting never fails a run: what could not be had is listed in the [`Manifest`], with the reason.
//! - It is bounded: in time by [`TIME_LIMIT`], in size by [`FILE_LIMIT`] and [`SIZE_LIMIT`], and in number by
//!   [`MOST_COLLECTIONS`].
//! - Secrets are left out twice: nothing is listed that holds any, and a [`Scrubber`] goes over every file that is
//!   written.

mod bearing;
mod collect;
mod contents;
mod explain;
mod half_made;
mod keep;
mod manifest;
mod pack;
mod read;
mod rules;
mod scrub;
mod show;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use bearing::Bearing;
pub(crate) use collect::{Ground, NodeAccess, collect};
pub use contents::{Contents, File};
pub use explain::{Again, Explained, Explanation, explain};
pub(crate) use half_made::{FACTS, HalfMade};
pub use keep::{Keep, worth_keeping};
pub use manifest::{Manifest, Missing, Part, VERSION};
pub use pack::{of_run, pack, write};
pub use read::{Bundle, RecordedState, read};
pub use scrub::Scrubber;
pub use show::{list, show};

/// The bundle's name in a run's directory.
pub const FILE: &str = "bundle.tar.gz";

/// How long one collection may take: what is not there by then is listed as missing.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The most bytes of one file: of logs the end is kept, of everything else the beginning.
pub const FILE_LIMIT: usize = 1 << 20;

/// The most bytes of all files together, before they are compressed. The report and the states come first.
pub const SIZE_LIMIT: usize = 48 << 20;

/// In how many suites and stages a run collects what the cluster says: the first ones in which something fails.
pub const MOST_COLLECTIONS: usize = 6;
