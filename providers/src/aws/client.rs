//! The client of one route, which every kind of AWS firewall shares, and the one way by which it sends a request.

use crate::{
    CallObserver, Caller, CredentialsEnd,
    aws::{
        action::Action,
        credentials::renewal::{LoginFiles, end_of},
        errors::failure::{Refused, refused_signature},
        wire::clock::{AnswerDate, Clock, SigningClock},
    },
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::{error::Error, fmt::Display, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

/// The services of one endpoint, one set of credentials and one region.
pub struct Client {
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) scheduler: aws_sdk_scheduler::Client,
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) wafv2: aws_sdk_wafv2::Client,
    /// The time of the last write to WAF, held while the next one is under way.
    pub(super) waf_write: Mutex<Option<Instant>>,
    /// For the one question that takes no credentials: what time is it?
    pub(super) unsigned: aws_sdk_ec2::Config,
    pub(super) clock: SigningClock,
    pub(super) now: Clock,
    pub(super) observer: Arc<dyn CallObserver>,
    /// The credentials before any role is assumed: when these end, so does everything.
    pub(super) source: SharedCredentialsProvider,
    pub(super) login: LoginFiles,
    pub(super) call_timeout: Duration,
    /// Asked once: the same credentials are the same caller.
    pub(super) caller: OnceCell<Caller>,
}

impl Client {
    /// Makes one call, and makes it again if it was refused because the local clock is wrong: by then the provider's is
    /// known. A call that was refused for its signature has had no effect.
    pub(super) async fn call<T, E, F>(
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
        let answer = self.send(action, &on, send()).await;
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
        let second = self.send(action, &on, send()).await;
        if second.as_ref().err().and_then(refused_signature).is_some() {
            self.clock.restore(ahead);
        }
        second
    }

    /// Tells when the credentials end; `Unknown` if they do not come in time: a `credential_process` may hang, and the
    /// answer is good to know at best.
    pub(super) async fn credentials_end(&self) -> CredentialsEnd {
        let end = end_of(&self.source, &self.login);
        tokio::time::timeout(self.call_timeout, end).await.unwrap_or(CredentialsEnd::Unknown)
    }

    /// Asks without credentials: the answer is a refusal, with the provider's time.
    async fn ask_the_time(&self) {
        let date = AnswerDate::default();
        let client = aws_sdk_ec2::Client::from_conf(self.unsigned.clone());
        let question = client.describe_regions().customize().interceptor(date.clone());
        // Only the date counts: the answer is a refusal.
        self.send(Action::DescribeRegions, &"(the time)", question.send()).await.ok();
        date.get().into_iter().for_each(|date| self.clock.hear(date));
    }

    /// Sends one request, observed, and logs action, what on, outcome and milliseconds. Never headers, keys or tokens.
    async fn send<T, E>(
        &self,
        action: Action,
        on: &impl Display,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.observer.before_call();
        let begun = Instant::now();
        let answer = request.await;
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = if answer.is_ok() { "ok" } else { "failed" };
        tracing::debug!(action = action.name(), %on, outcome, ms, "call");
        self.observer.after_call();
        answer
    }
}
