//! The boundaries of a command: before and after each write of the record, before and after each call to a provider.
//! What is done between two of them is done whole, or the next run finds it out; tests prove that at every single one.
//! In debug builds `EG_TEST_ABORT_AT` and `EG_TEST_FULL_AT` place somebody there; in a release nobody ever stands.

use async_trait::async_trait;
use eg_model::{
    Timestamp,
    failure::Failure,
    ids::RuleId,
    observation::{ObservedRule, OwnedRule},
    permission::Permission,
    target::{Capabilities, Reach, TargetKey},
};
use eg_providers::{Answered, Authorize, Caller, Connect, CredentialsEnd, Firewall, Sighting};
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
pub trait Sentry: Send + Sync {
    /// A boundary is passed. May never return.
    fn pass(&self);

    /// Whether the disk has no room for the write that comes next.
    fn disk_is_full(&self) -> bool {
        false
    }
}

/// What debug builds are told by their environment: where to end, and from which write on the disk is full.
pub(crate) struct Told {
    abort_at: Option<u64>,
    full_at: Option<u64>,
    passed: AtomicU64,
    written: AtomicU64,
}

impl Told {
    /// `None` where nothing is said.
    pub(crate) fn by(vars: &BTreeMap<String, String>) -> Option<Arc<dyn Sentry>> {
        let number = |name: &str| vars.get(name).and_then(|text| text.parse().ok());
        let (abort_at, full_at) = (number("EG_TEST_ABORT_AT"), number("EG_TEST_FULL_AT"));
        let told = Self { abort_at, full_at, passed: AtomicU64::new(0), written: AtomicU64::new(0) };
        (abort_at.is_some() || full_at.is_some()).then(|| Arc::new(told) as Arc<dyn Sentry>)
    }
}

impl Sentry for Told {
    fn pass(&self) {
        if Some(self.passed.fetch_add(1, Ordering::SeqCst)) == self.abort_at {
            std::process::abort();
        }
    }

    fn disk_is_full(&self) -> bool {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        self.full_at.is_some_and(|from| number >= from)
    }
}

/// A sentry at the record's door.
pub(crate) struct AtWrites(pub(crate) Arc<dyn Sentry>);

impl WriteObserver for AtWrites {
    fn before_write(&self) -> Result<(), StateError> {
        self.0.pass();
        if self.0.disk_is_full() {
            return Err(StateError::Full { path: PathBuf::new(), detail: "a test says so".to_owned() });
        }
        Ok(())
    }

    fn after_write(&self) {
        self.0.pass();
    }
}

/// A sentry at the door to the clouds.
pub(crate) struct AtCalls {
    pub(crate) sentry: Arc<dyn Sentry>,
    pub(crate) connect: Arc<dyn Connect>,
}

#[async_trait]
impl Connect for AtCalls {
    async fn connect(&self, reach: &Reach) -> Result<Arc<dyn Firewall>, Failure> {
        let firewall = self.connect.connect(reach).await?;
        Ok(Arc::new(Watched { sentry: Arc::clone(&self.sentry), firewall }))
    }
}

struct Watched {
    sentry: Arc<dyn Sentry>,
    firewall: Arc<dyn Firewall>,
}

impl Watched {
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.sentry.pass();
        let answer = call.await;
        self.sentry.pass();
        answer
    }
}

#[async_trait]
impl Firewall for Watched {
    fn capabilities(&self) -> Capabilities {
        self.firewall.capabilities()
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, Sighting> {
        self.around(self.firewall.observe(targets)).await
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

    async fn missing_permissions(&self, group: &str, permission: &Permission) -> Vec<Failure> {
        self.around(self.firewall.missing_permissions(group, permission)).await
    }

    async fn caller(&self) -> Result<Caller, Failure> {
        self.around(self.firewall.caller()).await
    }

    async fn credentials_end(&self, now: Timestamp) -> CredentialsEnd {
        self.firewall.credentials_end(now).await
    }
}
