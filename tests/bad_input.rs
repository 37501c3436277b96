//! Playbooks, folders and databases as they should not be: a clear error or a quiet going on, nothing lost.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{
    Ended, Sandbox, need,
    sqlite::{self, Other, Work},
};

const GOOD: &str = "playbook: good
version: 1.0.0
title: Touch a file
inputs:
  file: { type: path, default: /nowhere }
steps:
  - id: touch
    title: Touch it
    command: { argv: [touch, touched] }
    rollback: []
";

/// Fails unless `run` and `check` refuse the file `book.yml` with exit code 2 and nothing was run.
#[track_caller]
fn refused(sandbox: &Sandbox, says: &str) -> Ended {
    let started = Instant::now();
    sandbox
        .runwright(&["run", "./book.yml", "--yes"])
        .code(2)
        .says(says);
    let ended = sandbox.runwright(&["check", "./book.yml"]);
    assert_ne!(ended.code, 0);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert!(!sandbox.path("touched").exists());
    let history = sandbox.runwright(&["history", "--output", "json"]).code(0);
    assert!(
        matches!(history.stdout.trim(), "" | "[]"),
        "nothing was started: {history:?}"
    );
    ended.says(says)
}

#[test]
fn twelve_mistakes_get_twelve_located_errors_in_one_run() {
    let sandbox = Sandbox::new();
    let book = "playbook: book
version: one
titel: A key that is not known
inputs:
  number: { type: integr }
  limit: { type: bytes, default: 10 parsecs }
steps:
  - id: touch
    title: Touch it
    command: { argv: [touch, touched] }
  - id: touch
    title: The id a second time
    rollback: []
    command: { argv: [touch, touched] }
  - id: kind
    title: A kind that is not known
    sqlite.chek: { database: /kv.db }
  - id: arguments
    title: Arguments that are not known
    file.stat: { pth: /etc/hosts }
  - id: name
    title: A name that is not known
    when: limt > bytes(\"1KiB\")
    file.stat: { path: /etc/hosts }
  - id: expression
    title: An expression that can't be read
    when: number >
    file.stat: { path: /etc/hosts }
  - id: mode
    title: A mode that is a number
    file.write: { path: /tmp/x, content: x, mode: 640 }
  - id: template
    title: \"A template that does not {{ end\"
    file.stat: { path: /etc/hosts }
  - id: later
    title: A key of a later version
    approvers: 2
    file.stat: { path: /etc/hosts }
";
    sandbox.write("book.yml", book);
    let ended = refused(&sandbox, "error");
    let errors = ended
        .stderr
        .lines()
        .chain(ended.stdout.lines())
        .filter(|line| line.starts_with("error: "));
    let errors: Vec<&str> = errors.collect();
    let places =
        ended.stderr.matches("book.yml:").count() + ended.stdout.matches("book.yml:").count();
    assert!(
        errors.len() >= 12,
        "{} in\n{}\n{}",
        errors.len(),
        ended.stdout,
        ended.stderr
    );
    assert!(places >= 12, "{places} places");
    for (line, says) in [
        (2, "one"),
        (3, "did you mean `title`"),
        (5, "did you mean `integer`"),
        (6, "10 parsecs"),
        (10, "nobody says how that is undone"),
        (11, "touch"),
        (17, "did you mean `sqlite.check`"),
        (20, "did you mean `path`"),
        (23, "did you mean `limit`"),
        (27, "number >"),
        (31, "\"0640\""),
        (33, "{{ end"),
        (37, "approvers"),
    ] {
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            text.contains(&format!("book.yml:{line}:")),
            "line {line} in\n{text}"
        );
        assert!(text.contains(says), "`{says}` in\n{text}");
    }
}

#[test]
fn a_file_that_is_no_utf_8_is_refused() {
    let sandbox = Sandbox::new();
    let mut text = GOOD.replace("good", "book").into_bytes();
    text.extend(b"# caf\xe9\n");
    sandbox.write("book.yml", text);
    refused(&sandbox, "UTF-8");
}

#[test]
fn a_file_of_50_mb_is_refused_without_being_read() {
    let sandbox = Sandbox::new();
    let text = GOOD.replace("good", "book") + &"# filling\n".repeat(5_000_000);
    sandbox.write("book.yml", text);
    refused(&sandbox, "MiB");
}

#[test]
fn an_alias_bomb_is_refused() {
    let sandbox = Sandbox::new();
    let mut text =
        GOOD.replace("good", "book") + "vars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        text += &format!("  a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
    }
    sandbox.write("book.yml", text);
    refused(&sandbox, "alias");
}

#[test]
fn ten_thousand_nested_groups_are_refused() {
    let sandbox = Sandbox::new();
    let mut text = "playbook: book\nversion: 1.0.0\ntitle: Deep\nsteps: ".to_owned();
    for level in 0..10_000 {
        text += &format!("[{{id: g{level}, title: g, group: ");
    }
    text += "[]";
    text += &"}]".repeat(10_000);
    sandbox.write("book.yml", text);
    refused(&sandbox, "inside each other");
}

#[test]
fn a_circle_of_links_in_a_folder_of_playbooks_harms_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("books/good.yml", GOOD);
    symlink(".", sandbox.path("books/again")).expect("a link");
    symlink("loop", sandbox.path("books/loop")).expect("a link");
    symlink("self.yml", sandbox.path("books/self.yml")).expect("a link");
    let list = sandbox.runwright(&["list", "--playbooks", "books"]).code(0);
    assert_eq!(list.stdout.matches("Touch a file").count(), 1, "{list:?}");
    sandbox
        .runwright(&["run", "good", "--playbooks", "books"])
        .code(0);
    assert!(sandbox.path("touched").exists());
}

#[test]
fn two_playbooks_of_one_name_and_version_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("books/a/good.yml", GOOD);
    sandbox.write("books/b/good.yml", GOOD);
    let ended = sandbox
        .runwright(&["run", "good", "--playbooks", "books"])
        .code(2);
    ended.says("books/a/good.yml").says("books/b/good.yml");
    assert!(!sandbox.path("touched").exists());
}

#[test]
fn a_folder_of_playbooks_that_others_can_write_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("books/good.yml", GOOD);
    fs::set_permissions(sandbox.path("books"), fs::Permissions::from_mode(0o777)).expect("a mode");
    sandbox
        .runwright(&["run", "good", "--playbooks", "books"])
        .code(3)
        .says("others can write");
    assert!(!sandbox.path("touched").exists());
}

#[test]
fn a_folder_called_playbooks_counts_for_root_only_when_it_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("playbooks/good.yml", GOOD);
    let ended = sandbox.runwright(&["run", "good"]);
    if rustix::process::geteuid().is_root() {
        ended.code(2).says("good");
        assert!(!sandbox.path("touched").exists());
    } else {
        ended.code(0);
    }
}

#[test]
fn unknown_playbooks_inputs_and_profiles_are_told_with_what_was_meant() {
    let sandbox = Sandbox::new();
    sandbox
        .runwright(&["run", "daily-helth"])
        .code(2)
        .says("did you mean `daily-health`");
    sandbox
        .runwright(&["run", "wal-recover", "--yes"])
        .code(2)
        .says("database");
    let wrong = [
        "run",
        "daily-health",
        "--set",
        "disk_warnin=1",
        "--set",
        "disk_critical=many",
    ];
    sandbox
        .runwright(&wrong)
        .code(2)
        .says("disk_warning")
        .says("disk_critical");
    sandbox
        .runwright(&["run", "daily-health", "--profile", "nowhere"])
        .code(2)
        .says("nowhere");
}

#[test]
fn a_home_that_others_can_write_is_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("state")).expect("a folder");
    fs::set_permissions(sandbox.path("state"), fs::Permissions::from_mode(0o777)).expect("a mode");
    let ended = sandbox.runwright(&["run", "daily-health"]);
    assert_ne!(ended.code, 0);
    ended.says(sandbox.path("state").as_str());
}

#[test]
fn a_database_that_may_not_be_read_is_refused() {
    let sandbox = Sandbox::new();
    let database = sandbox.path("kv.db");
    sqlite::create(&database, 10);
    fs::set_permissions(&database, fs::Permissions::from_mode(0o000)).expect("a mode");
    let set = format!("database={database}");
    let mut program = sandbox.program(&["run", "wal-recover", "--yes", "--set", &set]);
    if rustix::process::geteuid().is_root() {
        // Root without its privileges: the owner of files, and no more.
        need("setpriv", "util-linux");
        program = sandbox.command("setpriv");
        program.args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            crate::harness::PROGRAM,
        ]);
        program.args(["run", "wal-recover", "--yes", "--set", &set]);
    }
    Ended::of(program.output().expect("it starts"))
        .code(3)
        .says("unreadable");
}

#[test]
fn a_full_disk_fails_the_checkpoint_and_loses_nothing() {
    need("unshare", "util-linux");
    assert!(
        rustix::process::geteuid().is_root(),
        "a small disk of our own needs root: run the tests with sudo"
    );
    let sandbox = Sandbox::new();
    let database = sandbox.path("kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 3_000).crash();
    let script = format!(
        "set -eu
         mkdir disk && mount -t tmpfs -o size=64m tmpfs disk
         cp kv.db kv.db-wal disk/
         cat /dev/zero >disk/filling 2>/dev/null || true
         set +e
         {program} run wal-recover --yes --output plain --set database=$PWD/disk/kv.db --set tables=[memory] >first 2>&1
         echo $? >first.code
         rm disk/filling
         cp disk/kv.db disk/kv.db-wal .",
        program = crate::harness::PROGRAM,
    );
    let output = sandbox
        .command("unshare")
        .args(["--mount", "bash", "-c", &script])
        .output()
        .expect("it starts");
    let _ = Ended::of(output).code(0);
    let first = fs::read_to_string(sandbox.path("first")).expect("what it said");
    assert_eq!(
        fs::read_to_string(sandbox.path("first.code"))
            .expect("a code")
            .trim(),
        "1",
        "{first}"
    );
    assert!(first.contains("full"), "{first}");
    fs::remove_file(sandbox.path("kv.db-shm")).ok();
    assert_eq!(sqlite::rows(&database), sqlite::acknowledged(&database));
}

#[test]
fn a_closed_pipe_does_not_end_a_run() {
    let sandbox = Sandbox::new();
    let steps: String = (0..50)
        .map(|index| {
            format!("  - id: s{index}\n    title: Step {index}\n    command: {{ argv: [echo, line] }}\n    rollback: []\n")
        })
        .collect();
    let last = "  - id: touch\n    title: Touch it\n    command: { argv: [touch, touched] }\n    rollback: []\n";
    let head = "playbook: long\nversion: 1.0.0\ntitle: Many steps\nsteps:\n";
    sandbox.write("long.yml", format!("{head}{steps}{last}"));
    for form in ["json", "plain"] {
        let _ = fs::remove_file(sandbox.path("touched"));
        let program = crate::harness::PROGRAM;
        let script = format!(
            "{program} run ./long.yml --output {form} 2>&1 | head -1; echo code ${{PIPESTATUS[0]}}"
        );
        let output = sandbox
            .command("bash")
            .args(["-c", &script])
            .output()
            .expect("bash starts");
        let ended = Ended::of(output).code(0).says("code 0");
        assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
        assert!(
            sandbox.path("touched").exists(),
            "the run went on to its end"
        );
    }
    // A command that only tells ends quietly as well.
    let script = format!(
        "{} history | head -0; echo code ${{PIPESTATUS[0]}}",
        crate::harness::PROGRAM
    );
    let mut bash: Command = sandbox.command("bash");
    let ended = Ended::of(bash.args(["-c", &script]).output().expect("bash starts"));
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    sandbox.verified_journal();
}
