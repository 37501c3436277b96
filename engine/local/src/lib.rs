//! The embedded driver of Runwright: what a run keeps on this machine.
//!
//! [`home`] is the folder that holds everything, [`journal`] the events of all runs, [`folder`] the files of one run.
//! Nothing here knows what an event means: it is a kind, a step and JSON text.

pub mod folder;
pub mod home;
pub mod journal;
pub mod lock;
#[cfg(test)]
mod testing;
