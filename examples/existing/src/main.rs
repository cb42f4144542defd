//! Who can reach the Services of a cluster that is there: asked with the library alone, without `cargo xtask` and without suites.
//!
//! ```console
//! $ cargo run -- ~/.kube/config [CONTEXT]
//! ```
//!
//! It deploys Reachmap's workloads into namespaces of their own, stands in the test pods and on every node, asks the model
//! what must happen for each way to the Services, sends a request there, holds the two against each other, writes the
//! reports, and removes what it has made. Nothing else on the cluster is changed.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use reachmap::{
    Context as _, ErrorKind, Result,
    environment::{
        self, Environment,
        workloads::{CLUSTER_IP, NAMESPACE, NODE_PORT, NODES_NAMESPACE, OTHER_NAMESPACE},
    },
    matrix::Stage,
    model::{Method, NameForm, ServiceRef, Vantage, Way, expect},
    plan::EnvironmentOptions,
    probe::{AgentBinary, Timeouts, probe_target},
    progress::{Progress, Show},
    report,
    session::{directory::RunDirectory, interrupt::guarded},
    state,
    verdict::{Verdict, judge},
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(kubeconfig) = arguments.next() else {
        eprintln!("usage: existing KUBECONFIG [CONTEXT]");
        return ExitCode::from(2);
    };
    let options = EnvironmentOptions {
        kubeconfig: Some(PathBuf::from(kubeconfig)),
        context: arguments.next(),
        cache_dir: std::env::var_os("REACHMAP_CACHE").map(PathBuf::from),
        // For clusters that cannot pull from Docker Hub.
        registry: std::env::var("REACHMAP_REGISTRY").ok(),
        ..EnvironmentOptions::default()
    };
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}\n  {}", error.hint_text().unwrap_or_default());
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(options: &EnvironmentOptions) -> Result<u8> {
    let runtime = tokio::runtime::Runtime::new().tried(ErrorKind::Environment, || "start the async runtime")?;
    runtime.block_on(async {
        let home = environment::open_home(options.cache_dir.as_deref())?;
        environment::check(options, &home).await?;
        let directory = RunDirectory::create(None)?;
        let progress = Progress::new(Show::Plain, directory.path.join("logs"));
        let mut run = report::Run::started(&directory.id, &[]);
        // However it ends (Ctrl-C too), what is recorded is removed.
        let ended = guarded(async {
            let binary = AgentBinary::find_or_build(&home, &progress)?;
            let mut cluster = Environment::up(options, false, false, &home, &directory.id, &progress).await?;
            cluster.stand_everywhere(&binary).await?;
            check(&cluster, &mut run).await
        })
        .await;
        let released = environment::release(&home, false, &progress).await;
        run.finish(&progress, ended.as_ref().err().or(released.as_ref().err()));
        let paths = report::write(&run, &directory.path)?;
        println!("{}\nReports: {}", report::terminal(&run), paths.dir.display());
        ended?;
        released?;
        Ok(run.exit_code())
    })
}

/// Probes every way from every vantage, and judges what was seen.
async fn check(cluster: &Environment, run: &mut report::Run) -> Result<()> {
    let namespaces = [NAMESPACE, OTHER_NAMESPACE, NODES_NAMESPACE];
    let mut state = state::collect(cluster.client(), &namespaces, BTreeMap::new(), None).await?;
    let vantages = Vantage::all(&state);
    for vantage in &vantages {
        // What the place itself knows: its resolver, its routes.
        state.places.insert(vantage.id.clone(), cluster.agent(&vantage.id)?.hello().await?);
    }
    let stage = Stage::LoadBalancerPending.id();
    for vantage in vantages {
        for method in methods() {
            // The model knows nothing of what is seen, and the probe nothing of what is expected.
            let expectation = expect(&state, &vantage, &method)?;
            let agent = cluster.agent(&vantage.id)?;
            let observation = probe_target(agent, &expectation.target, Timeouts::default()).await?;
            run.verdicts.push(Verdict {
                suite: "existing".to_owned(),
                stage: stage.to_owned(),
                vantage: vantage.clone(),
                method,
                outcome: judge(&expectation, &observation),
                expectation: Some(expectation),
                observation: Some(observation),
                reproduce: String::new(),
            });
        }
    }
    run.stages.push(report::StageRecord { id: stage.to_owned(), state: Some(state) });
    Ok(())
}

/// The ways to ask: any Service of the cluster can be named here.
fn methods() -> Vec<Method> {
    let service = |name: &str| ServiceRef::new(NAMESPACE, name);
    let named = |form| Way::ServiceName { service: service(CLUSTER_IP), form };
    [
        ("by-short-name", named(NameForm::Short)),
        ("by-full-name", named(NameForm::Full)),
        ("by-cluster-ip", Way::ClusterIp { service: service(CLUSTER_IP) }),
        ("by-cluster-ip-of-node-port", Way::ClusterIp { service: service(NODE_PORT) }),
    ]
    .map(|(id, way)| Method { id: id.to_owned(), way })
    .into()
}
