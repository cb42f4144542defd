//! What the cluster itself says: Corefile, endpoints, pods, events, logs.

use serde_json::Value;

use super::{Bearing, Trail, kernel::some};
use crate::state::Service;

/// What bears on a name: how the Corefile differs from the one that the expectation was derived from, and CoreDNS's
/// words.
pub(super) fn dns(trail: &Trail<'_>) -> Vec<Bearing> {
    let mut found = Vec::new();
    if let Some((path, live)) = trail.file("cluster/Corefile") {
        let recorded = &trail.state.corefile;
        let only = |one: &str, other: &str, mark: &str| -> Vec<String> {
            let lines = one.lines().filter(|line| !other.lines().any(|known| known.trim() == line.trim()));
            lines.map(|line| format!("{mark} {}", line.trim())).collect()
        };
        let lines = [only(recorded, live, "-"), only(live, recorded, "+")].concat();
        let what = "The Corefile was not the one any more that the expectation was derived from (-)".to_owned();
        found.extend(some(what, &path, lines));
    }
    let name =
        trail.verdict.expectation.as_ref().map_or("", |expectation| expectation.target.host.trim_end_matches('.'));
    for (path, pod, text) in trail.files_below("logs/kube-system/coredns") {
        let bears = |line: &&str| {
            line.contains("[ERROR]") || line.contains("[FATAL]") || (!name.is_empty() && line.contains(name))
        };
        let lines: Vec<String> = text.lines().rev().filter(bears).map(str::to_owned).collect();
        found.extend(some(format!("The last words of coredns{}", pod.trim_end_matches(".coredns.log")), path, lines));
    }
    found
}

/// What bears on a Service: its endpoints, and what went wrong with pods and nodes on the way.
pub(super) fn bearing(trail: &Trail<'_>) -> Vec<Bearing> {
    let mut found: Vec<Bearing> = trail.services.iter().filter_map(|service| endpoints(trail, service)).collect();
    found.extend(unready(trail));
    found.extend(warnings(trail));
    found.extend(announcements(trail));
    found
}

/// A file of JSON: a list of objects.
fn objects(trail: &Trail<'_>, path: &str) -> Option<(String, Vec<Value>)> {
    let (path, text) = trail.file(path)?;
    Some((path, serde_json::from_str(text).ok()?))
}

fn endpoints(trail: &Trail<'_>, service: &Service) -> Option<Bearing> {
    let (path, slices) = objects(trail, "cluster/endpointslices.json")?;
    let is_own = |slice: &&Value| {
        slice["metadata"]["namespace"] == service.namespace.as_str()
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service.name.as_str()
    };
    let endpoints = slices.iter().filter(is_own).flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let line = |endpoint: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let is = |name: &str| endpoint["conditions"][name].as_bool().unwrap_or_default();
        let ready = if is("ready") { "ready" } else { "not ready" };
        let ending = if is("terminating") { ", ending" } else { "" };
        let (address, pod) = (text(&endpoint["addresses"][0]), text(&endpoint["targetRef"]["name"]));
        format!("{address} {ready}{ending}, {pod} on {}", text(&endpoint["nodeName"]))
    };
    let lines: Vec<String> = endpoints.map(line).collect();
    let name = format!("{}/{}", service.namespace, service.name);
    if lines.is_empty() {
        return Some(Bearing { what: format!("{name} has no endpoint"), path, lines });
    }
    some(format!("The endpoints of {name}"), &path, lines)
}

/// Pods on the way that are not ready: on its nodes those that make Services work, and anywhere those of the Services.
fn unready(trail: &Trail<'_>) -> Option<Bearing> {
    let (path, pods) = objects(trail, "cluster/pods.json")?;
    let bears = |pod: &&Value| {
        let (namespace, node) = (pod["metadata"]["namespace"].as_str(), pod["node"].as_str());
        let ready = pod["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Ready" && one["status"] == "True");
        let on_the_way = node.is_some_and(|node| trail.nodes.iter().any(|known| known == node));
        let of_service = trail.services.iter().any(|service| namespace == Some(&service.namespace));
        !ready && pod["phase"] != "Succeeded" && (on_the_way || of_service)
    };
    let line = |pod: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let meta = &pod["metadata"];
        format!(
            "{}/{} on {}: {}",
            text(&meta["namespace"]),
            text(&meta["name"]),
            text(&pod["node"]),
            text(&pod["phase"])
        )
    };
    some("Pods on the way that are not ready".to_owned(), &path, pods.iter().filter(bears).map(line).collect())
}

fn warnings(trail: &Trail<'_>) -> Vec<Bearing> {
    let mut names: Vec<&str> = trail.nodes.iter().map(String::as_str).collect();
    for service in &trail.services {
        names.push(&service.name);
        names.extend(trail.state.endpoints_of(service).filter_map(|endpoint| endpoint.pod.as_deref()));
    }
    let of_file = |(path, namespace, text): (&str, &str, &str)| {
        let events: Vec<Value> = serde_json::from_str(text).ok()?;
        let bears = |event: &&Value| {
            event["type"] == "Warning" && event["object"].as_str().is_some_and(|name| names.contains(&name))
        };
        let line = |event: &Value| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}: {}", text("last"), text("object"), text("reason"), text("message"))
        };
        let lines = events.iter().rev().filter(bears).map(line).collect();
        some(format!("Warnings in {}", namespace.trim_end_matches(".json")), path, lines)
    };
    trail.files_below("cluster/events/").filter_map(of_file).collect()
}

/// What MetalLB's speakers say of a load-balancer address on the way.
fn announcements(trail: &Trail<'_>) -> Vec<Bearing> {
    let is_balanced =
        |service: &&&Service| service.load_balancer_addresses.iter().any(|address| trail.addresses.contains(address));
    let names: Vec<String> = trail
        .services
        .iter()
        .filter(is_balanced)
        .map(|service| format!("{}/{}", service.namespace, service.name))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let of_file = |(path, pod, text): (&str, &str, &str)| {
        let bears = |line: &&str| names.iter().any(|name| line.contains(name.as_str()));
        let lines = text.lines().rev().filter(bears).map(str::to_owned).collect();
        some(format!("The last that MetalLB's {} says of it", pod.trim_end_matches(".log")), path, lines)
    };
    trail.files_below("logs/metallb-system/").filter_map(of_file).collect()
}
