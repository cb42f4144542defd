//! From state, vantage and method to an expectation.

use std::{collections::BTreeSet, net::IpAddr};

use reachmap_wire::{DnsFailure, Hello};

use super::{
    Expectation, Fact, Method, Reason, Target, Vantage, Way,
    deliver::{Delivery, any_of, deliver},
    dns::{Corefile, QuestionKind, Resolution, ResolvConf, Source, absolute, is_in_zone, resolve, search::Outcome},
    route::Origin,
};
use crate::{Error, ErrorCode, ErrorKind, Result, state::State};

/// How a resolver outside the cluster says that it does not know a name: it is not ours to say which.
const UNKNOWN_OUTSIDE: [DnsFailure; 6] = [
    DnsFailure::NxDomain,
    DnsFailure::NoData,
    DnsFailure::ServFail,
    DnsFailure::Refused,
    DnsFailure::Timeout,
    DnsFailure::NoServer,
];

/// Top-level domains that the public DNS never has: RFC 6761, RFC 6762 and ICANN's `internal`.
const NEVER_PUBLIC: [&str; 6] = ["local.", "test.", "invalid.", "internal.", "onion.", "localhost."];

/// What must happen when a request from `vantage` takes `method` in a cluster in this `state`.
///
/// ```
/// use reachmap::{model::{Method, Vantage, expect}, state::State};
/// let mut state = State::example();
/// let laptop = Vantage::find(&state, "laptop")?;
/// let method = Method::find("clusterip-address", 3)?;
/// assert!(!expect(&state, &laptop, &method)?.reachable);
///
/// // A route to the Service network by way of a node, and the cluster IP is in reach.
/// state.places.get_mut("laptop").unwrap().routes.push(reachmap::wire::RouteEntry {
///     destination: "10.96.0.0/16".to_owned(),
///     gateway: Some("172.18.0.3".parse().unwrap()),
///     interface: "eth0".to_owned(),
/// });
/// assert!(expect(&state, &laptop, &method)?.reachable);
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Usage`] if the state does not have what the method or the vantage names, and
/// [`ErrorKind::Missing`] if the outcome depends on something that the model does not cover: such a cell is not
/// supported here, and never guessed.
pub fn expect(state: &State, vantage: &Vantage, method: &Method) -> Result<Expectation> {
    derive(state, vantage, method).map(|(expectation, _)| expectation)
}

/// An expectation, and what happens to the packets; none if no address comes of the name.
pub(super) type Derived = (Expectation, Option<Delivery>);

/// The expectation with what it was made of.
pub(super) fn derive(state: &State, vantage: &Vantage, method: &Method) -> Result<Derived> {
    let target = method.way.target(state)?;
    let origin = Origin::of(state, vantage)?;
    match target.host.parse::<IpAddr>() {
        Ok(address) => {
            let delivery = deliver(state, &origin, address, target.port, &target.host)?;
            let reason = delivery.reason.clone();
            Ok(expectation(target, vec![Fact::NothingAsked], reason, delivery))
        }
        Err(_) => by_name(state, vantage, &origin, &method.way, target),
    }
}

/// The error for what the model does not cover.
pub(super) fn not_covered(tried: impl Into<String>, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Missing, tried, format!("not covered by the model: {cause}")).with_code(ErrorCode::NotCovered)
}

fn expectation(target: Target, mut facts: Vec<Fact>, reason: Reason, delivery: Delivery) -> Derived {
    facts.extend(delivery.facts.iter().cloned());
    (Expectation { target, reachable: delivery.reachable, reason, facts }, Some(delivery))
}

fn unresolved(target: Target, facts: Vec<Fact>, reason: Reason) -> Derived {
    (Expectation { target, reachable: false, reason, facts }, None)
}

fn by_name(state: &State, vantage: &Vantage, origin: &Origin<'_>, way: &Way, target: Target) -> Result<Derived> {
    let place = state.places.get(&vantage.id).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("find the resolver of {vantage}"), "no agent stands there")
    })?;
    let conf = ResolvConf::parse(&place.resolv_conf);
    if !asks_the_cluster(state, &conf)? {
        // A Service's name is the cluster's own; of other names only those that nobody can publish are known to be unknown.
        if !matches!(way, Way::ServiceName { .. }) && !is_never_public(&target.host, state) {
            return Err(not_covered(
                format!("derive what {} resolves to from {vantage}", target.host),
                "its resolver is not the cluster's",
            ));
        }
        let reason = Reason::NameUnknownOutside { name: target.host.clone() };
        return Ok(unresolved(target, vec![Fact::DoesNotResolve(UNKNOWN_OUTSIDE.into())], reason));
    }
    by_cluster_dns(state, place, &conf, origin, target)
}

/// The name asked of CoreDNS, and then the way to what it says.
fn by_cluster_dns(
    state: &State,
    place: &Hello,
    conf: &ResolvConf,
    origin: &Origin<'_>,
    target: Target,
) -> Result<Derived> {
    let name = target.host.clone();
    let tried = || format!("derive what {name} resolves to");
    if state.corefile.trim().is_empty() {
        return Err(not_covered(
            tried(),
            "the cluster has no Corefile: its DNS is not CoreDNS, or keeps its configuration elsewhere",
        ));
    }
    let corefile: Corefile = state.corefile.parse()?;
    let Resolution { asked, outcome } =
        resolve(&name, conf, &kinds(place), |question| corefile.answer(question, state));
    let all_asked = asked.len();
    let asks = Fact::Asks(asked);
    match outcome {
        Outcome::Found { answered, aliases, addresses, by } => {
            let deliveries = addresses.iter().map(|address| deliver(state, origin, *address, target.port, &name));
            let delivery = any_of(deliveries.collect::<Result<Vec<_>>>()?)
                .ok_or_else(|| Error::new(ErrorKind::Internal, tried(), "no address was found"))?;
            let reason = reason_by_name(&name, &answered, &aliases, &addresses, by, delivery.reason.clone());
            let facts = vec![asks, Fact::Resolves { answered, aliases, addresses }];
            Ok(expectation(target, facts, reason, delivery))
        }
        Outcome::Failed(failure) => {
            let facts = vec![asks, Fact::DoesNotResolve([failure].into())];
            Ok(unresolved(target, facts, Reason::NameDoesNotExist { name, failure }))
        }
        Outcome::Outside { names, first } => {
            if let Some(public) = names.iter().find(|name| !is_never_public(name, state)) {
                return Err(not_covered(tried(), format!("{public} is passed on to a server outside the cluster")));
            }
            // A server outside may fail in a way that ends the walk: then what follows is not asked.
            let mut facts = Vec::new();
            if first + 1 == all_asked {
                facts.push(asks);
            }
            facts.push(Fact::DoesNotResolve(UNKNOWN_OUTSIDE.into()));
            let passed_on = names.into_iter().next().unwrap_or(name);
            Ok(unresolved(target, facts, Reason::NameUnknownUpstream { name: passed_on }))
        }
        Outcome::NotCovered { plugin } => Err(not_covered(tried(), format!("CoreDNS's plugin `{plugin}`"))),
    }
}

/// Whether the resolver's first server is the cluster's DNS.
///
/// A server behind the first is asked only when the first fails, which no state tells.
fn asks_the_cluster(state: &State, conf: &ResolvConf) -> Result<bool> {
    let ours = state.dns_addresses();
    let is_ours = |address: &IpAddr| {
        // Link-local: NodeLocal DNSCache, which answers for the cluster's DNS on every node
        // (https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/).
        ours.contains(address) || matches!(address, IpAddr::V4(v4) if v4.is_link_local())
    };
    match conf.nameservers.split_first() {
        Some((first, _)) if is_ours(first) => Ok(true),
        Some((_, rest)) if rest.iter().any(is_ours) => Err(not_covered(
            "derive which server answers",
            "the cluster's DNS is configured behind a server that is not the cluster's",
        )),
        _ => Ok(false),
    }
}

/// The record types that the vantage's resolver asks for: AAAA only where a global IPv6 address makes it worth while.
fn kinds(place: &Hello) -> Vec<QuestionKind> {
    let has_ipv6 = place.addresses.iter().any(|address| match address {
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    });
    if has_ipv6 { vec![QuestionKind::A, QuestionKind::Aaaa] } else { vec![QuestionKind::A] }
}

fn is_never_public(name: &str, state: &State) -> bool {
    let name = absolute(name);
    let single_label = name.matches('.').count() <= 1;
    single_label
        || is_in_zone(&name, &absolute(&state.cluster_domain))
        || NEVER_PUBLIC.iter().any(|zone| is_in_zone(&name, zone))
        // A search domain behind `name.namespace`: the namespace is no top-level domain.
        || name.trim_end_matches('.').rsplit('.').next().is_some_and(|last| state.has_namespace(last))
}

/// The reason for a name: how it led there, and what happened then.
fn reason_by_name(
    name: &str,
    answered: &str,
    aliases: &[String],
    addresses: &BTreeSet<IpAddr>,
    by: Source,
    delivered: Reason,
) -> Reason {
    let answered = answered.to_owned();
    let is_failure = !matches!(
        delivered,
        Reason::ClusterIp { .. }
            | Reason::PodRoute { .. }
            | Reason::NodePort { .. }
            | Reason::LoadBalancerShortCircuit { .. }
            | Reason::LoadBalancerAnnounced { .. }
    );
    let first = addresses.first().copied();
    match (is_failure, aliases.last(), by, delivered, first) {
        // What stops the packet is the news, not the name that led there.
        (true, _, _, delivered, _) => delivered,
        (_, Some(alias), _, _, Some(address)) => Reason::ExternalName { answered, alias: alias.clone(), address },
        (_, None, Source::Hosts, _, Some(address)) => Reason::HostsEntry { answered, address },
        (_, None, Source::Kubernetes, Reason::ClusterIp { cluster_ip, node }, _) => {
            let searched = absolute(name) != answered;
            Reason::ClusterIpByName { answered, searched, cluster_ip, node }
        }
        (_, None, Source::Kubernetes, Reason::PodRoute { .. }, _) => {
            Reason::HeadlessByName { answered, endpoints: addresses.len() }
        }
        (_, _, _, delivered, _) => delivered,
    }
}
