//! Prefix lists, as the configuration and the messages know them.

use crate::{
    aws::{
        PROVIDER,
        kind::{EC2, resource_id},
    },
    kind::{Kind, Noun, Ports, TargetField},
};
use eg_model::target::Expiry;

pub static PREFIX_LIST: Kind = Kind {
    provider: PROVIDER,
    name: "prefix-list",
    noun: Noun::a("prefix list", "prefix lists"),
    entry: Noun::an("entry", "entries"),
    target: &[TargetField {
        key: "id",
        accepted: "pl- and 8 or 17 hex digits in lower case, as in \"pl-0abc123def4567890\"",
        default: None,
        read: |text| resource_id(text, "pl-", "a prefix list"),
    }],
    selectors: false,
    ports: Ports::None { why: "The rules and routes that refer to the list decide about ports" },
    cloud: Some(EC2),
    expiry: Expiry::None,
    quota: None,
    unmarked: false,
    reads_back: |_| true,
    anchor: "aws-managed-prefix-lists",
};
