//! Installs the job with systemd or cron, and asks them for it. The only file that runs `systemctl` and `crontab`.

use crate::{
    error::{CommandError, Kind as ErrorKind},
    host::env::Env,
    schedule::{
        crontab,
        job::{Job, Scheduler},
        launchd, systemd, variables,
    },
};
use eg_model::text::escape_controls;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The state of a job in a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    No,
    /// The scheduler runs something else than a job made today: another binary, other paths, other variables.
    Outdated,
    Current,
}

fn run(program: &str, args: &[&str], input: Option<&str>) -> io::Result<Output> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    // `eg` reads their messages, so they must be in one language.
    command.args(args).env("LC_ALL", "C").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        stdin.write_all(text.as_bytes())?;
    }
    child.wait_with_output()
}

fn failed(what: &str, why: impl std::fmt::Display) -> CommandError {
    CommandError::new(ErrorKind::Schedule, format!("{what} failed: {why}"))
        .hint("see what would be installed, and install it by hand, with: eg schedule show")
}

fn checked(what: &str, output: io::Result<Output>) -> Result<Output, CommandError> {
    let output = output.map_err(|error| failed(what, error))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = escape_controls(said.trim());
    Err(failed(what, if said.is_empty() { output.status.to_string() } else { said }))
}

fn systemctl(args: &[&str]) -> Result<Output, CommandError> {
    let args = [&["--user"], args].concat();
    checked(&format!("`systemctl {}`", args.join(" ")), run("systemctl", &args, None))
}

/// The scheduler of this machine; `None` if it has none that `eg` knows.
pub fn scheduler() -> Option<Scheduler> {
    if cfg!(target_os = "macos") {
        return Some(Scheduler::Launchd);
    }
    if run("systemctl", &["--user", "show-environment"], None).is_ok_and(|output| output.status.success()) {
        return Some(Scheduler::Systemd);
    }
    // Any answer will do: the program exists.
    run("crontab", &["-l"], None).ok().map(|_| Scheduler::Cron)
}

fn is_missing(program: &str) -> bool {
    run(program, &["-l"], None).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// True for the message of `crontab -l` about a user without a table: the usual words, or those of busybox.
fn is_none_yet(said: &str) -> bool {
    let opens = said.lines().any(|line| line.contains("can't open") && line.ends_with(": No such file or directory"));
    opens || said.contains("no crontab for")
}

/// The user's crontab; empty if the user has none yet.
fn read_crontab() -> Result<String, CommandError> {
    let output = run("crontab", &["-l"], None).map_err(|error| failed("`crontab -l`", error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && is_none_yet(&said) {
        return Ok(String::new());
    }
    let output = checked("`crontab -l`", Ok(output))?;
    // `eg` writes every other line back unchanged, which it can only do with text.
    String::from_utf8(output.stdout).map_err(|_| {
        failed("`crontab -l`", "it is not UTF-8")
            .hint("add the line yourself (crontab -e): eg schedule show --with cron")
    })
}

fn units_at(env: &Env, job: &Job) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let home = env.var("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = env.var("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or(home);
    let missing = || {
        CommandError::new(ErrorKind::Schedule, "there is no home directory to put systemd units in")
            .hint("set HOME or XDG_CONFIG_HOME")
    };
    let directory = systemd::directory(&config.ok_or_else(missing)?);
    Ok(systemd::units(job).into_iter().map(|(name, text)| (directory.join(name), text)).collect())
}

/// Asks systemd about the job's timer: `is-enabled` or `is-active`.
fn timer(job: &Job, is: &str) -> bool {
    let timer = format!("{}.timer", systemd::name(job));
    run("systemctl", &["--user", is, "--quiet", &timer], None).is_ok_and(|output| output.status.success())
}

/// The scheduler that has the job. One that does not answer counts as one that has nothing.
pub fn find(env: &Env, job: &Job) -> Option<(Scheduler, Installed)> {
    // systemd is asked only if the unit files exist.
    let has_units = units_at(env, job).is_ok_and(|units| units.iter().all(|(path, _)| path.exists()));
    let schedulers = has_units.then_some(Scheduler::Systemd).into_iter().chain([Scheduler::Cron]);
    let stands = |scheduler| Some((scheduler, installed(env, scheduler, job).ok()?));
    schedulers.filter_map(stands).find(|(_, how)| *how != Installed::No)
}

/// True if a scheduler has any part of a job, even a unit that is not enabled or a line that the user wrote by hand. A
/// scheduler that does not answer counts as one that has nothing.
pub fn holds(env: &Env, scheduler: Scheduler, job: &Job) -> bool {
    match scheduler {
        Scheduler::Cron => read_crontab().is_ok_and(|table| crontab::installed(&table, job).is_some()),
        Scheduler::Systemd => units_at(env, job).is_ok_and(|units| units.iter().any(|(path, _)| path.exists())),
        Scheduler::Launchd => false,
    }
}

/// The state of a job in a scheduler, including the file of its variables.
pub fn installed(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Installed, CommandError> {
    Ok(match listed(env, scheduler, job)? {
        Installed::Current if !variables::is_current(job) => Installed::Outdated,
        other => other,
    })
}

/// The state of a job in the scheduler alone.
fn listed(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Installed, CommandError> {
    Ok(match scheduler {
        Scheduler::Cron if is_missing("crontab") => Installed::No,
        Scheduler::Cron => match crontab::installed(&read_crontab()?, job) {
            Some(line) if line == crontab::line(job) => Installed::Current,
            Some(_) => Installed::Outdated,
            None => Installed::No,
        },
        Scheduler::Systemd => {
            let units = units_at(env, job)?;
            let there = units.iter().all(|(path, _)| path.exists()) && timer(job, "is-enabled");
            let same = units.iter().all(|(path, text)| fs::read_to_string(path).is_ok_and(|known| known == *text));
            // A stopped timer runs nothing until the next login starts it.
            let same = same && there && timer(job, "is-active");
            match (there, same) {
                (true, true) => Installed::Current,
                (true, false) => Installed::Outdated,
                (false, _) => Installed::No,
            }
        }
        Scheduler::Launchd => Installed::No,
    })
}

/// Refuses a job whose text the scheduler might not give back unchanged.
pub fn check_carried(job: &Job, scheduler: Scheduler) -> Result<(), CommandError> {
    let texts = || job.env.iter().chain(&job.secrets).map(|(_, value)| value).chain(&job.command);
    let why = if texts().any(|text| text.contains(['\n', '\r'])) {
        "a line break"
    } else if texts().any(|text| text.contains(char::is_control)) {
        "a control character"
    } else if scheduler == Scheduler::Cron && crontab::line(job).contains(r"\\") {
        r"a \ before a \ or a %, which some versions of cron take for one character"
    } else {
        return Ok(());
    };
    let message = format!("a path or a variable of the job holds {why}");
    Err(CommandError::new(ErrorKind::Schedule, format!("not installed with {}: {message}", scheduler.as_str()))
        .hint("rename it, or keep this running instead: eg reconcile --watch"))
}

/// Installs a job, or brings it up to date. True if anything changed.
pub fn install(env: &Env, scheduler: Scheduler, job: &Job) -> Result<bool, CommandError> {
    if installed(env, scheduler, job)? == Installed::Current {
        return Ok(false);
    }
    if scheduler == Scheduler::Launchd {
        return Err(only_printed(scheduler, "install"));
    }
    check_carried(job, scheduler)?;
    // The file before the job that reads it.
    let path = job.variables_file();
    variables::put(job).map_err(|error| failed(&format!("writing {}", path.display()), error))?;
    match scheduler {
        Scheduler::Cron => install_line(job)?,
        _ => install_units(env, job)?,
    }
    Ok(true)
}

/// Reads the line back: a cron that stores it differently would run something else, or nothing.
fn install_line(job: &Job) -> Result<(), CommandError> {
    let before = read_crontab()?;
    write_crontab(&crontab::with(&before, job))?;
    let after = read_crontab()?;
    if crontab::installed(&after, job) == Some(crontab::line(job).as_str()) {
        return Ok(());
    }
    write_crontab(&before)?;
    Err(failed("`crontab -`", "`crontab -l` does not give the line back as it was written; the crontab is as it was"))
}

fn install_units(env: &Env, job: &Job) -> Result<(), CommandError> {
    // Without a user manager, fail before any unit is written.
    systemctl(&["show-environment"])?;
    let units = units_at(env, job)?;
    let before: Vec<Option<String>> = units.iter().map(|(path, _)| fs::read_to_string(path).ok()).collect();
    for (path, text) in &units {
        write_unit(path, text).map_err(|error| failed(&format!("writing {}", path.display()), error))?;
    }
    systemctl(&["daemon-reload"])?;
    if let Err(error) = units.iter().try_for_each(|(path, _)| check_loaded(path)) {
        // An older job goes on unchanged.
        for ((path, _), text) in units.iter().zip(&before) {
            let restored = text.as_ref().map_or_else(|| fs::remove_file(path), |text| write_unit(path, text));
            restored.map_err(|error| failed(&format!("restoring {}", path.display()), error))?;
        }
        systemctl(&["daemon-reload"])?;
        return Err(error);
    }
    systemctl(&["enable", "--now", &format!("{}.timer", systemd::name(job))]).map(drop)
}

/// Asks whether systemd loaded the unit: it reports a line that it does not understand only to `show` (systemctl(1)).
fn check_loaded(path: &Path) -> Result<(), CommandError> {
    let unit = path.file_name().unwrap_or_default().to_string_lossy();
    let answer = systemctl(&["show", "--property=LoadState,FragmentPath", &unit])?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
    match (value("LoadState"), value("FragmentPath")) {
        ("loaded", file) if Path::new(file) == path || fs::canonicalize(file).ok() == fs::canonicalize(path).ok() => {
            Ok(())
        }
        (state, file) => {
            let why =
                format!("systemd does not take it: {unit} is \"{}\" {}", escape_controls(state), escape_controls(file));
            Err(failed("`systemctl --user enable`", why.trim_end()))
        }
    }
}

/// The refusal for a scheduler that `eg` only prints texts for.
pub fn only_printed(scheduler: Scheduler, what: &str) -> CommandError {
    let message = format!("eg prints what {} takes, and does not {what} it", scheduler.as_str());
    CommandError::new(ErrorKind::Schedule, message)
}

/// Other users must not read the command and its variables.
fn write_unit(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // `mode` above applies to new files only.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

fn write_crontab(text: &str) -> Result<(), CommandError> {
    checked("`crontab -`", run("crontab", &["-"], Some(text))).map(drop)
}

/// Removes a job, and the file of its variables unless another scheduler's job reads it. True if anything was there.
pub fn remove(env: &Env, scheduler: Scheduler, job: &Job) -> Result<bool, CommandError> {
    let (was_there, other) = match scheduler {
        Scheduler::Cron => (remove_line(job)?, Scheduler::Systemd),
        Scheduler::Systemd => (remove_units(env, job)?, Scheduler::Cron),
        Scheduler::Launchd => return Err(only_printed(scheduler, "remove")),
    };
    // A line that the user wrote stays, and so does the file that it reads.
    let is_read = |by| listed(env, by, job).is_ok_and(|how| how != Installed::No);
    if is_read(scheduler) || is_read(other) {
        return Ok(was_there);
    }
    let path = job.variables_file();
    let removed = variables::remove(job).map_err(|error| failed(&format!("removing {}", path.display()), error))?;
    Ok(was_there || removed)
}

fn remove_line(job: &Job) -> Result<bool, CommandError> {
    let before = read_crontab()?;
    let after = crontab::without(&before, job);
    if after != before {
        write_crontab(&after)?;
    }
    Ok(after != before)
}

fn remove_units(env: &Env, job: &Job) -> Result<bool, CommandError> {
    let units: Vec<PathBuf> = units_at(env, job)?.into_iter().map(|(path, _)| path).collect();
    if !units.iter().any(|path| path.exists()) {
        return Ok(false);
    }
    systemctl(&["disable", "--now", &format!("{}.timer", systemd::name(job))])?;
    for path in units.iter().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(|error| failed(&format!("removing {}", path.display()), error))?;
    }
    systemctl(&["daemon-reload"])?;
    Ok(true)
}

/// The texts for a scheduler, each with the file that it belongs in; a crontab line and a property list have none.
pub fn text(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Vec<(Option<PathBuf>, String)>, CommandError> {
    Ok(match scheduler {
        Scheduler::Cron => vec![(None, crontab::entry(job))],
        Scheduler::Systemd => units_at(env, job)?.into_iter().map(|(path, text)| (Some(path), text)).collect(),
        Scheduler::Launchd => vec![(None, launchd::property_list(job))],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::job::tests::awkward;

    #[test]
    fn what_schedulers_cannot_carry() {
        let with = |path: &str| Job { command: vec!["/eg".into(), path.into()], ..awkward() };
        for scheduler in [Scheduler::Cron, Scheduler::Systemd] {
            check_carried(&awkward(), scheduler).unwrap();
            check_carried(&with(r"/a\b/it's é 漢"), scheduler).unwrap();
            for (path, why) in [("/a\nb", "line break"), ("/a\rb", "line break"), ("/a\u{1b}b", "control character")] {
                let error = check_carried(&with(path), scheduler).unwrap_err();
                assert!(error.message.contains(why), "{error}");
            }
        }
        for path in [r"/a\\b", r"/a\%b"] {
            check_carried(&with(path), Scheduler::Systemd).unwrap();
            let error = check_carried(&with(path), Scheduler::Cron).unwrap_err();
            assert!(error.message.contains("some versions of cron"), "{error}");
        }
        let value = Job { env: vec![("NO_PROXY".into(), "a\rb".into())], ..awkward() };
        assert!(check_carried(&value, Scheduler::Systemd).is_err());
    }
}
