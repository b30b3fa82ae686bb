//! Turns the parser's refusals into the form of every error of `eg`: the mistake, then what to do. The parser proposes words
//! that look alike; tables here answer words of other tools that users are known to try.

use crate::error::{CommandError, Kind};
use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::ffi::OsString;

/// The error for a refusal of `args`. `rendered` is the parser's own text, with the user's arguments made safe to print.
pub fn error(refused: &clap::Error, rendered: &str, args: &[OsString], eg: Command) -> CommandError {
    let path = command_in(args, eg);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let see = format!("see: {} --help", [&["eg"], path.as_slice()].concat().join(" "));
    if refused.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CommandError::new(Kind::Usage, "no command was given").hint(see);
    }
    let word = invalid_word(refused).unwrap_or_default();
    let hints = match tip(refused.kind(), &path, &word) {
        Some(ours) => vec![ours],
        None => tips_of_parser(rendered),
    };
    let error = CommandError { kind: Kind::Usage, message: message_in(rendered), hints };
    error.hint(see)
}

/// Options that every command has, and whose value is the next word.
const WITH_VALUE: [&str; 6] = ["-o", "--output", "--config", "--state", "--lock-wait", "--color"];

/// The command that the words name, up to the first word that names none.
fn command_in(args: &[OsString], eg: Command) -> Vec<String> {
    let mut command = eg;
    let mut path = Vec::new();
    let mut words = args.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            let Some(below) = command.find_subcommand(word).cloned() else { break };
            path.push(word.to_owned());
            command = below;
        }
    }
    path
}

/// The first paragraph, on one line.
fn message_in(rendered: &str) -> String {
    let paragraph = rendered.trim().lines().take_while(|line| !line.trim().is_empty());
    let lines: Vec<&str> = paragraph.map(str::trim).collect();
    let (first, rest) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let first = first.trim_start_matches("error: ");
    let message = if rest.is_empty() { first.to_owned() } else { format!("{first} {}", rest.join(", ")) };
    message.replace(">...", ">")
}

/// The parser's own proposals, without the one to pass a mistyped option on as a value.
fn tips_of_parser(rendered: &str) -> Vec<String> {
    let tips = rendered.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let useful = tips.filter(|tip| !tip.starts_with("to pass "));
    useful.map(|tip| tip.replace('\'', "")).collect()
}

fn invalid_word(refused: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
    let value = kinds.into_iter().find_map(|kind| refused.get(kind))?;
    match value {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) => words.first().cloned(),
        _ => None,
    }
}

/// The proposal for a word that is not known at this place.
fn tip(kind: ErrorKind, path: &[&str], word: &str) -> Option<String> {
    match kind {
        ErrorKind::InvalidSubcommand => command_meant(path, word).map(|meant| format!("did you mean: {meant}")),
        ErrorKind::UnknownArgument if word.starts_with('-') => option_meant(path, word).map(str::to_owned),
        ErrorKind::UnknownArgument => argument_meant(path, word),
        ErrorKind::MissingRequiredArgument if *path == ["session", "run"] => {
            Some("the command comes after --, as in: eg session run -- ssh host".to_owned())
        }
        _ => None,
    }
}

/// | where | words | meant |
/// |---|---|---|
/// | `eg` | what other tools call the commands | the command of `eg` |
/// | `eg session`, `resource`, `schedule` | the verbs of other tools | the verb of `eg` |
fn command_meant(path: &[&str], word: &str) -> Option<&'static str> {
    Some(match (path, word) {
        ([], "configure" | "config" | "create" | "new") => "eg init",
        ([], "version") => "eg --version",
        ([], "run" | "exec" | "ssh") => "eg session run -- COMMAND",
        ([], "ensure") => "eg session ensure",
        ([], "begin" | "up" | "allow" | "grant" | "authorize") => "eg session start",
        ([], "end" | "down" | "kill" | "cancel" | "delete" | "revoke" | "deny") => "eg session stop",
        ([], "renew" | "prolong") => "eg session extend",
        ([], "show" | "describe" | "info") => "eg status, or: eg session get ID",
        ([], "logs" | "history" | "audit" | "events") => "eg log",
        ([], "check" | "diagnose" | "test") => "eg doctor",
        ([], "cron" | "timer" | "install") => "eg schedule install",
        ([], "resources" | "groups" | "add") => "eg resource list, or: eg resource add",
        ([], "watch" | "dashboard" | "top") => "eg status --watch, or: eg reconcile --watch",
        ([], "sync" | "apply") => "eg reconcile",
        (["session"], "create" | "begin" | "new" | "add") => "eg session start",
        (["session"], "delete" | "end" | "cancel" | "kill" | "revoke" | "remove") => "eg session stop",
        (["session"], "renew" | "prolong") => "eg session extend",
        (["session"], "status" | "describe" | "info") => "eg session get ID",
        (["session"], "lst") => "eg session list",
        (["resource"], "create" | "new") => "eg resource add",
        (["resource"], "delete" | "del") => "eg resource remove",
        (["resource"], "show" | "get") => "eg resource list",
        (["resource"], "check" | "test") => "eg resource verify",
        (["resource"], "scan" | "find" | "search") => "eg resource discover",
        (["schedule"], "status" | "list" | "ls") => "eg schedule show",
        (["schedule"], "uninstall" | "delete" | "disable" | "stop") => "eg schedule remove",
        (["schedule"], "add" | "enable" | "start" | "create") => "eg schedule install",
        _ => return None,
    })
}

/// True for a command that opens a session.
fn opens(path: &[&str]) -> bool {
    matches!(path, ["session", "start" | "ensure" | "run"] | ["start"])
}

/// | where | options | meant |
/// |---|---|---|
/// | everywhere | formats, colours, noise | the global option |
/// | where a session is opened | time, place, address | the option of `eg`, or the configuration |
/// | where a session is named | an option for its id | the id alone |
fn option_meant(path: &[&str], word: &str) -> Option<&'static str> {
    let name = word.split('=').next().unwrap_or(word);
    Some(match (path, name) {
        (_, "--json" | "--format") => "for JSON: -o json",
        (_, "--no-color" | "--no-colour") => "for no colours: --color never",
        (_, "--debug" | "--trace") => "to see every call: -vv",
        (["session", "extend"] | ["extend"], "--by" | "--for" | "--time") => {
            "by how long: --hours 2, or --duration 90m"
        }
        (_, "--hours" | "--for" | "--time" | "--ttl" | "--timeout" | "--expires" | "--expiry") if opens(path) => {
            "for how long: --duration 2h, or --until 18:00"
        }
        (_, "--name" | "--resource" | "--resources" | "--group" | "--target" | "--label" | "--tag") if opens(path) => {
            "choose resources with: --only NAME"
        }
        (_, "--ip" | "--address" | "--cidr") if opens(path) => "name an address with: --ipv4 or --ipv6",
        (_, "--profile" | "--region" | "--role-arn") if opens(path) => {
            "profile and region stand in the configuration: eg resource list"
        }
        (["session", "get" | "stop" | "extend"] | ["get" | "stop" | "extend"], "--id" | "--session") => {
            "give the id alone, as in: eg session stop a1b2"
        }
        (["session", "run" | "ensure"], "--no-wait" | "--atomic") => "leave it out: that is settled for this command",
        (["log"], "--lines" | "--tail" | "--limit") => "for the last 50 events: -n 50",
        _ => return None,
    })
}

/// A word where no word is expected.
fn argument_meant(path: &[&str], word: &str) -> Option<String> {
    match path {
        ["session", "run"] => Some(format!("the command comes after --, as in: eg session run -- {word}")),
        ["sandbox"] => Some(format!("the command comes after --, as in: eg sandbox -- {word}")),
        path if opens(path) => Some(format!("to open one resource: --only {word}")),
        ["session", "extend"] | ["extend"] => Some(format!("by how long: --duration {word}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};

    fn refused(line: &str) -> (String, Vec<String>) {
        let parsed = Cli::try_parse_from(line.split(' ')).expect_err(line);
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = error(&parsed, &parsed.render().to_string(), &args, Cli::command());
        (error.message, error.hints)
    }

    #[test]
    fn what_people_mean() {
        for (line, hint) in [
            ("eg logs", "did you mean: eg log"),
            ("eg version", "did you mean: eg --version"),
            ("eg session delete a1b2", "did you mean: eg session stop"),
            ("eg schedule uninstall", "did you mean: eg schedule remove"),
            ("eg session start --hours 2", "for how long: --duration 2h, or --until 18:00"),
            ("eg start --json", "for JSON: -o json"),
            ("eg session start --ip=1.2.3.4", "name an address with: --ipv4 or --ipv6"),
            ("eg session start api", "to open one resource: --only api"),
            ("eg session extend a1b2 2h", "by how long: --duration 2h"),
            ("eg session stop --id a1b2", "give the id alone, as in: eg session stop a1b2"),
            ("eg session start --durration 1h", "a similar argument exists: --duration"),
            ("eg sesion list", "a similar subcommand exists: session"),
        ] {
            let (_, hints) = refused(line);
            assert_eq!(hints.first().map(String::as_str), Some(hint), "{line}: {hints:?}");
            assert!(hints.last().is_some_and(|last| last.starts_with("see: eg")), "{line}: {hints:?}");
        }
    }

    #[test]
    fn one_line_and_no_paragraph() {
        for line in ["eg", "eg session", "eg session extend a1b2", "eg --output yaml status", "eg session start -4 -6"]
        {
            let (message, hints) = refused(line);
            let all = [&[message.clone()][..], &hints].concat();
            assert!(all.iter().all(|text| !text.contains('\n') && !text.contains("Usage:")), "{line}: {all:?}");
            assert!(!message.is_empty() && !message.starts_with("error"), "{line}: {message}");
        }
        for (line, see) in [
            ("eg start --port gopher", "see: eg start --help"),
            ("eg -o json session list --limit x", "see: eg session list --help"),
            ("eg --state session status --bogus", "see: eg status --help"),
            ("eg --lock-wait x reconcile", "see: eg reconcile --help"),
        ] {
            assert_eq!(refused(line).1.last().map(String::as_str), Some(see), "{line}");
        }
        let (message, hints) = refused("eg session extend a1b2");
        assert!(message.starts_with("the following required arguments were not provided: <"), "{message}");
        assert_eq!(hints, ["see: eg session extend --help"]);
    }
}
