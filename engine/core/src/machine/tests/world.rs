//! The fake driver: fake kinds, a world that remembers what was done in it, and the script of what happens there.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cuts;
use crate::{
    diagnostic::{Diagnostic, Source},
    event::{Ask, Begun, Body, Event, FailOn, Finding, Goal, Reply, StepState, Stop, UndoResult},
    kind::{
        Change, Cx, Description, Effect, Failure, Kind, Look, Looked, NoUndo, Step, Undo, UndoLook,
        UndoRecord,
    },
    language,
    machine::{Answer, Command, CommandId, Job, Mode, State, Task},
    plan::Plan,
    summary,
    units::{Span, Time},
    value::{Fields, Value},
};

const READS: &str = "test.read";
const CHANGES: &str = "test.change";
const COMMAND: &str = "command";
const AGAIN: &str = "test.again";
const DESTROYS: &str = "test.destroy";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Given {
    n: Option<i64>,
    text: Option<String>,
    items: Option<Vec<i64>>,
    size: Option<i64>,
}

/// The undo of the fake kinds; only its record is used.
#[derive(Debug, Serialize, Deserialize)]
struct PutBack {
    key: String,
}

impl Undo for PutBack {
    fn describe(&self) -> String {
        format!("put back {}", self.key)
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        Ok(UndoLook::Needed)
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        Ok(())
    }
}

macro_rules! fake {
    ($name:ident, $effect:expr, $looks:expr, $undo:ty) => {
        /// A fake.
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only the schema is used")]
        struct $name {
            /// Anything.
            of: Option<String>,
            /// A number.
            n: Option<i64>,
        }

        impl Step for $name {
            type Output = Given;
            type Before = ();
            type Undo = $undo;
            const EFFECT: Effect = $effect;
            const LOOKS: bool = $looks;

            fn touches(&self) -> Vec<crate::kind::Touch> {
                Vec::new()
            }

            fn describe(&self) -> Description {
                Description::default()
            }

            async fn look(&self, _: &Cx) -> Result<Look<Given, ()>, Failure> {
                Ok(Look::Needed(Change {
                    before: (),
                    summary: String::new(),
                    diff: None,
                }))
            }

            fn undo(&self, (): &()) -> Option<$undo> {
                None
            }

            async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<Given, Failure> {
                Err(Failure::internal("act in a test"))
            }
        }
    };
}

fake!(Reads, Effect::Read, true, NoUndo);
fake!(Changes, Effect::Change, true, PutBack);
fake!(Runs, Effect::Change, false, NoUndo);
fake!(Again, Effect::Change, true, PutBack);
fake!(Destroys, Effect::Destroy, true, NoUndo);

fn kinds() -> Vec<Kind> {
    vec![
        Kind::of::<Reads>(READS),
        Kind::of::<Changes>(CHANGES),
        Kind::of::<Runs>(COMMAND),
        Kind::of::<Again>(AGAIN),
        Kind::of::<Destroys>(DESTROYS),
    ]
}

/// Returns the plan of the first of some playbooks, which are divided by `---`.
///
/// What every playbook must say is put before each: only `playbook` where it is another one than `test`.
pub(super) fn plan(yaml: &str) -> Plan {
    let playbooks: Vec<Arc<language::Playbook>> = yaml
        .split("\n---\n")
        .map(|text| {
            let name = match text.contains("playbook: called") && text.starts_with("playbook") {
                true => "",
                false => "playbook: test\n",
            };
            let text = format!("{name}version: 1.0.0\ntitle: Test\n{text}");
            let source = Source::new("test.yml", text.as_str());
            let (read, problems) = language::read(&source, None, &kinds());
            Arc::new(read.unwrap_or_else(|| panic!("{problems:#?}\n{text}")))
        })
        .collect();
    language::link(&playbooks[0], &mut |_, call| {
        let found = playbooks
            .iter()
            .find(|playbook| playbook.scope.name == call.name);
        found
            .cloned()
            .ok_or_else(|| Diagnostic::error("no such playbook", call.place.clone()))
    })
    .expect("the playbooks of a test fit together")
}

pub(super) fn begun() -> Begun {
    Begun {
        version: 1,
        engine: "test".into(),
        run: "abcdefghijkl".into(),
        playbook: "test".into(),
        playbook_version: "1.0.0".into(),
        title: "Test".into(),
        path: "test.yml".into(),
        texts: BTreeMap::new(),
        inputs: Fields::new(),
        sources: BTreeMap::new(),
        user: "ann".into(),
        host: "here".into(),
        children: Default::default(),
        account: "ann".into(),
        machine: String::new(),
        undoes: None,
        continues: None,
        attended: false,
        yes: false,
        fail_on: FailOn::Warning,
        unseen: None,
    }
}

/// Everything outside the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// What happens to each step, by `step phase`; the last word of a look or an undo stays.
    script: BTreeMap<String, VecDeque<String>>,
    /// What was changed and not put back.
    pub done: BTreeMap<String, bool>,
    /// How often each step has acted to its end.
    pub acted: BTreeMap<String, u32>,
    /// What goes on after a stop.
    goals: VecDeque<Goal>,
    /// After which lines of the transcript a signal comes.
    signals: VecDeque<(Stop, String)>,
    /// What a preview does not know.
    unknown: Vec<String>,
    /// Whether a person sits at the terminal.
    pub attended: bool,
    at: i64,
    /// Whether a question is written down before anybody hears it. Most transcripts are shorter without.
    writes_questions: bool,
    /// Whether the state before a change is another one at each look.
    pub drifts: bool,
    /// In which order the answers come: 0 is the order of the commands, each other number another one.
    pub order: u64,
}

impl World {
    /// A line of the script is `step: outcome; outcome`, with a phase behind the step (`look`, `probe`, `undo`,
    /// `ask`) where it is not what the step does; or `resume: work; roll back`, `signal: LINE`, `unknown: step`,
    /// `questions: written`.
    pub(super) fn read(script: &str) -> World {
        let mut world = World::default();
        world.tell(script);
        world
    }

    /// Adds to the script.
    pub(super) fn tell(&mut self, script: &str) {
        let world = self;
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (name, rest) = line.split_once(": ").expect("a line of a script has `: `");
            let outcomes = rest.split(';').map(|outcome| outcome.trim().to_owned());
            match name {
                "resume" => world.goals = outcomes.map(|goal| goal_of(&goal)).collect(),
                "questions" => world.writes_questions = rest == "written",
                "signal" => world.signals.push_back((Stop::Keep, rest.to_owned())),
                "cancelled" => world.signals.push_back((Stop::Cancel, rest.to_owned())),
                "undone" => world.signals.push_back((Stop::RollBack, rest.to_owned())),
                "given up" => world.signals.push_back((Stop::GiveUp, rest.to_owned())),
                "terminal" => world.attended = rest == "yes",
                "unknown" => world.unknown = outcomes.collect(),
                name => {
                    let name = match name.contains(' ') {
                        true => name.to_owned(),
                        false => format!("{name} do"),
                    };
                    world.script.insert(name, outcomes.collect());
                }
            }
        }
    }

    /// Returns under which name the script speaks of a step.
    fn key(&self, step: &str, phase: &str) -> String {
        let step = match step.is_empty() {
            true => "run",
            false => step,
        };
        // A round of a loop may have its own words, or share those of its step.
        let (_, id) = step.rsplit_once('/').unwrap_or(("", step));
        let own = format!("{step} {phase}");
        match self.script.contains_key(&own) {
            true => own,
            false => format!("{id} {phase}"),
        }
    }

    fn next(&mut self, step: &str, phase: &str) -> Option<String> {
        let key = self.key(step, phase);
        let queue = self.script.get_mut(&key)?;
        match queue.len() {
            1 if !["do", "ask", "require"].contains(&phase) => queue.front().cloned(),
            _ => queue.pop_front(),
        }
    }

    /// Returns the one of some works that comes first.
    fn pick(&mut self, works: &[usize]) -> Option<usize> {
        if self.order == 0 || works.is_empty() {
            return works.first().copied();
        }
        self.order = self
            .order
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1)
            | 1;
        let (choices, dice) = (works.len() as u64, self.order >> 33);
        works.get((dice % choices) as usize).copied()
    }

    fn is_done(&self, step: &str) -> bool {
        self.done.get(step).copied().unwrap_or_default()
    }

    fn act(&mut self, step: &str) {
        self.done.insert(step.to_owned(), true);
        *self.acted.entry(step.to_owned()).or_default() += 1;
    }
}

fn goal_of(word: &str) -> Goal {
    match word {
        "work" => Goal::Work,
        "roll back" => Goal::RollBack,
        "cancel" => Goal::Cancel,
        "give up" => Goal::GiveUp,
        other => panic!("no goal: {other}"),
    }
}

/// A run under way: events so far, the machine after them, what the driver still has to do.
#[derive(Clone)]
pub(super) struct Story<'p> {
    pub plan: &'p Plan,
    pub state: State,
    pub world: World,
    pub events: Vec<Event>,
    queue: VecDeque<Work>,
    /// After each event: the world then.
    pub worlds: Vec<World>,
    keeps_worlds: bool,
    /// After how many events a signal comes.
    signals_after: Vec<usize>,
    /// After each event: what is due then.
    pub dues: Vec<Vec<CommandId>>,
    /// Where a run that takes over another one begins.
    pub base: State,
}

#[derive(Clone, Debug)]
enum Work {
    Take(Command),
    /// It has started, and is now to act.
    Act(CommandId, Task),
    Undo(CommandId),
}

impl<'p> Story<'p> {
    pub(super) fn begin(plan: &'p Plan, world: World) -> Story<'p> {
        let begun = Begun {
            attended: world.attended,
            ..begun()
        };
        Story::begin_on(plan, world, State::new(), begun)
    }

    pub(super) fn begin_on(plan: &'p Plan, world: World, state: State, begun: Begun) -> Story<'p> {
        let mut story = Story {
            plan,
            base: state.clone(),
            keeps_worlds: true,
            signals_after: Vec::new(),
            dues: Vec::new(),
            state,
            world,
            events: Vec::new(),
            queue: VecDeque::new(),
            worlds: Vec::new(),
        };
        story.write("", Body::Begun(Box::new(begun)));
        story
    }

    /// The same run in a new process, after its first `events` events.
    pub(super) fn cut(&self, events: usize) -> Story<'p> {
        let mut state = self.base.clone();
        for event in &self.events[..events] {
            state.apply(self.plan, event);
        }
        Story {
            plan: self.plan,
            base: self.base.clone(),
            keeps_worlds: true,
            signals_after: Vec::new(),
            dues: self.dues[..events].to_vec(),
            state,
            world: self.worlds[events - 1].clone(),
            events: self.events[..events].to_vec(),
            queue: VecDeque::new(),
            worlds: self.worlds[..events].to_vec(),
        }
    }

    pub(super) fn write(&mut self, step: &str, body: Body) {
        assert_ne!(self.state.mode(), Mode::Ended, "no event follows the end");
        self.world.at += 1;
        let event = Event {
            at: Time::from_milliseconds(self.world.at),
            step: step.into(),
            body,
        };
        let line = line(&event);
        self.state.apply(self.plan, &event);
        self.events.push(event);
        self.check_decided();
        self.queue
            .extend(self.state.decide().into_iter().map(Work::Take));
        let settled = matches!(self.state.mode(), Mode::Stopped | Mode::Ended);
        assert_eq!(
            settled,
            self.state.due.is_empty(),
            "something is due until the run has ended or stopped, and nothing after that: {line}"
        );
        let signal = self.world.signals.front().cloned();
        let signal = signal.filter(|(_, after)| *after == line);
        let is_signalled = signal.is_some();
        if (is_signalled || self.signals_after.contains(&self.events.len())) && !settled {
            if is_signalled {
                self.world.signals.pop_front();
            }
            self.keep_world();
            self.write(
                "",
                Body::Stopping {
                    by: "SIGTERM".into(),
                    then: signal.map_or(Stop::Keep, |(then, _)| then),
                    reason: String::new(),
                },
            );
            return;
        }
        self.keep_world();
    }

    /// What an event makes due is due, and nothing is due twice.
    fn check_decided(&self) {
        let due: Vec<CommandId> = self.state.due().into_iter().map(|due| due.id).collect();
        for (index, id) in due.iter().enumerate() {
            assert!(
                !due[..index].contains(id),
                "{id:?} is due twice:\n{}",
                self.transcript()
            );
        }
        for command in self.state.decide() {
            assert!(
                due.contains(&command.id),
                "{command:?} is decided and not due"
            );
        }
    }

    /// Lets a signal come after so many events.
    pub(super) fn stop_after(&mut self, events: usize) {
        self.signals_after.push(events);
    }

    fn keep_world(&mut self) {
        if self.keeps_worlds {
            let due = self.state.due().into_iter().map(|command| command.id);
            self.dues.push(due.collect());
            self.worlds.push(self.world.clone());
        }
    }

    fn answer(&mut self, id: &CommandId, answer: Answer) -> bool {
        let at = Time::from_milliseconds(self.world.at + 1);
        match self.state.event(self.plan, id, at, answer) {
            Ok(body) => {
                self.write(&id.step, body);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn resume(&mut self, goal: Goal) {
        self.queue.clear();
        self.write(
            "",
            Body::Resumed {
                by: "bob".into(),
                goal,
                attended: self.world.attended,
                reason: String::new(),
            },
        );
        if self.state.stopping.is_some() {
            // A signal came at once.
            return;
        }
        let ids = |due: Vec<Command>| due.into_iter().map(|due| due.id).collect::<Vec<_>>();
        assert_eq!(
            ids(self.state.due()),
            ids(self.state.decide()),
            "what is due after a resume is taken up:\n{}",
            self.transcript()
        );
    }

    /// Goes on to the end; `false` where nobody goes on with a run that has stopped.
    pub(super) fn drive(&mut self) -> bool {
        for _ in 0..200_000 {
            match self.state.mode() {
                Mode::Ended => return true,
                Mode::Stopped | Mode::Waiting => match self.world.goals.pop_front() {
                    Some(goal) => {
                        // The goal is used up with the event.
                        self.resume(goal);
                        continue;
                    }
                    None => return false,
                },
                _ => {}
            }
            self.step();
        }
        panic!("the run does not end:\n{}", self.transcript());
    }

    /// Does one thing: what can be done at once first, then what wakes first.
    fn step(&mut self) {
        let sleeper = |work: &Work| match work {
            Work::Take(Command {
                job: Job::Sleep(until),
                ..
            }) => Some(until.milliseconds),
            Work::Take(Command {
                job: Job::Ask(question),
                ..
            }) => match question.ask {
                Ask::Until(until) => Some(until.milliseconds),
                _ => None,
            },
            _ => None,
        };
        let awake = self.queue.iter().enumerate();
        let awake = awake.filter(|(_, work)| sleeper(work).is_none());
        let awake: Vec<usize> = awake.map(|(index, _)| index).collect();
        let now = self.world.pick(&awake);
        let next = now.or_else(|| {
            let sleepers = self.queue.iter().enumerate();
            let first = sleepers.min_by_key(|(_, work)| sleeper(work));
            first.map(|(index, _)| index)
        });
        let Some(work) = next.and_then(|index| self.queue.remove(index)) else {
            panic!("nothing is due:\n{}", self.transcript());
        };
        if let Some(until) = sleeper(&work) {
            self.world.at = self.world.at.max(until - 1);
        }
        self.work(work);
    }

    fn work(&mut self, work: Work) {
        let before = self.state.stopping.as_ref().map(|_| self.world.clone());
        let is_taken = match work {
            Work::Take(Command { id, job }) => self.take(id, job),
            Work::Act(id, task) => self.act(&id, &task),
            Work::Undo(id) => {
                self.world.done.insert(id.step.to_string(), false);
                self.answer(&id, Answer::Undone(UndoResult::Undone))
            }
        };
        if !is_taken {
            // A late answer comes to nothing.
            if let Some(before) = before {
                self.world = before;
            }
        }
    }

    fn take(&mut self, id: CommandId, job: Job) -> bool {
        match job {
            Job::Record(_) => self.answer(&id, Answer::Recorded),
            Job::Require(_) => {
                let missing = self.world.next(&id.step, "require");
                self.answer(&id, Answer::Required(missing.into_iter().collect()))
            }
            Job::Lock { .. } => {
                let refused = self.world.next(&id.step, "lock");
                self.answer(&id, Answer::Locked(refused.map_or(Ok(Vec::new()), Err)))
            }
            Job::Probe(task) => {
                let result = self.look_result(&id, &task, "probe");
                self.answer(&id, Answer::Probed(result))
            }
            Job::Look(task) => {
                let look = self.look(&id, &task);
                let answer = Answer::Looked {
                    action: action(&task),
                    look,
                    took: Span::default(),
                };
                self.answer(&id, answer)
            }
            Job::Perform { task, .. } => {
                if self.world.unknown.contains(&id.step.to_string()) {
                    let result = Ok(Value::Unknown(format!("step `{}`", id.step).into()));
                    return self.answer(&id, finished(result));
                }
                let undo = undo(&id, &task);
                let action = action(&task);
                let taken = self.answer(&id, Answer::Started { action, undo });
                self.queue.push_back(Work::Act(id, task));
                taken
            }
            Job::Notify { message, .. } => {
                let action = Description::new(message);
                let task = Task {
                    kind: "notify".into(),
                    arguments: Value::Null,
                    effect: Effect::Change,
                    timeout: None,
                    sensitive: Default::default(),
                };
                let taken = self.answer(&id, Answer::Started { action, undo: None });
                self.queue.push_back(Work::Act(id, task));
                taken
            }
            Job::Undo { record, .. } => self.undo(id, &record),
            Job::Sleep(_) => self.answer(&id, Answer::Slept),
            Job::Ask(question) => {
                if self.world.writes_questions {
                    self.write(&id.step, Body::Asked((*question).clone()));
                }
                self.ask(&id, &question.ask)
            }
        }
    }

    fn look_result(&mut self, id: &CommandId, task: &Task, phase: &str) -> Result<Value, Failure> {
        match self.world.next(&id.step, phase) {
            Some(outcome) => outcome_of(&outcome),
            None => Ok(own_result(task)),
        }
    }

    fn look(&mut self, id: &CommandId, task: &Task) -> Result<Looked, Failure> {
        if self.world.unknown.contains(&id.step.to_string()) {
            let after: Arc<str> = format!("step `{}`", id.step).into();
            return Ok(Looked::Done(Value::Unknown(after)));
        }
        if task.kind == READS {
            return self.look_result(id, task, "do").map(Looked::Done);
        }
        let done = self.world.is_done(&id.step);
        let was = match self.world.drifts {
            true => self.world.at,
            false => 0,
        };
        match self.world.next(&id.step, "look").as_deref() {
            Some("unclear") => Ok(Looked::Unclear),
            Some(outcome) if outcome.starts_with("fail") => {
                outcome_of(outcome).map(|_| Looked::Unclear)
            }
            Some(outcome) if outcome.starts_with("done") => {
                outcome_of(&outcome.replacen("done", "ok", 1)).map(Looked::Done)
            }
            other if !done => Ok(Looked::Needed {
                before: Value::map(Fields::from([("was".to_owned(), Value::Int(was))])),
                summary: other.unwrap_or("0 -> 1").to_owned(),
                diff: None,
            }),
            _ => Ok(Looked::Done(own_result(task))),
        }
    }

    fn act(&mut self, id: &CommandId, task: &Task) -> bool {
        let result = match self.world.next(&id.step, "do") {
            Some(outcome) => outcome_of(&outcome),
            None => Ok(own_result(task)),
        };
        match &result {
            Ok(_) if task.effect > Effect::Read => self.world.act(&id.step),
            Ok(_) => {}
            Err(failure) if failure.message == "do it half" => {
                self.world.done.insert(id.step.to_string(), true);
            }
            Err(_) => {}
        }
        self.answer(id, finished(result))
    }

    fn undo(&mut self, id: CommandId, record: &UndoRecord) -> bool {
        let outcome = self.world.next(&id.step, "undo");
        let result = match outcome.as_deref() {
            _ if record.again.is_none() && !self.world.is_done(&id.step) => UndoResult::Nothing,
            Some("dirty") => UndoResult::Left(UndoLook::Dirty("somebody was there".into())),
            Some("lapsed") => UndoResult::Left(UndoLook::Lapsed("purged".into())),
            Some(fail) => match outcome_of(fail) {
                Err(failure) => UndoResult::Failed(failure),
                Ok(_) => UndoResult::Undone,
            },
            None => {
                let taken = self.answer(&id, Answer::Undoing);
                self.queue.push_back(Work::Undo(id));
                return taken;
            }
        };
        self.answer(&id, Answer::Undone(result))
    }

    fn ask(&mut self, id: &CommandId, ask: &Ask) -> bool {
        let said = Time::from_milliseconds(self.world.at + 1);
        let by = |by: &str, reply| Answer::Replied {
            by: by.to_owned(),
            reply,
            reason: String::new(),
            said,
        };
        if let Ask::Until(_) = ask {
            let remark = String::new();
            return self.answer(id, by("clock", Reply::Done { remark }));
        }
        if let Ask::InDoubt = ask {
            let reply = match (
                self.world.next(&id.step, "doubt"),
                self.world.is_done(&id.step),
            ) {
                (Some(word), _) => reply_of(&word),
                (None, true) => Reply::Done {
                    remark: String::new(),
                },
                (None, false) => Reply::Retry,
            };
            return self.answer(id, by("ann", reply));
        }
        let word = self.world.next(&id.step, "ask");
        let word = word.or_else(|| self.world.next("anybody", "says"));
        match word.as_deref() {
            None => panic!("nobody answers `{}`:\n{}", id.step, self.transcript()),
            Some("silence") => {
                self.write(
                    "",
                    Body::Stopping {
                        by: "silence".into(),
                        then: Stop::Keep,
                        reason: String::new(),
                    },
                );
                true
            }
            // Nobody is there, and nothing else is to be done.
            Some("away") => {
                self.write("", Body::Waiting { until: None });
                true
            }
            Some("--yes") => self.answer(id, by("--yes", Reply::Yes)),
            Some(word) => match word.strip_prefix('@').and_then(|word| word.split_once(' ')) {
                Some((person, word)) => self.answer(id, by(person, reply_of(word))),
                None => self.answer(id, by("ann", reply_of(word))),
            },
        }
    }

    /// Does what is under way in the world, without anything being written down; returns whether anything was.
    pub(super) fn crash_after_acting(&mut self) -> bool {
        let mut acted = false;
        for Command { id, job } in self.state.due() {
            match job {
                Job::Perform { task, .. } if task.effect > Effect::Read => {}
                Job::Undo { .. } => {
                    acted |= self.crash_after_undoing(&id.step);
                    continue;
                }
                _ => continue,
            }
            let started = self.state.is_acting(&id.step);
            let fails = self
                .world
                .script
                .get(&self.world.key(&id.step, "do"))
                .and_then(|queue| queue.front())
                .is_some_and(|outcome| !outcome.starts_with("ok"));
            if started && !fails {
                self.world.next(&id.step, "do");
                self.world.act(&id.step);
                acted = true;
            }
        }
        acted
    }

    fn crash_after_undoing(&mut self, step: &str) -> bool {
        let mut events = self.events.iter().rev();
        let last = events.find(|event| &*event.step == step);
        let begun = last.is_some_and(|event| matches!(event.body, Body::Undoing { .. }));
        begun && self.world.done.insert(step.to_owned(), false) == Some(true)
    }

    /// Keeps no worlds from here on: a long run that is not cut needs none.
    pub(super) fn forget_worlds(&mut self) {
        self.keeps_worlds = false;
    }

    pub(super) fn transcript(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            writeln!(text, "{}", line(event)).expect("text can be written");
        }
        text
    }

    /// Where the run has come to: what must be the same however often it was cut.
    pub(super) fn end(&self) -> String {
        let mut text = format!(
            "{:?} {} exit {}\n",
            self.state.mode(),
            self.state.ended().map_or("", |ended| ended.outcome.word()),
            summary::exit_code(&self.state)
        );
        for (key, frame) in self.state.standing() {
            writeln!(text, "{key} {}", frame.word()).expect("text can be written");
        }
        let mut findings: Vec<String> = self
            .state
            .findings()
            .iter()
            .map(|(step, finding)| format!("{step} {}: {}", finding.severity, finding.title))
            .collect();
        findings.sort();
        text.push_str(&findings.join("\n"));
        let done = self.world.done.iter().filter(|(_, done)| **done);
        for (key, _) in done {
            write!(text, "\nleft: {key}").expect("text can be written");
        }
        if let Some(ended) = self.state.ended() {
            let outputs = Value::map(ended.outputs.clone()).to_stored();
            write!(text, "\ngives: {outputs}\ndirty: {:?}", ended.dirty)
                .expect("text can be written");
        }
        text
    }
}

fn finished(result: Result<Value, Failure>) -> Answer {
    Answer::Finished {
        result,
        took: Span::default(),
        output: Vec::new(),
    }
}

fn action(task: &Task) -> Description {
    Description::new(format!("{} {}", task.kind, task.arguments.display()))
}

/// Returns the undo that a step of a fake kind has.
pub(super) fn undo(id: &CommandId, task: &Task) -> Option<UndoRecord> {
    let again = match task.kind.as_str() {
        AGAIN => Some(task.arguments.get("of")?.as_str()?.to_owned()),
        CHANGES => None,
        _ => return None,
    };
    Some(UndoRecord {
        kind: task.kind.clone(),
        summary: format!("put back {}", id.step),
        data: serde_json::Value::Null,
        again,
        lapses: None,
    })
}

/// What a step gives where the script does not say it: the number among its arguments.
fn own_result(task: &Task) -> Value {
    let n = task.arguments.get("n").cloned().unwrap_or(Value::Int(1));
    Value::map(Fields::from([("n".to_owned(), n)]))
}

fn outcome_of(outcome: &str) -> Result<Value, Failure> {
    let (word, rest) = outcome.split_once(' ').unwrap_or((outcome, ""));
    match word {
        "ok" if rest.is_empty() => Ok(Value::map(Fields::from([("n".to_owned(), Value::Int(1))]))),
        "ok" => Ok(Value::from_stored(
            &serde_json::from_str(rest).expect("the result is JSON"),
        )),
        "fail" => {
            let class = serde_json::from_value(rest.into()).expect("a class of failures");
            Err(Failure::new(class, "do it"))
        }
        // It fails after it has changed something.
        "half" => {
            let class = serde_json::from_value(rest.into()).expect("a class of failures");
            Err(Failure::new(class, "do it half"))
        }
        other => panic!("no outcome: {other}"),
    }
}

fn reply_of(word: &str) -> Reply {
    let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
    let remark = rest.to_owned();
    match word {
        "yes" => Reply::Yes,
        "no" => Reply::No { why: remark },
        "values" => match Value::from_stored(&serde_json::from_str(rest).expect("JSON")) {
            Value::Map(fields) => Reply::Values((*fields).clone()),
            _ => panic!("values are a map"),
        },
        "done" => Reply::Done { remark },
        "failed" => Reply::Failed { remark },
        "skip" => Reply::Skip { remark },
        "retry" => Reply::Retry,
        "undo" => Reply::RollBack,
        "stop" => Reply::Stop,
        other => panic!("no reply: {other}"),
    }
}

/// Returns an event in a line.
pub(super) fn line(event: &Event) -> String {
    let findings = |findings: &[Finding]| {
        findings
            .iter()
            .map(|finding| format!(" [{}: {}]", finding.severity, finding.title))
            .collect::<String>()
    };
    let what = match &event.body {
        Body::Required { missing } => format!("required {missing:?}"),
        Body::Asserted(asserted) => {
            let error = asserted.error.as_ref().map(|error| error.line());
            let holds = match asserted.holds {
                Some(true) => "holds",
                Some(false) => "is false",
                None => "is unknown",
            };
            let why = error.unwrap_or(asserted.why.clone());
            format!("{:?} {holds} {why}", asserted.which)
        }
        Body::Entered {
            rounds: Some(rounds),
            ..
        } => format!("entered {rounds:?}"),
        Body::Entered {
            branch: Some(branch),
            ..
        } => format!("entered branch {branch}"),
        Body::Looked { look, .. } => match look {
            Looked::Done(_) => "looked done".to_owned(),
            Looked::Needed { summary, .. } => format!("looked {summary}"),
            Looked::Unclear => "looked unclear".to_owned(),
        },
        Body::Answered { by, reply, .. } => {
            let reply = serde_json::to_string(reply).expect("a reply can be written");
            format!("answered by {by}: {reply}")
        }
        Body::Started { attempt: 1, .. } => "started".to_owned(),
        Body::Started { attempt, .. } => format!("started {attempt}"),
        Body::Finished(finished) => {
            let failure = finished.failure.as_ref();
            let failure = failure.map_or_else(String::new, |failure| {
                format!(" ({}: {})", failure.class, failure.line())
            });
            let again = finished.again.map_or_else(String::new, |again| {
                format!(" again in {}", again.milliseconds - event.at.milliseconds)
            });
            let then = finished.then.map_or_else(String::new, |then| {
                format!(" -> {}", format!("{then:?}").to_lowercase())
            });
            format!(
                "{}{failure}{again}{then}{}",
                finished.state.word(),
                findings(&finished.findings)
            )
        }
        Body::NotYet {
            held_since, found, ..
        } => match held_since {
            Some(_) => format!("not long enough {found}"),
            None => format!("not yet {found}"),
        },
        Body::Skipped { why } => format!("skipped {why}"),
        Body::Locked(locked) => match &locked.refused {
            Some(why) => format!("can't have {}: {why}", locked.names.join(" ")),
            None => format!("locked {}", locked.names.join(" ")),
        },
        Body::Adopted { state, .. } => format!("adopted {}", state.word()),
        Body::Stopping { by, .. } => format!("stopping: {by}"),
        Body::Stopped { why } => format!("stopped: {why}"),
        Body::Resumed { goal, .. } => format!("resumed {goal:?}"),
        Body::Settled { how } => format!("settled {how:?}"),
        Body::RollingBack { why } => format!("rolling back: {why}"),
        Body::Undone(undone) => match &undone.result {
            UndoResult::Undone => "undone".to_owned(),
            UndoResult::Nothing => "nothing to undo".to_owned(),
            result => result.remains().unwrap_or_default(),
        },
        Body::Raised(finding) => format!("raised{}", findings(std::slice::from_ref(finding))),
        Body::Ended(ended) => {
            let mut text = format!("ended {}", ended.outcome.word());
            if !ended.outputs.is_empty() {
                let outputs = Value::map(ended.outputs.clone()).to_stored();
                write!(text, " {outputs}").expect("text can be written");
            }
            if !ended.dirty.is_empty() {
                write!(text, " {:?}", ended.dirty).expect("text can be written");
            }
            text
        }
        body => body.kind().replace('_', " "),
    };
    let line = format!("{} {what}", event.step);
    line.trim().to_owned()
}

/// What must be the same in a run that was cut.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Same {
    /// How everything stands at the end, and what was done.
    Everything,
    /// The outcome: which of the steps beside a failure had begun depends on the moment.
    Outcome,
    /// Nothing but that it ends: the script itself is about one moment.
    Nothing,
}

/// Runs a playbook in a scripted world: its events are `expect`, its end is the same wherever it is cut.
#[track_caller]
pub(super) fn check(yaml: &str, script: &str, expect: &str) {
    check_cut(Same::Everything, yaml, script, expect);
}

/// Like [`check`], with less to compare.
#[track_caller]
pub(super) fn check_cut(same: Same, yaml: &str, script: &str, expect: &str) {
    let plan = plan(yaml);
    let mut story = Story::begin(&plan, World::read(script));
    story.drive();
    let expect: Vec<&str> = expect.trim().lines().map(str::trim).collect();
    let found = story.transcript();
    let found: Vec<&str> = found.lines().skip(1).collect();
    assert!(
        found == expect,
        "expected:\n{}\n\nfound:\n{}\n",
        expect.join("\n"),
        found.join("\n")
    );
    cuts::everywhere(same, &story);
}

/// Runs a playbook to where it ends or stops.
pub(super) fn run<'p>(plan: &'p Plan, script: &str) -> Story<'p> {
    let mut story = Story::begin(plan, World::read(script));
    story.drive();
    story
}

impl State {
    pub(super) fn is_acting(&self, key: &str) -> bool {
        self.keys
            .get(key)
            .is_some_and(|frame| self.frames[*frame].acting)
    }

    /// Returns how each step stands, by its address.
    pub(super) fn standing(&self) -> BTreeMap<String, StepState> {
        self.keys
            .iter()
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, frame)| (key.to_string(), self.frames[*frame].state))
            .collect()
    }
}
