//! `eg status --watch`, on a terminal that a person looks at and presses keys on.

use crate::{
    cli::session::{get, start_id},
    harness::{Fault, World, terminal::OnTerminal},
};

fn board(world: &World, rows: u16, columns: u16) -> OnTerminal {
    let command = world.here.command(&["status", "--watch"]).env("TERM", "xterm-256color");
    command.on_terminal(rows, columns)
}

/// Whether the whole picture has arrived: the keys stand below everything else.
fn drawn(screen: &str) -> bool {
    screen.contains("q leave")
}

/// Whether the mark stands before this session.
fn marked(screen: &str, id: &str) -> bool {
    screen.contains(&format!("> {}", &id[..8]))
}

#[test]
fn keys_stop_and_extend_and_looking_calls_nobody() {
    let world = World::new();
    let first = start_id(&world.here, &["--only", "prod", "--duration", "8h"]);
    let until = get(&world.here, &first)["expiresAt"].clone();
    world.forget_calls();
    let asked = || world.echo4.iter().map(|echo| echo.asked()).sum::<usize>();
    let before = asked();

    let mut eg = board(&world, 24, 80);
    let shown = eg.shows(|screen| marked(screen, &first) && screen.contains("7h 59m ") && drawn(screen)).contents();
    assert!(
        shown.contains("Rules of ") && shown.contains("prod-db-sg   tcp/5432 from 203.0.113.42/32  APPLIED"),
        "{shown}"
    );
    assert!(shown.contains("Last events") && shown.contains("opened"), "{shown}");
    assert_eq!((world.call_counts(), asked()), (String::new(), before), "looking calls nobody");

    eg.press("e");
    eg.shows_text("✓ Session extended — new expiry: ");
    assert_ne!(get(&world.here, &first)["expiresAt"], until);

    // What another process records is seen.
    let second = start_id(&world.here, &["--only", "dev", "--duration", "2h"]);
    let (newest, oldest) = (second.clone(), first.clone());
    eg.shows(|screen| screen.contains(&newest[..8]) && marked(screen, &oldest));
    eg.press("\u{1b}[A");
    eg.shows(|screen| marked(screen, &second));
    eg.press("x");
    eg.shows_text(&format!("Stop session {}? y/n", &second[..8]));
    eg.press("n");
    eg.shows_text("x stop");
    assert_eq!(get(&world.here, &second)["status"], "ACTIVE", "no is no");
    eg.press("x");
    eg.shows_text("? y/n");
    eg.press("y");
    eg.shows(|screen| screen.contains("✓ Session stopped") && marked(screen, &first));
    assert_eq!(get(&world.here, &second)["status"], "CANCELLED");
    assert_eq!(get(&world.here, &first)["status"], "ACTIVE");

    eg.press("q");
    let left = eg.wait();
    assert_eq!((left.code, left.cooked), (Some(0), true));
    assert!(!left.screen.alternate_screen() && !left.screen.hide_cursor());
    assert_eq!(left.screen.contents(), "", "nothing of it stays");
}

#[test]
fn what_is_refused_is_said_on_the_board() {
    let world = World::new();
    start_id(&world.here, &["--only", "dev", "--duration", "24h"]);
    let mut eg = board(&world, 24, 80);
    eg.shows_text("x stop");
    eg.press("e");
    let told = |screen: &str| screen.contains("it cannot be extended") && screen.contains("hint: ");
    let shown = eg.shows(|screen| told(screen) && drawn(screen)).contents();
    assert!(shown.contains("error: session ") && shown.contains("hint: the limit is max_duration"), "{shown}");
    eg.press("\u{3}");
    assert_eq!(eg.wait().code, Some(0), "Ctrl-C leaves");
}

#[test]
fn what_is_under_way_is_carried_to_its_end() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "dev"]);
    world.faults(&[Fault::hold("RevokeSecurityGroupIngress")]);
    let mut eg = board(&world, 24, 80);
    eg.shows_text("x stop");
    eg.press("x");
    eg.shows_text("? y/n");
    eg.press("y");
    eg.shows_text("Stopping session ");
    eg.press("q");
    eg.shows_text("Waiting for what is under way");
    world.faults(&[]);
    let left = eg.wait();
    assert_eq!((left.code, left.cooked), (Some(0), true), "{}", left.screen.contents());
    assert!(left.screen.contents().contains("✓ Session stopped"), "{}", left.screen.contents());
    assert_eq!(get(&world.here, &id)["status"], "CANCELLED");
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    let world = World::new();
    start_id(&world.here, &["--only", "dev"]);
    for (signal, code) in [("TERM", 0), ("INT", 0), ("HUP", 129)] {
        let eg = board(&world, 24, 80);
        eg.shows_text("x stop");
        eg.signal(signal);
        let left = eg.wait();
        assert_eq!((left.code, left.cooked), (Some(code), true), "{signal}");
        assert!(!left.screen.alternate_screen() && !left.screen.hide_cursor(), "{signal}");
    }
    let command = world.here.command(&["status", "--watch"]).env("TERM", "xterm").env("EG_TEST_PANIC_AT", "0");
    let mut eg = command.on_terminal(24, 80);
    eg.shows_text("x stop");
    eg.press("e");
    let left = eg.wait();
    assert_eq!((left.code, left.cooked), (Some(1), true));
    assert!(!left.screen.alternate_screen() && !left.screen.hide_cursor());
    let said = left.screen.contents();
    assert!(said.contains("panicked") && said.contains("error: what was asked for did not come to its end"), "{said}");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let world = World::new();
    start_id(&world.here, &["--only", "dev"]);
    for (args, env, colored) in [
        (&["status", "--watch"][..], ("TERM", "xterm"), true),
        (&["status", "--watch"], ("NO_COLOR", "1"), false),
        (&["status", "--watch", "--color", "never"], ("TERM", "xterm"), false),
        (&["status", "--watch", "--color", "always"], ("NO_COLOR", "1"), true),
    ] {
        let command = world.here.command(args).env("TERM", "xterm").env(env.0, env.1);
        let mut eg = command.on_terminal(24, 80);
        let screen = eg.shows_text("ACTIVE");
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let painted = cells
            .filter_map(|(row, column)| screen.cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default);
        assert_eq!(painted, colored, "{args:?} {env:?}");
        eg.press("q");
        assert_eq!(eg.wait().code, Some(0));
    }
}

#[test]
fn where_nothing_can_be_drawn_it_says_what_to_use() {
    let world = World::new();
    let piped = world.eg(&["status", "--watch"]).expect_code(2);
    assert_eq!(
        piped.stderr,
        "error: --watch needs an interactive terminal\n\
         hint: for the state as it is now: eg status\n\
         hint: a program that waits for changes uses: eg reconcile --watch --output json\n"
    );
    let json = world.eg(&["status", "--watch", "--output", "json"]).expect_code(2);
    assert_eq!(json.stdout, "");
    assert_eq!(json.json_lines()[0]["error"]["kind"], "usage");
    let eg = world.here.command(&["status", "--watch"]).env("TERM", "dumb").on_terminal(24, 80);
    let left = eg.wait();
    assert_eq!(left.code, Some(2));
    assert!(left.screen.contents().contains("needs an interactive terminal"), "{}", left.screen.contents());
    assert!(!world.here.state_path().exists(), "looking makes nothing");
}

#[test]
fn it_waits_for_the_first_session() {
    let world = World::new();
    let mut eg = board(&world, 24, 80);
    eg.shows_text("Nothing is open. Open something with: eg session start");
    let id = start_id(&world.here, &["--only", "dev"]);
    eg.shows(|screen| marked(screen, &id));
    eg.press("\u{1b}");
    assert_eq!(eg.wait().code, Some(0), "Esc leaves");
}
