//! Questions to a user at a terminal. They go to stderr past the printer, since they wait for keys.

use crate::ui::cell::cut;
use eg_model::text::escape_controls;
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
use thiserror::Error;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Reason why a question has no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    #[error("cancelled by a signal; nothing was written")]
    Stopped(u8),
    /// The user left instead of choosing.
    #[error("cancelled; nothing was written")]
    Left,
    #[error("the terminal cannot be read: {0}")]
    Unreadable(InquireError),
    #[error("{0}")]
    Unfit(String),
}

/// While a question is open, Ctrl-C and Escape are keys, and SIGTERM and SIGHUP give the terminal back before they end
/// the program.
pub struct Questions {
    open: Arc<AtomicBool>,
}

const INTERRUPT: u8 = 2;

impl Questions {
    pub fn begin(colored: bool) -> Result<Self, Unanswered> {
        set_global_render_config(if colored { RenderConfig::default_colored() } else { RenderConfig::empty() });
        let open = Arc::new(AtomicBool::new(false));
        listen(Arc::clone(&open)).map_err(Unanswered::Signals)?;
        Ok(Self { open })
    }

    /// Asks for one option; the answer is its index.
    pub fn one_of(&self, question: &str, options: &[String]) -> Result<usize, Unanswered> {
        let chosen = self.ask(|| Select::new(question, in_one_line(options)).raw_prompt())?;
        Ok(chosen.index)
    }

    /// Asks for one option or more; typing narrows the list down.
    pub fn some_of(&self, question: &str, options: &[String]) -> Result<Vec<usize>, Unanswered> {
        let one = |chosen: &[ListOption<&String>]| {
            let none = ErrorMessage::Custom("Select one with the space bar".to_owned());
            Ok(if chosen.is_empty() { Validation::Invalid(none) } else { Validation::Valid })
        };
        // Repeated here, the options would be longer than a line.
        let count = |chosen: &[ListOption<&String>]| match chosen.len() {
            1 => "1 selected".to_owned(),
            many => format!("{many} selected"),
        };
        let ask = || {
            let asked = MultiSelect::new(question, in_one_line(options)).with_validator(one).with_formatter(&count);
            asked.with_help_message("space to select, type to filter, enter to continue").raw_prompt()
        };
        Ok(self.ask(ask)?.into_iter().map(|option| option.index).collect())
    }

    /// Asks for a line of text that `check` accepts; Enter alone is `usual`.
    pub fn text<T>(
        &self,
        question: &str,
        usual: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Unanswered> {
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
        check(&self.ask(ask)?).map_err(Unanswered::Unfit)
    }

    /// Asks for yes or no; Enter alone is yes.
    pub fn agreed(&self, question: &str) -> Result<bool, Unanswered> {
        self.ask(|| Confirm::new(question).with_default(true).prompt())
    }

    fn ask<T>(&self, question: impl FnOnce() -> Result<T, InquireError>) -> Result<T, Unanswered> {
        self.open.store(true, Ordering::SeqCst);
        let answered = question();
        self.open.store(false, Ordering::SeqCst);
        answered.map_err(|error| match error {
            InquireError::OperationInterrupted => Unanswered::Stopped(INTERRUPT),
            InquireError::OperationCanceled => Unanswered::Left,
            error => Unanswered::Unreadable(error),
        })
    }
}

/// A question blocks its thread until a key comes, so another thread listens to signals.
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
            // Fails only if the terminal has gone.
            terminal::disable_raw_mode().ok();
            execute!(io::stderr(), DisableBracketedPaste, Show).ok();
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing else can end a question; a file is replaced whole or not"
        )]
        std::process::exit(128 + number);
    });
    Ok(())
}

/// The columns before an option, and some room at its end.
const MARGIN: usize = 8;

/// An option that went on in a second line would be harder to tell from the next one.
fn in_one_line(options: &[String]) -> Vec<String> {
    let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns)).saturating_sub(MARGIN).max(MARGIN);
    options.iter().map(|text| cut(&escape_controls(text), width)).collect()
}
