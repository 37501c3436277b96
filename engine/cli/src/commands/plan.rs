//! `runwright plan`: what a playbook would do here and now.

use std::sync::Arc;

use clap::Args;
use runwright_core::{event::Begun, event::FailOn, plan as core_plan};
use runwright_local::{
    preview::{LIMIT, Preview, PreviewAround, Probe, preview, record},
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
/// exact, probed, simulated, or unknown until an earlier step has run. That somebody looked is kept in the journal:
/// `runwright history --plans` lists it.
#[derive(Args)]
pub(crate) struct Plan {
    /// The playbook
    name: String,

    #[command(flatten)]
    inputs: InputArgs,

    /// Look at nothing: show only what follows from the inputs
    #[arg(long)]
    offline: bool,

    /// Show as well what the failure of each step would undo, in order, and what would stay
    #[arg(long)]
    undo: bool,
}

impl Plan {
    /// Returns the plan that `run --dry-run` asks for.
    pub(crate) fn of(name: String, inputs: InputArgs) -> Plan {
        Plan {
            name,
            inputs,
            offline: false,
            undo: false,
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
    let wanted = Wanted {
        probe: match args.offline {
            true => Probe::Offline,
            false => Probe::All,
        },
        failures: args.undo,
    };
    let preview = look(settings, &library, &plan, begun, vault, &wanted)?;
    say(&match settings.output() {
        OutputForm::Json => page::json(&preview),
        OutputForm::Markdown => page::markdown(&preview),
        _ => page::text(&preview, WIDTH, settings.colour_of_results()),
    });
    Ok(exit::OK)
}

/// Prints the few lines that a person sees before a run starts.
pub(crate) fn show_short(
    settings: &Settings,
    library: &Library,
    plan: &Arc<core_plan::Plan>,
    begun: &Begun,
    vault: &Arc<Vault>,
) -> Result<(), CliError> {
    let seen = Begun {
        // The record of this look; the run gets its own.
        run: session::new_run_id().into(),
        ..begun.clone()
    };
    let wanted = Wanted {
        probe: Probe::All,
        failures: false,
    };
    let preview = look(settings, library, plan, seen, vault.clone(), &wanted)?;
    eprint!("{}", page::short(&preview, WIDTH, settings.colour()));
    Ok(())
}

/// What is wanted of a preview.
struct Wanted {
    probe: Probe,
    /// What the failure of each step would come to.
    failures: bool,
}

fn look(
    settings: &Settings,
    library: &Library,
    plan: &Arc<core_plan::Plan>,
    begun: Begun,
    vault: Arc<Vault>,
    wanted: &Wanted,
) -> Result<Preview, CliError> {
    // A plan is shown also where no run could begin.
    let journal = settings.journal();
    let clock = Arc::new(Clock::system());
    let around = PreviewAround {
        kinds: session::by_name(&library.kinds),
        vault,
        clock: clock.clone(),
        probe: wanted.probe,
        limit: LIMIT,
        locks: Settings::locks_path(),
        journal: journal.as_ref().ok().cloned(),
        failures: wanted.failures,
    };
    let runtime = session::runtime()?;
    let (preview, previewed) = runtime.block_on(preview(plan.clone(), begun, around));
    // A look that hangs must not keep the plan from being shown.
    runtime.shutdown_background();
    let recorded = journal.and_then(|journal| {
        let signer = settings.signer()?;
        Ok(record(
            &journal,
            &previewed,
            clock.now(),
            signer.as_deref(),
        )?)
    });
    if let Err(error) = recorded {
        eprintln!(
            "note: that this was looked at is not in the journal: {}",
            error.line()
        );
    }
    Ok(preview)
}
