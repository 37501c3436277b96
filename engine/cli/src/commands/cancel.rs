//! `runwright cancel`: ends a run, and undoes what it has changed as its playbook says.

use clap::Args;
use runwright_core::{
    event::{Goal, Stop},
    machine::Mode,
};
use runwright_local::run::Wish;

use crate::{
    Done,
    answering::{self, Case, SayArgs, not_said},
    asker,
    error::CliError,
    exit,
    going_on::{self, How},
    settings::{self, Settings},
};

/// End a run: what is at work comes to its end, then what was changed is undone as the playbook says
///
/// Works on a run that is at work, waits, has stopped or was interrupted. A run whose playbook keeps everything after
/// a failure, or which is past its point of no return, is not undone by a cancel alone: say what is meant with
/// `--roll-back` or `--keep-changes`.
#[derive(Args)]
#[command(after_help = "Examples:
    runwright cancel last -m 'wrong machine'
    runwright cancel k3x9 --keep-changes --yes -m 'done by hand meanwhile'")]
pub(crate) struct Cancel {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    /// Undo what was changed, whatever the playbook says
    #[arg(long, conflicts_with = "keep_changes")]
    roll_back: bool,

    /// Leave everything as it is: nothing is undone any more
    #[arg(long)]
    keep_changes: bool,

    /// Don't ask once more
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    say: SayArgs,
}

/// Cancels a run.
pub(crate) fn cancel(settings: &Settings, args: &Cancel) -> Done {
    let case = Case::of(settings, &args.run)?;
    let run = &case.record.run;
    let (then, goal, what) = match (args.roll_back, args.keep_changes) {
        (true, _) => (Stop::RollBack, Goal::RollBack, "undo what it has changed"),
        (_, true) => (Stop::GiveUp, Goal::GiveUp, "leave what it has changed"),
        _ => (Stop::Cancel, Goal::Cancel, "undo what it has changed"),
    };
    if case.state.mode() == Mode::RollingBack {
        let error = CliError::refused(format!("the run `{run}` is being rolled back already"));
        return Err(error.hint(format!("`runwright rollback {run}` goes on with that")));
    }
    if then == Stop::Cancel && !case.state.is_undone_by_cancel(&case.plan) {
        let why = CliError::refused(format!(
            "a cancel does not undo the run `{run}`: its playbook keeps everything, or it is past its point of no return"
        ));
        return Err(why.hint(
            "say what is meant: `--roll-back` undoes what can be, `--keep-changes` leaves it all",
        ));
    }
    let is_held = case.is_held()?;
    if !args.yes && settings::can_ask() {
        let changes = case.state.open_undos().len();
        let message = format!("Cancel the run {run} and {what} ({changes} changes)?");
        if asker::confirm(&message) != Some(true) {
            return Err(not_said());
        }
    } else if !args.yes && !is_held {
        return Err(CliError::usage(format!(
            "cancel the run `{run}`, which nobody works on, without a yes"
        ))
        .hint("add `--yes`"));
    }
    let reason = args.say.reason()?;
    if is_held || !going_on::is_ours(&case.begun) {
        let wish = Wish::Stop { then, reason };
        return answering::deliver(settings, &case, &wish, Some(goal), args.say.follow);
    }
    let how = How {
        reason: &reason,
        ..How::plain(goal)
    };
    let code = going_on::go_on(settings, &case.journal, &case.record, &how)?;
    let record = case.journal.record(run)?;
    Ok(match (args.say.follow, record.row.outcome.as_deref()) {
        (false, Some("cancelled" | "rolled_back" | "failed")) => exit::OK,
        _ => code,
    })
}
