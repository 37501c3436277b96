//! What is known of one step so far.

use std::sync::Arc;

use runwright_core::{
    event::StepKey,
    kind::{Effect, UndoneBy},
    plan::{Body, Node, NodeId, Plan},
    preview::{Decision, Fidelity, Part, Planned, Undo, Who},
};

use super::{driver::Driver, only, words};

/// What is known of one step so far.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub planned: Planned,
    /// After what it is known whether it runs; none: it is known now.
    pub may_after: Option<Arc<str>>,
    /// After what it is known which rounds or branches it enters.
    pub enters_after: Option<Arc<str>>,
    /// Whether a step inside only may run, and changes something.
    pub may_change_inside: bool,
    /// Whether what comes now is a further try.
    pub again: bool,
    /// Whether it has begun what is inside it.
    pub entered: bool,
    /// The keys of its rounds.
    pub rounds: Vec<String>,
    /// What people are asked for.
    pub question: Option<Asked>,
    /// How its change would be undone, as far as a look has told it.
    pub undo: Option<only::Planned>,
}

/// What people are asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub message: String,
    pub values: Vec<String>,
    pub who: Who,
}

impl Noted {
    /// Returns whether it is not certain that the step runs.
    pub(super) fn may(&self) -> bool {
        self.may_after.is_some()
    }
}

impl Driver {
    /// Takes up a step, or what is new of it, when the machine wants something for it.
    pub(super) fn note(&mut self, step: &StepKey) {
        if step.is_empty() {
            return;
        }
        let Some(id) = self.state.node_of(step) else {
            return;
        };
        let plan = self.plan.clone();
        let title = self.state.title_of(&plan, step);
        let known = self
            .noted
            .get(step)
            .map(|noted| noted.planned.guards.clone());
        let guards: Vec<_> = (0..plan.node(id).guards.len())
            .filter_map(|index| {
                let guard = &plan.node(id).guards[index];
                match &known {
                    // What a probe has answered is not worked out again.
                    Some(known) if guard.probe.is_some() => known.get(index).cloned(),
                    _ => self.state.guard_of(&plan, step, index, None),
                }
            })
            .collect();
        if !self.noted.contains_key(step) {
            let noted = self.take_up(step, id);
            self.noted.insert(step.clone(), noted);
        }
        let planned = &mut self.noted(step).planned;
        planned.title = title;
        planned.guards = guards;
    }

    fn take_up(&self, step: &StepKey, id: NodeId) -> Noted {
        let plan = &self.plan;
        let node = plan.node(id);
        let around = self
            .state
            .parent_of(step)
            .and_then(|parent| self.noted.get(&parent));
        let when = self.state.when_of(plan, step);
        let unless = self.state.unless_of(plan, step, None);
        let own = |condition: &Option<runwright_core::preview::Condition>| {
            condition
                .as_ref()
                .filter(|condition| condition.holds.is_none())
                .and_then(|condition| condition.after.as_deref().map(Arc::from))
        };
        let may_after = around
            .and_then(|around| around.may_after.clone().or(around.enters_after.clone()))
            .or_else(|| own(&when))
            .or_else(|| match node.unless.as_ref()?.probe {
                Some(_) => None,
                None => own(&unless),
            });
        let patience = self.state.patience_of(plan, step);
        let mut planned = blank(plan, id, step);
        planned.decision = match may_after {
            Some(_) => Decision::MayRun,
            None => Decision::Runs,
        };
        planned.why = when
            .filter(|when| !when.why.is_empty() && when.holds != Some(false))
            .map(|when| format!("`{}`: {}", when.text, when.why));
        planned.after = may_after.as_deref().map(str::to_owned);
        planned.unless = unless;
        planned.retry = patience.retry.as_ref().map(words::retry);
        planned.until = patience.until.as_ref().map(words::until);
        planned.timeout = patience.timeout.map(|timeout| timeout.to_string());
        if let (Undo::None, Some(step)) = (&planned.undo, self.undone_around(step, id)) {
            planned.undo = Undo::Around { step };
        }
        Noted {
            planned,
            may_after,
            enters_after: None,
            may_change_inside: false,
            again: false,
            entered: false,
            rounds: Vec::new(),
            question: None,
            undo: None,
        }
    }

    /// Returns the step around it that says how all inside it is undone.
    fn undone_around(&self, step: &StepKey, id: NodeId) -> Option<String> {
        let node = self.plan.node(id);
        if node.effect == Effect::Read || node.aside {
            return None;
        }
        std::iter::successors(self.state.parent_of(step), |step| {
            self.state.parent_of(step)
        })
        .find(|step| {
            self.state
                .node_of(step)
                .is_some_and(|node| self.plan.node(node).rollback.is_some())
        })
        .map(|step| step.to_string())
    }

    pub(super) fn noted(&mut self, step: &StepKey) -> &mut Noted {
        let plan = self.plan.clone();
        let id = self.state.node_of(step).unwrap_or(NodeId(0));
        self.noted.entry(step.clone()).or_insert_with(|| Noted {
            planned: blank(&plan, id, step),
            may_after: None,
            enters_after: None,
            may_change_inside: false,
            again: false,
            entered: false,
            rounds: Vec::new(),
            question: None,
            undo: None,
        })
    }

    /// Takes in how the change of the step would be undone.
    pub(super) fn undone_by(&mut self, step: &StepKey, undo: Option<only::Planned>) {
        let Some(undo) = undo else { return };
        let noted = self.noted(step);
        if let Undo::ByItself { kind, .. } = &noted.planned.undo {
            noted.planned.undo = match &undo {
                only::Planned::By(record) => Undo::ByItself {
                    kind: kind.clone(),
                    does: Some(record.summary.clone()),
                    lapses: record.lapses.map(|span| span.to_string()),
                },
                only::Planned::Nothing => Undo::Nothing,
            };
        }
        noted.undo = Some(undo);
    }

    /// Returns whether the step has been asked before: what it answers then nobody knows.
    pub(super) fn is_asked_again(&self, step: &StepKey) -> bool {
        self.noted.get(step).is_some_and(|noted| noted.again)
    }
}

/// Returns a step of which only the playbook's text is known.
pub(super) fn blank(plan: &Plan, id: NodeId, step: &str) -> Planned {
    let node = plan.node(id);
    Planned {
        step: step.to_owned(),
        id: node.id.clone(),
        title: node.title.as_ref().map(|title| title.text().to_owned()),
        depth: 0,
        round: None,
        part: Part::Steps,
        kind: plan.node(id).body.word().to_owned(),
        structure: is_structure(node),
        effect: node.effect,
        decision: Decision::NotReached,
        why: None,
        fidelity: Fidelity::Exact,
        after: None,
        action: None,
        details: Vec::new(),
        contents: Vec::new(),
        change: None,
        diff: None,
        found: Vec::new(),
        unless: None,
        guards: Vec::new(),
        confirm: None,
        retry: None,
        until: None,
        timeout: None,
        undo: undo(plan, node),
        point_of_no_return: node.is_point_of_no_return(),
        findings: Vec::new(),
        problem: None,
        notes: Vec::new(),
    }
}

fn undo(plan: &Plan, node: &Node) -> Undo {
    if node.effect == Effect::Read || node.aside {
        return Undo::None;
    }
    match (&node.irreversible, &node.rollback, node.work()) {
        (Some(why), _, _) => Undo::Irreversible { why: why.clone() },
        (None, Some(steps), _) if steps.is_empty() => Undo::Nothing,
        (None, Some(steps), _) => Undo::ByHand {
            steps: steps.iter().map(|id| name(plan, *id)).collect(),
        },
        (None, None, Some(work))
            if work.kind.undone == UndoneBy::Itself
                && (work.kind.undoes)(&work.arguments.literal()) =>
        {
            Undo::ByItself {
                kind: work.kind.name.to_owned(),
                does: None,
                lapses: None,
            }
        }
        _ => Undo::None,
    }
}

fn name(plan: &Plan, id: NodeId) -> String {
    let node = plan.node(id);
    match &node.title {
        Some(title) => title.text().to_owned(),
        None => format!("{} ({})", node.id, plan.node(id).body.word()),
    }
}

fn is_structure(node: &Node) -> bool {
    matches!(
        node.body,
        Body::Group(_)
            | Body::Parallel { .. }
            | Body::Foreach { .. }
            | Body::Choose(_)
            | Body::Call { .. }
    )
}
