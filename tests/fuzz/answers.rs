//! What services answer: a provider's XML, mutated and cut off at every byte. Nothing panics, and what is not whole is
//! no reading.

use super::{each, entries};
use eg_model::target::{Route, Target, TargetKey};
use eg_providers::{Connect, ReadResult, Registry, aws::Options};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

/// Answers everything with what it holds, as 200 OK.
struct Service {
    endpoint: String,
    body: Arc<Mutex<Vec<u8>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let body = Arc::new(Mutex::new(Vec::new()));
        let served = Arc::clone(&body);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 8192];
                // One small request a connection; what it asks does not matter.
                let Ok(1..) = stream.read(&mut buffer) else { continue };
                let body = served.lock().unwrap().clone();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), &body].concat()).ok();
            }
        });
        Self { endpoint, body }
    }

    /// What a look at `sg-1` comes to when this is the answer.
    fn seen(&self, body: &[u8]) -> ReadResult {
        *self.body.lock().unwrap() = body.to_vec();
        let now = chrono::DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let mut options = Options::new(Arc::new(move || now), "alice");
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("credentials");
        std::fs::write(&keys, "[x]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n").unwrap();
        options.home = None;
        let key = TargetKey {
            provider: "aws".to_owned(),
            kind: "security-group".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: "eu-west-1".to_owned(),
            id: "sg-1".to_owned(),
        };
        let target = Target {
            key: key.clone(),
            route: Route {
                profile: Some("x".to_owned()),
                credentials_file: Some(keys.to_string_lossy().into_owned()),
                ..Route::default()
            },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let firewall = Registry::new(options).connect(&target).await.unwrap();
            firewall.observe(&BTreeSet::from([key.clone()])).await.remove(&key).unwrap()
        })
    }
}

#[test]
fn an_answer_cut_off_anywhere_is_no_reading() {
    let service = Service::start();
    for entry in entries("answer") {
        let whole = entry.len() - entry.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        assert!(matches!(service.seen(&entry), ReadResult::Complete(reading) if reading.rules.len() == 1));
        for end in 0..whole {
            let seen = service.seen(&entry[..end]);
            let text = String::from_utf8_lossy(&entry[..end]);
            assert!(!matches!(seen, ReadResult::Complete(_)), "cut off at {end}: {text:?} was read as {seen:?}");
        }
    }
}

#[test]
fn a_mutated_answer_never_panics() {
    let service = Service::start();
    each("answer", 300, |bytes| drop(service.seen(bytes)));
}
