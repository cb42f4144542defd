//! A question's way through CoreDNS: server block, then plugins in their built-in order.

mod forward;
mod hosts;
mod outside;
mod rewrite;
mod template;

pub use outside::Outside;
use reachmap_wire::{QuestionKind, Record, RecordData};

use super::{
    Answer, Question, Rcode, Response, Source, absolute,
    corefile::{Corefile, Plugin, ServerBlock, split_port},
    is_in_zone, kubernetes, plugins,
};
use crate::state::State;

/// A chain of aliases longer than this is given up, as in CoreDNS.
pub(super) const MAX_ALIASES: usize = 10;

/// One plugin's word on a question, on its way through the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The line of the Corefile on which the plugin stands; that of the server block if no plugin was left.
    pub line: usize,
    /// The plugin, or `server`.
    pub plugin: String,
    /// What it did, and why, as a fragment.
    pub did: String,
}

/// Everything that an evaluation looks at.
pub(super) struct Evaluation<'e> {
    pub(super) corefile: &'e Corefile,
    pub(super) state: &'e State,
    pub(super) outside: &'e Outside,
    trail: Vec<Passed>,
}

impl Corefile {
    /// What CoreDNS v1.14 with this Corefile, in a cluster in this `state`, answers on port 53.
    ///
    /// Nothing is assumed of servers outside the cluster: what is passed on to them is [`Answer::Forwarded`].
    /// [`Corefile::answer_with`] takes what is known of them.
    ///
    /// ```
    /// use reachmap::{model::dns::{Corefile, Question, QuestionKind, Rcode, Source}, state::State};
    /// let swallows: Corefile = ".:53 {\n  hosts {\n    10.0.0.1 my-nginx.external.local\n  }\n  kubernetes cluster.local\n}\n".parse()?;
    /// let state = State::example();
    /// // `hosts` without `fallthrough` lets no other name of its zones pass, and its zone here is the root.
    /// let question = Question::new("nginx-clusterip-service.service-type-test.svc.cluster.local", QuestionKind::A);
    /// let answer = swallows.answer(&question, &state);
    /// assert_eq!(answer.response().unwrap().rcode, Rcode::ServFail);
    /// assert_eq!(answer.to_string(), "SERVFAIL, by hosts");
    /// # Ok::<(), reachmap::Error>(())
    /// ```
    pub fn answer(&self, question: &Question, state: &State) -> Answer {
        self.answer_with(question, state, &Outside::default())
    }

    /// The same with what is known outside the cluster: other servers' answers, and files.
    pub fn answer_with(&self, question: &Question, state: &State, outside: &Outside) -> Answer {
        self.follow(question, state, outside).0
    }

    /// The same with every plugin's word on the question, in order.
    pub fn follow(&self, question: &Question, state: &State, outside: &Outside) -> (Answer, Vec<Passed>) {
        let mut evaluation = Evaluation { corefile: self, state, outside, trail: Vec::new() };
        let question = Question::new(&question.name, question.kind);
        let answer = evaluation.server(&question, 0);
        (answer, evaluation.trail)
    }
}

impl Evaluation<'_> {
    /// The whole server's answer, for a question that `depth` aliases led to.
    pub(super) fn server(&mut self, question: &Question, depth: usize) -> Answer {
        let corefile = self.corefile;
        if let Some(line) = corefile.imports {
            return self.not_covered("import", line, "outside all blocks: it could bring any block");
        }
        let Some(block) = corefile.block_for(&question.name) else {
            return self.refused(1, "no server block is for this name");
        };
        if block.plugins.is_empty() {
            return self.refused(block.line, "the server block has no plugin");
        }
        if depth > MAX_ALIASES {
            return answered(Source::Server, Response::empty(Rcode::ServFail));
        }
        // A plugin that is not CoreDNS's own can stand anywhere in that order.
        if let Some(plugin) = block.plugins.iter().find(|plugin| !plugins::ORDER.contains(&plugin.name.as_str())) {
            return self.not_covered(&plugin.name, plugin.line, "not one of CoreDNS's own plugins");
        }
        let mut question = question.clone();
        let mut rewrites = rewrite::Rewrites::default();
        for name in plugins::ORDER {
            for plugin in block.plugins.iter().filter(|plugin| plugin.name == *name) {
                if let Some(answer) = self.plugin(block, plugin, &mut question, depth, &mut rewrites) {
                    return finish(block, answer, &rewrites);
                }
            }
        }
        self.pass(block.line, "server", "SERVFAIL: no plugin is left to ask");
        answered(Source::Server, Response::empty(Rcode::ServFail))
    }

    /// One plugin's answer; `None` if the next one is asked.
    fn plugin(
        &mut self,
        block: &ServerBlock,
        plugin: &Plugin,
        question: &mut Question,
        depth: usize,
        rewrites: &mut rewrite::Rewrites,
    ) -> Option<Answer> {
        match plugin.name.as_str() {
            name if plugins::changes_no_answer(name) => None,
            "any" if question.kind == QuestionKind::Any => {
                self.pass(plugin.line, "any", "answers every ANY alike (RFC 8482)");
                Some(any(question))
            }
            "any" => None,
            "rewrite" => self.rewrite(plugin, question, rewrites),
            "template" => self.template(block, plugin, question),
            "hosts" => self.hosts(block, plugin, question),
            "kubernetes" => kubernetes::answer(self, block, plugin, question, depth),
            "forward" => self.forward(plugin, question),
            name => Some(self.not_covered(name, plugin.line, "the model does not know what it answers")),
        }
    }

    /// Notes what a plugin did.
    pub(super) fn pass(&mut self, line: usize, plugin: &str, did: impl Into<String>) {
        self.trail.push(Passed { line, plugin: plugin.to_owned(), did: did.into() });
    }

    pub(super) fn not_covered(&mut self, plugin: &str, line: usize, why: &str) -> Answer {
        self.pass(line, plugin, format!("not covered by the model: {why}"));
        Answer::NotCovered { plugin: plugin.to_owned() }
    }

    fn refused(&mut self, line: usize, why: &str) -> Answer {
        self.pass(line, "server", format!("REFUSED: {why}"));
        answered(Source::Server, Response::empty(Rcode::Refused))
    }
}

/// What the plugins before the one that answered do to its answer on its way back.
fn finish(block: &ServerBlock, mut answer: Answer, rewrites: &rewrite::Rewrites) -> Answer {
    let cache = block.plugin("cache").map(plugins::Cache::of);
    if let Answer::Answered { response, .. } = &mut answer {
        if let Some(cache) = cache {
            cache.cap(response);
        }
        rewrites.apply(response);
    }
    answer
}

/// An answer of that part of the server.
pub(super) fn answered(by: Source, response: Response) -> Answer {
    Answer::Answered { by, response }
}

/// RFC 8482 section 4.2, as the `any` plugin has it (<https://coredns.io/plugins/any/>).
fn any(question: &Question) -> Answer {
    let data = RecordData::Other("HINFO \"ANY obsoleted\" \"See RFC 8482\"".to_owned());
    answered(Source::Any, Response::records(vec![Record { name: question.name.clone(), ttl: 8482, data }]))
}

/// The zones given as arguments, else those of the block.
pub(super) fn zones(arguments: &[String], block: &ServerBlock) -> Vec<String> {
    if arguments.is_empty() {
        block.zones()
    } else {
        arguments.iter().flat_map(|zone| super::corefile::zones_of(split_port(zone).0)).collect()
    }
}

/// Whether `fallthrough` is there, and for this name.
pub(super) fn falls_through(plugin: &Plugin, name: &str) -> bool {
    // Said twice, the last one counts.
    match plugin.body.iter().rev().find(|words| words.first().is_some_and(|word| word == "fallthrough")) {
        None => false,
        Some(words) if words.len() == 1 => true,
        Some(words) => words.iter().skip(1).any(|zone| is_in_zone(name, &absolute(zone))),
    }
}

/// The last value of an option with one argument.
pub(super) fn option<'p>(plugin: &'p Plugin, name: &str) -> Option<&'p str> {
    plugin
        .body
        .iter()
        .rev()
        .find(|words| words.first().is_some_and(|word| word == name))
        .and_then(|words| words.get(1))
        .map(String::as_str)
}
