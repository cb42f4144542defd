//! A command that repeats a request by hand.

use crate::model::{Target, Vantage, VantageKind};

/// How long the command waits, in seconds: as long as a probe does.
const PATIENCE: u32 = 5;

/// A command that sends the same request from the same vantage, for a terminal.
///
///
/// ```
/// use reachmap::{model::{Target, Vantage}, verdict::reproduce};
/// let target = Target { host: "10.96.10.1".to_owned(), port: 80 };
/// assert_eq!(
///     reproduce(&Vantage::pod("testpod", "service-type-test", "testpod"), &target),
///     "kubectl -n service-type-test exec testpod -- curl -sS -i -m 5 http://10.96.10.1:80/",
/// );
/// ```
pub fn reproduce(vantage: &Vantage, target: &Target) -> String {
    let curl = format!("curl -sS -i -m {PATIENCE} http://{target}/");
    match &vantage.kind {
        VantageKind::Pod { namespace, pod } => {
            format!("kubectl -n {namespace} exec {pod} -- {curl}")
        }
        // The node itself: its shell has the node's network and resolver.
        VantageKind::Node { node, .. } => format!("docker exec {node} {curl}"),
        VantageKind::Laptop => format!("docker exec {} {curl}", vantage.id),
    }
}
