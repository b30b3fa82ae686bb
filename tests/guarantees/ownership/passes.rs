//! `eg reconcile` itself: what it shows, what it costs, how it talks to cron, and `--watch`.

use super::*;
use crate::harness::eg::assert_valid;

#[test]
fn a_dry_run_without_a_state_file_makes_none() {
    let world = World::new();
    let before = bystanders(&world);
    let told = world.eg(&["reconcile", "--dry-run"]).expect_code(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", "Nothing to do.\n"));
    assert!(!world.here.state_path().exists());
    assert!(state_files(&world.here).is_empty());
    assert_eq!(world.call_counts(), "");
    assert_eq!(world.cloud.snapshot(), before);
}

/// A rule to open, one to close, a tag to rewrite, one that stays, one of others.
#[test]
fn a_dry_run_shows_everything_and_does_nothing() {
    let world = World::new();
    bystanders(&world);
    let twin = world.cloud.authorize(world.group("dev-web-sg"), "tcp/443", &cidr(), "mine", &[]);
    start(&world.here, &["--only", "prod-db-sg", "--duration", "1h"]);
    let id = start(&world.here, &["--only", "dev-web-sg", "--duration", "4h"]);
    start(&world.here, &["--only", API, "--duration", "4h"]);
    begin(&world.here, &["--only", API, "--duration", "6h", "--no-wait"]).expect_code(0);
    let web = ours(&world.cloud, world.group("dev-web-sg"));
    let gone = web.iter().find(|rule| rule.ports == (22, 22)).unwrap();
    let kept = web.iter().find(|rule| rule.ports == (8000, 8080)).unwrap();
    world.cloud.revoke(world.group("dev-web-sg"), &gone.id);
    world.advance(HOUR + 1);
    let (api, db) = (our_rule(&world, API), our_rule(&world, "prod-db-sg"));
    let open = world.cloud.snapshot();
    let sessions = world.eg(&["--output", "json", "session", "list"]).stdout;

    world.forget_calls();
    let told = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
    let has = |line: &str| assert!(told.stdout.lines().any(|l| l.starts_with(line)), "\"{line}\" is missing:\n{told}");
    for name in ["prod-api-sg", "prod-db-sg", "dev-web-sg"] {
        has(&format!("{name} ({} in eu-west-1)", world.group(name)));
    }
    has(&format!("  + open tcp/22 from {} until ", cidr()));
    has(&format!("  - close {} (tcp/5432 from {})", db.id, cidr()));
    has(&format!("  ~ keep {} (tcp/22 from {}) until ", api.id, cidr()));
    has(&format!("  = tcp/8000-8080 from {} ({})", cidr(), kept.id));
    has(&format!("  = tcp/443 from {} ({twin}, not eg's)", cidr()));
    assert_eq!(changes(&world), Vec::<String>::new());
    assert_eq!(world.cloud.snapshot(), open);

    let plan = world.eg(&["--output", "json", "reconcile", "--dry-run"]).expect_code(3).json_as("reconcile");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["outcome"] == "planned"), "{plan:#}");
    let mut actions: Vec<_> = steps.iter().map(|step| step["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["authorize", "retag", "revoke"]);
    let again = world.eg(&["--output", "json", "reconcile", "--dry-run"]).json_as("reconcile");
    assert_eq!(plan["digest"], again["digest"], "the same plan");
    let statuses = |text: &str| -> Vec<Value> {
        let list: Value = serde_json::from_str(text).unwrap();
        list.as_array().unwrap().iter().map(|session| session["status"].clone()).collect()
    };
    let after = world.eg(&["--output", "json", "session", "list"]).stdout;
    assert_eq!(statuses(&after), statuses(&sessions), "not even the expiry is recorded");

    // The real pass does exactly that.
    let done = world.eg(&["--output", "json", "reconcile"]).expect_code(0).json_as("reconcile");
    assert_eq!(done["digest"], plan["digest"]);
    world.eg(&["reconcile", "--dry-run"]).expect_code(0);
    assert_eq!(status(&world.here, &id), "ACTIVE");
}

/// A target that cannot be read makes a dry run uncertain.
#[test]
fn a_dry_run_over_an_unavailable_target_is_not_clean() {
    let world = World::new();
    start(&world.here, &["--only", API]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    let told = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
    says(&told, "cannot be read");
}

#[test]
fn a_steady_pass_is_one_describe_call_and_silent() {
    let world = World::new();
    bystanders(&world);
    start(&world.here, &[]);
    pass(&world.here, 0);
    let open = world.cloud.snapshot();
    for _ in 0..3 {
        world.advance(MINUTE);
        world.forget_calls();
        let told = world.eg(&["reconcile", "--timer"]).expect_code(0);
        assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
        assert_eq!(world.call_counts(), "1×DescribeSecurityGroupRules");
    }
    assert_eq!(world.cloud.snapshot(), open);
}

/// ⌈groups/200⌉.
#[test]
fn a_steady_pass_over_two_hundred_and_one_groups_is_two_describe_calls() {
    let mut world = World::bare();
    let mut config = world.config_head();
    for number in 0..201 {
        let name = format!("group-{number:03}");
        let group = world.make_group(&name);
        // All of them are covered, which costs the start no call.
        world.cloud.authorize(&group, "tcp/22", &cidr(), "by hand", &[]);
        config += &World::resource(&name, &group, REGION, &["tcp/22"], "");
    }
    world.write_config(&config);
    start(&world.here, &[]);
    pass(&world.here, 0);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.call_counts(), "2×DescribeSecurityGroupRules");
}

#[test]
fn with_nothing_live_and_nothing_open_there_is_no_call() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    pass(&world.here, 0);
    stop(&world.here, &id).expect_code(0);
    world.forget_calls();
    let told = pass(&world.here, 0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", "Nothing to do.\n"));
    assert_eq!(world.call_counts(), "");
    // Once an hour it looks for what others have left.
    world.advance(HOUR + 1);
    pass(&world.here, 0);
    assert_ne!(world.call_counts(), "");
    assert_eq!(changes(&world), Vec::<String>::new());
    assert_eq!(world.cloud.snapshot(), before);
}

/// Missing credentials are no news to a machine that has nothing open.
#[test]
fn a_collection_pass_without_credentials_is_silent() {
    let world = World::new();
    let told = world.here.command(&["reconcile"]).like_cron().env("XDG_CONFIG_HOME", world.here.home().join("config"));
    let told = told.env("AWS_EC2_METADATA_DISABLED", "true").run().expect_code(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", "Nothing to do.\n"));
    assert_eq!(world.call_counts(), "");
}

/// Cron manners: new, changed, ended, else once in six hours; the exit status is the same every time.
#[test]
fn cron_hears_of_a_failure_when_it_is_news() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "20h"]);
    let rule = our_rule(&world, API);
    world.cloud.revoke(world.group(API), &rule.id);
    world.faults(&[Fault::deny("AuthorizeSecurityGroupIngress")]);

    let new = world.eg(&["reconcile", "--timer"]).expect_code(1);
    says(&new, "UnauthorizedOperation");
    for _ in 0..3 {
        world.advance(MINUTE);
        let same = world.eg(&["reconcile", "--timer"]).expect_code(1);
        assert_eq!(same.stderr, "", "{same}");
    }
    world.advance(20 * MINUTE);
    let same = world.eg(&["reconcile", "--timer"]).expect_code(1);
    assert_eq!(same.stderr, "", "tried again, and still the same: {same}");

    let full = Fault::refuse("AuthorizeSecurityGroupIngress", 400, "RulesPerSecurityGroupLimitExceeded", "full");
    world.faults(&[full]);
    world.advance(20 * MINUTE);
    let changed = world.eg(&["reconcile", "--timer"]).expect_code(1);
    says(&changed, "RulesPerSecurityGroupLimitExceeded");
    world.advance(MINUTE);
    assert_eq!(world.eg(&["reconcile", "--timer"]).expect_code(1).stderr, "");
    world.advance(6 * HOUR);
    let reminded = world.eg(&["reconcile", "--timer"]).expect_code(1);
    says(&reminded, "RulesPerSecurityGroupLimitExceeded");

    world.faults(&[]);
    world.advance(20 * MINUTE);
    let ended = world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!(ended.stdout, "", "what goes well is no mail");
    says(&ended, "Everything is as recorded again");
    world.advance(MINUTE);
    let quiet = world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The same for what keeps a pass from opening anything, and what is due is closed all the same.
#[test]
fn cron_hears_of_a_broken_configuration_and_policy_when_it_is_news() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--only", API, "--duration", "1h"]);
    let config = std::fs::read_to_string(world.here.config_path()).unwrap();
    let policy = world.dir().join("policy.toml");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(world.dir()).unwrap()).to_string();
    let timer = || {
        let command = world.here.command(&["reconcile", "--timer"]).env("TZ", "Mars/Olympus");
        command.env("EG_TEST_POLICY", &policy).env("EG_TEST_POLICY_OWNER", &owner).run()
    };
    let silent = |code: i32| {
        world.advance(MINUTE);
        let outcome = timer().expect_code(code);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{outcome}");
    };
    silent(0);
    world.write_config("[[[");
    let told = timer().expect_code(1);
    assert!(told.stderr.starts_with("error: ") && told.stderr.contains("what is due is closed all the same"), "{told}");
    silent(1);
    silent(1);
    world.write_config("colour = 1");
    says(&timer().expect_code(1), "colour");
    silent(1);
    world.advance(6 * HOUR);
    says(&timer().expect_code(1), "colour");
    assert_eq!(world.cloud.snapshot(), before, "what was due was closed");
    silent(1);
    std::fs::write(&policy, "[[[").unwrap();
    silent(1);
    world.write_config(&config);
    let changed = timer().expect_code(1);
    assert!(changed.stderr.contains("policy.toml") && changed.stderr.contains("nothing is opened"), "{changed}");
    silent(1);
    std::fs::remove_file(&policy).unwrap();
    let ended = timer().expect_code(0);
    assert!(ended.stderr.starts_with("✓ Fixed: ") && ended.stderr.contains("policy.toml"), "{ended}");
    silent(0);
    // By hand every error is told, and programs always get it.
    world.write_config("[[[");
    for _ in 0..2 {
        says(&world.eg(&["reconcile"]).expect_code(1), "error: ");
        let json = world.eg(&["reconcile", "--timer", "--output", "json"]).expect_code(1);
        assert_eq!(json.json_lines().last().unwrap()["error"]["kind"], "config");
    }
}

/// A mail says each reason once.
#[test]
fn cron_hears_each_reason_once() {
    let world = World::new();
    start(&world.here, &["--only", API]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    world.advance(MINUTE);
    let told = world.eg(&["reconcile", "--timer"]).expect_code(3);
    assert_eq!(told.stderr.matches("UnauthorizedOperation").count(), 1, "{told}");
}

/// A group that cannot be read is a nuisance while its session lives. That the session is over and nothing is closed is news.
#[test]
fn cron_hears_that_a_session_stays_open() {
    let world = World::new();
    world.write_config(&(world.default_config() + "\n[reconcile]\ncollect_expired = false\n"));
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    world.advance(MINUTE);
    says(&world.eg(&["reconcile", "--timer"]).expect_code(3), "cannot be read");
    world.advance(MINUTE);
    assert_eq!(world.eg(&["reconcile", "--timer"]).expect_code(3).stderr, "");
    // Read again after a minute, and not when the session is over: a watch sleeps until then.
    let json = world.eg(&["reconcile", "--timer", "--output", "json"]).expect_code(3).json_as("reconcile");
    let at = |key: &str| chrono::DateTime::parse_from_rfc3339(json[key].as_str().unwrap()).unwrap();
    assert_eq!((at("nextWakeAt") - at("finishedAt")).num_seconds(), 60);
    world.advance(HOUR);
    let told = world.eg(&["reconcile", "--timer"]).expect_code(3);
    says(&told, &format!("session {} on {API} IPv4: not confirmed closed yet", &id[..8]));
    world.advance(MINUTE);
    assert_eq!(world.eg(&["reconcile", "--timer"]).expect_code(3).stderr, "");
    world.faults(&[]);
    world.advance(MINUTE);
    says(&world.eg(&["reconcile", "--timer"]).expect_code(0), "Everything is as recorded again");
    assert_eq!(world.cloud.snapshot(), before);
}

/// A warning is news once, too.
#[test]
fn cron_hears_of_a_warning_once() {
    let world = World::new();
    start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    let copy = world.cloud.authorize(world.group(API), "tcp/8443", &cidr(), "by hand", &tags(&rule));
    let told = world.eg(&["reconcile", "--timer"]).expect_code(0);
    says(&told, &format!("warning: {copy} is left alone"));
    world.advance(MINUTE);
    assert_eq!(world.eg(&["reconcile", "--timer"]).expect_code(0).stderr, "");
    world.advance(6 * HOUR);
    says(&world.eg(&["reconcile", "--timer"]).expect_code(0), "is left alone");
}

/// The watch opens what another process only recorded, and closes what another process could not.
#[test]
fn a_watch_notices_what_other_processes_record() {
    let world = World::new();
    let before = bystanders(&world);
    let watch = world.here.command(&["--output", "json", "reconcile", "--watch", "--interval", "600s"]).spawn();
    watch.wait_for_call(|call| call.action.starts_with("Describe"));
    let id = id_of(&begin(&world.here, &["--only", API, "--no-wait"]).expect_code(0));
    until("opened", || ours(&world.cloud, world.group(API)).len() == 1);
    until("recorded", || status(&world.here, &id) == "ACTIVE");

    // The watch may have closed it by the time that this one has the lock: then there is nothing left to be helpless at.
    let helpless = world.here.command(&["session", "stop", &id]).without("AWS_ACCESS_KEY_ID").run();
    match helpless.code() {
        Some(0) => says(&helpless, "✓ Session stopped"),
        _ => says(&helpless.expect_code(3), "Stop recorded; 1 rule still open until "),
    }
    until("closed", || world.cloud.snapshot() == before);
    until("recorded", || status(&world.here, &id) == "CANCELLED");

    watch.signal("TERM");
    let ended = watch.wait().expect_code(0);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 3, "{ended}");
    lines.iter().for_each(|line| assert_valid("reconcile", line));
    let actions: Vec<_> = lines.iter().flat_map(|line| line["steps"].as_array().unwrap().clone()).collect();
    let actions: Vec<_> = actions.iter().map(|step| step["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["authorize", "revoke"], "{ended}");
}

/// One bad pass never ends it; an interrupt does, with success.
#[test]
fn a_watch_survives_a_broken_configuration() {
    let world = World::new();
    let before = bystanders(&world);
    world.write_config("nonsense");
    let id = {
        let good = world.default_config();
        let path = world.dir().join("good.toml");
        fs::write(&path, good).unwrap();
        id_of(&begin(&world.here, &["--config", path.to_str().unwrap(), "--only", API]).expect_code(0))
    };
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "600s"]).spawn();
    // Or the watch was faster; but its configuration is broken, and it says so.
    let stop = world.here.command(&["session", "stop", &id]).without("AWS_ACCESS_KEY_ID").run();
    says(&stop, "config.toml");
    assert_eq!(stop.code(), Some(1), "{stop}");
    until("closed", || world.cloud.snapshot() == before);
    until("recorded", || status(&world.here, &id) == "CANCELLED");
    watch.signal("INT");
    let ended = watch.wait().expect_code(0);
    says(&ended, "config.toml");
}

/// While a watch runs, sessions are closed on time, and `start` does not warn.
#[test]
fn a_watch_counts_as_scheduled() {
    let world = World::new();
    let alone = world.eg(&["session", "start", "--only", API]).expect_code(0);
    says(&alone, "no scheduled job is installed");
    let watch = world.here.command(&["reconcile", "--watch"]).spawn();
    let record = || eg_state::Store::open_read_only(&world.here.state_path()).ok().flatten();
    until("a first pass", || record().is_some_and(|store| store.last_runs().unwrap().scheduled_at.is_some()));
    let watched = world.eg(&["session", "start", "--only", "prod-db-sg"]).expect_code(0);
    says_not(&watched, "no scheduled job is installed");
    watch.signal("TERM");
    watch.wait().expect_code(0);
    world.eg(&["session", "stop", "--all"]).expect_code(0);
}

/// B36: timers stop while a machine sleeps; the clock does not.
#[test]
fn a_watch_that_slept_past_an_expiry_closes_on_waking() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1m"]);
    world.advance(30);
    world.forget_calls();
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "600s"]).spawn();
    // Stopped in the middle of its pass it would have to finish that first.
    let record = || eg_state::Store::open_read_only(&world.here.state_path()).ok().flatten();
    until("at rest", || record().is_some_and(|store| store.last_runs().unwrap().reconcile.is_some()));
    watch.hears();
    watch.signal("STOP");
    thread::sleep(Duration::from_secs(31));
    assert_ne!(world.cloud.snapshot(), before);
    watch.signal("CONT");
    until("closed", || world.cloud.snapshot() == before);
    until("recorded", || status(&world.here, &id) == "EXPIRED");
    watch.signal("TERM");
    says(&watch.wait().expect_code(0), "- close");
}

/// `--watch` closes at the expiry, not at the next interval.
#[test]
fn a_watch_wakes_for_an_expiry() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--only", API, "--duration", "1m"]);
    world.advance(55);
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "600s"]).spawn();
    until("closed", || world.cloud.snapshot() == before);
    watch.signal("TERM");
    watch.wait().expect_code(0);
}

/// Whoever deletes the record, or puts a backup in its place, starts sessions in the new one; the watch sees to those.
#[test]
fn a_watch_goes_on_with_a_record_that_was_replaced() {
    let world = World::new();
    let before = bystanders(&world);
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "600s"]).spawn();
    let record = || eg_state::Store::open_read_only(&world.here.state_path()).ok().flatten();
    until("at rest", || record().is_some_and(|store| store.last_runs().unwrap().reconcile.is_some()));
    for file in state_files(&world.here) {
        fs::remove_file(file).unwrap();
    }
    let id = id_of(&begin(&world.here, &["--only", API, "--no-wait"]).expect_code(0));
    until("opened", || status(&world.here, &id) == "ACTIVE");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    watch.signal("TERM");
    says(&watch.wait().expect_code(0), "state.db was replaced: what is there now counts");
}
