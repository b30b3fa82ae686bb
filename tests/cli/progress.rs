//! The bar of a pass that takes its time.

use crate::harness::{Fault, World, eg::EgCommand, terminal::Left};

const BAR: &str = " of 1 grant, ";

/// A world in which opening takes a while.
fn slow() -> World {
    let world = World::new();
    world.faults(&[Fault::delay("AuthorizeSecurityGroupIngress", 2.5).dry_run(false)]);
    world
}

fn start(world: &World, more: &[&str]) -> EgCommand {
    world.here.command(&[&["session", "start", "--only", "prod-api-sg"], more].concat()).env("TERM", "xterm")
}

fn on_terminal(command: EgCommand) -> Left {
    let left = command.on_terminal(24, 100).wait();
    assert_eq!(left.code, Some(0), "{}", left.screen.contents());
    left
}

#[test]
fn a_bar_while_it_takes_its_time_and_nothing_of_it_after() {
    let world = World::new();
    world.faults(&[Fault::hold("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let eg = start(&world, &[]).on_terminal(24, 100);
    let during = eg.shows_text(BAR).contents();
    assert!(
        during.contains("✓ Session started") && during.contains("[                        ] 0 of 1 grant, "),
        "{during}"
    );
    world.faults(&[]);
    let left = eg.wait();
    let after = left.screen.contents();
    assert_eq!(left.code, Some(0), "{after}");
    let lines: Vec<&str> = after.lines().collect();
    assert_eq!(lines[lines.len() - 2..], ["  prod-api-sg IPv4 tcp/22: APPLIED", "✓ Session is ACTIVE"], "{after}");
    assert!(!after.contains(BAR) && !after.contains("[ "), "{after}");
    assert!(left.cooked && !left.screen.hide_cursor());
}

#[test]
fn no_bar_where_nobody_wants_one() {
    for (more, env) in
        [(&["-q"][..], ("A", "b")), (&["--output", "json"], ("A", "b")), (&[], ("TERM", "dumb")), (&["-v"], ("A", "b"))]
    {
        let left = on_terminal(start(&slow(), more).env(env.0, env.1));
        assert!(!String::from_utf8_lossy(&left.bytes).contains(" grant, "), "{more:?} {env:?}");
    }
    let piped = start(&slow(), &[]).run().expect_code(0);
    assert!(!piped.stderr.contains(" grant, ") && !piped.stderr.contains('\u{1b}'), "{piped}");
}
