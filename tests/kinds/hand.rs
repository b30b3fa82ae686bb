//! What the conformance suite needs of a kind of firewall: a firewall, and a hand at it.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};

/// A person at a firewall of one kind, and what can happen to the calls to it.
///
/// A hand changes the firewall at once, past all faults, as another tool or a console does.
pub trait Hand: Sized + Sync {
    const ABLE: Able;

    /// Why this machine has no firewall of this kind; `None` if it has.
    fn missing() -> Option<String> {
        None
    }

    /// A firewall without entries. `dir` is the test's own; the firewall's clock is `ahead` seconds ahead of the real one,
    /// if it can be moved at all.
    fn new(dir: &Path, ahead: &Arc<AtomicI64>) -> Self;

    /// The endpoint of a cloud, for `AWS_ENDPOINT_URL`.
    fn endpoint(&self) -> Option<String> {
        None
    }

    /// What runs `eg`, with its arguments, if the firewall can be reached only from inside of something.
    fn inside(&self) -> Vec<String> {
        Vec::new()
    }

    /// Its `[[resource]]`, with the name `it`, for IPv4; with the port tcp/22 if the kind has ports.
    fn config(&self) -> String;

    /// Every entry, whoever made it.
    fn entries(&self) -> Vec<Seen>;

    /// All else of the firewall that has to be at the end as it was: the tags of a container, say.
    fn rest(&self) -> String {
        String::new()
    }

    /// The number of calls so far that would change something; `None` if nothing counts them.
    fn changes(&self) -> Option<usize>;

    /// Makes an entry for a network, with the port that [`Hand::config`] names, and a text of their own.
    fn make(&self, network: &str);

    /// Deletes an entry.
    fn delete(&self, entry: &Seen);

    /// Makes an entry open something else, in place. Never called if [`Able::edits`] says that this cannot be.
    fn edit(&self, entry: &Seen);

    /// Takes `eg`'s marks off an entry, and leaves the entry.
    fn strip(&self, entry: &Seen);

    /// Deletes the firewall itself.
    fn vanish(&self);

    /// The next call of this sort meets the fault. Never called with one that [`Able::faults`] does not have.
    fn fault(&self, call: Call, fault: Fault);

    /// The faults that have not struck are called off.
    fn call_off(&self);
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The network that it opens.
    pub network: String,
    /// Whatever finds it again.
    pub id: String,
    /// All of it, byte for byte.
    pub whole: String,
}

/// What a kind can have. Each "cannot" is its reason, in a few words.
pub struct Able {
    /// The column of the table.
    pub name: &'static str,
    /// `eg` reads the entries back.
    pub reads: bool,
    /// The entries carry marks, wherever they are.
    pub marks: bool,
    /// An entry can be edited in place.
    pub edits: Result<(), &'static str>,
    /// The firewall closes entries at their time.
    pub closes_by_itself: bool,
    /// The clock of the firewall follows `ahead`.
    pub clock: bool,
    /// That a firewall is gone can be told.
    pub vanishes: Result<(), &'static str>,
    /// What can happen to a call.
    pub faults: &'static [Fault],
    /// Why the other faults cannot happen.
    pub no_fault: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    /// The entries are made.
    Open,
    /// The entries are deleted.
    Close,
    /// The marks are written, wherever they are.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives, and no answer comes.
    LostBefore,
    /// It is done, and no answer comes.
    LostAfter,
    /// "Too fast": nothing is done.
    Throttled,
    /// Somebody else has changed the firewall since it was read: nothing is done.
    Conflict,
    /// No more entries fit: nothing is done.
    Quota,
    /// The reading fails.
    Unreadable,
}

/// All of them.
pub const ALL_FAULTS: &[Fault] =
    &[Fault::LostBefore, Fault::LostAfter, Fault::Throttled, Fault::Conflict, Fault::Quota, Fault::Unreadable];
