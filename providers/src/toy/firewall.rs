//! The toy firewall as the reconciler sees it.

use super::{
    entry::{ToyEntry, ToyText},
    file::{ToyCall, ToyFault, ToyFile, edit},
};
use crate::{
    firewall::Firewall,
    marks::{ContainerMarking, Marking},
    types::{Answered, Authorize, CallObserver, ReadResult, RulesSeen},
    unread::Unread,
};
use async_trait::async_trait;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    container_mark::{EntryText, loose_marks, shown},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule, Reading},
    sweep::dead_marks::ContainerTags,
    tags::{LEASE_PREFIX, lease_time},
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

type ToyTags = BTreeMap<String, String>;

pub(super) struct ToyFirewall {
    pub(super) abilities: Abilities,
    pub(super) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(super) observer: Arc<dyn CallObserver>,
}

/// What the kind of firewall can do.
pub(super) struct Abilities {
    pub(super) capabilities: Capabilities,
    pub(super) reads: bool,
}

impl ToyFirewall {
    /// Makes one call: the fault that the file scripts for it, or the work.
    fn call<T>(
        &self,
        id: &str,
        call: ToyCall,
        work: impl FnOnce(&mut ToyFile, Timestamp) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.observer.before_call();
        let now = (self.now)();
        let answer = edit(Path::new(id), |file| {
            file.pass_time(now);
            let fault = file.begin(call);
            if let Some(refusal) = fault.and_then(|fault| refused(fault, call)) {
                return Err(refusal);
            }
            let before = file.state();
            let done = work(file, now);
            if file.state() != before {
                file.before = before;
                file.changed = Some(now);
            }
            if fault == Some(ToyFault::LostAfter) { Err(lost(call)) } else { done }
        });
        self.observer.answered();
        self.observer.after_call();
        answer.unwrap_or_else(|error| Err(unusable(id, &error)))
    }

    fn change<T>(
        &self,
        id: &str,
        call: ToyCall,
        work: impl FnOnce(&mut ToyFile, Timestamp) -> Result<T, Failure>,
    ) -> Result<Answered<T>, Failure> {
        Ok(Answered { value: self.call(id, call, work)?, request_id: None })
    }

    /// An entry as the plan sees it: its marks are tags of the rule, wherever they are.
    fn observed(&self, container: &str, entry: &ToyEntry, tags: &ToyTags, now: Timestamp) -> ObservedRule {
        let (id, permission) = (entry.rule_id(), entry.permission);
        let ToyText { description, made, tags: in_text, .. } = ToyText::read(&entry.text);
        let text = Some(description).filter(|text| !text.is_empty());
        match self.abilities.capabilities.marks {
            MarkPlace::Rule { .. } => ObservedRule { id, permission, description: text, tags: entry.tags.clone() },
            MarkPlace::Entry => ObservedRule { id, permission, description: text, tags: in_text },
            MarkPlace::None => ObservedRule { id, permission, description: text, tags: ToyTags::new() },
            MarkPlace::Container { .. } => {
                let young = made.is_some_and(|made| now - made <= SETTLE_WINDOW);
                let text = match self.abilities.capabilities.identity {
                    Identity::Value => EntryText::NoPlace,
                    Identity::Id if young => EntryText::SaysSince(text.as_deref(), now),
                    Identity::Id => EntryText::Says(text.as_deref()),
                };
                shown(container, id, permission, text, tags)
            }
        }
    }

    fn reading(&self, id: &str, file: &ToyFile, (entries, tags): (&[ToyEntry], &ToyTags), now: Timestamp) -> Reading {
        let rules: Vec<ObservedRule> = entries.iter().map(|entry| self.observed(id, entry, tags, now)).collect();
        let container = matches!(self.abilities.capabilities.marks, MarkPlace::Container { .. });
        Reading {
            loose_marks: if container { loose_marks(id, &rules, tags) } else { BTreeSet::new() },
            rules,
            other_ingress: 0,
            read_at: now,
            last_page_at: now,
            read_later: BTreeMap::new(),
            provider_time: Some(now),
            family: file.family,
        }
    }

    fn read(&self, id: &str) -> ReadResult {
        let read = self.call(id, ToyCall::Read, |file, now| {
            let struck = file.log.last().is_some_and(|(_, fault)| *fault == Some(ToyFault::Lag));
            let behind = struck && file.changed.is_some_and(|at| now - at < SETTLE_WINDOW);
            let (entries, tags) = if behind { (&file.before.0, &file.before.1) } else { (&file.entries, &file.tags) };
            Ok(self.reading(id, file, (entries, tags), now))
        });
        match read {
            Ok(_) if !self.abilities.reads => ReadResult::NoReadBack,
            Ok(reading) => ReadResult::Complete(reading),
            // Of what cannot be read, nothing tells that its entries went with it.
            Err(failure) if failure.class == FailureClass::Gone && self.abilities.reads => {
                ReadResult::NotFound { caller: None }
            }
            Err(failure) => ReadResult::Unavailable(failure),
        }
    }

    /// The entry of a permission, as `eg` makes it.
    fn entry(&self, call: &Authorize, permission: Permission, file: &mut ToyFile, now: Timestamp) -> ToyEntry {
        let Capabilities { identity, marks, .. } = self.abilities.capabilities;
        let mut entry = ToyEntry::by_hand(permission, &call.description);
        match marks {
            MarkPlace::Rule { .. } | MarkPlace::None => {
                file.ids += 1;
                entry.id = Some(format!("rule-{}", file.ids));
                entry.tags = if marks == MarkPlace::None { ToyTags::new() } else { call.tags.clone() };
            }
            MarkPlace::Container { .. } if identity == Identity::Value => entry.text.clear(),
            MarkPlace::Container { .. } | MarkPlace::Entry => {
                let tags = if marks == MarkPlace::Entry { call.tags.clone() } else { ToyTags::new() };
                let (description, nonce) = (call.description.clone(), Some(call.nonce.clone()));
                entry.text = ToyText { description, nonce, made: Some(now), tags }.write();
            }
        }
        self.set_time(&mut entry);
        entry
    }

    /// The firewall closes an entry at the end of its latest lease.
    fn set_time(&self, entry: &mut ToyEntry) {
        if self.abilities.capabilities.expiry == Expiry::Native {
            let tags = ToyText::read(&entry.text).tags;
            let leases = tags.iter().filter(|(key, _)| key.starts_with(LEASE_PREFIX));
            entry.closes = leases.filter_map(|(_, value)| lease_time(value)).max();
        }
    }

    /// Changes the tags of rules, in one call: one unknown id refuses it whole.
    fn write_tags(&self, rules: &[OwnedRule], change: impl Fn(&mut ToyTags)) -> Result<Answered<()>, Failure> {
        let Some(first) = rules.first() else { return Ok(Answered { value: (), request_id: None }) };
        self.change(&first.target().id, ToyCall::Tag, |file, _| {
            let ids: BTreeSet<&RuleId> = rules.iter().map(OwnedRule::id).collect();
            all_there(file, &ids, ToyCall::Tag)?;
            for entry in file.entries.iter_mut().filter(|entry| ids.contains(&entry.rule_id())) {
                if self.abilities.capabilities.marks == MarkPlace::Entry {
                    // Read, changed and written under one lock: a text from an older reading would lose others' leases.
                    let mut text = ToyText::read(&entry.text);
                    change(&mut text.tags);
                    entry.text = text.write();
                } else {
                    change(&mut entry.tags);
                }
                self.set_time(entry);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Firewall for ToyFirewall {
    fn capabilities(&self) -> Capabilities {
        self.abilities.capabilities
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        targets.iter().map(|key| (key.clone(), self.read(&key.id))).collect()
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        match self.read(&target.id) {
            ReadResult::Complete(mut reading) => {
                reading.rules.retain(|rule| rules.contains(&rule.id));
                Ok(RulesSeen { rules: reading.rules, read_at: reading.read_at })
            }
            ReadResult::Unavailable(failure) => Err(failure),
            ReadResult::NoReadBack => Err(ReadResult::no_read_back(target)),
            ReadResult::NotFound { caller } => {
                Err(Failure::new(FailureClass::Gone, ReadResult::absent(target, caller.as_ref())))
            }
        }
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.change(&call.group, ToyCall::Open, |file, now| {
            let there = |permission: &&Permission| file.entries.iter().any(|entry| entry.permission == **permission);
            if let Some(permission) = call.permissions.iter().find(there) {
                let why = format!("open: there is an entry for {permission} already");
                return Err(Failure::new(FailureClass::Stale, why));
            }
            let made: Vec<ToyEntry> =
                call.permissions.iter().map(|permission| self.entry(call, *permission, file, now)).collect();
            file.entries.extend(made.iter().cloned());
            Ok(made.iter().map(|entry| self.observed(&call.group, entry, &file.tags, now)).collect())
        })
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let Some(first) = rules.first() else { return Ok(Answered { value: BTreeSet::new(), request_id: None }) };
        self.change(&first.target().id, ToyCall::Close, |file, _| {
            let ids: BTreeSet<&RuleId> = rules.iter().map(OwnedRule::id).collect();
            all_there(file, &ids, ToyCall::Close)?;
            file.entries.retain(|entry| !ids.contains(&entry.rule_id()));
            Ok(ids.into_iter().cloned().collect())
        })
    }

    fn marking(&self) -> Option<&dyn Marking> {
        let on_entries = matches!(self.abilities.capabilities.marks, MarkPlace::Rule { .. } | MarkPlace::Entry);
        on_entries.then_some(self as _)
    }

    fn container_marking(&self) -> Option<&dyn ContainerMarking> {
        matches!(self.abilities.capabilities.marks, MarkPlace::Container { .. }).then_some(self as _)
    }

    fn unread(&self) -> Option<&dyn Unread> {
        (!self.abilities.reads).then_some(self as _)
    }
}

#[async_trait]
impl Marking for ToyFirewall {
    async fn tag(&self, rules: &[OwnedRule], tags: &ToyTags) -> Result<Answered<()>, Failure> {
        self.write_tags(rules, |known| known.extend(tags.clone()))
    }

    async fn untag(&self, rule: &OwnedRule, tags: &ToyTags) -> Result<Answered<()>, Failure> {
        let gone = |known: &mut ToyTags| known.retain(|key, value| tags.get(key) != Some(value));
        self.write_tags(std::slice::from_ref(rule), gone)
    }
}

#[async_trait]
impl ContainerMarking for ToyFirewall {
    async fn write_mark(&self, target: &TargetKey, key: &str, value: Option<&str>) -> Result<Answered<()>, Failure> {
        self.change(&target.id, ToyCall::Mark, |file, _| {
            match value {
                Some(value) => drop(file.tags.insert(key.to_owned(), value.to_owned())),
                None => drop(file.tags.remove(key)),
            }
            Ok(())
        })
    }

    async fn read_marks(&self, target: &TargetKey) -> Result<ContainerTags, Failure> {
        let read_at = (self.now)();
        let file = super::edit(Path::new(&target.id), |file| file.tags.clone());
        let tags = file.map_err(|error| unusable(&target.id, &error))?;
        Ok(ContainerTags { tags, read_at, provider_time: Some(read_at) })
    }

    async fn remove_mark(&self, target: &TargetKey, key: &str, value: &str) -> Result<Answered<()>, Failure> {
        self.change(&target.id, ToyCall::Mark, |file, _| {
            file.tags.retain(|known, current| known != key || current != value);
            Ok(())
        })
    }
}

#[async_trait]
impl Unread for ToyFirewall {
    async fn apply(&self, call: &Authorize) -> Result<Answered<()>, Failure> {
        self.change(&call.group, ToyCall::Open, |file, _| {
            for permission in &call.permissions {
                file.entries.retain(|entry| entry.permission != *permission || !is_of_eg(entry));
                file.entries.push(ToyEntry::by_hand(*permission, &call.description));
            }
            Ok(())
        })
    }

    async fn undo(&self, target: &TargetKey, permission: &Permission) -> Result<Answered<()>, Failure> {
        self.change(&target.id, ToyCall::Close, |file, _| {
            file.entries.retain(|entry| entry.permission != *permission || !is_of_eg(entry));
            Ok(())
        })
    }
}

/// What a careful script does: it touches its own entries alone.
fn is_of_eg(entry: &ToyEntry) -> bool {
    entry.text.starts_with("eg ")
}

fn all_there(file: &ToyFile, ids: &BTreeSet<&RuleId>, call: ToyCall) -> Result<(), Failure> {
    let there: BTreeSet<RuleId> = file.entries.iter().map(ToyEntry::rule_id).collect();
    match ids.iter().find(|id| !there.contains(**id)) {
        Some(id) => Err(Failure::new(FailureClass::Stale, format!("{}: there is no entry {id}", call.verb()))),
        None => Ok(()),
    }
}

/// The failure of a call that a fault keeps from its work.
fn refused(fault: ToyFault, call: ToyCall) -> Option<Failure> {
    let failure = |class, why: &str| Some(Failure::new(class, format!("{}: {why}", call.verb())));
    match fault {
        ToyFault::LostBefore => Some(lost(call)),
        ToyFault::Throttled => failure(FailureClass::Throttled, "too many calls"),
        ToyFault::Conflict => failure(FailureClass::Stale, "the firewall has changed meanwhile"),
        ToyFault::Quota => failure(FailureClass::Limit, "no more entries fit"),
        ToyFault::Denied => failure(FailureClass::Denied, "you may not do this"),
        ToyFault::Gone => failure(FailureClass::Gone, "there is no such firewall"),
        ToyFault::Unreadable => failure(FailureClass::Transient, "it is out of order"),
        ToyFault::LostAfter | ToyFault::Lag => None,
    }
}

fn lost(call: ToyCall) -> Failure {
    Failure::new(FailureClass::Unknown, format!("{}: no answer came", call.verb()))
}

/// The file is not there, or is damaged. The call has not been made.
fn unusable(id: &str, error: &io::Error) -> Failure {
    let class = if error.kind() == io::ErrorKind::NotFound { FailureClass::Gone } else { FailureClass::Invalid };
    Failure::new(class, format!("open {id}: {error}"))
}
