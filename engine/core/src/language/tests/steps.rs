//! What a step may say beside what it does.

use super::{check, check_steps, good};
use crate::{
    kind::Effect,
    plan::{Body, Tree},
    value::Value,
};

#[test]
fn a_step_does_exactly_one_thing() {
    check_steps(
        "
  - { id: a, file.stat: { path: /x }, command: { argv: [x] } }
  - { id: b, group: [], manual: x }
  - { id: c }
  - { id: d, title: T }
  - { id: e, confirm: false }
  - { title: T, confirm: true }
  - just text
",
        "?",
    );
}

#[test]
fn a_checkpoint_confirms_or_expects() {
    let playbook = good(
        "
steps:
  - { id: a, confirm: Go on? }
  - { id: b, expect: [{ that: a.ok, else: no, severity: critical }] }
",
    );
    assert!(
        playbook
            .nodes
            .iter()
            .all(|node| matches!(node.body, Body::Checkpoint))
    );
}

#[test]
fn arguments_are_checked_against_their_kind() {
    check_steps(
        r#"
  - { id: a, sqlite.check: { databse: x, depth: ful } }
  - { id: b, sqlite.check: }
  - { id: c, sqlite.check: [x] }
  - { id: d, command: { argv: [] }, rollback: [] }
  - { id: e, command: { argv: [ls, 5, true] }, rollback: [] }
  - { id: f, file.write: { path: /x, content: a, template: b } }
  - { id: g, sqlite.checkpoint: { database: x, mode: y, busy_timeout: 5 } }
  - { id: h, sqlite.checkpoint: { database: x, mode: y, busy_timeout: "{{ run.id }}" } }
  - { id: i, command: { argv: [docker, ps, --format, "{{.Names}}"] }, rollback: [] }
  - { id: j, command: { argv: [docker, ps, --format, "{{ '{{' }}.Names}}"] }, rollback: [] }
"#,
        "?",
    );
}

#[test]
fn a_script_takes_no_values_of_ours() {
    check_steps(
        r#"
  - { id: a, file.stat: { path: /x } }
  - id: b
    shell:
      script: |
        docker ps --format '{{.Names}} {{range .Mounts}}{{.Source}}{{end}}' {% x %}
        rm -f "{{ a.type }}" {{run.id}}
      env: { A: "{{ a.type }}" }
    rollback: []
  - id: c
    file.write:
      path: "{{ a.type }}"
      template: |
        {% for x in values %}{{ x }}{% endfor %}{{ nobody }}
"#,
        "?",
    );
}

#[test]
fn what_is_literal_stays_as_it_is() {
    let playbook = good(
        r#"
steps:
  - id: a
    file.write: { path: "{{ '{{' }} {{ run.id }}", template: "{{ x }}" }
  - id: b
    http.request: { url: "http://localhost/{{ run.id }}" }
"#,
    );
    let Tree::Map(arguments) = &playbook.nodes[0].work().expect("a kind").arguments else {
        panic!("a map");
    };
    assert!(matches!(&arguments[0].1, Tree::Template(_)));
    assert!(
        matches!(&arguments[1].1, Tree::Literal(Value::Text(text)) if &**text == "{{ x }}")
    );
}

#[test]
fn what_changes_says_how_it_is_undone() {
    check_steps(
        r#"
  - { id: a, command: { argv: [x] } }
  - { id: b, command: { argv: [x] }, effect: read }
  - { id: c, command: { argv: [x] }, rollback: [] }
  - { id: d, command: { argv: [x] }, irreversible: it is sent }
  - { id: e, command: { argv: [x] }, rollback: [{ id: e2, command: { argv: [y] } }], irreversible: x }
  - { id: f, file.delete: { path: /x } }
  - { id: g, file.delete: { path: /x, keep: 7d } }
  - { id: h, http.request: { url: "http://h/" } }
  - { id: i, http.request: { url: "http://h/", method: POST } }
  - { id: j, http.request: { url: "http://h/", method: "{{ run.id }}" } }
  - { id: k, http.request: { url: "http://h/", method: POST }, effect: read }
  - { id: l, service: { name: x, state: started } }
  - id: m
    group:
      - { id: n, command: { argv: [x] } }
    rollback: []
  - id: o
    command: { argv: [x] }
    rollback:
      - { id: q, command: { argv: [x] }, rollback: [] }
      - { id: r, command: { argv: [x] }, irreversible: x }
  - { id: s, file.delete: { path: /x, keep: soon } }
  - { id: t, command: { argv: [x] }, efect: read }
  - { id: u, command: { argv: [x] }, effect: raed }
"#,
        "?",
    );
}

#[test]
fn before_the_point_of_no_return_a_person_is_asked() {
    check_steps(
        r#"
  - { id: a, file.delete: { path: /x }, irreversible: gone }
  - { id: b, file.delete: { path: /x }, irreversible: gone }
"#,
        "?",
    );
    check_steps(
        r#"
  - { id: a, file.delete: { path: /x }, irreversible: gone, confirm: true }
  - { id: b, file.delete: { path: /x }, irreversible: gone }
  - { id: c, command: { argv: [x] }, effect: destroy, irreversible: gone }
"#,
        "?",
    );
    check_steps(
        r#"
  - id: a
    choose:
      - when: run.id == "a"
        steps: [{ id: b, file.delete: { path: /x }, irreversible: gone, confirm: true }]
      - when: run.id == "b"
        steps: [{ id: c, file.delete: { path: /x }, irreversible: gone }]
  - { id: d, file.delete: { path: /x }, irreversible: gone }
"#,
        "?",
    );
    check(
        r#"
steps:
  - id: a
    command: { argv: [x] }
    rollback:
      - { id: b, file.delete: { path: /x } }
always:
  - { id: c, file.delete: { path: /x } }
"#,
        "?",
    );
}

#[test]
fn a_failure_is_passed_over_only_where_nothing_changes() {
    check(
        "
on_failure: continue
steps:
  - { id: a, file.stat: { path: /x } }
  - { id: b, service: { name: x, state: started } }
",
        "?",
    );
    check(
        "
on_failure: continue
steps:
  - { id: a, file.stat: { path: /x } }
always:
  - { id: b, service: { name: x, state: started } }
",
        "?",
    );
    check_steps(
        "
  - { id: a, service: { name: x, state: started }, on_failure: continue }
  - { id: b, file.delete: { path: /x }, irreversible: x, confirm: true, on_failure: continue }
",
        "?",
    );
}

#[test]
fn until_asks_again_what_reads() {
    check_steps(
        r#"
  - { id: a, file.stat: { path: /x }, until: result.exists, within: 1m, every: 5s, stable_for: 30s }
  - { id: b, file.stat: { path: /x }, until: result.exists }
  - { id: c, file.stat: { path: /x }, until: result.exists, within: 1m, stable_for: 2m }
  - { id: d, file.stat: { path: /x }, every: 1s, within: 1m, stable_for: 1s }
  - { id: e, service: { name: x, state: started }, until: result.ok, within: 1m }
  - { id: f, group: [{ id: g, file.stat: { path: /x } }], until: g.exists, within: 1m }
  - { id: h, parallel: [{ id: i, file.stat: { path: /x } }], until: i.exists, within: 1m }
  - { id: j, foreach: { in: [1], steps: [{ id: k, confirm: true }] }, until: result.ok, within: 1m }
  - { id: l, group: [{ id: m, service: { name: x, state: started } }], until: m.ok, within: 1m }
  - { id: n, manual: x, until: result.remark == "", within: 1m }
  - { id: o, call: { playbook: q }, until: result.ready, within: 1m }
  - { id: r, file.stat: { path: /x }, until: result.there, within: "{{ run.id }}", stable_for: soon }
"#,
        "?",
    );
}

#[test]
fn the_effect_is_said_where_only_the_playbook_knows_it() {
    check_steps(
        "
  - { id: a, file.stat: { path: /x }, effect: read }
  - { id: b, service: { name: x, state: started }, effect: change }
  - { id: c, shell: { script: x }, effect: read }
",
        "?",
    );
    let playbook = good(
        "
steps:
  - { id: a, command: { argv: [x] }, effect: read }
  - { id: b, command: { argv: [x] }, effect: destroy, rollback: [] }
  - { id: c, parallel: [{ id: d, command: { argv: [x] }, rollback: [] }, { id: e, file.stat: { path: /x } }] }
",
    );
    let effects: Vec<Effect> = playbook.nodes.iter().map(|node| node.effect).collect();
    assert_eq!(
        effects,
        [
            Effect::Read,
            Effect::Destroy,
            Effect::Change,
            Effect::Change,
            Effect::Read
        ]
    );
}

#[test]
fn structure_has_no_keys_of_kinds() {
    check_steps(
        r#"
  - id: a
    group: [{ id: b, confirm: true }]
    unless: true
    retry: { attempts: 2 }
    timeout: 1s
    effect: read
    irreversible: x
    sensitive: true
  - { id: c, confirm: true, timeout: 1s }
  - { id: d, wait: 5s, retry: { attempts: 2 } }
  - { id: e, group: [{ id: f, confirm: true }], at_once: 2 }
  - { id: g, parallel: [{ id: h, confirm: true }], at_once: 2 }
  - { id: i, foreach: { in: [1], steps: [{ id: j, confirm: true }] }, at_once: 2 }
  - { id: k, foreach: { in: [1], at_once: 2, steps: [{ id: l, confirm: true }] } }
"#,
        "?",
    );
}

#[test]
fn guards_and_unless_ask_what_reads() {
    check(
        r#"
guards:
  - service: { name: x, state: started }
    that: result.ok
  - http.request: { url: "http://h/", method: POST }
    that: result.status == 200
  - http.request: { url: "http://h/" }
    that: result.status == 200 and result.stauts == 1
  - command: { argv: [x] }
    that: result.ok
  - file.stat: { path: /x }
    sqlite.check: { database: x }
    that: result.exists
  - file.stat: { pth: /x }
    that: result.exists
  - else: no
steps:
  - id: a
    unless: { file.delete: { path: /x }, that: result.ok }
    file.delete: { path: /x, keep: 1d }
  - id: b
    unless: { file.stat: { path: /x } }
    file.delete: { path: /x, keep: 1d }
  - id: c
    unless: [a.ok]
    file.delete: { path: /x, keep: 1d }
"#,
        "?",
    );
}

#[test]
fn branches_have_a_condition_and_otherwise_is_the_last() {
    check_steps(
        r#"
  - id: a
    choose:
      - otherwise: [{ id: b, confirm: true }]
      - { when: true, steps: [{ id: c, confirm: true }] }
      - { when: true }
      - { steps: [{ id: d, confirm: true }] }
      - { when: true, otherwise: [{ id: e, confirm: true }] }
  - { id: f, choose: {} }
"#,
        "?",
    );
}

#[test]
fn retry_sensitive_and_findings_have_their_shape() {
    check_steps(
        r#"
  - { id: a, file.stat: { path: /x }, retry: { attempts: 0, backoff: expo, on: [timeout, exot], delay: 1 } }
  - { id: b, file.stat: { path: /x }, retry: 3 }
  - { id: c, file.stat: { path: /x }, sensitive: [size, typ] }
  - { id: d, file.stat: { path: /x }, sensitive: size }
  - { id: e, finding: { severity: bad, title: x } }
  - { id: f, finding: { title: x } }
  - { id: g, file.stat: { path: /x }, expect: [{ that: result.exists, severity: info }] }
  - { id: h, file.stat: { path: /x }, on_failure: rolback }
  - { id: i, notify: { to: terminal } }
  - { id: j, ask: { ok: { type: string }, x: { type: strin } } }
  - { id: k, set: { ok: true, Bad: 1 } }
  - { id: l, wait: soon }
  - { id: m, manual: [x] }
  - { id: n, confirm: [x] }
  - { id: o, confirm: { phrase: "{{ nobody }}" } }
"#,
        "?",
    );
}
