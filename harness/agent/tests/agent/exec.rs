//! Upload, start and protocol over the API server's exec channel, and over an engine's.

use std::time::Duration;

use reachmap::probe::{Agent, AgentBinary, bench, exec};

use crate::{api_server::ApiServer, http::server_that_echoes, probe};

/// A program of half a megabyte that becomes the agent: a tenth of the agent as tests build it.
fn binary() -> AgentBinary {
    let mut script = format!("#!/bin/sh\nexec {}\n", env!("CARGO_BIN_EXE_reachmap-agent"));
    while script.len() < 500_000 {
        script.push_str("# It never comes to this line, but all of it is uploaded.\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    AgentBinary::read(file.path()).unwrap()
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_program_in_a_pod_leaves_its_output_and_its_exit_code() {
    let server = ApiServer::start().await;
    let run = |script: &'static str, stdin: &'static [u8]| {
        let client = server.client.clone();
        async move {
            exec::output(&client, "shop", "testpod", Some("main"), &["sh", "-c", script], stdin, LIMIT).await.unwrap()
        }
    };
    for size in [0, 500, 4_000, 1_000_000] {
        let script: &str = Box::leak(format!("head -c {size} /dev/zero; echo complaint >&2; exit 22").into_boxed_str());
        let output = run(script, b"").await;
        assert_eq!((output.code, output.stdout.len()), (Some(22), size));
        assert_eq!(output.stderr, b"complaint\n");
    }
    let output = run("cat; cat >&2", b"what it reads").await;
    assert_eq!((output.code, output.text().as_str()), (Some(0), "what it reads"));
    let asked = server.requests().remove(0);
    assert!(asked.starts_with("/api/v1/namespaces/shop/pods/testpod/exec?"), "{asked}");
    assert!(asked.contains("container=main") && asked.contains("stdin=true"), "{asked}");
}

#[tokio::test]
async fn a_program_that_does_not_end_meets_the_deadline() {
    let server = ApiServer::start().await;
    let error =
        exec::output(&server.client, "shop", "testpod", None, &["sleep", "60"], b"", Duration::from_millis(300))
            .await
            .unwrap_err();
    assert_eq!(error.to_string(), "failed to run `sleep 60` in pod shop/testpod: not ended after 300ms");
}

#[tokio::test]
async fn an_agent_in_a_pod_is_uploaded_once_and_answers() {
    let server = ApiServer::start().await;
    let port = server_that_echoes().await;
    for _ in 0..2 {
        let agent = Agent::in_pod(&server.client, "shop", "testpod", "main", &binary()).await.unwrap();
        assert_eq!(agent.label(), "pod shop/testpod");
        let target = reachmap::model::method::Target { host: "127.0.0.1".to_owned(), port };
        let result = bench::bench(&agent, &target, 1_000, 64).await.unwrap();
        assert_eq!((result.count, result.failures, result.first_failure), (1_000, 0, None));
    }
    let files: Vec<_> = std::fs::read_dir(&server.directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 1, "one file, under its final name: {files:?}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_never_started() {
    let server = ApiServer::start().await;
    server.cut_after(100_000);
    let error = Agent::in_pod(&server.client, "shop", "testpod", "main", &binary()).await.unwrap_err();
    assert!(error.to_string().starts_with("failed to upload the agent to pod shop/testpod: "), "{error}");
    server.cut_after(usize::MAX);
    let agent = Agent::in_pod(&server.client, "shop", "testpod", "main", &binary()).await.unwrap();
    agent.hello().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_fails_what_waits_and_names_the_pod() {
    let server = ApiServer::start().await;
    let hanging = crate::http::server(|stream, _| async move {
        futures::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let agent = Agent::in_pod(&server.client, "shop", "testpod", "main", &binary()).await.unwrap();
    let call = agent.probe(probe("127.0.0.1", hanging));
    let cut = async {
        tokio::task::yield_now().await;
        server.cut();
    };
    let (result, ()) = tokio::time::timeout(LIMIT, async { tokio::join!(call, cut) }).await.expect("no hang");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the agent in pod shop/testpod") && error.contains("connection"), "{error}");
}

#[tokio::test]
async fn an_agent_in_a_container_goes_by_way_of_the_engines_command() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap().to_owned();
    let engine = move |command: reachmap::command::Command| {
        assert_eq!(
            (command.program.as_str(), &command.args[..3]),
            ("docker", &["exec", "-i", "laptop"].map(str::to_owned)[..])
        );
        let argv: Vec<String> = command.args[3..].iter().map(|word| word.replace("/agent", &here)).collect();
        reachmap::command::Command::new(argv[0].clone()).args(argv[1..].to_vec())
    };
    let agent = Agent::in_container(engine, "laptop", &binary()).await.unwrap();
    assert_eq!(agent.label(), "container laptop");
    let seen = agent.probe(probe("127.0.0.1", server_that_echoes().await)).await.unwrap();
    assert!(seen.is_reached(), "{seen:#?}");
}

#[tokio::test]
async fn a_place_that_cannot_take_the_agent_says_why() {
    let engine = |command: reachmap::command::Command| {
        let argv: Vec<String> = command.args[3..].iter().map(|word| word.replace("/agent", "/proc/no/agent")).collect();
        reachmap::command::Command::new(argv[0].clone()).args(argv[1..].to_vec())
    };
    let error = Agent::in_container(engine, "laptop", &binary()).await.unwrap_err();
    assert!(
        error.to_string().contains("upload the agent to container laptop") && error.to_string().contains("mkdir"),
        "{error}"
    );
    assert!(error.hint_text().is_some_and(|hint| hint.contains("/agent")));
}
