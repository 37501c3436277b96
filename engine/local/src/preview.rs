//! The preview: the same machine with a driver that looks and never acts.
//!
//! Commands are answered like this, and the events stay in memory:
//!
//! | command | answer |
//! |---|---|
//! | write down | it is written down |
//! | look for programs | they are really looked for; a missing one is told, and the preview goes on |
//! | probe, look | the kind's `look`, through `only.rs`; unknown when an earlier step touches what it reads |
//! | act | an unknown result: nothing acts |
//! | ask | yes; the values of an `ask` are unknown |
//! | sleep | it is over; what is asked a second time is unknown |
//! | undo, stop | the preview ends here: the rest is listed as not reached |
//!
//! A look that fails for certain (the run would find the same) fails its step, as it would in the run. Where the other
//! side can't be reached or does not answer in time nothing is certain: the step is unknown, with the reason, and the
//! preview goes on. The same goes for whatever fails in a step that only *may* run.

mod driver;
mod facts;
mod only;
mod planned;
mod seek;
#[cfg(test)]
mod tests;
mod touched;
mod tree;
mod words;

use std::sync::Arc;

pub use runwright_core::preview::{Preview, Probe};
use runwright_core::{event::Begun, plan::Plan, units::Span};

use self::driver::Driver;
use crate::run::{Clock, Kinds, Vault};

/// How long a look may take, where the playbook does not say less.
pub const LIMIT: Span = Span::from_seconds(30);

/// What a preview needs beside its plan.
#[derive(Clone)]
pub struct PreviewAround {
    /// The kinds.
    pub kinds: Kinds,
    /// What the secrets are.
    pub vault: Arc<Vault>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Whether anything is looked at.
    pub probe: Probe,
    /// The longest time a look may take: [`LIMIT`].
    pub limit: Span,
}

/// Returns what a run of `plan` that begins like `begun` would do. Changes nothing.
///
/// Wants a tokio runtime with time; looks run as tasks of their own.
pub async fn preview(plan: Arc<Plan>, begun: Begun, around: PreviewAround) -> Preview {
    let mut driver = Driver::new(plan, begun, around);
    driver.drive().await;
    driver.preview()
}
