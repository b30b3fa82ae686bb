//! `eg reconcile`: one pass ([`once`]), or passes for as long as [`watch`] runs. [`pass`] makes a pass; before it, [`follow`]
//! finds sessions that move to the user's new address. After it, [`report`] prints the outcome for a person, [`news`] decides
//! what an unattended pass prints, and [`notify`] runs the user's own command. [`trouble`] lists what a pass has not done,
//! [`told`] compares it with what was told before, and [`aside`] remembers where the record cannot.

pub mod aside;
pub mod follow;
pub mod news;
pub mod notify;
pub mod once;
pub mod pass;
pub mod report;
pub mod told;
pub mod trouble;
pub mod watch;
