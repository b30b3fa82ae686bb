//! The rows of `eg log --output csv`.

use super::entry::LogEntry;
use crate::{
    error::{CommandError, Kind},
    ui::json,
};
use eg_model::text::escape_controls;

const COLUMNS: [&str; 14] = [
    "at",
    "user_name",
    "user_email",
    "event",
    "command",
    "session_id",
    "resource_name",
    "resource_id",
    "region",
    "permission",
    "rule_id",
    "request_id",
    "outcome",
    "detail",
];

/// RFC 4180: every row ends in CRLF, and a missing value is empty.
pub(super) fn csv(entries: &[LogEntry], header: bool) -> Result<String, CommandError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if header {
        writer.write_record(COLUMNS).map_err(unwritten)?;
    }
    for entry in entries {
        let event = &entry.event;
        let target = event.target.as_ref();
        let cells: [Option<String>; COLUMNS.len()] = [
            Some(json::time(event.at)),
            entry.user.as_ref().map(|(name, _)| name.clone()),
            entry.user.as_ref().and_then(|(_, email)| email.clone()),
            Some(event.kind.as_str().to_owned()),
            entry.command.map(|kind| kind.as_str().to_owned()),
            event.session.map(|id| id.to_string()),
            entry.resource.clone(),
            target.map(|target| target.id.clone()),
            target.map(|target| target.region.clone()),
            entry.permission(),
            event.rule_id.as_ref().map(ToString::to_string),
            event.request_id.clone(),
            Some(event.outcome.clone()),
            event.detail.clone(),
        ];
        writer.write_record(cells.map(|cell| not_a_formula(&cell.unwrap_or_default()))).map_err(unwritten)?;
    }
    let bytes = writer.into_inner().map_err(|error| unwritten(error.into_error().into()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unwritten(error: csv::Error) -> CommandError {
    CommandError::new(Kind::State, format!("the rows cannot be written: {error}"))
}

/// Puts an apostrophe before a cell that begins like a formula, or a spreadsheet would run it (OWASP, "CSV Injection"): user
/// names, reasons and providers' messages are texts of others. Escapes controls, so that a row stays a line.
fn not_a_formula(text: &str) -> String {
    let text = escape_controls(text);
    if text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\t=1", "\\u{9}=1"),
            ("tcp/22 from 203.0.113.42/32", "tcp/22 from 203.0.113.42/32"),
            ("", ""),
        ] {
            assert_eq!(not_a_formula(text), expected);
        }
    }
}
