//! Proving the journal: each way of altering it, done with plain SQLite past the engine, is found and named.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use camino::Utf8PathBuf;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::harness::{Ended, Sandbox, need, root, until};

const PLAYBOOK: &str = r#"
playbook: greet
version: 1.0.0
title: Write a greeting
inputs:
  file: { type: path }
  greeting: { type: string }
steps:
  - id: look
    title: Is there room
    system.memory: {}
    expect:
      - that: result.total > bytes("100000TiB")
        severity: warning
        else: "there is only {{ result.total }}"
  - id: write
    title: Write it
    file.write: { path: "{{ file }}", content: "{{ greeting }}\n" }
"#;

/// Takes away what keeps people with SQLite from changing the journal by mistake.
const FREE: &str = "
    DROP TRIGGER events_update; DROP TRIGGER events_delete; DROP TRIGGER events_insert;
    DROP TRIGGER begun_update; DROP TRIGGER begun_delete; DROP TRIGGER begun_insert;
    DROP TRIGGER stones_update; DROP TRIGGER stones_delete; DROP TRIGGER stones_insert;
    DROP TRIGGER signatures_update; DROP TRIGGER signatures_delete; DROP TRIGGER signatures_insert;";

/// Three runs that are signed; their heads are kept.
struct World {
    sandbox: Sandbox,
    /// The ids, in order, and the heads.
    runs: Vec<(String, String)>,
}

impl World {
    fn new() -> World {
        let mut sandbox = Sandbox::new();
        sandbox.write("greet.yml", PLAYBOOK);
        sandbox
            .runwright(&["audit", "keygen", "--out", "key.pem"])
            .code(0);
        let key = sandbox.path("key.pem");
        sandbox.set_env("RUNWRIGHT_SIGN_KEY", key.as_str());
        let runs = ["one", "two", "three"].map(|greeting| {
            let summary = greet(&sandbox, greeting).code(10).summary();
            let text = |name: &str| summary[name].as_str().expect(name).to_owned();
            assert_eq!(text("signed_by").len(), 32);
            (text("run"), text("head"))
        });
        World {
            sandbox,
            runs: runs.into(),
        }
    }

    /// Puts the ids in for `$1`, `$2` and `$3`.
    fn named(&self, text: &str) -> String {
        let runs = self.runs.iter().zip(1..);
        runs.fold(text.to_owned(), |text, ((run, _), number)| {
            text.replace(&format!("${number}"), run)
        })
    }

    /// Alters a copy of the whole folder; returns where it lies.
    fn altered(&self, sql: &str) -> Utf8PathBuf {
        let copy = self.sandbox.path("copy");
        drop(fs::remove_dir_all(&copy));
        let copied = Command::new("cp")
            .arg("-a")
            .args([self.sandbox.path("state"), copy.clone()])
            .status();
        assert!(copied.expect("cp").success());
        let journal = Connection::open(copy.join("journal.db")).expect("a journal");
        let sql = format!("{FREE} {}", self.named(sql));
        journal
            .execute_batch(&sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        copy
    }

    /// Verifies the altered copy; returns the report.
    fn report(&self, sql: &str, flags: &[&str]) -> Json {
        let home = self.altered(sql);
        let mut arguments = vec!["--home", home.as_str(), "--output", "json"];
        arguments.extend(["audit", "verify"]);
        arguments.extend(flags);
        let ended = self.sandbox.runwright(&arguments);
        assert!(ended.stderr.is_empty(), "{sql}: {ended:?}");
        let report = ended.summary();
        assert_eq!(ended.code == 0, report["holds"] == true, "{sql}: {report}");
        report
    }

    fn kept(&self) -> Vec<String> {
        let runs = self.runs.iter();
        runs.flat_map(|(run, head)| ["--head".to_owned(), format!("{run}={head}")])
            .collect()
    }
}

fn greet(sandbox: &Sandbox, greeting: &str) -> Ended {
    let file = format!("file={}", sandbox.path("greeting"));
    let greeting = format!("greeting={greeting}");
    sandbox.runwright(&[
        "--output",
        "json",
        "run",
        "./greet.yml",
        "--yes",
        "--set",
        &file,
        "--set",
        &greeting,
    ])
}

/// Returns run, seq and what of each fault.
fn faults(report: &Json) -> Vec<(String, Option<u64>, String)> {
    let faults = report["faults"].as_array().expect("faults");
    let mut faults: Vec<_> = faults
        .iter()
        .map(|fault| {
            assert!(fault["text"].as_str().is_some_and(|text| !text.is_empty()));
            assert!(fault["means"].as_str().is_some_and(|text| !text.is_empty()));
            (
                fault["run"].as_str().unwrap_or_default().to_owned(),
                fault["seq"].as_u64(),
                fault["what"].as_str().expect("a word").to_owned(),
            )
        })
        .collect();
    faults.sort();
    faults
}

#[test]
fn an_untouched_journal_holds_against_kept_heads_and_the_key() {
    let world = World::new();
    let kept = world.kept();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let report = world.report("", &kept);
    assert_eq!(report["holds"], true, "{report}");
    assert_eq!(report["notes"], json!([]), "the lists were compared");
    for ((run, head), found) in world
        .runs
        .iter()
        .zip(report["runs"].as_array().expect("runs"))
    {
        assert_eq!((&found["run"], &found["head"]), (&json!(run), &json!(head)));
    }
    world.report("", &["--key", "key.pem.pub"]);
    world
        .sandbox
        .runwright(&["audit", "verify", "--key", "key.pem.pub"])
        .code(0)
        .says("all holds: 3 runs")
        .says("3 signed");
    // A saved report, a saved history and lines are all files of heads.
    world.sandbox.write("report.json", report.to_string());
    let history = world.sandbox.runwright(&["history", "--output", "json"]);
    world.sandbox.write("history.json", history.stdout);
    let lines = world
        .runs
        .iter()
        .map(|(run, head)| format!("{run} {head}\n"));
    world.sandbox.write("lines", lines.collect::<String>());
    for file in ["report.json", "history.json", "lines"] {
        let ended = world
            .sandbox
            .runwright(&["audit", "verify", "--heads", file]);
        ended.code(0);
    }
    let (run, head) = (&world.runs[0].0, &world.runs[1].1);
    world
        .sandbox
        .runwright(&["audit", "verify", "--head", &format!("{run}={head}")])
        .code(1)
        .says(&format!("FAULT run {run}: the kept head {head}"))
        .says("cut, or written anew");
    world
        .sandbox
        .runwright(&["audit", "verify", "--head", "x=y"])
        .code(2);
    let show = world.sandbox.runwright(&["show", run]).code(0);
    show.says(&world.runs[0].1).says("signed by ");
}

#[test]
fn each_alteration_of_the_journal_is_found_and_named() {
    let world = World::new();
    let two = world.runs[1].0.as_str();
    let three = world.runs[2].0.as_str();
    let b = "run = '$2'";
    for (sql, expected) in [
        // A byte.
        (
            format!("UPDATE events SET data = replace(data, 'two', 'twO') WHERE {b} AND seq = 1"),
            vec![(two, Some(1), "event_changed")],
        ),
        (
            format!("UPDATE events SET at = at + 1 WHERE {b} AND seq = 3"),
            vec![(two, Some(3), "event_changed")],
        ),
        // Removed, with and without closing the gap.
        (
            format!("DELETE FROM events WHERE {b} AND seq = 3"),
            vec![(two, Some(3), "event_removed")],
        ),
        (
            format!(
                "DELETE FROM events WHERE {b} AND seq = 3;
                 UPDATE events SET seq = seq + 100 WHERE {b} AND seq > 3;
                 UPDATE events SET seq = seq - 101 WHERE {b} AND seq > 100"
            ),
            vec![
                (two, Some(3), "event_removed"),
                (two, Some(6), "end_cut"),
            ],
        ),
        // Inserted.
        (
            format!(
                "UPDATE events SET seq = seq + 100 WHERE {b} AND seq >= 3;
                 UPDATE events SET seq = seq - 99 WHERE {b} AND seq > 100;
                 INSERT INTO events SELECT run, 3, at, kind, step, '{{}}', hash FROM events WHERE {b} AND seq = 2"
            ),
            vec![
                (two, Some(3), "event_inserted"),
                (two, Some(6), "signature_wrong"),
            ],
        ),
        // Swapped.
        (
            format!(
                "UPDATE events SET seq = 103 WHERE {b} AND seq = 3;
                 UPDATE events SET seq = 3 WHERE {b} AND seq = 4;
                 UPDATE events SET seq = 4 WHERE {b} AND seq = 103"
            ),
            vec![(two, Some(3), "event_moved")],
        ),
        // A run that was removed, in the middle and at the end.
        (
            format!(
                "DELETE FROM events WHERE {b}; DELETE FROM begun WHERE {b}; DELETE FROM runs WHERE {b};
                 DELETE FROM steps WHERE {b}; DELETE FROM signatures WHERE {b};"
            ),
            vec![("", None, "run_missing"), (three, None, "run_order")],
        ),
        (
            "DELETE FROM events WHERE run = '$3'; DELETE FROM begun WHERE run = '$3';
             DELETE FROM runs WHERE run = '$3';
             UPDATE sqlite_sequence SET seq = 2 WHERE name = 'begun'"
                .to_owned(),
            vec![(three, None, "run_missing")],
        ),
        // The end, with the row made to fit.
        (
            format!(
                "DELETE FROM events WHERE {b} AND seq = 6;
                 UPDATE runs SET head = (SELECT hash FROM events WHERE {b} AND seq = 5),
                     state = 'running', outcome = NULL, exit_code = NULL, ended_at = NULL WHERE {b}"
            ),
            vec![(two, Some(6), "end_cut")],
        ),
        // What is listed.
        (
            format!("UPDATE runs SET outcome = 'failed', exit_code = 1 WHERE {b}"),
            vec![(two, None, "projection_wrong")],
        ),
        (
            format!("UPDATE steps SET changed = 0 WHERE {b} AND step = 'write'"),
            vec![(two, None, "projection_wrong")],
        ),
        (
            format!("DELETE FROM steps WHERE {b} AND step = 'write'"),
            vec![(two, None, "projection_wrong")],
        ),
        (
            format!("DELETE FROM findings WHERE {b}"),
            vec![(two, None, "projection_wrong")],
        ),
        (
            "INSERT INTO undos (run, step, seq, until) VALUES ('$2', 'write', 4, 0)".to_owned(),
            vec![(two, None, "projection_wrong")],
        ),
        // Signatures.
        (
            format!("UPDATE signatures SET signature = zeroblob(64) WHERE {b}"),
            vec![(two, Some(6), "signature_wrong")],
        ),
        (
            format!(
                "UPDATE signatures SET hash = (SELECT hash FROM events WHERE {b} AND seq = 4) WHERE {b}"
            ),
            vec![(two, Some(6), "signature_wrong")],
        ),
        // A run that never began.
        (
            format!(
                "INSERT INTO events SELECT 'strangerrun1', seq, at, kind, step, data, hash FROM events WHERE {b}"
            ),
            vec![("strangerrun1", None, "run_strange")],
        ),
    ] {
        let report = world.report(&sql, &[]);
        let found = faults(&report);
        let found: Vec<_> = found
            .iter()
            .map(|(run, seq, what)| (run.as_str(), *seq, what.as_str()))
            .collect();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{sql}\n{report}");
    }
}

#[test]
fn an_end_that_was_cut_without_a_trace_shows_only_against_a_kept_head_or_the_key() {
    let world = World::new();
    let two = world.runs[1].0.clone();
    let cut = "DELETE FROM events WHERE run = '$2' AND seq = 6;
        DELETE FROM signatures WHERE run = '$2';
        UPDATE runs SET head = (SELECT hash FROM events WHERE run = '$2' AND seq = 5),
            state = 'running', outcome = NULL, exit_code = NULL, ended_at = NULL WHERE run = '$2'";
    let report = world.report(cut, &[]);
    assert_eq!(report["holds"], true, "the file alone can't tell: {report}");
    let kept = world.kept();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let found = faults(&world.report(cut, &kept));
    assert_eq!(found, [(two.clone(), None, "head_missing".to_owned())]);
    let found = faults(&world.report(cut, &["--key", "key.pem.pub"]));
    assert_eq!(found, [(two, Some(5), "signature_missing".to_owned())]);
}

#[test]
fn signatures_are_by_the_key_that_was_asked_for_and_from_the_run_that_was_asked_for() {
    let mut world = World::new();
    world
        .sandbox
        .runwright(&["audit", "keygen", "--out", "other.pem"])
        .code(0);
    let found = faults(&world.report("", &["--key", "other.pem.pub"]));
    assert_eq!(found.len(), 3);
    assert!(
        found
            .iter()
            .all(|(.., what)| what == "signature_of_another")
    );
    let unsigned = "DELETE FROM signatures WHERE run = '$1'";
    let from = ["--key", "key.pem.pub", "--signed-from", &world.runs[1].0];
    assert_eq!(world.report(unsigned, &from)["holds"], true);
    let found = faults(&world.report(unsigned, &["--key", "key.pem.pub"]));
    assert_eq!(found.len(), 1, "{found:?}");

    // A key that others can read, and one that is missing, are refused before anything acts.
    let key = world.sandbox.path("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let before = fs::read(world.sandbox.path("greeting")).expect("a file");
    greet(&world.sandbox, "four").code(3).says("chmod 600");
    world.sandbox.set_env("RUNWRIGHT_SIGN_KEY", "none.pem");
    greet(&world.sandbox, "four").code(3).says("keygen");
    let after = fs::read(world.sandbox.path("greeting")).expect("a file");
    assert_eq!(before, after);
    assert_eq!(
        world
            .sandbox
            .verified_journal()
            .begun()
            .expect("runs")
            .len(),
        3
    );
    world
        .sandbox
        .runwright(&["audit", "keygen", "--out", "key.pem"])
        .code(1)
        .says("never written over");
}

#[test]
fn a_text_in_the_folder_that_was_altered_is_found_and_a_file_alone_is_verified_with_a_note() {
    let world = World::new();
    let home = world.altered("");
    let texts = home.join("runs").join(&world.runs[0].0).join("texts");
    let text = texts.read_dir_utf8().expect("texts").next().expect("one");
    fs::write(text.expect("an entry").path(), "playbook: other\n").expect("a file");
    let verify = |home: &str| {
        world
            .sandbox
            .runwright(&["--home", home, "--output", "json", "audit", "verify"])
    };
    let report = verify(home.as_str()).code(1).summary();
    assert_eq!(
        faults(&report),
        [(world.runs[0].0.clone(), None, "text_changed".to_owned())]
    );
    fs::remove_dir_all(home.join("runs")).expect("removed");
    let report = verify(home.as_str()).code(0).summary();
    assert_eq!(
        report["notes"].as_array().map(Vec::len),
        Some(3),
        "{report}"
    );
}

#[test]
fn a_copy_that_nobody_can_write_is_verified() {
    need("unshare", "util-linux");
    let world = World::new();
    let home = world.altered("");
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" &&
        ! touch \"$1/x\" 2>/dev/null && shift && exec \"$@\"";
    let mut unshare = world.sandbox.command("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    unshare.args([
        home.as_str(),
        crate::harness::PROGRAM,
        "--home",
        home.as_str(),
    ]);
    unshare.args(["audit", "verify"]);
    Ended::of(unshare.output().expect("unshare"))
        .code(0)
        .says("all holds: 3 runs");
}

#[test]
fn a_journal_is_verified_while_a_run_goes_on_and_its_lists_hold_after_a_resume() {
    let world = World::new();
    let sandbox = &world.sandbox;
    sandbox.write(
        "slow.yml",
        r#"
playbook: slow
version: 1.0.0
title: Wait for a file
inputs:
  file: { type: path }
steps:
  - id: first
    title: Write beside it
    file.write: { path: "{{ file }}.first", content: "x" }
  - id: wait
    title: Wait
    shell: { script: "until [ -e \"$FILE\" ]; do sleep 0.05; done", env: { FILE: "{{ file }}" } }
    rollback: []
  - id: last
    title: Write after it
    file.write: { path: "{{ file }}.last", content: "x" }
"#,
    );
    let file = format!("file={}", sandbox.path("go"));
    let mut child = sandbox.start(&["run", "./slow.yml", "--yes", "--set", &file]);
    until("the first step is done", || {
        sandbox.path("go.first").exists()
    });
    let key = ["audit", "verify", "--key", "key.pem.pub"];
    sandbox.runwright(&key).code(0).says("all holds: 4 runs");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.expect("kill").success());
    child.wait().expect("it ends");
    sandbox.runwright(&["audit", "verify"]).code(0);
    sandbox.write("go", "");
    sandbox.runwright(&["resume", "last"]).code(0);
    let steps = sandbox.verified_journal();
    let run = steps.run("last").expect("a run").run;
    let steps = steps.steps(&run).expect("steps");
    let places: Vec<(&str, u32)> = steps
        .iter()
        .map(|row| (row.step.as_str(), row.position))
        .collect();
    assert_eq!(places, [("first", 0), ("wait", 1), ("last", 2)]);
    sandbox.runwright(&key).code(0);
}

#[test]
fn the_stone_of_a_pruned_run_is_proved_and_its_signature_still_vouches() {
    let world = World::new();
    let (run, head) = &world.runs[0];
    world
        .sandbox
        .runwright(&[
            "journal",
            "prune",
            run,
            "--reason",
            "gone",
            "--yes",
            "--lose-undo",
        ])
        .code(0);
    let kept = format!("{run}={head}");
    let flags = ["--key", "key.pem.pub", "--head", &kept];
    assert_eq!(world.report("", &flags)["holds"], true);
    for (sql, what) in [
        (
            "UPDATE stones SET why = 'never' WHERE run = '$1'",
            "stone_changed",
        ),
        (
            "UPDATE stones SET who = 'nobody' WHERE run = '$1'",
            "stone_changed",
        ),
        (
            "UPDATE stones SET events = 1 WHERE run = '$1'",
            "stone_changed",
        ),
        (
            "UPDATE stones SET hash = zeroblob(5) WHERE run = '$1'",
            "stone_changed",
        ),
        (
            "UPDATE stones SET first_hash = zeroblob(32) WHERE run = '$1'",
            "stone_changed",
        ),
        ("DELETE FROM stones WHERE run = '$1'", "event_removed"),
        (
            "DELETE FROM signatures WHERE run = '$1'; UPDATE stones SET last_hash = zeroblob(32), hash = NULL WHERE run = '$1'",
            "head_missing",
        ),
    ] {
        let report = world.report(sql, &["--head", &kept]);
        let found = faults(&report);
        assert!(
            found
                .iter()
                .any(|(of, _, found)| of == run && found == what),
            "{sql}: {report}"
        );
    }
    let export = world.sandbox.path("pruned.jsonl");
    world
        .sandbox
        .runwright(&["audit", "export", "--out", export.as_str()])
        .code(0);
    python(&world.sandbox, export.as_str(), &[&kept]).code(0);
    let text = fs::read_to_string(&export).expect("an export");
    fs::write(
        &export,
        text.replace("\"why\":\"gone\"", "\"why\":\"none\""),
    )
    .expect("a file");
    python(&world.sandbox, export.as_str(), &[])
        .code(1)
        .says("stone");
    world
        .sandbox
        .runwright(&["audit", "verify", "--export", export.as_str()])
        .code(1)
        .says("its stone is not the one");
}

/// Verifies an export by the script that knows nothing of us.
fn python(sandbox: &Sandbox, export: &str, heads: &[&str]) -> Ended {
    let script = root().join("scripts/verify-export.py");
    let mut python = sandbox.command("python3");
    python.args([script.as_str(), export]).args(heads);
    Ended::of(
        python
            .output()
            .expect("python3 is missing: apt-get install -y --no-install-recommends python3"),
    )
}

#[test]
fn an_export_is_verified_by_us_and_by_plain_python_and_no_alteration_passes() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let good = sandbox.path("good.jsonl");
    sandbox
        .runwright(&["audit", "export", "--all", "--out", good.as_str()])
        .code(0);
    sandbox
        .runwright(&["audit", "export", "--out", good.as_str()])
        .code(1);
    let text = fs::read_to_string(&good).expect("an export");
    assert_eq!(sandbox.runwright(&["audit", "export"]).code(0).stdout, text);
    let schema: Json =
        serde_json::from_str(&sandbox.runwright(&["schema", "audit"]).stdout).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines {
        let json: Json = serde_json::from_str(line).expect("JSON");
        assert!(schema.is_valid(&json), "{line}");
    }
    let report = sandbox.runwright(&["--output", "json", "audit", "verify"]);
    assert!(schema.is_valid(&report.summary()));

    let (run, head) = &world.runs[1];
    let kept = format!("{run}={head}");
    let ours = |path: &str, flags: &[&str]| {
        let mut arguments = vec!["audit", "verify", "--export", path];
        arguments.extend(flags);
        sandbox.runwright(&arguments)
    };
    python(sandbox, good.as_str(), &[&kept])
        .code(0)
        .says("all holds: 3 runs");
    ours(good.as_str(), &["--head", &kept, "--key", "key.pem.pub"])
        .code(0)
        .says("all holds: 3 runs");
    let some = sandbox.write(
        "some.jsonl",
        sandbox.runwright(&["audit", "export", run]).code(0).stdout,
    );
    python(sandbox, some.as_str(), &[&kept]).code(0);
    ours(some.as_str(), &["--head", &kept]).code(0);
    ours(
        some.as_str(),
        &["--head", &format!("{}={head}", world.runs[0].0)],
    )
    .code(1)
    .says("run_missing".split('_').next().expect("a word"));

    // The lines: export, then of each run one, six events and a signature, then the end.
    assert_eq!(lines.len(), 1 + 3 * 8 + 1);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let counted = |lines: &mut Vec<String>, runs: u32, events: u32| {
        let last = lines.len() - 1;
        lines[last] = format!("{{\"line\":\"end\",\"runs\":{runs},\"events\":{events}}}");
    };
    let said = |line: &mut String, change: &dyn Fn(&mut Json)| {
        let mut json: Json = serde_json::from_str(line).expect("JSON");
        change(&mut json);
        *line = json.to_string();
    };
    let altered: Vec<(&str, String)> = vec![
        (
            "a byte",
            with(&|lines| {
                said(&mut lines[11], &|line| {
                    let data = line["data"].as_str().expect("data").replacen('a', "b", 1);
                    line["data"] = json!(data);
                });
            }),
        ),
        (
            "a time",
            with(&|lines| said(&mut lines[11], &|line| line["at"] = json!(7))),
        ),
        (
            "a hash",
            with(&|lines| {
                said(&mut lines[11], &|line| {
                    line["hash"] = json!("00".repeat(32));
                });
            }),
        ),
        (
            "an event removed",
            with(&|lines| {
                lines.remove(11);
                counted(lines, 3, 17);
            }),
        ),
        (
            "an event twice",
            with(&|lines| {
                lines.insert(11, lines[11].clone());
                counted(lines, 3, 19);
            }),
        ),
        ("two events swapped", with(&|lines| lines.swap(10, 11))),
        (
            "an end cut",
            with(&|lines| {
                lines.drain(15..17);
                counted(lines, 3, 17);
            }),
        ),
        (
            "an end cut and said so, but signed",
            with(&|lines| {
                let head: Json = serde_json::from_str(&lines[14]).expect("JSON");
                said(&mut lines[9], &|line| {
                    line["events"] = json!(5);
                    line["head"] = head["hash"].clone();
                });
                lines.remove(15);
                counted(lines, 3, 17);
            }),
        ),
        (
            "a run removed",
            with(&|lines| {
                lines.drain(9..17);
                counted(lines, 2, 12);
            }),
        ),
        (
            "a run removed and renumbered",
            with(&|lines| {
                lines.drain(9..17);
                said(&mut lines[9], &|line| line["number"] = json!(2));
                counted(lines, 2, 12);
            }),
        ),
        (
            "the last run removed",
            with(&|lines| {
                lines.drain(17..25);
            }),
        ),
        (
            "two runs swapped",
            with(&|lines| {
                let run: Vec<String> = lines.drain(9..17).collect();
                lines.splice(1..1, run);
            }),
        ),
        ("cut in the middle", with(&|lines| lines.truncate(12))),
        (
            "the first line gone",
            with(&|lines| {
                lines.remove(0);
            }),
        ),
        (
            "a newer version",
            with(&|lines| said(&mut lines[0], &|line| line["v"] = json!(2))),
        ),
        (
            "a line that goes on after the end",
            with(&|lines| {
                let line = lines[11].clone();
                lines.push(line);
            }),
        ),
        (
            "a signature over another hash",
            with(&|lines| {
                said(&mut lines[16], &|line| {
                    line["hash"] = json!("00".repeat(32));
                });
            }),
        ),
    ];
    for (what, text) in altered {
        let path = sandbox.write("altered.jsonl", text);
        let found = ours(path.as_str(), &[]);
        assert!(
            found.code == 1 && found.stdout.contains("FAULT"),
            "{what}: {found:?}"
        );
        let found = python(sandbox, path.as_str(), &[]);
        assert!(
            found.code == 1 && found.stderr.contains("FAULT"),
            "{what}: {found:?}"
        );
    }
    // Only a kept head proves this one.
    let rewritten = with(&|lines| {
        let head: Json = serde_json::from_str(&lines[14]).expect("JSON");
        said(&mut lines[9], &|line| {
            line["events"] = json!(5);
            line["head"] = head["hash"].clone();
        });
        lines.drain(15..17);
        counted(lines, 3, 17);
    });
    let path = sandbox.write("altered.jsonl", rewritten);
    ours(path.as_str(), &[]).code(0);
    ours(path.as_str(), &["--head", &kept]).code(1);
    ours(path.as_str(), &["--key", "key.pem.pub"]).code(1);
    python(sandbox, path.as_str(), &[]).code(0);
    python(sandbox, path.as_str(), &[&kept]).code(1);
    // Who made a signature only we check.
    let forged = with(&|lines| {
        said(&mut lines[16], &|line| {
            line["signature"] = json!("00".repeat(64));
        });
    });
    let path = sandbox.write("altered.jsonl", forged);
    ours(path.as_str(), &[])
        .code(1)
        .says("was not made by the key");
}
