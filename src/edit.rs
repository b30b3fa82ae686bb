//! Changes of a configuration's text that leave everything else as it is: comments, order, spaces. Pure.

use std::collections::BTreeMap;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TomlError, Value, value};

/// A `[[resource]]` to be written. What is absent is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `name`.
    pub name: String,
    /// `id`.
    pub id: Option<String>,
    /// `group_name`.
    pub group_name: Option<String>,
    /// `tag`.
    pub tags: BTreeMap<String, String>,
    /// `region`.
    pub region: Option<String>,
    /// `profile`.
    pub profile: Option<String>,
    /// `role_arn`.
    pub role_arn: Option<String>,
    /// `external_id`.
    pub external_id: Option<String>,
    /// `ports`.
    pub ports: Vec<String>,
    /// `families`.
    pub families: Vec<String>,
    /// `groups`.
    pub groups: Vec<String>,
}

impl Entry {
    /// Keys and values, in the order in which people read them.
    fn values(&self) -> Vec<(&'static str, Value)> {
        let text = |key, found: &Option<String>| found.as_ref().map(|text| (key, Value::from(text.as_str())));
        let list = |key, all: &[String]| {
            let items: Array = all.iter().map(String::as_str).collect();
            (!all.is_empty()).then(|| (key, Value::from(items)))
        };
        let tags: InlineTable = self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        [
            Some(("name", Value::from(self.name.as_str()))),
            text("id", &self.id),
            text("group_name", &self.group_name),
            (!self.tags.is_empty()).then(|| ("tag", Value::from(tags))),
            text("region", &self.region),
            text("profile", &self.profile),
            text("role_arn", &self.role_arn),
            text("external_id", &self.external_id),
            list("ports", &self.ports),
            list("families", &self.families),
            list("groups", &self.groups),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The text with one more `[[resource]]`, after the others.
///
/// # Errors
/// The text is not TOML.
pub fn add(text: &str, entry: &Entry) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let is_first = document.is_empty() && document.trailing().as_str().is_none_or(|rest| rest.trim().is_empty());
    let resources = document.entry("resource").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(list) = resources.as_array_mut() {
        // `resource = [{ … }]` means the same; it stays as somebody wrote it.
        list.push(entry.values().into_iter().collect::<InlineTable>());
    } else if let Some(tables) = resources.as_array_of_tables_mut() {
        let mut table = Table::new();
        for (key, found) in entry.values() {
            table.insert(key, value(found));
        }
        table.decor_mut().set_prefix(if is_first { "" } else { "\n" });
        tables.push(table);
    }
    Ok(document.to_string())
}

/// The text without the `[[resource]]` of this name; `None` where it holds none.
///
/// # Errors
/// The text is not TOML.
pub fn remove(text: &str, name: &str) -> Result<Option<String>, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let is_it = |found: Option<&str>| found == Some(name);
    let Some(resources) = document.get_mut("resource") else { return Ok(None) };
    if let Some(list) = resources.as_array_mut() {
        let called = |one: &Value| is_it(one.as_inline_table().and_then(|table| table.get("name")?.as_str()));
        let Some(at) = list.iter().position(called) else { return Ok(None) };
        list.remove(at);
    } else if let Some(tables) = resources.as_array_of_tables_mut() {
        let called = |one: &Table| is_it(one.get("name").and_then(Item::as_str));
        let Some(at) = tables.iter().position(called) else { return Ok(None) };
        tables.remove(at);
    }
    Ok(Some(document.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Mine.\n[user]\nname = 'A'   # me\n\n# the first\n[[resource]]\nname = \"a\"\nid = \"sg-1\"\n  \
                        ports = [ \"tcp/22\" ]\n\n# the second\n[[resource]]\nname = \"b\" # bee\nid = \"sg-2\"\n\n[aws]\n\
                        description = \"full\"\n# the end\n";

    fn entry() -> Entry {
        Entry {
            name: "c \"x\"".to_owned(),
            id: Some("sg-3".to_owned()),
            region: Some("eu-west-1".to_owned()),
            ports: vec!["tcp/22".to_owned(), "icmp".to_owned()],
            ..Entry::default()
        }
    }

    const ADDED: &str =
        "[[resource]]\nname = 'c \"x\"'\nid = \"sg-3\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\", \"icmp\"]\n";

    #[test]
    fn a_resource_comes_after_the_others_and_all_else_stays() {
        let (before, after) = TEXT.split_once("\n[aws]").unwrap();
        assert_eq!(add(TEXT, &entry()).unwrap(), format!("{before}\n{ADDED}\n[aws]{after}"));
        assert_eq!(add("", &entry()).unwrap(), ADDED);
        assert_eq!(add("[user]\nname = \"a\"\n", &entry()).unwrap(), format!("[user]\nname = \"a\"\n\n{ADDED}"));
    }

    #[test]
    fn groups_by_name_and_tag() {
        let entry = Entry {
            name: "d".to_owned(),
            group_name: Some("prod-*".to_owned()),
            tags: BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("a b".to_owned(), "c".to_owned())]),
            profile: Some("p".to_owned()),
            role_arn: Some("r".to_owned()),
            external_id: Some("e".to_owned()),
            families: vec!["ipv4".to_owned()],
            groups: vec!["l".to_owned()],
            ..Entry::default()
        };
        assert_eq!(
            add("", &entry).unwrap(),
            "[[resource]]\nname = \"d\"\ngroup_name = \"prod-*\"\ntag = { \"a b\" = \"c\", env = \"prod\" }\n\
             profile = \"p\"\nrole_arn = \"r\"\nexternal_id = \"e\"\nfamilies = [\"ipv4\"]\ngroups = [\"l\"]\n"
        );
    }

    #[test]
    fn a_resource_goes_with_its_comment() {
        let without = remove(TEXT, "b").unwrap().unwrap();
        let (before, rest) = TEXT.split_once("\n# the second").unwrap();
        let (_, after) = rest.split_once("\n[aws]").unwrap();
        assert_eq!(without, format!("{before}\n[aws]{after}"));
        assert_eq!(remove(TEXT, "c").unwrap(), None);
        assert_eq!(remove("", "c").unwrap(), None);
    }

    #[test]
    fn there_and_back() {
        for text in [TEXT, "", "[user]\nname = \"a\"\n", "resource = [{ name = \"a\", id = \"sg-1\" }]\n"] {
            let there = add(text, &entry()).unwrap();
            assert_eq!(remove(&there, &entry().name).unwrap().unwrap(), text);
        }
    }

    #[test]
    fn a_list_stays_a_list() {
        let text = "resource = [{ name = \"a\" }, { name = \"b\" }] # all\n";
        assert_eq!(remove(text, "a").unwrap().unwrap(), "resource = [ { name = \"b\" }] # all\n");
        assert!(add(text, &entry()).unwrap().contains("{ name = \"b\" }, { name = 'c \"x\"'"));
    }

    #[test]
    fn text_that_is_not_toml() {
        assert!(add("[[[", &entry()).is_err() && remove("[[[", "a").is_err());
    }
}
