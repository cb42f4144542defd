//! How many questions a lookup costs.

use std::fmt;

use super::{Resolver, resolve_plan};
use crate::model::dns::ResolvConf;

/// What one lookup costs, for one form of a name, one `ndots` and one resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amplification {
    /// The name, without a trailing dot.
    pub name: String,
    /// The configuration's `ndots`.
    pub ndots: usize,
    /// Whose lookup it is.
    pub resolver: Resolver,
    /// The questions until the last name of the walk is asked.
    pub questions: usize,
    /// The same with a trailing dot.
    pub with_dot: usize,
}

impl fmt::Display for Amplification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ndots, resolver, questions, with_dot } = self;
        let plural = if *questions == 1 { "" } else { "s" };
        write!(f, "`{name}` costs {questions} question{plural} at ndots {ndots}, {with_dot} with the dot ({resolver})")
    }
}

/// What lookups of these names cost, for each `ndots` and each resolver, if every name but the last is not found.
///
/// ```
/// use reachmap::model::dns::{ResolvConf, Resolver, resolver::amplification};
/// let pod = ResolvConf::of_pod("shop", "cluster.local", "10.96.0.10".parse().unwrap());
/// let rows = amplification(&["api.example.com"], &pod, &[5, 1], &[Resolver::Glibc]);
/// assert_eq!(rows[0].to_string(), "`api.example.com` costs 8 questions at ndots 5, 2 with the dot (glibc)");
/// ```
pub fn amplification(names: &[&str], conf: &ResolvConf, ndots: &[usize], resolvers: &[Resolver]) -> Vec<Amplification> {
    let mut rows = Vec::new();
    for name in names {
        let name = name.trim_end_matches('.');
        for ndots in ndots {
            let conf = ResolvConf { ndots: *ndots, ..conf.clone() };
            rows.extend(resolvers.iter().map(|resolver| Amplification {
                name: name.to_owned(),
                ndots: *ndots,
                resolver: *resolver,
                questions: resolve_plan(name, &conf, *resolver).questions(),
                with_dot: resolve_plan(&format!("{name}."), &conf, *resolver).questions(),
            }));
        }
    }
    rows
}
