//! What the nodes have to know of a registry before they can pull from it.

use super::{EngineAccess, kind::Kind, record::Record};
use crate::{Result, command::Command};

/// Lets the nodes pull from the registry `host` without TLS, which containerd refuses otherwise.
///
/// # Errors
/// [`ErrorKind::Environment`](crate::ErrorKind::Environment) with what the engine said.
pub async fn allow_plain(access: &EngineAccess, record: &Record, host: &str) -> Result<()> {
    let kind = Kind { program: &access.kind_program, name: &record.name };
    for node in kind.node_names(record.config.workers) {
        access.command(plain(&node, host)).run_async().await?;
    }
    Ok(())
}

/// Writes down on `node` that the registry `host` speaks HTTP without TLS. containerd reads it at each pull; kind's node
/// images look there (<https://kind.sigs.k8s.io/docs/user/local-registry/>).
fn plain(node: &str, host: &str) -> Command {
    let hosts =
        format!("server = \"http://{host}\"\n\n[host.\"http://{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let script = r#"mkdir -p "/etc/containerd/certs.d/$1" && cat >"/etc/containerd/certs.d/$1/hosts.toml""#;
    Command::new("docker").args(["exec", "--interactive", node, "sh", "-ec", script, "sh", host]).stdin(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_without_tls_is_written_down_where_containerd_looks() {
        let command = plain("t-worker", "192.0.2.1:5000");
        insta::assert_snapshot!(command.display(), @r#"docker exec --interactive t-worker sh -ec 'mkdir -p "/etc/containerd/certs.d/$1" && cat >"/etc/containerd/certs.d/$1/hosts.toml"' sh 192.0.2.1:5000"#);
        insta::assert_snapshot!(String::from_utf8(command.stdin.unwrap()).unwrap(), @r#"
        server = "http://192.0.2.1:5000"

        [host."http://192.0.2.1:5000"]
          capabilities = ["pull", "resolve"]
        "#);
    }
}
