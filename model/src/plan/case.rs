//! The tables of the plan: one enum for each question, one variant for each row. Rows are tried from the top; the first
//! that fits counts. The doc comment of a variant is its row: the situation, the step, the reason, an example.
//!
//! "Settled" is a reading that was made more than the settle window after the last call about a lease: it is believed.
//! An earlier one may be stale, or a delayed call may still land.
//!
//! "Genuine" marks are those that [`Marks::fit`](crate::tags::Marks::fit) believes. A rule whose id the record does not
//! hold needs more than tags: its description names the session of its tag, and its network is one that `eg` can open.
//! Otherwise anyone who may write tags could have `eg` revoke a rule that was made by hand.
//!
//! "Left" is a lease in phase [`Leaving`](crate::lease::Phase::Leaving): its rule was left to others, or was hidden
//! when the rule opened in its place was closed ([`hidden_rule`](crate::lease::hidden_rule)).
//!
//! A rule whose revoke was confirmed within the settle window counts as gone: rule ids are never reused, so a reading
//! that still shows it is stale.

use super::rules::SeenRule;
use crate::{Timestamp, lease::Lease, net::permission::Permission, observation::Proof};

/// Defines a table, and gives every row a name (`WantedCase::Absent`) for tests and the model search.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident $(<$life:lifetime>)? { $($(#[$row_doc:meta])* $row:ident $(($($held:ty),*))?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) enum $table $(<$life>)? { $($(#[$row_doc])* $row $(($($held),*))?,)* }

        impl $(<$life>)? $table $(<$life>)? {
            pub(super) const ROWS: &'static [&'static str] = &[$(concat!(stringify!($table), "::", stringify!($row))),*];

            pub(super) fn row(self) -> &'static str {
                match self { $(Self::$row { .. } => concat!(stringify!($table), "::", stringify!($row))),* }
            }
        }
    };
}

pub(super) use table;

/// The names of all rows of all tables.
pub fn rows() -> impl Iterator<Item = &'static str> {
    let tables = [
        WantedCase::ROWS,
        TagCase::ROWS,
        UnwantedCase::ROWS,
        LeftoverCase::ROWS,
        HeldScheduleCase::ROWS,
        LeftoverScheduleCase::ROWS,
        super::blind::BlindCase::ROWS,
    ];
    tables.into_iter().flatten().copied()
}

table! {
    /// A permission that a live session wants: which rule stands for it?
    ///
    /// A want that only keeps a port until its session is open at the user's new address
    /// ([`Session::keeps`](crate::session::record::Session::keeps)) is held like any other while its rule is there, but
    /// nothing is opened for it.
    WantedCase<'a> {
        /// Known by its id, and edited into another permission: `Revoke`, reported. The next plan opens the wanted one.
        ///
        /// *`sgr-1` was opened for tcp/22, and the console now shows it as tcp/2222.*
        Edited(&'a SeenRule<'a>, &'a Lease),
        /// Known by its id, and we had left it to others: `Join` again.
        ///
        /// *A session stops and leaves `sgr-1` to another laptop; a minute later the next session wants tcp/22 again.*
        Left(&'a SeenRule<'a>, &'a Lease),
        /// Known by its id, of a kind of firewall without tags: keep.
        OursUntaggable(&'a SeenRule<'a>, &'a Lease),
        /// Known by its id, but our tag, a mark or the session of its description does not show, not settled: wait. Only
        /// if the record says that our tag names another time, `Retag`.
        ///
        /// *`sgr-1` was opened a second ago, and its tags do not show yet.*
        TagsHidden(&'a SeenRule<'a>, &'a Lease),
        /// The same, settled: `Restore`, reported.
        ///
        /// *All tags of `sgr-1` were deleted in the console.*
        TagsLost(&'a SeenRule<'a>, &'a Lease),
        /// Known by its id, with our tag: keep; [`TagCase`] decides about the tag.
        OursById(&'a SeenRule<'a>, &'a Lease, &'a str),
        /// Another lease knows this rule by its id; it was edited into this permission: wait until that lease has
        /// revoked it. An authorize would be refused as a duplicate until then.
        ///
        /// *`sgr-1` was opened for tcp/443, and the console now shows it as tcp/22.*
        EditedInto(Permission),
        /// Genuine, but the record knows another id from an answer, and the reading is not settled: keep the known id.
        /// The reading may be older than the id.
        ///
        /// *`sgr-1` was revoked and `sgr-2` opened; a stale reading still shows `sgr-1` alone.*
        OlderThanKnown(&'a SeenRule<'a>, &'a Lease),
        /// Genuine, with our tag: keep, and [`Adopt`](super::LedgerStep::Adopt) its id; [`TagCase`] decides about the
        /// tag.
        ///
        /// *The answer to an authorize was lost; a reading now shows its rule `sgr-1`.*
        OursByTag(&'a SeenRule<'a>, &'a str),
        /// Not there for us (absent, or genuine without our tag), and the want opens nothing: its lease is treated as
        /// unwanted, by the last rows of [`UnwantedCase`].
        ///
        /// *The user moved to another network, and the rule of the old address has vanished.*
        NotReopened(Option<&'a SeenRule<'a>>),
        /// Genuine, we have written our tag on it, and it does not show, not settled: wait.
        JoinHidden(&'a SeenRule<'a>, &'a Lease),
        /// Genuine, without our tag (held by others, expired, or without any lease): `Join`, after `MakeRoom` if its
        /// tags are full. It counts as held once a reading shows our tag, and is ours by its id from then on.
        ///
        /// *Another laptop behind the same address has opened tcp/22.*
        Marked(&'a SeenRule<'a>),
        /// Of a kind of firewall without marks, and an attempt of ours may have opened it
        /// ([`may_have_opened`](crate::lease::Lease::may_have_opened)): [`Adopt`](super::LedgerStep::Adopt) its id, and
        /// keep it. To call it foreign would leave a rule of ours open for ever.
        ///
        /// *The answer to an authorize was lost; a reading now shows a rule for tcp/22.*
        Presumed(&'a SeenRule<'a>, &'a Lease),
        /// Any other rule with this permission: covered. Never touched; a lease of ours for it closes when that is
        /// safe.
        ///
        /// *An administrator has opened tcp/22 by hand.*
        Covered(&'a SeenRule<'a>),
        /// No rule: `Authorize`, one call for each (session, expiry). Slower and slower if something else keeps
        /// deleting the rule, which is reported.
        Absent,
    }
}

table! {
    /// Our tag on a rule that we hold for a want: does its time have to be rewritten?
    TagCase {
        /// It says the wanted time: keep. If the call that wrote it had no answer, `Adopt` records that it worked.
        Right,
        /// It says a later time that we have not written, and a copy of this record is in use: keep. Otherwise each of
        /// the two would write its own time for ever.
        OfTwin,
        /// It says another time, but we have just written the wanted one, not settled: wait, the reading is stale.
        Rewritten,
        /// It says another time: `Retag`.
        ///
        /// *The session was extended from 18:00 to 20:00.*
        Behind,
    }
}

table! {
    /// A lease whose permission no live session wants any more: how does it close?
    UnwantedCase<'a> {
        /// Our tag is on another rule than the known one, and we alone hold that rule; the known one shows too
        /// (`true`), or the reading is not settled: `Collect` the other rule first. The lease stays open for the known
        /// one.
        ///
        /// *`sgr-1` was edited, so a delayed call could open `sgr-2` beside it.*
        SecondRule(&'a SeenRule<'a>, bool),
        /// Both rules show, others hold the second one, and the known one is on record as opened: `Adopt` the
        /// second. The known rule is displaced from now on and closed first; then the second one is left to its
        /// holders.
        SecondRuleShared(&'a SeenRule<'a>, &'a str),
        /// Of a kind without marks; the known rule was edited, and an attempt of ours may have opened another: `Adopt`
        /// that one. The known rule is displaced from now on and closed first.
        SecondRulePresumed(&'a SeenRule<'a>),
        /// Our tag is on another rule than the known one, others hold that rule, the known one does not show, not
        /// settled: wait.
        SecondRuleUnsure(&'a SeenRule<'a>),
        /// The reading shows a displaced rule of this lease (see [`LeftoverCase::Displaced`]): wait until that rule is
        /// closed. Only this lease remembers it.
        DisplacedFirst(Option<&'a SeenRule<'a>>),
        /// The rule that we were joining shows no marks, not settled: wait. Its tags may not show yet, so others may
        /// hold it.
        JoinHidden(&'a SeenRule<'a>, Proof),
        /// Left, others hold it, not settled: wait.
        LeftUnsettled(&'a SeenRule<'a>, Proof),
        /// Left, or we were joining it; others hold it without our tag, settled: [`Close`](super::LedgerStep::Close)
        /// the lease.
        LeftToOthers(&'a SeenRule<'a>, Proof),
        /// Another installation's unexpired lease holds it: `Leave`, and again if our tag is still there.
        ///
        /// *Two laptops behind one address share `sgr-1`; the session of the first ends.*
        HeldByOthers(&'a SeenRule<'a>, Proof),
        /// No other lease holds it, or it was edited: `Revoke`. The same for a rule of a kind without marks that an
        /// attempt of ours may have opened. Even if it was left, for two that leave at once would
        /// orphan it.
        OursAlone(&'a SeenRule<'a>, Proof),
        /// No rule, settled, but our unexpired tag is on a rule that has lost its marks: wait until that time. An
        /// installation that knows the rule by its id may mark it again. Tags on a rule that no marks can make `eg`'s
        /// do not count.
        StrayTag(Timestamp),
        /// No rule, settled, but our mark is still on the container: `Unmark`. The mark would hold the next rule of
        /// another installation for this permission, with no lease left to take it off.
        ///
        /// *The mark was written, and `eg` crashed before the entry.*
        LooseMark,
        /// No rule, and never attempted, or settled: `Close` the lease.
        Gone,
        /// No rule, not settled, and no session waits for it (left, or every call to open it was refused): wait
        /// silently.
        GoneUnawaited,
        /// No rule, not settled: wait, and say so. A delayed call can still land, or the reading is stale.
        ///
        /// *The authorize timed out, and the session was stopped a minute later.*
        GoneUnsettled,
    }
}

table! {
    /// A rule that no want and no lease has decided about: is it closed?
    LeftoverCase {
        /// Once proved ours, edited by hand, and its lease knows another rule by now: `Collect`, reported. It comes
        /// before that other rule, whose lease stays open until then.
        ///
        /// *`sgr-1` was edited while a stale reading did not show it, so tcp/22 was opened again as `sgr-2`.*
        Displaced,
        /// Once proved ours, not wanted, its lease cannot be read, and no lease of others is on it: `Collect` by its
        /// id, even if collecting is not allowed.
        LeaseUnreadable,
        /// Of a kind of firewall without tags: nothing tells that it is `eg`'s. Never touched.
        Untaggable,
        /// Marked, but the marks are not believed: never touched, always reported. See [`Misfit`](crate::tags::Misfit).
        Misfit(crate::tags::Misfit),
        /// Not marked, wanted, or decided about already: never touched.
        NotLeft,
        /// Our unexpired lease tag, but no lease on record: left and reported. It closes by its own tag, so a second
        /// record, a restored backup or a copied id never closes a live rule.
        NotOnRecord,
        /// Genuine, and every lease has expired, or none is left: `Collect`, if that is allowed.
        ///
        /// *A laptop was switched off during its session, and never came back.*
        Expired,
        /// Genuine, and others hold it, or collecting is not allowed: never touched.
        Held,
    }
}

table! {
    /// The expiry schedule of a rule that we hold and want, or have just left to others: does it fire at the end of the
    /// rule's latest unexpired lease (ours, others' or a twin's)? On a rule that has lost its marks, a later time is
    /// right as well: the schedule may be there for others, whose leases do not show.
    HeldScheduleCase {
        /// Not read yet: read it ([`TargetPlan::unread`](super::TargetPlan::unread)), then plan again.
        Unread,
        /// Right, and the record agrees: keep.
        Right,
        /// Right, and the record says otherwise: [`KnowAutoClose`](super::LedgerStep::KnowAutoClose).
        Unrecorded(Timestamp),
        /// Cannot be read, and the record says that it is right: keep.
        Trusted,
        /// Absent, at another time, wrong, or unreadable without such a record: `SetAutoClose`.
        Wrong,
    }
}

table! {
    /// An expiry schedule on record whose rule no open lease of ours knows any more.
    LeftoverScheduleCase {
        /// This plan closes the rule, or moves the schedule: wait.
        Busy,
        /// Its time has passed: [`ForgetAutoClose`](super::LedgerStep::ForgetAutoClose), since it must have fired.
        Fired,
        /// Another rule was opened in its rule's place, not settled: wait. Its rule may be gone and still show, or be
        /// there, edited by hand, and not show.
        Unsettled(Timestamp),
        /// Others hold the rule: `ForgetAutoClose`, since the schedule is theirs.
        OfOthers,
        /// The rule is gone: `DropAutoClose`. Once more after the settle window if an attempt to set it may still land
        /// ([`may_still_land`](crate::auto_close::AutoClose::may_still_land)).
        RuleGone,
        /// The rule is there, and no lease holds it: wait. It is going to be closed, at the latest by this schedule.
        RuleStays,
    }
}

impl<'a> WantedCase<'a> {
    /// The rule that this row decides about.
    pub(super) fn rule(self) -> Option<&'a SeenRule<'a>> {
        match self {
            Self::Edited(seen, _)
            | Self::Left(seen, _)
            | Self::OursUntaggable(seen, _)
            | Self::TagsHidden(seen, _)
            | Self::TagsLost(seen, _)
            | Self::OursById(seen, ..)
            | Self::OlderThanKnown(seen, _)
            | Self::OursByTag(seen, _)
            | Self::JoinHidden(seen, _)
            | Self::Marked(seen)
            | Self::Presumed(seen, _)
            | Self::Covered(seen) => Some(seen),
            Self::NotReopened(seen) => seen,
            Self::EditedInto(_) | Self::Absent => None,
        }
    }
}

impl<'a> UnwantedCase<'a> {
    /// The rule that this row decides about. Beside a second rule, the known one is decided, too.
    pub(super) fn rule(self) -> Option<&'a SeenRule<'a>> {
        match self {
            Self::SecondRule(seen, _)
            | Self::SecondRuleShared(seen, _)
            | Self::SecondRulePresumed(seen)
            | Self::SecondRuleUnsure(seen) => Some(seen),
            Self::DisplacedFirst(seen) => seen,
            _ => self.found().map(|(seen, _)| seen),
        }
    }

    /// The one rule of the lease, with the proof that it is ours.
    pub(super) fn found(self) -> Option<(&'a SeenRule<'a>, Proof)> {
        match self {
            Self::JoinHidden(seen, proof)
            | Self::LeftUnsettled(seen, proof)
            | Self::LeftToOthers(seen, proof)
            | Self::HeldByOthers(seen, proof)
            | Self::OursAlone(seen, proof) => Some((seen, proof)),
            _ => None,
        }
    }
}
