//! Draws the dashboard: sessions with a countdown, the rules of the selected one, the last events. A pure function of the
//! record, the time and the size; on a small terminal the least important parts go first.

use crate::ui::{
    cell::{Cell, cut},
    dashboard::{
        Board, Mode, SessionAction, Verb,
        columns::{self, Column, wrapped},
    },
    events::{detail, is_telling, word},
    opening::opening,
    session::{View, address_cell, short_ids},
    style,
};
use anstyle::{AnsiColor, Effects};
use eg_model::{
    Timestamp,
    session::{
        problems::trouble,
        record::{Grant, GrantPermission, GrantStatus, Session, Standing},
    },
    target::TargetKey,
    text::escape_controls,
};
use eg_state::{Event, RecordSummary};
use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};
use std::collections::BTreeMap;
use unicode_width::UnicodeWidthStr;

const SESSIONS: [Column; 5] = [("ID", 0), ("STATUS", 1), ("IP", 2), ("STARTED", 3), ("REMAINING", 0)];
const RULES: [Column; 4] = [("RESOURCE", 0), ("PERMISSION", 0), ("STATUS", 1), ("RULE", 2)];
const EVENTS: [Column; 6] =
    [("WHEN", 0), ("WHAT", 0), ("SESSION", 3), ("RESOURCE", 1), ("PERMISSION", 2), ("OUTCOME", 1)];

/// Marks the selected session, also where there are no colours.
const MARK: &str = "> ";
const NO_MARK: &str = "  ";
/// The indent of the reason why a rule is not open, and its most lines.
const WHY: &str = "    ";
const WHY_LINES: usize = 5;
/// The most lines of the last command's output.
const SAID: usize = 5;

/// Everything that is drawn.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub board: &'a Board,
    pub view: &'a View,
    /// The line about the job that closes sessions.
    pub scheduled: &'a str,
    pub glance: &'a RecordSummary,
    /// The last events, newest first.
    pub events: &'a [Event],
    /// Reason why the record could not be read just now; the rest of the scene is older then.
    pub unread: Option<&'a str>,
    pub colors: bool,
}

pub fn draw(frame: &mut Frame<'_>, scene: Scene<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let selected = scene.board.selected(&scene.glance.sessions);
    let notes = scene.notes(width);
    let panes = [scene.sessions(width, selected), scene.rules(width, selected), scene.last_events(width)];
    let plan = heights(area.height, panes.each_ref().map(|pane| pane.rows.len()), notes.len());
    let mut top = Strip { area, used: 0 };
    top.put(frame, scene.head(width), plan.head);
    for (pane, height) in panes.into_iter().zip(plan.panes) {
        top.put(frame, pane.fitted(height), height);
    }
    let bottom = area.height.saturating_sub(plan.foot);
    top.used = bottom.saturating_sub(plan.notes).max(top.used);
    top.put(frame, notes, plan.notes);
    top.used = bottom.max(top.used);
    top.put(frame, vec![scene.foot(width)], plan.foot);
}

/// The number of lines of each part.
#[derive(Debug, PartialEq, Eq)]
struct Heights {
    head: u16,
    panes: [u16; 3],
    notes: u16,
    foot: u16,
}

/// Shares out the height. The list of sessions stays longest, then the output of the last command and the keys; then come
/// rules, events and the head.
fn heights(height: u16, rows: [usize; 3], notes: usize) -> Heights {
    let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let foot = u16::from(height > 1);
    let notes = lines(notes.min(SAID)).min(height.saturating_sub(foot + 2));
    let head = match height.saturating_sub(notes) {
        16.. => 4,
        7.. => 1,
        _ => 0,
    };
    let rest = height - foot - notes - head;
    let [sessions, rules, events] = rows.map(|rows| if rows == 0 { 0 } else { lines(rows).saturating_add(3) });
    let first = if rest < 8 { rest } else { sessions.clamp(4, (rest * 2 / 3).max(4)) };
    let rest = rest - first;
    // Two events stay if there is any room; more of them go before the reasons why a rule is not open.
    let second = if rest < 4 { 0 } else { rules.min(rest.saturating_sub(events.min(5)).max(4)) };
    let rest = rest - second;
    let third = if rest < 4 { 0 } else { events.min(rest) };
    Heights { head, panes: [first, second, third], notes, foot }
}

/// The screen, filled from the top.
struct Strip {
    area: Rect,
    used: u16,
}

impl Strip {
    fn put(&mut self, frame: &mut Frame<'_>, lines: Vec<Line<'static>>, height: u16) {
        let height = height.min(self.area.height.saturating_sub(self.used));
        let area = Rect { y: self.area.y + self.used, height, ..self.area };
        frame.render_widget(Paragraph::new(lines), area);
        self.used += height;
    }
}

struct Pane {
    title: Line<'static>,
    head: Line<'static>,
    rows: Vec<Line<'static>>,
    /// The row that must stay in sight.
    focus: usize,
}

impl Pane {
    /// The lines that fit: the title, the header and the empty line below go first.
    fn fitted(self, height: u16) -> Vec<Line<'static>> {
        let height = usize::from(height);
        let mut lines = match height {
            0..=2 => Vec::new(),
            3 => vec![self.head],
            _ => vec![self.title, self.head],
        };
        let room = height.saturating_sub(lines.len());
        let room = if room > self.rows.len() { self.rows.len() } else { room };
        let from = (self.focus + 1).saturating_sub(room);
        lines.extend(self.rows.into_iter().skip(from).take(room));
        lines
    }
}

impl Scene<'_> {
    fn style(&self, style: anstyle::Style) -> Style {
        let color = style.get_fg_color().filter(|_| self.colors).and_then(color_of);
        let effects = [(Effects::DIMMED, Modifier::DIM), (Effects::BOLD, Modifier::BOLD)];
        let effects = effects.into_iter().filter(|(effect, _)| style.get_effects().contains(*effect));
        let painted = Style { fg: color, ..Style::new() };
        effects.fold(painted, |painted, (_, modifier)| painted.add_modifier(modifier))
    }

    fn title(&self, text: &str, width: usize) -> Line<'static> {
        let title = cut(text, width);
        let rest = width.saturating_sub(title.width() + 1);
        let dim = self.style(style::ENDED);
        Line::from(vec![
            Span::styled(title, self.style(style::TITLE)),
            Span::styled(format!(" {}", "─".repeat(rest)), dim),
        ])
    }

    fn head(&self, width: usize) -> Vec<Line<'static>> {
        let (name, now) = ("eg status", self.view.zone.format(self.view.now));
        let gap = width.saturating_sub(name.len() + now.len()).max(1);
        let first = vec![Span::styled(name, self.style(style::TITLE)), Span::raw(" ".repeat(gap) + &now)];
        let line = |label: &str, text: &str| Line::from(cut(&format!("{label:<11}{text}"), width));
        vec![
            Line::from(first),
            line("Scheduled:", self.scheduled),
            line("Reconcile:", &self.view.last_reconcile()),
            Line::default(),
        ]
    }

    fn sessions(&self, width: usize, selected: Option<usize>) -> Pane {
        let sessions = &self.glance.sessions;
        let room = width.saturating_sub(MARK.len());
        let rows: Vec<Vec<Cell>> =
            sessions.iter().zip(short_ids(sessions)).map(|(session, id)| self.session(session, id)).collect();
        let (head, lines) = columns::lines(&SESSIONS, &rows, room, |style| self.style(style));
        let marked = |(at, mut line): (usize, Line<'static>)| {
            if Some(at) != selected {
                return indented(line);
            }
            line.spans.insert(0, Span::raw(MARK));
            line.style(Style::new().add_modifier(Modifier::BOLD))
        };
        let rows: Vec<_> = lines.into_iter().enumerate().map(marked).collect();
        let nothing = || Line::from(cut("  Nothing is open. Open something with: eg session start", width));
        let head = if rows.is_empty() { nothing() } else { indented(head) };
        Pane { title: self.title("Sessions", width), head, rows, focus: selected.unwrap_or(0) }
    }

    fn session(&self, session: &Session, id: String) -> Vec<Cell> {
        let remaining = match self.view.is_overdue(session) {
            true => Cell::styled(self.view.remaining(session), style::BAD),
            false if session.status.is_live() => Cell::new(countdown(self.view.now, session.expires_at)),
            false => Cell::new(self.view.remaining(session)),
        };
        vec![
            Cell::new(id),
            Cell::styled(session.status.as_str(), style::session(session.status)),
            Cell::new(address_cell(session)),
            Cell::new(self.view.zone.bare(session.started_at)),
            remaining,
        ]
    }

    /// The rules of the selected session; under each that is not open, the reason.
    fn rules(&self, width: usize, selected: Option<usize>) -> Pane {
        let room = width.saturating_sub(NO_MARK.len());
        let session = selected.and_then(|at| self.glance.sessions.get(at));
        let grants: Vec<&Grant> = session.iter().flat_map(|session| &session.grants).collect();
        let rows: Vec<Vec<Cell>> = grants.iter().flat_map(|grant| self.grant(grant)).collect();
        let (head, lines) = columns::lines(&RULES, &rows, room, |style| self.style(style));
        let mut lines = lines.into_iter();
        let mut rows = Vec::new();
        for grant in grants {
            rows.extend(lines.by_ref().take(grant.permissions.len()).map(indented));
            let why = self.why(grant).map(|why| wrapped(&why, width.saturating_sub(WHY.len()))).unwrap_or_default();
            rows.extend(why.into_iter().take(WHY_LINES).map(|line| Line::from(WHY.to_owned() + &line)));
        }
        let title = session.map_or_else(|| "Rules".to_owned(), |session| format!("Rules of {}", session.id.short()));
        Pane { title: self.title(&title, width), head: indented(head), rows, focus: 0 }
    }

    fn grant(&self, grant: &Grant) -> Vec<Vec<Cell>> {
        let row = |item: &GrantPermission| {
            let permission = opening(&grant.target.key, &item.permission);
            let status = standing(grant.status, &item.standing);
            let rule = match &item.standing {
                Standing::Foreign(rule) => format!("{rule} (not eg's)"),
                other => other.rule().map(ToString::to_string).unwrap_or_default(),
            };
            vec![
                Cell::new(&grant.resource_name),
                Cell::new(permission),
                Cell::styled(status.as_str(), style::grant(status)),
                Cell::new(rule),
            ]
        };
        grant.permissions.iter().map(row).collect()
    }

    fn why(&self, grant: &Grant) -> Option<String> {
        let trouble = trouble(grant, &self.glance.leases)?;
        let refused = || (!trouble.reasons.is_empty()).then(|| trouble.reasons.join("; "));
        let why = grant.error_message().or_else(refused)?;
        Some(format!("{}; {}", escape_controls(&why), self.view.next_try(&trouble)))
    }

    fn last_events(&self, width: usize) -> Pane {
        let names = self.names();
        let today = self.view.zone.bare(self.view.now);
        let rows: Vec<Vec<Cell>> = self
            .events
            .iter()
            .filter(|event| is_telling(event.kind))
            .map(|event| self.event(event, &names, &today))
            .collect();
        let room = width.saturating_sub(NO_MARK.len());
        let (head, lines) = columns::lines(&EVENTS, &rows, room, |style| self.style(style));
        let rows = lines.into_iter().map(indented).collect();
        Pane { title: self.title("Last events", width), head: indented(head), rows, focus: 0 }
    }

    fn event(&self, event: &Event, names: &BTreeMap<&TargetKey, &str>, today: &str) -> Vec<Cell> {
        let when = self.view.zone.bare(event.at);
        // `HH:MM:SS` today, `MM-DD HH:MM` before.
        let part = if when.get(..10) == today.get(..10) { 11..19 } else { 5..16 };
        let when = when.get(part).map(str::to_owned).unwrap_or_default();
        let name = |target: &TargetKey| names.get(target).map_or(target.id.clone(), |name| (*name).to_owned());
        let opening = |target: &TargetKey| Some(opening(target, event.permission.as_ref()?));
        let (outcome, trouble) = detail(event);
        let outcome = self.view.zone.in_text(&outcome.or(trouble).unwrap_or_default());
        let cells = [
            when,
            word(event).to_owned(),
            event.session.map(|id| id.short()).unwrap_or_default(),
            event.target.as_ref().map(name).unwrap_or_default(),
            event.target.as_ref().and_then(opening).unwrap_or_default(),
            outcome,
        ];
        cells.map(Cell::from).to_vec()
    }

    fn names(&self) -> BTreeMap<&TargetKey, &str> {
        let grants = self.glance.sessions.iter().rev().flat_map(|session| &session.grants);
        grants.map(|grant| (&grant.target.key, grant.resource_name.as_str())).collect()
    }

    /// The output of the last command, below the reason why the scene may be old.
    fn notes(&self, width: usize) -> Vec<Line<'static>> {
        let unread = self.unread.map(|why| format!("error: what is shown is old: {}", escape_controls(why)));
        let all: Vec<String> = unread.into_iter().chain(self.board.said().iter().cloned()).collect();
        let lines = all.iter().flat_map(|text| {
            let style = match text {
                bad if bad.starts_with("error:") => style::BAD,
                odd if odd.starts_with("warning:") || odd.starts_with("Stop recorded") => style::UNDER_WAY,
                good if good.starts_with('✓') => style::GOOD,
                _ => anstyle::Style::new(),
            };
            wrapped(text, width).into_iter().map(move |line| (line, style))
        });
        lines.take(SAID).map(|(text, style)| Line::styled(text, self.style(style))).collect()
    }

    /// The question, the command under way, or the keys.
    fn foot(&self, width: usize) -> Line<'static> {
        let strong = self.style(style::TITLE);
        match self.board.mode() {
            Mode::Asking(action) => {
                Line::styled(cut(&format!("Stop session {}? y/n", action.session.short()), width), strong)
            }
            Mode::Busy(action) => Line::styled(cut(&busy(action), width), strong),
            Mode::Looking => self.keys(width),
        }
    }

    fn keys(&self, width: usize) -> Line<'static> {
        let all = [("↑↓", "select"), ("x", "stop"), ("e", "extend by 1 hour"), ("q", "leave")];
        let long: usize = all.iter().map(|(key, what)| key.width() + what.width() + 4).sum();
        let strong = self.style(style::TITLE);
        let mut spans = Vec::new();
        for (key, what) in all {
            let what = if long > width { String::new() } else { format!(" {what}") };
            spans.extend([Span::styled(key, strong), Span::raw(what + "   ")]);
        }
        Line::from(spans)
    }
}

fn busy(SessionAction { verb, session }: SessionAction) -> String {
    match verb {
        Verb::Stop => format!("Stopping session {}…", session.short()),
        Verb::Extend => format!("Extending session {} by 1 hour…", session.short()),
    }
}

fn indented(mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, Span::raw(NO_MARK));
    line
}

/// The standing of one permission, as the status of a grant.
fn standing(grant: GrantStatus, standing: &Standing) -> GrantStatus {
    match (grant, standing) {
        (GrantStatus::Removing | GrantStatus::Removed, _) => grant,
        (_, Standing::Own(_) | Standing::Shared(_) | Standing::Foreign(_)) => GrantStatus::Applied,
        (_, Standing::Failed(_)) => GrantStatus::Failed,
        (_, Standing::Untried | Standing::Pending(_)) => GrantStatus::Pending,
    }
}

/// Time left to the second: `6h 29m 14s`, `29m 14s`, `14s`.
fn countdown(now: Timestamp, until: Timestamp) -> String {
    let left = (until - now).num_seconds().max(0);
    let (hours, minutes, seconds) = (left / 3600, left / 60 % 60, left % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds:02}s"),
        _ => format!("{hours}h {minutes:02}m {seconds:02}s"),
    }
}

fn color_of(color: anstyle::Color) -> Option<Color> {
    match color {
        anstyle::Color::Ansi(AnsiColor::Green) => Some(Color::Green),
        anstyle::Color::Ansi(AnsiColor::Yellow) => Some(Color::Yellow),
        anstyle::Color::Ansi(AnsiColor::Red) => Some(Color::Red),
        anstyle::Color::Ansi(AnsiColor::Cyan) => Some(Color::Cyan),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ui::{dashboard::tests::press, time::Zone};
    use eg_model::{
        failure::{Failure, FailureClass},
        ids::{GrantId, LeaseId, RuleId, SessionId},
        lease::Lease,
        net::permission::Permission,
        session::record::{GrantPermission, SessionStatus},
        target::Target,
    };
    use eg_state::EventKind;
    use eg_state::{LastReconcile, LastRuns};
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};
    use uuid::Uuid;

    const NOW: &str = "2026-02-27T11:30:46Z";
    const NOT_SCHEDULED: &str = "not installed: sessions will not close when they expire (run: eg schedule install)";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn target(id: &str) -> Target {
        let target = TargetKey::new("aws", "security-group", "eu-west-1", id);
        Target::new(target)
    }

    fn permission(port: u16) -> Permission {
        format!("tcp|{port}|{port}|203.0.113.42/32").parse().unwrap()
    }

    fn grant(name: &str, status: GrantStatus, items: &[(u16, Standing)]) -> Grant {
        let item = |(port, standing): &(u16, Standing)| GrantPermission {
            permission: permission(*port),
            standing: standing.clone(),
        };
        Grant {
            id: GrantId(Uuid::from_u128(1)),
            resource_name: name.into(),
            target: target(name),
            address: "203.0.113.42".parse().unwrap(),
            status,
            permissions: items.iter().map(item).collect(),
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        }
    }

    /// A live session; its id begins with a1b2c3d4, a2b2c3d4 …
    pub(crate) fn session(number: u128) -> Session {
        let rule = |digit: &str| Standing::Own(RuleId(format!("sgr-0f1e2d3c4b5a6978{digit}")));
        Session {
            id: SessionId(Uuid::from_u128(0xa0b2_c3d4_e5f6_4890_abcd_ef12_3456_7890 + (number << 120))),
            user_name: "Alice Smith".into(),
            user_email: None,
            status: SessionStatus::Active,
            started_at: at("2026-02-27T10:00:00Z"),
            expires_at: at("2026-02-27T18:00:00Z"),
            ended_at: None,
            ended_reason: None,
            reason: None,
            follow: false,
            followed_name: None,
            caller_arns: Default::default(),
            grants: vec![
                grant("dev-web-sg", GrantStatus::Applied, &[(22, rule("1")), (443, rule("2"))]),
                grant("prod-db-sg", GrantStatus::Applied, &[(5432, rule("3"))]),
            ],
        }
    }

    fn failing() -> Session {
        let failed = Standing::Failed("not permitted: You are not authorized to perform this operation".into());
        Session {
            status: SessionStatus::Failed,
            expires_at: at("2026-02-27T11:31:00Z"),
            grants: vec![grant("prod-api-sg", GrantStatus::Failed, &[(22, failed)])],
            ..session(2)
        }
    }

    fn overdue() -> Session {
        let removing = grant("dev-web-sg", GrantStatus::Removing, &[(22, Standing::Own(RuleId("sgr-1".into())))]);
        let status = SessionStatus::Expiring;
        Session { status, expires_at: at("2026-02-27T11:16:00Z"), grants: vec![removing], ..session(3) }
    }

    fn glance() -> RecordSummary {
        let refusal = Failure::new(FailureClass::Denied, "You are not authorized to perform this operation");
        let lease = Lease::claim(LeaseId(1), target("prod-api-sg"), permission(22));
        let reconcile = LastReconcile {
            finished_at: at("2026-02-27T11:30:01Z"),
            converged: false,
            summary: Some("not permitted".into()),
            next_wake_at: None,
        };
        RecordSummary {
            sessions: vec![session(1), failing(), overdue()],
            leases: vec![lease.refused(refusal, at("2026-02-27T11:45:00Z"))],
            runs: LastRuns {
                reconcile: Some(reconcile),
                scheduled_at: Some(at("2026-02-27T11:30:00Z")),
                timer_at: None,
            },
        }
    }

    fn events() -> Vec<Event> {
        let event = |when: &str, kind, outcome: &str, port: Option<u16>| Event {
            session: Some(session(1).id),
            target: port.map(|_| target("dev-web-sg").key),
            permission: port.map(permission),
            ..Event::new(at(when), kind, outcome)
        };
        vec![
            event("2026-02-27T10:00:02Z", EventKind::SessionStatus, "ACTIVE", None),
            event("2026-02-27T10:00:02Z", EventKind::Authorized, "opened", Some(443)),
            event("2026-02-27T10:00:02Z", EventKind::Authorized, "opened", Some(22)),
            event("2026-02-27T10:00:01Z", EventKind::Intent, "authorize", Some(22)),
            event("2026-02-27T10:00:00Z", EventKind::SessionStarted, "2026-02-27T18:00:00Z", None),
            event("2026-02-26T10:00:00Z", EventKind::Refused, "\u{1b}[2Jdenied", None),
        ]
    }

    fn drawn(size: (u16, u16), change: impl FnOnce(&mut Scene<'_>), board: &Board) -> Terminal<TestBackend> {
        let (glance, events) = (glance(), events());
        let view = View { now: at(NOW), zone: Zone::utc(), runs: glance.runs.clone(), columns: None };
        let mut scene = Scene {
            board,
            view: &view,
            scheduled: NOT_SCHEDULED,
            glance: &glance,
            events: &events,
            unread: None,
            colors: true,
        };
        change(&mut scene);
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, scene)).unwrap();
        terminal
    }

    #[track_caller]
    fn shows(name: &str, terminal: &Terminal<TestBackend>) {
        let text = terminal.backend().to_string();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn wide_and_narrow() {
        for (width, height) in [(120, 30), (80, 24), (40, 24), (80, 10), (80, 5), (20, 3)] {
            let terminal = drawn((width, height), |_| {}, &Board::default());
            shows(&format!("board_{width}x{height}"), &terminal);
        }
    }

    #[test]
    fn a_session_in_trouble_a_question_and_an_answer() {
        let mut board = Board::default();
        let sessions = glance().sessions;
        board.key(press(KeyCode::Down), &sessions);
        board.key(press(KeyCode::Char('x')), &sessions);
        shows("board_asking", &drawn((80, 24), |_| {}, &board));
        let Some(crate::ui::dashboard::KeyRequest::Do(action)) = board.key(press(KeyCode::Char('y')), &sessions) else {
            panic!("a yes is an answer");
        };
        board.begins(action);
        assert!(drawn((80, 24), |_| {}, &board).backend().to_string().contains("Stopping session a2b2c3d4…"));
        board.ends(
            [
                "Stop recorded; 1 rule still open until the next reconcile",
                "error: something very long that does not fit into eighty columns and is wrapped",
                "hint: look",
            ]
            .into_iter(),
        );
        shows("board_said", &drawn((80, 24), |_| {}, &board));
    }

    #[test]
    fn nothing_open_and_an_unreadable_record() {
        let nothing = RecordSummary::default();
        let none = |scene: &mut Scene<'_>| {
            scene.events = &[];
            scene.unread = Some("the state file /x is damaged: \u{1b}[2J");
        };
        let view = View { now: at(NOW), zone: Zone::utc(), runs: LastRuns::default(), columns: None };
        let mut terminal = Terminal::new(TestBackend::new(80, 20)).unwrap();
        let board = Board::default();
        let mut scene = Scene {
            board: &board,
            view: &view,
            scheduled: NOT_SCHEDULED,
            glance: &nothing,
            events: &[],
            unread: None,
            colors: true,
        };
        none(&mut scene);
        terminal.draw(|frame| draw(frame, scene)).unwrap();
        shows("board_nothing", &terminal);
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let painted = |colors: bool| {
            let terminal = drawn((80, 24), |scene| scene.colors = colors, &Board::default());
            let cells = terminal.backend().buffer().content().to_vec();
            cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert!(painted(true) > 0);
        assert_eq!(painted(false), 0);
    }

    #[test]
    fn no_size_breaks_it_and_the_selected_session_stays_in_sight() {
        let mut board = Board::default();
        let many: Vec<Session> = (1..=6).map(session).collect();
        board.key(press(KeyCode::End), &many);
        let shown = RecordSummary { sessions: many.clone(), ..glance() };
        let (events, runs) = (events(), LastRuns::default());
        let view = View { now: at(NOW), zone: Zone::utc(), runs, columns: None };
        for width in [1, 2, 10, 200] {
            for height in 1..40 {
                let scene = Scene {
                    board: &board,
                    view: &view,
                    scheduled: NOT_SCHEDULED,
                    glance: &shown,
                    events: &events,
                    unread: None,
                    colors: true,
                };
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| draw(frame, scene)).unwrap();
                let text = terminal.backend().to_string();
                let last = many[5].id.short();
                assert!(width < 10 || text.contains(&format!("> {}", &last[..7])), "{width}x{height}:\n{text}");
            }
        }
    }

    #[test]
    fn seconds_count_down() {
        let now = at(NOW);
        for (seconds, text) in
            [(0, "0s"), (14, "14s"), (60, "1m 00s"), (3599, "59m 59s"), (23354, "6h 29m 14s"), (180_000, "50h 00m 00s")]
        {
            assert_eq!(countdown(now, now + chrono::TimeDelta::seconds(seconds)), text);
        }
        assert_eq!(countdown(now, now - chrono::TimeDelta::seconds(5)), "0s");
    }
}
