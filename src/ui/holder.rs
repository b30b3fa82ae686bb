//! Whoever holds a rule, as `eg who` and `eg sweep` show it.

use crate::ui::{style, table::Cell, time::Zone};
use eg_model::{sweep::holders::Holder, tags::LeaseState};

#[must_use]
pub fn name(holder: &Holder) -> &str {
    let id = holder.installation.as_str();
    id.get(..8).unwrap_or(id)
}

/// Until when, and whether that is over.
#[must_use]
pub fn until(holder: &Holder, zone: &Zone) -> Cell {
    match (holder.state, holder.until) {
        (LeaseState::Unexpired, Some(at)) => Cell::new(zone.format(at)),
        (LeaseState::Expired, Some(at)) => Cell::styled(format!("{} (expired)", zone.format(at)), style::ENDED),
        _ => Cell::styled(format!("\"{}\" (holds nothing)", holder.value), style::BAD),
    }
}
