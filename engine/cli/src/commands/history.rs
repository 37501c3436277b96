//! `runwright history`: the runs of this machine, newest first.

use clap::Args;
use runwright_core::units::{Span, Time};
use runwright_local::journal::{Journal, RunFilter, RunRecord};
use serde_json::json;

use crate::{
    Done,
    commands::check::say,
    error::CliError,
    exit,
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
    }
    if runs.is_empty() {
        eprintln!("no runs yet");
    }
    Ok(exit::OK)
}

/// Returns how a run stands: `interrupted` where it has no end and no process.
pub(crate) fn state_of(journal: &Journal, record: &RunRecord) -> Result<String, CliError> {
    Ok(match journal.interrupted(&record.run)? {
        true => "interrupted".to_owned(),
        false => record.row.state.clone(),
    })
}
