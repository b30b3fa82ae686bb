//! moto, from the virtual environment of the end-to-end tests; and ministack, where somebody has installed it.

use crate::support::Client;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running emulator; ended with its owner.
pub(crate) struct Emulator {
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

/// The Python of ministack, if there is one: `EG_MINISTACK_PYTHON`.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn ministack() -> Option<PathBuf> {
    std::env::var_os("EG_MINISTACK_PYTHON").map(PathBuf::from)
}

impl Emulator {
    pub(crate) fn moto(python: &Path) -> Self {
        Self::start("moto", |port| {
            let mut command = Command::new(server(python));
            command.args(["-H", "127.0.0.1", "-p", port]).env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false");
            command
        })
    }

    /// By its server, since its own command listens on every address.
    pub(crate) fn ministack(python: &Path) -> Self {
        Self::start("ministack", |port| {
            let mut command = Command::new(python.with_file_name("hypercorn"));
            command.args(["ministack.app:app", "--bind", &format!("127.0.0.1:{port}")]).env("GATEWAY_PORT", port);
            command.env("MINISTACK_ACCOUNT_ID", "123456789012");
            command
        })
    }

    fn start(name: &str, command: impl Fn(&str) -> Command) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its number");
        drop(listener);
        let mut command = command(&address.port().to_string());
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let mut emulator = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert_eq!(emulator.child.try_wait().ok().flatten(), None, "{name} ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
