//! Many processes and one journal; a run that begins while another was left behind; attempts that were cut off.

use std::{fs, thread};

use runwright_core::event::Body;
use runwright_local::{journal::RunFilter, run::events};
use serde_json::Value as Json;

use crate::harness::{Sandbox, until};

#[test]
fn eight_processes_write_their_runs_into_one_journal_at_once() {
    const PROCESSES: usize = 8;
    const RUNS: usize = 4;
    let sandbox = Sandbox::new();
    sandbox.write(
        "own.yml",
        "playbook: own
version: 1.0.0
title: Write files of its own
inputs:
  folder: { type: path }
steps:
  - id: each
    title: Write each
    foreach:
      in: [a, b, c, d]
      steps:
        - id: one
          title: Write it
          file.write: { path: \"{{ folder }}/{{ item }}\", content: \"{{ run.id }}\\n\" }
        - id: look
          title: Look at it
          file.stat: { path: \"{{ folder }}/{{ item }}\" }
",
    );
    // The journal itself is made by all of them at once.
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let folder = sandbox.path(&format!("data/{process}"));
                fs::create_dir_all(&folder).expect("a folder");
                let set = format!("folder={folder}");
                for _ in 0..RUNS {
                    sandbox
                        .runwright(&["run", "./own.yml", "--yes", "--set", &set])
                        .code(0);
                }
            });
        }
    });
    // The chain of the first events is a part of what is verified: a run that is missing in it shows.
    let journal = sandbox.verified_journal();
    let runs = journal.runs(&RunFilter::default(), 100).expect("runs");
    let mut numbers: Vec<u64> = runs.iter().map(|record| record.number).collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (1..=(PROCESSES * RUNS) as u64).collect();
    assert_eq!(numbers, expected);
    for record in &runs {
        assert_eq!(record.row.state, "succeeded", "{record:?}");
        let events = events(&journal, &record.run).expect("events");
        let written = events
            .iter()
            .filter(|event| matches!(event.body, Body::Started { .. }));
        assert_eq!(written.count(), 4, "{}", record.run);
    }
}

#[test]
fn a_second_run_works_while_the_first_lies_interrupted() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "nightly.yml",
        "playbook: nightly
version: 1.0.0
title: What cron starts
steps:
  - id: work
    title: Work until somebody lets it end
    unless:
      file.stat: { path: \"{{ run.id }}.done\" }
      that: result.exists
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done; touch $1.done\", sh, \"{{ run.id }}\"] }
    rollback: []
",
    );
    let mut child = sandbox.start(&["run", "./nightly.yml", "--yes"]);
    until("the first run works", || sandbox.path("running").exists());
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    let first = sandbox
        .verified_journal()
        .run("last")
        .expect("the first")
        .run;
    // Its process lives: nothing is settled while it does.
    sandbox
        .runwright(&["resume", &first, "--yes"])
        .code(3)
        .says("still live");
    let mut second = sandbox.start(&["run", "./nightly.yml", "--yes"]);
    let states = || -> Vec<(String, String)> {
        let history = sandbox.runwright(&["history", "--output", "json"]).code(0);
        let runs: Json = serde_json::from_str(history.stdout.trim()).expect("JSON");
        let text = |run: &Json, name: &str| run[name].as_str().expect("text").to_owned();
        let runs = runs.as_array().expect("a list").iter();
        runs.map(|run| (text(run, "run"), text(run, "state")))
            .collect()
    };
    until("both are listed", || states().len() == 2);
    assert_eq!(states()[1], (first.clone(), "interrupted".to_owned()));
    sandbox.write("go-on", "");
    assert_eq!(second.wait().expect("it ends").code(), Some(0));
    let (last, state) = states()[0].clone();
    assert_eq!(state, "succeeded");
    assert!(sandbox.path(&format!("{last}.done")).exists());
    assert_eq!(states()[1], (first.clone(), "interrupted".to_owned()));

    until("the process of the first has ended", || {
        sandbox.path(&format!("{first}.done")).exists()
    });
    until("the first goes on", || {
        sandbox.runwright(&["resume", &first, "--yes"]).code == 0
    });
    assert!(states().iter().all(|(_, state)| state == "succeeded"));
    sandbox.verified_journal();
}

/// Fails until its `succeeds`th try, and says each time that it was there.
fn shaky(succeeds: usize) -> String {
    format!(
        "playbook: shaky
version: 1.0.0
title: Try three times
steps:
  - id: shaky
    title: Fail at first
    unless:
      file.stat: {{ path: made }}
      that: result.exists
    command: {{ argv: [sh, -c, \"echo try >>tries; test $(wc -l <tries) -ge {succeeds} && touch made\"] }}
    retry: {{ attempts: 3, delay: 1ms, on: [exit] }}
    rollback:
      - id: undo
        title: Say that it was undone
        command: {{ argv: [sh, -c, \"echo undone >>undone; rm -f made\"] }}
"
    )
}

fn lines(sandbox: &Sandbox, name: &str) -> usize {
    let text = fs::read_to_string(sandbox.path(name)).unwrap_or_default();
    text.lines().count()
}

#[test]
fn an_attempt_that_was_cut_off_is_no_failed_one_and_its_undo_is_registered_once() {
    let mut sandbox = Sandbox::new();
    sandbox.write("shaky.yml", shaky(4));
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-after:2");
    let ended = sandbox.runwright(&["run", "./shaky.yml", "--yes"]);
    assert_eq!(ended.code, 128 + 9, "{ended:?}");
    assert_eq!(lines(&sandbox, "tries"), 2);
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-after:1000");
    // One has failed, one was cut off: two more may be made, and the second of them succeeds.
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    assert_eq!(lines(&sandbox, "tries"), 4);
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(lines(&sandbox, "undone"), 1);
    assert!(!sandbox.path("made").exists());
    sandbox.verified_journal();
}

#[test]
fn three_attempts_that_failed_are_the_last_also_when_one_was_cut_off_between() {
    let mut sandbox = Sandbox::new();
    sandbox.write("shaky.yml", shaky(100));
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-after:2");
    let ended = sandbox.runwright(&["run", "./shaky.yml", "--yes"]);
    assert_eq!(ended.code, 128 + 9, "{ended:?}");
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-after:1000");
    sandbox.runwright(&["resume", "last", "--yes"]).code(1);
    assert_eq!(lines(&sandbox, "tries"), 4, "three failed, one was cut off");
    assert_eq!(lines(&sandbox, "undone"), 1);
    let journal = sandbox.verified_journal();
    assert_eq!(journal.run("last").expect("it").row.state, "rolled_back");
}
