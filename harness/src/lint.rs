//! The checks of GitHub workflows and actions: [actionlint, ShellCheck and zizmor](crate::environment::images::linters).
//!
//! actionlint reads workflows and hands their scripts to ShellCheck; it does not read the scripts of composite actions, so
//! that ShellCheck gets those from here. zizmor reads both.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, ErrorKind, Result,
    command::{Command, read_text},
    environment::images::linters::Linters,
};

/// What one program said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was run, and over what.
    pub what: String,
    /// Whether it found nothing.
    pub is_clean: bool,
    /// What it printed.
    pub said: String,
}

/// A composite action, as far as its scripts go.
#[derive(Deserialize)]
struct Action {
    runs: Runs,
}

#[derive(Deserialize)]
struct Runs {
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    run: Option<String>,
}

/// The workflows and the actions of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    root: PathBuf,
    workflows: Vec<PathBuf>,
    composite: Vec<PathBuf>,
}

impl Actions {
    /// Those of the repository at `root`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it has none: to have looked at nothing is no pass.
    pub fn of(root: &Path) -> Result<Self> {
        let tried = || format!("find {}", root.display());
        let root = fs::canonicalize(root).tried(ErrorKind::Usage, tried)?;
        let (workflows, composite) = (files(&root.join(".github/workflows"))?, actions_of(&root)?);
        if workflows.is_empty() && composite.is_empty() {
            let cause = format!("{} has neither workflows nor an action", root.display());
            return Err(Error::new(ErrorKind::Usage, "check workflows and actions", cause)
                .hint("Name the directory of a repository that has some."));
        }
        Ok(Self { root, workflows, composite })
    }

    /// Checks them.
    ///
    /// zizmor's audits that would ask GitHub are left out: the same files give the same findings everywhere.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`] if a program could not do its work.
    pub fn check(&self, linters: &Linters) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        if !self.workflows.is_empty() {
            let command = Command::new(linters.actionlint.to_string_lossy())
                .args(["-no-color", "-pyflakes", "", "-shellcheck", &linters.shellcheck.to_string_lossy()])
                .args(self.workflows.iter().map(|file| file.to_string_lossy()))
                .dir(&self.root);
            checks.push(check(format!("actionlint: {} workflows", self.workflows.len()), &command, &[1])?);
        }
        for file in &self.composite {
            checks.extend(scripts(&self.root, file, &linters.shellcheck)?);
        }
        let command = Command::new(linters.zizmor.to_string_lossy())
            .args(["--offline", "--no-progress", "--quiet", "--persona", "pedantic", "--format", "plain", "."])
            .env("NO_COLOR", "1")
            .dir(&self.root);
        // The highest severity of what it found decides: see <https://docs.zizmor.sh/usage/#exit-codes>.
        checks.push(check(
            "zizmor, offline: everything in .github, and actions".to_owned(),
            &command,
            &[10, 11, 12, 13, 14],
        )?);
        Ok(checks)
    }
}

/// ShellCheck over each script of a composite action.
fn scripts(root: &Path, file: &Path, shellcheck: &Path) -> Result<Vec<Check>> {
    let name = file.strip_prefix(root).unwrap_or(file).display();
    let action: Action = serde_saphyr::from_str(&read_text(file)?)
        .tried(ErrorKind::Usage, || format!("understand the action {name}"))?;
    let steps = action.runs.steps.into_iter().enumerate().filter_map(|(index, step)| {
        let title = step.name.unwrap_or_else(|| format!("step {}", index + 1));
        Some((title, step.run?))
    });
    steps
        .map(|(title, script)| {
            let command = Command::new(shellcheck.to_string_lossy())
                // As GitHub runs `shell: bash`: the first command that fails ends the script. Lines keep their numbers.
                .args(["--shell", "bash", "--color=never", "-"])
                .stdin(format!("set -eo pipefail; {script}"));
            check(format!("ShellCheck: {name}, {title}"), &command, &[1])
        })
        .collect()
}

/// Runs a program that ends with 0 if it found nothing and with one of `findings` if it found something.
fn check(what: String, command: &Command, findings: &[i32]) -> Result<Check> {
    let output = command.clone().deadline(Duration::from_secs(300)).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let said = [text(&output.stdout), text(&output.stderr)].into_iter().filter(|text| !text.is_empty());
    let said = said.collect::<Vec<_>>().join("\n");
    match output.code {
        Some(0) => Ok(Check { what, is_clean: true, said }),
        Some(code) if findings.contains(&code) => Ok(Check { what, is_clean: false, said }),
        code => {
            let cause = format!("it ended with {code:?}: {said}");
            Err(Error::new(ErrorKind::Environment, format!("run `{}`", command.display()), cause))
        }
    }
}

/// `action.yml` at the top, and those below `.github/actions`.
fn actions_of(root: &Path) -> Result<Vec<PathBuf>> {
    let mut directories = vec![root.to_owned()];
    directories.extend(entries(&root.join(".github/actions"))?.into_iter().filter(|path| path.is_dir()));
    let named = directories.iter().flat_map(|dir| ["action.yml", "action.yaml"].map(|name| dir.join(name)));
    Ok(named.filter(|path| path.is_file()).collect())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    Ok(entries(directory)?.into_iter().filter(is_yaml).collect())
}

/// What is in a directory, in order; nothing if there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let tried = || format!("list {}", directory.display());
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.tried(ErrorKind::Storage, tried)?,
    };
    let mut paths =
        listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().tried(ErrorKind::Storage, tried)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_without_workflows_is_no_pass() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Actions::of(root.path()).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn findings_are_told_from_a_program_that_did_not_work() {
        let sh = |script: &str| Command::new("sh").args(["-c", script]);
        let found = check("it".to_owned(), &sh("echo bad; exit 1"), &[1]).unwrap();
        assert_eq!((found.is_clean, found.said.as_str()), (false, "bad"));
        assert!(check("it".to_owned(), &sh("true"), &[1]).unwrap().is_clean);
        let error = check("it".to_owned(), &sh("echo no such option >&2; exit 3"), &[1]).unwrap_err();
        assert!(error.to_string().contains("no such option"), "{error}");
    }

    #[test]
    fn the_scripts_of_an_action_are_checked_one_by_one() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("action.yml");
        let text = "runs:\n  using: composite\n  steps:\n    - uses: a/b@c\n    - name: Go\n      shell: bash\n      run: exit 1\n";
        fs::write(&file, text).unwrap();
        assert_eq!(actions_of(root.path()).unwrap(), std::slice::from_ref(&file));
        // Any shell will do in the place of ShellCheck: it runs what it is handed.
        let shell = root.path().join("shell");
        fs::write(&shell, "#!/bin/sh\nexec bash\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&shell, executable).unwrap();
        let checks = scripts(root.path(), &file, &shell).unwrap();
        assert_eq!(checks.len(), 1);
        assert_eq!((checks[0].what.as_str(), checks[0].is_clean), ("ShellCheck: action.yml, Go", false));
    }
}
