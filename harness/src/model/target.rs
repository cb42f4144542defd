//! From a way to the name or address, and the port, that a request names.

use std::net::IpAddr;

use super::{NameForm, ServiceRef, Target, Way};
use crate::{
    Error, ErrorKind, Result,
    state::{Service, State, lookup::first_of_range},
};

/// The port of what has none of its own: a plain name, an `ExternalName`, a pod's address.
const HTTP: u16 = 80;

impl Way {
    /// What a request that takes this way names, in a cluster in this `state`.
    ///
    /// A name is made without looking whether its Service is there: a name that does not exist is asked for too.
    ///
    /// ```
    /// use reachmap::{model::{NameForm, ServiceRef, Way}, state::State};
    /// let service = ServiceRef { namespace: "service-type-test".into(), name: "nginx-clusterip-service".into() };
    /// let state = State::example();
    /// let name = Way::ServiceName { service: service.clone(), form: NameForm::Absolute }.target(&state)?;
    /// assert_eq!(name.to_string(), "nginx-clusterip-service.service-type-test.svc.cluster.local.:80");
    /// assert_eq!(Way::ClusterIp { service }.target(&state)?.to_string(), "10.96.10.1:80");
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the state does not have what an address is taken from.
    pub fn target(&self, state: &State) -> Result<Target> {
        let target = |host: String, port: u16| Ok(Target { host, port });
        match self {
            Self::ServiceName { service, form } => {
                let port = state.service(&service.namespace, &service.name).and_then(first_port).unwrap_or(HTTP);
                target(service_name(service, *form, &state.cluster_domain), port)
            }
            Self::Name { name } => target(name.clone(), HTTP),
            Self::ClusterIp { service } => {
                let found = find(state, service)?;
                let address = preferred(&found.cluster_ips)
                    .ok_or_else(|| missing(format!("find the cluster IP of {service}"), "it has none"))?;
                target(address.to_string(), first_port(found).unwrap_or(HTTP))
            }
            Self::Address { address, port } => target(address.to_string(), *port),
            Self::PodIp { namespace, workload, ordinal } => {
                let pods = state.ready_pods_of(namespace, workload);
                let address = pods.get(*ordinal).and_then(|pod| preferred(&pod.addresses)).ok_or_else(|| {
                    missing(
                        format!("find pod {ordinal} of {workload} in {namespace}"),
                        format!("{} of its pods are ready", pods.len()),
                    )
                })?;
                target(address.to_string(), HTTP)
            }
            Self::NodePort { service, node } => {
                let port = find(state, service)?
                    .ports
                    .iter()
                    .find_map(|port| port.node_port)
                    .ok_or_else(|| missing(format!("find the node port of {service}"), "it has none"))?;
                let node = state.node_by_id(node)?;
                let address = preferred(&node.addresses)
                    .ok_or_else(|| missing(format!("find the address of node {}", node.name), "it has none"))?;
                target(address.to_string(), port)
            }
            Self::LoadBalancer { service } => {
                let found = find(state, service)?;
                let planned = || state.planned_pool.as_deref().and_then(first_of_range);
                let address = preferred(&found.load_balancer_addresses).or_else(planned).ok_or_else(|| {
                    missing(
                        format!("find a load-balancer address for {service}"),
                        "it has none, and no pool is planned that could give one",
                    )
                })?;
                target(address.to_string(), first_port(found).unwrap_or(HTTP))
            }
        }
    }
}

fn missing(tried: impl Into<String>, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, tried, cause)
}

fn find<'s>(state: &'s State, service: &ServiceRef) -> Result<&'s Service> {
    state
        .service(&service.namespace, &service.name)
        .ok_or_else(|| missing(format!("find the Service {service}"), "the cluster does not have it"))
}

fn first_port(service: &Service) -> Option<u16> {
    service.ports.first().map(|port| port.port)
}

/// The address that a person would type: the IPv4 one if there is one.
fn preferred(addresses: &[IpAddr]) -> Option<IpAddr> {
    addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first()).copied()
}

fn service_name(service: &ServiceRef, form: NameForm, domain: &str) -> String {
    let ServiceRef { namespace, name } = service;
    match form {
        NameForm::Short => name.clone(),
        NameForm::Namespace => format!("{name}.{namespace}"),
        NameForm::Svc => format!("{name}.{namespace}.svc"),
        NameForm::Full => format!("{name}.{namespace}.svc.{domain}"),
        NameForm::Absolute => format!("{name}.{namespace}.svc.{domain}."),
    }
}
