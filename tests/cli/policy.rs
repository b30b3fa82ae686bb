//! The machine's policy: users cannot relax it, and it never keeps anything from being closed.

use super::schedule::Host;
use crate::{
    cli::session::{Tale, error_of, get, snapshot, start_id},
    harness::{IPV4, Outcome, World, eg::EgCommand},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

const POLICY: &str = r#"
max_duration = "4h"
ports = ["tcp/22", "tcp/8000-9000"]
min_ipv4_prefix_len = 30
reason_pattern = "INC-[0-9]+"
explicit_addresses = false
"#;

struct Administered {
    world: World,
    file: PathBuf,
}

impl Administered {
    fn new(policy: &str) -> Self {
        let world = World::new();
        let file = world.dir().join("etc/policy.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let administered = Self { world, file };
        administered.write(policy);
        administered
    }

    fn write(&self, policy: &str) {
        fs::remove_file(&self.file).ok();
        fs::write(&self.file, policy).unwrap();
        self.mode(0o644);
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(&self.file, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A pipe that nobody ever writes to.
    fn is_a_pipe(&self) {
        fs::remove_file(&self.file).unwrap();
        let made = std::process::Command::new("mkfifo").args(["-m", "644"]).arg(&self.file).status();
        assert!(made.unwrap().success());
    }

    fn is_endless(&self) {
        fs::remove_file(&self.file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &self.file).unwrap();
    }

    /// The user who writes this file stands for root.
    fn bound(&self, command: EgCommand) -> EgCommand {
        let owner = fs::symlink_metadata(&self.file).unwrap().uid();
        command.env("EG_TEST_POLICY", &self.file).env("EG_TEST_POLICY_OWNER", owner.to_string())
    }

    fn eg(&self, args: &[&str]) -> Outcome {
        self.bound(self.world.here.command(args)).run()
    }
}

#[test]
fn what_is_not_allowed_is_refused_before_anything_happens() {
    let site = Administered::new(POLICY);
    let before = site.world.cloud.snapshot();
    let mut tale = Tale::new(&site.world.here);
    let api = ["session", "start", "--only", "prod-api-sg"];
    let fine = [&api[..], &["--reason", "INC-1", "--duration", "4h"]].concat();
    for args in [
        [&api[..], &["--reason", "INC-1", "--duration", "4h1m"]].concat(),
        [&api[..], &["--reason", "INC-1"]].concat(),
        [&api[..], &["--reason", "see INC-1", "--duration", "4h"]].concat(),
        [&api[..], &["--duration", "4h"]].concat(),
        [&fine[..], &["--ipv4", "198.51.100.9"]].concat(),
        [&fine[..], &["--only", "prod-db-sg"]].concat(),
        [&fine[..], &["--only", "dev"]].concat(),
    ] {
        let outcome = site.eg(&args).expect_code(1);
        tale.add(&args, &outcome);
    }
    site.world
        .write_config(&site.world.default_config().replace("[detect]", "[session]\nipv4_prefix_len = 29\n[detect]"));
    let outcome = site.eg(&fine).expect_code(1);
    tale.add(&fine, &outcome);
    tale.name(&site.world.dir().to_string_lossy(), "[TEMP]");
    tale.end("policy_refusals");
    assert!(!site.world.here.state_path().exists(), "nothing was recorded");
    assert_eq!((site.world.call_counts().as_str(), site.world.cloud.snapshot()), ("", before));
}

#[test]
fn what_is_allowed_opens_and_its_extensions_are_bound_too() {
    let site = Administered::new(&POLICY.replace("explicit_addresses = false", ""));
    let fine = ["session", "start", "--only", "dev", "--port", "tcp/8080", "--reason", "INC-1", "--duration", "2h"];
    let outcome = site.eg(&[&fine[..], &["--output", "json"]].concat()).expect_code(0);
    let id = outcome.json_as("session")["id"].as_str().unwrap().to_owned();
    site.eg(&["session", "extend", &id, "--hours", "2"]).expect_code(0);
    let outcome = site.eg(&["session", "extend", &id, "--hours", "1", "--output", "json"]).expect_code(1);
    let error = outcome.json_lines().last().unwrap()["error"].clone();
    assert_eq!(error["kind"], "policy");
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with("/policy.toml: max_duration: 4h at most is allowed; 5h is asked for"), "{message}");
    // A policy that came later holds for what is asked from then on.
    site.write("ports = [\"tcp/22\"]");
    let outcome = site.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    assert!(error_of(&outcome).contains("ports: tcp/22 alone are allowed; tcp/8080 of dev-web-sg"), "{outcome}");
    site.eg(&["reconcile"]).expect_code(0);
    assert_eq!(get(&site.world.here, &id)["status"], "ACTIVE", "what is open stays until its end");
    site.eg(&["session", "stop", &id]).expect_code(0);
}

#[test]
fn ensure_and_run_are_bound_the_same() {
    let site = Administered::new("max_duration = \"4h\"\nports = [\"tcp/22\"]");
    for args in [
        &["session", "ensure", "--only", "prod-db-sg", "--duration", "1h"][..],
        &["session", "run", "--only", "prod-db-sg", "--duration", "1h", "--", "true"],
    ] {
        let outcome = site.eg(args).expect_code(1);
        assert!(error_of(&outcome).contains("ports: tcp/22 alone are allowed"), "{outcome}");
    }
    assert!(!site.world.here.state_path().exists(), "nothing was recorded");
    let ensure = ["session", "ensure", "--only", "prod-api-sg", "--duration", "3h", "--output", "json"];
    let first = site.eg(&ensure).expect_code(0).json_as("session")["id"].clone();
    site.world.advance(3000);
    assert_eq!(
        site.eg(&ensure).expect_code(0).json_as("session")["id"],
        first,
        "prolonged to less than four hours in all"
    );
    site.world.advance(3600);
    assert_ne!(site.eg(&ensure).expect_code(0).json_as("session")["id"], first, "no longer than that");
}

#[test]
fn a_policy_that_cannot_be_followed_opens_nothing_and_closes_everything() {
    let site = Administered::new(POLICY);
    let before = site.world.cloud.snapshot();
    let short = start_id(&site.world.here, &["--only", "prod-api-sg", "--duration", "10m"]);
    let long = start_id(&site.world.here, &["--only", "prod-db-sg"]);
    start_id(&site.world.here, &["--only", "dev", "--no-wait"]);
    site.world.advance(700);
    type Breakage = fn(&Administered);
    let broken: [(Breakage, &str); 5] = [
        (Administered::is_a_pipe, "cannot be read: it is a named pipe, not a regular file"),
        (Administered::is_endless, "cannot be read: it is a device, not a regular file"),
        (|site| site.write("max_duration = 4"), ":1:16: max_duration of the policy is of type integer"),
        (|site| site.write("maximum = \"4h\""), ":1:1: the policy has no key \"maximum\""),
        (|site| site.mode(0o666), "can be written by others than root (mode 0666)"),
    ];
    for (breaks, why) in broken {
        breaks(&site);
        for args in [&["session", "start", "--only", "dev"][..], &["session", "extend", &long, "--hours", "1"]] {
            let outcome = site.eg(args).expect_code(1);
            assert!(error_of(&outcome).contains(why), "{outcome}");
        }
        let outcome = site.eg(&["reconcile"]).expect_code(1);
        assert!(outcome.stderr.contains(why), "{outcome}");
        let status = site.eg(&["status"]).expect_code(1);
        assert!(error_of(&status).contains(why) && status.stdout.contains(&long[..8]), "{status}");
        assert_eq!(site.world.cloud.rules(site.world.group("dev-web-sg")), [], "nothing is opened");
    }
    assert_eq!(get(&site.world.here, &short)["status"], "EXPIRED", "reconcile closed what was due");
    site.eg(&["session", "stop", "--all"]).expect_code(0);
    assert_eq!(site.world.cloud.snapshot(), before);
}

#[test]
fn a_policy_of_somebody_else_is_none() {
    let site = Administered::new("");
    let owner = fs::metadata(&site.file).unwrap().uid() + 1;
    let command = site.bound(site.world.here.command(&["session", "start", "--only", "dev"]));
    let outcome = command.env("EG_TEST_POLICY_OWNER", owner.to_string()).run().expect_code(1);
    assert!(error_of(&outcome).contains("not to be trusted"), "{outcome}");
    assert!(outcome.stderr.contains("hint: as root: chown root "), "{outcome}");
}

/// All of the syntax that people write: letters of any case and of any alphabet.
#[test]
fn a_reason_may_be_asked_for_in_any_alphabet() {
    let site = Administered::new("reason_pattern = '(?i)inc-\\d+: \\p{L}+'");
    let start = |reason: &str| site.eg(&["session", "start", "--only", "dev", "--no-wait", "--reason", reason]);
    for refused in ["INC-1: 22", "INC-x: Straße", "REQ-1: Straße"] {
        let outcome = start(refused).expect_code(1);
        assert!(error_of(&outcome).contains("reason_pattern: a --reason that matches (?i)inc-"), "{outcome}");
    }
    for fine in ["INC-1: Straße", "inc-22: Ωμέγα"] {
        start(fine).expect_code(0);
    }
}

#[test]
fn doctor_shows_it() {
    let site = Administered::new(&POLICY.replace("explicit_addresses = false", ""));
    let doctor = || {
        let host = Host::with_cron(&site.world);
        let outcome = site.bound(host.command(&["doctor"])).run();
        outcome.stdout.lines().skip_while(|line| !line.contains(" policy: ")).take(2).collect::<Vec<_>>().join("\n")
    };
    let mut shown = doctor();
    site.mode(0o622);
    shown += &format!("\n{}\n", doctor());
    snapshot("policy_doctor", &shown.replace(&*site.world.dir().to_string_lossy(), "[TEMP]"));
}

/// Services of a user's own can answer any address: that is no detection, but `--ipv4` by other means.
#[test]
fn an_address_that_services_of_the_user_have_found_is_the_users_own() {
    let site = Administered::new("explicit_addresses = false");
    let own =
        "explicit_addresses: false: only detected addresses are allowed, by eg's own services; [detect] asks http";
    for args in [&["session", "start"][..], &["session", "ensure"], &["session", "run", "--", "true"]] {
        let outcome = site.eg(args).expect_code(1);
        assert!(error_of(&outcome).contains(own), "{outcome}");
    }
    assert!(!site.world.here.state_path().exists(), "nothing was recorded");
    // Nor does a session follow them.
    let id = start_id(&site.world.here, &["--follow", "--only", "dev"]);
    site.world.echo4.iter().for_each(|echo| echo.say("198.51.100.9"));
    let outcome = site.eg(&["reconcile"]).expect_code(0);
    assert!(outcome.stderr.contains(" stays at 203.0.113.42, though your address is 198.51.100.9: "), "{outcome}");
    assert!(outcome.stderr.contains(own), "{outcome}");
    assert_eq!(get(&site.world.here, &id)["ipv4Address"], "203.0.113.42");
    let doctor = site.eg(&["doctor"]).expect_code(1);
    assert!(doctor.stdout.lines().any(|line| line.starts_with("✗ policy: ") && line.contains(own)), "{doctor}");
}

/// A policy that was linked to, and whose file somebody has taken away, is not the same as none.
#[test]
fn a_policy_that_is_gone_opens_nothing() {
    let site = Administered::new("");
    fs::remove_file(&site.file).unwrap();
    let owner = fs::metadata(site.world.dir()).unwrap().uid().to_string();
    let start = || {
        let command = site.world.here.command(&["session", "start", "--no-wait", "--only", "dev"]);
        command.env("EG_TEST_POLICY", &site.file).env("EG_TEST_POLICY_OWNER", &owner).run()
    };
    start().expect_code(0);
    std::os::unix::fs::symlink("gone.toml", &site.file).unwrap();
    let outcome = start().expect_code(1);
    assert!(error_of(&outcome).contains("policy.toml cannot be read"), "{outcome}");
}

/// A limit and a wish are shown as they were written: nobody finds `2d` in a file that says `48h`.
#[test]
fn durations_are_echoed_as_they_were_written() {
    let site = Administered::new("max_duration = \"48h\"");
    let config = site.world.default_config().replace("[detect]", "[session]\nmax_duration = \"31d\"\n[detect]");
    site.world.write_config(&config);
    let refused = site.eg(&["session", "start", "--duration", "72h"]).expect_code(1);
    let said = error_of(&refused);
    assert!(said.ends_with("/policy.toml: max_duration: 48h at most is allowed; 72h is asked for"), "{refused}");
    let doctor = site.eg(&["doctor"]);
    assert!(doctor.stdout.contains("sessions of 48h at most"), "{doctor}");
}

/// A list of ports would be worth nothing if a firewall without ports could be opened beside it.
#[test]
fn a_firewall_without_ports_does_not_get_around_a_list_of_ports() {
    let site = Administered::new("ports = [\"tcp/22\"]\n");
    let directory = site.world.here.home().join("router");
    let log = site.world.here.home().join("calls");
    for action in ["apply", "revoke"] {
        let program = directory.join(action).join("10-log");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\necho {action} >> {}\n", log.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let router =
        format!("[[resource]]\nname = \"router\"\nprovider = \"script\"\ndirectory = \"{}\"\n", directory.display());
    site.world.write_config(&(site.world.default_config() + &router));
    let start = ["session", "start", "--only", "router", "--ipv4", IPV4];
    let refused = site.eg(&start).expect_code(1);
    assert!(
        error_of(&refused).contains(
            "ports: only firewalls whose entries have ports are allowed, unless \"kinds\" names others; router is a \
             script (script/directory)"
        ),
        "{refused}"
    );
    assert!(!log.exists(), "nothing was run: {refused}");
    assert_eq!(site.eg(&["session", "list", "--limit", "0", "--output", "json"]).json(), serde_json::json!([]));
    site.eg(&["session", "start", "--only", "prod-api-sg", "--ipv4", IPV4]).expect_code(0);

    site.write("ports = [\"tcp/22\"]\nkinds = [\"script/directory\"]\n");
    site.eg(&start).expect_code(0);
    assert_eq!(fs::read_to_string(&log).unwrap(), "apply\n");
    let refused = site.eg(&["session", "start", "--only", "prod-api-sg", "--ipv4", "203.0.113.43"]).expect_code(1);
    assert!(error_of(&refused).contains("kinds: script/directory alone are allowed"), "{refused}");
    // What is open is closed, whatever the policy says.
    site.write("kinds = []\n");
    site.eg(&["session", "stop", "--all"]).expect_code(0);
    assert_eq!(fs::read_to_string(&log).unwrap(), "apply\nrevoke\n");
}
