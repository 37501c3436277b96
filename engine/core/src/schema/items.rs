//! Lists.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::Check;
use crate::{diagnostic::Diagnostic, yaml::Node};

impl<'a> Check<'a> {
    pub(super) fn items(
        &self,
        node: &Node,
        items: &[Node],
        schema: &'a Map<String, Json>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let prefix = schema.get("prefixItems").and_then(Json::as_array);
        for (index, item) in items.iter().enumerate() {
            let own = prefix.and_then(|prefix| prefix.get(index));
            if let Some(schema) = own.or_else(|| schema.get("items")) {
                self.value(item, schema, None, problems);
            }
        }
        let bound = |name: &str| schema.get(name).and_then(Json::as_u64);
        let found = items.len() as u64;
        let wrong = |most: &str, bound: u64| {
            let items = if bound == 1 { "item" } else { "items" };
            Diagnostic::error(
                format!("expected {most} {bound} {items}, found {found}"),
                node.span.clone(),
            )
        };
        match (bound("minItems"), bound("maxItems")) {
            (Some(least), Some(most)) if least == most && found != most => {
                problems.push(wrong("exactly", most));
            }
            (Some(least), _) if found < least => problems.push(wrong("at least", least)),
            (_, Some(most)) if found > most => problems.push(wrong("at most", most)),
            _ => {}
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
            report_twins(items, problems);
        }
    }
}

fn report_twins(items: &[Node], problems: &mut Vec<Diagnostic>) {
    let mut seen = HashMap::new();
    for item in items {
        if let Some(first) = seen.insert(item.to_value().display(), item) {
            problems.push(
                Diagnostic::error(
                    format!("{} is in the list twice", item.what()),
                    item.span.clone(),
                )
                .label(first.span.clone(), "first here"),
            );
        }
    }
}
