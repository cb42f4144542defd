//! A lookup as text: each question, who answers it and why, what the resolver does next, and what it all costs.

use std::fmt;

use serde::Serialize;

use crate::{
    model::dns::{
        Answer, Corefile, Families, Outside, Prediction, Question, Rcode, ResolvConf, Resolver, Response, predict,
        resolve_plan,
    },
    state::State,
};

/// Who looks up what.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'l> {
    /// The name as it is typed.
    pub name: &'l str,
    /// The resolver's configuration.
    pub conf: &'l ResolvConf,
    /// The resolver.
    pub resolver: Resolver,
}

/// The walk of a lookup through its resolver and CoreDNS, for people who debug at night; `basis` says what it rests on.
///
/// What is passed on to servers outside the cluster is taken not to exist there, and marked.
///
/// ```
/// use reachmap::{model::dns::{Corefile, ResolvConf, Resolver}, report::dns::{Lookup, explain}, state::State};
/// let conf = ResolvConf::of_pod("shop", "cluster.local", "10.96.0.10".parse().unwrap());
/// let corefile: Corefile = ".:53 {\n  hosts {\n    10.0.0.1 a.test\n  }\n}\n".parse()?;
/// let lookup = Lookup { name: "a.test.", conf: &conf, resolver: Resolver::Glibc };
/// let text = explain(&lookup, &corefile, &State::example(), "");
/// assert!(text.contains("NOERROR 10.0.0.1, by hosts"), "{text}");
/// # Ok::<(), reachmap::Error>(())
/// ```
pub fn explain(lookup: &Lookup<'_>, corefile: &Corefile, state: &State, basis: &str) -> String {
    walk(lookup, corefile, state, basis).to_string()
}

/// A lookup's way through its resolver and CoreDNS; its text is what [`explain`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Walk {
    /// The name as it is typed.
    pub name: String,
    /// The resolver.
    pub resolver: String,
    /// The search path.
    pub search: Vec<String>,
    /// From how many dots on a name is asked for as it is, first.
    pub ndots: usize,
    /// What it rests on.
    pub basis: String,
    /// The questions in their order; the same one in a row is one.
    pub questions: Vec<Asked>,
    /// What the program sees.
    pub seen: String,
    /// How many questions it cost.
    pub cost: usize,
    /// What would be cheaper, if anything.
    pub hint: Option<String>,
}

/// A question of a lookup, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// How often it is asked in a row.
    pub times: usize,
    /// The keys of the server block that gets it, if one does.
    pub block: Option<String>,
    /// The line of the Corefile in which that begins.
    pub line: Option<usize>,
    /// What each plugin did with it: line, name, deed.
    pub plugins: Vec<(usize, String, String)>,
    /// The answer.
    pub answer: String,
    /// Whether that is assumed: only a server outside the cluster knows it.
    pub is_assumed: bool,
    /// What the resolver does next.
    pub then: String,
}

/// The same as [`explain`] has it, as data.
pub fn walk(lookup: &Lookup<'_>, corefile: &Corefile, state: &State, basis: &str) -> Walk {
    let Lookup { name, conf, resolver } = *lookup;
    let outside = Outside::default();
    let prediction = predict(name, conf, resolver, Families::BOTH, |question| {
        Some(assumed(corefile.answer_with(question, state, &outside)))
    });
    let cost = prediction.queries().count();
    Walk {
        name: name.to_owned(),
        resolver: resolver.to_string(),
        search: conf.search.clone(),
        ndots: conf.ndots,
        basis: basis.to_owned(),
        questions: questions(&prediction, corefile, state, &outside),
        seen: prediction.seen.to_string(),
        cost,
        hint: hint(lookup, cost),
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, resolver, ndots, basis, seen, .. } = self;
        writeln!(f, "{name}, looked up by {resolver}")?;
        let search = if self.search.is_empty() { "none".to_owned() } else { self.search.join(" ") };
        writeln!(f, "Search path: {search}. ndots: {ndots}.")?;
        if !basis.is_empty() {
            writeln!(f, "{basis}")?;
        }
        for (number, asked) in (1..).zip(&self.questions) {
            let times = if asked.times == 1 { String::new() } else { format!(", {} times", asked.times) };
            writeln!(f, "\n{number:>3}. {}{times}", asked.question)?;
            if let (Some(block), Some(line)) = (&asked.block, asked.line) {
                writeln!(f, "     block `{block}`, line {line}")?;
            }
            for (line, plugin, did) in &asked.plugins {
                writeln!(f, "     line {line:<4} {plugin:<10} {did}")?;
            }
            let known = if asked.is_assumed { ", taken not to exist" } else { "" };
            writeln!(f, "     => {}{known}\n     {}", asked.answer, asked.then)?;
        }
        writeln!(f, "\n{resolver} sees {seen}.\nIt cost {}.", count(self.cost))?;
        match &self.hint {
            Some(hint) => writeln!(f, "{hint}"),
            None => Ok(()),
        }
    }
}

/// What is not known is taken not to exist.
fn assumed(answer: Answer) -> Response {
    match answer {
        Answer::Answered { response, .. } => response,
        Answer::Forwarded { aliases, .. } if !aliases.is_empty() => Response::records(aliases),
        Answer::Forwarded { .. } | Answer::NotCovered { .. } => Response::empty(Rcode::NxDomain),
    }
}

/// One question after the other; the same one in a row is one.
fn questions(prediction: &Prediction, corefile: &Corefile, state: &State, outside: &Outside) -> Vec<Asked> {
    let queries: Vec<_> = prediction.queries().collect();
    let mut runs = queries.chunk_by(|a, b| a.question == b.question && a.transport == b.transport).peekable();
    let mut all = Vec::new();
    while let Some(run) = runs.next() {
        let Some(query) = run.first() else { continue };
        let (answer, passed) = corefile.follow(&query.question, state, outside);
        let block = corefile.block_for(&query.question.name);
        let next = runs.peek().and_then(|next| next.first()).map(|next| &next.question);
        all.push(Asked {
            question: query.to_string(),
            times: run.len(),
            block: block.map(|block| block.keys.join(" ")),
            line: block.map(|block| block.line),
            plugins: passed.into_iter().map(|step| (step.line, step.plugin, step.did)).collect(),
            is_assumed: answer.response().is_none(),
            answer: answer.to_string(),
            then: then(prediction.resolver, &query.question, next),
        });
    }
    all
}

fn then(resolver: Resolver, question: &Question, next: Option<&Question>) -> String {
    match next {
        None => format!("{resolver} stops here."),
        Some(next) if next == question => format!("{resolver} asks again."),
        Some(next) if next.name == question.name => format!("{resolver} asks for {} of the same name.", next.kind),
        Some(next) => format!("{resolver} goes on to {}", next.name),
    }
}

fn count(questions: usize) -> String {
    if questions == 1 { "1 question".to_owned() } else { format!("{questions} questions") }
}

/// What would be cheaper.
fn hint(lookup: &Lookup<'_>, asked: usize) -> Option<String> {
    if lookup.name.ends_with('.') {
        return None;
    }
    let with_dot = resolve_plan(&format!("{}.", lookup.name), lookup.conf, lookup.resolver).questions();
    let dots = lookup.name.matches('.').count();
    (with_dot < asked && dots > 0).then(|| {
        format!(
            "Hint: a trailing dot, if this is the full name, would make it {}; so would ndots {dots} or less for this name.",
            count(with_dot)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns::corefile::KUBEADM;

    fn text(name: &str, resolver: Resolver, corefile: &str) -> String {
        let conf = ResolvConf::of_pod("service-type-test", "cluster.local", "10.96.0.10".parse().unwrap());
        let lookup = Lookup { name, conf: &conf, resolver };
        explain(&lookup, &corefile.parse().unwrap(), &State::example(), "")
    }

    #[test]
    fn a_service_costs_one_name() {
        let text = text("nginx-clusterip-service", Resolver::Glibc, KUBEADM);
        assert!(text.contains("  1. nginx-clusterip-service.service-type-test.svc.cluster.local. A\n"), "{text}");
        assert!(
            text.contains("=> NOERROR 10.96.10.1, by kubernetes\n     glibc asks for AAAA of the same name."),
            "{text}"
        );
        assert!(text.ends_with("glibc sees 10.96.10.1.\nIt cost 2 questions.\n"), "{text}");
    }

    #[test]
    fn a_hosts_block_without_fallthrough_is_found_at_once() {
        let hosts = "    hosts {\n       10.96.10.1 my-nginx.external.local\n    }\n    kubernetes";
        let text = text("my-nginx.external.local", Resolver::Nslookup, &KUBEADM.replace("    kubernetes", hosts));
        assert!(text.contains("hosts      SERVFAIL: no entry, and no `fallthrough` for this name"), "{text}");
        assert!(text.contains("nslookup stops here."), "{text}");
        let line =
            "** server can't find my-nginx.external.local.service-type-test.svc.cluster.local: SERVFAIL (exit code 1)";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_name_outside_is_marked_as_not_known() {
        let text = text("api.example.com", Resolver::Go, KUBEADM);
        assert!(text.contains("taken not to exist"), "{text}");
        assert!(
            text.contains(
                "It cost 8 questions.\nHint: a trailing dot, if this is the full name, would make it 2 questions"
            ),
            "{text}"
        );
    }
}
