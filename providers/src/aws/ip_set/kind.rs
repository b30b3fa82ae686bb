//! WAF IP sets, as the configuration and the messages know them.

use crate::{
    aws::PROVIDER,
    kind::{Cloud, Kind, Noun, Ports, TargetField},
};
use eg_model::target::Expiry;

/// The scope of sets for CloudFront, which live in [`CLOUDFRONT_REGION`] alone.
const CLOUDFRONT: &str = "cloudfront";
/// WAFV2 API reference, `GetIPSet`: "CLOUDFRONT … use the Region endpoint us-east-1".
const CLOUDFRONT_REGION: &str = "us-east-1";

pub static WAF_IP_SET: Kind = Kind {
    provider: PROVIDER,
    name: "waf-ip-set",
    noun: Noun::a("WAF IP set", "WAF IP sets"),
    entry: Noun::an("address", "addresses"),
    // The id of the target is `regional/NAME/UUID`: WAF asks for all three in every call.
    target: &[
        TargetField { key: "scope", accepted: "\"regional\" or \"cloudfront\"", default: None, read: scope },
        TargetField {
            key: "set_name",
            accepted: "the set's name: 1 to 128 letters, digits and any of -_",
            default: None,
            read: set_name,
        },
        TargetField {
            key: "id",
            accepted: "the set's id, as in \"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\"",
            default: None,
            read: set_id,
        },
    ],
    selectors: false,
    ports: Ports::None { why: "The web ACLs that use the set decide about ports" },
    cloud: Some(Cloud {
        service: "WAF",
        endpoint_variable: "AWS_ENDPOINT_URL_WAFV2",
        only_region: |id| {
            id.strip_prefix(CLOUDFRONT).is_some_and(|rest| rest.starts_with('/')).then_some(CLOUDFRONT_REGION)
        },
    }),
    expiry: Expiry::None,
    quota: None,
    unmarked: false,
    reads_back: |_| true,
    anchor: "aws-waf-ip-sets",
};

fn scope(text: String) -> Result<String, String> {
    if matches!(text.as_str(), "regional" | CLOUDFRONT) { Ok(text) } else { Err(format!("\"{text}\" is not a scope")) }
}

/// WAFV2 API reference, `IPSet`: `^[\w\-]+$`, 1 to 128 characters.
fn set_name(text: String) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let fits = plain && (1..=128).contains(&text.len());
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the name of an IP set")) }
}

/// WAFV2 API reference, `IPSet`: a UUID in lower case.
fn set_id(text: String) -> Result<String, String> {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let fits = lengths == [8, 4, 4, 4, 12] && text.split('-').all(hex);
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the id of an IP set")) }
}
