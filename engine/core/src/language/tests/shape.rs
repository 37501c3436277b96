//! The shape of a playbook: its keys, and what it must say.

use super::{check, check_steps, check_whole, kinds::KINDS, said};
use crate::{
    diagnostic::{Source, line},
    language::read,
};

/// The example of the language's description.
const EXAMPLE: &str = r#"# yaml-language-server: $schema=../schemas/playbook.json
playbook: wal-recover
version: 1.0.0
title: Bring a SQLite database with an oversized, stuck or damaged WAL back to health
description: |
  When to use it, what it does, what it never does. Shown before the first question.
owner: platform
tags: [sqlite, recovery]
source: 001 SQLite crash-safe deployment guide, 5.3

inputs:
  database:   { type: path, help: The database file }
  service:    { type: string, default: kvdb-mem, help: The service that owns it }
  wal_limit:  { type: bytes, default: 100MiB }
  least_rows: { type: integer, default: 1, help: Refuse a salvaged copy with fewer rows }

locks: ["sqlite:{{ database }}"]

guards:
  - file.stat: { path: "{{ database }}" }
    that: result.type == "file"
    else: "{{ database }} is no database file"

steps:
  - id: found
    title: Look at the database and its WAL
    sqlite.check: { database: "{{ database }}", depth: full }

  - id: checkpoint
    title: Fold the WAL back into the database
    when: found.integrity == "ok" and found.wal_bytes > wal_limit
    sqlite.checkpoint: { database: "{{ database }}", mode: truncate, busy_timeout: 5s }

  - id: repair
    title: Salvage a damaged database
    when: found.integrity != "ok"
    group:
      - id: stop
        title: Stop {{ service }}
        service: { name: "{{ service }}", state: stopped }      # undone by itself: started again if it was running

      - id: salvage
        title: Copy every row that can still be read into a new file
        sqlite.recover: { database: "{{ database }}", into: "{{ database }}.{{ run.id }}.recovered" }
        expect:
          - that: result.integrity == "ok" and result.rows >= least_rows
            else: "only {{ result.rows }} rows could be read; the damaged file is untouched"

      - id: swap
        title: Put the salvaged file in place
        confirm:
          message: "{{ salvage.rows }} rows saved, {{ salvage.lost_pages }} pages unreadable. Replace {{ database }}?"
          phrase: "{{ database | basename }}"
        sqlite.replace: { database: "{{ database }}", with: "{{ salvage.into }}" }   # the damaged set is moved aside, and back on undo

      - id: start
        title: Start {{ service }}
        service: { name: "{{ service }}", state: started }

outputs:
  integrity: found.integrity
  rows: salvage.rows
"#;

#[test]
fn the_example_has_nothing_but_what_is_not_built() {
    check_whole(EXAMPLE, "?");
}

#[test]
fn twelve_mistakes_are_twelve_located_errors_in_one_run() {
    let yaml = r#"playbook: Nightly_Backup
version: 1.0.0
title: Back up
owners: platform
inputs:
  limit: { type: byte, default: 100MiB }
steps:
  - id: found
    sqlite.chek: { database: /var/kv.db }
  - id: backup
    when: found.integrity == "ok"
    command: { argv: [backup], evn: { A: b } }
    rollback: []
  - id: size
    file.stat: { path: "{{ pth }}" }
    expect:
      - that: result.sise > limit
  - id: found
    when: restart.ok
    http.request: { url: "http://localhost/" }
    timeout: 5 parsecs
  - id: restart
    service: { name: kv, state: started }
    until: result.ok
    within: 1m
  - id: clean
    file.delete: { path: /tmp/x }
"#;
    let source = Source::new("nightly.yml", yaml);
    let (playbook, problems) = read(&source, None, &KINDS);
    let lines: Vec<String> = problems.iter().map(|problem| line(problem, &source)).collect();
    let expected = [
        "1:11: error: `Nightly_Backup` is no playbook name (lower-case words of letters and digits with `-` between them, like `daily-health`)",
        "4:1: error: unknown key `owners` (did you mean `owner`?)",
        "6:18: error: unknown value `byte` (did you mean `bytes`?)",
        "9:5: error: there is no kind `sqlite.chek` (did you mean `sqlite.check`?)",
        "12:32: error: unknown key `evn` (did you mean `env`?)",
        "15:28: error: unknown name `pth` (it is no input, var, connection or earlier step)",
        "17:22: error: the result has no `sise` (did you mean `size`?)",
        "18:9: error: the name `found` is given twice",
        "19:11: error: step `restart` has not run when this is worked out (only steps that have ended before this one have a result)",
        "21:14: error: `5 parsecs` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`",
        "24:5: error: `until` asks again, so it can only be on what reads (put it on a step of its own that reads, after this one)",
        "27:5: error: step `clean` changes something, but nobody says how that is undone (add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`)",
    ];
    let expected: Vec<String> = expected.iter().map(|line| format!("nightly.yml:{line}")).collect();
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
    assert_eq!(lines.len(), 12);
    assert!(playbook.is_none());
}

#[test]
fn an_unknown_key_is_an_error_at_every_level() {
    check(
        r#"
titel: T2
guards:
  - that: true
    els: x
steps:
  - id: a
    tilte: T
    confirm: { mesage: x }
    expect:
      - that: true
        sverity: warning
    finding: { severity: info, title: x, advise: y }
  - id: b
    foreach: { in: [1], step: [] }
  - id: c
    choose:
      - { whn: true, steps: [] }
  - id: d
    call: { playbook: other, whith: {} }
  - id: e
    file.stat: { path: /x }
    retry: { attempts: 2, dely: 1s }
  - id: f
    notify: { to: terminal, message: x, mesage: y }
"#,
        "?",
    );
}

#[test]
fn a_misspelt_kind_is_one_mistake() {
    check_steps(
        r#"
  - id: found
    sqlite.chek: { database: x }
    retry: { attempts: 2 }
    until: result.integrity == "ok"
    within: 1m
    expect:
      - that: result.integrity == "ok"
  - id: b
    when: found.integrity == "ok"
    guards:
      - file.sat: { path: x }
        that: result.exists
    gruop:
      - id: inner
        command: { argv: [x] }
  - id: c
    when: inner.exit == 0
    confirm: true
"#,
        "?",
    );
}

#[test]
fn what_every_playbook_says() {
    check_whole("title: T\n", "?");
    check_whole("- a\n- b\n", "?");
    check_whole("just text\n", "?");
    check("steps: []\n", "?");
    check("steps: {}\n", "?");
    check_whole("playbook: p\nversion: 1.0.0\ntitle: T\nsteps:\n  - id: a\n    confirm: true\n", "?");
}

#[test]
fn a_version_is_semver_and_a_name_is_kebab_case() {
    check_whole("playbook: daily_health\nversion: 1.0\ntitle: T\nsteps: [{id: a, confirm: true}]\n", "?");
    check_whole("playbook: Daily\nversion: v1.0.0\ntitle: T\nsteps: [{id: a, confirm: true}]\n", "?");
    check_whole("playbook: a--b\nversion: 1.2.3-rc.1+b5\ntitle: T\nsteps: [{id: a, confirm: true}]\n", "?");
    check_whole("playbook: 5\nversion: \"01.0.0\"\ntitle: T\nsteps: [{id: a, confirm: true}]\n", "?");
}

#[test]
fn a_playbook_has_the_name_of_its_file() {
    let yaml = "playbook: health\nversion: 1.0.0\ntitle: T\nsteps: [{id: a, confirm: true}]\n";
    let source = Source::new("p.yml", yaml);
    for (path, said_of_it) in [
        ("books/health.yml", ""),
        ("health.yaml", ""),
        ("health@1.yml", ""),
        ("health@1.2.0.yml", ""),
        ("helth.yml", "1:11 «health» the playbook is called `health`, but its file `helth`\n    rename the file to `health.yml`, or the playbook to `helth`"),
    ] {
        let (_, problems) = read(&source, Some(path.into()), &KINDS);
        let found: Vec<String> = problems.iter().map(|problem| said(problem, &source)).collect();
        assert_eq!(found.join("\n"), said_of_it, "{path}");
    }
}

#[test]
fn keys_of_a_later_version_are_refused_with_their_word() {
    check(
        r#"
locks: ["sqlite:x"]
steps:
  - id: a
    host: db1
    confirm: { message: x, approvers: 2, not_starter: true, deadline: 1h }
    group:
      - id: b
        host: db2
        confirm: true
        rollback:
          - id: c
            host: db3
            confirm: true
always:
  - id: d
    host: db4
    confirm: true
"#,
        "?",
    );
}

#[test]
fn the_traps_of_yaml_are_named() {
    check_steps(
        r#"
  - id: a
    when: {{ x }}
    file.write: { path: /x, mode: 0640, content: no }
  - id: b
    when: "x" == "y"
"#,
        "?",
    );
    check_steps(
        r#"
  - id: a
    file.write: { path: /x, mode: 0640, content: no }
  - id: b
    expect:
      - { that: a.changed, else: {{ x }} }
  - id: b
    id: c
    confirm: true
"#,
        "?",
    );
    check_steps(
        r#"
  - id: a
    when: 1 == 1 # a comment behind a whole expression is fine
    confirm: true
  - id: b
    when: 1 == # 1
    confirm: true
"#,
        "?",
    );
}

#[test]
fn prose_is_checked_too() {
    check(
        r#"
reviewed: 2026-13-01
stale_after: long
tags: sqlite
on_failure: rolback
requires: { sqlite3: ">=3.x.y", "": "*", /bin/sh: "*", psql: ">=14", jq: 5 }
steps: [{id: a, confirm: true}]
"#,
        "?",
    );
}
