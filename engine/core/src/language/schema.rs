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
const LATER: [(&str, &str); 1] = [("host", "acting on other machines")];

/// Returns the schema that editors use: draft 2020-12, closed, with the documentation of every key and kind.
pub fn playbook_schema(kinds: &[Kind]) -> Json {
    let mut schema = whole(kinds, &|kind| {
        let arguments = Json::from(kind.arguments_schema());
        let manual = arguments.get("description").and_then(Json::as_str);
        let first = manual.and_then(|text| text.split("\n\n").next());
        json!({ "$ref": format!("#/$defs/{}", kind.name), "description": first })
    });
    define(&mut schema, kinds);
    strip(&mut schema);
    let bodies = BODIES
        .iter()
        .copied()
        .chain(kinds.iter().map(|kind| kind.name));
    let bodies: Vec<Json> = bodies.map(|name| has(&[name])).collect();
    let checkpoint = json!({
        "not": { "anyOf": bodies },
        "anyOf": [has(&["confirm"]), has(&["expect"])],
    });
    let forms = bodies.into_iter().chain([checkpoint]).collect();
    say(&mut schema, "Step", "oneOf", forms);
    let together = json!({
        "until": ["within"],
        "every": ["until"],
        "within": ["until"],
        "stable_for": ["until"],
        "at_once": ["parallel"],
    });
    say(&mut schema, "Step", "dependentRequired", together);
    let branches = json!([
        { "required": ["when", "steps"], "not": has(&["otherwise"]) },
        { "required": ["otherwise"], "not": { "anyOf": [has(&["when"]), has(&["steps"])] } },
    ]);
    say(&mut schema, "Branch", "oneOf", branches);
    schema
}

fn has(keys: &[&str]) -> Json {
    json!({ "required": keys })
}

/// Adds to a type of the language what the reader checks by itself.
fn say(schema: &mut Json, of: &str, word: &str, what: Json) {
    let part = schema.pointer_mut(&format!("/$defs/{of}"));
    part.and_then(Json::as_object_mut)
        .expect("the types of the language are objects")
        .insert(word.to_owned(), what);
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

/// Returns the schema of playbooks; `property` makes what stands under the name of a kind.
fn whole(kinds: &[Kind], property: &dyn Fn(&Kind) -> Json) -> Json {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Json::from(generator.root_schema_for::<text::Playbook>());
    for kind in kinds {
        let property = property(kind);
        insert_property(&mut schema, "Step", kind.name, &property);
        insert_property(&mut schema, "Guard", kind.name, &property);
    }
    schema
}

/// Adds the arguments of each kind as a type of its own, with the types that they are made of.
fn define(schema: &mut Json, kinds: &[Kind]) {
    let types = schema.get_mut("$defs").and_then(Json::as_object_mut);
    let types = types.expect("the language has types");
    for kind in kinds {
        let mut arguments = Json::from(kind.arguments_schema());
        remove_meta(&mut arguments);
        let inner = arguments
            .as_object_mut()
            .and_then(|map| map.shift_remove("$defs"));
        if let Some(Json::Object(inner)) = inner {
            types.extend(inner);
        }
        types.insert(kind.name.to_owned(), arguments);
    }
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
        map.retain(|word, _| !word.starts_with("x-"));
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
    for section in ["steps", "always"] {
        refuse_in_steps(root.get(section), problems);
    }
}

fn refuse_in_steps(steps: Option<&Node>, problems: &mut Vec<Diagnostic>) {
    for step in steps.and_then(Node::as_list).unwrap_or_default() {
        refuse_in(step, &["host"], problems);
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
