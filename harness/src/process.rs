//! The processes that a run has started: written down while they live, so that they are ended with it.
//!
//! Every command leads a process group of its own. While it runs, a file in the home names its group
//! and its owner, each with the time at which it started, so that a recycled process id is never
//! mistaken. A run that is interrupted ends its own groups; what a killed run left behind is ended by
//! the next command, by these records and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Result, command, home::write_atomically};

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
static LIVE: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A process that cannot be mistaken for another: its id and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id, in this process's pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`, proc(5)).
    pub start: u64,
}

/// What is written down of a process group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    group: ProcessId,
    owner: ProcessId,
    boot: String,
    command: String,
}

/// Takes the record away when the command has ended.
#[derive(Debug)]
pub(crate) struct Registered {
    pid: u32,
    file: Option<PathBuf>,
}

impl ProcessId {
    /// The process that has the id `pid` now, if there is one that is not a zombie.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may itself contain spaces and parentheses.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    /// Whether this very process still lives.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The id of this boot of the kernel: records of an earlier boot name no process of this one.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// From now on, commands are written down in `home`; the first call decides.
pub fn record_in(home: &crate::home::Home) {
    // A second run in the same process records where the first one does.
    let _ = DIRECTORY.set(home.root().join("processes"));
}

pub(crate) fn register(pid: u32, command: &str) -> Registered {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
    let file = DIRECTORY.get().and_then(|directory| {
        let record = Record {
            group: ProcessId::of(pid)?,
            owner: ProcessId::of(std::process::id())?,
            boot: boot_id(),
            command: command.to_owned(),
        };
        let file = directory.join(format!("{pid}-{}.json", record.group.start));
        // Without a record the command still runs; only a kill -9 right now would leave it behind.
        write_atomically(&file, &serde_json::to_vec(&record).ok()?).ok()?;
        Some(file)
    });
    Registered { pid, file }
}

impl Drop for Registered {
    fn drop(&mut self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
        if let Some(file) = &self.file {
            // Nothing to do about a record that cannot be removed: its process is gone, so it names nobody.
            let _ = fs::remove_file(file);
        }
    }
}

/// Ends every command that this process has running: for a run that is interrupted.
pub fn end_own() {
    for pid in LIVE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        end_group(*pid);
    }
}

/// Ends the process groups that runs which no longer live have left behind, and says which.
///
/// # Errors
/// [`crate::ErrorKind::Deadline`] if one does not end.
pub fn end_orphans(home: &crate::home::Home) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for file in records(&home.root().join("processes")) {
        let record = command::read_text(&file).ok().and_then(|text| serde_json::from_str::<Record>(&text).ok());
        if let Some(record) = &record {
            let same_boot = record.boot == boot_id();
            if same_boot && record.owner.is_alive() {
                continue;
            }
            // The leader may have ended before its children: the group's id is not reused while one of them lives.
            if same_boot && group_lives(record.group) {
                end_group(record.group.pid);
                command::poll("end what a killed run left behind", Duration::from_secs(10), || {
                    Ok(if group_lives(record.group) { Err(record.command.clone()) } else { Ok(()) })
                })?;
                ended.push(record.command.clone());
            }
        }
        let _ = fs::remove_file(&file);
    }
    remove_half_written(&home.root().join("processes"));
    Ok(ended)
}

/// Removes the records that a run was killed while it wrote: a run that lives takes milliseconds.
fn remove_half_written(directory: &Path) {
    const LONG: Duration = Duration::from_secs(10);
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_none()) {
        let modified = fs::metadata(&path).and_then(|meta| meta.modified());
        if modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LONG)) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn records(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect()
}

/// Whether a process of the group that `leader` led still lives.
fn group_lives(leader: ProcessId) -> bool {
    match ProcessId::of(leader.pid) {
        Some(now) if now == leader => return true,
        // Somebody else has the id now, so the group that had it is gone.
        Some(_) => return false,
        None => {}
    }
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).any(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else { return false };
        let mut fields = rest.split_whitespace();
        let state = fields.next();
        let group = fields.nth(1).and_then(|group| group.parse::<u32>().ok());
        state != Some("Z") && group == Some(leader.pid)
    })
}

pub(crate) fn end_group(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return };
    // The group may be gone already, which is what we want.
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;
    use crate::home::Home;

    fn left_behind(home: &Home, owner: ProcessId) -> std::process::Child {
        let child = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let record = Record {
            group: ProcessId::of(child.id()).unwrap(),
            owner,
            boot: boot_id(),
            command: "sleep 600".to_owned(),
        };
        let file = home.root().join("processes").join(format!("{}.json", child.id()));
        write_atomically(&file, &serde_json::to_vec(&record).unwrap()).unwrap();
        child
    }

    #[test]
    fn what_a_dead_run_left_behind_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let me = ProcessId::of(std::process::id()).unwrap();
        let dead = ProcessId { start: me.start + 1, ..me };
        let mut child = left_behind(&home, dead);
        let waiter = std::thread::spawn(move || child.wait().unwrap());
        assert_eq!(end_orphans(&home).unwrap(), ["sleep 600"]);
        assert!(!waiter.join().unwrap().success());
        assert_eq!(records(&dir.path().join("processes")).len(), 0);
    }

    #[test]
    fn a_record_that_nobody_finished_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let directory = dir.path().join("processes");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(".tmpnew"), "").unwrap();
        let old = fs::File::create(directory.join(".tmpold")).unwrap();
        old.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        end_orphans(&home).unwrap();
        let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".tmpnew"]);
    }

    #[test]
    fn what_a_live_run_has_running_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let mut child = left_behind(&home, ProcessId::of(std::process::id()).unwrap());
        assert_eq!(end_orphans(&home).unwrap(), Vec::<String>::new());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
