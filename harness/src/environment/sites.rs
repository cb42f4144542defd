//! The vantages of a cluster, and how their agents are started.

use kube::Client;

use super::{
    cluster::{EngineAccess, record::Record},
    workloads::{self, NAMESPACE, NODES_NAMESPACE, OTHER_NAMESPACE},
};
use crate::{
    Result,
    command::Command,
    model::{Vantage, VantageKind},
    session::handover::{Site, Start},
};

/// The vantages of a cluster, and where their agents are started.
pub(crate) async fn sites(client: &Client, laptop: Option<&str>) -> Result<Vec<Site>> {
    let pod = |id: &str, namespace: &str| Site {
        vantage: Vantage::pod(id, namespace, "testpod"),
        start: Start::Pod {
            namespace: namespace.to_owned(),
            pod: "testpod".to_owned(),
            container: "testpod".to_owned(),
        },
    };
    let mut sites = vec![pod("testpod", NAMESPACE), pod("testpod-other", OTHER_NAMESPACE)];
    sites.extend(laptop.map(|laptop| Site {
        vantage: Vantage { id: "laptop".to_owned(), kind: VantageKind::Laptop },
        start: Start::Container { engine: Vec::new(), container: laptop.to_owned() },
    }));
    for (vantage, pod) in workloads::node_places(client).await? {
        let start = Start::Pod { namespace: NODES_NAMESPACE.to_owned(), pod, container: "node".to_owned() };
        sites.push(Site { vantage, start });
    }
    Ok(sites)
}

/// The vantages of a cluster that is kept, and how the containers among them are reached.
pub(crate) async fn sites_through(client: &Client, record: &Record, access: &EngineAccess) -> Result<Vec<Site>> {
    let mut sites = sites(client, record.laptop.as_deref()).await?;
    reach(&mut sites, |command| access.command(command));
    Ok(sites)
}

/// Writes down how the containers among `sites` are reached: test processes know nothing of engines.
pub(super) fn reach(sites: &mut [Site], engine: impl Fn(Command) -> Command) {
    let docker = engine(Command::new("docker"));
    let mut words: Vec<String> = std::iter::once(docker.program).chain(docker.args).collect();
    // The last word is `docker` itself.
    words.pop();
    for site in sites {
        if let Start::Container { engine, .. } = &mut site.start {
            engine.clone_from(&words);
        }
    }
}
