//! Sessions for users: the block of `start`, the table of `list`, the page of `get`.

use crate::ui::{
    opening::{ports, remarks},
    style,
    table::{Cell, Table},
    time::Zone,
};
use eg_model::{
    Timestamp,
    ids::RuleId,
    lease::Lease,
    net::address::IpVersion,
    session::{
        problems::{Trouble, trouble},
        record::{Grant, GrantPermission, Session, SessionStatus, Standing},
    },
    target::TargetKey,
    text::escape_controls,
    time::duration::{overdue, remaining},
};
use eg_providers::kind_of;
use eg_state::{GrantChange, LastRuns};
use std::collections::BTreeSet;

/// The width of labels, with their colon.
const LABEL: usize = 11;
/// The most ports that the line about a grant names.
const PORTS_SHOWN: usize = 4;
/// The fewest digits of an id that are shown.
const SHORT_ID: usize = 8;

/// The surroundings of a session as it is shown.
#[derive(Clone, Debug)]
pub struct View {
    pub now: Timestamp,
    pub zone: Zone,
    pub runs: LastRuns,
    /// The width of the terminal; `None` if it does not matter.
    pub columns: Option<usize>,
}

/// One line of a block: its label, and a value that is safe to print.
pub fn line(label: &str, value: &str) -> String {
    format!("  {:<LABEL$}{}\n", format!("{label}:"), value)
}

fn text_line(label: &str, value: Option<&str>) -> String {
    value.map(|value| line(label, &escape_controls(value))).unwrap_or_default()
}

impl View {
    /// The time left in words: `8h 0m remaining`, or the way it ended.
    pub fn left(&self, session: &Session) -> String {
        if self.is_overdue(session) {
            return format!("{}, {}", self.overdue(session), self.cause(session));
        }
        let remaining = self.remaining(session);
        if session.status.is_live() { format!("{remaining} remaining") } else { remaining }
    }

    /// The column REMAINING. A session past its expiry that nothing has closed is shown as `overdue`, never as `expired`;
    /// [`View::overdue_causes`] has the reason.
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

    /// A line for each overdue session with the reason why it is still open.
    pub fn overdue_causes(&self, sessions: &[Session]) -> Vec<String> {
        let overdue = sessions.iter().filter(|session| self.is_overdue(session));
        overdue.map(|session| format!("{} is overdue: {}", session.id.short(), self.cause(session))).collect()
    }

    /// Reason why an overdue session is still open.
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

    /// True if a session is past its expiry and not closed.
    pub fn is_overdue(&self, session: &Session) -> bool {
        !session.status.is_ended() && self.now >= session.expires_at
    }

    /// The block under `✓ Session started`.
    pub fn started(&self, session: &Session) -> String {
        let resources: BTreeSet<&str> = session.grants.iter().map(|grant| grant.resource_name.as_str()).collect();
        let status = Cell::styled(session.status.as_str(), style::session(session.status)).render();
        let mut block = line("ID", &session.id.to_string()) + &line("Status", &status) + &addresses(session);
        block += &follows(session);
        block += &line("Expires", &format!("{} ({})", self.zone.format(session.expires_at), self.left(session)));
        block + &line("Resources", &resources.len().to_string())
    }

    /// The table of `list`, newest first as given.
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

    /// A line for each grant of a live or closing session that is not done: the reason, and the time of the next try.
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

    /// A line for each port of a live session that a foreign rule covers.
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

    /// The time of the next try.
    pub fn next_try(&self, trouble: &Trouble) -> String {
        match trouble.next_try_at.filter(|at| *at > self.now) {
            Some(at) => format!("next try {}", self.zone.clock(at)),
            None => "the next reconcile tries again".to_owned(),
        }
    }

    /// The time and the result of the last reconcile.
    pub fn last_reconcile(&self) -> String {
        let Some(run) = &self.runs.reconcile else { return "never".to_owned() };
        let at = self.zone.format(run.finished_at);
        match (&run.summary, run.converged) {
            (_, true) => format!("{at}, everything as recorded"),
            (Some(why), false) => format!("{at}: {}", escape_controls(why)),
            (None, false) => format!("{at}, not everything as recorded yet"),
        }
    }

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
            if session.status.is_live() && grant.open_ports().0 > 0 {
                remarks(grant).into_iter().for_each(|remark| {
                    table.note(remark);
                });
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

/// The notes under a grant's row: the number of open ports, the rule of each, and the failure.
fn grant_notes(grant: &Grant, session: SessionStatus) -> Vec<String> {
    let (open, all) = grant.open_ports();
    let mut notes = Vec::new();
    if session.is_live() && open < all && (open > 0 || all > 1) {
        notes.push(format!("{open} of {all} ports open"));
    }
    notes.extend(grant.permissions.iter().filter_map(|item| port_note(&grant.target.key, item, session)));
    notes.extend(grant.error_message());
    notes
}

/// A port, and the rule that opens it. The rule's id stays when the session has let go of it.
fn port_note(target: &TargetKey, item: &GrantPermission, session: SessionStatus) -> Option<String> {
    let ports = ports(target, &item.permission);
    match &item.standing {
        Standing::Foreign(rule) => Some(format!("{ports}  covered by {rule} (not eg's)")),
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
        Standing::Foreign(rule) => Some((ports(&grant.target.key, &item.permission), rule)),
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
pub fn grant_line(GrantChange { grant, has_alike, .. }: &GrantChange) -> String {
    let status = Cell::styled(grant.status.as_str(), style::grant(grant.status)).render();
    let name = escape_controls(&grant.resource_name);
    let family = if *has_alike { grant.cidr().to_string() } else { grant.ip_version().to_string() };
    // A failure names its ports itself.
    match grant.error_message() {
        Some(why) => format!("  {name} {family}: {status}: {}", escape_controls(&why)),
        None => format!("  {name} {family}{}: {status}", ports_of(grant)),
    }
}

/// The ports of a grant, as many as fit in a line, after a space; nothing where entries have no ports.
fn ports_of(grant: &Grant) -> String {
    if kind_of(&grant.target.key).is_some_and(|kind| !kind.has_ports()) {
        return String::new();
    }
    let ports = grant.permissions.iter().take(PORTS_SHOWN).map(|item| item.permission.ports());
    let ports = ports.collect::<Vec<_>>().join(", ");
    match grant.permissions.len().saturating_sub(PORTS_SHOWN) {
        0 => format!(" {ports}"),
        more => format!(" {ports} and {more} more"),
    }
}

/// The same about a grant of another session than the command's own.
pub fn other_grant_line(change: &GrantChange) -> String {
    format!("  session {}: {}", change.session.short(), grant_line(change).trim_start())
}

fn addresses(session: &Session) -> String {
    let one = |label, version| {
        let wider = session.cidr(version).filter(|cidr| cidr.prefix_len() < cidr.max_prefix_len());
        let opens = wider.map(|cidr| format!(" (opens {cidr})")).unwrap_or_default();
        let all = session.addresses(version).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if all.is_empty() { all } else { line(label, &format!("{all}{opens}")) }
    };
    one("IPv4", IpVersion::V4) + &one("IPv6", IpVersion::V6)
}

fn follows(session: &Session) -> String {
    match &session.followed_name {
        Some(name) => line("Follow", &format!("yes, when the address of {} changes", escape_controls(name))),
        None if session.follow => line("Follow", "yes, when your address changes"),
        None => String::new(),
    }
}

/// The first address, IPv4 before IPv6, with a mark for those beside it.
pub fn address_cell(session: &Session) -> String {
    let (v4, v6) = (session.addresses(IpVersion::V4), session.addresses(IpVersion::V6));
    let mut all = v4.iter().chain(&v6);
    let first = all.next().map(ToString::to_string).unwrap_or_default();
    match all.count() {
        0 => first,
        1 if v4.len() == 1 => format!("{first} +v6"),
        more => format!("{first} +{more}"),
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

/// The ids of sessions that are shown together: eight digits, or as many as tell each from the others.
pub fn short_ids(sessions: &[Session]) -> Vec<String> {
    let ids: Vec<String> = sessions.iter().map(|session| session.id.0.as_simple().to_string()).collect();
    let sorted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    // In sorted order an id shares most digits with its neighbours.
    let shared = |id: &str, other: Option<&&str>| {
        other.map_or(0, |other| id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count())
    };
    let short = |id: &String| {
        let (before, after) = (sorted.range(..id.as_str()).next_back(), sorted.range(id.as_str()..).nth(1));
        let width = SHORT_ID.max(shared(id, before) + 1).max(shared(id, after) + 1);
        id.get(..width).unwrap_or(id).to_owned()
    };
    ids.iter().map(short).collect()
}
