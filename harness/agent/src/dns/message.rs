//! DNS messages: questions made, answers read. Pure: no I/O.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};
use reachmap_wire::{DnsFailure, QuestionKind, Record, RecordData};

/// What glibc asks for with `edns0`: its `RESOLV_EDNS_BUFFER_SIZE`.
const EDNS_PAYLOAD: u16 = 1200;

/// No CNAME chain is followed further: it is a loop.
const CHAIN_LIMIT: usize = 16;

/// A question ready to be sent.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    id: u16,
    query: Query,
}

/// An answer that belongs to its question.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its code by name: `NOERROR`.
    pub(crate) rcode: String,
    /// The answer section.
    pub(crate) records: Vec<Record>,
    /// The failure that the code and the section amount to.
    pub(crate) failure: Option<DnsFailure>,
    /// It did not fit, and should be asked for by TCP.
    pub(crate) truncated: bool,
}

/// What bytes turned out to be.
#[derive(Debug)]
pub(crate) enum Received {
    /// The answer.
    Answer(Answer),
    /// An answer to something else: stale, or forged.
    Stray,
    /// Not a DNS message.
    Malformed,
}

impl Asked {
    /// A question with a random id; `None` if `name` cannot stand in a message (RFC 1035 section 2.3.4).
    pub(crate) fn new(name: &str, kind: QuestionKind, edns: bool) -> Option<Self> {
        let query = Query::query(Name::from_ascii(name).ok()?, record_type(kind));
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_PAYLOAD);
            message.set_edns(edns);
        }
        Some(Self { bytes: message.to_vec().ok()?, id: message.metadata.id, query })
    }

    /// Reads what came back.
    pub(crate) fn read(&self, bytes: &[u8]) -> Received {
        let Ok(message) = Message::from_vec(bytes) else {
            return Received::Malformed;
        };
        let ours = message.metadata.id == self.id
            && message.metadata.message_type == MessageType::Response
            && message.queries.as_slice() == std::slice::from_ref(&self.query);
        if !ours {
            return Received::Stray;
        }
        let records: Vec<Record> = message.answers.iter().map(record).collect();
        let code = message.metadata.response_code;
        let failure = match code {
            ResponseCode::NoError if records.is_empty() => Some(DnsFailure::NoData),
            ResponseCode::NoError => None,
            ResponseCode::NXDomain => Some(DnsFailure::NxDomain),
            ResponseCode::ServFail => Some(DnsFailure::ServFail),
            ResponseCode::Refused | ResponseCode::NotImp => Some(DnsFailure::Refused),
            _ => Some(DnsFailure::Malformed),
        };
        Received::Answer(Answer { rcode: rcode(code), records, failure, truncated: message.metadata.truncation })
    }
}

/// What somebody else's message asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The message's id.
    pub(crate) id: u16,
    /// The name, absolute, in the case in which it is asked.
    pub(crate) name: String,
    /// The record type.
    pub(crate) kind: QuestionKind,
}

impl Question {
    /// Reads the header and the first question of `bytes`, whatever follows; `None` if they hold none.
    ///
    /// No server answers a second one, and nobody asks it (RFC 9619).
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).ok()?;
        if header.counts.queries == 0 || header.metadata.message_type != MessageType::Query {
            return None;
        }
        let query = Query::read(&mut decoder).ok()?;
        Some(Self { id: header.metadata.id, name: query.name().to_ascii(), kind: kind(query.query_type()) })
    }
}

/// What a server said to somebody else.
#[derive(Debug)]
pub(crate) struct Said {
    /// The message's id.
    pub(crate) id: u16,
    /// Its code by name: `NOERROR`.
    pub(crate) rcode: String,
    /// It did not fit.
    pub(crate) truncated: bool,
    /// The answer section.
    pub(crate) records: Vec<Record>,
    /// The authority section has an SOA record.
    pub(crate) soa: bool,
}

impl Said {
    /// Reads a whole answer; `None` if `bytes` are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        (message.metadata.message_type == MessageType::Response).then(|| Self {
            id: message.metadata.id,
            rcode: rcode(message.metadata.response_code),
            truncated: message.metadata.truncation,
            records: message.answers.iter().map(record).collect(),
            soa: message.authorities.iter().any(|record| record.record_type() == RecordType::SOA),
        })
    }
}

/// The addresses that `records` give for `name`, along its CNAMEs, in the order of the answer.
///
/// An address of a name that is not on the chain is not `name`'s.
pub(crate) fn addresses(name: &str, records: &[Record]) -> Vec<IpAddr> {
    let mut current = name;
    for _ in 0..CHAIN_LIMIT {
        let alias = records.iter().find_map(|record| match &record.data {
            RecordData::Cname(target) if record.name.eq_ignore_ascii_case(current) => Some(target),
            _ => None,
        });
        match alias {
            Some(target) => current = target,
            None => break,
        }
    }
    records
        .iter()
        .filter(|record| record.name.eq_ignore_ascii_case(current))
        .filter_map(|record| match record.data {
            RecordData::Address(address) => Some(address),
            _ => None,
        })
        .collect()
}

fn record(record: &hickory_proto::rr::Record) -> Record {
    let data = match &record.data {
        RData::A(address) => RecordData::Address(IpAddr::V4(address.0)),
        RData::AAAA(address) => RecordData::Address(IpAddr::V6(address.0)),
        RData::CNAME(target) => RecordData::Cname(target.0.to_ascii()),
        RData::PTR(name) => RecordData::Ptr(name.0.to_ascii()),
        RData::SRV(service) => RecordData::Srv {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            target: service.target.to_ascii(),
        },
        other => RecordData::Other(format!("{} {other}", record.record_type())),
    };
    Record { name: record.name.to_ascii(), ttl: record.ttl, data }
}

fn record_type(kind: QuestionKind) -> RecordType {
    match kind {
        QuestionKind::A => RecordType::A,
        QuestionKind::Aaaa => RecordType::AAAA,
        QuestionKind::Cname => RecordType::CNAME,
        QuestionKind::Ptr => RecordType::PTR,
        QuestionKind::Srv => RecordType::SRV,
        QuestionKind::Txt => RecordType::TXT,
        QuestionKind::Ns => RecordType::NS,
        QuestionKind::Soa => RecordType::SOA,
        QuestionKind::Any => RecordType::ANY,
        QuestionKind::Other(number) => RecordType::from(number),
    }
}

fn kind(record_type: RecordType) -> QuestionKind {
    match record_type {
        RecordType::A => QuestionKind::A,
        RecordType::AAAA => QuestionKind::Aaaa,
        RecordType::CNAME => QuestionKind::Cname,
        RecordType::PTR => QuestionKind::Ptr,
        RecordType::SRV => QuestionKind::Srv,
        RecordType::TXT => QuestionKind::Txt,
        RecordType::NS => QuestionKind::Ns,
        RecordType::SOA => QuestionKind::Soa,
        RecordType::ANY => QuestionKind::Any,
        other => QuestionKind::Other(u16::from(other)),
    }
}

/// The mnemonics of the IANA registry "DNS RCODEs".
fn rcode(code: ResponseCode) -> String {
    match u16::from(code) {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        number => format!("RCODE{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str, address: &str) -> Record {
        Record { name: name.to_owned(), ttl: 5, data: RecordData::Address(address.parse().unwrap()) }
    }

    fn alias(name: &str, target: &str) -> Record {
        Record { name: name.to_owned(), ttl: 5, data: RecordData::Cname(target.to_owned()) }
    }

    #[test]
    fn addresses_are_those_at_the_end_of_the_chain() {
        let records = [
            address("c.", "10.0.0.1"),
            alias("A.", "b."),
            alias("b.", "c."),
            address("c.", "10.0.0.2"),
            address("stranger.", "10.0.0.3"),
        ];
        assert_eq!(addresses("a.", &records), ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn a_chain_that_loops_has_no_addresses() {
        assert!(addresses("a.", &[alias("a.", "b."), alias("b.", "a.")]).is_empty());
    }

    #[test]
    fn only_the_answer_to_this_very_question_counts() {
        let asked = Asked::new("web.shop.", QuestionKind::A, false).unwrap();
        let mut reply = Message::from_vec(&asked.bytes).unwrap().into_response();
        assert!(matches!(asked.read(&asked.bytes), Received::Stray), "a question is no answer");
        assert!(matches!(asked.read(&reply.to_vec().unwrap()), Received::Answer(_)));
        reply.metadata.id ^= 1;
        assert!(matches!(asked.read(&reply.to_vec().unwrap()), Received::Stray), "another id");
        reply.metadata.id ^= 1;
        reply.queries[0].set_name(Name::from_ascii("web.other.").unwrap());
        assert!(matches!(asked.read(&reply.to_vec().unwrap()), Received::Stray), "another name");
        assert!(matches!(asked.read(b"hello"), Received::Malformed));
    }

    #[test]
    fn a_name_that_fits_no_message_cannot_be_asked() {
        assert!(Asked::new(&format!("{}.", "a".repeat(64)), QuestionKind::A, false).is_none());
        assert!(Asked::new("a..b.", QuestionKind::A, false).is_none());
    }

    #[test]
    fn anybodys_question_can_be_read_whatever_follows_it() {
        for kind in [QuestionKind::A, QuestionKind::Aaaa, QuestionKind::Ptr, QuestionKind::Other(65)] {
            let asked = Asked::new("Web.shop.", kind, true).unwrap();
            let wanted = Question { id: asked.id, name: "Web.shop.".to_owned(), kind };
            assert_eq!(Question::read(&asked.bytes), Some(wanted));
            // Without all of its additional section.
            let cut = &asked.bytes[..asked.bytes.len() - 3];
            assert!(Message::from_vec(cut).is_err() && Question::read(cut).is_some());
            assert!(Said::read(&asked.bytes).is_none(), "a question is no answer");
        }
        assert_eq!(Question::read(b"hello"), None);
    }

    #[test]
    fn anybodys_answer_can_be_read() {
        let asked = Asked::new("web.shop.", QuestionKind::A, false).unwrap();
        let mut reply = Message::from_vec(&asked.bytes).unwrap().into_response();
        reply.metadata.response_code = ResponseCode::ServFail;
        reply.metadata.truncation = true;
        let said = Said::read(&reply.to_vec().unwrap()).unwrap();
        assert_eq!((said.id, said.rcode.as_str(), said.truncated), (asked.id, "SERVFAIL", true));
        assert_eq!(Question::read(&reply.to_vec().unwrap()), None, "an answer is no question");
    }

    #[test]
    fn edns_is_sent_only_if_configured() {
        let size = |edns| Asked::new("web.", QuestionKind::Aaaa, edns).unwrap().bytes.len();
        assert_eq!(size(true), size(false) + 11);
    }
}
