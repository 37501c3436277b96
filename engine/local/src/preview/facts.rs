//! Reads what the machine's events say of a step, and keeps uncertainty uncertain.
//!
//! The machine decides for a run; what only *may* run would count there as run. So the end of such a step is rewritten
//! before it is applied: everything of its result is unknown, also whether it ran, and its failure fails nothing.

use runwright_core::{
    event::{Asserted, Assertion, Body, Finished, StepKey, StepState},
    kind::{Effect, Failure},
    machine::unknown_result,
    plan::OnFailure,
    preview::{Condition, Decision, Finding},
    value::Value,
};

use super::driver::{Driver, after};

impl Driver {
    /// Takes in what an event says, and returns it as it is applied.
    pub(super) fn facts(&mut self, step: &StepKey, body: Body) -> Body {
        match body {
            Body::Skipped { why } => {
                let planned = &mut self.noted(step).planned;
                planned.decision = Decision::Skipped;
                planned.why = Some(why.clone());
                Body::Skipped { why }
            }
            Body::Entered { rounds, branch } => {
                self.entered(step, rounds.as_deref(), branch);
                Body::Entered { rounds, branch }
            }
            Body::Asserted(asserted) => self.asserted(step, asserted),
            Body::NotYet {
                attempt,
                found,
                held_since,
            } => {
                let noted = self.noted(step);
                noted.again = true;
                noted.planned.notes.push(format!("now: {found}"));
                Body::NotYet {
                    attempt,
                    found,
                    held_since,
                }
            }
            Body::Finished(finished) => self.finished(step, *finished),
            body => body,
        }
    }

    fn entered(&mut self, step: &StepKey, rounds: Option<&[String]>, branch: Option<usize>) {
        let unknown = self.state.entry_known_after(&self.plan, step);
        let kind = self.noted(step).planned.kind.clone();
        let mut note = None;
        if let Some(rounds) = rounds {
            note = Some(match (&unknown, rounds.len()) {
                (Some(after), _) => {
                    format!("at least 0 rounds, how many is known after {after}")
                }
                (None, 0) => "the list is empty: no round".to_owned(),
                (None, 1) => "1 round".to_owned(),
                (None, count) => format!("{count} rounds"),
            });
            self.noted(step).rounds = rounds.to_vec();
        } else if kind == "choose" {
            note = Some(self.branch_note(step, branch, unknown.as_deref()));
        }
        let noted = self.noted(step);
        noted.entered = true;
        noted.planned.notes.extend(note);
        let is_open = rounds.is_some() || branch.is_some();
        noted.enters_after = unknown.filter(|_| is_open);
    }

    fn branch_note(&self, step: &StepKey, branch: Option<usize>, unknown: Option<&str>) -> String {
        let node = self.state.node_of(step).map(|id| self.plan.node(id));
        let Some(runwright_core::plan::Body::Choose(branches)) = node.map(|node| &node.body) else {
            return String::new();
        };
        match branch {
            None => "no branch: none of its conditions holds".to_owned(),
            Some(index) => match branches.get(index).map(|branch| &branch.when) {
                Some(Some(when)) => format!("takes branch {}, where `{}`", index + 1, when.text()),
                Some(None) => "takes the branch `otherwise`".to_owned(),
                None => format!(
                    "which branch it takes is known after {}",
                    unknown.unwrap_or("it runs")
                ),
            },
        }
    }

    fn asserted(&mut self, step: &StepKey, asserted: Asserted) -> Body {
        let probed = self.probed.take();
        let probed = probed.as_ref();
        // A probe whose answer will be another one then: its value now is shown, nothing rests on it.
        let open = asserted.holds.is_none();
        let close = |condition: Option<Condition>| {
            condition.map(|condition| Condition {
                holds: condition.holds.filter(|_| !open),
                why: match (open, &asserted.error) {
                    (_, Some(error)) => error.line(),
                    (true, None) if !condition.why.is_empty() => format!("now: {}", condition.why),
                    _ => condition.why,
                },
                ..condition
            })
        };
        match asserted.which {
            Assertion::Guard(_) if !step.is_empty() && self.noted(step).entered => {
                self.called_guard(step, &asserted);
                self.refusal(step, asserted)
            }
            Assertion::Guard(index) => {
                let guard = close(self.state.guard_of(&self.plan, step, index, probed));
                let guards = match step.is_empty() {
                    true => &mut self.guards,
                    false => &mut self.noted(step).planned.guards,
                };
                if let (Some(guard), Some(place)) = (guard, guards.get_mut(index)) {
                    *place = guard;
                }
                self.refusal(step, asserted)
            }
            Assertion::Unless => {
                let unless = close(self.state.unless_of(&self.plan, step, probed));
                let noted = self.noted(step);
                noted.planned.unless = unless;
                match asserted.holds {
                    Some(true) => {
                        noted.planned.decision = Decision::Already;
                        noted.planned.why =
                            Some(asserted.why.clone()).filter(|why| !why.is_empty());
                    }
                    None if !noted.may() => {
                        noted.may_after = Some(after(step));
                        noted.planned.decision = Decision::MayRun;
                    }
                    _ => {}
                }
                Body::Asserted(asserted)
            }
        }
    }

    /// Takes in a guard of the playbook that `step` calls.
    fn called_guard(&mut self, step: &StepKey, asserted: &Asserted) {
        let told = match (asserted.holds, &asserted.error) {
            (_, Some(error)) => error.line(),
            (Some(true), None) => "it holds".to_owned(),
            (Some(false), None) => format!("it does not hold: {}", asserted.why),
            (None, None) => "it is not known yet".to_owned(),
        };
        let note = format!("a guard of the called playbook: {told}");
        self.noted(step).planned.notes.push(note);
    }

    /// A guard that would refuse a step which only may run refuses nothing now.
    fn refusal(&mut self, step: &StepKey, asserted: Asserted) -> Body {
        let refuses = asserted.holds == Some(false) || asserted.error.is_some();
        if refuses && !step.is_empty() && self.noted(step).may() {
            let why = match &asserted.error {
                Some(error) => error.line(),
                None => asserted.why.clone(),
            };
            self.noted(step).planned.problem = Some(format!("if it runs, it is refused: {why}"));
            return Body::Asserted(Asserted {
                holds: None,
                error: None,
                ..asserted
            });
        }
        Body::Asserted(asserted)
    }

    fn finished(&mut self, step: &StepKey, finished: Finished) -> Body {
        let may_after = self.noted(step).may_after.clone();
        self.noted(step)
            .planned
            .findings
            .extend(finished.findings.iter().map(|finding| Finding {
                severity: finding.severity,
                title: finding.title.clone(),
                advice: finding.advice.clone(),
            }));
        if let (Some(failure), Some(_)) = (&finished.failure, finished.again) {
            let noted = self.noted(step);
            noted.again = true;
            noted.planned.problem = Some(format!("now: {}; it is tried again", told(failure)));
            return Body::Finished(Box::new(finished));
        }
        match may_after {
            Some(after) => self.finished_perhaps(step, finished, &after),
            None => self.finished_surely(step, finished),
        }
    }

    fn finished_surely(&mut self, step: &StepKey, mut finished: Finished) -> Body {
        let is_aside = self
            .state
            .node_of(step)
            .is_some_and(|id| self.plan.node(id).aside);
        let noted = self.noted(step);
        if noted.planned.kind == "manual" {
            finished
                .result
                .insert("remark".to_owned(), Value::Unknown(after(step)));
        }
        if noted.may_change_inside
            && !matches!(finished.result.get("changed"), Some(Value::Bool(true)))
        {
            finished
                .result
                .insert("changed".to_owned(), Value::Unknown(after(step)));
        }
        match finished.state {
            StepState::Already => noted.planned.decision = Decision::Already,
            StepState::Failed => noted.planned.decision = Decision::Fails,
            StepState::Refused => noted.planned.decision = Decision::Refused,
            _ => {}
        }
        if let Some(failure) = &finished.failure {
            noted.planned.why = Some(told(failure));
            let goes_on = finished.then == Some(OnFailure::Continue) || is_aside;
            if !goes_on {
                self.failed = Some(step.clone());
            }
        }
        Body::Finished(Box::new(finished))
    }

    fn finished_perhaps(&mut self, step: &StepKey, finished: Finished, after: &str) -> Body {
        let changes = self.noted(step).planned.effect > Effect::Read;
        if changes {
            let mut around = self.state.parent_of(step);
            while let Some(step) = around {
                self.noted(&step).may_change_inside = true;
                around = self.state.parent_of(&step);
            }
        }
        let noted = self.noted(step);
        if let Some(failure) = &finished.failure {
            let word = match finished.state {
                StepState::Refused => "it is refused",
                _ => "it fails",
            };
            noted.planned.problem = Some(format!("if it runs, {word}: {}", told(failure)));
        }
        if finished.state == StepState::Already {
            noted.planned.decision = Decision::Already;
        }
        // Not `Changed`: what is around it would count as changed for certain.
        let state = match finished.state {
            StepState::Already => StepState::Already,
            _ => StepState::Ok,
        };
        Body::Finished(Box::new(Finished {
            state,
            result: unknown_result(after),
            failure: None,
            findings: Vec::new(),
            again: None,
            then: None,
            ..finished
        }))
    }
}

fn told(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{} ({hint})", failure.line()),
        None => failure.line(),
    }
}
