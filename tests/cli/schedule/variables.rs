//! Variables that hold a password: the file that the job reads.

use super::Host;
use crate::harness::{Moto, World};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// The log of cron and the list of processes show a command line to everybody.
#[test]
fn a_password_stays_out_of_the_crontab() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let proxied = |args: &[&str]| host.command(args).env("HTTPS_PROXY", "http://alice:s3cret@p:3128");
    let file = world.here.state_path().with_extension("db.env");
    let json = |args: &[&str]| {
        let outcome = proxied(&[args, &["--output", "json"]].concat()).run().expect_code(0);
        assert!(!outcome.stdout.contains("s3cret"), "{outcome}");
        outcome.json_as("schedule")
    };
    // Shown without the password, with how to make the file.
    let shown = proxied(&["schedule", "show"]).run().expect_code(0);
    assert!(!shown.stdout.contains("s3cret") && shown.stdout.contains(&*file.to_string_lossy()), "{shown}");
    assert!(shown.stdout.contains("(umask 077; env | grep -E '^(HTTPS_PROXY)=' > "), "{shown}");
    assert_eq!(json(&["schedule", "show"])["variablesFile"], *file.to_string_lossy());
    assert!(!file.exists(), "showing makes nothing");

    assert_eq!(json(&["schedule", "install"])["changed"], true);
    let line = host.crontab();
    assert!(!line.contains("s3cret") && !line.contains("HTTPS_PROXY"), "{line}");
    assert!(line.contains(&format!(" reconcile --timer --env-file {}\n", file.display())), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "HTTPS_PROXY=http://alice:s3cret@p:3128\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(json(&["schedule", "install"])["changed"], false);
    assert_eq!(json(&["schedule", "show"])["current"], true);
    // Another password, or one that others can read: not as it would be today.
    let other = host.command(&["schedule", "show", "--output", "json"]).env("HTTPS_PROXY", "http://alice:new@p:3128");
    assert_eq!(other.run().expect_code(0).json()["current"], false);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(json(&["schedule", "show"])["current"], false);
    assert_eq!(json(&["schedule", "install"])["changed"], true);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Without a password there is no such file, and none is left over.
    assert_eq!(host.eg(&["schedule", "install", "--output", "json"]).expect_code(0).json()["changed"], true);
    assert!(!file.exists() && !host.crontab().contains("--env-file"), "{}", host.crontab());
    json(&["schedule", "install"]);
    assert_eq!(json(&["schedule", "remove"])["changed"], true);
    assert!(!file.exists());
    assert_eq!(host.crontab(), "");
}

/// The same for a unit, which others of the user's programs may read.
#[test]
fn a_password_stays_out_of_the_units() {
    let world = World::new();
    let host = Host::with_systemd(&world);
    let proxied = |args: &[&str]| host.command(args).env("ALL_PROXY", "alice:s3cret@p:3128").run();
    let installed = proxied(&["schedule", "install", "--output", "json"]).expect_code(0);
    assert!(!installed.stdout.contains("s3cret"), "{installed}");
    let file = world.here.state_path().with_extension("db.env");
    let service = installed.json_as("schedule")["parts"][0]["text"].as_str().unwrap().to_owned();
    assert!(service.contains(&format!("\"--env-file\" \"{}\"\n", file.display())), "{service}");
    proxied(&["schedule", "remove"]).expect_code(0);
    assert!(!file.exists());
}

/// The same for what is printed for launchd; the user makes the file.
#[test]
fn a_password_stays_out_of_the_property_list() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let proxied = |args: &[&str]| host.command(args).env("HTTPS_PROXY", "http://alice:s3cret@p:3128").run();
    let file = world.here.state_path().with_extension("db.env");
    for (command, code) in [("show", 0), ("install", 1), ("remove", 1)] {
        for output in ["table", "json"] {
            let args = ["schedule", command, "--with", "launchd", "--output", output];
            let outcome = proxied(&args).expect_code(code);
            assert!(!outcome.to_string().contains("s3cret"), "{outcome}");
            assert!(outcome.to_string().contains(&*file.to_string_lossy()), "{outcome}");
        }
    }
    let shown = proxied(&["schedule", "show", "--with", "launchd"]).stdout;
    assert!(shown.contains("<string>--env-file</string>\n") && !shown.contains("<key>HTTPS_PROXY</key>"), "{shown}");
    assert!(shown.contains("Make that file by hand:\n(umask 077; env | grep -E '^(HTTPS_PROXY)=' > "), "{shown}");
    assert!(!file.exists());
}

/// The job gets what is in the file, and nobody else is told: a process that it starts sees the variable.
#[test]
fn the_job_reads_its_variables_and_judges_their_file() {
    let world = World::new();
    let host = Host::with_cron(&world);
    let seen = world.dir().join("seen");
    let key = Moto::access_key(world.account(), "WORK");
    let process = format!(
        "printf %s \"$HTTPS_PROXY\" > {}; echo '{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \"SecretAccessKey\": \"s\"}}'",
        seen.display()
    );
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    fs::write(world.here.home().join(".aws/config"), format!("[profile work]\ncredential_process = {process}\n"))
        .unwrap();
    let work = |args: &[&str]| {
        let command = host.command(args).env("AWS_PROFILE", "work").env("HTTPS_PROXY", "http://u:p%40@p:1");
        command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").run()
    };
    work(&["session", "start", "--only", "prod-api-sg"]).expect_code(0);
    work(&["schedule", "install"]).expect_code(0);
    let table = host.crontab();
    let line = table.lines().last().unwrap().strip_prefix("* * * * * ").unwrap().replace(r"\%", "%");
    let file = world.here.state_path().with_extension("db.env");
    let run = || {
        fs::remove_file(&seen).ok();
        let mut cron = Command::new("/bin/sh");
        cron.args(["-c", &line]).env_clear().env("HOME", world.here.home()).env("PATH", "/usr/bin:/bin");
        let output = cron.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), fs::read_to_string(&seen).unwrap_or_default())
    };
    assert_eq!(run(), (Some(0), String::new(), "http://u:p%40@p:1".to_owned()));
    let json = host.eg(&["schedule", "show", "--output", "json"]).expect_code(0).json();
    assert!(json["lastRunAt"].is_string(), "{json:#}");
    // A file that others could have written sets nothing; the pass is made, and says so.
    work(&["session", "stop"]).expect_code(0);
    work(&["session", "start", "--only", "prod-api-sg", "--duration", "1h"]).expect_code(0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let (code, said, seen_then) = run();
    assert_eq!((code, seen_then.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("is not used: others can read or write it (chmod 600)"), "{said}");
    assert!(said.contains("hint: write it anew: eg schedule install"), "{said}");
    assert_eq!((run().0, run().1), (Some(1), String::new()), "cron hears of it once");
    work(&["session", "stop"]).expect_code(0);
}
