//! What a client saw: its connections, in the order in which they were made.

use std::collections::BTreeMap;

/// One connection: the unit of every test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its number: connections are numbered in the order in which the client made them.
    pub number: u64,
    /// The endpoint that answered on it.
    pub endpoint: String,
    /// How many requests were answered on it; with keep-alive, more than one.
    pub requests: u64,
}

/// The connections of one client.
///
/// ```
/// use reachmap::load::statistics::Sample;
/// // Two requests over connection 0, which was kept, and one over connection 1.
/// let sample = Sample::of_requests([(0, "a"), (1, "b"), (0, "a")]);
/// assert_eq!((sample.len(), sample.requests()), (2, 3));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    connections: Vec<Connection>,
    moved: Vec<u64>,
}

impl Sample {
    /// The connections behind answered requests: for each request the number of its connection, and the endpoint that
    /// answered. Without keep-alive, each number comes once. The order of the requests does not matter.
    pub fn of_requests<S: Into<String>>(requests: impl IntoIterator<Item = (u64, S)>) -> Self {
        let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
        let mut moved = Vec::new();
        for (number, endpoint) in requests {
            let endpoint = endpoint.into();
            match connections.get_mut(&number) {
                None => {
                    connections.insert(number, Connection { number, endpoint, requests: 1 });
                }
                Some(connection) => {
                    if connection.endpoint != endpoint {
                        moved.push(number);
                    }
                    connection.requests += 1;
                }
            }
        }
        moved.sort_unstable();
        moved.dedup();
        Self { connections: connections.into_values().collect(), moved }
    }

    /// How many connections there are.
    pub fn len(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many requests they carried.
    pub fn requests(&self) -> u64 {
        self.connections.iter().map(|connection| connection.requests).sum()
    }

    /// The connections, in order.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The numbers of connections on which more than one endpoint answered: no proxy that balances connections does
    /// that, so the numbers are not those of connections, or something speaks HTTP in between.
    pub fn moved(&self) -> &[u64] {
        &self.moved
    }
}
