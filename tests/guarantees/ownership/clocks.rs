//! Time: expiry, overdue sessions, clocks that are wrong or step back.

use super::*;

#[test]
fn a_timer_closes_what_has_expired() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--duration", "1h"]);
    world.advance(HOUR - MINUTE);
    let early = world.eg(&["reconcile", "--timer"]).expect_code(0);
    says_not(&early, "- close");
    assert_eq!(status(&world.here, &id), "ACTIVE");

    world.advance(MINUTE + 1);
    let told = world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""), "what goes well is no mail");
    assert_eq!(world.cloud.snapshot(), before);
    let session = get(&world.here, &id);
    assert_eq!(session["status"], "EXPIRED");
    assert_eq!(session["endedReason"], "EXPIRED");
    assert!(session["resourceIps"].as_array().unwrap().iter().all(|grant| grant["status"] == "REMOVED"));
    let again = world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""));
}

/// Three groups, one clock: one warning.
#[test]
fn a_wrong_clock_is_told_once() {
    let world = World::new();
    world.skew(5 * MINUTE);
    let told = world.eg(&["session", "start"]).expect_code(0);
    assert_eq!(told.stderr.matches("the clock of this machine differs").count(), 1, "{told}");
    world.skew(0);
    world.eg(&["session", "stop"]).expect_code(0);
}

/// B13.
#[test]
fn a_clock_that_steps_back_reopens_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    world.advance(HOUR + 1);
    pass(&world.here, 0);
    world.advance(-HOUR);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(status(&world.here, &id), "EXPIRED");
    let refused = world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    says(&refused, "only a live session can be extended");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B13, with the closing still to be done.
#[test]
fn a_clock_that_steps_back_keeps_closing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    world.advance(HOUR + 1);
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress")]);
    pass(&world.here, 3);
    assert_eq!(status(&world.here, &id), "EXPIRING");
    world.faults(&[]);
    world.advance(-HOUR);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(status(&world.here, &id), "EXPIRED");
}

/// B33.
#[test]
fn an_overdue_session_is_shown_refused_and_closed() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    world.advance(HOUR + 14 * MINUTE + 30);
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, "  overdue 14m  ");
    says(&list, " is overdue: reconcile has never run");
    let shown = get(&world.here, &id);
    assert!((14 * 60..15 * 60 + 30).contains(&shown["overdueSeconds"].as_i64().unwrap()), "{shown:#}");
    let open = world.cloud.snapshot();

    let refused = world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    says(&refused, "error: ");
    assert_eq!(world.cloud.snapshot(), open);
    says(&world.eg(&["session", "list"]).expect_code(0), " is overdue: reconcile has never run");

    let stopped = stop(&world.here, &id).expect_code(0);
    says(&stopped, "✓ Session closed; it had expired");
    assert_eq!(status(&world.here, &id), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B33: without an id, and `--all`.
#[test]
fn stop_all_closes_overdue_sessions() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--only", API, "--duration", "1h"]);
    world.advance(HOUR + MINUTE);
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B33: the reason is the true one.
#[test]
fn an_overdue_session_says_why() {
    let world = World::new();
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    pass(&world.here, 0);
    world.advance(HOUR + 5 * MINUTE);
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, "  overdue 5m  ");
    says(&list, " is overdue: no reconcile since ");

    world.faults(&[Fault::deny("RevokeSecurityGroupIngress")]);
    pass(&world.here, 3);
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, " is overdue: last reconcile ");
    says(&list, "UnauthorizedOperation");
    world.faults(&[Fault::refuse("DescribeSecurityGroupRules", 400, "RequestExpired", "Request has expired.")]);
    world.advance(5 * MINUTE);
    pass(&world.here, 3);
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, "  overdue 10m  ");
    says(&list, " is overdue: last reconcile ");
    says(&list, "xpired");
    world.faults(&[]);
    world.advance(5 * MINUTE);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &id), "EXPIRED");
}

/// B30: opening needs a clock, closing does not.
#[test]
fn a_clock_ten_minutes_off_opens_nothing_and_closes_everything() {
    for skew in [11 * MINUTE, -11 * MINUTE] {
        let world = World::new();
        let before = bystanders(&world);
        let id = start(&world.here, &["--only", API]);
        let open = world.cloud.snapshot();
        world.skew(skew);
        let way = if skew > 0 { "ahead of" } else { "behind" };
        let refused = world.eg(&["session", "start", "--only", "dev-web-sg"]).expect_code(1);
        says(&refused, &format!("minutes {way} the provider's; nothing was changed"));
        let refused = world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
        says(&refused, "nothing was changed");
        assert_eq!(world.cloud.snapshot(), open);
        let sessions = world.eg(&["--output", "json", "session", "list"]).expect_code(0).json_as("sessions");
        assert_eq!(sessions.as_array().unwrap().len(), 1);

        stop(&world.here, &id).expect_code(0);
        assert_eq!(status(&world.here, &id), "CANCELLED");
        assert_eq!(world.cloud.snapshot(), before);
    }
}

/// B30: AWS refuses every signature that is five minutes old, or of five minutes hence.
#[test]
fn a_clock_two_hours_off_closes_in_the_first_pass() {
    for skew in [2 * HOUR, -2 * HOUR] {
        let world = World::new();
        let before = bystanders(&world);
        let stopped = start(&world.here, &["--only", API, "--duration", "4h"]);
        let expiring = start(&world.here, &["--only", "dev", "--duration", "5h"]);
        world.skew(skew);
        stop(&world.here, &stopped).expect_code(0);
        assert_eq!(status(&world.here, &stopped), "CANCELLED");
        world.advance(7 * HOUR + MINUTE);
        world.forget_calls();
        let told = pass(&world.here, 0);
        says(&told, "- close ");
        assert_eq!(status(&world.here, &expiring), "EXPIRED");
        assert_eq!(world.cloud.snapshot(), before);
        let refused = world.calls().iter().filter(|call| !call.answer.starts_with('2')).count();
        assert_eq!(refused, 1, "the first call teaches the others: {}", world.call_counts());
    }
}

/// The same where a role is assumed first, and where the scheduler has an expiry schedule for the rule.
#[test]
fn a_clock_two_hours_off_closes_with_a_role_and_its_auto_closes() {
    for skew in [2 * HOUR, -2 * HOUR] {
        let world = World::new();
        let before = bystanders(&world);
        let role = |name: &str| format!("arn:aws:iam::{}:role/{name}", world.account());
        let more = format!("role_arn = \"{}\"\n", role("opener"));
        let expiry = format!("[aws.cloud_expiry]\nrole_arn = \"{}\"\n", role("closer"));
        let resource = World::resource(API, world.group(API), REGION, &["tcp/22"], &more);
        world.write_config(&(world.config_head() + &resource + &expiry));
        let id = start(&world.here, &["--duration", "4h"]);
        assert_eq!(world.schedules().len(), 1);
        world.skew(skew);
        world.forget_calls();
        stop(&world.here, &id).expect_code(0);
        assert_eq!((status(&world.here, &id).as_str(), world.cloud.snapshot()), ("CANCELLED", before));
        assert_eq!(world.schedules().len(), 0);
        let refused: Vec<String> =
            world.calls().into_iter().filter(|call| !call.answer.starts_with('2')).map(|call| call.action).collect();
        assert_eq!(refused, ["AssumeRole"], "{}", world.call_counts());
    }
}

/// Three minutes: a warning.
#[test]
fn a_clock_three_minutes_off_is_told() {
    let world = World::new();
    let before = bystanders(&world);
    world.skew(3 * MINUTE);
    let told = world.eg(&["session", "start", "--only", API]).expect_code(0);
    says(&told, "warning: the clock of this machine differs from the provider's by 3 minutes");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B14: 31 days by a clock that is ahead, as far as `start` lets pass, lie more than 31 days ahead of the provider's.
#[test]
fn the_longest_lease_holds_though_its_openers_clock_was_ahead() {
    let world = World::new();
    let before = bystanders(&world);
    let config = format!(
        "{}[session]\nmax_duration = \"31d\"\n[reconcile]\ncollect_interval = \"1m\"\n",
        world.default_config()
    );
    world.write_config(&config);
    let (other, stranger) = (world.installation("other-machine"), world.installation("stranger"));
    world.skew(9 * MINUTE);
    let id = start(&world.here, &["--only", API, "--duration", "31d"]);
    world.skew(0);
    let rule = our_rule(&world, API);

    // A colleague's collection, a join and a leave, and a sweep.
    let passed = pass(&other, 0);
    says_not(&passed, "holds nothing");
    world.advance(2 * MINUTE);
    pass(&other, 0);
    let shared = start(&other, &["--only", API]);
    assert_eq!(get(&other, &shared)["resourceIps"][0]["coverage"], "shared");
    stop(&other, &shared).expect_code(0);
    let swept = stranger.eg(&["sweep", "--region", REGION]).expect_code(0);
    says(&swept, "Nothing to close; 1 rule still in use");
    let now = our_rule(&world, API);
    assert_eq!((now.id, &now.tags), (rule.id, &rule.tags));
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// By such a clock every live session is one of a far future. That is no reason to close anything; but nothing is opened.
#[test]
fn a_clock_that_is_a_month_behind_closes_nothing_and_opens_nothing() {
    const DAY: i64 = 24 * HOUR;
    let world = World::new();
    let before = bystanders(&world);
    let open = start(&world.here, &["--only", API, "--duration", "4h"]);
    let waits = id_of(&begin(&world.here, &["--only", "prod-db-sg", "--no-wait"]).expect_code(0));
    let snapshot = world.cloud.snapshot();
    for days in [32, 20_000] {
        world.skew(-days * DAY);
        for _ in 0..2 {
            world.forget_calls();
            let told = pass(&world.here, 3);
            says(&told, "the clock of this machine differs");
            says_not(&told, "damaged");
            assert_eq!((changes(&world), world.cloud.snapshot()), (vec![], snapshot.clone()), "{told}");
            assert_eq!((status(&world.here, &open), status(&world.here, &waits)), ("ACTIVE".into(), "PENDING".into()));
        }
    }
    let why = get(&world.here, &waits)["resourceIps"][0]["errorMessage"].as_str().unwrap().to_owned();
    assert!(why.contains("by this machine's clock, it ends more than 31d from now; nothing is opened"), "{why}");
    // What is stopped is closed.
    stop(&world.here, &open).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    world.skew(0);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &waits), "ACTIVE");
    stop(&world.here, &waits).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}
