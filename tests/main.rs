//! The real program against real components: a file a command or theme.

mod harness;

mod audit;
mod bad_input;
mod cancel;
mod crash;
mod daily_health;
mod full_disk;
mod housekeeping;
mod journal_faults;
mod kills;
mod locked_runs;
mod locks;
mod orphans;
mod output;
mod plans;
mod prompts;
mod resuming;
mod rollback;
mod secrets;
mod shipped;
mod syncs;
mod tidy;
mod together;
mod waiting;
mod wal_recover;
