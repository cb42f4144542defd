//! Throws mutated Corefiles at the parser, the checks, the edits and the evaluator, until the time is up.
//!
//! `cargo run -p reachmap --example fuzz_corefile -- [SECONDS] [SEED]`: it needs nothing but a stable compiler. A panic
//! ends it, and the text that led there is printed. Mutations are of bytes, of words and of lines, from a corpus that
//! has every plugin that the model knows; an input that parses where its parent did not, or has more plugins, joins it.

#![expect(clippy::print_stdout, reason = "a program to be run by hand")]

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use reachmap::{
    model::dns::{Corefile, HostsEntry, Outside, Question, QuestionKind, Rcode, Response, corefile::KUBEADM},
    state::State,
};

const SEEDS: [&str; 6] = [
    KUBEADM,
    ".:53 {\n  hosts {\n    10.0.0.1 a.test *.b.test\n    fd00::1 a.test # why\n    ttl 60\n    no_reverse\n    fallthrough cluster.local\n  }\n  forward . 10.0.0.53 {\n    except x.test\n  }\n}\n",
    "a.test:53, b.test {\n  rewrite stop name suffix .b.test .a.test answer auto\n  rewrite name c.test d.test\n  template IN A {\n    answer \"{{ .Name }} 60 IN A 10.0.0.1\"\n  }\n}\n",
    "(snippet) {\n  errors\n}\n.:53 {\n  import snippet\n  kubernetes cluster.local 10.96.0.0/12 {\n    pods verified\n    endpoint_pod_names\n    ignore empty_service\n    namespaces default\n  }\n  cache 30 {\n    success 10 20 5\n  }\n}\n",
    "dns://example.org {\n  any\n  loop\n}\ntls://. {\n}\n",
    "\u{feff}. {\r\n  log \"a \\\" b\"\r\n}",
];
const WORDS: [&str; 24] = [
    "hosts",
    "kubernetes",
    "forward",
    "fallthrough",
    "rewrite",
    "name",
    "template",
    "IN",
    "A",
    "{",
    "}",
    "#",
    "\"",
    "\\",
    "10.0.0.1",
    "*.",
    ".",
    ":53",
    "cluster.local",
    "10.0.0.0/9",
    "\u{feff}",
    "ttl",
    ",",
    "cache",
];
const NAMES: [&str; 8] = [
    "a.test",
    "x.b.test",
    "nginx-clusterip-service.service-type-test.svc.cluster.local",
    "cluster.local",
    "1.10.96.10.in-addr.arpa",
    "10-244-1-4.default.pod.cluster.local",
    ".",
    "ns.dns.cluster.local",
];

/// The generator of <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap_or(0) % limit.max(1)
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        let index = self.below(from.len());
        from.get(index).copied().unwrap_or_default()
    }

    fn mutate(&mut self, text: &str, other: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..=self.below(4) {
            let place =
                |text: &str, at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            let from = place(&text, self.below(text.len() + 1));
            let to = place(&text, (from + self.below(12)).min(text.len()));
            match self.below(6) {
                0 => text.replace_range(from..to, ""),
                1 => text.insert_str(from, self.pick(&WORDS)),
                2 => text.insert_str(from, &format!(" {} ", self.pick(&WORDS))),
                3 => {
                    let piece = text.get(from..to).unwrap_or_default().to_owned();
                    text.insert_str(to, &piece);
                }
                4 => {
                    let line = other.lines().nth(self.below(other.lines().count())).unwrap_or_default().to_owned();
                    text.insert_str(from, &format!("\n{line}\n"));
                }
                _ => {
                    let character = char::from(u8::try_from(self.below(128)).unwrap_or(b' '));
                    text.replace_range(from..to, &character.to_string());
                }
            }
        }
        text
    }
}

/// Everything that is done with a text; how far it came.
fn run(text: &str, state: &State, random: &mut Random) -> usize {
    let Ok(corefile) = text.parse::<Corefile>() else { return 0 };
    assert_eq!(corefile.to_string(), text, "printing gives back every byte");
    let accepted = usize::from(corefile.check(None).is_ok());
    let kinds = [
        QuestionKind::A,
        QuestionKind::Aaaa,
        QuestionKind::Ptr,
        QuestionKind::Srv,
        QuestionKind::Any,
        QuestionKind::Txt,
    ];
    let kind = kinds.get(random.below(kinds.len())).copied().unwrap_or(QuestionKind::A);
    let question = Question::new(random.pick(&NAMES), kind);
    let outside = Outside::default().otherwise(Response::empty(Rcode::NxDomain));
    let (answer, _) = corefile.follow(&question, state, &outside);
    assert_eq!(corefile.answer_with(&question, state, &outside), answer, "the same question has the same answer");
    let entry = HostsEntry { address: IpAddr::from([10, 0, 0, 9]), names: vec!["z.test".to_owned()] };
    let _ = corefile.with_hosts(&[entry], true);
    1 + accepted + corefile.blocks().map(|block| block.plugins.len()).sum::<usize>()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(60);
    let seed = arguments.next().and_then(Result::ok).unwrap_or(1);
    let (state, mut random) = (State::example(), Random(seed));
    let mut corpus: Vec<(String, usize)> = SEEDS.map(|text| (text.to_owned(), 0)).into();
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut executions, mut parsed) = (0_u64, 0_u64);
    while Instant::now() < until {
        let parent = random.below(corpus.len());
        let other = random.below(corpus.len());
        let (Some((text, reached)), Some((other, _))) = (corpus.get(parent), corpus.get(other)) else { continue };
        let (mutated, reached) = (random.mutate(text, other), *reached);
        if mutated.len() > 4096 {
            continue;
        }
        let Ok(far) = catch_unwind(AssertUnwindSafe(|| run(&mutated, &state, &mut random))) else {
            println!("panicked on {mutated:?}");
            return ExitCode::FAILURE;
        };
        executions += 1;
        parsed += u64::from(far > 0);
        if far > reached && corpus.len() < 10_000 {
            corpus.push((mutated, far));
        }
    }
    println!("{executions} executions, {parsed} of them parsed, {} texts in the corpus, no panic", corpus.len());
    ExitCode::SUCCESS
}
