//! `runwright resume`: goes on with a run that has stopped, waits, or whose process is gone.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use runwright_core::{
    event::{Ask, Begun, Continued, Goal, Reply, StepState},
    kind::Digest,
    machine::{Mode, State},
    plan::Plan,
    summary::open_questions,
    units::Time,
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, RunFilter, RunRecord},
    run::{Manner, Run, RunError, Vault, replay},
};
use similar::TextDiff;

use crate::{
    Done,
    answering::Case,
    asker,
    error::CliError,
    exit, left,
    library::Library,
    planning,
    question::{clean, how},
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

/// How a run is gone on with.
pub(crate) struct How<'a> {
    pub(crate) goal: Goal,
    pub(crate) answers: AnswerArgs,
    pub(crate) wait: WaitArgs,
    pub(crate) in_doubt: BTreeMap<String, Reply>,
    /// Why, where it is more than going on.
    pub(crate) reason: &'a str,
    pub(crate) is_detached: bool,
}

impl How<'_> {
    /// Returns how a run is gone on with where nothing was said beforehand.
    pub(crate) fn plain(goal: Goal) -> How<'static> {
        How {
            goal,
            answers: AnswerArgs::default(),
            wait: WaitArgs::default(),
            in_doubt: BTreeMap::new(),
            reason: "",
            is_detached: false,
        }
    }
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

/// Takes up a run that has not ended: to finish its work, or to undo it.
pub(crate) fn go_on(
    settings: &Settings,
    journal: &Journal,
    record: &RunRecord,
    how: &How<'_>,
) -> Done {
    let run = &record.run;
    let begun = first_event(journal, run)?;
    refuse_foreign(run, &begun)?;
    left::refuse_or_wait(journal, &folder(journal, run)?, run, &how.wait)?;
    let library = Library::new(settings);
    let plan = pinned(settings, journal, &library, run, &begun)?;
    // Refuses events that this engine can't read before anything acts.
    let (state, _) = replay(journal, &plan, run)?;
    if !how.is_detached {
        tell_edits(&library, &plan, &begun);
        tell_standing(run, &plan, &state, how.goal);
    }
    let vault = Arc::new(Vault::default());
    secrets::again(&plan, &begun.sources, &vault)?;
    let attendance = Attendance {
        answers: &how.answers,
        in_doubt: how.in_doubt.clone(),
        wait: &how.wait,
        run,
        starter: &begun.user,
        umask: begun.children.umask,
        reason: how.reason,
    };
    let around = session::surroundings(settings, &library.kinds, vault, attendance)?;
    let user = settings::user();
    session::drive(async {
        let taken = Run::resume(journal, plan, run, &user, how.goal, around).await?;
        if how.is_detached {
            leave_stderr();
        }
        Ok::<_, RunError>(taken)
    })
}

/// Lets go of the standard error of whoever has started this process: from here on the journal says everything.
fn leave_stderr() {
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stderr(&nowhere);
    }
}

/// Begins a run that goes on from a step of another one, which ends with that.
fn go_on_from(settings: &Settings, args: &Resume, step: &str) -> Done {
    let journal = settings.journal()?;
    let record = journal.run(&args.run)?;
    let run = &record.run;
    let first = first_event(&journal, run)?;
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
        let begun = first_event(journal, &later.run)?;
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

fn is_doubtful(state: StepState) -> bool {
    matches!(state, StepState::Running | StepState::InDoubt)
}

/// Returns the steps of a run without a process that were at work when it was left.
fn in_doubt(plan: &Plan, state: &State) -> Vec<String> {
    state
        .began()
        .filter(|(step, stands)| {
            let node = state.node_of(step);
            is_doubtful(*stands) && node.is_some_and(|node| !plan.node(node).is_structure())
        })
        .map(|(step, _)| step.to_string())
        .collect()
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

/// Returns whether this process may go on with a run: it runs as the same user, on the same machine.
pub(crate) fn is_ours(begun: &Begun) -> bool {
    let is_account = match begun.account.as_str() {
        // Older runs have only who started them.
        "" => begun.user == settings::user(),
        account => account == settings::account(),
    };
    let machine = settings::machine();
    let is_machine = match begun.machine.is_empty() || machine.is_empty() {
        true => begun.host == settings::host(),
        false => begun.machine == machine,
    };
    is_account && is_machine
}

fn refuse_foreign(run: &str, begun: &Begun) -> Result<(), CliError> {
    if is_ours(begun) {
        return Ok(());
    }
    let account = match begun.account.as_str() {
        "" => &begun.user,
        account => account,
    };
    let belongs = format!("the run `{run}` belongs to {account} on {}", begun.host);
    Err(CliError::refused(belongs)
        .hint("only the user that a run belongs to goes on with it, on the same machine; others can answer its questions with `approve`, `deny`, `answer`"))
}

/// Returns how a run began.
pub(crate) fn first_event(journal: &Journal, run: &str) -> Result<Begun, CliError> {
    let events = runwright_local::run::events(journal, run)?;
    match events.into_iter().next().map(|event| event.body) {
        Some(runwright_core::event::Body::Begun(begun)) => Ok(*begun),
        _ => Err(CliError::new(format!("read how the run `{run}` began"))),
    }
}

fn pinned(
    settings: &Settings,
    journal: &Journal,
    library: &Library,
    run: &str,
    begun: &Begun,
) -> Result<Arc<Plan>, CliError> {
    planning::pinned(library, &folder(journal, run)?, begun, settings.colour())
}

fn folder(journal: &Journal, run: &str) -> Result<RunFolder, CliError> {
    RunFolder::find(journal.home(), run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{run}`")))
}

/// Shows where the playbooks were edited since the run began: the run goes on with the texts it began with.
fn tell_edits(library: &Library, plan: &Plan, begun: &Begun) {
    let now = planning::texts_now(library, &begun.path);
    let mut text = String::new();
    for scope in &plan.scopes {
        let Some((path, edited)) = now.get(&scope.name) else {
            continue;
        };
        if Digest::of(edited.as_bytes()) == scope.digest {
            continue;
        }
        let diff = TextDiff::from_lines(&*scope.text, edited.as_str());
        let diff = diff
            .unified_diff()
            .header("as the run began", path)
            .to_string();
        text.push_str(&format!(
            "note: `{path}` was edited since this run began; the run goes on with the text it began with\n{}",
            clean(&diff)
        ));
    }
    say(&text);
}

/// Says what was in doubt, and which questions were open.
fn tell_standing(run: &str, plan: &Plan, state: &State, goal: Goal) {
    let mut text = String::new();
    for step in in_doubt(plan, state) {
        text.push_str(&format!(
            "in doubt: `{step}` was at work when the engine ended\n"
        ));
    }
    let open = match goal {
        Goal::Work => open_questions(state),
        _ => Vec::new(),
    };
    for open in open {
        let message = clean(&open.question.message).replace('\n', " ");
        match &open.question.ask {
            Ask::InDoubt => {}
            Ask::Until(until) => text.push_str(&format!("waits: `{}` until {until}\n", open.step)),
            ask => text.push_str(&format!(
                "open: `{}` asks: {message}: {}\n",
                open.step,
                how(run, &open.step, ask)
            )),
        }
    }
    say(&text);
}
