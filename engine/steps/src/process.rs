//! Steps on programs and scripts, and the runner that other families start their tools with.
//!
//! A program gets a process group of its own and, unless it is interactive, no terminal, a small environment that is
//! the same on every machine, and is ended as a group. Nothing here knows a shell but `shell`.

mod command;
mod shell;

mod foreground;
mod group;
mod kept;
mod outcome;
mod program;
mod quote;
pub(crate) mod runner;
mod running;
mod user;

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[command::KIND, shell::KIND];
