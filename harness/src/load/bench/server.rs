//! A small HTTP server on loopback, to be loaded.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Child,
};

use crate::{Context as _, Error, ErrorKind, Result, command::Command};

/// What it answers: as long as nginx's own front page.
const BODY_LENGTH: usize = 615;

/// How long nginx may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// nginx if the machine has it, else a server within this process.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The process is killed with the handle.
    Nginx {
        _process: Box<Child>,
        _directory: tempfile::TempDir,
    },
    BuiltIn {
        thread: tokio::task::AbortHandle,
    },
}

impl Server {
    pub(super) async fn start() -> Result<Self> {
        match which::which("nginx") {
            Ok(nginx) => Self::nginx(&nginx).await,
            Err(_) => Self::built_in().await,
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Nginx { .. } => "nginx (one process) on loopback",
            Kind::BuiltIn { .. } => "a built-in server on loopback",
        }
    }

    pub(super) const fn note(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Nginx { .. } => None,
            Kind::BuiltIn { .. } => Some(
                "nginx is not there (on Debian and Ubuntu: apt-get install nginx-light): a small server took its place.",
            ),
        }
    }

    async fn nginx(nginx: &Path) -> Result<Self> {
        let directory = tempfile::tempdir().tried(ErrorKind::Storage, || "create a directory for nginx")?;
        // A port that was free a moment ago: nginx cannot say which one it got.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.tried(ErrorKind::Environment, || "find a port")?;
        let address = free.local_addr().tried(ErrorKind::Environment, || "find a port")?;
        drop(free);
        let file = directory.path().join("nginx.conf");
        let text = configuration(address, directory.path());
        crate::home::write_atomically(&file, text.as_bytes())?;
        let mut process = Command::new(nginx.to_string_lossy())
            .args(["-e", "stderr", "-p"])
            .arg(directory.path().to_string_lossy())
            .arg("-c")
            .arg(file.to_string_lossy())
            .to_tokio()
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .tried(ErrorKind::Environment, || "start nginx")?;
        let listening = async {
            loop {
                if TcpStream::connect(address).await.is_ok() {
                    return Ok(());
                }
                if let Ok(Some(status)) = process.try_wait() {
                    return Err(Error::new(ErrorKind::Environment, "start nginx", format!("it ended: {status}")));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(START_LIMIT, listening).await.unwrap_or_else(|_| {
            let why = format!("nobody listens on {address} after {START_LIMIT:?}");
            Err(Error::new(ErrorKind::Deadline, "start nginx", why))
        })?;
        Ok(Self { address, kind: Kind::Nginx { _process: Box::new(process), _directory: directory } })
    }

    async fn built_in() -> Result<Self> {
        let tried = || "listen on loopback";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.tried(ErrorKind::Environment, tried)?;
        let address = listener.local_addr().tried(ErrorKind::Environment, tried)?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Ok(Self { address, kind: Kind::BuiltIn { thread: serving.abort_handle() } })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Kind::BuiltIn { thread } = &self.kind {
            thread.abort();
        }
    }
}

fn configuration(address: SocketAddr, directory: &Path) -> String {
    let mut paths = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        // Writing to a string cannot fail.
        let _ = writeln!(paths, "    {kind}_temp_path {}/{kind};", directory.display());
    }
    format!(
        "daemon off;\nmaster_process off;\nerror_log stderr crit;\npid {directory}/pid;\n\
         events {{\n    worker_connections 16384;\n}}\n\
         http {{\n    access_log off;\n    keepalive_requests 1000000000;\n    tcp_nodelay on;\n{paths}    server {{\n        \
         listen {address} backlog=16384;\n        add_header X-Served-By nginx-bench;\n        \
         add_header X-Client-Address $remote_addr;\n        default_type text/plain;\n        \
         return 200 '{body}';\n    }}\n}}\n",
        directory = directory.display(),
        body = "x".repeat(BODY_LENGTH),
    )
}

/// Answers requests as long as they come.
async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let client = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    let mut head = Vec::with_capacity(1024);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut head).await, Ok(1..)) || head.len() > 16 * 1024 {
                return;
            }
        }
        let close = String::from_utf8_lossy(&head).to_ascii_lowercase().contains("\r\nconnection: close\r\n");
        let connection = if close { "Connection: close\r\n" } else { "" };
        let body = "x".repeat(BODY_LENGTH);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_LENGTH}\r\n{connection}\
             X-Served-By: built-in\r\nX-Client-Address: {client}\r\n\r\n{body}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() || close {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_built_in_server_answers_and_closes_when_asked_to() {
        let server = Server::built_in().await.unwrap();
        let answer = ask(server.address()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("X-Client-Address: 127.0.0.1\r\n"),
            "{answer}"
        );
        assert!(server.note().unwrap().contains("nginx-light"));
    }

    /// Where the machine has nginx.
    #[tokio::test]
    async fn nginx_answers_what_the_built_in_server_does() {
        let Ok(nginx) = which::which("nginx") else { return };
        let server = Server::nginx(&nginx).await.unwrap();
        let answer = ask(server.address()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("X-Client-Address: 127.0.0.1\r\n"),
            "{answer}"
        );
        assert!(answer.contains(&format!("Content-Length: {BODY_LENGTH}\r\n")), "{answer}");
    }
}
