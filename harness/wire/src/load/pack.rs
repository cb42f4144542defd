//! From requests and connections to a part, and back. Pure.

use std::collections::HashMap;

use super::{Answer, ConnectionEnd, LoadPart, LoadedConnection, LoadedRequest};

/// How a connection ended that we closed.
const OURS: i64 = 0;

/// How a connection ended that the server closed.
const SERVERS: i64 = 1;

/// How a connection ended that failed by the first of the failures.
const FAILED: i64 = 2;

impl LoadPart {
    /// Packs requests, which have a `late_us` all or none, and connections.
    pub fn pack(requests: &[LoadedRequest], connections: &[LoadedConnection]) -> Self {
        let mut part = Self::default();
        let mut places: HashMap<&Answer, u32> = HashMap::new();
        let (mut number, mut connection, mut start) = (0, 0, 0);
        for request in requests {
            part.numbers.push(difference(&mut number, request.number));
            part.connections.push(difference(&mut connection, request.connection));
            part.starts_us.push(difference(&mut start, request.start_us));
            part.took_us.push(request.took_us);
            part.late_us.extend(request.late_us);
            let place = *places.entry(&request.answer).or_insert_with(|| {
                part.table.push(request.answer.clone());
                u32::try_from(part.table.len() - 1).unwrap_or(u32::MAX)
            });
            part.answers.push(place);
        }
        let (mut number, mut start) = (0, 0);
        for connection in connections {
            let end = match &connection.end {
                ConnectionEnd::Ours => OURS,
                ConnectionEnd::Servers => SERVERS,
                ConnectionEnd::Failed(failure) => {
                    let known = part.failures.iter().position(|known| known == failure);
                    let place = known.unwrap_or_else(|| {
                        part.failures.push(failure.clone());
                        part.failures.len() - 1
                    });
                    FAILED.saturating_add_unsigned(place as u64)
                }
            };
            part.ended.push([
                difference(&mut number, connection.number),
                difference(&mut start, connection.start_us),
                connection.connect_us.map_or(-1, |us| i64::try_from(us).unwrap_or(i64::MAX)),
                connection.local_port.map_or(0, i64::from),
                i64::from(connection.requests),
                end,
            ]);
        }
        part
    }

    /// What was packed.
    ///
    /// # Errors
    /// What is wrong with it, if nothing can have been packed so.
    pub fn unpack(&self) -> Result<(Vec<LoadedRequest>, Vec<LoadedConnection>), String> {
        let length = self.numbers.len();
        let lengths = [self.connections.len(), self.starts_us.len(), self.took_us.len(), self.answers.len()];
        let paced = !self.late_us.is_empty();
        if lengths.iter().any(|other| *other != length) || (paced && self.late_us.len() != length) {
            return Err(format!("{length} requests, and columns of {lengths:?} and {}", self.late_us.len()));
        }
        let mut requests = Vec::with_capacity(length);
        let (mut number, mut connection, mut start) = (0, 0, 0);
        for row in 0..length {
            let place = self.answers[row];
            let answer = usize::try_from(place).ok().and_then(|place| self.table.get(place));
            requests.push(LoadedRequest {
                number: sum(&mut number, self.numbers[row]),
                connection: sum(&mut connection, self.connections[row]),
                start_us: sum(&mut start, self.starts_us[row]),
                late_us: self.late_us.get(row).copied(),
                took_us: self.took_us[row],
                answer: answer.ok_or_else(|| format!("no answer {place} in the table"))?.clone(),
            });
        }
        Ok((requests, self.unpack_connections()?))
    }

    fn unpack_connections(&self) -> Result<Vec<LoadedConnection>, String> {
        let (mut number, mut start) = (0, 0);
        let connections = self.ended.iter().map(|row| {
            let [by_number, by_start, connect, port, requests, end] = *row;
            let wrong = || format!("no connection is {row:?}");
            Ok(LoadedConnection {
                number: sum(&mut number, by_number),
                start_us: sum(&mut start, by_start),
                connect_us: if connect == -1 { None } else { Some(u64::try_from(connect).map_err(|_| wrong())?) },
                local_port: Some(u16::try_from(port).map_err(|_| wrong())?).filter(|port| *port != 0),
                requests: u32::try_from(requests).map_err(|_| wrong())?,
                end: match end {
                    OURS => ConnectionEnd::Ours,
                    SERVERS => ConnectionEnd::Servers,
                    failed => {
                        let place = failed.checked_sub(FAILED).and_then(|place| usize::try_from(place).ok());
                        let failure = place.and_then(|place| self.failures.get(place)).ok_or_else(wrong)?;
                        ConnectionEnd::Failed(failure.clone())
                    }
                },
            })
        });
        connections.collect()
    }
}

/// The difference of `value` to `before`, which it then takes the place of.
const fn difference(before: &mut u64, value: u64) -> i64 {
    let difference = value.wrapping_sub(*before).cast_signed();
    *before = value;
    difference
}

/// The value that has this `difference` to `before`, which it then takes the place of.
const fn sum(before: &mut u64, difference: i64) -> u64 {
    *before = before.wrapping_add_signed(difference);
    *before
}

#[cfg(test)]
mod tests;
