//! Changes of a configuration's text that leave everything else as it is: comments, order, spaces. Pure.

use std::collections::BTreeMap;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, RawString, Table, TomlError, Value, value};

/// A `[[resource]]` to be written, without the keys that are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewResource {
    pub name: String,
    pub provider: Option<String>,
    pub kind: Option<String>,
    /// The keys that say which firewall is meant, with their values, in the order of their kind.
    pub target: Vec<(&'static str, String)>,
    pub group_name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    pub ports: Vec<String>,
    pub families: Vec<String>,
    pub groups: Vec<String>,
}

impl NewResource {
    /// Keys and values, in the order in which people read them.
    fn values(&self) -> Vec<(&'static str, Value)> {
        let text = |key, found: &Option<String>| found.as_ref().map(|text| (key, Value::from(text.as_str())));
        let list = |key, all: &[String]| {
            let items: Array = all.iter().map(String::as_str).collect();
            (!all.is_empty()).then(|| (key, Value::from(items)))
        };
        let tags: InlineTable = self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let head = [
            Some(("name", Value::from(self.name.as_str()))),
            text("provider", &self.provider),
            text("kind", &self.kind),
        ];
        let target = self.target.iter().map(|(key, found)| Some((*key, Value::from(found.as_str()))));
        let rest = [
            text("group_name", &self.group_name),
            (!self.tags.is_empty()).then(|| ("tag", Value::from(tags))),
            text("region", &self.region),
            text("profile", &self.profile),
            text("role_arn", &self.role_arn),
            text("external_id", &self.external_id),
            list("ports", &self.ports),
            list("families", &self.families),
            list("groups", &self.groups),
        ];
        head.into_iter().chain(target).chain(rest).flatten().collect()
    }
}

/// The text with one more `[[resource]]`, at its end.
pub fn add(text: &str, entry: &NewResource) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    if let Some(list) = document.get_mut("resource").and_then(Item::as_array_mut) {
        // `resource = [{ … }]` means the same; a list stays a list.
        list.push(entry.values().into_iter().collect::<InlineTable>());
        return Ok(with_line_ends_of(text, document.to_string()));
    }
    let mut tables = ArrayOfTables::new();
    tables.push(entry.values().into_iter().map(|(key, found)| (key, value(found))).collect());
    let mut block = DocumentMut::new();
    block.insert("resource", Item::ArrayOfTables(tables));
    let gap = match text {
        "" => "",
        ended if ended.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    Ok(with_line_ends_of(text, format!("{text}{gap}{block}")))
}

/// The text without the `[[resource]]` of this name and the comment right above it; `None` if the text has no such
/// resource.
pub fn remove(text: &str, name: &str) -> Result<Option<String>, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let is_it = |found: Option<&str>| found == Some(name);
    let Some(resources) = document.get_mut("resource") else { return Ok(None) };
    if let Some(list) = resources.as_array_mut() {
        let called = |one: &Value| is_it(one.as_inline_table().and_then(|table| table.get("name")?.as_str()));
        let Some(at) = list.iter().position(called) else { return Ok(None) };
        remove_value(list, at);
    } else if let Some(tables) = resources.as_array_of_tables_mut() {
        let called = |one: &Table| is_it(one.get("name").and_then(Item::as_str));
        let Some(at) = tables.iter().position(called) else { return Ok(None) };
        let gone = tables.remove(at);
        keep_earlier_comments(&mut document, &gone);
    }
    Ok(Some(with_line_ends_of(text, document.to_string())))
}

/// Ends every line as on Windows if the old text did: the parser turns all line ends into plain ones.
fn with_line_ends_of(before: &str, after: String) -> String {
    let lines = before.matches('\n').count();
    let all = lines > 0 && before.matches("\r\n").count() == lines;
    if all { after.replace("\r\n", "\n").replace('\n', "\r\n") } else { after }
}

/// Removes a value with its comments. The parser gives a value all text since the comma before it, but the rest of that
/// comma's line is about the value before, and stays, as do comments above a blank line. The comment behind the value's
/// own comma goes.
fn remove_value(list: &mut Array, at: usize) {
    let gone = list.remove(at);
    let decor = gone.decor();
    let (line, above) = first_line(text_of(decor.prefix()));
    let kept = above.map(|(lines, _)| above_blank_line(lines)).unwrap_or_default();
    let line = if line.contains('#') || above.is_none() { line } else { "" };
    match list.get(at).map(|next| text_of(next.decor().prefix()).to_owned()) {
        Some(own) => {
            let between = match (first_line(&own), above) {
                ((_, Some((lines, indent))), _) => format!("{}\n{kept}{lines}{indent}", line.trim_end()),
                ((_, None), Some((_, indent))) => format!("{line}\n{kept}{indent}"),
                ((_, None), None) => line.to_owned(),
            };
            list.iter_mut().skip(at).take(1).for_each(|next| next.decor_mut().set_prefix(between.as_str()));
        }
        None => {
            let own = format!("{}{}", text_of(decor.suffix()), text_of(Some(list.trailing())));
            list.set_trailing(match first_line(&own) {
                (_, Some((lines, indent))) => format!("{}\n{kept}{lines}{indent}", line.trim_end()),
                // Nothing may follow a comment on its line.
                _ if line.contains('#') || !kept.is_empty() => format!("{line}\n{kept}"),
                (own, None) => own.to_owned(),
            });
        }
    }
}

fn text_of(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// The first line; if the text has more, the further whole lines and the rest behind the last line end.
fn first_line(text: &str) -> (&str, Option<(&str, &str)>) {
    let Some((line, rest)) = text.split_once('\n') else { return (text, None) };
    (line, Some(rest.split_at(rest.rfind('\n').map_or(0, |end| end + 1))))
}

/// The comments above the last blank line of a text: they are not about the value or table below.
fn above_blank_line(text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let blank = lines.iter().rposition(|line| line.trim().is_empty()).unwrap_or(0);
    lines.into_iter().take(blank).collect()
}

/// Gives comments above a blank line to the next table: the parser counts all comments since the table before as those of
/// the removed one.
fn keep_earlier_comments(document: &mut DocumentMut, gone: &Table) {
    let kept = above_blank_line(text_of(gone.decor().prefix()));
    let after = gone.position().unwrap_or(isize::MAX);
    match next_table(document.as_table_mut(), after) {
        Some(next) => {
            let all = kept + text_of(next.decor().prefix());
            next.decor_mut().set_prefix(all);
        }
        None => {
            let all = kept + text_of(Some(document.trailing()));
            document.set_trailing(all);
        }
    }
}

/// The first table of the text after a position.
fn next_table(table: &mut Table, after: isize) -> Option<&mut Table> {
    let mut next: Option<&mut Table> = None;
    for (_, item) in table.iter_mut() {
        let inner: Vec<&mut Table> = match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
            Item::None | Item::Value(_) => Vec::new(),
        };
        for table in inner {
            let here = table.position().is_some_and(|position| position > after);
            let found = if here { Some(table) } else { next_table(table, after) };
            next = [next, found].into_iter().flatten().min_by_key(|table| table.position());
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Mine.\n[user]\nname = 'A'   # me\n\n# the first\n[[resource]]\nname = \"a\"\nid = \"sg-1\"\n  \
                        ports = [ \"tcp/22\" ]\n\n# the second\n[[resource]]\nname = \"b\" # bee\nid = \"sg-2\"\n\n[aws]\n\
                        description = \"full\"\n# the end\n";

    fn entry() -> NewResource {
        NewResource {
            name: "c \"x\"".to_owned(),
            target: vec![("id", "sg-3".to_owned())],
            region: Some("eu-west-1".to_owned()),
            ports: vec!["tcp/22".to_owned(), "icmp".to_owned()],
            ..NewResource::default()
        }
    }

    const ADDED: &str =
        "[[resource]]\nname = 'c \"x\"'\nid = \"sg-3\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\", \"icmp\"]\n";

    #[test]
    fn a_resource_comes_last_and_all_else_stays() {
        assert_eq!(add(TEXT, &entry()).unwrap(), format!("{TEXT}\n{ADDED}"));
        assert_eq!(add("", &entry()).unwrap(), ADDED);
        assert_eq!(add("# mine\n", &entry()).unwrap(), format!("# mine\n\n{ADDED}"));
        assert_eq!(add("[user]\nname = \"a\"", &entry()).unwrap(), format!("[user]\nname = \"a\"\n\n{ADDED}"));
    }

    #[test]
    fn groups_by_name_and_tag() {
        let entry = NewResource {
            name: "d".to_owned(),
            group_name: Some("prod-*".to_owned()),
            tags: BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("a b".to_owned(), "c".to_owned())]),
            profile: Some("p".to_owned()),
            role_arn: Some("r".to_owned()),
            external_id: Some("e".to_owned()),
            families: vec!["ipv4".to_owned()],
            groups: vec!["l".to_owned()],
            ..NewResource::default()
        };
        assert_eq!(
            add("", &entry).unwrap(),
            "[[resource]]\nname = \"d\"\ngroup_name = \"prod-*\"\ntag = { \"a b\" = \"c\", env = \"prod\" }\n\
             profile = \"p\"\nrole_arn = \"r\"\nexternal_id = \"e\"\nfamilies = [\"ipv4\"]\ngroups = [\"l\"]\n"
        );
    }

    #[test]
    fn another_kind_of_firewall() {
        let entry = NewResource {
            name: "web".to_owned(),
            kind: Some("waf-ip-set".to_owned()),
            target: vec![("scope", "regional".to_owned()), ("set_name", "office".to_owned()), ("id", "0a".to_owned())],
            ..NewResource::default()
        };
        let text = "[[resource]]\nname = \"web\"\nkind = \"waf-ip-set\"\nscope = \"regional\"\nset_name = \"office\"\n\
                    id = \"0a\"\n";
        assert_eq!(add("", &entry).unwrap(), text);
        let entry = NewResource { provider: Some("script".to_owned()), kind: None, target: Vec::new(), ..entry };
        assert_eq!(add("", &entry).unwrap(), "[[resource]]\nname = \"web\"\nprovider = \"script\"\n");
    }

    #[test]
    fn a_resource_goes_with_its_comment() {
        let without = remove(TEXT, "b").unwrap().unwrap();
        let (before, rest) = TEXT.split_once("\n# the second").unwrap();
        let (_, after) = rest.split_once("\n[aws]").unwrap();
        assert_eq!(without, format!("{before}\n[aws]{after}"));
        let first = remove(TEXT, "a").unwrap().unwrap();
        assert!(first.starts_with("# Mine.\n[user]\nname = 'A'   # me\n\n# the second\n[[resource]]\n"), "{first}");
        assert_eq!(remove(TEXT, "c").unwrap(), None);
        assert_eq!(remove("", "c").unwrap(), None);
    }

    #[test]
    fn comments_above_a_blank_line_stay() {
        let a = "[[resource]]\nname = \"a\"\n";
        for (text, without) in [
            (format!("# Mine.\n\n{a}"), "# Mine.\n"),
            (format!("# Mine.\n\n# a\n{a}# end\n"), "# Mine.\n# end\n"),
            (format!("[user]\n\n# old\n\n# a\n{a}\n[aws]\nx = 1\n"), "[user]\n\n# old\n\n[aws]\nx = 1\n"),
            (
                format!("[x]\n\n# old\n\n{a}[resource.tag]\ny = 1\n\n[aws.z]\n[user]\n"),
                "[x]\n\n# old\n\n[aws.z]\n[user]\n",
            ),
        ] {
            assert_eq!(remove(&text, "a").unwrap().unwrap(), without, "{text}");
        }
    }

    #[test]
    fn there_and_back() {
        for text in [TEXT, "", "# mine\n", "[user]\nname = \"a\"\n", "resource = [{ name = \"a\", id = \"sg-1\" }]\n"] {
            let there = add(text, &entry()).unwrap();
            assert_eq!(remove(&there, &entry().name).unwrap().unwrap(), text);
        }
    }

    #[test]
    fn a_list_stays_a_list() {
        let text = "resource = [{ name = \"a\" }, { name = \"b\" }] # all\n";
        assert_eq!(remove(text, "a").unwrap().unwrap(), "resource = [{ name = \"b\" }] # all\n");
        assert!(add(text, &entry()).unwrap().contains("{ name = \"b\" }, { name = 'c \"x\"'"));
    }

    #[test]
    fn comments_in_a_list() {
        let text = "resource = [ # all\n  # a\n  { name = \"a\" }, # about a\n\n  # old\n\n  # b\n  { name = \"b\" }, # about \
                    b\n  # c\n  { name = \"c\" }, # about c\n  # end\n]\n";
        for (name, without) in [
            ("a", "  # a\n  { name = \"a\" }, # about a\n"),
            ("b", "\n  # b\n  { name = \"b\" }, # about b\n"),
            ("c", "  # c\n  { name = \"c\" }, # about c\n"),
        ] {
            assert_eq!(remove(text, name).unwrap().unwrap(), text.replace(without, ""), "{name}");
        }
        for (text, expected) in [
            ("[{ name = \"a\" }, { name = \"b\" } ]", "[{ name = \"a\" } ]"),
            ("[\n  { name = \"a\" },\n  { name = \"b\" }\n]", "[\n  { name = \"a\" }\n]"),
            ("[\n  { name = \"a\" }, # a\n  { name = \"b\" } # b\n]", "[\n  { name = \"a\" } # a\n]"),
            ("[\n  { name = \"a\" }, # a\n  { name = \"b\" }]", "[\n  { name = \"a\" } # a\n]"),
            ("[\n  { name = \"b\" }, # b\n  { name = \"a\" }]", "[\n  { name = \"a\" }]"),
            ("[\n  { name = \"b\" }, { name = \"a\" }\n]", "[\n  { name = \"a\" }\n]"),
            ("[{ name = \"b\" }, # b\n  { name = \"a\" }]", "[\n  { name = \"a\" }]"),
            ("[ { name = \"b\" } ]", "[ ]"),
            ("[\n  { name = \"b\" }, # b\n]", "[\n]"),
        ] {
            let found = remove(&format!("resource = {text}\n"), "b").unwrap().unwrap();
            assert_eq!(found, format!("resource = {expected}\n"), "{text}");
            found.parse::<DocumentMut>().unwrap();
        }
    }

    #[test]
    fn line_ends_stay() {
        let windows = |text: &str| text.replace('\n', "\r\n");
        let list = "resource = [\n  { name = \"a\" }, # a\n\n  # old\n\n  # b\n  { name = \"b\" },\n]\n";
        for text in [TEXT, list] {
            let without = remove(text, "b").unwrap().unwrap();
            assert_eq!(remove(&windows(text), "b").unwrap().unwrap(), windows(&without));
            assert_eq!(add(&windows(text), &entry()).unwrap(), windows(&add(text, &entry()).unwrap()));
        }
    }

    #[test]
    fn text_that_is_not_toml() {
        assert!(add("[[[", &entry()).is_err() && remove("[[[", "a").is_err());
    }
}
