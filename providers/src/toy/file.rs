//! The JSON file of a toy firewall. Everybody who reads or changes it holds its lock, so tests in other processes see whole
//! calls only.

use super::entry::ToyEntry;
use eg_model::{Timestamp, net::address::IpVersion};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToyFile {
    pub entries: Vec<ToyEntry>,
    /// Tags of the container.
    pub tags: BTreeMap<String, String>,
    /// The entries and tags before the last change, and its time: what a reading that is behind shows.
    pub before: (Vec<ToyEntry>, BTreeMap<String, String>),
    pub changed: Option<Timestamp>,
    /// The only family that it takes.
    pub family: Option<IpVersion>,
    /// The number of ids that the firewall has given.
    pub ids: u64,
    /// Faults to come, each struck once, by the next call of its sort.
    pub faults: Vec<Scripted>,
    /// Every call so far, with the fault that struck it.
    pub log: Vec<(ToyCall, Option<ToyFault>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToyCall {
    Read,
    Open,
    Close,
    /// A write of tags, or of the text of an entry.
    Tag,
    /// A write of a tag of the container.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToyFault {
    /// The request is lost: nothing happens, and no answer comes.
    LostBefore,
    /// The answer is lost: the call has taken effect.
    LostAfter,
    Throttled,
    /// The firewall has changed since it was read.
    Conflict,
    /// No more entries fit.
    Quota,
    Denied,
    /// The firewall is said not to be there.
    Gone,
    /// It cannot be read.
    Unreadable,
    /// The reading shows what was there before the last change, for less than the settle window.
    Lag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripted {
    pub call: ToyCall,
    pub fault: ToyFault,
}

impl ToyCall {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Open => "open",
            Self::Close => "close",
            Self::Tag => "tag",
            Self::Mark => "mark",
        }
    }
}

impl ToyFile {
    /// The entries and tags that are there now.
    pub(super) fn state(&self) -> (Vec<ToyEntry>, BTreeMap<String, String>) {
        (self.entries.clone(), self.tags.clone())
    }

    /// Logs a call, and takes the fault that strikes it.
    pub(super) fn begin(&mut self, call: ToyCall) -> Option<ToyFault> {
        let found = self.faults.iter().position(|scripted| scripted.call == call);
        let fault = found.map(|index| self.faults.remove(index).fault);
        self.log.push((call, fault));
        fault
    }

    /// Entries that close by themselves are gone once their time has come.
    pub fn pass_time(&mut self, now: Timestamp) {
        self.entries.retain(|entry| entry.closes.is_none_or(|at| at > now));
    }
}

/// Changes the file under its lock; an empty file is a firewall without entries.
///
/// # Errors
/// The file is not there ([`io::ErrorKind::NotFound`]), or cannot be read or written.
pub fn edit<T>(path: &Path, change: impl FnOnce(&mut ToyFile) -> T) -> io::Result<T> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.lock()?;
    let mut toy = parse(&mut file)?;
    let done = change(&mut toy);
    let text = serde_json::to_string_pretty(&toy)?;
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())?;
    Ok(done)
}

/// Reads the file under its lock.
///
/// # Errors
/// As for [`edit`].
pub fn read(path: &Path) -> io::Result<ToyFile> {
    let mut file = File::open(path)?;
    file.lock_shared()?;
    parse(&mut file)
}

fn parse(file: &mut File) -> io::Result<ToyFile> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(if text.is_empty() { ToyFile::default() } else { serde_json::from_str(&text)? })
}
