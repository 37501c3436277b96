//! `runwright __guard`: what a run starts beside itself, so that nothing of it outlives its engine.

use std::io;

use crate::{Done, exit};

/// The command's name.
pub(crate) const NAME: &str = "__guard";

/// Reads orders from standard input until the engine is gone, then ends what is left of its steps.
pub(crate) fn guard() -> Done {
    runwright_local::run::keep(io::stdin());
    Ok(exit::OK)
}
