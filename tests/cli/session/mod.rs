//! The commands that a person types, seen from outside: what they print, how they end, and what they leave behind.

mod detection;
mod given;
mod inputs;
mod listing;
mod local;
mod output;
mod preflight;
mod readme;
mod said;
mod start;
mod stop;
mod transcript;

use crate::harness::{Installation, Outcome, World};
use serde_json::Value;

/// What a person saw, command by command, for a snapshot.
pub(crate) struct Tale<'w> {
    here: &'w Installation,
    text: String,
}

impl<'w> Tale<'w> {
    pub(crate) fn new(here: &'w Installation) -> Self {
        Self { here, text: String::new() }
    }

    /// Runs a command and keeps what it said.
    pub(crate) fn eg(&mut self, args: &[&str]) -> Outcome {
        let outcome = self.here.eg(args);
        self.add(args, &outcome);
        outcome
    }

    /// Keeps what a command said that was run in another way.
    pub(crate) fn add(&mut self, args: &[&str], outcome: &Outcome) {
        // Short ids have names once the whole ids were seen.
        self.here.eg(&["session", "list", "--limit", "0", "--output", "json"]).name_all_but_rules();
        let shown: Vec<_> = args.iter().map(|arg| shown_arg(arg)).collect();
        self.text += &format!("$ eg {}\n{}\n", shown.join(" "), readable(outcome));
    }

    /// Gives a name to something that differs from run to run.
    pub(crate) fn name(&mut self, text: &str, name: &str) {
        self.text = self.text.replace(text, name);
    }

    /// Replaces the rest of each line after this text.
    pub(crate) fn shorten(&mut self, text: &str, name: &str) {
        let short = |line: &str| match line.split_once(text) {
            Some((before, _)) => format!("{before}{text}{name}\n"),
            None => format!("{line}\n"),
        };
        self.text = self.text.lines().map(short).collect();
    }

    pub(crate) fn end(self, name: &str) {
        snapshot(name, &self.text);
    }
}

/// Ids differ from run to run, so does the directory of the test.
fn shown_arg(arg: &str) -> String {
    let id = arg.len() >= 4
        && arg.contains(|c: char| c.is_ascii_hexdigit())
        && arg.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if id {
        format!("[ID, {} characters]", arg.len())
    } else if arg.starts_with('/') {
        format!("[PATH]/{}", arg.rsplit('/').next().unwrap())
    } else if arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || c.is_control()) {
        format!("{arg:?}")
    } else {
        arg.to_owned()
    }
}

/// What a machine without a scheduler is to do.
pub(crate) const WITHOUT_SCHEDULER: &str =
    "have something run this every minute: eg reconcile --timer (the whole line: eg schedule show --with cron)";

/// Targets are worked on at once, so the lines about their grants come in any order, and so do services' answers.
pub(crate) fn readable(outcome: &Outcome) -> String {
    // Machines with a scheduler say the shorter of the two.
    let text = outcome.normalised().replace(env!("CARGO_BIN_EXE_eg"), "[EG]");
    let text = text.replace(WITHOUT_SCHEDULER, "run: eg schedule install");
    let is_grant = |line: &str| {
        let families = [" IPv4: ", " IPv4 ", " IPv6: ", " IPv6 "];
        line.starts_with("  ") && families.iter().any(|family| line.contains(family))
    };
    let mut lines: Vec<String> = text.lines().map(answers_in_order).collect();
    for group in lines.chunk_by_mut(|a, b| is_grant(a) && is_grant(b)) {
        group.sort();
    }
    lines.join("\n") + "\n"
}

fn answers_in_order(line: &str) -> String {
    const SERVICE: &str = "http://127.0.0.1:PORT/: ";
    let Some((before, answers)) = line.split_once(SERVICE).filter(|_| line.matches(SERVICE).count() > 1) else {
        return line.to_owned();
    };
    let (answers, after) =
        answers.split_once("; IPv6: ").map_or((answers, String::new()), |(a, b)| (a, format!("; IPv6: {b}")));
    let (answers, after) = answers.strip_suffix(')').map_or((answers, after), |rest| (rest, ")".to_owned()));
    let mut list: Vec<_> = answers.split(&format!("; {SERVICE}")).collect();
    list.sort_unstable();
    format!("{before}{SERVICE}{}{after}", list.join(&format!("; {SERVICE}")))
}

pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../../snapshots");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Starts a session; its JSON.
#[track_caller]
pub(crate) fn start(here: &Installation, more: &[&str]) -> Value {
    let args = [&["--output", "json", "session", "start"], more].concat();
    here.eg(&args).expect_code(0).json_as("session")
}

/// Starts a session; its id.
#[track_caller]
pub(crate) fn start_id(here: &Installation, more: &[&str]) -> String {
    start(here, more)["id"].as_str().unwrap().to_owned()
}

/// A session as it is on record.
#[track_caller]
pub(crate) fn get(here: &Installation, id: &str) -> Value {
    here.eg(&["--output", "json", "session", "get", id]).expect_code(0).json_as("session")
}

/// The first part of stderr that starts with `error: `.
pub(crate) fn error_of(outcome: &Outcome) -> String {
    let line = outcome.stderr.lines().find_map(|line| line.strip_prefix("error: "));
    line.unwrap_or_else(|| panic!("no error in\n{outcome}")).to_owned()
}

/// The default configuration and one more resource whose group nobody made.
pub(crate) fn config_with_missing_group(world: &World) -> String {
    world.default_config() + &missing_group()
}

pub(crate) fn missing_group() -> String {
    World::resource("typo-sg", "sg-0123456789abcdef0", crate::harness::REGION, &["tcp/22"], "groups = [\"bad\"]\n")
}
