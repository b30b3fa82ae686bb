//! The schema that the migrations make: made, brought up to date, and compared.

use crate::{error::StateError, migrations::STEPS};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::PathBuf};

/// In the file's header (offset 68): "eg" and a number that marks this kind of file. Never changes.
pub(crate) const APPLICATION_ID: u32 = 0x6567_5331; // "egS1"

/// The number of migrations; `user_version` of a database that has them all.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// Brings an opened database to [`VERSION`]. Constraints are off meanwhile: SQLite adds no column that refers to another
/// table while they are checked, and a row that breaks one is damaged, which is no reason to migrate none.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StateError> {
    let checked = |connection: &Connection, on: bool| {
        connection.pragma_update(None, "foreign_keys", on)?;
        connection.pragma_update(None, "ignore_check_constraints", !on)
    };
    checked(connection, false)?;
    let steps = STEPS.iter().map(|sql| M::up(sql)).collect();
    let migrated = Migrations::new(steps).to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        other => StateError::Migration { path: PathBuf::new(), detail: other.to_string() },
    });
    checked(connection, true)?;
    migrated
}

/// The parts of a schema: type and name, and the SQL.
type Parts = BTreeMap<(String, String), String>;

/// The digest of the schema that the migrations make. A test computes it anew.
const DIGEST: &str = "bb35569ade60e995075901270aece0b2b51bf0901584403f6839c27f8cb714be";

fn digest(parts: &Parts) -> String {
    let mut text = Sha256::new();
    for ((kind, name), sql) in parts {
        text.update(format!("{kind} {name}: {sql}\n"));
    }
    text.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares the schema with the one that this program makes. A missing trigger lets an ended session live again, and a
/// foreign one could change anything.
pub(crate) fn check(connection: &Connection) -> Result<(), StateError> {
    if digest(&parts(connection)?) == DIGEST { Ok(()) } else { tell_other(connection) }
}

/// Names a part that differs. To make the schema for that takes milliseconds.
fn tell_other(connection: &Connection) -> Result<(), StateError> {
    let mut ours = Connection::open_in_memory()?;
    migrate(&mut ours)?;
    let (ours, found) = (parts(&ours)?, parts(connection)?);
    let differs = |part: &&(String, String)| ours.get(*part) != found.get(*part);
    match ours.keys().chain(found.keys()).find(differs) {
        None => Ok(()),
        Some(part) => {
            let how = match (ours.contains_key(part), found.contains_key(part)) {
                (true, false) => "is missing",
                (false, _) => "is not one of eg's",
                (true, true) => "is another one",
            };
            Err(StateError::OtherSchema { path: PathBuf::new(), what: format!("{} {} {how}", part.0, part.1) })
        }
    }
}

/// SQLite's own tables and indexes follow from the others.
fn parts(connection: &Connection) -> Result<Parts, StateError> {
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql)?;
    let part = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), plain(&row.get::<_, String>(2)?)));
    let parts = statement.query_map([], part)?.collect::<Result<Parts, _>>()?;
    Ok(parts)
}

/// SQL without comments and with single blanks, so that the comments of a migration can be reworded.
fn plain(sql: &str) -> String {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, Store, Watch, events::target_text};
    use eg_model::{
        ids::InstallationId,
        target::{OtherServices, Route, Target, TargetKey},
    };
    use serde_json::json;
    use std::path::Path;

    const ID: &str = "00000000-0000-0000-0000-000000000001";

    /// A database of version `version` in which a grant, two leases and an expiry schedule have routes.
    fn database(path: &Path, version: usize) {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        let steps = |version: usize| Migrations::new(STEPS[..version].iter().map(|sql| M::up(sql)).collect());
        // A record of a later version is one of version 5, brought up to it.
        steps(version.min(5)).to_latest(&mut connection).unwrap();
        let sql = format!(
            "PRAGMA ignore_check_constraints = ON;
             INSERT INTO meta VALUES ('installation', '{}');
             INSERT INTO targets (id, provider, kind, region, name) VALUES (1, 'aws', 'security-group', 'r', 'sg-1');
             INSERT INTO sessions (id, user_name, status, started_at, expires_at) VALUES ('{ID}', 'a', 'ACTIVE', 0, 9);
             INSERT INTO grants (id, session, position, resource_name, address, status, target, account, profile)
               VALUES ('{ID}', '{ID}', 0, 'a', '203.0.113.1', 'APPLIED', 1, '123', 'p');
             INSERT INTO grant_permissions VALUES ('{ID}', 'tcp|22|22|203.0.113.1/32', 'own', 'sgr-1');
             INSERT INTO leases (target, permission, account, profile, phase, shared, rule_id, version, refusals,
                                 vanished, created_at)
               VALUES (1, 'tcp|22|22|203.0.113.1/32', '123', 'p', 'held', 0, 'sgr-1', 3, 0, 0, 0),
                      (1, 'tcp|23|23|203.0.113.1/32', NULL, NULL, 'open', 0, NULL, 3, 0, 0, 0);
             INSERT INTO sessions (id, user_name, status, started_at, expires_at, ended_at, ended_reason)
               SELECT printf('%036d', value), 'a', 'EXPIRED', 0, 9, 9, 'EXPIRED' FROM json_each('[2, 3, 4]');
             INSERT INTO events (at, target, permission, rule_id, kind, outcome)
               SELECT value ->> 0, value ->> 1, 'tcp|22|22|203.0.113.1/32', value ->> 2, value ->> 3, ''
               FROM json_each('[[1, TARGET, \"sgr-1\", \"authorized\"], [2, TARGET, \"sgr-2\", \"authorized\"],
                 [3, TARGET, \"sgr-2\", \"revoked\"], [3, TARGET, \"sgr-2\", \"lease-adopted\"],
                 [5, null, \"sgr-3\", \"joined\"], [4, null, \"sgr-3\", \"revoked\"],
                 [6, \"damaged\", \"sgr-4\", \"joined\"], [7, TARGET, null, \"joined\"]]');
             UPDATE sqlite_sequence SET seq = 7 WHERE name = 'leases';",
            InstallationId::from_uuid(uuid::Uuid::from_u128(7)).as_str()
        );
        let key = json!(target_text(&TargetKey::new("aws", "security-group", "r", "sg-1"))).to_string();
        connection.execute_batch(&sql.replace("TARGET", &key)).unwrap();
        if version >= 4 {
            let sql = "INSERT INTO switches (rule_id, target, permission, account, role_arn, switch_role, switch_group,
                                             fires_at, confirmed, version, refusals)
                       VALUES ('sgr-1', 1, 'tcp|22|22|203.0.113.1/32', '123', 'arn', 'closer', 'default', 9, 1, 1, 0)";
            connection.execute_batch(sql).unwrap();
        }
        if version >= 5 {
            connection.execute_batch("UPDATE grants SET services_endpoint = ''").unwrap();
        }
        steps(version).to_latest(&mut connection).unwrap();
    }

    fn counts(connection: &Connection) -> Vec<(String, i64)> {
        let mut statement = connection.prepare("SELECT * FROM session_counts WHERE sessions > 0").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The counters follow every way that a session can go.
    #[test]
    fn sessions_are_counted_by_status() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let sql = "INSERT INTO sessions (id, user_name, status, started_at, expires_at)
                   SELECT printf('%036d', value), 'a', 'PENDING', 0, 9 FROM json_each('[1, 2, 3, 4]');
                   UPDATE sessions SET status = 'ACTIVE' WHERE number < 4;
                   UPDATE sessions SET status = 'EXPIRED', ended_at = 9, ended_reason = 'EXPIRED' WHERE number < 3;
                   UPDATE sessions SET status = status;
                   DELETE FROM sessions WHERE number = 1";
        connection.execute_batch(sql).unwrap();
        let expected = [("ACTIVE", 1), ("EXPIRED", 1), ("PENDING", 1)].map(|(status, many)| (status.to_owned(), many));
        assert_eq!(counts(&connection), expected);
    }

    fn open(path: &Path) -> Store {
        let new_installation = InstallationId::from_uuid(uuid::Uuid::from_u128(8));
        let now = chrono::DateTime::UNIX_EPOCH;
        let opening = OpenOptions { path, machine: None, new_installation, now, watch: Watch::default() };
        Store::open(&opening).unwrap().0
    }

    #[test]
    fn the_digest_is_that_of_the_migrations() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(digest(&parts(&connection).unwrap()), DIGEST, "what DIGEST must be is on the left");
        tell_other(&connection).unwrap();
        connection.execute_batch("DROP TRIGGER sessions_latch").unwrap();
        let error = check(&connection).unwrap_err().to_string();
        assert!(error.contains("trigger sessions_latch is missing"), "{error}");
    }

    /// Every version's record means the same after the later steps.
    #[test]
    fn a_database_of_every_older_version_is_brought_up_to_date() {
        let root = tempfile::tempdir().unwrap();
        for version in 1..STEPS.len() {
            let path = root.path().join(format!("{version}.db"));
            database(&path, version);
            let store = open(&path);
            let session = store.live_sessions().unwrap().remove(0);
            assert!(!session.follow && session.followed_name.is_none());
            assert_eq!(store.sightings(session.id).unwrap(), BTreeMap::new());
            let by_profile = |other_services| Route {
                account: Some("123".into()),
                profile: Some("p".into()),
                other_services,
                ..Route::default()
            };
            let services = if version < 5 { OtherServices::WithTarget } else { OtherServices::ByThemselves };
            let grant = &session.grants[0];
            assert_eq!((grant.permissions.len(), &grant.target.route), (1, &by_profile(services)), "{version}");
            let leases = store.open_leases().unwrap();
            assert_eq!(leases.len(), 1);
            assert_eq!((leases[0].version, &leases[0].target.route), (3, &by_profile(OtherServices::WithTarget)));
            let damaged = store.unreadable_leases().unwrap();
            assert_eq!(damaged, [Target::new(grant.target.key.clone())].into(), "its phase is no reason to refuse all");
            let auto_closes = store.auto_closes().unwrap();
            assert_eq!(auto_closes.len(), usize::from(version >= 4));
            for auto_close in auto_closes {
                let (account, role_arn) = (Some("123".into()), Some("arn".into()));
                assert_eq!(auto_close.target.route, Route { account, role_arn, ..Route::default() });
                assert_eq!((&*auto_close.way.role_arn, &*auto_close.way.group), ("closer", "default"));
            }
            let connection = Connection::open(&path).unwrap();
            let opened: Vec<_> =
                store.opened_rules(chrono::DateTime::UNIX_EPOCH).unwrap().into_keys().map(|rule| rule.0).collect();
            assert_eq!(opened, ["sgr-1", "sgr-4"]);
            let late = store.opened_rules(chrono::DateTime::from_timestamp(5, 0).unwrap()).unwrap();
            assert_eq!(late.into_keys().map(|rule| rule.0).collect::<Vec<_>>(), ["sgr-3", "sgr-4"]);
            let on = store.opened_on(&grant.target.key, &leases[0].permission, chrono::DateTime::UNIX_EPOCH).unwrap();
            assert_eq!(on.into_keys().map(|rule| rule.0).collect::<Vec<_>>(), ["sgr-1"]);
            assert_eq!(counts(&connection), [("ACTIVE".to_owned(), 1), ("EXPIRED".to_owned(), 3)]);
            let routes = |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM routes", [], |row| row.get::<_, i64>(0)).unwrap()
            };
            // Each once: by profile, by the standard chain; in later versions by the role, and the other services.
            let expected = 2 + i64::from(version >= 4) + i64::from(version >= 5);
            assert_eq!(routes(&connection), expected, "{version}");
            let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'leases'";
            let last: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(last, 7, "a lease's number is never used twice");
            connection.execute("DELETE FROM leases", []).unwrap();
            connection.execute("DELETE FROM auto_closes", []).unwrap();
            let mut store = store;
            store.prune(chrono::DateTime::UNIX_EPOCH).unwrap();
            assert_eq!(routes(&connection), 1, "only the grant's is left");
        }
    }
}
