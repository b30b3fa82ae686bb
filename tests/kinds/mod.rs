//! What every kind of firewall has to do, whatever it is: one suite, through the real binary, for each kind.
//!
//! A kind takes part with a [`Hand`](hand::Hand) and one line: `conforms!(module, Hand)`. It may leave out only what its
//! [`Able`](hand::Able) says that it cannot have; the table in `docs/firewalls.md` gives the reason.
//!
//! Every test asserts what is open in the end, and that the entries of others are byte for byte as they were
//! ([`Bench::ends`](bench::Bench::ends)).

mod bench;
mod case;
mod crashes;
mod examples;
mod groups;
mod hand;
mod lists;
mod marks;
mod nftables;
mod peers;
mod scripts;
mod table;
mod toys;
mod waf;

/// The suite for one kind: a test for each case.
macro_rules! conforms {
    ($module:ident, $hand:ty) => {
        mod $module {
            use super::*;
            use crate::kinds::case::{Case, check};

            $crate::kinds::conforms!(@tests $hand, apply Apply, apply_again ApplyAgain, covered Covered, extend Extend,
                join Join, leave Leave, drift Drift, edited Edited, stripped Stripped, expiry Expiry,
                lost_before LostBefore, lost_after LostAfter, conflict Conflict, throttled Throttled, quota Quota,
                unreadable Unreadable, target_gone TargetGone, two_installations TwoInstallations, crashes Crashes);
        }
    };
    (@tests $hand:ty, $($name:ident $case:ident),*) => {
        $(
            #[test]
            fn $name() {
                check::<$hand>(Case::$case);
            }
        )*
    };
}

use conforms;
