//! The colours of statuses. The printer strips them if they are not wanted.

use anstyle::{AnsiColor, Style};
use eg_model::session::record::{GrantStatus, SessionStatus};

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const UNDER_WAY: Style = AnsiColor::Yellow.on_default();
/// The user has to look: FAILED, and a session overdue.
pub const BAD: Style = AnsiColor::Red.on_default();
pub const ENDED: Style = Style::new().dimmed();

/// Heads a part of a longer text.
pub const TITLE: Style = Style::new().bold();
/// A command line to repeat.
pub const COMMAND: Style = AnsiColor::Cyan.on_default();

/// The style of a session's status.
pub fn session(status: SessionStatus) -> Style {
    match status {
        SessionStatus::Active => GOOD,
        SessionStatus::Pending | SessionStatus::Partial | SessionStatus::Expiring => UNDER_WAY,
        SessionStatus::Failed => BAD,
        SessionStatus::Cancelled | SessionStatus::Expired => ENDED,
    }
}

/// The style of a grant's status.
pub fn grant(status: GrantStatus) -> Style {
    match status {
        GrantStatus::Applied => GOOD,
        GrantStatus::Pending | GrantStatus::Removing => UNDER_WAY,
        GrantStatus::Failed => BAD,
        GrantStatus::Removed => ENDED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_colour() {
        let session_styles: Vec<_> =
            SessionStatus::ALL.iter().map(|status| (status.as_str(), session(*status))).collect();
        for (word, style) in session_styles {
            let expected = match word {
                "ACTIVE" => GOOD,
                "PENDING" | "PARTIAL" | "EXPIRING" => UNDER_WAY,
                "FAILED" => BAD,
                _ => ENDED,
            };
            assert_eq!(style, expected, "{word}");
        }
        assert_eq!(grant(GrantStatus::Applied).render().to_string(), "\u{1b}[32m");
        assert_eq!(grant(GrantStatus::Removing).render().to_string(), "\u{1b}[33m");
        assert_eq!(grant(GrantStatus::Failed).render().to_string(), "\u{1b}[31m");
        assert_eq!(grant(GrantStatus::Removed).render().to_string(), "\u{1b}[2m");
    }
}
