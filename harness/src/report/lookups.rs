//! What a run has to say of DNS: how the Corefile was changed, and how names were looked up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::addons::coredns::{Change, Way},
    matrix::Stage,
};

/// An edit of the Corefile, and how long it took to become live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CorefileEdit {
    /// The stage that it was made for.
    pub stage: String,
    /// How CoreDNS was brought to read it: by `restart` or by `reload`.
    pub way: Way,
    /// From the edit until the last replica was proven to serve it, in seconds.
    pub seconds: f64,
    /// Each replica, and after how many seconds it first answered from the edited Corefile.
    pub replicas: Vec<ReplicaTime>,
}

/// How long one replica took to serve an edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaTime {
    /// The replica's pod.
    pub pod: String,
    /// From the edit to its first answer from it, in seconds.
    pub seconds: f64,
}

impl CorefileEdit {
    pub(crate) fn of(stage: Stage, change: &Change) -> Self {
        let replicas = change.replicas.iter();
        Self {
            stage: stage.id().to_owned(),
            way: change.way,
            seconds: change.elapsed.as_secs_f64(),
            replicas: replicas
                .map(|replica| ReplicaTime { pod: replica.pod.clone(), seconds: replica.live_after.as_secs_f64() })
                .collect(),
        }
    }
}
