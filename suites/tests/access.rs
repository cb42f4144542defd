//! Every way to a Service, from every vantage, with its reason: one test per cell.

use reachmap::Result;
use reachmap_suites::prelude::*;

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

    reachmap_suites::from_everywhere! {
        check, by:
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
    }
}

/// MetalLB has an address pool, and the Service has an address.
mod load_balancer_ready {
    use super::*;

    reachmap_suites::from_everywhere! {
        check, by:
            CLUSTERIP_NAMESPACE,
            CLUSTERIP_ADDRESS,
            EXTERNALNAME_NAMESPACE,
            POD_IP,
            NODEPORT_WORKER_1,
            NODEPORT_CONTROL_PLANE,
            LOADBALANCER_ADDRESS,
            LOADBALANCER_NAME
    }
}
