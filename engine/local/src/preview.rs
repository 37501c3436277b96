//! The preview: the same machine with a driver that looks and never acts.
//!
//! Commands are answered like this, and the events stay in memory:
//!
//! | command | answer |
//! |---|---|
//! | write down | it is written down |
//! | take locks | who has them is told, and the preview goes on |
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
mod failing;
mod locks;
mod only;
mod planned;
mod record;
mod seek;
#[cfg(test)]
mod tests;
mod touched;
mod tree;
mod words;

use std::sync::Arc;

use camino::Utf8PathBuf;
pub use runwright_core::preview::{Preview, Probe};
use runwright_core::{
    event::{Begun, Previewed},
    plan::Plan,
    units::Span,
};

pub use self::record::record;
pub(crate) use self::record::row;
use self::{driver::Driver, record::found};
use crate::{
    journal::Journal,
    run::{Clock, Kinds, Vault},
};

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
    /// The folder of the locks that all users of the machine share.
    pub locks: Utf8PathBuf,
    /// The journal, where there is one: it knows which locks were left behind by runs that have ended.
    pub journal: Option<Journal>,
    /// Whether it is worked out what the failure of each step would come to.
    pub failures: bool,
}

/// Returns what a run of `plan` that begins like `begun` would do, and what may be written down of that. Changes
/// nothing.
///
/// Wants a tokio runtime with time; looks run as tasks of their own.
pub async fn preview(plan: Arc<Plan>, begun: Begun, around: PreviewAround) -> (Preview, Previewed) {
    let offline = around.probe == Probe::Offline;
    let mut driver = Driver::new(plan, begun.clone(), around);
    driver.drive().await;
    let probed = std::mem::take(&mut driver.probes);
    let preview = driver.preview();
    let found = found(&preview);
    let previewed = Previewed {
        begun,
        offline,
        probed,
        found,
    };
    (preview, previewed)
}
