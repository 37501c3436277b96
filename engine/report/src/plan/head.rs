//! The head of a plan, and what a person must know before they say yes.

use runwright_core::preview::{
    Condition, Decision, Effects, Head, Preview, Probe, Required, Stop, Then, Undo,
};

use super::page::{Page, Tone};

/// How many digits of a digest people compare.
const DIGEST: usize = 12;

/// Writes the whole head.
pub(super) fn whole(page: &mut Page, preview: &Preview) {
    let head = &preview.head;
    name(page, head);
    let digest: String = head.digest.chars().take(DIGEST).collect();
    let from = format!(
        "{} ({digest}), as {} on {}, {}",
        head.path, head.user, head.host, head.at
    );
    page.line(2, Tone::Quiet, &from);
    if head.probe == Probe::Offline {
        let offline =
            "offline: nothing was looked at, so nothing is said of the state of this machine";
        page.line(2, Tone::Warning, offline);
    }
    counts(page, head);
    for required in &head.requires {
        let (tone, text) = requirement(required);
        page.labelled(2, "needs", tone, &text);
    }
    for input in &head.inputs {
        let text = format!("{} = {}  ({})", input.name, input.value, input.source);
        page.labelled(2, "input", Tone::Plain, &text);
    }
    for guard in &head.guards {
        let (tone, text) = condition(guard);
        page.labelled(2, "guard", tone, &text);
    }
}

/// Writes which playbook it is.
pub(super) fn name(page: &mut Page, head: &Head) {
    let name = format!("{} {}: {}", head.playbook, head.version, head.title);
    page.title(&name);
}

/// Writes how many steps do what, and how much of it can be undone.
pub(super) fn counts(page: &mut Page, head: &Head) {
    let counts = &head.counts;
    let mut parts = vec![effects(&counts.runs)];
    if counts.may_run != Effects::default() {
        parts.push(format!("perhaps also {}", effects(&counts.may_run)));
    }
    for (count, word) in [
        (counts.already, "already done"),
        (counts.skipped, "skipped"),
        (counts.not_reached, "not reached"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    page.labelled(2, "steps", Tone::Plain, &parts.join("; "));
    let undo = &head.undo;
    let mut parts = Vec::new();
    for (count, word) in [
        (undo.by_itself, "by itself"),
        (undo.by_hand, "by steps of the playbook"),
        (undo.not, "NOT AT ALL"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if !parts.is_empty() {
        page.labelled(2, "undo", Tone::Plain, &parts.join(", "));
    }
}

fn effects(effects: &Effects) -> String {
    let words = [
        (effects.read, "read", "reads"),
        (effects.change, "change", "changes"),
        (effects.destroy, "DESTROY", "DESTROYS"),
    ];
    let parts: Vec<String> = words
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, many, one)| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}

/// Writes what a person must know before they say yes.
pub(super) fn warnings(page: &mut Page, preview: &Preview) {
    let head = &preview.head;
    let mut lines: Vec<(Tone, String)> = Vec::new();
    if let Some(stop) = &head.stop {
        lines.extend(stop_lines(stop));
    }
    for step in preview
        .steps
        .iter()
        .filter(|step| matches!(step.decision, Decision::Runs | Decision::MayRun))
    {
        let perhaps = match step.decision {
            Decision::MayRun => "perhaps: ",
            _ => "",
        };
        if let Undo::Irreversible { why } = &step.undo {
            let point = match head.point_of_no_return.as_deref() == Some(step.step.as_str()) {
                true => "; from there on not everything can be undone (point of no return)",
                false => "",
            };
            let text = format!("{perhaps}`{}` can't be undone: {why}{point}", step.step);
            lines.push((Tone::Bad, text));
        } else if step.effect == runwright_core::kind::Effect::Destroy && !step.structure {
            lines.push((Tone::Bad, format!("{perhaps}`{}` destroys", step.step)));
        }
    }
    for confirm in &head.confirms {
        let mut text = format!("asks before `{}`: {}", confirm.step, confirm.message);
        if let Some(phrase) = &confirm.phrase {
            text.push_str(&format!(" (type `{phrase}`)"));
        }
        lines.push((Tone::Warning, text));
    }
    for question in &head.questions {
        let text = match question.values.is_empty() {
            true => format!(
                "needs a person at `{}`: {}",
                question.step, question.message
            ),
            false => format!(
                "asks for {} at `{}`: {}",
                question.values.join(", "),
                question.step,
                question.message
            ),
        };
        lines.push((Tone::Warning, text));
    }
    lines.extend(
        head.problems
            .iter()
            .map(|problem| (Tone::Warning, problem.clone())),
    );
    if lines.is_empty() {
        return;
    }
    page.blank();
    page.title("Before you say yes");
    for (tone, text) in lines {
        page.hanging(2, 4, tone, &format!("! {text}"));
    }
}

fn stop_lines(stop: &Stop) -> Vec<(Tone, String)> {
    let place = match stop.step.is_empty() {
        true => "the run would be refused before its first step".to_owned(),
        false => format!("the run would stop at `{}`", stop.step),
    };
    let mut lines = vec![(Tone::Bad, format!("{place}: {}", stop.why))];
    if stop.step.is_empty() {
        return lines;
    }
    let undoes: Vec<String> = stop
        .undoes
        .iter()
        .map(|undo| format!("`{}` {}", undo.name, undo.text))
        .collect();
    let then = match (stop.then, undoes.is_empty()) {
        (Then::Stop, _) => "everything would stay as it is then, for a person to go on".to_owned(),
        (Then::Ask, _) => "a person would be asked what then".to_owned(),
        (_, true) => "nothing would be changed by then".to_owned(),
        (_, false) => format!("it would then undo {}", undoes.join(", ")),
    };
    lines.push((Tone::Warning, then));
    lines
}

fn requirement(required: &Required) -> (Tone, String) {
    let name = match required.versions.as_str() {
        "*" => required.program.clone(),
        versions => format!("{} {versions}", required.program),
    };
    match (required.there, &required.why) {
        (Some(true), _) => (Tone::Good, format!("{name}: there")),
        (Some(false), Some(why)) => (Tone::Bad, format!("{name}: MISSING, {why}")),
        (Some(false), None) => (Tone::Bad, format!("{name}: MISSING")),
        (None, _) => (Tone::Plain, format!("{name}: not looked for")),
    }
}

/// Returns a condition with what it comes to now.
pub(super) fn condition(condition: &Condition) -> (Tone, String) {
    let (tone, word) = match (condition.holds, &condition.after) {
        (Some(true), _) => (Tone::Good, "holds".to_owned()),
        (Some(false), _) => (Tone::Bad, "DOES NOT HOLD".to_owned()),
        (None, Some(after)) => (Tone::Warning, format!("known after {after}")),
        (None, None) => (Tone::Warning, "not known yet".to_owned()),
    };
    let text = match condition.why.is_empty() {
        true => format!("`{}` {word}", condition.text),
        false => format!("`{}` {word}: {}", condition.text, condition.why),
    };
    (tone, text)
}
