//! `runwright deny`: says no to a question of a run.

use clap::Args;
use runwright_core::event::Reply;
use runwright_local::run::Wish;

use crate::{
    Done,
    answering::{self, Case, SayArgs},
    commands::approve::is_agreement,
    settings::Settings,
};

/// Say no to a question of a run: the step is refused, and the run ends as its playbook says
///
/// One no is enough, however many people must agree.
#[derive(Args)]
#[command(after_help = "Example:
    runwright deny last -m 'not during the sale'")]
pub(crate) struct Deny {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    /// The step that asks; may be left out where only one does
    step: Option<String>,

    #[command(flatten)]
    say: SayArgs,
}

/// Says no.
pub(crate) fn deny(settings: &Settings, args: &Deny) -> Done {
    let case = Case::of(settings, &args.run)?;
    let open = case.question(args.step.as_deref(), is_agreement)?;
    case.tell(&open);
    let reason = args.say.reason()?;
    let wish = Wish::Answer {
        step: open.step.to_string(),
        question: open.question.digest(),
        reply: Reply::No {
            why: reason.clone(),
        },
        reason,
    };
    answering::deliver(settings, &case, &wish, None, args.say.follow)
}
