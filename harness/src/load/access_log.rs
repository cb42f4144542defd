//! What nginx wrote down: its access log in the format `combined`.
//!
//! The format is `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer"
//! "$http_user_agent"` (<https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format>); the images' own `main` adds
//! `"$http_x_forwarded_for"`, which is passed over. nginx writes quotes, backslashes and control characters of a client's
//! as `\xHH`, so a quote always is the end of a field, whatever a client sent.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use jiff::{Timestamp, fmt::strtime};

/// How many lines that are no access-log lines are kept; the others are only counted.
const MOST_STRANGE: usize = 100;

/// One request, as the server wrote it down. Text from clients is as nginx escaped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLine<'a> {
    /// The address that the connection came from.
    pub client: IpAddr,
    /// When the request was done.
    pub time: Timestamp,
    /// The request line, such as `GET /?id=7f HTTP/1.1`; hostile clients send other things.
    pub request: &'a str,
    /// The status code. nginx writes 499 when the client went away before the answer, and 000 for no answer at all.
    pub status: u16,
    /// The bytes of the body that were sent.
    pub bytes: u64,
    /// The `Referer` header, if there was one.
    pub referer: Option<&'a str>,
    /// The `User-Agent` header, if there was one.
    pub user_agent: Option<&'a str>,
}

/// A server's log, line by line.
///
/// ```
/// use reachmap::load::access_log::AccessLog;
/// let log = AccessLog::parse(concat!(
///     "2026/11/25 11:04:34 [notice] 1#1: start worker process 29\n",
///     "10.244.1.1 - - [25/Nov/2026:11:04:35 +0000] \"GET /?id=7f HTTP/1.1\" 200 615 \"-\" \"hey/0.0.1\" \"-\"\n",
/// ));
/// assert_eq!((log.lines.len(), log.unreadable), (1, 1));
/// assert_eq!(log.lines[0].id(), Some("7f"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLog<'a> {
    /// The requests, in the order of the log.
    pub lines: Vec<AccessLine<'a>>,
    /// How many other lines there are: the server's own notices, what was cut off, what somebody forged. Empty lines
    /// do not count.
    pub unreadable: u64,
    /// The first hundred of them.
    pub strange: Vec<&'a str>,
}

impl<'a> AccessLog<'a> {
    /// Reads a log. No line is too strange: one that is no access-log line is kept apart.
    pub fn parse(text: &'a str) -> Self {
        let mut log = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(line) = AccessLine::parse(line) {
                log.lines.push(line);
                continue;
            }
            log.unreadable += 1;
            if log.strange.len() < MOST_STRANGE {
                log.strange.push(line);
            }
        }
        log
    }

    /// How many requests came from each client address.
    pub fn by_client(&self) -> BTreeMap<IpAddr, u64> {
        let mut counts = BTreeMap::new();
        for line in &self.lines {
            *counts.entry(line.client).or_default() += 1;
        }
        counts
    }
}

impl<'a> AccessLine<'a> {
    /// Reads one line; `None` if it is no access-log line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('"');
        let (client, time) = who_and_when(fields.next()?)?;
        let request = fields.next()?;
        let mut numbers = fields.next()?.split_ascii_whitespace();
        let status = numbers.next().filter(|status| status.len() == 3)?.parse().ok()?;
        let bytes = numbers.next()?.parse().ok()?;
        let referer = fields.next()?;
        let (" ", user_agent) = (fields.next()?, fields.next()?) else { return None };
        // There is something after the last quote, if only nothing: else the line was cut off.
        fields.next()?;
        let given = |text: &'a str| (text != "-").then_some(text);
        let strange = numbers.next().is_some();
        (!strange).then(|| Self {
            client,
            time,
            request,
            status,
            bytes,
            referer: given(referer),
            user_agent: given(user_agent),
        })
    }

    /// The path with its query, if the request line is one of HTTP.
    pub fn path(&self) -> Option<&'a str> {
        let mut words = self.request.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(_), Some(path), Some(version), None) if version.starts_with("HTTP/") => Some(path),
            _ => None,
        }
    }

    /// The request id: the first `id` in the query of the path.
    pub fn id(&self) -> Option<&'a str> {
        let (_, query) = self.path()?.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("id=")).filter(|id| !id.is_empty())
    }
}

/// Counts client addresses as the tutorial does:
/// `awk '{print $1}' | grep -E '^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$' | sort | uniq -c`.
///
/// That takes every line for a request whose first word looks like an IPv4 address, and none from an IPv6 one. It is here
/// to show people their own number; [`AccessLog::by_client`] is the one to trust.
pub fn tutorial_counts(text: &str) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for word in text.lines().filter_map(|line| line.split([' ', '\t']).find(|word| !word.is_empty())) {
        let parts: Vec<&str> = word.split('.').collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.len() == 4 && parts.iter().all(digits) {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

/// Counts as `uniq -c` prints them.
///
/// ```
/// use reachmap::load::access_log::uniq_c;
/// assert_eq!(uniq_c([("10.244.1.1", 334), ("10.244.2.1", 235)]), "    334 10.244.1.1\n    235 10.244.2.1\n");
/// ```
pub fn uniq_c<T: std::fmt::Display>(counts: impl IntoIterator<Item = (T, u64)>) -> String {
    counts.into_iter().fold(String::new(), |mut text, (what, count)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count:>7} {what}");
        text
    })
}

/// The address and the time in front of the request. Between them stands a user's name, which may hold anything but a quote.
fn who_and_when(text: &str) -> Option<(IpAddr, Timestamp)> {
    let (client, rest) = text.split_once(" - ")?;
    let (_, time) = rest.strip_suffix("] ")?.rsplit_once(" [")?;
    let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).ok()?.to_timestamp().ok()?;
    Some((client.parse().ok()?, time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const LINE: &str =
        r#"10.244.1.1 - - [25/Nov/2026:11:04:35 +0100] "GET /?a=1&id=7f-1 HTTP/1.1" 200 615 "-" "curl/8.5.0""#;

    #[test]
    fn every_field_of_a_line_is_read() {
        let line = AccessLine::parse(LINE).unwrap();
        assert_eq!(line.client.to_string(), "10.244.1.1");
        assert_eq!(line.time.to_string(), "2026-11-25T10:04:35Z");
        assert_eq!((line.status, line.bytes), (200, 615));
        assert_eq!((line.path(), line.id()), (Some("/?a=1&id=7f-1"), Some("7f-1")));
        assert_eq!((line.referer, line.user_agent), (None, Some("curl/8.5.0")));
    }

    #[rstest]
    #[case::a_forged_user(
        r#"::1 - x [1/Jan/1970:00:00:00 +0000] \x22GET [25/Nov/2026:11:04:35 +0000] "GET / HTTP/1.1" 401 0 "-" "-""#
    )]
    #[case::no_request_line(r#"10.0.0.1 - - [25/Nov/2026:11:04:35 +0000] "\x16\x03\x01" 400 157 "-" "-""#)]
    #[case::nothing_sent(r#"10.0.0.1 - - [25/Nov/2026:11:04:35 +0000] "" 400 0 "-" "-" "-""#)]
    #[case::an_id_without_text(r#"10.0.0.1 - - [25/Nov/2026:11:04:35 +0000] "GET /?id= HTTP/1.1" 200 0 "-" "-""#)]
    fn hostile_requests_are_lines_without_an_id(#[case] line: &str) {
        assert_eq!(AccessLine::parse(line).unwrap().id(), None);
    }

    #[rstest]
    #[case("2026/11/25 11:04:34 [notice] 1#1: using the \"epoll\" event method")]
    #[case("/docker-entrypoint.sh: Configuration complete; ready for start up")]
    #[case(r#"999.0.0.1 - - [25/Nov/2026:11:04:35 +0000] "GET / HTTP/1.1" 200 615 "-" "-""#)]
    #[case(r#"10.0.0.1 - - [31/Feb/2026:11:04:35 +0000] "GET / HTTP/1.1" 200 615 "-" "-""#)]
    #[case(r#"10.0.0.1 - - [25/Nov/2026:11:04:35 +0000] "GET / HTTP/1.1" 99999 615 "-" "-""#)]
    fn other_lines_are_kept_apart(#[case] line: &str) {
        let text = format!("{line}\n\n{LINE}\n");
        let log = AccessLog::parse(&text);
        assert_eq!((log.lines.len(), log.unreadable, log.strange.as_slice()), (1, 1, [line].as_slice()));
    }

    #[test]
    fn a_line_that_was_cut_off_anywhere_is_no_line() {
        for end in 0..LINE.len() {
            assert_eq!(AccessLine::parse(&LINE[..end]), None, "{}", &LINE[..end]);
        }
    }

    #[test]
    fn clients_are_counted_as_the_tutorial_counts_them() {
        let text = format!("{LINE}\n10.244.2.1 nonsense\n::1 - -\n 10.244.1.1\t-\n10.244.2 x\n");
        assert_eq!(uniq_c(tutorial_counts(&text)), "      2 10.244.1.1\n      1 10.244.2.1\n");
        assert_eq!(AccessLog::parse(&text).by_client().into_values().collect::<Vec<_>>(), [1]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_no_line_is_lost(text in "(\\PC{0,30}\n|10\\.0\\.0\\.1 - - \\[[ -~]{0,60}\n){0,20}") {
            let log = AccessLog::parse(&text);
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
            prop_assert_eq!(log.lines.len() as u64 + log.unreadable, lines);
        }
    }
}
