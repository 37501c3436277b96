//! Writes arguments as a person would type them into Bash.

/// Returns `argv` as one line that Bash reads back as the same arguments.
pub(super) fn line(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./-_*".contains(c);
    if word.chars().any(char::is_control) {
        return ansi(word);
    }
    // A mask (`***`) and a glob stay readable only without quotes, but a glob alone would be expanded.
    if !word.is_empty() && word.chars().all(plain) && (!word.contains('*') || word == "***") {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns `word` in the form that keeps line ends and other control characters on one line.
fn ansi(word: &str) -> String {
    let mut text = String::from("$'");
    for c in word.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_reads_back_what_was_quoted() {
        let words = [
            "printf",
            "%s|",
            "a b",
            "it's",
            "",
            "$HOME",
            "*",
            "x\ny\t'\\",
            "tür",
            "a;b",
            "\u{1b}[0m",
        ];
        let line = line(&words.map(str::to_owned));
        assert!(!line.contains('\n'), "{line}");
        let output = std::process::Command::new("bash")
            .args(["-c", &line])
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("bash");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "a b|it's||$HOME|*|x\ny\t'\\|tür|a;b|\u{1b}[0m|"
        );
    }
}
