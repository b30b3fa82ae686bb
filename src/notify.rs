//! Running the user's own command with what there is to tell. No shell: the first word of the configuration is the
//! program, the others are its arguments. It gets one JSON document on standard input, has a few seconds, and
//! whatever becomes of it changes nothing that `eg` does.

use serde_json::Value;
use std::{io, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// How long the command may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Tells one event.
///
/// # Errors
/// The command cannot be started, fails, or does not end in time (it is ended then): in words for people.
pub async fn tell(command: &[String], event: &Value) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    match timeout(PATIENCE, run(program, args, event)).await {
        Err(_) => Err(format!("{program} did not end within {} s and was ended", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("{program} cannot be run: {error}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program} ended with {status}")),
    }
}

async fn run(program: &str, args: &[String], event: &Value) -> io::Result<std::process::ExitStatus> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
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
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tell(&command, &json!({"event": "expired"})))
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
