//! B15, B16: credentials that end, rights that are missing, groups that go, in the middle of things.

use super::*;

/// Nothing is refused any more, and the pass after so many seconds leaves the session like this.
fn mended(world: &Sandboxed, after: i64, expected: &str) {
    world.faults([] as [Rule; 0]);
    world.advance(after);
    pass(&world.here, 0);
    assert_eq!(status(world), expected);
    world.ends();
}

/// Half of the groups open, then the credentials are past their time.
#[test]
fn credentials_that_end_in_the_middle_leave_it_partial() {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::ExpiredToken).containing(world.group("db"))]);
    let started = begin(&world, &[]).expect_code(3);
    says(&started, "! Session is PARTIAL");
    assert_eq!(grants(&world), ["APPLIED", "FAILED"]);
    let why = &each_grant(&world.here, "errorMessage")[1];
    assert!(why.starts_with("tcp/5432: credentials not usable: "), "{why}");
    assert!(why.contains("(RequestExpired)") && why.contains("aws sso login"), "{why}");
    assert_eq!((world.ours("api").len(), world.ours("db").len()), (2, 0));
    mended(&world, MINUTE + 1, "ACTIVE");
}

/// The same while closing: what could be closed is closed, and the rest stays due.
#[test]
fn credentials_that_end_while_closing_keep_the_rest_due() {
    let world = Sandboxed::new();
    begin(&world, &[]).expect_code(0);
    world.faults([on(REVOKE, Fault::ExpiredToken).containing(world.group("db"))]);
    world.forget_calls();
    let stopped = stop(&world).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule still open until the next reconcile");
    says(&stopped, "aws sso login");
    assert_eq!(world.sent(REVOKE).len(), 2, "one for each group, and none again in this pass");
    assert_eq!(grants(&world), ["REMOVED", "REMOVING"]);
    assert_eq!((world.ours("api").len(), world.ours("db").len()), (0, 1));
    mended(&world, 2 * MINUTE + 1, "CANCELLED");
}

/// Nothing works at all: nothing is recorded. When the time of a session is over and nothing works, that is said.
#[test]
fn credentials_that_ended_before_a_start_refuse_it() {
    let world = Sandboxed::new();
    world.faults([Fault::ExpiredToken]);
    let refused = begin(&world, &["--duration", "2h"]).expect_code(1);
    says(&refused, "error: nothing was opened: ");
    says(&refused, "hint: log in again (for SSO: aws sso login)");
    assert_eq!((world.changes().len(), world.sessions_of(&world.here).len()), (0, 0));
    world.faults([] as [Rule; 0]);
    begin(&world, &["--duration", "2h"]).expect_code(0);
    world.advance(2 * HOUR + MINUTE);
    world.faults([Fault::ExpiredToken]);
    says(&pass(&world.here, 3), "credentials not usable");
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, " is overdue: last reconcile ");
    says(&list, "credentials not usable");
    world.faults([] as [Rule; 0]);
    pass(&world.here, 0);
    assert_eq!(status(&world), "EXPIRED");
    world.ends();
}

/// What may not be closed, or not be tagged, is not opened: asked before the first rule.
#[test]
fn missing_rights_are_found_before_anything_is_opened() {
    let tags = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/a is not authorized to \
                perform: ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:1:security-group-rule/*";
    let tags = Fault::Refuse { code: "UnauthorizedOperation".to_owned(), message: tags.to_owned(), status: 403 };
    for (fault, action, named) in
        [(Fault::Deny, AUTHORIZE, AUTHORIZE), (Fault::Deny, REVOKE, REVOKE), (tags, AUTHORIZE, TAG)]
    {
        let world = Sandboxed::new();
        world.faults([Rule::new(fault).on(action)]);
        let refused = begin(&world, &[]).expect_code(1);
        says(&refused, "error: nothing was opened\n");
        says(&refused, "hint: give the credentials the permissions that `eg iam-policy` prints");
        for group in ["api", "db"] {
            let said = format!("ec2:{named} on {} is not permitted", world.group(group));
            assert!(refused.stderr.contains(&said), "{said}: {refused}");
        }
        assert_eq!((world.changes().len(), world.sessions_of(&world.here).len()), (0, 0));
        world.ends();
    }
}

/// It was allowed before, so it is not asked again, and the call itself is refused. Its stop has nothing to wait for; the
/// lease closes, in silence, once a reading is believed.
#[test]
fn a_right_that_was_taken_away_is_said() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    stop(&world).expect_code(0);
    world.faults([Rule::new(Fault::Deny).on(AUTHORIZE)]);
    world.forget_calls();
    let started = begin(&world, &["--only", "db"]).expect_code(1);
    says(&started, "not permitted");
    says(&started, "eg iam-policy");
    assert_eq!(world.outcomes(AUTHORIZE), ["UnauthorizedOperation"]);
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert_eq!(status(&world), "CANCELLED");
    says(&pass(&world.here, 0), "Nothing to do.");
    world.advance(SETTLED);
    pass(&world.here, 0);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.calls().len(), 0, "it is looked at no more");
    world.ends();
}

/// In one group only.
#[test]
fn a_right_that_is_missing_on_one_group_fails_that_group() {
    let world = Sandboxed::new();
    world.faults([Rule::new(Fault::Deny).on(AUTHORIZE).containing(world.group("db"))]);
    begin(&world, &[]).expect_code(3);
    assert_eq!((status(&world), grants(&world)), ("PARTIAL".to_owned(), vec!["APPLIED".into(), "FAILED".into()]));
    assert_eq!(world.sent(AUTHORIZE).len(), 1);
    world.ends();
}

#[test]
fn a_revoke_that_is_not_permitted_stays_due() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.faults([on(REVOKE, Fault::Deny)]);
    world.forget_calls();
    let stopped = stop(&world).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule still open until the next reconcile");
    says(&stopped, "not permitted");
    assert_eq!(world.sent(REVOKE).len(), 1);
    world.advance(2 * MINUTE + 1);
    says(&pass(&world.here, 3), "not permitted");
    assert_eq!(world.sent(REVOKE).len(), 2, "one in each pass");
    mended(&world, 2 * MINUTE + 1, "CANCELLED");
}

#[test]
fn a_tag_that_may_not_be_rewritten_is_said() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let was = leases(&world.ours("db")[0])[0].to_owned();
    world.faults([on(TAG, Fault::Deny)]);
    world.forget_calls();
    says(&world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(3), "not permitted");
    assert_eq!((leases(&world.ours("db")[0]), world.sent(TAG).len()), (vec![was.as_str()], 1));
    says(&pass(&world.here, 3), "still says another time: not permitted");
    world.faults([] as [Rule; 0]);
    world.advance(15 * MINUTE + 1);
    pass(&world.here, 0);
    assert_eq!(leases(&world.ours("db")[0]), [newest(&world.here)["expiresAt"].as_str().unwrap()]);
    world.ends();
}

/// B16: a group is deleted between the reading and the authorize.
#[test]
fn a_group_that_goes_before_it_is_opened() {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::GroupGone).dry_run(false).containing(world.group("db"))]);
    let started = begin(&world, &[]).expect_code(3);
    world.group_is_gone("db");
    says(&started, "PARTIAL");
    assert_eq!(grants(&world), ["APPLIED", "FAILED"]);
    assert!(each_grant(&world.here, "errorMessage")[1].contains("does not exist"));
    world.faults([] as [Rule; 0]);
    // What was refused is not open. Gone is believed when two readings, a settle window apart, say so; then nothing is asked
    // of it any more.
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert_eq!(grants(&world), ["REMOVED", "REMOVED"]);
    world.advance(SETTLED);
    pass(&world.here, 0);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.calls().len()), ("CANCELLED", 0));
    world.ends();
}

/// B16: a group is deleted between the reading and the revoke. Its rules went with it.
#[test]
fn a_group_that_goes_before_it_is_closed() {
    let world = Sandboxed::new();
    begin(&world, &[]).expect_code(0);
    world.faults([on(REVOKE, Fault::GroupGone).containing(world.group("db"))]);
    stop(&world).expect_code(3);
    world.group_is_gone("db");
    assert_eq!((status(&world), grants(&world)), ("EXPIRING".to_owned(), vec!["REMOVED".into(), "REMOVING".into()]));
    world.faults([] as [Rule; 0]);
    world.advance(2 * MINUTE + 1);
    pass(&world.here, 3);
    world.advance(SETTLED);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.changes()), ("CANCELLED", vec![]));
    world.ends();
}

/// B16: with a session that goes on, the group is missed, said, and not asked for again and again.
#[test]
fn a_group_that_goes_fails_its_session() {
    let world = Sandboxed::new();
    begin(&world, &[]).expect_code(0);
    world.region.delete_group(world.group("db"));
    world.group_is_gone("db");
    pass(&world.here, 3);
    assert_eq!(status(&world), "ACTIVE", "not found once is not believed");
    world.advance(SETTLED);
    world.forget_calls();
    says(&pass(&world.here, 3), "no longer exists");
    assert_eq!((status(&world).as_str(), world.changes()), ("PARTIAL", vec![]));
    assert_eq!(grants(&world), ["APPLIED", "FAILED"]);
    stop(&world).expect_code(0);
    world.ends();
}

/// A company may permit only rules with a certain tag. `[aws] extra_tags` are in the questions as they are in the call.
#[test]
fn a_tag_that_a_policy_asks_for_is_in_every_question() {
    let world = Sandboxed::new();
    let config = std::fs::read_to_string(world.here.config_path()).unwrap();
    world.here.write_config(&format!("[aws.extra_tags]\ncost-center = \"7\"\n{config}"));
    let goes_through = Rule::new(Fault::Slow(Duration::ZERO)).on(AUTHORIZE).containing("cost-center");
    world.faults([goes_through, Rule::new(Fault::Deny).on(AUTHORIZE)]);
    for command in [&["resource", "verify"][..], &["doctor"]] {
        let outcome = world.eg(command);
        says_not(&outcome, "is not permitted");
        says(&outcome, if command.len() == 1 { "api: open, tag and close" } else { "the credentials may open rules" });
    }
    begin(&world, &[]).expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    stop(&world).expect_code(0);
    world.ends();
}
