//! What is left of the runs of one home, wherever the kernel shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use reachmap::{environment::engine::Sandbox, home::Home};

use super::run::Workplace;

/// Everything that is left, one line each; what was built stays, and is not among it.
pub(crate) fn of(place: &Workplace) -> Vec<String> {
    let home = Home::at(&place.home);
    let group = Sandbox::control_group(&home);
    let group = group.trim_start_matches('/');
    let mut left = records(&home);
    left.extend(entries(&place.scratch).map(|path| format!("temporary file {}", path.display())));
    left.extend(control_groups(group).map(|path| format!("control group {}", path.display())));
    let bystanders = ancestors();
    let mut mounts = BTreeSet::new();
    for process in entries(Path::new("/proc")) {
        let Some(pid) = process.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok()) else {
            continue;
        };
        mounts.extend(mounts_below(&process, &place.home));
        if !bystanders.contains(&pid)
            && let Some(why) = belongs(&process, &place.home, group)
        {
            left.push(format!("process {pid} ({why})"));
        }
    }
    left.extend(mounts.into_iter().map(|mount| format!("mount {mount}")));
    left
}

/// How many there are of each kind.
pub(crate) fn counted(left: &[String]) -> String {
    let mut kinds = BTreeMap::<&str, usize>::new();
    for kind in left.iter().filter_map(|line| line.split(' ').next()) {
        *kinds.entry(kind).or_default() += 1;
    }
    let counts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    counts.join(", ")
}

/// The limits that the private engine raises.
pub(crate) fn limits() -> Vec<(PathBuf, String)> {
    let mut limits: Vec<_> = entries(Path::new("/proc/sys/fs/inotify"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap().trim().to_owned()))
        .collect();
    limits.sort();
    limits
}

fn records(home: &Home) -> Vec<String> {
    let directories = [home.root().join("processes"), home.clusters()];
    let records = directories.iter().flat_map(|directory| entries(directory));
    let engine = ["init", "boot"].map(|name| home.engine().join(name));
    records
        .chain(engine.into_iter().filter(|path| path.exists()))
        .map(|path| format!("record {}", path.display()))
        .chain(containers(home))
        .collect()
}

/// The containers and volumes that the private engine knows, also while it does not run. Its images are what was built.
fn containers(home: &Home) -> impl Iterator<Item = String> + use<> {
    let data = home.engine().join("docker");
    let volumes = entries(&data.join("volumes")).filter(|path| path.is_dir());
    entries(&data.join("containers")).chain(volumes).map(|path| format!("container or volume {}", path.display()))
}

fn control_groups(name: &str) -> impl Iterator<Item = PathBuf> {
    let base = PathBuf::from("/sys/fs/cgroup");
    // Version 2 has one hierarchy, version 1 several.
    let hierarchies: Vec<PathBuf> = entries(&base).chain([base.clone()]).collect();
    let name = name.to_owned();
    hierarchies.into_iter().map(move |hierarchy| hierarchy.join(&name)).filter(|path| path.exists())
}

/// The mounts that a process sees at, or of, something below `home`: fields 4 and 5 of mountinfo, proc(5).
fn mounts_below(process: &Path, home: &Path) -> Vec<String> {
    // A process that has just ended has none.
    let text = fs::read(process.join("mountinfo")).unwrap_or_default();
    let below = format!("{}/", home.display());
    String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| line.split(' ').skip(3).take(2).any(|field| field.starts_with(&below)))
        .map(|line| line.split(' ').skip(3).take(2).collect::<Vec<_>>().join(" at "))
        .collect()
}

/// Why a process belongs to the runs of `home`, if it does.
fn belongs(process: &Path, home: &Path, group: &str) -> Option<String> {
    let home_bytes = home.as_os_str().as_bytes();
    let contains = |name: &str, wanted: &[u8]| {
        let bytes = fs::read(process.join(name)).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    let below = |name: &str| fs::read_link(process.join(name)).is_ok_and(|path| path.starts_with(home));
    let variable = [b"REACHMAP_CACHE=", home_bytes, b"\0"].concat();
    let why = match () {
        () if contains("environ", &variable) => "its environment",
        () if contains("cmdline", home_bytes) => "its command line",
        () if contains("cgroup", group.as_bytes()) => "its control group",
        () if ["cwd", "root", "exe"].into_iter().any(below) => "where it is",
        () => return None,
    };
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    Some(format!("by {why}: {}", line.chars().take(80).collect::<String>().trim_end()))
}

/// This process and those that started it: whoever started it may have named the home.
fn ancestors() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut pid = std::process::id();
    while pid != 0 && found.insert(pid) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may itself contain spaces; the parent is the second field after it.
        pid = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or_default();
    }
    found
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
