//! A stand-in for the API server's exec endpoint: `v5.channel.k8s.io` over a WebSocket, with real
//! processes of this machine behind it.

use std::{net::Ipv4Addr, path::PathBuf, process::Stdio, sync::Arc};

use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::Notify,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// The channels of `k8s.io/apimachinery/pkg/util/remotecommand`.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const CLOSE: u8 = 255;

/// A running server.
pub(crate) struct ApiServer {
    /// A client of it.
    pub(crate) client: reachmap::kube::Client,
    /// Stands for `/agent` of the pod.
    pub(crate) directory: PathBuf,
    state: Arc<State>,
    _directory: tempfile::TempDir,
}

struct State {
    directory: String,
    /// Cuts every connection when told.
    cut: Notify,
    /// Cuts a connection when it has carried this many bytes of standard input.
    cut_after: std::sync::atomic::AtomicUsize,
    requests: std::sync::Mutex<Vec<String>>,
}

impl ApiServer {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(State {
            directory: directory.path().to_str().unwrap().to_owned(),
            cut: Notify::new(),
            cut_after: usize::MAX.into(),
            requests: std::sync::Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(stream, &state) => {}
                        () = state.cut.notified() => {}
                    }
                });
            }
        });
        let client = reachmap::kube::Client::try_from(reachmap::kube::Config::new(url.parse().unwrap())).unwrap();
        Self { client, directory: directory.path().to_owned(), state, _directory: directory }
    }

    /// Cuts every connection that is open now.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// Cuts each later connection after that many bytes of standard input.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.state.cut_after.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// The path and query of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, state: &State) {
    let mut uri = String::new();
    #[expect(clippy::result_large_err, reason = "the WebSocket library's signature")]
    let accept = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        uri = request.uri().to_string();
        let offered = request.headers()["sec-websocket-protocol"].to_str().unwrap();
        assert!(offered.contains("v5.channel.k8s.io"), "{offered}");
        response.headers_mut().insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().unwrap());
        Ok(response)
    };
    let socket = accept_hdr_async(stream, accept).await.unwrap();
    state.requests.lock().unwrap().push(uri.clone());
    let argv: Vec<String> = uri
        .split(['?', '&'])
        .filter_map(|part| part.strip_prefix("command="))
        .map(|word| decode(word).replace("/agent", &state.directory))
        .collect();
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take();
    let (frames, mut outgoing) = mpsc::channel(4);
    let stdout = forward(child.stdout.take().unwrap(), STDOUT, frames.clone());
    let stderr = forward(child.stderr.take().unwrap(), STDERR, frames.clone());
    let (mut sink, mut source) = socket.split();
    let send = async {
        while let Some(frame) = outgoing.next().await {
            sink.send(Message::binary(frame)).await.unwrap();
        }
    };
    let run = async move {
        tokio::join!(stdout, stderr);
        let code = child.wait().await.unwrap().code().unwrap_or(137);
        let mut frames = frames;
        frames.send([&[STATUS], status(code).as_bytes()].concat()).await.unwrap();
    };
    let mut carried = 0;
    let receive = async {
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(frame) = message else {
                continue;
            };
            match frame.as_ref() {
                [STDIN, data @ ..] => {
                    carried += data.len();
                    if carried > state.cut_after.load(std::sync::atomic::Ordering::Relaxed) {
                        // As when the client is killed: the program sees the end of its input.
                        stdin = None;
                        return;
                    }
                    if let Some(stdin) = &mut stdin {
                        let _ = stdin.write_all(data).await;
                    }
                }
                [CLOSE, STDIN] => stdin = None,
                _ => {}
            }
        }
    };
    let has_ended = tokio::select! {
        ((), ()) = async { tokio::join!(run, send) } => true,
        () = receive => false,
    };
    let _ = sink.close().await;
    if has_ended {
        // A socket that is dropped with something to read resets the connection, and the client may lose the answer's end.
        while let Some(Ok(_)) = source.next().await {}
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, channel: u8, mut frames: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        frames.send([&[channel], &buffer[..length]].concat()).await.unwrap();
    }
}

fn status(code: i32) -> String {
    match code {
        0 => r#"{"metadata":{},"status":"Success"}"#.to_owned(),
        code => format!(
            r#"{{"metadata":{{}},"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with non-zero exit code","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
        ),
    }
}

/// `application/x-www-form-urlencoded`.
fn decode(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
