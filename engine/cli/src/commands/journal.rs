//! `runwright journal`: where it lies, removing old runs from it, giving up what lapsed undos keep.

use clap::{ArgGroup, Args, Subcommand};
use runwright_core::units::{Bytes, Span, Time};
use runwright_local::{
    folder::RunFolder,
    journal::{Journal as Store, PREVIEWED, Records, RunFilter, RunRecord, Stone, Weight},
    run::{Clock, begun, replay},
    sweep::{Heirs, Swept, Upkeep, hold},
};
use serde_json::json;

use crate::{
    Done, asker,
    commands::check::say,
    error::CliError,
    exit,
    library::Library,
    planning, session,
    settings::{self, OutputForm, Settings},
};

/// Keep the journal: where it lies, what is removed from it
#[derive(Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print where the journal lies
    Path,
    Prune(Prune),
    Sweep(Sweep),
}

/// Remove whole runs that have ended
///
/// A run goes with its events, its folder (kept contents, texts, outputs) and what its undos keep in the world. A
/// stone stays in its place: first and last hash, how many events there were, who removed it, when and why; so that
/// `audit verify` still proves that no other run is missing. Runs that have not ended stay, and runs whose changes
/// could still be undone, unless `--lose-undo` says so.
#[derive(Args)]
#[command(group(ArgGroup::new("which").required(true).args(["runs", "older_than", "keep"])))]
struct Prune {
    /// The runs: ids, the beginnings of them, or `last`
    runs: Vec<String>,

    /// Runs that ended longer ago than this, for example `90d`
    #[arg(long, value_name = "SPAN", value_parser = span)]
    older_than: Option<Span>,

    /// All but the newest
    #[arg(long, value_name = "COUNT")]
    keep: Option<usize>,

    /// Why: it stands on the stones
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Remove runs too whose changes could still be undone: they can't be afterwards
    #[arg(long)]
    lose_undo: bool,
}

/// Give up what lapsed undos keep
///
/// A deleted file, for example, is kept aside as long as its step says. Every run does this at its end, for a short
/// while; this does all of it, and says what could not be given up.
#[derive(Args)]
struct Sweep {}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Does one of them.
pub(crate) fn journal(settings: &Settings, args: &Journal) -> Done {
    match &args.command {
        Command::Path => {
            say(&format!("{}\n", settings.home_folder()?.join("journal.db")));
            Ok(exit::OK)
        }
        Command::Prune(args) => prune(settings, args),
        Command::Sweep(Sweep {}) => sweep(settings),
    }
}

/// A run that may go.
struct Candidate {
    record: RunRecord,
    weight: Weight,
    /// What its undos keep in the world.
    keeps: usize,
    /// Why it stays, where it does.
    stays: Option<String>,
}

fn prune(settings: &Settings, args: &Prune) -> Done {
    if args.reason.trim().is_empty() {
        return Err(CliError::usage(
            "prune without a reason: `--reason` is empty",
        ));
    }
    let Some(_) = settings.journal_to_read()? else {
        eprintln!("no runs yet");
        return Ok(exit::OK);
    };
    let journal = settings.journal()?;
    let library = Library::new(settings);
    let now = Clock::system().now();
    let candidates = candidates(settings, &library, &journal, args, now)?;
    let stay: Vec<&Candidate> = candidates.iter().filter(|it| it.stays.is_some()).collect();
    let go: Vec<&Candidate> = candidates.iter().filter(|it| it.stays.is_none()).collect();
    let lines = stay.iter().map(|it| {
        let why = it.stays.as_deref().unwrap_or_default();
        format!(
            "  - run {} ({}): {why}\n",
            it.record.run, it.record.row.playbook
        )
    });
    let lines: String = lines.collect();
    if !stay.is_empty() && !args.runs.is_empty() {
        return Err(
            CliError::refused("nothing was pruned, because of these runs")
                .detail(lines)
                .hint("end them first; `--lose-undo` removes those that could still be undone"),
        );
    }
    if !stay.is_empty() {
        eprint!("these runs stay:\n{lines}");
    }
    if settings.output() != OutputForm::Json {
        go.iter().for_each(|it| say(&line(it)));
    }
    let total = total(&go);
    if args.dry_run || go.is_empty() {
        return tell(settings, &go, &[], args.dry_run, total);
    }
    if !args.yes {
        if !settings::can_ask() {
            return Err(
                CliError::refused("nobody said yes, and there is no terminal to ask on")
                    .hint("add `--yes`"),
            );
        }
        if asker::confirm(&format!("Remove {} runs for good?", go.len())) != Some(true) {
            return Err(CliError::refused(
                "nothing was pruned, because nobody said yes",
            ));
        }
    }
    let upkeep = Upkeep {
        journal: journal.clone(),
        kinds: session::by_name(&library.kinds),
        host: settings::host(),
        machine: settings::machine(),
    };
    let mut failed = Vec::new();
    for candidate in &go {
        if let Err(error) = remove(&upkeep, candidate, &args.reason, now) {
            failed.push((candidate.record.run.clone(), error.line()));
        }
    }
    tell(settings, &go, &failed, false, total)
}

/// Returns the runs that are meant, newest first, so that one that undoes another goes before it.
fn candidates(
    settings: &Settings,
    library: &Library,
    journal: &Store,
    args: &Prune,
    now: Time,
) -> Result<Vec<Candidate>, CliError> {
    let filter = RunFilter {
        records: Records::All,
        ..RunFilter::default()
    };
    let all = journal.runs(&filter, usize::MAX)?;
    let mut meant: Vec<RunRecord> = match (&args.older_than, args.keep) {
        (Some(span), _) => {
            let before = now.milliseconds - span.milliseconds;
            let is_old = |ended: i64| ended <= before;
            let mut runs = all.clone();
            runs.retain(|record| record.row.ended_at.is_some_and(is_old));
            runs
        }
        (None, Some(keep)) => {
            // What previews have left is not counted, and goes with the runs around it.
            let mut runs = all.iter().filter(|record| !is_preview(record));
            let newest = runs.nth(keep).map(|record| record.number);
            let goes = |record: &&RunRecord| newest.is_some_and(|newest| record.number <= newest);
            all.iter().filter(goes).cloned().collect()
        }
        (None, None) => {
            let named = args.runs.iter().map(|name| journal.run(name));
            named.collect::<Result<_, _>>()?
        }
    };
    meant.sort_by_key(|record| std::cmp::Reverse(record.number));
    meant.dedup_by(|one, other| one.run == other.run);
    let heirs = Heirs::of(journal)?;
    let mut going: Vec<String> = meant.iter().map(|record| record.run.clone()).collect();
    let mut candidates = Vec::new();
    for record in meant {
        let run = &record.run;
        let by = heirs.heirs(run).iter().find(|by| !going.contains(by));
        let stays = match by {
            _ if record.row.ended_at.is_none() => {
                Some(format!("it has not ended: {}", record.row.state))
            }
            Some(by) => Some(format!(
                "run {by}, which undoes it or goes on from it, stays"
            )),
            None if args.lose_undo || is_preview(&record) => None,
            None => open(settings, library, journal, heirs.last(run), now)?,
        };
        if stays.is_some() {
            going.retain(|going| going != run);
        }
        candidates.push(Candidate {
            weight: journal.weight(run)?,
            keeps: journal.kept_by(run)?.len(),
            record,
            stays,
        });
    }
    Ok(candidates)
}

/// Returns whether it is what a preview has left.
fn is_preview(record: &RunRecord) -> bool {
    record.row.state == PREVIEWED
}

/// Says what of a run could still be undone, if anything.
fn open(
    settings: &Settings,
    library: &Library,
    journal: &Store,
    run: &str,
    now: Time,
) -> Result<Option<String>, CliError> {
    let state = begun(journal, run)
        .map_err(CliError::from)
        .and_then(|begun| {
            let folder = RunFolder::find(journal.home(), run)
                .ok_or_else(|| CliError::new("its folder is gone"))?;
            let plan = planning::pinned(library, &folder, &begun, settings.colour())?;
            Ok(replay(journal, &plan, run)?.0)
        });
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            let why = error.line();
            return Ok(Some(format!(
                "what could still be undone is not known: {why}"
            )));
        }
    };
    let open = state.open_undos().into_iter().zip(state.open_until());
    let open: Vec<String> = open
        .filter(|((_, _, possible), (_, until))| {
            *possible && until.is_none_or(|until| until.milliseconds > now.milliseconds)
        })
        .map(|((step, line, _), _)| format!("{step}: {line}"))
        .collect();
    Ok((!open.is_empty()).then(|| format!("it could still be undone: {}", open.join("; "))))
}

/// Removes one run: first what its undos keep, then its events and its folder.
fn remove(upkeep: &Upkeep, candidate: &Candidate, reason: &str, now: Time) -> Result<(), CliError> {
    let run = &candidate.record.run;
    let lock = hold(&upkeep.journal, run)?;
    let swept = session::runtime()?.block_on(upkeep.release_all(run, now))?;
    if let Some((release, failure)) = swept.failed.first() {
        return Err(CliError::new(format!(
            "give up what the undo of step `{}` keeps: {}",
            release.step,
            failure.line()
        )));
    }
    let who = settings::user();
    let stone = Stone {
        at: now.milliseconds,
        who: &who,
        why: reason,
    };
    Ok(upkeep.journal.prune_held(run, &stone, lock)?)
}

fn line(candidate: &Candidate) -> String {
    let Candidate {
        record,
        weight,
        keeps,
        ..
    } = candidate;
    let keeps = match keeps {
        0 => String::new(),
        1 => ", what 1 undo keeps".to_owned(),
        keeps => format!(", what {keeps} undos keep"),
    };
    format!(
        "{}  {}  {} ({}): {} events ({}), {} in its folder{keeps}\n",
        record.run,
        Time::from_milliseconds(record.row.started_at),
        record.row.playbook,
        record.row.state,
        weight.events,
        Bytes(weight.in_journal),
        Bytes(weight.in_folder),
    )
}

fn total(go: &[&Candidate]) -> Weight {
    go.iter().fold(Weight::default(), |total, it| Weight {
        events: total.events + it.weight.events,
        in_journal: total.in_journal + it.weight.in_journal,
        in_folder: total.in_folder + it.weight.in_folder,
    })
}

fn tell(
    settings: &Settings,
    go: &[&Candidate],
    failed: &[(String, String)],
    is_dry: bool,
    total: Weight,
) -> Done {
    if settings.output() == OutputForm::Json {
        let runs = go.iter().map(|it| {
            let failed = failed.iter().find(|(run, _)| *run == it.record.run);
            json!({
                "run": it.record.run,
                "playbook": it.record.row.playbook,
                "events": it.weight.events,
                "journal_bytes": it.weight.in_journal,
                "folder_bytes": it.weight.in_folder,
                "pruned": !is_dry && failed.is_none(),
                "error": failed.map(|(_, why)| why),
            })
        });
        say(&format!("{}\n", runs.collect::<serde_json::Value>()));
    } else if go.is_empty() {
        eprintln!("nothing to prune");
    } else {
        let done = if is_dry { "would be pruned" } else { "pruned" };
        say(&format!(
            "{done}: {} runs; {} of the journal are free for later runs, {} on the disk\n",
            go.len() - failed.len(),
            Bytes(total.in_journal),
            Bytes(total.in_folder),
        ));
    }
    if failed.is_empty() {
        return Ok(exit::OK);
    }
    let lines = failed
        .iter()
        .map(|(run, why)| format!("  - run {run}: {why}\n"));
    Err(
        CliError::new(format!("{} runs could not be pruned", failed.len()))
            .detail(lines.collect::<String>())
            .hint("what was not removed is as it was; try it again"),
    )
}

fn sweep(settings: &Settings) -> Done {
    let Some(_) = settings.journal_to_read()? else {
        eprintln!("no runs yet");
        return Ok(exit::OK);
    };
    let upkeep = Upkeep {
        journal: settings.journal()?,
        kinds: session::by_name(&Library::new(settings).kinds),
        host: settings::host(),
        machine: settings::machine(),
    };
    let now = Clock::system().now();
    let Swept { released, failed } = session::runtime()?.block_on(upkeep.sweep(now, None))?;
    for release in &released {
        say(&format!(
            "given up: run {}, step {}: {}\n",
            release.run, release.step, release.summary
        ));
    }
    if released.is_empty() && failed.is_empty() {
        eprintln!("nothing has lapsed");
    }
    if failed.is_empty() {
        return Ok(exit::OK);
    }
    let lines = failed.iter().map(|(release, failure)| {
        format!(
            "  - run {}, step {}: {}\n",
            release.run,
            release.step,
            failure.line()
        )
    });
    Err(CliError::new("give up what lapsed undos keep")
        .detail(lines.collect::<String>())
        .hint("it is tried again after every run"))
}
