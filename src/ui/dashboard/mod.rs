//! `eg status --watch` without its terminal: the selected session, the requests of keys, and the output of the last
//! command. Pure; `draw` draws it, in `columns`.

pub mod columns;
pub mod draw;

use eg_model::{ids::SessionId, session::record::Session, text::escape_controls};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The hours by which a key extends.
pub const EXTEND_HOURS: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Stop,
    /// As `eg session extend`, by [`EXTEND_HOURS`].
    Extend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAction {
    pub verb: Verb,
    pub session: SessionId,
}

impl SessionAction {
    /// The command line that does it.
    pub fn args(self) -> Vec<String> {
        let id = self.session.to_string();
        match self.verb {
            Verb::Stop => ["session", "stop", &id].map(str::to_owned).to_vec(),
            Verb::Extend => {
                ["session", "extend", &id, "--hours", &EXTEND_HOURS.to_string()].map(str::to_owned).to_vec()
            }
        }
    }
}

/// The request of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRequest {
    Leave,
    Do(SessionAction),
}

/// The use of the keys at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Looking,
    /// A question is open: `y` or `n`.
    Asking(SessionAction),
    Busy(SessionAction),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    selected: Option<SessionId>,
    mode: Mode,
    said: Vec<String>,
}

impl Board {
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The output of the last command, safe to print.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// The index of the selected session in this list; of the first if the list has it no longer.
    pub fn selected(&self, sessions: &[Session]) -> Option<usize> {
        let at = sessions.iter().position(|session| Some(session.id) == self.selected);
        at.or((!sessions.is_empty()).then_some(0))
    }

    /// Handles a key. The caller carries out the request, if any, and calls [`Board::begins`].
    pub fn key(&mut self, key: KeyEvent, sessions: &[Session]) -> Option<KeyRequest> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, self.mode) {
            (KeyCode::Char('c'), _) if control => Some(KeyRequest::Leave),
            _ if control => None,
            (code, Mode::Asking(action)) => self.answer(code, action),
            (KeyCode::Char('q') | KeyCode::Esc, _) => Some(KeyRequest::Leave),
            (code, _) => self.pick(code, sessions),
        }
    }

    fn answer(&mut self, code: KeyCode, action: SessionAction) -> Option<KeyRequest> {
        match code {
            KeyCode::Char('y' | 'Y') => Some(KeyRequest::Do(action)),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
                self.mode = Mode::Looking;
                None
            }
            _ => None,
        }
    }

    fn pick(&mut self, code: KeyCode, sessions: &[Session]) -> Option<KeyRequest> {
        let at = self.selected(sessions)?;
        let to = match code {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => sessions.len(),
            KeyCode::Char('x') => return self.request(Verb::Stop, sessions.get(at)?),
            KeyCode::Char('e') => return self.request(Verb::Extend, sessions.get(at)?),
            _ => return None,
        };
        self.selected = sessions.get(to.min(sessions.len() - 1)).map(|session| session.id);
        None
    }

    /// Asks before a stop: a key is pressed too easily.
    fn request(&mut self, verb: Verb, session: &Session) -> Option<KeyRequest> {
        if let Mode::Busy(_) = self.mode {
            return None;
        }
        let action = SessionAction { verb, session: session.id };
        self.selected = Some(session.id);
        self.said.clear();
        match verb {
            Verb::Stop => {
                self.mode = Mode::Asking(action);
                None
            }
            Verb::Extend => Some(KeyRequest::Do(action)),
        }
    }

    pub fn begins(&mut self, action: SessionAction) {
        self.mode = Mode::Busy(action);
        self.said.clear();
    }

    /// The command is over; its results, warnings and errors are these lines.
    pub fn ends<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        self.mode = Mode::Looking;
        self.said = lines.map(|line| escape_controls(line.trim_end())).filter(|line| !line.is_empty()).collect();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ui::dashboard::draw::tests::session;

    pub(crate) fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn char(letter: char) -> KeyEvent {
        press(KeyCode::Char(letter))
    }

    #[test]
    fn arrows_and_letters_select() {
        let list = [session(1), session(2), session(3)];
        let mut board = Board::default();
        assert_eq!(board.selected(&list), Some(0));
        assert_eq!(board.selected(&[]), None);
        for (key, at) in [
            (press(KeyCode::Down), 1),
            (char('j'), 2),
            (char('j'), 2),
            (press(KeyCode::Up), 1),
            (char('k'), 0),
            (char('k'), 0),
            (press(KeyCode::End), 2),
            (press(KeyCode::Home), 0),
            (char('z'), 0),
        ] {
            assert_eq!(board.key(key, &list), None);
            assert_eq!(board.selected(&list), Some(at), "{key:?}");
        }
        assert_eq!(board.key(char('j'), &[]), None, "nothing to select");
    }

    #[test]
    fn a_selection_follows_its_session() {
        let list = [session(1), session(2), session(3)];
        let mut board = Board::default();
        board.key(char('j'), &list);
        assert_eq!(board.selected(&[session(9), session(1), session(2)]), Some(2), "others came before it");
        assert_eq!(board.selected(&[session(1), session(3)]), Some(0), "it is gone");
    }

    #[test]
    fn stopping_is_asked_about() {
        let list = [session(1), session(2)];
        let mut board = Board::default();
        board.key(char('j'), &list);
        let action = SessionAction { verb: Verb::Stop, session: list[1].id };
        for no in [char('n'), char('N'), char('q'), press(KeyCode::Esc)] {
            assert_eq!(board.key(char('x'), &list), None);
            assert_eq!(board.mode(), Mode::Asking(action));
            assert_eq!(board.key(char('k'), &list), None, "a question holds the selection");
            assert_eq!(board.key(no, &list), None, "{no:?} leaves the question, not the board");
            assert_eq!(board.mode(), Mode::Looking);
        }
        board.key(char('x'), &list);
        assert_eq!(board.key(char('y'), &list), Some(KeyRequest::Do(action)));
        assert_eq!(action.args(), ["session", "stop", &list[1].id.to_string()]);
    }

    #[test]
    fn one_thing_at_a_time() {
        let list = [session(1)];
        let mut board = Board::default();
        let action = SessionAction { verb: Verb::Extend, session: list[0].id };
        assert_eq!(board.key(char('e'), &list), Some(KeyRequest::Do(action)));
        assert_eq!(action.args(), ["session", "extend", &list[0].id.to_string(), "--hours", "1"]);
        board.begins(action);
        assert_eq!(board.key(char('e'), &list), None);
        assert_eq!(board.key(char('x'), &list), None);
        assert_eq!(board.mode(), Mode::Busy(action));
        assert_eq!(board.key(char('q'), &list), Some(KeyRequest::Leave), "leaving is always possible");
        board.ends("✓ done\n\n  \u{1b}[2J\n".lines());
        assert_eq!(
            (board.mode(), board.said()),
            (Mode::Looking, &["✓ done".to_owned(), "  \\u{1b}[2J".to_owned()][..])
        );
    }

    #[test]
    fn ways_to_leave() {
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for key in [char('q'), press(KeyCode::Esc), interrupt] {
            assert_eq!(Board::default().key(key, &[]), Some(KeyRequest::Leave), "{key:?}");
        }
        let list = [session(1)];
        let mut asking = Board::default();
        asking.key(char('x'), &list);
        assert_eq!(asking.key(interrupt, &list), Some(KeyRequest::Leave));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(Board::default().key(released, &[]), None);
        assert_eq!(Board::default().key(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::CONTROL), &list), None);
    }
}
