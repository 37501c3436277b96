//! URLs with parts that a playbook fills in: what is inserted can't become another part of the URL.

use super::problem::Problem;
use crate::value::{Piece, Secret, Value};

/// The part of a URL that an inserted value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// The begin, scheme and all: a URL itself, taken as it is.
    Base,
    /// User or password: everything but letters, digits and `-._~` is encoded.
    User,
    /// The host, perhaps with its port: `:`, `[` and `]` stay too.
    Host,
    /// One part of the path, or more than one in a query: as for a user.
    Path,
    /// A part of the query or the fragment: as for a user.
    Query,
}

/// Returns the components that the inserted values stand in; `None` in `pieces` is one, the others are text.
pub(super) fn components(pieces: &[Option<&str>]) -> Vec<Component> {
    let mut components = Vec::new();
    let mut here = Component::Base;
    for (index, piece) in pieces.iter().enumerate() {
        let Some(text) = piece else {
            components.push(match here {
                Component::Host if is_before_user_end(&pieces[index + 1..]) => Component::User,
                here => here,
            });
            // What follows a whole base is its path, unless only the scheme was inserted.
            if here == Component::Base {
                here = Component::Path;
            }
            continue;
        };
        let is_begin = index == 0 || index == 1 && components == [Component::Base];
        let (authority, rest) = match text.split_once("://") {
            Some((_, rest)) if is_begin => (true, rest),
            _ => (here == Component::Host, *text),
        };
        here = match (authority, here) {
            (true, _) if !rest.contains(['/', '?', '#']) => Component::Host,
            (_, Component::Query) => Component::Query,
            _ if rest.contains(['?', '#']) => Component::Query,
            _ => Component::Path,
        };
    }
    components
}

/// Returns whether an `@` comes before the authority ends.
fn is_before_user_end(rest: &[Option<&str>]) -> bool {
    let ends = rest
        .iter()
        .flatten()
        .find_map(|text| text.chars().find(|c| matches!(c, '@' | '/' | '?' | '#')));
    ends == Some('@')
}

/// Returns `value` as it is inserted into a URL.
pub(super) fn encoded(value: Value, component: Component) -> Result<Value, Problem> {
    if component == Component::Base {
        return Ok(value);
    }
    Ok(match value {
        Value::Text(text) => {
            if component == Component::Path && matches!(&*text, "." | "..") {
                return Err(Problem::wrong(format!(
                    "put `{text}` into the path of a URL: it means another place"
                )));
            }
            Value::text(encode(&text, component))
        }
        Value::Secret(secret) => {
            let pieces = secret.pieces.iter().map(|piece| match piece {
                Piece::Plain(text) => Piece::Plain(encode(text, component)),
                Piece::Handle(handle) | Piece::Encoded(handle) => Piece::Encoded(handle.clone()),
            });
            Value::Secret(Secret {
                pieces: std::sync::Arc::new(pieces.collect()),
            })
        }
        Value::Bytes(_) | Value::Duration(_) | Value::Time(_) => {
            let text = value
                .to_text()
                .map_err(|error| Problem::wrong(error.to_string()))?;
            Value::text(encode(&text, component))
        }
        other => other,
    })
}

fn encode(text: &str, component: Component) -> String {
    let kept: &[u8] = match component {
        Component::Host => b":[]",
        _ => b"",
    };
    crate::value::percent_encode(text, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expression::Template, value::Fields};

    #[track_caller]
    fn rendered(text: &str, value: &str) -> String {
        let template = Template::parse(text).expect("a template").into_url();
        let names = Fields::from([("x".to_owned(), Value::text(value))]);
        match template.render(&names) {
            Ok(value) => value.to_text().expect("a text"),
            Err(error) => error.message,
        }
    }

    #[test]
    fn what_is_inserted_stays_in_its_part_of_the_url() {
        for (text, value, expected) in [
            ("{{ x }}", "http://a/b?c", "http://a/b?c"),
            ("{{ x }}/health", "http://a:1/b", "http://a:1/b/health"),
            ("{{ x }}://a/", "https", "https://a/"),
            ("http://{{ x }}/", "a:80", "http://a:80/"),
            ("http://{{ x }}", "[::1]:80", "http://[::1]:80"),
            (
                "http://{{ x }}/",
                "a/../b@c?d#e",
                "http://a%2F..%2Fb%40c%3Fd%23e/",
            ),
            ("http://{{ x }}:5/", "u:p@h", "http://u:p%40h:5/"),
            ("http://{{ x }}@h/", "u:p@", "http://u%3Ap%40@h/"),
            ("http://u:{{ x }}@h", "p@:/?", "http://u:p%40%3A%2F%3F@h"),
            (
                "http://h/{{ x }}/y",
                "a/b c?é",
                "http://h/a%2Fb%20c%3F%C3%A9/y",
            ),
            (
                "http://h/?q={{ x }}&r",
                "a&b=c#d",
                "http://h/?q=a%26b%3Dc%23d&r",
            ),
            ("http://h/#{{ x }}", "a#/b", "http://h/#a%23%2Fb"),
            (
                "http://h/{{ x }}",
                "..",
                "put `..` into the path of a URL: it means another place",
            ),
        ] {
            assert_eq!(rendered(text, value), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_is_encoded_when_its_text_is_known() {
        let template = Template::parse("http://u:{{ x }}@h/").expect("a template");
        let names = Fields::from([("x".to_owned(), Value::Secret(Secret::handle("t")))]);
        let value = template.into_url().render(&names).expect("a value");
        assert_eq!(Value::from_stored(&value.to_stored()), value);
        let Value::Secret(secret) = value else {
            panic!("a secret");
        };
        let text = secret.reveal(&|_| Some("p@ss/w".to_owned()));
        assert_eq!(text.as_deref(), Ok("http://u:p%40ss%2Fw@h/"));
    }
}
