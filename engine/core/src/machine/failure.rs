//! A failure and what it does to the run: roll back, stop, or ask a person.

use super::{
    Command, Job, JobPhase, Mode, State,
    frame::{FrameId, Phase},
};
use crate::{
    event::{Ask, Body, Goal, Question, Reply, StepState, Stop},
    kind::{Class, Failure},
    plan::{OnFailure, Plan, ScopeId},
    value::{Fields, Value},
};

/// Why nothing new starts.
#[derive(Clone, Debug)]
pub(super) struct Halt {
    pub then: OnFailure,
    pub why: String,
    pub class: Class,
    /// The step that has failed.
    pub frame: Option<FrameId>,
}

impl State {
    /// Lets nothing new start; takes back what only waits.
    ///
    /// The first failure names the reason. Where several steps fail beside each other, the most careful consequence of
    /// any of them holds: a run that has stopped can still be rolled back.
    pub(super) fn halt(&mut self, halt: Halt) {
        if self.halts.is_empty() {
            self.withdraw();
        }
        self.rechecking.clear();
        self.halts.push(halt);
    }

    /// Refuses the run as a whole: before anything has started it ends, after that it stops where it is.
    pub(super) fn refuse_run(&mut self, class: Class, why: String) {
        let then = match self.any_started() || self.is_dirty() {
            true => OnFailure::Stop,
            false => OnFailure::Rollback,
        };
        self.halt(Halt {
            then,
            why,
            class,
            frame: None,
        });
    }

    /// Returns whether cancelling the run undoes what it has changed; else it only stops, and a person decides.
    pub fn is_undone_by_cancel(&self, plan: &Plan) -> bool {
        let stays = matches!(
            plan.root().on_failure,
            Some(OnFailure::Stop | OnFailure::Ask)
        );
        !stays && !self.past_no_return
    }

    fn consequence(&self) -> Option<OnFailure> {
        let care = |then: &OnFailure| match then {
            OnFailure::Continue | OnFailure::Rollback => 0,
            OnFailure::Ask => 1,
            OnFailure::Stop => 2,
        };
        self.halts.iter().map(|halt| halt.then).max_by_key(care)
    }

    /// When nothing runs any more and something is to happen to the run as a whole: makes that due.
    pub(super) fn quiet(&mut self, plan: &Plan) {
        if !self.due.is_empty() || self.stopped || matches!(self.mode, Mode::Fresh | Mode::Ended) {
            return;
        }
        if let Some((by, then)) = self.stopping.clone() {
            match (self.mode, then) {
                (Mode::Working, Stop::RollBack) => self.give_up(Goal::RollBack, &by),
                (Mode::Working, Stop::Cancel) if self.is_undone_by_cancel(plan) => {
                    self.give_up(Goal::Cancel, &by);
                }
                (Mode::Working, Stop::GiveUp) => self.give_up(Goal::GiveUp, &by),
                _ => {
                    let why = format!("stopped by {by}");
                    return self.record_run(Body::Stopped { why });
                }
            }
            self.stopping = None;
        }
        let (Mode::Working, Some(then)) = (self.mode, self.consequence()) else {
            return;
        };
        let why = self.halts[0].why.clone();
        match then {
            OnFailure::Rollback | OnFailure::Continue if self.is_dirty() && !self.given_up => {
                self.record_run(Body::RollingBack { why });
            }
            OnFailure::Rollback | OnFailure::Continue => self.finish_run(plan),
            OnFailure::Stop => self.record_run(Body::Stopped { why }),
            OnFailure::Ask => self.ask_after_failure(),
        }
    }

    fn ask_after_failure(&mut self) {
        let asked = self.halts.iter().find_map(|halt| {
            Some((halt.frame?, halt)).filter(|(_, halt)| halt.then == OnFailure::Ask)
        });
        let Some((frame, halt)) = asked else { return };
        let why = halt.why.clone();
        let question = Question::new(Ask::OnFailure(why.clone()), why);
        let step = self.frames[frame].key.clone();
        self.issue_run(step, JobPhase::Ask, Job::Ask(Box::new(question)));
    }

    /// Returns whether the question that is due at `frame` is the one after its failure.
    pub(super) fn is_asked_after_failure(&self, frame: FrameId) -> bool {
        let due = self.run_due.and_then(|serial| self.due.get(&serial));
        matches!(due, Some(Command { id, job: Job::Ask(_) }) if id.step == self.frames[frame].key)
    }

    /// Takes in what a person chose after a failure.
    pub(super) fn after_failure(&mut self, plan: &Plan, frame: FrameId, reply: &Reply) {
        self.answered_run();
        match reply {
            Reply::Retry => {
                self.halts.retain(|halt| halt.frame != Some(frame));
                self.try_again(plan, frame);
            }
            Reply::Skip { .. } => {
                self.halts.retain(|halt| halt.frame != Some(frame));
                let this = &mut self.frames[frame];
                let (state, value) = (this.state, this.result.take().unwrap_or_default());
                self.end_with(plan, frame, state, value, None);
            }
            reply => {
                let then = match reply {
                    Reply::RollBack => OnFailure::Rollback,
                    _ => OnFailure::Stop,
                };
                self.halts.iter_mut().for_each(|halt| halt.then = then);
            }
        }
        if self.halts.is_empty() {
            self.wake(plan);
        }
    }

    /// Lets a step that has failed begin anew, with all its attempts, once the run goes on.
    ///
    /// What has ended inside it is not done again: its own `expect` is asked again about that.
    pub(super) fn try_again(&mut self, plan: &Plan, frame: FrameId) {
        let is_asked_again = self
            .node(plan, frame)
            .is_some_and(|node| node.until.is_some());
        let this = &mut self.frames[frame];
        if this.inside.is_some() && !is_asked_again {
            this.phase = Phase::Inside;
        } else if !matches!(this.phase, Phase::Settle(_)) {
            this.phase = Phase::Unless;
        }
        this.tries = None;
        this.state = match this.started {
            true => StepState::Running,
            false => StepState::Pending,
        };
        self.suspended.push(frame);
    }

    /// Keeps a failed step for a further try, or for the rollback, and halts the run.
    pub(super) fn halt_by(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        then: OnFailure,
        state: StepState,
        failure: &Failure,
        result: Fields,
    ) {
        let value = self.common_fields(plan, frame, state, result);
        let this = &mut self.frames[frame];
        this.state = state;
        this.phase = Phase::Unless;
        this.result = Some(value);
        let why = format!("step `{}` failed: {}", this.key, failure.line());
        self.halt(Halt {
            then,
            why,
            class: failure.class,
            frame: Some(frame),
        });
    }

    /// Ends `frame` with `failure`: a step by an event of its own, a playbook by its call or by refusing the run.
    pub(super) fn fail_later(&mut self, plan: &Plan, frame: FrameId, failure: Failure) {
        let step = match (self.node(plan, frame), self.frames[frame].parent) {
            (Some(_), _) => frame,
            // A called playbook that is refused fails its `call` step.
            (None, Some(call)) => {
                self.frames[frame].phase = Phase::Ended;
                call
            }
            (None, None) => return self.refuse_run(failure.class, failure.line()),
        };
        let body = self.judge(plan, step, Err(failure));
        self.record(step, body);
    }

    /// Works out the vars of a playbook; one that can't be worked out refuses it.
    pub(super) fn name_vars_or_fail(
        &mut self,
        plan: &Plan,
        block: FrameId,
        scope: ScopeId,
    ) -> bool {
        let env = self.frames[block].env;
        match self.name_vars(plan, env, scope) {
            Ok(()) => true,
            Err(failure) => {
                let class = Class::Refused;
                self.fail_later(plan, block, Failure { class, ..failure });
                false
            }
        }
    }
}

/// A result without a field.
pub(super) fn nothing() -> Value {
    Value::map(Fields::new())
}
