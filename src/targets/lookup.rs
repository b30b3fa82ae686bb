//! Resources that select groups by name or tags. A session looks them up at its start, and keeps the groups that it found.

use crate::error::{CommandError, Kind, advice};
use eg_config::settings::{Resource, Selection};
use eg_model::{failure::Failure, selector::Selector, target::Target};
use eg_providers::{Connect, ListedGroup};
use std::collections::BTreeMap;

/// The most groups that one `[[resource]]` may select; more count as a mistake.
pub const MATCHES_MAX: usize = 50;

/// The groups that a `[[resource]]` selects, each under a name of its own; at most [`MATCHES_MAX`].
pub async fn resolve(
    selection: &Selection,
    meant: &Selector,
    connect: &dyn Connect,
    target: impl Fn(&Resource) -> Target,
) -> Result<Vec<Resource>, CommandError> {
    // A target without a group yet.
    let route = target(&selection.like);
    let Resource { name, region, .. } = &selection.like;
    let failed = |failure: Failure| {
        let message = format!("the groups of {name} are not known: {failure}");
        CommandError::new(Kind::Provider, message).hint(advice(failure.class))
    };
    let groups = connect.connect(&route).await.map_err(failed)?.groups(Some(meant)).await.map_err(failed)?;
    match groups.len() {
        0 => Err(CommandError::new(Kind::NotFound, format!("no group in {region} is what {name} asks for ({meant})"))
            .hint("see the groups there are: eg resource discover")),
        1..=MATCHES_MAX => Ok(named(selection, groups)),
        many => {
            let message =
                format!("{many} groups in {region} are what {name} asks for ({meant}); at most {MATCHES_MAX} may be");
            Err(CommandError::new(Kind::Refused, message).hint("ask for less: a longer group_name, or one more tag"))
        }
    }
}

/// `<resource>/<group's name>`. Groups of different networks may have the same name, and get their id too.
fn named(selection: &Selection, groups: Vec<ListedGroup>) -> Vec<Resource> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for group in &groups {
        *counts.entry(group.name.clone()).or_default() += 1;
    }
    let name = |group: &ListedGroup| match counts.get(&group.name) {
        Some(1) if !group.name.is_empty() => format!("{}/{}", selection.like.name, group.name),
        _ => format!("{}/{} {}", selection.like.name, group.name, group.id),
    };
    groups.into_iter().map(|group| selection.resource(name(&group), group.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_config::settings::Settings;
    use eg_providers::aws::SECURITY_GROUP;
    use std::path::Path;

    #[test]
    fn every_match_has_a_name_of_its_own() {
        let text = "[[resource]]\nname = \"prod\"\ngroup_name = \"*\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n";
        let settings = Settings::parse(text, Path::new("c.toml")).unwrap();
        let group =
            |id: &str, name: &str| ListedGroup::bare(&SECURITY_GROUP, id.to_owned(), name.to_owned(), BTreeMap::new());
        let groups = vec![group("sg-1", "api"), group("sg-2", "web"), group("sg-3", "web"), group("sg-4", "")];
        let found = named(&settings.selections[0], groups);
        let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.id.as_str())).collect();
        assert_eq!(
            shown,
            [("prod/api", "sg-1"), ("prod/web sg-2", "sg-2"), ("prod/web sg-3", "sg-3"), ("prod/ sg-4", "sg-4")]
        );
    }
}
