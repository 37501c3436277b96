//! The ports to people: what is told, and what is asked.
//!
//! They are small and know no kind. Events carry the facts; a [`Told`] adds what only the plan knows, so that live
//! output and the later account of a run are made by the same code.

use crate::{
    event::{Event, Question, Reply, StepState},
    kind::{BoxFuture, Progress, Stream},
    plan::Input,
    summary::Summary,
};

/// An event with its place in the plan.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its number within the run, from 1.
    pub seq: u64,
    /// The step's title, as far as it can be worked out now.
    pub title: Option<String>,
    /// How many structural steps it lies inside.
    pub depth: usize,
    /// The step's kind, or `group`, `parallel`, `foreach`, `choose`, `call`, `ask`, `manual`, ...
    pub kind: Option<&'static str>,
    /// How the step stands after the event.
    pub state: StepState,
}

/// Turns what happens into something for people or programs. Never holds up or ends a run.
pub trait Reporter: Send {
    /// Takes an event, after it was written down.
    fn tell(&mut self, told: &Told<'_>);

    /// Takes a piece of a step's output; secrets are masked already.
    fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]);

    /// Takes how far a long action has come.
    fn progress(&mut self, step: &str, progress: &Progress);

    /// A question is about to stand on the terminal: nothing is drawn until [`Reporter::go_on`].
    fn pause(&mut self);

    /// The question was answered.
    fn go_on(&mut self);

    /// Takes the summary of a run that has ended, stopped or waits: the last thing that is told.
    fn end(&mut self, summary: &Summary);
}

/// A question on its way to a person.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The run's id.
    pub run: String,
    /// The step's address.
    pub step: String,
    /// The step's title.
    pub title: Option<String>,
    /// What is asked.
    pub question: Question,
    /// The inputs that are asked for, where values are.
    pub inputs: Vec<Input>,
    /// Who has said yes so far, where that is not enough.
    pub approvals: Vec<String>,
}

/// What a person said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Who.
    pub by: String,
    /// What.
    pub reply: Reply,
    /// Why, in their own words.
    pub reason: String,
}

/// Asks people.
pub trait Asker: Send + Sync {
    /// Returns what was said; `None` where nobody can be asked here: then the run waits for somebody elsewhere.
    fn ask(&self, asked: Asked) -> BoxFuture<'static, Option<Said>>;
}
