//! Directories of scripts as a kind of firewall, with or without a program that observes.
//!
//! With `observe`, what is open is read, and an entry is its network: what somebody else opens for the same network is
//! not told apart from ours. Without, the record alone tells what is open ([`Unread`]).

use super::{
    directory::{Direction, observer, programs},
    observed,
    runs::{observing, outcome, program, shortened},
};
use crate::{Answered, Authorize, Firewall, ReadResult, RulesSeen, Unread, host::HostOptions, program::Ran};
use async_trait::async_trait;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::{Permission, PortSpec},
    observation::{ObservedRule, OwnedRule, Reading},
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub struct ScriptDirectories {
    options: HostOptions,
}

impl ScriptDirectories {
    pub fn new(options: HostOptions) -> Self {
        Self { options }
    }

    fn now(&self) -> Timestamp {
        (self.options.now)()
    }

    /// Runs every program of a direction for one permission, also after one has failed.
    async fn run(
        &self,
        directory: &str,
        direction: Direction,
        permission: &Permission,
        call: Option<&Authorize>,
    ) -> Result<(), Failure> {
        let what = format!("{} {} by {directory}", direction.word(), permission.cidr());
        let refused = |class, why: &str| Failure::new(class, format!("{what}: {why}"));
        if permission.spec() != Some(PortSpec::All) {
            return Err(refused(FailureClass::Invalid, "scripts open addresses, not ports"));
        }
        let of = |direction| programs(Path::new(directory), direction).map_err(|why| refused(FailureClass::Host, &why));
        // What cannot be closed is not opened.
        let revoking = of(Direction::Revoke)?;
        let paths = if direction == Direction::Revoke { revoking } else { of(direction)? };
        let mut runs = Vec::new();
        self.options.observer.before_call();
        for path in &paths {
            runs.push((
                path.as_path(),
                program(path, directory, direction, permission, call, self.options.time).run().await,
            ));
            self.options.observer.answered();
        }
        self.options.observer.after_call();
        outcome(&what, &runs, self.options.time)
    }

    async fn apply_all(&self, call: &Authorize) -> Result<(), Failure> {
        for permission in &call.permissions {
            self.run(&call.group, Direction::Apply, permission, Some(call)).await?;
        }
        Ok(())
    }

    /// What is open; `None` if the directory has no program that observes.
    async fn open_rules(&self, directory: &str) -> Result<Option<Vec<ObservedRule>>, Failure> {
        let failed = |class, why: String| Failure::new(class, format!("observe by {directory}: {why}"));
        let refused = |why| failed(FailureClass::Host, why);
        // What cannot be closed is not opened: told before anything is on record.
        programs(Path::new(directory), Direction::Revoke).map_err(refused)?;
        let found = observer(Path::new(directory)).map_err(refused)?;
        let Some(path) = found else { return Ok(None) };
        self.options.observer.before_call();
        let ran = observing(&path, directory, self.options.time).run().await;
        self.options.observer.answered();
        self.options.observer.after_call();
        let unknown = |why: String| failed(FailureClass::Unknown, why);
        if let Some(why) = ran.trouble(self.options.time) {
            return Err(unknown(format!("it {}", shortened(&why))));
        }
        match ran {
            Ran::Ended { output, cut: false, .. } => observed::read(&output).map(Some).map_err(unknown),
            _ => Err(unknown("it prints more than 1 MiB".to_owned())),
        }
    }

    async fn read(&self, target: &TargetKey) -> ReadResult {
        let read_at = self.now();
        match self.open_rules(&target.id).await {
            Err(failure) => ReadResult::Unavailable(failure),
            Ok(None) => ReadResult::NoReadBack,
            Ok(Some(rules)) => ReadResult::Complete(Reading {
                rules,
                other_ingress: 0,
                read_at,
                last_page_at: read_at,
                read_later: BTreeMap::new(),
                provider_time: Some(read_at),
                loose_marks: BTreeSet::new(),
                family: None,
            }),
        }
    }
}

fn answered<T>(value: T) -> Answered<T> {
    Answered { value, request_id: None }
}

#[async_trait]
impl Firewall for ScriptDirectories {
    fn capabilities(&self) -> Capabilities {
        Capabilities { identity: Identity::Value, marks: MarkPlace::None, batch: 1, expiry: Expiry::None }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let mut results = BTreeMap::new();
        for target in targets {
            results.insert(target.clone(), self.read(target).await);
        }
        results
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        let read_at = self.now();
        let open = self.open_rules(&target.id).await?.ok_or_else(|| ReadResult::no_read_back(target))?;
        Ok(RulesSeen { rules: open.into_iter().filter(|rule| rules.contains(&rule.id)).collect(), read_at })
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.apply_all(call).await?;
        Ok(answered(call.permissions.iter().copied().map(observed::rule).collect()))
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        for rule in rules {
            self.run(&rule.target().id, Direction::Revoke, rule.permission(), None).await?;
        }
        Ok(answered(rules.iter().map(|rule| rule.id().clone()).collect()))
    }

    fn unread(&self) -> Option<&dyn Unread> {
        Some(self)
    }
}

#[async_trait]
impl Unread for ScriptDirectories {
    async fn apply(&self, call: &Authorize) -> Result<Answered<()>, Failure> {
        self.apply_all(call).await.map(answered)
    }

    async fn undo(&self, target: &TargetKey, permission: &Permission) -> Result<Answered<()>, Failure> {
        self.run(&target.id, Direction::Revoke, permission, None).await.map(answered)
    }
}
