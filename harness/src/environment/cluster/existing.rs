//! A cluster that we did not make, named by a kubeconfig: nothing of it is changed without permission.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Context as _, Error, ErrorCode, ErrorKind, Result, environment::sha256};

mod record;

pub(crate) use record::removable;
pub use record::{ObjectName, Record};

/// How long the API server may take to answer the first question.
const REACH: Duration = Duration::from_secs(10);

/// What the user allows on a cluster that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// CoreDNS's Corefile may be edited; it is put back.
    pub cluster_edits: bool,
    /// MetalLB may be installed.
    pub metallb: bool,
}

/// A cluster that we did not make.
#[derive(Clone)]
pub struct ExistingCluster {
    /// A client for its API server.
    pub client: Client,
    /// The context of the kubeconfig that names it.
    pub context: String,
    /// The server's address.
    pub server: String,
    /// The server's version, such as `v1.37.2`.
    pub version: String,
    /// What may be changed.
    pub allowed: Allowed,
    kubeconfig: PathBuf,
}

impl std::fmt::Debug for ExistingCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExistingCluster")
            .field("context", &self.context)
            .field("server", &self.server)
            .field("version", &self.version)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl ExistingCluster {
    /// The kubeconfig's text, with the chosen context as the current one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the file cannot be read any more.
    pub fn kubeconfig_text(&self) -> Result<String> {
        let tried = || format!("use the kubeconfig {}", self.kubeconfig.display());
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig).tried(ErrorKind::Usage, tried)?;
        kubeconfig.current_context = Some(self.context.clone());
        serde_json::to_string(&kubeconfig).tried(ErrorKind::Internal, tried)
    }

    /// The name of its directory and its lock: the same for every run on this server.
    pub fn id(&self) -> String {
        format!("existing-{}", &sha256(&self.server)[..8])
    }

    /// What would be recorded of a run on it that has changed nothing yet.
    pub fn record(&self) -> Record {
        Record {
            id: self.id(),
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            kept: false,
            runs: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// The words with which a person starts kubectl for it.
    pub fn kubectl(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.to_string_lossy().into_owned();
        ["kubectl", "--kubeconfig", &kubeconfig, "--context", &self.context].map(ToOwned::to_owned).to_vec()
    }
}

/// Connects to the cluster that `context` (or the current context) of the kubeconfig at `path` names.
///
/// # Errors
/// [`ErrorKind::Usage`] if the file or the context is not usable; [`ErrorKind::Environment`] or
/// [`ErrorKind::Deadline`] if the server does not answer.
pub async fn connect(path: &Path, context: Option<&str>, allowed: Allowed) -> Result<ExistingCluster> {
    connected(path, context, allowed).await.map_err(|error| {
        let code = if error.kind() == ErrorKind::Usage { ErrorCode::Kubeconfig } else { ErrorCode::Unreachable };
        error.with_code(code)
    })
}

async fn connected(path: &Path, context: Option<&str>, allowed: Allowed) -> Result<ExistingCluster> {
    let path = std::path::absolute(path).tried(ErrorKind::Usage, || format!("use {}", path.display()))?;
    let tried = || format!("use the kubeconfig {}", path.display());
    let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| {
        Error::from_source(ErrorKind::Usage, tried(), error).hint("Name a kubeconfig file that kubectl can use.")
    })?;
    let contexts: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let known = if contexts.is_empty() { "none".to_owned() } else { contexts.join(", ") };
    let chosen = context.or(kubeconfig.current_context.as_deref()).filter(|context| !context.is_empty());
    let Some(chosen) = chosen.map(str::to_owned) else {
        return Err(Error::new(ErrorKind::Usage, tried(), "it has no current context")
            .hint(format!("Choose one with --context; it has these: {known}.")));
    };
    if !contexts.contains(&chosen.as_str()) {
        return Err(Error::new(ErrorKind::Usage, tried(), format!("it has no context `{chosen}`"))
            .hint(format!("It has these: {known}.")));
    }
    let options = KubeConfigOptions { context: Some(chosen.clone()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.tried(ErrorKind::Usage, tried)?;
    config.connect_timeout = Some(REACH);
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).tried(ErrorKind::Usage, tried)?;
    let reach = || format!("reach the API server {server} of the context `{chosen}`");
    let hint = format!("Try `kubectl --kubeconfig {} --context {chosen} version`.", path.display());
    let version = match tokio::time::timeout(REACH, client.apiserver_version()).await {
        Ok(version) => version.tried(ErrorKind::Environment, reach).map_err(|error| error.hint(&hint))?,
        Err(_elapsed) => {
            let cause = format!("no answer within {REACH:?}");
            return Err(Error::new(ErrorKind::Deadline, reach(), cause).hint(hint));
        }
    };
    Ok(ExistingCluster { client, context: chosen, server, version: version.git_version, allowed, kubeconfig: path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
contexts: [{name: here, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: 'http://127.0.0.1:PORT'}}]
users: [{name: u, user: {}}]
";

    async fn refused(text: &str, context: Option<&str>) -> Error {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        connect(file.path(), context, Allowed::default()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_missing_or_malformed_file_is_a_usage_error() {
        let missing = connect(Path::new("/nowhere/config"), None, Allowed::default()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Usage);
        assert!(missing.to_string().starts_with("failed to use the kubeconfig /nowhere/config: "), "{missing}");
        let malformed = refused("clusters: {not: [a list", None).await;
        assert_eq!(malformed.kind(), ErrorKind::Usage);
    }

    #[tokio::test]
    async fn an_unknown_context_names_those_there_are() {
        let error = refused(KUBECONFIG, Some("there")).await;
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().ends_with("it has no context `there`"), "{error}");
        assert_eq!(error.hint_text(), Some("It has these: here."));
        let none = refused(KUBECONFIG, None).await;
        assert!(none.to_string().ends_with("it has no current context"), "{none}");
    }

    #[tokio::test]
    async fn a_server_that_refuses_connections_is_an_environment_error() {
        // A port that was free a moment ago: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = refused(&KUBECONFIG.replace("PORT", &port.to_string()), Some("here")).await;
        assert_eq!(error.kind(), ErrorKind::Environment);
        assert!(error.to_string().contains(&format!("reach the API server http://127.0.0.1:{port}/")), "{error}");
        assert!(error.hint_text().unwrap().contains("--context here version"));
    }
}
