//! `eg sandbox`.

use super::{no_files_named, no_signals, runtime};
use crate::{
    cli::Global,
    env::Env,
    error::{CommandError, Exit, Kind},
    output::{printer::Printer, text::shell_quoted},
    playground::{ADDRESS, Playground},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, ErrorKind},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};

/// SIGHUP.
const HANGUP: u8 = 1;

/// What a shell answers for a program that is not there.
const NOT_FOUND: u8 = 127;
/// The same for one that is there and does not start.
const NOT_STARTED: u8 = 126;

/// Bypasses a proxy of the user's on the way to the sandbox.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
const LOOPBACK: &str = "127.0.0.1";

/// Try eg against an EC2-compatible endpoint on this machine
///
/// Serves three security groups, one of which holds a rule made by hand, on loopback, with a configuration and a
/// state file in a temporary directory. No account is needed, and `eg` sees none of yours from inside. With a
/// command, runs it in there and ends with its status. Without, prints what another terminal needs and serves until
/// Ctrl-C. Nothing is left at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eg sandbox -- bash\n  eg sandbox -- eg session start --ipv4 203.0.113.42")]
pub struct SandboxArgs {
    /// Runs in the sandbox's environment, where `eg` is this program
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Serves the sandbox, or runs a command in it.
///
/// # Errors
/// The sandbox or the command cannot be started.
pub fn run(env: &Env, printer: &Printer, global: &Global, args: &SandboxArgs) -> Result<Exit, CommandError> {
    no_files_named(global, "sandbox")?;
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(env, printer, args));
    runtime.shutdown_background();
    ended
}

async fn serve(env: &Env, printer: &Printer, args: &SandboxArgs) -> Result<Exit, CommandError> {
    let mut signals = Signals::listen().map_err(no_signals)?; // before there is something to remove
    let playground = Playground::open(env)?;
    printer.progress(&format!("→ Sandbox at {} with three security groups", playground.endpoint()));
    let inside = Inside { env, printer, playground: &playground };
    let ended = match args.command.split_first() {
        None => Ok(inside.serve(&mut signals).await),
        Some((program, rest)) => inside.run(program, rest, &mut signals).await,
    };
    // The status is the command's, which may have left something at work in there.
    if let Err(error) = playground.close() {
        printer.warn(&error.message, &error.hints);
    }
    ended
}

struct Inside<'a> {
    env: &'a Env,
    printer: &'a Printer,
    playground: &'a Playground,
}

impl Inside<'_> {
    async fn serve(&self, signals: &mut Signals) -> Exit {
        self.printer.progress("→ Paste these lines into another terminal:");
        self.printer.result(&self.exports());
        self.printer.json(&self.as_json());
        self.printer.progress(&format!("→ There, for example: eg session start --ipv4 {ADDRESS}"));
        self.printer.progress("→ Ctrl-C ends the sandbox and removes its files.");
        // To be stopped is what a server expects; to lose its terminal is not.
        match signals.next().await {
            Signal::HUP => Exit::Signal(HANGUP),
            _ => Exit::Done,
        }
    }

    /// For a POSIX shell.
    fn exports(&self) -> String {
        let mut text = format!("unset {}\n", Playground::misleading().join(" "));
        for (name, value) in self.playground.variables_for_a_shell() {
            text += &format!("export {name}={}\n", shell_quoted(&value));
        }
        for name in NO_PROXY {
            text += &format!("export {name}={LOOPBACK}\"${{{name}:+,${name}}}\"\n");
        }
        let programs = self.playground.programs();
        text + &format!("export PATH={}:\"$PATH\"\n", shell_quoted(&programs.to_string_lossy()))
    }

    fn no_proxy(&self) -> [(&'static str, String); 2] {
        let more = |name| self.env.var(name).map(|hosts| format!(",{hosts}")).unwrap_or_default();
        NO_PROXY.map(|name| (name, format!("{LOOPBACK}{}", more(name))))
    }

    fn as_json(&self) -> Value {
        let mut set: BTreeMap<_, _> = self.playground.variables_for_a_shell().into_iter().collect();
        set.extend(self.no_proxy());
        let group = |(name, id): &(&str, String)| json!({"name": name, "id": id});
        json!({
            "endpoint": self.playground.endpoint(),
            "directory": self.playground.directory(),
            "groups": self.playground.groups().iter().map(group).collect::<Vec<_>>(),
            "set": set,
            "unset": Playground::misleading(),
        })
    }

    async fn run(&self, program: &OsString, args: &[OsString], signals: &mut Signals) -> Result<Exit, CommandError> {
        let mut child = self.command(program, args).spawn().map_err(|error| {
            let status = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED };
            CommandError::new(Kind::Command(status), format!("{} cannot be run: {error}", program.display()))
        })?;
        let ended = pass_on_until_end(signals, &mut child).await;
        let failed = |error| CommandError::new(Kind::Sandbox, format!("{} was lost: {error}", program.display()));
        Ok(Exit::Command(shell_status(ended.map_err(failed)?)))
    }

    fn command(&self, program: &OsString, args: &[OsString]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        for name in self.env.names("AWS_") {
            command.env_remove(name);
        }
        command.envs(self.playground.variables_for_a_shell());
        command.envs(self.no_proxy());
        let programs = self.playground.programs().to_string_lossy().into_owned();
        command.env("PATH", self.env.var("PATH").map_or(programs.clone(), |path| format!("{programs}:{path}")));
        command
    }
}

/// What asks `eg` to end.
struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// The command is the one to decide what a signal means, and `eg` stays to clean up after it. What the terminal's keys
/// send (Ctrl-C, Ctrl-\) reaches the command anyway, which is in the same process group: only the rest is passed on.
async fn pass_on_until_end(signals: &mut Signals, child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        let id = child.id();
        let heard = tokio::select! {
            ended = child.wait() => return ended,
            heard = signals.next() => heard,
        };
        let pid = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let (Signal::TERM | Signal::HUP, Some(pid)) = (heard, pid) {
            // Fails only for a command that has just ended.
            kill_process(pid, heard).ok();
        }
    }
}

/// The status as a shell has it.
fn shell_status(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(number).unwrap_or(1)
}
