//! Asks an endpoint over a plain socket, as no SDK does, and reads its XML.

use roxmltree::{Document, Node};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An XML element: its name, its text, its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    fn read(node: Node<'_, '_>) -> Self {
        Self {
            name: node.tag_name().name().to_owned(),
            text: node.text().unwrap_or_default().trim().to_owned(),
            children: node.children().filter(Node::is_element).map(Self::read).collect(),
        }
    }

    /// The first element of this name, however deep.
    pub(crate) fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// Its text.
    pub(crate) fn text_of(&self, name: &str) -> String {
        self.find(name).map(|element| element.text.clone()).unwrap_or_default()
    }

    /// The items of a list.
    pub(crate) fn items(&self, list: &str) -> Vec<Element> {
        self.find(list).map(|list| list.children.clone()).unwrap_or_default()
    }

    /// One field of each item of a list.
    pub(crate) fn each(&self, list: &str, field: &str) -> Vec<String> {
        self.items(list).iter().map(|item| item.text_of(field)).collect()
    }

    /// `tagSet` as a map.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        self.items("tagSet").iter().map(|tag| (tag.text_of("key"), tag.text_of("value"))).collect()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn xml(&self) -> Element {
        let document = Document::parse(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body));
        Element::read(document.root_element())
    }

    /// The error code; `OK` for a success.
    pub(crate) fn code(&self) -> String {
        match Document::parse(&self.body) {
            _ if self.status == 200 => "OK".to_owned(),
            Ok(document) => Element::read(document.root_element()).text_of("Code"),
            Err(_) => "(no XML)".to_owned(),
        }
    }
}

/// Somebody with an access key in a region.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) access_key: Option<String>,
    pub(crate) region: String,
    /// When its requests say that they were signed, as `x-amz-date` has it; most of them do not say.
    pub(crate) signed_at: Option<String>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, access_key: Some("AKIASANDBOX".to_owned()), region: "us-east-1".to_owned(), signed_at: None }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { access_key: Some(key.to_owned()), ..self.clone() }
    }

    /// An answer, or what happened to the connection.
    pub(crate) fn try_ask(&self, action: &str, fields: &[(String, String)]) -> io::Result<Answer> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", "2016-11-15");
        form.extend_pairs(fields);
        let body = form.finish();
        let service = if matches!(action, "GetCallerIdentity" | "AssumeRole") { "sts" } else { "ec2" };
        self.exchange(service, "POST", "/", "application/x-www-form-urlencoded", &body)
    }

    /// The scheduler's answer.
    pub(crate) fn ask_scheduler(&self, method: &str, path: &str, body: &str) -> Answer {
        self.exchange("scheduler", method, path, "application/json", body).expect("an answer")
    }

    /// The status and the JSON of the scheduler's answer.
    pub(crate) fn rest(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let answer = self.ask_scheduler(method, path, body);
        let json = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {:?}", answer.body));
        (answer.status, json)
    }

    /// WAF's answer. It names the action in a header.
    pub(crate) fn ask_waf(&self, action: &str, body: &str) -> Answer {
        let kind = format!("application/x-amz-json-1.1\r\nX-Amz-Target: AWSWAF_20190729.{action}");
        self.exchange("wafv2", "POST", "/", &kind, body).expect("an answer")
    }

    fn exchange(&self, service: &str, method: &str, path: &str, kind: &str, body: &str) -> io::Result<Answer> {
        let region = &self.region;
        let authorization = self.access_key.as_ref().map_or_else(String::new, |key| {
            format!(
                "Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, \
                 SignedHeaders=host, Signature=0\r\n"
            )
        });
        let date = self.signed_at.as_ref().map_or_else(String::new, |at| format!("X-Amz-Date: {at}\r\n"));
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {service}.{region}.amazonaws.com\r\nConnection: close\r\n{authorization}{date}\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers = lines.filter_map(header).collect();
        Ok(Answer { status: status.expect("a status"), headers, body: body.to_owned() })
    }

    pub(crate) fn ask(&self, action: &str, fields: &[(String, String)]) -> Answer {
        self.try_ask(action, fields).unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    /// The XML of a success.
    pub(crate) fn get(&self, action: &str, fields: &[(String, String)]) -> Element {
        let answer = self.ask(action, fields);
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer.xml()
    }

    /// The code of an error, or `OK`.
    pub(crate) fn code(&self, action: &str, fields: &[(String, String)]) -> String {
        self.ask(action, fields).code()
    }

    pub(crate) fn create_group(&self, name: &str) -> String {
        self.get("CreateSecurityGroup", &fields(&[("GroupName", name), ("GroupDescription", "a group")]))
            .text_of("groupId")
    }

    /// Rules of a group as its ids' answer shows them, inbound only.
    pub(crate) fn rules(&self, group: &str) -> Vec<Element> {
        let answer = self.get("DescribeSecurityGroupRules", &in_group(group));
        answer.items("securityGroupRuleSet").into_iter().filter(|rule| rule.text_of("isEgress") == "false").collect()
    }
}

/// Fields, owned.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The filter by group.
pub(crate) fn in_group(group: &str) -> Vec<(String, String)> {
    fields(&[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group)])
}

/// An authorize or revoke by permission: (protocol, from, to, CIDR) each.
pub(crate) fn permissions(group: &str, permissions: &[(&str, &str, &str, &str)]) -> Vec<(String, String)> {
    let mut all = fields(&[("GroupId", group)]);
    for (number, (protocol, from, to, cidr)) in (1..).zip(permissions) {
        let (list, field) = if cidr.contains(':') { ("Ipv6Ranges", "CidrIpv6") } else { ("IpRanges", "CidrIp") };
        all.push((format!("IpPermissions.{number}.IpProtocol"), (*protocol).to_owned()));
        if !from.is_empty() {
            all.push((format!("IpPermissions.{number}.FromPort"), (*from).to_owned()));
            all.push((format!("IpPermissions.{number}.ToPort"), (*to).to_owned()));
        }
        all.push((format!("IpPermissions.{number}.{list}.1.{field}"), (*cidr).to_owned()));
    }
    all
}

/// `TagSpecification.1` for rules.
pub(crate) fn tagged(mut all: Vec<(String, String)>, tags: &[(&str, &str)]) -> Vec<(String, String)> {
    all.push(("TagSpecification.1.ResourceType".to_owned(), "security-group-rule".to_owned()));
    for (number, (key, value)) in (1..).zip(tags) {
        all.push((format!("TagSpecification.1.Tag.{number}.Key"), (*key).to_owned()));
        all.push((format!("TagSpecification.1.Tag.{number}.Value"), (*value).to_owned()));
    }
    all
}

/// Resources and tags for `CreateTags` and `DeleteTags`; a tag without a value has `None`.
pub(crate) fn tags(ids: &[&str], tags: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        (1..).zip(ids).map(|(n, id): (u32, _)| (format!("ResourceId.{n}"), (*id).to_owned())).collect();
    for (number, (key, value)) in (1..).zip(tags) {
        all.push((format!("Tag.{number}.Key"), (*key).to_owned()));
        if let Some(value) = value {
            all.push((format!("Tag.{number}.Value"), (*value).to_owned()));
        }
    }
    all
}

/// A revoke by ids.
pub(crate) fn by_ids(group: &str, ids: &[&str]) -> Vec<(String, String)> {
    let ids = (1..).zip(ids).map(|(n, id): (u32, _)| (format!("SecurityGroupRuleId.{n}"), (*id).to_owned()));
    fields(&[("GroupId", group)]).into_iter().chain(ids).collect()
}
