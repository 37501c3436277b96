//! Keeping the journal: pruning, and giving up what lapsed undos keep.

use std::fs;

use serde_json::Value as Json;

use crate::harness::{Ended, PROGRAM, Sandbox, need, until};

const PLAYBOOK: &str = r#"
playbook: tidy-up
version: 1.0.0
title: Delete a file
inputs:
  file: { type: path }
steps:
  - id: gone
    title: Delete it
    file.delete: { path: "{{ file }}", keep: KEEP }
"#;

fn delete(sandbox: &Sandbox, keep: &str) -> Ended {
    sandbox.write("tidy-up.yml", PLAYBOOK.replace("KEEP", keep));
    sandbox.write("data/old", "old\n");
    let file = format!("file={}", sandbox.path("data/old"));
    sandbox.runwright(&[
        "--output",
        "json",
        "run",
        "./tidy-up.yml",
        "--yes",
        "--set",
        &file,
    ])
}

fn kept(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path("data"))
        .expect("a folder")
        .count()
}

#[test]
fn what_a_lapsed_undo_keeps_is_given_up_at_the_end_of_a_later_run_and_never_by_a_preview() {
    let sandbox = Sandbox::new();
    let first = delete(&sandbox, "1s").code(0).summary();
    let text = |json: &Json| json.as_str().expect("a text").to_owned();
    let run = text(&first["run"]);
    let limit = text(&first["undos"][0]["until"]);
    assert_eq!(kept(&sandbox), 1, "it lies aside");
    sandbox.runwright(&["show", &run]).code(0).says(&limit);
    until("its time is over", || {
        let plan = sandbox.runwright(&[
            "plan",
            "./tidy-up.yml",
            "--set",
            &format!("file={}", sandbox.path("data/none")),
        ]);
        assert_eq!(plan.code, 0, "{plan:?}");
        assert_eq!(kept(&sandbox), 1, "a preview changes nothing");
        let now = sandbox.verified_journal();
        let now = now.lapsed(now_milliseconds()).expect("a list");
        now.len() == 1
    });
    delete(&sandbox, "7d").code(0);
    assert_eq!(kept(&sandbox), 1, "only the one of the second run");
    sandbox
        .runwright(&["rollback", &run, "--yes"])
        .code(5)
        .says("too late to undo")
        .says("is gone");
    sandbox
        .runwright(&["journal", "sweep"])
        .code(0)
        .says("nothing has lapsed");
    sandbox.runwright(&["audit", "verify"]).code(0);
}

fn now_milliseconds() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_millis()).expect("not so late")
}

#[test]
fn what_was_undone_keeps_nothing_and_a_release_that_fails_is_tried_again() {
    let sandbox = Sandbox::new();
    let run = delete(&sandbox, "1s").code(0).summary()["run"].clone();
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    let journal = sandbox.verified_journal();
    let run = run.as_str().expect("an id");
    assert_eq!(journal.kept_by(run).expect("a list"), []);
    assert_eq!(
        fs::read(sandbox.path("data/old")).expect("it is back"),
        b"old\n"
    );

    let again = delete(&sandbox, "1s").code(0).summary()["run"].clone();
    let again = again.as_str().expect("an id");
    let limit = sandbox.verified_journal().kept_by(again).expect("a list")[0].until;
    until("its time is over", || now_milliseconds() > limit);
    // The disk can't be written for a while.
    need("unshare", "util-linux");
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && shift && exec \"$@\"";
    let mut unshare = sandbox.command("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    unshare.args([sandbox.path("data").as_str(), PROGRAM, "journal", "sweep"]);
    Ended::of(unshare.output().expect("unshare"))
        .code(1)
        .says("step gone")
        .says("tried again");
    assert_eq!(kept(&sandbox), 1);
    sandbox
        .runwright(&["journal", "sweep"])
        .code(0)
        .says("given up: run ");
    assert_eq!(kept(&sandbox), 0);
}

#[test]
fn pruning_takes_events_folder_and_what_undos_keep_and_leaves_a_stone() {
    let sandbox = Sandbox::new();
    let home = sandbox.runwright(&["journal", "path"]).code(0).stdout;
    assert_eq!(home.trim(), sandbox.path("state/journal.db"));
    let mut runs = Vec::new();
    for _ in 0..3 {
        let summary = delete(&sandbox, "7d").code(0).summary();
        runs.push(summary["run"].as_str().expect("an id").to_owned());
    }
    assert_eq!(kept(&sandbox), 3);
    let prune = |arguments: &[&str]| {
        let mut all = vec!["journal", "prune", "--reason", "enough"];
        all.extend(arguments);
        sandbox.runwright(&all)
    };
    prune(&[]).code(2);
    sandbox.runwright(&["journal", "prune", &runs[0]]).code(2);
    prune(&[&runs[0], "--yes"])
        .code(3)
        .says("could still be undone: gone");
    prune(&["--keep", "1", "--yes"])
        .code(0)
        .says("these runs stay")
        .says("nothing to prune");
    prune(&["--keep", "1", "--lose-undo", "--dry-run"])
        .code(0)
        .says("would be pruned: 2 runs");
    prune(&["--keep", "1", "--lose-undo"]).code(3).says("--yes");
    prune(&["--older-than", "90d", "--lose-undo", "--yes"])
        .code(0)
        .says("nothing to prune");
    assert_eq!(kept(&sandbox), 3);
    prune(&["--keep", "1", "--lose-undo", "--yes"])
        .code(0)
        .says("pruned: 2 runs")
        .says("what 1 undo keeps");
    assert_eq!(kept(&sandbox), 1);
    assert!(!sandbox.path("state/runs").join(&runs[0]).exists());
    let journal = sandbox.verified_journal();
    let stones = journal.stones().expect("stones");
    assert_eq!(stones.len(), 2);
    assert!(stones.iter().all(|stone| {
        stone
            .text
            .as_ref()
            .is_some_and(|text| text.why == "enough" && !text.who.is_empty())
    }));
    sandbox.runwright(&["audit", "verify"]).code(0);

    // What was undone can go by itself, with the run that undid it and not before.
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    prune(&[&runs[2], "--yes"]).code(3).says("which undoes it");
    prune(&["--keep", "0", "--yes"])
        .code(0)
        .says("pruned: 2 runs");
    assert!(sandbox.path("data/old").exists(), "it was put back");
    sandbox
        .runwright(&["audit", "verify"])
        .code(0)
        .says("all holds: 4 runs");
    sandbox.runwright(&["history"]).code(0).says("no runs yet");
}

#[test]
fn a_run_that_has_not_ended_is_neither_pruned_nor_swept() {
    let sandbox = Sandbox::new();
    sandbox.write("data/old", "old\n");
    sandbox.write(
        "stops.yml",
        r#"
playbook: stops
version: 1.0.0
title: Delete and stop
inputs:
  file: { type: path }
steps:
  - id: gone
    title: Delete it
    file.delete: { path: "{{ file }}", keep: 1s }
  - id: fails
    title: Fail
    command: { argv: ["false"] }
    rollback: []
    on_failure: stop
"#,
    );
    let file = format!("file={}", sandbox.path("data/old"));
    sandbox
        .runwright(&["run", "./stops.yml", "--yes", "--set", &file])
        .code(1);
    let journal = sandbox.verified_journal();
    let run = journal.run("last").expect("a run").run;
    let kept_until = journal.kept_by(&run).expect("a list")[0].until;
    until("its time is over", || now_milliseconds() > kept_until);
    sandbox
        .runwright(&["journal", "sweep"])
        .code(0)
        .says("nothing has lapsed");
    sandbox
        .runwright(&[
            "journal",
            "prune",
            "last",
            "--reason",
            "x",
            "--yes",
            "--lose-undo",
        ])
        .code(3)
        .says("it has not ended");
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(
        fs::read(sandbox.path("data/old")).expect("it is back"),
        b"old\n"
    );
}
