//! A terminal that is drawn on, and given back as it was: on leaving, on an error and on a panic.

use crate::ui::printer::{Drawing, Printer};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event},
        execute,
        style::force_color_output,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use std::{
    cell::Cell,
    io,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// True while the terminal is drawn on, for a panic.
static DRAWN_ON: AtomicBool = AtomicBool::new(false);
/// Held while a picture is drawn: another thread's panic waits for its end, or would be drawn over.
static DRAWING: Mutex<()> = Mutex::new(());

thread_local! {
    /// True while this thread draws, so that its own panic does not wait for it.
    static DRAWS: Cell<bool> = const { Cell::new(false) };
}

/// The terminal while it is drawn on. Dropping it gives the terminal back.
pub struct Screen<'a> {
    terminal: Terminal<CrosstermBackend<Drawing<'a>>>,
    printer: &'a Printer,
}

impl<'a> Screen<'a> {
    /// Takes the terminal: keys come one by one, and its content is kept for later.
    pub fn enter(printer: &'a Printer) -> io::Result<Self> {
        restore_on_panic();
        // The caller decides on colours; without this the library would ask the environment again.
        force_color_output(true);
        enable_raw_mode()?;
        DRAWN_ON.store(true, Ordering::SeqCst);
        let entered = execute!(printer.drawing(), EnterAlternateScreen);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(printer.drawing())));
        terminal.map(|terminal| Self { terminal, printer }).inspect_err(|_| restore(&mut printer.drawing()))
    }

    /// Shows a picture; only the difference to the last one is sent. Draws nothing after a panic, whose message stands in
    /// the place of the picture.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _turn = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        if !DRAWN_ON.load(Ordering::SeqCst) {
            return Ok(());
        }
        DRAWS.set(true);
        let drawn = self.terminal.draw(picture).map(drop);
        DRAWS.set(false);
        drawn
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        restore(&mut self.printer.drawing());
    }
}

/// Gives the terminal back, once. A failure means that the terminal has gone away.
fn restore(to: &mut impl io::Write) {
    if DRAWN_ON.swap(false, Ordering::SeqCst) {
        execute!(to, LeaveAlternateScreen, Show).ok();
        disable_raw_mode().ok();
    }
}

/// Restores the terminal before a panic is reported: the message would be lost with the picture.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _turn = (!DRAWS.get()).then(|| DRAWING.lock().unwrap_or_else(PoisonError::into_inner));
            restore(&mut io::stdout());
            before(panic);
        }));
    });
}

/// Keys and changes of size, as they come. The thread that waits for them ends with the process, or at the first event
/// after the receiver is gone.
pub fn keys() -> UnboundedReceiver<io::Result<Event>> {
    let (tell, heard) = unbounded_channel();
    thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if tell.send(event).is_err() || failed {
                return;
            }
        }
    });
    heard
}
