//! What a program gets, and what the ends of several mean.

use super::directory::Direction;
use crate::{
    program::{Program, Ran},
    types::Authorize,
};
use eg_model::{
    failure::{Failure, FailureClass},
    net::permission::Permission,
    tags::{LEASE_PREFIX, SESSION},
    text::escape_controls,
};
use std::{path::Path, time::Duration};

/// The most characters of a complaint in a failure: its end.
const COMPLAINT_CHARS: usize = 300;

/// The variables of a program, besides a fixed `PATH` and `LC_ALL`. Nothing of the environment of `eg` gets in.
///
/// | variable | value | set for |
/// |---|---|---|
/// | `EG_ACTION` | `apply`, `revoke` or `observe` | all |
/// | `EG_DIRECTORY` | the directory of the scripts | all |
/// | `EG_CIDR` | `203.0.113.42/32`, as the first argument | apply, revoke |
/// | `EG_ADDRESS` | `203.0.113.42` | apply, revoke |
/// | `EG_FAMILY` | `ipv4` or `ipv6` | apply, revoke |
/// | `EG_DESCRIPTION` | `eg alice@laptop session a1b2c3d4`, as the second argument | apply |
/// | `EG_SESSION` | the id of the session | apply |
/// | `EG_EXPIRES` | the end of the session, RFC 3339 UTC; a later extension is not told | apply |
pub fn program<'a>(
    path: &'a Path,
    directory: &str,
    direction: Direction,
    permission: &Permission,
    call: Option<&Authorize>,
    time: Duration,
) -> Program<'a> {
    let cidr = permission.cidr();
    let family = if cidr.addr().is_ipv4() { "ipv4" } else { "ipv6" };
    let mut env = vec![
        ("EG_ACTION", direction.word().to_owned()),
        ("EG_DIRECTORY", directory.to_owned()),
        ("EG_CIDR", cidr.to_string()),
        ("EG_ADDRESS", cidr.addr().to_string()),
        ("EG_FAMILY", family.to_owned()),
    ];
    let mut args = vec![cidr.to_string()];
    if let Some(call) = call {
        let tag = |wanted: &dyn Fn(&str) -> bool| {
            call.tags.iter().find(|(key, _)| wanted(key)).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        env.push(("EG_DESCRIPTION", call.description.clone()));
        env.push(("EG_SESSION", tag(&|key| key == SESSION)));
        env.push(("EG_EXPIRES", tag(&|key| key.starts_with(LEASE_PREFIX))));
        args.push(call.description.clone());
    }
    Program { path, args, env, input: None, output_bytes: 0, time }
}

/// The program `observe`. An answer is as long as some ten thousand networks at most.
pub fn observing<'a>(path: &'a Path, directory: &str, time: Duration) -> Program<'a> {
    let env = vec![("EG_ACTION", "observe".to_owned()), ("EG_DIRECTORY", directory.to_owned())];
    Program { path, args: Vec::new(), env, input: None, output_bytes: 1 << 20, time }
}

/// What the ends of all programs of a direction mean.
///
/// | the programs | meaning |
/// |---|---|
/// | all ended with status 0 | done |
/// | none could be started | refused: nothing has happened |
/// | anything else | the outcome is not known: a program that failed may have done half of its work, and another all of it |
pub fn outcome(what: &str, runs: &[(&Path, Ran)], time: Duration) -> Result<(), Failure> {
    let trouble = |(path, ran): &(&Path, Ran)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ran.trouble(time).map(|why| format!("{name} {}", shortened(&why)))
    };
    let troubles: Vec<String> = runs.iter().filter_map(trouble).collect();
    if troubles.is_empty() {
        return Ok(());
    }
    let started = runs.iter().any(|(_, ran)| !matches!(ran, Ran::NotStarted(_)));
    let class = if started { FailureClass::Unknown } else { FailureClass::Host };
    Err(Failure::new(class, format!("{what}: {}", troubles.join("; "))))
}

/// A complaint on one line, without what could steer a terminal.
pub fn shortened(why: &str) -> String {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let (start, end) = line.split_once(": ").unwrap_or((line.as_str(), ""));
    let cut = end.chars().count().saturating_sub(COMPLAINT_CHARS);
    let end: String = end.chars().skip(cut).collect();
    let dots = if cut > 0 { "…" } else { "" };
    escape_controls(&if end.is_empty() { start.to_owned() } else { format!("{start}: {dots}{end}") })
}
