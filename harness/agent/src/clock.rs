//! The clock that agents on one machine share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::probe::micros;

/// The time since 1970.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in microseconds.
pub(crate) fn now_us() -> u64 {
    micros(since_1970())
}
