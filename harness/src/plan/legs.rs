//! The legs of a CI matrix: which Kubernetes versions, proxy modes, IP families and network plugins a change is tried on.

use clap::ValueEnum as _;
use serde::Serialize;

use super::{CniChoice, ImagesChoice, IpFamilyChoice, ProxyModeChoice};
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
    /// The network plugin, as `--cni` takes it.
    pub cni: String,
    /// Where the images come from, as `--images` takes it: it is what has the version and the plugin.
    pub images: String,
}

/// How much of the product of versions, proxy modes, IP families and network plugins is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// The newest version of the first source in every mode and family, with its usual plugin; the newest version of each
    /// source with its other plugins; all others with the defaults alone.
    #[default]
    Edges,
    /// Every version in every mode and family, with every plugin that its source has.
    Full,
}

#[derive(Serialize)]
struct Include<'a> {
    include: &'a [Leg],
}

/// The network plugins that clusters have whose images come from there, the usual one first.
const fn plugins(source: ImagesChoice) -> &'static [CniChoice] {
    match source {
        ImagesChoice::Packages => &[CniChoice::Flannel, CniChoice::FlannelHostGw],
        ImagesChoice::Registry | ImagesChoice::Auto => &[CniChoice::Kindnet],
    }
}

/// The legs over the Kubernetes versions in `versions` that `source` has (`Auto`: every source), newest first, the defaults
/// before the rest.
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
    let sources = match &source {
        ImagesChoice::Auto => &[ImagesChoice::Registry, ImagesChoice::Packages][..],
        one => std::slice::from_ref(one),
    };
    let mut legs = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let kubernetes = versions.kubernetes.iter().filter(|kubernetes| kubernetes.is_in(*source));
        for (age, kubernetes) in kubernetes.enumerate() {
            let is_tried = |leg: &Leg| {
                let is_usual = leg.cni == word(&plugins(*source)[0]);
                extent == Extent::Full
                    || is_usual && age == 0 && number == 0
                    || leg.has_defaults() && (is_usual || age == 0)
            };
            legs.extend(every_way(&kubernetes.version, *source).filter(is_tried));
        }
    }
    if legs.is_empty() || legs.len() > MOST {
        let cause = format!("there are {}, and must be between 1 and {MOST}", legs.len());
        return Err(Error::new(ErrorKind::Internal, "choose the legs of the matrix", cause));
    }
    Ok(legs)
}

/// One version in every mode, family and plugin.
fn every_way(kubernetes: &str, images: ImagesChoice) -> impl Iterator<Item = Leg> {
    let of_plugin = move |cni| IpFamilyChoice::value_variants().iter().map(move |family| (cni, family));
    let all = plugins(images).iter().flat_map(of_plugin);
    let all =
        all.flat_map(|(cni, family)| ProxyModeChoice::value_variants().iter().map(move |mode| (cni, family, mode)));
    all.map(move |(cni, ip_family, proxy_mode)| Leg {
        kubernetes: kubernetes.to_owned(),
        proxy_mode: word(proxy_mode),
        ip_family: word(ip_family),
        cni: word(cni),
        images: word(&images),
    })
}

impl Leg {
    fn has_defaults(&self) -> bool {
        let defaults = (word(&ProxyModeChoice::default()), word(&IpFamilyChoice::default()));
        (&self.proxy_mode, &self.ip_family) == (&defaults.0, &defaults.1)
    }
}

/// The legs as GitHub's `fromJSON` takes them for a `strategy.matrix`: one line, in `include`.
///
/// ```
/// use reachmap::plan::legs::{Leg, json};
/// let leg = Leg {
///     kubernetes: "v1.37.0".into(),
///     proxy_mode: "iptables".into(),
///     ip_family: "dual".into(),
///     cni: "kindnet".into(),
///     images: "registry".into(),
/// };
/// let line = r#"{"kubernetes":"v1.37.0","proxy-mode":"iptables","ip-family":"dual","cni":"kindnet","images":"registry"}"#;
/// assert_eq!(json(&[leg])?, format!(r#"{{"include":[{line}]}}"#));
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

    fn lines(source: ImagesChoice, extent: Extent) -> String {
        let line = |leg: &Leg| {
            let Leg { kubernetes, proxy_mode, ip_family, cni, images } = leg;
            format!("{kubernetes} {proxy_mode} {ip_family} {cni} {images}")
        };
        chosen(source, extent).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_newest_version_is_tried_in_every_way_and_the_older_ones_in_one() {
        insta::assert_snapshot!(lines(ImagesChoice::Registry, Extent::Edges), @r"
        v1.37.0 iptables ipv4 kindnet registry
        v1.37.0 nftables ipv4 kindnet registry
        v1.37.0 iptables dual kindnet registry
        v1.37.0 nftables dual kindnet registry
        v1.36.1 iptables ipv4 kindnet registry
        v1.35.0 iptables ipv4 kindnet registry
        ");
    }

    #[test]
    fn every_plugin_is_tried_that_a_source_has() {
        insta::assert_snapshot!(lines(ImagesChoice::Auto, Extent::Edges), @r"
        v1.37.0 iptables ipv4 kindnet registry
        v1.37.0 nftables ipv4 kindnet registry
        v1.37.0 iptables dual kindnet registry
        v1.37.0 nftables dual kindnet registry
        v1.36.1 iptables ipv4 kindnet registry
        v1.35.0 iptables ipv4 kindnet registry
        v1.37.2 iptables ipv4 flannel packages
        v1.37.2 iptables ipv4 flannel-host-gw packages
        ");
        insta::assert_snapshot!(lines(ImagesChoice::Packages, Extent::Edges), @r"
        v1.37.2 iptables ipv4 flannel packages
        v1.37.2 nftables ipv4 flannel packages
        v1.37.2 iptables dual flannel packages
        v1.37.2 nftables dual flannel packages
        v1.37.2 iptables ipv4 flannel-host-gw packages
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
                assert_eq!(leg.images, word(&source));
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
            let more = ["--cni", &leg.cni, "--images", &leg.images];
            Line::try_parse_from(std::iter::once("e2e").chain(words).chain(more)).unwrap();
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
