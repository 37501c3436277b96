//! A preview for people and programs.
//!
//! Knows only the data of [`runwright_core::preview`]. First stands what a person reads in ten seconds, then what they
//! must know before they say yes, then the tree of steps, then what the failure of each would come to.

mod failures;
mod head;
mod markdown;
mod page;
mod step;
#[cfg(test)]
mod tests;

use self::page::{Page, Tone};
pub use runwright_core::diagnostic::Colour;
use runwright_core::preview::{Part, Planned, Preview};

/// The narrowest text that is written, whatever the terminal says.
const NARROWEST: usize = 40;

/// Returns the whole plan, in lines of at most `width` columns.
pub fn text(preview: &Preview, width: usize, colour: Colour) -> String {
    let mut page = Page::new(width.max(NARROWEST), colour);
    head::whole(&mut page, preview);
    head::warnings(&mut page, preview);
    page.blank();
    page.title("Steps");
    let mut before: Option<&Planned> = None;
    for planned in &preview.steps {
        let is_last = planned.part == Part::Always;
        if is_last && before.is_none_or(|before| before.part != Part::Always) {
            let indent = planned.depth.min(step::DEEPEST) * 2;
            page.line(indent, Tone::Quiet, "at the end, whatever came before:");
        }
        step::step(&mut page, planned, before);
        before = Some(planned);
    }
    failures::failures(&mut page, &preview.failures);
    page.text()
}

/// Returns the whole plan as Markdown, for a change request.
pub fn markdown(preview: &Preview) -> String {
    markdown::markdown(preview)
}

/// Returns the few lines that stand before the first change of a run.
pub fn short(preview: &Preview, width: usize, colour: Colour) -> String {
    let mut page = Page::new(width.max(NARROWEST), colour);
    head::name(&mut page, &preview.head);
    head::counts(&mut page, &preview.head);
    head::warnings(&mut page, preview);
    page.text()
}

/// Returns the plan as one line of JSON for programs, as `schemas/plan.json` describes it.
pub fn json(preview: &Preview) -> String {
    serde_json::to_string(preview).expect("a preview has only text keys") + "\n"
}

/// Returns the schema of [`json`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Preview).into()
}
