//! Takes a lease on a kind cluster inside the engine whose process is PID, and gives it up again.
//!
//!     cargo run -p reachmap --example lease -- HOME PID KIND acquire|keep|fresh|gc|status [WORKERS]

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::path::PathBuf;

use reachmap::{
    Error, ErrorKind, Result,
    command::Command,
    environment::{
        addons::cni::{Backend, Flannel},
        cluster::{
            EngineAccess, EngineKind,
            kind::ClusterConfig,
            lease::{self, Request},
        },
        gc,
    },
    home::Home,
    plan::{IpFamilyChoice, ProxyModeChoice},
    progress::{Progress, Show},
};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, pid, kind, action, rest @ ..] = &args[..] else {
        return Err(Error::new(ErrorKind::Usage, "read the arguments", "HOME PID KIND ACTION [WORKERS]"));
    };
    let home = Home::at(home);
    let progress = Progress::new(Show::Plain, home.root());
    let access = access(pid, kind);
    let config = ClusterConfig {
        engine: EngineKind::Sandbox,
        kubernetes: "v1.37.2".to_owned(),
        node_image: "kindest/node:v1.37.2".to_owned(),
        workers: rest.first().and_then(|workers| workers.parse().ok()).unwrap_or(1),
        proxy_mode: ProxyModeChoice::Iptables,
        ip_family: IpFamilyChoice::Ipv4,
        flannel: Some(Flannel { image: "flannel:v0.28.4".to_owned(), backend: Backend::Vxlan }),
        cgroup_v1: true,
    };
    let request = Request {
        name: None,
        config,
        pool: None,
        fresh: action == "fresh",
        keep: action == "keep",
        pull_policy: "IfNotPresent".to_owned(),
        run: format!("example-{}", std::process::id()),
    };
    match action.as_str() {
        "status" => {
            for status in gc::status(&home)? {
                println!("{}", status.line());
            }
        }
        "gc" => {
            let engine = |kind| std::future::ready(Ok((kind == EngineKind::Sandbox).then(|| access.clone())));
            for line in gc::collect(&home, engine, true, &progress).await?.lines() {
                println!("{line}");
            }
        }
        _ => {
            let mut cluster = lease::acquire(&home, &access, request, &progress).await?;
            println!("reused: {}, pool: {}", cluster.reused, cluster.record.pool);
            println!("laptop: {}", cluster.laptop("testpod:latest").await?);
            cluster.export_logs(&home.root().join("logs")).await?;
            println!("deleted: {}", cluster.release().await?);
        }
    }
    Ok(())
}

fn access(pid: &str, kind: &str) -> EngineAccess {
    let enter = ["-t", pid, "-m", "-n", "-p", "-r", "env", "-u", "DOCKER_HOST", "HOME=/root"].map(str::to_owned);
    let mut access = EngineAccess::new(EngineKind::Sandbox, kind, move |mut command: Command| {
        let mut args = enter.to_vec();
        args.push("PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        args.push(command.program);
        args.append(&mut command.args);
        Command { program: "nsenter".to_owned(), args, ..command }
    });
    access.network_namespace = Some(PathBuf::from(format!("/proc/{pid}/ns/net")));
    access.root = Some(PathBuf::from(format!("/proc/{pid}/root")));
    access
}
