//! `eg sweep`: whole accounts, with credentials alone. Opens no record, makes none, and takes no lock. [`regions`] finds the
//! accounts and regions to read, [`warnings`] says what is still open and why.

pub mod regions;
pub mod warnings;

use self::{
    regions::region_name,
    warnings::{warn_of_open, warn_of_unread},
};
use crate::{
    commands::{
        context::{block_on, listen},
        resource::discover::aws_kind,
    },
    error::{CommandError, Exit, Kind},
    host::{env::Env, signals::Interrupt},
    sweep::{
        accounts::{SweepResult, Sweeper},
        group::{Outcome, SweepRow},
        reading::SweepReading,
        view,
    },
    targets::route::name_endpoints,
    ui::{printer::Printer, time::Zone, warning::Code},
};
use chrono::TimeDelta;
use eg_model::{
    ids::InstallationId,
    sweep::{
        holders::{Holder, marked_rules},
        judge::{KeepReason, SweepScope, owners_like},
    },
    text::shell_quoted,
    time::duration::parse_duration,
};
use eg_providers::{Kind as FirewallKind, aws::PROVIDER, kinds_of};
use std::collections::BTreeSet;

/// Find and close expired eg rules across accounts
///
/// Needs credentials and nothing else: no configuration, no record, no other machine. Looks at security groups, prefix
/// lists and WAF IP sets. Closes a rule when its tags are
/// genuine and no lease holds it any more. Then removes tags of lists and sets whose every lease has expired. Leases are judged by the provider's clock and count for ten minutes beyond
/// their time, as everywhere. For a central cron, a CI job, an audit (--dry-run) or an incident (--revoke-all).
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
    /// Only this kind of firewall (security-group, prefix-list, waf-ip-set); may be repeated [default: all of them]
    #[arg(long, value_name = "KIND", value_parser = aws_kind)]
    kind: Vec<&'static FirewallKind>,
    /// Show what would be closed, and close nothing
    #[arg(long)]
    dry_run: bool,
    /// Close only what expired longer ago than this (8h, 90m, 2d)
    #[arg(long, value_name = "D", value_parser = parse_duration, conflicts_with = "revoke_all")]
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

/// Fewer characters than this name no installation.
const SHORTEST_OWNER: usize = 4;

fn owner(text: &str) -> Result<String, String> {
    match InstallationId::parse(text).filter(|_| text.len() >= SHORTEST_OWNER) {
        Some(id) => Ok(id.as_str().to_owned()),
        None => Err(format!("an installation's id, or at least the first {SHORTEST_OWNER} characters of it")),
    }
}

pub fn run(env: &Env, printer: &Printer, args: &SweepArgs) -> Result<Exit, CommandError> {
    let zone = Zone::load(env.var_as_set("TZ")).zone;
    block_on(async {
        let interrupt = listen()?;
        Sweep { env, printer, args, zone: &zone, interrupt: &interrupt }.run().await
    })
}

struct Sweep<'a> {
    env: &'a Env,
    printer: &'a Printer,
    args: &'a SweepArgs,
    zone: &'a Zone,
    interrupt: &'a Interrupt,
}

impl Sweep<'_> {
    async fn run(&self) -> Result<Exit, CommandError> {
        let args = self.args;
        let kinds = if args.kind.is_empty() { kinds_of(PROVIDER).collect() } else { args.kind.clone() };
        let sweeper = Sweeper { env: self.env, connect: self.env.connect(), kinds, interrupt: self.interrupt };
        let accounts = regions::accounts(self.env, &args.profile, &args.region).await?;
        if !self.only_shows() {
            name_endpoints(self.printer, accounts.iter().map(|account| &account.target));
        }
        let mut reading = sweeper.read(&accounts).await;
        warn_of_unread(self.printer, &reading.unread);
        let scope = self.scope(&reading)?;
        let groups = std::mem::take(&mut reading.groups);
        let swept = sweeper.sweep(groups, &scope, self.only_shows()).await;
        warn_of_unread(self.printer, &swept.unread);
        reading.unread.extend(swept.unread.iter().cloned());
        let exit = exit(&reading, &swept);
        self.report(&reading, &swept, &scope, exit);
        if let Some(number) = self.interrupt.asked() {
            return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; the rest was not done"));
        }
        if args.revoke_all && !args.yes && !args.dry_run {
            let error = CommandError::new(Kind::Usage, "nothing was changed: --revoke-all needs --yes");
            return Err(error.hint("what it would do is shown above; run it again with --yes"));
        }
        Ok(exit)
    }

    fn only_shows(&self) -> bool {
        self.args.dry_run || (self.args.revoke_all && !self.args.yes)
    }

    /// The rules to close: those that have expired, or all of one installation, whose id must be unique among the rules.
    fn scope(&self, reading: &SweepReading) -> Result<SweepScope, CommandError> {
        let Some(asked) = &self.args.owner else {
            return Ok(SweepScope::Expired { older_than: self.args.older_than.unwrap_or_default() });
        };
        let rules =
            reading.groups.iter().map(|group| marked_rules(&group.target.id, &group.reading, None, &BTreeSet::new()));
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
                let read = if reading.unread.is_empty() { "no rule" } else { "no rule that could be read" };
                let message = format!("{read} carries a lease of the installation \"{asked}\"");
                Err(CommandError::new(Kind::NotFound, message).hint("see who holds what: eg sweep --dry-run"))
            }
        }
    }

    fn report(&self, reading: &SweepReading, swept: &SweepResult, scope: &SweepScope, exit: Exit) {
        let report = view::Report {
            swept,
            found: reading,
            owner: match scope {
                SweepScope::Owner { owner, .. } => Some(owner),
                SweepScope::Expired { .. } => None,
            },
            dry_run: self.only_shows(),
            now: self.env.now(),
            columns: self.env.stdout_columns,
        };
        self.printer.json(&report.json());
        self.printer.result(&report.text(self.zone, exit == Exit::Done));
        warn_of_open(self.printer, swept);
        self.warn_of_survivors(&swept.rows);
    }

    /// Names the rules of the owner that stay open and their holders, and once, the command that closes them all the same.
    fn warn_of_survivors(&self, rows: &[SweepRow]) {
        let mut hinted = false;
        for row in rows.iter().filter(|row| row.outlives_owner()) {
            let hint = row.still_held_by.first().filter(|_| !hinted).map(|holder| self.even_if_held(holder));
            hinted |= hint.is_some();
            self.printer.warn(Code::NotClosed, &view::survivor(row, self.zone), hint.as_slice());
        }
    }

    /// Names the owner; after a real sweep the other holder, since the owner's own lease is off the rule.
    fn even_if_held(&self, holder: &Holder) -> String {
        let asked = self.args.owner.as_deref().filter(|_| self.only_shows());
        let owner = asked.unwrap_or(holder.installation.as_str());
        let regions = self.args.region.iter().map(|region| format!(" --region {}", shell_quoted(region)));
        let profiles = self.args.profile.iter().map(|profile| format!(" --profile {}", shell_quoted(profile)));
        let kinds = self.args.kind.iter().map(|kind| format!(" --kind {}", kind.name));
        let places: String = regions.chain(profiles).chain(kinds).collect();
        format!(
            "anyone who may write tags may have written that lease; to close the rule all the same: \
             eg sweep{places} --revoke-all --owner {owner} --even-if-held --yes"
        )
    }
}

/// | what | status |
/// |---|---|
/// | everything was read, and nothing is due any more | 0 |
/// | nothing could be read; or all that was due was refused | 1 |
/// | some of it could not be read, is not known to be closed, or would be closed (`--dry-run`) | 3 |
/// | something of the owner's stays open because another holds it, or because its tags do not fit | 3 |
fn exit(reading: &SweepReading, swept: &SweepResult) -> Exit {
    let rows = &swept.rows;
    let outcomes: Vec<&Outcome> = swept.outcomes().collect();
    let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(_));
    let kept_by_clock = rows.iter().any(|row| row.swept.kept == Some(KeepReason::Clock));
    if reading.places.is_empty() || (!outcomes.is_empty() && outcomes.iter().all(refused)) {
        return Exit::Failed;
    }
    let open = outcomes.iter().any(|outcome| outcome.is_open() || **outcome == Outcome::Planned);
    let outlived = rows.iter().any(SweepRow::outlives_owner);
    if open || kept_by_clock || outlived || !reading.unread.is_empty() { Exit::Partial } else { Exit::Done }
}
