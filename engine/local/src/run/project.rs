//! The rows that `history` and `show` list, made of the state after each event.

use std::collections::BTreeMap;

use runwright_core::{
    event::{Begun, Body, Event, StepKey},
    machine::State,
    plan::Plan,
    summary,
};

use crate::journal::{FindingRow, Row, RunRow, StepRow, UndoRow};

/// Collects the rows that have changed since they were last written.
#[derive(Default)]
pub(super) struct Projector {
    run: Option<RunRow>,
    steps: BTreeMap<StepKey, StepRow>,
    changed: Vec<StepKey>,
    findings: Vec<FindingRow>,
    undos: Vec<Row>,
}

impl Projector {
    /// Notes what an event changes.
    pub(super) fn note(
        &mut self,
        plan: &Plan,
        state: &State,
        begun: &Begun,
        event: &Event,
        seq: u64,
    ) {
        let concerns_run = matches!(
            event.body,
            Body::Begun(_)
                | Body::Waiting { .. }
                | Body::Stopped { .. }
                | Body::Resumed { .. }
                | Body::RollingBack { .. }
                | Body::Always
                | Body::Ended(_)
        );
        if concerns_run {
            self.run = Some(run_row(plan, state, begun));
        }
        if !event.step.is_empty() {
            self.note_step(plan, state, event);
        }
        self.note_undo(begun, event, seq);
        let found = match &event.body {
            Body::Finished(finished) => finished.findings.as_slice(),
            Body::Raised(finding) => std::slice::from_ref(finding),
            _ => &[],
        };
        self.findings.extend(
            found
                .iter()
                .enumerate()
                .map(|(position, finding)| FindingRow {
                    seq,
                    position: u32::try_from(position).unwrap_or(u32::MAX),
                    step: event.step.to_string(),
                    severity: finding.severity.to_string(),
                    title: finding.title.clone(),
                    advice: finding.advice.clone(),
                }),
        );
    }

    fn note_undo(&mut self, begun: &Begun, event: &Event, seq: u64) {
        match &event.body {
            Body::Started {
                undo: Some(undo), ..
            } => {
                let until = undo.until(event.at);
                self.undos.extend(until.map(|until| {
                    Row::Undo(UndoRow {
                        step: event.step.to_string(),
                        seq,
                        until: until.milliseconds,
                    })
                }));
            }
            Body::Undone(undone) if undone.result.remains().is_none() => {
                // It was registered here, or by the run whose changes this one has taken over.
                let before = begun.continues.as_ref().map(|from| &from.run);
                let runs = [
                    Some(&*begun.run),
                    begun.undoes.as_deref(),
                    before.map(String::as_str),
                ];
                let undone = runs.into_iter().flatten().map(|run| Row::Undone {
                    run: run.to_owned(),
                    step: event.step.to_string(),
                });
                self.undos.extend(undone);
            }
            _ => {}
        }
    }

    fn note_step(&mut self, plan: &Plan, state: &State, event: &Event) {
        let position = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let row = self
            .steps
            .entry(event.step.clone())
            .or_insert_with(|| StepRow {
                step: event.step.to_string(),
                position,
                title: state.title_of(plan, &event.step).unwrap_or_default(),
                kind: state
                    .node_of(&event.step)
                    .map(|node| plan.node(node).body.word().to_owned())
                    .unwrap_or_default(),
                ..StepRow::default()
            });
        row.state = state.step_state(&event.step).word().to_owned();
        match &event.body {
            Body::Started { attempt, .. } => {
                row.attempts = *attempt;
                row.started_at.get_or_insert(event.at.milliseconds);
            }
            Body::Finished(finished) => {
                row.attempts = row.attempts.max(finished.attempt);
                row.started_at
                    .get_or_insert(event.at.milliseconds - finished.took.milliseconds);
                row.ended_at = finished.again.is_none().then_some(event.at.milliseconds);
                row.error = finished.failure.as_ref().map(|failure| failure.line());
                row.changed = finished.state == runwright_core::event::StepState::Changed;
            }
            Body::Skipped { .. } | Body::Undone(_) => row.ended_at = Some(event.at.milliseconds),
            _ => {}
        }
        if self.changed.last() != Some(&event.step) {
            self.changed.push(event.step.clone());
        }
    }

    /// Returns what has changed since the last call.
    pub(super) fn rows(&mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.run.take().map(Row::Run).into_iter().collect();
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        rows.extend(changed.iter().filter_map(|key| {
            let row = self.steps.get(key)?.clone();
            Some(Row::Step(row))
        }));
        rows.append(&mut self.undos);
        rows.extend(
            std::mem::take(&mut self.findings)
                .into_iter()
                .map(Row::Finding),
        );
        rows
    }
}

fn run_row(plan: &Plan, state: &State, begun: &Begun) -> RunRow {
    let ended = state.ended();
    RunRow {
        playbook: begun.playbook.clone(),
        version: begun.playbook_version.clone(),
        digest: plan.root().digest.0.clone(),
        path: begun.path.clone(),
        title: begun.title.clone(),
        user: begun.user.clone(),
        host: begun.host.clone(),
        state: summary::standing(state).to_owned(),
        outcome: ended.map(|ended| ended.outcome.word().to_owned()),
        exit_code: ended.map(|_| summary::exit_code(state)),
        started_at: state.started_at().milliseconds,
        ended_at: ended.map(|_| state.now().milliseconds),
    }
}
