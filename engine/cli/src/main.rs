//! `runwright`: runs named playbooks, with a preview before and a journal behind.
//!
//! The only crate that puts the others together, and the only one that reads arguments, environment, home and terminal.

mod answering;
mod asker;
mod builtin;
mod commands;
mod error;
mod exit;
mod going_on;
mod inputs;
mod left;
mod library;
mod planning;
mod question;
mod secrets;
mod session;
mod settings;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{commands::*, error::CliError, settings::Settings};

/// Run the procedures of operations as playbooks: preview, confirm, do, undo, and a journal of every step
///
/// Start with `runwright list`, read a playbook with `runwright describe NAME`, see what it would do here and now with
/// `runwright plan NAME`, and do it with `runwright run NAME`. Everything that happened is in `runwright history`.
#[derive(Parser)]
#[command(name = "runwright", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Resume(resume::Resume),
    Rollback(rollback::Rollback),
    Approve(approve::Approve),
    Deny(deny::Deny),
    Answer(answer::Answer),
    Cancel(cancel::Cancel),
    List(list::List),
    Describe(describe::Describe),
    Check(check::Check),
    History(history::History),
    Show(show::Show),
    Logs(logs::Logs),
    Audit(audit::Audit),
    Journal(journal::Journal),
    Locks(locks::Locks),
    Schema(schema::Schema),
    /// End what a run leaves running when it dies; started by the run itself
    #[command(name = guard::NAME, hide = true)]
    Guard,
}

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    settings.start_tracing();
    #[cfg(debug_assertions)]
    arm();
    let writes_markdown = match &command {
        Command::Plan(_) => true,
        Command::Run(args) => args.is_dry(),
        _ => false,
    };
    let refused = match writes_markdown {
        true => Ok(()),
        false => settings.refuse_markdown(),
    };
    let done = refused.and_then(|()| perform(&settings, command));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.print(settings.colour());
            ExitCode::from(error.code)
        }
    }
}

fn perform(settings: &Settings, command: Command) -> Done {
    match command {
        Command::Run(args) => run::run(settings, args),
        Command::Plan(args) => plan::plan(settings, &args),
        Command::Resume(args) => resume::resume(settings, &args),
        Command::Rollback(args) => rollback::rollback(settings, &args),
        Command::Approve(args) => approve::approve(settings, &args),
        Command::Deny(args) => deny::deny(settings, &args),
        Command::Answer(args) => answer::answer(settings, &args),
        Command::Cancel(args) => cancel::cancel(settings, &args),
        Command::List(args) => list::list(settings, &args),
        Command::Describe(args) => describe::describe(settings, &args),
        Command::Check(args) => check::check(settings, &args),
        Command::History(args) => history::history(settings, &args),
        Command::Show(args) => show::show(settings, &args),
        Command::Logs(args) => logs::logs(settings, &args),
        Command::Audit(args) => audit::audit(settings, &args),
        Command::Journal(args) => journal::journal(settings, &args),
        Command::Locks(args) => locks::locks(settings, &args),
        Command::Schema(args) => schema::schema(settings, &args),
        Command::Guard => guard::guard(),
    }
}

/// Arms a fault point of a test build: see [`runwright_local::fault`].
#[cfg(debug_assertions)]
fn arm() {
    if let Ok(fault) = std::env::var("RUNWRIGHT_FAULT") {
        runwright_local::fault::arm(&fault).expect("a fault is `POINT:N` or `count:FILE`");
    }
}

/// What every command returns: its exit code, or why it could not do its work.
type Done = Result<u8, CliError>;
