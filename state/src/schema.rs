//! The schema, as append-only migrations: a step that was released is never edited, only followed by another.

use crate::StateError;
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use std::{collections::BTreeMap, path::PathBuf};

/// In the file's header (offset 68): "eg" and a number that marks this kind of file. Never changes.
pub(crate) const APPLICATION_ID: u32 = 0x6567_5331; // "egS1"

/// How many migrations there are; `user_version` of a database that has them all.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

const STEPS: [&str; 5] = [STEP_1, NOTIFICATIONS, FOLLOW, SWITCHES, OTHER_SERVICES];

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
-- Ended is a latch, whoever writes.
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

/// What was sent about the expiry schedules of rules; a rule's id is never reused.
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

/// What was told to the user's own command: begun before it runs, done after it.
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

/// Where the provider's other services are. NULL: with the target, as everything that was recorded before; empty: by
/// themselves; else an endpoint of theirs.
const OTHER_SERVICES: &str = r"
ALTER TABLE grants ADD COLUMN services_endpoint TEXT;
ALTER TABLE leases ADD COLUMN services_endpoint TEXT;
ALTER TABLE switches ADD COLUMN services_endpoint TEXT;
";

/// Brings an opened database to [`VERSION`].
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StateError> {
    let steps = STEPS.iter().map(|sql| M::up(sql)).collect();
    Migrations::new(steps).to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        other => StateError::Migration { path: PathBuf::new(), detail: other.to_string() },
    })
}

/// What a schema consists of: type and name, and its SQL.
type Parts = BTreeMap<(String, String), String>;

/// Compares the schema with the one that this program makes. A trigger that is missing lets an ended session live again,
/// and one too many runs whatever it was written for.
pub(crate) fn check(connection: &Connection) -> Result<(), StateError> {
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

/// SQL without comments and with single blanks, so that a migration's remarks can be put into better words.
fn plain(sql: &str) -> String {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first version recorded means the same after the later steps.
    #[test]
    fn a_database_of_the_first_version_is_brought_up_to_date() {
        let mut connection = Connection::open_in_memory().unwrap();
        Migrations::new(vec![M::up(STEP_1)]).to_latest(&mut connection).unwrap();
        let id = "00000000-0000-0000-0000-000000000001";
        let sql =
            "INSERT INTO sessions (id, user_name, status, started_at, expires_at) VALUES (?1, 'a', 'ACTIVE', 0, 9)";
        connection.execute(sql, [id]).unwrap();
        migrate(&mut connection).unwrap();
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, VERSION);
        let follows: bool = connection.query_row("SELECT follow FROM sessions", [], |row| row.get(0)).unwrap();
        assert!(!follows);
        for table in ["grants", "leases", "switches"] {
            let sql = format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE name = 'services_endpoint'");
            assert_eq!(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "{table}");
        }
    }
}
