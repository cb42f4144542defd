//! `cargo xtask lint actions`, with the real linters: on demand, because they are built and downloaded first.

use std::{fs, path::Path, process::Command};

use super::script::root;

/// The exit code, and what was printed.
fn lint(directory: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["lint", "actions"]).arg(directory).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
#[ignore = "builds actionlint, and downloads zizmor and ShellCheck"]
fn this_repository_has_no_findings() {
    let (code, said) = lint(root());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
#[ignore = "builds actionlint, and downloads zizmor and ShellCheck"]
fn each_linter_finds_what_is_planted_for_it() {
    let place = tempfile::tempdir().unwrap();
    let workflows = place.path().join(".github/workflows");
    fs::create_dir_all(&workflows).unwrap();
    let workflow = r#"on: issues
permissions: {}
jobs:
  one:
    runs-on: ubuntu-24.04
    steps:
      - run: echo ${{ github.event.issue.title }}
      - run: rm -rf $UNQUOTED
      - run: echo "${{ steps.nothing.outputs.one }}"
"#;
    fs::write(workflows.join("one.yml"), workflow).unwrap();
    let action =
        "name: a\ndescription: b\nruns:\n  using: composite\n  steps:\n    - shell: bash\n      run: cd $THERE\n";
    fs::write(place.path().join("action.yml"), action).unwrap();
    let (code, said) = lint(place.path());
    assert_eq!(code, Some(1), "{said}");
    for finding in [
        // actionlint's own, ShellCheck's through it, ShellCheck's of the action, zizmor's.
        "property \"nothing\" is not defined",
        "SC2086:info:1:8",
        "set -eo pipefail; cd $THERE",
        "template-injection",
    ] {
        assert!(said.contains(finding), "no {finding} in:\n{said}");
    }
}
