//! What a damaged record says: nothing is opened for it, and everything else goes on.

use super::*;
use rusqlite::Connection;

const DB: &str = "prod-db-sg";

/// Changes the record by hand, past its own checks.
fn tamper(world: &World, sql: &str) {
    let connection = Connection::open(world.here.state_path()).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(sql).unwrap();
}

/// A row of a session that is on record only.
fn waits(world: &World, name: &str) -> String {
    let outcome = begin(&world.here, &["--only", name, "--no-wait"]).expect_code(0);
    id_of(&outcome)
}

/// One session that is due, and one that is as it should be; both are carried out whatever a third one says.
struct Others {
    before: String,
    due: String,
    fine: String,
}

impl Others {
    fn of(world: &World) -> Self {
        let before = bystanders(world);
        let due = start(&world.here, &["--only", API, "--duration", "1h"]);
        world.advance(HOUR + 1);
        let fine = waits(world, "dev-web-sg");
        Self { before, due, fine }
    }

    #[track_caller]
    fn are_carried_out(&self, world: &World, told: &Outcome) {
        assert_eq!(status(&world.here, &self.due), "EXPIRED", "{told}");
        assert_eq!(status(&world.here, &self.fine), "ACTIVE", "{told}");
        assert_eq!(ours(&world.cloud, world.group(API)), [], "{told}");
        assert_eq!(ours(&world.cloud, world.group(DB)), [], "nothing is opened for the damaged one\n{told}");
        assert_eq!(ours(&world.cloud, world.group("dev-web-sg")).len(), 3, "{told}");
        stop(&world.here, &self.fine).expect_code(0);
        assert_eq!(world.cloud.snapshot(), self.before);
    }
}

/// Wider than any configuration can ask for, another address, ports that there are not, for longer than any session lasts.
#[test]
fn a_pass_opens_nothing_that_eg_cannot_have_recorded() {
    let permission = |text: &str| format!("UPDATE grant_permissions SET permission = '{text}' WHERE grant_id IN");
    let grants = "(SELECT id FROM grants WHERE session = 'ID')";
    for (sql, why) in [
        (permission("tcp|0|65535|0.0.0.0/0") + grants, "0.0.0.0/0 is wider than /24"),
        (permission("tcp|5432|5432|203.0.112.0/23") + grants, "203.0.112.0/23 is wider than /24"),
        (permission("tcp|5432|5432|198.51.100.66/32") + grants, "198.51.100.66/32 does not hold 203.0.113.42"),
        (permission("tcp|5433|5432|203.0.113.42/32") + grants, "is no port that a configuration can name"),
        ("UPDATE sessions SET expires_at = started_at + 2678460 WHERE id = 'ID'".to_owned(), "it lasts longer than 31d"),
        (
            "UPDATE sessions SET started_at = started_at + 99999999, expires_at = expires_at + 99999999 WHERE id = 'ID'"
                .to_owned(),
            "it ends more than 31d from now",
        ),
    ] {
        let world = World::new();
        let others = Others::of(&world);
        let id = waits(&world, DB);
        tamper(&world, &sql.replace("ID", &id));
        let told = pass(&world.here, 1);
        says(&told, &format!("warning: the record of session {} on {DB} is damaged: ", &id[..8]));
        says(&told, why);
        says(&told, "nothing is opened for it");
        assert_eq!(status(&world.here, &id), "FAILED");
        let shown = get(&world.here, &id)["resourceIps"][0]["errorMessage"].as_str().unwrap().to_owned();
        assert!(shown.contains("the record is damaged: ") && shown.contains(why), "{shown}");
        others.are_carried_out(&world, &told);
        assert_eq!(status(&world.here, &id), "FAILED");
        stop(&world.here, &id).expect_code(0);
        assert_eq!(status(&world.here, &id), "CANCELLED");
    }
}

/// What was open when the row was changed is known by its id.
#[test]
fn the_rule_of_a_damaged_session_is_closed() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    tamper(&world, "UPDATE grant_permissions SET permission = 'tcp|22|22|0.0.0.0/0'");
    let told = pass(&world.here, 1);
    says(&told, "0.0.0.0/0 is wider than /24");
    assert_eq!(world.cloud.snapshot(), before, "and no wider one is opened");
    assert_eq!(status(&world.here, &id), "FAILED");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The machine's policy binds what a pass opens, and not only what `start` records.
#[test]
fn a_pass_opens_nothing_that_the_policy_does_not_allow() {
    for (sql, why) in [
        (
            "UPDATE sessions SET expires_at = started_at + 2160000 WHERE id = 'ID'",
            "max_duration: 8h at most is allowed; 25d is asked for",
        ),
        (
            "UPDATE grant_permissions SET permission = 'tcp|23|23|203.0.113.42/32' WHERE grant_id IN (SELECT id FROM grants WHERE session = 'ID')",
            "ports: tcp/22, tcp/443, tcp/5432, tcp/8000-8080 alone are allowed; tcp/23 of prod-db-sg is asked for",
        ),
        (
            "UPDATE grant_permissions SET permission = 'tcp|5432|5432|203.0.113.0/24' WHERE grant_id IN (SELECT id FROM grants WHERE session = 'ID')",
            "min_ipv4_prefix_len: /32 or longer is allowed; /24 is asked for",
        ),
        (
            "UPDATE sessions SET reason = 'fun' WHERE id = 'ID'",
            "reason_pattern: a --reason that matches INC-[0-9]+ as a whole is needed; \"fun\" is given",
        ),
    ] {
        let world = World::new();
        let policy = world.dir().join("etc/policy.toml");
        fs::create_dir_all(policy.parent().unwrap()).unwrap();
        let text = "max_duration = \"8h\"\nports = [\"tcp/22\", \"tcp/443\", \"tcp/5432\", \"tcp/8000-8080\"]\n\
                    min_ipv4_prefix_len = 32\nreason_pattern = \"INC-[0-9]+\"\n";
        fs::write(&policy, text).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&policy).unwrap()).to_string();
        let bound = |args: &[&str]| {
            let command = world.here.command(args).env("EG_TEST_POLICY", &policy);
            command.env("EG_TEST_POLICY_OWNER", &owner).run()
        };
        let before = bystanders(&world);
        let start = |only: &str, more: &[&str]| {
            let args = [&["--output", "json", "session", "start", "--reason", "INC-1", "--only", only], more].concat();
            id_of(&bound(&args).expect_code(0))
        };
        let due = start(API, &["--duration", "1h"]);
        world.advance(HOUR + 1);
        let fine = start("dev-web-sg", &["--no-wait"]);
        // Of two that want the same, one may have it.
        let short = start(API, &["--no-wait"]);
        let long = start(API, &["--no-wait"]);
        let id = start(DB, &["--no-wait"]);
        tamper(&world, &sql.replace("ID", &id));
        tamper(&world, &format!("UPDATE sessions SET expires_at = started_at + 2160000 WHERE id = '{long}'"));
        let told = bound(&["reconcile"]).expect_code(1);
        says(&told, &format!("session {} on {DB}: ", &id[..8]));
        says(&told, &format!("not allowed on this machine: {}: {why}", policy.display()));
        says(&told, "the machine's administrator has set that; see: eg doctor");
        assert_eq!((status(&world.here, &id), status(&world.here, &due)), ("FAILED".to_owned(), "EXPIRED".to_owned()));
        assert_eq!(
            (status(&world.here, &fine), status(&world.here, &short)),
            ("ACTIVE".to_owned(), "ACTIVE".to_owned())
        );
        assert_eq!(ours(&world.cloud, world.group(DB)), [], "{told}");
        let until = leases(&our_rule(&world, API)).remove(0).1;
        assert_eq!(until, get(&world.here, &short)["expiresAt"].as_str().unwrap(), "for as long as is allowed");
        // Without the policy it is opened.
        world.advance(20 * MINUTE);
        pass(&world.here, 0);
        assert_eq!(ours(&world.cloud, world.group(DB)).len(), 1);
        bound(&["session", "stop", "--all"]).expect_code(0);
        assert_eq!(world.cloud.snapshot(), before);
    }
}

/// A row that does not parse ends neither a pass nor a list.
#[test]
fn one_bad_row_ends_nothing() {
    for (sql, table) in [
        ("UPDATE sessions SET expires_at = 9000000000000000000 WHERE id = 'ID'", "sessions"),
        ("UPDATE sessions SET user_name = CAST(x'ff' AS TEXT) WHERE id = 'ID'", "sessions"),
        ("UPDATE grants SET address = 'home' WHERE session = 'ID'", "grants"),
        ("DELETE FROM grants WHERE session = 'ID'", "sessions"),
        (
            "UPDATE grant_permissions SET permission = 'ssh' WHERE grant_id IN (SELECT id FROM grants WHERE session = 'ID')",
            "grant_permissions",
        ),
        ("INSERT INTO callers VALUES ('ID', CAST(x'ff' AS TEXT))", "callers"),
        (
            "INSERT INTO leases (target, route, permission, phase, shared, version, refusals, vanished, created_at) \
             SELECT t.id, r.id, 'tcp|5432|5432|203.0.113.42/32', 'open', 0, 0, 0, 0, 0 FROM targets t, routes r \
             WHERE t.name = 'GROUP' LIMIT 1",
            "leases",
        ),
        (
            "INSERT INTO auto_closes SELECT 'sgr-1', t.id, r.id, 'ssh', 'r', 'g', 9999999999, 1, 0, 0, NULL, NULL FROM targets t, routes r LIMIT 1",
            "auto_closes",
        ),
        ("UPDATE targets SET missing_since = 9000000000000000000 WHERE name = 'GROUP'", "targets"),
        ("INSERT INTO opened_rules (rule_id, permission, at) VALUES ('sgr-1', 'ssh', 9999999999)", "opened_rules"),
    ] {
        let world = World::new();
        let others = Others::of(&world);
        let id = waits(&world, DB);
        tamper(&world, &sql.replace("ID", &id).replace("GROUP", world.group(DB)));
        let opens = matches!(table, "callers" | "auto_closes" | "targets" | "opened_rules");
        let told = reconcile(&world.here);
        assert!([Some(1), Some(3)].contains(&told.code()), "{sql}: {told}");
        says(&told, &format!("table {table}, row "));
        says(&told, "restore a backup of it");
        let list = world.eg(&["session", "list"]);
        for shown in [&others.due, &others.fine] {
            says(&list, &shown[..8]);
        }
        if !matches!(table, "auto_closes" | "targets" | "opened_rules") {
            assert_eq!(list.code(), Some(1), "{sql}: {list}");
            says(&list, &format!("table {table}, row "));
        }
        let status = world.eg(&["status"]);
        says(&status, &others.fine[..8]);
        world.eg(&["log"]);
        if opens {
            stop(&world.here, &id);
        }
        others.are_carried_out(&world, &told);
    }
}

/// A lease that cannot be read may hold something: its session waits, and others on the same group go on.
#[test]
fn beside_a_damaged_lease_the_group_goes_on() {
    goes_on_beside("phase = 'open'");
}

/// The same where a column is not even text.
#[test]
fn beside_a_lease_that_is_not_text_the_group_goes_on() {
    goes_on_beside("rule_id = CAST(x'ff' AS TEXT)");
}

fn goes_on_beside(damage: &str) {
    let world = World::new();
    let before = bystanders(&world);
    let damaged = start(&world.here, &["--only", "dev-web-sg", "--port", "tcp/443", "--duration", "2h"]);
    let due = start(&world.here, &["--only", "dev-web-sg", "--port", "tcp/22", "--duration", "1h"]);
    tamper(&world, &format!("UPDATE leases SET {damage} WHERE permission LIKE 'tcp|443|%'"));
    world.advance(HOUR + 1);
    let next = waits(&world, "dev-web-sg");
    let told = pass(&world.here, 3);
    says(&told, "table leases, row ");
    let ports: Vec<_> = ours(&world.cloud, world.group("dev-web-sg")).iter().map(|rule| rule.ports).collect();
    assert_eq!(ports.iter().filter(|ports| **ports == (443, 443)).count(), 1, "left as it is: {ports:?}");
    assert!(ports.contains(&(22, 22)) && ports.contains(&(8000, 8080)), "{ports:?}");
    assert_ne!(status(&world.here, &due), "ACTIVE");
    stop(&world.here, &next).expect_code(3);
    stop(&world.here, &damaged).expect_code(3);
    assert_eq!(status(&world.here, &damaged), "EXPIRING", "what it holds is not known");
    assert_eq!(world.cloud.snapshot(), before, "by the id that the record says was opened");
    tamper(&world, "DELETE FROM leases WHERE permission LIKE 'tcp|443|%'");
    world.advance(SETTLED);
    pass(&world.here, 0);
    for id in [&damaged, &due, &next] {
        assert!(["EXPIRED", "CANCELLED"].contains(&status(&world.here, id).as_str()));
    }
}

/// Its own tag would keep it open for hours, nothing is to be collected, and its group is not in the configuration any more.
#[test]
fn what_a_damaged_lease_holds_is_closed_whatever_the_configuration_says() {
    for (stripped, expires) in [(false, false), (false, true), (true, false)] {
        let world = World::new();
        let before = bystanders(&world);
        let id = start(&world.here, &["--only", API, "--duration", "2h"]);
        let rule = our_rule(&world, API);
        tamper(&world, "UPDATE leases SET phase = 'open'");
        world.write_config("[reconcile]\ncollect_expired = false\n");
        if stripped {
            world.cloud.strip_tags(world.group(API), &rule.id);
        }
        let told = if expires {
            world.advance(2 * HOUR + 1);
            pass(&world.here, 3)
        } else {
            stop(&world.here, &id).expect_code(3)
        };
        says(&told, "table leases, row ");
        assert_eq!(world.cloud.snapshot(), before, "{told}");
        assert_eq!(status(&world.here, &id), "EXPIRING");
        // And there it rests, until the row is mended.
        world.forget_calls();
        pass(&world.here, 3);
        assert_eq!(changes(&world), Vec::<String>::new());
        tamper(&world, "DELETE FROM leases");
        world.advance(SETTLED);
        pass(&world.here, 0);
        assert!(["EXPIRED", "CANCELLED"].contains(&status(&world.here, &id).as_str()));
    }
}

/// Somebody else holds the rule, too.
#[test]
fn what_a_damaged_lease_shares_is_left_to_the_others() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "2h"]);
    let other = world.installation("other-machine");
    let theirs = start(&other, &["--only", API, "--duration", "3h"]);
    tamper(&world, "UPDATE leases SET phase = 'open'");
    stop(&world.here, &id).expect_code(3);
    pass(&world.here, 3);
    our_rule(&world, API);
    assert_eq!(status(&other, &theirs), "ACTIVE");
    // They leave it, and our own tag goes on: it is closed by its id.
    stop(&other, &theirs).expect_code(0);
    pass(&world.here, 3);
    assert_eq!(world.cloud.snapshot(), before);
}
