//! The driver's side of one step: output, progress, time, cancellation, kept contents.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    event::{Output, StepKey},
    kind::{Digest, Host, Progress, Stream},
    plan::Sensitive,
    units::Time,
};
use tokio::sync::Notify;

use super::{Clock, SharedReporter, Vault, secrets::MaskedStream};
use crate::folder::{OutputFile, RunFolder};

/// One step's host. Contents that the run did not keep itself were kept by the run that it undoes, if it undoes one.
pub(super) struct StepHost {
    step: StepKey,
    label: String,
    folder: RunFolder,
    undone: Option<RunFolder>,
    reporter: SharedReporter,
    vault: Arc<Vault>,
    clock: Arc<Clock>,
    /// Whether nobody hears what it prints: the playbook calls it sensitive.
    quiet: bool,
    cancelled: AtomicBool,
    woken: Notify,
    stdout: Mutex<Printed>,
    stderr: Mutex<Printed>,
}

/// What was printed on one stream so far.
#[derive(Default)]
struct Printed {
    file: Option<OutputFile>,
    mask: Option<MaskedStream>,
}

impl StepHost {
    pub(super) fn new(
        step: StepKey,
        label: String,
        folder: RunFolder,
        undone: Option<RunFolder>,
        reporter: SharedReporter,
        vault: Arc<Vault>,
        clock: Arc<Clock>,
    ) -> StepHost {
        StepHost {
            step,
            label,
            folder,
            undone,
            reporter,
            vault,
            clock,
            quiet: false,
            cancelled: AtomicBool::new(false),
            woken: Notify::new(),
            stdout: Mutex::default(),
            stderr: Mutex::default(),
        }
    }

    /// Keeps to itself what the step prints, where its results are secrets.
    pub(super) fn hush(mut self, sensitive: &Sensitive) -> StepHost {
        self.quiet = *sensitive != Sensitive::No;
        self
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

    fn keep(&self, path: &Utf8Path) -> io::Result<Digest> {
        self.folder.keep(path).map_err(io::Error::other)
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        let own = self.folder.kept(digest);
        match &self.undone {
            Some(undone) if !own.exists() => undone.kept(digest),
            _ => own,
        }
    }
}
