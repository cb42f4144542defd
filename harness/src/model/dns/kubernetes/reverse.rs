//! Names for addresses, and the zone's name servers:
//! <https://github.com/coredns/coredns/blob/v1.14.7/plugin/kubernetes/reverse.go> and its `ns.go`.

use reachmap_wire::RecordData;

use super::{
    Outcome,
    find::{Backend, dotted},
};
use crate::{model::dns::address_of_reverse, state::Service};

impl Backend<'_> {
    /// PTR: the Service that has the cluster IP, else each Service that has an endpoint there.
    pub(super) fn names_of(&self, name: &str) -> Outcome {
        let Some(address) = address_of_reverse(name) else {
            return match self.find(name) {
                Ok(_) => Outcome::Records(Vec::new()),
                Err(reason) => reason.into(),
            };
        };
        let is_listed = |namespace: &str| {
            let mut listed = self.options("namespaces").peekable();
            listed.peek().is_none() || self.is_exposed(namespace)
        };
        let primary = dotted(self.primary);
        let mut services = self.state.services.iter().filter(|service| is_listed(&service.namespace));
        if let Some(service) = services.find(|service| service.cluster_ips.contains(&address)) {
            let owner = format!("{}.{}.svc.{primary}", service.name, service.namespace);
            return Outcome::Records(vec![self.record(name, RecordData::Ptr(owner))]);
        }
        let mut records = Vec::new();
        for endpoint in &self.state.endpoints {
            if endpoint.address == address && endpoint.ready && is_listed(&endpoint.namespace) {
                let host = self.host_name(endpoint);
                let owner = format!("{host}.{}.{}.svc.{primary}", endpoint.service, endpoint.namespace);
                let record = self.record(name, RecordData::Ptr(owner.to_ascii_lowercase()));
                if !records.contains(&record) {
                    records.push(record);
                }
            }
        }
        if records.is_empty() { Outcome::NoSuchName } else { Outcome::Records(records) }
    }

    /// The Services that CoreDNS itself is an endpoint of.
    pub(super) fn own_services(&self) -> Vec<&Service> {
        let own: Vec<_> = self.state.dns_addresses();
        let has_own = |service: &Service| {
            self.state.endpoints_of(service).any(|endpoint| endpoint.ready && own.contains(&endpoint.address))
        };
        self.state.services.iter().filter(|service| !service.headless && has_own(service)).collect()
    }

    pub(super) fn name_servers(&self) -> Outcome {
        let services = self.own_services();
        if services.is_empty() {
            return Outcome::NotCovered("the Service of CoreDNS".to_owned());
        }
        let record = |service: &Service| {
            let owner = format!("{}.{}.svc.{}", service.name, service.namespace, dotted(self.zone));
            self.record(self.zone, RecordData::Other(format!("NS {owner}")))
        };
        Outcome::Records(services.into_iter().map(record).collect())
    }
}
