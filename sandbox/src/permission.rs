//! The permission of a rule: read from a request, kept in AWS's canonical form.

use crate::{
    ids,
    protocol::{
        errors::{self, Refusal},
        form::Form,
    },
};
use ipnet::IpNet;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An address range without host bits.
    Cidr(IpNet),
    Group(String),
    PrefixList(String),
}

/// Protocol, ports and source: what makes two rules the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RulePermission {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `-1`, or a protocol number.
    pub protocol: String,
    /// From port or ICMP type; -1 where there is none.
    pub from: i32,
    /// To port or ICMP code; -1 where there is none.
    pub to: i32,
    pub source: Source,
}

impl RulePermission {
    /// The quotas that it counts towards: IPv4, IPv6 (VPC User Guide, "Amazon VPC
    /// quotas": kept apart; a rule that names a group or a prefix list counts for both).
    pub(crate) fn families(&self) -> (bool, bool) {
        match &self.source {
            Source::Cidr(IpNet::V4(_)) => (true, false),
            Source::Cidr(IpNet::V6(_)) => (false, true),
            Source::Group(_) | Source::PrefixList(_) => (true, true),
        }
    }
}

impl fmt::Display for RulePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = match &self.source {
            Source::Cidr(cidr) => cidr.to_string(),
            Source::Group(id) | Source::PrefixList(id) => id.clone(),
        };
        let protocol = if self.protocol == "-1" { "ALL".to_owned() } else { self.protocol.to_uppercase() };
        write!(f, "peer: {peer}, {protocol}, from port: {}, to port: {}", self.from, self.to)
    }
}

/// A permission and its description, as a request gives them.
pub(crate) type Described = (RulePermission, Option<String>);

/// Everything that a request permits: `IpPermissions.N`, or the old form with its fields at the top (EC2 API
/// reference, `AuthorizeSecurityGroupIngress`).
pub(crate) fn requested(form: &Form) -> Result<Vec<Described>, Refusal> {
    let mut all = Vec::new();
    if form.get("IpProtocol").is_some() {
        let cidr = cidr(form.required("CidrIp")?, false)?;
        all.push((PortRange::read(form)?.with(cidr), None));
    }
    for part in form.parts("IpPermissions") {
        all.extend(one(&part)?);
    }
    if all.is_empty() {
        return Err(errors::missing_parameter("ipPermissions"));
    }
    Ok(all)
}

/// One `IpPermissions.N`: a permission for each of its sources.
fn one(part: &Form) -> Result<Vec<Described>, Refusal> {
    let ports = PortRange::read(part)?;
    let mut sources = Vec::new();
    for range in part.parts("IpRanges") {
        sources.push((cidr(range.required("CidrIp")?, false)?, described(&range)?));
    }
    for range in part.parts("Ipv6Ranges") {
        sources.push((cidr(range.required("CidrIpv6")?, true)?, described(&range)?));
    }
    for pair in part.parts("Groups").into_iter().chain(part.parts("UserIdGroupPairs")) {
        let id = pair.required("GroupId")?;
        if !ids::well_formed(id, "sg-") {
            return Err(errors::malformed_group(id));
        }
        sources.push((Source::Group(id.to_owned()), described(&pair)?));
    }
    for list in part.parts("PrefixListIds") {
        sources.push((Source::PrefixList(list.required("PrefixListId")?.to_owned()), described(&list)?));
    }
    if sources.is_empty() {
        return Err(errors::missing_parameter("ipRanges"));
    }
    Ok(sources.into_iter().map(|(source, description)| (ports.clone().with(source), description)).collect())
}

/// The permission of a `SecurityGroupRuleRequest` (`ModifySecurityGroupRules`).
pub(crate) fn rewritten(part: &Form) -> Result<RulePermission, Refusal> {
    let source = match (part.get("CidrIpv4"), part.get("CidrIpv6"), part.get("ReferencedGroupId")) {
        (Some(v4), None, None) => cidr(v4, false)?,
        (None, Some(v6), None) => cidr(v6, true)?,
        (None, None, Some(group)) => Source::Group(group.to_owned()),
        (None, None, None) => return Err(errors::missing_parameter("cidrIpv4")),
        _ => {
            let message = "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified";
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
    };
    Ok(PortRange::read(part)?.with(source))
}

#[derive(Clone, Debug)]
struct PortRange {
    protocol: String,
    from: i32,
    to: i32,
}

impl PortRange {
    /// EC2 API reference, `IpPermission`: names or numbers; `-1` is every protocol, and then ports are ignored; TCP and
    /// UDP need both ports; ICMP has type and code, -1 for all; other protocols have all ports whatever is said.
    fn read(form: &Form) -> Result<Self, Refusal> {
        let protocol = match form.get("IpProtocol").map(str::to_ascii_lowercase).as_deref() {
            None | Some("") => {
                let message =
                    "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.";
                return Err(errors::invalid_value(message));
            }
            Some("6" | "tcp") => "tcp",
            Some("17" | "udp") => "udp",
            Some("1" | "icmp") => "icmp",
            Some("58" | "icmpv6") => "icmpv6",
            Some("-1" | "all") => "-1",
            Some(number) if number.parse::<u8>().is_ok() => number,
            Some(other) => {
                return Err(errors::invalid_value(format!(
                    "Invalid value '{other}' for IP protocol. Unknown protocol."
                )));
            }
        }
        .to_owned();
        let (from, to) = (form.number("FromPort")?, form.number("ToPort")?);
        let (from, to) = match protocol.as_str() {
            "tcp" | "udp" => port_range(from, to)?,
            "icmp" | "icmpv6" => icmp(from.unwrap_or(-1), to.unwrap_or(-1))?,
            _ => (-1, -1),
        };
        Ok(Self { protocol, from, to })
    }

    fn with(self, source: Source) -> RulePermission {
        let Self { protocol, from, to } = self;
        RulePermission { protocol, from, to, source }
    }
}

fn port_range(from: Option<i32>, to: Option<i32>) -> Result<(i32, i32), Refusal> {
    let (Some(from), Some(to)) = (from, to) else {
        let message = "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.";
        return Err(errors::invalid_value(message));
    };
    match (0..=65_535).contains(&from) && (from..=65_535).contains(&to) {
        true => Ok((from, to)),
        false => Err(errors::invalid_value(format!("Invalid TCP/UDP port range ({from}, {to})"))),
    }
}

/// Type and code from -1 to 255; "if you specify all ICMP types, you must specify all codes".
fn icmp(kind: i32, code: i32) -> Result<(i32, i32), Refusal> {
    let fine = (-1..=255).contains(&kind) && (-1..=255).contains(&code) && (kind != -1 || code == -1);
    match fine {
        true => Ok((kind, code)),
        false => Err(errors::invalid_value(format!("ICMP code ({code}) or type ({kind}) out of range"))),
    }
}

/// An address range; host bits are masked ("Amazon Web Services canonicalizes IPv4 and IPv6 CIDRs", EC2 API reference,
/// `AuthorizeSecurityGroupIngress`, `CidrIp`).
fn cidr(text: &str, v6: bool) -> Result<Source, Refusal> {
    let malformed = || errors::invalid_value(format!("CIDR block {text} is malformed"));
    let cidr: IpNet = text.parse().map_err(|_| malformed())?;
    match matches!(cidr, IpNet::V6(_)) == v6 {
        true => Ok(Source::Cidr(cidr.trunc())),
        false => Err(malformed()),
    }
}

fn described(part: &Form) -> Result<Option<String>, Refusal> {
    part.get("Description").filter(|text| !text.is_empty()).map(description).transpose()
}

/// EC2 API reference, `IpRange`, `Description`: "Up to 255 characters in length. Allowed characters are a-z, A-Z, 0-9,
/// spaces, and ._-:/()#,@[]+=&;{}!$*".
pub(crate) fn description(text: &str) -> Result<String, Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    match text.chars().count() <= 255 && text.chars().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(errors::invalid_value(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: \
             a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        )),
    }
}
