//! What became of a run: a pure function of its events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Ended, FailOn, Finding, Outcome, Question, StepKey},
    machine::{Mode, State},
    plan::Severity,
    units::Time,
    value::Fields,
};

/// What became of a run, or how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run's id.
    pub run: String,
    /// The playbook.
    pub playbook: String,
    /// Its version.
    pub version: String,
    /// `succeeded`, `failed`, `rolled_back`, `rollback_incomplete`, `refused`, `cancelled`; or, where it has not ended,
    /// `running`, `rolling_back`, `waiting`, `stopped`.
    pub outcome: String,
    /// The exit code.
    pub exit_code: u8,
    /// Why, where it is not a success.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How many steps ended how.
    pub steps: BTreeMap<String, usize>,
    /// What people should know, worst first.
    pub findings: Vec<Found>,
    /// What the playbook gives back.
    pub outputs: Fields,
    /// What is still changed, where a rollback was not complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirty: Vec<String>,
    /// The questions that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Open>,
    /// How many changes can still be undone by `rollback`.
    pub undoable: usize,
    /// The changes that `rollback` can undo, in the order in which it would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undos: Vec<OpenUndo>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// The hash of the run's last event: whoever keeps it can tell later whether the journal was altered.
    #[serde(default)]
    pub head: String,
    /// The fingerprint of the key that the head is signed by, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// A change that can be undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenUndo {
    /// The step's address.
    pub step: StepKey,
    /// The undo in a line.
    pub summary: String,
    /// Until when it is possible; none: as long as the journal keeps the run.
    pub until: Option<Time>,
}

/// A finding and the step that made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The step's address.
    pub step: StepKey,
    /// The finding itself.
    pub finding: Finding,
}

/// A question that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The step's address.
    pub step: StepKey,
    /// What is asked.
    pub question: Question,
    /// Who has said yes so far, where that is not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
}

impl Summary {
    /// Returns the summary of the run in `state`, whose last event has the hash `head`.
    pub fn of(state: &State, head: &str) -> Summary {
        let begun = state.begun();
        let mut findings: Vec<Found> = state
            .findings()
            .iter()
            .map(|(step, finding)| Found {
                step: step.clone(),
                finding: finding.clone(),
            })
            .collect();
        findings.sort_by_key(|found| std::cmp::Reverse(found.finding.severity));
        let ended = state.ended();
        let undos: Vec<OpenUndo> = state
            .open_undos()
            .into_iter()
            .zip(state.open_until())
            .filter(|((_, _, possible), _)| *possible)
            .map(|((step, summary, _), (_, until))| OpenUndo {
                step,
                summary,
                until,
            })
            .collect();
        Summary {
            run: begun.map(|begun| begun.run.to_string()).unwrap_or_default(),
            playbook: begun
                .map(|begun| begun.playbook.clone())
                .unwrap_or_default(),
            version: begun
                .map(|begun| begun.playbook_version.clone())
                .unwrap_or_default(),
            outcome: standing(state).to_owned(),
            exit_code: exit_code(state),
            why: ended.map_or_else(
                || state.stopped_why().unwrap_or_default(),
                |ended| ended.why.clone(),
            ),
            steps: state.counts(),
            findings,
            outputs: ended.map(|ended| ended.outputs.clone()).unwrap_or_default(),
            dirty: ended
                .map(|ended: &Ended| ended.dirty.clone())
                .unwrap_or_default(),
            questions: open_questions(state),
            undoable: undos.len(),
            undos,
            took_ms: state.now().milliseconds - state.started_at().milliseconds,
            head: head.to_owned(),
            signed_by: None,
        }
    }
}

/// Returns the questions that the run in `state` waits for.
pub fn open_questions(state: &State) -> Vec<Open> {
    let questions = state.questions().into_iter();
    questions
        .map(|(step, question)| Open {
            approvals: state.approvals(&step),
            question: question.clone(),
            step,
        })
        .collect()
}

/// Returns the word for how the run in `state` stands: its outcome, or `running`, `rolling_back`, `waiting`, `stopped`.
pub fn standing(state: &State) -> &'static str {
    match (state.ended(), state.mode()) {
        (Some(ended), _) => ended.outcome.word(),
        (None, Mode::Stopped) => "stopped",
        (None, Mode::Waiting) => "waiting",
        (None, Mode::RollingBack) => "rolling_back",
        _ => "running",
    }
}

/// Returns the exit code that the run in `state` has.
///
/// | code | meaning |
/// |---|---|
/// | 0 | succeeded; of a `rollback`: all is undone |
/// | 1 | failed, stopped by a failure, or rolled back whole |
/// | 3 | refused |
/// | 4 | waiting for people or for time |
/// | 5 | rollback incomplete |
/// | 6 | interrupted, stopped by a signal, or in doubt |
/// | 10 | succeeded with warnings |
/// | 11 | succeeded with critical findings |
/// | 130 | cancelled |
pub fn exit_code(state: &State) -> u8 {
    let Some(ended) = state.ended() else {
        return match state.mode() {
            Mode::Waiting => 4,
            Mode::Stopped if state.is_stopped_by_failure() => 1,
            _ => 6,
        };
    };
    let begun = state.begun();
    if state.is_undo_wanted() {
        return if ended.outcome == Outcome::RollbackIncomplete {
            5
        } else {
            0
        };
    }
    match ended.outcome {
        Outcome::Succeeded => {
            by_findings(state, begun.map(|begun| begun.fail_on).unwrap_or_default())
        }
        Outcome::Failed | Outcome::RolledBack => 1,
        Outcome::Refused => 3,
        Outcome::RollbackIncomplete => 5,
        Outcome::Cancelled => 130,
    }
}

fn by_findings(state: &State, fail_on: FailOn) -> u8 {
    let worst = state
        .findings()
        .iter()
        .map(|(_, finding)| finding.severity)
        .max();
    match (worst, fail_on) {
        (Some(Severity::Critical), FailOn::Critical | FailOn::Warning) => 11,
        (Some(Severity::Warning), FailOn::Warning) => 10,
        _ => 0,
    }
}
