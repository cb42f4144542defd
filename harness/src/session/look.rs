//! What to do with a cluster in which something is not as expected: the commands to look at it.

use std::{io::IsTerminal as _, path::Path};

use super::{
    handover::{here, in_cache},
    run::blocking,
    suite::cell_of,
};
use crate::{Context as _, ErrorKind, Result, matrix::Stage, model::Method, plan::MOST_WORKERS, progress::Progress};

/// How many of the cells are named in a command that watches them.
const CELLS: usize = 5;

/// Where something is not as expected, and how a person gets there.
#[derive(Debug)]
pub(super) struct Failed<'a> {
    /// The stage that the cluster is in.
    pub(super) stage: Stage,
    /// The tests that failed.
    pub(super) tests: &'a [String],
    /// The cluster, if it is one that we made; else the words with which kubectl is started for it.
    pub(super) cluster: std::result::Result<&'a str, &'a [String]>,
    /// The cache directory, if it is not the usual one.
    pub(super) cache_dir: Option<&'a Path>,
}

impl Failed<'_> {
    /// The commands, each with what it is for.
    fn text(&self) -> String {
        let mut cells: Vec<(String, String)> = self.tests.iter().filter_map(|test| cell_of(test)).collect();
        cells.sort_unstable();
        cells.dedup();
        // Lookups are made in pods of their own, where nobody has a shell to open.
        cells.retain(|(_, method)| Method::find(method, MOST_WORKERS).is_ok());
        let vantage = cells.first().map_or("testpod", |(vantage, _)| vantage);
        let only: Vec<String> =
            cells.iter().take(CELLS).map(|(vantage, method)| format!("{vantage}/{method}")).collect();
        let commands = match self.cluster {
            Ok(name) => {
                let here = here(name, self.cache_dir);
                let watch = format!("cargo xtask watch {here} --only '{}'", only.join(","));
                [
                    Some((format!("cargo xtask shell {vantage} {here}"), "a shell where the request starts")),
                    Some((format!("cargo xtask kubectl {here} -- get pods -A -o wide"), "kubectl")),
                    Some((format!("cargo xtask logs {here}"), "the logs of nodes and pods")),
                    (!only.is_empty()).then_some((watch, "the cells, whenever you change something")),
                    Some((format!("cargo xtask down {here}"), "when you are done")),
                ]
                .into_iter()
                .flatten()
                .collect()
            }
            Err(kubectl) => vec![
                (format!("{} get pods -A -o wide", kubectl.join(" ")), "kubectl"),
                (format!("cargo xtask gc --all{}", in_cache(self.cache_dir)), "when you are done"),
            ],
        };
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
        let lines: Vec<String> =
            commands.iter().map(|(command, what)| format!("  {command:<width$}  # {what}")).collect();
        format!(
            "In the stage {} something is not as expected. Later stages are left out; the cluster is kept as it is now.\n{}",
            self.stage,
            lines.join("\n")
        )
    }

    /// Says how to look at the cluster, and waits as long as a person at the terminal does.
    ///
    /// What is journaled, such as the Corefile, is put back afterwards: it must not outlive the run.
    pub(super) async fn look(&self, progress: &Progress) -> Result<()> {
        progress.line(&self.text());
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            progress.line("CoreDNS's Corefile is put back now.");
            return Ok(());
        }
        progress.line("CoreDNS's Corefile is put back when you press Enter.");
        let read = || {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).tried(ErrorKind::Environment, || "wait for Enter").map(drop)
        };
        blocking(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_name_the_cluster_and_the_cells() {
        let tests = ["one::reaches::from_1_LAPTOP::by_1_POD_IP", "one::table"].map(str::to_owned);
        let stage = Stage::LoadBalancerReady;
        let failed = Failed { stage, tests: &tests, cluster: Ok("mine"), cache_dir: Some(Path::new("/a cache")) };
        insta::assert_snapshot!(failed.text(), @r"
        In the stage load-balancer-ready something is not as expected. Later stages are left out; the cluster is kept as it is now.
          cargo xtask shell laptop --name mine --cache-dir '/a cache'                    # a shell where the request starts
          cargo xtask kubectl --name mine --cache-dir '/a cache' -- get pods -A -o wide  # kubectl
          cargo xtask logs --name mine --cache-dir '/a cache'                            # the logs of nodes and pods
          cargo xtask watch --name mine --cache-dir '/a cache' --only 'laptop/pod-ip'    # the cells, whenever you change something
          cargo xtask down --name mine --cache-dir '/a cache'                            # when you are done
        ");
        let kubectl = ["kubectl", "--kubeconfig", "f"].map(str::to_owned);
        let failed = Failed { cluster: Err(&kubectl), cache_dir: None, ..failed };
        insta::assert_snapshot!(failed.text(), @r"
        In the stage load-balancer-ready something is not as expected. Later stages are left out; the cluster is kept as it is now.
          kubectl --kubeconfig f get pods -A -o wide  # kubectl
          cargo xtask gc --all                        # when you are done
        ");
    }
}
