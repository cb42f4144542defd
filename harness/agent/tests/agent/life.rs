//! When the agent ends, and what its callers are told.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use reachmap::{
    command::poll,
    probe::Agent,
    wire::{Action, Outcome, Reply, Request},
};
use tokio::io::AsyncWriteExt as _;

use crate::{http, probe, program};

#[tokio::test]
async fn the_end_of_input_ends_it_once_what_is_under_way_is_answered() {
    let slow = http::server(|mut stream, _| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    })
    .await;
    let request = Request { id: 7, action: Action::Probe(probe("127.0.0.1", slow)) };
    let input = format!("{}\n", reachmap_json(&request));
    let output = program().stdin(input).deadline(Duration::from_secs(10)).run_async().await.unwrap();
    let reply: Reply = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reply.id, 7);
    assert!(matches!(reply.outcome, Outcome::Observation(seen) if seen.respond.as_ref().unwrap().status == Some(204)));
}

#[tokio::test]
async fn a_line_that_is_no_request_is_answered_and_survived() {
    let input = "{\"id\":1,\"action\":\"dance\"}\nnot even JSON\n\n{\"id\":2,\"action\":\"ping\"}\n";
    let output = program().stdin(input).deadline(Duration::from_secs(10)).run_async().await.unwrap();
    let replies: Vec<Reply> = output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert!(
        replies
            .iter()
            .any(|reply| reply.id == 1 && matches!(&reply.outcome, Outcome::Error(why) if why.contains("dance")))
    );
    assert!(replies.iter().any(|reply| reply.id == 2 && reply.outcome == Outcome::Pong));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a request"));
}

#[test]
fn nobody_who_reads_ends_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reachmap-agent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // Its input stays open: only the broken output can end it.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"{\"id\":1,\"action\":\"ping\"}\n").unwrap();
    ends(|| child.try_wait().unwrap().is_some());
}

#[tokio::test]
async fn dropping_the_last_handle_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ended");
    // The shell outlives the agent to tell that it ended by itself, not by a signal.
    let script = format!("{}; echo $? > {}", env!("CARGO_BIN_EXE_reachmap-agent"), mark.display());
    let agent = Agent::spawn(reachmap::command::Command::new("sh").args(["-c", &script])).await.unwrap();
    let other = agent.clone();
    drop(agent);
    other.hello().await.expect("a clone keeps it alive");
    drop(other);
    tokio::task::spawn_blocking(move || {
        ends(|| std::fs::read_to_string(&mark).is_ok_and(|text| text == "0\n"));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_killed_agent_fails_every_call_that_waits() {
    let hanging = http::server(|stream, _| async move {
        futures::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let script = format!("echo $$ > {}; exec {}", pid_file.display(), env!("CARGO_BIN_EXE_reachmap-agent"));
    let agent = Agent::spawn(reachmap::command::Command::new("sh").args(["-c", &script])).await.unwrap();
    let calls = (0..3).map(|_| agent.probe(probe("127.0.0.1", hanging)));
    let kill = async {
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        reachmap::command::Command::new("kill").args(["-KILL", pid.trim()]).run_async().await.unwrap();
    };
    let (results, ()) = tokio::join!(futures::future::join_all(calls), kill);
    for result in results {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("the agent in sh"), "{error}");
        assert!(error.to_string().contains("a signal ended it"), "{error}");
    }
    agent.hello().await.expect_err("it stays lost");
}

fn ends(mut ended: impl FnMut() -> bool) {
    poll("see the agent end", Duration::from_secs(10), || Ok(if ended() { Ok(()) } else { Err("it runs".to_owned()) }))
        .unwrap();
}

fn reachmap_json(request: &Request) -> String {
    serde_json::to_string(request).unwrap()
}
