//! Profiles that a person logs in for, and files of the AWS CLI that are not there.

use super::schedule::Host;
use crate::{
    cli::session::{get, start_id},
    harness::{Moto, Outcome, World, eg::EgCommand},
};
use eg_model::ids::digest;
use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

const SESSION: &str = "arn:aws:iam::123456789012:user/alice";

/// A world whose resources use a profile of `aws login`; nobody has logged in yet.
fn world_of_logins() -> World {
    let world = World::new();
    let home = world.here.home().join(".aws");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("config"), format!("[profile work]\nlogin_session = {SESSION}\n")).unwrap();
    world.write_config(&world.default_config().replace("groups = [", "profile = \"work\"\ngroups = ["));
    world
}

/// What `aws login` leaves in its cache. Its credentials last longer than real ones: no test renews them.
fn log_in(world: &World, cache: &Path) {
    fs::create_dir_all(cache).unwrap();
    let key = Moto::access_key(world.account(), "LOGIN");
    // {"iat":4102444800}: 2100-01-01T00:00:00Z.
    let token = serde_json::json!({
        "accessToken": {
            "accessKeyId": key, "secretAccessKey": "testing", "sessionToken": "testing", "accountId": world.account(),
            "expiresAt": "2100-01-01T00:15:00Z",
        },
        "tokenType": "aws_sigv4", "refreshToken": "r", "clientId": "c", "dpopKey": "k",
        "idToken": "e30.eyJpYXQiOjQxMDI0NDQ4MDB9.x",
    });
    fs::write(cache.join(format!("{}.json", digest(SESSION))), token.to_string()).unwrap();
}

/// Without keys in the environment: they are not what is tested.
fn keyless(command: EgCommand) -> EgCommand {
    command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY")
}

fn eg(world: &World, args: &[&str]) -> Outcome {
    keyless(world.here.command(args)).run()
}

#[test]
fn a_profile_of_aws_login_opens_and_closes() {
    let world = world_of_logins();
    let before = world.cloud.snapshot();
    let start = ["session", "start", "--only", "dev"];
    let failed = eg(&world, &start).expect_code(1);
    assert!(failed.stderr.contains("run: aws login --profile work"), "{failed}");
    assert_eq!(world.cloud.snapshot(), before);

    log_in(&world, &world.here.home().join(".aws/login/cache"));
    eg(&world, &start).expect_code(0);
    assert!(world.calls().iter().any(|call| call.access_key == Moto::access_key(world.account(), "LOGIN")));
    let doctor = eg(&world, &["doctor"]);
    assert!(doctor.stdout.contains("until 2100-01-01 12:00:00"), "{doctor}");
    eg(&world, &["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// A login lasts twelve hours: what lasts longer nobody closes, unless somebody logs in again.
#[test]
fn a_session_that_outlives_its_login_is_warned_of() {
    let world = world_of_logins();
    log_in(&world, &world.here.home().join(".aws/login/cache"));
    // The clock of `eg` alone: the provider's, and the SDK's, are not asked.
    let begin: chrono::DateTime<chrono::Utc> = "2100-01-01T00:00:00Z".parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.advance(begin.timestamp() - i64::try_from(now).unwrap());
    let start = |hours: &str| eg(&world, &["session", "start", "--only", "dev", "--duration", hours]).expect_code(0);
    let warned = start("13h");
    let warning = "the credentials of profile work end at 2100-01-01 12:00:00 UTC, before the session does";
    assert!(warned.stderr.contains(warning), "{warned}");
    assert!(warned.stderr.contains("hint: log in again before then: aws login --profile work"), "{warned}");
    let fine = start("11h");
    assert!(!fine.stderr.contains("before the session does"), "{fine}");
}

/// cron has none of the shell's environment, and stands in another directory.
#[test]
fn the_scheduled_job_finds_the_login() {
    let world = world_of_logins();
    let before = world.cloud.snapshot();
    log_in(&world, &world.here.home().join("logins"));
    let host = Host::with_cron(&world);
    let command = |args: &[&str]| keyless(host.command(args)).env("AWS_LOGIN_CACHE_DIRECTORY", "logins");
    command(&["session", "start", "--only", "dev", "--duration", "5m"]).run().expect_code(0);
    let shown = command(&["schedule", "show", "--with", "cron"]).run().expect_code(0);
    let cache = format!("AWS_LOGIN_CACHE_DIRECTORY={}", world.here.home().join("logins").display());
    assert!(shown.stdout.contains(&cache), "{shown}");
    world.advance(301);
    let line = shown.stdout.lines().find_map(|line| line.strip_prefix("* * * * * ")).unwrap();
    let job = keyless(world.here.command(&[])).in_bash(&format!("cd / && {}", line.replace(r"\%", "%")));
    job.run().expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// As for the AWS CLI: a file that is not there is empty.
#[test]
fn files_of_profiles_that_are_not_there_are_empty() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let nowhere = |args: &[&str]| {
        let command = world.here.command(args).env("AWS_CONFIG_FILE", "/nowhere/config");
        command.env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials").run()
    };
    nowhere(&["session", "start"]).expect_code(0);
    nowhere(&["session", "stop"]).expect_code(0);
    nowhere(&["resource", "discover"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);

    // The other file has what there is, and the record knows the way back.
    world.here.write_profiles(&[("work", "WORK")]);
    world.write_config(&world.default_config().replace("groups = [", "profile = \"work\"\ngroups = ["));
    let command = world.here.command(&["session", "start", "--only", "dev"]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials").run().expect_code(0);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);

    // A home at the beginning is the user's.
    let id = {
        let command = world.here.command(&["--output", "json", "session", "start", "--only", "dev"]);
        let outcome = command.env("AWS_CONFIG_FILE", "~/.aws/config").run().expect_code(0);
        outcome.json_as("session")["id"].as_str().unwrap().to_owned()
    };
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(get(&world.here, &id)["status"], "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
    start_id(&world.here, &["--only", "dev"]);
}
