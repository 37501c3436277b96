//! `runwright audit`: proves the journal, exports it for others to prove, makes keys that sign it.

use std::{
    fs::File,
    io::{BufReader, BufWriter, IsTerminal, Write},
    time::{Duration, Instant},
};

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use runwright_local::{
    audit::{self, Against, Report, export},
    journal::{EventHash, Journal, JournalError, Walked},
    signature::{PublicKey, SignKey, public_path},
};
use serde_json::Value as Json;

use crate::{
    Done,
    commands::check::say,
    error::CliError,
    exit,
    library::Library,
    planning,
    settings::{self, OutputForm, Settings},
};

/// Prove that the journal is as it was written; export it; make a key that signs it
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(Verify),
    Export(Export),
    Keygen(Keygen),
}

/// Prove that runs are as they were written
///
/// Every event holds the hash of the one before it, and the first event of a run that of the first event of the run
/// begun before it: what was changed, removed, put in or moved is found and named, and so are lists that do not follow
/// from the events.
///
/// The file alone can't prove that its end was not cut off, or that not all of it was written anew. For that, keep the
/// head of a run (it stands at the end of every run, in `show`, in `history --output json`) elsewhere: on another
/// machine, in a ticket, on paper. Then ask with `--head RUN=HASH`, or with `--heads FILE`. Against root on the same
/// machine only a head kept elsewhere helps, or a signature whose key is not on that machine any more.
///
/// Works on a copy of the folder too (`--home DIR`), also a read-only one, and while runs are going on. Exits with 0
/// when all holds, with 1 when not.
#[derive(Args)]
struct Verify {
    /// The runs: ids, the beginnings of them, or `last` [default: all]
    runs: Vec<String>,

    /// Check against a head that was kept
    #[arg(long, value_name = "RUN=HASH")]
    head: Vec<String>,

    /// Check against the heads in a file: lines `RUN HASH`, or saved JSON output
    #[arg(long, value_name = "FILE")]
    heads: Vec<Utf8PathBuf>,

    /// Check that every run that is not going on is signed by this key
    #[arg(long, value_name = "PUBLIC")]
    key: Option<Utf8PathBuf>,

    /// Only runs from this one on must be signed
    #[arg(long, value_name = "RUN", requires = "key")]
    signed_from: Option<String>,

    /// Prove an export instead of the journal; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    export: Option<Utf8PathBuf>,
}

/// Write runs as JSON lines that anyone can verify
///
/// The lines are described by `runwright schema audit`, down to the bytes that are hashed; a verifier in plain Python
/// is `scripts/verify-export.py`. They hold what the journal holds: no secrets, and no content of files.
#[derive(Args)]
struct Export {
    /// The runs: ids, the beginnings of them, or `last` [default: all]
    runs: Vec<String>,

    /// All runs, and what proves that none is missing
    #[arg(long, conflicts_with = "runs")]
    all: bool,

    /// Where to; an existing file is not written over [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

/// Make a key that signs the ends of runs
///
/// Used by `--sign-key FILE` or `RUNWRIGHT_SIGN_KEY=FILE`. The public half is printed, and written beside it as
/// FILE.pub: keep that elsewhere, `audit verify --key` wants it.
#[derive(Args)]
struct Keygen {
    /// Where to [default: sign-key.pem in /etc/runwright for root, else in ~/.config/runwright]
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

/// Does one of them.
pub(crate) fn audit(settings: &Settings, args: &Audit) -> Done {
    match &args.command {
        Command::Verify(args) => verify(settings, args),
        Command::Export(args) => export(settings, args),
        Command::Keygen(args) => keygen(args),
    }
}

fn verify(settings: &Settings, args: &Verify) -> Done {
    let mut against = against(args)?;
    let bar = Progress::new();
    let report = match &args.export {
        Some(path) => verify_export(path, &against, &bar)?,
        None => {
            let Some(journal) = settings.journal_to_prove()? else {
                return no_journal(settings, &against);
            };
            let runs = resolve(&journal, &args.runs)?;
            if let Some(from) = &against.signed_from {
                against.signed_from = resolve(&journal, std::slice::from_ref(from))?.pop();
            }
            verify_journal(settings, &journal, &runs, &against, &bar)?
        }
    };
    bar.end();
    match settings.output() {
        OutputForm::Json => {
            let text = serde_json::to_string(&report).expect("a report has only text keys");
            say(&format!("{text}\n"));
        }
        _ => say(&text(&report)),
    }
    Ok(if report.holds { exit::OK } else { exit::FAILED })
}

/// Without a journal nothing is proved: it may have been removed.
fn no_journal(settings: &Settings, against: &Against) -> Done {
    let home = settings.home_folder()?;
    let error = CliError::new(format!("find a journal in `{home}`: there is none"));
    Err(match against.heads.is_empty() {
        true => error.hint("say where it is with `--home DIR`"),
        false => {
            error.hint("heads were kept of it: it was removed, or lies elsewhere (`--home DIR`)")
        }
    })
}

fn verify_journal(
    settings: &Settings,
    journal: &Journal,
    runs: &[String],
    against: &Against,
    bar: &Progress,
) -> Result<Report, CliError> {
    let library = Library::new(settings);
    let mut plan_of = |begun: &_, folder: &_| {
        planning::pinned(&library, folder, begun, settings.colour()).map_err(|error| error.line())
    };
    let mut events = 0;
    let mut tell = |walked: Walked| {
        events += walked.events;
        bar.at(&format!(
            "run {} of {}, {events} events",
            walked.run, walked.of
        ));
    };
    Ok(audit::verify(
        journal,
        runs,
        against,
        &mut plan_of,
        &mut tell,
    )?)
}

fn verify_export(
    path: &Utf8PathBuf,
    against: &Against,
    bar: &Progress,
) -> Result<Report, CliError> {
    let mut tell = |lines| bar.at(&format!("{lines} lines"));
    let report = if path == "-" {
        export::verify(&mut std::io::stdin().lock(), against, &mut tell)
    } else {
        let file = File::open(path)
            .map_err(|error| CliError::new(format!("open `{path}`")).because(&error))?;
        export::verify(&mut BufReader::new(file), against, &mut tell)
    };
    report.map_err(|error| CliError::new(format!("read `{path}`")).because(&error))
}

/// Returns what is known from elsewhere.
fn against(args: &Verify) -> Result<Against, CliError> {
    let mut heads = Vec::new();
    for given in &args.head {
        let head = given
            .split_once('=')
            .and_then(|(run, head)| kept(run, head));
        heads.push(head.ok_or_else(|| {
            CliError::usage(format!("read `--head {given}`"))
                .hint("write `--head RUN=HASH`, with the whole id and the 64 hex digits")
        })?);
    }
    for path in &args.heads {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::usage(format!("read `{path}`")).because(&error))?;
        let before = heads.len();
        heads_in(&text, &mut heads).map_err(|line| {
            CliError::usage(format!("read `{path}`: line {line} is no head"))
                .hint("a line is `RUN HASH`, or JSON with `run` and `head`")
        })?;
        if heads.len() == before {
            return Err(CliError::usage(format!(
                "read `{path}`: there is no head in it"
            )));
        }
    }
    Ok(Against {
        heads,
        key: args
            .key
            .as_ref()
            .map(|path| PublicKey::read(path))
            .transpose()
            .map_err(|error| CliError::from(error).code(exit::USAGE))?,
        signed_from: args.signed_from.clone(),
    })
}

/// Adds the heads in a file: lines of `RUN HASH` or `RUN=HASH`, comments, or JSON; fails with the line that is none.
fn heads_in(text: &str, heads: &mut Vec<(String, EventHash)>) -> Result<(), usize> {
    for (line, number) in text.lines().zip(1_usize..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(['{', '[']) {
            let json: Json = serde_json::from_str(line).map_err(|_| number)?;
            heads_of(&json, heads);
            continue;
        }
        let parts = line.split_once(['=', ' ', '\t']);
        let head = parts.and_then(|(run, head)| kept(run, head.trim()));
        heads.push(head.ok_or(number)?);
    }
    Ok(())
}

/// Adds every head of saved output: of summaries, of `history`, of a report.
fn heads_of(json: &Json, heads: &mut Vec<(String, EventHash)>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| heads_of(item, heads)),
        Json::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Json::as_str);
            let head = text("run").zip(text("head"));
            heads.extend(head.and_then(|(run, head)| kept(run, head)));
            fields
                .get("runs")
                .into_iter()
                .for_each(|runs| heads_of(runs, heads));
        }
        _ => {}
    }
}

fn kept(run: &str, head: &str) -> Option<(String, EventHash)> {
    let is_id = runwright_local::home::is_run_id(run);
    Some((run.to_owned(), head.parse().ok()?)).filter(|_| is_id)
}

/// Returns the ids that `names` mean; a pruned run, or one whose row is gone, is named in full.
fn resolve(journal: &Journal, names: &[String]) -> Result<Vec<String>, CliError> {
    let mut runs: Vec<String> = Vec::new();
    for name in names {
        let run = match journal.run(name) {
            Ok(record) => record.run,
            Err(JournalError::NoRun { .. })
                if journal.begun()?.iter().any(|begun| begun.run == *name) =>
            {
                name.clone()
            }
            Err(error) => return Err(error.into()),
        };
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    Ok(runs)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        let run = fault.run.as_deref().map(|run| format!("run {run}, "));
        let seq = fault.seq.map(|seq| format!("event {seq}, "));
        let place = run.unwrap_or_default() + &seq.unwrap_or_default();
        let place = place.strip_suffix(", ").unwrap_or("journal");
        text += &format!("FAULT {place}: {}\n      {}\n", fault.text, fault.means);
    }
    for note in &report.notes {
        text += &format!("note: {note}\n");
    }
    if let [run] = report.runs.as_slice() {
        let head = run.head.map(|head| head.to_string()).unwrap_or_default();
        text += &format!("run {} head {head}\n", run.run);
    }
    let events: u64 = report.runs.iter().map(|run| run.events).sum();
    let signed = report.runs.iter().filter(|run| !run.signed_by.is_empty());
    let counts = format!(
        "{}, {}, {} signed",
        count(report.runs.len() as u64, "run"),
        count(events, "event"),
        signed.count()
    );
    text += &match report.faults.len() as u64 {
        0 => format!("all holds: {counts}\n"),
        faults => format!("{}: {counts}\n", count(faults, "fault")),
    };
    text
}

fn count(number: u64, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        number => format!("{number} {of}s"),
    }
}

fn export(settings: &Settings, args: &Export) -> Done {
    let journal = settings
        .journal_to_prove()?
        .ok_or_else(|| CliError::new("export the journal: there are no runs yet"))?;
    let runs = resolve(&journal, &args.runs)?;
    let bar = Progress::new();
    let mut tell = |run, events| bar.at(&format!("run {run}, {events} events"));
    let engine = env!("CARGO_PKG_VERSION");
    let written = match &args.out {
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            export::write(&journal, &runs, engine, &mut out, &mut tell)
        }
        Some(path) => {
            let file = File::create_new(path)
                .map_err(|error| CliError::new(format!("create `{path}`")).because(&error))?;
            let mut out = BufWriter::new(file);
            export::write(&journal, &runs, engine, &mut out, &mut tell).and_then(|count| {
                out.flush()?;
                out.get_ref().sync_all()?;
                Ok(count)
            })
        }
    };
    bar.end();
    match written {
        Ok(runs) => {
            if let Some(path) = &args.out {
                eprintln!("exported {} to `{path}`", count(runs, "run"));
            }
            Ok(exit::OK)
        }
        // Whoever reads it has enough.
        Err(export::ExportError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(exit::OK)
        }
        Err(export::ExportError::Journal(error)) => Err(error.into()),
        Err(error) => Err(CliError::new("export the journal").because(&error)),
    }
}

fn keygen(args: &Keygen) -> Done {
    let path = match &args.out {
        Some(path) => path.clone(),
        None => default_key()?,
    };
    let key = SignKey::make(&path)?.public();
    eprintln!("key {} with the fingerprint {}", path, key.fingerprint());
    eprintln!(
        "its public half lies in {}; keep a copy elsewhere",
        public_path(&path)
    );
    say(&key.to_pem());
    Ok(exit::OK)
}

fn default_key() -> Result<Utf8PathBuf, CliError> {
    let folder = if settings::is_root() {
        Utf8PathBuf::from("/etc/runwright")
    } else {
        let config = settings::path_of("XDG_CONFIG_HOME")
            .or_else(|| settings::path_of("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| {
            CliError::usage("find a place for the key: `HOME` is not set")
                .hint("say where with `--out FILE`")
        })?;
        config.join("runwright")
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| CliError::new(format!("create `{folder}`")).because(&error))?;
    Ok(folder.join("sign-key.pem"))
}

/// How far a long journal is: a line that moves on a terminal, now and then a line elsewhere.
struct Progress {
    bar: ProgressBar,
    told: std::cell::Cell<Instant>,
}

/// How often it is said elsewhere.
const EVERY: Duration = Duration::from_secs(10);

impl Progress {
    fn new() -> Progress {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.expect("the template is right"));
        Progress {
            bar,
            told: std::cell::Cell::new(Instant::now()),
        }
    }

    fn at(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
        if self.bar.is_hidden() && self.told.get().elapsed() >= EVERY {
            self.told.set(Instant::now());
            eprintln!("{text}");
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_from_lines_and_from_saved_output() {
        let hash = "0a".repeat(32);
        let text = format!(
            "# kept on Friday\n\naaaaaaaaaaaa {hash}\nbbbbbbbbbbbb={hash}\n\
             {{\"v\":1,\"kind\":\"begun\",\"run\":\"cccccccccccc\"}}\n\
             {{\"kind\":\"summary\",\"run\":\"cccccccccccc\",\"head\":\"{hash}\"}}\n\
             [{{\"run\":\"dddddddddddd\",\"head\":\"{hash}\"}}]\n\
             {{\"runs\":[{{\"run\":\"eeeeeeeeeeee\",\"head\":\"{hash}\"}}]}}\n"
        );
        let mut heads = Vec::new();
        assert_eq!(heads_in(&text, &mut heads), Ok(()));
        let runs: Vec<&str> = heads.iter().map(|(run, _)| &run[..1]).collect();
        assert_eq!(runs, ["a", "b", "c", "d", "e"]);
        assert!(heads.iter().all(|(_, head)| head.to_string() == hash));
        for wrong in ["aaaaaaaaaaaa 0a", "aaa 0a", "word", "{"] {
            let text = format!("# first\n{wrong}\n");
            assert_eq!(heads_in(&text, &mut Vec::new()), Err(2), "{wrong}");
        }
    }
}
