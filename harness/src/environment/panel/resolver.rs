//! How each resolver is asked in a pod of the panel: in the program that people type, or in one that calls the library.

use crate::{model::dns::Resolver, wire::Asker};

/// The program of the image that a resolver needs; the others are brought along.
const fn of_the_image(resolver: Resolver) -> Option<&'static str> {
    match resolver {
        Resolver::Nslookup => Some("nslookup"),
        Resolver::Dig { .. } => Some("dig"),
        Resolver::Glibc | Resolver::Musl | Resolver::Go | Resolver::Hickory => None,
    }
}

/// Whether it is a program that has its socket open as long as it waits for an answer, and repeats a question from
/// the same socket (`__res_msend_rc` in `src/network/res_msend.c` of musl).
pub(super) const fn keeps_socket(resolver: Resolver) -> bool {
    matches!(resolver, Resolver::Musl)
}

/// Where the programs that were brought along are in a pod, or why one was not.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) glibc: Result<String, String>,
    pub(super) musl: Result<String, String>,
    pub(super) go: Result<String, String>,
}

impl Programs {
    /// How `resolver` is asked for `name`; nothing if its program was not brought along.
    pub(super) fn asker(&self, resolver: Resolver, name: &str) -> Option<Asker> {
        let program = |words: &[&str]| Asker::Program { argv: words.iter().copied().map(str::to_owned).collect() };
        Some(match resolver {
            Resolver::Hickory => Asker::Hickory { name: name.to_owned() },
            Resolver::Nslookup => program(&["nslookup", name]),
            Resolver::Dig { search: false } => program(&["dig", name]),
            Resolver::Dig { search: true } => program(&["dig", "+search", name]),
            Resolver::Glibc | Resolver::Musl | Resolver::Go => {
                program(&[self.brought(resolver)?.as_ref().ok()?.as_str(), name])
            }
        })
    }

    /// Why `resolver` cannot be asked, if its program could not be started.
    pub(super) fn missing(&self, resolver: Resolver) -> String {
        match (of_the_image(resolver), self.brought(resolver)) {
            (Some(program), _) => format!("the pod's image has no {program}"),
            (None, Some(Err(why))) => why.clone(),
            (None, _) => format!("the program that was brought along for {resolver} cannot be run in the pod's image"),
        }
    }

    const fn brought(&self, resolver: Resolver) -> Option<&Result<String, String>> {
        match resolver {
            Resolver::Glibc => Some(&self.glibc),
            Resolver::Musl => Some(&self.musl),
            Resolver::Go => Some(&self.go),
            Resolver::Hickory | Resolver::Nslookup | Resolver::Dig { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_whose_program_is_not_there_is_not_asked_and_says_why() {
        let why = "the program with musl's resolver cannot be compiled";
        let here = |name: &str| Ok(format!("/tmp/{name}"));
        let programs = Programs { glibc: here("glibc"), musl: Err(why.to_owned()), go: here("go") };
        for resolver in Resolver::ALL {
            assert_eq!(programs.asker(resolver, "web").is_some(), resolver != Resolver::Musl, "{resolver}");
        }
        assert_eq!(programs.missing(Resolver::Musl), why);
        assert_eq!(programs.missing(Resolver::Nslookup), "the pod's image has no nslookup");
        assert!(programs.missing(Resolver::Glibc).contains("cannot be run in the pod's image"));
    }
}
