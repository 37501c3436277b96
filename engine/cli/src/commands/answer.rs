//! `runwright answer`: says what became of an instruction, what to do after a failure, or which values are meant.

use camino::Utf8PathBuf;
use clap::Args;
use runwright_core::{
    event::{Ask, Reply},
    plan::Body,
    summary::Open,
};
use runwright_local::run::Wish;

use crate::{
    Done,
    answering::{self, Case, SayArgs},
    commands::approve::is_agreement,
    error::CliError,
    inputs,
    question::how,
    settings::Settings,
};

/// Answer a question of a run that is more than yes or no
///
/// An instruction is `done`, `failed` or left out with `skip`. After a failure the step is tried again with `retry`,
/// passed over with `skip`, everything is undone with `roll-back`, or the run stays where it is with `stop`. A step
/// that was at work when the engine died was `done`, or is to be done again with `redo`, or undone with `undo`.
/// Values are given with `--set` or `--inputs`.
#[derive(Args)]
#[command(after_help = "Examples:
    runwright answer last done -m 'the cable is plugged in'
    runwright answer k3x9 swap retry -m 'there is room on /var again'
    runwright answer last --set rows=1000 -m 'counted by hand'")]
pub(crate) struct Answer {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    /// The step that asks; may be left out where only one does
    step: Option<String>,

    /// `done`, `failed`, `skip`, `retry`, `roll-back`, `stop`, `redo` or `undo`
    word: Option<String>,

    /// Give a value that the step asks for
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Read the values that the step asks for from a YAML file
    #[arg(long, value_name = "FILE")]
    inputs: Option<Utf8PathBuf>,

    #[command(flatten)]
    say: SayArgs,
}

/// The words, each with whether it answers an instruction, a failure, a step in doubt.
const WORDS: [(&str, [bool; 3]); 8] = [
    ("done", [true, false, true]),
    ("failed", [true, false, false]),
    ("skip", [true, true, false]),
    ("retry", [false, true, false]),
    ("roll-back", [false, true, false]),
    ("stop", [false, true, false]),
    ("redo", [false, false, true]),
    ("undo", [false, false, true]),
];

/// Answers a question.
pub(crate) fn answer(settings: &Settings, args: &Answer) -> Done {
    let case = Case::of(settings, &args.run)?;
    let has_values = !args.set.is_empty() || args.inputs.is_some();
    let (step, word) = match (args.step.as_deref(), args.word.as_deref()) {
        (Some(word), None) if !has_values && is_word(word) => (None, Some(word)),
        given => given,
    };
    let open = case.question(step, |ask| !is_agreement(ask) && fits(ask, word))?;
    case.tell(&open);
    let (reply, reason) = match (&open.question.ask, word) {
        (Ask::Inputs(_), None) if has_values => {
            let values = values(&case, &open, args, settings)?;
            (values, args.say.reason()?)
        }
        (ask, Some(word)) => {
            reply(ask, word, "")?;
            let reason = args.say.reason()?;
            (reply(ask, word, &reason)?, reason)
        }
        (ask, None) => {
            let how = how(&case.record.run, &open.step, ask);
            return Err(
                CliError::usage(format!("answer `{}` without saying what", open.step)).hint(how),
            );
        }
    };
    let wish = Wish::Answer {
        step: open.step.to_string(),
        question: open.question.digest(),
        reply,
        reason,
    };
    answering::deliver(settings, &case, &wish, None, args.say.follow)
}

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|(word, _)| *word == text)
}

/// Returns whether a word may answer such a question; any where none is given.
fn fits(ask: &Ask, word: Option<&str>) -> bool {
    let Some(word) = word else { return true };
    let column = match ask {
        Ask::Manual => 0,
        Ask::OnFailure(_) => 1,
        Ask::InDoubt => 2,
        _ => return false,
    };
    // One that is no word at all is told what there is.
    !is_word(word)
        || WORDS
            .iter()
            .any(|(known, fits)| *known == word && fits[column])
}

fn reply(ask: &Ask, word: &str, remark: &str) -> Result<Reply, CliError> {
    let remark = remark.to_owned();
    Ok(match (ask, word) {
        (Ask::Manual | Ask::InDoubt, "done") => Reply::Done { remark },
        (Ask::Manual, "failed") => Reply::Failed { remark },
        (Ask::Manual | Ask::OnFailure(_), "skip") => Reply::Skip { remark },
        (Ask::OnFailure(_), "retry") | (Ask::InDoubt, "redo") => Reply::Retry,
        (Ask::OnFailure(_), "roll-back") | (Ask::InDoubt, "undo") => Reply::RollBack,
        (Ask::OnFailure(_), "stop") => Reply::Stop,
        _ => {
            let words = match ask {
                Ask::Manual => "`done`, `failed` and `skip`",
                Ask::OnFailure(_) => "`retry`, `skip`, `roll-back` and `stop`",
                _ => "`done`, `redo` and `undo`",
            };
            let error = CliError::usage(format!("answer with `{word}`"));
            return Err(error.hint(format!("the words are {words}")));
        }
    })
}

/// Returns the values that were given, checked against what the step asks for.
fn values(case: &Case, open: &Open, args: &Answer, settings: &Settings) -> Result<Reply, CliError> {
    let node = case.state.node_of(&open.step);
    let inputs = match node.map(|node| &case.plan.node(node).body) {
        Some(Body::Ask(inputs)) => inputs.as_slice(),
        _ => &[],
    };
    inputs::answer(inputs, &args.set, args.inputs.as_deref(), settings.colour()).map(Reply::Values)
}
