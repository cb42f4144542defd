//! The nodes' network, and the addresses in it that MetalLB may give.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{EngineAccess, networks};
use crate::{
    Context as _, Error, ErrorCode, ErrorKind, Result,
    command::Command,
    home::Home,
    kubernetes::{FIELD_MANAGER, MANAGED_BY},
};

/// A network of the engine that nodes and laptops stand on: one per engine and IP family, shared by our clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The part of it that the engine gives to containers; the rest is for load balancers.
    pub containers: Ipv4Net,
    /// Its IPv6 addresses, if it has any.
    pub subnet_v6: Option<Ipv6Net>,
}

impl Network {
    /// Our network on `subnet`, with IPv6 if `dual`.
    pub fn on(subnet: Ipv4Net, dual: bool) -> Self {
        let half = subnet.prefix_len() + 1;
        let [a, b, ..] = subnet.addr().octets();
        Self {
            name: if dual { "reachmap-dual" } else { "reachmap" }.to_owned(),
            subnet,
            containers: Ipv4Net::new(subnet.network(), half).unwrap_or(subnet),
            subnet_v6: dual
                .then(|| Ipv6Net::new([0xfd00, 0, a.into(), b.into(), 0, 0, 0, 0].into(), 64))
                .and_then(Result::ok),
        }
    }

    /// Makes it.
    pub fn create(&self) -> Command {
        let mut command = Command::new("docker").args(["network", "create", "--driver", "bridge"]).args([
            "--subnet",
            &self.subnet.to_string(),
            "--ip-range",
            &self.containers.to_string(),
        ]);
        if let Some(v6) = self.subnet_v6 {
            command = command.args(["--ipv6", "--subnet", &v6.to_string()]);
        }
        command.args(["--label", &format!("{MANAGED_BY}={FIELD_MANAGER}"), &self.name])
    }

    /// Removes it, which the engine refuses as long as a container stands on it.
    pub fn remove(&self) -> Command {
        Command::new("docker").args(["network", "rm", &self.name])
    }

    /// The default pool of the cluster that is number `slot` on this network: eleven addresses near its end,
    /// `x.y.255.200-x.y.255.210` for the first, as far from each other as from the containers.
    pub fn default_pool(&self, slot: u8) -> Option<Pool> {
        let last_block = u32::from(self.subnet.broadcast()) & !0xff;
        let block = last_block.checked_sub(u32::from(slot) << 8)?;
        let pool = Pool { first: Ipv4Addr::from(block + 200), last: Ipv4Addr::from(block + 210) };
        self.check(pool).is_ok().then_some(pool)
    }

    /// Checks that a load balancer may give the pool's addresses.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it leaves the network, or takes addresses that the engine gives to containers.
    pub fn check(&self, pool: Pool) -> Result<()> {
        let Some(example) = self.example() else {
            return Ok(());
        };
        let wrong = |cause: String| {
            Error::new(ErrorKind::Usage, format!("use the address pool {pool}"), cause)
                .with_code(ErrorCode::Pool)
                .hint(format!("Choose one such as {example}."))
        };
        if !self.subnet.contains(&pool.first) || !self.subnet.contains(&pool.last) {
            return Err(wrong(format!("it is not inside the nodes' network {}", self.subnet)));
        }
        if pool.last == self.subnet.broadcast() {
            return Err(wrong(format!("{} is the network's broadcast address", pool.last)));
        }
        if pool.first <= self.containers.broadcast() && pool.last >= self.containers.network() {
            return Err(wrong(format!("the engine gives addresses of {} to containers", self.containers)));
        }
        Ok(())
    }

    fn example(&self) -> Option<Pool> {
        let block = u32::from(self.subnet.broadcast()) & !0xff;
        Some(Pool { first: Ipv4Addr::from(block.checked_add(200)?), last: Ipv4Addr::from(block.checked_add(210)?) })
    }
}

/// Addresses from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pool {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Pool {
    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl FromStr for Pool {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |cause: String| {
            Error::new(ErrorKind::Usage, format!("read the address pool `{text}`"), cause)
                .with_code(ErrorCode::Pool)
                .hint("Pools look like 172.18.255.200-172.18.255.210.")
        };
        let (first, last) = text.split_once('-').ok_or_else(|| wrong("there is no `-` in it".to_owned()))?;
        let parse = |part: &str| {
            let part = part.trim();
            part.parse::<Ipv4Addr>().map_err(|_| wrong(format!("`{part}` is no IPv4 address")))
        };
        let pool = Self { first: parse(first)?, last: parse(last)? };
        if pool.first > pool.last {
            return Err(wrong("its first address comes after its last".to_owned()));
        }
        Ok(pool)
    }
}

impl TryFrom<String> for Pool {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> Self {
        pool.to_string()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A network that the engine has, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// All its address ranges.
    pub subnets: Vec<IpNet>,
    /// The range for containers, if it is narrower.
    pub containers: Option<Ipv4Net>,
    /// Whether it carries our label.
    pub ours: bool,
    /// How many containers stand on it.
    pub members: usize,
}

/// Finds our network, or makes it on a subnet that no other network of the engine and no route uses. That it may be there is
/// written down in `home` first.
///
/// # Errors
/// [`ErrorKind::Environment`] if a network of our name is somebody else's, or no subnet is free.
pub async fn ensure(home: &Home, access: &EngineAccess, dual: bool) -> Result<Network> {
    let found = list(access).await?;
    let name = Network::on(Ipv4Net::default(), dual).name;
    if let Some(network) = found.iter().find(|network| network.name == name) {
        return reuse(network, dual);
    }
    let mut used: Vec<IpNet> = found.into_iter().flat_map(|network| network.subnets).collect();
    if access.network_namespace.is_none() {
        used.extend(std::fs::read_to_string("/proc/net/route").map(|text| routes(&text)).unwrap_or_default());
    }
    let subnet = free_subnet(&used).ok_or_else(|| {
        Error::new(ErrorKind::Environment, "find a subnet for the nodes' network", "every candidate is in use")
            .with_code(ErrorCode::NoSubnet)
            .hint("Remove networks that are no longer needed with `docker network prune`.")
    })?;
    let network = Network::on(subnet, dual);
    networks::note(home, access.kind, &network.name)?;
    access.command(network.create()).run_async().await?;
    Ok(network)
}

fn reuse(found: &Found, dual: bool) -> Result<Network> {
    let wrong = |cause: &str| {
        Error::new(ErrorKind::Environment, format!("use the network {}", found.name), cause)
            .hint(format!("Remove it with `docker network rm {}` if nothing needs it.", found.name))
    };
    if !found.ours {
        return Err(wrong("a network of that name exists that Reachmap did not make"));
    }
    let subnet = found.subnets.iter().find_map(|subnet| match subnet {
        IpNet::V4(subnet) => Some(*subnet),
        IpNet::V6(_) => None,
    });
    let mut network = Network::on(subnet.ok_or_else(|| wrong("it has no IPv4 subnet"))?, dual);
    network.containers = found.containers.ok_or_else(|| wrong("it has no range of its own for containers"))?;
    Ok(network)
}

/// Every network of the engine.
///
/// # Errors
/// [`ErrorKind::Environment`] if the engine does not answer.
pub async fn list(access: &EngineAccess) -> Result<Vec<Found>> {
    let ids = access.command(Command::new("docker").args(["network", "ls", "--quiet"])).run_async().await?.text();
    let inspect = Command::new("docker").args(["network", "inspect"]).args(ids.split_whitespace());
    parse(&access.command(inspect).run_async().await?.text())
}

/// Reads what `docker network inspect` prints.
fn parse(text: &str) -> Result<Vec<Found>> {
    use serde_json::Value;
    let networks: Vec<Value> =
        serde_json::from_str(text).tried(ErrorKind::Environment, || "read the engine's list of networks")?;
    let found = networks.iter().map(|network| {
        let configs = network["IPAM"]["Config"].as_array().into_iter().flatten();
        let range = |key: &'static str| configs.clone().filter_map(move |config| config[key].as_str());
        Found {
            name: network["Name"].as_str().unwrap_or_default().to_owned(),
            subnets: range("Subnet").filter_map(|subnet| subnet.parse().ok()).collect(),
            containers: range("IPRange").find_map(|range| range.parse().ok()),
            ours: network["Labels"][MANAGED_BY] == FIELD_MANAGER,
            members: network["Containers"].as_object().map_or(0, serde_json::Map::len),
        }
    });
    Ok(found.collect())
}

/// The destinations in `/proc/net/route`, the default route left out.
fn routes(text: &str) -> Vec<IpNet> {
    let lines = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Addresses stand there as the hexadecimal of a number in the machine's byte order.
    let address = |field: &str| u32::from_str_radix(field, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    lines
        .filter_map(|fields| {
            let (destination, mask) = (address(fields.get(1)?)?, address(fields.get(7)?)?);
            Ipv4Net::with_netmask(destination, mask).ok()
        })
        .filter(|route| route.prefix_len() > 0)
        .map(IpNet::V4)
        .collect()
}

/// Checks that the pool would do on one of the subnets that our network may be on: before there is a network.
///
/// # Errors
/// As [`Network::check`].
pub fn check_possible(pool: Pool) -> Result<()> {
    match candidates().find(|subnet| subnet.contains(&pool.first)) {
        Some(subnet) => Network::on(subnet, false).check(pool),
        None => Err(Error::new(
            ErrorKind::Usage,
            format!("use the address pool {pool}"),
            "it is outside every network that nodes may stand on: 172.18.0.0/16 to 172.31.0.0/16, and the /20s of 192.168.0.0/16",
        )
        .with_code(ErrorCode::Pool)
        .hint("Choose one such as 172.18.255.200-172.18.255.210; `cargo xtask status` shows a kept cluster's.")),
    }
}

/// The subnets that our network may be on, in the order of preference.
fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let wide = (18..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let narrow = (0..=15).map(|block| (Ipv4Addr::new(192, 168, block * 16, 0), 20));
    wide.chain(narrow).filter_map(|(address, length)| Ipv4Net::new(address, length).ok())
}

/// The first private subnet that overlaps nothing in use: 172.18.0.0/16 on an engine that has no other network.
fn free_subnet(used: &[IpNet]) -> Option<Ipv4Net> {
    candidates().find(|candidate| {
        let overlaps = |other: &IpNet| match other {
            IpNet::V4(other) => other.contains(candidate) || candidate.contains(other),
            IpNet::V6(_) => false,
        };
        !used.iter().any(overlaps)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn network() -> Network {
        Network::on("172.18.0.0/16".parse().unwrap(), false)
    }

    #[test]
    fn the_commands_are_exactly_these() {
        let dual = Network::on("172.19.0.0/16".parse().unwrap(), true);
        let commands = [network().create(), dual.create(), network().remove()];
        let shown: Vec<String> = commands.iter().map(Command::display).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        docker network create --driver bridge --subnet 172.18.0.0/16 --ip-range 172.18.0.0/17 --label app.kubernetes.io/managed-by=reachmap reachmap
        docker network create --driver bridge --subnet 172.19.0.0/16 --ip-range 172.19.0.0/17 --ipv6 --subnet fd00:0:ac:13::/64 --label app.kubernetes.io/managed-by=reachmap reachmap-dual
        docker network rm reachmap
        ");
    }

    #[test]
    fn the_default_pool_is_the_tutorial_s_eleven_addresses_and_each_cluster_has_its_own() {
        let pool = |slot| network().default_pool(slot).unwrap().to_string();
        assert_eq!(pool(0), "172.18.255.200-172.18.255.210");
        assert_eq!(pool(1), "172.18.254.200-172.18.254.210");
        assert_eq!(network().default_pool(200), None);
        let small = Network::on("192.168.16.0/20".parse().unwrap(), false);
        assert_eq!(small.default_pool(0).unwrap().to_string(), "192.168.31.200-192.168.31.210");
    }

    #[rstest]
    #[case("172.18.255.200-172.18.255.210", None)]
    #[case("10.0.0.1-10.0.0.9", Some("it is not inside the nodes' network 172.18.0.0/16"))]
    #[case("172.18.127.250-172.18.128.9", Some("the engine gives addresses of 172.18.0.0/17 to containers"))]
    #[case("172.18.255.200-172.18.255.255", Some("172.18.255.255 is the network's broadcast address"))]
    #[case("172.18.255.210-172.18.255.200", Some("its first address comes after its last"))]
    #[case("172.18.255.200", Some("there is no `-` in it"))]
    #[case("172.18.255.200-300", Some("`300` is no IPv4 address"))]
    fn a_pool_that_cannot_work_is_refused(#[case] text: &str, #[case] expected: Option<&str>) {
        let result = text.parse().and_then(|pool| network().check(pool));
        match expected {
            None => result.unwrap(),
            Some(cause) => {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(error.to_string().ends_with(cause), "{error}");
            }
        }
    }

    const INSPECTED: &str = r#"[
        {"Name": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}, "Containers": {}, "Labels": {}},
        {"Name": "host", "IPAM": {"Config": null}, "Containers": {}, "Labels": null},
        {"Name": "reachmap", "IPAM": {"Config": [{"Subnet": "172.20.0.0/16", "IPRange": "172.20.0.0/17"}]},
         "Containers": {"0": {}, "1": {}}, "Labels": {"app.kubernetes.io/managed-by": "reachmap"}}]"#;

    #[test]
    fn our_network_is_found_again_as_it_is() {
        let found = parse(INSPECTED).unwrap();
        assert_eq!(found[2].members, 2);
        let network = reuse(&found[2], false).unwrap();
        assert_eq!(network, Network::on("172.20.0.0/16".parse().unwrap(), false));
        assert!(reuse(&found[0], false).unwrap_err().to_string().contains("Reachmap did not make"));
    }

    #[test]
    fn a_subnet_in_use_is_passed_over() {
        let used: Vec<IpNet> =
            ["172.18.5.0/24", "172.16.0.0/15", "172.19.0.0/16"].map(|net| net.parse().unwrap()).into();
        assert_eq!(free_subnet(&used), Some("172.20.0.0/16".parse().unwrap()));
        assert_eq!(free_subnet(&["172.16.0.0/12".parse().unwrap()]), Some("192.168.0.0/20".parse().unwrap()));
        assert_eq!(free_subnet(&["0.0.0.0/0".parse().unwrap()]), None);
    }

    #[test]
    fn routes_are_read_without_the_default_one() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(text), ["172.18.0.0/16".parse().unwrap()]);
    }
}
