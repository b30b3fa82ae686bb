//! `--revoke-all`: everything of one installation, and nothing of another's.

use super::*;

/// An installation's id, as its lease tag on a rule says.
fn id_of(world: &Sandboxed, group: &str, known: &[String]) -> String {
    let rules = world.ours(group);
    let keys = rules.iter().flat_map(|rule| rule.tags.keys()).filter_map(|key| key.strip_prefix("eg:lease:"));
    keys.map(str::to_owned).find(|id| !known.contains(id)).unwrap()
}

fn begin(at: &Installation, only: &str) {
    at.eg(&["session", "start", "--ipv4", IPV4, "--only", only]).expect_code(0);
}

fn leases(world: &Sandboxed, group: &str) -> Vec<Vec<String>> {
    let of = |tags: &BTreeMap<String, String>| {
        tags.keys().filter_map(|key| key.strip_prefix("eg:lease:").map(str::to_owned)).collect()
    };
    world.ours(group).iter().map(|rule| of(&rule.tags)).collect()
}

/// Alice's machine was stolen. Bob holds one of her groups too.
#[test]
fn one_installation_goes_and_the_other_stays() {
    let world = Sandboxed::new();
    let (bob, here) = (world.installation("bobs-machine"), stranger(&world));
    begin(&world.here, "db");
    let alice = id_of(&world, "db", &[]);
    begin(&world.here, "api");
    begin(&bob, "api");
    let bobs = id_of(&world, "api", std::slice::from_ref(&alice));
    let all = ["--revoke-all", "--owner", &alice[..6]];

    world.forget_calls();
    let refused = sweep(&here, &all, 2);
    says(&refused, "nothing was changed: --revoke-all needs --yes");
    says(&refused, "1 of 5 rules would be closed, 2 would lose a tag");
    let shown = swept(&here, &[&all[..], &["--dry-run"]].concat(), 3);
    assert_eq!((&shown["owner"], &shown["dryRun"]), (&alice.as_str().into(), &true.into()));
    assert_eq!(world.changes(), [""; 0]);

    let done = swept(&here, &[&all[..], &["--yes"]].concat(), 0);
    assert_eq!(ids(&world, "db"), [""; 0]);
    assert_eq!(leases(&world, "api"), [[bobs.as_str()], [bobs.as_str()]], "{done:#}");
    assert_eq!(world.sent(REVOKE).len(), 1);
    let outcomes: Vec<_> =
        done["rules"].as_array().unwrap().iter().filter_map(|rule| rule["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["done"; 3]);
    // Bob notices nothing.
    bob.eg(&["reconcile"]).expect_code(0);
    let gone = sweep(&here, &[&all[..], &["--yes"]].concat(), 1);
    says(&gone, &format!("no rule carries a lease of the installation \"{}\"", &alice[..6]));
    world.ends();
}

/// A switch of a rule that a sweep has closed stays: the sweep asks the scheduler for nothing, and what is left hits
/// nothing, not even a rule that somebody opens in the same place meanwhile.
#[test]
fn the_switches_of_what_it_closes_hit_nothing() {
    let world = Sandboxed::new().with_switches();
    let here = stranger(&world);
    begin(&world.here, "db");
    let alice = id_of(&world, "db", &[]);
    assert_eq!(world.region.schedules().len(), 1);
    world.forget_calls();
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 0);
    assert!(world.calls().iter().all(|call| !call.action.contains("Schedule")), "{:?}", world.changes());
    assert_eq!((ids(&world, "db"), world.region.schedules().len()), (vec![], 1));
    let twin = HandRule::new("tcp/5432", &format!("{IPV4}/32"));
    world.foreign_rule(world.group("db"), &twin);
    world.advance(9 * HOUR);
    assert_eq!(world.region.schedules(), []);
    let calls = world.calls();
    let fired = calls.iter().find(|call| call.caller.contains("eg-cloud-expiry")).unwrap();
    assert_eq!(fired.outcome, "InvalidSecurityGroupRuleId.NotFound");
    world.ends();
}

/// Where deleting tags is denied, the tag is made to say a time long past: it holds nothing.
#[test]
fn tags_that_may_not_be_deleted() {
    let world = Sandboxed::new();
    let (bob, here) = (world.installation("bobs-machine"), stranger(&world));
    begin(&world.here, "db");
    let alice = id_of(&world, "db", &[]);
    begin(&bob, "db");
    world.faults([on("DeleteTags", Fault::Deny)]);
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 0);
    let rules = world.ours("db");
    assert_eq!(rules[0].tags[&format!("eg:lease:{alice}")], "1970-01-01T00:00:00Z");
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 0);
    world.ends();
}

/// What nobody answered is read again, and what somebody else's clock says is not guessed.
#[test]
fn lost_answers() {
    let world = Sandboxed::new();
    let (bob, here) = (world.installation("bobs-machine"), stranger(&world));
    begin(&world.here, "api");
    let alice = id_of(&world, "api", &[]);
    begin(&bob, "api");
    world.faults([on("DeleteTags", Fault::ResetAfter).nth(1), on("DeleteTags", Fault::ResetBefore).nth(2)]);
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 0);
    assert!(leases(&world, "api").iter().all(|ids| ids.len() == 1 && ids[0] != alice));
    world.ends();
}

#[test]
fn whose() {
    let world = Sandboxed::new();
    let here = stranger(&world);
    // 00000002… and 00000003… both begin with seven zeros.
    let held = [left_behind(&world, "db", 5432, 2, HOUR), left_behind(&world, "db", 5433, 3, HOUR)];
    let both = sweep(&here, &["--revoke-all", "--owner", "0000000", "--yes"], 1);
    says(&both, "fits ");
    says(&both, installation(2).as_str());
    assert_eq!(world.changes(), [""; 0]);
    let one = swept(&here, &["--revoke-all", "--owner", "00000003", "--yes"], 0);
    assert_eq!(came(&one, &held[1]), ["held", "close", "done"]);
    assert_eq!(came(&one, &held[0]), ["held", "-", "-"]);
    // Of what cannot be read, nothing is known.
    world.faults([on(READ, Fault::Deny)]);
    let unread = sweep(&here, &["--revoke-all", "--owner", "00000002", "--yes"], 1);
    says(&unread, "no rule that could be read carries a lease");
    world.faults(Script::default());
    world.region.revoke_by_hand(world.group("db"), &held[0]).unwrap();
    world.ends();
}
