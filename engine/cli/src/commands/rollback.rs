//! `runwright rollback`: undoes what a run has changed.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use runwright_core::{
    event::{Goal, Outcome},
    machine::State,
};
use runwright_local::{
    folder::RunFolder,
    run::{Run, Vault, begun, replay},
};

use crate::{
    Done, asker,
    error::CliError,
    exit,
    going_on::{How, go_on},
    library::Library,
    planning, secrets,
    session::{self, AnswerArgs, Attendance, WaitArgs},
    settings::{self, Settings},
};

/// Undo what a run has changed, newest first
///
/// Each undo looks first whether what it undoes is still as the run left it; what somebody has changed since is left
/// alone and named. A run that has ended is undone by a run of its own that names it.
#[derive(Args)]
pub(crate) struct Rollback {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    #[command(flatten)]
    answers: AnswerArgs,

    #[command(flatten)]
    wait: WaitArgs,
}

/// Undoes a run.
pub(crate) fn rollback(settings: &Settings, args: &Rollback) -> Done {
    let journal = settings.journal()?;
    let record = journal.run(&args.run)?;
    let colour = settings.colour();
    let library = Library::new(settings);
    let folder = RunFolder::find(journal.home(), &record.run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
    let first = begun(&journal, &record.run)?;
    let plan = planning::pinned(&library, &folder, &first, colour)?;
    let (mut state, _) = replay(&journal, &plan, &record.run)?;
    let open = state.open_undos();
    if open.is_empty() && record.row.ended_at.is_some() {
        eprintln!(
            "nothing to undo: the run `{}` has left no change behind",
            record.run
        );
        return Ok(exit::OK);
    }
    if !open.is_empty() {
        eprintln!(
            "The run {} ({}) has left these changes, newest first:",
            record.run, first.playbook
        );
        for (step, line, possible) in &open {
            let mark = if *possible { "undo" } else { "CAN'T BE UNDONE" };
            eprintln!("  {mark}: {step}: {line}");
        }
    }
    if !args.answers.yes {
        if !settings::can_ask() {
            return Err(
                CliError::refused("nobody said yes, and there is no terminal to ask on")
                    .hint("add `--yes`"),
            );
        }
        if asker::confirm(&format!("Undo {} changes?", open.len())) != Some(true) {
            return Err(CliError::refused(
                "nothing was undone, because nobody said yes",
            ));
        }
    }
    if record.row.ended_at.is_none() {
        let how = How {
            answers: args.answers.clone(),
            wait: args.wait.clone(),
            ..How::plain(Goal::RollBack)
        };
        let code = go_on(settings, &journal, &record, &how)?;
        (state, _) = replay(&journal, &plan, &record.run)?;
        if !has_ended_with_its_changes(&state) {
            return Ok(code);
        }
    }
    let vault = Arc::new(Vault::default());
    secrets::again(&plan, &first.sources, &vault)?;
    let mut begun = session::begun(
        &plan,
        first.inputs.clone(),
        first.sources.clone(),
        &args.answers,
        first.fail_on,
    );
    begun.undoes = Some(record.run.clone());
    begun.children = first.children.clone();
    begun.path = first.path.clone();
    let attendance = Attendance {
        answers: &args.answers,
        in_doubt: BTreeMap::new(),
        wait: &args.wait,
        run: &begun.run,
        starter: &begun.user,
        umask: begun.children.umask,
        reason: "",
    };
    let around = session::surroundings(settings, &library.kinds, vault, attendance)?;
    session::drive(Run::begin_undoing(&journal, plan, state, begun, around))
}

/// Returns whether a run whose outcome was decided before its process died has now ended with that, and left its changes:
/// undoing them is a run of its own.
fn has_ended_with_its_changes(state: &State) -> bool {
    let outcome = state.ended().map(|ended| ended.outcome);
    matches!(outcome, Some(Outcome::Succeeded | Outcome::Failed)) && !state.open_undos().is_empty()
}
