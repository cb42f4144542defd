//! A server on loopback that writes down every id, on a thread of its own.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the server does with a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Answer,
    AnswerAndClose,
    /// Answers after so long.
    AnswerAfter(Duration),
    /// Closes within the body.
    CutOff,
    CloseUnanswered,
    Reset,
    /// Answers nothing, and stays.
    Silence,
    /// Says something that is not HTTP.
    Nonsense,
    /// Answers, and closes without having said that it would, after so long.
    AnswerAndDrop(Duration),
}

#[derive(Debug, Default)]
struct Seen {
    ids: BTreeMap<String, u32>,
    client_ports: Vec<u16>,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// Starts one; `turn` is asked with the number of the request, from 1, of all and of its connection.
    pub(super) async fn start(turn: impl Fn(u64, u64) -> Turn + Send + Sync + 'static) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (port, bound) = tokio::sync::oneshot::channel();
        let ours = Arc::clone(&seen);
        // The test's own thread has enough to do with what the agent says.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                port.send(listener.local_addr().unwrap().port()).unwrap();
                let turn = Arc::new(turn);
                while let Ok((stream, client)) = listener.accept().await {
                    ours.lock().unwrap().client_ports.push(client.port());
                    let (seen, turn) = (Arc::clone(&ours), Arc::clone(&turn));
                    tokio::spawn(serve(stream, seen, move |all, nth| turn(all, nth)));
                }
            });
        });
        Self { port: bound.await.unwrap(), seen }
    }

    /// How often each id came, by the path.
    pub(super) fn ids(&self) -> BTreeMap<String, u32> {
        self.seen.lock().unwrap().ids.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().client_ports.len()
    }

    pub(super) fn client_ports(&self) -> Vec<u16> {
        self.seen.lock().unwrap().client_ports.clone()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>, turn: impl Fn(u64, u64) -> Turn) {
    stream.set_nodelay(true).unwrap();
    let client = stream.peer_addr().unwrap().ip();
    let mut head = Vec::new();
    for nth in 1.. {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let text = std::str::from_utf8(&head).unwrap();
        let id = text.strip_prefix("GET /?id=").unwrap().split_once(' ').unwrap().0;
        assert!(text.contains(&format!("\r\nX-Request-Id: {id}\r\n")), "{text}");
        let all = {
            let mut seen = seen.lock().unwrap();
            *seen.ids.entry(id.to_owned()).or_default() += 1;
            seen.ids.len() as u64
        };
        head.clear();
        let answer = |connection: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nX-Served-By: nginx-1\r\nX-Client-Address: {client}\r\n{connection}Content-Length: 5\r\n\r\nhello"
            )
        };
        let (answer, stays) = match turn(all, nth) {
            Turn::Answer => (answer(""), true),
            Turn::AnswerAndClose => (answer("Connection: close\r\n"), false),
            Turn::AnswerAfter(wait) => {
                tokio::time::sleep(wait).await;
                (answer(""), true)
            }
            Turn::CutOff => (answer("").trim_end_matches("lo").to_owned(), false),
            Turn::CloseUnanswered => (String::new(), false),
            Turn::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Turn::Silence => (String::new(), true),
            Turn::Nonsense => ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), false),
            Turn::AnswerAndDrop(wait) => {
                if stream.write_all(answer("").as_bytes()).await.is_err() {
                    return;
                }
                tokio::time::sleep(wait).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || !stays {
            return;
        }
    }
}
