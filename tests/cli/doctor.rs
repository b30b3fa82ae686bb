//! `eg doctor`: ten broken set-ups, each named, each mended by the advice that stands under it.

use super::schedule::Host;
use crate::{
    cli::session::{error_of, readable, snapshot, start},
    harness::{Fault, Outcome, World, echo::Reply},
};
use serde_json::Value;

/// A world where all is well, with a schedule that was just seen.
fn healthy() -> World {
    let world = World::new();
    world.here.write_profiles(&[("work", "WORK")]);
    world.write_config(&with_profile(&world.default_config()));
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    world
}

/// Credentials from a file, for the scheduled run has no others; IPv4 alone, for the echo services speak no IPv6.
fn with_profile(config: &str) -> String {
    config.replace("groups = [", "profile = \"work\"\nfamilies = [\"ipv4\"]\ngroups = [")
}

fn doctor(world: &World) -> Outcome {
    Host::with_cron(world).command(&["doctor"]).run()
}

fn checks(world: &World) -> Vec<Value> {
    let outcome = Host::with_cron(world).command(&["doctor", "--output", "json"]).run();
    let found = outcome.json_as("doctor");
    assert_eq!(found["ok"], outcome.code() == Some(0), "{outcome}");
    found["checks"].as_array().unwrap().clone()
}

/// The one check that is at this level, and nothing else is worse than well.
#[track_caller]
fn only(world: &World, level: &str, check: &str) -> (String, String) {
    let found = checks(world);
    let odd: Vec<_> = found.iter().filter(|check| check["level"] != "good").collect();
    assert!(odd.iter().all(|one| one["level"] == level && one["check"] == check) && !odd.is_empty(), "{found:#?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&odd[0]["message"]), text(&odd[0]["advice"][0]))
}

#[track_caller]
fn well(world: &World) {
    let outcome = doctor(world).expect_code(0);
    assert!(!outcome.stdout.contains('!') && !outcome.stdout.contains('✗'), "{outcome}");
}

#[test]
fn all_is_well() {
    let world = healthy();
    let before = world.cloud.snapshot();
    let record = std::fs::read(world.here.state_path()).unwrap();
    world.forget_calls();
    snapshot("doctor", &readable(&doctor(&world).expect_code(0)));
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(std::fs::read(world.here.state_path()).unwrap(), record, "it changes nothing");
    assert!(world.calls().iter().all(|call| call.dry_run || !call.action.ends_with("Ingress")), "dry runs only");
}

#[test]
fn each_check_is_shown_as_it_is_known_and_a_signal_ends_it() {
    let world = healthy();
    world.faults(&[Fault::hold("GetCallerIdentity")]);
    let shown = world.dir().join("shown");
    let running = Host::with_cron(&world).command(&["doctor"]).spawn_into(&shown);
    running.wait_for_delayed("GetCallerIdentity");
    let text = std::fs::read_to_string(&shown).unwrap();
    for check in ["✓ configuration: ", "✓ state: ", "✓ schedule: ", "✓ ipv4: "] {
        assert!(text.contains(check), "{check} in {text}");
    }
    assert!(!text.contains("credentials"), "{text}");
    let begin = std::time::Instant::now();
    running.signal("INT");
    let outcome = running.wait().expect_code(130);
    let took = begin.elapsed();
    assert_eq!(error_of(&outcome), "stopped by a signal; not everything was checked");
    world.faults(&[]);
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}

/// What is going on stands on a terminal while it does, and nothing of it after.
#[test]
fn no_stale_line() {
    let world = healthy();
    world.faults(&[Fault::hold("GetCallerIdentity")]);
    let eg = Host::with_cron(&world).command(&["doctor"]).env("TERM", "xterm").on_terminal(40, 120);
    eg.shows_text("asking AWS");
    eg.signal("INT");
    let left = eg.wait();
    let screen = left.screen.contents();
    assert!(left.code == Some(130) && left.cooked && !left.screen.hide_cursor(), "{screen}");
    assert!(!screen.contains("asking AWS") && screen.contains("✓ ipv4: "), "{screen}");
    world.faults(&[]);
}

#[test]
fn each_check_names_its_resource() {
    let world = healthy();
    let found = checks(&world);
    let group = found.iter().find(|check| check["check"] == "group").unwrap();
    assert_eq!(
        (&group["resourceName"], &group["resourceId"]),
        (&"prod-api-sg".into(), &world.group("prod-api-sg").into())
    );
    let about: Vec<_> =
        found.iter().filter(|check| check["resourceName"].is_string()).map(|check| &check["check"]).collect();
    assert!(about.iter().all(|check| *check == "group" || *check == "permissions") && about.len() == 6, "{found:#?}");
}

#[test]
fn looking_makes_nothing() {
    let world = World::bare();
    let outcome = doctor(&world).expect_code(1);
    assert!(outcome.stdout.contains("✗ configuration: no resource is configured"), "{outcome}");
    assert!(outcome.stdout.contains("can be made by the first session"), "{outcome}");
    assert!(!world.here.state_path().parent().unwrap().exists());
    world.write_config("[[[");
    let outcome = doctor(&world).expect_code(1);
    assert!(outcome.stdout.contains("config.toml:1:"), "{outcome}");
}

#[test]
fn wrong_region() {
    let world = healthy();
    let config = with_profile(&world.default_config());
    world.write_config(&config.replacen("region = \"eu-west-1\"", "region = \"us-east-1\"", 1));
    let (message, advice) = only(&world, "error", "group");
    assert!(message.contains(" is in eu-west-1, not in us-east-1"), "{message}");
    assert_eq!(advice, "set region = \"eu-west-1\" for prod-api-sg in the configuration");
    world.write_config(&config);
    well(&world);
}

#[test]
fn tagging_is_denied() {
    let world = healthy();
    let words = "You are not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:x";
    let denied = Fault::refuse("AuthorizeSecurityGroupIngress", 403, "UnauthorizedOperation", words);
    world.faults(&[denied.dry_run(true)]);
    let (message, advice) = only(&world, "error", "permissions");
    assert!(message.contains("ec2:CreateTags on sg-"), "{message}");
    let (_, command) = advice.split_once("prints: eg ").unwrap();
    let policy = world.eg(&command.split(' ').collect::<Vec<_>>()).expect_code(0);
    assert!(policy.stdout.contains("ec2:CreateTags"), "{policy}");
    world.faults(&[]);
    well(&world);
}

#[test]
fn expired_credentials() {
    let world = healthy();
    let expired = |action| Fault::refuse(action, 403, "ExpiredToken", "The security token included is expired");
    world.faults(&[expired("GetCallerIdentity"), expired("DescribeSecurityGroupRules")]);
    let (message, advice) = only(&world, "error", "credentials");
    assert!(message.starts_with("profile work: credentials not usable: ") && message.contains("expired"), "{message}");
    assert!(message.ends_with("; used by prod-api-sg, prod-db-sg, dev-web-sg"), "{message}");
    assert!(advice.contains("aws sso login"), "{advice}");
    assert!(doctor(&world).stdout.contains("    check with: aws sts get-caller-identity --profile work\n"));
    world.faults(&[]);
    well(&world);
}

#[test]
fn nothing_is_scheduled() {
    let world = World::new();
    world.here.write_profiles(&[("work", "WORK")]);
    world.write_config(&with_profile(&world.default_config()));
    let host = Host::with_cron(&world);
    let (message, advice) = only(&world, "error", "schedule");
    assert!(message.contains("nothing runs `eg reconcile`"), "{message}");
    let (_, command) = advice.split_once(": eg ").unwrap();
    host.command(&command.split(' ').collect::<Vec<_>>()).run().expect_code(0);
    let (message, _) = only(&world, "warning", "schedule");
    assert_eq!(message, "installed with cron, and it has not run yet");
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    well(&world);
    world.advance(8 * 3600);
    well(&world);
    assert!(doctor(&world).stdout.contains("✓ schedule: installed with cron; the last run was "), "a night's sleep");
}

/// The scheduler says whether there is a job; runs that others made before tell nothing of it.
#[test]
fn a_job_is_judged_by_its_own_runs() {
    let world = healthy();
    let host = Host::with_cron(&world);
    world.advance(3600);
    host.command(&["schedule", "install"]).run().expect_code(0);
    let schedule = || {
        let found = checks(&world).into_iter().find(|check| check["check"] == "schedule").unwrap();
        (found["level"].as_str().unwrap().to_owned(), found["message"].as_str().unwrap().to_owned())
    };
    let (level, message) = schedule();
    assert_ne!(level, "error", "in the first minute: {message}");
    world.advance(15 * 60);
    let (message, advice) = only(&world, "error", "schedule");
    assert!(message.starts_with("installed with cron, but it has not run since "), "{message}");
    assert!(advice.contains("is the cron service running?"), "{advice}");
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    well(&world);
    // Another binary, say: the line still runs, and then it runs no more.
    let line = std::fs::read_to_string(host.crontab_path()).unwrap();
    std::fs::write(host.crontab_path(), line.replace(" reconcile", " -v reconcile")).unwrap();
    let (message, advice) = only(&world, "warning", "schedule");
    assert_eq!(message, "the job in cron is not as it would be installed today");
    assert_eq!(advice, "bring it up to date: eg schedule install");
    world.advance(16 * 60);
    let (message, _) = only(&world, "error", "schedule");
    assert!(message.contains("is not as it would be installed today, and it has not run since "), "{message}");
    host.command(&["schedule", "remove"]).run().expect_code(0);
    let (message, _) = only(&world, "error", "schedule");
    assert!(message.starts_with("nothing runs `eg reconcile`"), "{message}");
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "86400s"]).spawn();
    let begin = std::time::Instant::now();
    while schedule().0 != "good" {
        assert!(begin.elapsed().as_secs() < 100, "it is never seen");
    }
    assert!(schedule().1.starts_with("eg reconcile --watch runs; "));
    watch.signal("TERM");
    watch.wait().expect_code(0);
}

#[test]
fn a_clock_an_hour_off() {
    for (skew, way) in [(3600, "ahead of"), (-3600, "behind")] {
        let world = healthy();
        world.skew(skew);
        let found = checks(&world);
        let clock = found.iter().find(|check| check["check"] == "clock").unwrap();
        assert_eq!(clock["level"], "error");
        assert!(clock["message"].as_str().unwrap().contains(&format!("minutes {way} the provider's")), "{clock:#}");
        assert!(clock["advice"][0].as_str().unwrap().starts_with("set the clock"), "{clock:#}");
        world.skew(0);
        well(&world);
    }
}

#[test]
fn no_ipv6() {
    let Some(world) = healthy().with_ipv6() else { return };
    let config = with_profile(&world.default_config());
    world.write_config(&config.replace("families = [\"ipv4\"]\n", ""));
    well(&world);
    world.echo6.iter().for_each(|echo| echo.set(Reply::Status(500)));
    let (message, advice) = only(&world, "warning", "ipv6");
    assert_eq!(message, "not available here; sessions open IPv4 only");
    assert_eq!(advice, "to stop checking IPv6, set families = [\"ipv4\"] on prod-api-sg, prod-db-sg, dev-web-sg");
    doctor(&world).expect_code(0);
    world.write_config(&config);
    well(&world);
}

#[test]
fn a_captive_portal() {
    let world = healthy();
    world.echo4.iter().for_each(|echo| echo.say("<html><title>Hotel Wi-Fi</title>"));
    let (message, advice) = only(&world, "error", "ipv4");
    assert!(message.contains("a captive portal") && message.contains("Hotel Wi-Fi"), "{message}");
    assert!(advice.starts_with("sign in: "), "{advice}");
    world.echo4.iter().for_each(|echo| echo.set(Reply::Status(302)));
    assert!(only(&world, "error", "ipv4").0.contains("a captive portal"), "a redirect is one too");
    world.echo4.iter().for_each(|echo| echo.say(crate::harness::IPV4));
    well(&world);
}

#[test]
fn a_state_that_cannot_be_written() {
    let world = healthy();
    let file = world.dir().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    for path in [file.join("state.db"), file.join("deep/er/state.db")] {
        let shown = path.to_string_lossy().into_owned();
        let outcome = Host::with_cron(&world).command(&["--state", &shown, "doctor"]).run().expect_code(1);
        let line = outcome.stdout.lines().find(|line| line.contains(" state: ")).unwrap_or_default().to_owned();
        assert!(line.starts_with("✗ state: cannot "), "{outcome}");
        assert!(outcome.stdout.contains("or choose another with --state"), "{outcome}");
    }
    well(&world);
}

#[test]
fn a_newer_state() {
    let world = healthy();
    let connection = rusqlite::Connection::open(world.here.state_path()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(world.here.state_path()).unwrap();
    let outcome = doctor(&world).expect_code(1);
    assert!(outcome.stdout.contains("was written by a newer eg (schema 99, "), "{outcome}");
    assert!(outcome.stdout.contains("update eg\n"), "{outcome}");
    assert_eq!(std::fs::read(world.here.state_path()).unwrap(), before);
}

#[test]
fn a_state_of_another_machine() {
    let world = healthy();
    let outcome = Host::with_cron(&world).command(&["doctor"]).env("EG_MACHINE", "another").run().expect_code(1);
    assert!(outcome.stdout.contains("✗ state: ") && outcome.stdout.contains("eg state adopt"), "{outcome}");
}

#[test]
fn a_group_that_is_gone() {
    let world = healthy();
    start(&world.here, &["--only", "prod-db-sg"]);
    world.eg(&["session", "stop"]).expect_code(0);
    world.cloud.delete_group(world.group("prod-db-sg"));
    let (message, advice) = only(&world, "error", "group");
    assert!(message.starts_with("prod-db-sg: sg-") && message.contains(" is gone: it was there"), "{message}");
    assert!(advice.contains("or remove [[resource]] prod-db-sg"), "{advice}");
    let config = with_profile(&world.default_config());
    let (before, rest) = config.split_once("[[resource]]\nname = \"prod-db-sg\"").unwrap();
    let (_, after) = rest.split_once("[[resource]]").unwrap();
    world.write_config(&format!("{before}[[resource]]{after}"));
    well(&world);
}
