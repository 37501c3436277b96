//! `runwright resume`: goes on with a run that has stopped, waits, or whose process is gone.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use runwright_core::{
    event::{Ask, Begun, Continued, Goal, Reply},
    machine::{Mode, State},
    plan::Plan,
    summary::open_questions,
    units::Time,
};
use runwright_local::{
    journal::{Journal, RunFilter, RunRecord},
    run::{Manner, Run, Vault, begun, replay},
};

use crate::{
    Done,
    answering::Case,
    asker,
    error::CliError,
    exit,
    going_on::{How, folder, go_on, in_doubt, is_doubtful, pinned, refuse_foreign, tell_edits},
    left,
    library::Library,
    question::clean,
    secrets,
    session::{self, AnswerArgs, Attendance, WaitArgs},
    settings::{self, Settings},
    terminal::say,
};

/// Go on with a run that has stopped, waits or was interrupted
///
/// Steps that finished are not done again. A step that was at work when the engine died is settled first: by its
/// `unless`, by a look at its target, by doing it again when it only reads, and else by asking. Only the user that a
/// run belongs to goes on with it, on the same machine; others answer its questions with `approve`, `deny` and
/// `answer`.
#[derive(Args)]
#[command(after_help = "Examples:
    runwright resume last
    runwright resume k3x9 --in-doubt swap=redo
    runwright resume k3x9 --from swap")]
pub(crate) struct Resume {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    /// Say of a step in doubt that it was done, is to be done again, or that the run is to be undone
    #[arg(long, value_name = "STEP=done|redo|undo")]
    in_doubt: Vec<String>,

    /// Begin a new run at this step, which takes over what came before it; the first run ends with that
    #[arg(long, value_name = "STEP", conflicts_with = "in_doubt")]
    from: Option<String>,

    #[command(flatten)]
    answers: AnswerArgs,

    #[command(flatten)]
    wait: WaitArgs,

    /// Go on in the background, for who has answered
    #[arg(long, hide = true)]
    detached: bool,
}

/// Goes on with a run.
pub(crate) fn resume(settings: &Settings, args: &Resume) -> Done {
    if args.detached {
        // It outlives the terminal of whoever has answered. Only the leader of a session can't begin one.
        let _ = rustix::process::setsid();
    }
    if let Some(step) = &args.from {
        return go_on_from(settings, args, step);
    }
    let case = Case::of(settings, &args.run)?;
    let in_doubt = read_in_doubt(&args.in_doubt, &case.plan, &case.state)?;
    if let Some(until) = waits_until(&case.state, &args.answers) {
        say(&format!(
            "the run {} waits until {until}; there is nothing to do before\n",
            case.record.run
        ));
        return Ok(exit::WAITING);
    }
    let how = How {
        answers: args.answers.clone(),
        wait: args.wait.clone(),
        in_doubt,
        is_detached: args.detached,
        ..How::plain(Goal::Work)
    };
    go_on(settings, &case.journal, &case.record, &how)
}

/// Begins a run that goes on from a step of another one, which ends with that.
fn go_on_from(settings: &Settings, args: &Resume, step: &str) -> Done {
    let journal = settings.journal()?;
    let record = journal.run(&args.run)?;
    let run = &record.run;
    let first = begun(&journal, run)?;
    if let Some(later) = continued_by(&journal, &record)? {
        return Err(
            CliError::refused(format!("the run `{later}` has taken over the run `{run}`"))
                .hint(format!("go on with that one: `runwright resume {later}`")),
        );
    }
    if record.row.ended_at.is_some() {
        let why = format!("the run `{run}` has ended: {}", record.row.state);
        return Err(CliError::refused(why).hint(format!(
            "`runwright show {run} --inputs` gives its inputs for a new one"
        )));
    }
    refuse_foreign(run, &first)?;
    left::refuse_or_wait(&journal, &folder(&journal, run)?, run, &args.wait)?;
    let library = Library::new(settings);
    let plan = pinned(settings, &journal, &library, run, &first)?;
    let (state, _) = replay(&journal, &plan, run)?;
    // The new run begins in the folder, with the umask and the environment of the first.
    let begun = Begun {
        path: first.path.clone(),
        children: first.children.clone(),
        continues: Some(Continued {
            run: run.clone(),
            from: step.into(),
        }),
        ..session::begun(
            &plan,
            first.inputs.clone(),
            first.sources.clone(),
            &args.answers,
            first.fail_on,
        )
    };
    let taken = state.clone().take_over_from(&plan, step).map_err(|why| {
        CliError::usage(format!("go on with the run `{run}` from `{step}`: {why}"))
    })?;
    tell_edits(&library, &plan, &first);
    tell_taken_over(&journal, run, &state, &taken, step)?;
    if !args.answers.yes {
        if !settings::can_ask() {
            return Err(CliError::usage(format!(
                "go on with the run `{run}` from `{step}` without a yes"
            ))
            .hint("add `--yes`"));
        }
        if asker::confirm(&format!("Begin a new run at `{step}`?")) != Some(true) {
            return Err(CliError::refused(
                "nothing was begun, because nobody said yes",
            ));
        }
    }
    let vault = Arc::new(Vault::default());
    secrets::again(&plan, &first.sources, &vault)?;
    session::tell_open_answers(&plan, &args.answers, &begun.run)?;
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
    session::drive(Run::begin_from(&journal, plan, state, begun, around))
}

/// Says what a new run takes over, and what is still to be undone.
fn tell_taken_over(
    journal: &Journal,
    run: &str,
    state: &State,
    taken: &State,
    step: &str,
) -> Result<(), CliError> {
    let mut text = format!("A new run goes on with {run} from `{step}`; {run} ends with that.\n");
    let rows = journal.steps(run)?;
    let kept: Vec<&str> = rows
        .iter()
        .map(|row| row.step.as_str())
        .filter(|step| taken.adopts(step))
        .collect();
    text.push_str(&match kept.as_slice() {
        [] => "Nothing is taken over: everything is done again.\n".to_owned(),
        kept => format!("Not done again: {}\n", kept.join(", ")),
    });
    let open = state.open_undos();
    if !open.is_empty() {
        text.push_str("Still to be undone, should the new run fail, newest first:\n");
    }
    for (step, line, possible) in &open {
        let mark = if *possible { "undo" } else { "CAN'T BE UNDONE" };
        text.push_str(&format!("  {mark}: {step}: {}\n", clean(line)));
    }
    say(&text);
    Ok(())
}

/// Returns the run that has taken over this one.
fn continued_by(journal: &Journal, record: &RunRecord) -> Result<Option<String>, CliError> {
    let filter = RunFilter {
        playbook: Some(record.row.playbook.clone()),
        since: Some(record.row.started_at),
        ..RunFilter::default()
    };
    for later in journal.runs(&filter, usize::MAX)? {
        let begun = begun(journal, &later.run)?;
        if begun.continues.is_some_and(|first| first.run == record.run) {
            return Ok(Some(later.run));
        }
    }
    Ok(None)
}

/// Returns what was said of steps in doubt.
fn read_in_doubt(
    given: &[String],
    plan: &Plan,
    state: &State,
) -> Result<BTreeMap<String, Reply>, CliError> {
    let words = "write `--in-doubt STEP=done`, `STEP=redo` or `STEP=undo`";
    let mut said = BTreeMap::new();
    for text in given {
        let read = || format!("read `--in-doubt {text}`");
        let Some((step, word)) = text.rsplit_once('=') else {
            return Err(CliError::usage(format!("{}: it has no `=`", read())).hint(words));
        };
        let remark = String::new();
        let reply = match word {
            "done" => Reply::Done { remark },
            "redo" => Reply::Retry,
            "undo" => Reply::RollBack,
            _ => return Err(CliError::usage(format!("{}: `{word}`", read())).hint(words)),
        };
        let Some(node) = state.node_of(step) else {
            let doubt = in_doubt(plan, state);
            let near = runwright_core::diagnostic::suggest(step, doubt.iter().map(String::as_str));
            let error = CliError::usage(format!("{}: no step `{step}` has begun", read()));
            return Err(match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        };
        let stands = state.step_state(step);
        if plan.node(node).is_structure() || !is_doubtful(stands) {
            return Err(CliError::usage(format!(
                "{}: the step `{step}` is not in doubt, it is {}",
                read(),
                stands.word().replace('_', " ")
            )));
        }
        said.insert(step.to_owned(), reply);
    }
    Ok(said)
}

/// Returns until when a run waits where it waits for nothing but time, and longer than a process stays for.
fn waits_until(state: &State, answers: &AnswerArgs) -> Option<Time> {
    if state.mode() != Mode::Waiting || answers.attended() {
        return None;
    }
    let times: Option<Vec<Time>> = open_questions(state)
        .into_iter()
        .map(|open| match open.question.ask {
            Ask::Until(until) => Some(until),
            _ => None,
        })
        .collect();
    let until = times?.into_iter().min()?;
    let left = until.milliseconds - settings::clock().now().milliseconds;
    let stays = i64::try_from(Manner::default().stays.as_millis()).unwrap_or(i64::MAX);
    (left > stays).then_some(until)
}
