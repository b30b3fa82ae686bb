//! The things every command gets: environment, printer, configuration, record and time zone.

use crate::{
    commands::global::Global,
    error::{CommandError, Kind},
    host::{
        env::Env,
        paths::{self, Located, PathError},
        signals::Interrupt,
    },
    schedule::scheduled::Scheduled,
    ui::{json::SessionJson, printer::Printer, session::View, time::Zone, warning::Code},
};
use eg_config::{
    file::{ConfigError, ConfigFiles},
    policy::{self, MachinePolicy},
    settings::Settings,
    trusted_file::ReadError,
};
use eg_model::{
    ids::{InstallationId, SessionId},
    plan::NoteKind,
    session::record::Session,
};
use eg_state::{LastRuns, OpenNotice, OpenOptions, StateError, Store};
use tokio::runtime::{Builder, Runtime};

pub struct Context<'a> {
    pub env: &'a Env,
    pub printer: &'a Printer,
    pub global: &'a Global,
    /// Asked through [`Context::config`]: closing does not need it.
    pub config: Result<Located, PathError>,
    pub state: Located,
    pub zone: Zone,
}

/// Runs a command that uses the network to its end. Threads that still look up a name do not delay it.
pub fn block_on<T>(command: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = runtime()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}

/// The pipes, of two files each, that a command needs at the least, the runtime's own included.
const PIPES: usize = 8;

/// A runtime of one thread. Tokio and libraries below it panic where too few files may be open (`ulimit -n`), so this opens
/// and closes some first.
pub fn runtime() -> Result<Runtime, CommandError> {
    let failed = |error| CommandError::new(Kind::State, format!("the runtime cannot be started: {error}"));
    let room = (0..PIPES).map(|_| std::io::pipe()).collect::<std::io::Result<Vec<_>>>();
    let hint = format!("at least {} more must be possible: raise the limit with ulimit -n", PIPES * 2);
    drop(room.map_err(|error| failed(error).hint(hint))?);
    Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// Listens for signals from now on. Must be called within the runtime.
pub fn listen() -> Result<Interrupt, CommandError> {
    Interrupt::listen().map_err(no_signals)
}

pub fn no_signals(error: std::io::Error) -> CommandError {
    CommandError::new(Kind::State, format!("signals cannot be listened to: {error}"))
}

impl<'a> Context<'a> {
    /// With `scheduled`, an unknown time zone is logged only: a scheduler mails what is printed, every minute.
    pub fn new(env: &'a Env, printer: &'a Printer, global: &'a Global, scheduled: bool) -> Result<Self, CommandError> {
        let loaded = Zone::load(env.var_as_set("TZ"));
        if let Some(unknown) = loaded.unknown {
            let message = format!("the time zone {unknown} is not known; times are in UTC");
            if scheduled {
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
    /// The same context with another printer.
    pub fn with<'b>(&'b self, printer: &'b Printer) -> Context<'b> {
        let (config, state, zone) = (self.config.clone(), self.state.clone(), self.zone.clone());
        Context { env: self.env, printer, global: self.global, config, state, zone }
    }

    pub fn config(&self) -> Result<&Located, CommandError> {
        Ok(self.config.as_ref().map_err(Clone::clone)?)
    }

    /// The configuration. A missing file is an empty configuration, unless the user named it.
    pub fn settings(&self) -> Result<Settings, CommandError> {
        let Located { path, named } = self.config()?;
        let files = ConfigFiles::begin();
        match files.read(path) {
            Ok(source) => Ok(files.load(&source, path)?),
            Err(ReadError::Absent) if !named => Ok(Settings::default()),
            Err(error) => Err(ConfigError::unreadable(path, error).into()),
        }
    }

    /// The limits that this machine's administrator has set.
    pub fn site_policy(&self) -> Result<MachinePolicy, CommandError> {
        Ok(policy::read(&self.env.policy)?)
    }

    /// The record, for writing. Warns of what was found when it was opened.
    pub fn store(&self) -> Result<Store, CommandError> {
        let (store, notices) = self.open_store()?;
        notices.iter().for_each(|notice| self.warn_of(notice));
        Ok(store)
    }

    /// The record, for writing, and what was found when it was opened.
    pub fn open_store(&self) -> Result<(Store, Vec<OpenNotice>), CommandError> {
        let opening = OpenOptions {
            path: &self.state.path,
            machine: self.env.machine.as_deref(),
            new_installation: InstallationId::from_uuid(self.env.uuid()),
            now: self.env.now(),
            watch: self.env.watch(),
        };
        Ok(Store::open(&opening)?)
    }

    pub fn warn_of(&self, notice: &OpenNotice) {
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
                let message = format!("the guard file beside {state} cannot be written: {error}");
                self.printer.warn(Code::Guard, &message, &[]);
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

    /// The record, for reading; `None` if there is no file, and none is made. The record of an older `eg` is brought up to
    /// date, if it can be written: after an upgrade nobody should have to wait for the next pass to see what is open.
    pub fn store_for_reading(&self) -> Result<Option<Store>, CommandError> {
        match Store::open_read_only(&self.state.path) {
            Err(older @ StateError::OlderSchema { .. }) => match self.open_store() {
                Ok((store, notices)) => {
                    notices.iter().for_each(|notice| self.warn_of(notice));
                    Ok(Some(store))
                }
                Err(why) => {
                    tracing::info!("the record cannot be brought up to date: {}", why.message);
                    Err(older.into())
                }
            },
            opened => Ok(opened?),
        }
    }

    pub fn view(&self, runs: LastRuns) -> View {
        View { now: self.env.now(), zone: self.zone.clone(), runs, columns: self.env.stdout_columns }
    }

    /// Asks the schedulers of this machine for a job that closes sessions on time.
    pub fn scheduled(&self, store: Option<&Store>, runs: &LastRuns) -> Scheduled {
        // A job counts as working where the record does not know since when it exists.
        let since = store.and_then(|store| store.scheduled_since().ok().flatten());
        Scheduled::ask(self.env, self.config.as_ref().ok(), &self.state, runs, since)
    }

    pub fn runtime(&self) -> Result<Runtime, CommandError> {
        runtime()
    }

    /// Warns of rows that were skipped because they do not parse. True if there are any, so that something was not shown.
    pub fn tell_damaged(&self, store: Option<&Store>) -> bool {
        let damaged = store.map(Store::damaged_rows).unwrap_or_default();
        for error in &damaged {
            let message = format!("{error}; the row is left out");
            self.printer.warn(Code::Note(NoteKind::Damaged), &message, error.advice().as_slice());
        }
        !damaged.is_empty()
    }

    /// A session as it is on record now.
    pub fn again(&self, store: &Store, id: SessionId) -> Result<Session, CommandError> {
        let gone = || CommandError::new(Kind::State, format!("session {id} is no longer on record"));
        store.session(id)?.ok_or_else(gone)
    }

    pub fn session_json(&self, store: &Store, session: &Session) -> Result<SessionJson, CommandError> {
        Ok(SessionJson::new(session, &store.open_leases()?, self.env.now()))
    }
}
