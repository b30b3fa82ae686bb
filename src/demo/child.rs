//! Runs this program as a child in the demo, with a time limit, and returns its output and exit status.

use crate::{
    demo::Demo,
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
const LIMIT: Duration = Duration::from_secs(30);

/// The only variables that a child inherits: it must not see the user's credentials and proxies. (Tests move this program's
/// clock, by which the sandbox runs, so children need the clock's offset.)
const INHERITED: [&str; 9] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "EG_MACHINE", "EG_TEST_CLOCK_OFFSET"];

/// The way to read the two streams of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// As one text, in the order of writing, as on a terminal; in colour.
    Together,
    Apart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOutcome {
    /// The exit status; `None` if a signal ended the child.
    pub status: Option<i32>,
    /// Standard output; with [`Streams::Together`], both streams.
    pub stdout: String,
    /// Standard error; with [`Streams::Together`], nothing.
    pub stderr: String,
}

/// Runs this program to its end, or kills it after [`LIMIT`].
pub async fn run(env: &Env, demo: &Demo, args: &[&str], streams: Streams) -> Result<ChildOutcome, CommandError> {
    let shown = args.join(" ");
    let failed = |error: io::Error| CommandError::new(Kind::Sandbox, format!("`eg {shown}` cannot be run: {error}"));
    let late = || {
        let message = format!("`eg {shown}` did not end within {} seconds and was ended", LIMIT.as_secs());
        CommandError::new(Kind::Sandbox, message)
    };
    let ended = timeout(LIMIT, read(command(env, demo, args), streams)).await;
    ended.map_err(|_| late())?.map_err(failed)
}

fn command(env: &Env, demo: &Demo, args: &[&str]) -> Command {
    let mut command = Command::new(&env.program);
    command.env_clear();
    command.envs(INHERITED.into_iter().filter_map(|name| Some((name, env.var_as_set(name)?))));
    command.envs(demo.variables());
    command.env("HOME", demo.directory()).env("TMPDIR", demo.directory());
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
    // The pipes end only when our own copies of the write ends are closed.
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
