//! What is known outside the cluster's state.

use std::collections::BTreeMap;

use super::super::{Question, Response};

/// What an evaluation of a Corefile may know beyond the cluster's state: other servers' answers, and files.
///
/// ```
/// use reachmap::{model::dns::{Corefile, Outside, Question, QuestionKind, Rcode, Response}, state::State};
/// let corefile: Corefile = ".:53 {\n  forward . /etc/resolv.conf\n}\n".parse()?;
/// let question = Question::new("example.com", QuestionKind::A);
/// let offline = Outside::default().otherwise(Response::empty(Rcode::ServFail));
/// assert_eq!(corefile.answer_with(&question, &State::example(), &offline).to_string(), "SERVFAIL, by forward");
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    answers: BTreeMap<Question, Response>,
    otherwise: Option<Response>,
    files: BTreeMap<String, String>,
}

impl Outside {
    /// With the upstream servers' answer to a question.
    #[must_use]
    pub fn answer(mut self, question: Question, response: Response) -> Self {
        self.answers.insert(question, response);
        self
    }

    /// With the upstream servers' answer to every other question.
    #[must_use]
    pub fn otherwise(mut self, response: Response) -> Self {
        self.otherwise = Some(response);
        self
    }

    /// With the text of a file that CoreDNS reads, such as `/etc/hosts` in its pod.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    pub(super) fn response(&self, question: &Question) -> Option<&Response> {
        self.answers.get(question).or(self.otherwise.as_ref())
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }
}
