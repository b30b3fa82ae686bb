//! Failed calls: the SDK's errors as [`Failure`]s.

use crate::aws::{
    errors::{
        classify::{Ending, classify},
        error_chain::{Sentence, chain, without_number},
        whole::CutOff,
    },
    wire::{clock::may_be_about_time, http::NoCertificates},
};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse,
    result::{ConnectorError, SdkError},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use eg_model::failure::{Failure, FailureClass};
use std::error::Error;

/// The innermost words that say something, each once: the SDK's outer layers ("dispatch failure", "io error") say
/// little, the innermost ("Connection refused") most.
fn words(error: &(dyn Error + 'static)) -> String {
    // The layers of a connection that was not had name the parts of an HTTP client.
    if let Some(connection) = chain(error).find_map(|error| error.downcast_ref::<ConnectorError>()) {
        if connection.is_timeout() {
            return NO_ANSWER.to_owned();
        }
        let said = |error: &(dyn Error + 'static)| without_number(&on_one_line(&error.to_string()));
        let io = chain(error).filter(|error| error.is::<std::io::Error>()).last();
        let innermost = io.or_else(|| chain(error).last()).map(said).unwrap_or_default();
        return format!("the connection failed: {innermost}");
    }
    let mut words: Vec<String> = Vec::new();
    for text in chain(error).map(|error| on_one_line(&error.to_string())) {
        if !text.is_empty() && !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

/// The words for a call that was not answered before its time was up.
const NO_ANSWER: &str = "no answer in time";

/// Joins lines, without the SDK's list of every place where it looked for credentials in vain.
fn on_one_line(text: &str) -> String {
    let text = text.split_once(" Attempted:\n").map_or(text, |(before, _)| before);
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// EC2 names the request in a header and, in errors, in the body; some endpoints do only the latter.
fn request_id_in(response: &HttpResponse) -> Option<String> {
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    ["RequestID", "RequestId"].iter().find_map(|name| {
        let rest = body.split_once(&format!("<{name}>"))?.1;
        rest.split_once("</").map(|(id, _)| id.trim().to_owned())
    })
}

/// The error of a role that could not be assumed: STS's own code says more than "no credentials".
fn role_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SdkError<AssumeRoleError, HttpResponse>> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The failure of a call without credentials. Nothing was sent; the reason decides whether the user has to act.
fn without_credentials(tried: &str, error: &(dyn Error + 'static), credentials: &CredentialsError) -> Failure {
    if let Some(role) = role_error(credentials) {
        let mut failure = of_call(&format!("{tried}: assume the role"), role);
        // A failure that passes by itself keeps its class. Every other refusal of STS is about the credentials: the user
        // has to act.
        let passes = matches!(failure.class, FailureClass::Throttled | FailureClass::Transient | FailureClass::Unknown);
        if !passes && !failure.class.is_of_credentials() {
            failure.class = FailureClass::Credentials;
        }
        return failure;
    }
    // Nothing was sent, so the message does not name the call.
    if let Some(Sentence(said)) = chain(credentials).find_map(|error| error.downcast_ref()) {
        return Failure::new(FailureClass::Credentials, said);
    }
    // A network that is down passes by itself; to say "renew the credentials" would be wrong.
    let ending = if is_of_network(credentials) { Ending::NoAnswer } else { Ending::NoCredentials };
    Failure::new(classify("", None, ending), format!("{tried}: {}", words(error)))
}

fn is_of_network(credentials: &CredentialsError) -> bool {
    chain(credentials).any(|error| error.is::<ConnectorError>())
        || matches!(credentials, CredentialsError::ProviderTimedOut(_))
}

/// The side that refused a request which a right clock might have let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The provider, with a code that it has for signatures of another time.
    ByProvider,
    /// The credentials' own provider: to a clock that is ahead they may have expired. Nothing was sent.
    BeforeSending,
}

/// The refusal, if a wrong clock may be the reason.
pub fn refused_signature<E>(error: &SdkError<E, HttpResponse>) -> Option<Refused>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let by_code = |code: Option<&str>| code.is_some_and(may_be_about_time).then_some(Refused::ByProvider);
    let Some(credentials) = chain(error).find_map(|error| error.downcast_ref::<CredentialsError>()) else {
        return by_code(error.code());
    };
    match (role_error(credentials), credentials) {
        (Some(role), _) => by_code(role.code()),
        (None, CredentialsError::ProviderError(_)) if !is_of_network(credentials) => Some(Refused::BeforeSending),
        _ => None,
    }
}

/// A certificate that no trusted authority has signed ends the handshake before anything is sent: a proxy in between that
/// reads https, most often, whose authority is to be trusted.
fn unknown_issuer<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let unknown = |error: &'a (dyn Error + 'static)| {
        let issuer = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        error.downcast_ref::<rustls::Error>().filter(|error| **error == issuer)
    };
    // An I/O error hides what it holds from the chain.
    let mut held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    while let Some(inner) = held {
        if let Some(found) = unknown(inner) {
            return Some(found);
        }
        held = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    }
    unknown(error)
}

/// AWS appends a blob that differs on every call and that only `sts:DecodeAuthorizationMessage` can read: for people
/// it hides the sentence, and it makes the same failure look new each time.
fn readable(said: &str) -> &str {
    said.split("Encoded authorization failure message").next().unwrap_or(said).trim_end()
}

/// A failed call, classified. `tried` names the attempt for people: "open tcp/22 on sg-1".
pub fn of_call<E>(tried: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(none) = chain(error).find_map(|error| error.downcast_ref::<NoCertificates>()) {
        return Failure::new(FailureClass::Local, format!("{tried}: {none}"));
    }
    if let Some(unknown) = chain(error).find_map(unknown_issuer) {
        tracing::debug!("{tried}: {unknown}");
        let said = "the server's certificate is signed by an authority that this machine does not trust";
        return Failure::new(FailureClass::Local, format!("{tried}: {said}"));
    }
    if let Some(credentials) = chain(error).skip(1).find_map(|error| error.downcast_ref::<CredentialsError>()) {
        return without_credentials(tried, error.source().unwrap_or(error), credentials);
    }
    let raw = error.raw_response();
    let status = raw.map(|response| response.status().as_u16());
    let ending = match error {
        SdkError::ServiceError(_) => Ending::Answered,
        SdkError::ResponseError(_) => Ending::Garbled,
        SdkError::ConstructionFailure(_) => Ending::NotBuilt,
        _ => Ending::NoAnswer,
    };
    let code = error.code().unwrap_or_default().to_owned();
    let message = match error.message().map(readable) {
        Some(said) if code.is_empty() => format!("{tried}: {said}"),
        Some(said) => format!("{tried}: {said} ({code})"),
        None if !code.is_empty() => format!("{tried}: {code}"),
        None if chain(error).any(|error| error.is::<CutOff>()) => format!("{tried}: {CutOff}"),
        None => match (status, error.source()) {
            (Some(status), _) if ending != Ending::NoAnswer => {
                format!(
                    "{tried}: unexpected reply (HTTP {status}), not from AWS: check the proxy, the VPN and the region"
                )
            }
            _ if matches!(error, SdkError::TimeoutError(_)) => format!("{tried}: {NO_ANSWER}"),
            (_, Some(source)) => format!("{tried}: {}", words(source)),
            _ => format!("{tried}: {error}"),
        },
    };
    let request_id = error.request_id().map(str::to_owned).or_else(|| raw.and_then(request_id_in));
    Failure { class: classify(&code, status, ending), code, message, request_id, purpose: None }
}

/// The failure of a reading that a change needs first. The change was not sent, so its outcome is known whatever became
/// of the reading, and it may be tried again at once.
pub fn nothing_sent(failure: Failure) -> Failure {
    let class = if failure.class.outcome_unknown() { FailureClass::Throttled } else { failure.class };
    Failure { class, ..failure }
}

/// The failure of an answer that cannot be used. The request may have taken effect.
pub fn unusable(tried: &str, why: &str, request_id: Option<&str>) -> Failure {
    let message = format!("{tried}: {why}");
    Failure { request_id: request_id.map(str::to_owned), ..Failure::new(FailureClass::Unknown, message) }
}
