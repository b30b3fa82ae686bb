//! Findings as `eg doctor` and `eg resource verify` print them.

use crate::{
    checks::finding::{Finding, Level},
    ui::{style, table::Cell},
};
use eg_model::text::escape_controls;
use serde_json::{Value, json};

/// A finding, and under it the advice.
pub(super) fn finding_text(finding: &Finding) -> String {
    let style = match finding.level {
        Level::Good => style::GOOD,
        Level::Warning => style::UNDER_WAY,
        Level::Bad => style::BAD,
    };
    let mark = Cell::styled(finding.level.mark(), style).render();
    let line = format!("{mark} {}: {}\n", finding.check, escape_controls(&finding.message));
    finding.advice.iter().fold(line, |text, advice| text + &format!("    {}\n", escape_controls(advice)))
}

pub(super) fn finding_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "level": finding.level,
        "message": finding.message,
        "advice": finding.advice,
    })
}
