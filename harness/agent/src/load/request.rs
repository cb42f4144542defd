//! The bytes of a request. Pure.

use std::io::Write as _;

use reachmap_wire::Load;

/// What all requests of a load have in common.
#[derive(Debug)]
pub(super) struct Template {
    /// Up to the number in the path.
    before: Vec<u8>,
    /// From there up to the number in the header.
    between: Vec<u8>,
    /// From there to the end.
    after: Vec<u8>,
}

impl Template {
    pub(super) fn new(load: &Load) -> Self {
        let Load { path, host, id_prefix, .. } = load;
        let separator = if path.contains('?') { '&' } else { '?' };
        let version = env!("CARGO_PKG_VERSION");
        let connection = if load.keep_alive { "" } else { "Connection: close\r\n" };
        Self {
            before: format!("GET {path}{separator}id={id_prefix}-").into_bytes(),
            between: format!(
                " HTTP/1.1\r\nHost: {host}\r\nUser-Agent: reachmap-agent/{version}\r\nAccept: */*\r\n\
                 X-Request-Id: {id_prefix}-"
            )
            .into_bytes(),
            after: format!("\r\n{connection}\r\n").into_bytes(),
        }
    }

    /// Puts the request of that number in the place of what `bytes` hold.
    pub(super) fn write(&self, number: u64, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.extend_from_slice(&self.before);
        // Writing to a vector cannot fail.
        let _ = write!(bytes, "{number}");
        let digits = self.before.len()..bytes.len();
        bytes.extend_from_slice(&self.between);
        bytes.extend_from_within(digits);
        bytes.extend_from_slice(&self.after);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::load, *};

    fn text(load: &Load, number: u64) -> String {
        let mut bytes = b"whatever was there".to_vec();
        Template::new(load).write(number, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_id_stands_in_the_path_and_in_a_header() {
        let text = text(&load(), 907);
        assert!(text.starts_with("GET /?id=r1-907 HTTP/1.1\r\nHost: web\r\n"), "{text}");
        assert!(text.ends_with("\r\nX-Request-Id: r1-907\r\n\r\n"), "{text}");
        assert!(!text.contains("Connection"), "keeping is the default of HTTP/1.1");
    }

    #[test]
    fn a_path_may_have_a_query_and_a_connection_an_end() {
        let text = text(&Load { path: "/slow?ms=5".to_owned(), keep_alive: false, ..load() }, 0);
        assert!(text.starts_with("GET /slow?ms=5&id=r1-0 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    }
}
