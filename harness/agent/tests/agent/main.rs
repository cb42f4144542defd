//! The agent's real binary, spoken to through the library, against servers on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that calls them")]

mod api_server;
mod background;
mod dns;
mod dns_server;
mod exec;
mod http;
mod life;
mod load;
mod recorder;

use reachmap::{
    command::Command,
    probe::Agent,
    wire::{Observation, Probe},
};

/// The agent's own program.
fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reachmap-agent"))
}

/// The agent as a child of this process.
async fn agent() -> Agent {
    Agent::spawn(program()).await.expect("the agent starts")
}

/// A probe of `host`, with limits that suit loopback.
fn probe(host: &str, port: u16) -> Probe {
    Probe {
        host: host.to_owned(),
        port,
        path: "/".to_owned(),
        request_id: "test-1".to_owned(),
        connect_timeout_ms: 1_000,
        timeout_ms: 5_000,
        aside: false,
    }
}

/// What an agent sees of a server on a loopback port.
async fn observe(port: u16) -> Observation {
    agent().await.probe(probe("127.0.0.1", port)).await.expect("the agent answers")
}
