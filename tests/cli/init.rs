//! `eg init`.

use crate::{
    cli::schedule::Host,
    cli::session::{Tale, error_of},
    harness::{Echo, Installation, REGION, World},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

/// A world with two groups, one AWS profile, and nothing else: no keys in the environment, no configuration.
fn fresh() -> World {
    let mut world = World::bare();
    world.make_group("prod-api");
    let database = world.make_group("prod-db");
    world.cloud.authorize(&database, "tcp/22", "0.0.0.0/0", "", &[]);
    write_profile(&world.here, "work", Some(REGION));
    world
}

fn write_profile(here: &Installation, name: &str, region: Option<&str>) {
    here.write_profiles(&[(name, "WORK")]);
    let path = here.home().join(".aws/config");
    let text = fs::read_to_string(&path).unwrap();
    let region = region.map(|region| format!("region = {region}\n")).unwrap_or_default();
    fs::write(path, text.trim_end().to_owned() + "\n" + &region).unwrap();
}

/// `eg` as a person has it who logged in with the AWS command line, on a machine with cron.
fn person(world: &World, args: &[&str]) -> crate::harness::eg::EgCommand {
    let host = Host::with_cron(world);
    host.command(args).without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY")
}

/// The answers after the groups: the ports of one group, the file, no job.
const TO_THE_END: [(&str, &str); 3] =
    [("Ports to open on ", "\r"), ("Write this to ", "\r"), ("Install the job", "n\r")];

const DOWN: &str = "\u{1b}[B";

/// `init`, `resource discover` and `sweep` take the region that the AWS CLI would take: the flag's, the variable's, the
/// profile's.
#[test]
fn the_region_is_that_of_the_flag_the_variable_the_profile() {
    let world = fresh();
    world.cloud.in_region("us-west-2").create_group("far");
    let sweep = ["sweep", "--profile", "work", "--dry-run"];
    let discover = ["resource", "discover", "--profile", "work"];
    let init = ["init", "--profile", "work", "--port", "ssh", "--force", "--yes", "--group"];
    for (flag, variables, region, group) in [
        (None, [None, None], REGION, "prod-api"),
        (None, [Some("us-west-2"), None], "us-west-2", "far"),
        (None, [None, Some("us-west-2")], "us-west-2", "far"),
        (None, [Some("us-west-2"), Some(REGION)], "us-west-2", "far"),
        (Some(REGION), [Some("us-west-2"), None], REGION, "prod-api"),
    ] {
        let json = |args: &[&str], command: &str| {
            let flag = flag.map(|flag| ["--region", flag]);
            let mut eg =
                person(&world, &[args, flag.as_ref().map_or(&[], |flag| &flag[..]), &["--output", "json"]].concat());
            for (name, value) in ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().zip(variables) {
                eg = if let Some(value) = value { eg.env(name, value) } else { eg.without(name) };
            }
            eg.run().expect_code(0).json_as(command)
        };
        let case = format!("{flag:?} {variables:?}");
        assert_eq!(json(&[&init[..], &[group]].concat(), "init")["region"], region, "{case}");
        let (swept, found) = (json(&sweep, "sweep"), json(&discover, "discover"));
        assert_eq!(swept["places"][0]["region"], region, "{case}: {swept:#}");
        let regions: Vec<_> = found["groups"].as_array().unwrap().iter().map(|group| &group["region"]).collect();
        assert!(!regions.is_empty() && regions.iter().all(|found| *found == region), "{case}: {found:#}");
    }
}

/// The promise of it all: one profile, two commands, no manual.
#[test]
fn from_nothing_to_an_applied_rule() {
    let world = fresh();
    let init = person(&world, &["init"]).on_a_terminal(&[
        ("Region", "\r"),
        ("Which groups should eg open?", " \r"),
        ("Ports to open on ", "\r"),
        ("Write this to ", "\r"),
        ("Install the job that closes sessions", "\r"),
    ]);
    let init = init.expect_code(0);
    for shown in [
        "→ AWS profile work",
        "→ Checking credentials...",
        "closed",
        "opens tcp/22 to the world",
        "✓ Wrote ",
        "✓ Installed with cron",
        "eg session start     open these groups now",
    ] {
        assert!(init.stdout.contains(shown), "{shown} in\n{init}");
    }
    assert!(!init.stdout.contains("close sessions automatically"), "that is done: {init}");
    let table = fs::read_to_string(Host::with_cron(&world).crontab_path()).unwrap();
    assert!(table.contains("reconcile --timer"), "{table}");
    let started = person(&world, &["session", "start", "--ipv4", "203.0.113.42", "--output", "json"]).run();
    let session = started.expect_code(0).json_as("session");
    assert_eq!((&session["status"], &session["resourceIps"][0]["status"]), (&"ACTIVE".into(), &"APPLIED".into()));
    assert!(session["resourceIps"].as_array().is_some_and(|all| all.len() == 1), "{session:#}");
    let rules = world.cloud.rules(session["resourceIps"][0]["resourceId"].as_str().unwrap());
    assert!(rules.iter().any(|rule| rule.cidr == "203.0.113.42/32" && rule.ports == (22, 22)), "{rules:?}");
    let mode = fs::metadata(world.here.config_path()).unwrap().permissions().mode() & 0o777;
    let dir = fs::metadata(world.here.config_path().parent().unwrap()).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode, dir), (0o600, 0o700));
}

#[test]
fn keys_of_the_keyboard() {
    let world = fresh();
    write_profile(&world.here, "work", None);
    // A line is wiped before it is typed anew.
    let wipe = "\u{7f}".repeat(6);
    let again = format!("{wipe}tcp/443, udp/53\r");
    let region = format!("{wipe}eu-west-1\r");
    let answers = [
        ("Region", "Europe\r"),
        ("is not a region", &region),
        // Nothing picked: asked again. Then both, the second one found by its name.
        ("Which groups should eg open?", "\r"),
        ("Select one with the space bar", " "),
        ("[x]", "prod-db"),
        ("open? prod-db", " \r"),
        ("Ports to open on default", "gopher\r"),
        ("is not a port", &again),
        ("Ports to open on prod-db", "22\r"),
    ];
    let with_end = |end: &[(&'static str, &'static str)]| {
        let all: Vec<(&str, &str)> = answers.iter().copied().chain(end.iter().copied()).collect();
        person(&world, &["init"]).on_a_terminal(&all)
    };
    let left = with_end(&[("Write this to ", "n\r")]).expect_code(1);
    assert!(left.stdout.contains("cancelled; nothing was written"), "{left}");
    assert!(!world.here.config_path().exists());
    with_end(&[("Write this to ", "y\r"), ("Install the job", "n\r")]).expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    for ports in ["ports = [\"tcp/443\", \"udp/53\"]\n", "ports = [\"tcp/22\"]\n"] {
        assert_eq!(text.matches(ports).count(), 1, "each group has its own: {text}");
    }
    assert_eq!(text.matches("profile = \"work\"\n").count(), 2, "{text}");
    assert!(!Host::with_cron(&world).crontab_path().exists(), "nobody wanted a job");
}

#[test]
fn a_host_beside_the_groups() {
    let world = fresh();
    let interface = world.cloud.create_interface(world.group("prod-db"), "172.31.0.81");
    let known = "db.example.com=172.31.0.81";
    let keys = [
        ("Region", "\r"),
        ("Which groups should eg open?", "example"),
        ("open? example", " \r"),
        ("Host and port to open", "db.example.com\r"),
        ("name its port too", ":5432\r"),
        ("behind sg-", ""),
        ("Write this to ", "\r"),
        ("Install the job", "n\r"),
    ];
    let init = person(&world, &["init"]).env("EG_TEST_HOSTS", known).on_a_terminal(&keys).expect_code(0);
    assert!(init.stdout.contains(&format!("→ db.example.com:5432 is 172.31.0.81 on {interface}")), "{init}");
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert!(text.contains("name = \"db.example.com\"\nhost = \"db.example.com:5432\"\n"), "{text}");
    let start = ["session", "start", "--ipv4", "203.0.113.42"];
    person(&world, &start).env("EG_TEST_HOSTS", known).run().expect_code(0);
    let rules =
        |group: &str| world.cloud.rules(world.group(group)).into_iter().filter(|rule| rule.ports == (5432, 5432));
    assert_eq!((rules("prod-db").count(), rules("prod-api").count()), (1, 0));
}

/// A host that is not found is no reason to ask everything again: it may resolve on another day, or on another network.
#[test]
fn a_host_that_is_not_found() {
    let world = fresh();
    let keys = [
        ("Region", "\r"),
        ("Which groups should eg open?", "example"),
        ("open? example", " \r"),
        ("Host and port to open", "db.invalid:5432\r"),
        ("each session looks it up again", ""),
        ("Write this to ", "\u{1b}"),
    ];
    let left = person(&world, &["init"]).on_a_terminal(&keys).expect_code(1);
    assert!(left.stdout.contains("warning: db.invalid cannot be resolved: "), "{left}");
    assert!(!world.here.config_path().exists());
}

/// Nothing else is asked while the credentials do not work.
#[test]
fn credentials_come_first() {
    let world = fresh();
    world.faults(&[crate::harness::Fault::refuse("GetCallerIdentity", 403, "ExpiredToken", "The token is expired")]);
    let init = person(&world, &["init"]).on_a_terminal(&[]).expect_code(1);
    assert!(init.stdout.contains("expired") && !init.stdout.contains("Region"), "{init}");
    assert!(init.stdout.contains("hint: check with: aws sts get-caller-identity --profile work"), "{init}");
    assert!(world.calls().iter().all(|call| call.action == "GetCallerIdentity"), "{:?}", world.calls());
    assert!(!world.here.config_path().exists());
}

/// A long name pushes nothing off the line, on a terminal of any width.
#[test]
fn one_long_name() {
    let mut world = fresh();
    world.make_group("a-name-that-is-much-longer-than-that-of-any-other-group-in-this-account-and-region");
    for columns in [60, 100] {
        let mut init = person(&world, &["init"]).env("TERM", "xterm").on_terminal(24, columns);
        init.shows_text("Region");
        init.press("\r");
        let screen = init.shows_text("type to filter");
        let shown = screen.contents();
        let line = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(line("a-name-that-is-much-longer").contains("…"), "{shown}");
        assert!(line("prod-db").contains("sg-"), "{shown}");
        assert!((0..24).all(|row| !screen.row_wrapped(row)), "{shown}");
        init.press("\u{3}");
        assert_eq!(init.wait().code, Some(130));
    }
}

#[test]
fn left_at_every_question() {
    let world = fresh();
    let region = ("Region", "\r");
    let groups = ("Which groups", " \r");
    let ports = ("Ports to open on ", "\r");
    for (keys, code) in [
        (vec![("Region", "\u{3}")], 130),
        (vec![region, ("Which groups", "\u{1b}")], 1),
        (vec![region, ("Which groups", "\u{3}")], 130),
        (vec![region, groups, ("Ports to open on ", "\u{3}")], 130),
        (vec![region, groups, ports, ("Write this to ", "\u{3}")], 130),
    ] {
        let outcome = person(&world, &["init"]).on_a_terminal(&keys).expect_code(code);
        assert!(outcome.stdout.contains("nothing was written"), "{keys:?}\n{outcome}");
        // A cursor that was hidden is there again.
        let (hidden, shown) = (outcome.stdout.rfind("\u{1b}[?25l"), outcome.stdout.rfind("\u{1b}[?25h"));
        assert!(hidden < shown || hidden.is_none(), "{keys:?}\n{outcome}");
        assert!(!world.here.config_path().exists(), "{keys:?}");
    }
}

/// A question hides the cursor and the keys' echo; a signal that ends it brings them back.
#[test]
fn ended_at_a_question() {
    let world = fresh();
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let mut init = person(&world, &["init"]).env("TERM", "xterm").on_terminal(24, 100);
        init.shows_text("Region");
        init.press("\r");
        init.shows_text("Which groups");
        init.signal(signal);
        let left = init.wait();
        assert_eq!((left.code, left.cooked), (Some(code), true), "{signal}\n{}", left.screen.contents());
        assert!(!left.screen.hide_cursor() && !world.here.config_path().exists(), "{signal}");
    }
}

#[test]
fn several_profiles() {
    let world = fresh();
    let key = crate::harness::Moto::access_key(world.account(), "WORK");
    let profile = |name: &str, region: &str| {
        format!("[profile {name}]\naws_access_key_id = {key}\naws_secret_access_key = testing\nregion = {region}\n")
    };
    fs::write(world.here.home().join(".aws/config"), profile("home", "us-east-1") + &profile("work", REGION)).unwrap();
    let keys = [("home (us-east-1)", DOWN), ("14mwork (eu-west-1)", "\r"), ("Region", "\r"), ("prod-api", " \r")];
    person(&world, &["init"]).on_a_terminal(&[&keys[..], &TO_THE_END].concat()).expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert!(text.contains("profile = \"work\"\n") && text.contains("region = \"eu-west-1\"\n"), "{text}");
}

#[test]
fn every_answer_is_a_flag() {
    let mut world = World::bare();
    world.make_group("prod-api");
    let group = world.make_group("prod-db");
    write_profile(&world.here, "work", Some(REGION));
    let mut tale = Tale::new(&world.here);
    let mut tell = |args: &[&str], code: i32| {
        let outcome = person(&world, args).run().expect_code(code);
        tale.add(args, &outcome);
        outcome
    };
    tell(&["init"], 2);
    let all = ["init", "--group", "prod-api", "--port", "tcp/22", "--yes"];
    tell(&[&all[..], &["--profile", "play"]].concat(), 2);
    tell(&[&all[..], &["--region", "Ireland"]].concat(), 2);
    tell(&["init", "--group", "prod-web", "--port", "tcp/22", "--yes"], 2);
    tell(&[&all[..], &["--region", "us-west-2"]].concat(), 2);
    assert!(!world.here.config_path().exists(), "nothing was written");
    tell(&all, 0);
    // What is there stays.
    let before = fs::read_to_string(world.here.config_path()).unwrap();
    tell(&all, 1);
    assert_eq!(fs::read_to_string(world.here.config_path()).unwrap(), before);
    let args =
        ["--output", "json", "init", "--force", "--group", &group, "--port", "icmp", "--yes", "--region", REGION];
    let json = person(&world, &args).run().expect_code(0).json_as("init");
    assert_eq!((&json["groups"][0]["id"], &json["profile"]), (&Value::from(group.as_str()), &"work".into()));
    assert_eq!(json["text"].as_str().unwrap(), fs::read_to_string(world.here.config_path()).unwrap());
    let reads = ["DescribeSecurityGroups", "GetCallerIdentity", "DescribeManagedPrefixLists", "ListIPSets"];
    assert!(world.calls().iter().all(|call| reads.contains(&call.action.as_str())), "reads only");
    // What --force replaces is kept, however often.
    let kept = |name: &str| fs::read_to_string(world.here.config_path().with_file_name(name)).unwrap();
    assert_eq!(
        (kept("config.toml.bak"), json["backup"].as_str().unwrap().ends_with("config.toml.bak")),
        (before, true)
    );
    let again = person(&world, &args).run().expect_code(0).json_as("init");
    assert!(again["backup"].as_str().unwrap().ends_with("config.toml.bak.2"), "{again:#}");
    assert_eq!(kept("config.toml.bak.2"), json["text"].as_str().unwrap());
    tale.end("init");
}

/// Keys in the environment beat every profile: with both there, somebody has to say which.
#[test]
fn keys_in_the_environment() {
    let mut world = World::bare();
    world.make_group("web");
    let args = ["init", "--region", REGION, "--group", "web", "--port", "tcp/22", "--yes"];
    let outcome = world.eg(&args).expect_code(0);
    assert!(outcome.stderr.contains("the credentials are those of this shell's environment alone"), "{outcome}");
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert!(!text.contains("profile"), "{text}");
}

#[test]
fn what_goes_wrong_before_anything_is_written() {
    let world = fresh();
    let args = ["init", "--group", "prod-api", "--port", "tcp/22", "--yes"];
    world.faults(&[crate::harness::Fault::deny("DescribeSecurityGroups")]);
    let denied = person(&world, &args).run().expect_code(1);
    assert!(error_of(&denied).starts_with("not permitted: list the groups: "), "{denied}");
    world.faults(&[]);
    fs::write(world.here.home().join(".aws/config"), "[profile broken\n").unwrap();
    let broken = person(&world, &args).run().expect_code(1);
    assert!(error_of(&broken).contains("read the AWS profiles: "), "{broken}");
    assert!(!world.here.config_path().exists());

    // A named place that is not there yet is made, also where a link leads.
    write_profile(&world.here, "work", Some(REGION));
    let named = world.dir().join("else/where.toml").to_string_lossy().into_owned();
    person(&world, &[&args[..], &["--config", &named]].concat()).run().expect_code(0);
    assert!(fs::read_to_string(&named).unwrap().contains("name = \"prod-api\""));
    assert!(!world.here.config_path().exists());
}

/// Detection works in what `init` has written: nothing but what was asked for stands in it.
#[test]
fn the_file_leaves_detection_alone() {
    let world = fresh();
    person(&world, &["init", "--group", "prod-api", "--port", "tcp/22", "--yes"]).run().expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    let echoes: Vec<Echo> = (0..2).map(|_| Echo::v4("203.0.113.42")).collect();
    let urls: Vec<String> = echoes.iter().map(|echo| format!("\"{}\"", echo.url())).collect();
    world.write_config(&format!("{text}\n[detect]\nipv4 = [{}]\nipv6 = []\n", urls.join(", ")));
    person(&world, &["session", "start"]).run().expect_code(0);
}

#[test]
fn what_is_named_twice_is_written_once() {
    let mut world = World::bare();
    let group = world.make_group("web");
    let args = ["init", "--region", REGION, "--group", "web", "--group", &group, "--yes"];
    world.eg(&[&args[..], &["--port", "tcp/22", "--port", "tcp/22-22", "--port", "icmp"]].concat()).expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert_eq!(text.matches("[[resource]]").count(), 1, "{text}");
    assert!(text.contains("name = \"web\"\n") && text.contains("ports = [\"tcp/22\", \"icmp\"]\n"), "{text}");
}

/// `--force` replaces what was there when it began, not what somebody has written meanwhile.
#[test]
fn a_change_meanwhile_is_not_replaced() {
    let world = fresh();
    world.write_config("# old\n");
    world.faults(&[crate::harness::Fault::hold("DescribeSecurityGroups")]);
    let args = ["init", "--force", "--group", "prod-api", "--port", "tcp/22", "--region", REGION, "--yes"];
    let begun = person(&world, &args).spawn();
    begun.wait_for_delayed("DescribeSecurityGroups");
    world.write_config("# mine\n");
    world.faults(&[]);
    let outcome = begun.wait().expect_code(1);
    assert!(error_of(&outcome).ends_with("another process has changed it meanwhile; try again"), "{outcome}");
    assert_eq!(fs::read_to_string(world.here.config_path()).unwrap(), "# mine\n");
    let dir = world.here.config_path().parent().unwrap().to_owned();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "no backup of what is still there");
}

/// A group that is open to the world, on whichever port, is never called closed: neither where groups are offered nor
/// before the ports are chosen.
#[test]
fn a_group_that_is_open_to_the_world_on_another_port_is_not_called_closed() {
    let mut world = World::bare();
    let group = world.make_group("web");
    world.cloud.authorize(&group, "tcp/443", "0.0.0.0/0", "", &[]);
    write_profile(&world.here, "work", Some(REGION));
    let init = person(&world, &["init"]).on_a_terminal(&[
        ("Region", "\r"),
        ("Which groups should eg open?", "web"),
        ("open? web", " \r"),
        ("Ports to open on ", "22\r"),
        ("Write this to ", "n\r"),
    ]);
    let init = init.expect_code(1);
    let line = init.stdout.lines().find(|line| line.contains(&group)).expect("the group is offered");
    assert!(line.contains("opens tcp/443 to the world") && !line.contains("closed"), "{init}");
}

#[test]
fn each_group_with_its_own_ports() {
    let mut world = World::bare();
    let (web, db) = (world.make_group("web"), world.make_group("db"));
    let init = |groups: &[&str], more: &[&str]| {
        let groups: Vec<&str> = groups.iter().flat_map(|group| ["--group", *group]).collect();
        world.eg(&[&["init", "--force", "--yes", "--region", REGION], groups.as_slice(), more].concat())
    };
    let ports = || {
        let text = fs::read_to_string(world.here.config_path()).unwrap();
        text.lines().filter(|line| line.starts_with("ports = ")).map(str::to_owned).collect::<Vec<_>>()
    };
    init(&[&format!("{web}:tcp/22,tcp/443"), "db:5432"], &[]).expect_code(0);
    assert_eq!(ports(), ["ports = [\"tcp/22\", \"tcp/443\"]", "ports = [\"tcp/5432\"]"]);
    // --port is for the rest; a group that is named twice has the ports of both.
    init(&["web", "db:5432", "db:ssh,5432"], &["--port", "https"]).expect_code(0);
    assert_eq!(ports(), ["ports = [\"tcp/443\"]", "ports = [\"tcp/5432\", \"tcp/22\"]"]);
    let before = ports();
    let wrong = init(&[&format!("{db}:tpc/22")], &[]).expect_code(2);
    assert!(error_of(&wrong).starts_with("\"tpc/22\" is not a port"), "{wrong}");
    let none = init(&["web:22", "db"], &[]).expect_code(2);
    assert_eq!(error_of(&none), "no ports are given for db: pass --port, or --group db:tcp/22");
    assert_eq!(ports(), before, "nothing was written");
}
