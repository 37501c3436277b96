//! The machine against a scripted world: playbook and script in, the transcript of events out.
//!
//! Every story is also cut after every event, and resumed, and cut once more: with what was at work not done, and done.
//! All of them must come to the same end, and do nothing twice that had finished.

mod cuts;
mod world;

mod asking;
mod cancelling;
mod continuing;
mod corpus;
mod coverage;
mod doubt;
mod failing;
mod growth;
mod invariants;
mod locking;
mod made;
mod many;
mod random;
mod repeating;
mod resuming;
mod structure;
mod summaries;
mod taking_over;
mod undoing;
mod unknowns;
mod waiting;

use self::world::{Same, check, check_cut};
