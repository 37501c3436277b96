//! The end of a run for people: a verdict that is read in five seconds, then what matters, worst first.

use runwright_core::{
    diagnostic::Colour,
    event::Ask,
    summary::{Found, Open, Summary},
    units::Time,
    value::Value,
};

use crate::{
    book::Book,
    clean,
    paint::{Tone, paint},
    words::{self, Mark},
};

/// Returns the summary as lines, the last one with its line end.
pub(crate) fn text(summary: &Summary, book: &Book, colour: Colour) -> String {
    let mut text = Text {
        lines: String::new(),
        colour,
    };
    let open: Vec<(&Open, Option<Time>)> = summary
        .questions
        .iter()
        .map(|open| (open, book.open.get(&*open.step).map(|(_, since)| *since)))
        .collect();
    verdict(&mut text, summary);
    for found in &summary.findings {
        finding(&mut text, found);
    }
    outputs(&mut text, summary);
    dirty(&mut text, summary);
    undos(&mut text, summary);
    next(&mut text, summary, &open);
    let last = format!("run {}, exit code {}", summary.run, summary.exit_code);
    text.line(0, Tone::Quiet, &last);
    if !summary.head.is_empty() {
        // Whole: a part of it could be met by trying.
        text.line(0, Tone::Quiet, &format!("head {}", summary.head));
    }
    if let Some(key) = &summary.signed_by {
        text.line(0, Tone::Quiet, &format!("signed by {key}"));
    }
    text.lines
}

/// Lines that grow.
struct Text {
    lines: String,
    colour: Colour,
}

impl Text {
    fn line(&mut self, indent: usize, tone: Tone, text: &str) {
        self.raw(indent, &paint(self.colour, tone, &clean::line(text)));
    }

    /// Adds a line that is clean and painted already.
    fn raw(&mut self, indent: usize, text: &str) {
        self.lines.extend(std::iter::repeat_n(' ', indent));
        self.lines.push_str(text);
        self.lines.push('\n');
    }
}

fn verdict(text: &mut Text, summary: &Summary) {
    let (words, tone) = verdict_words(summary);
    let done = summary
        .steps
        .iter()
        .filter(|(state, _)| *state != "pending");
    let mut counts = vec![words::count(done.map(|(_, count)| count).sum(), "step")];
    let changed = summary.steps.get("changed").copied().unwrap_or_default();
    if changed > 0 {
        counts.push(format!("{changed} changed"));
    }
    counts.push(words::took(summary.took_ms));
    let head = paint(
        text.colour,
        tone,
        &clean::line(&format!("{}: {words}", summary.playbook)),
    );
    text.raw(0, &format!("{head} - {}", counts.join(", ")));
    for line in clean::lines(&summary.why).filter(|line| !line.is_empty()) {
        text.line(2, Tone::Plain, &line);
    }
}

fn verdict_words(summary: &Summary) -> (String, Tone) {
    let undoable = match summary.undoable {
        0 => String::new(),
        count => format!(", {} can be undone", words::count(count, "change")),
    };
    match summary.outcome.as_str() {
        "succeeded" => success_words(summary),
        "failed" => (format!("FAILED{undoable}"), Tone::Bad),
        "rolled_back" if summary.exit_code == 0 => {
            ("undone, nothing is left changed".to_owned(), Tone::Good)
        }
        "rolled_back" => ("FAILED, every change is undone".to_owned(), Tone::Bad),
        "rollback_incomplete" => {
            let things = words::count(summary.dirty.len(), "thing");
            (
                format!("ROLLBACK INCOMPLETE, {things} not undone"),
                Tone::Bad,
            )
        }
        "refused" => ("REFUSED, nothing was changed".to_owned(), Tone::Bad),
        "cancelled" => ("CANCELLED, nothing is changed".to_owned(), Tone::Warning),
        "stopped" => (format!("STOPPED where it was{undoable}"), Tone::Bad),
        "waiting" if !summary.questions.is_empty() => {
            let only_time = summary
                .questions
                .iter()
                .all(|open| matches!(open.question.ask, Ask::Until(_)));
            let what = if only_time {
                "for its time"
            } else {
                "for an answer"
            };
            (format!("WAITING {what}"), Tone::Warning)
        }
        other => (
            format!(
                "{} (it has not ended)",
                other.replace('_', " ").to_uppercase()
            ),
            Tone::Warning,
        ),
    }
}

fn success_words(summary: &Summary) -> (String, Tone) {
    let mut counts: Vec<String> = Vec::new();
    for severity in summary.findings.iter().map(|found| found.finding.severity) {
        let last = counts
            .last()
            .is_some_and(|count| count.ends_with(&severity.to_string()));
        if !last {
            let same = summary
                .findings
                .iter()
                .filter(|found| found.finding.severity == severity);
            counts.push(format!("{} {severity}", same.count()));
        }
    }
    match summary.findings.first() {
        None => ("succeeded".to_owned(), Tone::Good),
        Some(worst) => (
            counts.join(", "),
            Mark::of_finding(worst.finding.severity).tone,
        ),
    }
}

fn finding(text: &mut Text, Found { step, finding }: &Found) {
    let mark = Mark::of_finding(finding.severity);
    let word = paint(text.colour, mark.tone, &format!("{:<9}", mark.word));
    let step = match step.is_empty() {
        true => String::new(),
        false => paint(
            text.colour,
            Tone::Quiet,
            &clean::line(&format!("  ({step})")),
        ),
    };
    text.raw(2, &format!("{word} {}{step}", clean::line(&finding.title)));
    if let Some(advice) = &finding.advice {
        for line in clean::lines(&format!("-> {advice}")) {
            text.line(12, Tone::Plain, &line);
        }
    }
}

fn outputs(text: &mut Text, summary: &Summary) {
    if !summary.outputs.is_empty() {
        text.line(0, Tone::Plain, "outputs:");
    }
    for (name, value) in &summary.outputs {
        let value = match value {
            Value::Text(value) => value.to_string(),
            value => value.display(),
        };
        if value.trim_end().contains('\n') {
            text.line(2, Tone::Plain, &format!("{name}:"));
            clean::lines(&value).for_each(|line| text.line(4, Tone::Plain, &line));
        } else {
            text.line(2, Tone::Plain, &format!("{name}: {value}"));
        }
    }
}

fn dirty(text: &mut Text, summary: &Summary) {
    if !summary.dirty.is_empty() {
        text.line(0, Tone::Bad, "still changed:");
    }
    for thing in &summary.dirty {
        text.line(2, Tone::Plain, thing);
    }
}

/// Says until when each change can be undone, where that is not as long as the journal keeps the run.
fn undos(text: &mut Text, summary: &Summary) {
    let lapsing = summary
        .undos
        .iter()
        .filter_map(|undo| Some((undo, undo.until?)));
    for (place, (undo, until)) in lapsing.enumerate() {
        if place == 0 {
            text.line(0, Tone::Plain, "can be undone only for a while:");
        }
        let line = format!("{}: {}, until {until}", undo.step, undo.summary);
        text.line(2, Tone::Plain, &line);
    }
}

fn next(text: &mut Text, summary: &Summary, open: &[(&Open, Option<Time>)]) {
    let run = &summary.run;
    let mut next = Vec::new();
    for (open, since) in open {
        let Open {
            step,
            question,
            approvals,
        } = open;
        let step = words::quoted(step);
        let mut message = question.message.clone();
        if !approvals.is_empty() {
            let (count, needed) = (approvals.len(), question.approvers);
            message.push_str(&format!(" ({count} of {needed}: {})", approvals.join(", ")));
        }
        if let Some(since) = since {
            message.push_str(&format!(" (since {since})"));
        }
        if let Some(deadline) = question.deadline {
            message.push_str(&format!(" (no answer until {deadline} is a no)"));
        }
        let (command, what) = match &question.ask {
            Ask::Until(until) => (format!("resume {run}"), format!("from {until} on")),
            Ask::Confirm => (
                format!("approve {run} {step}"),
                format!("or `deny`: {message}"),
            ),
            Ask::Phrase(phrase) => (
                format!("approve {run} {step} --phrase {}", words::quoted(phrase)),
                format!("or `deny`: {message}"),
            ),
            Ask::InDoubt => (
                format!("answer {run} {step} done"),
                format!("or `redo`, `undo`: {message}"),
            ),
            Ask::Inputs(names) => {
                let given = names.iter().map(|name| format!(" --set {name}=VALUE"));
                let given: String = given.collect();
                (format!("answer {run} {step}{given}"), message)
            }
            Ask::Manual => (
                format!("answer {run} {step} done"),
                format!("or `failed`, `skip`: {message}"),
            ),
            Ask::OnFailure(_) => (
                format!("answer {run} {step} retry"),
                format!("or `skip`, `roll-back`, `stop`: {message}"),
            ),
            Ask::Interrupted => (format!("resume {run}"), message),
        };
        let command = format!("runwright {command}");
        next.push((command, what));
    }
    let resume = || {
        (
            format!("runwright resume {run}"),
            "go on from there".to_owned(),
        )
    };
    let undo = || {
        let changes = words::count(summary.undoable, "change");
        (
            format!("runwright rollback {run}"),
            format!("undo {changes}"),
        )
    };
    let show = || {
        (
            format!("runwright show {run}"),
            "see what happened".to_owned(),
        )
    };
    let undoable = summary.undoable > 0;
    match summary.outcome.as_str() {
        "succeeded" if summary.findings.is_empty() => {}
        "rolled_back" if summary.exit_code == 0 => {}
        "succeeded" => next.push(show()),
        "stopped" => {
            next.push(resume());
            next.extend(undoable.then(undo));
            next.push(show());
        }
        "waiting" if !open.is_empty() => {}
        "running" | "rolling_back" | "interrupted" => next.push(resume()),
        _ => {
            next.extend(undoable.then(undo));
            next.push(show());
        }
    }
    if next.is_empty() {
        return;
    }
    text.line(0, Tone::Plain, "next:");
    let widest = next
        .iter()
        .map(|(command, _)| command.chars().count())
        .max()
        .unwrap_or_default();
    for (command, what) in next {
        text.line(2, Tone::Plain, &format!("{command:<widest$}  {what}"));
    }
}

#[cfg(test)]
mod tests {
    use runwright_core::{
        event::{Finding, Question},
        plan::Severity,
        summary::OpenUndo,
        units::{Bytes, Span},
        value::Fields,
    };

    use super::*;
    use crate::testing::summary;

    fn found(severity: Severity, title: &str, advice: Option<&str>) -> Found {
        Found {
            step: "disk".into(),
            finding: Finding {
                severity,
                title: title.to_owned(),
                advice: advice.map(str::to_owned),
            },
        }
    }

    fn question(ask: Ask) -> Question {
        Question::new(ask, "Replace kv.db?")
    }

    #[test]
    fn findings_come_first_then_outputs() {
        let summary = Summary {
            exit_code: 11,
            findings: vec![
                found(Severity::Critical, "/ is 99% full", Some("delete old logs")),
                found(Severity::Critical, "no backup since 3d", None),
                found(Severity::Warning, "load 4.2", None),
            ],
            outputs: Fields::from([
                ("free".to_owned(), Value::Bytes(Bytes(5 << 20))),
                ("lines".to_owned(), Value::text("one\n\x1b[2Jtwo\n")),
                ("took".to_owned(), Value::Duration(Span::from_seconds(90))),
                ("word".to_owned(), Value::text("fine")),
            ]),
            took_ms: 400,
            ..summary()
        };
        assert_eq!(
            text(&summary, &Book::default(), Colour::Plain),
            r#"wal-recover: 2 critical, 1 warning - 3 steps, 2 changed, 0.4 s
  CRITICAL  / is 99% full  (disk)
            -> delete old logs
  CRITICAL  no backup since 3d  (disk)
  warning   load 4.2  (disk)
outputs:
  free: 5MiB
  lines:
    one
    two
  took: 1m 30s
  word: fine
next:
  runwright show k3x9m2p7q1zz  see what happened
run k3x9m2p7q1zz, exit code 11
head 1a2b3c4d5e6f708192a3b4c5d6e7f8
"#
        );
    }

    #[test]
    fn who_signed_and_until_when_a_change_can_be_undone_stand_at_the_end() {
        let until = "2026-11-27T11:06:40Z".parse().expect("a time");
        let undo = |step: &str, until| OpenUndo {
            step: step.into(),
            summary: "rename `x` back".to_owned(),
            until,
        };
        let summary = Summary {
            undoable: 2,
            undos: vec![undo("gone", Some(until)), undo("kept", None)],
            signed_by: Some("0123abcd".to_owned()),
            ..summary()
        };
        assert_eq!(
            text(&summary, &Book::default(), Colour::Plain),
            r#"wal-recover: succeeded - 3 steps, 2 changed, 14 s
can be undone only for a while:
  gone: rename `x` back, until 2026-11-27T11:06:40Z
run k3x9m2p7q1zz, exit code 0
head 1a2b3c4d5e6f708192a3b4c5d6e7f8
signed by 0123abcd
"#
        );
    }

    #[test]
    fn every_outcome_has_its_verdict_and_what_to_do_next() {
        let open = |step: &str, ask| Open {
            step: step.into(),
            question: question(ask),
            approvals: Vec::new(),
        };
        let two = Open {
            approvals: vec!["bob".to_owned()],
            ..open("each[a]/swap", Ask::Confirm)
        };
        let two = Open {
            question: Question {
                approvers: 2,
                deadline: Some("2026-11-21T12:00:00Z".parse().expect("a time")),
                ..two.question
            },
            ..two
        };
        let questions = vec![
            two,
            open("type", Ask::Phrase("kv.db".to_owned())),
            open("by_hand", Ask::Manual),
            open("doubt", Ask::InDoubt),
        ];
        let mut book = Book::default();
        let since = "2026-11-20T12:00:00Z".parse().expect("a time");
        let manual = (question(Ask::Manual), since);
        book.open.insert("by_hand".to_owned(), manual);
        let until = "2026-11-20T14:30:00+08:00".parse().expect("a time");
        let waits = vec![open("wait", Ask::Until(until))];
        let mut all = String::new();
        for (outcome, exit_code, undoable, questions) in [
            ("succeeded", 0, 2, &Vec::new()),
            ("failed", 1, 2, &Vec::new()),
            ("rolled_back", 1, 0, &Vec::new()),
            ("rolled_back", 0, 0, &Vec::new()),
            ("refused", 3, 0, &Vec::new()),
            ("cancelled", 130, 0, &Vec::new()),
            ("stopped", 1, 1, &Vec::new()),
            ("waiting", 4, 0, &questions),
            ("waiting", 4, 0, &waits),
            ("running", 6, 0, &Vec::new()),
            ("rolling_back", 6, 0, &Vec::new()),
        ] {
            let summary = Summary {
                outcome: outcome.to_owned(),
                exit_code,
                undoable,
                questions: questions.clone(),
                head: String::new(),
                ..summary()
            };
            all.push_str(&text(&summary, &book, Colour::Plain));
            all.push('\n');
        }
        assert_eq!(
            all,
            r#"wal-recover: succeeded - 3 steps, 2 changed, 14 s
run k3x9m2p7q1zz, exit code 0

wal-recover: FAILED, 2 changes can be undone - 3 steps, 2 changed, 14 s
next:
  runwright rollback k3x9m2p7q1zz  undo 2 changes
  runwright show k3x9m2p7q1zz      see what happened
run k3x9m2p7q1zz, exit code 1

wal-recover: FAILED, every change is undone - 3 steps, 2 changed, 14 s
next:
  runwright show k3x9m2p7q1zz  see what happened
run k3x9m2p7q1zz, exit code 1

wal-recover: undone, nothing is left changed - 3 steps, 2 changed, 14 s
run k3x9m2p7q1zz, exit code 0

wal-recover: REFUSED, nothing was changed - 3 steps, 2 changed, 14 s
next:
  runwright show k3x9m2p7q1zz  see what happened
run k3x9m2p7q1zz, exit code 3

wal-recover: CANCELLED, nothing is changed - 3 steps, 2 changed, 14 s
next:
  runwright show k3x9m2p7q1zz  see what happened
run k3x9m2p7q1zz, exit code 130

wal-recover: STOPPED where it was, 1 change can be undone - 3 steps, 2 changed, 14 s
next:
  runwright resume k3x9m2p7q1zz    go on from there
  runwright rollback k3x9m2p7q1zz  undo 1 change
  runwright show k3x9m2p7q1zz      see what happened
run k3x9m2p7q1zz, exit code 1

wal-recover: WAITING for an answer - 3 steps, 2 changed, 14 s
next:
  runwright approve k3x9m2p7q1zz 'each[a]/swap'       or `deny`: Replace kv.db? (1 of 2: bob) (no answer until 2026-11-21T12:00:00Z is a no)
  runwright approve k3x9m2p7q1zz type --phrase kv.db  or `deny`: Replace kv.db?
  runwright answer k3x9m2p7q1zz by_hand done          or `failed`, `skip`: Replace kv.db? (since 2026-11-20T12:00:00Z)
  runwright answer k3x9m2p7q1zz doubt done            or `redo`, `undo`: Replace kv.db?
run k3x9m2p7q1zz, exit code 4

wal-recover: WAITING for its time - 3 steps, 2 changed, 14 s
next:
  runwright resume k3x9m2p7q1zz  from 2026-11-20T14:30:00+08:00 on
run k3x9m2p7q1zz, exit code 4

wal-recover: RUNNING (it has not ended) - 3 steps, 2 changed, 14 s
next:
  runwright resume k3x9m2p7q1zz  go on from there
run k3x9m2p7q1zz, exit code 6

wal-recover: ROLLING BACK (it has not ended) - 3 steps, 2 changed, 14 s
next:
  runwright resume k3x9m2p7q1zz  go on from there
run k3x9m2p7q1zz, exit code 6

"#
        );
    }
}
