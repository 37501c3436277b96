//! What a plain scalar means.

/// What a scalar means, by YAML 1.2's core schema.
///
/// Stricter than it where it surprises: a decimal number with a leading zero, and `.inf` and `.nan`, are text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number: `10`, `-1`, `0x1f`, `0o17`.
    Int(i64),
    /// A number with a fraction or an exponent; always finite.
    Number(f64),
    /// Anything else.
    Text(&'a str),
}

impl Scalar<'_> {
    /// Returns what `text` means without quotes. A whole number beyond 64 bits is text: the parser reports it.
    pub(super) fn of_plain(text: &str) -> Scalar<'_> {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
            "true" | "True" | "TRUE" => return Scalar::Bool(true),
            "false" | "False" | "FALSE" => return Scalar::Bool(false),
            _ => {}
        }
        if let Some((digits, radix)) = in_other_radix(text) {
            return i64::from_str_radix(digits, radix).map_or(Scalar::Text(text), Scalar::Int);
        }
        if is_whole(text) {
            return text.parse().map_or(Scalar::Text(text), Scalar::Int);
        }
        if is_fraction(text)
            && let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            return Scalar::Number(number);
        }
        Scalar::Text(text)
    }
}

/// Returns whether a plain scalar is a whole number that does not fit.
pub(super) fn is_too_big(text: &str) -> bool {
    let is_number = is_whole(text) || in_other_radix(text).is_some();
    is_number && matches!(Scalar::of_plain(text), Scalar::Text(_))
}

fn in_other_radix(text: &str) -> Option<(&str, u32)> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text.strip_prefix("0o")?, 8),
    };
    let fits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    fits.then_some((digits, radix))
}

fn is_whole(text: &str) -> bool {
    let digits = unsigned(text);
    is_digits(digits) && (digits.len() == 1 || !digits.starts_with('0'))
}

/// `1.5`, `1.`, `.5`, `1e3`, `1.5e-3`.
fn is_fraction(text: &str) -> bool {
    let (number, exponent) = match unsigned(text).split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned(text), None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole_fits =
        whole.is_empty() || is_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
    let fraction_fits = fraction.is_empty() || is_digits(fraction);
    let any = !whole.is_empty() || !fraction.is_empty();
    let exponent_fits = exponent.is_none_or(|exponent| is_digits(unsigned(exponent)));
    whole_fits && fraction_fits && any && exponent_fits
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_yaml_1_2_says_and_surprises_are_text() {
        for (text, meaning) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("True", Scalar::Bool(true)),
            ("10", Scalar::Int(10)),
            ("+1", Scalar::Int(1)),
            ("-0", Scalar::Int(0)),
            ("0x1F", Scalar::Int(31)),
            ("0o17", Scalar::Int(15)),
            ("-9223372036854775808", Scalar::Int(i64::MIN)),
            ("1.10", Scalar::Number(1.1)),
            (".5", Scalar::Number(0.5)),
            ("1.", Scalar::Number(1.0)),
            ("1e3", Scalar::Number(1000.0)),
            ("-0.5E-1", Scalar::Number(-0.05)),
        ] {
            assert_eq!(Scalar::of_plain(text), meaning, "{text}");
        }
        for text in [
            "no",
            "on",
            "yes",
            "y",
            "tRUE",
            "0777",
            "010",
            "-01",
            "1_000",
            "1e999",
            ".inf",
            "-.INF",
            ".nan",
            "inf",
            "NaN",
            ".",
            "-",
            "e3",
            "1e",
            "1.5.2",
            "0x",
            "0xg",
            "0b11",
            "-0x1",
            "12:30",
            "1 ",
            "2026-11-20",
            "00.5",
            "9223372036854775808",
        ] {
            assert_eq!(Scalar::of_plain(text), Scalar::Text(text), "{text}");
        }
    }

    #[test]
    fn only_whole_numbers_are_too_big() {
        for (text, big) in [
            ("9223372036854775807", false),
            ("9223372036854775808", true),
            ("-9223372036854775809", true),
            ("0xffffffffffffffff", true),
            ("99999999999999999999.5", false),
            ("09999999999999999999999", false),
        ] {
            assert_eq!(is_too_big(text), big, "{text}");
        }
    }
}
