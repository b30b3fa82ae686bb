//! One request, from arrival to answer.

use crate::{
    actions::{self, ActionRequest, Answer},
    call_log::{Call, CallLog, groups_in, rules_in},
    callers::{self, Credential, DEFAULT_REGION},
    faults::{Fault, Faults, Script},
    ids,
    ip_set::spelled,
    prefix_list::PrefixListEntry,
    protocol::{
        envelope,
        errors::{self, Refusal},
        form::Form,
        service::Service,
    },
    rate_limit::Buckets,
    settings::{Latency, RegionSettings},
    world::{CallerIdentity, Late, RoleSession, Schedule, World},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer { status: u16, kind: &'static str, body: String, request_id: String, date: String, after: Duration },
    Lost,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Signature {
    pub(crate) authorization: String,
    /// When it was made, as far as the request says so.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// The sandbox without HTTP.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) world: World,
    pub(crate) settings: RegionSettings,
    pub(crate) log: CallLog,
    faults: Faults,
    buckets: Buckets,
    dice: fastrand::Rng,
    seed: u64,
    callers: BTreeMap<String, CallerIdentity>,
}

/// A request on its way through the engine.
struct Passage<'a> {
    number: u64,
    region: String,
    caller: Option<CallerIdentity>,
    form: &'a Form,
    fault: Option<Fault>,
    now: DateTime<Utc>,
}

impl Passage<'_> {
    fn action(&self) -> &str {
        self.form.get("Action").unwrap_or_default()
    }

    fn service(&self) -> Service {
        Service::of(self.action())
    }

    fn arn(&self) -> &str {
        self.caller.as_ref().map(|caller| caller.arn.as_str()).unwrap_or_default()
    }
}

impl Engine {
    pub(crate) fn new(seed: u64, settings: RegionSettings, callers: BTreeMap<String, CallerIdentity>) -> Self {
        Self {
            world: World::default(),
            settings,
            log: CallLog::default(),
            faults: Faults::default(),
            buckets: Buckets::default(),
            dice: fastrand::Rng::with_seed(seed),
            seed,
            callers,
        }
    }

    /// Replaces the script; counts begin anew.
    pub(crate) fn run(&mut self, script: Script) {
        self.faults = Faults::start(script, self.seed);
        self.buckets.refill();
    }

    /// The time that the next request is on its way.
    pub(crate) fn latency(&mut self) -> Duration {
        let Latency { min, max } = self.settings.latency;
        min.saturating_add(max.saturating_sub(min).mul_f64(self.dice.f64()))
    }

    pub(crate) fn handle(&mut self, signature: Option<&Signature>, form: &Form, now: DateTime<Utc>) -> Reply {
        self.land(now);
        self.world.requests += 1;
        let credential = signature.and_then(|signature| Credential::read(&signature.authorization));
        let caller = credential.as_ref().map(|c| callers::caller_of(&c.access_key, &self.world, &self.callers));
        let region = credential.as_ref().map_or_else(|| DEFAULT_REGION.to_owned(), |c| c.region.clone());
        let mut passage = Passage { number: self.world.requests, region, caller, form, fault: None, now };
        let signed_at = signature.and_then(|signature| signature.at);
        let in_time = self.check_time(&passage, signed_at);
        let result = in_time.and_then(|()| self.check(&mut passage, credential.as_ref()));
        let result = result.and_then(|()| self.perform(&passage));
        self.finish(&passage, result)
    }

    /// The provider's own time, as it tells it.
    fn date(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_add_signed(self.settings.date_offset).unwrap_or(now)
    }

    /// A signature is good for five minutes, before and after (IAM User Guide, "Signature Version 4": "Requests must reach
    /// AWS within five minutes of the time stamp").
    fn check_time(&self, passage: &Passage<'_>, signed_at: Option<DateTime<Utc>>) -> Result<(), Refusal> {
        let now = self.date(passage.now);
        match signed_at {
            Some(at) if (now - at).abs() > errors::SIGNATURE_LASTS => {
                Err(errors::signed_at_another_time(passage.service(), at, now))
            }
            _ => Ok(()),
        }
    }

    /// Everything that can end a request before its action is looked at.
    fn check(&mut self, passage: &mut Passage<'_>, credential: Option<&Credential>) -> Result<(), Refusal> {
        let credential = credential.ok_or_else(errors::no_credentials)?;
        let action = passage.action().to_owned();
        passage.fault = self.faults.strike(&action, &passage.region, passage.form);
        let expired = |session: &RoleSession| session.expires_at <= passage.now;
        if self.world.session(&credential.access_key).is_some_and(expired) {
            return Err(errors::expired(passage.service()));
        }
        if let Some(refusal) = passage.fault.as_ref().and_then(|fault| refused_by(fault, passage)) {
            return Err(refusal);
        }
        let account = passage.caller.as_ref().map(|caller| caller.account.as_str()).unwrap_or_default();
        if let Some(limit) = self.settings.rate_limits.get(&action) {
            let bucket = format!("{account} {} {action}", passage.region);
            if !self.buckets.take(bucket, *limit, passage.now) {
                return Err(errors::throttled(passage.service()));
            }
        }
        Ok(())
    }

    /// The action, unless a fault keeps it from happening now.
    fn perform(&mut self, passage: &Passage<'_>) -> Result<Answer, Refusal> {
        let Some(caller) = &passage.caller else { return Err(errors::no_credentials()) };
        match &passage.fault {
            Some(Fault::ResetBefore) => return Ok(Answer::default()),
            Some(Fault::LandLate(by)) => {
                self.world.late.push(Late {
                    due: passage.now.checked_add_signed(*by).unwrap_or(passage.now),
                    number: passage.number,
                    caller: caller.clone(),
                    region: passage.region.clone(),
                    form: passage.form.clone(),
                });
                return Ok(Answer::default());
            }
            Some(Fault::GroupGone) => {
                for group in groups_in(passage.form) {
                    self.world.remove_group(&group, passage.now);
                    self.world.remove_list(&group);
                    self.world.remove_ip_set(&group);
                }
            }
            Some(Fault::EntryAdded { cidr, description }) => {
                let entry = PrefixListEntry { cidr: *cidr, description: Some(description.clone()) };
                self.edit_lists(passage, |entries| {
                    entries.retain(|known| known.cidr != entry.cidr);
                    entries.push(entry.clone());
                });
                self.edit_sets(passage, |addresses| {
                    addresses.retain(|known| *known != spelled(*cidr));
                    addresses.push(spelled(*cidr));
                });
            }
            Some(Fault::EntryRemoved { cidr }) => {
                self.edit_lists(passage, |entries| entries.retain(|entry| entry.cidr != *cidr));
                self.edit_sets(passage, |addresses| addresses.retain(|known| *known != spelled(*cidr)));
            }
            _ => {}
        }
        self.act(caller, &passage.region, passage.form, passage.fault.as_ref(), passage.now)
    }

    /// Changes the prefix lists that a request names, as somebody else who comes first.
    fn edit_lists(&mut self, passage: &Passage<'_>, edit: impl Fn(&mut Vec<PrefixListEntry>)) {
        for id in groups_in(passage.form) {
            if let Some(list) = self.world.list_mut(&id) {
                list.edit_at_once(passage.now, &edit);
            }
        }
    }

    /// The same for IP sets.
    fn edit_sets(&mut self, passage: &Passage<'_>, edit: impl Fn(&mut Vec<String>)) {
        for place in groups_in(passage.form) {
            let token = ids::uuid(self.seed, "token", self.world.next());
            if let Some(set) = self.world.ip_set_mut(&place) {
                let mut addresses = set.addresses.clone();
                edit(&mut addresses);
                set.put(addresses, token, passage.now);
            }
        }
    }

    pub(crate) fn act(
        &mut self,
        caller: &CallerIdentity,
        region: &str,
        form: &Form,
        fault: Option<&Fault>,
        now: DateTime<Utc>,
    ) -> Result<Answer, Refusal> {
        let action = form.get("Action").unwrap_or_default();
        let stale = self.settings.stale.as_ref().filter(|stale| self.dice.f64() < stale.chance);
        let ask = ActionRequest { form, caller, region, settings: &self.settings, stale, fault, seed: self.seed, now };
        actions::perform(action, &mut self.world, &ask)
    }

    /// Lets late requests land whose time has come, in the order in which they are due.
    pub(crate) fn land(&mut self, now: DateTime<Utc>) {
        self.fire(now);
        self.world.settle_lists(now);
        let (mut due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.world.late).into_iter().partition(|late| late.due <= now);
        self.world.late = waiting;
        due.sort_by_key(|late| (late.due, late.number));
        for Late { due, number, caller, region, form } in due {
            let result = self.act(&caller, &region, &form, None, due);
            let passage = Passage { number, region, caller: Some(caller), form: &form, fault: None, now };
            let (outcome, answer) = outcome_of(&result);
            let call = self.call(&passage, outcome, None, answer);
            self.log.push(Call { landed_late: true, ..call });
        }
        self.world.settle_lists(now);
    }

    /// Carries out the schedules whose time has come, literally, as their role; each goes with that
    /// (`ActionAfterCompletion`). What EC2 refuses is not tried again.
    fn fire(&mut self, now: DateTime<Utc>) {
        let is_due = |schedule: &Schedule| schedule.at().is_some_and(|at| at <= now);
        let enabled = |schedule: &Schedule| matches!(schedule.text("/State"), "" | "ENABLED");
        let due = self.world.schedules().filter(|(_, schedule)| is_due(schedule) && enabled(schedule));
        for key in due.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            let Some(schedule) = self.world.remove_schedule(&key) else { continue };
            let form = form_of(&schedule);
            let role = schedule.text("/Target/RoleArn").rsplit('/').next().unwrap_or_default();
            let caller = CallerIdentity {
                account: key.account.clone(),
                arn: format!("arn:aws:sts::{}:assumed-role/{role}/scheduler", key.account),
                user_id: "AROASCHEDULER:scheduler".to_owned(),
            };
            self.world.requests += 1;
            let number = self.world.requests;
            let result = self.act(&caller, &key.region, &form, None, schedule.at().unwrap_or(now));
            let passage = Passage { number, region: key.region, caller: Some(caller), form: &form, fault: None, now };
            let (outcome, answer) = outcome_of(&result);
            let call = self.call(&passage, outcome, None, answer);
            self.log.push(call);
        }
    }

    /// The answer on the wire, and the log.
    fn finish(&mut self, passage: &Passage<'_>, result: Result<Answer, Refusal>) -> Reply {
        let (outcome, answer) = outcome_of(&result);
        let lost = matches!(passage.fault, Some(Fault::ResetBefore | Fault::ResetAfter | Fault::LandLate(_)));
        if lost && passage.caller.is_some() {
            let call = self.call(passage, "Lost".to_owned(), None, answer);
            self.log.push(call);
            return Reply::Lost;
        }
        let result = match (&passage.fault, &result) {
            (Some(Fault::StatusAfter(status)), Ok(_)) => Err(errors::server_error(*status)),
            _ => result.as_ref().map_err(Clone::clone).map(|_| ()),
        };
        let outcome = result.as_ref().err().map_or(outcome, |refusal| refusal.code.clone());
        let status = result.as_ref().err().map_or(200, |refusal| refusal.status);
        let call = self.call(passage, outcome, Some(status), answer);
        let nothing = Answer::default();
        let Answer { xml, json, .. } = answer.unwrap_or(&nothing);
        let mut body = match &result {
            Ok(()) => envelope::of_answer(passage.service(), passage.action(), &call.request_id, xml, json.as_ref()),
            Err(refusal) => envelope::of_refusal(passage.service(), refusal, &call.request_id),
        };
        if passage.fault == Some(Fault::TruncatedPage) {
            body = body.chars().take(body.chars().count() / 2).collect();
        }
        let after = match passage.fault {
            Some(Fault::Slow(after)) => after,
            _ => Duration::ZERO,
        };
        // RFC 9110, IMF-fixdate.
        let date = self.date(passage.now).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let request_id = call.request_id.clone();
        self.log.push(call);
        let kind = match passage.service() {
            Service::Ec2 | Service::Sts => "text/xml;charset=UTF-8",
            Service::Scheduler => "application/json",
            Service::Waf => "application/x-amz-json-1.1",
        };
        Reply::Answer { status, kind, body, request_id, date, after }
    }

    fn call(&self, passage: &Passage<'_>, outcome: String, status: Option<u16>, answer: Option<&Answer>) -> Call {
        let caller = passage.caller.as_ref();
        let mut rules = rules_in(passage.form);
        let made = answer.into_iter().flat_map(|answer| &answer.ids).filter(|id| id.starts_with("sgr-"));
        rules.extend(made.filter(|id| !rules.contains(*id)).cloned().collect::<Vec<_>>());
        Call {
            number: passage.number,
            at: passage.now,
            request_id: ids::request(self.seed, passage.number),
            action: passage.action().to_owned(),
            groups: groups_in(passage.form),
            rules,
            caller: passage.arn().to_owned(),
            account: caller.map(|caller| caller.account.clone()).unwrap_or_default(),
            region: passage.region.clone(),
            dry_run: passage.form.is_true("DryRun"),
            outcome,
            status,
            effect: answer.is_some_and(|answer| answer.effect),
            fault: passage.fault.as_ref().map(|fault| fault.name().to_owned()),
            landed_late: false,
            fields: passage.form.fields().clone(),
        }
    }
}

fn outcome_of(result: &Result<Answer, Refusal>) -> (String, Option<&Answer>) {
    match result {
        Ok(answer) => ("OK".to_owned(), Some(answer)),
        Err(refusal) => (refusal.code.clone(), None),
    }
}

/// The error with which a fault ends a request, nothing done.
fn refused_by(fault: &Fault, passage: &Passage<'_>) -> Option<Refusal> {
    match (fault, passage.service()) {
        (Fault::Throttle, service) => Some(errors::throttled(service)),
        (Fault::Status(status), _) => Some(errors::server_error(*status)),
        (Fault::ExpiredToken, service) => Some(errors::expired(service)),
        (Fault::Deny, service) => {
            let on = groups_in(passage.form).into_iter().chain(rules_in(passage.form)).next();
            Some(errors::denied(service, passage.arn(), passage.action(), on.as_deref().unwrap_or("*")))
        }
        (Fault::Refuse { code, message, status }, _) => Some(Refusal::with_status(code, message, *status)),
        _ => None,
    }
}

/// The request that a schedule makes: the action that its target names (User Guide, "Universal targets"), with the fields
/// of its input.
fn form_of(schedule: &Schedule) -> Form {
    let action = schedule.text("/Target/Arn").rsplit(':').next().unwrap_or_default();
    let (first, rest) = action.split_at(action.chars().next().map_or(0, char::len_utf8));
    let mut fields = vec![("Action".to_owned(), first.to_ascii_uppercase() + rest)];
    let input: Value = serde_json::from_str(schedule.text("/Target/Input")).unwrap_or_default();
    for (key, value) in input.as_object().into_iter().flatten() {
        let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        let name = key.strip_suffix('s').unwrap_or(key);
        fields.extend((1..).zip(items).map(|(number, item)| (format!("{name}.{number}"), item.to_owned())));
        fields.extend(value.as_str().map(|text| (key.clone(), text.to_owned())));
    }
    Form::new(fields)
}
