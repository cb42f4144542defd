//! Chromium without a window, spoken to by its `DevTools` protocol: enough to open a page, to use it, and to take its picture.
//!
//! It gets a profile of its own and no way out: every name resolves to nothing
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, ChildStderr},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{Context as _, Error, ErrorKind, Result, command::Command, process};

/// The names by which it is known, the first that is there is taken.
const PROGRAMS: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// How long it may take to start, and to answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running Chromium with one page. It is to be [`close`](Self::close)d; if it is only dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The page's session.
    session: String,
    last: u64,
    /// What the page complained of, in the order in which it came.
    complaints: Vec<String>,
    child: Child,
    /// Removed after it has ended.
    _profile: tempfile::TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// In CSS pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

impl Browser {
    /// Starts the Chromium that is there.
    pub(crate) async fn start() -> Result<Self> {
        let program = find(std::env::var("REACHMAP_CHROMIUM").ok().as_deref())?;
        let tried = || format!("start {}", program.display());
        let profile =
            tempfile::Builder::new().prefix("reachmap-browser-").tempdir().tried(ErrorKind::Storage, tried)?;
        let mut command = Command::new(program.to_string_lossy())
            .args(["--headless", "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // Where it puts sockets and the like.
            .env("TMPDIR", profile.path().to_string_lossy());
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to build its own sandbox as root; it opens nothing but our own page.
            command = command.arg("--no-sandbox");
        }
        let mut child = command
            .arg("about:blank")
            .to_tokio()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .tried(ErrorKind::Environment, tried)?;
        let errors = child.stderr.take().ok_or_else(|| Error::new(ErrorKind::Internal, tried(), "it has no output"))?;
        let address = address(errors, &tried).await?;
        let (socket, _) = connect_async(address).await.tried(ErrorKind::Environment, tried)?;
        let mut browser =
            Self { socket, session: String::new(), last: 0, complaints: Vec::new(), child, _profile: profile };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": page["targetId"], "flatten": true })).await?;
        attached["sessionId"].as_str().unwrap_or_default().clone_into(&mut browser.session);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await?;
        }
        Ok(browser)
    }

    /// Sets how large the page is, and whether its reader prefers it dark.
    pub(crate) async fn look(&mut self, View { width, height, dark }: View) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await.map(drop)
    }

    /// Opens the file, at a place in it, and waits until it is laid out.
    pub(crate) async fn open(&mut self, file: &Path, place: &str) -> Result<()> {
        // A page that differs from the last in its fragment alone would not be opened anew.
        self.call("Page.navigate", json!({ "url": "about:blank" })).await?;
        let url = format!("file://{}#{place}", file.display());
        let opened = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = opened["errorText"].as_str() {
            return Err(Error::new(ErrorKind::Environment, format!("open {}", file.display()), error));
        }
        let laid_out = async {
            // The frame is still the blank one for a moment, and what is asked of that may get no answer.
            while self.evaluate("location.protocol + document.readyState").await.ok() != Some("file:complete".into()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, laid_out)
            .await
            .map_err(|_| Error::new(ErrorKind::Deadline, format!("open {}", file.display()), "it was not laid out"))
    }

    /// The value of a JavaScript expression in the page; a promise is awaited.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let what = thrown["exception"]["description"].as_str().unwrap_or("an exception").to_owned();
            return Err(Error::new(ErrorKind::Internal, format!("evaluate {expression}"), what));
        }
        Ok(answer["result"]["value"].take())
    }

    /// What is to be seen, as a PNG.
    pub(crate) async fn picture(&mut self) -> Result<Vec<u8>> {
        let painted = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))";
        self.evaluate(painted).await?;
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png", "optimizeForSpeed": false })).await?;
        let data = answer["data"].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(data).tried(ErrorKind::Environment, || "read Chromium's picture")
    }

    /// Whatever the page complained of since it was last asked: errors, warnings, exceptions, what its policy refused.
    #[cfg(test)]
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Ends it, and waits until it has, so that nothing of it is left.
    pub(crate) async fn close(mut self) {
        self.session.clear();
        // It may have ended before its answer is here.
        let _ = self.call("Browser.close", json!({})).await;
        let _ = timeout(DEADLINE, self.child.wait()).await;
    }

    /// Calls a method of the protocol, and waits for its answer.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        let tried = || format!("call Chromium's {method}");
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.as_str().into();
        }
        self.socket.send(Message::text(request.to_string())).await.tried(ErrorKind::Environment, tried)?;
        let answered = async {
            while let Some(message) = self.socket.next().await {
                let text = message.tried(ErrorKind::Environment, tried)?.into_data();
                let Ok(mut message) = serde_json::from_slice::<Value>(&text) else { continue };
                if message["id"] == self.last {
                    return match message.get("error") {
                        Some(error) => Err(Error::new(ErrorKind::Environment, tried(), error)),
                        None => Ok(message["result"].take()),
                    };
                }
                self.complaints.extend(complaint(&message));
            }
            Err(Error::new(ErrorKind::Environment, tried(), "it has ended"))
        };
        timeout(DEADLINE, answered)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Deadline, tried(), "no answer within a minute")))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its processes are a group of their own, and the first of them would not take the others with it.
        if let Some(leader) = self.child.id() {
            process::end_group(leader);
        }
    }
}

/// The Chromium that was chosen by `REACHMAP_CHROMIUM`, else the first of its usual names that is there.
fn find(chosen: Option<&str>) -> Result<PathBuf> {
    let chosen = chosen.filter(|program| !program.is_empty());
    let found = match chosen {
        Some(program) => which::which(program).ok(),
        None => PROGRAMS.iter().find_map(|program| which::which(program).ok()),
    };
    found.ok_or_else(|| {
        let cause = chosen.map_or_else(
            || format!("none of {} is in PATH", PROGRAMS.join(", ")),
            |program| format!("REACHMAP_CHROMIUM names {program}, which is not there"),
        );
        let hint = "Install Chromium (`apt-get install chromium`), or name its program in REACHMAP_CHROMIUM.";
        Error::new(ErrorKind::Missing, "find Chromium", cause).hint(hint)
    })
}

/// Where it listens: it says so among whatever else it complains of.
async fn address(errors: ChildStderr, tried: &impl Fn() -> String) -> Result<String> {
    let mut lines = BufReader::new(errors).lines();
    let found = async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.tried(ErrorKind::Environment, tried)? {
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                return Ok(address.to_owned());
            }
            said.push(line);
        }
        Err(Error::new(ErrorKind::Environment, tried(), format!("it ended: {}", said.join("; "))))
    };
    let found = timeout(DEADLINE, found)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Deadline, tried(), "it did not say where it listens")));
    // It must go on being read, else it would block when the pipe is full.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    found
}

fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" => Some(parameters["args"].to_string()),
        "Log.entryAdded" => Some(parameters["entry"].to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chromium_that_is_not_there_is_named_with_what_to_do() {
        let error = find(Some("/no/such/chromium")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        insta::assert_snapshot!(error, @"failed to find Chromium: REACHMAP_CHROMIUM names /no/such/chromium, which is not there");
        assert!(error.hint_text().unwrap().contains("apt-get install chromium"));
    }

    #[test]
    fn what_a_page_complains_of_is_told_from_what_it_does() {
        let threw =
            json!({ "method": "Runtime.exceptionThrown", "params": { "exceptionDetails": { "text": "Uncaught" } } });
        assert!(complaint(&threw).unwrap().contains("Uncaught"));
        assert_eq!(complaint(&json!({ "method": "Page.loadEventFired", "params": {} })), None);
        assert_eq!(complaint(&json!({ "id": 7, "result": {} })), None);
    }
}
