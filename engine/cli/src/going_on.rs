//! Going on with a run that has no process: what `resume`, `rollback`, `cancel` and answers have in common.

use std::{collections::BTreeMap, sync::Arc};

use runwright_core::{
    event::{Ask, Begun, Goal, Reply, StepState},
    kind::Digest,
    machine::State,
    plan::Plan,
    summary::open_questions,
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, RunRecord},
    run::{Run, RunError, Vault, begun, replay},
};
use similar::TextDiff;

use crate::{
    Done,
    error::CliError,
    left,
    library::Library,
    planning,
    question::{clean, how},
    secrets,
    session::{self, AnswerArgs, Attendance, WaitArgs},
    settings::{self, Settings},
    terminal::say,
};

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

/// Takes up a run that has not ended: to finish its work, or to undo it.
pub(crate) fn go_on(
    settings: &Settings,
    journal: &Journal,
    record: &RunRecord,
    how: &How<'_>,
) -> Done {
    let run = &record.run;
    let begun = begun(journal, run)?;
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

pub(crate) fn refuse_foreign(run: &str, begun: &Begun) -> Result<(), CliError> {
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

pub(crate) fn pinned(
    settings: &Settings,
    journal: &Journal,
    library: &Library,
    run: &str,
    begun: &Begun,
) -> Result<Arc<Plan>, CliError> {
    planning::pinned(library, &folder(journal, run)?, begun, settings.colour())
}

pub(crate) fn folder(journal: &Journal, run: &str) -> Result<RunFolder, CliError> {
    RunFolder::find(journal.home(), run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{run}`")))
}

/// Shows where the playbooks were edited since the run began: the run goes on with the texts it began with.
pub(crate) fn tell_edits(library: &Library, plan: &Plan, begun: &Begun) {
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

pub(crate) fn is_doubtful(state: StepState) -> bool {
    matches!(state, StepState::Running | StepState::InDoubt)
}

/// Returns the steps of a run without a process that were at work when it was left.
pub(crate) fn in_doubt(plan: &Plan, state: &State) -> Vec<String> {
    state
        .began()
        .filter(|(step, stands)| {
            let node = state.node_of(step);
            is_doubtful(*stands) && node.is_some_and(|node| !plan.node(node).is_structure())
        })
        .map(|(step, _)| step.to_string())
        .collect()
}
