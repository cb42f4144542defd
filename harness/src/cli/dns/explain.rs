//! `dns explain`: a name's way through a resolver and CoreDNS.

use std::{fs, net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    Context as _, ErrorKind, Result,
    cli::output::OutputArguments,
    model::dns::{Corefile, ResolvConf, Resolver, corefile::KUBEADM},
    report::dns::{Lookup, walk},
    state::State,
};

/// The address that kubeadm gives the cluster's DNS.
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 10));

#[derive(Debug, Args)]
pub(in crate::cli) struct DnsArguments {
    #[command(subcommand)]
    command: DnsCommand,
}

#[derive(Debug, Subcommand)]
enum DnsCommand {
    /// Print every question of a lookup, who answers it and why, and what the program sees.
    #[command(after_help = crate::cli::examples::DNS_EXPLAIN)]
    Explain(ExplainArguments),
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// The name, with or without trailing dot.
    name: String,
    /// Who looks it up: glibc, musl, go, hickory, nslookup, dig or dig-search.
    #[arg(long, value_parser = Resolver::find, default_value = "glibc")]
    resolver: Resolver,
    /// The Corefile (default: kubeadm's).
    #[arg(long, value_name = "FILE")]
    corefile: Option<PathBuf>,
    /// The pod's resolv.conf.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["namespace", "ndots"])]
    resolv_conf: Option<PathBuf>,
    /// The pod's namespace, if there is no resolv.conf.
    #[arg(long, value_name = "NAMESPACE", default_value = "service-type-test")]
    namespace: String,
    /// The pod's ndots, if there is no resolv.conf.
    #[arg(long, default_value_t = 5)]
    ndots: usize,
    /// Which Services there are.
    #[arg(long, value_enum, default_value_t = Services::Example)]
    services: Services,
    #[command(flatten)]
    output: OutputArguments,
}

/// Which Services the cluster has that nobody asks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Services {
    /// The tutorial's, with made-up addresses.
    Example,
    /// None.
    None,
}

pub(in crate::cli) fn run(arguments: &DnsArguments) -> Result<u8> {
    let DnsCommand::Explain(arguments) = &arguments.command;
    let read = |path: &PathBuf| fs::read_to_string(path).tried(ErrorKind::Usage, || format!("read {}", path.display()));
    let (corefile, from) = match &arguments.corefile {
        Some(path) => (read(path)?, path.display().to_string()),
        None => (KUBEADM.to_owned(), "kubeadm's".to_owned()),
    };
    let corefile: Corefile = corefile.parse()?;
    corefile.check(None)?;
    let conf = match &arguments.resolv_conf {
        Some(path) => ResolvConf::parse(&read(path)?),
        None => {
            ResolvConf { ndots: arguments.ndots, ..ResolvConf::of_pod(&arguments.namespace, "cluster.local", SERVER) }
        }
    };
    let mut state = State::example();
    let services = match arguments.services {
        Services::Example => "the tutorial's, with made-up addresses",
        Services::None => {
            state.services.clear();
            state.endpoints.clear();
            "none"
        }
    };
    if !state.has_namespace(&arguments.namespace) {
        state.namespaces.push(arguments.namespace.clone());
    }
    let lookup = Lookup { name: &arguments.name, conf: &conf, resolver: arguments.resolver };
    let walk = walk(&lookup, &corefile, &state, &format!("Corefile: {from}. Services: {services}."));
    arguments.output.print(&walk, || walk.to_string())?;
    Ok(0)
}
