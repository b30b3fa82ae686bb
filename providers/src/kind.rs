//! A kind of firewall as data: what a `[[resource]]` of this kind accepts, and what messages call it.
//!
//! Every module describes its kinds with a [`Kind`], and [`crate::registry`] has a line for each. The configuration and
//! the commands ask the description instead of knowing the kinds.

use eg_model::target::Expiry;
use std::{
    fmt,
    path::{Component, Path},
};

pub struct Kind {
    /// `provider` in the configuration and in the key of a target.
    pub provider: &'static str,
    /// `kind` in the configuration and in the key of a target.
    pub name: &'static str,
    /// A firewall of this kind: "a security group".
    pub noun: Noun,
    /// What `eg` puts into it: "a rule", "an entry".
    pub entry: Noun,
    /// The keys that say which firewall is meant. Their values, joined by `/`, are the id of the target.
    pub target: &'static [TargetField],
    /// True if `group_name` and `tag`, or `host`, may stand in the place of the id.
    pub selectors: bool,
    pub ports: Ports,
    /// The region, the credentials and the endpoint; `None` for a firewall without them, as on this host.
    pub cloud: Option<Cloud>,
    /// The ability to close a rule by itself.
    pub expiry: Expiry,
    /// The most entries of each address family, unless the provider has raised it; `None` if there is no usual number.
    pub quota: Option<usize>,
    /// True if nothing there tells whose an entry is: the record alone knows.
    pub unmarked: bool,
    /// True if the firewall with this id can be read back. Looks at this machine at most.
    pub reads_back: fn(id: &str) -> bool,
    /// The heading of its section in `docs/firewalls.md`, as an anchor.
    pub anchor: &'static str,
}

/// A noun of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noun {
    /// "a" or "an".
    pub article: &'static str,
    pub one: &'static str,
    pub many: &'static str,
}

impl Noun {
    pub const fn a(one: &'static str, many: &'static str) -> Self {
        Self { article: "a", one, many }
    }

    pub const fn an(one: &'static str, many: &'static str) -> Self {
        Self { article: "an", one, many }
    }

    /// A number of them: "1 rule", "2 rules".
    pub fn count(&self, number: usize) -> String {
        format!("{number} {}", if number == 1 { self.one } else { self.many })
    }
}

/// With its article: "a security group".
impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.article, self.one)
    }
}

/// A key of a `[[resource]]` that says which firewall is meant.
pub struct TargetField {
    pub key: &'static str,
    /// The values that it accepts, in words.
    pub accepted: &'static str,
    /// The value of a section without the key; `None`: the key has to be there.
    pub default: Option<&'static str>,
    /// Reads a value into its canonical form. The error says what is wrong with it.
    pub read: fn(String) -> Result<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every entry opens ports of its own.
    OfEachEntry,
    /// An entry is an address or a network alone. What uses the firewall decides about ports.
    None {
        /// Who decides, as a whole sentence for messages.
        why: &'static str,
    },
}

/// What every firewall in a cloud has.
pub struct Cloud {
    /// The service that holds the firewall, as messages name it.
    pub service: &'static str,
    /// The variable that names another endpoint for this service alone.
    pub endpoint_variable: &'static str,
    /// The only region of the firewall with this id, if there is one; then the configuration need not name it.
    pub only_region: fn(id: &str) -> Option<&'static str>,
}

impl Kind {
    /// Provider and kind in one word, as the machine's policy names them: `aws/security-group`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }

    pub fn has_ports(&self) -> bool {
        self.ports == Ports::OfEachEntry
    }

    /// The keys of a `[[resource]]` of this kind, in the order in which messages list them.
    pub fn keys(&self) -> Vec<&'static str> {
        let only = |kept: bool, keys: &[&'static str]| if kept { keys.to_vec() } else { Vec::new() };
        [
            vec!["name", "provider", "kind"],
            self.target.iter().map(|field| field.key).collect(),
            only(self.selectors, &["group_name", "tag", "host", "group"]),
            only(self.cloud.is_some(), &["region", "profile", "role_arn", "external_id"]),
            only(self.has_ports(), &["ports"]),
            vec!["families", "groups"],
        ]
        .concat()
    }

    /// The keys of a `[[resource]]` that say which firewall is meant, with their values for the firewall with this id.
    pub fn target_of(&self, id: &str) -> Vec<(&'static str, String)> {
        self.target.iter().map(|field| field.key).zip(id.splitn(self.target.len(), '/').map(str::to_owned)).collect()
    }

    pub fn closes_by_itself(&self) -> bool {
        self.expiry == Expiry::Native
    }
}

/// Kinds are told apart by provider and name.
impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.provider, self.name) == (other.provider, other.name)
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// An absolute path in its one spelling, so that one directory is one target. A link is not followed.
pub fn absolute_path(text: String) -> Result<String, String> {
    let path = Path::new(&text);
    let plain = path.is_absolute() && !text.chars().any(char::is_control);
    let parts: Option<Vec<&str>> = path
        .components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
        .collect();
    match parts.filter(|parts| plain && !parts.is_empty()) {
        Some(parts) => Ok(format!("/{}", parts.join("/"))),
        None => Err(format!("\"{}\" is not a plain absolute path", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for text in ["/etc/eg/office", "/etc/eg/office/", "//etc/./eg//office/."] {
            assert_eq!(absolute_path(text.to_owned()).as_deref(), Ok("/etc/eg/office"), "{text}");
        }
        for text in ["", "/", "etc/eg", "./eg", "~/eg", "/etc/../eg", "/etc/eg\n"] {
            let why = absolute_path(text.to_owned()).unwrap_err();
            assert!(why.ends_with(" is not a plain absolute path") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn numbers_agree() {
        let noun = Noun::an("entry", "entries");
        assert_eq!([noun.count(0), noun.count(1), noun.count(2)], ["0 entries", "1 entry", "2 entries"]);
        assert_eq!(noun.to_string(), "an entry");
    }
}
