//! What lies in `deploy/` is what its own linter or schema accepts, and every command line in it is one that `eg`
//! takes.

use super::*;
use crate::harness::moto::environment;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(deploy(name)).unwrap()
}

/// A program of the tests' virtual environment.
fn tool(name: &str) -> Command {
    Command::new(environment().parent().unwrap().join(name))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[track_caller]
fn accepts(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
}

#[track_caller]
fn refuses(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}\n{}", said(&output));
}

/// `systemd-analyze verify` says what it dislikes and ends with 0, so silence is what counts.
#[test]
fn systemd_units() {
    let there = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("NOT CHECKED: there is no systemd-analyze on this machine, so deploy/systemd is not verified");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (kind, program) in [("system", "/usr/local/bin/eg"), ("user", "%h/.cargo/bin/eg")] {
        let home = dir.path().join(kind);
        fs::create_dir_all(&home).unwrap();
        for unit in ["eg-sweep.service", "eg-sweep.timer"] {
            let text = read(&format!("systemd/{kind}/{unit}"));
            assert_eq!(text.contains(program), unit.ends_with("service"), "{text}");
            // It has to be there, and executable.
            fs::write(home.join(unit), text.replace(program, env!("CARGO_BIN_EXE_eg"))).unwrap();
        }
        let verify = || {
            let units = ["eg-sweep.service", "eg-sweep.timer"].map(|unit| home.join(unit));
            said(&Command::new("systemd-analyze").arg("verify").args(units).output().unwrap())
        };
        assert_eq!(verify(), "", "{kind}");
        let text = fs::read_to_string(home.join("eg-sweep.timer")).unwrap();
        fs::write(home.join("eg-sweep.timer"), text.replace("OnCalendar=*:0/15", "OnCalendar=sometimes")).unwrap();
        assert_ne!(verify(), "", "the check can fail");
    }
}

#[test]
fn the_kubernetes_objects() {
    let file = deploy("kubernetes/cronjob.yaml");
    accepts(tool("kubernetes-validate").arg("--strict").arg(&file));
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.yaml");
    fs::write(&bad, read("kubernetes/cronjob.yaml").replace("concurrencyPolicy", "concurencyPolicy")).unwrap();
    refuses(tool("kubernetes-validate").arg("--strict").arg(&bad));
    cron_time(yaml_cron(&read("kubernetes/cronjob.yaml"), "schedule: "), true);
}

#[test]
fn the_workflow() {
    let check = |file: &Path| {
        let mut command = tool("check-jsonschema");
        command.args(["--builtin-schema", "vendor.github-workflows"]).arg(file);
        command
    };
    accepts(&mut check(&deploy("github/eg-sweep.yml")));
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.yml");
    fs::write(&bad, read("github/eg-sweep.yml").replace("runs-on:", "run-on:")).unwrap();
    refuses(&mut check(&bad));
    cron_time(yaml_cron(&read("github/eg-sweep.yml"), "- cron: "), true);
}

#[test]
fn the_crontab() {
    let text = read("crontab");
    let jobs: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.contains("=")).collect();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let fields: Vec<&str> = job.splitn(6, ' ').collect();
    cron_time(&fields[..5].join(" "), true);
    assert!(fields[5].starts_with("/usr/local/bin/eg sweep "), "cron needs absolute paths: {job}");
    for line in text.lines().filter(|line| !line.starts_with('#') && line.contains('=')) {
        let (name, _) = line.split_once('=').unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{line}");
    }
    cron_time("*/15 * * * 9", false);
}

fn yaml_cron<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
    line.trim_matches('"')
}

/// Five fields as Debian's cron reads them.
#[track_caller]
fn cron_time(expression: &str, good: bool) {
    let code = "import sys; from datetime import datetime; from cronsim import CronSim; \
                next(CronSim(sys.argv[1], datetime(2026, 2, 27)))";
    let output = Command::new(environment()).args(["-c", code, expression]).output().unwrap();
    assert_eq!(output.status.success(), good, "{expression}: {}", said(&output));
}

/// With `--dry-run` behind it, each works as it stands.
#[test]
fn every_command_line_is_one_that_eg_takes() {
    let world = Sandboxed::new();
    let here = stranger(&world);
    let mut seen = 0;
    for file in ["systemd/system/eg-sweep.service", "systemd/user/eg-sweep.service", "crontab", "github/eg-sweep.yml"] {
        for line in read(file).lines().filter(|line| !line.trim_start().starts_with('#') && line.contains("eg sweep "))
        {
            let (_, args) = line.split_once("eg sweep ").unwrap();
            let args: Vec<&str> = args.split(' ').take_while(|arg| !arg.starts_with(['>', '$'])).collect();
            here.eg(&[&["sweep", "--dry-run"], args.as_slice()].concat()).expect_code(0);
            seen += 1;
        }
    }
    let text = read("kubernetes/cronjob.yaml");
    let list = text.lines().find_map(|line| line.trim().strip_prefix("command: ")).unwrap();
    let command: Vec<String> = serde_json::from_str(list).unwrap();
    let args: Vec<&str> = command.iter().skip(1).map(String::as_str).chain(["--dry-run"]).collect();
    here.eg(&args).expect_code(0).json_as("sweep");
    assert_eq!(seen, 4);
    world.ends();
}
