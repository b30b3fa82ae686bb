//! Values that several tables have: texts, durations, prefix lengths, ports, roles.

use crate::toml::{At, SpannedError, TomlResult, TomlSection};
use eg_model::{
    net::{
        address::{IpVersion, PrefixLengths},
        permission::PortSpec,
    },
    time::duration::{Written, parse_duration},
};

pub const NOT_EMPTY: &str = "text that is not empty";
pub const PORTS: &str = "one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\"";
const DURATIONS: &str = "\"1m\" to \"31d\"";

pub fn not_empty(found: At<String>, key: &str) -> TomlResult<String> {
    found.read(NOT_EMPTY, |text| {
        let fits = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if fits { Ok(text) } else { Err(format!("{key} is empty or holds control characters")) }
    })
}

pub fn optional_text(section: &TomlSection<'_>, key: &str) -> TomlResult<Option<String>> {
    section.string(key)?.map(|found| not_empty(found, key)).transpose()
}

pub fn duration(section: &TomlSection<'_>, key: &str) -> TomlResult<Option<At<Written>>> {
    let Some(found) = section.string(key)? else { return Ok(None) };
    let at = found.at;
    let read = |text: String| match parse_duration(&text) {
        Ok(length) => Ok(Written::new(length, &text)),
        Err(error) => Err(format!("{key}: {error}")),
    };
    Ok(Some(At { value: found.read(DURATIONS, read)?, at }))
}

pub fn prefix_length(section: &TomlSection<'_>, key: &str, version: IpVersion) -> TomlResult<Option<u8>> {
    let fits = PrefixLengths::accepted(version);
    let accepted = format!("{} to {}, for one host", fits.start(), fits.end());
    let read = |found: usize| {
        let length = u8::try_from(found).ok().filter(|length| fits.contains(length));
        length.ok_or_else(|| format!("{key} is {found}"))
    };
    section.integer(key, &accepted)?.map(|found| found.read(&accepted, read)).transpose()
}

/// A list of ports, never empty, nothing twice: `tcp/22` and `tcp/22-22` are the same.
pub fn ports(section: &TomlSection<'_>) -> TomlResult<Option<Vec<PortSpec>>> {
    let Some(list) = section.strings("ports", PORTS)? else { return Ok(None) };
    if list.value.is_empty() {
        return Err(SpannedError::new(list.at, "ports is empty", PORTS));
    }
    let mut ports = Vec::new();
    for item in list.value {
        let port = item.read(PORTS, |text| match text.parse::<PortSpec>() {
            Err(_) => Err(format!("\"{text}\" is not a port")),
            Ok(port) if ports.contains(&port) => Err(format!("\"{text}\" stands in ports twice")),
            Ok(port) => Ok(port),
        })?;
        ports.push(port);
    }
    Ok(Some(ports))
}

pub fn port_list(ports: &[PortSpec]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `arn:<partition>:iam::<account>:role/<path and name>` (AWS IAM user guide, "IAM ARNs").
pub fn role_arn(text: String) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
        if !partition.is_empty()
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the ARN of a role")) }
}
