//! How each resolver is asked in a pod of the panel: in the program that people type, or in one that calls the library.

use crate::{
    model::dns::Resolver,
    wire::{Asker, End, Recorded},
};

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

/// Where the programs that were brought along are in a pod.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) glibc: String,
    pub(super) musl: String,
    pub(super) go: String,
}

impl Programs {
    /// How `resolver` is asked for `name`.
    pub(super) fn asker(&self, resolver: Resolver, name: &str) -> Asker {
        let program = |words: &[&str]| Asker::Program { argv: words.iter().copied().map(str::to_owned).collect() };
        match resolver {
            Resolver::Glibc => program(&[&self.glibc, name]),
            Resolver::Musl => program(&[&self.musl, name]),
            Resolver::Go => program(&[&self.go, name]),
            Resolver::Hickory => Asker::Hickory { name: name.to_owned() },
            Resolver::Nslookup => program(&["nslookup", name]),
            Resolver::Dig { search: false } => program(&["dig", name]),
            Resolver::Dig { search: true } => program(&["dig", "+search", name]),
        }
    }
}

/// Why `recorded` shows that this resolver is not supported here, if it does: the image lacks its program.
///
/// ```
/// use reachmap::{environment::panel::missing, model::dns::Resolver, wire::{End, Recorded}};
/// let recorded = Recorded { questions: Vec::new(), unreadable: 0, strays: 0, end: End::NoSuchProgram, elapsed_us: 90, starved_us: 0 };
/// let why = missing(Resolver::Nslookup, &recorded);
/// assert_eq!(why.as_deref(), Some("the pod's image has no nslookup"));
/// ```
pub fn missing(resolver: Resolver, recorded: &Recorded) -> Option<String> {
    (recorded.end == End::NoSuchProgram).then(|| match of_the_image(resolver) {
        Some(program) => format!("the pod's image has no {program}"),
        None => format!("the program that was brought along for {resolver} cannot be run in the pod's image"),
    })
}
