//! The tests by known numbers and by property. That they keep their word is shown in `simulate`.

use std::sync::LazyLock;

use proptest::prelude::*;
use rstest::rstest;
use statrs::distribution::{Binomial, DiscreteCDF as _};

use super::{law::real, *};
use crate::ErrorKind;

fn near(value: f64, expected: f64, tolerance: f64) -> bool {
    (value - expected).abs() <= tolerance * expected.abs().max(1e-300)
}

fn names(k: usize) -> Vec<String> {
    (0..k).map(|number| format!("pod-{number}")).collect()
}

/// A sample with one request a connection, by the endpoint's number.
fn sample(endpoints: impl IntoIterator<Item = usize>) -> Sample {
    Sample::of_requests((0..).zip(endpoints).map(|(number, endpoint)| (number, format!("pod-{endpoint}"))))
}

/// A sequence that is even and whose neighbours look independent: every pair comes as often as every other.
fn de_bruijn(n: usize) -> Vec<usize> {
    [0, 0, 1, 1, 2, 2, 0, 2, 1].into_iter().cycle().take(n).collect()
}

fn one(plan: &Plan, law: &Law, sample: &Sample) -> Judgement {
    let mut judgements = plan.judge("row", law, sample).unwrap();
    assert_eq!(judgements.len(), 1, "{judgements:?}");
    judgements.remove(0)
}

/// The exact test, from R: `sum(p[p <= p[x]])` over all outcomes.
#[rstest]
// A coin: 2 * pbinom(2, 10, 0.5).
#[case(&[2, 8], &[0.5, 0.5], 0.109_375)]
// Each of three gets one of three: the most likely outcome, so that every other is no more likely.
#[case(&[1, 1, 1], &[1.0 / 3.0; 3], 1.0)]
// All three to the same one: 3 of 27.
#[case(&[3, 0, 0], &[1.0 / 3.0; 3], 1.0 / 9.0)]
fn the_exact_test_counts_outcomes(#[case] counts: &[u64], #[case] shares: &[f64], #[case] p: f64) {
    let test = SharesTest::new(counts.iter().sum(), shares);
    assert!(test.is_exact() && near(test.p(counts), p, 1e-9), "{}", test.p(counts));
}

#[test]
fn the_number_of_outcomes_decides_which_test_is_made() {
    assert!(shares::is_exact(314, 3) && !shares::is_exact(315, 3));
    assert!(shares::is_exact(49_999, 2) && !shares::is_exact(50_000, 2));
    assert!(!shares::is_exact(u64::MAX, 100) && shares::is_exact(u64::MAX, 1));
    let g = SharesTest::new(1_000, &[1.0 / 3.0; 3]);
    // 2 * sum(o * log(o / e)) = 10.239094, over Williams' 1 + 8 / 12000.
    assert!(near(g.g(&[380, 320, 300]), 10.232_272, 1e-6), "{}", g.g(&[380, 320, 300]));
}

/// 1,000 connections over 3 pods at an alpha of 0.001, as computed elsewhere for Pearson's statistic, which is a little less
/// powerful here than G.
#[rstest]
#[case(0.25, 0.98)]
#[case(0.28, 0.50)]
#[case(0.30, 0.08)]
fn the_power_is_what_others_have_computed(#[case] share: f64, #[case] expected: f64) {
    let other = [share, (1.0 - share) / 2.0, (1.0 - share) / 2.0];
    let power = SharesTest::new(1_000, &[1.0 / 3.0; 3]).power(&other, 0.001);
    assert!((power - expected).abs() < 0.03, "{power}");
}

#[test]
fn the_noncentral_distribution_is_that_of_the_tables() {
    // Without noncentrality, it is the central one: 5.991 at 0.05 and 2 degrees of freedom.
    assert!(near(critical(2.0, 0.05), 5.991_465, 1e-6));
    assert!(near(noncentral::survival(5.991_465, 2.0, 0.0), 0.05, 1e-6));
    // With one degree of freedom, it is the square of a shifted normal variable.
    let normal = |x: f64| statrs::distribution::ContinuousCDF::sf(&statrs::distribution::Normal::standard(), x);
    for (x, shift) in [(3.84_f64, 2.0_f64), (10.0, 1.0), (15.0, 6.0)] {
        let expected = normal(x.sqrt() - shift) + normal(x.sqrt() + shift);
        let found = noncentral::survival(x, 1.0, shift * shift);
        assert!(near(found, expected, 1e-9), "{found} {expected}");
    }
}

#[rstest]
#[case::uneven(&[0.5, 0.3, 0.2])]
#[case::even(&[0.25; 4])]
fn repeats_are_distributed_as_all_sequences_say(#[case] shares: &[f64]) {
    const N: u32 = 6;
    let k = shares.len();
    let mut chances = [0.0; N as usize];
    for number in 0..k.pow(N) {
        let sequence: Vec<usize> = (0..N).map(|place| number / k.pow(place) % k).collect();
        let chance: f64 = sequence.iter().map(|endpoint| shares[*endpoint]).product();
        chances[usize::try_from(Repeats::count(&sequence)).unwrap()] += chance;
    }
    let test = Repeats::new(u64::from(N), shares);
    for repeats in 0..N as usize {
        let (low, high): (f64, f64) = (chances[..=repeats].iter().sum(), chances[repeats..].iter().sum());
        let p = test.p(repeats as u64);
        assert!(near(p, (2.0 * low.min(high)).min(1.0), 1e-9), "{repeats}: {p}");
    }
}

#[test]
fn the_long_way_to_the_repeats_ends_where_the_binomial_is() {
    // Shares that differ too little to matter, but enough to take the long way.
    let table = Repeats::new(3_000, &[0.5 + 1e-11, 0.5 - 1e-11]);
    let binomial = Binomial::new(0.5, 2_999).unwrap();
    for repeats in [1_350, 1_420, 1_499, 1_600] {
        let expected = (2.0 * binomial.cdf(repeats).min(binomial.sf(repeats - 1))).min(1.0);
        assert!(near(table.p(repeats), expected, 1e-6), "{repeats}: {} {expected}", table.p(repeats));
    }
    // And the normal approximation, beyond it, is not far.
    let (long, normal) = (Repeats::new(20_000, &[0.6, 0.4]), Repeats::new(20_001, &[0.6, 0.4]));
    assert!(long.is_exact() && !normal.is_exact());
    assert!(near(long.p(10_550), normal.p(10_550), 0.05), "{} {}", long.p(10_550), normal.p(10_550));
}

#[test]
fn a_fair_balancer_is_left_alone_and_others_are_found() {
    let law = Law::even(names(3)).unwrap();
    let plan = Plan::for_laws([&law]);
    let n = usize::try_from(plan.connections(&law).unwrap()).unwrap();
    let judge = |sequence: Vec<usize>| {
        let mut judgements = plan.judge("row", &law, &sample(sequence)).unwrap();
        Holm::default().settle(&mut judgements).unwrap();
        [0, 1].map(|test| judgements[test].verdict)
    };
    assert_eq!(judge(de_bruijn(n)), [Finding::Consistent; 2]);
    // In turn: too even to be independent.
    assert_eq!(judge((0..n).map(|number| number % 3).collect()), [Finding::Consistent, Finding::Departs]);
    // Five points more for the first, at the others' cost.
    let skewed = de_bruijn(n).into_iter().zip(0_usize..).map(|(pod, number)| if number % 13 == 7 { 0 } else { pod });
    assert_eq!(judge(skewed.collect()), [Finding::Departs, Finding::Consistent]);
    // An affinity that was left on.
    assert_eq!(judge(vec![1; n]), [Finding::Departs; 2]);
}

#[test]
fn an_endpoint_from_outside_needs_no_statistics() {
    let law = Law::even(names(2)).unwrap();
    let judgement = one(&Plan::default(), &law, &sample([0, 1, 2]));
    assert_eq!((judgement.verdict, judgement.p), (Finding::Violates, None));
    assert_eq!(judgement.violations, ["\"pod-2\" answered on 1 connections and is none of the endpoints."]);
    assert_eq!((judgement.endpoints.len(), judgement.endpoints[2].expected), (3, 0.0));
    // Nor does a connection on which two answered.
    let moved = Sample::of_requests([(4, "pod-0"), (4, "pod-1"), (5, "pod-0")]);
    assert_eq!(one(&Plan::default(), &law, &moved).verdict, Finding::Violates);
}

#[test]
fn exact_laws_are_asserted_exactly() {
    let plan = Plan::default();
    let turn = Law::round_robin(names(3)).unwrap();
    // The turn may start anywhere, and the order may be any.
    assert!(one(&plan, &turn, &sample([2, 0, 1].into_iter().cycle().take(20))).is_consistent());
    let blocks = one(&plan, &turn, &sample((0..21).map(|number| number / 7)));
    assert_eq!(blocks.verdict, Finding::Violates);
    assert!(blocks.to_string().contains("With connection number 1,"), "{blocks}");
    let affinity = Law::affinity(names(3)).unwrap();
    let kept = one(&plan, &affinity, &sample([1; 12]));
    assert!(kept.is_consistent() && kept.power > 0.999_99, "{kept}");
    assert_eq!(
        one(&plan, &affinity, &sample((0..12).map(|number| usize::from(number == 8)))).verdict,
        Finding::Violates
    );
}

#[test]
fn a_single_endpoint_gets_everything() {
    let law = Law::even(["pod-0"]).unwrap();
    assert_eq!((law.tests(), Plan::default().connections(&law).unwrap()), (0, 1));
    assert!(one(&Plan::default(), &law, &sample([0])).is_consistent());
}

#[test]
fn too_small_a_sample_is_refused_with_the_number_that_it_takes() {
    let law = Law::even(names(3)).unwrap();
    let plan = Plan::default();
    let needed = plan.connections(&law).unwrap();
    let refused = plan.judge("row", &law, &sample(de_bruijn(1_000))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
    assert!(refused.to_string().ends_with(&format!("there are 1000 connections, and the test needs {needed}")));
    assert!(refused.hint_text().unwrap().contains(&needed.to_string()));
    // 1,000 requests over 50 connections are 50.
    let kept = Sample::of_requests((0..1_000).map(|request| (request % 50, format!("pod-{}", request % 50 % 3))));
    assert!(plan.judge("row", &law, &kept).unwrap_err().to_string().contains("there are 50 connections"));
}

#[test]
fn more_tests_than_planned_are_refused() {
    let law = Law::even(names(3)).unwrap();
    let plan = Plan { effect: 0.3, ..Plan::for_laws([&law]) };
    let mut judgements = plan.judge("row", &law, &sample(de_bruijn(200))).unwrap();
    judgements.extend(judgements.clone());
    assert_eq!(Holm::default().settle(&mut judgements).unwrap_err().kind(), ErrorKind::Usage);
}

#[rstest]
#[case(Law::even(Vec::<String>::new()))]
#[case(Law::even(["a", "a"]))]
#[case(Law::random([("a", 0.5), ("b", 0.6)]))]
#[case(Law::random([("a", 1.5), ("b", -0.5)]))]
#[case(Law::random([("a", f64::NAN), ("b", 1.0)]))]
fn what_is_no_law_is_refused(#[case] law: crate::Result<Law>) {
    assert_eq!(law.unwrap_err().kind(), ErrorKind::Usage);
}

#[rstest]
#[case(0.0, 0.001, 0.99)]
#[case(0.05, 1.0, 0.99)]
#[case(0.05, 0.001, f64::NAN)]
#[case(0.9, 0.001, 0.99)]
fn what_is_no_plan_is_refused(#[case] effect: f64, #[case] alpha: f64, #[case] power: f64) {
    let law = Law::even(names(3)).unwrap();
    assert_eq!(sample_size(&law, effect, alpha, power).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_judgement_says_everything_in_plain_words() {
    let law = Law::even(["a", "b"]).unwrap();
    let plan = Plan { effect: 0.3, ..Plan::for_laws([&law]) };
    let endpoints = (0..160).map(|number| (number, if number * number % 7 < 2 { "a" } else { "b" }));
    let judgements = plan.judge("laptop/x", &law, &Sample::of_requests(endpoints)).unwrap();
    assert_eq!(
        judgements[0].to_string(),
        "\"laptop/x\", shares: 160 connections went to \"a\" 68, \"b\" 92; the law is each connection at random, with \
         equal shares, over 2 endpoints.\n\
         By the exact test: p = 0.0687, adjusted 0.1374, at an alpha of 7.0e-4 for 2 tests.\n\
         A share off by 30.0 points would have been found with a chance of 100.0 %.\n\
         Nothing speaks against the law."
    );
    let json = serde_json::to_string(&judgements[1]).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&json).unwrap().question, Question::Independence);
}

fn shares() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1_u32..20, 2..5).prop_map(|weights| {
        let sum: u32 = weights.iter().sum();
        weights.into_iter().map(|weight| f64::from(weight) / f64::from(sum)).collect()
    })
}

/// The test of 3 shares just below and just above the limit of the exact one.
static BOTH: LazyLock<(SharesTest, SharesTest)> =
    LazyLock::new(|| (SharesTest::new(312, &[1.0 / 3.0; 3]), SharesTest::new(315, &[1.0 / 3.0; 3])));

proptest! {
    #[test]
    fn p_values_are_probabilities_and_do_not_know_names(
        (shares, counts) in shares().prop_flat_map(|shares| (Just(shares.clone()), prop::collection::vec(0_u64..40, shares.len()))),
        turn in 0_usize..4,
    ) {
        let test = SharesTest::new(counts.iter().sum(), &shares);
        let p = test.p(&counts);
        prop_assert!((0.0..=1.0).contains(&p), "{p}");
        let (mut other_shares, mut other_counts) = (shares.clone(), counts.clone());
        other_shares.rotate_left(turn % shares.len());
        other_counts.rotate_left(turn % shares.len());
        let other = SharesTest::new(counts.iter().sum(), &other_shares).p(&other_counts);
        prop_assert!(near(p, other, 1e-6), "{p} {other}");
    }

    #[test]
    fn exact_and_g_agree_for_many_connections(shift in 0_u64..60, half in 0_u64..30) {
        let (exact, g) = &*BOTH;
        let exact_p = exact.p(&[104 + shift, 104 - half.min(shift), 104 - shift + half.min(shift)]);
        let g_p = g.p(&[105 + shift, 105 - half.min(shift), 105 - shift + half.min(shift)]);
        prop_assert!(exact.is_exact() && !g.is_exact());
        prop_assert!((exact_p - g_p).abs() < 0.02 + 0.15 * exact_p.min(g_p), "{exact_p} {g_p}");
    }

    #[test]
    fn repeats_have_a_probability(shares in shares(), n in 1_u64..400, part in 0.0..1.0_f64) {
        let repeats = plan::whole(real(n - 1) * part).min(n - 1);
        let p = Repeats::new(n, &shares).p(repeats);
        prop_assert!((0.0..=1.0).contains(&p), "{p}");
    }

    #[test]
    fn holm_is_monotone(ps in prop::collection::vec(0.0..=1.0_f64, 1..20), index in any::<prop::sample::Index>()) {
        let decide = |ps: &[f64]| {
            let mut holm = Holm::new(0.05);
            for p in ps {
                holm.add("", *p).unwrap();
            }
            holm.decide()
        };
        let decisions = decide(&ps);
        for a in &decisions {
            // No less than its own p, no more than Bonferroni's; and a smaller p is never adjusted to more.
            prop_assert!(a.adjusted >= a.p && a.adjusted <= (a.p * real(ps.len() as u64)).min(1.0));
            prop_assert!(decisions.iter().all(|b| a.p > b.p || a.adjusted <= b.adjusted));
        }
        // A smaller p anywhere makes no decision milder.
        let mut smaller = ps.clone();
        *index.get_mut(&mut smaller) /= 2.0;
        for (before, after) in decisions.iter().zip(decide(&smaller)) {
            prop_assert!(after.adjusted <= before.adjusted);
        }
    }

    #[test]
    fn one_test_by_itself_rejects_nothing_that_the_family_would_not(
        ps in prop::collection::vec(0.0..=0.01_f64, 1..20),
        more in 0_u32..10,
    ) {
        let planned = u32::try_from(ps.len()).unwrap() + more;
        let mut holm = Holm::new(0.05).planned(planned);
        for p in &ps {
            holm.add("", *p).unwrap();
        }
        let decisions = holm.decide();
        let alone = |p: f64| (p * f64::from(planned)).min(1.0) <= 0.05;
        prop_assert!(decisions.iter().all(|one| !alone(one.p) || one.rejected));
        prop_assert_eq!(decisions.iter().any(|one| one.rejected), ps.iter().any(|p| alone(*p)));
    }

    #[test]
    fn a_share_is_in_its_interval_and_more_alpha_makes_it_narrower(n in 1_u64..5_000, part in 0.0..=1.0_f64) {
        let count = plan::whole(real(n) * part).min(n);
        let (low, high) = share_interval(count, n, 0.001);
        let (narrow_low, narrow_high) = share_interval(count, n, 0.05);
        let share = real(count) / real(n);
        prop_assert!(0.0 <= low && low <= narrow_low && narrow_low <= share);
        prop_assert!(share <= narrow_high && narrow_high <= high && high <= 1.0);
    }
}

proptest! {
    // Each of them enumerates the outcomes many times.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_plan_has_the_power_that_it_was_made_for(shares in shares(), effect in 0.1..0.3_f64, power in 0.5..0.999_f64) {
        let law = Law::random(names(shares.len()).into_iter().zip(shares)).unwrap();
        if let Ok(n) = sample_size(&law, effect, 0.001, power) {
            let reached = super::power(&law, effect, n, 0.001).unwrap();
            prop_assert!(reached >= power - 1e-9, "{n} connections: {reached}");
        }
    }
}
