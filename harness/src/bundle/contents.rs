//! What has been gathered for a bundle, before it is scrubbed and packed.

use serde::{Deserialize, Serialize};

use super::{FILE_LIMIT, Missing};

/// The files of a bundle, and what could not be had of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    /// The files, in the order in which they are packed while there is room.
    pub files: Vec<File>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

/// A file that goes into a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the archive.
    pub path: String,
    /// What it is, in a few words.
    pub about: String,
    /// What is in it: in the index of files that are kept beside it, it is left out.
    #[serde(skip)]
    pub text: String,
    /// What was left out of it; none if it is whole.
    pub cut: Option<String>,
}

/// Which part of a text is kept if it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The beginning.
    Head,
    /// The end, as of a log.
    Tail,
}

impl Contents {
    /// Adds a file as it is.
    pub fn add(&mut self, path: impl Into<String>, about: impl Into<String>, text: impl Into<String>) {
        self.files.push(File { path: path.into(), about: about.into(), text: text.into(), cut: None });
    }

    /// Says that something could not be had.
    pub fn miss(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.missing.push(Missing { path: path.into(), why: why.into() });
    }

    /// Adds everything of `other`.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.missing.extend(other.missing);
    }
}

impl File {
    /// A file of at most `limit` bytes of `text`, whole lines of it, which never exceed [`FILE_LIMIT`].
    pub(super) fn limited(path: String, about: String, text: String, side: Side, limit: usize) -> Self {
        let limit = limit.min(FILE_LIMIT);
        let all = text.len();
        if all <= limit {
            return Self { path, about, text, cut: None };
        }
        let (text, end) = match side {
            Side::Head => (head(&text, limit).to_owned(), "end"),
            Side::Tail => (tail(&text, limit).to_owned(), "beginning"),
        };
        let cut = Some(format!("{} of {all} bytes, from the {end}", all - text.len()));
        Self { path, about, text, cut }
    }
}

/// As many whole lines from the beginning as fit.
fn head(text: &str, limit: usize) -> &str {
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let start = &text[..end];
    start.rfind('\n').map_or(start, |end| &start[..=end])
}

/// As many whole lines from the end as fit.
fn tail(text: &str, limit: usize) -> &str {
    let start = (text.len() - limit..text.len()).find(|start| text.is_char_boundary(*start));
    let end = &text[start.unwrap_or(text.len())..];
    match end.split_once('\n') {
        Some((_, whole)) if !whole.is_empty() => whole,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(side: Side, limit: usize) -> (String, Option<String>) {
        let file = File::limited("f".to_owned(), "f".to_owned(), "eins\nzwei\ndreißig\n".to_owned(), side, limit);
        (file.text, file.cut)
    }

    #[test]
    fn of_what_is_too_long_whole_lines_are_kept() {
        assert_eq!(limited(Side::Head, 100), ("eins\nzwei\ndreißig\n".to_owned(), None));
        assert_eq!(
            limited(Side::Head, 12),
            ("eins\nzwei\n".to_owned(), Some("9 of 19 bytes, from the end".to_owned()))
        );
        assert_eq!(
            limited(Side::Tail, 12),
            ("dreißig\n".to_owned(), Some("10 of 19 bytes, from the beginning".to_owned()))
        );
        // In the middle of a character.
        assert_eq!(limited(Side::Tail, 4).0, "ig\n");
    }
}
