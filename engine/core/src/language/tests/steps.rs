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
        r#"
2:39 «command» a step does exactly one thing, but this one has `file.stat` and `command`
    2:14 the first one
    split it into two steps
3:25 «manual» a step does exactly one thing, but this one has `group` and `manual`
    3:14 the first one
    split it into two steps
4:7 «id» this step does nothing
    give it a kind like `command`, a structure like `group`, or a `confirm` or `expect` to stand alone
5:7 «id» this step does nothing
    give it a kind like `command`, a structure like `group`, or a `confirm` or `expect` to stand alone
6:23 «false» `confirm: false` says nothing
    leave it out: nobody is asked then
7:7 «title» missing key `id`
8:5 «just text» expected a mapping, found text "just text"
"#,
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
        r#"
2:30 «databse» unknown key `databse`
    did you mean `database`?
2:49 «ful» unknown value `ful`
    did you mean `full`?
3:14 «sqlite.check» missing key `database`
4:28 «[x]» expected a mapping, found a list
5:31 «[]» expected at least 1 item, found 0
7:60 «b» `content` and `template` exclude each other
8:71 «5» `5` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
10:57 «.» unexpected `.`
    to write two braces: `{{ '{{' }}`
"#,
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
        r#"
7:16 «{{ a.type }}» a script is no template: what is inserted could break out of it
    give the value by `env: {NAME: "{{ … }}"}` and write `"$NAME"` in the script
7:30 «{{run.id}}» a script is no template: what is inserted could break out of it
    give the value by `env: {NAME: "{{ … }}"}` and write `"$NAME"` in the script
"#,
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
    assert!(matches!(&arguments[1].1, Tree::Literal(Value::Text(text)) if &**text == "{{ x }}"));
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
        r#"
2:14 «command» step `a` changes something, but nobody says how that is undone
    add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`; or `effect: read` where it only reads
6:86 «irreversible» a step can't have `rollback` and `irreversible`
    6:38 how it is undone
7:14 «file.delete» step `f` changes something, but nobody says how that is undone
    add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`
10:14 «http.request» step `i` changes something, but nobody says how that is undone
    add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`; or `effect: read` where it only reads
11:14 «http.request» step `j` changes something, but nobody says how that is undone
    add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`; or `effect: read` where it only reads
16:18 «command» step `n` changes something, but nobody says how that is undone
    add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`; or `effect: read` where it only reads
21:42 «rollback» a step in `rollback` or `always` is never undone itself, so it has no `rollback`
22:42 «irreversible» a step in `rollback` or `always` is never undone itself, so it has no `irreversible`
23:45 «soon» `soon` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
24:38 «efect» unknown key `efect`
    did you mean `effect`?
25:46 «raed» unknown value `raed`
    did you mean `read`?
"#,
    );
}

#[test]
fn before_the_point_of_no_return_a_person_is_asked() {
    check_steps(
        r#"
  - { id: a, file.delete: { path: /x }, irreversible: gone }
  - { id: b, file.delete: { path: /x }, irreversible: gone }
"#,
        r#"
2:41 «irreversible» `a` is the point of no return, and no person is asked before it
    add `confirm`, best with a `phrase` made of the target's name
"#,
    );
    check_steps(
        r#"
  - { id: a, file.delete: { path: /x }, irreversible: gone, confirm: true }
  - { id: b, file.delete: { path: /x }, irreversible: gone }
  - { id: c, command: { argv: [x] }, effect: destroy, irreversible: gone }
"#,
        "",
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
        r#"
7:53 «irreversible» `c` is the point of no return, and no person is asked before it
    add `confirm`, best with a `phrase` made of the target's name
"#,
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
        "",
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
        r#"
2:13 «continue» `on_failure: continue` is only for a playbook that only reads
    say it at the steps that may fail
"#,
    );
    check(
        "
on_failure: continue
steps:
  - { id: a, file.stat: { path: /x } }
always:
  - { id: b, service: { name: x, state: started } }
",
        "",
    );
    check_steps(
        "
  - { id: a, service: { name: x, state: started }, on_failure: continue }
  - { id: b, file.delete: { path: /x }, irreversible: x, confirm: true, on_failure: continue }
",
        r#"
3:73 «on_failure» a step that destroys can't be passed over when it fails
    say `stop`, so that a person looks at it
"#,
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
        r#"
3:39 «until» `until` needs `within`
    say how long at the most, like `within: 2m`
4:85 «2m» it can't hold for 2m within 1m
5:39 «every» `every` belongs to an `until`, and this step has none
5:50 «within» `within` belongs to an `until`, and this step has none
5:62 «stable_for» `stable_for` belongs to an `until`, and this step has none
6:52 «until» `until` asks again, so it can only be on what reads
    put it on a step of its own that reads, after this one
8:62 «until» `until` can't be on this structure; put a `group` around it
9:71 «until» `until` can't be on this structure; put a `group` around it
10:72 «until» `until` asks again, so it can only be on what reads
    put it on a step of its own that reads, after this one
11:25 «until» there is nothing here to ask again
    put it on a step with a kind that reads
13:53 «there» the result has no `there`
    there is `exists`, `size`, `type`, `ok`, `ran`, `changed`, `at`, `duration`, `attempts`, `error`
13:96 «soon» `soon` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
"#,
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
        r#"
2:39 «effect» what `file.stat` does is known, so `effect` can't be said
    leave it out
3:52 «effect» what `service` does is known, so `effect` can't be said
    leave it out
"#,
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
        r#"
4:5 «unless» `unless` belongs to a step with a kind, not to a `group`
5:5 «retry» `retry` belongs to a step with a kind, not to a `group`
6:5 «timeout» `timeout` belongs to a step with a kind, not to a `group`
7:5 «effect» `effect` belongs to a step with a kind, not to a `group`
8:5 «irreversible» `irreversible` belongs to a step with a kind, not to a `group`
9:5 «sensitive» `sensitive` belongs to a step with a kind, not to a `group`
10:29 «timeout» `timeout` belongs to a step with a kind, not to a `checkpoint`
11:24 «retry» `retry` belongs to a step with a kind, not to a `wait`
12:49 «at_once» `at_once` belongs to `parallel`; that of a `foreach` stands inside it
14:71 «at_once» `at_once` belongs to `parallel`; that of a `foreach` stands inside it
"#,
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
        r#"
3:5 «service» `service` can change something, so it can't guard
    use a kind that only reads
5:5 «http.request» `http.request` can change something, so it can't guard
    use a kind that only reads
8:43 «stauts» the result has no `stauts`
    did you mean `status`?
9:5 «command» `command` can change something, so it can't guard
    use a kind that only reads
12:5 «sqlite.check» a guard has one kind at the most
    11:5 the first one
14:18 «pth» unknown key `pth`
    did you mean `path`?
16:5 «else» missing key `that`
19:15 «file.delete» `file.delete` can change something, so it can't guard
    use a kind that only reads
22:5 «unless» missing key `that`
25:13 «[a.ok]» expected a mapping or text or `true` or `false`, found a list
"#,
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
        r#"
4:9 «otherwise» `otherwise` is the last branch
6:11 «when» this branch has no `steps`
    a branch is `{when, steps}`; the last one may be `otherwise: [...]`
7:11 «steps» this branch has no `when`
    a branch is `{when, steps}`; the last one may be `otherwise: [...]`
8:11 «when» `when` can't stand beside `otherwise`
9:22 «{}» expected a list, found a mapping
"#,
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
        r#"
2:58 «0» expected at least 1, found number 0
2:70 «expo» unknown value `expo`
    expected one of `fixed`, `exponential`
2:90 «exot» unknown value `exot`
    did you mean `exit`?
2:104 «1» `1` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
3:46 «3» expected a mapping, found number 3
4:57 «typ» the result has no `typ`
    did you mean `type`?
5:50 «size» expected `true` or `false` or a list, found text "size"
6:35 «bad» unknown value `bad`
    expected one of `info`, `warning`, `critical`
7:14 «finding» missing key `severity`
8:81 «info» unknown value `info`
    expected one of `failure`, `critical`, `warning`
9:51 «rolback» unknown value `rolback`
    did you mean `rollback`?
10:14 «notify» missing key `message`
11:21 «ok» every result has its own `ok`
    choose another name
11:54 «strin» unknown value `strin`
    did you mean `string`?
12:21 «ok» every result has its own `ok`
    choose another name
12:31 «Bad» `Bad` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
13:20 «soon» `soon` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
14:22 «[x]» expected text, found a list
15:23 «[x]» expected a mapping or text or `true`, found a list
16:37 «nobody» unknown name `nobody`
    it is no input, var, connection or earlier step
"#,
    );
}

#[test]
fn locks_and_confirms_say_who_may_go_on() {
    check(
        r#"
inputs:
  database: { type: path }
  token: { type: secret }
locks: ["sqlite:{{ database }}", "token:{{ token }}", "of:{{ a.remark }}"]
steps:
  - id: a
    manual: Look
  - id: b
    confirm: { message: Sure?, approvers: 2, not_starter: true, deadline: 24h }
  - id: c
    confirm: { message: Sure?, approvers: 0, deadline: soon }
"#,
        r#"
5:44 «token» `token` is a secret, and a secret never decides: `locks` can't name it
5:62 «a» step `a` has not run when this is worked out
    only steps that have ended before this one have a result
12:43 «0» expected at least 1, found number 0
12:56 «soon» `soon` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
"#,
    );
}

#[test]
fn what_only_asks_or_decides_is_not_undone() {
    check(
        r#"
steps:
  - id: a
    wait: 5s
    rollback: [{ id: x, manual: Go back }]
  - id: b
    manual: Turn the key
    rollback: [{ id: y, manual: Turn it back }]
  - id: c
    confirm: Sure?
    rollback: []
"#,
        r#"
5:5 «rollback» the `rollback` of `a` would never run
    only what changes something is undone: say it at the step or the group that does
"#,
    );
}
