//! What is due: commands on their way to the driver, and their withdrawal.

use super::{Command, CommandId, Job, JobPhase, State, frame::FrameId};
use crate::event::{Body, StepKey};

impl State {
    pub(super) fn issue(&mut self, frame: FrameId, phase: JobPhase, job: Job) {
        let this = &self.frames[frame];
        let attempt = match phase {
            JobPhase::Perform => this.attempt + 1,
            _ => 0,
        };
        let id = CommandId {
            step: this.key.clone(),
            phase,
            attempt,
        };
        let serial = self.push(Command { id, job });
        self.frames[frame].due = Some(serial);
    }

    /// Makes something about the run as a whole due, or about a step that has ended.
    pub(super) fn issue_run(&mut self, step: StepKey, phase: JobPhase, job: Job) {
        let id = CommandId {
            step,
            phase,
            attempt: 0,
        };
        self.run_due = Some(self.push(Command { id, job }));
    }

    fn push(&mut self, command: Command) -> u64 {
        self.serial += 1;
        self.due.insert(self.serial, command);
        self.fresh.push(self.serial);
        self.serial
    }

    pub(super) fn record(&mut self, frame: FrameId, body: Body) {
        self.issue(frame, JobPhase::Record, Job::Record(Box::new(body)));
    }

    pub(super) fn record_run(&mut self, body: Body) {
        self.record_about("".into(), body);
    }

    pub(super) fn record_about(&mut self, step: StepKey, body: Body) {
        self.issue_run(step, JobPhase::Record, Job::Record(Box::new(body)));
    }

    pub(super) fn answered(&mut self, frame: FrameId) {
        if let Some(serial) = self.frames[frame].due.take() {
            self.due.remove(&serial);
        }
    }

    pub(super) fn answered_run(&mut self) {
        if let Some(serial) = self.run_due.take() {
            self.due.remove(&serial);
        }
    }

    pub(super) fn clear_due(&mut self) {
        self.due.clear();
        self.fresh.clear();
        self.run_due = None;
        for frame in self.frames.iter_mut() {
            frame.due = None;
        }
    }

    /// Returns the command with this id and the frame that it is due for; no frame where it is about the run.
    pub(super) fn find_due(&self, id: &CommandId) -> Option<(Option<FrameId>, &Command)> {
        let of_frame = self.frames_at(&id.step).find_map(|frame| {
            let command = self.due.get(&self.frames[frame].due?)?;
            (command.id == *id).then_some((Some(frame), command))
        });
        of_frame.or_else(|| {
            let command = self.due.get(&self.run_due?)?;
            (command.id == *id).then_some((None, command))
        })
    }

    /// Returns whether the command with this id is due.
    pub fn is_due(&self, id: &CommandId) -> bool {
        self.find_due(id).is_some()
    }

    /// Returns the frame at `key` that waits for an answer: the step, or the playbook that it calls.
    pub(super) fn waiting_at(&self, key: &str) -> Option<FrameId> {
        self.frames_at(key)
            .find(|frame| self.frames[*frame].due.is_some())
            .or_else(|| self.keys.get(key).copied())
    }

    fn frames_at(&self, key: &str) -> impl Iterator<Item = FrameId> {
        let frame = self.keys.get(key).copied();
        let called = frame.and_then(|frame| self.frames[frame].called);
        frame.into_iter().chain(called)
    }

    /// Takes back what only waits (questions and sleeps), since nothing goes on now; their late answers are not due.
    pub(super) fn withdraw(&mut self) {
        let waits = |job: &Job| matches!(job, Job::Ask(_) | Job::Sleep(_));
        let serials: Vec<u64> = self
            .due
            .iter()
            .filter(|(_, command)| waits(&command.job))
            .map(|(serial, _)| *serial)
            .collect();
        for serial in serials {
            self.take_back(serial);
        }
    }

    /// Takes back whatever is due.
    pub(super) fn take_back_all(&mut self) {
        let serials: Vec<u64> = self.due.keys().copied().collect();
        for serial in serials {
            self.take_back(serial);
        }
    }

    /// Takes back the command with this number; its frame waits until it is woken.
    pub(super) fn take_back(&mut self, serial: u64) {
        let Some(command) = self.due.remove(&serial) else {
            return;
        };
        if self.run_due == Some(serial) {
            self.run_due = None;
            return;
        }
        let frame = self
            .frames_at(&command.id.step)
            .find(|frame| self.frames[*frame].due == Some(serial));
        if let Some(frame) = frame {
            self.frames[frame].due = None;
            self.suspended.push(frame);
        }
    }
}
