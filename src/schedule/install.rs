//! What this machine has: a systemd user manager, or cron. The one place that runs `systemctl` and `crontab`.

use crate::schedule::{crontab, job::Job, systemd, variables};
use crate::{
    error::{CommandError, Kind as ErrorKind},
    host::env::Env,
    text::escape_controls,
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Who runs things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheduler {
    /// A timer of the user's systemd.
    Systemd,
    /// A line in the user's crontab.
    Cron,
    /// macOS; printed, not installed.
    Launchd,
}

impl Scheduler {
    /// The word for JSON and the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cron => "cron",
            Self::Launchd => "launchd",
        }
    }
}

/// How a job stands with a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    No,
    /// It is there, and runs something else than it would today: another binary, other paths, other variables.
    Outdated,
    /// It is there as it should be.
    Current,
}

fn run(program: &str, args: &[&str], input: Option<&str>) -> io::Result<Output> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    // What they say is read: in one language.
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

/// What this machine has; `None`: nothing that `eg` knows.
#[must_use]
pub fn scheduler() -> Option<Scheduler> {
    if cfg!(target_os = "macos") {
        return Some(Scheduler::Launchd);
    }
    if run("systemctl", &["--user", "show-environment"], None).is_ok_and(|output| output.status.success()) {
        return Some(Scheduler::Systemd);
    }
    // Whatever it says: it is there.
    run("crontab", &["-l"], None).ok().map(|_| Scheduler::Cron)
}

fn is_missing(program: &str) -> bool {
    run(program, &["-l"], None).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What `crontab -l` says where there is no table yet: everybody's words, or those of busybox.
fn is_none_yet(said: &str) -> bool {
    let opens = said.lines().any(|line| line.contains("can't open") && line.ends_with(": No such file or directory"));
    opens || said.contains("no crontab for")
}

/// The user's crontab; empty where there is none yet.
fn read_crontab() -> Result<String, CommandError> {
    let output = run("crontab", &["-l"], None).map_err(|error| failed("`crontab -l`", error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && is_none_yet(&said) {
        return Ok(String::new());
    }
    let output = checked("`crontab -l`", Ok(output))?;
    // Written back as it was, or not at all.
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

/// Whether the timer `is-enabled`, `is-active`.
fn timer(job: &Job, is: &str) -> bool {
    let timer = format!("{}.timer", systemd::name(job));
    run("systemctl", &["--user", is, "--quiet", &timer], None).is_ok_and(|output| output.status.success())
}

/// Where a job is installed. A scheduler that cannot be asked is none.
#[must_use]
pub fn find(env: &Env, job: &Job) -> Option<(Scheduler, Installed)> {
    // Files tell first: no user manager is asked about a timer that is not there.
    let has_units = units_at(env, job).is_ok_and(|units| units.iter().all(|(path, _)| path.exists()));
    let schedulers = has_units.then_some(Scheduler::Systemd).into_iter().chain([Scheduler::Cron]);
    let stands = |scheduler| Some((scheduler, installed(env, scheduler, job).ok()?));
    schedulers.filter_map(stands).find(|(_, how)| *how != Installed::No)
}

/// True if a scheduler holds something of a job, be it a unit that is not enabled: what [`remove`] takes away, and a line
/// that somebody wrote by hand. A scheduler that cannot be asked holds nothing.
#[must_use]
pub fn holds(env: &Env, scheduler: Scheduler, job: &Job) -> bool {
    match scheduler {
        Scheduler::Cron => read_crontab().is_ok_and(|table| crontab::installed(&table, job).is_some()),
        Scheduler::Systemd => units_at(env, job).is_ok_and(|units| units.iter().any(|(path, _)| path.exists())),
        Scheduler::Launchd => false,
    }
}

/// How a job stands with a scheduler, the file of its variables included.
///
/// # Errors
/// The scheduler cannot be asked.
pub fn installed(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Installed, CommandError> {
    Ok(match listed(env, scheduler, job)? {
        Installed::Current if !variables::is_current(job) => Installed::Outdated,
        other => other,
    })
}

/// How a job stands with the scheduler itself.
fn listed(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Installed, CommandError> {
    Ok(match scheduler {
        // Where there is no such program, there is nothing of it either.
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
            // One that was stopped starts again with the next login, and runs nothing until then.
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

/// Installs a job, or brings it up to date. Whether anything changed.
///
/// # Errors
/// The scheduler refuses, or is one for which `eg` only prints.
pub fn install(env: &Env, scheduler: Scheduler, job: &Job) -> Result<bool, CommandError> {
    if installed(env, scheduler, job)? == Installed::Current {
        return Ok(false);
    }
    if scheduler == Scheduler::Launchd {
        return Err(only_printed(scheduler, "install"));
    }
    job.check_carried(scheduler)?;
    // First what the job reads, then the job.
    let path = job.variables_file();
    variables::put(job).map_err(|error| failed(&format!("writing {}", path.display()), error))?;
    match scheduler {
        Scheduler::Cron => install_line(job)?,
        _ => install_units(env, job)?,
    }
    Ok(true)
}

/// A crontab that gives back another line than it was given would run something else, or nothing.
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
    // Where there is no user manager to be told, no units are left behind.
    systemctl(&["show-environment"])?;
    let units = units_at(env, job)?;
    let before: Vec<Option<String>> = units.iter().map(|(path, _)| fs::read_to_string(path).ok()).collect();
    for (path, text) in &units {
        write_unit(path, text).map_err(|error| failed(&format!("writing {}", path.display()), error))?;
    }
    systemctl(&["daemon-reload"])?;
    if let Err(error) = units.iter().try_for_each(|(path, _)| check_loaded(path)) {
        // An older job goes on as it was.
        for ((path, _), text) in units.iter().zip(&before) {
            let restored = text.as_ref().map_or_else(|| fs::remove_file(path), |text| write_unit(path, text));
            restored.map_err(|error| failed(&format!("restoring {}", path.display()), error))?;
        }
        systemctl(&["daemon-reload"])?;
        return Err(error);
    }
    systemctl(&["enable", "--now", &format!("{}.timer", systemd::name(job))]).map(drop)
}

/// systemd says nothing of a line that it does not understand until it is asked (systemctl(1), `show`).
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

/// A scheduler that `eg` does not speak to.
#[must_use]
pub fn only_printed(scheduler: Scheduler, what: &str) -> CommandError {
    let message = format!("eg prints what {} takes, and does not {what} it", scheduler.as_str());
    CommandError::new(ErrorKind::Schedule, message)
}

/// What runs, and with which variables, is nobody else's business.
fn write_unit(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was there keeps the mode that it had.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

fn write_crontab(text: &str) -> Result<(), CommandError> {
    checked("`crontab -`", run("crontab", &["-"], Some(text))).map(drop)
}

/// Removes a job, and the file of its variables unless another scheduler's job reads it. Whether it was there.
///
/// # Errors
/// The scheduler refuses, or is one for which `eg` only prints.
pub fn remove(env: &Env, scheduler: Scheduler, job: &Job) -> Result<bool, CommandError> {
    let (was_there, other) = match scheduler {
        Scheduler::Cron => (remove_line(job)?, Scheduler::Systemd),
        Scheduler::Systemd => (remove_units(env, job)?, Scheduler::Cron),
        Scheduler::Launchd => return Err(only_printed(scheduler, "remove")),
    };
    // A line that the user wrote stays, and so does what it reads.
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

/// The text that a scheduler takes: file and content; without a file, what `crontab` or a shell gets.
///
/// # Errors
/// There is no place for it.
pub fn text(env: &Env, scheduler: Scheduler, job: &Job) -> Result<Vec<(Option<PathBuf>, String)>, CommandError> {
    Ok(match scheduler {
        Scheduler::Cron => vec![(None, crontab::entry(job))],
        Scheduler::Systemd => units_at(env, job)?.into_iter().map(|(path, text)| (Some(path), text)).collect(),
        Scheduler::Launchd => vec![(None, crate::schedule::launchd::property_list(job))],
    })
}
