//! The environment on a cluster that we did not make.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    COREFILE_EDITS, Environment, Held, NO_LOAD_BALANCER, SoFar,
    addons::metallb,
    cluster::{
        existing::{self, Allowed, ExistingCluster, removable},
        facts, lease,
    },
    deploy, gc,
    images::{self, origin::Origins},
    install_metallb,
    journal::Journal,
    missing_workers, put_back_earlier_edits, sites,
    workloads::{WorkloadImages, Workloads},
    zones,
};
use crate::{
    Result, home::Home, kubernetes::apply::Manifest, plan::EnvironmentOptions, progress::Progress,
    session::run::blocking,
};

impl Environment {
    /// Makes the environment on the cluster that `kubeconfig` names: in namespaces of the run's own, and outside them
    /// only what `options` allow. Everything is recorded before it is made.
    pub(super) async fn on_existing(
        options: &EnvironmentOptions,
        kubeconfig: &Path,
        keep: bool,
        home: &Home,
        run: &str,
        progress: &Progress,
    ) -> Result<Self> {
        let allowed = Allowed { cluster_edits: options.allow_cluster_edits, metallb: options.install_metallb };
        let cluster = existing::connect(kubeconfig, options.context.as_deref(), allowed).await?;
        match Box::pin(Self::on_connected(options, cluster.clone(), keep, home, run, progress)).await {
            Ok(made) => Ok(made),
            Err(error) if facts::may_tell_of(error.kind()) => {
                let step = progress.step("Collect what the cluster says", Some(Duration::from_secs(10)));
                Box::pin(facts::keep_of_existing(&cluster, step.log())).await;
                step.done();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the environment on a cluster that answers.
    async fn on_connected(
        options: &EnvironmentOptions,
        cluster: ExistingCluster,
        keep: bool,
        home: &Home,
        run: &str,
        progress: &Progress,
    ) -> Result<Self> {
        let allowed = cluster.allowed;
        let lock = lease::wait_for_lock(home, &lease::lock_name(&cluster.id()), progress).await?;
        let client = cluster.client.clone();
        let mut record = record(&cluster, home, progress).await?;
        let versions = images::versions::Versions::embedded()?;
        let origins = Origins::of(options)?;
        let nginx = origins.find(&versions.nginx.image)?;
        let workload_images = WorkloadImages {
            nginx: nginx.reference.clone(),
            testpod: nginx.reference.clone(),
            pull_policy: "IfNotPresent".to_owned(),
        };
        let workloads = Workloads::new(client.clone(), workload_images, run);
        let metallb = if allowed.metallb {
            let (origins, home, shared) = (origins.clone(), home.clone(), progress.clone());
            Some(blocking(move || images::metallb_manifest(&origins, &home, &shared)).await?)
        } else {
            None
        };
        let mut manifests = workloads.outside()?;
        manifests.extend(metallb.as_ref().map(|text| metallb::manifest(text, run)).transpose()?);
        let wanted = removable(&manifests);
        record.refuse_strangers(&client, &wanted).await?;
        record.add_run(run, wanted, keep);
        record.write(home)?;
        let journal_note = record.journal_note(home);
        let journal = Journal::new(client.clone(), run, Some(journal_note.clone()));
        if allowed.cluster_edits {
            put_back_earlier_edits(&client, &journal, progress).await?;
        }
        deploy(&workloads, progress).await?;
        if let Some(manifest) = &metallb {
            install_metallb(&client, manifest, run, progress).await?;
        }
        let sites = sites(&client, None).await?;
        let workers = sites.iter().filter(|site| site.vantage.id.starts_with("worker-")).count();
        let workers = u8::try_from(workers).unwrap_or(u8::MAX);
        let has_zones = zones::are_there(&client).await?;
        let description = BTreeMap::from([
            ("engine", "none: an existing cluster".to_owned()),
            ("cluster", cluster.context.clone()),
            ("server", cluster.server.clone()),
            ("kubernetes", cluster.version.clone()),
            ("image nginx", nginx.to_string()),
        ]);
        Ok(Self {
            client,
            run: run.to_owned(),
            kubeconfig: cluster.kubeconfig_text()?,
            workloads,
            journal,
            sites,
            agents: Vec::new(),
            cache_dir: options.cache_dir.clone(),
            pool: options.pool.clone(),
            workers,
            unsupported: unsupported(options, workers, has_zones),
            description: description.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            so_far: SoFar::default(),
            held: Held::Existing { cluster: Box::new(cluster), journal_note, _lock: lock },
        })
    }
}

impl Environment {
    /// Records on a cluster that is not ours that `manifest` is about to be applied: it is removed with the rest. On a cluster
    /// of ours, everything goes with the cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if something of it is there already, and is not this record's.
    pub(crate) async fn claim(&self, manifest: &Manifest, home: &Home) -> Result<()> {
        let Held::Existing { cluster, .. } = &self.held else { return Ok(()) };
        let mut record = existing::Record::read(home, &cluster.id())?.unwrap_or_else(|| cluster.record());
        let wanted = removable(std::slice::from_ref(manifest));
        record.refuse_strangers(&self.client, &wanted).await?;
        record.add_objects(wanted);
        record.write(home)
    }
}

/// What is recorded of the cluster, after what a killed run left there is removed.
async fn record(cluster: &ExistingCluster, home: &Home, progress: &Progress) -> Result<existing::Record> {
    let Some(earlier) = existing::Record::read(home, &cluster.id())? else {
        return Ok(cluster.record());
    };
    let kept = earlier.kept;
    let step = progress.step("Clean up what an earlier run left on the cluster", Some(Duration::from_secs(10)));
    gc::clean(home, &cluster.client, earlier.clone(), false).await?;
    step.done();
    Ok(if kept { earlier } else { cluster.record() })
}

/// The cells that need more than the user allows, or knows.
fn unsupported(options: &EnvironmentOptions, workers: u8, has_zones: bool) -> BTreeMap<String, String> {
    let mut unsupported = missing_workers(workers);
    let mut without = |filter: &str, reason: &str| unsupported.insert(filter.to_owned(), reason.to_owned());
    without("laptop", "the laptop is known only beside a cluster that we made");
    if !options.install_metallb {
        let reason = "no load balancer of ours: allow it with --install-metallb";
        for filter in [NO_LOAD_BALANCER, "policy-*/*/loadbalancer-address"] {
            without(filter, reason);
        }
    }
    if !has_zones {
        without("policy-same-zone/*/*", "not every node here has a zone, and they are not ours to label");
    }
    if options.pool.is_none() {
        let reason = "which addresses a load balancer could give here is not known: name them with --pool";
        without("load-balancer-pending/*/loadbalancer-address", reason);
    }
    if !options.allow_cluster_edits {
        let reason = "the Corefile may not be edited: allow it with --allow-cluster-edits";
        for filter in ["external-domain*", "externalname-*", COREFILE_EDITS, "changing/*/*"] {
            without(filter, reason);
        }
    }
    unsupported
}
