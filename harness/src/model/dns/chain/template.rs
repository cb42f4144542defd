//! The `template` plugin: <https://coredns.io/plugins/template/>.

use super::{
    super::{
        Answer, Question,
        corefile::{Plugin, ServerBlock},
    },
    Evaluation,
};

impl Evaluation<'_> {
    /// `None` if the template is not for the question.
    pub(super) fn template(&mut self, _block: &ServerBlock, plugin: &Plugin, _question: &Question) -> Option<Answer> {
        Some(self.not_covered("template", plugin.line, "the model does not know this template"))
    }
}
