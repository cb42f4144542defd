//! What the tutorial says, beside what was seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that the tutorial says, and what a test saw of it in this cluster. It is there only if the test passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beside {
    /// The suite and the stage in which it was seen: `dns/corefile-name`.
    pub place: String,
    /// A short name, one of a kind in its place.
    pub id: String,
    /// The tutorial's own words.
    pub says: String,
    /// Whether they hold.
    pub holds: Holds,
    /// What was seen, in a sentence or two.
    pub seen: String,
}

/// Whether what the tutorial says holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It does.
    Yes,
    /// Not for everybody, or not for the reason that is given.
    InPart,
    /// It does not.
    No,
}

impl Holds {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Yes => "✓ holds",
            Self::InPart => "~ in part",
            Self::No => "! does not hold",
        }
    }
}
