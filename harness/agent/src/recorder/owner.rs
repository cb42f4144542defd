//! Whose socket it is, as `/proc` tells (`proc(5)`): the process group that has it open.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use reachmap_wire::Transport;
use rustix::process::Pid;

/// How often the table is read before a socket counts as closed.
const LOOKS: usize = 3;

/// Who has a socket open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A process of this process group, which was asked for.
    Group(Pid),
    /// Somebody else.
    Another,
    /// It is closed already.
    Nobody,
}

/// Who has the socket `client` open: a process of the groups that `is_wanted` says, or somebody else.
///
/// All of them are in the agent's own network and process namespaces.
pub(super) fn of(client: SocketAddr, transport: Transport, is_wanted: impl Fn(Pid) -> bool) -> Owner {
    // The kernel does not hold its table still while it is read: what is not found there may have been passed over.
    let Some(sockets) = (0..LOOKS).map(|_| sockets(client, transport)).find(|sockets| !sockets.is_empty()) else {
        return Owner::Nobody;
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|process| process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .find_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let group = process_group(&stat).filter(|group| is_wanted(*group))?;
            has_open(&process.path(), &sockets).then_some(group)
        })
        .map_or_else(
            || match self::sockets(client, transport) {
                // It was closed while its owner was looked for.
                now if now.is_disjoint(&sockets) => Owner::Nobody,
                _ => Owner::Another,
            },
            Owner::Group,
        )
}

/// The sockets with the client's port, as the links in `/proc/PID/fd` call them.
fn sockets(client: SocketAddr, transport: Transport) -> BTreeSet<String> {
    let table = match transport {
        Transport::Udp => "/proc/net/udp",
        Transport::Tcp => "/proc/net/tcp",
    };
    // A socket of IPv6 speaks IPv4, too.
    [table.to_owned(), format!("{table}6")]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|text| inodes(&text, client.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect()
}

fn has_open(process: &Path, sockets: &BTreeSet<String>) -> bool {
    // One that has ended meanwhile has nothing open.
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// The sockets in `/proc/net/udp` or `tcp` whose own port is `port`.
fn inodes(text: &str, port: u16) -> Vec<u64> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_, local) = fields.nth(1)?.rsplit_once(':')?;
            // After it come the other end, the state, the queues, the timer, the retransmissions, the user and the timeout.
            let inode = fields.nth(7)?.parse().ok()?;
            // One that waits for its end (TIME_WAIT) is nobody's, and has none.
            (u16::from_str_radix(local, 16) == Ok(port) && inode != 0).then_some(inode)
        })
        .collect()
}

/// The fifth field of `/proc/PID/stat`; the second, a name, may hold anything.
fn process_group(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(2)?.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_table_of_sockets_is_read_by_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 101 2 0 0\n\
            2: 0100007F:D431 0100007F:0035 01 00000000:00000000 00:00000000 00000000  1000        0 202 2 0 0\n";
        assert_eq!(inodes(text, 54321), [202]);
        assert_eq!(inodes(text, 53), [101]);
        assert!(inodes(text, 54).is_empty());
    }

    #[test]
    fn a_process_may_be_called_anything() {
        assert_eq!(process_group("7 (a b) c) S 1 42 7 0"), Pid::from_raw(42));
        assert_eq!(process_group("7 (a"), None);
    }

    #[test]
    fn our_own_sockets_are_ours_others_are_anothers_and_closed_ones_are_nobodys() {
        let ours = rustix::process::getpgrp();
        let is_ours = |group| group == ours;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(of(address, Transport::Udp, is_ours), Owner::Group(ours));
        assert_eq!(of(address, Transport::Udp, |_| false), Owner::Another);
        drop(socket);
        assert_eq!(of(address, Transport::Udp, is_ours), Owner::Nobody);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(of(stream.local_addr().unwrap(), Transport::Tcp, is_ours), Owner::Group(ours));
    }
}
