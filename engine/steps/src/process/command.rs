//! `command`: runs a program. It is undone by nobody: what a program did, only the playbook knows.

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
    quote,
};

pub(super) const KIND: Kind = Kind::of::<Command>("command");

/// Runs a program, without a shell.
///
/// The program gets `PATH`, `HOME`, `USER`, `LANG`, `TZ`, `RUNWRIGHT_STEP` and `env`, and nothing else; no terminal,
/// and an empty standard input unless `stdin` says otherwise. Its output is shown as it comes; the result keeps the
/// first and the last 128 KiB of each stream. When the step is to end early, the program and all it started are asked
/// to end (SIGTERM) and after `grace` made to. What is left of them when the program itself has ended and that still
/// holds its output open is ended too; a program that means to stay must let go of its output.
///
/// ```yaml
/// id: dump
/// command:
///   argv: [pg_dump, --format=custom, --file=/var/backups/app.dump, app]
///   env: { PGHOST: /run/postgresql }
///   user: postgres
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// The program and its arguments, one item each; a program without a `/` is looked up in `PATH`.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    /// Further environment variables; they win over the common ones.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// What the program reads from standard input; nothing by default.
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
    /// Whether the program gets the terminal, as if it was started by hand; nothing of its output is kept then.
    #[serde(default)]
    interactive: bool,
    /// How long the program may take to end when it is asked to.
    #[serde(default = "outcome::grace")]
    grace: Span,
}

impl Step for Command {
    type Output = Ran;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Change;
    const LOOKS: bool = false;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = outcome::check(arguments);
        if let Some(Value::List(argv)) = arguments.get("argv") {
            match argv.first() {
                None => errors.push(outcome::wrong(
                    "argv",
                    "it is empty; its first item is the program",
                )),
                Some(Value::Text(program)) if program.trim().is_empty() => {
                    errors.push(outcome::wrong("argv", "the program is an empty text"));
                }
                // A whole command line in one item is the commonest slip: no program has a space in its bare name.
                Some(Value::Text(program)) if argv.len() == 1 && looks_like_a_line(program) => {
                    errors.push(outcome::wrong(
                        "argv",
                        format!("`{program}` is a whole command line; write each argument as an item of its own"),
                    ));
                }
                _ => {}
            }
        }
        errors
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes("all")]
    }

    fn describe(&self) -> Description {
        let line = quote::line(&self.argv);
        let description = Description::new(format!("run `{line}`")).with("argv", line);
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

impl Command {
    fn program(&self) -> Program {
        Program {
            argv: self.argv.clone(),
            env: self.env.clone(),
            stdio: Stdio::of(self.interactive, &self.stdin),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            grace: self.grace.to_std(),
            orphaned: Orphaned::Ends,
        }
    }
}

fn looks_like_a_line(program: &str) -> bool {
    !program.contains('/') && program.trim().contains(' ')
}

#[cfg(test)]
mod tests {
    use runwright_core::{
        kind::{Class, Looked},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn run(arguments: serde_json::Value) -> Result<Value, Failure> {
        Bench::new().run(KIND, arguments).map(|(result, _)| result)
    }

    fn wrong(arguments: &serde_json::Value) -> Vec<String> {
        (KIND.check)(&Value::from_stored(arguments))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn arguments_reach_the_program_as_they_are() {
        let result = run(json!({ "argv": ["printf", "%s|", "a b", "$HOME", "*", "it's", ""] }))
            .expect("it succeeds");
        assert_eq!(result.get("stdout"), Some(&"a b|$HOME|*|it's||".into()));
        assert_eq!(result.get("exit"), Some(&Value::Int(0)));
        assert_eq!(result.get("json"), None);
    }

    #[test]
    fn the_environment_is_the_common_one_and_what_is_named() {
        let result =
            run(json!({ "argv": ["env"], "env": { "A": "1", "LANG": "C" } })).expect("it succeeds");
        let stdout = result.get("stdout").and_then(Value::as_str).expect("text");
        let mut names: Vec<&str> = stdout
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        names.retain(|name| !["HOME", "USER", "TZ"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["A", "LANG", "PATH", "RUNWRIGHT_STEP"]);
        assert!(
            stdout.contains("\nLANG=C\n") || stdout.starts_with("LANG=C\n"),
            "{stdout}"
        );
        assert!(
            stdout.contains("RUNWRIGHT_STEP=testrun00000/step"),
            "{stdout}"
        );
    }

    #[test]
    fn a_code_outside_exits_is_a_failure_with_the_last_words() {
        let failure = run(json!({ "argv": ["ls", "/no/such/place"] })).expect_err("it fails");
        assert_eq!(failure.class, Class::Exit);
        assert_eq!(failure.message, "run `ls`: it ended with exit code 2");
        assert!(failure.causes[0].contains("/no/such/place"), "{failure:?}");
        let result = run(json!({ "argv": ["ls", "/no/such/place"], "exits": [0, 2] }))
            .expect("2 is allowed");
        assert_eq!(result.get("exit"), Some(&Value::Int(2)));
        let failure = run(json!({ "argv": ["true"], "exits": [1] })).expect_err("0 is not allowed");
        assert_eq!(failure.message, "run `true`: it ended with exit code 0");
    }

    #[test]
    fn a_death_by_signal_names_the_signal() {
        let failure = run(json!({ "argv": ["bash", "-c", "kill -9 $$"], "exits": [0, 137] }))
            .expect_err("it dies");
        assert_eq!(failure.class, Class::Exit);
        assert_eq!(
            failure.message,
            "run `bash`: it was ended by signal 9 (SIGKILL)"
        );
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_missing_program_is_told_from_a_missing_folder() {
        let failure = run(json!({ "argv": ["no-such-program"], "env": { "PATH": "/bin:/sbin" } }))
            .expect_err("missing");
        assert_eq!(
            failure.message,
            "run `no-such-program`: no such program in /bin:/sbin"
        );
        assert_eq!(failure.class, Class::Internal);
        let failure = run(json!({ "argv": ["./gone"] })).expect_err("missing");
        assert_eq!(
            failure.message,
            "run `./gone`: there is no such executable file"
        );
        let failure =
            run(json!({ "argv": ["true"], "cwd": "/no/such/folder" })).expect_err("missing");
        assert_eq!(
            failure.message,
            "run `true` in /no/such/folder: there is no such folder"
        );
    }

    #[test]
    fn a_script_without_its_interpreter_says_so() {
        use std::os::unix::fs::PermissionsExt;
        let bench = Bench::new();
        let script = bench.path("script");
        std::fs::write(&script, "#!/no/such/interpreter\n").expect("written");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .expect("executable");
        let failure = bench
            .run(KIND, json!({ "argv": ["./script"] }))
            .expect_err("no interpreter");
        assert!(
            failure
                .hint
                .as_deref()
                .is_some_and(|hint| hint.contains("interpreter")),
            "{failure:?}"
        );
    }

    #[test]
    fn a_relative_folder_is_the_runs() {
        let bench = Bench::new();
        std::fs::create_dir(bench.path("inner")).expect("a folder");
        let arguments = json!({ "argv": ["pwd"], "cwd": "inner" });
        let (result, undo) = bench.run(KIND, arguments).expect("it succeeds");
        assert_eq!(
            result.get("stdout"),
            Some(&bench.path("inner").as_str().into())
        );
        assert_eq!(undo, None);
    }

    #[test]
    fn json_is_read_and_stays_what_it_is() {
        let text = r#"{"n": 1, "deep": [{"$secret": [{"handle": "input token"}]}]}"#;
        let result = run(json!({ "argv": ["echo", text], "json": true })).expect("it succeeds");
        let json = result.get("json").expect("a result");
        assert_eq!(json.get("n"), Some(&Value::Int(1)));
        assert!(
            json.find(&|value| matches!(value, Value::Secret(_)))
                .is_none(),
            "{json:?}"
        );
        let failure = run(json!({ "argv": ["echo", "{"], "json": true })).expect_err("no JSON");
        assert_eq!(failure.class, Class::Expect);
        assert_eq!(failure.message, "read the output of `echo` as JSON");
    }

    #[test]
    fn json_larger_than_what_is_kept_as_text_is_read_whole() {
        let script = r#"printf '['; seq -s, 1 100000; printf ']'"#;
        let result =
            run(json!({ "argv": ["bash", "-c", script], "json": true })).expect("it succeeds");
        match result.get("json") {
            Some(Value::List(items)) => assert_eq!(items.len(), 100_000),
            other => panic!("{other:?}"),
        }
        assert!(
            result
                .get("stdout")
                .and_then(Value::as_str)
                .expect("text")
                .contains("left out")
        );
        let script = r#"printf '['; seq -s, 1 1000000; printf ']'"#;
        let failure =
            run(json!({ "argv": ["bash", "-c", script], "json": true })).expect_err("too large");
        assert_eq!(
            failure.message,
            "read the output of `bash` as JSON: it is larger than 4 MiB"
        );
    }

    #[test]
    fn another_user_brings_its_groups_and_home() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: run it with sudo"
        );
        let script = "id -un; id -Gn; echo $HOME $USER $0";
        let result =
            run(json!({ "argv": ["bash", "-c", script, "me"], "user": "nobody", "cwd": "/" }))
                .expect("it runs");
        assert_eq!(
            result.get("stdout"),
            Some(&"nobody\nnogroup\n/nonexistent nobody me".into())
        );
        let failure = run(json!({ "argv": ["id"], "user": "no-such-user" }))
            .expect_err("nobody has that name");
        assert_eq!(
            failure.message,
            "run as `no-such-user`: this machine has no such user"
        );
    }

    #[test]
    fn a_program_is_never_run_to_look() {
        let bench = Bench::new();
        let looked = bench
            .look(KIND, json!({ "argv": ["touch", "made"] }))
            .expect("a look");
        assert_eq!(looked, Looked::Unclear);
        assert!(!bench.path("made").exists());
    }

    #[test]
    fn the_description_can_be_pasted_into_a_shell() {
        let arguments = json!({ "argv": ["psql", "-c", "select 'a b'"], "env": { "PGHOST": "/run" }, "user": "postgres" });
        let description = Bench::new().describe(KIND, arguments);
        assert_eq!(description.summary, r#"run `psql -c 'select '\''a b'\'''`"#);
        let names: Vec<&str> = description
            .details
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["argv", "env", "user"]);
    }

    #[test]
    fn wrong_arguments_are_found_at_load_time() {
        for (arguments, expected) in [
            (
                json!({ "argv": [] }),
                "`argv`: it is empty; its first item is the program",
            ),
            (
                json!({ "argv": ["systemctl restart nginx"] }),
                "`argv`: `systemctl restart nginx` is a whole command line; write each argument as an item of its own",
            ),
            (
                json!({ "argv": ["a"], "exits": [] }),
                "`exits`: it is empty; name at least one exit code that is no failure",
            ),
            (
                json!({ "argv": ["a"], "exits": [256] }),
                "`exits`: `256` is no exit code; they go from 0 to 255",
            ),
            (
                json!({ "argv": ["a"], "env": { "A=B": "1" } }),
                "`env`: `A=B` can't be the name of an environment variable",
            ),
            (
                json!({ "argv": ["a"], "interactive": true, "json": true }),
                "`json`: an interactive program writes to the terminal; its output can't be read",
            ),
        ] {
            assert_eq!(wrong(&arguments), [expected]);
        }
        assert_eq!(
            wrong(&json!({ "argv": ["a", "b"], "exits": [0, 1], "env": { "A": "1" } })),
            [""; 0]
        );
    }
}
