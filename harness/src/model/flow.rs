//! What becomes of a UDP flow while the endpoints of its Service change.
//!
//! The first datagram of a flow (one socket's, to one address and port) is translated by kube-proxy's rules; what follows is
//! translated as the first one was, by the entry that the first has left in the node's connection tracking. A sender that
//! never stops keeps that entry alive (`nf_conntrack_udp_timeout`, 30 s), and so it goes where it went, whatever the rules
//! say by now, unless kube-proxy deletes the entry. What it deletes is `CleanStaleEntries` in its
//! `pkg/proxy/conntrack/cleanup.go`; the rules here are those of v1.37, where each change of endpoints is followed by a
//! comparison of all UDP entries with the Services that there are (since v1.32). Two gaps of it are on purpose, or follow
//! from how it looks for entries: a Service that is gone is not compared at all, and the node port of a Service without
//! endpoints is left out, since it would match any flow to that port number. A Service and its endpoints come and go over two
//! watches, and which one a node hears of first is not known. If it is the endpoints' end, the flow is cleared after all. If
//! it is the endpoints that come, they are compared before the Service is there, and then not any more: it takes another
//! change of endpoints (`ConntrackCleanupRequired` in its `pkg/proxy/endpointschangetracker.go`) to clear what was left.

use std::collections::BTreeSet;

use crate::state::ProxyMode;

/// By what kind of address a flow names its Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frontend {
    /// Its cluster IP.
    ClusterIp,
    /// A load balancer's address, which a node announces on the link while the Service is there and has endpoints.
    LoadBalancer,
    /// A node port.
    NodePort,
}

/// Where the datagrams of a flow go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// All to one of these endpoints; which one was chosen when the flow was translated, and is not known before.
    OneOf(BTreeSet<String>),
    /// All to one of these, or all to nobody: it is not known which.
    OneOfOrNobody(BTreeSet<String>),
    /// To one of these as long as they come so far, or to nobody: it is not known which, and some are lost.
    AtMostOneOf(BTreeSet<String>),
    /// To nobody: they are rejected, or leave the node as they are.
    Nobody,
}

/// The first version, as `(major, minor)`, of which it is known what kube-proxy deletes.
pub const KNOWN_SINCE: (u32, u32) = (1, 37);

impl Flow {
    /// Where a flow that went to `now` goes once the Service, which was there before, has the endpoints `serving`, or is gone
    /// (`None`). [`Flow::back`] is for one that was gone.
    ///
    /// ```
    /// use reachmap::model::flow::{Flow, Frontend};
    /// let (old, new) = (Flow::OneOf(["a".to_owned()].into()), ["b".to_owned()].into());
    /// // New endpoints: the entry is deleted, and the next datagram is translated anew.
    /// assert_eq!(old.after(Frontend::ClusterIp, Some(&new)), Flow::OneOf(new));
    /// // No endpoints: a node port's entry is left as it is.
    /// assert_eq!(old.after(Frontend::NodePort, Some(&[].into())), old);
    /// ```
    #[must_use]
    pub fn after(&self, frontend: Frontend, serving: Option<&BTreeSet<String>>) -> Self {
        match (self, serving) {
            // No rule translates what has no entry.
            (Self::Nobody, None) => Self::Nobody,
            // A node that hears of the Service's end first does not compare any more; one that hears of the endpoints' end
            // first, over another watch, clears the entry as it does for a Service without endpoints.
            (Self::OneOf(now) | Self::OneOfOrNobody(now), None) if frontend == Frontend::ClusterIp => {
                Self::OneOfOrNobody(now.clone())
            }
            // Nor does anybody announce the address any more. Who sends to it finds out when it asks the next time.
            (Self::OneOf(now) | Self::OneOfOrNobody(now), None) if frontend == Frontend::LoadBalancer => {
                Self::AtMostOneOf(now.clone())
            }
            (flow, None) => flow.clone(),
            // The node port of a Service without endpoints is left out.
            (flow, Some(none)) if none.is_empty() && frontend == Frontend::NodePort => flow.clone(),
            (_, Some(none)) if none.is_empty() => Self::Nobody,
            // It stays with an endpoint that still serves.
            (Self::OneOf(now), Some(serving)) if now.is_subset(serving) => self.clone(),
            (_, Some(serving)) => Self::OneOf(serving.clone()),
        }
    }

    /// Where a flow that went to `self` while there was no Service goes once there is one again, with the endpoints `serving`.
    ///
    /// ```
    /// use reachmap::model::flow::Flow;
    /// let (old, new) = (Flow::OneOf(["a".to_owned()].into()), ["b".to_owned()].into());
    /// // A node that hears of the endpoints before it hears of the Service leaves the entry as it is.
    /// assert_eq!(old.back(&new), Flow::OneOf(["a".to_owned(), "b".to_owned()].into()));
    /// // And so it does with the entry of a flow that nobody translated.
    /// assert_eq!(Flow::Nobody.back(&new), Flow::OneOfOrNobody(["b".to_owned()].into()));
    /// ```
    #[must_use]
    pub fn back(&self, serving: &BTreeSet<String>) -> Self {
        match self {
            Self::Nobody => Self::OneOfOrNobody(serving.clone()),
            Self::OneOf(now) | Self::OneOfOrNobody(now) | Self::AtMostOneOf(now) => {
                Self::OneOf(now.union(serving).cloned().collect())
            }
        }
    }

    /// Whether datagrams may have gone so: these receivers got some, and all of them arrived (`whole`), or not.
    pub fn allows(&self, receivers: &BTreeSet<&str>, whole: bool) -> bool {
        let only = |pods: &BTreeSet<String>| receivers.iter().all(|receiver| pods.contains(*receiver));
        let one_of = |pods| receivers.len() == 1 && only(pods) && whole;
        match self {
            Self::OneOf(pods) => one_of(pods),
            Self::OneOfOrNobody(pods) => receivers.is_empty() || one_of(pods),
            Self::AtMostOneOf(pods) => receivers.len() <= 1 && only(pods),
            Self::Nobody => receivers.is_empty(),
        }
    }

    /// Where a flow goes whose datagrams went to these receivers.
    #[must_use]
    pub fn seen(receivers: &BTreeSet<&str>) -> Self {
        if receivers.is_empty() {
            return Self::Nobody;
        }
        Self::OneOf(receivers.iter().map(|receiver| (*receiver).to_owned()).collect())
    }

    /// Where a flow goes that begins now.
    #[must_use]
    pub fn new(serving: Option<&BTreeSet<String>>) -> Self {
        match serving {
            Some(serving) if !serving.is_empty() => Self::OneOf(serving.clone()),
            _ => Self::Nobody,
        }
    }
}

/// Why it is not known what a cluster's kube-proxy deletes; `None` if it is.
///
/// ```
/// use reachmap::{model::flow::not_known, state::ProxyMode};
/// assert_eq!(not_known("v1.37.2", ProxyMode::Iptables), None);
/// assert!(not_known("v1.31.0", ProxyMode::Iptables).unwrap().contains("v1.31.0"));
/// ```
pub fn not_known(kubernetes: &str, mode: ProxyMode) -> Option<String> {
    let mut numbers = kubernetes.trim_start_matches('v').split('.').map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    match (version, mode) {
        (_, ProxyMode::Unknown) => Some("how Services are translated is not known".to_owned()),
        (Some(version), _) if version >= KNOWN_SINCE => None,
        _ => Some(format!(
            "what kube-proxy deletes of UDP flows is known from v{}.{} on, and this is {kubernetes}",
            KNOWN_SINCE.0, KNOWN_SINCE.1
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn without_endpoints_an_address_is_cleared_and_a_node_port_is_not() {
        let (old, none) = (Flow::OneOf(set(&["a"])), set(&[]));
        assert_eq!(old.after(Frontend::ClusterIp, Some(&none)), Flow::Nobody);
        assert_eq!(old.after(Frontend::NodePort, Some(&none)), old);
        assert_eq!(Flow::Nobody.after(Frontend::NodePort, Some(&none)), Flow::Nobody);
    }

    #[test]
    fn a_flow_to_a_service_that_came_back_is_cleared_only_then() {
        let (old, new) = (Flow::OneOf(set(&["a"])), set(&["b", "c"]));
        let gone = old.after(Frontend::ClusterIp, None);
        assert_eq!(gone, Flow::OneOfOrNobody(set(&["a"])));
        assert_eq!(gone.back(&new), Flow::OneOf(set(&["a", "b", "c"])), "or not even then");
        assert_eq!(old.after(Frontend::NodePort, None), old, "a node port is not cleared in either order");
        let unannounced = old.after(Frontend::LoadBalancer, None);
        assert_eq!(unannounced, Flow::AtMostOneOf(set(&["a"])));
        assert_eq!(unannounced.after(Frontend::LoadBalancer, Some(&new)), Flow::OneOf(new.clone()));
        assert_eq!(gone.after(Frontend::ClusterIp, Some(&new)), Flow::OneOf(new.clone()));
        // One that began meanwhile is tracked as it was, untranslated.
        assert_eq!(Flow::new(None), Flow::Nobody);
        assert_eq!(Flow::Nobody.after(Frontend::NodePort, Some(&new)), Flow::OneOf(new));
    }

    #[test]
    fn what_was_seen_is_allowed_or_not() {
        let one = Flow::OneOf(set(&["a", "b"]));
        assert!(one.allows(&["a"].into(), true));
        assert!(!one.allows(&["a"].into(), false), "some were lost");
        assert!(!one.allows(&["a", "b"].into(), true), "it is one flow");
        assert!(!one.allows(&["c"].into(), true) && !one.allows(&[].into(), false));
        let either = Flow::OneOfOrNobody(set(&["a"]));
        assert!(either.allows(&["a"].into(), true) && either.allows(&[].into(), false));
        assert!(!either.allows(&["b"].into(), true) && !either.allows(&["a"].into(), false));
        let fading = Flow::AtMostOneOf(set(&["a"]));
        assert!(
            fading.allows(&["a"].into(), false)
                && fading.allows(&["a"].into(), true)
                && fading.allows(&[].into(), false)
        );
        assert!(!fading.allows(&["b"].into(), false));
        assert!(Flow::Nobody.allows(&[].into(), false) && !Flow::Nobody.allows(&["a"].into(), true));
        assert_eq!(Flow::seen(&["a"].into()), Flow::OneOf(set(&["a"])));
        assert_eq!(Flow::seen(&[].into()), Flow::Nobody);
    }

    #[test]
    fn versions_that_nobody_has_looked_at_are_not_covered() {
        assert!(not_known("v1.36.1", ProxyMode::Iptables).is_some());
        assert!(not_known("nonsense", ProxyMode::Nftables).is_some());
        assert!(not_known("v1.38.0", ProxyMode::Unknown).is_some());
        assert_eq!(not_known("v2.0.0", ProxyMode::Nftables), None);
    }

    proptest! {
        #[test]
        fn with_endpoints_a_flow_goes_to_one_of_them(
            now in proptest::collection::btree_set("[a-d]", 1..3),
            serving in proptest::collection::btree_set("[a-d]", 1..4),
            frontend in prop_oneof![
                Just(Frontend::ClusterIp), Just(Frontend::LoadBalancer), Just(Frontend::NodePort),
            ],
        ) {
            for flow in [Flow::OneOf(now.clone()), Flow::OneOfOrNobody(now.clone()), Flow::AtMostOneOf(now), Flow::Nobody] {
                let Flow::OneOf(goes) = flow.after(frontend, Some(&serving)) else { panic!("nobody") };
                prop_assert!(goes.is_subset(&serving));
                // And it does not move again while nothing changes.
                let flow = Flow::OneOf(goes);
                prop_assert_eq!(flow.after(frontend, Some(&serving)), flow);
            }
        }
    }
}
