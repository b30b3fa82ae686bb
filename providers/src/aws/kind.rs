//! Security groups, as the configuration and the messages know them; and what AWS's kinds have in common.

use crate::kind::{Cloud, Kind, Noun, Ports, TargetField};
use eg_model::target::Expiry;

/// The provider's name in a target's key.
pub const PROVIDER: &str = "aws";

pub static SECURITY_GROUP: Kind = Kind {
    provider: PROVIDER,
    name: "security-group",
    noun: Noun::a("security group", "security groups"),
    entry: Noun::a("rule", "rules"),
    target: &[TargetField {
        key: "id",
        accepted: "sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\"",
        default: None,
        read: |text| resource_id(text, "sg-", "a security group"),
    }],
    selectors: true,
    ports: Ports::OfEachEntry,
    cloud: Some(EC2),
    expiry: Expiry::Schedule,
    // Amazon VPC quotas, "Inbound or outbound rules per security group".
    quota: Some(60),
    unmarked: false,
    reads_back: |_| true,
    anchor: "aws-security-groups",
};

pub(super) const EC2: Cloud =
    Cloud { service: "EC2", endpoint_variable: "AWS_ENDPOINT_URL_EC2", only_region: |_| None };

/// An id of EC2: 8 or 17 hex digits behind a prefix (EC2 User Guide, "Resource IDs").
pub(super) fn resource_id(text: String, prefix: &str, what: &str) -> Result<String, String> {
    let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = text.strip_prefix(prefix).is_some_and(|digits| matches!(digits.len(), 8 | 17) && hex(digits));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the id of {what}")) }
}
