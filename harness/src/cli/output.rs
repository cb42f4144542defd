//! How a command prints its result: for a person, in lines for other programs, or as JSON.
//!
//! Progress and errors go to standard error, so that standard output has the result alone.

use std::{fmt, path::Path};

use clap::Args;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::say;
use crate::{
    Context as _, ErrorKind, Result,
    report::{self, Ledger, Paths, Run},
};

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people: aligned, and coloured where the terminal has colours.
    #[default]
    Pretty,
    /// A line for each thing, its fields separated by tabs: for grep, cut and awk.
    Plain,
    /// One JSON document.
    Json,
}

/// What every command takes that has a result.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArguments {
    /// How the result is printed on standard output.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

impl OutputArguments {
    /// Prints `value`; for people, as `pretty` has it.
    pub(crate) fn print(self, value: &impl Serialize, pretty: impl FnOnce() -> String) -> Result<()> {
        let text = self.text(value, pretty)?;
        // Of nothing there is no line.
        if !text.is_empty() {
            say(text);
        }
        Ok(())
    }

    /// What [`print`](Self::print) prints.
    fn text(self, value: &impl Serialize, pretty: impl FnOnce() -> String) -> Result<String> {
        match self.output {
            Output::Pretty => Ok(pretty()),
            Output::Plain => plain(value),
            Output::Json => json(value),
        }
    }
}

/// A value in all forms, for snapshots.
#[cfg(test)]
pub(crate) fn forms(value: &impl Serialize, pretty: impl Fn() -> String) -> String {
    let form = |output| format!("--- {output:?}\n{}", OutputArguments { output }.text(value, &pretty).unwrap());
    [Output::Pretty, Output::Plain, Output::Json].map(form).join("\n")
}

impl OutputArguments {
    /// Prints a run, with its flake ledger if it was repeated, and where its bundle is if one is kept.
    pub(crate) fn print_run(
        self,
        run: &Run,
        ledger: Option<&Ledger>,
        paths: &Paths,
        bundle: Option<&Path>,
    ) -> Result<()> {
        match self.output {
            Output::Pretty => {
                say(report::terminal(run));
                if let Some(ledger) = ledger {
                    say(format!("{}\n", ledger.render()));
                }
                say(format!("Reports: {}", paths.dir.display()));
                if let Some(bundle) = bundle {
                    let bundle = bundle.display();
                    say(format!(
                        "Bundle: {bundle}\n`cargo xtask bundle explain {bundle}` explains it without the cluster."
                    ));
                }
            }
            Output::Plain => {
                say(plain(&report::said(run))?);
                if let Some(ledger) = ledger {
                    say(plain(ledger)?);
                }
            }
            Output::Json => say(report::json(run).trim_end()),
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).tried(ErrorKind::Internal, || "write the result as JSON")
}

/// A value in lines: one for each element of a list. Of an object, each line begins with the name of a field, and a list in it
/// has a line for each element.
pub(super) fn plain(value: &impl Serialize) -> Result<String> {
    let text = json(value)?;
    let tree: Tree = serde_json::from_str(&text).tried(ErrorKind::Internal, || "read the result again")?;
    Ok(tree.lines().join("\n"))
}

/// JSON with its fields in the order in which they were written.
#[derive(Debug, PartialEq)]
enum Tree {
    Scalar(String),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
}

impl Tree {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Scalar(text) => vec![visible(text)],
            Self::List(elements) => elements.iter().map(|element| element.leaves().join("\t")).collect(),
            Self::Fields(fields) => fields.iter().flat_map(|(name, value)| value.lines_of_field(name)).collect(),
        }
    }

    fn lines_of_field(&self, name: &str) -> Vec<String> {
        let line = |value: &Self| {
            let words = std::iter::once(visible(name)).chain(value.leaves());
            words.collect::<Vec<_>>().join("\t")
        };
        match self {
            Self::List(elements) => elements.iter().map(line).collect(),
            other => vec![line(other)],
        }
    }

    /// Every value in it that has no parts, in order.
    fn leaves(&self) -> Vec<String> {
        match self {
            Self::Scalar(text) => vec![visible(text)],
            Self::List(elements) => elements.iter().flat_map(Self::leaves).collect(),
            Self::Fields(fields) => fields.iter().flat_map(|(_, value)| value.leaves()).collect(),
        }
    }
}

/// A text that stays in its line and in its column, and does nothing to a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(String::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Tree::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        bytes: u64,
        used: Option<&'static str>,
    }

    const THINGS: [Thing; 2] = [
        Thing { name: "coredns", bytes: 7, used: None },
        Thing { name: "an\u{1b}[31m\tother", bytes: 0, used: Some("a\nb") },
    ];

    #[test]
    fn a_list_is_a_line_for_each_and_its_fields_keep_their_order() {
        assert_eq!(plain(&THINGS).unwrap(), "coredns\t7\t\nan [31m other\t0\ta b");
    }

    #[test]
    fn an_object_is_a_line_for_each_field_and_for_each_element_of_a_list() {
        #[derive(Serialize)]
        struct All {
            zone: &'static str,
            things: [Thing; 2],
            first: Thing,
            none: [Thing; 0],
        }
        let [one, two] = THINGS;
        let all = All { zone: "z", things: [one, two], first: Thing { name: "f", bytes: 1, used: None }, none: [] };
        let expected = "zone\tz\nthings\tcoredns\t7\t\nthings\tan [31m other\t0\ta b\nfirst\tf\t1\t";
        assert_eq!(plain(&all).unwrap(), expected);
    }

    #[test]
    fn nothing_is_no_line() {
        assert_eq!(plain(&Vec::<Thing>::new()).unwrap(), "");
        assert_eq!(plain(&"a text").unwrap(), "a text");
    }
}
