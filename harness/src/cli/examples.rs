//! What the help texts show: for each command the lines that people type. A test reads each of them as the command line does.

pub(super) const ALL: &str = "\
Examples:
  cargo xtask doctor                            what this machine can do
  cargo xtask e2e                               the whole run
  cargo xtask up                                a cluster to try things on
  cargo xtask e2e --only 'laptop/*'             … from the laptop alone
  cargo xtask down                              and away with it

Exit codes: 0 all as expected, 1 something is not, 2 wrong options, 3 no environment, 4 a defect of Reachmap, 130 interrupted.
Each error has a code, such as RM-GO: docs/src/errors.md has what it means and what to do.";

pub(super) const E2E: &str = "\
Examples:
  cargo xtask e2e                               everything, on a cluster of its own
  cargo xtask e2e --plan                        what would be done; touches nothing
  cargo xtask e2e --suite access --keep         one suite; the cluster stays
  cargo xtask e2e --only 'laptop/*, !*/pod-ip'  some cells
  cargo xtask e2e --shard 2/4                   the second of four parts, for four machines
  cargo xtask e2e --suite dns --repeat 20       what is flaky?
  cargo xtask e2e --only laptop --until-fail --interactive-on-failure
  cargo xtask e2e --kubeconfig ~/.kube/config --context staging
  cargo xtask e2e --output json                 the report on standard output";

pub(super) const UP: &str = "\
Examples:
  cargo xtask up                                a cluster as `e2e` makes it
  cargo xtask up --name nft --proxy-mode nftables --workers 1";

pub(super) const SESSION: &str = "\
Examples:
  cargo xtask session -- cargo nextest run --test shop
  cargo xtask session --stage load-balancer-pending --keep -- cargo test --test shop
  cargo xtask session                           until Ctrl-C, for other shells
  cargo xtask session --kubeconfig ~/.kube/config --context staging";

pub(super) const STATUS: &str = "\
Examples:
  cargo xtask status
  cargo xtask status --output json              for a script";

pub(super) const KUBECTL: &str = "\
Examples:
  cargo xtask kubectl -- get pods -A
  cargo xtask kubectl --name nft -- -n kube-system edit configmap coredns";

pub(super) const SHELL: &str = "\
Examples:
  cargo xtask shell testpod                     a shell in the pod
  cargo xtask shell worker-2 -- ip route
  cargo xtask shell laptop -- curl -sS -m 5 http://172.18.255.200/";

pub(super) const LOGS: &str = "\
Examples:
  cargo xtask logs
  cargo xtask logs --name nft /tmp/logs";

pub(super) const DOWN: &str = "\
Examples:
  cargo xtask down
  cargo xtask down --name nft";

pub(super) const GC: &str = "\
Examples:
  cargo xtask gc                                what killed runs left behind
  cargo xtask gc --all                          and every cluster that is kept
  cargo xtask gc --output json                  what was done, and what could not be, for a script";

pub(super) const DOCTOR: &str = "\
Examples:
  cargo xtask doctor
  cargo xtask doctor --output plain             a line for each check, fields separated by tabs";

pub(super) const CACHE_LIST: &str = "\
Examples:
  cargo xtask cache list
  cargo xtask cache list --output json";

pub(super) const CACHE_PRUNE: &str = "\
Examples:
  cargo xtask cache prune";

pub(super) const CACHE_WARM: &str = "\
Examples:
  cargo xtask cache warm                        before going offline
  cargo xtask cache warm --k8s v1.37.2 --images packages";

pub(super) const DNS_EXPLAIN: &str = "\
Examples:
  cargo xtask dns explain api.example.com --resolver musl
  cargo xtask dns explain my-nginx.external.local --resolver nslookup --corefile ./Corefile
  cargo xtask dns explain web --namespace shop --ndots 2 --output json";

pub(super) const REPORT_COMPARE: &str = "\
Examples:
  cargo xtask report compare target/reachmap/before target/reachmap/latest
  cargo xtask report compare a.json b.json --format markdown
  cargo xtask report compare a.json b.json --output plain";

pub(super) const REPORT_MERGE: &str = "\
Examples:
  cargo xtask report merge target/reachmap/whole shard-1 shard-2 shard-3 shard-4";

pub(super) const REPORT_OPEN: &str = "\
Examples:
  cargo xtask report open                       the newest
  cargo xtask report open target/reachmap/20260101-120000-1";

pub(super) const REPORT_SCREENSHOTS: &str = "\
Examples:
  cargo xtask report screenshots --from target/reachmap/latest pictures
  cargo xtask report screenshots --from a.json --only matrix,failed pictures";

pub(super) const BUNDLE_EXPLAIN: &str = "\
Examples:
  cargo xtask bundle explain target/reachmap/latest
  cargo xtask bundle explain bundle.tar.gz --cell load-balancer-ready/laptop/pod-ip
  cargo xtask bundle explain bundle.tar.gz --output json";

pub(super) const BUNDLE_SHOW: &str = "\
Examples:
  cargo xtask bundle show bundle.tar.gz                         what is in it
  cargo xtask bundle show bundle.tar.gz report.json             one of its files";

pub(super) const BENCH_PROBES: &str = "\
Examples:
  cargo xtask bench probes --count 20000 --in-flight 128";

pub(super) const BENCH_BOOT: &str = "\
Examples:
  cargo xtask bench boot --workers 1
  cargo xtask bench boot --output plain         for a table of one's own";

pub(super) const BENCH_COREFILE: &str = "\
Examples:
  cargo xtask bench corefile --way restart --edits 40";

pub(super) const BENCH_STATISTICS: &str = "\
Examples:
  cargo xtask bench statistics --runs 10000
  cargo xtask bench statistics --seed 7         the same counts each time";

pub(super) const BENCH_LOAD: &str = "\
Examples:
  cargo xtask bench load --requests 100000 --connections 100";

pub(super) const MATRIX: &str = "\
Examples:
  cargo xtask matrix
  cargo xtask matrix --json                     for fromJSON in a workflow
  cargo xtask matrix --full --images packages --output plain";

pub(super) const LINT_ACTIONS: &str = "\
Examples:
  cargo xtask lint actions
  cargo xtask lint actions ../my-repository";

pub(super) const WATCH: &str = "\
Examples:
  cargo xtask up
  cargo xtask watch --only 'laptop/*'           then change something in another terminal
  cargo xtask watch --only 'testpod/clusterip-*, !*/clusterip-absolute' --name nft";

pub(super) const COMPLETION: &str = "\
Examples:
  cargo xtask completion bash > ~/.local/share/reachmap.bash    and in ~/.bashrc: source ~/.local/share/reachmap.bash
  cargo xtask completion zsh > ~/.zfunc/_cargo-xtask            with ~/.zfunc in fpath, before compinit
  cargo xtask completion fish > ~/.config/fish/completions/cargo-xtask.fish";

pub(super) const DOCS_BUILD: &str = "\
Examples:
  cargo xtask docs build
  cargo xtask docs build --mdbook /opt/mdbook/bin/mdbook";

pub(super) const DOCS_MATRIX: &str = "\
Examples:
  cargo xtask docs matrix                       writes docs/src/matrix.md
  cargo xtask docs matrix --check               exit code 1 if it is not what the code says";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::Arguments;

    /// Every command that does something, with its help.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let mut subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help").peekable();
        if subcommands.peek().is_none() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            found.push((path.to_owned(), help));
        }
        for sub in subcommands {
            leaves(sub, format!("{path} {}", sub.get_name()).trim(), found);
        }
    }

    /// The words of a line, as a shell has them: the description after two spaces is none of them, nor is what `>` writes to.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let (mut quoted, mut spaces) = (false, 0);
        for c in line.trim().chars() {
            spaces = if c == ' ' && !quoted { spaces + 1 } else { 0 };
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    if spaces == 2 {
                        break;
                    }
                    words.push(String::new());
                }
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.into_iter().take_while(|word| word != ">").filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn every_command_has_examples_and_every_example_is_a_command_line() {
        let mut all = Vec::new();
        let command = Arguments::command();
        leaves(&command, "", &mut all);
        all.push((String::new(), command.get_after_help().unwrap().to_string()));
        assert!(all.len() > 20, "{all:?}");
        for (path, help) in all {
            let lines: Vec<&str> = help.lines().filter(|line| line.starts_with("  cargo xtask ")).collect();
            assert!(help.starts_with("Examples:\n") && !lines.is_empty(), "`{path}` has no examples");
            assert!(
                lines.iter().any(|line| words(line).join(" ").contains(&path)),
                "`{path}` is in none of its examples"
            );
            for line in lines {
                let words = words(line);
                // `cargo` runs the program; its first word is `xtask`.
                if let Err(error) = Arguments::try_parse_from(&words[1..]) {
                    panic!("{line}\n{error}");
                }
            }
        }
    }

    /// The commands whose result is no data: what a shell or other programs print, files that are written, a page that is opened.
    const WITHOUT_FORMS: [&str; 9] = [
        "session",
        "kubectl",
        "shell",
        "logs",
        "report open",
        "report screenshots",
        "completion",
        "docs build",
        "docs matrix",
    ];

    #[test]
    fn every_command_that_has_a_result_prints_it_in_every_form() {
        fn without(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let subcommands: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
            if subcommands.is_empty() && !command.get_arguments().any(|argument| argument.get_id() == "output") {
                found.push(path.to_owned());
            }
            for sub in subcommands {
                without(sub, format!("{path} {}", sub.get_name()).trim(), found);
            }
        }
        let mut found = Vec::new();
        without(&Arguments::command(), "", &mut found);
        assert_eq!(found, WITHOUT_FORMS);
    }
}
