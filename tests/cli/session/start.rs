//! `eg session start`: which addresses, which resources, what is said when it does not work out.

use super::{Tale, WITHOUT_SCHEDULER, config_with_missing_group, error_of, get, start, start_id};
use crate::{
    cli::schedule::Host,
    harness::{Fault, IPV4, World, eg::EgCommand},
};

#[test]
fn explicit_addresses_are_exactly_these() {
    let Some(world) = World::new().with_ipv6() else { return };
    let session = start(&world.here, &["--ipv4", "198.51.100.9"]);
    assert_eq!(session["ipv4Address"], "198.51.100.9");
    assert!(session["ipv6Address"].is_null(), "the other family is not detected");
    let session = start(&world.here, &["--ipv6", "2001:DB8:0::9"]);
    assert_eq!(session["ipv6Address"], "2001:db8::9");
    let session = start(&world.here, &["--ipv4", "10.8.0.3", "--ipv6", "fd00::3"]);
    assert_eq!((&session["ipv4Address"], &session["ipv6Address"]), (&"10.8.0.3".into(), &"fd00::3".into()));
    let asked: usize = world.echo4.iter().chain(&world.echo6).map(|echo| echo.asked()).sum();
    assert_eq!(asked, 0, "nothing is detected");
    let cidrs: Vec<_> = world.cloud.rules(world.group("prod-api-sg")).into_iter().map(|rule| rule.cidr).collect();
    for cidr in ["198.51.100.9/32", "2001:db8::9/128", "10.8.0.3/32", "fd00::3/128"] {
        assert!(cidrs.iter().any(|found| found == cidr), "{cidr} in {cidrs:?}");
    }
}

#[test]
fn addresses_that_are_no_host() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "198.51.100.0/24",
        "198.51.100.1-9",
        "2001:db8::1",
        "example.com",
        "",
        "010.1.1.1",
    ] {
        tale.eg(&["session", "start", "--ipv4", address]).expect_code(2);
    }
    for address in ["::", "::1", "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:192.0.2.1", "2001:db8::/64", "192.0.2.1"]
    {
        tale.eg(&["session", "start", "--ipv6", address]).expect_code(2);
    }
    tale.end("bad_addresses");
    assert!(!world.here.state_path().exists(), "nothing was recorded");
    assert_eq!((world.call_counts().as_str(), world.cloud.snapshot()), ("", before));
}

#[test]
fn only_takes_names_and_labels() {
    let world = World::new();
    let names = |more: &[&str]| {
        let session = start(&world.here, &[&["--no-wait"], more].concat());
        let grants = session["resourceIps"].as_array().unwrap().clone();
        grants.iter().map(|grant| grant["resourceName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["dev-web-sg", "prod-api-sg", "prod-db-sg"]);
    assert_eq!(names(&["--only", "prod-api-sg"]), ["prod-api-sg"]);
    assert_eq!(names(&["--only", "prod"]), ["prod-api-sg", "prod-db-sg"]);
    assert_eq!(names(&["--only", "dev", "--only", "prod-db-sg"]), ["dev-web-sg", "prod-db-sg"]);
    assert_eq!(names(&["--only", "prod", "--only", "prod-db-sg"]), ["prod-api-sg", "prod-db-sg"]);

    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "Prod"]).expect_code(2);
    tale.eg(&["session", "start", "--only", "prod", "--only", "prod-web"]).expect_code(2);
    tale.eg(&["session", "start", "--only", ""]).expect_code(2);
    tale.end("only_unknown");
}

#[test]
fn durations_in_every_form() {
    let world = World::new();
    let config = world.default_config();
    world.write_config(
        &config.replace("[detect]", "[session]\ndefault_duration = \"1h30m\"\nmax_duration = \"3d\"\n\n[detect]"),
    );
    let length = |more: &[&str]| {
        let session = start(&world.here, &[&["--no-wait", "--only", "dev"], more].concat());
        let at = |key: &str| chrono::DateTime::parse_from_rfc3339(session[key].as_str().unwrap()).unwrap();
        (at("expiresAt") - at("startedAt")).num_minutes()
    };
    assert_eq!(length(&[]), 90, "the configured default");
    for (text, minutes) in [
        ("8", 480),
        ("8h", 480),
        ("90m", 90),
        ("1h30m", 90),
        ("1d", 1440),
        ("1d12h", 2160),
        ("1m", 1),
        ("0d0h5m", 5),
        ("72", 4320),
        ("3d", 4320),
        ("1d5m", 1445),
        ("08", 480),
    ] {
        assert_eq!(length(&["--duration", text]), minutes, "{text}");
    }
}

#[test]
fn durations_that_are_none() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    for text in [
        "",
        "0",
        "0m",
        "-1",
        "+1h",
        "1.5h",
        "1h 30m",
        " 1h",
        "30m1h",
        "1w",
        "1H",
        "h",
        "1h30",
        "60s",
        "25",
        "1d1m",
        "99999999999999999999",
    ] {
        let arg = format!("--duration={text}");
        tale.eg(&["session", "start", &arg]).expect_code(2);
    }
    tale.end("bad_durations");
    assert!(!world.here.state_path().exists(), "nothing was recorded");
}

#[test]
fn no_wait_records_and_reconcile_opens() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--no-wait", "--only", "dev"]).expect_code(0);
    assert_eq!(world.call_counts(), "", "no cloud call");
    assert_eq!(world.cloud.snapshot(), before);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    tale.end("no_wait");
}

#[test]
fn a_session_that_was_never_sent_stops_without_a_call() {
    let world = World::new();
    start(&world.here, &["--no-wait"]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.call_counts(), "");
}

#[test]
fn a_grant_that_fails() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::deny("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(1);
    let list = world.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    assert_eq!(list[0]["status"], "FAILED");
    let id = list[0]["id"].as_str().unwrap();
    assert!(list[0]["resourceIps"][0]["errorMessage"].is_string());
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["session", "get", id]).expect_code(0);
    tale.eg(&["reconcile"]).expect_code(1);
    tale.eg(&["session", "stop", id]).expect_code(0);
    tale.eg(&["session", "get", id]).expect_code(0);
    tale.end("failed");
    assert_eq!(world.cloud.snapshot(), before);

    let outcome = world.eg(&["session", "start", "--only", "prod-api-sg", "--output", "json"]).expect_code(1);
    assert_eq!(outcome.json_as("session")["status"], "FAILED", "printed with exit 1 too");
    outcome.json_lines();
}

#[test]
fn a_part_that_fails() {
    let world = World::new();
    world.write_config(&config_with_missing_group(&world));
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "prod", "--only", "bad"]).expect_code(3);
    let list = world.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    assert_eq!(list[0]["status"], "PARTIAL");
    tale.eg(&["session", "get", list[0]["id"].as_str().unwrap()]).expect_code(0);
    tale.eg(&["session", "extend", list[0]["id"].as_str().unwrap(), "--hours", "1"]).expect_code(3);
    tale.eg(&["session", "stop"]).expect_code(0);
    tale.end("partial");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn warnings_end_when_their_causes_do() {
    let world = World::new();
    let args = ["session", "start", "--only", "dev"];
    let outcome = world.eg(&args).expect_code(0);
    assert!(outcome.stderr.contains("warning: no scheduled job is installed"), "{outcome}");
    assert!(outcome.stderr.contains("come from this shell's environment"), "{outcome}");
    // One short line says what to do: what it installs, or, without a scheduler, what to run.
    let hints = |command: EgCommand| {
        let outcome = command.run().expect_code(0);
        let lines = outcome.stderr.lines().filter(|line| line.starts_with("hint: ") && !line.contains("profile"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(hints(Host::with_cron(&world).command(&args)), ["hint: run: eg schedule install"]);
    assert_eq!(hints(world.here.command(&args).env("PATH", world.dir())), [format!("hint: {WITHOUT_SCHEDULER}")]);

    world.eg(&["reconcile"]).expect_code(0);
    assert!(world.eg(&args).stderr.contains("no scheduled job"), "by hand is not by a timer");
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert!(!world.eg(&args).expect_code(0).stderr.contains("no scheduled job"));
    world.advance(16 * 60);
    assert!(world.eg(&args).stderr.contains("no scheduled job"), "nothing was seen for 16 minutes");

    world.here.write_profiles(&[("work", "WORK")]);
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    let mut command = world.here.command(&args).env("AWS_PROFILE", "work");
    for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command = command.without(key);
    }
    let outcome = command.run().expect_code(0);
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
}

#[test]
fn the_cron_line_carries_proxies_and_files() {
    let world = World::new();
    let outcome = world
        .here
        .command(&["schedule", "show", "--with", "cron"])
        .env("HTTPS_PROXY", "http://proxy.example:3128")
        .env("AWS_CONFIG_FILE", world.dir().join("my config"))
        .run()
        .expect_code(0);
    let line = outcome.stdout.lines().find(|line| line.contains("* * * * *")).expect("a line for cron");
    for path in [world.here.config_path(), world.here.state_path()] {
        assert!(line.contains(&*path.to_string_lossy()), "{line}");
    }
    assert!(line.contains("reconcile --timer") && line.contains(env!("CARGO_BIN_EXE_eg")), "{line}");
    assert!(line.contains(" AWS_CONFIG_FILE='"), "{line}");
    assert!(line.contains("my config' HTTPS_PROXY=http://proxy.example:3128 /"), "{line}");
    // A password is nothing for the log of a build.
    let start = world.here.command(&["session", "start", "--no-wait", "--ipv4", "198.51.100.7"]);
    let outcome = start.env("HTTPS_PROXY", "http://alice:secret@proxy.example:3128").run().expect_code(0);
    assert!(!outcome.stderr.contains("secret"), "{outcome}");
}

#[test]
fn a_second_session_shares_the_rules_of_the_first() {
    let world = World::new();
    let first = start_id(&world.here, &["--duration", "1h"]);
    let rules = world.cloud.snapshot();
    let second = start(&world.here, &["--duration", "2h"]);
    assert_eq!(second["status"], "ACTIVE");
    let count = |text: &str| text.lines().count();
    assert_eq!(count(&world.cloud.snapshot()), count(&rules), "no second rule for one permission");
    let stopped = world.eg(&["session", "stop", second["id"].as_str().unwrap()]).expect_code(0);
    assert_eq!(stopped.stdout.matches(&format!("held by session {} until ", &first[..8])).count(), 5, "{stopped}");
    assert_eq!(world.cloud.snapshot(), rules, "tags tell the first one's end again");
    assert_eq!(get(&world.here, &first)["status"], "ACTIVE");
}

#[test]
fn nothing_but_what_was_asked_is_opened() {
    let world = World::new();
    start(&world.here, &["--only", "prod-api-sg"]);
    let open: Vec<_> = ["prod-api-sg", "prod-db-sg", "dev-web-sg"]
        .iter()
        .flat_map(|name| world.cloud.rules(world.group(name)))
        .map(|rule| (rule.protocol, rule.ports, rule.cidr))
        .collect();
    assert_eq!(open, [("tcp".to_owned(), (22, 22), format!("{IPV4}/32"))]);
}

#[test]
fn no_configuration_at_all() {
    let world = World::bare();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start"]).expect_code(1);
    tale.eg(&["session", "start", "--output", "json"]).expect_code(1).json_lines();
    tale.eg(&["reconcile"]).expect_code(0);
    tale.end("no_configuration");
    assert_eq!(world.call_counts(), "");

    world.write_config("[user]\nname = \"Bob\"\n");
    assert!(error_of(&world.eg(&["session", "start"]).expect_code(1)).starts_with("no resource is configured in "));
}

#[test]
fn some_ports_of_a_grant_fail() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let refused = Fault::refuse("AuthorizeSecurityGroupIngress", 400, "InvalidParameterValue", "not these ports");
    world.faults(&[refused.containing("8000")]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "dev"]).expect_code(1);
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    let id = list[0]["id"].as_str().unwrap();
    tale.eg(&["session", "get", id]).expect_code(0);
    assert_eq!(world.cloud.rules(world.group("dev-web-sg")).len(), 2);
    world.faults(&[]);
    // What was refused is not open, and no stop waits for it.
    tale.eg(&["session", "stop", id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    world.advance(6 * 60);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.end("some_ports");
}

#[test]
fn a_plan_is_shown_and_not_carried_out() {
    let world = World::new();
    start(&world.here, &["--no-wait", "--only", "prod-api-sg"]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["reconcile", "--dry-run"]).expect_code(3);
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")), []);
    world.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["reconcile", "--dry-run"]).expect_code(0);
    world.advance(9 * 3600);
    tale.eg(&["reconcile", "--dry-run"]).expect_code(3);
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")).len(), 1);
    tale.end("dry_run");
}

/// "Exactly these": an address that would open nothing is an error, and one that opens less than it could is said.
#[test]
fn an_address_that_a_resource_does_not_take() {
    let world = World::new();
    let v4_only =
        |label: &str| (format!("groups = [\"{label}\"]"), format!("families = [\"ipv4\"]\ngroups = [\"{label}\"]"));
    let (from, to) = v4_only("dev");
    world.write_config(&world.default_config().replace(&from, &to));
    let before = world.cloud.snapshot();
    let both = ["session", "start", "--ipv4", "198.51.100.9", "--ipv6", "2001:db8::9"];
    for command in ["start", "ensure"] {
        let args = [&["session", command], &both[2..], &["--only", "dev"]].concat();
        let refused = world.eg(&args).expect_code(2);
        assert_eq!(error_of(&refused), "no selected resource takes the family of 2001:db8::9");
    }
    assert_eq!(world.cloud.snapshot(), before);
    assert!(!world.here.state_path().exists(), "nothing was recorded");

    let opened = world.eg(&both).expect_code(0);
    let warning = "warning: 2001:db8::9 is not opened on dev-web-sg: no IPv6 there";
    assert_eq!(opened.stderr.matches("is not opened on").count(), 1, "{opened}");
    assert!(opened.stderr.contains(warning), "{opened}");
    let fine = world.eg(&["session", "start", "--ipv4", "198.51.100.9"]).expect_code(0);
    assert!(!fine.stderr.contains("is not opened on"), "{fine}");
}

#[test]
fn the_profile_that_is_hinted_at_is_used() {
    let world = World::new();
    world.here.write_profiles(&[("work", "WORK")]);
    let args = ["session", "start", "--only", "dev"];
    let outcome = world.here.command(&args).env("AWS_PROFILE", "work").run().expect_code(0);
    assert!(outcome.stderr.contains("come from this shell's environment"), "keys beat it: {outcome}");
    assert!(outcome.stderr.contains("AWS_PROFILE with AWS_ACCESS_KEY_ID unset"), "{outcome}");
    let unset = world.here.command(&args).env("AWS_PROFILE", "work").without("AWS_ACCESS_KEY_ID");
    let outcome = unset.without("AWS_SECRET_ACCESS_KEY").run().expect_code(0);
    assert!(!outcome.stderr.contains("come from this shell's environment"), "{outcome}");
}
