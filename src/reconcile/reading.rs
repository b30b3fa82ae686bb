//! Readings of targets, and the age up to which a pass may act on them.

use eg_model::{
    SETTLE_WINDOW, Timestamp,
    net::address::IpVersion,
    observation::Observation,
    target::{Target, TargetKey},
};
use eg_providers::Firewall;
use std::{collections::BTreeMap, sync::Arc};

/// A revoke goes out only on a reading that is at most this old.
const RECENT: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// One reading of one target.
#[derive(Clone)]
pub struct TargetReading {
    pub observation: Observation,
    /// The firewall that was read; `None` if no route led there.
    pub firewall: Option<Arc<dyn Firewall>>,
    pub target: Target,
}

/// One reading for each of several targets.
pub type TargetReadings = BTreeMap<TargetKey, TargetReading>;

/// Targets that were read whole, each with the firewall that answered.
pub type ReadFirewalls = Vec<(Target, Arc<dyn Firewall>)>;

/// Targets, each with the routes to it, best first.
pub type Routes = BTreeMap<TargetKey, Vec<Target>>;

impl TargetReading {
    /// True if a pass may still act on the reading.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        match &self.observation {
            // If reading takes long, the last page may be recent and the first one not. Rules that are to be changed are
            // dated one by one, and an opening counts from the last page. If the machine slept between two pages, the
            // whole reading is old.
            Observation::Complete(reading) => {
                is_recent(reading.last_page_at, now) && reading.last_page_at - reading.read_at <= SETTLE_WINDOW
            }
            Observation::Missing | Observation::NoReadBack | Observation::Unavailable(_) => true,
        }
    }

    /// The only address family that the target takes, if the reading says so.
    pub fn only_family(&self) -> Option<IpVersion> {
        let Observation::Complete(reading) = &self.observation else { return None };
        reading.family
    }

    /// The provider's clock and ours at the time of the reading, if the answer had a date.
    pub fn provider_time(&self) -> Option<(Timestamp, Timestamp)> {
        match &self.observation {
            Observation::Complete(reading) => reading.provider_time.map(|provider| (provider, reading.read_at)),
            Observation::Missing | Observation::NoReadBack | Observation::Unavailable(_) => None,
        }
    }
}

/// True if `eg` may act at `now` on a reading made at `read_at`. If the clock stepped back, the age is unknown: false.
pub fn is_recent(read_at: Timestamp, now: Timestamp) -> bool {
    (now - read_at).abs() <= RECENT
}
