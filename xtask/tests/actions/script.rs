//! A script of a workflow or an action, and the machine that it believes to run on.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A YAML file of the repository.
pub(crate) fn read(file: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap()
}

/// The files with scripts in them.
pub(crate) const FILES: [&str; 3] = ["action.yml", ".github/workflows/ci.yml", ".github/workflows/e2e.yml"];

/// A `run:` step.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Where it is: file, job and step.
    pub(crate) place: String,
    /// What bash gets.
    pub(crate) text: String,
    /// Its variables, with expressions in them.
    env: BTreeMap<String, String>,
}

/// Every step of a file, each with the job it is in.
pub(crate) fn steps(file: &str) -> Vec<(String, Value)> {
    let value = read(file);
    let of = |job: &str, job_value: &Value| -> Vec<(String, Value)> {
        job_value["steps"].as_array().unwrap().iter().map(|step| (job.to_owned(), step.clone())).collect()
    };
    match value.get("jobs") {
        Some(jobs) => jobs.as_object().unwrap().iter().flat_map(|(name, job)| of(name, job)).collect(),
        None => of("runs", &value["runs"]),
    }
}

/// Every script of every file.
pub(crate) fn all() -> Vec<Script> {
    let mut scripts = Vec::new();
    for file in FILES {
        for (job, step) in steps(file) {
            let Some(text) = step.get("run") else { continue };
            let text = text.as_str().unwrap().to_owned();
            let name = step.get("name").map_or(text.as_str(), |name| name.as_str().unwrap());
            let variables = step.get("env").and_then(Value::as_object).into_iter().flatten();
            let env = variables.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            scripts.push(Script { place: format!("{file}: {job}: {name}"), text, env });
        }
    }
    scripts
}

/// The script at `place`.
pub(crate) fn find(place: &str) -> Script {
    all().into_iter().find(|script| script.place == place).unwrap_or_else(|| panic!("no script at {place}"))
}

/// The text with each `${{ expression }}` replaced by its value; one without a value fails the test.
pub(crate) fn evaluate(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let expression = expression.trim();
        result.push_str(before);
        result.push_str(values.get(expression).unwrap_or_else(|| panic!("nobody gave `{expression}` a value")));
        rest = after;
    }
    result + rest
}

/// How the fake `cargo` and `rustup` are called, and what they do.
const CARGO: &str = r#"#!/bin/sh
{ printf '%s\0' cargo "$@"; printf '\n\0'; } >> "$FAKE/calls"
case "$1" in
  fmt) exec "$REAL_CARGO" "$@" ;;
  xtask) shift ;;
  *) exit 0 ;;
esac
[ "$1" = e2e ] || exec "$XTASK" "$@"
for word; do
  case "$word" in
    --list | --plan) exec "$XTASK" "$@" ;;
    --report-dir=*) reports=${word#--report-dir=} ;;
  esac
done
# Here a cluster would be made.
. "$FAKE/end"
"#;

const RUSTUP: &str = r#"#!/bin/sh
{ printf '%s\0' rustup "$@"; printf '\n\0'; } >> "$FAKE/calls"
[ "$1" != show ] || [ -z "$NO_TOOLCHAIN" ]
"#;

/// The end of a run that got as far as its reports.
pub(crate) fn reports_and_exit(code: u8) -> String {
    format!(
        r#"mkdir -p "$reports/20260101-120000-1/logs"
for report in report.html report.json report.md junit.xml conformance.yaml; do
  echo "$report" > "$reports/20260101-120000-1/$report"
done
[ {code} = 0 ] || echo bundle > "$reports/20260101-120000-1/bundle.tar.gz"
ln -sfn 20260101-120000-1 "$reports/latest"
exit {code}
"#
    )
}

/// The machine that a script runs on.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    pub(crate) env: BTreeMap<String, String>,
}

/// What a script left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    pub(crate) outputs: BTreeMap<String, String>,
}

impl Machine {
    /// A machine on which a run would end as the shell script `end` does.
    pub(crate) fn new(end: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("actions").tempdir().unwrap();
        let machine = Self { directory, env: BTreeMap::new() };
        for name in ["bin", "workspace", "action"] {
            fs::create_dir(machine.path(name)).unwrap();
        }
        for (name, text) in [("bin/cargo", CARGO), ("bin/rustup", RUSTUP)] {
            fs::write(machine.path(name), text).unwrap();
            fs::set_permissions(machine.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (name, text) in [("end", end), ("calls", ""), ("output", ""), ("summary", ""), ("env", "")] {
            fs::write(machine.path(name), text).unwrap();
        }
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command that runs `script` as GitHub does, with `values` for its expressions.
    pub(crate) fn command(&self, script: &Script, values: &BTreeMap<String, String>) -> Command {
        let file = self.path("script.sh");
        fs::write(&file, &script.text).unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&file).env_clear();
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()));
        for (name, path) in [
            ("FAKE", ""),
            ("HOME", ""),
            ("XDG_CACHE_HOME", "cache"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("GITHUB_ENV", "env"),
            ("GITHUB_WORKSPACE", "workspace"),
        ] {
            command.env(name, self.path(path));
        }
        command.env("XTASK", env!("CARGO_BIN_EXE_xtask")).env("REAL_CARGO", env!("CARGO"));
        // Where the real cargo finds its toolchain, beside this home.
        for name in ["RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(&self.env);
        command.envs(script.env.iter().map(|(name, text)| (name, evaluate(text, values))));
        command.current_dir(self.path("workspace")).stdin(Stdio::null());
        command
    }

    /// Runs `script` to its end.
    pub(crate) fn run(&self, script: &Script, values: &BTreeMap<String, String>) -> Ended {
        let output = self.command(script, values).output().unwrap();
        self.ended(&output)
    }

    pub(crate) fn ended(&self, output: &Output) -> Ended {
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        Ended {
            code: output.status.code(),
            printed: String::from_utf8_lossy(&printed).into_owned(),
            outputs: outputs(&fs::read_to_string(self.path("output")).unwrap()),
        }
    }

    /// How `cargo` and `rustup` were called, word by word.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.path("calls")).unwrap();
        let words: Vec<&str> = text.split_terminator('\0').collect();
        let calls = words.split(|word| *word == "\n").filter(|call| !call.is_empty());
        calls.map(|call| call.iter().map(|word| (*word).to_owned()).collect()).collect()
    }

    /// Whether there is a file called `name` anywhere on the machine.
    pub(crate) fn has_anywhere(&self, name: &str) -> bool {
        fn walk(directory: &Path, name: &str) -> bool {
            let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
            entries.into_iter().any(|entry| {
                entry.file_name() == name || (entry.file_type().unwrap().is_dir() && walk(&entry.path(), name))
            })
        }
        walk(self.directory.path(), name)
    }
}

/// What GitHub reads out of the file of outputs: `name=value`, or `name<<delimiter` and lines up to it. What is neither is an
/// error there, and fails the test here.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        match (equals, heredoc) {
            (Some(at), _) if heredoc.is_none_or(|heredoc| at < heredoc) => {
                outputs.insert(line[..at].to_owned(), line[at + 1..].to_owned());
            }
            (_, Some(at)) => {
                let delimiter = &line[at + 2..];
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                outputs.insert(line[..at].to_owned(), value.join("\n"));
            }
            _ => panic!("GitHub would not understand this line of the outputs: {line}"),
        }
    }
    outputs
}

#[test]
fn outputs_are_read_as_github_reads_them() {
    let read = outputs("a=1=2\nb<<EOF\none\na=3\nEOF\nc=\n");
    let expected =
        [("a", "1=2"), ("b", "one\na=3"), ("c", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(read, BTreeMap::from(expected));
}
