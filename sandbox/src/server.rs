//! HTTP/1.1 on loopback. The accept loop is our own, so that a connection can be reset: hyper then hands the socket
//! back instead of closing it politely.

use crate::{
    clock::SandboxClock,
    engine::{Engine, Reply, Signature},
    ip_set,
    protocol::form::Form,
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The largest body that is read; AWS's limit on a request is of this order.
const BODY_MAX: usize = 1 << 20;
/// The time that requests under way get when the sandbox stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The engine and its clock, shared by connections and handle.
#[derive(Clone)]
pub(crate) struct SharedEngine {
    engine: Arc<Mutex<Engine>>,
    pub(crate) clock: SandboxClock,
}

impl SharedEngine {
    pub(crate) fn new(engine: Engine, clock: SandboxClock) -> Self {
        Self { engine: Arc::new(Mutex::new(engine)), clock }
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the reply is lost")]
struct Lost;

/// Serves until told to stop; then requests under way get a moment.
pub(crate) async fn serve(listener: TcpListener, shared: SharedEngine, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, shared.clone(), stop.clone()));
            }
            // Out of descriptors, most likely: some connection has to end first.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_GRACE, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// Returns when the sandbox is to stop, or its handle is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn serve_connection(stream: TcpStream, shared: SharedEngine, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request| Box::pin(answer(shared.clone(), request)));
    let mut server = http1::Builder::new();
    let server = server.timer(TokioTimer::new()).auto_date_header(false);
    let mut connection = server.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = stopped(&mut stop) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let lost = ended.is_err_and(|error| std::error::Error::source(&error).is_some_and(|source| source.is::<Lost>()));
    let stream = connection.into_parts().io.into_inner();
    if lost && stream.set_zero_linger().is_err() {
        // Then the peer sees an end of file instead of a reset: a lost reply all the same.
        drop(stream);
    }
}

async fn answer(shared: SharedEngine, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let signature = authorization.map(|text| Signature {
        authorization: text.to_owned(),
        at: request.headers().get("x-amz-date").and_then(|value| signing_time(value.to_str().ok()?)),
    });
    let query = request.uri().query().unwrap_or_default().to_owned();
    let schedule = schedule_of(&request);
    let waf = waf_action(&request);
    let Ok(body) = Limited::new(request.into_body(), BODY_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    let form = match (schedule, waf) {
        (Some((action, name)), _) => schedule_form(action, name, &query, &body),
        (None, Some(action)) => waf_form(action, &body),
        (None, None) => Form::parse(if body.is_empty() { query.as_bytes() } else { &body }),
    };

    let latency = shared.engine().latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let reply = shared.engine().handle(signature.as_ref(), &form, (shared.clock)());
    match reply {
        Reply::Lost => Err(Lost),
        Reply::Answer { status, kind, body, request_id, date, after } => {
            if !after.is_zero() {
                sleep(after).await;
            }
            let response = Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, kind)
                .header(header::DATE, date)
                .header("x-amzn-requestid", request_id)
                .body(Full::from(body));
            Ok(response.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR)))
        }
    }
}

/// IAM User Guide, "Elements of an AWS API request signature".
fn signing_time(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc())
}

/// The scheduler speaks REST: `POST /schedules/<name>` and the like.
fn schedule_of(request: &Request<Incoming>) -> Option<(&'static str, String)> {
    let name = request.uri().path().strip_prefix("/schedules/")?.to_owned();
    let action = match *request.method() {
        Method::GET => "GetSchedule",
        Method::POST => "CreateSchedule",
        Method::PUT => "UpdateSchedule",
        Method::DELETE => "DeleteSchedule",
        _ => return None,
    };
    Some((action, name))
}

/// The same as a form, so that faults, limits and log know nothing of REST.
fn schedule_form(action: &str, name: String, query: &str, body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body).into_owned();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let asked = Form::parse(query.as_bytes()).get("groupName").map(str::to_owned);
    let group = asked.or_else(|| parsed.get("GroupName").and_then(|group| group.as_str()).map(str::to_owned));
    let fields = [("Action", action.to_owned()), ("Name", name), ("Body", text)];
    let fields = fields.into_iter().chain(group.map(|group| ("GroupName", group)));
    Form::new(fields.map(|(key, value)| (key.to_owned(), value)))
}

/// WAF speaks JSON and names the action in a header (Smithy, "AWS JSON 1.1 protocol").
fn waf_action(request: &Request<Incoming>) -> Option<String> {
    let target = request.headers().get("x-amz-target")?.to_str().ok()?;
    Some(target.strip_prefix("AWSWAF_20190729.")?.to_owned())
}

/// The same as a form, with the place of the set that the request names.
fn waf_form(action: String, body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body).into_owned();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |name: &str| parsed.get(name).and_then(|value| value.as_str());
    let named = || Some(ip_set::place(field("Scope")? == "CLOUDFRONT", field("Name")?, field("Id")?));
    let place = named().or_else(|| ip_set::place_in(field("ResourceARN")?));
    let fields = [("Action", action), ("Body", text)].into_iter().chain(place.map(|place| ("Place", place)));
    Form::new(fields.map(|(key, value)| (key.to_owned(), value)))
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
