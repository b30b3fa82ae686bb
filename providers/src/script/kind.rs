//! Directories of scripts, as the configuration and the messages know them.

use crate::kind::{Kind, Noun, Ports, TargetField, absolute_path};
use eg_model::target::Expiry;
use std::path::Path;

pub static DIRECTORY: Kind = Kind {
    provider: "script",
    name: "directory",
    noun: Noun::a("script", "scripts"),
    entry: Noun::an("address", "addresses"),
    target: &[TargetField {
        key: "directory",
        accepted: "an absolute path without \"..\", as in \"/etc/eg/office\"",
        default: None,
        read: absolute_path,
    }],
    selectors: false,
    ports: Ports::None { why: "The scripts decide about ports" },
    cloud: None,
    expiry: Expiry::None,
    quota: None,
    unmarked: true,
    reads_back: |id| Path::new(id).join("observe").exists(),
    anchor: "scripts",
};
