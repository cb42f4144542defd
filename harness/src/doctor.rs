//! What this machine can do, and what `auto` would choose on it and why.
//!
//! Features of the kernel are found by trying them, in namespaces that end with the trial; a module that
//! is not loaded is not loaded for it, because that would stay behind.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    environment::{engine, images},
    home::Home,
    plan::{EngineChoice, ImagesChoice},
};

mod kernel;
mod machine;

/// What was found out about this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// What was looked at, in the order in which it is shown.
    pub checks: Vec<Check>,
    /// What `--engine auto` comes to.
    pub engine: Choice,
    /// What `--images auto` comes to.
    pub images: Choice,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What kind of thing it is.
    pub group: Group,
    /// Its name, such as `nftables`.
    pub name: String,
    /// Whether it is there.
    pub answer: Answer,
    /// What was found, and what follows from it.
    pub found: String,
}

/// What kind of thing is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The machine and what it has to give.
    Machine,
    /// What runs containers.
    Engine,
    /// What images are made with.
    Images,
    /// Features of the kernel.
    Kernel,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is there.
    Yes,
    /// It is not there, or too small.
    No,
    /// It cannot be told, for the reason that is given.
    Unknown,
}

/// What `auto` comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// What is chosen, as the option's value; nothing if nothing can be.
    pub chosen: Option<String>,
    /// Why.
    pub why: String,
    /// What to do, if nothing can be chosen.
    pub hint: Option<String>,
}

impl Check {
    fn new(group: Group, name: &str, answer: Answer, found: impl Into<String>) -> Self {
        Self { group, name: name.to_owned(), answer, found: found.into() }
    }

    /// A check that is passed if `is` is true.
    fn that(group: Group, name: &str, is: bool, found: impl Into<String>) -> Self {
        Self::new(group, name, if is { Answer::Yes } else { Answer::No }, found)
    }
}

/// Looks at this machine, with `home` as the cache directory, and leaves nothing behind.
///
/// It takes about a second, and up to ten more if `docker info` hangs.
pub fn examine(home: &Home) -> Doctor {
    let facts = engine::Facts::learn();
    let mut checks = machine::checks(home, &facts);
    checks.extend(kernel::checks(home));
    let decided = facts.decide(EngineChoice::Auto);
    let images = images_choice(&decided);
    Doctor { checks, engine: Choice::of(decided.map(|(engine, why)| (engine_name(engine).to_owned(), why))), images }
}

/// What `--images auto` comes to with the engine that was decided on.
fn images_choice(decided: &Result<(EngineChoice, String)>) -> Choice {
    let (chosen, why) = match decided {
        Err(_) => (None, "there is no engine to have images in"),
        Ok((EngineChoice::Sandbox, _)) => {
            (Some(images::source_for(ImagesChoice::Auto, true)), "the private engine has no way out to a registry")
        }
        Ok(_) => (Some(images::source_for(ImagesChoice::Auto, false)), "the engine pulls them"),
    };
    let name = |source| if source == ImagesChoice::Packages { "packages" } else { "registry" };
    Choice { chosen: chosen.map(|source| name(source).to_owned()), why: why.to_owned(), hint: None }
}

const fn engine_name(engine: EngineChoice) -> &'static str {
    match engine {
        EngineChoice::Auto => "auto",
        EngineChoice::Docker => "docker",
        EngineChoice::Sandbox => "sandbox",
    }
}

impl Choice {
    fn of(decided: Result<(String, String)>) -> Self {
        match decided {
            Ok((chosen, why)) => Self { chosen: Some(chosen), why, hint: None },
            Err(error) => Self::none(&error),
        }
    }

    fn none(error: &Error) -> Self {
        Self { chosen: None, why: error.to_string(), hint: error.hint_text().map(ToOwned::to_owned) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "?",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Machine => "Machine",
            Self::Engine => "Engine",
            Self::Images => "Images",
            Self::Kernel => "Kernel",
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.chosen.as_deref().unwrap_or("nothing"), self.why)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
        let mut group = None;
        for check in &self.checks {
            if group.replace(check.group) != Some(check.group) {
                writeln!(f, "{}", check.group)?;
            }
            writeln!(f, "  {:width$}  {:3}  {}", check.name, check.answer, check.found)?;
        }
        writeln!(f, "What auto comes to")?;
        writeln!(f, "  --engine auto  {}", self.engine)?;
        write!(f, "  --images auto  {}", self.images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_text_is_aligned_and_ends_with_the_choices() {
        let doctor = Doctor {
            checks: vec![
                Check::that(Group::Engine, "docker", false, "no such program"),
                Check::that(Group::Kernel, "nftables", true, "a table can be made"),
                Check::new(Group::Kernel, "IPVS", Answer::Unknown, "not root"),
            ],
            engine: Choice::of(Ok(("sandbox".to_owned(), "we are root".to_owned()))),
            images: images_choice(&Ok((EngineChoice::Sandbox, String::new()))),
        };
        insta::assert_snapshot!(doctor, @"
        Engine
          docker    no   no such program
        Kernel
          nftables  yes  a table can be made
          IPVS      ?    not root
        What auto comes to
          --engine auto  sandbox: we are root
          --images auto  packages: the private engine has no way out to a registry
        ");
        insta::assert_snapshot!("in_every_form", crate::cli::forms(&doctor, || doctor.to_string()));
    }

    #[test]
    fn without_an_engine_it_says_what_to_do() {
        let decided = Err(Error::new(ErrorKind::Missing, "find an engine", "not root").hint("Become root."));
        assert_eq!(images_choice(&decided).chosen, None);
        let choice = Choice::of(decided.map(|(engine, why): (EngineChoice, _)| (engine_name(engine).to_owned(), why)));
        assert_eq!(choice.to_string(), "nothing: failed to find an engine: not root\n    Become root.");
    }

    #[test]
    fn examining_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let links = || {
            std::fs::read_to_string("/proc/net/dev")
                .unwrap()
                .lines()
                .map(|line| line.split(':').next().map(ToOwned::to_owned))
                .collect::<Vec<_>>()
        };
        let modules = || std::fs::read_to_string("/proc/modules").map(|text| text.lines().count()).unwrap_or_default();
        let before = (links(), modules());
        let doctor = examine(&Home::at(dir.path().join("home")));
        assert_eq!((links(), modules()), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for name in ["docker", "go", "cc", "musl-gcc", "nftables", "IPVS", "vxlan", "cgroup", "inotify", "free disk"] {
            assert!(doctor.checks.iter().any(|check| check.name == name), "{name}");
        }
    }
}
