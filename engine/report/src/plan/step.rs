//! One step of a plan.

use runwright_core::{
    kind::Effect,
    plan::Severity,
    preview::{Decision, Detail, Fidelity, Planned, Undo},
};

use super::{
    head::{asks, condition},
    page::{Page, Tone},
};

/// How many lines of a diff, or of any other text, are shown.
const LINES: usize = 40;
/// How deep steps are indented: deeper ones would leave no room for their text.
pub(super) const DEEPEST: usize = 16;

/// Writes one step; `before` is the one before it.
pub(super) fn step(page: &mut Page, planned: &Planned, before: Option<&Planned>) {
    let indent = 2 + planned.depth.min(DEEPEST) * 2;
    if let Some(round) = begun_round(planned, before) {
        page.line(indent.saturating_sub(1), Tone::Quiet, &round);
    }
    let (mark, tone) = mark(planned);
    let title = match &planned.title {
        Some(title) => format!("{mark} {title} ({})", planned.id),
        None => format!("{mark} {}", planned.id),
    };
    page.row(indent, (Tone::Plain, &title), (tone, &status(planned)));
    let indent = indent + 4;
    if matches!(
        planned.decision,
        Decision::Skipped | Decision::Already | Decision::NotReached
    ) {
        if let Some(why) = &planned.why {
            page.labelled(indent, "because", Tone::Quiet, why);
        }
        return;
    }
    verdict(page, indent, planned);
    action(page, indent, planned);
    conditions(page, indent, planned);
    patience(page, indent, planned);
    undo(page, indent, planned);
    told(page, indent, planned);
}

/// Returns the line that begins a round of a loop.
fn begun_round(planned: &Planned, before: Option<&Planned>) -> Option<String> {
    let round = planned.round.as_deref()?;
    let place = |planned: &Planned| Some(planned.step[..planned.step.rfind("]/")?].to_owned());
    if before.and_then(place) == place(planned) {
        return None;
    }
    Some(match round {
        "?" => "each round:".to_owned(),
        round => format!("round `{round}`:"),
    })
}

fn mark(planned: &Planned) -> (&'static str, Tone) {
    match (planned.decision, planned.effect) {
        (Decision::Skipped, _) => ("-", Tone::Quiet),
        (Decision::Already, _) => ("=", Tone::Good),
        (Decision::NotReached, _) => ("/", Tone::Quiet),
        (Decision::Refused | Decision::Fails, _) => ("x", Tone::Bad),
        (Decision::Runs | Decision::MayRun, Effect::Read) => (".", Tone::Plain),
        (Decision::Runs | Decision::MayRun, Effect::Change) => ("~", Tone::Change),
        (Decision::Runs | Decision::MayRun, Effect::Destroy) => ("!", Tone::Bad),
    }
}

/// Returns what a step would do, in a word or two.
pub(super) fn status(planned: &Planned) -> String {
    let effect = match planned.effect {
        Effect::Read => "reads",
        Effect::Change => "changes",
        Effect::Destroy => "DESTROYS",
    };
    let word = match planned.decision {
        Decision::Runs => effect.to_owned(),
        Decision::MayRun => format!("may run: {effect}"),
        Decision::Skipped => "skipped".to_owned(),
        Decision::Already => "already done".to_owned(),
        Decision::Refused => format!("REFUSED ({effect})"),
        Decision::Fails => format!("FAILS ({effect})"),
        Decision::NotReached => format!("not reached ({effect})"),
    };
    match planned.structure {
        true => format!("{}, {word}", planned.kind),
        false => word,
    }
}

fn verdict(page: &mut Page, indent: usize, planned: &Planned) {
    let tone = match planned.decision {
        Decision::Fails | Decision::Refused => Tone::Bad,
        _ => Tone::Quiet,
    };
    if let Some(why) = &planned.why {
        page.labelled(indent, "because", tone, why);
    }
    if let (Decision::MayRun, Some(after)) = (planned.decision, &planned.after) {
        page.labelled(indent, "known", Tone::Warning, &format!("after {after}"));
    }
}

fn action(page: &mut Page, indent: usize, planned: &Planned) {
    if let Some(action) = &planned.action {
        page.labelled(indent, "does", Tone::Plain, action);
    }
    for detail in &planned.details {
        piece(page, indent, detail);
    }
    let is_open = planned.fidelity == Fidelity::Unknown;
    if let Some(change) = &planned.change {
        let label = if is_open { "now" } else { "change" };
        page.labelled(indent, label, Tone::Change, change);
    }
    match &planned.diff {
        Some(diff) => page.block(indent + 2, diff, LINES, diff_tone),
        None => planned
            .contents
            .iter()
            .for_each(|content| piece(page, indent, content)),
    }
    if !planned.found.is_empty() {
        let found: Vec<String> = planned
            .found
            .iter()
            .map(|found| format!("{}={}", found.name, found.text))
            .collect();
        let label = if is_open { "now" } else { "found" };
        page.labelled(indent, label, Tone::Plain, &found.join(", "));
    }
    if let (true, Some(after), Decision::Runs) = (is_open, &planned.after, planned.decision) {
        let text = format!("what comes of it is known after {after}");
        page.labelled(indent, "unknown", Tone::Warning, &text);
    }
}

fn piece(page: &mut Page, indent: usize, detail: &Detail) {
    if !detail.text.trim_end_matches('\n').contains('\n') {
        return page.labelled(indent, &detail.name, Tone::Plain, &detail.text);
    }
    page.line(indent, Tone::Quiet, &detail.name);
    page.block(indent + 2, &detail.text, LINES, |_| Tone::Plain);
}

fn diff_tone(line: &str) -> Tone {
    match line.as_bytes().first() {
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        Some(b'@') => Tone::Quiet,
        _ => Tone::Plain,
    }
}

fn conditions(page: &mut Page, indent: usize, planned: &Planned) {
    if let Some(unless) = &planned.unless {
        // That it does not hold is why the step runs: nothing bad.
        let (_, text) = condition(unless);
        page.labelled(indent, "unless", Tone::Quiet, &text);
    }
    for guard in &planned.guards {
        let (tone, text) = condition(guard);
        page.labelled(indent, "guard", tone, &text);
    }
    if let Some(confirm) = &planned.confirm {
        page.labelled(indent, "asks", Tone::Warning, &asks(confirm));
    }
}

fn patience(page: &mut Page, indent: usize, planned: &Planned) {
    for (label, words) in [("retry", &planned.retry), ("waits", &planned.until)] {
        if let Some(words) = words {
            page.labelled(indent, label, Tone::Plain, words);
        }
    }
    if let Some(timeout) = &planned.timeout {
        page.labelled(indent, "timeout", Tone::Plain, timeout);
    }
}

fn undo(page: &mut Page, indent: usize, planned: &Planned) {
    let Some((tone, text)) = undo_words(&planned.undo) else {
        return;
    };
    page.labelled(indent, "undo", tone, &text);
    if planned.point_of_no_return {
        page.labelled(indent, "", Tone::Bad, "point of no return");
    }
}

/// Returns how a step is undone; nothing where there is nothing to say.
pub(super) fn undo_words(undo: &Undo) -> Option<(Tone, String)> {
    Some(match undo {
        Undo::None => return None,
        Undo::ByItself { does, lapses, .. } => {
            let mut text = "by itself".to_owned();
            if let Some(does) = does {
                text.push_str(&format!(": {does}"));
            }
            if let Some(lapses) = lapses {
                text.push_str(&format!(" (only for {lapses})"));
            }
            (Tone::Quiet, text)
        }
        Undo::ByHand { steps } => (Tone::Quiet, format!("by hand: {}", steps.join(", "))),
        Undo::Around { step } => (Tone::Quiet, format!("by the rollback of `{step}`")),
        Undo::Nothing => (Tone::Quiet, "there is nothing to undo".to_owned()),
        Undo::Irreversible { why } => (Tone::Bad, format!("NOT AT ALL: {why}")),
    })
}

fn told(page: &mut Page, indent: usize, planned: &Planned) {
    for finding in &planned.findings {
        let (tone, word) = match finding.severity {
            Severity::Info => (Tone::Plain, "info"),
            Severity::Warning => (Tone::Warning, "warning"),
            Severity::Critical => (Tone::Bad, "CRITICAL"),
        };
        let text = match &finding.advice {
            Some(advice) => format!("{} ({advice})", finding.title),
            None => finding.title.clone(),
        };
        page.labelled(indent, word, tone, &text);
    }
    for note in &planned.notes {
        page.labelled(indent, "note", Tone::Plain, note);
    }
    if let Some(problem) = &planned.problem {
        page.labelled(indent, "!", Tone::Warning, problem);
    }
}
