//! Takes a running kind cluster through the environment's steps and prints how long each takes:
//! workloads, CoreDNS edit with its barrier, MetalLB with and without a pool, and everything put back.
//!
//!     cargo run -p reachmap --example environment -- KUBECONFIG [NETWORK-NAMESPACE] [METALLB-MANIFEST] [POOL]

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{net::SocketAddr, path::Path, time::Duration};

use reachmap::{
    Context as _, ErrorKind, Result,
    environment::{
        addons::{coredns, metallb},
        cluster::connect,
        journal::Journal,
        workloads::{self, WorkloadImages, Workloads},
    },
    kube::Client,
    probe::exec,
};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "kubeconfig".to_owned());
    let namespace = args.next().filter(|namespace| !namespace.is_empty());
    let kubeconfig = std::fs::read_to_string(&path).tried(ErrorKind::Usage, || format!("read {path}"))?;
    let client = connect::client(&kubeconfig, namespace.as_deref().map(Path::new)).await?;
    let mut clock = Clock(Instant::now());

    let version = client.apiserver_version().await.tried(ErrorKind::Environment, || "ask the API server")?;
    clock.lap(&format!("connected to {}", version.git_version));

    let journal = Journal::new(client.clone(), "example", None);
    println!("left by an earlier run: {:?}", coredns::restore(&client, &journal, DEADLINE).await?);
    let images = WorkloadImages {
        nginx: "nginx:latest".to_owned(),
        testpod: "testpod:latest".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    };
    let workloads = Workloads::new(client.clone(), images, "example");
    workloads.deploy().await?;
    clock.lap("workloads applied");
    workloads.wait_ready(DEADLINE).await?;
    clock.lap("workloads ready");

    let address = workloads.cluster_ip().await?;
    let hosts = format!("hosts {{\n        {address} my-nginx.external.local\n        fallthrough\n    }}\n    ready");
    let ask = |replica: SocketAddr, name: String| {
        let client = client.clone();
        async move {
            let server = format!("@{}", replica.ip());
            let argv = ["dig", "+short", "+time=1", "+tries=1", &server, &name];
            let output = exec::output(&client, workloads::NAMESPACE, "testpod", None, &argv, b"", DEADLINE).await?;
            Ok(output.text().lines().next().and_then(|line| line.parse().ok()))
        }
    };
    let change = coredns::change(&client, &journal, |text| Ok(text.replace("ready", &hosts)), ask, DEADLINE).await?;
    clock.lap("CoreDNS changed");
    println!("{change:#?}");

    let argv = ["curl", "-si", "http://nginx-external-service"];
    let page = exec::output(&client, workloads::NAMESPACE, "testpod", None, &argv, b"", DEADLINE).await?;
    println!("{:?} {}", page.code, page.text());

    let broken = coredns::change(&client, &journal, |_| Ok("nonsense {".to_owned()), ask, DEADLINE).await;
    clock.lap("a broken Corefile rolled back");
    println!("{:?}", broken.err());

    if let (Some(manifest), Some(pool)) = (args.next(), args.next()) {
        load_balancer(&client, &workloads, &manifest, &pool, &mut clock).await?;
    }
    println!("{:?}", coredns::restore(&client, &journal, DEADLINE).await?);
    clock.lap("restored");
    if std::env::var_os("REMOVE").is_some() {
        for manifest in workloads.outside()? {
            manifest.delete(&client).await?;
        }
        clock.lap("workloads deleted");
    }
    Ok(())
}

async fn load_balancer(
    client: &Client,
    workloads: &Workloads,
    manifest: &str,
    pool: &str,
    clock: &mut Clock,
) -> Result<()> {
    let text = std::fs::read_to_string(manifest).tried(ErrorKind::Usage, || format!("read {manifest}"))?;
    println!("installed: {}", metallb::install(client, &text, "example", DEADLINE).await?);
    clock.lap("MetalLB runs");
    workloads.until_no_load_balancer_address(DEADLINE).await?;
    println!("{:?}", metallb::apply_pool(client, pool, "example", DEADLINE).await?);
    println!("{}", workloads.until_load_balancer_address(DEADLINE).await?);
    clock.lap("address given");
    metallb::remove_pool(client).await?;
    workloads.until_no_load_balancer_address(DEADLINE).await?;
    clock.lap("address taken");
    Ok(())
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{:6.1}s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}
