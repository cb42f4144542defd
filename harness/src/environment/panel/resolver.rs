//! The resolvers of the panel, and how each is asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::{Asker, End, Recorded};

/// A resolver, in a program that people use it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PanelResolver {
    /// glibc's `getaddrinfo(3)`, by `getent ahosts NAME` (`getent(1)`).
    Glibc,
    /// musl's `getaddrinfo(3)`, without flags and hints other than a stream socket.
    Musl,
    /// Go's own resolver, `net.DefaultResolver.LookupHost`.
    Go,
    /// hickory-resolver, `Resolver::builder_tokio()` and `lookup_ip`.
    Hickory,
    /// BIND's `nslookup NAME`.
    Nslookup,
    /// BIND's `dig NAME`: no search path, and A alone.
    Dig,
}

impl PanelResolver {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Glibc, Self::Musl, Self::Go, Self::Hickory, Self::Nslookup, Self::Dig];

    /// What it is called, such as `glibc`.
    ///
    /// ```
    /// use reachmap::environment::panel::PanelResolver;
    /// assert_eq!(PanelResolver::Nslookup.id(), "nslookup");
    /// ```
    pub const fn id(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Go => "go",
            Self::Hickory => "hickory",
            Self::Nslookup => "nslookup",
            Self::Dig => "dig",
        }
    }

    /// The program of the image that it needs; the others are brought along.
    const fn of_the_image(self) -> Option<&'static str> {
        match self {
            Self::Glibc => Some("getent"),
            Self::Nslookup => Some("nslookup"),
            Self::Dig => Some("dig"),
            Self::Musl | Self::Go | Self::Hickory => None,
        }
    }

    /// Whether it is a program that has its socket open as long as it waits for an answer, and repeats a question from
    /// the same socket (`__res_msend_rc` in `src/network/res_msend.c` of musl).
    pub(super) const fn keeps_socket(self) -> bool {
        matches!(self, Self::Musl)
    }

    /// How it is asked for `name`, where the programs that were brought along are `musl` and `go`.
    pub(super) fn asker(self, name: &str, musl: &str, go: &str) -> Asker {
        let program = |words: &[&str]| Asker::Program { argv: words.iter().copied().map(str::to_owned).collect() };
        match self {
            Self::Glibc => program(&["getent", "ahosts", name]),
            Self::Musl => program(&[musl, name]),
            Self::Go => program(&[go, name]),
            Self::Hickory => Asker::Hickory { name: name.to_owned() },
            Self::Nslookup => program(&["nslookup", name]),
            Self::Dig => program(&["dig", name]),
        }
    }

    /// Why `recorded` shows that this resolver is not supported here, if it does: the image lacks its program.
    ///
    /// ```
    /// use reachmap::{environment::panel::PanelResolver, wire::{End, Recorded}};
    /// let recorded = Recorded { questions: Vec::new(), unreadable: 0, strays: 0, end: End::NoSuchProgram, elapsed_us: 90 };
    /// let why = PanelResolver::Dig.missing(&recorded);
    /// assert_eq!(why.as_deref(), Some("the pod's image has no dig"));
    /// ```
    pub fn missing(self, recorded: &Recorded) -> Option<String> {
        (recorded.end == End::NoSuchProgram).then(|| match self.of_the_image() {
            Some(program) => format!("the pod's image has no {program}"),
            None => format!("the program that was brought along for {self} cannot be run in the pod's image"),
        })
    }
}

impl fmt::Display for PanelResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
