//! What somebody else wishes of a run: an answer to one of its questions, or that it is cancelled.
//!
//! It lies in the journal's inbox until the process that holds the run takes it in: as an event of its own, which says
//! what came of it.

use runwright_core::{
    event::{Body, Reply, Stop},
    kind::Digest,
};
use serde::{Deserialize, Serialize};

use crate::journal::{Journal, JournalError, NewMessage};

/// A wish, on its way to the process that holds the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// An answer.
    Answer {
        /// The step's address.
        step: String,
        /// The question that was shown; an answer to any other comes to nothing.
        question: Digest,
        /// What is said.
        reply: Reply,
        /// Why, in the person's own words.
        reason: String,
    },
    /// The run is to stop.
    Stop {
        /// What becomes of it then.
        then: Stop,
        /// Why, in the person's own words.
        reason: String,
    },
}

impl Wish {
    /// Puts the wish into the inbox of `run`, synced; returns the message's id.
    ///
    /// `at` is in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// When the journal knows no such run or can't be written.
    pub fn send(
        &self,
        journal: &Journal,
        run: &str,
        by: &str,
        at: i64,
    ) -> Result<i64, JournalError> {
        let data = serde_json::to_string(self).expect("a wish has only text keys");
        let message = NewMessage {
            at,
            sender: by,
            data: &data,
        };
        journal.send(run, &message)
    }
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Nobody has taken it in yet.
    Waits,
    /// It was taken in: the event says what came of it ([`Body::Answered`], [`Body::Stopping`]; [`Body::Ignored`] where
    /// it came to nothing).
    Taken(Box<Body>),
}

/// Returns what came of the message with this id.
///
/// # Errors
///
/// When the journal can't be read.
pub fn fate(journal: &Journal, run: &str, message: i64) -> Result<Fate, super::RunError> {
    let Some(seq) = journal.taken(message)? else {
        return Ok(Fate::Waits);
    };
    let index = usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
    let event = super::events(journal, run)?.into_iter().nth(index);
    match event {
        Some(event) => Ok(Fate::Taken(Box::new(event.body))),
        None => Ok(Fate::Waits),
    }
}
