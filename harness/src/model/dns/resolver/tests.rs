//! The cases of the tutorial, and the comparison with recordings.

use reachmap_wire::{DnsFailure, End, Record, RecordData, Recorded, RecordedQuestion, Transport};
use rstest::rstest;

use super::*;
use crate::model::dns::Rcode;

fn pod() -> ResolvConf {
    ResolvConf::of_pod("shop", "cluster.local", "10.96.0.10".parse().unwrap())
}

fn with(name: &str, resolver: Resolver, answer: impl Fn(&str) -> Rcode) -> Prediction {
    predict(name, &pod(), resolver, Families::BOTH, |question| Some(Response::empty(answer(&question.name))))
}

fn names(prediction: &Prediction) -> Vec<String> {
    let mut names: Vec<String> = prediction.queries().map(|query| query.question.name.clone()).collect();
    names.dedup();
    names
}

#[rstest]
// Each server is asked twice, SERVFAIL moves on to the next name.
#[case::glibc(Resolver::Glibc, 4, 16)]
// At once up to four times more, and all of it twice: one name takes five seconds.
#[case::musl(Resolver::Musl, 1, 12)]
#[case::go(Resolver::Go, 4, 16)]
#[case::hickory(Resolver::Hickory, 4, 24)]
#[case::nslookup(Resolver::Nslookup, 1, 1)]
#[case::dig(Resolver::Dig { search: false }, 1, 1)]
#[case::dig_search(Resolver::Dig { search: true }, 1, 1)]
fn servfail_for_all_costs(#[case] resolver: Resolver, #[case] walked: usize, #[case] questions: usize) {
    let prediction = with("web.external.local", resolver, |_| Rcode::ServFail);
    assert_eq!((names(&prediction).len(), prediction.queries().count()), (walked, questions));
}

#[rstest]
#[case::there_is_room(24, 2)]
#[case::twice_the_room(50, 4)]
#[case::eight_times_the_room(120, 8)]
fn glibc_looks_up_again_what_it_has_no_room_for(#[case] addresses: u8, #[case] questions: usize) {
    let records = |kind| match kind {
        QuestionKind::A => (0..addresses).map(|number| address([198, 51, 100, number])).collect(),
        _ => Vec::new(),
    };
    let prediction = predict("many.", &pod(), Resolver::Glibc, Families::BOTH, |question| {
        Some(Response::records(records(question.kind)))
    });
    assert_eq!(prediction.queries().count(), questions);
}

fn address(octets: [u8; 4]) -> Record {
    Record { name: "many.".to_owned(), ttl: 5, data: RecordData::Address(octets.into()) }
}

#[test]
fn refused_ends_glibcs_search_and_not_gos() {
    let asked = |resolver| names(&with("web", resolver, |_| Rcode::Refused));
    assert_eq!(asked(Resolver::Glibc), ["web.shop.svc.cluster.local.", "web."]);
    assert_eq!(asked(Resolver::Go).len(), 4);
}

#[test]
fn nodata_ends_musls_search_and_nslookups() {
    for (resolver, walked) in [(Resolver::Musl, 1), (Resolver::Nslookup, 1), (Resolver::Glibc, 4), (Resolver::Go, 4)] {
        assert_eq!(names(&with("web", resolver, |_| Rcode::NoError)).len(), walked, "{resolver}");
    }
}

#[test]
fn an_address_beside_nxdomain_does_not_count_for_musl() {
    let prediction = predict("web.", &pod(), Resolver::Musl, Families::BOTH, |question| {
        let data = RecordData::Address(IpAddr::from([10, 0, 0, 1]));
        let record = Record { name: question.name.clone(), ttl: 5, data };
        Some(match question.kind {
            QuestionKind::A => Response::records(vec![record]),
            _ => Response::empty(Rcode::NxDomain),
        })
    });
    assert_eq!(prediction.seen.failure, Some(Failure::NotFound));
}

fn recorded(questions: &[(&str, QuestionKind)], end: End) -> Recorded {
    // Each after the answer to the one before.
    let question = |(at_us, (name, kind)): (u64, &(&str, QuestionKind))| RecordedQuestion {
        at_us: 10 * at_us,
        id: 1,
        transport: Transport::Udp,
        name: (*name).to_owned(),
        kind: *kind,
        rcode: Some("NXDOMAIN".to_owned()),
        truncated: false,
        answers: Vec::new(),
        soa: false,
        elapsed_us: Some(1),
    };
    Recorded {
        questions: (0..).zip(questions).map(question).collect(),
        unreadable: 0,
        strays: 0,
        end,
        elapsed_us: 1,
        starved_us: 0,
    }
}

fn failed(failure: DnsFailure) -> End {
    End::Failed { failure, text: "in its own words".to_owned() }
}

fn exited(code: i32, stdout: &str) -> End {
    End::Exited { code: Some(code), stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn record_types_may_swap_only_where_they_run_side_by_side() {
    use QuestionKind::{A, Aaaa};
    let swapped = [("a.b.", Aaaa), ("a.b.", A)];
    let go = with("a.b.", Resolver::Go, |_| Rcode::NxDomain);
    let go_ended = End::Exited { code: Some(1), stdout: String::new(), stderr: "IsNotFound=true".to_owned() };
    assert_eq!(compare(&go, &recorded(&swapped, go_ended)), Ok(()));
    let glibc = with("a.b.", Resolver::Glibc, |_| Rcode::NxDomain);
    let mismatch = compare(&glibc, &recorded(&swapped, exited(2, ""))).unwrap_err();
    insta::assert_snapshot!(mismatch, @r"
    round 1 differs
           predicted  recorded
    !   1. a.b. A     a.b. AAAA
    !   2. a.b. AAAA  a.b. A
    ");
}

#[test]
fn a_question_repeated_while_its_answer_is_on_the_way_is_no_question_more() {
    let hickory = with("a.b.", Resolver::Hickory, |_| Rcode::ServFail);
    let asked: Vec<_> = hickory.queries().map(|query| ("a.b.", query.question.kind)).collect();
    let mut seen = recorded(&asked, failed(DnsFailure::ServFail));
    assert_eq!(compare(&hickory, &seen), Ok(()));
    // The first answer took long; hickory asked once more meanwhile, and was answered after it had gone on.
    seen.questions[0].elapsed_us = Some(400_000);
    for (index, question) in (1..).zip(&mut seen.questions[1..]) {
        question.at_us = 400_010 + 10 * index;
    }
    let repeated = RecordedQuestion { at_us: 333_000, elapsed_us: Some(900_000), ..seen.questions[0].clone() };
    seen.questions.insert(1, repeated);
    assert_eq!(compare(&hickory, &seen), Ok(()));
    // The answer was there, and hickory had not been given the processor to read it.
    seen.questions[0].elapsed_us = Some(100);
    assert_eq!(compare(&hickory, &seen), Ok(()));
    // An answer that is read at once is no reason to ask again.
    for (index, question) in (0..).zip(&mut seen.questions) {
        (question.at_us, question.elapsed_us) = (10 * index, Some(1));
    }
    assert!(compare(&hickory, &seen).is_err());
}

#[test]
fn a_retransmission_counts_only_where_it_is_predicted() {
    use QuestionKind::A;
    let dig = with("a.b.", Resolver::Dig { search: false }, |_| Rcode::NxDomain);
    let line = "status: NXDOMAIN";
    assert_eq!(compare(&dig, &recorded(&[("A.b.", A)], exited(0, line))), Ok(()));
    assert!(compare(&dig, &recorded(&[("a.b.", A), ("a.b.", A)], exited(0, line))).is_err());
    let silent = predict("a.b.", &pod(), Resolver::Dig { search: false }, Families::BOTH, |_| None);
    let thrice = [("a.b.", A); 3];
    assert_eq!(compare(&silent, &recorded(&thrice, exited(9, ";; no servers could be reached"))), Ok(()));
    assert!(compare(&silent, &recorded(&thrice[..2], exited(9, ";; no servers could be reached"))).is_err());
}

#[test]
fn what_the_program_saw_is_compared_too() {
    use QuestionKind::A;
    let nslookup = with("a.b.", Resolver::Nslookup, |_| Rcode::NxDomain);
    let asked = [("a.b.", A)];
    let said = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10#53\n\n** server can't find a.b: NXDOMAIN\n\n";
    assert_eq!(compare(&nslookup, &recorded(&asked, exited(1, said))), Ok(()));
    assert!(compare(&nslookup, &recorded(&asked, exited(0, said))).is_err());
    assert!(compare(&nslookup, &recorded(&asked, exited(1, &said.replace("NXDOMAIN", "SERVFAIL")))).is_err());
    let hickory = with("a.b.", Resolver::Hickory, |_| Rcode::NxDomain);
    let both = [("a.b.", A), ("a.b.", QuestionKind::Aaaa)];
    assert_eq!(compare(&hickory, &recorded(&both, failed(DnsFailure::NxDomain))), Ok(()));
    assert!(compare(&hickory, &recorded(&both, End::Addresses(vec![IpAddr::from([10, 0, 0, 1])]))).is_err());
}
