//! What the steps before would have changed by now: whether what is found still holds when the run gets there.
//!
//! A resource is `scheme:rest`. In doubt a change covers what is read: a result that is called unknown too often costs
//! a word, one that is called certain and is not costs trust.
//!
//! - A change of `file:/x` covers `/x`, all that lies below it, the folders that hold it; a database and what SQLite
//!   keeps beside it (`-wal`, `-shm`, `-journal`) are one.
//! - A change of a service, and of `all` (commands, work of people, time that passes in a `wait`), covers everything: a
//!   service has files, ports and databases of its own.
//! - A change of anything else covers that thing itself.
//! - `host` (disk, memory, load, processes) and whatever answers at an address (`url:`, `port:`, `db:`) is covered by
//!   every change: a deleted file frees space, and a program answers from its files.

use std::collections::BTreeMap;

use runwright_core::event::StepKey;

/// What would have been changed, and by which step last.
#[derive(Debug, Default)]
pub(super) struct Touched {
    all: Option<StepKey>,
    last: Option<StepKey>,
    things: BTreeMap<String, StepKey>,
}

const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Touched {
    /// Takes in that `step` changes `resource`.
    pub(super) fn change(&mut self, resource: &str, step: &StepKey) {
        self.last = Some(step.clone());
        if resource == "all" || resource.starts_with("service:") {
            self.all = Some(step.clone());
        }
        self.things.insert(resource.to_owned(), step.clone());
    }

    /// Returns the step that would have changed `resource` before, if one would.
    pub(super) fn by(&self, resource: &str) -> Option<StepKey> {
        if self.all.is_some() {
            return self.all.clone();
        }
        let Some(path) = resource.strip_prefix("file:") else {
            let anything = resource == "host"
                || resource == "all"
                || ["url:", "port:", "db:"]
                    .iter()
                    .any(|scheme| resource.starts_with(scheme));
            return match anything {
                true => self.last.clone(),
                false => self.things.get(resource).cloned(),
            };
        };
        let database = SIDE_FILES.iter().find_map(|side| path.strip_suffix(side));
        [Some(path), database]
            .into_iter()
            .flatten()
            .flat_map(above)
            .find_map(|path| self.things.get(&format!("file:{path}")))
            .or_else(|| {
                SIDE_FILES
                    .iter()
                    .find_map(|side| self.things.get(&format!("file:{path}{side}")))
            })
            .or_else(|| self.below(path))
            .cloned()
    }

    fn below(&self, path: &str) -> Option<&StepKey> {
        let start = format!("file:{}/", path.trim_end_matches('/'));
        self.things
            .range(start.clone()..)
            .next()
            .filter(|(thing, _)| thing.starts_with(&start))
            .map(|(_, step)| step)
    }
}

/// Returns `path` and every folder above it.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/')? {
        0 if path.len() > 1 => Some("/"),
        0 => None,
        at => Some(&path[..at]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(changed: &[&str]) -> Touched {
        let mut touched = Touched::default();
        for resource in changed {
            touched.change(resource, &"before".into());
        }
        touched
    }

    #[test]
    fn a_change_covers_what_may_depend_on_it_and_nothing_else() {
        for (changed, read, covered) in [
            ("file:/x/y", "file:/x/y", true),
            ("file:/x/y", "file:/x/y/z/w", true),
            ("file:/x/y", "file:/x", true),
            ("file:/x/y", "file:/", true),
            ("file:/", "file:/x", true),
            ("file:/x/y", "file:/x/yz", false),
            ("file:/x/y", "file:/x/a", false),
            ("file:/x/y.db", "file:/x/y.db-wal", true),
            ("file:/x/y.db-wal", "file:/x/y.db", true),
            ("file:/x", "host", true),
            ("file:/x", "url:http://localhost", true),
            ("file:/x", "service:web", false),
            ("service:db", "service:web", true),
            ("service:db", "file:/x", true),
            ("all", "file:/x", true),
            ("db:one", "file:/x", false),
            ("db:one", "db:one", true),
        ] {
            assert_eq!(
                touched(&[changed]).by(read).is_some(),
                covered,
                "{changed} then {read}"
            );
        }
        assert_eq!(touched(&[]).by("host"), None);
    }

    #[test]
    fn a_neighbour_that_sorts_between_does_not_hide_what_lies_below() {
        assert!(touched(&["file:/x!", "file:/x/y"]).by("file:/x").is_some());
    }
}
