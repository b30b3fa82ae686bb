//! `eg sandbox`: serves the sandbox, or runs a command in it.

use crate::{
    commands::{
        context::{block_on, no_signals},
        global::Global,
    },
    demo::{ADDRESS, Demo, MISLEADING},
    error::{CommandError, Exit},
    host::{
        child::{self, KeyDelivery, Signals},
        env::Env,
    },
    ui::{printer::Printer, warning::Code},
};
use eg_model::text::shell_quoted;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{collections::BTreeMap, ffi::OsString};
use tokio::process::Command;

const HANGUP: u8 = 1;

/// Variables that keep the user's proxy off connections to the sandbox.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
const LOOPBACK: &str = "127.0.0.1";

/// Try eg against an EC2-compatible endpoint on this machine
///
/// Serves three security groups, one of which holds a rule made by hand, on loopback, with a configuration and a
/// state file in a temporary directory. No account is needed, and `eg` sees none of yours from inside. With a
/// command, runs it in there and ends with its status. Without, prints what another terminal needs and serves until
/// Ctrl-C. Nothing is left at the end. It serves no IAM: `eg setup cloud-expiry --apply` does not work in there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eg sandbox -- bash\n  eg sandbox -- eg session start --ipv4 203.0.113.42")]
pub struct SandboxArgs {
    /// Runs in the sandbox's environment, where `eg` is this program
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(env: &Env, printer: &Printer, global: &Global, args: &SandboxArgs) -> Result<Exit, CommandError> {
    global.no_files_named("sandbox")?;
    block_on(serve(env, printer, args))
}

async fn serve(env: &Env, printer: &Printer, args: &SandboxArgs) -> Result<Exit, CommandError> {
    let mut signals = Signals::listen().map_err(no_signals)?; // before there is something to remove
    let demo = Demo::open(env)?;
    printer.progress(&format!("→ Sandbox at {} with three security groups", demo.endpoint()));
    let inside = Inside { env, printer, demo: &demo };
    let ended = match args.command.split_first() {
        None => Ok(inside.serve(&mut signals).await),
        Some((program, rest)) => inside.run(program, rest, &mut signals).await,
    };
    // Only a warning, as the exit status is the command's: it may have left a process in the directory.
    if let Err(error) = demo.close() {
        printer.warn(Code::Sandbox, &error.message, &error.hints);
    }
    ended
}

struct Inside<'a> {
    env: &'a Env,
    printer: &'a Printer,
    demo: &'a Demo,
}

impl Inside<'_> {
    async fn serve(&self, signals: &mut Signals) -> Exit {
        self.printer.progress("→ Paste these lines into another terminal:");
        self.printer.result(&self.exports());
        self.printer.json(&self.as_json());
        self.printer.progress(&format!("→ There, for example: eg session start --ipv4 {ADDRESS}"));
        self.printer.progress("→ Ctrl-C ends the sandbox and removes its files.");
        // A signal to stop is the expected end of a server; the loss of its terminal is not.
        match signals.next().await {
            Signal::HUP => Exit::Signal(HANGUP),
            _ => Exit::Done,
        }
    }

    fn exports(&self) -> String {
        let mut text = format!("unset {}\n", MISLEADING.join(" "));
        for (name, value) in self.demo.variables_for_a_shell() {
            text += &format!("export {name}={}\n", shell_quoted(&value));
        }
        for name in NO_PROXY {
            text += &format!("export {name}={LOOPBACK}\"${{{name}:+,${name}}}\"\n");
        }
        let programs = self.demo.programs();
        text + &format!("export PATH={}:\"$PATH\"\n", shell_quoted(&programs.to_string_lossy()))
    }

    fn no_proxy(&self) -> [(&'static str, String); 2] {
        let more = |name| self.env.var(name).map(|hosts| format!(",{hosts}")).unwrap_or_default();
        NO_PROXY.map(|name| (name, format!("{LOOPBACK}{}", more(name))))
    }

    fn as_json(&self) -> Value {
        let mut set: BTreeMap<_, _> = self.demo.variables_for_a_shell().into_iter().collect();
        set.extend(self.no_proxy());
        let group = |(name, id): &(&str, String)| json!({"name": name, "id": id});
        json!({
            "endpoint": self.demo.endpoint(),
            "directory": self.demo.directory(),
            "groups": self.demo.groups().iter().map(group).collect::<Vec<_>>(),
            "set": set,
            "unset": MISLEADING,
        })
    }

    /// Ctrl-C is left to the command, which gets it from the terminal.
    async fn run(&self, program: &OsString, args: &[OsString], signals: &mut Signals) -> Result<Exit, CommandError> {
        Ok(Exit::Command(child::run(self.command(program, args), signals, KeyDelivery::ReachBoth).await?))
    }

    fn command(&self, program: &OsString, args: &[OsString]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        for name in self.env.names("AWS_") {
            command.env_remove(name);
        }
        command.envs(self.demo.variables_for_a_shell());
        command.envs(self.no_proxy());
        let programs = self.demo.programs().to_string_lossy().into_owned();
        command.env("PATH", self.env.var("PATH").map_or(programs.clone(), |path| format!("{programs}:{path}")));
        command
    }
}
