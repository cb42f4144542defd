//! What can be refused at once: before anything is built, started or changed.

use super::{
    cluster::{
        EngineKind,
        existing::{self, Allowed},
        lease,
        network::{self, Pool},
        record::{Record, refuse_shared},
    },
    engine,
    images::{self, origin::Origins},
};
use crate::{
    Error, ErrorCode, ErrorKind, Result,
    home::Home,
    plan::{CniChoice, EngineChoice, EnvironmentOptions, ImagesChoice},
    session::run::blocking,
};

/// Refuses what cannot work here: a build of half an hour is no way to say that an option is wrong.
///
/// # Errors
/// [`ErrorKind::Usage`] for options that are wrong or do not go together, [`ErrorKind::Missing`] for what this
/// machine lacks and nobody may install, [`ErrorKind::Storage`] without room for what is to be built, and those of
/// [`existing::connect`] for a cluster that the user named.
pub async fn check(options: &EnvironmentOptions, home: &Home) -> Result<()> {
    let pool = options.pool.as_deref().map(str::parse).transpose()?;
    if let Some(kubeconfig) = &options.kubeconfig {
        Origins::of(options)?;
        if options.install_metallb {
            let home = home.clone();
            blocking(move || images::check_manifest(&home)).await?;
        }
        existing::connect(kubeconfig, options.context.as_deref(), Allowed::default()).await?;
        return Ok(());
    }
    let (options, home) = (options.clone(), home.clone());
    blocking(move || check_own(&options, pool, &home)).await
}

/// A cluster that is still to be made.
fn check_own(options: &EnvironmentOptions, pool: Option<Pool>, home: &Home) -> Result<()> {
    if let Some(name) = &options.name {
        lease::check_name(name)?;
    }
    let origins = Origins::of(options)?;
    origins.versions()?.kubernetes(options.k8s.as_deref())?;
    if let Some(pool) = pool {
        network::check_possible(pool)?;
    }
    let sandbox = engine::Facts::learn().decide(options.engine)?.0 == EngineChoice::Sandbox;
    if let Some(pool) = pool {
        let kind = if sandbox { EngineKind::Sandbox } else { EngineKind::Docker };
        let all = Record::all(home)?.readable;
        // Clusters on one engine stand on one network.
        let beside = |record: &&Record| record.config.engine == kind && record.config.ip_family == options.ip_family;
        if let Some(record) = all.iter().find(beside) {
            record.network.check(pool)?;
            if let Some(name) = &options.name {
                refuse_shared(pool, name, &record.network, kind, &all)?;
            }
        }
    }
    let source = images::source_for(options.images, sandbox);
    check_cni(options.cni, source == ImagesChoice::Packages)?;
    images::check(source, options.k8s.as_deref(), &origins, sandbox, home)
}

/// Whether the source of images has that network plugin.
pub(super) fn check_cni(choice: CniChoice, packages: bool) -> Result<()> {
    match (choice, packages) {
        (CniChoice::Kindnet, true) => {
            Err(Error::new(ErrorKind::Usage, "use kindnet", "it is not to be had from packages")
                .with_code(ErrorCode::Source)
                .hint("kindnet is in kind's own node images: choose --images registry, or --cni flannel."))
        }
        (CniChoice::Flannel | CniChoice::FlannelHostGw, false) => {
            Err(Error::new(ErrorKind::Usage, "use Flannel", "registry images bring kindnet")
                .with_code(ErrorCode::Source)
                .hint("Choose --images packages, or --cni kindnet."))
        }
        _ => Ok(()),
    }
}
