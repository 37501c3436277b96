//! A question as people see it, on whichever terminal: what is asked, what it is about, who has agreed so far.

use runwright_core::{
    event::{Ask, Question, Reply},
    units::Time,
};

/// A question with what is known about it.
pub(crate) struct Shown<'a> {
    pub(crate) step: &'a str,
    pub(crate) title: Option<&'a str>,
    pub(crate) question: &'a Question,
    pub(crate) approvals: &'a [String],
    /// Since when it is open, where that is not just now.
    pub(crate) since: Option<Time>,
}

impl Shown<'_> {
    /// Returns the lines that stand above the prompt.
    pub(crate) fn text(&self) -> String {
        let question = self.question;
        let mut text = match self.title {
            Some(title) => format!("\n{} [{}]\n", clean(title), clean(self.step)),
            None if self.step.is_empty() => "\n".to_owned(),
            None => format!("\n[{}]\n", clean(self.step)),
        };
        let mut line = |name: &str, value: &str| {
            let value = clean(value);
            if !value.is_empty() {
                text.push_str(&format!("  {name:<9}{value}\n"));
            }
        };
        if let Some(action) = &question.action {
            line("does:", &action.summary);
        }
        line("change:", question.change.as_deref().unwrap_or_default());
        line("undo:", question.undo.as_deref().unwrap_or_default());
        if let Some(deadline) = question.deadline {
            line("deadline:", &format!("{deadline}; after that it is a no"));
        }
        if let Some(needed) = needed(question) {
            let so_far = match self.approvals {
                [] => "nobody has yet".to_owned(),
                people => format!("{} of them so far: {}", people.len(), people.join(", ")),
            };
            line("agree:", &format!("{needed}; {so_far}"));
        }
        if let Some(since) = self.since {
            line("since:", &since.to_string());
        }
        text
    }

    /// Returns who must answer instead of `user`, where that one can't: the starter of a run of which another one must
    /// agree, or whoever has agreed already.
    pub(crate) fn not_for(&self, user: &str, starter: &str) -> Option<String> {
        let question = self.question;
        if !matches!(question.ask, Ask::Confirm | Ask::Phrase(_)) {
            return None;
        }
        let open = question.approvers as usize;
        if self.approvals.iter().any(|person| person == user) {
            return Some(format!(
                "{user} has agreed already: {} of {open} have, and somebody else must",
                self.approvals.len()
            ));
        }
        let others = self.approvals.iter().any(|person| person != starter);
        let is_last = self.approvals.len() + 1 >= open;
        if question.not_starter && user == starter && is_last && !others {
            return Some(format!(
                "{starter} has started the run, and somebody else must agree"
            ));
        }
        None
    }
}

/// Returns how a question of `run` is answered: the command, and what else can be said.
pub(crate) fn how(run: &str, step: &str, ask: &Ask) -> String {
    let step = quoted(step);
    match ask {
        Ask::Confirm => format!("`runwright approve {run} {step}`, or `deny`"),
        Ask::Phrase(phrase) => format!(
            "`runwright approve {run} {step} --phrase {}`, or `deny`",
            quoted(phrase)
        ),
        Ask::Inputs(names) => {
            let given = names.iter().map(|name| format!(" --set {name}=VALUE"));
            let given = given.collect::<String>();
            format!("`runwright answer {run} {step}{given}`")
        }
        Ask::Manual => format!("`runwright answer {run} {step} done`, or `failed`, `skip`"),
        Ask::OnFailure(_) => {
            format!("`runwright answer {run} {step} retry`, or `skip`, `roll-back`, `stop`")
        }
        Ask::InDoubt => format!("`runwright answer {run} {step} done`, or `redo`, `undo`"),
        Ask::Interrupted | Ask::Until(_) => format!("`runwright resume {run}`"),
    }
}

/// Returns an answer in words.
pub(crate) fn word(reply: &Reply) -> String {
    match reply {
        Reply::Yes => "yes".to_owned(),
        Reply::No { .. } => "no".to_owned(),
        Reply::Values(values) => {
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            format!("values for {}", names.join(", "))
        }
        Reply::Done { .. } => "done".to_owned(),
        Reply::Failed { .. } => "failed".to_owned(),
        Reply::Skip { .. } => "skip".to_owned(),
        Reply::Retry => "try again".to_owned(),
        Reply::RollBack => "roll back".to_owned(),
        Reply::Stop => "stop".to_owned(),
        Reply::GoOn => "go on".to_owned(),
    }
}

fn needed(question: &Question) -> Option<String> {
    match (question.approvers, question.not_starter) {
        (0 | 1, false) => None,
        (0 | 1, true) => Some("somebody who has not started the run must".to_owned()),
        (count, false) => Some(format!("{count} different people must")),
        (count, true) => Some(format!(
            "{count} different people must, one of whom has not started the run"
        )),
    }
}

/// Returns `text` without control characters, which could move the cursor or hide a line.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}

/// Returns `word` as a shell takes it for one.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./%:@=".contains(char);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(question: &'a Question, approvals: &'a [String]) -> Shown<'a> {
        Shown {
            step: "swap",
            title: None,
            question,
            approvals,
            since: None,
        }
    }

    #[test]
    fn a_starter_can_be_one_of_two_but_not_the_only_one() {
        let question = |approvers| Question {
            approvers,
            not_starter: true,
            ..Question::new(Ask::Confirm, "Really?")
        };
        let one = question(1);
        assert!(shown(&one, &[]).not_for("ann", "ann").is_some());
        assert!(shown(&one, &[]).not_for("bob", "ann").is_none());
        let two = question(2);
        let (ann, bob) = (["ann".to_owned()], ["bob".to_owned()]);
        assert!(shown(&two, &[]).not_for("ann", "ann").is_none());
        assert!(shown(&two, &bob).not_for("ann", "ann").is_none());
        assert!(shown(&two, &ann).not_for("ann", "ann").is_some());
        assert!(shown(&two, &ann).not_for("bob", "ann").is_none());
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let question = Question {
            change: Some("a\x1b[2Jb".to_owned()),
            ..Question::new(Ask::Confirm, "Really?")
        };
        let text = shown(&question, &[]).text();
        assert!(text.contains("a[2Jb") && !text.contains('\x1b'), "{text}");
    }
}
