//! What a cluster says that could not be made ready, kept before it is deleted.

use std::{path::Path, time::Duration};

use super::{EngineAccess, connect, existing::ExistingCluster, kind::Kind, record::Record};
use crate::{
    ErrorKind, Result,
    bundle::{FACTS, HalfMade, NodeAccess},
    command::read_text,
    environment::namespaces,
    home::Home,
};

/// How long kind may take to read the kubeconfig of a cluster that is half made.
const READ: Duration = Duration::from_secs(10);

/// Whether the API server may tell something about an error of this kind: of a full disk, or of a wrong option, it knows nothing.
pub(crate) const fn may_tell_of(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Environment | ErrorKind::Deadline)
}

/// Keeps what the cluster called `name` says in a directory beside `log`. What cannot be kept is not there: the error for
/// which that is done matters more.
pub(super) async fn keep(home: &Home, access: &EngineAccess, name: &str, log: &Path) {
    let kubeconfig = kubeconfig(home, access, name).await;
    let text = kubeconfig.as_ref().ok().cloned();
    let client = match kubeconfig {
        Ok(text) => connect::client(&text, access.network_namespace.as_deref()).await,
        Err(error) => Err(error),
    };
    let nodes = NodeAccess::Engine(access.clone());
    let half_made = HalfMade { client, kubeconfig: text, nodes, namespaces: namespaces() };
    let _ = half_made.keep(&log.with_extension(FACTS)).await;
}

/// The same for a cluster that we did not make.
pub(crate) async fn keep_of_existing(cluster: &ExistingCluster, log: &Path) {
    let half_made = HalfMade {
        client: Ok(cluster.client.clone()),
        kubeconfig: cluster.kubeconfig_text().ok(),
        nodes: NodeAccess::ProxyPods,
        namespaces: namespaces(),
    };
    let _ = half_made.keep(&log.with_extension(FACTS)).await;
}

/// The cluster's kubeconfig: ours, or what kind finds on the node if the cluster did not come so far.
async fn kubeconfig(home: &Home, access: &EngineAccess, name: &str) -> Result<String> {
    if let Ok(text) = read_text(&Record::kubeconfig(home, name)) {
        return Ok(text);
    }
    let kind = Kind { program: &access.kind_program, name };
    Ok(access.command(kind.kubeconfig().deadline(READ)).run_async().await?.text())
}
