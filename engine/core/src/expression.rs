//! The expression language, and the texts with `{{ }}` in them, over our own values.
//!
//! The syntax is MiniJinja's, read by its parser and then closed: what [`FILTERS`], [`TESTS`] and [`FUNCTIONS`] and the
//! operators below do not name is an error when a playbook is loaded. The evaluation is ours, because only our values
//! know absent, unknown and secret, and because nothing is converted by itself:
//!
//! - `and`, `or`, `not` and `x if c else y` take booleans; `and` and `or` leave out what is decided already.
//! - `==` and `!=` compare two values of one kind, also lists and maps, and anything with `null`. Integers and numbers are
//!   one kind here: `5 == 5.0`. `< <= > >=` order numbers, sizes, durations and times; texts only `| sort` orders.
//! - `+` and `-` add sizes, durations and numbers, a duration to a time, and lists to lists; `time - time` is a duration.
//!   `*` and `/` scale sizes and durations by numbers; a size by a size, or two durations, give a number. `/` always
//!   gives a number, `//` and `%` take integers and round down. What does not fit its kind is an error.
//! - `~` joins the texts of scalars; `in` asks a text for a part, a list for an item, a map for a key.
//! - `x.name`, `x["name"]`, `x[0]`, `x[-1]`, `x[1:3]`; a part that is not there is an error that names it.
//! - A filter binds tighter than any operator: `a + b | length` is `a + (b | length)`.
//!
//! *Absent* is an error everywhere but in front of `| default(v)`, `is defined` and `is absent`. *Unknown* makes the whole
//! expression unknown. A *secret* can be passed on and joined with `~`, and decides nothing.
//!
//! Everything here is pure and bounded: no clock, no environment, no loops, and a limit on how much one evaluation does.

mod bounds;
mod calls;
mod document;
mod evaluate;
mod filters;
mod functions;
mod is;
mod operators;
mod parse;
mod parts;
mod problem;
mod references;
mod signature;
mod suggest;
mod template;
mod tokens;
mod tree;
mod url;

use std::{fmt, ops::Range, sync::Arc};

pub use self::{
    document::render_document,
    filters::{FILTERS, Filter},
    functions::{FUNCTIONS, Function},
    is::{TESTS, Test},
    problem::Reason,
    references::{Key, Part, Reference},
    signature::{Argument, Example},
    suggest::closest,
    template::Template,
};
use self::{evaluate::Evaluator, tree::Node};
use crate::value::{Fields, Value};

/// An expression, read once and evaluated as often as needed.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    root: Arc<Node>,
    references: Arc<[Reference]>,
    /// Where `text` begins in what the caller knows: not 0 inside a template.
    offset: usize,
}

/// What the names in an expression stand for.
pub trait Names {
    /// Returns the value of `name`; `None` if there is no such name.
    fn get(&self, name: &str) -> Option<Value>;
}

impl Names for Fields {
    fn get(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }
}

/// A text that is no expression, or no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// Where, in bytes of the text.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

/// An expression that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// What was tried on what, and why it can't be.
    pub message: String,
    /// Where, in bytes of the text.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
    /// What sort of error it is.
    pub reason: Reason,
}

/// A part of an expression and what it came to, to explain the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The part as it is written.
    pub text: String,
    /// Its value; [`Value::Absent`] for a part that was never made.
    pub value: Result<Value, EvalError>,
}

impl Expression {
    /// Reads `text`; every filter, test, function and literal in it is checked.
    pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
        Expression::parse_at(text, 0)
    }

    /// Returns the expression that is just `value`: what a YAML value that is no text stands for.
    pub fn constant(value: Value) -> Expression {
        let text = value.display();
        let root = Node {
            range: 0..text.len(),
            operation: tree::Operation::Constant(value),
        };
        Expression {
            text: text.into(),
            root: Arc::new(root),
            references: Arc::new([]),
            offset: 0,
        }
    }

    /// Returns the expression as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the value of an expression that names nothing and always comes to the same.
    pub fn as_constant(&self) -> Option<&Value> {
        match &self.root.operation {
            tree::Operation::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Returns every name in it with the constant path behind it, in the order they are written.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Returns whether it is one name or one path: all that a secret may be.
    pub fn is_reference(&self) -> bool {
        self.root.is_reference()
    }

    /// Returns its value.
    ///
    /// That is [`Value::Unknown`] if anything that it names is or holds an unknown, and never [`Value::Absent`]: what is
    /// absent is an error with [`Reason::Absent`].
    pub fn eval(&self, names: &dyn Names) -> Result<Value, EvalError> {
        let evaluator = Evaluator::new(names);
        let value = evaluator
            .unknown(self.references.iter())
            .map_err(|problem| problem.at(self.root.range.clone()))
            .and_then(|unknown| match unknown {
                Some(after) => Ok(Value::Unknown(after)),
                None => evaluator.value(&self.root),
            });
        value.map_err(|error| self.placed(error))
    }

    /// Returns the parts that decide it with their values: each name, sum, filter and test once, in order.
    ///
    /// For a condition that did not hold. Secrets stay secrets, which no display of a value shows.
    pub fn explain(&self, names: &dyn Names) -> Vec<Explained> {
        let mut nodes = Vec::new();
        self.root.telling_parts(&mut nodes);
        let mut explained: Vec<Explained> = Vec::new();
        for node in nodes {
            let text = &self.text[node.range.clone()];
            if explained.iter().all(|part| part.text != text) {
                explained.push(Explained {
                    text: text.to_owned(),
                    value: self.part_value(node, names),
                });
            }
        }
        explained
    }

    fn part_value(&self, node: &Node, names: &dyn Names) -> Result<Value, EvalError> {
        let mut references = Vec::new();
        references::collect(node, &mut references);
        let evaluator = Evaluator::new(names);
        let value = match evaluator.unknown(references.iter()) {
            Ok(Some(after)) => Ok(Value::Unknown(after)),
            Ok(None) => evaluator.value(node),
            Err(problem) => Err(problem.at(node.range.clone())),
        };
        match value {
            Err(error) if error.reason == Reason::Absent => Ok(Value::Absent(error.message.into())),
            other => other.map_err(|error| self.placed(error)),
        }
    }

    fn parse_at(text: &str, offset: usize) -> Result<Expression, SyntaxError> {
        let root = parse::parse(text).map_err(|error| error.shifted(offset))?;
        let mut references = Vec::new();
        references::collect(&root, &mut references);
        for reference in &mut references {
            reference.shift(offset);
        }
        Ok(Expression {
            text: text.into(),
            root: Arc::new(root),
            references: references.into(),
            offset,
        })
    }

    fn placed(&self, mut error: EvalError) -> EvalError {
        error.range = error.range.start + self.offset..error.range.end + self.offset;
        error
    }
}

impl PartialEq for Expression {
    /// Two expressions are equal when they are written alike.
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text && self.as_constant() == other.as_constant()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SyntaxError {
    fn new(message: impl Into<String>, range: Range<usize>) -> SyntaxError {
        SyntaxError {
            message: message.into(),
            range,
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> SyntaxError {
        self.hint = Some(hint.into());
        self
    }

    fn shifted(mut self, offset: usize) -> SyntaxError {
        self.range = self.range.start + offset..self.range.end + offset;
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names() -> Fields {
        let names = Value::from_stored(&json!({
            "found": {"wal_bytes": {"$bytes": 158_442_947}, "ok": true, "rows": [3, 1]},
            "wal_limit": {"$bytes": 104_857_600}, "name": "kv", "n": 5, "half": 0.5, "no": false, "nothing": null,
            "span": {"$duration": "90s"}, "at": {"$time": "2026-11-20T14:30:00+08:00"},
            "skipped": {"$absent": "step `x` was skipped"}, "later": {"$unknown": "step `y`"},
            "token": {"$secret": [{"handle": "t"}]},
        }));
        match names {
            Value::Map(fields) => (*fields).clone(),
            _ => unreachable!("the JSON is an object"),
        }
    }

    fn explained(text: &str) -> Vec<String> {
        let expression = Expression::parse(text).expect(text);
        expression
            .explain(&names())
            .into_iter()
            .map(|part| match part.value {
                Ok(value) => format!("{} = {}", part.text, value.display()),
                Err(error) => format!("{}: {error}", part.text),
            })
            .collect()
    }

    #[test]
    fn a_failed_condition_is_explained_by_its_parts() {
        assert_eq!(
            explained("found.ok and found.wal_bytes < wal_limit and found.ok"),
            [
                "found.ok = true",
                "found.wal_bytes = 151.1MiB",
                "wal_limit = 100MiB"
            ]
        );
        assert_eq!(
            explained("(found.rows | sum) * 2 > n or \"x\" in name"),
            [
                "found.rows = [3, 1]",
                "found.rows | sum = 4",
                "(found.rows | sum) * 2 = 8",
                "n = 5",
                "name = \"kv\""
            ]
        );
        assert_eq!(
            explained("at - duration(\"26h\") > time(0) and found.rows[n - 5] == 1"),
            [
                "at = 2026-11-20T14:30:00+08:00",
                "at - duration(\"26h\") = 2026-11-19T12:30:00+08:00",
                "n = 5",
                "n - 5 = 0",
                "found.rows[n - 5] = 3",
            ]
        );
        assert_eq!(
            explained("skipped.x | default(1) == 2 and token ~ \"!\" == \"\" and later > nobody"),
            [
                "skipped.x = absent (step `x` was skipped)",
                "skipped.x | default(1) = 1",
                "token = ***",
                "token ~ \"!\" = ***!",
                "later = known after step `y`",
                "nobody: find the name `nobody`",
            ]
        );
        assert_eq!(explained("no"), ["no = false"]);
    }

    #[test]
    fn a_value_that_is_no_text_stands_for_itself() {
        let value = Value::list(vec![Value::Int(10), Value::text("nobody")]);
        let expression = Expression::constant(value.clone());
        assert_eq!(expression.eval(&Fields::new()), Ok(value));
        assert!(
            expression.references().is_empty() && expression.explain(&Fields::new()).is_empty()
        );
    }

    #[test]
    fn only_names_with_paths_are_references() {
        for (text, is) in [
            ("a", true),
            ("a.b[0]", true),
            ("a ~ b", false),
            ("a | first", false),
            ("5", false),
        ] {
            assert_eq!(
                Expression::parse(text).expect(text).is_reference(),
                is,
                "{text}"
            );
        }
    }

    /// Evaluates, explains and renders whatever parses; every place must lie in the text.
    fn exercise(text: &str) {
        match Expression::parse(text) {
            Err(error) => assert!(
                text.get(error.range.clone()).is_some(),
                "{text:?} {error:?}"
            ),
            Ok(expression) => {
                for reference in expression.references() {
                    let parts = reference.parts.iter().map(|part| &part.range);
                    for range in [&reference.range, &reference.name_range]
                        .into_iter()
                        .chain(parts)
                    {
                        assert!(text.get(range.clone()).is_some(), "{text:?} {reference:?}");
                    }
                    assert_eq!(text[reference.name_range.clone()], reference.name);
                }
                match expression.eval(&names()) {
                    Err(error) => assert!(
                        text.get(error.range.clone()).is_some(),
                        "{text:?} {error:?}"
                    ),
                    Ok(Value::Number(number)) => assert!(number.is_finite(), "{text:?}"),
                    Ok(value) => assert!(!matches!(value, Value::Absent(_)), "{text:?}"),
                }
                let again = expression.eval(&names());
                assert_eq!(again, expression.eval(&names()), "{text:?}");
                drop(expression.explain(&names()));
            }
        }
        for text in [text.to_owned(), format!("ä {{{{ {text} }}}} {{{{ {text}")] {
            match Template::parse(&text) {
                Err(error) => assert!(
                    text.get(error.range.clone()).is_some(),
                    "{text:?} {error:?}"
                ),
                Ok(template) => {
                    if let Err(error) = template.render(&names()) {
                        assert!(
                            text.get(error.range.clone()).is_some(),
                            "{text:?} {error:?}"
                        );
                    }
                }
            }
        }
    }

    /// Texts made of the words of the language, most of which parse.
    fn expression_text() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "found.wal_bytes",
            "found",
            "wal_limit",
            "name",
            "n",
            "half",
            "no",
            "nothing",
            "span",
            "at",
            "skipped.x",
            "later",
            "token",
            "found.rows",
            "found.rows[0]",
            "nobody",
            "1",
            "0",
            "-3",
            "2.5",
            "9223372036854775807",
            "1e308",
            "\"a b\"",
            "'12'",
            "true",
            "null",
            "[]",
            "{}",
            "duration(\"26h\")",
            "bytes(\"1KiB\")",
            "time(0)",
            "[1, 2]",
            "{\"a\": [n]}",
        ])
        .prop_map(str::to_owned);
        words.prop_recursive(5, 40, 3, |inner| {
            let operator = prop::sample::select(vec![
                "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "~", "in", "not in", "and", "or",
            ]);
            let filter = prop::sample::select(FILTERS.iter().map(|filter| filter.name).collect::<Vec<_>>());
            let test = prop::sample::select(TESTS.iter().map(|test| test.name).collect::<Vec<_>>());
            prop_oneof![
                4 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
                2 => (inner.clone(), filter.clone()).prop_map(|(a, f)| format!("{a} | {f}")),
                1 => (inner.clone(), filter, inner.clone()).prop_map(|(a, f, b)| format!("({a} | {f}({b}))")),
                1 => (inner.clone(), test.clone()).prop_map(|(a, t)| format!("({a} is {t})")),
                1 => (inner.clone(), test, inner.clone()).prop_map(|(a, t, b)| format!("[{a}, {b}] | select({t:?}, {b})")),
                1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} if {b} else {c})")),
                1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
                1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a})[{b}:{c}]")),
                1 => inner.clone().prop_map(|a| format!("not ({a})")),
                1 => inner.prop_map(|a| format!("-({a})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            exercise(&text);
        }

        #[test]
        fn text_of_odd_characters_never_panics(text in "[a-z0-9 \\.\"'\\\\(){}\\[\\]|=!<>+*/%~,:äx&$#-]{0,40}") {
            exercise(&text);
        }

        #[test]
        fn expressions_never_panic(text in expression_text()) {
            exercise(&text);
        }
    }
}
