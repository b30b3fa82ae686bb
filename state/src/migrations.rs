//! The migrations, append-only: a step that was released is never edited, only followed by another.

use crate::routes::route_key;

/// All of them, in order.
pub(crate) const STEPS: [&str; 8] = [STEP_1, NOTIFICATIONS, FOLLOW, SWITCHES, OTHER_SERVICES, ROUTES, HISTORY, NAMES];

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

/// Sessions that follow a name, and the address that the name has had since a time.
const NAMES: &str = r"
ALTER TABLE sessions ADD COLUMN followed_name TEXT;

CREATE TABLE sightings (
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    family  INTEGER NOT NULL CHECK (family IN (4, 6)),
    address TEXT NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (session, family)
) STRICT, WITHOUT ROWID;
";
