//! `GetCallerIdentity` and `AssumeRole` (STS API reference).

use super::{ActionRequest, Answer};
use crate::{
    ids,
    protocol::{
        errors::{self, Refusal},
        xml::Xml,
    },
    world::{CallerIdentity, RoleSession, World},
};
use chrono::{SecondsFormat, TimeDelta};

/// "No permissions are required to perform this operation."
pub(super) fn caller_identity(ask: &ActionRequest<'_>) -> Answer {
    let mut xml = Xml::default();
    xml.text("Arn", &ask.caller.arn);
    xml.text("UserId", &ask.caller.user_id);
    xml.text("Account", &ask.caller.account);
    Answer::read(xml)
}

/// Every role can be assumed.
pub(super) fn assume_role(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let arn = ask.form.required("RoleArn")?;
    let name = session_name(ask.form.required("RoleSessionName")?)?;
    // "The value can range from 900 seconds (15 minutes) up to the maximum session duration"; 3600 without it.
    let seconds = ask.form.number("DurationSeconds")?.unwrap_or(3_600);
    if !(900..=43_200).contains(&seconds) {
        return Err(errors::sts_validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds'"
        )));
    }
    let number = world.next();
    let session = RoleSession {
        caller: assumed(arn, name, &ids::throwaway(ask.seed, number))?,
        expires_at: ask.now.checked_add_signed(TimeDelta::seconds(seconds.into())).unwrap_or(ask.now),
    };
    let key = ids::access_key(ask.seed, number);
    let xml = credentials(&key, &ids::throwaway(ask.seed, number), &session);
    world.add_session(key.clone(), session);
    Ok(Answer { xml, effect: true, ids: vec![key], ..Answer::default() })
}

/// `AssumedRoleUser` of `arn:<partition>:iam::<account>:role/<path><name>`.
fn assumed(arn: &str, session: &str, unique: &str) -> Result<CallerIdentity, Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
        return Err(errors::sts_validation(format!("{arn} is invalid")));
    };
    let role = resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next()).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| errors::sts_validation(format!("{arn} is invalid")))?;
    let unique: String = unique.chars().take(16).collect();
    Ok(CallerIdentity {
        account: (*account).to_owned(),
        arn: format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}"),
        user_id: format!("AROA{}:{session}", unique.to_ascii_uppercase()),
    })
}

/// `RoleSessionName`: 2 to 64 characters of `[\w+=,.@-]`.
fn session_name(name: &str) -> Result<&str, Refusal> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match (2..=64).contains(&name.chars().count()) && name.chars().all(fine) {
        true => Ok(name),
        false => {
            Err(errors::sts_validation(format!("1 validation error detected: Value '{name}' at 'roleSessionName'")))
        }
    }
}

fn credentials(key: &str, secret: &str, session: &RoleSession) -> Xml {
    let mut xml = Xml::default();
    xml.within("Credentials", |xml| {
        xml.text("AccessKeyId", key);
        xml.text("SecretAccessKey", secret);
        xml.text("SessionToken", format!("sandbox-{secret}"));
        xml.text("Expiration", session.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true));
    });
    xml.within("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &session.caller.user_id);
        xml.text("Arn", &session.caller.arn);
    });
    xml
}
