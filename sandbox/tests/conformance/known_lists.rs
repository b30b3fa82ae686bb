//! Where the sandbox's prefix lists and IP sets and moto's differ. Of IP sets, moto enforces the lock token.

use crate::known::{Difference, Follows};

const NAME: &str =
    "A change without a name keeps the name (ModifyManagedPrefixList, `PrefixListName`); moto erases it.";
const NO_SUCH_LIST: &str =
    "An unknown list is InvalidPrefixListID.NotFound (error codes); moto leaves it out, or ends in an internal error.";
const VERSIONS: &str = "That a version which is not there is refused is not documented; moto answers with nothing.";
const NO_RETURN: &str = "CreateTags and DeleteTags answer `return` (response elements); moto leaves it out.";
const STALE: &str = "A version that is not the current one is refused (ModifyManagedPrefixList: \"the request fails\"), with the \
                     code PrefixListVersionMismatch (error codes); moto takes any version, and the entries of that one.";
const UNCHECKED: &str =
    "Entries are of the list's family, fit into it, and exist before they go; moto does not check them.";
const EXISTS: &str = "An entry that exists with its CIDR and description is InvalidPrefixListModification (seen, in reports of \
                      what AWS answers); moto takes it.";
const BOTH: &str = "One CIDR in both lists of a request is InvalidParameterValue (seen, in reports of what AWS answers); moto takes it.";
const SIZE: &str = "\"You cannot modify the entries of a prefix list and modify the size of a prefix list at the same time\" \
                    (`MaxEntries`); moto ignores the size.";
const DRY_RUN: &str = "A dry run changes nothing (`DryRun`); moto makes the change.";
const ERASED: &str = "UpdateIPSet \"completely replaces the mutable specifications\", so that one without a description erases it; \
                      moto keeps it.";
const ADDRESSES: &str = "Addresses are in CIDR notation of the set's family, \"all ranges except for /0\" (`Addresses`); moto does not check them.";
const TWICE: &str = "A second set of one name is WAFDuplicateItemException (CreateIPSet, errors); moto makes it.";

pub(crate) const KNOWN_OF_LISTS: &[Difference] = &[
    Difference {
        at: ("prefix lists", "an unknown list by id"),
        sandbox: &["error 400 InvalidPrefixListID.NotFound"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_SUCH_LIST,
    },
    Difference {
        at: ("prefix lists", "described after adding"),
        sandbox: &["list $l \"people\" IPv4 modify-complete version 2 of at most 3 owned by 123456789012 []"],
        other: &["list $l \"\" IPv4 modify-complete version 2 of at most 3 owned by 123456789012 []"],
        follows: Follows::Sandbox,
        why: NAME,
    },
    Difference {
        at: ("prefix lists", "a version that is not there"),
        sandbox: &["error 400 InvalidParameterValue"],
        other: &["OK"],
        follows: Follows::Neither,
        why: VERSIONS,
    },
    Difference {
        at: ("prefix lists", "tag"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("prefix lists", "described with tags"),
        sandbox: &[
            "list $l \"people\" IPv4 modify-complete version 3 of at most 3 owned by 123456789012 [eg:lease:x=a1b2c3d4:t9xyz0, owner=bob]",
        ],
        other: &[
            "list $l \"\" IPv4 modify-complete version 3 of at most 3 owned by 123456789012 [eg:lease:x=a1b2c3d4:t9xyz0, owner=bob]",
        ],
        follows: Follows::Sandbox,
        why: NAME,
    },
    Difference {
        at: ("prefix lists", "untag"),
        sandbox: &["OK true"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_RETURN,
    },
    Difference {
        at: ("prefix lists", "described with one tag"),
        sandbox: &["list $l \"people\" IPv4 modify-complete version 3 of at most 3 owned by 123456789012 [owner=bob]"],
        other: &["list $l \"\" IPv4 modify-complete version 3 of at most 3 owned by 123456789012 [owner=bob]"],
        follows: Follows::Sandbox,
        why: NAME,
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
        sandbox: &[],
        other: &["entry 192.0.2.1/32 \"\""],
        follows: Follows::Sandbox,
        why: DRY_RUN,
    },
    Difference {
        at: ("prefix list refusals", "change an unknown list"),
        sandbox: &["error 400 InvalidPrefixListID.NotFound"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: NO_SUCH_LIST,
    },
    Difference {
        at: ("prefix list refusals", "entries of an unknown list"),
        sandbox: &["error 400 InvalidPrefixListID.NotFound"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: NO_SUCH_LIST,
    },
    Difference {
        at: ("IP sets", "after removing"),
        sandbox: &["IPSet.Description: \"\""],
        other: &["IPSet.Description: \"of people\""],
        follows: Follows::Sandbox,
        why: ERASED,
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
    Difference {
        at: ("IP set refusals", "the same name"),
        sandbox: &["error 400 WAFDuplicateItemException"],
        other: &["OK"],
        follows: Follows::Sandbox,
        why: TWICE,
    },
];
