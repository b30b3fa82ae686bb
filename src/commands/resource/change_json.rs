//! The JSON that `add` and `remove` print.

use eg_model::ids::SessionId;
use serde_json::{Value, json};
use std::path::Path;

/// A change of the configuration file. `sessions`: those that still use the resource.
pub(super) fn change_json(action: &str, name: &str, file: &Path, sessions: &[SessionId]) -> Value {
    json!({
        "action": action,
        "name": name,
        "file": file.to_string_lossy(),
        "sessions": sessions.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
