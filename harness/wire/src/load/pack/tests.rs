use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{Failure, FailureClass, Fate};

fn failures() -> impl Strategy<Value = Failure> {
    let class = prop_oneof![Just(FailureClass::Reset), Just(FailureClass::Refused), Just(FailureClass::Timeout)];
    (class, "[a-z\\n\"]{0,3}").prop_map(|(class, message)| Failure { class, message })
}

fn answers() -> impl Strategy<Value = Answer> {
    let fate = prop_oneof![Just(Fate::Unsent), Just(Fate::Sent), Just(Fate::Answering), Just(Fate::Answered)];
    (option::of(100_u16..600), option::of("pod-[0-2]"), option::of(any::<u32>()), option::of(failures()), fate)
        .prop_map(|(status, served_by, address, failure, fate)| Answer {
            status,
            served_by,
            client_address: address.map(|address| std::net::Ipv4Addr::from(address).into()),
            failure,
            fate,
        })
}

fn requests() -> impl Strategy<Value = Vec<LoadedRequest>> {
    any::<bool>().prop_flat_map(|paced| {
        let request = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), answers());
        vec(request, 0..40).prop_map(move |rows| {
            let request = |(number, connection, start_us, late, took_us, answer)| LoadedRequest {
                number,
                connection,
                start_us,
                late_us: paced.then_some(late),
                took_us,
                answer,
            };
            rows.into_iter().map(request).collect()
        })
    })
}

fn connections() -> impl Strategy<Value = Vec<LoadedConnection>> {
    let end = prop_oneof![
        Just(ConnectionEnd::Ours),
        Just(ConnectionEnd::Servers),
        failures().prop_map(ConnectionEnd::Failed)
    ];
    let connect = option::of(0..i64::MAX.cast_unsigned());
    let connection = (any::<u64>(), any::<u64>(), connect, option::of(1_u16..), any::<u32>(), end);
    vec(
        connection.prop_map(|(number, start_us, connect_us, local_port, requests, end)| LoadedConnection {
            number,
            start_us,
            connect_us,
            local_port,
            requests,
            end,
        }),
        0..40,
    )
}

proptest! {
    #[test]
    fn whatever_is_packed_and_sent_is_unpacked(requests in requests(), connections in connections()) {
        let sent = serde_json::to_string(&LoadPart::pack(&requests, &connections)).unwrap();
        let part: LoadPart = serde_json::from_str(&sent).unwrap();
        prop_assert_eq!(part.unpack(), Ok((requests, connections)));
    }

    #[test]
    fn no_part_makes_it_panic(
        numbers in vec(any::<i64>(), 0..3),
        places in vec(any::<u32>(), 0..3),
        ended in vec(any::<[i64; 6]>(), 0..3),
        table in vec(answers(), 0..3),
    ) {
        let part = LoadPart {
            connections: numbers.clone(),
            starts_us: numbers.clone(),
            took_us: vec![1; numbers.len()],
            numbers,
            answers: places,
            table,
            ended,
            ..LoadPart::default()
        };
        let _ = part.unpack();
    }
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let part = LoadPart { numbers: vec![1], ..LoadPart::default() };
    assert_eq!(part.unpack().unwrap_err(), "1 requests, and columns of [0, 0, 0, 0] and 0");
}

#[test]
fn an_answer_that_is_not_in_the_table_is_refused() {
    let one =
        LoadedRequest { number: 0, connection: 0, start_us: 0, late_us: None, took_us: 1, answer: Answer::default() };
    let part = LoadPart { table: Vec::new(), ..LoadPart::pack(&[one], &[]) };
    assert_eq!(part.unpack().unwrap_err(), "no answer 0 in the table");
}

#[test]
fn a_request_takes_a_few_bytes() {
    let answer = |pod: u64| Answer {
        status: Some(200),
        served_by: Some(format!("nginx-multiple-nodes-6c8bbdc5f5-{pod}")),
        client_address: Some("10.244.1.1".parse().unwrap()),
        failure: None,
        fate: Fate::Answered,
    };
    // As 50 kept connections make them: each entry some hundred microseconds from the one before it.
    let requests: Vec<LoadedRequest> = (0..512)
        .map(|number| LoadedRequest {
            number: 70_000 + number,
            connection: number * 17 % 50,
            start_us: 4_000_000 + number * 131 + number * 37 % 900,
            late_us: None,
            took_us: 1_000 + number * 7 % 2_000,
            answer: answer(number % 3),
        })
        .collect();
    let length = serde_json::to_string(&LoadPart::pack(&requests, &[])).unwrap().len();
    assert!(length < 512 * 25, "{} bytes a request", length / 512);
}
