//! The loop that feeds the machine: takes commands up, does them in the world, writes down what happened.
//!
//! Events are applied at once and written in order, at the latest before the next command that reaches the world. What
//! changes something, asks somebody or ends the run is preceded by a synced commit; all else rides along.

mod asking;
mod clock;
mod guard;
mod host;
mod living;
mod locking;
mod proc;
mod processes;
mod project;
mod requires;
mod secrets;
mod step_lock;
mod wish;
mod work;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use camino::Utf8PathBuf;
use futures_util::stream::{FuturesUnordered, StreamExt};
use runwright_core::{
    event::{Begun, Body, Ended, Event, Goal, Outcome, Question, StepKey, Stop, UndoResult},
    kind::{Action, BoxFuture, Children, Class, Digest, Effect, Failure, Kind, Undoes},
    machine::{Answer, Command, CommandId, Job, JobPhase, Mode, NotDue, State},
    plan::{self, Plan},
    port::{Asker, Reporter, Told},
    summary::Summary,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior},
};

use self::{
    asking::INBOX,
    guard::Guard,
    host::StepHost,
    project::Projector,
    work::{Done, Terminal},
};
pub use self::{
    clock::Clock,
    guard::keep,
    living::{Living, Seen, living},
    secrets::{Scan, Vault},
    wish::{Fate, Wish, fate},
};
pub(crate) use self::{requires::missing, work::treat};
use crate::{
    digests::Keys,
    fault::{self, Point},
    folder::RunFolder,
    home::Room,
    journal::{Event as StoredEvent, Journal, JournalError, NewEvent, Row, RunWriter, Sync},
    lock::Lock,
    locks::{Held, LocksError},
    signature::SignKey,
    sweep::{Upkeep, hold},
};

/// The kinds by name.
pub type Kinds = Arc<HashMap<&'static str, Kind>>;

/// The reporter, shared with whoever asks questions.
pub type SharedReporter = Arc<Mutex<Box<dyn Reporter>>>;

/// What a run needs beside its plan.
#[derive(Clone)]
pub struct Surroundings {
    /// The kinds.
    pub kinds: Kinds,
    /// Who is told.
    pub reporter: SharedReporter,
    /// Who asks people.
    pub asker: Arc<dyn Asker>,
    /// What the secrets are.
    pub vault: Arc<Vault>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// What signs the head when the run comes to rest.
    pub signer: Option<Arc<SignKey>>,
    /// The folder of the locks that all users of the machine share.
    pub locks: Utf8PathBuf,
    /// The command, first its program, that calls [`keep`] with its standard input: it ends the steps' processes when
    /// this one dies. Where it is empty, nobody does.
    pub guard: Vec<String>,
    /// How this process works on the run.
    pub manner: Manner,
}

/// How a process works on a run.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Whether a person sits at the terminal and means to be asked.
    pub attended: bool,
    /// How long the process waits for locks that others hold; none: not at all.
    pub wait_for_locks: Option<Duration>,
    /// The longest wait that the process stays for, where nobody sits at the terminal.
    pub stays: Duration,
    /// Why a person goes on with the run, in their own words.
    pub reason: String,
    /// Says a line to the person at the terminal, about the process and not about the run.
    pub say: fn(&str),
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            attended: false,
            wait_for_locks: None,
            stays: Duration::from_secs(60),
            reason: String::new(),
            say: |_| {},
        }
    }
}

/// A wish from outside that the run stops.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// `SIGTERM`, `Ctrl-C`.
    pub by: String,
    /// Whether a person is to be asked first what is meant: once, and on a terminal only.
    pub asks: bool,
}

/// Why a run can't go on; what happened up to here is in the journal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal can't be used, and nothing was begun.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody else has a lock, or the locks can't be relied on.
    #[error(transparent)]
    Locked(Box<LocksError>),
    /// The journal could not be written any more: nothing further was started, and what ran was ended.
    #[error("write the journal of the run `{run}`")]
    Unwritten {
        /// The run.
        run: String,
        /// The steps whose last word is not in the journal.
        steps: Vec<StepKey>,
        /// Why.
        source: Box<JournalError>,
    },
    /// An event of the journal is of a kind that this engine does not know.
    #[error(
        "the run `{run}` has an event `{kind}` that this engine can't read; use the engine that wrote it"
    )]
    Unreadable {
        /// The run.
        run: String,
        /// The event's kind.
        kind: String,
    },
    /// It is what a preview has left.
    #[error("go on from `{run}`: it is no run, somebody looked at a plan and nothing was done")]
    Previewed {
        /// The record.
        run: String,
    },
    /// The machine and the driver disagree: a mistake in the engine.
    #[error(transparent)]
    NotDue(#[from] NotDue),
}

impl RunError {
    fn unreadable(run: &str, kind: &str) -> RunError {
        RunError::Unreadable {
            run: run.to_owned(),
            kind: kind.to_owned(),
        }
    }
}

/// A run in this process, which holds its lock.
pub struct Run {
    plan: Arc<Plan>,
    state: State,
    writer: RunWriter,
    around: Surroundings,
    projector: Projector,
    /// The folders of the runs that this one undoes or goes on from, the nearest first.
    earlier: Arc<[RunFolder]>,
    /// What digests of secret contents are made with.
    keys: Arc<Keys>,
    /// Of the run that this one undoes: nobody else undoes it meanwhile, or gives up what its undos keep.
    _undone: Option<Lock>,
    held: Option<Held>,
    /// How much room the disk had when this process took the run up.
    room: Room,
    begun: Arc<Begun>,
    children: Arc<Children>,
    seq: u64,
    pending: Vec<Written>,
    ready: VecDeque<(CommandId, Answer)>,
    waiting: Vec<Waiting>,
    acting: HashMap<CommandId, Opened>,
    hosts: HashMap<CommandId, Arc<StepHost>>,
    guard: Arc<Guard>,
    terminal: Terminal,
    /// The last answer of each `until` that does not hold yet, and whether it was one that repeats.
    tries: HashMap<StepKey, ((String, bool), bool)>,
    /// The questions and long waits that nobody answers in this process.
    parked: HashSet<CommandId>,
    /// The questions that are being asked; each is told when it is withdrawn.
    asking: HashMap<CommandId, Arc<Notify>>,
    /// What was asked in this process last, at each step.
    asked: HashMap<StepKey, Digest>,
    /// Whether something that others may have sent can be taken in now.
    looks_into_inbox: bool,
    /// The message that becomes the next event.
    taken: Option<Row>,
    /// Whether a person is asked what an interruption means: nothing new is launched until then.
    is_interrupted: bool,
    /// That question, and what the interruption was.
    interruption: Option<(Digest, String)>,
    stopping: bool,
    abandoned: bool,
}

/// What goes on in the world.
type Tasks = FuturesUnordered<BoxFuture<'static, (CommandId, Done)>>;

/// An event that is applied and not yet in the journal.
struct Written {
    at: i64,
    kind: &'static str,
    step: StepKey,
    data: String,
}

/// Something to do in the world, once everything before it is written down.
struct Waiting {
    id: CommandId,
    what: What,
    sync: Sync,
}

enum What {
    Require(Vec<plan::Requirement>),
    Lock(Vec<String>, bool),
    Probe(runwright_core::machine::Task),
    Look(runwright_core::machine::Task),
    Keep(runwright_core::machine::Task, runwright_core::value::Value),
    Perform,
    UndoLook(
        runwright_core::kind::UndoRecord,
        Option<runwright_core::units::Span>,
    ),
    UndoPerform,
    Ask(Box<Question>),
    AskWhatNow(Box<Question>),
    Sleep(runwright_core::units::Time),
}

/// A step or an undo between its intention and its act.
enum Opened {
    Step(
        Arc<dyn Action>,
        runwright_core::machine::Task,
        Option<runwright_core::value::Value>,
    ),
    Undo(Arc<dyn Undoes>, Option<runwright_core::units::Span>),
    Terminal(String),
}

impl Run {
    /// Begins a run: its first event is written down, synced where the plan changes anything.
    ///
    /// # Errors
    ///
    /// When the journal refuses it.
    pub fn begin(
        journal: &Journal,
        plan: Arc<Plan>,
        begun: Begun,
        around: Surroundings,
    ) -> Result<Run, RunError> {
        let room = match plan.effect() {
            Effect::Read => Room::Plenty,
            _ => journal.room()?,
        };
        let sync = if plan.effect() > Effect::Read {
            Sync::Yes
        } else {
            Sync::No
        };
        let writer = begin_with_texts(journal, &plan, &begun.run, sync)?;
        let mut run = Run::new(plan, State::new(), writer, around, begun);
        run.room = room;
        run.write_begun()?;
        Ok(run)
    }

    /// Begins a run that undoes what the run in `state` has left.
    ///
    /// # Errors
    ///
    /// When the journal refuses it.
    pub async fn begin_undoing(
        journal: &Journal,
        plan: Arc<Plan>,
        state: State,
        begun: Begun,
        around: Surroundings,
    ) -> Result<Run, RunError> {
        let undone = begun.undoes.as_deref();
        let undone = undone.map(|undone| hold(journal, undone)).transpose()?;
        let held = locking::again(journal, &begun, &around, state.held(), true).await?;
        let writer = begin_with_texts(journal, &plan, &begun.run, Sync::Yes)?;
        let mut run = Run::new(plan, state.take_over(), writer, around, begun);
        run._undone = undone.flatten();
        run.held = held;
        run.write_begun()?;
        Ok(run)
    }

    /// Begins a run that goes on from a step of the run in `state`: see [`State::take_over_from`]. The first run ends
    /// with that, and names this one.
    ///
    /// # Errors
    ///
    /// When another process holds the first run, when a lock can't be had, or when the journal refuses it.
    pub async fn begin_from(
        journal: &Journal,
        plan: Arc<Plan>,
        state: State,
        begun: Begun,
        around: Surroundings,
    ) -> Result<Run, RunError> {
        let Some(first) = state.begun().cloned() else {
            return Err(RunError::unreadable("?", "begun"));
        };
        // Who holds the first run's lock decides what becomes of it.
        let earlier = journal.reopen(&first.run)?;
        let mut held = locking::again(journal, &first, &around, state.held(), true).await?;
        let from = begun.continues.as_ref().map(|continued| &continued.from);
        let taken_over = state
            .clone()
            .take_over_from(&plan, from.map_or("", |from| from))
            .map_err(|why| RunError::unreadable(&first.run, &why))?;
        let writer = begin_with_texts(journal, &plan, &begun.run, Sync::Yes)?;
        around.clock.not_before(state.now());
        let mut run = Run::new(plan.clone(), taken_over, writer, around, begun);
        run.write_begun()?;
        run.flush(Sync::Yes)?;
        if let Some(held) = &mut held {
            held.pass_to(&run.begun.run, &run.begun.user)?;
        }
        run.held = held;
        hand_over(&plan, state, earlier, &first, &run)?;
        Ok(run)
    }

    /// Takes up a run that has stopped or whose process is gone.
    ///
    /// # Errors
    ///
    /// When another process holds it, or its events can't be read.
    pub async fn resume(
        journal: &Journal,
        plan: Arc<Plan>,
        run: &str,
        by: &str,
        goal: Goal,
        around: Surroundings,
    ) -> Result<Run, RunError> {
        let room = match plan.effect() {
            effect if goal == Goal::Work && effect > Effect::Read => journal.room()?,
            _ => Room::Reserve,
        };
        let writer = journal.reopen(run)?;
        step_lock::sweep(writer.folder());
        let (state, mut projector, events) = project(journal, &plan, run)?;
        // They are in the journal already.
        projector.rows();
        let begun = state
            .begun()
            .map(|begun| (**begun).clone())
            .ok_or_else(|| RunError::Unreadable {
                run: run.to_owned(),
                kind: "begun".to_owned(),
            })?;
        around.clock.not_before(state.now());
        let undone = begun.undoes.as_deref();
        let undone = undone.map(|undone| hold(journal, undone)).transpose()?;
        let is_changed = state.is_dirty();
        let held = locking::again(journal, &begun, &around, state.held(), is_changed).await?;
        let mut run = Run::new(plan, state, writer, around, begun);
        run.held = held;
        run.room = room;
        run._undone = undone.flatten();
        run.projector = projector;
        run.seq = events;
        run.write(&Event {
            at: run.around.clock.now(),
            step: "".into(),
            body: Body::Resumed {
                by: by.to_owned(),
                goal,
                attended: run.around.manner.attended,
                reason: run.around.manner.reason.clone(),
            },
        })?;
        Ok(run)
    }

    fn write_begun(&mut self) -> Result<(), RunError> {
        let begun = Body::Begun(Box::new((*self.begun).clone()));
        self.write(&Event {
            at: self.around.clock.now(),
            step: "".into(),
            body: begun,
        })
    }

    fn new(
        plan: Arc<Plan>,
        state: State,
        writer: RunWriter,
        around: Surroundings,
        begun: Begun,
    ) -> Run {
        let earlier = earlier(writer.journal(), &begun);
        Run {
            guard: Arc::new(Guard::new(around.guard.clone())),
            keys: Arc::new(Keys::of(writer.folder(), &earlier)),
            earlier: earlier.into(),
            terminal: Terminal::default(),
            plan,
            state,
            writer,
            around,
            projector: Projector::default(),
            _undone: None,
            held: None,
            room: Room::Reserve,
            children: Arc::new(begun.children.clone()),
            begun: Arc::new(begun),
            seq: 0,
            pending: Vec::new(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            acting: HashMap::new(),
            hosts: HashMap::new(),
            tries: HashMap::new(),
            parked: HashSet::new(),
            asking: HashMap::new(),
            asked: HashMap::new(),
            looks_into_inbox: false,
            taken: None,
            is_interrupted: false,
            interruption: None,
            stopping: false,
            abandoned: false,
        }
    }

    /// Returns what is to be done once the run is over, whoever it belongs to.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep {
            journal: self.writer.journal().clone(),
            kinds: self.around.kinds.clone(),
            host: self.begun.host.clone(),
            machine: self.begun.machine.clone(),
        }
    }

    /// Returns whether its head is to be signed.
    pub fn is_signing(&self) -> bool {
        self.around.signer.is_some()
    }

    /// Works until the run has ended or stopped; returns what became of it.
    ///
    /// # Errors
    ///
    /// When the journal can't be written: nothing further starts, and the run can be taken up again.
    pub async fn drive(
        mut self,
        mut interrupts: mpsc::UnboundedReceiver<Interrupt>,
    ) -> Result<Summary, RunError> {
        let mut tasks = Tasks::new();
        let worked = match self.work_off(&mut tasks, &mut interrupts).await {
            Ok(()) => self.finish(),
            Err(error) => Err(error),
        };
        match worked {
            Err(RunError::Journal(error)) => Err(self.give_up(tasks, error).await),
            other => other,
        }
    }

    async fn work_off(
        &mut self,
        tasks: &mut Tasks,
        interrupts: &mut mpsc::UnboundedReceiver<Interrupt>,
    ) -> Result<(), RunError> {
        self.read_secrets_again().await;
        let mut listening = true;
        let mut tick = tokio::time::interval_at(Instant::now() + INBOX, INBOX);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some((id, answer)) = self.ready.pop_front() {
                self.answer(id, answer)?;
            }
            let mode = self.state.mode();
            if self.abandoned || matches!(mode, Mode::Ended | Mode::Stopped | Mode::Waiting) {
                return Ok(());
            }
            let sync = match self.waiting.iter().any(|waiting| waiting.sync == Sync::Yes) {
                true => Sync::Yes,
                false => Sync::No,
            };
            self.flush(sync)?;
            self.withdraw();
            if self.looks_into_inbox {
                self.take_in()?;
                continue;
            }
            for waiting in self.take_waiting() {
                tasks.push(self.launch(waiting));
            }
            if !self.ready.is_empty() {
                continue;
            }
            if self.only_waits(tasks.len()) {
                self.leave(interrupts).await?;
                continue;
            }
            tokio::select! {
                biased;
                interrupt = interrupts.recv(), if listening => match interrupt {
                    Some(interrupt) => self.interrupted(&interrupt)?,
                    None => listening = false,
                },
                Some((id, done)) = tasks.next() => self.done(id, done)?,
                _ = tick.tick() => {
                    self.answer_by_clock()?;
                    self.looks_into_inbox = true;
                }
                else => return Ok(()),
            }
        }
    }

    /// Ends what runs, of which nothing can be written down any more.
    async fn give_up(&mut self, mut tasks: Tasks, source: JournalError) -> RunError {
        let mut steps: Vec<StepKey> = self.pending.iter().map(|it| it.step.clone()).collect();
        steps.extend(self.hosts.keys().map(|id| id.step.clone()));
        steps.retain(|step| !step.is_empty());
        steps.sort();
        steps.dedup();
        self.hosts.values().for_each(|host| host.cancel());
        // Only what has a host works in the world; a question may never be answered.
        while !self.hosts.is_empty() {
            let Some((id, _)) = tasks.next().await else {
                break;
            };
            self.hosts.remove(&id);
        }
        RunError::Unwritten {
            run: self.writer.run().to_owned(),
            steps,
            source: Box::new(source),
        }
    }

    /// Returns what can be launched now. A question that was answered meanwhile is not asked; while a person is asked
    /// what an interruption means, only that is.
    fn take_waiting(&mut self) -> Vec<Waiting> {
        let state = &self.state;
        self.waiting
            .retain(|waiting| !matches!(waiting.what, What::Ask(_)) || state.is_due(&waiting.id));
        let (now, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| {
                !self.is_interrupted || matches!(waiting.what, What::AskWhatNow(_))
            });
        self.waiting = later;
        now
    }

    /// Takes in an answer.
    fn answer(&mut self, id: CommandId, answer: Answer) -> Result<(), RunError> {
        let starts = match &answer {
            Answer::Started { .. } => Some(What::Perform),
            Answer::Undoing => Some(What::UndoPerform),
            _ => None,
        };
        let at = self.around.clock.now();
        // The only way in from the world: nothing behind it tells a secret.
        let answer = self.around.vault.mask_answer(answer);
        let starts = starts.filter(|_| !matches!(answer, Answer::Finished { .. }));
        let body = match self.state.event(&self.plan, &id, at, answer) {
            Ok(body) => body,
            // Questions and waits are withdrawn when the run stops or a step fails; their answers come to nothing.
            Err(_) if self.stopping || matches!(id.phase, JobPhase::Ask | JobPhase::Sleep) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.write(&Event {
            at,
            step: id.step.clone(),
            body,
        })?;
        if let Some(what) = starts {
            let sync = match self.acting.get(&id) {
                Some(Opened::Step(_, task, _)) if task.effect == Effect::Read => Sync::No,
                _ => Sync::Yes,
            };
            if sync == Sync::Yes {
                self.keep_locks()?;
            }
            self.waiting.push(Waiting { id, what, sync });
        }
        Ok(())
    }

    /// Applies an event, tells people, and takes up what it made due.
    fn write(&mut self, event: &Event) -> Result<(), RunError> {
        self.state.apply(&self.plan, event);
        if self.repeats(event) {
            return self.take_up();
        }
        self.seq += 1;
        self.projector
            .note(&self.plan, &self.state, &self.begun, event, self.seq);
        self.pending.push(Written {
            at: event.at.milliseconds,
            kind: event.body.kind(),
            step: event.step.clone(),
            data: event.body.data().to_string(),
        });
        if matches!(event.body, Body::Stopped { .. } | Body::Ended(_)) {
            // Nobody hears of an end that is not in the journal.
            self.flush(Sync::Yes)?;
        }
        self.tell(event);
        self.take_up()
    }

    /// Takes up what the last event made due.
    fn take_up(&mut self) -> Result<(), RunError> {
        for command in self.state.decide() {
            self.accept(command)?;
        }
        Ok(())
    }

    /// Returns whether an event says only that a condition still does not hold, for the same reason as before: the
    /// journal keeps changes of the answer, not every try.
    fn repeats(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::NotYet {
                found, held_since, ..
            } => {
                let answer = (found.clone(), held_since.is_some());
                let repeated = self
                    .tries
                    .get(&event.step)
                    .is_some_and(|(last, _)| *last == answer);
                self.tries.insert(event.step.clone(), (answer, repeated));
                repeated
            }
            Body::Woke => self
                .tries
                .get(&event.step)
                .is_some_and(|(_, repeated)| *repeated),
            _ => {
                self.tries.remove(&event.step);
                false
            }
        }
    }

    fn tell(&self, event: &Event) {
        let told = told(&self.plan, &self.state, event, self.seq);
        self.around
            .reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tell(&told);
    }

    /// Takes up a command: what needs nothing of the world is answered at once.
    fn accept(&mut self, command: Command) -> Result<(), RunError> {
        let Command { id, job } = command;
        if self.begins_a_change(&job)
            && let Err(error) = self.writer.journal().need_room(self.room)
        {
            let failure = Failure::refused("begin a change that might not be written down")
                .because(&error)
                .hint(error.hint());
            self.ready.push_back((id, work::failed(failure)));
            return Ok(());
        }
        if let Some(handle) = self.lost_secret(&job) {
            let by = format!("the secret {handle}, which went with the process that had it");
            self.stop(&by, Stop::Keep)?;
            self.ready.push_back((id, work::put_off(&job)));
            return Ok(());
        }
        let (what, sync) = match job {
            Job::Record(_) => {
                self.ready.push_back((id, Answer::Recorded));
                return Ok(());
            }
            Job::Perform {
                task,
                before,
                registered,
            } => match before {
                Some(before) if !registered => (What::Keep(task, before), Sync::No),
                before => {
                    self.open(id, task, before);
                    return Ok(());
                }
            },
            Job::Notify { to, message } => {
                self.open_notice(id, to, message);
                return Ok(());
            }
            Job::Require(requires) => (What::Require(requires), Sync::No),
            Job::Lock { names, may_wait } => (What::Lock(names, may_wait), Sync::No),
            Job::Probe(task) => (What::Probe(task), Sync::No),
            Job::Look(task) => (What::Look(task), Sync::No),
            Job::Ask(question) => {
                self.note_asked(&id, &question)?;
                (What::Ask(question), Sync::Yes)
            }
            Job::Undo { record, timeout } => (What::UndoLook(record, timeout), Sync::No),
            Job::Sleep(until) => (What::Sleep(until), Sync::No),
        };
        self.waiting.push(Waiting { id, what, sync });
        Ok(())
    }

    /// Returns whether a job changes something that is not changed yet; an undo, and what runs last, is done on a full
    /// disk as well: the reserve is there for that.
    fn begins_a_change(&self, job: &Job) -> bool {
        self.state.mode() == Mode::Working
            && matches!(job, Job::Perform { task, registered: false, .. } if task.effect > Effect::Read)
    }

    /// Returns a secret result that a job needs and that nobody can give again: not a failure, which would undo
    /// everything, but something for a person.
    fn lost_secret(&self, job: &Job) -> Option<String> {
        if self.state.mode() != Mode::Working || self.stopping {
            return None;
        }
        let needed = match job {
            Job::Look(task) | Job::Perform { task, .. } => &task.arguments,
            Job::Notify { to, .. } => to,
            _ => return None,
        };
        self.around.vault.missing(needed)
    }

    /// Writes everything that has happened into the journal.
    fn flush(&mut self, sync: Sync) -> Result<(), RunError> {
        if self.pending.is_empty() && sync == Sync::No {
            return Ok(());
        }
        let events: Vec<NewEvent<'_>> = self
            .pending
            .iter()
            .map(|written| NewEvent {
                at: written.at,
                kind: written.kind,
                step: Some(&*written.step).filter(|step| !step.is_empty()),
                data: &written.data,
            })
            .collect();
        let mut rows = self.projector.rows();
        rows.extend(self.taken.take());
        self.writer.append(&events, &rows, sync)?;
        self.pending.clear();
        Ok(())
    }

    /// Lets the run stop in order.
    fn stop(&mut self, by: &str, then: Stop) -> Result<(), RunError> {
        if self.stopping {
            // Asked a second time: what still runs is left to itself, in doubt, and `resume` settles it.
            self.abandoned = true;
            return Ok(());
        }
        let at = self.around.clock.now();
        self.write(&Event {
            at,
            step: "".into(),
            body: Body::Stopping {
                by: by.to_owned(),
                then,
                reason: String::new(),
            },
        })?;
        self.stop_work();
        Ok(())
    }

    /// Ends what is at work; what was about to act does not.
    fn stop_work(&mut self) {
        self.stopping = true;
        self.parked.clear();
        for host in self.hosts.values() {
            host.cancel();
        }
        for Waiting { id, what, .. } in std::mem::take(&mut self.waiting) {
            let failure = || Failure::new(Class::Cancelled, "the run was stopped before it acted");
            match what {
                What::Perform => {
                    self.acting.remove(&id);
                    self.ready.push_back((id, work::failed(failure())));
                }
                What::UndoPerform => {
                    self.acting.remove(&id);
                    let result = UndoResult::Failed(failure());
                    self.ready.push_back((id, Answer::Undone(result)));
                }
                What::Ask(_) | What::AskWhatNow(_) | What::Sleep(_) => {}
                what => self.waiting.push(Waiting {
                    id,
                    what,
                    sync: Sync::No,
                }),
            }
        }
    }

    fn finish(&mut self) -> Result<Summary, RunError> {
        fault::pass(Point::EndBefore);
        self.flush(Sync::Yes)?;
        fault::pass(Point::EndWritten);
        if self.state.mode() == Mode::Ended {
            self.release_locks()?;
        }
        let head = self
            .writer
            .head()
            .map(|head| head.to_string())
            .unwrap_or_default();
        let mut summary = Summary::of(&self.state, &head);
        if let Some(key) = self.around.signer.clone() {
            match self.writer.sign(&key) {
                Ok(()) => summary.signed_by = Some(key.public().fingerprint()),
                // What happened is in the journal; that nobody vouches for it stands in the summary.
                Err(error) => tracing::warn!(%error, "the head could not be signed"),
            }
        }
        self.around
            .reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end(&summary);
        Ok(summary)
    }
}

/// Begins a run in the journal and keeps the texts of its playbooks.
///
/// On a full disk the reserve is given up for them: the run may be the one that makes room.
fn begin_with_texts(
    journal: &Journal,
    plan: &Plan,
    run: &str,
    sync: Sync,
) -> Result<RunWriter, JournalError> {
    let begin = || {
        let writer = journal.begin(run)?;
        for scope in &plan.scopes {
            writer.folder().keep_text(&scope.text, Sync::No)?;
        }
        if sync == Sync::Yes {
            writer.folder().sync_texts()?;
        }
        Ok(writer)
    };
    match begin() {
        Err(error)
            if JournalError::is_full(&error) && journal.release_reserve().is_ok_and(|it| it) =>
        {
            begin()
        }
        begun => begun,
    }
}

/// Returns the folders of the runs that a run undoes or goes on from, the nearest first.
fn earlier(journal: &Journal, begun: &Begun) -> Vec<RunFolder> {
    let before = |begun: &Begun| {
        let continued = begun.continues.as_ref().map(|continued| &continued.run);
        begun.undoes.as_ref().or(continued).cloned()
    };
    let mut folders = Vec::new();
    let mut next = before(begun);
    while let Some(run) = next {
        folders.extend(RunFolder::find(journal.home(), &run));
        next = self::begun(journal, &run)
            .ok()
            .and_then(|begun| before(&begun));
    }
    folders
}

/// Ends the run in `state`, from which `run` goes on.
fn hand_over(
    plan: &Plan,
    mut state: State,
    mut writer: RunWriter,
    begun: &Begun,
    run: &Run,
) -> Result<(), RunError> {
    let event = Event {
        at: run.around.clock.now(),
        step: "".into(),
        body: Body::Ended(Ended {
            outcome: Outcome::Failed,
            why: format!("the run `{}` goes on from it", run.begun.run),
            outputs: Default::default(),
            dirty: Vec::new(),
        }),
    };
    state.apply(plan, &event);
    let mut projector = Projector::default();
    projector.note(plan, &state, begun, &event, writer.next());
    let data = event.body.data().to_string();
    let event = NewEvent {
        at: event.at.milliseconds,
        kind: event.body.kind(),
        step: None,
        data: &data,
    };
    writer.append(&[event], &projector.rows(), Sync::Yes)?;
    if let Some(key) = &run.around.signer
        && let Err(error) = writer.sign(key)
    {
        tracing::warn!(%error, "the head of the earlier run could not be signed");
    }
    Ok(())
}

/// Returns an event with what only plan and state know.
pub fn told<'e>(plan: &Plan, state: &State, event: &'e Event, seq: u64) -> Told<'e> {
    Told {
        event,
        seq,
        title: state.title_of(plan, &event.step),
        depth: state.depth_of(&event.step),
        kind: state
            .node_of(&event.step)
            .map(|node| plan.node(node).body.word()),
        state: state.step_state(&event.step),
    }
}

/// Returns the state of a run after all events that the journal has of it, and how many they are.
///
/// # Errors
///
/// When the journal can't be read, or holds an event that this engine does not know.
pub fn replay(journal: &Journal, plan: &Plan, run: &str) -> Result<(State, u64), RunError> {
    let events = events(journal, run)?;
    let mut state = before(journal, plan, &events)?;
    for event in &events {
        state.apply(plan, event);
    }
    Ok((state, events.len() as u64))
}

/// Returns the rows that follow from the events of a run, as the run itself wrote them.
///
/// # Errors
///
/// When the journal can't be read, or holds an event that this engine does not know.
pub fn projected(journal: &Journal, plan: &Plan, run: &str) -> Result<Vec<Row>, RunError> {
    let (_, mut projector, _) = project(journal, plan, run)?;
    Ok(projector.rows())
}

fn project(journal: &Journal, plan: &Plan, run: &str) -> Result<(State, Projector, u64), RunError> {
    let events = events(journal, run)?;
    let mut state = before(journal, plan, &events)?;
    let mut projector = Projector::default();
    let begun = match events.first().map(|event| &event.body) {
        Some(Body::Begun(begun)) => (**begun).clone(),
        _ => return Ok((state, projector, 0)),
    };
    for (event, seq) in events.iter().zip(1..) {
        state.apply(plan, event);
        projector.note(plan, &state, &begun, event, seq);
    }
    Ok((state, projector, events.len() as u64))
}

/// Returns the state in which a run begins: a new one, or what is left of the run that it undoes.
///
/// # Errors
///
/// When the journal can't be read, or holds an event that this engine does not know.
pub fn before(journal: &Journal, plan: &Plan, events: &[Event]) -> Result<State, RunError> {
    match events.first().map(|event| &event.body) {
        Some(Body::Begun(begun)) => match &begun.undoes {
            Some(undone) => Ok(replay(journal, plan, undone)?.0.take_over()),
            None => match &begun.continues {
                Some(continued) => replay(journal, plan, &continued.run)?
                    .0
                    .take_over_from(plan, &continued.from)
                    .map_err(|why| RunError::unreadable(&begun.run, &why)),
                None => Ok(State::new()),
            },
        },
        _ => Ok(State::new()),
    }
}

/// Returns how a run began.
///
/// # Errors
///
/// When the journal can't be read, or its first event is none that this engine knows.
pub fn begun(journal: &Journal, run: &str) -> Result<Begun, RunError> {
    let first = journal.events(run).next().transpose()?;
    match first.map(|stored| read(run, &stored)).transpose()? {
        Some(Event {
            body: Body::Begun(begun),
            ..
        }) => Ok(*begun),
        Some(Event {
            body: Body::Previewed(_),
            ..
        }) => Err(RunError::Previewed {
            run: run.to_owned(),
        }),
        _ => Err(RunError::unreadable(run, "begun")),
    }
}

/// Returns every event of a run.
///
/// # Errors
///
/// When the journal can't be read, or holds an event that this engine does not know.
pub fn events(journal: &Journal, run: &str) -> Result<Vec<Event>, RunError> {
    journal
        .events(run)
        .map(|stored| read(run, &stored?))
        .collect()
}

fn read(run: &str, stored: &StoredEvent) -> Result<Event, RunError> {
    let unreadable = || RunError::unreadable(run, &stored.kind);
    let data = serde_json::from_str(&stored.data).map_err(|_| unreadable())?;
    Ok(Event {
        at: runwright_core::units::Time::from_milliseconds(stored.at),
        step: stored.step.as_deref().unwrap_or_default().into(),
        body: Body::from_stored(&stored.kind, &data).map_err(|_| unreadable())?,
    })
}
