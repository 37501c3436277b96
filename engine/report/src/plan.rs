//! A preview for people and programs.
//!
//! Knows only the data of [`runwright_core::preview`]. First stands what a person reads in ten seconds, then what they
//! must know before they say yes, then the tree of steps.

mod head;
mod page;
mod step;
#[cfg(test)]
mod tests;

use self::page::{Page, Tone};
pub use runwright_core::diagnostic::Colour;
use runwright_core::preview::Preview;

/// The narrowest text that is written, whatever the terminal says.
const NARROWEST: usize = 40;

/// Returns the whole plan, in lines of at most `width` columns.
pub fn text(preview: &Preview, width: usize, colour: Colour) -> String {
    let mut page = Page::new(width.max(NARROWEST), colour);
    head::whole(&mut page, preview);
    head::warnings(&mut page, preview);
    page.blank();
    page.title("Steps");
    let mut last = None;
    for planned in &preview.steps {
        if planned.part != runwright_core::preview::Part::Steps && last != Some(planned.part) {
            page.line(0, Tone::Quiet, "at the end, whatever came before:");
        }
        last = Some(planned.part);
        step::step(&mut page, planned, &preview.steps);
    }
    page.text()
}

/// Returns the few lines that stand before the first change of a run.
pub fn short(preview: &Preview, width: usize, colour: Colour) -> String {
    let mut page = Page::new(width.max(NARROWEST), colour);
    head::name(&mut page, &preview.head);
    head::counts(&mut page, &preview.head);
    head::warnings(&mut page, preview);
    page.text()
}

/// Returns the plan as JSON for programs, as `schemas/plan.json` describes it.
pub fn json(preview: &Preview) -> String {
    serde_json::to_string_pretty(preview).expect("a preview has only text keys")
}

/// Returns the schema of [`json`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Preview).into()
}
