//! `--engine docker --images registry`, end to end: a private engine is filled from packages, what it has is pushed into a
//! registry in its network, and taken away from it. To the runs it is an engine that answers `docker info`, and has nothing.
//!
//! It needs root and Debian's `docker-registry`, which it downloads with apt, and takes about six minutes once everything is built:
//!
//! ```console
//! $ cargo test -p xtask --test registry -- --ignored --nocapture
//! ```
//!
//! - `REACHMAP_REGISTRY_HOME`: the cache directory of the engine and of the runs. Without it they use a temporary one and
//!   build everything, which takes half an hour more. All images of that engine are deleted, and all of its containers if
//!   the test fails: so it is refused if a cluster is recorded there or its engine runs.
//!
//! Two things stand in for what cannot be had from packages: kind's node image is ours, with Flannel as the network plugin that it
//! brings along, and nginx is Debian's. Both have other digests than those that are published: a table names them.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is a test, and says what it does")]

use std::{env, fs, path::PathBuf};

use reachmap::home::Home;

#[path = "registry/filled.rs"]
mod filled;
#[path = "registry/place.rs"]
mod place;

use place::Place;

#[test]
#[ignore = "needs root and Debian, and boots a cluster: about six minutes once everything is built"]
fn images_come_from_a_registry_by_the_digests_of_a_table_or_it_is_said_why_not() {
    let temporary = tempfile::tempdir().unwrap();
    let home = env::var_os("REACHMAP_REGISTRY_HOME").map_or_else(|| temporary.path().join("home"), PathBuf::from);
    fs::create_dir_all(&home).unwrap();
    let home = Home::at(home.canonicalize().unwrap());
    assert_eq!(place::in_use(&home), None, "choose a home that nothing else uses");
    let place = Place::new(home, temporary.path());
    let filled = filled::fill(&place);
    let (registry, version) = (format!("http://{}", place::REGISTRY), filled.kubernetes.as_str());
    let images = |registry: &str, table: &str, version: &str| -> Vec<String> {
        let mut arguments = vec!["--registry", registry, "--k8s", version];
        if !table.is_empty() {
            arguments.extend(["--images-table", table]);
        }
        arguments.iter().map(ToString::to_string).collect()
    };
    let table = place.write("images.toml", &filled.table());

    // Nothing answers there.
    let (code, said) = place.e2e(&images(&format!("http://{}:5001", place::ADDRESS), &table, version));
    said_why_not(code, &said, &["connect: connection refused", "The engine cannot reach 192.0.2.10:5001"]);

    // The published node image is not the registry's.
    let (code, said) = place.e2e(&images(&registry, "", "v1.37.0"));
    said_why_not(
        code,
        &said,
        &["kindest/node:v1.37.0@sha256:", "does not have it: push kindest/node:v1.37.0 there as"],
    );

    // It has none of them under that path.
    let (code, said) = place.e2e(&images(&format!("{registry}/elsewhere"), &table, version));
    said_why_not(code, &said, &["192.0.2.10:5000/elsewhere/kindest/node", "does not have it"]);

    // It has the image with another content.
    let wrong = place.write("wrong.toml", &filled.table().replace(&filled.digest("kindest/node"), &digest('0')));
    let (code, said) = place.e2e(&images(&registry, &wrong, version));
    said_why_not(code, &said, &[&digest('0'), "has the tag with another content than the one that is pinned"]);

    // A slip in the table.
    let slip = place.write("slip.toml", &filled.table().replace("nginx:1.29", "nginx:1.2.9"));
    let (code, said) = place.e2e(&images(&registry, &slip, version));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing is pulled under the name docker.io/library/nginx:1.2.9"), "{said}");

    assert_eq!(place.docker(&["image", "ls", "--quiet"]), "", "none of them has pulled anything");
    assert_eq!(place.docker(&["container", "ls", "--all", "--quiet"]), "", "none of them has made anything");

    let (code, said) = place.e2e(&images(&registry, &table, version));
    assert_eq!(code, Some(0), "{said}");
    println!("{said}");
    let report: serde_json::Value = serde_json::from_str(&place.report("report.json")).unwrap();
    let environment = &report["environment"];
    assert_eq!((&environment["engine"], &environment["images"]), (&"docker".into(), &"registry".into()));
    assert_eq!(environment["other"]["registry"], registry);
    let counts = &report["counts"];
    assert!(counts["as_expected"].as_u64() > Some(50) && counts["not_as_expected"] == 0, "{counts}");
    for (published, reference) in &filled.images {
        let told = environment["other"][format!("image {published}")].as_str().unwrap();
        assert_eq!(told, format!("{reference}, at the digest of {table}"));
        let pulled = place.pulled(reference);
        // The engine pulls what it runs, and the nodes what their pods run.
        let (by_engine, by_nodes) = (pulled.contains("docker/"), pulled.contains("containerd/"));
        let expected = (!published.contains("metallb"), !published.contains("kindest"));
        assert_eq!((by_engine, by_nodes), expected, "{reference}: {pulled}");
    }
    assert_eq!(place.docker(&["container", "ls", "--all", "--quiet"]), "");
    assert_eq!(place.docker(&["network", "ls", "--quiet", "--filter", "name=reachmap"]), "");
    place.close();
}

#[test]
fn a_home_with_a_cluster_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let home = Home::at(temporary.path());
    assert_eq!(place::in_use(&home), None);
    fs::create_dir_all(home.clusters().join("mine")).unwrap();
    assert_eq!(place::in_use(&home).unwrap(), format!("{} has clusters on record: mine", temporary.path().display()));
}

/// A failed environment, told with what was tried and what to do.
fn said_why_not(code: Option<i32>, said: &str, words: &[&str]) {
    println!("{said}");
    assert_eq!(code, Some(3), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not say `{word}`: {said}");
    }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}
