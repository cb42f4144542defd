//! The `rewrite` plugin, as far as it rewrites names without patterns: <https://coredns.io/plugins/rewrite/>.

use reachmap_wire::RecordData;

use super::{
    super::{Answer, Question, Response, absolute, corefile::Plugin},
    Evaluation,
};

/// What was rewritten on a question's way, and so is put back in its answer.
#[derive(Default)]
pub(super) struct Rewrites {
    /// A rule with `stop`, which is what rules have, has matched.
    is_stopped: bool,
    /// The name that the server was asked for, and the one that stands in the question.
    back: Vec<(String, String)>,
}

impl Rewrites {
    /// Puts the names back.
    pub(super) fn apply(&self, response: &mut Response) {
        for (rewritten, asked) in self.back.iter().rev() {
            for record in &mut response.answers {
                put_back(&mut record.name, rewritten, asked);
                match &mut record.data {
                    RecordData::Cname(name) | RecordData::Ptr(name) | RecordData::Srv { target: name, .. } => {
                        put_back(name, rewritten, asked);
                    }
                    RecordData::Address(_) | RecordData::Other(_) => {}
                }
            }
        }
    }
}

fn put_back(name: &mut String, rewritten: &str, asked: &str) {
    if name == rewritten {
        asked.clone_into(name);
    }
}

impl Evaluation<'_> {
    /// Rewrites the question and asks the next plugin; an answer only if the rule is not covered.
    pub(super) fn rewrite(&mut self, plugin: &Plugin, question: &mut Question, done: &mut Rewrites) -> Option<Answer> {
        if done.is_stopped {
            return None;
        }
        let words: Vec<&str> = plugin.arguments.iter().map(String::as_str).collect();
        let (goes_on, rule) = match words.as_slice() {
            ["continue", rule @ ..] => (true, rule),
            ["stop", rule @ ..] | rule => (false, rule),
        };
        let (how, from, to, answers) = match rule {
            ["name", from, to] | ["name", "exact", from, to] => ("exact", absolute(from), absolute(to), true),
            ["name", how @ ("prefix" | "suffix" | "substring"), from, to] => {
                (*how, absolute(from), absolute(to), false)
            }
            ["name", how @ ("prefix" | "suffix" | "substring"), from, to, "answer", "auto"] => {
                (*how, absolute(from), absolute(to), true)
            }
            _ => return Some(self.not_covered("rewrite", plugin.line, "the model does not know this kind of rule")),
        };
        let name = question.name.clone();
        let rewritten = match how {
            "exact" if name == from => Some(to),
            "prefix" => name.strip_prefix(&from).map(|rest| format!("{to}{rest}")),
            "suffix" => name.strip_suffix(&from).map(|rest| format!("{rest}{to}")),
            "substring" if name.contains(&from) => Some(name.replace(&from, &to)),
            _ => None,
        };
        let Some(rewritten) = rewritten else {
            self.pass(plugin.line, "rewrite", "passes: its rule does not match");
            return None;
        };
        self.pass(plugin.line, "rewrite", format!("asks for {rewritten} instead"));
        done.is_stopped = !goes_on;
        if answers {
            done.back.push((rewritten.clone(), name));
        }
        question.name = rewritten;
        None
    }
}
