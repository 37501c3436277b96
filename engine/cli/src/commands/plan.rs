//! `runwright plan`: what a playbook would do here and now.

use clap::Args;
use runwright_core::{diagnostic::Colour, event::Begun};
use runwright_local::run::Vault;

use crate::{Done, error::CliError, exit, inputs::InputArgs, library::Library, settings::Settings};

/// Show what a playbook would do here and now, without doing it
#[derive(Args)]
pub(crate) struct Plan {
    /// The playbook
    name: String,

    #[command(flatten)]
    inputs: InputArgs,

    /// Look at nothing: show only what follows from the inputs
    #[arg(long)]
    offline: bool,
}

impl Plan {
    pub(crate) fn of(name: String, inputs: InputArgs) -> Plan {
        Plan { name, inputs, offline: false }
    }
}

pub(crate) fn plan(_settings: &Settings, _args: &Plan) -> Done {
    Ok(exit::OK)
}

pub(crate) fn show_short(_: &Library, _: &std::sync::Arc<runwright_core::plan::Plan>, _: &Begun, _: &std::sync::Arc<Vault>, _: Colour) -> Result<(), CliError> {
    Ok(())
}
