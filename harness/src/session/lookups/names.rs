//! The names that are looked up: every form that people give a Service, and names that nobody has.

use std::net::IpAddr;

use crate::{
    environment::{
        tutorial::EXTERNAL_NAME,
        workloads::{CLUSTER_IP, NAMESPACE},
    },
    state::State,
};

/// The tutorial's other Services.
const EXTERNAL_SERVICE: &str = "nginx-external-service";
const HEADLESS: &str = "nginx-headless-service";

/// Each of these without and with a trailing dot: what differs from cluster to cluster is taken from its state.
///
/// ```
/// let names = reachmap::session::lookups::names(&reachmap::state::State::example());
/// assert!(names.len() >= 30);
/// assert!(names.contains(&"my-nginx.external.local.".to_owned()));
/// ```
pub fn names(state: &State) -> Vec<String> {
    let mut names = vec![
        EXTERNAL_NAME.to_owned(),
        // A Service in all its lengths.
        CLUSTER_IP.to_owned(),
        format!("{CLUSTER_IP}.{NAMESPACE}"),
        format!("{CLUSTER_IP}.{NAMESPACE}.svc"),
        format!("{CLUSTER_IP}.{NAMESPACE}.svc.cluster.local"),
        "kubernetes.default".to_owned(),
        format!("{HEADLESS}.{NAMESPACE}"),
        EXTERNAL_SERVICE.to_owned(),
        format!("{EXTERNAL_SERVICE}.{NAMESPACE}.svc.cluster.local"),
        // Names that nobody has, inside the cluster's domain and outside.
        "nobody".to_owned(),
        format!("nobody.{NAMESPACE}.svc.cluster.local"),
        // A name that is there, and has no address.
        format!("{NAMESPACE}.svc.cluster.local"),
        "api.example.com".to_owned(),
        "a.name.with.many.dots.example.com".to_owned(),
    ];
    let endpoint =
        state.endpoints.iter().find(|endpoint| endpoint.namespace == NAMESPACE && endpoint.service == HEADLESS);
    if let Some(dashed) = endpoint.map(|endpoint| dashed(endpoint.address)) {
        names.push(format!("{dashed}.{HEADLESS}.{NAMESPACE}.svc.cluster.local"));
        names.push(format!("{dashed}.{NAMESPACE}.pod.cluster.local"));
    }
    names.into_iter().flat_map(|name| [name.clone(), format!("{name}.")]).collect()
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}
