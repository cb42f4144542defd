//! A shop on Kubernetes, and what its owner wants to know: who can reach it, by which way, and why.

use std::{collections::BTreeSet, time::Duration};

use reachmap::{
    Error, ErrorKind, Result,
    model::Target,
    prelude::*,
    probe::{Timeouts, probe_target},
    state::State,
};
use tokio::sync::OnceCell;

/// The namespace of the shop.
pub const NAMESPACE: &str = "shop";

/// The Deployment, and the Service before it.
pub const STOREFRONT: &str = "storefront";

/// How many pods the storefront has.
pub const REPLICAS: usize = 2;

/// How long it may take until every pod has answered.
const READY: Duration = Duration::from_secs(120);

const MANIFEST: &str = include_str!("../manifests/shop.yaml");

/// The shop in the session's cluster.
#[derive(Debug)]
pub struct Shop {
    session: &'static Session,
    /// What the cluster looks like with the shop in it: every expectation is derived from this.
    pub state: State,
}

impl Shop {
    /// The shop of this process, deployed at the first call.
    ///
    /// # Errors
    /// If there is no session, or the pods do not become ready.
    pub async fn open() -> Result<&'static Self> {
        static SHOP: OnceCell<Shop> = OnceCell::const_new();
        let session = Session::current()?;
        SHOP.get_or_try_init(async || {
            let state = session.deploy("shop.yaml", MANIFEST).await?;
            until_every_pod_answers(session, &by_cluster_ip().way.target(&state)?).await?;
            Ok(Self { session, state })
        })
        .await
    }

    /// The session that it was opened in.
    pub fn session(&self) -> &'static Session {
        self.session
    }

    /// Sends a request from `vantage` by `method`, holds what was seen against what the state says must happen, and puts the
    /// verdict into the report.
    ///
    /// # Errors
    /// If there is no such vantage, or no request could be sent.
    pub async fn check(&self, vantage: &str, method: Method) -> Result<Verdict> {
        let verdict = self.session.judge(&self.state, vantage, method).await?;
        self.session.record(&verdict)?;
        Ok(verdict)
    }
}

/// The Service by its name, as somebody in another namespace writes it.
pub fn by_name() -> Method {
    let service = ServiceRef::new(NAMESPACE, STOREFRONT);
    Method::new("shop-name", Way::ServiceName { service, form: NameForm::Full })
}

/// The Service by its cluster IP.
pub fn by_cluster_ip() -> Method {
    Method::new("shop-cluster-ip", Way::ClusterIp { service: ServiceRef::new(NAMESPACE, STOREFRONT) })
}

/// A Service is reached as soon as a node knows one of its endpoints; the other one may come a moment later.
async fn until_every_pod_answers(session: &Session, target: &Target) -> Result<()> {
    let agent = session.agent("testpod")?;
    let mut answered = BTreeSet::new();
    let all = async {
        while answered.len() < REPLICAS {
            let seen = probe_target(agent, target, Timeouts::default()).await?;
            answered.extend(seen.respond.and_then(|response| response.served_by));
        }
        Ok(())
    };
    match tokio::time::timeout(READY, all).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            let cause = format!("after {READY:?}, those that did are {answered:?}");
            Err(Error::new(ErrorKind::Deadline, "see every pod of the storefront answer", cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use reachmap::kubernetes::apply::{Manifest, render};

    use super::*;

    #[test]
    fn the_manifest_has_the_shop_and_nothing_that_is_not_in_it() {
        let text = render("shop.yaml", MANIFEST, &[("image", "nginx"), ("pull_policy", "Never")]).unwrap();
        let manifest = Manifest::parse("shop.yaml", &text).unwrap();
        let inside = manifest.objects().iter().filter(|object| object.metadata.namespace.as_deref() == Some(NAMESPACE));
        assert_eq!(inside.count(), manifest.objects().len() - 1, "all but the namespace itself");
    }
}
