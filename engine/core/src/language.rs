//! Playbooks: from text to a checked plan.
//!
//! [`read`] makes a [`Playbook`] of one text and reports every mistake of it at once, with its place; [`link`] puts a
//! playbook and those that it calls together into a [`Plan`](crate::plan::Plan).

mod inputs;
mod link;
mod names;
mod playbook;
mod reader;
mod rules;
mod schema;
mod step;
mod structure;
#[cfg(test)]
mod tests;
mod text;

use camino::Utf8Path;

pub use self::{
    link::{CallSite, Find, Linked, link},
    playbook::read,
    schema::{kind_schemas, playbook_schema},
};
use crate::plan::{Node, Scope};

/// A playbook that was read and checked by itself; its calls are not linked yet.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// What it says, with node ids that count from 0 within it.
    pub scope: Scope,
    /// Its steps.
    pub nodes: Vec<Node>,
    /// The playbooks that it calls, with the nodes that do so.
    pub calls: Vec<CallSite>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The document it comes from.
    pub origin: Option<String>,
    /// The day it was last read against the real system.
    pub reviewed: Option<String>,
    /// How long after that it counts as stale.
    pub stale_after: crate::units::Span,
}

/// Returns the name that a playbook file must give itself: its stem, without a version behind an `@`.
pub fn name_of_file(path: &Utf8Path) -> &str {
    let stem = path.file_stem().unwrap_or_default();
    stem.split_once('@').map_or(stem, |(name, _)| name)
}
