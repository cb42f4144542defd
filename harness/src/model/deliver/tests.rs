use std::net::IpAddr;

use crate::{
    model::{Expectation, Fact, Law, Method, Vantage, Way, balance, expect},
    state::{ProxyMode, ServicePort, State},
    wire::FailureClass,
};

/// The example with a second port of both a Service inside and a node port, for which the pods have two numbers.
fn several_ports() -> State {
    let mut state = State::example();
    for service in state.services.iter_mut().filter(|service| service.name.starts_with("nginx-")) {
        let node_port = service.ports.first().and_then(|port| port.node_port).map(|port| port + 1);
        if let Some(first) = service.ports.first_mut() {
            "web".clone_into(&mut first.name);
        }
        service.ports.push(ServicePort {
            name: "admin".to_owned(),
            protocol: "TCP".to_owned(),
            port: 9_090,
            node_port,
        });
    }
    for (number, endpoint) in state.endpoints.iter_mut().enumerate() {
        let admin = if number % 3 == 0 { 8_080 } else { 8_081 };
        endpoint.ports = [("web".to_owned(), 80), ("admin".to_owned(), admin)].into();
    }
    state
}

fn method(address: &str, port: u16) -> Method {
    let address: IpAddr = address.parse().unwrap();
    Method { id: "as-written".to_owned(), way: Way::Address { address, port } }
}

fn expected(state: &State, vantage: &str, address: &str, port: u16) -> Expectation {
    expect(state, &Vantage::find(state, vantage).unwrap(), &method(address, port)).unwrap()
}

fn not_connected(expectation: &Expectation) -> Vec<FailureClass> {
    let Some(Fact::DoesNotConnect(classes)) = expectation.facts.last() else { panic!("{expectation:?}") };
    classes.iter().copied().collect()
}

#[test]
fn each_port_leads_to_its_own_port_of_every_pod() {
    let state = several_ports();
    let testpod = Vantage::find(&state, "testpod").unwrap();
    let ports = |port| {
        let balance = balance(&state, &testpod, &method("10.96.10.1", port)).unwrap();
        assert_eq!(balance.law, Law::Random);
        let mut ports: Vec<u16> = balance.answering.iter().map(|answering| answering.port).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports(80), [80, 80, 80]);
    assert_eq!(ports(9_090), [8_080, 8_081, 8_081], "a name stands for each pod's own number");
}

#[test]
fn each_port_has_a_node_port_of_its_own() {
    let state = several_ports();
    let laptop = Vantage::find(&state, "laptop").unwrap();
    let first = balance(&state, &laptop, &method("172.18.0.3", 30_080)).unwrap();
    let second = balance(&state, &laptop, &method("172.18.0.3", 30_081)).unwrap();
    assert!(first.answering.iter().all(|answering| answering.port == 80), "{first:?}");
    assert!(second.answering.iter().all(|answering| answering.port > 8_000), "{second:?}");
    assert_eq!(first.support(), second.support());
}

#[test]
fn a_port_that_the_service_does_not_have_is_told_from_an_address_that_is_wrong() {
    let mut state = several_ports();
    let wrong = expected(&state, "testpod", "10.96.10.1", 81);
    assert_eq!((wrong.reachable, wrong.reason.kind()), (false, "no_such_port"));
    assert_eq!(
        wrong.why(),
        "nginx-clusterip-service has no port 81: its address is translated for its own ports only."
    );
    assert!(not_connected(&wrong).len() > 1, "what leaves the node untranslated fails in more than one way");
    state.proxy_mode = ProxyMode::Nftables;
    assert_eq!(not_connected(&expected(&state, "testpod", "10.96.10.1", 81)), [FailureClass::Refused]);
    let node = expected(&state, "laptop", "172.18.0.3", 30_099);
    assert_eq!((node.reason.kind(), not_connected(&node)), ("no_such_node_port", vec![FailureClass::Refused]));
    assert_eq!(expected(&state, "testpod", "10.96.99.99", 80).reason.kind(), "leads_elsewhere");
}
