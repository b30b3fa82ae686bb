//! Streams, colours, time zones, and text of others.

use super::{error_of, start, start_id};
use crate::harness::{IPV4, REGION, World, eg::assert_valid};
use serde_json::Value;

#[test]
fn quiet_keeps_results_and_errors() {
    let world = World::new();
    let outcome = world.eg(&["-q", "session", "start", "--only", "dev"]).expect_code(0);
    assert!(
        !outcome.stderr.contains('→') && !outcome.stderr.contains("hint:") && !outcome.stderr.contains("APPLIED"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("warning: "), "{outcome}");
    assert!(
        outcome.stdout.starts_with("✓ Session started\n") && outcome.stdout.ends_with("✓ Session is ACTIVE\n"),
        "{outcome}"
    );
    let outcome = world.eg(&["session", "stop", "--quiet"]).expect_code(0);
    assert_eq!(outcome.stdout, "✓ Session stopped\n");
    assert!(!outcome.stderr.contains('→'), "{outcome}");
    let outcome = world.eg(&["-q", "session", "stop"]).expect_code(1);
    assert_eq!(outcome.stderr, "error: no live sessions\n");
}

#[test]
fn colours_when_they_are_wanted() {
    let world = World::new();
    start(&world.here, &["--only", "dev"]);
    let list = |more: &[&str], env: &[(&str, &str)]| {
        let mut command = world.here.command(&[&["session", "list"], more].concat());
        for (key, value) in env {
            command = command.env(key, value);
        }
        command.run().expect_code(0).stdout
    };
    assert!(!list(&[], &[]).contains('\u{1b}'), "not a terminal");
    assert!(!list(&["--color", "auto"], &[("TERM", "xterm")]).contains('\u{1b}'));
    assert!(!list(&["--color", "never"], &[]).contains('\u{1b}'));
    assert!(list(&["--color", "always"], &[]).contains("\u{1b}[32mACTIVE\u{1b}[0m  "));
    assert!(list(&["--color=always"], &[("NO_COLOR", "1")]).contains("\u{1b}[32m"), "beats NO_COLOR");
    assert!(!list(&["--color=always", "--output", "json"], &[]).contains('\u{1b}'), "JSON has none");
    let page = world.eg(&["session", "get", &start_id(&world.here, &["--no-wait"]), "--color", "always"]);
    assert!(page.stdout.contains("\u{1b}[33mPENDING\u{1b}[0m"), "{page}");
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    assert!(list(&["--color", "always"], &[]).contains("\u{1b}[2mCANCELLED\u{1b}[0m"));
    let plain = list(&[], &[]);
    let colour = list(&["--color", "always"], &[]);
    let stripped = colour.replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert_eq!(stripped, plain, "colours move nothing");
}

/// The text that `eg` prints on a terminal.
fn on_a_terminal(world: &World, args: &str, (name, value): (&str, &str)) -> String {
    let args: Vec<&str> = args.split(' ').collect();
    world.here.command(&args).env(name, value).on_a_terminal(&[]).stdout
}

#[test]
fn colours_on_a_terminal() {
    let world = World::new();
    start(&world.here, &["--no-wait", "--only", "dev"]);
    let shown = on_a_terminal(&world, "session list", ("TERM", "xterm"));
    assert!(shown.contains("PENDING") && shown.contains('\u{1b}'), "{shown:?}");
    for args in ["session list", "session list --limit x", "--help", "session get zz"] {
        for (more, env) in [("", ("NO_COLOR", "1")), ("", ("TERM", "dumb")), (" --color never", ("TERM", "xterm"))] {
            let shown = on_a_terminal(&world, &format!("{args}{more}"), env);
            assert!(!shown.contains('\u{1b}'), "{args}{more} {env:?}: {shown:?}");
        }
    }
    let shown = on_a_terminal(&world, "session list", ("NO_COLOR", ""));
    assert!(shown.contains('\u{1b}'), "an empty NO_COLOR is none (no-color.org): {shown:?}");
}

/// Local times of the first row of `list`, and the same in UTC from its JSON.
fn started(world: &World, zone: &str) -> (String, String, String) {
    let outcome = world.here.command(&["session", "list"]).env("TZ", zone).run().expect_code(0);
    let row = outcome.stdout.lines().nth(1).unwrap().to_owned();
    let at = row.find("20").unwrap();
    let at = row[at..].find("-").map(|dash| at + dash - 4).unwrap();
    let json = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    (row[at..at + 19].to_owned(), json[0]["startedAt"].as_str().unwrap().to_owned(), outcome.stderr)
}

#[test]
fn times_are_local() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    super::listing::rename(&world.here, &id, "abcdefab-cdef-4bcd-8abc-abcdefabcdef"); // no digits that look like a year
    let parse = |local: &str, utc: &str| {
        let local = chrono::NaiveDateTime::parse_from_str(local, "%Y-%m-%d %H:%M:%S").unwrap();
        (local - chrono::DateTime::parse_from_rfc3339(utc).unwrap().naive_utc()).num_minutes()
    };
    for (zone, offsets) in [("UTC", vec![0]), ("XYZ-5:30", vec![330]), ("Europe/Berlin", vec![60, 120]), ("", vec![0])]
    {
        if zone.contains('/') && !std::path::Path::new("/usr/share/zoneinfo").join(zone).exists() {
            continue;
        }
        let (local, utc, stderr) = started(&world, zone);
        assert!(offsets.contains(&parse(&local, &utc)), "{zone}: {local} for {utc}");
        assert_eq!(stderr, "", "{zone}");
    }
    let (local, utc, stderr) = started(&world, "Mars/Olympus");
    assert_eq!(parse(&local, &utc), 0);
    assert_eq!(stderr, "warning: the time zone Mars/Olympus is not known; times are in UTC\n");
    let outcome = world.here.command(&["session", "list", "--output", "json"]).env("TZ", "Mars/Olympus").run();
    assert!(outcome.json_lines()[0]["warning"]["message"].as_str().unwrap().contains("Mars/Olympus"));
}

/// One time zone everywhere, and every date says which.
#[test]
fn every_date_names_its_zone() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    let group = world.group("prod-api-sg");
    world.cloud.revoke(group, &world.cloud.rules(group)[0].id);
    let date = regex::Regex::new(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}( XYZ)?").unwrap();
    for args in [
        &["session", "list"][..],
        &["session", "get", &id],
        &["status"],
        &["who"],
        &["log"],
        &["-v", "log"],
        &["reconcile", "--dry-run"],
        &["reconcile"],
        &["session", "extend", "--hours", "1"],
    ] {
        let outcome = world.here.command(args).env("TZ", "XYZ-5:30").run();
        let text = outcome.stdout.clone() + &outcome.stderr;
        let dates: Vec<_> = date.find_iter(&text).map(|found| found.as_str()).collect();
        assert!(dates.iter().all(|found| found.ends_with(" XYZ")), "{args:?}: {outcome}");
        assert!(!dates.is_empty() || args.contains(&"who"), "{args:?}: {outcome}");
    }
}

#[test]
fn the_holder_of_the_lock_is_told_in_our_time() {
    let world = World::new();
    world.faults(&[crate::harness::Fault::hold("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let running = world.here.command(&["session", "start", "--only", "prod-api-sg"]).spawn();
    running.wait_for_delayed("AuthorizeSecurityGroupIngress");
    let waits = world.here.command(&["--lock-wait", "2s", "reconcile"]).env("TZ", "XYZ-5:30").run().expect_code(4);
    assert!(waits.stderr.contains("Waiting for another eg (pid ") && !waits.stderr.contains("UTC"), "{waits}");
    assert_eq!(waits.stderr.matches(" XYZ").count(), 2, "{waits}");
    let timer = world.eg(&["--lock-wait", "2s", "reconcile", "--timer"]).expect_code(4);
    assert!(!timer.stderr.contains("Waiting"), "to wait is no mail: {timer}");
    world.faults(&[]);
    running.wait().expect_code(0);
}

/// B34: `eg session start | head -0`.
#[test]
fn a_closed_stdout_ends_nothing() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.here.command(&["session", "start"]).spawn_with_closed_stdout().wait().expect_code(0);
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    assert_eq!(list[0]["status"], "ACTIVE");
    assert_eq!(world.cloud.rules(world.group("dev-web-sg")).len(), 3);
    for args in [
        &["session", "list"][..],
        &["schema", "session"],
        &["--help"],
        &["reconcile"],
        &["session", "list", "--output", "json"],
        &["status"],
        &["who"],
        &["log"],
        &["log", "--output", "csv"],
        &["iam-policy"],
        &["completions", "bash"],
        &["man"],
    ] {
        let outcome = world.here.command(args).spawn_with_closed_stdout().wait().expect_code(0);
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    }
    world.here.command(&["session", "stop", "--output", "json"]).spawn_with_closed_stdout().wait().expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Some of what must not come to a terminal as it is.
const STEERING: [char; 7] = ['\u{1b}', '\u{7}', '\u{202e}', '\r', '\u{7f}', '\u{9b}', '\u{2028}'];

#[test]
fn text_of_others_steers_no_terminal() {
    let world = World::new();
    let reason = "\u{1b}]0;owned\u{7} \u{202e}txt\r\n✓ Session stopped \u{7f}\u{9b}2J\u{2028}";
    let id = start_id(&world.here, &["--no-wait", "--only", "dev", "--reason", reason]);
    for args in [&["session", "get", &id][..], &["session", "list"], &["session", "get", &id, "--color", "always"]] {
        let outcome = world.eg(args).expect_code(0);
        let text = outcome.stdout.replace("\u{1b}[33m", "").replace("\u{1b}[0m", "");
        assert!(!text.contains(STEERING), "{text:?}");
        assert!(!text.contains("\n✓"), "{text}");
    }
    let json = super::get(&world.here, &id);
    assert_eq!(json["reason"], reason, "JSON holds it as it is, escaped by JSON");
    for args in [&["session", "get", &id, "--output", "json"][..], &["log", "--output", "json"]] {
        let text = world.eg(args).expect_code(0).stdout;
        assert!(!text.contains(STEERING), "{text:?}");
    }
    let error = world.eg(&["session", "get", "\u{7f}\u{9b}2J", "--output", "json"]).expect_code(2).stderr;
    assert!(error.contains("\\u007f\\u009b2J") && !error.contains(STEERING), "{error:?}");

    for (args, code) in [
        (&["session", "get", "\u{1b}[31m"][..], 2),
        (&["session", "start", "--only", "\u{1b}[31m"], 2),
        (&["session", "start", "--duration", "\u{1b}[31m"], 2),
        (&["session", "start", "--ipv4", "\u{1b}[31m"], 2),
        (&["schema", "\u{1b}[31m"], 2),
        (&["session", "list", "--status", "\u{1b}[31m"], 2),
        (&["session", "list", "--limit", "\u{1b}[31m"], 2),
        (&["session", "extend", "\u{1b}[31m", "--hours", "1"], 2),
        (&["\u{1b}[31m"], 2),
        (&["--config", "/\u{1b}[31m", "session", "start"], 1),
        (&["--lock-wait", "\u{1b}[31m", "reconcile"], 2),
    ] {
        for color in ["auto", "always"] {
            let outcome = world.eg(&[args, &["--color", color]].concat()).expect_code(code);
            assert!(
                !outcome.stderr.contains("\u{1b}[31m\"") && !outcome.stderr.contains("\u{1b}[31m'"),
                "{args:?}: {:?}",
                outcome.stderr
            );
            if color == "auto" {
                assert!(!outcome.stderr.contains('\u{1b}'), "{args:?}: {:?}", outcome.stderr);
            }
        }
    }
}

#[test]
fn a_providers_words_are_escaped() {
    let world = World::new();
    world.faults(&[crate::harness::Fault::refuse(
        "AuthorizeSecurityGroupIngress",
        400,
        "InvalidParameterValue",
        "no \u{9b}2J way",
    )]);
    let outcome = world.eg(&["session", "start", "--only", "dev"]).expect_code(1);
    assert!(!outcome.stderr.contains('\u{9b}') && outcome.stderr.contains("\\u{9b}2J way"), "{outcome}");
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    let page = world.eg(&["session", "get", list[0]["id"].as_str().unwrap()]).expect_code(0);
    assert!(!page.stdout.contains('\u{9b}') && page.stdout.contains("\\u{9b}2J way"), "{page}");
    let outcome = world.eg(&["reconcile"]).expect_code(1);
    assert!(!outcome.to_string().contains('\u{9b}'), "{outcome}");
}

#[test]
fn schemas_are_printed() {
    let world = World::bare();
    for name in [
        "session",
        "sessions",
        "start-dry-run",
        "status",
        "ip",
        "who",
        "log",
        "init",
        "resources",
        "resource-change",
        "verify",
        "discover",
        "iam-policy",
        "sweep",
        "setup-cloud-expiry",
        "reconcile",
        "notify",
        "error",
        "demo",
        "sandbox",
    ] {
        let outcome = world.eg(&["schema", name]).expect_code(0);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/v1/{name}.json"));
        assert_eq!(outcome.stdout, std::fs::read_to_string(path).unwrap());
        assert_eq!(outcome.json()["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(world.eg(&["schema", name, "--output", "json"]).expect_code(0).stdout, outcome.stdout);
    }
    let outcome = world.eg(&["schema", "sesion"]).expect_code(2);
    let known = "session, sessions, start-dry-run, status, ip, who, log, init, resources, resource-change, verify, discover, iam-policy, \
         schedule, doctor, setup-cloud-expiry, sweep, reconcile, notify, error, demo, sandbox";
    assert_eq!(error_of(&outcome), format!("there is no schema \"sesion\"; there are: {known}"));
}

#[test]
fn a_watch_prints_an_object_a_line() {
    let world = World::new();
    start(&world.here, &["--no-wait", "--only", "dev"]);
    let running = world.here.command(&["reconcile", "--watch", "--output", "json"]).spawn();
    running.wait_for_call(|call| call.action == "AuthorizeSecurityGroupIngress" && !call.dry_run);
    running.signal("TERM");
    let outcome = running.wait().expect_code(0);
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty(), "{outcome}");
    lines.iter().for_each(|line| assert_valid("reconcile", line));
    assert!(!start(&world.here, &["--no-wait", "--only", "dev"])["id"].is_null());
}

#[test]
fn logs_hold_no_secret() {
    let world = World::new();
    let outcome = world.eg(&["-vv", "session", "start", "--only", "dev"]).expect_code(0);
    assert!(!outcome.stderr.contains("AKIAEG") && !outcome.stderr.contains("testing"), "{outcome}");
    assert!(outcome.stdout.contains(IPV4));
}

#[test]
fn verbose_json_is_still_json_lines() {
    let world = World::new();
    let outcome = world.eg(&["-vv", "--output", "json", "session", "start", "--only", "dev"]).expect_code(0);
    outcome.json_as("session");
    for line in outcome.stderr.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// `eg … | head -1`, as people type it: nothing on stderr, and no failure of `eg`.
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new();
    for _ in 0..3 {
        start(&world.here, &["--no-wait"]);
    }
    for args in ["session list", "log", "session list --output json", "man session start", "schema sessions", "--help"]
    {
        let line = format!("set -o pipefail; '{}' {args} | head -n 1", env!("CARGO_BIN_EXE_eg"));
        let outcome = world.here.command(&[]).in_bash(&line).run().expect_code(0);
        assert_eq!((outcome.stdout.lines().count(), outcome.stderr.as_str()), (1, ""), "{args}");
    }
}

#[test]
fn help_fits_a_narrow_terminal() {
    let world = World::bare();
    for columns in [40, 80, 120] {
        let eg = world.here.command(&["session", "start", "--help"]).env("TERM", "xterm").on_terminal(500, columns);
        let left = eg.wait();
        assert_eq!(left.code, Some(0));
        let wrapped = (0..500).filter(|row| left.screen.row_wrapped(*row)).count();
        assert_eq!(wrapped, 0, "lines that ran over at {columns} columns:\n{}", left.screen.contents());
    }
}

/// What failed, why, and apart from that what to do: in the messages of every snapshot.
#[test]
fn errors_have_one_shape() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut seen = 0;
    for line in files.collect::<String>().lines() {
        let starts = ["error: ", "warning: ", "hint: "];
        let Some(text) = starts.iter().find_map(|start| line.strip_prefix(start)) else { continue };
        seen += 1;
        let first = text.split(' ').next().unwrap();
        let sentence =
            first.chars().next().is_some_and(char::is_uppercase) && first.chars().skip(1).all(char::is_lowercase);
        assert!(!sentence && !text.ends_with('.') && !text.contains("Please"), "a sentence: {line}");
    }
    assert!(seen > 100, "only {seen} messages");
}

/// What does not fit beside goes below, whole; a pipe gets the table as it always was.
#[test]
fn tables_fit_a_narrow_terminal() {
    let mut world = World::new();
    let id = start_id(&world.here, &["--only", "prod"]);
    let other = world.make_group("staging");
    world.cloud.authorize(&other, "tcp/443", "2001:db8::/32", "", &[]);
    let sweep = ["sweep", "--region", REGION, "--dry-run"];
    let discover = ["-q", "resource", "discover"];
    for args in [&["who"][..], &["log"], &["session", "list"], &["session", "get", &id], &discover, &sweep] {
        let piped = world.eg(args).expect_code(0).stdout;
        let wide = piped.lines().map(|line| line.chars().count()).max().unwrap();
        for columns in [90, 200] {
            let left = world.here.command(args).env("TERM", "xterm").on_terminal(100, columns).wait();
            assert_eq!(left.code, Some(0));
            let over = (0..100).filter(|row| left.screen.row_wrapped(*row)).count();
            assert_eq!(over, 0, "{args:?} at {columns} columns:\n{}", left.screen.contents());
            let words = |text: &str| {
                text.split_whitespace()
                    .filter(|word| *word != "-" && !word.contains(':'))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&left.screen.contents()), words(&piped), "{args:?} at {columns} columns");
            if usize::from(columns) >= wide {
                assert_eq!(left.screen.contents().lines().count(), piped.lines().count(), "{args:?}");
            }
        }
    }
}

/// Two texts that look the same are the same: what does not show, or changes how its neighbour looks, is shown as what it
/// is. JSON says the same as ever.
#[test]
fn nothing_hides_in_the_text_of_others() {
    let world = World::new();
    let reason = "a\u{200b}b \u{200e}c\u{feff} 1\u{338} e\u{301} \u{e0041}";
    let id = start_id(&world.here, &["--no-wait", "--only", "dev", "--reason", reason]);
    let shown = world.eg(&["session", "get", &id]).expect_code(0).stdout;
    assert!(shown.contains("a\\u{200b}b \\u{200e}c\\u{feff} 1\\u{338} e\u{301} \\u{e0041}\n"), "{shown}");
    let json = world.eg(&["session", "get", &id, "--output", "json"]).expect_code(0);
    assert!(!json.stdout.contains(['\u{200b}', '\u{200e}', '\u{feff}', '\u{338}', '\u{e0041}']), "{json}");
    assert_eq!(json.json()["reason"], reason);
}
