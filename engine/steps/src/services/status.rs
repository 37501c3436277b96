//! `service.status`: what a service does. It changes nothing.

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Time},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::manager::{self, Manager, Search, State, Wanted};

pub(super) const KIND: Kind = Kind::of::<ServiceStatus>("service.status");

/// Asks the service managers what a service does.
///
/// A service that is stopped, or that no manager knows, is an answer; the step fails when no manager could be asked, or
/// when two know the name.
///
/// ```yaml
/// id: nginx
/// service.status: { name: nginx }
/// expect:
///   - that: result.state == "started"
///     else: "nginx is {{ result.detail }}"
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ServiceStatus {
    /// The service's name, as its manager knows it; `.service` may be left out.
    name: String,
    /// The manager to ask; by default all that are there: `systemd`, `systemd-user`, `supervisor`.
    #[serde(default)]
    #[schemars(with = "Manager")]
    manager: Option<Manager>,
    /// Supervisor's configuration file, where it is not in a usual place.
    #[serde(default)]
    #[schemars(with = "String")]
    config: Option<Utf8PathBuf>,
}

/// What a service does.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Answered {
    /// Whether a manager knows it.
    exists: bool,
    /// What it does; one that does not exist is `stopped`.
    state: State,
    /// Whether it starts with the machine; null where the manager can't tell.
    enabled: Option<bool>,
    /// The number of its main process; null when there is none.
    pid: Option<i64>,
    /// Since when it has been in its state; null where the manager can't tell.
    since: Option<Time>,
    /// How often its manager restarted it by itself since it was started; null where the manager does not count.
    restarts: Option<i64>,
    /// The memory of all its processes; null where the manager does not count.
    memory: Option<Bytes>,
    /// The manager that knows it; null when none does.
    manager: Option<Manager>,
    /// The state in the manager's own words, or who was asked.
    detail: String,
}

impl Step for ServiceStatus {
    type Output = Answered;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        manager::check(arguments)
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(manager::resource(&self.name))]
    }

    fn describe(&self) -> Description {
        Description::new(format!("ask what the service `{}` does", self.name))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Answered, ()>, Failure> {
        self.answer(cx).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Answered, Failure> {
        self.answer(cx).await
    }
}

impl ServiceStatus {
    async fn answer(&self, cx: &Cx) -> Result<Answered, Failure> {
        let wanted = Wanted {
            name: &self.name,
            manager: self.manager,
            config: self.config.as_ref(),
        };
        Ok(match wanted.search(cx).await? {
            Search::Found(managed, status) => Answered {
                exists: true,
                state: status.state,
                enabled: status.enabled,
                pid: status.pid,
                since: status.since,
                restarts: status.restarts,
                memory: status.memory,
                manager: Some(managed.manager),
                detail: status.detail,
            },
            Search::Nowhere(said) => Answered {
                exists: false,
                state: State::Stopped,
                enabled: None,
                pid: None,
                since: None,
                restarts: None,
                memory: None,
                manager: None,
                detail: said,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        services::testing::{Supervisor, SystemdUser, until},
        testing::Bench,
    };

    fn ask(bench: &Bench, arguments: serde_json::Value) -> Result<Value, Failure> {
        bench.run(KIND, arguments).map(|(result, _)| result)
    }

    fn text(result: &Value, field: &str) -> String {
        result
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn systemd_tells_what_a_service_does() {
        let systemd = SystemdUser::start();
        systemd.unit("runs", "ExecStart=/bin/sleep 600");
        systemd.unit("stands", "ExecStart=/bin/sleep 600");
        systemd.unit("breaks", "ExecStart=/bin/sh -c 'exit 3'");
        systemd.unit(
            "loops",
            "ExecStart=/bin/false\nRestart=always\nRestartSec=600",
        );
        systemd.systemctl(&["start", "runs"]).expect("it starts");
        systemd
            .systemctl(&["start", "breaks"])
            .expect("a simple service is not waited for");
        systemd
            .systemctl(&["start", "loops"])
            .expect("a simple service is not waited for");
        until("it broke", || {
            systemd.systemctl(&["is-failed", "breaks"]).is_ok()
        });

        let runs = ask(&systemd.bench, json!({ "name": "runs" })).expect("an answer");
        assert_eq!(runs.get("exists"), Some(&Value::Bool(true)));
        assert_eq!(
            (&*text(&runs, "state"), &*text(&runs, "manager")),
            ("started", "systemd-user")
        );
        assert_eq!(text(&runs, "detail"), "active (running)");
        assert!(
            matches!(runs.get("pid"), Some(Value::Int(pid)) if *pid > 1),
            "{runs:?}"
        );
        assert_eq!(runs.get("restarts"), Some(&Value::Int(0)));
        let now = jiff::Timestamp::now().as_millisecond();
        assert!(
            matches!(runs.get("since"), Some(Value::Time(at)) if (now - 60_000..=now).contains(&at.milliseconds)),
            "{runs:?}"
        );

        let stands = ask(&systemd.bench, json!({ "name": "stands.service" })).expect("an answer");
        assert_eq!(text(&stands, "state"), "stopped");
        assert_eq!(stands.get("pid"), Some(&Value::Null));

        let breaks = ask(&systemd.bench, json!({ "name": "breaks" })).expect("an answer");
        assert_eq!(text(&breaks, "state"), "failed");
        assert_eq!(
            text(&breaks, "detail"),
            "failed (failed), exit-code: exit code 3"
        );

        until("it waits for its restart", || {
            let loops = ask(&systemd.bench, json!({ "name": "loops" })).expect("an answer");
            text(&loops, "detail").contains("auto-restart") && text(&loops, "state") == "starting"
        });
    }

    #[test]
    fn a_service_that_nobody_knows_is_an_answer() {
        let systemd = SystemdUser::start();
        let result = ask(&systemd.bench, json!({ "name": "nobody" })).expect("an answer");
        assert_eq!(result.get("exists"), Some(&Value::Bool(false)));
        assert_eq!(text(&result, "state"), "stopped");
        assert_eq!(result.get("manager"), Some(&Value::Null));
        let detail = text(&result, "detail");
        assert!(detail.contains("systemd-user does not know it"), "{detail}");
        assert!(detail.contains("systemd is not there ("), "{detail}");
    }

    #[test]
    fn without_any_manager_there_is_no_answer() {
        let mut bench = Bench::new();
        bench.set_env("PATH", "/nowhere");
        let failure = ask(&bench, json!({ "name": "nginx" })).expect_err("nobody to ask");
        assert!(
            failure.message.contains("no service manager answers"),
            "{failure}"
        );
        assert!(
            failure.message.contains("`supervisorctl` is not installed"),
            "{failure}"
        );
    }

    #[test]
    fn a_supervisor_that_was_named_must_answer() {
        let bench = Bench::new();
        let config = bench.path("supervisord.conf");
        let text = format!(
            "[supervisorctl]\nserverurl=unix://{}\n",
            bench.path("s.sock")
        );
        std::fs::write(&config, text).expect("a configuration");
        let arguments = json!({ "name": "app", "config": config.as_str() });
        let failure = ask(&bench, arguments).expect_err("nobody answers");
        assert!(failure.message.starts_with("ask supervisor: "), "{failure}");
        assert!(failure.message.contains("no such file"), "{failure}");
    }

    #[test]
    fn supervisor_tells_what_a_service_does() {
        let mut bench = Bench::new();
        let supervisor = Supervisor::start(
            &bench,
            "[program:runs]\ncommand=/bin/sleep 600\nstartsecs=0\n\
             [program:stands]\ncommand=/bin/sleep 600\nautostart=false\n\
             [program:breaks]\ncommand=/bin/false\nstartretries=0\n\
             [program:many]\ncommand=/bin/sleep 600\nstartsecs=0\nnumprocs=2\nprocess_name=%(process_num)s",
        );
        supervisor.make_usual(&mut bench);
        until("it broke", || {
            supervisor
                .ctl(&["status", "breaks"])
                .is_err_and(|text| text.contains("FATAL"))
        });
        for (name, state) in [
            ("runs", "started"),
            ("runs:runs", "started"),
            ("stands", "stopped"),
            ("breaks", "failed"),
            ("many:1", "started"),
        ] {
            let result = ask(&bench, json!({ "name": name })).expect("an answer");
            assert_eq!(
                (&*text(&result, "state"), &*text(&result, "manager")),
                (state, "supervisor"),
                "{name}"
            );
        }
        let runs = ask(&bench, json!({ "name": "runs" })).expect("an answer");
        let Some(Value::Int(pid)) = runs.get("pid") else {
            panic!("{runs:?}")
        };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("it runs");
        assert_eq!(name, "sleep\n");
        let nobody = ask(&bench, json!({ "name": "nobody" })).expect("an answer");
        assert_eq!(nobody.get("exists"), Some(&Value::Bool(false)));
    }

    #[test]
    fn a_name_that_two_managers_know_is_refused() {
        let mut systemd = SystemdUser::start();
        systemd.unit("app", "ExecStart=/bin/sleep 600");
        let supervisor = Supervisor::start(
            &systemd.bench,
            "[program:app]\ncommand=/bin/sleep 600\nstartsecs=0",
        );
        supervisor.make_usual(&mut systemd.bench);
        let failure = ask(&systemd.bench, json!({ "name": "app" })).expect_err("two know it");
        assert_eq!(
            failure.message,
            "find the service `app`: it is known to systemd-user and to supervisor"
        );
        let hint = failure.hint.expect("a way out");
        assert_eq!(
            hint,
            "say which one is meant: `manager: systemd-user` or `manager: supervisor`"
        );
        for (manager, state) in [("systemd-user", "stopped"), ("supervisor", "started")] {
            let result = ask(&systemd.bench, json!({ "name": "app", "manager": manager }))
                .expect("an answer");
            assert_eq!(text(&result, "state"), state);
        }
    }

    #[test]
    fn patterns_are_refused_at_load_time() {
        let check =
            |arguments: serde_json::Value| (KIND.check)(&Value::from_stored(&arguments)).len();
        for name in ["nginx", "nginx.service", "app@1.service", "web:00"] {
            assert_eq!(check(json!({ "name": name })), 0, "{name}");
        }
        for name in ["", "all", "ng*", "web:", "--help", "a b", "/etc/passwd"] {
            assert_eq!(check(json!({ "name": name })), 1, "{name}");
        }
        assert_eq!(
            check(json!({ "name": "a", "manager": "systemd", "config": "/c" })),
            1
        );
    }
}
