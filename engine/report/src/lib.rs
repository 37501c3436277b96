//! Temporary.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]
#![allow(missing_docs)]
use runwright_core::{diagnostic::Colour, kind::{Progress, Stream}, port::{Reporter, Told}, summary::Summary};
use std::io::Write;
pub struct Plain(Box<dyn Write + Send>);
impl Plain { pub fn new(w: Box<dyn Write + Send>, _: Colour) -> Plain { Plain(w) } }
impl Reporter for Plain {
    fn tell(&mut self, t: &Told<'_>) { let _ = writeln!(self.0, "{} {:?} {} {} {}", t.event.step, t.state, t.title.clone().unwrap_or_default(), t.event.body.kind(), t.event.body.data()); }
    fn output(&mut self, step: &str, _: Stream, b: &[u8]) { let _ = writeln!(self.0, "  | {step}: {}", String::from_utf8_lossy(b)); }
    fn progress(&mut self, _: &str, _: &Progress) {}
    fn pause(&mut self) {}
    fn go_on(&mut self) {}
    fn end(&mut self, s: &Summary) { let _ = writeln!(self.0, "{}", serde_json::to_string(s).unwrap()); }
}
pub struct Json(Plain);
impl Json { pub fn new(w: Box<dyn Write + Send>) -> Plain { Plain(w) } }
pub struct Tty(Plain);
impl Tty { pub fn new(c: Colour) -> Plain { Plain::new(Box::new(std::io::stderr()), c) } }
pub fn output_schema() -> serde_json::Value { serde_json::Value::Null }
pub mod plan { pub fn schema() -> serde_json::Value { serde_json::Value::Null } }
