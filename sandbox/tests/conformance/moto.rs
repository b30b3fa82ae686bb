//! moto, from the virtual environment of the end-to-end tests.

use crate::support::Client;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running moto; ended with its owner.
pub(crate) struct Moto {
    child: Child,
    address: SocketAddr,
}

/// `EG_MOTO_PYTHON`, else the virtual environment that the end-to-end tests make.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn python() -> Option<PathBuf> {
    let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/moto-venv/bin/python");
    let python = std::env::var_os("EG_MOTO_PYTHON").map_or_else(made, PathBuf::from);
    server(&python).exists().then_some(python)
}

/// Whether a missing moto is an error.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn required() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}

fn server(python: &Path) -> PathBuf {
    python.with_file_name("moto_server")
}

impl Moto {
    pub(crate) fn start(python: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its number");
        drop(listener);
        let child = Command::new(server(python))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts");
        let mut moto = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert_eq!(moto.child.try_wait().ok().flatten(), None, "moto ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "moto does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
