//! Questions to people, on a terminal; and the answers that were given on the command line.

use std::{collections::BTreeMap, sync::PoisonError};

use dialoguer::{Input as TextInput, Password, theme::SimpleTheme};
use runwright_core::{
    event::{Ask, Reply},
    kind::BoxFuture,
    plan::{Input, InputType},
    port::{Asked, Asker, Said},
    value::{Fields, Value},
};
use runwright_local::run::SharedReporter;

use crate::{
    question::{Shown, clean, how},
    settings, terminal,
};

/// Answers from the command line first, then asks on the terminal, where there is one.
pub(crate) struct Terminal {
    /// `--yes`.
    pub(crate) yes: bool,
    /// `--confirm STEP=PHRASE`.
    pub(crate) phrases: BTreeMap<String, String>,
    /// `--in-doubt STEP=WORD`.
    pub(crate) in_doubt: BTreeMap<String, Reply>,
    pub(crate) reporter: SharedReporter,
    pub(crate) user: String,
    /// Who has started the run.
    pub(crate) starter: String,
}

impl Asker for Terminal {
    fn ask(&self, asked: Asked) -> BoxFuture<'static, Option<Said>> {
        if let Some(said) = self.given(&asked) {
            return Box::pin(async move { Some(said) });
        }
        if !settings::can_ask() {
            return Box::pin(async { None });
        }
        let (reporter, user) = (self.reporter.clone(), self.user.clone());
        if let Some(why) = shown(&asked).not_for(&self.user, &self.starter) {
            return Box::pin(async move {
                let mut standing = Standing::begin(&reporter);
                let how = how(&asked.run, &asked.step, &asked.question.ask);
                terminal::say(&format!(
                    "{}{}\n  {why}: {how}\n",
                    shown(&asked).text(),
                    clean(&asked.question.message)
                ));
                standing.is_over = true;
                None
            });
        }
        Box::pin(async move {
            let ask = || async {
                let mut standing = Standing::begin(&reporter);
                terminal::say(&shown(&asked).text());
                let reply = on_terminal(&asked).await;
                standing.is_over = true;
                reply
            };
            let reply = match asked.question.ask {
                Ask::Interrupted => terminal::urgently(ask()).await,
                _ => terminal::in_turn(ask).await,
            };
            Some(Said {
                by: user,
                reply: reply?,
                reason: String::new(),
            })
        })
    }
}

impl Terminal {
    fn given(&self, asked: &Asked) -> Option<Said> {
        let said = |by: &str, reply, reason: &str| Said {
            by: by.to_owned(),
            reply,
            reason: reason.to_owned(),
        };
        match &asked.question.ask {
            Ask::Confirm if self.yes && asked.question.is_for_one() => {
                Some(said("--yes", Reply::Yes, ""))
            }
            Ask::Phrase(phrase) if asked.question.is_for_one() => {
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
                Some(said("--confirm", reply, ""))
            }
            Ask::InDoubt => {
                let reply = self.in_doubt.get(&asked.step)?.clone();
                Some(said(&self.user, reply, "given by --in-doubt"))
            }
            _ => None,
        }
    }
}

/// A question that stands on the terminal; nothing else is drawn meanwhile.
struct Standing {
    reporter: SharedReporter,
    /// Whether it has come to its end: else it is withdrawn.
    is_over: bool,
}

impl Standing {
    fn begin(reporter: &SharedReporter) -> Standing {
        reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pause();
        Standing {
            reporter: reporter.clone(),
            is_over: false,
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if !self.is_over {
            terminal::forget_typed();
            terminal::say("\n(the question is withdrawn)\n");
        }
        self.reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .go_on();
    }
}

fn shown(asked: &Asked) -> Shown<'_> {
    Shown {
        step: &asked.step,
        title: asked.title.as_deref(),
        question: &asked.question,
        approvals: &asked.approvals,
        since: None,
    }
}

async fn on_terminal(asked: &Asked) -> Option<Reply> {
    let message = clean(&asked.question.message);
    match &asked.question.ask {
        Ask::Confirm => loop {
            if let Some(yes) = yes_or_no(&terminal::line(&format!("{message} [y/N] ")).await?) {
                return Some(agreed(yes));
            }
        },
        Ask::Phrase(phrase) => {
            terminal::say(&format!("{message}\n"));
            let typed = terminal::line(&phrase_prompt(phrase)).await?;
            Some(agreed(typed == *phrase))
        }
        Ask::Inputs(_) => {
            terminal::say(&format!("{message}\n"));
            if let Some(secret) = asked
                .inputs
                .iter()
                .find(|input| input.of == InputType::Secret)
            {
                let name = clean(&secret.name);
                terminal::say(&format!(
                    "`{name}` is a secret, which can't be asked for here\n"
                ));
                return None;
            }
            let mut values = Fields::new();
            for input in &asked.inputs {
                values.insert(input.name.clone(), typed(input).await?);
            }
            Some(Reply::Values(values))
        }
        Ask::Manual => {
            terminal::say(&format!("{message}\n"));
            let words = [
                ("done", "it is done"),
                ("failed", "it could not be done"),
                ("skip", "leave it out"),
            ];
            let chosen = choose("Is it done?", &words, None).await?;
            let remark = terminal::line("Remark: ").await?;
            Some(match chosen {
                0 => Reply::Done { remark },
                1 => Reply::Failed { remark },
                _ => Reply::Skip { remark },
            })
        }
        Ask::OnFailure(why) => {
            terminal::say(&format!("{}\n", clean(why)));
            let words = [
                ("roll-back", "undo everything"),
                ("retry", "try the step again"),
                ("skip", "go on without it"),
                ("stop", "stop and keep everything for `runwright resume`"),
            ];
            Some(match choose("What now?", &words, Some(0)).await? {
                0 => Reply::RollBack,
                1 => Reply::Retry,
                2 => Reply::Skip {
                    remark: String::new(),
                },
                _ => Reply::Stop,
            })
        }
        Ask::InDoubt => {
            terminal::say(&format!("{message}\n"));
            let words = [
                ("leave", "leave it open and look first"),
                ("done", "it was done"),
                ("redo", "do it again"),
                ("undo", "undo everything"),
            ];
            match choose("How did it end?", &words, Some(0)).await? {
                1 => Some(Reply::Done {
                    remark: String::new(),
                }),
                2 => Some(Reply::Retry),
                3 => Some(Reply::RollBack),
                _ => None,
            }
        }
        Ask::Interrupted => {
            terminal::say(&format!("{message}\n"));
            let words = [
                ("stop", "stop and keep everything for `runwright resume`"),
                ("go-on", "go on as if nothing had been"),
                ("roll-back", "undo everything"),
            ];
            Some(match choose("What now?", &words, Some(0)).await? {
                1 => Reply::GoOn,
                2 => Reply::RollBack,
                _ => Reply::Stop,
            })
        }
        Ask::Until(_) => None,
    }
}

/// Returns which of `words` is typed, whole or its beginning; the default where nothing is.
async fn choose(prompt: &str, words: &[(&str, &str)], default: Option<usize>) -> Option<usize> {
    for (word, meaning) in words {
        terminal::say(&format!("  {word:<10}{meaning}\n"));
    }
    let prompt = match default {
        Some(default) => format!("{prompt} [{}] ", words[default].0),
        None => format!("{prompt} "),
    };
    loop {
        let typed = terminal::line(&prompt).await?.to_lowercase();
        if typed.is_empty() && default.is_some() {
            return default;
        }
        let fits = |(word, _): &(&str, &str)| !typed.is_empty() && word.starts_with(&typed);
        let mut fitting = (0..words.len()).filter(|index| fits(&words[*index]));
        match (fitting.next(), fitting.next()) {
            (Some(chosen), None) => return Some(chosen),
            _ => terminal::say("Type one of the words, or its beginning.\n"),
        }
    }
}

/// Returns the value that is typed for an input; asks again until it is one.
async fn typed(input: &Input) -> Option<Value> {
    loop {
        let text = terminal::line(&format!("{}: ", prompt(input))).await?;
        match input.parse(&text) {
            Ok(value) => return Some(value),
            Err(why) => terminal::say(&format!("{}\n", clean(&why))),
        }
    }
}

/// Returns what people are told to type a phrase.
pub(crate) fn phrase_prompt(phrase: &str) -> String {
    format!(
        "Type `{}` to go on, anything else to refuse: ",
        clean(phrase)
    )
}

fn agreed(yes: bool) -> Reply {
    match yes {
        true => Reply::Yes,
        false => Reply::No {
            why: "a person said no".to_owned(),
        },
    }
}

/// Returns what a line means; nothing typed is no, and none is neither.
fn yes_or_no(typed: &str) -> Option<bool> {
    match typed.to_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// Asks yes or no before a run is at work; the default is no, and none is an answer that was broken off.
pub(crate) fn confirm(message: &str) -> Option<bool> {
    loop {
        let typed = terminal::line_now(&format!("{} [y/N] ", clean(message)))?;
        if let Some(yes) = yes_or_no(&typed) {
            return Some(yes);
        }
    }
}

fn prompt(input: &Input) -> String {
    match input.help.is_empty() {
        true => clean(&input.name),
        false => clean(&format!("{} ({})", input.name, input.help)),
    }
}

/// Asks for the value of an input.
pub(crate) fn value(input: &Input) -> Result<Value, String> {
    if input.of == InputType::Secret {
        return Err("a secret can't be asked for here".to_owned());
    }
    let checked = input.clone();
    let asked = TextInput::<String>::with_theme(&SimpleTheme)
        .with_prompt(prompt(input))
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
