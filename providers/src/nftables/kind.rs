//! Tables of nftables, as the configuration and the messages know them.

use crate::kind::{Kind, Noun, Ports, TargetField};
use eg_model::target::Expiry;

pub static TABLE: Kind = Kind {
    provider: "nftables",
    name: "table",
    noun: Noun::an("nftables table", "nftables tables"),
    entry: Noun::an("element", "elements"),
    target: &[TargetField {
        key: "table",
        accepted: "a table's name: a letter, then up to 31 letters, digits and _",
        default: Some("eg"),
        read: table,
    }],
    selectors: false,
    ports: Ports::OfEachEntry,
    cloud: None,
    expiry: Expiry::Native,
    quota: None,
    unmarked: false,
    reads_back: |_| true,
    anchor: "nftables-on-this-host",
};

/// Narrower than what nft takes (nft(8), "Lexical conventions"): a name without signs needs no quoting anywhere.
fn table(text: String) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let fits = plain && text.len() <= 32 && text.starts_with(|first: char| first.is_ascii_alphabetic());
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the name of a table")) }
}
