//! The real program against real components: a file a command or theme.

mod harness;

mod audit;
mod bad_input;
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
mod rollback;
mod secrets;
mod shipped;
mod syncs;
mod tidy;
mod together;
mod wal_recover;
