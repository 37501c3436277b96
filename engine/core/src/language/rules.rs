//! The rules of the language that no schema can say.

use super::{names::Around, reader::Reader};
use crate::{
    diagnostic::Diagnostic,
    expression::{Expression, Template},
    kind::{Effect, Kind, UndoneBy},
    plan::{Body, Node as Step, OnFailure, Scope},
    yaml::Node,
};

/// The kinds of which only the playbook knows how strongly they act.
pub(super) const EFFECT_IS_SAID: [&str; 3] = ["command", "shell", "http.request"];

/// Checks the rules about one step.
pub(super) fn step(reader: &mut Reader<'_>, node: &Node, step: &Step, is_strange: bool) {
    undo(reader, node, step, is_strange);
    point_of_no_return(reader, node, step);
    if step.on_failure == Some(OnFailure::Continue)
        && step.effect == Effect::Destroy
        && let Some((key, _)) = node.entry("on_failure")
    {
        let message = "a step that destroys can't be passed over when it fails";
        reader.error_hint(key, message, "say `stop`, so that a person looks at it");
    }
}

/// Every step that changes something says how that is undone.
fn undo(reader: &mut Reader<'_>, node: &Node, step: &Step, is_strange: bool) {
    if let (Some((rollback, _)), Some((irreversible, _))) =
        (node.entry("rollback"), node.entry("irreversible"))
    {
        reader.problems.push(
            Diagnostic::error(
                "a step can't have `rollback` and `irreversible`",
                irreversible.span.clone(),
            )
            .label(rollback.span.clone(), "how it is undone"),
        );
    }
    if step.aside {
        if let Some((key, _)) = node
            .entry("rollback")
            .or_else(|| node.entry("irreversible"))
        {
            let message = format!(
                "a step in `rollback` or `always` is never undone itself, so it has no `{}`",
                key.written()
            );
            reader.error(key, message);
        }
        return;
    }
    if let Some((key, value)) = node.entry("rollback")
        && never_begins(&step.body)
        && value.as_list().is_some_and(|steps| !steps.is_empty())
    {
        let message = format!("the `rollback` of `{}` would never run", step.id);
        let hint =
            "only what changes something is undone: say it at the step or the group that does";
        reader.error_hint(key, message, hint);
    }
    let Some(work) = step.work() else { return };
    if step.effect == Effect::Read || step.rollback.is_some() || step.irreversible.is_some() {
        return;
    }
    let by_itself =
        work.kind.undone == UndoneBy::Itself && (work.kind.undoes)(&work.arguments.literal());
    let Some((key, arguments)) = node.entry(work.kind.name) else {
        return;
    };
    // What undoes itself with some arguments can't be judged by wrong ones, and an unknown key may be what is missing.
    let is_unsure = is_strange
        || work.kind.undone == UndoneBy::Itself && reader.is_wrong(&arguments.span, 0)
        || ["effect", "rollback", "irreversible"]
            .iter()
            .filter_map(|key| node.get(key))
            .any(|value| reader.is_wrong(&value.span, 0));
    if by_itself || is_unsure {
        return;
    }
    let mut hint = "add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`"
        .to_owned();
    if EFFECT_IS_SAID.contains(&work.kind.name) {
        hint += "; or `effect: read` where it only reads";
    }
    let message = format!(
        "step `{}` changes something, but nobody says how that is undone",
        step.id
    );
    reader.error_hint(key, message, hint);
}

/// Returns whether a step is only decided or answered: then there is nothing of it to undo.
fn never_begins(body: &Body) -> bool {
    matches!(
        body,
        Body::Ask(_) | Body::Wait(_) | Body::Set(_) | Body::Finding { .. } | Body::Checkpoint
    )
}

/// The step after which nothing can be undone any more is confirmed by a person.
fn point_of_no_return(reader: &mut Reader<'_>, node: &Node, step: &Step) {
    if !step.is_point_of_no_return() || step.aside {
        return;
    }
    let is_first = !std::mem::replace(&mut reader.passed_no_return, true);
    if let Some((key, _)) = node.entry("irreversible")
        && is_first
        && node.get("confirm").is_none()
    {
        reader.error_hint(
            key,
            format!(
                "`{}` is the point of no return, and no person is asked before it",
                step.id
            ),
            "add `confirm`, best with a `phrase` made of the target's name",
        );
    }
}

/// Checks the rules about the arguments of some kinds.
pub(super) fn arguments(reader: &mut Reader<'_>, kind: &Kind, value: &Node, around: &Around) {
    match kind.name {
        "shell" => {
            if let Some(script) = value.get("script") {
                inserted_into_script(reader, script);
            }
        }
        "command" => {
            let argv = value.get("argv");
            let items = argv.map(|argv| argv.as_list().unwrap_or(std::slice::from_ref(argv)));
            for item in items.unwrap_or_default() {
                let template = item.as_text().filter(|text| text.contains("{{"));
                let Some(Ok(template)) = template.map(Template::parse) else {
                    continue;
                };
                if reader.names_secret(template.references(), around) {
                    reader.error_hint(
                        item,
                        "a secret among the arguments of a command is shown by `ps` to everybody",
                        "give it by `env` or `stdin`",
                    );
                }
            }
        }
        _ => {}
    }
}

/// Reports every `{{ }}` in a script that names something of the playbook. Braces of others (`{{.Names}}`) are fine.
fn inserted_into_script(reader: &mut Reader<'_>, script: &Node) {
    let text = script.written();
    let mut at = 0;
    while let Some(start) = text[at..].find("{{").map(|found| at + found) {
        at = start + 2;
        let Some(end) = text[at..].find("}}").map(|found| at + found) else {
            return;
        };
        let Ok(expression) = Expression::parse(&text[at..end]) else {
            continue;
        };
        let mut references = expression.references().iter();
        if references.any(|reference| reader.names.is_known(&reference.name)) {
            let place = script.place(&reader.source.text, start..end + 2);
            reader.problems.push(
                Diagnostic::error(
                    "a script is no template: what is inserted could break out of it",
                    place,
                )
                .hint("give the value by `env: {NAME: \"{{ … }}\"}` and write `\"$NAME\"` in the script"),
            );
            at = end + 2;
        }
    }
}

/// Checks the rules about the playbook as a whole.
pub(super) fn whole(reader: &mut Reader<'_>, root: &Node, scope: &Scope) {
    let changes = reader
        .nodes
        .iter()
        .any(|node| node.effect > Effect::Read && !node.aside);
    if scope.on_failure == Some(OnFailure::Continue)
        && changes
        && let Some((_, value)) = root.entry("on_failure")
    {
        let message = "`on_failure: continue` is only for a playbook that only reads";
        reader.error_hint(value, message, "say it at the steps that may fail");
    }
    for (key, _) in root
        .get("requires")
        .and_then(Node::as_map)
        .unwrap_or_default()
    {
        if key.written().contains('/') || key.written().is_empty() {
            reader.error_hint(
                key,
                "this is no program's name",
                "write the name that is looked for in `PATH`",
            );
        }
    }
}
