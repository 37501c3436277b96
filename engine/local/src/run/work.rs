//! Doing one command in the world: the only place from which kinds are called in a run.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use runwright_core::{
    event::{Ask, Output, Question, UndoResult},
    kind::{
        Action, BoxFuture, Class, Cx, Description, Effect, Failure, Looked, UndoLook, UndoRecord,
        Undoes,
    },
    machine::{Answer, CommandId, Job, JobPhase, Task},
    plan::Sensitive,
    port::Said,
    units::{Span, Time},
    value::{Fields, Value},
};
use tokio::sync::Notify;

use super::{
    Opened, Run, RunError, Vault, Waiting, What,
    asking::{answered, clock_answer},
    host::{Care, Shared, StepHost},
};
use crate::{
    fault::{self, Point},
    locks::{Held, LocksError},
};

/// How long a step that was told to end may still take before it is let go.
const GRACE: Duration = Duration::from_secs(15);

/// How long a step's processes live before it is seen to that they don't outlive us: most have ended by then.
const SHORT: Duration = Duration::from_millis(20);

/// Whoever holds it has the terminal: a question, or a process of a step.
pub(super) type Terminal = Arc<tokio::sync::Mutex<()>>;
/// How much later than its deadline a question is given up: an answer of the same moment may be on its way.
const LATE: Duration = Duration::from_millis(5);

/// What came of a command.
pub(super) enum Done {
    /// The answer.
    Answer(Answer),
    /// A step is ready to act: its undo, and itself.
    Kept(
        Result<Option<UndoRecord>, Failure>,
        Task,
        Value,
        Arc<dyn Action>,
    ),
    /// An undo has looked.
    UndoLooked(Result<UndoLook, Failure>, Arc<dyn Undoes>, Option<Span>),
    /// What came of taking locks.
    Locked(Result<Held, LocksError>),
    /// A question was taken back before anybody answered.
    Withdrawn,
    /// Nobody answers a question here.
    Unanswered,
    /// What a person wants after an interruption.
    Interruption(Option<Said>),
}

impl Run {
    /// Opens a step and says that it is about to act.
    pub(super) fn open(&mut self, id: CommandId, task: Task, before: Option<Value>) {
        match self.action(&task) {
            Ok((action, description)) => {
                self.acting
                    .insert(id.clone(), Opened::Step(action, task, before));
                self.ready.push_back((
                    id,
                    Answer::Started {
                        action: description,
                        undo: None,
                    },
                ));
            }
            Err(failure) => self.ready.push_back((id, failed(failure))),
        }
    }

    /// Opens a message: to the terminal, or to a URL by the kind that makes requests.
    pub(super) fn open_notice(&mut self, id: CommandId, to: Value, message: String) {
        if to.as_str() == Some("terminal") {
            let description = Description::new(format!("tell people: {message}"));
            self.acting.insert(id.clone(), Opened::Terminal(message));
            self.ready.push_back((
                id,
                Answer::Started {
                    action: description,
                    undo: None,
                },
            ));
            return;
        }
        let body = Fields::from([
            ("text".to_owned(), Value::text(message)),
            ("run".to_owned(), Value::text(&*self.begun.run)),
            (
                "playbook".to_owned(),
                Value::text(self.begun.playbook.as_str()),
            ),
            ("step".to_owned(), Value::text(&*id.step)),
        ]);
        let arguments = Fields::from([
            ("url".to_owned(), to),
            ("method".to_owned(), Value::text("POST")),
            ("json".to_owned(), Value::map(body)),
        ]);
        let task = Task {
            kind: "http.request".to_owned(),
            arguments: Value::map(arguments),
            effect: Effect::Change,
            timeout: Some(Span::from_seconds(30)),
            sensitive: Sensitive::No,
        };
        self.open(id, task, None);
    }

    /// Asks the steps again that only read and whose secret results went with the process that had them.
    ///
    /// Nothing of it is an event: what they gave stands in the journal already, by its handle. What can't be had again
    /// is missed by the step that needs it.
    pub(super) async fn read_secrets_again(&mut self) {
        for (step, task) in self.state.secret_readings(&self.plan) {
            let id = CommandId {
                step,
                phase: JobPhase::Look,
                attempt: 1,
            };
            let Ok((action, _)) = self.action(&task) else {
                continue;
            };
            let (cx, host) = self.cx(&id, Care::of_results(&Sensitive::All));
            let asked = async {
                match action.look(&cx).await? {
                    Looked::Done(result) => Ok(result),
                    _ => action.perform(&cx, None).await,
                }
            };
            match limited(asked, task.timeout, &host).await {
                Ok(result) => drop(treat(&self.around.vault, &cx.step, &task.sensitive, result)),
                Err(failure) => {
                    let failure = hushed(&task.sensitive, failure);
                    tracing::warn!(step = %id.step, failure = %failure.line(), "a secret result could not be read again");
                }
            }
            self.hosts.remove(&id);
        }
    }

    /// Returns a kind with its arguments: as it acts, and as it is shown.
    fn action(&self, task: &Task) -> Result<(Arc<dyn Action>, Description), Failure> {
        let kind = self.around.kinds.get(task.kind.as_str()).ok_or_else(|| {
            Failure::internal(format!(
                "find the kind `{}`: this engine does not have it",
                task.kind
            ))
        })?;
        let wrong =
            |error| Failure::internal(format!("read the arguments of `{}`: {error}", task.kind));
        let action = (kind.open)(&self.around.vault.reveal(&task.arguments)?).map_err(wrong)?;
        let description = match self.around.vault.is_empty() {
            true => action.describe(),
            false => (kind.open)(&Vault::hide(&task.arguments))
                .map_err(wrong)?
                .describe(),
        };
        Ok((Arc::from(action), description))
    }

    fn cx(&mut self, id: &CommandId, care: Care) -> (Cx, Arc<StepHost>) {
        let label = match id.attempt {
            0 | 1 => id.step.to_string(),
            attempt => format!("{}.{attempt}", id.step),
        };
        let host = StepHost::new(
            id.step.clone(),
            label,
            care,
            Shared {
                earlier: self.earlier.clone(),
                folder: self.writer.folder().clone(),
                reporter: self.around.reporter.clone(),
                vault: self.around.vault.clone(),
                keys: self.keys.clone(),
                clock: self.around.clock.clone(),
                guard: self.guard.clone(),
                terminal: self.terminal.clone(),
            },
        );
        let host = Arc::new(host);
        let cx = Cx {
            run: self.begun.run.clone(),
            step: id.step.clone(),
            attempt: id.attempt.max(1),
            children: self.children.clone(),
            host: host.clone(),
        };
        self.hosts.insert(id.clone(), host.clone());
        (cx, host)
    }

    /// Begins to do something in the world.
    pub(super) fn launch(&mut self, waiting: Waiting) -> BoxFuture<'static, (CommandId, Done)> {
        let Waiting { id, what, .. } = waiting;
        let work = self.work(&id, what);
        Box::pin(async move { (id, work.await) })
    }

    fn work(&mut self, id: &CommandId, what: What) -> BoxFuture<'static, Done> {
        match what {
            What::Require(requires) => {
                let (cx, _) = self.cx(id, Care::of_results(&Sensitive::No));
                Box::pin(async move {
                    Done::Answer(Answer::Required(
                        super::requires::missing(cx, requires).await,
                    ))
                })
            }
            What::Lock(names, may_wait) => self.lock(names, may_wait),
            What::Probe(task) => self.look(id, task, |_, look, _| match look {
                Ok(Looked::Done(result)) => Answer::Probed(Ok(result)),
                Ok(_) => Answer::Probed(Err(Failure::internal("ask a kind that only acts"))),
                Err(failure) => Answer::Probed(Err(failure)),
            }),
            What::Look(task) => self.look(id, task, |action, look, took| Answer::Looked {
                action,
                look,
                took,
            }),
            What::Keep(task, before) => {
                let (cx, host) = self.cx(id, Care::of(&task));
                match self.action(&task) {
                    Ok((action, _)) => Box::pin(async move {
                        let kept = limited(action.keep(&cx, &before), task.timeout, &host).await;
                        let kept = kept.map(|undo| {
                            undo.map(|undo| UndoRecord {
                                kind: task.kind.clone(),
                                ..undo
                            })
                        });
                        Done::Kept(kept, task, before, action)
                    }),
                    Err(failure) => Box::pin(async move { Done::Answer(failed(failure)) }),
                }
            }
            What::Perform => self.perform(id),
            What::UndoLook(record, timeout) => self.undo_look(id, &record, timeout),
            What::UndoPerform => self.undo_perform(id),
            What::Ask(question) => self.ask(id, &question),
            What::AskWhatNow(question) => self.ask_what_now(id, &question),
            What::Sleep(until) => {
                let wait = self.until(until);
                Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    Done::Answer(Answer::Slept)
                })
            }
        }
    }

    pub(super) fn until(&self, until: Time) -> Duration {
        let left = until.milliseconds - self.around.clock.now().milliseconds;
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn look(
        &mut self,
        id: &CommandId,
        task: Task,
        answer: fn(Description, Result<Looked, Failure>, Span) -> Answer,
    ) -> BoxFuture<'static, Done> {
        let (action, description) = match self.action(&task) {
            Ok(opened) => opened,
            Err(failure) => {
                let answer = answer(Description::default(), Err(failure), Span::default());
                return Box::pin(async move { Done::Answer(answer) });
            }
        };
        let (cx, host) = self.cx(id, Care::of(&task));
        let vault = self.around.vault.clone();
        Box::pin(async move {
            let started = Instant::now();
            let look = limited(action.look(&cx), task.timeout, &host).await;
            let look = match look {
                Ok(Looked::Done(result)) => Ok(Looked::Done(treat(
                    &vault,
                    &cx.step,
                    &task.sensitive,
                    result,
                ))),
                Ok(Looked::Needed {
                    before, summary, ..
                }) if task.sensitive != Sensitive::No => Ok(Looked::Needed {
                    before,
                    summary,
                    diff: None,
                }),
                Ok(other) => Ok(other),
                Err(failure) => Err(hushed(&task.sensitive, failure)),
            };
            Done::Answer(answer(description, look, started.elapsed().into()))
        })
    }

    fn perform(&mut self, id: &CommandId) -> BoxFuture<'static, Done> {
        let (action, task, before) = match self.acting.remove(id) {
            Some(Opened::Step(action, task, before)) => (action, task, before),
            Some(Opened::Terminal(message)) => {
                let fields = Fields::from([("message".to_owned(), Value::text(message))]);
                let answer = Answer::Finished {
                    result: Ok(Value::map(fields)),
                    took: Span::default(),
                    output: Vec::new(),
                };
                return Box::pin(async move { Done::Answer(answer) });
            }
            _ => {
                let failure = Failure::internal("find the step that was about to act");
                return Box::pin(async move { Done::Answer(failed(failure)) });
            }
        };
        let (cx, host) = self.cx(id, Care::of(&task));
        let vault = self.around.vault.clone();
        Box::pin(async move {
            let started = Instant::now();
            fault::pass(Point::PerformBefore);
            let result = limited(action.perform(&cx, before.as_ref()), task.timeout, &host).await;
            fault::pass(Point::PerformAfter);
            let result = match result {
                Ok(result) => Ok(treat(&vault, &cx.step, &task.sensitive, result)),
                Err(failure) => Err(hushed(&task.sensitive, failure)),
            };
            let output: Vec<Output> = host.finish();
            Done::Answer(Answer::Finished {
                result,
                took: started.elapsed().into(),
                output,
            })
        })
    }

    fn undo_look(
        &mut self,
        id: &CommandId,
        record: &UndoRecord,
        timeout: Option<Span>,
    ) -> BoxFuture<'static, Done> {
        let opened = match self.around.kinds.get(record.kind.as_str()) {
            Some(kind) => (kind.open_undo)(&record.data).map_err(|error| {
                Failure::internal(format!("read the undo of `{}`", record.kind)).because(&error)
            }),
            None => Err(Failure::internal(format!(
                "find the kind `{}`: this engine does not have it",
                record.kind
            ))),
        };
        let undo: Arc<dyn Undoes> = match opened {
            Ok(undo) => Arc::from(undo),
            Err(failure) => {
                return Box::pin(async move {
                    Done::Answer(Answer::Undone(UndoResult::Failed(failure)))
                });
            }
        };
        let sensitive = self.sensitive(&id.step);
        let (cx, host) = self.cx(id, Care::of_results(&sensitive));
        Box::pin(async move {
            let look = limited(undo.look(&cx), timeout, &host).await;
            let look = look.map_err(|failure| hushed(&sensitive, failure));
            Done::UndoLooked(look, undo, timeout)
        })
    }

    fn undo_perform(&mut self, id: &CommandId) -> BoxFuture<'static, Done> {
        let Some(Opened::Undo(undo, timeout)) = self.acting.remove(id) else {
            let failure = Failure::internal("find the undo that was about to act");
            return Box::pin(
                async move { Done::Answer(Answer::Undone(UndoResult::Failed(failure))) },
            );
        };
        let sensitive = self.sensitive(&id.step);
        let (cx, host) = self.cx(id, Care::of_results(&sensitive));
        Box::pin(async move {
            fault::pass(Point::UndoBefore);
            let result = match limited(undo.perform(&cx), timeout, &host).await {
                Ok(()) => UndoResult::Undone,
                Err(failure) => UndoResult::Failed(hushed(&sensitive, failure)),
            };
            fault::pass(Point::UndoAfter);
            host.finish();
            Done::Answer(Answer::Undone(result))
        })
    }

    /// Returns which results of a step are secrets.
    fn sensitive(&self, step: &str) -> Sensitive {
        match self.state.node_of(step) {
            Some(node) => self.plan.node(node).sensitive.clone(),
            None => Sensitive::No,
        }
    }

    fn ask(&mut self, id: &CommandId, question: &Question) -> BoxFuture<'static, Done> {
        let clock = self.around.clock.clone();
        let now = clock.now();
        if let Some(answer) = clock_answer(question, now) {
            return Box::pin(async move { Done::Answer(answer) });
        }
        if let Ask::Until(until) = question.ask {
            if self.is_long(until) {
                return Box::pin(async { Done::Unanswered });
            }
            let (wait, question) = (self.until(until), question.clone());
            return Box::pin(async move {
                tokio::time::sleep(wait).await;
                let late = clock_answer(&question, until);
                late.map_or(Done::Unanswered, Done::Answer)
            });
        }
        let asked = self.ask_in_turn(id, question);
        let deadline = question.deadline.map(|deadline| self.until(deadline));
        let question = question.clone();
        let withdrawn = Arc::new(Notify::new());
        if let Some(earlier) = self.asking.insert(id.clone(), withdrawn.clone()) {
            // It is asked again, since somebody else has agreed meanwhile.
            earlier.notify_one();
        }
        Box::pin(async move {
            tokio::select! {
                biased;
                said = asked => answered(said, clock.now()),
                () = withdrawn.notified() => Done::Withdrawn,
                () = sleep(deadline.map(|left| (left + LATE).into())) => {
                    let late = clock_answer(&question, clock.now());
                    late.map_or(Done::Unanswered, Done::Answer)
                }
            }
        })
    }

    /// Asks once no program has the terminal: we would be in its background, and reading would stop us.
    fn ask_in_turn(&self, id: &CommandId, question: &Question) -> BoxFuture<'static, Option<Said>> {
        let asked = self.around.asker.ask(self.asked(id, question));
        let terminal = self.terminal.clone();
        Box::pin(async move {
            let _turn = terminal.lock().await;
            asked.await
        })
    }

    /// Asks at once: a Ctrl-C that came to us says that no program has the terminal, and a question that stands on it
    /// is what the asker sets aside.
    fn ask_what_now(&mut self, id: &CommandId, question: &Question) -> BoxFuture<'static, Done> {
        let asked = self.around.asker.ask(self.asked(id, question));
        Box::pin(async move { Done::Interruption(asked.await) })
    }

    /// Takes in what came of a command.
    pub(super) fn done(&mut self, id: CommandId, done: Done) -> Result<(), RunError> {
        self.hosts.remove(&id);
        let answer = match done {
            Done::Answer(answer) => answer,
            Done::Kept(Ok(undo), task, before, action) => {
                let description = match self.around.vault.is_empty() {
                    true => action.describe(),
                    false => self
                        .action(&task)
                        .map(|(_, description)| description)
                        .unwrap_or_default(),
                };
                self.acting
                    .insert(id.clone(), Opened::Step(action, task, Some(before)));
                Answer::Started {
                    action: description,
                    undo,
                }
            }
            Done::Kept(Err(failure), ..) => failed(failure),
            Done::UndoLooked(Ok(UndoLook::Needed), undo, timeout) => {
                self.acting.insert(id.clone(), Opened::Undo(undo, timeout));
                Answer::Undoing
            }
            Done::UndoLooked(Ok(UndoLook::Done), ..) => Answer::Undone(UndoResult::Nothing),
            Done::UndoLooked(Ok(other), ..) => Answer::Undone(UndoResult::Left(other)),
            Done::UndoLooked(Err(failure), ..) => Answer::Undone(UndoResult::Failed(failure)),
            Done::Unanswered => {
                self.park(id);
                return Ok(());
            }
            Done::Locked(taken) => self.locked(taken),
            Done::Withdrawn => return Ok(()),
            Done::Interruption(said) => return self.after_interruption(said),
        };
        self.answer(id, answer)
    }
}

/// Returns the answer of what is not begun because the run stops.
pub(super) fn put_off(job: &Job) -> Answer {
    let failure = Failure::new(Class::Cancelled, "the run stops before it");
    match job {
        Job::Look(_) => Answer::Looked {
            action: Description::default(),
            look: Err(failure),
            took: Span::default(),
        },
        _ => failed(failure),
    }
}

pub(super) fn failed(failure: Failure) -> Answer {
    Answer::Finished {
        result: Err(failure),
        took: Span::default(),
        output: Vec::new(),
    }
}

/// Returns the failure of a step without what it printed, where its results are secrets.
fn hushed(sensitive: &Sensitive, failure: Failure) -> Failure {
    match sensitive {
        Sensitive::No => failure,
        _ => Failure {
            causes: vec!["its results are secrets, so that what it said is not shown".to_owned()],
            ..failure
        },
    }
}

/// Masks a result, or turns it into handles where the playbook says that it is sensitive.
pub(crate) fn treat(vault: &Vault, step: &str, sensitive: &Sensitive, result: Value) -> Value {
    match sensitive {
        Sensitive::No => vault.mask_value(result),
        Sensitive::All => vault.take_in(step, None, result),
        Sensitive::Fields(fields) => vault.mask_value(vault.take_in(step, Some(fields), result)),
    }
}

/// Waits for `future` as long as `timeout` says; then, and when the run is stopped, tells it to end and waits a little.
async fn limited<T>(
    future: impl Future<Output = Result<T, Failure>>,
    timeout: Option<Span>,
    host: &Arc<StepHost>,
) -> Result<T, Failure> {
    let mut future = std::pin::pin!(guarded(future, host));
    let stopped = tokio::select! {
        biased;
        result = &mut future => return result,
        () = sleep(timeout) => Failure::new(
            Class::Timeout,
            format!("it did not end within {}", timeout.unwrap_or_default()),
        ),
        () = host.until_cancelled() => Failure::new(Class::Cancelled, "the run was stopped while it worked"),
    };
    host.cancel();
    let mut ended = tokio::time::timeout(GRACE, &mut future).await;
    // Its processes may have been given longer. Nothing is settled while one of them lives; each is made to end.
    while ended.is_err() && host.has_processes() {
        ended = tokio::time::timeout(SHORT, &mut future).await;
    }
    match ended {
        // It was done after all.
        Ok(Ok(result)) if stopped.class == Class::Cancelled => Ok(result),
        Ok(Err(failure)) if failure.class != Class::Cancelled => Err(Failure {
            causes: vec![failure.line()],
            ..stopped
        }),
        // It was ended by us: what it said last may tell why it took so long.
        Ok(Err(failure)) => Err(Failure {
            causes: failure.causes,
            ..stopped
        }),
        _ => Err(stopped),
    }
}

/// Waits for `future`, and sees to it that processes of its step that live longer end when this one dies.
async fn guarded<T>(future: impl Future<Output = T>, host: &Arc<StepHost>) -> T {
    let mut future = std::pin::pin!(future);
    tokio::select! {
        biased;
        result = &mut future => return result,
        () = tokio::time::sleep(SHORT) => {}
    }
    let host = host.clone();
    drop(tokio::task::spawn_blocking(move || host.guard()));
    future.await
}

async fn sleep(timeout: Option<Span>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.to_std()).await,
        None => std::future::pending().await,
    }
}
