//! Hosts in the place of security groups: `eg open HOST:PORT`, `--host`, `host = "…"`.

use super::session::Tale;
use crate::harness::{
    REGION, World,
    eg::Outcome,
    sandboxed::{ACCOUNT, Sandboxed},
    says, says_not,
};
use eg_sandbox::{AclEntry, Fault, Interface, RouteEntry, Rule, Subnet};

const PUBLIC: &str = "192.0.2.80";
const PRIVATE: &str = "10.0.0.80";
const ME: [&str; 2] = ["--ipv4", "203.0.113.42"];

/// Names of this host and of a stranger's.
const NAMES: &str = "db.example.com=192.0.2.80 inside.example.com=10.0.0.80 stranger.example.com=198.51.100.99 \
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

/// A world without a configuration, whose group `db` is in front of one interface.
fn unconfigured() -> Sandboxed {
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

#[test]
fn what_cannot_be_opened_says_why_and_leaves_nothing() {
    let world = unconfigured();
    let mut tale = Tale::new(&world.here);
    let mut refused = |host: &str, more: &[&str]| {
        let outcome = open(&world, host, more);
        assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
        tale.add(&[&["open", host], more].concat(), &outcome);
    };
    refused("d111.cloudfront.net:443", &[]);
    refused("stranger.example.com:443", &[]);
    refused("db.example.com", &[]);
    refused("db.example.com:5432", &["--group", "sg-0000000000000000f"]);
    world.region.put_interface(interface(&[world.group("db"), world.group("api")]));
    refused("db.example.com:5432", &[]);
    world.region.put_interface(Interface { kind: "nat_gateway".to_owned(), ..interface(&[]) });
    refused("db.example.com:5432", &[]);
    world.region.put_interface(Interface { account: "300000000001".to_owned(), ..interface(&[world.group("db")]) });
    refused("db.example.com:5432", &[]);
    world.faults([Rule::new(Fault::Deny).on("DescribeNetworkInterfaces")]);
    refused("db.example.com:5432", &[]);
    tale.end("open_host_refused");
    says(&open(&world, "name.invalid:22", &[]), "name.invalid cannot be resolved");
    assert_eq!(world.sessions_of(&world.here), Vec::<serde_json::Value>::new());
    assert_eq!(world.changes(), Vec::<String>::new());
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

    let closed = AclEntry { number: 50, allows: false, ..subnet().acl.1[0].clone() };
    let acl = ("acl-1".to_owned(), vec![closed, subnet().acl.1[0].clone(), subnet().acl.1[1].clone()]);
    world.region.put_subnet("subnet-1", Subnet { acl, ..subnet() });
    says(&check(&world), "the network ACL acl-1 of subnet-1 refuses port 5432 from 203.0.113.42");

    world.region.put_subnet("subnet-1", Subnet { table: ("rtb-1".to_owned(), Vec::new()), ..subnet() });
    says(&check(&world), "rtb-1 of subnet-1 has no route from there to an internet gateway");

    world.region.put_subnet("subnet-1", subnet());
    world.faults([Rule::new(Fault::Deny).on("DescribeNetworkAcls")]);
    says(&check(&world), "the network ACL of its subnet could not be read");
    world.ends();
}
