//! What changed in the cluster, of all that decides who can reach a Service.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{ConfigMap, Pod, Service},
    discovery::v1::EndpointSlice,
};

/// What of an object matters, by name; an object whose facts are the same has not changed.
pub(super) type Facts = BTreeMap<&'static str, String>;

/// How many lines of a text that differ are shown.
const LINES: usize = 12;

/// The kind and the namespace of objects that are watched together.
pub(super) type Scope = (&'static str, String);

/// What a watch has heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// Everything that there is.
    Listed(BTreeMap<String, Facts>),
    /// One object, as it is now.
    Applied(String, Facts),
    /// One object, which is gone.
    Deleted(String),
}

/// What is known of the cluster.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<Scope, BTreeMap<String, Facts>>);

impl Known {
    /// Takes in what was heard; a line for each object that changed by it. The first list of a scope changes nothing.
    pub(super) fn hear(&mut self, scope: &Scope, heard: Heard) -> Vec<String> {
        let Some(known) = self.0.get_mut(scope) else {
            if let Heard::Listed(all) = heard {
                self.0.insert(scope.clone(), all);
            }
            return Vec::new();
        };
        let now = match heard {
            Heard::Listed(all) => all,
            Heard::Applied(name, facts) => {
                let line = line(scope, &name, known.get(&name), Some(&facts));
                known.insert(name, facts);
                return line.into_iter().collect();
            }
            Heard::Deleted(name) => {
                let before = known.remove(&name);
                return line(scope, &name, before.as_ref(), None).into_iter().collect();
            }
        };
        let before = std::mem::replace(known, now);
        let mut names: Vec<&String> = before.keys().chain(known.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| line(scope, name, before.get(name), known.get(name))).collect()
    }
}

/// One object's change, in a line; in more for a text.
fn line((kind, namespace): &Scope, name: &str, before: Option<&Facts>, now: Option<&Facts>) -> Option<String> {
    let object = format!("{kind} {namespace}/{name}");
    match (before, now) {
        (None, None) => None,
        (Some(_), None) => Some(format!("{object}: gone")),
        (None, Some(facts)) => Some(format!("{object}: new, {}", all(facts))),
        (Some(before), Some(now)) => {
            let nothing = String::new();
            let names = before.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>();
            let differences: Vec<String> = names
                .into_iter()
                .map(|name| (name, before.get(name).unwrap_or(&nothing), now.get(name).unwrap_or(&nothing)))
                .filter(|(_, before, now)| before != now)
                .map(|(name, before, now)| difference(name, before, now))
                .collect();
            (!differences.is_empty()).then(|| format!("{object}: {}", differences.join(", ")))
        }
    }
}

fn all(facts: &Facts) -> String {
    let shown = facts.iter().filter(|(_, value)| !value.is_empty() && !value.contains('\n'));
    shown.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn difference(name: &str, before: &str, now: &str) -> String {
    if before.contains('\n') || now.contains('\n') {
        return text_difference(name, before, now);
    }
    let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
    format!("{name} {} → {}", shown(before), shown(now))
}

/// The lines that a text has lost and gained, in their order.
fn text_difference(name: &str, before: &str, now: &str) -> String {
    let (mut lost, mut gained) = (Vec::new(), Vec::new());
    let without = |from: &str, other: &str, sign: char, into: &mut Vec<String>| {
        let mut others: Vec<&str> = other.lines().collect();
        for line in from.lines() {
            match others.iter().position(|other| *other == line) {
                Some(index) => drop(others.remove(index)),
                None => into.push(format!("\n  {sign} {}", line.trim_end())),
            }
        }
    };
    without(before, now, '-', &mut lost);
    without(now, before, '+', &mut gained);
    lost.extend(gained);
    let more = if lost.len() > LINES { format!("\n  … and {} more", lost.len() - LINES) } else { String::new() };
    lost.truncate(LINES);
    if lost.is_empty() { format!("{name} in another order") } else { format!("{name}{}{more}", lost.concat()) }
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    let mut values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
    values.sort_unstable();
    values.join(" ")
}

/// What of a Service matters: all that kube-proxy, CoreDNS and the load balancer go by.
pub(super) fn of_service(service: &Service) -> Facts {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default().into_iter().map(|port| {
        let node_port = port.node_port.map_or_else(String::new, |number| format!("@{number}"));
        let protocol = port.protocol.as_deref().map_or_else(String::new, |protocol| format!("/{protocol}"));
        format!("{}{protocol}{node_port}", port.port)
    });
    let addresses = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.clone());
    let addresses = addresses.unwrap_or_default().into_iter().filter_map(|ingress| ingress.ip.or(ingress.hostname));
    let selector = spec.selector.unwrap_or_default().into_iter().map(|(name, value)| format!("{name}={value}"));
    let affinity = spec.session_affinity.filter(|affinity| affinity != "None");
    Facts::from([
        ("type", spec.type_.unwrap_or_default()),
        ("cluster IPs", list(spec.cluster_ips.unwrap_or_default())),
        ("external name", spec.external_name.unwrap_or_default()),
        ("ports", list(ports)),
        ("selector", list(selector)),
        ("load-balancer addresses", list(addresses)),
        ("external traffic policy", spec.external_traffic_policy.unwrap_or_default()),
        ("internal traffic policy", spec.internal_traffic_policy.unwrap_or_default()),
        ("traffic distribution", spec.traffic_distribution.unwrap_or_default()),
        ("affinity", affinity.unwrap_or_default()),
    ])
}

/// What of an EndpointSlice matters: which addresses get connections.
pub(super) fn of_slice(slice: &EndpointSlice) -> Facts {
    let endpoints = slice.endpoints.iter().cloned().map(|endpoint| {
        let conditions = endpoint.conditions.unwrap_or_default();
        let mut words = endpoint.addresses.join("+");
        if conditions.ready == Some(false) {
            words.push_str("(not-ready)");
        }
        if conditions.terminating == Some(true) {
            words.push_str("(ending)");
        }
        words
    });
    Facts::from([("endpoints", list(endpoints))])
}

/// What of a pod matters.
pub(super) fn of_pod(pod: &Pod) -> Facts {
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.unwrap_or_default().into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
    let ending = pod.metadata.deletion_timestamp.is_some();
    let state = match (ending, ready) {
        (true, _) => "ending".to_owned(),
        (false, true) => "ready".to_owned(),
        (false, false) => format!("not ready ({})", status.phase.unwrap_or_default()),
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Facts::from([("state", state), ("address", status.pod_ip.unwrap_or_default()), ("node", node.unwrap_or_default())])
}

/// What of CoreDNS's configuration matters: its text.
pub(super) fn of_config_map(map: &ConfigMap) -> Facts {
    let text = map.data.as_ref().and_then(|data| data.get("Corefile")).cloned();
    Facts::from([("Corefile", text.unwrap_or_default())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(value: &str) -> Facts {
        Facts::from([("selector", value.to_owned())])
    }

    fn scope() -> Scope {
        ("Service", "shop".to_owned())
    }

    fn listed(objects: &[(&str, &str)]) -> Heard {
        Heard::Listed(objects.iter().map(|(name, value)| ((*name).to_owned(), facts(value))).collect())
    }

    #[test]
    fn only_what_differs_from_the_first_list_is_a_change() {
        let (mut known, scope) = (Known::default(), scope());
        assert!(known.hear(&scope, listed(&[("web", "app=a"), ("api", "app=b")])).is_empty());
        assert!(known.hear(&scope, Heard::Applied("web".to_owned(), facts("app=a"))).is_empty());
        let changed = known.hear(&scope, Heard::Applied("web".to_owned(), facts("app=c")));
        assert_eq!(changed, ["Service shop/web: selector app=a → app=c"]);
        let gone = known.hear(&scope, Heard::Deleted("api".to_owned()));
        assert_eq!(gone, ["Service shop/api: gone"]);
        assert!(known.hear(&scope, Heard::Deleted("api".to_owned())).is_empty());
        let new = known.hear(&scope, Heard::Applied("api".to_owned(), facts("")));
        assert_eq!(new, ["Service shop/api: new, "]);
    }

    #[test]
    fn a_watch_that_was_cut_off_tells_what_it_missed() {
        let (mut known, scope) = (Known::default(), scope());
        known.hear(&scope, listed(&[("web", "app=a"), ("api", "app=b"), ("same", "app=s")]));
        let changed = known.hear(&scope, listed(&[("web", "app=z"), ("new", "app=n"), ("same", "app=s")]));
        let expected = [
            "Service shop/api: gone",
            "Service shop/new: new, selector app=n",
            "Service shop/web: selector app=a → app=z",
        ];
        assert_eq!(changed, expected);
    }

    #[test]
    fn of_a_corefile_the_lines_that_differ_are_shown() {
        let before = ".:53 {\n    errors\n    reload\n}\n";
        let now = ".:53 {\n    errors\n    hosts {\n    }\n    reload\n}\n";
        assert_eq!(difference("Corefile", before, now), "Corefile\n  +     hosts {\n  +     }");
        assert_eq!(difference("Corefile", now, before), "Corefile\n  -     hosts {\n  -     }");
        assert_eq!(difference("Corefile", "a\nb\n", "b\na\n"), "Corefile in another order");
        let many: Vec<String> = (0..20).map(|number: u8| number.to_string()).collect();
        assert!(difference("Corefile", "\n", &many.join("\n")).ends_with("… and 9 more"));
    }

    #[test]
    fn a_heartbeat_is_no_change() {
        let pod = |time: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "web", "resourceVersion": time},
                "spec": {"nodeName": "worker", "containers": []},
                "status": {"phase": "Running", "podIP": "10.244.1.5", "conditions": [
                    {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": time},
                ]},
            }))
            .unwrap()
        };
        assert_eq!(of_pod(&pod("2026-01-01T00:00:00Z")), of_pod(&pod("2026-01-01T00:00:10Z")));
        assert_eq!(all(&of_pod(&pod("2026-01-01T00:00:00Z"))), "address 10.244.1.5, node worker, state ready");
    }

    #[test]
    fn an_endpoint_that_ends_is_told_from_one_that_is_not_ready() {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-1"}, "addressType": "IPv4", "ports": [],
            "endpoints": [
                {"addresses": ["10.244.2.7"], "conditions": {"ready": false, "terminating": true}},
                {"addresses": ["10.244.1.5"], "conditions": {"ready": true}},
            ],
        }))
        .unwrap();
        assert_eq!(of_slice(&slice)["endpoints"], "10.244.1.5 10.244.2.7(not-ready)(ending)");
    }
}
