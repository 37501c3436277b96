//! Where the values of inputs come from: default, profile, file, environment, `--set`, a question; the last one wins.

use std::{collections::BTreeMap, fs};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use runwright_core::{
    diagnostic::{Colour, Source},
    plan::{Input, InputType, Plan, check_inputs},
    value::{Fields, Secret, Value},
    yaml::{self, Limits, Node},
};
use runwright_local::run::Vault;

use crate::{asker, error::CliError, library::Library, planning, secrets, settings};

/// Values for the inputs of a playbook
#[derive(Args, Clone, Default)]
pub(crate) struct InputArgs {
    /// Give an input its value; a secret as `name=env:VAR`, `name=file:PATH` or `name=command:...`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Read inputs from a YAML file
    #[arg(long, value_name = "FILE")]
    inputs: Vec<Utf8PathBuf>,

    /// Use the values of one site: `profiles/NAME.yml` beside the playbooks
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// The values of inputs and where each came from.
pub(crate) struct Gathered {
    pub(crate) values: Fields,
    pub(crate) sources: BTreeMap<String, String>,
}

/// A value that was given, before it is checked.
enum Given {
    /// As text: from the command line, the environment or a terminal.
    Text(String),
    /// As a value of YAML.
    Value(Value),
}

impl InputArgs {
    /// Returns the value of every input of the plan's playbook; secrets go into the vault.
    ///
    /// All problems are reported together, and nothing is asked where one is wrong.
    pub(crate) fn gather(
        &self,
        library: &Library,
        plan: &Plan,
        vault: &Vault,
        colour: Colour,
    ) -> Result<Gathered, CliError> {
        let inputs = &plan.root().inputs;
        let mut given: BTreeMap<String, (Given, String)> = BTreeMap::new();
        let mut problems: Vec<String> = Vec::new();
        if let Some(profile) = &self.profile {
            let path = library.profile(profile)?;
            read_profile(&path, plan, inputs, &mut given, &mut problems, colour)?;
        }
        for path in &self.inputs {
            for (name, value) in read_values(path, colour)? {
                given.insert(name, (Given::Value(value), format!("file {path}")));
            }
        }
        for (name, text) in settings::input_variables() {
            if inputs.iter().any(|input| input.name == name) {
                let source = format!("environment RUNWRIGHT_INPUT_{}", name.to_uppercase());
                given.insert(name, (Given::Text(text), source));
            }
        }
        for set in &self.set {
            match set.split_once('=') {
                Some((name, text)) => {
                    given.insert(
                        name.trim().to_owned(),
                        (Given::Text(text.to_owned()), "--set".to_owned()),
                    );
                }
                None => problems.push(format!(
                    "`--set {set}` has no `=`: write `--set name=value`"
                )),
            }
        }
        let mut values = Fields::new();
        let mut sources = BTreeMap::new();
        for (name, (value, source)) in given {
            let Some(input) = inputs.iter().find(|input| input.name == name) else {
                // The check below says what there is instead.
                values.insert(name, Value::Null);
                continue;
            };
            match take(input, value, vault) {
                Ok((value, how)) => {
                    values.insert(name.clone(), value);
                    sources.insert(name, how.unwrap_or(source));
                }
                Err(why) => {
                    problems.push(format!("input `{name}` ({source}): {why}"));
                    values.insert(name, Value::Unknown("it is wrong".into()));
                }
            }
        }
        ask_missing(inputs, &mut values, &mut sources, vault, &problems)?;
        let checked = check_inputs(inputs, &values);
        if let Err(more) = &checked {
            problems.extend(more.lines().map(str::to_owned));
        }
        match checked {
            Ok(values) if problems.is_empty() => {
                for input in inputs {
                    sources
                        .entry(input.name.clone())
                        .or_insert_with(|| "default".to_owned());
                }
                Ok(Gathered { values, sources })
            }
            _ => Err(CliError::usage(format!(
                "the inputs of `{}` are not right",
                plan.root().name
            ))
            .detail(
                problems
                    .iter()
                    .map(|problem| format!("  - {problem}\n"))
                    .collect::<String>(),
            )
            .hint(format!(
                "`runwright describe {}` shows every input",
                plan.root().name
            ))),
        }
    }
}

/// Returns the values for what a step asks for: from a file, then from `--set`.
pub(crate) fn answer(
    inputs: &[Input],
    set: &[String],
    file: Option<&Utf8Path>,
    colour: Colour,
) -> Result<Fields, CliError> {
    let mut given: BTreeMap<String, Given> = BTreeMap::new();
    let mut problems: Vec<String> = Vec::new();
    if let Some(path) = file {
        let values = read_values(path, colour)?.into_iter();
        given.extend(values.map(|(name, value)| (name, Given::Value(value))));
    }
    for set in set {
        match set.split_once('=') {
            Some((name, text)) => {
                given.insert(name.trim().to_owned(), Given::Text(text.to_owned()));
            }
            None => problems.push(format!(
                "`--set {set}` has no `=`: write `--set name=value`"
            )),
        }
    }
    let mut values = Fields::new();
    for (name, given) in given {
        let Some(input) = inputs.iter().find(|input| input.name == name) else {
            // The check below says what there is instead.
            values.insert(name, Value::Null);
            continue;
        };
        let value = match (&input.of, given) {
            (InputType::Secret, _) => {
                Err("a secret can't be sent to a run: nothing of it may be written down".to_owned())
            }
            (_, Given::Text(text)) => input.parse(&text),
            (_, Given::Value(value)) => input.accept(&value),
        };
        match value {
            Ok(value) => drop(values.insert(name, absolute_paths(input, value))),
            Err(why) => {
                problems.push(format!("input `{name}`: {why}"));
                values.insert(name, Value::Unknown("it is wrong".into()));
            }
        }
    }
    match check_inputs(inputs, &values) {
        Ok(values) if problems.is_empty() => return Ok(values),
        Ok(_) => {}
        Err(more) => problems.extend(more.lines().map(str::to_owned)),
    }
    let lines = problems.iter().map(|problem| format!("  - {problem}\n"));
    Err(
        CliError::usage("take the values: they are not what the step asks for")
            .detail(lines.collect::<String>()),
    )
}

fn read_profile(
    path: &Utf8Path,
    plan: &Plan,
    inputs: &[Input],
    given: &mut BTreeMap<String, (Given, String)>,
    problems: &mut Vec<String>,
    colour: Colour,
) -> Result<(), CliError> {
    let sections = read_node(path, colour)?;
    let source = format!("profile {path}");
    for (section, strict) in [("all", false), (plan.root().name.as_str(), true)] {
        let Some(values) = sections.get(section) else {
            continue;
        };
        for (key, value) in values.as_map().unwrap_or_default() {
            let name = key.written();
            let known = inputs.iter().any(|input| input.name == name);
            if !known && strict {
                let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
                let near = runwright_core::diagnostic::suggest(name, names.iter().copied());
                let near = near
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                problems.push(format!("{path}: `{section}` has no input `{name}`{near}"));
            }
            if known {
                given.insert(
                    name.to_owned(),
                    (Given::Value(value.to_value()), source.clone()),
                );
            }
        }
    }
    Ok(())
}

fn read_values(path: &Utf8Path, colour: Colour) -> Result<Vec<(String, Value)>, CliError> {
    let node = read_node(path, colour)?;
    let entries = node.as_map().unwrap_or_default();
    Ok(entries
        .iter()
        .map(|(key, value)| (key.written().to_owned(), value.to_value()))
        .collect())
}

fn read_node(path: &Utf8Path, colour: Colour) -> Result<Node, CliError> {
    let bytes = fs::read(path)
        .map_err(|error| CliError::usage(format!("read the inputs in `{path}`")).because(&error))?;
    let mut found = Vec::new();
    let text = match yaml::decode(&bytes) {
        Ok(text) => text,
        Err(problem) => {
            return Err(planning::problems(
                &[problem],
                &Source::new(path.as_str(), ""),
                colour,
            ));
        }
    };
    let source = Source::new(path.as_str(), text);
    let node = yaml::parse(text, &Limits::default(), &mut found);
    match node {
        Some(node) if found.is_empty() && node.as_map().is_some() => Ok(node),
        Some(node) if found.is_empty() => Err(CliError::usage(format!(
            "read the inputs in `{path}`: expected a mapping, found {}",
            node.what()
        ))),
        _ => Err(planning::problems(&found, &source, colour)),
    }
}

/// Returns the value that was given, and for a secret where its text came from.
fn take(input: &Input, given: Given, vault: &Vault) -> Result<(Value, Option<String>), String> {
    if input.of == InputType::Secret {
        let text = match &given {
            Given::Text(text) => text.clone(),
            Given::Value(value) => value.as_str().unwrap_or_default().to_owned(),
        };
        let Some(source) = secrets::reference(&text) else {
            return Err(
                "a secret is given as `env:NAME`, `file:PATH` or `command:...`, never as it is"
                    .to_owned(),
            );
        };
        let secret = secrets::fetch(&source)?;
        vault.keep(&secrets::handle(input), secret);
        return Ok((
            Value::Secret(Secret::handle(secrets::handle(input))),
            Some(text),
        ));
    }
    let value = match given {
        Given::Text(text) => input.parse(&text)?,
        Given::Value(value) => input.accept(&value)?,
    };
    Ok((absolute_paths(input, value), None))
}

/// Makes paths absolute: a run must mean the same file when it is taken up from another folder.
fn absolute_paths(input: &Input, value: Value) -> Value {
    match (&input.of, &value) {
        (InputType::Path, Value::Text(text)) if !text.is_empty() => {
            Value::text(settings::absolute(&Utf8PathBuf::from(&**text)).into_string())
        }
        (InputType::List(of), Value::List(items)) => Value::list(
            items
                .iter()
                .map(|item| absolute_paths(of, item.clone()))
                .collect(),
        ),
        _ => value,
    }
}

/// Asks for what is still missing, where a person can be asked.
fn ask_missing(
    inputs: &[Input],
    values: &mut Fields,
    sources: &mut BTreeMap<String, String>,
    vault: &Vault,
    problems: &[String],
) -> Result<(), CliError> {
    if !problems.is_empty() || !settings::can_ask() {
        return Ok(());
    }
    for input in inputs.iter().filter(|input| input.default.is_none()) {
        if values.contains_key(&input.name) {
            continue;
        }
        let value = if input.of == InputType::Secret {
            let text = asker::hidden(input).map_err(CliError::usage)?;
            vault.keep(&secrets::handle(input), text);
            Value::Secret(Secret::handle(secrets::handle(input)))
        } else {
            absolute_paths(input, asker::value(input).map_err(CliError::usage)?)
        };
        values.insert(input.name.clone(), value);
        sources.insert(input.name.clone(), "typed".to_owned());
    }
    Ok(())
}
