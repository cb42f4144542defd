//! What is in a bundle, and what is not: `manifest.json`, its first file.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the bundle's format: raised when a reader of the old one could misread the new one.
pub const VERSION: u32 = 1;

/// What is in a bundle, and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The version of this format: 1.
    pub version: u32,
    /// The version of Reachmap that wrote it.
    pub reachmap: String,
    /// The run's id.
    pub run: String,
    /// When it was written.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub written: Timestamp,
    /// What is in it.
    pub parts: Vec<Part>,
    /// What is not, and why.
    pub missing: Vec<Missing>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Its path in the archive.
    pub path: String,
    /// What it is, in a few words.
    pub about: String,
    /// How many bytes it has.
    pub bytes: usize,
    /// What was left out of it because it was too long; absent if it is whole.
    pub cut: Option<String>,
    /// How many passages were taken for secrets, and replaced.
    pub scrubbed: usize,
}

/// Something that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// The path that it would have had.
    pub path: String,
    /// Why it could not be had.
    pub why: String,
}
