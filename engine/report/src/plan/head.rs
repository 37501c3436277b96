//! The head of a plan, and what a person must know before they say yes.

use runwright_core::preview::{
    Condition, Confirm, Decision, Effects, Head, Lock, Preview, Probe, Question, Required, Stop,
    Then, Undo, Undos,
};

use super::page::{Page, Tone};

/// How many digits of a digest people compare.
pub(super) const DIGEST: usize = 12;
/// How many of the undos that lapse are named.
const LAPSES: usize = 3;

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
    for held in &head.locks {
        let (tone, text) = lock(held);
        page.labelled(2, "lock", tone, &text);
    }
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
    page.labelled(2, "steps", Tone::Plain, &steps(head));
    let undo = undo(&head.undo);
    if !undo.is_empty() {
        page.labelled(2, "undo", Tone::Plain, &undo.join(", "));
    }
    for lapse in lapses(&head.undo) {
        page.labelled(2, "", Tone::Warning, &lapse);
    }
}

/// Returns how many steps do what, in words.
pub(super) fn steps(head: &Head) -> String {
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
    parts.join("; ")
}

/// Returns how many changes are undone how, in words.
pub(super) fn undo(undo: &Undos) -> Vec<String> {
    [
        (undo.by_itself, "by itself"),
        (undo.by_hand, "by steps of the playbook"),
        (undo.not, "NOT AT ALL"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect()
}

/// Returns the undos that stay possible only for a while; of many the shortest.
pub(super) fn lapses(undo: &Undos) -> Vec<String> {
    let mut lines: Vec<String> = undo
        .lapses
        .iter()
        .take(LAPSES)
        .map(|lapse| {
            format!(
                "`{}` only for {} (until {}, if it ran now)",
                lapse.step, lapse.after, lapse.until
            )
        })
        .collect();
    if undo.lapses.len() > LAPSES {
        let more = undo.lapses.len() - LAPSES;
        lines.push(format!("{more} more only for as long or longer"));
    }
    lines
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
    let lines = risks(preview);
    if lines.is_empty() {
        return;
    }
    page.blank();
    page.title("Before you say yes");
    for (tone, text) in lines {
        page.hanging(2, 4, tone, &format!("! {text}"));
    }
}

/// Returns what a person must know before they say yes, the worst first.
pub(super) fn risks(preview: &Preview) -> Vec<(Tone, String)> {
    let head = &preview.head;
    let mut lines: Vec<(Tone, String)> = Vec::new();
    if let Some(stop) = &head.stop {
        lines.extend(stop_lines(stop));
    }
    lines.extend(head.locks.iter().flat_map(taken));
    lines.extend(dangers(preview));
    let unseen = head.unseen.iter();
    lines.extend(unseen.map(|unseen| {
        let text = format!("`{}` is not known: {}", unseen.name, unseen.text);
        (Tone::Warning, text)
    }));
    for confirm in &head.confirms {
        let text = format!("asks before `{}`: {}", confirm.step, asks(confirm));
        lines.push((Tone::Warning, text));
    }
    lines.extend(
        head.questions
            .iter()
            .map(|asked| (Tone::Warning, question(asked))),
    );
    lines.extend(
        head.problems
            .iter()
            .map(|problem| (Tone::Warning, problem.clone())),
    );
    lines
}

/// Returns what is destroyed and what can't be undone.
fn dangers(preview: &Preview) -> Vec<(Tone, String)> {
    let point = preview.head.point_of_no_return.as_deref();
    let acts = |decision| matches!(decision, Decision::Runs | Decision::MayRun);
    let mut lines = Vec::new();
    for step in preview.steps.iter().filter(|step| acts(step.decision)) {
        let perhaps = match step.decision {
            Decision::MayRun => "perhaps: ",
            _ => "",
        };
        if let Undo::Irreversible { why } = &step.undo {
            let point = match point == Some(step.step.as_str()) {
                true => "; from there on not everything can be undone (point of no return)",
                false => "",
            };
            let text = format!("{perhaps}`{}` can't be undone: {why}{point}", step.step);
            lines.push((Tone::Bad, text));
        } else if step.effect == runwright_core::kind::Effect::Destroy && !step.structure {
            lines.push((Tone::Bad, format!("{perhaps}`{}` destroys", step.step)));
        }
    }
    lines
}

/// Returns what is asked before a step, what must be typed, and whose answers count.
pub(super) fn asks(confirm: &Confirm) -> String {
    let mut text = confirm.message.clone();
    if let Some(phrase) = &confirm.phrase {
        text.push_str(&format!(" (type `{phrase}`)"));
    }
    if let Some(who) = confirm.who.words() {
        text.push_str(&format!(" [{who}]"));
    }
    text
}

/// Returns what a person is asked for in between.
pub(super) fn question(question: &Question) -> String {
    let mut text = match question.values.is_empty() {
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
    if let Some(who) = question.who.words() {
        text.push_str(&format!(" [{who}]"));
    }
    text
}

/// Returns a lock and who has it.
pub(super) fn lock(lock: &Lock) -> (Tone, String) {
    let place = match &lock.step {
        Some(step) => format!("{} (taken at `{step}`)", lock.name),
        None => lock.name.clone(),
    };
    match (&lock.after, lock.free, &lock.holder) {
        (Some(after), ..) => (Tone::Warning, format!("{place}: known after {after}")),
        (None, Some(true), _) => (Tone::Good, format!("{place}: free")),
        (None, Some(false), Some(holder)) => (Tone::Bad, format!("{place}: TAKEN, {holder}")),
        (None, Some(false), None) => (Tone::Bad, format!("{place}: TAKEN")),
        (None, None, Some(why)) => (Tone::Warning, format!("{place}: {why}")),
        (None, None, None) => (Tone::Plain, format!("{place}: not looked at")),
    }
}

/// Returns what to do about a lock that somebody has.
fn taken(lock: &Lock) -> Vec<(Tone, String)> {
    if lock.free != Some(false) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if let Some(step) = &lock.step {
        let text = format!(
            "`{step}` would fail while the lock `{}` is taken, and does not wait for it",
            lock.name
        );
        lines.push((Tone::Bad, text));
    }
    if !lock.ways_out.is_empty() {
        let text = format!("to get `{}`: {}", lock.name, lock.ways_out.join("; or "));
        lines.push((Tone::Warning, text));
    }
    lines
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
        (Then::GoesOn, _) => "it would go on".to_owned(),
        (_, true) => "nothing would be changed by then".to_owned(),
        (_, false) => format!("it would then undo {}", undoes.join(", ")),
    };
    lines.push((Tone::Warning, then));
    lines
}

/// Returns a program and whether it is there.
pub(super) fn requirement(required: &Required) -> (Tone, String) {
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
