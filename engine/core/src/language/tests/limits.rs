//! Texts that are no playbook at all, or too much of one.

use std::time::{Duration, Instant};

use super::kinds::KINDS;
use crate::{
    diagnostic::{Source, line},
    language::read,
    yaml,
};

/// Long for a debug build on a busy machine, short for anything that grows faster than its text.
const SOON: Duration = Duration::from_secs(20);

#[track_caller]
fn said(text: String) -> Vec<String> {
    let begun = Instant::now();
    let source = Source::new("p.yml", text);
    let (playbook, problems) = read(&source, None, &KINDS);
    assert!(playbook.is_none());
    let said = problems
        .iter()
        .map(|problem| line(problem, &source))
        .collect();
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    said
}

#[test]
fn what_is_no_text_is_named_by_its_byte() {
    let problem = yaml::decode(b"playbook: caf\xe9\n").expect_err("no UTF-8");
    assert_eq!(
        problem.message,
        "line 1 is not UTF-8: byte 0xe9 at offset 13 of the file"
    );
}

#[test]
fn a_file_of_50_mb_is_refused_by_its_size() {
    let text = "# nothing but comments, again and again\n".repeat(50 * 1024 * 1024 / 40);
    assert_eq!(
        said(text),
        ["p.yml: error: the file has 50MiB of text; at most 4MiB are read"]
    );
}

#[test]
fn an_alias_bomb_is_refused_before_it_goes_off() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let said = said(text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].ends_with("the file makes more than 200000 nodes, aliases counted in full"),
        "{said:?}"
    );
}

#[test]
fn ten_thousand_groups_inside_each_other_are_refused() {
    let flow = format!(
        "steps: {}{}",
        "[{group: ".repeat(10_000),
        "}]".repeat(10_000)
    );
    assert_eq!(
        said(flow),
        ["p.yml:1:296: error: more than 64 collections inside each other"]
    );
    let mut block = String::from("steps:\n");
    for depth in 0..1_000 {
        block += &format!(
            "{}- id: a\n{}group:\n",
            " ".repeat(2 * depth),
            " ".repeat(2 * depth + 2)
        );
    }
    assert_eq!(
        said(block),
        ["p.yml:64:65: error: more than 64 collections inside each other"]
    );
}

#[test]
fn groups_as_deep_as_they_may_be_are_read() {
    let depth = 30;
    let steps = (0..depth).fold("{ id: a, confirm: true }".to_owned(), |inner, index| {
        format!("{{ id: g{index}, group: [{inner}] }}")
    });
    let text = format!("playbook: p\nversion: 1.0.0\ntitle: T\nsteps: [{steps}]\n");
    let (playbook, problems) = read(&Source::new("p.yml", text), None, &KINDS);
    assert_eq!(problems, []);
    assert_eq!(playbook.expect("a playbook").nodes.len(), depth + 1);
}

#[test]
fn thousands_of_mistakes_are_all_found_and_soon() {
    let head = "playbook: p\nversion: 1.0.0\ntitle: T\nsteps:\n";
    for (step, mistakes) in [
        ("{ id: s#, file.sat: { path: x } }", 1),
        ("{ id: s#, file.stat: { path: \"{{ nobody_# }}\" } }", 1),
        ("{ id: s#, when: s0.exsts, command: { argv: [x] } }", 2),
        ("{ id: s, confirm: true }", 1),
    ] {
        let steps: String = (0..3_000)
            .map(|index| format!("  - {}\n", step.replace('#', &index.to_string())))
            .collect();
        let said = said(format!("{head}{steps}"));
        assert!(said.len() >= mistakes * 2_999, "{step}: {}", said.len());
    }
    let beside: String = (0..3_000)
        .map(|index| format!("      - {{ id: s{index}, file.stat: {{ path: x }} }}\n"))
        .collect();
    let said = said(format!(
        "{head}  - id: all\n    parallel:\n{beside}  - {{ id: z, when: s5.there, confirm: true }}\n"
    ));
    assert_eq!(said.len(), 1, "{said:?}");
}
