//! The `rewrite` plugin: <https://coredns.io/plugins/rewrite/>.

use super::{
    super::{Answer, Question, Response, corefile::Plugin},
    Evaluation,
};

/// How a rewritten question's answer is made to look like one to the question itself.
pub(super) struct WayBack;

impl WayBack {
    pub(super) fn apply(&self, _response: &mut Response) {}
}

impl Evaluation<'_> {
    /// Rewrites the question, or `None`; the next plugin is asked in any case, unless the rule is not covered.
    pub(super) fn rewrite(
        &mut self,
        plugin: &Plugin,
        _question: &mut Question,
        _ways_back: &mut Vec<WayBack>,
    ) -> Option<Answer> {
        Some(self.not_covered("rewrite", plugin.line, "the model does not know this rule"))
    }
}
