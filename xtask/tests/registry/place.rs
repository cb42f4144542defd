//! An engine, a registry in its network, and runs that know of both only what they are told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use reachmap::{
    command::{Command, poll},
    environment::engine::{Sandbox, hold},
    home::{Home, Lock},
    probe::AgentBinary,
    progress::{Progress, Show},
};

/// An address of the engine's own network, from the block that is for examples (RFC 5737): nothing leaves that network.
pub(crate) const ADDRESS: &str = "192.0.2.10";
/// The registry, as the engine and the nodes reach it.
pub(crate) const REGISTRY: &str = "192.0.2.10:5000";

/// How long a run may take.
const RUN: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) home: Home,
    pub(crate) sandbox: Sandbox,
    pub(crate) progress: Progress,
    scratch: PathBuf,
    registry: Option<Child>,
    held: Option<Lock>,
}

/// Why the engine of `home` is not this test's to do with as it likes, if it is not.
pub(crate) fn in_use(home: &Home) -> Option<String> {
    let root = home.root().display();
    if Sandbox::running(home).is_some() {
        return Some(format!("the engine of {root} runs"));
    }
    let entries = fs::read_dir(home.clusters()).into_iter().flatten().flatten();
    let clusters: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    (!clusters.is_empty()).then(|| format!("{root} has clusters on record: {}", clusters.join(", ")))
}

impl Place {
    /// Starts the engine of `home`, and an empty registry in its network.
    pub(crate) fn new(home: Home, temporary: &Path) -> Self {
        let scratch = temporary.join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        let progress = Progress::new(Show::Plain, scratch.join("logs"));
        let held = Some(hold(&home).unwrap());
        let sandbox = Sandbox::start(&home, &progress).unwrap();
        let mut place = Self { home, sandbox, progress, scratch, registry: None, held };
        // Kept before anything else can fail, so that it ends with this place.
        place.registry = Some(start_registry(&place.sandbox, &place.scratch));
        until_registry_answers(&place.sandbox);
        place.write_docker();
        place.trust_registry();
        place.compile();
        place
    }

    /// Compiles what the runs need of this repository, so that the first of them is no slower than the others.
    fn compile(&self) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let suite = Command::new(env!("CARGO")).args(["test", "--no-run", "-p", "reachmap-suites", "--test", "access"]);
        suite.dir(directory).deadline(Duration::from_secs(1200)).run().unwrap();
        AgentBinary::find_or_build(&self.home, &self.progress).unwrap();
    }

    /// Runs docker in the engine, which must succeed, and returns what it printed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.inside(Command::new("docker").args(arguments.iter().copied()))
    }

    /// Runs a command in the engine, which must succeed, and returns what it printed.
    pub(crate) fn inside(&self, command: Command) -> String {
        self.sandbox.command(command.deadline(Duration::from_secs(600))).run().unwrap().text()
    }

    /// A file beside the runs; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.scratch.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A run of the suite `access` beside the engine, where `docker` reaches it: its exit code, and all that it said.
    pub(crate) fn e2e(&self, arguments: &[String]) -> (Option<i32>, String) {
        let network = format!("--net={}", self.sandbox.network_namespace().display());
        let path = format!("{}:{}", self.scratch.join("bin").display(), std::env::var("PATH").unwrap());
        let command = Command::new("nsenter")
            .args([&network, "--", env!("CARGO_BIN_EXE_xtask"), "e2e", "--engine", "docker", "--images", "registry"])
            .args(["--suite", "access", "--name", "registry", "--report-dir"])
            .arg(self.scratch.join("reports").to_str().unwrap())
            .args(arguments.iter().cloned())
            .dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .env("PATH", path)
            .env("DOCKER_HOST", format!("unix://{}/run/docker.sock", self.sandbox.root().display()))
            .env("DOCKER_CONFIG", self.scratch.join("docker").to_str().unwrap())
            .env("REACHMAP_CACHE", self.home.root().to_str().unwrap())
            .env("CARGO_NET_OFFLINE", "true")
            .env("CI", "true")
            .deadline(RUN);
        println!("$ {}", command.display());
        let output = command.output().unwrap();
        let said = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        (output.code, said)
    }

    /// A report of the last run.
    pub(crate) fn report(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.join("reports/latest").join(name)).unwrap()
    }

    /// The programs that asked the registry for the content of `reference`, as its log names them.
    pub(crate) fn pulled(&self, reference: &str) -> String {
        let (named, digest) = reference.split_once('@').unwrap();
        let name = &named[named.find('/').unwrap() + 1..named.rfind(':').unwrap()];
        let asked = format!("/v2/{name}/manifests/{digest}");
        let log = fs::read_to_string(self.scratch.join("registry.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("\"GET ") && line.contains(&asked));
        // After the quoted request and the empty referrer comes the program.
        lines.filter_map(|line| line.split('"').nth(5)).collect::<Vec<_>>().join("\n")
    }

    /// Ends everything; nothing may be left.
    pub(crate) fn close(mut self) {
        self.end();
        assert!(Sandbox::running(&self.home).is_none(), "the engine lives");
        let records = fs::read_dir(self.home.clusters()).into_iter().flatten().count();
        assert_eq!(records, 0, "a cluster is still recorded");
    }

    fn end(&mut self) {
        if let Some(mut registry) = self.registry.take() {
            // Not waited for, so its id is still its own.
            let _ = registry.kill();
            let _ = registry.wait();
        }
        if let Some(held) = self.held.take() {
            drop(held);
            let ended = Sandbox::stop_if_unused(&self.home, &self.progress);
            println!("the engine has ended: {ended:?}");
        }
    }

    /// The engine's own client, beside which its root is not ours.
    fn write_docker(&self) {
        let root = self.sandbox.root();
        let architecture = std::env::consts::ARCH;
        let loader = if architecture == "x86_64" { "ld-linux-x86-64.so.2" } else { "ld-linux-aarch64.so.1" };
        let libraries = format!("{}/usr/lib/{architecture}-linux-gnu", root.display());
        let script = format!(
            "#!/bin/sh\nexec {libraries}/{loader} --library-path {libraries} {}/usr/bin/docker \"$@\"\n",
            root.display()
        );
        let bin = self.scratch.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("docker"), script).unwrap();
        fs::set_permissions(bin.join("docker"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Tells the engine that the registry speaks HTTP without TLS, as an administrator does: in a file that is gone with
    /// the engine.
    fn trust_registry(&self) {
        let script = "mount -t tmpfs tmpfs /etc/docker && echo \"$1\" >/etc/docker/daemon.json && kill -HUP 1";
        let text = format!(r#"{{"insecure-registries": ["{REGISTRY}", "{ADDRESS}:5001"]}}"#);
        self.inside(Command::new("sh").args(["-ec", script, "sh", &text]));
        poll("see the engine trust the registry", Duration::from_secs(20), || {
            let said = self.docker(&["info", "--format", "{{json .RegistryConfig.IndexConfigs}}"]);
            Ok(if said.contains(REGISTRY) { Ok(()) } else { Err(said) })
        })
        .unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failed test cleans up too, as well as it can.
        if std::thread::panicking() {
            let log = fs::read_to_string(self.scratch.join("registry.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            // Nothing here may fail: a panic while panicking ends the process, with the engine and the registry alive.
            let docker = |arguments: &[&str]| {
                let command = Command::new("docker").args(arguments.iter().copied()).deadline(Duration::from_secs(60));
                self.sandbox.command(command).output().map(|output| output.text()).unwrap_or_default()
            };
            for container in docker(&["container", "ls", "--all", "--quiet"]).lines() {
                docker(&["container", "rm", "--force", "--volumes", container]);
            }
        }
        self.end();
    }
}

/// Debian's registry, without its service: unpacked, and started in the engine's network. An earlier run may have left its
/// address there.
fn start_registry(sandbox: &Sandbox, scratch: &Path) -> Child {
    let place = scratch.join("registry");
    fs::create_dir_all(&place).unwrap();
    Command::new("apt-get").args(["update", "-qq"]).deadline(Duration::from_secs(300)).run().unwrap();
    Command::new("apt-get").args(["download", "-qq", "docker-registry"]).dir(&place).run().unwrap();
    Command::new("sh").args(["-ec", "dpkg-deb --extract docker-registry_*.deb ."]).dir(&place).run().unwrap();
    let configuration = place.join("config.yml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{REGISTRY}'}}\n",
        place.join("storage").display()
    );
    fs::write(&configuration, text).unwrap();
    let network = format!("--net={}", sandbox.network_namespace().display());
    let address = format!("{ADDRESS}/32");
    Command::new("nsenter").args([&network, "ip", "address", "replace", &address, "dev", "lo"]).run().unwrap();
    let log = fs::File::create(scratch.join("registry.log")).unwrap();
    std::process::Command::new("nsenter")
        .arg(&network)
        .arg(place.join("usr/bin/docker-registry"))
        .arg("serve")
        .arg(&configuration)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn until_registry_answers(sandbox: &Sandbox) {
    let network = format!("--net={}", sandbox.network_namespace().display());
    let connect = format!("exec 3<>/dev/tcp/{ADDRESS}/5000");
    let connect = Command::new("nsenter").args([&network, "bash", "-c", &connect]);
    poll("see the registry answer", Duration::from_secs(20), || {
        let output = connect.output()?;
        Ok(if output.code == Some(0) { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) })
    })
    .unwrap();
}
