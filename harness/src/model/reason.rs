//! Why a cell is as it is: a closed set of reasons, each with the facts that must bear it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use reachmap_wire::{DnsFailure, FailureClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Source, Target};

/// What the model says must happen in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// What the request names.
    pub target: Target,
    /// Whether an answer from one of the Service's pods comes back.
    pub reachable: bool,
    /// Why.
    pub reason: Reason,
    /// What the observation must show, in the order of the steps, for the reason to be true.
    pub facts: Vec<Fact>,
}

/// Something that an observation must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Resolve: the request names an address, so that nothing is asked.
    NothingAsked,
    /// Resolve: these names are asked, in this order (each for A, and for AAAA where the resolver does).
    Asks(Vec<String>),
    /// Resolve: this full name is answered, through these aliases, with these addresses.
    Resolves {
        /// The full name that is answered.
        answered: String,
        /// The aliases from there on, in order.
        aliases: Vec<String>,
        /// The addresses, in any order.
        addresses: BTreeSet<IpAddr>,
    },
    /// Resolve: the name does not resolve, in one of these ways.
    DoesNotResolve(BTreeSet<DnsFailure>),
    /// Connect: a connection to one of these is established.
    Connects(BTreeSet<SocketAddr>),
    /// Route or connect: no connection is established, in one of these ways.
    DoesNotConnect(BTreeSet<FailureClass>),
    /// Respond: one of these pods answers with status 200.
    ServedBy(BTreeSet<String>),
    /// Respond: the pod that answered saw one of these as the source address. A pod that is not listed may have seen
    /// any: the model does not say.
    SeenBy(BTreeMap<String, BTreeSet<Source>>),
}

/// Why a request arrives, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The name resolves through the search path, or as it is, to the cluster IP, which is translated
    /// on the client's node to a ready endpoint.
    ClusterIpByName {
        /// The full name that is answered.
        answered: String,
        /// Whether the resolver had to append a search domain.
        searched: bool,
        /// The cluster IP.
        cluster_ip: IpAddr,
        /// The node on which it is translated: the client's.
        node: String,
    },
    /// The cluster IP is translated on the client's node to a ready endpoint.
    ClusterIp {
        /// The cluster IP.
        cluster_ip: IpAddr,
        /// The node on which it is translated: the client's.
        node: String,
    },
    /// A CNAME leads to a name that CoreDNS's `hosts` entry, or another Service, gives an address.
    ExternalName {
        /// The Service's full name.
        answered: String,
        /// The alias.
        alias: String,
        /// The address that the alias ends at.
        address: IpAddr,
    },
    /// CoreDNS's `hosts` plugin has an entry for the name.
    HostsEntry {
        /// The name that the entry is for.
        answered: String,
        /// Its address.
        address: IpAddr,
    },
    /// The headless name resolves to the endpoints themselves, and the pod network leads there.
    HeadlessByName {
        /// The full name that is answered.
        answered: String,
        /// How many endpoints are ready.
        endpoints: usize,
    },
    /// The pod network leads to the pod.
    PodRoute {
        /// The pod.
        pod: String,
        /// The node that it is on.
        node: String,
        /// Whether that is the client's node too.
        same_node: bool,
    },
    /// The node port is translated on the node that was named.
    NodePort {
        /// The node that was named.
        node: String,
        /// The port.
        port: u16,
    },
    /// The load-balancer address is translated on the client's own node: the packet never leaves it for the load balancer.
    LoadBalancerShortCircuit {
        /// The address.
        address: IpAddr,
        /// The client's node.
        node: String,
    },
    /// A node announces the address to the network, and translates it there.
    LoadBalancerAnnounced {
        /// The address.
        address: IpAddr,
        /// The node that announces it, if the provider says so.
        node: Option<String>,
    },
    /// The Service has no load-balancer address: nobody answers for the one that its pool would give it.
    NoLoadBalancerAddress {
        /// The address that was tried instead.
        tried: IpAddr,
    },
    /// The load-balancer address is assigned, but no node announces it to the network.
    NotAnnounced {
        /// The address.
        address: IpAddr,
    },
    /// The client is no member of the cluster, but its routes lead to a node, which translates the cluster IP.
    RoutedToService {
        /// The cluster IP.
        cluster_ip: IpAddr,
        /// The node that the route leads to.
        node: String,
    },
    /// The client is no member of the cluster, but its routes lead to a node, which passes the packet on to the pod.
    RoutedToPod {
        /// The pod.
        pod: String,
        /// The node that the route leads to.
        node: String,
    },
    /// The client is no member of the cluster and has no route to cluster IPs.
    NoRouteToServices {
        /// The cluster IP.
        cluster_ip: IpAddr,
    },
    /// The client is no member of the cluster and has no route to pods.
    NoRouteToPods {
        /// The pod's address.
        address: IpAddr,
    },
    /// The client is no member of the cluster and has no route to the address, which is on the nodes' network.
    NoRoute {
        /// The address.
        address: IpAddr,
    },
    /// The client's resolver is not the cluster's, and does not know the name.
    NameUnknownOutside {
        /// The name.
        name: String,
    },
    /// The cluster's DNS does not know the name and passes it on to a server outside, which does not know it either.
    NameUnknownUpstream {
        /// The name that is passed on: the one given, or the alias that it leads to.
        name: String,
    },
    /// The cluster's DNS says that the name does not exist.
    NameDoesNotExist {
        /// The name as given.
        name: String,
        /// How the walk ends.
        failure: DnsFailure,
    },
    /// The name, or the address, is right, but no endpoint is ready: the packet is rejected.
    NoReadyEndpoint {
        /// The Service.
        service: String,
    },
    /// The traffic policy keeps the packet on a node that has no ready endpoint of its own: it is dropped.
    NoLocalEndpoint {
        /// The Service.
        service: String,
        /// The node.
        node: String,
    },
    /// The address is the Service's, and it has no such port: nothing translates the packet.
    NoSuchPort {
        /// The Service.
        service: String,
        /// The port that was named.
        port: u16,
    },
    /// The address is the node's, and no Service has that node port: the node answers for itself.
    NoSuchNodePort {
        /// The node.
        node: String,
        /// The port that was named.
        port: u16,
    },
    /// The name, or the address itself, leads to where nothing of this cluster answers.
    LeadsElsewhere {
        /// The name or address as given.
        name: String,
        /// Where it leads.
        address: IpAddr,
    },
}
