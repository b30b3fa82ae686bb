//! An HTTP client for tests: plays answers back in order and keeps what was asked.

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
};

/// One thing that happens to a request.
#[derive(Clone, Debug)]
pub enum Play {
    Answer { status: u16, body: String, headers: Vec<(&'static str, String)> },
    Reset,
    Refused,
    Never,
}

impl Play {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Answer { status: 200, body: body.into(), headers: Vec::new() }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>said {code}</Message></Error></Errors><RequestID>body-request</RequestID></Response>"
        );
        Self::Answer { status, body, headers: Vec::new() }
    }

    pub fn sts_error(status: u16, code: &str) -> Self {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>said {code}</Message></Error><RequestId>body-request</RequestId></ErrorResponse>"
        );
        Self::Answer { status, body, headers: Vec::new() }
    }

    pub fn json_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!("{{\"Message\":\"{message}\"}}");
        Self::Answer { status, body, headers: vec![("x-amzn-errortype", code.to_owned())] }
    }

    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Answer { status, body, mut headers } => {
                headers.push((name, value.to_owned()));
                Self::Answer { status, body, headers }
            }
            other => other,
        }
    }
}

#[derive(Clone, Debug)]
pub struct SentRequest {
    pub method: String,
    pub body: String,
    pub uri: String,
    pub authorization: String,
    /// The form, without `Version`.
    pub form: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub struct Replay {
    plays: Arc<Mutex<VecDeque<Play>>>,
    asked: Arc<Mutex<Vec<SentRequest>>>,
}

impl Replay {
    pub fn new(plays: impl IntoIterator<Item = Play>) -> Self {
        Self { plays: Arc::new(Mutex::new(plays.into_iter().collect())), asked: Arc::default() }
    }

    pub fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// Every request so far; fails when some answers were not asked for.
    pub fn asked(&self) -> Vec<SentRequest> {
        assert_eq!(self.plays.lock().unwrap().len(), 0, "answers left over");
        self.asked.lock().unwrap().clone()
    }

    pub fn actions(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.form["Action"].clone()).collect()
    }
}

impl HttpConnector for Replay {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap();
        let mut form = decode(&body);
        form.remove("Version");
        let authorization = request.headers().get("authorization").unwrap_or_default().to_owned();
        let (method, uri) = (request.method().to_owned(), request.uri().to_owned());
        self.asked.lock().unwrap().push(SentRequest { method, body, uri, authorization, form });
        match self.plays.lock().unwrap().pop_front().expect("a request that nothing answers") {
            Play::Answer { status, body, headers } => {
                let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value);
                }
                HttpConnectorFuture::ready(Ok(response))
            }
            Play::Reset => {
                let error = io::Error::new(io::ErrorKind::ConnectionReset, "Connection reset by peer");
                HttpConnectorFuture::ready(Err(ConnectorError::io(error.into())))
            }
            Play::Refused => {
                let error = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused");
                HttpConnectorFuture::ready(Err(ConnectorError::io(error.into()).never_connected()))
            }
            Play::Never => HttpConnectorFuture::new(std::future::pending()),
        }
    }
}

fn decode(form: &str) -> BTreeMap<String, String> {
    form.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (plain(key), plain(value))).collect()
}

fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).unwrap()
}
