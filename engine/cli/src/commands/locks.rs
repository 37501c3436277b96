//! `runwright locks`: who has which lock of this machine, and taking one from a run that will never go on.

use clap::{Args, Subcommand};
use runwright_core::units::Time;
use runwright_local::{
    locks::{Hold, Locks as Folder, LocksError, Steal as Stolen, Taken, plain},
    run::Clock,
};
use serde_json::json;

use crate::{
    Done, asker,
    commands::check::say,
    error::CliError,
    exit,
    settings::{self, OutputForm, Settings},
};

/// List the locks that runs have on this machine, of all its users
///
/// A lock is held by the process of a run as long as that lives. A run that has changed something and was interrupted,
/// stopped or waits keeps its locks until it has ended, without a process: `resume`, `rollback` or `cancel` ends it.
#[derive(Args)]
pub(crate) struct Locks {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    Steal(Steal),
}

/// Take a kept lock away from a run that will never go on
///
/// What that run has changed stays as it is, and it can still be resumed: make sure that nobody does. The next run that
/// takes the lock writes the theft into its journal. A lock that a process holds can't be stolen: cancel its run.
#[derive(Args)]
struct Steal {
    /// The lock's name, as the list shows it
    name: String,

    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

/// Lists locks, or steals one.
pub(crate) fn locks(settings: &Settings, args: &Locks) -> Done {
    match &args.action {
        None => list(settings),
        Some(Action::Steal(args)) => steal(settings, args),
    }
}

fn list(settings: &Settings) -> Done {
    let taken = match Folder::find(&Settings::locks_path())? {
        Some(locks) => locks.list()?,
        None => Vec::new(),
    };
    if settings.output() == OutputForm::Json {
        let rows: Vec<_> = taken.iter().map(row).collect();
        say(&format!("{}\n", serde_json::Value::Array(rows)));
        return Ok(exit::OK);
    }
    let width = taken.iter().map(|it| plain(&it.lock).chars().count());
    let width = width.max().unwrap_or(0);
    for taken in &taken {
        let lock = plain(&taken.lock);
        let whose = match &taken.owner {
            Some(owner) => format!(
                "{}  {:16} {:10} {}",
                plain(&owner.run),
                plain(&owner.playbook),
                plain(&owner.user),
                Time::from_milliseconds(owner.since),
            ),
            None => format!("{:12}  {:16} {:10} {:20}", "-", "-", "-", "-"),
        };
        say(&format!("{lock:width$}  {whose}  {}\n", taken.hold));
    }
    if taken.is_empty() {
        eprintln!("no lock is taken");
    }
    Ok(exit::OK)
}

fn row(taken: &Taken) -> serde_json::Value {
    let owner = taken.owner.as_ref();
    let hold = match taken.hold {
        Hold::Process(_) => "held",
        Hold::Kept => "kept",
    };
    json!({
        "lock": taken.lock,
        "run": owner.map(|owner| &owner.run),
        "playbook": owner.map(|owner| &owner.playbook),
        "user": owner.map(|owner| &owner.user),
        "home": owner.map(|owner| &owner.home),
        "since": owner.map(|owner| Time::from_milliseconds(owner.since).to_string()),
        "hold": hold,
        "pid": taken.hold.pid(),
    })
}

fn steal(settings: &Settings, args: &Steal) -> Done {
    if args.reason.trim().is_empty() {
        return Err(CliError::usage("steal a lock without a reason")
            .hint("say why with `--reason TEXT`: it is written into the journal"));
    }
    let locks = Folder::open(&Settings::locks_path())?;
    let from = match args.yes {
        true => None,
        false => Some(ask(&locks, &args.name)?),
    };
    let theft = locks.steal(&Stolen {
        lock: args.name.clone(),
        from,
        by: settings::user(),
        reason: args.reason.trim().to_owned(),
        at: Clock::system().now(),
    })?;
    if settings.output() == OutputForm::Json {
        say(&format!("{}\n", json!(theft)));
        return Ok(exit::OK);
    }
    let owner = &theft.from;
    eprintln!(
        "the lock `{}` is free; run {} of `{}` by {} had it since {}",
        plain(&theft.lock),
        plain(&owner.run),
        plain(&owner.playbook),
        plain(&owner.user),
        Time::from_milliseconds(owner.since)
    );
    eprintln!("the next run that takes it writes down who stole it, and why");
    Ok(exit::OK)
}

/// Asks whether the lock is to be stolen from the run that keeps it, and returns that run.
fn ask(locks: &Folder, name: &str) -> Result<String, CliError> {
    let taken = locks.list()?.into_iter().find(|it| it.lock == name);
    let taken = taken.ok_or_else(|| LocksError::NotKept {
        lock: name.to_owned(),
    })?;
    let run = match (&taken.owner, taken.hold) {
        (Some(owner), Hold::Kept) => owner.run.clone(),
        _ => return Err(LocksError::NotStolen(Box::new(taken)).into()),
    };
    if !settings::can_ask() {
        return Err(CliError::refused(format!(
            "steal the lock `{}`: nobody said yes, and there is no terminal to ask on",
            plain(name)
        ))
        .hint("add `--yes`"));
    }
    eprintln!("{taken}.");
    eprintln!("What it has changed stays as it is, and it must not go on.");
    if asker::confirm(&format!("Steal the lock `{}`?", plain(name))) != Some(true) {
        return Err(CliError::refused(
            "nothing was stolen, because nobody said yes",
        ));
    }
    Ok(run)
}
