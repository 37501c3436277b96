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
        inputs.find(|input| input.name == name).expect("it is there")
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
        "?",
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
        "?",
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
        "?",
    );
}
