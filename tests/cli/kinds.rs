//! Every command with a configuration of several kinds of firewall: a security group, a prefix list, an IP set, a table of
//! nftables and a script.

use crate::{
    cli::session::{Tale, error_of},
    harness::{IPV4, Outcome, REGION, Sandboxed, World, namespace::write_program, sandboxed::ACCOUNT},
};
use eg_sandbox::{Fault, Rule};
use std::{fs, path::PathBuf};

const OFFICE: &str = "198.51.100.0/24";

/// One firewall of each kind; people have put something into each that can be read.
pub struct Kinds {
    pub world: Sandboxed,
    list: String,
    set: String,
    /// What the scripts were called for, one line each.
    calls: PathBuf,
}

impl Kinds {
    pub fn new() -> Self {
        let world = Sandboxed::with(&[("api", &["tcp/22"])]);
        let list = world.region.create_prefix_list_in(ACCOUNT, REGION, "office", false, 20).unwrap();
        world.region.add_entry_by_hand(&list, OFFICE.parse().unwrap(), "theirs");
        let set = world.region.create_ip_set_in(ACCOUNT, REGION, "web", false).unwrap();
        world.region.edit_ip_set_by_hand(&set, |addresses| addresses.push(OFFICE.to_owned()));
        let home = world.here.home().to_owned();
        let (directory, calls) = (home.join("router"), home.join("calls"));
        let parts: Vec<&str> = set.split('/').collect();
        let [scope, name, id] = parts.as_slice() else { panic!("a place: {set}") };
        let mut config = fs::read_to_string(world.here.config_path()).unwrap();
        config += &format!(
            "[[resource]]\nname = \"office\"\nkind = \"prefix-list\"\nid = \"{list}\"\nregion = \"{REGION}\"\n\
             [[resource]]\nname = \"web\"\nkind = \"waf-ip-set\"\nscope = \"{scope}\"\nset_name = \"{name}\"\nid = \"{id}\"\n\
             region = \"{REGION}\"\ngroups = [\"edge\"]\n\
             [[resource]]\nname = \"host\"\nprovider = \"nftables\"\nports = [\"tcp/22\"]\n\
             [[resource]]\nname = \"router\"\nprovider = \"script\"\ndirectory = \"{}\"\n",
            directory.display()
        );
        world.here.write_config(&config);
        let kinds = Self { world, list, set, calls };
        for action in ["apply", "revoke"] {
            let text = format!("#!/bin/sh\necho \"{action} $1\" >> {}\n", kinds.calls.display());
            kinds.program(&format!("router/{action}/10-log"), &text);
        }
        kinds
    }

    /// All that people would see, except what the scripts did.
    pub fn whole(&self) -> String {
        let region = &self.world.region;
        let group = region.rules(self.world.group("api"));
        format!("{group:?}\n{:?}\n{:?}", self.entries(), region.ip_set(&self.set).map(|set| (set.addresses, set.tags)))
    }

    fn entries(&self) -> Vec<String> {
        let list = self.world.region.prefix_list(&self.list).unwrap();
        list.entries().iter().map(|entry| format!("{} {:?}", entry.cidr, entry.description)).collect()
    }

    /// Writes a program into the home of [`Sandboxed::here`].
    pub fn program(&self, path: &str, text: &str) {
        let path = self.world.here.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_program(&path, text);
    }

    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.world.eg(args)
    }

    /// Gives stable names to what differs from run to run.
    pub fn named<'k>(&'k self, tale: &mut Tale<'k>) {
        for (text, name) in [(self.list.as_str(), "[LIST]"), (&self.set, "[SET]")] {
            tale.name(text, name);
        }
        tale.name(self.set.rsplit('/').next().unwrap(), "[SET ID]");
        tale.name(&self.world.here.home().to_string_lossy(), "[HOME]");
    }
}

/// All but the table: its commands need root.
const READABLE: &str = "api,office,web,router";

#[test]
fn what_the_configuration_says() {
    let kinds = Kinds::new();
    let mut tale = Tale::new(&kinds.world.here);
    tale.eg(&["resource", "list"]).expect_code(0);
    tale.eg(&["resource", "verify", "api", "office", "web", "router"]).expect_code(0);
    tale.eg(&["iam-policy", "--only", "office", "--only", "web"]).expect_code(0);
    tale.eg(&["iam-policy", "--only", "router"]).expect_code(1);
    tale.eg(&["setup", "cloud-expiry", "--only", "office,host,router"]).expect_code(1);
    tale.eg(&["session", "start", "--only", "office", "--port", "tcp/22", "--ipv4", IPV4]).expect_code(2);
    tale.eg(&["resource", "discover", "--kind", "table"]).expect_code(2);
    kinds.named(&mut tale);
    tale.end("kinds_configured");
    let rows = kinds.eg(&["resource", "list", "--output", "json"]).expect_code(0).json_as("resources");
    let of = |row: usize| {
        format!("{} {} {} {}", rows[row]["provider"], rows[row]["kind"], rows[row]["region"], rows[row]["ports"])
    };
    assert_eq!(
        [of(1), of(3), of(4)],
        [
            "\"aws\" \"prefix-list\" \"eu-west-1\" []",
            "\"nftables\" \"table\" null [\"tcp/22\"]",
            "\"script\" \"directory\" null []"
        ]
    );
    kinds.eg(&["resource", "verify", "office", "web", "router", "--output", "json"]).expect_code(0).json_as("verify");
    kinds.eg(&["iam-policy"]).expect_code(0).json_as("iam-policy");
    kinds.world.ends();
}

/// WAF has no dry runs, so nothing tells what the credentials may do there, and nothing is claimed.
#[test]
fn doctor_claims_no_right_that_it_cannot_ask_for() {
    let kinds = Kinds::new();
    let doctor = kinds.eg(&["doctor"]);
    for line in [
        "✓ permissions: office: open, tag and close\n",
        "! permissions: web: whether the credentials may open, tag and close is not known: WAF has no dry runs\n",
    ] {
        assert!(doctor.stdout.contains(line), "{line}: {doctor}");
    }
    kinds.world.ends();
}

/// Who has left a family out of the configuration knows it: one line, and no second one for what the list takes.
#[test]
fn a_family_that_is_left_out_is_told_once() {
    let kinds = Kinds::new();
    let config = fs::read_to_string(kinds.world.here.config_path()).unwrap();
    kinds.world.here.write_config(&config.replace("name = \"office\"\n", "name = \"office\"\nfamilies = [\"ipv4\"]\n"));
    let start = ["session", "start", "--only", "office,router", "--ipv4", IPV4, "--ipv6", "2001:db8::1"];
    let started = kinds.eg(&start).expect_code(0);
    assert_eq!(started.stderr.matches("2001:db8::1 is not opened on office").count(), 1, "{started}");
    kinds.eg(&["session", "stop"]).expect_code(0);
    kinds.world.ends();
}

/// One start applies every kind, and one stop leaves each as it was.
#[test]
fn one_session_opens_and_closes_them_all() {
    let kinds = Kinds::new();
    let before = kinds.whole();
    let start = ["session", "start", "--only", READABLE, "--ipv4", IPV4, "--duration", "2h"];
    let preview = kinds.eg(&[&start[..], &["--dry-run"]].concat()).expect_code(0);
    for line in
        [format!("  + office {IPV4}/32\n"), format!("  + web {IPV4}/32\n"), format!("  + api tcp/22 from {IPV4}/32\n")]
    {
        assert!(preview.stdout.contains(&line), "{line}: {preview}");
    }
    let started = kinds.eg(&start).expect_code(0);
    for line in [
        "  api IPv4 tcp/22: APPLIED\n",
        "  office IPv4: APPLIED\n",
        "  web IPv4: APPLIED\n",
        "  router IPv4: APPLIED\n",
    ] {
        assert!(started.stdout.contains(line) || started.stderr.contains(line), "{line}: {started}");
    }
    let opened = kinds.entries();
    assert!(opened.len() == 2 && opened.iter().any(|entry| entry.starts_with(&format!("{IPV4}/32 "))), "{opened:?}");
    assert!(kinds.world.region.ip_set(&kinds.set).unwrap().addresses.contains(&format!("{IPV4}/32")));
    assert_eq!(fs::read_to_string(&kinds.calls).unwrap(), format!("apply {IPV4}/32\n"));

    let json = kinds.eg(&["session", "get", "--output", "json"]).expect_code(0).json_as("session");
    for grant in json["resourceIps"].as_array().unwrap() {
        let ports = if grant["kind"] == "security-group" { 1 } else { 0 };
        assert_eq!(grant["ports"].as_array().unwrap().len(), ports, "{grant}");
        assert!(grant["providerRuleId"].is_string(), "{grant}");
    }
    let got = kinds.eg(&["session", "get"]).expect_code(0).stdout;
    assert!(got.contains(&format!("entry  {IPV4}/32#")) && got.contains(&format!("address  {IPV4}/32")), "{got}");
    assert!(got.contains("as recorded; not read back") && !got.contains("all  "), "{got}");
    let who = kinds.eg(&["who"]);
    assert!(who.stderr.contains("router: a script carries no marks: only the record tells"), "{who}");
    assert!(
        who.stdout.contains("office") && who.stdout.contains("web") && who.stdout.contains("this installation"),
        "{who}"
    );
    kinds.eg(&["who", "--output", "json"]).json_as("who");
    let log = kinds.eg(&["log"]).expect_code(0).stdout;
    assert!(!log.contains("all from"), "{log}");
    kinds.eg(&["log", "--output", "json"]).expect_code(0).json_as("log");
    kinds.eg(&["status", "--output", "json"]).json_as("status");

    let stopped = kinds.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(kinds.whole(), before, "{stopped}");
    assert_eq!(fs::read_to_string(&kinds.calls).unwrap(), format!("apply {IPV4}/32\nrevoke {IPV4}/32\n"));
    kinds.world.ends();
}

/// Another machine has left entries in a list and a set: the sweep finds them by the marks on the containers.
#[test]
fn sweep_finds_marks_on_containers() {
    let kinds = Kinds::new();
    let before = kinds.entries();
    let addresses = kinds.world.region.ip_set(&kinds.set).unwrap().addresses;
    kinds.eg(&["session", "start", "--only", "office,web", "--ipv4", IPV4, "--duration", "1h"]).expect_code(0);
    kinds.world.advance(2 * 3600);
    let args = ["sweep", "--region", REGION];
    let shown = kinds.eg(&[&args[..], &["--dry-run", "--output", "json"]].concat()).expect_code(3).json_as("sweep");
    let found: Vec<String> = shown["rules"].as_array().unwrap().iter().map(|rule| rule["kind"].to_string()).collect();
    assert!(found.contains(&"\"prefix-list\"".to_owned()) && found.contains(&"\"waf-ip-set\"".to_owned()), "{shown:#}");
    let only = kinds.eg(&[&args[..], &["--dry-run", "--kind", "security-group"]].concat()).expect_code(0);
    assert!(!only.stdout.contains(&kinds.list), "{only}");
    kinds.eg(&args).expect_code(0);
    assert_eq!(kinds.entries(), before);
    assert_eq!(kinds.world.region.ip_set(&kinds.set).unwrap().addresses, addresses);
    kinds.eg(&["reconcile"]).expect_code(0);
    kinds.world.ends();
}

#[test]
fn discover_shows_lists_and_sets() {
    let kinds = Kinds::new();
    kinds.eg(&["resource", "remove", "office"]).expect_code(0);
    let found = kinds.eg(&["resource", "discover", "--kind", "prefix-list"]).expect_code(0);
    assert!(found.stdout.contains(&kinds.list), "{found}");
    let next = format!("Next: eg resource add office --kind prefix-list --id {} --region {REGION}", kinds.list);
    assert!(found.stdout.contains(&next) || found.stderr.contains(&next), "{found}");
    let all = kinds.eg(&["resource", "discover", "--kind", "waf-ip-set"]).expect_code(0);
    assert!(all.stderr.contains("No WAF IP set is left to configure."), "{all}");
    let json = kinds.eg(&["resource", "discover", "--kind", "prefix-list", "--output", "json"]).expect_code(0);
    assert_eq!(json.json_as("discover")["groups"][0]["kind"], "prefix-list");
    kinds.world.ends();
}

/// Lists and sets stand beside the groups; they have no ports to ask for.
#[test]
fn init_offers_lists_and_sets() {
    let kinds = Kinds::new();
    let (config, whole) = (kinds.world.here.config_path(), kinds.whole());
    fs::remove_file(&config).unwrap();
    let init = |more: &[&str]| kinds.eg(&[&["init", "--region", REGION, "--yes"], more].concat());
    let refused = init(&["--group", "office:ssh"]).expect_code(2);
    assert!(error_of(&refused).contains("office is a prefix list, which has no ports"), "{refused}");
    let refused = init(&["--group", "api", "--group", "office"]).expect_code(2);
    assert!(error_of(&refused).contains("no ports are given for api"), "{refused}");
    let made = init(&["--group", "office", "--group", "web", "--group", "api:ssh"]).expect_code(0);
    assert!(made.stderr.contains("provider = \"nftables\"") && made.stderr.contains("provider = \"script\""), "{made}");
    let parts: Vec<&str> = kinds.set.split('/').collect();
    let text = fs::read_to_string(&config).unwrap();
    for section in [
        format!("name = \"office\"\nkind = \"prefix-list\"\nid = \"{}\"\nregion = \"{REGION}\"\n\n", kinds.list),
        format!(
            "name = \"web\"\nkind = \"waf-ip-set\"\nscope = \"regional\"\nset_name = \"web\"\nid = \"{}\"\n\
             region = \"{REGION}\"\n\n",
            parts[2]
        ),
        format!("name = \"api\"\nid = \"{}\"\nregion = \"{REGION}\"\nports = [\"tcp/22\"]\n", kinds.world.group("api")),
    ] {
        assert!(text.contains(&section), "{section}\n{text}");
    }
    kinds.eg(&["session", "start", "--ipv4", IPV4]).expect_code(0);
    kinds.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(kinds.whole(), whole);

    // Without the rights to list them, groups are offered all the same.
    kinds
        .world
        .region
        .script([Rule::new(Fault::Deny).on("ListIPSets"), Rule::new(Fault::Deny).on("DescribeManagedPrefixLists")]);
    let without = init(&["--force", "--group", "gone:ssh"]).expect_code(2);
    for kind in ["prefix lists", "WAF IP sets"] {
        assert!(without.stderr.contains(&format!("{kind} are not offered: ")), "{without}");
    }
    let json = init(&["--force", "--group", "api:ssh", "--output", "json"]).expect_code(0).json_as("init");
    assert_eq!(json["groups"][0]["kind"], "security-group");
    kinds.world.ends();
}

#[test]
fn every_kind_can_be_added() {
    let world = World::bare();
    let add = |args: &[&str]| world.eg(&[&["resource", "add"][..], args].concat());
    let id = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    add(&["office", "--kind", "prefix-list", "--id", "pl-0123abcd", "--region", REGION]).expect_code(0);
    add(&["web", "--kind", "waf-ip-set", "--scope", "cloudfront", "--set-name", "web", "--id", id]).expect_code(0);
    add(&["host", "--kind", "nftables", "--port", "ssh"]).expect_code(0);
    add(&["router", "--kind", "script", "--directory", "/etc/eg/router", "--label", "edge"]).expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert_eq!(
        text,
        format!(
            "[[resource]]\nname = \"office\"\nkind = \"prefix-list\"\nid = \"pl-0123abcd\"\nregion = \"{REGION}\"\n\n\
             [[resource]]\nname = \"web\"\nkind = \"waf-ip-set\"\nscope = \"cloudfront\"\nset_name = \"web\"\nid = \"{id}\"\n\n\
             [[resource]]\nname = \"host\"\nprovider = \"nftables\"\nports = [\"tcp/22\"]\n\n\
             [[resource]]\nname = \"router\"\nprovider = \"script\"\ndirectory = \"/etc/eg/router\"\ngroups = [\"edge\"]\n"
        )
    );
    for (args, code, why) in [
        (&["x", "--kind", "prefix-list", "--id", "pl-0123abcd"][..], 1, "[[resource]] has no region"),
        (&["x", "--kind", "prefix-list", "--region", REGION], 1, "[[resource]] has no id"),
        (&["x", "--kind", "script", "--directory", "router"], 1, "\"router\" is not a plain absolute path"),
        (&["x", "--kind", "script", "--directory", "/r", "--port", "ssh"], 1, "a script has no ports of its own"),
        (&["x", "--kind", "gopher"], 2, "the kinds are security-group, prefix-list, waf-ip-set, nftables, script"),
    ] {
        let refused = add(args).expect_code(code);
        assert!(error_of(&refused).contains(why), "{why}: {refused}");
    }
    assert_eq!(fs::read_to_string(world.here.config_path()).unwrap(), text, "a bad edit changes nothing");
}
