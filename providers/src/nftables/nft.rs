//! The program `nft`: where it is, how it is run, and what its complaints mean.

use super::{
    change::Transaction,
    listing::{TableListing, has_table},
};
use crate::{
    host::HostOptions,
    program::{Program, Ran},
};
use eg_model::{
    failure::{Failure, FailureClass},
    text::escape_controls,
};
use std::path::{Path, PathBuf};

/// Where `nft` is. The user's PATH is not asked: it decides nothing that runs as root.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft"];
/// The longest answer that is read. An element is some 200 bytes in it.
const ANSWER_BYTES: usize = 16 << 20;

/// How a transaction ended, other than well.
#[derive(Debug)]
pub enum NotWritten {
    /// Another `eg` has written since the listing. Nothing happened.
    Conflict,
    Failed(Failure),
}

pub struct Nft {
    options: HostOptions,
    /// Instead of the `nft` of this machine; for tests.
    path: Option<PathBuf>,
}

impl Nft {
    pub fn new(options: HostOptions, path: Option<PathBuf>) -> Self {
        Self { options, path }
    }

    pub fn options(&self) -> &HostOptions {
        &self.options
    }

    /// Lists a table; `None` if it is certain that there is no such table.
    ///
    /// # Errors
    /// The table could not be read whole.
    pub async fn list(&self, table: &str) -> Result<Option<TableListing>, Failure> {
        let what = format!("read table {table}");
        let unreadable = || Failure::new(FailureClass::Unknown, format!("{what}: the answer of nft cannot be read"));
        let listed = self.run(&["-j", "list", "table", "inet", table], None).await;
        if listed.trouble(self.options.time).is_none() {
            return TableListing::read(&output(&what, listed)?).map(Some).ok_or_else(unreadable);
        }
        // "No such file or directory" alone might mean something else: the list of all tables tells for certain.
        let tables = self.run(&["-j", "list", "tables"], None).await;
        if tables.trouble(self.options.time).is_none()
            && !has_table(&output(&what, tables)?, table).ok_or_else(unreadable)?
        {
            return Ok(None);
        }
        Err(self.failure(&what, &listed, unreadable_for))
    }

    /// The whole ruleset of this host, as JSON; `None` if it is not known.
    pub async fn ruleset(&self) -> Option<Vec<u8>> {
        let ran = self.run(&["-j", "list", "ruleset"], None).await;
        let ended_well = ran.trouble(self.options.time).is_none();
        if ended_well { output("read the ruleset", ran).ok() } else { None }
    }

    /// Carries out a transaction, whole or not at all.
    ///
    /// # Errors
    /// It was refused, or the outcome is not known.
    pub async fn write(&self, what: &str, transaction: &Transaction) -> Result<(), NotWritten> {
        let ran = self.run(&["-f", "-"], Some(transaction.text.clone())).await;
        if ran.trouble(self.options.time).is_none() {
            return Ok(());
        }
        if let Ran::Ended { complaint, .. } = &ran {
            let conflicts = |(line, why): (usize, &str)| {
                line <= transaction.guard && matches!(Complaint::of(why), Complaint::Exists | Complaint::Absent)
            };
            if complaints(complaint).any(conflicts) {
                return Err(NotWritten::Conflict);
            }
        }
        Err(NotWritten::Failed(self.failure(what, &ran, refused)))
    }

    async fn run(&self, args: &[&str], input: Option<String>) -> Ran {
        let places = PLACES.iter().map(Path::new);
        let found = self.path.as_deref().or_else(|| places.into_iter().find(|place| place.exists()));
        let program = Program {
            path: found.unwrap_or(Path::new("nft")),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
            input,
            output_bytes: ANSWER_BYTES,
            time: self.options.time,
        };
        self.options.observer.before_call();
        let ran = program.run().await;
        self.options.observer.answered();
        self.options.observer.after_call();
        ran
    }

    /// The failure of a run that did not end well.
    fn failure(&self, what: &str, ran: &Ran, refused: impl FnOnce(&str) -> (FailureClass, String)) -> Failure {
        let trouble = || one_line(&format!("nft {}", ran.trouble(self.options.time).unwrap_or_default()));
        let (class, why) = match ran {
            Ran::NotStarted(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let why = format!("nft is not installed: none of {}. Install the package nftables", PLACES.join(", "));
                (FailureClass::Host, why)
            }
            Ran::NotStarted(_) => (FailureClass::Host, trouble()),
            Ran::Ended { status, complaint, .. } if status.code().is_some() && !complaint.is_empty() => {
                refused(complaint)
            }
            _ => (FailureClass::Unknown, trouble()),
        };
        Failure::new(class, format!("{what}: {}", escape_controls(&why)))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The answer of a run that ended well.
fn output(what: &str, ran: Ran) -> Result<Vec<u8>, Failure> {
    match ran {
        Ran::Ended { output, cut: false, .. } => Ok(output),
        _ => Err(Failure::new(FailureClass::Unknown, format!("{what}: the answer of nft is too long"))),
    }
}

/// The reason why a table was not listed.
fn unreadable_for(complaint: &str) -> (FailureClass, String) {
    match Complaint::of(complaint) {
        Complaint::NotPermitted => not_permitted(),
        Complaint::NotSupported => not_supported(complaint),
        _ => (FailureClass::Unknown, format!("nft says: {}", one_line(complaint))),
    }
}

fn not_permitted() -> (FailureClass, String) {
    let why = "nftables takes root, or the capability CAP_NET_ADMIN: Operation not permitted";
    (FailureClass::Host, why.to_owned())
}

fn not_supported(complaint: &str) -> (FailureClass, String) {
    let why = format!(
        "this kernel lacks nf_tables, or a part of it that eg needs; load the module (modprobe nf_tables), or run a kernel \
         that has it: {}",
        one_line(complaint)
    );
    (FailureClass::Host, why)
}

/// A refusal by `nft` or by the kernel.
///
/// | complaint | class |
/// |---|---|
/// | `Operation not permitted` | host |
/// | `Protocol not supported` and the like: the kernel has no nf_tables, or not all of it | host |
/// | `File exists`: an element is there already | stale |
/// | `No such file or directory`: an element is not there any more | stale |
/// | `Too many open files in system` (ENFILE): a set has as many elements as its `size` | limit |
/// | anything else | invalid |
fn refused(complaint: &str) -> (FailureClass, String) {
    let first = complaints(complaint).map(|(_, why)| why.to_owned()).next();
    let why = first.unwrap_or_else(|| one_line(complaint));
    match Complaint::of(&why) {
        Complaint::NotPermitted => not_permitted(),
        Complaint::NotSupported => not_supported(&why),
        Complaint::Exists => (FailureClass::Stale, "the element is there already".to_owned()),
        Complaint::Absent => (FailureClass::Stale, "the element is not there any more".to_owned()),
        Complaint::Full => (FailureClass::Limit, "the set is full: raise its size, or leave it out".to_owned()),
        Complaint::Other => (FailureClass::Invalid, format!("nft says: {why}")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complaint {
    NotPermitted,
    NotSupported,
    Exists,
    Absent,
    Full,
    Other,
}

impl Complaint {
    /// nft puts the kernel's error into the words of strerror(3), which the C locale fixes.
    fn of(why: &str) -> Self {
        [
            ("Operation not permitted", Self::NotPermitted),
            ("not supported", Self::NotSupported),
            // A kernel that does not know the subsystem answers so to its first request.
            ("cache initialization failed: Invalid argument", Self::NotSupported),
            ("File exists", Self::Exists),
            ("No such file or directory", Self::Absent),
            ("Too many open files in system", Self::Full),
        ]
        .into_iter()
        .find_map(|(words, complaint)| why.contains(words).then_some(complaint))
        .unwrap_or(Self::Other)
    }
}

/// The complaints about lines of the input: `/dev/stdin:3:36-47: Error: Could not process rule: File exists`.
fn complaints(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().filter_map(|line| {
        let (place, why) = line.split_once(": Error: ")?;
        let line = place.split(':').nth(1)?.parse().ok()?;
        Some((line, why.strip_prefix("Could not process rule: ").unwrap_or(why)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_nft_1_0_6() {
        for (text, class, why) in [
            (
                "/dev/stdin:3:36-47: Error: Could not process rule: No such file or directory\n\
                 delete element inet eg v4_tcp_22 { 203.0.113.99 }\n                                   ^^^^^^^^^^^^",
                FailureClass::Stale,
                "the element is not there any more",
            ),
            (
                "/dev/stdin:3:33-55: Error: Could not process rule: File exists\ncreate element …",
                FailureClass::Stale,
                "the element is there already",
            ),
            (
                "/dev/stdin:3:32-38: Error: Could not process rule: Too many open files in system",
                FailureClass::Limit,
                "the set is full: raise its size, or leave it out",
            ),
            (
                "Operation not permitted (you must be root)\n\
                 netlink: Error: cache initialization failed: Operation not permitted",
                FailureClass::Host,
                "nftables takes root, or the capability CAP_NET_ADMIN: Operation not permitted",
            ),
            (
                "/dev/stdin:1:1-21: Error: Could not process rule: Operation not supported\nadd table inet eg",
                FailureClass::Host,
                "this kernel lacks nf_tables, or a part of it that eg needs; load the module (modprobe nf_tables), or run a \
                 kernel that has it: Operation not supported",
            ),
            (
                "/dev/stdin:1:4-4: Error: syntax error, unexpected newline, expecting string\nfoo\n   ^",
                FailureClass::Invalid,
                "nft says: syntax error, unexpected newline, expecting string",
            ),
            (
                "Error: JSON support not compiled-in\n",
                FailureClass::Invalid,
                "nft says: Error: JSON support not compiled-in",
            ),
        ] {
            assert_eq!(refused(text), (class, why.to_owned()), "{text}");
        }
    }

    #[test]
    fn complaints_name_their_lines() {
        let text = "/dev/stdin:1:34-34: Error: Could not process rule: No such file or directory\n\
                    delete element inet eg version { 5 }\n                                 ^\n\
                    /dev/stdin:3:36-47: Error: Could not process rule: File exists\n";
        let found: Vec<_> = complaints(text).collect();
        assert_eq!(found, [(1, "No such file or directory"), (3, "File exists")]);
    }
}
