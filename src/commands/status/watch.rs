//! `eg status --watch`: the dashboard on a terminal. It reads only the record. A key runs the command that the user would
//! type, on a thread of its own, and the dashboard shows its output.

use crate::{
    checks::schedule::status_line,
    commands::{
        context::{Context, block_on, listen},
        global::Global,
    },
    error::{CommandError, Exit, Kind},
    host::{env::Env, signals::Interrupt},
    ui::{
        dashboard::{
            Board, KeyRequest, SessionAction,
            draw::{self, Scene},
        },
        printer::{Printer, Style},
        terminal::{Screen, keys},
    },
};
use chrono::TimeDelta;
use eg_state::{Event, RecordSummary, RecordVersion, StateError, Store};
use ratatui::crossterm::event::Event as TerminalEvent;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::{sync::oneshot, time::sleep};

const HANGUP: u8 = 1;
/// The time between two looks at the clock and the record.
const TICK: Duration = Duration::from_secs(1);
/// The number of events to read. Not all are shown, so it is more than any terminal has lines.
const EVENTS: u32 = 200;

/// Runs the words of a command with these global options.
pub type RunWords = fn(&Env, &Printer, &Global, &[String]) -> Result<Exit, CommandError>;

/// Shows the dashboard until a key or a signal ends it.
pub(super) fn run(context: &Context<'_>, run_words: RunWords) -> Result<Exit, CommandError> {
    check(context)?;
    block_on(watch(context, run_words))
}

fn check(context: &Context<'_>) -> Result<(), CommandError> {
    let usage = |message: &str| CommandError::new(Kind::Usage, message);
    let instead = "a program that waits for changes uses: eg reconcile --watch --output json";
    if context.printer.is_json() {
        let error = usage("--watch has no JSON output");
        return Err(error.hint("for the state as it is now: eg status --output json").hint(instead));
    }
    if !context.env.stdout_is_terminal || context.env.var("TERM") == Some("dumb") {
        let error = usage("--watch needs an interactive terminal");
        return Err(error.hint("for the state as it is now: eg status").hint(instead));
    }
    Ok(())
}

fn no_terminal(error: io::Error) -> CommandError {
    CommandError::new(Kind::Usage, format!("the terminal cannot be drawn on: {error}"))
        .hint("for the state as it is now: eg status")
}

async fn watch(context: &Context<'_>, run_words: RunWords) -> Result<Exit, CommandError> {
    let interrupt = listen()?;
    let mut known = Known::default();
    known.look(context);
    let mut board = Board::default();
    let mut under_way = None;
    let shown = {
        let mut screen = Screen::enter(context.printer).map_err(no_terminal)?;
        show(context, run_words, &mut screen, &mut known, &mut board, &mut under_way, &interrupt).await
    };
    // A command that was begun runs to its end, as on the command line, and prints its output here.
    let finished = match under_way {
        None => Exit::Done,
        Some(command) => command.at_the_end(context).await,
    };
    shown?;
    Ok(match interrupt.asked() {
        Some(HANGUP) => Exit::Signal(HANGUP),
        _ => finished,
    })
}

async fn show(
    context: &Context<'_>,
    run_words: RunWords,
    screen: &mut Screen<'_>,
    known: &mut Known,
    board: &mut Board,
    under_way: &mut Option<UnderWay>,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let mut keys = keys();
    let mut scheduled = (context.env.now(), context.scheduled(known.store.as_ref(), &known.glance.runs));
    while interrupt.asked().is_none() {
        known.look(context);
        let view = context.view(known.glance.runs.clone());
        if (view.now - scheduled.0).abs() >= ASK_AGAIN {
            scheduled = (view.now, context.scheduled(known.store.as_ref(), &known.glance.runs));
        }
        let runs = view.runs.scheduled_at;
        let scene = Scene {
            board,
            view: &view,
            scheduled: &status_line(scheduled.1, runs, |at| view.zone.format(at)),
            glance: &known.glance,
            events: &known.events,
            unread: known.unread.as_deref(),
            colors: context.printer.has_colors(),
        };
        screen.draw(|frame| draw::draw(frame, scene)).map_err(no_terminal)?;
        tokio::select! {
            event = keys.recv() => {
                let event = event.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())).map_err(no_terminal)?;
                let TerminalEvent::Key(key) = event else { continue };
                match board.key(key, &known.glance.sessions) {
                    Some(KeyRequest::Leave) => return Ok(()),
                    Some(KeyRequest::Do(action)) => {
                        *under_way = Some(UnderWay::begin(context, run_words, action));
                        board.begins(action);
                    }
                    None => {}
                }
            }
            said = over(under_way) => {
                *under_way = None;
                board.ends(said?.lines());
            }
            () = sleep(TICK) => {}
            () = interrupt.wait() => {}
        }
    }
    Ok(())
}

/// The time between two questions to the scheduler, each of which runs a program.
const ASK_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// The content of the record, as it was read last.
#[derive(Default)]
struct Known {
    store: Option<Store>,
    version: Option<RecordVersion>,
    glance: RecordSummary,
    events: Vec<Event>,
    unread: Option<String>,
}

impl Known {
    /// Reads what has changed. After an error the old content stays, and the dashboard shows the error.
    fn look(&mut self, context: &Context<'_>) {
        self.unread = match self.read(context) {
            Ok(()) => None,
            Err(error) => {
                (self.store, self.version) = (None, None);
                Some(error.with_advice())
            }
        };
    }

    fn read(&mut self, context: &Context<'_>) -> Result<(), StateError> {
        if self.store.as_ref().is_some_and(Store::is_replaced) {
            *self = Self::default();
        }
        if self.store.is_none() {
            self.store = Store::open_read_only(&context.state.path)?;
        }
        let Some(store) = &self.store else { return Ok(()) };
        // The version comes first: a transaction between it and the reading then causes one reading too many, not a lost one.
        let version = store.data_version()?;
        if version.is_none() || self.version != version {
            self.glance = RecordSummary::read(store)?;
            self.events = store.last_events(EVENTS)?;
            self.version = version;
        }
        Ok(())
    }
}

/// A command that the dashboard has begun.
struct UnderWay {
    over: oneshot::Receiver<CommandOutcome>,
}

struct CommandOutcome {
    exit: Exit,
    said: String,
}

impl UnderWay {
    /// Runs what a person would type, with the options that this command was given.
    fn begin(context: &Context<'_>, run_words: RunWords, action: SessionAction) -> Self {
        let (env, global) = (context.env.clone(), context.global.clone());
        let (tell, over) = oneshot::channel();
        thread::spawn(move || {
            // The dashboard may have gone: then there is no receiver.
            tell.send(carry_out(&env, &global, run_words, action)).ok();
        });
        Self { over }
    }

    async fn end(&mut self) -> Result<CommandOutcome, CommandError> {
        let lost = |_| CommandError::new(Kind::State, "what was asked for did not come to its end; see: eg log");
        (&mut self.over).await.map_err(lost)
    }

    /// Prints the outcome, after the dashboard has gone, as if the user had typed the command.
    async fn at_the_end(mut self, context: &Context<'_>) -> Exit {
        context.printer.progress("→ Waiting for what is under way...");
        match self.end().await {
            Ok(ended) => {
                context.printer.remark(ended.said.trim_end());
                ended.exit
            }
            Err(error) => {
                context.printer.error(&error);
                error.kind.exit()
            }
        }
    }
}

/// Waits for the end of the running command; for ever if there is none.
async fn over(under_way: &mut Option<UnderWay>) -> Result<String, CommandError> {
    match under_way {
        Some(command) => command.end().await.map(|ended| ended.said),
        None => std::future::pending().await,
    }
}

/// Runs a command, and keeps its results, warnings, errors and hints, but not its progress.
fn carry_out(env: &Env, global: &Global, run_words: RunWords, action: SessionAction) -> CommandOutcome {
    let (results, talk) = (CapturedOutput::default(), CapturedOutput::default());
    let style = Style { json: false, quiet: false, color_out: false, color_err: false };
    let printer = Printer::new(style, Box::new(results.clone()), Box::new(talk.clone()));
    let exit = run_words(env, &printer, global, &action.args()).unwrap_or_else(|error| {
        printer.error(&error);
        error.kind.exit()
    });
    let telling = |line: &&str| ["warning: ", "error: ", "hint: "].iter().any(|start| line.starts_with(start));
    let (results, talk) = (results.text(), talk.text());
    let lines: Vec<&str> = results.lines().chain(talk.lines().filter(telling)).collect();
    CommandOutcome { exit, said: lines.join("\n") }
}

/// A stream that keeps its text.
#[derive(Clone, Default)]
struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl CapturedOutput {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
