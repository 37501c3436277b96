//! The loop that waits on a running program.
//!
//! One thread waits on everything at once (the program's end, both outputs, its input) with `poll`, so that a program
//! costs no thread of its own and no stream is read by two.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitStatus,
    time::{Duration, Instant},
};

use runwright_core::kind::{Cx, Stream};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    foreground::Turn,
    kept::Kept,
    program::{Program, Started, Stdio},
    runner::{KEPT, Limits},
};

/// How long a stream may stay open after the program's end.
const DRAIN: Duration = Duration::from_millis(200);

/// How long a killed process may take to go; one that does not is stuck in the kernel.
pub(super) const STUCK: Duration = Duration::from_secs(5);

/// How often the step is asked whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// Why a program is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The step is to end.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// The program itself has ended; something that it started holds its output open.
    Lingering,
}

/// An end that is under way.
struct Ending {
    why: Why,
    kill_at: Instant,
    killed: bool,
}

/// A program at work. What becomes of it is settled before the terminal is given back: its fields' order says so.
pub(super) struct Running {
    started: Started,
    turn: Option<Turn>,
    stdin: Option<OwnedFd>,
    input: Vec<u8>,
    written: usize,
    stdout: Output,
    stderr: Output,
    shown: bool,
    grace: Duration,
    give_up_at: Option<Instant>,
    heeds_cancel: bool,
    buffer: Vec<u8>,
}

struct Output {
    stream: Stream,
    pipe: Option<OwnedFd>,
    kept: Kept,
}

impl Running {
    pub(super) fn new(
        program: &Program,
        limits: Limits,
        mut started: Started,
        turn: Option<Turn>,
    ) -> Running {
        let input = match &program.stdio {
            Stdio::Piped(text) => text.clone().into_bytes(),
            Stdio::Terminal => Vec::new(),
        };
        Running {
            stdin: started.stdin.take(),
            input,
            written: 0,
            stdout: Output {
                stream: Stream::Stdout,
                pipe: started.stdout.take(),
                kept: Kept::new(limits.stdout),
            },
            stderr: Output {
                stream: Stream::Stderr,
                pipe: started.stderr.take(),
                kept: Kept::new(KEPT),
            },
            started,
            turn,
            shown: limits.shown,
            grace: program.grace,
            heeds_cancel: limits.heeds_cancel,
            give_up_at: limits.within.map(|within| Instant::now() + within),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Waits until the program has ended and its streams are closed, or all of it was made to end.
    pub(super) fn run(&mut self, cx: &Cx) -> io::Result<Option<Why>> {
        let group = self.started.group;
        let mut ended_at: Option<Instant> = None;
        let mut ending: Option<Ending> = None;
        loop {
            let now = Instant::now();
            if let (Some(turn), None, None) = (&mut self.turn, &ending, ended_at) {
                turn.tend(group);
            }
            let open = self.stdout.pipe.is_some() || self.stderr.pipe.is_some();
            match &mut ending {
                None if ended_at.is_some() && !open => return Ok(None),
                None => {
                    if let Some((why, grace)) = self.reason_to_end(cx, now, ended_at) {
                        group.ask_to_end();
                        ending = Some(Ending {
                            why,
                            kill_at: now + grace,
                            killed: false,
                        });
                    }
                }
                Some(ending) => {
                    let gone = ended_at.is_some() && !group.lives();
                    if gone || (ending.killed && now >= ending.kill_at + STUCK) {
                        self.read_rest(cx)?;
                        return Ok(Some(ending.why));
                    }
                    if now >= ending.kill_at && !ending.killed {
                        group.kill();
                        ending.killed = true;
                    }
                }
            }
            let tick = if ending.is_some() || ended_at.is_some() {
                TICK / 10
            } else {
                TICK
            };
            if self.wait(cx, tick, ended_at.is_none())? && ended_at.is_none() {
                ended_at = Some(Instant::now());
                self.stdin = None;
            }
        }
    }

    fn reason_to_end(
        &self,
        cx: &Cx,
        now: Instant,
        ended_at: Option<Instant>,
    ) -> Option<(Why, Duration)> {
        if ended_at.is_some_and(|ended_at| now >= ended_at + DRAIN) {
            return Some((Why::Lingering, DRAIN));
        }
        if ended_at.is_some() {
            return None;
        }
        if self.heeds_cancel && cx.host.cancelled() {
            return Some((Why::Cancelled, self.grace));
        }
        if self.give_up_at.is_some_and(|give_up_at| now >= give_up_at) {
            return Some((Why::TimedOut, self.grace));
        }
        None
    }

    /// Waits for something to do and does it; returns whether the program has ended.
    fn wait(&mut self, cx: &Cx, at_most: Duration, alive: bool) -> io::Result<bool> {
        let started = &self.started;
        let mut fds = Vec::with_capacity(4);
        // All are asked even when one is closed or done: a place in the list is a meaning.
        let places = [
            alive.then(|| (started.pidfd.as_fd(), PollFlags::IN)),
            self.stdout
                .pipe
                .as_ref()
                .map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            self.stderr
                .pipe
                .as_ref()
                .map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            self.stdin
                .as_ref()
                .map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
        ];
        fds.extend(
            places
                .iter()
                .flatten()
                .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut answers = fds.iter().map(|fd| !fd.revents().is_empty());
        let [ended, stdout, stderr, stdin] =
            places.map(|place| place.is_some() && answers.next().expect("one answer a question"));
        if stdin {
            self.write_input();
        }
        if stdout {
            self.stdout.read(cx, &mut self.buffer, self.shown)?;
        }
        if stderr {
            self.stderr.read(cx, &mut self.buffer, self.shown)?;
        }
        Ok(ended)
    }

    /// Hands over as much input as fits. A program that does not want it all has closed its end: that is its right.
    fn write_input(&mut self) {
        let Some(pipe) = &self.stdin else { return };
        match rustix::io::write(pipe, &self.input[self.written..]) {
            Ok(written) => self.written += written,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => self.written = self.input.len(),
        }
        if self.written == self.input.len() {
            self.stdin = None;
            self.input = Vec::new();
            self.written = 0;
        }
    }

    /// Takes what lies in the pipes already; who still writes is not waited for.
    fn read_rest(&mut self, cx: &Cx) -> io::Result<()> {
        for output in [&mut self.stdout, &mut self.stderr] {
            // A pipe holds at most this many buffers; more would be somebody who never stops.
            for _ in 0..16 {
                if output.pipe.is_none() || !output.read(cx, &mut self.buffer, self.shown)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns how the program ended; `None` when it is still there.
    pub(super) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        self.started.reap()
    }

    /// Returns what is kept of standard output and standard error; what the program had is given back.
    pub(super) fn kept(self) -> (Kept, Kept) {
        (self.stdout.kept, self.stderr.kept)
    }
}

impl Output {
    /// Reads once; returns whether there may be more.
    fn read(&mut self, cx: &Cx, buffer: &mut [u8], shown: bool) -> io::Result<bool> {
        let Some(pipe) = &self.pipe else {
            return Ok(false);
        };
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(false)
            }
            Ok(length) => {
                self.kept.push(&buffer[..length]);
                if shown {
                    cx.host.output(self.stream, &buffer[..length]);
                }
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
