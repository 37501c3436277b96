//! What people get wrong in YAML, and what they are told.

use super::{Limits, parse};
use crate::diagnostic::{Colour, Source, render};

#[track_caller]
fn check(yaml: &str, expected: &str) {
    let mut problems = Vec::new();
    parse(yaml, &Limits::default(), &mut problems);
    let rendered = render(&problems, &Source::new("p.yml", yaml), Colour::Plain);
    assert_eq!(
        rendered.trim_end(),
        expected.trim_matches('\n'),
        "\n{rendered}"
    );
}

#[test]
fn a_template_without_quotes() {
    check(
        "path: {{ base }}\nmode: 5\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:1:7
  |
1 | path: {{ base }}
  |       ^^^^^^^^^^
  |
  = help: write `"{{ base }}"`, or use the block form: `path: >-` and the text below it, indented
"#,
    );
}

#[test]
fn a_template_without_quotes_that_goes_on() {
    check(
        "path: {{ base }}/log # of today\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:1:7
  |
1 | path: {{ base }}/log # of today
  |       ^^^^^^^^^^^^^^
  |
  = help: write `"{{ base }}/log"`, or use the block form: `path: >-` and the text below it, indented
"#,
    );
}

#[test]
fn a_template_without_quotes_in_a_list() {
    check(
        "argv:\n  - ls\n  - {{ paths[0] }}\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:3:5
  |
3 |   - {{ paths[0] }}
  |     ^^^^^^^^^^^^^^
  |
  = help: write `"{{ paths[0] }}"`, or use the block form: `- >-` and the text below it, indented
"#,
    );
}

#[test]
fn a_template_without_quotes_in_a_flow_mapping() {
    check(
        "file.stat: { path: {{ base }}, follow: true }\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:1:20
  |
1 | file.stat: { path: {{ base }}, follow: true }
  |                    ^^^^^^^^^^
  |
  = help: write `"{{ base }}"`, or use the block form instead of `{ }`: `path: >-` and the text below it, indented
"#,
    );
    check(
        "file.stat: { path: {{ base | default(\"x\") }}/y, follow: true }\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:1:20
  |
1 | file.stat: { path: {{ base | default("x") }}/y, follow: true }
  |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `'{{ base | default("x") }}/y'`, or use the block form instead of `{ }`: `path: >-` and the text below it, indented
"#,
    );
}

#[test]
fn a_value_that_goes_on_behind_its_quotes() {
    check(
        "guards:\n  - that: \"a\" == b\n",
        r#"
error: the value begins with a quote and goes on behind it
 --> p.yml:2:15
  |
2 |   - that: "a" == b
  |           --- ^^^^
  |           |
  |           for YAML the value ends here
  |
  = help: write `'"a" == b'`, or use the block form: `that: >-` and the text below it, indented
"#,
    );
    check(
        "that: 'it''s' in names   # really\n",
        r"
error: the value begins with a quote and goes on behind it
 --> p.yml:1:15
  |
1 | that: 'it''s' in names   # really
  |       ------- ^^^^^^^^
  |       |
  |       for YAML the value ends here
  |
  = help: quote the whole value, or use the block form: `that: >-` and the text below it, indented
",
    );
    check(
        "- { that: \"a\" == b, else: no }\n",
        r#"
error: the value begins with a quote and goes on behind it
 --> p.yml:1:15
  |
1 | - { that: "a" == b, else: no }
  |           --- ^^^^^^^^^^^^^^^^
  |           |
  |           for YAML the value ends here
  |
  = help: quote the whole value, or use the block form instead of `{ }`: `that: >-` and the text below it, indented
"#,
    );
}

#[test]
fn an_expression_with_brackets_in_a_flow_mapping() {
    check(
        "- { that: rows[0] == 1, else: none }\n",
        r"
error: `[` ends a value that is not quoted inside of `{ }`
 --> p.yml:1:15
  |
1 | - { that: rows[0] == 1, else: none }
  |               ^
  |
  = help: quote the value, or use the block form instead of `{ }`, with `that:` on a line of its own
",
    );
    check(
        "- { that: x in [1, 2], else: none }\n",
        r"
error: `[` ends a value that is not quoted inside of `{ }`
 --> p.yml:1:16
  |
1 | - { that: x in [1, 2], else: none }
  |                ^
  |
  = help: quote the value, or use the block form instead of `{ }`, with `that:` on a line of its own
",
    );
    check(
        "- { that: rows], else: none }\n",
        r"
error: this `{` is closed by a `]`
 --> p.yml:1:3
  |
1 | - { that: rows], else: none }
  |   ^
  |
  = help: inside of `{ }` and `[ ]` a value with brackets is quoted, or written in the block form
",
    );
}

#[test]
fn an_expression_with_a_comma_in_a_flow_mapping() {
    check(
        "- { that: max(a, b) > 1, else: none }\n",
        r"
error: `b) > 1` has no value
 --> p.yml:1:18
  |
1 | - { that: max(a, b) > 1, else: none }
  |           -----  ^^^^^^
  |           |
  |           the comma ends this value
  |
  = help: inside of `{ }` a value with `,` or brackets is quoted; or use the block form instead of `{ }`, with `that:` on a line of its own
",
    );
    check(
        "tags: {sqlite}\n",
        r"
error: `sqlite` has no value
 --> p.yml:1:8
  |
1 | tags: {sqlite}
  |        ^^^^^^
  |
  = help: `{ }` holds `key: value`; a list is `[ ]`
",
    );
}

#[test]
fn a_tab_as_indentation() {
    check(
        "a:\n\tb: 1\n",
        r"
error: a tab as indentation
 --> p.yml:2:1
  |
2 |     b: 1
  | ^^^^
  |
  = help: YAML indents with spaces only
",
    );
    check(
        "a:\n  b: 1\n\tc: 2\n",
        r"
error: a tab as indentation
 --> p.yml:3:1
  |
3 |     c: 2
  | ^^^^
  |
  = help: YAML indents with spaces only
",
    );
    check(
        "a: |\n\ttext\n",
        r"
error: a tab as indentation
 --> p.yml:2:1
  |
2 |     text
  | ^^^^
  |
  = help: YAML indents with spaces only
",
    );
}

#[test]
fn a_duplicate_key() {
    check(
        "a: 1\nb: 2\n\"a\": 3\n",
        r#"
error: duplicate key `a`
 --> p.yml:3:1
  |
1 | a: 1
  | - first defined here
2 | b: 2
3 | "a": 3
  | ^^^
"#,
    );
    check(
        "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n",
        r"
error: duplicate key `<<`
 --> p.yml:4:3
  |
3 |   <<: *a
  |   -- first defined here
4 |   <<: *a
  |   ^^
  |
  = help: merge several mappings by a list: `<<: [*a, *b]`
",
    );
}

#[test]
fn a_colon_in_a_title() {
    check(
        "title: Stop: now\n",
        r#"
error: a second `: ` in a value that is not quoted
 --> p.yml:1:12
  |
1 | title: Stop: now
  |            ^
  |
  = help: write `"Stop: now"`, or use the block form: `title: >-` and the text below it, indented
"#,
    );
}

#[test]
fn a_key_without_its_colon() {
    check(
        "steps\n  - id: x\n",
        r"
error: this key has no place here
 --> p.yml:2:3
  |
2 |   - id: x
  |   ^^^^
  |
  = help: the line above is a text that goes on here: it lacks its `:`, or this line is indented too deep
",
    );
    check(
        "a: x\n  b: 1\n",
        r"
error: this key has no place here
 --> p.yml:2:3
  |
2 |   b: 1
  |   ^
  |
  = help: the line above is a text that goes on here: it lacks its `:`, or this line is indented too deep
",
    );
}

#[test]
fn a_wrong_indentation() {
    check(
        "a:\n  b: 1\n c: 2\n",
        r"
error: this line is indented like nothing above it
 --> p.yml:3:2
  |
3 |  c: 2
  |  ^
  |
  = help: indent it like the keys that it belongs to
",
    );
    check(
        "a:\n  - b\nc: 1\n- d\n",
        r"
error: this `-` belongs to no list
 --> p.yml:4:1
  |
4 | - d
  | ^
  |
  = help: indent it like the other items of its list
",
    );
    check(
        "- a\nb: 1\n",
        r"
error: expected a further `- ` of the list
 --> p.yml:2:1
  |
2 | b: 1
  | ^
  |
  = help: a list and keys can't be mixed at one indentation
",
    );
    check(
        "a: - b\n",
        r"
error: a list can't begin here
 --> p.yml:1:4
  |
1 | a: - b
  |    ^
  |
  = help: put each `- ` on a line of its own, below the key
",
    );
}

#[test]
fn a_quote_that_is_never_closed() {
    check(
        "title: \"Look\nid: x\n",
        r#"
error: this quote is never closed
 --> p.yml:1:8
  |
1 | title: "Look
  |        ^
  |
  = help: close it; a text of several lines is written in the block form: `|` and the text below it, indented
"#,
    );
    check(
        "id: x\ntitle: 'Look",
        r"
error: this quote is never closed
 --> p.yml:2:8
  |
2 | title: 'Look
  |        ^
  |
  = help: close it; a text of several lines is written in the block form: `|` and the text below it, indented
",
    );
}

#[test]
fn an_escape_that_is_none() {
    check(
        "matching: \"^\\d+$\"\n",
        r#"
error: `\d` means nothing inside of double quotes
 --> p.yml:1:13
  |
1 | matching: "^\d+$"
  |             ^^
  |
  = help: use single quotes, where `\` is an ordinary character, or write `\\`
"#,
    );
}

#[test]
fn a_bracket_that_is_never_closed() {
    check(
        "argv: [ls, -l\nid: x\n",
        r"
error: this `[` is not closed
 --> p.yml:1:7
  |
1 | argv: [ls, -l
  |       ^
2 | id: x
  |   - here it can't go on
",
    );
    check(
        "with: { a: 1,\n",
        r"
error: this `{` is never closed
 --> p.yml:1:7
  |
1 | with: { a: 1,
  |       ^
",
    );
    check(
        "a: 1]\nb: [1]]\n",
        r"
error: nothing was opened that this `]` closes
 --> p.yml:2:7
  |
2 | b: [1]]
  |       ^
  |
  = help: inside of `{ }` and `[ ]` a value with brackets is quoted, or written in the block form
",
    );
}

#[test]
fn a_character_that_can_not_begin_a_value() {
    check(
        "user: @daily\n",
        r"
error: a value can't begin with `@`
 --> p.yml:1:7
  |
1 | user: @daily
  |       ^
  |
  = help: quote it
",
    );
    check(
        "a: x\u{7}\n",
        r"
error: the control character U+0007 is not allowed
 --> p.yml:1:5
  |
1 | a: x␇
  |     ^
  |
  = help: in double quotes it can be written as an escape, like `\x1b`
",
    );
}

#[test]
fn anchors_and_aliases() {
    check(
        "a: *missing\nb: &b [*b]\nc: *b\n",
        r"
error: unknown anchor `missing`
 --> p.yml:1:4
  |
1 | a: *missing
  |    ^^^^^^^^
  |
  = help: an anchor `&missing` stands before its alias; text that begins with `*` is quoted

error: this alias stands inside of what its anchor names, so it has no end
 --> p.yml:2:8
  |
2 | b: &b [*b]
  |        ^^
",
    );
    check(
        "a:\n  <<: 5\n  <<<: 1\nb: { <<: [{x: 1}, y] }\n",
        r#"
error: `<<` merges a mapping or a list of mappings, found number 5
 --> p.yml:2:7
  |
2 |   <<: 5
  |       ^

error: `<<` merges a mapping or a list of mappings, found text "y"
 --> p.yml:4:19
  |
4 | b: { <<: [{x: 1}, y] }
  |                   ^
"#,
    );
}

#[test]
fn tags() {
    check(
        "a: !secret x\nb: !!str 5\nc: !!int \"5\"\nd: !!str [1]\ne: !<tag:x,1:y> z\n",
        r#"
error: unknown tag `!secret`
 --> p.yml:1:4
  |
1 | a: !secret x
  |    ^^^^^^^
  |
  = help: tags have no meaning here; text that begins with `!` is quoted

error: unknown tag `!!int`
 --> p.yml:3:4
  |
3 | c: !!int "5"
  |    ^^^^^
  |
  = help: only `!!str` is known, on a scalar; write the value without a tag

error: unknown tag `!!str`
 --> p.yml:4:4
  |
4 | d: !!str [1]
  |    ^^^^^
  |
  = help: only `!!str` is known, on a scalar; write the value without a tag

error: unknown tag `!<tag:x,1:y>`
 --> p.yml:5:4
  |
5 | e: !<tag:x,1:y> z
  |    ^^^^^^^^^^^^
  |
  = help: tags have no meaning here; text that begins with `!` is quoted
"#,
    );
}

#[test]
fn keys_that_are_no_text() {
    check(
        "? [a, b]\n: c\n: d\n{x: y}: z\n",
        r"
error: a key is text, not a list
 --> p.yml:1:3
  |
1 | ? [a, b]
  |   ^^^^^^

error: there is no key before this `:`
 --> p.yml:3:1
  |
3 | : d
  | ^

error: a key is text, not a mapping
 --> p.yml:4:1
  |
4 | {x: y}: z
  | ^^^^^^
",
    );
}

#[test]
fn numbers_that_are_too_big() {
    check(
        "a: 99999999999999999999\nb: \"99999999999999999999\"\n99999999999999999999: 1\n",
        r"
error: `99999999999999999999` is beyond the whole numbers, which have 64 bits
 --> p.yml:1:4
  |
1 | a: 99999999999999999999
  |    ^^^^^^^^^^^^^^^^^^^^
  |
  = help: quote it if it is text
",
    );
}

#[test]
fn two_documents_and_none() {
    check(
        "a: 1\n---\na: 2\n",
        r"
error: a second document begins here
 --> p.yml:2:1
  |
2 | ---
  | ^^^
  |
  = help: a file holds one document: remove the `---` or split the file
",
    );
    check(
        "# nothing but a comment\n",
        r"
error: there is nothing in the file
--> p.yml
",
    );
    check(
        "\u{feff}",
        r"
error: there is nothing in the file
--> p.yml
",
    );
}

#[test]
fn the_mark_and_line_ends_of_windows_do_not_move_the_caret() {
    check(
        "\u{feff}a: 1\r\na: 2\r\n\r\nb:\r\n  - é: *x\r\n",
        r"
error: duplicate key `a`
 --> p.yml:2:1
  |
1 | a: 1
  | - first defined here
2 | a: 2
  | ^

error: unknown anchor `x`
 --> p.yml:5:8
  |
5 |   - é: *x
  |        ^^
  |
  = help: an anchor `&x` stands before its alias; text that begins with `*` is quoted
",
    );
}

#[test]
fn all_mistakes_that_leave_a_tree_are_found_in_one_run() {
    check(
        "a: {{ x }}\nb: !t 1\nb: *y\nc: {d, e: 1, e: 2}\n",
        r#"
error: a value that begins with `{{` has to be quoted
 --> p.yml:1:4
  |
1 | a: {{ x }}
  |    ^^^^^^^
  |
  = help: write `"{{ x }}"`, or use the block form: `a: >-` and the text below it, indented

error: unknown tag `!t`
 --> p.yml:2:4
  |
2 | b: !t 1
  |    ^^
  |
  = help: tags have no meaning here; text that begins with `!` is quoted

error: duplicate key `b`
 --> p.yml:3:1
  |
2 | b: !t 1
  | - first defined here
3 | b: *y
  | ^

error: unknown anchor `y`
 --> p.yml:3:4
  |
3 | b: *y
  |    ^^
  |
  = help: an anchor `&y` stands before its alias; text that begins with `*` is quoted

error: `d` has no value
 --> p.yml:4:5
  |
4 | c: {d, e: 1, e: 2}
  |     ^
  |
  = help: `{ }` holds `key: value`; a list is `[ ]`

error: duplicate key `e`
 --> p.yml:4:14
  |
4 | c: {d, e: 1, e: 2}
  |        -     ^
  |        |
  |        first defined here
"#,
    );
}
