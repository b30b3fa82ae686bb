//! The one door through which text leaves the program. stdout holds results, stderr everything else; colours, quiet
//! and JSON are decided here and nowhere else. A reader that has gone away is not an error: the pass goes on.

use super::text::escape_controls;
use crate::error::CommandError;
use anstream::adapter::strip_str;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    io::{self, ErrorKind, Write},
};

/// How output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// JSON on both streams.
    pub json: bool,
    /// No `→` lines, grant lines and hints.
    pub quiet: bool,
    /// Colours on stdout.
    pub color_out: bool,
    /// Colours on stderr.
    pub color_err: bool,
}

/// Writes results and talk.
pub struct Printer {
    style: Style,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    failed: Cell<bool>,
}

impl Printer {
    /// A printer on two streams.
    #[must_use]
    pub fn new(style: Style, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self { style, out: RefCell::new(out), err: RefCell::new(err), failed: Cell::new(false) }
    }

    /// One that says nothing, while the streams are another program's.
    #[must_use]
    pub fn silent() -> Self {
        let style = Style { json: false, quiet: true, color_out: false, color_err: false };
        Self::new(style, Box::new(io::sink()), Box::new(io::sink()))
    }

    /// Whether results are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.style.json
    }

    /// Whether a result could not be written, for another reason than a reader that has gone away.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.get()
    }

    fn write(&self, to: &RefCell<Box<dyn Write>>, text: &str, color: bool) {
        let text = if color { text.to_owned() } else { strip_str(text).to_string() };
        let mut to = to.borrow_mut();
        let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
            self.failed.set(true);
        }
    }

    fn talk(&self, line: &str) {
        self.write(&self.err, &format!("{line}\n"), self.style.color_err);
    }

    /// Result text for people, newlines included; nothing in JSON mode.
    pub fn result(&self, text: &str) {
        if !self.style.json {
            self.write(&self.out, text, self.style.color_out);
        }
    }

    /// Text that is the result in either mode, as it is.
    pub fn verbatim(&self, text: &str) {
        self.write(&self.out, text, false);
    }

    /// A result in JSON; nothing otherwise.
    pub fn json(&self, value: &impl Serialize) {
        if self.style.json {
            let text = serde_json::to_string_pretty(value)
                .unwrap_or_else(|error| json!({"error": error.to_string()}).to_string());
            self.write(&self.out, &format!("{text}\n"), false);
        }
    }

    /// One object on one line, for a stream of them; nothing outside JSON mode.
    pub fn json_line(&self, value: &Value) {
        if self.style.json {
            self.write(&self.out, &format!("{value}\n"), false);
        }
    }

    /// One object on one line of stderr, where stdout is another program's; nothing outside JSON mode.
    pub fn json_aside(&self, value: &Value) {
        if self.style.json {
            self.talk(&value.to_string());
        }
    }

    /// What is being done, for somebody who waits.
    pub fn progress(&self, line: &str) {
        if !self.style.json && !self.style.quiet {
            self.talk(line);
        }
    }

    /// Something to know, which does not stop the command.
    pub fn warn(&self, message: &str, hints: &[String]) {
        if self.style.json {
            return self.talk(&json!({"warning": {"message": message, "hints": hints}}).to_string());
        }
        self.talk(&format!("warning: {}", escape_controls(message)));
        self.hints(hints);
    }

    /// Something to know that is neither result nor warning (how many rows were left out, an empty list).
    pub fn remark(&self, line: &str) {
        if !self.style.json {
            self.talk(line);
        }
    }

    /// Why the command ends.
    pub fn error(&self, error: &CommandError) {
        if self.style.json {
            let object = json!({"kind": error.kind.as_str(), "message": error.message, "hints": error.hints});
            return self.talk(&json!({"error": object}).to_string());
        }
        let lines: Vec<String> = error.message.lines().map(escape_controls).collect();
        self.talk(&format!("error: {}", lines.join("\n")));
        self.hints(&error.hints);
    }

    fn hints(&self, hints: &[String]) {
        if !self.style.quiet {
            for hint in hints {
                self.talk(&format!("hint: {}", escape_controls(hint)));
            }
        }
    }
}
