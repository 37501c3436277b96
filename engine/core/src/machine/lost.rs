//! Secret results whose texts went with the process that had them.

use super::{State, Task, frame::Role};
use crate::{
    event::StepKey,
    kind::Effect,
    plan::{Body, Plan},
    value::{Piece, Value},
};

impl State {
    /// Returns, in the order in which they began, the steps that only read and whose results hold secrets, each with
    /// the task that gives them again.
    pub fn secret_readings(&self, plan: &Plan) -> Vec<(StepKey, Task)> {
        let mut found = Vec::new();
        for frame in 0..self.frames.len() {
            let it = &self.frames[frame];
            let (Role::Step(node), Some(result)) = (it.role, &it.result) else {
                continue;
            };
            let node = plan.node(node);
            let Body::Work(work) = &node.body else {
                continue;
            };
            if node.effect > Effect::Read || !holds_secret(result) {
                continue;
            }
            if let Ok(task) = self.task(plan, frame, work, node.effect, node.timeout.as_ref()) {
                found.push((it.key.clone(), task));
            }
        }
        found
    }
}

fn holds_secret(result: &Value) -> bool {
    let is_result =
        |piece: &Piece| matches!(piece, Piece::Handle(handle) if handle.starts_with("result "));
    result
        .find(
            &|value| matches!(value, Value::Secret(secret) if secret.pieces.iter().any(is_result)),
        )
        .is_some()
}
