//! Secrets taken out of text: the last of two fences, and one that knows only what secrets look like.
//!
//! The first fence is that nothing is listed that holds secrets. This one is for what strays elsewhere: a token in a
//! log line, a password in a comment. It would rather take a word too many than leave one, and says how many it took.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands where a secret stood.
pub(super) const REMOVED: &str = "[removed]";

/// The shortest value that is taken for a secret wherever it stands, because somebody knows that it is one.
const SHORTEST_KNOWN: usize = 8;

/// Takes what looks like a secret out of text.
///
/// ```
/// use reachmap::bundle::Scrubber;
/// let scrubber = Scrubber::new(["hunter2-hunter2".to_owned()]);
/// let (clean, taken) = scrubber.text("password=geheim, and hunter2-hunter2 again");
/// assert_eq!((clean.as_str(), taken), ("password=[removed], and [removed] again", 2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Scrubber {
    known: Vec<String>,
}

/// A shape of secrets.
struct Shape {
    /// What a line must hold, in lower case, before it is worth looking: most lines hold nothing of it.
    hints: &'static [&'static str],
    pattern: Regex,
}

/// A private key (RFC 7468), whole or cut off, also with its line breaks escaped: the one shape of several lines.
static PRIVATE_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)").ok()
});

/// What secrets look like within a line. What the group `before` holds stays, and all else goes.
static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let all: [(&'static [&'static str], &str); 10] = [
        // A private key or a certificate in base64, as kubeconfigs have it.
        (&["ls0tls1crudjti"], r"LS0tLS1CRUdJTi[A-Za-z0-9+/_=\-]*"),
        // A JSON web token (RFC 7519), as service accounts have it.
        (&["eyj"], r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]*)?"),
        // Tokens of clouds and forges that say what they are.
        (&["akia", "asia"], r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
        (&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
        (&["github_pat_"], r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
        (&["glpat-"], r"\bglpat-[A-Za-z0-9_\-]{16,}"),
        (&["xox"], r"\bxox[abprs]-[A-Za-z0-9\-]{10,}"),
        (
            &["authorization"],
            r#"(?P<before>(?i:authorization)["']?\s*[:=]\s*["']?(?:(?i:basic|bearer|digest|negotiate)\s+)?)[^\s"',]+"#,
        ),
        (&["bearer"], r"(?P<before>\b(?i:bearer)\s+)[A-Za-z0-9._~+/=\-]{8,}"),
        // What CoreDNS's plugins have in a Corefile (etcd, tsig, route53): https://coredns.io/plugins/.
        (
            &["credentials", "secret", "aws_access_key", "password"],
            r"(?P<before>^[ \t]*(?:(?:credentials|secret|aws_access_key)[ \t]+\S+|password|client_secret)[ \t]+)\S+",
        ),
    ];
    let shape =
        |(hints, pattern): (&'static [&'static str], &str)| Some(Shape { hints, pattern: Regex::new(pattern).ok()? });
    all.into_iter().filter_map(shape).collect()
});

/// A password in an address.
static IN_ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?P<before>[a-z][a-z0-9+.\-]*://[^\s/:@]*:)[^\s/@]+@").ok());

/// Words by which names speak of secrets.
const NAMES: [&str; 17] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "private-key",
    "client-key-data",
    "client-certificate-data",
];

/// A name and its value, as YAML, JSON, properties and command lines have them. Quotes may be escaped: JSON is found in
/// logs that are JSON.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = format!(r"[A-Za-z0-9_.\-]*(?i:{})[A-Za-z0-9_\-]*", NAMES.join("|"));
    let between = r#"\\?["']?\s*[:=]\s*"#;
    let value = r#"(?:\\?"(?P<double>[^"\\\n]+)\\?"|'(?P<single>[^'\n]+)'|(?P<bare>[^\s"'\\,;}\]]+))"#;
    Regex::new(&format!("(?P<name>{name}){between}{value}")).ok()
});

impl Scrubber {
    /// A scrubber that also knows these values, and takes them out wherever they stand. Short ones are no use: they
    /// would be found in ordinary words.
    pub fn new(known: impl IntoIterator<Item = String>) -> Self {
        let mut known: Vec<String> = known.into_iter().filter(|value| value.trim().len() >= SHORTEST_KNOWN).collect();
        // One may be a part of another.
        known.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        known.dedup();
        Self { known }
    }

    /// The same with what a kubeconfig holds of secrets, in JSON or YAML.
    #[must_use]
    pub fn with_kubeconfig(self, text: &str) -> Self {
        let value: Option<Value> = serde_saphyr::from_str(text).ok();
        let mut found = Vec::new();
        for user in value.iter().filter_map(|value| value["users"].as_array()).flatten() {
            strings(&user["user"], &mut found);
        }
        Self::new(self.known.into_iter().chain(found))
    }

    /// The same with the values of this process's variables whose names speak of secrets, as a CI's do.
    #[must_use]
    pub fn with_environment(self) -> Self {
        let speaks = |name: &str| {
            let name = name.to_ascii_uppercase();
            ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY"].iter().any(|word| name.contains(word))
        };
        let values = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.into_string().ok()?)));
        let found: Vec<String> = values.filter(|(name, _)| speaks(name)).map(|(_, value)| value).collect();
        Self::new(self.known.into_iter().chain(found))
    }

    /// The text without what looks like a secret, and how many passages were replaced.
    pub fn text(&self, text: &str) -> (String, usize) {
        let mut taken = 0;
        let mut clean = Cow::Borrowed(text);
        for value in &self.known {
            let times = clean.matches(value.as_str()).count();
            if times > 0 {
                taken += times;
                clean = clean.replace(value.as_str(), REMOVED).into();
            }
        }
        if clean.contains("PRIVATE KEY") {
            clean = replaced(clean, PRIVATE_KEY.as_ref(), |_| Some(REMOVED.to_owned()), &mut taken);
        }
        let lines = clean.split_inclusive('\n').map(|line| line_without(line, &mut taken));
        (lines.collect(), taken)
    }

    /// JSON without what looks like a secret in any of its strings, or by the name of any field; it stays JSON.
    pub fn json(&self, value: &mut Value) -> usize {
        match value {
            Value::String(text) => {
                let (clean, taken) = self.text(text);
                if taken > 0 {
                    *text = clean;
                }
                taken
            }
            Value::Array(all) => all.iter_mut().map(|one| self.json(one)).sum(),
            Value::Object(fields) => fields
                .iter_mut()
                .map(|(name, field)| match field {
                    Value::String(text) if is_secret(name) => {
                        let taken = usize::from(text != REMOVED);
                        REMOVED.clone_into(text);
                        taken
                    }
                    field => self.json(field),
                })
                .sum(),
            _ => 0,
        }
    }
}

/// A line without secrets.
fn line_without<'l>(line: &'l str, taken: &mut usize) -> Cow<'l, str> {
    let lower = line.to_ascii_lowercase();
    let has = |hints: &[&str]| hints.iter().any(|hint| lower.contains(hint));
    let mut clean = Cow::Borrowed(line);
    let but_before = |all: &Captures<'_>| {
        let before = all.name("before").map_or("", |before| before.as_str());
        Some(format!("{before}{REMOVED}"))
    };
    for Shape { hints, pattern } in SHAPES.iter() {
        if has(hints) {
            clean = replaced(clean, Some(pattern), but_before, taken);
        }
    }
    if lower.contains("://") && lower.contains('@') {
        clean = replaced(clean, IN_ADDRESS.as_ref(), |all| Some(format!("{}{REMOVED}@", &all["before"])), taken);
    }
    if has(&NAMES) {
        clean = replaced(clean, NAMED.as_ref(), without_value, taken);
    }
    without_bootstrap_tokens(clean, taken)
}

/// The text with every match of `pattern` replaced for which there is a replacement, which is counted.
fn replaced<'t>(
    text: Cow<'t, str>,
    pattern: Option<&Regex>,
    replacement: impl Fn(&Captures<'_>) -> Option<String>,
    taken: &mut usize,
) -> Cow<'t, str> {
    let Some(pattern) = pattern.filter(|pattern| pattern.is_match(&text)) else { return text };
    let replaced = pattern.replace_all(&text, |all: &Captures<'_>| match replacement(all) {
        Some(replacement) if replacement != all[0] => {
            *taken += 1;
            replacement
        }
        _ => all[0].to_owned(),
    });
    Cow::Owned(replaced.into_owned())
}

/// A line without kubeadm's bootstrap tokens: six characters, a dot and sixteen, lower-case letters and digits, at
/// random (<https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>).
fn without_bootstrap_tokens<'t>(line: Cow<'t, str>, taken: &mut usize) -> Cow<'t, str> {
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = line.as_bytes();
    let found = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.').find_map(|(dot, _)| {
        let (start, end) = (dot.checked_sub(6)?, dot + 17);
        let secret = bytes.get(dot + 1..end)?;
        let is_apart = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        let random = secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_lowercase);
        let whole = bytes[start..dot].iter().all(is_part) && secret.iter().all(is_part);
        let apart = is_apart(start.checked_sub(1).and_then(|before| bytes.get(before))) && is_apart(bytes.get(end));
        (random && whole && apart).then_some((start, end))
    });
    let Some((start, end)) = found else { return line };
    *taken += 1;
    let rest = format!("{}{REMOVED}{}", &line[..start], &line[end..]);
    without_bootstrap_tokens(Cow::Owned(rest), taken)
}

/// A name and its value without the value; none if the name only says where a secret is.
fn without_value(all: &Captures<'_>) -> Option<String> {
    let value = ["double", "single", "bare"].into_iter().find_map(|group| all.name(group))?;
    let start = all.get(0)?.start();
    let (before, after) = (&all[0][..value.start() - start], &all[0][value.end() - start..]);
    if !is_secret(&all["name"]) {
        // The value may itself be a name and a secret.
        let inner = |all: &Captures<'_>| without_value(all).unwrap_or_else(|| all[0].to_owned());
        let value = NAMED.as_ref()?.replace_all(value.as_str(), inner);
        return Some(format!("{before}{value}{after}"));
    }
    // What was taken out already, and a value that says nothing.
    if value.as_str().starts_with(REMOVED.trim_end_matches(']'))
        || ["true", "false", "null", "{", "["].contains(&value.as_str())
    {
        return None;
    }
    Some(format!("{before}{REMOVED}{after}"))
}

/// Whether a field of that name holds a secret, and not only the name or the place of one.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let points_to_one = ["name", "names", "namespace", "file", "path", "ref", "type", "seconds", "count"]
        .iter()
        .any(|end| name.ends_with(end));
    NAMES.iter().any(|word| name.contains(word)) && !points_to_one
}

/// Every string in a value.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| strings(one, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn clean(text: &str) -> String {
        Scrubber::default().text(text).0
    }

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(SHAPES.len(), 10);
        assert!(NAMED.is_some() && IN_ADDRESS.is_some() && PRIVATE_KEY.is_some());
    }

    #[rstest]
    #[case("Authorization: Bearer abc.def-123", "Authorization: Bearer [removed]")]
    #[case("sent bearer 0123456789abcdef to it", "sent bearer [removed] to it")]
    #[case("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [removed]")]
    #[case("DB_PASSWORD=hunter2 started", "DB_PASSWORD=[removed] started")]
    #[case("    password: 'two words'", "    password: '[removed]'")]
    #[case(r#"{"token":"abc"}"#, r#"{"token":"[removed]"}"#)]
    #[case(r#"{\"client_secret\":\"abc\"}"#, r#"{\"client_secret\":\"[removed]\"}"#)]
    #[case("client-key-data: LS0tLS1CRUdJTiBSU0E=", "client-key-data: [removed]")]
    #[case("https://user:pass@registry.test/v2", "https://user:[removed]@registry.test/v2")]
    #[case("kubeadm join --token abcdef.0123456789abcdef", "kubeadm join --token [removed]")]
    #[case("etcd {\n  credentials root geheim\n}", "etcd {\n  credentials root [removed]\n}")]
    #[case("secretName: token=geheim", "secretName: token=[removed]")]
    #[case("aws AKIAABCDEFGHIJKLMNOP", "aws [removed]")]
    #[case("ghp_0123456789abcdefghij0123456789", "[removed]")]
    fn what_looks_like_a_secret_goes(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(clean(text), expected);
    }

    #[rstest]
    #[case("-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU")]
    #[case("secretName: metallb-memberlist")]
    #[case("nginx-clusterip-service.service-type-test.svc.cluster.local.")]
    #[case("tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token")]
    #[case("10.244.1.3 - - [25/Nov/2026:18:00:00 +0000] \"GET / HTTP/1.1\" 200 0 0123456789abcdef-7")]
    #[case("tcp 6 86392 ESTABLISHED src=10.244.2.5 dst=10.96.10.1 sport=40000 dport=80")]
    #[case("default via 172.18.0.1 dev eth0")]
    fn what_only_speaks_of_one_stays(#[case] text: &str) {
        assert_eq!(Scrubber::default().text(text), (text.to_owned(), 0));
    }

    #[test]
    fn a_private_key_goes_with_all_its_lines() {
        let key = "before\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI\nxyz\n-----END EC PRIVATE KEY-----\nafter";
        assert_eq!(clean(key), "before\n[removed]\nafter");
        assert_eq!(clean("x -----BEGIN PRIVATE KEY-----\nMHcCAQ"), "x [removed]");
    }

    #[test]
    fn what_a_kubeconfig_holds_goes_wherever_it_stands() {
        let kubeconfig = "users:\n- name: u\n  user: {token: geheimes-wort, client-key-data: QUJDREVGRw==}\n";
        let scrubber = Scrubber::default().with_kubeconfig(kubeconfig);
        assert_eq!(scrubber.text("said geheimes-wort, then QUJDREVGRw==").0, "said [removed], then [removed]");
    }

    #[test]
    fn json_stays_json() {
        let mut value = json!({"log": "token=abc\"def", "token": "t", "tokens": ["password: x"], "port": 80});
        assert_eq!(Scrubber::default().json(&mut value), 3);
        let text = value.to_string();
        assert!(!text.contains("abc") && !text.contains(": x"), "{text}");
        assert_eq!((&value["token"], &value["port"]), (&json!(REMOVED), &json!(80)));
    }

    proptest! {
        #[test]
        fn what_is_clean_stays_so(text in "\\PC{0,200}") {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn a_password_goes_whatever_is_around_it(before in "[a-z ]{0,20}", secret in "[A-Za-z0-9+/]{6,40}", after in "[a-z ]{0,20}") {
            let text = format!("{before} password={secret} {after}");
            let shown = clean(&text);
            prop_assert!(!shown.contains(&format!("={secret}")), "{}", shown);
        }
    }
}
