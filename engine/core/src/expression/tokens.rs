//! What is checked in the tokens, before the parser sees them.
//!
//! MiniJinja reads more than this language has (`True`, `0x10`, `"a" "b"`), calls mistakes from other languages just
//! 'unexpected', and recurses without a limit on `not not …`. All that is met here, with what to write instead.

use std::ops::Range;

use minijinja::machinery::{Span, Token, tokenize};

use super::SyntaxError;

/// The longest text of an expression.
const LONGEST: usize = 64 << 10;
/// The most tokens of an expression: a chain of as many operators still fits a small stack.
const MOST_TOKENS: usize = 2_000;
/// The most `not` or `-` in a row.
const MOST_PREFIXES: usize = 8;

const QUOTES: &str = "a text is quoted with `\"` or `'`";

/// What the token before was, as far as the next one depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Start,
    Word,
    Keyword,
    Text,
    Dot,
    Pipe,
    Less,
    Equal,
    Closing,
    /// After `(` or `,` in a call: where an argument may be named.
    Argument,
    ArgumentName,
    Other,
}

/// Checks that `text` has nothing but tokens of this language.
pub(super) fn check(text: &str) -> Result<(), SyntaxError> {
    check_outside(text)?;
    let mut before = Before::Start;
    let mut end = 0;
    let mut calls = Vec::new();
    let mut prefixes = 0;
    for (count, token) in tokenize(text, true, Default::default()).enumerate() {
        let (token, span) = token.map_err(|error| unreadable(text, &error, end))?;
        let range = range(span, text);
        if count == MOST_TOKENS {
            return Err(SyntaxError::new("the expression is too long", range)
                .hint("put parts of it under a name in `vars`"));
        }
        prefixes = match token {
            Token::Minus | Token::Ident("not") => prefixes + 1,
            _ => 0,
        };
        if prefixes > MOST_PREFIXES {
            return Err(SyntaxError::new("too many `not` or `-` in a row", range));
        }
        end = range.end;
        before = step(&token, before, &mut calls, text, range)?;
    }
    Ok(())
}

/// Returns the bytes of `text` that `span` means, on character boundaries.
pub(super) fn range(span: Span, text: &str) -> Range<usize> {
    clamped(span.start_offset as usize..span.end_offset as usize, text)
}

/// Returns `range` cut to `text`, on character boundaries.
pub(super) fn clamped(range: Range<usize>, text: &str) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

fn check_outside(text: &str) -> Result<(), SyntaxError> {
    let all = 0..text.len();
    if text.len() > LONGEST {
        return Err(SyntaxError::new("the expression is too long", all));
    }
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(SyntaxError::new("the expression is empty", all));
    }
    if trimmed.starts_with("{{") {
        return Err(
            SyntaxError::new("an expression is written without `{{ }}`", all)
                .hint("`{{ }}` is for texts; here the whole value is an expression"),
        );
    }
    Ok(())
}

/// Checks one token after the one `before`, and says what it is for the next.
fn step(
    token: &Token<'_>,
    before: Before,
    calls: &mut Vec<bool>,
    text: &str,
    range: Range<usize>,
) -> Result<Before, SyntaxError> {
    let wrong = |message: &str, hint: &str| {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        Err(SyntaxError {
            message: message.to_owned(),
            range: range.clone(),
            hint,
        })
    };
    Ok(match token {
        Token::Ident(name) if before != Before::Dot => {
            word(name, &range)?;
            match before {
                Before::Argument if !is_keyword(name) => Before::ArgumentName,
                _ if is_keyword(name) => Before::Keyword,
                _ => Before::Word,
            }
        }
        Token::Ident(_) => Before::Word,
        Token::Str(_) | Token::String(_) => {
            if before == Before::Text {
                return wrong("two texts stand side by side", "`~` joins texts");
            }
            escapes(&text[range.clone()], range.start)?;
            Before::Text
        }
        Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
            number(&text[range.clone()], before, &range)?;
            Before::Other
        }
        Token::Assign if before == Before::ArgumentName => Before::Other,
        Token::Assign if before == Before::Equal => {
            return wrong("`===` is no operator here", "write `==`");
        }
        Token::Assign => {
            return wrong("`=` sets nothing in an expression", "`==` compares");
        }
        Token::Pow => {
            return wrong(
                "`**` is not in this language",
                "the operators are `+ - * / // % ~`",
            );
        }
        Token::Pipe if before == Before::Pipe => {
            return wrong("`||` is not in this language", "write `or`");
        }
        Token::Gt if before == Before::Less => {
            return wrong("`<>` is not in this language", "write `!=`");
        }
        Token::VariableEnd => {
            return wrong("an expression is written without `{{ }}`", "");
        }
        Token::ParenOpen => {
            let call = matches!(
                before,
                Before::Word | Before::ArgumentName | Before::Closing | Before::Text
            );
            calls.push(call);
            if call {
                Before::Argument
            } else {
                Before::Other
            }
        }
        Token::BracketOpen | Token::BraceOpen => {
            calls.push(false);
            Before::Other
        }
        Token::ParenClose | Token::BracketClose | Token::BraceClose => {
            calls.pop();
            Before::Closing
        }
        Token::Comma if calls.last() == Some(&true) => Before::Argument,
        Token::Dot => Before::Dot,
        Token::Pipe => Before::Pipe,
        Token::Lt => Before::Less,
        Token::Eq => Before::Equal,
        _ => Before::Other,
    })
}

/// Returns whether `name` is a word of the language that names nothing.
pub(super) fn is_keyword(name: &str) -> bool {
    matches!(name, "and" | "or" | "not" | "in" | "is" | "if" | "else")
}

fn word(name: &str, range: &Range<usize>) -> Result<(), SyntaxError> {
    let spelling = match name {
        "True" | "TRUE" => "true",
        "False" | "FALSE" => "false",
        "none" | "None" | "nil" | "Null" | "NULL" => "null",
        "AND" | "And" => "and",
        "OR" | "Or" => "or",
        "NOT" | "Not" => "not",
        "loop" => {
            return Err(
                SyntaxError::new("`loop` is not in this language", range.clone())
                    .hint("inside a loop there are `item` and `index`"),
            );
        }
        _ => return Ok(()),
    };
    Err(
        SyntaxError::new(format!("`{name}` is not in this language"), range.clone())
            .hint(format!("write `{spelling}`")),
    )
}

/// Refuses the escapes that mean a character nobody wants in a regular expression.
fn escapes(quoted: &str, start: usize) -> Result<(), SyntaxError> {
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        if character != '\\' {
            continue;
        }
        if let Some((_, escaped @ ('b' | 'f' | '0'..='7'))) = characters.next() {
            let range = start + at..start + at + 2;
            return Err(SyntaxError::new(
                format!("`\\{escaped}` in a text is a control character"),
                range,
            )
            .hint(format!("for a regular expression write `\\\\{escaped}`")));
        }
    }
    Ok(())
}

fn number(written: &str, before: Before, range: &Range<usize>) -> Result<(), SyntaxError> {
    let wrong =
        |message: String, hint: &str| Err(SyntaxError::new(message, range.clone()).hint(hint));
    if before == Before::Dot {
        return wrong(
            format!("`.{written}` selects nothing"),
            &format!("an item is selected with `[{written}]`"),
        );
    }
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let radix = matches!(
        written.as_bytes().get(1),
        Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')
    );
    if radix || written.contains('_') {
        return wrong(
            format!("`{written}` is no number here"),
            "numbers are written with digits, a point and an exponent",
        );
    }
    if digits > 1 && written.starts_with('0') {
        return wrong(
            format!("`{written}` begins with a zero"),
            "a number is written without it; a file mode is text: `\"0640\"`",
        );
    }
    if written.ends_with('.') {
        return wrong(
            format!("`{written}` ends with a point"),
            "write a digit behind it, or leave it out",
        );
    }
    Ok(())
}

/// Turns an error of the tokenizer, after the token that ended at `end`, into one of ours.
fn unreadable(text: &str, error: &minijinja::Error, end: usize) -> SyntaxError {
    let range = clamped(error.range().unwrap_or(end..text.len()), text);
    let detail = error.detail().unwrap_or("");
    if detail == "unexpected end of string" {
        let start = text[end..].find(['"', '\'']).map_or(end, |at| end + at);
        return SyntaxError::new("a text is not closed", start..text.len()).hint(QUOTES);
    }
    if detail.starts_with("unexpected character") {
        return character(text, range);
    }
    if error.kind() == minijinja::ErrorKind::BadEscape {
        return SyntaxError::new("an escape in a text can't be read", range)
            .hint("a backslash is written `\\\\`");
    }
    SyntaxError::new(detail.to_owned(), range)
}

fn character(text: &str, range: Range<usize>) -> SyntaxError {
    let found = text[range.start..].chars().next().unwrap_or(' ');
    let range = clamped(range.start..range.start + found.len_utf8(), text);
    let rest = &text[range.start..];
    let (what, hint) = match found {
        '&' if rest.starts_with("&&") => ("&&".to_owned(), "write `and`"),
        '!' => ("!".to_owned(), "write `not`"),
        '?' => ("?".to_owned(), "write `a if condition else b`"),
        '$' => ("$".to_owned(), "a name is written without `$`"),
        '`' | '“' | '”' | '‘' | '’' | '„' => (found.to_string(), QUOTES),
        other => (other.to_string(), ""),
    };
    SyntaxError {
        message: format!("`{what}` is not in this language"),
        range: range.start..range.start + what.len(),
        hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
    }
}
