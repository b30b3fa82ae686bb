//! The command line: every command with its arguments, and the one place that runs them.

use crate::{
    commands::{
        adopt, completions,
        context::Context,
        demo, doctor,
        global::{Global, Output},
        help, iam_policy, init, ip, log, man, reconcile, resource, sandbox, schedule, schema, session, setup, status,
        sweep, who,
    },
    error::{CommandError, Exit, Kind},
    host::env::Env,
    ui::printer::Printer,
};
use clap::{CommandFactory, Parser, Subcommand};

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
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// A variant with an argument struct has no doc comment: it would replace that struct's help.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::InitArgs),
    Open(Box<session::start::OpenHostArgs>),
    Close(session::stop::StopArgs),
    /// Start, list, extend and stop sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Manage the firewalls that eg may open
    #[command(subcommand)]
    Resource(ResourceCommand),
    Status(status::once::StatusArgs),
    Who(who::WhoArgs),
    Ip(ip::IpArgs),
    Log(log::LogArgs),
    Doctor(doctor::DoctorArgs),
    IamPolicy(iam_policy::IamPolicyArgs),
    Reconcile(reconcile::once::ReconcileArgs),
    Sweep(sweep::SweepArgs),
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
    Sandbox(sandbox::SandboxArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Look after the state file
    #[command(subcommand)]
    State(StateCommand),
    Help(help::HelpArgs),
    #[command(hide = true)]
    Start(session::start::StartArgs),
    #[command(hide = true, alias = "rm")]
    Stop(session::stop::StopArgs),
    #[command(hide = true, alias = "ls")]
    List(session::list::SessionListArgs),
    #[command(hide = true)]
    Get(session::get::GetArgs),
    #[command(hide = true)]
    Extend(session::extend::ExtendArgs),
}

#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    #[command(alias = "open")]
    Start(session::start::StartArgs),
    Ensure(session::ensure::EnsureArgs),
    Run(session::run::RunArgs),
    #[command(alias = "ls")]
    List(session::list::SessionListArgs),
    #[command(alias = "show")]
    Get(session::get::GetArgs),
    Extend(session::extend::ExtendArgs),
    #[command(aliases = ["close", "rm"])]
    Stop(session::stop::StopArgs),
}

#[derive(Debug, Subcommand)]
pub enum ResourceCommand {
    #[command(alias = "ls")]
    List(resource::list::ResourceListArgs),
    Add(Box<resource::add::AddArgs>),
    #[command(alias = "rm")]
    Remove(resource::remove::ResourceRemoveArgs),
    Verify(resource::verify::VerifyArgs),
    Discover(resource::discover::DiscoverArgs),
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    Show(schedule::show::ShowArgs),
    Install(schedule::install::InstallArgs),
    #[command(alias = "rm")]
    Remove(schedule::remove::ScheduleRemoveArgs),
}

#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    CloudExpiry(setup::CloudExpiryArgs),
}

#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Make the state file of another machine this machine's own
    ///
    /// For a machine that is gone for good: its leases become this machine's, to be closed in time. If that machine
    /// still runs, give this one a state file of its own instead (--state).
    Adopt,
}

/// Runs one command.
///
/// # Errors
/// The command did not do what was asked.
pub fn run(env: &Env, printer: &Printer, cli: &Cli) -> Result<Exit, CommandError> {
    let global = &cli.global;
    if global.output == Output::Csv && !matches!(cli.command, Command::Log(_)) {
        let error = CommandError::new(Kind::Usage, "only `eg log` has rows for --output csv");
        return Err(error.hint("use --output json, or table"));
    }
    let scheduled = matches!(&cli.command, Command::Reconcile(args) if args.is_timed());
    let context = || Context::new(env, printer, global, scheduled);
    match &cli.command {
        Command::Schema(args) => schema::run(printer, args),
        Command::Completions(args) => completions::run(env, printer, args),
        Command::Man(args) => man::run(env, printer, args, &built()),
        Command::Help(args) => help::run(printer, args, &built()),
        Command::Demo => demo::run(env, printer, global),
        Command::Sweep(args) => sweep::run(env, printer, args),
        Command::Sandbox(args) => sandbox::run(env, printer, global, args),
        Command::Init(args) => init::run(&context()?, args),
        Command::Resource(command) => run_resource(&context()?, command),
        Command::Session(command) => run_session(&context()?, command),
        Command::Open(args) => session::start::run_open(&context()?, args),
        Command::Close(args) | Command::Stop(args) => session::stop::run(&context()?, args),
        Command::Start(args) => session::start::run(&context()?, args),
        Command::List(args) => session::list::run(&context()?, args),
        Command::Get(args) => session::get::run(&context()?, args),
        Command::Extend(args) => session::extend::run(&context()?, args),
        Command::Status(args) => status::once::run(&context()?, args, run_words),
        Command::Who(args) => who::run(&context()?, args),
        Command::Ip(args) => ip::run(&context()?, args),
        Command::Log(args) => log::run(&context()?, args),
        Command::Doctor(args) => doctor::run(&context()?, args),
        Command::IamPolicy(args) => iam_policy::run(&context()?, args),
        Command::Reconcile(args) => reconcile::once::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Show(args)) => schedule::show::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Install(args)) => schedule::install::run(&context()?, args),
        Command::Schedule(ScheduleCommand::Remove(args)) => schedule::remove::run(&context()?, args),
        Command::Setup(SetupCommand::CloudExpiry(args)) => setup::run(&context()?, args),
        Command::State(StateCommand::Adopt) => adopt::run(&context()?),
    }
}

fn run_session(context: &Context<'_>, command: &SessionCommand) -> Result<Exit, CommandError> {
    match command {
        SessionCommand::Start(args) => session::start::run(context, args),
        SessionCommand::Ensure(args) => session::ensure::run(context, args),
        SessionCommand::Run(args) => session::run::run(context, args),
        SessionCommand::List(args) => session::list::run(context, args),
        SessionCommand::Get(args) => session::get::run(context, args),
        SessionCommand::Extend(args) => session::extend::run(context, args),
        SessionCommand::Stop(args) => session::stop::run(context, args),
    }
}

fn run_resource(context: &Context<'_>, command: &ResourceCommand) -> Result<Exit, CommandError> {
    match command {
        ResourceCommand::List(args) => resource::list::run(context, args),
        ResourceCommand::Add(args) => resource::add::run(context, args),
        ResourceCommand::Remove(args) => resource::remove::run(context, args),
        ResourceCommand::Verify(args) => resource::verify::run(context, args),
        ResourceCommand::Discover(args) => resource::discover::run(context, args),
    }
}

/// Runs the words of a command with the global options of another one: for the keys of `eg status --watch`.
fn run_words(env: &Env, printer: &Printer, global: &Global, words: &[String]) -> Result<Exit, CommandError> {
    let words = ["eg"].into_iter().chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words).map_err(|error| CommandError::new(Kind::Usage, error.render().to_string()))?;
    run(env, printer, &Cli { global: global.clone(), ..cli })
}

/// The tree of all commands, with what clap adds to it.
fn built() -> clap::Command {
    let mut eg = Cli::command();
    eg.build();
    eg
}
