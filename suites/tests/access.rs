//! Every way to a Service, from every vantage, with its reason: one test per cell.

use reachmap::Result;
use rstest::rstest;

const TESTPOD: &str = "testpod";
const TESTPOD_OTHER: &str = "testpod-other";
const WORKER_1: &str = "worker-1";
const WORKER_2: &str = "worker-2";
const WORKER_3: &str = "worker-3";
const WORKER_4: &str = "worker-4";
const WORKER_5: &str = "worker-5";
const WORKER_6: &str = "worker-6";
const WORKER_7: &str = "worker-7";
const WORKER_8: &str = "worker-8";
const CONTROL_PLANE: &str = "control-plane";
const LAPTOP: &str = "laptop";

const CLUSTERIP_SHORT: &str = "clusterip-short";
const CLUSTERIP_NAMESPACE: &str = "clusterip-namespace";
const CLUSTERIP_SVC: &str = "clusterip-svc";
const CLUSTERIP_FQDN: &str = "clusterip-fqdn";
const CLUSTERIP_ABSOLUTE: &str = "clusterip-absolute";
const CLUSTERIP_ADDRESS: &str = "clusterip-address";
const EXTERNALNAME_SHORT: &str = "externalname-short";
const EXTERNALNAME_NAMESPACE: &str = "externalname-namespace";
const EXTERNALNAME_FQDN: &str = "externalname-fqdn";
const EXTERNAL_DOMAIN: &str = "external-domain";
const EXTERNAL_DOMAIN_ABSOLUTE: &str = "external-domain-absolute";
const POD_IP: &str = "pod-ip";
const POD_IP_MULTIPLE: &str = "pod-ip-multiple";
const NODEPORT_WORKER_1: &str = "nodeport-worker-1";
const NODEPORT_WORKER_2: &str = "nodeport-worker-2";
const NODEPORT_WORKER_3: &str = "nodeport-worker-3";
const NODEPORT_WORKER_4: &str = "nodeport-worker-4";
const NODEPORT_WORKER_5: &str = "nodeport-worker-5";
const NODEPORT_WORKER_6: &str = "nodeport-worker-6";
const NODEPORT_WORKER_7: &str = "nodeport-worker-7";
const NODEPORT_WORKER_8: &str = "nodeport-worker-8";
const NODEPORT_CONTROL_PLANE: &str = "nodeport-control-plane";
const NODEPORT_NAME: &str = "nodeport-name";
const LOADBALANCER_ADDRESS: &str = "loadbalancer-address";
const LOADBALANCER_NAME: &str = "loadbalancer-name";
const HEADLESS_SHORT: &str = "headless-short";
const HEADLESS_FQDN: &str = "headless-fqdn";

/// Checks a cell and compares what was seen, in roles, with what was seen when the snapshot was accepted.
async fn check(from: &str, by: &str) -> Result<()> {
    let verdict = reachmap_suites::check(from, by).await?;
    reachmap::assert_as_expected!(verdict);
    if !reachmap_suites::is_tutorials_cell(from, by)? {
        return Ok(());
    }
    let seen = reachmap_suites::redacted(&verdict)?;
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_yaml_snapshot!(format!("{}@{from}@{by}", verdict.stage), seen);
    });
    Ok(())
}

/// MetalLB is there, but has no addresses to give: the tutorial's table.
mod load_balancer_pending {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn reaches(
        #[values(
            TESTPOD,
            TESTPOD_OTHER,
            WORKER_1,
            WORKER_2,
            WORKER_3,
            WORKER_4,
            WORKER_5,
            WORKER_6,
            WORKER_7,
            WORKER_8,
            CONTROL_PLANE,
            LAPTOP
        )]
        from: &str,
        #[values(
            CLUSTERIP_SHORT,
            CLUSTERIP_NAMESPACE,
            CLUSTERIP_SVC,
            CLUSTERIP_FQDN,
            CLUSTERIP_ABSOLUTE,
            CLUSTERIP_ADDRESS,
            EXTERNALNAME_SHORT,
            EXTERNALNAME_NAMESPACE,
            EXTERNALNAME_FQDN,
            EXTERNAL_DOMAIN,
            EXTERNAL_DOMAIN_ABSOLUTE,
            POD_IP,
            POD_IP_MULTIPLE,
            NODEPORT_WORKER_1,
            NODEPORT_WORKER_2,
            NODEPORT_WORKER_3,
            NODEPORT_WORKER_4,
            NODEPORT_WORKER_5,
            NODEPORT_WORKER_6,
            NODEPORT_WORKER_7,
            NODEPORT_WORKER_8,
            NODEPORT_CONTROL_PLANE,
            NODEPORT_NAME,
            LOADBALANCER_ADDRESS,
            LOADBALANCER_NAME,
            HEADLESS_SHORT,
            HEADLESS_FQDN
        )]
        by: &str,
    ) -> Result<()> {
        check(from, by).await
    }
}

/// MetalLB has an address pool, and the Service has an address.
mod load_balancer_ready {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn reaches(
        #[values(
            TESTPOD,
            TESTPOD_OTHER,
            WORKER_1,
            WORKER_2,
            WORKER_3,
            WORKER_4,
            WORKER_5,
            WORKER_6,
            WORKER_7,
            WORKER_8,
            CONTROL_PLANE,
            LAPTOP
        )]
        from: &str,
        #[values(
            CLUSTERIP_NAMESPACE,
            CLUSTERIP_ADDRESS,
            EXTERNALNAME_NAMESPACE,
            POD_IP,
            NODEPORT_WORKER_1,
            NODEPORT_CONTROL_PLANE,
            LOADBALANCER_ADDRESS,
            LOADBALANCER_NAME
        )]
        by: &str,
    ) -> Result<()> {
        check(from, by).await
    }
}
