//! The holders of a rule, as `eg who` and `eg sweep` show them.

use crate::ui::{
    style,
    table::{Cell, Table},
    time::Zone,
};
use eg_model::{sweep::holders::Holder, tags::LeaseState};

/// The first digits of an installation's id: enough for users to tell two apart; `--output json` has them all.
pub fn short_installation(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

pub fn name(holder: &Holder) -> &str {
    short_installation(holder.installation.as_str())
}

/// The end of the holder's lease.
pub fn until(holder: &Holder, zone: &Zone) -> Cell {
    match (holder.state, holder.until) {
        (LeaseState::Unexpired, Some(at)) => Cell::new(zone.format(at)),
        (LeaseState::Expired, Some(at)) => Cell::styled(format!("{} (expired)", zone.format(at)), style::ENDED),
        _ => Cell::styled(format!("\"{}\" (holds nothing)", holder.value), style::BAD),
    }
}

/// Adds a row for each holder of a rule; the first has the rule's own cells.
pub fn rows<const N: usize>(table: &mut Table, rule: [Cell; N], mut holders: impl Iterator<Item = [Cell; 2]>) {
    let first = holders.next().unwrap_or_else(|| [Cell::new("nobody"), Cell::new("-")]);
    table.row(rule.into_iter().chain(first));
    for more in holders {
        table.row(std::iter::repeat_n(Cell::default(), N).chain(more));
    }
}
