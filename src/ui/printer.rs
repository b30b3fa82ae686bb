//! Writes all text that leaves the program. stdout holds results, stderr everything else; colours, quiet and JSON are
//! decided here and nowhere else. A reader that has gone away is not an error: the pass goes on.
//!
//! On a terminal a bar stands below the printed lines while a pass is at work; further lines go above it.

use crate::ui::{ascii, warning::Code};
use anstream::adapter::strip_str;
use eg_model::text::{escape_controls, escape_in_json};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    io::{self, ErrorKind, Write},
    time::Duration,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub json: bool,
    /// No `→` lines, grant lines and hints.
    pub quiet: bool,
    pub color_out: bool,
    pub color_err: bool,
}

pub struct Printer {
    style: Style,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    failed: Cell<bool>,
    /// True after the reader of stdout has gone.
    closed: Cell<bool>,
    /// True if marks are printed in ASCII, since the locale has no others.
    ascii: bool,
    /// True if a bar may be drawn on stderr.
    bars: bool,
    bar: RefCell<Option<ProgressBar>>,
    /// The number of grants that have landed since the last bar went.
    landed: Cell<u64>,
}

/// The interval at which a bar shows that time goes on.
const BEAT: Duration = Duration::from_millis(200);
const BAR: &str = "  [{bar:24}] {pos} of {len} {msg}, {elapsed}";
const ASCII_SPINNER: &str = "-\\|/ ";
const NO_BAR: &str = "  {spinner} {msg}, {elapsed}";

impl Printer {
    /// A printer on two streams.
    pub fn new(style: Style, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self {
            style,
            out: RefCell::new(out),
            err: RefCell::new(err),
            failed: Cell::new(false),
            closed: Cell::new(false),
            ascii: false,
            bars: false,
            bar: RefCell::default(),
            landed: Cell::default(),
        }
    }

    /// The same with marks in ASCII, if that is wanted; JSON stays as it is.
    pub fn in_ascii(mut self, wanted: bool) -> Self {
        self.ascii = wanted;
        self
    }

    /// The same with bars on stderr, if that is a terminal that can be drawn on; never in JSON, nor when quiet.
    pub fn with_bars(mut self, drawable: bool) -> Self {
        self.bars = drawable && !self.style.json && !self.style.quiet;
        self
    }

    /// Shows a bar without a length until it is dropped, if bars are drawn.
    pub fn busy(&self, what: &'static str) -> Bar<'_> {
        if self.bars {
            *self.bar.borrow_mut() = Some(drawn(0, 0, Duration::ZERO, what, self.ascii));
        }
        Bar { printer: self }
    }

    /// Shows, until it is dropped and if bars are drawn, how many of `grants` have landed since the last bar. Without
    /// grants to wait for the bar has no length.
    pub fn bar(&self, grants: usize, waited: Duration) -> Bar<'_> {
        if self.bars {
            let total = u64::try_from(grants).unwrap_or(u64::MAX).max(self.landed.get());
            *self.bar.borrow_mut() = Some(drawn(total, self.landed.get(), waited, "reading the firewalls", self.ascii));
        }
        Bar { printer: self }
    }

    /// A printer that prints nothing, while the streams are another program's.
    pub fn silent() -> Self {
        let style = Style { json: false, quiet: true, color_out: false, color_err: false };
        Self::new(style, Box::new(io::sink()), Box::new(io::sink()))
    }

    pub fn is_json(&self) -> bool {
        self.style.json
    }

    /// True if a result could not be written, for another reason than a reader that has gone away.
    pub fn failed(&self) -> bool {
        self.failed.get()
    }

    /// True after the reader of stdout or stderr has gone away.
    pub fn has_lost_its_reader(&self) -> bool {
        self.closed.get()
    }

    fn write(&self, to: &RefCell<Box<dyn Write>>, text: &str, color: bool) {
        let text = if self.ascii { ascii::in_text(text) } else { text.into() };
        if color { self.put(to, &text) } else { self.put(to, &strip_str(&text).to_string()) }
    }

    /// Every byte as it is.
    fn put(&self, to: &RefCell<Box<dyn Write>>, text: &str) {
        let write = || {
            let mut to = to.borrow_mut();
            to.write_all(text.as_bytes()).and_then(|()| to.flush())
        };
        let written = match &*self.bar.borrow() {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() != ErrorKind::BrokenPipe => self.failed.set(true),
            Err(_) => self.closed.set(true),
        }
    }

    fn talk(&self, line: &str) {
        self.write(&self.err, &format!("{line}\n"), self.style.color_err);
    }

    /// Writes JSON with nothing stripped: the reader gets every character of a string.
    fn put_json(&self, to: &RefCell<Box<dyn Write>>, json: &str) {
        self.put(to, &format!("{}\n", escape_in_json(json)));
    }

    pub fn has_colors(&self) -> bool {
        self.style.color_out
    }

    pub fn has_colored_talk(&self) -> bool {
        self.style.color_err
    }

    /// stdout as a terminal to draw on.
    pub fn drawing(&self) -> Drawing<'_> {
        Drawing { out: &self.out, ascii: self.ascii }
    }

    /// Result text for people, newlines included; nothing in JSON mode.
    pub fn result(&self, text: &str) {
        if !self.style.json {
            self.write(&self.out, text, self.style.color_out);
        }
    }

    /// Text that is the result in either mode, as it is: a shell that asks for candidates gets them apart by a control
    /// character.
    pub fn verbatim(&self, text: &str) {
        self.put(&self.out, text);
    }

    /// A result in JSON; nothing otherwise.
    pub fn json(&self, value: &impl Serialize) {
        if self.style.json {
            let text = serde_json::to_string_pretty(value)
                .unwrap_or_else(|error| json!({"error": error.to_string()}).to_string());
            self.put_json(&self.out, &text);
        }
    }

    /// One object on one line, for a stream of them; nothing outside JSON mode.
    pub fn json_line(&self, value: &Value) {
        if self.style.json {
            self.put_json(&self.out, &value.to_string());
        }
    }

    /// One object on one line of stderr, where stdout is another program's; nothing outside JSON mode.
    pub fn json_aside(&self, value: &Value) {
        if self.style.json {
            self.put_json(&self.err, &value.to_string());
        }
    }

    /// A line about the work in progress, for a user who waits.
    pub fn progress(&self, line: &str) {
        if !self.style.json && !self.style.quiet {
            self.talk(line);
        }
    }

    /// Prints the line of a grant that has landed, and moves the bar on.
    pub fn landed(&self, line: &str) {
        self.landed.set(self.landed.get() + 1);
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_length(self.landed.get().max(bar.length().unwrap_or(0)));
            bar.set_position(self.landed.get());
        }
        self.progress(line);
    }

    /// A problem that does not stop the command.
    pub fn warn(&self, code: Code, message: &str, hints: &[String]) {
        if self.style.json {
            let warning = json!({"warning": {"code": code, "message": message, "hints": hints}});
            return self.put_json(&self.err, &warning.to_string());
        }
        self.talk(&format!("warning: {}", escape_controls(message)));
        self.hints(hints);
    }

    /// A remark that is neither result nor warning (the number of rows left out, an empty list).
    pub fn remark(&self, line: &str) {
        if !self.style.json {
            self.talk(line);
        }
    }

    pub fn error<'e>(&self, error: impl Into<ErrorText<'e>>) {
        let error = error.into();
        if self.style.json {
            return self.put_json(&self.err, &error.json());
        }
        let lines: Vec<String> = error.message.lines().map(escape_controls).collect();
        self.talk(&format!("error: {}", lines.join("\n")));
        self.hints(error.hints);
    }

    fn hints(&self, hints: &[String]) {
        if !self.style.quiet {
            for hint in hints {
                self.talk(&format!("hint: {}", escape_controls(hint)));
            }
        }
    }
}

/// An error and its hints.
pub struct ErrorText<'e> {
    pub kind: &'static str,
    pub message: &'e str,
    pub hints: &'e [String],
}

impl ErrorText<'_> {
    fn json(&self) -> String {
        json!({"error": {"kind": self.kind, "message": self.message, "hints": self.hints}}).to_string()
    }
}

/// An error as a printer would write it without colours, for a process that cannot use its printer any more.
pub fn error_line<'e>(error: impl Into<ErrorText<'e>>, json: bool) -> String {
    let error = error.into();
    if json {
        return format!("{}\n", escape_in_json(&error.json()));
    }
    let hints = error.hints.iter().map(|hint| format!("hint: {}\n", escape_controls(hint)));
    format!("error: {}\n{}", escape_controls(error.message), hints.collect::<String>())
}

/// A bar that is shown as long as this lives.
pub struct Bar<'a> {
    printer: &'a Printer,
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.printer.landed.set(0);
        if let Some(bar) = self.printer.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

fn drawn(total: u64, landed: u64, waited: Duration, nothing: &'static str, ascii: bool) -> ProgressBar {
    let template = if total == 0 { NO_BAR } else { BAR };
    let message = match total {
        0 => nothing,
        1 => "grant",
        _ => "grants",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = if ascii { style.tick_chars(ASCII_SPINNER) } else { style };
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let bar = bar.with_style(style.progress_chars("=> ")).with_message(message);
    let bar = bar.with_position(landed).with_elapsed(waited);
    bar.enable_steady_tick(BEAT);
    bar
}

/// stdout as a terminal to draw on: every byte as it is, except marks that have to be ASCII.
pub struct Drawing<'a> {
    out: &'a RefCell<Box<dyn Write>>,
    ascii: bool,
}

impl Write for Drawing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let (true, Ok(text)) = (self.ascii, str::from_utf8(bytes)) {
            return self.out.borrow_mut().write_all(ascii::in_drawing(text).as_bytes()).map(|()| bytes.len());
        }
        self.out.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.borrow_mut().flush()
    }
}
