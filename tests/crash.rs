//! `kill -9` at any moment: the journal tells what had started and finished, `resume` ends the run, `rollback` undoes it.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use runwright_local::run::events;
use serde_json::Value as Json;

use crate::harness::{
    Sandbox,
    sqlite::{self, Other, Work},
    until,
};

const STEPS: usize = 12;

/// Each step leaves a file of its own, so that what was done can be seen without the journal.
fn playbook() -> String {
    let mut text = "playbook: crash\nversion: 1.0.0\ntitle: Make files one by one\ninputs:\n  folder: { type: path }\nsteps:\n".to_owned();
    for step in 0..STEPS {
        text += &format!("  - id: s{step}\n    title: Make file {step}\n");
        text += &match step % 3 {
            0 => format!(
                "    file.write: {{ path: \"{{{{ folder }}}}/s{step}\", content: \"{step}\\n\" }}\n"
            ),
            1 => format!(
                "    file.copy: {{ from: \"{{{{ folder }}}}/source\", to: \"{{{{ folder }}}}/s{step}\" }}\n"
            ),
            _ => format!(
                "    unless:\n      file.stat: {{ path: \"{{{{ folder }}}}/s{step}\" }}\n      that: result.exists\n    \
                 command: {{ argv: [sh, -c, \"sleep 0.02; echo x >$1\", sh, \"{{{{ folder }}}}/s{step}\"] }}\n    \
                 rollback:\n      - id: r{step}\n        title: Remove file {step}\n        \
                 file.delete: {{ path: \"{{{{ folder }}}}/s{step}\", keep: 0s }}\n"
            ),
        };
    }
    text
}

fn sandbox() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.write("crash.yml", playbook());
    sandbox.write("data/source", "source\n".repeat(20_000));
    let folder = format!("folder={}", sandbox.path("data"));
    (sandbox, folder)
}

/// Returns how each step stands by the journal: `started`, `finished` and so on, the last word.
fn journaled(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let record = sandbox
        .journal()
        .and_then(|journal| Some((journal.run("last").ok()?, journal)));
    let Some((record, journal)) = record else {
        return BTreeMap::new();
    };
    let events = events(&journal, &record.run).expect("events");
    events
        .iter()
        .filter(|event| !event.step.is_empty())
        .map(|event| (event.step.to_string(), event.body.kind().to_owned()))
        .collect()
}

#[test]
fn kill_9_at_any_moment_leaves_a_journal_from_which_it_goes_on_or_back() {
    let (sandbox, folder) = sandbox();
    let started = Instant::now();
    sandbox
        .runwright(&["run", "./crash.yml", "--yes", "--set", &folder])
        .code(0);
    let whole = started.elapsed();

    // Deterministic, and spread over the whole run.
    let mut interrupted = 0;
    for round in 0_u32..24 {
        let (sandbox, folder) = self::sandbox();
        let before = sandbox.tree("data");
        let part = (round * 7 + 3) % 24;
        let mut child = sandbox.start(&["run", "./crash.yml", "--yes", "--set", &folder]);
        // The moment itself is the point, not something to wait for.
        thread::sleep(whole * part / 24);
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        let steps = journaled(&sandbox);
        for step in 0..STEPS {
            let (id, there) = (
                format!("s{step}"),
                sandbox.path(&format!("data/s{step}")).exists(),
            );
            match steps.get(&id).map(String::as_str) {
                Some("finished") => assert!(there, "round {round}: {id} finished and left nothing"),
                None | Some("looked" | "entered" | "skipped") => {
                    assert!(
                        !there,
                        "round {round}: {id} did something before it was written down"
                    );
                }
                _ => {}
            }
        }
        let history = sandbox.runwright(&["history", "--output", "json"]).code(0);
        let history: Json = serde_json::from_str(history.stdout.trim()).unwrap_or_default();
        let Some(state) = history[0]["state"].as_str() else {
            continue;
        };
        sandbox.runwright(&["show", "last"]).code(0);
        if state == "interrupted" {
            interrupted += 1;
        } else {
            assert_eq!(state, "succeeded", "round {round}");
        }
        // A process of the step that was at work may outlive the engine for a moment.
        let command = if round % 2 == 0 { "resume" } else { "rollback" };
        if state == "interrupted" && command == "resume" {
            settled(&sandbox, &["resume", "last", "--yes"]);
            for step in 0..STEPS {
                assert!(
                    sandbox.path(&format!("data/s{step}")).exists(),
                    "round {round}: s{step}"
                );
            }
            sandbox
                .runwright(&["resume", "last"])
                .code(3)
                .says("has ended");
        } else {
            settled(&sandbox, &["rollback", "last", "--yes"]);
            assert_eq!(sandbox.tree("data"), before, "round {round}");
        }
        sandbox.verified_journal();
    }
    assert!(
        interrupted >= 8,
        "most rounds hit a run at work: {interrupted}"
    );
}

#[test]
fn kill_9_while_a_wal_is_folded_in_loses_no_row() {
    let rows = 10_000;
    let prepared = |sandbox: &Sandbox| {
        let database = sandbox.path("kv.db");
        sqlite::create(&database, 10);
        Other::start(&database, Work::Write, rows).crash();
        database
    };
    let first = Sandbox::new();
    let set = format!("database={}", prepared(&first));
    let started = Instant::now();
    first
        .runwright(&["run", "wal-recover", "--yes", "--set", &set])
        .code(0);
    let whole = started.elapsed();

    for part in 1_u32..=6 {
        let sandbox = Sandbox::new();
        let database = prepared(&sandbox);
        let set = format!("database={database}");
        let mut child = sandbox.start(&["run", "wal-recover", "--yes", "--set", &set]);
        thread::sleep(whole * part / 7);
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        let interrupted = sandbox
            .runwright(&["history"])
            .code(0)
            .stdout
            .contains("interrupted");
        if interrupted {
            settled(&sandbox, &["resume", "last", "--yes"]);
        } else {
            // It had not come so far as to begin, or was done.
            sandbox
                .runwright(&["run", "wal-recover", "--yes", "--set", &set])
                .code(0);
        }
        assert_eq!(sqlite::size(&sqlite::wal(&database)), 0, "part {part}");
        assert_eq!(
            sqlite::rows(&database),
            sqlite::acknowledged(&database),
            "part {part}"
        );
        assert_eq!(sqlite::integrity(&database), "ok", "part {part}");
        sandbox.verified_journal();
    }
}

/// Runs a command until it succeeds: it may be told to wait for a process of a step that still lives.
fn settled(sandbox: &Sandbox, arguments: &[&str]) {
    let mut last = None;
    until(&format!("{arguments:?} succeeds"), || {
        let ended = sandbox.runwright(arguments);
        let done = ended.code == 0;
        if !done {
            eprintln!("{}", ended.stderr);
        }
        last = Some(ended);
        done
    });
}

#[test]
fn sigterm_stops_a_run_in_order_and_resume_ends_it() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "slow.yml",
        "playbook: slow
version: 1.0.0
title: One step after another
steps:
  - id: first
    title: Say that it runs, and wait until somebody lets it end
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done; echo first >>done\"] }
    rollback: []
  - id: second
    title: The second
    command: { argv: [sh, -c, \"echo second >>done\"] }
    rollback: []
",
    );
    let mut child = sandbox.start(&["run", "./slow.yml", "--yes"]);
    until("the first step runs", || sandbox.path("running").exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(6));
    // Nothing of the step lives on: nobody takes notice of this.
    sandbox.write("go-on", "");
    assert!(!sandbox.path("done").exists());
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    assert_eq!(
        fs::read_to_string(sandbox.path("done")).expect("a file"),
        "first\nsecond\n"
    );
    sandbox.verified_journal();
}

#[test]
fn a_run_belongs_to_one_process_at_a_time() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "wait.yml",
        "playbook: wait
version: 1.0.0
title: Wait for a file
steps:
  - id: wait
    title: Wait
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done\"] }
    rollback: []
",
    );
    let mut child = sandbox.start(&["run", "./wait.yml"]);
    until("the step runs", || sandbox.path("running").exists());
    let started = Instant::now();
    let ended = sandbox.runwright(&["resume", "last", "--yes"]);
    sandbox.write("go-on", "");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}
