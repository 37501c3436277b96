//! What others ask of a run: approve, deny, cancel. Its holder takes each in as an event, in order of arrival.

use rusqlite::params;
use serde::Serialize;

use super::{Journal, JournalError, RunWriter, Sync};

/// A message that is to be sent to a run.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who sends it.
    pub sender: &'a str,
    /// JSON text.
    pub data: &'a str,
}

/// A message that waits for a run's holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What [`Row::Taken`](super::Row::Taken) names.
    pub id: i64,
    /// When it was sent: milliseconds since 1970.
    pub at: i64,
    /// Who sent it.
    pub sender: String,
    /// JSON text.
    pub data: String,
}

impl Journal {
    /// Puts `message` into the inbox of `run`, synced, and returns its id.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRun`] when the journal knows no such run.
    pub fn send(&self, run: &str, message: &NewMessage<'_>) -> Result<i64, JournalError> {
        let sent = self
            .store()
            .write("send a message through", Sync::Yes, |connection| {
                let rows = connection
                    .prepare_cached(
                        "INSERT INTO inbox (run, at, sender, data)
                     SELECT run, ?2, ?3, ?4 FROM begun WHERE run = ?1",
                    )?
                    .execute(params![run, message.at, message.sender, message.data])?;
                Ok((rows == 1).then(|| connection.last_insert_rowid()))
            })?;
        sent.ok_or_else(|| JournalError::NoRun {
            run: run.to_owned(),
        })
    }
}

impl Journal {
    /// Returns the number of the event that the message with this id became; none as long as it waits.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn taken(&self, message: i64) -> Result<Option<u64>, JournalError> {
        self.store().read("look for a message in", |connection| {
            connection
                .prepare_cached("SELECT taken FROM inbox WHERE id = ?1")?
                .query_row([message], |row| row.get::<_, Option<i64>>(0))
                .map(|taken| taken.and_then(|seq| u64::try_from(seq).ok()))
        })
    }
}

impl RunWriter {
    /// Returns the messages that wait, in order of arrival.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn inbox(&self) -> Result<Vec<Message>, JournalError> {
        self.journal().store().read("read the inbox in", |connection| {
            connection
                .prepare_cached(
                    "SELECT id, at, sender, data FROM inbox WHERE run = ?1 AND taken IS NULL ORDER BY id",
                )?
                .query_map([self.run()], |row| {
                    Ok(Message {
                        id: row.get(0)?,
                        at: row.get(1)?,
                        sender: row.get(2)?,
                        data: row.get(3)?,
                    })
                })?
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Row, testing::*};
    use super::*;

    fn message(data: &str) -> NewMessage<'_> {
        NewMessage {
            at: 5,
            sender: "ann",
            data,
        }
    }

    #[test]
    fn messages_arrive_in_order_and_are_taken_in_with_the_event_they_become() {
        let bench = Bench::new();
        let mut writer = bench.begin(RUN_A);
        let first = bench.journal.send(RUN_A, &message("1")).expect("a run");
        let second = bench.journal.send(RUN_A, &message("2")).expect("a run");
        let ids = |writer: &RunWriter| -> Vec<i64> {
            let waiting = writer.inbox().expect("an inbox");
            waiting.iter().map(|message| message.id).collect()
        };
        assert_eq!(ids(&writer), [first, second]);
        writer
            .append(&[event("approved")], &[Row::Taken(first)], Sync::Yes)
            .expect("it is appended");
        assert_eq!(ids(&writer), [second]);
        let taken = |id| bench.journal.taken(id).expect("it can be read");
        assert_eq!(
            (taken(first), taken(second)),
            (Some(writer.next() - 1), None)
        );
    }

    #[test]
    fn a_run_that_never_began_has_no_inbox() {
        let bench = Bench::new();
        let error = bench
            .journal
            .send(RUN_A, &message("1"))
            .expect_err("no run");
        assert!(matches!(error, JournalError::NoRun { .. }), "{error}");
    }
}
