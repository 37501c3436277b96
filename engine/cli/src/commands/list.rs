//! `runwright list`: every playbook that can be named.

use std::collections::BTreeMap;

use clap::Args;
use runwright_core::{kind::Effect, language::Playbook};
use serde_json::json;

use crate::{
    Done,
    commands::check::say,
    exit,
    library::Library,
    settings::{OutputForm, Settings},
};

/// List playbooks: the given folders', the user's, the system's and the built-in ones
#[derive(Args)]
pub(crate) struct List {
    /// Only those with this word in name, title or tags
    word: Option<String>,
}

/// Lists playbooks.
pub(crate) fn list(settings: &Settings, args: &List) -> Done {
    let library = Library::new(settings);
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for found in library.all()? {
        let loaded = library.read(&found)?;
        match loaded.playbook {
            Some(playbook) if fits(&playbook, args.word.as_deref()) => rows.push((playbook, found)),
            Some(_) => {}
            None => broken.push(found),
        }
    }
    if settings.output() == OutputForm::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(playbook, found)| {
                json!({
                    "name": playbook.scope.name,
                    "version": playbook.scope.version,
                    "title": playbook.scope.title,
                    "tags": playbook.tags,
                    "owner": playbook.owner,
                    "effect": effect(playbook),
                    "path": found.path,
                    "stale": is_stale(playbook),
                })
            })
            .collect();
        say(&format!("{}\n", serde_json::Value::Array(rows)));
    } else {
        let width = rows
            .iter()
            .map(|(playbook, _)| playbook.scope.name.len())
            .max()
            .unwrap_or(0);
        for (playbook, _) in &rows {
            let stale = if is_stale(playbook) { " [stale]" } else { "" };
            let effect = match effect(playbook) {
                Effect::Read => "reads",
                Effect::Change => "changes",
                Effect::Destroy => "destroys",
            };
            let name = &playbook.scope.name;
            say(&format!(
                "{name:width$}  {:8}  {:8}  {}{stale}\n",
                playbook.scope.version, effect, playbook.scope.title
            ));
        }
        if rows.is_empty() {
            eprintln!("no playbook fits");
        }
    }
    library.tell_warnings();
    for found in broken {
        eprintln!(
            "warning: `{}` has mistakes; `runwright check {}` shows them",
            found.path, found.path
        );
    }
    Ok(exit::OK)
}

fn fits(playbook: &Playbook, word: Option<&str>) -> bool {
    let Some(word) = word.map(str::to_lowercase) else {
        return true;
    };
    let texts = [&playbook.scope.name, &playbook.scope.title];
    texts
        .into_iter()
        .chain(&playbook.tags)
        .any(|text| text.to_lowercase().contains(&word))
}

/// Returns the strongest effect of the playbook's own steps.
fn effect(playbook: &Playbook) -> Effect {
    playbook
        .nodes
        .iter()
        .map(|node| node.effect)
        .max()
        .unwrap_or(Effect::Read)
}

/// Returns whether nobody has read the playbook against the real system for too long.
fn is_stale(playbook: &Playbook) -> bool {
    let Some(reviewed) = playbook
        .reviewed
        .as_ref()
        .and_then(|day| day.parse::<jiff::civil::Date>().ok())
    else {
        return false;
    };
    let days = jiff::Zoned::now()
        .date()
        .since(reviewed)
        .map(|span| i64::from(span.get_days()))
        .unwrap_or(0);
    days.saturating_mul(86_400_000) > playbook.stale_after.milliseconds
}

/// The steps by how strongly they act.
pub(crate) fn counts(playbook: &Playbook) -> BTreeMap<Effect, usize> {
    let mut counts = BTreeMap::new();
    for node in playbook.nodes.iter().filter(|node| node.work().is_some()) {
        *counts.entry(node.effect).or_default() += 1;
    }
    counts
}
