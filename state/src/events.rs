//! The append-only events. Each is written in the transaction that makes the change that it tells of.

use crate::{
    columns::{RowRef, words},
    damaged::Damaged,
    error::StateError,
    targets,
    tx::{Store, WriteTx},
};
use eg_model::{
    Timestamp,
    ids::{RuleId, SessionId},
    net::permission::Permission,
    target::TargetKey,
};
use rusqlite::{Connection, Row, ToSql, params};

words! {
    /// The kind of an event.
    EventKind {
        /// The database was made; the outcome is the installation.
        Created = "created",
        /// The database was taken over; the outcome is the machine.
        Adopted = "adopted",
        /// The database turned out to be a restored backup.
        BackupRestored = "backup-restored",
        /// A session was recorded; the outcome is its expiry, the detail its reason.
        SessionStarted = "session-started",
        /// A session's expiry was moved; the outcome is the new one.
        SessionExtended = "session-extended",
        /// A session moved to another address; the outcome names both.
        AddressChanged = "address-changed",
        /// A session was stopped or expired; the outcome is the reason, the detail the cause.
        SessionEnded = "session-ended",
        /// A session's status changed; the outcome is the new one.
        SessionStatus = "session-status",
        /// A grant's status changed; the outcome is the new one, the detail the grant's id and address.
        GrantStatus = "grant-status",
        /// A lease was claimed.
        Claimed = "claimed",
        /// An attempt was recorded before its call; the outcome names the call.
        Intent = "intent",
        /// A rule was opened.
        Authorized = "authorized",
        /// This installation's tag was written on another's rule.
        Joined = "joined",
        /// A rule was recognised by this installation's tag.
        LeaseAdopted = "lease-adopted",
        /// This installation's tag was rewritten.
        Retagged = "retagged",
        /// This installation let go of a rule that others hold.
        Left = "left",
        /// The revoke of a rule was *confirmed*.
        Revoked = "revoked",
        /// A provider refused a call; the outcome is the class.
        Refused = "refused",
        /// A call had no usable answer.
        Unanswered = "unanswered",
        /// The cloud was told when to close a rule; the outcome is the time.
        AutoCloseSet = "switch-set",
        /// The expiry schedule of a rule that is gone was taken away.
        AutoCloseDropped = "switch-dropped",
        /// A lease was closed.
        LeaseClosed = "lease-closed",
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The command's clock reading.
    pub at: Timestamp,
    /// The run it belongs to; if written as `None`, the current run of the store, if one was begun.
    pub run: Option<i64>,
    /// The session it speaks of.
    pub session: Option<SessionId>,
    /// The target it speaks of.
    pub target: Option<TargetKey>,
    /// The permission it speaks of.
    pub permission: Option<Permission>,
    /// The rule it speaks of.
    pub rule_id: Option<RuleId>,
    /// Its kind.
    pub kind: EventKind,
    /// The outcome, in a word or a sentence.
    pub outcome: String,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// Details for people.
    pub detail: Option<String>,
}

impl Event {
    /// An event without subjects yet.
    #[must_use]
    pub fn new(at: Timestamp, kind: EventKind, outcome: impl Into<String>) -> Self {
        Self {
            at,
            run: None,
            session: None,
            target: None,
            permission: None,
            rule_id: None,
            kind,
            outcome: outcome.into(),
            request_id: None,
            detail: None,
        }
    }
}

impl Store {
    /// Events, oldest first: of one session, or all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events(&self, session: Option<SessionId>) -> Result<Vec<Event>, StateError> {
        self.read(|connection| match session {
            Some(id) => select(connection, &self.damaged, "WHERE session = ?1", params![id.to_string()]),
            None => select(connection, &self.damaged, "", params![]),
        })
    }

    /// Every event after the one with this number (they count from 1), oldest first, and the number of the last one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events_after(&self, number: i64) -> Result<(Vec<Event>, i64), StateError> {
        self.read(|connection| {
            let last = last(connection)?;
            let events = select(connection, &self.damaged, "WHERE id > ?1 AND id <= ?2", params![number, last])?;
            Ok((events, last))
        })
    }

    /// The events at or after a time, oldest first, and the number of the last of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events_since(&self, since: Timestamp) -> Result<(Vec<Event>, i64), StateError> {
        self.read(|connection| {
            // By the time first: the order of the numbers costs a sort of what is found.
            let which = "INDEXED BY events_at WHERE at >= ?1";
            Ok((select(connection, &self.damaged, which, params![since.timestamp()])?, last(connection)?))
        })
    }

    /// The events of a session, and those of none between two times, oldest first, and the number of the last of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events_about(
        &self,
        session: SessionId,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<(Vec<Event>, i64), StateError> {
        self.read(|connection| {
            let which = "WHERE session = ?1 UNION ALL \
                         SELECT * FROM events INDEXED BY events_at WHERE session IS NULL AND at >= ?2 AND at <= ?3";
            let values = params![session.to_string(), from.timestamp(), until.timestamp()];
            Ok((select(connection, &self.damaged, which, values)?, last(connection)?))
        })
    }

    /// The last `count` events that are wanted, oldest first, and the number of the last of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn newest_events(
        &self,
        count: usize,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<(Vec<Event>, i64), StateError> {
        self.read(|connection| {
            let last = last(connection)?;
            let mut statement = connection.prepare_cached("SELECT * FROM events WHERE id <= ?1 ORDER BY id DESC")?;
            let mut rows = statement.query([last])?;
            let mut found = Vec::new();
            while found.len() < count
                && let Some(row) = rows.next()?
            {
                found.extend(self.damaged.skip_row("events", read(row))?.filter(&wanted));
            }
            found.reverse();
            Ok((found, last))
        })
    }

    /// The last events, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn last_events(&self, count: u32) -> Result<Vec<Event>, StateError> {
        self.read(|connection| select_in(connection, &self.damaged, "ORDER BY id DESC LIMIT ?1", params![count]))
    }
}

/// The number of the last event.
fn last(connection: &Connection) -> Result<i64, StateError> {
    let sql = "SELECT coalesce(max(id), 0) FROM events";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

impl WriteTx<'_, '_> {
    /// Appends an event. It belongs to the current run unless it names another.
    pub(crate) fn event(&self, event: &Event) -> Result<(), StateError> {
        insert(self.tx, event, event.run.or(self.run))?;
        match event.kind {
            EventKind::Authorized | EventKind::Joined | EventKind::LeaseAdopted => self.rule_opened(event),
            EventKind::Revoked => self.rule_revoked(event),
            _ => Ok(()),
        }
    }

    /// A rule's revoke may have been confirmed at a later time than that of this event, or at the same.
    fn rule_opened(&self, event: &Event) -> Result<(), StateError> {
        let (Some(rule), Some(permission)) = (&event.rule_id, event.permission) else { return Ok(()) };
        let target = event.target.as_ref().map(|key| targets::row_of(self.tx, key)).transpose()?;
        let sql = "INSERT INTO opened_rules (rule_id, target, permission, at) SELECT ?1, ?2, ?3, ?4 \
                   WHERE NOT EXISTS (SELECT 1 FROM events WHERE kind = 'revoked' AND rule_id = ?1 AND at >= ?4) \
                   ON CONFLICT (rule_id) DO UPDATE SET target = excluded.target, permission = excluded.permission, \
                   at = max(at, excluded.at)";
        let values = params![rule.0, target, permission.to_string(), event.at.timestamp()];
        self.tx.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    fn rule_revoked(&self, event: &Event) -> Result<(), StateError> {
        let Some(rule) = &event.rule_id else { return Ok(()) };
        let sql = "DELETE FROM opened_rules WHERE rule_id = ?1 AND at <= ?2";
        self.tx.prepare_cached(sql)?.execute(params![rule.0, event.at.timestamp()])?;
        Ok(())
    }
}

/// The stored form of an event's target: the same target is always the same text.
pub(crate) fn target_text(target: &TargetKey) -> String {
    serde_json::json!(target).to_string()
}

pub(crate) fn insert(connection: &Connection, event: &Event, run: Option<i64>) -> Result<(), StateError> {
    let sql = "INSERT INTO events (at, run, session, target, permission, rule_id, kind, outcome, request_id, detail) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        event.at.timestamp(),
        run,
        event.session.map(|id| id.to_string()),
        event.target.as_ref().map(target_text),
        event.permission.map(|permission| permission.to_string()),
        event.rule_id.as_ref().map(|rule| &rule.0),
        event.kind.as_str(),
        event.outcome,
        event.request_id,
        event.detail,
    ])?;
    Ok(())
}

fn select(
    connection: &Connection,
    damaged: &Damaged,
    which: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<Event>, StateError> {
    select_in(connection, damaged, &format!("{which} ORDER BY id"), values)
}

fn select_in(
    connection: &Connection,
    damaged: &Damaged,
    which: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<Event>, StateError> {
    damaged.rows(connection, "events", &format!("SELECT * FROM events {which}"), values, read)
}

fn read(row: &Row<'_>) -> Result<Event, StateError> {
    let row = RowRef::new("events", row.get::<_, i64>("id")?, row);
    Ok(Event {
        at: row.time("at")?,
        run: row.get("run")?,
        session: row.maybe_parse("session")?.map(SessionId),
        target: row.json("target")?,
        permission: row.maybe_parse("permission")?,
        rule_id: row.get::<Option<String>>("rule_id")?.map(RuleId),
        kind: row.word("kind", EventKind::from_word)?,
        outcome: row.get("outcome")?,
        request_id: row.get("request_id")?,
        detail: row.get("detail")?,
    })
}
