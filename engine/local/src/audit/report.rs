//! What an audit found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal::{Difference, EventHash};

/// The version of a report.
pub(super) const VERSION: u32 = 1;

/// What an audit found: the only line of `audit verify --output json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of the report.
    pub v: u32,
    /// Whether all is as it was written, as far as it was asked.
    pub holds: bool,
    /// The runs that were looked at, in the order they began.
    pub runs: Vec<RunReport>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// A run that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// Its place among all runs, from 1.
    pub number: u64,
    /// How many of its events hold; of a pruned run: how many there were.
    pub events: u64,
    /// The hash of the last event that holds: what is worth keeping elsewhere.
    pub head: Option<EventHash>,
    /// Whether only its stone is left.
    pub pruned: bool,
    /// The fingerprints of the keys that its head is signed by.
    pub signed_by: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The run; none where that is not known.
    pub run: Option<String>,
    /// The event's number within the run, where it is about one.
    pub seq: Option<u64>,
    /// What is wrong, for programs.
    pub what: What,
    /// What is wrong, for people.
    pub text: String,
    /// What may have happened.
    pub means: String,
}

/// The faults that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An event is not the one that was written.
    EventChanged,
    /// An event is not there any more.
    EventRemoved,
    /// An event was put in.
    EventInserted,
    /// An event stands at another place.
    EventMoved,
    /// The last events of a run are not there any more.
    EndCut,
    /// A run is not there any more.
    RunMissing,
    /// A run does not follow the one that stands before it.
    RunOrder,
    /// There are events, a row or a stone of a run that never began.
    RunStrange,
    /// A head that was kept elsewhere is not in the chain.
    HeadMissing,
    /// A signature is not what it says.
    SignatureWrong,
    /// A head is not signed.
    SignatureMissing,
    /// A head is signed by another key.
    SignatureOfAnother,
    /// What `history` and `show` list does not follow from the events.
    ProjectionWrong,
    /// The stone of a pruned run is not the one that was written.
    StoneChanged,
    /// The text of a playbook is not the one that the run began with.
    TextChanged,
    /// An export is not whole, or a line of it can't be read.
    ExportBroken,
}

impl What {
    /// Returns what may have happened.
    fn means(self) -> &'static str {
        match self {
            What::EventChanged | What::EventRemoved | What::EventInserted | What::EventMoved => {
                "somebody has written to the file past the engine, or it is damaged; from here on the run proves nothing"
            }
            What::EndCut => {
                "somebody has cut off the end of the run, or an older copy of the journal was put in its place"
            }
            What::RunMissing => {
                "somebody has removed the run past `journal prune`, which leaves a stone, or this is an older copy"
            }
            What::RunOrder => "a run that began before it was removed, put in or moved",
            What::RunStrange => "somebody has put it in past the engine",
            What::HeadMissing => {
                "the run was cut, or written anew, after that head was kept; or the head is another run's"
            }
            What::SignatureWrong => {
                "what was signed was changed afterwards, or the signature was forged or damaged"
            }
            What::SignatureMissing => {
                "it ran without the key, or was killed (`runwright resume` ends it), or was cut or changed and its \
                 signature removed"
            }
            What::SignatureOfAnother => {
                "it was signed on a machine or at a time with another key, or was changed and signed anew"
            }
            What::ProjectionWrong => {
                "somebody has written to the tables that are listed from; the events themselves hold"
            }
            What::StoneChanged => {
                "somebody has changed what the stone says about the run, who pruned it and why"
            }
            What::TextChanged => {
                "somebody has changed or removed what lies in the run's folder; the events themselves hold"
            }
            What::ExportBroken => {
                "the file was cut or changed, or it is no export; make it again, or ask for it again"
            }
        }
    }
}

impl Fault {
    pub(super) fn new(what: What, run: &str, seq: Option<u64>, text: impl Into<String>) -> Fault {
        Fault {
            run: (!run.is_empty()).then(|| run.to_owned()),
            seq,
            what,
            text: text.into(),
            means: what.means().to_owned(),
        }
    }

    /// Returns the fault that a difference in the chain of `run` is.
    pub(super) fn of(run: &str, difference: Difference) -> Fault {
        let (what, seq) = match difference {
            Difference::Changed { seq } => (What::EventChanged, Some(seq)),
            Difference::Removed { seq } => (What::EventRemoved, Some(seq)),
            Difference::Inserted { seq } => (What::EventInserted, Some(seq)),
            Difference::Reordered { seq } => (What::EventMoved, Some(seq)),
            Difference::RunOrder => (What::RunOrder, None),
        };
        Fault::new(what, run, seq, difference.to_string())
    }
}

impl Report {
    pub(super) fn new(runs: Vec<RunReport>, faults: Vec<Fault>, notes: Vec<String>) -> Report {
        Report {
            v: VERSION,
            holds: faults.is_empty(),
            runs,
            faults,
            notes,
        }
    }
}
