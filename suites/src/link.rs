//! A node's link: how the node itself takes it down, and up again as it was.

use std::net::IpAddr;

use reachmap::{Error, ErrorKind, Result, state::State};

/// What is to be run to take the link with `$address` down, and to put it up again with the routes and addresses that it has.
const LINK: &str = r#"link=$(ip -o -4 address show to "$address" | awk '{ print $2 }')
test -n "$link"
keep=/proc/sys/net/ipv6/conf/$link/keep_addr_on_down
kept=$(cat "$keep" 2>/dev/null || true)
[ -z "$kept" ] || echo 1 >"$keep"
down="ip link set $link down"
up="ip link set $link up
$(for family in -4 -6; do
  ip $family route show dev "$link" | sed "s/^/ip $family route replace /; s/\$/ dev $link/"
done)
$([ -z "$kept" ] || echo "echo $kept >$keep")""#;

/// The beginning of a script for a node's shell: after it, `$down` takes the node's link to the other nodes down, and `$up` puts
/// it up again as it was.
///
/// # Errors
/// [`ErrorKind::Environment`] if the node has no IPv4 address in this state.
pub fn of(state: &State, node: &str) -> Result<String> {
    let addresses = state.nodes.iter().find(|one| one.name == node).map(|one| &one.addresses);
    let address = addresses.and_then(|addresses| addresses.iter().find(|address| IpAddr::is_ipv4(address)));
    let tried = || format!("find the link of {node}");
    let address = address.ok_or_else(|| Error::new(ErrorKind::Environment, tried(), "it has no IPv4 address"))?;
    Ok(format!("address={address}\n{LINK}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_that_of_the_nodes_own_address() {
        let state = State::example();
        let script = of(&state, "reachmap-worker").unwrap();
        assert!(script.starts_with(&format!("address={}\n", state.node("reachmap-worker").unwrap().addresses[0])));
        assert!(of(&state, "reachmap-worker9").is_err());
    }
}
