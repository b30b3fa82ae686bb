//! The boundaries of a command: before and after each write of the record, before and after each call to a provider.
//! What is done between two of them is done whole, or the next run finds it out; tests prove that at every single one.
//! In debug builds `EG_TEST_ABORT_AT`, `EG_TEST_PANIC_AT`, `EG_TEST_FULL_AT` and `EG_TEST_BUSY_AT` place somebody there; in a release nobody ever
//! stands there.

use crate::host::lock::Progress;
use async_trait::async_trait;
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::Failure,
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule},
    selector::Selector,
    target::{Capabilities, Target, TargetKey},
};
use eg_providers::{
    Answered, Authorize, Caller, Connect, CredentialsEnd, ExpiryRole, Firewall, ListedGroup, Prepared, ReadResult,
    Rights, RulesSeen, SetAutoClose,
};
use eg_state::{StateError, WriteObserver};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Stands at the boundaries, counted from 0.
pub trait Failpoints: Send + Sync {
    /// A boundary is passed. May never return.
    fn pass(&self);

    /// What the write that comes next fails with, if it is to fail.
    fn refusal(&self) -> Option<StateError> {
        None
    }
}

/// What debug builds are told by their environment: where to end, from which write on the disk is full, and which write
/// finds the record in use.
pub(crate) struct FailpointSettings {
    abort_at: Option<u64>,
    panic_at: Option<u64>,
    full_at: Option<u64>,
    busy_at: Option<u64>,
    passed: AtomicU64,
    written: AtomicU64,
}

impl FailpointSettings {
    /// `None` where nothing is said.
    pub(crate) fn by(vars: &BTreeMap<String, String>) -> Option<Arc<dyn Failpoints>> {
        let number = |name: &str| vars.get(name).and_then(|text| text.parse().ok());
        let told = Self {
            abort_at: number("EG_TEST_ABORT_AT"),
            panic_at: number("EG_TEST_PANIC_AT"),
            full_at: number("EG_TEST_FULL_AT"),
            busy_at: number("EG_TEST_BUSY_AT"),
            passed: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let anything = told.abort_at.or(told.panic_at).or(told.full_at).or(told.busy_at).is_some();
        anything.then(|| Arc::new(told) as Arc<dyn Failpoints>)
    }
}

impl Failpoints for FailpointSettings {
    fn pass(&self) {
        let passed = Some(self.passed.fetch_add(1, Ordering::SeqCst));
        if passed == self.abort_at {
            std::process::abort();
        }
        #[expect(clippy::panic, reason = "a test says so")]
        if passed == self.panic_at {
            panic!("a test says so");
        }
    }

    fn refusal(&self) -> Option<StateError> {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let (path, detail) = (PathBuf::new(), "a test says so".to_owned());
        match (self.full_at, self.busy_at) {
            (Some(from), _) if number >= from => Some(StateError::Full { path, detail }),
            (_, Some(at)) if number == at => Some(StateError::Busy { path, detail }),
            _ => None,
        }
    }
}

/// A sentry at the record's door.
pub(crate) struct AtWrites(pub(crate) Arc<dyn Failpoints>);

impl WriteObserver for AtWrites {
    fn before_write(&self) -> Result<(), StateError> {
        self.0.pass();
        self.0.refusal().map_or(Ok(()), Err)
    }

    fn after_write(&self) {
        self.0.pass();
    }
}

/// The door to the clouds: every call is progress, and a sentry may stand there.
pub(crate) struct AtCalls {
    pub(crate) sentry: Option<Arc<dyn Failpoints>>,
    pub(crate) progress: Progress,
    pub(crate) connect: Arc<dyn Connect>,
}

#[async_trait]
impl Connect for AtCalls {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        let connected = self.connect.connect(target).await;
        self.progress.note();
        let (sentry, progress) = (self.sentry.clone(), self.progress.clone());
        Ok(Arc::new(FailpointFirewall { sentry, progress, firewall: connected? }))
    }

    async fn profile_region(&self, target: &Target) -> Option<String> {
        self.connect.profile_region(target).await
    }
}

struct FailpointFirewall {
    sentry: Option<Arc<dyn Failpoints>>,
    progress: Progress,
    firewall: Arc<dyn Firewall>,
}

impl FailpointFirewall {
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        let pass = || self.sentry.iter().for_each(|sentry| sentry.pass());
        pass();
        let answer = call.await;
        self.progress.note();
        pass();
        answer
    }
}

#[async_trait]
impl Firewall for FailpointFirewall {
    fn capabilities(&self) -> Capabilities {
        self.firewall.capabilities()
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        self.around(self.firewall.observe(targets)).await
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        self.around(self.firewall.observe_rules(target, rules)).await
    }

    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure> {
        self.around(self.firewall.marked(like)).await
    }

    async fn regions(&self) -> Result<BTreeSet<String>, Failure> {
        self.around(self.firewall.regions()).await
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.around(self.firewall.authorize(call)).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        self.around(self.firewall.revoke(rules)).await
    }

    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.around(self.firewall.tag(rules, tags)).await
    }

    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.around(self.firewall.untag(rule, tags)).await
    }

    async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights {
        self.around(self.firewall.rights(group, permission, tags)).await
    }

    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        self.around(self.firewall.groups(meant)).await
    }

    async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen {
        self.around(self.firewall.read_auto_close(group, rule, way)).await
    }

    async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure> {
        self.around(self.firewall.set_auto_close(rule, auto_close)).await
    }

    async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure> {
        self.around(self.firewall.drop_auto_close(rule, way)).await
    }

    async fn prepare_role(&self, role: &ExpiryRole) -> Result<Prepared, Failure> {
        self.around(self.firewall.prepare_role(role)).await
    }

    async fn prepare_schedule_group(&self, name: &str) -> Result<Prepared, Failure> {
        self.around(self.firewall.prepare_schedule_group(name)).await
    }

    async fn caller(&self) -> Result<Caller, Failure> {
        self.around(self.firewall.caller()).await
    }

    async fn credentials_end(&self, now: Timestamp) -> CredentialsEnd {
        self.firewall.credentials_end(now).await
    }
}
