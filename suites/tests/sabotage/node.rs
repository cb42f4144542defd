//! Faults on a node. The node's own shell makes them and takes them back: when the test says so, and when the run is killed.

use std::{net::SocketAddr, time::Duration};

use reachmap::{
    Context as _, Error, ErrorKind, Result,
    environment::workloads::NAMESPACE,
    session::{NodeChange, Session},
    state::{ProxyMode, State},
};
use tokio::sync::Mutex;

/// No fault takes longer; the node takes it back after this, whatever happens.
const AT_MOST: Duration = Duration::from_secs(300);

/// A command on a node ends well within this.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Makes a node forget the TCP connections that were begun under a fault and never established. Whoever uses the same source
/// port again within two minutes would meet them, and be translated as they were.
const FORGET: &str = "for state in SYN_SENT SYN_RECV; do
  conntrack -D -p tcp --state $state >/dev/null 2>&1 || true # It fails where there is none to forget.
done";

/// Why nothing can be sabotaged in this cluster, if that is so: after every fault, nodes have to forget something.
pub(crate) fn no_node(session: &Session) -> Option<String> {
    let is_ours = session.handover().site("laptop").is_some();
    (!is_ours).then(|| {
        "what a fault leaves is cleared on the nodes, and only those of a cluster that we made are ours".to_owned()
    })
}

/// Why no fault can be made in kube-proxy's iptables rules here, if that is so.
pub(crate) fn no_iptables(session: &Session) -> Option<String> {
    let mode = session.state().proxy_mode;
    let other = (mode != ProxyMode::Iptables)
        .then(|| format!("the fault is made in kube-proxy's iptables rules, and its mode is {mode:?}").to_lowercase());
    no_node(session).or(other)
}

/// Something that is broken on a node as long as it is held.
pub(crate) struct NodeFault {
    session: &'static Session,
    node: String,
    make: String,
    undo: String,
    held: Mutex<Option<NodeChange>>,
}

impl NodeFault {
    fn new(session: &'static Session, id: &str, make: String, undo: &str) -> Result<Self> {
        let node = session.state().node_by_id(id)?.name.clone();
        Ok(Self { session, node, make, undo: format!("{undo}\n{FORGET}"), held: Mutex::default() })
    }

    /// Makes a node's kernel pass by kube-proxy's rules.
    ///
    /// The rules themselves would be written again at kube-proxy's next sync, at a moment of its choosing.
    pub(crate) fn without_service_rules(session: &'static Session, id: &str) -> Result<Self> {
        let rule = "-m comment --comment 'reachmap sabotage' -j ACCEPT";
        let of_each = |what: &str| format!("for chain in PREROUTING OUTPUT; do\n{what}\ndone");
        let make = of_each(&format!("iptables -w -t nat -I $chain {rule}"));
        let undo = of_each(&format!(
            "while iptables -w -t nat -C $chain {rule} 2>/dev/null; do iptables -w -t nat -D $chain {rule}; done"
        ));
        Self::new(session, id, make, &undo)
    }

    /// Gives a node an address that is somebody else's.
    pub(crate) fn with_address(session: &'static Session, id: &str, address: &str) -> Result<Self> {
        let make = format!("ip address add {address}/32 dev eth0");
        let undo = format!(
            "if ip -o address show to {address}/32 | grep -q .; then ip address delete {address}/32 dev eth0; fi"
        );
        Self::new(session, id, make, &undo)
    }

    pub(crate) async fn make(&self) -> Result<()> {
        let change = self.session.change_node(&self.node, &self.make, &self.undo, AT_MOST).await?;
        *self.held.lock().await = Some(change);
        Ok(())
    }

    /// Takes it back, if it was made; an error if it has not lasted until now.
    pub(crate) async fn undo(&self) -> Result<()> {
        match self.held.lock().await.take() {
            Some(change) => change.undo().await,
            None => Ok(()),
        }
    }
}

/// Keeps a chain as it was, and changes it.
const SPOIL: &str = r#"rules() { iptables -w -t nat -S "$chain"; }
before=$(rules)
iptables -w -t nat $action
after=$(rules)
[ "$before" != "$after" ]"#;

/// Puts the chain back at once and as a whole, unless kube-proxy has written it anew meanwhile, which is told.
const MEND: &str = r#"if [ -n "$after" ]; then
  [ "$(rules)" = "$after" ] || { echo "somebody else has written $chain meanwhile: $(rules)" >&2; exit 1; }
  printf '*nat\n%s\nCOMMIT\n' "$(echo "$before" | sed 's/^-N \(.*\)/:\1 - [0:0]/')" | iptables-restore -w --noflush
  [ "$(rules)" = "$before" ] || { echo "$chain is not as it was: $(rules)" >&2; exit 1; }
fi"#;

/// A rule of kube-proxy's on a node, and its place in its chain.
pub(crate) struct Rule {
    session: &'static Session,
    id: &'static str,
    chain: String,
    number: usize,
    /// Its specification, as `iptables -S` prints it, which is as a shell reads it.
    spec: String,
}

impl Rule {
    /// The first rule of the Service's own chain, or of that for traffic from outside, for which `is_it` holds.
    pub(crate) async fn find(
        session: &'static Session,
        id: &'static str,
        (prefix, service): (&str, &str),
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let said = on_node(session, id, &["iptables", "-w", "-t", "nat", "-S"]).await?;
        let comment = format!("{NAMESPACE}/{service}");
        let of_service = |line: &&str| line.starts_with(&format!("-A {prefix}")) && line.contains(&comment);
        let missing = || Error::new(ErrorKind::Environment, format!("find a rule of {service}"), "there is none");
        let chain = said.lines().find(of_service).and_then(|line| line.split(' ').nth(1)).ok_or_else(missing)?;
        let rule = format!("-A {chain} ");
        let mut in_chain = said.lines().filter_map(|line| line.strip_prefix(&rule)).enumerate();
        let (index, spec) = in_chain.find(|(_, spec)| is_it(spec)).ok_or_else(missing)?;
        Ok(Self { session, id, chain: chain.to_owned(), number: index + 1, spec: spec.to_owned() })
    }

    /// The rule is another one.
    pub(crate) fn replaced(&self, from: &str, to: &str) -> Result<NodeFault> {
        self.fault(&format!("-R {} {} {}", self.chain, self.number, self.spec.replacen(from, to, 1)))
    }

    /// The rule is not there.
    pub(crate) fn deleted(&self) -> Result<NodeFault> {
        self.fault(&format!("-D {} {}", self.chain, self.number))
    }

    fn fault(&self, action: &str) -> Result<NodeFault> {
        let make = format!("chain={}\n{}", self.chain, SPOIL.replace("$action", action));
        NodeFault::new(self.session, self.id, make, MEND)
    }

    /// The pod that the rule leads to, by the address in its comment: `… -> 10.244.1.3:80`.
    pub(crate) fn pod(&self, state: &State) -> Result<String> {
        let address = self.spec.split("-> ").nth(1).and_then(|rest| rest.split('"').next()?.parse::<SocketAddr>().ok());
        let pod = state.pods.iter().find(|pod| address.is_some_and(|address| pod.addresses.contains(&address.ip())));
        pod.map(|pod| pod.name.clone()).ok_or_else(|| {
            Error::new(ErrorKind::Environment, format!("find the pod of the rule {}", self.spec), "there is none")
        })
    }
}

/// Runs a command on a node, and returns what it prints.
async fn on_node(session: &Session, id: &str, argv: &[&str]) -> Result<String> {
    let node = &session.state().node_by_id(id)?.name;
    let output = session.run_on_node(node, argv, COMMAND_LIMIT).await?;
    if output.code != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(ErrorKind::Environment, format!("run {} on {node}", argv.join(" ")), said));
    }
    String::from_utf8(output.stdout).tried(ErrorKind::Environment, || format!("read what {} says", argv.join(" ")))
}

/// Makes every node forget what was begun under a fault and never established.
pub(crate) async fn forget_attempts(session: &Session) -> Result<()> {
    for node in &session.state().nodes {
        session.run_on_node(&node.name, &["sh", "-c", FORGET], COMMAND_LIMIT).await?;
    }
    Ok(())
}
