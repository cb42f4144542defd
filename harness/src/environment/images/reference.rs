//! References to images, in their parts, and mirrors that hold them under the same names.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind, Result};

/// The registry of names that do not say one.
pub(super) const HUB: &str = "docker.io";

/// A reference to an image: `[registry/]repository[:tag][@digest]`, with what Docker adds to a name that leaves it out
/// (<https://pkg.go.dev/github.com/distribution/reference>).
///
/// ```
/// use reachmap::environment::images::reference::Reference;
/// let reference: Reference = "nginx:1.29".parse().unwrap();
/// assert_eq!(reference.to_string(), "docker.io/library/nginx:1.29");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Such as `quay.io` or `registry.example:5000`.
    pub registry: String,
    /// Such as `library/nginx`.
    pub repository: String,
    /// Such as `1.29`.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |cause: &str| {
            Error::new(ErrorKind::Usage, format!("read the image reference `{text}`"), cause)
                .hint("References look like registry.example/nginx:1.29@sha256:…")
        };
        let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(wrong("what follows the `@` is not `sha256:` and 64 hexadecimal digits"));
        }
        // A colon before the last slash is a port's.
        let after_slash = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[after_slash..].split_once(':') {
            Some((last, tag)) => (&named[..after_slash + last.len()], Some(tag)),
            None => (named, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => (HUB, name.to_owned()),
            None => (HUB, format!("library/{name}")),
        };
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c);
        if name.is_empty() || repository.split('/').any(str::is_empty) || !repository.chars().all(is_part) {
            return Err(wrong("its name is not made of lower-case letters, digits, `-`, `_`, `.` and `/`"));
        }
        let is_tag = |tag: &str| !tag.is_empty() && tag.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("its tag is not made of letters, digits, `-`, `_` and `.`"));
        }
        let [tag, digest] = [tag, digest].map(|part| part.map(ToOwned::to_owned));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Whether `text` is a digest: `sha256:` and 64 hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.chars().all(hex))
}

/// A registry that holds images of other registries, each under its own repository: `[http://]HOST[:PORT][/PATH]`.
///
/// ```
/// use reachmap::environment::images::reference::Mirror;
/// let mirror: Mirror = "registry.example/mirror".parse().unwrap();
/// let nginx = "nginx:1.29".parse().unwrap();
/// assert_eq!(mirror.reference(&nginx).to_string(), "registry.example/mirror/library/nginx:1.29");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its host, with the port if it has one.
    pub host: String,
    /// What stands before the repositories; nothing if empty.
    pub path: String,
    /// Whether it speaks HTTP without TLS.
    pub is_plain: bool,
}

impl Mirror {
    /// The same image at the mirror.
    pub fn reference(&self, published: &Reference) -> Reference {
        let before = if self.path.is_empty() { String::new() } else { format!("{}/", self.path) };
        Reference {
            registry: self.host.clone(),
            repository: format!("{before}{}", published.repository),
            ..published.clone()
        }
    }
}

impl FromStr for Mirror {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_plain = text.starts_with("http://");
        let place = text.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        // Docker takes a first part without a dot and without a port for a part of the repository.
        let is_registry = host.contains(['.', ':']) || host == "localhost";
        let name = format!("{host}/{path}/name");
        let is_path = path.is_empty() || name.parse::<Reference>().is_ok_and(|name| name.tag.is_none());
        if !is_registry || !host.chars().all(is_host) || !is_path {
            return Err(Error::new(ErrorKind::Usage, format!("use the registry `{text}`"), "it is not HOST[:PORT][/PATH]")
                .hint("Give a host with a dot or a port, such as registry.example:5000/mirror; put http:// before one without TLS."));
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned(), is_plain })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_plain { "http" } else { "https" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_leaves_out_is_what_docker_adds() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let pinned = format!("kindest/node:v1.37.0@{digest}");
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx"),
            ("quay.io/metallb/speaker:v0.16.1", "quay.io/metallb/speaker:v0.16.1"),
            ("localhost/a", "localhost/a"),
            ("registry:5000/a/b", "registry:5000/a/b"),
            (pinned.as_str(), &format!("docker.io/{pinned}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected);
        }
        let reference: Reference = "registry:5000/a/b:c".parse().unwrap();
        assert_eq!((reference.registry.as_str(), reference.tag.as_deref()), ("registry:5000", Some("c")));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "a@sha256:12", "A/b", "a//b", "a:", "quay.io/", "a b", "-/$(x)"] {
            assert_eq!(text.parse::<Reference>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn a_mirror_has_each_image_under_its_own_repository() {
        for (mirror, expected) in [
            ("registry.example", "registry.example/metallb/speaker:v1"),
            ("http://192.0.2.1:5000/", "192.0.2.1:5000/metallb/speaker:v1"),
            ("https://registry.example/a/b", "registry.example/a/b/metallb/speaker:v1"),
        ] {
            let mirror: Mirror = mirror.parse().unwrap();
            assert_eq!(mirror.reference(&"quay.io/metallb/speaker:v1".parse().unwrap()).to_string(), expected);
        }
        assert!("http://192.0.2.1:5000".parse::<Mirror>().unwrap().is_plain);
    }

    #[test]
    fn what_docker_would_not_take_for_a_registry_is_refused() {
        for text in ["", "registry", "registry/a", "http://", "ftp://a.b", "a.b/C", "a.b/c:d", "a b.c"] {
            let error = text.parse::<Mirror>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text}");
            assert!(error.hint_text().is_some());
        }
    }
}
