//! `runwright schema`: the schemas of everything that programs read or write.

use clap::{Args, ValueEnum};
use runwright_core::language;

use crate::{Done, commands::check::say, exit, settings::Settings};

/// Print a JSON schema: of playbooks for editors, of the kinds, of the output
#[derive(Args)]
pub(crate) struct Schema {
    /// Which one
    #[arg(value_enum, default_value_t)]
    which: Which,
}

/// The schemas.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Which {
    /// Playbooks
    #[default]
    Playbook,
    /// The arguments and results of every step kind
    Kinds,
    /// The lines of `--output json`
    Output,
    /// The preview of `plan --output json`
    Plan,
    /// The lines of `audit export`, and what `audit verify --output json` prints
    Audit,
}

/// Prints a schema.
pub(crate) fn schema(_settings: &Settings, args: &Schema) -> Done {
    let kinds = runwright_steps::kinds();
    let schema = match args.which {
        Which::Playbook => language::playbook_schema(&kinds),
        Which::Kinds => language::kind_schemas(&kinds),
        Which::Output => runwright_report::output_schema(),
        Which::Plan => runwright_report::plan::schema(),
        Which::Audit => runwright_local::audit::export::schema(),
    };
    let text = serde_json::to_string_pretty(&schema).expect("a schema has only text keys");
    say(&format!("{text}\n"));
    Ok(exit::OK)
}
