//! Step 4 of `eg init`: the ports of each group.

use super::dialog::Dialog;
use crate::error::{CommandError, Kind};
use eg_model::{
    net::permission::{PortSpec, PortSpecError},
    text::escape_controls,
};
use eg_providers::ListedGroup;

/// A group that is to be configured.
pub(super) struct Picked<'g> {
    pub(super) group: &'g ListedGroup,
    /// Empty until [`choose`] if no ports were given with the group, and always for a kind without ports.
    pub(super) ports: Vec<PortSpec>,
}

/// Gives ports to every group that has none: those of `--port`, else the user's answer. One answer is the next proposal.
/// A list of addresses has no ports, and may not be given any of its own.
pub(super) fn choose(dialog: &Dialog<'_>, option: &[PortSpec], picked: &mut [Picked<'_>]) -> Result<(), CommandError> {
    let mut usual = "tcp/22".to_owned();
    let has_too_many = |one: &&Picked<'_>| !one.group.kind.has_ports() && !one.ports.is_empty();
    if let Some(Picked { group, .. }) = picked.iter().find(has_too_many) {
        let message = format!("{} is {}, which has no ports", group.name, group.kind.noun);
        return Err(CommandError::new(Kind::Usage, message).hint("leave out what follows the colon"));
    }
    for one in picked.iter_mut().filter(|one| one.group.kind.has_ports() && one.ports.is_empty()) {
        one.ports = each_once(option);
        if !one.ports.is_empty() {
            continue;
        }
        let name = if one.group.name.is_empty() { &one.group.id } else { &one.group.name };
        let Some(questions) = &dialog.questions else {
            let message = format!("no ports are given for {name}: pass --port, or --group {name}:tcp/22");
            return Err(CommandError::new(Kind::Usage, message));
        };
        let question = format!("Ports to open on {} (22, ssh, tcp/8000-8080, udp/51820)", escape_controls(name));
        one.ports = questions.text(&question, Some(&usual), parse)?;
        usual = one.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    }
    Ok(())
}

/// The items without repetitions.
pub(super) fn each_once<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    for item in items {
        if !once.contains(item) {
            once.push(item.clone());
        }
    }
    once
}

/// Ports with commas or spaces between them, each once.
pub(super) fn parse(text: &str) -> Result<Vec<PortSpec>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let read = |word: &str| word.parse().map_err(|error: PortSpecError| error.to_string());
    let ports = each_once(&words.map(read).collect::<Result<Vec<_>, _>>()?);
    if ports.is_empty() { Err("at least one port, as in tcp/22".to_owned()) } else { Ok(ports) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_people_write_them() {
        let read = |text: &str| parse(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("tcp/22").unwrap(), ["tcp/22"]);
        assert_eq!(read(" tcp/22,udp/53  icmp, tcp/22").unwrap(), ["tcp/22", "udp/53", "icmp"]);
        assert_eq!(read("22 https").unwrap(), ["tcp/22", "tcp/443"]);
        assert!(read("gopher").is_err() && read(" , ").is_err());
    }
}
