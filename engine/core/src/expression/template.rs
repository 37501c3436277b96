//! Texts with `{{ }}` in them.
//!
//! Nothing but expressions: no blocks, no comments, no white space control. What is inserted is not read again.

use std::{ops::Range, sync::Arc};

use minijinja::machinery::{Token, tokenize};

use super::{
    EvalError, Expression, Names, Reference, SyntaxError,
    bounds::Fuel,
    operators::Joined,
    tokens,
    url::{self, Component},
};
use crate::value::Value;

/// A text with expressions in it, read once and rendered as often as needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: Arc<str>,
    pieces: Arc<[Piece]>,
    /// Of a URL: the part of it that each expression stands in.
    components: Arc<[Component]>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Expression(Expression, Range<usize>),
}

impl Template {
    /// Reads `text`; the first mistake in it is the error, with its place in the whole text.
    pub fn parse(text: &str) -> Result<Template, SyntaxError> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("{{") {
            let start = at + found;
            literal(text, at..start, &mut pieces)?;
            let (inner, end) = expression_range(text, start)?;
            let expression = Expression::parse_at(&text[inner.clone()], inner.start)?;
            match expression.as_constant() {
                // `{{ '{{' }}` writes what could not be written else.
                Some(Value::Text(constant)) => pieces.push(Piece::Text(constant.to_string())),
                _ => pieces.push(Piece::Expression(expression, start..end)),
            }
            at = end;
        }
        literal(text, at..text.len(), &mut pieces)?;
        Ok(Template {
            text: text.into(),
            pieces: pieces.into(),
            components: Arc::default(),
        })
    }

    /// Returns the same template as that of a URL: what is inserted beside other text is percent-encoded, so that it
    /// stays in its part of the URL. At the very begin stands a URL itself, as it is.
    #[must_use]
    pub fn into_url(self) -> Template {
        let pieces: Vec<Option<&str>> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Expression(..) => None,
            })
            .collect();
        Template {
            components: url::components(&pieces).into(),
            ..self
        }
    }

    /// Returns the text as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether it has no expression in it, and always renders to the same text.
    pub fn is_literal(&self) -> bool {
        self.expressions().next().is_none()
    }

    /// Returns the text it renders to if it has no expression in it.
    pub fn as_literal(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Expression(..) => None,
            })
            .collect()
    }

    /// Returns its expressions, in order; their ranges are those in the whole text.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Expression(expression, _) => Some(expression),
            Piece::Text(_) => None,
        })
    }

    /// Returns the expression if the whole text is one `{{ }}`: then its value keeps its kind.
    pub fn as_expression(&self) -> Option<&Expression> {
        self.whole().map(|(expression, _)| expression)
    }

    /// Returns every name in its expressions; their ranges are those in the whole text.
    pub fn references(&self) -> Vec<&Reference> {
        self.expressions()
            .flat_map(Expression::references)
            .collect()
    }

    /// Returns what the text comes to.
    ///
    /// One whole `{{ }}` keeps its value. Else it is a text, a secret if anything in it is, and unknown if anything in it
    /// is; a list, a map and null can't be put into a text.
    pub fn render(&self, names: &dyn Names) -> Result<Value, EvalError> {
        if let Some((expression, _)) = self.whole() {
            return expression.eval(names);
        }
        let fuel = Fuel::new();
        let mut joined = Joined::default();
        let mut unknown = None;
        let mut components = self.components.iter();
        for piece in self.pieces.iter() {
            match piece {
                Piece::Text(text) => joined
                    .push_str(text, &fuel)
                    .map_err(|problem| problem.at(0..self.text.len()))?,
                Piece::Expression(expression, range) => {
                    let component = components.next().copied().unwrap_or(Component::Base);
                    match expression.eval(names)? {
                        value @ Value::Unknown(_) => unknown = unknown.or(Some(value)),
                        value => url::encoded(value, component)
                            .and_then(|value| joined.push(&value, &fuel))
                            .map_err(|problem| problem.at(range.clone()))?,
                    }
                }
            }
        }
        Ok(unknown.unwrap_or_else(|| joined.finish()))
    }

    fn whole(&self) -> Option<(&Expression, &Range<usize>)> {
        let mut whole = None;
        for piece in self.pieces.iter() {
            match piece {
                Piece::Text(text) if text.trim().is_empty() => {}
                Piece::Text(_) => return None,
                Piece::Expression(expression, range) if whole.is_none() => {
                    whole = Some((expression, range));
                }
                Piece::Expression(..) => return None,
            }
        }
        whole
    }
}

/// Takes the text at `range` as it is; blocks and comments of whole templates are refused.
fn literal(text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) -> Result<(), SyntaxError> {
    let part = &text[range.clone()];
    for (mark, what) in [("{%", "blocks"), ("{#", "comments")] {
        if let Some(found) = part.find(mark) {
            let at = range.start + found;
            return Err(SyntaxError::new(format!("`{mark}`: a text here has no {what}"), at..at + 2).hint(
                format!("only `{{{{ }}}}` is read here, and `template` of `file.write` has blocks; to write the two characters: `{{{{ '{mark}' }}}}`"),
            ));
        }
    }
    if !part.is_empty() {
        pieces.push(Piece::Text(part.to_owned()));
    }
    Ok(())
}

/// Returns where the expression of the `{{` at `start` is, and where its `}}` ends.
fn expression_range(text: &str, start: usize) -> Result<(Range<usize>, usize), SyntaxError> {
    let inside = start + 2;
    let control = |at: usize| {
        Err(
            SyntaxError::new("there is no white space control here", at..at + 1)
                .hint("put a space between the braces and a sign: `{{ -x }}`"),
        )
    };
    if text[inside..].starts_with(['-', '+']) {
        return control(inside);
    }
    let unclosed = |end: usize| {
        SyntaxError::new("`{{` is not closed", start..end).hint("to write two braces: `{{ '{{' }}`")
    };
    for token in tokenize(&text[inside..], true, Default::default()) {
        match token {
            Ok((Token::VariableEnd, span)) => {
                let range = tokens::range(span, &text[inside..]);
                let (at, end) = (inside + range.start, inside + range.end);
                if range.len() > 2 {
                    return control(at);
                }
                if text[inside..at].trim().is_empty() {
                    return Err(SyntaxError::new(
                        "there is nothing between `{{` and `}}`",
                        start..end,
                    ));
                }
                return Ok((inside..at, end));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // No end that the tokenizer sees: what stands before the next `}}` tells what is wrong.
    let Some(found) = text[inside..].find("}}") else {
        return Err(unclosed(text.len()));
    };
    match Expression::parse_at(&text[inside..inside + found], inside) {
        Err(error) => Err(error),
        Ok(_) => Err(unclosed(inside + found + 2)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::Fields;

    fn names() -> Fields {
        let names = Value::from_stored(&json!({
            "name": "kv", "braces": "{{ name }}", "n": 5, "rows": [1], "nothing": null,
            "size": {"$bytes": 1024}, "token": {"$secret": [{"handle": "t"}]}, "later": {"$unknown": "step `a`"},
            "gone": {"$absent": "step `b` was skipped"},
        }));
        match names {
            Value::Map(fields) => (*fields).clone(),
            _ => unreachable!("the JSON is an object"),
        }
    }

    #[test]
    fn texts_are_filled_and_whole_expressions_keep_their_kind() {
        for (text, expected) in [
            ("", "\"\""),
            ("plain { } }} %}", "\"plain { } }} %}\""),
            ("a {{ name }}-{{ n }} b", "\"a kv-5 b\""),
            ("{{ name }}{{ name }}", "\"kvkv\""),
            ("{{ size }} left", "\"1KiB left\""),
            ("{{ rows }}", "[1]"),
            (" {{ rows }}\n", "[1]"),
            ("{{ size }}", "1KiB"),
            ("{{ nothing }}", "null"),
            ("{{ braces }}!", "\"{{ name }}!\""),
            ("{{ '{{' }} name }}", "\"{{ name }}\""),
            ("{{ '}}' }}", "\"}}\""),
            ("{{ {\"a\": {\"b\": 1}}.a.b }}", "1"),
            ("{{ \"}}\" ~ name }}", "\"}}kv\""),
            ("{{\n  name\n}}", "\"kv\""),
            ("für {{ name }}", "\"für kv\""),
            ("Bearer {{ token }}", "Bearer ***"),
            ("{{ token }}", "***"),
            ("{{ later }}", "known after step `a`"),
            ("{{ name }} {{ later }} {{ token }}", "known after step `a`"),
            ("{{ gone | default('none') }} {{ name }}", "\"none kv\""),
        ] {
            let template = Template::parse(text).expect(text);
            let value = template.render(&names()).expect(text);
            assert_eq!(value.display(), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_keeps_its_handle_among_the_text() {
        let template = Template::parse("a {{ name }} {{ token }}!").expect("a template");
        let Ok(Value::Secret(secret)) = template.render(&names()) else {
            panic!("a secret");
        };
        let text = secret.reveal(&|handle| (handle == "t").then(|| "s3cret".to_owned()));
        assert_eq!(text.as_deref(), Ok("a kv s3cret!"));
    }

    #[test]
    fn errors_have_their_place_in_the_whole_text() {
        for (text, message, place) in [
            ("ä {{ nam }}!", "find the name `nam`", "nam"),
            (
                "ä {{ name }} {{ n + name }}",
                "calculate integer 5 + text \"kv\"",
                "n + name",
            ),
            ("ä {{ rows }}", "put a list into a text", "{{ rows }}"),
            ("ä {{ nothing }}", "put null into a text", "{{ nothing }}"),
            ("ä {{ gone.x }}", "step `b` was skipped", "gone"),
        ] {
            let template = Template::parse(text).expect(text);
            let error = template.render(&names()).expect_err(text);
            assert_eq!(
                (error.message.as_str(), &text[error.range]),
                (message, place)
            );
        }
        for (text, message, place) in [
            ("ä {{ name", "`{{` is not closed", "{{ name"),
            ("ä {{ }}", "there is nothing between `{{` and `}}`", "{{ }}"),
            (
                "ä {{ a b }} {{",
                "unexpected `b` after the end of the expression",
                "b",
            ),
            ("ä {{ a && b }}", "`&&` is not in this language", "&&"),
            ("ä {{ (a }}", "unexpected end of input, expected `)`", "a"),
            ("ä {{ \"a }}", "a text is not closed", "\"a "),
            ("ä {{- name }}", "there is no white space control here", "-"),
            ("ä {{ name -}}", "there is no white space control here", "-"),
            ("ä {% if x %}", "`{%`: a text here has no blocks", "{%"),
            ("ä ${#x}", "`{#`: a text here has no comments", "{#"),
            ("ä {{ name | lowr }}", "there is no filter `lowr`", "lowr"),
            ("{{{ name }}}", "unexpected `}`, expected `:`", "}"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert_eq!(
                (error.message.as_str(), &text[error.range]),
                (message, place),
                "{text}"
            );
        }
    }

    #[test]
    fn references_and_literals() {
        let text = "a {{ x.y }} {{ z | default(1) }}";
        let template = Template::parse(text).expect("a template");
        let places: Vec<&str> = template
            .references()
            .iter()
            .map(|reference| &text[reference.range.clone()])
            .collect();
        assert_eq!(places, ["x.y", "z"]);
        assert!(!template.is_literal() && template.as_expression().is_none());
        let literal = Template::parse("a {{ '{{' }} b").expect("a template");
        assert_eq!(literal.as_literal().as_deref(), Some("a {{ b"));
        assert!(literal.references().is_empty());
        assert!(
            Template::parse(" {{ x }} ")
                .expect("a template")
                .as_expression()
                .is_some()
        );
    }
}
