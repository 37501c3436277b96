//! `runwright history`: the runs of this machine, newest first.

use clap::Args;
use runwright_core::{
    event::Ask,
    summary::{Open, open_questions},
    units::{Span, Time},
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, RunFilter, RunRecord},
    run::{begun, replay},
};
use serde_json::json;

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

/// List runs, newest first
#[derive(Args)]
pub(crate) struct History {
    /// Only runs of this playbook
    playbook: Option<String>,

    /// How many at the most
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
}

/// Lists runs.
pub(crate) fn history(settings: &Settings, args: &History) -> Done {
    let Some(journal) = settings.journal_to_read()? else {
        eprintln!("no runs yet");
        return Ok(exit::OK);
    };
    let filter = RunFilter {
        playbook: args.playbook.clone(),
        ..RunFilter::default()
    };
    let runs = journal.runs(&filter, args.limit)?;
    if settings.output() == OutputForm::Json {
        let mut rows = Vec::new();
        for record in &runs {
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
        eprintln!("no runs yet");
    }
    Ok(exit::OK)
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
