//! Sizes, spans and times as playbooks write them.
//!
//! `Bytes` is a count of bytes (`100MiB`, `1.5GB`, `512B`), `Span` a length of time in milliseconds (`90s`, `1h 30m`,
//! `7d`), `Time` an instant in milliseconds since 1970 with the offset it was written in (RFC 3339). As kind arguments
//! they are read from text as well as from values of the language.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr, time::Duration};

use jiff::{Timestamp, tz::Offset};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A length of time, in milliseconds; may be negative as a difference of two times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The length in milliseconds.
    pub milliseconds: i64,
}

/// An instant, in milliseconds since 1970-01-01T00:00:00Z, and the offset from UTC it is shown in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    /// Milliseconds since 1970, UTC.
    pub milliseconds: i64,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// A file mode, written as text of octal digits (`"0640"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

const SIZES: [(&str, u64); 11] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let wrong = || {
            UnitError(format!(
                "`{text}` is no size; write it like `512B`, `100MiB` or `1.5GB`"
            ))
        };
        let (number, unit) = SIZES
            .iter()
            .find_map(|(unit, factor)| Some((text.trim().strip_suffix(unit)?, *factor)))
            .ok_or_else(wrong)?;
        let number = number.trim();
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Bytes).ok_or_else(wrong);
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * unit as f64;
        if number.is_finite() && (0.0..u64::MAX as f64).contains(&bytes) {
            Ok(Bytes(bytes.round() as u64))
        } else {
            Err(wrong())
        }
    }
}

/// Whole when it is whole (`100MiB`), else with one digit (`151.1MiB`): for people, not for reading back.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZES[..5]
            .iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor);
        match unit {
            None => write!(f, "{}B", self.0),
            Some((unit, factor)) if self.0.is_multiple_of(*factor) => {
                write!(f, "{}{unit}", self.0 / factor)
            }
            Some((unit, factor)) => write!(f, "{:.1}{unit}", self.0 as f64 / *factor as f64),
        }
    }
}

const SPANS: [(&str, i64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

impl Span {
    /// Returns a span of `seconds`.
    pub const fn from_seconds(seconds: i64) -> Span {
        Span {
            milliseconds: seconds.saturating_mul(1_000),
        }
    }

    /// Returns a span of `milliseconds`.
    pub const fn from_milliseconds(milliseconds: i64) -> Span {
        Span { milliseconds }
    }

    /// Returns the length in seconds.
    pub fn seconds(self) -> f64 {
        self.milliseconds as f64 / 1_000.0
    }

    /// Returns the length for the standard library; a negative one is zero.
    pub fn to_std(self) -> Duration {
        Duration::from_millis(u64::try_from(self.milliseconds).unwrap_or(0))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span {
            milliseconds: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let wrong = || {
            UnitError(format!(
                "`{text}` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`"
            ))
        };
        let (negative, mut rest) = match text.trim().strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.trim()),
        };
        if rest == "0" {
            return Ok(Span::default());
        }
        let mut total = 0.0_f64;
        let mut any = false;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !(c.is_ascii_digit() || c == '.'))
                .ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| !c.is_ascii_lowercase())
                .unwrap_or(rest.len());
            let (_, factor) = SPANS
                .iter()
                .find(|(unit, _)| *unit == &rest[..letters])
                .ok_or_else(wrong)?;
            total += number * *factor as f64;
            rest = rest[letters..].trim_start();
            any = true;
        }
        if !any || total > 1e17 {
            return Err(wrong());
        }
        let milliseconds = total.round() as i64;
        Ok(Span {
            milliseconds: if negative {
                -milliseconds
            } else {
                milliseconds
            },
        })
    }
}

/// Exact to the millisecond (`90s` is `1m 30s`): it reads back as the same span.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milliseconds == 0 {
            return f.write_str("0s");
        }
        if self.milliseconds < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.milliseconds.unsigned_abs();
        let mut first = true;
        for (unit, factor) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ] {
            // Below three days people count hours.
            let few_days = unit == "d" && rest < 3 * factor;
            let count = rest / factor;
            if count == 0 || few_days {
                continue;
            }
            rest %= factor;
            if !first {
                f.write_str(" ")?;
            }
            first = false;
            write!(f, "{count}{unit}")?;
        }
        Ok(())
    }
}

impl Time {
    /// Returns the instant `milliseconds` after 1970, shown in UTC.
    pub const fn from_milliseconds(milliseconds: i64) -> Time {
        Time {
            milliseconds,
            offset: 0,
        }
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Time) -> bool {
        self.milliseconds == other.milliseconds
    }
}

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Time) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Time) -> std::cmp::Ordering {
        self.milliseconds.cmp(&other.milliseconds)
    }
}

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Time, UnitError> {
        let wrong = || {
            UnitError(format!(
                "`{text}` is no time; write it with its offset, like `2026-11-20T14:30:00+08:00`"
            ))
        };
        let pieces = jiff::fmt::temporal::DateTimeParser::new()
            .parse_pieces(text)
            .map_err(|_| wrong())?;
        let offset = match pieces.offset().ok_or_else(wrong)? {
            jiff::fmt::temporal::PiecesOffset::Numeric(numeric) => numeric.offset(),
            _ => Offset::UTC,
        };
        let timestamp: Timestamp = text.parse().map_err(|_| wrong())?;
        Ok(Time {
            milliseconds: timestamp.as_millisecond(),
            offset: offset.seconds(),
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(timestamp) = Timestamp::from_millisecond(self.milliseconds) else {
            return write!(f, "{}ms", self.milliseconds);
        };
        if self.offset == 0 {
            return write!(f, "{timestamp}");
        }
        let offset = Offset::from_seconds(self.offset).unwrap_or(Offset::UTC);
        write!(f, "{}", timestamp.display_with_offset(offset))
    }
}

impl FromStr for Mode {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Mode, UnitError> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 && (3..=5).contains(&text.len()) => Ok(Mode(mode)),
            _ => Err(UnitError(format!(
                "`{text}` is no file mode; write it as quoted octal digits, like `\"0640\"`"
            ))),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A unit's two forms in JSON: text that people write, and the one-key map of a stored value (`{"$bytes": 1024}`).
trait Unit: FromStr<Err = UnitError> {
    const TAG: &'static str;
    const WHAT: &'static str;
    fn stored(&self) -> serde_json::Value;
    fn from_stored(stored: &serde_json::Value) -> Option<Self>;
}

impl Unit for Bytes {
    const TAG: &'static str = "$bytes";
    const WHAT: &'static str = "a size like `100MiB`";

    fn stored(&self) -> serde_json::Value {
        self.0.into()
    }

    fn from_stored(stored: &serde_json::Value) -> Option<Bytes> {
        stored.as_u64().map(Bytes)
    }
}

impl Unit for Span {
    const TAG: &'static str = "$duration";
    const WHAT: &'static str = "a duration like `90s`";

    fn stored(&self) -> serde_json::Value {
        self.to_string().into()
    }

    fn from_stored(stored: &serde_json::Value) -> Option<Span> {
        stored.as_str()?.parse().ok()
    }
}

impl Unit for Time {
    const TAG: &'static str = "$time";
    const WHAT: &'static str = "a time like `2026-11-20T14:30:00+08:00`";

    fn stored(&self) -> serde_json::Value {
        self.to_string().into()
    }

    fn from_stored(stored: &serde_json::Value) -> Option<Time> {
        stored.as_str()?.parse().ok()
    }
}

struct UnitVisitor<U>(PhantomData<U>);

impl<'de, U: Unit> Visitor<'de> for UnitVisitor<U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(U::WHAT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<U, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<U, A::Error> {
        match map.next_entry::<String, serde_json::Value>()? {
            Some((tag, inner)) if tag == U::TAG => U::from_stored(&inner),
            _ => None,
        }
        .ok_or_else(|| de::Error::custom(format_args!("expected {}", U::WHAT)))
    }
}

/// Hands serde and schemars what [`Unit`] says.
macro_rules! unit {
    ($unit:ident, $format:literal, $pattern:literal) => {
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry($unit::TAG, &self.stored())?;
                map.end()
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$unit, D::Error> {
                deserializer.deserialize_any(UnitVisitor(PhantomData))
            }
        }

        text_schema!($unit, $format, $pattern);
    };
}

/// The schema of a type that is written as text of one form; `format` is what the language's own check reads.
macro_rules! text_schema {
    ($type:ident, $format:literal, $pattern:literal) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}

unit!(Bytes, "bytes", "^[0-9.]+ ?([KMGTP]i?B|kB|B)$");
unit!(Span, "duration", "^-?([0-9.]+(ms|s|m|h|d|w) ?)+$|^0$");
unit!(
    Time,
    "timestamp",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*([Zz]|[+-][0-9:]{2,8})$"
);
text_schema!(Mode, "mode", "^[0-7]{3,5}$");

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mode, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write() {
        for (text, bytes, shown) in [
            ("100MiB", 100 << 20, "100MiB"),
            ("1.5KiB", 1536, "1.5KiB"),
            ("2 GB", 2_000_000_000, "1.9GiB"),
            ("0B", 0, "0B"),
        ] {
            let size: Bytes = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
        for wrong in ["100", "", "MiB", "-1B", "1e400GB", "5 apples"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_read_back_as_they_are_written() {
        for (text, milliseconds, shown) in [
            ("90s", 90_000, "1m 30s"),
            ("24h", 86_400_000, "24h"),
            ("7d", 604_800_000, "7d"),
            ("1h30m", 5_400_000, "1h 30m"),
            ("250ms", 250, "250ms"),
            ("-5m", -300_000, "-5m"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(
                (span.milliseconds, span.to_string().as_str()),
                (milliseconds, shown)
            );
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        for wrong in ["", "5", "ten", "5 minutes", "s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_needs_its_offset_and_keeps_it() {
        let time: Time = "2026-11-20T14:30:00+08:00".parse().expect("a time");
        assert_eq!(time, "2026-11-20T06:30:00Z".parse().expect("a time"));
        assert_eq!(time.to_string(), "2026-11-20T14:30:00+08:00");
        assert!("2026-11-20 14:30:00".parse::<Time>().is_err());
        assert!("yesterday".parse::<Time>().is_err());
    }
}
