//! systemd, of the system or of a user, through `systemctl show` and its verbs: named properties, no text for people.

use std::{collections::BTreeMap, path::Path, time::Duration};

use runwright_core::{
    kind::{Class, Cx, Failure},
    units::{Bytes, Time},
};
use rustix::time::{ClockId, clock_gettime};

use super::manager::{Answer, End, Managed, Manager, Order, State, Status};
use crate::process::runner::{self, Captured};

const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,UnitFileState,Type,MainPID,NRestarts,\
     MemoryCurrent,Result,ExecMainCode,ExecMainStatus,ExecMainExitTimestampMonotonic,ActiveExitTimestampMonotonic,\
     StateChangeTimestampMonotonic,NeedDaemonReload,CanReload";

/// How long systemd may take to answer a question.
const ANSWER: Duration = Duration::from_secs(30);

pub(super) async fn ask(cx: &Cx, service: &Managed) -> Result<Answer, Failure> {
    if !runner::installed(cx, "systemctl") {
        return Ok(Answer::NotThere("`systemctl` is not installed".to_owned()));
    }
    if service.manager == Manager::SystemdUser && runtime_dir(cx).is_none() {
        return Ok(Answer::NotThere(
            "this user has no runtime folder, so nobody started a user manager".to_owned(),
        ));
    }
    let shown = systemctl(
        cx,
        service.manager,
        &["show", PROPERTIES, "--", &service.name],
        ANSWER,
    )
    .await?;
    if shown.exit == 0 {
        return Ok(read(&shown.stdout, cx.host.now()));
    }
    // A refused name and a manager that is not there look the same: ask for something that every manager knows.
    let itself = systemctl(cx, service.manager, &["show", "--property=Version"], ANSWER).await?;
    let said = last_line(&shown);
    if itself.exit == 0 {
        return Err(Failure::internal(format!("look at {service}: {said}")));
    }
    if ["ermission denied", "ccess denied", "not permitted"]
        .iter()
        .any(|no| said.contains(no))
    {
        return Err(Failure::internal(format!(
            "ask {}: {said}",
            service.manager
        )));
    }
    Ok(Answer::NotThere(said))
}

pub(super) async fn tell(
    cx: &Cx,
    service: &Managed,
    order: Order,
    now: &Status,
    within: Duration,
) -> Result<(), Failure> {
    if now.outdated && order != Order::Stop {
        obeyed(
            service,
            order,
            &systemctl(cx, service.manager, &["daemon-reload"], ANSWER).await?,
        )?;
    }
    if now.state == State::Failed && order != Order::Stop {
        // Else a unit that was started too often refuses to be started once more.
        let reset = systemctl(
            cx,
            service.manager,
            &["reset-failed", "--", &service.name],
            ANSWER,
        )
        .await?;
        obeyed(service, order, &reset)?;
    }
    let verb = order.to_string();
    let told = systemctl(cx, service.manager, &[&verb, "--", &service.name], within).await?;
    obeyed(service, order, &told)
}

pub(super) async fn last_lines(cx: &Cx, service: &Managed) -> Option<String> {
    let mut argv = vec![
        "journalctl",
        "--quiet",
        "--no-pager",
        "--lines=5",
        "--output=cat",
    ];
    // The journal of a user's service is found by another field.
    argv.push(match service.manager {
        Manager::SystemdUser => "--user-unit",
        _ => "--unit",
    });
    argv.push(&service.name);
    let journal = runner::capture_within(cx, &argv, BTreeMap::new(), Duration::from_secs(5))
        .await
        .ok()?;
    let lines = journal.stdout.trim();
    (journal.exit == 0 && !lines.is_empty()).then(|| lines.to_owned())
}

async fn systemctl(
    cx: &Cx,
    manager: Manager,
    arguments: &[&str],
    within: Duration,
) -> Result<Captured, Failure> {
    let mut argv = vec!["systemctl", "--no-ask-password", "--no-pager"];
    let mut env = BTreeMap::new();
    if manager == Manager::SystemdUser {
        argv.push("--user");
        env.extend(runtime_dir(cx).map(|folder| ("XDG_RUNTIME_DIR".to_owned(), folder)));
    }
    argv.extend(arguments);
    runner::capture_within(cx, &argv, env, within).await
}

/// Returns where the user manager's socket lies. A run keeps no session variables, so the usual place is looked at.
fn runtime_dir(cx: &Cx) -> Option<String> {
    if let Some(folder) = cx.children.env.get("XDG_RUNTIME_DIR") {
        return Some(folder.clone());
    }
    let folder = format!("/run/user/{}", rustix::process::getuid().as_raw());
    Path::new(&folder)
        .join("systemd")
        .exists()
        .then_some(folder)
}

fn obeyed(service: &Managed, order: Order, told: &Captured) -> Result<(), Failure> {
    if told.exit == 0 {
        return Ok(());
    }
    let said = told.stderr.trim();
    let mut failure = Failure::new(
        Class::Exit,
        format!(
            "{order} {service}: `systemctl` ended with exit code {}",
            told.exit
        ),
    );
    if !said.is_empty() {
        failure.causes.push(said.to_owned());
    }
    if said.contains("nteractive authentication required") || said.contains("ccess denied") {
        failure = failure.hint("this user may not do that: start the run as root");
    }
    Err(failure)
}

fn last_line(shown: &Captured) -> String {
    let line = shown.stderr.trim().lines().last().unwrap_or_default();
    if line.is_empty() {
        format!("`systemctl` ended with exit code {}", shown.exit)
    } else {
        line.to_owned()
    }
}

/// Reads what `systemctl show` prints: `Name=value`, one a line.
fn read(shown: &str, now: Time) -> Answer {
    let properties: BTreeMap<&str, &str> = shown
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let text = |name: &str| properties.get(name).copied().unwrap_or_default();
    // Numbers that are not known are `[not set]` or all ones.
    let number = |name: &str| {
        text(name)
            .parse::<u64>()
            .ok()
            .filter(|number| *number != u64::MAX)
    };
    let (active, load, kind) = (text("ActiveState"), text("LoadState"), text("Type"));
    let state = state(active);
    if load == "not-found" && state == State::Stopped {
        return Answer::Unknown;
    }
    let exited = number("ExecMainExitTimestampMonotonic").unwrap_or(0);
    let left = number("ActiveExitTimestampMonotonic").unwrap_or(0);
    let stopped = state == State::Stopped;
    let id = text("Id");
    Answer::Known(
        id.strip_suffix(".service").unwrap_or(id).to_owned(),
        Box::new(Status {
            state,
            enabled: enabled(text("UnitFileState")),
            pid: number("MainPID")
                .filter(|pid| *pid != 0)
                .and_then(|pid| i64::try_from(pid).ok()),
            since: number("StateChangeTimestampMonotonic")
                .filter(|at| *at != 0)
                .map(|at| on_the_wall(at, now)),
            restarts: number("NRestarts").and_then(|restarts| i64::try_from(restarts).ok()),
            memory: number("MemoryCurrent").map(Bytes),
            detail: detail(active, text("SubState"), load, &properties),
            end: end(kind, exited, left),
            completed: stopped && kind == "oneshot" && text("Result") == "success",
            outdated: text("NeedDaemonReload") == "yes",
            reloads: text("CanReload") == "yes",
        }),
    )
}

fn state(active: &str) -> State {
    match active {
        "active" | "reloading" | "refreshing" => State::Started,
        "activating" => State::Starting,
        "deactivating" => State::Stopping,
        "failed" => State::Failed,
        _ => State::Stopped,
    }
}

/// Returns how a stopped unit came to be so, by when its process ended and when it left the active state.
fn end(kind: &str, exited: u64, left: u64) -> End {
    match left {
        // A stopped unit that nothing wants is forgotten, and read from its file when it is asked for.
        0 => End::Unknown,
        // A task ends long before what it set up is stopped.
        _ if kind == "oneshot" => End::Ordered,
        // Who is stopped leaves the active state first and then ends; who ends leaves it because of that.
        _ if exited != 0 && exited <= left => End::Own,
        _ => End::Ordered,
    }
}

/// A unit that can't be enabled (static, generated) is neither enabled nor not.
fn enabled(unit_file: &str) -> Option<bool> {
    match unit_file {
        "enabled" | "enabled-runtime" => Some(true),
        "disabled" | "masked" | "masked-runtime" => Some(false),
        _ => None,
    }
}

fn detail(active: &str, sub: &str, load: &str, properties: &BTreeMap<&str, &str>) -> String {
    let text = |name: &str| properties.get(name).copied().unwrap_or_default();
    let mut detail = format!("{active} ({sub})");
    let result = text("Result");
    if !matches!(result, "" | "success") {
        let status = text("ExecMainStatus");
        detail.push_str(&match text("ExecMainCode") {
            "1" => format!(", {result}: exit code {status}"),
            "2" | "3" => format!(", {result}: signal {status}"),
            _ => format!(", {result}"),
        });
    }
    if load != "loaded" {
        detail.push_str(&format!(", its unit file is {load}"));
    }
    detail
}

/// Returns the time of an instant on the monotonic clock: systemd writes wall times in a form of the user's locale.
fn on_the_wall(microseconds: u64, now: Time) -> Time {
    let clock = clock_gettime(ClockId::Monotonic);
    let clock = clock.tv_sec * 1_000 + clock.tv_nsec / 1_000_000;
    let at = i64::try_from(microseconds / 1_000).unwrap_or(clock);
    Time::from_milliseconds(now.milliseconds - (clock - at))
}
