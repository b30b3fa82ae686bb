//! This program as a child in the playground: what a command prints and how it ends, within a time.

use crate::demo::Playground;
use crate::{
    error::{CommandError, Kind},
    host::env::Env,
};
use std::{io, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe,
    process::Command,
    time::timeout,
};

/// Far longer than any command of `eg` takes against an endpoint on loopback.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that a child inherits. Everything else of the user's environment, credentials and proxies above all, is none of
/// its business. (The sandbox runs by this program's clock, so the children have to, where tests move it.)
const INHERITED: [&str; 9] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "EG_MACHINE", "EG_TEST_CLOCK_OFFSET"];

/// How the two streams are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// As one text in the order in which it was written, as on a terminal; in colour.
    Together,
    Apart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOutcome {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output, or both streams.
    pub stdout: String,
    /// Standard error, where it is read by itself.
    pub stderr: String,
}

/// Runs this program to its end.
pub async fn run(
    env: &Env,
    playground: &Playground,
    args: &[&str],
    streams: Streams,
) -> Result<ChildOutcome, CommandError> {
    let shown = args.join(" ");
    let failed = |error: io::Error| CommandError::new(Kind::Sandbox, format!("`eg {shown}` cannot be run: {error}"));
    let late = || {
        let message = format!("`eg {shown}` did not end within {} seconds and was ended", PATIENCE.as_secs());
        CommandError::new(Kind::Sandbox, message)
    };
    let ended = timeout(PATIENCE, read(command(env, playground, args), streams)).await;
    ended.map_err(|_| late())?.map_err(failed)
}

fn command(env: &Env, playground: &Playground, args: &[&str]) -> Command {
    let mut command = Command::new(&env.program);
    command.env_clear();
    command.envs(INHERITED.into_iter().filter_map(|name| Some((name, env.var_as_set(name)?))));
    command.envs(playground.variables());
    command.env("HOME", playground.directory()).env("TMPDIR", playground.directory());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn read(mut command: Command, streams: Streams) -> io::Result<ChildOutcome> {
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    match streams {
        Streams::Together => command.args(["--color", "always"]).stderr(stdout_end.try_clone()?),
        Streams::Apart => command.stderr(stderr_end.try_clone()?),
    };
    command.stdout(stdout_end);
    let mut child = command.spawn()?;
    // Our own copies of the ends: while they are open, the pipes have no end.
    drop((command, stderr_end));
    let open = |end: io::PipeReader| pipe::Receiver::from_owned_fd(end.into());
    let (stdout, stderr, status) = tokio::try_join!(text(open(stdout)?), text(open(stderr)?), child.wait())?;
    Ok(ChildOutcome { status: status.code(), stdout, stderr })
}

async fn text(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
