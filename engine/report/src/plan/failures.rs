//! What the failure of each step would come to: the rollback, previewed.

use runwright_core::preview::{Detail, IfFails, Then, Undoing, UndoneBy};

use super::page::{Page, Tone};

/// What holds for all of it.
pub(super) const FIRST: &str =
    "On a terminal a person is asked first what to do; this is what happens without one.";

/// How many undos are told again where they are the same as before.
const REPEATED: usize = 3;

/// Writes what the failure of each step would come to; steps with the same fate stand together.
pub(super) fn failures(page: &mut Page, failures: &[IfFails]) {
    if failures.is_empty() {
        return;
    }
    page.blank();
    page.title("If a step fails");
    page.line(2, Tone::Quiet, FIRST);
    let mut before: Option<&IfFails> = None;
    for alike in alike(failures) {
        let first = alike[0];
        page.hanging(2, 4, Tone::Plain, &headline(alike.as_slice()));
        for text in undoes(first, before) {
            page.hanging(6, 9, Tone::Plain, &text);
        }
        before = Some(first);
        for stays in &first.stays {
            page.hanging(6, 9, Tone::Bad, &stays_words(stays));
        }
    }
}

/// Returns the undos in their order, a line each; a long list that ends as the one before it did is not told again.
pub(super) fn undoes(failure: &IfFails, before: Option<&IfFails>) -> Vec<String> {
    let told = before.filter(|before| {
        before.undoes.len() > REPEATED && failure.undoes.ends_with(&before.undoes)
    });
    let new = failure.undoes.len() - told.map_or(0, |told| told.undoes.len());
    let number =
        |(number, undoing): (usize, &Undoing)| format!("{number}. {}", undoing_words(undoing));
    let mut lines: Vec<String> = (1..).zip(&failure.undoes[..new]).map(number).collect();
    if let Some(told) = told {
        lines.push(format!(
            "{}. and then all that the failure of `{}` undoes, in the same order",
            new + 1,
            told.step
        ));
    }
    lines
}

/// Returns the failures that follow each other and come to the same.
pub(super) fn alike(failures: &[IfFails]) -> Vec<Vec<&IfFails>> {
    let fate = |failure: &IfFails| IfFails {
        step: String::new(),
        certain: true,
        ..failure.clone()
    };
    let mut groups: Vec<Vec<&IfFails>> = Vec::new();
    for failure in failures {
        match groups.last_mut() {
            Some(group) if fate(group[0]) == fate(failure) => group.push(failure),
            _ => groups.push(vec![failure]),
        }
    }
    groups
}

/// Returns which steps it is about, and what happens.
pub(super) fn headline(alike: &[&IfFails]) -> String {
    let names: Vec<String> = alike
        .iter()
        .map(|failure| match failure.certain {
            true => format!("`{}`", failure.step),
            false => format!("`{}` (may run)", failure.step),
        })
        .collect();
    let first = alike[0];
    let end = match first.outcome.as_str() {
        "" => String::new(),
        outcome => format!(
            "; the run is then `{outcome}`, exit code {}",
            first.exit_code
        ),
    };
    let then = match (first.then, first.undoes.len(), first.stays.len()) {
        (Then::GoesOn, ..) => "a critical finding, and the run goes on".to_owned(),
        (Then::Ask, ..) => "a person is asked what to do; nothing is undone until then".to_owned(),
        (Then::Stop, _, 0) => "it stops; nothing is changed by then".to_owned(),
        (Then::Stop, ..) => "it stops, and everything stays as it is".to_owned(),
        (_, 0, 0) => "nothing is changed by then, and nothing is undone".to_owned(),
        (_, 0, _) => "nothing can be undone".to_owned(),
        (_, 1, _) => "undoes one thing".to_owned(),
        (_, many, _) => format!("undoes {many} things, in this order"),
    };
    format!("{}: {then}{end}", names.join(", "))
}

/// Returns one undo in words.
pub(super) fn undoing_words(undoing: &Undoing) -> String {
    let perhaps = match undoing.certain {
        true => "",
        false => " (if it ran)",
    };
    let what = match undoing.by {
        UndoneBy::Itself => format!("by itself: {}", undoing.does),
        UndoneBy::Again => format!("once more, after all else: {}", undoing.does),
        UndoneBy::Steps => format!("by steps of the playbook: {}", undoing.steps.join(", ")),
    };
    format!("`{}`{perhaps} {what}", undoing.step)
}

/// Returns one thing that stays in words.
pub(super) fn stays_words(stays: &Detail) -> String {
    format!("`{}` {}", stays.name, stays.text)
}
