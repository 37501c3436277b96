//! The lines as types: what is written and what the schema says can't differ.

use std::collections::BTreeMap;

use runwright_core::{
    event::{Ask, Body, StepState},
    kind::{Progress, Stream},
    plan::Severity,
    port::Told,
    summary::{Open, Summary},
};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;

/// The version of the lines.
const VERSION: u32 = 1;

/// Returns the schema of one line of output, as `schemas/output.json` holds it.
pub fn output_schema() -> serde_json::Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Line<'_>>();
    schema.insert("title".to_owned(), "One line of `--output json`".into());
    schema.to_value()
}

/// One line of a run that is told as JSON lines. Readers pass over fields and kinds that they do not know.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Line<'a> {
    Event(EventLine<'a>),
    Output(OutputLine<'a>),
    LeftOut(LeftOutLine<'a>),
    Progress(ProgressLine<'a>),
    Summary(Box<SummaryLine<'a>>),
}

/// Something happened, and stands in the journal.
#[derive(Serialize, JsonSchema)]
pub(super) struct EventLine<'a> {
    /// The version of the lines.
    #[schemars(schema_with = "version")]
    v: u32,
    /// The run's id; empty where it is not known yet.
    run: &'a str,
    /// The event's number within the run, from 1.
    seq: u64,
    /// When, as RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// What.
    kind: EventKind,
    /// The step's address; empty for the run itself.
    step: &'a str,
    /// The step's title, as far as it can be worked out now.
    title: Option<&'a str>,
    /// How the step stands after the event; none for the run itself.
    #[schemars(schema_with = "state")]
    state: Option<&'static str>,
    /// What the journal stores for this kind of event.
    data: serde_json::Value,
}

impl<'a> EventLine<'a> {
    pub(super) fn of(run: &'a str, told: &'a Told<'a>) -> EventLine<'a> {
        let step = &*told.event.step;
        EventLine {
            v: VERSION,
            run,
            seq: told.seq,
            at: told.event.at.to_string(),
            kind: EventKind::of(&told.event.body),
            step,
            title: told.title.as_deref(),
            state: (!step.is_empty()).then(|| told.state.word()),
            data: told.event.body.data(),
        }
    }
}

/// A piece of a step's output; not in the journal.
#[derive(Serialize, JsonSchema)]
pub(super) struct OutputLine<'a> {
    /// The version of the lines.
    #[schemars(schema_with = "version")]
    v: u32,
    kind: OutputKind,
    /// The run's id; empty where it is not known yet.
    run: &'a str,
    /// The step's address.
    step: &'a str,
    /// The stream.
    stream: StreamName,
    /// The text, in whole lines as far as lines end; what is no UTF-8 is replaced.
    text: &'a str,
}

impl<'a> OutputLine<'a> {
    pub(super) fn of(run: &'a str, step: &'a str, stream: Stream, text: &'a str) -> OutputLine<'a> {
        let stream = match stream {
            Stream::Stdout => StreamName::Stdout,
            Stream::Stderr => StreamName::Stderr,
        };
        OutputLine {
            v: VERSION,
            kind: OutputKind::Output,
            run,
            step,
            stream,
            text,
        }
    }
}

/// A step's output is not told here, because nobody read fast enough; `runwright logs` has it.
#[derive(Serialize, JsonSchema)]
pub(super) struct LeftOutLine<'a> {
    /// The version of the lines.
    #[schemars(schema_with = "version")]
    v: u32,
    kind: LeftOutKind,
    /// The run's id; empty where it is not known yet.
    run: &'a str,
    /// The step's address.
    step: &'a str,
    /// How many bytes.
    bytes: u64,
}

impl<'a> LeftOutLine<'a> {
    pub(super) fn of(run: &'a str, step: &'a str, bytes: u64) -> LeftOutLine<'a> {
        LeftOutLine {
            v: VERSION,
            kind: LeftOutKind::LeftOut,
            run,
            step,
            bytes,
        }
    }
}

/// How far a long action has come; a few a second at the most.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProgressLine<'a> {
    /// The version of the lines.
    #[schemars(schema_with = "version")]
    v: u32,
    kind: ProgressKind,
    /// The run's id; empty where it is not known yet.
    run: &'a str,
    /// The step's address.
    step: &'a str,
    /// How much is done.
    done: u64,
    /// How much there is, if that is known.
    total: Option<u64>,
    /// `bytes`, `pages`, `rows`, `files`; empty for a bare count.
    unit: &'a str,
}

impl<'a> ProgressLine<'a> {
    pub(super) fn of(run: &'a str, step: &'a str, progress: &'a Progress) -> ProgressLine<'a> {
        ProgressLine {
            v: VERSION,
            kind: ProgressKind::Progress,
            run,
            step,
            done: progress.done,
            total: progress.total,
            unit: &progress.unit,
        }
    }
}

/// What became of the run: the last line.
#[derive(Serialize, JsonSchema)]
pub(super) struct SummaryLine<'a> {
    /// The version of the lines.
    #[schemars(schema_with = "version")]
    v: u32,
    kind: SummaryKind,
    /// The run's id.
    run: &'a str,
    /// The playbook.
    playbook: &'a str,
    /// Its version.
    version: &'a str,
    /// `succeeded`, `failed`, `rolled_back`, `rollback_incomplete`, `refused` or `cancelled`; where the run has not
    /// ended, how it stands.
    outcome: &'a str,
    /// The exit code.
    exit_code: u8,
    /// Why, where it is not a success; else empty.
    why: &'a str,
    /// How many steps stand how.
    steps: &'a BTreeMap<String, usize>,
    /// What people should know, worst first.
    findings: Vec<FindingPart<'a>>,
    /// What the playbook gives back: sizes as bytes, spans as seconds, times as RFC 3339.
    outputs: BTreeMap<&'a str, serde_json::Value>,
    /// What is still changed, where a rollback was not complete.
    dirty: &'a [String],
    /// The questions that are open: what the run waits for.
    questions: Vec<QuestionPart<'a>>,
    /// How many changes can still be undone by `runwright rollback`.
    undoable: usize,
    /// Those changes, in the order in which they would be undone.
    undos: Vec<UndoPart<'a>>,
    /// How long it took, in milliseconds.
    took_ms: i64,
    /// The hash of the run's last event: whoever keeps it can tell later whether the journal was altered.
    head: &'a str,
    /// The fingerprint of the key that the head is signed by: the first 32 hex digits of the SHA-256 of its DER form.
    signed_by: Option<&'a str>,
}

/// A change that can be undone.
#[derive(Serialize, JsonSchema)]
pub(super) struct UndoPart<'a> {
    /// The step's address.
    step: &'a str,
    /// The undo in a line.
    summary: &'a str,
    /// Until when it is possible, as RFC 3339; null: as long as the journal keeps the run.
    until: Option<String>,
}

/// Something that a person should know.
#[derive(Serialize, JsonSchema)]
pub(super) struct FindingPart<'a> {
    /// The address of the step that found it.
    step: &'a str,
    /// How bad it is.
    severity: Severity,
    /// What was found.
    title: &'a str,
    /// What to do about it.
    advice: Option<&'a str>,
}

/// A question that is open.
#[derive(Serialize, JsonSchema)]
pub(super) struct QuestionPart<'a> {
    /// The address of the step that asks.
    step: &'a str,
    /// What is asked for: `confirm`, `phrase`, `inputs`, `manual`, `on_failure`, `in_doubt`, or `until` for time.
    ask: &'static str,
    /// What people see.
    message: &'a str,
    /// How many different people must agree.
    approvers: u32,
    /// Whether one of them must not have started the run.
    not_starter: bool,
    /// Who has agreed so far, where that is not enough.
    approvals: &'a [String],
    /// From when on the answer is no; RFC 3339.
    deadline: Option<String>,
    /// Until when it waits, where it waits for time; RFC 3339.
    until: Option<String>,
}

impl<'a> QuestionPart<'a> {
    fn of(open: &'a Open) -> QuestionPart<'a> {
        let Open {
            step,
            question,
            approvals,
        } = open;
        let (ask, until) = match &question.ask {
            Ask::Confirm => ("confirm", None),
            Ask::Phrase(_) => ("phrase", None),
            Ask::Inputs(_) => ("inputs", None),
            Ask::Manual => ("manual", None),
            Ask::OnFailure(_) => ("on_failure", None),
            Ask::Interrupted => ("interrupted", None),
            Ask::InDoubt => ("in_doubt", None),
            Ask::Until(until) => ("until", Some(until.to_string())),
        };
        QuestionPart {
            step,
            ask,
            message: &question.message,
            approvers: question.approvers,
            not_starter: question.not_starter,
            approvals,
            deadline: question.deadline.map(|deadline| deadline.to_string()),
            until,
        }
    }
}

impl<'a> SummaryLine<'a> {
    pub(super) fn of(summary: &'a Summary) -> SummaryLine<'a> {
        let findings = summary.findings.iter().map(|found| FindingPart {
            step: &found.step,
            severity: found.finding.severity,
            title: &found.finding.title,
            advice: found.finding.advice.as_deref(),
        });
        let outputs = summary.outputs.iter();
        let undos = summary.undos.iter().map(|undo| UndoPart {
            step: &undo.step,
            summary: &undo.summary,
            until: undo.until.map(|until| until.to_string()),
        });
        SummaryLine {
            v: VERSION,
            kind: SummaryKind::Summary,
            run: &summary.run,
            playbook: &summary.playbook,
            version: &summary.version,
            outcome: &summary.outcome,
            exit_code: summary.exit_code,
            why: &summary.why,
            steps: &summary.steps,
            findings: findings.collect(),
            outputs: outputs
                .map(|(name, value)| (&**name, value.to_plain()))
                .collect(),
            dirty: &summary.dirty,
            questions: summary.questions.iter().map(QuestionPart::of).collect(),
            undoable: summary.undoable,
            undos: undos.collect(),
            took_ms: summary.took_ms,
            head: &summary.head,
            signed_by: summary.signed_by.as_deref(),
        }
    }
}

/// The kinds of events, as the journal names them.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventKind {
    Begun,
    Required,
    Locked,
    Asserted,
    Skipped,
    Entered,
    Looked,
    Asked,
    Answered,
    Ignored,
    Started,
    Finished,
    NotYet,
    Woke,
    Stopping,
    Waiting,
    Stopped,
    Resumed,
    Adopted,
    Settled,
    RollingBack,
    Undoing,
    Undone,
    Always,
    Raised,
    Ended,
    Previewed,
}

impl EventKind {
    fn of(body: &Body) -> EventKind {
        match body {
            Body::Begun(_) => EventKind::Begun,
            Body::Required { .. } => EventKind::Required,
            Body::Locked(_) => EventKind::Locked,
            Body::Asserted(_) => EventKind::Asserted,
            Body::Skipped { .. } => EventKind::Skipped,
            Body::Entered { .. } => EventKind::Entered,
            Body::Looked { .. } => EventKind::Looked,
            Body::Asked(_) => EventKind::Asked,
            Body::Answered { .. } => EventKind::Answered,
            Body::Ignored { .. } => EventKind::Ignored,
            Body::Started { .. } => EventKind::Started,
            Body::Finished(_) => EventKind::Finished,
            Body::NotYet { .. } => EventKind::NotYet,
            Body::Woke => EventKind::Woke,
            Body::Stopping { .. } => EventKind::Stopping,
            Body::Waiting { .. } => EventKind::Waiting,
            Body::Stopped { .. } => EventKind::Stopped,
            Body::Resumed { .. } => EventKind::Resumed,
            Body::Adopted { .. } => EventKind::Adopted,
            Body::Settled { .. } => EventKind::Settled,
            Body::RollingBack { .. } => EventKind::RollingBack,
            Body::Undoing { .. } => EventKind::Undoing,
            Body::Undone(_) => EventKind::Undone,
            Body::Always => EventKind::Always,
            Body::Raised(_) => EventKind::Raised,
            Body::Ended(_) => EventKind::Ended,
            Body::Previewed(_) => EventKind::Previewed,
        }
    }
}

/// The streams of a process.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StreamName {
    Stdout,
    Stderr,
}

/// The kind of a line that is no event: a constant, so that a reader needs no other field to tell lines apart.
macro_rules! constant {
    ($kind:ident, $variant:ident) => {
        #[derive(Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        enum $kind {
            $variant,
        }
    };
}

constant!(OutputKind, Output);
constant!(LeftOutKind, LeftOut);
constant!(ProgressKind, Progress);
constant!(SummaryKind, Summary);

fn version(_: &mut SchemaGenerator) -> schemars::Schema {
    json_schema!({ "description": "The version of the lines.", "const": VERSION })
}

fn state(_: &mut SchemaGenerator) -> schemars::Schema {
    let words: Vec<_> = STATES.iter().map(|state| state.word()).collect();
    json_schema!({
        "description": "How the step stands after the event; null for the run itself.",
        "anyOf": [{ "enum": words }, { "type": "null" }],
    })
}

/// Every state of a step.
const STATES: [StepState; 11] = [
    StepState::Pending,
    StepState::Skipped,
    StepState::Already,
    StepState::Running,
    StepState::InDoubt,
    StepState::Ok,
    StepState::Changed,
    StepState::Failed,
    StepState::Refused,
    StepState::Undone,
    StepState::UndoFailed,
];
