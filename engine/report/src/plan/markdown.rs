//! A plan as Markdown: what goes into a change request.
//!
//! Every value is escaped, so that none of them can become a heading, a link or a table of its own.

use runwright_core::{
    plan::Severity,
    preview::{Condition, Detail, Fidelity, Head, Part, Planned, Preview, Probe},
};

use super::{failures, head, step};
use crate::clean;

/// How many lines of a diff, or of any other text, are shown.
const LINES: usize = 200;

/// Returns the whole plan as Markdown.
pub(super) fn markdown(preview: &Preview) -> String {
    let mut text = String::new();
    let head = &preview.head;
    text.push_str(&format!(
        "# {}\n\n",
        escaped(&format!(
            "{} {}: {}",
            head.playbook, head.version, head.title
        ))
    ));
    if !head.description.is_empty() {
        text.push_str("## Purpose\n\n");
        for paragraph in head.description.split("\n\n") {
            text.push_str(&format!("{}\n\n", escaped(paragraph)));
        }
    }
    text.push_str("## At a glance\n\n");
    table(&mut text, ["", ""], &facts(head));
    if !head.inputs.is_empty() {
        text.push_str("## Inputs\n\n");
        let rows: Vec<[String; 3]> = head
            .inputs
            .iter()
            .map(|input| [&input.name, &input.value, &input.source].map(Clone::clone))
            .collect();
        table(&mut text, ["Input", "Value", "From"], &rows);
    }
    risks(&mut text, preview);
    text.push_str("## Steps\n\n");
    steps(&mut text, &preview.steps);
    undo(&mut text, preview);
    text
}

/// Returns the head, a row each.
fn facts(head: &Head) -> Vec<[String; 2]> {
    let row = |name: &str, text: String| [name.to_owned(), text];
    let digest: String = head.digest.chars().take(head::DIGEST).collect();
    let mut rows = vec![
        row("Playbook", format!("{} ({digest})", head.path)),
        row(
            "Looked at",
            format!("{} by {} on {}", head.at, head.user, head.host),
        ),
        row("Steps", head::steps(head)),
    ];
    if head.probe == Probe::Offline {
        rows.push(row("Offline", "nothing was looked at".to_owned()));
    }
    let mut undo = head::undo(&head.undo);
    undo.extend(head::lapses(&head.undo));
    if !undo.is_empty() {
        rows.push(row("Undo", undo.join("; ")));
    }
    if let Some(point) = &head.point_of_no_return {
        rows.push(row("Point of no return", format!("`{point}`")));
    }
    rows.extend(
        head.locks
            .iter()
            .map(|held| row("Lock", head::lock(held).1)),
    );
    let confirms = head.confirms.iter();
    rows.extend(confirms.map(|confirm| {
        let text = format!("before `{}`: {}", confirm.step, head::asks(confirm));
        row("Confirm", text)
    }));
    let questions = head.questions.iter();
    rows.extend(questions.map(|asked| row("Question", head::question(asked))));
    let requires = head.requires.iter();
    rows.extend(requires.map(|required| row("Program", head::requirement(required).1)));
    let guards = head.guards.iter();
    rows.extend(guards.map(|guard| row("Guard", condition(guard))));
    rows
}

fn risks(text: &mut String, preview: &Preview) {
    let risks = head::risks(preview);
    text.push_str("## Risks\n\n");
    if risks.is_empty() {
        text.push_str("None that the playbook or a look at the targets tells.\n\n");
        return;
    }
    for (_, risk) in risks {
        text.push_str(&format!("- {}\n", escaped(&risk)));
    }
    text.push('\n');
}

fn steps(text: &mut String, steps: &[Planned]) {
    let mut is_last = false;
    let mut round: Option<(usize, &str)> = None;
    for planned in steps {
        if planned.part == Part::Always && planned.depth == 0 && !is_last {
            is_last = true;
            text.push_str("\nAt the end, whatever came before:\n\n");
        }
        let indent = "   ".repeat(planned.depth.min(step::DEEPEST));
        let title = planned.title.as_deref().unwrap_or(&planned.id);
        let mut line = format!(
            "{indent}1. **{}** ({}) - {}",
            escaped(title),
            code(&planned.step),
            escaped(&step::status(planned))
        );
        let now = planned.round.as_deref().map(|key| (planned.depth, key));
        if let Some((_, key)) = now.filter(|now| Some(*now) != round) {
            let key = if key == "?" { "each round" } else { key };
            line.push_str(&format!(" - round {}", code(key)));
        }
        round = now;
        text.push_str(&line);
        text.push('\n');
        details(text, &format!("{indent}   "), planned);
    }
    text.push('\n');
}

fn details(text: &mut String, indent: &str, planned: &Planned) {
    let mut item = |name: &str, value: &str| {
        text.push_str(&format!("{indent}- {name}: {}\n", escaped(value)));
    };
    if let Some(why) = &planned.why {
        item("because", why);
    }
    if let Some(after) = &planned.after {
        item("known", &format!("after {after}"));
    }
    if let Some(action) = &planned.action {
        item("does", action);
    }
    let is_open = planned.fidelity == Fidelity::Unknown;
    if let Some(change) = &planned.change {
        item(if is_open { "now" } else { "change" }, change);
    }
    if !planned.found.is_empty() {
        let found = planned.found.iter();
        let found: Vec<String> = found
            .map(|found| format!("{}={}", found.name, found.text))
            .collect();
        item(if is_open { "now" } else { "found" }, &found.join(", "));
    }
    if let Some(unless) = &planned.unless {
        item("unless", &condition(unless));
    }
    for guard in &planned.guards {
        item("guard", &condition(guard));
    }
    if let Some(confirm) = &planned.confirm {
        item("asks", &head::asks(confirm));
    }
    for (name, words) in [
        ("retry", &planned.retry),
        ("waits", &planned.until),
        ("timeout", &planned.timeout),
    ] {
        if let Some(words) = words {
            item(name, words);
        }
    }
    if let Some((_, undo)) = step::undo_words(&planned.undo) {
        item("undo", &undo);
    }
    if planned.point_of_no_return {
        item("careful", "point of no return");
    }
    for finding in &planned.findings {
        let word = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "CRITICAL",
        };
        item(word, &finding.title);
    }
    for note in &planned.notes {
        item("note", note);
    }
    if let Some(problem) = &planned.problem {
        item("problem", problem);
    }
    for detail in &planned.details {
        piece(text, indent, detail, "");
    }
    match &planned.diff {
        Some(diff) => fenced(text, indent, "diff", diff),
        None => {
            for content in &planned.contents {
                piece(text, indent, content, "");
            }
        }
    }
}

/// Writes one detail: in its line where it is one, else in a block.
fn piece(text: &mut String, indent: &str, detail: &Detail, language: &str) {
    let value = detail.text.trim_end_matches('\n');
    if value.contains('\n') {
        text.push_str(&format!("{indent}- {}:\n", escaped(&detail.name)));
        return fenced(text, &format!("{indent}  "), language, value);
    }
    text.push_str(&format!(
        "{indent}- {}: {}\n",
        escaped(&detail.name),
        code(value)
    ));
}

fn undo(text: &mut String, preview: &Preview) {
    text.push_str("## Undo\n\n");
    if preview.failures.is_empty() {
        let undo = head::undo(&preview.head.undo);
        let line = match undo.is_empty() {
            true => "Nothing is changed, so there is nothing to undo.".to_owned(),
            false => format!(
                "{}. `plan --undo` shows what the failure of each step would undo.",
                escaped(&undo.join(", "))
            ),
        };
        text.push_str(&format!("{line}\n"));
        return;
    }
    text.push_str(&format!("{}\n\n", failures::FIRST));
    let mut before = None;
    for alike in failures::alike(&preview.failures) {
        text.push_str(&format!("- {}\n", escaped(&failures::headline(&alike))));
        for line in failures::undoes(alike[0], before) {
            text.push_str(&format!("  {}\n", escaped(&line)));
        }
        before = Some(alike[0]);
        for stays in &alike[0].stays {
            let words = failures::stays_words(stays);
            text.push_str(&format!("  - {}\n", escaped(&words)));
        }
    }
}

fn condition(condition: &Condition) -> String {
    head::condition(condition).1
}

/// Writes a table; the names of the columns are ours.
fn table<const N: usize>(text: &mut String, names: [&str; N], rows: &[[String; N]]) {
    text.push_str(&format!("| {} |\n", names.join(" | ")));
    text.push_str(&format!("|{}\n", "---|".repeat(N)));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push('\n');
}

/// Writes a block that nothing inside it can end.
fn fenced(text: &mut String, indent: &str, language: &str, content: &str) {
    let fence = "`".repeat(longest_run(content).max(2) + 1);
    let lines: Vec<&str> = content.trim_end_matches('\n').lines().collect();
    text.push_str(&format!("{indent}{fence}{language}\n"));
    for line in lines.iter().take(LINES) {
        text.push_str(format!("{indent}{}", clean::line(line)).trim_end());
        text.push('\n');
    }
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        text.push_str(&format!("{indent}... {more} more lines\n"));
    }
    text.push_str(&format!("{indent}{fence}\n"));
}

/// Returns `text` as a span of code in one line.
fn code(text: &str) -> String {
    let line = clean::line(text);
    if line.is_empty() {
        return "(empty)".to_owned();
    }
    let fence = "`".repeat(longest_run(&line) + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// Returns how many backticks stand in a row at the most.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|char| char != '`').map(str::len);
    runs.max().unwrap_or_default()
}

/// Returns `text` in one line that means nothing but itself; what we quote with backticks stays code.
fn escaped(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line = clean::line(&line);
    let mut escaped = String::with_capacity(line.len());
    for char in line.chars() {
        if "\\`*_[]<>#|~".contains(char) {
            escaped.push('\\');
        }
        if char == '&' {
            escaped.push_str("&amp;");
            continue;
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_become_markup() {
        assert_eq!(
            escaped("a | b\n# c <b> [x](y) `z` &lt;"),
            "a \\| b \\# c \\<b\\> \\[x\\](y) \\`z\\` &amp;lt;"
        );
        assert_eq!(code("a `b`"), "`` a `b` ``");
        let mut text = String::new();
        fenced(&mut text, "  ", "", "one\n```\n````\n");
        assert_eq!(text, "  `````\n  one\n  ```\n  ````\n  `````\n");
    }
}
