//! Our networks in an engine, and when they go: noted before they are made, removed when no cluster needs them.

use std::{fs, path::PathBuf};

use super::{
    EngineAccess, EngineKind,
    lease::{CHOICE, wait_for_lock},
    network::{self, Network},
    output,
    record::Record,
};
use crate::{
    Error, ErrorKind, Result,
    home::{Home, write_atomically},
    progress::Progress,
};

/// Notes that a network of that name may be in the engine, before it is made.
pub(super) fn note(home: &Home, engine: EngineKind, name: &str) -> Result<()> {
    write_atomically(&directory(home, engine).join(name), b"")
}

/// Whether there may be a network of ours in this engine.
pub(crate) fn may_be_left(home: &Home, engine: EngineKind) -> bool {
    fs::read_dir(directory(home, engine)).is_ok_and(|mut notes| notes.next().is_some())
}

/// Removes networks that carry our label, that no container stands on, and that no recorded cluster is made on.
/// Returns what it did, one line each.
///
/// # Errors
/// [`ErrorKind::Environment`] if the engine does not answer, or refuses for another reason than that somebody stands there.
pub(crate) async fn remove_unused(home: &Home, access: &EngineAccess, progress: &Progress) -> Result<Vec<String>> {
    // Whoever makes sure of a network holds this lock until it is recorded which cluster will stand on it.
    let _choice = wait_for_lock(home, CHOICE, progress).await?;
    let records = Record::all(home)?;
    let mut done = Vec::new();
    if !records.unreadable.is_empty() {
        // Nobody can tell what these stand on.
        return Ok(done);
    }
    let is_used = |name: &str| {
        records.readable.iter().any(|record| record.config.engine == access.kind && record.network.name == name)
    };
    for found in network::list(access).await?.into_iter().filter(|network| network.ours && network.members == 0) {
        if !is_used(&found.name) && remove(access, &found.name).await? {
            done.push(format!("removed the network {}", found.name));
        }
    }
    let left: Vec<String> = network::list(access).await?.into_iter().map(|network| network.name).collect();
    forget(home, access.kind, &left)?;
    Ok(done)
}

/// Removes a network; returns whether it was there, and nobody stood on it.
async fn remove(access: &EngineAccess, name: &str) -> Result<bool> {
    let network = Network { name: name.to_owned(), ..Network::on(ipnet::Ipv4Net::default(), false) };
    let command = access.command(network.remove());
    let removed = output(command.clone()).await?;
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    match removed.code {
        Some(0) => Ok(true),
        // A container came meanwhile, or somebody else was faster: runs of other homes use the same engine.
        _ if ["has active endpoints", "not found"].iter().any(|known| said.contains(known)) => Ok(false),
        _ => Err(Error::new(ErrorKind::Environment, format!("run `{}`", command.display()), said.trim())),
    }
}

/// Forgets the notes of networks that are not among those that are `left`.
fn forget(home: &Home, engine: EngineKind, left: &[String]) -> Result<()> {
    let notes = fs::read_dir(directory(home, engine)).into_iter().flatten().flatten();
    for note in notes.filter(|note| !left.iter().any(|name| note.file_name() == name.as_str())) {
        fs::remove_file(note.path()).map_err(|error| {
            Error::from_source(ErrorKind::Storage, format!("remove {}", note.path().display()), error)
        })?;
    }
    Ok(())
}

/// The notes for one engine: an empty file for each network, with its name.
fn directory(home: &Home, engine: EngineKind) -> PathBuf {
    home.root().join("networks").join(engine.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{command::Command, environment::cluster::record::tests::record, progress::Show};

    const OURS: &str = r#"[{"Name": "reachmap", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16", "IPRange": "172.18.0.0/17"}]},
        "Containers": {}, "Labels": {"app.kubernetes.io/managed-by": "reachmap"}}]"#;

    /// An engine that has our network until it is removed, says `refusal` instead if there is one, and notes its commands.
    fn engine(dir: &Path, refusal: &'static str) -> EngineAccess {
        let log = dir.join("log").display().to_string();
        let script = r#"echo "$1" >>"$0"; case "$1" in
            *"network inspect"*) grep -q '^gone$' "$0" && echo '[]' || echo "$2";;
            *"network rm"*) [ -z "$3" ] || { echo "$3" >&2; exit 1; }; echo gone >>"$0";; esac"#;
        EngineAccess::new(EngineKind::Sandbox, "kind", move |command: Command| {
            Command::new("sh").args(["-c", script, &log, &command.display(), OURS, refusal])
        })
    }

    async fn removed(home: &Home, access: &EngineAccess) -> Result<Vec<String>> {
        remove_unused(home, access, &Progress::new(Show::Nothing, home.root())).await
    }

    #[tokio::test]
    async fn a_network_that_another_cluster_is_about_to_stand_on_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let access = engine(dir.path(), "");
        note(&home, EngineKind::Sandbox, "reachmap").unwrap();
        record("b").write(&home).unwrap();
        assert_eq!(removed(&home, &access).await.unwrap(), [""; 0]);
        assert!(may_be_left(&home, EngineKind::Sandbox) && !may_be_left(&home, EngineKind::Docker));
        Record::remove(&home, "b").unwrap();
        assert_eq!(removed(&home, &access).await.unwrap(), ["removed the network reachmap"]);
        assert!(!may_be_left(&home, EngineKind::Sandbox));
    }

    #[tokio::test]
    async fn nothing_is_removed_while_somebody_makes_sure_of_a_network() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let access = engine(dir.path(), "");
        let choosing = home.try_lock(CHOICE).unwrap().unwrap();
        let removing = removed(&home, &access);
        let other = async {
            // As `create` does: the record first, then the lock is free.
            record("b").write(&home).unwrap();
            drop(choosing);
        };
        let (done, ()) = futures::future::join(removing, other).await;
        assert_eq!(done.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn whoever_came_to_stand_on_it_meanwhile_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let active = "Error response from daemon: error while removing network: network reachmap has active endpoints";
        note(&home, EngineKind::Sandbox, "reachmap").unwrap();
        assert_eq!(removed(&home, &engine(dir.path(), active)).await.unwrap(), [""; 0]);
        assert!(may_be_left(&home, EngineKind::Sandbox));
        let error = removed(&home, &engine(dir.path(), "permission denied")).await.unwrap_err();
        assert!(error.to_string().ends_with("permission denied"), "{error}");
    }
}
