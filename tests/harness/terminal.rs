//! The real binary on a pseudo-terminal, with what it shows and the keys that a person presses.

use super::moto;
use std::{
    io::{BufRead, BufReader, Read, Write},
    num::NonZeroU16,
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// Who waits longer for something on the screen waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    over: bool,
}

/// A running `eg` on a terminal.
pub struct OnTerminal {
    size: (u16, u16),
    child: Child,
    keys: ChildStdin,
    notes: BufReader<ChildStderr>,
    pid: String,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

/// How it ended.
pub struct Left {
    /// The exit status.
    pub code: Option<i32>,
    /// Whether keys come line by line again, with an echo.
    pub cooked: bool,
    /// What is on the screen.
    pub screen: vt100::Screen,
    /// Everything that was drawn.
    pub bytes: Vec<u8>,
}

impl OnTerminal {
    /// Runs a command with its own surroundings on a terminal of this size: rows and columns. Each of `keys` is pressed
    /// once the text before it has appeared.
    pub fn run(command: &Command, rows: u16, columns: u16, keys: &[(&str, &str)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/terminal.py");
        let mut python = Command::new(moto::environment());
        python.arg(script).args([rows.to_string(), columns.to_string(), serde_json::json!(keys).to_string()]);
        python.arg(command.get_program()).args(command.get_args()).env_clear();
        for (key, value) in command.get_envs().filter_map(|(key, value)| Some((key, value?))) {
            python.env(key, value);
        }
        python.current_dir(command.get_current_dir().expect("a directory"));
        let mut child =
            python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3 starts");
        let keys = child.stdin.take().expect("keys");
        let drawn = child.stdout.take().expect("a screen");
        let mut notes = BufReader::new(child.stderr.take().expect("notes"));
        let mut pid = String::new();
        notes.read_line(&mut pid).expect("the process id");
        let seen = Arc::default();
        collect(drawn, Arc::clone(&seen));
        Self { size: (rows, columns), child, keys, notes, pid: pid.trim().to_owned(), seen }
    }

    /// Presses keys, as bytes.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("the keys arrive");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(&self.pid).status();
        assert!(sent.is_ok_and(|status| status.success()), "could not send {name}");
    }

    /// Waits until the screen is as `wanted`; the screen.
    #[track_caller]
    pub fn shows(&self, wanted: impl Fn(&str) -> bool) -> vt100::Screen {
        let (seen, news) = &*self.seen;
        let mut guard = seen.lock().expect("the reader lives");
        loop {
            let screen = screen(&guard.bytes, self.size);
            if wanted(&screen.contents()) {
                return screen;
            }
            let (next, waited) = news.wait_timeout(guard, PATIENCE).expect("the reader lives");
            assert!(!waited.timed_out() && !next.over, "it never came:\n{}", screen.contents());
            guard = next;
        }
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    pub fn shows_text(&self, text: &str) -> vt100::Screen {
        self.shows(|screen| screen.contains(text))
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> Left {
        let (seen, news) = &*Arc::clone(&self.seen);
        let guard = seen.lock().expect("the reader lives");
        let (guard, waited) = news.wait_timeout_while(guard, PATIENCE, |seen| !seen.over).expect("the reader lives");
        assert!(!waited.timed_out(), "it does not end:\n{}", screen(&guard.bytes, self.size).contents());
        let mut notes = String::new();
        self.notes.read_to_string(&mut notes).expect("notes");
        let code = self.child.wait().expect("it ended").code();
        let cooked = notes.lines().last() == Some("cooked");
        assert!(
            cooked || notes.lines().last() == Some("raw"),
            "{notes}\n{}",
            screen(&guard.bytes, self.size).contents()
        );
        Left { code, cooked, screen: screen(&guard.bytes, self.size), bytes: guard.bytes.clone() }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(mut drawn: impl Read + Send + 'static, seen: Arc<(Mutex<Seen>, Condvar)>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let count = drawn.read(&mut buffer).unwrap_or(0);
            let mut guard = seen.0.lock().expect("the test lives");
            guard.bytes.extend_from_slice(&buffer[..count]);
            guard.over = count == 0;
            seen.1.notify_all();
            if count == 0 {
                return;
            }
        }
    });
}

/// What a terminal shows after these bytes.
pub fn screen(bytes: &[u8], (rows, columns): (u16, u16)) -> vt100::Screen {
    let size = |lines| NonZeroU16::new(lines).expect("a size");
    let mut parser = vt100::Parser::new(size(rows), size(columns), 0);
    parser.process(bytes);
    parser.screen().clone()
}
