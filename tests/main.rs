//! End to end: the real binary, against an EC2 implementation that nobody here wrote (`moto`); `demo` alone
//! against the sandbox that the binary brings along.
//!
//! `moto` is not AWS in places, so no test here rests on these: it keeps CIDRs as typed (AWS masks host bits), takes
//! any description, answers `InvalidPermission.NotFound` for a revoke by an unknown id, has no lag, no throttling and
//! no paging. It takes the permissions of one authorize call one by one, so a refusal may leave earlier ones open,
//! and its answer lists the rules of the last permission only. Its revoke answer names no rules; it counts IPv4 and
//! IPv6 rules together; `CreateTags` accepts ids of rules that do not exist; `ModifySecurityGroupRules` changes ports
//! and descriptions but not every CIDR. What AWS does there is pinned by unit tests of `eg-providers`.
//!
//! What needs lag, late calls, limits or a wrong `Date` runs against the sandbox instead: module `guarantees::lag`.
//!
//! `harness_works` shows what the harness can do, and that the ground it stands on is as these lines say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "the harness offers more than every build of the tests uses")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]

mod cli;
mod docs;
mod guarantees;
mod harness;
mod harness_works;
mod kinds;
mod one_build;
