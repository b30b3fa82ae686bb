//! Where the sandbox's prefix lists and IP sets and ministack's differ. ministack knows neither versions nor lock tokens, so
//! it can judge what is read, marked and written, and not what is refused.

use crate::known::{Difference, Follows};

const BY_ID: &str =
    "The filter `prefix-list-id` selects lists (DescribeManagedPrefixLists, `Filter`); ministack ignores it.";
const NO_SUCH_LIST: &str = "An unknown list is InvalidPrefixListID.NotFound (error codes); ministack leaves it out.";
const VERSIONS: &str =
    "TargetVersion names a version of the entries (GetManagedPrefixListEntries); ministack has the last one alone.";
const RENAMED: &str = "\"Changing the name of the prefix list does not affect the version\" (ModifyManagedPrefixList); ministack counts it.";
const STALE: &str = "A version that is not the current one is refused (ModifyManagedPrefixList: \"the request fails\"); \
                     ministack ignores the version, so that a change which somebody else made in between is lost.";
const EXISTS: &str = "An entry that exists with its CIDR and description is InvalidPrefixListModification (seen, in reports of \
                      what AWS answers); ministack adds it twice.";
const UNCHECKED: &str =
    "Entries are of the list's family, fit into it, and exist before they go; ministack does not check them.";
const BOTH: &str = "One CIDR in both lists of a request is InvalidParameterValue (seen, in reports of what AWS answers); ministack takes it.";
const SIZE: &str = "\"You cannot modify the entries of a prefix list and modify the size of a prefix list at the same time\" \
                    (`MaxEntries`); ministack does both.";
const DRY_RUN: &str =
    "A dry run changes nothing (`DryRun`); ministack makes the change, as it made all that is refused.";
const SUMMARY: &str =
    "A summary of a set has its description (`IPSetSummary`); ministack leaves it out after CreateIPSet.";
const SCOPE: &str = "An IPSet has no scope among its contents (`IPSet`); ministack shows one.";
const ERASED: &str = "UpdateIPSet \"completely replaces the mutable specifications\", so that one without a description erases it; \
                      ministack keeps it, and shows a scope.";
const TOKEN: &str = "A token that is not the current one is WAFOptimisticLockException (UpdateIPSet, errors); ministack ignores it, \
                     so that a change which somebody else made in between is lost.";
const ADDRESSES: &str = "Addresses are in CIDR notation of the set's family, \"all ranges except for /0\" (`Addresses`); ministack does not check them.";

pub(crate) const KNOWN_OF_MINISTACK: &[Difference] = &[
    Difference {
        at: ("prefix lists", "an unknown list by filter"),
        sandbox: &[],
        other: &["list $l \"people\" IPv4 create-complete version 1 of at most 3 owned by 123456789012 []"],
        follows: Follows::Sandbox,
        why: BY_ID,
    },
    Difference {
        at: ("prefix lists", "an unknown list by id"),
        sandbox: &["error 400 InvalidPrefixListID.NotFound"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_SUCH_LIST,
    },
    Difference {
        at: ("prefix lists", "the version before"),
        sandbox: &[],
        other: &["entry 198.51.100.0/24 \"the office\"", "entry 203.0.113.42/32 \"home\""],
        follows: Follows::Sandbox,
        why: VERSIONS,
    },
    Difference {
        at: ("prefix lists", "a version that is not there"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK", "entry 198.51.100.0/24 \"the office\"", "entry 203.0.113.42/32 \"home\""],
        follows: Follows::Neither,
        why: VERSIONS,
    },
    Difference {
        at: ("prefix lists", "described with its new name"),
        sandbox: &["list $l \"persons\" IPv4 modify-complete version 3 of at most 3 owned by 123456789012 [owner=bob]"],
        other: &["list $l \"persons\" IPv4 modify-complete version 4 of at most 3 owned by 123456789012 [owner=bob]"],
        follows: Follows::Sandbox,
        why: RENAMED,
    },
    Difference {
        at: ("prefix list refusals", "a stale version"),
        sandbox: &["error 400 PrefixListVersionMismatch"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: STALE,
    },
    Difference {
        at: ("prefix list refusals", "the same again"),
        sandbox: &["error 400 InvalidPrefixListModification"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: EXISTS,
    },
    Difference {
        at: ("prefix list refusals", "after the refusals"),
        sandbox: &[],
        other: &["entry 192.0.2.1/32 \"\""],
        follows: Follows::Sandbox,
        why: STALE,
    },
    Difference {
        at: ("prefix list refusals", "a network of the other family"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("prefix list refusals", "no network"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("prefix list refusals", "too many"),
        sandbox: &["error 400 PrefixListMaxEntriesExceeded"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("prefix list refusals", "remove what is not there"),
        sandbox: &["error 400 InvalidPrefixListModification"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: UNCHECKED,
    },
    Difference {
        at: ("prefix list refusals", "add and remove"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: BOTH,
    },
    Difference {
        at: ("prefix list refusals", "entries and size"),
        sandbox: &["error 400 InvalidParameterCombination"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: SIZE,
    },
    Difference {
        at: ("prefix list refusals", "dry run"),
        sandbox: &["error 412 DryRunOperation"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: DRY_RUN,
    },
    Difference {
        at: ("prefix list refusals", "nothing was changed"),
        sandbox: &["entry 203.0.113.42/32 \"home\""],
        other: &[
            "entry 192.0.2.1/32 \"\"",
            "entry 192.0.2.2/32 \"\"",
            "entry 192.0.2.3/32 \"\"",
            "entry 2001:db8::/64 \"\"",
            "entry home \"\"",
        ],
        follows: Follows::Sandbox,
        why: DRY_RUN,
    },
    Difference {
        at: ("IP sets", "create"),
        sandbox: &["Summary.Description: \"of people\""],
        other: &[],
        follows: Follows::Sandbox,
        why: SUMMARY,
    },
    Difference {
        at: ("IP sets", "get"),
        sandbox: &[],
        other: &["IPSet.Scope: \"REGIONAL\""],
        follows: Follows::Sandbox,
        why: SCOPE,
    },
    Difference {
        at: ("IP sets", "after adding"),
        sandbox: &[],
        other: &["IPSet.Scope: \"REGIONAL\""],
        follows: Follows::Sandbox,
        why: SCOPE,
    },
    Difference {
        at: ("IP sets", "after removing"),
        sandbox: &["IPSet.Description: \"\""],
        other: &["IPSet.Description: \"of people\"", "IPSet.Scope: \"REGIONAL\""],
        follows: Follows::Sandbox,
        why: ERASED,
    },
    Difference {
        at: ("IP set refusals", "create"),
        sandbox: &["Summary.Description: \"of people\""],
        other: &[],
        follows: Follows::Sandbox,
        why: SUMMARY,
    },
    Difference {
        at: ("IP set refusals", "an old token"),
        sandbox: &["error 400 WAFOptimisticLockException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: TOKEN,
    },
    Difference {
        at: ("IP set refusals", "after the refusal"),
        sandbox: &["IPSet.Addresses: [\"198.51.100.0/24\"]"],
        other: &["IPSet.Addresses: []", "IPSet.Scope: \"REGIONAL\""],
        follows: Follows::Sandbox,
        why: TOKEN,
    },
    Difference {
        at: ("IP set refusals", "every address"),
        sandbox: &["error 400 WAFInvalidParameterException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: ADDRESSES,
    },
    Difference {
        at: ("IP set refusals", "no network"),
        sandbox: &["error 400 WAFInvalidParameterException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: ADDRESSES,
    },
    Difference {
        at: ("IP set refusals", "the other family"),
        sandbox: &["error 400 WAFInvalidParameterException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: ADDRESSES,
    },
];
