//! The laptop: a container on the nodes' network that is no member of the cluster.

use super::{EngineAccess, containers, record::Record};
use crate::{
    Result,
    command::Command,
    kubernetes::{FIELD_MANAGER, MANAGED_BY},
};

/// The laptop's name beside the cluster called `cluster`.
pub(super) fn name(cluster: &str) -> String {
    format!("{cluster}-laptop")
}

/// Starts it from `image`, unless it runs from that image already.
pub(super) async fn ensure(access: &EngineAccess, record: &Record, image: &str) -> Result<()> {
    let name = name(&record.name);
    let format = "{{.State.Running}} {{.Config.Image}}";
    let inspect = Command::new("docker").args(["container", "inspect", "--format", format, &name]);
    let seen = super::output(access.command(inspect)).await?;
    if seen.code == Some(0) {
        if seen.text() == format!("true {image}") {
            return Ok(());
        }
        access.command(containers::remove_command(&name)).run_async().await?;
    }
    access.command(run(record, image)).run_async().await?;
    Ok(())
}

/// Runs the laptop: nothing but a place to ask from, with a directory for the probe agent.
fn run(record: &Record, image: &str) -> Command {
    Command::new("docker")
        .args(["run", "--detach", "--name", &name(&record.name), "--hostname", "laptop"])
        .args(["--network", &record.network.name])
        .args(["--label", &format!("{MANAGED_BY}={FIELD_MANAGER}")])
        .args(["--label", &format!("reachmap.dev/cluster={}", record.name)])
        .args(["--tmpfs", "/agent:exec,mode=1777", image, "sleep", "infinity"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::cluster::record::tests::record;

    #[test]
    fn the_laptop_s_command_is_exactly_this() {
        let record = record("reachmap-0123abcd");
        insta::assert_snapshot!(run(&record, "laptop:1").display(), @r"
        docker run --detach --name reachmap-0123abcd-laptop --hostname laptop --network reachmap --label app.kubernetes.io/managed-by=reachmap --label reachmap.dev/cluster=reachmap-0123abcd --tmpfs /agent:exec,mode=1777 laptop:1 sleep infinity
        ");
    }
}
