//! The embedded driver of Runwright: what a run keeps on this machine.
//!
//! [`home`] is the folder that holds everything, [`journal`] the events of all runs, [`folder`] the files of one run;
//! none of them knows what an event means: it is a kind, a step and JSON text. [`lock`] is what one process has of a run,
//! [`locks`] what one run has of the machine. [`run`] is the loop that feeds the
//! machine, [`preview`] the same machine with a driver that only looks. [`audit`] proves that the journal is as it was
//! written, [`signature`] lets somebody vouch for it, [`sweep`] gives up what undos kept.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod audit;
mod digests;
pub mod fault;
pub mod folder;
pub mod home;
pub mod journal;
pub mod lock;
pub mod locks;
pub mod preview;
pub mod run;
pub mod signature;
pub mod sweep;
#[cfg(test)]
mod testing;
