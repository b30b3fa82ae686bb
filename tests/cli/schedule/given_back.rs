//! What a scheduler gives back is what it was given, or nothing is installed.

use super::{Host, OTHERS, program};
use crate::{cli::session::error_of, harness::World};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

/// "Installed" is what the scheduler gives back, not what it was given.
#[test]
fn a_crontab_that_comes_back_changed_is_not_installed() {
    let world = World::new();
    let host = Host::with_cron(&world);
    fs::write(host.crontab_path(), OTHERS).unwrap();
    let table = host.crontab_path();
    let table = table.display();
    let mangles = format!(
        "[ \"$1\" = -l ] && exec cat '{table}'\n[ \"$1\" = - ] && exec sed 's/ reconcile / reconcil /' > '{table}'\nexit 2\n"
    );
    program(&host.bin.join("crontab"), &mangles);
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).contains("does not give the line back as it was written"), "{outcome}");
    assert_eq!(host.crontab(), OTHERS);
}

#[test]
fn units_that_systemd_does_not_take_are_not_installed() {
    let world = World::new();
    let host = Host::with_systemd(&world);
    fs::write(host.bin.join("systemctl.log.bad"), "").unwrap();
    let outcome = host.eg(&["schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).contains("systemd does not take it: "), "{outcome}");
    assert!(error_of(&outcome).contains("\"bad-setting\""), "{outcome}");
    assert!(!host.told().iter().any(|told| told.contains("enable")), "{:?}", host.told());
    let units = world.here.home().join("config/systemd/user");
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0, "nothing is left behind");
    // An older job stays as it was.
    fs::remove_file(host.bin.join("systemctl.log.bad")).unwrap();
    host.eg(&["schedule", "install"]).expect_code(0);
    let old = |name: &str| fs::read_to_string(units.join(name)).unwrap();
    let names: Vec<String> =
        fs::read_dir(&units).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let before: Vec<String> = names.iter().map(|name| old(name)).collect();
    fs::write(host.bin.join("systemctl.log.bad"), "").unwrap();
    host.command(&["schedule", "install"]).env("NO_PROXY", "new").run().expect_code(1);
    assert_eq!(names.iter().map(|name| old(name)).collect::<Vec<_>>(), before);
}

/// What a scheduler would read as something else is refused before anything is written.
#[test]
fn paths_that_no_scheduler_carries() {
    let world = World::new();
    let cron = Host::with_cron(&world);
    fs::write(cron.crontab_path(), OTHERS).unwrap();
    for (name, why) in [
        ("a\r* * * * * touch b", "a line break"),
        (r"a\\b", "some versions of cron"),
        (r"a\%b", "some versions of cron"),
        ("a\u{1b}b", "a control character"),
    ] {
        let state = world.dir().join(name).to_string_lossy().into_owned();
        for what in ["install", "show"] {
            let outcome = cron.eg(&["--state", &state, "schedule", what]).expect_code(1);
            assert!(error_of(&outcome).contains(why), "{outcome}");
        }
        assert_eq!(cron.crontab(), OTHERS, "{name:?}");
    }
    // Bytes that are no text: neither cron nor systemd is sure to give them back.
    let state = OsStr::from_bytes(b"/tmp/\xff/state.db");
    let outcome = cron.command(&["schedule", "install"]).arg("--state").arg(state).run().expect_code(1);
    assert!(error_of(&outcome).contains("it is not UTF-8"), "{outcome}");
    assert_eq!(cron.crontab(), OTHERS);
}

#[test]
fn a_carriage_return_in_a_unit() {
    let world = World::new();
    let host = Host::with_systemd(&world);
    let state = world.dir().join("a\rExecStartPre=touch b").to_string_lossy().into_owned();
    let outcome = host.eg(&["--state", &state, "schedule", "install"]).expect_code(1);
    assert!(error_of(&outcome).ends_with("a path or a variable of the job holds a line break"), "{outcome}");
    assert!(!world.here.home().join("config/systemd").exists());
}
