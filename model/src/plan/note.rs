//! Notes: the lines of a plan for the user.

use crate::failure::FailureClass;

/// The subject of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// The target could not be read.
    Unavailable,
    /// The target is gone.
    Missing,
    /// Our rule was found without its tags.
    Stripped,
    /// Our rule was found edited.
    Edited,
    /// Our tag on a rule that the record does not know.
    Unledgered,
    /// Marks that do not fit their rule.
    Misfit,
    /// A lease value that is not a time, or is too far ahead.
    OddLease,
    /// The local clock differs from the provider's.
    ClockSkew,
    /// Something else keeps deleting our rule.
    Contested,
    /// A rule that is not confirmed as closed yet.
    Closing,
    /// A rule has no room for our tag.
    TagsFull,
    /// Our tag still says another time, and the next attempt to rewrite it has to wait.
    TagBehind,
    /// A rule stays open for another holder.
    StaysOpen,
    /// A rule whose expiry schedule could not be set: the provider would not close it by itself.
    AutoCloseUnset,
    /// The user's address has changed, and a session is not allowed to follow.
    NotFollowed,
    /// A session on record that `eg` cannot have recorded.
    Damaged,
}

impl NoteKind {
    /// The word for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Missing => "missing",
            Self::Stripped => "stripped",
            Self::Edited => "edited",
            Self::Unledgered => "unledgered",
            Self::Misfit => "misfit",
            Self::OddLease => "odd-lease",
            Self::ClockSkew => "clock-skew",
            Self::Contested => "contested",
            Self::Closing => "closing",
            Self::TagsFull => "tags-full",
            Self::TagBehind => "tag-behind",
            Self::StaysOpen => "stays-open",
            Self::AutoCloseUnset => "switch-unset",
            Self::NotFollowed => "not-followed",
            Self::Damaged => "damaged",
        }
    }

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
