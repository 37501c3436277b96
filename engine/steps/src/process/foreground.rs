//! The terminal, while a program of a step has it.
//!
//! The program leads a group of its own that is made the terminal's foreground: what is typed, also Ctrl-C and Ctrl-Z,
//! is its and not ours. Whatever becomes of it, the terminal is ours again afterwards, with its modes as they were.
//!
//! Ctrl-Z does what it does under a shell: the program stops and so do we, with the terminal as it was, and `fg` lets
//! both go on. Where nobody could say `fg` the kernel does not stop us, and the program goes on at once.

use std::{
    fs::{File, OpenOptions},
    sync::Arc,
};

use nix::sys::signal::{self, SigSet};
use runwright_core::kind::Host;
use rustix::{
    process::{Pid, Signal, getpgid, getpgrp, getpid, getppid, kill_process},
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp},
};

use super::group::{self, Group};

/// A step's turn at the terminal, from before its program starts until after it has ended.
pub(super) struct Turn {
    host: Arc<dyn Host>,
    /// Missing where the streams are a terminal that is not ours to control.
    terminal: Option<Terminal>,
}

struct Terminal {
    file: File,
    ours: Pid,
    modes: Termios,
    /// The program's modes, while it is stopped.
    theirs: Option<Termios>,
    /// Whether we have given it away.
    given: bool,
}

impl Turn {
    /// Waits for the terminal; `None` when the step is to end first.
    pub(super) fn wait(host: &Arc<dyn Host>) -> Option<Turn> {
        host.take_terminal().then(|| Turn {
            host: Arc::clone(host),
            terminal: Terminal::open(),
        })
    }

    /// Sees that `group` has the terminal if we could have it. To be called again and again.
    pub(super) fn tend(&mut self, group: Group) {
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        match tcgetpgrp(&terminal.file) {
            // Also when `fg` has just brought us back.
            Ok(foreground) if foreground == terminal.ours => terminal.give(group),
            Ok(foreground) if foreground == group.leader && group.is_stopped() => {
                terminal.theirs = tcgetattr(&terminal.file).ok();
                terminal.take_back();
                suspend(terminal.ours);
            }
            // We were started, or put, in the background: the program may wait for the terminal as we do.
            _ => {}
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(terminal) = &mut self.terminal
            && terminal.given
            && !terminal.is_the_shells()
        {
            terminal.take_back();
        }
        self.host.give_terminal_back();
    }
}

impl Terminal {
    fn open() -> Option<Terminal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let modes = tcgetattr(&file).ok()?;
        Some(Terminal {
            file,
            ours: getpgrp(),
            modes,
            theirs: None,
            given: false,
        })
    }

    fn give(&mut self, group: Group) {
        unstoppable(|| {
            if let Some(theirs) = self.theirs.take() {
                let _ = tcsetattr(&self.file, OptionalActions::Now, &theirs);
            }
            // A group that has just ended can't have it: then it stays ours.
            self.given |= tcsetpgrp(&self.file, group.leader).is_ok();
        });
        // It may have asked for the terminal before it had it.
        group.go_on();
    }

    fn take_back(&mut self) {
        unstoppable(|| {
            let _ = tcsetpgrp(&self.file, self.ours);
            // Not after what is still to be written: that may wait for a Ctrl-Q.
            let _ = tcsetattr(&self.file, OptionalActions::Now, &self.modes);
        });
        self.given = false;
    }

    /// Returns whether who started us has taken the terminal meanwhile, because we were put in the background.
    fn is_the_shells(&self) -> bool {
        let shell = getppid().and_then(|shell| getpgid(Some(shell)).ok());
        shell.is_some_and(|shell| {
            shell != self.ours && tcgetpgrp(&self.file).is_ok_and(|foreground| foreground == shell)
        })
    }
}

/// Does something to the terminal that would stop a process in the background.
fn unstoppable(act: impl FnOnce()) {
    let mut stopping = SigSet::empty();
    stopping.add(signal::Signal::SIGTTOU);
    // Only who is told to do it with a wrong number fails.
    let before = stopping.thread_swap_mask(signal::SigmaskHow::SIG_BLOCK);
    act();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
}

/// Stops us and our neighbours in a pipeline as Ctrl-Z does, and returns when we are let go on.
fn suspend(ours: Pid) {
    let me = getpid();
    for neighbour in group::members(ours).into_iter().filter(|pid| *pid != me) {
        let _ = kill_process(neighbour, Signal::TSTP);
    }
    // To this very thread, so that nothing is done between the signal and the stop.
    let _ = signal::raise(signal::Signal::SIGTSTP);
}
