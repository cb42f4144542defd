//! What came back over the wire, against what the live Corefile must say.

use crate::{
    model::dns::{Answer, Response, said},
    wire::{Record, RecordedQuestion},
};

/// Whether a question was answered as the model says: the code, the data in any order, times to live that are no longer
/// than the Corefile's (a cache counts them down), and the zone's SOA record where there has to be one. Of what another server
/// was asked for, only the aliases that lead there are known.
pub(super) fn judge(answer: &Answer, asked: &RecordedQuestion) -> Result<(), String> {
    let Some(rcode) = &asked.rcode else { return Ok(()) };
    let differs = match answer {
        Answer::NotCovered { .. } => None,
        Answer::Forwarded { aliases, .. } => of_aliases(aliases, asked),
        Answer::Answered { response, .. } if *rcode != response.rcode.mnemonic() => Some("the code".to_owned()),
        Answer::Answered { response, .. } => of_sections(response, asked),
    };
    differs.map_or(Ok(()), |what| {
        let heard = said(&asked.answers).join(" ");
        let (name, kind) = (&asked.name, asked.kind);
        Err(format!("{name} {kind}: {what} differs\n  by the Corefile  {answer}\n  on the wire      {rcode} {heard}"))
    })
}

fn of_aliases(aliases: &[Record], asked: &RecordedQuestion) -> Option<String> {
    let heard = said(&asked.answers);
    let missing = said(aliases).into_iter().find(|alias| !heard.contains(alias))?;
    Some(format!("an alias, {missing},"))
}

fn of_sections(response: &Response, asked: &RecordedQuestion) -> Option<String> {
    if said(&asked.answers) != said(&response.answers) {
        return Some("the answer section".to_owned());
    }
    if let Some((heard, most)) = lives_longer(&response.answers, &asked.answers) {
        return Some(format!("a time to live, {heard} s instead of at most {most} s,"));
    }
    // What is cut short may have lost its authority section.
    (!asked.truncated && asked.soa != response.soa).then(|| "the authority section's SOA record".to_owned())
}

/// The first record that lives longer than the model says: its time to live on the wire, and the longest that there may be.
fn lives_longer(modelled: &[Record], heard: &[Record]) -> Option<(u32, u32)> {
    heard.iter().find_map(|record| {
        let one = std::slice::from_ref(record);
        let same = |other: &&Record| said(std::slice::from_ref(other)) == said(one);
        let most = modelled.iter().filter(same).map(|other| other.ttl).max()?;
        (record.ttl > most).then_some((record.ttl, most))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::dns::{Question, Rcode, Source},
        wire::{QuestionKind, RecordData, Transport},
    };

    fn record(ttl: u32, data: RecordData) -> Record {
        Record { name: "web.".to_owned(), ttl, data }
    }

    fn address(ttl: u32, last: u8) -> Record {
        record(ttl, RecordData::Address([10, 96, 0, last].into()))
    }

    fn heard(rcode: &str, answers: Vec<Record>, soa: bool) -> RecordedQuestion {
        RecordedQuestion {
            at_us: 0,
            id: 1,
            transport: Transport::Udp,
            name: "web.".to_owned(),
            kind: QuestionKind::A,
            rcode: Some(rcode.to_owned()),
            truncated: false,
            answers,
            soa,
            elapsed_us: Some(1),
        }
    }

    fn answered(response: Response) -> Answer {
        Answer::Answered { by: Source::Kubernetes, response }
    }

    #[test]
    fn every_part_of_an_answer_is_held_to_the_model() {
        let two = answered(Response::records(vec![address(30, 1), address(30, 2)]));
        assert_eq!(judge(&two, &heard("NOERROR", vec![address(12, 2), address(12, 1)], false)), Ok(()));
        let wrong = [
            ("the code", heard("SERVFAIL", Vec::new(), false)),
            ("the answer section", heard("NOERROR", vec![address(30, 1)], false)),
            ("a time to live, 31 s", heard("NOERROR", vec![address(30, 1), address(31, 2)], false)),
            ("SOA", heard("NOERROR", vec![address(30, 1), address(30, 2)], true)),
        ];
        for (what, asked) in wrong {
            let said = judge(&two, &asked).unwrap_err();
            assert!(said.contains(what), "{what}: {said}");
        }
        let nobody = answered(Response::empty(Rcode::NxDomain).with_soa());
        assert_eq!(judge(&nobody, &heard("NXDOMAIN", Vec::new(), true)), Ok(()));
        assert!(judge(&nobody, &heard("NXDOMAIN", Vec::new(), false)).is_err());
    }

    #[test]
    fn of_what_others_are_asked_the_alias_is_held_to_the_model() {
        let alias = |target: &str| record(30, RecordData::Cname(target.to_owned()));
        let question = Question::new("elsewhere.", QuestionKind::A);
        let forwarded = Answer::Forwarded { aliases: vec![alias("elsewhere.")], question };
        let beyond = Record { name: "elsewhere.".to_owned(), ..address(300, 9) };
        assert_eq!(judge(&forwarded, &heard("NOERROR", vec![alias("elsewhere."), beyond], false)), Ok(()));
        assert!(judge(&forwarded, &heard("NOERROR", vec![alias("somewhere.")], false)).is_err());
    }

    #[test]
    fn what_was_not_answered_says_nothing() {
        let unanswered = RecordedQuestion { rcode: None, ..heard("NOERROR", Vec::new(), false) };
        assert_eq!(judge(&answered(Response::empty(Rcode::NxDomain)), &unanswered), Ok(()));
    }
}
