//! `eg sweep`: whole accounts, with credentials alone. Opens no record, makes none, and takes no lock.

use crate::commands::context::{listen, runtime};
use crate::targets::route::{environment_profile, name_endpoints, target_for};
use crate::{
    error::{CommandError, Exit, Kind, Work, advice_for},
    host::{env::Env, signals::Interrupt},
    sweep::{
        accounts::{Outcome, Regions, SweepAccount, SweepReading, SweepRow, Sweeper},
        view,
    },
    text::shell_quoted,
    ui::{printer::Printer, time::Zone, warning::Code},
};
use chrono::TimeDelta;
use eg_model::{
    failure::FailureClass,
    ids::InstallationId,
    sweep::{
        holders::{Holder, marked_rules},
        judge::{KeepReason, SweepScope, owners_like},
    },
    target::{Target, TargetKey},
    time::duration::parse_duration,
};
use eg_providers::aws::{PROVIDER, SECURITY_GROUP, region};
use std::collections::{BTreeMap, BTreeSet};

/// Find and close expired eg rules across accounts
///
/// Needs credentials and nothing else: no configuration, no record, no other machine. A rule is closed when its marks
/// are its own and no lease holds it any more; leases are judged by the provider's clock and count for ten minutes
/// beyond their time, as everywhere. For a central cron, a CI job, an audit (--dry-run) or an incident (--revoke-all).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg sweep --profile prod --profile staging --region all --dry-run\n\n\
                        For an incident: eg sweep --region all --revoke-all --owner 0c9d8e7f --yes\n\
                        A machine that still runs opens its rules again: take its credentials away first, and run the \
                        same command again after five minutes, when every new rule shows. A rule that another \
                        installation holds stays open (exit status 3, the holders are named): who may write tags may \
                        have written such a lease on purpose. --even-if-held closes it all the same.")]
pub struct SweepArgs {
    /// A region, or `all` that are enabled for the account; may be repeated [default: AWS_REGION, else the profile's]
    #[arg(long, value_name = "R", value_parser = region_name)]
    region: Vec<String>,
    /// A profile whose credentials to use; may be repeated [default: the environment's credentials]
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Show what would be closed, and close nothing
    #[arg(long)]
    dry_run: bool,
    /// Close only what expired longer ago than this (8h, 90m, 2d)
    #[arg(long, value_name = "D", value_parser = older_than, conflicts_with = "revoke_all")]
    older_than: Option<TimeDelta>,
    /// Close everything of one installation, expired or not; where another still holds a rule, take its tag off
    #[arg(long, requires = "owner")]
    revoke_all: bool,
    /// With --revoke-all: close also what another installation holds
    #[arg(long, requires = "revoke_all")]
    even_if_held: bool,
    /// The installation for --revoke-all: its id as --output json shows it, or a unique beginning of it
    #[arg(long, value_name = "ID", value_parser = owner, requires = "revoke_all")]
    owner: Option<String>,
    /// Really revoke; without it --revoke-all is a dry run
    #[arg(long, requires = "revoke_all", conflicts_with = "dry_run")]
    yes: bool,
}

/// Every region that is enabled for the account.
const ALL: &str = "all";
/// Who is asked which regions there are, where nothing names a region.
const FIRST_REGION: &str = "us-east-1";
/// Fewer characters than this name no installation.
const SHORTEST_OWNER: usize = 4;

fn region_name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let fits = (3..=40).contains(&text.len()) && plain && text.starts_with(|c: char| c.is_ascii_lowercase());
    if fits { Ok(text.to_owned()) } else { Err("a region looks like eu-west-1; `all` means every one".to_owned()) }
}

fn older_than(text: &str) -> Result<TimeDelta, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn owner(text: &str) -> Result<String, String> {
    match InstallationId::parse(text).filter(|_| text.len() >= SHORTEST_OWNER) {
        Some(id) => Ok(id.as_str().to_owned()),
        None => Err(format!("an installation's id, or at least the first {SHORTEST_OWNER} characters of it")),
    }
}

/// Reads, judges, closes, reports.
///
/// # Errors
/// No region is known, the owner is not known or not the only one, or `--revoke-all` lacks its `--yes`.
pub fn run(env: &Env, printer: &Printer, args: &SweepArgs) -> Result<Exit, CommandError> {
    let zone = Zone::load(env.var_as_set("TZ")).zone;
    let runtime = runtime()?;
    let swept = runtime.block_on(async {
        let interrupt = listen()?;
        let sweeper = Sweeper { env, connect: env.connect(), interrupt: &interrupt };
        Sweep { env, printer, args, zone: &zone, interrupt: &interrupt, sweeper: &sweeper }.run().await
    });
    runtime.shutdown_background();
    swept
}

struct Sweep<'a> {
    env: &'a Env,
    printer: &'a Printer,
    args: &'a SweepArgs,
    zone: &'a Zone,
    interrupt: &'a Interrupt,
    sweeper: &'a Sweeper<'a>,
}

impl Sweep<'_> {
    async fn run(&self) -> Result<Exit, CommandError> {
        let accounts = self.accounts().await?;
        if !self.only_shows() {
            name_endpoints(self.printer, accounts.iter().map(|account| &account.target));
        }
        let mut found = self.sweeper.read(&accounts).await;
        self.tell_unread(&found);
        let wish = self.wish(&found)?;
        let groups = std::mem::take(&mut found.groups);
        let rows = self.sweeper.sweep(groups, &wish, self.only_shows()).await;
        let report = view::Report {
            rows: &rows,
            found: &found,
            owner: match &wish {
                SweepScope::Owner { owner, .. } => Some(owner),
                SweepScope::Expired { .. } => None,
            },
            dry_run: self.only_shows(),
            now: self.env.now(),
            columns: self.env.stdout_columns,
        };
        let exit = exit(&found, &rows);
        self.printer.json(&report.json());
        self.printer.result(&report.text(self.zone, exit == Exit::Done));
        self.tell_rows(&rows);
        self.tell_survivors(&rows);
        if let Some(number) = self.interrupt.asked() {
            return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; the rest was not done"));
        }
        if self.args.revoke_all && !self.args.yes && !self.args.dry_run {
            let error = CommandError::new(Kind::Usage, "nothing was changed: --revoke-all needs --yes");
            return Err(error.hint("what it would do is shown above; run it again with --yes"));
        }
        Ok(exit)
    }

    fn only_shows(&self) -> bool {
        self.args.dry_run || (self.args.revoke_all && !self.args.yes)
    }

    /// Each set of credentials once, with its regions.
    async fn accounts(&self) -> Result<Vec<SweepAccount>, CommandError> {
        let profiles: Vec<Option<String>> = match self.args.profile.as_slice() {
            [] => vec![environment_profile(self.env)],
            named => named.iter().cloned().map(Some).collect(),
        };
        let mut accounts = Vec::new();
        for profile in profiles {
            let mut target = self.target(profile);
            let regions = self.regions(&mut target).await?;
            accounts.push(SweepAccount { target, regions });
        }
        Ok(accounts)
    }

    /// The regions to look at; the way gets one of them to ask who is calling.
    async fn regions(&self, target: &mut Target) -> Result<Regions, CommandError> {
        let named: BTreeSet<String> = self.args.region.iter().filter(|name| *name != ALL).cloned().collect();
        let all = named.len() < self.args.region.len() && self.args.region.iter().any(|name| name == ALL);
        let (first, regions) = match (named.first().cloned(), all) {
            (Some(first), false) => (first, Regions::Named(named)),
            (_, true) => {
                let known = region::home(|name| self.env.var(name), &target.route).await;
                (known.unwrap_or_else(|| FIRST_REGION.to_owned()), Regions::All)
            }
            (None, false) => {
                let usual = region::usual(|name| self.env.var(name), &target.route).await;
                let region = usual.ok_or_else(|| no_region(target))?;
                (region.clone(), Regions::Named(BTreeSet::from([region])))
            }
        };
        target.key.region = first;
        Ok(regions)
    }

    fn target(&self, profile: Option<String>) -> Target {
        target_for(self.env, TargetKey::new(PROVIDER, SECURITY_GROUP, "", ""), profile)
    }

    fn wish(&self, found: &SweepReading) -> Result<SweepScope, CommandError> {
        let Some(asked) = &self.args.owner else {
            return Ok(SweepScope::Expired { older_than: self.args.older_than.unwrap_or_default() });
        };
        let rules =
            found.groups.iter().map(|group| marked_rules(&group.target.id, &group.reading, None, &BTreeSet::new()));
        let rules: Vec<_> = rules.flatten().collect();
        let mut like = owners_like(&rules, asked);
        match (like.pop_first(), like.is_empty()) {
            (Some(owner), true) => Ok(SweepScope::Owner { owner, even_if_held: self.args.even_if_held }),
            (Some(first), false) => {
                let ids: Vec<String> = std::iter::once(first).chain(like).map(|id| id.to_string()).collect();
                let message = format!("\"{asked}\" fits {} installations: {}", ids.len(), ids.join(", "));
                Err(CommandError::new(Kind::Ambiguous, message).hint("use more characters"))
            }
            (None, _) => {
                let read = if found.unread.is_empty() { "no rule" } else { "no rule that could be read" };
                let message = format!("{read} carries a lease of the installation \"{asked}\"");
                Err(CommandError::new(Kind::NotFound, message).hint("see who holds what: eg sweep --dry-run"))
            }
        }
    }

    /// What could not be read is never empty, so it is always said.
    fn tell_unread(&self, found: &SweepReading) {
        for unread in &found.unread {
            let message = format!("{} cannot be read: {}", view::name(unread), unread.failure);
            self.printer.warn(Code::NotRead, &message, &[advice_for(Work::Sweeping, unread.failure.class).to_owned()]);
        }
    }

    /// Why something that is due is still open; each reason once.
    fn tell_rows(&self, rows: &[SweepRow]) {
        if rows.iter().any(|row| row.swept.kept == Some(KeepReason::Clock)) {
            let message = "this machine's clock and the provider's differ, or the provider did not tell its time: what \
                           has expired is left alone";
            self.printer.warn(Code::Clock, message, &["set the clock, then run eg sweep again".to_owned()]);
        }
        let open: Vec<&Outcome> =
            rows.iter().filter_map(|row| row.outcome.as_ref()).filter(|it| it.is_open()).collect();
        let mut failures: BTreeMap<FailureClass, usize> = BTreeMap::new();
        for failure in open.iter().filter_map(|outcome| outcome.failure()) {
            *failures.entry(failure.class).or_default() += 1;
        }
        for (class, count) in &failures {
            let message = format!("{} not known to be closed: {class}", rules_are(*count));
            self.printer.warn(Code::NotClosed, &message, &[advice_for(Work::Sweeping, *class).to_owned()]);
        }
        let silent = open.len() - failures.values().sum::<usize>();
        if silent > 0 {
            self.printer.warn(
                Code::NotClosed,
                &format!("{} not known to be closed", rules_are(silent)),
                &[advice_for(Work::Sweeping, FailureClass::Unknown).to_owned()],
            );
        }
    }
}

impl Sweep<'_> {
    /// What was to go with its owner and stays open, who holds it, and once, what closes it all the same.
    fn tell_survivors(&self, rows: &[SweepRow]) {
        let mut told = false;
        for row in rows.iter().filter(|row| row.outlives_owner()) {
            let hint = row.still_held_by.first().filter(|_| !told).map(|holder| self.even_if_held(holder));
            told |= hint.is_some();
            self.printer.warn(Code::NotClosed, &view::survivor(row, self.zone), &hint.into_iter().collect::<Vec<_>>());
        }
    }

    /// Where the owner's own lease is off by now, another holder has to name the rule.
    fn even_if_held(&self, holder: &Holder) -> String {
        let asked = self.args.owner.as_deref().filter(|_| self.only_shows());
        let owner = asked.unwrap_or(holder.installation.as_str());
        let regions = self.args.region.iter().map(|region| format!(" --region {}", shell_quoted(region)));
        let profiles = self.args.profile.iter().map(|profile| format!(" --profile {}", shell_quoted(profile)));
        let places: String = regions.chain(profiles).collect();
        format!(
            "whoever may write tags can have written that lease; to close the rule all the same: \
             eg sweep{places} --revoke-all --owner {owner} --even-if-held --yes"
        )
    }
}

fn rules_are(count: usize) -> String {
    if count == 1 { "1 rule is".to_owned() } else { format!("{count} rules are") }
}

/// | what | status |
/// |---|---|
/// | everything was read, and nothing is due any more | 0 |
/// | nothing could be read; or all that was due was refused | 1 |
/// | some of it could not be read, is not known to be closed, or would be closed (`--dry-run`) | 3 |
/// | something of the owner's stays open because another holds it, or because its marks do not fit | 3 |
fn exit(found: &SweepReading, rows: &[SweepRow]) -> Exit {
    let outcomes: Vec<&Outcome> = rows.iter().filter_map(|row| row.outcome.as_ref()).collect();
    let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(_));
    let kept_by_clock = rows.iter().any(|row| row.swept.kept == Some(KeepReason::Clock));
    if found.places.is_empty() || (!outcomes.is_empty() && outcomes.iter().all(refused)) {
        return Exit::Failed;
    }
    let open = outcomes.iter().any(|outcome| outcome.is_open() || **outcome == Outcome::Planned);
    let outlived = rows.iter().any(SweepRow::outlives_owner);
    if open || kept_by_clock || outlived || !found.unread.is_empty() { Exit::Partial } else { Exit::Done }
}

fn no_region(target: &Target) -> CommandError {
    let profile = target.route.profile.as_ref().map_or(String::new(), |name| format!(" for the profile {name}"));
    CommandError::new(Kind::Usage, format!("no region{profile}: pass --region, or set one in the profile"))
        .hint("for every region of the account: --region all")
}
