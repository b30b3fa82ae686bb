//! Running the user's own command with what there is to tell. No shell: the first word of the configuration is the
//! program, the others are its arguments. It gets one JSON document on standard input, has a few seconds, and
//! whatever becomes of it changes nothing that `eg` does.

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

/// How long the command may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Tells one event; the command has [`PATIENCE`], or what a test gives it.
///
/// # Errors
/// The command cannot be started, fails, or does not end in time (it is ended then): in words for people.
pub async fn tell(command: &[String], event: &Value, patience: Duration) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let failed = |error: io::Error| format!("{program} cannot be run: {error}");
    let mut child = start(program, args).map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    match (timeout(patience, heard_out(&mut child, event)).await, group) {
        (Err(_), group) => {
            // With all that it has started: what a script waits for would go on without it.
            group.map(|group| kill_process_group(group, Signal::KILL)).transpose().ok();
            Err(format!("{program} did not end within {} s and was ended", patience.as_secs()))
        }
        (Ok(Err(error)), _) => Err(failed(error)),
        (Ok(Ok(status)), _) if status.success() => Ok(()),
        (Ok(Ok(status)), _) => Err(format!("{program} ended with {status}")),
    }
}

/// In a process group of its own.
fn start(program: &str, args: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).process_group(0).spawn()
}

async fn heard_out(child: &mut Child, event: &Value) -> io::Result<ExitStatus> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(format!("{event}\n").as_bytes()).await {
            // Who does not read what it is told may still do its work.
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

    fn told(command: &[&str]) -> Result<(), String> {
        within(PATIENCE, command)
    }

    fn within(patience: Duration, command: &[&str]) -> Result<(), String> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tell(&command, &json!({"event": "expired"}), patience))
    }

    #[test]
    fn what_the_command_has_started_ends_with_it() {
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
        assert_eq!(told(&["tee", file.to_str().unwrap()]), Ok(()));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"event\":\"expired\"}\n");
    }

    #[test]
    fn whatever_goes_wrong_is_said() {
        assert_eq!(told(&["false"]), Err("false ended with exit status: 1".to_owned()));
        assert_eq!(told(&["true"]), Ok(()), "it need not read");
        assert!(told(&["/nowhere/at all"]).unwrap_err().starts_with("/nowhere/at all cannot be run: "));
    }
}
