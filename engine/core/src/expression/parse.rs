//! From text to tree: MiniJinja's parser, and the tree it makes turned into ours or refused.

use std::ops::Range;

use minijinja::machinery::{
    ast::{self, BinOpKind, CallArg, Expr, UnaryOpKind},
    parse_expr,
};

use super::{
    SyntaxError,
    calls::{ByName, Positional, filter_call, find_filter, find_function, find_test, test_call},
    filters::{FILTERS, How as FilterHow},
    functions,
    is::How as TestHow,
    operators::Operator,
    signature::fill,
    tokens,
    tree::{If, Node, Operation, Slice},
};
use crate::value::Value;

/// How deep operations may be nested.
const MOST_DEPTH: usize = 100;

/// Returns the tree of `text`.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    tokens::check(text)?;
    let tree = parse_expr(text).map_err(|error| refused(text, &error))?;
    Converter { text, depth: 0 }.node(&tree)
}

/// Turns an error of the parser into one of ours.
fn refused(text: &str, error: &minijinja::Error) -> SyntaxError {
    let range = tokens::clamped(error.range().unwrap_or(0..text.len()), text);
    let found = &text[range.clone()];
    let detail = error.detail().unwrap_or("the expression can't be read");
    let message = match detail {
        "unexpected input after expression" => {
            format!("unexpected `{found}` after the end of the expression")
        }
        "template exceeds maximum recursion limits" => "the expression is nested too deeply".into(),
        "unexpected end of input, expected expression" => {
            "the expression ends where a value should follow".into()
        }
        other => other
            .replace("unexpected identifier", &format!("unexpected `{found}`"))
            .replace("expected expression", "expected a value"),
    };
    let error = SyntaxError::new(message, range);
    // The parser takes the `if` for the argument of the test.
    if text.contains(" is ") && text.contains(" if ") {
        return error.hint("put a test in front of `if` in parentheses: `(x is absent) if …`");
    }
    error
}

struct Converter<'t> {
    text: &'t str,
    depth: usize,
}

impl Converter<'_> {
    fn node(&mut self, tree: &Expr<'_>) -> Result<Node, SyntaxError> {
        if self.depth == MOST_DEPTH {
            let range = tokens::range(tree.span(), self.text);
            return Err(
                SyntaxError::new("the expression is nested too deeply", range)
                    .hint("put parts of it under a name in `vars`"),
            );
        }
        self.depth += 1;
        let node = self.converted(tree);
        self.depth -= 1;
        node
    }

    fn converted(&mut self, tree: &Expr<'_>) -> Result<Node, SyntaxError> {
        let range = tokens::range(tree.span(), self.text);
        match tree {
            Expr::Var(name) => name_or_null(name.id, range),
            Expr::Const(constant) => constant_value(&constant.value, range),
            Expr::GetAttr(get) => {
                let of = self.boxed(&get.expr)?;
                let range = self.spanning(&of, range.end);
                Ok(node(range, Operation::Field(of, get.name.into())))
            }
            Expr::GetItem(get) => {
                let of = self.boxed(&get.expr)?;
                let key = self.boxed(&get.subscript_expr)?;
                let range = self.spanning(&of, range.end);
                Ok(node(range, Operation::Index(of, key)))
            }
            Expr::Slice(slice) => self.slice(slice, range),
            Expr::List(list) => {
                let items: Result<Vec<Node>, _> =
                    list.items.iter().map(|item| self.node(item)).collect();
                Ok(node(range, Operation::List(items?)))
            }
            Expr::Map(map) => self.map(map, range),
            Expr::UnaryOp(unary) => self.unary(unary, range),
            Expr::BinOp(binary) => self.binary(binary, range),
            Expr::IfExpr(choice) => self.choice(choice, range),
            Expr::Filter(filter) => self.filter(filter, range),
            Expr::Test(test) => self.test(test, range),
            Expr::Call(call) => self.call(call, range),
            Expr::Compare(chain) => {
                let first = self.node(&chain.expr)?;
                let range = self.spanning(&first, range.end);
                Err(SyntaxError::new("comparisons are not chained", range)
                    .hint("write `1 < x and x < 5`"))
            }
            Expr::Tuple(_) => Err(
                SyntaxError::new("there are no tuples in this language", range)
                    .hint("a list is written with `[ ]`"),
            ),
        }
    }

    fn boxed(&mut self, tree: &Expr<'_>) -> Result<Box<Node>, SyntaxError> {
        self.node(tree).map(Box::new)
    }

    fn slice(&mut self, slice: &ast::Slice<'_>, range: Range<usize>) -> Result<Node, SyntaxError> {
        let of = self.node(&slice.expr)?;
        let range = self.spanning(&of, range.end);
        let mut part = |tree: &Option<Expr<'_>>| tree.as_ref().map(|t| self.node(t)).transpose();
        let (start, stop, step) = (part(&slice.start)?, part(&slice.stop)?, part(&slice.step)?);
        let slice = Slice {
            of,
            start,
            stop,
            step,
        };
        Ok(node(range, Operation::Slice(Box::new(slice))))
    }

    fn map(&mut self, map: &ast::Map<'_>, range: Range<usize>) -> Result<Node, SyntaxError> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        for (key, value) in map.keys.iter().zip(&map.values) {
            let key = self.node(key)?;
            match &key.operation {
                Operation::Constant(Value::Text(text)) => {
                    let twice = entries.iter().any(|(other, _)| {
                        matches!(&other.operation, Operation::Constant(Value::Text(t)) if t == text)
                    });
                    if twice {
                        let message = format!("the key {text:?} is there twice");
                        return Err(SyntaxError::new(message, key.range));
                    }
                }
                Operation::Constant(_) => {
                    return Err(
                        SyntaxError::new("a key is a text", key.range).hint("put it in quotes")
                    );
                }
                _ => {}
            }
            entries.push((key, self.node(value)?));
        }
        Ok(node(range, Operation::Map(entries)))
    }

    fn unary(
        &mut self,
        unary: &ast::UnaryOp<'_>,
        range: Range<usize>,
    ) -> Result<Node, SyntaxError> {
        if let (UnaryOpKind::Neg, Expr::Const(constant)) = (&unary.op, &unary.expr)
            && let Ok(number) = i128::try_from(constant.value.clone())
            && constant.value.is_integer()
        {
            return integer(-number, range);
        }
        let of = self.boxed(&unary.expr)?;
        Ok(match unary.op {
            UnaryOpKind::Neg => match of.operation {
                Operation::Constant(Value::Number(number)) => {
                    node(range, Operation::Constant(Value::Number(-number)))
                }
                _ => node(range, Operation::Negate(of)),
            },
            // `x not in y` and `x is not y` begin with `x`, not with the `not`.
            UnaryOpKind::Not => match &unary.expr {
                Expr::BinOp(inner) if self.says_not_in(&inner.left, &inner.right) => {
                    node(of.range.clone(), Operation::Not(of))
                }
                Expr::Test(_) if range.start > of.range.start => {
                    node(of.range.clone(), Operation::Not(of))
                }
                _ => node(range, Operation::Not(of)),
            },
        })
    }

    fn says_not_in(&self, left: &Expr<'_>, right: &Expr<'_>) -> bool {
        let end = tokens::range(left.span(), self.text).end;
        let start = tokens::range(right.span(), self.text).start;
        self.text
            .get(end..start)
            .is_some_and(|between| between.trim_start_matches([')', ' ']).starts_with("not"))
    }

    fn binary(
        &mut self,
        binary: &ast::BinOp<'_>,
        range: Range<usize>,
    ) -> Result<Node, SyntaxError> {
        let left = self.node(&binary.left)?;
        let right = self.node(&binary.right)?;
        let range = self.spanning(&left, range.end);
        let both = Box::new((left, right));
        let operator = match binary.op {
            BinOpKind::ScAnd => return Ok(node(range, Operation::And(both))),
            BinOpKind::ScOr => return Ok(node(range, Operation::Or(both))),
            BinOpKind::Eq => Operator::Equal,
            BinOpKind::Ne => Operator::Different,
            BinOpKind::Lt => Operator::Less,
            BinOpKind::Lte => Operator::AtMost,
            BinOpKind::Gt => Operator::More,
            BinOpKind::Gte => Operator::AtLeast,
            BinOpKind::Add => Operator::Add,
            BinOpKind::Sub => Operator::Subtract,
            BinOpKind::Mul => Operator::Multiply,
            BinOpKind::Div => Operator::Divide,
            BinOpKind::FloorDiv => Operator::DivideWhole,
            BinOpKind::Rem => Operator::Remainder,
            BinOpKind::Concat => Operator::Join,
            BinOpKind::In => Operator::In,
            BinOpKind::Pow => return Err(SyntaxError::new("`**` is not in this language", range)),
        };
        Ok(node(range, Operation::Binary(operator, both)))
    }

    fn choice(
        &mut self,
        choice: &ast::IfExpr<'_>,
        range: Range<usize>,
    ) -> Result<Node, SyntaxError> {
        let then = self.node(&choice.true_expr)?;
        let range = self.spanning(&then, range.end);
        let Some(otherwise) = &choice.false_expr else {
            return Err(SyntaxError::new("an `if` without `else`", range)
                .hint("write `a if condition else b`"));
        };
        let condition = self.node(&choice.test_expr)?;
        let otherwise = self.node(otherwise)?;
        let choice = If {
            condition,
            then,
            otherwise,
        };
        Ok(node(range, Operation::If(Box::new(choice))))
    }

    fn filter(
        &mut self,
        filter: &ast::Filter<'_>,
        range: Range<usize>,
    ) -> Result<Node, SyntaxError> {
        let name_range = range.start..range.start + filter.name.len();
        let of = match &filter.expr {
            Some(tree) => self.boxed(tree)?,
            None => return Err(SyntaxError::new("a filter without a value", range)),
        };
        let call_range = self.spanning(&of, range.end);
        let (positional, by_name) = self.arguments(&filter.args)?;
        let known = find_filter(filter.name, &name_range)?;
        if matches!(known.how, FilterHow::Default) {
            let mut filled = fill(known.name, known.arguments, positional, by_name, &range)?;
            let otherwise = filled
                .pop()
                .flatten()
                .expect("`fill` saw the required argument");
            return Ok(node(
                call_range,
                Operation::Default(Box::new((*of, otherwise))),
            ));
        }
        let call = filter_call(known, positional, by_name, &range)?;
        Ok(node(call_range, Operation::Filter(of, Box::new(call))))
    }

    fn test(&mut self, test: &ast::Test<'_>, range: Range<usize>) -> Result<Node, SyntaxError> {
        let name_range = range.start..range.start + test.name.len();
        let of = self.boxed(&test.expr)?;
        let call_range = self.spanning(&of, range.end);
        let known = find_test(test.name, &name_range)?;
        if !known.inline {
            return Err(SyntaxError::new(
                format!("`is {}` is not in this language", known.name),
                name_range,
            )
            .hint(format!("write `x {} y`", known.name)));
        }
        let after = self.text[name_range.end..].trim_start();
        if !test.args.is_empty() && !after.starts_with('(') {
            return Err(
                SyntaxError::new("the argument of a test stands in parentheses", range)
                    .hint(format!("write `is {}(…)`", known.name)),
            );
        }
        let (positional, by_name) = self.arguments(&test.args)?;
        let call = test_call(known, positional, by_name, &range)?;
        Ok(match known.how {
            TestHow::Present(wanted) => node(call_range, Operation::Present(of, wanted)),
            _ => node(call_range, Operation::Test(of, Box::new(call))),
        })
    }

    fn call(&mut self, call: &ast::Call<'_>, range: Range<usize>) -> Result<Node, SyntaxError> {
        let called = tokens::range(call.expr.span(), self.text);
        let Expr::Var(name) = &call.expr else {
            let hint = match &call.expr {
                Expr::GetAttr(get) if FILTERS.iter().any(|filter| filter.name == get.name) => {
                    format!("write `x | {}`", get.name)
                }
                _ => "values have no methods; filters are applied with `|`".to_owned(),
            };
            let called = self.node(&call.expr)?;
            let range = self.spanning(&called, range.end);
            return Err(SyntaxError::new("only functions are called", range).hint(hint));
        };
        let function = find_function(name.id, called)?;
        let (positional, by_name) = self.arguments(&call.args)?;
        let mut filled = fill(
            function.name,
            function.arguments,
            positional,
            by_name,
            &range,
        )?;
        let argument = filled
            .pop()
            .flatten()
            .expect("`fill` saw the required argument");
        if let Operation::Constant(value) = &argument.operation {
            let made = functions::call(function, value)
                .map_err(|problem| problem.at(argument.range.clone()))
                .map_err(|error| SyntaxError {
                    message: error.message,
                    range: error.range,
                    hint: error.hint,
                })?;
            return Ok(node(range, Operation::Constant(made)));
        }
        Ok(node(range, Operation::Call(function, Box::new(argument))))
    }

    fn arguments(
        &mut self,
        arguments: &[CallArg<'_>],
    ) -> Result<(Positional, ByName), SyntaxError> {
        let (mut positional, mut by_name) = (Vec::new(), Vec::new());
        for argument in arguments {
            match argument {
                CallArg::Pos(tree) => {
                    let value = self.node(tree)?;
                    let range = value.range.clone();
                    positional.push((value, range));
                }
                CallArg::Kwarg(name, tree) => {
                    let value = self.node(tree)?;
                    let start = self.text[..value.range.start].rfind(name);
                    let range = start.unwrap_or(value.range.start)..value.range.end;
                    by_name.push(((*name).to_owned(), value, range));
                }
                CallArg::PosSplat(tree) | CallArg::KwargSplat(tree) => {
                    let range = tokens::range(tree.span(), self.text);
                    return Err(SyntaxError::new("`*` in front of an argument", range)
                        .hint("arguments are written one by one"));
                }
            }
        }
        Ok((positional, by_name))
    }

    /// Returns where an operation is written that begins with `first`: the parser's own starts are those of the token
    /// before, and leave out opening parentheses.
    fn spanning(&self, first: &Node, end: usize) -> Range<usize> {
        let mut start = first.range.start;
        let mut open = unopened(&self.text[start..end.max(start)]);
        while open > 0 {
            match self.text[..start].rfind('(') {
                Some(at) => start = at,
                None => break,
            }
            open -= 1;
        }
        start..end.max(start)
    }
}

/// Counts the `)` in `text` that it does not open, outside of quotes.
fn unopened(text: &str) -> usize {
    let (mut open, mut unopened) = (0_usize, 0);
    let mut quote = None;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(end), _) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => open += 1,
            (None, b')') if open > 0 => open -= 1,
            (None, b')') => unopened += 1,
            _ => {}
        }
    }
    unopened
}

fn node(range: Range<usize>, operation: Operation) -> Node {
    Node { range, operation }
}

fn name_or_null(name: &str, range: Range<usize>) -> Result<Node, SyntaxError> {
    if name == "null" {
        return Ok(node(range, Operation::Constant(Value::Null)));
    }
    if tokens::is_keyword(name) {
        let message = format!("expected a value, found `{name}`");
        return Err(SyntaxError::new(message, range));
    }
    Ok(node(range, Operation::Name(name.into())))
}

fn constant_value(value: &minijinja::Value, range: Range<usize>) -> Result<Node, SyntaxError> {
    if let Some(text) = value.as_str() {
        return Ok(node(range, Operation::Constant(Value::text(text))));
    }
    if value.kind() == minijinja::value::ValueKind::Bool {
        return Ok(node(
            range,
            Operation::Constant(Value::Bool(value.is_true())),
        ));
    }
    if value.is_integer() {
        return match i128::try_from(value.clone()) {
            Ok(number) => integer(number, range),
            Err(_) => Err(SyntaxError::new("the number is too large", range)),
        };
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_finite() => {
            Ok(node(range, Operation::Constant(Value::Number(number))))
        }
        _ => Err(SyntaxError::new("the number is too large", range)),
    }
}

fn integer(number: i128, range: Range<usize>) -> Result<Node, SyntaxError> {
    match i64::try_from(number) {
        Ok(number) => Ok(node(range, Operation::Constant(Value::Int(number)))),
        Err(_) => Err(SyntaxError::new("the number is too large", range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text, what is wrong, the place of it, and a part of the hint.
    #[test]
    fn what_is_not_in_the_language_is_refused_with_what_to_write() {
        for (text, message, place, hint) in [
            ("", "the expression is empty", "", ""),
            ("  \n", "the expression is empty", "  \n", ""),
            (
                "{{ x }}",
                "an expression is written without `{{ }}`",
                "{{ x }}",
                "for texts",
            ),
            ("x }}", "an expression is written without `{{ }}`", "}}", ""),
            (
                "a = b",
                "`=` sets nothing in an expression",
                "=",
                "`==` compares",
            ),
            ("(a = b)", "`=` sets nothing in an expression", "=", "`==`"),
            ("a === b", "`===` is no operator here", "=", "`==`"),
            ("a && b", "`&&` is not in this language", "&&", "`and`"),
            ("a || b", "`||` is not in this language", "|", "`or`"),
            ("!a", "`!` is not in this language", "!", "`not`"),
            ("a <> b", "`<>` is not in this language", ">", "`!=`"),
            (
                "a ? b : c",
                "`?` is not in this language",
                "?",
                "if condition else",
            ),
            ("$a", "`$` is not in this language", "$", "without `$`"),
            ("“a”", "`“` is not in this language", "“", "quoted"),
            ("a == é", "`é` is not in this language", "é", ""),
            (
                "2 ** 3",
                "`**` is not in this language",
                "**",
                "+ - * / // % ~",
            ),
            (
                "f(**x)",
                "`**` is not in this language",
                "**",
                "+ - * / // % ~",
            ),
            (
                "x is text(*y)",
                "`*` in front of an argument",
                "y",
                "one by one",
            ),
            ("None", "`None` is not in this language", "None", "`null`"),
            (
                "x == none",
                "`none` is not in this language",
                "none",
                "`null`",
            ),
            ("True", "`True` is not in this language", "True", "`true`"),
            ("a AND b", "`AND` is not in this language", "AND", "`and`"),
            (
                "loop.index",
                "`loop` is not in this language",
                "loop",
                "`item`",
            ),
            (
                "(1, 2)",
                "there are no tuples in this language",
                "(1, 2)",
                "[ ]",
            ),
            (
                "1 < x < 3",
                "comparisons are not chained",
                "1 < x < 3",
                "`1 < x and x < 5`",
            ),
            (
                "y and 1 < x < 3",
                "comparisons are not chained",
                "1 < x < 3",
                "",
            ),
            ("a if b", "an `if` without `else`", "a if b", "else"),
            (
                "a.b.",
                "unexpected end of input, expected identifier or integer",
                ".",
                "",
            ),
            ("a.0", "`.0` selects nothing", "0", "`[0]`"),
            (
                "a b",
                "unexpected `b` after the end of the expression",
                "b",
                "",
            ),
            (
                "a +",
                "the expression ends where a value should follow",
                "+",
                "",
            ),
            ("a == and", "expected a value, found `and`", "and", ""),
            (
                "\"a\" \"b\"",
                "two texts stand side by side",
                "\"b\"",
                "`~`",
            ),
            ("x == \"a", "a text is not closed", "\"a", "quoted"),
            (
                r#"x is matching("\bx")"#,
                r"`\b` in a text is a control character",
                r"\b",
                r"`\\b`",
            ),
            (
                r#""\uZZZZ""#,
                "an escape in a text can't be read",
                "\"\\uZZZZ\"",
                "backslash",
            ),
            ("0x10", "`0x10` is no number here", "0x10", "digits"),
            ("1_000", "`1_000` is no number here", "1_000", "digits"),
            ("0640", "`0640` begins with a zero", "0640", "file mode"),
            ("1.", "`1.` ends with a point", "1.", ""),
            ("1e999", "the number is too large", "1e999", ""),
            (
                "99999999999999999999",
                "the number is too large",
                "99999999999999999999",
                "",
            ),
            (
                "9223372036854775808",
                "the number is too large",
                "9223372036854775808",
                "",
            ),
            (
                "x | lenght",
                "there is no filter `lenght`",
                "lenght",
                "did you mean `length`?",
            ),
            (
                "x | tojson",
                "there is no filter `tojson`",
                "tojson",
                "did you mean `json`?",
            ),
            (
                "x | pprint",
                "there is no filter `pprint`",
                "pprint",
                "the filters are default, ",
            ),
            (
                "x is startswith(\"a\")",
                "there is no test `startswith`",
                "startswith",
                "`startingwith`",
            ),
            (
                "x is undefined",
                "there is no test `undefined`",
                "undefined",
                "`absent`",
            ),
            (
                "x is in([1])",
                "`is in` is not in this language",
                "in",
                "write `x in y`",
            ),
            (
                "x is startingwith \"a\"",
                "the argument of a test stands in parentheses",
                "startingwith \"a\"",
                "`is startingwith(…)`",
            ),
            (
                "x is matching",
                "`matching` needs its argument `regex`",
                "matching",
                "matching(regex)",
            ),
            (
                "x | default",
                "`default` needs its argument `value`",
                "default",
                "default(value)",
            ),
            (
                "x | default(1, 2)",
                "too many arguments for `default`",
                "2",
                "default(value)",
            ),
            (
                "x | length(1)",
                "too many arguments for `length`",
                "1",
                "`length`",
            ),
            (
                "x | sort(\"a\")",
                "too many arguments for `sort`",
                "\"a\"",
                "sort(attribute=, reverse=)",
            ),
            (
                "x | sort(attribut=\"a\")",
                "`sort` has no argument `attribut=`",
                "attribut=\"a\"",
                "attribute=",
            ),
            (
                "x | sort(reverse=true, reverse=true)",
                "`reverse=` is given twice",
                "reverse=true",
                "",
            ),
            (
                "x | map",
                "`map` is not told what to apply",
                "map",
                "map(attribute=",
            ),
            (
                "x | map(\"uper\")",
                "there is no filter `uper`",
                "\"uper\"",
                "`upper`",
            ),
            (
                "x | map(upper)",
                "`map` is told by a name in quotes what to apply",
                "upper",
                "",
            ),
            (
                "x | map(\"default\", 1)",
                "`default` has no place in `map`",
                "\"default\"",
                "default=0",
            ),
            (
                "x | map(\"replace\", \"a\")",
                "`replace` needs its argument `to`",
                "\"replace\"",
                "replace(from, to)",
            ),
            (
                "x | select",
                "`select` is not told what to apply",
                "select",
                "select(",
            ),
            (
                "x | select(\"eq\", 1)",
                "there is no test `eq`",
                "\"eq\"",
                "`==`",
            ),
            (
                "x | selectattr",
                "`selectattr` needs its argument `attribute`",
                "selectattr",
                "attribute",
            ),
            (
                "x | selectattr(\"n\", \"matching\", \"(\")",
                "read the regular expression `(`: unclosed group",
                "\"(\"",
                "",
            ),
            (
                "duration(\"5 apples\")",
                "make a duration: `5 apples` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`",
                "\"5 apples\"",
                "",
            ),
            (
                "bytes(100)",
                "make a size of integer 100: `bytes` reads a text",
                "100",
                "",
            ),
            (
                "time()",
                "`time` needs its argument `x`",
                "time()",
                "time(x)",
            ),
            (
                "range(3)",
                "there is no function `range`",
                "range",
                "`time`, `duration`, `bytes`",
            ),
            (
                "byte(\"1B\")",
                "there is no function `byte`",
                "byte",
                "did you mean `bytes`?",
            ),
            (
                "length(x)",
                "there is no function `length`",
                "length",
                "`x | length`",
            ),
            (
                "x.lower()",
                "only functions are called",
                "x.lower()",
                "`x | lower`",
            ),
            (
                "{\"a\": 1, \"a\": 2}",
                "the key \"a\" is there twice",
                "\"a\"",
                "",
            ),
            ("{1: 2}", "a key is a text", "1", "quotes"),
            (
                "x is absent if y else z",
                "unexpected `y` after the end of the expression",
                "y",
                "`(x is absent) if …`",
            ),
        ] {
            let error = parse(text).map(drop).expect_err(text);
            assert_eq!(error.message, message, "{text}");
            assert_eq!(&text[error.range.clone()], place, "{text}");
            let given = error.hint.unwrap_or_default();
            assert!(given.contains(hint), "{text}: {given:?}");
        }
    }

    #[test]
    fn depth_and_length_are_limited_without_a_stack_overflow() {
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let texts = [
            format!("{}x{}", "(".repeat(5000), ")".repeat(5000)),
            format!("{}x{}", "[".repeat(5000), "]".repeat(5000)),
            format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000)),
            "not ".repeat(5000) + "x",
            "- ".repeat(5000) + "x",
            "x".to_owned() + &".a".repeat(990),
            "x".to_owned() + &".a".repeat(5000),
            "x".to_owned() + &" ~ x".repeat(990),
            "x".to_owned() + &" and x".repeat(990),
            "x".to_owned() + &" | length".repeat(990),
            "x if x else ".repeat(300) + "x",
            "x".repeat(70_000),
            "x is not ".repeat(300) + "x",
        ];
        let refused = small.spawn(move || texts.iter().filter(|text| parse(text).is_err()).count());
        assert_eq!(refused.expect("a thread").join().expect("no overflow"), 13);
        let accepted = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
            for text in [
                "x".to_owned() + &" ~ x".repeat(98),
                format!("{}x{}", "(".repeat(60), ")".repeat(60)),
                format!("{}x{}", "[".repeat(60), "]".repeat(60)),
                "x".to_owned() + &".a".repeat(98),
                "true if false else ".repeat(60) + "true",
                format!("x{}", " | map(\"map\", \"length\")".repeat(98)),
            ] {
                let expression = crate::expression::Expression::parse(&text).expect(&text);
                let names = crate::value::Fields::from([("x".to_owned(), Value::text("x"))]);
                drop(expression.explain(&names));
                drop(expression.eval(&names));
            }
        });
        accepted.expect("a thread").join().expect("no overflow");
    }
}
