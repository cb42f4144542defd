//! Programs that are taken to a vantage, beside the agent.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    binary::short_hash,
    install::{self, Place},
};
use crate::{Context as _, ErrorKind, Result};

/// A program's file: static, so that it runs in any image.
#[derive(Clone)]
pub struct ProgramFile {
    name: String,
    path: PathBuf,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for ProgramFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ProgramFile {
    /// The program in the file `path`, to be called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read.
    pub fn read(name: &str, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).tried(ErrorKind::Storage, || format!("read the program {}", path.display()))?;
        Ok(Self { name: name.to_owned(), path: path.to_owned(), bytes: bytes.into() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the file is called at a vantage: the name, and the hash of the content.
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.name, short_hash(&self.bytes))
    }

    /// Uploads it to a container of a pod, unless it is there; returns its path there.
    ///
    /// The container needs what [`Agent::in_pod`](super::Agent::in_pod) needs.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] or [`ErrorKind::Deadline`], naming the pod and what was said there.
    pub async fn put_in_pod(
        &self,
        client: &kube::Client,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<String> {
        let place = Place::Pod {
            client: client.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        self.put(&place).await
    }

    pub(crate) async fn put(&self, place: &Place) -> Result<String> {
        install::put(place, &self.file_name(), &self.bytes).await
    }
}
