//! Expiry schedules: what `eg` stores at the provider's scheduler, and what comes of it when that is carried out.

use crate::harness::{Fault, IPV4, Outcome, REGION, Schedule, World};
use serde_json::{Value, json};

mod left_over;
mod lifetime;
mod silent;

const HOUR: i64 = 3600;

/// What somebody does to a stored schedule.
type Edit = fn(&mut Value);

/// Which role closes: of the world's own account.
fn role(world: &World) -> String {
    format!("arn:aws:iam::{}:role/eg-expiry", world.account())
}

/// A world whose configuration asks for expiry schedules.
fn auto_closing() -> World {
    let world = World::new();
    let config = format!("{}\n[aws.cloud_expiry]\nrole_arn = \"{}\"\n", world.default_config(), role(&world));
    world.write_config(&config);
    world
}

fn start(world: &World, more: &[&str]) -> Outcome {
    world.eg(&[&["--output", "json", "session", "start", "--ipv4", IPV4, "--duration", "2h"], more].concat())
}

fn expiry(session: &Value) -> String {
    session["expiresAt"].as_str().unwrap().trim_end_matches('Z').to_owned()
}

fn session(world: &World) -> Value {
    let list = world.eg(&["--output", "json", "session", "list"]).expect_code(0).json();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    world.eg(&["--output", "json", "session", "get", &id]).expect_code(0).json_as("session")
}

fn rule_ids(session: &Value) -> Vec<String> {
    let grants = session["resourceIps"].as_array().unwrap();
    let ids = grants.iter().flat_map(|grant| grant["providerRuleIds"].as_array().unwrap());
    let mut ids: Vec<_> = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn names(schedules: &[Schedule]) -> Vec<String> {
    schedules.iter().map(|one| one.name().to_owned()).collect()
}

fn times(world: &World) -> Vec<String> {
    world.schedules().iter().map(|one| one.at().format("%Y-%m-%dT%H:%M:%S").to_string()).collect()
}

fn errors(session: &Value) -> Vec<&str> {
    session["resourceIps"].as_array().unwrap().iter().filter_map(|grant| grant["errorMessage"].as_str()).collect()
}

/// Only questions were asked.
#[track_caller]
fn changes_nothing(world: &World) {
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    let calls = world.calls();
    let changes = calls.iter().filter(|call| !call.action.starts_with("Describe") && !call.action.starts_with("Get"));
    let changes: Vec<_> = changes.map(|call| call.to_string()).collect();
    assert_eq!(changes, Vec::<String>::new());
}

#[test]
fn every_rule_gets_an_auto_close_that_says_exactly_this() {
    let world = auto_closing();
    let session = start(&world, &[]).expect_code(0).json_as("session");
    let schedules = world.schedules();
    let expected: Vec<_> = rule_ids(&session).iter().map(|id| format!("eg-{id}")).collect();
    assert_eq!(expected.len(), 5);
    assert_eq!(names(&schedules), expected);
    for schedule in &schedules {
        let rule = schedule.name().trim_start_matches("eg-");
        let groups = [world.group("prod-api-sg"), world.group("prod-db-sg"), world.group("dev-web-sg")];
        let group = groups.into_iter().find(|group| world.cloud.rules(group).iter().any(|one| one.id == rule)).unwrap();
        let Schedule(stored) = schedule;
        assert_eq!(stored["ScheduleExpression"], format!("at({})", expiry(&session)));
        assert_eq!(stored["ScheduleExpressionTimezone"], "UTC");
        assert_eq!(stored["FlexibleTimeWindow"], json!({"Mode": "OFF"}));
        assert_eq!(stored["ActionAfterCompletion"], "DELETE");
        assert_eq!(stored["State"], "ENABLED");
        assert_eq!(stored["GroupName"], "default");
        let target = &stored["Target"];
        assert_eq!(target["Arn"], "arn:aws:scheduler:::aws-sdk:ec2:revokeSecurityGroupIngress");
        assert_eq!(target["RoleArn"], role(&world));
        assert_eq!(target["RetryPolicy"], json!({"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5}));
        let input: Value = serde_json::from_str(target["Input"].as_str().unwrap()).unwrap();
        assert_eq!(input, json!({"GroupId": group, "SecurityGroupRuleIds": [rule]}));
    }
    assert_eq!(errors(&session), Vec::<&str>::new());
    changes_nothing(&world);
}

#[test]
fn carried_out_literally_they_leave_the_groups_as_they_were() {
    let world = auto_closing();
    world.cloud.authorize(world.group("prod-api-sg"), "tcp/22", "198.51.100.7/32", "by hand", &[]);
    let before = world.cloud.snapshot();
    start(&world, &[]).expect_code(0);
    assert_ne!(world.cloud.snapshot(), before);
    // The clock runs on; how exactly it fires is what the schedule itself says.
    world.advance(2 * HOUR - 300);
    assert_eq!(world.fire_due(), 0, "not too early");
    world.advance(300);
    assert_eq!(world.fire_due(), 5);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(world.schedules(), []);
    // And when this machine comes back it finds out, and has nothing to do.
    world.advance(24 * HOUR);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(session(&world)["status"], "EXPIRED");
    let counts = world.call_counts();
    assert!(!counts.contains("Revoke") && !counts.contains("Schedule"), "{counts}");
}

#[test]
fn no_warning_that_nothing_would_close_where_the_cloud_does() {
    let world = auto_closing();
    let started = start(&world, &[]).expect_code(0);
    assert!(!started.stderr.contains("nothing will close this session"), "{started}");
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    world.write_config(&world.default_config());
    let started = start(&world, &[]).expect_code(0);
    assert!(started.stderr.contains("nothing will close this session"), "{started}");
    assert_eq!(world.schedules(), []);
}

#[test]
fn extending_moves_and_stopping_deletes() {
    let world = auto_closing();
    let started = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
    let id = started["id"].as_str().unwrap();
    let extended = world.eg(&["--output", "json", "session", "extend", id, "--hours", "3"]).expect_code(0).json();
    assert_ne!(expiry(&extended), expiry(&started));
    assert_eq!(times(&world), [expiry(&extended)]);
    changes_nothing(&world);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.schedules(), []);
    changes_nothing(&world);
}

#[test]
fn the_longer_of_two_sessions_counts() {
    let world = auto_closing();
    let short = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
    let long = ["--output", "json", "session", "start", "--ipv4", IPV4, "--duration", "5h", "--only", "prod-api-sg"];
    let long = world.eg(&long).expect_code(0).json();
    assert_eq!(times(&world), [expiry(&long)]);
    world.eg(&["session", "stop", long["id"].as_str().unwrap()]).expect_code(0);
    assert_eq!(times(&world), [expiry(&short)], "shortened");
}

#[test]
fn two_installations_move_it_to_whoever_stays_longest() {
    let world = auto_closing();
    let other = world.installation("other-machine");
    let only = ["--output", "json", "session", "start", "--ipv4", IPV4, "--only", "prod-api-sg", "--duration"];
    let mine = world.eg(&[&only[..], &["2h"]].concat()).expect_code(0).json();
    let theirs = other.eg(&[&only[..], &["5h"]].concat()).expect_code(0).json();
    assert_eq!(times(&world), [expiry(&theirs)], "whoever joins moves it");
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(times(&world), [expiry(&theirs)], "and nobody moves it back");
    let id = mine["id"].as_str().unwrap();
    let mine = world.eg(&["--output", "json", "session", "extend", id, "--hours", "6"]).expect_code(0).json();
    assert_eq!(times(&world), [expiry(&mine)]);
    other.eg(&["reconcile"]).expect_code(0);
    assert_eq!(times(&world), [expiry(&mine)]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(times(&world), [expiry(&theirs)], "whoever leaves moves it to those who remain");
    other.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.schedules(), []);
}

#[test]
fn drift_is_repaired() {
    let world = auto_closing();
    let session = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
    let right = world.schedules();
    let stored = |value: &Value| [&value["ScheduleExpression"], &value["Target"], &value["State"]].map(Clone::clone);
    let edits: [(&str, Edit); 7] = [
        ("another time", |stored| stored["ScheduleExpression"] = "at(2031-01-01T00:00:00)".into()),
        ("no time at all", |stored| stored["ScheduleExpression"] = "rate(1 hours)".into()),
        ("another zone", |stored| stored["ScheduleExpressionTimezone"] = "Asia/Tokyo".into()),
        ("another action", |stored| {
            stored["Target"]["Arn"] = "arn:aws:scheduler:::aws-sdk:ec2:describeSecurityGroups".into();
        }),
        ("another rule", |stored| stored["Target"]["Input"] = "{\"GroupId\":\"sg-1\"}".into()),
        ("another role", |stored| stored["Target"]["RoleArn"] = "arn:aws:iam::123456789012:role/x".into()),
        ("switched off", |stored| stored["State"] = "DISABLED".into()),
    ];
    for (what, edit) in edits {
        world.edit_schedule(&right[0], edit);
        world.eg(&["reconcile"]).expect_code(0);
        assert_eq!(stored(&world.schedules()[0].0), stored(&right[0].0), "{what}");
    }
    world.delete_schedule(&right[0]);
    let dry = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
    assert!(dry.stdout.contains("have the cloud close sgr-"), "{dry}");
    assert_eq!(world.schedules(), []);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(times(&world), [expiry(&session)]);
    changes_nothing(&world);
}

#[test]
fn a_caller_who_may_not_is_told_and_the_rule_is_open() {
    let world = auto_closing();
    let denied = "User: alice is not authorized to perform: scheduler:CreateSchedule";
    world.faults(&[Fault::refuse("CreateSchedule", 403, "AccessDeniedException", denied)]);
    let started = start(&world, &[]).expect_code(3);
    let session = started.json_as("session");
    assert_eq!(session["status"], "ACTIVE");
    let words = "closes by eg reconcile only: the expiry schedule could not be set: not permitted";
    assert_eq!(errors(&session).len(), 3, "{session:#}");
    assert!(errors(&session).iter().all(|error| error.contains(words) && error.contains(denied)), "{session:#}");
    assert!(started.stderr.contains("nothing will close this session"), "{started}");
    let tried = world.calls().iter().filter(|call| call.action == "CreateSchedule").count();
    assert_eq!(tried, 3, "once for each group");
    // From cron: told once, as long as it goes on.
    world.advance(200);
    let first = world.eg(&["reconcile", "--timer"]).expect_code(3);
    assert!(first.stderr.contains("closes by eg reconcile only"), "{first}");
    world.advance(200);
    let second = world.eg(&["reconcile", "--timer"]).expect_code(3);
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""));
    // Allowed again, it is set, and nothing is left to say.
    world.faults(&[]);
    world.advance(200);
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!(world.schedules().len(), 5);
    let list = world.eg(&["--output", "json", "session", "list"]).expect_code(0).json();
    assert_eq!(errors(&list[0]), Vec::<&str>::new());
}

fn no_auto_closes(world: &World) {
    world.faults(&[Fault::refuse("CreateSchedule", 403, "AccessDeniedException", "no")]);
}

/// What is wrong is the role, or the schedule group; the resource is as it should be.
#[test]
fn what_to_do_about_an_auto_close_that_is_not_set() {
    let world = auto_closing();
    let unknown = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.";
    for (code, status, hint) in [
        ("ValidationException", 400, "hint: check that the role exists"),
        ("ServiceQuotaExceededException", 402, "hint: delete schedules"),
    ] {
        world.faults(&[Fault::refuse("CreateSchedule", status, code, unknown)]);
        let started = world.eg(&["session", "start", "--ipv4", IPV4, "--only", "prod-api-sg"]).expect_code(3);
        assert!(started.stderr.contains(hint) && !started.stderr.contains("check the resource"), "{started}");
        world.faults(&[]);
        world.eg(&["session", "stop"]).expect_code(0);
    }
    let config = format!("\n[aws.cloud_expiry]\nrole_arn = \"{}\"\nschedule_group = \"none\"\n", role(&world));
    world.write_config(&(world.default_config() + &config));
    let missing = "Schedule group none does not exist.";
    world.faults(&[Fault::refuse("CreateSchedule", 404, "ResourceNotFoundException", missing)]);
    let started = world.eg(&["session", "start", "--ipv4", IPV4, "--only", "prod-api-sg"]).expect_code(3);
    assert!(started.stderr.contains("hint: make the schedule group with: eg setup cloud-expiry --apply"), "{started}");
}

/// Everything is open, so it stays; but not all is as it was asked for.
#[test]
fn everything_or_nothing_keeps_a_session_without_auto_closes_and_says_so() {
    let world = auto_closing();
    no_auto_closes(&world);
    let started = start(&world, &["--atomic"]).expect_code(3);
    let session = started.json_as("session");
    assert_eq!((&session["status"], errors(&session).len()), (&json!("ACTIVE"), 3), "{session:#}");
    assert!(started.stderr.contains("nothing will close this session"), "{started}");
    let only = ["session", "start", "--ipv4", IPV4, "--atomic", "--only", "prod-api-sg"];
    let told = world.eg(&only).expect_code(3);
    assert!(told.stdout.ends_with("✓ Session is ACTIVE\n"), "{told}");
    assert!(told.stderr.contains("closes by eg reconcile only: the expiry schedule could not be set"), "{told}");
    world.faults(&[]);
    // The rule is tagged anew first, and a person waits for no delay of its expiry schedule all the same.
    world.advance(2);
    world.eg(&only).expect_code(0);
}

/// As a start does: once when it begins, and the status says it every time.
#[test]
fn a_session_that_is_kept_without_auto_closes_is_not_as_asked() {
    let world = auto_closing();
    no_auto_closes(&world);
    let ensure = ["session", "ensure", "--ipv4", IPV4, "--only", "prod-api-sg", "--duration", "1h"];
    let begun = world.eg(&ensure).expect_code(3);
    assert!(begun.stderr.contains("nothing will close this session"), "{begun}");
    let kept = world.eg(&ensure).expect_code(3);
    assert!(!kept.stderr.contains("nothing will close this session"), "{kept}");
    world.faults(&[]);
    let mended = world.eg(&ensure).expect_code(0);
    assert!(!mended.stderr.contains("warning"), "{mended}");
    assert_eq!(world.schedules().len(), 1);
}

/// The command that it is for closes it, so it is told before that, and its status is the command's.
#[test]
fn a_command_runs_without_auto_closes_and_that_is_said_before() {
    let world = auto_closing();
    no_auto_closes(&world);
    let before = world.cloud.snapshot();
    for (script, status) in [("exit 0", 0), ("exit 7", 7)] {
        let args = ["session", "run", "--ipv4", IPV4, "--only", "prod-api-sg", "--", "sh", "-c"];
        let script = format!("echo now >&2; {script}");
        let ran = world.eg(&[&args[..], &[&script]].concat()).expect_code(status);
        let (told, _) = ran.stderr.split_once("\nnow\n").unwrap();
        assert!(told.contains("closes by eg reconcile only: the expiry schedule could not be set"), "{ran}");
        assert_eq!((world.cloud.snapshot(), world.schedules()), (before.clone(), vec![]));
    }
    let elsewhere = "\n[aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::111111111111:role/x\"\n";
    world.write_config(&(world.default_config() + elsewhere));
    let ran = world.eg(&["session", "run", "--ipv4", IPV4, "--only", "dev", "--", "true"]).expect_code(0);
    assert!(ran.stderr.contains("has no role of account"), "{ran}");
}

/// Whose account it is decides which role; who does not know sets no expiry schedule, and that is no success.
#[test]
fn an_account_that_cannot_be_told_gets_no_auto_close_and_that_is_said() {
    let world = auto_closing();
    world.faults(&[Fault::refuse("GetCallerIdentity", 500, "InternalFailure", "no")]);
    for more in [&["--only", "prod-api-sg"][..], &["--only", "prod-db-sg", "--atomic"]] {
        let started = start(&world, more).expect_code(3);
        assert_eq!(started.json_as("session")["status"], "ACTIVE");
        assert!(started.stderr.contains("no expiry schedule is set, since its account is not known"), "{started}");
        let ensure = ["session", "ensure", "--ipv4", IPV4, "--duration", "1h", "--only", more[1]];
        world.eg(&ensure).expect_code(3);
    }
    let id = session(&world)["id"].as_str().unwrap().to_owned();
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(3);
    assert_eq!(world.schedules(), []);
    world.faults(&[]);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.schedules().len(), 2);
}

/// Who only closes needs no role, and so nobody has to tell whose account it is.
#[test]
fn closing_asks_for_no_account() {
    let world = auto_closing();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::refuse("GetCallerIdentity", 500, "InternalFailure", "no")]);
    start(&world, &["--only", "prod-api-sg"]).expect_code(3);
    world.forget_calls();
    let stopped = world.eg(&["session", "stop"]).expect_code(0);
    assert!(!stopped.stderr.contains("no expiry schedule is set"), "{stopped}");
    assert!(!world.call_counts().contains("GetCallerIdentity"), "{}", world.call_counts());
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn closing_never_waits_for_the_scheduler() {
    let world = auto_closing();
    let before = world.cloud.snapshot();
    start(&world, &[]).expect_code(0);
    let broken = |action: &str| Fault::refuse(action, 500, "InternalServerException", "no");
    world.faults(&["GetSchedule", "CreateSchedule", "UpdateSchedule", "DeleteSchedule"].map(broken));
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(world.schedules().len(), 5, "left over");
    // They would hit nothing; but they are taken away as soon as that works.
    world.faults(&[]);
    world.advance(200);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.schedules(), []);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.call_counts(), "", "nothing to look at any more");
}

#[test]
fn a_lost_answer_is_looked_up() {
    for fault in [Fault::lose_answer("CreateSchedule").times(1), Fault::lose_request("CreateSchedule").times(1)] {
        let world = auto_closing();
        world.faults(&[fault]);
        let session = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
        assert_eq!(times(&world), [expiry(&session)]);
        assert_eq!(errors(&session), Vec::<&str>::new());
    }
}

#[test]
fn an_auto_close_outlives_its_configuration() {
    let world = auto_closing();
    let started = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
    world.write_config(&world.default_config());
    let id = started["id"].as_str().unwrap();
    let extended = world.eg(&["--output", "json", "session", "extend", id, "--hours", "1"]).expect_code(0).json();
    assert_eq!(times(&world), [expiry(&extended)], "else it would cut the session off");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.schedules(), []);
}

#[test]
fn rules_that_are_open_already_get_one_when_it_is_configured() {
    let world = World::new();
    let session = start(&world, &["--only", "prod-api-sg"]).expect_code(0).json();
    assert_eq!(world.schedules(), []);
    world.write_config(&format!(
        "{}\n[aws.cloud_expiry]\nrole_arn = [\"arn:aws:iam::111111111111:role/x\", \"{}\"]\n",
        world.default_config(),
        role(&world)
    ));
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(times(&world), [expiry(&session)], "by the role of the account");
}

#[test]
fn an_account_without_a_role_is_said_at_start() {
    let world = World::new();
    let config = "\n[aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::111111111111:role/x\"\n";
    world.write_config(&(world.default_config() + config));
    let started = start(&world, &[]).expect_code(0);
    let words = format!("has no role of account {}", world.account());
    assert!(started.stderr.contains(&words) && started.stderr.contains("nothing will close"), "{started}");
    assert!(!world.call_counts().contains("Schedule"), "{}", world.call_counts());
}

#[test]
fn a_schedule_group_of_its_own() {
    let world = World::new();
    world.make_schedule_group("eg");
    let config = format!("\n[aws.cloud_expiry]\nrole_arn = \"{}\"\nschedule_group = \"eg\"\n", role(&world));
    world.write_config(&(world.default_config() + &config));
    start(&world, &["--only", "prod-api-sg"]).expect_code(0);
    assert_eq!(world.schedules()[0].0["GroupName"], "eg");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.schedules(), []);
}

#[test]
fn recorded_only_it_is_set_with_the_rule() {
    let world = auto_closing();
    let session = start(&world, &["--no-wait", "--only", "prod-api-sg"]).expect_code(0).json();
    assert_eq!(world.call_counts(), "");
    let passed = world.eg(&["--output", "json", "reconcile"]).expect_code(0).json_as("reconcile");
    let steps: Vec<_> = passed["steps"].as_array().unwrap().iter().map(|step| step["action"].clone()).collect();
    assert_eq!(steps, ["authorize", "set-switch"]);
    assert_eq!(times(&world), [expiry(&session)]);
}

#[test]
fn a_region_has_auto_closes_of_its_own() {
    let world = auto_closing();
    let there = world.cloud.in_region("us-east-1");
    let group = there.create_group("far");
    let more = World::resource("far", &group, "us-east-1", &["tcp/22"], "");
    let config = format!("{}\n{more}\n[aws.cloud_expiry]\nrole_arn = \"{}\"\n", world.default_config(), role(&world));
    world.write_config(&config);
    start(&world, &["--only", "far"]).expect_code(0);
    assert_eq!(world.schedules(), [], "not in {REGION}");
    let (_, list) = there.rest("scheduler", "GET", "/schedules?MaxResults=100", "");
    assert!(list.contains("eg-sgr-"), "{list}");
}

/// What is on record about an expiry schedule cannot be read: that is said, and the scheduler is not asked again and again.
#[test]
fn a_damaged_row_of_an_auto_close_is_said_and_no_fight() {
    let moved = |schedule: &mut Value| schedule["ScheduleExpression"] = json!("at(2099-01-01T00:00:00)");
    for edit in [None, Some(moved as Edit)] {
        let world = auto_closing();
        start(&world, &["--only", "prod-db-sg"]).expect_code(0);
        let sql = "PRAGMA ignore_check_constraints = ON; UPDATE auto_closes SET fires_at = 9000000000000000000";
        rusqlite::Connection::open(world.here.state_path()).unwrap().execute_batch(sql).unwrap();
        if let Some(edit) = edit {
            world.edit_schedule(&world.schedules()[0], edit);
        }
        world.forget_calls();
        let told = world.eg(&["reconcile"]);
        assert!(matches!(told.code(), Some(1 | 3)), "{told}");
        let said = told.to_string();
        assert!(said.contains("table auto_closes, row ") && !said.contains("contended"), "{said}");
        let asked = world.calls().iter().filter(|call| call.action.contains("Schedule")).count();
        assert!(asked <= 2, "{}", world.call_counts());
        // It keeps nothing open.
        world.eg(&["session", "stop"]);
        assert!(world.cloud.rules(world.group("prod-db-sg")).iter().all(|rule| !rule.tags.contains_key("eg:marks")));
    }
}
