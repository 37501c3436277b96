//! Steps on services of a service manager.
//!
//! The managers are found by asking each that this machine has; nothing is guessed from files.

mod service;
mod status;

mod manager;
mod ready;
mod supervisor;
mod systemd;
#[cfg(test)]
mod testing;

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[status::KIND, service::KIND];
