//! The sections that clap does not make: EXIT STATUS, ENVIRONMENT, FILES, SEE ALSO.

use super::docs;
use std::fmt::Write;

/// A section in Markdown: some lines, then terms with their meanings.
pub(super) struct ManSection {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) terms: Vec<(String, String)>,
}

impl ManSection {
    pub(super) fn roff(&self) -> String {
        let mut text = format!(".SH \"{}\"\n", roff(&self.title));
        if !self.lead.is_empty() {
            text += &format!("{}\n", roff(&self.lead));
        }
        for (term, meaning) in &self.terms {
            text += &format!(".TP\n{}\n{}\n", roff(term), roff(meaning));
        }
        text
    }

    /// The section as plain text.
    pub(super) fn plain(&self) -> String {
        let mut text = format!("{}:\n", self.title);
        if !self.lead.is_empty() {
            text += &format!("  {}\n", plain(&self.lead));
        }
        for (term, meaning) in &self.terms {
            text += &format!("  {}\n          {}\n", plain(term), plain(meaning));
        }
        text
    }
}

fn plain(markdown: &str) -> String {
    docs::pieces(markdown).into_iter().map(|(_, piece)| piece).collect()
}

/// Bold for code. Escapes the characters that have a meaning in roff.
fn roff(markdown: &str) -> String {
    let mut text = String::new();
    for (code, piece) in docs::pieces(markdown) {
        let safe = piece.replace('\\', "\\e").replace('-', "\\-");
        // Writing to a string cannot fail.
        if code {
            write!(text, "\\fB{safe}\\fR").ok()
        } else {
            write!(text, "{safe}").ok()
        };
    }
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The sections at the end of a command's page. The page of `eg` itself has them all, and the others refer to it.
pub(super) fn of_command(name: &str) -> Vec<ManSection> {
    if name == "eg" {
        return vec![
            exit_status(),
            environment(),
            files(),
            see_also(&["eg-config(5)", "eg-session(1)", "eg-doctor(1)"]),
        ];
    }
    vec![exit_status(), see_also(&["eg(1)", "eg-config(5)"])]
}

fn exit_status() -> ManSection {
    section("EXIT STATUS", "", pairs("## Exit status"))
}

pub(super) fn environment() -> ManSection {
    section("ENVIRONMENT", "", pairs("### What the environment says"))
}

pub(super) fn files() -> ManSection {
    let terms = [
        ("`~/.config/eg/config.toml`", "The configuration; see `eg-config`(5)."),
        (
            "`~/.local/state/eg/state.db`",
            "The record of sessions and rules, with files in the same folder that begin with its name.",
        ),
        ("`/etc/eg/policy.toml`", "Limits that the administrator of this machine sets."),
        (
            "`~/.config/systemd/user/eg-reconcile-*.timer`",
            "The job that closes sessions on time, where `eg schedule install` uses systemd.",
        ),
        ("`~/.aws/config`, `~/.aws/credentials`", "Your AWS profiles."),
    ];
    let lead = "On macOS, the first two lie in `~/Library/Application Support/eg`. `XDG_CONFIG_HOME` and `XDG_STATE_HOME` move them.";
    section("FILES", lead, terms.iter().map(|(path, meaning)| ((*path).to_owned(), (*meaning).to_owned())).collect())
}

pub(super) fn see_also(pages: &[&str]) -> ManSection {
    section("SEE ALSO", &pages.join(", "), Vec::new())
}

pub(super) fn section(title: &str, lead: &str, terms: Vec<(String, String)>) -> ManSection {
    ManSection { title: title.to_owned(), lead: lead.to_owned(), terms }
}

fn pairs(heading: &str) -> Vec<(String, String)> {
    let both = |row: Vec<&str>| Some(((*row.first()?).to_owned(), (*row.get(1)?).to_owned()));
    docs::rows(heading).into_iter().filter_map(both).collect()
}
