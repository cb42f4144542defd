//! A prediction against what was recorded on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use reachmap_wire::{QuestionKind, Recorded, RecordedQuestion, Transport};

use super::{Order, Prediction, Query, Round, ended};

/// Where prediction and recording part, with both sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What differs, in a sentence.
    pub what: String,
    /// The predicted questions, one each.
    pub predicted: Vec<String>,
    /// The recorded questions, one each.
    pub recorded: Vec<String>,
}

impl fmt::Display for Mismatch {
    /// Both sequences side by side.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        let width = self.predicted.iter().map(String::len).chain(["predicted".len()]).max().unwrap_or(0);
        writeln!(f, "       {:<width$}  recorded", "predicted")?;
        for index in 0..self.predicted.len().max(self.recorded.len()) {
            let side = |lines: &[String]| lines.get(index).map_or("-", String::as_str).to_owned();
            let (left, right) = (side(&self.predicted), side(&self.recorded));
            let mark = if left == right { ' ' } else { '!' };
            writeln!(f, "{mark} {:>3}. {left:<width$}  {right}", index + 1)?;
        }
        Ok(())
    }
}

/// A recorded question in the form of a predicted one.
type Asked = (String, QuestionKind, Transport);

fn asked(query: &Query) -> Asked {
    (query.question.name.clone(), query.question.kind, query.transport)
}

fn show((name, kind, transport): &Asked) -> String {
    match transport {
        Transport::Udp => format!("{name} {kind}"),
        Transport::Tcp => format!("{name} {kind} over TCP"),
    }
}

/// Whether what was recorded is what was predicted: every question, and what the program saw.
///
/// Rounds follow one another; in a round whose order is not fixed the record types may run side by side. A question
/// that is asked again must have been predicted as often.
///
/// # Errors
/// The first difference, with both sequences.
///
/// ```
/// use reachmap::{
///     model::dns::{Families, Rcode, ResolvConf, Resolver, Response, compare, predict},
///     wire::{End, Recorded},
/// };
/// let conf = ResolvConf::default();
/// let prediction = predict("web.", &conf, Resolver::Dig { search: false }, Families::V4, |_| Some(Response::empty(Rcode::NxDomain)));
/// let recorded = Recorded { questions: Vec::new(), unreadable: 0, strays: 0, end: End::TimedOut, elapsed_us: 0, starved_us: 0 };
/// let mismatch = compare(&prediction, &recorded).unwrap_err();
/// assert!(mismatch.to_string().contains("web. A"));
/// ```
pub fn compare(prediction: &Prediction, recorded: &Recorded) -> Result<(), Mismatch> {
    let questions = &recorded.questions;
    let judged = compare_questions(prediction, without_retransmissions(questions, false));
    let judged = judged.or_else(|first| {
        compare_questions(prediction, without_retransmissions(questions, true)).map_err(|_second| first)
    });
    let seen = judged?;
    ended::judge(prediction, &recorded.end).map_err(|what| mismatch(prediction, &seen, what))
}

fn mismatch(prediction: &Prediction, seen: &[Asked], what: String) -> Mismatch {
    Mismatch {
        what,
        predicted: prediction.queries().map(|query| show(&asked(query))).collect(),
        recorded: seen.iter().map(show).collect(),
    }
}

/// The questions alone, round by round.
fn compare_questions(prediction: &Prediction, seen: Vec<Asked>) -> Result<Vec<Asked>, Mismatch> {
    let mut rest = seen.as_slice();
    for (number, round) in (1..).zip(&prediction.rounds) {
        let Some(taken) = take_round(round, rest) else {
            return Err(mismatch(prediction, &seen, format!("round {number} differs")));
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    if let Some(first) = rest.first() {
        let what = format!("{} was asked, and {} more, where no question was predicted", show(first), rest.len() - 1);
        return Err(mismatch(prediction, &seen, what));
    }
    Ok(seen)
}

/// Less than any of the resolvers waits before it repeats a question that has not been answered, in microseconds: the
/// least is hickory's 333 ms (`DEFAULT_RETRY_FLOOR`), and a busy recorder may read the first question late.
const RETRANSMISSION_US: u64 = 250_000;

/// The questions without retransmissions: repetitions of a question whose answer was still on its way. They are there
/// only because the answer was slow to come, which no prediction can know. A repetition after an answer, or after none
/// at all, is no such thing.
///
/// With `late`, the first repetition that came after so long a time counts too: a resolver that was not given the
/// processor may repeat a question before it reads the answer that has come.
fn without_retransmissions(questions: &[RecordedQuestion], late: bool) -> Vec<Asked> {
    // Each with whether a late repetition of it may still come.
    let mut kept: Vec<(&RecordedQuestion, bool)> = Vec::new();
    for question in questions {
        let same = |(earlier, _): &&mut (&RecordedQuestion, bool)| {
            earlier.id == question.id
                && earlier.kind == question.kind
                && earlier.transport == question.transport
                && earlier.name == question.name
        };
        let is_retransmission = kept.iter_mut().rev().find(same).is_some_and(|(earlier, may_be_late)| {
            earlier.elapsed_us.is_some_and(|took| {
                let is_late = *may_be_late && question.at_us - earlier.at_us >= RETRANSMISSION_US;
                *may_be_late &= !is_late;
                question.at_us < earlier.at_us + took || is_late
            })
        });
        if !is_retransmission {
            kept.push((question, late));
        }
    }
    let asked = |question: &RecordedQuestion| (question.name.to_ascii_lowercase(), question.kind, question.transport);
    kept.into_iter().map(|(question, _)| asked(question)).collect()
}

/// A question, and how often in a row at least and at most.
type Run = (Asked, usize, usize);

/// How many of the recorded questions are this round, if they can be.
fn take_round(round: &Round, recorded: &[Asked]) -> Option<usize> {
    if round.order == Order::Shared {
        return take_shared(round, recorded);
    }
    let kinds: Vec<QuestionKind> = round.queries.iter().map(|query| query.question.kind).collect();
    let lane_of = |kind: QuestionKind| match round.order {
        Order::Fixed | Order::Shared => 0,
        Order::PerKind => kinds.iter().position(|other| *other == kind).unwrap_or(0),
    };
    let mut lanes: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    for query in &round.queries {
        let lane = lanes.entry(lane_of(query.question.kind)).or_default();
        let (asked, least) = (asked(query), usize::from(query.is_certain));
        match lane.last_mut() {
            Some((last, at_least, at_most)) if *last == asked => {
                *at_least += least;
                *at_most += 1;
            }
            _ => lane.push((asked, least, 1)),
        }
    }
    let mut places: BTreeMap<usize, (usize, usize)> = lanes.keys().map(|lane| (*lane, (0, 0))).collect();
    let mut taken = 0;
    for asked in recorded {
        let lane = lane_of(asked.1);
        let (Some(runs), Some((run, count))) = (lanes.get(&lane), places.get_mut(&lane)) else { break };
        if runs.get(*run).is_some_and(|(wanted, least, _)| wanted != asked && *count >= *least) {
            (*run, *count) = (*run + 1, 0);
        }
        match runs.get(*run) {
            Some((wanted, _, most)) if wanted == asked && *count < *most => *count += 1,
            _ => break,
        }
        taken += 1;
    }
    let is_done = |(lane, (run, count)): (&usize, &(usize, usize))| {
        lanes.get(lane).is_some_and(|runs| {
            runs.get(*run).is_none_or(|(_, least, _)| count >= least)
                && runs.iter().skip(*run + 1).all(|(_, least, _)| *least == 0)
        })
    };
    places.iter().all(is_done).then_some(taken)
}

/// The same where only the sum of all repetitions is fixed.
fn take_shared(round: &Round, recorded: &[Asked]) -> Option<usize> {
    let wanted: BTreeSet<Asked> = round.queries.iter().map(asked).collect();
    let taken = recorded.iter().take(round.queries.len()).take_while(|asked| wanted.contains(*asked)).count();
    let certain = round.queries.iter().filter(|query| query.is_certain).count();
    let seen: BTreeSet<&Asked> = recorded.iter().take(taken).collect();
    (taken >= certain && seen.len() == wanted.len()).then_some(taken)
}
