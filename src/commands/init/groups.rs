//! Step 3 of `eg init`: the groups, by option or picked from a list.

use super::{
    dialog::Dialog,
    host,
    ports::{self, Picked, each_once},
};
use crate::{
    commands::resource::openings::openings,
    error::{CommandError, Kind},
    ui::cell::cut,
};
use eg_model::{net::permission::PortSpec, target::Target, text::escape_controls};
use eg_providers::{ListedGroup, kinds_of};
use std::collections::BTreeSet;
use unicode_width::UnicodeWidthStr;

/// The most groups that an error lists.
const LISTED_MAX: usize = 20;

/// Every group that the credentials can see, then the firewalls of the other kinds, unless the options name groups alone. A
/// kind that cannot be listed is named and not offered: the rights for it are often lacking, and groups are what most people
/// look for.
pub(super) fn list(dialog: &Dialog<'_>, target: &Target, options: &[String]) -> Result<Vec<ListedGroup>, CommandError> {
    let (region, printer) = (&target.key.region, dialog.context.printer);
    printer.progress(&format!("→ Looking for groups in {region}..."));
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for kind in kinds_of(&target.key.provider) {
        if !options.is_empty() && options.iter().all(|wanted| with_ports(&found, wanted).is_ok()) {
            break;
        }
        let mut like = target.clone();
        kind.name.clone_into(&mut like.key.kind);
        let listed = async { dialog.context.env.connect().connect(&like).await?.groups(None).await };
        match dialog.unless_stopped(listed)? {
            Ok(groups) => found.extend(groups),
            Err(failure) if kind.name == target.key.kind => return Err(failure.into()),
            Err(failure) => {
                printer.progress(&escape_controls(&format!("  {} are not offered: {failure}", kind.noun.many)));
                unread.push(format!("{} could not be read: {failure}", kind.noun.many));
            }
        }
    }
    if found.is_empty() {
        let message = format!("no security group can be seen in {region} with these credentials");
        return Err(CommandError::new(Kind::NotFound, message).hint("try another --region or --profile"));
    }
    // What is not among those that could be read may be among the others.
    match options.iter().find_map(|wanted| with_ports(&found, wanted).err()) {
        Some(error) => Err(unread.into_iter().fold(error, CommandError::hint)),
        None => Ok(found),
    }
}

/// The groups of `--group`, else those that the user picks; and true if a host is picked too.
pub(super) fn pick<'g>(
    dialog: &Dialog<'_>,
    options: &[String],
    groups: &'g [ListedGroup],
) -> Result<(Vec<Picked<'g>>, bool), CommandError> {
    if let Some(questions) = dialog.questions.as_ref().filter(|_| options.is_empty()) {
        let offered = [lines(groups), vec![host::OFFER.to_owned()]].concat();
        let chosen = questions.some_of("Which groups should eg open?", &offered)?;
        let found = chosen.iter().filter_map(|at| groups.get(*at));
        let picked = found.map(|group| Picked { group, ports: Vec::new() }).collect();
        return Ok((picked, chosen.contains(&groups.len())));
    }
    let mut picked: Vec<Picked<'g>> = Vec::new();
    for wanted in options {
        let (group, ports) = with_ports(groups, wanted)?;
        match picked.iter_mut().find(|one| one.group == group) {
            Some(known) => known.ports = each_once(&[known.ports.as_slice(), &ports].concat()),
            None => picked.push(Picked { group, ports }),
        }
    }
    Ok((picked, false))
}

/// A group by id or name.
fn named<'g>(groups: &'g [ListedGroup], wanted: &str) -> Result<&'g ListedGroup, CommandError> {
    let found: Vec<&ListedGroup> = groups.iter().filter(|group| group.id == wanted || group.name == wanted).collect();
    let list = |groups: &[&ListedGroup]| {
        let named = groups.iter().take(LISTED_MAX).map(|group| format!("{} {}", group.id, group.name));
        let more = groups.len().saturating_sub(LISTED_MAX);
        let more = (more > 0).then(|| format!("and {more} more"));
        named.chain(more).collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let message = format!(
                "no group is \"{wanted}\" by id or name; there are: {}",
                list(&groups.iter().collect::<Vec<_>>())
            );
            Err(CommandError::new(Kind::Usage, message))
        }
        several => {
            let message = format!("\"{wanted}\" is the name of {}: {}", several.len(), list(several));
            Err(CommandError::new(Kind::Usage, message).hint("name it by id"))
        }
    }
}

/// A group and the ports that are given with it: `prod-api:tcp/22,tcp/443`. A name may hold colons itself, so the whole
/// text is tried as a name first.
fn with_ports<'g>(groups: &'g [ListedGroup], wanted: &str) -> Result<(&'g ListedGroup, Vec<PortSpec>), CommandError> {
    let whole = || named(groups, wanted).map(|group| (group, Vec::new()));
    let is_name = groups.iter().any(|group| group.name == wanted);
    let Some((name, list)) = wanted.rsplit_once(':').filter(|_| !is_name) else { return whole() };
    match (named(groups, name), ports::parse(list)) {
        (Ok(group), Ok(ports)) => Ok((group, ports)),
        (Ok(_), Err(error)) => Err(CommandError::new(Kind::Usage, error)),
        (Err(error), Ok(_)) => Err(error),
        (Err(_), Err(_)) => whole(),
    }
}

/// The widest column of names. A longer name is cut, or it would push everything else off the line.
const NAME_MAX: usize = 32;

/// A line for each group: name, id, the ports that it opens already, VPC. For another kind: name, id, and the kind.
fn lines(groups: &[ListedGroup]) -> Vec<String> {
    let names: Vec<String> = groups.iter().map(|group| cut(&escape_controls(&group.name), NAME_MAX)).collect();
    let opens: Vec<String> = groups.iter().map(already_open).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.width()).max().unwrap_or(0);
    let (name_width, open_width) = (widest(&names), widest(&opens).min(NAME_MAX));
    let id_width = groups.iter().map(|group| group.id.len()).max().unwrap_or(0);
    let padded = |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(text.width())));
    let line = |((group, name), open): ((&ListedGroup, &String), &String)| {
        let (name, open) = (padded(name, name_width), padded(open, open_width));
        format!("{name}  {:id_width$}  {open}  {}", group.id, group.network.as_deref().unwrap_or("-"))
    };
    groups.iter().zip(&names).zip(&opens).map(line).collect()
}

/// The ports that a group opens to the world, which the user must not miss; else all that it opens.
fn already_open(group: &ListedGroup) -> String {
    if !group.kind.has_ports() {
        return group.kind.noun.one.to_owned();
    }
    let world: BTreeSet<String> =
        group.permissions.iter().filter(|one| one.is_for_everybody()).map(|one| one.ports()).collect();
    if !world.is_empty() {
        return format!("opens {} to the world", world.into_iter().collect::<Vec<_>>().join(", "));
    }
    match openings(group) {
        nothing if nothing == "nothing" => "closed".to_owned(),
        open => format!("opens {open}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_providers::aws::SECURITY_GROUP;
    use std::collections::BTreeMap;

    fn group(id: &str, name: &str, permissions: &[&str]) -> ListedGroup {
        ListedGroup {
            kind: &SECURITY_GROUP,
            id: id.to_owned(),
            name: name.to_owned(),
            network: Some("vpc-1".to_owned()),
            tags: BTreeMap::new(),
            permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
            other_ingress: 1,
        }
    }

    #[test]
    fn what_is_offered() {
        let groups = [
            group("sg-1", "api", &["tcp|22|22|10.0.0.0/8", "tcp|22|22|0.0.0.0/0", "tcp|443|443|0.0.0.0/0"]),
            group("sg-22", "database", &["tcp|5432|5432|10.0.0.0/8"]),
        ];
        let long = "a-name-that-is-much-longer-than-any-other-name";
        let closed = ListedGroup { other_ingress: 0, ..group("sg-3", long, &[]) };
        let groups = [&groups[..], &[closed]].concat();
        assert_eq!(
            lines(&groups),
            [
                "api                               sg-1   opens tcp/22, tcp/443 to the world  vpc-1",
                "database                          sg-22  opens tcp/5432 from 10.0.0.0/8, 1 other source  vpc-1",
                "a-name-that-is-much-longer-than…  sg-3   closed                            vpc-1",
            ]
        );
    }

    #[test]
    fn groups_by_id_or_name() {
        let groups = [("sg-1", "web"), ("sg-2", "web"), ("sg-3", "api"), ("sg-4", "team:web")];
        let groups = groups.map(|(id, name)| group(id, name, &[]));
        assert_eq!(named(&groups, "sg-2").unwrap().id, "sg-2");
        assert_eq!(named(&groups, "api").unwrap().id, "sg-3");
        let twice = named(&groups, "web").unwrap_err();
        assert_eq!(twice.message, "\"web\" is the name of 2: sg-1 web, sg-2 web");
        let with = |text: &str| with_ports(&groups, text).map(|(group, ports)| (group.id.as_str(), ports.len()));
        assert_eq!(with("api").unwrap(), ("sg-3", 0));
        assert_eq!(with("sg-2:tcp/22,443").unwrap(), ("sg-2", 2));
        assert_eq!(with("team:web").unwrap(), ("sg-4", 0), "a name that holds a colon");
        assert_eq!(with("team:web:ssh").unwrap(), ("sg-4", 1));
        assert!(with("sg-2:tpc/22").unwrap_err().message.starts_with("\"tpc/22\" is not a port: "));
        assert!(with("gone:22").unwrap_err().message.starts_with("no group is \"gone\" by id or name"));
        assert!(with("team:wbe").unwrap_err().message.starts_with("no group is \"team:wbe\" by id or name"));
        let none = named(&groups, "db").unwrap_err();
        assert_eq!(
            none.message,
            "no group is \"db\" by id or name; there are: sg-1 web, sg-2 web, sg-3 api, sg-4 team:web"
        );
    }
}
