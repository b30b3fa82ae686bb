//! A terminal, by Python's `pty`: what a person sees and types.

use serde_json::json;
use std::{path::Path, process::Command, process::Stdio};

/// The same command with the same environment, on a terminal of 40 lines and 120 columns.
pub fn around(command: &Command, keys: &[(&str, &str)]) -> Command {
    let mut terminal = Command::new("/usr/bin/env");
    terminal.arg("python3").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/pty_drive.py"));
    terminal.arg(json!(keys).to_string()).arg(command.get_program()).args(command.get_args());
    terminal.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            terminal.env(name, value);
        }
    }
    terminal.env("TERM", "xterm").env("PYTHONDONTWRITEBYTECODE", "1");
    // Whatever Python this machine has: it may lie anywhere. What the command is to find comes first.
    let own = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value?.to_str());
    let path = [own.unwrap_or("/usr/bin:/bin"), &std::env::var("PATH").unwrap_or_default()].join(":");
    terminal.env("PATH", path);
    if let Some(dir) = command.get_current_dir() {
        terminal.current_dir(dir);
    }
    terminal.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    terminal
}
