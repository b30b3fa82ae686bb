//! One configuration with every kind of firewall, in a network namespace of the test's own: one `eg session start` opens
//! all of them, and one `stop` leaves each as it was.

use crate::{
    cli::{kinds::Kinds, session::Tale},
    harness::{IPV4, namespace::is_inside},
};
use regex::Regex;
use serde_json::Value;
use std::{cmp::Reverse, fs, path::PathBuf, process::Command};

/// What people have: a ruleset that refuses, its line for what `eg` opens, and an element in the table of `eg`.
const RULESET: &str = "
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    meta mark & 0x65670000 == 0x65670000 accept
    ip saddr 198.51.100.0/24 tcp dport 22 accept comment \"the office\"
  }
}
table inet eg {
  set v4_tcp_22 { type ipv4_addr; flags timeout; elements = { 198.51.100.7 comment \"theirs\" } }
  chain marking {
    type filter hook prerouting priority -150; policy accept;
    ip saddr @v4_tcp_22 tcp dport 22 meta mark set meta mark | 0x65670000 comment \"v4_tcp_22\"
  }
}
";

fn nft(args: &[&str]) -> String {
    let ran = Command::new("/usr/sbin/nft").args(args).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The ruleset without the one thing that a session leaves behind, the number that every write of `eg` counts up; and
/// without the time that is left to an element.
fn ruleset() -> String {
    let (mut lines, mut within) = (Vec::new(), false);
    let time = Regex::new(" expires [0-9a-z]+").unwrap();
    let text = time.replace_all(&nft(&["list", "ruleset"]), "").into_owned();
    for line in text.lines() {
        within |= line.trim() == "set version {";
        if !within {
            lines.push(line);
        }
        within &= line != "\t}";
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

struct Five {
    kinds: Kinds,
    /// What the script that observes has let in.
    lines: PathBuf,
}

impl Five {
    fn new() -> Self {
        let kinds = Kinds::new();
        let home = kinds.world.here.home().to_owned();
        let (directory, lines) = (home.join("door"), home.join("lines"));
        fs::write(&lines, "198.51.100.0/24\n").unwrap();
        let at = lines.display();
        kinds.program("door/apply/10-lines", &format!("#!/bin/sh\ngrep -qxF \"$1\" {at} || echo \"$1\" >> {at}\n"));
        let revoke = format!("#!/bin/sh\ngrep -vxF \"$1\" {at} > {at}.new\nmv {at}.new {at}\n");
        kinds.program("door/revoke/10-lines", &revoke);
        kinds.program("door/observe", &format!("#!/bin/sh\ncat {at}\n"));
        let config = fs::read_to_string(kinds.world.here.config_path()).unwrap();
        let door =
            format!("[[resource]]\nname = \"door\"\nprovider = \"script\"\ndirectory = \"{}\"\n", directory.display());
        kinds.world.here.write_config(&("[user]\nname = \"Alice\"\n".to_owned() + &config + &door));
        fs::write(home.join("ruleset"), RULESET).unwrap();
        nft(&["-f", home.join("ruleset").to_str().unwrap()]);
        Self { kinds, lines }
    }

    /// All that people would see.
    fn whole(&self) -> String {
        format!("{}\n{}\n{}", self.kinds.whole(), fs::read_to_string(&self.lines).unwrap(), ruleset())
    }
}

#[test]
fn one_session_opens_and_closes_all_five_kinds() {
    if !is_inside("cli::five_kinds::one_session_opens_and_closes_all_five_kinds") {
        return;
    }
    let five = Five::new();
    let here = &five.kinds.world.here;
    let before = five.whole();
    let mut tale = Tale::new(here);
    let start = ["session", "start", "--ipv4", IPV4, "--duration", "2h"];
    tale.eg(&[&start[..], &["--dry-run"]].concat()).expect_code(0);
    assert_eq!(five.whole(), before, "a dry run changes nothing");
    tale.eg(&start).expect_code(0);
    let open = five.whole();
    let opened = open.matches(IPV4).count() - before.matches(IPV4).count();
    assert!(opened >= 5 && open.contains("\"theirs\""), "{open}");
    assert!(fs::read_to_string(&five.lines).unwrap().contains(IPV4));
    for args in [&["session", "get"][..], &["session", "list"], &["status"], &["who"]] {
        tale.eg(args).expect_code(0);
    }
    // A second pass finds everything as it is recorded, and changes nothing.
    five.kinds.world.forget_calls();
    tale.eg(&["reconcile"]).expect_code(0);
    assert_eq!((five.whole(), five.kinds.world.changes()), (open, Vec::new()));

    let json = here.eg(&["session", "get", "--output", "json"]).expect_code(0).json_as("session");
    let grants = json["resourceIps"].as_array().unwrap();
    assert_eq!(grants.len(), 6);
    for grant in grants {
        assert!(grant["status"] == "APPLIED" && grant["providerRuleId"].is_string(), "{grant}");
    }
    // The record knows whose entry it is, where the entry has no room for it.
    let who = here.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    let ours = who["rules"].as_array().unwrap().iter().filter(|rule| rule["holders"][0]["ours"] == true);
    let sessions: Vec<_> = ours.map(|rule| (&rule["kind"], &rule["sessionId"])).collect();
    assert!(sessions.len() == 4 && sessions.iter().all(|(_, id)| **id == json["id"]), "{who:#}");
    here.eg(&["status", "--output", "json"]).expect_code(0).json_as("status");

    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(five.whole(), before);
    // Every firewall has its lines in the log, in any order: they are worked on at once.
    let log = here.eg(&["log", "--output", "json"]).expect_code(0).json_as("log");
    for grant in grants {
        let of = |event: &str| {
            let about = |line: &&Value| line["event"] == event && line["resourceName"] == grant["resourceName"];
            log.as_array().unwrap().iter().filter(about).map(|line| line["ruleId"].clone()).collect::<Vec<_>>()
        };
        let rule = vec![grant["providerRuleId"].clone()];
        assert_eq!((of("authorized"), of("revoked")), (rule.clone(), rule), "{grant}");
    }
    let shown = here.eg(&["log"]).expect_code(0).stdout;
    assert_eq!((shown.matches("  opened ").count(), shown.matches("  closed ").count()), (6, 6), "{shown}");
    tale.eg(&["session", "get", json["id"].as_str().unwrap()]).expect_code(0);
    for grant in grants {
        if let Some((_, nonce)) = grant["providerRuleId"].as_str().unwrap().split_once('#') {
            tale.name(nonce, "[NONCE0]");
        }
    }
    five.kinds.named(&mut tale);
    tale.end("kinds_five");
    five.kinds.world.ends();
    assert_eq!(five.whole(), before);
}

/// Another machine has no record of the session: it shows what the entries say of it.
#[test]
fn a_machine_that_does_not_know_the_session_shows_what_the_entries_say() {
    if !is_inside("cli::five_kinds::a_machine_that_does_not_know_the_session_shows_what_the_entries_say") {
        return;
    }
    let five = Five::new();
    five.kinds.eg(&["session", "start", "--ipv4", IPV4, "--duration", "2h"]).expect_code(0);
    let id = five.kinds.eg(&["session", "get", "--output", "json"]).json()["id"].as_str().unwrap().to_owned();
    let there = five.kinds.world.installation("other-machine");
    let mut tale = Tale::new(&five.kinds.world.here);
    let outcome = there.eg(&["who"]).expect_code(0);
    tale.add(&["who"], &outcome);
    let who = there.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    for rule in
        who["rules"].as_array().unwrap().iter().filter(|rule| rule["permission"]["cidr"] == format!("{IPV4}/32"))
    {
        if rule["sessionId"] == "00000000-0000-0000-0000-000000000007" {
            continue; // of the other installation, in the security group
        }
        let known = |key: &str| rule[key].as_str().map(str::to_owned);
        let (short, person) = (known("sessionShortId"), known("person"));
        match rule["kind"].as_str().unwrap() {
            "waf-ip-set" => assert_eq!((known("sessionId"), short, person), (None, None, None)),
            kind => {
                assert_eq!(known("sessionId").is_some(), kind == "security-group", "{rule}");
                assert_eq!(short.as_deref(), Some(&id[..8]), "{rule}");
                assert!(person.is_some(), "{rule}");
            }
        }
    }
    let persons = who["rules"].as_array().unwrap().iter().filter_map(|rule| rule["person"].as_str());
    let mut persons: Vec<&str> = persons.filter(|person| *person != "bob@desk").collect();
    persons.sort_by_key(|person| Reverse(person.len()));
    persons.into_iter().for_each(|person| tale.name(person, "[PERSON]"));
    for holder in who["rules"].as_array().unwrap().iter().map(|rule| &rule["holders"][0]["installation"]) {
        let short = &holder.as_str().unwrap()[..8];
        tale.name(&format!("other {short}"), if short == "00000000" { "other INSTALL2" } else { "other INSTALL1" });
    }
    for rule in who["rules"].as_array().unwrap() {
        if let Some((_, nonce)) = rule["ruleId"].as_str().unwrap().split_once('#') {
            tale.name(nonce, "[NONCE0]");
        }
    }
    five.kinds.named(&mut tale);
    tale.end("kinds_five_elsewhere");
    five.kinds.eg(&["session", "stop"]).expect_code(0);
    five.kinds.world.ends();
}
