//! Batches of groups are read at the same time.

use super::{
    GROUP, options, reading,
    replay::{Replay, SentRequest},
    rule, rules_page, target, tcp,
};
use crate::aws::{
    connect::{Aws, Options},
    read::observe::FILTER_VALUES,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::Barrier;

/// Sends no request before another one has come.
#[derive(Clone, Debug)]
struct Together {
    replay: Replay,
    here: Arc<Barrier>,
}

impl HttpConnector for Together {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { replay, here } = self.clone();
        HttpConnectorFuture::new(async move {
            here.wait().await;
            replay.call(request).await
        })
    }
}

fn together(replay: &Replay) -> SharedHttpClient {
    let connector = Together { replay: replay.clone(), here: Arc::new(Barrier::new(2)) };
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

#[tokio::test]
async fn two_batches_are_read_at_the_same_time() {
    let ids: BTreeSet<String> = (0..=FILTER_VALUES).map(|number| format!("sg-{number:04}")).collect();
    let of = |id: &String| rule(&format!("sgr-{id}"), id, false, &tcp(22, "203.0.113.42/32"));
    // Either page answers either batch: the groups that were not asked for are left out.
    let page = || rules_page(&ids.iter().map(of).collect::<String>(), None);
    let replay = Replay::new([page(), page()]);
    let options = Options { http_client: Some(together(&replay)), ..options(&replay) };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    let seen = groups.observe_groups(&ids).await;
    assert!(ids.iter().all(|id| reading(&seen[id]).rules.len() == 1));
    let sizes = |sent: &SentRequest| sent.form.keys().filter(|key| key.starts_with("Filter.1.Value.")).count();
    let mut sizes: Vec<usize> = replay.asked().iter().map(sizes).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, FILTER_VALUES]);
}
