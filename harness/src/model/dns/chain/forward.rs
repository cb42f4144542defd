//! The `forward` plugin: <https://coredns.io/plugins/forward/>.

use super::{
    super::{
        Answer, Question, Source, absolute,
        corefile::{Plugin, split_port},
        is_in_zone,
    },
    Evaluation, answered,
};

impl Evaluation<'_> {
    /// `None` if the name is not in the zone that the plugin forwards.
    pub(super) fn forward(&mut self, plugin: &Plugin, question: &Question) -> Option<Answer> {
        let from = plugin.arguments.first()?;
        let name = &question.name;
        if !super::super::corefile::zones_of(split_port(from).0).iter().any(|zone| is_in_zone(name, zone)) {
            self.pass(plugin.line, "forward", format!("passes: the name is not in `{from}`"));
            return None;
        }
        let excepted = plugin.body.iter().filter(|words| words.first().is_some_and(|word| word == "except"));
        if excepted.flat_map(|words| words.iter().skip(1)).any(|zone| is_in_zone(name, &absolute(zone))) {
            self.pass(plugin.line, "forward", "passes: the name is excepted");
            return None;
        }
        let to = plugin.arguments.get(1..).unwrap_or_default().join(" ");
        if let Some(response) = self.outside.response(question) {
            let response = response.clone();
            self.pass(plugin.line, "forward", format!("asks {to}, and passes on its answer"));
            return Some(answered(Source::Forward, response));
        }
        self.pass(plugin.line, "forward", format!("asks {to}: nothing is known of its answer"));
        Some(Answer::Forwarded { aliases: Vec::new(), question: question.clone() })
    }
}
