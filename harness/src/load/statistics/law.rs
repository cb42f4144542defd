//! The null models: how a proxy mode chooses the endpoint of a connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, Result,
    model::{self, Balance},
};

/// How far the shares' sum may be from 1.
const ROUNDING: f64 = 1e-6;

/// How a proxy chooses an endpoint for each connection, and among which.
///
/// The endpoints are the law's *support*. `externalTrafficPolicy: Local`, `internalTrafficPolicy: Local` and
/// `trafficDistribution` only make it smaller. An answer from outside is an exact violation and needs no statistics.
///
/// ```
/// use reachmap::load::statistics::Law;
/// let law = Law::even(["nginx-a", "nginx-b"])?;
/// assert_eq!(law.to_string(), "each connection at random, with equal shares, over 2 endpoints");
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Each connection by itself, at random: kube-proxy's iptables mode (`-m statistic --mode random`) and nftables
    /// mode (`numgen random`). The counts are multinomial.
    Random {
        /// The share of each endpoint; they add up to 1.
        shares: BTreeMap<String, f64>,
    },
    /// In turn: IPVS with its scheduler `rr`, for a client that makes one connection after the other and is alone
    /// with this Service at this node, since the turn belongs to the virtual server and not to the client.
    /// At every moment, the counts differ by at most one.
    RoundRobin {
        /// The endpoints.
        endpoints: BTreeSet<String>,
    },
    /// All connections of a client to one endpoint, whichever: `sessionAffinity: ClientIP`.
    Affinity {
        /// The endpoints.
        endpoints: BTreeSet<String>,
    },
}

impl Law {
    /// At random, with equal shares.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without an endpoint, or if one is named twice.
    pub fn even<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Result<Self> {
        let endpoints = support(endpoints)?;
        let share = 1.0 / real(endpoints.len() as u64);
        Ok(Self::Random { shares: endpoints.into_iter().map(|endpoint| (endpoint, share)).collect() })
    }

    /// At random, with the shares given.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without an endpoint, if one is named twice, or if the shares are not all above 0 with a
    /// sum of 1.
    pub fn random<S: Into<String>>(shares: impl IntoIterator<Item = (S, f64)>) -> Result<Self> {
        let shares: Vec<(String, f64)> = shares.into_iter().map(|(name, share)| (name.into(), share)).collect();
        support(shares.iter().map(|(name, _)| name.as_str()))?;
        let law = Self::Random { shares: shares.into_iter().collect() };
        law.check()?;
        Ok(law)
    }

    /// In turn.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without an endpoint, or if one is named twice.
    pub fn round_robin<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Result<Self> {
        Ok(Self::RoundRobin { endpoints: support(endpoints)? })
    }

    /// All of a client's connections to one endpoint.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without an endpoint, or if one is named twice.
    pub fn affinity<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Result<Self> {
        Ok(Self::Affinity { endpoints: support(endpoints)? })
    }

    /// The law that the model derives, over the pods that may answer.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if nobody answers, if the client does not balance at all, or if the proxy mode is not known:
    /// then there is no law to hold anything against.
    pub fn of(balance: &Balance) -> Result<Self> {
        let support = balance.support();
        match balance.law {
            model::Law::Random => Self::even(support),
            model::Law::RoundRobin => Self::round_robin(support),
            model::Law::Affinity { .. } => Self::affinity(support),
            other => {
                let tried = "choose the law of the load's distribution";
                Err(Error::new(ErrorKind::Usage, tried, other.to_string())
                    .hint("Only kube-proxy's modes iptables, nftables and ipvs have a law that is known here."))
            }
        }
    }

    /// The endpoints, in the order of their names.
    pub fn endpoints(&self) -> Vec<&str> {
        match self {
            Self::Random { shares } => shares.keys().map(String::as_str).collect(),
            Self::RoundRobin { endpoints } | Self::Affinity { endpoints } => {
                endpoints.iter().map(String::as_str).collect()
            }
        }
    }

    /// How many p-values a judgement by this law brings into a run's family: two for a random choice (the shares, and
    /// the independence from connection to connection), none for an exact law.
    pub fn tests(&self) -> u32 {
        match self {
            Self::Random { shares } if shares.len() > 1 => 2,
            _ => 0,
        }
    }

    /// The shares in the order of the names: equal ones if the law is not a random choice.
    pub(in crate::load) fn shares(&self) -> Vec<f64> {
        match self {
            Self::Random { shares } => {
                let sum: f64 = shares.values().sum();
                shares.values().map(|share| share / sum).collect()
            }
            Self::RoundRobin { endpoints } | Self::Affinity { endpoints } => {
                vec![1.0 / real(endpoints.len() as u64); endpoints.len()]
            }
        }
    }

    /// Whether the law can be one: it may have been read from a file.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |cause: String| Err(usage(cause));
        match self {
            Self::Random { shares } if !shares.is_empty() => {
                let sum: f64 = shares.values().sum();
                match shares.iter().find(|(_, share)| !(share.is_finite() && **share > 0.0)) {
                    Some((name, share)) => wrong(format!("the share of {name:?} is {share}")),
                    None if (sum - 1.0).abs() > ROUNDING => wrong(format!("the shares add up to {sum}")),
                    None => Ok(()),
                }
            }
            Self::RoundRobin { endpoints } | Self::Affinity { endpoints } if !endpoints.is_empty() => Ok(()),
            _ => wrong("there is no endpoint".to_owned()),
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = match self.endpoints().len() {
            1 => return f.write_str("every connection to the one endpoint"),
            number => format!("{number} endpoints"),
        };
        match self {
            Self::Random { shares } => {
                let first = shares.values().next().copied().unwrap_or_default();
                let even = shares.values().all(|share| (share - first).abs() < ROUNDING);
                let how = if even { "with equal shares" } else { "with the shares given" };
                write!(f, "each connection at random, {how}, over {endpoints}")
            }
            Self::RoundRobin { .. } => write!(f, "one connection after the other in turn over {endpoints}"),
            Self::Affinity { .. } => write!(f, "all connections of the client to one of {endpoints}"),
        }
    }
}

fn support<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Result<BTreeSet<String>> {
    let mut support = BTreeSet::new();
    for endpoint in endpoints {
        let endpoint = endpoint.into();
        if support.contains(&endpoint) {
            return Err(usage(format!("the endpoint {endpoint:?} is named twice")));
        }
        support.insert(endpoint);
    }
    if support.is_empty() {
        return Err(usage("there is no endpoint".to_owned()));
    }
    Ok(support)
}

fn usage(cause: String) -> Error {
    Error::new(ErrorKind::Usage, "state the law of the load's distribution", cause)
        .hint("A law needs at least one endpoint, each named once, with shares above 0 that add up to 1.")
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 connections")]
pub(in crate::load) const fn real(count: u64) -> f64 {
    count as f64
}
