//! From what a person says of a run to what comes of it: which question is meant, what is sent, who goes on with it.
//!
//! Whoever holds a run takes in what was sent. Where nobody does, the run's own user goes on with it: in a process of
//! its own that outlives this one, or in this one with `--follow`.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use clap::Args;
use runwright_core::{
    event::{Ask, Begun, Body, Event, Goal, Reply, StepKey},
    kind::Digest,
    machine::{Mode, State},
    plan::Plan,
    summary::{Open, Summary, open_questions},
    units::Time,
};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal, RunRecord},
    lock::Lock,
    run::{Fate, Wish, before, begun, events, fate, replay, told},
};

use crate::{
    Done, asker,
    error::CliError,
    exit,
    going_on::{self, How},
    library::Library,
    planning,
    question::{Shown, clean, how, word},
    session,
    settings::{self, Settings},
    terminal::{self, say},
};

/// How often it is looked whether something was taken in, or has happened.
const SOON: Duration = Duration::from_millis(50);

/// What goes with every answer
#[derive(Args)]
pub(crate) struct SayArgs {
    /// Why, in a line; asked for on a terminal
    #[arg(short = 'm', long, value_name = "TEXT")]
    reason: Option<String>,

    /// Stay with the run until it ends or waits again, and give its exit code
    #[arg(long)]
    pub(crate) follow: bool,
}

impl SayArgs {
    /// Returns the reason: as it was given, or as it is typed now.
    pub(crate) fn reason(&self) -> Result<String, CliError> {
        let needed = || {
            CliError::usage("send it without a reason").hint("say why with `--reason TEXT` (`-m`)")
        };
        match self.reason.as_deref().map(str::trim) {
            Some("") => return Err(needed()),
            Some(reason) => return Ok(reason.to_owned()),
            None if !settings::can_ask() => return Err(needed()),
            None => {}
        }
        loop {
            match terminal::line_now("Reason: ").as_deref() {
                Some("") => {}
                Some(reason) => return Ok(reason.to_owned()),
                None => return Err(not_said()),
            }
        }
    }
}

/// Returns the error of a person who broke off.
pub(crate) fn not_said() -> CliError {
    CliError::refused("nothing was sent, because nobody said it after all")
}

/// A run that has not ended, as whoever says something of it finds it.
pub(crate) struct Case {
    pub(crate) journal: Journal,
    pub(crate) record: RunRecord,
    pub(crate) begun: Begun,
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    happened: Vec<Event>,
}

impl Case {
    /// Finds the run that `run` names.
    pub(crate) fn of(settings: &Settings, run: &str) -> Result<Case, CliError> {
        let journal = settings.journal()?;
        let record = journal.run(run)?;
        let happened = events(&journal, &record.run)?;
        let begun = begun(&journal, &record.run)?;
        if record.row.ended_at.is_some() {
            return Err(has_ended_already(&record, &happened));
        }
        let folder = RunFolder::find(journal.home(), &record.run)
            .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
        let library = Library::new(settings);
        let plan = planning::pinned(&library, &folder, &begun, settings.colour())?;
        let mut state = before(&journal, &plan, &happened)?;
        for event in &happened {
            state.apply(&plan, event);
        }
        Ok(Case {
            journal,
            record,
            begun,
            plan,
            state,
            happened,
        })
    }

    /// Returns the question that is meant: the one at `step`, or the only one that such an answer fits.
    pub(crate) fn question(
        &self,
        step: Option<&str>,
        fits: impl Fn(&Ask) -> bool,
    ) -> Result<Open, CliError> {
        let run = &self.record.run;
        let open: Vec<Open> = open_questions(&self.state)
            .into_iter()
            .filter(|open| !matches!(open.question.ask, Ask::Until(_) | Ask::Interrupted))
            .collect();
        let list = || -> String {
            let lines = open.iter().map(|open| {
                let how = how(run, &open.step, &open.question.ask);
                let message = clean(&open.question.message).replace('\n', " ");
                format!("  - `{}`: {message}: {how}\n", open.step)
            });
            lines.collect()
        };
        if let Some(step) = step {
            let found = open.iter().find(|open| *open.step == *step);
            return match found {
                Some(found) if fits(&found.question.ask) => Ok(found.clone()),
                Some(found) => {
                    let how = how(run, step, &found.question.ask);
                    let error = CliError::usage(format!(
                        "answer `{step}` like that: it asks something else"
                    ));
                    Err(error.hint(how))
                }
                None => Err(self.not_asked(step).detail(list())),
            };
        }
        let mut fitting = open.iter().filter(|open| fits(&open.question.ask));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(CliError::usage(format!(
                "choose between the questions of the run `{run}`"
            ))
            .detail(list())
            .hint("name the step")),
            (None, _) => Err(self.nothing_asked().detail(list())),
        }
    }

    fn nothing_asked(&self) -> CliError {
        let run = &self.record.run;
        let error = CliError::refused(format!("the run `{run}` asks nothing like that now"));
        error.hint(format!(
            "`runwright show {run}` says how it stands, `runwright resume {run}` goes on with it"
        ))
    }

    /// Returns why the step asks nothing: who has answered it, that it is none of the run's.
    fn not_asked(&self, step: &str) -> CliError {
        let said = self
            .happened
            .iter()
            .rev()
            .find_map(|event| match &event.body {
                Body::Answered {
                    by, reply, reason, ..
                } if *event.step == *step => Some(format!(
                    "{by} had answered {} at {}{}",
                    word(reply),
                    event.at,
                    because(reason)
                )),
                _ => None,
            });
        let run = &self.record.run;
        let known = self
            .plan
            .nodes
            .iter()
            .any(|node| node.id == step || step.ends_with(&format!("/{}", node.id)));
        match said {
            Some(said) => CliError::refused(format!("`{step}` of the run `{run}`: {said}")),
            None if known => CliError::refused(format!(
                "the step `{step}` of the run `{run}` asks nothing now"
            )),
            None => CliError::usage(format!("find the step `{step}` in the run `{run}`")),
        }
    }

    /// Returns the question as it is shown, with its title.
    pub(crate) fn tell(&self, open: &Open) {
        let title = self.state.title_of(&self.plan, &open.step);
        let shown = Shown {
            step: &open.step,
            title: title.as_deref(),
            question: &open.question,
            approvals: &open.approvals,
            since: self.since(&open.step, &open.question.digest()),
        };
        let failed = match &open.question.ask {
            Ask::OnFailure(why) if *why != open.question.message => format!("{}\n", clean(why)),
            _ => String::new(),
        };
        say(&format!(
            "Run {} ({}), begun by {} at {}{}{failed}{}\n",
            self.record.run,
            self.begun.playbook,
            self.begun.user,
            Time::from_milliseconds(self.record.row.started_at),
            shown.text(),
            clean(&open.question.message),
        ));
    }

    /// Refuses where this person can't answer the question any more, or not alone.
    pub(crate) fn refuse_if_not_theirs(&self, open: &Open) -> Result<(), CliError> {
        let shown = Shown {
            step: &open.step,
            title: None,
            question: &open.question,
            approvals: &open.approvals,
            since: None,
        };
        match shown.not_for(&settings::user(), &self.begun.user) {
            Some(why) => Err(CliError::refused(why)),
            None => Ok(()),
        }
    }

    /// Returns since when a question is open.
    fn since(&self, step: &str, question: &Digest) -> Option<Time> {
        let mut asked = self.happened.iter().filter(|event| {
            *event.step == *step
                && matches!(&event.body, Body::Asked(asked) if asked.digest() == *question)
        });
        asked.next().map(|event| event.at)
    }

    /// Returns whether a process works on the run.
    pub(crate) fn is_held(&self) -> Result<bool, CliError> {
        is_held(&self.journal, &self.record.run)
    }
}

/// Returns whether a process holds `run`.
pub(crate) fn is_held(journal: &Journal, run: &str) -> Result<bool, CliError> {
    let holder = Lock::holder(&journal.home().lock(run)).map_err(|error| {
        CliError::new(format!("look who works on the run `{run}`")).because(&error)
    })?;
    Ok(holder.is_some())
}

fn has_ended_already(record: &RunRecord, happened: &[Event]) -> CliError {
    let said = happened.iter().rev().find_map(|event| match &event.body {
        Body::Answered { by, reply, .. } => Some(format!(
            "; {by} had answered `{}` with {} at {}",
            event.step,
            word(reply),
            event.at
        )),
        _ => None,
    });
    let error = CliError::refused(format!(
        "the run `{}` has ended: {}{}",
        record.run,
        record.row.state,
        said.unwrap_or_default()
    ));
    error.hint(format!("`runwright show {}` says what it did", record.run))
}

fn because(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(" ({})", clean(reason)),
    }
}

/// Asks for the yes to a question, or for its phrase; returns without where it was given.
pub(crate) fn agree(open: &Open, yes: bool, phrase: Option<&str>) -> Result<(), CliError> {
    let step = &open.step;
    match (&open.question.ask, phrase) {
        (Ask::Phrase(wanted), Some(given)) if given == wanted => Ok(()),
        (Ask::Phrase(_), Some(given)) => Err(CliError::refused(format!(
            "`{given}` is not the phrase that `{step}` asks for; nothing was sent"
        ))),
        (Ask::Phrase(wanted), None) if settings::can_ask() => {
            match terminal::line_now(&asker::phrase_prompt(wanted)) {
                Some(typed) if typed == *wanted => Ok(()),
                Some(_) => Err(CliError::refused(format!(
                    "that is not the phrase that `{step}` asks for; nothing was sent"
                ))),
                None => Err(not_said()),
            }
        }
        (Ask::Phrase(_), None) => Err(CliError::usage(format!(
            "approve `{step}`: it asks for a phrase, which nothing else stands for"
        ))
        .hint("give it with `--phrase TEXT`")),
        (_, Some(_)) => Err(CliError::usage(format!(
            "approve `{step}` with a phrase: it asks yes or no"
        ))),
        // To call the command is the yes.
        (_, None) if yes || !settings::can_ask() => Ok(()),
        (_, None) => match asker::confirm("Approve?") {
            Some(true) => Ok(()),
            _ => Err(not_said()),
        },
    }
}

/// Sends what was said and sees to it that somebody takes it in; returns the exit code.
///
/// `goal` is what this process does with the run itself where nobody works on it; none: a process of its own goes on.
pub(crate) fn deliver(
    settings: &Settings,
    case: &Case,
    wish: &Wish,
    goal: Option<Goal>,
    follow: bool,
) -> Done {
    let Case {
        journal, record, ..
    } = case;
    let run = &record.run;
    let at = settings::clock().now().milliseconds;
    let message = wish.send(journal, run, &settings::user(), at)?;
    loop {
        // In this order: what was taken in before the end is seen.
        let has_ended = journal.record(run)?.row.ended_at.is_some();
        let is_held = case.is_held()?;
        let came = fate(journal, run, message)?;
        if let (Fate::Taken(body), false) = (&came, follow) {
            return say_fate(case, wish, body);
        }
        match came {
            Fate::Taken(_) if !is_held => return end_of(settings, case, &[]),
            Fate::Waits if has_ended => {
                // It came too late even to be ignored: after an end no event follows.
                return Err(has_ended_already(
                    &journal.record(run)?,
                    &events(journal, run)?,
                ));
            }
            Fate::Taken(_) | Fate::Waits if is_held && follow => {
                let code = end_of(settings, case, &case.happened)?;
                if fate(journal, run, message)? != Fate::Waits {
                    return Ok(code);
                }
            }
            Fate::Taken(_) | Fate::Waits if is_held => thread::sleep(SOON),
            _ if !going_on::is_ours(&case.begun) => {
                say(&format!(
                    "sent; it is taken in when {} goes on with the run on {}: `runwright resume {run}`\n",
                    account_of(&case.begun),
                    case.begun.host
                ));
                return Ok(exit::OK);
            }
            _ if follow || goal.is_some() => {
                let how = How::plain(goal.unwrap_or(Goal::Work));
                match going_on::go_on(settings, journal, record, &how) {
                    // Somebody else was faster.
                    Err(_) if case.is_held()? => {}
                    done => return done,
                }
            }
            _ => go_on_detached(settings, case, message)?,
        }
    }
}

fn account_of(begun: &Begun) -> &str {
    match begun.account.as_str() {
        "" => &begun.user,
        account => account,
    }
}

/// Goes on with the run in a process of its own; returns once the message is taken in, or that process is gone.
fn go_on_detached(settings: &Settings, case: &Case, message: i64) -> Result<(), CliError> {
    let run = &case.record.run;
    let mut child = start_detached(settings, run)?;
    loop {
        if fate(&case.journal, run, message)? != Fate::Waits {
            return Ok(());
        }
        let ended = child.try_wait().map_err(|error| {
            CliError::new(format!("wait for the process that goes on with `{run}`")).because(&error)
        })?;
        let Some(status) = ended else {
            thread::sleep(SOON);
            continue;
        };
        if fate(&case.journal, run, message)? != Fate::Waits || case.is_held()? {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            drop(stderr.read_to_string(&mut said));
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let error = CliError::new(format!(
            "go on with the run `{run}`: the process for it ended with {how}"
        ));
        return Err(error.detail(said).hint(format!(
            "what you said is kept: `runwright resume {run}` takes it in"
        )));
    }
}

/// Starts a process that goes on with the run and belongs to no terminal.
///
/// Its standard error is read only as long as it may refuse to go on.
fn start_detached(settings: &Settings, run: &str) -> Result<Child, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(format!("start a process that goes on with `{run}`")).because(&error)
    };
    let program = std::env::current_exe().map_err(failed)?;
    Command::new(program)
        .args(settings.handed_on()?)
        .args(["--output", "plain", "resume", run, "--detached"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)
}

/// Says what came of it.
fn say_fate(case: &Case, wish: &Wish, body: &Body) -> Done {
    let run = &case.record.run;
    match (wish, body) {
        (Wish::Answer { reply: said, .. }, Body::Answered { reply, .. }) if said != reply => {
            let why = match reply {
                Reply::No { why } => why.clone(),
                other => word(other),
            };
            Err(CliError::refused(format!("it came to nothing: {why}")))
        }
        (_, Body::Ignored { why, .. }) => {
            Err(CliError::refused(format!("it came to nothing: {why}")))
        }
        (
            Wish::Answer {
                step,
                question,
                reply,
                ..
            },
            _,
        ) => {
            let mut text = format!("taken in: {}\n", word(reply));
            if let Some((still, people)) = still_open(case, step, question)? {
                text.push_str(&format!(
                    "{} of {} have agreed so far ({}); somebody else must: runwright approve {run} {step}\n",
                    people.len(),
                    still,
                    people.join(", ")
                ));
            }
            text.push_str(&format!(
                "`runwright show {run}` says how the run goes on\n"
            ));
            say(&text);
            Ok(exit::OK)
        }
        (Wish::Stop { .. }, _) => {
            say(&format!(
                "taken in: what runs is let to its end, nothing new starts\n`runwright show {run}` says what becomes of the run\n"
            ));
            Ok(exit::OK)
        }
    }
}

/// Returns how many must agree and who has, where the question is still open.
fn still_open(
    case: &Case,
    step: &str,
    question: &Digest,
) -> Result<Option<(u32, Vec<String>)>, CliError> {
    let (state, _) = replay(&case.journal, &case.plan, &case.record.run)?;
    let open: Vec<(StepKey, u32)> = state
        .questions()
        .into_iter()
        .filter(|(key, asked)| **key == *step && asked.digest() == *question)
        .map(|(key, asked)| (key, asked.approvers))
        .collect();
    Ok(open
        .first()
        .map(|(key, approvers)| (*approvers, state.approvals(key)))
        .filter(|(_, people)| !people.is_empty()))
}

/// Tells what happens to the run after `known`, as `run` would, until nobody works on it any more; returns its exit
/// code. Without `known` only its end is told.
fn end_of(settings: &Settings, case: &Case, known: &[Event]) -> Done {
    let Case {
        journal,
        record,
        plan,
        ..
    } = case;
    let run = &record.run;
    let reporter = session::reporter(settings, run);
    let mut reporter = reporter.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = before(journal, plan, &case.happened)?;
    let mut count = 0;
    loop {
        let is_held = is_held(journal, run)?;
        if journal.events_after(run, count).next().is_some() {
            let happened = events(journal, run)?;
            for (event, seq) in happened.iter().zip(1..).skip(count as usize) {
                state.apply(plan, event);
                if !known.is_empty() && seq > known.len() as u64 {
                    reporter.tell(&told(plan, &state, event, seq));
                }
            }
            count = happened.len() as u64;
        }
        if !is_held || state.mode() == Mode::Ended {
            break;
        }
        thread::sleep(SOON);
    }
    let summary = Summary::of(&state, &journal.record(run)?.head.to_string());
    reporter.end(&summary);
    Ok(summary.exit_code)
}
