//! Questions to somebody at a terminal. They go to stderr past the printer: they are talk, and wait for keys.

use crate::{
    error::{CommandError, Kind},
    output::text::escape_controls,
};
use dialoguer::{
    Confirm, Input, MultiSelect, Select,
    console::{Term, truncate_str},
};
use rustix::process::{Signal, getpid, kill_process};
use std::{
    io,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// As long as this lives, Ctrl-C is a key like others: a question ends, and the terminal is as before. SIGTERM and SIGHUP
/// are such keys, too.
pub struct Questions {
    signals: Receiver<u8>,
}

/// How long whoever was stopped waits to hear by which signal.
const HEARD: Duration = Duration::from_secs(1);

impl Questions {
    /// Within the runtime.
    ///
    /// # Errors
    /// The operating system does not let us listen.
    pub fn begin() -> Result<Self, CommandError> {
        let failed = |error| CommandError::new(Kind::State, format!("signals cannot be listened to: {error}"));
        Ok(Self { signals: listen().map_err(failed)? })
    }

    /// Somebody pressed Ctrl-C, or sent another signal.
    pub fn stopped(&self) -> CommandError {
        stopped_by(self.signals.recv_timeout(HEARD).unwrap_or(2))
    }

    /// One of several.
    ///
    /// # Errors
    /// Nobody chose.
    pub fn one_of(&self, question: &str, options: &[String]) -> Result<usize, CommandError> {
        let options = in_one_line(options);
        let chosen = Select::new().with_prompt(question).items(&options).default(0).interact_opt();
        self.answer(chosen)?.ok_or_else(left)
    }

    /// Some of several, one at least.
    ///
    /// # Errors
    /// Nobody chose.
    pub fn some_of(&self, question: &str, options: &[String]) -> Result<Vec<usize>, CommandError> {
        let options = in_one_line(options);
        loop {
            // What was picked is seen in what comes of it: repeated here it would be longer than a line.
            let chosen = MultiSelect::new().with_prompt(question).items(&options).report(false).interact_opt();
            let chosen = self.answer(chosen)?.ok_or_else(left)?;
            if !chosen.is_empty() {
                return Ok(chosen);
            }
        }
    }

    /// A line of text that `check` takes; Enter alone is `usual`.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn text<T>(
        &self,
        question: &str,
        usual: Option<String>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, CommandError> {
        let mut input =
            Input::<String>::new().with_prompt(question).validate_with(|text: &String| check(text).map(drop));
        if let Some(usual) = usual {
            input = input.default(usual);
        }
        let text = self.answer(input.interact_text())?;
        check(&text).map_err(|error| CommandError::new(Kind::Usage, error))
    }

    /// Yes or no; Enter alone is yes.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn agreed(&self, question: &str) -> Result<bool, CommandError> {
        Ok(self.answer(Confirm::new().with_prompt(question).default(true).interact_opt())?.unwrap_or(false))
    }

    fn answer<T>(&self, answered: dialoguer::Result<T>) -> Result<T, CommandError> {
        answered.map_err(|error| {
            // What a question hides it shows again at its end, and this is none.
            Term::stderr().show_cursor().ok();
            let dialoguer::Error::IO(error) = error;
            match error.kind() {
                io::ErrorKind::Interrupted => self.stopped(),
                _ => CommandError::new(Kind::Usage, format!("the terminal cannot be read: {error}"))
                    .hint("give every answer as a flag: see --help"),
            }
        })
    }
}

/// A question holds up its thread until a key comes, so another one listens. It presses Ctrl-C until the question is
/// over: nobody else can undo what that does to the terminal, and one that is about to begin does not feel the first.
fn listen() -> io::Result<Receiver<u8>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    let mut int = signal(SignalKind::interrupt())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (tell, signals) = channel();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let number = tokio::select! {
                    // A question that another signal has ended presses Ctrl-C itself.
                    biased;
                    _ = term.recv() => 15,
                    _ = hup.recv() => 1,
                    _ = int.recv() => 2,
                };
                if tell.send(number).is_err() || number != 2 {
                    return;
                }
            }
        });
        while kill_process(getpid(), Signal::INT).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    Ok(signals)
}

/// What stands before an option, and some room at its end.
const MARGIN: usize = 8;

/// An option that went on in a second line would not be wiped away.
fn in_one_line(options: &[String]) -> Vec<String> {
    let (_, columns) = Term::stderr().size();
    let width = usize::from(columns).saturating_sub(MARGIN).max(MARGIN);
    options.iter().map(|text| truncate_str(&escape_controls(text), width, "…").into_owned()).collect()
}

/// A signal came.
pub fn stopped_by(number: u8) -> CommandError {
    CommandError::new(Kind::Signal(number), "stopped by a signal; nothing was written")
}

/// Somebody left instead of choosing.
pub fn left() -> CommandError {
    CommandError::new(Kind::Refused, "left before the end; nothing was written")
}
