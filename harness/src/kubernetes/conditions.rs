//! What waits wait for: each condition says what it sees while it does not hold.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};

use super::wait::Seen;

/// Every replica is of the newest template and available, and no older one is left.
///
/// The same test as `kubectl rollout status`, `observedGeneration` included: without it the state of
/// the previous template would pass.
pub fn deployment_rolled_out(deployment: Option<&Deployment>) -> Seen<()> {
    let Some(deployment) = deployment else {
        return Seen::NotYet("no such Deployment".to_owned());
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Seen::NotYet("the Deployment's controller has not seen the newest template".to_owned());
    }
    let progressing = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing");
    if let Some(condition) = progressing.filter(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded")) {
        return Seen::Never(
            condition.message.clone().unwrap_or_else(|| "its progress deadline is exceeded".to_owned()),
        );
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let all = status.replicas.unwrap_or(0);
    if updated == wanted && available == wanted && all == wanted {
        return Seen::Met(());
    }
    Seen::NotYet(format!(
        "{wanted} replicas wanted, {all} exist, {updated} of the newest template, {available} available"
    ))
}

/// The newest template's pod is available on every node where one should be, and there is such a node.
pub fn daemon_set_rolled_out(daemon_set: Option<&DaemonSet>) -> Seen<()> {
    let Some(daemon_set) = daemon_set else {
        return Seen::NotYet("no such DaemonSet".to_owned());
    };
    let status = daemon_set.status.clone().unwrap_or_default();
    if status.observed_generation < daemon_set.metadata.generation {
        return Seen::NotYet("the DaemonSet's controller has not seen the newest template".to_owned());
    }
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    if wanted > 0 && updated == wanted && available == wanted {
        return Seen::Met(());
    }
    Seen::NotYet(format!("{wanted} nodes want a pod, {updated} have the newest, {available} have one available"))
}

/// The pod is Ready and not on its way out.
pub fn pod_ready(pod: Option<&Pod>) -> Seen<()> {
    match pod {
        None => Seen::NotYet("no such pod".to_owned()),
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => Seen::NotYet("the pod is being deleted".to_owned()),
        Some(pod) if is_ready(pod) => Seen::Met(()),
        Some(pod) => Seen::NotYet(why_not_ready(pod)),
    }
}

/// Whether the pod's Ready condition holds.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What keeps a pod from being ready, as its containers and conditions tell.
pub fn why_not_ready(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "the pod has no status".to_owned();
    };
    for container in status.container_statuses.iter().flatten() {
        let Some(state) = &container.state else {
            continue;
        };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            let message = waiting.message.as_deref().unwrap_or("no message");
            return format!("container {} is waiting: {reason}: {message}", container.name);
        }
        if let Some(ended) = &state.terminated {
            return format!("container {} ended with exit code {}", container.name, ended.exit_code);
        }
    }
    let unmet = status.conditions.iter().flatten().find(|condition| condition.status != "True");
    let phase = status.phase.as_deref().unwrap_or("unknown");
    match unmet {
        Some(condition) => {
            let message = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or("no reason given");
            format!("phase {phase}, not {}: {message}", condition.type_)
        }
        None => format!("phase {phase}"),
    }
}

/// The Service has an address of a load balancer; returns it.
pub fn has_load_balancer_address(service: Option<&Service>) -> Seen<IpAddr> {
    let Some(service) = service else {
        return Seen::NotYet("no such Service".to_owned());
    };
    match load_balancer_addresses(service).first() {
        Some(address) => Seen::Met(*address),
        None => Seen::NotYet("its load-balancer status has no address".to_owned()),
    }
}

/// The Service exists and has no address of a load balancer.
pub fn has_no_load_balancer_address(service: Option<&Service>) -> Seen<()> {
    let Some(service) = service else {
        return Seen::NotYet("no such Service".to_owned());
    };
    match load_balancer_addresses(service).first() {
        Some(address) => Seen::NotYet(format!("its load-balancer status still has {address}")),
        None => Seen::Met(()),
    }
}

/// The addresses in a Service's load-balancer status.
pub fn load_balancer_addresses(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref());
    ingress.into_iter().flatten().filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

/// The object is gone.
pub fn is_gone<K>(object: Option<&K>) -> Seen<()> {
    match object {
        None => Seen::Met(()),
        Some(_) => Seen::NotYet("it is still there".to_owned()),
    }
}

/// The EndpointSlice objects of a Service, taken together, have at least `wanted` ready addresses.
pub fn has_ready_endpoints(wanted: usize) -> impl Fn(&BTreeMap<String, EndpointSlice>) -> Seen<Vec<IpAddr>> {
    move |slices| {
        let ready = ready_addresses(slices.values());
        if ready.len() >= wanted {
            return Seen::Met(ready);
        }
        Seen::NotYet(format!("{} of {wanted} endpoints ready", ready.len()))
    }
}

/// The addresses of ready endpoints. A missing `ready` means ready, as the API says.
pub fn ready_addresses<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Vec<IpAddr> {
    let endpoints = slices.into_iter().flat_map(|slice| &slice.endpoints);
    endpoints
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false))
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// There are at least `wanted` nodes, and all that there are are Ready.
pub fn nodes_ready(wanted: usize) -> impl Fn(&BTreeMap<String, Node>) -> Seen<()> {
    move |nodes| {
        let unready: Vec<&str> =
            nodes.iter().filter(|(_, node)| !is_node_ready(node)).map(|(name, _)| name.as_str()).collect();
        if nodes.len() >= wanted && unready.is_empty() {
            return Seen::Met(());
        }
        Seen::NotYet(format!("{} of {wanted} nodes, not ready: {}", nodes.len(), unready.join(", ")))
    }
}

/// Whether the node's Ready condition holds.
pub fn is_node_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn deployment(generation: i64, status: &Value) -> Deployment {
        from(json!({
            "metadata": {"name": "nginx", "generation": generation},
            "spec": {"replicas": 3, "selector": {}, "template": {}}, "status": status,
        }))
    }

    #[test]
    fn the_previous_template_s_state_does_not_pass_for_the_newest() {
        let done = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        assert_eq!(deployment_rolled_out(Some(&deployment(1, &done))), Seen::Met(()));
        assert!(matches!(deployment_rolled_out(Some(&deployment(2, &done))), Seen::NotYet(_)));
    }

    #[test]
    fn an_old_replica_that_is_left_is_not_rolled_out() {
        let surge = json!({"observedGeneration": 1, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3});
        assert_eq!(
            deployment_rolled_out(Some(&deployment(1, &surge))),
            Seen::NotYet("3 replicas wanted, 4 exist, 3 of the newest template, 3 available".to_owned())
        );
    }

    #[test]
    fn a_daemon_set_that_no_node_wants_is_not_rolled_out() {
        let none = from(json!({
            "metadata": {"generation": 1}, "spec": {"selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 0, "currentNumberScheduled": 0,
                       "numberMisscheduled": 0, "numberReady": 0},
        }));
        assert!(matches!(daemon_set_rolled_out(Some(&none)), Seen::NotYet(_)));
    }

    #[test]
    fn a_pod_without_its_image_says_so() {
        let pod = from(json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": "nginx", "image": "nginx:none", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}},
        }]}}));
        assert_eq!(
            pod_ready(Some(&pod)),
            Seen::NotYet("container nginx is waiting: ErrImageNeverPull: not present".to_owned())
        );
    }

    #[test]
    fn endpoints_that_are_not_ready_do_not_count() {
        let slice: EndpointSlice = from(json!({"addressType": "IPv4", "endpoints": [
            {"addresses": ["10.244.0.2"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.3"], "conditions": {"ready": false, "terminating": true}},
            {"addresses": ["10.244.0.4"]},
        ]}));
        let slices = BTreeMap::from([("kube-dns".to_owned(), slice)]);
        assert!(matches!(has_ready_endpoints(3)(&slices), Seen::NotYet(text) if text == "2 of 3 endpoints ready"));
        assert!(matches!(has_ready_endpoints(2)(&slices), Seen::Met(_)));
    }
}
