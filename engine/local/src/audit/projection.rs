//! Whether what `history` and `show` list follows from the events.

use std::{collections::BTreeMap, fmt::Debug};

use runwright_core::event::{Begun, Body};
use serde::Serialize;
use serde_json::Value as Json;

use super::{Fault, PlanOf, What};
use crate::{
    folder::{FolderError, RunFolder},
    journal::{Journal, JournalError, Row},
    preview::row,
    run::{RunError, events, projected},
};

/// Compares the projections of `run`, whose chain holds; says in `notes` where that can't be done.
pub(super) fn compare(
    journal: &Journal,
    run: &str,
    plan_of: &mut PlanOf<'_>,
    faults: &mut Vec<Fault>,
    notes: &mut Vec<String>,
) -> Result<(), RunError> {
    let mut cannot = |why: String| {
        notes.push(format!(
            "run {run}: what is listed of it was not compared with its events: {why}"
        ));
    };
    let begun = match first(journal, run) {
        Ok(First::Begun(begun)) => begun,
        Ok(First::Previewed(row)) => {
            faults.extend(differences(journal, run, &[*row])?);
            return Ok(());
        }
        Ok(First::Other) => {
            cannot("its first event is no beginning".to_owned());
            return Ok(());
        }
        Err(RunError::Journal(error)) => return Err(error.into()),
        Err(error) => {
            cannot(error.to_string());
            return Ok(());
        }
    };
    if !journal.home().runs().exists() {
        cannot("the folders of the runs are not here".to_owned());
        return Ok(());
    }
    let Some(folder) = texts(journal, run, &begun, faults) else {
        return Ok(());
    };
    let rows = match plan_of(&begun, &folder) {
        Err(why) => {
            cannot(why);
            return Ok(());
        }
        Ok(plan) => match projected(journal, &plan, run) {
            Ok(rows) => rows,
            Err(RunError::Journal(error)) => return Err(error.into()),
            Err(error) => {
                cannot(error.to_string());
                return Ok(());
            }
        },
    };
    faults.extend(differences(journal, run, &rows)?);
    Ok(())
}

/// What the first event of a run says.
enum First {
    Begun(Box<Begun>),
    /// It is no run: somebody has looked; with the row that follows.
    Previewed(Box<Row>),
    Other,
}

fn first(journal: &Journal, run: &str) -> Result<First, RunError> {
    let Some(first) = events(journal, run)?.into_iter().next() else {
        return Ok(First::Other);
    };
    Ok(match first.body {
        Body::Begun(begun) => First::Begun(begun),
        Body::Previewed(previewed) => First::Previewed(Box::new(row(&previewed, first.at))),
        _ => First::Other,
    })
}

/// Returns the run's folder where its playbooks lie in it as the run began with them.
fn texts(
    journal: &Journal,
    run: &str,
    begun: &Begun,
    faults: &mut Vec<Fault>,
) -> Option<RunFolder> {
    let folder = RunFolder::find(journal.home(), run);
    let before = faults.len();
    for (name, digest) in &begun.texts {
        let text = match folder.as_ref().map(|folder| folder.text(digest)) {
            Some(Ok(_)) => continue,
            Some(Err(FolderError::Altered { .. })) => {
                format!("the text of `{name}` is not the one that the run began with")
            }
            _ => format!("the text of `{name}` is not in the run's folder"),
        };
        faults.push(Fault::new(What::TextChanged, run, None, text));
    }
    folder.filter(|_| faults.len() == before)
}

fn differences(journal: &Journal, run: &str, rows: &[Row]) -> Result<Vec<Fault>, JournalError> {
    let mut found = Vec::new();
    let mut expect = |what: String, stored: Option<Json>, events: Option<Json>| {
        let text = match (stored, events) {
            (Some(stored), Some(events)) if stored != events => {
                format!("{what} says {}", unlike(&stored, &events))
            }
            (Some(_), None) => format!("{what} follows from no event"),
            (None, Some(_)) => format!("{what} is not there"),
            _ => return,
        };
        found.push(Fault::new(What::ProjectionWrong, run, None, text));
    };

    let stored = match journal.record(run) {
        Ok(record) => Some(json(&record.row)),
        Err(JournalError::NoRun { .. }) => None,
        Err(error) => return Err(error),
    };
    let row = rows.iter().find_map(|row| match row {
        Row::Run(row) => Some(json(row)),
        _ => None,
    });
    expect("the row of the run".to_owned(), stored, row);

    let steps = journal.steps(run)?;
    let mut stored = by(&steps, |row| row.step.clone());
    for row in rows {
        let Row::Step(row) = row else { continue };
        let step = &row.step;
        expect(
            format!("the row of step `{step}`"),
            stored.remove(step),
            Some(json(row)),
        );
    }
    for (step, row) in stored {
        expect(format!("the row of step `{step}`"), Some(row), None);
    }

    let findings = journal.findings(run)?;
    let mut stored = by(&findings, |row| (row.seq, row.position));
    for row in rows {
        let Row::Finding(row) = row else { continue };
        let what = format!("the finding of event {}", row.seq);
        expect(
            what,
            stored.remove(&(row.seq, row.position)),
            Some(json(row)),
        );
    }
    for ((seq, _), row) in stored {
        expect(format!("the finding of event {seq}"), Some(row), None);
    }

    // One that is gone was undone, perhaps by another run: only what is there has to follow.
    let mut registered = BTreeMap::new();
    for row in rows {
        if let Row::Undo(row) = row {
            registered
                .entry(row.step.clone())
                .or_insert_with(|| json(row));
        }
    }
    for row in journal.undo_rows(run)? {
        let events = registered.remove(&row.step);
        let what = format!("the undo of step `{}`", row.step);
        expect(what, Some(json(&row)), events);
    }
    Ok(found)
}

fn by<K: Ord, R: Serialize + Debug>(rows: &[R], key: impl Fn(&R) -> K) -> BTreeMap<K, Json> {
    rows.iter().map(|row| (key(row), json(row))).collect()
}

fn json(row: &(impl Serialize + Debug)) -> Json {
    serde_json::to_value(row).expect("rows have only text keys and finite numbers")
}

/// Says in which columns two rows differ.
fn unlike(stored: &Json, events: &Json) -> String {
    let columns = stored.as_object().into_iter().flatten();
    let unlike: Vec<String> = columns
        .filter(|(name, value)| events.get(name.as_str()) != Some(value))
        .map(|(name, value)| {
            let expected = events.get(name.as_str()).unwrap_or(&Json::Null);
            format!("`{name}` {value}, the events say {expected}")
        })
        .collect();
    unlike.join("; ")
}
