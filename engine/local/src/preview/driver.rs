//! Feeds the machine: answers each command without acting.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use runwright_core::{
    event::{Ask, Begun, Body, Event, Outcome, Probed, Question, Reply, StepKey},
    kind::{Cx, Description, Effect, Failure, Kind, UndoRecord, UndoneBy},
    machine::{Answer, Command, CommandId, Job, PREVIEW, State, Task},
    plan::{Plan, Requirement},
    preview::{
        Condition, Confirm, Detail, Fidelity, IfFails, Lock, Probe, Required, Stop, Then, Who,
    },
    units::{Span, Time},
    value::Value,
};

use super::{
    PreviewAround, only,
    planned::{Asked, Noted},
    touched::Touched,
    words,
};
use crate::digests::{Digests, Keys, Marks};

/// The driver of one preview.
pub(super) struct Driver {
    pub plan: Arc<Plan>,
    pub around: PreviewAround,
    pub begun: Arc<Begun>,
    pub children: Arc<runwright_core::kind::Children>,
    pub state: State,
    queue: VecDeque<Command>,
    /// The time in the preview: sleeps pass at once.
    pub now: Time,
    /// How contents are marked: with a key that goes with the preview.
    pub digests: Digests,
    pub touched: Touched,
    pub noted: HashMap<StepKey, Noted>,
    pub requires: Vec<Required>,
    pub guards: Vec<Condition>,
    pub locks: Vec<Lock>,
    pub problems: Vec<String>,
    /// What could not be looked at, and why.
    pub unseen: Vec<Detail>,
    /// What was looked at.
    pub probes: Vec<Probed>,
    /// What the failure of each step would come to.
    pub failures: Vec<IfFails>,
    pub stop: Option<Stop>,
    /// Whether the machine has stopped: what it has not come to is not reached.
    pub halted: bool,
    /// The step whose failure stops the run.
    pub failed: Option<StepKey>,
    /// What the probe that was asked last has answered.
    pub probed: Option<Value>,
}

impl Driver {
    pub(super) fn new(plan: Arc<Plan>, begun: Begun, around: PreviewAround) -> Driver {
        Driver {
            now: around.clock.now(),
            digests: Digests::new(
                around.vault.clone(),
                Arc::new(Keys::passing()),
                Marks::KeyedWhereFound,
            ),
            children: Arc::new(begun.children.clone()),
            // What a failure does is shown as the playbook says it: that a person at a terminal is asked first depends on
            // who runs it, and where.
            begun: Arc::new(Begun {
                attended: false,
                ..begun
            }),
            plan,
            around,
            state: State::new(),
            queue: VecDeque::new(),
            touched: Touched::default(),
            noted: HashMap::new(),
            requires: Vec::new(),
            guards: Vec::new(),
            locks: Vec::new(),
            problems: Vec::new(),
            unseen: Vec::new(),
            probes: Vec::new(),
            failures: Vec::new(),
            stop: None,
            halted: false,
            failed: None,
            probed: None,
        }
    }

    /// Works until the run would have ended or stopped.
    pub(super) async fn drive(&mut self) {
        let begun = Body::Begun(Box::new((*self.begun).clone()));
        self.write("".into(), begun);
        self.guards = (0..self.plan.root().guards.len())
            .filter_map(|index| self.state.guard_of(&self.plan, "", index, None))
            .collect();
        while let Some(command) = self.queue.pop_front() {
            if let Some(then) = self.halts(&command.job) {
                self.halt(then);
                return;
            }
            self.note(&command.id.step);
            self.answer(command).await;
        }
    }

    async fn answer(&mut self, command: Command) {
        let Command { id, job } = command;
        match job {
            Job::Record(_) => self.take(&id, Answer::Recorded),
            Job::Require(requires) => {
                self.require(&requires).await;
                self.take(&id, Answer::Required(Vec::new()));
            }
            Job::Lock { names, .. } => {
                self.lock(&id.step, names).await;
                self.take(&id, Answer::Locked(Ok(Vec::new())));
            }
            Job::Probe(task) => {
                let answer = self.probe(&id.step, &task).await;
                self.take(&id, answer);
            }
            Job::Look(task) => {
                let answer = self.look(&id.step, &task).await;
                if task.effect == Effect::Read
                    && let Answer::Looked { action, took, .. } = &answer
                {
                    let look = Err(broken());
                    let (action, took) = (action.clone(), *took);
                    self.if_it_fails(&id, Answer::Looked { action, look, took });
                }
                self.take(&id, answer);
            }
            Job::Ask(question) => {
                let reply = self.reply(&id.step, &question);
                if question.ask == Ask::Manual {
                    let remark = String::new();
                    self.if_it_fails(&id, self.said(Reply::Failed { remark }));
                }
                self.take(&id, self.said(reply));
            }
            Job::Perform { task, before, .. } => self.perform(&id, &task, before.is_some()).await,
            Job::Notify { to, message } => {
                let to = to.to_text().unwrap_or_else(|_| to.display());
                let action = Description::new(format!("tell {to}: {message}"));
                self.describe(&id.step, &action);
                self.pretend(&id, action, None);
            }
            Job::Sleep(until) => {
                self.now.milliseconds = self.now.milliseconds.max(until.milliseconds);
                self.take(&id, Answer::Slept);
            }
            // The preview has ended before anything is undone.
            Job::Undo { .. } => self.halted = true,
        }
    }

    fn said(&self, reply: Reply) -> Answer {
        Answer::Replied {
            by: PREVIEW.to_owned(),
            reply,
            reason: String::new(),
            said: self.now,
        }
    }

    fn take(&mut self, id: &CommandId, answer: Answer) {
        match self.state.event(&self.plan, id, self.now, answer) {
            Ok(body) => self.write(id.step.clone(), body),
            Err(error) => self
                .problems
                .push(format!("the preview is not whole: {error}")),
        }
    }

    fn write(&mut self, step: StepKey, body: Body) {
        let body = self.facts(&step, body);
        let event = Event {
            at: self.now,
            step,
            body,
        };
        self.state.apply(&self.plan, &event);
        self.queue.extend(self.state.decide());
    }

    /// Looks for programs. One that is missing would refuse the run; the steps are shown all the same.
    async fn require(&mut self, requires: &[Requirement]) {
        for requirement in requires {
            let missing = match self.around.probe {
                Probe::Offline => None,
                Probe::All => Some(self.missing(requirement).await),
            };
            let why = missing.clone().flatten();
            if let Some(why) = &why
                && self.stop.is_none()
            {
                self.stop = Some(Stop {
                    step: String::new(),
                    why: why.clone(),
                    then: Then::Refused,
                    undoes: Vec::new(),
                });
            }
            self.requires.push(Required {
                program: requirement.program.clone(),
                versions: requirement.versions.clone(),
                there: missing.map(|missing| missing.is_none()),
                why,
            });
        }
    }

    async fn missing(&self, requirement: &Requirement) -> Option<String> {
        let looking = crate::run::missing(self.cx(&"".into()), vec![requirement.clone()]);
        let limit =
            Duration::from_millis(u64::try_from(self.around.limit.milliseconds).unwrap_or(0));
        match tokio::time::timeout(limit, looking).await {
            Ok(missing) => missing.into_iter().next(),
            Err(_) => Some(format!(
                "`{}` does not say its version within {}",
                requirement.program, self.around.limit
            )),
        }
    }

    /// Takes in that a step would act, and answers that nobody knows what would come of it.
    async fn perform(&mut self, id: &CommandId, task: &Task, looked: bool) {
        let step = id.step.clone();
        let kind = self.around.kinds.get(task.kind.as_str()).copied();
        let mut touches = None;
        let action = match (kind, only::unknown_in(&task.arguments)) {
            (Some(kind), None) => match only::describe(&kind, task) {
                Ok((action, touched)) => {
                    touches = Some(touched);
                    action
                }
                Err(failure) => {
                    let took = Span::default();
                    let result = Err(failure);
                    let output = Vec::new();
                    return self.take(
                        id,
                        Answer::Finished {
                            result,
                            took,
                            output,
                        },
                    );
                }
            },
            (_, after) => {
                self.unsure(&step, after.as_deref().unwrap_or("it runs"), None);
                words::open_action(task)
            }
        };
        self.describe(&step, &action);
        if task.effect > Effect::Read {
            let changed: Vec<String> = touches
                .unwrap_or_default()
                .into_iter()
                .filter(|touch| touch.changes)
                .map(|touch| touch.resource)
                .collect();
            match changed.is_empty() {
                true => self.touched.change("all", &step),
                false => self.change(&step, changed).await,
            }
        }
        let undo = kind
            .filter(|kind| looked && undoes(kind, task))
            .and_then(|kind| self.undo_of(&step, &kind));
        self.pretend(id, action, undo);
    }

    /// Returns how a change of a kind that undoes itself would be undone, as far as a look has told it.
    fn undo_of(&mut self, step: &StepKey, kind: &Kind) -> Option<UndoRecord> {
        match &self.noted(step).undo {
            Some(only::Planned::By(record)) => Some(record.clone()),
            Some(only::Planned::Nothing) => None,
            None => Some(UndoRecord {
                kind: kind.name.to_owned(),
                summary: format!("put back what is there then (`{}`)", kind.name),
                data: serde_json::Value::Null,
                again: None,
                lapses: None,
            }),
        }
    }

    fn pretend(&mut self, id: &CommandId, action: Description, undo: Option<UndoRecord>) {
        self.take(id, Answer::Started { action, undo });
        let failed = Answer::Finished {
            result: Err(broken()),
            took: Span::default(),
            output: Vec::new(),
        };
        self.if_it_fails(id, failed);
        let result = Ok(Value::Unknown(after(&id.step)));
        self.take(
            id,
            Answer::Finished {
                result,
                took: Span::default(),
                output: Vec::new(),
            },
        );
    }

    fn reply(&mut self, step: &StepKey, question: &Question) -> Reply {
        let certain = !self.noted(step).may();
        let who = self.who(question);
        match &question.ask {
            Ask::Confirm | Ask::Phrase(_) => {
                let phrase = match &question.ask {
                    Ask::Phrase(phrase) => Some(phrase.clone()),
                    _ => None,
                };
                self.noted(step).planned.confirm = Some(Confirm {
                    step: step.to_string(),
                    message: question.message.clone(),
                    phrase,
                    who,
                    certain,
                });
                Reply::Yes
            }
            Ask::Inputs(names) => {
                self.noted(step).question = Some(Asked {
                    message: question.message.clone(),
                    values: names.clone(),
                    who,
                });
                let unknown = |name: &String| (name.clone(), Value::Unknown(after(step)));
                Reply::Values(names.iter().map(unknown).collect())
            }
            Ask::Manual => {
                // Nobody knows what a person does.
                self.touched.change("all", step);
                self.noted(step).question = Some(Asked {
                    message: question.message.clone(),
                    values: Vec::new(),
                    who,
                });
                Reply::Done {
                    remark: String::new(),
                }
            }
            Ask::Until(until) => {
                // What is read again after a while may have become something else.
                self.touched.change("all", step);
                let span = Span {
                    milliseconds: until.milliseconds - self.now.milliseconds,
                };
                let note = match span.milliseconds {
                    ..=0 => "waits, how long is not known yet".to_owned(),
                    _ => format!("waits {span}"),
                };
                self.noted(step).planned.notes.push(note);
                Reply::Done {
                    remark: String::new(),
                }
            }
            Ask::OnFailure(_) | Ask::InDoubt | Ask::Interrupted => Reply::Stop,
        }
    }

    fn who(&self, question: &Question) -> Who {
        Who {
            approvers: question.approvers,
            not_starter: question.not_starter,
            deadline: question.deadline.map(|deadline| {
                let milliseconds = deadline.milliseconds - self.now.milliseconds;
                Span { milliseconds }.to_string()
            }),
        }
    }

    /// Returns what happens when the machine goes on from here; none as long as it works.
    fn halts(&self, job: &Job) -> Option<Then> {
        match job {
            Job::Record(body) => match **body {
                Body::RollingBack { .. } => Some(Then::RollBack),
                Body::Stopped { .. } => Some(Then::Stop),
                Body::Ended(ref ended) if ended.outcome != Outcome::Succeeded => {
                    Some(Then::RollBack)
                }
                Body::Always => self.failed.as_ref().map(|_| Then::RollBack),
                _ => None,
            },
            Job::Ask(question) if matches!(question.ask, Ask::OnFailure(_)) => Some(Then::Ask),
            _ => None,
        }
    }

    fn halt(&mut self, then: Then) {
        self.halted = true;
        let undoes = self
            .state
            .open_undos()
            .into_iter()
            .map(|(step, how, possible)| Detail {
                name: step.to_string(),
                text: match possible {
                    true => how,
                    false => format!("can't be undone: {how}"),
                },
            })
            .collect();
        let why = self.state.stopped_why().unwrap_or_default();
        let then = match (&self.failed, then) {
            (None, _) => Then::Refused,
            (Some(_), then) => then,
        };
        self.stop.get_or_insert(Stop {
            step: self.failed.as_deref().unwrap_or_default().to_owned(),
            why: self.around.vault.mask(&why),
            then,
            undoes,
        });
    }

    pub(super) fn describe(&mut self, step: &StepKey, action: &Description) {
        let vault = self.around.vault.clone();
        let masked = |texts: &[(String, String)]| {
            let detail = |(name, text): &(String, String)| Detail {
                name: name.clone(),
                text: vault.mask(text),
            };
            texts.iter().map(detail).collect()
        };
        let planned = &mut self.noted(step).planned;
        planned.action = Some(vault.mask(&action.summary));
        planned.details = masked(&action.details);
        planned.contents = masked(&action.contents);
    }

    /// Takes in that a step is known only after something, and why.
    pub(super) fn unsure(&mut self, step: &StepKey, after: &str, why: Option<String>) {
        let planned = &mut self.noted(step).planned;
        planned.fidelity = Fidelity::Unknown;
        planned.after = Some(after.to_owned());
        if why.is_some() {
            planned.problem = why;
        }
    }

    pub(super) fn cx(&self, step: &StepKey) -> Cx {
        let (begun, clock) = (&self.begun, &self.around.clock);
        only::cx(&begun.run, step, &self.children, clock, &self.digests)
    }
}

/// Returns the failure of a step that is only imagined to fail.
fn broken() -> Failure {
    Failure::internal("do it")
}

/// Returns what stands for a result that is known only once `step` has run.
pub(super) fn after(step: &StepKey) -> Arc<str> {
    format!("step `{step}`").into()
}

fn undoes(kind: &Kind, task: &Task) -> bool {
    kind.undone == UndoneBy::Itself && (kind.undoes)(&task.arguments)
}
