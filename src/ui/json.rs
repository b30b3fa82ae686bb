//! The JSON contract: sessions and permissions as in `docs/schema/v1`. Every key is always there, absent is null, lists
//! are never null, times are RFC 3339 in UTC with whole seconds.

use chrono::SecondsFormat;
use eg_model::{
    Timestamp,
    lease::Lease,
    net::{address::IpVersion, permission::Permission},
    session::{
        problems::{Trouble, trouble},
        record::{Coverage, Grant, Session, Standing},
    },
    target::TargetKey,
};
use eg_providers::{Kind, kind_of};
use serde::Serialize;
use serde_json::{Value, json};

/// The published schemas, by name.
pub const SCHEMAS: &[(&str, &str)] = &[
    ("session", include_str!("../../docs/schema/v1/session.json")),
    ("sessions", include_str!("../../docs/schema/v1/sessions.json")),
    ("start-dry-run", include_str!("../../docs/schema/v1/start-dry-run.json")),
    ("status", include_str!("../../docs/schema/v1/status.json")),
    ("ip", include_str!("../../docs/schema/v1/ip.json")),
    ("who", include_str!("../../docs/schema/v1/who.json")),
    ("log", include_str!("../../docs/schema/v1/log.json")),
    ("init", include_str!("../../docs/schema/v1/init.json")),
    ("resources", include_str!("../../docs/schema/v1/resources.json")),
    ("resource-change", include_str!("../../docs/schema/v1/resource-change.json")),
    ("verify", include_str!("../../docs/schema/v1/verify.json")),
    ("discover", include_str!("../../docs/schema/v1/discover.json")),
    ("iam-policy", include_str!("../../docs/schema/v1/iam-policy.json")),
    ("schedule", include_str!("../../docs/schema/v1/schedule.json")),
    ("doctor", include_str!("../../docs/schema/v1/doctor.json")),
    ("setup-cloud-expiry", include_str!("../../docs/schema/v1/setup-cloud-expiry.json")),
    ("sweep", include_str!("../../docs/schema/v1/sweep.json")),
    ("reconcile", include_str!("../../docs/schema/v1/reconcile.json")),
    ("notify", include_str!("../../docs/schema/v1/notify.json")),
    ("error", include_str!("../../docs/schema/v1/error.json")),
    ("demo", include_str!("../../docs/schema/v1/demo.json")),
    ("sandbox", include_str!("../../docs/schema/v1/sandbox.json")),
];

/// A moment as the contract has it: RFC 3339 in UTC, whole seconds.
pub fn time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A session as the contract has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionJson {
    id: String,
    user_name: String,
    user_email: Option<String>,
    ipv4_address: Option<String>,
    ipv6_address: Option<String>,
    status: &'static str,
    started_at: String,
    expires_at: String,
    ended_at: Option<String>,
    ended_reason: Option<&'static str>,
    reason: Option<String>,
    follow: bool,
    followed_name: Option<String>,
    created_at: String,
    overdue_seconds: i64,
    caller_arns: Vec<String>,
    resource_ips: Vec<GrantJson>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantJson {
    id: String,
    provider: String,
    kind: String,
    resource_id: String,
    resource_name: String,
    ip_version: u8,
    ip_address: String,
    cidr: String,
    ports: Vec<String>,
    status: &'static str,
    coverage: Option<Coverage>,
    provider_rule_id: Option<String>,
    provider_rule_ids: Vec<String>,
    applied_at: Option<String>,
    removed_at: Option<String>,
    error_message: Option<String>,
    last_failure: Option<String>,
    next_try_at: Option<String>,
}

impl SessionJson {
    /// A session, as it is at `now`. `overdueSeconds` counts from the expiry while a rule may still be open; the open
    /// leases tell what was refused last, and when it is tried again.
    pub fn new(session: &Session, leases: &[Lease], now: Timestamp) -> Self {
        let address = |version| session.address(version).map(|address| address.to_string());
        let overdue = if session.status.is_ended() { 0 } else { (now - session.expires_at).num_seconds().max(0) };
        Self {
            id: session.id.to_string(),
            user_name: session.user_name.clone(),
            user_email: session.user_email.clone(),
            ipv4_address: address(IpVersion::V4),
            ipv6_address: address(IpVersion::V6),
            status: session.status.as_str(),
            started_at: time(session.started_at),
            expires_at: time(session.expires_at),
            ended_at: session.ended_at.map(time),
            ended_reason: session.ended_reason.map(|reason| reason.as_str()),
            reason: session.reason.clone(),
            follow: session.follow,
            followed_name: session.followed_name.clone(),
            created_at: time(session.started_at),
            overdue_seconds: overdue,
            caller_arns: session.caller_arns.iter().cloned().collect(),
            resource_ips: session.grants.iter().map(|item| grant(item, leases)).collect(),
        }
    }
}

fn grant(grant: &Grant, leases: &[Lease]) -> GrantJson {
    let Trouble { reasons, next_try_at } = trouble(grant, leases).unwrap_or_default();
    let ours = |foreign: bool| {
        let rules =
            grant.permissions.iter().filter(move |item| foreign || !matches!(item.standing, Standing::Foreign(_)));
        rules.filter_map(|item| item.standing.rule()).map(ToString::to_string)
    };
    let mut rule_ids: Vec<String> = ours(true).collect();
    rule_ids.sort();
    rule_ids.dedup();
    let has_ports = kind_of(&grant.target.key).is_none_or(Kind::has_ports);
    let with_ports = grant.permissions.iter().filter(|_| has_ports);
    GrantJson {
        id: grant.id.to_string(),
        provider: grant.target.key.provider.clone(),
        kind: grant.target.key.kind.clone(),
        resource_id: grant.target.key.id.clone(),
        resource_name: grant.resource_name.clone(),
        ip_version: grant.ip_version().number(),
        ip_address: grant.address.to_string(),
        cidr: grant.cidr().to_string(),
        ports: with_ports.map(|item| item.permission.ports()).collect(),
        status: grant.status.as_str(),
        coverage: grant.coverage(),
        provider_rule_id: ours(false).next(),
        provider_rule_ids: rule_ids,
        applied_at: grant.applied_at.map(time),
        removed_at: grant.removed_at.map(time),
        error_message: grant.error_message(),
        last_failure: (!reasons.is_empty()).then(|| reasons.join("; ")),
        next_try_at: next_try_at.map(time),
    }
}

/// The region of a firewall; `null` for one without.
pub fn region(target: &TargetKey) -> Option<&str> {
    Some(target.region.as_str()).filter(|region| !region.is_empty())
}

/// A permission as the contract has it.
pub fn permission(permission: &Permission) -> Value {
    json!({
        "protocol": permission.protocol().to_string(),
        "fromPort": permission.from_port(),
        "toPort": permission.to_port(),
        "cidr": permission.cidr().to_string(),
    })
}
