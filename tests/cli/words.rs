//! Commands and values in the words that people type.

use crate::{
    cli::session::{error_of, get, start_id},
    harness::{IPV4, World},
};

fn open(world: &World, name: &str) -> Vec<String> {
    let rules = world.cloud.rules(world.group(name));
    rules.iter().filter(|rule| rule.cidr == format!("{IPV4}/32")).map(|rule| format!("{:?}", rule.ports)).collect()
}

#[test]
fn short_forms() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.eg(&["open", "--only", "prod-api-sg", "-o", "json"]).expect_code(0).json_as("session");
    world.eg(&["start", "--only", "prod-db-sg"]).expect_code(0);
    let list = world.eg(&["session", "list"]).expect_code(0).stdout;
    for words in [&["list"][..], &["ls"], &["session", "ls"]] {
        assert_eq!(world.eg(words).expect_code(0).stdout, list, "{words:?}");
    }
    let id = world.eg(&["ls", "-o", "json"]).expect_code(0).json_as("sessions")[0]["id"].as_str().unwrap().to_owned();
    let page = world.eg(&["session", "get", &id]).expect_code(0).stdout;
    for words in [&["get", &id][..], &["session", "show", &id]] {
        assert_eq!(world.eg(words).expect_code(0).stdout, page, "{words:?}");
    }
    world.eg(&["stop"]).expect_code(0);
    world.eg(&["close"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    world.eg(&["resource", "rm", "prod-db-sg"]).expect_code(0);
    let left = world.eg(&["resource", "ls"]).expect_code(0);
    assert!(!left.stdout.contains("prod-db-sg") && left.stdout.contains("prod-api-sg"), "{left}");
    let help = world.eg(&["--help"]).expect_code(0).stdout;
    assert!(!help.contains("  start ") && help.contains("Short forms: eg start, stop, list"), "{help}");
}

#[test]
fn help_as_a_command() {
    let world = World::bare();
    assert_eq!(world.eg(&["help"]).expect_code(0).stdout, world.eg(&["--help"]).expect_code(0).stdout);
    for words in [&["session", "start"][..], &["session"], &["log"]] {
        let asked = world.eg(&[&["help"], words].concat()).expect_code(0).stdout;
        assert_eq!(asked, world.eg(&[words, &["--help"]].concat()).expect_code(0).stdout, "{words:?}");
    }
    let json = world.eg(&["help", "log", "-o", "json"]).expect_code(0);
    assert!(json.stdout.contains("Usage: eg log"), "{json}");
    let none = world.eg(&["help", "session", "strat"]).expect_code(2);
    assert!(error_of(&none).starts_with("`eg session` has no command \"strat\"; there are: start, "), "{none}");
}

#[test]
fn ports_by_number_and_by_name() {
    let world = World::new();
    let before = world.cloud.snapshot();
    for (port, opened) in
        [("22", "(22, 22)"), ("ssh", "(22, 22)"), ("https", "(443, 443)"), ("8000-8001", "(8000, 8001)")]
    {
        world.eg(&["start", "--only", "dev", "--port", port]).expect_code(0);
        assert_eq!(open(&world, "dev-web-sg"), [opened], "{port}");
        world.eg(&["stop"]).expect_code(0);
    }
    let none = world.eg(&["start", "--port", "gopher"]).expect_code(2);
    assert!(error_of(&none).contains("\"gopher\" is not a port: use tcp/22 or 22, "), "{none}");
    // The configuration takes them, too, and is written in the long form.
    let id = world.group("dev-web-sg").to_owned();
    world.eg(&["resource", "add", "named", "--id", &id, "--region", "eu-west-1", "--port", "rdp"]).expect_code(0);
    let text = std::fs::read_to_string(world.here.config_path()).unwrap();
    assert!(text.contains("ports = [\"tcp/3389\"]"), "{text}");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn resources_by_pattern_and_in_lists() {
    let world = World::new();
    let names = |only: &[&str]| {
        let args: Vec<&str> = only.iter().flat_map(|value| ["--only", *value]).collect();
        let id = start_id(&world.here, &[&["--no-wait"], args.as_slice()].concat());
        let session = get(&world.here, &id);
        let grants = session["resourceIps"].as_array().unwrap();
        grants.iter().map(|grant| grant["resourceName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["prod-*"]), ["prod-api-sg", "prod-db-sg"]);
    assert_eq!(names(&["prod-db-sg,dev"]), ["dev-web-sg", "prod-db-sg"]);
    assert_eq!(names(&["*-api-*, d?v"]), ["dev-web-sg", "prod-api-sg"]);
    let none = world.eg(&["start", "--only", "prod,stag*"]).expect_code(2);
    assert!(error_of(&none).starts_with("no resource is named or labelled \"stag*\"; known: "), "{none}");
}

#[test]
fn extend_takes_the_newest() {
    let world = World::new();
    let none = world.eg(&["extend", "--hours", "1"]).expect_code(1);
    assert_eq!(error_of(&none), "no live sessions");
    let older = start_id(&world.here, &["--only", "dev"]);
    world.advance(60);
    let newer = start_id(&world.here, &["--only", "prod-db-sg"]);
    let until = |id: &str| get(&world.here, id)["expiresAt"].as_str().unwrap().to_owned();
    let before = [until(&older), until(&newer)];
    let extended = world.eg(&["extend", "--hours", "2"]).expect_code(0);
    assert!(extended.stderr.contains(&format!("Extending session {} by 2 hours", &newer[..8])), "{extended}");
    assert_eq!(until(&older), before[0]);
    assert_ne!(until(&newer), before[1]);
}

#[test]
fn a_limit_is_named_with_what_was_typed() {
    let world = World::new();
    let refused = world.eg(&["start", "--duration", "48h"]).expect_code(2);
    assert_eq!(error_of(&refused), "48h is longer than max_duration (24h)");
}

/// As `stop` and `extend`: the newest that is live; and where none is, the newest.
#[test]
fn get_takes_the_newest() {
    let world = World::new();
    let none = world.eg(&["get"]).expect_code(1);
    assert_eq!(error_of(&none), "there is no session yet");
    let older = start_id(&world.here, &["--only", "dev"]);
    world.advance(60);
    let newer = start_id(&world.here, &["--only", "prod-db-sg"]);
    let shown = |said: &str, id: &str| {
        let page = world.eg(&["session", "get"]).expect_code(0);
        assert!(page.stderr.contains(&format!("→ Session {} ({said})", &id[..8])), "{page}");
        assert!(page.stdout.starts_with(&format!("Session {id}\n")), "{page}");
        assert_eq!(world.eg(&["get", "--output", "json"]).expect_code(0).json_as("session")["id"], id);
    };
    shown("the newest live session", &newer);
    world.eg(&["stop", &newer]).expect_code(0);
    shown("the newest live session", &older);
    world.eg(&["stop"]).expect_code(0);
    shown("the newest session; none is live", &newer);
}

#[test]
fn an_extension_that_is_too_long_says_how_much_fits() {
    let world = World::new();
    world.write_config(&world.default_config().replace("[detect]", "[session]\nmax_duration = \"1d\"\n[detect]"));
    let id = start_id(&world.here, &["--only", "dev", "--duration", "2h"]);
    for (by, said) in [("--hours", "30"), ("--duration", "30h")] {
        let refused = world.eg(&["extend", by, said]).expect_code(2);
        let expected =
            format!("30h more would exceed max_duration (1d); you can extend session {} by up to 22h", &id[..8]);
        assert_eq!(error_of(&refused), expected);
    }
}

/// Words of the record (APPLIED, PARTIAL, an id of 32 digits) are for programs.
#[test]
fn the_log_speaks_plainly() {
    let world = World::new();
    start_id(&world.here, &["--only", "dev"]);
    world.eg(&["stop"]).expect_code(0);
    let log = world.eg(&["log"]).expect_code(0);
    for said in ["state file created", "access open", "session open", "access ended"] {
        assert!(log.stdout.contains(said), "{said}: {log}");
    }
    for said in ["APPLIED", "ACTIVE", "REMOVED", "session is", "access is", "record created"] {
        assert!(!log.stdout.contains(said), "{said}: {log}");
    }
}
