//! Reads what the kernel tells in `/proc`.

use std::fs;

use runwright_core::kind::Failure;
use schemars::JsonSchema;
use serde::Serialize;

/// How much work was held up by waiting for a resource: the kernel's pressure stall information.
///
/// Source: Linux `Documentation/accounting/psi.rst`, the line `some`.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Pressure {
    /// Percent of the last 10 seconds in which at least one task waited.
    avg10: f64,
    /// Percent of the last 60 seconds in which at least one task waited.
    avg60: f64,
}

/// Returns the text of a file that every Linux has.
pub(super) fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::internal(format!("read `{path}`"))
            .because(&error)
            .hint("the `system` kinds ask the Linux kernel; is `/proc` mounted?")
    })
}

/// Returns a failure that says that the kernel's `path` reads otherwise than it is documented to.
pub(super) fn odd(path: &str, what: &str) -> Failure {
    Failure::internal(format!("find {what} in `{path}`"))
}

/// Returns the pressure on `resource` (`cpu`, `memory`, `io`); none where the kernel doesn't measure it.
pub(super) fn pressure(resource: &str) -> Option<Pressure> {
    parse_pressure(&fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?)
}

fn parse_pressure(text: &str) -> Option<Pressure> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = |name: &str| {
        some.split_whitespace()
            .find_map(|field| field.strip_prefix(name)?.parse().ok())
    };
    Some(Pressure {
        avg10: average("avg10=")?,
        avg60: average("avg60=")?,
    })
}

/// Returns `part` of `whole` in percent, to two digits; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => round(part as f64 * 100.0 / whole as f64),
    }
}

/// Returns `number` to two digits: more would only be noise in a message.
pub(super) fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_the_line_some() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12\nfull avg10=9.00 avg60=9.00 avg300=9.00 total=0\n";
        assert_eq!(
            parse_pressure(text),
            Some(Pressure {
                avg10: 1.5,
                avg60: 0.25
            })
        );
        assert_eq!(parse_pressure(""), None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read("/proc/no such file").expect_err("no such file");
        assert_eq!(failure.message, "read `/proc/no such file`");
        assert!(failure.hint.is_some());
    }
}
