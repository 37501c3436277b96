//! The step kinds of Runwright: a folder a family, a file a kind. Each acts on the machine it runs on.
//!
//! [`kinds`] is the only list of them: schema, help, reference, completion and validation read it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

mod cancel;
mod files;
mod http;
mod network;
mod process;
mod services;
mod sqlite;
mod system;
#[cfg(test)]
mod testing;

use runwright_core::kind::Kind;

/// Returns every step kind, by family.
pub fn kinds() -> Vec<Kind> {
    [
        process::KINDS,
        files::KINDS,
        sqlite::KINDS,
        services::KINDS,
        system::KINDS,
        http::KINDS,
        network::KINDS,
    ]
    .concat()
}
