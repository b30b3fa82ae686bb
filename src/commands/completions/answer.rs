//! The answer to a shell that completes a line: commands and options, and the sessions and resources of this machine. Reads
//! without a lock, makes nothing, and prints no errors, which would land in the middle of the user's line.

use crate::{
    commands::resource::add::short_name,
    host::{env::Env, paths},
    ui::{
        json::SCHEMAS,
        session::{View, short_ids},
        time::Zone,
    },
};
use clap::{Arg, Command};
use clap_complete::{
    engine::{ArgValueCandidates, CompletionCandidate},
    env::{EnvCompleter, Shells},
};
use eg_config::{file::ConfigFiles, settings::Resource};
use eg_model::session::record::{Session, SessionStatus};
use eg_providers::{aws::PROVIDER, kinds, kinds_of};
use eg_state::{Filter, LastRuns, Store};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The variable in which the script of `eg completions` names the shell that asks.
pub const ASKS: &str = "EG_COMPLETE";

/// The most sessions that have ended to offer.
const ENDED_SESSIONS: usize = 20;

pub fn shell(name: &str) -> Option<&'static dyn EnvCompleter> {
    const SHELLS: Shells<'static> = Shells::builtins();
    SHELLS.0.iter().copied().find(|shell| shell.name() == name)
}

/// The answer to a shell, if one asks: its script calls `eg -- WORDS` with [`ASKS`] in the environment.
pub fn answer(env: &Env, eg: impl FnOnce() -> Command) -> Option<String> {
    let shell = shell(env.var(ASKS)?)?;
    let (dashes, words) = env.args.get(1..)?.split_first()?;
    if dashes != "--" || words.is_empty() {
        return None;
    }
    let mut answer = Vec::new();
    let here = env.absolute(Path::new("."));
    // Half an answer is worse than none.
    match shell.write_complete(&mut command(env, words, eg()), words.to_vec(), Some(&here), &mut answer) {
        Ok(()) => Some(String::from_utf8_lossy(&answer).into_owned()),
        Err(_) => Some(String::new()),
    }
}

/// The command line, with candidates for its values.
fn command(env: &Env, words: &[OsString], eg: Command) -> Command {
    let path = |flag| option(words, flag).map(PathBuf::from);
    let here = Arc::new(Here {
        state: paths::state(env, path("--state").as_deref()).ok().map(|found| found.path),
        config: paths::config(env, path("--config").as_deref()).ok().map(|found| found.path),
        env: env.clone(),
    });
    with_values(eg, &[], &here)
}

/// The value of an option among the words so far, which may not parse yet.
fn option(words: &[OsString], flag: &str) -> Option<OsString> {
    let joined = |word: &OsString| Some(word.to_str()?.strip_prefix(flag)?.strip_prefix('=')?.into());
    let after = words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1)).cloned();
    after.or_else(|| words.iter().find_map(joined))
}

fn with_values(command: Command, path: &[&str], here: &Arc<Here>) -> Command {
    let values = |arg: Arg| match value(path, &arg) {
        None => arg,
        Some(value) => {
            let here = Arc::clone(here);
            arg.add(ArgValueCandidates::new(move || here.candidates(value)))
        }
    };
    command.mut_args(values).mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        with_values(sub, &[path, &[&name]].concat(), here)
    })
}

/// The kinds of values that come from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// Sessions that can be extended.
    Live,
    /// Sessions that can be stopped.
    Unended,
    Session,
    Resource,
    /// Names and labels of resources.
    ResourceOrLabel,
    Schema,
    Status,
    /// Kinds of firewall.
    Kind,
    /// Those that an account can be searched for.
    AwsKind,
}

fn value(path: &[&str], arg: &Arg) -> Option<Value> {
    match (path, arg.get_id().as_str()) {
        (["session", "extend"] | ["extend"], "id") => Some(Value::Live),
        (["session", "stop"] | ["stop"], "id") => Some(Value::Unended),
        (["session", _] | ["get"], "id") | (_, "session") => Some(Value::Session),
        (["session", "list"] | ["list"], "status") => Some(Value::Status),
        (["resource", "add"], "kind") => Some(Value::Kind),
        (["resource", "discover"] | ["sweep"], "kind") => Some(Value::AwsKind),
        (["resource", "remove"], "name") => Some(Value::Resource),
        (["schema"], "name") => Some(Value::Schema),
        (["resource", "verify"], "name") | (_, "only") => Some(Value::ResourceOrLabel),
        _ => None,
    }
}

/// This machine's sessions and resources.
struct Here {
    env: Env,
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Here {
    fn candidates(&self, value: Value) -> Vec<CompletionCandidate> {
        let words = |words: BTreeSet<String>| words.into_iter().map(CompletionCandidate::new).collect();
        match value {
            Value::Live => self.sessions(|session| session.status.is_live()),
            Value::Unended => self.sessions(|session| !session.status.is_ended()),
            Value::Session => self.sessions(|_| true),
            Value::Resource => words(self.resources(false).unwrap_or_default()),
            Value::ResourceOrLabel => words(self.resources(true).unwrap_or_default()),
            Value::Schema => SCHEMAS.iter().map(|(name, _)| CompletionCandidate::new(*name)).collect(),
            Value::Kind => kinds().map(|kind| CompletionCandidate::new(short_name(kind))).collect(),
            Value::AwsKind => kinds_of(PROVIDER).map(|kind| CompletionCandidate::new(kind.name)).collect(),
            Value::Status => SessionStatus::ALL.iter().map(|one| CompletionCandidate::new(one.as_str())).collect(),
        }
    }

    fn sessions(&self, wanted: impl Fn(&Session) -> bool) -> Vec<CompletionCandidate> {
        let mut sessions = self.recorded().unwrap_or_default();
        sessions.retain(wanted);
        let view = View { now: self.env.now(), zone: Zone::utc(), runs: LastRuns::default(), columns: None };
        let help = |session: &Session| format!("{}, {}", session.status, view.remaining(session));
        let ids = short_ids(&sessions).into_iter().zip(&sessions);
        ids.map(|(id, session)| CompletionCandidate::new(id).help(Some(help(session).into()))).collect()
    }

    fn recorded(&self) -> Option<Vec<Session>> {
        let store = Store::open_read_only(self.state.as_ref()?).ok()??;
        let listing =
            store.sessions(&Filter { statuses: None, limit: Some(ENDED_SESSIONS), ..Filter::default() }).ok()?;
        Some(listing.sessions)
    }

    fn resources(&self, labels: bool) -> Option<BTreeSet<String>> {
        let path = self.config.as_ref()?;
        let files = ConfigFiles::begin();
        let settings = files.load(&files.read(path).ok()?, path).ok()?;
        let all = settings.resources.into_iter().chain(settings.selections.into_iter().map(|one| one.like));
        let names = |resource: Resource| {
            let labels = resource.groups.into_iter().filter(move |_| labels);
            std::iter::once(resource.name).chain(labels)
        };
        Some(all.flat_map(names).filter(|name| is_plain_word(name)).collect())
    }
}

/// True if every shell takes the word literally. Shells insert a completion unquoted, and the configuration may be another
/// person's: a `$(…)` in a name would run at the next Enter.
fn is_plain_word(word: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._-:=@,+".contains(c);
    !word.is_empty() && !word.starts_with(['-', '=']) && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn options_are_found_in_a_line_that_is_being_typed() {
        for (line, expected) in [
            ("eg --state a.db session get", Some("a.db")),
            ("eg --state=a.db session get", Some("a.db")),
            ("eg session get --state", None),
            ("eg session get --stat a.db", None),
            ("eg session get", None),
        ] {
            assert_eq!(option(&words(line), "--state"), expected.map(OsString::from), "{line}");
        }
    }

    #[test]
    fn words_that_no_shell_looks_into() {
        for plain in ["prod-api-sg", "a.b_c/d:e=f@g,h+1", "é漢"] {
            assert!(is_plain_word(plain), "{plain}");
        }
        for other in [
            "",
            "a b",
            "$(id)",
            "`id`",
            "a;b",
            "a&b",
            "it's",
            "~",
            "a*",
            "a\tb",
            "-x",
            "=ls",
            "a\u{200b}b",
            "a\\b",
            "a|b",
        ] {
            assert!(!is_plain_word(other), "{other}");
        }
    }

    /// Otherwise a renamed argument would silently lose its values.
    #[test]
    fn every_kind_of_value_is_offered_somewhere() {
        fn found(command: &Command, path: &[&str]) -> Vec<Value> {
            let own = command.get_arguments().filter_map(|arg| value(path, arg));
            let below = command.get_subcommands().flat_map(|sub| found(sub, &[path, &[sub.get_name()]].concat()));
            own.chain(below).collect()
        }
        let found = found(&Cli::command(), &[]);
        for value in [
            Value::Live,
            Value::Unended,
            Value::Session,
            Value::Resource,
            Value::ResourceOrLabel,
            Value::Schema,
            Value::Status,
        ] {
            assert!(found.contains(&value), "{value:?}");
        }
    }
}
