//! The way from one stage of a run to the next: pool, Corefile, panel, each with its barrier.

use std::time::Duration;

use super::{
    COREFILE_EDITS, Environment, NO_LOAD_BALANCER, READY,
    addons::{
        coredns::{self, Change, Way},
        metallb,
    },
    barrier,
    images::lookups::Lookups,
    no_pool,
    panel::PanelPods,
    tutorial::{self, Names},
};
use crate::{
    Error, ErrorKind, Result,
    filter::Filter,
    matrix::Stage,
    model::Target,
    progress::Progress,
    report::{CorefileEdit, Retry},
    session::handover::LookupPrograms,
    wire::Lookup,
};

impl Environment {
    /// Makes the pods of the panel, in which `programs` and others look names up, unless they are there.
    ///
    /// # Errors
    /// Those of [`PanelPods::deploy`].
    pub async fn deploy_panel(&mut self, programs: &Lookups, progress: &Progress) -> Result<()> {
        if self.so_far.lookups.is_some() {
            return Ok(());
        }
        let step = progress.step("Deploy the panel of resolvers", Some(Duration::from_secs(5)));
        PanelPods::beside_testpod(self.client.clone(), self.run.clone()).await?.deploy(READY).await?;
        let [glibc, musl] = [&programs.glibc, &programs.musl]
            .map(|program| program.as_ref().map(|program| program.path().to_owned()).map_err(Clone::clone));
        let go = programs.go.path().to_owned();
        self.so_far.lookups = Some(LookupPrograms { glibc, musl, go });
        step.done();
        Ok(())
    }

    /// Deletes the pods of the panel, if there are any.
    ///
    /// # Errors
    /// Those of [`PanelPods::remove`].
    pub async fn remove_panel(&mut self) -> Result<()> {
        if self.so_far.lookups.take().is_some() {
            PanelPods::beside_testpod(self.client.clone(), self.run.clone()).await?.remove(READY).await?;
        }
        Ok(())
    }

    /// Makes the Corefile that `stage` has live, and returns when every replica answers from it, and every node sends
    /// questions to those replicas alone. Nothing is done if it is live already.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with CoreDNS's last words if it does not become live; it is put back then.
    pub async fn publish_names(&mut self, stage: Stage, progress: &Progress) -> Result<()> {
        let names = stage.corefile();
        if self.unsupported.contains_key(COREFILE_EDITS) || self.so_far.names == Some(names) {
            return Ok(());
        }
        let step = progress.step(format!("Make the Corefile of {stage} live"), Some(Duration::from_secs(5)));
        // The tutorial restarts CoreDNS; once an edit of ours is live, a replica sees the next one by itself, and sooner.
        let way = if self.so_far.names.is_some() { Way::Reload } else { Way::Restart };
        let change = self.edit_corefile(names, way).await?;
        if way == Way::Restart {
            // What was restarted answers as before for its lameduck time; and a question that happens to have the port of an
            // earlier one is sent where that went, until kube-proxy clears what nodes remember of those that are gone.
            coredns::until_none_ends(&self.client, READY).await?;
            self.until_rules_are_new("the end of the earlier replicas of CoreDNS").await?;
        }
        if let Some(sentinel) = &change.sentinel {
            let server = self.workloads.dns_server().await?;
            let inside = barrier::inside(self.agents.iter().map(|(vantage, agent)| (vantage, agent)));
            let unseen = barrier::until_known(&inside, server, sentinel, true).await;
            self.note_unseen("the edit of the Corefile, asked through the Service kube-dns", &unseen);
        }
        self.so_far.edits.push(CorefileEdit::of(stage, &change));
        step.done();
        Ok(())
    }

    /// Makes one of the tutorial's Corefiles live in every replica of CoreDNS.
    ///
    /// # Errors
    /// As [`coredns::change`].
    pub async fn edit_corefile(&mut self, names: Names, way: Way) -> Result<Change> {
        let address = match names {
            // The tutorial's first two Corefiles name the node that its only pod runs on.
            Names::Name | Names::NameAndAlias => self.workloads.first_worker_address().await?,
            Names::Original | Names::WithFallthrough => self.workloads.cluster_ip().await?,
        };
        let asker = self.agent("testpod")?;
        let ask = |replica, name: String| async move {
            asker.resolve(Lookup { name: format!("{name}."), server: Some(replica) }).await
        };
        let edit = |original: &str| tutorial::corefile(original, address, names);
        let change = coredns::change(&self.client, &self.journal, edit, ask, way, READY).await?;
        self.so_far.names = Some(names);
        Ok(change)
    }

    /// The stage that this environment can be brought into with the least of the tutorial left out.
    pub(crate) fn usual_stage(&self) -> Stage {
        if self.owns_load_balancer() { Stage::LoadBalancerReady } else { Stage::LoadBalancerPending }
    }

    /// Refuses a stage that this environment cannot be brought into.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] with what is not allowed, or not there.
    pub(crate) fn check_stage(&self, stage: Stage) -> Result<()> {
        for (filter, reason) in &self.unsupported {
            if Filter::parse(filter)?.matches_stage(stage.id()) {
                return Err(Error::new(ErrorKind::Missing, format!("enter the stage {stage}"), reason));
            }
        }
        Ok(())
    }

    /// Brings the cluster into the state `stage`, and returns when every vantage has seen it.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with the last status of what did not change.
    pub async fn enter(&mut self, stage: Stage, progress: &Progress) -> Result<()> {
        self.publish_names(stage, progress).await?;
        self.balance_load(stage, progress).await?;
        self.have_policies(stage.policies(), progress).await
    }

    /// Gives the Service of type `LoadBalancer` its address, or takes it away, as `stage` has it.
    async fn balance_load(&mut self, stage: Stage, progress: &Progress) -> Result<()> {
        if self.unsupported.contains_key(NO_LOAD_BALANCER) && stage != Stage::LoadBalancerPending {
            return Ok(());
        }
        let wanted = stage != Stage::LoadBalancerPending;
        if self.so_far.load_balancer == Some(wanted) {
            return Ok(());
        }
        let step = progress.step(format!("Enter the stage {stage}"), Some(Duration::from_secs(3)));
        let address = match (wanted, &self.pool) {
            // The load balancer of a cluster that is not ours, if it has one, is left as it is.
            (false, _) if !self.owns_load_balancer() => None,
            (false, pool) => {
                metallb::remove_pool(&self.client).await?;
                self.workloads.until_no_load_balancer_address(READY).await?;
                pool.as_ref().and_then(|pool| pool.split('-').next()?.parse().ok())
            }
            (true, Some(pool)) => {
                let applied = metallb::apply_pool(&self.client, pool, &self.run, READY).await?;
                if applied.attempts > 1 {
                    self.so_far.retries.push(Retry {
                        what: "apply MetalLB's address pool".to_owned(),
                        times: applied.attempts,
                        why: "its webhook refuses connections for a while after its pod is Ready".to_owned(),
                    });
                }
                Some(self.workloads.until_load_balancer_address(READY).await?)
            }
            (true, None) => return Err(no_pool()),
        };
        if let Some(address) = address {
            let target = Target { host: address.to_string(), port: 80 };
            let unseen = barrier::until_reached(&self.agents, &target, wanted, barrier::PATIENCE).await;
            self.note_unseen(&format!("the stage {stage} at {target}"), &unseen);
        }
        self.so_far.load_balancer = Some(wanted);
        step.done();
        Ok(())
    }

    pub(super) fn note_unseen(&mut self, what: &str, unseen: &[(String, u32)]) {
        for (vantage, asked) in unseen {
            self.so_far.retries.push(Retry {
                what: format!("see {what}, from {vantage}"),
                times: *asked,
                why: "it was not seen in time: cells from there say more".to_owned(),
            });
        }
    }
}
