//! What holds in every run, worked out from its events and the plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::TestCaseError;

use super::world::{self, Story};
use crate::{
    event::{
        Ask, Body, Event, FailOn, Finding, Goal, Outcome, Reply, StepKey, StepState, UndoResult,
    },
    kind::{Class, Description, Effect, Failure, Looked, UndoLook, UndoRecord},
    machine::{
        Answer, CommandId, Job, JobPhase, Mode, State,
        frame::{FrameId, Role},
    },
    plan::{self, Plan, ScopeId, Severity},
    summary::{self, Summary},
    units::{Span, Time},
    value::{Fields, Value},
};

/// Returns what does not hold; `earlier` is what happened in the run that this one undoes.
pub(super) fn hold(story: &Story<'_>, earlier: &[Event]) -> Result<(), TestCaseError> {
    let found = check(story, earlier).and_then(|()| the_world_is_put_back(story));
    found.map_err(|what| TestCaseError::fail(format!("{what}:\n{}", story.transcript())))
}

fn check(story: &Story<'_>, earlier: &[Event]) -> Result<(), String> {
    the_events_are_the_truth(story)?;
    in_order(story, earlier)
}

fn in_order(story: &Story<'_>, earlier: &[Event]) -> Result<(), String> {
    nothing_acts_unannounced(story)?;
    undos_come_in_order(story, earlier)?;
    the_end_is_told_as_it_is(story)?;
    an_event_costs_little(story)
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}

/// The same events give the same state and commands, step by step and read back from the journal.
fn the_events_are_the_truth(story: &Story<'_>) -> Result<(), String> {
    let mut written = story.base.clone();
    let mut read = story.base.clone();
    for (index, event) in story.events.iter().enumerate() {
        written.apply(story.plan, event);
        read.apply(story.plan, &stored(event));
        let due: Vec<CommandId> = written.due().into_iter().map(|due| due.id).collect();
        must(due == story.dues[index], || {
            format!(
                "due after event {index} are {due:?}, and were {:?}",
                story.dues[index]
            )
        })?;
        let (written, read) = (seen(&written), seen(&read));
        must(written == read, || {
            format!("event {index} is read back as another one:\n{written}\n{read}\n")
        })?;
    }
    let (now, then) = (seen(&written), seen(&story.state));
    must(now == then, || {
        format!("replay comes to another state:\n{then}\n{now}\n")
    })
}

fn stored(event: &Event) -> Event {
    let data = event.body.data().to_string();
    let data = serde_json::from_str(&data).expect("stored events are JSON");
    Event {
        body: Body::from_stored(event.body.kind(), &data).expect("stored events are read back"),
        ..event.clone()
    }
}

/// Returns all that can be seen of a state.
fn seen(state: &State) -> String {
    format!(
        "{:?}",
        (
            (state.due(), state.decide(), state.mode(), state.standing()),
            (
                state.findings(),
                state.open_undos(),
                state.is_dirty(),
                state.ended()
            ),
            (state.stopped_why(), Summary::of(state, "head")),
        )
    )
}

/// A changing step acts only after its start, with its undo registered, and from one state before.
fn nothing_acts_unannounced(story: &Story<'_>) -> Result<(), String> {
    let mut state = story.base.clone();
    let mut firsts: BTreeMap<StepKey, Option<Value>> = BTreeMap::new();
    for event in &story.events {
        state.apply(story.plan, event);
        let key = &event.step;
        match &event.body {
            Body::Started { before, undo, .. } => {
                if firsts.contains_key(key) {
                    must(before.is_none() && undo.is_none(), || {
                        format!("`{key}` starts again with another state before")
                    })?;
                } else if effect(story.plan, &state, key) > Effect::Read {
                    firsts.insert(key.clone(), before.clone());
                    let open = state.open_undos();
                    let covers = |key: &StepKey| open.iter().any(|(open, _, _)| open == key);
                    let needed = undo_of(story.plan, &state, key);
                    must(
                        needed.as_ref().is_none_or(|needed| covers(&needed.key)),
                        || format!("`{key}` acts, and its undo is not registered"),
                    )?;
                }
            }
            Body::Finished(finished) if finished.state == StepState::Changed => {
                let is_work = state
                    .node_of(key)
                    .is_some_and(|node| story.plan.node(node).work().is_some());
                must(!is_work || firsts.contains_key(key), || {
                    format!("`{key}` has changed something without a start")
                })?;
            }
            _ => {}
        }
        for command in state.due() {
            let Job::Perform {
                before, registered, ..
            } = &command.job
            else {
                continue;
            };
            let key = &command.id.step;
            let Some(first) = firsts.get(key) else {
                continue;
            };
            must(
                before == first && (*registered || state.is_acting(key)),
                || format!("`{key}` is to act from {before:?}, and began from {first:?}"),
            )?;
        }
    }
    Ok(())
}

fn effect(plan: &Plan, state: &State, key: &str) -> Effect {
    state
        .node_of(key)
        .map_or(Effect::Read, |node| plan.node(node).effect)
}

/// How a step is undone: what the plan says.
#[derive(Clone, Debug, PartialEq)]
struct Needed {
    /// The step whose undo it is: itself, or what it lies in.
    key: StepKey,
    /// Whether it is only done again.
    again: bool,
}

fn undo_of(plan: &Plan, state: &State, key: &str) -> Option<Needed> {
    let frame = *state.keys.get(key)?;
    let around: Vec<FrameId> =
        std::iter::successors(Some(frame), |frame| state.frames[*frame].parent).collect();
    let outermost = *around.last()?;
    if state.frames[outermost].role != Role::Playbook(ScopeId(0)) {
        // In a rollback, or in what runs last, nothing is undone.
        return None;
    }
    let says = around
        .iter()
        .rev()
        .find(|frame| match state.frames[**frame].role {
            Role::Step(node) => plan.node(node).rollback.is_some(),
            _ => false,
        });
    let frame = says.copied().unwrap_or(frame);
    let Role::Step(node) = state.frames[frame].role else {
        return None;
    };
    let node = plan.node(node);
    let again = match (&node.rollback, &node.irreversible, &node.body) {
        (Some(steps), _, _) if steps.is_empty() => return None,
        (Some(_), _, _) => false,
        (None, Some(_), _) if node.effect > Effect::Read => false,
        (None, _, plan::Body::Work(work)) => match work.kind.name {
            "test.change" => false,
            "test.again" => true,
            _ => return None,
        },
        _ => return None,
    };
    Some(Needed {
        key: state.frames[frame].key.clone(),
        again,
    })
}

/// Returns whether a person is asked to do what the step at `key` says.
fn is_asked_to_act(state: &State, key: &str) -> bool {
    state.due().iter().any(|command| {
        let asks = matches!(&command.job, Job::Ask(question) if question.ask == Ask::Manual);
        asks && *command.id.step == *key
    })
}

/// What was registered, in the order of its start.
fn registered(plan: &Plan, state: &mut State, events: &[Event]) -> Vec<Needed> {
    let mut registered: Vec<Needed> = Vec::new();
    for event in events {
        let begins = match &event.body {
            Body::Started { .. } | Body::Entered { .. } => true,
            Body::Answered {
                reply: Reply::Yes | Reply::Done { .. } | Reply::Failed { .. },
                ..
            } => is_asked_to_act(state, &event.step),
            _ => false,
        };
        state.apply(plan, event);
        if !begins {
            continue;
        }
        if let Some(needed) = undo_of(plan, state, &event.step)
            && !registered.contains(&needed)
        {
            registered.push(needed);
        }
    }
    registered
}

/// Undos come in the reverse order of start, what is only done again last, and each comes to its end once.
fn undos_come_in_order(story: &Story<'_>, earlier: &[Event]) -> Result<(), String> {
    let mut state = State::new();
    let mut needed = registered(story.plan, &mut state, earlier);
    let mut state = story.base.clone();
    for more in registered(story.plan, &mut state, &story.events) {
        if !needed.contains(&more) {
            needed.push(more);
        }
    }
    let newest_first = |again: bool| {
        needed
            .iter()
            .rev()
            .filter(move |needed| needed.again == again)
    };
    let order = newest_first(false).chain(newest_first(true));
    let order: Vec<&StepKey> = order.map(|needed| &needed.key).collect();
    let mut stopping = false;
    let mut undone: Vec<&StepKey> = Vec::new();
    for event in &story.events {
        match &event.body {
            Body::Stopping { .. } => stopping = true,
            Body::Resumed { .. } => stopping = false,
            Body::Undone(found) if is_stopped(&found.result, stopping) => {}
            Body::Undone(_) => undone.push(&event.step),
            _ => {}
        }
    }
    must(order.starts_with(&undone), || {
        format!("undone are {undone:?}, where the order is {order:?}")
    })?;
    let begun = story
        .events
        .iter()
        .any(|event| matches!(event.body, Body::RollingBack { .. }));
    let whole = begun && story.state.mode() == Mode::Ended;
    must(!whole || undone.len() == order.len(), || {
        format!("undone are only {undone:?} of {order:?}")
    })
}

/// Returns whether an undo was broken off with the run: then it has not come to an end.
fn is_stopped(result: &UndoResult, stopping: bool) -> bool {
    let is_cancelled = |failure: &Failure| failure.class == Class::Cancelled;
    stopping && matches!(result, UndoResult::Failed(failure) if is_cancelled(failure))
}

/// Outcome and exit code follow from what has happened.
fn the_end_is_told_as_it_is(story: &Story<'_>) -> Result<(), String> {
    let mut findings: Vec<&Finding> = Vec::new();
    let mut remains = false;
    let mut undone = false;
    let mut stopped_by = None;
    let mut undo_wanted = false;
    for event in &story.events {
        match &event.body {
            Body::Begun(begun) => undo_wanted = begun.undoes.is_some(),
            Body::Finished(finished) => findings.extend(&finished.findings),
            Body::Raised(finding) => findings.push(finding),
            Body::Stopping { by, .. } => stopped_by = Some(by),
            Body::Resumed { goal, .. } => {
                stopped_by = None;
                undo_wanted |= *goal == Goal::RollBack;
            }
            // What was stopped with the run is still to be undone.
            Body::Undone(found) if is_stopped(&found.result, stopped_by.is_some()) => {}
            Body::Undone(found) => {
                remains |= found.result.remains().is_some();
                undone = true;
            }
            _ => {}
        }
    }
    let worst = findings.iter().map(|finding| finding.severity).max();
    let begun = story.state.begun().map(|begun| begun.fail_on);
    must(begun == Some(FailOn::Warning), || {
        "a test counts every finding".to_owned()
    })?;
    let outcome = story.state.ended().map(|ended| ended.outcome);
    let code = match (outcome, worst) {
        (None, _) if story.state.mode() == Mode::Waiting => 4,
        (None, _) if story.state.mode() == Mode::Stopped && stopped_by.is_none() => 1,
        (None, _) => 6,
        (Some(Outcome::RollbackIncomplete), _) => 5,
        (Some(_), _) if undo_wanted => 0,
        (Some(Outcome::Succeeded), Some(Severity::Critical)) => 11,
        (Some(Outcome::Succeeded), Some(Severity::Warning)) => 10,
        (Some(Outcome::Succeeded), _) => 0,
        (Some(Outcome::Failed | Outcome::RolledBack), _) => 1,
        (Some(Outcome::Refused), _) => 3,
        (Some(Outcome::Cancelled), _) => 130,
    };
    let found = summary::exit_code(&story.state);
    must(found == code, || {
        format!("the exit code is {found}, not {code}")
    })?;
    let Some(outcome) = outcome else {
        return Ok(());
    };
    let is_incomplete = outcome == Outcome::RollbackIncomplete;
    must(is_incomplete == remains, || {
        format!("{outcome:?}, and remains: {remains}")
    })?;
    must(outcome != Outcome::Succeeded || !undone, || {
        "a success undoes nothing".to_owned()
    })?;
    if [Outcome::RolledBack, Outcome::Refused, Outcome::Cancelled].contains(&outcome) {
        must(!story.state.is_dirty(), || {
            format!("{outcome:?}, and something is not undone")
        })?;
    }
    let running = story
        .state
        .standing()
        .into_iter()
        .find(|(_, state)| *state == StepState::Running);
    must(running.is_none(), || format!("{running:?} after the end"))?;
    Ok(())
}

/// What undoes itself is as it was after a rollback that is complete.
fn the_world_is_put_back(story: &Story<'_>) -> Result<(), String> {
    let outcome = story.state.ended().map(|ended| ended.outcome);
    if outcome == Some(Outcome::RolledBack) {
        let left = story.world.done.iter().find(|(key, done)| {
            **done
                && undo_of(story.plan, &story.state, key)
                    .is_some_and(|needed| needed.key.as_ref() == key.as_str())
                && is_undone_by_itself(story.plan, &story.state, key)
        });
        must(left.is_none(), || {
            format!("{left:?} is still done in the world")
        })?;
    }
    Ok(())
}

fn is_undone_by_itself(plan: &Plan, state: &State, key: &str) -> bool {
    let node = state.node_of(key).map(|node| plan.node(node));
    node.is_some_and(|node| {
        node.rollback.is_none()
            && node
                .work()
                .is_some_and(|work| work.kind.name == "test.change")
    })
}

/// What a run costs grows with its events, not with their product with its steps.
fn an_event_costs_little(story: &Story<'_>) -> Result<(), String> {
    let mut state = story.base.clone();
    let base = state.frames.touched();
    let depth = 8;
    let mut whole = 1;
    for event in &story.events {
        state.apply(story.plan, event);
        // Once at such an event every step is looked at.
        if matches!(
            event.body,
            Body::Resumed { .. } | Body::Ended(_) | Body::RollingBack { .. }
        ) {
            whole += 1;
        }
    }
    let touched = state.frames.touched() - base;
    let bound = story.events.len() * depth * 8 + whole * state.frames.len() * depth;
    must(touched <= bound, || {
        format!(
            "{touched} frames were touched by {} events, more than {bound}",
            story.events.len()
        )
    })
}

/// After so many events, gives every answer to everything: what is due takes it or says that it does not fit, and the
/// run goes on from there; what is not due takes none.
pub(super) fn every_answer(story: &Story<'_>, events: usize) -> Result<(), TestCaseError> {
    let then = story.cut(events);
    let due: BTreeSet<CommandId> = then.state.due().into_iter().map(|due| due.id).collect();
    let at = Time::from_milliseconds(then.state.now().milliseconds + 1);
    let all: BTreeSet<CommandId> = story.dues.iter().flatten().cloned().collect();
    for id in all.difference(&due).chain([&strange()]) {
        for answer in answers(None) {
            let given = then.state.event(then.plan, id, at, answer);
            assert!(
                given.is_err(),
                "{id:?} is not due and takes an answer:\n{}",
                then.transcript()
            );
        }
    }
    for command in then.state.due() {
        let id = &command.id;
        let (undo, acts) = match &command.job {
            Job::Perform { task, .. } => (world::undo(id, task), then.state.is_acting(&id.step)),
            _ => (None, true),
        };
        let mut taken = 0;
        for answer in answers(undo) {
            // Only a preview gives a result without a start.
            if !acts && matches!(answer, Answer::Finished { .. }) {
                continue;
            }
            let Ok(body) = then.state.event(then.plan, id, at, answer.clone()) else {
                continue;
            };
            taken += 1;
            let mut after = then.clone();
            after.write(&id.step, body);
            if after.state.mode() == Mode::Ended {
                continue;
            }
            if !matches!(after.state.mode(), Mode::Stopped | Mode::Waiting) {
                after.resume(Goal::Work);
            }
            after.drive();
            // The world knows nothing of this answer.
            let found = in_order(&after, &[]);
            found
                .map_err(|what| TestCaseError::fail(format!("{what}:\n{}", after.transcript())))?;
        }
        assert!(taken > 0, "nothing answers {id:?}:\n{}", then.transcript());
    }
    Ok(())
}

fn strange() -> CommandId {
    CommandId {
        step: "nowhere".into(),
        phase: JobPhase::Perform,
        attempt: 7,
    }
}

fn answers(undo: Option<UndoRecord>) -> Vec<Answer> {
    let result = || Value::map(Fields::from([("n".to_owned(), Value::Int(1))]));
    let strange = || Value::list(vec![Value::Null]);
    let failures = [
        Class::Transport,
        Class::Timeout,
        Class::Exit,
        Class::Expect,
        Class::Refused,
        Class::Cancelled,
        Class::Internal,
    ];
    let mut results: Vec<Result<Value, Failure>> = vec![Ok(result()), Ok(strange())];
    results.extend(failures.map(|class| Err(Failure::new(class, "do it"))));
    let remark = || "so".to_owned();
    let replies = [
        Reply::Yes,
        Reply::No { why: remark() },
        Reply::Values(Fields::from([("reason".to_owned(), Value::text("so"))])),
        Reply::Values(Fields::new()),
        Reply::Done { remark: remark() },
        Reply::Failed { remark: remark() },
        Reply::Skip { remark: remark() },
        Reply::Retry,
        Reply::RollBack,
        Reply::Stop,
    ];
    let undone = [
        UndoResult::Undone,
        UndoResult::Nothing,
        UndoResult::Left(UndoLook::Needed),
        UndoResult::Left(UndoLook::Done),
        UndoResult::Left(UndoLook::Dirty(remark())),
        UndoResult::Left(UndoLook::Lapsed(remark())),
        UndoResult::Irreversible(remark()),
        UndoResult::Failed(Failure::new(Class::Cancelled, "undo")),
        UndoResult::Failed(Failure::new(Class::Exit, "undo")),
    ];
    let needed = Looked::Needed {
        before: result(),
        summary: remark(),
        diff: None,
    };
    let looks = [
        Looked::Done(result()),
        Looked::Done(strange()),
        needed,
        Looked::Unclear,
    ];
    let look = |look| Answer::Looked {
        action: Description::new("act"),
        look,
        took: Span::default(),
    };
    let mut answers = vec![
        Answer::Recorded,
        Answer::Required(Vec::new()),
        Answer::Required(vec!["git".to_owned()]),
        Answer::Started {
            action: Description::new("act"),
            undo,
        },
        Answer::Undoing,
        Answer::Slept,
        Answer::Locked(Ok(Vec::new())),
        Answer::Locked(Err("held".to_owned())),
    ];
    answers.extend(results.iter().cloned().map(Answer::Probed));
    answers.extend(results.iter().cloned().map(|result| Answer::Finished {
        result,
        took: Span::default(),
        output: Vec::new(),
    }));
    answers.extend(
        results
            .into_iter()
            .filter_map(Result::err)
            .map(|failure| look(Err(failure))),
    );
    answers.extend(looks.map(|found| look(Ok(found))));
    answers.extend(replies.map(|reply| Answer::Replied {
        by: "eve".to_owned(),
        reply,
        reason: String::new(),
        said: Time::default(),
    }));
    answers.extend(undone.map(Answer::Undone));
    answers
}
