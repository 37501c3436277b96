//! The exit codes: a public contract.
//!
//! Those of a run are a function of its journal: see [`runwright_core::summary::exit_code`].

/// Everything went as it should.
pub(crate) const OK: u8 = 0;
/// A command other than a run could not do its work.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or an invalid playbook: nothing was run.
pub(crate) const USAGE: u8 = 2;
/// Refused before anything was done.
pub(crate) const REFUSED: u8 = 3;

/// The run waits for people or for time.
pub(crate) const WAITING: u8 = 4;

/// A run was broken off, and can be taken up again.
pub(crate) const INTERRUPTED: u8 = 6;

/// The table, as `--help` shows it.
pub(crate) const HELP: &str = "\
Exit codes of run, resume and rollback, and of approve, deny and answer with --follow:
    0  succeeded; of rollback: everything is undone
    1  failed, stopped by a failure, or rolled back whole
    2  wrong usage, or an invalid playbook
    3  refused: by a guard, by a person, or by a lock, before anything was changed
    4  waiting for people or for time, without a process: `runwright show` says for what
    5  the rollback is incomplete: something is still changed
    6  interrupted, stopped by a signal, or in doubt: `runwright resume` goes on
   10  succeeded with warnings
   11  succeeded with critical findings
  130  cancelled
Exit codes of approve, deny, answer and cancel without --follow:
    0  taken in as it was meant
    2  wrong usage: no such question, no reason, no yes
    3  it came to nothing: answered before, changed since, too late, or not said after all
    5  of cancel: the rollback is incomplete";
