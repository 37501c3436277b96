//! Nothing of a step outlives its timeout, its cancel or the engine's own death; what does is found and named.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rexpect::session::{PtySession, spawn_command};
use serde_json::Value as Json;

use crate::harness::{Ended, PROGRAM, Sandbox, until};

/// Returns a playbook of one `shell` step and further lines of it; with a file `settled` it counts as done.
fn playbook(script: &str, lines: &str) -> String {
    let script = script.replace('\n', "\n        ");
    format!(
        "playbook: orphans
version: 1.0.0
title: Start what may stay
steps:
  - id: work
    title: Work
    unless:
      file.stat: {{ path: settled }}
      that: result.exists
    shell:
      script: |
        {script}
{lines}
    rollback: []
"
    )
}

fn sandbox(script: &str, lines: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("orphans.yml", playbook(script, lines));
    sandbox
}

const RUN: [&str; 3] = ["run", "./orphans.yml", "--yes"];

/// A process by its number and when it started: another that gets its number later is not taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    started: String,
    parent: i32,
    ended: bool,
}

impl Process {
    fn find(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        Some(Process {
            pid,
            started: fields.get(19)?.to_string(),
            parent: fields.get(1)?.parse().ok()?,
            ended: ["Z", "X"].contains(fields.first()?),
        })
    }

    fn all() -> Vec<Process> {
        let entries = fs::read_dir("/proc").expect("processes").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Process::find)
            .filter(|process| !process.ended)
            .collect()
    }

    fn lives(&self) -> bool {
        Process::find(self.pid).is_some_and(|it| it.started == self.started && !it.ended)
    }

    fn file(&self, name: &str) -> String {
        let content = fs::read(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    }

    fn kill(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("it is there");
    }
}

/// Returns the process that has written its number into `name`, and waits for it.
fn written(sandbox: &Sandbox, name: &str) -> Process {
    let path = sandbox.path(name);
    until(&format!("{name} is written"), || {
        fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid = fs::read_to_string(&path).expect("a file");
    let pid = pid.trim().parse().expect("a number");
    Process::find(pid).expect("a process")
}

/// Returns the guard of an engine once it stands apart.
fn guard_of(engine: i32) -> Process {
    let mut found = None;
    until("the engine has a guard", || {
        found = Process::all().into_iter().find(|process| {
            process.parent == engine
                && process.file("cmdline") == "runwright\0__guard\0"
                && session(process.pid) == process.pid
        });
        found.is_some()
    });
    found.expect("it was found")
}

fn session(pid: i32) -> i32 {
    nix::unistd::getsid(Some(Pid::from_raw(pid))).map_or(0, Pid::as_raw)
}

/// Returns the processes of the sandbox's last run that have kept their environment.
fn of_run(sandbox: &Sandbox) -> Vec<Process> {
    let history = sandbox.runwright(&["history", "--output", "json"]).code(0);
    let history: Json = serde_json::from_str(history.stdout.trim()).expect("JSON");
    let mark = format!(
        "RUNWRIGHT_STEP={}/",
        history[0]["run"].as_str().expect("a run")
    );
    let mut all = Process::all();
    all.retain(|process| {
        let environment = process.file("environ");
        environment.split('\0').any(|line| line.starts_with(&mark))
    });
    all
}

fn kill_9(mut engine: Child) {
    engine.kill().expect("it can be killed");
    engine.wait().expect("it has ended");
}

fn number(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a process number")
}

/// Starts the playbook, waits until it is guarded and `names` are written, and kills the engine.
fn killed(sandbox: &Sandbox, names: &[&str]) -> (Vec<Process>, Process) {
    let engine = sandbox.start(&RUN);
    let processes = names.iter().map(|name| written(sandbox, name)).collect();
    let guard = guard_of(number(&engine));
    kill_9(engine);
    (processes, guard)
}

fn all_gone(sandbox: &Sandbox, guard: &Process) {
    until("the run's processes are gone", || {
        of_run(sandbox).is_empty()
    });
    until("the guard is gone", || !guard.lives());
}

#[test]
fn kill_9_of_the_engine_ends_the_whole_group() {
    let script = "echo $$ >work\nsh -c 'echo $$ >one; exec sleep 600' & sh -c 'echo $$ >two; exec sleep 600'";
    let sandbox = sandbox(script, "");
    let (processes, guard) = killed(&sandbox, &["work", "one", "two"]);
    let asked = Instant::now();
    all_gone(&sandbox, &guard);
    // Nobody had to be killed after the grace of 5 s; far above what a busy machine takes else.
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert!(!processes.iter().any(Process::lives));
    sandbox.write("settled", "");
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
}

#[test]
fn who_ignores_sigterm_is_killed_after_the_grace() {
    let script = "trap '' TERM\necho $$ >work\nsh -c 'echo $$ >one; while :; do sleep 0.1; done'";
    let sandbox = sandbox(script, "      grace: 700ms");
    let (processes, guard) = killed(&sandbox, &["work", "one"]);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_millis(400) {
        assert!(processes.iter().all(Process::lives), "the grace is theirs");
        std::thread::yield_now();
    }
    all_gone(&sandbox, &guard);
    assert!(!processes.iter().any(Process::lives));
}

#[test]
fn who_was_stopped_ends_as_well() {
    let script = "echo $$ >work\nkill -STOP $$";
    let sandbox = sandbox(script, "      grace: 10m");
    let (processes, guard) = killed(&sandbox, &["work"]);
    all_gone(&sandbox, &guard);
    assert!(!processes[0].lives());
}

#[test]
fn what_hides_survives_and_resume_names_it_until_it_has_ended() {
    let script = "env -i setsid sh -c 'echo $$ >daemon; exec sleep 600' &\necho $$ >work\nwait";
    let sandbox = sandbox(script, "");
    let (processes, guard) = killed(&sandbox, &["daemon", "work"]);
    all_gone(&sandbox, &guard);
    let daemon = &processes[0];
    assert!(daemon.lives() && !processes[1].lives());
    sandbox.write("settled", "");
    for command in ["resume", "rollback"] {
        sandbox
            .runwright(&[command, "last", "--yes"])
            .code(3)
            .says("still live")
            .says(&format!("process {} of step `work`, since 20", daemon.pid))
            .says(": sleep 600")
            .says(&format!("`kill {}`", daemon.pid));
    }
    sandbox
        .runwright(&["resume", "last", "--yes", "--wait=100ms"])
        .code(3)
        .says("waiting for")
        .says("still live");
    let mut resume = sandbox.program(&["resume", "last", "--yes", "--wait"]);
    let resume = resume.stderr(std::process::Stdio::piped()).spawn();
    daemon.kill(Signal::SIGKILL);
    let ended = resume.expect("it starts").wait_with_output();
    Ended::of(ended.expect("it ends")).code(0);
    let locks = sandbox.tree("state/runs").into_keys();
    let locks: Vec<_> = locks
        .filter(|path| path.as_str().ends_with(".lock"))
        .collect();
    assert_eq!(locks, [] as [&Utf8Path; 0]);
}

#[test]
fn another_users_process_is_found_by_the_lock() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test needs root: run it with sudo"
    );
    let sandbox = sandbox("true", "");
    fs::set_permissions(
        sandbox.path(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )
    .expect("others may enter");
    let open = sandbox.write("open/note", "");
    let open = open.parent().expect("a folder");
    fs::set_permissions(open, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("others may write");
    let script = "cd open\nenv -i setsid sh -c 'echo $$ >daemon; exec sleep 600' &\nwait";
    sandbox.write("orphans.yml", playbook(script, "      user: nobody"));
    let (processes, guard) = killed(&sandbox, &["open/daemon"]);
    all_gone(&sandbox, &guard);
    sandbox.write("settled", "");
    let pid = processes[0].pid;
    sandbox
        .runwright(&["resume", "last", "--yes"])
        .code(3)
        .says(&format!("process {pid} of step `work`"));
    processes[0].kill(Signal::SIGKILL);
    until("the daemon is gone", || !processes[0].lives());
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
}

#[test]
fn what_a_finished_step_has_left_is_neither_ended_nor_a_reason_to_refuse() {
    let sandbox = sandbox("echo $$ >work\nwhile :; do sleep 0.1; done", "");
    let first = "steps:
  - id: leaves
    title: Leave a daemon
    shell: { script: \"setsid sh -c 'echo $$ >daemon; exec sleep 600' >/dev/null 2>&1 &\" }
    rollback: []
";
    let text = fs::read_to_string(sandbox.path("orphans.yml")).expect("a playbook");
    sandbox.write("orphans.yml", text.replace("steps:\n", first));
    let (processes, guard) = killed(&sandbox, &["daemon", "work"]);
    until("the guard is gone", || !guard.lives());
    assert!(processes[0].lives());
    // On a busy machine the guard may stem from the first step and not know of the second yet.
    if processes[1].lives() {
        let _ = kill(Pid::from_raw(processes[1].pid), Signal::SIGKILL);
    }
    sandbox.write("settled", "");
    sandbox
        .runwright(&["resume", "last", "--yes", "--wait"])
        .code(0);
    processes[0].kill(Signal::SIGKILL);
    until("the daemon is gone", || !processes[0].lives());
}

#[test]
fn a_killed_guard_does_no_harm_and_the_next_process_gets_another() {
    let first = "echo $$ >first\nuntil [ -e go ]; do sleep 0.02; done";
    let sandbox = sandbox(first, "");
    let second = "  - id: next
    title: Work on
    shell: { script: \"echo $$ >second; exec sleep 600\" }
    rollback: []
";
    let text = fs::read_to_string(sandbox.path("orphans.yml")).expect("a playbook");
    sandbox.write("orphans.yml", text + second);
    let engine = sandbox.start(&RUN);
    written(&sandbox, "first");
    let guard = guard_of(number(&engine));
    guard.kill(Signal::SIGKILL);
    until("the guard is gone", || !guard.lives());
    sandbox.write("go", "");
    let second = written(&sandbox, "second");
    let other = guard_of(number(&engine));
    assert_ne!(other.pid, guard.pid);
    kill_9(engine);
    all_gone(&sandbox, &other);
    assert!(!second.lives());
}

#[test]
fn the_guard_ends_with_a_run_that_ends() {
    let sandbox = sandbox("echo $$ >work\nuntil [ -e go ]; do sleep 0.02; done", "");
    let mut engine = sandbox.start(&RUN);
    let work = written(&sandbox, "work");
    let guard = guard_of(number(&engine));
    assert!(!guard.file("environ").contains("RUNWRIGHT"));
    sandbox.write("go", "");
    assert!(engine.wait().expect("it ends").success());
    all_gone(&sandbox, &guard);
    assert!(!work.lives());
}

#[test]
fn ctrl_c_twice_leaves_nothing_to_itself() {
    let script = "trap '' TERM\necho $$ >work\nwhile :; do sleep 0.1; done";
    let sandbox = sandbox(script, "      grace: 500ms");
    let mut engine = sandbox.start(&RUN);
    let work = written(&sandbox, "work");
    let guard = guard_of(number(&engine));
    let engine_pid = Pid::from_raw(number(&engine));
    kill(engine_pid, Signal::SIGINT).expect("it is there");
    // The first one is heard before the second is sent, or they would be one.
    until("the run is told to stop", || {
        let shown = sandbox.runwright(&["show", "last"]);
        shown.stdout.contains("SIGINT") || shown.stdout.contains("Ctrl-C") || !work.lives()
    });
    let _ = kill(engine_pid, Signal::SIGINT);
    engine.wait().expect("it ends");
    all_gone(&sandbox, &guard);
    assert!(!work.lives());
}

/// Runs the script with a short timeout; nothing of it is left when the run says that it has failed.
fn timed_out(script: &str, grace: &str) -> (Sandbox, Ended, Duration) {
    let sandbox = sandbox(script, &format!("      grace: {grace}\n    timeout: 400ms"));
    let begun = Instant::now();
    let ended = sandbox.runwright(&RUN).code(1).says("400ms");
    let took = begun.elapsed();
    assert_eq!(of_run(&sandbox), []);
    let logs = sandbox.runwright(&["logs", "last"]).code(0);
    logs.says("printed before");
    (sandbox, ended, took)
}

#[test]
fn a_timeout_ends_grandchildren_and_keeps_what_was_printed() {
    let script =
        "echo printed before\nsh -c 'sh -c \"sleep 600; :\" & sleep 600; :' & sleep 600; :";
    let (_, _, took) = timed_out(script, "10m");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_timeout_ends_who_ignores_it_and_who_has_stopped_itself() {
    let script = "echo printed before; echo said last >&2
sh -c 'kill -STOP $$' &
sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &
trap '' TERM
while :; do sleep 0.1; done";
    let (_, ended, took) = timed_out(script, "600ms");
    assert!(took >= Duration::from_millis(1000), "{took:?}");
    ended.says("said last");
}

#[test]
fn a_timeout_ends_a_fork_bomb_of_some_levels() {
    let script = "echo printed before
trap '' TERM
grow() { if [ $1 -gt 0 ]; then grow $(($1 - 1)) & grow $(($1 - 1)) & fi; while :; do sleep 0.2; done; }
grow 4";
    timed_out(script, "200ms");
}

#[test]
fn a_grace_longer_than_the_engines_own_patience_is_waited_for() {
    let script = "trap 'n=0; while [ $n -lt 160 ]; do sleep 0.1; n=$((n + 1)); done; echo tidied; exit 1' TERM
echo printed before
while :; do sleep 0.1; done";
    let (sandbox, _, took) = timed_out(script, "60s");
    assert!(took > Duration::from_secs(15), "{took:?}");
    sandbox.runwright(&["logs", "last"]).code(0).says("tidied");
}

// --- interactive ---

/// Starts Bash on a terminal of its own, with `runwright` as a command.
fn bash(sandbox: &Sandbox, arguments: &[&str]) -> PtySession {
    let mut command = sandbox.attached("bash");
    command
        .args(arguments)
        .env("TERM", "xterm")
        .env("PS1", "% ");
    command.env("RUNWRIGHT", PROGRAM);
    spawn_command(command, Some(30_000)).expect("bash on a terminal")
}

/// Lets a script run interactively, from a shell that cannot stop jobs and says afterwards how it finds the terminal.
fn interactive(script: &str) -> (Sandbox, PtySession) {
    let sandbox = sandbox(script, "      interactive: true");
    let line = "stty echo icanon; $RUNWRIGHT run ./orphans.yml --yes --output tty; echo code=$?; \
                stty -a | grep -ow -e '-*echo' -e '-*icanon' | tr '\\n' ' '; \
                read -r line; echo shell:$line";
    let session = bash(&sandbox, &["-c", line]);
    (sandbox, session)
}

/// The shell reads from the terminal again, with its modes as they were.
#[track_caller]
fn ends(mut session: PtySession, code: i32) {
    session
        .exp_string(&format!("code={code}"))
        .expect("its exit code");
    let (_, modes) = session.exp_regex("-?icanon -?echo ").expect("the modes");
    assert_eq!(modes, "icanon echo ");
    session.send_line("here").expect("a line");
    session.exp_string("shell:here").expect("the shell reads");
    session.exp_eof().expect("its end");
}

#[test]
fn an_interactive_program_reads_and_its_modes_do_not_stay() {
    let script = "stty -echo -icanon\nprintf 'name? '\nread -r name\necho \"got $name.\"";
    let (sandbox, mut session) = interactive(script);
    session.exp_string("name? ").expect("its question");
    session.send_line("kv").expect("a line");
    session.exp_string("got kv.").expect("its answer");
    ends(session, 0);
    assert_eq!(of_run(&sandbox), []);
}

#[test]
fn ctrl_c_goes_to_the_interactive_program_and_not_to_us() {
    let script = "trap 'echo caught.; exit 0' INT\necho ready.\nwhile :; do sleep 0.1; done";
    let (_sandbox, mut session) = interactive(script);
    session.exp_string("ready.").expect("its start");
    session.send_control('c').expect("Ctrl-C");
    session.exp_string("caught.").expect("it gets it");
    ends(session, 0);
}

#[test]
fn ctrl_z_where_nobody_could_say_fg_goes_on() {
    let script = "echo $$ >work\necho ready.\nread -r name\necho \"got $name.\"";
    let (_sandbox, mut session) = interactive(script);
    session.exp_string("ready.").expect("its start");
    session.send_control('z').expect("Ctrl-Z");
    session.send_line("kv").expect("a line");
    session.exp_string("got kv.").expect("its answer");
    ends(session, 0);
}

#[test]
fn ctrl_z_under_a_shell_stops_and_fg_goes_on() {
    let script =
        "stty -echo\necho ready.\nread -r name\nstty -a | grep -ow -e -echo\necho \"got $name.\"";
    let sandbox = sandbox(script, "      interactive: true");
    let mut session = bash(&sandbox, &["--norc", "--noprofile", "-i"]);
    session
        .send_line("$RUNWRIGHT run ./orphans.yml --yes --output tty")
        .expect("a command");
    session.exp_string("ready.").expect("its start");
    for _ in 0..2 {
        session.send_control('z').expect("Ctrl-Z");
        session.exp_string("Stopped").expect("a stopped job");
        session
            .send_line("jobs -l; echo in the shel''l")
            .expect("a command");
        session.exp_string("in the shell").expect("the shell reads");
        session.send_line("fg").expect("a command");
        session.exp_string("orphans.yml").expect("the job's line");
        until_foreground(&session, &sandbox);
    }
    session.send_line("kv").expect("a line");
    session
        .exp_string("-echo")
        .expect("its modes came back with it");
    session.exp_string("got kv.").expect("its answer");
    session.send_line("echo code=$?").expect("a command");
    session.exp_string("code=0").expect("its exit code");
    session.send_line("exit").expect("a command");
    session.exp_eof().expect("its end");
}

/// Waits until the run's program has the terminal again.
fn until_foreground(_: &PtySession, sandbox: &Sandbox) {
    until("the program has the terminal", || {
        of_run(sandbox).iter().any(|process| {
            let stat = process.file("stat");
            let fields: Vec<&str> = match stat.rsplit_once(") ") {
                Some((_, fields)) => fields.split(' ').collect(),
                None => return false,
            };
            fields[0] != "T" && fields[2] == fields[5]
        })
    });
}

#[test]
fn a_killed_interactive_program_leaves_the_terminal_as_it_was() {
    let script = "stty -echo -icanon\necho $$ >work\necho ready.\nread -r name";
    let (sandbox, mut session) = interactive(script);
    session.exp_string("ready.").expect("its start");
    written(&sandbox, "work").kill(Signal::SIGKILL);
    ends(session, 1);
}

#[test]
fn sigterm_to_the_engine_ends_the_interactive_program_and_restores_the_terminal() {
    let script = "stty -echo -icanon\necho $$ >work\necho ready.\nread -r name";
    let (sandbox, mut session) = interactive(script);
    session.exp_string("ready.").expect("its start");
    let work = written(&sandbox, "work");
    kill(Pid::from_raw(work.parent), Signal::SIGTERM).expect("the engine is there");
    ends(session, 6);
    assert!(!work.lives());
}

#[test]
fn kill_9_of_the_engine_ends_the_interactive_program() {
    let script = "echo $$ >work\necho ready.\nread -r name";
    let (sandbox, mut session) = interactive(script);
    session.exp_string("ready.").expect("its start");
    let work = written(&sandbox, "work");
    let guard = guard_of(work.parent);
    kill(Pid::from_raw(work.parent), Signal::SIGKILL).expect("the engine is there");
    all_gone(&sandbox, &guard);
    assert!(!work.lives());
    drop(session);
}
