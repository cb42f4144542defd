//! The legs of a CI matrix: which Kubernetes versions, proxy modes and IP families a change is tried on.

use clap::ValueEnum as _;
use serde::Serialize;

use super::{ImagesChoice, IpFamilyChoice, ProxyModeChoice};
use crate::{Context as _, Error, ErrorKind, Result, environment::images::versions::Versions};

/// GitHub refuses a matrix of more jobs than this
/// (<https://docs.github.com/actions/reference/limits>).
const MOST: usize = 256;

/// One leg: a run of the suites on a cluster of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leg {
    /// The Kubernetes version, as `--k8s` takes it.
    pub kubernetes: String,
    /// How kube-proxy programs Services, as `--proxy-mode` takes it.
    pub proxy_mode: String,
    /// The IP families, as `--ip-family` takes them.
    pub ip_family: String,
}

/// How much of the product of versions, proxy modes and IP families is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// The newest version in every mode and family; the older ones with the defaults alone.
    #[default]
    Edges,
    /// Every version in every mode and family.
    Full,
}

#[derive(Serialize)]
struct Include<'a> {
    include: &'a [Leg],
}

/// The legs over the Kubernetes versions in `versions` that `source` has, newest first, the defaults before the rest.
///
/// ```
/// use reachmap::{environment::images::versions::Versions, plan::{ImagesChoice, legs::{Extent, legs}}};
/// let legs = legs(&Versions::embedded()?, ImagesChoice::Registry, Extent::Edges)?;
/// assert_eq!((legs[0].proxy_mode.as_str(), legs[0].ip_family.as_str()), ("iptables", "ipv4"));
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Internal`] if there are none, or more than GitHub takes: an empty matrix is a run that proves nothing.
pub fn legs(versions: &Versions, source: ImagesChoice, extent: Extent) -> Result<Vec<Leg>> {
    let kubernetes: Vec<&str> = versions
        .kubernetes
        .iter()
        .filter(|kubernetes| kubernetes.is_in(source))
        .map(|kubernetes| kubernetes.version.as_str())
        .collect();
    let mut legs = Vec::new();
    for (age, version) in kubernetes.into_iter().enumerate() {
        for ip_family in IpFamilyChoice::value_variants() {
            for proxy_mode in ProxyModeChoice::value_variants() {
                let defaults = (*proxy_mode, *ip_family) == (ProxyModeChoice::default(), IpFamilyChoice::default());
                if age == 0 || defaults || extent == Extent::Full {
                    legs.push(Leg {
                        kubernetes: version.to_owned(),
                        proxy_mode: word(proxy_mode),
                        ip_family: word(ip_family),
                    });
                }
            }
        }
    }
    if legs.is_empty() || legs.len() > MOST {
        let cause = format!("there are {}, and must be between 1 and {MOST}", legs.len());
        return Err(Error::new(ErrorKind::Internal, "choose the legs of the matrix", cause));
    }
    Ok(legs)
}

/// The legs as GitHub's `fromJSON` takes them for a `strategy.matrix`: one line, in `include`.
///
/// ```
/// use reachmap::plan::legs::{Leg, json};
/// let leg = Leg { kubernetes: "v1.37.0".into(), proxy_mode: "iptables".into(), ip_family: "dual".into() };
/// assert_eq!(json(&[leg])?, r#"{"include":[{"kubernetes":"v1.37.0","proxy-mode":"iptables","ip-family":"dual"}]}"#);
/// # Ok::<(), reachmap::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Internal`] if they cannot be written, which nothing in them can bring about.
pub fn json(legs: &[Leg]) -> Result<String> {
    serde_json::to_string(&Include { include: legs }).tried(ErrorKind::Internal, || "write the matrix")
}

/// The word by which the command line takes a choice.
fn word(choice: &impl clap::ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;
    use crate::plan::EnvironmentOptions;

    fn chosen(source: ImagesChoice, extent: Extent) -> Vec<Leg> {
        legs(&Versions::embedded().unwrap(), source, extent).unwrap()
    }

    #[test]
    fn the_newest_version_is_tried_in_every_way_and_the_older_ones_in_one() {
        let lines: Vec<String> = chosen(ImagesChoice::Registry, Extent::Edges)
            .iter()
            .map(|leg| format!("{} {} {}", leg.kubernetes, leg.proxy_mode, leg.ip_family))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        v1.37.0 iptables ipv4
        v1.37.0 nftables ipv4
        v1.37.0 iptables dual
        v1.37.0 nftables dual
        v1.36.1 iptables ipv4
        v1.35.0 iptables ipv4
        ");
    }

    #[test]
    fn the_full_matrix_is_the_product_without_a_leg_twice() {
        let full = chosen(ImagesChoice::Registry, Extent::Full);
        let versions: BTreeSet<&str> = full.iter().map(|leg| leg.kubernetes.as_str()).collect();
        let modes = ProxyModeChoice::value_variants().len() * IpFamilyChoice::value_variants().len();
        assert_eq!(full.len(), versions.len() * modes);
        assert_eq!(full.iter().map(|leg| format!("{leg:?}")).collect::<BTreeSet<_>>().len(), full.len());
        assert!(chosen(ImagesChoice::Registry, Extent::Edges).iter().all(|leg| full.contains(leg)));
    }

    #[test]
    fn a_version_is_only_tried_where_its_images_can_be_had() {
        let versions = Versions::embedded().unwrap();
        for source in [ImagesChoice::Registry, ImagesChoice::Packages] {
            for leg in chosen(source, Extent::Full) {
                let kubernetes = versions.kubernetes(Some(&leg.kubernetes)).unwrap();
                assert!(kubernetes.is_in(source), "{source:?}: {}", leg.kubernetes);
            }
        }
    }

    #[test]
    fn every_leg_is_what_the_command_line_takes() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            environment: EnvironmentOptions,
        }
        for leg in chosen(ImagesChoice::Auto, Extent::Full) {
            let words = ["--k8s", &leg.kubernetes, "--proxy-mode", &leg.proxy_mode, "--ip-family", &leg.ip_family];
            Line::try_parse_from(std::iter::once("e2e").chain(words)).unwrap();
        }
    }

    #[test]
    fn no_leg_at_all_is_an_error() {
        let mut versions = Versions::embedded().unwrap();
        versions.kubernetes.retain(|kubernetes| kubernetes.node_image.is_none());
        let error = legs(&versions, ImagesChoice::Registry, Extent::Full).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to choose the legs of the matrix: there are 0, and must be between 1 and 256"
        );
    }
}
