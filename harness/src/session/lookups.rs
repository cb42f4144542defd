//! Lookups by every resolver: predicted by the model, recorded on the wire, and held against each other.

use reachmap_wire::{Hello, Recorded, RecordedQuestion};

use super::Session;
use crate::{
    Context as _, Error, ErrorKind, Result,
    environment::{
        images::lookups::Lookups,
        panel::{Panel, PanelPods},
    },
    model::dns::{
        Answer, Corefile, Families, Prediction, Question, Rcode, ResolvConf, Resolver, Response, compare, predict,
        resolver::Failure,
    },
    probe::AgentBinary,
    report::{Cost, LookupGroup, Mismatch, Timeline},
    state::State,
};

mod answers;
mod names;

pub use names::names;

/// The configuration whose lookups are reported question by question, and the names.
const SHOWN: (&str, [&str; 2]) =
    ("ndots5-cluster", ["my-nginx.external.local", "nginx-clusterip-service.service-type-test"]);

impl Session {
    /// The panel, opened at the first call.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the run has no panel, or those of [`PanelPods::open`].
    pub async fn panel(&'static self) -> Result<&'static Panel> {
        self.panel
            .get_or_try_init(|| async {
                // Agents live on the runtime that they were started on, and the caller's may be gone before the session.
                let opened = self.runtime().spawn(async {
                    let programs = self.handover.lookups.as_ref().ok_or_else(|| {
                        Error::new(
                            ErrorKind::Usage,
                            "open the panel",
                            "this run has none: no suite of lookups was chosen",
                        )
                    })?;
                    let lookups = Lookups::read(&programs.glibc, &programs.musl, &programs.go)?;
                    let binary = AgentBinary::read(&self.handover.agent)?;
                    let pods = PanelPods::beside_testpod(self.client.clone(), &self.handover.run).await?;
                    pods.open(&binary, &lookups).await
                });
                opened.await.tried(ErrorKind::Internal, || "join a task")?
            })
            .await
    }

    /// Lets `resolver` look up every one of [`names`] in the pod with the DNS configuration called `configuration`, holds
    /// each lookup against what the model predicts, and records what came of it.
    ///
    /// Two things are compared: the questions, one by one, with what the program saw of them; and each answer with what
    /// the live Corefile must say. What servers outside the cluster say is taken from the wire: only they know.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such configuration or resolver; [`ErrorKind::Environment`] if a lookup could
    /// not be made.
    pub async fn check_lookups(&'static self, configuration: &str, resolver: &str) -> Result<LookupGroup> {
        let panel = self.panel().await?;
        let resolver = Resolver::find(resolver)?;
        let place = panel.agent(configuration)?.hello().await?;
        let predictor = Predictor::new(&self.state, &place, resolver)?;
        let names = names(&self.state);
        // The panel sees to it that only those are under way at once that do not disturb each other.
        let lookups = names.iter().map(|name| measured(panel, configuration, resolver, name));
        let measured = futures::future::try_join_all(lookups).await?;
        let mut group = LookupGroup::of(self.handover.stage.as_str(), configuration, resolver.id());
        if let Some((recorded, _)) = measured.first() {
            group.not_supported = panel.missing(configuration, resolver, recorded)?;
        }
        if group.not_supported.is_none() {
            for (name, (recorded, repeated)) in names.iter().zip(measured) {
                group.repeated += repeated;
                take(&mut group, &predictor, name, recorded);
            }
        }
        self.write(&format!("lookups/{}/{configuration}.{}", group.stage, resolver.id()), &group)?;
        Ok(group)
    }
}

/// How often a lookup is made at most.
const MEASUREMENTS: usize = 12;

/// For how long a resolver may be kept from running before its timers may have run out: a good part of the shortest.
const fn patience_us(resolver: Resolver) -> u64 {
    match resolver {
        // It asks again after 333 ms (`DEFAULT_RETRY_FLOOR`).
        Resolver::Hickory => 100_000,
        // musl waits for 2.5 s, and all others for 5 s.
        _ => 1_000_000,
    }
}

/// A lookup, and how many were thrown away before it because the machine did not run what it had to run meanwhile.
///
/// Whether one is thrown away depends on the recorder's clock alone, and not on what was asked: a lookup that does not
/// go as predicted is never made again for that reason. The last one counts in any case.
async fn measured(panel: &Panel, configuration: &str, resolver: Resolver, name: &str) -> Result<(Recorded, usize)> {
    let mut repeated = 0;
    loop {
        let recorded = panel.lookup(configuration, resolver, name).await?;
        if recorded.starved_us < patience_us(resolver) || repeated + 1 == MEASUREMENTS {
            return Ok((recorded, repeated));
        }
        repeated += 1;
    }
}

/// Judges one lookup, and adds it to its group.
fn take(group: &mut LookupGroup, predictor: &Predictor<'_>, name: &str, recorded: Recorded) {
    group.lookups += 1;
    let (prediction, not_covered) = predictor.predict(name, &recorded.questions);
    let outcome = prediction.seen.failure.map_or("found", Failure::id);
    if let Some(plugin) = not_covered {
        group.not_covered.insert(name.to_owned(), plugin);
        return;
    }
    let judged = match recorded.strays {
        0 => compare(&prediction, &recorded).map_err(|mismatch| mismatch.to_string()),
        strays => Err(format!("{strays} messages came that belong to no lookup under way")),
    };
    let judged = judged.and_then(|()| predictor.judge_answers(&recorded.questions));
    let timeline = Timeline {
        name: name.to_owned(),
        questions: recorded.questions,
        seen: prediction.seen.to_string(),
        elapsed_us: recorded.elapsed_us,
    };
    match judged {
        Ok(()) => {
            group.as_predicted += 1;
            *group.outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
        Err(parted) => {
            let explanation = format!("{}\non the wire:\n{}", parted.trim_end(), timeline.text());
            group.mismatches.push(Mismatch { name: name.to_owned(), explanation });
        }
    }
    if group.configuration.ends_with("-cluster") {
        group.costs.push(Cost { name: name.to_owned(), questions: timeline.questions.len() });
    }
    if group.configuration == SHOWN.0 && SHOWN.1.contains(&name) {
        group.timelines.push(timeline);
    }
}

/// What the model says of lookups at one place by one resolver.
struct Predictor<'s> {
    state: &'s State,
    corefile: Corefile,
    conf: ResolvConf,
    families: Families,
    resolver: Resolver,
}

impl<'s> Predictor<'s> {
    fn new(state: &'s State, place: &Hello, resolver: Resolver) -> Result<Self> {
        let families = Families::asked_by(resolver, &place.addresses);
        let conf = ResolvConf::parse(&place.resolv_conf);
        Ok(Self { state, corefile: state.corefile.parse()?, conf, families, resolver })
    }

    /// The prediction, and the plugin that the model would have to know for it, if there is one.
    fn predict(&self, name: &str, recorded: &[RecordedQuestion]) -> (Prediction, Option<String>) {
        let mut not_covered = None;
        let prediction = predict(name, &self.conf, self.resolver, self.families, |question| {
            match self.corefile.answer(question, self.state) {
                Answer::Answered { response, .. } => Some(response),
                Answer::NotCovered { plugin } => {
                    not_covered.get_or_insert(plugin);
                    None
                }
                Answer::Forwarded { .. } => heard(question, recorded),
            }
        });
        (prediction, not_covered)
    }

    /// Whether each answer is what the live Corefile must say.
    fn judge_answers(&self, recorded: &[RecordedQuestion]) -> Result<(), String> {
        recorded.iter().try_for_each(|asked| {
            let answer = self.corefile.answer(&Question::new(&asked.name, asked.kind), self.state);
            answers::judge(&answer, asked)
        })
    }
}

/// What a question was answered with on the wire, the first time that it was.
fn heard(question: &Question, recorded: &[RecordedQuestion]) -> Option<Response> {
    let same = |asked: &&RecordedQuestion| Question::new(&asked.name, asked.kind) == *question && asked.rcode.is_some();
    let asked = recorded.iter().find(same)?;
    let rcode = Rcode::ALL.into_iter().find(|rcode| Some(rcode.mnemonic()) == asked.rcode.as_deref())?;
    Some(Response { answers: asked.answers.clone(), truncated: asked.truncated, ..Response::empty(rcode) })
}
