//! Whole templates, with blocks: for the files that a playbook writes.
//!
//! Here MiniJinja itself renders, so that `for`, `if`, `set` and macros work as people know them. Values are shown as
//! everywhere else in the language. Documents include nothing, and what they may do is limited.

use std::{collections::BTreeMap, io, ops::Range};

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
    value::{Value as Document, ValueKind},
};

use super::{EvalError, Reason, bounds::Fuel, problem::Problem, tokens};
use crate::value::Value;

/// The instructions that one rendering may take.
const FUEL: u64 = 10_000_000;
/// The most bytes that it may write.
const MOST_OUTPUT: usize = 64 << 20;
/// The most tokens in one `{{ }}` or `{% %}`; and the most `elif`, each of which nests the next.
const MOST_TOKENS: usize = 1_000;
const MOST_BRANCHES: usize = 200;
/// The most `not` or `-` in a row.
const MOST_PREFIXES: usize = 8;

/// Renders a whole template with `values`, a map, as its names.
///
/// A name that is not there, and a value that is absent, is an error, with the place in `template`. Sizes, durations and
/// times are their texts; a list, a map or null can't be written without a filter.
pub fn render_document(template: &str, values: &Value) -> Result<String, EvalError> {
    let everything = 0..template.len();
    check(template)?;
    let fuel = Fuel::new();
    let context = document(values, &fuel, 0).map_err(|problem| problem.at(everything.clone()))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_syntax(syntax());
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(100);
    environment.set_debug(true);
    environment.set_formatter(|output, _, value| write(output, value));
    let mut written = Limited::default();
    environment
        .template_from_str(template)
        .and_then(|parsed| parsed.render_captured_to(context, &mut written).map(drop))
        .map_err(|error| explained(&error, template, values))?;
    String::from_utf8(written.bytes)
        .map_err(|_| Problem::wrong("write text: the document is not UTF-8").at(everything))
}

/// The file ends as the template does, and a line with nothing but a block leaves none.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the delimiters are the usual ones")
}

/// Checks what the parser would recurse on without a limit.
fn check(template: &str) -> Result<(), EvalError> {
    let (mut inside, mut prefixes, mut branches) = (0, 0, 0);
    for token in tokenize(template, false, Default::default()) {
        // The parser says more about an error than its tokens do.
        let Ok((token, span)) = token else {
            return Ok(());
        };
        match token {
            Token::VariableStart | Token::BlockStart => inside = 0,
            Token::Minus | Token::Ident("not") => prefixes += 1,
            Token::Ident("elif") => branches += 1,
            _ => prefixes = 0,
        }
        inside += 1;
        if inside > MOST_TOKENS || prefixes > MOST_PREFIXES || branches > MOST_BRANCHES {
            let range = tokens::range(span, template);
            return Err(
                Problem::wrong("read the template: it is nested too deeply here").at(range),
            );
        }
    }
    Ok(())
}

/// Returns `value` as MiniJinja has it. What is absent is left out, so that it is undefined there.
fn document(value: &Value, fuel: &Fuel, depth: usize) -> Result<Document, Problem> {
    fuel.depth(depth)?;
    fuel.spend(1)?;
    Ok(match value {
        Value::Null => Document::from(()),
        Value::Bool(flag) => Document::from(*flag),
        Value::Int(number) => Document::from(*number),
        Value::Number(number) => Document::from(*number),
        Value::List(items) => {
            let items: Result<Vec<Document>, Problem> = items
                .iter()
                .map(|item| match item {
                    Value::Absent(_) => Ok(Document::UNDEFINED),
                    item => document(item, fuel, depth + 1),
                })
                .collect();
            Document::from(items?)
        }
        Value::Map(fields) => {
            let mut map = BTreeMap::new();
            for (name, field) in fields.iter() {
                if !matches!(field, Value::Absent(_)) {
                    map.insert(name.clone(), document(field, fuel, depth + 1)?);
                }
            }
            Document::from(map)
        }
        Value::Secret(_) => {
            return Err(Problem::wrong(
                "render a document with a secret that is not resolved",
            ));
        }
        Value::Unknown(after) => {
            return Err(Problem::wrong(format!("render a document before {after}")));
        }
        Value::Absent(why) => return Err(Problem::absent(why)),
        scalar => Document::from(
            scalar
                .to_text()
                .map_err(|error| Problem::wrong(error.to_string()))?,
        ),
    })
}

/// Writes one value into the document as the language shows it, not as Python does.
fn write(output: &mut minijinja::Output<'_>, value: &Document) -> Result<(), Error> {
    let refuse = |what: &str, hint: &str| {
        Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{what} can't be put into a text ({hint})"),
        ))
    };
    match value.kind() {
        ValueKind::Bool => Ok(output.write_str(if value.is_true() { "true" } else { "false" })?),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => Ok(output.write_str(&number.to_string())?),
            Err(_) => Ok(output.write_str(&value.to_string())?),
        },
        ValueKind::None => refuse("null", "`| tojson` writes it"),
        ValueKind::Seq | ValueKind::Iterable => {
            refuse("a list", "`| join(\", \")` or `| tojson` writes it")
        }
        ValueKind::Map => refuse("a map", "`| tojson` writes it"),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        _ => Ok(output.write_str(&value.to_string())?),
    }
}

/// Turns an error of the rendering into ours: for what is absent, with its reason.
fn explained(error: &Error, template: &str, values: &Value) -> EvalError {
    let range = tokens::clamped(error.range().unwrap_or(0..template.len()), template);
    if error.kind() == ErrorKind::UndefinedError
        && let Some(why) = absent_at(&template[range.clone()], values)
    {
        return Problem::absent(&why).at(range);
    }
    let reason = match error.kind() {
        ErrorKind::UndefinedError => Reason::Missing,
        _ => Reason::Wrong,
    };
    let message = match error.detail() {
        _ if error.kind() == ErrorKind::OutOfFuel => {
            "render the document: it does too much".to_owned()
        }
        Some(detail) => format!("render the document: {detail}"),
        None => format!("render the document: {}", error.kind()),
    };
    placed(message, range, reason)
}

fn placed(message: String, range: Range<usize>, reason: Reason) -> EvalError {
    EvalError {
        message,
        range,
        hint: None,
        reason,
    }
}

/// Returns why the value that `written`, an expression or a tag around one, names is absent.
fn absent_at(written: &str, values: &Value) -> Option<String> {
    let mut value = values;
    let path = written.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in path.split('.') {
        value = value.get(name.trim())?;
        if let Value::Absent(why) = value {
            return Some(why.to_string());
        }
    }
    None
}

/// What was written, up to a limit.
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_OUTPUT {
            return Err(io::Error::other("the document is too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Value {
        Value::from_stored(&json!({
            "name": "kv", "on": true, "nothing": null, "n": 5, "half": 2.0, "size": {"$bytes": 1024},
            "ports": [80, 443], "found": {"rows": {"$absent": "step `found` was skipped"}, "ok": false},
        }))
    }

    #[test]
    fn blocks_work_and_values_look_as_everywhere() {
        for (template, expected) in [
            ("port={{ n }}\n", "port=5\n"),
            (
                "{% for port in ports %}\nlisten {{ port }};\n{% endfor %}\nend\n",
                "listen 80;\nlisten 443;\nend\n",
            ),
            (
                "{{ on }} {{ half }} {{ size }} <{{ name }}>",
                "true 2 1KiB <kv>",
            ),
            ("{% if found.rows is defined %}x{% else %}y{% endif %}", "y"),
            ("{{ found.rows | default(0) }}", "0"),
            (
                "{{ ports | join(',') }} {{ nothing | tojson }}",
                "80,443 null",
            ),
            ("{# comment #}{{ '{{' }}", "{{"),
        ] {
            assert_eq!(
                render_document(template, &values()).as_deref(),
                Ok(expected),
                "{template}"
            );
        }
    }

    #[test]
    fn nothing_unresolved_passes() {
        for (template, message, place) in [
            (
                "a {{ nam }}",
                "render the document: `nam` is undefined",
                "nam",
            ),
            (
                "a {{ found.rows }}",
                "step `found` was skipped",
                "found.rows",
            ),
            (
                "a {{ nothing }}",
                "render the document: null can't be put into a text (`| tojson` writes it)",
                "nothing",
            ),
            (
                "a {{ ports }}",
                "render the document: a list can't be put into a text (`| join(\", \")` or `| tojson` writes it)",
                "ports",
            ),
            (
                "a {% for %}",
                "render the document: unexpected end of block, expected in",
                "%}",
            ),
            (
                "a {% include 'b' %}",
                "render the document: tried to include non-existing template 'b'",
                "include",
            ),
            (
                "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                "render the document: it does too much",
                "",
            ),
        ] {
            let error = render_document(template, &values()).expect_err(template);
            assert!(
                error.message.starts_with(message),
                "{template}: {}",
                error.message
            );
            if !place.is_empty() {
                assert!(
                    template[error.range.clone()].contains(place),
                    "{template}: {:?}",
                    &template[error.range]
                );
            }
        }
        let secret = Value::from_stored(&json!({"token": {"$secret": [{"handle": "t"}]}}));
        assert!(render_document("x", &secret).is_err());
    }

    #[test]
    fn deep_templates_do_not_overflow_the_stack() {
        for template in [
            format!("{{{{ {}x }}}}", "not ".repeat(10_000)),
            format!("{{{{ x{} }}}}", " + x".repeat(10_000)),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(10_000)),
            "{% if on %}".repeat(10_000),
        ] {
            let small = std::thread::Builder::new().stack_size(2 << 20);
            let thread = small.spawn(move || render_document(&template, &values()).is_err());
            assert!(thread.expect("a thread").join().expect("no overflow"));
        }
    }
}
