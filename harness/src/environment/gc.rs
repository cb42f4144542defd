//! Removes what no live run owns, by what was recorded.
