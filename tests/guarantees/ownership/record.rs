//! The state file: lost, copied, restored, damaged, newer, two in one directory.

use super::*;
use std::io::{Seek, SeekFrom, Write};

fn lose(at: &Installation, guard_too: bool) {
    for file in state_files(at) {
        if guard_too || !file.to_string_lossy().ends_with(".guard") {
            fs::remove_file(file).unwrap();
        }
    }
}

/// B18: the old rules close by their own tags, not before.
#[test]
fn rules_of_a_lost_database_close_by_their_tags() {
    for guard_too in [false, true] {
        let world = World::new();
        let before = bystanders(&world);
        world.write_config(&collecting(&world));
        start(&world.here, &["--only", API, "--duration", "1h"]);
        let open = world.cloud.snapshot();
        lose(&world.here, guard_too);

        let told = pass(&world.here, 0);
        if !guard_too {
            says(&told, "warning: the earlier state file ");
        }
        assert_eq!(world.cloud.snapshot(), open);
        let nothing = world.eg(&["session", "stop"]).expect_code(1);
        says(&nothing, "no live sessions");
        world.advance(HOUR + 5 * MINUTE);
        pass(&world.here, 0);
        assert_eq!(world.cloud.snapshot(), open);
        world.advance(6 * MINUTE);
        pass(&world.here, 0);
        assert_eq!(world.cloud.snapshot(), before);
    }
}

/// B18: a new session on the old rule joins it.
#[test]
fn a_new_database_joins_the_rules_of_the_lost_one() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--only", API, "--duration", "1h"]);
    let rule = our_rule(&world, API);
    lose(&world.here, false);
    let id = start(&world.here, &["--only", API, "--duration", "4h"]);
    assert_eq!(our_rule(&world, API).id, rule.id);
    world.advance(2 * HOUR);
    pass(&world.here, 0);
    assert_eq!(our_rule(&world, API).id, rule.id);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B25: two installations, as far as anybody can tell.
#[test]
fn two_state_files_in_one_directory_close_nothing_of_each_other() {
    let world = World::new();
    let before = bystanders(&world);
    let run = |state: &str, args: &[&str]| {
        let path = world.dir().join(state);
        world.eg(&[&["--output", "json", "--state", path.to_str().unwrap()], args].concat())
    };
    let first = id_of(&run("a.db", &["session", "start", "--only", API]).expect_code(0));
    let open = world.cloud.snapshot();
    run("b.db", &["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), open);
    let second = id_of(&run("b.db", &["session", "start", "--only", API]).expect_code(0));
    let rule = our_rule(&world, API);
    assert_eq!(leases(&rule).len(), 2, "{rule}");

    run("b.db", &["session", "stop", &second]).expect_code(0);
    assert_eq!(our_rule(&world, API).id, rule.id);
    let shown = run("a.db", &["session", "get", &first]).expect_code(0).json_as("session");
    assert_eq!(shown["status"], "ACTIVE");
    run("a.db", &["session", "stop", &first]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B25: an id that was copied before there were any rules; our tag without a row is left and reported.
#[test]
fn a_second_file_with_the_same_id_closes_nothing_of_the_first() {
    let world = World::new();
    let before = bystanders(&world);
    pass(&world.here, 0);
    let copied = world.dir().join("copy");
    copy(&state_files(&world.here), &copied);
    let copied = copied.join("state.db");
    let other = |args: &[&str]| world.eg(&[&["--state", copied.to_str().unwrap()], args].concat());

    let id = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    world.advance(2 * HOUR);
    let told = other(&["reconcile"]).expect_code(0);
    says(&told, "carries our tag but is not in this record; it closes by its own tag");
    assert_eq!(world.cloud.snapshot(), open);
    other(&["session", "start", "--only", "prod-db-sg"]).expect_code(0);
    other(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), open);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B25: another machine may read, not write.
#[test]
fn a_copy_on_another_machine_closes_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    let open = world.cloud.snapshot();
    let other = world.installation("other-machine");
    copy(&state_files(&world.here), other.state_path().parent().unwrap());

    let all: [&[&str]; 5] = [
        &["session", "stop", &id],
        &["session", "stop", "--all"],
        &["session", "extend", &id, "--hours", "1"],
        &["session", "start", "--only", API],
        &["reconcile"],
    ];
    for args in all {
        let refused = other.eg(args).expect_code(1);
        says(&refused, "belongs to another machine");
        for way in ["eg state adopt", "--state", "EG_MACHINE"] {
            says(&refused, way);
        }
    }
    says(&other.eg(&["session", "list"]).expect_code(0), &id[..8]);
    world.advance(HOUR + MINUTE);
    other.eg(&["reconcile"]).expect_code(1);
    assert_eq!(world.cloud.snapshot(), open);
    // The machine that it belongs to goes on as ever.
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B25: that machine is gone; its leases become ours.
#[test]
fn an_adopted_copy_closes_what_it_holds() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    let other = world.installation("other-machine");
    copy(&state_files(&world.here), other.state_path().parent().unwrap());
    lose(&world.here, true);

    let adopted = other.eg(&["state", "adopt"]).expect_code(0);
    says(&adopted, "is this machine's now");
    assert_eq!(status(&other, &id), "ACTIVE");
    world.forget_calls();
    pass(&other, 0);
    assert_eq!(changes(&world), Vec::<String>::new());
    assert_eq!(our_rule(&world, API), rule);
    stop(&other, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// What is hinted at works: the name that the file was made with, and adopting where that is not known any more.
#[test]
fn a_file_made_under_another_name_is_closed_by_the_ways_that_are_named() {
    let world = World::new();
    let before = bystanders(&world);
    let named = |name: &str, args: &[&str]| world.here.command(args).env("EG_MACHINE", name).run();
    named("build-7", &["session", "start", "--only", API, "--duration", "1h"]).expect_code(0);
    world.advance(HOUR + MINUTE);
    let refused = world.eg(&["reconcile"]).expect_code(1);
    says(&refused, "set EG_MACHINE to that name again");
    says(&refused, "its id has changed: eg state adopt");
    named("build-7", &["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before, "closed under the name that it was made with");

    named("build-8", &["reconcile"]).expect_code(1);
    named("build-8", &["state", "adopt"]).expect_code(0);
    named("build-8", &["session", "start", "--only", API]).expect_code(0);
    named("build-9", &["session", "stop"]).expect_code(1);
    named("build-9", &["state", "adopt"]).expect_code(0);
    named("build-9", &["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before, "closed by who adopted it");
}

#[test]
fn there_has_to_be_something_to_adopt() {
    let world = World::new();
    let refused = world.eg(&["state", "adopt"]).expect_code(1);
    says(&refused, "does not exist");
    assert!(state_files(&world.here).is_empty());
}

/// B18: the backup takes a session for live that may have been stopped since.
#[test]
fn a_restored_backup_ends_its_live_sessions() {
    let world = World::new();
    let before = bystanders(&world);
    let old = start(&world.here, &["--only", API]);
    let files: Vec<_> = state_files(&world.here).into_iter().filter(|f| !f.ends_with("state.db.guard")).collect();
    let backup = world.dir().join("backup");
    copy(&files, &backup);

    stop(&world.here, &old).expect_code(0);
    let new = start(&world.here, &["--only", "prod-db-sg", "--duration", "1h"]);
    let open = world.cloud.snapshot();
    lose(&world.here, false);
    let files: Vec<_> = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path()).collect();
    copy(&files, world.here.state_path().parent().unwrap());

    let told = reconcile(&world.here);
    says(&told, "is a restored backup; its 1 live session");
    assert!([Some(0), Some(3)].contains(&told.code()), "{told}");
    assert_eq!(world.cloud.snapshot(), open, "the old rule is not opened again, the new one closes by its tag");
    assert!(!["PENDING", "ACTIVE"].contains(&status(&world.here, &old).as_str()));
    world.eg(&["session", "get", &new]).expect_code(1);

    world.write_config(&collecting(&world));
    world.advance(SETTLED);
    let told = reconcile(&world.here);
    says_not(&told, "is a restored backup");
    assert_eq!(status(&world.here, &old), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), open);
    world.advance(HOUR + 6 * MINUTE);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B18: its rules are still open, and known by their ids.
#[test]
fn a_restored_backup_closes_the_rules_that_it_knows() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let files: Vec<_> = state_files(&world.here).into_iter().filter(|f| !f.ends_with("state.db.guard")).collect();
    let backup = world.dir().join("backup");
    copy(&files, &backup);
    // A pass that changes nothing would make no difference between the two.
    pass(&world.here, 0);
    let later = start(&world.here, &["--only", "prod-db-sg"]);
    world.eg(&["session", "stop", &later]).expect_code(0);
    lose(&world.here, false);
    let files: Vec<_> = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path()).collect();
    copy(&files, world.here.state_path().parent().unwrap());
    let told = pass(&world.here, 0);
    says(&told, "is a restored backup");
    assert_eq!(status(&world.here, &id), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// Names and bytes of everything in the state's directory.
fn bytes(at: &Installation) -> Vec<(PathBuf, Vec<u8>)> {
    state_files(at).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[track_caller]
fn refused_and_left(world: &World, id: &str, words: &str) {
    let open = world.cloud.snapshot();
    let found = bytes(&world.here);
    world.forget_calls();
    let all: [&[&str]; 7] = [
        &["session", "list"],
        &["session", "get", id],
        &["session", "start"],
        &["session", "extend", id, "--hours", "1"],
        &["session", "stop", id],
        &["reconcile"],
        &["state", "adopt"],
    ];
    for args in all {
        let refused = world.eg(args).expect_code(1);
        says(&refused, "state.db");
        says(&refused, words);
        assert_eq!(bytes(&world.here), found, "{args:?} changed a file\n{refused}");
    }
    assert_eq!(changes(world), Vec::<String>::new());
    assert_eq!(world.cloud.snapshot(), open);
}

fn patch(world: &World, at: u64, with: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(world.here.state_path()).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(with).unwrap();
}

/// B18.
#[test]
fn a_damaged_file_is_left_byte_for_byte_alone() {
    let world = World::new();
    bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    fs::write(world.here.state_path(), "this is no database, but somebody may want it\n".repeat(100)).unwrap();
    refused_and_left(&world, &id, "was left as it is");
}

/// B18: the user version stands at offset 60 of the header, big endian.
#[test]
fn a_newer_file_is_left_byte_for_byte_alone() {
    let world = World::new();
    bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    patch(&world, 60, &999_u32.to_be_bytes());
    refused_and_left(&world, &id, "was written by a newer eg (schema 999");
}

/// The application id stands at offset 68.
#[test]
fn a_database_of_another_program_is_left_byte_for_byte_alone() {
    let world = World::new();
    bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    patch(&world, 68, &0x1234_5678_u32.to_be_bytes());
    refused_and_left(&world, &id, "is a database of another program");
}
