//! One error type for the whole library: what was tried, why it failed, what to do.

use std::fmt;

mod code;

pub use code::ErrorCode;

/// What kind of thing went wrong: decides the exit code, and is what callers match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The options or a file of the user's are wrong.
    Usage,
    /// A program, a kernel feature or a permission that the run needs is missing.
    Missing,
    /// The engine, the images, the cluster or an add-on could not be made ready.
    Environment,
    /// Something did not happen before its deadline.
    Deadline,
    /// Another run holds what this one needs.
    Busy,
    /// The disk is full or a file could not be read or written.
    Storage,
    /// The run was interrupted by a signal.
    Interrupted,
    /// A defect in Reachmap itself.
    Internal,
}

impl ErrorKind {
    /// The process exit code for this kind of error.
    ///
    /// 0 is "all as expected" and 1 "a cell is not as expected"; neither is an error.
    ///
    /// ```
    /// assert_eq!(reachmap::ErrorKind::Usage.exit_code(), 2);
    /// assert_eq!(reachmap::ErrorKind::Environment.exit_code(), 3);
    /// ```
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Missing | Self::Environment | Self::Deadline | Self::Busy | Self::Storage => 3,
            Self::Internal => 4,
            Self::Interrupted => 130,
        }
    }
}

/// An error that names what was tried and what the user can do about it.
///
/// It displays as `failed to {tried}: {cause}`, and [`Error::hint`] is a full sentence.
///
/// ```
/// use reachmap::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Missing, "find mmdebstrap", "no such program in PATH")
///     .hint("Install it with `apt-get install mmdebstrap`.");
/// assert_eq!(error.to_string(), "failed to find mmdebstrap: no such program in PATH");
/// assert_eq!(error.kind(), ErrorKind::Missing);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: Option<ErrorCode>,
    tried: String,
    cause: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`: `tried` is a lowercase fragment that completes "failed to …".
    pub fn new(kind: ErrorKind, tried: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            code: None,
            tried: tried.into(),
            cause: cause.to_string(),
            hint: None,
            source: None,
        }))
    }

    /// The same, keeping `source` for callers that walk the chain.
    pub fn from_source(
        kind: ErrorKind,
        tried: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let mut cause = source.to_string();
        let mut next = source.source();
        while let Some(error) = next {
            let text = error.to_string();
            if !cause.contains(&text) {
                cause = format!("{cause}: {text}");
            }
            next = error.source();
        }
        let mut error = Self::new(kind, tried, cause);
        error.0.source = Some(Box::new(source));
        error
    }

    /// Adds what the user can do, as full sentences.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says under which name the documentation has it; without that, it is that of the kind.
    #[must_use]
    pub(crate) fn with_code(mut self, code: ErrorCode) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Adds to what the user can do, or has to know.
    pub(crate) fn also(mut self, more: impl AsRef<str>) -> Self {
        self.0.hint =
            Some(self.0.hint.map_or_else(|| more.as_ref().to_owned(), |hint| format!("{hint} {}", more.as_ref())));
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name under which the documentation has what to do about it.
    ///
    /// ```
    /// use reachmap::{Error, ErrorCode, ErrorKind};
    /// let error = Error::new(ErrorKind::Usage, "read the options", "there are none");
    /// assert_eq!(error.code(), ErrorCode::Usage);
    /// ```
    pub fn code(&self) -> ErrorCode {
        self.0.code.unwrap_or_else(|| ErrorCode::of(self.0.kind))
    }

    /// What was tried, as a fragment that completes "failed to …".
    pub fn tried(&self) -> &str {
        &self.0.tried
    }

    /// What the user can do about it, if anything is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}: {}", self.0.tried, self.0.cause)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tests print errors through Debug: make that as readable as Display.
        write!(f, "{self} [{:?}]", self.0.kind)?;
        match &self.0.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Turns a foreign error into an [`Error`] by saying what was tried.
///
/// ```
/// use reachmap::{Context as _, ErrorKind};
/// let error = std::fs::read("/nowhere").tried(ErrorKind::Storage, || "read /nowhere").unwrap_err();
/// assert!(error.to_string().starts_with("failed to read /nowhere: "));
/// ```
pub trait Context<T> {
    /// Says what was tried; `tried` completes "failed to …".
    fn tried<S: Into<String>>(self, kind: ErrorKind, tried: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn tried<S: Into<String>>(self, kind: ErrorKind, tried: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::from_source(kind, tried(), error))
    }
}
