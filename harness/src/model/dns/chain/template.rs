//! The `template` plugin, as far as it has no patterns: <https://coredns.io/plugins/template/>.

use reachmap_wire::{QuestionKind, Record, RecordData};

use super::{
    super::{
        Answer, Question, Rcode, Response, Source, absolute,
        corefile::{Plugin, ServerBlock},
        is_in_zone,
    },
    Evaluation, answered, zones,
};

/// The one variable of an answer that the model knows.
const NAME: &str = "{{ .Name }}";

impl Evaluation<'_> {
    /// `None` if the template is not for the question.
    pub(super) fn template(&mut self, block: &ServerBlock, plugin: &Plugin, question: &Question) -> Option<Answer> {
        let (class, kind) = match plugin.arguments.as_slice() {
            [class, kind, ..] => (class.to_ascii_uppercase(), kind.to_ascii_uppercase()),
            _ => return Some(self.not_covered("template", plugin.line, "it has no class and type")),
        };
        let zones = zones(plugin.arguments.get(2..).unwrap_or_default(), block);
        if !zones.iter().any(|zone| is_in_zone(&question.name, zone)) {
            self.pass(plugin.line, "template", "passes: the name is not in its zones");
            return None;
        }
        let is_of_kind = kind == "ANY" || question.kind == QuestionKind::Any || kind == question.kind.to_string();
        if !matches!(class.as_str(), "IN" | "ANY") || !is_of_kind {
            // What does not match passes without `fallthrough` too: that is for patterns.
            self.pass(plugin.line, "template", format!("passes: it is for {class} {kind}"));
            return None;
        }
        let mut response = Response::empty(Rcode::NoError);
        for words in &plugin.body {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let known = match words.as_slice() {
                ["rcode", code] => Rcode::ALL.into_iter().find(|rcode| rcode.mnemonic() == *code).map(|rcode| {
                    response.rcode = rcode;
                }),
                ["answer", text] => record(text, &question.name).map(|record| response.answers.push(record)),
                ["fallthrough", ..] | ["match", ".*"] => Some(()),
                _ => None,
            };
            if known.is_none() {
                return Some(self.not_covered("template", plugin.line, &format!("`{}`", words.join(" "))));
            }
        }
        self.pass(plugin.line, "template", format!("answers every {kind} of its zones"));
        if response.rcode == Rcode::ServFail {
            response.answers.clear();
        }
        Some(answered(Source::Template, response))
    }
}

/// A record in the form `OWNER TTL IN TYPE DATA`.
fn record(text: &str, name: &str) -> Option<Record> {
    let text = text.replace(NAME, name).replace("{{.Name}}", name);
    let [owner, ttl, "IN", kind, data] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    if text.contains("{{") {
        return None;
    }
    let data = match kind {
        "A" | "AAAA" => RecordData::Address(data.parse().ok().filter(|address: &std::net::IpAddr| {
            super::super::is_of(*address, if kind == "A" { QuestionKind::A } else { QuestionKind::Aaaa })
        })?),
        "CNAME" => RecordData::Cname(absolute(data)),
        "PTR" => RecordData::Ptr(absolute(data)),
        _ => return None,
    };
    Some(Record { name: absolute(owner), ttl: ttl.parse().ok()?, data })
}
