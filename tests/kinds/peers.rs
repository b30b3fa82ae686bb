//! A server's host and a client, each in a network namespace of its own, with a cable between them.

use crate::harness::Namespace;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::Mutex,
};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kinds/peer.py");
pub const CLIENT: &str = "203.0.113.42";
pub const CLIENT6: &str = "2001:db8:42::1";
pub const SERVER: &str = "203.0.113.1";
pub const SERVER6: &str = "2001:db8:42::2";

pub struct Peers {
    pub host: Namespace,
    pub client: Namespace,
    /// Programs that run on the host, and end with the test.
    servers: Mutex<Vec<Child>>,
}

impl Peers {
    pub fn new(dir: &Path) -> Self {
        let (host, client) = (Namespace::new(&dir.join("host")), Namespace::new(&dir.join("client")));
        host.connect(&["203.0.113.1/24", "2001:db8:42::2/64"], &client, &["203.0.113.42/24", "2001:db8:42::1/64"]);
        Self { host, client, servers: Mutex::default() }
    }

    /// Starts a server on port 22 that answers what it gets.
    pub fn serve(&self) {
        let mut server = self.host.command("python3");
        let mut server = server.args([PEER, "serve", "22"]).stdout(Stdio::piped()).spawn().expect("python");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        self.keep(server);
    }

    /// Ends a program with the test.
    pub fn keep(&self, server: Child) {
        self.servers.lock().expect("no test panicked with it").push(server);
    }

    /// Connects, and says how that went: `connected` or `refused`.
    pub fn connect(&self, source: &str, server: &str) -> (String, Connection) {
        let mut child = self.client.command("python3");
        let child = child.args([PEER, "connect", source, server, "22"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
        let (orders, said) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut connection = Connection { child, orders, said: BufReader::new(said) };
        (connection.hears(), connection)
    }

    /// The status of a page that a web server on the host gives this address of the client.
    pub fn page(&self, source: &str) -> String {
        self.client.run("python3", &[PEER, "get", source, SERVER]).trim().to_owned()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for server in self.servers.get_mut().expect("no test panicked with it") {
            // Fails only if it has ended already.
            server.kill().ok();
            server.wait().ok();
        }
    }
}

/// A TCP connection from the client to the server.
pub struct Connection {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Connection {
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// Sends something and waits so many seconds for the answer: `alive` or `dead`.
    pub fn sends(&mut self, seconds: u32) -> String {
        writeln!(self.orders, "{seconds}").expect("an order");
        self.hears()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
