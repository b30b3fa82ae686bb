//! One configuration out of a file and the files that it includes.

use crate::config::{
    sections::{self, ResourceEntry, SharedKeys},
    settings::{
        AWS_KEYS, CLOUD_EXPIRY_KEYS, DEFAULTS_KEYS, DETECT_KEYS, INCLUDED_KEYS, MAX_FILES, MAX_LEVELS, NOTIFY_KEYS,
        RECONCILE_KEYS, RESOURCE_KEYS, ROOT_KEYS, Reader, Resource, SESSION_KEYS, Selection, Settings, SettingsError,
        SourceFile, SourceLine, SpannedError, USER_KEYS, locate, table,
    },
    toml::{At, TomlSection},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const FILES: &str = "a list of files, relative to this one, as in [\"team.toml\"]";

pub(super) fn gather(source: &SourceFile, file: &Path, read: &Reader<'_>) -> Result<Settings, SettingsError> {
    let mut gathering = Gathering {
        read,
        settings: Settings::default(),
        places: BTreeMap::new(),
        open: Vec::new(),
        known: BTreeSet::new(),
    };
    gathering.file(source, file, &SharedKeys::default())?;
    let mut settings = gathering.settings;
    // Whatever directory `eg` is run in, one configuration runs one command.
    if let Some(program) = settings.notify.as_mut().and_then(|notify| notify.command.first_mut()) {
        *program = command_beside(file, program);
    }
    Ok(settings)
}

/// A command that is a path is relative to the file that names it; a bare name is looked for in `PATH`.
fn command_beside(file: &Path, program: &str) -> String {
    let found = file.parent().filter(|_| program.contains('/')).map(|directory| directory.join(program));
    found.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_else(|| program.to_owned())
}

struct Gathering<'r> {
    read: &'r Reader<'r>,
    settings: Settings,
    /// Where each name stands: file and line.
    places: BTreeMap<String, (PathBuf, usize)>,
    /// The files that are being read, the one that includes before the one that is included.
    open: Vec<(PathBuf, PathBuf)>,
    known: BTreeSet<PathBuf>,
}

/// What a file says beside what goes into the settings at once.
struct ParsedFile {
    defaults: SharedKeys,
    entries: Vec<(At<String>, ResourceEntry)>,
    includes: Vec<At<String>>,
}

impl Gathering<'_> {
    fn file(&mut self, source: &SourceFile, file: &Path, outer: &SharedKeys) -> Result<(), SettingsError> {
        let at_fault = |fault| locate(&source.text, file, fault);
        let rest = self.sections(&source.text, outer).map_err(at_fault)?;
        self.known.insert(source.real.clone());
        self.open.push((source.real.clone(), file.to_owned()));
        let lines = Lines::of(&source.text);
        for (name, entry) in rest.entries {
            self.entry(lines.line(name.at), file, name, entry).map_err(at_fault)?;
        }
        for include in rest.includes {
            let path = file.parent().unwrap_or(Path::new("")).join(&include.value);
            let included = self.open(&path, &include).map_err(at_fault)?;
            self.file(&included, &path, &rest.defaults)?;
        }
        self.open.pop();
        Ok(())
    }

    fn sections(&mut self, text: &str, outer: &SharedKeys) -> Result<ParsedFile, SpannedError> {
        let root = table(text)?;
        let is_main = self.open.is_empty();
        let (name, keys) = if is_main { ("the file", ROOT_KEYS) } else { ("an included file", INCLUDED_KEYS) };
        let root = TomlSection::new(name, 0, root.get_ref(), keys)?;
        let child = |key: &str, name: &'static str, keys: &[&str]| TomlSection::child(&root, key, name, keys);
        if is_main {
            self.settings.user = sections::user(&child("user", "[user]", USER_KEYS)?)?;
            self.settings.session = sections::session(&child("session", "[session]", SESSION_KEYS)?)?;
            self.settings.detect = sections::detect(&child("detect", "[detect]", DETECT_KEYS)?)?;
            self.settings.reconcile = sections::reconcile(&child("reconcile", "[reconcile]", RECONCILE_KEYS)?)?;
            self.settings.notify = sections::notify(&child("notify", "[notify]", NOTIFY_KEYS)?)?;
            let aws = child("aws", "[aws]", AWS_KEYS)?;
            let expiry = aws.optional_child("cloud_expiry", "[aws.cloud_expiry]", CLOUD_EXPIRY_KEYS)?;
            self.settings.aws = sections::aws(&aws, expiry.as_ref())?;
        }
        let defaults = sections::keys(&child("defaults", "[defaults]", DEFAULTS_KEYS)?, outer)?;
        let entries = sections::entries(&root.tables("resource", "[[resource]]", RESOURCE_KEYS)?, &defaults)?;
        let includes = root.strings("include", FILES)?.map(|list| list.value).unwrap_or_default();
        Ok(ParsedFile { defaults, entries, includes })
    }

    fn entry(&mut self, line: usize, file: &Path, name: At<String>, entry: ResourceEntry) -> Result<(), SpannedError> {
        let place = (file.to_owned(), line);
        if let Some((other, line)) = self.places.insert(name.value.clone(), place) {
            let elsewhere =
                if other == file { String::new() } else { format!("; the other is {}:{line}", other.display()) };
            let message = format!("\"{}\" is the name of two resources{elsewhere}", name.value);
            return Err(SpannedError::new(name.at, message, "a name that no other resource has"));
        }
        self.settings.files.insert(name.value, file.to_owned());
        let place = Some(SourceLine { file: file.to_owned(), line });
        match entry {
            ResourceEntry::Resource(resource) => self.settings.resources.push(Resource { place, ..resource }),
            ResourceEntry::Selection(Selection { meant, like }) => {
                self.settings.selections.push(Selection { meant, like: Resource { place, ..like } });
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, include: &At<String>) -> Result<SourceFile, SpannedError> {
        let refused = |message: String| SpannedError::new(include.at, message, FILES);
        let shown = path.display();
        if self.open.len() >= MAX_LEVELS {
            return Err(refused(format!("{shown} is too deep: files can include each other {MAX_LEVELS} levels deep")));
        }
        if self.known.len() >= MAX_FILES {
            return Err(refused(format!("{shown} is one too many: a configuration can have {MAX_FILES} files")));
        }
        let source = (self.read)(path).map_err(|error| {
            let what = if error.mend.is_some() { "is not to be trusted" } else { "cannot be read" };
            SpannedError { mend: error.mend, ..refused(format!("{shown} {what}: {}", error.why)) }
        })?;
        if let Some(at) = self.open.iter().position(|(real, _)| *real == source.real) {
            let way: Vec<String> = self.open.iter().skip(at).map(|(_, file)| file.display().to_string()).collect();
            return Err(refused(format!("{shown} includes itself: {} includes it again", way.join(" includes "))));
        }
        if self.known.contains(&source.real) {
            return Err(refused(format!("{shown} is included twice")));
        }
        Ok(source)
    }
}

/// Where the lines of a text end. Counting them anew for each of many places would take the square of their number.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}
