//! The files that decide what is opened and run: none of them keeps anything from being closed, and nobody else decides
//! what they say.

use super::*;
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap().success());
}

/// A file beside the configuration.
fn beside(world: &World, name: &str) -> PathBuf {
    world.here.config_path().with_file_name(name)
}

/// One session whose time is over, and one that goes on, whose rule somebody has taken away.
struct Due {
    world: World,
    before: String,
    short: String,
    long: String,
}

impl Due {
    fn new() -> Self {
        let world = World::new();
        let before = bystanders(&world);
        let short = start(&world.here, &["--only", API, "--duration", "1h"]);
        let long = start(&world.here, &["--only", "prod-db-sg"]);
        world.cloud.revoke(world.group("prod-db-sg"), &our_rule(&world, "prod-db-sg").id);
        world.advance(HOUR + 1);
        Self { world, before, short, long }
    }

    /// The first pass closes what is due and opens nothing, `start` refuses, and `stop` ends the other session.
    #[track_caller]
    fn closes(&self, why: &str) {
        self.closes_with(&[], why);
    }

    #[track_caller]
    fn closes_with(&self, global: &[&str], why: &str) {
        let run = |args: &[&str]| self.world.eg(&[global, args].concat());
        let told = run(&["reconcile"]).expect_code(1);
        says(&told, why);
        assert_eq!(self.world.cloud.snapshot(), self.before, "closed, and nothing is opened\n{told}");
        assert_eq!(status(&self.world.here, &self.short), "EXPIRED");
        says(&run(&["session", "start", "--only", API]).expect_code(1), why);
        let stopped = run(&["session", "stop", &self.long]).expect_code(1);
        says(&stopped, "✓ Session stopped");
        says(&stopped, why);
        assert_eq!(self.world.cloud.snapshot(), self.before);
    }

    fn include(&self, name: &str) -> PathBuf {
        self.world.write_config(&format!("include = [\"{name}\"]\n{}", self.world.default_config()));
        beside(&self.world, name)
    }
}

#[test]
fn a_named_pipe_among_the_includes_blocks_nothing() {
    let due = Due::new();
    fifo(&due.include("team.toml"));
    due.closes("team.toml cannot be read: it is a named pipe, not a regular file");
}

#[test]
fn a_file_without_an_end_is_not_read() {
    let due = Due::new();
    due.include("/dev/zero");
    due.closes("/dev/zero cannot be read: it is a device, not a regular file");
    let due = Due::new();
    fs::remove_file(due.world.here.config_path()).unwrap();
    symlink("/dev/zero", due.world.here.config_path()).unwrap();
    due.closes("config.toml cannot be read: it is a device, not a regular file");
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_not_read() {
    let due = Due::new();
    fs::File::create(due.include("team.toml")).unwrap().set_len((1 << 20) + 1).unwrap();
    due.closes("team.toml cannot be read: it is larger than 1 MiB");
}

#[test]
fn thousands_of_files_that_include_each_other_block_nothing() {
    let due = Due::new();
    due.include("1.toml");
    for number in 1..2_000 {
        let text = format!("include = [\"{}.toml\"]\n", number + 1);
        fs::write(beside(&due.world, &format!("{number}.toml")), text).unwrap();
    }
    fs::write(beside(&due.world, "2000.toml"), "").unwrap();
    due.closes("16.toml is too deep: files can include each other 16 levels deep");
}

/// What `--config` names may be a pipe; one that never delivers is given up after five seconds.
#[test]
fn a_pipe_that_never_delivers_blocks_nothing() {
    let due = Due::new();
    let pipe = beside(&due.world, "pipe");
    fifo(&pipe);
    due.closes_with(
        &["--config", pipe.to_str().unwrap()],
        "pipe cannot be read: it could not be read within 5 seconds",
    );
}

#[test]
fn what_a_command_writes_is_a_configuration() {
    let world = World::new();
    let before = bystanders(&world);
    let config = world.here.config_path();
    fs::rename(&config, beside(&world, "other.toml")).unwrap();
    let (eg, other) = (env!("CARGO_BIN_EXE_eg"), beside(&world, "other.toml"));
    let line = format!("'{eg}' --config <(cat '{}') session start --only {API}", other.display());
    world.here.command(&[]).in_bash(&line).run().expect_code(0);
    our_rule(&world, API);
    let line = format!("'{eg}' --config /dev/stdin session stop < '{}'", other.display());
    world.here.command(&[]).in_bash(&line).run().expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// With a `[detect]` of theirs, `start` would open to an address of theirs.
#[test]
fn what_others_can_write_decides_nothing() {
    let due = Due::new();
    let config = due.world.here.config_path();
    let directory = config.parent().unwrap().to_owned();
    let team = due.include("team.toml");
    fs::write(&team, "").unwrap();
    for (path, bad, good, who) in [
        (&config, 0o666, 0o600, "everybody"),
        (&config, 0o602, 0o644, "everybody"),
        (&directory, 0o757, 0o755, "everybody"),
        (&team, 0o606, 0o640, "everybody"),
    ] {
        mode(path, bad);
        let refused = begin(&due.world.here, &["--only", API]).expect_code(1);
        says(&refused, &format!("{} can be written by {who} (mode {bad:04o})", path.display()));
        let mend = format!("chmod go-w {}", path.display());
        assert_eq!(refused.json_lines().last().unwrap()["error"]["hints"][0], mend.as_str(), "{refused}");
        let doctor = due.world.eg(&["doctor"]).expect_code(1);
        says_not(&doctor, "✓ configuration");
        assert!(doctor.stdout.contains(&mend), "{doctor}");
        mode(path, good);
    }
    mode(&config, 0o666);
    due.closes(&format!("{} can be written by everybody (mode 0666)", config.display()));
    mode(&config, 0o600);
    start(&due.world.here, &["--only", API]);
}

/// In a sticky directory nobody else can take it away.
#[test]
fn a_configuration_in_a_directory_for_all_is_the_users() {
    let world = World::new();
    let shared = world.dir().join("shared");
    fs::create_dir(&shared).unwrap();
    let config = shared.join("config.toml");
    fs::write(&config, world.default_config()).unwrap();
    mode(&config, 0o600);
    let start = || world.eg(&["--config", config.to_str().unwrap(), "session", "start", "--only", API]);
    mode(&shared, 0o777);
    says(&start().expect_code(1), &format!("{} can be written by everybody (mode 0777)", shared.display()));
    mode(&shared, 0o1777);
    start().expect_code(0);
}

/// Only root can give a file away.
#[test]
fn what_belongs_to_others_decides_nothing() {
    let due = Due::new();
    let config = due.world.here.config_path();
    let user = fs::metadata(&config).unwrap().uid();
    if std::os::unix::fs::chown(&config, Some(user + 1), None).is_err() {
        return;
    }
    due.closes(&format!("{} belongs to user {}, not to you or root", config.display(), user + 1));
    let refused = begin(&due.world.here, &["--only", API]).expect_code(1);
    let hint = format!("chown {user} {}", config.display());
    assert_eq!(refused.json_lines().last().unwrap()["error"]["hints"][0], hint.as_str(), "{refused}");
    std::os::unix::fs::chown(&config, Some(user), None).unwrap();
    let link = beside(&due.world, "link.toml");
    symlink("config.toml", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(user + 1), None).unwrap();
    let refused = due.world.eg(&["--config", link.to_str().unwrap(), "session", "start", "--only", API]).expect_code(1);
    says(&refused, &format!("{} belongs to user {}, not to you or root", link.display(), user + 1));
}

/// What `eg` writes, it reads.
#[test]
fn a_configuration_that_eg_writes_is_one_that_it_reads() {
    let world = World::new();
    let config = world.here.config_path();
    fs::remove_dir_all(config.parent().unwrap()).unwrap();
    let add = |name: &str| {
        let group = world.group(API);
        let args = ["resource", "add", name, "--id", group, "--region", REGION, "--port", "tcp/22"];
        let line = format!("umask 000; '{}' {}", env!("CARGO_BIN_EXE_eg"), args.join(" "));
        world.here.command(&[]).in_bash(&line).run()
    };
    add("one").expect_code(0);
    add("two").expect_code(0);
    world.eg(&["resource", "remove", "one"]).expect_code(0);
    mode(&config, 0o666);
    let refused = add("three").expect_code(1);
    says(&refused, &format!("hint: chmod go-w {}", config.display()));
    mode(config.parent().unwrap(), 0o777);
    fs::remove_file(&config).unwrap();
    let refused = add("four").expect_code(1);
    says(&refused, &format!("hint: chmod go-w {}", config.parent().unwrap().display()));
    assert!(!config.exists(), "nothing was written");
}

/// To take the variable for one that is not set would use another record, and open what another configuration says.
#[test]
fn a_variable_that_is_not_utf_8_names_nothing_else() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let due = Due::new();
    let garbled = OsStr::from_bytes(b"/tmp/\xff/x");
    for args in [&["session", "list"][..], &["session", "start"], &["reconcile"], &["session", "stop"]] {
        let refused = due.world.here.command(args).env("EG_STATE", garbled).run().expect_code(1);
        says(&refused, "EG_STATE is not UTF-8, so it is not known where state.db is");
    }
    let start = due.world.here.command(&["session", "start"]).env("EG_CONFIG", garbled).run().expect_code(1);
    says(&start, "EG_CONFIG is not UTF-8, so it is not known where config.toml is");
    says(&start, "hint: set EG_CONFIG to a path that is UTF-8");
    let told = due.world.here.command(&["reconcile"]).env("EG_CONFIG", garbled).run().expect_code(1);
    says(&told, "EG_CONFIG is not UTF-8");
    assert_eq!(due.world.cloud.snapshot(), due.before, "closed, and nothing is opened");
    let state = due.world.here.state_path().to_string_lossy().into_owned();
    let named = due.world.here.command(&["--state", &state, "session", "list"]).env("EG_STATE", garbled).run();
    says(&named.expect_code(0), &due.short[..8]);
}
