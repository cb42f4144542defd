//! The environment on a cluster that we make, or have kept.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Environment, Held, SoFar, access,
    addons::cni::{Backend, Flannel},
    check,
    cluster::{
        EngineAccess, facts,
        kind::{self, ClusterConfig},
        lease::{self, LeasedCluster},
        registry,
    },
    deploy,
    engine::{self, Engine},
    images::{Images, versions::Versions},
    install_metallb,
    journal::Journal,
    missing_workers, prepare, put_back_earlier_edits,
    sites::{reach, sites},
    workloads::{WorkloadImages, Workloads},
};
use crate::{
    Error, Result,
    home::{Home, Lock},
    plan::{CniChoice, EnvironmentOptions},
    progress::Progress,
};

/// What a cluster of ours is made with.
struct Ground {
    engine: Engine,
    images: Images,
    access: EngineAccess,
    engine_use: Lock,
}

impl Environment {
    /// Makes the environment on a cluster of ours: one that is kept and as `options` describe it, or a new one.
    pub(super) async fn on_leased(
        options: &EnvironmentOptions,
        fresh: bool,
        keep: bool,
        home: &Home,
        run: &str,
        progress: &Progress,
    ) -> Result<Self> {
        let pool = options.pool.as_deref().map(str::parse).transpose()?;
        let engine_use = engine::hold(home)?;
        let (engine, images) = prepare(options, home, progress).await?;
        let access = access(&engine, &images.kind.to_string_lossy());
        let config = configuration(options, &images, &access).await?;
        let request = lease::Request {
            name: options.name.clone(),
            config,
            pool,
            fresh,
            keep,
            pull_policy: images.pull_policy.to_owned(),
            run: run.to_owned(),
        };
        let cluster = lease::acquire(home, &access, request, progress).await?;
        let held = cluster.clone();
        let ground = Ground { engine, images, access, engine_use };
        match Box::pin(Self::on_ground(options, ground, cluster, run, progress)).await {
            // Whoever gives the cluster up deletes its nodes, and their logs.
            Err(error) => {
                if facts::may_tell_of(error.kind()) {
                    Box::pin(held.keep_facts()).await;
                }
                Err(held.keep_logs(error).await)
            }
            made => made,
        }
    }

    /// Makes the environment on a cluster that is held.
    async fn on_ground(
        options: &EnvironmentOptions,
        ground: Ground,
        mut cluster: LeasedCluster,
        run: &str,
        progress: &Progress,
    ) -> Result<Self> {
        let Ground { engine, images, access, engine_use } = ground;
        if let Some(mirror) = images.mirror.as_ref().filter(|mirror| mirror.is_plain) {
            registry::allow_plain(&access, &cluster.record, &mirror.host).await?;
        }
        let client = cluster.client.clone();
        let journal = Journal::new(client.clone(), run, Some(cluster.journal_note()));
        put_back_earlier_edits(&client, &journal, progress).await?;
        let workload_images = WorkloadImages {
            nginx: images.nginx.clone(),
            testpod: images.testpod.clone(),
            pull_policy: images.pull_policy.to_owned(),
        };
        let workloads = Workloads::new(client.clone(), workload_images, run);
        let laptop = async {
            let step = progress.step("Start the laptop", Some(Duration::from_secs(1)));
            let laptop = cluster.laptop(&images.laptop).await?;
            step.done();
            Ok::<_, Error>(laptop)
        };
        let ((), (), laptop) = tokio::try_join!(
            deploy(&workloads, progress),
            install_metallb(&client, &images.metallb_manifest, run, progress),
            laptop,
        )?;
        let mut sites = sites(&client, Some(&laptop)).await?;
        reach(&mut sites, |command| engine.command(command));
        let description = describe(options, &engine, &images, &cluster)?;
        Ok(Self {
            client,
            run: run.to_owned(),
            kubeconfig: cluster.kubeconfig.clone(),
            workloads,
            journal,
            sites,
            agents: Vec::new(),
            cache_dir: options.cache_dir.clone(),
            pool: Some(cluster.record.pool.to_string()),
            workers: options.workers,
            unsupported: missing_workers(options.workers),
            description,
            so_far: SoFar::default(),
            held: Held::Leased { cluster: Box::new(cluster), engine, _engine_use: engine_use },
        })
    }
}

async fn configuration(options: &EnvironmentOptions, images: &Images, access: &EngineAccess) -> Result<ClusterConfig> {
    check::check_cni(options.cni, images.flannel.is_some())?;
    let cgroup = access.command(kind::cgroup_version()).run_async().await?.text();
    Ok(ClusterConfig {
        engine: access.kind,
        kubernetes: images.kubernetes.clone(),
        node_image: images.node.clone(),
        workers: options.workers,
        proxy_mode: options.proxy_mode,
        ip_family: options.ip_family,
        flannel: images.flannel.clone().map(|image| Flannel { image, backend: backend(options.cni) }),
        cgroup_v1: cgroup == "1",
    })
}

/// How Flannel leads to other nodes: as in the tutorial, unless it is said.
const fn backend(choice: CniChoice) -> Backend {
    match choice {
        CniChoice::FlannelHostGw => Backend::HostGw,
        CniChoice::Auto | CniChoice::Flannel | CniChoice::Kindnet => Backend::Vxlan,
    }
}

/// What the report says of the environment.
fn describe(
    options: &EnvironmentOptions,
    engine: &Engine,
    images: &Images,
    cluster: &LeasedCluster,
) -> Result<BTreeMap<String, String>> {
    let mut description: BTreeMap<_, _> = images.description().into_iter().collect();
    description.extend(
        [
            ("engine", engine.name().to_owned()),
            ("images", images.source.to_owned()),
            ("cluster", cluster.record.name.clone()),
            ("cluster reused", if cluster.reused { "yes" } else { "no" }.to_owned()),
            ("kubernetes", images.kubernetes.clone()),
            ("proxy mode", format!("{:?}", options.proxy_mode).to_lowercase()),
            ("ip family", format!("{:?}", options.ip_family).to_lowercase()),
            ("nodes", format!("1 control plane, {} workers", options.workers)),
            ("pool", cluster.record.pool.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if images.flannel.is_some() {
        // What a pulled node image brings, the cluster's state tells.
        description.insert("cni".to_owned(), format!("flannel, {}", backend(options.cni).as_str()));
        description.insert("network plugin version".to_owned(), Versions::embedded()?.flannel.version);
    }
    Ok(description)
}
