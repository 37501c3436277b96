//! The real program against real components: a file a command or theme.

mod harness;

mod bad_input;
mod cancel;
mod crash;
mod daily_health;
mod locked_runs;
mod locks;
mod output;
mod prompts;
mod resuming;
mod rollback;
mod shipped;
mod tidy;
mod waiting;
mod wal_recover;
