//! Questions to somebody at a terminal. They go to stderr past the printer: they are talk, and wait for keys.

use crate::{
    error::{CommandError, Kind},
    text::escape_controls,
};
use inquire::{
    Confirm, InquireError, MultiSelect, Select, Text,
    list_option::ListOption,
    set_global_render_config,
    ui::RenderConfig,
    validator::{ErrorMessage, Validation},
};
use ratatui::crossterm::{cursor::Show, event::DisableBracketedPaste, execute, terminal};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// While a question is open, Ctrl-C and Escape are keys, and SIGTERM and SIGHUP give the terminal back before they end
/// the program.
pub struct Questions {
    open: Arc<AtomicBool>,
}

const INTERRUPT: u8 = 2;

impl Questions {
    /// # Errors
    /// The operating system does not let us listen to signals.
    pub fn begin(colored: bool) -> Result<Self, CommandError> {
        set_global_render_config(if colored { RenderConfig::default_colored() } else { RenderConfig::empty() });
        let failed = |error| CommandError::new(Kind::State, format!("signals cannot be listened to: {error}"));
        let open = Arc::new(AtomicBool::new(false));
        listen(Arc::clone(&open)).map_err(failed)?;
        Ok(Self { open })
    }

    /// One of several.
    ///
    /// # Errors
    /// Nobody chose.
    pub fn one_of(&self, question: &str, options: &[String]) -> Result<usize, CommandError> {
        let chosen = self.ask(|| Select::new(question, in_one_line(options)).raw_prompt())?;
        Ok(chosen.index)
    }

    /// Some of several, one at least. What is typed narrows the list down.
    ///
    /// # Errors
    /// Nobody chose.
    pub fn some_of(&self, question: &str, options: &[String]) -> Result<Vec<usize>, CommandError> {
        let one = |chosen: &[ListOption<&String>]| {
            let none = ErrorMessage::Custom("Select one with the space bar".to_owned());
            Ok(if chosen.is_empty() { Validation::Invalid(none) } else { Validation::Valid })
        };
        // Repeated here, the options would be longer than a line.
        let count = |chosen: &[ListOption<&String>]| match chosen.len() {
            1 => "1 group".to_owned(),
            many => format!("{many} groups"),
        };
        let ask = || {
            let asked = MultiSelect::new(question, in_one_line(options)).with_validator(one).with_formatter(&count);
            asked.with_help_message("space to select, type to filter, enter to continue").raw_prompt()
        };
        Ok(self.ask(ask)?.into_iter().map(|option| option.index).collect())
    }

    /// A line of text that `check` takes; Enter alone is `usual`.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn text<T>(
        &self,
        question: &str,
        usual: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, CommandError> {
        let check = &check;
        let fits = move |text: &str| {
            Ok(match check(text) {
                Ok(_) => Validation::Valid,
                Err(why) => Validation::Invalid(why.into()),
            })
        };
        let ask = || {
            let asked = Text::new(question).with_validator(fits);
            usual.into_iter().fold(asked, Text::with_default).prompt()
        };
        check(&self.ask(ask)?).map_err(|error| CommandError::new(Kind::Usage, error))
    }

    /// Yes or no; Enter alone is yes.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn agreed(&self, question: &str) -> Result<bool, CommandError> {
        self.ask(|| Confirm::new(question).with_default(true).prompt())
    }

    fn ask<T>(&self, question: impl FnOnce() -> Result<T, InquireError>) -> Result<T, CommandError> {
        self.open.store(true, Ordering::SeqCst);
        let answered = question();
        self.open.store(false, Ordering::SeqCst);
        answered.map_err(|error| match error {
            InquireError::OperationInterrupted => stopped_by(INTERRUPT),
            InquireError::OperationCanceled => left(),
            error => CommandError::new(Kind::Usage, format!("the terminal cannot be read: {error}"))
                .hint("give every answer as a flag: see --help"),
        })
    }
}

/// A question holds up its thread until a key comes, so another one listens to signals.
fn listen(open: Arc<AtomicBool>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut term, mut hup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = term.recv() => 15,
                _ = hup.recv() => 1,
            }
        });
        if open.load(Ordering::SeqCst) {
            // Fails only where the terminal has gone.
            terminal::disable_raw_mode().ok();
            execute!(io::stderr(), DisableBracketedPaste, Show).ok();
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nobody else can end a question; a file is replaced whole or not"
        )]
        std::process::exit(128 + number);
    });
    Ok(())
}

/// What stands before an option, and some room at its end.
const MARGIN: usize = 8;

/// An option that went on in a second line would be harder to tell from the next one.
fn in_one_line(options: &[String]) -> Vec<String> {
    let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns)).saturating_sub(MARGIN).max(MARGIN);
    options.iter().map(|text| cut(&escape_controls(text), width)).collect()
}

/// As much of a text as fits into so many columns, with a mark where the rest is missing.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |letter: &char| {
        used += letter.width().unwrap_or(0);
        used < width
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[must_use]
pub fn stopped_by(number: u8) -> CommandError {
    CommandError::new(Kind::Signal(number), "cancelled by a signal; nothing was written")
}

/// Somebody left instead of choosing.
#[must_use]
pub fn left() -> CommandError {
    CommandError::new(Kind::Refused, "cancelled; nothing was written")
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn long_texts_are_cut_visibly() {
        for (text, width, expected) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("", 3, ""),
        ] {
            assert_eq!(cut(text, width), expected, "{text} {width}");
        }
    }
}
