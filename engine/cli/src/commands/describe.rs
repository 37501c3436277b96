//! `runwright describe`: a playbook as a runbook that a person reads.

use clap::Args;
use runwright_core::{
    kind::{Effect, UndoneBy},
    language::Playbook,
    plan::{Body, Input, InputType, Node, NodeId},
};

use crate::{
    Done,
    commands::{check::say, list::counts},
    exit,
    library::Library,
    planning,
    settings::Settings,
};

/// Show a playbook as a runbook: what it is for, its inputs, its steps, what can be undone
#[derive(Args)]
pub(crate) struct Describe {
    /// The playbook: a name or a path
    name: String,

    /// As Markdown
    #[arg(long)]
    markdown: bool,
}

/// Shows a playbook.
pub(crate) fn describe(settings: &Settings, args: &Describe) -> Done {
    let library = Library::new(settings);
    let loaded = library.find(&args.name)?;
    let playbook = planning::checked(&loaded, settings.colour())?;
    let mut text = String::new();
    head(&playbook, args.markdown, &mut text);
    inputs(&playbook, args.markdown, &mut text);
    heading("Steps", args.markdown, &mut text);
    steps(
        &playbook,
        &playbook.scope.steps,
        0,
        args.markdown,
        &mut text,
    );
    if !playbook.scope.always.is_empty() {
        heading("In the end, always", args.markdown, &mut text);
        steps(
            &playbook,
            &playbook.scope.always,
            0,
            args.markdown,
            &mut text,
        );
    }
    if !playbook.scope.outputs.is_empty() {
        heading("Gives back", args.markdown, &mut text);
        for (name, expression) in &playbook.scope.outputs {
            text.push_str(&format!(
                "- {name}: {}\n",
                code(expression.text(), args.markdown)
            ));
        }
    }
    say(&text);
    Ok(exit::OK)
}

fn head(playbook: &Playbook, markdown: bool, text: &mut String) {
    let scope = &playbook.scope;
    let mark = if markdown { "# " } else { "" };
    text.push_str(&format!(
        "{mark}{} {}: {}\n\n",
        scope.name, scope.version, scope.title
    ));
    if !scope.description.is_empty() {
        text.push_str(&format!("{}\n\n", scope.description.trim_end()));
    }
    let counts = counts(playbook);
    let count = |effect| counts.get(&effect).copied().unwrap_or(0);
    let mut facts = vec![format!(
        "{} steps read, {} change, {} destroy",
        count(Effect::Read),
        count(Effect::Change),
        count(Effect::Destroy)
    )];
    if let Some(node) = playbook
        .nodes
        .iter()
        .find(|node| node.is_point_of_no_return())
    {
        facts.push(format!(
            "point of no return: step {}",
            code(&node.id, markdown)
        ));
    }
    for requirement in &scope.requires {
        facts.push(format!(
            "needs {} {}",
            requirement.program, requirement.versions
        ));
    }
    facts.extend(
        playbook
            .owner
            .as_ref()
            .map(|owner| format!("owner: {owner}")),
    );
    facts.extend(
        playbook
            .origin
            .as_ref()
            .map(|origin| format!("source: {origin}")),
    );
    facts.extend(
        playbook
            .reviewed
            .as_ref()
            .map(|day| format!("reviewed: {day}")),
    );
    facts.push(format!("file: {}", scope.path));
    for fact in facts {
        text.push_str(&format!("- {fact}\n"));
    }
}

fn inputs(playbook: &Playbook, markdown: bool, text: &mut String) {
    if playbook.scope.inputs.is_empty() {
        return;
    }
    heading("Inputs", markdown, text);
    for input in &playbook.scope.inputs {
        let default = match &input.default {
            Some(value) => format!("default {}", code(&value.display(), markdown)),
            None => "required".to_owned(),
        };
        text.push_str(&format!(
            "- {} ({}, {default})",
            code(&input.name, markdown),
            type_of(input)
        ));
        if !input.help.is_empty() {
            text.push_str(&format!(": {}", input.help));
        }
        text.push('\n');
    }
}

fn type_of(input: &Input) -> String {
    match &input.of {
        InputType::String => "string".to_owned(),
        InputType::Integer => "integer".to_owned(),
        InputType::Number => "number".to_owned(),
        InputType::Boolean => "boolean".to_owned(),
        InputType::Path => "path".to_owned(),
        InputType::Duration => "duration".to_owned(),
        InputType::Bytes => "bytes".to_owned(),
        InputType::Timestamp => "timestamp".to_owned(),
        InputType::Choice(of) => format!("one of {}", of.join(", ")),
        InputType::List(of) => format!("list of {}", type_of(of)),
        InputType::Map(_) => "map".to_owned(),
        InputType::Secret => "secret".to_owned(),
    }
}

fn heading(words: &str, markdown: bool, text: &mut String) {
    match markdown {
        true => text.push_str(&format!("\n## {words}\n\n")),
        false => text.push_str(&format!("\n{words}:\n")),
    }
}

fn steps(playbook: &Playbook, ids: &[NodeId], depth: usize, markdown: bool, text: &mut String) {
    for (index, id) in ids.iter().enumerate() {
        let node = &playbook.nodes[id.0];
        let indent = "   ".repeat(depth);
        let title = node
            .title
            .as_ref()
            .map_or(node.id.as_str(), |title| title.text());
        text.push_str(&format!(
            "{indent}{}. {title} [{}]\n",
            index + 1,
            what(node)
        ));
        for line in notes(node, markdown) {
            text.push_str(&format!("{indent}   - {line}\n"));
        }
        match &node.body {
            Body::Group(inside) | Body::Parallel { nodes: inside, .. } => {
                steps(playbook, inside, depth + 1, markdown, text);
            }
            Body::Foreach { items, nodes, .. } => {
                text.push_str(&format!(
                    "{indent}   - for each of {}\n",
                    code(items.text(), markdown)
                ));
                steps(playbook, nodes, depth + 1, markdown, text);
            }
            Body::Choose(branches) => {
                for branch in branches {
                    let when = match &branch.when {
                        Some(when) => format!("when {}", code(when.text(), markdown)),
                        None => "otherwise".to_owned(),
                    };
                    text.push_str(&format!("{indent}   - {when}:\n"));
                    steps(playbook, &branch.nodes, depth + 2, markdown, text);
                }
            }
            _ => {}
        }
    }
}

fn what(node: &Node) -> String {
    let word = match &node.body {
        Body::Manual(_) => "by hand",
        body => body.word(),
    };
    let effect = match node.effect {
        Effect::Read => "reads",
        Effect::Change => "changes",
        Effect::Destroy => "destroys",
    };
    format!("{word}, {effect}")
}

fn notes(node: &Node, markdown: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(when) = &node.when {
        notes.push(format!("only when {}", code(when.text(), markdown)));
    }
    for guard in &node.guards {
        notes.push(format!(
            "refused unless {}",
            code(guard.that.text(), markdown)
        ));
    }
    if let Some(confirm) = &node.confirm {
        let message = confirm
            .message
            .as_ref()
            .map(|message| format!(": {}", message.text()))
            .unwrap_or_default();
        let phrase = confirm
            .phrase
            .as_ref()
            .map(|phrase| format!(" (typed: {})", phrase.text()))
            .unwrap_or_default();
        notes.push(format!("a person is asked first{message}{phrase}"));
    }
    if let Body::Manual(text) = &node.body {
        notes.push(text.text().to_owned());
    }
    for expect in &node.expect {
        notes.push(format!("expects {}", code(expect.that.text(), markdown)));
    }
    if let Some(until) = &node.until {
        notes.push(format!(
            "asks again until {}",
            code(until.that.text(), markdown)
        ));
    }
    if node.effect > Effect::Read && !node.aside {
        notes.extend(match (&node.irreversible, &node.rollback, node.work()) {
            (Some(why), _, _) => Some(format!("can't be undone: {why}")),
            (None, Some(steps), _) if steps.is_empty() => Some("nothing to undo".to_owned()),
            (None, Some(_), _) => Some("undone by steps of its own".to_owned()),
            (None, None, Some(work)) if work.kind.undone == UndoneBy::Itself => {
                Some("undone by itself".to_owned())
            }
            _ => None,
        });
    }
    notes
}

fn code(text: &str, markdown: bool) -> String {
    if markdown {
        format!("`{text}`")
    } else {
        text.to_owned()
    }
}
