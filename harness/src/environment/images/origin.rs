//! Where each published image is pulled from: its own registry, a mirror, or what a table of the user's says.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;

use super::{
    reference::{HUB, Mirror, Reference, is_digest},
    versions::{Kubernetes, Versions},
};
use crate::{Context as _, Error, ErrorKind, Result, command::read_text, plan::EnvironmentOptions};

/// The repository of kind's node images.
const NODE: &str = "kindest/node";

/// Whether `name` is that of one of kind's node images.
fn is_node(name: &Reference) -> bool {
    name.registry == HUB && name.repository == NODE
}

/// Where published images are pulled from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// The registry that is asked instead of those in which the images are published.
    pub mirror: Option<Mirror>,
    table: Option<Table>,
}

/// A table of the user's: what it says of an image counts more than the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    path: PathBuf,
    entries: BTreeMap<Reference, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// From where it is pulled anyway, at this digest.
    Digest(String),
    /// This image instead.
    Other(Reference),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    images: BTreeMap<String, String>,
}

/// What is pulled for a published image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The published name, with its tag and without a digest.
    pub published: String,
    /// What is pulled.
    pub reference: String,
    /// What its content is held to.
    pub pin: Pin,
}

/// What the content of a pulled image is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The digest that Reachmap knows.
    Versions,
    /// The digest in a table of the user's.
    Table(PathBuf),
    /// Nothing: whatever the registry has under that tag.
    Tag,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Versions => f.write_str("at the digest that Reachmap pins"),
            Self::Table(path) => write!(f, "at the digest of {}", path.display()),
            Self::Tag => f.write_str("by its tag: not pinned"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.reference, self.pin)
    }
}

impl Origins {
    /// What `options` say.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a registry or a table that is none; [`ErrorKind::Storage`] if the table cannot be read.
    pub fn of(options: &EnvironmentOptions) -> Result<Self> {
        let mirror = options.registry.as_deref().map(str::parse).transpose()?;
        let table = match &options.images_table {
            Some(path) => Some(Table::parse(path.clone(), &read_text(path)?)?),
            None => None,
        };
        Ok(Self { mirror, table })
    }

    /// All from `mirror`.
    pub fn at(mirror: Mirror) -> Self {
        Self { mirror: Some(mirror), table: None }
    }

    /// What is pulled for the image that is published as `image`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if that is no reference.
    pub fn find(&self, image: &str) -> Result<Origin> {
        let reference: Reference = image.parse()?;
        let named = Reference { digest: None, ..reference.clone() };
        let published = image.split('@').next().unwrap_or(image).to_owned();
        let pin = if reference.digest.is_some() { Pin::Versions } else { Pin::Tag };
        let mirrored = |reference: &Reference| self.mirror.as_ref().map(|mirror| mirror.reference(reference));
        let entry = self.table.as_ref().and_then(|table| Some((table, table.entries.get(&named)?)));
        let (reference, pin) = match entry {
            Some((table, Entry::Other(other))) => (other.to_string(), Pin::Table(table.path.clone())),
            Some((table, Entry::Digest(digest))) => {
                let place = mirrored(&named).unwrap_or(named);
                (Reference { digest: Some(digest.clone()), ..place }.to_string(), Pin::Table(table.path.clone()))
            }
            None => (mirrored(&reference).map_or_else(|| image.to_owned(), |there| there.to_string()), pin),
        };
        Ok(Origin { published, reference, pin })
    }

    /// The versions table, with the node images that the user's table has beside it.
    ///
    /// # Errors
    /// As [`Versions::embedded`].
    pub fn versions(&self) -> Result<Versions> {
        let mut versions = Versions::embedded()?;
        for (name, version) in self.table.iter().flat_map(Table::nodes) {
            match versions.kubernetes.iter_mut().find(|kubernetes| kubernetes.version == version) {
                Some(kubernetes) => _ = kubernetes.node_image.get_or_insert(name),
                None => versions.kubernetes.push(Kubernetes { version, packages: None, node_image: Some(name) }),
            }
        }
        Ok(versions)
    }

    /// Refuses a table that speaks of images which are not pulled: a slip in a name would leave an image unpinned.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] with the images that are pulled.
    pub(super) fn refuse_strangers(&self, pulled: &[&Origin]) -> Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        let known: Vec<Reference> = pulled.iter().filter_map(|origin| origin.published.parse().ok()).collect();
        let strange = table.entries.keys().find(|name| !is_node(name) && !known.contains(name));
        strange.map_or(Ok(()), |name| {
            let names: Vec<&str> = pulled.iter().map(|origin| origin.published.as_str()).collect();
            let cause = format!("nothing is pulled under the name {name}");
            Err(Error::new(ErrorKind::Usage, table.tried(), cause).hint(format!("Pulled are: {}.", names.join(", "))))
        })
    }
}

impl Table {
    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let mut table = Self { path, entries: BTreeMap::new() };
        let file: File = toml::from_str(text).tried(ErrorKind::Usage, || table.tried())?;
        for (name, value) in file.images {
            let wrong = |cause: String| Error::new(ErrorKind::Usage, table.tried(), cause);
            let published: Reference = name.parse()?;
            if published.tag.is_none() || published.digest.is_some() {
                return Err(wrong(format!("`{name}` is not the name of an image with its tag alone"))
                    .hint("Name images as they are published, such as quay.io/metallb/speaker:v0.16.1."));
            }
            let entry = if is_digest(&value) { Entry::Digest(value) } else { Entry::Other(value.parse()?) };
            if matches!(&entry, Entry::Other(other) if other.digest.is_none()) {
                return Err(wrong(format!("what it has for {name} does not end with a digest")).hint(
                    "Give the digest that the registry has, `sha256:…`, or a whole reference that ends with `@sha256:…`.",
                ));
            }
            table.entries.insert(published, entry);
        }
        Ok(table)
    }

    fn tried(&self) -> String {
        format!("use the images table {}", self.path.display())
    }

    /// The node images that it has: their names, and the Kubernetes versions in them.
    fn nodes(&self) -> impl Iterator<Item = (String, String)> {
        let nodes = self.entries.keys().filter(|name| is_node(name));
        nodes.filter_map(|name| name.tag.as_ref().map(|version| (format!("{NODE}:{version}"), version.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn origins(mirror: Option<&str>, table: Option<&str>) -> Result<Origins> {
        Ok(Origins {
            mirror: mirror.map(|text| text.parse().unwrap()),
            table: table.map(|text| Table::parse("images.toml".into(), text)).transpose()?,
        })
    }

    #[test]
    fn without_a_mirror_and_a_table_everything_is_as_it_is_published() {
        let node = format!("kindest/node:v1.37.0@{DIGEST}");
        let origin = Origins::default().find(&node).unwrap();
        assert_eq!((origin.reference, origin.pin), (node, Pin::Versions));
        let origin = Origins::default().find("nginx:1.29").unwrap();
        assert_eq!((origin.reference.as_str(), origin.pin), ("nginx:1.29", Pin::Tag));
    }

    #[test]
    fn a_mirror_is_asked_for_the_same_content() {
        let origins = origins(Some("registry.example/mirror"), None).unwrap();
        let origin = origins.find(&format!("kindest/node:v1.37.0@{DIGEST}")).unwrap();
        assert_eq!(origin.reference, format!("registry.example/mirror/kindest/node:v1.37.0@{DIGEST}"));
        assert_eq!(origin.pin, Pin::Versions);
    }

    #[test]
    fn what_the_table_says_counts_and_is_said() {
        let table = format!(
            "[images]\n\"nginx:1.29\" = \"{DIGEST}\"\n\"quay.io/metallb/speaker:v1\" = \"registry.example/s@{DIGEST}\"\n"
        );
        let origins = origins(Some("registry.example:5000"), Some(&table)).unwrap();
        insta::assert_snapshot!(
            ["nginx:1.29", "quay.io/metallb/speaker:v1", "quay.io/metallb/controller:v1"]
                .map(|image| origins.find(image).unwrap().to_string())
                .join("\n"),
            @r"
        registry.example:5000/library/nginx:1.29@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, at the digest of images.toml
        registry.example/s@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, at the digest of images.toml
        registry.example:5000/metallb/controller:v1, by its tag: not pinned
        "
        );
    }

    #[test]
    fn a_node_image_in_the_table_makes_its_version_one_of_those_that_can_be_pulled() {
        let table =
            format!("[images]\n\"kindest/node:v1.37.2\" = \"{DIGEST}\"\n\"kindest/node:v1.34.0\" = \"{DIGEST}\"\n");
        let origins = origins(None, Some(&table)).unwrap();
        for version in ["v1.37.2", "v1.34.0"] {
            let versions = origins.versions().unwrap();
            let image = versions.kubernetes(Some(version)).unwrap().node_image.clone().unwrap();
            assert_eq!(image, format!("kindest/node:{version}"));
            assert_eq!(
                origins.find(&image).unwrap().reference,
                format!("docker.io/kindest/node:{version}@{DIGEST}"),
                "{image}"
            );
        }
    }

    #[test]
    fn a_table_that_would_leave_something_unpinned_is_refused() {
        for (entry, cause) in [
            ("\"nginx:1.29\" = \"registry.example/nginx:1.29\"", "does not end with a digest"),
            ("\"nginx:1.29\" = \"sha256:12\"", "does not end with a digest"),
            (&format!("\"nginx\" = \"{DIGEST}\""), "with its tag alone"),
            ("nginx = 1", "failed to use the images table images.toml"),
        ] {
            let error = origins(None, Some(&format!("[images]\n{entry}\n"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(cause), "{entry}: {error}");
        }
        let origins = origins(None, Some(&format!("[images]\n\"ngnix:1.29\" = \"{DIGEST}\"\n"))).unwrap();
        let error = origins.refuse_strangers(&[&origins.find("nginx:1.29").unwrap()]).unwrap_err();
        assert!(
            error.to_string().ends_with("nothing is pulled under the name docker.io/library/ngnix:1.29"),
            "{error}"
        );
        assert_eq!(error.hint_text(), Some("Pulled are: nginx:1.29."));
    }
}
