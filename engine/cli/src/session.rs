//! What `run`, `resume` and `rollback` share: the surroundings of a run, signals, and its end.

use std::{
    collections::BTreeMap,
    io::{stderr, stdout},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use runwright_core::{
    event::{Begun, FailOn, VERSION},
    kind::Kind,
    plan::{Body, Node, Plan},
    port::Reporter,
    value::Fields,
};
use runwright_local::run::{
    Clock, Interrupt, Kinds, Manner, Run, RunError, SharedReporter, Surroundings, Vault,
};
use runwright_report::{Json, Plain, Tty};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    asker::Terminal,
    commands::guard,
    error::CliError,
    settings::{self, OutputForm, Settings},
};

/// Answers that are given beforehand
#[derive(Args, Clone, Default)]
pub(crate) struct AnswerArgs {
    /// Answer plain questions with yes; never a phrase
    #[arg(long)]
    pub(crate) yes: bool,

    /// Give the phrase that a step asks for
    #[arg(long, value_name = "STEP=PHRASE")]
    confirm: Vec<String>,
}

impl AnswerArgs {
    /// Returns whether a person sits at the terminal and means to be asked.
    pub(crate) fn attended(&self) -> bool {
        !self.yes && settings::can_ask()
    }

    /// Returns the phrases by step.
    pub(crate) fn phrases(&self) -> Result<BTreeMap<String, String>, CliError> {
        self.confirm
            .iter()
            .map(|given| match given.split_once('=') {
                Some((step, phrase)) => Ok((step.to_owned(), phrase.to_owned())),
                None => Err(
                    CliError::usage(format!("read `--confirm {given}`: it has no `=`"))
                        .hint("write `--confirm STEP=PHRASE`"),
                ),
            })
            .collect()
    }
}

/// Returns the kinds by name.
pub(crate) fn by_name(kinds: &[Kind]) -> Kinds {
    Arc::new(kinds.iter().map(|kind| (kind.name, *kind)).collect())
}

/// Returns the reporter that the settings ask for.
pub(crate) fn reporter(settings: &Settings, run: &str) -> SharedReporter {
    let colour = settings.colour();
    let reporter: Box<dyn Reporter> = match settings.output() {
        OutputForm::Json => Box::new(Json::new(Box::new(stdout())).of_run(run)),
        OutputForm::Tty => Box::new(Tty::new(colour).of_run(run)),
        OutputForm::Plain | OutputForm::Auto | OutputForm::Markdown => {
            Box::new(Plain::new(Box::new(stderr()), colour).of_run(run))
        }
    };
    Arc::new(Mutex::new(reporter))
}

/// Returns the surroundings of a run.
pub(crate) fn surroundings(
    settings: &Settings,
    kinds: &[Kind],
    answers: &AnswerArgs,
    vault: Arc<Vault>,
    run: &str,
) -> Result<Surroundings, CliError> {
    let reporter = reporter(settings, run);
    let asker = Terminal {
        yes: answers.yes,
        phrases: answers.phrases()?,
        reporter: reporter.clone(),
        user: settings::user(),
    };
    Ok(Surroundings {
        kinds: by_name(kinds),
        reporter,
        asker: Arc::new(asker),
        vault,
        clock: Arc::new(Clock::system()),
        // This very program, also when its file was replaced meanwhile.
        guard: vec!["/proc/self/exe".to_owned(), guard::NAME.to_owned()],
        signer: settings.signer()?,
        manner: Manner {
            attended: answers.attended(),
            say: |line| eprintln!("{line}"),
            ..Manner::default()
        },
        locks: Settings::locks_path(),
    })
}

/// How long a run's end is spent on what lapsed undos of earlier runs keep: the rest waits for the next one.
const UPKEEP: Duration = Duration::from_secs(2);

/// Makes a run and drives it to its end, or to where it stops; returns its exit code.
pub(crate) fn drive(make: impl Future<Output = Result<Run, RunError>>) -> Result<u8, CliError> {
    let runtime = runtime()?;
    let driven = runtime.block_on(async {
        let mut interrupts = listen()?;
        let run = tokio::select! {
            biased;
            interrupt = interrupts.recv() => {
                let by = interrupt.map(|interrupt| interrupt.by).unwrap_or_default();
                return Err(CliError::refused(format!("{by}: nothing was started")));
            }
            run = make => run?,
        };
        let (upkeep, is_signing) = (run.upkeep(), run.is_signing());
        let summary = run.drive(interrupts).await?;
        if is_signing && summary.signed_by.is_none() {
            eprintln!("warning: the head of this run could not be signed; `--log warn` says why");
        }
        // What can't be given up now is tried again after the next run; `journal sweep` says why.
        match upkeep.sweep(Clock::system().now(), Some(UPKEEP)).await {
            Ok(swept) => tracing::debug!(?swept, "lapsed undos"),
            Err(error) => tracing::warn!(%error, "lapsed undos could not be looked for"),
        }
        Ok::<_, CliError>(summary)
    });
    // A question that nobody answered may still hold a thread.
    runtime.shutdown_background();
    Ok(driven?.exit_code)
}

/// Returns the runtime of runs and previews: one thread for the loop, more only for what blocks.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new("start the runtime").because(&error))
}

/// Returns the signals that stop a run in order.
fn listen() -> Result<mpsc::UnboundedReceiver<Interrupt>, CliError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let kinds = [
        (SignalKind::interrupt(), "Ctrl-C", true),
        (SignalKind::terminate(), "SIGTERM", false),
        (SignalKind::hangup(), "SIGHUP", false),
    ];
    for (kind, name, asks) in kinds {
        let mut signals =
            signal(kind).map_err(|error| CliError::new("listen for signals").because(&error))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if sender
                    .send(Interrupt {
                        by: name.to_owned(),
                        asks,
                    })
                    .is_err()
                {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Returns the first event of a run.
pub(crate) fn begun(
    plan: &Plan,
    values: Fields,
    sources: BTreeMap<String, String>,
    answers: &AnswerArgs,
    fail_on: FailOn,
) -> Begun {
    let root = plan.root();
    Begun {
        version: VERSION,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        run: new_run_id().into(),
        playbook: root.name.clone(),
        playbook_version: root.version.clone(),
        title: root.title.clone(),
        path: root.path.clone(),
        texts: plan
            .scopes
            .iter()
            .map(|scope| {
                (
                    format!("{}@{}", scope.name, scope.version),
                    scope.digest.clone(),
                )
            })
            .collect(),
        inputs: values,
        sources,
        user: settings::user(),
        account: settings::account(),
        host: settings::host(),
        machine: settings::machine(),
        children: settings::children(),
        undoes: None,
        continues: None,
        attended: answers.attended(),
        yes: answers.yes,
        fail_on,
        unseen: None,
    }
}

/// Returns a new run's id: 12 of `[a-z0-9]`, at random.
pub(crate) fn new_run_id() -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut id = String::with_capacity(12);
    let mut bytes = [0_u8; 32];
    while id.len() < 12 {
        // The kernel's random numbers can't fail once the machine has started.
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .expect("the kernel gives random numbers");
        // 252 is the largest multiple of 36 in a byte: every digit is as likely.
        let digits = bytes
            .iter()
            .filter(|byte| **byte < 252)
            .map(|byte| char::from(DIGITS[usize::from(byte % 36)]));
        id.extend(digits.take(12 - id.len()));
    }
    id
}

/// Refuses a run that would need an answer which nobody can give: without a terminal, and not given beforehand.
pub(crate) fn refuse_unanswerable(plan: &Plan, answers: &AnswerArgs) -> Result<(), CliError> {
    if settings::can_ask() {
        return Ok(());
    }
    let phrases = answers.phrases()?;
    let open: Vec<String> = plan
        .nodes
        .iter()
        .filter_map(|node| unanswered(node, answers.yes, &phrases))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(CliError::refused(format!(
        "`{}` may need answers, and there is no terminal to ask on",
        plan.root().name
    ))
    .detail(open.concat())
    .hint("give them beforehand, or run it on a terminal"))
}

fn unanswered(node: &Node, yes: bool, phrases: &BTreeMap<String, String>) -> Option<String> {
    let id = &node.id;
    if let Some(confirm) = &node.confirm {
        let given = match &confirm.phrase {
            Some(_) => phrases
                .keys()
                .any(|step| step == id || step.ends_with(&format!("/{id}"))),
            None => yes,
        };
        if !given {
            let (what, how) = match &confirm.phrase {
                Some(phrase) => (
                    format!("asks for the phrase `{}`", phrase.text()),
                    format!("--confirm {id}=PHRASE"),
                ),
                None => ("asks yes or no".to_owned(), "--yes".to_owned()),
            };
            return Some(format!("  - step `{id}` {what}: {how}\n"));
        }
    }
    match &node.body {
        Body::Ask(inputs) => {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            Some(format!(
                "  - step `{id}` asks for {}: only on a terminal\n",
                names.join(", ")
            ))
        }
        Body::Manual(_) => Some(format!(
            "  - step `{id}` is an instruction for a person: only on a terminal\n"
        )),
        _ => None,
    }
}
