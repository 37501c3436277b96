//! What `command` and `shell` have in common: their checks, their result, and what counts as failed.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use nix::sys::signal::Signal;
use runwright_core::{
    kind::{Class, Cx, Failure},
    units::Span,
    value::{ArgumentError, Fields, Value},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    kept::Kept,
    program::Program,
    runner::{self, KEPT, Limits},
};

/// The most of JSON that is read from a program, in bytes.
const LARGEST_JSON: usize = 4 * 1024 * 1024;

/// How many of the last lines on standard error a failure shows.
const LAST_LINES: usize = 10;

/// What a program that ran to its end leaves.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Ran {
    /// The exit code.
    exit: i32,
    /// Standard output without the line ends at its end; of more than 256 KiB the first and the last 128 KiB, with a
    /// line between them that says how many bytes were left out.
    stdout: String,
    /// Standard error, likewise.
    stderr: String,
    /// With `json: true`, what standard output says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Json")]
    json: Option<Value>,
}

/// What a program must give to count as good.
pub(super) struct Wanted {
    pub(super) exits: Vec<i32>,
    pub(super) json: bool,
}

pub(super) fn only_zero() -> Vec<i32> {
    vec![0]
}

pub(super) fn grace() -> Span {
    Span::from_seconds(5)
}

/// Returns what is wrong with the arguments that both kinds take.
pub(super) fn check(arguments: &Value) -> Vec<ArgumentError> {
    let mut errors = Vec::new();
    let is = |name: &str| arguments.get(name) == Some(&Value::Bool(true));
    if let Some(Value::Map(env)) = arguments.get("env") {
        for name in env
            .keys()
            .filter(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            errors.push(wrong(
                "env",
                format!("`{name}` can't be the name of an environment variable"),
            ));
        }
        if env.contains_key("RUNWRIGHT_STEP") {
            errors.push(wrong("env", "`RUNWRIGHT_STEP` is set by the run itself"));
        }
    }
    if let Some(Value::List(exits)) = arguments.get("exits") {
        if exits.is_empty() {
            errors.push(wrong(
                "exits",
                "it is empty; name at least one exit code that is no failure",
            ));
        }
        for exit in exits.iter() {
            if let Value::Int(code) = exit
                && !(0..=255).contains(code)
            {
                errors.push(wrong(
                    "exits",
                    format!("`{code}` is no exit code; they go from 0 to 255"),
                ));
            }
        }
    }
    if is("interactive") && is("json") {
        errors.push(wrong(
            "json",
            "an interactive program writes to the terminal; its output can't be read",
        ));
    }
    if is("interactive")
        && arguments
            .get("stdin")
            .is_some_and(|stdin| stdin.as_str() != Some(""))
    {
        errors.push(wrong(
            "stdin",
            "an interactive program reads from the terminal",
        ));
    }
    errors
}

pub(super) fn wrong(argument: &str, message: impl Into<String>) -> ArgumentError {
    ArgumentError {
        path: vec![argument.to_owned()],
        message: message.into(),
    }
}

/// Runs `program` and judges how it ended.
pub(super) async fn run(cx: &Cx, program: Program, wanted: Wanted) -> Result<Ran, Failure> {
    let name = program.name().to_owned();
    let limits = Limits {
        // The first half is what JSON is read from.
        stdout: if wanted.json { 2 * LARGEST_JSON } else { KEPT },
        shown: true,
        within: None,
        heeds_cancel: true,
    };
    let finished = runner::run(cx, program, limits).await?;
    let stderr = finished.stderr.text();
    let exit = match finished.status.code() {
        Some(code) if wanted.exits.contains(&code) => code,
        _ => return Err(ended(&name, finished.status, &stderr)),
    };
    let (stdout, json) = if wanted.json {
        let (stdout, json) = read_json(&name, finished.stdout)?;
        (stdout, Some(json))
    } else {
        (finished.stdout.text(), None)
    };
    Ok(Ran {
        exit,
        stdout: without_line_ends(stdout),
        stderr: without_line_ends(stderr),
        json,
    })
}

/// Returns the failure of a program that ended with `status`.
pub(super) fn ended(name: &str, status: ExitStatus, stderr: &str) -> Failure {
    let message = match (status.code(), status.signal()) {
        (Some(code), _) => format!("run `{name}`: it ended with exit code {code}"),
        (None, Some(signal)) => format!("run `{name}`: it was ended by {}", signal_name(signal)),
        (None, None) => format!("run `{name}`: it ended in an unknown way ({status})"),
    };
    let mut failure = with_last_lines(Failure::new(Class::Exit, message), stderr);
    if status.signal() == Some(Signal::SIGKILL as i32) {
        failure = failure
            .hint("somebody killed it; when memory was short that was the kernel: see `dmesg`");
    }
    failure
}

/// Adds the last lines of standard error as a cause.
pub(super) fn with_last_lines(mut failure: Failure, stderr: &str) -> Failure {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if !last.is_empty() {
        failure.causes.push(last.join("\n"));
    }
    failure
}

fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => format!("signal {signal} ({known})"),
        Err(_) => format!("signal {signal}"),
    }
}

fn read_json(name: &str, stdout: Kept) -> Result<(String, Value), Failure> {
    let failure = |message: &str| {
        Failure::new(
            Class::Expect,
            format!("read the output of `{name}` as JSON{message}"),
        )
    };
    if stdout.total() > LARGEST_JSON as u64 {
        return Err(
            failure(": it is larger than 4 MiB").hint("let the program, or `jq`, make it smaller")
        );
    }
    let text = stdout.text();
    let json: Json = serde_json::from_str(&text).map_err(|error| failure("").because(&error))?;
    let mut short = Kept::new(KEPT);
    short.push(text.as_bytes());
    Ok((short.text(), plain(json)))
}

/// Returns foreign JSON as a value: what looks like one of our stored forms (`{"$secret": ...}`) stays a map.
fn plain(json: Json) -> Value {
    match json {
        Json::Array(items) => Value::list(items.into_iter().map(plain).collect()),
        Json::Object(map) => Value::map(
            map.into_iter()
                .map(|(name, field)| (name, plain(field)))
                .collect::<Fields>(),
        ),
        scalar => Value::from_stored(&scalar),
    }
}

fn without_line_ends(mut text: String) -> String {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    text
}
