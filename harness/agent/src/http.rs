//! An HTTP/1.1 response read piece by piece (RFC 9112). Pure: no I/O.
//!
//! Bounded throughout: a head of [`HEAD_LIMIT`], a body of [`BODY_LIMIT`], of which the first
//! [`BODY_START`] bytes are kept.

use std::{borrow::Cow, net::IpAddr};

use reachmap_wire::{Failure, FailureClass};

/// The longest status line and header section that is read, in bytes; also the longest chunk line and trailer section.
const HEAD_LIMIT: usize = 16 * 1024;

/// The longest body that is read, in bytes.
const BODY_LIMIT: u64 = 1024 * 1024;

/// How much of the body is kept, in bytes.
const BODY_START: usize = 256;

/// A line or head, and the bytes that follow it.
type Taken<'a> = (Cow<'a, [u8]>, &'a [u8]);

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
    /// Whether the connection may carry no further request (RFC 9112 section 9.3).
    pub(crate) closes: bool,
    body_limit: u64,
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
    Failure { class: FailureClass::Malformed, message: message.into() }
}

impl Response {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self::with_body_limit(BODY_LIMIT)
    }

    /// Nothing read yet, and a body of at most so many bytes to come.
    pub(crate) fn with_body_limit(body_limit: u64) -> Self {
        Self {
            phase: Phase::Head,
            pending: Vec::new(),
            status: None,
            served_by: None,
            client_address: None,
            body_length: 0,
            closes: false,
            body_limit,
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
            Err(error) if error.error_len().is_none() && self.body_start.len() == BODY_START => error.valid_up_to(),
            _ => self.body_start.len(),
        };
        String::from_utf8_lossy(&self.body_start[..cut]).into_owned()
    }

    /// Reads the next `bytes`; what follows a complete response is ignored, and the connection is of no more use.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        loop {
            bytes = match self.phase {
                Phase::Complete => {
                    self.closes |= !bytes.is_empty();
                    return Ok(());
                }
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
                            return Err(malformed(format!("trailers of more than {HEAD_LIMIT} bytes")));
                        }
                        self.phase = if line.is_empty() { Phase::Complete } else { Phase::Trailer(read) };
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
        let closed = |message: String| Err(Failure { class: FailureClass::Closed, message });
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
        // Mostly all of it comes at once, and need not be kept.
        if known == 0
            && let Some((length, consumed)) = end(bytes).filter(|(length, _)| *length <= HEAD_LIMIT)
        {
            return Ok(Some((Cow::Borrowed(&bytes[..length]), &bytes[consumed..])));
        }
        self.pending.extend_from_slice(bytes);
        let Some((length, consumed)) = end(&self.pending) else {
            if self.pending.len() > HEAD_LIMIT {
                return Err(malformed(format!("a head or line of more than {HEAD_LIMIT} bytes")));
            }
            return Ok(None);
        };
        if length > HEAD_LIMIT {
            return Err(malformed(format!("a head or line of more than {HEAD_LIMIT} bytes")));
        }
        let mut taken = std::mem::take(&mut self.pending);
        taken.truncate(length);
        Ok(Some((Cow::Owned(taken), &bytes[consumed - known..])))
    }

    fn body<'a>(&mut self, bytes: &'a [u8], left: u64, next: impl FnOnce(u64) -> Phase) -> Result<&'a [u8], Failure> {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (data, rest) = bytes.split_at(take);
        let keep = (BODY_START - self.body_start.len()).min(data.len());
        self.body_start.extend_from_slice(&data[..keep]);
        self.body_length += data.len() as u64;
        if self.body_length > self.body_limit {
            return Err(Failure {
                class: FailureClass::Other,
                message: format!("the body is longer than {} bytes", self.body_limit),
            });
        }
        self.phase = next(left - take as u64);
        Ok(rest)
    }

    fn head(&mut self, head: &[u8]) -> Result<(), Failure> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split('\n').map(|line| line.trim_end_matches('\r'));
        let first = lines.next().unwrap_or_default();
        let status = status(first)?;
        self.closes = first.starts_with("HTTP/1.0");
        let mut length: Option<u64> = None;
        let mut chunked = false;
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(format!("not a header: {line:?}")))?;
            let value = value.trim();
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("content-length") {
                let parsed = value.parse().map_err(|_| malformed(format!("Content-Length is {value:?}")))?;
                if length.is_some_and(|length| length != parsed) {
                    return Err(malformed("two different Content-Lengths"));
                }
                length = Some(parsed);
            } else if is("transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with("chunked");
            } else if is("connection") {
                for option in value.split(',').map(str::trim) {
                    self.closes |= option.eq_ignore_ascii_case("close");
                    self.closes &= !option.eq_ignore_ascii_case("keep-alive");
                }
            } else if is("x-served-by") {
                self.served_by.get_or_insert_with(|| value.to_owned());
            } else if is("x-client-address") {
                let address = || value.parse().ok().map(|ip: IpAddr| ip.to_canonical());
                self.client_address = self.client_address.or_else(address);
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
        self.closes |= status == 101 || self.phase == Phase::UntilClose;
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
    let length = if end > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
    Some((length, end + 1))
}

fn status(line: &str) -> Result<u16, Failure> {
    let fail = || malformed(format!("not a status line: {:?}", line.chars().take(80).collect::<String>()));
    let mut words = line.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    if !version.starts_with("HTTP/1.") || code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fail());
    }
    code.parse().ok().filter(|code| (100..600).contains(code)).ok_or_else(fail)
}

fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let text = String::from_utf8_lossy(line);
    let size = text.split(';').next().unwrap_or_default().trim();
    let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(size, 16).ok())
        .flatten()
        .ok_or_else(|| malformed(format!("not a chunk size: {:?}", size.chars().take(40).collect::<String>())))
}

#[cfg(test)]
mod tests;
