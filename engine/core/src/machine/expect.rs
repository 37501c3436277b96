//! `expect`: what is checked after a step.

use super::{
    State,
    frame::FrameId,
    judge::Verdict,
    names::{parts, text},
};
use crate::{
    event::Finding,
    expression::Expression,
    kind::{Class, Failure},
    plan::{Expect, ExpectSeverity, Plan},
    value::{Fields, Value},
};

impl State {
    /// Asks every `expect`: the first that fails the step ends it, the others raise findings.
    pub(super) fn check(
        &self,
        plan: &Plan,
        frame: FrameId,
        expects: &[Expect],
        fields: &Fields,
        verdict: &mut Verdict,
    ) {
        if expects.is_empty() {
            return;
        }
        let result = Value::map(fields.clone());
        for expect in expects {
            let misses = match &expect.each {
                None => self
                    .miss(plan, frame, expect, &result, &[])
                    .map(|miss| miss.into_iter().collect()),
                Some(each) => self.misses(plan, frame, expect, each, &result),
            };
            match (misses, expect.severity) {
                (Err(failure), _) => {
                    verdict.result = Err(failure);
                    return;
                }
                (Ok(misses), ExpectSeverity::Finding(severity)) => {
                    let findings = misses.into_iter().map(|title| Finding {
                        severity,
                        title,
                        advice: None,
                    });
                    verdict.findings.extend(findings);
                }
                (Ok(misses), ExpectSeverity::Failure) => {
                    let mut misses = misses.into_iter();
                    if let Some(first) = misses.next() {
                        let mut failure = Failure::new(Class::Expect, first);
                        failure.causes.extend(misses);
                        verdict.result = Err(failure);
                        return;
                    }
                }
            }
        }
    }

    fn misses(
        &self,
        plan: &Plan,
        frame: FrameId,
        expect: &Expect,
        each: &Expression,
        result: &Value,
    ) -> Result<Vec<String>, Failure> {
        let items = match self.eval(plan, frame, each, Some(result))? {
            Value::List(items) => items,
            Value::Unknown(_) => return Ok(Vec::new()),
            other => {
                return Err(Failure::internal(format!(
                    "go through `each`: it is a {}, not a list",
                    other.kind()
                )));
            }
        };
        let mut misses = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let locals = [("item", item.clone()), ("index", Value::Int(index as i64))];
            misses.extend(self.miss(plan, frame, expect, result, &locals)?);
        }
        Ok(misses)
    }

    /// Returns what to tell people when the condition does not hold.
    fn miss(
        &self,
        plan: &Plan,
        frame: FrameId,
        expect: &Expect,
        result: &Value,
        locals: &[(&'static str, Value)],
    ) -> Result<Option<String>, Failure> {
        let names = self
            .names(plan, frame)
            .with_result(Some(result))
            .with(locals);
        match expect.that.eval(&names) {
            Ok(Value::Bool(true) | Value::Unknown(_)) => Ok(None),
            Ok(Value::Bool(false)) => Ok(Some(match &expect.otherwise {
                Some(otherwise) => text(otherwise, &names),
                None => {
                    let parts = parts(&expect.that, &names).join(", ");
                    format!("expected `{}`, but {parts}", expect.that.text())
                }
            })),
            Ok(other) => Err(Failure::internal(format!(
                "check `{}`: it is a {}, not true or false",
                expect.that.text(),
                other.kind()
            ))),
            Err(error) => {
                let message = format!("check `{}`: {}", expect.that.text(), error.message);
                let mut failure = Failure::new(Class::Expect, message);
                failure.causes.extend(parts(&expect.that, &names));
                Err(failure)
            }
        }
    }
}
