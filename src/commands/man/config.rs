//! `eg-config(5)`: the page of the configuration file, from the table of keys in `docs/configuration.md`.

use super::{
    ManPage, docs,
    sections::{self, ManSection, section},
};

/// The word that asks for the page.
pub(super) const NAME: &str = "config";

const SUMMARY: &str = "the configuration file of eg";
const DESCRIPTION: &str = "A TOML file. `--config` names it, else `EG_CONFIG`, else it is `eg/config.toml` in \
    `XDG_CONFIG_HOME` (`~/.config`). `eg init` writes one, `eg resource add` adds to it, and `eg doctor` checks it. A \
    mistake is an error that names file, line, column and the accepted values; it never stops eg from closing rules.";
const EXAMPLE: &str = "\
[session]
default_duration = \"8h\"

[[resource]]
name = \"prod-api-sg\"
id = \"sg-0abc123def4567890\"
region = \"eu-west-1\"
ports = [\"tcp/22\", \"tcp/443\"]
";

pub(super) fn page(version: &str) -> ManPage {
    let mut all = vec![section("DESCRIPTION", DESCRIPTION, Vec::new())];
    all.extend(tables());
    let example = format!(".SH EXAMPLE\n.nf\n{}.fi\n", EXAMPLE.replace('-', "\\-"));
    let rest =
        [sections::environment(), sections::files(), sections::see_also(&["eg(1)", "eg-init(1)", "eg-doctor(1)"])];
    let head = format!(".TH eg-config 5 {version} eg eg\n.SH NAME\neg\\-config \\- {SUMMARY}\n");
    let roff = |sections: &[ManSection]| sections.iter().map(ManSection::roff).collect::<String>();
    let plain = |sections: &[ManSection]| sections.iter().map(ManSection::plain).collect::<Vec<_>>().join("\n");
    ManPage {
        file: "eg-config.5".to_owned(),
        source: format!("{head}{}{example}{}", roff(&all), roff(&rest)),
        text: format!("eg-config: {SUMMARY}\n\n{}\nEXAMPLE:\n{EXAMPLE}\n{}", plain(&all), plain(&rest)),
    }
}

/// One section for each table of the file, in the order of the documentation.
fn tables() -> Vec<ManSection> {
    let mut tables: Vec<ManSection> = Vec::new();
    for row in docs::rows("### Every key") {
        let [table, key, meaning, default, accepted] = row.as_slice() else { continue };
        let title = if table.is_empty() { "ABOVE ALL TABLES".to_owned() } else { table.replace('`', "") };
        let default = if default.contains("*required*") { sentence(default) } else { format!("Default: {default}") };
        let term = ((*key).to_owned(), format!("{}. {default}. Accepted: {accepted}.", sentence(meaning)));
        match tables.last_mut() {
            Some(last) if last.title == title => last.terms.push(term),
            _ => tables.push(section(&title, "", vec![term])),
        }
    }
    tables
}

/// The documentation's cells begin in lower case, or with emphasis.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_start_matches('*').chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
