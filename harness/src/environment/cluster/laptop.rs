//! The laptop: a container on the nodes' network that is no member of the cluster.

use super::{EngineAccess, record::Record};
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
        access.command(remove(&name)).run_async().await?;
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

/// Removes a container with its volumes; one that is not there is no error.
pub(super) fn remove(name: &str) -> Command {
    Command::new("docker").args(["rm", "--force", "--volumes", name])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::cluster::record::tests::record;

    #[test]
    fn the_laptop_s_commands_are_exactly_these() {
        let record = record("reachmap-0123abcd");
        let commands = [run(&record, "laptop:1"), remove(&name(&record.name))];
        let shown: Vec<String> = commands.iter().map(Command::display).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        docker run --detach --name reachmap-0123abcd-laptop --hostname laptop --network reachmap --label app.kubernetes.io/managed-by=reachmap --label reachmap.dev/cluster=reachmap-0123abcd --tmpfs /agent:exec,mode=1777 laptop:1 sleep infinity
        docker rm --force --volumes reachmap-0123abcd-laptop
        ");
    }
}
