use super::*;
use crate::progress::Show;

fn sources(root: &Path) -> Sources {
    for (file, text) in [
        ("Cargo.toml", "[workspace]"),
        ("harness/agent/Cargo.toml", "[package]"),
        ("harness/agent/src/main.rs", "fn main() {}"),
        ("harness/wire/Cargo.toml", "[package]"),
        ("harness/wire/src/lib.rs", ""),
    ] {
        home::write_atomically(&root.join(file), text.as_bytes()).unwrap();
    }
    Sources::of(&root.join("harness")).unwrap()
}

#[test]
fn any_change_of_an_input_changes_the_hash() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    let first = sources.hash().unwrap();
    assert_eq!(sources.hash().unwrap(), first);
    fs::write(root.path().join("harness/wire/src/lib.rs"), "// changed").unwrap();
    let second = sources.hash().unwrap();
    assert_ne!(second, first);
    home::write_atomically(&root.path().join("harness/agent/src/deep/new.rs"), b"").unwrap();
    assert_ne!(sources.hash().unwrap(), second);
}

#[test]
fn what_was_built_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    let home = Home::at(root.path().join("home"));
    let path = home.artifacts().join(format!("agent-{}/reachmap-agent", sources.hash().unwrap()));
    home::write_atomically(&path, b"#!/bin/sh\n").unwrap();
    let progress = Progress::new(Show::Nothing, root.path().join("logs"));
    // Building would fail: these sources are no workspace.
    let binary = sources.find_or_build(&home, &progress).unwrap();
    assert_eq!(binary.path(), path);
    assert_eq!(binary.bytes(), b"#!/bin/sh\n");
}

#[test]
fn a_failed_build_leaves_nothing_that_looks_built() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    let home = Home::at(root.path().join("home"));
    let progress = Progress::new(Show::Nothing, root.path());
    let error = sources.find_or_build(&home, &progress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
    assert!(!home.artifacts().exists());
}

#[test]
fn the_build_is_static_and_keeps_the_callers_flags_out() {
    let root = tempfile::tempdir().unwrap();
    let workspace = sources(root.path()).workspace(&root.path().join("unpacked")).unwrap();
    let command = workspace.build_command(Path::new("/target"), Path::new("/log"));
    assert_eq!(command.env["RUSTFLAGS"], "-C target-feature=+crt-static");
    assert!(command.env_remove.contains(&"CARGO_ENCODED_RUSTFLAGS".to_owned()));
    assert!(!command.args.contains(&"--locked".to_owned()), "there is no lock file to keep to");
}

#[test]
fn without_any_sources_it_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let error = Sources::of(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.hint_text().unwrap().contains("REACHMAP_AGENT"));
}

/// What a package has of them, by the links that cargo follows: cargo itself says that it can build this.
#[test]
fn the_packed_sources_are_a_workspace_with_the_same_versions() {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent-sources");
    let root = tempfile::tempdir().unwrap();
    let workspace = Sources::Packed(packed.clone()).workspace(&root.path().join("unpacked")).unwrap();
    let manifest = workspace.manifest.display().to_string();
    let said = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &triple()])
        .args(["--manifest-path", &manifest])
        .run()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(metadata["workspace_members"].as_array().unwrap().len(), PACKAGES.len());
    // Cargo has taken out what is not needed, and changed nothing else.
    let locked = |file: PathBuf| -> Vec<String> {
        let lock: Table = toml::from_str(&read_text(&file).unwrap()).unwrap();
        let packages = lock["package"].as_array().unwrap().iter();
        packages
            .map(|package| format!("{} {} {:?}", package["name"], package["version"], package.get("checksum")))
            .collect()
    };
    let (whole, left) = (locked(packed.join("lock.toml")), locked(workspace.root.join("Cargo.lock")));
    assert!(left.len() < whole.len(), "{} of {}", left.len(), whole.len());
    assert!(left.iter().all(|package| whole.contains(package)), "{left:#?}");
}

#[test]
fn the_packed_sources_are_those_of_the_clone() {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Sources::Packed(_) = Sources::find().unwrap() {
        eprintln!("not shown: this is a package, and has nothing else to compare its sources with");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    unpack(&harness.join("agent-sources"), root.path()).unwrap();
    for package in PACKAGES {
        let mut files = Vec::new();
        walk(&harness.join(package).join("src"), &mut files).unwrap();
        assert!(!files.is_empty());
        for file in files {
            let copy = root.path().join("harness").join(file.strip_prefix(harness).unwrap());
            assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap(), "{}", file.display());
        }
    }
}
