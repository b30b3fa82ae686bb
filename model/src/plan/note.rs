//! Notes: the lines of a plan for the user.

use crate::{failure::FailureClass, words::word_enum};

word_enum! {
    /// The subject of a note.
    NoteKind {
        /// The target could not be read.
        Unavailable = "unavailable",
        /// The target is gone.
        Missing = "missing",
        /// Our rule was found without its tags.
        Stripped = "stripped",
        /// Our rule was found edited.
        Edited = "edited",
        /// Our tag on a rule that the record does not know.
        Unledgered = "unledgered",
        /// Marks that do not fit their rule.
        Misfit = "misfit",
        /// A lease value that is not a time, or is too far ahead.
        OddLease = "odd-lease",
        /// The local clock differs from the provider's.
        ClockSkew = "clock-skew",
        /// Something else keeps deleting our rule.
        Contested = "contested",
        /// A rule that is not confirmed as closed yet.
        Closing = "closing",
        /// A rule has no room for our tag.
        TagsFull = "tags-full",
        /// Our tag still says another time, and the next attempt to rewrite it has to wait.
        TagBehind = "tag-behind",
        /// A rule stays open for another holder.
        StaysOpen = "stays-open",
        /// A rule whose expiry schedule could not be set: the provider would not close it by itself.
        AutoCloseUnset = "switch-unset",
        /// The user's address has changed, and a session is not allowed to follow.
        NotFollowed = "not-followed",
        /// A session on record that `eg` cannot have recorded.
        Damaged = "damaged",
    }
}

impl NoteKind {
    /// True if a pass with this note ends with exit status 3.
    #[must_use]
    pub fn unconverged(self) -> bool {
        matches!(
            self,
            Self::Unavailable
                | Self::Stripped
                | Self::Edited
                | Self::Closing
                | Self::TagsFull
                | Self::TagBehind
                | Self::AutoCloseUnset
                | Self::Damaged
        )
    }

    /// True if the user is told although a step of the same pass repairs it: no later plan would find it.
    #[must_use]
    pub fn outlives_mending(self) -> bool {
        matches!(self, Self::Stripped | Self::Edited | Self::Contested | Self::OddLease)
    }

    /// True if it is printed without `-v`.
    #[must_use]
    pub fn is_warning(self) -> bool {
        !matches!(self, Self::Closing | Self::TagBehind | Self::StaysOpen)
    }
}

/// A line for the user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Its subject.
    pub kind: NoteKind,
    /// Its text, without advice.
    pub message: String,
    /// The class of the failure that it reports; the program adds its advice.
    pub class: Option<FailureClass>,
}

impl Note {
    /// A note that reports no failure.
    #[must_use]
    pub fn new(kind: NoteKind, message: String) -> Self {
        Self { kind, message, class: None }
    }
}
