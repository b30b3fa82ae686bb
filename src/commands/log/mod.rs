//! `eg log`: the audit trail. No network, no runtime, no lock, no configuration. [`entry`] is an event with its names, [`csv`]
//! writes rows for spreadsheets.

pub mod csv;
pub mod entry;

use self::{
    csv::csv,
    entry::{LogEntry, concerns, entry_json},
};
use crate::{
    commands::{context::Context, global::Output},
    error::{CommandError, Exit, Kind},
    ui::{
        events::{detail, is_telling, word},
        table::{Cell, Table},
    },
};
use chrono::TimeDelta;
use eg_model::{Timestamp, session::record::Session, target::TargetKey, time::duration::parse_up_to};
use eg_state::{Event, KEPT, Store};
use std::{collections::BTreeSet, time::Duration};

/// Show the audit trail: when, who, what, where, and the outcome
///
/// Everything that was asked, tried and found out, oldest first, from the record; on a terminal the last 20 events. -v
/// also shows the bookkeeping and the provider's request ids. Events are kept for 400 days. In `--output csv`, text that
/// a spreadsheet would take for a formula gets an apostrophe in front.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eg log -n 50\n  eg log -f\n  eg log --since 7d --output csv > week.csv")]
pub struct LogArgs {
    /// Only what concerns this session: its id, or at least its first four hex digits
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only the last 8 (hours), 90m, 7d; up to 400d
    #[arg(long, value_name = "D", value_parser = |text: &str| parse_up_to(text, KEPT))]
    since: Option<TimeDelta>,
    /// Only the last N events (0 = all) [default: 20 on a terminal, else all]
    #[arg(short = 'n', long, value_name = "N")]
    number: Option<usize>,
    /// Then show events as they come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// The default number of events on a terminal.
const USUAL: usize = 20;
/// So many earlier events are counted.
const COUNTED: usize = 1000;
/// The time between two looks at the record for new events.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(context: &Context<'_>, args: &LogArgs) -> Result<Exit, CommandError> {
    let mut trail = Trail { context, args, session: None, after: 0, shown: None, headed: false };
    let mut damaged = false;
    match context.store_for_reading()? {
        Some(store) => {
            trail.begin(&store)?;
            damaged = context.tell_damaged(Some(&store));
        }
        None if args.session.is_some() => {
            let path = context.state.path.display();
            return Err(CommandError::new(Kind::NotFound, "there is no session yet")
                .hint(format!("the state file {path} does not exist")));
        }
        None => trail.show(&[])?,
    }
    while args.follow && !context.printer.has_lost_its_reader() {
        std::thread::sleep(LOOK);
        if let Some(store) = context.store_for_reading()? {
            trail.go_on(&store)?;
        }
    }
    Ok(if damaged { Exit::Failed } else { Exit::Done })
}

/// The events that were shown so far.
struct Trail<'a> {
    context: &'a Context<'a>,
    args: &'a LogArgs,
    /// Only events that concern this session.
    session: Option<Session>,
    /// The number of the last event that was read.
    after: i64,
    shown: Option<Table>,
    /// True once the header of the CSV was printed.
    headed: bool,
}

impl Trail<'_> {
    fn begin(&mut self, store: &Store) -> Result<(), CommandError> {
        self.session = self.args.session.as_ref().map(|id| self.context.find(store, id)).transpose()?;
        // A time before the calendar begins is before every event.
        let since = self.args.since.and_then(|since| self.context.env.now().checked_sub_signed(since));
        let most = self.most();
        // Beyond those that are shown, only so many are counted.
        let read = if self.args.number.is_none() { most.saturating_add(COUNTED + 1) } else { most };
        let (mut events, last) = match (&self.session, since) {
            (Some(session), _) => store.events_about(session.id, lifetime(session))?,
            (None, Some(since)) => store.events_since(since)?,
            (None, None) if most == usize::MAX => store.events_after(0)?,
            (None, None) => store.newest_events(read, |event| self.wants(event))?,
        };
        self.after = last;
        events.retain(|event| since.is_none_or(|since| event.at >= since) && self.wants(event));
        let left_out = events.len().saturating_sub(most);
        let entries = entries(store, events.split_off(left_out))?;
        self.show(&entries)?;
        if left_out > 0 && self.args.number.is_none() {
            let many = if left_out > COUNTED { format!("over {COUNTED}") } else { left_out.to_string() };
            self.context.printer.remark(&format!("{many} earlier: eg log -n 0"));
        }
        Ok(())
    }

    fn go_on(&mut self, store: &Store) -> Result<(), CommandError> {
        // The record may have been replaced by one with fewer events.
        let (mut events, last) = store.events_after(self.after)?;
        self.after = last;
        events.retain(|event| self.wants(event));
        if events.is_empty() { Ok(()) } else { self.show(&entries(store, events)?) }
    }

    /// The number of events to begin with.
    fn most(&self) -> usize {
        let whole = self.context.global.output != Output::Table || !self.context.env.stdout_is_terminal;
        match self.args.number {
            Some(0) => usize::MAX,
            Some(number) => number,
            None if whole => usize::MAX,
            None => USUAL,
        }
    }

    fn show(&mut self, entries: &[LogEntry]) -> Result<(), CommandError> {
        let printer = self.context.printer;
        match self.context.global.output {
            Output::Csv => printer.verbatim(&csv(entries, !std::mem::replace(&mut self.headed, true))?),
            Output::Json if self.args.follow => entries.iter().for_each(|entry| printer.json_line(&entry_json(entry))),
            Output::Json => printer.json(&entries.iter().map(entry_json).collect::<Vec<_>>()),
            Output::Table if entries.is_empty() && !self.args.follow => printer.remark("No events."),
            Output::Table if entries.is_empty() => {}
            Output::Table => {
                let mut table = self.shown.as_ref().map_or_else(|| self.header(), Table::below);
                entries.iter().for_each(|entry| self.row(&mut table, entry));
                printer.result(&table.render_in(self.context.env.stdout_columns));
                self.shown = Some(table);
            }
        }
        Ok(())
    }

    fn wants(&self, event: &Event) -> bool {
        let whole = self.context.global.output != Output::Table || self.context.global.verbose > 0;
        (whole || is_telling(event.kind)) && self.session.as_ref().is_none_or(|session| concerns(event, session))
    }

    fn header(&self) -> Table {
        match self.context.global.verbose {
            0 => Table::new(["WHEN", "WHO", "WHAT", "SESSION", "RESOURCE", "PERMISSION", "RULE", "DETAIL"]),
            _ => Table::new(["WHEN", "WHO", "WHAT", "SESSION", "RESOURCE", "PERMISSION", "RULE", "REQUEST", "DETAIL"]),
        }
    }

    /// An event's row; its error, if any, in a line below.
    fn row(&self, table: &mut Table, entry: &LogEntry) {
        let (event, zone) = (&entry.event, &self.context.zone);
        let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        let target = || event.target.as_ref().map(|target| target.id.clone());
        let (detail, trouble) = detail(event);
        let mut cells = vec![
            Cell::new(zone.format(event.at)),
            or_dash(entry.user.as_ref().map(|(name, _)| name.clone())),
            Cell::new(word(event)),
            or_dash(event.session.map(|id| id.short())),
            or_dash(entry.resource.clone().or_else(target)),
            or_dash(entry.permission()),
            or_dash(event.rule_id.as_ref().map(ToString::to_string)),
        ];
        if self.context.global.verbose > 0 {
            cells.push(or_dash(event.request_id.clone()));
        }
        cells.push(or_dash(detail.map(|text| zone.in_text(&text))));
        table.row(cells);
        if let Some(trouble) = trouble {
            table.note(zone.in_text(&trouble));
        }
    }
}

/// The times of a session's first and last event.
fn lifetime(session: &Session) -> (Timestamp, Timestamp) {
    let removed: Option<Vec<Timestamp>> = session.grants.iter().map(|grant| grant.removed_at).collect();
    let last = removed.and_then(|times| times.into_iter().max());
    (session.started_at, last.unwrap_or(Timestamp::MAX_UTC))
}

/// Events with their names.
fn entries(store: &Store, events: Vec<Event>) -> Result<Vec<LogEntry>, CommandError> {
    let users = store.users(&events.iter().filter_map(|event| event.session).collect())?;
    let targets: BTreeSet<TargetKey> = events.iter().filter_map(|event| event.target.clone()).collect();
    let names = store.names_of(&targets)?;
    let runs = store.run_kinds(&events.iter().filter_map(|event| event.run).collect())?;
    let entry = |event: Event| LogEntry {
        user: event.session.and_then(|id| users.get(&id)).cloned(),
        resource: event.target.as_ref().and_then(|target| names.get(target)).cloned(),
        command: event.run.and_then(|run| runs.get(&run)).copied(),
        event,
    };
    Ok(events.into_iter().map(entry).collect())
}
