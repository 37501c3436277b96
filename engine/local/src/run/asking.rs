//! Questions that are open: answers from this terminal, from other processes, and from the clock; and what else others
//! wish of the run.

use runwright_core::{
    event::{Ask, Body, Event, Question, Reply, StepKey, StepState, Stop},
    kind::Digest,
    machine::{Answer, CommandId, JobPhase, Mode},
    plan::{self, check_inputs},
    port::{Asked, Said},
    units::Time,
};
use tokio::sync::mpsc;

use super::{Interrupt, Run, RunError, Waiting, What, Wish, work::Done};
use crate::journal::{Message, Row, Sync};

/// How often the inbox is looked at.
pub(super) const INBOX: std::time::Duration = std::time::Duration::from_millis(250);

/// How long a Ctrl-C that has broken off a question may take to be told.
const LATE: std::time::Duration = std::time::Duration::from_millis(100);

/// The event that a message becomes, and its step; none as long as what it is about has not come up in this process.
type Verdict = Option<(StepKey, Body)>;

impl Run {
    /// Writes a question down, before anybody hears it; again only where it has changed.
    pub(super) fn note_asked(
        &mut self,
        id: &CommandId,
        question: &Question,
    ) -> Result<(), RunError> {
        let digest = question.digest();
        self.looks_into_inbox = true;
        if self.asked.get(&id.step) == Some(&digest) {
            return Ok(());
        }
        self.asked.insert(id.step.clone(), digest);
        self.write(&Event {
            at: self.around.clock.now(),
            step: id.step.clone(),
            body: Body::Asked(question.clone()),
        })
    }

    /// Returns a question as the asker gets it.
    pub(super) fn asked(&self, id: &CommandId, question: &Question) -> Asked {
        let node = self
            .state
            .node_of(&id.step)
            .map(|node| self.plan.node(node));
        let inputs = match node.map(|node| &node.body) {
            Some(plan::Body::Ask(inputs)) => inputs.clone(),
            _ => Vec::new(),
        };
        Asked {
            run: self.writer.run().to_owned(),
            step: id.step.to_string(),
            title: self.state.title_of(&self.plan, &id.step),
            question: question.clone(),
            inputs,
            approvals: self.state.approvals(&id.step),
        }
    }

    /// Returns the question that is open at `step`.
    fn open_question(&self, step: &str) -> Option<Question> {
        let mut open = self.state.questions().into_iter();
        open.find(|(key, _)| **key == *step)
            .map(|(_, question)| question.clone())
    }

    /// Returns whether nothing is left to this process but to wait for somebody else, or for a long time.
    ///
    /// `working` is how many commands are at work in the world.
    pub(super) fn only_waits(&self, working: usize) -> bool {
        working == 0
            && !self.parked.is_empty()
            && self.waiting.is_empty()
            && self.ready.is_empty()
            && !self.is_interrupted
            && self.state.mode() != Mode::Stopped
            && self
                .state
                .due()
                .iter()
                .all(|command| self.parked.contains(&command.id))
    }

    /// Leaves the run to wait without a process, unless a person has just interrupted it.
    pub(super) async fn leave(
        &mut self,
        interrupts: &mut mpsc::UnboundedReceiver<Interrupt>,
    ) -> Result<(), RunError> {
        if self.around.manner.attended
            && let Ok(Some(interrupt)) = tokio::time::timeout(LATE, interrupts.recv()).await
        {
            // A question that was broken off by Ctrl-C is no question that nobody answers.
            return self.interrupted(&interrupt);
        }
        let times = self.state.questions().into_iter();
        let times = times.filter_map(|(_, question)| match question.ask {
            Ask::Until(until) => Some(until),
            _ => None,
        });
        let until = times.min_by_key(|until| until.milliseconds);
        self.write(&Event {
            at: self.around.clock.now(),
            step: "".into(),
            body: Body::Waiting { until },
        })
    }

    /// Takes in what others have sent, each message as an event of its own.
    pub(super) fn take_in(&mut self) -> Result<(), RunError> {
        self.looks_into_inbox = false;
        for message in self.writer.inbox()? {
            if matches!(self.state.mode(), Mode::Ended | Mode::Stopped) {
                return Ok(());
            }
            let Some((step, body)) = self.judge_message(&message)? else {
                continue;
            };
            let stops = matches!(body, Body::Stopping { .. });
            // The message is taken in with the first event of an append.
            self.flush(Sync::No)?;
            self.taken = Some(Row::Taken(message.id));
            self.write(&Event {
                at: self.around.clock.now(),
                step,
                body,
            })?;
            self.flush(Sync::Yes)?;
            if stops {
                self.stop_work();
            }
        }
        Ok(())
    }

    fn judge_message(&self, message: &Message) -> Result<Verdict, RunError> {
        let ignored = |why: String, reason: &str| {
            let body = Body::Ignored {
                by: message.sender.clone(),
                why,
                reason: reason.to_owned(),
            };
            Some(("".into(), body))
        };
        let (step, question, reply, reason) = match serde_json::from_str(&message.data) {
            Ok(Wish::Answer {
                step,
                question,
                reply,
                reason,
            }) => (step, question, reply, reason),
            Ok(Wish::Stop { then, reason }) if self.can_stop(then) => {
                let body = Body::Stopping {
                    by: message.sender.clone(),
                    then,
                    reason,
                };
                return Ok(Some(("".into(), body)));
            }
            Ok(Wish::Stop { reason, .. }) => {
                return Ok(ignored(
                    "the run is ending or being undone already".to_owned(),
                    &reason,
                ));
            }
            Err(_) => {
                let why = "this engine can't read it; it was sent by another version";
                return Ok(ignored(why.to_owned(), ""));
            }
        };
        let open = self.open_question(&step);
        let Some(open) = open.filter(|open| open.digest() == question) else {
            return match self.why_closed(&step, &question)? {
                Some(why) => Ok(ignored(why, &reason)),
                None => Ok(None),
            };
        };
        if let Some(why) = self.misfit(&step, &open, &reply, &message.sender) {
            return Ok(ignored(why, &reason));
        }
        let id = CommandId {
            step: step.as_str().into(),
            phase: JobPhase::Ask,
            attempt: 0,
        };
        let answer = Answer::Replied {
            by: message.sender.clone(),
            reply,
            reason: reason.clone(),
            said: Time::from_milliseconds(message.at),
        };
        let now = self.around.clock.now();
        Ok(match self.state.event(&self.plan, &id, now, answer) {
            Ok(body) => Some((id.step, body)),
            Err(_) => ignored("the question is not open any more".to_owned(), &reason),
        })
    }

    fn can_stop(&self, then: Stop) -> bool {
        !self.stopping && (then == Stop::Keep || self.state.mode() == Mode::Working)
    }

    /// Returns why an answer to the question comes too late; none where the question has not come up again yet.
    fn why_closed(&self, step: &str, question: &Digest) -> Result<Option<String>, RunError> {
        let mut said = None;
        for event in super::events(self.writer.journal(), self.writer.run())? {
            if let Body::Answered {
                question: answered,
                by,
                reply,
                ..
            } = &event.body
                && answered == question
            {
                said = Some(format!("{by} had answered {} at {}", word(reply), event.at));
            }
        }
        if said.is_some() {
            return Ok(said);
        }
        if self.asked.contains_key(step) {
            let why = "what was shown has changed since; the question was asked anew";
            return Ok(Some(why.to_owned()));
        }
        let has_ended = !matches!(
            self.state.step_state(step),
            StepState::Pending | StepState::Running | StepState::InDoubt
        );
        let is_working = self.state.mode() == Mode::Working;
        Ok((has_ended || !is_working).then(|| "the run has gone on without it".to_owned()))
    }

    /// Returns why a reply is none to the question.
    fn misfit(&self, step: &str, open: &Question, reply: &Reply, by: &str) -> Option<String> {
        let fits = match &open.ask {
            Ask::Confirm | Ask::Phrase(_) => matches!(reply, Reply::Yes | Reply::No { .. }),
            Ask::Inputs(_) => matches!(reply, Reply::Values(_) | Reply::No { .. }),
            Ask::Manual => matches!(
                reply,
                Reply::Done { .. } | Reply::Failed { .. } | Reply::Skip { .. }
            ),
            Ask::OnFailure(_) => matches!(
                reply,
                Reply::Retry | Reply::Skip { .. } | Reply::RollBack | Reply::Stop
            ),
            Ask::InDoubt => matches!(reply, Reply::Done { .. } | Reply::Retry | Reply::RollBack),
            Ask::Interrupted | Ask::Until(_) => false,
        };
        if !fits {
            return Some("it does not fit the question".to_owned());
        }
        let approvals = self.state.approvals(step);
        if *reply == Reply::Yes && approvals.iter().any(|person| person == by) {
            return Some(format!(
                "{by} has agreed already; {} of {} have",
                approvals.len(),
                open.approvers
            ));
        }
        let node = self.state.node_of(step).map(|node| self.plan.node(node));
        match (reply, node.map(|node| &node.body)) {
            (Reply::Values(given), Some(plan::Body::Ask(inputs))) => {
                check_inputs(inputs, given).err()
            }
            _ => None,
        }
    }

    /// Lets the clock answer what was not answered in time; wakes what has waited long enough.
    pub(super) fn answer_by_clock(&mut self) -> Result<(), RunError> {
        let now = self.around.clock.now();
        let late: Vec<(CommandId, Answer)> = self
            .parked
            .iter()
            .filter_map(|id| Some((id.clone(), self.open_question(&id.step)?)))
            .filter_map(|(id, question)| Some((id, clock_answer(&question, now)?)))
            .collect();
        for (id, answer) in late {
            self.parked.remove(&id);
            self.answer(id, answer)?;
        }
        Ok(())
    }

    /// Takes in that somebody wants the run to stop: on a terminal the first Ctrl-C is a question.
    pub(super) fn interrupted(&mut self, interrupt: &Interrupt) -> Result<(), RunError> {
        let asks = interrupt.asks && self.around.manner.attended;
        if !asks || self.stopping || self.is_interrupted {
            self.is_interrupted = false;
            return self.stop(&interrupt.by, Stop::Keep);
        }
        self.is_interrupted = true;
        let question = Question::new(
            Ask::Interrupted,
            format!("{}: what is at work goes on meanwhile", interrupt.by),
        );
        self.interruption = Some((question.digest(), interrupt.by.clone()));
        self.write(&Event {
            at: self.around.clock.now(),
            step: "".into(),
            body: Body::Asked(question.clone()),
        })?;
        let id = CommandId {
            step: "".into(),
            phase: JobPhase::Ask,
            attempt: 0,
        };
        self.waiting.push(Waiting {
            id,
            what: What::AskWhatNow(Box::new(question)),
            sync: Sync::Yes,
        });
        Ok(())
    }

    /// Takes in what a person wants after an interruption.
    pub(super) fn after_interruption(&mut self, said: Option<Said>) -> Result<(), RunError> {
        let Some((question, by)) = self.interruption.take() else {
            return Ok(());
        };
        if !std::mem::take(&mut self.is_interrupted) {
            // It was interrupted once more meanwhile.
            return Ok(());
        }
        let reply = said.as_ref().map(|said| said.reply.clone());
        if let Some(said) = said {
            self.write(&Event {
                at: self.around.clock.now(),
                step: "".into(),
                body: Body::Answered {
                    question,
                    by: said.by,
                    reply: said.reply,
                    reason: said.reason,
                },
            })?;
        }
        match reply {
            Some(Reply::GoOn) => {
                // What was asked when the interruption came is asked again.
                let due = self.state.due();
                for command in due {
                    if self.parked.remove(&command.id) {
                        self.accept(command)?;
                    }
                }
                Ok(())
            }
            Some(Reply::RollBack) => self.stop(&by, Stop::RollBack),
            _ => self.stop(&by, Stop::Keep),
        }
    }

    /// Takes back the questions that are not open any more.
    pub(super) fn withdraw(&mut self) {
        let state = &self.state;
        self.asking.retain(|id, withdrawn| {
            let is_open = state.is_due(id);
            if !is_open {
                withdrawn.notify_one();
            }
            is_open
        });
    }

    /// Parks a question that nobody answers here.
    pub(super) fn park(&mut self, id: CommandId) {
        if self.state.is_due(&id) {
            self.parked.insert(id);
        }
    }

    /// Returns whether a wait is so long that the run waits without a process.
    pub(super) fn is_long(&self, until: Time) -> bool {
        let left = self.until(until);
        !self.around.manner.attended && left > self.around.manner.stays
    }
}

/// Returns what the clock says to a question, where its time is over.
pub(super) fn clock_answer(question: &Question, now: Time) -> Option<Answer> {
    let reply = match (&question.ask, question.deadline) {
        (Ask::Until(until), _) if until.milliseconds <= now.milliseconds => Reply::Done {
            remark: String::new(),
        },
        (_, Some(deadline)) if deadline.milliseconds < now.milliseconds => Reply::No {
            why: format!("nobody had agreed by {deadline}"),
        },
        _ => return None,
    };
    Some(Answer::Replied {
        by: "clock".to_owned(),
        reply,
        reason: String::new(),
        said: now,
    })
}

/// What an asker has answered, or the clock.
pub(super) fn answered(said: Option<Said>, now: Time) -> Done {
    match said {
        Some(said) => Done::Answer(Answer::Replied {
            by: said.by,
            reply: said.reply,
            reason: said.reason,
            said: now,
        }),
        None => Done::Unanswered,
    }
}

fn word(reply: &Reply) -> &'static str {
    match reply {
        Reply::Yes => "yes",
        Reply::No { .. } => "no",
        Reply::Values(_) => "with values",
        Reply::Done { .. } => "done",
        Reply::Failed { .. } => "failed",
        Reply::Skip { .. } => "skip",
        Reply::Retry => "retry",
        Reply::RollBack => "roll back",
        Reply::Stop => "stop",
        Reply::GoOn => "go on",
    }
}
