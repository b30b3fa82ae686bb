//! A toy firewall in one JSON file: the example of how a kind is added, and the firewall of many tests. Debug builds have
//! it, like the fail points; release builds do not.
//!
//! | file | holds |
//! |---|---|
//! | `kind` | the kinds as data: one for each set of abilities |
//! | `file` | the JSON file: entries, tags, scripted faults, a log of calls |
//! | `entry` | an entry, and its text |
//! | `firewall` | the trait |

mod entry;
mod file;
mod firewall;
mod kind;

pub use entry::ToyEntry;
pub use file::{Scripted, ToyCall, ToyFault, ToyFile, edit, read};
pub use kind::{BARE, BLIND, CONTAINER, CONTAINER_VALUE, ENTRY_TEXT, RULE_TAGS, TIMED};

use crate::{firewall::Firewall, types::CallObserver};
use eg_model::{Timestamp, target::Target};
use firewall::ToyFirewall;
use std::sync::Arc;

/// Makes toy firewalls.
pub struct Toy {
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub observer: Arc<dyn CallObserver>,
}

impl Toy {
    pub fn firewall(&self, target: &Target) -> Arc<dyn Firewall> {
        let abilities = kind::abilities(&target.key.kind);
        Arc::new(ToyFirewall { abilities, now: Arc::clone(&self.now), observer: Arc::clone(&self.observer) })
    }
}
