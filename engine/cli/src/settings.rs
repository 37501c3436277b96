//! What arguments, environment, home folder and terminal say: read here and nowhere else.

use std::{
    collections::BTreeMap,
    env,
    io::{IsTerminal, stderr, stdin, stdout},
    sync::Arc,
};

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use runwright_core::{
    diagnostic::Colour,
    kind::{Children, Digest},
};
use runwright_local::{
    home::Home, journal::Journal, locks::DEFAULT_FOLDER, run::Clock, signature::SignKey,
};

use crate::{error::CliError, exit};

/// Settings that mean the same for every command
#[derive(Args, Clone)]
pub(crate) struct Settings {
    /// Where journal and state are kept [default: /var/lib/runwright for root, else ~/.local/state/runwright]
    #[arg(
        long,
        env = "RUNWRIGHT_HOME",
        global = true,
        value_name = "DIR",
        help_heading = "Settings"
    )]
    home: Option<Utf8PathBuf>,

    /// Look for playbooks here first
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    pub(crate) playbooks: Vec<Utf8PathBuf>,

    /// How to report: `auto` is `tty` on a terminal and `plain` elsewhere
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "HOW",
        help_heading = "Settings"
    )]
    output: OutputForm,

    /// Sign the head of every run with this key when it ends or stops; `runwright audit keygen` makes one
    #[arg(
        long,
        env = "RUNWRIGHT_SIGN_KEY",
        global = true,
        value_name = "FILE",
        help_heading = "Settings"
    )]
    sign_key: Option<Utf8PathBuf>,

    /// Log what the engine itself does, for example `debug`
    #[arg(
        long,
        env = "RUNWRIGHT_LOG",
        global = true,
        value_name = "FILTER",
        help_heading = "Settings",
        hide = true
    )]
    log: Option<String>,
}

/// How to report.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// What fits the terminal or pipe
    #[default]
    Auto,
    /// A live tree for a terminal
    Tty,
    /// Lines of text
    Plain,
    /// One JSON object a line, on standard output
    Json,
    /// Markdown, for a change request: only `plan`
    Markdown,
}

impl Settings {
    /// Returns how to report, with `auto` worked out.
    pub(crate) fn output(&self) -> OutputForm {
        match self.output {
            OutputForm::Auto if stderr().is_terminal() => OutputForm::Tty,
            OutputForm::Auto => OutputForm::Plain,
            form => form,
        }
    }

    /// Refuses a way to report that only a plan has.
    pub(crate) fn refuse_markdown(&self) -> Result<(), CliError> {
        match self.output {
            OutputForm::Markdown => Err(CliError::usage(
                "write Markdown: only `plan` and `run --dry-run` can",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the settings for telling what is over: nothing is live about it.
    pub(crate) fn replaying(&self) -> Settings {
        let output = match self.output() {
            OutputForm::Json => OutputForm::Json,
            _ => OutputForm::Plain,
        };
        Settings {
            output,
            ..self.clone()
        }
    }

    /// Returns whether text on standard error may be coloured.
    pub(crate) fn colour(&self) -> Colour {
        colour(stderr().is_terminal())
    }

    /// Returns whether text on standard output may be coloured.
    pub(crate) fn colour_of_results(&self) -> Colour {
        colour(stdout().is_terminal())
    }

    /// Writes the engine's own log to standard error, where somebody wants it.
    pub(crate) fn start_tracing(&self) {
        if let Some(filter) = &self.log {
            let filter = tracing_subscriber::EnvFilter::new(filter);
            let layer = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(stderr)
                .without_time();
            // A second start in one process would be the only way to fail.
            drop(layer.try_init());
        }
    }

    /// Returns the journal for a run, made where it is missing; refused where it can't be relied on.
    pub(crate) fn journal(&self) -> Result<Journal, CliError> {
        let home = Home::open(&self.home_path()?);
        let home = home.map_err(|error| CliError::from(error).refusing())?;
        Journal::open(&home).map_err(|error| CliError::from(error).refusing())
    }

    /// Returns the journal for reading, or none where there are no runs yet.
    pub(crate) fn journal_to_read(&self) -> Result<Option<Journal>, CliError> {
        match Home::find(&self.home_path()?)? {
            Some(home) => Ok(Journal::find(&home)?),
            None => Ok(None),
        }
    }

    /// Returns the journal as it stands now, to prove it, or none where there are no runs yet.
    pub(crate) fn journal_to_prove(&self) -> Result<Option<Journal>, CliError> {
        match Home::find(&self.home_path()?)? {
            Some(home) => Ok(Journal::hold(&home)?),
            None => Ok(None),
        }
    }

    /// Returns the folder of the home, there or not.
    pub(crate) fn home_folder(&self) -> Result<Utf8PathBuf, CliError> {
        self.home_path()
    }

    /// Returns the key that heads are signed with, where one is wanted; one that can't be used is refused.
    pub(crate) fn signer(&self) -> Result<Option<Arc<SignKey>>, CliError> {
        // An empty variable is none.
        let Some(path) = self
            .sign_key
            .as_ref()
            .filter(|path| !path.as_str().is_empty())
        else {
            return Ok(None);
        };
        match SignKey::read(path) {
            Ok(key) => Ok(Some(Arc::new(key))),
            Err(error) => Err(CliError::from(error).code(exit::REFUSED)),
        }
    }

    /// Returns the folder of the locks, which all users of the machine share.
    pub(crate) fn locks_path() -> Utf8PathBuf {
        match variable("RUNWRIGHT_LOCKS").filter(|path| !path.is_empty()) {
            Some(path) => absolute(&path.into()),
            None => DEFAULT_FOLDER.into(),
        }
    }

    /// Returns the arguments that give another process the same settings.
    pub(crate) fn handed_on(&self) -> Result<Vec<String>, CliError> {
        let mut arguments = vec!["--home".to_owned(), self.home_path()?.into_string()];
        if let Some(key) = &self.sign_key {
            arguments.extend(["--sign-key".to_owned(), absolute(key).into_string()]);
        }
        for folder in &self.playbooks {
            arguments.extend(["--playbooks".to_owned(), absolute(folder).into_string()]);
        }
        Ok(arguments)
    }

    fn home_path(&self) -> Result<Utf8PathBuf, CliError> {
        if let Some(home) = &self.home {
            return Ok(absolute(home));
        }
        if is_root() {
            return Ok("/var/lib/runwright".into());
        }
        if let Some(state) = path_of("XDG_STATE_HOME") {
            return Ok(state.join("runwright"));
        }
        match path_of("HOME") {
            Some(home) => Ok(home.join(".local/state/runwright")),
            None => Err(
                CliError::usage("find a place for the journal: `HOME` is not set")
                    .hint("say where with `--home DIR` or `RUNWRIGHT_HOME`"),
            ),
        }
    }
}

/// Returns whether a person can be asked: standard input and error are terminals, and we are in the foreground.
pub(crate) fn can_ask() -> bool {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return false;
    }
    match rustix::termios::tcgetpgrp(stdin()) {
        Ok(foreground) => foreground == rustix::process::getpgrp(),
        Err(_) => false,
    }
}

/// Returns whether the caller is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the environment variable `name`, where it is set and UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Returns the inputs that the environment gives: `RUNWRIGHT_INPUT_<NAME>`, by lower-case name.
pub(crate) fn input_variables() -> BTreeMap<String, String> {
    env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()?
                .strip_prefix("RUNWRIGHT_INPUT_")?
                .to_lowercase();
            Some((name, value.into_string().ok()?))
        })
        .collect()
}

/// Returns the path in the variable `name`, where it is absolute.
pub(crate) fn path_of(name: &str) -> Option<Utf8PathBuf> {
    variable(name)
        .map(Utf8PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// Returns the working folder.
pub(crate) fn working_folder() -> Utf8PathBuf {
    env::current_dir()
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        .unwrap_or_else(|| "/".into())
}

/// Returns `path` made absolute against the working folder.
pub(crate) fn absolute(path: &Utf8PathBuf) -> Utf8PathBuf {
    working_folder().join(path)
}

/// Returns how child processes start: five variables, and nothing else of the environment.
pub(crate) fn children() -> Children {
    let mut env: BTreeMap<String, String> = ["PATH", "HOME", "USER", "LANG", "TZ"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), variable(name)?)))
        .collect();
    env.entry("PATH".to_owned()).or_insert_with(|| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    });
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    Children {
        env,
        cwd: working_folder(),
        umask: umask.bits(),
    }
}

/// Returns who starts a run, or answers: the login, which stays through `sudo`.
///
/// Where nobody has logged in, as in a container, it is for root the one who has called `sudo`, else the user of the
/// process.
pub(crate) fn user() -> String {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    let login = login.and_then(|text| uid(&text));
    let uid = login
        .or_else(sudoer)
        .unwrap_or_else(|| rustix::process::getuid().as_raw());
    name_of(uid)
}

/// Returns who has called `sudo`. Only root is believed: everybody else could set the variable.
fn sudoer() -> Option<u32> {
    match rustix::process::getuid().is_root() {
        true => uid(&variable("SUDO_UID")?),
        false => None,
    }
}

/// Returns the uid that stands in `text`; the largest one means that there is none.
fn uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

fn name_of(uid: u32) -> String {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// Returns what time it is.
///
/// Tests of what happens days later put it forward, in debug builds only.
pub(crate) fn clock() -> Clock {
    let ahead = match cfg!(debug_assertions) {
        true => variable("RUNWRIGHT_TEST_CLOCK_OFFSET").and_then(|text| text.parse().ok()),
        false => None,
    };
    Clock::ahead_by(ahead.unwrap_or_default())
}

/// Returns the user that the process acts as.
pub(crate) fn account() -> String {
    name_of(rustix::process::geteuid().as_raw())
}

/// Returns an id of the machine that stays when its name changes; empty where it has none.
///
/// It is made of `/etc/machine-id`, which itself is not to be shown (machine-id(5)).
pub(crate) fn machine() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match id.trim() {
        "" => String::new(),
        id => {
            let mut digest = Digest::of(format!("runwright {id}").as_bytes()).0;
            digest.truncate(32);
            digest
        }
    }
}

/// Returns the machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn colour(terminal: bool) -> Colour {
    let wanted = variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let able = variable("TERM").is_none_or(|term| term != "dumb");
    if terminal && wanted && able {
        Colour::Ansi
    } else {
        Colour::Plain
    }
}
