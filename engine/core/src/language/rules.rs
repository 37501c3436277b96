//! The rules of the language that no schema can say.

use super::reader::Reader;
use crate::{
    diagnostic::Diagnostic,
    kind::{Effect, Kind, UndoneBy},
    plan::{Node as Step, OnFailure, Scope},
    yaml::Node,
};

/// Checks the rules about one step.
pub(super) fn step(reader: &mut Reader<'_>, node: &Node, step: &Step) {
    undo(reader, node, step);
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
fn undo(reader: &mut Reader<'_>, node: &Node, step: &Step) {
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
    let Some(work) = step.work() else { return };
    if step.effect == Effect::Read || step.rollback.is_some() || step.irreversible.is_some() {
        return;
    }
    let by_itself =
        work.kind.undone == UndoneBy::Itself && (work.kind.undoes)(&work.arguments.literal());
    if by_itself || reader.is_wrong(&node.span) {
        return;
    }
    let Some((key, _)) = node.entry(work.kind.name) else {
        return;
    };
    reader.error_hint(
        key,
        format!("step `{}` changes something, but nobody says how that is undone", step.id),
        "add `rollback: [steps]`, `rollback: []` where there is nothing to undo, or `irreversible: why`; \
         or `effect: read` where it only reads",
    );
}

/// The step after which nothing can be undone any more is confirmed by a person.
fn point_of_no_return(reader: &mut Reader<'_>, node: &Node, step: &Step) {
    let first = !reader.nodes.iter().any(Step::is_point_of_no_return);
    if step.is_point_of_no_return() && first && !step.aside && step.confirm.is_none() {
        let Some((key, _)) = node.entry("irreversible") else {
            return;
        };
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
pub(super) fn arguments(reader: &mut Reader<'_>, kind: &Kind, value: &Node) {
    match kind.name {
        "shell" => {
            let Some(script) = value.get("script") else {
                return;
            };
            if script.written().contains("{{") {
                reader.error_hint(
                    script,
                    "a script is no template: what is inserted could break out of it",
                    "give the value by `env: {NAME: \"{{ … }}\"}` and write `\"$NAME\"` in the script",
                );
            }
        }
        "command" => {
            for item in value
                .get("argv")
                .and_then(Node::as_list)
                .unwrap_or_default()
            {
                let Some(text) = item.as_text().filter(|text| text.contains("{{")) else {
                    continue;
                };
                let Ok(template) = crate::expression::Template::parse(text) else {
                    continue;
                };
                if reader.names_secret(template.references()) {
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
