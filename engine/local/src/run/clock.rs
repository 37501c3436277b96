//! The time of events: wall clock at the start, monotonic clock from there on, so that it never goes back.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use runwright_core::units::{Span, Time};

/// What time it is, in milliseconds since 1970.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    milliseconds: AtomicI64,
    offset: i32,
}

impl Clock {
    /// Returns a clock that shows times with the offset of the machine's own zone.
    pub fn system() -> Clock {
        Clock::ahead_by(Span::default())
    }

    /// Returns a clock that is ahead of the machine's: what happens days later can be tried out today.
    pub fn ahead_by(ahead: Span) -> Clock {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Clock {
            started: Instant::now(),
            milliseconds: AtomicI64::new(milliseconds.saturating_add(ahead.milliseconds)),
            offset: 0,
        }
    }

    /// Returns the time now.
    pub fn now(&self) -> Time {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let milliseconds = self
            .milliseconds
            .load(Ordering::Relaxed)
            .saturating_add(passed);
        Time {
            milliseconds,
            offset: self.offset,
        }
    }

    /// Moves the clock on, so that it is not before `time`: a run's time never goes back, whatever the machine's does.
    pub fn not_before(&self, time: Time) {
        let behind = time.milliseconds - self.now().milliseconds;
        if behind > 0 {
            self.milliseconds.fetch_add(behind, Ordering::Relaxed);
        }
    }
}
