//! An HTTP/1.1 response read piece by piece (RFC 9112). Pure: no I/O.
//!
//! Bounded throughout: a head of [`HEAD_LIMIT`], a body of [`BODY_LIMIT`], of which the first
//! [`BODY_START`] bytes are kept.

use std::net::IpAddr;

use reachmap_wire::{Failure, FailureClass};

/// The longest status line and header section that is read, in bytes; also the longest chunk line and trailer section.
const HEAD_LIMIT: usize = 16 * 1024;

/// The longest body that is read, in bytes.
const BODY_LIMIT: u64 = 1024 * 1024;

/// How much of the body is kept, in bytes.
const BODY_START: usize = 256;

/// A line or head, and the bytes that follow it.
type Taken<'a> = (Vec<u8>, &'a [u8]);

/// A response under way: [`Response::feed`] it until [`Response::is_complete`], or tell it of the [`Response::end`].
#[derive(Debug)]
pub(crate) struct Response {
    phase: Phase,
    /// Bytes of a line or head that is not complete yet.
    pending: Vec<u8>,
    /// The status code, once the head has been read.
    pub(crate) status: Option<u16>,
    /// The first `X-Served-By` header.
    pub(crate) served_by: Option<String>,
    /// The first `X-Client-Address` header.
    pub(crate) client_address: Option<IpAddr>,
    /// The length of the body so far, in bytes.
    pub(crate) body_length: u64,
    body_start: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// That many bytes of the body are missing.
    Length(u64),
    ChunkSize,
    /// That many bytes of the chunk are missing.
    ChunkData(u64),
    ChunkEnd,
    /// Trailers; that many bytes of them have been read.
    Trailer(usize),
    UntilClose,
    Complete,
}

fn malformed(message: impl Into<String>) -> Failure {
    Failure {
        class: FailureClass::Malformed,
        message: message.into(),
    }
}

impl Response {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Head,
            pending: Vec::new(),
            status: None,
            served_by: None,
            client_address: None,
            body_length: 0,
            body_start: Vec::new(),
        }
    }

    /// Whether all of it has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.phase == Phase::Complete
    }

    /// The kept start of the body as text; a character cut at its end is left out.
    pub(crate) fn body_start(&self) -> String {
        let cut = match std::str::from_utf8(&self.body_start) {
            Err(error) if error.error_len().is_none() && self.body_start.len() == BODY_START => {
                error.valid_up_to()
            }
            _ => self.body_start.len(),
        };
        String::from_utf8_lossy(&self.body_start[..cut]).into_owned()
    }

    /// Reads the next `bytes`; what follows a complete response is ignored.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        loop {
            bytes = match self.phase {
                Phase::Complete => return Ok(()),
                Phase::Head => match self.line_or_head(bytes, head_end)? {
                    Some((head, rest)) => {
                        self.head(&head)?;
                        rest
                    }
                    None => return self.check_start(),
                },
                Phase::Length(left) => self.body(bytes, left, |left| match left {
                    0 => Phase::Complete,
                    left => Phase::Length(left),
                })?,
                Phase::UntilClose => self.body(bytes, u64::MAX, |_| Phase::UntilClose)?,
                Phase::ChunkSize => match self.line_or_head(bytes, line_end)? {
                    Some((line, rest)) => {
                        self.phase = match chunk_size(&line)? {
                            0 => Phase::Trailer(0),
                            size => Phase::ChunkData(size),
                        };
                        rest
                    }
                    None => return Ok(()),
                },
                Phase::ChunkData(left) => self.body(bytes, left, |left| match left {
                    0 => Phase::ChunkEnd,
                    left => Phase::ChunkData(left),
                })?,
                Phase::ChunkEnd => match self.line_or_head(bytes, line_end)? {
                    Some((line, rest)) if line.is_empty() => {
                        self.phase = Phase::ChunkSize;
                        rest
                    }
                    Some(_) => return Err(malformed("a chunk is longer than it says")),
                    None => return Ok(()),
                },
                Phase::Trailer(read) => match self.line_or_head(bytes, line_end)? {
                    Some((line, rest)) => {
                        let read = read + line.len();
                        if read > HEAD_LIMIT {
                            return Err(malformed(format!(
                                "trailers of more than {HEAD_LIMIT} bytes"
                            )));
                        }
                        self.phase = if line.is_empty() {
                            Phase::Complete
                        } else {
                            Phase::Trailer(read)
                        };
                        rest
                    }
                    None => return Ok(()),
                },
            };
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// The other end has closed; an error if something is missing.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        let closed = |message: String| {
            Err(Failure {
                class: FailureClass::Closed,
                message,
            })
        };
        match self.phase {
            Phase::Complete => Ok(()),
            Phase::UntilClose => {
                self.phase = Phase::Complete;
                Ok(())
            }
            Phase::Head if self.pending.is_empty() => closed("closed before a response".to_owned()),
            Phase::Head => closed("closed within the response's head".to_owned()),
            Phase::Length(left) => closed(format!("closed with {left} bytes of the body missing")),
            _ => closed("closed within a chunked body".to_owned()),
        }
    }

    /// Bytes that can only be something else than HTTP are told at once, not when they end.
    fn check_start(&self) -> Result<(), Failure> {
        let expected = b"HTTP/1.";
        let length = self.pending.len().min(expected.len());
        if self.pending[..length] == expected[..length] {
            Ok(())
        } else {
            Err(malformed("the response does not start with HTTP/1."))
        }
    }

    /// The bytes up to where `end` says that the line or head ends, and what follows.
    fn line_or_head<'a>(
        &mut self,
        bytes: &'a [u8],
        end: fn(&[u8]) -> Option<(usize, usize)>,
    ) -> Result<Option<Taken<'a>>, Failure> {
        let known = self.pending.len();
        self.pending.extend_from_slice(bytes);
        let Some((length, consumed)) = end(&self.pending) else {
            if self.pending.len() > HEAD_LIMIT {
                return Err(malformed(format!(
                    "a head or line of more than {HEAD_LIMIT} bytes"
                )));
            }
            return Ok(None);
        };
        if length > HEAD_LIMIT {
            return Err(malformed(format!(
                "a head or line of more than {HEAD_LIMIT} bytes"
            )));
        }
        let mut taken = std::mem::take(&mut self.pending);
        taken.truncate(length);
        Ok(Some((taken, &bytes[consumed - known..])))
    }

    fn body<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        next: impl FnOnce(u64) -> Phase,
    ) -> Result<&'a [u8], Failure> {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (data, rest) = bytes.split_at(take);
        let keep = (BODY_START - self.body_start.len()).min(data.len());
        self.body_start.extend_from_slice(&data[..keep]);
        self.body_length += data.len() as u64;
        if self.body_length > BODY_LIMIT {
            return Err(Failure {
                class: FailureClass::Other,
                message: format!("the body is longer than {BODY_LIMIT} bytes"),
            });
        }
        self.phase = next(left - take as u64);
        Ok(rest)
    }

    fn head(&mut self, head: &[u8]) -> Result<(), Failure> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split('\n').map(|line| line.trim_end_matches('\r'));
        let status = status(lines.next().unwrap_or_default())?;
        let mut length: Option<u64> = None;
        let mut chunked = false;
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("not a header: {line:?}")))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let parsed = value
                        .parse()
                        .map_err(|_| malformed(format!("Content-Length is {value:?}")))?;
                    if length.is_some_and(|length| length != parsed) {
                        return Err(malformed("two different Content-Lengths"));
                    }
                    length = Some(parsed);
                }
                "transfer-encoding" => {
                    chunked = value.to_ascii_lowercase().ends_with("chunked");
                }
                "x-served-by" => {
                    self.served_by.get_or_insert_with(|| value.to_owned());
                }
                "x-client-address" => {
                    let address = || value.parse().ok().map(|ip: IpAddr| ip.to_canonical());
                    self.client_address = self.client_address.or_else(address);
                }
                _ => {}
            }
        }
        self.phase = match status {
            // Interim: the response proper follows (RFC 9110 section 15.2).
            100 | 102..=199 => {
                self.served_by = None;
                self.client_address = None;
                Phase::Head
            }
            101 | 204 | 304 => Phase::Complete,
            _ if chunked => Phase::ChunkSize,
            _ => match length {
                Some(0) => Phase::Complete,
                Some(length) => Phase::Length(length),
                None => Phase::UntilClose,
            },
        };
        if self.phase != Phase::Head {
            self.status = Some(status);
        }
        Ok(())
    }
}

/// The length of the head without its empty line, and with it.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    while let Some(index) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let end = start + index + 1;
        match &bytes[end..] {
            [b'\n', ..] => return Some((end, end + 1)),
            [b'\r', b'\n', ..] => return Some((end, end + 2)),
            _ => start = end,
        }
    }
    None
}

/// The length of the first line without its line break, and with it.
fn line_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let length = if end > 0 && bytes[end - 1] == b'\r' {
        end - 1
    } else {
        end
    };
    Some((length, end + 1))
}

fn status(line: &str) -> Result<u16, Failure> {
    let fail = || {
        malformed(format!(
            "not a status line: {:?}",
            line.chars().take(80).collect::<String>()
        ))
    };
    let mut words = line.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    if !version.starts_with("HTTP/1.")
        || code.len() != 3
        || !code.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(fail());
    }
    code.parse()
        .ok()
        .filter(|code| (100..600).contains(code))
        .ok_or_else(fail)
}

fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let text = String::from_utf8_lossy(line);
    let size = text.split(';').next().unwrap_or_default().trim();
    let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(size, 16).ok())
        .flatten()
        .ok_or_else(|| {
            malformed(format!(
                "not a chunk size: {:?}",
                size.chars().take(40).collect::<String>()
            ))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Response, Result<(), Failure>) {
        let mut response = Response::new();
        let result = response.feed(text.as_bytes()).and_then(|()| response.end());
        (response, result)
    }

    #[test]
    fn a_response_with_a_length_needs_no_close() {
        let mut response = Response::new();
        response
            .feed(b"HTTP/1.1 200 OK\r\nX-Served-By: nginx-1\r\nX-Client-Address: ::ffff:10.0.0.9\r\nContent-Length: 5\r\n\r\nhello, and more")
            .unwrap();
        assert!(response.is_complete());
        assert_eq!(response.status, Some(200));
        assert_eq!(response.served_by.as_deref(), Some("nginx-1"));
        assert_eq!(response.client_address, Some("10.0.0.9".parse().unwrap()));
        assert_eq!(
            (response.body_start().as_str(), response.body_length),
            ("hello", 5)
        );
    }

    #[test]
    fn chunks_are_put_together() {
        let (response, result) = read(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: yes\r\n\r\n",
        );
        result.unwrap();
        assert_eq!(
            (response.body_start().as_str(), response.body_length),
            ("hello world", 11)
        );
    }

    #[test]
    fn without_a_length_the_body_ends_with_the_connection() {
        let (response, result) = read("HTTP/1.0 404 Not Found\nServer: x\n\nnothing here");
        result.unwrap();
        assert_eq!((response.status, response.body_length), (Some(404), 12));
    }

    #[test]
    fn an_interim_response_is_passed_over() {
        let (response, result) = read(
            "HTTP/1.1 103 Early Hints\r\nX-Served-By: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        );
        result.unwrap();
        assert_eq!((response.status, response.served_by), (Some(204), None));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let class = |text: &str| read(text).1.unwrap_err().class;
        assert_eq!(class(""), FailureClass::Closed);
        assert_eq!(class("HTTP/1.1 200 OK\r\nX-Serv"), FailureClass::Closed);
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
            FailureClass::Closed
        );
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"),
            FailureClass::Closed
        );
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n"),
            FailureClass::Malformed
        );
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n"),
            FailureClass::Malformed
        );
        assert_eq!(class("SSH-2.0-OpenSSH_9.2\r\n"), FailureClass::Malformed);
        assert_eq!(class("HTTP/1.1 999 Odd\r\n\r\n"), FailureClass::Malformed);
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
            FailureClass::Malformed
        );
        assert_eq!(
            class("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            FailureClass::Malformed
        );
        assert_eq!(
            class(&format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_LIMIT))),
            FailureClass::Malformed
        );
    }

    #[test]
    fn a_body_without_end_is_cut_off() {
        let mut response = Response::new();
        response.feed(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let piece = vec![b'x'; 64 * 1024];
        let failure = (0..20)
            .find_map(|_| response.feed(&piece).err())
            .expect("1.25 MiB is too much");
        assert_eq!(failure.class, FailureClass::Other);
        assert_eq!(response.body_start().len(), BODY_START);
    }

    #[test]
    fn a_character_cut_in_half_is_left_out() {
        let (response, result) = read(&format!(
            "HTTP/1.1 200 OK\r\n\r\n{}é and so on",
            "x".repeat(BODY_START - 1)
        ));
        result.unwrap();
        assert_eq!(response.body_start(), "x".repeat(BODY_START - 1));
    }

    fn responses() -> impl Strategy<Value = Vec<u8>> {
        let chunked = proptest::collection::vec("[a-z]{1,40}", 0..5).prop_map(|chunks| {
            use std::fmt::Write as _;
            let mut text =
                "HTTP/1.1 200 OK\r\nX-Served-By: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .to_owned();
            for chunk in chunks {
                write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
            }
            text.push_str("0\r\n\r\n");
            text.into_bytes()
        });
        let plain = "[a-z]{0,400}".prop_map(|body| {
            format!(
                "HTTP/1.1 503 No\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        });
        let noise = proptest::collection::vec(any::<u8>(), 0..200);
        let near = noise
            .clone()
            .prop_map(|noise| [b"HTTP/1.1 200 OK\r\n".as_slice(), &noise].concat());
        prop_oneof![chunked, plain, noise, near]
    }

    proptest! {
        /// Where the network cuts the bytes makes no difference.
        #[test]
        fn pieces_read_as_the_whole_does(bytes in responses(), cuts in proptest::collection::vec(1_usize..50, 1..20)) {
            let summary = |response: &Response, result: Result<(), Failure>| {
                let class = result.err().map(|failure| failure.class);
                (class, response.status, response.served_by.clone(), response.body_start(), response.body_length)
            };
            let mut whole = Response::new();
            let whole_result = whole.feed(&bytes).and_then(|()| whole.end());
            let mut pieces = Response::new();
            let mut rest = bytes.as_slice();
            let mut result = Ok(());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || result.is_err() {
                    break;
                }
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                result = pieces.feed(piece);
                rest = left;
            }
            let result = result.and_then(|()| pieces.end());
            prop_assert_eq!(summary(&whole, whole_result), summary(&pieces, result));
        }
    }
}
