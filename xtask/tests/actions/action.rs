//! The action that other repositories use.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use reachmap::command::poll;

use super::script::{Ended, Machine, find, read, reports_and_exit};

/// What somebody who may open an issue, but must not run a program, would write. It sets no mark of its own on the machine:
/// if the file `pwned` is there after the run, a shell has read this as a script.
const HOSTILE: &str =
    "'\"$(touch pwned)`touch pwned`; touch pwned # ${{ github.token }}\nresult=passed\n::error::x\n--keep\n\\";

/// The script runs with `inputs`, everything else by default.
fn run(machine: &Machine, inputs: &[(&str, &str)]) -> Ended {
    machine.run(&find("action.yml: runs: Run the suites"), &values(machine, inputs))
}

fn values(machine: &Machine, inputs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let declared = read("action.yml")["inputs"].clone();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (name, input) in declared.as_object().unwrap() {
        values.insert(format!("inputs.{name}"), input["default"].as_str().unwrap().to_owned());
    }
    for (name, value) in inputs {
        let known = values.insert(format!("inputs.{name}"), (*value).to_owned());
        assert!(known.is_some(), "{name} is no input");
    }
    values.insert("github.action_path".to_owned(), machine.path("action").to_string_lossy().into_owned());
    values
}

/// The arguments of the run that the script asked for.
fn arguments(machine: &Machine) -> Vec<String> {
    let mut calls = machine.calls().into_iter().filter(|call| call.starts_with(&["cargo".into(), "xtask".into()]));
    let call = calls.next().unwrap_or_else(|| panic!("no run was asked for: {:?}", machine.calls()));
    assert_eq!(calls.next(), None, "one run, and no more");
    call[2..].to_vec()
}

fn reports(machine: &Machine) -> String {
    machine.path("workspace/reachmap").to_string_lossy().into_owned()
}

#[test]
fn without_inputs_a_cluster_is_made_from_the_registry() {
    let machine = Machine::new(&reports_and_exit(0));
    let ended = run(&machine, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = ["e2e", "--engine=docker", "--images=registry", &format!("--report-dir={}", reports(&machine))];
    assert_eq!(arguments(&machine), expected);
    assert_eq!(machine.calls()[0], ["rustup", "show", "active-toolchain"]);
    let path = |name: &str| format!("{}/20260101-120000-1{name}", reports(&machine));
    let outputs = [
        ("result", "passed".to_owned()),
        ("exit-code", "0".to_owned()),
        ("report-directory", path("")),
        ("html", path("/report.html")),
        ("json", path("/report.json")),
        ("markdown", path("/report.md")),
        ("junit", path("/junit.xml")),
        ("conformance", path("/conformance.yaml")),
    ];
    assert_eq!(ended.outputs, outputs.map(|(name, value)| (name.to_owned(), value)).into());
    let declared = read("action.yml")["outputs"].clone();
    // Where everything is as expected, there is no bundle.
    let declared = declared.as_object().unwrap().keys().filter(|name| *name != "bundle");
    assert!(declared.eq(ended.outputs.keys()), "each declared output is set, and no other");
}

#[test]
fn a_failed_run_has_a_bundle_and_its_path_is_an_output() {
    let machine = Machine::new(&reports_and_exit(1));
    let ended = run(&machine, &[]);
    let bundle = format!("{}/20260101-120000-1/bundle.tar.gz", reports(&machine));
    assert_eq!(ended.outputs.get("bundle"), Some(&bundle), "{ended:?}");
}

#[test]
fn every_input_becomes_an_argument() {
    let machine = Machine::new(&reports_and_exit(0));
    let inputs = [
        ("suites", "access,dns"),
        ("only", "laptop/*,!pod-ip"),
        ("kubernetes-version", "v1.37.0"),
        ("proxy-mode", "nftables"),
        ("ip-family", "dual"),
        ("cni", "flannel-host-gw"),
        ("workers", "1"),
        ("engine", "sandbox"),
        ("images", "packages"),
        ("report-directory", "out/of the way"),
        ("arguments", "--fresh\n\n--pool\n172.18.255.200-172.18.255.210\n"),
    ];
    assert_eq!(run(&machine, &inputs).code, Some(0));
    let reports = format!("--report-dir={}", machine.path("workspace/out/of the way").display());
    let expected = [
        "e2e",
        "--suite=access,dns",
        "--only=laptop/*,!pod-ip",
        "--engine=sandbox",
        "--images=packages",
        "--k8s=v1.37.0",
        "--proxy-mode=nftables",
        "--ip-family=dual",
        "--cni=flannel-host-gw",
        "--workers=1",
        &reports,
        "--fresh",
        "--pool",
        "172.18.255.200-172.18.255.210",
    ];
    assert_eq!(arguments(&machine), expected);
}

#[test]
fn an_existing_cluster_is_named_by_its_file_and_gets_no_engine() {
    let machine = Machine::new(&reports_and_exit(0));
    fs::write(machine.path("workspace/kubeconfig"), "").unwrap();
    assert_eq!(run(&machine, &[("kubeconfig", "kubeconfig"), ("context", "mine")]).code, Some(0));
    let file = fs::canonicalize(machine.path("workspace/kubeconfig")).unwrap();
    let arguments = arguments(&machine);
    assert!(arguments.contains(&format!("--kubeconfig={}", file.display())), "{arguments:?}");
    assert!(arguments.contains(&"--context=mine".to_owned()), "{arguments:?}");
    assert!(!arguments.iter().any(|argument| argument.starts_with("--engine")), "{arguments:?}");
}

/// The real program understands what it is handed: the arguments of the script, and those of the user.
#[test]
fn the_real_command_line_takes_the_arguments() {
    let machine = Machine::new("exit 9");
    let ended =
        run(&machine, &[("suites", "access"), ("only", "load-balancer-ready/laptop/pod-ip"), ("arguments", "--list")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.printed.lines().any(|line| line == "load-balancer-ready/laptop/pod-ip"), "{ended:?}");
    // What reads as an option stays the value of one.
    let refused = Machine::new("exit 9");
    let ended = run(&refused, &[("suites", "--keep"), ("arguments", "--list")]);
    assert_eq!((ended.code, ended.outputs["result"].as_str()), (Some(2), "error"));
    assert!(ended.printed.contains("failed to choose the suite --keep"), "{ended:?}");
}

#[test]
fn nothing_in_an_input_is_ever_read_as_a_script() {
    let declared = read("action.yml")["inputs"].clone();
    for name in declared.as_object().unwrap().keys() {
        let machine = Machine::new(&reports_and_exit(1));
        let ended = run(&machine, &[(name, HOSTILE)]);
        assert!(!machine.has_anywhere("pwned"), "{name} was read as a script: {ended:?}");
        assert_ne!(ended.code, Some(0), "{name}: {ended:?}");
        assert_ne!(ended.outputs.get("result").map(String::as_str), Some("passed"), "{name}: {ended:?}");
        if matches!(name.as_str(), "workspace" | "kubeconfig") {
            // There is no such directory, and no such file.
            continue;
        }
        let arguments = arguments(&machine);
        match name.as_str() {
            // Only here a line is an argument; it is a word of its own, and exactly what was written.
            "arguments" => assert!(arguments.ends_with(&HOSTILE.lines().map(str::to_owned).collect::<Vec<_>>())),
            "fail" => assert_eq!(ended.code, Some(1), "only `false` is false"),
            "report-directory" => {
                let directory = format!("{}/{HOSTILE}", machine.path("workspace").display());
                assert!(arguments.contains(&format!("--report-dir={directory}")), "{arguments:?}");
                assert_eq!(ended.outputs["json"], format!("{directory}/20260101-120000-1/report.json"));
                assert_eq!(ended.outputs["result"], "failed");
            }
            // Without a kubeconfig the command line itself refuses it.
            _ => assert!(
                arguments.iter().any(|argument| argument.ends_with(&format!("={HOSTILE}"))),
                "{name}: {arguments:?}"
            ),
        }
    }
}

#[test]
fn a_cell_that_is_not_as_expected_fails_the_step_unless_that_was_asked_for() {
    for (fail, code) in [("true", 1), ("false", 0)] {
        let machine = Machine::new(&reports_and_exit(1));
        let ended = run(&machine, &[("fail", fail)]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(ended.outputs["result"], "failed");
        assert_eq!(ended.outputs["exit-code"], "1");
        assert!(ended.outputs.contains_key("html"));
    }
}

#[test]
fn a_run_that_could_not_be_carried_out_always_fails_and_names_no_older_report() {
    let machine = Machine::new("exit 3");
    let old = machine.path("workspace/reachmap/20200101-000000-1");
    fs::create_dir_all(&old).unwrap();
    std::os::unix::fs::symlink("20200101-000000-1", machine.path("workspace/reachmap/latest")).unwrap();
    let ended = run(&machine, &[("fail", "false")]);
    assert_eq!(ended.code, Some(3));
    let expected = [("result", "error"), ("exit-code", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(ended.outputs, expected.into());
}

#[test]
fn another_workspace_runs_its_own_xtask_and_gets_its_toolchain() {
    let mut machine = Machine::new("pwd > \"$FAKE/where\"; exit 0");
    machine.env.insert("NO_TOOLCHAIN".to_owned(), "1".to_owned());
    fs::create_dir(machine.path("workspace/e2e")).unwrap();
    assert_eq!(run(&machine, &[("workspace", "e2e")]).code, Some(0));
    let place = fs::read_to_string(machine.path("where")).unwrap();
    assert_eq!(fs::canonicalize(place.trim()).unwrap(), fs::canonicalize(machine.path("workspace/e2e")).unwrap());
    assert_eq!(machine.calls()[1], ["rustup", "toolchain", "install"]);
}

/// The script runs where there is no more than it names: the compiler is missing, and so is `sudo` if `programs` has none.
fn install(programs: &[(&str, &str)]) -> (Ended, String) {
    let mut machine = Machine::new("exit 9");
    for name in ["bash", "env", "id", "sh", "touch"] {
        std::os::unix::fs::symlink(which::which(name).unwrap(), machine.path("bin").join(name)).unwrap();
    }
    for (name, text) in programs {
        let file = machine.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    machine.env.insert("PATH".to_owned(), machine.path("bin").to_string_lossy().into_owned());
    let ended = machine.run(&find("action.yml: runs: Install musl's compiler"), &BTreeMap::new());
    (ended, fs::read_to_string(machine.path("installed")).unwrap_or_default())
}

#[test]
fn musls_compiler_is_installed_where_it_is_missing_and_its_absence_is_no_failure() {
    const APT: &str = "echo \"$@\" >> \"$FAKE/installed\"";
    let sudo = ("sudo", "[ \"$1\" = -n ] && shift && exec \"$@\"");
    let (ended, installed) = install(&[sudo, ("apt-get", APT)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(installed, "update -qq\ninstall -y -qq --no-install-recommends musl-tools=1.2.*\n");
    assert!(!ended.printed.contains("::warning"), "{ended:?}");

    let (ended, installed) = install(&[sudo, ("apt-get", APT), ("musl-gcc", "")]);
    assert_eq!((ended.code, installed.as_str()), (Some(0), ""));

    for without in [&[sudo, ("apt-get", "exit 100")][..], &[]] {
        let (ended, _) = install(without);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.printed.contains("::warning title=Reachmap::musl-tools could not be installed"), "{ended:?}");
    }
}

/// GitHub sends SIGINT to the shell when a job is cancelled, and kills what is left some seconds later.
#[test]
fn a_cancelled_job_tells_the_run_which_ends_in_its_own_way() {
    let machine = Machine::new(
        r#"trap 'echo told > "$FAKE/told"; exit 130' TERM
touch "$FAKE/started"
while :; do sleep 0.05; done
"#,
    );
    let script = find("action.yml: runs: Run the suites");
    let mut command = machine.command(&script, &values(&machine, &[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    poll("see the run begin", Duration::from_secs(20), || {
        Ok(if machine.path("started").exists() { Ok(()) } else { Err("it has not".to_owned()) })
    })
    .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // GitHub sends SIGINT first, and then this one. The first is ignored by whatever a shell has started in the background,
    // and bash cannot trap what is ignored when it starts.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    poll("see the script end", Duration::from_secs(20), || {
        Ok(child.try_wait().unwrap().map_or_else(|| Err("it has not".to_owned()), |_| Ok(())))
    })
    .unwrap();
    let ended = machine.ended(&child.wait_with_output().unwrap());
    assert_eq!(fs::read_to_string(machine.path("told")).unwrap(), "told\n");
    assert_eq!((ended.code, ended.outputs["result"].as_str()), (Some(130), "error"), "{ended:?}");
}
