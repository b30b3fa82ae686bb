//! One configuration out of a file and the files that it includes.

use crate::{
    settings::{
        AwsSettings, Defaults, Detect, INCLUDED_KEYS, Notify, ROOT_KEYS, Reconcile, Resource, ResourceEntry, Selection,
        SessionSettings, Settings, SourceLine, User,
    },
    toml::{self, At, SettingsError, SpannedError, TomlResult, TomlSection},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The most files of one configuration.
const MAX_FILES: usize = 256;
/// The most files that include each other in a row: each is read while the ones above it wait.
const MAX_LEVELS: usize = 16;

const FILES: &str = "a list of files, relative to this one, as in [\"team.toml\"]";

/// One file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub text: String,
    /// Its canonical path: the same for every path to one file.
    pub real: PathBuf,
}

/// Reason why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadFile {
    pub why: String,
    /// The command that mends it, if there is one.
    pub mend: Option<String>,
}

/// Reads one file of the configuration.
pub type Reader<'r> = dyn Fn(&Path) -> Result<SourceFile, UnreadFile> + 'r;

impl Settings {
    /// Reads the text of a configuration that includes no other file; `file` is only named in errors.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let source = SourceFile { text: text.to_owned(), real: file.to_owned() };
        Self::load(&source, file, &|_| Err(UnreadFile { why: "files are not read here".to_owned(), mend: None }))
    }

    /// Reads a configuration and, through `read`, what it includes; `file` is named in errors, and included files are
    /// relative to it.
    ///
    /// # Errors
    /// Text that is not TOML, unknown keys, values of the wrong type or out of range, duplicate names, and a
    /// `default_duration` above `max_duration`; a file that cannot be read, or that is included twice; more files or
    /// levels of them than `MAX_FILES` and `MAX_LEVELS`. The first mistake found is the one reported.
    pub fn load(source: &SourceFile, file: &Path, read: &Reader<'_>) -> Result<Self, SettingsError> {
        let mut inclusion = Inclusion {
            read,
            settings: Self::default(),
            places: BTreeMap::new(),
            open: Vec::new(),
            known: BTreeSet::new(),
        };
        inclusion.file(source, file, &Defaults::default())?;
        let mut settings = inclusion.settings;
        // Whatever directory `eg` is run in, one configuration runs one command.
        if let Some(program) = settings.notify.as_mut().and_then(|notify| notify.command.first_mut()) {
            *program = command_beside(file, program);
        }
        Ok(settings)
    }
}

/// A command that is a path is relative to the file that names it; a bare name is looked for in `PATH`.
fn command_beside(file: &Path, program: &str) -> String {
    let found = file.parent().filter(|_| program.contains('/')).map(|directory| directory.join(program));
    found.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_else(|| program.to_owned())
}

/// The configuration as far as it has been read.
struct Inclusion<'r> {
    read: &'r Reader<'r>,
    settings: Settings,
    /// The place of each name.
    places: BTreeMap<String, SourceLine>,
    /// The files that are being read, the one that includes before the one that is included.
    open: Vec<(PathBuf, PathBuf)>,
    known: BTreeSet<PathBuf>,
}

/// The part of a file that does not go into the settings at once.
struct ParsedFile {
    defaults: Defaults,
    entries: Vec<(At<String>, ResourceEntry)>,
    includes: Vec<At<String>>,
}

impl Inclusion<'_> {
    fn file(&mut self, source: &SourceFile, file: &Path, outer: &Defaults) -> Result<(), SettingsError> {
        let at_fault = |fault: SpannedError| fault.locate(&source.text, file);
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

    fn sections(&mut self, text: &str, outer: &Defaults) -> TomlResult<ParsedFile> {
        let root = toml::parse(text)?;
        let is_main = self.open.is_empty();
        let (name, keys) = if is_main { ("the file", ROOT_KEYS) } else { ("an included file", INCLUDED_KEYS) };
        let root = TomlSection::new(name, 0, root.get_ref(), keys)?;
        if is_main {
            self.settings.user = User::read(&root)?;
            self.settings.session = SessionSettings::read(&root)?;
            self.settings.detect = Detect::read(&root)?;
            self.settings.reconcile = Reconcile::read(&root)?;
            self.settings.notify = Notify::read(&root)?;
            self.settings.aws = AwsSettings::read(&root)?;
        }
        let defaults = Defaults::read(&root, outer)?;
        if is_main {
            self.settings.defaults.clone_from(&defaults);
        }
        let entries = ResourceEntry::read(&root, &defaults)?;
        let includes = root.strings("include", FILES)?.map(|list| list.value).unwrap_or_default();
        Ok(ParsedFile { defaults, entries, includes })
    }

    fn entry(&mut self, line: usize, file: &Path, name: At<String>, entry: ResourceEntry) -> TomlResult<()> {
        let place = SourceLine { file: file.to_owned(), line };
        if let Some(other) = self.places.insert(name.value.clone(), place.clone()) {
            let elsewhere = if other.file == file { String::new() } else { format!("; the other is {other}") };
            let message = format!("\"{}\" is the name of two resources{elsewhere}", name.value);
            return Err(SpannedError::new(name.at, message, "a name that no other resource has"));
        }
        self.settings.files.insert(name.value, file.to_owned());
        let place = Some(place);
        match entry {
            ResourceEntry::Resource(resource) => self.settings.resources.push(Resource { place, ..resource }),
            ResourceEntry::Selection(Selection { meant, like }) => {
                self.settings.selections.push(Selection { meant, like: Resource { place, ..like } });
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, include: &At<String>) -> TomlResult<SourceFile> {
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
            let files: Vec<String> = self.open.iter().skip(at).map(|(_, file)| file.display().to_string()).collect();
            return Err(refused(format!("{shown} includes itself: {} includes it again", files.join(" includes "))));
        }
        if self.known.contains(&source.real) {
            return Err(refused(format!("{shown} is included twice")));
        }
        Ok(source)
    }
}

/// The ends of the lines of a text. Counting them anew for each of many places would take the square of their number.
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
