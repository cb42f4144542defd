//! What holds for every resolver, name, configuration and answer.

use std::collections::BTreeSet;

use proptest::prelude::*;
use reachmap_wire::{Record, RecordData, Transport};

use super::*;
use crate::model::dns::{Rcode, absolute};

fn names() -> impl Strategy<Value = String> {
    "[a-z]{1,3}(\\.[a-z]{1,3}){0,5}"
}

fn confs() -> impl Strategy<Value = ResolvConf> {
    let search = proptest::collection::btree_set("[a-d]{4}(\\.[e-h]{1,2}){0,2}", 0..6);
    (search, 0_usize..8, proptest::option::of(1_usize..4), any::<[bool; 3]>()).prop_map(
        |(search, ndots, attempts, [use_vc, single_request, no_aaaa])| {
            let mut conf = ResolvConf { search: search.into_iter().collect(), ndots, ..ResolvConf::default() };
            conf.options.attempts = attempts;
            (conf.options.use_vc, conf.options.single_request, conf.options.no_aaaa) =
                (use_vc, single_request, no_aaaa);
            conf
        },
    )
}

fn resolvers() -> impl Strategy<Value = Resolver> {
    prop::sample::select(Resolver::ALL.to_vec())
}

/// An answer by the name's hash: the same for a question that is asked again.
fn answer_of(question: &Question, seed: u64) -> Option<Response> {
    let mixed = question
        .name
        .bytes()
        .chain([u8::from(question.kind == QuestionKind::A)])
        .fold(seed, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let record = |data| Record { name: question.name.clone(), ttl: 5, data };
    let address = || match question.kind {
        QuestionKind::A => record(RecordData::Address(IpAddr::from([10, 0, 0, 1]))),
        _ => record(RecordData::Address("fd00::1".parse().unwrap())),
    };
    Some(match (mixed >> 20) % 9 {
        0 => return None,
        1 => Response::empty(Rcode::ServFail),
        2 => Response::empty(Rcode::Refused),
        3 => Response::empty(Rcode::NoError),
        4 => Response::records(vec![address()]),
        5 => Response::records(vec![record(RecordData::Cname("alias.test.".to_owned()))]),
        6 => Response { truncated: true, ..Response::records(vec![address()]) },
        _ => Response::empty(Rcode::NxDomain),
    })
}

fn planned(name: &str, conf: &ResolvConf, resolver: Resolver) -> Vec<String> {
    resolve_plan(name, conf, resolver).rounds.into_iter().map(|round| round.name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn each_name_is_walked_at_most_once(name in names(), conf in confs(), resolver in resolvers()) {
        let planned = planned(&name, &conf, resolver);
        let distinct: BTreeSet<&String> = planned.iter().collect();
        prop_assert_eq!(distinct.len(), planned.len());
        prop_assert!(planned.contains(&absolute(&name)));
    }

    #[test]
    fn a_trailing_dot_asks_for_exactly_one_name(name in names(), conf in confs(), resolver in resolvers()) {
        prop_assert_eq!(planned(&format!("{name}."), &conf, resolver), [absolute(&name)]);
    }

    #[test]
    fn more_ndots_never_bring_the_name_itself_forward(name in names(), conf in confs(), resolver in resolvers()) {
        let place = |ndots| {
            let planned = planned(&name, &ResolvConf { ndots, ..conf.clone() }, resolver);
            planned.iter().position(|asked| *asked == absolute(&name)).unwrap()
        };
        prop_assert!(place(conf.ndots) <= place(conf.ndots + 1));
    }

    #[test]
    fn the_search_list_keeps_its_order(name in names(), conf in confs(), resolver in resolvers()) {
        let itself = absolute(&name);
        let searched: Vec<String> =
            planned(&name, &conf, resolver).into_iter().filter(|asked| *asked != itself).collect();
        let all: Vec<String> = conf.search.iter().map(|domain| format!("{itself}{domain}.")).collect();
        prop_assert!(searched.is_empty() || searched == all, "{:?}", searched);
    }

    #[test]
    fn answers_only_shorten_the_walk(name in names(), conf in confs(), resolver in resolvers(), seed in any::<u64>()) {
        let prediction = predict(&name, &conf, resolver, Families::BOTH, |question| answer_of(question, seed));
        let mut asked: Vec<String> = prediction.queries().map(|query| query.question.name.clone()).collect();
        // An alias is asked after where it leads; that is no part of the walk.
        asked.retain(|asked| asked != "alias.test.");
        asked.dedup();
        let mut planned = planned(&name, &conf, resolver).into_iter();
        for name in asked {
            prop_assert!(planned.any(|planned| planned == name), "{name} was asked out of turn");
        }
    }

    #[test]
    fn what_is_seen_has_a_reason(name in names(), conf in confs(), resolver in resolvers(), seed in any::<u64>()) {
        let prediction = predict(&name, &conf, resolver, Families::BOTH, |question| answer_of(question, seed));
        prop_assert!(prediction.rounds.iter().all(|round| !round.queries.is_empty()));
        prop_assert!(!prediction.seen.addresses.is_empty() || prediction.seen.failure.is_some() || prediction.seen.exit == Some(0));
        let by_tcp = prediction.queries().any(|query| query.transport == Transport::Tcp);
        prop_assert!(!by_tcp || resolver != Resolver::Musl, "musl 1.2.3 has no TCP");
    }
}
