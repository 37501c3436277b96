//! Where playbooks are found, and which places count.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, RwLock},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    diagnostic::{Diagnostic, Source},
    kind::Kind,
    language::{self, CallSite, Playbook, name_of_file},
    yaml,
};
use semver::VersionReq;

use crate::{
    builtin,
    error::CliError,
    settings::{self, Settings},
};

/// The largest file that is read as a playbook, in bytes.
const LARGEST: u64 = 4 << 20;
/// How deep folders of playbooks are searched.
const DEEPEST: usize = 8;

/// Everything that is needed to find and read playbooks.
pub(crate) struct Library {
    pub(crate) kinds: Vec<Kind>,
    places: Vec<Place>,
    /// Problems with places that don't count, told once.
    warnings: RwLock<Vec<String>>,
}

/// A place where playbooks lie.
#[derive(Clone, Debug)]
enum Place {
    Folder {
        path: Utf8PathBuf,
        named: bool,
        system: bool,
    },
    BuiltIn,
}

/// A playbook's text that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its path, or `built-in:…`.
    pub(crate) path: Utf8PathBuf,
    text: Option<&'static str>,
}

/// A playbook that was read.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) source: Arc<Source>,
    pub(crate) playbook: Option<Arc<Playbook>>,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Found {
    /// Returns how the command line names it: a file by its path, a built-in one by its name.
    pub(crate) fn name(&self) -> String {
        match self.text {
            Some(_) => name_of_file(&self.path).to_owned(),
            None => self.path.to_string(),
        }
    }
}

impl Library {
    /// Returns the library of this caller: `--playbooks`, `./playbooks`, the user's, the system's, the built-in ones.
    pub(crate) fn new(settings: &Settings) -> Library {
        let folder = |path, named, system| Place::Folder {
            path,
            named,
            system,
        };
        let mut places: Vec<Place> = settings
            .playbooks
            .iter()
            .map(|path| folder(settings::absolute(path), true, false))
            .collect();
        if !settings::is_root() {
            places.push(folder(
                settings::working_folder().join("playbooks"),
                false,
                false,
            ));
        }
        let config = settings::path_of("XDG_CONFIG_HOME")
            .or_else(|| settings::path_of("HOME").map(|home| home.join(".config")));
        places
            .extend(config.map(|config| folder(config.join("runwright/playbooks"), false, false)));
        places.push(folder("/etc/runwright/playbooks".into(), false, true));
        places.push(Place::BuiltIn);
        Library {
            kinds: runwright_steps::kinds(),
            places,
            warnings: RwLock::default(),
        }
    }

    /// Returns the playbook that `name` means: a path, `name`, `name@1` or `name@1.2.0`.
    pub(crate) fn find(&self, name: &str) -> Result<Loaded, CliError> {
        if is_path(name) {
            return self.read(&Found {
                path: settings::absolute(&name.into()),
                text: None,
            });
        }
        let (plain, versions) = match name.split_once('@') {
            Some((plain, versions)) => (plain, parse_versions(versions)?),
            None => (name, VersionReq::STAR),
        };
        match self.find_in(&self.places, plain, &versions)? {
            Some(loaded) => Ok(loaded),
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the playbook that a call means: beside its caller, then the system's and the built-in ones.
    pub(crate) fn find_called(
        &self,
        caller: &Playbook,
        call: &CallSite,
    ) -> Result<Loaded, CliError> {
        let mut places = Vec::new();
        let caller_path = Utf8Path::new(&caller.scope.path);
        if let Some(folder) = caller_path.parent().filter(|_| caller_path.is_absolute()) {
            places.push(Place::Folder {
                path: folder.to_owned(),
                named: true,
                system: false,
            });
        }
        places.extend(
            self.places
                .iter()
                .filter(|place| {
                    matches!(place, Place::BuiltIn | Place::Folder { system: true, .. })
                })
                .cloned(),
        );
        self.find_in(&places, &call.name, &call.versions)?
            .ok_or_else(|| self.unknown(&call.name))
    }

    fn find_in(
        &self,
        places: &[Place],
        name: &str,
        versions: &VersionReq,
    ) -> Result<Option<Loaded>, CliError> {
        for place in places {
            let candidates: Vec<Found> = self
                .list(place)?
                .into_iter()
                .filter(|found| name_of_file(&found.path) == name)
                .collect();
            if candidates.is_empty() {
                continue;
            }
            return self.best(name, versions, &candidates).map(Some);
        }
        Ok(None)
    }

    /// Returns the newest of the candidates that fits; the broken one where none can be read.
    fn best(
        &self,
        name: &str,
        versions: &VersionReq,
        candidates: &[Found],
    ) -> Result<Loaded, CliError> {
        let mut by_version: BTreeMap<semver::Version, (Loaded, &Found)> = BTreeMap::new();
        let mut broken = None;
        for found in candidates {
            let loaded = self.read(found)?;
            let version = loaded
                .playbook
                .as_ref()
                .map(|playbook| playbook.scope.version.clone());
            let Some(version) = version.and_then(|version| semver::Version::parse(&version).ok())
            else {
                broken.get_or_insert(loaded);
                continue;
            };
            if let Some((_, other)) = by_version.get(&version) {
                return Err(CliError::usage(format!(
                    "choose between two playbooks `{name}` of version {version}: {} and {}",
                    other.path, found.path
                ))
                .hint("give one of them another version, or name the file by its path"));
            }
            by_version.insert(version, (loaded, found));
        }
        let there: Vec<String> = by_version.keys().map(ToString::to_string).collect();
        let fitting = by_version
            .into_iter()
            .rev()
            .find(|(version, _)| versions.matches(version));
        match (fitting, broken) {
            (Some((_, (loaded, _))), _) => Ok(loaded),
            (None, Some(broken)) => Ok(broken),
            (None, None) => Err(CliError::usage(format!(
                "find a version {versions} of `{name}`; there is {}",
                there.join(", ")
            ))),
        }
    }

    /// Returns every playbook that can be named, the first place that has a name winning.
    pub(crate) fn all(&self) -> Result<Vec<Found>, CliError> {
        let mut all: Vec<Found> = Vec::new();
        for place in &self.places {
            let here: Vec<Found> = self
                .list(place)?
                .into_iter()
                .filter(|found| {
                    !all.iter()
                        .any(|other| name_of_file(&other.path) == name_of_file(&found.path))
                })
                .collect();
            all.extend(here);
        }
        all.sort_by(|left, right| name_of_file(&left.path).cmp(name_of_file(&right.path)));
        Ok(all)
    }

    /// Returns the profile called `name` from the first place that has it.
    pub(crate) fn profile(&self, name: &str) -> Result<Utf8PathBuf, CliError> {
        for place in &self.places {
            let Place::Folder { path, named, .. } = place else {
                continue;
            };
            for ending in ["yml", "yaml"] {
                let file = path.join("profiles").join(format!("{name}.{ending}"));
                if file.is_file() && self.counts(path, *named)? {
                    return Ok(file);
                }
            }
        }
        Err(CliError::usage(format!("find the profile `{name}`"))
            .hint("a profile is a file `profiles/NAME.yml` in a folder of playbooks"))
    }

    fn list(&self, place: &Place) -> Result<Vec<Found>, CliError> {
        match place {
            Place::BuiltIn => Ok(builtin::PLAYBOOKS
                .iter()
                .map(|(path, text)| Found {
                    path: format!("built-in:{path}").into(),
                    text: Some(text),
                })
                .collect()),
            Place::Folder { path, named, .. } => {
                if !path.is_dir() {
                    return match named {
                        true => Err(CliError::usage(format!(
                            "find the folder of playbooks `{path}`"
                        ))),
                        false => Ok(Vec::new()),
                    };
                }
                if !self.counts(path, *named)? {
                    return Ok(Vec::new());
                }
                let mut found = Vec::new();
                walk(path, 0, &mut found);
                found.sort();
                Ok(found
                    .into_iter()
                    .map(|path| Found { path, text: None })
                    .collect())
            }
        }
    }

    /// Returns whether nobody but root and the caller can write a folder and its parents.
    fn counts(&self, path: &Utf8Path, named: bool) -> Result<bool, CliError> {
        let Some(why) = writable_by_others(path) else {
            return Ok(true);
        };
        let message = format!("the playbooks in `{path}` don't count: {why}");
        if named {
            return Err(CliError::refused(message)
                .hint("make it writable by you only: `chmod go-w`, and the same for its parents"));
        }
        let mut warnings = self
            .warnings
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !warnings.contains(&message) {
            warnings.push(message);
        }
        Ok(false)
    }

    /// Reads a playbook that was found.
    pub(crate) fn read(&self, found: &Found) -> Result<Loaded, CliError> {
        let text = match found.text {
            Some(text) => text.to_owned(),
            None => match read_text(&found.path)? {
                Ok(text) => text,
                Err(problem) => {
                    let source = Arc::new(Source::new(found.path.as_str(), ""));
                    return Ok(Loaded {
                        source,
                        playbook: None,
                        problems: vec![problem],
                    });
                }
            },
        };
        Ok(self.parse(&found.path, text))
    }

    /// Reads a playbook's text.
    pub(crate) fn parse(&self, path: &Utf8Path, text: String) -> Loaded {
        let source = Arc::new(Source::new(path.as_str(), text));
        let (playbook, problems) = language::read(&source, Some(path), &self.kinds);
        Loaded {
            source,
            playbook: playbook.map(Arc::new),
            problems,
        }
    }

    /// Says which places of playbooks were left out, and why.
    pub(crate) fn tell_warnings(&self) {
        for warning in self
            .warnings
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
        {
            eprintln!("warning: {warning}");
        }
    }

    fn unknown(&self, name: &str) -> CliError {
        let all = self.all().unwrap_or_default();
        let names: Vec<&str> = all.iter().map(|found| name_of_file(&found.path)).collect();
        let error = CliError::usage(format!("find a playbook called `{name}`"));
        match runwright_core::diagnostic::suggest(name, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(
                "`runwright list` shows every playbook; a file is named by a path with a `/` in it",
            ),
        }
    }
}

/// Returns whether what was given on the command line is a path.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".yml") || name.ends_with(".yaml")
}

/// Returns the range that stands behind an `@`: a whole version means just that one.
fn parse_versions(text: &str) -> Result<VersionReq, CliError> {
    let exact = semver::Version::parse(text).is_ok();
    let range = if exact {
        format!("={text}")
    } else {
        text.to_owned()
    };
    VersionReq::parse(&range).map_err(|error| {
        CliError::usage(format!("read `{text}` as a version: {error}"))
            .hint("like `daily-health@1` or `daily-health@1.2.0`")
    })
}

/// Reads the text of a playbook file; a file that can't be one is a problem of the file.
fn read_text(path: &Utf8Path) -> Result<Result<String, Diagnostic>, CliError> {
    let unreadable = |error: &std::io::Error| {
        CliError::usage(format!("read the playbook `{path}`")).because(error)
    };
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err(CliError::usage(format!(
            "read the playbook `{path}`: it is no file"
        )));
    }
    if metadata.len() > LARGEST {
        let message = format!(
            "the file has {} MiB; a playbook has 4 MiB at the most",
            metadata.len() >> 20
        );
        return Ok(Err(Diagnostic::error(message, None)));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    Ok(yaml::decode(&bytes).map(str::to_owned))
}

/// Adds every playbook file below `folder`; links to folders are not followed, so there are no circles.
fn walk(folder: &Utf8Path, depth: usize, found: &mut Vec<Utf8PathBuf>) {
    if depth > DEEPEST {
        return;
    }
    let Ok(entries) = folder.read_dir_utf8() else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            let name = entry.file_name();
            if name != "profiles" && !name.starts_with('.') {
                walk(path, depth + 1, found);
            }
        } else if matches!(path.extension(), Some("yml" | "yaml")) && path.is_file() {
            found.push(path.to_owned());
        }
    }
}

/// Returns who else can write `path` or a folder above it.
fn writable_by_others(path: &Utf8Path) -> Option<String> {
    let caller = rustix::process::geteuid().as_raw();
    let path = path.canonicalize_utf8().ok()?;
    let mut below_is_ours = false;
    for folder in path.ancestors() {
        let metadata = folder.metadata().ok()?;
        let ours = metadata.uid() == 0 || metadata.uid() == caller;
        if !ours {
            return Some(format!("`{folder}` belongs to uid {}", metadata.uid()));
        }
        // In a folder like /tmp others can't touch what belongs to us.
        let sticky = metadata.mode() & 0o1000 != 0 && below_is_ours;
        if metadata.mode() & 0o022 != 0 && !sticky {
            return Some(format!(
                "others can write `{folder}` (mode {:04o})",
                metadata.mode() & 0o7777
            ));
        }
        below_is_ours = true;
    }
    None
}
