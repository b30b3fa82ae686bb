//! The time limits that the HTTP client is given for every connection and call.

use super::{
    GROUP, options,
    replay::{Play, Replay},
    set, target,
};
use crate::aws::connect::{Aws, Options};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

type Limits = Arc<Mutex<Vec<[Option<Duration>; 2]>>>;

/// Notes the limits, and leaves the calls to another client.
#[derive(Debug)]
struct Noting {
    client: SharedHttpClient,
    limits: Limits,
}

impl HttpClient for Noting {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.limits.lock().unwrap().push([settings.connect_timeout(), settings.read_timeout()]);
        self.client.http_connector(settings, components)
    }
}

#[tokio::test]
async fn three_seconds_to_connect_and_ten_to_answer() {
    let (replay, limits) = (Replay::new([Play::Reset]), Limits::default());
    let client = Noting { client: replay.client(), limits: Arc::clone(&limits) };
    let options = Options { http_client: Some(SharedHttpClient::new(client)), ..options(&replay) };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    // Whatever comes of the call: it was made.
    groups.observe_groups(&set(&[GROUP])).await;
    let limits = limits.lock().unwrap();
    assert!(!limits.is_empty());
    for limit in limits.iter() {
        assert_eq!(*limit, [Some(Duration::from_secs(3)), Some(Duration::from_secs(10))]);
    }
}
