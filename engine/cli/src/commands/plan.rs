//! `runwright plan`: what a playbook would do here and now.

use std::sync::Arc;

use clap::Args;
use runwright_core::{diagnostic::Colour, event::Begun, event::FailOn, plan as core_plan};
use runwright_local::{
    preview::{LIMIT, Preview, PreviewAround, Probe, preview},
    run::{Clock, Vault},
};
use runwright_report::plan as page;

use crate::{
    Done,
    commands::check::say,
    error::CliError,
    exit,
    inputs::InputArgs,
    library::Library,
    planning,
    session::{self, AnswerArgs},
    settings::{OutputForm, Settings},
};

/// How wide a plan is drawn where nobody says otherwise, in columns.
const WIDTH: usize = 100;

/// Show what a playbook would do here and now, without doing it
///
/// Targets are looked at and nothing is changed; commands and scripts never run. Of each step it says how sure it is:
/// exact, probed, simulated, or unknown until an earlier step has run.
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
    /// Returns the plan that `run --dry-run` asks for.
    pub(crate) fn of(name: String, inputs: InputArgs) -> Plan {
        Plan {
            name,
            inputs,
            offline: false,
        }
    }
}

/// Shows what a playbook would do.
pub(crate) fn plan(settings: &Settings, args: &Plan) -> Done {
    let library = Library::new(settings);
    let plan = planning::plan(&library, &args.name, settings.colour())?;
    library.tell_warnings();
    let vault = Arc::new(Vault::default());
    let gathered = args
        .inputs
        .gather(&library, &plan, &vault, settings.colour())?;
    let answers = AnswerArgs::default();
    let begun = session::begun(
        &plan,
        gathered.values,
        gathered.sources,
        &answers,
        FailOn::default(),
    );
    let probe = if args.offline {
        Probe::Offline
    } else {
        Probe::All
    };
    let preview = look(&library, &plan, begun, vault, probe)?;
    say(&match settings.output() {
        OutputForm::Json => page::json(&preview),
        _ => page::text(&preview, WIDTH, settings.colour_of_results()),
    });
    Ok(exit::OK)
}

/// Prints the few lines that a person sees before a run starts.
pub(crate) fn show_short(
    library: &Library,
    plan: &Arc<core_plan::Plan>,
    begun: &Begun,
    vault: &Arc<Vault>,
    colour: Colour,
) -> Result<(), CliError> {
    let preview = look(library, plan, begun.clone(), vault.clone(), Probe::All)?;
    eprint!("{}", page::short(&preview, WIDTH, colour));
    Ok(())
}

fn look(
    library: &Library,
    plan: &Arc<core_plan::Plan>,
    begun: Begun,
    vault: Arc<Vault>,
    probe: Probe,
) -> Result<Preview, CliError> {
    let around = PreviewAround {
        kinds: session::by_name(&library.kinds),
        vault,
        clock: Arc::new(Clock::system()),
        probe,
        limit: LIMIT,
    };
    let runtime = session::runtime()?;
    let preview = runtime.block_on(preview(plan.clone(), begun, around));
    // A look that hangs must not keep the plan from being shown.
    runtime.shutdown_background();
    Ok(preview)
}
