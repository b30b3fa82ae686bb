//! Time passes while a command runs in a session of its own (`session run`): the session is closed then, not when the
//! command is over.

use crate::eg_here::{Ended, Machine};
use chrono::DateTime;
use eg_sandbox::{Config, Fault, HandClock, Handle, Rule, Sandbox};
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const ACCOUNT: &str = "200000000001";
/// What has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Alone {
    dir: TempDir,
    region: Handle,
    group: String,
    machine: Machine,
}

impl Alone {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("eg-lives-").tempdir().unwrap();
        let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let region = Sandbox::start(Config::new(1, clock.clock())).unwrap();
        let group = region.create_group_in(ACCOUNT, "eu-west-1", "api").unwrap();
        let config = format!(
            "[[resource]]\nname = \"api\"\nid = \"{group}\"\nregion = \"eu-west-1\"\nprofile = \"sandbox\"\n\
             ports = [\"tcp/22\"]\n"
        );
        let machine = Machine::new(dir.path(), "alice", 1, &clock, &region.endpoint(), &config);
        Self { dir, region, group, machine }
    }

    /// Runs a command that ends when it may; meanwhile `watch` waits for what is to happen.
    fn run(&mut self, watch: impl FnOnce(&Handle, &str)) -> Ended {
        let go = self.dir.path().join("go");
        let up = self.dir.path().join("up");
        let script = format!(": > '{}'; while [ ! -e '{}' ]; do sleep 0.02; done; exit 7", up.display(), go.display());
        let Self { region, group, machine, .. } = self;
        let args = ["session", "run", "--ipv4", "203.0.113.42", "--duration", "1h", "--", "sh", "-c", &script];
        thread::scope(|scope| {
            let running = scope.spawn(|| machine.eg(&args));
            wait(|| up.exists());
            watch(region, group);
            fs::write(&go, "").unwrap();
            running.join().unwrap()
        })
    }
}

fn wait(until: impl Fn() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_millis(5));
    }
}

fn closed(region: &Handle, group: &str) -> bool {
    region.rules(group).is_empty()
}

#[test]
fn the_session_ends_while_the_command_goes_on() {
    let mut alone = Alone::new();
    let ended = alone.run(|region, group| wait(|| closed(region, group)));
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.err.contains("warning: the session was over at "), "{}", ended.err);
    assert_eq!(alone.machine.sessions()[0]["status"], "EXPIRED");
}

#[test]
fn what_could_not_be_closed_is_tried_again() {
    let mut alone = Alone::new();
    alone.region.script([Rule::new(Fault::Deny).on("RevokeSecurityGroupIngress").dry_run(false)]);
    let ended = alone.run(|region, group| {
        let revokes = || region.log().iter().filter(|call| call.action == "RevokeSecurityGroupIngress").count();
        wait(|| revokes() > 1);
        assert!(!closed(region, group));
        region.script([] as [Rule; 0]);
        wait(|| closed(region, group));
    });
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(alone.machine.sessions()[0]["status"], "EXPIRED");
}

/// A pass that the command's end finds at work comes to its own end: cut off, it would not be known what it did.
#[test]
fn a_command_that_ends_while_its_session_is_closed() {
    let mut alone = Alone::new();
    let slow = Fault::Slow(Duration::from_secs(1));
    alone.region.script([Rule::new(slow).on("RevokeSecurityGroupIngress").dry_run(false)]);
    // It is closed, and the answer is still on its way.
    let ended = alone.run(|region, group| wait(|| closed(region, group)));
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(alone.machine.sessions()[0]["status"], "EXPIRED");
}
