//! Runs the user's notification command. No shell: the first word of the configuration is the program, the others are its
//! arguments. The command gets one JSON document on standard input and has a few seconds. Its failure changes nothing that
//! `eg` does.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

/// The time limit of the command.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command for one event, and ends it after `limit`. The error is a text for people.
pub async fn run(command: &[String], event: &Value, limit: Duration) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let failed = |error: io::Error| format!("{program} cannot be run: {error}");
    let mut child = start(program, args).map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    match (timeout(limit, run_to_end(&mut child, event)).await, group) {
        (Err(_), group) => {
            // The whole group: a program that a script waits for would go on without the script.
            group.map(|group| kill_process_group(group, Signal::KILL)).transpose().ok();
            Err(format!("{program} did not end within {} s and was ended", limit.as_secs()))
        }
        (Ok(Err(error)), _) => Err(failed(error)),
        (Ok(Ok(status)), _) if status.success() => Ok(()),
        (Ok(Ok(status)), _) => Err(format!("{program} ended with {status}")),
    }
}

/// Starts the command in a process group of its own.
fn start(program: &str, args: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).process_group(0).spawn()
}

async fn run_to_end(child: &mut Child, event: &Value) -> io::Result<ExitStatus> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(format!("{event}\n").as_bytes()).await {
            // A command need not read its input.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    child.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notified(command: &[&str]) -> Result<(), String> {
        within(TIME_LIMIT, command)
    }

    fn within(limit: Duration, command: &[&str]) -> Result<(), String> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&command, &json!({"event": "expired"}), limit))
    }

    #[test]
    fn programs_that_the_command_started_end_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        // The reader sees the end of the pipe once the last process that could write to it is gone, and we are.
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).unwrap()
        });
        let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        let script = format!("exec 3> '{}'; echo begun >&3; sleep 3600; echo late >&3", pipe.display());
        let ended = within(Duration::from_secs(6), &["sh", "-c", &script]);
        assert_eq!(ended, Err("sh did not end within 6 s and was ended".to_owned()));
        drop(writer);
        assert_eq!(reader.join().unwrap(), "begun\n");
    }

    #[test]
    fn the_event_comes_on_standard_input_and_no_shell_is_between() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a $(b); c");
        assert_eq!(notified(&["tee", file.to_str().unwrap()]), Ok(()));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"event\":\"expired\"}\n");
    }

    #[test]
    fn every_failure_is_reported() {
        assert_eq!(notified(&["false"]), Err("false ended with exit status: 1".to_owned()));
        assert_eq!(notified(&["true"]), Ok(()), "it need not read");
        assert!(notified(&["/nowhere/at all"]).unwrap_err().starts_with("/nowhere/at all cannot be run: "));
    }
}
