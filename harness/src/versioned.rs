//! Files whose format has a version, read by a program that knows one.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Error, Result};

/// What every version of every format has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads JSON of the version that is `known`. It is called `name`, and is a `what` of ours; what is wrong with it is for
/// `refuse` to make an error of.
///
/// # Errors
/// That of `refuse`.
pub(crate) fn read<T: DeserializeOwned>(
    text: &[u8],
    known: u32,
    (name, what): (&str, &str),
    refuse: impl Fn(String) -> Error,
) -> Result<T> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| refuse(format!("{name} is no JSON: {error}")))?;
    let Ok(Versioned { version }) = Versioned::deserialize(&value) else {
        return Err(refuse(format!("{name} has no version: it is not a {what} of Reachmap's")));
    };
    if version != known {
        return Err(refuse(format!("{name} is of version {version}, and this is for version {known}"))
            .hint("Read it with the Reachmap that wrote it."));
    }
    serde_json::from_value(value).map_err(|error| refuse(format!("{name} is not as its version says: {error}")))
}
