//! `runwright show`: what a run did, told by the same code as while it ran.

use std::collections::BTreeMap;

use clap::Args;
use runwright_core::{
    event::{Begun, Body, Previewed},
    summary::Summary,
    units::Time,
    value::Value,
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, PREVIEWED, RunRecord},
    run::{before, begun, events, told},
    signature::PublicKey,
};

use serde_json::Value as Json;

use crate::{
    Done,
    commands::{
        check::say,
        history::{looked, state_of},
    },
    error::CliError,
    exit,
    library::Library,
    planning,
    session::reporter,
    settings::{OutputForm, Settings},
};

/// Show what a run did, step by step
#[derive(Args)]
pub(crate) struct Show {
    /// The run: its id, the beginning of it, or `last`
    #[arg(default_value = "last")]
    run: String,

    /// Only the inputs, as a YAML file that `run --inputs` takes: for doing the same again
    #[arg(long)]
    inputs: bool,
}

/// Shows a run.
pub(crate) fn show(settings: &Settings, args: &Show) -> Done {
    let Some(journal) = settings.journal_to_read()? else {
        return Err(CliError::new("find a run: there are none yet"));
    };
    let record = journal.run(&args.run)?;
    if let Some(previewed) = previewed(&journal, &record)? {
        say(&match (args.inputs, settings.output()) {
            (true, _) => inputs(&previewed.begun),
            (false, OutputForm::Json) => looked(&journal, &record)?.to_string() + "\n",
            (false, _) => account(&previewed, &record),
        });
        return Ok(exit::OK);
    }
    let begun = begun(&journal, &record.run)?;
    if args.inputs {
        say(&inputs(&begun));
        return Ok(exit::OK);
    }
    let folder = RunFolder::find(journal.home(), &record.run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
    let library = Library::new(settings);
    let plan = planning::pinned(&library, &folder, &begun, settings.colour())?;
    let reporter = reporter(&settings.replaying(), &record.run);
    let mut reporter = reporter
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let happened = events(&journal, &record.run)?;
    let mut state = before(&journal, &plan, &happened)?;
    for (event, seq) in happened.iter().zip(1..) {
        state.apply(&plan, event);
        reporter.tell(&told(&plan, &state, event, seq));
    }
    let mut summary = Summary::of(&state, &record.head.to_string());
    summary.signed_by = signed_by(&journal, &record)?;
    if record.row.ended_at.is_none() {
        summary.outcome = state_of(&journal, &record)?;
    }
    reporter.end(&summary);
    Ok(exit::OK)
}

/// Returns what a preview has left, where the record is no run.
fn previewed(journal: &Journal, record: &RunRecord) -> Result<Option<Box<Previewed>>, CliError> {
    if record.row.state != PREVIEWED {
        return Ok(None);
    }
    let first = events(journal, &record.run)?.into_iter().next();
    Ok(match first.map(|event| event.body) {
        Some(Body::Previewed(previewed)) => Some(previewed),
        _ => None,
    })
}

/// Returns who looked at what, and what came of it.
fn account(previewed: &Previewed, record: &RunRecord) -> String {
    let begun = &previewed.begun;
    let mut text = format!(
        "{} {}: {} looked at its plan on {} at {}\n",
        begun.playbook,
        begun.playbook_version,
        begun.user,
        begun.host,
        Time::from_milliseconds(record.row.started_at)
    );
    for (name, value) in &begun.inputs {
        let source = begun.sources.get(name).map_or("default", String::as_str);
        text.push_str(&format!(
            "  input   {name} = {}  ({source})\n",
            value.display()
        ));
    }
    if previewed.offline {
        text.push_str("  offline: nothing was looked at\n");
    }
    for probed in &previewed.probed {
        let place = match probed.step.is_empty() {
            true => String::new(),
            false => format!(" for `{}`", probed.step),
        };
        let targets = probed.targets.join(", ");
        text.push_str(&format!("  probed  {}{place}: {targets}\n", probed.kind));
    }
    text.push_str(&format!("  found   {}\n", previewed.found));
    text.push_str(&format!("  head    {}\n", record.head));
    // What is told comes from the outside as well: no control character reaches the terminal.
    text.chars()
        .filter(|char| !char.is_control() || *char == '\n')
        .collect()
}

/// Returns the fingerprint of the key that a run's head is signed by, if it is: by a signature that holds.
fn signed_by(journal: &Journal, record: &RunRecord) -> Result<Option<String>, CliError> {
    let signatures = journal.signatures(Some(&record.run))?;
    Ok(signatures.iter().rev().find_map(|signature| {
        let key = PublicKey::of(&signature.key)?;
        let holds = signature.hash == record.head.0
            && key.vouches(
                &record.run,
                signature.seq,
                &record.head,
                &signature.signature,
            );
        holds.then(|| key.fingerprint())
    }))
}

/// Returns the inputs of a run as YAML; a secret as the place that it came from, if it came from one.
fn inputs(begun: &Begun) -> String {
    let values: BTreeMap<&str, Json> = begun
        .inputs
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Secret(_) => {
                let source = begun
                    .sources
                    .get(name)
                    .filter(|source| source.contains(':'))?;
                Some((name.as_str(), Json::from(source.as_str())))
            }
            value => Some((name.as_str(), written(value))),
        })
        .collect();
    serde_yaml::to_string(&values).expect("inputs have only text keys and finite numbers")
}

/// Returns a value as a playbook writes it.
fn written(value: &Value) -> Json {
    match value {
        // To the byte: `1.5GiB` would not be read back as the same.
        Value::Bytes(bytes) => Json::from(format!("{}B", bytes.0)),
        Value::Duration(span) => Json::from(span.to_string()),
        Value::List(items) => items.iter().map(written).collect(),
        Value::Map(fields) => Json::Object(
            fields
                .iter()
                .map(|(name, field)| (name.clone(), written(field)))
                .collect(),
        ),
        other => other.to_plain(),
    }
}
