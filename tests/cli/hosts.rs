//! Hosts in the place of security groups: `eg open HOST:PORT`, `--host`, `host = "…"`.

use super::session::Tale;
use crate::harness::{
    Echo, REGION, World,
    eg::Outcome,
    sandboxed::{ACCOUNT, Sandboxed},
    says, says_not,
};
use eg_sandbox::{AclEntry, Fault, Interface, RouteEntry, Rule, Script, Subnet};

const PUBLIC: &str = "192.0.2.80";
const PRIVATE: &str = "10.0.0.80";
const ME: [&str; 2] = ["--ipv4", "203.0.113.42"];

/// Names of this host and of a stranger's.
pub const NAMES: &str = "db.example.com=192.0.2.80 inside.example.com=10.0.0.80 stranger.example.com=198.51.100.99 \
    d111.cloudfront.net=198.51.100.98 mixed.example.com=192.0.2.80 mixed.example.com=198.51.100.99";

fn interface(groups: &[&str]) -> Interface {
    Interface {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        id: "eni-0db".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: "subnet-1".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ipv4: vec![(PRIVATE.parse().unwrap(), Some(PUBLIC.parse().unwrap()))],
        ipv6: Vec::new(),
        description: "RDSNetworkInterface".to_owned(),
        kind: "interface".to_owned(),
        instance: Some("i-0db".to_owned()),
    }
}

/// A subnet that lets everything through.
fn subnet() -> Subnet {
    let all = "0.0.0.0/0".parse().unwrap();
    let entry =
        |egress| AclEntry { number: 100, egress, allows: true, protocol: "-1".to_owned(), cidr: all, ports: None };
    Subnet {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        vpc: "vpc-1".to_owned(),
        acl: ("acl-1".to_owned(), vec![entry(false), entry(true)]),
        table: ("rtb-1".to_owned(), vec![RouteEntry { destination: all, gateway: "igw-1".to_owned(), active: true }]),
        uses_main_table: false,
    }
}

/// The same with a network ACL that refuses everything from outside.
fn refusing_subnet() -> Subnet {
    let open = subnet();
    let closed = AclEntry { number: 50, allows: false, ..open.acl.1[0].clone() };
    let rules = [vec![closed], open.acl.1.clone()].concat();
    Subnet { acl: (open.acl.0.clone(), rules), ..open }
}

/// A world without a configuration, whose group `db` is in front of one interface.
pub fn unconfigured() -> Sandboxed {
    let world = Sandboxed::new();
    world.here.write_config("");
    world.region.put_interface(interface(&[world.group("db")]));
    world.region.put_subnet("subnet-1", subnet());
    world
}

fn eg(world: &Sandboxed, args: &[&str]) -> Outcome {
    world.here.command(args).env("AWS_REGION", REGION).env("EG_TEST_HOSTS", NAMES).run()
}

fn open(world: &Sandboxed, host: &str, more: &[&str]) -> Outcome {
    eg(world, &[&["open", host], &ME[..], more].concat())
}

#[test]
fn a_host_is_opened_and_closed_without_a_configuration() {
    let world = unconfigured();
    let before = world.region.rules(world.group("db"));
    let mut tale = Tale::new(&world.here);
    tale.add(
        &["open", "db.example.com:5432", "--ipv4", ME[1]],
        &open(&world, "db.example.com:5432", &[]).expect_code(0),
    );
    let opened: Vec<String> = world.ours("db").iter().map(|rule| rule.permission.to_string()).collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(world.ours("api"), [], "nothing but the group in front of it");
    tale.eg(&["list"]).expect_code(0);
    tale.eg(&["close"]).expect_code(0);
    assert_eq!(world.region.rules(world.group("db")), before);
    assert_eq!(std::fs::read_to_string(world.here.config_path()).unwrap(), "", "nothing is configured by it");
    tale.end("open_host");
    world.ends();
}

#[test]
fn several_hosts_other_options_and_other_commands() {
    let world = unconfigured();
    let api = Interface {
        id: "eni-0api".to_owned(),
        groups: vec![world.group("api").to_owned()],
        ipv4: vec![("10.0.0.81".parse().unwrap(), Some("192.0.2.81".parse().unwrap()))],
        ..interface(&[])
    };
    world.region.put_interface(api);
    let two = ["open", "db.example.com:5432", "192.0.2.81:22", "--duration", "1h"];
    eg(&world, &[&two[..], &ME].concat()).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (1, 1));
    eg(&world, &["close"]).expect_code(0);

    let start = ["session", "start", "--host", "db.example.com", "--port", "tcp/22", "--port", "5432"];
    eg(&world, &[&start[..], &ME].concat()).expect_code(0);
    assert_eq!(world.ours("db").len(), 2, "the ports that are asked for");
    eg(&world, &["close"]).expect_code(0);

    let run = ["session", "run", "--host", "db.example.com:5432", ME[0], ME[1], "--", "true"];
    eg(&world, &run).expect_code(0);
    assert_eq!(world.ours("db"), []);
    for _ in 0..2 {
        eg(&world, &[&["session", "ensure", "--host", "db.example.com:5432"], &ME[..]].concat()).expect_code(0);
    }
    assert_eq!(world.sessions_of(&world.here).iter().filter(|one| one["status"] == "ACTIVE").count(), 1);
    world.ends();
}

/// Ten ways in which it cannot work. Seven are refused; three open the group, and `--check` says what else is in the way.
#[test]
fn ten_ways_in_which_it_cannot_work() {
    let world = unconfigured();
    let mut tale = Tale::new(&world.here);
    let mut tell = |host: &str, more: &[&str], code: i32| {
        let outcome = open(&world, host, more).expect_code(code);
        tale.add(&[&["open", host], more].concat(), &outcome);
        if code == 3 {
            eg(&world, &["close"]).expect_code(0);
        }
    };
    let db = "db.example.com:5432";
    tell("d111.cloudfront.net:443", &[], 1);
    world.region.put_interface(Interface { account: "300000000001".to_owned(), ..interface(&[world.group("db")]) });
    tell(db, &[], 1);
    world.region.put_interface(interface(&[world.group("db"), world.group("api")]));
    tell(db, &[], 1);
    world.region.put_interface(Interface { kind: "nat_gateway".to_owned(), ..interface(&[]) });
    tell(db, &[], 1);
    tell("name.invalid:22", &[], 1);
    tell("stranger.example.com:443", &[], 1);
    world.region.put_interface(interface(&[world.group("db")]));
    world.faults([Rule::new(Fault::Deny).on("DescribeNetworkInterfaces")]);
    tell(db, &[], 1);
    world.faults(Script::default());
    assert_eq!(world.sessions_of(&world.here), Vec::<serde_json::Value>::new());
    assert_eq!(world.changes(), Vec::<String>::new());

    let check = ["--check", db];
    world.region.set_instance_state("i-0db", "stopped");
    tell(db, &check, 3);
    world.region.set_instance_state("i-0db", "running");
    world.region.put_subnet("subnet-1", refusing_subnet());
    tell(db, &check, 3);
    world.region.put_subnet("subnet-1", Subnet { table: ("rtb-1".to_owned(), Vec::new()), ..subnet() });
    tell(db, &check, 3);
    for text in ["name.invalid cannot be resolved: ", "although the rules are open: "] {
        tale.shorten(text, "[the system's words]");
    }
    tale.end("open_host_ten_ways");
    world.ends();
}

#[test]
fn what_cannot_be_opened_says_why_and_leaves_nothing() {
    let world = unconfigured();
    let mut tale = Tale::new(&world.here);
    let mut refused = |host: &str, more: &[&str]| {
        let outcome = open(&world, host, more);
        assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
        tale.add(&[&["open", host], more].concat(), &outcome);
    };
    refused("db.example.com", &[]);
    refused("db.example.com:5432", &["--group", "sg-0000000000000000f"]);
    // Another network with the same private address, and the group in front of it.
    let other = Interface {
        id: "eni-1db".to_owned(),
        vpc: "vpc-2".to_owned(),
        ipv4: vec![(PRIVATE.parse().unwrap(), None)],
        ..interface(&[world.group("api")])
    };
    world.region.put_interface(other);
    refused("inside.example.com:5432", &[]);
    tale.end("open_host_refused");
    assert_eq!(world.sessions_of(&world.here), Vec::<serde_json::Value>::new());
    assert_eq!(world.changes(), Vec::<String>::new());
    open(&world, "inside.example.com:5432", &["--group", "api"]).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (0, 1), "the network of the group that is named");
    world.ends();
}

#[test]
fn without_a_configuration_and_a_host_the_error_shows_the_way() {
    let world = unconfigured();
    let outcome = eg(&world, &["open"]).expect_code(1);
    says(&outcome, "hint: or without a configuration, by host: eg open db.example.com:5432");
    says(&outcome, "hint: then run again: eg open\n");
    world.ends();
}

/// Whoever controls a name chooses the group, so the line that names it cannot be switched off.
#[test]
fn the_group_is_named_however_quiet_it_is() {
    let world = unconfigured();
    let named = "db.example.com:5432 is 192.0.2.80 on eni-0db (RDSNetworkInterface), behind";
    for quiet in [&["-q"][..], &["--output", "json"]] {
        let outcome = eg(&world, &[quiet, &["open", "db.example.com:5432"], &ME].concat()).expect_code(0);
        assert!(outcome.stderr.contains(named), "{outcome}");
        eg(&world, &["close"]).expect_code(0);
    }
    world.ends();
}

/// What `--check` says of a connection that failed, `doctor` says before one is tried.
#[test]
fn the_doctor_explains_hosts() {
    let world = unconfigured();
    let echoes: Vec<Echo> = (0..2).map(|_| Echo::v4(ME[1])).collect();
    let list = echoes.iter().map(|echo| format!("\"{}\"", echo.url())).collect::<Vec<_>>().join(", ");
    let resource = "[[resource]]\nname = \"prod-db\"\nhost = \"db.example.com:5432\"\n";
    world.here.write_config(&format!("[detect]\nipv4 = [{list}]\nipv6 = []\n{resource}"));
    let doctor =
        |names: &str| world.here.command(&["doctor"]).env("AWS_REGION", REGION).env("EG_TEST_HOSTS", names).run();
    says(&doctor(NAMES), "✓ host: prod-db: db.example.com:5432 is 192.0.2.80 on eni-0db (RDSNetworkInterface), behind");
    let stranger = "db.example.com=198.51.100.99";
    says(
        &doctor(stranger),
        "✗ host: no security group for db.example.com:5432: no network interface here has 198.51.100.99",
    );
    says(&doctor(""), "✗ host: db.example.com cannot be resolved: ");

    eg(&world, &[&["start"], &ME[..]].concat()).expect_code(0);
    eg(&world, &[&["open", "192.0.2.80:22"], &ME[..]].concat()).expect_code(0);
    let well = doctor(NAMES);
    for host in ["db.example.com:5432", "192.0.2.80:22"] {
        says(&well, &format!("{host}: the open group is in front of it, and nothing is in the way"));
    }
    eg(&world, &["open", "db.example.com:443", "--ipv6", "2001:db8::42"]).expect_code(0);
    let no_family = "none of the opened addresses is of a family that eni-0db has for this name";
    says(&doctor(NAMES), &format!("db.example.com:443: {no_family}"));
    says(
        &doctor(stranger),
        "db.example.com:5432: its address is 198.51.100.99 now, which no network interface there has",
    );
    says(&doctor(""), "db.example.com:5432: the name cannot be resolved: ");

    world.region.set_instance_state("i-0db", "stopped");
    world.region.put_subnet("subnet-1", Subnet { table: ("rtb-1".to_owned(), Vec::new()), ..refusing_subnet() });
    let told = doctor(NAMES).to_string();
    for text in ["the instance i-0db is stopped", "the network ACL acl-1 of subnet-1 refuses port", "rtb-1 of subnet-1"]
    {
        for host in ["! host: prod-db: ", ", db.example.com:5432: ", ", 192.0.2.80:22: "] {
            assert!(told.contains(&format!("{host}{text}")), "{host}{text}: {told}");
        }
    }
    let groups = [world.group("api")];
    world.region.put_interface(interface(&groups));
    says(&doctor(NAMES), "eni-0db, which has 192.0.2.80, has other groups than those that are open");
    world.region.put_interface(Interface { ipv4: vec![(PRIVATE.parse().unwrap(), None)], ..interface(&groups) });
    says(
        &doctor("db.example.com=10.0.0.80"),
        "eni-0db has no public address: 10.0.0.80 is reached from inside its network only",
    );
    world.faults([Rule::new(Fault::Deny).on("DescribeNetworkInterfaces")]);
    says(&doctor(NAMES), "the network interfaces in eu-west-1 could not be read: not permitted");
    world.ends();
}

#[test]
fn one_of_several_groups_is_named_or_configured() {
    let world = unconfigured();
    world.region.put_interface(interface(&[world.group("db"), world.group("api")]));
    open(&world, "db.example.com:5432", &["--group", "db"]).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (1, 0));
    eg(&world, &["close"]).expect_code(0);

    world.here.write_config(&World::resource("front", world.group("api"), REGION, &["tcp/22"], ""));
    open(&world, "db.example.com:5432", &[]).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (0, 1), "the configured one");
    world.ends();
}

#[test]
fn a_configured_host_is_looked_up_at_each_start() {
    let world = unconfigured();
    let config = "[[resource]]\nname = \"prod-db\"\nhost = \"db.example.com:5432\"\n";
    world.here.write_config(config);
    let outcome = eg(&world, &[&["start", "--only", "prod-db"], &ME[..]].concat()).expect_code(0);
    says(&outcome, "db.example.com:5432 is 192.0.2.80 on eni-0db (RDSNetworkInterface), behind");
    assert_eq!(world.ours("db").len(), 1);
    // The interface moves to another group. What is open stays on record, and closes.
    world.region.put_interface(interface(&[world.group("api")]));
    eg(&world, &["reconcile"]).expect_code(0);
    assert_eq!(world.ours("db").len(), 1);
    eg(&world, &["close"]).expect_code(0);
    assert_eq!(world.ours("db"), []);
    eg(&world, &[&["start"], &ME[..]].concat()).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (0, 1));
    eg(&world, &["resource", "list"]).expect_code(0);
    eg(&world, &["resource", "verify"]).expect_code(0);
    world.ends();
}

#[test]
fn a_host_is_added_to_the_configuration() {
    let world = unconfigured();
    eg(&world, &["resource", "add", "prod-db", "--host", "db.example.com:5432"]).expect_code(0);
    eg(&world, &[&["start"], &ME[..]].concat()).expect_code(0);
    assert_eq!((world.ours("db").len(), world.ours("api").len()), (1, 0));
    let listed = eg(&world, &["resource", "list"]).expect_code(0);
    says(&listed, "host db.example.com:5432");
    let twice = ["resource", "add", "other", "--host", "db.example.com:5432", "--id", "sg-0abc123def4567890"];
    eg(&world, &twice).expect_code(2);
    world.ends();
}

#[test]
fn an_address_inside_and_one_elsewhere_are_told() {
    let world = unconfigured();
    world
        .region
        .put_interface(Interface { ipv4: vec![(PRIVATE.parse().unwrap(), None)], ..interface(&[world.group("db")]) });
    says(&open(&world, "inside.example.com:5432", &[]).expect_code(0), "has private addresses only");
    eg(&world, &["close"]).expect_code(0);
    world.region.put_interface(interface(&[world.group("db")]));
    let mixed = open(&world, "mixed.example.com:5432", &[]).expect_code(0);
    says(&mixed, "mixed.example.com is also 198.51.100.99, which no network interface here has");
    world.ends();
}

#[test]
fn a_private_address_may_be_that_of_another_interface_where_nothing_could_be_read() {
    let world = unconfigured();
    let resource = |name: &str, more: &str| {
        let id = world.group("db");
        format!("[[resource]]\nname = \"{name}\"\nid = \"{id}\"\nregion = \"{REGION}\"\nports = [\"tcp/22\"]\n{more}\n")
    };
    world.here.write_config(&(resource("here", "") + &resource("there", "profile = \"gone\"")));
    let public = open(&world, "db.example.com:5432", &[]).expect_code(0);
    assert!(!public.stderr.contains("could not be read"), "a public address is of one interface: {}", public.stderr);
    eg(&world, &["close"]).expect_code(0);
    world
        .region
        .put_interface(Interface { ipv4: vec![(PRIVATE.parse().unwrap(), None)], ..interface(&[world.group("db")]) });
    let private = open(&world, "inside.example.com:5432", &[]).expect_code(0);
    says(&private, "(profile gone) could not be read: the private address may be that of another interface there");
    eg(&world, &["close"]).expect_code(0);
    world.ends();
}

#[test]
fn the_policy_of_a_machine_can_forbid_hosts() {
    let world = unconfigured();
    let policy = world.here.home().join("policy.toml");
    std::fs::write(&policy, "hosts = false\n").unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&policy).unwrap()).to_string();
    let args = [&["open", "db.example.com:5432"], &ME[..]].concat();
    let command = world.here.command(&args).env("AWS_REGION", REGION).env("EG_TEST_HOSTS", NAMES);
    let refused = command.env("EG_TEST_POLICY", &policy).env("EG_TEST_POLICY_OWNER", owner).run().expect_code(1);
    says(&refused, "hosts: false: no host may choose what is opened; db.example.com:5432 is asked for");
    assert_eq!(world.sent("DescribeNetworkInterfaces"), [], "nothing is asked");
    world.ends();
}

/// Nothing answers at these addresses, so `--check` fails, and says what AWS says of it.
#[test]
fn what_is_in_the_way_of_a_connection() {
    let world = unconfigured();
    let check = |world: &Sandboxed| {
        let outcome = open(world, "db.example.com:5432", &["--check", "db.example.com:5432"]).expect_code(3);
        eg(world, &["close"]).expect_code(0);
        outcome
    };
    says_not(&check(&world), "acl-1");
    world.region.set_instance_state("i-0db", "stopped");
    says(&check(&world), "the instance i-0db is stopped");
    world.region.set_instance_state("i-0db", "running");

    world.region.put_subnet("subnet-1", refusing_subnet());
    says(&check(&world), "the network ACL acl-1 of subnet-1 refuses port 5432 from 203.0.113.42");

    world.region.put_subnet("subnet-1", Subnet { table: ("rtb-1".to_owned(), Vec::new()), ..subnet() });
    says(&check(&world), "rtb-1 of subnet-1 has no route from there to an internet gateway");

    world.region.put_subnet("subnet-1", subnet());
    world.faults([Rule::new(Fault::Deny).on("DescribeNetworkAcls")]);
    says(&check(&world), "the network ACL of its subnet could not be read");
    world.ends();
}

/// moto finds interfaces by their private addresses only (by public ones it fails), so this is as far as it can judge.
#[test]
fn a_private_address_on_moto_opens_exactly_that_group() {
    let world = World::new();
    world.write_config("");
    let interface = world.cloud.create_interface(world.group("prod-db-sg"), "172.31.0.80");
    let before = world.cloud.snapshot();
    let host = world.here.command(&["open", "inside.example.com:5432", ME[0], ME[1]]).env("AWS_REGION", REGION);
    let outcome = host.env("EG_TEST_HOSTS", "inside.example.com=172.31.0.80").run().expect_code(0);
    says(&outcome, &format!("→ inside.example.com:5432 is 172.31.0.80 on {interface}"));
    let rules = |group: &str| world.cloud.rules(world.group(group)).len();
    assert_eq!((rules("prod-db-sg"), rules("prod-api-sg"), rules("dev-web-sg")), (1, 0, 0));
    world.eg(&["close"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}
