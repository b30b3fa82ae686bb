//! The kinds of toy firewall: one for each set of abilities that the reconciler knows.

use super::firewall::Abilities;
use crate::kind::{Kind, Noun, Ports, TargetField, absolute_path};
use eg_model::{
    SETTLE_WINDOW,
    container_mark::LEASES_MAX,
    target::{Capabilities, Expiry, Identity, MarkPlace},
};

/// Tags on rules, as in a security group.
pub static RULE_TAGS: Kind = kind("rule-tags");
/// Marks in the text of an entry.
pub static ENTRY_TEXT: Kind = kind("entry-text");
/// Marks on the container, entries with a text.
pub static CONTAINER: Kind = kind("container");
/// Marks on the container, entries that are their values.
pub static CONTAINER_VALUE: Kind = kind("container-value");
/// No marks.
pub static BARE: Kind = kind("bare");
/// Marks in the text, and entries that close by themselves.
pub static TIMED: Kind = kind("timed");
/// Nothing is read back.
pub static BLIND: Kind = kind("blind");

const fn kind(name: &'static str) -> Kind {
    Kind {
        provider: "toy",
        name,
        noun: Noun::a("toy firewall", "toy firewalls"),
        entry: Noun::a("rule", "rules"),
        target: FILE,
        selectors: false,
        ports: Ports::OfEachEntry,
        cloud: None,
        expiry: if matches!(name.as_bytes(), b"timed") { Expiry::Native } else { Expiry::None },
        quota: None,
        unmarked: matches!(name.as_bytes(), b"bare" | b"blind"),
        reads_back: if matches!(name.as_bytes(), b"blind") { |_| false } else { |_| true },
        anchor: "",
    }
}

const FILE: &[TargetField] =
    &[TargetField { key: "file", accepted: "an absolute path", default: None, read: absolute_path }];

/// The abilities of a kind.
pub(super) fn abilities(kind: &str) -> Abilities {
    let marks = match kind {
        "rule-tags" => MarkPlace::Rule { tags: 50 },
        "entry-text" | "timed" => MarkPlace::Entry,
        "container" | "container-value" => MarkPlace::Container { leases: LEASES_MAX },
        _ => MarkPlace::None,
    };
    let capabilities = Capabilities {
        identity: if kind == "container-value" { Identity::Value } else { Identity::Id },
        marks,
        batch: 4,
        expiry: if kind == "timed" { Expiry::Native } else { Expiry::None },
        settle: SETTLE_WINDOW,
    };
    Abilities { capabilities, reads: kind != "blind" }
}
