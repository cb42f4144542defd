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
    assert_eq!((response.body_start().as_str(), response.body_length), ("hello", 5));
}

#[test]
fn chunks_are_put_together() {
    let (response, result) = read(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: yes\r\n\r\n",
    );
    result.unwrap();
    assert_eq!((response.body_start().as_str(), response.body_length), ("hello world", 11));
}

#[test]
fn without_a_length_the_body_ends_with_the_connection() {
    let (response, result) = read("HTTP/1.0 404 Not Found\nServer: x\n\nnothing here");
    result.unwrap();
    assert_eq!((response.status, response.body_length), (Some(404), 12));
}

#[test]
fn a_connection_is_of_use_again_unless_something_is_against_it() {
    let closes = |text: &str| {
        let (response, result) = read(text);
        result.unwrap();
        response.closes
    };
    assert!(!closes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"));
    assert!(!closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"));
    assert!(!closes("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx"));
    assert!(closes("HTTP/1.1 200 OK\r\nConnection: upgrade, Close\r\nContent-Length: 1\r\n\r\nx"));
    assert!(closes("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"));
    assert!(closes("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    assert!(closes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx and what nobody asked for"));
}

#[test]
fn an_interim_response_is_passed_over() {
    let (response, result) = read("HTTP/1.1 103 Early Hints\r\nX-Served-By: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    result.unwrap();
    assert_eq!((response.status, response.served_by), (Some(204), None));
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let class = |text: &str| read(text).1.unwrap_err().class;
    assert_eq!(class(""), FailureClass::Closed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nX-Serv"), FailureClass::Closed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), FailureClass::Closed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"), FailureClass::Closed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n"), FailureClass::Malformed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n"), FailureClass::Malformed);
    assert_eq!(class("SSH-2.0-OpenSSH_9.2\r\n"), FailureClass::Malformed);
    assert_eq!(class("HTTP/1.1 999 Odd\r\n\r\n"), FailureClass::Malformed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), FailureClass::Malformed);
    assert_eq!(class("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), FailureClass::Malformed);
    assert_eq!(class(&format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_LIMIT))), FailureClass::Malformed);
}

#[test]
fn a_body_without_end_is_cut_off() {
    let mut response = Response::new();
    response.feed(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let failure = (0..20).find_map(|_| response.feed(&piece).err()).expect("1.25 MiB is too much");
    assert_eq!(failure.class, FailureClass::Other);
    assert_eq!(response.body_start().len(), BODY_START);
}

#[test]
fn a_character_cut_in_half_is_left_out() {
    let (response, result) = read(&format!("HTTP/1.1 200 OK\r\n\r\n{}é and so on", "x".repeat(BODY_START - 1)));
    result.unwrap();
    assert_eq!(response.body_start(), "x".repeat(BODY_START - 1));
}

fn responses() -> impl Strategy<Value = Vec<u8>> {
    let chunked = proptest::collection::vec("[a-z]{1,40}", 0..5).prop_map(|chunks| {
        use std::fmt::Write as _;
        let mut text = "HTTP/1.1 200 OK\r\nX-Served-By: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for chunk in chunks {
            write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
        }
        text.push_str("0\r\n\r\n");
        text.into_bytes()
    });
    let plain = "[a-z]{0,400}"
        .prop_map(|body| format!("HTTP/1.1 503 No\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let near = noise.clone().prop_map(|noise| [b"HTTP/1.1 200 OK\r\n".as_slice(), &noise].concat());
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
