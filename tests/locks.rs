//! `runwright locks`: who has which lock, and the theft of one.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use rexpect::session::spawn_command;
use runwright_core::units::Time;
use runwright_local::locks::{Claim, Held, Locks};
use serde_json::Value as Json;

use crate::harness::{Ended, PROGRAM, Sandbox, need};

const RUN: &str = "abc123def456";

fn locks(sandbox: &Sandbox) -> Locks {
    Locks::open(&sandbox.path("locks")).expect("a folder")
}

/// Takes `names` for a run as the run loop does.
fn take(sandbox: &Sandbox, run: &str, names: &[&str]) -> Held {
    let claim = Claim {
        run: run.to_owned(),
        playbook: "kv-restore".to_owned(),
        user: "alice".to_owned(),
        home: "/home/alice".into(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let at = Time::from_milliseconds(1_700_000_000_000);
    locks(sandbox).take(&claim, at).expect("they are free")
}

/// Leaves a lock behind as a run does that was killed after it had changed something.
fn keep(sandbox: &Sandbox, run: &str, name: &str) {
    let mut held = take(sandbox, run, &[name]);
    held.keep().expect("it is kept");
}

fn names(sandbox: &Sandbox) -> BTreeSet<String> {
    let taken = locks(sandbox).list().expect("a list");
    taken.into_iter().map(|taken| taken.lock).collect()
}

fn json(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn the_list_shows_who_has_each_lock_since_when_and_how() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .runwright(&["locks"])
        .code(0)
        .says("no lock is taken");
    assert_eq!(ended.stdout, "");
    assert!(!sandbox.path("locks").exists(), "looking makes nothing");

    keep(&sandbox, RUN, "sqlite:/var/lib/kv.db");
    let _held = take(&sandbox, "fedcba654321", &["host"]);
    let pid = std::process::id();
    let ended = sandbox.runwright(&["locks"]).code(0);
    let lines: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let since = "2023-11-14T22:13:20Z";
    let pid_text = pid.to_string();
    let held = ["held", "by", "pid", &pid_text];
    let expected = [
        [
            &["host", "fedcba654321", "kv-restore", "alice", since],
            &held[..],
        ]
        .concat(),
        vec![
            "sqlite:/var/lib/kv.db",
            RUN,
            "kv-restore",
            "alice",
            since,
            "kept",
        ],
    ];
    assert_eq!(lines, expected);

    let ended = sandbox.runwright(&["locks", "--output", "json"]).code(0);
    let expected = serde_json::json!([
        { "lock": "host", "run": "fedcba654321", "playbook": "kv-restore", "user": "alice",
          "home": "/home/alice", "since": since, "hold": "held", "pid": pid },
        { "lock": "sqlite:/var/lib/kv.db", "run": RUN, "playbook": "kv-restore", "user": "alice",
          "home": "/home/alice", "since": since, "hold": "kept", "pid": null },
    ]);
    assert_eq!(json(&ended), expected);
}

#[test]
fn a_lock_is_stolen_only_with_a_reason_and_a_yes_and_the_next_run_is_told() {
    let sandbox = Sandbox::new();
    keep(&sandbox, RUN, "db");
    sandbox.runwright(&["locks", "steal", "db"]).code(2);
    let reason = ["locks", "steal", "db", "--reason"];
    for (text, code, says) in [(" ", 2, "without a reason"), ("moved", 3, "add `--yes`")] {
        sandbox
            .runwright(&[&reason[..], &[text]].concat())
            .code(code)
            .says(says);
        assert_eq!(names(&sandbox), BTreeSet::from(["db".to_owned()]));
    }
    let yes = [&reason[..], &["the disk is gone", "--yes"]].concat();
    let ended = sandbox.runwright(&yes).code(0);
    ended
        .says("the lock `db` is free; run abc123def456 of `kv-restore` by alice")
        .says("the next run that takes it writes down who stole it, and why");
    assert_eq!(names(&sandbox), BTreeSet::new());
    sandbox.runwright(&yes).code(1).says("nobody keeps it");

    let mut held = take(&sandbox, "fedcba654321", &["db"]);
    let stolen = held.stolen();
    assert_eq!(stolen.len(), 1);
    assert_eq!(stolen[0].reason, "the disk is gone");
    assert_eq!(stolen[0].from.run, RUN);
}

#[test]
fn a_lock_that_a_process_holds_is_not_stolen() {
    let sandbox = Sandbox::new();
    let held = take(&sandbox, RUN, &["db"]);
    let steal = ["locks", "steal", "db", "--reason", "mine"];
    for more in [&[][..], &["--yes"]] {
        sandbox
            .runwright(&[&steal[..], more].concat())
            .code(3)
            .says(&format!("pid {}", std::process::id()))
            .says("stop the run first: `runwright cancel abc123def456`");
    }
    held.release().expect("it is still ours");
}

#[test]
fn on_a_terminal_the_theft_is_asked_for_and_no_is_the_default() {
    let sandbox = Sandbox::new();
    keep(&sandbox, RUN, "db");
    for (answer, code) in [("", 3), ("n", 3), ("y", 0)] {
        let mut command = sandbox.attached(PROGRAM);
        command
            .args(["locks", "steal", "db", "--reason", "gone"])
            .env("TERM", "xterm");
        let mut session = spawn_command(command, Some(20_000)).expect("a terminal");
        session
            .exp_string("run abc123def456 of `kv-restore` by alice keeps it")
            .expect("whose it is");
        session
            .exp_string("Steal the lock `db`?")
            .expect("the question");
        session.send_line(answer).expect("an answer");
        session.exp_eof().expect("its end");
        let status = session.process().wait().expect("its end");
        assert!(
            matches!(status, nix::sys::wait::WaitStatus::Exited(_, got) if got == code),
            "{answer:?}: {status:?}"
        );
        assert_eq!(names(&sandbox).is_empty(), code == 0, "{answer:?}");
    }
}

#[test]
fn another_user_sees_and_steals_the_locks_of_root() {
    need("setpriv", "util-linux");
    assert!(
        rustix::process::geteuid().is_root(),
        "becoming another user needs root: run the tests with sudo"
    );
    let sandbox = Sandbox::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path(""), open).expect("a mode");
    keep(&sandbox, RUN, "db");
    let nobody = |arguments: &[&str]| {
        let mut command = sandbox.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM]);
        Ended::of(command.args(arguments).output().expect("setpriv starts"))
    };
    nobody(&["locks"]).code(0).says(RUN).says("kept");
    let steal = [
        "locks", "steal", "db", "--reason", "lost", "--yes", "--output", "json",
    ];
    let theft = json(&nobody(&steal).code(0));
    assert_eq!(
        (&theft["lock"], &theft["by"]),
        (&"db".into(), &"nobody".into())
    );
    assert_eq!(names(&sandbox), BTreeSet::new());
    let mut held = take(&sandbox, "fedcba654321", &["db"]);
    assert_eq!(held.stolen()[0].by, "nobody");
}

#[test]
fn a_place_for_locks_that_is_a_symlink_is_refused() {
    let mut sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("target")).expect("a folder");
    std::os::unix::fs::symlink(sandbox.path("target"), sandbox.path("link")).expect("a link");
    let link = sandbox.path("link");
    sandbox.set_env("RUNWRIGHT_LOCKS", link.as_str());
    for arguments in [
        &["locks"][..],
        &["locks", "steal", "db", "--reason", "x", "--yes"],
    ] {
        let ended = sandbox.runwright(arguments).code(1);
        ended.says("is not a folder").says("hint: move");
    }
}
