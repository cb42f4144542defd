//! Machines that lack something: root, an engine, programs, room.

use super::place::{Place, User, can_be_root, skipped};

#[test]
fn not_root_and_no_docker() {
    insta::assert_snapshot!(Place::new().refused_as(User::Nobody, &["e2e"]), @"
    exit 3
    error[RM-ENGINE]: failed to find something to run containers: this process is not root
    Either start a Docker engine that `docker info` reaches, or run as root on Debian or Ubuntu, where a private engine is built from the distribution's packages.
    ");
    insta::assert_snapshot!(Place::new().refused_as(User::Nobody, &["e2e", "--engine", "sandbox"]), @"
    exit 3
    error[RM-ENGINE]: failed to find something to run containers: this process is not root
    Either start a Docker engine that `docker info` reaches, or run as root on Debian or Ubuntu, where a private engine is built from the distribution's packages.
    ");
}

#[test]
fn docker_without_the_program() {
    insta::assert_snapshot!(Place::new().refused(&["e2e", "--engine", "docker"]), @"
    exit 3
    error[RM-ENGINE]: failed to use the Docker engine: failed to run `docker info --format '{{.ServerVersion}}'`: No such file or directory (os error 2)
    Start it, point DOCKER_HOST or `docker context use` at one that runs, or choose --engine sandbox.
    ");
}

#[test]
fn docker_whose_engine_does_not_run() {
    let place = Place::new();
    if !place.with_program("docker") {
        return skipped("docker_whose_engine_does_not_run", "the host has no docker program");
    }
    let said = place.refused(&["e2e", "--engine", "docker"]);
    // The words between are those of the docker program, whichever version it is.
    let (_, hint) = said.split_once('\n').unwrap().1.split_once('\n').unwrap();
    assert!(said.starts_with("exit 3\nerror[RM-ENGINE]: failed to use the Docker engine: "), "{said}");
    assert!(said.contains("[PLACE]/no-docker.sock"), "{said}");
    insta::assert_snapshot!(hint, @"Start it, point DOCKER_HOST or `docker context use` at one that runs, or choose --engine sandbox.");
}

#[test]
fn nothing_to_build_with_and_nothing_to_install_it_with() {
    if !can_be_root("nothing_to_build_with_and_nothing_to_install_it_with") {
        return;
    }
    // Room enough by its own account: a file system in memory takes none before it is written to.
    let said = Place::new().run_on_disk("9g", false, &["e2e", "--engine", "sandbox"]);
    insta::assert_snapshot!(said, @"
    exit 3
    error[RM-PROGRAMS]: failed to find mmdebstrap, cc, musl-gcc, unshare, tar, ip: there is no apt-get to install them with
    Install them; on Debian and Ubuntu: apt-get install mmdebstrap gcc musl-tools util-linux tar iproute2.
    ");
}

#[test]
fn no_go() {
    let place = Place::new();
    let kubeconfig = place.write("config", "{}");
    let arguments = ["e2e", "--kubeconfig", &kubeconfig, "--install-metallb", "--pool", "10.0.0.1-10.0.0.9"];
    insta::assert_snapshot!(place.refused_as(User::Nobody, &arguments), @"
    exit 3
    error[RM-GO]: failed to find Go 1.21 or newer: there is no go command, and unpacking Debian's takes root
    Install Go from your distribution or from go.dev; as root on Debian or Ubuntu, Debian's is fetched into the cache without that.
    ");
}

#[test]
fn a_disk_too_small_to_build_on() {
    if !can_be_root("a_disk_too_small_to_build_on") {
        return;
    }
    insta::assert_snapshot!(Place::new().run_on_disk("1m", false, &["e2e", "--engine", "sandbox"]), @"
    exit 3
    error[RM-DISK]: failed to make room in [PLACE]/reachmap: building everything takes about 8 GiB, and 0.0 GiB are free
    Make room, remove what earlier versions built with `cargo xtask cache prune`, or name another place with --cache-dir.
    ");
}

#[test]
fn a_full_disk() {
    if !can_be_root("a_full_disk") {
        return;
    }
    let place = Place::new();
    let kubeconfig = place.write("config", &super::clusters::kubeconfig(super::clusters::server()));
    place.write("agent", "never started");
    // On a cluster that is there, so that nothing has to be built before something is written.
    let said = place.run_on_disk("64k", true, &["up", "--kubeconfig", &kubeconfig]);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"existing-[0-9a-f]{8}", "existing-[ID]");
    settings.add_filter(r"\.tmp\w{6}", ".tmp[ID]");
    settings.bind(|| insta::assert_snapshot!(said, @r#"
    exit 3
    error[RM-DISK]: failed to write [PLACE]/reachmap/clusters/existing-[ID]/existing.json: No space left on device (os error 28) at path "[PLACE]/reachmap/clusters/existing-[ID]/.tmp[ID]"
    Make room, with `cargo xtask cache prune` for instance, or name another place with --cache-dir.
    "#));
}
