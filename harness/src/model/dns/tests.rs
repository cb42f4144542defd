//! The Corefile: round trip, errors, edits, answers.

use proptest::prelude::*;
use rstest::rstest;

use super::{Corefile, HostsEntry, Question, QuestionKind, corefile::KUBEADM};
use crate::state::{ServiceType, State};

fn entry(address: &str, names: &[&str]) -> HostsEntry {
    HostsEntry { address: address.parse().unwrap(), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

/// What is said to the question for A.
fn answer(corefile: &str, name: &str) -> String {
    ask(corefile, name, QuestionKind::A)
}

fn ask(corefile: &str, name: &str, kind: QuestionKind) -> String {
    corefile.parse::<Corefile>().unwrap().answer(&Question::new(name, kind), &State::example()).to_string()
}

#[test]
fn blocks_plugins_and_lines_are_found() {
    let corefile: Corefile = "# first\n(snip) {\n  log\n}\n.:53, example.org {\n  errors \"a b\" # why\n  health {\n    lameduck 5s\n  }\n}\nx.test:5353 {\n whoami\n}"
        .parse()
        .unwrap();
    let blocks: Vec<_> = corefile.blocks().collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].keys, [".:53", "example.org"]);
    assert_eq!(blocks[0].zones(), [".", "example.org."]);
    assert_eq!(blocks[0].plugins[0].arguments, ["a b"]);
    assert_eq!(
        (blocks[0].plugins[1].line, &blocks[0].plugins[1].body),
        (7, &vec![vec!["lameduck".to_owned(), "5s".to_owned()]])
    );
    assert!(blocks[1].zones().is_empty(), "another port");
}

#[rstest]
#[case::end_in_block(".:53 {\n  errors\n", "line 2: the file ends inside the block that starts on line 1")]
#[case::end_in_plugin(".:53 {\n  cache {\n", "line 2: the file ends inside `cache`, which starts on line 2")]
#[case::comma(".:53, {\n}\n", "line 1: a zone must follow the comma, not `{`")]
#[case::close(".:53 {\n}\n}\n", "line 3: `}` where a zone must stand")]
#[case::close_in_plugin(".:53 {\n  errors }\n}\n", "line 2: `}` without a matching `{`")]
#[case::twice(".:53 {\n  hosts\n  hosts\n}\n", "line 3: `hosts` can only be used once in a server block")]
#[case::entry_after_fallthrough(
    ".:53 {\n  hosts {\n    fallthrough\n    10.0.0.1 a.test\n  }\n}\n",
    "line 2: `hosts` has `10.0.0.1` after `fallthrough`, where entries are refused"
)]
#[case::option(".:53 {\n  kubernetes {\n    podz insecure\n  }\n}\n", "line 2: `kubernetes` has no option `podz`")]
fn what_coredns_rejects_is_an_error_with_its_line(#[case] text: &str, #[case] cause: &str) {
    let error = text.parse::<Corefile>().unwrap_err();
    assert_eq!(error.to_string(), format!("failed to parse the Corefile: {cause}"));
}

#[test]
fn hosts_goes_before_kubernetes_and_nothing_else_changes() {
    let corefile: Corefile = KUBEADM.parse().unwrap();
    let edited = corefile
        .with_hosts(
            &[entry("10.96.10.1", &["my-nginx.external.local", "my-nginx.external.local.app.svc.cluster.local"])],
            true,
        )
        .unwrap();
    let block = "    hosts {\n       10.96.10.1 my-nginx.external.local my-nginx.external.local.app.svc.cluster.local\n       fallthrough\n    }\n";
    let at = KUBEADM.find("    kubernetes").unwrap();
    assert_eq!(edited.to_string(), format!("{}{block}{}", &KUBEADM[..at], &KUBEADM[at..]));
    assert_eq!(
        edited
            .with_hosts(
                &[entry("10.96.10.1", &["my-nginx.external.local", "my-nginx.external.local.app.svc.cluster.local"])],
                true
            )
            .unwrap(),
        edited
    );
}

#[test]
fn an_old_hosts_block_keeps_what_is_not_replaced() {
    let old = ".:53 {\n    hosts {\n       # the printer\n       10.0.0.9 printer.test my-nginx.external.local # upstairs\n       ttl 60\n       fallthrough\n    }\n    kubernetes cluster.local\n}\n";
    let edited =
        old.parse::<Corefile>().unwrap().with_hosts(&[entry("10.0.0.1", &["my-nginx.external.local"])], false).unwrap();
    insta::assert_snapshot!(edited, @r"
    .:53 {
        hosts {
           10.0.0.1 my-nginx.external.local
           # the printer
           10.0.0.9 printer.test
           ttl 60
        }
        kubernetes cluster.local
    }
    ");
}

#[rstest]
#[case::no_kubernetes(".:53 {\n    errors\n}\n")]
#[case::empty(".:53 {\n}\n")]
#[case::one_line(". {\n errors }".replace(" }", "\n}"))]
#[case::no_braces(".:53\nerrors\n")]
fn hosts_can_be_added_to_any_root_block(#[case] text: impl AsRef<str>) {
    let corefile: Corefile = text.as_ref().parse().unwrap();
    let edited = corefile.with_hosts(&[entry("10.0.0.1", &["a.test"])], true).unwrap();
    assert_eq!(answer(&edited.to_string(), "a.test"), "NOERROR 10.0.0.1, by hosts", "{edited}");
}

#[test]
fn hosts_with_a_file_of_its_own_is_not_touched() {
    let corefile: Corefile = ".:53 {\n  hosts /etc/more.hosts\n}\n".parse().unwrap();
    assert!(corefile.with_hosts(&[entry("10.0.0.1", &["a.test"])], true).is_err());
    let elsewhere: Corefile = "example.org {\n}\n".parse().unwrap();
    assert!(elsewhere.with_hosts(&[entry("10.0.0.1", &["a.test"])], true).is_err());
}

#[test]
fn a_server_block_is_appended_once() {
    let corefile: Corefile = KUBEADM.parse().unwrap();
    let block = "sentinel.test:53 {\n    hosts {\n       10.0.0.7 a.sentinel.test\n    }\n}\n";
    let edited = corefile.with_server_block(block).unwrap();
    assert_eq!(edited.to_string(), format!("{KUBEADM}{block}"));
    assert!(edited.with_server_block(block).is_err());
    assert_eq!(answer(&edited.to_string(), "b.sentinel.test"), "SERVFAIL, by hosts");
}

#[rstest]
#[case::service("nginx-clusterip-service.service-type-test.svc.cluster.local", "10.96.10.1")]
#[case::case_does_not_matter("NGINX-clusterip-service.service-type-test.svc.cluster.local.", "10.96.10.1")]
#[case::endpoint("10-244-1-4.nginx-headless-service.service-type-test.svc.cluster.local", "10.244.1.4")]
#[case::any_pod("10-9-9-9.service-type-test.pod.cluster.local", "10.9.9.9")]
#[case::named_port("_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local", "10.96.0.10")]
fn names_of_the_cluster_have_addresses(#[case] name: &str, #[case] address: &str) {
    assert_eq!(answer(KUBEADM, name), format!("NOERROR {address}, by kubernetes"));
}

#[rstest]
#[case::no_such_service("web.service-type-test.svc.cluster.local", "NXDOMAIN, by kubernetes")]
#[case::no_such_namespace("web.nowhere.svc.cluster.local", "NXDOMAIN, by kubernetes")]
#[case::too_long("a.b.c.web.service-type-test.svc.cluster.local", "NXDOMAIN, by kubernetes")]
#[case::no_branch("my-nginx.external.local.cluster.local", "NXDOMAIN, by kubernetes")]
#[case::the_branch("svc.cluster.local", "NODATA, by kubernetes")]
#[case::a_namespace("service-type-test.svc.cluster.local", "NODATA, by kubernetes")]
#[case::outside("example.com", "passed on to the upstream server: example.com. A")]
#[case::alias_out_of_the_cluster(
    "nginx-external-service.service-type-test.svc.cluster.local",
    "passed on to the upstream server: my-nginx.external.local. A"
)]
fn other_names_have_their_failures(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(answer(KUBEADM, name), expected);
}

#[test]
fn the_other_family_of_a_known_name_is_nodata() {
    let corefile = ".:53 {\n  hosts {\n    10.0.0.1 a.test\n  }\n}\n";
    assert_eq!(ask(corefile, "a.test", QuestionKind::Aaaa), "NODATA, by hosts");
    assert_eq!(ask(corefile, "b.test", QuestionKind::Aaaa), "SERVFAIL, by hosts");
}

#[rstest]
#[case::fallthrough_for_a_zone(
    "fallthrough cluster.local",
    "passed on to the upstream server: web.cluster.local. A",
    "SERVFAIL, by hosts"
)]
#[case::fallthrough_for_all(
    "fallthrough",
    "passed on to the upstream server: web.cluster.local. A",
    "passed on to the upstream server: example.com. A"
)]
fn fallthrough_can_be_for_some_zones(#[case] line: &str, #[case] inside: &str, #[case] outside: &str) {
    let text = format!(".:53 {{\n  hosts {{\n    10.0.0.1 a.test\n    {line}\n  }}\n  forward . 10.0.0.53\n}}\n");
    assert_eq!(answer(&text, "web.cluster.local"), inside);
    assert_eq!(answer(&text, "example.com"), outside);
}

#[rstest]
#[case::nobody_left(".:53 {\n  errors\n  kubernetes cluster.local\n}\n", "SERVFAIL, by server")]
#[case::no_block("example.org {\n  errors\n}\n", "REFUSED, by server")]
#[case::unknown_plugin(".:53 {\n  my-plugin\n  forward . 10.0.0.53\n}\n", "not covered by the model: `my-plugin`")]
#[case::import("import custom/*.server\n.:53 {\n  forward . 10.0.0.53\n}\n", "not covered by the model: `import`")]
fn a_name_outside_ends_where_the_chain_ends(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(answer(text, "www.example.com"), expected);
}

#[test]
fn aliases_inside_the_cluster_are_followed_and_loops_end() {
    let mut state = State::example();
    let alias = |state: &mut State, name: &str, to: &str| {
        let mut service =
            state.services.iter().find(|service| service.kind == ServiceType::ExternalName).unwrap().clone();
        name.clone_into(&mut service.name);
        service.external_name = Some(to.to_owned());
        state.services.push(service);
    };
    alias(&mut state, "one", "nginx-clusterip-service.service-type-test.svc.cluster.local");
    alias(&mut state, "loop-a", "loop-b.service-type-test.svc.cluster.local");
    alias(&mut state, "loop-b", "loop-a.service-type-test.svc.cluster.local");
    alias(&mut state, "address", "10.0.0.1");
    let corefile: Corefile = KUBEADM.parse().unwrap();
    let ask = |name: &str| {
        let question = Question::new(&format!("{name}.service-type-test.svc.cluster.local"), QuestionKind::A);
        corefile.answer(&question, &state).to_string()
    };
    let alias = "CNAME nginx-clusterip-service.service-type-test.svc.cluster.local.";
    assert_eq!(ask("one"), format!("NOERROR {alias} 10.96.10.1, by kubernetes"));
    assert_eq!(ask("loop-a"), "NODATA, by kubernetes");
    assert_eq!(ask("address"), "NXDOMAIN, by kubernetes", "an alias that is an address is no alias");
}

#[rstest]
#[case::srv(
    "_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local",
    QuestionKind::Srv,
    "NOERROR SRV 0 100 53 kube-dns.kube-system.svc.cluster.local., by kubernetes"
)]
#[case::cluster_ip(
    "1.10.96.10.in-addr.arpa",
    QuestionKind::Ptr,
    "NOERROR PTR nginx-clusterip-service.service-type-test.svc.cluster.local., by kubernetes"
)]
#[case::no_such_address(
    "9.9.9.10.in-addr.arpa",
    QuestionKind::Ptr,
    "passed on to the upstream server: 9.9.9.10.in-addr.arpa. PTR"
)]
#[case::external_name(
    "nginx-external-service.service-type-test.svc.cluster.local",
    QuestionKind::Cname,
    "NOERROR CNAME my-nginx.external.local., by kubernetes"
)]
#[case::no_srv_of_an_alias(
    "nginx-external-service.service-type-test.svc.cluster.local",
    QuestionKind::Srv,
    "NODATA, by kubernetes"
)]
#[case::version("dns-version.cluster.local", QuestionKind::Txt, "NOERROR TXT \"1.1.0\", by kubernetes")]
#[case::text_of_a_branch("svc.cluster.local", QuestionKind::Txt, "NXDOMAIN, by kubernetes")]
#[case::name_servers(
    "cluster.local",
    QuestionKind::Ns,
    "NOERROR NS kube-dns.kube-system.svc.cluster.local., by kubernetes"
)]
#[case::soa_below_the_zone("nowhere.cluster.local", QuestionKind::Soa, "NODATA, by kubernetes")]
#[case::transfer("cluster.local", QuestionKind::Other(252), "REFUSED, by kubernetes")]
#[case::any("web.nowhere.svc.cluster.local", QuestionKind::Any, "NXDOMAIN, by kubernetes")]
fn other_record_types_have_their_answers(#[case] name: &str, #[case] kind: QuestionKind, #[case] expected: &str) {
    assert_eq!(ask(KUBEADM, name, kind), expected);
}

#[rstest]
#[case::reverse("1.0.0.10.in-addr.arpa", QuestionKind::Ptr, "NOERROR PTR a.test., by hosts")]
#[case::wildcard("x.b.test", QuestionKind::A, "NOERROR 10.0.0.2, by hosts")]
#[case::wildcard_is_one_label("x.y.b.test", QuestionKind::A, "SERVFAIL, by hosts")]
#[case::other_type("a.test", QuestionKind::Txt, "NODATA, by hosts")]
#[case::unknown_address_passes("9.9.9.10.in-addr.arpa", QuestionKind::Ptr, "SERVFAIL, by server")]
fn hosts_answers(#[case] name: &str, #[case] kind: QuestionKind, #[case] expected: &str) {
    assert_eq!(ask(".:53 {\n  hosts {\n    10.0.0.1 a.test\n    10.0.0.2 *.b.test\n  }\n}\n", name, kind), expected);
}

#[rstest]
#[case::exact("  rewrite name z.test a.test\n", "z.test", "NOERROR 10.0.0.1, by hosts")]
#[case::suffix("  rewrite name suffix .z.test .test\n", "a.z.test", "NOERROR 10.0.0.1, by hosts")]
#[case::pattern("  rewrite name regex a b\n", "a.test", "not covered by the model: `rewrite`")]
#[case::template(
    "  template IN A x.test {\n    answer \"{{ .Name }} 60 IN A 10.0.0.7\"\n  }\n",
    "b.x.test",
    "NOERROR 10.0.0.7, by template"
)]
#[case::template_code("  template ANY ANY {\n    rcode NXDOMAIN\n  }\n", "a.test", "NXDOMAIN, by template")]
#[case::cache_changes_nothing("  cache 30\n", "a.test", "NOERROR 10.0.0.1, by hosts")]
fn plugins_before_hosts_have_their_say(#[case] line: &str, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(answer(&format!(".:53 {{\n{line}  hosts {{\n    10.0.0.1 a.test\n  }}\n}}\n"), name), expected);
}

#[rstest]
#[case::plugin(".:53 {\n  hots\n}\n", "line 2: CoreDNS has no plugin `hots`")]
#[case::zone_twice(
    "a.test {\n  log\n}\nA.test:53 {\n  log\n}\n",
    "line 4: `A.test:53` already has a server block, on line 1"
)]
#[case::ttl(".:53 {\n  hosts {\n    ttl 0\n  }\n}\n", "line 2: `hosts` takes a ttl from 1 to 65535 seconds, not `0`")]
#[case::forward(".:53 {\n  forward .\n}\n", "line 2: `forward` takes a zone and at least one server")]
fn what_coredns_would_not_start_with_is_refused(#[case] text: &str, #[case] cause: &str) {
    let error = text.parse::<Corefile>().unwrap().check(None).unwrap_err();
    assert_eq!(error.to_string(), format!("failed to parse the Corefile: {cause}"));
}

#[test]
fn corefiles_that_coredns_starts_with_pass_the_check() {
    for text in [KUBEADM, State::example().corefile.as_str(), "a.test {\n  log\n}\na.test:5353 {\n  log\n}\n"] {
        text.parse::<Corefile>().unwrap().check(None).unwrap();
    }
    let own: Corefile = ".:53 {\n  my-plugin\n}\n".parse().unwrap();
    own.check(Some(&own)).unwrap();
}

fn corefiles() -> impl Strategy<Value = String> {
    let space = "[ \t]{1,3}";
    let comment = "( # [a-z {}\"]{0,8})?";
    let plugin = (
        space,
        "[a-z]{3,6}( [a-z0-9.:/]{1,5}){0,2}",
        comment,
        proptest::option::of("[a-z0-9]{1,4} [a-z]{1,4}"),
        any::<bool>(),
    )
        .prop_map(|(space, words, comment, body, crlf)| {
            let end = if crlf { "\r\n" } else { "\n" };
            match body {
                Some(body) => {
                    format!("{space}{words} {{{comment}{end}{space}  {body}{end}{space}}}{end}")
                }
                None => format!("{space}{words}{comment}{end}"),
            }
        });
    let block = (
        prop_oneof![Just("."), Just(".:53"), Just("example.org"), Just("a.test:53, b.test")],
        proptest::collection::vec(plugin, 0..4),
    )
        .prop_map(|(keys, plugins)| format!("{keys} {{\n{}}}\n", plugins.concat()));
    ("(# [a-z]{0,5}\n)?", proptest::collection::vec(block, 0..3))
        .prop_map(|(head, blocks)| format!("{head}{}", blocks.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn printing_gives_back_every_byte(text in corefiles()) {
        prop_assert_eq!(text.parse::<Corefile>().unwrap().to_string(), text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z{}\\\\\"#,.:\r\n\t \u{feff}]{0,60}") {
        if let Ok(corefile) = text.parse::<Corefile>() {
            prop_assert_eq!(corefile.to_string(), text);
            let _ = corefile.answer(&Question::new("web.app.svc.cluster.local", QuestionKind::A), &State::example());
            let _ = corefile.with_hosts(&[entry("10.0.0.1", &["a.test"])], true);
        }
    }

    #[test]
    fn an_edit_keeps_every_other_byte(text in corefiles()) {
        let corefile: Corefile = text.parse().unwrap();
        let Ok(edited) = corefile.with_hosts(&[entry("10.0.0.1", &["a.test"])], true) else { return Ok(()) };
        let edited = edited.to_string();
        let span = edited.parse::<Corefile>().unwrap().blocks().find_map(|block| block.plugin("hosts").map(|plugin| plugin.span.clone())).unwrap();
        let without = format!("{}{}", edited[..span.start].trim_end(), edited[span.end..].trim_start());
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(squeeze(&without), squeeze(&text));
    }
}
