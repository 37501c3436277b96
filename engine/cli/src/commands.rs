//! One file a command.

pub(crate) mod answer;
pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod deny;
pub(crate) mod describe;
pub(crate) mod guard;
pub(crate) mod history;
pub(crate) mod journal;
pub(crate) mod list;
pub(crate) mod locks;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod show;
