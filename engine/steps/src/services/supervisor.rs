//! Supervisor, through `supervisorctl`.

use std::{collections::BTreeMap, time::Duration};

use runwright_core::{
    kind::{Class, Cx, Failure},
    units::Time,
};

use super::manager::{Answer, End, Managed, Order, State, Status, is_name};
use crate::process::runner::{self, Captured};

/// How long a restart may take; the configuration of the program bounds it before that.
const RESTART: Duration = Duration::from_secs(600);

pub(super) async fn ask(cx: &Cx, service: &Managed) -> Result<Answer, Failure> {
    if !runner::installed(cx, "supervisorctl") {
        return Ok(Answer::NotThere(
            "`supervisorctl` is not installed".to_owned(),
        ));
    }
    if !is_name(&service.name) {
        return Ok(Answer::Unknown);
    }
    let shown = runner::capture(cx, &argv(service, &["status", &service.name])).await?;
    read(service, &shown, cx.host.now())
}

pub(super) async fn tell(
    cx: &Cx,
    service: &Managed,
    order: Order,
    now: &Status,
    within: Duration,
) -> Result<(), Failure> {
    let name = &*service.name;
    let told = match order {
        // One that is being started already answers with an error; it is waited for all the same.
        Order::Start if now.state == State::Starting => return Ok(()),
        Order::Start => supervisorctl(cx, service, &["start", name], within).await?,
        Order::Stop => supervisorctl(cx, service, &["stop", name], within).await?,
        // A stop and a start: broken off in between it would leave a stopped service that nobody asked for.
        Order::Restart if now.state.is_up() => {
            runner::capture_to_the_end(cx, &argv(service, &["restart", name]), RESTART).await?
        }
        Order::Restart => supervisorctl(cx, service, &["start", name], within).await?,
        Order::Reload => supervisorctl(cx, service, &["signal", "HUP", name], within).await?,
    };
    // Exit codes differ between versions and verbs; each refusal is a line `name: ERROR (why)`.
    let refusal = told
        .stdout
        .lines()
        .find_map(|line| Some(line.split_once(": ERROR (")?.1.trim_end_matches(')')));
    let said = match refusal {
        Some(why) => why.to_owned(),
        None if told.exit == 0 => return Ok(()),
        None => last_line(&told),
    };
    Err(Failure::new(
        Class::Exit,
        format!("{order} {service}: {said}"),
    ))
}

pub(super) async fn last_lines(cx: &Cx, service: &Managed) -> Option<String> {
    for stream in ["stderr", "stdout"] {
        let question = ["tail", "-1000", &service.name, stream];
        let Ok(tail) = supervisorctl(cx, service, &question, Duration::from_secs(5)).await else {
            continue;
        };
        let lines: Vec<&str> = tail.stdout.trim().lines().collect();
        if tail.exit == 0 && !lines.is_empty() {
            return Some(lines[lines.len().saturating_sub(5)..].join("\n"));
        }
    }
    None
}

async fn supervisorctl(
    cx: &Cx,
    service: &Managed,
    arguments: &[&str],
    within: Duration,
) -> Result<Captured, Failure> {
    runner::capture_within(cx, &argv(service, arguments), BTreeMap::new(), within).await
}

fn argv<'a>(service: &'a Managed, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut argv = vec!["supervisorctl"];
    if let Some(config) = &service.config {
        argv.extend(["-c", config.as_str()]);
    }
    argv.extend(arguments);
    argv
}

fn read(service: &Managed, shown: &Captured, now: Time) -> Result<Answer, Failure> {
    // `name   STATE   what there is to say`, the name possibly with its group.
    let own = |line: &&str| {
        line.split_whitespace()
            .next()
            .is_some_and(|name| is_same(name, &service.name))
    };
    if let Some(line) = shown.stdout.lines().find(own) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let state = words.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = words.collect();
        if let Some(state_known) = self::state(&state) {
            let rest = rest.join(" ");
            return Ok(Answer::Known(
                name,
                Box::new(status(state_known, &state, &rest, now)),
            ));
        }
        return Err(Failure::internal(format!(
            "look at {service}: Supervisor says `{state}`"
        )));
    }
    if shown.stdout.contains("ERROR (no such ") {
        return Ok(Answer::Unknown);
    }
    let said = last_line(shown);
    let not_there = [
        "no such file",
        "refused connection",
        "No config file",
        "could not find config",
    ];
    if not_there.iter().any(|known| said.contains(known)) && service.config.is_none() {
        return Ok(Answer::NotThere(said));
    }
    Err(Failure::internal(format!("ask supervisor: {said}")).hint(
        "`supervisorctl status` must answer for this user; `config` names its configuration file",
    ))
}

/// Returns whether Supervisor's `name` is the one that was asked for: a program alone in its group leaves that out.
fn is_same(name: &str, asked: &str) -> bool {
    name == asked
        || asked
            .split_once(':')
            .is_some_and(|(group, program)| group == program && name == program)
}

fn status(state: State, word: &str, rest: &str, now: Time) -> Status {
    Status {
        state,
        enabled: None,
        pid: pid(rest),
        since: uptime(rest)
            .map(|seconds| Time::from_milliseconds(now.milliseconds - seconds * 1_000)),
        restarts: None,
        memory: None,
        detail: format!("{word} {rest}").trim_end().to_owned(),
        end: End::Ordered,
        completed: false,
        outdated: false,
        reloads: true,
    }
}

fn state(word: &str) -> Option<State> {
    Some(match word {
        "RUNNING" => State::Started,
        "STOPPED" => State::Stopped,
        // A service has no end of its own: one that ended did so without being asked.
        "EXITED" | "FATAL" => State::Failed,
        "STARTING" | "BACKOFF" => State::Starting,
        "STOPPING" => State::Stopping,
        _ => return None,
    })
}

/// Reads `pid 12, uptime 0:00:05`.
fn pid(rest: &str) -> Option<i64> {
    rest.strip_prefix("pid ")?.split(',').next()?.parse().ok()
}

/// Reads the seconds of `…, uptime 2 days, 1:02:03`.
fn uptime(rest: &str) -> Option<i64> {
    let uptime = rest.split_once("uptime ")?.1;
    let (days, clock) = match uptime.split_once(", ") {
        Some((days, clock)) => (days.split(' ').next()?.parse::<i64>().ok()?, clock),
        None => (0, uptime),
    };
    clock
        .split(':')
        .try_fold(0, |total, part| {
            Some(total * 60 + part.parse::<i64>().ok()?)
        })
        .map(|seconds| days * 86_400 + seconds)
}

fn last_line(shown: &Captured) -> String {
    [&shown.stdout, &shown.stderr]
        .iter()
        .find_map(|stream| {
            stream
                .trim()
                .lines()
                .find(|line| !line.starts_with("For help"))
        })
        .map_or_else(
            || format!("`supervisorctl` ended with exit code {}", shown.exit),
            str::to_owned,
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_of_days_are_read() {
        assert_eq!(uptime("pid 12, uptime 0:00:05"), Some(5));
        assert_eq!(uptime("pid 12, uptime 1 day, 1:00:00"), Some(90_000));
        assert_eq!(uptime("pid 12, uptime 12 days, 0:01:00"), Some(1_036_860));
        assert_eq!(uptime("Not started"), None);
        assert_eq!(pid("pid 12, uptime 0:00:05"), Some(12));
        assert_eq!(
            pid("Exited too quickly (process log may have details)"),
            None
        );
    }
}
