//! What playbooks may say, and what is said about those that say something else.

mod calls;
mod inputs;
mod kinds;
mod limits;
mod names;
mod schema;
mod shape;
mod steps;

use super::{Playbook, read};
use crate::diagnostic::{Diagnostic, Severity, Source};

/// Checks a playbook; what every one must say stands behind `yaml`, so that lines count from its begin.
#[track_caller]
fn check(yaml: &str, expected: &str) {
    check_whole(
        &format!("{yaml}\nplaybook: p\nversion: 1.0.0\ntitle: T\n"),
        expected,
    );
}

/// Checks a playbook that has nothing but `steps`.
#[track_caller]
fn check_steps(steps: &str, expected: &str) {
    check(
        &format!("steps:\n{}", steps.trim_start_matches('\n')),
        expected,
    );
}

/// Checks the text of a whole playbook: expected are its problems, one a line, each with its hints below.
#[track_caller]
fn check_whole(yaml: &str, expected: &str) {
    let source = Source::new("p.yml", yaml);
    let (playbook, problems) = read(&source, None, &kinds::KINDS);
    let said: Vec<String> = problems
        .iter()
        .map(|problem| said(problem, &source))
        .collect();
    let said = said.join("\n");
    let expected: Vec<&str> = expected
        .trim_matches('\n')
        .lines()
        .map(str::trim_end)
        .collect();
    assert_eq!(said, expected.join("\n"), "\n{said}\n");
    let failed = problems.iter().any(Diagnostic::is_error);
    assert_eq!(
        playbook.is_none(),
        failed,
        "a playbook is there unless there are errors"
    );
}

/// Returns the problem as `line:column «what is underlined» message`, with labels and hints below.
fn said(problem: &Diagnostic, source: &Source) -> String {
    let mut said = match &problem.span {
        Some(span) => {
            let (line, column) = source.position(span.start);
            let text = source.text[span.clone()].replace('\n', "⏎");
            format!("{line}:{column} «{text}» {}", problem.message)
        }
        None => problem.message.clone(),
    };
    if problem.severity == Severity::Warning {
        said = format!("warning: {said}");
    }
    for (span, text) in &problem.labels {
        let (line, column) = source.position(span.start);
        said += &format!("\n    {line}:{column} {text}");
    }
    for hint in &problem.hints {
        said += &format!("\n    {hint}");
    }
    said
}

/// Returns a playbook that has no mistakes.
#[track_caller]
fn good(yaml: &str) -> Playbook {
    let yaml = format!("{yaml}\nplaybook: p\nversion: 1.0.0\ntitle: T\n");
    let source = Source::new("p.yml", yaml);
    let (playbook, problems) = read(&source, None, &kinds::KINDS);
    let said: Vec<String> = problems
        .iter()
        .map(|problem| said(problem, &source))
        .collect();
    playbook.unwrap_or_else(|| panic!("{}", said.join("\n")))
}
