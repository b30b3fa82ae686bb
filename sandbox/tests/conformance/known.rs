//! Where the sandbox and moto differ, and which of both does as AWS documents.

/// Who does as AWS documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Sandbox,
    Moto,
    /// AWS's documentation does not say.
    Neither,
}

/// One step's difference.
pub(crate) struct Difference {
    /// Scene and step.
    pub(crate) at: (&'static str, &'static str),
    /// What only the sandbox's answer says.
    pub(crate) sandbox: &'static [&'static str],
    /// What only the other's answer says.
    pub(crate) other: &'static [&'static str],
    pub(crate) follows: Follows,
    pub(crate) why: &'static str,
}

const NO_RETURN: &str =
    "DeleteSecurityGroup, CreateTags and DeleteTags answer `return` (their response elements); moto leaves it out.";
const ALL_PORTS: &str =
    "What an authorize shows as the ports of every protocol is not documented; described, both show -1.";
const LAST_ONLY: &str =
    "An authorize lists the rules that were added, not those of the last permission only (`securityGroupRuleSet`).";
const ONE_BY_ONE: &str =
    "AWS refuses a call whole; moto applies one permission after the other and keeps what came before the refusal.";
const TWICE: &str =
    "The same permission twice in one call is InvalidParameterValue; moto notices it when it applies the second.";
const HOST_BITS: &str =
    "AWS canonicalizes CIDRs and calls another spelling of one a duplicate (`CidrIp`); moto keeps host bits.";
const UNKNOWN_RULE: &str =
    "An unknown rule id is InvalidSecurityGroupRuleId.NotFound (error codes); moto says InvalidPermission.NotFound.";
const NO_LIST: &str = "A revoke lists what it revoked (`revokedSecurityGroupRuleSet`); moto answers without a list.";
const UNKNOWN_TAGGED: &str =
    "That an unknown rule id refuses a whole tag call is seen, not documented; moto takes any id.";
const RESERVED: &str = "Tag keys that begin with `aws:` are reserved (tag restrictions); moto takes them.";
const ALL_TAGS: &str = "DeleteTags without tags deletes all user-defined tags; moto deletes none.";
const NO_PAGES: &str = "MaxResults is from 5 to 1000 and cuts pages; moto answers everything whatever it is.";
const FAMILIES: &str = "60 inbound rules for each of IPv4 and IPv6 (Amazon VPC quotas); moto counts both together.";
const CRASH: &str = "An error code in XML (InvalidAction, InvalidParameterValue); moto ends in an internal error.";
const MALFORMED: &str =
    "InvalidGroupId.Malformed is the code for an id that is none (error codes); moto looks it up as a name.";
const UNCHECKED: &str =
    "Protocols, ports and descriptions have documented ranges (`IpPermission`, `IpRange`); moto does not check them.";
const SESSION_NAME: &str =
    "RoleSessionName has 2 to 64 characters (STS API reference, AssumeRole); moto does not check it.";
const CONFLICT_STATUS: &str =
    "ConflictException has the status 409 (Scheduler API reference, CreateSchedule, errors); moto's has 400.";
const OVERRIDES: &str = "UpdateSchedule overrides the whole schedule, and what is left out has its default again; moto \
                         keeps ActionAfterCompletion and leaves State empty.";
const AFTER_COMPLETION: &str =
    "That ActionAfterCompletion is shown as NONE where it was not given is seen, not documented; moto shows none.";
const NO_SCHEDULE_GROUP: &str =
    "A missing group is ResourceNotFoundException (CreateSchedule, errors); moto ends in an internal error.";
const UNCHECKED_SCHEDULE: &str = "Names, expressions, zones, enumerations and ranges have documented constraints, and \
                                  what breaks one is ValidationException; moto does not check them.";
const SCHEDULE_CRASH: &str = "A required field that is missing is ValidationException; moto ends in an internal error.";
const ROLE_ACCOUNT: &str =
    "That the execution role has to be of the schedule's account is seen, not documented; moto takes any.";

pub(crate) const KNOWN: &[Difference] = &[
    Difference {
        at: ("groups", "delete"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("rules", "everything"),
        sandbox: &["rule $all ingress -1/-1--1 10.0.0.0/8 \"\" []"],
        other: &["rule $all ingress -1/- 10.0.0.0/8 \"\" []"],
        follows: Follows::Neither,
        why: ALL_PORTS,
    },
    Difference {
        at: ("batches", "three at once"),
        sandbox: &[
            "rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" []",
            "rule $web ingress tcp/443-443 203.0.113.42/32 \"\" []",
        ],
        other: &[],
        follows: Follows::Sandbox,
        why: LAST_ONLY,
    },
    Difference {
        at: ("batches", "after"),
        sandbox: &[
            "rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" []",
            "rule $web ingress tcp/443-443 203.0.113.42/32 \"\" []",
        ],
        other: &[
            "rule ? ingress tcp/22-22 203.0.113.42/32 \"\" []",
            "rule ? ingress tcp/443-443 203.0.113.42/32 \"\" []",
        ],
        follows: Follows::Sandbox,
        why: LAST_ONLY,
    },
    Difference {
        at: ("duplicates", "after the refusal"),
        sandbox: &[],
        other: &["rule ? ingress tcp/443-443 203.0.113.42/32 \"\" []"],
        follows: Follows::Sandbox,
        why: ONE_BY_ONE,
    },
    Difference {
        at: ("duplicates", "twice in one call"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["error 400 InvalidPermission.Duplicate"],
        follows: Follows::Sandbox,
        why: TWICE,
    },
    Difference {
        at: ("duplicates", "after twice"),
        sandbox: &[],
        other: &[
            "rule ? ingress tcp/22-22 2001:db8::42/128 \"\" []",
            "rule ? ingress tcp/443-443 203.0.113.42/32 \"\" []",
        ],
        follows: Follows::Sandbox,
        why: ONE_BY_ONE,
    },
    Difference {
        at: ("CIDRs", "host bits"),
        sandbox: &["rule $wide ingress tcp/1-1 100.68.0.0/18 \"\" []"],
        other: &["rule $wide ingress tcp/1-1 100.68.0.18/18 \"\" []"],
        follows: Follows::Sandbox,
        why: HOST_BITS,
    },
    Difference {
        at: ("CIDRs", "after"),
        sandbox: &["rule $wide ingress tcp/1-1 100.68.0.0/18 \"\" []"],
        other: &["rule $wide ingress tcp/1-1 100.68.0.18/18 \"\" []"],
        follows: Follows::Sandbox,
        why: HOST_BITS,
    },
    Difference {
        at: ("CIDRs", "the same without them"),
        sandbox: &["error 400 InvalidPermission.Duplicate"],
        other: &["OK true", "rule ? ingress tcp/1-1 100.68.0.0/18 \"\" []"],
        follows: Follows::Sandbox,
        why: HOST_BITS,
    },
    Difference {
        at: ("revokes", "one unknown id"),
        sandbox: &["error 400 InvalidSecurityGroupRuleId.NotFound"],
        other: &["error 400 InvalidPermission.NotFound"],
        follows: Follows::Sandbox,
        why: UNKNOWN_RULE,
    },
    Difference {
        at: ("revokes", "by id"),
        sandbox: &["revoked $ssh ingress tcp/22-22 203.0.113.42/32 \"\" []"],
        other: &[],
        follows: Follows::Sandbox,
        why: NO_LIST,
    },
    Difference {
        at: ("revokes", "by id again"),
        sandbox: &["error 400 InvalidSecurityGroupRuleId.NotFound"],
        other: &["error 400 InvalidPermission.NotFound"],
        follows: Follows::Sandbox,
        why: UNKNOWN_RULE,
    },
    Difference {
        at: ("revokes by permission", "there"),
        sandbox: &["revoked $ssh ingress tcp/22-22 203.0.113.42/32 \"\" []"],
        other: &[],
        follows: Follows::Sandbox,
        why: NO_LIST,
    },
    Difference {
        at: ("tags", "create"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "overwrite"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "one unknown id"),
        sandbox: &["error 400 InvalidSecurityGroupRuleId.NotFound"],
        other: &["OK"],
        follows: Follows::Neither,
        why: UNKNOWN_TAGGED,
    },
    Difference {
        at: ("tags", "after the refusal"),
        sandbox: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" [a=one, b=2, c=3, d=]"],
        other: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" [a=one, b=2, c=3, d=, x=1]"],
        follows: Follows::Neither,
        why: UNKNOWN_TAGGED,
    },
    Difference {
        at: ("tags", "another value"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "the value"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "no value"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "after delete"),
        sandbox: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" [a=one, d=]"],
        other: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" [a=one, d=, x=1]"],
        follows: Follows::Neither,
        why: UNKNOWN_TAGGED,
    },
    Difference {
        at: ("tags", "reserved"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: RESERVED,
    },
    Difference {
        at: ("tags", "on an unknown id"),
        sandbox: &["error 400 InvalidSecurityGroupRuleId.NotFound"],
        other: &["OK"],
        follows: Follows::Neither,
        why: UNKNOWN_TAGGED,
    },
    Difference {
        at: ("tags", "all"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tags", "after all"),
        sandbox: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" []"],
        other: &["rule $ssh ingress tcp/22-22 203.0.113.42/32 \"\" [a=one, aws:x=1, d=, x=1]"],
        follows: Follows::Sandbox,
        why: ALL_TAGS,
    },
    Difference {
        at: ("tag limit", "fifty"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("tag limit", "one of the fifty"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("pages", "a page of five"),
        sandbox: &["more pages", "rules: 5"],
        other: &["rules: 9"],
        follows: Follows::Sandbox,
        why: NO_PAGES,
    },
    Difference {
        at: ("pages", "a page of four"),
        sandbox: &["error 400 InvalidParameterValue", "rules: 0"],
        other: &["OK", "rules: 9"],
        follows: Follows::Sandbox,
        why: NO_PAGES,
    },
    Difference {
        at: ("quota", "one IPv6"),
        sandbox: &["OK true", "rule $ssh6 ingress tcp/22-22 2001:db8::42/128 \"\" []"],
        other: &["error 400 RulesPerSecurityGroupLimitExceeded"],
        follows: Follows::Sandbox,
        why: FAMILIES,
    },
    Difference {
        at: ("refusals", "an unknown action"),
        sandbox: &["error 400 InvalidAction"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: CRASH,
    },
    Difference {
        at: ("refusals", "a malformed group"),
        sandbox: &["error 400 InvalidGroupId.Malformed"],
        other: &["error 400 InvalidGroup.NotFound"],
        follows: Follows::Sandbox,
        why: MALFORMED,
    },
    Difference {
        at: ("refusals", "no ports"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: CRASH,
    },
    Difference {
        at: ("refusals", "an unknown protocol"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK true", "rule ? ingress quic/1-1 10.0.0.0/8 \"\" []"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("refusals", "ports out of range"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK true", "rule ? ingress tcp/1-70000 10.0.0.0/8 \"\" []"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("refusals", "a description too long"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK true", "rule ? ingress tcp/22-22 203.0.113.42/32 \"(256 characters)\" []"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("refusals", "a description with a bad character"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["error 400 InvalidPermission.Duplicate"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("refusals", "an unknown filter"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: CRASH,
    },
    Difference {
        at: ("refusals", "nothing was opened"),
        sandbox: &[],
        other: &[
            "rule ? ingress quic/1-1 10.0.0.0/8 \"\" []",
            "rule ? ingress tcp/1-70000 10.0.0.0/8 \"\" []",
            "rule ? ingress tcp/22-22 203.0.113.42/32 \"(256 characters)\" []",
        ],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("identities", "a name too short"),
        sandbox: &["error 400 ValidationError"],
        other: &["OK", "assumed role arn:aws:sts::222222222222:assumed-role/opener/e"],
        follows: Follows::Sandbox,
        why: SESSION_NAME,
    },
    Difference {
        at: ("schedules", "make again"),
        sandbox: &["error 409 ConflictException"],
        other: &["error 400 ConflictException"],
        follows: Follows::Sandbox,
        why: CONFLICT_STATUS,
    },
    Difference {
        at: ("schedules", "what was left out"),
        sandbox: &["ActionAfterCompletion: \"NONE\"", "State: \"ENABLED\""],
        other: &["ActionAfterCompletion: \"DELETE\""],
        follows: Follows::Sandbox,
        why: OVERRIDES,
    },
    Difference {
        at: ("schedules", "make in a group that is not there"),
        sandbox: &["error 404 ResourceNotFoundException of a group"],
        other: &["error 500 (no JSON)"],
        follows: Follows::Sandbox,
        why: NO_SCHEDULE_GROUP,
    },
    Difference {
        at: ("schedules", "read what was made so"),
        sandbox: &["ActionAfterCompletion: \"NONE\""],
        other: &[],
        follows: Follows::Neither,
        why: AFTER_COMPLETION,
    },
    Difference {
        at: ("schedule refusals", "a time that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a day that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "no expression"),
        sandbox: &["error 400 ValidationException"],
        other: &["error 500 (no JSON)"],
        follows: Follows::Sandbox,
        why: SCHEDULE_CRASH,
    },
    Difference {
        at: ("schedule refusals", "no window"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a window that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a zone that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a state that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "an end that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "no target"),
        sandbox: &["error 400 ValidationException"],
        other: &["error 500 (no JSON)"],
        follows: Follows::Sandbox,
        why: SCHEDULE_CRASH,
    },
    Difference {
        at: ("schedule refusals", "a target that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a role that is none"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a role of another account"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Neither,
        why: ROLE_ACCOUNT,
    },
    Difference {
        at: ("schedule refusals", "too many retries"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "retries for too short"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a bad character in the name"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "a name too long"),
        sandbox: &["error 400 ValidationException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
    Difference {
        at: ("schedule refusals", "nothing was made"),
        sandbox: &["error 404 ResourceNotFoundException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED_SCHEDULE,
    },
];
