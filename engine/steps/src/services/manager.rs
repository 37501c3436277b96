//! The service managers, and what they say about a service.

use std::{fmt, time::Duration};

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Cx, Failure},
    units::{Bytes, Time},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{supervisor, systemd};

/// A service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Manager {
    /// The system's systemd.
    Systemd,
    /// The systemd of the user who runs the step.
    SystemdUser,
    /// Supervisor.
    Supervisor,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It runs.
    Started,
    /// It does not run.
    Stopped,
    /// It does not run because it broke.
    Failed,
    /// It is about to run, possibly after it broke.
    Starting,
    /// It is about to stop.
    Stopping,
}

/// A service as its manager knows it. Undos are stored with it: fields may be added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Managed {
    /// The manager.
    pub(super) manager: Manager,
    /// The manager's own name for the service.
    pub(super) name: String,
    /// The manager's configuration file, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Utf8PathBuf>,
}

/// What a manager says about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) enabled: Option<bool>,
    pub(super) pid: Option<i64>,
    pub(super) since: Option<Time>,
    pub(super) restarts: Option<i64>,
    pub(super) memory: Option<Bytes>,
    /// The state in the manager's own words.
    pub(super) detail: String,
    /// How it came to be stopped, where it is.
    pub(super) end: End,
    /// It is stopped because it did what it was started for.
    pub(super) completed: bool,
    /// Its definition on disk is newer than the one the manager has read.
    pub(super) outdated: bool,
    /// Whether it can be told to read its configuration again.
    pub(super) reloads: bool,
}

/// How a stopped service came to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its manager was told to stop it, or never to start it.
    Ordered,
    /// It ended, and nobody had told it to.
    Own,
    /// The manager keeps no record of it.
    Unknown,
}

/// What a manager answers when it is asked for a service.
pub(super) enum Answer {
    /// The manager is not on this machine or does not run; the text says why that is known.
    NotThere(String),
    /// It does not know the service.
    Unknown,
    /// It knows it, under its own name.
    Known(String, Box<Status>),
}

/// What a playbook says to name a service.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) manager: Option<Manager>,
    pub(super) config: Option<&'a Utf8PathBuf>,
}

/// Where a service was found.
pub(super) enum Search {
    /// One manager knows it.
    Found(Managed, Box<Status>),
    /// No manager knows it; what each answered.
    Nowhere(String),
}

impl Wanted<'_> {
    /// Asks the managers for the service.
    ///
    /// Fails when two know it, when none is there to ask, or when one could not be asked and no other knows it.
    pub(super) async fn search(&self, cx: &Cx) -> Result<Search, Failure> {
        let managers = match (self.manager, self.config) {
            (Some(manager), _) => vec![manager],
            (None, Some(_)) => vec![Manager::Supervisor],
            (None, None) => vec![Manager::Systemd, Manager::SystemdUser, Manager::Supervisor],
        };
        let asked = |manager: Manager| {
            let managed = Managed {
                manager,
                name: self.name.to_owned(),
                config: self.config.cloned(),
            };
            let asks = managers.contains(&manager);
            async move {
                let answer = if asks {
                    Some(managed.ask(cx).await)
                } else {
                    None
                };
                Some((managed, answer?))
            }
        };
        let (systemd, user, supervisor) = tokio::join!(
            asked(Manager::Systemd),
            asked(Manager::SystemdUser),
            asked(Manager::Supervisor)
        );
        self.judge([systemd, user, supervisor].into_iter().flatten().collect())
    }

    fn judge(&self, answers: Vec<(Managed, Result<Answer, Failure>)>) -> Result<Search, Failure> {
        let mut known = Vec::new();
        let mut said = Vec::new();
        let mut unasked = None;
        let mut there = false;
        for (managed, answer) in answers {
            let manager = managed.manager;
            match answer {
                Ok(Answer::Known(name, status)) => {
                    known.push((Managed { name, ..managed }, status));
                }
                Ok(Answer::Unknown) => {
                    there = true;
                    said.push(format!("{manager} does not know it"));
                }
                Ok(Answer::NotThere(why)) => said.push(format!("{manager} is not there ({why})")),
                Err(failure) => unasked = unasked.or(Some(failure)),
            }
        }
        let said = said.join(", ");
        match (known.len(), unasked) {
            (1, _) => {
                let (managed, status) = known.remove(0);
                Ok(Search::Found(managed, status))
            }
            (0, Some(failure)) => Err(failure),
            (0, None) if there => Ok(Search::Nowhere(said)),
            (0, None) => Err(Failure::internal(format!(
                "find the service `{}`: no service manager answers: {said}",
                self.name
            ))
            .hint("start the manager, or name it with `manager`; Supervisor's configuration can be named with `config`")),
            _ => Err(ambiguous(self.name, &known)),
        }
    }

    /// As [`Wanted::search`], and fails when no manager knows the service.
    pub(super) async fn find(&self, cx: &Cx) -> Result<(Managed, Box<Status>), Failure> {
        match self.search(cx).await? {
            Search::Found(managed, status) => Ok((managed, status)),
            Search::Nowhere(said) => Err(Failure::internal(format!(
                "find the service `{}`: {said}",
                self.name
            ))
            .hint("check the name; `systemctl list-units --all` and `supervisorctl status` list what there is")),
        }
    }
}

fn ambiguous(name: &str, known: &[(Managed, Box<Status>)]) -> Failure {
    let list = |separator: &str, write: &dyn Fn(&Manager) -> String| {
        let names: Vec<String> = known
            .iter()
            .map(|(managed, _)| write(&managed.manager))
            .collect();
        names.join(separator)
    };
    Failure::refused(format!(
        "find the service `{name}`: it is known to {}",
        list(" and to ", &Manager::to_string)
    ))
    .hint(format!(
        "say which one is meant: {}",
        list(" or ", &|manager| format!("`manager: {manager}`"))
    ))
}

impl Managed {
    /// Asks the manager what the service does.
    pub(super) async fn ask(&self, cx: &Cx) -> Result<Answer, Failure> {
        match self.manager {
            Manager::Systemd | Manager::SystemdUser => systemd::ask(cx, self).await,
            Manager::Supervisor => supervisor::ask(cx, self).await,
        }
    }

    /// Returns what the service does; fails when the manager is gone or does not know it any more.
    pub(super) async fn status(&self, cx: &Cx) -> Result<Box<Status>, Failure> {
        let gone = |why: &str| Failure::internal(format!("look at {self}: {why}"));
        match self.ask(cx).await? {
            Answer::Known(_, status) => Ok(status),
            Answer::Unknown => Err(gone("its manager does not know it any more")),
            Answer::NotThere(why) => Err(gone(&why)),
        }
    }

    /// Tells the manager to bring the service into a state; returns when the manager says that it did or can't.
    pub(super) async fn tell(
        &self,
        cx: &Cx,
        order: Order,
        now: &Status,
        within: Duration,
    ) -> Result<(), Failure> {
        match self.manager {
            Manager::Systemd | Manager::SystemdUser => {
                systemd::tell(cx, self, order, now, within).await
            }
            Manager::Supervisor => supervisor::tell(cx, self, order, now, within).await,
        }
    }

    /// Returns the last lines the service wrote, as far as its manager keeps them.
    pub(super) async fn last_lines(&self, cx: &Cx) -> Option<String> {
        match self.manager {
            Manager::Systemd | Manager::SystemdUser => systemd::last_lines(cx, self).await,
            Manager::Supervisor => supervisor::last_lines(cx, self).await,
        }
    }
}

/// What a manager can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    Reload,
}

impl State {
    /// Returns whether it runs or is about to.
    pub(super) fn is_up(self) -> bool {
        matches!(self, State::Started | State::Starting)
    }
}

/// Returns what is wrong with the arguments that name a service.
pub(super) fn check(arguments: &Value) -> Vec<ArgumentError> {
    let wrong = |argument: &str, message: String| ArgumentError {
        path: vec![argument.to_owned()],
        message,
    };
    let mut errors = Vec::new();
    if let Some(name) = arguments.get("name").and_then(Value::as_str)
        && !is_name(name)
    {
        errors.push(wrong(
            "name",
            format!("`{name}` names no single service; patterns and `all` are not taken"),
        ));
    }
    let manager = arguments.get("manager").and_then(Value::as_str);
    if arguments.get("config").is_some() && manager.is_some_and(|manager| manager != "supervisor") {
        errors.push(wrong(
            "config",
            "only Supervisor takes a configuration file".to_owned(),
        ));
    }
    errors
}

/// Returns whether `name` means exactly one service to every manager.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name != "all"
        && !name.starts_with('-')
        && !name.ends_with(':')
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || "*?[]/".contains(c))
}

/// Returns the resource that a service is, however its name is written.
pub(super) fn resource(name: &str) -> String {
    format!("service:{}", name.strip_suffix(".service").unwrap_or(name))
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Manager::Systemd => "systemd",
            Manager::SystemdUser => "systemd-user",
            Manager::Supervisor => "supervisor",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Started => "started",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::Starting => "starting",
            State::Stopping => "stopping",
        })
    }
}

impl fmt::Display for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service `{}` of {}", self.name, self.manager)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::Start => "start",
            Order::Stop => "stop",
            Order::Restart => "restart",
            Order::Reload => "reload",
        })
    }
}
