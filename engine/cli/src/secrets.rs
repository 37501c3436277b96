//! Secrets of inputs: where their texts lie, and what is too short to be one.

use std::{collections::BTreeMap, fs, process};

use camino::Utf8PathBuf;
use runwright_core::plan::{Input, InputType, Plan};
use runwright_local::run::Vault;

use crate::{asker, error::CliError, settings};

/// The shortest secret that can be masked without masking half of what people read, in characters.
const SHORTEST_SECRET: usize = 4;

/// Returns the secrets of a run that is taken up again, from where they came when it began.
pub(crate) fn again(
    plan: &Plan,
    sources: &BTreeMap<String, String>,
    vault: &Vault,
) -> Result<(), CliError> {
    let mut missing = Vec::new();
    let mut typed = Vec::new();
    for input in plan
        .root()
        .inputs
        .iter()
        .filter(|input| input.of == InputType::Secret && sources.contains_key(&input.name))
    {
        let text = match reference(&sources[&input.name]) {
            Some(reference) => fetch(&reference),
            None if settings::can_ask() => {
                typed.push(input);
                continue;
            }
            None => Err("it was typed, and there is no terminal now".to_owned()),
        };
        match text {
            Ok(text) => vault.keep(&handle(input), text),
            Err(why) => missing.push(format!("  - secret `{}`: {why}\n", input.name)),
        }
    }
    // Nobody types one where another is missing anyway.
    for input in typed.into_iter().filter(|_| missing.is_empty()) {
        let text = asker::hidden(input).map_err(CliError::refused)?;
        vault.keep(&handle(input), text);
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(
        CliError::refused("the run's secrets are needed again, and some can't be had")
            .detail(missing.concat()),
    )
}

/// Returns the handle under which the driver keeps the secret of an input.
pub(crate) fn handle(input: &Input) -> String {
    format!("input {}", input.name)
}

/// Where the text of a secret lies.
pub(crate) enum SecretSource {
    Env(String),
    File(Utf8PathBuf),
    Command(String),
}

/// Returns the place that a text names: `env:NAME`, `file:PATH` or `command:...`.
pub(crate) fn reference(text: &str) -> Option<SecretSource> {
    let (scheme, rest) = text.split_once(':')?;
    match scheme {
        "env" => Some(SecretSource::Env(rest.to_owned())),
        "file" => Some(SecretSource::File(rest.into())),
        "command" => Some(SecretSource::Command(rest.to_owned())),
        _ => None,
    }
}

/// Returns the text that lies there.
pub(crate) fn fetch(source: &SecretSource) -> Result<String, String> {
    let text = match source {
        SecretSource::Env(name) => {
            settings::variable(name).ok_or_else(|| format!("`{name}` is not set"))?
        }
        SecretSource::File(path) => {
            fs::read_to_string(path).map_err(|error| format!("`{path}` can't be read: {error}"))?
        }
        SecretSource::Command(command) => {
            let output = process::Command::new("sh")
                .args(["-c", command])
                .stdin(process::Stdio::null())
                .stderr(process::Stdio::inherit())
                .output()
                .map_err(|error| format!("its command can't be run: {error}"))?;
            if !output.status.success() {
                return Err(format!("its command ended with {}", output.status));
            }
            String::from_utf8(output.stdout)
                .map_err(|_| "its command printed something that is no text".to_owned())?
        }
    };
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    check(&text)?;
    if let SecretSource::Command(command) = source
        && command.contains(&text)
    {
        return Err(
            "the command itself holds the secret, and the journal keeps commands; let it read a file, or a store"
                .to_owned(),
        );
    }
    Ok(text)
}

/// Returns why a secret can't be used.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.chars().count() < SHORTEST_SECRET {
        return Err(format!(
            "it is shorter than {SHORTEST_SECRET} characters, and could not be masked without hiding half of everything"
        ));
    }
    Ok(())
}
