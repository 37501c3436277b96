//! What the operators do with two values: only what is the same for people, never a conversion.

use std::cmp::Ordering;

use super::{
    bounds::Fuel,
    problem::{Problem, shown},
};
use crate::{
    units::{Bytes, Span, Time},
    value::{Piece, Secret, Value},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Different,
    Less,
    AtMost,
    More,
    AtLeast,
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideWhole,
    Remainder,
    Join,
    In,
}

impl Operator {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::Different => "!=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::More => ">",
            Operator::AtLeast => ">=",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::DivideWhole => "//",
            Operator::Remainder => "%",
            Operator::Join => "~",
            Operator::In => "in",
        }
    }

    /// Returns whether it makes something new of its sides, where the others answer yes or no.
    pub(super) fn makes_a_value(self) -> bool {
        use Operator as Op;
        matches!(
            self,
            Op::Add
                | Op::Subtract
                | Op::Multiply
                | Op::Divide
                | Op::DivideWhole
                | Op::Remainder
                | Op::Join
        )
    }
}

/// Applies `operator` to two values.
pub(super) fn apply(
    operator: Operator,
    left: &Value,
    right: &Value,
    fuel: &Fuel,
) -> Result<Value, Problem> {
    if operator == Operator::Join {
        return join(left, right, fuel);
    }
    if matches!(left, Value::Secret(_)) || matches!(right, Value::Secret(_)) {
        return Err(Problem::secret(&format!("`{}`", operator.symbol())));
    }
    if operator.makes_a_value() {
        return arithmetic(operator, left, right, fuel);
    }
    answer(operator, left, right, fuel).map(Value::Bool)
}

/// Answers a comparison or `in`.
pub(super) fn answer(
    operator: Operator,
    left: &Value,
    right: &Value,
    fuel: &Fuel,
) -> Result<bool, Problem> {
    match operator {
        Operator::Equal => equal(left, right, fuel),
        Operator::Different => equal(left, right, fuel).map(|equal| !equal),
        Operator::Less => ordered(operator, left, right).map(Ordering::is_lt),
        Operator::AtMost => ordered(operator, left, right).map(Ordering::is_le),
        Operator::More => ordered(operator, left, right).map(Ordering::is_gt),
        Operator::AtLeast => ordered(operator, left, right).map(Ordering::is_ge),
        Operator::In => contains(right, left, fuel),
        _ => Err(Problem::wrong(format!("answer `{}`", operator.symbol()))),
    }
}

/// Returns whether two values are of one kind; integers and numbers are.
pub(super) fn same_kind(left: &Value, right: &Value) -> bool {
    let kind = |value: &Value| match value {
        Value::Int(_) => "number",
        other => other.kind(),
    };
    kind(left) == kind(right)
}

/// Returns whether two values are equal.
///
/// Two kinds are an error, also inside lists and maps, except that anything can be compared with null.
pub(super) fn equal(left: &Value, right: &Value, fuel: &Fuel) -> Result<bool, Problem> {
    equal_below(left, right, fuel, 0)
}

fn equal_below(left: &Value, right: &Value, fuel: &Fuel, depth: usize) -> Result<bool, Problem> {
    fuel.depth(depth)?;
    fuel.spend(1)?;
    Ok(match (left, right) {
        (Value::Secret(_), _) | (_, Value::Secret(_)) => {
            return Err(Problem::secret("a comparison"));
        }
        (Value::Absent(why), _) | (_, Value::Absent(why)) => return Err(Problem::absent(why)),
        (Value::Null, other) | (other, Value::Null) => *other == Value::Null,
        (Value::Int(_) | Value::Number(_), Value::Int(_) | Value::Number(_)) => {
            numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal_below(left, right, fuel, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(left), Value::Map(right)) => {
            if !left.keys().eq(right.keys()) {
                return Ok(false);
            }
            for (left, right) in left.values().zip(right.values()) {
                if !equal_below(left, right, fuel, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        _ if same_kind(left, right) => left == right,
        _ => return Err(different_kinds("compare", "with", left, right)),
    })
}

/// Returns how two values that have an order are ordered; `None` if these have none.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        _ => numbers(left, right),
    }
}

fn ordered(operator: Operator, left: &Value, right: &Value) -> Result<Ordering, Problem> {
    order(left, right).ok_or_else(|| {
        let message = format!("order {} and {} with `{}`", shown(left), shown(right), operator.symbol());
        match (left, right) {
            (Value::Text(_), Value::Text(_)) => Problem::wrong(format!("{message}: texts have no order here"))
                .hint("make numbers of them with `| int` or `| number`, times with `time(x)`, sizes with `bytes(x)`"),
            _ if same_kind(left, right) => {
                Problem::wrong(format!("{message}: {} values have no order", left.kind()))
            }
            _ => different_kinds("compare", "with", left, right),
        }
    })
}

/// Orders two numbers exactly, also an integer that no float can hold and a float.
fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Number(right)) => whole_with_float(*left, *right),
        (Value::Number(left), Value::Int(right)) => {
            whole_with_float(*right, *left).map(Ordering::reverse)
        }
        _ => None,
    }
}

fn whole_with_float(whole: i64, float: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float >= LIMIT {
        return Some(Ordering::Less);
    }
    if float < -LIMIT {
        return Some(Ordering::Greater);
    }
    // In these bounds the whole part converts without loss.
    let part = float.trunc();
    let by_part = whole.cmp(&(part as i64));
    Some(by_part.then(0.0_f64.partial_cmp(&(float - part))?))
}

/// Returns whether `item` is a part of a text, an item of a list or a key of a map.
pub(super) fn contains(container: &Value, item: &Value, fuel: &Fuel) -> Result<bool, Problem> {
    match (container, item) {
        (Value::Text(text), Value::Text(part)) => {
            fuel.spend(text.len() / 64)?;
            Ok(text.contains(&**part))
        }
        (Value::Map(fields), Value::Text(key)) => Ok(fields.contains_key(&**key)),
        (Value::List(items), item) => {
            let mut comparable = items.is_empty() || *item == Value::Null;
            for other in items.iter() {
                if matches!(other, Value::Secret(_)) {
                    return Err(Problem::secret("a list that is searched"));
                }
                comparable = comparable || *other == Value::Null || same_kind(item, other);
                if same_kind(item, other) && equal(item, other, fuel)? {
                    return Ok(true);
                }
            }
            fuel.spend(items.len())?;
            if comparable {
                return Ok(false);
            }
            let message = format!(
                "look for {} in a list: it has no item of that kind",
                shown(item)
            );
            Err(Problem::wrong(message))
        }
        (Value::Text(_) | Value::Map(_), item) => Err(Problem::wrong(format!(
            "look for {} in {}: only a text can be in it",
            shown(item),
            shown(container)
        ))),
        _ => Err(Problem::wrong(format!(
            "look for {} in {}: only texts, lists and maps hold anything",
            shown(item),
            shown(container)
        ))),
    }
}

/// Returns the text that a value makes when it is joined to others; a secret stays in its pieces.
pub(super) fn join(left: &Value, right: &Value, fuel: &Fuel) -> Result<Value, Problem> {
    let mut joined = Joined::default();
    joined.push(left, fuel)?;
    joined.push(right, fuel)?;
    Ok(joined.finish())
}

/// A text in the making, that becomes a secret with the first secret in it.
#[derive(Default)]
pub(super) struct Joined {
    secrets: Vec<Piece>,
    text: String,
}

impl Joined {
    pub(super) fn push_str(&mut self, text: &str, fuel: &Fuel) -> Result<(), Problem> {
        fuel.text(self.text.len() + text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push(&mut self, value: &Value, fuel: &Fuel) -> Result<(), Problem> {
        match value {
            Value::Text(text) => self.push_str(text, fuel),
            Value::Secret(secret) => {
                fuel.items(self.secrets.len() + secret.pieces.len())?;
                for piece in secret.pieces.iter() {
                    match piece {
                        Piece::Plain(plain) => self.push_str(plain, fuel)?,
                        handle @ (Piece::Handle(_) | Piece::Encoded(_)) => {
                            self.end_plain();
                            self.secrets.push(handle.clone());
                        }
                    }
                }
                Ok(())
            }
            Value::Absent(why) => Err(Problem::absent(why)),
            Value::List(_) => Err(Problem::wrong("put a list into a text")
                .hint("`| join(\", \")` or `| json` makes a text of it")),
            Value::Map(_) => {
                Err(Problem::wrong("put a map into a text").hint("`| json` makes a text of it"))
            }
            Value::Null => Err(Problem::wrong("put null into a text")
                .hint("say what to write instead: `x if x != null else \"none\"`")),
            Value::Unknown(_) => Err(Problem::wrong(
                "put a value that is not known yet into a text",
            )),
            scalar => {
                let text = scalar
                    .to_text()
                    .map_err(|error| Problem::wrong(error.to_string()))?;
                self.push_str(&text, fuel)
            }
        }
    }

    pub(super) fn finish(mut self) -> Value {
        if self.secrets.is_empty() {
            return Value::text(self.text);
        }
        self.end_plain();
        Value::Secret(Secret {
            pieces: std::sync::Arc::new(self.secrets),
        })
    }

    fn end_plain(&mut self) {
        if !self.text.is_empty() {
            self.secrets
                .push(Piece::Plain(std::mem::take(&mut self.text)));
        }
    }
}

fn arithmetic(
    operator: Operator,
    left: &Value,
    right: &Value,
    fuel: &Fuel,
) -> Result<Value, Problem> {
    let result = match (left, right) {
        (Value::Int(l), Value::Int(r)) => integers(operator, *l, *r),
        (Value::Int(_) | Value::Number(_), Value::Int(_) | Value::Number(_)) => {
            floats(operator, float(left), float(right))
        }
        (Value::Bytes(l), Value::Bytes(r)) => units(operator, l.0.into(), r.0.into(), bytes),
        (Value::Duration(l), Value::Duration(r)) => {
            units(operator, l.milliseconds.into(), r.milliseconds.into(), span)
        }
        (Value::Bytes(l), number @ (Value::Int(_) | Value::Number(_))) => {
            scaled(operator, l.0.into(), number, bytes)
        }
        (Value::Duration(l), number @ (Value::Int(_) | Value::Number(_))) => {
            scaled(operator, l.milliseconds.into(), number, span)
        }
        (number @ (Value::Int(_) | Value::Number(_)), Value::Bytes(r))
            if operator == Operator::Multiply =>
        {
            scaled(operator, r.0.into(), number, bytes)
        }
        (number @ (Value::Int(_) | Value::Number(_)), Value::Duration(r))
            if operator == Operator::Multiply =>
        {
            scaled(operator, r.milliseconds.into(), number, span)
        }
        (Value::Time(l), Value::Time(r)) if operator == Operator::Subtract => {
            span(i128::from(l.milliseconds) - i128::from(r.milliseconds))
        }
        (Value::Time(l), Value::Duration(r)) => match operator {
            Operator::Add => time(l, i128::from(l.milliseconds) + i128::from(r.milliseconds)),
            Operator::Subtract => time(l, i128::from(l.milliseconds) - i128::from(r.milliseconds)),
            _ => Err(Fault::Operator),
        },
        (Value::Duration(l), Value::Time(r)) if operator == Operator::Add => {
            time(r, i128::from(l.milliseconds) + i128::from(r.milliseconds))
        }
        (Value::List(l), Value::List(r)) if operator == Operator::Add => {
            fuel.items(l.len() + r.len())?;
            Ok(Value::list(l.iter().chain(r.iter()).cloned().collect()))
        }
        _ => Err(Fault::Operator),
    };
    result.map_err(|fault| fault.problem(operator, left, right))
}

/// Why two values can't be calculated with, before it is said with them.
enum Fault {
    Operator,
    Zero,
    TooLarge,
    Negative,
}

impl Fault {
    fn problem(self, operator: Operator, left: &Value, right: &Value) -> Problem {
        let symbol = operator.symbol();
        let what = format!("calculate {} {symbol} {}", shown(left), shown(right));
        match self {
            Fault::Zero => Problem::wrong(format!("{what}: a division by zero")),
            Fault::TooLarge => Problem::wrong(format!("{what}: the result is too large")),
            Fault::Negative => Problem::wrong(format!("{what}: a size can't be negative"))
                .hint("compare the two sizes, or take `| count` of each first"),
            Fault::Operator => match (left, right) {
                (Value::Text(_), _) | (_, Value::Text(_)) if operator == Operator::Add => {
                    Problem::wrong(what).hint("`~` joins texts; `| int` makes a number of one")
                }
                _ if same_kind(left, right) => {
                    Problem::wrong(format!("{what}: {} values have no `{symbol}`", left.kind()))
                }
                _ if matches!(operator, Operator::Add | Operator::Subtract) => {
                    different_kinds("calculate", symbol, left, right)
                }
                _ => Problem::wrong(format!("{what}: these kinds have no `{symbol}`")),
            },
        }
    }
}

fn different_kinds(verb: &str, between: &str, left: &Value, right: &Value) -> Problem {
    let problem = Problem::wrong(format!(
        "{verb} {} {between} {}: they are different kinds",
        shown(left),
        shown(right)
    ));
    match (left, right) {
        (Value::Absent(why), _) | (_, Value::Absent(why)) => Problem::absent(why),
        (Value::Text(_), other) | (other, Value::Text(_)) => match conversion(other) {
            Some(hint) => problem.hint(format!("{hint} makes one of the text")),
            None => problem,
        },
        (Value::Bytes(_), Value::Int(_) | Value::Number(_))
        | (Value::Int(_) | Value::Number(_), Value::Bytes(_)) => problem.hint(
            "write the size as `bytes(\"100MiB\")`, or take the number of bytes with `| count`",
        ),
        (Value::Duration(_), Value::Int(_) | Value::Number(_))
        | (Value::Int(_) | Value::Number(_), Value::Duration(_)) => problem
            .hint("write the span as `duration(\"90s\")`, or take its seconds with `| seconds`"),
        _ => problem,
    }
}

fn conversion(to: &Value) -> Option<&'static str> {
    Some(match to {
        Value::Int(_) => "`| int`",
        Value::Number(_) => "`| number`",
        Value::Bytes(_) => "`bytes(x)`",
        Value::Duration(_) => "`duration(x)`",
        Value::Time(_) => "`time(x)`",
        _ => return None,
    })
}

fn integers(operator: Operator, left: i64, right: i64) -> Result<Value, Fault> {
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => return floats(operator, left as f64, right as f64),
        _ if right == 0 => return Err(Fault::Zero),
        // Both round down, so that `(a // b) * b + a % b == a` with a remainder of the sign of `b`.
        Operator::DivideWhole => left.checked_div(right).map(|quotient| {
            let inexact = left % right != 0;
            quotient - i64::from(inexact && (left < 0) != (right < 0))
        }),
        Operator::Remainder => left.checked_rem(right).map(|rest| {
            if rest != 0 && (rest < 0) != (right < 0) {
                rest + right
            } else {
                rest
            }
        }),
        _ => return Err(Fault::Operator),
    };
    result.map(Value::Int).ok_or(Fault::TooLarge)
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Int(whole) => *whole as f64,
        Value::Number(number) => *number,
        _ => f64::NAN,
    }
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<Value, Fault> {
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide if right == 0.0 => return Err(Fault::Zero),
        Operator::Divide => left / right,
        _ => return Err(Fault::Operator),
    };
    finite(result)
}

pub(super) fn finite_number(number: f64) -> Option<Value> {
    // `-0` reads like a mistake.
    let number = if number == 0.0 { 0.0 } else { number };
    number.is_finite().then_some(Value::Number(number))
}

fn finite(number: f64) -> Result<Value, Fault> {
    finite_number(number).ok_or(Fault::TooLarge)
}

fn bytes(count: i128) -> Result<Value, Fault> {
    if count < 0 {
        return Err(Fault::Negative);
    }
    let count = u64::try_from(count).map_err(|_| Fault::TooLarge)?;
    Ok(Value::Bytes(Bytes(count)))
}

fn span(milliseconds: i128) -> Result<Value, Fault> {
    let milliseconds = i64::try_from(milliseconds).map_err(|_| Fault::TooLarge)?;
    Ok(Value::Duration(Span { milliseconds }))
}

fn time(like: &Time, milliseconds: i128) -> Result<Value, Fault> {
    let milliseconds = i64::try_from(milliseconds).map_err(|_| Fault::TooLarge)?;
    super::functions::in_calendar(milliseconds).ok_or(Fault::TooLarge)?;
    Ok(Value::Time(Time {
        milliseconds,
        offset: like.offset,
    }))
}

/// Calculates with two counts of one unit.
fn units(
    operator: Operator,
    left: i128,
    right: i128,
    make: fn(i128) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    match operator {
        Operator::Add => make(left + right),
        Operator::Subtract => make(left - right),
        Operator::Divide => floats(operator, left as f64, right as f64),
        _ => Err(Fault::Operator),
    }
}

/// Multiplies or divides a count of a unit by a number.
fn scaled(
    operator: Operator,
    count: i128,
    number: &Value,
    make: fn(i128) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    match (operator, number) {
        (Operator::Multiply, Value::Int(factor)) => make(count * i128::from(*factor)),
        (Operator::Multiply | Operator::Divide, _) => {
            let result = floats(operator, count as f64, float(number))?;
            // Larger than any unit holds: the cast saturates and `make` refuses it.
            make(float(&result).round() as i128)
        }
        _ => Err(Fault::Operator),
    }
}

/// Returns a number with its sign changed.
pub(super) fn negate(value: &Value) -> Result<Value, Problem> {
    let too_large = || Problem::wrong(format!("negate {}: the result is too large", shown(value)));
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(too_large),
        Value::Number(number) => finite_number(-number).ok_or_else(too_large),
        Value::Duration(length) => {
            let milliseconds = length.milliseconds.checked_neg().ok_or_else(too_large)?;
            Ok(Value::Duration(Span { milliseconds }))
        }
        Value::Secret(_) => Err(Problem::secret("`-`")),
        other => Err(Problem::wrong(format!(
            "negate {}: only numbers and durations can be negative",
            shown(other)
        ))),
    }
}
