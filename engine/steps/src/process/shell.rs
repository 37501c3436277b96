//! `shell`: runs a script under Bash that stops at the first error. It is undone by nobody.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::Span,
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    outcome::{self, Ran, Wanted},
    program::{Orphaned, Program, Stdio},
};

pub(super) const KIND: Kind = Kind::of::<Shell>("shell");

/// Linux takes no single argument of 128 KiB or more.
const LONGEST_SCRIPT: usize = 128 * 1024 - 1;

/// Runs a script under `bash -euo pipefail`.
///
/// The script is not a template: values reach it by `env`, and it says `"$NAME"`. Everything else is as with
/// `command`: the environment, the streams, how it is ended.
///
/// ```yaml
/// id: largest
/// shell:
///   script: |
///     du -xk "$FOLDER" | sort -rn | head -20
///   env: { FOLDER: /var/log }
/// effect: read
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shell {
    /// The script, as it is: braces in it mean nothing to a playbook.
    #[schemars(length(min = 1), extend("x-literal" = true))]
    script: String,
    /// Further environment variables, which is how values reach the script; they win over the common ones.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// What the script reads from standard input; nothing by default.
    #[serde(default)]
    stdin: String,
    /// The folder it runs in; relative to the run's own, which is the default.
    #[serde(default)]
    #[schemars(with = "String")]
    cwd: Option<Utf8PathBuf>,
    /// The user it runs as, by name or number, with that user's groups, `HOME` and `USER`; needs root.
    #[serde(default)]
    #[schemars(with = "String")]
    user: Option<String>,
    /// The exit codes that are no failure.
    #[serde(default = "outcome::only_zero")]
    #[schemars(length(min = 1), inner(range(min = 0, max = 255)))]
    exits: Vec<i32>,
    /// Whether standard output is JSON, to be read into the result's `json`; at most 4 MiB.
    #[serde(default)]
    json: bool,
    /// Whether the script gets the terminal, as if it was started by hand; nothing of its output is kept then.
    #[serde(default)]
    interactive: bool,
    /// How long the script may take to end when it is asked to.
    #[serde(default = "outcome::grace")]
    grace: Span,
}

impl Step for Shell {
    type Output = Ran;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Change;
    const LOOKS: bool = false;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = outcome::check(arguments);
        if let Some(script) = arguments.get("script").and_then(Value::as_str) {
            if script.trim().is_empty() {
                errors.push(outcome::wrong("script", "it is empty"));
            }
            if script.len() > LONGEST_SCRIPT {
                errors.push(outcome::wrong(
                    "script",
                    "it is longer than 128 KiB; put it into a file and run that with `command`",
                ));
            }
        }
        errors
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes("all")]
    }

    fn describe(&self) -> Description {
        let mut lines = self.script.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim();
        let summary = match lines.count() {
            0 => format!("run the script `{first}`"),
            more => format!(
                "run the script `{first}` and {more} more {}",
                plural(more, "line")
            ),
        };
        let description = Description::new(summary).with("script", &*self.script);
        self.program().details(description)
    }

    async fn look(&self, _: &Cx) -> Result<Look<Ran, ()>, Failure> {
        Ok(Look::Unclear)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Ran, Failure> {
        let wanted = Wanted {
            exits: self.exits.clone(),
            json: self.json,
        };
        outcome::run(cx, self.program(), wanted).await
    }
}

impl Shell {
    fn program(&self) -> Program {
        let argv = ["bash", "-euo", "pipefail", "-c", &self.script];
        Program {
            argv: argv.map(str::to_owned).to_vec(),
            env: self.env.clone(),
            stdio: Stdio::of(self.interactive, &self.stdin),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            grace: self.grace.to_std(),
            orphaned: Orphaned::Ends,
        }
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::Class;
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn run(script: &str) -> Result<Value, Failure> {
        Bench::new()
            .run(KIND, json!({ "script": script }))
            .map(|(result, _)| result)
    }

    #[test]
    fn a_script_stops_at_the_first_error() {
        for script in [
            "false; echo on",
            "echo $unset; echo on",
            "false | true; echo on",
        ] {
            let failure = run(script).expect_err(script);
            assert_eq!(
                (failure.class, &*failure.message),
                (Class::Exit, "run `bash`: it ended with exit code 1")
            );
        }
    }

    #[test]
    fn values_reach_the_script_by_its_environment_alone() {
        let bench = Bench::new();
        let hostile = "$(touch made); `touch made`; {{ x }}";
        let arguments =
            json!({ "script": "printf '%s' \"$NAME\" '{{ name }}'", "env": { "NAME": hostile } });
        let (result, _) = bench.run(KIND, arguments).expect("it succeeds");
        assert_eq!(
            result.get("stdout"),
            Some(&format!("{hostile}{{{{ name }}}}").into())
        );
        assert!(!bench.path("made").exists());
    }

    #[test]
    fn the_summary_names_the_first_line() {
        let bench = Bench::new();
        let summary = |script: &str| bench.describe(KIND, json!({ "script": script })).summary;
        assert_eq!(summary("\n  df -h\n"), "run the script `df -h`");
        assert_eq!(
            summary("df -h\n\ndu\n"),
            "run the script `df -h` and 1 more line"
        );
        assert_eq!(summary("a\nb\nc"), "run the script `a` and 2 more lines");
    }

    #[test]
    fn a_script_that_linux_would_not_take_is_refused_at_load_time() {
        let check =
            |script: &str| (KIND.check)(&Value::from_stored(&json!({ "script": script }))).len();
        let longest = format!(":{}", " ".repeat(LONGEST_SCRIPT - 1));
        assert_eq!((check(&longest), check(" \n")), (0, 1));
        run(&longest).expect("the longest script runs");
        let longer = format!("{longest} ");
        assert_eq!(check(&longer), 1);
        run(&longer).expect_err("one byte more does not");
    }
}
