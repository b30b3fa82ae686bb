//! The command line: what is accepted, and the help that goes with it.

use crate::commands;
use clap::{Args, Parser, Subcommand, ValueEnum};
use eg_model::time::duration::parse_seconds;
use std::{path::PathBuf, time::Duration};

/// Opens cloud firewalls to your address for a limited time, and closes them again.
#[derive(Debug, Parser)]
#[command(
    name = "eg",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Short forms: eg start, stop, list, get and extend mean eg session start, stop, ..."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The configuration file [default: $EG_CONFIG, else config.toml in the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state file [default: $EG_STATE, else state.db in the user's state directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How long to wait for another running eg (0s to 3600s)
    #[arg(long, global = true, value_name = "D", default_value = "30s", value_parser = lock_wait)]
    pub lock_wait: Duration,
    /// Say more on stderr: -v what is done, -vv every call
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say less on stderr: results, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

fn lock_wait(text: &str) -> Result<Duration, String> {
    parse_seconds(text, 0..=3600).map_err(|error| error.to_string())
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document on stdout, JSON Lines on stderr.
    Json,
    /// For spreadsheets: the rows of `eg log`, and of nothing else.
    Csv,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands. Where one has arguments, their struct's doc comment is its help: one here would stand in its way.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the doc comment of a variant replaces the help of its arguments' struct")]
pub enum Command {
    Init(commands::init::InitArgs),
    /// Start, list, extend and stop sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Manage the security groups eg may open
    #[command(subcommand)]
    Resource(ResourceCommand),
    Status(commands::status::once::StatusArgs),
    Who(commands::who::WhoArgs),
    Ip(commands::ip::IpArgs),
    Log(commands::log::LogArgs),
    Doctor(commands::doctor::DoctorArgs),
    IamPolicy(commands::iam_policy::IamPolicyArgs),
    Reconcile(commands::reconcile::once::ReconcileArgs),
    Sweep(commands::sweep::SweepArgs),
    /// Manage the job that closes sessions
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Create the AWS resources for cloud expiry
    #[command(subcommand)]
    Setup(SetupCommand),
    /// See what eg does, in a few seconds and without an account
    ///
    /// Starts an EC2-compatible endpoint on loopback with three security groups, one of which holds a rule made by
    /// hand, and runs the real commands against it. Shows what is open in between, and fails unless everything is as
    /// before at the end. Asks nothing, uses nothing of your configuration, credentials or network, and leaves nothing
    /// behind.
    Demo,
    Sandbox(commands::sandbox::SandboxArgs),
    Schema(commands::schema::SchemaArgs),
    Completions(commands::completions::CompletionsArgs),
    Man(commands::man::ManArgs),
    /// Look after the state file
    #[command(subcommand)]
    State(StateCommand),
    Help(HelpArgs),
    #[command(hide = true, alias = "open")]
    Start(commands::session::start::StartArgs),
    #[command(hide = true, aliases = ["close", "rm"])]
    Stop(commands::session::stop::StopArgs),
    #[command(hide = true, alias = "ls")]
    List(commands::session::list::SessionListArgs),
    #[command(hide = true)]
    Get(commands::session::get::GetArgs),
    #[command(hide = true)]
    Extend(commands::session::extend::ExtendArgs),
}

/// Show the help of a command
#[derive(Debug, Args)]
#[command(after_help = "Example: eg help session start")]
pub struct HelpArgs {
    /// The command; without one, all of them are listed
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `eg session …`.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the doc comment of a variant replaces the help of its arguments' struct")]
pub enum SessionCommand {
    #[command(alias = "open")]
    Start(commands::session::start::StartArgs),
    Ensure(commands::session::ensure::EnsureArgs),
    Run(commands::session::run::RunArgs),
    #[command(alias = "ls")]
    List(commands::session::list::SessionListArgs),
    #[command(alias = "show")]
    Get(commands::session::get::GetArgs),
    Extend(commands::session::extend::ExtendArgs),
    #[command(aliases = ["close", "rm"])]
    Stop(commands::session::stop::StopArgs),
}

/// `eg resource …`.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the doc comment of a variant replaces the help of its arguments' struct")]
pub enum ResourceCommand {
    #[command(alias = "ls")]
    List(commands::resource::list::ResourceListArgs),
    Add(Box<commands::resource::add::AddArgs>),
    #[command(alias = "rm")]
    Remove(commands::resource::remove::ResourceRemoveArgs),
    Verify(commands::resource::verify::VerifyArgs),
    Discover(commands::resource::discover::DiscoverArgs),
}

/// `eg schedule …`.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the doc comment of a variant replaces the help of its arguments' struct")]
pub enum ScheduleCommand {
    Show(commands::schedule::show::ShowArgs),
    Install(commands::schedule::install::InstallArgs),
    #[command(alias = "rm")]
    Remove(commands::schedule::remove::ScheduleRemoveArgs),
}

/// `eg setup …`.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the doc comment of a variant replaces the help of its arguments' struct")]
pub enum SetupCommand {
    CloudExpiry(commands::setup::CloudExpiryArgs),
}

/// `eg state …`.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Make the state file of another machine this machine's own
    ///
    /// For a machine that is gone for good: its leases become this machine's, to be closed in time. If that machine
    /// still runs, give this one a state file of its own instead (--state).
    Adopt,
}
