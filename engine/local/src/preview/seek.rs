//! Looks at what a step is about: what is found, and whether the run will find the same.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    event::{Probed, StepKey},
    kind::{Class, Description, Effect, Failure, Looked},
    machine::{Answer, Task},
    preview::{Detail, Fidelity, Probe},
    units::Span,
    value::Value,
};
use rustix::io::Errno;

use super::{
    driver::{Driver, after},
    only, words,
};

/// What a look has told.
enum Sought {
    /// The run will find the same.
    Same(Looked),
    /// This is so now; a step before will have changed it.
    Now(Result<Looked, Failure>, Arc<str>),
    /// Nothing; what must have happened before it is known, and why.
    Nothing(Arc<str>, Option<String>),
    /// The run will fail here as well.
    Fails(Failure),
}

impl Driver {
    /// Answers a look.
    pub(super) async fn look(&mut self, step: &StepKey, task: &Task) -> Answer {
        let (action, sought) = self.seek(step, task).await;
        self.describe(step, &action);
        let look = match sought {
            Sought::Same(look) => {
                self.same(step, task, &look);
                Ok(look)
            }
            Sought::Now(now, after) => {
                self.now_only(step, &now, &after);
                Ok(unknown(task, &after))
            }
            Sought::Nothing(after, why) => {
                self.unseen(step, why.as_deref());
                self.unsure(step, &after, why);
                Ok(unknown(task, &after))
            }
            Sought::Fails(failure) if self.noted(step).may() => {
                let why = format!("if it runs, it fails: {}", failure.line());
                self.unsure(step, &after(step), Some(why));
                Ok(unknown(task, &after(step)))
            }
            Sought::Fails(failure) => Err(failure),
        };
        Answer::Looked {
            action,
            look,
            took: Span::default(),
        }
    }

    /// Answers the probe of a guard or an `unless`.
    pub(super) async fn probe(&mut self, step: &StepKey, task: &Task) -> Answer {
        let (_, sought) = self.seek(step, task).await;
        let unknown = |after: Arc<str>| Answer::Probed(Ok(Value::Unknown(after)));
        match sought {
            Sought::Same(Looked::Done(result)) => {
                self.probed = Some(result.clone());
                Answer::Probed(Ok(result))
            }
            Sought::Same(_) => Answer::Probed(Err(Failure::internal("ask a kind that only acts"))),
            Sought::Now(now, after) => {
                self.probed = match now {
                    Ok(Looked::Done(result)) => Some(result),
                    _ => None,
                };
                unknown(after)
            }
            Sought::Nothing(after, why) => {
                if let Some(why) = why {
                    self.unseen(step, Some(&why));
                    self.complain(step, why);
                }
                unknown(after)
            }
            Sought::Fails(failure) if !step.is_empty() && self.noted(step).may() => {
                self.complain(step, failure.line());
                unknown(after(step))
            }
            Sought::Fails(failure) => Answer::Probed(Err(failure)),
        }
    }

    async fn seek(&mut self, step: &StepKey, task: &Task) -> (Description, Sought) {
        if let Some(after) = only::unknown_in(&task.arguments) {
            return (words::open_action(task), Sought::Nothing(after, None));
        }
        let Some(kind) = self.around.kinds.get(task.kind.as_str()).copied() else {
            let failure = Failure::internal(format!("find the kind `{}`", task.kind));
            return (words::open_action(task), Sought::Fails(failure));
        };
        let (action, touches) = match only::describe(&kind, task) {
            Ok(described) => described,
            Err(failure) => return (words::open_action(task), Sought::Fails(failure)),
        };
        if self.around.probe == Probe::Offline {
            return (action, Sought::Nothing("the run looks at it".into(), None));
        }
        if !only::may_look(&kind, task) || self.is_asked_again(step) {
            return (action, Sought::Nothing(after(step), None));
        }
        let read: Vec<String> = touches.into_iter().map(|touch| touch.resource).collect();
        let read = self.real(read).await;
        let by = read.iter().find_map(|resource| self.touched.by(resource));
        let limit = match task.timeout {
            Some(timeout) if timeout.milliseconds < self.around.limit.milliseconds => timeout,
            _ => self.around.limit,
        };
        let seen = only::look_only(kind, task, &self.digests, self.cx(step), limit).await;
        if !matches!(&seen, Ok(seen) if seen.looked == Looked::Unclear) {
            self.probed(step, task, &read);
        }
        let look = seen.map(|seen| {
            if task.effect > Effect::Read {
                self.undone_by(step, seen.undo);
            }
            seen.looked
        });
        let sought = match (look, by) {
            (Ok(Looked::Unclear), _) => Sought::Same(Looked::Unclear),
            (look, Some(by)) => Sought::Now(look, after(&by)),
            (Ok(look), None) => Sought::Same(look),
            (Err(failure), None) if is_passing(&failure) => {
                Sought::Nothing(after(step), Some(could_not(&failure)))
            }
            (Err(failure), None) => Sought::Fails(failure),
        };
        (action, sought)
    }

    /// Takes in what the run will find as well.
    fn same(&mut self, step: &StepKey, task: &Task, look: &Looked) {
        let planned = &mut self.noted(step).planned;
        match look {
            Looked::Done(result) => {
                planned.fidelity = match task.effect {
                    Effect::Read => Fidelity::Probed,
                    Effect::Change | Effect::Destroy => Fidelity::Simulated,
                };
                planned.found = words::found(result);
            }
            Looked::Needed { summary, diff, .. } => {
                planned.fidelity = Fidelity::Simulated;
                planned.change = Some(summary.clone());
                planned.diff = diff.clone();
            }
            Looked::Unclear => {}
        }
    }

    /// Takes in what is so now and will be something else when the run gets there.
    fn now_only(&mut self, step: &StepKey, now: &Result<Looked, Failure>, after: &str) {
        let problem = match now {
            Err(failure) => Some(format!("now: {}", could_not(failure))),
            Ok(_) => None,
        };
        self.unseen(step, problem.as_deref());
        self.unsure(step, after, problem);
        let planned = &mut self.noted(step).planned;
        match now {
            Ok(Looked::Done(result)) => {
                if planned.effect > Effect::Read {
                    planned.notes.push("now it is as wanted already".to_owned());
                }
                planned.found = words::found(result);
            }
            Ok(Looked::Needed { summary, diff, .. }) => {
                planned.change = Some(summary.clone());
                planned.diff = diff.clone();
            }
            _ => {}
        }
    }

    /// Takes in what was looked at.
    fn probed(&mut self, step: &StepKey, task: &Task, read: &[String]) {
        let mask = |resource: &String| self.around.vault.mask(resource);
        let probed = Probed {
            step: step.clone(),
            kind: task.kind.clone(),
            targets: read.iter().map(mask).collect(),
        };
        if !self.probes.contains(&probed) {
            self.probes.push(probed);
        }
    }

    /// Takes in why a step could not be looked at.
    fn unseen(&mut self, step: &StepKey, why: Option<&str>) {
        let (Some(why), false) = (why, step.is_empty()) else {
            return;
        };
        self.unseen.push(Detail {
            name: step.to_string(),
            text: why.to_owned(),
        });
    }

    fn complain(&mut self, step: &StepKey, why: String) {
        match step.is_empty() {
            true => self.problems.push(why),
            false => self.noted(step).planned.problem = Some(why),
        }
    }

    /// Takes in that `step` changes `resources`.
    pub(super) async fn change(&mut self, step: &StepKey, resources: Vec<String>) {
        for resource in self.real(resources).await {
            self.touched.change(&resource, step);
        }
    }

    /// Returns `resources` with the real paths of files: a change through a link is a change of what it leads to.
    async fn real(&self, resources: Vec<String>) -> Vec<String> {
        if resources
            .iter()
            .all(|resource| !resource.starts_with("file:"))
        {
            return resources;
        }
        let cwd = self.children.cwd.clone();
        let lexical = resources.clone();
        let offline = self.around.probe == Probe::Offline;
        let real = tokio::task::spawn_blocking(move || {
            let name = |resource: String| match resource.strip_prefix("file:") {
                Some(path) => format!("file:{}", real_path(&cwd.join(path), offline)),
                None => resource,
            };
            resources.into_iter().map(name).collect()
        });
        match tokio::time::timeout(self.around.limit.to_std(), real).await {
            Ok(Ok(real)) => real,
            _ => lexical,
        }
    }
}

/// Returns the path without links and dots, as far as it exists.
fn real_path(path: &Utf8Path, offline: bool) -> Utf8PathBuf {
    let found = match offline {
        true => None,
        false => path
            .ancestors()
            .find_map(|above| Some((above, above.canonicalize_utf8().ok()?))),
    };
    let plain = |path: &Utf8Path| {
        path.components()
            .fold(Utf8PathBuf::new(), |mut path, component| {
                match component.as_str() {
                    ".." => {
                        path.pop();
                    }
                    "." => {}
                    name => path.push(name),
                }
                path
            })
    };
    match found {
        Some((above, real)) => match path.strip_prefix(above) {
            Ok(rest) if !rest.as_str().is_empty() => plain(&real.join(rest)),
            _ => real,
        },
        None => plain(path),
    }
}

/// Returns the look that stands for one whose outcome is known only after `after`.
fn unknown(task: &Task, after: &Arc<str>) -> Looked {
    match task.effect {
        Effect::Read => Looked::Done(Value::Unknown(after.clone())),
        Effect::Change | Effect::Destroy => Looked::Needed {
            before: Value::Unknown(after.clone()),
            summary: format!("known after {after}"),
            diff: None,
        },
    }
}

/// Returns whether a failure says nothing about what the run will find.
///
/// What we may not read is among them: who looks at a plan is often not who runs it.
fn is_passing(failure: &Failure) -> bool {
    matches!(
        failure.class,
        Class::Transport | Class::Timeout | Class::Cancelled
    ) || failure.causes.iter().any(|cause| is_denied(cause))
}

/// Returns whether the system has said that we may not: a failure keeps what it said only as text.
fn is_denied(cause: &str) -> bool {
    [Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|errno| cause.ends_with(&format!("(os error {})", errno.raw_os_error())))
}

fn could_not(failure: &Failure) -> String {
    format!("could not {}", failure.line())
}
