//! Runs another program in the foreground. It gets the terminal, the three streams and the signals; `eg` waits, and closes
//! the session after it.

use crate::host::env::Env;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
};
use thiserror::Error;
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};

/// The exit status of a shell for a program that does not exist.
const NOT_FOUND: u8 = 127;
/// The exit status of a shell for a program that cannot be started.
const NOT_STARTED: u8 = 126;

/// The directories to search if PATH is not set (execvp(3)).
const USUAL_PATH: &str = "/bin:/usr/bin";

/// The signals that ask `eg` to end.
pub struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Listens from now on. Must be called within the runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// The receivers of Ctrl-C and Ctrl-\. The program is in the process group of `eg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDelivery {
    /// A terminal sends them to both, so `eg` must not pass them on.
    ReachBoth,
    /// Without a terminal they are sent to `eg` alone.
    ReachEg,
}

impl KeyDelivery {
    /// Guessed from the streams.
    pub fn of(env: &Env) -> Self {
        let terminal = env.stdin_is_terminal || env.stdout_is_terminal || env.stderr_is_terminal;
        if terminal { Self::ReachBoth } else { Self::ReachEg }
    }
}

/// A program that did not run.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct NotRun {
    /// The exit status that a shell would give: 127 if the program does not exist, else 126.
    pub status: u8,
    message: String,
}

/// Runs a program to its end, and returns its exit status as a shell would.
pub async fn run(mut command: Command, signals: &mut Signals, keys: KeyDelivery) -> Result<u8, NotRun> {
    let program = command.as_std().get_program().to_owned();
    let mut child = command.spawn().map_err(|error| not_started(&program, &error))?;
    let lost = |error| NotRun { status: NOT_STARTED, message: format!("{} was lost: {error}", program.display()) };
    Ok(shell_status(pass_on_until_end(signals, &mut child, keys).await.map_err(lost)?))
}

fn not_started(program: &OsStr, error: &io::Error) -> NotRun {
    let status = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED };
    let name = if program.is_empty() { "\"\"".into() } else { program.to_string_lossy() };
    let message = match error.kind() {
        ErrorKind::NotFound if !Path::new(program).exists() => format!("command not found: {name}"),
        ErrorKind::PermissionDenied => format!("permission denied: {name}"),
        _ => format!("{name} cannot be run: {error}"),
    };
    NotRun { status, message }
}

/// Searches for a program as execvp(3) does, and refuses one that does not exist or may not be run.
pub fn check(program: &OsStr, env: &Env) -> Result<(), NotRun> {
    let named = program.as_bytes().contains(&b'/');
    let path = env.var("PATH").unwrap_or(USUAL_PATH);
    let places: Vec<PathBuf> = match named {
        true => vec![env.absolute(Path::new(program))],
        false => std::env::split_paths(path).map(|dir| env.absolute(&dir).join(program)).collect(),
    };
    let files: Vec<_> =
        places.iter().filter_map(|place| fs::metadata(place).ok()).filter(|file| file.is_file()).collect();
    if files.iter().any(|file| file.permissions().mode() & 0o111 != 0) {
        return Ok(());
    }
    let kind = if files.is_empty() { ErrorKind::NotFound } else { ErrorKind::PermissionDenied };
    Err(not_started(program, &kind.into()))
}

async fn pass_on_until_end(signals: &mut Signals, child: &mut Child, keys: KeyDelivery) -> io::Result<ExitStatus> {
    loop {
        let id = child.id();
        let signal = tokio::select! {
            ended = child.wait() => return ended,
            signal = signals.next() => signal,
        };
        let pid = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let received = keys == KeyDelivery::ReachBoth && matches!(signal, Signal::INT | Signal::QUIT);
        if let (false, Some(pid)) = (received, pid) {
            // Fails only for a program that has just ended.
            kill_process(pid, signal).ok();
        }
    }
}

fn shell_status(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(number).unwrap_or(1)
}
