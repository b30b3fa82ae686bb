//! The provider by hand: what a person does in the console, or another tool with the API.

use roxmltree::{Document, Node};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::moto::Moto;

/// Marks the credentials of this module, so that the call log can leave its calls out.
pub const VARIANT: &str = "BYHAND";

/// A region of an account, without `eg`.
#[derive(Clone, Debug)]
pub struct Cloud {
    port: u16,
    account: String,
    region: String,
}

/// One ingress rule as the provider shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `-1`.
    pub protocol: String,
    /// From, to; -1 where the protocol has none.
    pub ports: (i32, i32),
    /// IPv4 or IPv6; empty when the source is not a CIDR.
    pub cidr: String,
    /// `sgr-…`.
    pub id: String,
    /// For people; may be empty.
    pub description: String,
    /// By key.
    pub tags: BTreeMap<String, String>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.ports;
        let tags: Vec<_> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let Self { protocol, cidr, id, description, .. } = self;
        write!(f, "{protocol}/{from}-{to} {cidr} {id} {description:?} [{}]", tags.join(", "))
    }
}

/// A refusal of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `InvalidPermission.Duplicate`, …
    pub code: String,
    /// For people.
    pub message: String,
}

impl Cloud {
    pub(super) fn new(port: u16, account: &str, region: &str) -> Self {
        Self { port, account: account.to_owned(), region: region.to_owned() }
    }

    /// The same account in another region.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// Makes a group; its id.
    pub fn create_group(&self, name: &str) -> String {
        let answer = self.ask("CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", "made by a test")]);
        first(&parse(&answer), "groupId").expect("the new group's id")
    }

    /// Makes a network interface with this private address and one group, in a subnet that the account has from the start.
    /// Its id.
    pub fn create_interface(&self, group: &str, private: &str) -> String {
        let subnet = first(&parse(&self.ask("DescribeSubnets", &[])), "subnetId").expect("a default subnet");
        let fields = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", private), ("SecurityGroupId.1", group)];
        let answer = self.ask("CreateNetworkInterface", &fields);
        first(&parse(&answer), "networkInterfaceId").expect("the new interface's id")
    }

    /// Deletes a group and its rules with it.
    pub fn delete_group(&self, group: &str) {
        self.ask("DeleteSecurityGroup", &[("GroupId", group)]);
    }

    /// Opens a rule by hand: `tcp/22`, `tcp/8000-8080`, `icmp`, `-1`; tags may be empty. Its id.
    pub fn authorize(&self, group: &str, ports: &str, cidr: &str, description: &str, tags: &[(&str, &str)]) -> String {
        self.try_authorize(group, ports, cidr, description, tags)
            .unwrap_or_else(|refusal| panic!("authorize {ports} {cidr} on {group}: {refusal:?}"))
    }

    /// The same, where the provider may refuse.
    pub fn try_authorize(
        &self,
        group: &str,
        ports: &str,
        cidr: &str,
        description: &str,
        tags: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let (protocol, from, to) = split(ports);
        let (ranges, field) = if cidr.contains(':') { ("Ipv6Ranges", "CidrIpv6") } else { ("IpRanges", "CidrIp") };
        let mut fields = vec![
            ("GroupId".to_owned(), group.to_owned()),
            ("IpPermissions.1.IpProtocol".to_owned(), protocol),
            ("IpPermissions.1.FromPort".to_owned(), from),
            ("IpPermissions.1.ToPort".to_owned(), to),
            (format!("IpPermissions.1.{ranges}.1.{field}"), cidr.to_owned()),
        ];
        if !description.is_empty() {
            fields.push((format!("IpPermissions.1.{ranges}.1.Description"), description.to_owned()));
        }
        if !tags.is_empty() {
            fields.push(("TagSpecification.1.ResourceType".to_owned(), "security-group-rule".to_owned()));
        }
        for (number, (key, value)) in (1..).zip(tags) {
            fields.push((format!("TagSpecification.1.Tag.{number}.Key"), (*key).to_owned()));
            fields.push((format!("TagSpecification.1.Tag.{number}.Value"), (*value).to_owned()));
        }
        let answer = self.try_ask("AuthorizeSecurityGroupIngress", &fields)?;
        Ok(first(&parse(&answer), "securityGroupRuleId").expect("the new rule's id"))
    }

    /// Edits the ports of a rule in place; it keeps its id and tags (the provider here keeps an IPv6 CIDR as it was).
    pub fn modify(&self, group: &str, rule: &str, ports: &str, cidr: &str, description: &str) {
        let (protocol, from, to) = split(ports);
        let field = if cidr.contains(':') { "CidrIpv6" } else { "CidrIpv4" };
        let name = |last: &str| format!("SecurityGroupRule.1.SecurityGroupRule.{last}");
        let fields = [
            ("GroupId".to_owned(), group.to_owned()),
            ("SecurityGroupRule.1.SecurityGroupRuleId".to_owned(), rule.to_owned()),
            (name("IpProtocol"), protocol),
            (name("FromPort"), from),
            (name("ToPort"), to),
            (name(field), cidr.to_owned()),
            (name("Description"), description.to_owned()),
        ];
        self.try_ask("ModifySecurityGroupRules", &fields).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }

    /// Revokes a rule by its id.
    pub fn revoke(&self, group: &str, rule: &str) {
        self.try_revoke(group, rule).unwrap_or_else(|refusal| panic!("revoke {rule}: {refusal:?}"));
    }

    /// The same, where the provider may refuse.
    pub fn try_revoke(&self, group: &str, rule: &str) -> Result<(), Refusal> {
        let fields = [("GroupId", group), ("SecurityGroupRuleId.1", rule)];
        self.try_ask("RevokeSecurityGroupIngress", &owned(&fields)).map(|_| ())
    }

    /// Writes tags on a rule or group.
    pub fn create_tags(&self, id: &str, tags: &[(&str, &str)]) {
        self.tags("CreateTags", id, tags);
    }

    /// Deletes tags by key and value.
    pub fn delete_tags(&self, id: &str, tags: &[(&str, &str)]) {
        self.tags("DeleteTags", id, tags);
    }

    /// Deletes every tag of a rule, as `aws ec2 delete-tags` without `--tags` does.
    pub fn strip_tags(&self, group: &str, rule: &str) {
        let rules = self.rules(group);
        let tags = &rules.iter().find(|r| r.id == rule).unwrap_or_else(|| panic!("no rule {rule}")).tags;
        let list: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        self.delete_tags(rule, &list);
    }

    fn tags(&self, action: &str, id: &str, tags: &[(&str, &str)]) {
        let mut fields = owned(&[("ResourceId.1", id)]);
        for (number, (key, value)) in (1..).zip(tags) {
            fields.push((format!("Tag.{number}.Key"), (*key).to_owned()));
            fields.push((format!("Tag.{number}.Value"), (*value).to_owned()));
        }
        self.try_ask(action, &fields).unwrap_or_else(|refusal| panic!("{action} {id}: {refusal:?}"));
    }

    /// The ingress rules of a group, sorted.
    pub fn rules(&self, group: &str) -> Vec<Rule> {
        let answer =
            self.ask("DescribeSecurityGroupRules", &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group)]);
        let document = parse(&answer);
        let set = document.descendants().find(|node| node.has_tag_name_any("securityGroupRuleSet"));
        let items = set.into_iter().flat_map(|set| set.children().filter(Node::is_element));
        let mut rules: Vec<_> =
            items.filter(|item| child(*item, "isEgress") == "false").map(|item| rule_of(item)).collect();
        rules.sort();
        rules
    }

    /// Every ingress rule of every group of this region as text: for "byte for byte as before".
    pub fn snapshot(&self) -> String {
        let answer = self.ask("DescribeSecurityGroups", &[]);
        let document = parse(&answer);
        let set = document.descendants().find(|node| node.has_tag_name_any("securityGroupInfo"));
        let mut groups: Vec<_> = set
            .into_iter()
            .flat_map(|set| set.children().filter(Node::is_element))
            .map(|item| (child(item, "groupName"), child(item, "groupId")))
            .collect();
        groups.sort();
        let mut text = String::new();
        for (name, id) in groups {
            writeln!(text, "{name} {id}").expect("a string takes everything");
            for rule in self.rules(&id) {
                writeln!(text, "  {rule}").expect("a string takes everything");
            }
        }
        text
    }

    fn ask(&self, action: &str, fields: &[(&str, &str)]) -> String {
        self.try_ask(action, &owned(fields)).unwrap_or_else(|refusal| panic!("{action}: {refusal:?}"))
    }

    /// Any call, with its fields as EC2's query protocol names them.
    pub fn try_ask(&self, action: &str, fields: &[(String, String)]) -> Result<String, Refusal> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (key, value) in fields {
            write!(body, "&{}={}", encode(key), encode(value)).expect("a string takes everything");
        }
        let (status, answer) = self.post(&body);
        if status == 200 {
            return Ok(answer);
        }
        let document = parse(&answer);
        let part = |name| first(&document, name).unwrap_or_default();
        Err(Refusal { code: part("Code"), message: part("Message") })
    }

    /// A call of IAM.
    pub fn iam(&self, action: &str, fields: &[(&str, &str)]) -> String {
        let mut body = format!("Action={action}&Version=2010-05-08");
        for (key, value) in fields {
            write!(body, "&{}={}", encode(key), encode(value)).expect("a string takes everything");
        }
        let (status, answer) = self.send("iam", "POST", "/", "application/x-www-form-urlencoded", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// A call of a service that speaks REST and JSON.
    pub fn rest(&self, service: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        self.send(service, method, path, "application/json", body)
    }

    /// A call of WAF; its answer.
    pub fn waf(&self, action: &str, body: &Value) -> Value {
        let kind = format!("application/x-amz-json-1.1\r\nX-Amz-Target: AWSWAF_20190729.{action}");
        let (status, answer) = self.send("wafv2", "POST", "/", &kind, &body.to_string());
        assert_eq!(status, 200, "{action}: {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn post(&self, body: &str) -> (u16, String) {
        self.send("ec2", "POST", "/", "application/x-www-form-urlencoded", body)
    }

    /// HTTP/1.0, so that the answer ends where the connection does.
    fn send(&self, service: &str, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the provider listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let (key, region) = (Moto::access_key(&self.account, VARIANT), &self.region);
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {service}.{region}.amazonaws.com\r\nContent-Type: {kind}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, \
             Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the provider reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the provider answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an HTTP status");
        (status, body.to_owned())
    }
}

trait AnyNamespace {
    fn has_tag_name_any(&self, name: &str) -> bool;
}

impl AnyNamespace for Node<'_, '_> {
    fn has_tag_name_any(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn parse(text: &str) -> Document<'_> {
    Document::parse(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn first(document: &Document<'_>, name: &str) -> Option<String> {
    document.descendants().find(|node| node.has_tag_name_any(name)).and_then(|node| node.text().map(str::to_owned))
}

fn child(node: Node<'_, '_>, name: &str) -> String {
    let found = node.children().find(|child| child.has_tag_name_any(name));
    found.and_then(|child| child.text()).unwrap_or_default().to_owned()
}

fn rule_of(item: Node<'_, '_>) -> Rule {
    let tags = item.children().find(|node| node.has_tag_name_any("tagSet"));
    let tags = tags.into_iter().flat_map(|set| set.children().filter(Node::is_element));
    let port = |name| child(item, name).parse().unwrap_or(-1);
    Rule {
        protocol: child(item, "ipProtocol"),
        ports: (port("fromPort"), port("toPort")),
        cidr: child(item, "cidrIpv4") + &child(item, "cidrIpv6"),
        id: child(item, "securityGroupRuleId"),
        description: child(item, "description"),
        tags: tags.map(|tag| (child(tag, "key"), child(tag, "value"))).collect(),
    }
}

fn split(ports: &str) -> (String, String, String) {
    let (protocol, range) = ports.split_once('/').unwrap_or((ports, "-1"));
    let (from, to) = match range.split_once('-') {
        Some((from, to)) if !from.is_empty() => (from, to),
        _ => (range, range),
    };
    (protocol.to_owned(), from.to_owned(), to.to_owned())
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Text that was escaped for a URL.
pub fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
    out
}
