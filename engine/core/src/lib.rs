//! The language, the plan and the machine of Runwright.
//!
//! Nothing here does IO of its own: no clock, environment, file, process or random number. Drivers feed it.

pub mod diagnostic;
pub mod kind;
pub mod schema;
pub mod units;
pub mod value;
pub mod yaml;
