//! The machine, its programs, and what it has to give.

use std::fs;

use super::{Answer, Check, Group};
use crate::{
    environment::{
        engine::{Facts, Sandbox},
        images::{packages, store, toolchain, tools, versions::Versions},
    },
    home::Home,
};

/// Memory that a cluster of four nodes and a linker beside it need, in bytes.
const MEMORY: u64 = 4 << 30;

/// Machine, engines and image sources.
pub(super) fn checks(home: &Home, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![system(), processors(), memory(), disk(home), root(facts)];
    checks.extend(engines(home, facts));
    checks.extend(images(home));
    checks
}

fn system() -> Check {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let machine = name.machine().to_string_lossy();
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty =
        os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"').to_owned());
    let found = match pretty {
        Some(pretty) => format!("{pretty}, Linux {release}, {machine}"),
        None => format!("{} {release}, {machine}", name.sysname().to_string_lossy()),
    };
    Check::that(Group::Machine, "system", cfg!(target_os = "linux"), found)
}

fn processors() -> Check {
    match std::thread::available_parallelism() {
        Ok(count) => {
            Check::that(Group::Machine, "processors", count.get() >= 2, format!("{count}, of 2 that are needed"))
        }
        Err(error) => Check::new(Group::Machine, "processors", Answer::Unknown, error.to_string()),
    }
}

fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&text) {
        Some(bytes) => Check::that(
            Group::Machine,
            "memory",
            bytes >= MEMORY,
            format!("{} available, of about {} that are needed", gib(bytes), gib(MEMORY)),
        ),
        None => Check::new(Group::Machine, "memory", Answer::Unknown, "/proc/meminfo does not say"),
    }
}

/// `MemAvailable` of proc(5), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

fn disk(home: &Home) -> Check {
    match store::free_space(home) {
        Some(free) => Check::that(
            Group::Machine,
            "free disk",
            free >= packages::NEEDED,
            format!(
                "{} for {}, of about {} that building everything takes",
                gib(free),
                home.root().display(),
                gib(packages::NEEDED)
            ),
        ),
        None => Check::new(
            Group::Machine,
            "free disk",
            Answer::Unknown,
            format!("{} cannot be looked at", home.root().display()),
        ),
    }
}

fn root(facts: &Facts) -> Check {
    let found =
        if facts.root { "this process is root" } else { "this process is not root: the private engine needs it" };
    Check::that(Group::Machine, "root", facts.root, found)
}

fn engines(home: &Home, facts: &Facts) -> Vec<Check> {
    let (answer, found) = match &facts.docker {
        Ok(version) => (true, format!("`docker info` answers: server version {version}")),
        Err(why) => (false, why.clone()),
    };
    let sandbox = facts.linux && facts.root;
    let state = match (sandbox, Sandbox::running(home), packages::engine_root_if_made(home)) {
        (false, _, _) => "it takes Linux and root",
        (true, Some(_), _) => "it runs",
        (true, None, Some(_)) => "built, and not running",
        (true, None, None) => "not built yet: it takes Debian's packages, and about a minute",
    };
    vec![Check::that(Group::Engine, "docker", answer, found), Check::that(Group::Engine, "sandbox", sandbox, state)]
}

fn images(home: &Home) -> Vec<Check> {
    let mut checks = vec![go(home)];
    let installs = rustix::process::geteuid().is_root() && which::which("apt-get").is_ok();
    checks.extend(tools::PROGRAMS.iter().map(|(program, package)| {
        let found = match (which::which(program), installs) {
            (Ok(path), _) => path.display().to_string(),
            (Err(_), true) => format!("missing: installed by apt-get ({package}) when it is needed"),
            (Err(_), false) if *program == tools::MUSL.0 => {
                format!("missing: install {package}; without it, lookups by musl are not supported here")
            }
            (Err(_), false) => format!("missing: install {package}"),
        };
        Check::that(Group::Images, program, which::which(program).is_ok(), found)
    }));
    checks
}

fn go(home: &Home) -> Check {
    let versions = match Versions::embedded() {
        Ok(versions) => versions,
        Err(error) => return Check::new(Group::Images, "go", Answer::Unknown, error.to_string()),
    };
    let minimum = &versions.go.minimum;
    let instead = || toolchain::instead(home, &versions);
    match which::which("go") {
        Err(_) => Check::that(Group::Images, "go", false, format!("missing: {}", instead())),
        Ok(path) => match tools::version(&path) {
            Ok(found) if tools::is_enough(&found, minimum) => {
                Check::that(Group::Images, "go", true, format!("{found}, {}", path.display()))
            }
            Ok(found) => {
                Check::that(Group::Images, "go", false, format!("{found} is older than {minimum}: {}", instead()))
            }
            Err(error) => Check::new(Group::Images, "go", Answer::Unknown, error.to_string()),
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1_u32 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(available("MemTotal:       24 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 24 kB\n"), None);
    }
}
