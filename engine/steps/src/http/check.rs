//! Checks the arguments of a request when a playbook is loaded.
//!
//! What was not known then is checked again by the request itself, with the same functions.

use runwright_core::value::{ArgumentError, Value};

use super::arguments::{self, ONE_AUTH, ONE_BODY, ONE_TRUST, SAY_WHY};

/// Returns what is wrong with the arguments as far as they are known at load time.
pub(super) fn check(arguments: &Value) -> Vec<ArgumentError> {
    let mut wrong = Vec::new();
    let mut complain = |path: &[&str], message: String| {
        wrong.push(ArgumentError {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            message,
        });
    };
    let has = |name: &str| arguments.get(name).is_some();
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    if let Some(Err(message)) = text("url").map(arguments::url) {
        complain(&["url"], message);
    }
    if let Some(Err(message)) = text("method").map(arguments::method) {
        complain(&["method"], message);
    }
    if ["body", "json", "form"]
        .iter()
        .filter(|name| has(name))
        .count()
        > 1
    {
        complain(&[], ONE_BODY.into());
    }
    if has("ca_file") && has("insecure") {
        complain(&[], ONE_TRUST.into());
    }
    if text("insecure").is_some_and(|why| why.trim().is_empty()) {
        complain(&["insecure"], SAY_WHY.into());
    }
    if let Some(auth @ Value::Map(_)) = arguments.get("auth") {
        let [user, password, bearer] =
            ["user", "password", "bearer"].map(|name| auth.get(name).is_some());
        if user != password || user == bearer {
            complain(&["auth"], ONE_AUTH.into());
        }
    }
    if let Some(Value::List(statuses)) = arguments.get("statuses")
        && statuses.is_empty()
    {
        complain(&["statuses"], "no status would be good enough".into());
    }
    for (name, value) in entries(arguments.get("headers")) {
        if let Err(message) = arguments::header(name, value.as_str().unwrap_or_default()) {
            complain(&["headers", name], message);
        }
        if has("auth") && name.eq_ignore_ascii_case("authorization") {
            complain(&["headers", name], "`auth` says this already".into());
        }
    }
    for (host, value) in entries(arguments.get("resolve")) {
        if let Some(Err(message)) = value.as_str().map(arguments::address) {
            complain(&["resolve", host], message);
        }
    }
    wrong
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let fields = match value {
        Some(Value::Map(fields)) => Some(fields),
        _ => None,
    };
    fields
        .into_iter()
        .flat_map(|fields| fields.iter())
        .map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::Class;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::http::testing::fail;

    fn errors(arguments: &Json) -> Vec<String> {
        let errors = check(&Value::from_stored(arguments));
        errors.iter().map(ArgumentError::to_string).collect()
    }

    #[test]
    fn what_can_not_be_sent_is_refused_when_loaded_and_when_run() {
        for (arguments, part) in [
            (json!({"url": "http://me:pw@h/"}), "`auth`"),
            (json!({"url": "http://h/", "method": "get"}), "no method"),
            (
                json!({"url": "http://h/", "body": "a", "json": 1}),
                "one of",
            ),
            (
                json!({"url": "http://h/", "ca_file": "/a", "insecure": "b"}),
                "not both",
            ),
            (json!({"url": "http://h/", "insecure": " "}), "reason"),
            (
                json!({"url": "http://h/", "auth": {"user": "a"}}),
                "`password`",
            ),
            (
                json!({"url": "http://h/", "auth": {"bearer": "a", "user": "b", "password": "c"}}),
                "`bearer`",
            ),
            (
                json!({"url": "http://h/", "headers": {"a b": "c"}}),
                "no name of a header",
            ),
            (
                json!({"url": "http://h/", "resolve": {"h": "there"}}),
                "no address",
            ),
            (
                json!({"url": "http://h/", "auth": {"bearer": "a"}, "headers": {"Authorization": "b"}}),
                "`auth`",
            ),
        ] {
            let loaded = errors(&arguments);
            assert!(loaded.len() == 1 && loaded[0].contains(part), "{loaded:?}");
            let failure = fail(arguments);
            assert_eq!(failure.class, Class::Internal);
            assert!(failure.message.contains(part), "{failure:?}");
        }
        assert_eq!(
            errors(&json!({"url": "http://h/", "statuses": []})).len(),
            1
        );
        assert_eq!(
            errors(&json!({"url": {"$unknown": "a step"}})),
            Vec::<String>::new()
        );
    }
}
