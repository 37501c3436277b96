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
    check_whole(
        EXAMPLE,
        r#"
44:9 «sqlite.recover» there is no kind `sqlite.recover`
    did you mean `sqlite.replace`?
"#,
    );
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
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| line(problem, &source))
        .collect();
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
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("nightly.yml:{line}"))
        .collect();
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
        r#"
2:1 «titel» unknown key `titel`
    did you mean `title`?
5:5 «els» unknown key `els`
    did you mean `else`?
8:5 «tilte» unknown key `tilte`
    did you mean `title`?
9:16 «mesage» unknown key `mesage`
    did you mean `message`?
12:9 «sverity» unknown key `sverity`
    did you mean `severity`?
13:42 «advise» unknown key `advise`
    did you mean `advice`?
15:25 «step» unknown key `step`
    did you mean `steps`?
18:11 «whn» unknown key `whn`
    did you mean `when`?
20:30 «whith» unknown key `whith`
    did you mean `with`?
23:27 «dely» unknown key `dely`
    did you mean `delay`?
25:41 «mesage» unknown key `mesage`
    did you mean `message`?
"#,
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
        r#"
3:5 «sqlite.chek» there is no kind `sqlite.chek`
    did you mean `sqlite.check`?
12:9 «file.sat» there is no kind `file.sat`
    did you mean `file.stat`?
14:5 «gruop» unknown key `gruop`
    did you mean `group`?
"#,
    );
}

#[test]
fn what_every_playbook_says() {
    check_whole(
        "title: T\n",
        r#"
1:1 «title» missing keys `playbook`, `version`, `steps`
"#,
    );
    check_whole(
        "- a\n- b\n",
        r#"
1:1 «- a⏎- b» expected a mapping, found a list
"#,
    );
    check_whole(
        "just text\n",
        r#"
1:1 «just text» expected a mapping, found text "just text"
"#,
    );
    check(
        "steps: []\n",
        r#"
1:1 «steps» a playbook without a step does nothing
    write at least one step
"#,
    );
    check(
        "steps: {}\n",
        r#"
1:8 «{}» expected a list, found a mapping
"#,
    );
    check_whole(
        "playbook: p\nversion: 1.0.0\ntitle: T\nsteps:\n  - id: a\n    confirm: true\n",
        "",
    );
}

#[test]
fn a_version_is_semver_and_a_name_is_kebab_case() {
    check_whole(
        "playbook: daily_health\nversion: 1.0\ntitle: T\nsteps: [{id: a, confirm: true}]\n",
        r#"
1:11 «daily_health» `daily_health` is no playbook name
    lower-case words of letters and digits with `-` between them, like `daily-health`
2:10 «1.0» `1.0` is no semantic version: unexpected end of input while parsing minor version number
    three numbers, like `1.0.0`
"#,
    );
    check_whole(
        "playbook: Daily\nversion: v1.0.0\ntitle: T\nsteps: [{id: a, confirm: true}]\n",
        r#"
1:11 «Daily» `Daily` is no playbook name
    lower-case words of letters and digits with `-` between them, like `daily-health`
2:10 «v1.0.0» `v1.0.0` is no semantic version: unexpected character 'v' while parsing major version number
    three numbers, like `1.0.0`
"#,
    );
    check_whole(
        "playbook: a--b\nversion: 1.2.3-rc.1+b5\ntitle: T\nsteps: [{id: a, confirm: true}]\n",
        r#"
1:11 «a--b» `a--b` is no playbook name
    lower-case words of letters and digits with `-` between them, like `daily-health`
"#,
    );
    check_whole(
        "playbook: 5\nversion: \"01.0.0\"\ntitle: T\nsteps: [{id: a, confirm: true}]\n",
        r#"
1:11 «5» `5` is no playbook name
    lower-case words of letters and digits with `-` between them, like `daily-health`
2:10 «"01.0.0"» `01.0.0` is no semantic version: invalid leading zero in major version number
    three numbers, like `1.0.0`
"#,
    );
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
        (
            "helth.yml",
            "1:11 «health» the playbook is called `health`, but its file `helth`\n    rename the file to `health.yml`, or the playbook to `helth`",
        ),
    ] {
        let (_, problems) = read(&source, Some(path.into()), &KINDS);
        let found: Vec<String> = problems
            .iter()
            .map(|problem| said(problem, &source))
            .collect();
        assert_eq!(found.join("\n"), said_of_it, "{path}");
    }
}

#[test]
fn keys_of_a_later_version_are_refused_with_their_word() {
    check(
        r#"
steps:
  - id: a
    host: db1
    confirm: { message: x }
    group:
      - id: b
        host: db2
        manual: x
        rollback:
          - id: c
            host: db3
            confirm: true
always:
  - id: d
    host: db4
    confirm: true
"#,
        r#"
4:5 «host» `host` is not built yet in this version
    a later version brings acting on other machines; leave the key out until then
8:9 «host» `host` is not built yet in this version
    a later version brings acting on other machines; leave the key out until then
12:13 «host» `host` is not built yet in this version
    a later version brings acting on other machines; leave the key out until then
16:5 «host» `host` is not built yet in this version
    a later version brings acting on other machines; leave the key out until then
"#,
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
        r#"
3:11 «{{ x }}» a value that begins with `{{` has to be quoted
    write `"{{ x }}"`, or use the block form: `when: >-` and the text below it, indented
6:15 «== "y"» the value begins with a quote and goes on behind it
    6:11 for YAML the value ends here
    write `'"x" == "y"'`, or use the block form: `when: >-` and the text below it, indented
"#,
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
        r#"
3:35 «0640» the file mode `0640` is not quoted
    write `"0640"`: without quotes it is a number that means something else
6:34 «{{ x }}» a value that begins with `{{` has to be quoted
    write `"{{ x }}"`, or use the block form instead of `{ }`: `else: >-` and the text below it, indented
6:34 «{{ x }}» unknown name `x`
    it is no input, var, connection or earlier step
7:9 «b» the name `b` is given twice
    4:9 first given here
8:5 «id» duplicate key `id`
    7:5 first defined here
"#,
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
        r#"
6:13 «==» the expression ends where a value should follow
    6:16 for YAML this is a comment
    to YAML ` #` begins a comment; if it belongs to the expression, quote the whole or write it in the block form: `>-` and the expression below it, indented
"#,
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
        r#"
2:11 «2026-13-01» `2026-13-01` is no day
    like `2026-11-20`
3:14 «long» `long` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
4:7 «sqlite» expected a list, found text "sqlite"
5:13 «rolback» unknown value `rolback`
    did you mean `rollback`?
6:22 «">=3.x.y"» `>=3.x.y` is no range of versions: unexpected character after wildcard in version req
    like `>=2.30`, `^1.2` or `"*"`
6:33 «""» this is no program's name
    write the name that is looked for in `PATH`
6:42 «/bin/sh» this is no program's name
    write the name that is looked for in `PATH`
"#,
    );
}
