//! The commands, one file each, and what they share: where things are, and how a pass is made.

use crate::{
    cli::{Cli, Command, Global, Output, ScheduleCommand, SessionCommand, SetupCommand, StateCommand},
    config::{
        file::{self, ConfigFiles},
        policy::MachinePolicy,
        settings::{Chosen, Description, Resource, Selection, Settings},
    },
    error::{CommandError, Exit, Kind},
    host::{
        env::Env,
        lock::{self, PassLock},
        paths::{self, Located},
        signals::Interrupt,
        trusted_file::ReadError,
    },
    reconcile::{
        driver::{Driver, LoadCache, PassPolicy, Request},
        observe::TargetReadings,
        report::{PassReport, StepOutcome, StepReport},
        rights::KnownRights,
    },
    schedule::scheduled::Scheduled,
    targets::lookup::resolve,
    ui::{
        json::SessionJson,
        printer::Printer,
        session::{View, grant_line, other_grant_line},
        time::Zone,
        warning::Code,
    },
};
use eg_model::{
    ids::{InstallationId, SessionId},
    lease::{Lease, Phase},
    plan::{NoteKind, Step},
    session::{
        follow::Move,
        record::{EndedReason, Grant, GrantStatus, Session, SessionStatus},
    },
    target::{OtherServices, Route, Target, TargetKey},
};
use eg_state::{Filter, LastRuns, OpenNotice, OpenOptions, RunKind, Store};
use futures_util::future::join_all;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

pub struct Context<'a> {
    pub env: &'a Env,
    pub printer: &'a Printer,
    pub global: &'a Global,
    /// Asked through [`Context::config`]: closing does not need it.
    pub config: Result<Located, CommandError>,
    pub state: Located,
    pub zone: Zone,
}

/// Runs one command.
///
/// # Errors
/// The command did not do what was asked, and says why.
pub fn run(env: &Env, printer: &Printer, cli: &Cli) -> Result<Exit, CommandError> {
    let timed = matches!(&cli.command, Command::Reconcile(args) if args.is_timed());
    let context = || Context::new(env, printer, &cli.global, timed);
    if cli.global.output == Output::Csv && !matches!(cli.command, Command::Log(_)) {
        let error = CommandError::new(Kind::Usage, "only `eg log` has rows for --output csv");
        return Err(error.hint("use --output json, or table"));
    }
    match &cli.command {
        Command::Schema(args) => crate::commands::schema::run(printer, args),
        Command::Init(args) => crate::commands::init::run(&context()?, args),
        Command::Resource(command) => crate::commands::resource::run(&context()?, command),
        Command::Completions(args) => crate::commands::completions::run(env, printer, args),
        Command::Man(args) => crate::commands::man::run(env, printer, args),
        Command::Help(args) => crate::commands::help::run(printer, args),
        Command::Demo => crate::commands::demo::run(env, printer, &cli.global),
        Command::Sweep(args) => crate::commands::sweep::run(env, printer, args),
        Command::Sandbox(args) => crate::commands::sandbox::run(env, printer, &cli.global, args),
        Command::Start(args) | Command::Session(SessionCommand::Start(args)) => {
            crate::commands::session::start::run(&context()?, args)
        }
        Command::Session(SessionCommand::Ensure(args)) => crate::commands::session::ensure::run(&context()?, args),
        Command::Session(SessionCommand::Run(args)) => crate::commands::session::run::run(&context()?, args),
        Command::List(args) | Command::Session(SessionCommand::List(args)) => {
            crate::commands::session::list::run(&context()?, args)
        }
        Command::Get(args) | Command::Session(SessionCommand::Get(args)) => {
            crate::commands::session::get::run(&context()?, args)
        }
        Command::Extend(args) | Command::Session(SessionCommand::Extend(args)) => {
            crate::commands::session::extend::run(&context()?, args)
        }
        Command::Stop(args) | Command::Session(SessionCommand::Stop(args)) => {
            crate::commands::session::stop::run(&context()?, args)
        }
        Command::Status(args) => crate::commands::status::once::run(&context()?, args),
        Command::Who(args) => crate::commands::who::run(&context()?, args),
        Command::Ip(args) => crate::commands::ip::run(&context()?, args),
        Command::Log(args) => crate::commands::log::run(&context()?, args),
        Command::Doctor(args) => crate::commands::doctor::run(&context()?, args),
        Command::IamPolicy(args) => crate::commands::iam_policy::run(&context()?, args),
        Command::Reconcile(args) => crate::commands::reconcile::once::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Show(args)) => crate::commands::schedule::show::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Install(args)) => crate::commands::schedule::install::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Remove(args)) => crate::commands::schedule::remove::run(&context()?, args),
        Command::Setup(SetupCommand::CloudExpiry(args)) => crate::commands::setup::run(&context()?, args),
        Command::State(StateCommand::Adopt) => crate::commands::adopt::run(&context()?),
    }
}

/// How many files, times two, a command needs at the least, the runtime's own included.
const PIPES: usize = 8;

/// One thread, and only for commands that speak to a network. Where too few files may be open (`ulimit -n`), the runtime
/// would panic, and so would others below us: whether there is room is tried first.
pub fn runtime() -> Result<Runtime, CommandError> {
    let failed = |error| CommandError::new(Kind::State, format!("the runtime cannot be started: {error}"));
    let room = (0..PIPES).map(|_| std::io::pipe()).collect::<std::io::Result<Vec<_>>>();
    let hint = format!("at least {} more must be possible: raise the limit with ulimit -n", PIPES * 2);
    drop(room.map_err(|error| failed(error).hint(hint))?);
    Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// From now on, within the runtime.
pub fn listen() -> Result<Interrupt, CommandError> {
    Interrupt::listen().map_err(no_signals)
}

pub fn no_signals(error: std::io::Error) -> CommandError {
    CommandError::new(Kind::State, format!("signals cannot be listened to: {error}"))
}

/// The sandbox brings a configuration and a state of its own: naming others would do nothing.
pub fn no_files_named(global: &Global, command: &str) -> Result<(), CommandError> {
    let named = [("--config", &global.config), ("--state", &global.state)];
    match named.into_iter().find(|(_, path)| path.is_some()) {
        None => Ok(()),
        Some((flag, _)) => {
            let message =
                format!("{flag} does nothing for `eg {command}`, which makes a configuration and a state of its own");
            Err(CommandError::new(Kind::Usage, message))
        }
    }
}

/// How long a pass may take before a bar shows how far it is.
const UNTIL_A_BAR: Duration = Duration::from_secs(1);

/// How many grants of these sessions, or of all, are not where they are to be.
fn waiting(store: &Store, scope: Option<&BTreeSet<SessionId>>) -> Result<usize, CommandError> {
    let mut sessions = store.live_sessions()?;
    sessions.extend(store.unfinished_sessions()?);
    sessions.retain(|session| scope.is_none_or(|ids| ids.contains(&session.id)));
    let there = |session: &Session, grant: &Grant| match session.status.is_live() {
        true => grant.status == GrantStatus::Applied,
        false => grant.status == GrantStatus::Removed,
    };
    let waits = |session: &Session| session.grants.iter().filter(|grant| !there(session, grant)).count();
    Ok(sessions.iter().map(waits).sum())
}

/// Fewer digits than this name no session.
const SHORTEST_PREFIX: usize = 4;

impl<'a> Context<'a> {
    /// `timed`: a scheduler runs this, and mails what is printed every minute.
    fn new(env: &'a Env, printer: &'a Printer, global: &'a Global, timed: bool) -> Result<Self, CommandError> {
        let loaded = Zone::load(env.var_as_set("TZ"));
        if let Some(unknown) = loaded.unknown {
            let message = format!("the time zone {unknown} is not known; times are in UTC");
            if timed {
                tracing::info!("{message}");
            } else {
                printer.warn(Code::TimeZone, &message, &[]);
            }
        }
        Ok(Self {
            env,
            printer,
            global,
            config: paths::config(env, global.config.as_deref()),
            state: paths::state(env, global.state.as_deref())?,
            zone: loaded.zone,
        })
    }
}

impl Context<'_> {
    /// The same with another voice.
    pub fn with<'b>(&'b self, printer: &'b Printer) -> Context<'b> {
        let (config, state, zone) = (self.config.clone(), self.state.clone(), self.zone.clone());
        Context { env: self.env, printer, global: self.global, config, state, zone }
    }

    pub fn config(&self) -> Result<&Located, CommandError> {
        self.config.as_ref().map_err(Clone::clone)
    }

    /// The configuration. A missing file is an empty configuration, unless somebody named it.
    pub fn settings(&self) -> Result<Settings, CommandError> {
        let Located { path, named } = self.config()?;
        let files = ConfigFiles::begin();
        match files.read(path) {
            Ok(source) => files.load(&source, path),
            Err(ReadError::Absent) if !named => Ok(Settings::default()),
            Err(error) => Err(file::unreadable(path, &error)),
        }
    }

    /// The chosen resources, each with an id: what names groups by name or tags is looked up now.
    ///
    /// # Errors
    /// One of them means nothing, or too much, or could not be looked up.
    pub async fn resolved(&self, chosen: &Chosen<'_>) -> Result<Vec<Resource>, CommandError> {
        let mut resources: Vec<Resource> = chosen.resources.iter().copied().cloned().collect();
        for (_, found) in self.look_up(chosen.selections.iter().copied(), Duration::MAX).await {
            resources.extend(found?);
        }
        Ok(resources)
    }

    /// The settings with every resource looked up, and what could not be.
    pub async fn expanded(&self, settings: &Settings) -> (Settings, Vec<(String, CommandError)>) {
        self.expanded_within(settings, Duration::MAX).await
    }

    /// The same where nobody can wait for long: each look-up has so much time, and fails by itself.
    pub async fn expanded_within(
        &self,
        settings: &Settings,
        limit: Duration,
    ) -> (Settings, Vec<(String, CommandError)>) {
        let mut all = settings.clone();
        all.selections.clear();
        let mut unknown = Vec::new();
        for (name, found) in self.look_up(settings.selections.iter(), limit).await {
            match found {
                Ok(resources) => all.resources.extend(resources),
                Err(error) => unknown.push((name, error)),
            }
        }
        (all, unknown)
    }

    async fn look_up<'s>(
        &self,
        selections: impl Iterator<Item = &'s Selection>,
        limit: Duration,
    ) -> Vec<(String, Result<Vec<Resource>, CommandError>)> {
        let connect = self.env.connect();
        let look = async |selection: &Selection| {
            let found = timeout(limit, resolve(selection, connect.as_ref(), |resource| self.target(resource))).await;
            let late = || Err(CommandError::new(Kind::Provider, format!("no answer within {} s", limit.as_secs())));
            (selection.like.name.clone(), found.unwrap_or_else(|_| late()))
        };
        join_all(selections.map(look)).await
    }

    /// What whoever administers this machine allows.
    pub fn site_policy(&self) -> Result<MachinePolicy, CommandError> {
        Ok(crate::config::policy_file::read(&self.env.policy)?)
    }

    /// The record, for writing; with what its opening has to tell.
    pub fn store(&self) -> Result<Store, CommandError> {
        let opening = OpenOptions {
            path: &self.state.path,
            machine: self.env.machine.as_deref(),
            new_installation: InstallationId::from_uuid(self.env.uuid()),
            now: self.env.now(),
            watch: self.env.watch(),
        };
        let (store, notices) = Store::open(&opening)?;
        for notice in notices {
            self.tell(&notice);
        }
        Ok(store)
    }

    fn tell(&self, notice: &OpenNotice) {
        let state = self.state.path.display();
        match notice {
            OpenNotice::RestoredBackup { ended } => {
                let message = match ended.len() {
                    0 => format!("{state} is a restored backup; its live sessions end"),
                    count => format!("{state} is a restored backup; its {count} live sessions were ended"),
                };
                let hint = "rules that were opened after the backup close by their own tags";
                self.printer.warn(Code::RestoredBackup, &message, &[hint.to_owned()]);
            }
            OpenNotice::GuardNotWritten { error } => {
                self.printer.warn(
                    Code::Guard,
                    &format!("the guard file beside {state} cannot be written: {error}"),
                    &[],
                );
            }
            OpenNotice::Unwritable { error, advice } => {
                let later = "what is closed now is put on record by the first pass that can write it".to_owned();
                let hints: Vec<String> = advice.clone().into_iter().chain([later]).collect();
                let message = format!("{error}; nothing is opened, closing goes on");
                self.printer.warn(Code::Unwritable, &message, &hints);
            }
            OpenNotice::LostDatabase { .. } => {
                let message = format!("the earlier state file {state} is gone; a new one was made");
                let hint = "rules on record in the earlier one close by their own tags";
                self.printer.warn(Code::LostDatabase, &message, &[hint.to_owned()]);
            }
            other => tracing::info!("{state}: {other:?}"),
        }
    }

    /// The record, for reading; nothing is made where there is none.
    pub fn store_for_reading(&self) -> Result<Option<Store>, CommandError> {
        Ok(Store::open_read_only(&self.state.path)?)
    }

    pub fn view(&self, runs: LastRuns) -> View {
        let scheduled = Scheduled::NotAsked;
        View { now: self.env.now(), zone: self.zone.clone(), runs, columns: self.env.stdout_columns, scheduled }
    }

    /// Asks the schedulers of this machine what closes sessions on time.
    pub fn scheduled(&self, store: Option<&Store>, runs: &LastRuns) -> Scheduled {
        // Where the record cannot tell since when there is a job, it is taken for one that works.
        let since = store.and_then(|store| store.scheduled_since().ok().flatten());
        Scheduled::ask(self.env, self.config.as_ref().ok(), &self.state, runs, since)
    }

    pub fn runtime(&self) -> Result<Runtime, CommandError> {
        runtime()
    }

    /// The session that a full id or a unique prefix names.
    pub fn find(&self, store: &Store, id: &str) -> Result<Session, CommandError> {
        let found = store.find(&id_digits(id)?)?;
        match found.as_slice() {
            [] => Err(CommandError::new(Kind::NotFound, format!("there is no session {id}"))
                .hint("see them with: eg session list --limit 0")),
            [one] => store
                .session(*one)?
                .ok_or_else(|| CommandError::new(Kind::NotFound, format!("there is no session {id}"))),
            many => {
                let candidates: Vec<String> = many.iter().map(ToString::to_string).collect();
                let message = format!("\"{id}\" fits {} sessions: {}", many.len(), candidates.join(", "));
                Err(CommandError::new(Kind::Ambiguous, message).hint("use more digits"))
            }
        }
    }

    /// The most recently started live session.
    pub fn newest_live(&self, store: &Store) -> Result<Session, CommandError> {
        let nothing = || CommandError::new(Kind::NotFound, "no live sessions").hint("start one with: eg session start");
        store.live_sessions()?.into_iter().next().ok_or_else(nothing)
    }

    /// The driver, within the runtime. `settings` absent: the configuration is bad, and nothing is opened.
    pub fn driver(&self, store: Store, settings: Option<&Settings>) -> Result<Driver<'_>, CommandError> {
        Ok(self.driver_heeding(listen()?, store, settings))
    }

    /// The same with signals of the caller's.
    pub fn driver_heeding(&self, interrupt: Interrupt, store: Store, settings: Option<&Settings>) -> Driver<'_> {
        Driver {
            env: self.env,
            store: RefCell::new(store),
            connect: self.env.connect(),
            policy: self.driver_policy(settings),
            interrupt,
            unrecorded_stops: BTreeSet::new(),
            loaded: LoadCache::default(),
            rights: KnownRights::default(),
            ahead: Cell::default(),
            changes: Cell::default(),
            on_change: Box::new(|change, own| {
                let line =
                    if own { grant_line(&change.grant) } else { other_grant_line(change.session, &change.grant) };
                self.printer.landed(&line);
            }),
        }
    }

    /// What passes may do. With a configuration or a machine's policy that cannot be used, nothing is opened.
    pub fn driver_policy(&self, settings: Option<&Settings>) -> PassPolicy {
        let policy = settings.map(policy).unwrap_or_default();
        match self.site_policy() {
            Ok(site) => PassPolicy { site, ..policy },
            Err(_) => PassPolicy { open: false, ..policy },
        }
    }

    /// The way to a configured resource, as seen from here and now.
    pub fn target(&self, resource: &Resource) -> Target {
        let profile = resource.profile.clone().or_else(|| environment_profile(self.env));
        let key = TargetKey::new(&resource.provider, &resource.kind, &resource.region, &resource.id);
        let mut target = way_to(self.env, key, profile);
        target.route.role_arn.clone_from(&resource.role_arn);
        target.route.external_id.clone_from(&resource.external_id);
        target
    }

    pub fn name_endpoints<'r>(&self, targets: impl Iterator<Item = &'r Target>) {
        name_endpoints(self.printer, targets);
    }

    /// The lock. A pass that `closes` goes past a holder that makes no progress; one that a `timer` started says nothing
    /// while it waits, or cron would send mail.
    pub async fn lock(
        &self,
        driver: &Driver<'_>,
        command: &str,
        closes: bool,
        timer: bool,
    ) -> Result<PassLock, CommandError> {
        let say = |holder: &str| {
            if timer {
                return;
            }
            self.printer.remark(&format!("Waiting for another eg ({})...", self.zone.in_text(holder)));
        };
        let asked = lock::LockRequest {
            env: self.env,
            state: &self.state.path,
            command,
            wait: self.global.lock_wait,
            closes,
            json: self.printer.is_json(),
        };
        lock::acquire(&asked, &driver.interrupt, say).await.map_err(|error| self.in_our_time(error))
    }

    /// Takes the lock and reconciles the targets of some sessions. The intent is on record already.
    pub async fn scoped_pass(
        &self,
        driver: &Driver<'_>,
        kind: RunKind,
        sessions: &[SessionId],
        looks: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        self.moving_pass(driver, kind, sessions, looks, Vec::new()).await
    }

    /// The same where sessions first go where their user is.
    pub async fn moving_pass(
        &self,
        driver: &Driver<'_>,
        kind: RunKind,
        sessions: &[SessionId],
        looks: TargetReadings,
        moves: Vec<Move>,
    ) -> Result<PassReport, CommandError> {
        let name = format!("eg session {}", kind.as_str());
        let lock = self
            .lock(driver, &name, kind == RunKind::Stop, false)
            .await
            .map_err(|error| not_had(error, "what was asked is recorded; the next `eg reconcile` carries it out"))?;
        let request = Request {
            kind,
            scope: Some(sessions.iter().copied().collect()),
            interactive: true,
            timer: false,
            collect_from: Vec::new(),
            moves,
            dry_run: false,
        };
        let report = self.driven(driver, &lock, &request, looks).await?;
        self.tell_notes(&report);
        self.tell_refusals(&report);
        if let Some(number) = driver.interrupt.asked() {
            return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; what was asked stays on record"));
        }
        Ok(report)
    }

    /// An error whose times are told in the zone of everything else.
    fn in_our_time(&self, error: CommandError) -> CommandError {
        CommandError { message: self.zone.in_text(&error.message), ..error }
    }

    /// A pass, with a bar once it takes its time.
    pub async fn driven(
        &self,
        driver: &Driver<'_>,
        lock: &PassLock,
        request: &Request,
        looks: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let waiting = waiting(&driver.store.borrow(), request.scope.as_ref())?;
        let mut pass = pin!(driver.pass(lock, request, looks));
        tokio::select! {
            report = &mut pass => report,
            () = sleep(UNTIL_A_BAR) => {
                let _bar = self.printer.bar(waiting, UNTIL_A_BAR);
                pass.await
            }
        }
    }

    pub fn tell_notes(&self, report: &PassReport) {
        for warning in &report.warnings {
            self.printer.warn(Code::Lock, &self.zone.in_text(&warning.message), &warning.hints);
        }
        let mut clock_told = false;
        for item in report.notes.iter().filter(|item| item.note.kind.is_warning()) {
            // Every target has the same clock to be compared with: once is enough.
            if item.note.kind == NoteKind::ClockSkew && std::mem::replace(&mut clock_told, true) {
                continue;
            }
            self.printer.warn(Code::Note(item.note.kind), &item.note.message, &[]);
        }
        for error in &report.state_errors {
            self.printer.warn(Code::State, error, &[]);
        }
    }

    /// Why something is still open, or a tag still says another time. What could not be opened is said by the grants.
    fn tell_refusals(&self, report: &PassReport) {
        let steps = report
            .steps
            .iter()
            .filter(|step| !report.converged && !matches!(step.step, Step::Authorize { .. } | Step::Join { .. }));
        let refused = steps.filter(|step| matches!(step.outcome, StepOutcome::Refused | StepOutcome::Unknown));
        let why = |step: &StepReport| Some((format!("{}: {}", step.target, step.error.as_ref()?), step.advice));
        for (message, advice) in refused.filter_map(why).collect::<BTreeSet<_>>() {
            self.printer.warn(Code::NotClosed, &message, advice.map(str::to_owned).as_slice());
        }
    }

    /// A session as it is on record now.
    pub fn again(&self, store: &Store, id: SessionId) -> Result<Session, CommandError> {
        let gone = || CommandError::new(Kind::State, format!("session {id} is no longer on record"));
        store.session(id)?.ok_or_else(gone)
    }

    /// Every target on which a session had something open, with the newest way to it: those groups are, or were, there.
    pub fn used_targets(&self, store: &Store) -> Result<BTreeMap<TargetKey, Target>, CommandError> {
        let sessions = store.sessions(&Filter { statuses: None, limit: None })?.sessions;
        let grants = sessions.into_iter().rev().flat_map(|session| session.grants);
        let used = grants.filter(|grant| grant.applied_at.is_some());
        Ok(used.map(|grant| (grant.target.key.clone(), grant.target)).collect())
    }

    /// Warns of rows that were skipped because they do not parse. Whether there are any: what was shown is not all then.
    pub fn tell_damaged(&self, store: Option<&Store>) -> bool {
        let damaged = store.map(Store::damaged_rows).unwrap_or_default();
        for error in &damaged {
            let message = format!("{error}; the row is left out");
            self.printer.warn(Code::Note(NoteKind::Damaged), &message, error.advice().as_slice());
        }
        !damaged.is_empty()
    }

    pub fn session_json(&self, store: &Store, session: &Session) -> Result<SessionJson, CommandError> {
        Ok(SessionJson::new(session, &store.open_leases()?, self.env.now()))
    }
}

/// What becomes of what was asked for where the lock was not had in time.
pub fn not_had(error: CommandError, what: &str) -> CommandError {
    if error.kind == Kind::Locked { error.hint(what) } else { error }
}

/// The profile that the environment names. Environment keys beat AWS_PROFILE in the SDK's chain, so it is not the way
/// that is taken then.
pub fn environment_profile(env: &Env) -> Option<String> {
    let keys = env.var("AWS_ACCESS_KEY_ID").is_some();
    env.var("AWS_PROFILE").filter(|_| !keys).map(str::to_owned)
}

/// The way to a target with a profile's credentials, through what the environment names.
pub fn way_to(env: &Env, target: TargetKey, profile: Option<String>) -> Target {
    let var = |name: &str| env.var(name).map(str::to_owned);
    let (endpoint, other_services) = endpoints(var("AWS_ENDPOINT_URL_EC2"), var("AWS_ENDPOINT_URL"));
    let route = Route {
        profile,
        config_file: env.aws_file("AWS_CONFIG_FILE"),
        credentials_file: env.aws_file("AWS_SHARED_CREDENTIALS_FILE"),
        other_services,
        ..Route::default()
    };
    Target { key: TargetKey { endpoint, ..target }, route }
}

/// Where EC2 is, and where the other services are, from the endpoints that the environment names for EC2 alone and for
/// all (AWS SDKs and Tools reference guide, "Service-specific endpoints").
fn endpoints(of_ec2: Option<String>, of_all: Option<String>) -> (Option<String>, OtherServices) {
    match (of_ec2, of_all) {
        (None, of_all) => (of_all, OtherServices::WithTarget),
        (Some(of_ec2), None) => (Some(of_ec2), OtherServices::ByThemselves),
        (Some(of_ec2), Some(of_all)) if of_ec2 == of_all => (Some(of_ec2), OtherServices::WithTarget),
        (Some(of_ec2), Some(of_all)) => (Some(of_ec2), OtherServices::At(of_all)),
    }
}

/// Whoever points `eg` at something else than AWS should see it.
pub fn name_endpoints<'r>(printer: &Printer, targets: impl Iterator<Item = &'r Target>) {
    let mut endpoints = BTreeSet::new();
    for target in targets {
        let alone = if target.route.other_services == OtherServices::WithTarget { "" } else { " for EC2" };
        endpoints.extend(target.key.endpoint.as_deref().map(|endpoint| (endpoint, alone)));
        if let OtherServices::At(endpoint) = &target.route.other_services {
            endpoints.insert((endpoint, " for everything else"));
        }
    }
    for (endpoint, what) in endpoints {
        let message = format!("Using endpoint {}{what}", without_password(endpoint));
        if printer.is_json() { printer.warn(Code::Endpoint, &message, &[]) } else { printer.remark(&message) }
    }
}

/// A URL without user and password.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://***@{host}{}", rest.get(authority.len()..)?))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

/// The hex digits of what may be an id or its beginning.
pub fn id_digits(id: &str) -> Result<String, CommandError> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && (SHORTEST_PREFIX..=32).contains(&digits.len()) {
        return Ok(digits);
    }
    let hint = format!("use the whole id, or at least its first {SHORTEST_PREFIX} hex digits: `eg session list`");
    let error = CommandError::new(Kind::Usage, format!("\"{id}\" is not a session's id")).hint(hint);
    Err(if id == "all" { error.hint("for every session: eg session stop --all") } else { error })
}

fn policy(settings: &Settings) -> PassPolicy {
    PassPolicy {
        open: true,
        collect: settings.reconcile.collect_expired,
        extra_tags: settings.aws.extra_tags.clone(),
        name_person: settings.aws.description == Description::Full,
        cloud_expiry: settings.aws.cloud_expiry.clone(),
        site: MachinePolicy::default(),
    }
}

/// The exit status that a live session's status means, and that a rule lacks its expiry schedule in the cloud.
fn exit_for(session: &Session) -> Exit {
    let without_auto_close = session.grants.iter().any(|grant| grant.without_auto_close.is_some());
    match session.status {
        SessionStatus::Active if without_auto_close => Exit::Partial,
        SessionStatus::Active => Exit::Done,
        SessionStatus::Pending | SessionStatus::Partial | SessionStatus::Expiring => Exit::Partial,
        SessionStatus::Failed | SessionStatus::Cancelled | SessionStatus::Expired => Exit::Failed,
    }
}

/// The same after a pass, which may have found out that whose account a target is cannot be told, and so which role its
/// expiry schedule would take.
pub fn exit_after(session: &Session, report: &PassReport) -> Exit {
    let unset = |target: &TargetKey| {
        report.notes.iter().any(|item| item.target == *target && item.note.kind == NoteKind::AutoCloseUnset)
    };
    let untold = |grant: &Grant| grant.target.route.account.is_none() && unset(&grant.target.key);
    match exit_for(session) {
        Exit::Done if session.current().any(untold) => Exit::Partial,
        exit => exit,
    }
}

/// How far this machine's clock may be off before nothing new is opened.
const CLOCK_LIMIT: chrono::TimeDelta = eg_model::tags::CLOCK_TOLERANCE;

/// Refuses to open or prolong by a clock that is plainly wrong: the rules would close at the wrong time.
pub fn check_clock(looks: &TargetReadings) -> Result<(), CommandError> {
    let skews = looks.values().filter_map(|look| look.provider_time()).map(|(provider, local)| local - provider);
    match skews.max_by_key(chrono::TimeDelta::abs).filter(|skew| skew.abs() > CLOCK_LIMIT) {
        None => Ok(()),
        Some(skew) => {
            let (minutes, way) = (skew.num_minutes().abs(), if skew.num_seconds() > 0 { "ahead of" } else { "behind" });
            let message =
                format!("the clock of this machine is {minutes} minutes {way} the provider's; nothing was changed");
            Err(CommandError::new(Kind::Clock, message).hint("set the clock, then try again"))
        }
    }
}

/// Whether a rule of a session still carries a tag that says an earlier time: another installation could close it too
/// early.
pub fn tags_are_behind(store: &Store, session: &Session) -> Result<bool, CommandError> {
    let early = |lease: &&Lease| lease.tagged_until.is_none_or(|until| until < session.expires_at);
    let leases = store.open_leases()?;
    let mut held = leases.iter().filter(|lease| lease.phase == Phase::Held && concerns(lease, session));
    Ok(held.any(|lease| early(&lease)))
}

/// How and when a session ended, for a refusal: it expired when its time was over, whenever that was noticed.
pub fn ended_text(session: &Session, zone: &Zone) -> String {
    let short = session.id.short();
    let (how, at) = match session.ended_reason {
        Some(EndedReason::Expired) => ("expired", Some(session.expires_at)),
        Some(EndedReason::Manual) => ("was stopped", session.ended_at),
        None => return format!("session {short} is {}", session.status),
    };
    let at = at.map(|at| format!(" at {}", zone.format(at))).unwrap_or_default();
    format!("session {short} {how}{at} ({})", session.status)
}

/// Whether a lease is about something that a session asked for.
pub fn concerns(lease: &Lease, session: &Session) -> bool {
    // What a session has moved away from, and let go, is no concern of its any more.
    let left = |grant: &Grant| session.status.is_live() && grant.status == GrantStatus::Removed;
    session.grants.iter().filter(|grant| !left(grant)).any(|grant| {
        grant.target.key == lease.target.key && grant.permissions.iter().any(|item| item.permission == lease.permission)
    })
}
