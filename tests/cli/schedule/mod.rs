//! `eg schedule`, against `crontab` and `systemctl` programs of the test's own, first in PATH.

use crate::{
    cli::session::{error_of, readable, snapshot},
    harness::{Outcome, World, eg::EgCommand},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

mod given_back;
mod variables;

/// A `crontab` that keeps its table in a file, and a `systemctl` that records what it is told.
pub(crate) struct Host<'w> {
    world: &'w World,
    bin: PathBuf,
}

/// A process that another test starts holds what is open here for a moment, and nobody may run what is open for writing:
/// the file that is run is never open in this process.
fn program(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("cp").arg(&draft).arg(path).status().unwrap().success());
    fs::remove_file(draft).unwrap();
}

impl<'w> Host<'w> {
    fn new(world: &'w World) -> Self {
        let bin = world.dir().join("bin");
        fs::create_dir_all(&bin).unwrap();
        Self { world, bin }
    }

    /// cron, and no user manager.
    pub(crate) fn with_cron(world: &'w World) -> Self {
        let host = Self::new(world);
        let table = host.crontab_path();
        let table = table.display();
        program(
            &host.bin.join("crontab"),
            &format!(
                "if [ \"$1\" = -l ]; then\n\
                 [ -f '{table}' ] && exec cat '{table}'\necho 'no crontab for alice' >&2; exit 1\nfi\n\
                 [ \"$1\" = - ] && exec cat > '{table}'\nexit 2\n"
            ),
        );
        program(&host.bin.join("systemctl"), "echo 'Failed to connect to bus' >&2; exit 1\n");
        host
    }

    /// A user manager that takes everything; a timer is enabled when it was told so.
    fn with_systemd(world: &'w World) -> Self {
        let host = Self::new(world);
        let log = host.bin.join("systemctl.log");
        let log = log.display();
        program(
            &host.bin.join("systemctl"),
            &format!(
                "echo \"$@\" >> '{log}'\ncase \"$2\" in\n\
                 enable) : > '{log}.enabled'; : > '{log}.active';;\n\
                 disable) rm -f '{log}.enabled' '{log}.active';;\n\
                 stop) rm -f '{log}.active';;\n\
                 is-enabled) [ -f '{log}.enabled' ];;\nis-active) [ -f '{log}.active' ];;\n\
                 show) unit=\"$XDG_CONFIG_HOME/systemd/user/$4\"\n\
                 if [ -f '{log}.bad' ]; then state=bad-setting; elif [ -f \"$unit\" ]; then state=loaded; else \
                 state=not-found; fi\necho \"LoadState=$state\"; echo \"FragmentPath=$unit\";;\nesac\n"
            ),
        );
        program(&host.bin.join("crontab"), "exit 9\n");
        host
    }

    pub(crate) fn crontab_path(&self) -> PathBuf {
        self.bin.join("table")
    }

    fn crontab(&self) -> String {
        fs::read_to_string(self.crontab_path()).unwrap_or_default()
    }

    fn told(&self) -> Vec<String> {
        let log = fs::read_to_string(self.bin.join("systemctl.log")).unwrap_or_default();
        log.lines()
            .filter(|line| !["show", "is-enabled", "is-active"].iter().any(|asked| line.contains(asked)))
            .map(str::to_owned)
            .collect()
    }

    fn forget(&self) {
        fs::write(self.bin.join("systemctl.log"), "").unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> EgCommand {
        self.world.here.command(args).env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
    }

    fn eg(&self, args: &[&str]) -> Outcome {
        self.command(args).run()
    }
}

const OTHERS: &str = "# my own\nMAILTO=alice\n0 3 * * * /usr/bin/backup 100\\%\n";

#[test]
fn a_line_in_the_crontab() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let mut tale = String::new();
    let mut tell = |args: &[&str], code: i32| {
        let outcome = host.eg(args).expect_code(code);
        tale += &format!("$ eg {}\n{}\n", args.join(" "), readable(&outcome));
    };
    tell(&["schedule", "show"], 0);
    fs::write(host.crontab_path(), OTHERS).unwrap();
    tell(&["schedule", "install"], 0);
    let table = host.crontab();
    assert!(table.starts_with(OTHERS), "{table}");
    assert_eq!(table.lines().count(), 5, "{table}");
    for part in [
        "* * * * * EG_MACHINE=test-machine ",
        env!("CARGO_BIN_EXE_eg"),
        &world.here.config_path().to_string_lossy(),
        &world.here.state_path().to_string_lossy(),
        " reconcile --timer",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    tell(&["schedule", "install"], 0);
    assert_eq!(host.crontab(), table, "again changes nothing");
    tell(&["schedule", "show"], 0);

    // What the job needs has changed since: the old line goes, no second one comes.
    let proxied = host.command(&["schedule", "install"]).env("HTTPS_PROXY", "http://p:3128/%20").run().expect_code(0);
    assert!(proxied.stdout.starts_with("✓ Installed with cron: "), "{proxied}");
    assert!(host.crontab().contains(r" HTTPS_PROXY='http://p:3128/\%20' "), "{}", host.crontab());
    assert_eq!(host.crontab().matches("reconcile --timer").count(), 1);
    tell(&["schedule", "show"], 0);

    // Another state file has a line of its own.
    let other = world.dir().join("other.db").to_string_lossy().into_owned();
    host.eg(&["--state", &other, "schedule", "install"]).expect_code(0);
    assert_eq!(host.crontab().matches("reconcile --timer").count(), 2);
    host.eg(&["--state", &other, "schedule", "remove"]).expect_code(0);
    tell(&["schedule", "remove"], 0);
    assert_eq!(host.crontab(), OTHERS, "as it was, byte for byte");
    tell(&["schedule", "remove"], 0);
    snapshot("schedule_cron", &tale);
}

/// The line does what it says: run by a shell with nothing of this environment, it is seen as scheduled.
#[test]
fn the_line_works_from_cron() {
    let world = World::new();
    let host = Host::with_cron(&world);
    world.here.write_profiles(&[("work", "WORK")]);
    host.eg(&["schedule", "install"]).expect_code(0);
    let table = host.crontab();
    let line = table.lines().last().unwrap().strip_prefix("* * * * * ").unwrap().replace(r"\%", "%");
    let ran = std::process::Command::new("/bin/sh")
        .args(["-c", &line])
        .env_clear()
        .env("HOME", world.here.home())
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let json = host.eg(&["schedule", "show", "--output", "json"]).expect_code(0).json_as("schedule");
    assert!(json["lastRunAt"].is_string() && json["current"] == true, "{json:#}");
}

/// Whatever leads to AWS here leads there from cron too, which stands in another directory.
#[test]
fn what_the_job_needs_of_this_environment() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let variables = [
        ("ALL_PROXY", "http://a:1"),
        ("all_proxy", "http://b:1"),
        ("AWS_CONFIG_FILE", "aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/aws/credentials"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("SSL_CERT_FILE", "certs/ca.pem"),
        ("SSL_CERT_DIR", "certs:/etc/certs"),
    ];
    let command = host.command(&["schedule", "install"]);
    variables.into_iter().fold(command, |command, (name, value)| command.env(name, value)).run().expect_code(0);
    let here = world.here.home().display();
    for part in [
        "ALL_PROXY=http://a:1 ",
        "all_proxy=http://b:1 ",
        &format!("AWS_CONFIG_FILE={here}/aws/config "),
        &format!("AWS_SHARED_CREDENTIALS_FILE={here}/aws/credentials "),
        "AWS_USE_FIPS_ENDPOINT=true AWS_USE_DUALSTACK_ENDPOINT=true ",
        &format!("SSL_CERT_FILE={here}/certs/ca.pem SSL_CERT_DIR={here}/certs:/etc/certs "),
    ] {
        assert!(host.crontab().contains(part), "{part} in {}", host.crontab());
    }
}

#[test]
fn a_crontab_that_cannot_be_read_is_not_overwritten() {
    let world = World::new();
    let host = Host::with_cron(&world);
    fs::write(host.crontab_path(), OTHERS).unwrap();
    let broken = "[ \"$1\" = -l ] && { echo 'you (alice) are not allowed to use this program' >&2; exit 1; }\ntouch \"$0.hit\"\n";
    program(&host.bin.join("crontab"), broken);
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).contains("are not allowed to use this program"), "{outcome}");
    assert!(!host.bin.join("crontab.hit").exists(), "nothing was written");
    assert_eq!(host.crontab(), OTHERS);
    shows_all_the_same(&host);
}

/// What is to be installed by hand has to be seen first.
#[track_caller]
fn shows_all_the_same(host: &Host<'_>) {
    let shown = host.eg(&["schedule", "show", "--with", "cron"]).expect_code(0);
    assert!(shown.stderr.starts_with("warning: `crontab -l` failed: "), "{shown}");
    assert!(shown.stdout.contains("\nWhether it is installed with cron is not known; this would be:\n"), "{shown}");
    assert!(shown.stdout.contains(" reconcile --timer\n"), "{shown}");
    let json = host.eg(&["schedule", "show", "--output", "json"]).expect_code(0).json_as("schedule");
    assert_eq!((&json["installed"], &json["current"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_crontab_that_is_not_utf8() {
    let world = World::new();
    let host = Host::with_cron(&world);
    fs::write(host.crontab_path(), b"# \xe9t\xe9\n").unwrap();
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(outcome.stderr.contains("eg schedule show --with cron"), "{outcome}");
    assert_eq!(fs::read(host.crontab_path()).unwrap(), b"# \xe9t\xe9\n");
    shows_all_the_same(&host);
}

/// busybox has other words for a user without a crontab.
#[test]
fn no_crontab_yet_as_busybox_says_it() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let text = fs::read_to_string(host.bin.join("crontab")).unwrap();
    let (_, text) = text.split_once('\n').unwrap();
    let words = "crontab: can'\\''t open '\\''alice'\\'': No such file or directory";
    program(&host.bin.join("crontab"), &text.replace("no crontab for alice", words));
    assert!(
        host.eg(&["schedule", "show"])
            .expect_code(0)
            .stdout
            .contains("Not installed. eg schedule install would add to your crontab:")
    );
    host.eg(&["schedule", "install"]).expect_code(0);
    assert!(host.crontab().contains(" reconcile --timer\n"), "{}", host.crontab());
}

#[test]
fn a_user_timer() {
    let world = World::new();
    let host = Host::with_systemd(&world);
    let units = world.here.home().join("config/systemd/user");
    let json = |args: &[&str]| host.eg(&[args, &["--output", "json"]].concat()).expect_code(0).json_as("schedule");
    assert_eq!(json(&["schedule", "show"])["installed"], false);
    let installed = json(&["schedule", "install"]);
    assert_eq!((&installed["scheduler"], &installed["changed"]), (&"systemd".into(), &true.into()));
    let timer = installed["parts"][1]["path"].as_str().unwrap().to_owned();
    let name = Path::new(&timer).file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(Path::new(&timer).parent().unwrap(), units);
    for part in [0, 1] {
        let path = installed["parts"][part]["path"].as_str().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), installed["parts"][part]["text"].as_str().unwrap());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let service = installed["parts"][0]["text"].as_str().unwrap();
    assert!(service.contains("\nEnvironment=\"EG_MACHINE=test-machine\"\n"), "{service}");
    let command = format!("ExecStart=\"{}\" \"--config\" ", env!("CARGO_BIN_EXE_eg"));
    assert!(service.contains(&command) && service.contains("\"reconcile\" \"--timer\"\n"), "{service}");
    assert_eq!(host.told(), ["--user daemon-reload".to_owned(), format!("--user enable --now {name}")]);

    assert_eq!(json(&["schedule", "install"])["changed"], false);
    assert_eq!(host.told().len(), 2, "again tells nobody anything");
    assert_eq!(json(&["schedule", "show"])["current"], true);
    fs::write(&timer, "[Timer]\n").unwrap();
    // A proxy's password may stand in it, whatever mode an old one has.
    fs::set_permissions(&timer, fs::Permissions::from_mode(0o644)).unwrap();
    let old = json(&["schedule", "show"]);
    assert_eq!((&old["installed"], &old["current"]), (&true.into(), &false.into()));
    assert_eq!(json(&["schedule", "install"])["changed"], true);
    assert_eq!(fs::metadata(&timer).unwrap().permissions().mode() & 0o777, 0o600);
    // One that was stopped runs nothing, enabled or not.
    let stopped = Command::new(host.bin.join("systemctl")).args(["--user", "stop", &name]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(json(&["schedule", "show"])["current"], false);
    host.forget();
    assert_eq!(json(&["schedule", "install"])["changed"], true);
    assert!(host.told().contains(&format!("--user enable --now {name}")), "{:?}", host.told());
    assert_eq!(json(&["schedule", "show"])["current"], true);
    host.forget();
    assert_eq!(json(&["schedule", "remove"])["changed"], true);
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0);
    assert_eq!(host.told(), [format!("--user disable --now {name}"), "--user daemon-reload".to_owned()]);
    assert_eq!(json(&["schedule", "remove"])["changed"], false);
}

#[test]
fn what_others_take_is_printed() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let mut tale = String::new();
    for (what, code) in [("show", 0), ("install", 1), ("remove", 1)] {
        let args = ["schedule", what, "--with", "launchd"];
        let outcome = host.eg(&args).expect_code(code);
        tale += &format!("$ eg {}\n{}\n", args.join(" "), readable(&outcome));
    }
    // The job's name tells state files apart, and the test's directory is another every time.
    let name = regex::Regex::new(r"eg\.reconcile\.[0-9a-f]{8}").unwrap();
    snapshot("schedule_printed", &name.replace_all(&tale, "eg.reconcile.STATE"));
    assert_eq!(host.crontab(), "");
}

#[test]
fn neither_configuration_nor_scheduler() {
    let world = World::bare();
    let host = Host::with_cron(&world);
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("no configuration yet ("), "{outcome}");
    assert_eq!(host.crontab(), "");
    world.write_config(&(world.config_head() + &crate::cli::session::missing_group()));
    let without = |args: &[&str]| world.here.command(args).env("PATH", "/nowhere").run();
    let outcome = without(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("this machine has neither "), "{outcome}");
    assert!(outcome.stderr.contains("eg reconcile --watch"), "{outcome}");
    // What is hinted at works here: the text is shown also where there is nothing to ask.
    for with in ["systemd", "cron", "launchd"] {
        let shown = without(&["schedule", "show", "--with", with]).expect_code(0);
        assert!(shown.stdout.contains("reconcile"), "{shown}");
    }
    let outcome = without(&["schedule", "install", "--with", "cron"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("`crontab -l` failed: "), "{outcome}");
}

/// What follows a line break would be a job of its own.
#[test]
fn a_line_break_in_a_path() {
    let world = World::new();
    let host = Host::with_cron(&world);
    fs::write(host.crontab_path(), OTHERS).unwrap();
    let state = world.dir().join("a\n* * * * * touch b").to_string_lossy().into_owned();
    let outcome = host.eg(&["--state", &state, "schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).ends_with("a path or a variable of the job holds a line break"), "{outcome}");
    assert_eq!(host.crontab(), OTHERS);
}

/// What is open has to be closed, whatever has become of the configuration since.
#[test]
fn an_open_session_is_reason_enough() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let id = crate::cli::session::start_id(&world.here, &["--only", "prod-api-sg", "--duration", "1h"]);
    for (config, words) in [("", "no resource is configured in "), ("[[[", "config.toml:1:")] {
        world.write_config(config);
        let outcome = host.eg(&["schedule", "install"]).expect_code(0);
        assert!(outcome.stderr.contains("warning: ") && outcome.stderr.contains(words), "{outcome}");
        assert!(outcome.stderr.contains("what is on record is closed all the same"), "{outcome}");
        assert_eq!(host.crontab().matches("reconcile --timer").count(), 1);
        host.eg(&["schedule", "remove"]).expect_code(0);
    }
    world.eg(&["session", "stop", &id]).expect_code(1);
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).contains("config.toml:1:"), "nothing is left to close: {outcome}");
    assert_eq!(host.crontab().matches("reconcile --timer").count(), 0);
}

#[test]
fn without_a_user_manager_no_units_are_left() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let outcome = host.eg(&["schedule", "install", "--with", "systemd"]).expect_code(1);
    assert!(error_of(&outcome).contains("Failed to connect to bus"), "{outcome}");
    assert!(!world.here.home().join("config/systemd").exists());
}

/// One machine, two schedulers: what was installed with cron before the machine got a user manager is found again.
#[test]
fn a_job_is_found_with_whatever_scheduler_has_it() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let crontab = fs::read(host.bin.join("crontab")).unwrap();
    fs::write(host.crontab_path(), OTHERS).unwrap();
    host.eg(&["schedule", "install"]).expect_code(0);
    Host::with_systemd(&world);
    program(&host.bin.join("crontab"), &String::from_utf8(crontab).unwrap());
    let units = || fs::read_dir(world.here.home().join("config/systemd/user")).map_or(0, Iterator::count);
    let jobs = || (host.crontab().matches("reconcile --timer").count(), units());
    let json = |args: &[&str]| host.eg(&[args, &["--output", "json"]].concat()).expect_code(0).json_as("schedule");
    let brief = |json: &Value| {
        let text = |key: &str| json[key].to_string().replace('"', "");
        [text("scheduler"), text("installed"), text("current"), text("changed")].join(" ")
    };
    assert_eq!(brief(&json(&["schedule", "show"])), "cron true true false");
    assert!(host.eg(&["schedule", "show"]).expect_code(0).stdout.contains("\nInstalled with cron:\n"));
    // Again changes nothing, and brings the line up to date where it is.
    assert_eq!(brief(&json(&["schedule", "install"])), "cron true true false");
    host.command(&["schedule", "install"]).env("HTTPS_PROXY", "http://p:1").run().expect_code(0);
    assert_eq!(jobs(), (1, 0));
    // To the other scheduler it moves.
    let moved = host.eg(&["schedule", "install", "--with", "systemd"]).expect_code(0);
    assert!(moved.stdout.ends_with("✓ Removed from cron: one job is enough\n"), "{moved}");
    assert_eq!((jobs(), host.crontab()), ((0, 2), OTHERS.to_owned()));
    assert_eq!(brief(&json(&["schedule", "show"])), "systemd true true false");
    assert_eq!(brief(&json(&["schedule", "install", "--with", "cron"])), "cron true true true");
    assert_eq!(jobs(), (1, 0));
    assert_eq!(brief(&json(&["schedule", "remove"])), "cron false false true");
    assert_eq!((jobs(), host.crontab()), ((0, 0), OTHERS.to_owned()));
    assert_eq!(host.eg(&["schedule", "remove"]).expect_code(0).stdout, "Nothing to remove.\n");
}

/// Two jobs, as an older eg could leave them: installing again leaves one, removing none.
#[test]
fn two_jobs_become_one_or_none() {
    for command in ["install", "remove"] {
        let world = World::new();
        let host = Host::with_cron(&world);
        let crontab = String::from_utf8(fs::read(host.bin.join("crontab")).unwrap()).unwrap();
        host.eg(&["schedule", "install"]).expect_code(0);
        let line = host.crontab();
        Host::with_systemd(&world);
        host.eg(&["schedule", "install", "--with", "systemd"]).expect_code(0);
        program(&host.bin.join("crontab"), &crontab);
        fs::write(host.crontab_path(), line).unwrap();
        let outcome = host.eg(&["schedule", command]).expect_code(0);
        let units = fs::read_dir(world.here.home().join("config/systemd/user")).unwrap().count();
        assert_eq!((host.crontab().as_str(), units), ("", if command == "install" { 2 } else { 0 }), "{outcome}");
        let words = match command {
            "install" => "✓ Installed with systemd already\n✓ Removed from cron: one job is enough\n",
            _ => "✓ Removed from systemd and cron: nothing closes a session on time now\n",
        };
        assert_eq!(outcome.stdout, words);
    }
}

/// The line of a user's own stays, and both commands say so.
#[test]
fn a_line_by_hand_still_runs() {
    let world = World::new();
    let host = Host::with_cron(&world);
    host.eg(&["schedule", "install"]).expect_code(0);
    let line = host.crontab().lines().last().unwrap().to_owned() + "\n";
    fs::write(host.crontab_path(), &line).unwrap();
    let by_hand = "a crontab line that was written by hand still runs it";
    let removed = host.eg(&["schedule", "remove", "--output", "json"]).expect_code(0);
    let json = removed.json_as("schedule");
    assert_eq!((&json["installed"], &json["changed"]), (&true.into(), &false.into()), "{json:#}");
    assert!(removed.stderr.contains(by_hand), "{removed}");
    let crontab = String::from_utf8(fs::read(host.bin.join("crontab")).unwrap()).unwrap();
    Host::with_systemd(&world);
    program(&host.bin.join("crontab"), &crontab);
    let moved = host.eg(&["schedule", "install", "--with", "systemd"]).expect_code(0);
    assert!(moved.stderr.contains(by_hand), "{moved}");
    assert_eq!(host.crontab(), line);
}

const NO_JOB: &str = "no scheduled job is installed";

/// What counts is what the scheduler says: right after the installation, after a night's sleep, and after the removal.
#[test]
fn scheduled_is_what_the_scheduler_says() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let start = || host.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(0).stderr;
    let scheduled = || host.eg(&["--output", "json", "status"]).expect_code(0).json_as("status")["scheduled"].clone();
    let shown = || {
        let status = host.eg(&["status"]).expect_code(0).stdout;
        status.lines().find(|line| line.starts_with("  Scheduled:")).unwrap().to_owned()
    };
    let mut tale = String::new();
    assert!(start().contains(NO_JOB));
    tale += &format!("before:        {}\n", shown());
    host.eg(&["schedule", "install"]).expect_code(0);
    let warns = |said: String| said.contains(NO_JOB) || said.contains("has not run");
    assert!(!warns(start()), "right after it was installed");
    assert_eq!(scheduled(), true);
    tale += &format!("installed:     {}\n", shown());
    host.eg(&["reconcile", "--timer"]).expect_code(0);
    tale += &format!("has run:       {}\n", shown());
    world.advance(8 * 3600 - 60);
    assert!(!warns(start()), "after a night's sleep");
    assert_eq!(scheduled(), true);
    host.eg(&["reconcile", "--timer"]).expect_code(0);
    host.eg(&["schedule", "remove"]).expect_code(0);
    assert_eq!(scheduled(), false, "removed, though it ran a moment ago");
    assert!(start().contains(NO_JOB));
    tale += &format!("removed:       {}\n", shown());
    // Another scheduler's runs, which eg has not installed.
    world.advance(2);
    host.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!(scheduled(), true);
    tale += &format!("another's:     {}\n", shown());
    world.advance(16 * 60);
    assert_eq!(scheduled(), false);
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap();
    snapshot("scheduled", &time.replace_all(&tale, "YYYY-MM-DD HH:MM:SS"));
}

/// A job that never runs closes nothing, and that is noticed.
#[test]
fn a_job_that_never_runs_is_noticed() {
    let world = World::new();
    let host = Host::with_cron(&world);
    host.eg(&["schedule", "install"]).expect_code(0);
    let start = || host.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(0).stderr;
    assert!(!start().contains("has not run"));
    world.advance(15 * 60 + 1);
    let noticed = start();
    assert!(noticed.contains("the job in cron has not run since ") && noticed.contains("eg doctor"), "{noticed}");
    assert!(host.eg(&["status"]).expect_code(0).stdout.contains("installed with cron, but it has not run since "));
    host.eg(&["reconcile", "--timer"]).expect_code(0);
    assert!(!start().contains("has not run"));
}

/// A watch closes sessions as long as it runs, however seldom its passes are, and not a moment longer.
#[test]
fn a_watch_counts_while_it_runs() {
    let world = World::new();
    crate::cli::session::start_id(&world.here, &["--only", "prod-api-sg"]);
    let scheduled = || world.eg(&["--output", "json", "status"]).expect_code(0).json_as("status")["scheduled"].clone();
    assert_eq!(scheduled(), false);
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "86400s"]).spawn();
    watch.wait_for_call(|call| call.action == "DescribeSecurityGroupRules");
    let begin = std::time::Instant::now();
    while scheduled() != true {
        assert!(begin.elapsed().as_secs() < 100, "it is never seen");
    }
    watch.signal("TERM");
    watch.wait().expect_code(0);
    assert_eq!(scheduled(), false);
}

/// The job of a sandbox would outlive it.
#[test]
fn nothing_is_installed_from_a_sandbox() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let inside = |line: &str| host.eg(&["-q", "sandbox", "--", "sh", "-c", line]);
    let refused = inside("eg schedule install").expect_code(1);
    assert!(error_of(&refused).starts_with("this is a sandbox: "), "{refused}");
    assert_eq!(host.crontab(), "");
    let started =
        inside("eg session start --ipv4 203.0.113.42 && eg status && eg doctor | grep schedule").expect_code(0);
    assert!(!started.stderr.contains("warning: "), "{started}");
    assert!(started.stdout.contains("not needed in the sandbox"), "{started}");
    let doctor = inside("eg doctor; true").expect_code(0);
    assert!(doctor.stdout.contains("✓ credentials: ") && !doctor.stdout.contains("scheduled job"), "{doctor}");
    // With a state of one's own it is no sandbox.
    let own = format!("eg --state '{}' schedule install", world.dir().join("own.db").display());
    inside(&own).expect_code(0);
    assert_eq!(host.crontab().matches("reconcile --timer").count(), 1);
}
