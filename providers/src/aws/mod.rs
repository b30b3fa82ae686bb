//! AWS security groups, over the EC2 query API.
//!
//! | file | what |
//! |---|---|
//! | `account` | what a whole account has in a region |
//! | `action` | every call that this module makes, and what IAM calls it |
//! | `clock` | the provider's time, by which requests are signed |
//! | `connect` | one client per endpoint, credentials and region |
//! | `credentials` | why there are no credentials, in a sentence |
//! | `observe` | readings: every page, or none |
//! | `change` | authorize, revoke, tag, untag, and what the caller may do |
//! | `groups` | which groups there are |
//! | `profiles` | which profiles there are |
//! | `classify` | error codes to [`eg_model::failure::FailureClass`] |
//! | `document` | IAM's documents, compared by what they mean |
//! | `failure` | what the SDK reports, as a [`Failure`] |
//! | `http` | the HTTP client: certificates and proxies |
//! | `process` | `credential_process`, ended with all that it has started |
//! | `rule` | EC2's rules to and from [`Permission`] |
//! | `preparation` | the role and the group of schedules that expiry schedules need |
//! | `auto_close` | expiry schedules: one-time schedules of EventBridge Scheduler |
//! | `text` | descriptions and session names that AWS accepts |
//! | `renewal` | when credentials end |
//! | `whole` | answers that came to their end |

mod action;
mod client;
mod credentials;
mod errors;
mod expiry;
mod policy;
mod read;
mod text;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use crate::aws::client::{Aws, Options, check_endpoints};
pub use crate::aws::credentials::profiles::{Profile, profiles};
pub use crate::aws::errors::classify::{Ending, classify};
pub use crate::aws::wire::http::{NoCertificates, trusted_certificates};
pub use action::Action;
pub use text::{description, session_name};

use crate::aws::errors::failure::{Refused, refused_signature};
use crate::aws::read::observe::AnswerDate;
use crate::aws::wire::clock::SigningClock;
use crate::{
    Answered, Authorize, Caller, CredentialsEnd, ExpiryRole, Firewall, ListedGroup, Prepared, ReadResult, Rights,
    RulesSeen, SetAutoClose,
};
use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule},
    selector::Selector,
    tags::DIGESTS_PER_CALL,
    target::{Capabilities, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Display,
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};

/// The provider's name in [`TargetKey`].
pub const PROVIDER: &str = "aws";
/// The kind's name in [`TargetKey`].
pub const SECURITY_GROUP: &str = "security-group";
/// The most tags on one resource (AWS, "Tag your Amazon EC2 resources", tag restrictions).
pub const TAGS_PER_RULE: usize = 50;

/// The local clock, injected.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The security groups of one endpoint, one set of credentials and one region.
struct SecurityGroups {
    ec2: aws_sdk_ec2::Client,
    sts: aws_sdk_sts::Client,
    scheduler: aws_sdk_scheduler::Client,
    iam: aws_sdk_iam::Client,
    /// For the one question that takes no credentials: what time is it?
    unsigned: aws_sdk_ec2::Config,
    clock: SigningClock,
    now: Clock,
    /// The credentials before any role is assumed: when these end, so does everything.
    source: SharedCredentialsProvider,
    renewal: crate::aws::credentials::renewal::LoginFiles,
    call_timeout: Duration,
    /// Asked once: the same credentials are the same caller.
    caller: OnceCell<Caller>,
}

/// Logs one call: action, what on, outcome, milliseconds. Never headers, keys or tokens.
async fn logged<T, E>(action: Action, on: &impl Display, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let begun = Instant::now();
    let answer = call.await;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let outcome = if answer.is_ok() { "ok" } else { "failed" };
    tracing::debug!(action = action.name(), %on, outcome, ms, "call");
    answer
}

impl SecurityGroups {
    /// Makes one call, and makes it again if it was refused because the local clock is wrong: by then the provider's is
    /// known. A call that was refused for its signature has had no effect.
    async fn call<T, E, F>(
        &self,
        action: Action,
        on: impl Display,
        send: impl Fn() -> F,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let ahead = self.clock.ahead();
        let answer = logged(action, &on, send()).await;
        match answer.as_ref().err().and_then(refused_signature) {
            None => return answer,
            Some(Refused::ByProvider) => {}
            // Temporary credentials look expired to a clock that is ahead, and then nothing is ever sent from whose
            // answer the time could be heard.
            Some(Refused::BeforeSending) if self.clock.has_heard() => {}
            Some(Refused::BeforeSending) => self.ask_the_time().await,
        }
        if !self.clock.correct(ahead) {
            return answer;
        }
        let second = logged(action, &on, send()).await;
        if second.as_ref().err().and_then(refused_signature).is_some() {
            self.clock.restore(ahead);
        }
        second
    }

    /// Asks without credentials: the answer is a refusal, with the provider's time.
    async fn ask_the_time(&self) {
        let date = AnswerDate::default();
        let client = aws_sdk_ec2::Client::from_conf(self.unsigned.clone());
        let question = client.describe_regions().customize().interceptor(date.clone());
        // What else it says does not matter.
        logged(Action::DescribeRegions, &"(the time)", question.send()).await.ok();
        date.get().into_iter().for_each(|date| self.clock.hear(date));
    }
}

/// The one group that a call is about, and the rules' ids.
fn one_group(rules: &[OwnedRule]) -> Result<Option<(&str, Vec<String>)>, Failure> {
    let Some(first) = rules.first() else { return Ok(None) };
    if rules.iter().any(|rule| rule.target() != first.target()) {
        let message = "change rules: the rules of one call must be of one security group";
        return Err(Failure::new(FailureClass::Invalid, message));
    }
    Ok(Some((&first.target().id, rules.iter().map(|rule| rule.id().0.clone()).collect())))
}

#[async_trait]
impl Firewall for SecurityGroups {
    fn capabilities(&self) -> Capabilities {
        Capabilities { marks: true, batch: DIGESTS_PER_CALL, tags_per_rule: TAGS_PER_RULE, auto_closes: true }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let groups: BTreeSet<String> = targets.iter().map(|target| target.id.clone()).collect();
        let seen = self.observe_groups(&groups).await;
        let answer = |target: &TargetKey| {
            let nothing =
                || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, format!("read {target}: no answer")));
            (target.clone(), seen.get(&target.id).cloned().unwrap_or_else(nothing))
        };
        targets.iter().map(answer).collect()
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        self.observe_by_id(&target.id, rules).await
    }

    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure> {
        let key = |id: String| TargetKey { id, ..like.clone() };
        Ok(self.marked_groups().await?.into_iter().map(|(id, sighting)| (key(id), sighting)).collect())
    }

    async fn regions(&self) -> Result<BTreeSet<String>, Failure> {
        self.enabled_regions().await
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.authorize_call(call).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        match one_group(rules)? {
            Some((group, ids)) => self.revoke_ids(group, ids).await,
            None => Ok(Answered { value: BTreeSet::new(), request_id: None }),
        }
    }

    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        match one_group(rules)? {
            Some((group, ids)) => self.tag_ids(group, ids, tags).await,
            None => Ok(Answered { value: (), request_id: None }),
        }
    }

    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.untag_id(&rule.target().id, &rule.id().0, tags).await
    }

    async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights {
        self.dry_runs(group, permission, tags).await
    }

    async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen {
        self.read_schedule(group, rule, way).await.unwrap_or_else(AutoCloseSeen::Unreadable)
    }

    async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure> {
        self.set_schedule(&rule.target().id, rule.id(), auto_close).await
    }

    async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure> {
        self.drop_schedule(rule, way).await
    }

    async fn prepare_role(&self, role: &ExpiryRole) -> Result<Prepared, Failure> {
        self.make_role(role).await
    }

    async fn prepare_schedule_group(&self, name: &str) -> Result<Prepared, Failure> {
        self.make_schedule_group(name).await
    }

    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        self.list_groups(meant).await
    }

    async fn caller(&self) -> Result<Caller, Failure> {
        self.caller.get_or_try_init(|| self.ask_caller()).await.cloned()
    }

    async fn credentials_end(&self, _now: Timestamp) -> CredentialsEnd {
        // A `credential_process` may hang, and the answer is good to know at best.
        let end = crate::aws::credentials::renewal::end_of(&self.source, &self.renewal);
        tokio::time::timeout(self.call_timeout, end).await.unwrap_or(CredentialsEnd::Unknown)
    }
}
