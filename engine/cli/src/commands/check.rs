//! `runwright check`: reads playbooks and reports every mistake.

use clap::Args;
use runwright_core::diagnostic::{Colour, line, render};

use crate::{
    Done,
    error::CliError,
    exit,
    library::{Library, Loaded},
    planning,
    settings::{OutputForm, Settings},
};

/// Check playbooks without running anything
///
/// Reports every mistake of each with its place. Exits with 2 when there is one.
#[derive(Args)]
pub(crate) struct Check {
    /// Playbooks: names or paths [default: all that `runwright list` shows]
    names: Vec<String>,

    /// One line for each problem: `file:line:col: error: message`
    #[arg(long)]
    short: bool,
}

/// Checks playbooks.
pub(crate) fn check(settings: &Settings, args: &Check) -> Done {
    let library = Library::new(settings);
    let names = match args.names.is_empty() {
        false => args.names.clone(),
        true => library
            .all()?
            .into_iter()
            .map(|found| found.name())
            .collect(),
    };
    let mut wrong = 0;
    let mut json = Vec::new();
    for name in &names {
        let loaded = library.find(name)?;
        let colour = settings.colour_of_results();
        let problems = &loaded.problems;
        match (settings.output() == OutputForm::Json, args.short) {
            (true, _) => json.extend(
                problems
                    .iter()
                    .map(|problem| problem.to_json(&loaded.source)),
            ),
            (false, true) => problems
                .iter()
                .for_each(|problem| say(&format!("{}\n", line(problem, &loaded.source)))),
            (false, false) => say(&render(problems, &loaded.source, colour)),
        }
        let fine = match loaded.playbook {
            Some(_) => linked(&library, name, &loaded, colour),
            None => false,
        };
        if !fine {
            wrong += 1;
        } else if settings.output() != OutputForm::Json {
            say(&format!("ok: {}\n", loaded.source.name));
        }
    }
    if settings.output() == OutputForm::Json {
        say(&format!("{}\n", serde_json::Value::Array(json)));
    }
    library.tell_warnings();
    match wrong {
        0 => Ok(exit::OK),
        1 => Err(CliError::usage("1 playbook is not right")),
        wrong => Err(CliError::usage(format!("{wrong} playbooks are not right"))),
    }
}

/// Returns whether everything that a playbook calls can be found and fits.
fn linked(library: &Library, name: &str, _loaded: &Loaded, colour: Colour) -> bool {
    match planning::plan(library, name, colour) {
        Ok(_) => true,
        Err(error) => {
            error.print(colour);
            false
        }
    }
}

/// Prints a result; a closed pipe ends it quietly.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        std::process::exit(i32::from(exit::OK));
    }
}
