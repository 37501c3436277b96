//! What is synced when, as the kernel sees it: the intention before the change, and one sync of the journal a step.
//!
//! SQLite adds none: it is told not to sync at a commit, the engine syncs the log itself. Where a log of 16 MiB is moved
//! into the file, SQLite syncs both, which comes once in thousands of steps.

use std::collections::HashMap;

use crate::harness::{Ended, PROGRAM, Sandbox, need};

/// What is followed: every call that makes something durable, writes to the journal, or is the change itself.
const CALLS: &str =
    "trace=fsync,fdatasync,sync_file_range,msync,pwrite64,rename,renameat,renameat2,execve";

/// One call of the engine or of what it started.
#[derive(Debug)]
struct Call {
    name: String,
    /// Its arguments, as `strace` writes them.
    arguments: String,
    /// When it began and when it returned: lines of the trace.
    began: usize,
    ended: usize,
}

impl Call {
    fn is_sync(&self) -> bool {
        ["fsync", "fdatasync", "sync_file_range", "msync"].contains(&self.name.as_str())
    }

    /// Returns whether it syncs the log of the journal.
    fn syncs_journal(&self) -> bool {
        self.is_sync() && self.arguments.contains("/state/journal.db-wal>")
    }

    fn writes_journal(&self) -> bool {
        self.name == "pwrite64" && self.arguments.contains("/state/journal.db-wal>")
    }
}

/// Runs the program under `strace` and returns its calls in the order in which they began.
#[track_caller]
fn trace(sandbox: &Sandbox, arguments: &[&str], code: i32) -> Vec<Call> {
    need("strace", "strace");
    let file = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command
        .args(["-f", "-y", "-s", "6000", "--quiet=all", "-o", file.as_str()])
        .args(["-e", CALLS, "-e", "signal=none", PROGRAM])
        .args(arguments);
    let ended = Ended::of(command.output().expect("strace starts"));
    assert!(
        !ended.stderr.contains("Operation not permitted"),
        "this machine forbids ptrace, and without it nobody sees the order of syncs; allow it \
         (in a container: --cap-add SYS_PTRACE; see also /proc/sys/kernel/yama/ptrace_scope):\n{}",
        ended.stderr
    );
    let _ = ended.code(code);
    read(&std::fs::read_to_string(file).expect("a trace"))
}

/// Reads a trace. A call that another thread's interrupts has two lines.
fn read(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(call) = open.remove(thread) {
                calls[call].ended = at;
            }
        } else if let Some((name, arguments)) = rest.split_once('(') {
            if arguments.ends_with("<unfinished ...>") {
                open.insert(thread, calls.len());
            }
            calls.push(Call {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                began: at,
                ended: at,
            });
        }
    }
    calls
}

#[test]
fn the_intention_is_synced_before_the_change_and_a_step_costs_one_sync() {
    const STEPS: usize = 24;
    let sandbox = Sandbox::new();
    let mut text = "playbook: changes\nversion: 1.0.0\ntitle: Change things\nsteps:\n".to_owned();
    for step in 0..STEPS {
        let path = sandbox.path(&format!("data/file-{step}-end"));
        text += &format!("  - id: s{step}\n    title: Step {step}\n");
        text += &match step % 3 {
            // Over a file that is there: its content is kept.
            0 => {
                sandbox.write(&format!("data/file-{step}-end"), format!("old {step}\n"));
                format!("    file.write: {{ path: \"{path}\", content: \"new\\n\" }}\n")
            }
            1 => format!("    command: {{ argv: [/bin/echo, {path}] }}\n    rollback: []\n"),
            _ => format!("    file.write: {{ path: \"{path}\", content: \"new\\n\" }}\n"),
        };
    }
    sandbox.write("changes.yml", text);
    // The journal itself is made by another run.
    sandbox.write("first.yml", "playbook: first\nversion: 1.0.0\ntitle: Nothing\nsteps:\n  - { id: a, title: A, system.load: {} }\n");
    sandbox.runwright(&["run", "./first.yml"]).code(0);
    let calls = trace(&sandbox, &["run", "./changes.yml", "--yes"], 0);

    let mut before = 0;
    for step in 0..STEPS {
        let path = sandbox.path(&format!("data/file-{step}-end"));
        let change = calls
            .iter()
            .position(|call| match step % 3 {
                1 => call.name == "execve" && call.arguments.contains(path.as_str()),
                _ => call.name.starts_with("rename") && call.arguments.contains(path.as_str()),
            })
            .unwrap_or_else(|| panic!("step {step} changed nothing"));
        let summary = match step % 3 {
            1 => format!(r#"{{\"attempt\":1,\"action\":{{\"summary\":\"run `/bin/echo {path}"#),
            _ => format!(r#"{{\"attempt\":1,\"action\":{{\"summary\":\"write {path}"#),
        };
        let intention = calls
            .iter()
            .position(|call| call.writes_journal() && call.arguments.contains(&summary))
            .unwrap_or_else(|| panic!("step {step} has no intention"));
        let syncs: Vec<usize> = (before..change)
            .filter(|at| calls[*at].syncs_journal())
            .collect();
        let [sync] = syncs[..] else {
            panic!("step {step} costs {} syncs of the journal", syncs.len());
        };
        assert!(intention < sync, "step {step} is written after the sync");
        assert!(
            calls[sync].ended < calls[change].began,
            "step {step} changes before the sync has returned"
        );
        let late = (sync..change).find(|at| calls[*at].writes_journal());
        assert_eq!(late, None, "step {step} acts on what is not synced");
        // Nothing of the target is touched before, not even a file beside it.
        let folder = sandbox.path("data/");
        let early = calls[before..sync].iter().find(|call| {
            call.is_sync()
                && call
                    .arguments
                    .contains(&format!("{folder}.file-{step}-end"))
        });
        assert!(early.is_none(), "step {step}: {early:?}");
        if step % 3 == 0 {
            kept_is_synced_before(&calls[before..intention], step);
        }
        before = change;
    }
    // The last one is the end's. What SQLite syncs by itself is the move of a long log when the journal is closed.
    let ours = |call: &&Call| call.syncs_journal() && call.name == "fdatasync";
    assert_eq!(calls.iter().filter(ours).count(), STEPS + 1);
    let of_sqlite = calls
        .iter()
        .filter(|call| call.syncs_journal() && !ours(call));
    assert!(of_sqlite.count() <= 1);
    sandbox.verified_journal();
}

/// Fails unless the content that the undo needs has reached the disk, by content and by name.
fn kept_is_synced_before(calls: &[Call], step: usize) {
    let named = calls
        .iter()
        .rposition(|call| call.name.starts_with("rename") && call.arguments.contains("/kept/"))
        .unwrap_or_else(|| panic!("step {step} keeps nothing"));
    let content = calls[..named]
        .iter()
        .any(|call| call.is_sync() && call.arguments.contains("/new."));
    let name = calls[named..]
        .iter()
        .any(|call| call.is_sync() && call.arguments.contains("/kept>"));
    assert!(content && name, "step {step}: {content} {name}");
}

#[test]
fn a_thousand_reading_steps_cost_no_more_than_20_synced_commits() {
    let sandbox = Sandbox::new();
    let mut text = "playbook: reads\nversion: 1.0.0\ntitle: Read\nsteps:\n".to_owned();
    for step in 0..1_000 {
        text += &format!("  - id: s{step}\n    title: Step {step}\n");
        text += match step % 4 {
            0 => "    system.load: {}\n",
            1 => "    system.memory: {}\n",
            2 => "    command: { argv: [/bin/true] }\n    effect: read\n",
            _ => "    file.stat: { path: /etc/passwd }\n",
        };
    }
    sandbox.write("reads.yml", text);
    // The journal itself is made by the first.
    sandbox.runwright(&["run", "./reads.yml"]).code(0);
    let calls = trace(&sandbox, &["run", "./reads.yml"], 0);
    let syncs: Vec<&Call> = calls.iter().filter(|call| call.is_sync()).collect();
    let of_journal = syncs.iter().filter(|call| call.syncs_journal()).count();
    assert!((1..=20).contains(&of_journal), "{of_journal}");
    // Moving the log is all that SQLite may sync for, and the names of new files all that the engine may besides.
    assert!(syncs.len() <= 30, "{} in all: {syncs:?}", syncs.len());
    let events = sandbox.verified_journal().runs(&Default::default(), 1);
    assert_eq!(events.expect("runs").len(), 1);
}

#[test]
fn moving_the_log_into_the_journal_costs_a_handful_of_syncs_for_thousands_of_steps() {
    // Each step stands in the journal with a long argument, so that the log reaches 16 MiB in few steps.
    const STEPS: usize = 400;
    let sandbox = Sandbox::new();
    let long = "x".repeat(40_000);
    let mut text = format!(
        "playbook: long\nversion: 1.0.0\ntitle: Write much\ninputs:\n  long: {{ type: string, default: {long} }}\nsteps:\n"
    );
    for step in 0..STEPS {
        text += &format!(
            "  - id: s{step}\n    title: Step {step}\n    command: {{ argv: [/bin/true, \"{{{{ long }}}}\"] }}\n    rollback: []\n"
        );
    }
    sandbox.write("long.yml", text);
    let calls = trace(&sandbox, &["run", "./long.yml", "--yes"], 0);
    let of_file = calls
        .iter()
        .filter(|call| call.is_sync() && call.arguments.contains("/state/journal.db>"))
        .count();
    assert!((1..=6).contains(&of_file), "the log was moved: {of_file}");
    let of_log = calls.iter().filter(|call| call.syncs_journal()).count();
    assert!(of_log <= STEPS + 10, "{of_log}");
    sandbox.verified_journal();
}
