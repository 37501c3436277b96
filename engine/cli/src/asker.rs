//! Questions to people, on a terminal; and the answers that were given on the command line.

use std::{collections::BTreeMap, sync::PoisonError};

use dialoguer::{Confirm, Input as TextInput, Password, Select, theme::SimpleTheme};
use runwright_core::{
    event::{Ask, Reply},
    kind::BoxFuture,
    plan::{Input, InputType},
    port::{Asked, Asker, Said},
    value::{Fields, Value},
};
use runwright_local::run::SharedReporter;

use crate::settings;

/// Answers from the command line first, then asks on the terminal, where there is one.
pub(crate) struct Terminal {
    /// `--yes`.
    pub(crate) yes: bool,
    /// `--confirm STEP=PHRASE`.
    pub(crate) phrases: BTreeMap<String, String>,
    pub(crate) reporter: SharedReporter,
    pub(crate) user: String,
}

impl Asker for Terminal {
    fn ask(&self, asked: Asked) -> BoxFuture<'static, Option<Said>> {
        let said = |(by, reply)| Said {
            by,
            reply,
            reason: String::new(),
        };
        if let Some(answer) = self.given(&asked) {
            return Box::pin(async move { Some(said(answer)) });
        }
        if !settings::can_ask() {
            return Box::pin(async { None });
        }
        let (reporter, user) = (self.reporter.clone(), self.user.clone());
        Box::pin(async move {
            let answered = tokio::task::spawn_blocking(move || {
                reporter
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pause();
                let reply = on_terminal(&asked);
                // A question that was broken off leaves the cursor hidden.
                drop(dialoguer::console::Term::stderr().show_cursor());
                reporter
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .go_on();
                reply
            });
            let reply = answered.await.ok().flatten()?;
            Some(said((user, reply)))
        })
    }
}

impl Terminal {
    fn given(&self, asked: &Asked) -> Option<(String, Reply)> {
        match &asked.question.ask {
            Ask::Confirm if self.yes => Some(("--yes".to_owned(), Reply::Yes)),
            Ask::Phrase(phrase) => {
                let typed = self.phrases.get(&asked.step)?;
                let reply = match typed == phrase {
                    true => Reply::Yes,
                    false => Reply::No {
                        why: format!(
                            "`--confirm {}={typed}` is not the phrase that the step asks for",
                            asked.step
                        ),
                    },
                };
                Some(("--confirm".to_owned(), reply))
            }
            _ => None,
        }
    }
}

fn on_terminal(asked: &Asked) -> Option<Reply> {
    let mut text = String::from("\n");
    if let Some(title) = &asked.title {
        text.push_str(&format!("{} [{}]\n", clean(title), asked.step));
    }
    if let Some(action) = &asked.question.action {
        text.push_str(&format!("  does:   {}\n", clean(&action.summary)));
    }
    if let Some(change) = asked
        .question
        .change
        .as_ref()
        .filter(|change| !change.is_empty())
    {
        text.push_str(&format!("  change: {}\n", clean(change)));
    }
    if let Some(undo) = &asked.question.undo {
        text.push_str(&format!("  undo:   {}\n", clean(undo)));
    }
    eprint!("{text}");
    let message = clean(&asked.question.message);
    match &asked.question.ask {
        Ask::Confirm => confirm(&message).map(yes_or_no),
        Ask::Phrase(phrase) => {
            eprintln!("{message}");
            let typed: String = TextInput::with_theme(&SimpleTheme)
                .with_prompt(format!("Type `{phrase}` to go on, anything else to refuse"))
                .allow_empty(true)
                .interact_text()
                .ok()?;
            Some(yes_or_no(typed.trim() == phrase))
        }
        Ask::Inputs(_) => {
            let mut values = Fields::new();
            for input in &asked.inputs {
                values.insert(input.name.clone(), value(input).ok()?);
            }
            Some(Reply::Values(values))
        }
        Ask::Manual => {
            eprintln!("{message}");
            let chosen = select("Is it done?", &["done", "failed", "skip"])?;
            let remark: String = TextInput::with_theme(&SimpleTheme)
                .with_prompt("Remark")
                .allow_empty(true)
                .interact_text()
                .ok()?;
            Some(match chosen {
                0 => Reply::Done { remark },
                1 => Reply::Failed { remark },
                _ => Reply::Skip { remark },
            })
        }
        Ask::OnFailure(why) => {
            eprintln!("{}", clean(why));
            let choices = [
                "roll back everything",
                "retry the step",
                "skip the step",
                "stop and keep for resume",
            ];
            Some(match select("What now?", &choices)? {
                0 => Reply::RollBack,
                1 => Reply::Retry,
                2 => Reply::Skip {
                    remark: String::new(),
                },
                _ => Reply::Stop,
            })
        }
        Ask::InDoubt => {
            eprintln!("{message}");
            let choices = [
                "stop and look first",
                "it was done",
                "do it again",
                "undo everything",
            ];
            match select("How did it end?", &choices)? {
                1 => Some(Reply::Done {
                    remark: String::new(),
                }),
                2 => Some(Reply::Retry),
                3 => Some(Reply::RollBack),
                _ => None,
            }
        }
        Ask::Interrupted => {
            eprintln!("{message}");
            let choices = ["stop and keep for resume", "go on", "roll back everything"];
            Some(match select("What now?", &choices)? {
                1 => Reply::GoOn,
                2 => Reply::RollBack,
                _ => Reply::Stop,
            })
        }
        Ask::Until(_) => None,
    }
}

fn yes_or_no(yes: bool) -> Reply {
    match yes {
        true => Reply::Yes,
        false => Reply::No {
            why: "a person said no".to_owned(),
        },
    }
}

/// Asks yes or no; the default is no, and none is an answer that was broken off.
pub(crate) fn confirm(message: &str) -> Option<bool> {
    // People end an answer with Enter; taken as a key alone, the Enter would answer the next question.
    Confirm::with_theme(&SimpleTheme)
        .with_prompt(message)
        .default(false)
        .wait_for_newline(true)
        .interact()
        .ok()
}

fn select(prompt: &str, choices: &[&str]) -> Option<usize> {
    Select::with_theme(&SimpleTheme)
        .with_prompt(prompt)
        .items(choices)
        .default(0)
        .interact()
        .ok()
}

/// Asks for the value of an input.
pub(crate) fn value(input: &Input) -> Result<Value, String> {
    if input.of == InputType::Secret {
        return Err("a secret can't be asked for here".to_owned());
    }
    let prompt = match input.help.is_empty() {
        true => input.name.clone(),
        false => format!("{} ({})", input.name, input.help),
    };
    let checked = input.clone();
    let asked = TextInput::<String>::with_theme(&SimpleTheme)
        .with_prompt(prompt)
        .validate_with(move |text: &String| checked.parse(text).map(drop))
        .interact_text();
    match asked {
        Ok(text) => input.parse(&text),
        Err(_) => Err(format!("no value was given for the input `{}`", input.name)),
    }
}

/// Asks for a secret, which is not shown.
pub(crate) fn hidden(input: &Input) -> Result<String, String> {
    let asked = Password::with_theme(&SimpleTheme)
        .with_prompt(format!("{} (not shown)", input.name))
        .validate_with(|text: &String| crate::secrets::check(text))
        .interact();
    asked.map_err(|_| format!("no value was given for the secret `{}`", input.name))
}

/// Returns `text` without control characters, which could move the cursor or hide a line.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}
