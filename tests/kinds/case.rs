//! The cases of the suite.

use super::{
    bench::{Bench, HOST, SETTLED},
    crashes,
    hand::{Call, Fault, Hand},
};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Apply,
    ApplyAgain,
    Covered,
    Extend,
    Join,
    Leave,
    Drift,
    Edited,
    Stripped,
    Expiry,
    LostBefore,
    LostAfter,
    Conflict,
    Throttled,
    Quota,
    Unreadable,
    TargetGone,
    TwoInstallations,
    Crashes,
}

impl Case {
    pub const ALL: [Self; 19] = [
        Self::Apply,
        Self::ApplyAgain,
        Self::Covered,
        Self::Extend,
        Self::Join,
        Self::Leave,
        Self::Drift,
        Self::Edited,
        Self::Stripped,
        Self::Expiry,
        Self::LostBefore,
        Self::LostAfter,
        Self::Conflict,
        Self::Throttled,
        Self::Quota,
        Self::Unreadable,
        Self::TargetGone,
        Self::TwoInstallations,
        Self::Crashes,
    ];

    /// Why a kind cannot have it.
    pub fn left_out<H: Hand>(self) -> Option<&'static str> {
        let able = H::ABLE;
        let unless = |has: bool, why: &'static str| (!has).then_some(why);
        let needs = |fault: Fault| unless(able.faults.contains(&fault), able.no_fault);
        const UNREAD: &str = "nothing is read back";
        const UNMARKED: &str = "entries carry no marks, so no installation knows another's";
        match self {
            Self::Covered | Self::Drift => unless(able.reads, UNREAD),
            Self::Join | Self::Leave | Self::Stripped if !able.reads => Some(UNREAD),
            Self::Join | Self::Leave | Self::Stripped => unless(able.marks, UNMARKED),
            Self::Edited if !able.reads => Some(UNREAD),
            Self::Edited => able.edits.err(),
            Self::LostBefore => needs(Fault::LostBefore),
            Self::LostAfter => needs(Fault::LostAfter),
            Self::Conflict => needs(Fault::Conflict),
            Self::Throttled => needs(Fault::Throttled),
            Self::Quota => needs(Fault::Quota),
            Self::Unreadable => needs(Fault::Unreadable),
            Self::TargetGone => able.vanishes.err(),
            Self::TwoInstallations => unless(able.reads, UNREAD),
            Self::Apply | Self::ApplyAgain | Self::Extend | Self::Expiry | Self::Crashes => None,
        }
    }
}

/// The row of the table.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "opens, and closes when the session is stopped",
            Self::ApplyAgain => "a second pass changes nothing",
            Self::Covered => "an entry of others for the same address covers the session, and is never touched",
            Self::Extend => "a longer session keeps its entry",
            Self::Join => "two machines share one entry",
            Self::Leave => "the machine that leaves first keeps the entry open for the other",
            Self::Drift => "an entry that somebody deleted is opened again",
            Self::Edited => "an entry that somebody edited is closed, and opened anew",
            Self::Stripped => "an entry that has lost its marks gets them back",
            Self::Expiry => "closes when the time is over",
            Self::LostBefore => "a request that is lost is made again",
            Self::LostAfter => "an answer that is lost leaves neither a second entry nor a forgotten one",
            Self::Conflict => "a change by others between reading and writing is read first",
            Self::Throttled => "\"too fast\" is tried again",
            Self::Quota => "a full firewall is told, and its other entries stay",
            Self::Unreadable => "a reading that fails closes nothing and forgets nothing",
            Self::TargetGone => "a firewall that is gone ends the session, after the settle window",
            Self::TwoInstallations => {
                "what a machine has left behind is closed by another; without marks, neither touches the other's"
            }
            Self::Crashes => "a crash before or after any call leaves nothing behind",
        })
    }
}

/// Runs a case for a kind, unless the kind cannot have it.
pub fn check<H: Hand>(case: Case) {
    if let Some(why) = case.left_out::<H>() {
        return eprintln!("{} cannot have \"{case}\": {why}", H::ABLE.name);
    }
    if let Some(why) = H::missing() {
        return eprintln!("SKIPPED: {}: {why}", H::ABLE.name);
    }
    match case {
        Case::Apply => apply::<H>(),
        Case::ApplyAgain => apply_again::<H>(),
        Case::Covered => covered::<H>(),
        Case::Extend => extend::<H>(),
        Case::Join => join::<H>(),
        Case::Leave => leave::<H>(),
        Case::Drift => drift::<H>(),
        Case::Edited => edited::<H>(),
        Case::Stripped => stripped::<H>(),
        Case::Expiry => expiry::<H>(),
        Case::LostBefore => lost::<H>(Fault::LostBefore),
        Case::LostAfter => lost::<H>(Fault::LostAfter),
        Case::Conflict => conflict::<H>(),
        Case::Throttled => throttled::<H>(),
        Case::Quota => quota::<H>(),
        Case::Unreadable => unreadable::<H>(),
        Case::TargetGone => target_gone::<H>(),
        Case::TwoInstallations if H::ABLE.marks => never_comes_back::<H>(),
        Case::TwoInstallations => strangers::<H>(),
        Case::Crashes => crashes::at_every_call::<H>(),
    }
}

/// A firewall where a session is open.
#[track_caller]
fn open<H: Hand>() -> Bench<H> {
    let bench = Bench::<H>::new();
    bench.start(&bench.here).expect_code(0);
    bench.our_entry();
    bench
}

fn apply<H: Hand>() {
    let bench = open::<H>();
    assert_eq!(bench.status(), "ACTIVE");
    bench.others_are_untouched();
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.nothing_of_ours();
    assert_eq!(bench.status(), "CANCELLED");
    bench.ends(&[]);
}

fn apply_again<H: Hand>() {
    let bench = open::<H>();
    let (entries, rest, changes) = (bench.hand.entries(), bench.hand.rest(), bench.hand.changes());
    for _ in 0..2 {
        bench.eg(&["reconcile"]).expect_code(0);
        bench.advance(SETTLED);
    }
    assert_eq!((bench.hand.entries(), bench.hand.rest()), (entries, rest));
    assert_eq!(bench.hand.changes(), changes);
    bench.ends(&[]);
}

fn covered<H: Hand>() {
    let bench = Bench::<H>::new();
    bench.make(HOST);
    let before = bench.hand.changes();
    bench.start(&bench.here).expect_code(0);
    bench.nothing_of_ours();
    bench.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(bench.hand.changes(), before, "nothing was to be done");
    bench.others_are_untouched();
    bench.ends(&[]);
}

fn extend<H: Hand>() {
    let bench = open::<H>();
    let before = bench.our_entry();
    bench.eg(&["session", "extend", "--hours", "2"]).expect_code(0);
    assert_eq!(bench.our_entry().id, before.id, "it is the same entry");
    // Past the first end.
    bench.advance(3 * 3600);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.our_entry();
    bench.ends(&[]);
}

fn join<H: Hand>() {
    let bench = open::<H>();
    let there = bench.machine("there");
    let before = bench.our_entry();
    bench.start(&there).expect_code(0);
    assert_eq!(bench.our_entry().id, before.id, "both hold one entry");
    assert_eq!(bench.sessions(&there)[0]["status"], "ACTIVE");
    bench.ends(&[&there]);
}

fn leave<H: Hand>() {
    let bench = open::<H>();
    let there = bench.machine("there");
    bench.start(&there).expect_code(0);
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.our_entry();
    bench.advance(SETTLED);
    bench.settle(&[&bench.here, &there]);
    bench.our_entry();
    there.eg(&["session", "stop"]).expect_code(0);
    bench.nothing_of_ours();
    bench.ends(&[&there]);
}

fn drift<H: Hand>() {
    let bench = open::<H>();
    bench.hand.delete(&bench.our_entry());
    bench.eg(&["reconcile"]).expect_code(0);
    bench.our_entry();
    bench.ends(&[]);
}

fn edited<H: Hand>() {
    let bench = open::<H>();
    let before = bench.our_entry();
    bench.hand.edit(&before);
    let outcome = bench.eg(&["reconcile"]);
    assert!(outcome.to_string().contains("edited by hand"), "{outcome}");
    assert_ne!(bench.our_entry().id, before.id, "the edited one is closed");
    bench.settle(&[&bench.here]);
    bench.our_entry();
    bench.ends(&[]);
}

fn stripped<H: Hand>() {
    let bench = open::<H>();
    let (before, rest) = (bench.our_entry(), bench.hand.rest());
    bench.hand.strip(&before);
    let bare = (bench.our_entry(), bench.hand.rest());
    assert!(bare != (before.clone(), rest), "the marks are not off");
    bench.advance(SETTLED);
    let outcome = bench.eg(&["reconcile"]);
    assert!(outcome.to_string().contains("found without its tags"), "{outcome}");
    assert!((bench.our_entry(), bench.hand.rest()) != bare, "the marks are not back");
    assert_eq!(bench.our_entry().id, before.id);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.ends(&[]);
}

fn expiry<H: Hand>() {
    let bench = open::<H>();
    bench.advance(2 * 3600 + 1);
    if H::ABLE.closes_by_itself && H::ABLE.clock {
        bench.nothing_of_ours();
    }
    bench.eg(&["reconcile"]).expect_code(0);
    bench.nothing_of_ours();
    assert_eq!(bench.status(), "EXPIRED");
    bench.ends(&[]);
}

/// A call is lost, on the way there or back: when the session starts, is extended and is stopped.
fn lost<H: Hand>(fault: Fault) {
    for call in [Call::Open, Call::Mark] {
        let bench = Bench::<H>::new();
        bench.hand.fault(call, fault);
        let outcome = bench.start(&bench.here);
        assert!(matches!(outcome.code(), Some(0 | 3)), "{outcome}");
        bench.advance(SETTLED);
        bench.settle(&[&bench.here]);
        bench.our_entry();
        bench.others_are_untouched();
        bench.ends(&[]);
    }
    for call in [Call::Close, Call::Mark] {
        let bench = open::<H>();
        bench.hand.fault(call, fault);
        bench.eg(&["session", "extend", "--hours", "1"]);
        bench.our_entry();
        let outcome = bench.eg(&["session", "stop"]);
        assert!(matches!(outcome.code(), Some(0 | 3)), "{outcome}");
        bench.advance(SETTLED);
        bench.settle(&[&bench.here]);
        bench.nothing_of_ours();
        bench.ends(&[]);
    }
}

fn conflict<H: Hand>() {
    let bench = Bench::<H>::new();
    bench.hand.fault(Call::Open, Fault::Conflict);
    bench.start(&bench.here);
    bench.settle(&[&bench.here]);
    bench.our_entry();
    bench.hand.fault(Call::Close, Fault::Conflict);
    let outcome = bench.eg(&["session", "stop"]);
    assert!(matches!(outcome.code(), Some(0 | 3)), "{outcome}");
    bench.settle(&[&bench.here]);
    bench.nothing_of_ours();
    bench.ends(&[]);
}

fn throttled<H: Hand>() {
    let bench = Bench::<H>::new();
    bench.hand.fault(Call::Open, Fault::Throttled);
    bench.hand.fault(Call::Mark, Fault::Throttled);
    bench.start(&bench.here).expect_code(0);
    bench.our_entry();
    bench.hand.fault(Call::Close, Fault::Throttled);
    bench.hand.fault(Call::Mark, Fault::Throttled);
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.nothing_of_ours();
    bench.ends(&[]);
}

fn quota<H: Hand>() {
    let bench = Bench::<H>::new();
    bench.hand.fault(Call::Open, Fault::Quota);
    let outcome = bench.start(&bench.here);
    assert!(matches!(outcome.code(), Some(1 | 3)), "a failure is never 0: {outcome}");
    bench.nothing_of_ours();
    bench.others_are_untouched();
    // There is room again, and the time of the next attempt has come.
    bench.advance(SETTLED);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.our_entry();
    bench.ends(&[]);
}

fn unreadable<H: Hand>() {
    let bench = open::<H>();
    let before = (bench.hand.entries(), bench.hand.rest());
    bench.hand.fault(Call::Read, Fault::Unreadable);
    let outcome = bench.eg(&["reconcile", "--timer"]);
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert_eq!((bench.hand.entries(), bench.hand.rest()), before);
    assert_eq!(bench.status(), "ACTIVE", "what was open is not said to be closed");
    bench.eg(&["reconcile"]).expect_code(0);
    bench.our_entry();
    bench.ends(&[]);
}

fn target_gone<H: Hand>() {
    let bench = open::<H>();
    bench.hand.vanish();
    let outcome = bench.eg(&["session", "stop"]);
    assert_ne!(outcome.code(), Some(0), "one \"not found\" is not believed: {outcome}");
    bench.advance(SETTLED);
    bench.eg(&["reconcile"]).expect_code(0);
    assert_eq!(bench.status(), "CANCELLED");
    bench.ends_without_firewall();
}

/// A machine opens an entry and never comes back. Another one, with the same firewall configured, closes it.
fn never_comes_back<H: Hand>() {
    let bench = Bench::<H>::new();
    let gone = bench.machine("gone");
    bench.start(&gone).expect_code(0);
    bench.our_entry();
    bench.advance(2 * 3600 - 60);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.our_entry();
    // Its time, the tolerance for clocks, and an hour between two collections.
    bench.advance(60 + 11 * 60 + 3600);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.nothing_of_ours();
    bench.others_are_untouched();
    // Its state file is found again. Of a container, its mark is still there.
    bench.ends(&[&gone]);
}

/// Without marks, an entry of another machine is one of others.
fn strangers<H: Hand>() {
    let bench = open::<H>();
    let there = bench.machine("there");
    let before = bench.our_entry();
    bench.start(&there).expect_code(0);
    assert_eq!(bench.our_entry(), before);
    there.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(bench.our_entry(), before, "it is not theirs to close");
    bench.start(&there).expect_code(0);
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.nothing_of_ours();
    bench.settle(&[&there]);
    bench.our_entry();
    bench.ends(&[&there]);
}
