//! `eg log`.

use crate::{
    cli::session::{error_of, start, start_id},
    harness::{Fault, World},
};
use serde_json::Value;

fn events(world: &World, more: &[&str]) -> Vec<Value> {
    let log = world.eg(&[&["log", "--output", "json"], more].concat()).expect_code(0).json_as("log");
    log.as_array().unwrap().clone()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_rules_whole_life() {
    let world = World::new();
    assert_eq!(world.eg(&["log"]).expect_code(0).stderr, "No events.\n");
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    let other = start_id(&world.here, &["--only", "prod-db-sg"]);
    world.advance(3600);
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress").times(1)]);
    world.eg(&["session", "stop", &id]).expect_code(3);
    world.advance(130);
    world.eg(&["reconcile"]).expect_code(0);
    world.forget_calls();

    let all = events(&world, &["--session", &id[..8]]);
    for kind in ["session-started", "intent", "authorized", "session-ended", "refused", "revoked", "session-status"] {
        assert!(kinds(&all).contains(&kind), "{kind} in {:?}", kinds(&all));
    }
    assert!(all.iter().all(|event| event["sessionId"] != other.as_str() && event["resourceName"] != "prod-db-sg"));
    let opened = all.iter().find(|event| event["event"] == "authorized").unwrap();
    assert_eq!(opened["userName"], "Alice Smith");
    assert_eq!((&opened["resourceName"], &opened["command"]), (&"prod-api-sg".into(), &"start".into()));
    assert!(opened["requestId"].is_string() && opened["ruleId"].as_str().unwrap().starts_with("sgr-"), "{opened:#}");
    let closed = all.iter().find(|event| event["event"] == "revoked").unwrap();
    assert_eq!((&closed["ruleId"], &closed["command"]), (&opened["ruleId"], &"reconcile".into()));

    let late = events(&world, &["--since", "30m"]);
    assert!(!kinds(&late).contains(&"session-started") && kinds(&late).contains(&"revoked"), "{:?}", kinds(&late));
    assert!(events(&world, &["--since", "31d"]).len() > late.len());
    // As far back as events are kept, and no farther.
    world.advance(40 * 86_400);
    assert!(kinds(&events(&world, &["--since", "90d"])).contains(&"session-started"));
    assert!(kinds(&events(&world, &["--since", "400d"])).contains(&"session-started"));
    assert!(!kinds(&events(&world, &["--since", "31d"])).contains(&"session-started"));
    let refused = world.eg(&["log", "--since", "401d"]).expect_code(2);
    assert!(refused.stderr.contains("the limit is 400d"), "{refused}");
    let page = world.eg(&["log"]).expect_code(0);
    let header = "WHEN                     WHO          WHAT";
    assert!(page.stdout.starts_with(header), "{page}");
    for word in [" started ", " opened ", " closed ", " stopped ", " refused ", " session open ", " until "] {
        assert!(page.stdout.contains(word), "{word} in {page}");
    }
    for bookkeeping in ["claimed", "intent", "lease-closed", "grant-status", "retag", ":00Z"] {
        assert!(!page.stdout.contains(bookkeeping), "{bookkeeping} in {page}");
    }
    // Why something failed stands under its row, not in a cell.
    let why = page.stdout.lines().find(|line| line.contains("UnauthorizedOperation")).unwrap();
    assert!(why.starts_with("  ") && !why.contains(" refused "), "{page}");
    let whole = world.eg(&["-v", "log"]).expect_code(0);
    assert!(whole.stdout.lines().count() > page.stdout.lines().count() && whole.stdout.contains("REQUEST"), "{whole}");
    assert_eq!(world.call_counts(), "", "no cloud is asked");
}

#[test]
fn the_last_ones() {
    let world = World::new();
    start(&world.here, &[]);
    start(&world.here, &[]);
    let rows = |args: &[&str]| {
        let page = world.eg(args).expect_code(0).stdout;
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        page.lines().skip(1).map(squeezed).collect::<Vec<_>>()
    };
    let all = rows(&["log"]);
    assert!(all.len() > 20, "a pipe gets all of them: {all:#?}");
    assert_eq!(rows(&["log", "-n", "3"]), all[all.len() - 3..]);
    assert_eq!(rows(&["log", "-n", "0"]), all);
    assert_eq!(events(&world, &["-n", "2"]).len(), 2);
    assert_eq!(world.eg(&["log", "-n", "2", "-o", "csv"]).expect_code(0).stdout.lines().count(), 3);
    let left = world.here.command(&["log"]).env("TERM", "xterm").on_terminal(100, 250).wait();
    let shown = left.screen.contents();
    let earlier = format!("{} earlier: eg log -n 0", all.len() - 20);
    assert_eq!((shown.lines().count(), shown.lines().last()), (22, Some(earlier.as_str())), "{shown}");
}

#[test]
fn followed() {
    let world = World::new();
    let (table, lines) = (world.dir().join("table"), world.dir().join("lines"));
    let follow = |more: &[&str], into| world.here.command(&[&["log", "-f"], more].concat()).spawn_into(into);
    let followers = [follow(&[], &table), follow(&["-o", "json"], &lines)];
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    let shows = |path: &std::path::Path, text: &str| {
        let begin = std::time::Instant::now();
        while !std::fs::read_to_string(path).unwrap().contains(text) {
            assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{text} never came to {}", path.display());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    shows(&table, " opened ");
    shows(&lines, "\"authorized\"");
    world.eg(&["session", "stop", &id]).expect_code(0);
    shows(&table, " closed ");
    shows(&lines, "\"revoked\"");
    for follower in followers {
        // Not INT: a shell starts background jobs, and so perhaps this test, with that signal ignored.
        follower.signal("TERM");
        assert_eq!(follower.wait().code(), None, "a signal ends it");
    }
    let text = std::fs::read_to_string(&table).unwrap();
    assert_eq!(text.matches("WHEN").count(), 1, "one header: {text}");
    for line in std::fs::read_to_string(&lines).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        crate::harness::eg::assert_valid("log", &serde_json::json!([event]));
    }
}

#[test]
fn rows_for_a_spreadsheet() {
    let world = World::new();
    world.write_config(&world.default_config().replace("Alice Smith", "=HYPERLINK(\\\"//x\\\", \\\"y\\\")"));
    start(&world.here, &["--only", "prod-api-sg"]);
    let rows = world.eg(&["log", "--output", "csv"]).expect_code(0);
    let lines: Vec<_> = rows.stdout.split_terminator("\r\n").collect();
    assert!(lines[0].starts_with("at,user_name,user_email,event,command,session_id,"), "{rows}");
    let opened = lines.iter().find(|line| line.contains(",authorized,")).unwrap();
    assert!(opened.contains(",\"'=HYPERLINK(\"\"//x\"\", \"\"y\"\")\",alice@example.com,"), "{opened}");
    assert!(opened.contains(",tcp/22 from 203.0.113.42/32,sgr-"), "{opened}");
    assert!(!lines.iter().any(|line| line.contains('\n')), "one line a row");
    assert_eq!(rows.stderr, "");
}

#[test]
fn what_is_refused() {
    let world = World::new();
    let outcome = world.eg(&["session", "list", "--output", "csv"]).expect_code(2);
    assert_eq!(error_of(&outcome), "only `eg log` has rows for --output csv");
    world.eg(&["log", "--since", "yesterday"]).expect_code(2);
    world.eg(&["log", "--session", "abcd"]).expect_code(1);
    start(&world.here, &["--no-wait"]);
    world.eg(&["log", "--session", "xyz1"]).expect_code(2);
    let outcome = world.eg(&["log", "--session", "00000000-0000-4000-8000-000000000000"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("there is no session "), "{outcome}");
}
