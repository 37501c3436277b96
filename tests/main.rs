//! The real program against real components: a file a command or theme.

mod harness;

mod bad_input;
mod crash;
mod daily_health;
mod locked_runs;
mod locks;
mod output;
mod prompts;
mod rollback;
mod shipped;
mod tidy;
mod wal_recover;
