//! The language, the plan and the machine of Runwright.
//!
//! Nothing here does IO of its own: no clock, environment, file, process or random number. Drivers feed it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod diagnostic;
pub mod event;
pub mod expression;
pub mod kind;
pub mod language;
pub mod machine;
pub mod plan;
pub mod port;
pub mod preview;
pub mod schema;
pub mod summary;
pub mod units;
pub mod value;
pub mod yaml;
