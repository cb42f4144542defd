//! Options that are wrong, or that do not go together.

use super::place::{Place, User, can_be_root};

fn refused(arguments: &[&str]) -> String {
    Place::new().refused(arguments)
}

/// As root without Docker, where `auto` comes to the private engine; it is refused before that is built.
fn refused_with_the_sandbox(test: &str, arguments: &[&str]) -> Option<String> {
    can_be_root(test).then(|| Place::new().refused_as(User::Root, arguments))
}

#[test]
fn an_unknown_suite() {
    insta::assert_snapshot!(refused(&["e2e", "--suite", "acess"]), @"
    exit 2
    error[RM-SUITE]: failed to choose the suite acess: there is no such suite
    The suites are: access, policies, dns, distribution, sabotage.
    ");
}

#[test]
fn a_suite_that_breaks_nodes_on_a_cluster_of_the_user_s() {
    insta::assert_snapshot!(refused(&["e2e", "--suite", "access,sabotage", "--kubeconfig", "config"]), @"
    exit 2
    error[RM-SUITE]: failed to run the suite sabotage on the cluster of config: it breaks nodes on purpose, and is not supported on a cluster that Reachmap did not make
    Leave out --kubeconfig: it runs on a cluster of its own, which may break.
    ");
}

#[test]
fn a_filter_that_matches_nothing() {
    insta::assert_snapshot!(refused(&["e2e", "--only", "labtop/clusterip-fdqn"]), @"
    exit 2
    error[RM-CELLS]: failed to choose cells by `labtop/clusterip-fdqn`: `labtop/clusterip-fdqn` matches none of the 637 cells
    Near are: laptop, clusterip-fqdn, clusterip-svc, clusterip-short, glibc. `--list` shows every cell.
    ");
}

#[test]
fn a_filter_whose_parts_never_meet() {
    insta::assert_snapshot!(refused(&["e2e", "--only", "pod-ip/laptop"]), @"
    exit 2
    error[RM-CELLS]: failed to choose cells by `pod-ip/laptop`: `pod-ip/laptop` matches none of the 637 cells
    Each of its segments is known, but no cell has them together. `--list` shows every cell.
    ");
}

#[test]
fn a_filter_that_is_none() {
    insta::assert_snapshot!(refused(&["e2e", "--only", "laptop//pod-ip"]), @"
    exit 2
    error[RM-CELLS]: failed to read the filter `laptop//pod-ip`: there is an empty pattern, or an empty segment in one
    A pattern is `stage/vantage/method`, with `*`; one or two of these segments do as well. `,` is or, a leading `!` is not.
    ");
}

#[test]
fn list_and_plan_together() {
    insta::assert_snapshot!(refused(&["e2e", "--list", "--plan"]), @"
    exit 2
    error: the argument '--list' cannot be used with '--plan'

    Usage: cargo xtask e2e --list

    For more information, try '--help'.
    ");
}

#[test]
fn a_cluster_of_no_workers() {
    insta::assert_snapshot!(refused(&["e2e", "--workers", "0"]), @"
    exit 2
    error: invalid value '0' for '--workers <N>': 0 is not in 1..=8

    For more information, try '--help'.
    ");
}

#[test]
fn shards_that_there_are_not() {
    for (shard, why) in [
        ("0/4", "the first shard is number 1"),
        ("5/4", "there are only 4"),
        ("1/0", "a run cannot be divided into no parts"),
        ("quarter", "it is not two numbers with a `/` between them"),
    ] {
        let said = refused(&["e2e", "--shard", shard]);
        assert!(
            said.starts_with("exit 2\n") && said.contains(&format!("failed to read the shard `{shard}`: {why}")),
            "{said}"
        );
    }
}

#[test]
fn a_shard_that_nothing_is_left_for() {
    insta::assert_snapshot!(refused(&["e2e", "--only", "load-balancer-ready/laptop/pod-ip", "--suite", "access", "--shard", "2/2"]), @"
    exit 2
    error[RM-SHARD]: failed to run the shard 2/2: there is only 1 cell, and none is left for it
    Divide the run into fewer shards, or choose more cells.
    ");
}

#[test]
fn the_shards_of_a_list_are_the_list() {
    let all = refused(&["e2e", "--list"]);
    let mut shards: Vec<String> = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        shards.extend(refused(&["e2e", "--list", "--shard", shard]).lines().skip(1).map(str::to_owned));
    }
    let mut all: Vec<&str> = all.lines().skip(1).collect();
    all.sort_unstable();
    shards.sort_unstable();
    assert_eq!(shards, all);
}

#[test]
fn repetitions_that_are_none() {
    for times in ["0", "-1", "often", "10001"] {
        let said = refused(&["e2e", &format!("--repeat={times}")]);
        assert!(said.starts_with("exit 2\nerror: invalid value"), "{times}: {said}");
    }
}

#[test]
fn what_cannot_be_said_in_that_form() {
    for arguments in [
        &["doctor", "--output", "yaml"][..],
        &["matrix", "--json", "--output", "plain"],
        &["report", "compare", "a", "b", "--format", "html", "--output", "json"],
        &["completion", "tcsh"],
        &["e2e", "--interactive-on-failure", "--list"],
        &["kubectl", "--output", "json", "--", "version"],
    ] {
        assert!(refused(arguments).starts_with("exit 2\n"), "{arguments:?}");
    }
}

#[test]
fn every_form_says_the_same() {
    let json: serde_json::Value =
        serde_json::from_str(refused(&["matrix", "--output", "json"]).split_once('\n').unwrap().1).unwrap();
    let plain = refused(&["matrix", "--output", "plain"]);
    let lines: Vec<&str> = plain.lines().skip(1).collect();
    let legs = json.as_array().unwrap();
    assert_eq!(lines.len(), legs.len());
    for (line, leg) in lines.iter().zip(legs) {
        let words = ["kubernetes", "proxy-mode", "ip-family", "cni", "images"].map(|name| leg[name].as_str().unwrap());
        assert_eq!(line.split('\t').collect::<Vec<_>>(), words);
    }
    let pretty = refused(&["matrix"]);
    assert!(pretty.lines().nth(1).unwrap().starts_with(legs[0]["kubernetes"].as_str().unwrap()));
}

#[test]
fn colours_are_forced_and_forbidden_by_the_environment() {
    let place = Place::new();
    place.write("a.json", &reachmap::report::json(&reachmap::report::Run::started("a", &[])));
    let said = |variables: &[(&str, &str)]| {
        let mut command = place.command(User::Same, &["report", "compare", "a.json", "a.json"]);
        command.envs(variables.iter().copied());
        place.start(command).end()
    };
    assert!(!said(&[]).contains('\u{1b}'));
    assert!(said(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'));
    assert!(!said(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
    let mut plain = place.command(User::Same, &["report", "compare", "a.json", "a.json", "--output", "plain"]);
    plain.env("CLICOLOR_FORCE", "1");
    assert!(!place.start(plain).end().contains('\u{1b}'));
}

#[test]
fn watching_needs_a_cluster_and_cells() {
    insta::assert_snapshot!(refused(&["watch"]), @"
    exit 2
    error[RM-CLUSTER]: failed to choose a cluster: no cluster is kept
    Make one with `cargo xtask up`.
    ");
    let said = refused(&["watch", "--only", "laptop//pod-ip"]);
    assert!(said.starts_with("exit 2\nerror[RM-CELLS]: failed to read the filter"), "{said}");
}

#[test]
fn an_unknown_kubernetes_version() {
    insta::assert_snapshot!(refused(&["e2e", "--k8s", "v1.2.3"]), @"
    exit 2
    error[RM-VERSION]: failed to choose Kubernetes v1.2.3: it is not in the versions table
    The versions are: v1.37.2, v1.37.0, v1.36.1, v1.35.0.
    ");
}

#[test]
fn a_kubernetes_version_that_the_packages_do_not_have() {
    let arguments = ["e2e", "--images", "packages", "--k8s", "v1.37.0"];
    let Some(said) = refused_with_the_sandbox("a_kubernetes_version_that_the_packages_do_not_have", &arguments) else {
        return;
    };
    insta::assert_snapshot!(said, @"
    exit 2
    error[RM-SOURCE]: failed to build Kubernetes v1.37.0 from packages: the versions table names no Go module for it
    Choose another version with --k8s, or --images registry.
    ");
}

#[test]
fn a_cluster_name_that_is_none() {
    insta::assert_snapshot!(refused(&["e2e", "--name", "../other"]), @"
    exit 2
    error[RM-CLUSTER]: failed to use the cluster name `../other`: it is no valid name
    Use lower-case letters, digits and `-`, at most 40, starting and ending with a letter or digit.
    ");
}

#[test]
fn registry_images_in_the_sandbox() {
    let arguments = ["e2e", "--engine", "sandbox", "--images", "registry"];
    let Some(said) = refused_with_the_sandbox("registry_images_in_the_sandbox", &arguments) else { return };
    insta::assert_snapshot!(said, @"
    exit 2
    error[RM-SOURCE]: failed to pull images into the sandbox: it has no way out of its network
    Choose --images packages, or --engine docker.
    ");
}

#[test]
fn kindnet_from_packages() {
    let arguments = ["e2e", "--images", "packages", "--cni", "kindnet"];
    let Some(said) = refused_with_the_sandbox("kindnet_from_packages", &arguments) else { return };
    insta::assert_snapshot!(said, @"
    exit 2
    error[RM-SOURCE]: failed to use kindnet: it is not to be had from packages
    kindnet is in kind's own node images: choose --images registry, or --cni flannel.
    ");
}

#[test]
fn a_pool_that_is_no_range() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "172.18.255.200"]), @"
    exit 2
    error[RM-POOL]: failed to read the address pool `172.18.255.200`: there is no `-` in it
    Pools look like 172.18.255.200-172.18.255.210.
    ");
}

#[test]
fn a_pool_of_what_are_no_addresses() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "172.18.255.200-300"]), @"
    exit 2
    error[RM-POOL]: failed to read the address pool `172.18.255.200-300`: `300` is no IPv4 address
    Pools look like 172.18.255.200-172.18.255.210.
    ");
}

#[test]
fn a_pool_whose_first_address_comes_after_its_last() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "172.18.255.210-172.18.255.200"]), @"
    exit 2
    error[RM-POOL]: failed to read the address pool `172.18.255.210-172.18.255.200`: its first address comes after its last
    Pools look like 172.18.255.200-172.18.255.210.
    ");
}

#[test]
fn a_pool_outside_every_network_of_nodes() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "10.0.0.1-10.0.0.9"]), @"
    exit 2
    error[RM-POOL]: failed to use the address pool 10.0.0.1-10.0.0.9: it is outside every network that nodes may stand on: 172.18.0.0/16 to 172.31.0.0/16, and the /20s of 192.168.0.0/16
    Choose one such as 172.18.255.200-172.18.255.210; `cargo xtask status` shows a kept cluster's.
    ");
}

#[test]
fn a_pool_that_leaves_the_nodes_network() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "172.18.255.200-172.19.0.9"]), @"
    exit 2
    error[RM-POOL]: failed to use the address pool 172.18.255.200-172.19.0.9: it is not inside the nodes' network 172.18.0.0/16
    Choose one such as 172.18.255.200-172.18.255.210.
    ");
}

#[test]
fn a_pool_of_addresses_that_containers_get() {
    insta::assert_snapshot!(refused(&["e2e", "--pool", "172.18.0.10-172.18.0.20"]), @"
    exit 2
    error[RM-POOL]: failed to use the address pool 172.18.0.10-172.18.0.20: the engine gives addresses of 172.18.0.0/17 to containers
    Choose one such as 172.18.255.200-172.18.255.210.
    ");
}

#[test]
fn up_and_warm_and_the_benches_refuse_the_same() {
    let expected = refused(&["e2e", "--pool", "10.0.0.1-10.0.0.9"]);
    for command in [&["up"][..], &["cache", "warm"], &["bench", "boot"], &["bench", "probes"]] {
        assert_eq!(refused(&[command, &["--pool", "10.0.0.1-10.0.0.9"]].concat()), expected, "{command:?}");
    }
}

#[test]
fn list_shows_every_cell_and_touches_nothing() {
    let said = refused(&["e2e", "--list"]);
    let lines: Vec<&str> = said.lines().collect();
    insta::assert_snapshot!(format!("{}\n…\n{}\n{} lines", lines[..5].join("\n"), lines[lines.len() - 1], lines.len()), @"
    exit 0
    load-balancer-pending/testpod/clusterip-short
    load-balancer-pending/testpod/clusterip-namespace
    load-balancer-pending/testpod/clusterip-svc
    load-balancer-pending/testpod/clusterip-fqdn
    …
    corefile-original/ndots5-six/dig-search
    638 lines
    ");
    assert_eq!(
        refused(&["e2e", "--list", "--only", "load-balancer-ready/laptop/pod-ip"]),
        "exit 0\nload-balancer-ready/laptop/pod-ip\n"
    );
}

#[test]
fn plan_shows_steps_and_counts_and_touches_nothing() {
    insta::assert_snapshot!(refused(&["e2e", "--plan"]), @"
    exit 0
     step                                       ┆ usually takes
    ════════════════════════════════════════════╪═══════════════
     Start the engine                           ┆ 3.0 s
     Make the cluster, with its network plugin  ┆ 39 s
     Install MetalLB                            ┆ 15 s
     Deploy the workloads                       ┆ 10 s
     Edit the Corefile and see it live          ┆ 8.0 s
     Run the suite access, stage by stage       ┆ 12 s
     Run the suite policies, stage by stage     ┆ 50 s
     Run the suite dns, stage by stage          ┆ 2 min 0 s
     Run the suite distribution, stage by stage ┆ 2 min 0 s
     Put back and clean up                      ┆ 5.0 s

    In all about 6 min 22 s; less where steps overlap, or an earlier run has done them.

     vantage       ┆ load-balancer-pending ┆ load-balancer-ready
    ═══════════════╪═══════════════════════╪═════════════════════
     testpod       ┆ 22                    ┆ 8
     testpod-other ┆ 22                    ┆ 8
     worker-1      ┆ 22                    ┆ 8
     worker-2      ┆ 22                    ┆ 8
     worker-3      ┆ 22                    ┆ 8
     control-plane ┆ 22                    ┆ 8
     laptop        ┆ 22                    ┆ 8
     in all        ┆ 154                   ┆ 56

     vantage       ┆ policy-external-local ┆ policy-internal-local ┆ policy-same-node ┆ policy-same-zone ┆ policy-affinity
    ═══════════════╪═══════════════════════╪═══════════════════════╪══════════════════╪══════════════════╪═════════════════
     testpod       ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     testpod-other ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     worker-1      ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     worker-2      ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     worker-3      ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     control-plane ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     laptop        ┆ 5                     ┆ 5                     ┆ 5                ┆ 5                ┆ 5
     in all        ┆ 35                    ┆ 35                    ┆ 35               ┆ 35               ┆ 35

     vantage        ┆ corefile-fallthrough ┆ corefile-alias ┆ corefile-name ┆ corefile-original
    ════════════════╪══════════════════════╪════════════════╪═══════════════╪═══════════════════
     ndots1-cluster ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots1-own     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots1-six     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots2-cluster ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots2-own     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots2-six     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots5-cluster ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots5-own     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     ndots5-six     ┆ 7                    ┆ 7              ┆ 7             ┆ 7
     in all         ┆ 63                   ┆ 63             ┆ 63            ┆ 63

    637 cells would be probed.
    ");
}
