//! A journal that can't be written: refused before anything acts, and in mid-run nothing further begins.

use std::{fs, os::unix::fs::PermissionsExt};

use camino::Utf8Path;
use runwright_local::{home::Home, journal::Journal, run::events};
use rusqlite::Connection;
use serde_json::Value as Json;

use crate::harness::{Ended, Sandbox, disk::Disk, sqlite, until};

/// A file that is overwritten, a database that is copied, a command; and in front of each the disk may be filled.
const WORK: &str = "playbook: full
version: 1.0.0
title: Three changes
inputs:
  fill: { type: integer, default: -1, help: In front of which step the disk is filled }
on_failure: ON_FAILURE
steps:
  - id: fill_0
    when: fill == 0
    command: { argv: [sh, -c, FILL] }
    rollback: []
  - id: file
    file.write: { path: data/file, content: new }
  - id: fill_1
    when: fill == 1
    command: { argv: [sh, -c, FILL] }
    rollback: []
  - id: database
    sqlite.backup: { database: data/kv.db, to: data/copy.db }
  - id: fill_2
    when: fill == 2
    command: { argv: [sh, -c, FILL] }
    rollback: []
  - id: program
    command: { argv: [sh, -c, \"echo done >data/program\"] }
    rollback:
      - id: remove
        file.delete: { path: data/program, keep: 0s }
  - id: fill_3
    when: fill == 3
    command: { argv: [sh, -c, FILL] }
    rollback: []
";

/// Fills the disk of the home to the last byte.
const FILL: &str = "\"cat /dev/zero >state/filler 2>/dev/null || true\"";

fn sandbox(on_failure: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let text = WORK.replace("ON_FAILURE", on_failure).replace("FILL", FILL);
    sandbox.write("full.yml", text);
    sandbox.write("data/file", "old");
    sqlite::create(&sandbox.path("data/kv.db"), 10);
    sandbox
}

/// Returns the steps that the newest run began to do, as the journal on `disk` has them.
fn started(sandbox: &Sandbox, disk: &Disk) -> Vec<String> {
    // SQLite follows links by itself, and would not come out where the disk is.
    disk.sh(sandbox, "rm -rf copied; cp -a state copied");
    let home = Home::find(&sandbox.path("copied"))
        .expect("a home")
        .expect("it is there");
    let journal = Journal::find(&home)
        .expect("a journal")
        .expect("it is there");
    let verification = journal.verify(None).expect("a verification");
    assert!(verification.holds(), "{verification:?}");
    let run = journal.run("last").expect("a run").run;
    let events = events(&journal, &run).expect("events");
    events
        .iter()
        .filter(|event| event.body.kind() == "started")
        .map(|event| event.step.to_string())
        .collect()
}

#[test]
fn a_disk_that_fills_up_in_a_run_stops_it_before_the_next_change_and_everything_is_undone() {
    for (fill, begun) in [
        (0, vec!["fill_0"]),
        (1, vec!["file", "fill_1"]),
        (2, vec!["file", "database", "fill_2"]),
    ] {
        let sandbox = sandbox("rollback");
        let disk = Disk::mount(&sandbox, "state", "size=24m");
        let before = sandbox.tree("data");
        let set = format!("fill={fill}");
        let run = [
            "run",
            "./full.yml",
            "--yes",
            "--output",
            "json",
            "--set",
            &set,
        ];
        let ended = disk.runwright(&sandbox, &run).code(1);
        let summary = ended.summary();
        // Nothing to undo is nothing rolled back.
        let outcome = if fill == 0 { "failed" } else { "rolled_back" };
        assert_eq!(summary["outcome"], outcome, "{summary}");
        assert_eq!(summary["exit_code"], 1, "{summary}");
        assert!(
            summary["why"].to_string().contains("disk is full"),
            "{summary}"
        );
        assert_eq!(sandbox.tree("data"), before, "filled before {fill}");
        assert_eq!(started(&sandbox, &disk), begun);
        assert!(!disk.inside("reserve").exists(), "it was given up");
        disk.runwright(&sandbox, &["show", "last"])
            .code(0)
            .says("free at least");

        // Nothing new begins before there is space again.
        disk.runwright(&sandbox, &["run", "./full.yml", "--yes"])
            .code(3)
            .says("its disk is full")
            .says("RUNWRIGHT_HOME");
        assert_eq!(sandbox.tree("data"), before);
        disk.sh(&sandbox, "rm state/filler");
        disk.runwright(&sandbox, &["run", "./full.yml", "--yes"])
            .code(0);
        assert!(disk.inside("reserve").exists(), "it is set aside again");
        assert!(sandbox.path("data/program").exists());
    }
}

#[test]
fn a_disk_that_fills_up_at_the_end_of_a_run_takes_the_reserve_and_the_run_succeeds() {
    let sandbox = sandbox("rollback");
    let disk = Disk::mount(&sandbox, "state", "size=24m");
    let run = ["run", "./full.yml", "--yes", "--set", "fill=3"];
    disk.runwright(&sandbox, &run).code(0);
    assert!(!disk.inside("reserve").exists(), "it was given up");
    // The undos, too, are written from what is left of it.
    disk.runwright(&sandbox, &["rollback", "last", "--yes"])
        .code(0);
    assert_eq!(
        fs::read_to_string(sandbox.path("data/file")).expect("a file"),
        "old"
    );
    assert!(!sandbox.path("data/program").exists());
    assert!(!sandbox.path("data/copy.db").exists());
}

#[test]
fn a_run_that_a_full_disk_has_stopped_goes_on_when_there_is_space() {
    let sandbox = sandbox("stop");
    let disk = Disk::mount(&sandbox, "state", "size=24m");
    let run = ["run", "./full.yml", "--yes", "--set", "fill=2"];
    disk.runwright(&sandbox, &run).code(1).says("disk is full");
    assert!(sandbox.path("data/copy.db").exists(), "kept where it was");
    disk.runwright(&sandbox, &["resume", "last", "--yes"])
        .code(3)
        .says("free at least");
    assert!(!sandbox.path("data/program").exists());
    disk.sh(&sandbox, "rm state/filler");
    disk.runwright(&sandbox, &["resume", "last", "--yes"])
        .code(0);
    assert!(sandbox.path("data/program").exists());
    assert!(disk.inside("reserve").exists());
}

#[test]
fn a_home_without_free_inodes_keeps_nothing_so_that_nothing_is_changed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inodes.yml",
        "playbook: inodes
version: 1.0.0
title: Change a file when there are no inodes left
steps:
  - id: fill
    command: { argv: [sh, -c, \"i=0; while touch state/f$i 2>/dev/null; do i=$((i+1)); done; echo printed\"] }
    rollback: []
  - id: file
    file.write: { path: data/file, content: new }
",
    );
    sandbox.write("data/file", "old");
    let disk = Disk::mount(&sandbox, "state", "size=64m,nr_inodes=60");
    let before = sandbox.tree("data");
    let run = ["run", "./inodes.yml", "--yes"];
    disk.runwright(&sandbox, &run)
        .code(1)
        .says("No space left")
        // What it printed can't be kept, and that is no reason to fail.
        .says("could be kept for `runwright logs`");
    assert_eq!(sandbox.tree("data"), before);
    assert_eq!(started(&sandbox, &disk), ["fill"]);
    disk.runwright(&sandbox, &run).code(3).says("No space left");
}

#[test]
fn a_target_on_a_full_disk_fails_its_step_and_the_rest_is_undone() {
    let sandbox = Sandbox::new();
    sandbox.write("source", vec![b'x'; 3 << 20]);
    sandbox.write("data/file", "old");
    sandbox.write(
        "target.yml",
        "playbook: target
version: 1.0.0
title: Copy what does not fit
steps:
  - id: file
    file.write: { path: data/file, content: new }
  - id: copy
    file.copy: { from: source, to: small/copy }
",
    );
    let disk = Disk::mount(&sandbox, "state", "size=24m");
    disk.sh(
        &sandbox,
        "mkdir small; mount -t tmpfs -o size=1m tmpfs small",
    );
    disk.runwright(&sandbox, &["run", "./target.yml", "--yes"])
        .code(1)
        .says("No space left");
    assert_eq!(
        fs::read_to_string(sandbox.path("data/file")).expect("a file"),
        "old"
    );
    assert_eq!(
        disk.sh(&sandbox, "ls -A small"),
        "",
        "nothing half done is left"
    );
    assert!(disk.inside("reserve").exists(), "the home has space");
}

#[test]
fn a_step_whose_output_can_not_be_kept_goes_on_and_the_loss_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "loud.yml",
        format!(
            "playbook: loud
version: 1.0.0
title: Print on a full disk
steps:
  - id: loud
    effect: read
    command: {{ argv: [sh, -c, {}] }}
  - id: after
    effect: read
    command: {{ argv: [echo, all is well] }}
",
            FILL.replace("|| true", "|| true; yes | head -c 300000")
        ),
    );
    let disk = Disk::mount(&sandbox, "state", "size=24m");
    let ended = disk.runwright(&sandbox, &["run", "./loud.yml", "--output", "json"]);
    let ended = ended.code(0);
    let lost: Vec<Json> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).expect("JSON"))
        .filter(|line| line["step"] == "loud" && line["kind"] == "finished")
        .collect();
    let output = &lost[0]["data"]["output"][0];
    assert_eq!(output["bytes"], 300_000, "{lost:?}");
    assert!(output["lost"].to_string().contains("No space"), "{lost:?}");
    disk.runwright(&sandbox, &["show", "last"])
        .code(0)
        .says("not all of its stdout could be kept");
}

/// A home with one run in it that has stopped, and one that succeeded.
fn with_runs() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "touch.yml",
        "playbook: touch
version: 1.0.0
title: Touch a file, twice
inputs: { good: { type: boolean, default: false } }
on_failure: stop
steps:
  - id: first
    file.write: { path: data/first, content: x }
  - id: second
    when: not good
    command: { argv: [test, -e, data/go-on] }
    rollback: []
",
    );
    sandbox.write("data/keep", "");
    sandbox
        .runwright(&["run", "./touch.yml", "--yes", "--set", "good=true"])
        .code(0);
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    sandbox.runwright(&["run", "./touch.yml", "--yes"]).code(1);
    // Everything into the one file, as a checkpoint would.
    let journal = Connection::open(sandbox.path("state/journal.db")).expect("it opens");
    let folded: i64 = journal
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .expect("a checkpoint");
    assert_eq!(folded, 0);
    sandbox
}

/// Fails unless everything that would change something is refused, says `why`, and leaves targets and home alone.
#[track_caller]
fn all_refused(sandbox: &Sandbox, why: &str, start: &dyn Fn(&[&str]) -> Ended) {
    let before = sandbox.tree("data");
    for arguments in [
        ["run", "./touch.yml", "--yes"],
        ["resume", "last", "--yes"],
        ["rollback", "last", "--yes"],
    ] {
        let ended = start(&arguments).code(3).says(why);
        assert!(ended.stderr.contains("hint: "), "{arguments:?}: {ended:?}");
        assert_eq!(sandbox.tree("data"), before, "{arguments:?}");
    }
}

#[test]
fn a_journal_that_is_none_or_can_not_be_trusted_is_refused_before_anything_acts() {
    type Spoil = fn(&Sandbox);
    let journal = |sandbox: &Sandbox| sandbox.path("state/journal.db");
    let cases: [(&str, &str, Spoil); 8] = [
        ("a folder", "journal.db", |sandbox| {
            fs::remove_file(sandbox.path("state/journal.db")).expect("removed");
            fs::create_dir(sandbox.path("state/journal.db")).expect("a folder");
        }),
        ("a text", "is not a journal of runwright", |sandbox| {
            sandbox.write("state/journal.db", "no database\n".repeat(500));
        }),
        ("emptied", "is not a journal of runwright", |sandbox| {
            sandbox.write("state/journal.db", "");
        }),
        ("cut off", "the file is damaged", |sandbox| {
            let file = fs::File::options()
                .write(true)
                .open(sandbox.path("state/journal.db"));
            file.and_then(|file| file.set_len(6000)).expect("it is cut");
        }),
        ("newer", "it needs runwright 9.1.0 or later", |sandbox| {
            let newer = Connection::open(sandbox.path("state/journal.db")).expect("it opens");
            newer
                .execute_batch(
                    "PRAGMA user_version = 99; UPDATE meta SET value = '9.1.0' WHERE name = 'engine'",
                )
                .expect("it is newer now");
        }),
        ("home for a group", "lets others write to it", |sandbox| {
            let mode = fs::Permissions::from_mode(0o770);
            fs::set_permissions(sandbox.path("state"), mode).expect("a mode");
        }),
        ("journal for all", "lets others write to it", |sandbox| {
            let mode = fs::Permissions::from_mode(0o666);
            fs::set_permissions(sandbox.path("state/journal.db"), mode).expect("a mode");
        }),
        (
            "a link to what is open",
            "lets others write to it",
            |sandbox| {
                fs::rename(sandbox.path("state"), sandbox.path("elsewhere")).expect("moved");
                let mode = fs::Permissions::from_mode(0o777);
                fs::set_permissions(sandbox.path("elsewhere"), mode).expect("a mode");
                std::os::unix::fs::symlink("elsewhere", sandbox.path("state")).expect("a link");
            },
        ),
    ];
    for (name, why, spoil) in cases {
        let sandbox = with_runs();
        assert!(journal(&sandbox).is_file());
        spoil(&sandbox);
        eprintln!("{name}");
        all_refused(&sandbox, why, &|arguments| sandbox.runwright(arguments));
        sandbox.runwright(&["history"]).code(1).says(why);
    }
}

#[test]
fn a_home_of_somebody_else_is_refused() {
    let sandbox = with_runs();
    let theirs = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(sandbox.path("state"), Some(65534), None).expect("given away");
        sandbox.path("state")
    } else {
        "/usr".into()
    };
    all_refused(&sandbox, "it belongs to", &|arguments| {
        let home = ["--home", theirs.as_str()];
        sandbox.runwright(&[arguments, &home].concat())
    });
}

#[test]
fn a_link_to_a_home_of_our_own_is_a_home() {
    let sandbox = with_runs();
    fs::rename(sandbox.path("state"), sandbox.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink("elsewhere", sandbox.path("state")).expect("a link");
    sandbox.write("data/go-on", "");
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
}

#[test]
fn a_journal_that_can_only_be_read_is_read_and_refused_for_all_else() {
    // By its mode: root goes by none, so that its capabilities are dropped.
    let sandbox = with_runs();
    let mode = fs::Permissions::from_mode(0o400);
    fs::set_permissions(sandbox.path("state/journal.db"), mode).expect("a mode");
    let start = |arguments: &[&str]| {
        let mut command = sandbox.command("setpriv");
        if rustix::process::geteuid().is_root() {
            command.args(["--bounding-set=-all", "--inh-caps=-all"]);
        }
        let output = command
            .arg(crate::harness::PROGRAM)
            .args(arguments)
            .output();
        Ended::of(output.expect("setpriv starts"))
    };
    all_refused(&sandbox, "it can only be read", &start);
    for arguments in [&["history"][..], &["show", "last"], &["logs", "last"]] {
        start(arguments).code(0);
    }

    // By its disk, with and without a log beside it.
    for without_log in [false, true] {
        let sandbox = with_runs();
        let log = sandbox.path("state/journal.db-wal");
        if !without_log {
            // Whoever reads makes one.
            sandbox.runwright(&["history"]).code(0);
        }
        assert_eq!(log.exists(), !without_log);
        let disk = Disk::mount(&sandbox, "other", "size=1m");
        disk.sh(
            &sandbox,
            "mount --bind state state && mount -o remount,ro,bind state",
        );
        let before = sandbox.tree("state");
        let start = |arguments: &[&str]| disk.runwright(&sandbox, arguments);
        all_refused(&sandbox, "it can only be read", &start);
        for arguments in [&["history"][..], &["show", "last"], &["logs", "last"]] {
            start(arguments).code(0);
        }
        assert_eq!(sandbox.tree("state"), before);
    }
}

#[test]
fn a_journal_that_is_taken_away_in_mid_run_stops_the_run_before_the_next_change() {
    for taken in [
        "mv state/journal.db state/away",
        "rm state/journal.db state/journal.db-wal",
        "mv state/journal.db-wal state/away",
        "cp state/journal.db state/copy && mv state/journal.db state/away && mv state/copy state/journal.db",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("data/file", "old");
        sandbox.write(
            "taken.yml",
            format!(
                "playbook: taken
version: 1.0.0
title: Lose the journal
steps:
  - id: changed
    file.write: {{ path: data/file, content: new }}
  - id: taken
    unless: {{ file.stat: {{ path: taken }}, that: result.exists }}
    command: {{ argv: [sh, -c, \"touch taken; {taken}\"] }}
    rollback: []
  - id: after
    command: {{ argv: [touch, data/after] }}
    rollback: []
"
            ),
        );
        let ended = sandbox
            .runwright(&["run", "./taken.yml", "--yes", "--output", "json"])
            .code(6)
            .says("was moved, removed or replaced")
            .says("step `taken`: what it did last is not in the journal");
        assert!(!sandbox.path("data/after").exists(), "{taken}");
        assert!(!ended.stdout.contains("\"kind\":\"summary\""), "{ended:?}");
        let log = sandbox.path("state/journal.db-wal");
        if taken.starts_with("rm") {
            continue;
        }
        if taken.contains("-wal") {
            fs::rename(sandbox.path("state/away"), log).expect("it is put back");
        } else {
            fs::rename(sandbox.path("state/away"), sandbox.path("state/journal.db"))
                .expect("it is put back");
        }
        sandbox.runwright(&["resume", "last", "--yes"]).code(0);
        assert!(sandbox.path("data/after").exists(), "{taken}");
        sandbox.verified_journal();
    }
}

#[test]
fn what_runs_beside_is_ended_when_the_journal_breaks() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "beside.yml",
        "playbook: beside
version: 1.0.0
title: Lose the journal while something runs
steps:
  - id: all
    at_once: 2
    parallel:
      - id: slow
        command: { argv: [sh, -c, \"echo $$ >pid.new; mv pid.new pid; until test -e go-on; do sleep 0.02; done; touch slow\"] }
        rollback: []
      - id: taken
        command: { argv: [sh, -c, \"until test -e pid; do sleep 0.02; done; mv state/journal.db state/away\"] }
        rollback: []
      - id: next
        command: { argv: [touch, next] }
        rollback: []
",
    );
    sandbox
        .runwright(&["run", "./beside.yml", "--yes"])
        .code(6)
        .says("step `slow`: what it did last is not in the journal");
    let pid = fs::read_to_string(sandbox.path("pid")).expect("it ran");
    assert!(
        !Utf8Path::new("/proc").join(pid.trim()).exists(),
        "it was ended"
    );
    assert!(!sandbox.path("next").exists());
}

#[test]
fn a_journal_that_others_keep_locked_stops_the_run() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "locked.yml",
        "playbook: locked
version: 1.0.0
title: Wait, then change something
steps:
  - id: wait
    unless: { file.stat: { path: go-on }, that: result.exists }
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done\"] }
    rollback: []
  - id: after
    command: { argv: [touch, after] }
    rollback: []
",
    );
    let child = sandbox
        .program(&["run", "./locked.yml", "--yes"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    until("the first step runs", || sandbox.path("running").exists());
    let other = Connection::open(sandbox.path("state/journal.db")).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    sandbox.write("go-on", "");
    Ended::of(child.wait_with_output().expect("it ends"))
        .code(6)
        .says("another process has kept it locked for 60 s")
        .says("fuser -v");
    assert!(!sandbox.path("after").exists());
    drop(other);
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    assert!(sandbox.path("after").exists());
}
