//! What the world answers becomes an event, with the machine's verdict in it.

use super::{
    Answer, CommandId, Job, JobPhase, NotDue, State,
    failure::nothing,
    frame::{FrameId, Phase, Role, Settle},
    judge::Given,
};
use crate::{
    event::{Asserted, Assertion, Body, Finding, Locked, Question, Reply, Undone},
    kind::{Class, Digest, Failure, Looked},
    plan::{self, Plan, check_inputs},
    units::{Span, Time},
    value::{Fields, Value},
};

impl State {
    /// Returns the event that an answer makes, with the machine's verdict in it.
    ///
    /// `at` is the time of the event.
    ///
    /// # Errors
    ///
    /// When what is answered is not due.
    pub fn event(
        &self,
        plan: &Plan,
        id: &CommandId,
        at: Time,
        answer: Answer,
    ) -> Result<Body, NotDue> {
        let not_due = || NotDue {
            step: id.step.clone(),
            phase: id.phase,
        };
        let (frame, command) = self.find_due(id).ok_or_else(not_due)?;
        let of_step = || frame.ok_or_else(not_due);
        Ok(match (answer, &command.job) {
            (Answer::Recorded, Job::Record(body)) => (**body).clone(),
            (Answer::Required(missing), Job::Require(_)) => Body::Required { missing },
            (Answer::Probed(result), Job::Probe(_)) => {
                Body::Asserted(self.probed(plan, of_step()?, result))
            }
            (Answer::Looked { action, look, took }, Job::Look(_)) => {
                let frame = of_step()?;
                let given = |result, by_look| Given {
                    took,
                    by_look,
                    ..Given::now(at, result)
                };
                match (look, self.frames[frame].phase) {
                    (Ok(Looked::Done(result)), Phase::Settle(_))
                        if self.tells_all(plan, frame, &result) =>
                    {
                        self.judge_given(plan, frame, given(Ok(result), false))
                    }
                    (Err(_), Phase::Settle(_)) => Body::Looked {
                        action,
                        look: Looked::Unclear,
                    },
                    (look, Phase::Settle(_)) => Body::Looked {
                        action,
                        look: look.unwrap_or(Looked::Unclear),
                    },
                    (Ok(Looked::Done(result)), _) => {
                        self.judge_given(plan, frame, given(Ok(result), true))
                    }
                    (Err(failure), _) => self.judge_given(plan, frame, given(Err(failure), true)),
                    (Ok(look), _) => Body::Looked { action, look },
                }
            }
            (
                Answer::Replied {
                    by,
                    reply,
                    reason,
                    said,
                },
                Job::Ask(question),
            ) => Body::Answered {
                question: question.digest(),
                by,
                reply: in_time(question, said, reply),
                reason,
            },
            (Answer::Locked(taken), Job::Lock { names, .. }) => {
                let (refused, stolen) = match taken {
                    Ok(stolen) => (None, stolen),
                    Err(refused) => (Some(refused), Vec::new()),
                };
                Body::Locked(Locked {
                    names: names.clone(),
                    refused,
                    stolen,
                })
            }
            (
                Answer::Started { action, undo },
                Job::Perform {
                    before, registered, ..
                },
            ) if !self.frames[of_step()?].acting => Body::Started {
                attempt: id.attempt,
                action,
                before: before.clone().filter(|_| !registered),
                undo: undo.filter(|_| !registered),
            },
            (Answer::Started { action, .. }, Job::Notify { .. })
                if !self.frames[of_step()?].acting =>
            {
                Body::Started {
                    attempt: id.attempt,
                    action,
                    before: None,
                    undo: None,
                }
            }
            (
                Answer::Finished {
                    result,
                    took,
                    output,
                },
                Job::Perform { .. } | Job::Notify { .. },
            ) => {
                let given = Given {
                    took,
                    output,
                    ..Given::now(at, result)
                };
                self.judge_given(plan, of_step()?, given)
            }
            (Answer::Undoing, Job::Undo { record, .. }) => Body::Undoing {
                summary: record.summary.clone(),
            },
            (Answer::Undone(result), Job::Undo { record, .. }) => Body::Undone(Undone {
                result,
                summary: record.summary.clone(),
            }),
            (Answer::Slept, Job::Sleep(_)) => Body::Woke,
            _ => return Err(not_due()),
        })
    }

    fn probed(&self, plan: &Plan, frame: FrameId, result: Result<Value, Failure>) -> Asserted {
        let (guard, which) = match (self.frames[frame].phase, self.frames[frame].role) {
            (Phase::Guards(index), Role::Step(node)) => {
                (plan.node(node).guards.get(index), Assertion::Guard(index))
            }
            (Phase::Guards(index), Role::Playbook(scope)) => {
                (plan.scope(scope).guards.get(index), Assertion::Guard(index))
            }
            (Phase::Unless | Phase::Settle(Settle::Unless), Role::Step(node)) => {
                (plan.node(node).unless.as_ref(), Assertion::Unless)
            }
            _ => (None, Assertion::Unless),
        };
        match (guard, result) {
            (Some(guard), Ok(result)) => self.assert(plan, frame, guard, which, Some(&result)),
            (_, Err(failure)) => Asserted {
                which,
                holds: Some(false),
                why: String::new(),
                error: Some(failure),
            },
            (None, Ok(_)) => Asserted {
                which,
                holds: None,
                why: String::new(),
                error: None,
            },
        }
    }

    /// Takes in what a person, or the clock, has said.
    pub(super) fn replied(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        question: &Digest,
        by: &str,
        reply: &Reply,
    ) {
        if self.is_asked_after_failure(frame) {
            return self.after_failure(plan, frame, reply);
        }
        if self.frames[frame].phase == Phase::Confirm
            && *reply == Reply::Yes
            && !self.approved(frame, question, by)
        {
            return;
        }
        self.answered(frame);
        match (self.frames[frame].phase, reply) {
            (Phase::Settle(_), _) => self.settle_replied(plan, frame, reply),
            (Phase::Confirm, Reply::Yes) => {
                let this = &mut self.frames[frame];
                this.shown().confirmed = Some(question.clone());
                // Time has passed while a person thought: what was looked at is looked at again.
                this.phase = match by.starts_with("--") || by == super::PREVIEW {
                    true => Phase::Start,
                    false => Phase::Unless,
                };
                self.advance(plan, frame);
            }
            (Phase::Confirm, Reply::No { why }) => {
                self.fail_later(plan, frame, Failure::refused(why.clone()));
            }
            (Phase::Confirm, _) => {
                let why = "the question was not answered with yes or no";
                self.fail_later(plan, frame, Failure::refused(why));
            }
            _ => {
                if self.is_done_by_hand(plan, frame, reply) {
                    self.register_by_hand(plan, frame);
                }
                let body = self.judge_reply(plan, frame, reply);
                self.record(frame, body);
            }
        }
    }

    /// Returns whether a person has followed an instruction, perhaps half-way.
    fn is_done_by_hand(&self, plan: &Plan, frame: FrameId, reply: &Reply) -> bool {
        let body = self.node(plan, frame).map(|node| &node.body);
        matches!(body, Some(plan::Body::Manual(_)))
            && matches!(
                reply,
                Reply::Yes | Reply::Done { .. } | Reply::Failed { .. }
            )
    }

    /// Takes in that one person says yes; returns whether that is enough. Where it is not, the question stays open.
    fn approved(&mut self, frame: FrameId, question: &Digest, by: &str) -> bool {
        let due = self.frames[frame].due.and_then(|due| self.due.get(&due));
        let Some(Job::Ask(asked)) = due.map(|command| command.job.clone()) else {
            return false;
        };
        if asked.digest() != *question {
            return false;
        }
        let shown = self.frames[frame].shown();
        shown.approvals.push((question.clone(), by.to_owned()));
        if by == super::PREVIEW {
            return true;
        }
        let people = self.people(frame, question);
        let starter = self.begun.as_ref().map(|begun| begun.user.as_str());
        let is_starter = |person: &String| Some(person.as_str()) == starter;
        let enough = people.len() >= asked.approvers as usize
            && !(asked.not_starter && people.iter().all(is_starter));
        if !enough {
            self.answered(frame);
            self.issue(frame, JobPhase::Ask, Job::Ask(asked));
        }
        enough
    }

    /// Returns who has said yes to a question so far, each once.
    pub(super) fn people(&self, frame: FrameId, question: &Digest) -> Vec<String> {
        let shown = self.frames[frame].shown.as_ref();
        let approvals = shown.map_or(&[][..], |shown| &shown.approvals);
        let mut people: Vec<String> = Vec::new();
        for (asked, by) in approvals {
            if asked == question && !people.contains(by) {
                people.push(by.clone());
            }
        }
        people
    }

    fn judge_reply(&self, plan: &Plan, frame: FrameId, reply: &Reply) -> Body {
        let remark = |remark: &str| Fields::from([("remark".to_owned(), Value::text(remark))]);
        let body = self.node(plan, frame).map(|node| &node.body);
        let result = match (reply, body) {
            (Reply::Values(given), Some(plan::Body::Ask(inputs))) => check_inputs(inputs, given)
                .map(Value::map)
                .map_err(|why| Failure::new(Class::Expect, format!("take the answer: {why}"))),
            (Reply::Done { .. }, Some(plan::Body::Wait(_))) => Ok(nothing()),
            (Reply::Done { remark: text }, Some(plan::Body::Manual(_))) => {
                Ok(Value::map(remark(text)))
            }
            (Reply::Yes, Some(plan::Body::Manual(_))) => Ok(Value::map(remark(""))),
            (Reply::Skip { remark }, _) => {
                return Body::Skipped {
                    why: format!("left out by a person: {remark}"),
                };
            }
            (Reply::Failed { remark }, _) => Err(Failure::new(
                Class::Expect,
                format!("a person says that it could not be done: {remark}"),
            )),
            (Reply::No { why }, _) => Err(Failure::refused(why.clone())),
            _ => Err(Failure::refused("the answer does not fit the question")),
        };
        self.judge(plan, frame, result)
    }

    pub(super) fn judge_finding(&self, plan: &Plan, frame: FrameId, finding: Finding) -> Body {
        match self.judge(plan, frame, Ok(nothing())) {
            Body::Finished(mut finished) => {
                finished.findings.insert(0, finding);
                Body::Finished(finished)
            }
            body => body,
        }
    }
}

/// Returns what an answer counts as: after the deadline it is no.
fn in_time(question: &Question, said: Time, reply: Reply) -> Reply {
    match question.deadline {
        Some(deadline) if said.milliseconds > deadline.milliseconds => Reply::No {
            why: format!("nobody had agreed by {deadline}"),
        },
        _ => reply,
    }
}

impl Given {
    fn now(at: Time, result: Result<Value, Failure>) -> Given {
        Given {
            at,
            result,
            took: Span::default(),
            output: Vec::new(),
            by_look: false,
        }
    }
}
