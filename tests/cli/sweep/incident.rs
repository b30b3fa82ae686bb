//! `--revoke-all`: everything of one installation, and nothing of another's.

use super::*;
use serde_json::json;

/// An installation's id, as its lease tag on a rule says.
fn id_of(world: &Sandboxed, group: &str, known: &[String]) -> String {
    let rules = world.ours(group);
    let keys = rules.iter().flat_map(|rule| rule.tags.keys()).filter_map(|key| key.strip_prefix("eg:lease:"));
    keys.map(str::to_owned).find(|id| !known.contains(id)).unwrap()
}

fn begin(at: &Installation, only: &str) {
    at.eg(&["session", "start", "--ipv4", IPV4, "--only", only]).expect_code(0);
}

/// Alice's machine, which holds a group, was stolen: the world, somebody with credentials alone, and her installation's id.
fn incident(group: &str) -> (Sandboxed, Installation, String) {
    let world = Sandboxed::new();
    let here = stranger(&world);
    begin(&world.here, group);
    let alice = id_of(&world, group, &[]);
    (world, here, alice)
}

fn leases(world: &Sandboxed, group: &str) -> Vec<Vec<String>> {
    let of = |tags: &BTreeMap<String, String>| {
        tags.keys().filter_map(|key| key.strip_prefix("eg:lease:").map(str::to_owned)).collect()
    };
    world.ours(group).iter().map(|rule| of(&rule.tags)).collect()
}

/// Bob holds one of Alice's groups too.
#[test]
fn one_installation_goes_and_the_other_stays() {
    let (world, here, alice) = incident("db");
    let bob = world.installation("bobs-machine");
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

    let done = swept(&here, &[&all[..], &["--yes"]].concat(), 3);
    assert_eq!(ids(&world, "db"), [""; 0]);
    assert_eq!(leases(&world, "api"), [[bobs.as_str()], [bobs.as_str()]], "{done:#}");
    assert_eq!(world.sent(REVOKE).len(), 1);
    let outcomes: Vec<_> =
        done["rules"].as_array().unwrap().iter().filter_map(|rule| rule["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["done"; 3]);
    let held: Vec<_> = done["rules"].as_array().unwrap().iter().map(|rule| rule["stillHeldBy"].clone()).collect();
    let by_bob = |held: &&Value| **held == json!([bobs]);
    assert_eq!(held.iter().filter(by_bob).count(), 2, "{done:#}");
    assert_eq!(held.iter().filter(|held| **held == json!([])).count(), 3, "{done:#}");
    // Bob notices nothing.
    bob.eg(&["reconcile"]).expect_code(0);
    let gone = sweep(&here, &[&all[..], &["--yes"]].concat(), 1);
    says(&gone, &format!("no rule carries a lease of the installation \"{}\"", &alice[..6]));
    world.ends();
}

/// An expiry schedule of a rule that a sweep has closed stays: the sweep asks the scheduler for nothing, and what is left hits
/// nothing, not even a rule that somebody opens in the same place meanwhile.
#[test]
fn the_auto_closes_of_what_it_closes_hit_nothing() {
    let world = Sandboxed::new().with_auto_closes();
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
    let (world, here, alice) = incident("db");
    let bob = world.installation("bobs-machine");
    begin(&bob, "db");
    world.faults([on("DeleteTags", Fault::Deny)]);
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 3);
    let rules = world.ours("db");
    assert_eq!(rules[0].tags[&format!("eg:lease:{alice}")], "1970-01-01T00:00:00Z");
    let again = swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 3);
    assert_eq!(came(&again, &rules[0].id), ["held", "-", "-"], "there is nothing more to take off");
    world.ends();
}

/// What nobody answered is read again, and what somebody else's clock says is not guessed.
#[test]
fn lost_answers() {
    let (world, here, alice) = incident("api");
    let bob = world.installation("bobs-machine");
    begin(&bob, "api");
    world.faults([on("DeleteTags", Fault::ResetAfter).nth(1), on("DeleteTags", Fault::ResetBefore).nth(2)]);
    swept(&here, &["--revoke-all", "--owner", &alice, "--yes"], 3);
    assert!(leases(&world, "api").iter().all(|ids| ids.len() == 1 && ids[0] != alice));
    world.ends();
}

fn tag(world: &Sandboxed, rule: &str, key: &str, value: &str) {
    world.region.tag_by_hand(rule, &BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap();
}

/// Whoever has the stolen credentials may write tags: a lease of an installation that there never was keeps the rule open.
#[test]
fn a_made_up_lease_hides_nothing() {
    let (world, here, alice) = incident("db");
    let rule = ids(&world, "db").remove(0);
    let fake = "f".repeat(32);
    tag(&world, &rule, &format!("eg:lease:{fake}"), &world.in_seconds_text(20 * 24 * HOUR));
    let all = ["--revoke-all", "--owner", &alice, "--yes"];

    let shown = sweep(&here, &all[..3], 2);
    says(&shown, &format!("{rule} (tcp/5432 from {IPV4}/32 on {} in {REGION} of account ", world.group("db")));
    says(&shown, &format!("stays open: held by {fake} until "));
    let command = |owner: &str| format!("eg sweep --region {REGION} --revoke-all --owner {owner} --even-if-held --yes");
    says(&shown, &command(&alice));

    let kept = sweep(&here, &all, 3);
    assert_eq!(ids(&world, "db"), [rule.as_str()]);
    says(&kept, &format!("stays open: held by {fake} until "));
    says(&kept, "0 of 3 rules closed, 1 lost a tag, 1 stays open");
    assert!(!kept.stdout.contains('✓'), "{kept}");
    // Alice's own lease is off by now; the hint names what finds the rule.
    says(&kept, &command(&fake));

    // As the hint says it.
    let closed = here.eg(&command(&fake).split(' ').skip(1).collect::<Vec<_>>()).expect_code(0);
    says(&closed, "✓ 1 of 3 rules closed");
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.ends();
}

/// The same at once, and where the owner's own lease was let expire first, so that there is nothing to take off.
#[test]
fn even_if_held() {
    let (world, here, alice) = incident("db");
    let rule = ids(&world, "db").remove(0);
    tag(&world, &rule, &format!("eg:lease:{}", "f".repeat(32)), &world.in_seconds_text(20 * 24 * HOUR));
    tag(&world, &rule, &format!("eg:lease:{alice}"), &world.in_seconds_text(-HOUR));
    let all = ["--revoke-all", "--owner", &alice];
    let kept = swept(&here, &[&all[..], &["--yes"]].concat(), 3);
    assert_eq!(came(&kept, &rule), ["held", "-", "-"]);
    let row = kept["rules"].as_array().unwrap().iter().find(|row| row["ruleId"] == *rule).unwrap();
    assert_eq!((&row["keptBecause"], &row["stillHeldBy"]), (&"held".into(), &json!(["f".repeat(32)])));
    let refused = sweep(&here, &[&all[..], &["--even-if-held"]].concat(), 2);
    says(&refused, "nothing was changed: --revoke-all needs --yes");
    assert_eq!(ids(&world, "db"), [rule.as_str()]);
    let closed = swept(&here, &[&all[..], &["--even-if-held", "--yes"]].concat(), 0);
    assert_eq!(came(&closed, &rule), ["held", "close", "done"]);
    sweep(&here, &["--even-if-held"], 2);
    world.ends();
}

/// A lease that is made up between the reading and the call: the revoke has no answer, and the rule is read again.
#[test]
fn a_lease_that_is_made_up_meanwhile_hides_nothing() {
    let (world, here, alice) = incident("db");
    let rule = ids(&world, "db").remove(0);
    let fake = "f".repeat(32);
    world.faults([on(REVOKE, Fault::ResetBefore)]);
    let kept = thread::scope(|scope| {
        let run = scope.spawn(|| sweep(&here, &["--revoke-all", "--owner", &alice, "--yes"], 3));
        world.wait_for(REVOKE);
        tag(&world, &rule, &format!("eg:lease:{fake}"), &world.in_seconds_text(20 * 24 * HOUR));
        world.faults(Script::default());
        run.join().unwrap()
    });
    says(&kept, &format!("stays open: held by {fake} until "));
    assert_eq!(ids(&world, "db"), [rule.as_str()]);
    sweep(&here, &["--revoke-all", "--owner", &fake, "--yes"], 0);
    world.ends();
}

/// Marks that were spoilt keep a rule from being touched, and are no success.
#[test]
fn a_rule_whose_marks_were_spoilt_is_named() {
    let (world, here, alice) = incident("api");
    let rules = world.ours("api");
    let (spoilt, other) = (rules[0].id.clone(), rules[1].id.clone());
    tag(&world, &spoilt, "eg:marks", "00000000");
    let done = sweep(&here, &["--revoke-all", "--owner", &alice, "--even-if-held", "--yes"], 3);
    says(&done, &format!("{spoilt} (tcp/"));
    says(&done, "stays open: its tags belong to a different rule: they were copied");
    assert_eq!(ids(&world, "api"), [spoilt.as_str()], "{other} is closed");
    world.region.revoke_by_hand(world.group("api"), &spoilt).unwrap();
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
