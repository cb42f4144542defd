//! The DNS configurations of the panel's pods.

use serde::{Deserialize, Serialize};

use crate::environment::workloads::{NAMESPACE, OTHER_NAMESPACE};

/// What a pod's `resolv.conf` says, beside its server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PanelConfiguration {
    /// What it is called, such as `ndots5-cluster`.
    pub id: String,
    /// The option `ndots`.
    pub ndots: u8,
    /// The search path, in order.
    pub search: Vec<String>,
}

impl PanelConfiguration {
    /// Every `ndots` of 1 (a machine's default), 2 and 5 (a pod's default) with every search path: the `cluster`'s
    /// own, an `own` list of two domains, and `six` domains, more than glibc took before 2.26.
    ///
    /// ```
    /// use reachmap::environment::panel::PanelConfiguration;
    /// let all = PanelConfiguration::all();
    /// assert_eq!(all.len(), 9);
    /// let pod = all.iter().find(|one| one.id == "ndots5-cluster").unwrap();
    /// assert_eq!(pod.search[1..], ["svc.cluster.local", "cluster.local"]);
    /// ```
    pub fn all() -> Vec<Self> {
        let cluster =
            [format!("{NAMESPACE}.svc.cluster.local"), "svc.cluster.local".to_owned(), "cluster.local".to_owned()];
        let own = [format!("{OTHER_NAMESPACE}.svc.cluster.local"), "external.local".to_owned()];
        let six = cluster.iter().chain(&own).cloned().chain(["example.com".to_owned()]).collect();
        let paths = [("cluster", cluster.to_vec()), ("own", own.to_vec()), ("six", six)];
        let with = |ndots| {
            paths.iter().map(move |(name, search)| Self {
                id: format!("ndots{ndots}-{name}"),
                ndots,
                search: search.clone(),
            })
        };
        [1, 2, 5].into_iter().flat_map(with).collect()
    }

    /// The name of the pod that has it.
    pub fn pod(&self) -> String {
        format!("panel-{}", self.id)
    }

    /// The text of the `resolv.conf` that the kubelet writes of it.
    ///
    /// ```
    /// use reachmap::environment::panel::PanelConfiguration;
    /// let one = PanelConfiguration { id: "one".to_owned(), ndots: 2, search: vec!["a.b".to_owned(), "c".to_owned()] };
    /// assert_eq!(one.resolv_conf(), "search a.b c\nnameserver 127.0.0.1\noptions ndots:2\n");
    /// ```
    pub fn resolv_conf(&self) -> String {
        format!("search {}\nnameserver 127.0.0.1\noptions ndots:{}\n", self.search.join(" "), self.ndots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_domains_are_six_different_ones() {
        for configuration in PanelConfiguration::all() {
            let mut domains = configuration.search.clone();
            domains.sort();
            domains.dedup();
            assert_eq!(domains.len(), configuration.search.len());
            let wanted = [("cluster", 3), ("own", 2), ("six", 6)];
            assert!(wanted.iter().any(|(name, count)| configuration.id.ends_with(name) && domains.len() == *count));
            // musl keeps this much of a search path (`src/network/resolvconf.c`).
            assert!(configuration.search.join(" ").len() < 256);
        }
    }
}
