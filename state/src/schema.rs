//! The schema, as append-only migrations: a step that was released is never edited, only followed by another.

use crate::{error::StateError, routes::route_key};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::PathBuf};

/// In the file's header (offset 68): "eg" and a number that marks this kind of file. Never changes.
pub(crate) const APPLICATION_ID: u32 = 0x6567_5331; // "egS1"

/// The number of migrations; `user_version` of a database that has them all.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

const STEPS: [&str; 7] = [STEP_1, NOTIFICATIONS, FOLLOW, SWITCHES, OTHER_SERVICES, ROUTES, HISTORY];

/// Times are whole seconds since 1970 in UTC; ids are hyphenated lower-case UUIDs.
const STEP_1: &str = r"
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
    id            INTEGER PRIMARY KEY,
    provider      TEXT NOT NULL,
    kind          TEXT NOT NULL,
    endpoint      TEXT,
    region        TEXT NOT NULL,
    name          TEXT NOT NULL,
    account       TEXT,
    partition     TEXT,
    missing_since INTEGER,
    closed_once   INTEGER NOT NULL DEFAULT 0 CHECK (closed_once IN (0, 1)),
    collected_at  INTEGER
) STRICT;
-- NULLs are distinct in a plain unique index.
CREATE UNIQUE INDEX targets_key ON targets (provider, kind, region, name, COALESCE(endpoint, ''));

-- The number tells which of two sessions that started in one second is the newer.
CREATE TABLE sessions (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    user_name    TEXT NOT NULL,
    user_email   TEXT,
    reason       TEXT,
    status       TEXT NOT NULL CHECK (status IN
                 ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED', 'EXPIRING', 'CANCELLED', 'EXPIRED')),
    started_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL CHECK (expires_at > started_at),
    ended_at     INTEGER,
    ended_reason TEXT CHECK (ended_reason IN ('MANUAL', 'EXPIRED')),
    CHECK ((ended_at IS NULL) = (ended_reason IS NULL)),
    CHECK ((ended_at IS NULL) = (status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED')))
) STRICT;
CREATE INDEX sessions_newest ON sessions (started_at DESC, number DESC);
CREATE INDEX sessions_status ON sessions (status, expires_at);
-- Ended is a latch.
CREATE TRIGGER sessions_latch BEFORE UPDATE OF status ON sessions
WHEN (OLD.status IN ('CANCELLED', 'EXPIRED') AND NEW.status <> OLD.status)
  OR (OLD.status = 'EXPIRING' AND NEW.status NOT IN ('EXPIRING', 'CANCELLED', 'EXPIRED'))
BEGIN SELECT RAISE(ABORT, 'an ended session never lives again'); END;

CREATE TABLE callers (
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    arn     TEXT NOT NULL,
    PRIMARY KEY (session, arn)
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    id               TEXT PRIMARY KEY CHECK (length(id) = 36),
    session          TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position         INTEGER NOT NULL CHECK (position >= 0),
    resource_name    TEXT NOT NULL,
    address          TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('PENDING', 'APPLIED', 'FAILED', 'REMOVING', 'REMOVED')),
    applied_at       INTEGER,
    removed_at       INTEGER,
    target           INTEGER NOT NULL REFERENCES targets (id),
    account          TEXT,
    partition        TEXT,
    profile          TEXT,
    role_arn         TEXT,
    external_id      TEXT,
    config_file      TEXT,
    credentials_file TEXT,
    UNIQUE (session, position),
    CHECK ((removed_at IS NULL) = (status <> 'REMOVED'))
) STRICT;
CREATE INDEX grants_target ON grants (target);
CREATE INDEX grants_removing ON grants (session) WHERE status = 'REMOVING';
CREATE TRIGGER grants_latch BEFORE UPDATE OF status ON grants
WHEN (OLD.status = 'REMOVED' AND NEW.status <> 'REMOVED')
  OR (OLD.status = 'REMOVING' AND NEW.status NOT IN ('REMOVING', 'REMOVED'))
BEGIN SELECT RAISE(ABORT, 'a grant that was let go never comes back'); END;

CREATE TABLE grant_permissions (
    grant_id   TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    permission TEXT NOT NULL,
    standing   TEXT NOT NULL CHECK (standing IN ('untried', 'own', 'shared', 'foreign', 'pending', 'failed')),
    detail     TEXT,
    PRIMARY KEY (grant_id, permission),
    CHECK ((detail IS NULL) = (standing = 'untried'))
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    target           INTEGER NOT NULL REFERENCES targets (id),
    permission       TEXT NOT NULL,
    account          TEXT,
    partition        TEXT,
    profile          TEXT,
    role_arn         TEXT,
    external_id      TEXT,
    config_file      TEXT,
    credentials_file TEXT,
    phase            TEXT NOT NULL CHECK (phase IN ('claimed', 'joining', 'held', 'leaving', 'closed')),
    shared           INTEGER NOT NULL CHECK (shared IN (0, 1)),
    rule_id          TEXT,
    tagged_until     INTEGER,
    version          INTEGER NOT NULL CHECK (version >= 0),
    last_sent_at     INTEGER,
    in_flight        INTEGER,
    last_unknown_at  INTEGER,
    refusals         INTEGER NOT NULL CHECK (refusals >= 0),
    next_try_at      INTEGER,
    last_failure     TEXT CHECK (last_failure IS NULL OR json_valid(last_failure)),
    vanished         INTEGER NOT NULL CHECK (vanished >= 0),
    created_at       INTEGER NOT NULL,
    CHECK (phase NOT IN ('held', 'leaving') OR rule_id IS NOT NULL)
) STRICT;
-- At most one open lease for a permission of a target.
CREATE UNIQUE INDEX leases_open ON leases (target, permission) WHERE phase <> 'closed';
CREATE TRIGGER leases_latch BEFORE UPDATE OF phase ON leases
WHEN OLD.phase = 'closed' AND NEW.phase <> 'closed'
BEGIN SELECT RAISE(ABORT, 'a closed lease never opens again'); END;
CREATE TRIGGER leases_version BEFORE UPDATE OF version ON leases
WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'a lease''s version only grows'); END;

-- AUTOINCREMENT: a number is never used twice, so the guard file can tell a restored backup by it.
CREATE TABLE runs (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    kind         TEXT NOT NULL CHECK (kind IN ('start', 'stop', 'extend', 'reconcile', 'watch')),
    timer        INTEGER NOT NULL CHECK (timer IN (0, 1)),
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    converged    INTEGER CHECK (converged IN (0, 1)),
    summary      TEXT,
    digest       TEXT,
    next_wake_at INTEGER,
    CHECK ((finished_at IS NULL) = (converged IS NULL))
) STRICT;
CREATE INDEX runs_kind ON runs (kind, number);
CREATE INDEX runs_timer ON runs (number) WHERE timer = 1;

-- No foreign keys: an event outlives what it speaks of.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    run        INTEGER,
    session    TEXT,
    target     TEXT CHECK (target IS NULL OR json_valid(target)),
    permission TEXT,
    rule_id    TEXT,
    kind       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    request_id TEXT,
    detail     TEXT
) STRICT;
CREATE INDEX events_session ON events (session, id);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_revoked ON events (at, rule_id) WHERE kind = 'revoked';
CREATE TRIGGER events_append_only BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
-- Pruning by age says first, in the same transaction, from when on events are kept.
CREATE TRIGGER events_kept BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM meta WHERE key = 'events_kept_from' AND OLD.at < CAST(value AS INTEGER))
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
";

/// The expiry schedules of rules; a rule's id is never reused.
const SWITCHES: &str = r"
CREATE TABLE switches (
    rule_id          TEXT PRIMARY KEY,
    target           INTEGER NOT NULL REFERENCES targets (id),
    permission       TEXT NOT NULL,
    account          TEXT,
    partition        TEXT,
    profile          TEXT,
    role_arn         TEXT,
    external_id      TEXT,
    config_file      TEXT,
    credentials_file TEXT,
    switch_role      TEXT NOT NULL,
    switch_group     TEXT NOT NULL,
    fires_at         INTEGER NOT NULL,
    confirmed        INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    version          INTEGER NOT NULL CHECK (version >= 0),
    refusals         INTEGER NOT NULL CHECK (refusals >= 0),
    next_try_at      INTEGER,
    last_failure     TEXT CHECK (last_failure IS NULL OR json_valid(last_failure))
) STRICT, WITHOUT ROWID;
";

/// Notices to the user's own command: begun before it runs, done after it.
const NOTIFICATIONS: &str = r"
CREATE TABLE notifications (
    session    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    event      TEXT NOT NULL CHECK (event IN ('expiring', 'expired', 'close-failed')),
    expires_at INTEGER NOT NULL,
    attempts   INTEGER NOT NULL CHECK (attempts > 0),
    begun_at   INTEGER NOT NULL,
    done_at    INTEGER,
    PRIMARY KEY (session, event, expires_at)
) STRICT, WITHOUT ROWID;
";

/// Sessions that move with the user's address.
const FOLLOW: &str = r"
ALTER TABLE sessions ADD COLUMN follow INTEGER NOT NULL DEFAULT 0 CHECK (follow IN (0, 1));
";

/// The endpoint of the provider's other services. NULL: with the target, as in all earlier records; empty: by
/// themselves.
const OTHER_SERVICES: &str = r"
ALTER TABLE grants ADD COLUMN services_endpoint TEXT;
ALTER TABLE leases ADD COLUMN services_endpoint TEXT;
ALTER TABLE switches ADD COLUMN services_endpoint TEXT;
";

/// Records the routes of a table, and copies its rows with the numbers of their routes.
macro_rules! with_route {
    ($table:literal) => {
        concat!(
            "INSERT INTO routes (account, partition, profile, role_arn, external_id, config_file, credentials_file, ",
            "services_endpoint) SELECT DISTINCT account, partition, profile, role_arn, external_id, config_file, ",
            "credentials_file, services_endpoint FROM ",
            $table,
            " WHERE true ON CONFLICT DO NOTHING;\nCREATE TABLE old_",
            $table,
            " AS SELECT r.*, o.id AS route FROM ",
            $table,
            " r JOIN routes o ON o.account IS r.account AND o.partition IS r.partition AND o.profile IS r.profile ",
            "AND o.role_arn IS r.role_arn AND o.external_id IS r.external_id AND o.config_file IS r.config_file ",
            "AND o.credentials_file IS r.credentials_file AND o.services_endpoint IS r.services_endpoint;\n"
        )
    };
}

/// Each route once, in a table of its own; and the expiry schedules get the name that the code has for them. The tables
/// are made anew: to drop their 24 columns one by one takes a hundred times as long.
const ROUTES: &str = concat!(
    "CREATE TABLE routes (
    id                INTEGER PRIMARY KEY,
    account           TEXT,
    partition         TEXT,
    profile           TEXT,
    role_arn          TEXT,
    external_id       TEXT,
    config_file       TEXT,
    credentials_file  TEXT,
    services_endpoint TEXT
) STRICT;
CREATE UNIQUE INDEX routes_key ON routes (",
    route_key!(),
    ");
",
    with_route!("grants"),
    with_route!("leases"),
    with_route!("switches"),
    "DROP TABLE grants;
CREATE TABLE grants (
    id            TEXT PRIMARY KEY CHECK (length(id) = 36),
    session       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL CHECK (position >= 0),
    resource_name TEXT NOT NULL,
    address       TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('PENDING', 'APPLIED', 'FAILED', 'REMOVING', 'REMOVED')),
    applied_at    INTEGER,
    removed_at    INTEGER,
    target        INTEGER NOT NULL REFERENCES targets (id),
    route         INTEGER NOT NULL REFERENCES routes (id),
    UNIQUE (session, position),
    CHECK ((removed_at IS NULL) = (status <> 'REMOVED'))
) STRICT;
INSERT INTO grants
SELECT id, session, position, resource_name, address, status, applied_at, removed_at, target, route FROM old_grants;
CREATE INDEX grants_target ON grants (target);
CREATE INDEX grants_route ON grants (route);
CREATE INDEX grants_removing ON grants (session) WHERE status = 'REMOVING';
CREATE TRIGGER grants_latch BEFORE UPDATE OF status ON grants
WHEN (OLD.status = 'REMOVED' AND NEW.status <> 'REMOVED')
  OR (OLD.status = 'REMOVING' AND NEW.status NOT IN ('REMOVING', 'REMOVED'))
BEGIN SELECT RAISE(ABORT, 'a grant that was let go never comes back'); END;

-- A lease's number is never used twice.
CREATE TABLE old_sequence AS SELECT seq FROM sqlite_sequence WHERE name = 'leases';
DROP TABLE leases;
CREATE TABLE leases (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    target          INTEGER NOT NULL REFERENCES targets (id),
    route           INTEGER NOT NULL REFERENCES routes (id),
    permission      TEXT NOT NULL,
    phase           TEXT NOT NULL CHECK (phase IN ('claimed', 'joining', 'held', 'leaving', 'closed')),
    shared          INTEGER NOT NULL CHECK (shared IN (0, 1)),
    rule_id         TEXT,
    tagged_until    INTEGER,
    version         INTEGER NOT NULL CHECK (version >= 0),
    last_sent_at    INTEGER,
    in_flight       INTEGER,
    last_unknown_at INTEGER,
    refusals        INTEGER NOT NULL CHECK (refusals >= 0),
    next_try_at     INTEGER,
    last_failure    TEXT CHECK (last_failure IS NULL OR json_valid(last_failure)),
    vanished        INTEGER NOT NULL CHECK (vanished >= 0),
    created_at      INTEGER NOT NULL,
    CHECK (phase NOT IN ('held', 'leaving') OR rule_id IS NOT NULL)
) STRICT;
INSERT INTO leases
SELECT id, target, route, permission, phase, shared, rule_id, tagged_until, version, last_sent_at, in_flight,
       last_unknown_at, refusals, next_try_at, last_failure, vanished, created_at FROM old_leases;
DELETE FROM sqlite_sequence WHERE name = 'leases';
INSERT INTO sqlite_sequence (name, seq) SELECT 'leases', seq FROM old_sequence;
CREATE UNIQUE INDEX leases_open ON leases (target, permission) WHERE phase <> 'closed';
CREATE INDEX leases_route ON leases (route);
CREATE TRIGGER leases_latch BEFORE UPDATE OF phase ON leases
WHEN OLD.phase = 'closed' AND NEW.phase <> 'closed'
BEGIN SELECT RAISE(ABORT, 'a closed lease never opens again'); END;
CREATE TRIGGER leases_version BEFORE UPDATE OF version ON leases
WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'a lease''s version only grows'); END;

DROP TABLE switches;
CREATE TABLE auto_closes (
    rule_id        TEXT PRIMARY KEY,
    target         INTEGER NOT NULL REFERENCES targets (id),
    route          INTEGER NOT NULL REFERENCES routes (id),
    permission     TEXT NOT NULL,
    schedule_role  TEXT NOT NULL,
    schedule_group TEXT NOT NULL,
    fires_at       INTEGER NOT NULL,
    confirmed      INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
    version        INTEGER NOT NULL CHECK (version >= 0),
    refusals       INTEGER NOT NULL CHECK (refusals >= 0),
    next_try_at    INTEGER,
    last_failure   TEXT CHECK (last_failure IS NULL OR json_valid(last_failure))
) STRICT, WITHOUT ROWID;
INSERT INTO auto_closes
SELECT rule_id, target, route, permission, switch_role, switch_group, fires_at, confirmed, version, refusals,
       next_try_at, last_failure FROM old_switches;
CREATE INDEX auto_closes_route ON auto_closes (route);

DROP TABLE old_grants;
DROP TABLE old_leases;
DROP TABLE old_switches;
DROP TABLE old_sequence;
"
);

/// No statement's cost grows with what is over: an index for each question, counters, and the rules that are open now.
/// A partial index is used only if the statement repeats its condition word for word.
const HISTORY: &str = r"
-- The newest of each status; the longest ended of each status.
DROP INDEX sessions_status;
CREATE INDEX sessions_status ON sessions (status, started_at DESC, number DESC);
CREATE INDEX sessions_ended ON sessions (status, ended_at);

CREATE TABLE session_counts (
    status   TEXT PRIMARY KEY,
    sessions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO session_counts SELECT status, count(*) FROM sessions GROUP BY status;
CREATE TRIGGER sessions_begun AFTER INSERT ON sessions
BEGIN
    INSERT INTO session_counts VALUES (NEW.status, 1) ON CONFLICT (status) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_moved AFTER UPDATE OF status ON sessions
WHEN NEW.status <> OLD.status
BEGIN
    UPDATE session_counts SET sessions = sessions - 1 WHERE status = OLD.status;
    INSERT INTO session_counts VALUES (NEW.status, 1) ON CONFLICT (status) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions
BEGIN
    UPDATE session_counts SET sessions = sessions - 1 WHERE status = OLD.status;
END;

-- grants_target finds the newest name of a target, grants_applied its newest route.
CREATE INDEX grants_open ON grants (target) WHERE status <> 'REMOVED';
CREATE INDEX grants_applied ON grants (target) WHERE applied_at IS NOT NULL;
CREATE INDEX grants_kept ON grants (session, status) WHERE status <> 'REMOVED';
CREATE INDEX leases_closed ON leases (created_at) WHERE phase = 'closed';
CREATE INDEX auto_closes_target ON auto_closes (target);
CREATE INDEX auto_closes_failed ON auto_closes (rule_id) WHERE last_failure IS NOT NULL;

-- The last run of each kind; those that say when the reconciler was at work; the oldest.
DROP INDEX runs_kind;
CREATE INDEX runs_last ON runs (kind, timer, finished_at IS NULL, number);
CREATE INDEX runs_reconciled ON runs (number) WHERE kind IN ('reconcile', 'watch') AND finished_at IS NOT NULL;
CREATE INDEX runs_scheduled ON runs (number) WHERE timer = 1 OR kind = 'watch';
CREATE INDEX runs_started ON runs (started_at);

CREATE INDEX events_revoked_rule ON events (rule_id, at) WHERE kind = 'revoked';
CREATE INDEX events_revoked_on ON events (target, at) WHERE kind = 'revoked';

-- The rules that this installation opened, joined or recognised after their last confirmed revoke, each with the last
-- time. Written with the events.
CREATE TABLE opened_rules (
    rule_id    TEXT PRIMARY KEY,
    target     INTEGER REFERENCES targets (id),
    permission TEXT NOT NULL,
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO opened_rules
SELECT e.rule_id, t.id, e.permission, max(e.at)
FROM (SELECT *, CASE WHEN json_valid(target) THEN target END AS key FROM events
      WHERE kind IN ('authorized', 'joined', 'lease-adopted') AND rule_id IS NOT NULL AND permission IS NOT NULL) e
LEFT JOIN targets t ON t.provider = json_extract(e.key, '$.provider') AND t.kind = json_extract(e.key, '$.kind')
    AND t.region = json_extract(e.key, '$.region') AND t.name = json_extract(e.key, '$.id')
    AND COALESCE(t.endpoint, '') = COALESCE(json_extract(e.key, '$.endpoint'), '')
WHERE NOT EXISTS (SELECT 1 FROM events r WHERE r.kind = 'revoked' AND r.rule_id = e.rule_id AND r.at >= e.at)
GROUP BY e.rule_id;
CREATE INDEX opened_rules_target ON opened_rules (target, at);
CREATE INDEX opened_rules_at ON opened_rules (at);
";

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
const DIGEST: &str = "f54e7ca363562960aa95813e279ca07b02e16d897a47ffc864ddd92e434fba32";

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
            assert!(!session.follow);
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
