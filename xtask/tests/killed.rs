//! Kills runs at random moments: the next run is green each time, and nothing stays behind; after the last kill,
//! while nodes are being made, `gc` alone leaves nothing.
//!
//! It needs root (it uses the private engine), and about four minutes for each kill once everything is built: a run of
//! all suites that is killed, and then one of the suite `access`, since what a kill leaves behind meets the environment
//! first. The run after the last kill is of all suites.
//!
//! ```console
//! $ REACHMAP_KILLS=10 cargo test -p xtask --test killed -- --ignored --nocapture
//! ```
//!
//! - `REACHMAP_KILLS`: how many kills, 10 unless it is set.
//! - `REACHMAP_SEED`: the seed that an earlier test printed, for the same steps and the same delays.
//! - `REACHMAP_KILL_HOME`: the cache directory of the runs. Without it they use a temporary one and build
//!   everything, which takes half an hour more, and is killed in the middle too.
//!
//! No private engine of another home may start or stop meanwhile: the kernel's limits, which are compared, are one
//! for the whole machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is a test, and says what it does")]

use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[path = "killed/leftovers.rs"]
mod leftovers;
#[path = "killed/run.rs"]
mod run;

use run::{Heard, Run, Workplace};

/// A step of the run, by what its progress says when it starts.
#[derive(Debug, Clone, Copy)]
struct Moment {
    phrase: &'static str,
    /// How long the step usually takes, for one that does not say so.
    usual: Duration,
    /// Whether it comes only as long as what it makes is not in the cache.
    once: bool,
    /// Whether `usual` counts, whatever the step says of itself.
    early: bool,
}

const fn step(phrase: &'static str, seconds: u64) -> Moment {
    Moment { phrase, usual: Duration::from_secs(seconds), once: false, early: false }
}

const fn build(phrase: &'static str, seconds: u64) -> Moment {
    Moment { once: true, ..step(phrase, seconds) }
}

/// From the first build to the clean-up, in the order in which they come.
const MOMENTS: [Moment; 14] = [
    build("Compile etcd", 60),
    build("Build the node image", 90),
    step("Compile the suites", 10),
    step("Start the private engine", 3),
    step("cluster reachmap-", 40),
    step("Deploy the workloads", 10),
    step("Install MetalLB", 15),
    step("Make the Corefile of load-balancer-pending live", 8),
    step("Enter the stage load-balancer-pending", 3),
    step("in load-balancer-pending", 6),
    step("Enter the stage load-balancer-ready", 3),
    step("Change the Services' policies", 3),
    step("Make the Corefile of corefile-name live", 3),
    // What follows its end is the clean-up.
    step("in changing done", 5),
];

/// A run of all suites.
const ALL: &[&str] = &["e2e", "--engine", "sandbox"];

/// While kind has the engine make the nodes' containers: the first seconds of its work.
const CREATING: Moment = Moment { early: true, ..step("cluster reachmap-", 4) };

/// Steele, Lea and Flood's `SplitMix64`: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_millis()).unwrap();
        Duration::from_millis(self.next() % (limit + 1))
    }

    /// Every moment that comes in each run, in a random order; before them, in a home in which nothing has run
    /// yet, those of the builds: they never come again.
    fn shuffled(&mut self, is_new: bool) -> VecDeque<Moment> {
        let (mut moments, mut rest): (Vec<_>, Vec<_>) = MOMENTS.into_iter().partition(|moment| moment.once);
        moments.retain(|_| is_new);
        while !rest.is_empty() {
            let index = self.next() % rest.len() as u64;
            moments.push(rest.swap_remove(usize::try_from(index).unwrap()));
        }
        moments.into()
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
#[ignore = "needs root, and boots a cluster for each kill: about four minutes each"]
fn a_killed_run_leaves_nothing_that_the_next_one_does_not_clean_up() {
    let kills = number("REACHMAP_KILLS").unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("REACHMAP_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()));
    println!("REACHMAP_SEED={seed}");
    let temporary = tempfile::tempdir().unwrap();
    let home = env::var_os("REACHMAP_KILL_HOME").map_or_else(|| temporary.path().join("home"), PathBuf::from);
    fs::create_dir_all(&home).unwrap();
    let place = Workplace::new(&home.canonicalize().unwrap(), temporary.path());

    let is_new = !place.home.join("engine").exists();
    place.collect_garbage();
    assert_eq!(leftovers::of(&place), Vec::<String>::new(), "something was left before the first kill");
    let limits = leftovers::limits();

    let mut random = Random(seed);
    let mut moments = random.shuffled(is_new);
    let mut killed = 0;
    while killed < kills {
        let moment = moments.pop_front().unwrap_or_else(|| {
            moments = random.shuffled(false);
            moments.pop_front().unwrap()
        });
        if !kill_at(moment, &mut random, &place, killed) {
            continue;
        }
        killed += 1;
        println!("  it left {}", leftovers::counted(&leftovers::of(&place)));
        // A green run builds everything: the other builds are killed before it.
        if killed < kills && moments.front().is_some_and(|next| next.once) {
            continue;
        }
        let next: &[&str] = if killed < kills { &["e2e", "--engine", "sandbox", "--suite", "access"] } else { ALL };
        Run::start(&place, &format!("{killed:02}-next"), next).finish();
    }

    place.collect_garbage();
    assert_eq!(leftovers::of(&place), Vec::<String>::new(), "something is left after {kills} kills");

    // No next run: what the engine was still making when its client was killed is gone after `gc` alone.
    assert!(kill_at(CREATING, &mut random, &place, killed), "the cluster was made too fast to be killed");
    println!("  it left {}", leftovers::counted(&leftovers::of(&place)));
    place.collect_garbage();
    assert_eq!(leftovers::of(&place), Vec::<String>::new(), "something is left after a kill and `gc` alone");
    assert_eq!(leftovers::limits(), limits, "the kernel's limits are not what they were");
}

/// Starts a run and kills it at `moment`; says whether it could: a run that ends before is green instead.
fn kill_at(moment: Moment, random: &mut Random, place: &Workplace, killed: u64) -> bool {
    let mut run = Run::start(place, &format!("{:02}-killed", killed + 1), ALL);
    let Heard::Line(line) = run.until_it_says(moment.phrase) else {
        println!("never said `{}`: nothing to kill there", moment.phrase);
        run.finish();
        assert!(moment.once, "a run ended without saying `{}`", moment.phrase);
        return false;
    };
    let said = usual(&line).filter(|_| !moment.early);
    let delay = random.up_to(said.unwrap_or(moment.usual));
    let Heard::Line(last) = run.until_it_has_gone_on_for(delay) else {
        println!("ended within {delay:?} of `{line}`: it was not killed");
        run.finish();
        return false;
    };
    run.kill();
    println!("kill {}: {delay:?} after `{line}`, when `{last}` was the last thing it had said", killed + 1);
    true
}

/// Between an edit and its restoration: each of the edits of the suite `dns`, and what follows it.
const EDITED: [Moment; 5] = [
    step("Make the Corefile of corefile-fallthrough live", 8),
    step("Make the Corefile of corefile-alias live", 2),
    step("tests of dns in corefile-alias", 2),
    step("Make the Corefile of corefile-name live", 2),
    step("tests of dns in corefile-name", 2),
];

#[test]
#[ignore = "needs root, and boots a cluster: about three minutes"]
fn an_edited_corefile_is_put_back_byte_for_byte_by_the_next_command() {
    const COREFILE: [&str; 7] = ["get", "configmap", "coredns", "-n", "kube-system", "-o", "jsonpath={.data.Corefile}"];
    let temporary = tempfile::tempdir().unwrap();
    let home = env::var_os("REACHMAP_KILL_HOME").map_or_else(|| temporary.path().join("home"), PathBuf::from);
    fs::create_dir_all(&home).unwrap();
    let place = Workplace::new(&home.canonicalize().unwrap(), temporary.path());
    place.run(&["up", "--engine", "sandbox", "--name", "edited"]);
    let corefile = || place.run(&[&["kubectl", "--name", "edited", "--"], &COREFILE[..]].concat());
    let original = corefile();
    assert!(original.contains("kubernetes cluster.local"), "{original}");
    let seed = number("REACHMAP_SEED").unwrap_or(1);
    let mut random = Random(seed);
    for (index, moment) in EDITED.into_iter().enumerate() {
        let arguments = ["e2e", "--engine", "sandbox", "--name", "edited", "--keep", "--suite", "dns"];
        let mut run = Run::start(&place, &format!("edit-{index}"), &arguments);
        assert!(matches!(run.until_it_says(moment.phrase), Heard::Line(_)), "it never said `{}`", moment.phrase);
        let delay = random.up_to(moment.usual);
        assert!(matches!(run.until_it_has_gone_on_for(delay), Heard::Line(_)), "it ended within {delay:?}");
        run.kill();
        let was_edited = corefile() != original;
        place.run(&["gc"]);
        println!(
            "kill {}: {delay:?} after `{}`, the Corefile was {}",
            index + 1,
            moment.phrase,
            if was_edited { "edited" } else { "the original" }
        );
        assert_eq!(corefile(), original, "after a kill at `{}`", moment.phrase);
    }
    place.run(&["down", "--name", "edited"]);
}

/// How long a step says that it usually takes.
fn usual(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once("(usually ")?;
    rest.split_once("s)")?.0.parse().ok().map(Duration::from_secs)
}

#[test]
fn a_step_says_how_long_it_usually_takes() {
    assert_eq!(usual("[    0.4s] Deploy the workloads … (usually 10s)"), Some(Duration::from_secs(10)));
    assert_eq!(usual("[    0.4s] cluster a …"), None);
}

#[test]
fn one_seed_gives_the_same_moments_each_time() {
    let phrases = |seed| Random(seed).shuffled(true).iter().map(|moment| moment.phrase).collect::<Vec<_>>();
    assert_eq!(phrases(7), phrases(7));
    assert_ne!(phrases(7), phrases(8));
    assert_eq!(phrases(7).len(), MOMENTS.len());
}

/// The workspace's root, where cargo builds the suites.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
