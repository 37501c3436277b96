//! What the journal costs on this machine: `cargo bench -p runwright-local`.
//!
//! Prints medians, and beside the synced appends what this disk's own sync costs.

use std::{
    env, fs,
    io::Write,
    time::{Duration, Instant},
};

use camino::Utf8PathBuf;
use runwright_core::kind::Stream;
use runwright_local::{
    folder::RunFolder,
    home::Home,
    journal::{Journal, NewEvent, Row, RunRow, StepRow, Sync},
};

const RUN: &str = "abc123def456";
const DATA: &str = r#"{"attempt":1,"request":{"kind":"sqlite.checkpoint","summary":"truncate the WAL of /var/lib/kv.db","details":[["database","/var/lib/kv.db"]]},"undo":null,"before":{"wal":4194304}}"#;

fn main() {
    // `RUNWRIGHT_BENCH` picks the disk; the target folder is on the one that builds.
    let parent = env::var("RUNWRIGHT_BENCH").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").into());
    let folder = tempfile::tempdir_in(parent).expect("a folder");
    let path = Utf8PathBuf::from_path_buf(folder.path().join("home")).expect("a UTF-8 path");

    let begun = Instant::now();
    let home = Home::open(&path).expect("a home");
    drop(Journal::open(&home).expect("a journal"));
    print("create home and journal", begun.elapsed());

    let journal = Journal::open(&home).expect("a journal");
    let mut writer = journal.begin(RUN).expect("a run");
    let step = |number: usize| {
        Row::Step(StepRow {
            step: format!("step_{}", number % 100),
            kind: "sqlite.checkpoint".to_owned(),
            state: "running".to_owned(),
            ..StepRow::default()
        })
    };
    let event = NewEvent {
        at: 1_790_000_000_000,
        kind: "started",
        step: Some("backup"),
        data: DATA,
    };
    let run = Row::Run(RunRow {
        state: "running".to_owned(),
        ..RunRow::default()
    });
    writer
        .append(&[event], &[run], Sync::Yes)
        .expect("it is appended");

    let mut append = |name: &str, times: usize, events: usize, rows: bool, sync: Sync| {
        let events = vec![event; events];
        let mut spans = Vec::with_capacity(times);
        let begun = Instant::now();
        for number in 0..times {
            let rows: Vec<Row> = (0..events.len())
                .filter(|_| rows)
                .map(|at| step(number + at))
                .collect();
            let begun = Instant::now();
            writer.append(&events, &rows, sync).expect("it is appended");
            spans.push(begun.elapsed() / events.len() as u32);
        }
        let mean = begun.elapsed() / (times * events.len()) as u32;
        println!(
            "{name:<44} {:>10.1} µs   mean {:.1} µs",
            micros(median(&mut spans)),
            micros(mean)
        );
    };
    append("unsynced append of an event", 20_000, 1, false, Sync::No);
    append(
        "unsynced append of an event and its step",
        20_000,
        1,
        true,
        Sync::No,
    );
    append(
        "the same, 100 in one append, each",
        200,
        100,
        true,
        Sync::No,
    );
    append(
        "synced append of an event and its step",
        1000,
        1,
        true,
        Sync::Yes,
    );
    drop(writer);

    let path = folder.path().join("sync");
    let mut file = fs::File::create(path).expect("a file");
    for (name, all) in [
        ("this disk's fsync of 8 KiB more", true),
        ("this disk's fdatasync of 8 KiB more", false),
    ] {
        print_median(name, 500, || {
            file.write_all(&[7; 8192]).expect("it is written");
            if all {
                file.sync_all()
            } else {
                file.sync_data()
            }
            .expect("it is synced");
        });
    }

    let begun = Instant::now();
    let verified = journal.verify(None).expect("it can be read");
    assert!(verified.holds());
    print(
        &format!("verify {} events", verified.runs[0].events),
        begun.elapsed(),
    );
    drop(journal);

    print_median("open home and journal, close", 200, || {
        let home = Home::open(home.path()).expect("a home");
        drop(Journal::open(&home).expect("a journal"));
    });
    let mut number = 0;
    print_median("open, begin, 6 events in 3 appends, close", 200, || {
        number += 1;
        let home = Home::open(home.path()).expect("a home");
        let journal = Journal::open(&home).expect("a journal");
        let mut writer = journal.begin(&format!("run{number:09}")).expect("a run");
        for sync in [Sync::No, Sync::No, Sync::Yes] {
            writer
                .append(&[event, event], &[step(1)], sync)
                .expect("it is appended");
        }
    });
    print_median("find home and journal, list 20 runs", 200, || {
        let home = Home::find(home.path())
            .expect("a home")
            .expect("it is there");
        let journal = Journal::find(&home)
            .expect("a journal")
            .expect("it is there");
        journal
            .runs(&Default::default(), 20)
            .expect("it can be read");
    });

    let folder = RunFolder::create(&home, RUN).expect("a folder");
    for piece in [4096, 65_536] {
        let bytes = vec![b'x'; piece];
        let begun = Instant::now();
        let mut output = folder.output("print", Stream::Stdout).expect("a place");
        for _ in 0..200_000_000 / piece {
            output.write(&bytes);
        }
        output.finish();
        print(
            &format!("200 MB of output in pieces of {piece}"),
            begun.elapsed(),
        );
    }
}

fn print_median(name: &str, times: usize, mut what: impl FnMut()) {
    let mut spans: Vec<Duration> = (0..times)
        .map(|_| {
            let begun = Instant::now();
            what();
            begun.elapsed()
        })
        .collect();
    print(name, median(&mut spans));
}

fn print(name: &str, span: Duration) {
    println!("{name:<44} {:>10.1} µs", micros(span));
}

fn median(spans: &mut [Duration]) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
