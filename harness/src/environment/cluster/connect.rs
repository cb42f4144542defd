//! Connections to an API server that may be reachable only from inside another network namespace.

use std::{
    future::Future,
    io,
    net::{TcpStream as StdTcpStream, ToSocketAddrs as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceBuilder};

use crate::{Context as _, ErrorKind, Result};

/// How long one address may take to accept a connection; the API server is on this machine.
const CONNECT: Duration = Duration::from_secs(10);

/// A client for the cluster of the kubeconfig `text`, whose sockets are opened inside the network
/// namespace at `namespace` (such as `/proc/4711/ns/net`), or in our own.
///
/// A socket keeps the namespace that it was made in, so nothing else of the process moves.
/// Watches and exec (websockets) go the same way.
///
/// # Errors
/// [`ErrorKind::Environment`] if the text is no usable kubeconfig. The server is not asked anything yet.
pub async fn client(text: &str, namespace: Option<&Path>) -> Result<Client> {
    let tried = || "use the cluster's kubeconfig";
    let kubeconfig = Kubeconfig::from_yaml(text).tried(ErrorKind::Environment, tried)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .tried(ErrorKind::Environment, tried)?;
    match namespace {
        None => Client::try_from(config).tried(ErrorKind::Environment, tried),
        Some(namespace) => client_inside(&config, namespace).tried(ErrorKind::Environment, tried),
    }
}

fn client_inside(config: &Config, namespace: &Path) -> kube::Result<Client> {
    let connector = NamespaceConnector { namespace: namespace.to_owned() };
    let https = config.rustls_https_connector_with_connector(connector)?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// Opens TCP connections inside a network namespace.
#[derive(Debug, Clone)]
struct NamespaceConnector {
    namespace: PathBuf,
}

impl Service<Uri> for NamespaceConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let namespace = self.namespace.clone();
        Box::pin(async move {
            let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = server.port_u16().unwrap_or(443);
            let stream = connect_inside(namespace, move || {
                let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
                for address in (host.as_str(), port).to_socket_addrs()? {
                    match StdTcpStream::connect_timeout(&address, CONNECT) {
                        Ok(stream) => return Ok(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            })
            .await?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(TokioIo::new(TcpStream::from_std(stream)?))
        })
    }
}

/// Runs `work` on a thread of its own that has moved into the network namespace and ends afterwards:
/// a pooled thread would carry the namespace on to work that does not expect it.
async fn connect_inside<T: Send + 'static>(
    namespace: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("reachmap-connect".to_owned()).spawn(move || {
        let result = enter(&namespace).and_then(|()| work());
        // The asker may have given up meanwhile.
        let _ = send.send(result);
    })?;
    receive.await.map_err(io::Error::other)?
}

fn enter(namespace: &Path) -> io::Result<()> {
    let explain = |what: &str, error: io::Error| {
        io::Error::new(error.kind(), format!("{what} the network namespace {}: {error}", namespace.display()))
    };
    let file = std::fs::File::open(namespace).map_err(|error| explain("open", error))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| explain("enter", error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: 'http://127.0.0.1:PORT'}}]
users: [{name: u, user: {}}]
";

    #[tokio::test]
    async fn a_namespace_that_is_gone_is_named() {
        let text = KUBECONFIG.replace("PORT", "1");
        let client = client(&text, Some(Path::new("/proc/0/ns/net"))).await.unwrap();
        let error = client.apiserver_version().await.unwrap_err();
        let chain = crate::Error::from_source(ErrorKind::Environment, "ask", error).to_string();
        assert!(chain.contains("open the network namespace /proc/0/ns/net"), "{chain}");
    }

    #[tokio::test]
    async fn work_runs_off_the_caller_s_threads() {
        // Entering one's own namespace needs privileges that a test may lack: look at the plumbing alone.
        let missing = connect_inside("/proc/0/ns/net".into(), || Ok(1)).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
