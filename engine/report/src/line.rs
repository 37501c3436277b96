//! What happened, as lines for people: the words that [`crate::Tty`] and [`crate::Plain`] share.

use runwright_core::{
    event::{
        Ask, Asserted, Assertion, Begun, Body, Finding, Finished, Goal, Locked, Outcome, Question,
        Reply, Settlement, StepState, Stop, UndoResult, Undone,
    },
    kind::{Failure, Stream, UndoLook},
    plan::OnFailure,
    port::Told,
    units::Time,
};

use crate::{
    book::Book,
    paint::Tone,
    words::{self, Mark},
};

/// One thing that happened.
#[derive(Debug)]
pub(crate) struct Line {
    pub mark: Mark,
    pub weight: Weight,
    /// What stands in place of the step's title.
    pub headline: Option<String>,
    /// What there is to say in short.
    pub note: String,
    /// What there is to say at length; each may hold line ends.
    pub below: Vec<(Tone, String)>,
}

/// How much a line weighs on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// What follows belongs to it.
    Heading,
    /// It stays.
    Lasting,
    /// A log wants it; on a screen it is seen otherwise, or soon outdated.
    Detail,
}

impl Line {
    fn new(mark: Mark, weight: Weight, note: impl Into<String>) -> Line {
        Line {
            mark,
            weight,
            headline: None,
            note: note.into(),
            below: Vec::new(),
        }
    }

    fn lasting(word: &'static str, tone: Tone, note: impl Into<String>) -> Line {
        Line::new(Mark::new(word, tone), Weight::Lasting, note)
    }

    fn heading(word: &'static str, note: impl Into<String>) -> Line {
        Line::new(Mark::new(word, Tone::Strong), Weight::Heading, note)
    }

    fn detail(word: &'static str, note: impl Into<String>) -> Line {
        Line::new(Mark::new(word, Tone::Quiet), Weight::Detail, note)
    }

    fn headed(mut self, headline: impl Into<String>) -> Line {
        self.headline = Some(headline.into());
        self
    }
}

/// Returns the lines for an event, in order; none for what people need not see.
pub(crate) fn lines(told: &Told<'_>, book: &mut Book) -> Vec<Line> {
    let step = &*told.event.step;
    let line = match &told.event.body {
        Body::Begun(begun) => begun_line(begun),
        Body::Required { missing } if missing.is_empty() => return Vec::new(),
        Body::Required { missing } => {
            let mut line =
                Line::lasting("REFUSED", Tone::Bad, "what the playbook needs is missing");
            line.below = missing
                .iter()
                .map(|one| (Tone::Plain, one.clone()))
                .collect();
            line
        }
        Body::Asserted(asserted) => match asserted_line(told, asserted) {
            Some(line) => line,
            None => return Vec::new(),
        },
        Body::Skipped { why } => {
            Line::new(Mark::of(StepState::Skipped), Weight::Lasting, why.clone())
        }
        Body::Entered { rounds, branch } => {
            let note = entered_note(told, rounds.as_deref(), *branch);
            Line::heading(told.kind.unwrap_or("group"), note)
        }
        Body::Looked { .. } | Body::Woke => return Vec::new(),
        Body::Asked(question) => asked_line(question),
        Body::Answered {
            by, reply, reason, ..
        } => {
            let said = reply_words(reply);
            // What a person remarks is often the reason itself.
            let reason = match said.ends_with(&format!(": {reason}")) {
                true => "",
                false => reason.as_str(),
            };
            let note = format!("{said}, by {by}{}", because(reason));
            Line::lasting("answer", Tone::Plain, note)
        }
        Body::Ignored { by, why, reason } => {
            let note = format!("what {by} sent{} came to nothing: {why}", because(reason));
            Line::lasting("ignored", Tone::Warning, note)
        }
        Body::Locked(locked) => return locked_lines(locked),
        Body::Adopted { state, .. } => {
            Line::new(Mark::of(*state), Weight::Detail, "in the run before")
        }
        Body::Waiting { until } => {
            let note = match until {
                Some(until) => format!("until {until}; no process works on it"),
                None => "for an answer; no process works on it".to_owned(),
            };
            Line::detail("waiting", note)
        }
        Body::Started {
            attempt, action, ..
        } => {
            let note = match attempt {
                0 | 1 => action.summary.clone(),
                _ => format!("attempt {attempt}: {}", action.summary),
            };
            Line::detail("start", note)
        }
        Body::Finished(finished) => return finished_lines(told, finished, book),
        Body::NotYet {
            attempt,
            found,
            held_since,
        } => {
            let since = held_since.map(|since| format!("; it holds since {since}"));
            let note = format!("try {attempt}: {found}{}", since.unwrap_or_default());
            Line::detail("not yet", note)
        }
        Body::Stopping { by, then, reason } => {
            let then = match then {
                Stop::Keep => "",
                Stop::RollBack => ", then everything is undone",
                Stop::Cancel => ", then the run is cancelled",
                Stop::GiveUp => ", then the run is given up",
            };
            let because = because(reason);
            let note =
                format!("{by}{because}: what runs is let to its end, nothing new starts{then}");
            Line::lasting("stopping", Tone::Warning, note)
        }
        Body::Stopped { why } => Line::lasting("STOPPED", Tone::Bad, why.clone()),
        Body::Resumed {
            by, goal, reason, ..
        } => {
            let goal = match goal {
                Goal::Work => "the work goes on",
                Goal::RollBack => "the undoing goes on",
                Goal::Cancel => "the run is cancelled",
                Goal::GiveUp => "the run is given up",
            };
            Line::heading("resume", format!("{goal}, by {by}{}", because(reason)))
        }
        Body::Settled { how } => {
            let how = match how {
                Settlement::Done(_) => "it was in doubt: it was done",
                Settlement::Redo => "it was in doubt: it is done again",
                Settlement::Undo => "it was in doubt: the run is rolled back",
            };
            Line::lasting("settled", Tone::Warning, how)
        }
        Body::RollingBack { why } => Line::heading("rollback", why.clone()),
        Body::Undoing { summary } => Line::lasting("undoing", Tone::Plain, summary.clone()),
        Body::Undone(undone) => undone_line(undone, book.last_lines(step)),
        Body::Always => Line::heading("always", "what runs last"),
        Body::Raised(finding) => finding_line(finding),
        Body::Ended(ended) => Line::detail("end", outcome_words(ended.outcome)),
        Body::Previewed(previewed) => {
            let line = begun_line(&previewed.begun);
            let probed = match previewed.probed.len() {
                _ if previewed.offline => "offline, nothing was looked at".to_owned(),
                count => format!("{count} looks at targets"),
            };
            let found = format!("{probed}; {}", previewed.found);
            return vec![line, Line::detail("preview", found)];
        }
    };
    vec![line]
}

fn begun_line(begun: &Begun) -> Line {
    let mut note = format!("run {}, by {} on {}", begun.run, begun.user, begun.host);
    if let Some(undoes) = &begun.undoes {
        note.push_str(&format!(", undoes run {undoes}"));
    }
    if let Some(reason) = &begun.unseen {
        note.push_str(&format!(", without a look at its plan: {reason}"));
    }
    let name = format!("{} {}", begun.playbook, begun.playbook_version);
    let headline = match begun.title.is_empty() {
        true => name,
        false => format!("{name}: {}", begun.title),
    };
    Line::heading("run", note).headed(headline)
}

/// Returns the line for what no later event tells: an `unless` that holds, a guard of the whole run that does not.
fn asserted_line(told: &Told<'_>, asserted: &Asserted) -> Option<Line> {
    match (asserted.which, asserted.holds) {
        (Assertion::Unless, Some(true)) if asserted.error.is_none() => {
            let mark = Mark::of(StepState::Already);
            Some(Line::new(mark, Weight::Lasting, asserted.why.clone()))
        }
        (Assertion::Guard(index), Some(false)) if told.event.step.is_empty() => {
            let note = format!("guard {} of the playbook does not hold", index + 1);
            let mut line = Line::lasting("REFUSED", Tone::Bad, note);
            if !asserted.why.is_empty() {
                line.below.push((Tone::Plain, asserted.why.clone()));
            }
            if let Some(failure) = &asserted.error {
                line.below.extend(failure_block(failure));
            }
            Some(line)
        }
        _ => None,
    }
}

fn entered_note(told: &Told<'_>, rounds: Option<&[String]>, branch: Option<usize>) -> String {
    match (rounds, branch) {
        (Some([]), _) => "no rounds: the list is empty".to_owned(),
        (Some(rounds), _) => words::count(rounds.len(), "round"),
        (None, Some(branch)) => format!("branch {}", branch + 1),
        (None, None) if told.kind == Some("choose") => "no condition holds".to_owned(),
        (None, None) => String::new(),
    }
}

/// Returns the lines for locks that were taken, or could not be.
fn locked_lines(locked: &Locked) -> Vec<Line> {
    let mut lines: Vec<Line> = locked
        .stolen
        .iter()
        .map(|stolen| Line::lasting("stolen", Tone::Warning, stolen.clone()))
        .collect();
    lines.push(match &locked.refused {
        Some(why) => Line::lasting("REFUSED", Tone::Bad, why.clone()),
        None => Line::detail("locked", locked.names.join(", ")),
    });
    lines
}

fn because(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(" ({reason})"),
    }
}

fn asked_line(question: &Question) -> Line {
    let message = &question.message;
    match &question.ask {
        Ask::Until(until) => Line::detail("wait", format!("until {until}")),
        Ask::Phrase(phrase) => Line::detail("ask", format!("{message} (type `{phrase}`)")),
        _ => Line::detail("ask", message.clone()),
    }
}

/// Returns an answer in words.
fn reply_words(reply: &Reply) -> String {
    let with = |word: &str, remark: &str| match remark.is_empty() {
        true => word.to_owned(),
        false => format!("{word}: {remark}"),
    };
    match reply {
        Reply::Yes => "yes".to_owned(),
        Reply::No { why } => with("no", why),
        Reply::Values(values) => {
            let values = values
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.display()));
            values.collect::<Vec<_>>().join(", ")
        }
        Reply::Done { remark } => with("done", remark),
        Reply::Failed { remark } => with("failed", remark),
        Reply::Skip { remark } => with("left out", remark),
        Reply::Retry => "try again".to_owned(),
        Reply::RollBack => "roll back".to_owned(),
        Reply::Stop => "stop here".to_owned(),
        Reply::GoOn => "go on".to_owned(),
    }
}

fn finished_lines(told: &Told<'_>, finished: &Finished, book: &mut Book) -> Vec<Line> {
    let step = &*told.event.step;
    let output = book.last_lines(step);
    if let (Some(again), Some(failure)) = (finished.again, &finished.failure) {
        return vec![retry_line(finished, failure, again, told.event.at)];
    }
    let mut lines = Vec::new();
    if !is_said_otherwise(told, finished) {
        let mark = Mark::of(finished.state);
        let mut line = Line::new(
            mark,
            Weight::Lasting,
            finished_note(finished, book.change(step)),
        );
        if let Some(failure) = &finished.failure {
            line.below.extend(failure_block(failure));
            line.below.extend(output_block(output));
            line.below.extend(consequence(finished.then));
        }
        line.below.extend(lost_output(finished));
        lines.push(line);
    }
    lines.extend(finished.findings.iter().map(finding_line));
    lines
}

/// Says of which output not everything was kept, and why.
fn lost_output(finished: &Finished) -> impl Iterator<Item = (Tone, String)> {
    finished.output.iter().filter_map(|output| {
        let why = output.lost.as_ref()?;
        let stream = match output.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let text = format!("not all of its {stream} could be kept for `runwright logs`: {why}");
        Some((Tone::Warning, text))
    })
}

fn retry_line(finished: &Finished, failure: &Failure, again: Time, at: Time) -> Line {
    let wait = words::took(again.milliseconds - at.milliseconds);
    let note = format!(
        "attempt {} failed, again in {wait}: {}",
        finished.attempt,
        failure.line()
    );
    Line::lasting("retry", Tone::Warning, note)
}

/// Returns whether the end of a step says nothing new: its heading or its finding has said it.
fn is_said_otherwise(told: &Told<'_>, finished: &Finished) -> bool {
    let well = matches!(finished.state, StepState::Ok | StepState::Changed);
    let structure = matches!(
        told.kind,
        Some("group" | "parallel" | "foreach" | "choose" | "call")
    );
    let finding = told.kind == Some("finding") && !finished.findings.is_empty();
    well && (structure || finding)
}

fn finished_note(finished: &Finished, change: Option<&str>) -> String {
    let mut parts = Vec::new();
    match &finished.failure {
        Some(failure) if finished.state != StepState::Refused => {
            parts.push(failure.class.to_string());
        }
        Some(_) => {}
        None => parts.extend(
            change
                .filter(|_| finished.state == StepState::Changed)
                .map(str::to_owned),
        ),
    }
    if finished.attempt > 1 {
        parts.push(format!("attempt {}", finished.attempt));
    }
    if finished.took.milliseconds >= 1_000 {
        parts.push(words::took(finished.took.milliseconds));
    }
    parts.join(", ")
}

fn failure_block(failure: &Failure) -> Vec<(Tone, String)> {
    let mut block = vec![(Tone::Plain, failure.message.clone())];
    block.extend(
        failure
            .causes
            .iter()
            .map(|cause| (Tone::Plain, format!("because: {cause}"))),
    );
    block.extend(
        failure
            .hint
            .iter()
            .map(|hint| (Tone::Strong, format!("hint: {hint}"))),
    );
    block
}

fn output_block(output: Vec<String>) -> Vec<(Tone, String)> {
    if output.is_empty() {
        return Vec::new();
    }
    let heading = match output.len() {
        1 => "the last line of its output:".to_owned(),
        lines => format!("the last {lines} lines of its output:"),
    };
    let lines = output
        .into_iter()
        .map(|line| (Tone::Quiet, format!("| {line}")));
    std::iter::once((Tone::Plain, heading))
        .chain(lines)
        .collect()
}

fn consequence(then: Option<OnFailure>) -> Option<(Tone, String)> {
    let text = match then? {
        OnFailure::Rollback => "what was changed is undone now",
        OnFailure::Stop => "everything is kept where it is",
        OnFailure::Ask => "a person is asked how to go on",
        OnFailure::Continue => "the run goes on all the same",
    };
    Some((Tone::Plain, text.to_owned()))
}

fn finding_line(finding: &Finding) -> Line {
    let mark = Mark::of_finding(finding.severity);
    let mut line = Line::new(mark, Weight::Lasting, "").headed(finding.title.clone());
    line.below.extend(
        finding
            .advice
            .iter()
            .map(|advice| (Tone::Plain, format!("-> {advice}"))),
    );
    line
}

fn undone_line(undone: &Undone, output: Vec<String>) -> Line {
    let nothing =
        |why: &str| Line::lasting("undone", Tone::Good, format!("{}: {why}", undone.summary));
    let mut line = match &undone.result {
        UndoResult::Undone => Line::lasting("undone", Tone::Change, undone.summary.clone()),
        UndoResult::Nothing => nothing("nothing was left to undo"),
        UndoResult::Left(UndoLook::Done | UndoLook::Needed) => nothing("it is as it was before"),
        _ => Line::lasting("DIRTY", Tone::Bad, undone.summary.clone()),
    };
    if let Some(remains) = undone.result.remains() {
        line.below.push((Tone::Plain, remains));
    }
    if let UndoResult::Failed(failure) = &undone.result {
        line.below.extend(
            failure_block(failure)
                .into_iter()
                .skip(1 + failure.causes.len()),
        );
        line.below.extend(output_block(output));
    }
    line
}

/// Returns an outcome in words.
pub(crate) fn outcome_words(outcome: Outcome) -> String {
    outcome.word().replace('_', " ")
}
