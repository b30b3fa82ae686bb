//! The table and the JSON of `eg sweep`: every marked rule with its holders and its outcome.

use crate::{
    sweep::{
        accounts::SweepResult,
        container::TagRow,
        group::{Outcome, SweepRow},
        reading::{AccountRegion, SweepReading, UnreadRegion},
    },
    ui::{
        holder, json,
        opening::opening,
        style,
        table::{Cell, Table},
        time::Zone,
    },
};
use eg_model::{
    Timestamp,
    ids::InstallationId,
    sweep::{
        holders::Holder,
        judge::{KeepReason, State, SweepAction},
    },
    tags::Fit,
    time::duration::overdue,
};
use serde_json::{Value, json};

pub struct Report<'a> {
    pub swept: &'a SweepResult,
    pub found: &'a SweepReading,
    /// The installation whose rules were to be closed; `None`: all rules that have expired.
    pub owner: Option<&'a InstallationId>,
    pub dry_run: bool,
    pub now: Timestamp,
    /// The width of the terminal; `None`: as wide as the table.
    pub columns: Option<usize>,
}

/// The name of a place that could not be read, for people.
pub fn name(unread: &UnreadRegion) -> String {
    let account = unread.account.as_ref().map(|id| format!("account {id}"));
    let profile = unread.profile.as_ref().map(|name| format!("profile {name}"));
    let whose = match (account, profile) {
        (Some(account), Some(profile)) => format!("{account} ({profile})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "the environment's account".to_owned(),
    };
    let place = unread.region.as_ref().map_or(whose.clone(), |region| format!("{region} of {whose}"));
    match (&unread.group, unread.kind) {
        (Some(group), _) => format!("{group} in {place}"),
        (None, Some(kind)) => format!("the {} in {place}", kind.noun.many),
        (None, None) => place,
    }
}

/// The line about a rule of the owner that stays open, with the reason.
pub fn survivor(row: &SweepRow, zone: &Zone) -> String {
    let rule = &row.swept.rule;
    let (id, opens) = (&rule.id, opening(&row.target, &rule.permission));
    let place = format!("{} in {} of account {}", row.target.id, row.place.region, row.place.account);
    let why = match (&rule.fit, row.still_held_by.as_slice()) {
        (Fit::Misfit(misfit), []) => {
            format!("{}, so eg leaves it alone; close it by hand if nobody needs it", misfit.why())
        }
        (_, holders) => {
            let until = |holder: &Holder| {
                let until = holder.until.map(|at| format!(" until {}", zone.format(at))).unwrap_or_default();
                format!("{}{until}", holder.installation)
            };
            format!("held by {}", holders.iter().map(until).collect::<Vec<_>>().join(", "))
        }
    };
    format!("{id} ({opens} on {place}) stays open: {why}")
}

impl Report<'_> {
    /// The table and the closing line.
    pub fn text(&self, zone: &Zone, done: bool) -> String {
        let empty = self.swept.rows.is_empty() && self.swept.tags.is_empty();
        let table = if empty { String::new() } else { self.table(zone) };
        format!("{table}{}{}\n", if done { "✓ " } else { "" }, self.summary())
    }

    fn table(&self, zone: &Zone) -> String {
        let mut table = Table::new([
            "ACCOUNT",
            "REGION",
            "GROUP",
            "RULE",
            "PERMISSION",
            "STATE",
            "RESULT",
            "DESCRIPTION",
            "HOLDER",
            "UNTIL",
        ]);
        for row in &self.swept.rows {
            let rule = &row.swept.rule;
            let cells = [
                Cell::new(&row.place.account),
                Cell::new(&row.place.region),
                Cell::new(&row.target.id),
                Cell::new(&rule.id.0),
                Cell::new(opening(&row.target, &rule.permission)),
                self.state(row),
                rule_result(row),
                Cell::new(rule.description.as_deref().unwrap_or("-")),
            ];
            let holder = |holder: &Holder| [Cell::new(holder::name(holder)), holder::until(holder, zone)];
            holder::rows(&mut table, cells, rule.holders.iter().map(holder));
            if let Some(note) = note(row) {
                table.note(note);
            }
        }
        for tag in &self.swept.tags {
            table.row([
                Cell::new(&tag.place.account),
                Cell::new(&tag.place.region),
                Cell::new(&tag.target.id),
                Cell::new("tag"),
                Cell::new("-"),
                Cell::styled(format!("expired {} ago", overdue(self.now, tag.mark.until)), style::UNDER_WAY),
                result(Some(&tag.outcome), ["to remove", "removed"]),
                Cell::new(&tag.mark.key),
                Cell::new(holder::short_installation(tag.mark.installation.as_str())),
                Cell::styled(format!("{} (expired)", zone.format(tag.mark.until)), style::ENDED),
            ]);
            if let Some(failure) = tag.outcome.failure() {
                table.note(failure.to_string());
            }
        }
        table.render_in(self.columns)
    }

    fn state(&self, row: &SweepRow) -> Cell {
        match (row.swept.state, row.swept.until) {
            (State::Held, _) => Cell::new("held"),
            (State::Expired, Some(until)) => {
                Cell::styled(format!("expired {} ago", overdue(self.now, until)), style::UNDER_WAY)
            }
            (State::Expired, None) => Cell::styled("expired", style::UNDER_WAY),
            (State::Unheld, _) => Cell::styled("no lease left", style::UNDER_WAY),
            (State::Misfit, _) => Cell::styled("tags do not match", style::BAD),
        }
    }

    fn summary(&self) -> String {
        if self.swept.rows.is_empty() && self.found.places.is_empty() {
            return "No account or region could be read".to_owned();
        }
        let wanted = if self.dry_run { Outcome::Planned } else { Outcome::Done };
        let done = if self.dry_run { "would be removed" } else { "removed" };
        let tags = match self.swept.tags.iter().filter(|tag| tag.outcome == wanted).count() {
            0 => String::new(),
            1 => format!("; 1 expired tag {done}"),
            count => format!("; {count} expired tags {done}"),
        };
        self.summary_of_rules() + &tags
    }

    fn summary_of_rules(&self) -> String {
        let rows = &self.swept.rows;
        if rows.is_empty() {
            return "No rules managed by eg".to_owned();
        }
        let of = |wanted: Outcome, untag: bool| {
            let matches = |row: &&SweepRow| {
                row.outcome.as_ref() == Some(&wanted)
                    && matches!(row.swept.deed, Some(SweepAction::Untag { .. })) == untag
            };
            rows.iter().filter(matches).count()
        };
        let all = rows.len();
        let (outcome, closed, untagged) = if self.dry_run {
            (Outcome::Planned, "would be closed", "would lose a tag")
        } else {
            (Outcome::Done, "closed", "lost a tag")
        };
        let tags = match of(outcome.clone(), true) {
            0 => String::new(),
            count => format!(", {count} {untagged}"),
        };
        let stays = match rows.iter().filter(|row| row.outlives_owner()).count() {
            0 => String::new(),
            1 => ", 1 stays open".to_owned(),
            count => format!(", {count} stay open"),
        };
        let rules = if all == 1 { "rule" } else { "rules" };
        let held = |row: &SweepRow| row.swept.deed.is_none() && row.swept.state == State::Held && !row.outlives_owner();
        if rows.iter().all(held) {
            return format!("Nothing to close; {all} {rules} still in use");
        }
        format!("{} of {all} {rules} {closed}{tags}{stays}", of(outcome, false))
    }

    /// The document of the schema `sweep`.
    pub fn json(&self) -> Value {
        let place =
            |place: &AccountRegion| json!({"account": place.account, "region": place.region, "profile": place.profile});
        let unread = |unread: &UnreadRegion| {
            json!({
                "account": unread.account,
                "region": unread.region,
                "profile": unread.profile,
                "resourceId": unread.group,
                "message": unread.failure.to_string(),
            })
        };
        json!({
            "dryRun": self.dry_run,
            "owner": self.owner.map(InstallationId::as_str),
            "places": self.found.places.iter().map(place).collect::<Vec<_>>(),
            "rules": self.swept.rows.iter().map(|row| self.rule(row)).collect::<Vec<_>>(),
            "tags": self.swept.tags.iter().map(tag_json).collect::<Vec<_>>(),
            "unavailable": self.found.unread.iter().map(unread).collect::<Vec<_>>(),
        })
    }

    fn rule(&self, row: &SweepRow) -> Value {
        let (swept, rule) = (&row.swept, &row.swept.rule);
        let expired = swept.until.filter(|_| swept.state == State::Expired);
        json!({
            "account": row.place.account,
            "region": row.place.region,
            "profile": row.place.profile,
            "provider": row.target.provider,
            "kind": row.target.kind,
            "resourceId": row.target.id,
            "ruleId": rule.id.0,
            "permission": json::permission(&rule.permission),
            "description": rule.description,
            "sessionId": rule.opener.map(|id| id.to_string()),
            "state": swept.state,
            "until": swept.until.map(json::time),
            "expiredForSeconds": expired.map(|until| (self.now - until).num_seconds().max(0)),
            "holders": rule.holders.iter().map(holder_json).collect::<Vec<_>>(),
            "action": swept.deed.as_ref().map(|deed| match deed {
                SweepAction::Close(_) => "close",
                SweepAction::Untag { .. } => "untag",
            }),
            "outcome": row.outcome.as_ref().map(outcome_word),
            "keptBecause": swept.kept,
            "stillHeldBy": row.still_held_by.iter().map(|holder| holder.installation.as_str()).collect::<Vec<_>>(),
            "errorMessage": row.outcome.as_ref().and_then(Outcome::failure).map(ToString::to_string),
        })
    }
}

fn tag_json(tag: &TagRow) -> Value {
    json!({
        "account": tag.place.account,
        "region": tag.place.region,
        "profile": tag.place.profile,
        "provider": tag.target.provider,
        "kind": tag.target.kind,
        "resourceId": tag.target.id,
        "tag": tag.mark.key,
        "installation": tag.mark.installation.as_str(),
        "until": json::time(tag.mark.until),
        "outcome": outcome_word(&tag.outcome),
        "errorMessage": tag.outcome.failure().map(ToString::to_string),
    })
}

fn holder_json(holder: &Holder) -> Value {
    json!({
        "installation": holder.installation.as_str(),
        "until": holder.until.map(json::time),
        "value": holder.value,
        "state": holder.state.as_str(),
    })
}

fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Planned => "planned",
        Outcome::Done => "done",
        Outcome::Gone => "gone",
        Outcome::HeldAgain => "held-again",
        Outcome::Refused(_) => "refused",
        Outcome::Unknown(_) => "unknown",
        Outcome::Undone(_) => "undone",
    }
}

fn rule_result(row: &SweepRow) -> Cell {
    let untag = matches!(row.swept.deed, Some(SweepAction::Untag { .. }));
    result(row.outcome.as_ref(), if untag { ["to untag", "untagged"] } else { ["to close", "closed"] })
}

/// An outcome, with the words for planned and done.
fn result(outcome: Option<&Outcome>, [planned, done]: [&str; 2]) -> Cell {
    match outcome {
        None => Cell::new("stays"),
        Some(Outcome::Planned) => Cell::styled(planned, style::UNDER_WAY),
        Some(Outcome::Done) => Cell::styled(done, style::GOOD),
        Some(Outcome::Gone) => Cell::new("gone already"),
        Some(Outcome::HeldAgain) => Cell::new("held again"),
        Some(Outcome::Refused(_)) => Cell::styled("refused", style::BAD),
        Some(Outcome::Unknown(_)) => Cell::styled("not known", style::BAD),
        Some(Outcome::Undone(_)) => Cell::styled("not done", style::BAD),
    }
}

fn note(row: &SweepRow) -> Option<String> {
    if let Some(failure) = row.outcome.as_ref().and_then(Outcome::failure) {
        return Some(failure.to_string());
    }
    if let Fit::Misfit(misfit) = row.swept.rule.fit {
        return Some(format!("{}; eg never touches it", misfit.why()));
    }
    let text = match (row.swept.state, row.swept.kept) {
        (_, Some(KeepReason::UnknownAge)) => "since when nobody holds it is not known, so --older-than leaves it",
        (_, Some(KeepReason::Recent)) => "it expired less long ago than --older-than",
        (_, Some(KeepReason::Held)) => "another installation holds it; --even-if-held closes it all the same",
        (_, Some(KeepReason::Clock)) => "the clocks differ, or the provider did not tell its time",
        _ => return None,
    };
    Some(text.to_owned())
}
