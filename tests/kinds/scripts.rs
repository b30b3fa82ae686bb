//! A hand at a firewall that scripts open and close: a file of lines, each a network and a text.

use super::{
    bench::{ADDRESS, Bench},
    conforms,
    hand::{Able, Call, Fault, Hand, Seen},
};
use crate::harness::{namespace::write_program, says, says_not};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
};

/// Scripts, with a program that observes or without one.
pub struct Scripted<const OBSERVED: bool> {
    dir: PathBuf,
}

/// Common to all scripts. A fault is a file `CALL.FAULT`, which the call takes away.
const START: &str = r#"#!/bin/sh
cd "$EG_DIRECTORY/.." || exit 1
strikes() { test -e "faults/$1" && rm "faults/$1"; }
"#;
const APPLY: &str = r#"
echo apply >> calls
strikes Open.LostBefore && kill -9 $$
grep -qxF "$1 by eg" lines || echo "$1 by eg" >> lines
strikes Open.LostAfter && kill -9 $$
exit 0
"#;
const REVOKE: &str = r#"
echo revoke >> calls
strikes Close.LostBefore && kill -9 $$
grep -vxF "$1 by eg" lines > rest
mv rest lines
strikes Close.LostAfter && kill -9 $$
exit 0
"#;
const OBSERVE: &str = r#"
strikes Read.Unreadable && exit 1
cut -d " " -f 1 lines
"#;

impl<const OBSERVED: bool> Hand for Scripted<OBSERVED> {
    const ABLE: Able = Able {
        name: if OBSERVED { "scripts that observe" } else { "scripts" },
        reads: OBSERVED,
        marks: false,
        edits: Err("an address has no identity but itself"),
        closes_by_itself: false,
        clock: false,
        vanishes: Err("nothing tells that its entries went with it"),
        faults: if OBSERVED {
            &[Fault::LostBefore, Fault::LostAfter, Fault::Unreadable]
        } else {
            &[Fault::LostBefore, Fault::LostAfter]
        },
        no_fault: "a script tells no more than that it has failed",
    };

    fn new(dir: &Path, _: &Arc<AtomicI64>) -> Self {
        let dir = dir.join("firewall");
        for folder in ["office/apply", "office/revoke", "faults"] {
            fs::create_dir_all(dir.join(folder)).expect("a directory");
        }
        fs::write(dir.join("lines"), "").expect("a file");
        let observed = OBSERVED.then_some(("observe", OBSERVE));
        for (name, text) in [("apply/10-lines", APPLY), ("revoke/10-lines", REVOKE)].into_iter().chain(observed) {
            write_program(&dir.join("office").join(name), &format!("{START}{text}"));
        }
        Self { dir }
    }

    fn config(&self) -> String {
        let directory = self.dir.join("office");
        let directory = directory.display();
        format!(
            "[[resource]]\nname = \"it\"\nprovider = \"script\"\ndirectory = \"{directory}\"\nfamilies = [\"ipv4\"]\n"
        )
    }

    fn entries(&self) -> Vec<Seen> {
        let seen = |line: &str| Seen {
            network: line.split(' ').next().expect("a network").to_owned(),
            id: line.to_owned(),
            whole: line.to_owned(),
        };
        self.lines().iter().map(|line| seen(line)).collect()
    }

    fn changes(&self) -> Option<usize> {
        Some(fs::read_to_string(self.dir.join("calls")).unwrap_or_default().lines().count())
    }

    fn make(&self, network: &str) {
        let mut lines = self.lines();
        lines.push(format!("{network} theirs"));
        self.write(&lines);
    }

    fn delete(&self, entry: &Seen) {
        let mut lines = self.lines();
        lines.retain(|line| *line != entry.whole);
        self.write(&lines);
    }

    fn edit(&self, _: &Seen) {
        unreachable!("an address has no identity but itself");
    }

    fn strip(&self, _: &Seen) {
        unreachable!("there are no marks");
    }

    fn vanish(&self) {
        unreachable!("nothing tells that it is gone");
    }

    fn fault(&self, call: Call, fault: Fault) {
        fs::write(self.dir.join("faults").join(format!("{call:?}.{fault:?}")), "").expect("a file");
    }

    fn call_off(&self) {
        for file in fs::read_dir(self.dir.join("faults")).expect("a directory").flatten() {
            fs::remove_file(file.path()).expect("it goes");
        }
    }
}

impl<const OBSERVED: bool> Scripted<OBSERVED> {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.dir.join("lines")).expect("the file").lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.dir.join("lines"), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .expect("lines");
    }
}

conforms!(observed, Scripted<true>);
conforms!(unobserved, Scripted<false>);

/// Nothing is read back, so only the record tells that an address is closed, and the disk is full.
#[test]
fn a_closing_that_cannot_be_recorded_is_made_once_in_a_pass() {
    let bench = Bench::<Scripted<false>>::new();
    bench.start(&bench.here).expect_code(0);
    let before = bench.hand.changes();
    let stopped = bench.here.command(&["session", "stop"]).env("EG_TEST_FULL_AT", "1").run().expect_code(3);
    says(&stopped, "Stop not recorded");
    says_not(&stopped, "contended");
    bench.nothing_of_ours();
    assert_eq!(bench.hand.changes(), before.map(|calls| calls + 1), "{stopped}");
    bench.ends(&[]);
}

/// The outcome is not known: the session waits, and the user is told why.
#[test]
fn a_script_that_fails_is_told_at_the_start() {
    let bench = Bench::<Scripted<false>>::new();
    bench.hand.fault(Call::Open, Fault::LostBefore);
    let started = bench.start(&bench.here).expect_code(3);
    says(&started, "! Session is PENDING");
    says(&started, "office: 10-lines was ended by signal 9");
    bench.ends(&[]);
}

/// What cannot be closed is not opened, and nothing is recorded.
#[test]
fn scripts_that_cannot_close_are_refused_before_anything_is_recorded() {
    let bench = Bench::<Scripted<false>>::new();
    let revoke = bench.hand.dir.join("office/revoke/10-lines");
    let mode = |bits| fs::set_permissions(&revoke, Permissions::from_mode(bits)).expect("a mode");
    mode(0o644);
    for command in [&["session", "start", "--ipv4", ADDRESS][..], &["resource", "verify"]] {
        says(&bench.eg(command).expect_code(1), "revoke/10-lines may not be run (chmod +x)");
    }
    assert_eq!(bench.sessions(&bench.here), [] as [serde_json::Value; 0], "nothing is on record");
    mode(0o755);
    bench.start(&bench.here).expect_code(0);
    bench.ends(&[]);
}
