//! The schema of playbooks: generated from the types in [`super::text`] and from the kinds.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::text;
use crate::{
    diagnostic::Diagnostic,
    kind::Kind,
    yaml::{Data, Node},
};

/// The step keys that hold what a step does, beside the kinds.
pub(super) const BODIES: [&str; 11] = [
    "group", "parallel", "foreach", "choose", "call", "ask", "manual", "finding", "wait", "notify",
    "set",
];

/// Keys of the contract whose feature a later version builds.
const LATER: [(&str, &str); 5] = [
    ("locks", "locks across runs"),
    ("approvers", "more than one approver"),
    ("not_starter", "approvers that differ from the starter"),
    ("deadline", "deadlines of questions"),
    ("host", "acting on other machines"),
];

/// Returns the schema that editors use: draft 2020-12, closed, with the documentation of every key and kind.
pub fn playbook_schema(kinds: &[Kind]) -> Json {
    let mut schema = whole(kinds, &arguments);
    strip(&mut schema);
    if let Some(step) = schema
        .pointer_mut("/$defs/Step")
        .and_then(Json::as_object_mut)
    {
        let bodies = BODIES
            .iter()
            .copied()
            .chain(kinds.iter().map(|kind| kind.name));
        let one: Vec<Json> = bodies.map(|name| json!({ "required": [name] })).collect();
        let none = json!({ "not": { "anyOf": one } });
        let mut forms = one.clone();
        forms.push(none);
        step.insert("oneOf".to_owned(), Json::Array(forms));
    }
    schema
}

/// Returns the schemas of each kind's arguments and result, by name: what the reference is made of.
pub fn kind_schemas(kinds: &[Kind]) -> Json {
    let entries = kinds.iter().map(|kind| {
        let mut arguments = Json::from(kind.arguments_schema());
        crate::schema::editor(&mut arguments);
        let entry = json!({
            "effect": kind.effect,
            "undone": kind.undone,
            "arguments": arguments,
            "result": Json::from(kind.results_schema()),
        });
        (kind.name.to_owned(), entry)
    });
    Json::Object(entries.collect())
}

/// Returns the schema that the reader checks with: kinds stand in it by their names only, because the arguments of the
/// few that a playbook uses are checked one by one.
pub(super) fn checked(kinds: &[Kind]) -> Json {
    whole(kinds, &|_| Json::Bool(true))
}

/// Returns the schema of one input, whole in itself.
pub(super) fn input() -> Json {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    Json::from(generator.root_schema_for::<text::Input>())
}

/// Returns the keys that a type of the language has in the schema that the reader checks with, kinds included.
pub(super) fn keys(checked: &Json, of: &str) -> BTreeSet<String> {
    let properties = checked.pointer(&format!("/$defs/{of}/properties"));
    let properties = properties.and_then(Json::as_object).into_iter();
    properties
        .flat_map(|properties| properties.keys().cloned())
        .collect()
}

fn whole(kinds: &[Kind], arguments: &dyn Fn(&Kind) -> Json) -> Json {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Json::from(generator.root_schema_for::<text::Playbook>());
    for kind in kinds {
        let arguments = arguments(kind);
        insert_property(&mut schema, "Step", kind.name, &arguments);
        insert_property(&mut schema, "Guard", kind.name, &arguments);
    }
    schema
}

fn arguments(kind: &Kind) -> Json {
    let mut arguments = Json::from(kind.arguments_schema());
    remove_meta(&mut arguments);
    arguments
}

fn insert_property(schema: &mut Json, of: &str, name: &str, property: &Json) {
    let properties = schema
        .pointer_mut(&format!("/$defs/{of}/properties"))
        .and_then(Json::as_object_mut);
    properties
        .expect("the types of the language have properties")
        .insert(name.to_owned(), property.clone());
}

fn remove_meta(schema: &mut Json) {
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
    }
}

/// Takes the marks out that only the reader knows, and the keys that are not built yet; lets templates stand for values.
fn strip(schema: &mut Json) {
    remove_later(schema);
    crate::schema::editor(schema);
    remove_marks(schema);
}

fn remove_later(schema: &mut Json) {
    each_object(schema, &mut |map| {
        if let Some(properties) = map.get_mut("properties").and_then(Json::as_object_mut) {
            properties.retain(|_, property| !is_later(property));
        }
    });
}

fn is_later(property: &Json) -> bool {
    property.get("x-later").is_some()
        || property
            .get("anyOf")
            .and_then(Json::as_array)
            .is_some_and(|branches| {
                branches
                    .iter()
                    .any(|branch| branch.get("x-later").is_some())
            })
}

fn remove_marks(schema: &mut Json) {
    each_object(schema, &mut |map: &mut Map<String, Json>| {
        for mark in ["x-literal", "x-expression", "x-later"] {
            map.remove(mark);
        }
    });
}

fn each_object(schema: &mut Json, change: &mut dyn FnMut(&mut Map<String, Json>)) {
    match schema {
        Json::Object(map) => {
            change(map);
            map.values_mut()
                .for_each(|value| each_object(value, change));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        _ => {}
    }
}

/// Reports the keys that this version does not build yet, wherever the contract has them.
pub(super) fn refuse_later(root: &Node, problems: &mut Vec<Diagnostic>) {
    refuse_in(root, &["locks"], problems);
    for section in ["steps", "always"] {
        refuse_in_steps(root.get(section), problems);
    }
}

fn refuse_in_steps(steps: Option<&Node>, problems: &mut Vec<Diagnostic>) {
    for step in steps.and_then(Node::as_list).unwrap_or_default() {
        refuse_in(step, &["host"], problems);
        if let Some(confirm) = step.get("confirm") {
            refuse_in(confirm, &["approvers", "not_starter", "deadline"], problems);
        }
        for (key, value) in step.as_map().unwrap_or_default() {
            match (key.written(), &value.data) {
                ("group" | "parallel" | "rollback", _) => refuse_in_steps(Some(value), problems),
                ("foreach", _) => refuse_in_steps(value.get("steps"), problems),
                ("choose", Data::List(branches)) => {
                    for branch in branches {
                        refuse_in_steps(branch.get("steps"), problems);
                        refuse_in_steps(branch.get("otherwise"), problems);
                    }
                }
                _ => {}
            }
        }
    }
}

fn refuse_in(node: &Node, keys: &[&str], problems: &mut Vec<Diagnostic>) {
    for (name, feature) in LATER.iter().filter(|(name, _)| keys.contains(name)) {
        if let Some((key, _)) = node.entry(name) {
            problems.push(
                Diagnostic::error(
                    format!("`{name}` is not built yet in this version"),
                    key.span.clone(),
                )
                .hint(format!(
                    "a later version brings {feature}; leave the key out until then"
                )),
            );
        }
    }
}
