//! `runwright run`: does what a playbook says.

use std::{collections::BTreeMap, sync::Arc};

use clap::{Args, ValueEnum};
use runwright_core::{event::FailOn, kind::Effect};
use runwright_local::run::Vault;

use crate::{
    Done, asker,
    commands::plan,
    error::CliError,
    inputs::InputArgs,
    library::Library,
    planning,
    session::{self, AnswerArgs, Attendance, WaitArgs},
    settings::{self, Settings},
};

/// Run a playbook
///
/// NAME is a playbook's name (`daily-health`, `daily-health@1`, `daily-health@1.2.0`) or the path of a file. On a
/// terminal the run shows first what it is about to change, and asks. Without one it starts, and waits where a question
/// comes up that was not answered beforehand: somebody answers it with `approve`, `deny` or `answer`.
#[derive(Args)]
pub(crate) struct Run {
    /// The playbook
    name: String,

    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    answers: AnswerArgs,

    #[command(flatten)]
    wait: WaitArgs,

    /// Show what would be done, and change nothing: the same as `runwright plan`
    #[arg(long, conflicts_with = "no_plan")]
    dry_run: bool,

    /// On a terminal: begin without showing the plan and without asking; the reason stands in the journal
    #[arg(long, requires = "reason")]
    no_plan: bool,

    /// Why nobody has to see the plan
    #[arg(long, requires = "no_plan", value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,

    /// Which findings make the exit code 10 or 11
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOnArg,
}

/// Which findings count for the exit code.
#[derive(Clone, Copy, Default, ValueEnum)]
enum FailOnArg {
    /// None
    Never,
    /// Critical ones
    Critical,
    /// Warnings and critical ones
    #[default]
    Warning,
}

impl From<FailOnArg> for FailOn {
    fn from(arg: FailOnArg) -> FailOn {
        match arg {
            FailOnArg::Never => FailOn::Never,
            FailOnArg::Critical => FailOn::Critical,
            FailOnArg::Warning => FailOn::Warning,
        }
    }
}

impl Run {
    /// Returns whether only the plan is shown.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry_run
    }
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why, in a few words".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Runs a playbook.
pub(crate) fn run(settings: &Settings, args: Run) -> Done {
    if args.dry_run {
        return plan::plan(settings, &plan::Plan::of(args.name, args.inputs));
    }
    let colour = settings.colour();
    let library = Library::new(settings);
    let plan = planning::plan(&library, &args.name, colour)?;
    library.tell_warnings();
    let vault = Arc::new(Vault::default());
    let gathered = args.inputs.gather(&library, &plan, &vault, colour)?;
    let mut begun = session::begun(
        &plan,
        gathered.values,
        gathered.sources,
        &args.answers,
        args.fail_on.into(),
    );
    begun.unseen = args.reason;
    let is_shown = plan.effect() > Effect::Read && !args.answers.yes && !args.no_plan;
    if is_shown && settings::can_ask() {
        plan::show_short(settings, &library, &plan, &begun, &vault)?;
        match asker::confirm("Start?") {
            Some(true) => {}
            _ => {
                return Err(CliError::refused(
                    "nothing was started, because nobody said yes",
                ));
            }
        }
    }
    let journal = settings.journal()?;
    session::tell_open_answers(&plan, &args.answers, &begun.run)?;
    let attendance = Attendance {
        answers: &args.answers,
        in_doubt: BTreeMap::new(),
        wait: &args.wait,
        run: &begun.run,
        starter: &begun.user,
        umask: begun.children.umask,
        reason: "",
    };
    let around = session::surroundings(settings, &library.kinds, vault, attendance)?;
    session::drive(async { runwright_local::run::Run::begin(&journal, plan, begun, around) })
}
