//! A host in the place of a security group: `host` and `group` of a `[[resource]]`, and hosts that a command names.

use crate::{
    settings::{
        resource::{Defaults, Resource, Selection},
        root::Settings,
    },
    toml::{SpannedError, TomlResult, TomlSection},
    values::not_empty,
};
use eg_model::{
    net::{address::IpVersion, host::Host, permission::PortSpec},
    selector::Selector,
};
use eg_providers::aws::SECURITY_GROUP;
use std::fmt;

const HOST: &str = "a host, as in \"db.example.com:5432\"";

/// The meaning of a [`Selection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Every group that fits.
    Groups(Selector),
    /// The one group in front of a host.
    Host(HostMeant),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMeant {
    pub host: Host,
    /// The name or id of its group, where several are in front of it.
    pub group: Option<String>,
    /// The region of `[defaults]`: a place to look in, but not the only one.
    pub usual_region: Option<String>,
}

impl Meant {
    pub fn groups(&self) -> Option<&Selector> {
        if let Self::Groups(selector) = self { Some(selector) } else { None }
    }

    pub fn host(&self) -> Option<&HostMeant> {
        if let Self::Host(host) = self { Some(host) } else { None }
    }
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(selector) => selector.fmt(f),
            Self::Host(meant) => write!(f, "host {}", meant.host),
        }
    }
}

/// `host` and `group`, which stand in the place of `id`.
pub fn meant(section: &TomlSection<'_>, outer: &Defaults) -> TomlResult<Option<Meant>> {
    let group = section.string("group")?;
    let Some(host) = section.string("host")? else {
        return match group {
            Some(group) => Err(SpannedError::new(group.at, "group stands without host", "group beside host")),
            None => Ok(None),
        };
    };
    if let Some(other) = ["id", "group_name", "tag"].into_iter().find(|key| section.has(key)) {
        return Err(SpannedError::new(
            host.at,
            format!("host stands beside {other}"),
            "one of id, group_name, tag and host",
        ));
    }
    let host = host.read(HOST, |text| text.parse::<Host>().map_err(|error| error.to_string()))?;
    let group = group.map(|group| not_empty(group, "group")).transpose()?;
    Ok(Some(Meant::Host(HostMeant { host, group, usual_region: outer.region.clone() })))
}

/// The ports of a host that names one.
pub fn ports(meant: Option<&Meant>) -> Option<Vec<PortSpec>> {
    let port = meant?.host()?.host.port()?;
    Some(vec![PortSpec::Tcp(port, port)])
}

impl Settings {
    /// A host that no `[[resource]]` names, with the region and credentials of `[defaults]`.
    pub fn selection_of(&self, host: &Host, group: Option<&str>, ports: Vec<PortSpec>) -> Selection {
        let Defaults { region, profile, role_arn, external_id, families, .. } = self.defaults.clone();
        let meant = HostMeant { host: host.clone(), group: group.map(str::to_owned), usual_region: region };
        let like = Resource {
            name: host.to_string(),
            entry: host.to_string(),
            kind: &SECURITY_GROUP,
            id: String::new(),
            region: String::new(),
            profile,
            role_arn,
            external_id,
            ports,
            families: families.unwrap_or_else(|| vec![IpVersion::V4, IpVersion::V6]),
            groups: Vec::new(),
            place: None,
        };
        Selection { meant: Meant::Host(meant), like }
    }
}
