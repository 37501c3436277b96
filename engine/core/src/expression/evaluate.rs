//! The evaluation of a tree.

use std::sync::Arc;

use super::{
    EvalError, Names, Reason,
    bounds::Fuel,
    filters::{Given, How},
    functions, is, operators, parts,
    problem::{Problem, shown},
    references::{Key, Reference},
    tree::{FilterCall, Inner, Node, Operation, Slice, TestCall},
};
use crate::value::{Fields, Value};

/// One evaluation: the names it sees and what it may still do.
pub(super) struct Evaluator<'n> {
    names: &'n dyn Names,
    fuel: Fuel,
}

/// A filter with its arguments' values.
struct Filtering<'t> {
    call: &'t FilterCall,
    arguments: Vec<Option<Value>>,
    inner: Within<'t>,
}

enum Within<'t> {
    Nothing,
    Filter(Box<Filtering<'t>>),
    Test(&'t TestCall, Option<Value>),
}

impl<'n> Evaluator<'n> {
    pub(super) fn new(names: &'n dyn Names) -> Evaluator<'n> {
        Evaluator {
            names,
            fuel: Fuel::new(),
        }
    }

    /// Returns after what the first of `references` is known that is, or holds, an unknown.
    pub(super) fn unknown<'r>(
        &self,
        references: impl Iterator<Item = &'r Reference>,
    ) -> Result<Option<Arc<str>>, Problem> {
        for reference in references {
            let Some(value) = self.names.get(&reference.name) else {
                continue;
            };
            let Some(value) = follow(&value, reference) else {
                continue;
            };
            let is_unknown = |value: &Value| matches!(value, Value::Unknown(_));
            if let Some(Value::Unknown(after)) = self.fuel.find(value, &is_unknown)? {
                return Ok(Some(after.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the value of `node`: never absent.
    pub(super) fn value(&self, node: &Node) -> Result<Value, EvalError> {
        match &node.operation {
            Operation::Constant(value) => Ok(value.clone()),
            Operation::Name(name) => self.name(name).map_err(at(node)),
            Operation::Field(of, name) => {
                let of = self.value(of)?;
                parts::field(&of, name).and_then(present).map_err(at(node))
            }
            Operation::Index(of, key) => {
                let (of, key) = (self.value(of)?, self.value(key)?);
                parts::item(&of, &key)
                    .and_then(|item| present(&item))
                    .map_err(at(node))
            }
            Operation::Slice(slice) => self.slice(node, slice),
            Operation::List(items) => {
                let items: Result<Vec<Value>, _> =
                    items.iter().map(|item| self.value(item)).collect();
                Ok(Value::list(items?))
            }
            Operation::Map(entries) => self.map(entries),
            Operation::Not(of) => Ok(Value::Bool(!self.condition(of, "not")?)),
            Operation::Negate(of) => operators::negate(&self.value(of)?).map_err(at(node)),
            Operation::And(both) => {
                let holds = self.condition(&both.0, "and")? && self.condition(&both.1, "and")?;
                Ok(Value::Bool(holds))
            }
            Operation::Or(both) => {
                let holds = self.condition(&both.0, "or")? || self.condition(&both.1, "or")?;
                Ok(Value::Bool(holds))
            }
            Operation::If(choice) => {
                if self.condition(&choice.condition, "if")? {
                    self.value(&choice.then)
                } else {
                    self.value(&choice.otherwise)
                }
            }
            Operation::Binary(operator, both) => {
                let (left, right) = (self.value(&both.0)?, self.value(&both.1)?);
                operators::apply(*operator, &left, &right, &self.fuel).map_err(at(node))
            }
            Operation::Default(both) => match self.value(&both.0) {
                Err(error) if error.reason != Reason::Wrong => self.value(&both.1),
                other => other,
            },
            Operation::Present(of, wanted) => self.presence(node, of, *wanted),
            Operation::Filter(of, call) => self.filtered(node, of, call),
            Operation::Test(of, call) => self.tested(node, of, call),
            Operation::Call(function, argument) => {
                functions::call(function, &self.value(argument)?).map_err(at(node))
            }
        }
    }

    fn name(&self, name: &str) -> Result<Value, Problem> {
        match self.names.get(name) {
            None => Err(Problem::wrong(format!("find the name `{name}`"))),
            Some(Value::Absent(why)) => Err(Problem::absent(&why)),
            Some(value) => Ok(value),
        }
    }

    fn condition(&self, node: &Node, place: &str) -> Result<bool, EvalError> {
        match self.value(node)? {
            Value::Bool(flag) => Ok(flag),
            Value::Secret(_) => Err(at(node)(Problem::secret(&format!("`{place}`")))),
            other => {
                let problem = Problem::wrong(format!("take {} for true or false", shown(&other)));
                Err(at(node)(problem.hint(match other {
                    Value::Text(_) | Value::List(_) | Value::Map(_) => "ask `x | length > 0`",
                    Value::Null => "ask `x != null`",
                    Value::Int(_) | Value::Number(_) => "ask `x != 0`",
                    _ => "compare it with something",
                })))
            }
        }
    }

    fn presence(&self, node: &Node, of: &Node, wanted: bool) -> Result<Value, EvalError> {
        match self.value(of) {
            Ok(Value::Secret(_)) => Err(at(node)(Problem::secret("a test"))),
            Ok(_) => Ok(Value::Bool(wanted)),
            Err(error) if error.reason != Reason::Wrong => Ok(Value::Bool(!wanted)),
            Err(error) => Err(error),
        }
    }

    fn slice(&self, node: &Node, slice: &Slice) -> Result<Value, EvalError> {
        let of = self.value(&slice.of)?;
        let bound = |bound: &Option<Node>| match bound {
            None => Ok(None),
            Some(node) => match self.value(node)? {
                Value::Int(number) => Ok(Some(number)),
                other => Err(at(node)(Problem::wrong(format!(
                    "take {} as the bound of a slice: that must be an integer",
                    shown(&other)
                )))),
            },
        };
        let (start, stop, step) = (
            bound(&slice.start)?,
            bound(&slice.stop)?,
            bound(&slice.step)?,
        );
        parts::slice(&of, start, stop, step, &self.fuel).map_err(at(node))
    }

    fn map(&self, entries: &[(Node, Node)]) -> Result<Value, EvalError> {
        let mut fields = Fields::new();
        for (key, value) in entries {
            let name = match self.value(key)? {
                Value::Text(name) => name.to_string(),
                Value::Secret(_) => return Err(at(key)(Problem::secret("a key"))),
                other => {
                    let message = format!("take {} as a key: that must be a text", shown(&other));
                    return Err(at(key)(Problem::wrong(message)));
                }
            };
            if fields.contains_key(&name) {
                let message = format!("make a map: the key {name:?} is there twice");
                return Err(at(key)(Problem::wrong(message)));
            }
            fields.insert(name, self.value(value)?);
        }
        Ok(Value::map(fields))
    }

    fn tested(&self, node: &Node, of: &Node, call: &TestCall) -> Result<Value, EvalError> {
        let value = self.value(of)?;
        let argument = self.single(&call.arguments)?;
        is::holds(
            call.test,
            &value,
            argument.as_ref(),
            call.regex.as_ref(),
            &self.fuel,
        )
        .map(Value::Bool)
        .map_err(at(node))
    }

    fn filtered(&self, node: &Node, of: &Node, call: &FilterCall) -> Result<Value, EvalError> {
        let value = self.value(of)?;
        let filtering = self.ready(call)?;
        self.apply(&filtering, &value).map_err(at(node))
    }

    /// Evaluates the arguments of a filter, and of what it applies to each item, once.
    fn ready<'t>(&self, call: &'t FilterCall) -> Result<Filtering<'t>, EvalError> {
        let arguments: Result<Vec<Option<Value>>, EvalError> = call
            .arguments
            .iter()
            .map(|argument| argument.as_ref().map(|node| self.value(node)).transpose())
            .collect();
        let inner = match &call.inner {
            Inner::Nothing => Within::Nothing,
            Inner::Filter(inner) => Within::Filter(Box::new(self.ready(inner)?)),
            Inner::Test(inner) => Within::Test(inner, self.single(&inner.arguments)?),
        };
        Ok(Filtering {
            call,
            arguments: arguments?,
            inner,
        })
    }

    fn single(&self, arguments: &[Option<Node>]) -> Result<Option<Value>, EvalError> {
        match arguments.first() {
            Some(Some(node)) => self.value(node).map(Some),
            _ => Ok(None),
        }
    }

    fn apply(&self, filtering: &Filtering<'_>, value: &Value) -> Result<Value, Problem> {
        let filter = filtering.call.filter;
        let given = Given {
            filter,
            value,
            arguments: &filtering.arguments,
            fuel: &self.fuel,
        };
        let secret = |value: &Value| matches!(value, Value::Secret(_));
        if secret(value) || filtering.arguments.iter().flatten().any(secret) {
            return Err(Problem::secret(&format!("`{}`", filter.name)));
        }
        if let Value::Absent(why) = value {
            return Err(Problem::absent(why));
        }
        self.fuel.spend(1)?;
        match &filter.how {
            How::Plain(apply) => apply(&given),
            How::Map => self.each(&given, &filtering.inner),
            How::Choose { keep, by_field } => {
                self.chosen(&given, &filtering.inner, *keep, *by_field)
            }
            How::Default => Ok(value.clone()),
        }
    }

    fn each(&self, given: &Given<'_>, inner: &Within<'_>) -> Result<Value, Problem> {
        let items = given.list()?;
        self.fuel.items(items.len())?;
        let path = given.text_argument(0)?;
        let mapped: Result<Vec<Value>, Problem> = items
            .iter()
            .map(|item| match (inner, path) {
                (Within::Filter(filtering), _) => self.apply(filtering, item),
                (_, Some(path)) => match (parts::at_path(item, path), given.argument(1)) {
                    (Err(problem), Some(default)) if problem.reason != Reason::Wrong => {
                        Ok(default.clone())
                    }
                    (found, _) => found.cloned(),
                },
                _ => Ok(item.clone()),
            })
            .collect();
        mapped.map(Value::list)
    }

    fn chosen(
        &self,
        given: &Given<'_>,
        inner: &Within<'_>,
        keep: bool,
        by_field: bool,
    ) -> Result<Value, Problem> {
        let items = given.list()?;
        self.fuel.items(items.len())?;
        let path = if by_field {
            given.text_argument(0)?
        } else {
            None
        };
        let mut chosen = Vec::new();
        for item in items {
            if self.holds(item, path, inner)? == keep {
                chosen.push(item.clone());
            }
        }
        Ok(Value::list(chosen))
    }

    fn holds(&self, item: &Value, path: Option<&str>, inner: &Within<'_>) -> Result<bool, Problem> {
        let found = path.map_or(Ok(item), |path| parts::at_path(item, path));
        match inner {
            Within::Test(call, argument) => {
                let gone = Value::Absent("".into());
                let value = match (found, &call.test.how) {
                    (Err(problem), is::How::Present(_)) if problem.reason != Reason::Wrong => &gone,
                    (found, _) => found?,
                };
                is::holds(
                    call.test,
                    value,
                    argument.as_ref(),
                    call.regex.as_ref(),
                    &self.fuel,
                )
            }
            _ => match found? {
                Value::Bool(flag) => Ok(*flag),
                Value::Secret(_) => Err(Problem::secret("a test")),
                other => Err(
                    Problem::wrong(format!("take {} for true or false", shown(other)))
                        .hint("name a test: `selectattr(\"size\", \">\", 0)`"),
                ),
            },
        }
    }
}

fn at(node: &Node) -> impl Fn(Problem) -> EvalError + '_ {
    |problem| problem.at(node.range.clone())
}

fn present(value: &Value) -> Result<Value, Problem> {
    parts::present(value).cloned()
}

/// Returns what `reference` leads to from the value of its name; an unknown on the way stands for all behind it.
fn follow<'v>(value: &'v Value, reference: &Reference) -> Option<&'v Value> {
    let mut value = value;
    for part in &reference.parts {
        value = match (value, &part.key) {
            (Value::Unknown(_), _) => return Some(value),
            (Value::Map(fields), Key::Name(name)) => fields.get(name)?,
            (Value::List(items), Key::Index(index)) => {
                let place = if *index < 0 {
                    index + items.len() as i64
                } else {
                    *index
                };
                items.get(usize::try_from(place).ok()?)?
            }
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        expression::{Expression, Reason},
        value::{Fields, Value},
    };

    fn names() -> Fields {
        let names = Value::from_stored(&json!({
            "n": 5, "half": 0.5, "name": "kv", "yes": true, "no": false, "nothing": null,
            "limit": {"$bytes": 104_857_600}, "size": {"$bytes": 158_442_947}, "span": {"$duration": "90s"},
            "at": {"$time": "2026-11-20T14:30:00+08:00"},
            "row": {"name": "a b", "wal-size": 3, "wal_bytes": 7, "gone": {"$absent": "step `x` was skipped"}, "empty": null},
            "rows": [{"n": 2, "s": "b"}, {"n": 1, "s": "a"}, {"n": 2, "s": "c"}],
            "skipped": {"$absent": "step `backup` was skipped"},
            "token": {"$secret": [{"handle": "input token"}]},
            "url": {"$secret": ["http://", {"handle": "input token"}, "@host"]},
            "later": {"$unknown": "step `start`"},
            "partly": {"known": 1, "open": {"$unknown": "step `open`"}},
        }));
        match names {
            Value::Map(fields) => (*fields).clone(),
            _ => unreachable!("the JSON is an object"),
        }
    }

    fn shown(text: &str) -> String {
        let expression = match Expression::parse(text) {
            Ok(expression) => expression,
            Err(error) => return format!("no expression: {error}"),
        };
        match expression.eval(&names()) {
            Ok(value) => value.display(),
            Err(error) => format!("! {error}"),
        }
    }

    fn check(table: &[(&str, &str)]) {
        for (text, expected) in table {
            assert_eq!(&shown(text), expected, "{text}");
        }
    }

    #[test]
    fn values_and_paths() {
        check(&[
            ("5", "5"),
            ("-5", "-5"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1.5e2", "150"),
            (r#""a\n\"b\"\d""#, r#""a\n\"b\"\\d""#),
            ("'it\\'s'", r#""it's""#),
            ("null", "null"),
            ("[1, [true], {}]", "[1, [true], {}]"),
            (r#"{"a": 1, name: 2}"#, r#"{a: 1, kv: 2}"#),
            ("row.name", r#""a b""#),
            (r#"row["wal-size"]"#, "3"),
            ("rows[0].n", "2"),
            ("rows[-1].s", r#""c""#),
            ("rows[1:].n", "! read `n` of a list of 2"),
            ("rows[1:][0].n", "1"),
            ("name[0]", r#""k""#),
            (r#""wörter"[1:-1]"#, r#""örte""#),
            ("[1, 2, 3, 4][::2]", "[1, 3]"),
            ("[1, 2][5:1]", "[]"),
            ("[1][0:9223372036854775807]", "[1]"),
            (
                "[1, 2][::-1]",
                "! take a slice with a step that is not at least 1",
            ),
            ("rows[3]", "! read item 3 of 3: they count from 0"),
            ("rows[-4]", "! read item -4 of 3: they count from 0"),
            ("row.wal_byte", "! read `wal_byte`: there is no such key"),
            ("row.empty.x", "! read `x` of null"),
            ("n.x", "! read `x` of integer 5: it has no fields"),
            ("rows.n", "! read `n` of a list of 3"),
            ("rows[name]", "! read text \"kv\" of a list of 3"),
            ("nobody", "! find the name `nobody`"),
        ]);
    }

    #[test]
    fn hints_say_what_to_write() {
        let hint = |text: &str| {
            let expression = Expression::parse(text).expect(text);
            expression.eval(&names()).expect_err(text).hint
        };
        assert_eq!(
            hint("row.wal_byte").as_deref(),
            Some("did you mean `wal_bytes`?")
        );
        assert_eq!(hint(r#"{}.a"#).as_deref(), Some("the map is empty"));
        assert!(hint("name.length").expect("a hint").contains("x | length"));
        assert!(hint(r#""100" < "80""#).expect("a hint").contains("| int"));
        assert!(hint("size > 100").expect("a hint").contains("bytes("));
        assert!(hint("span > 100").expect("a hint").contains("duration("));
        assert!(hint(r#"n == "5""#).expect("a hint").contains("| int"));
        assert!(
            hint("rows.n")
                .expect("a hint")
                .contains("map(attribute=\"n\")")
        );
        assert!(hint("name + name").expect("a hint").contains('~'));
        assert!(hint("name and yes").expect("a hint").contains("length"));
    }

    #[test]
    fn conditions_take_booleans_and_leave_out_what_is_decided() {
        check(&[
            ("yes and not no", "true"),
            ("no and nobody", "false"),
            ("yes or nobody", "true"),
            ("yes and nobody", "! find the name `nobody`"),
            ("no or no", "false"),
            ("1 if yes else nobody", "1"),
            ("1 if no else 2 if no else 3", "3"),
            ("name and yes", "! take text \"kv\" for true or false"),
            ("yes and n", "! take integer 5 for true or false"),
            ("not nothing", "! take null for true or false"),
            ("1 if rows else 2", "! take a list of 3 for true or false"),
            ("not n == 6", "true"),
            ("not yes or yes", "true"),
        ]);
    }

    #[test]
    fn comparisons_know_no_conversion() {
        check(&[
            ("n == 5", "true"),
            ("n == 5.0", "true"),
            ("n != 5.5", "true"),
            ("9007199254740993 == 9007199254740992.0", "false"),
            ("9007199254740993 > 9007199254740992.0", "true"),
            ("9223372036854775807 < 9223372036854775808.0", "true"),
            ("-1 < -0.5", "true"),
            ("name == \"kv\"", "true"),
            (
                "n == \"5\"",
                "! compare integer 5 with text \"5\": they are different kinds",
            ),
            (
                "size == 158442947",
                "! compare bytes 151.1MiB with integer 158442947: they are different kinds",
            ),
            ("size > limit", "true"),
            ("span <= duration(\"1m 30s\")", "true"),
            ("at < time(\"2026-11-20T06:30:01Z\")", "true"),
            ("at == time(\"2026-11-20T06:30:00Z\")", "true"),
            (
                "\"100\" < \"80\"",
                "! order text \"100\" and text \"80\" with `<`: texts have no order here",
            ),
            (
                "[1] < [2]",
                "! order a list of 1 and a list of 1 with `<`: list values have no order",
            ),
            (
                "yes > no",
                "! order boolean true and boolean false with `>`: boolean values have no order",
            ),
            (
                "nothing > 1",
                "! compare null with integer 1: they are different kinds",
            ),
            ("nothing == null", "true"),
            ("nothing != 5", "true"),
            ("rows == null", "false"),
            ("[1, [2.0]] == [1.0, [2]]", "true"),
            ("[1, 2] == [1]", "false"),
            (
                "[1, \"a\"] == [1, 2]",
                "! compare text \"a\" with integer 2: they are different kinds",
            ),
            ("{\"a\": null} == {\"a\": 5}", "false"),
            ("{\"a\": 1} == {\"b\": 1}", "false"),
            (
                "yes == \"true\"",
                "! compare boolean true with text \"true\": they are different kinds",
            ),
        ]);
    }

    #[test]
    fn membership() {
        check(&[
            ("\"k\" in name", "true"),
            ("\"k\" not in name", "false"),
            ("5 in [1, 5.0]", "true"),
            ("5 in [1, \"5\"]", "false"),
            (
                "5 in [\"5\"]",
                "! look for integer 5 in a list: it has no item of that kind",
            ),
            ("5 in []", "false"),
            ("null in [1]", "false"),
            ("null in [null]", "true"),
            ("5 in [null]", "false"),
            ("[1] in [[1], [2]]", "true"),
            ("\"name\" in row", "true"),
            ("\"nam\" in row", "false"),
            (
                "5 in name",
                "! look for integer 5 in text \"kv\": only a text can be in it",
            ),
            (
                "5 in 5",
                "! look for integer 5 in integer 5: only texts, lists and maps hold anything",
            ),
        ]);
    }

    #[test]
    fn arithmetic_keeps_its_kinds() {
        check(&[
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("7 / 2", "3.5"),
            ("4 / 2", "2"),
            (
                "4 / 2 is integer",
                "! calculate integer 4 / boolean true: these kinds have no `/`",
            ),
            ("(4 / 2) is integer", "false"),
            ("7 // 2", "3"),
            ("-7 // 2", "-4"),
            ("7 // -2", "-4"),
            ("-7 % 3", "2"),
            ("7 % -3", "-2"),
            (
                "7.5 // 2",
                "! calculate number 7.5 // integer 2: number values have no `//`",
            ),
            (
                "1 / 0",
                "! calculate integer 1 / integer 0: a division by zero",
            ),
            (
                "1 // 0",
                "! calculate integer 1 // integer 0: a division by zero",
            ),
            (
                "1 % 0",
                "! calculate integer 1 % integer 0: a division by zero",
            ),
            (
                "1.5 / 0.0",
                "! calculate number 1.5 / number 0: a division by zero",
            ),
            (
                "9223372036854775807 + 1",
                "! calculate integer 9223372036854775807 + integer 1: the result is too large",
            ),
            (
                "(-9223372036854775808) // -1",
                "! calculate integer -9223372036854775808 // integer -1: the result is too large",
            ),
            (
                "1e308 * 10",
                &format!(
                    "! calculate number {} * integer 10: the result is too large",
                    1e308
                ),
            ),
            ("-(n)", "-5"),
            ("-n + 1", "-4"),
            ("-span", "-1m 30s"),
            (
                "-limit",
                "! negate bytes 100MiB: only numbers and durations can be negative",
            ),
            ("n + half", "5.5"),
            ("limit + bytes(\"28MiB\")", "128MiB"),
            (
                "limit - bytes(\"1GiB\")",
                "! calculate bytes 100MiB - bytes 1GiB: a size can't be negative",
            ),
            ("limit * 1.5", "150MiB"),
            ("2 * limit", "200MiB"),
            (
                "limit * -1",
                "! calculate bytes 100MiB * integer -1: a size can't be negative",
            ),
            ("limit / bytes(\"50MiB\")", "2"),
            ("limit / 4", "25MiB"),
            (
                "limit / 0",
                "! calculate bytes 100MiB / integer 0: a division by zero",
            ),
            (
                "limit * 1e300",
                &format!(
                    "! calculate bytes 100MiB * number {}: the result is too large",
                    1e300
                ),
            ),
            (
                "4 / limit",
                "! calculate integer 4 / bytes 100MiB: these kinds have no `/`",
            ),
            (
                "limit + 1",
                "! calculate bytes 100MiB + integer 1: they are different kinds",
            ),
            ("span + span", "3m"),
            ("span - duration(\"2m\")", "-30s"),
            ("span * 2", "3m"),
            ("span / duration(\"45s\")", "2"),
            ("span / 2", "45s"),
            ("at - time(\"2026-11-20T06:00:00Z\")", "30m"),
            ("at + span", "2026-11-20T14:31:30+08:00"),
            ("span + at", "2026-11-20T14:31:30+08:00"),
            ("at - span", "2026-11-20T14:28:30+08:00"),
            (
                "at + at",
                "! calculate time 2026-11-20T14:30:00+08:00 + time 2026-11-20T14:30:00+08:00: time values have no `+`",
            ),
            (
                "at + duration(\"999999999d\")",
                "! calculate time 2026-11-20T14:30:00+08:00 + duration 999999999d: the result is too large",
            ),
            (
                "span - at",
                "! calculate duration 1m 30s - time 2026-11-20T14:30:00+08:00: they are different kinds",
            ),
            ("[1] + [2]", "[1, 2]"),
            ("name + name", "! calculate text \"kv\" + text \"kv\""),
            (
                "name * 3",
                "! calculate text \"kv\" * integer 3: these kinds have no `*`",
            ),
            (
                "name ~ \"-\" ~ n ~ \" \" ~ limit ~ \" \" ~ yes",
                "\"kv-5 100MiB true\"",
            ),
            ("name ~ rows", "! put a list into a text"),
            ("name ~ null", "! put null into a text"),
        ]);
    }

    #[test]
    fn what_is_absent_is_an_error_with_its_reason() {
        check(&[
            ("skipped", "! step `backup` was skipped"),
            ("skipped.x", "! step `backup` was skipped"),
            ("skipped == null", "! step `backup` was skipped"),
            ("row.gone", "! step `x` was skipped"),
            ("row.gone.deep", "! step `x` was skipped"),
            ("[row.gone]", "! step `x` was skipped"),
            ("skipped.x.y | default(3)", "3"),
            ("row.gone | default(name)", "\"kv\""),
            ("row.typo.deep | default(1)", "1"),
            ("row.empty | default(1)", "null"),
            ("row.empty.deep | default(1)", "1"),
            ("rows[9].n | default(0)", "0"),
            ("[] | max | default(n)", "5"),
            ("row.name | default(nobody)", "\"a b\""),
            (
                "n.x | default(1)",
                "! read `x` of integer 5: it has no fields",
            ),
            ("nobody | default(1)", "! find the name `nobody`"),
            ("skipped is absent", "true"),
            ("skipped.x.y is defined", "false"),
            ("row.name is defined and row.gone is absent", "true"),
            ("row.typo is not defined", "true"),
            ("nothing is defined", "true"),
            ("[row] | selectattr(\"gone\", \"absent\") | length", "1"),
            (
                "[row] | selectattr(\"gone\", \"==\", 1) | length",
                "! step `x` was skipped",
            ),
            ("[row] | map(attribute=\"gone\")", "! step `x` was skipped"),
            ("[row] | map(attribute=\"gone\", default=0)", "[0]"),
            ("row == row", "! step `x` was skipped"),
            ("row | json", "! step `x` was skipped"),
        ]);
        let absent = Expression::parse("row.gone").expect("an expression");
        assert_eq!(
            absent.eval(&names()).expect_err("absent").reason,
            Reason::Absent
        );
        let missing = Expression::parse("row.typo").expect("an expression");
        assert_eq!(
            missing.eval(&names()).expect_err("missing").reason,
            Reason::Missing
        );
    }

    #[test]
    fn one_unknown_makes_all_unknown() {
        check(&[
            ("later", "known after step `start`"),
            ("later.any.part", "known after step `start`"),
            ("no and later", "known after step `start`"),
            ("later + nobody", "known after step `start`"),
            ("1 / 0 == later", "known after step `start`"),
            ("later | default(1)", "known after step `start`"),
            ("later is defined", "known after step `start`"),
            ("partly", "known after step `open`"),
            ("partly.known", "1"),
            (
                "partly[name ~ \"\"] | default(1)",
                "known after step `open`",
            ),
            ("[n, partly.open, later]", "known after step `open`"),
            ("[1, 2] | select(\">\", later)", "known after step `start`"),
            ("rows[0].n", "2"),
        ]);
    }

    #[test]
    fn a_secret_never_decides() {
        let refused = |place: &str| format!("! use a secret in {place}: a secret never decides");
        check(&[
            ("token", "***"),
            ("url ~ \"/\" ~ n", "http://***@host/5"),
            ("\"Bearer \" ~ token", "Bearer ***"),
            ("token | default(\"x\")", "***"),
            ("skipped.token | default(token)", "***"),
            ("[token]", "[***]"),
            ("[token, 1] | length", "2"),
            ("token if yes else null", "***"),
            ("token == \"x\"", &refused("`==`")),
            ("[token] == [token]", &refused("a comparison")),
            ("token in [\"x\"]", &refused("`in`")),
            ("\"x\" in [token]", &refused("a list that is searched")),
            ("token + 1", &refused("`+`")),
            ("token | length", &refused("`length`")),
            ("name | replace(\"k\", token)", &refused("`replace`")),
            ("[token] | join", &refused("`join`")),
            ("[token] | unique", &refused("`unique`")),
            ("[token] | sort", &refused("`sort`")),
            ("[token] | json", &refused("`json`")),
            ("[token] | map(\"lower\")", &refused("`lower`")),
            ("[token] | select(\"text\")", &refused("the test `text`")),
            ("token is text", &refused("the test `text`")),
            ("token is defined", &refused("a test")),
            ("yes and token", &refused("`and`")),
            ("1 if token else 2", &refused("`if`")),
            ("token[0]", "! read a part of a secret"),
            ("token.x", "! read `x` of a secret"),
            ("token[1:]", &refused("a slice")),
            ("rows[token]", &refused("`[ ]`")),
            ("{token: 1}", &refused("a key")),
            ("bytes(token)", &refused("`bytes`")),
        ]);
    }

    #[test]
    fn filters_refuse_what_they_do_not_take() {
        check(&[
            (
                "n | length",
                "! apply `length` to integer 5: it takes a list, a map or a text",
            ),
            ("[] | first", "! apply `first` to an empty list"),
            (
                "\"12 \" | int",
                "! make an integer of text \"12 \": it says none",
            ),
            (
                "\"+12\" | int",
                "! make an integer of text \"+12\": it says none",
            ),
            (
                "\"nan\" | number",
                "! make a number of text \"nan\": it says none",
            ),
            (
                "1.5 | int",
                "! make an integer of number 1.5: it has a fraction",
            ),
            (
                "true | int",
                "! apply `int` to boolean true: it takes a text or a number",
            ),
            ("\"-12\" | int", "-12"),
            (
                "\"99999999999999999999\" | int",
                "! make an integer of text \"99999999999999999999\": it says none",
            ),
            ("2.5 | round", "3"),
            (
                "1e300 | round",
                &format!(
                    "! apply `round` to number {}: the result is too large",
                    1e300
                ),
            ),
            ("1.005 | round(2)", "1.01"),
            (
                "1 | round(99)",
                "! round to 99 digits: 0 to 15 are possible",
            ),
            (
                "[1, \"a\"] | sort",
                "! sort integer 1 with text \"a\": they are different kinds",
            ),
            (
                "[true] | sort",
                "! apply `sort` to boolean true: it takes numbers, sizes, durations, times or texts",
            ),
            ("[\"b\", \"a\"] | sort", "[\"a\", \"b\"]"),
            (
                "rows | sort(attribute=\"n\", reverse=true) | map(attribute=\"s\")",
                "[\"b\", \"c\", \"a\"]",
            ),
            (
                "rows | sort(attribute=\"x\")",
                "! read `x`: there is no such key",
            ),
            (
                "[\"9\", \"10\"] | max",
                "! apply `max` to text \"9\": it takes numbers, sizes, durations or times",
            ),
            (
                "[1, limit] | min",
                "! compare integer 1 with bytes 100MiB: they are different kinds",
            ),
            ("rows | sum(attribute=\"n\")", "5"),
            (
                "[limit, 1] | sum",
                "! calculate bytes 100MiB + integer 1: they are different kinds",
            ),
            (
                "[\"a\"] | sum",
                "! apply `sum` to text \"a\": it takes numbers, sizes or durations",
            ),
            (
                "[1, 1.0, \"1\", [1], [1.0], null] | unique",
                "[1, \"1\", [1], null]",
            ),
            (
                "[[1], 2] | flatten",
                "! apply `flatten` to integer 2: it takes a list of lists",
            ),
            ("rows | join", "! put a map into a text"),
            (
                "rows | selectattr(\"s\")",
                "! take text \"b\" for true or false",
            ),
            (
                "rows | selectattr(\"n\", \">\", 1) | map(attribute=\"s\") | join(\"+\")",
                "\"b+c\"",
            ),
            (
                "rows | map(attribute=\"s\") | map(\"upper\") | reject(\"in\", [\"A\"])",
                "[\"B\", \"C\"]",
            ),
            ("name is matching(\"^K\")", "false"),
            ("name is matching(\"(?i)^K\")", "true"),
            (
                "name is matching(name ~ \"(\")",
                "! read the regular expression `kv(`: unclosed group",
            ),
            (
                "n is matching(\"5\")",
                "! ask whether integer 5 is `matching`: the test takes texts",
            ),
            ("\"\" | split(\"\")", "! split a text at an empty separator"),
            ("\" a  b \" | split", "[\"a\", \"b\"]"),
            (
                "[\"/\", \"/a\", \"a\", \"a/b/\", \"//a//b\"] | map(\"dirname\")",
                "[\"/\", \"/\", \".\", \"a\", \"//a\"]",
            ),
            (
                "[\"/\", \"/a\", \"a\", \"a/b/\"] | map(\"basename\")",
                "[\"/\", \"a\", \"a\", \"b\"]",
            ),
            (
                "\"\" | ident",
                "! quote a name for SQL that is empty or holds a NUL",
            ),
            (
                "{\"s\": limit, \"d\": span, \"t\": at} | json",
                r#""{\"d\":90.0,\"s\":104857600,\"t\":\"2026-11-20T14:30:00+08:00\"}""#,
            ),
            (
                "time(99999999999999999)",
                "no expression: make a time of integer 99999999999999999: it is not in the calendar",
            ),
            ("time(n * 1000)", "1970-01-01T00:00:05Z"),
            (
                "bytes(name)",
                "! make a size: `kv` is no size; write it like `512B`, `100MiB` or `1.5GB`",
            ),
            (
                "duration(n)",
                "! make a duration of integer 5: `duration` reads a text",
            ),
        ]);
    }

    #[test]
    fn an_error_says_where() {
        let place = |text: &'static str| {
            let expression = Expression::parse(text).expect(text);
            let range = expression.eval(&names()).expect_err(text).range;
            &text[range]
        };
        assert_eq!(place("yes and (row.typo) == 1"), "row.typo");
        assert_eq!(place("yes and ((n) + name) == 1"), "(n) + name");
        assert_eq!(
            place("yes and not (rows | length > name)"),
            "rows | length > name"
        );
        assert_eq!(place("1 == 1 and n == name"), "n == name");
        assert_eq!(place("1 if n else 2"), "n");
    }

    #[test]
    fn work_is_limited() {
        let long = "x".repeat(1 << 20);
        let mut shared = Value::list(vec![Value::text("x"); 100]);
        for _ in 0..20 {
            shared = Value::list(vec![shared; 100]);
        }
        let mut deep = Value::Null;
        for _ in 0..1000 {
            deep = Value::list(vec![deep]);
        }
        let names = Fields::from([
            ("long".to_owned(), Value::text(long)),
            ("list".to_owned(), Value::list(vec![Value::Int(1); 600_000])),
            ("shared".to_owned(), shared),
            ("deep".to_owned(), deep),
        ]);
        for (text, expected) in [
            ("long | replace(\"x\", long)", "make a text of"),
            (&format!("long{}", " ~ long".repeat(40)), "make a text of"),
            ("list + list", "make a list of 1200000 items"),
            ("[list, list] | flatten", "make a list of 1200000 items"),
            ("shared == shared", "values are too large"),
            ("shared | json", "values are too large"),
            ("deep | length", "nested so deeply"),
        ] {
            let expression = Expression::parse(text).expect(text);
            let error = expression.eval(&names).expect_err(text).message;
            assert!(error.contains(expected), "{text}: {error}");
        }
        let all = Expression::parse("list | sort | unique | length").expect("an expression");
        assert_eq!(all.eval(&names), Ok(Value::Int(1)));
    }
}
