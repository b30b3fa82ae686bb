//! The clock that requests are signed by. AWS refuses a signature that is more than five minutes from its own time, and
//! the SDK corrects its clock only between its own retries, which are off. So a wrong local clock would keep every rule
//! open: `eg` hears the provider's time in the answers. It signs by that time once a signature was refused, and sends the
//! request once more. As long as signatures are accepted, whatever an answer says of the time changes nothing.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef},
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};
use aws_types::sdk_config::TimeSource;
use chrono::TimeDelta;
use eg_model::Timestamp;
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

/// The local clock, injected.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A difference up to this many seconds is left alone: no signature is refused for it, and an answer takes a while.
const TOLERATED: u64 = 120;

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

/// True if a refusal with this code may be about the time of the signature.
pub fn may_be_about_time(code: &str) -> bool {
    let code = code.strip_prefix("Client.").unwrap_or(code);
    CODES.contains(&code)
}

pub fn date_of(response: &HttpResponse) -> Option<Timestamp> {
    let headers = response.headers();
    // An answer from a cache carries the date of its origin.
    let date = headers.get("date").filter(|_| headers.get("age").is_none())?;
    Timestamp::from_timestamp(DateTime::from_str(date, Format::HttpDate).ok()?.secs(), 0)
}

/// Takes the `Date` of one call's answer: the provider's clock. Requests are signed by that clock where it differs, so
/// this is the only way to notice a wrong local one.
#[derive(Clone, Debug, Default)]
pub struct AnswerDate(Arc<OnceLock<Timestamp>>);

impl AnswerDate {
    pub fn get(&self) -> Option<Timestamp> {
        self.0.get().copied()
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = date_of(context.response()) {
            // Set once: where a call is sent again, the first answer is the one nearest to when it was asked.
            self.0.get_or_init(|| date);
        }
        Ok(())
    }
}

/// The local clock, moved to the provider's time once that was needed. One for each route: every provider has a clock of
/// its own.
#[derive(Clone)]
pub struct SigningClock {
    local: Clock,
    /// The seconds by which requests are signed ahead of the local clock.
    ahead: Arc<AtomicI64>,
    /// The seconds by which the provider was ahead when it last told its time.
    heard: Arc<AtomicI64>,
}

/// No time was heard.
const NEVER: i64 = i64::MIN;

impl SigningClock {
    pub fn new(local: Clock) -> Self {
        Self { local, ahead: Arc::default(), heard: Arc::new(NEVER.into()) }
    }

    /// The seconds by which requests are signed ahead of the local clock.
    pub fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::SeqCst)
    }

    /// True once the provider has told its time.
    pub fn has_heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst) != NEVER
    }

    /// Takes note of the provider's time.
    pub fn hear(&self, provider: Timestamp) {
        self.heard.store((provider - (self.local)()).num_seconds(), Ordering::SeqCst);
    }

    /// Signs by the provider's time from now on, if the refused request was signed by another time. True if it was.
    pub fn correct(&self, refused_ahead: i64) -> bool {
        let heard = self.heard.load(Ordering::SeqCst);
        let differs = heard != NEVER && heard.abs_diff(refused_ahead) > TOLERATED;
        if differs {
            tracing::info!(seconds = heard, "requests are signed by the provider's clock");
            self.ahead.store(heard, Ordering::SeqCst);
        }
        differs
    }

    /// Signs again as before: the time was not what was wrong.
    pub fn restore(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
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

/// An HTTP client from whose answers a [`SigningClock`] hears the time. Only answers to signed requests count: a metadata
/// service on this machine has this machine's clock.
#[derive(Debug)]
pub struct Listening {
    pub client: SharedHttpClient,
    pub clock: SigningClock,
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
    fn a_clock_is_corrected_where_a_signature_was_refused() {
        let clock = SigningClock::new(Arc::new(|| at("2026-02-27T10:00:00Z")));
        assert!(!clock.has_heard() && !clock.correct(0), "nothing was heard");
        clock.hear(at("2026-02-27T12:00:00Z"));
        assert_eq!((clock.has_heard(), clock.ahead()), (true, 0), "heard, and not needed");
        for (provider, corrected, ahead) in [
            ("2026-02-27T10:02:00Z", false, 0),
            ("2026-02-27T12:00:00Z", true, 7200),
            // A second later is the same clock.
            ("2026-02-27T12:00:01Z", false, 7200),
            ("2026-02-27T08:00:00Z", true, -7200),
            ("2026-02-27T10:00:00Z", true, 0),
        ] {
            clock.hear(at(provider));
            assert_eq!((clock.correct(clock.ahead()), clock.ahead()), (corrected, ahead), "{provider}");
            let signed = at("2026-02-27T10:00:00Z") + TimeDelta::seconds(ahead);
            assert_eq!(clock.now(), SystemTime::from(signed));
        }
        clock.hear(at("2026-02-27T12:00:00Z"));
        // Of two that were refused at once, the second finds the clock corrected.
        assert!(clock.correct(0) && clock.correct(0));
        clock.restore(0);
        assert_eq!(clock.ahead(), 0);
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
