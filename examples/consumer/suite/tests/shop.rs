//! Who can reach the shop. `cargo xtask e2e` runs this against a cluster; without one, every test fails.

use std::{collections::BTreeSet, fmt::Write as _};

use reachmap::{
    Result,
    model::{Method, Target},
    probe::{Timeouts, probe_target},
};
use rstest::rstest;
use shop_suite::{NAMESPACE, REPLICAS, STOREFRONT, Shop, by_cluster_ip, by_name};

const TESTPOD: &str = "testpod";
const TESTPOD_OTHER: &str = "testpod-other";
const WORKER_1: &str = "worker-1";
const CONTROL_PLANE: &str = "control-plane";
const LAPTOP: &str = "laptop";

const SHOP_NAME: fn() -> Method = by_name;
const SHOP_CLUSTER_IP: fn() -> Method = by_cluster_ip;

/// The state of the cluster in which `cargo xtask e2e` runs these tests.
mod load_balancer_pending {
    use super::*;

    /// From everywhere, what the model derives from the cluster's state is what happens, for that reason.
    /// Each of these tests is a cell by its name: `xtask` says which there are.
    #[rstest]
    #[tokio::test]
    async fn is_reached_as_kubernetes_promises(
        #[values(TESTPOD, TESTPOD_OTHER, WORKER_1, CONTROL_PLANE, LAPTOP)] from: &str,
        #[values(SHOP_NAME, SHOP_CLUSTER_IP)] by: fn() -> Method,
    ) -> Result<()> {
        let verdict = Shop::open().await?.check(from, by()).await?;
        reachmap::assert_as_expected!(verdict);
        Ok(())
    }

    /// What the owner of the shop relies on: it changes only by a decision.
    #[tokio::test]
    async fn is_open_inside_the_cluster_and_closed_to_everyone_else() -> Result<()> {
        let shop = Shop::open().await?;
        let mut table = String::new();
        for vantage in [TESTPOD, WORKER_1, LAPTOP] {
            for method in [by_name(), by_cluster_ip()] {
                let verdict = shop.check(vantage, method).await?;
                let reached = if verdict.is_reached() == Some(true) { "reached" } else { "not reached" };
                let reason = verdict.expectation.as_ref().map_or("", |expectation| expectation.reason.kind());
                writeln!(table, "{vantage:<8} {:<16} {reached:<12} {reason}", verdict.method.id).unwrap();
            }
        }
        insta::assert_snapshot!(table, @r"
        testpod  shop-name        reached      cluster_ip_by_name
        testpod  shop-cluster-ip  reached      cluster_ip
        worker-1 shop-name        not reached  name_unknown_outside
        worker-1 shop-cluster-ip  reached      cluster_ip
        laptop   shop-name        not reached  name_unknown_outside
        laptop   shop-cluster-ip  not reached  no_route_to_services
        ");
        Ok(())
    }

    /// One pod that never answers would not be missed in forty requests: fewer than one time in 10^11.
    // Any runtime will do: the session has one of its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn is_served_by_every_pod() -> Result<()> {
        let shop = Shop::open().await?;
        let agent = shop.session().agent(TESTPOD)?;
        let target = Target { host: format!("{STOREFRONT}.{NAMESPACE}"), port: 80 };
        let mut answered = BTreeSet::new();
        for _ in 0..40 {
            let seen = probe_target(agent, &target, Timeouts::default()).await?;
            assert!(seen.is_reached(), "{seen:#?}");
            answered.extend(seen.respond.and_then(|response| response.served_by));
        }
        let pods: BTreeSet<String> =
            shop.state.ready_pods_of(NAMESPACE, STOREFRONT).into_iter().map(|pod| pod.name.clone()).collect();
        assert_eq!(pods.len(), REPLICAS);
        assert_eq!(answered, pods);
        Ok(())
    }
}
