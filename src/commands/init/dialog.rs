//! The things that every step of `eg init` needs: the profiles of this machine, and the user to ask, if there is one.

use crate::{
    commands::context::{Context, listen},
    error::CommandError,
    ui::prompt::{Questions, Unanswered},
};
use eg_model::target::Route;
use eg_providers::aws::{Profile, ProfileFilePaths, profiles, region};
use std::future::Future;
use tokio::runtime::Runtime;

pub(super) struct Dialog<'a> {
    pub(super) context: &'a Context<'a>,
    runtime: &'a Runtime,
    pub(super) profiles: Vec<Profile>,
    /// `None` without a terminal: then every answer has to be an option.
    pub(super) questions: Option<Questions>,
}

impl<'a> Dialog<'a> {
    pub(super) fn new(context: &'a Context<'a>, runtime: &'a Runtime) -> Result<Self, CommandError> {
        let env = context.env;
        let [config, credentials] = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"].map(|name| env.aws_file(name));
        let profiles = runtime.block_on(profiles(&ProfileFilePaths { config, credentials }))?;
        let interactive = env.stdin_is_terminal && env.stderr_is_terminal && !context.printer.is_json();
        let questions = interactive.then(|| Questions::begin(context.printer.has_colored_talk())).transpose()?;
        Ok(Self { context, runtime, profiles, questions })
    }

    /// Waits for a call to the provider. A signal ends the wait and the command.
    pub(super) fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        self.runtime.block_on(async {
            let interrupt = listen()?;
            tokio::select! {
                done = work => Ok(done),
                () = interrupt.wait() => Err(Unanswered::Stopped(interrupt.asked().unwrap_or_default()).into()),
            }
        })
    }

    /// The region that every AWS tool would take.
    pub(super) fn usual_region(&self, route: &Route) -> Option<String> {
        self.runtime.block_on(region::usual(|name| self.context.env.var(name), route))
    }

    /// True if the environment holds keys, which the SDK prefers to every profile.
    pub(super) fn has_environment_keys(&self) -> bool {
        self.context.env.var("AWS_ACCESS_KEY_ID").is_some()
    }
}
