//! The tree: what is read, where it stands, and what is refused.

use super::{Data, Limits, Node, Scalar, parse};
use crate::diagnostic::{Diagnostic, Source, line};

fn read(yaml: &str) -> Node {
    let mut problems = Vec::new();
    let node = parse(yaml, &Limits::default(), &mut problems);
    assert_eq!(problems, []);
    node.expect("a tree")
}

fn refuse(yaml: &str, limits: &Limits) -> String {
    let mut problems: Vec<Diagnostic> = Vec::new();
    assert_eq!(parse(yaml, limits, &mut problems), None);
    assert_eq!(problems.len(), 1, "{problems:?}");
    line(&problems[0], &Source::new("p.yml", yaml))
}

/// Returns every node with its place, keys marked.
fn places(node: &Node, yaml: &str, lines: &mut Vec<String>) {
    lines.push(format!("{} {:?}", node.what(), &yaml[node.span.clone()]));
    match &node.data {
        Data::Scalar { .. } => {}
        Data::List(items) => items.iter().for_each(|item| places(item, yaml, lines)),
        Data::Map(entries) => {
            for (key, value) in entries {
                lines.push(format!("key {:?}", &yaml[key.span.clone()]));
                places(value, yaml, lines);
            }
        }
    }
}

#[test]
fn every_key_and_value_knows_where_it_stands() {
    let yaml =
        "\u{feff}é: { b: [1, 'x' ], c: } # d\r\ne:\r\n  - f: |\r\n      g\r\n      h\r\n  - i\r\n";
    let mut lines = Vec::new();
    places(&read(yaml), yaml, &mut lines);
    assert_eq!(
        lines,
        [
            r#"a mapping "é: { b: [1, 'x' ], c: } # d\r\ne:\r\n  - f: |\r\n      g\r\n      h\r\n  - i""#,
            r#"key "é""#,
            r#"a mapping "{ b: [1, 'x' ], c: }""#,
            r#"key "b""#,
            r#"a list "[1, 'x' ]""#,
            r#"number 1 "1""#,
            r#"text "x" "'x'""#,
            r#"key "c""#,
            r#"nothing """#,
            r#"key "e""#,
            r#"a list "- f: |\r\n      g\r\n      h\r\n  - i""#,
            r#"a mapping "f: |\r\n      g\r\n      h""#,
            r#"key "f""#,
            r#"text "g\nh\n" "g\r\n      h""#,
            r#"text "i" "i""#,
        ]
    );
}

#[test]
fn values_are_what_they_look_like_and_quotes_make_text() {
    let node = read(
        "a: no\nb: 0640\nc: 1_000\nd: .inf\ne: 10\nf: '10'\ng: !!str 10\nh: ~\ni:\nj: 1.10\nk: true\nl: !!str\nm: |\n  5\n",
    );
    assert_eq!(
        node.to_value().display(),
        r#"{a: "no", b: "0640", c: "1_000", d: ".inf", e: 10, f: "10", g: "10", h: null, i: null, j: 1.1, k: true, l: "", m: "5\n"}"#
    );
    let text = |key| node.get(key).and_then(Node::as_text);
    assert_eq!(
        (text("j"), text("k"), text("h")),
        (Some("1.10"), Some("true"), None)
    );
    assert_eq!(
        node.get("f").and_then(Node::scalar),
        Some(Scalar::Text("10"))
    );
    assert!(node.get("i").is_some_and(Node::is_null) && node.get("z").is_none());
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let node = read(
        "base: &base { a: 1, b: 1, c: &c [x] }\nmore: &more { b: 2, d: 2 }\nboth:\n  <<: [*base, *more]\n  a: 0\nsame: *c\nover: { <<: *base, b: 3 }\nplain: { '<<': 1 }\n",
    );
    let shown = |key: &str| node.get(key).expect(key).to_value().display();
    assert_eq!(shown("both"), r#"{a: 0, b: 1, c: ["x"], d: 2}"#);
    assert_eq!(shown("over"), r#"{a: 1, b: 3, c: ["x"]}"#);
    assert_eq!(shown("same"), r#"["x"]"#);
    assert_eq!(shown("plain"), "{<<: 1}");
    let merged = node
        .get("both")
        .and_then(|both| both.entry("d"))
        .expect("it is merged");
    assert_eq!(
        merged.0.span,
        58..59,
        "a merged entry stays where it was defined"
    );
}

#[test]
fn a_comment_behind_a_plain_scalar_is_kept_as_a_place() {
    let yaml = "a: x == \"a # b\"\nb: 'x' # c\nc: x# d\nd: x\n# e\ne: [1 # f\n]\nf:\n  - >-\n    x # y\ng: a\n  b \t# h";
    let node = read(yaml);
    let comment = |key: &str| {
        let node = node.get(key).expect(key);
        node.comment_after.clone().map(|comment| &yaml[comment])
    };
    assert_eq!(comment("a"), Some("# b\""));
    assert_eq!(node.get("a").and_then(Node::as_text), Some("x == \"a"));
    assert_eq!(["b", "c", "d", "f"].map(comment), [None; 4]);
    assert_eq!(comment("g"), Some("# h"));
    assert!(node.get("a").is_some_and(|a| a.comment_hint().is_some()));
}

#[test]
fn a_long_comment_is_no_reason_to_refuse_a_file() {
    let yaml = "# one more line\n".repeat(500) + "a:\n" + &"  # x\n".repeat(500) + "  - 1\n";
    assert_eq!(read(&yaml).to_value().display(), "{a: [1]}");
}

#[test]
fn a_big_file_is_refused_by_its_size() {
    assert_eq!(
        refuse(&"a".repeat(50_000_000), &Limits::default()),
        "p.yml: error: the file has 47.7MiB of text; at most 4MiB are read"
    );
}

#[test]
fn deep_nesting_is_an_error_however_it_is_made() {
    for (yaml, place) in [
        ("[".repeat(10_000), ":1:65"),
        ("{a: ".repeat(10_000), ":1:257"),
        ("- ".repeat(10_000) + "x", ":1:129"),
        (
            (0..10_000)
                .map(|depth| " ".repeat(depth) + "a:\n")
                .collect(),
            "",
        ),
    ] {
        let yaml: String = yaml.chars().take(1 << 20).collect();
        let refused = refuse(&yaml, &Limits::default());
        assert!(refused.starts_with(&format!("p.yml{place}")), "{refused}");
        assert!(
            refused.ends_with("more than 64 collections inside each other"),
            "{refused}"
        );
    }
    let half = "[".repeat(40) + &"]".repeat(40);
    let other = half.replace("[]", "[*a]");
    assert_eq!(
        refuse(&format!("a: &a {half}\nb: {other}\n"), &Limits::default()),
        "p.yml:2:44: error: more than 64 collections inside each other"
    );
    read(&("[".repeat(64) + &"]".repeat(64)));
}

#[test]
fn alias_bombs_are_refused_before_they_go_off() {
    let mut nodes = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        nodes.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(
        refuse(&nodes, &Limits::default()),
        "p.yml:5:9: error: the file makes more than 200000 nodes, aliases counted in full"
    );
    let text = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        "*a, ".repeat(100)
    );
    assert_eq!(
        refuse(&text, &Limits::default()),
        "p.yml:2:21: error: aliases make more than 4MiB of text of this file"
    );
    // Anchors around each other are counted for each of them: every one is kept.
    let anchors: String = (0..60).map(|n| format!("&n{n} [")).collect();
    let nested = anchors + &"x, ".repeat(10_000) + &"]".repeat(60);
    assert!(refuse(&nested, &Limits::default()).contains("200000 nodes"));
}

#[test]
fn places_lead_back_to_the_source() {
    for (yaml, part) in [
        ("a: x == yy", "yy"),
        ("a: 'x == yy'", "yy"),
        ("a: \"x == yy\"", "yy"),
        ("a: 'it''s yy'", "yy"),
        ("a: \"\\\"é\\\" \\u00e9\\x41\\ud83d\\ude00 == yy\"", "yy"),
        ("a: x ==\n  yy and\n\n  z", "yy"),
        ("a: \"x ==\n  yy and\"", "yy"),
        ("a: |\n  x ==\n    yy\n\n  z\n", "yy"),
        ("a: |2\n    x ==\n  yy\n", "yy"),
        (
            "a: >-  # why\n\n   x ==\n   yy\n     more\n\n\n   z\n\n",
            "yy",
        ),
        ("a: >-\r\n  x ==\r\n  yy\r\n", "yy"),
        ("a: >-\n  x ==\n  z or\n    yy\n", "yy"),
        ("a:\n  - |-\n    x\n    yy", "yy"),
        ("é: 'é ☕ yy'", "yy"),
    ] {
        let root = read(yaml);
        let (_, value) = &root.as_map().expect("a mapping")[0];
        let value = value.as_list().map_or(value, |items| &items[0]);
        let text = value.as_text().expect("text");
        let at = text.find(part).expect("it is in the text");
        assert_eq!(
            value.place(yaml, at..at + part.len()),
            yaml.rfind(part)
                .map(|at| at..at + part.len())
                .expect("it is there"),
            "{yaml:?}"
        );
        assert_eq!(
            value.place(yaml, at..at),
            yaml.rfind(part).map(|at| at..at).expect("it is there"),
            "{yaml:?}"
        );
    }
}

#[test]
fn a_place_that_goes_over_lines_begins_and_ends_where_it_stands() {
    let yaml = "a: >-\n  one\n  two three\n";
    let root = read(yaml);
    let a = root.get("a").expect("a");
    assert_eq!(&yaml[a.place(yaml, 0..7)], "one\n  two");
    assert_eq!(
        &yaml[a.place(yaml, 0..4)],
        "one",
        "the fold itself belongs to the line before"
    );
    assert_eq!(&yaml[a.place(yaml, 4..99)], "two three");
}

#[test]
fn what_has_no_place_of_its_own_has_that_of_the_whole() {
    let yaml = "a: &a \"one\\\n  two\"\nb: *a\nc: [1]\n";
    let root = read(yaml);
    let place = |key: &str| &yaml[root.get(key).expect(key).place(yaml, 1..2)];
    assert_eq!(place("a"), "\"one\\\n  two\"");
    assert_eq!(place("b"), "*a");
    assert_eq!(place("c"), "[1]");
}

#[test]
fn a_playbook_of_5000_steps_is_well_within_the_limits() {
    let yaml = long_playbook(5_000);
    let steps = read(&yaml);
    assert_eq!(
        steps
            .get("steps")
            .and_then(Node::as_list)
            .map(<[Node]>::len),
        Some(5_000)
    );
}

fn long_playbook(steps: usize) -> String {
    let step = |n: usize| {
        format!(
            "  - id: step_{n}\n    title: Look at number {n} of {{{{ total }}}}\n    when: total > {n} and not done\n    file.stat: {{ path: \"/srv/{{{{ base }}}}/{n}\", follow: true }}\n    expect:\n      - that: result.exists\n        else: \"{n} is gone\"\n"
        )
    };
    (0..steps).fold("playbook: long\nsteps:\n".to_owned(), |text, n| {
        text + &step(n)
    })
}
