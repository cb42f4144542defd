//! Features of the kernel, tried in namespaces that end with the trial.

use std::{fs, path::Path, time::Duration};

use super::{Answer, Check, Group};
use crate::{command::Command, environment::images::packages, home::Home};

/// A feature, and how it is tried.
struct Feature {
    name: &'static str,
    /// What it is there for.
    used_by: &'static str,
    /// The kernel modules that it may be in.
    modules: &'static [&'static str],
    /// What succeeds in a network namespace of its own if the kernel has it.
    script: &'static str,
}

const FEATURES: [Feature; 8] = [
    Feature {
        name: "iptables",
        used_by: "kube-proxy's default mode",
        modules: &["nf_tables", "nft_compat", "xt_statistic", "xt_MASQUERADE", "nf_nat"],
        // What kube-proxy's chains are made of: a random choice between endpoints, and masquerading.
        script: "iptables -t nat -A POSTROUTING -m comment --comment reachmap -m statistic --mode random --probability 0.5 -j MASQUERADE",
    },
    Feature {
        name: "nftables",
        used_by: "--proxy-mode nftables",
        modules: &["nf_tables", "nft_numgen", "nft_chain_nat"],
        // What KEP-3866's rules are made of: a random number looked up in a map of verdicts.
        script: "nft -f - <<'END'
add table ip reachmap
add chain ip reachmap endpoint
add chain ip reachmap services { type nat hook output priority -100; }
add rule ip reachmap services numgen random mod 2 vmap { 0 : goto endpoint, 1 : goto endpoint }
END",
    },
    Feature {
        name: "IPVS",
        used_by: "kube-proxy's ipvs mode",
        modules: &["ip_vs"],
        script: "[ -e /proc/net/ip_vs ] || { echo 'this kernel has no /proc/net/ip_vs' >&2; exit 1; }",
    },
    Feature {
        name: "dummy",
        used_by: "kube-proxy's ipvs mode",
        modules: &["dummy"],
        script: "ip link add reachmap0 type dummy",
    },
    Feature {
        name: "vxlan",
        used_by: "Flannel, as in the tutorial",
        modules: &["vxlan"],
        script: "ip link add reachmap0 type vxlan id 1 dstport 8472",
    },
    Feature {
        name: "bridge",
        used_by: "the nodes' network",
        modules: &["bridge"],
        script: "ip link add reachmap0 type bridge",
    },
    Feature {
        name: "veth",
        used_by: "every node and every pod",
        modules: &["veth"],
        script: "ip link add reachmap0 type veth peer name reachmap1",
    },
    Feature {
        name: "IPv6",
        used_by: "--ip-family dual",
        modules: &["ipv6", "ip6table_nat"],
        script: "ip link set lo up; ip -6 address add fd00::1/64 dev lo; ip6tables -t nat -A POSTROUTING -j MASQUERADE",
    },
];

/// The kernel's features.
pub(super) fn checks(home: &Home) -> Vec<Check> {
    let trial = Trial::new(home);
    let mut checks = vec![namespaces(&trial)];
    checks.extend(FEATURES.iter().map(|feature| {
        let (answer, found) = match state_of(feature.modules) {
            // Trying would load it, and it would stay loaded.
            Some(module) => (Answer::Yes, format!("the module {module} is there, and is loaded when it is needed")),
            None => trial.run(feature.script),
        };
        Check::new(Group::Kernel, feature.name, answer, format!("{found}; for {}", feature.used_by))
    }));
    checks.push(overlay(&trial, home));
    checks.push(cgroup());
    checks.push(inotify());
    checks
}

/// How scripts are tried here.
struct Trial {
    /// The words before the script.
    words: Vec<String>,
    /// A root directory that brings the programs, if there is one.
    root: Option<String>,
    /// Why nothing can be tried, if that is so.
    impossible: Option<String>,
}

impl Trial {
    fn new(home: &Home) -> Self {
        let mut words: Vec<String> = ["unshare", "--net", "--mount"].map(ToOwned::to_owned).to_vec();
        if !rustix::process::geteuid().is_root() {
            words.extend(["--user", "--map-root-user"].map(ToOwned::to_owned));
        }
        words.extend(["--", "sh", "-ec"].map(ToOwned::to_owned));
        let root = packages::engine_root_if_made(home).map(|root| root.to_string_lossy().into_owned());
        let mut trial = Self { words, root, impossible: None };
        let (answer, found) = trial.run("true");
        if answer != Answer::Yes {
            trial.impossible = Some(format!("nothing can be tried here: {found}"));
        }
        trial
    }

    /// Whether `script` succeeds in namespaces of its own, and what it said if not.
    fn run(&self, script: &str) -> (Answer, String) {
        if let Some(why) = &self.impossible {
            return (Answer::Unknown, why.clone());
        }
        // The engine's own iptables and nft, where its root is unpacked: the host may have none.
        let chroot = self.root.as_deref().and_then(|root| {
            (script.contains("tables") || script.contains("nft")).then(|| format!("chroot '{root}' sh -ec \"$0\""))
        });
        let mut command = Command::new(&*self.words[0]).args(self.words[1..].iter().map(String::as_str));
        command = match chroot {
            Some(chroot) => command.arg(chroot).arg(script),
            None => command.arg(script),
        };
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        match command.env("PATH", path).deadline(Duration::from_secs(5)).output() {
            Ok(output) if output.code == Some(0) => (Answer::Yes, "tried, and it works".to_owned()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or("it failed without a word").trim().to_owned();
                match output.code {
                    Some(127) => (Answer::Unknown, format!("no program to try it with ({said})")),
                    _ => (Answer::No, said),
                }
            }
            Err(error) => (Answer::Unknown, error.to_string()),
        }
    }
}

/// The first of `modules` that is there but not loaded, so that trying would load it.
fn state_of(modules: &[&'static str]) -> Option<&'static str> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let dir = Path::new("/lib/modules").join(release);
    let listed = fs::read_to_string(dir.join("modules.dep")).unwrap_or_default();
    modules.iter().copied().find(|module| is_listed(&listed, module) && !Path::new("/sys/module").join(module).exists())
}

/// Whether `modules.dep` (its format: modules.dep(5)) names `module`.
fn is_listed(modules_dep: &str, module: &str) -> bool {
    let files = modules_dep.lines().filter_map(|line| line.split(':').next()?.rsplit('/').next());
    // The file may be compressed (.ko.xz), and may be named with the other dash.
    let mut names = files.filter_map(|file| file.split(".ko").next()).map(|name| name.replace('-', "_"));
    names.any(|name| name == module)
}

fn namespaces(trial: &Trial) -> Check {
    let (answer, found) = trial.run("unshare --pid --ipc --uts --fork true");
    Check::new(Group::Kernel, "namespaces", answer, format!("{found}; for the private engine"))
}

fn overlay(trial: &Trial, home: &Home) -> Check {
    let check =
        |answer, found| Check::new(Group::Kernel, "overlayfs", answer, format!("{found}; for images and containers"));
    if let Some(module) = state_of(&["overlay"]) {
        return check(Answer::Yes, format!("the module {module} is there, and is loaded when it is needed"));
    }
    // It depends on the file system below, so it is tried where it will be used, or as near as there is something.
    let place = home.root().ancestors().find(|path| path.is_dir()).unwrap_or_else(|| Path::new("/"));
    let Ok(dir) = tempfile::Builder::new().prefix(".reachmap-doctor-").tempdir_in(place) else {
        return check(Answer::Unknown, format!("{} cannot be written", place.display()));
    };
    let dir = dir.path().display();
    let script = format!(
        "cd '{dir}'; mkdir lower upper work merged; \
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; touch merged/file"
    );
    let (answer, found) = trial.run(&script);
    check(answer, found)
}

fn cgroup() -> Check {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let v1 = Path::new("/sys/fs/cgroup/memory").is_dir();
    let found = match (v2, v1) {
        (true, _) => "version 2",
        (false, true) => "version 1: nodes are given Debian bookworm's systemd and kubelets `failCgroupV1: false`",
        (false, false) => "no hierarchy is mounted at /sys/fs/cgroup",
    };
    Check::that(Group::Kernel, "cgroup", v2 || v1, found)
}

fn inotify() -> Check {
    let read = |name: &str| {
        fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    };
    match (read("max_user_instances"), read("max_user_watches")) {
        (Some(instances), Some(watches)) => {
            let enough = instances >= 512 && watches >= 65_536;
            let then = if enough {
                "enough for several kubelets"
            } else {
                "too few for several kubelets: raised while the private engine runs; for Docker see kind's known issues"
            };
            Check::that(Group::Kernel, "inotify", enough, format!("{instances} instances, {watches} watches: {then}"))
        }
        _ => Check::new(Group::Kernel, "inotify", Answer::Unknown, "its limits cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_by_its_name_alone() {
        let dep = "kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n\
                   kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv4/udp_tunnel.ko\n\
                   kernel/net/netfilter/nft-numgen.ko:\n";
        for (module, expected) in
            [("vxlan", true), ("ip_vs_rr", true), ("ip_vs", false), ("nft_numgen", true), ("udp_tunnel", false)]
        {
            assert_eq!(is_listed(dep, module), expected, "{module}");
        }
    }

    #[test]
    fn a_trial_tells_what_fails_from_what_cannot_be_tried() {
        let dir = tempfile::tempdir().unwrap();
        let trial = Trial::new(&Home::at(dir.path()));
        if trial.impossible.is_some() {
            assert_eq!(trial.run("true").0, Answer::Unknown);
            return;
        }
        assert_eq!(trial.run("true").0, Answer::Yes);
        assert_eq!(trial.run("echo broken >&2; false"), (Answer::No, "broken".to_owned()));
        assert_eq!(trial.run("no-such-program-here").0, Answer::Unknown);
    }
}
