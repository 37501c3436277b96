//! Filters, tests and functions by name, and their arguments put in their places.

use std::ops::Range;

use super::{
    SyntaxError,
    filters::{FILTERS, Filter, How as FilterHow},
    functions::{FUNCTIONS, Function},
    is::{self, How as TestHow, TESTS, Test},
    signature::fill,
    suggest::closest,
    tree::{FilterCall, Inner, Node, Operation, TestCall},
};
use crate::value::Value;

/// Arguments by their order, with the place of each.
pub(super) type Positional = Vec<(Node, Range<usize>)>;
/// Arguments by their names, with the place of each.
pub(super) type ByName = Vec<(String, Node, Range<usize>)>;

pub(super) fn find_filter(
    name: &str,
    range: &Range<usize>,
) -> Result<&'static Filter, SyntaxError> {
    FILTERS
        .iter()
        .find(|filter| filter.name == name)
        .ok_or_else(|| {
            let known = FILTERS.iter().map(|filter| filter.name);
            unknown(
                "filter",
                name,
                range,
                other_filter(name).or(closest(name, known.clone())),
                known,
            )
        })
}

pub(super) fn find_test(name: &str, range: &Range<usize>) -> Result<&'static Test, SyntaxError> {
    TESTS.iter().find(|test| test.name == name).ok_or_else(|| {
        let known = TESTS.iter().map(|test| test.name);
        unknown(
            "test",
            name,
            range,
            other_test(name).or(closest(name, known.clone())),
            known,
        )
    })
}

fn unknown(
    what: &str,
    name: &str,
    range: &Range<usize>,
    meant: Option<&str>,
    known: impl Iterator<Item = &'static str>,
) -> SyntaxError {
    let error = SyntaxError::new(format!("there is no {what} `{name}`"), range.clone());
    match meant {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => {
            let known: Vec<&str> = known.collect();
            error.hint(format!("the {what}s are {}", known.join(", ")))
        }
    }
}

/// What Jinja calls our filters besides.
fn other_filter(name: &str) -> Option<&'static str> {
    Some(match name {
        "count" | "len" | "size" => "length",
        "d" => "default",
        "tojson" | "to_json" => "json",
        "float" => "number",
        "string" | "str" => "text",
        "dictsort" => "items",
        _ => return None,
    })
}

/// What Jinja calls our tests besides.
fn other_test(name: &str) -> Option<&'static str> {
    Some(match name {
        "undefined" => "absent",
        "none" => "null",
        "string" => "text",
        "mapping" => "map",
        "sequence" | "iterable" => "list",
        "float" => "number",
        "match" | "search" | "regex" => "matching",
        "eq" | "equalto" | "sameas" => "==",
        "ne" => "!=",
        "lt" | "lessthan" => "<",
        "le" => "<=",
        "gt" | "greaterthan" => ">",
        "ge" => ">=",
        _ => return None,
    })
}

pub(super) fn find_function(
    name: &str,
    range: Range<usize>,
) -> Result<&'static Function, SyntaxError> {
    FUNCTIONS
        .iter()
        .find(|function| function.name == name)
        .ok_or_else(|| {
            SyntaxError::new(format!("there is no function `{name}`"), range)
                .hint(other_function(name))
        })
}

fn other_function(name: &str) -> String {
    if FILTERS.iter().any(|filter| filter.name == name) {
        return format!("`{name}` is a filter: write `x | {name}`");
    }
    match closest(name, FUNCTIONS.iter().map(|function| function.name)) {
        Some(function) => format!("did you mean `{function}`?"),
        None => {
            let functions: Vec<String> = FUNCTIONS
                .iter()
                .map(|function| format!("`{}`", function.name))
                .collect();
            format!("the functions are {}", functions.join(", "))
        }
    }
}

/// Puts a filter's arguments in their places; the first ones may name a filter or test to apply to each item.
pub(super) fn filter_call(
    filter: &'static Filter,
    mut positional: Positional,
    by_name: ByName,
    range: &Range<usize>,
) -> Result<FilterCall, SyntaxError> {
    let own = match filter.how {
        FilterHow::Map if by_name.is_empty() => 0,
        FilterHow::Choose { by_field: true, .. } => 1,
        FilterHow::Choose {
            by_field: false, ..
        } => 0,
        _ => positional.len(),
    };
    let mut rest = positional.split_off(own.min(positional.len()));
    let inner = if rest.is_empty() {
        Inner::Nothing
    } else {
        let (name, at) = rest.remove(0);
        let name = match name.operation {
            Operation::Constant(Value::Text(name)) => name,
            _ => {
                let what = format!(
                    "`{}` is told by a name in quotes what to apply",
                    filter.name
                );
                return Err(SyntaxError::new(what, at));
            }
        };
        inner_call(filter, &name, rest, &at)?
    };
    // The table lists the test too; it has gone into `inner`.
    let own_arguments = match filter.how {
        FilterHow::Choose { .. } => &filter.arguments[..own],
        _ => filter.arguments,
    };
    if matches!(
        filter.how,
        FilterHow::Choose {
            by_field: false,
            ..
        } | FilterHow::Map
    ) && matches!(inner, Inner::Nothing)
        && by_name.iter().all(|(name, ..)| name != "attribute")
    {
        let what = format!("`{}` is not told what to apply", filter.name);
        return Err(SyntaxError::new(what, range.clone())
            .hint(format!("e.g. `{}`", filter.example.expression)));
    }
    let arguments = fill(filter.name, own_arguments, positional, by_name, range)?;
    Ok(FilterCall {
        filter,
        arguments,
        inner,
    })
}

fn inner_call(
    filter: &Filter,
    name: &str,
    arguments: Positional,
    at: &Range<usize>,
) -> Result<Inner, SyntaxError> {
    if matches!(filter.how, FilterHow::Choose { .. }) {
        let test = find_test(name, at)?;
        let call = test_call(test, arguments, Vec::new(), at)?;
        return Ok(Inner::Test(Box::new(call)));
    }
    let inner = find_filter(name, at)?;
    if matches!(inner.how, FilterHow::Default) {
        return Err(
            SyntaxError::new("`default` has no place in `map`", at.clone())
                .hint("`map(attribute=\"x\", default=0)` stands in for what is missing"),
        );
    }
    let call = filter_call(inner, arguments, Vec::new(), at)?;
    Ok(Inner::Filter(Box::new(call)))
}

pub(super) fn test_call(
    test: &'static Test,
    positional: Positional,
    by_name: ByName,
    range: &Range<usize>,
) -> Result<TestCall, SyntaxError> {
    let arguments = fill(test.name, test.arguments, positional, by_name, range)?;
    let pattern = match (&test.how, arguments.first()) {
        (TestHow::Matching, Some(Some(argument))) => match &argument.operation {
            Operation::Constant(Value::Text(pattern)) => Some((pattern, &argument.range)),
            _ => None,
        },
        _ => None,
    };
    let regex = match pattern {
        Some((pattern, at)) => Some(is::regex(pattern).map_err(|problem| {
            let error = problem.at(at.clone());
            SyntaxError {
                message: error.message,
                range: error.range,
                hint: error.hint,
            }
        })?),
        None => None,
    };
    Ok(TestCall {
        test,
        arguments,
        regex,
    })
}
