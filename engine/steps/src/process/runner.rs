//! Runs a program to its end: streams its output, keeps a bounded part of it, and ends it when the step is to end.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    process::ExitStatus,
    time::Duration,
};

use runwright_core::kind::{Class, Cx, Failure};

use super::{
    foreground::Turn,
    kept::Kept,
    outcome::{ended, with_last_lines},
    program::{self, Orphaned, Program, Stdio},
    running::{Running, STUCK, Why},
};

/// How much of each stream is kept, in bytes.
pub(super) const KEPT: usize = 256 * 1024;

/// How long a tool of ours may take to answer.
const TOOL: Duration = Duration::from_secs(30);

/// How a program is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many bytes of standard output are kept.
    pub(super) stdout: usize,
    /// Whether the output is shown to people as it comes.
    pub(super) shown: bool,
    /// How long it may take.
    pub(super) within: Option<Duration>,
    /// Whether it is ended when the step is to end.
    pub(super) heeds_cancel: bool,
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: Kept,
    pub(super) stderr: Kept,
}

/// What a tool of ours answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// The exit code.
    pub(crate) exit: i32,
    /// Standard output, at most 256 KiB.
    pub(crate) stdout: String,
    /// Standard error, at most 256 KiB.
    pub(crate) stderr: String,
}

/// Runs a short tool and returns what it answered, whatever its exit code; its output is not shown.
///
/// Fails when it can't be started, ends by a signal, takes longer than 30 s, or the step is to end.
pub(crate) async fn capture(cx: &Cx, argv: &[&str]) -> Result<Captured, Failure> {
    capture_within(cx, argv, BTreeMap::new(), TOOL).await
}

/// As [`capture`], with further environment variables and another limit of time.
pub(crate) async fn capture_within(
    cx: &Cx,
    argv: &[&str],
    env: BTreeMap<String, String>,
    within: Duration,
) -> Result<Captured, Failure> {
    answer(cx, argv, env, within, Heed::Cancel).await
}

/// As [`capture_within`], for a tool that would leave things half done: it goes on when the step is to end.
pub(crate) async fn capture_to_the_end(
    cx: &Cx,
    argv: &[&str],
    within: Duration,
) -> Result<Captured, Failure> {
    answer(cx, argv, BTreeMap::new(), within, Heed::Nothing).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heed {
    Cancel,
    Nothing,
}

async fn answer(
    cx: &Cx,
    argv: &[&str],
    mut env: BTreeMap<String, String>,
    within: Duration,
    heed: Heed,
) -> Result<Captured, Failure> {
    env.entry("LC_ALL".to_owned())
        .or_insert_with(|| "C.UTF-8".to_owned());
    let program = Program {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env,
        stdio: Stdio::Piped(String::new()),
        cwd: None,
        user: None,
        grace: Duration::from_secs(1),
        orphaned: match heed {
            Heed::Cancel => Orphaned::Ends,
            Heed::Nothing => Orphaned::GoesOn,
        },
    };
    let name = program.name().to_owned();
    let limits = Limits {
        stdout: KEPT,
        shown: false,
        within: Some(within),
        heeds_cancel: heed == Heed::Cancel,
    };
    let finished = run(cx, program, limits).await?;
    let stderr = finished.stderr.text();
    match finished.status.code() {
        Some(exit) => Ok(Captured {
            exit,
            stdout: finished.stdout.text(),
            stderr,
        }),
        None => Err(ended(&name, finished.status, &stderr)),
    }
}

/// Returns whether the step's environment knows the program `name`.
pub(crate) fn installed(cx: &Cx, name: &str) -> bool {
    let path = cx.children.env.get("PATH").map_or("", String::as_str);
    program::find(name, path, &cx.children.cwd).is_some()
}

/// Runs `program` to its end.
pub(super) async fn run(cx: &Cx, program: Program, limits: Limits) -> Result<Finished, Failure> {
    let cx = cx.clone();
    tokio::task::spawn_blocking(move || run_blocking(&cx, &program, limits))
        .await
        .map_err(|error| Failure::internal("wait for the program").because(&error))?
}

fn run_blocking(cx: &Cx, program: &Program, limits: Limits) -> Result<Finished, Failure> {
    let name = program.name();
    if program.stdio == Stdio::Terminal && !io::stdin().is_terminal() {
        return Err(Failure::refused(format!(
            "run `{name}` interactively: standard input is no terminal"
        ))
        .hint("start the run on a terminal, or leave `interactive` out"));
    }
    let turn = match program.stdio {
        Stdio::Terminal => Some(Turn::wait(&cx.host).ok_or_else(|| cancelled(name))?),
        Stdio::Piped(_) => None,
    };
    let mut running = Running::new(program, limits, program.start(cx)?, turn);
    let why = running.run(cx).map_err(|error| {
        Failure::internal(format!("read the output of `{name}`")).because(&error)
    })?;
    let status = running
        .reap()
        .map_err(|error| Failure::internal(format!("learn how `{name}` ended")).because(&error))?
        .ok_or_else(|| stuck(name))?;
    let (stdout, stderr) = running.kept();
    let failure = match why {
        None | Some(Why::Lingering) => {
            return Ok(Finished {
                status,
                stdout,
                stderr,
            });
        }
        Some(Why::Cancelled) => cancelled(name),
        Some(Why::TimedOut) => {
            let seconds = limits.within.unwrap_or_default().as_secs_f32();
            Failure::new(
                Class::Timeout,
                format!("run `{name}`: it took longer than {seconds} s"),
            )
        }
    };
    Err(with_last_lines(failure, &stderr.text()))
}

fn cancelled(name: &str) -> Failure {
    Failure::new(
        Class::Cancelled,
        format!("run `{name}`: the step was to end, so it was ended with all it had started"),
    )
}

fn stuck(name: &str) -> Failure {
    let seconds = STUCK.as_secs();
    Failure::internal(format!("end `{name}`: it was killed and did not go within {seconds} s"))
        .hint("it waits inside the kernel, often for a disk or a network file system; see `ps -o pid,stat,wchan`")
}

#[cfg(test)]
mod tests {
    use std::{
        fs, thread,
        time::{Duration, Instant},
    };

    use runwright_core::kind::{Class, Failure, Stream};
    use serde_json::json;

    use crate::testing::{Bench, kind};

    /// Runs `script` under Bash and returns its result.
    fn shell(bench: &Bench, script: &str) -> Result<runwright_core::value::Value, Failure> {
        bench
            .run(kind("shell"), json!({ "script": script }))
            .map(|(result, _)| result)
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(
                Instant::now() < deadline,
                "{what} did not come true within 30 s"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns whether the process whose number is in `file` is there and no zombie.
    fn alive(bench: &Bench, file: &str) -> bool {
        let pid = fs::read_to_string(bench.path(file)).expect("a number was written");
        fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .ok()
            .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')))
            .is_some_and(|zombie| !zombie)
    }

    fn is_written(bench: &Bench, file: &str) -> bool {
        fs::read_to_string(bench.path(file)).is_ok_and(|text| text.ends_with('\n'))
    }

    /// Cancels as soon as `file` is written, and returns the failure and how long the end took.
    fn cancelled(script: &str, grace: &str, file: &str) -> (Bench, Failure, Duration) {
        let bench = Bench::new();
        let arguments = json!({ "script": script, "grace": grace });
        let (failure, took) = thread::scope(|scope| {
            let step = scope.spawn(|| bench.run(kind("shell"), arguments).map(|_| ()));
            until("the script's start", || is_written(&bench, file));
            let asked = Instant::now();
            bench.cancel();
            let failure = step
                .join()
                .expect("no panic")
                .expect_err("it was cancelled");
            (failure, asked.elapsed())
        });
        (bench, failure, took)
    }

    #[test]
    fn output_passes_through_whole_and_is_kept_in_part() {
        let bench = Bench::new();
        let result = shell(&bench, "seq 1 100000; echo oops >&2").expect("it succeeds");
        let all: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(bench.output(Stream::Stdout), all);
        assert_eq!(bench.output(Stream::Stderr), "oops\n");
        let kept = result
            .get("stdout")
            .and_then(|text| text.as_str())
            .expect("text");
        assert!(kept.starts_with("1\n2\n") && kept.ends_with("\n100000"));
        let left_out = all.len() - 256 * 1024;
        assert!(kept.contains(&format!("\n[... {left_out} bytes left out ...]\n")));
        assert!(kept.len() < 256 * 1024 + 100, "{}", kept.len());
    }

    #[test]
    fn a_large_output_passes_quickly() {
        let bench = Bench::new();
        let begun = Instant::now();
        shell(&bench, "head -c 50000000 /dev/zero").expect("it succeeds");
        // Far above what it takes also on a busy machine, far below what reading it by bytes would take.
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(bench.output(Stream::Stdout).len(), 50_000_000);
    }

    #[test]
    fn input_larger_than_a_pipe_comes_through() {
        let bench = Bench::new();
        let input = "0123456789".repeat(100_000);
        let arguments = json!({ "argv": ["wc", "-c"], "stdin": input });
        let (result, _) = bench.run(kind("command"), arguments).expect("it succeeds");
        assert_eq!(result.get("stdout"), Some(&"1000000".into()));
        let arguments = json!({ "argv": ["true"], "stdin": input });
        bench
            .run(kind("command"), arguments)
            .expect("a program need not read its input");
    }

    #[test]
    fn without_input_a_program_reads_nothing() {
        let bench = Bench::new();
        let result = shell(&bench, "readlink /proc/self/fd/0; cat").expect("it ends");
        assert_eq!(result.get("stdout"), Some(&"/dev/null".into()));
    }

    #[test]
    fn a_cancelled_program_ends_with_all_it_started() {
        let script = "sleep 600 & echo $! >child; echo ready; wait";
        let (bench, failure, took) = cancelled(script, "60s", "child");
        assert_eq!(failure.class, Class::Cancelled);
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(!alive(&bench, "child"));
    }

    #[test]
    fn who_does_not_hear_is_killed_after_the_grace() {
        let script = "trap '' TERM; bash -c 'trap \"\" TERM; echo $$ >child; while :; do read -t 1 <> <(:) || :; done'";
        let (bench, failure, took) = cancelled(script, "300ms", "child");
        assert_eq!(failure.class, Class::Cancelled);
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(!alive(&bench, "child"));
    }

    #[test]
    fn who_cleans_up_within_the_grace_may() {
        let script =
            "trap 'echo bye >cleaned; exit 1' TERM; echo on >ready; while :; do sleep 0.05; done";
        let (bench, _, _) = cancelled(script, "60s", "ready");
        assert_eq!(
            fs::read_to_string(bench.path("cleaned")).expect("it cleaned up"),
            "bye\n"
        );
    }

    #[test]
    fn a_stopped_program_can_be_cancelled() {
        let (_, failure, took) = cancelled("echo $$ >pid; kill -STOP $$", "60s", "pid");
        assert_eq!(failure.class, Class::Cancelled);
        assert!(took < Duration::from_secs(30), "{took:?}");
    }

    #[test]
    fn a_grandchild_that_holds_the_output_does_not_hang_the_step() {
        let bench = Bench::new();
        let begun = Instant::now();
        let result = shell(&bench, "sleep 600 & echo $! >child; echo done").expect("it succeeds");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(result.get("stdout"), Some(&"done".into()));
        assert!(!alive(&bench, "child"));
    }

    #[test]
    fn a_grandchild_that_lets_go_of_the_output_stays() {
        let bench = Bench::new();
        shell(&bench, "sleep 600 >/dev/null 2>&1 & echo $! >child").expect("it succeeds");
        assert!(alive(&bench, "child"));
        let pid = fs::read_to_string(bench.path("child")).expect("a number");
        shell(&bench, &format!("kill -9 {pid}")).expect("it is ended");
    }

    #[test]
    fn a_tool_that_takes_too_long_is_ended() {
        let bench = Bench::new();
        let failure = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(super::capture_within(
                bench.cx(),
                &["bash", "-c", "echo $$ >child; sleep 600"],
                Default::default(),
                Duration::from_millis(300),
            ))
            .expect_err("it takes too long");
        assert_eq!(failure.class, Class::Timeout);
        assert_eq!(failure.message, "run `bash`: it took longer than 0.3 s");
        assert!(!alive(&bench, "child"));
        assert_eq!(bench.output(Stream::Stdout), "");
    }

    #[test]
    fn a_program_has_no_terminal_and_its_own_group() {
        let bench = Bench::new();
        let script = "if : 2>/dev/null </dev/tty; then echo a terminal; fi\n\
             [ $(ps -o pgid= -p $$) = $$ ] && echo own group";
        let result = shell(&bench, script).expect("it succeeds");
        assert_eq!(result.get("stdout"), Some(&"own group".into()));
    }

    /// Needs no terminal to be run, and says what it met; the next test gives it one.
    #[test]
    fn an_interactive_program_gets_the_terminal_and_nothing_else() {
        let bench = Bench::new();
        let script = "[ -t 0 ] && [ -t 1 ] && echo \"terminal for step $RUNWRIGHT_STEP\" >/dev/tty";
        let arguments = json!({ "script": script, "interactive": true });
        let ran = bench.run(kind("shell"), arguments);
        if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            let (result, _) = ran.expect("it has a terminal");
            assert_eq!(result.get("stdout"), Some(&"".into()));
        } else {
            let failure = ran.expect_err("there is no terminal");
            assert_eq!(failure.class, Class::Refused);
            assert_eq!(
                failure.message,
                "run `bash` interactively: standard input is no terminal"
            );
        }
    }

    #[test]
    fn on_a_terminal_only_interactive_programs_see_it() {
        let tests = std::env::current_exe().expect("this program");
        let line = format!(
            "'{}' --exact --nocapture --test-threads 1 process::runner::tests::a_program_has_no_terminal_and_its_own_group \
             process::runner::tests::an_interactive_program_gets_the_terminal_and_nothing_else",
            tests.display()
        );
        let output = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("`script` makes a terminal: apt-get install bsdutils");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("2 passed"), "{shown}");
        assert!(
            shown.contains("terminal for step testrun00000/step"),
            "{shown}"
        );
    }
}
