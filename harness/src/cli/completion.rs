//! `completion`: what a shell needs to complete `cargo xtask …`.

use clap::{Args, CommandFactory as _, ValueEnum, builder::PossibleValuesParser};
use clap_complete::Shell;

use super::{Arguments, say};
use crate::{matrix::Matrix, session::suite::Suite};

/// What `completion` takes.
#[derive(Debug, Args)]
pub(super) struct CompletionArguments {
    /// The shell.
    shell: CompletedShell,
}

/// The shells that there is a completion for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompletedShell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// In Bash, one function completes all of `cargo`: ours does for `cargo xtask`, and leaves everything else to whichever was
/// there before.
const BASH: &str = r#"
_reachmap_other=$(complete -p cargo 2>/dev/null | sed -n 's/.*-F \([^ ]*\).*/\1/p')
[[ $_reachmap_other == _reachmap_cargo ]] || _reachmap_before=$_reachmap_other
_reachmap_cargo() {
    if [[ ${COMP_WORDS[1]} == xtask && $COMP_CWORD -gt 1 ]]; then
        COMP_WORDS=(reachmap_xtask "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _reachmap_xtask reachmap_xtask "$2" "$3"
    elif [[ -n $_reachmap_before ]]; then
        "$_reachmap_before" "$@"
    fi
}
complete -o bashdefault -o default -F _reachmap_cargo cargo
"#;

pub(super) fn print(suites: &[Suite], arguments: &CompletionArguments) {
    say(script(suites, arguments.shell).trim_end());
}

/// The script for a shell, with the names that `suites` and the vantages have.
fn script(suites: &[Suite], shell: CompletedShell) -> String {
    let mut command = command(suites);
    let mut script = Vec::new();
    match shell {
        CompletedShell::Bash => {
            // For a name with `-` in it, clap_complete writes functions that it does not find again.
            let mut command = command.name("reachmap_xtask");
            clap_complete::generate(Shell::Bash, &mut command, "reachmap_xtask", &mut script);
            script.extend_from_slice(BASH.as_bytes());
        }
        // cargo's own completion calls the function `_cargo-xtask`, if there is one.
        CompletedShell::Zsh => clap_complete::generate(Shell::Zsh, &mut command, "cargo-xtask", &mut script),
        CompletedShell::Fish => {
            // In fish, completions add up: these are for `cargo` with the subcommand `xtask`, and nothing else of it.
            let mut cargo = clap::Command::new("cargo").disable_help_flag(true).disable_help_subcommand(true);
            cargo = cargo.subcommand(command.name("xtask").bin_name("cargo xtask"));
            clap_complete::generate(Shell::Fish, &mut cargo, "cargo", &mut script);
        }
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// The command line, where names are choices: a shell can complete what a list has.
fn command(suites: &[Suite]) -> clap::Command {
    let suites: Vec<String> = suites.iter().map(|suite| suite.name.clone()).collect();
    // The program that cargo runs for `cargo xtask` has no blank in its name.
    let command = Arguments::command().name("cargo-xtask").bin_name("cargo-xtask");
    let command = if suites.is_empty() {
        command
    } else {
        command.mut_subcommand("e2e", |e2e| {
            e2e.mut_arg("suite", |suite| suite.value_parser(PossibleValuesParser::new(suites)))
        })
    };
    command.mut_subcommand("shell", |shell| {
        // One that is changed comes last, unless it is said where it stands.
        let vantages = PossibleValuesParser::new(Matrix::vantages(3));
        shell
            .mut_arg("vantage", |vantage| vantage.index(1).value_parser(vantages))
            .mut_arg("arguments", |arguments| arguments.index(2))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rstest::rstest;

    use super::*;

    fn suites() -> Vec<Suite> {
        vec![Suite::new("access", "suites"), Suite::new("dns", "suites")]
    }

    #[rstest]
    #[case(CompletedShell::Bash)]
    #[case(CompletedShell::Zsh)]
    #[case(CompletedShell::Fish)]
    fn every_shell_gets_every_command(#[case] shell: CompletedShell) {
        let script = script(&suites(), shell);
        for word in ["e2e", "completion", "kubectl", "until-fail", "nftables", "explain"] {
            assert!(script.contains(word), "{shell:?}: {word}");
        }
        // clap_complete writes no values of arguments without a name for fish.
        assert_eq!(script.contains("testpod-other"), shell != CompletedShell::Fish);
    }

    /// What Bash offers after `typed`, in a shell with no settings but a completion of cargo's own.
    fn offered(typed: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("completion");
        std::fs::write(&file, script(&suites(), CompletedShell::Bash)).unwrap();
        // Sourced twice, as people do who edit their settings.
        let program = r#"
            _own_cargo() { COMPREPLY=(of-cargo); }
            complete -F _own_cargo cargo
            source "$1"; source "$1"
            read -ra COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _reachmap_cargo cargo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        let said = Command::new("bash")
            .args(["--norc", "--noprofile", "-c", program, "bash", &file.to_string_lossy(), typed])
            .output()
            .expect("the tests need bash");
        assert!(said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[rstest]
    #[case("cargo xtask compl", &["completion"])]
    #[case("cargo xtask e2e --proxy-mode ", &["iptables", "nftables"])]
    #[ignore = "needs fish"]
    fn fish_completes_our_commands(#[case] typed: &str, #[case] expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("completion.fish");
        std::fs::write(&file, script(&suites(), CompletedShell::Fish)).unwrap();
        let program = "source $argv[1]; complete -C $argv[2]";
        let said = Command::new("fish")
            .args(["--no-config", "-c", program, &file.to_string_lossy(), typed])
            .env("HOME", directory.path())
            .output()
            .expect("this test needs fish");
        let said = String::from_utf8(said.stdout).unwrap();
        // Each line has a word and what it is for.
        let words: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        for word in expected {
            assert!(words.contains(word), "{typed}: {words:?}");
        }
    }

    #[rstest]
    #[case("cargo xtask compl", &["completion"])]
    #[case("cargo xtask e2e --proxy-mode ", &["iptables", "nftables"])]
    #[case("cargo xtask e2e --suite ", &["access", "dns"])]
    #[case("cargo xtask shell testpod-", &["testpod-other"])]
    #[case("cargo xtask report com", &["compare"])]
    #[case("cargo bui", &["of-cargo"])]
    #[case("cargo ", &["of-cargo"])]
    fn bash_completes_our_commands_and_leaves_cargos_alone(#[case] typed: &str, #[case] expected: &[&str]) {
        assert_eq!(offered(typed), expected, "{typed}");
    }
}
