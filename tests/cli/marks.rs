//! Colours and marks: what the environment asks for.

use crate::harness::{World, eg::EgCommand};

fn listed(world: &World, variables: &[(&str, &str)]) -> String {
    with(world.here.command(&["session", "list"]), variables).run().expect_code(0).stdout
}

fn with(command: EgCommand, variables: &[(&str, &str)]) -> EgCommand {
    variables.iter().fold(command, |command, (name, value)| command.env(name, value))
}

#[test]
fn colours_as_other_programs_have_them() {
    let world = World::new();
    world.eg(&["session", "start", "--no-wait"]).expect_code(0);
    for (variables, colours) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("FORCE_COLOR", "1")], true),
        (&[("CLICOLOR_FORCE", "0")], false),
        (&[("CLICOLOR", "1")], false),
        (&[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
    ] {
        assert_eq!(listed(&world, variables).contains('\u{1b}'), colours, "{variables:?}");
    }
    let json = with(world.here.command(&["session", "list", "--output", "json"]), &[("CLICOLOR_FORCE", "1")]);
    json.run().expect_code(0).json_as("sessions");
    let help = with(world.here.command(&["--help"]), &[("CLICOLOR_FORCE", "1")]).run().expect_code(0);
    assert!(help.stdout.contains('\u{1b}'), "{help}");
}

#[test]
fn ascii_where_the_locale_is_not_utf8() {
    let world = World::new();
    let started = world.here.command(&["session", "start"]).env("LANG", "C").run().expect_code(0);
    assert!(started.stdout.starts_with("+ Session started\n"), "{started}");
    assert!(started.stderr.contains("> Starting session...\n"), "{started}");
    assert!(started.stdout.is_ascii() && started.stderr.is_ascii(), "{started}");
    let stopped = world.here.command(&["session", "stop"]).env("LC_ALL", "de_DE.ISO-8859-1").run().expect_code(0);
    assert!(stopped.stdout.contains("+ Session stopped\n"), "{stopped}");
    let nothing_set = world.here.command(&["session", "start", "--no-wait"]).without("LANG").run().expect_code(0);
    assert!(nothing_set.stdout.starts_with("✓ Session started\n"), "{nothing_set}");
}
