//! The words for states, severities and lengths of time: the same ones in every reporter for people.

use runwright_core::{event::StepState, plan::Severity, units::Time};

use crate::paint::Tone;

/// A word that marks a line, with how it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub word: &'static str,
    pub tone: Tone,
}

impl Mark {
    pub(crate) const fn new(word: &'static str, tone: Tone) -> Mark {
        Mark { word, tone }
    }

    /// Returns the mark of a step that stands like this; what went wrong is in capitals.
    pub(crate) fn of(state: StepState) -> Mark {
        match state {
            StepState::Pending => Mark::new("pending", Tone::Quiet),
            StepState::Skipped => Mark::new("skipped", Tone::Quiet),
            StepState::Already => Mark::new("already", Tone::Good),
            StepState::Running => Mark::new("running", Tone::Plain),
            StepState::InDoubt => Mark::new("IN DOUBT", Tone::Warning),
            StepState::Ok => Mark::new("ok", Tone::Good),
            StepState::Changed => Mark::new("changed", Tone::Change),
            StepState::Failed => Mark::new("FAILED", Tone::Bad),
            StepState::Refused => Mark::new("REFUSED", Tone::Bad),
            StepState::Undone => Mark::new("undone", Tone::Change),
            StepState::UndoFailed => Mark::new("DIRTY", Tone::Bad),
        }
    }

    /// Returns the mark of a finding.
    pub(crate) fn of_finding(severity: Severity) -> Mark {
        match severity {
            Severity::Info => Mark::new("info", Tone::Plain),
            Severity::Warning => Mark::new("warning", Tone::Warning),
            Severity::Critical => Mark::new("CRITICAL", Tone::Bad),
        }
    }
}

/// Returns `count` things in words: `1 step`, `23 steps`.
pub(crate) fn count(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Returns `word` as a shell takes it for one: an address may hold brackets.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./%:@=".contains(char);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns how long something took, as exact as people want it: `0.4 s`, `12 s`, `3m 20s`, `2h 5m`.
pub(crate) fn took(milliseconds: i64) -> String {
    let tenths = milliseconds.max(0) / 100;
    let seconds = tenths / 10;
    match seconds {
        0..10 => format!("{seconds}.{} s", tenths % 10),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Returns the time of day in the time's own offset: `14:03:59`.
pub(crate) fn clock(time: Time) -> String {
    let seconds = (time.milliseconds.div_euclid(1_000) + i64::from(time.offset)).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_exact_as_people_want_them() {
        for (milliseconds, text) in [
            (-5, "0.0 s"),
            (432, "0.4 s"),
            (9_999, "9.9 s"),
            (59_999, "59 s"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
        ] {
            assert_eq!(took(milliseconds), text);
        }
    }

    #[test]
    fn the_clock_shows_the_offset_that_the_time_was_written_in() {
        for (time, text) in [
            ("2026-11-20T23:30:05+08:00", "23:30:05"),
            ("1969-12-31T23:59:58Z", "23:59:58"),
        ] {
            assert_eq!(clock(time.parse().expect(time)), text);
        }
    }
}
