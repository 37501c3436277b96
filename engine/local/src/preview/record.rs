//! The one event that a preview leaves: who looked, at what, and what came of it.
//!
//! It is the only event of a record of its own, which stands among the runs in their order and in no list of them: its
//! chain, its proof, its export and its pruning are those of a run.

use runwright_core::{
    event::{Body, Previewed},
    preview::{Preview, Then},
    units::Time,
};

use crate::{
    journal::{Journal, JournalError, NewEvent, PREVIEWED, Row, RunRow, Sync},
    signature::SignKey,
};

/// Writes down that somebody has looked; signs it where heads are signed.
///
/// # Errors
///
/// When the journal refuses it; nothing rests on it.
pub fn record(
    journal: &Journal,
    previewed: &Previewed,
    at: Time,
    signer: Option<&SignKey>,
) -> Result<(), JournalError> {
    let body = Body::Previewed(Box::new(previewed.clone()));
    let mut writer = journal.begin(&previewed.begun.run)?;
    let event = NewEvent {
        at: at.milliseconds,
        kind: body.kind(),
        step: None,
        data: &body.data().to_string(),
    };
    writer.append(&[event], &[row(previewed, at)], Sync::No)?;
    match signer {
        Some(key) => writer.sign(key),
        None => Ok(()),
    }
}

/// Returns the row that follows from the event.
pub(crate) fn row(previewed: &Previewed, at: Time) -> Row {
    let begun = &previewed.begun;
    let id = format!("{}@{}", begun.playbook, begun.playbook_version);
    Row::Run(RunRow {
        playbook: begun.playbook.clone(),
        version: begun.playbook_version.clone(),
        digest: begun
            .texts
            .get(&id)
            .map(|digest| digest.0.clone())
            .unwrap_or_default(),
        path: begun.path.clone(),
        title: begun.title.clone(),
        user: begun.user.clone(),
        host: begun.host.clone(),
        state: PREVIEWED.to_owned(),
        outcome: None,
        exit_code: None,
        started_at: at.milliseconds,
        ended_at: Some(at.milliseconds),
    })
}

/// Returns in a line what the run would come to.
pub(super) fn found(preview: &Preview) -> String {
    let Some(stop) = &preview.head.stop else {
        return "nothing was found that would stop it".to_owned();
    };
    let place = match (stop.then, stop.step.as_str()) {
        (Then::Refused, _) | (_, "") => "it would be refused".to_owned(),
        (_, step) => format!("it would stop at `{step}`"),
    };
    format!("{place}: {}", stop.why)
}
