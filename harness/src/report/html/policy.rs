//! What the page may do: nothing but what is written in it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

/// The Content Security Policy of a page with these style sheet and script: they are named by what they hold, so that
/// nothing else styles the page, runs in it or leaves it, whatever text got into it
/// (Content Security Policy Level 3, 2.3.1 *Source Lists*).
pub(super) fn policy(style: &str, script: &str) -> String {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        source(style),
        source(script)
    )
}

fn source(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_it_lets_through_by_its_hash() {
        // As `printf '' | openssl dgst -sha256 -binary | base64` prints it.
        let empty = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(
            policy("", ""),
            format!(
                "default-src 'none'; style-src '{empty}'; script-src '{empty}'; base-uri 'none'; form-action 'none'"
            )
        );
    }
}
