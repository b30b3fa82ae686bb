//! `--check`: connects to what the rules should have made reachable.

use crate::{
    commands::{
        context::Context,
        session::{open::OpenRequest, outcome::exit_after},
    },
    error::{CommandError, Exit},
    host::{reachability::probe, signals::Interrupt},
    reconcile::{driver::Driver, report::PassReport},
    targets::obstacles::{Obstacles, OpenedGroups, obstacles},
    ui::warning::Code,
};
use eg_model::{
    failure::FailureClass,
    net::{
        address::IpVersion,
        host_port::{Endpoint, Unreached, advice},
    },
    session::record::{Grant, Session},
};
use futures_util::future::join_all;

impl OpenRequest<'_> {
    /// The exit status after a pass. The rules stay open even if `--check` fails, and the status is `Partial` then.
    pub(super) async fn exit_after_check(
        &self,
        driver: &Driver<'_>,
        session: &Session,
        report: &PassReport,
    ) -> Result<Exit, CommandError> {
        match exit_after(session, report) {
            Exit::Done if !self.reaches_all(driver, session, &driver.interrupt).await? => Ok(Exit::Partial),
            exit => Ok(exit),
        }
    }

    /// The hints for an endpoint that did not answer: what AWS says is in the way, then what may be.
    async fn hints(&self, driver: &Driver<'_>, session: &Session, endpoint: &Endpoint, why: &Unreached) -> Vec<String> {
        let mut all = Obstacles::default();
        if matches!(why, Unreached::Silent | Unreached::Failed(_) | Unreached::OtherFamily(_)) {
            let resolved = self.context.env.network.resolve(endpoint.host(), endpoint.port()).await;
            let open = OpenedGroups::by(session.current());
            all = obstacles(driver.connect.as_ref(), &open, &resolved.unwrap_or_default()).await;
        }
        // Other failures are of the moment, or of an endpoint that knows no interfaces.
        let denied = all.unread.into_iter().filter(|(_, failure)| failure.class == FailureClass::Denied);
        let told = all.sentences.into_iter().chain(denied.map(|(sentence, _)| sentence));
        told.chain(advice(endpoint, why, session, all.found)).collect()
    }

    /// True if every endpoint of `--check` was reached. Warns of each other one, with what may be in the way.
    ///
    /// # Errors
    /// A signal came.
    pub(super) async fn reaches_all(
        &self,
        driver: &Driver<'_>,
        session: &Session,
        interrupt: &Interrupt,
    ) -> Result<bool, CommandError> {
        let Context { env, printer, .. } = self.context;
        let families: Vec<IpVersion> = session.current().map(Grant::ip_version).collect();
        let tries = self.args.check.iter().map(async |endpoint| {
            printer.progress(&format!("→ Connecting to {endpoint}..."));
            (endpoint, probe(&*env.network, &env.pause, endpoint, &families).await)
        });
        let tried = tokio::select! {
            tried = join_all(tries) => tried,
            () = interrupt.wait() => {
                let number = interrupt.asked().unwrap_or_default();
                return Err(CommandError::stopped_by(number, "what was asked stays on record"));
            }
        };
        let mut all = true;
        for (endpoint, result) in tried {
            match result {
                Ok(()) => printer.progress(&format!("  {endpoint}: reached")),
                Err(why) => {
                    all = false;
                    let message = format!("{endpoint} was not reached, although the rules are open: {why}");
                    let hints = self.hints(driver, session, endpoint, &why).await;
                    printer.warn(Code::Unreachable, &message, &hints);
                }
            }
        }
        Ok(all)
    }
}
