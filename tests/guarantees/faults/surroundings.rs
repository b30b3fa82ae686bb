//! B27, B28, B35: other credentials, cron's empty environment, full and read-only disks.

use super::{AUTHORIZE, REVOKE, marked, newest, one_group, says, sessions, settle, status, stop_and_settle};
use crate::harness::{Fault, IPV4, Moto, REGION, Sandboxed, World};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn keys(world: &World) -> Vec<String> {
    let mut keys: Vec<_> = world.calls().into_iter().map(|call| call.access_key).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// B27.
#[test]
fn cron_reaches_what_a_profile_of_the_shell_opened() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.here.write_profiles(&[("work", "WORK")]);
    let shell = |args: &[&str]| {
        let command = world.here.command(args).env("AWS_PROFILE", "work");
        command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY")
    };
    shell(&["session", "start", "--duration", "1h"]).run().expect_code(0);
    assert_eq!(keys(&world), [Moto::access_key(world.account(), "WORK")]);
    world.advance(3601);
    world.forget_calls();
    let (config, state) = (world.here.config_path(), world.here.state_path());
    let cron = ["--config", config.to_str().unwrap(), "--state", state.to_str().unwrap(), "reconcile", "--timer"];
    let closed = world.here.command(&cron).like_cron().run().expect_code(0);
    assert_eq!((closed.stdout.as_str(), closed.stderr.as_str()), ("", ""), "what goes well is no mail");
    assert_eq!(keys(&world), [Moto::access_key(world.account(), "WORK")]);
    assert_eq!(status(&world), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B27: what cron cannot reach is not taken for gone.
#[test]
fn cron_without_the_keys_closes_nothing_and_says_so() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let started = world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    says(&started, "come from this shell's environment");
    let open = world.cloud.snapshot();
    let (config, state) = (world.here.config_path(), world.here.state_path());
    let cron = ["--config", config.to_str().unwrap(), "--state", state.to_str().unwrap(), "reconcile", "--timer"];
    let cron = || world.here.command(&cron).like_cron().env("AWS_EC2_METADATA_DISABLED", "true").run();
    world.advance(3601);
    for _ in 0..3 {
        let outcome = cron().expect_code(3);
        assert_eq!(world.cloud.snapshot(), open, "{outcome}");
        assert_eq!(status(&world), "EXPIRING");
        world.advance(400);
    }
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, "overdue");
    settle(&world);
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
}

/// B28.
#[test]
fn a_profile_of_the_resource_beats_the_keys_of_the_environment() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.here.write_profiles(&[("prod", "PROD")]);
    let (api, db) = (world.group("prod-api-sg").to_owned(), world.group("prod-db-sg").to_owned());
    world.write_config(
        &(world.config_head()
            + &World::resource("api", &api, REGION, &["tcp/22"], "profile = \"prod\"\n")
            + &World::resource("db", &db, REGION, &["tcp/5432"], "")),
    );
    world.eg(&["session", "start"]).expect_code(0);
    let of = |group: &str| {
        let calls = world.calls();
        let mine = calls.iter().filter(|call| call.groups.iter().any(|g| g == group));
        mine.map(|call| call.access_key.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(of(&api).into_iter().collect::<Vec<_>>(), [Moto::access_key(world.account(), "PROD")]);
    assert_eq!(of(&db).into_iter().collect::<Vec<_>>(), [Moto::access_key(world.account(), "ENV")]);
    // The resource goes from the configuration: the snapshot still knows the profile.
    world.write_config(&(world.config_head() + &World::resource("db", &db, REGION, &["tcp/5432"], "")));
    world.forget_calls();
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(of(&api).into_iter().collect::<Vec<_>>(), [Moto::access_key(world.account(), "PROD")]);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_profile_that_does_not_exist_is_said() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.here.write_profiles(&[("prod", "PROD")]);
    let api = world.group("prod-api-sg").to_owned();
    world.write_config(
        &(world.config_head() + &World::resource("api", &api, REGION, &["tcp/22"], "profile = \"prdo\"\n")),
    );
    let refused = world.eg(&["session", "start"]).expect_code(1);
    says(&refused, "AWS profile \"prdo\" does not exist (known: prod)");
    assert!(world.calls().is_empty(), "the environment's keys are not a second choice: {}", world.call_counts());
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_role_is_assumed_for_its_resource() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let api = world.group("prod-api-sg").to_owned();
    let role = format!("arn:aws:iam::{}:role/eg-operator", world.account());
    let more = format!("role_arn = \"{role}\"\nexternal_id = \"open-sesame\"\n");
    world.write_config(&(world.config_head() + &World::resource("api", &api, REGION, &["tcp/22"], &more)));
    world.eg(&["session", "start"]).expect_code(0);
    let calls = world.calls();
    let assume = calls.iter().find(|call| call.action == "AssumeRole").expect("an AssumeRole");
    assert_eq!(assume.fields["RoleArn"], *role);
    assert_eq!(assume.fields["ExternalId"], "open-sesame");
    assert_eq!(assume.fields["RoleSessionName"].as_str().unwrap().split('-').next(), Some("eg"));
    assert_eq!(calls.iter().filter(|call| call.action == "AssumeRole").count(), 1);
    let own = Moto::access_key(world.account(), "ENV");
    assert!(calls.iter().all(|call| (call.action == "AssumeRole") == (call.access_key == own)), "{calls:#?}");
    let arns = sessions(&world)[0]["callerArns"].clone();
    assert!(arns[0].as_str().unwrap().contains("assumed-role/eg-operator/eg-"), "{arns}");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);

    world.faults(&[Fault::refuse("AssumeRole", 403, "AccessDenied", "not authorized to perform: sts:AssumeRole")]);
    let refused = world.eg(&["session", "start"]);
    assert!(matches!(refused.code(), Some(1 | 3)), "{refused}");
    says(&refused, "sts:AssumeRole");
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    stop_and_settle(&world, &before);
}

/// A small file system of its own, where the one who runs the tests may make one.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: only root can mount a small file system, and not everywhere");
        None
    }

    fn fill(&self) {
        let mut size = 64 * 1024;
        for number in 0.. {
            if fs::write(self.0.join(format!("filler-{number}")), vec![1; size]).is_err() {
                size /= 4;
            }
            if size < 512 {
                return;
            }
        }
    }

    fn empty(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn remount(&self, how: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// B35: closing goes on without the record, by the ids that are known.
#[test]
fn a_full_disk_does_not_keep_a_rule_open() {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "1m") else { return };
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    disk.fill();
    world.advance(3601);
    let closed = world.eg(&["reconcile"]);
    assert_eq!(world.cloud.snapshot(), before, "{closed}");
    assert!(matches!(closed.code(), Some(1 | 3)), "{closed}");
    says(&closed, "full");
    disk.empty();
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "EXPIRED");
    stop_and_settle(&world, &before);
}

#[test]
fn a_full_disk_opens_nothing() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "1m") else { return };
    world.eg(&["session", "start"]).expect_code(0);
    world.eg(&["session", "stop"]).expect_code(0);
    disk.fill();
    let started = world.eg(&["session", "start"]).expect_code(1);
    says(&started, "full");
    says(&started, "free some space");
    assert_eq!(world.cloud.snapshot(), before);
    disk.empty();
    world.eg(&["session", "start"]).expect_code(0);
    stop_and_settle(&world, &before);
}

#[test]
fn a_disk_that_fills_up_before_a_stop() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "1m") else { return };
    world.eg(&["session", "start"]).expect_code(0);
    disk.fill();
    // What can be closed is closed; that the stop is not on record is said.
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "the stop could not be recorded");
    assert!(!stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    disk.empty();
    stop_and_settle(&world, &before);
}

/// A read-only file system is like a full disk: what is on record is closed, and nothing is opened.
#[test]
fn a_read_only_record_does_not_keep_a_rule_open() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "4m") else { return };
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let open = world.cloud.snapshot();
    disk.remount("ro");
    assert_eq!(sessions(&world).len(), 1);
    world.eg(&["session", "get", &newest(&world)]).expect_code(0);
    world.forget_calls();
    let started = world.eg(&["session", "start"]).expect_code(1);
    says(&started, "state.db");
    assert!(world.calls().iter().all(|call| call.action != AUTHORIZE && call.action != REVOKE));
    assert_eq!(world.cloud.snapshot(), open);
    world.advance(3601);
    for _ in 0..2 {
        let closed = world.eg(&["reconcile"]).expect_code(3);
        says(&closed, "nothing is opened, closing goes on");
        says(&closed, "how its file system is mounted");
        assert_eq!(world.cloud.snapshot(), before, "{closed}");
    }
    disk.remount("rw");
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "EXPIRED");
    stop_and_settle(&world, &before);
}

#[test]
fn a_stop_with_a_read_only_record() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "4m") else { return };
    world.eg(&["session", "start"]).expect_code(0);
    disk.remount("ro");
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "the stop could not be recorded");
    assert!(!stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    disk.remount("rw");
    stop_and_settle(&world, &before);
}

/// The last process was killed: its write-ahead log holds what the database does not.
#[test]
fn a_read_only_record_with_the_log_of_a_killed_process() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let Some(disk) = Disk::mount(&world.here.home().join("state/eg"), "4m") else { return };
    world.eg(&["session", "start", "--no-wait", "--duration", "1h"]).expect_code(0);
    // As long as it has the record open, nothing moves from the log to the database.
    let watch = world.here.command(&["reconcile", "--watch"]).spawn();
    watch.wait_for_call(|call| call.action == AUTHORIZE && !call.dry_run);
    while status(&world) != "ACTIVE" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    watch.signal("KILL");
    watch.wait();
    let log = format!("{}-wal", world.here.state_path().display());
    assert!(fs::metadata(&log).unwrap().len() > 0);
    disk.remount("ro");
    world.advance(3601);
    let closed = world.eg(&["reconcile"]).expect_code(3);
    assert_eq!(world.cloud.snapshot(), before, "{closed}");
    disk.remount("rw");
    world.advance(1000);
    settle(&world);
    stop_and_settle(&world, &before);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    // A file stands where the directory should be.
    fs::create_dir_all(world.here.home().join("state")).unwrap();
    fs::write(world.here.home().join("state/eg"), "not a directory").unwrap();
    let outcome = world.eg(&["session", "start"]).expect_code(1);
    says(&outcome, "state/eg");
    fs::remove_file(world.here.home().join("state/eg")).unwrap();
    // Somebody else's directory, also as root.
    fs::create_dir(world.here.home().join("state/eg")).unwrap();
    let owned = Command::new("chown").arg("12345").arg(world.here.home().join("state/eg")).status();
    if owned.is_ok_and(|status| status.success()) {
        let outcome = world.eg(&["session", "start"]).expect_code(1);
        says(&outcome, "state/eg");
        assert_eq!(fs::read_dir(world.here.home().join("state/eg")).unwrap().count(), 0, "nothing is put there");
    } else {
        eprintln!("skipped: only root can give a directory away");
    }
    assert!(marked(&world, "prod-api-sg").is_empty());
    assert_eq!(world.cloud.snapshot(), before);
}

/// AWS_ENDPOINT_URL_EC2 is for EC2 alone, as in every AWS tool; and so it is from cron, where nobody names it.
#[test]
fn the_endpoint_of_ec2_is_for_ec2_alone() {
    let ec2 = Sandboxed::new();
    let others = Sandboxed::new();
    let start = ["session", "start", "--ipv4", IPV4];
    let command = ec2.here.command(&start).env("AWS_ENDPOINT_URL_EC2", ec2.region.endpoint());
    let started = command.env("AWS_ENDPOINT_URL", others.region.endpoint()).run().expect_code(0);
    for (endpoint, what) in [(&ec2, "EC2"), (&others, "everything else")] {
        let line = format!("Using endpoint {} for {what}\n", endpoint.region.endpoint());
        assert!(started.stderr.contains(&line), "{started}");
    }
    ec2.here.command(&["session", "stop"]).without("AWS_ENDPOINT_URL").run().expect_code(0);
    let asked = |world: &Sandboxed| world.calls().into_iter().map(|call| call.action).collect::<BTreeSet<_>>();
    assert_eq!(asked(&others), BTreeSet::from(["GetCallerIdentity".to_owned()]));
    assert!(asked(&ec2).contains("RevokeSecurityGroupIngress") && !asked(&ec2).contains("GetCallerIdentity"));
    ec2.ends();
    others.ends();
}

/// What a session remembers would fail it until it ends, long after the variable is gone.
#[test]
fn an_endpoint_that_nobody_may_speak_to_is_refused_at_once() {
    let world = one_group(&["tcp/22"]);
    for endpoint in ["http://example.com", "nonsense", "ftp://example.com"] {
        let start = world.here.command(&["session", "start"]).env("AWS_ENDPOINT_URL", endpoint);
        let refused = start.run().expect_code(2);
        says(&refused, "see AWS_ENDPOINT_URL");
        assert!(sessions(&world).is_empty(), "{refused}");
    }
}
