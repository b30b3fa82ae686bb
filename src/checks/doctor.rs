//! The findings of `eg doctor`, each with its remedy.

use crate::{
    address::{FamilySurvey, Survey, reasons},
    checks::{
        finding::{Finding, Level},
        resource::why_unknown,
    },
    error::{Work, advice, advice_for},
    host::lock::LockHolder,
};
use chrono::TimeDelta;
use eg_config::{
    policy::{MachinePolicy, PolicyError},
    settings::{Detect, Resource},
};
use eg_model::{
    Timestamp,
    auto_close::AutoCloseRoute,
    failure::{Failure, FailureClass},
    net::{
        address::IpVersion,
        agree::{EchoAnswer, FamilyOutcome, describe},
    },
    tags::CLOCK_TOLERANCE,
    text::shell_quoted,
};
use eg_providers::{Caller, CredentialsEnd, Rights, aws::NoCertificates};

/// A process that holds the lock and makes no progress: closing goes past it, opening waits.
pub fn lock(holder: &LockHolder) -> Finding {
    let message = format!("another eg ({}) {}: nothing is opened", holder.text(), holder.how());
    Finding { advice: holder.remedy(), ..Finding::bad("lock", message, "") }
}

/// The machine policy, and `[detect]` if it is not within it; `None` without a policy.
pub fn policy(found: &Result<MachinePolicy, PolicyError>, detect: &Detect) -> Option<Finding> {
    match found {
        Err(error) => Some(Finding::bad("policy", format!("{error}: nothing is opened"), error.advice())),
        Ok(policy) if let Err(why) = policy.check_services(detect.of_the_user()) => {
            let advice = "leave detection to eg's own services: take it out of [detect]";
            Some(Finding::bad("policy", format!("{why}: nothing is opened"), advice))
        }
        Ok(policy) => {
            let limits = policy.limits();
            let limits = if limits.is_empty() { "limits nothing".to_owned() } else { limits.join("; ") };
            Some(Finding::good("policy", format!("{}: {limits}", policy.file.as_ref()?.display())))
        }
    }
}

/// The CA certificates, without which nothing can be asked over https.
pub fn certificates(found: &Result<usize, NoCertificates>) -> Finding {
    let check = "certificates";
    match found {
        Ok(1) => Finding::good(check, "1 CA certificate is trusted"),
        Ok(count) => Finding::good(check, format!("{count} CA certificates are trusted")),
        Err(none) => Finding::bad(check, none.to_string(), advice(FailureClass::Local)),
    }
}

/// With a clock this far off, eg warns and collects no rules of other installations. With one that is off by more than
/// [`CLOCK_TOLERANCE`], `start` and `extend` refuse.
const CLOCK_ODD: TimeDelta = TimeDelta::minutes(2);

/// The local clock against the provider's; `skews` are local minus provider.
pub fn clock(skews: &[TimeDelta]) -> Option<Finding> {
    let worst = skews.iter().max_by_key(|skew| skew.abs())?;
    let way = if *worst > TimeDelta::zero() { "ahead of" } else { "behind" };
    let off = format!("this machine's clock is {} minutes {way} the provider's", worst.num_minutes().abs());
    let advice = "set the clock; with systemd: timedatectl set-ntp true";
    Some(match worst.abs() {
        skew if skew > CLOCK_TOLERANCE => {
            Finding::bad("clock", format!("{off}: session start and extend refuse"), advice)
        }
        skew if skew > CLOCK_ODD => Finding::warning("clock", off, advice),
        _ => Finding::good("clock", "agrees with the provider's"),
    })
}

/// True if a service answered with a page instead of an address, or with a redirect to one.
fn is_portal(answers: &[EchoAnswer]) -> bool {
    answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().err())
        .any(|why| why.contains("does this network ask you to sign in?") || why.contains("address: \"<"))
}

/// Cloud expiry in one account and region: it needs a role of that account, and rights to read the schedules.
pub fn cloud_expiry(place: &str, way: Option<&AutoCloseRoute>, read: Result<(), &Failure>) -> Finding {
    let check = "cloud-expiry";
    let Some(way) = way else {
        let message = format!("{place}: no role of this account: its rules close by eg reconcile only");
        return Finding::warning(check, message, "make one with: eg setup cloud-expiry; then add it to role_arn");
    };
    match read {
        // The role itself is not read: that takes rights that eg does not need otherwise.
        Ok(()) => Finding::good(
            check,
            format!(
                "{place}: expiry schedules can be read in schedule group {}; whether {} is there and may close was not \
                 checked (eg setup cloud-expiry --apply compares it)",
                way.group, way.role_arn
            ),
        ),
        Err(failure) => {
            let message = format!("{place}: expiry schedules cannot be read: {failure}");
            Finding::bad(check, message, advice_for(Work::ReadingExpiry, failure.class))
        }
    }
}

/// The addresses. A family that no resource takes is left out; `names` lists the resources that take a family.
pub fn addresses(found: &Survey, wants_v4: bool, wants_v6: bool, names: impl Fn(IpVersion) -> String) -> Vec<Finding> {
    let families = [(IpVersion::V4, &found.v4, wants_v4), (IpVersion::V6, &found.v6, wants_v6)];
    let any = families.iter().any(|(_, family, _)| matches!(family.outcome, FamilyOutcome::Agreed { .. }));
    let wanted = families.into_iter().filter(|(_, _, wants)| *wants);
    wanted.filter_map(|(version, family, _)| address(version, family, any, &names(version))).collect()
}

fn address(version: IpVersion, family: &FamilySurvey, any: bool, names: &str) -> Option<Finding> {
    let check = if version == IpVersion::V4 { "ipv4" } else { "ipv6" };
    let answers = || family.answers.iter().map(describe).collect::<Vec<_>>().join("; ");
    let name = format!("or name the address yourself: eg session start --{check} ADDRESS");
    let finding = match &family.outcome {
        FamilyOutcome::NotAsked => return None,
        FamilyOutcome::Agreed { address, by } => {
            let all = family.answers.len();
            return Some(Finding::good(check, format!("{address}, as {} of {all} services say", by.len())));
        }
        FamilyOutcome::NotRoutable { message, .. } => Finding::bad(check, message, "look at what is between: eg ip"),
        FamilyOutcome::Disagree { .. } => Finding::bad(
            check,
            format!("the services do not agree: {}", answers()),
            "a proxy or VPN for some of them? see: eg ip",
        ),
        FamilyOutcome::NotAgreed { .. } if is_portal(&family.answers) => Finding::bad(
            check,
            format!("this network answers with a page of its own (a captive portal): {}", reasons(&family.answers)),
            "sign in: open any page in a browser, then: eg doctor",
        ),
        FamilyOutcome::NotAgreed { .. } if any => {
            let (other, word) = match version {
                IpVersion::V4 => (IpVersion::V6, "ipv6"),
                IpVersion::V6 => (IpVersion::V4, "ipv4"),
            };
            return Some(Finding::warning(
                check,
                format!("not available here; sessions open {other} only"),
                format!("to stop checking {version}, set families = [\"{word}\"] on {names}"),
            ));
        }
        FamilyOutcome::NotAgreed { .. } => Finding::bad(
            check,
            format!("no address was found: {}", reasons(&family.answers)),
            "check the network, then: eg ip",
        ),
    };
    // A session opens for the family that was found. Services that disagree about a family stop the start of any session:
    // one of them may lie.
    let opens = any && !matches!(family.outcome, FamilyOutcome::Disagree { .. });
    let level = if opens { Level::Warning } else { finding.level };
    Some(Finding { level, ..finding.and(name) })
}

/// Credentials, and the resources that use them.
pub struct Used<'a> {
    pub name: String,
    /// The profile that they come from, if one is named.
    pub profile: Option<&'a str>,
    pub resources: String,
}

/// The caller behind some credentials, and their end. `session` is the length of a usual session.
pub fn credentials(
    Used { name, profile, resources }: &Used<'_>,
    caller: &Result<Caller, Failure>,
    end: &CredentialsEnd,
    now: Timestamp,
    session: TimeDelta,
    shown: impl Fn(Timestamp) -> String,
) -> Finding {
    let check = "credentials";
    let bad =
        |failure: &Failure, advice| Finding::bad(check, format!("{name}: {failure}; used by {resources}"), advice);
    let caller = match caller {
        Ok(caller) => caller,
        Err(failure) if failure.class.is_of_credentials() => {
            let profile = profile.map(|name| format!(" --profile {}", shell_quoted(name))).unwrap_or_default();
            let finding = bad(failure, advice(failure.class));
            return finding.and(format!("check with: aws sts get-caller-identity{profile}"));
        }
        Err(failure) => return bad(failure, advice_for(Work::AskingCaller, failure.class)),
    };
    let who = format!("{name}: {}", caller.arn);
    match end {
        CredentialsEnd::ShellOnly => Finding::warning(
            check,
            format!("{who}, from this shell's environment: the scheduled job will not have them"),
            "use a profile: `profile = \"…\"` on the resource, or AWS_PROFILE with AWS_ACCESS_KEY_ID unset",
        ),
        CredentialsEnd::At(at) | CredentialsEnd::Login { until: at, .. } if *at < now + session => {
            let log_in = match end {
                CredentialsEnd::Login { command, .. } => format!("log in again before then: {command}"),
                _ => "log in again before then (for SSO: aws sso login)".to_owned(),
            };
            let until = shown(*at);
            let message = format!("{who}; until {until}, which is before a session of today's usual length would end");
            Finding::warning(check, message, log_in)
        }
        CredentialsEnd::At(at) | CredentialsEnd::Login { until: at, .. } => {
            Finding::good(check, format!("{who}, until {}", shown(*at)))
        }
        CredentialsEnd::Renewing => Finding::good(check, format!("{who} (refreshed automatically)")),
        CredentialsEnd::Lasting => Finding::good(check, format!("{who} (long-lived keys)")),
        CredentialsEnd::Unknown => Finding::good(check, who),
    }
}

/// The places where a group that is not found may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The account that it belongs to, as recorded.
    pub account: Option<String>,
    /// Another region where these credentials see it.
    pub region: Option<String>,
}

/// A group that is not there for this caller.
///
/// | known | finding |
/// |---|---|
/// | another region has it | wrong region |
/// | the record says another account | wrong credentials |
/// | the record says this account | it is gone |
/// | nothing | wrong id, region or account |
pub fn missing_group(resource: &str, group: &str, region: &str, account: &str, elsewhere: &Elsewhere) -> Finding {
    let check = "group";
    match elsewhere {
        Elsewhere { region: Some(other), .. } => Finding::bad(
            check,
            format!("{resource}: {group} is in {other}, not in {region}"),
            format!("set region = \"{other}\" for {resource} in the configuration"),
        ),
        Elsewhere { account: Some(owner), .. } if owner != account => Finding::bad(
            check,
            format!("{resource}: {group} belongs to account {owner}; these credentials are of account {account}"),
            format!("set the `profile` or `role_arn` of {resource} to one of account {owner}"),
        ),
        Elsewhere { account: Some(_), .. } => Finding::bad(
            check,
            format!("{resource}: {group} in {region} is gone: it was there when a session used it"),
            format!("put the id of its successor into the configuration, or remove [[resource]] {resource}"),
        )
        .and("its rules went with it; eg reconcile closes what is on record"),
        Elsewhere { account: None, .. } => Finding::bad(
            check,
            format!("{resource}: account {account} has no {group} in {region}"),
            format!("check id and region: aws ec2 describe-security-groups --region {region} --group-ids {group}"),
        )
        .and(format!("in another account? set the `profile` or `role_arn` of {resource}")),
    }
}

/// A group that could not be read.
pub fn unreadable_group(resource: &str, failure: &Failure) -> Finding {
    let advice = match failure.class {
        FailureClass::Denied => "print the policy that is needed: eg iam-policy",
        _ => advice_for(Work::AskingCaller, failure.class),
    };
    Finding::bad("group", format!("{resource}: {failure}"), advice)
}

/// The rights that the caller lacks on a firewall, or that are not known.
pub fn permissions(resource: &Resource, rights: Rights) -> Vec<Finding> {
    let Resource { name, entry, .. } = resource;
    let unknown = rights.unknown().map(|failure| {
        let why = why_unknown(failure);
        let message = format!("{name}: whether the credentials may open, tag and close is not known: {why}");
        Finding::warning("permissions", message, "the first session will tell")
    });
    let missing = rights.denied();
    if missing.is_empty() {
        let known = || Finding::good("permissions", format!("{name}: open, tag and close"));
        return vec![unknown.unwrap_or_else(known).about(resource)];
    }
    let advice = format!("allow it with the policy that this prints: eg iam-policy --only {}", shell_quoted(entry));
    let denied = |why: &Failure| Finding::bad("permissions", format!("{name}: {why}"), advice.clone()).about(resource);
    missing.iter().map(denied).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: i64) -> TimeDelta {
        TimeDelta::minutes(minutes)
    }

    #[test]
    fn clocks() {
        assert_eq!(clock(&[]), None);
        let level = |skew: i64| clock(&[TimeDelta::zero(), minutes(skew)]).unwrap().level;
        assert_eq!([0, 2, 3, -3, 10, 11, -61].map(level), {
            use Level::{Bad, Good, Warning};
            [Good, Good, Warning, Warning, Warning, Bad, Bad]
        });
        let hour = clock(&[minutes(-60)]).unwrap();
        assert_eq!(
            hour.message,
            "this machine's clock is 60 minutes behind the provider's: session start and extend refuse"
        );
    }

    #[test]
    fn a_missing_group_is_told_apart() {
        let find = |account: Option<&str>, region: Option<&str>| {
            let elsewhere = Elsewhere { account: account.map(str::to_owned), region: region.map(str::to_owned) };
            missing_group("api", "sg-1", "eu-west-1", "111", &elsewhere).message
        };
        assert_eq!(find(Some("111"), Some("us-east-1")), "api: sg-1 is in us-east-1, not in eu-west-1");
        assert_eq!(find(Some("222"), None), "api: sg-1 belongs to account 222; these credentials are of account 111");
        assert_eq!(find(Some("111"), None), "api: sg-1 in eu-west-1 is gone: it was there when a session used it");
        assert_eq!(find(None, None), "api: account 111 has no sg-1 in eu-west-1");
    }

    #[test]
    fn families() {
        let answer = |text: &str| ("https://a/".to_owned(), Err(text.to_owned()));
        let none = |text: &str| FamilySurvey {
            outcome: FamilyOutcome::NotAgreed { answers: Vec::new() },
            answers: vec![answer(text)],
        };
        let by = vec!["https://a/".to_owned()];
        let good = FamilySurvey {
            outcome: FamilyOutcome::Agreed { address: "203.0.113.42".parse().unwrap(), by: by.clone() },
            answers: vec![("https://a/".to_owned(), Ok("203.0.113.42".parse().unwrap()))],
        };
        let levels = |v4: &FamilySurvey, v6: &FamilySurvey| {
            let found = addresses(&Survey { v4: v4.clone(), v6: v6.clone() }, true, true, |_| "api".to_owned());
            found.iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        let silent = none("no answer within 3 s");
        assert_eq!(levels(&good, &silent), [Level::Good, Level::Warning], "no IPv6");
        assert_eq!(levels(&silent, &good), [Level::Warning, Level::Good], "no IPv4");
        let outcome = |outcome| FamilySurvey { outcome, answers: vec![answer("x")] };
        let private =
            FamilyOutcome::NotRoutable { address: "fd00::1".parse().unwrap(), by, message: "local".to_owned() };
        assert_eq!(levels(&good, &outcome(private.clone())), [Level::Good, Level::Warning], "an address of its own");
        assert_eq!(levels(&silent, &outcome(private)), [Level::Bad, Level::Bad]);
        let several = outcome(FamilyOutcome::Disagree { answers: vec![answer("x")] });
        assert_eq!(levels(&several, &good), [Level::Bad, Level::Good], "this ends a start");
        assert_eq!(levels(&silent, &silent), [Level::Bad, Level::Bad], "no network");
        let portal = none("answered something that is not an IPv4 address: \"<html>\"");
        let found = addresses(&Survey { v4: portal.clone(), v6: silent }, true, false, |_| "api".to_owned());
        assert!(found[0].message.contains("captive portal") && found.len() == 1, "{found:?}");
        assert_eq!(found[0].level, Level::Bad);
        assert_eq!(levels(&portal, &good), [Level::Warning, Level::Good]);
    }
}
