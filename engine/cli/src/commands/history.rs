//! `runwright history`: the runs of this machine, newest first.

use clap::Args;
use runwright_core::{
    event::{Ask, Body},
    summary::{Open, open_questions},
    units::{Span, Time},
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, Records, RunFilter, RunRecord},
    run::{begun, events, replay},
};
use serde_json::{Value as Json, json};

use crate::{
    Done,
    commands::check::say,
    error::CliError,
    exit,
    library::Library,
    planning,
    question::{clean, how},
    settings::{OutputForm, Settings},
};

/// How many characters of what a preview found are listed.
const LONGEST: usize = 100;

/// List runs, newest first
#[derive(Args)]
pub(crate) struct History {
    /// Only runs of this playbook
    playbook: Option<String>,

    /// How many at the most
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,

    /// Who looked at which plans, instead of the runs
    #[arg(long)]
    plans: bool,
}

/// Lists runs.
pub(crate) fn history(settings: &Settings, args: &History) -> Done {
    let Some(journal) = settings.journal_to_read()? else {
        eprintln!("{}", nothing(args));
        return Ok(exit::OK);
    };
    let filter = RunFilter {
        playbook: args.playbook.clone(),
        records: match args.plans {
            true => Records::Previews,
            false => Records::Runs,
        },
        ..RunFilter::default()
    };
    let runs = journal.runs(&filter, args.limit)?;
    if settings.output() == OutputForm::Json {
        let mut rows = Vec::new();
        for record in &runs {
            if args.plans {
                rows.push(looked(&journal, record)?);
                continue;
            }
            let waits = waiting(&journal, settings, record)?;
            rows.push(json!({
                "run": record.run,
                "playbook": record.row.playbook,
                "version": record.row.version,
                "state": state_of(&journal, record)?,
                "exit_code": record.row.exit_code,
                "started_at": Time::from_milliseconds(record.row.started_at).to_string(),
                "ended_at": record.row.ended_at.map(|at| Time::from_milliseconds(at).to_string()),
                "user": record.row.user,
                "host": record.row.host,
                "waiting_since": waits.as_ref().map(|waits| waits.since.to_string()),
                "questions": waits.map(|waits| waits.json()),
                "head": record.head.to_string(),
            }));
        }
        say(&format!("{}\n", serde_json::Value::Array(rows)));
        return Ok(exit::OK);
    }
    for record in &runs {
        let row = &record.row;
        if args.plans {
            let seen = looked(&journal, record)?;
            let found = short(seen["found"].as_str().unwrap_or_default());
            say(&format!(
                "{}  {}  {:10}  {}: {found}\n",
                record.run,
                Time::from_milliseconds(row.started_at),
                row.user,
                row.playbook,
            ));
            continue;
        }
        let took = match row.ended_at {
            Some(ended) => Span::from_milliseconds(ended - row.started_at).to_string(),
            None => "-".to_owned(),
        };
        say(&format!(
            "{}  {}  {:20} {:8} {:10} {:>9}  {}\n",
            record.run,
            Time::from_milliseconds(row.started_at),
            state_of(&journal, record)?,
            row.exit_code
                .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            row.user,
            took,
            row.playbook,
        ));
        if let Some(waits) = waiting(&journal, settings, record)? {
            say(&waits.text(&record.run));
        }
    }
    if runs.is_empty() {
        eprintln!("{}", nothing(args));
    }
    Ok(exit::OK)
}

/// Returns the beginning of a text, in one line.
fn short(text: &str) -> String {
    let clean = |char: char| if char.is_control() { ' ' } else { char };
    let mut short: String = text.chars().take(LONGEST).map(clean).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

fn nothing(args: &History) -> &'static str {
    match args.plans {
        true => "nobody has looked at a plan yet",
        false => "no runs yet",
    }
}

/// Returns what a preview has left.
pub(crate) fn looked(journal: &Journal, record: &RunRecord) -> Result<Json, CliError> {
    let first = events(journal, &record.run)?.into_iter().next();
    let Some(Body::Previewed(previewed)) = first.map(|event| event.body) else {
        return Err(CliError::new(format!(
            "read what the preview `{}` has left",
            record.run
        )));
    };
    let row = &record.row;
    Ok(json!({
        "preview": record.run,
        "playbook": row.playbook,
        "version": row.version,
        "at": Time::from_milliseconds(row.started_at).to_string(),
        "user": row.user,
        "host": row.host,
        "offline": previewed.offline,
        "inputs": previewed.begun.inputs.iter()
            .map(|(name, value)| (name.clone(), value.to_plain()))
            .collect::<serde_json::Map<_, _>>(),
        "probed": previewed.probed,
        "found": previewed.found,
        "head": record.head.to_string(),
    }))
}

/// What a run waits for.
struct Waits {
    since: Time,
    open: Vec<Open>,
}

impl Waits {
    fn json(&self) -> Vec<serde_json::Value> {
        let open = self.open.iter().map(|open| {
            json!({
                "step": &*open.step,
                "message": open.question.message,
                "approvals": open.approvals,
                "deadline": open.question.deadline.map(|deadline| deadline.to_string()),
                "until": match open.question.ask {
                    Ask::Until(until) => Some(until.to_string()),
                    _ => None,
                },
            })
        });
        open.collect()
    }

    fn text(&self, run: &str) -> String {
        let lines = self.open.iter().map(|open| {
            let message = clean(&open.question.message).replace('\n', " ");
            let how = how(run, &open.step, &open.question.ask);
            let what = match open.question.ask {
                Ask::Until(until) => format!("until {until}"),
                _ => format!("for an answer to `{}`: {message}", open.step),
            };
            format!("    waits since {} {what}: {how}\n", self.since)
        });
        lines.collect()
    }
}

/// Returns what a run waits for, where it does.
fn waiting(
    journal: &Journal,
    settings: &Settings,
    record: &RunRecord,
) -> Result<Option<Waits>, CliError> {
    if record.row.state != "waiting" {
        return Ok(None);
    }
    let begun = begun(journal, &record.run)?;
    let Some(folder) = RunFolder::find(journal.home(), &record.run) else {
        return Ok(None);
    };
    let library = Library::new(settings);
    let plan = planning::pinned(&library, &folder, &begun, settings.colour())?;
    let (state, _) = replay(journal, &plan, &record.run)?;
    Ok(Some(Waits {
        since: state.now(),
        open: open_questions(&state),
    }))
}

/// Returns how a run stands: `interrupted` where it has no end and no process.
pub(crate) fn state_of(journal: &Journal, record: &RunRecord) -> Result<String, CliError> {
    Ok(match journal.interrupted(&record.run)? {
        true => "interrupted".to_owned(),
        false => record.row.state.clone(),
    })
}
