//! Zones for nodes that have none: labels of ours, which are taken off again.
//!
//! The label and the note that it is ours, an annotation, come and go by one change of the node: whoever finds the cluster later
//! knows what to take off.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    Context as _, ErrorKind, Result,
    state::{self, NodeRole, convert::ZONE},
};

/// The annotation of a node whose zone is ours: the run that gave it.
const OURS: &str = "reachmap.dev/zone-of-run";

/// The zones that nodes get, by their names: the last of several workers is alone in its zone, and the control plane, which has
/// no pods of the tutorial's, in another one.
pub(crate) fn of(nodes: &[state::Node]) -> BTreeMap<String, &'static str> {
    let named = state::lookup::named(nodes);
    let workers: Vec<&str> =
        named.iter().filter(|(_, node)| node.role == NodeRole::Worker).map(|(_, node)| node.name.as_str()).collect();
    let last = workers.last().filter(|_| workers.len() > 1);
    let zone = |node: &state::Node| match node.role {
        NodeRole::ControlPlane => "c",
        NodeRole::Worker if last == Some(&node.name.as_str()) => "b",
        NodeRole::Worker => "a",
    };
    named.iter().map(|(_, node)| (node.name.clone(), zone(node))).collect()
}

/// Gives every node that has no zone one of [`of`].
pub(super) async fn give(client: &Client, run: &str) -> Result<()> {
    let nodes = nodes(client).await?;
    let known: Vec<state::Node> = nodes.iter().map(state::convert::node).collect();
    let zones = of(&known);
    for node in known.iter().filter(|node| node.zone.is_none()) {
        change(client, &node.name, &json!(zones.get(&node.name)), &json!(run)).await?;
    }
    Ok(())
}

/// Takes off the zones that are ours, also those that a killed run has left.
pub(super) async fn take_off(client: &Client) -> Result<()> {
    for node in nodes(client).await?.iter().filter(|node| node.annotations().contains_key(OURS)) {
        change(client, &node.name_any(), &Value::Null, &Value::Null).await?;
    }
    Ok(())
}

/// Whether every node has a zone.
pub(super) async fn are_there(client: &Client) -> Result<bool> {
    Ok(nodes(client).await?.iter().all(|node| node.labels().contains_key(ZONE)))
}

async fn nodes(client: &Client) -> Result<Vec<Node>> {
    let api: Api<Node> = Api::all(client.clone());
    let nodes = api.list(&ListParams::default()).await.tried(ErrorKind::Environment, || "read the nodes' zones")?;
    Ok(nodes.items)
}

async fn change(client: &Client, node: &str, zone: &Value, run: &Value) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": { ZONE: zone }, "annotations": { OURS: run } } }));
    let changed = api.patch(node, &PatchParams::default(), &patch).await;
    changed.map(drop).tried(ErrorKind::Environment, || format!("change the zone of {node}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kubernetes::mock, state::State};

    #[test]
    fn the_last_worker_and_the_control_plane_have_zones_of_their_own() {
        let zones = of(&State::example().nodes);
        let zone = |node: &str| zones[node];
        assert_eq!(["reachmap-worker", "reachmap-worker2", "reachmap-worker3"].map(zone), ["a", "a", "b"]);
        assert_eq!(zone("reachmap-control-plane"), "c");
    }

    #[test]
    fn the_only_worker_shares_its_zone_with_nobody() {
        let nodes: Vec<state::Node> =
            State::example().nodes.into_iter().filter(|node| !node.name.ends_with(['2', '3'])).collect();
        let zones = of(&nodes);
        assert_eq!(zones.values().copied().collect::<Vec<_>>(), ["c", "a"]);
    }

    /// What is changed on a cluster of two nodes, one of which has a zone: node by node.
    async fn changes(zoned: &Value, what: impl AsyncFn(&Client) -> Result<()>) -> Vec<(String, Value)> {
        let nodes = json!({ "kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": [
            { "metadata": { "name": "t-worker", "labels": {} } },
            { "metadata": zoned },
        ] });
        let (client, served) = mock::server(move |asked| match asked.method.as_str() {
            "GET" => (200, nodes.to_string()),
            _ => (200, json!({ "metadata": { "name": "t" } }).to_string()),
        });
        what(&client).await.unwrap();
        drop(client);
        let asked = served.await.unwrap().into_iter().filter(|one| one.method == "PATCH");
        asked
            .map(|one| (one.path.rsplit('/').next().unwrap_or_default().to_owned(), one.body["metadata"].clone()))
            .collect()
    }

    #[tokio::test]
    async fn a_zone_that_is_not_ours_is_left_as_it_is() {
        let zoned = json!({ "name": "t-worker2", "labels": { ZONE: "eu-1" } });
        let given = changes(&zoned, async |client| give(client, "r1").await).await;
        let labelled = json!({ "labels": { ZONE: "a" }, "annotations": { OURS: "r1" } });
        assert_eq!(given, [("t-worker".to_owned(), labelled)]);
        assert_eq!(changes(&zoned, async |client| take_off(client).await).await, []);
    }

    #[tokio::test]
    async fn what_a_killed_run_has_left_is_taken_off() {
        let zoned = json!({ "name": "t-worker2", "labels": { ZONE: "b" }, "annotations": { OURS: "r0" } });
        let none = json!({ "labels": { ZONE: null }, "annotations": { OURS: null } });
        assert_eq!(changes(&zoned, async |client| take_off(client).await).await, [("t-worker2".to_owned(), none)]);
    }
}
