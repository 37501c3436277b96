//! `service`: starts, stops, restarts or reloads a service. Its undo puts back the state before; a restart or a reload
//! is undone by doing it again, once everything around it has been put back.

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Change, Cx, Description, Effect, Failure, Kind, Look, Step, Touch, Undo, UndoLook},
    units::{Span, Time},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    manager::{self, Answer, End, Managed, Manager, Order, State, Status, Wanted},
    ready,
};

pub(super) const KIND: Kind = Kind::of::<Service>("service");

/// Brings a service into a state, and waits until it is there.
///
/// The manager is found by asking: systemd (of the system, and of the user who runs the step) and Supervisor. A service
/// is ready when its manager says so and it stayed up for `stable_for`, with the same process and without a restart in
/// between; after a restart the process must be a new one. A unit file that was changed is read again before (systemd's
/// `daemon-reload`); a reload is systemd's `ExecReload` or, for Supervisor, SIGHUP. Undone by starting or stopping it
/// again; a restart or a reload by another one, last of all, if the service is not stopped by then.
///
/// ```yaml
/// id: restart
/// service: { name: nginx, state: restarted, ready_within: 10s }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    /// The service's name, as its manager knows it; `.service` may be left out.
    name: String,
    /// What it is to be: `started` and `stopped` do nothing when it is so already; `restarted` and `reloaded` always act.
    state: Target,
    /// The manager, where more than one knows the name: `systemd`, `systemd-user` or `supervisor`.
    #[serde(default)]
    #[schemars(with = "Manager")]
    manager: Option<Manager>,
    /// Supervisor's configuration file, where it is not in a usual place.
    #[serde(default)]
    #[schemars(with = "String")]
    config: Option<Utf8PathBuf>,
    /// How long it may take until it is ready or has stopped.
    #[serde(default = "half_a_minute")]
    ready_within: Span,
    /// How long it must stay up without a break to count as ready.
    #[serde(default = "a_second")]
    stable_for: Span,
}

/// What a service is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Target {
    /// Running.
    Started,
    /// Not running.
    Stopped,
    /// Running, with a new process.
    Restarted,
    /// Running, with its configuration read again.
    Reloaded,
}

/// What a service came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Serviced {
    /// What it did before.
    was: State,
    /// What it does now.
    state: State,
    /// The number of its main process; null when there is none.
    pid: Option<i64>,
    /// Since when it has been in its state; null where the manager can't tell.
    since: Option<Time>,
    /// Its manager.
    manager: Manager,
    /// The state in the manager's own words.
    detail: String,
}

/// A service before it is changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// Who manages it.
    service: Managed,
    /// What it does.
    state: State,
    /// The number of its main process.
    pid: Option<i64>,
    /// The state in the manager's own words.
    detail: String,
}

/// How a service is brought back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Back {
    version: u32,
    service: Managed,
    to: BackTo,
    ready_within: Span,
    stable_for: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BackTo {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

fn half_a_minute() -> Span {
    Span::from_seconds(30)
}

fn a_second() -> Span {
    Span::from_seconds(1)
}

impl Step for Service {
    type Output = Serviced;
    type Before = Before;
    type Undo = Back;
    const EFFECT: Effect = Effect::Change;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = manager::check(arguments);
        let span = |name: &str, default: Span| match arguments.get(name) {
            Some(Value::Duration(span)) => Some(*span),
            Some(Value::Text(text)) => text.parse().ok(),
            Some(_) => None,
            None => Some(default),
        };
        let within = span("ready_within", half_a_minute());
        if let (Some(within), Some(stable)) = (within, span("stable_for", a_second()))
            && stable > within
        {
            errors.push(ArgumentError {
                path: vec!["stable_for".to_owned()],
                message: format!("{stable} does not fit into `ready_within`, which is {within}"),
            });
        }
        errors
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes(manager::resource(&self.name))]
    }

    fn describe(&self) -> Description {
        let description = Description::new(format!(
            "{} the service `{}`",
            self.state.order(),
            self.name
        ));
        match self.manager {
            Some(manager) => description.with("manager", manager.to_string()),
            None => description,
        }
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Serviced, Before>, Failure> {
        let wanted = Wanted {
            name: &self.name,
            manager: self.manager,
            config: self.config.as_ref(),
        };
        let (service, status) = wanted.find(cx).await?;
        if self.is_reached(status.state) {
            return Ok(Look::Done(serviced(&service, status.state, &status)));
        }
        if self.state == Target::Reloaded {
            can_reload(&service, &status)?;
        }
        Ok(Look::Needed(Change {
            summary: self.change(status.state),
            diff: None,
            before: Before {
                service,
                state: status.state,
                pid: status.pid,
                detail: status.detail,
            },
        }))
    }

    fn undo(&self, before: &Before) -> Option<Back> {
        let to = match (self.state, before.state) {
            (Target::Stopped, State::Started | State::Starting) => BackTo::Started,
            (
                Target::Started | Target::Restarted,
                State::Stopped | State::Failed | State::Stopping,
            ) => BackTo::Stopped,
            (Target::Restarted, State::Started | State::Starting) => BackTo::Restarted,
            (Target::Reloaded, _) => BackTo::Reloaded,
            // It was on its way there by itself.
            (Target::Started, State::Started | State::Starting)
            | (Target::Stopped, State::Stopped | State::Failed | State::Stopping) => return None,
        };
        Some(Back {
            version: 1,
            service: before.service.clone(),
            to,
            ready_within: self.ready_within,
            stable_for: self.stable_for,
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Serviced, Failure> {
        let Before { service, state, .. } = before.ok_or_else(|| {
            Failure::internal(format!(
                "{} the service `{}`: its state before is not known",
                self.state.order(),
                self.name
            ))
        })?;
        let now = service.status(cx).await?;
        if self.is_reached(now.state) {
            return Ok(serviced(service, *state, &now));
        }
        if self.state == Target::Reloaded {
            can_reload(service, &now)?;
        }
        let (within, stable_for) = (self.ready_within.to_std(), self.stable_for.to_std());
        let reached =
            ready::carry_out(cx, service, self.state.order(), &now, within, stable_for).await?;
        Ok(serviced(service, *state, &reached))
    }
}

impl Service {
    fn is_reached(&self, state: State) -> bool {
        match self.state {
            Target::Started => state == State::Started,
            Target::Stopped => matches!(state, State::Stopped | State::Failed),
            Target::Restarted | Target::Reloaded => false,
        }
    }

    fn change(&self, from: State) -> String {
        match self.state {
            Target::Started => format!("{from} -> started"),
            Target::Stopped => format!("{from} -> stopped"),
            Target::Restarted => format!("{from} -> restarted"),
            Target::Reloaded => format!("{from} -> reloaded"),
        }
    }
}

impl Target {
    fn order(self) -> Order {
        match self {
            Target::Started => Order::Start,
            Target::Stopped => Order::Stop,
            Target::Restarted => Order::Restart,
            Target::Reloaded => Order::Reload,
        }
    }
}

fn can_reload(service: &Managed, status: &Status) -> Result<(), Failure> {
    if status.state != State::Started {
        return Err(Failure::refused(format!(
            "reload {service}: it does not run: {}",
            status.detail
        ))
        .hint("`state: started` starts it, with the configuration as it is then"));
    }
    // The manager's answer is that of the definition it has read; a newer one may say otherwise.
    if !status.reloads && !status.outdated {
        return Err(Failure::refused(format!(
            "reload {service}: its unit says no way to (`ExecReload`)"
        ))
        .hint("`state: restarted` makes it read its configuration again"));
    }
    Ok(())
}

fn serviced(service: &Managed, was: State, status: &Status) -> Serviced {
    Serviced {
        was,
        state: status.state,
        pid: status.pid,
        since: status.since,
        manager: service.manager,
        detail: status.detail.clone(),
    }
}

impl Undo for Back {
    fn describe(&self) -> String {
        let service = &self.service;
        match self.to {
            BackTo::Started => format!("start {service} again"),
            BackTo::Stopped => format!("stop {service} again"),
            BackTo::Restarted => format!("restart {service} again, unless it is stopped by then"),
            BackTo::Reloaded => format!("reload {service} again, unless it is stopped by then"),
        }
    }

    fn again(&self) -> Option<String> {
        matches!(self.to, BackTo::Restarted | BackTo::Reloaded)
            .then(|| format!("service:{}:{}", self.service.manager, self.service.name))
    }

    async fn look(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        let gone = |why: &str| Ok(UndoLook::Dirty(format!("{} is gone: {why}", self.service)));
        Ok(match self.service.ask(cx).await? {
            Answer::NotThere(why) => return gone(&why),
            Answer::Unknown => return gone("its manager does not know it any more"),
            Answer::Known(_, status) => match self.order(&status) {
                Some(_) => UndoLook::Needed,
                None if self.is_doubtful(&status) => UndoLook::Dirty(format!(
                    "{} ran before and is stopped now, and nothing tells whether somebody stopped it",
                    self.service
                )),
                None => UndoLook::Done,
            },
        })
    }

    async fn perform(&self, cx: &Cx) -> Result<(), Failure> {
        let now = self.service.status(cx).await?;
        let Some(order) = self.order(&now) else {
            return Ok(());
        };
        let (within, stable_for) = (self.ready_within.to_std(), self.stable_for.to_std());
        ready::carry_out(cx, &self.service, order, &now, within, stable_for).await?;
        Ok(())
    }
}

impl Back {
    /// Returns what is left to do.
    ///
    /// A service that was to be restarted and then broke, or ended, is started: it ran before. One that somebody (or an
    /// earlier undo) stopped stays stopped.
    fn order(&self, now: &Status) -> Option<Order> {
        let broken =
            now.state == State::Failed || (now.state == State::Stopped && now.end == End::Own);
        match (self.to, now.state) {
            (BackTo::Started, State::Started) => None,
            (BackTo::Started, _) => Some(Order::Start),
            (BackTo::Stopped, State::Stopped | State::Failed) => None,
            (BackTo::Stopped, _) => Some(Order::Stop),
            (BackTo::Reloaded, State::Started) => Some(Order::Reload),
            (BackTo::Restarted | BackTo::Reloaded, State::Started | State::Starting) => {
                Some(Order::Restart)
            }
            (BackTo::Restarted | BackTo::Reloaded, _) => broken.then_some(Order::Restart),
        }
    }

    /// Returns whether it may have to be started, and it is not known.
    fn is_doubtful(&self, now: &Status) -> bool {
        self.again().is_some() && now.state == State::Stopped && now.end == End::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs, thread,
        time::{Duration, Instant},
    };

    use runwright_core::kind::{Class, Looked, UndoRecord};
    use serde_json::json;

    use super::*;
    use crate::{
        services::testing::{Supervisor, SystemdUser, until},
        testing::Bench,
    };

    fn run(bench: &Bench, name: &str, state: &str) -> Result<(Value, Option<UndoRecord>), Failure> {
        bench.run(
            KIND,
            json!({ "name": name, "state": state, "ready_within": "30s", "stable_for": "300ms" }),
        )
    }

    /// As [`run`] up to the intention: returns the undo that a run has registered when the act fails.
    fn run_and_fail(bench: &Bench, name: &str, state: &str, within: &str) -> (Failure, UndoRecord) {
        let arguments =
            json!({ "name": name, "state": state, "ready_within": within, "stable_for": "300ms" });
        let Ok(Looked::Needed { before, .. }) = bench.look(KIND, arguments.clone()) else {
            panic!("a change is needed")
        };
        let action = (KIND.open)(&Value::from_stored(&arguments)).expect("arguments");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let undo = runtime
            .block_on(action.keep(bench.cx(), &before))
            .expect("an intention");
        let failure = runtime
            .block_on(action.perform(bench.cx(), Some(&before)))
            .expect_err("it fails");
        (failure, undo.expect("an undo"))
    }

    fn state(systemd: &SystemdUser, name: &str) -> String {
        let shown = systemd
            .systemctl(&["show", "--property=ActiveState", "--value", name])
            .expect("an answer");
        shown.trim().to_owned()
    }

    fn text<'a>(result: &'a Value, field: &str) -> &'a str {
        result
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A service that writes `GREETING` down when it starts, and breaks when that is `exit N`.
    fn greeter(systemd: &SystemdUser, more: &str) {
        let folder = systemd.bench.path("");
        let script = "#!/bin/sh\ncase \"$GREETING\" in exit*) $GREETING;; esac\n\
                      echo \"$GREETING\" >>\"$0.said\"\nexec sleep 600\n";
        fs::write(folder.join("greeter"), script).expect("a program");
        systemd.unit(
            "greeter",
            &format!(
                "ExecStart=/bin/sh {0}greeter\nEnvironmentFile={0}env\n{more}",
                folder.as_str()
            ),
        );
        greet(systemd, "one");
    }

    fn greet(systemd: &SystemdUser, greeting: &str) {
        fs::write(systemd.bench.path("env"), format!("GREETING={greeting}\n"))
            .expect("an environment");
    }

    fn said(systemd: &SystemdUser) -> String {
        fs::read_to_string(systemd.bench.path("greeter.said")).unwrap_or_default()
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        let systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        let (result, undo) = run(&systemd.bench, "app", "stopped").expect("done");
        assert_eq!((text(&result, "was"), undo), ("stopped", None));
        run(&systemd.bench, "app", "started").expect("started");
        let (result, undo) = run(&systemd.bench, "app", "started").expect("done");
        assert_eq!((text(&result, "was"), undo), ("started", None));
    }

    #[test]
    fn a_start_and_a_stop_are_undone_by_the_other() {
        let systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        let (result, undo) = run(&systemd.bench, "app", "started").expect("started");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("stopped", "started")
        );
        let undo = undo.expect("an undo");
        assert_eq!(undo.summary, "stop the service `app` of systemd-user again");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(state(&systemd, "app"), "inactive");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Done));

        systemd.systemctl(&["start", "app"]).expect("started");
        let (result, undo) = run(&systemd.bench, "app", "stopped").expect("stopped");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("started", "stopped")
        );
        let undo = undo.expect("an undo");
        assert_eq!(undo.again, None);
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(state(&systemd, "app"), "active");
    }

    #[test]
    fn a_restart_brings_a_changed_environment_and_its_undo_the_old_one() {
        let systemd = SystemdUser::start();
        greeter(&systemd, "");
        systemd.systemctl(&["start", "greeter"]).expect("started");
        until("it said one", || said(&systemd) == "one\n");
        greet(&systemd, "two");
        let (result, undo) = run(&systemd.bench, "greeter", "restarted").expect("restarted");
        assert_eq!(said(&systemd), "one\ntwo\n");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("started", "started")
        );
        let undo = undo.expect("an undo");
        assert_eq!(undo.again.as_deref(), Some("service:systemd-user:greeter"));
        greet(&systemd, "one");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(said(&systemd), "one\ntwo\none\n");
    }

    #[test]
    fn a_restart_of_a_stopped_service_starts_it_and_its_undo_stops_it() {
        let systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        let (result, undo) = run(&systemd.bench, "app", "restarted").expect("started");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("stopped", "started")
        );
        let undo = undo.expect("an undo");
        assert_eq!(undo.again, None);
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(state(&systemd, "app"), "inactive");
    }

    #[test]
    fn a_restart_that_broke_is_told_and_undone_once_its_cause_is() {
        let systemd = SystemdUser::start();
        greeter(&systemd, "");
        systemd.systemctl(&["start", "greeter"]).expect("started");
        until("it said one", || said(&systemd) == "one\n");
        greet(&systemd, "\"exit 3\"");
        let (failure, undo) = run_and_fail(&systemd.bench, "greeter", "restarted", "30s");
        assert_eq!(failure.class, Class::Exit);
        assert_eq!(
            failure.message,
            "restart the service `greeter` of systemd-user: it did not stay up: failed (failed), exit-code: exit code 3"
        );
        greet(&systemd, "one");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(
            (state(&systemd, "greeter").as_str(), said(&systemd).as_str()),
            ("active", "one\none\n")
        );
    }

    #[test]
    fn a_restarted_service_that_ended_is_started_and_one_that_was_stopped_is_not() {
        let systemd = SystemdUser::start();
        greeter(&systemd, "");
        systemd.want("greeter", true);
        systemd.systemctl(&["start", "greeter"]).expect("started");
        until("it said one", || said(&systemd) == "one\n");
        greet(&systemd, "\"exit 0\"");
        let (failure, undo) = run_and_fail(&systemd.bench, "greeter", "restarted", "30s");
        assert!(
            failure
                .message
                .ends_with("it did not stay up: inactive (dead)"),
            "{failure}"
        );
        greet(&systemd, "one");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(state(&systemd, "greeter"), "active");
        systemd.systemctl(&["stop", "greeter"]).expect("stopped");
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Done));
        assert_eq!(state(&systemd, "greeter"), "inactive");

        // Without a target that wants it, systemd forgets how the unit ended.
        systemd.systemctl(&["start", "greeter"]).expect("started");
        systemd.want("greeter", false);
        systemd.systemctl(&["stop", "greeter"]).expect("stopped");
        assert!(matches!(
            systemd.bench.undo(KIND, &undo),
            Ok(UndoLook::Dirty(text)) if text.contains("ran before and is stopped now")
        ));
        assert_eq!(state(&systemd, "greeter"), "inactive");
    }

    #[test]
    fn a_service_that_keeps_breaking_is_never_ready() {
        let systemd = SystemdUser::start();
        systemd.unit(
            "loops",
            "ExecStart=/bin/sleep 0.1\nRestart=always\nRestartSec=100ms",
        );
        let begun = Instant::now();
        let (failure, undo) = run_and_fail(&systemd.bench, "loops", "started", "3s");
        assert_eq!(failure.class, Class::Timeout, "{failure}");
        assert!(
            failure.message.contains("it was not ready in time"),
            "{failure}"
        );
        assert!(failure.message.contains(", restarted "), "{failure}");
        assert!(
            begun.elapsed() >= Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(state(&systemd, "loops"), "inactive");
    }

    #[test]
    fn a_service_that_broke_too_often_can_be_started() {
        let systemd = SystemdUser::start();
        let flag = systemd.bench.path("fixed");
        systemd.unit_file(
            "tired",
            &format!(
                "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=600\nStartLimitBurst=1\n\
                 [Service]\nExecStart=/bin/sh -c 'test -e {flag} && exec sleep 600'\n"
            ),
        );
        systemd
            .systemctl(&["start", "tired"])
            .expect("a simple service is not waited for");
        until("it broke", || state(&systemd, "tired") == "failed");
        fs::write(&flag, "").expect("a flag");
        systemd
            .systemctl(&["start", "tired"])
            .expect_err("it was started too often");
        let (result, _) = run(&systemd.bench, "tired", "started").expect("started");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("failed", "started")
        );
    }

    #[test]
    fn a_service_is_ready_when_it_says_so() {
        let systemd = SystemdUser::start();
        let ready = systemd.bench.path("ready");
        systemd.unit(
            "slow",
            &format!(
                "Type=notify\nNotifyAccess=all\n\
                 ExecStart=/bin/sh -c 'until test -e {ready}; do sleep 0.02; done; systemd-notify --ready; sleep 600'"
            ),
        );
        thread::scope(|scope| {
            let step = scope.spawn(|| run(&systemd.bench, "slow", "started"));
            until("it is starting", || state(&systemd, "slow") == "activating");
            assert!(!step.is_finished());
            fs::write(&ready, "").expect("a flag");
            let (result, _) = step.join().expect("no panic").expect("ready");
            assert_eq!(text(&result, "detail"), "active (running)");
        });
    }

    #[test]
    fn a_task_that_did_its_work_counts_as_started() {
        let systemd = SystemdUser::start();
        systemd.unit("task", "Type=oneshot\nExecStart=/bin/true");
        let (result, _) = run(&systemd.bench, "task", "started").expect("done");
        assert_eq!(text(&result, "state"), "stopped");
        systemd.unit("broken-task", "Type=oneshot\nExecStart=/bin/false");
        let failure = run(&systemd.bench, "broken-task", "started").expect_err("it fails");
        assert_eq!(failure.class, Class::Exit);
        assert!(
            failure
                .causes
                .iter()
                .any(|cause| cause.contains("exit code 1")),
            "{failure:?}"
        );
    }

    #[test]
    fn a_changed_unit_file_is_read_again() {
        let systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        systemd.systemctl(&["start", "app"]).expect("started");
        // systemd sees a change by the time of the file, in its own grain.
        until("systemd sees the change", || {
            systemd.unit("app", "ExecStart=/bin/sleep 700");
            systemd.systemctl(&["show", "--property=NeedDaemonReload", "--value", "app"])
                == Ok("yes\n".to_owned())
        });
        run(&systemd.bench, "app", "restarted").expect("restarted");
        let shown = systemd
            .systemctl(&["show", "--property=ExecStart", "--value", "app"])
            .expect("an answer");
        assert!(shown.contains("sleep 700"), "{shown}");
    }

    #[test]
    fn a_reload_keeps_the_process_and_needs_a_way() {
        let systemd = SystemdUser::start();
        let log = systemd.bench.path("reloads");
        systemd.unit(
            "app",
            &format!("ExecStart=/bin/sleep 600\nExecReload=/bin/sh -c 'echo again >>{log}'"),
        );
        systemd.unit("deaf", "ExecStart=/bin/sleep 600");
        let failure = run(&systemd.bench, "app", "reloaded").expect_err("it does not run");
        assert_eq!(failure.class, Class::Refused);
        systemd
            .systemctl(&["start", "app", "deaf"])
            .expect("started");
        let (before, _) = run(&systemd.bench, "app", "started").expect("done");
        let (after, undo) = run(&systemd.bench, "app", "reloaded").expect("reloaded");
        assert_eq!(before.get("pid"), after.get("pid"));
        let undo = undo.expect("an undo");
        assert_eq!(undo.again.as_deref(), Some("service:systemd-user:app"));
        assert_eq!(systemd.bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read_to_string(&log).expect("reloads"), "again\nagain\n");
        let failure = run(&systemd.bench, "deaf", "reloaded").expect_err("it can't");
        assert!(failure.message.contains("`ExecReload`"), "{failure}");
    }

    #[test]
    fn a_unit_that_is_gone_is_named_by_the_undo() {
        let systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        systemd.systemctl(&["start", "app"]).expect("started");
        let (_, undo) = run(&systemd.bench, "app", "stopped").expect("stopped");
        fs::remove_file(systemd.bench.path("units/app.service")).expect("removed");
        systemd.systemctl(&["daemon-reload"]).expect("read again");
        let dirty =
            "the service `app` of systemd-user is gone: its manager does not know it any more";
        assert_eq!(
            systemd.bench.undo(KIND, &undo.expect("an undo")),
            Ok(UndoLook::Dirty(dirty.to_owned()))
        );
    }

    #[test]
    fn a_service_that_nobody_knows_is_a_failure_that_says_who_was_asked() {
        let systemd = SystemdUser::start();
        let failure = run(&systemd.bench, "nobody", "stopped").expect_err("nobody knows it");
        assert!(
            failure
                .message
                .starts_with("find the service `nobody`: systemd is not there ("),
            "{failure}"
        );
        assert!(
            failure.message.contains("systemd-user does not know it"),
            "{failure}"
        );
        assert!(
            failure.message.contains("supervisor is not there ("),
            "{failure}"
        );
    }

    #[test]
    fn waiting_for_a_service_can_be_cancelled() {
        let systemd = SystemdUser::start();
        systemd.unit("slow", "Type=notify\nExecStart=/bin/sleep 600");
        thread::scope(|scope| {
            let arguments = json!({ "name": "slow", "state": "started", "ready_within": "10m" });
            let step = scope.spawn(|| systemd.bench.run(KIND, arguments).map(|_| ()));
            until("it is starting", || state(&systemd, "slow") == "activating");
            systemd.bench.cancel();
            let failure = step.join().expect("no panic").expect_err("cancelled");
            assert_eq!(failure.class, Class::Cancelled);
        });
    }

    #[test]
    fn supervisor_starts_stops_and_restarts() {
        let bench = Bench::new();
        let env = bench.path("env");
        let said = bench.path("said");
        fs::write(&env, "one").expect("an environment");
        let supervisor = Supervisor::start(
            &bench,
            &format!(
                "[program:app]\ncommand=/bin/sh -c 'cat {env} >>{said}; exec sleep 600'\nautostart=false\nstartsecs=1\n\
                 [program:breaks]\ncommand=/bin/sh -c 'echo no database >&2; exit 1'\nautostart=false\nstartretries=0"
            ),
        );
        let run = |name: &str, state: &str| {
            let arguments = json!({
                "name": name, "state": state, "config": supervisor.config(), "ready_within": "30s", "stable_for": "200ms",
            });
            bench.run(KIND, arguments)
        };
        let (result, undo) = run("app", "started").expect("started");
        assert_eq!(
            (text(&result, "was"), text(&result, "state")),
            ("stopped", "started")
        );
        let started = result.get("pid").cloned();
        fs::write(&env, "two").expect("an environment");
        let (result, again) = run("app", "restarted").expect("restarted");
        assert_ne!(result.get("pid").cloned(), started);
        assert_eq!(fs::read_to_string(&said).expect("it ran"), "onetwo");
        let again = again.expect("an undo");
        assert_eq!(again.again.as_deref(), Some("service:supervisor:app"));
        assert_eq!(bench.undo(KIND, &again), Ok(UndoLook::Needed));
        assert_eq!(fs::read_to_string(&said).expect("it ran"), "onetwotwo");
        assert_eq!(
            bench.undo(KIND, &undo.expect("an undo")),
            Ok(UndoLook::Needed)
        );
        assert!(
            supervisor
                .ctl(&["status", "app"])
                .expect_err("it is stopped")
                .contains("STOPPED")
        );
        assert_eq!(bench.undo(KIND, &again), Ok(UndoLook::Done));

        let failure = run("breaks", "started").expect_err("it breaks");
        assert_eq!(failure.class, Class::Exit);
        assert!(failure.line().contains("FATAL"), "{failure:?}");
        assert!(
            failure.line().contains("its last lines:\nno database"),
            "{failure:?}"
        );
    }

    #[test]
    fn a_wait_longer_than_its_limit_is_refused_at_load_time() {
        let check =
            |arguments: serde_json::Value| (KIND.check)(&Value::from_stored(&arguments)).len();
        let arguments = |stable: &str| json!({ "name": "a", "state": "started", "ready_within": "5s", "stable_for": stable });
        assert_eq!((check(arguments("5s")), check(arguments("6s"))), (0, 1));
    }
}
