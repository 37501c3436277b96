//! The reporters of Runwright: events become text for people ([`Tty`], [`Plain`]) or lines for programs ([`Json`]).
//!
//! Live output and the later account of a run are the same code: what stays to be read knows no clock but the events'
//! own. None of them ever holds up, fails or ends a run: each writes on a thread
//! of its own, and goes silent when nobody reads any more. Deliberately not here: questions to people, which the
//! `Asker` puts on the terminal between `pause` and `go_on`, and the exit code, which comes from the `Summary`.

mod json;
mod plain;
pub mod plan;
mod tty;

mod book;
mod line;
mod summary;

mod clean;
mod paint;
mod sink;
mod tail;
mod words;

#[cfg(test)]
mod testing;

pub use self::{
    json::{Json, output_schema},
    plain::Plain,
    tty::Tty,
};
