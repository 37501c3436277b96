//! Puts what was noted into the tree of steps, in the order of the playbook, and counts it.

use runwright_core::{
    event::StepKey,
    machine::State,
    plan::{Body, NodeId, ScopeId},
    preview::{
        Counts, Decision, Head, Input, Lapse, Part, Planned, Preview, Question, Undo, Undos,
        VERSION,
    },
    units::Time,
    value::Value,
};

use super::{driver::Driver, planned::blank};

impl Driver {
    /// Returns what the run would do.
    pub(super) fn preview(mut self) -> Preview {
        let mut tree = Tree {
            driver: &mut self,
            steps: Vec::new(),
            questions: Vec::new(),
        };
        let root = Place {
            prefix: String::new(),
            depth: 0,
            round: None,
            part: Part::Steps,
        };
        tree.scope(ScopeId(0), &root);
        let (steps, questions) = (tree.steps, tree.questions);
        let failures = std::mem::take(&mut self.failures);
        let head = self.head(&steps, questions);
        Preview {
            v: VERSION,
            head,
            steps,
            failures,
        }
    }

    fn head(self, steps: &[Planned], questions: Vec<Question>) -> Head {
        let root = self.plan.root();
        let inputs = root
            .inputs
            .iter()
            .map(|input| Input {
                name: input.name.clone(),
                value: match self.begun.inputs.get(&input.name) {
                    Some(Value::Text(text)) if !text.is_empty() => text.to_string(),
                    Some(value) => value.display(),
                    None => "not given".to_owned(),
                },
                source: match self.begun.sources.get(&input.name) {
                    Some(source) => source.clone(),
                    None => "default".to_owned(),
                },
            })
            .collect();
        let lapses = lapses(&self.state, steps);
        let acts = |step: &&Planned| matches!(step.decision, Decision::Runs | Decision::MayRun);
        Head {
            playbook: self.begun.playbook.clone(),
            version: self.begun.playbook_version.clone(),
            title: self.begun.title.clone(),
            description: root.description.trim().to_owned(),
            path: self.begun.path.clone(),
            digest: root.digest.0.clone(),
            host: self.begun.host.clone(),
            user: self.begun.user.clone(),
            at: self.around.clock.now().to_string(),
            probe: self.around.probe,
            counts: counts(steps),
            undo: Undos {
                lapses,
                ..undos(steps.iter().filter(acts))
            },
            point_of_no_return: steps
                .iter()
                .filter(acts)
                .find(|step| step.point_of_no_return)
                .map(|step| step.step.clone()),
            confirms: steps
                .iter()
                .filter(|step| step.decision != Decision::Already)
                .filter_map(|step| step.confirm.clone())
                .collect(),
            questions,
            locks: self.locks,
            requires: self.requires,
            inputs,
            guards: self.guards,
            stop: self.stop,
            unseen: self.unseen,
            problems: self.problems,
        }
    }
}

/// Returns the undos that stay possible only for a while, the shortest first.
fn lapses(state: &State, steps: &[Planned]) -> Vec<Lapse> {
    let mut open = state.open_until();
    open.sort_by_key(|(_, until)| until.map(|until| until.milliseconds));
    let lapse = |(key, until): (StepKey, Option<Time>)| {
        let until = until?;
        let planned = steps.iter().find(|planned| planned.step == *key)?;
        match &planned.undo {
            Undo::ByItself { lapses, .. } => Some(Lapse {
                step: key.to_string(),
                after: lapses.clone()?,
                until: until.to_string(),
            }),
            _ => None,
        }
    };
    open.into_iter().filter_map(lapse).collect()
}

fn counts(steps: &[Planned]) -> Counts {
    let mut counts = Counts::default();
    for step in steps.iter().filter(|step| !step.structure) {
        match step.decision {
            Decision::Runs | Decision::Fails | Decision::Refused => {
                counts.runs.count(step.effect);
            }
            Decision::MayRun => counts.may_run.count(step.effect),
            Decision::Skipped => counts.skipped += 1,
            Decision::Already => counts.already += 1,
            Decision::NotReached => counts.not_reached += 1,
        }
    }
    counts
}

fn undos<'a>(steps: impl Iterator<Item = &'a Planned>) -> Undos {
    let mut undos = Undos::default();
    for step in steps.filter(|step| !step.structure) {
        match step.undo {
            Undo::ByItself { .. } => undos.by_itself += 1,
            Undo::ByHand { .. } | Undo::Around { .. } => undos.by_hand += 1,
            Undo::Irreversible { .. } => undos.not += 1,
            Undo::None | Undo::Nothing => {}
        }
    }
    undos
}

struct Tree<'d> {
    driver: &'d mut Driver,
    steps: Vec<Planned>,
    questions: Vec<Question>,
}

/// Where steps lie.
#[derive(Clone)]
struct Place {
    /// What stands before their ids in their addresses.
    prefix: String,
    depth: usize,
    round: Option<String>,
    part: Part,
}

impl Place {
    fn inside(&self) -> Place {
        Place {
            depth: self.depth + 1,
            ..self.clone()
        }
    }
}

impl Tree<'_> {
    fn scope(&mut self, scope: ScopeId, place: &Place) {
        let scope = self.driver.plan.scope(scope);
        let (steps, always) = (scope.steps.clone(), scope.always.clone());
        self.nodes(&steps, place);
        let last = Place {
            part: Part::Always,
            ..place.clone()
        };
        self.nodes(&always, &last);
    }

    fn nodes(&mut self, nodes: &[NodeId], place: &Place) {
        for node in nodes {
            self.node(*node, place);
        }
    }

    fn node(&mut self, id: NodeId, place: &Place) {
        let plan = self.driver.plan.clone();
        let node = plan.node(id);
        let key: StepKey = format!("{}{}", place.prefix, node.id).into();
        let noted = self.driver.noted.remove(&key);
        let rounds = noted.as_ref().map(|noted| noted.rounds.clone());
        let is_static = noted.is_none();
        let mut planned = match noted {
            Some(noted) => {
                if let Some(asked) = noted.question.clone() {
                    self.questions.push(Question {
                        step: key.to_string(),
                        message: asked.message,
                        values: asked.values,
                        who: asked.who,
                        certain: !noted.may(),
                    });
                }
                noted.planned
            }
            None => self.not_reached(id, &key, place.part),
        };
        planned.depth = place.depth;
        planned.round = place.round.clone();
        planned.part = place.part;
        // What is inside a step that does not run is not shown.
        let enters = !matches!(planned.decision, Decision::Skipped | Decision::Already);
        self.steps.push(planned);
        if !enters {
            return;
        }
        let inside = place.inside();
        match &node.body {
            Body::Group(nodes) | Body::Parallel { nodes, .. } => self.nodes(nodes, &inside),
            Body::Choose(branches) => {
                for branch in branches {
                    // Of a choice that was made only what is taken is there.
                    let shown = is_static
                        || branch.nodes.iter().any(|id| {
                            let key = format!("{}{}", place.prefix, plan.node(*id).id);
                            self.driver.noted.contains_key(key.as_str())
                        });
                    if shown {
                        self.nodes(&branch.nodes, &inside);
                    }
                }
            }
            Body::Foreach { nodes, .. } => {
                for round in rounds.unwrap_or_else(|| vec!["?".to_owned()]) {
                    let inside = Place {
                        prefix: format!("{key}[{round}]/"),
                        round: Some(round),
                        ..inside.clone()
                    };
                    self.nodes(nodes, &inside);
                }
            }
            Body::Call { scope, .. } => {
                let inside = Place {
                    prefix: format!("{key}/"),
                    ..inside
                };
                self.scope(*scope, &inside);
            }
            _ => {}
        }
    }

    /// Returns a step that the machine has not come to.
    fn not_reached(&self, id: NodeId, key: &str, part: Part) -> Planned {
        let mut planned = blank(&self.driver.plan, id, key);
        match (part, self.driver.halted) {
            (Part::Steps, _) => {}
            (Part::Always, true) => {
                planned.decision = Decision::MayRun;
                planned.why = Some("it runs last, whatever came before".to_owned());
            }
            (Part::Always, false) => {
                planned.why = Some("nothing has started that it could follow".to_owned());
            }
        }
        planned
    }
}
