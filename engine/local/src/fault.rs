//! Fault points: where the tests of the whole program kill it, once for each passing.
//!
//! A release build has none of this: passing a point is nothing there, and no variable is read.

/// A place in the life of a run at which a sudden end must lose nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A new run has its folder and its lock, and is not in the journal yet.
    Begun,
    /// A run that goes on has its lock again, and nothing says so yet.
    Reopened,
    /// A playbook's text, or a content that an undo needs, is written and has no name yet.
    KeepWritten,
    /// It has its name.
    Kept,
    /// Events are about to be appended.
    AppendBefore,
    /// They are in a transaction that is not committed.
    AppendOpen,
    /// They are committed and not synced.
    Committed,
    /// They are synced.
    Synced,
    /// An intention is synced, and its step has not begun to act.
    PerformBefore,
    /// A step has acted, and nothing says so yet.
    PerformAfter,
    /// An undo's intention is synced, and it has not begun to act.
    UndoBefore,
    /// An undo has acted, and nothing says so yet.
    UndoAfter,
    /// The run's end, or its stop, is known and not written.
    EndBefore,
    /// It is written, and nobody was told.
    EndWritten,
    /// A lock is about to be given back.
    Release,
}

impl Point {
    /// All points.
    pub const ALL: [Point; 15] = [
        Point::Begun,
        Point::Reopened,
        Point::KeepWritten,
        Point::Kept,
        Point::AppendBefore,
        Point::AppendOpen,
        Point::Committed,
        Point::Synced,
        Point::PerformBefore,
        Point::PerformAfter,
        Point::UndoBefore,
        Point::UndoAfter,
        Point::EndBefore,
        Point::EndWritten,
        Point::Release,
    ];

    /// Returns the name by which it is armed.
    pub fn name(self) -> &'static str {
        match self {
            Point::Begun => "begun",
            Point::Reopened => "reopened",
            Point::KeepWritten => "keep-written",
            Point::Kept => "kept",
            Point::AppendBefore => "append-before",
            Point::AppendOpen => "append-open",
            Point::Committed => "committed",
            Point::Synced => "synced",
            Point::PerformBefore => "perform-before",
            Point::PerformAfter => "perform-after",
            Point::UndoBefore => "undo-before",
            Point::UndoAfter => "undo-after",
            Point::EndBefore => "end-before",
            Point::EndWritten => "end-written",
            Point::Release => "release",
        }
    }
}

/// Passes a point: the end of the process where that was asked for.
#[inline]
pub(crate) fn pass(point: Point) {
    #[cfg(debug_assertions)]
    armed::pass(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(debug_assertions)]
pub use self::armed::arm;

#[cfg(debug_assertions)]
mod armed {
    use std::{
        fs::{File, OpenOptions},
        io::Write,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    /// What is done at the points; nothing where it was never set.
    static FAULT: OnceLock<Fault> = OnceLock::new();

    /// What is done at the points.
    enum Fault {
        /// Each passing is noted in a file, a name a line.
        Count(File),
        /// The process kills itself at one passing of one point.
        Kill { point: Point, left: AtomicU64 },
    }

    /// Arms this process: `POINT:N` kills it at the N-th passing of a point, `count:FILE` notes every passing.
    ///
    /// # Errors
    ///
    /// When `text` is neither, or the file can't be opened.
    pub fn arm(text: &str) -> Result<(), String> {
        let fault = read(text).ok_or_else(|| format!("read the fault `{text}`"))?;
        FAULT
            .set(fault)
            .map_err(|_| format!("arm `{text}`: a fault is armed already"))
    }

    fn read(text: &str) -> Option<Fault> {
        let (word, rest) = text.split_once(':')?;
        if word == "count" {
            let file = OpenOptions::new().create(true).append(true).open(rest);
            return file.ok().map(Fault::Count);
        }
        let point = Point::ALL.into_iter().find(|point| point.name() == word)?;
        let left = rest.parse().ok().filter(|nth| *nth > 0)?;
        Some(Fault::Kill {
            point,
            left: AtomicU64::new(left),
        })
    }

    pub(super) fn pass(point: Point) {
        match FAULT.get() {
            Some(Fault::Count(file)) => {
                let line = format!("{}\n", point.name());
                (&*file).write_all(line.as_bytes()).expect("the count");
            }
            // The one that takes the last passing away: the counter wraps only after 2^64 more.
            Some(Fault::Kill { point: at, left })
                if *at == point && left.fetch_sub(1, Ordering::Relaxed) == 1 =>
            {
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(!names.contains(&"count"));
    }

    #[cfg(debug_assertions)]
    #[test]
    fn what_is_no_fault_is_refused() {
        for text in ["", "begun", "begun:", "begun:0", "begun:x", "nowhere:1"] {
            assert!(arm(text).is_err(), "{text}");
        }
    }
}
