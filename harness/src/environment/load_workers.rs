//! Load workers: the pods of an Indexed Job over the nodes of the cluster, each a vantage to load from.
//!
//! One place has one kernel's ports and one processor's time; a load that is to be larger comes from many. What N of them
//! need of a cluster is in `docs/src/distribution.md`.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PropagationPolicy},
};

use super::{
    Environment, READY,
    workloads::{NAMESPACE, until_gone, until_ready},
};
use crate::{
    Context as _, ErrorKind, Result,
    model::Vantage,
    progress::Progress,
    session::handover::{Site, Start},
};

/// The Job, and its pods' container.
const JOB: &str = "load-workers";
const CONTAINER: &str = "load-worker";
const SELECTOR: &str = "app=load-worker";

/// The label by which the Job's controller numbers its pods.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What the ids of their vantages start with: `load-worker-1` is the first.
pub const VANTAGE_PREFIX: &str = "load-worker-";

impl Environment {
    /// Makes `count` load workers, and returns where they stand.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] with why a pod does not run.
    pub async fn deploy_load_workers(&self, count: u32, progress: &Progress) -> Result<Vec<Site>> {
        let step = progress.step(format!("Start {count} load workers"), Some(Duration::from_secs(3)));
        self.remove_load_workers().await?;
        self.workloads.load_workers(count)?.apply(&self.client).await?;
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let ready = until_ready(&self.client, SELECTOR, wanted, "see the load workers run", READY).await?;
        let mut sites: Vec<Site> = ready.iter().filter_map(site).collect();
        sites.sort_by(|one, other| one.vantage.id.cmp(&other.vantage.id));
        step.done();
        Ok(sites)
    }

    /// Deletes the load workers, and waits until they are gone.
    ///
    /// # Errors
    /// [`ErrorKind::Deadline`] if one is still there in the end.
    pub async fn remove_load_workers(&self) -> Result<()> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), NAMESPACE);
        let how = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        match jobs.delete(JOB, &how).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).tried(ErrorKind::Environment, || "delete the load workers"),
        }
        until_gone(&self.client, SELECTOR, "see the load workers go", READY).await
    }
}

/// Where a pod of the Job stands, if it has its number.
fn site(pod: &Pod) -> Option<Site> {
    let number = pod.labels().get(INDEX)?.parse::<u32>().ok()? + 1;
    let start = Start::Pod { namespace: NAMESPACE.to_owned(), pod: pod.name_any(), container: CONTAINER.to_owned() };
    Some(Site { vantage: Vantage::pod(format!("{VANTAGE_PREFIX}{number}"), NAMESPACE, pod.name_any()), start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_job_is_a_vantage_by_its_number() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "load-workers-2-x7k4d", "labels": { INDEX: "2" } }
        }))
        .unwrap();
        let site = site(&pod).unwrap();
        assert_eq!(site.vantage.id, "load-worker-3");
        assert!(super::site(&Pod::default()).is_none());
    }
}
