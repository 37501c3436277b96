//! `runwright approve`: says yes to a question of a run.

use clap::Args;
use runwright_core::event::{Ask, Reply};
use runwright_local::run::Wish;

use crate::{
    Done,
    answering::{self, Case, SayArgs},
    settings::Settings,
};

/// Say yes to a question of a run, also to one that waits without a process
///
/// Shows first what is asked. On a terminal it asks for the yes, or for the phrase to be typed; without one the
/// command itself is the yes to a plain question, and a phrase is given with `--phrase`. Where nobody works on the
/// run, it goes on in the background; with `--follow` it goes on here.
#[derive(Args)]
#[command(after_help = "Examples:
    runwright approve last -m 'checked the backup'
    runwright approve k3x9 swap --phrase kv.db -m 'ticket 4711' --follow")]
pub(crate) struct Approve {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    /// The step that asks; may be left out where only one does
    step: Option<String>,

    /// The phrase that the step asks for
    #[arg(long, value_name = "TEXT")]
    phrase: Option<String>,

    /// Don't ask once more on a terminal; never stands for a phrase
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    say: SayArgs,
}

/// Says yes.
pub(crate) fn approve(settings: &Settings, args: &Approve) -> Done {
    let case = Case::of(settings, &args.run)?;
    let open = case.question(args.step.as_deref(), is_agreement)?;
    case.tell(&open);
    case.refuse_if_not_theirs(&open)?;
    answering::agree(&open, args.yes, args.phrase.as_deref())?;
    let wish = Wish::Answer {
        step: open.step.to_string(),
        question: open.question.digest(),
        reply: Reply::Yes,
        reason: args.say.reason()?,
    };
    answering::deliver(settings, &case, &wish, None, args.say.follow)
}

/// Returns whether a question asks for somebody's agreement.
pub(crate) fn is_agreement(ask: &Ask) -> bool {
    matches!(ask, Ask::Confirm | Ask::Phrase(_))
}
