//! Inputs and connections.

use super::{check, good};
use crate::{
    plan::InputType,
    units::{Bytes, Span},
    value::Value,
};

#[test]
fn every_type_reads_its_default_and_its_bounds() {
    let playbook = good(
        r#"
inputs:
  a: { type: string, default: x, pattern: "[a-z]+", min: 1, max: 5, help: H }
  b: { type: integer, default: 5, min: 1, max: 9 }
  c: { type: number, default: 5, min: 0.5, max: 9.5 }
  d: { type: boolean, default: no_way == 1 }
  e: { type: path, default: /x, pattern: "/.*" }
  f: { type: duration, default: 5m, min: 1s, max: 1h }
  g: { type: bytes, default: 1KiB, min: 1B, max: 1GiB }
  h: { type: timestamp, default: "2026-11-20T10:00:00+08:00" }
  i: { type: choice, of: [prod, test], default: prod }
  j: { type: list, items: string, default: [a, b], min: 1, max: 3 }
  k: { type: list, items: { type: integer, min: 1 }, default: [1] }
  l: { type: map, fields: { m: { type: string }, n: { type: bytes, default: 1B } }, default: { m: x } }
  o: { type: secret }
  p: { type: string }
steps: [{ id: s, confirm: true }]
"#
        .replace("no_way == 1", "false")
        .as_str(),
    );
    let inputs = &playbook.scope.inputs;
    let by_name = |name: &str| {
        let mut inputs = inputs.iter();
        inputs
            .find(|input| input.name == name)
            .expect("it is there")
    };
    assert_eq!(by_name("c").default, Some(Value::Number(5.0)));
    assert_eq!(
        by_name("f").default,
        Some(Value::Duration(Span::from_seconds(300)))
    );
    assert_eq!(by_name("g").max, Some(Value::Bytes(Bytes(1 << 30))));
    assert_eq!(by_name("j").min, Some(Value::Int(1)));
    let map = by_name("l").default.as_ref().expect("a default");
    assert_eq!(map.get("n"), Some(&Value::Bytes(Bytes(1))));
    assert_eq!(by_name("o").of, InputType::Secret);
    assert_eq!(by_name("p").default, None);
    assert_eq!(inputs.len(), 14);
}

#[test]
fn what_an_input_can_not_be() {
    check(
        r#"
inputs:
  a: { type: strng }
  b: { type: string, defalt: x }
  c: { help: no type }
  d: { type: string, default: 5 }
  e: { type: integer, default: five, min: one }
  f: { type: integer, default: 10, max: 9 }
  g: { type: integer, min: 9, max: 1 }
  h: { type: string, default: ABC, pattern: "[a-z]+" }
  i: { type: string, pattern: "[a-z" }
  j: { type: integer, pattern: "[0-9]+" }
  k: { type: choice }
  l: { type: choice, of: [] }
  m: { type: choice, of: [prod, test, prod], default: prd }
  n: { type: string, of: [a], items: string, fields: {} }
  o: { type: list }
  q: { type: list, items: strin }
  r: { type: list, items: choice }
  s: { type: list, items: { type: integer, mni: 1 } }
  t: { type: list, items: integer, default: [1, x] }
  u: { type: map }
  v: { type: map, fields: { w: { type: integer } }, default: { w: x } }
  x: { type: map, fields: { w: { type: integer } }, default: { y: 1 } }
  y: { type: secret, default: env:X }
  z: { type: list, items: secret }
  aa: { type: map, fields: { w: { type: secret } } }
  bb: { type: boolean, default: yes, min: 1 }
  cc: { type: bytes, default: 5, max: big }
  dd: { type: timestamp, default: 2026-11-20 }
  ee: { type: list, items: [string] }
  ff: text
steps: [{ id: p1, confirm: true }]
"#,
        r#"
3:14 «strng» unknown value `strng`
    did you mean `string`?
4:22 «defalt» unknown key `defalt`
    did you mean `default`?
5:3 «c» missing key `type`
6:31 «5» the default of `d`: expected text, found integer 5; quote it
7:32 «five» the default of `e`: expected a whole number, found text "five"
7:43 «one» the bound of `e`: expected a whole number, found text "one"
8:32 «10» the default of `f`: 10 is above the most allowed, 9
9:36 «1» `max` is less than `min`, which is 9
10:31 «ABC» the default of `h`: `ABC` does not match `[a-z]+`
11:31 «"[a-z"» no regular expression: unclosed character class
12:23 «pattern» `pattern` is for the types `string`, `path` only
13:14 «choice» a `choice` needs `of`
    `of: [prod, test]`
14:14 «choice» a `choice` needs `of`
    `of: [prod, test]`
15:39 «prod» `prod` is among the choices twice
15:55 «prd» the default of `m`: `prd` is not one of `prod`, `test`, `prod`; did you mean `prod`?
16:22 «of» `of` is for the type `choice` only
16:31 «items» `items` is for the type `list` only
16:46 «fields» `fields` is for the type `map` only
17:14 «list» a `list` needs `items`
    `items: string`
18:27 «strin» there is no type `strin`
    did you mean `string`?
19:27 «choice» `choice` needs more than its name here
    `items: { type: choice, … }`
20:44 «mni» unknown key `mni`
    did you mean `min`?
21:45 «[1, x]» the default of `t`: item 2: expected a whole number, found text "x"
22:14 «map» a `map` needs `fields`
    `fields: {name: {type: string}}`
23:62 «{ w: x }» the default of `v`: field `w`: expected a whole number, found text "x"
24:62 «{ y: 1 }» the default of `x`: there is no field `y`; there is `w`; field `w` has no value
25:31 «env:X» a secret has no default
    give it by a profile as `env:NAME` or `file:PATH`
26:27 «secret» a secret can't lie in a list or a map
    make it an input of its own
27:33 «{ type: secret }» a secret can't lie in a list or a map
    make it an input of its own
28:33 «yes» the default of `bb`: expected `true` or `false`, found text "yes"
28:38 «min» `min` is for the types `string`, `path`, `integer`, `number`, `duration`, `bytes`, `timestamp`, `list` only
29:31 «5» the default of `cc`: expected a size like `100MiB`, found integer 5
29:39 «big» the bound of `cc`: `big` is no size; write it like `512B`, `100MiB` or `1.5GB`
30:35 «2026-11-20» the default of `dd`: `2026-11-20` is no time; write it with its offset, like `2026-11-20T14:30:00+08:00`
31:28 «[string]» expected a type or an input, found a list
    there is `string`, `integer`, `number`, `boolean`, `path`, `duration`, `bytes`, `timestamp`, `choice`, `list`, `map`, `secret`
32:7 «text» expected a mapping, found text "text"
"#,
    );
}

#[test]
fn a_wrong_input_can_be_named_all_the_same() {
    check(
        "
inputs: { a: { type: strng } }
vars: { b: a +, c: b }
connections: { d: \"ftp://h\" }
steps: [{ id: e, when: a == b and c == d.host, confirm: true }]
",
        r#"
2:22 «strng» unknown value `strng`
    did you mean `string`?
3:14 «+» the expression ends where a value should follow
4:19 «"ftp://h"» `ftp://h` has no scheme that a connection can have
    `sqlite:`, `postgres:`, `redis:`, `http:` or `https:`
"#,
    );
}

#[test]
fn a_connection_is_a_url_of_a_known_scheme() {
    check(
        r#"
inputs: { url: { type: string }, host: { type: string }, path: { type: path } }
connections:
  a: "{{ url }}"
  b: "postgres://{{ host }}/x"
  c: "sqlite:{{ path }}"
  d: "mysql://{{ host }}/x"
  e: somewhere
  f: "somewhere/{{ path }}"
  g: "redis://localhost:6379/0"
steps: [{ id: s, confirm: true }]
"#,
        r#"
7:6 «"mysql://{{ host }}/x"» `mysql://{{ host }}/x` has no scheme that a connection can have
    `sqlite:`, `postgres:`, `redis:`, `http:` or `https:`
8:6 «somewhere» `somewhere` has no scheme that a connection can have
    `sqlite:`, `postgres:`, `redis:`, `http:` or `https:`
9:6 «"somewhere/{{ path }}"» `somewhere/{{ path }}` has no scheme that a connection can have
    `sqlite:`, `postgres:`, `redis:`, `http:` or `https:`
"#,
    );
}
