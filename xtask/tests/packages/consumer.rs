//! Somebody else's program: it builds the agent by the library, and sends a request to a server of its own by it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use reachmap::{
    Context as _, ErrorKind, Result,
    command::Command,
    home::Home,
    model::Target,
    probe::{Agent, AgentBinary, Timeouts, probe_target},
    progress::{Progress, Show},
};

fn main() -> Result<()> {
    let home = Home::at(std::env::args().nth(1).unwrap_or_else(|| "home".to_owned()));
    let progress = Progress::new(Show::Plain, home.root().join("logs"));
    let binary = AgentBinary::find_or_build(&home, &progress)?;
    println!("built {}", binary.path().display());

    let listener = TcpListener::bind("127.0.0.1:0").tried(ErrorKind::Environment, || "listen")?;
    let address = listener.local_addr().tried(ErrorKind::Environment, || "listen")?;
    let server = std::thread::spawn(move || -> std::io::Result<String> {
        let (mut client, from) = listener.accept()?;
        let head = BufReader::new(client.try_clone()?).lines();
        for line in head {
            if line?.is_empty() {
                break;
            }
        }
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n")?;
        Ok(from.ip().to_string())
    });

    let runtime = tokio::runtime::Runtime::new().tried(ErrorKind::Environment, || "start a runtime")?;
    let seen = runtime.block_on(async {
        let agent = Agent::spawn(Command::new(binary.path().to_string_lossy())).await?;
        let target = Target { host: address.ip().to_string(), port: address.port() };
        probe_target(&agent, &target, Timeouts::default()).await
    })?;
    let from = server.join().expect("the server ends").tried(ErrorKind::Environment, || "serve")?;
    println!("the agent answers from {from}");
    println!("status {}", seen.respond.and_then(|seen| seen.status).unwrap_or_default());
    Ok(())
}
