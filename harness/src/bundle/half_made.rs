//! What a cluster says that no environment came of: kept among the run's logs, because such a cluster is deleted before
//! the bundle is written.

use std::{path::Path, time::Duration};

use kube::Client;
use tokio::time::Instant;

use super::{
    Contents, Scrubber,
    collect::{Ground, NodeAccess, collect_within, within},
};
use crate::{Context as _, ErrorKind, Result, command::read_text, home::write_atomically};

/// What the name of a directory with such facts ends with, among the logs of a run.
pub(crate) const FACTS: &str = "facts";

/// Where the facts are in the bundle.
const ROOT: &str = "facts/environment.up";

/// What is in the directory, and what could not be had.
const INDEX: &str = "index.json";

/// How long collecting may take: the user waits for an error that is known already.
const LIMIT: Duration = Duration::from_secs(30);

/// A cluster that could not be made ready.
pub(crate) struct HalfMade {
    /// Its API server, or why there is none to ask.
    pub(crate) client: Result<Client>,
    /// Its kubeconfig, as far as there is one: what it holds is a secret.
    pub(crate) kubeconfig: Option<String>,
    /// How commands are run on its nodes.
    pub(crate) nodes: NodeAccess,
    /// The namespaces of the run's own.
    pub(crate) namespaces: Vec<String>,
}

impl HalfMade {
    /// Keeps in `directory` what the cluster says, if its API server answers at all, else why there is nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it cannot be written.
    pub(crate) async fn keep(self, directory: &Path) -> Result<()> {
        let kubeconfig = self.kubeconfig.clone().unwrap_or_default();
        let contents = self.facts().await;
        // Nobody knows this kubeconfig any more when the bundle is written.
        let scrubber = Scrubber::default().with_environment().with_kubeconfig(&kubeconfig);
        for file in &contents.files {
            write_atomically(&directory.join(&file.path), scrubber.text(&file.text).0.as_bytes())?;
        }
        let index = serde_json::to_vec_pretty(&contents).tried(ErrorKind::Internal, || "list what was collected")?;
        write_atomically(&directory.join(INDEX), &index)
    }

    async fn facts(self) -> Contents {
        let mut contents = Contents::default();
        let until = Instant::now() + LIMIT;
        let answering = async {
            let client = self.client?;
            client.apiserver_version().await.tried(ErrorKind::Environment, || "ask the API server its version")?;
            Ok(client)
        };
        match within(until, answering).await {
            Ok(client) => {
                let ground =
                    Ground { client: &client, nodes: self.nodes, sites: &[], namespaces: self.namespaces.clone() };
                contents.extend(collect_within(&ground, ROOT, LIMIT).await);
            }
            Err(why) => contents.miss(ROOT, format!("there is no API server that answers: {why}")),
        }
        contents
    }
}

/// What [`HalfMade::keep`] has kept in `directory`; nothing if that was never finished.
pub(super) fn kept(directory: &Path) -> Contents {
    let index = read_text(&directory.join(INDEX)).ok();
    let Some(mut contents) = index.and_then(|text| serde_json::from_str::<Contents>(&text).ok()) else {
        return Contents::default();
    };
    contents.files.retain_mut(|file| match read_text(&directory.join(&file.path)) {
        Ok(text) => {
            file.text = text;
            true
        }
        Err(_) => false,
    });
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Error,
        kubernetes::mock,
        report::{self, Run},
    };

    const TOKEN: &str = "0123456789-of-the-kubeconfig";

    fn half_made(client: Result<Client>) -> HalfMade {
        let kubeconfig = Some(format!(r#"{{"users": [{{"name": "u", "user": {{"token": "{TOKEN}"}}}}]}}"#));
        HalfMade { client, kubeconfig, nodes: NodeAccess::ProxyPods, namespaces: vec!["shop".to_owned()] }
    }

    async fn of_run(half_made: HalfMade) -> Contents {
        let dir = tempfile::tempdir().unwrap();
        half_made.keep(&dir.path().join("logs/cluster-t.facts")).await.unwrap();
        let failure = report::Failure { message: "failed to make it".to_owned(), hint: None, exit_code: 3 };
        let run = Run { failure: Some(failure), ..Run::started("r", &[]) };
        super::super::of_run(&run, dir.path())
    }

    #[tokio::test]
    async fn what_a_half_made_cluster_says_is_in_the_bundle_without_its_secrets() {
        let (client, _asked) = mock::server(|asked| {
            match asked.path.as_str() {
            "/version" => (
                200,
                r#"{"major":"1","minor":"37","gitVersion":"v1","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#
                    .to_owned(),
            ),
            "/api/v1/namespaces/kube-system/events" => (
                200,
                format!(
                    r#"{{"kind":"List","apiVersion":"v1","metadata":{{}},"items":[{{"metadata":{{}},"involvedObject":{{"name":"coredns"}},"message":"node is not ready, {TOKEN}"}}]}}"#
                ),
            ),
            _ => (200, r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}"#.to_owned()),
        }
        });
        let contents = of_run(half_made(Ok(client))).await;
        let events =
            contents.files.iter().find(|file| file.path == "facts/environment.up/cluster/events/kube-system.json");
        let text = &events.unwrap().text;
        assert!(text.contains("node is not ready") && !text.contains(TOKEN), "{text}");
        assert_eq!(events.unwrap().about, "the last 200 events");
    }

    #[tokio::test(start_paused = true)]
    async fn why_there_are_no_facts_is_in_the_manifest() {
        let no_server = Error::new(ErrorKind::Environment, "run `kind get kubeconfig`", "no nodes found");
        let none = of_run(half_made(Err(no_server))).await;
        let (silent, _asked) = mock::server(|_| (mock::SILENCE, String::new()));
        let silent = of_run(half_made(Ok(silent))).await;
        let whys: Vec<String> = [none, silent]
            .into_iter()
            .flat_map(|one| one.missing)
            .map(|it| format!("{}: {}", it.path, it.why))
            .collect();
        insta::assert_snapshot!(whys.join("\n"), @r"
        facts/environment.up: there is no API server that answers: failed to run `kind get kubeconfig`: no nodes found
        facts/environment.up: there is no API server that answers: no answer after 10s
        ");
    }
}
