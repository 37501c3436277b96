//! What `run`, `resume` and `rollback` share: the surroundings of a run, signals, and its end.

use std::{
    collections::BTreeMap,
    io::{stderr, stdout},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use runwright_core::{
    event::{Begun, FailOn, Reply, VERSION},
    kind::Kind,
    plan::{Body, Node, Plan},
    port::Reporter,
    units::Span,
    value::Fields,
};
use runwright_local::run::{
    Interrupt, Kinds, Manner, Run, RunError, SharedReporter, Surroundings, Vault,
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
    question::quoted,
    settings::{self, OutputForm, Settings},
    terminal,
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

/// How long to wait for what others have
#[derive(Args, Clone, Default)]
pub(crate) struct WaitArgs {
    /// Wait for locks that other runs hold and for processes that a dead engine has left: as long as it takes, or
    /// this long, for example `10m`
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "clap's shape of a flag whose value may be left out"
    )]
    wait: Option<Option<Span>>,
}

/// As long as it takes; a clock that counts nanoseconds can still add it.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl WaitArgs {
    /// Returns how long to wait; none: not at all.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.wait
            .map(|longest| longest.map_or(FOREVER, Span::to_std))
    }
}

/// Who answers the questions of a run, and how this process works on it.
pub(crate) struct Attendance<'a> {
    pub(crate) answers: &'a AnswerArgs,
    /// What was said beforehand of steps in doubt.
    pub(crate) in_doubt: BTreeMap<String, Reply>,
    pub(crate) wait: &'a WaitArgs,
    /// The run's id.
    pub(crate) run: &'a str,
    /// Who has started it.
    pub(crate) starter: &'a str,
    /// The umask that its processes start with.
    pub(crate) umask: u32,
    /// Why it is gone on with, where a person has said it.
    pub(crate) reason: &'a str,
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
    vault: Arc<Vault>,
    attendance: Attendance<'_>,
) -> Result<Surroundings, CliError> {
    let Attendance {
        answers,
        in_doubt,
        wait,
        run,
        starter,
        umask,
        reason,
    } = attendance;
    // What is started inherits it: a run that is taken up elsewhere goes on as it began.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    let reporter = reporter(settings, run);
    let asker = Terminal {
        yes: answers.yes,
        phrases: answers.phrases()?,
        in_doubt,
        reporter: reporter.clone(),
        user: settings::user(),
        starter: starter.to_owned(),
    };
    Ok(Surroundings {
        kinds: by_name(kinds),
        reporter,
        asker: Arc::new(asker),
        vault,
        clock: Arc::new(settings::clock()),
        // This very program, also when its file was replaced meanwhile.
        guard: vec!["/proc/self/exe".to_owned(), guard::NAME.to_owned()],
        signer: settings.signer()?,
        manner: Manner {
            attended: answers.attended(),
            wait_for_locks: wait.longest(),
            reason: reason.to_owned(),
            say: |line| terminal::say(&format!("{line}\n")),
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
            terminal::say(
                "warning: the head of this run could not be signed; `--log warn` says why\n",
            );
        }
        // What can't be given up now is tried again after the next run; `journal sweep` says why.
        match upkeep.sweep(settings::clock().now(), Some(UPKEEP)).await {
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
        let (sender, mut first) = (sender.clone(), true);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // What was asked at the first Ctrl-C is answered by the second one.
                if !std::mem::take(&mut first) || !asks {
                    terminal::break_off();
                }
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

/// Says which questions may come up that nobody is here to answer, and how they are answered then.
pub(crate) fn tell_open_answers(
    plan: &Plan,
    answers: &AnswerArgs,
    run: &str,
) -> Result<(), CliError> {
    if settings::can_ask() {
        return Ok(());
    }
    let phrases = answers.phrases()?;
    let open: String = plan
        .nodes
        .iter()
        .flat_map(|node| unanswered(node, answers.yes, &phrases, run))
        .collect();
    if !open.is_empty() {
        terminal::say(&format!(
            "`{}` may ask, and there is no terminal: the run waits then, without a process\n{open}",
            plan.root().name
        ));
    }
    Ok(())
}

/// Returns what a step may ask and how it is answered, a line each; not what was answered beforehand.
fn unanswered(
    node: &Node,
    yes: bool,
    phrases: &BTreeMap<String, String>,
    run: &str,
) -> Vec<String> {
    let id = &node.id;
    let mut lines = Vec::new();
    let mut line = |what: &str, how: &str| lines.push(format!("  - step `{id}` {what}: {how}\n"));
    if let Some(confirm) = &node.confirm {
        let for_one = confirm.is_for_one();
        let is_phrase_given = || {
            let is_this = |step: &String| step == id || step.ends_with(&format!("/{id}"));
            phrases.keys().any(is_this)
        };
        let who = match (confirm.approvers, confirm.not_starter) {
            (0 | 1, false) => "",
            (0 | 1, true) => " somebody else than who starts it",
            (_, false) => " several people",
            (_, true) => " several people, one of them not who starts it",
        };
        match &confirm.phrase {
            Some(_) if for_one && is_phrase_given() => {}
            Some(phrase) => {
                let approve = format!("runwright approve {run} {id} --phrase PHRASE");
                let how = match for_one {
                    true => format!("`--confirm {id}=PHRASE`, or `{approve}`"),
                    false => format!("`{approve}`"),
                };
                let phrase = quoted(phrase.text());
                line(&format!("asks{who} for the phrase {phrase}"), &how);
            }
            None if for_one && yes => {}
            None => {
                let approve = format!("runwright approve {run} {id}");
                let how = match for_one {
                    true => format!("`--yes`, or `{approve}`"),
                    false => format!("`{approve}`"),
                };
                line(&format!("asks{who} yes or no"), &how);
            }
        }
    }
    match &node.body {
        Body::Ask(inputs) => {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            let set: Vec<String> = names
                .iter()
                .map(|name| format!(" --set {name}=VALUE"))
                .collect();
            line(
                &format!("asks for {}", names.join(", ")),
                &format!("`runwright answer {run} {id}{}`", set.concat()),
            );
        }
        Body::Manual(_) => line(
            "is an instruction for a person",
            &format!("`runwright answer {run} {id} done`"),
        ),
        _ => {}
    }
    lines
}
