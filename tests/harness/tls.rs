//! The provider behind https, with a certificate authority of its own, and a proxy on the way to it.

use super::{Moto, moto::environment};
use std::{
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Tls {
    child: Child,
    port: u16,
    proxy: u16,
    authority: PathBuf,
    tunnels: Receiver<String>,
    _stdin: ChildStdin,
}

impl Tls {
    /// In front of [`Moto::shared`]; its files go into a directory of the test's.
    pub fn start(directory: &Path) -> Self {
        let authority = directory.join("authority.pem");
        let mut child = Command::new(environment())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/tls_serve.py"))
            .arg(Moto::shared().port().to_string())
            .arg(&authority)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdin = child.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut port = || next(&mut lines).parse().expect("a port");
        let (port, proxy) = (port(), port());
        let (sender, tunnels) = channel();
        thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, port, proxy, authority, tunnels, _stdin: stdin }
    }

    /// `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Where the proxy is.
    pub fn proxy(&self) -> String {
        format!("127.0.0.1:{}", self.proxy)
    }

    /// The authority's certificate: `SSL_CERT_FILE`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The next tunnel through the proxy: what was asked, and with which credentials. `None` where there was none.
    pub fn tunnel(&self) -> Option<String> {
        self.tunnels.recv_timeout(Duration::from_millis(200)).ok()
    }
}

fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next().and_then(Result::ok).expect("the server says its ports")
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
