//! What must be remembered of earlier events to tell a later one: nothing of it is the truth about the run.

use std::collections::{BTreeMap, HashMap};

use runwright_core::{
    event::{Body, Question, StepState},
    kind::{Looked, Stream},
    port::Told,
    units::Time,
};

use crate::tail::Tail;

/// How many lines of its output are shown of a step that failed.
const LAST_LINES: usize = 10;

/// The memory of a reporter for people.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The run's id; empty as long as nobody has said it.
    pub run: String,
    /// The questions that nobody has answered yet, by step, each with since when it is open.
    pub open: BTreeMap<String, (Question, Time)>,
    steps: HashMap<String, Noted>,
}

/// What is remembered of a step that is not over.
#[derive(Debug)]
struct Noted {
    tail: Tail,
    change: Option<String>,
}

impl Default for Noted {
    fn default() -> Noted {
        Noted {
            tail: Tail::of(LAST_LINES),
            change: None,
        }
    }
}

impl Book {
    /// Takes in what an event says before it is told.
    pub(crate) fn note(&mut self, told: &Told<'_>) {
        let step = &*told.event.step;
        match &told.event.body {
            Body::Begun(begun) => self.run = begun.run.to_string(),
            Body::Looked {
                look: Looked::Needed { summary, .. },
                ..
            } => self.step(step).change = Some(summary.clone()),
            Body::Asked(question) => {
                let known = self.open.get(step).filter(|(known, _)| known == question);
                let since = known.map_or(told.event.at, |(_, since)| *since);
                self.open.insert(step.to_owned(), (question.clone(), since));
            }
            Body::Answered { .. } | Body::Woke | Body::Skipped { .. } | Body::Finished(_) => {
                self.open.remove(step);
            }
            Body::Ended(_) => self.open.clear(),
            _ => {}
        }
    }

    /// Forgets a step that is over, once its end was told.
    pub(crate) fn forget(&mut self, told: &Told<'_>) {
        let over = match &told.event.body {
            Body::Finished(finished) => finished.state != StepState::Running,
            Body::Skipped { .. } | Body::Undone(_) => true,
            _ => false,
        };
        if over {
            self.steps.remove(&*told.event.step);
        }
    }

    /// Takes a piece of a step's output.
    pub(crate) fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]) {
        self.step(step).tail.take(stream, bytes);
    }

    /// Returns the newest line of a step's output, or what its look found to be changed.
    pub(crate) fn newest(&self, step: &str) -> String {
        let Some(noted) = self.steps.get(step) else {
            return String::new();
        };
        let newest = noted.tail.newest();
        match &noted.change {
            Some(change) if newest.is_empty() => crate::clean::line(change).into_owned(),
            _ => newest,
        }
    }

    /// Returns what a step's look found to be changed.
    pub(crate) fn change(&self, step: &str) -> Option<&str> {
        self.steps.get(step)?.change.as_deref()
    }

    /// Returns the last lines of a step's output and forgets them.
    pub(crate) fn last_lines(&mut self, step: &str) -> Vec<String> {
        match self.steps.get_mut(step) {
            Some(noted) => noted.tail.drain(),
            None => Vec::new(),
        }
    }

    fn step(&mut self, step: &str) -> &mut Noted {
        if !self.steps.contains_key(step) {
            self.steps.insert(step.to_owned(), Noted::default());
        }
        self.steps
            .get_mut(step)
            .expect("it was inserted just above")
    }
}
