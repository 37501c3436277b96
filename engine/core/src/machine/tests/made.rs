//! Playbooks and worlds made by chance: all nodes and attributes, nested, with whatever may come of them.
//!
//! A node or attribute that is new to the language is one more case in [`What`] or [`With`].

use std::{collections::BTreeSet, fmt::Write};

use proptest::{collection::vec, prelude::*, sample::select};

/// A step without its id, which is made of its place.
#[derive(Clone, Debug)]
pub(super) struct Made {
    what: What,
    with: Vec<With>,
    /// What comes of its attempts, one after the other.
    outcomes: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum What {
    Read,
    Change,
    Command(Undo),
    Again,
    Destroy,
    Wait,
    Manual,
    Ask,
    Finding,
    Notify,
    Set,
    Checkpoint,
    Group(Vec<Made>),
    Parallel(Vec<Made>, bool),
    Foreach(Vec<Made>, usize),
    Choose(Vec<Made>, bool),
    Call(Vec<Made>),
}

/// How a command is undone.
#[derive(Clone, Copy, Debug)]
enum Undo {
    Steps,
    Nothing,
    Not,
    Reads,
}

/// An attribute, or what the world says to it.
#[derive(Clone, Debug)]
enum With {
    When(bool),
    /// It names a result of the step before it.
    WhenEarlier,
    NamesEarlier(bool),
    Unless(bool),
    UnlessProbe,
    Guard(bool),
    GuardProbe,
    Confirm,
    Phrase,
    Expect(&'static str, bool, bool),
    Retry(bool),
    Until(bool),
    Timeout,
    Rollback,
    OnFailure(&'static str),
    Sensitive,
    Title,
    Look(&'static str),
    Probe(Vec<&'static str>),
    Undo(&'static str),
    Says(&'static str),
}

/// Returns steps, so many at the top.
pub(super) fn steps(beside: bool) -> impl Strategy<Value = Vec<Made>> {
    vec(made(beside), 1..4)
}

fn made(beside: bool) -> BoxedStrategy<Made> {
    let leaf = prop_oneof![
        4 => Just(What::Read),
        5 => Just(What::Change),
        4 => select(vec![Undo::Steps, Undo::Nothing, Undo::Not, Undo::Reads]).prop_map(What::Command),
        2 => Just(What::Again),
        1 => Just(What::Destroy),
        1 => Just(What::Wait),
        1 => Just(What::Manual),
        1 => Just(What::Ask),
        1 => Just(What::Finding),
        1 => Just(What::Notify),
        1 => Just(What::Set),
        1 => Just(What::Checkpoint),
    ];
    let whole = leaf_with(leaf.boxed());
    let recursive = whole.prop_recursive(3, 12, 3, move |inner| {
        let inside = || vec(inner.clone(), 1..4);
        let rounds = match beside {
            true => 3_usize,
            false => 2,
        };
        let mut what = vec![
            inside().prop_map(What::Group).boxed(),
            (inside(), 1..rounds)
                .prop_map(|(steps, at_once)| What::Foreach(steps, at_once))
                .boxed(),
            (inside(), any::<bool>())
                .prop_map(|(steps, first)| What::Choose(steps, first))
                .boxed(),
            inside().prop_map(What::Call).boxed(),
        ];
        if beside {
            let parallel = (inside(), any::<bool>());
            what.push(
                parallel
                    .prop_map(|(steps, some)| What::Parallel(steps, some))
                    .boxed(),
            );
        }
        leaf_with(proptest::strategy::Union::new(what).boxed())
    });
    recursive.boxed()
}

fn leaf_with(what: BoxedStrategy<What>) -> BoxedStrategy<Made> {
    (what, vec(with(), 0..4), vec(outcome(), 0..4))
        .prop_map(|(what, with, outcomes)| Made {
            what,
            with,
            outcomes,
        })
        .boxed()
}

fn outcome() -> impl Strategy<Value = &'static str> {
    let fails = vec![
        "fail exit",
        "fail transport",
        "fail timeout",
        "fail expect",
        "fail refused",
        "fail internal",
        "half exit",
        "half timeout",
    ];
    prop_oneof![3 => Just("ok"), 1 => Just("ok {\"n\": 2}"), 3 => select(fails)]
}

fn with() -> impl Strategy<Value = With> {
    let probes = vec!["ok", "ok {\"n\": 2}", "fail exit", "fail transport"];
    prop_oneof![
        1 => any::<bool>().prop_map(With::When),
        1 => Just(With::WhenEarlier),
        1 => any::<bool>().prop_map(With::NamesEarlier),
        1 => any::<bool>().prop_map(With::Unless),
        1 => Just(With::UnlessProbe),
        1 => any::<bool>().prop_map(With::Guard),
        1 => Just(With::GuardProbe),
        1 => Just(With::Confirm),
        1 => Just(With::Phrase),
        1 => (select(vec!["failure", "warning", "critical"]), any::<bool>(), any::<bool>())
            .prop_map(|(severity, each, holds)| With::Expect(severity, each, holds)),
        1 => any::<bool>().prop_map(With::Retry),
        1 => any::<bool>().prop_map(With::Until),
        1 => Just(With::Timeout),
        1 => Just(With::Rollback),
        2 => select(vec!["rollback", "stop", "ask", "continue"]).prop_map(With::OnFailure),
        1 => Just(With::Sensitive),
        1 => Just(With::Title),
        1 => select(vec!["unclear", "done", "done {\"n\": 2}", "fail transport"]).prop_map(With::Look),
        1 => vec(select(probes), 1..4).prop_map(With::Probe),
        1 => select(vec!["dirty", "lapsed", "fail exit"]).prop_map(With::Undo),
        1 => select(vec!["yes", "no", "skip", "failed", "silence", "stop", "--yes"]).prop_map(With::Says),
    ]
}

/// Playbooks as text, and what happens in their world as a script.
#[derive(Default)]
pub(super) struct Written {
    /// The playbooks that are called.
    called: Vec<String>,
    pub script: String,
    /// Whether nothing in the world tells a lie: an `unless` that has nothing to do with what is done is left out.
    pub is_honest: bool,
}

impl Written {
    /// Returns the text of a playbook with these steps, and of all that it calls.
    pub(super) fn playbook(&mut self, head: &str, steps: &[Made], always: &[Made]) -> String {
        let mut yaml = format!("{head}steps:\n");
        self.steps(steps, "s", 2, Place::default(), &mut yaml);
        if !always.is_empty() {
            yaml.push_str("always:\n");
            let place = Place {
                aside: true,
                ..Place::default()
            };
            self.steps(always, "z", 2, place, &mut yaml);
        }
        for called in std::mem::take(&mut self.called) {
            write!(yaml, "---\n{called}").expect("text can be written");
        }
        yaml
    }

    fn say(&mut self, name: &str, words: &[&str]) {
        if !words.is_empty() {
            writeln!(self.script, "{name}: {}", words.join("; ")).expect("text can be written");
        }
    }

    fn steps(&mut self, steps: &[Made], id: &str, indent: usize, place: Place, yaml: &mut String) {
        let mut earlier = None;
        for (index, step) in steps.iter().enumerate() {
            let id = format!("{id}_{index}");
            self.step(step, &id, indent, place, earlier.as_deref(), yaml);
            // Where a person has to settle a step in doubt, it gives no result.
            let is_told = !self.is_honest || step.is_told_by_its_look();
            earlier = Some(id).filter(|_| step.is_named() && is_told && !place.beside);
        }
    }

    fn step(
        &mut self,
        step: &Made,
        id: &str,
        indent: usize,
        place: Place,
        earlier: Option<&str>,
        yaml: &mut String,
    ) {
        let pad = " ".repeat(indent);
        let mut line = |text: &str| writeln!(yaml, "{pad}{text}").expect("text can be written");
        line(&format!("- id: {id}"));
        let mut keys = BTreeSet::new();
        for with in &step.with {
            let text = self.attribute(step, with, id, place, earlier);
            for (key, text) in text {
                if keys.insert(key) {
                    line(&format!("  {key}: {text}"));
                }
            }
        }
        // What is half done is found done by the look after a cut, and else tried once more.
        let honest = |outcome: &&&str| !self.is_honest || !outcome.starts_with("half");
        let outcomes: Vec<&str> = step.outcomes.iter().filter(honest).copied().collect();
        self.say(id, &outcomes);
        let mut argument = "{}".to_owned();
        if let (Some(earlier), Some(With::NamesEarlier(may_fail))) = (earlier, step.naming()) {
            let or = match may_fail {
                true => "",
                false => " | default(3)",
            };
            argument = format!("{{n: \"{{{{ {earlier}.n{or} }}}}\"}}");
        }
        if matches!(step.what, What::Destroy) && keys.insert("confirm") {
            line("  confirm: true");
        }
        let mut inside: Option<(&[Made], usize, bool)> = None;
        match &step.what {
            What::Read => line(&format!("  test.read: {argument}")),
            What::Change => line(&format!("  test.change: {argument}")),
            What::Again => line("  test.again: {of: web}"),
            What::Destroy => {
                line("  test.destroy: {}");
                if !place.aside {
                    line("  irreversible: gone is gone");
                }
            }
            What::Command(undo) => {
                line(&format!("  command: {argument}"));
                match undo {
                    Undo::Reads => line("  effect: read"),
                    _ if place.aside => {}
                    Undo::Steps => {
                        line("  rollback:");
                        line(&format!("    - id: {id}_undo"));
                        line("      command: {}");
                        line(&format!("    - id: {id}_seen"));
                        line("      test.read: {}");
                        line("      retry: {attempts: 2}");
                    }
                    Undo::Nothing => line("  rollback: []"),
                    Undo::Not => line("  irreversible: sent is sent"),
                }
            }
            What::Wait => line("  wait: 3s"),
            What::Manual => line("  manual: Do it"),
            What::Ask => {
                line("  ask: {reason: {type: string}}");
                self.say(&format!("{id} ask"), &["values {\"reason\": \"why\"}"; 12]);
            }
            What::Finding => line("  finding: {severity: critical, title: It is so}"),
            What::Notify => line("  notify: {to: terminal, message: hello}"),
            What::Set => line("  set: {n: 1 + 1}"),
            What::Checkpoint => {
                if keys.insert("expect") {
                    line("  expect: [{that: 1 == 1}]");
                }
            }
            What::Group(steps) => {
                line("  group:");
                inside = Some((steps, 4, false));
            }
            What::Parallel(steps, some) => {
                if *some {
                    line("  at_once: 2");
                }
                line("  parallel:");
                inside = Some((steps, 4, true));
            }
            What::Foreach(steps, at_once) => {
                line("  foreach:");
                line("    in: [1, 2]");
                line("    key: item * 10");
                line(&format!("    at_once: {at_once}"));
                line("    steps:");
                inside = Some((steps, 6, false));
            }
            What::Choose(steps, first) => {
                line("  choose:");
                line(&format!("    - when: 1 == {}", if *first { 1 } else { 2 }));
                line("      steps:");
                line(&format!("        - id: {id}_first"));
                line("          test.change: {}");
                if place.aside {
                    line("    - otherwise:");
                } else {
                    line("    - when: 1 == 1");
                    line("      steps:");
                }
                inside = Some((steps, 8, false));
            }
            What::Call(steps) => {
                let name = format!("called-{}", id.replace('_', "-"));
                line(&format!("  call: {{playbook: {name}, with: {{given: 2}}}}"));
                let mut text = format!(
                    "playbook: {name}\ninputs: {{given: {{type: integer}}}}\nvars: {{twice: given * 2}}\nsteps:\n"
                );
                // What is called says how it is undone, wherever it is called from.
                self.steps(steps, id, 2, Place::default(), &mut text);
                let always = format!("always:\n  - id: {id}_always\n    test.read: {{}}\n");
                text.push_str(&always);
                text.push_str("outputs: {four: twice}\n");
                self.called.push(text);
            }
        }
        if let Some((steps, deeper, beside)) = inside {
            let place = Place { beside, ..place };
            self.steps(steps, id, indent + deeper, place, yaml);
        }
    }

    /// Returns the keys of an attribute with their values, where the step can have it; tells the world what belongs to
    /// it.
    fn attribute(
        &mut self,
        step: &Made,
        with: &With,
        id: &str,
        place: Place,
        earlier: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let one = |key: &'static str, text: &str| vec![(key, text.to_owned())];
        let equal = |holds: &bool| format!("1 == {}", if *holds { 1 } else { 2 });
        let is_kind = step.is_kind();
        match with {
            With::When(holds) => one("when", &equal(holds)),
            With::WhenEarlier => match earlier {
                Some(earlier) => one("when", &format!("{earlier}.n == 1 or {earlier}.ok")),
                None => Vec::new(),
            },
            With::Unless(_) | With::UnlessProbe if self.is_honest => Vec::new(),
            With::Unless(holds) if is_kind => one("unless", &equal(holds)),
            With::UnlessProbe if is_kind => one("unless", "{test.read: {}, that: result.n == 2}"),
            With::Guard(holds) => one("guards", &format!("[{{that: {}, else: no}}]", equal(holds))),
            With::GuardProbe => one("guards", "[{test.read: {}, that: result.n == 1}]"),
            With::Confirm => one("confirm", "Go?"),
            With::Phrase => one("confirm", "{message: Go?, phrase: here}"),
            // What a person says is done is not checked: there is no result to check.
            With::Expect(..) if self.is_honest && !step.is_told_by_its_look() => Vec::new(),
            With::Expect(severity, each, holds) => {
                let each = match each {
                    true => "each: [1, 2], ",
                    false => "",
                };
                let that = equal(holds);
                one(
                    "expect",
                    &format!("[{{{each}that: {that}, severity: {severity}}}]"),
                )
            }
            // What an attempt has changed before it failed is found done by the look after a cut, and else tried again.
            With::Retry(_) if self.is_honest && step.misses_what_it_expects() => Vec::new(),
            With::Retry(doubles) if is_kind => one(
                "retry",
                match doubles {
                    true => {
                        "{attempts: 4, delay: 1s, backoff: exponential, max_delay: 3s, jitter: true}"
                    }
                    false => "{attempts: 2, delay: 2s, on: [exit, transport]}",
                },
            ),
            With::Until(stable) if step.can_be_asked_again() => {
                let mut keys = vec![
                    ("until", "1 == 1".to_owned()),
                    ("within", "9s".to_owned()),
                    ("every", "2s".to_owned()),
                ];
                if matches!(step.what, What::Read) {
                    keys[0].1 = "result.n == 2".to_owned();
                }
                if *stable {
                    keys.push(("stable_for", "4s".to_owned()));
                }
                keys
            }
            With::Timeout if is_kind => one("timeout", "20s"),
            With::Rollback if step.is_done_by_hand() && !place.aside => {
                vec![("rollback", format!("[{{id: {id}_back, command: {{}}}}]"))]
            }
            With::Rollback if matches!(step.what, What::Change) && !place.aside => {
                vec![(
                    "rollback",
                    format!(
                        "[{{id: {id}_back, when: before.was | default(0) != 0.5, command: {{}}}}]"
                    ),
                )]
            }
            With::OnFailure("continue") if step.destroys() => Vec::new(),
            With::OnFailure(then) => one("on_failure", then),
            With::Sensitive if is_kind => one("sensitive", "[text]"),
            With::Title => one("title", "A title"),
            With::Look(word) if is_kind => {
                self.say(&format!("{id} look"), &[word]);
                Vec::new()
            }
            With::Probe(words) => {
                // How often it is asked depends on the cuts.
                let words = match self.is_honest {
                    true => &words[..1],
                    false => words,
                };
                self.say(&format!("{id} probe"), words);
                Vec::new()
            }
            With::Undo(word) => {
                self.say(&format!("{id} undo"), &[word]);
                if !word.starts_with("fail") {
                    return Vec::new();
                }
                self.say(&format!("{id}_undo"), &[*word; 8]);
                Vec::new()
            }
            // A question that nobody answers stops the run, and a cut goes on with it.
            With::Says("silence") if self.is_honest => Vec::new(),
            With::Says(word) => {
                self.say(&format!("{id} ask"), &[*word; 12]);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

/// Where steps stand.
#[derive(Clone, Copy, Default)]
struct Place {
    aside: bool,
    /// Beside each other: none can name another one.
    beside: bool,
}

impl Made {
    fn is_kind(&self) -> bool {
        matches!(
            self.what,
            What::Read | What::Change | What::Command(_) | What::Again | What::Destroy
        )
    }

    fn is_structure(&self) -> bool {
        !self.inside().is_empty()
    }

    /// Returns whether only the playbook can say how it is undone.
    fn is_done_by_hand(&self) -> bool {
        self.is_structure() || matches!(self.what, What::Manual)
    }

    /// Returns whether later steps may name its results.
    fn is_named(&self) -> bool {
        matches!(self.what, What::Read | What::Change | What::Command(_))
    }

    fn is_told_by_its_look(&self) -> bool {
        let is_scripted = self.with.iter().any(|with| matches!(with, With::Look(_)));
        !is_scripted && !matches!(self.what, What::Command(_))
    }

    fn misses_what_it_expects(&self) -> bool {
        let misses = |with: &With| matches!(with, With::Expect("failure", _, false));
        self.with.iter().any(misses)
    }

    fn naming(&self) -> Option<&With> {
        self.with
            .iter()
            .find(|with| matches!(with, With::NamesEarlier(_)))
    }

    fn inside(&self) -> &[Made] {
        match &self.what {
            What::Group(steps)
            | What::Parallel(steps, _)
            | What::Foreach(steps, _)
            | What::Choose(steps, _)
            | What::Call(steps) => steps,
            _ => &[],
        }
    }

    fn destroys(&self) -> bool {
        matches!(self.what, What::Destroy) || self.inside().iter().any(Made::destroys)
    }

    fn reads(&self) -> bool {
        match &self.what {
            What::Read | What::Set | What::Finding | What::Checkpoint | What::Wait => true,
            What::Group(steps) => steps.iter().all(Made::reads),
            _ => false,
        }
    }

    fn can_be_asked_again(&self) -> bool {
        self.reads() && matches!(self.what, What::Read | What::Group(_))
    }
}
