//! `eg` ends before and after each write of the record and each call to the firewall.

use super::{
    bench::{ADDRESS, Bench, SETTLED},
    hand::Hand,
};
use crate::harness::boundaries::until_past_the_end;

const START: &[&str] = &["session", "start", "--ipv4", ADDRESS, "--duration", "2h"];
const STOP: &[&str] = &["session", "stop"];

pub fn at_every_call<H: Hand>() {
    for (name, command) in [("start", START), ("stop", STOP)] {
        let count = until_past_the_end(|number| ends_at::<H>(command, number));
        eprintln!("{} {name}: ended at each of {count} boundaries", H::ABLE.name);
        assert!(count >= 12, "only {count} boundaries: a door has lost its observer");
    }
}

/// Ends the command at the n-th boundary. True if there is such a boundary.
fn ends_at<H: Hand>(command: &[&str], number: usize) -> bool {
    let bench = Bench::<H>::new();
    let stops = command == STOP;
    if stops {
        bench.start(&bench.here).expect_code(0);
    }
    let outcome = bench.here.command(command).env("EG_TEST_ABORT_AT", number.to_string()).run();
    let crashed = outcome.code().is_none();
    if !crashed {
        outcome.expect_code(0);
    }
    bench.others_are_untouched();
    assert!(bench.ours().len() <= 1, "{:#?}", bench.ours());
    // What came on record is carried out; what did not is asked for again.
    bench.eg(&["reconcile"]);
    bench.advance(SETTLED);
    bench.settle(&[&bench.here]);
    let live = bench.sessions(&bench.here).iter().any(|session| session["status"] == "ACTIVE");
    assert_eq!(bench.ours().len(), usize::from(live), "at {number}: {:#?}", bench.ours());
    if live == stops {
        bench.here.eg(command).expect_code(0);
    }
    assert_eq!(bench.ours().len(), usize::from(!stops), "at {number}: {:#?}", bench.ours());
    bench.ends(&[]);
    crashed
}
