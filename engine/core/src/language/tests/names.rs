//! What an expression may name where, and what it must be.

use super::{check, check_steps, good};
use crate::plan::Named;

#[test]
fn ids_are_snake_case_and_no_reserved_words() {
    check_steps(
        "
  - { id: Disk, confirm: true }
  - { id: disk-free, confirm: true }
  - { id: 5, confirm: true }
  - { id: result, confirm: true }
  - { id: run, confirm: true }
  - { id: a__b, confirm: true }
  - { id: disk_2, confirm: true }
",
        "?",
    );
    check(
        "
inputs: { item: { type: string }, dataBase: { type: string } }
vars: { in: 1 + 1 }
connections: { before: \"sqlite:/x\" }
steps: [{ id: a, confirm: true }]
",
        "?",
    );
}

#[test]
fn a_name_is_given_once() {
    check(
        "
inputs: { a: { type: string }, b: { type: string } }
vars: { b: 1 + 1, c: 2 }
connections: { c: \"sqlite:/x\" }
steps:
  - id: a
    group:
      - { id: d, confirm: true }
  - id: e
    foreach:
      in: [1]
      as: c
      steps:
        - { id: d, confirm: true }
always:
  - { id: e, confirm: true }
",
        "?",
    );
}

#[test]
fn only_what_has_run_has_a_result() {
    check_steps(
        r#"
  - id: a
    when: b.ok
    file.stat: { path: "{{ a.type }}" }
    expect:
      - that: a.exists
  - id: beside
    parallel:
      - { id: b, file.stat: { path: /x } }
      - { id: c, when: b.exists, file.stat: { path: /x } }
  - id: d
    when: b.exists and c.exists
    confirm: true
  - id: e
    when: d.ok
    group:
      - { id: f, when: e.ok, confirm: true }
  - id: g
    choose:
      - { when: d.ok, steps: [{ id: h, confirm: true }] }
      - { when: h.ok, steps: [{ id: i, confirm: true }] }
      - otherwise: [{ id: j, when: i.ok, confirm: true }]
  - { id: k, when: h.ok or i.ok or j.ok, confirm: true }
"#,
        "?",
    );
}

#[test]
fn a_step_of_a_loop_is_named_by_its_round_from_outside() {
    check_steps(
        r#"
  - id: rounds
    foreach:
      in: ["a", "b"]
      as: letter
      key: item
      steps:
        - { id: look, file.stat: { path: "{{ letter }}{{ item }}{{ index }}" } }
        - { id: again, when: look.exists, confirm: true }
        - id: deeper
          foreach: { in: [1], steps: [{ id: low, file.stat: { path: "{{ letter }}" } }] }
  - { id: b, when: look.exists, confirm: true }
  - { id: c, when: 'rounds["a"].look.exists', confirm: true }
  - { id: d, when: 'rounds["a"].look.exist', confirm: true }
  - { id: e, when: 'rounds["a"].lok.exists', confirm: true }
  - { id: f, when: 'rounds["a"].deeper["0"].low.exists', confirm: true }
  - { id: g, when: 'rounds["a"].deeper["0"].low.there', confirm: true }
  - { id: h, when: 'rounds[0].look.exists', confirm: true }
  - { id: i, when: letter == item, confirm: true }
  - { id: j, when: rounds.ok, confirm: true }
  - { id: k, when: 'rounds["a"].low.exists', confirm: true }
"#,
        "?",
    );
}

#[test]
fn results_that_are_named_are_kept() {
    let playbook = good(
        r#"
steps:
  - { id: plain, file.stat: { path: /x } }
  - { id: whole, file.stat: { path: /x } }
  - { id: alone, file.stat: { path: /x }, expect: [{ that: result.exists }] }
  - id: rounds
    foreach:
      in: [1]
      steps:
        - { id: field, file.stat: { path: /x } }
        - { id: other, file.stat: { path: /x } }
  - id: computed
    foreach: { in: [1], steps: [{ id: every, file.stat: { path: /x } }] }
  - id: undone
    command: { argv: [x] }
    rollback:
      - { id: undo, command: { argv: ["{{ result.stdout }}"] } }
  - id: use
    set: { a: plain.size, b: whole | json, c: 'rounds["0"].field.size', d: 'computed[plain.type]' }
"#,
    );
    let named = |id: &str| &playbook.nodes[playbook.scope.ids[id].0].named;
    let fields = |names: &[&str]| Named {
        whole: false,
        fields: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(*named("plain"), fields(&["size", "type"]));
    assert!(named("whole").whole);
    assert_eq!(*named("alone"), Named::default());
    assert_eq!(*named("rounds"), fields(&["0"]));
    assert_eq!(*named("field"), fields(&["size"]));
    assert_eq!(*named("other"), Named::default());
    assert!(named("every").whole);
    assert_eq!(*named("undone"), fields(&["stdout"]));
}

#[test]
fn result_before_and_item_have_their_places() {
    check(
        r#"
vars: { a1: result, b1: before.x, c1: item }
steps:
  - id: a
    title: "{{ before }}{{ result }}"
    when: result.exists or before
    guards: [{ that: before == null and result.exists }]
    confirm: "{{ before }}{{ result }}"
    unless: result.exists
    sqlite.checkpoint: { database: "{{ result }}{{ before }}{{ item }}", mode: x }
    retry: { attempts: "{{ result.x }}" }
    expect:
      - that: result.ok and before == null and item == 1
      - each: [1]
        that: item == index
        else: "{{ item }} {{ result.ok }} {{ before }}"
    rollback:
      - { id: b, when: result.ok and before == 1, confirm: "{{ before }}" }
  - id: c
    guards:
      - file.stat: { path: "{{ result }}" }
        that: result.exists and result.there
        else: "{{ result.size }}"
    unless:
      file.stat: { path: /x }
      that: result.exists and before
    service: { name: x, state: started }
outputs: { o: result.x }
"#,
        "?",
    );
}

#[test]
fn the_outcome_is_known_in_the_end_only() {
    check(
        r#"
vars: { a1: run.outcome, r1: run.id, s1: run }
guards: [{ that: run.user == run.host and run.outcome == "ok" }]
steps:
  - { id: a, when: run.findings | length == 0, confirm: "{{ run.started }} {{ run.pid }}" }
always:
  - id: b
    when: run.outcome == "ok"
    guards: [{ that: run.findings | length == 0 }]
    group:
      - { id: c, unless: run.outcome == "ok", file.stat: { path: "{{ run.outcome }}" } }
outputs: { outcome: run.outcome, user: run.user }
"#,
        "?",
    );
}

#[test]
fn an_unknown_name_says_what_was_meant() {
    check(
        r#"
inputs: { database: { type: path } }
vars: { early: later_var, later_var: 5, self: self, via: db.host }
connections: { db: "postgres://{{ later_var }}:{{ dtabase }}@h/x" }
steps:
  - { id: found, file.stat: { path: "{{ databse }}" } }
  - { id: b, when: fond.exists or found.exist or zzz, confirm: true }
  - { id: c, when: 'db.hots == "x" and db.port == 5', confirm: true }
  - { id: d, ask: { reason: { type: string } } }
  - { id: e, set: { half: d.reason, other: d.raeson } }
  - { id: f, manual: "{{ e.half }}{{ e.hlaf }}" }
  - { id: g, when: 'f.remark == "" and f.text == ""', confirm: true }
outputs: { ok: found.exists, Size: found.size, "in b": found.size }
"#,
        "?",
    );
}

#[test]
fn a_secret_never_decides() {
    check(
        r#"
inputs: { token: { type: secret }, host: { type: string } }
vars: { alias: token, made: token ~ "x" }
connections: { db: "postgres://u:{{ token }}@{{ host }}/x" }
steps:
  - id: login
    sensitive: [stdout]
    command: { argv: [login, "{{ token }}"], env: { T: "{{ token }}" }, stdin: "{{ alias }}" }
    rollback: []
    expect: [{ that: result.stdout == "x" }, { that: result.exit == 0 }]
  - id: all
    sensitive: true
    command: { argv: ["{{ login.stdout }}", "{{ login.exit }}", "{{ db.host }}", "{{ db }}"] }
    rollback: []
  - { id: a, when: token == "x", confirm: true }
  - { id: b, when: all.stdout == "" or all.ok or login.stdout == "", confirm: true }
  - { id: c, unless: alias == "", command: { argv: [x] }, rollback: [] }
  - id: d
    foreach: { in: '[token]', key: token, steps: [{ id: e, confirm: "{{ token }}" }] }
  - id: f
    choose: [{ when: 'token == "x"', steps: [] }]
  - { id: g, when: 'db.host == "x" or db.url == "x" or (login | json) == ""', confirm: true }
  - { id: h, ask: { pin: { type: secret } } }
  - { id: i, when: 'h.pin == "1"', confirm: true }
  - { id: j, set: { copy: token, twice: token ~ token } }
  - { id: k, guards: [{ that: j.copy == "" }], confirm: true }
outputs: { t: token }
"#,
        "?",
    );
}

#[test]
fn an_expression_is_none_of_these() {
    check_steps(
        r#"
  - { id: a, when: "{{ run.id }}", confirm: true }
  - { id: b, when: "run.id == {{ run.user }}", confirm: true }
  - { id: c, when: yes, confirm: true }
  - { id: d, when: 5, confirm: true }
  - { id: e, when: "'x'", confirm: true }
  - { id: f, when: run.id = 5, confirm: true }
  - { id: g, foreach: { in: 5, steps: [{ id: h, confirm: true }] } }
  - { id: i, foreach: { in: ["{{ run.id }}"], key: [1], steps: [{ id: j, confirm: true }] } }
  - { id: k, when: run.id | lowr == "", confirm: true }
  - { id: l, when: true, confirm: "{{ run.id" }
  - { id: m, when: null, confirm: "{% if x %}" }
  - { id: n, finding: { severity: info, title: "{{ run.id && x }}" } }
  - id: o
    when: >-
      run.id == "a"
      and nobody.there
    confirm: true
"#,
        "?",
    );
}
