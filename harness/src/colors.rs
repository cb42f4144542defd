//! Whether colours may be used: one rule for everything that is printed.

use std::{env, ffi::OsStr};

/// Whether colours may be used where `is_terminal` says whether a person looks at it.
///
/// `NO_COLOR`, set to anything, forbids them, whatever else is set (<https://no-color.org>). `CLICOLOR_FORCE`, set to anything
/// but 0, asks for them even where there is no terminal (<https://bixense.com/clicolors>). The help texts go by the same rule.
pub(crate) fn allowed(is_terminal: bool) -> bool {
    decide(env::var_os("NO_COLOR").as_deref(), env::var_os("CLICOLOR_FORCE").as_deref(), is_terminal)
}

fn decide(no_color: Option<&OsStr>, force: Option<&OsStr>, is_terminal: bool) -> bool {
    let forbidden = no_color.is_some_and(|value| !value.is_empty());
    let forced = force.is_some_and(|value| !value.is_empty() && value != "0");
    !forbidden && (forced || is_terminal)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, None, true, true)]
    #[case(None, None, false, false)]
    #[case(Some("1"), None, true, false)]
    #[case(Some(""), None, true, true)]
    #[case(None, Some("1"), false, true)]
    #[case(None, Some("0"), false, false)]
    #[case(None, Some(""), false, false)]
    #[case(Some("0"), Some("1"), true, false)]
    fn what_forbids_outweighs_what_forces(
        #[case] no_color: Option<&str>,
        #[case] force: Option<&str>,
        #[case] is_terminal: bool,
        #[case] expected: bool,
    ) {
        assert_eq!(decide(no_color.map(OsStr::new), force.map(OsStr::new), is_terminal), expected);
    }
}
