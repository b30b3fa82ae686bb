//! The truth as a reader sees it: all of it, or its state a while ago.

use crate::{
    ip_set::IpSet,
    prefix_list::{ListState, PrefixList},
    settings::{Stale, StaleSight},
    world::{SecurityGroupRule, World},
};
use chrono::{DateTime, Utc};
use std::{borrow::Cow, collections::BTreeMap};

/// The rules as this read shows them, by id.
pub(crate) fn rules<'a>(
    world: &'a World,
    stale: Option<&Stale>,
    now: DateTime<Utc>,
) -> BTreeMap<&'a str, Cow<'a, SecurityGroupRule>> {
    let mut shown: BTreeMap<_, _> = world.rules().map(|rule| (rule.id.as_str(), Cow::Borrowed(rule))).collect();
    let Some(stale) = stale else { return shown };
    let fresh = |at: DateTime<Utc>| now.signed_duration_since(at) < stale.lasting;
    for sight in &stale.sights {
        match sight {
            StaleSight::NewMissing => shown.retain(|_, rule| rule.egress || !fresh(rule.made_at)),
            StaleSight::RevokedPresent => {
                let still = world.removed().filter(|removed| fresh(removed.at));
                shown.extend(still.map(|removed| (removed.rule.id.as_str(), Cow::Borrowed(&removed.rule))));
            }
            StaleSight::TagsMissing => {
                for rule in shown.values_mut().filter(|rule| !rule.egress) {
                    if fresh(rule.made_at) {
                        rule.to_mut().tags.clear();
                    } else if let Some((_, before)) = rule.earlier_tags.iter().find(|(at, _)| fresh(*at)).cloned() {
                        rule.to_mut().tags = before;
                    }
                }
            }
            StaleSight::OldVersion => {}
        }
    }
    shown
}

/// A prefix list as this read shows it.
pub(crate) fn list<'a>(list: &'a PrefixList, stale: Option<&Stale>, now: DateTime<Utc>) -> Cow<'a, PrefixList> {
    let mut shown = Cow::Borrowed(list);
    let Some(stale) = stale else { return shown };
    let fresh = |at: DateTime<Utc>| now.signed_duration_since(at) < stale.lasting;
    if stale.sights.contains(&StaleSight::OldVersion)
        && let Some((_, version)) = list.earlier_versions.iter().find(|(at, _)| fresh(*at))
    {
        let shown = shown.to_mut();
        (shown.version, shown.state, shown.state_message) = (*version, ListState::ModifyComplete, None);
    }
    if stale.sights.contains(&StaleSight::TagsMissing)
        && let Some((_, before)) = list.earlier_tags.iter().find(|(at, _)| fresh(*at))
    {
        shown.to_mut().tags = before.clone();
    }
    shown
}

/// An IP set as this read shows it.
pub(crate) fn ip_set<'a>(set: &'a IpSet, stale: Option<&Stale>, now: DateTime<Utc>) -> Cow<'a, IpSet> {
    let mut shown = Cow::Borrowed(set);
    let Some(stale) = stale else { return shown };
    let fresh = |at: DateTime<Utc>| now.signed_duration_since(at) < stale.lasting;
    if stale.sights.contains(&StaleSight::OldVersion)
        && let Some((_, before)) = set.earlier_states.iter().find(|(at, _)| fresh(*at)).cloned()
    {
        let shown = shown.to_mut();
        (shown.addresses, shown.token) = (before.addresses, before.token);
    }
    if stale.sights.contains(&StaleSight::TagsMissing)
        && let Some((_, before)) = set.earlier_tags.iter().find(|(at, _)| fresh(*at))
    {
        shown.to_mut().tags = before.clone();
    }
    shown
}
