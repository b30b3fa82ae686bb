//! Builds the session that a request asks for, records it, and prints it before and after the pass.

use crate::{
    commands::session::{
        open::{ChosenResource, OpenRequest, usage},
        preflight::{Preflight, not_interrupted},
    },
    error::CommandError,
    reconcile::{
        driver::Driver,
        reading::{TargetReading, TargetReadings},
    },
};
use eg_model::{
    ids::{GrantId, SessionId},
    net::{address::IpVersion, permission::Permission},
    session::record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    target::{Route, Target},
};
use eg_providers::Caller;
use std::{collections::BTreeSet, net::IpAddr};

impl OpenRequest<'_> {
    /// The session that is asked for, as of now. What a target does not take by its reading is left out.
    ///
    /// # Errors
    /// It would end before it begins.
    pub(super) fn build(
        &self,
        addresses: &[IpAddr],
        callers: &[(Target, Caller)],
        readings: &TargetReadings,
    ) -> Result<Session, CommandError> {
        let env = self.context.env;
        let now = env.now();
        let mut session = Session {
            id: SessionId(env.uuid()),
            user_name: self.settings.user.name.clone().unwrap_or_else(|| format!("{}@{}", env.user, env.host)),
            user_email: self.settings.user.email.clone(),
            reason: self.args.reason.clone(),
            follow: self.args.follow,
            followed_name: self.followed_name().map(|host| host.name().to_owned()),
            status: SessionStatus::Pending,
            started_at: now,
            expires_at: self.length.end(now).map_err(usage)?,
            ended_at: None,
            ended_reason: None,
            caller_arns: callers.iter().map(|(_, caller)| caller.arn.clone()).collect(),
            grants: Vec::new(),
        };
        for chosen in &self.chosen {
            let caller =
                callers.iter().find(|(way, _)| way.regional() == chosen.target.regional()).map(|(_, caller)| caller);
            let route = Route {
                account: caller.map(|caller| caller.account.clone()),
                partition: caller.map(|caller| caller.partition.clone()),
                ..chosen.target.route.clone()
            };
            let target = Target { route, ..chosen.target.clone() };
            let family = readings.get(&target.key).and_then(TargetReading::only_family);
            let takes = |version| chosen.takes(version) && family.is_none_or(|only| only == version);
            let taken = addresses.iter().filter(|address| takes(IpVersion::of(**address)));
            session.grants.extend(taken.map(|address| self.grant(chosen, &target, *address)));
        }
        session.grants.sort_by(|a, b| (&a.resource_name, a.ip_version()).cmp(&(&b.resource_name, b.ip_version())));
        Ok(session)
    }

    fn grant(&self, chosen: &ChosenResource, target: &Target, address: IpAddr) -> Grant {
        let cidr = self.settings.session.prefix_lengths.around(address);
        let permissions: BTreeSet<_> = chosen.ports.iter().map(|port| Permission::for_network(*port, cidr)).collect();
        let untried = |permission| GrantPermission { permission, standing: Standing::Untried };
        Grant {
            id: GrantId(self.context.env.uuid()),
            resource_name: chosen.resource.name.clone(),
            target: target.clone(),
            address,
            status: GrantStatus::Pending,
            permissions: permissions.into_iter().map(untried).collect(),
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        }
    }

    /// Records the session in one transaction, before the lock and before any change.
    pub(super) fn record(&self, driver: &Driver<'_>, session: &Session) -> Result<(), CommandError> {
        not_interrupted(driver)?;
        let mut store = driver.store_mut();
        store.expire(session.started_at)?;
        store.start(session)?;
        Ok(())
    }

    /// The block about a session that was just recorded.
    pub(super) fn began(&self, session: &Session, preflight: &Preflight) -> String {
        format!("✓ Session started\n{}", self.context.view(preflight.runs.clone()).started(session))
    }

    /// The last line: the status of the session after the pass.
    pub(super) fn closing_line(&self, session: &Session) -> String {
        let short = session.id.short();
        let until = self.context.zone.clock(session.expires_at);
        match session.status {
            SessionStatus::Active => "✓ Session is ACTIVE\n".to_owned(),
            SessionStatus::Failed => format!(
                "✗ Nothing could be opened. eg reconcile keeps trying until {until}; to give up: eg session stop {short}\n"
            ),
            status => format!("! Session is {status}\n"),
        }
    }
}

/// Adds to an error how to end the session, which is on record all the same.
pub(super) fn stays_on_record(error: CommandError, id: SessionId) -> CommandError {
    let short = id.short();
    error.hint(format!("session {short} is on record; stop it with: eg session stop {short}"))
}
