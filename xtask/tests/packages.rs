//! The packages alone: unpacked outside the repository, they compile for someone who depends on them, the agent is built
//! from what they bring along, and a suite runs on a cluster.
//!
//! It compiles every dependency once more (ten minutes on two cores; later runs find it in `target/packages`, since the packages
//! are always unpacked into the same place), and boots a cluster where `cargo xtask e2e` does:
//!
//! ```console
//! $ cargo test -p xtask --test packages -- --ignored --nocapture
//! ```
//!
//! - `REACHMAP_PACKAGES_HOME`: the cache directory of the cluster's run. Without it, it uses a temporary one and builds everything
//!   that the cluster is made of, which takes half an hour more.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is a test, and says what it does")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

const CONSUMER: &str = include_str!("packages/consumer.rs");

/// Until it is in the registry, too.
fn patch() -> String {
    format!("\n[patch.crates-io]\nreachmap-wire = {{ path = \"../reachmap-wire-{}\" }}\n", env!("CARGO_PKG_VERSION"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where everything is compiled, and found again by the next run.
fn target() -> PathBuf {
    root().join("target/packages")
}

/// A cargo command in `directory`, without what cargo has set for this test, and this repository's configuration.
fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(directory).env("CARGO_TARGET_DIR", target());
    let inherited = env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_"))) {
        command.env_remove(name);
    }
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "K8S_OPENAPI_ENABLED_VERSION", "REACHMAP_AGENT"] {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> String {
    println!("$ {command:?}");
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{errors}", output.status);
    println!("{errors}{said}");
    said.into_owned()
}

/// One test at a time: they share what they compile, and where they unpack it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where the packages are unpacked: outside this clone, empty, and always the same for it.
fn place() -> (MutexGuard<'static, ()>, PathBuf) {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let clone = root().to_string_lossy().replace('/', "-");
    let place = env::temp_dir().join(format!("reachmap-packages{clone}"));
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    fs::create_dir_all(&place).unwrap();
    (guard, place.canonicalize().unwrap())
}

/// Packs what is published, and unpacks it into `to`.
fn unpack(to: &Path) {
    run(cargo(root()).args(["package", "--workspace", "--no-verify", "--allow-dirty"]));
    let version = env!("CARGO_PKG_VERSION");
    for package in ["reachmap", "reachmap-wire"] {
        let archive = target().join(format!("package/{package}-{version}.crate"));
        // With the time of today: in an archive all files have the same, by which cargo would take a changed one for unchanged.
        run(Command::new("tar").arg("-xmzf").arg(archive).arg("-C").arg(to));
    }
}

/// The packages that a lock file holds, without ours.
fn locked(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let entries = text.split("[[package]]").skip(1).filter(|entry| entry.contains("checksum"));
    entries.map(|entry| entry.lines().skip(1).take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
#[ignore = "compiles every dependency once more, which takes ten minutes"]
fn whoever_depends_on_the_packages_alone_can_build_the_agent_and_send_a_request() {
    let (_alone, place) = place();
    unpack(&place);
    let (version, consumer) = (env!("CARGO_PKG_VERSION"), place.join("consumer"));
    let package = place.join(format!("reachmap-{version}"));
    assert!(!package.join("agent").exists(), "a package cannot contain another");
    fs::create_dir_all(consumer.join("src")).unwrap();
    fs::write(consumer.join("src/main.rs"), CONSUMER).unwrap();
    let manifest = format!(
        r#"[package]
name = "consumer"
edition = "2024"

[dependencies]
k8s-openapi = {{ version = "*", features = ["v1_33"] }}
reachmap = {{ path = "../reachmap-{version}" }}
tokio = {{ version = "1", features = ["rt-multi-thread"] }}

[workspace]
"#
    );
    fs::write(consumer.join("Cargo.toml"), manifest + &patch()).unwrap();
    // The versions that the package was made with.
    fs::copy(package.join("Cargo.lock"), consumer.join("Cargo.lock")).unwrap();

    let home = place.join("home");
    let said = run(cargo(&consumer).args(["run", "--quiet", "--"]).arg(&home));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[1..], ["the agent answers from 127.0.0.1", "status 200"], "{said}");
    let agent = Path::new(lines[0].strip_prefix("built ").unwrap());
    assert!(agent.starts_with(&home), "{said}");
    let program = fs::read(agent).unwrap();
    assert!(program.starts_with(b"\x7fELF") && !program.windows(4).any(|window| window == b"/ld-"), "it is static");

    // What it was built of is what this workspace has locked.
    let builds = fs::read_dir(home.join("build")).unwrap().map(|entry| entry.unwrap().path());
    let lock = builds.map(|build| build.join("Cargo.lock")).find(|lock| lock.is_file()).unwrap();
    let (ours, built) = (locked(&root().join("Cargo.lock")), locked(&lock));
    assert!(!built.is_empty() && built.is_subset(&ours), "{:#?}", built.difference(&ours));
}

/// Copies what git knows of `from`, which is everything but what was built there.
fn copy(from: &Path, to: &Path) {
    let listed =
        run(Command::new("git").current_dir(from).args(["ls-files", "--cached", "--others", "--exclude-standard"]));
    for file in listed.lines() {
        let target = to.join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(file), target).unwrap();
    }
}

#[test]
#[ignore = "compiles every dependency once more, and boots a cluster: five minutes once both are built"]
fn whoever_depends_on_the_packages_alone_can_run_a_suite_on_a_cluster() {
    let (_alone, place) = place();
    unpack(&place);
    let consumer = place.join("consumer");
    copy(&root().join("examples/consumer"), &consumer);
    let path = format!("path = \"../reachmap-{}\"", env!("CARGO_PKG_VERSION"));
    let manifest = fs::read_to_string(consumer.join("Cargo.toml")).unwrap();
    let pointed = manifest.replace(r#"path = "../../harness""#, &path);
    assert_ne!(manifest, pointed, "the example depends on the library by its path");
    fs::write(consumer.join("Cargo.toml"), pointed + &patch()).unwrap();

    let home = env::var_os("REACHMAP_PACKAGES_HOME").map_or_else(|| place.join("home"), PathBuf::from);
    // The run is started in another directory.
    fs::create_dir_all(&home).unwrap();
    let home = home.canonicalize().unwrap();
    let reports = place.join("reports");
    let e2e = ["xtask", "e2e", "--name", "packages", "--report-dir"];
    run(cargo(&consumer).args(e2e).arg(&reports).env("REACHMAP_CACHE", home).env("CI", "true"));
    let report = fs::read_to_string(reports.join("latest/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let counts = &report["counts"];
    assert!(counts["as_expected"].as_u64() > Some(9) && counts["not_as_expected"] == 0, "{counts}");
}
