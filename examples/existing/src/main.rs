//! Who can reach the Services of a cluster that is there: asked with the library alone, without `cargo xtask` and without suites.
//!
//! ```console
//! $ cargo run -- ~/.kube/config [CONTEXT]
//! ```
//!
//! It deploys Reachmap's workloads into namespaces of their own, stands in the test pods and on every node, asks the model
//! what must happen for each way to the Services, sends a request there, holds the two against each other, writes the
//! reports, and removes what it has made. Nothing else on the cluster is changed.

use std::process::ExitCode;

use reachmap::{
    environment::workloads::{CLUSTER_IP, NAMESPACE, NODE_PORT},
    prelude::*,
};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(kubeconfig) = arguments.next() else {
        eprintln!("usage: existing KUBECONFIG [CONTEXT]");
        return ExitCode::from(2);
    };
    // Variables such as REACHMAP_REGISTRY, for clusters that cannot pull from Docker Hub, are read by the library.
    let cluster = Cluster::existing(kubeconfig).options(|options| options.context = arguments.next()).suite("existing");
    match cluster.run(ask).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(report.exit_code())
        }
        Err(error) => {
            eprintln!("error: {error}\n  {}", error.hint_text().unwrap_or_default());
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Probes every way from every vantage, and judges what was seen: the report has each verdict.
async fn ask(cluster: &mut Cluster) -> Result<()> {
    for vantage in cluster.vantages() {
        for method in methods() {
            cluster.check(vantage, method).await?;
        }
    }
    Ok(())
}

/// The ways to ask: any Service of the cluster can be named here.
fn methods() -> [Method; 4] {
    let service = |name: &str| ServiceRef::new(NAMESPACE, name);
    let named = |form| Way::ServiceName { service: service(CLUSTER_IP), form };
    [
        Method::new("by-short-name", named(NameForm::Short)),
        Method::new("by-full-name", named(NameForm::Full)),
        Method::new("by-cluster-ip", Way::ClusterIp { service: service(CLUSTER_IP) }),
        Method::new("by-cluster-ip-of-node-port", Way::ClusterIp { service: service(NODE_PORT) }),
    ]
}
