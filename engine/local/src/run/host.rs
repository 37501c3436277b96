//! The driver's side of one step: output, progress, time, cancellation, kept contents.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    event::{Output, StepKey},
    kind::{Digest, Hasher, Host, Progress, Stream},
    machine::Task,
    plan::Sensitive,
    units::Time,
};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::{
    Clock, SharedReporter, Vault, guard::Guard, processes::Processes, secrets::MaskedStream,
    work::Terminal,
};
use crate::{
    digests::{Digests, Keys, Marks},
    folder::{OutputFile, RunFolder},
};

/// How often a step that waits for the terminal asks whether it is free.
const TURN: Duration = Duration::from_millis(20);

/// One step's host. Contents that the run did not keep itself were kept by a run that it undoes or goes on from.
pub(super) struct StepHost {
    step: StepKey,
    label: String,
    folder: RunFolder,
    /// The folders of the runs that this one undoes or goes on from, the nearest first.
    earlier: Arc<[RunFolder]>,
    reporter: SharedReporter,
    vault: Arc<Vault>,
    digests: Digests,
    clock: Arc<Clock>,
    /// Whether nobody hears what it prints: the playbook calls it sensitive.
    quiet: bool,
    cancelled: AtomicBool,
    woken: Notify,
    processes: Processes,
    terminal: Terminal,
    /// There while a process of the step has the terminal.
    turn: Mutex<Option<OwnedMutexGuard<()>>>,
    stdout: Mutex<Printed>,
    stderr: Mutex<Printed>,
}

/// What all hosts of a run share.
pub(super) struct Shared {
    pub(super) earlier: Arc<[RunFolder]>,
    pub(super) folder: RunFolder,
    pub(super) reporter: SharedReporter,
    pub(super) vault: Arc<Vault>,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Arc<Clock>,
    pub(super) guard: Arc<Guard>,
    pub(super) terminal: Terminal,
}

/// How much care is taken of what a step says and of what it marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Care {
    /// Whether nobody hears what it prints.
    quiet: bool,
    marks: Marks,
}

impl Care {
    /// Returns the care for `task`.
    pub(super) fn of(task: &Task) -> Care {
        Care {
            marks: Marks::of(task),
            ..Care::of_results(&task.sensitive)
        }
    }

    /// Returns the care for what has results as `sensitive` says, and no contents of its own.
    pub(super) fn of_results(sensitive: &Sensitive) -> Care {
        Care {
            quiet: *sensitive != Sensitive::No,
            marks: Marks::KeyedWhereFound,
        }
    }
}

/// What was printed on one stream so far.
#[derive(Default)]
struct Printed {
    file: Option<OutputFile>,
    mask: Option<MaskedStream>,
}

impl StepHost {
    pub(super) fn new(step: StepKey, label: String, care: Care, shared: Shared) -> StepHost {
        let Shared {
            folder,
            earlier,
            reporter,
            vault,
            keys,
            clock,
            guard,
            terminal,
        } = shared;
        StepHost {
            processes: Processes::new(step.clone(), folder.clone(), guard),
            terminal,
            turn: Mutex::default(),
            step,
            label,
            folder,
            earlier,
            reporter,
            digests: Digests::new(vault.clone(), keys, care.marks),
            vault,
            clock,
            quiet: care.quiet,
            cancelled: AtomicBool::new(false),
            woken: Notify::new(),
            stdout: Mutex::default(),
            stderr: Mutex::default(),
        }
    }

    /// Sees that the step's processes end when this one dies.
    pub(super) fn guard(&self) {
        self.processes.guard();
    }

    /// Returns whether a process of the step is there.
    pub(super) fn has_processes(&self) -> bool {
        self.processes.any()
    }

    /// Tells the step to end at once.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.woken.notify_waiters();
    }

    /// Returns once the step was told to end.
    pub(super) async fn until_cancelled(&self) {
        let woken = self.woken.notified();
        if !self.cancelled() {
            woken.await;
        }
    }

    /// Returns what was printed, at the step's end.
    pub(super) fn finish(&self) -> Vec<Output> {
        [
            (Stream::Stdout, &self.stdout),
            (Stream::Stderr, &self.stderr),
        ]
        .into_iter()
        .filter_map(|(stream, printed)| {
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rest) = printed.mask.as_mut().map(MaskedStream::finish) {
                self.show(&mut printed, stream, &rest);
            }
            let output = printed.file.take()?.finish();
            Some(Output {
                stream,
                bytes: output.length,
                digest: output.digest,
                lost: output.lost,
            })
        })
        .collect()
    }

    fn show(&self, printed: &mut Printed, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let file = printed.file.get_or_insert_with(|| {
            let file = self.folder.output(&self.label, stream);
            file.unwrap_or_else(|error| OutputFile::keeping_nothing(error.into()))
        });
        file.write(bytes);
        self.reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .output(&self.step, stream, bytes);
    }
}

impl Host for StepHost {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.quiet {
            return;
        }
        let printed = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.mask.is_none() {
            printed.mask = self.vault.stream();
        }
        match &mut printed.mask {
            Some(mask) => {
                let shown = mask.push(bytes);
                self.show(&mut printed, stream, &shown);
            }
            None => self.show(&mut printed, stream, bytes),
        }
    }

    fn progress(&self, progress: Progress) {
        self.reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .progress(&self.step, &progress);
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn hasher(&self) -> Box<dyn Hasher> {
        self.digests.hasher()
    }

    fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        self.digests.hasher_like(recorded)
    }

    fn keep(&self, path: &Utf8Path, recorded: &Digest) -> io::Result<Digest> {
        let kept = self.folder.keep(path, self.hasher_like(recorded)?);
        kept.map_err(io::Error::other)
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        let own = self.folder.kept(digest);
        if own.exists() {
            return own;
        }
        let mut earlier = self.earlier.iter().map(|folder| folder.kept(digest));
        earlier.find(|kept| kept.exists()).unwrap_or(own)
    }

    fn start(
        &self,
        grace: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()> {
        self.processes.start(grace, start)
    }

    fn ended(&self, group: u32) {
        self.processes.ended(group);
    }

    fn take_terminal(&self) -> bool {
        let turn = loop {
            if self.cancelled() {
                return false;
            }
            match self.terminal.clone().try_lock_owned() {
                Ok(turn) => break turn,
                Err(_) => thread::sleep(TURN),
            }
        };
        self.reporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pause();
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        true
    }

    fn give_terminal_back(&self) {
        let turn = self
            .turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if turn.is_some() {
            self.reporter
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .go_on();
        }
    }
}
