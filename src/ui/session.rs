//! Sessions for people: the block of `start`, the table of `list`, the page of `get`.

use crate::{
    text::escape_controls,
    ui::{
        style,
        table::{Cell, Table},
        time::Zone,
    },
};
use eg_model::{
    Timestamp,
    ids::{RuleId, SessionId},
    lease::Lease,
    net::address::IpVersion,
    session::{
        problems::{Trouble, trouble},
        record::{Grant, GrantPermission, Session, SessionStatus, Standing},
    },
    time::duration::{overdue, remaining},
};
use eg_state::LastRuns;
use std::collections::{BTreeMap, BTreeSet};

/// How wide labels are, with their colon.
const LABEL: usize = 11;
/// How many ports the line about a grant names.
const PORTS_SHOWN: usize = 4;
/// How many digits of an id people see, at least.
const SHORT_ID: usize = 8;

/// What is needed to show a session as of now.
#[derive(Clone, Debug)]
pub struct View {
    pub now: Timestamp,
    pub zone: Zone,
    /// When the reconciler was last at work.
    pub runs: LastRuns,
    /// How many columns the terminal has; `None` where that does not matter.
    pub columns: Option<usize>,
}

/// One line of a block: its label, and a value that is safe to print.
#[must_use]
pub fn line(label: &str, value: &str) -> String {
    format!("  {:<LABEL$}{}\n", format!("{label}:"), value)
}

fn text_line(label: &str, value: Option<&str>) -> String {
    value.map(|value| line(label, &escape_controls(value))).unwrap_or_default()
}

impl View {
    /// Time left in words: `8h 0m remaining`, or how it ended.
    #[must_use]
    pub fn left(&self, session: &Session) -> String {
        if self.is_overdue(session) {
            return format!("{}, {}", self.overdue(session), self.cause(session));
        }
        let remaining = self.remaining(session);
        if session.status.is_live() { format!("{remaining} remaining") } else { remaining }
    }

    /// The column REMAINING. A session past its expiry that nothing has closed is never shown as a quiet `expired`; why it
    /// is not closed is told beside the table, by [`View::overdue_causes`].
    #[must_use]
    pub fn remaining(&self, session: &Session) -> String {
        match session.status {
            SessionStatus::Cancelled => "stopped".to_owned(),
            SessionStatus::Expired => "expired".to_owned(),
            _ if self.now >= session.expires_at => self.overdue(session),
            SessionStatus::Expiring => "closing".to_owned(),
            _ => remaining(self.now, session.expires_at),
        }
    }

    fn overdue(&self, session: &Session) -> String {
        format!("overdue {}", overdue(self.now, session.expires_at))
    }

    /// A line for each overdue session: why it is still open.
    #[must_use]
    pub fn overdue_causes(&self, sessions: &[Session]) -> Vec<String> {
        let overdue = sessions.iter().filter(|session| self.is_overdue(session));
        overdue.map(|session| format!("{} is overdue: {}", session.id.short(), self.cause(session))).collect()
    }

    /// Why an overdue session is still open.
    fn cause(&self, session: &Session) -> String {
        match &self.runs.reconcile {
            None => "reconcile has never run".to_owned(),
            Some(run) if run.finished_at < session.expires_at => {
                format!("no reconcile since {}", self.zone.clock_near(run.finished_at, self.now))
            }
            Some(run) => {
                let why = run.summary.as_deref().unwrap_or("not everything could be closed");
                format!("last reconcile {}: {}", self.zone.clock_near(run.finished_at, self.now), escape_controls(why))
            }
        }
    }

    /// Whether a session is past its expiry and not closed.
    #[must_use]
    pub fn is_overdue(&self, session: &Session) -> bool {
        !session.status.is_ended() && self.now >= session.expires_at
    }

    /// The block under `✓ Session started`.
    #[must_use]
    pub fn started(&self, session: &Session) -> String {
        let resources: BTreeSet<&str> = session.grants.iter().map(|grant| grant.resource_name.as_str()).collect();
        let status = Cell::styled(session.status.as_str(), style::session(session.status)).render();
        let mut block = line("ID", &session.id.to_string()) + &line("Status", &status) + &addresses(session);
        block += &follows(session);
        block += &line("Expires", &format!("{} ({})", self.zone.format(session.expires_at), self.left(session)));
        block + &line("Resources", &resources.len().to_string())
    }

    /// The table of `list`, newest first as given.
    #[must_use]
    pub fn list(&self, sessions: &[Session]) -> String {
        let mut table = Table::new(["ID", "STATUS", "IP", "STARTED", "REMAINING", "RESOURCES"]);
        for (session, id) in sessions.iter().zip(short_ids(sessions)) {
            let remaining = self.remaining(session);
            let remaining =
                if self.is_overdue(session) { Cell::styled(remaining, style::BAD) } else { Cell::new(remaining) };
            table.row([
                Cell::new(id),
                Cell::styled(session.status.as_str(), style::session(session.status)),
                Cell::new(address_cell(session)),
                Cell::new(self.zone.format(session.started_at)),
                remaining,
                Cell::new(resources_cell(session)),
            ]);
        }
        table.render_in(self.columns)
    }

    /// What keeps the grants of live and closing sessions from being done, and when it is tried again: a line each.
    #[must_use]
    pub fn troubles(&self, sessions: &[Session], leases: &[Lease]) -> Vec<String> {
        let mut lines = Vec::new();
        for session in sessions.iter().filter(|session| !session.status.is_ended()) {
            for grant in &session.grants {
                let Some(trouble) = trouble(grant, leases) else { continue };
                let why: Vec<String> = grant.error_message().into_iter().chain(news(grant, &trouble)).collect();
                if !why.is_empty() {
                    let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
                    let (why, next) = (escape_controls(&why.join("; ")), self.next_try(&trouble));
                    lines.push(format!("{short} {name} {} is {}: {why}; {next}", grant.ip_version(), grant.status));
                }
            }
        }
        lines
    }

    /// The ports of live sessions that rules of others cover, a line each.
    #[must_use]
    pub fn covered(&self, sessions: &[Session]) -> Vec<String> {
        let mut lines = Vec::new();
        for session in sessions.iter().filter(|session| session.status.is_live()) {
            for grant in session.current() {
                for (ports, rule) in covered_by(grant) {
                    let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
                    let family = grant.ip_version();
                    lines.push(format!(
                        "{short} {name} {family}: {ports} is open by {rule}, not eg's: stop will not close it"
                    ));
                }
            }
        }
        lines
    }

    /// When what failed is tried again.
    #[must_use]
    pub fn next_try(&self, trouble: &Trouble) -> String {
        match trouble.next_try_at.filter(|at| *at > self.now) {
            Some(at) => format!("next try {}", self.zone.clock(at)),
            None => "the next reconcile tries again".to_owned(),
        }
    }

    /// When the last reconcile was, and what came of it.
    #[must_use]
    pub fn last_reconcile(&self) -> String {
        let Some(run) = &self.runs.reconcile else { return "never".to_owned() };
        let at = self.zone.format(run.finished_at);
        match (&run.summary, run.converged) {
            (_, true) => format!("{at}, everything as recorded"),
            (Some(why), false) => format!("{at}: {}", escape_controls(why)),
            (None, false) => format!("{at}, not everything as recorded yet"),
        }
    }

    #[must_use]
    pub fn get(&self, session: &Session, leases: &[Lease]) -> String {
        let status = Cell::styled(session.status.as_str(), style::session(session.status)).render();
        let user = match &session.user_email {
            Some(email) => format!("{} ({email})", session.user_name),
            None => session.user_name.clone(),
        };
        let mut page = format!("Session {}\n", session.id);
        page += &line("Status", &status);
        page += &text_line("User", Some(&user));
        page += &addresses(session);
        page += &follows(session);
        page += &line("Started", &self.zone.format(session.started_at));
        page += &line("Expires", &format!("{} ({})", self.zone.format(session.expires_at), self.left(session)));
        if let Some(ended) = session.ended_at {
            let reason = session.ended_reason.map_or("", |reason| reason.as_str());
            page += &line("Ended", &format!("{} ({reason})", self.zone.format(ended)));
        }
        page += &text_line("Reason", session.reason.as_deref());
        page += "\n";
        page + &self.grants(session, leases)
    }

    fn grants(&self, session: &Session, leases: &[Lease]) -> String {
        let mut table = Table::new(["RESOURCE", "VERSION", "IP", "STATUS", "APPLIED"]);
        for grant in &session.grants {
            table.row([
                Cell::new(&grant.resource_name),
                Cell::new(grant.ip_version().to_string()),
                Cell::new(grant.address.to_string()),
                Cell::styled(grant.status.as_str(), style::grant(grant.status)),
                Cell::new(grant.applied_at.map_or_else(|| "-".to_owned(), |at| self.zone.format(at))),
            ]);
            for note in grant_notes(grant, session.status) {
                table.note(note);
            }
            if session.keeps(grant) {
                table.note("stays open until the new address is");
            }
            if let Some(trouble) = trouble(grant, leases) {
                news(grant, &trouble).for_each(|reason| {
                    table.note(reason);
                });
                if grant.error_message().is_some() || !trouble.reasons.is_empty() {
                    table.note(self.next_try(&trouble));
                }
            }
        }
        table.render_in(self.columns)
    }
}

/// What stands under a grant's row: how much of it is open, why not all, and whose rules cover it.
fn grant_notes(grant: &Grant, session: SessionStatus) -> Vec<String> {
    let (open, all) = grant.open_ports();
    let mut notes = Vec::new();
    if session.is_live() && open < all && (open > 0 || all > 1) {
        notes.push(format!("{open} of {all} ports open"));
    }
    notes.extend(grant.permissions.iter().filter_map(|item| port_note(item, session)));
    notes.extend(grant.error_message());
    notes
}

/// A port, and the rule that opens it. The rule's id stays when the session has let go of it.
fn port_note(item: &GrantPermission, session: SessionStatus) -> Option<String> {
    let ports = item.permission.ports();
    match &item.standing {
        Standing::Foreign(rule) => Some(format!("{ports} covered by {rule} (not eg's)")),
        Standing::Shared(rule) => Some(format!("{ports}  {rule} (shared)")),
        standing => match standing.rule() {
            Some(rule) => Some(format!("{ports}  {rule}")),
            None => session.is_live().then(|| format!("{ports}  not open")),
        },
    }
}

/// The rules that are not `eg`'s and stand for ports of a grant.
fn covered_by(grant: &Grant) -> impl Iterator<Item = (String, &RuleId)> {
    grant.permissions.iter().filter_map(|item| match &item.standing {
        Standing::Foreign(rule) => Some((item.permission.ports(), rule)),
        _ => None,
    })
}

/// The refusals that a grant's own message does not hold: it speaks of opening alone.
fn news(grant: &Grant, trouble: &Trouble) -> impl Iterator<Item = String> {
    let said = grant.error_message().unwrap_or_default();
    trouble.reasons.clone().into_iter().filter(move |reason| {
        let why = reason.split_once(": ").map_or(reason.as_str(), |(_, why)| why);
        !said.contains(why)
    })
}

/// The line about a grant as it lands.
#[must_use]
pub fn grant_line(grant: &Grant) -> String {
    let status = Cell::styled(grant.status.as_str(), style::grant(grant.status)).render();
    let name = escape_controls(&grant.resource_name);
    let family = grant.ip_version();
    // A failure names its ports itself.
    match grant.error_message() {
        Some(why) => format!("  {name} {family}: {status}: {}", escape_controls(&why)),
        None => format!("  {name} {family} {}: {status}", ports_of(grant)),
    }
}

/// The ports of a grant, so many that they fit in a line.
fn ports_of(grant: &Grant) -> String {
    let all: BTreeSet<String> = grant.permissions.iter().map(|item| item.permission.ports()).collect();
    let mut ports =
        grant.permissions.iter().map(|item| item.permission.ports()).take(PORTS_SHOWN).collect::<Vec<_>>().join(", ");
    if let Some(more) = all.len().checked_sub(PORTS_SHOWN).filter(|more| *more > 0) {
        ports += &format!(" and {more} more");
    }
    ports
}

/// The same about a grant of another session than the one that the command is about.
#[must_use]
pub fn other_grant_line(session: SessionId, grant: &Grant) -> String {
    format!("  session {}: {}", session.short(), grant_line(grant).trim_start())
}

fn addresses(session: &Session) -> String {
    let one = |label, version| {
        let wider = session.cidr(version).filter(|cidr| cidr.prefix_len() < cidr.max_prefix_len());
        let opens = wider.map(|cidr| format!(" (opens {cidr})")).unwrap_or_default();
        session.address(version).map(|address| line(label, &format!("{address}{opens}"))).unwrap_or_default()
    };
    one("IPv4", IpVersion::V4) + &one("IPv6", IpVersion::V6)
}

fn follows(session: &Session) -> String {
    if session.follow { line("Follow", "yes, when your address changes") } else { String::new() }
}

/// Its IPv4 address, else its IPv6 address, and whether there is one beside.
#[must_use]
pub fn address_cell(session: &Session) -> String {
    match (session.address(IpVersion::V4), session.address(IpVersion::V6)) {
        (Some(v4), Some(_)) => format!("{v4} +v6"),
        (Some(one), None) | (None, Some(one)) => one.to_string(),
        (None, None) => String::new(),
    }
}

/// The names of a session's resources: all of up to three, else two and how many more.
fn resources_cell(session: &Session) -> String {
    let names: BTreeSet<&str> = session.grants.iter().map(|grant| grant.resource_name.as_str()).collect();
    let shown = if names.len() > 3 { 2 } else { 3 };
    let listed = names.iter().take(shown).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(shown) {
        0 => listed,
        more => format!("{listed} +{more}"),
    }
}

/// The ids of sessions that are shown together: eight digits, or as many as tell one from the others.
#[must_use]
pub fn short_ids(sessions: &[Session]) -> Vec<String> {
    let ids: Vec<String> = sessions.iter().map(|session| session.id.0.as_simple().to_string()).collect();
    let widths = short_width(&ids);
    ids.iter().map(|id| short_id(id, &widths).to_owned()).collect()
}

/// How many digits each id that shares its first eight with another row needs. Neighbours in sorted order share most.
fn short_width(all: &[String]) -> BTreeMap<&str, usize> {
    let mut sorted: Vec<&str> = all.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut widths = BTreeMap::new();
    for (a, b) in sorted.iter().zip(sorted.iter().skip(1)) {
        let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
        if shared >= SHORT_ID {
            for id in [*a, *b] {
                let width = widths.entry(id).or_insert(shared + 1);
                *width = (shared + 1).max(*width);
            }
        }
    }
    widths
}

/// Eight digits, or as many as tell it from the other rows shown.
fn short_id<'a>(id: &'a str, widths: &BTreeMap<&str, usize>) -> &'a str {
    id.get(..widths.get(id).copied().unwrap_or(SHORT_ID)).unwrap_or(id)
}
