//! The clock that requests are signed by. AWS refuses a signature that is more than five minutes from its own time, and
//! the SDK corrects its clock only between its own retries, which are off. So a wrong local clock would keep every rule
//! open: `eg` learns the provider's time from the answers, and sends once more what was refused.

use super::Clock;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{DateTime, date_time::Format};
use aws_types::sdk_config::TimeSource;
use chrono::TimeDelta;
use eg_model::Timestamp;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::SystemTime,
};

/// A difference up to this many seconds is left alone: no signature is refused for it, and an answer takes a while.
const TOLERATED: i64 = 120;

/// The codes with which services of AWS refuse a signature for its time; most of them mean other things as well. (SDK
/// sources, "clock skew errors"; EC2 API reference, "Error codes": `RequestExpired`, `AuthFailure`.)
const CODES: [&str; 7] = [
    "AccessDeniedException",
    "AuthFailure",
    "InvalidSignatureException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

/// Whether a refusal with this code may be about the time of the signature.
pub(super) fn may_be_about_time(code: &str) -> bool {
    let code = code.strip_prefix("Client.").unwrap_or(code);
    CODES.contains(&code)
}

/// The `Date` of an answer.
pub(super) fn date_of(response: &HttpResponse) -> Option<Timestamp> {
    let headers = response.headers();
    // What a cache has kept carries a date of its own time.
    let date = headers.get("date").filter(|_| headers.get("age").is_none())?;
    Timestamp::from_timestamp(DateTime::from_str(date, Format::HttpDate).ok()?.secs(), 0)
}

/// The local clock, moved to the provider's time once that is known. One for each route: every provider has a clock of
/// its own.
#[derive(Clone)]
pub(super) struct SigningClock {
    local: Clock,
    /// How many seconds the provider is ahead.
    ahead: Arc<AtomicI64>,
    /// Whether the provider has told its time.
    heard: Arc<AtomicBool>,
}

impl SigningClock {
    pub(super) fn new(local: Clock) -> Self {
        Self { local, ahead: Arc::default(), heard: Arc::default() }
    }

    /// How far requests are signed ahead of the local clock, in seconds.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::SeqCst)
    }

    /// Whether the provider has told its time.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst)
    }

    /// Whether the clock was corrected since it was that far ahead: a signature of then was wrong.
    pub(super) fn was_corrected_since(&self, ahead: i64) -> bool {
        (self.ahead() - ahead).abs() > TOLERATED
    }

    /// Takes note of the provider's time.
    pub(super) fn hear(&self, provider: Timestamp) {
        self.heard.store(true, Ordering::SeqCst);
        let ahead = (provider - (self.local)()).num_seconds();
        if self.was_corrected_since(ahead) {
            tracing::info!(seconds = ahead, "requests are signed by the provider's clock");
            self.ahead.store(ahead, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for SigningClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningClock").field("ahead", &self.ahead()).finish_non_exhaustive()
    }
}

impl TimeSource for SigningClock {
    fn now(&self) -> SystemTime {
        let now = (self.local)();
        now.checked_add_signed(TimeDelta::seconds(self.ahead())).unwrap_or(now).into()
    }
}

/// An HTTP client from whose answers a [`SigningClock`] learns. Only answers to signed requests count: a metadata
/// service on this machine has this machine's clock.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) client: SharedHttpClient,
    pub(super) clock: SigningClock,
}

impl HttpClient for Listening {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(ListeningConnector { connector, clock: self.clock.clone() })
    }
}

#[derive(Debug)]
struct ListeningConnector {
    connector: SharedHttpConnector,
    clock: SigningClock,
}

impl HttpConnector for ListeningConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let signed = request.headers().get("authorization").is_some_and(|text| text.starts_with("AWS4-"));
        let answer = self.connector.call(request);
        let clock = self.clock.clone();
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if let Some(date) = date_of(&answer).filter(|_| signed) {
                clock.hear(date);
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_clock_learns_what_is_worth_learning() {
        let clock = SigningClock::new(Arc::new(|| at("2026-02-27T10:00:00Z")));
        assert!(!clock.has_heard());
        for (provider, ahead) in [
            ("2026-02-27T10:02:00Z", 0),
            ("2026-02-27T12:00:00Z", 7200),
            // A second later is the same clock.
            ("2026-02-27T12:00:01Z", 7200),
            ("2026-02-27T08:00:00Z", -7200),
            ("2026-02-27T10:00:00Z", 0),
        ] {
            clock.hear(at(provider));
            assert_eq!(clock.ahead(), ahead, "{provider}");
            let signed = at("2026-02-27T10:00:00Z") + TimeDelta::seconds(ahead);
            assert_eq!(clock.now(), SystemTime::from(signed));
        }
        assert!(clock.has_heard() && clock.was_corrected_since(-7200) && !clock.was_corrected_since(120));
    }

    #[test]
    fn codes() {
        for code in ["RequestExpired", "Client.AuthFailure", "SignatureDoesNotMatch"] {
            assert!(may_be_about_time(code), "{code}");
        }
        for code in ["UnauthorizedOperation", "ExpiredToken", "", "RequestLimitExceeded"] {
            assert!(!may_be_about_time(code), "{code}");
        }
    }
}
