//! `wal-recover` on real databases.

use std::fs;

use crate::harness::{
    Ended, Sandbox,
    services::Supervisor,
    sqlite::{self, Other, Work},
};

fn recover(sandbox: &Sandbox, more: &[&str]) -> Ended {
    let database = format!("database={}", sandbox.path("data/kv.db"));
    let mut arguments = vec![
        "run",
        "wal-recover",
        "--output",
        "json",
        "--yes",
        "--set",
        &database,
    ];
    arguments.extend(["--set", "tables=[memory]"]);
    arguments.extend(more);
    sandbox.runwright(&arguments)
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).expect("a folder");
    sandbox
}

#[test]
fn a_wal_of_150_mb_left_by_a_killed_writer_is_folded_in_without_losing_a_row() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 60_000).crash();
    let wal = sqlite::size(&sqlite::wal(&database));
    assert!(wal > 150_000_000, "{wal}");
    let ended = recover(&sandbox, &[]).code(0);
    assert_eq!(sqlite::size(&sqlite::wal(&database)), 0);
    assert_eq!(sqlite::rows(&database), sqlite::acknowledged(&database));
    let outputs = &ended.summary()["outputs"];
    assert_eq!(outputs["did"], "folded the WAL in");
    assert_eq!(outputs["integrity"], "ok");
    assert_eq!(outputs["rows_after"]["memory"], 60_010);
    assert_eq!(outputs["rows_before"], outputs["rows_after"]);
    sandbox.verified_journal();
}

#[test]
fn a_small_wal_after_a_crash_is_folded_in_as_well() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 200).crash();
    recover(&sandbox, &[]).code(0);
    assert_eq!(sqlite::size(&sqlite::wal(&database)), 0);
    assert_eq!(sqlite::rows(&database), 210);
}

#[test]
fn a_reader_in_the_way_is_named_and_nothing_is_changed_until_it_is_gone() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    let reader = Other::start(&database, Work::Read, 0);
    Other::start(&database, Work::Write, 5_000).crash();
    let wal = fs::read(sqlite::wal(&database)).expect("a WAL");
    let file = fs::read(&database).expect("a file");
    let arguments = ["--set", "wal_limit=1MiB", "--set", "busy_timeout=300ms"];
    let ended = recover(&sandbox, &arguments)
        .code(1)
        .says(&reader.pid().to_string());
    let why = ended.summary()["why"].to_string();
    assert!(why.contains("since"), "{why}");
    assert_eq!(fs::read(sqlite::wal(&database)).expect("a WAL"), wal);
    assert_eq!(fs::read(&database).expect("a file"), file);
    reader.release();
    recover(&sandbox, &arguments).code(0);
    assert_eq!(sqlite::size(&sqlite::wal(&database)), 0);
    assert_eq!(sqlite::rows(&database), sqlite::acknowledged(&database));
}

#[test]
fn a_writer_in_the_way_is_named_and_its_rows_are_not_lost() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 1_000).crash();
    let writer = Other::start(&database, Work::HoldWrite, 0);
    let arguments = ["--set", "wal_limit=1MiB", "--set", "busy_timeout=300ms"];
    recover(&sandbox, &arguments)
        .code(1)
        .says(&writer.pid().to_string());
    writer.crash();
    recover(&sandbox, &arguments).code(0);
    assert_eq!(sqlite::rows(&database), sqlite::acknowledged(&database));
}

#[test]
fn a_sound_database_is_left_as_it_is() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    let before = sandbox.tree("data");
    let ended = recover(&sandbox, &[]).code(0);
    assert_eq!(
        ended.summary()["outputs"]["did"],
        "nothing: there is nothing to repair"
    );
    assert_eq!(sandbox.tree("data"), before);
}

#[test]
fn damaged_indexes_are_built_anew() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 2_000);
    sqlite::break_index(&database);
    assert_ne!(sqlite::integrity(&database), "ok");
    let ended = recover(&sandbox, &[]).code(0);
    assert_eq!(sqlite::integrity(&database), "ok");
    assert_eq!(sqlite::rows(&database), 2_000);
    assert_eq!(sqlite::size(&sqlite::wal(&database)), 0);
    let did = ended.summary()["outputs"]["did"].to_string();
    assert!(did.contains("built the indexes anew"), "{did}");
}

#[test]
fn a_damaged_table_is_refused_with_advice_and_left_as_it_is() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 2_000);
    sqlite::break_table(&database);
    let before = sandbox.tree("data");
    let ended = recover(&sandbox, &[])
        .code(3)
        .says("restore the newest backup");
    assert_eq!(ended.summary()["outcome"], "refused");
    assert_eq!(sandbox.tree("data"), before);
}

#[test]
fn a_wal_of_another_database_is_put_aside_with_the_service_stopped_and_comes_back_on_rollback() {
    let mut sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 1_000).crash();
    // Somebody has put another file in the place of the database, and left the WAL.
    let other = sandbox.path("data/other.db");
    sqlite::create(&other, 0);
    let connection = rusqlite::Connection::open(&other).expect("a connection");
    connection
        .execute_batch("PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = WAL; INSERT INTO memory (value) VALUES ('x'), ('y');")
        .expect("another database");
    drop(connection);
    fs::rename(&other, &database).expect("a replaced database");
    let wal = fs::read(sqlite::wal(&database)).expect("a WAL");
    let supervisor = Supervisor::start(
        &mut sandbox,
        "[program:kv]\ncommand=sleep 1000\nstartsecs=1\n",
    );
    let pid = supervisor.ctl(&["pid", "kv"]).expect("a pid");
    let ended = recover(&sandbox, &["--set", "service=kv"])
        .code(10)
        .says("put aside");
    let kept = ended.summary()["outputs"]["wal_kept_at"]
        .as_str()
        .expect("a path")
        .to_owned();
    assert_eq!(fs::read(&kept).expect("the WAL"), wal, "it is evidence");
    assert_eq!(sqlite::rows(&database), 2);
    assert_ne!(
        supervisor.ctl(&["pid", "kv"]).expect("a pid"),
        pid,
        "it was started again"
    );
    assert!(
        supervisor
            .ctl(&["status", "kv"])
            .expect("running")
            .contains("RUNNING")
    );
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(
        fs::read(sqlite::wal(&database)).expect("a WAL"),
        wal,
        "as it was"
    );
    sandbox.verified_journal();
}

#[test]
fn a_wal_with_a_damaged_frame_is_copied_before_it_is_folded_in() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 2_000).crash();
    let path = sqlite::wal(&database);
    let mut wal = fs::read(&path).expect("a WAL");
    let middle = wal.len() / 2;
    wal[middle..middle + 8].fill(0x5a);
    fs::write(&path, &wal).expect("a damaged WAL");
    let ended = recover(&sandbox, &[]).code(11).says("behind a damaged one");
    let kept = ended.summary()["outputs"]["wal_kept_at"]
        .as_str()
        .expect("a path")
        .to_owned();
    assert_eq!(fs::read(kept).expect("the copy"), wal);
    assert!(sqlite::rows(&database) < 2_010);
    assert_eq!(sqlite::integrity(&database), "ok");
}

#[test]
fn what_is_no_database_is_refused_and_nothing_is_made() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    let refused = |says: &str| {
        let before = sandbox.tree("data");
        let ended = recover(&sandbox, &[]).code(3).says(says);
        assert_eq!(ended.summary()["outcome"], "refused");
        assert_eq!(sandbox.tree("data"), before);
    };
    refused("there is nothing at");
    fs::write(&database, "").expect("a file");
    refused("is empty");
    fs::write(&database, "some notes\n".repeat(100)).expect("a file");
    refused("no SQLite database (foreign)");
    fs::remove_file(&database).expect("removed");
    fs::create_dir(&database).expect("a folder");
    refused("is a directory");
    fs::remove_dir(&database).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        database.as_std_path(),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a FIFO");
    refused("is a fifo");
}

#[test]
fn a_table_that_is_not_there_fails_before_anything_is_changed() {
    let sandbox = sandbox();
    let database = sandbox.path("data/kv.db");
    sqlite::create(&database, 10);
    Other::start(&database, Work::Write, 100).crash();
    let before = sandbox.tree("data");
    recover(&sandbox, &["--set", "tables=[memory, users]"])
        .code(1)
        .says("no table users");
    assert_eq!(sandbox.tree("data"), before);
}
