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
        r#"
2:11 «Disk» `Disk` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
3:11 «disk-free» `disk-free` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
4:11 «5» `5` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
5:11 «result» `result` has a meaning of its own, so nothing can have it as its name
    choose another name
6:11 «run» `run` has a meaning of its own, so nothing can have it as its name
    choose another name
7:11 «a__b» `a__b` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
"#,
    );
    check(
        "
inputs: { item: { type: string }, dataBase: { type: string } }
vars: { in: 1 + 1 }
connections: { before: \"sqlite:/x\" }
steps: [{ id: a, confirm: true }]
",
        r#"
2:11 «item» `item` has a meaning of its own, so nothing can have it as its name
    choose another name
2:35 «dataBase» `dataBase` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
3:9 «in» `in` has a meaning of its own, so nothing can have it as its name
    choose another name
4:16 «before» `before` has a meaning of its own, so nothing can have it as its name
    choose another name
"#,
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
        r#"
3:9 «b» the name `b` is given twice
    2:32 first given here
4:16 «c» the name `c` is given twice
    3:19 first given here
6:9 «a» the name `a` is given twice
    2:11 first given here
12:11 «c» the name `c` is given twice
14:17 «d» the name `d` is given twice
    8:15 first given here
16:11 «e» the name `e` is given twice
    9:9 first given here
"#,
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
        r#"
3:11 «b» step `b` has not run when this is worked out
    only steps that have ended before this one have a result
4:28 «a» step `a` has not run when this is worked out
    its own result is `result`, in its `expect`, `until` and `rollback`
6:15 «a» step `a` has not run when this is worked out
    its own result is `result`, in its `expect`, `until` and `rollback`
10:24 «b» step `b` has not run when this is worked out
    only steps that have ended before this one have a result
17:24 «e» step `e` has not run when this is worked out
    a step inside of it can't name it
21:17 «h» step `h` has not run when this is worked out
    only steps that have ended before this one have a result
22:36 «i» step `i` has not run when this is worked out
    only steps that have ended before this one have a result
"#,
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
        r#"
12:20 «look» step `look` has run once for each round of `rounds`
    name the round: `rounds["key"].look`
14:38 «exist» the result of `look` has no `exist`
    did you mean `exists`?
15:33 «lok» a round of `rounds` has no `lok`
    did you mean `look`?
17:49 «there» the result of `low` has no `there`
    there is `exists`, `size`, `type`, `ok`, `ran`, `changed`, `at`, `duration`, `attempts`, `error`
18:28 «0» a round is named by its key, which is a text
    `rounds["key"]`
19:20 «letter» unknown name `letter`
    it is no input, var, connection or earlier step
19:30 «item» unknown name `item`
    it is no input, var, connection or earlier step
21:33 «low» a round of `rounds` has no `low`
    did you mean `look`?
"#,
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
        r#"
2:13 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
2:25 «before» `before` means nothing here
    it can be named in a step's own `title`, `guards`, `confirm`, `expect` and `rollback`
2:39 «item» unknown name `item`
    it is no input, var, connection or earlier step
5:28 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
6:11 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
6:28 «before» `before` means nothing here
    it can be named in a step's own `title`, `guards`, `confirm`, `expect` and `rollback`
7:41 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
8:30 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
9:13 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
10:40 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
10:52 «before» `before` means nothing here
    it can be named in a step's own `title`, `guards`, `confirm`, `expect` and `rollback`
10:64 «item» unknown name `item`
    it is no input, var, connection or earlier step
11:28 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
13:48 «item» unknown name `item`
    it is no input, var, connection or earlier step
21:32 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
22:40 «there» the result has no `there`
    there is `exists`, `size`, `type`, `ok`, `ran`, `changed`, `at`, `duration`, `attempts`, `error`
26:31 «before» `before` means nothing here
    it can be named in a step's own `title`, `guards`, `confirm`, `expect` and `rollback`
28:15 «result» `result` means nothing here
    it can be named in a step's own `expect`, `until` and `rollback`, or a guard with a kind
"#,
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
        r#"
2:17 «outcome» `run.outcome` is known only when the work is done
    it can be named in `always` and in `outputs`
2:42 «run» `run` alone means nothing
    name a part of it, like `run.id`
3:47 «outcome» `run.outcome` is known only when the work is done
    it can be named in `always` and in `outputs`
5:24 «findings» `run.findings` is known only when the work is done
    it can be named in `always` and in `outputs`
5:83 «pid» `run` has no `pid`
    did you mean `id`?
"#,
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
        r#"
3:16 «later_var» unknown name `later_var`
    `later_var` is worked out after this: vars in their order, then the connections
3:47 «self» unknown name `self`
    `self` is worked out after this: vars in their order, then the connections
3:58 «db» unknown name `db`
    `db` is worked out after this: vars in their order, then the connections
4:51 «dtabase» unknown name `dtabase`
    did you mean `database`?
6:41 «databse» unknown name `databse`
    did you mean `database`?
7:20 «fond» unknown name `fond`
    did you mean `found`?
7:41 «exist» the result of `found` has no `exist`
    did you mean `exists`?
7:50 «zzz» unknown name `zzz`
    it is no input, var, connection or earlier step
8:24 «hots» a connection has no `hots`
    did you mean `host`?
10:46 «raeson» the result of `d` has no `raeson`
    did you mean `reason`?
11:40 «hlaf» the result of `e` has no `hlaf`
    did you mean `half`?
12:42 «text» the result of `f` has no `text`
    there is `remark`, `ok`, `ran`, `changed`, `at`, `duration`, `attempts`, `error`
13:12 «ok» every result has its own `ok`
    choose another name
13:30 «Size» `Size` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
13:48 «"in b"» `in b` is no name
    lower-case words of letters and digits with `_` between them, like `disk_free`
"#,
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
        r#"
3:29 «token ~ "x"» a secret is named alone here; nothing is made of it
8:30 «"{{ token }}"» a secret among the arguments of a command is shown by `ps` to everybody
    give it by `env` or `stdin`
10:22 «result.stdout» `result.stdout` is a secret, and a secret never decides: `that` can't name it
13:23 «"{{ login.stdout }}"» a secret among the arguments of a command is shown by `ps` to everybody
    give it by `env` or `stdin`
13:82 «"{{ db }}"» a secret among the arguments of a command is shown by `ps` to everybody
    give it by `env` or `stdin`
15:20 «token» `token` is a secret, and a secret never decides: `when` can't name it
16:20 «all.stdout» `all.stdout` is a secret, and a secret never decides: `when` can't name it
16:50 «login.stdout» `login.stdout` is a secret, and a secret never decides: `when` can't name it
17:22 «alias» `alias` is a secret, and a secret never decides: `unless` can't name it
19:22 «token» `token` is a secret, and a secret never decides: `in` can't name it
19:36 «token» `token` is a secret, and a secret never decides: `key` can't name it
21:23 «token» `token` is a secret, and a secret never decides: `choose` can't name it
22:39 «db.url» `db.url` is a secret, and a secret never decides: `when` can't name it
22:57 «login» `login` is a secret, and a secret never decides: `when` can't name it
24:21 «h.pin» `h.pin` is a secret, and a secret never decides: `when` can't name it
25:41 «token ~ token» a secret is named alone here; nothing is made of it
26:31 «j.copy» `j.copy` is a secret, and a secret never decides: `guards` can't name it
"#,
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
        r#"
2:20 «"{{ run.id }}"» an expression stands without `{{ }}`
    leave the braces out
3:43 «}» unexpected `}`, expected `:`
    an expression stands without `{{ }}`
4:20 «yes» unknown name `yes`
    did you mean `true`?
5:20 «5» expected `true` or `false`, found number 5
6:20 «"'x'"» expected `true` or `false`, found text "'x'"
7:27 «=» `=` sets nothing in an expression
    `==` compares
8:29 «5» expected a list, found number 5
9:29 «["{{ run.id }}"]» a list or map here stands for itself, so `{{ }}` in it is nothing but text
    write the whole as an expression in quotes: `"[a, b.c]"`
9:52 «[1]» expected a text or a number, found a list
10:29 «lowr» there is no filter `lowr`
    did you mean `lower`?
11:36 «{{ run.id» `{{` is not closed
    to write two braces: `{{ '{{' }}`
12:20 «null» expected `true` or `false`, found nothing
12:36 «{%» `{%`: a text here has no blocks
    only `{{ }}` is read here, and `template` of `file.write` has blocks; to write the two characters: `{{ '{%' }}`
13:59 «&&» `&&` is not in this language
    write `and`
17:11 «nobody» unknown name `nobody`
    it is no input, var, connection or earlier step
"#,
    );
}
