//! What the failure of a step would come to: the machine itself says it.
//!
//! Where a step is about to end, a copy of the state is told that it failed, and then everything that the copy wants is
//! answered as if it went well, until the run has ended or stopped. So order, restarts, points of no return and the
//! outcome are those of a run; nothing here knows them.

use std::collections::VecDeque;

use runwright_core::{
    event::{Ask, Body, Event, Finished, Question, Reply, StepKey, UndoResult},
    kind::{Description, Effect, Looked},
    machine::{Answer, Command, CommandId, Job, JobPhase, Mode, State, Task},
    plan::{OnFailure, Plan},
    preview::{Detail, IfFails, Then, Undoing, UndoneBy},
    summary,
    units::{Span, Time},
    value::Value,
};

use super::driver::{Driver, after};

/// How many answers an imagined rollback may need: more mean that it does not come to an end.
const MOST: usize = 1_000_000;

impl Driver {
    /// Works out what it would come to if the command `id` were answered by `failure`, where that is asked for.
    pub(super) fn if_it_fails(&mut self, id: &CommandId, failure: Answer) {
        let is_known = |known: &IfFails| *known.step == *id.step;
        if !self.around.failures || self.failures.iter().rev().any(is_known) {
            return;
        }
        let mut imagined = Imagined {
            plan: &self.plan,
            state: self.state.clone(),
            now: self.now,
            fate: None,
            by_hand: Vec::new(),
            undoes: Vec::new(),
            stays: Vec::new(),
        };
        let Some(then) = imagined.fail(id, failure) else {
            return;
        };
        let (outcome, exit_code) = match then {
            Then::GoesOn => (String::new(), 0),
            _ => (
                summary::standing(&imagined.state).to_owned(),
                summary::exit_code(&imagined.state),
            ),
        };
        let Imagined { undoes, stays, .. } = imagined;
        let is_certain = |key: &str| self.noted.get(key).is_some_and(|noted| !noted.may());
        let vault = &self.around.vault;
        let undoes = undoes.into_iter().map(|undoing| Undoing {
            certain: is_certain(&undoing.step),
            does: vault.mask(&undoing.does),
            ..undoing
        });
        let failure = IfFails {
            step: id.step.to_string(),
            certain: is_certain(&id.step),
            then,
            undoes: undoes.collect(),
            stays,
            outcome,
            exit_code,
        };
        self.failures.push(failure);
    }
}

/// A run that goes on from a failure, in the mind only.
struct Imagined<'p> {
    plan: &'p Plan,
    state: State,
    now: Time,
    /// What happens to the run, once that is known.
    fate: Option<Then>,
    /// The steps of the `rollback` that is at work.
    by_hand: Vec<(StepKey, String)>,
    undoes: Vec<Undoing>,
    stays: Vec<Detail>,
}

impl Imagined<'_> {
    /// Lets the step fail and everything come to rest; returns what happens, none where the failure is none of the
    /// run's: of a try that is made again, of a step that runs last.
    fn fail(&mut self, id: &CommandId, failure: Answer) -> Option<Then> {
        let body = self.take(id, failure)?;
        if let Body::Finished(finished) = &body {
            match **finished {
                Finished { again: Some(_), .. } | Finished { then: None, .. } => return None,
                Finished {
                    then: Some(OnFailure::Continue),
                    ..
                } => return Some(Then::GoesOn),
                _ => {}
            }
        }
        for _ in 0..MOST {
            if matches!(self.state.mode(), Mode::Ended | Mode::Stopped) || self.is_asked() {
                break;
            }
            let mut due = VecDeque::from(self.state.due());
            let Some(command) = due.pop_front() else {
                break;
            };
            self.answer(command)?;
        }
        let then = self.fate.unwrap_or(Then::RollBack);
        if matches!(then, Then::Stop | Then::Ask) {
            let left = self.state.open_undos().into_iter();
            self.stays = left
                .map(|(step, text, possible)| Detail {
                    name: step.to_string(),
                    text: match possible {
                        true => format!("stays until somebody undoes it: {text}"),
                        false => format!("can't be undone: {text}"),
                    },
                })
                .collect();
        }
        Some(then)
    }

    fn answer(&mut self, command: Command) -> Option<()> {
        let Command { id, job } = command;
        let unknown = || Value::Unknown(after(&id.step));
        match job {
            Job::Record(body) => {
                self.record(&id, &body);
                self.take(&id, Answer::Recorded)?;
            }
            Job::Undo { record, .. } => {
                self.undoes.push(Undoing {
                    step: id.step.to_string(),
                    by: match record.again {
                        Some(_) => UndoneBy::Again,
                        None => UndoneBy::Itself,
                    },
                    does: record.summary,
                    steps: Vec::new(),
                    certain: true,
                });
                self.take(&id, Answer::Undone(UndoResult::Undone))?;
            }
            Job::Look(task) => {
                self.by_hand(&id.step);
                let look = Ok(unknown_look(&task, unknown()));
                self.take(
                    &id,
                    Answer::Looked {
                        action: Description::default(),
                        look,
                        took: Span::default(),
                    },
                )?;
            }
            Job::Perform { .. } | Job::Notify { .. } => {
                self.by_hand(&id.step);
                // What was registered when it looked is not known here; a step that was at work beside the one that
                // fails has begun.
                let action = Description::default();
                self.take(&id, Answer::Started { action, undo: None })?;
                let ended = Answer::Finished {
                    result: Ok(unknown()),
                    took: Span::default(),
                    output: Vec::new(),
                };
                self.take(&id, ended)?;
            }
            Job::Require(_) => drop(self.take(&id, Answer::Required(Vec::new()))?),
            Job::Lock { .. } => drop(self.take(&id, Answer::Locked(Ok(Vec::new())))?),
            Job::Probe(_) => drop(self.take(&id, Answer::Probed(Ok(unknown())))?),
            Job::Ask(question) => {
                self.by_hand(&id.step);
                let answer = Answer::Replied {
                    by: runwright_core::machine::PREVIEW.to_owned(),
                    reply: self.reply(&question, &unknown()),
                    reason: String::new(),
                    said: self.now,
                };
                self.take(&id, answer)?;
            }
            Job::Sleep(until) => {
                self.now.milliseconds = self.now.milliseconds.max(until.milliseconds);
                self.take(&id, Answer::Slept)?;
            }
        }
        Some(())
    }

    /// Takes in what the machine decides by itself.
    fn record(&mut self, id: &CommandId, body: &Body) {
        match body {
            Body::RollingBack { .. } => self.fate = Some(Then::RollBack),
            Body::Stopped { .. } => self.fate = Some(Then::Stop),
            Body::Undone(undone) => match &undone.result {
                UndoResult::Irreversible(why) => self.stays.push(Detail {
                    name: id.step.to_string(),
                    text: format!("can't be undone: {why}"),
                }),
                UndoResult::Undone => {
                    let steps = std::mem::take(&mut self.by_hand).into_iter();
                    self.undoes.push(Undoing {
                        step: id.step.to_string(),
                        by: UndoneBy::Steps,
                        does: undone.summary.clone(),
                        steps: steps.map(|(_, title)| title).collect(),
                        certain: true,
                    });
                }
                _ => {}
            },
            // What was restarted again already is not restarted once more.
            _ => {}
        }
    }

    /// Takes in that a step of a `rollback` is at work.
    fn by_hand(&mut self, step: &StepKey) {
        let is_aside = self
            .state
            .node_of(step)
            .is_some_and(|node| self.plan.node(node).aside);
        if is_aside
            && self.state.mode() == Mode::RollingBack
            && self.by_hand.iter().all(|(known, _)| known != step)
        {
            let title = self.state.title_of(self.plan, step);
            let id = || step.rsplit('/').next().unwrap_or(step).to_owned();
            self.by_hand.push((step.clone(), title.unwrap_or_else(id)));
        }
    }

    fn reply(&self, question: &Question, unknown: &Value) -> Reply {
        match &question.ask {
            Ask::Confirm | Ask::Phrase(_) => Reply::Yes,
            Ask::Inputs(names) => {
                let given = names.iter().map(|name| (name.clone(), unknown.clone()));
                Reply::Values(given.collect())
            }
            Ask::Manual | Ask::Until(_) => Reply::Done {
                remark: String::new(),
            },
            Ask::OnFailure(_) | Ask::InDoubt | Ask::Interrupted => Reply::Stop,
        }
    }

    /// Returns whether a person is asked what to do about the failure.
    fn is_asked(&mut self) -> bool {
        let asked = self.state.due().iter().any(|command| {
            command.id.phase == JobPhase::Ask
                && matches!(&command.job, Job::Ask(question) if matches!(question.ask, Ask::OnFailure(_)))
        });
        if asked {
            self.fate = Some(Then::Ask);
        }
        asked
    }

    fn take(&mut self, id: &CommandId, answer: Answer) -> Option<Body> {
        // An answer that is not due would be a mistake of ours; nothing is said then.
        let body = self.state.event(self.plan, id, self.now, answer).ok()?;
        let event = Event {
            at: self.now,
            step: id.step.clone(),
            body,
        };
        self.state.apply(self.plan, &event);
        Some(event.body)
    }
}

fn unknown_look(task: &Task, unknown: Value) -> Looked {
    match task.effect {
        Effect::Read => Looked::Done(unknown),
        Effect::Change | Effect::Destroy => Looked::Needed {
            before: unknown,
            summary: String::new(),
            diff: None,
        },
    }
}
