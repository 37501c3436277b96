//! The filters: the table that the parser, the evaluation and the reference read.

mod lists;
mod numbers;
mod texts;

use super::{
    bounds::Fuel,
    problem::{Problem, shown},
    signature::{Argument, Example, Signature, example, named, optional, required},
};
use crate::value::{Fields, Value};

/// A filter of the language.
#[derive(Debug)]
pub struct Filter {
    /// Its name.
    pub name: &'static str,
    /// What it is called with.
    pub arguments: &'static [Argument],
    /// What it returns.
    pub doc: &'static str,
    /// A use of it.
    pub example: Example,
    pub(super) how: How,
}

/// How a filter is applied.
#[derive(Debug)]
pub(super) enum How {
    /// The evaluation does it: it sees what is missing.
    Default,
    /// To each item a field or another filter.
    Map,
    /// Keeps or drops the items, or the items by one field, for which a test holds.
    Choose {
        keep: bool,
        by_field: bool,
    },
    Plain(fn(&Given<'_>) -> Result<Value, Problem>),
}

/// What a filter is applied to.
pub(super) struct Given<'a> {
    pub(super) filter: &'static Filter,
    pub(super) value: &'a Value,
    pub(super) arguments: &'a [Option<Value>],
    pub(super) fuel: &'a Fuel,
}

const fn plain(
    name: &'static str,
    arguments: &'static [Argument],
    doc: &'static str,
    example: Example,
    apply: fn(&Given<'_>) -> Result<Value, Problem>,
) -> Filter {
    Filter {
        name,
        arguments,
        doc,
        example,
        how: How::Plain(apply),
    }
}

const fn choose(
    name: &'static str,
    doc: &'static str,
    example: Example,
    keep: bool,
    by_field: bool,
) -> Filter {
    const TEST: &[Argument] = &[required("test")];
    const FIELD: &[Argument] = &[required("attribute"), optional("test")];
    Filter {
        name,
        arguments: if by_field { FIELD } else { TEST },
        doc,
        example,
        how: How::Choose { keep, by_field },
    }
}

/// Every filter of the language.
pub static FILTERS: &[Filter] = &[
    Filter {
        name: "default",
        arguments: &[required("value")],
        doc: "The value itself, or another where any part of it is missing or absent. Null is a value and stays",
        example: example(r#"{"a": 1}.b.c | default(5)"#, "5"),
        how: How::Default,
    },
    plain(
        "length",
        &[],
        "How many items a list, keys a map, characters a text has",
        example(r#""wörter" | length"#, "6"),
        lists::length,
    ),
    plain(
        "first",
        &[],
        "The first item; missing in an empty list",
        example("[] | first | default(0)", "0"),
        lists::first,
    ),
    plain(
        "last",
        &[],
        "The last item; missing in an empty list",
        example("[1, 2, 3] | last", "3"),
        lists::last,
    ),
    Filter {
        name: "map",
        arguments: &[named("attribute"), named("default")],
        doc: "Each item's field (or path of fields), with `default=` where it is missing; or, with a filter's name and arguments, each item filtered",
        example: example(
            r#"[{"n": {"m": 1}}, {}] | map(attribute="n.m", default=0) | map("text")"#,
            r#"["1", "0"]"#,
        ),
        how: How::Map,
    },
    choose(
        "select",
        "The items for which a test holds; the test's arguments follow its name",
        example(
            r#"["kv.db", "x"] | select("endingwith", ".db")"#,
            r#"["kv.db"]"#,
        ),
        true,
        false,
    ),
    choose(
        "reject",
        "The items for which a test does not hold",
        example("[1, null] | reject(\"null\")", "[1]"),
        false,
        false,
    ),
    choose(
        "selectattr",
        "The items for whose field (or path of fields) a test holds; without a test, whose field is true",
        example(
            r#"[{"n": 1}, {"n": 3}] | selectattr("n", ">", 1)"#,
            "[{n: 3}]",
        ),
        true,
        true,
    ),
    choose(
        "rejectattr",
        "The items for whose field a test does not hold; without a test, whose field is false",
        example(
            r#"[{"ok": true}, {"ok": false}] | rejectattr("ok")"#,
            "[{ok: false}]",
        ),
        false,
        true,
    ),
    plain(
        "sort",
        &[named("attribute"), named("reverse")],
        "The items in order, by themselves or by a field: numbers, sizes, durations, times, or texts by their characters",
        example(
            r#"[{"n": 2}, {"n": 1}] | sort(attribute="n") | first"#,
            "{n: 1}",
        ),
        lists::sort,
    ),
    plain(
        "reverse",
        &[],
        "The items from the last to the first",
        example("[1, 2] | reverse", "[2, 1]"),
        lists::reverse,
    ),
    plain(
        "unique",
        &[],
        "Each item once, where it first came",
        example("[2, 1, 2] | unique", "[2, 1]"),
        lists::unique,
    ),
    plain(
        "flatten",
        &[],
        "The items of all the lists in a list",
        example("[[1], [], [2, 3]] | flatten", "[1, 2, 3]"),
        lists::flatten,
    ),
    plain(
        "min",
        &[],
        "The least of numbers, sizes, durations or times; missing in an empty list",
        example("[2, 1] | min", "1"),
        lists::min,
    ),
    plain(
        "max",
        &[],
        "The greatest of numbers, sizes, durations or times; missing in an empty list",
        example("[2, 1] | max", "2"),
        lists::max,
    ),
    plain(
        "sum",
        &[named("attribute"), named("start")],
        "The sum of numbers, sizes or durations, or of a field; of an empty list `start=`, else 0",
        example(
            r#"[{"size": bytes("1KiB")}] | sum(attribute="size", start=bytes("0B"))"#,
            "1KiB",
        ),
        lists::sum,
    ),
    plain(
        "join",
        &[optional("separator")],
        "The items' texts, with the separator between them",
        example(r#"["a", 1] | join(", ")"#, r#""a, 1""#),
        lists::join,
    ),
    plain(
        "keys",
        &[],
        "The keys of a map, in order",
        example(r#"{"b": 1, "a": 2} | keys"#, r#"["a", "b"]"#),
        lists::keys,
    ),
    plain(
        "values",
        &[],
        "The values of a map, in the order of its keys",
        example(r#"{"b": 1, "a": 2} | values"#, "[2, 1]"),
        lists::values,
    ),
    plain(
        "items",
        &[],
        "A map with `key` and `value` for each key of a map, in order",
        example(r#"{"a": 2} | items"#, r#"[{key: "a", value: 2}]"#),
        lists::items,
    ),
    plain(
        "round",
        &[optional("digits")],
        "The nearest integer; or the nearest number with as many digits behind the point",
        example("2.345 | round(2)", "2.35"),
        numbers::round,
    ),
    plain(
        "abs",
        &[],
        "A number or duration without its sign",
        example(r#"duration("-5m") | abs"#, "5m"),
        numbers::abs,
    ),
    plain(
        "int",
        &[],
        "The integer that a text says or that a number is; anything else in the text is an error",
        example(r#""12" | int"#, "12"),
        numbers::int,
    ),
    plain(
        "number",
        &[],
        "The number that a text says, or an integer as a number",
        example(r#""1.5" | number"#, "1.5"),
        numbers::number,
    ),
    plain(
        "seconds",
        &[],
        "A duration as a number of seconds",
        example(r#"duration("1m 500ms") | seconds"#, "60.5"),
        numbers::seconds,
    ),
    plain(
        "count",
        &[],
        "A size as a number of bytes, a time as milliseconds since 1970",
        example(r#"bytes("1KiB") | count"#, "1024"),
        numbers::count,
    ),
    plain(
        "text",
        &[],
        "What a template inserts for a value",
        example(r#"(bytes("1KiB") | text) == "1KiB""#, "true"),
        texts::text,
    ),
    plain(
        "lower",
        &[],
        "The text in small letters",
        example(r#""KV" | lower"#, r#""kv""#),
        texts::lower,
    ),
    plain(
        "upper",
        &[],
        "The text in capitals",
        example(r#""kv" | upper"#, r#""KV""#),
        texts::upper,
    ),
    plain(
        "trim",
        &[],
        "The text without the white space at its ends",
        example(r#"" 12\n" | trim | int"#, "12"),
        texts::trim,
    ),
    plain(
        "split",
        &[optional("separator")],
        "The parts of a text between separators; without one, its words",
        example(r#""a,b" | split(",")"#, r#"["a", "b"]"#),
        texts::split,
    ),
    plain(
        "replace",
        &[required("from"), required("to")],
        "The text with every occurrence of one text replaced by another",
        example(r#""a-b" | replace("-", "_")"#, r#""a_b""#),
        texts::replace,
    ),
    plain(
        "json",
        &[],
        "The value as JSON: sizes in bytes, durations in seconds, times as text",
        example(r#"{"a": [1, null]} | json"#, r#""{\"a\":[1,null]}""#),
        texts::json,
    ),
    plain(
        "basename",
        &[],
        "The last part of a path",
        example(r#""/var/lib/kv.db" | basename"#, r#""kv.db""#),
        texts::basename,
    ),
    plain(
        "dirname",
        &[],
        "A path without its last part",
        example(r#""/var/lib/kv.db" | dirname"#, r#""/var/lib""#),
        texts::dirname,
    ),
    plain(
        "ident",
        &[],
        "A name quoted for SQL",
        example(r#""odd\"name" | ident | length"#, "11"),
        texts::ident,
    ),
];

impl Filter {
    /// Returns how it is written: its name with its arguments.
    pub fn signature(&self) -> String {
        format!("{}{}", self.name, Signature(self.arguments))
    }
}

impl<'a> Given<'a> {
    pub(super) fn text(&self) -> Result<&'a str, Problem> {
        match self.value {
            Value::Text(text) => Ok(text),
            other => Err(self.refuse(other, "a text")),
        }
    }

    pub(super) fn list(&self) -> Result<&'a [Value], Problem> {
        match self.value {
            Value::List(items) => Ok(items),
            other => Err(self.refuse(other, "a list")),
        }
    }

    fn map(&self) -> Result<&'a Fields, Problem> {
        match self.value {
            Value::Map(fields) => Ok(fields),
            other => Err(self.refuse(other, "a map")),
        }
    }

    pub(super) fn argument(&self, place: usize) -> Option<&'a Value> {
        self.arguments.get(place).and_then(Option::as_ref)
    }

    pub(super) fn text_argument(&self, place: usize) -> Result<Option<&'a str>, Problem> {
        match self.argument(place) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.refuse_argument(place, other, "a text")),
        }
    }

    fn integer_argument(&self, place: usize) -> Result<Option<i64>, Problem> {
        match self.argument(place) {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(*number)),
            Some(other) => Err(self.refuse_argument(place, other, "an integer")),
        }
    }

    fn flag_argument(&self, place: usize) -> Result<bool, Problem> {
        match self.argument(place) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.refuse_argument(place, other, "true or false")),
        }
    }

    /// Says that the filter takes something else than `value`, the thing itself or one of its items.
    pub(super) fn refuse(&self, value: &Value, takes: &str) -> Problem {
        match value {
            Value::Secret(_) => Problem::secret(&format!("`{}`", self.filter.name)),
            Value::Absent(why) => Problem::absent(why),
            other => Problem::wrong(format!(
                "apply `{}` to {}: it takes {takes}",
                self.filter.name,
                shown(other)
            )),
        }
    }

    fn refuse_argument(&self, place: usize, value: &Value, takes: &str) -> Problem {
        let name = self
            .filter
            .arguments
            .get(place)
            .map_or("argument", |argument| argument.name);
        Problem::wrong(format!(
            "apply `{}` with {} as `{name}`: that must be {takes}",
            self.filter.name,
            shown(value)
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        expression::{Expression, FILTERS, FUNCTIONS, TESTS},
        value::Fields,
    };

    #[test]
    fn every_example_comes_to_what_it_says() {
        let filters = FILTERS.iter().map(|filter| (filter.name, filter.example));
        let tests = TESTS.iter().map(|test| (test.name, test.example));
        let functions = FUNCTIONS
            .iter()
            .map(|function| (function.name, function.example));
        for (name, example) in filters.chain(tests).chain(functions) {
            assert!(
                example.expression.contains(name),
                "the example of `{name}` does not use it"
            );
            let expression = Expression::parse(example.expression)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let value = expression
                .eval(&Fields::new())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(value.display(), example.result, "{name}");
        }
    }

    #[test]
    fn names_are_there_once_and_docs_end_without_a_period() {
        let filters = FILTERS.iter().map(|filter| (filter.name, filter.doc));
        let tests = TESTS.iter().map(|test| (test.name, test.doc));
        for (mut names, kind) in [
            (filters.collect::<Vec<_>>(), "filter"),
            (tests.collect(), "test"),
        ] {
            assert!(names.iter().all(|(_, doc)| !doc.ends_with('.')), "{kind}");
            names.sort_unstable();
            assert!(
                names.windows(2).all(|pair| pair[0].0 != pair[1].0),
                "{kind}"
            );
        }
    }
}
