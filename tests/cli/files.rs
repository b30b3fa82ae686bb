//! `[defaults]` and `include`.

use crate::{
    cli::session::{error_of, start, start_id},
    harness::{REGION, World},
};
use std::fs;

fn bare(name: &str, id: &str) -> String {
    format!("[[resource]]\nname = \"{name}\"\nid = \"{id}\"\n")
}

/// A main file with defaults that includes one for a team.
fn two_files(world: &World) -> (String, String) {
    let defaults = format!("[defaults]\nregion = \"{REGION}\"\nports = [\"tcp/22\"]\n\n");
    let main = "include = [\"team/db.toml\"]\n".to_owned()
        + &world.config_head()
        + &defaults
        + &bare("api", world.group("prod-api-sg"));
    let team = "[defaults]\nports = [\"tcp/5432\"]\n".to_owned() + &bare("db", world.group("prod-db-sg"));
    world.write_config(&main);
    let path = world.here.config_path().with_file_name("team");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("db.toml"), &team).unwrap();
    (main, team)
}

#[test]
fn a_session_on_two_files() {
    let world = World::new();
    two_files(&world);
    start(&world.here, &[]);
    let ports = |name: &str| world.cloud.rules(world.group(name)).iter().map(|rule| rule.ports.0).collect::<Vec<_>>();
    assert_eq!((ports("prod-api-sg"), ports("prod-db-sg")), (vec![22], vec![5432]));
    let rows = world.eg(&["resource", "list", "--output", "json"]).expect_code(0).json_as("resources");
    assert!(rows[1]["file"].as_str().unwrap().ends_with("/team/db.toml"), "{rows:#}");
    let table = world.eg(&["resource", "list"]).expect_code(0);
    assert!(table.stdout.contains("tcp/5432"), "{table}");
}

#[test]
fn a_resource_goes_from_the_file_it_stands_in() {
    let world = World::new();
    let (main, _) = two_files(&world);
    let removed = world.eg(&["resource", "remove", "db"]).expect_code(0);
    assert!(removed.stdout.ends_with("/team/db.toml\n"), "{removed}");
    let team = world.here.config_path().with_file_name("team").join("db.toml");
    assert_eq!(fs::read_to_string(team).unwrap(), "[defaults]\nports = [\"tcp/5432\"]\n");
    assert_eq!(fs::read_to_string(world.here.config_path()).unwrap(), main);
    // The defaults count for what is added.
    world.eg(&["resource", "add", "db", "--id", world.group("prod-db-sg")]).expect_code(0);
    let text = fs::read_to_string(world.here.config_path()).unwrap();
    assert_eq!(text, main + "\n" + &bare("db", world.group("prod-db-sg")));
}

#[test]
fn mistakes_name_their_file() {
    let world = World::new();
    two_files(&world);
    let team = world.here.config_path().with_file_name("team").join("db.toml");
    let id = start_id(&world.here, &[]);
    for (text, expected) in [
        ("[user]\nname = \"a\"\n", "db.toml:1:2: an included file has no key \"user\""),
        ("include = [\"db.toml\"]\n", "db.toml:1:12: "),
        ("include = [\"../config.toml\"]\n", "/config.toml includes itself: "),
        ("\n\n[[resource]]\nname = \"api\"\nid = \"sg-0123456789abcdef0\"\n", "; the other is "),
        ("[[resource]]\nname = \"x\"\nid = \"sg-x\"\n", "db.toml:3:6: \"sg-x\" is not the id of a security group"),
    ] {
        fs::write(&team, text).unwrap();
        let outcome = world.eg(&["session", "start", "--no-wait"]).expect_code(1);
        assert!(error_of(&outcome).contains(expected), "{expected}\n{outcome}");
    }
    fs::remove_file(&team).unwrap();
    let outcome = world.eg(&["session", "start", "--no-wait"]).expect_code(1);
    assert!(error_of(&outcome).contains("config.toml:1:12: "), "{outcome}");
    assert!(error_of(&outcome).contains("/team/db.toml cannot be read: there is no such file"), "{outcome}");
    // What is open is closed all the same.
    let stopped = world.eg(&["session", "stop", &id]).expect_code(1);
    assert!(stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    assert_eq!(world.cloud.rules(world.group("prod-db-sg")), []);
}
