//! Playbooks that call others.

use std::{collections::BTreeMap, sync::Arc};

use super::{check_steps, kinds::KINDS, said};
use crate::{
    diagnostic::{Diagnostic, Source},
    kind::Effect,
    language::{Playbook, link, read},
    plan::{Body, Plan},
};

/// Links `root` with the playbooks in `others`; what is wrong is said a line each, with the playbook it is in.
#[track_caller]
fn linked(root: &str, others: &[&str]) -> Result<Plan, String> {
    let load = |text: &str| -> Arc<Playbook> {
        let source = Source::new("x.yml", text);
        let (playbook, problems) = read(&source, None, &KINDS);
        let problems: Vec<String> = problems
            .iter()
            .map(|problem| said(problem, &source))
            .collect();
        Arc::new(playbook.unwrap_or_else(|| panic!("{}", problems.join("\n"))))
    };
    let library: BTreeMap<String, Arc<Playbook>> = others
        .iter()
        .map(|text| load(text))
        .map(|playbook| (playbook.scope.name.clone(), playbook))
        .collect();
    let plan = link(&load(root), &mut |_, call| {
        let found = library.get(&call.name).filter(|playbook| {
            let version = playbook.scope.version.parse().expect("it was checked");
            call.versions.matches(&version)
        });
        found.cloned().ok_or_else(|| {
            let message = format!("there is no playbook `{}` {}", call.name, call.versions);
            Diagnostic::error(message, call.place.clone())
        })
    });
    plan.map_err(|problems| {
        let said: Vec<String> = problems
            .iter()
            .map(|(playbook, problem)| {
                let source = Source::new("x.yml", playbook.scope.text.clone());
                format!("{}: {}", playbook.scope.name, said(problem, &source))
            })
            .collect();
        said.join("\n")
    })
}

fn book(name: &str, rest: &str) -> String {
    format!("playbook: {name}\nversion: 1.2.0\ntitle: T\n{rest}")
}

#[track_caller]
fn check_link(root: &str, others: &[&str], expected: &str) {
    let said = linked(root, others).err().unwrap_or_default();
    assert_eq!(said, expected.trim_matches('\n'), "\n{said}\n");
}

#[test]
fn what_a_call_can_not_say() {
    check_steps(
        r#"
  - { id: a, call: other }
  - { id: b, call: { with: {} } }
  - { id: c, call: { playbook: Other_One } }
  - { id: d, call: { playbook: "other@one" } }
  - { id: e, call: { playbook: "{{ run.id }}" } }
  - { id: f, call: { playbook: other, with: { x: "{{ nobody }}" } } }
  - { id: g, call: { playbook: "other@>=1.2, <3" } }
"#,
        r#"
2:20 «other» expected a mapping, found text "other"
3:14 «call» missing key `playbook`
4:32 «Other_One» `Other_One` is no playbook name
    a name like `daily-health`, perhaps with versions: `daily-health@^1`
5:32 «"other@one"» `one` is no range of versions: unexpected character 'o' while parsing major version number
    like `name@^1` or `name@>=1.2, <3`
6:32 «"{{ run.id }}"» `{{ run.id }}` is no playbook name
    a name like `daily-health`, perhaps with versions: `daily-health@^1`
7:54 «nobody» unknown name `nobody`
    it is no input, var, connection or earlier step
"#,
    );
}

#[test]
fn unknown_playbooks_and_versions_are_said_by_who_looks_for_them() {
    check_link(
        &book(
            "a",
            "steps: [{ id: x, call: { playbook: b } }, { id: y, call: { playbook: c@^2 } }, { id: z, call: { playbook: c@1.2 } }]\n",
        ),
        &[&book("c", "steps: [{ id: x, confirm: true }]\n")],
        r#"
a: 4:36 «b» there is no playbook `b` *
a: 4:70 «c@^2» there is no playbook `c` ^2
"#,
    );
}

#[test]
fn a_circle_is_shown_whole() {
    check_link(
        &book("a", "steps: [{ id: x, call: { playbook: a } }]\n"),
        &[],
        r#"
a: 4:36 «a» the playbooks call each other in a circle: a -> a
"#,
    );
    check_link(
        &book("a", "steps: [{ id: x, call: { playbook: b } }]\n"),
        &[
            &book(
                "b",
                "steps: [{ id: x, group: [{ id: y, call: { playbook: c } }] }]\n",
            ),
            &book(
                "c",
                "steps: [{ id: w, manual: x, rollback: [{ id: x, call: { playbook: b } }] }]\n",
            ),
        ],
        r#"
c: 4:67 «b» the playbooks call each other in a circle: b -> c -> b
"#,
    );
}

const CALLEE: &str = "
inputs:
  database: { type: path, help: The database }
  size: { type: bytes, default: 1MiB }
  depth: { type: choice, of: [quick, full], default: quick }
  token: { type: secret }
steps: [{ id: x, sqlite.check: { database: \"{{ database }}\" } }]
outputs: { integrity: x.integrity }
";

#[test]
fn inputs_are_checked_against_those_of_the_called_playbook() {
    check_link(
        &book(
            "a",
            "steps: [{ id: x, call: { playbook: b, with: { databse: /x, size: big, depth: fulll, tokn: x, other: 1 } } }]\n",
        ),
        &[&book("b", CALLEE)],
        r#"
a: 4:47 «databse» `b` has no input `databse`
    did you mean `database`?
a: 4:60 «size» input `size`: `big` is no size; write it like `512B`, `100MiB` or `1.5GB`
a: 4:71 «depth» input `depth`: `fulll` is not one of `quick`, `full`; did you mean `full`?
a: 4:85 «tokn» `b` has no input `tokn`
    did you mean `token`?
a: 4:94 «other» `b` has no input `other`
    there is `database`, `size`, `depth`, `token`
"#,
    );
    check_link(
        &book(
            "a",
            "steps:\n  - id: x\n    call: { playbook: b, with: { database: 5, token: plain } }\n  - { id: y, call: { playbook: b } }\n",
        ),
        &[&book("b", CALLEE)],
        r#"
a: 6:34 «database» input `database`: expected text, found integer 5; quote it
a: 6:47 «token» input `token`: a secret is given as `env:NAME`, `file:PATH` or `command:...`, never as it is
a: 7:32 «b» `b` needs the input `database`
    add it to `with`: The database
a: 7:32 «b» `b` needs the input `token`
    add it to `with`
"#,
    );
    check_link(
        &book(
            "a",
            "inputs: { t: { type: secret } }\nsteps: [{ id: x, call: { playbook: b, with: { database: \"/{{ run.id }}\", size: \"{{ run.id }}\", token: \"{{ t }}\" } } }]\n",
        ),
        &[&book("b", CALLEE)],
        "",
    );
    check_link(
        &book(
            "a",
            "steps: [{ id: x, call: { playbook: b, with: { a: 1 } } }]\n",
        ),
        &[&book("b", "steps: [{ id: x, confirm: true }]\n")],
        r#"
a: 4:47 «a» `b` has no input `a`
    there is none at all
"#,
    );
}

#[test]
fn the_result_of_a_call_is_its_outputs() {
    let call = "{ id: x, call: { playbook: b, with: { database: /x, token: \"{{ t }}\" } }, expect: [{ that: result.integrity == \"ok\" and result.ok and result.size == 1 }] }";
    check_link(
        &book(
            "a",
            &format!(
                "inputs: {{ t: {{ type: secret }} }}\nsteps:\n  - {call}\n  - {{ id: y, when: x.integrty == \"ok\" or x.ok, confirm: \"{{{{ x.integrity }}}}\" }}\n"
            ),
        ),
        &[&book("b", CALLEE)],
        r#"
a: 7:22 «integrty» `b` has no output `integrty`
    did you mean `integrity`?
a: 6:146 «size» `b` has no output `size`
    there is `integrity`
"#,
    );
}

#[test]
fn what_only_reads_is_known_when_the_calls_are_linked() {
    let changes = book(
        "b",
        "steps: [{ id: x, service: { name: x, state: started } }]\n",
    );
    check_link(
        &book(
            "a",
            "on_failure: continue\nsteps:\n  - { id: x, group: [{ id: y, call: { playbook: b } }], until: result.ok, within: 1m }\n",
        ),
        &[&changes],
        r#"
a: 6:49 «b» `until` asks again, but `b` changes something
a: 6:49 «b» `on_failure: continue` is only for a playbook that only reads, but `b` changes something
    say it at the steps that may fail
"#,
    );
    let plan = linked(
        &book("a", "steps:\n  - { id: x, group: [{ id: y, call: { playbook: b } }] }\n  - { id: z, confirm: true }\n"),
        &[&changes],
    )
    .expect("a plan");
    let effects: Vec<(&str, Effect)> = plan
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.effect))
        .collect();
    assert_eq!(
        effects,
        [
            ("x", Effect::Change),
            ("y", Effect::Change),
            ("z", Effect::Read),
            ("x", Effect::Change)
        ]
    );
}

#[test]
fn a_playbook_that_is_called_twice_is_there_twice() {
    let plan = linked(
        &book("a", "steps:\n  - { id: x, call: { playbook: b } }\n  - { id: y, manual: x, rollback: [{ id: z, call: { playbook: b } }] }\n"),
        &[&book("b", "steps: [{ id: x, group: [{ id: y, service: { name: x, state: started } }] }]\nalways: [{ id: z, confirm: true }]\n")],
    )
    .expect("a plan");
    assert_eq!(plan.scopes.len(), 3);
    let Body::Call { scope, .. } = plan.node(plan.root().ids["x"]).body else {
        panic!("a call");
    };
    let callee = plan.scope(scope);
    assert_eq!(plan.node(callee.steps[0]).id, "x");
    assert_eq!(plan.children(callee.steps[0]), [callee.ids["y"]]);
    let aside: Vec<bool> = plan.nodes.iter().map(|node| node.aside).collect();
    // The root's three, those of the call, and those of the call in the rollback: that is never undone itself.
    assert_eq!(
        aside,
        [false, false, true, false, false, true, true, true, true]
    );
    assert_eq!(plan.effect(), Effect::Change);
}

#[test]
fn calls_that_grow_without_end_are_refused() {
    let steps = |callee: &str| {
        let calls: Vec<String> = (0..40)
            .map(|index| format!("  - {{ id: s{index}, call: {{ playbook: {callee} }} }}\n"))
            .collect();
        format!("steps:\n{}", calls.concat())
    };
    let others = [
        book("b", &steps("c")),
        book("c", &steps("d")),
        book("d", &steps("e")),
        book("e", &steps("f")),
        book("f", "steps: [{ id: x, confirm: true }]\n"),
    ];
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let said = linked(&book("a", &steps("b")), &others).expect_err("too many");
    assert_eq!(
        said,
        "e: 5:33 «f» the calls make a plan of more than 200000 steps"
    );
}
