//! The agent's program file: named by the user, built once, or built now.

use std::{
    fmt,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use crate::{Context as _, ErrorKind, Result, home::Home, progress::Progress};

mod sources;

use sources::Sources;

/// The agent as a static program for Linux.
#[derive(Clone)]
pub struct AgentBinary {
    path: PathBuf,
    hash: String,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for AgentBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBinary").field("path", &self.path).field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl AgentBinary {
    /// The program that the variable `REACHMAP_AGENT` names, else the one built from the agent's sources: found under
    /// `home` if it was built before, else built now.
    ///
    /// In a clone the sources are beside this crate. A package of this crate, as a registry has it, brings them along in
    /// `agent-sources`, with the lock file that they were tested with.
    ///
    /// It is built for the architecture of this machine, which is that of a kind cluster's nodes.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the named program cannot be read, [`ErrorKind::Missing`] if there
    /// are no sources or no cargo, [`ErrorKind::Environment`] if the build fails.
    pub fn find_or_build(home: &Home, progress: &Progress) -> Result<Self> {
        match std::env::var_os("REACHMAP_AGENT").filter(|path| !path.is_empty()) {
            Some(path) => Self::read(Path::new(&path))
                .map_err(|error| error.hint("REACHMAP_AGENT must name a static reachmap-agent, or be unset.")),
            None => Sources::find()?.find_or_build(home, progress),
        }
    }

    /// The program in the file `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).tried(ErrorKind::Storage, || format!("read the agent {}", path.display()))?;
        let hash = short_hash(&bytes);
        Ok(Self { path: path.to_owned(), hash, bytes: bytes.into() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of its content, as 16 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The hash of a program's content, as 16 hexadecimal digits.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
