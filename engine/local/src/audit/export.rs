//! An export: a journal, or runs of it, as JSON lines that anyone can verify without us.
//!
//! The first line names the format, the last counts; in between each run is one `run` line, then its `event` lines in
//! order (or its `stone`, where it was pruned), then its `signature` lines. `data` is a text, not an object, because
//! the hash is over its very bytes. What is hashed says [`chain`](crate::journal::chain).

use std::{
    borrow::Cow,
    io::{self, BufRead, Write},
};

use runwright_core::kind::hex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    Against, Fault, Report, RunReport, What, head_missing, judge, judge_signed, run_missing,
};
use crate::{
    journal::{EventHash, Journal, JournalError, KeptSignature, StoneText, chain::Link},
    signature::PublicKey,
};

/// The version of the lines.
pub const VERSION: u32 = 1;

/// Returns the schema of an export's lines and of a report, as `schemas/audit.json` holds it.
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Printed>();
    schema.insert(
        "title".to_owned(),
        "One line of `audit export`, or of `audit verify --output json`".into(),
    );
    schema.to_value()
}

/// One line of `audit export`, or what `audit verify --output json` prints.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is wanted")]
enum Printed {
    Line(Line),
    Report(Report),
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Export {
        /// The version of the lines.
        v: u32,
        /// The engine that wrote it.
        engine: String,
        /// Whether every run that was ever begun is in it, so that a missing one shows.
        whole: bool,
    },
    /// A run begins.
    Run {
        /// Its id.
        run: String,
        /// Its place among all runs, from 1.
        number: u64,
        /// The hash of the first event of the run begun before it: what its own first event goes on from.
        previous: Option<EventHash>,
        /// The hash of its first event.
        first: EventHash,
        /// The hash of its last event; of a run that goes on, of the last one here.
        head: EventHash,
        /// How many events it has.
        events: u64,
    },
    /// An event of that run.
    ///
    /// Its hash is SHA-256 over: the hash of the event before it (32 bytes; of the first event `previous` of the run,
    /// nothing when that is null), `run`, `seq` (8 bytes, big-endian), `at` (the same), `kind`, `step`, `data`; each
    /// with its length before it, in 8 bytes, big-endian; texts as UTF-8.
    Event {
        /// The run's id.
        run: String,
        /// Its place in the run, from 1.
        seq: u64,
        /// Milliseconds since 1970.
        at: i64,
        /// The event's kind.
        kind: String,
        /// The step's address; empty when the event is the run's.
        step: String,
        /// The JSON text, byte for byte.
        data: String,
        /// The hash.
        hash: EventHash,
    },
    /// What is left of a pruned run.
    ///
    /// Its hash is SHA-256 over: the word `stone`, `run`, `first`, `last` (32 bytes each), `events`, `at` (8 bytes
    /// each, big-endian), `who`, `why`; each with its length before it, in 8 bytes, big-endian; texts as UTF-8.
    Stone {
        /// The run's id.
        run: String,
        /// The hash of its first event.
        first: EventHash,
        /// The hash of its last event.
        last: EventHash,
        /// How many events there were.
        events: u64,
        /// When it was pruned: milliseconds since 1970.
        at: i64,
        /// Who pruned it.
        who: String,
        /// Why.
        why: String,
        /// The hash; null where the stone is older than such hashes.
        hash: Option<EventHash>,
    },
    /// Somebody vouches for an event of that run, and so for all before it.
    ///
    /// The signature is Ed25519 over four lines, each with its line end: `runwright head 1`, `run`, `seq`, `hash`.
    Signature {
        /// The run's id.
        run: String,
        /// The event's number.
        seq: u64,
        /// The event's hash, as it was signed.
        hash: Hex,
        /// The public key's 32 bytes.
        key: Hex,
        /// The signature's 64 bytes.
        signature: Hex,
    },
    /// The last line.
    End {
        /// How many runs there are.
        runs: u64,
        /// How many events there are.
        events: u64,
    },
}

/// Bytes, as hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex(String);

impl Hex {
    fn of(bytes: &[u8]) -> Hex {
        Hex(hex(bytes))
    }

    /// Returns the bytes; none where it is no hex.
    fn bytes(&self) -> Vec<u8> {
        let digits = self.0.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .collect();
        bytes.unwrap_or_default()
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes, as hex digits in lower case.",
            "type": "string",
            "pattern": "^([0-9a-f][0-9a-f])*$",
        })
    }
}

/// Why an export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What it is written to, or read from, refuses.
    #[error("write or read the export")]
    Io(#[from] io::Error),
}

/// Writes `runs`, or all where none is named, of a journal that [is held](Journal::hold); returns how many.
///
/// # Errors
///
/// When the journal can't be read, or `out` be written.
pub fn write(
    journal: &Journal,
    runs: &[String],
    engine: &str,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<u64, ExportError> {
    let mut put = |line: &Line| -> io::Result<()> {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    };
    put(&Line::Export {
        v: VERSION,
        engine: engine.to_owned(),
        whole: runs.is_empty(),
    })?;
    let begun = journal.begun()?;
    let stones = journal.stones()?;
    let (mut count, mut events) = (0, 0);
    let mut previous = None;
    for (place, begun) in begun.iter().enumerate() {
        let before = previous.replace(begun.first_hash);
        if !runs.is_empty() && !runs.contains(&begun.run) {
            continue;
        }
        count += 1;
        let run = &begun.run;
        let stone = stones.iter().find(|stone| stone.run == *run);
        let stone = stone.and_then(|stone| Some((stone.text.as_ref()?, stone.hash)));
        let (head, of_run) = match &stone {
            Some((text, _)) => (text.last, text.events.cast_unsigned()),
            None => tip(journal, run)?.unwrap_or((begun.first_hash, 0)),
        };
        put(&Line::Run {
            run: run.clone(),
            number: begun.number,
            previous: before,
            first: begun.first_hash,
            head,
            events: of_run,
        })?;
        match stone {
            Some((text, hash)) => put(&stone_line(text, hash))?,
            None => {
                for event in journal.events(run) {
                    let event = event?;
                    events += 1;
                    put(&Line::Event {
                        run: event.run,
                        seq: event.seq,
                        at: event.at,
                        kind: event.kind,
                        step: event.step.unwrap_or_default(),
                        data: event.data,
                        hash: event.hash,
                    })?;
                }
            }
        }
        for signature in journal.signatures(Some(run))? {
            put(&Line::Signature {
                run: signature.run,
                seq: signature.seq,
                hash: Hex::of(&signature.hash),
                key: Hex::of(&signature.key),
                signature: Hex::of(&signature.signature),
            })?;
        }
        tell(place as u64 + 1, events);
    }
    put(&Line::End {
        runs: count,
        events,
    })?;
    out.flush()?;
    Ok(count)
}

/// Returns head and count of a run's events.
fn tip(journal: &Journal, run: &str) -> Result<Option<(EventHash, u64)>, JournalError> {
    let mut tip = None;
    for (event, count) in journal.events(run).zip(1..) {
        tip = Some((event?.hash, count));
    }
    Ok(tip)
}

fn stone_line(text: &StoneText, hash: Option<EventHash>) -> Line {
    Line::Stone {
        run: text.run.clone(),
        first: text.first,
        last: text.last,
        events: text.events.cast_unsigned(),
        at: text.at,
        who: text.who.clone(),
        why: text.why.clone(),
        hash,
    }
}

/// Proves an export.
///
/// # Errors
///
/// When it can't be read; whatever is wrong with what stands in it is a result.
pub fn verify(
    input: &mut dyn BufRead,
    against: &Against,
    tell: &mut dyn FnMut(u64),
) -> Result<Report, ExportError> {
    let mut reader = Reader::new(against);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        match serde_json::from_slice(&bytes) {
            Ok(line) => reader.take(number, line),
            Err(error) => reader.broken(format!("line {number} can't be read: {error}")),
        }
        if number % 1000 == 0 {
            tell(number);
        }
        if reader.is_given_up {
            break;
        }
    }
    Ok(reader.end())
}

struct Reader<'a> {
    against: &'a Against,
    /// Whether it says that it is whole; none before the first line.
    whole: Option<bool>,
    open: Option<Open>,
    /// Number and first hash of the run before.
    before: Option<(u64, EventHash)>,
    /// Whether runs must be signed from here on.
    is_signed: bool,
    is_ended: bool,
    is_given_up: bool,
    events: u64,
    runs: Vec<RunReport>,
    faults: Vec<Fault>,
}

/// The run whose lines are read.
struct Open {
    run: String,
    number: u64,
    previous: Option<EventHash>,
    first: EventHash,
    head: EventHash,
    events: u64,
    hashes: Vec<EventHash>,
    stone: Option<StoneText>,
    is_broken: bool,
    vouching: Vec<PublicKey>,
}

impl<'a> Reader<'a> {
    fn new(against: &'a Against) -> Reader<'a> {
        Reader {
            against,
            whole: None,
            open: None,
            before: None,
            is_signed: against.signed_from.is_none(),
            is_ended: false,
            is_given_up: false,
            events: 0,
            runs: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn broken(&mut self, text: impl Into<String>) {
        let run = self.open.as_ref().map_or("", |open| open.run.as_str());
        self.faults
            .push(Fault::new(What::ExportBroken, run, None, text));
    }

    fn take(&mut self, number: u64, line: Line) {
        if self.is_ended {
            self.broken(format!("line {number} follows the last line"));
            return;
        }
        match (&line, self.whole) {
            (Line::Export { v, .. }, None) if *v > VERSION => {
                self.broken(format!(
                    "its version is {v}, and this engine knows up to {VERSION}"
                ));
                self.is_given_up = true;
            }
            (Line::Export { whole, .. }, None) => self.whole = Some(*whole),
            (Line::Export { .. }, Some(_)) => self.broken(format!("line {number} begins it again")),
            (_, None) => {
                self.broken("it does not begin with a line `export`");
                self.is_given_up = true;
            }
            (_, Some(_)) => self.take_inside(number, line),
        }
    }

    fn take_inside(&mut self, number: u64, line: Line) {
        match line {
            Line::Export { .. } => {}
            Line::Run {
                run,
                number,
                previous,
                first,
                head,
                events,
            } => {
                self.close();
                self.begin(Open {
                    run,
                    number,
                    previous,
                    first,
                    head,
                    events,
                    hashes: Vec::new(),
                    stone: None,
                    is_broken: false,
                    vouching: Vec::new(),
                });
            }
            Line::End { runs, events } => {
                self.close();
                self.is_ended = true;
                if (runs, events) != (self.runs.len() as u64, self.events) {
                    let text = format!(
                        "it counts {runs} runs and {events} events, and there are {} and {}",
                        self.runs.len(),
                        self.events
                    );
                    self.broken(text);
                }
            }
            Line::Event { ref run, .. }
            | Line::Stone { ref run, .. }
            | Line::Signature { ref run, .. }
                if self.open.as_ref().is_none_or(|open| open.run != *run) =>
            {
                let text = format!("line {number} stands among the lines of another run");
                let fault = Fault::new(What::RunStrange, run, None, text);
                self.faults.push(fault);
            }
            line => self.take_of_run(line),
        }
    }

    /// Takes a line of the open run.
    fn take_of_run(&mut self, line: Line) {
        let Some(open) = self.open.as_mut() else {
            return;
        };
        match line {
            Line::Event {
                run,
                seq,
                at,
                kind,
                step,
                data,
                hash,
            } => {
                self.events += 1;
                let link = Link {
                    run: run.as_bytes(),
                    seq: seq.cast_signed(),
                    at,
                    kind: kind.as_bytes(),
                    step: step.as_bytes(),
                    data: data.as_bytes(),
                };
                self.faults.extend(open.event(seq, &link, hash));
            }
            Line::Stone {
                run,
                first,
                last,
                events,
                at,
                who,
                why,
                hash,
            } => {
                let text = StoneText {
                    run,
                    first,
                    last,
                    events: events.cast_signed(),
                    at,
                    who,
                    why,
                };
                if first != open.first || hash.is_some_and(|hash| hash != text.hash()) {
                    let text = "its stone is not the one that was written";
                    self.faults
                        .push(Fault::new(What::StoneChanged, &open.run, None, text));
                }
                open.stone = Some(text);
            }
            Line::Signature {
                run,
                seq,
                hash,
                key,
                signature,
            } => {
                let signature = KeptSignature {
                    run,
                    seq,
                    hash: hash.bytes(),
                    key: key.bytes(),
                    signature: signature.bytes(),
                };
                let there = match &open.stone {
                    Some(stone) => Some(stone.last),
                    None => open.hash_at(seq),
                };
                match judge(&signature, there.as_ref()) {
                    Ok(key) if seq == open.count() => open.vouching.push(key),
                    Ok(_) => {}
                    Err(fault) => self.faults.push(fault),
                }
            }
            Line::Export { .. } | Line::Run { .. } | Line::End { .. } => {}
        }
    }

    fn begin(&mut self, open: Open) {
        let run = open.run.as_str();
        let fault = |what, text: String| Some(Fault::new(what, run, None, text));
        let before = self.before.map_or(0, |(number, _)| number);
        let first = self.before.map(|(_, first)| first);
        let is_whole = self.whole == Some(true);
        let found = if open.number <= before {
            let text = format!("its number is {}, after one with {before}", open.number);
            fault(What::RunOrder, text)
        } else if open.number > before + 1 {
            let missing = before + 1;
            let text = format!(
                "its number is {}, and number {missing} is missing",
                open.number
            );
            is_whole.then(|| fault(What::RunMissing, text)).flatten()
        } else if open.previous != first && (is_whole || first.is_some()) {
            let text = "it was not begun after the run that stands before it";
            fault(What::RunOrder, text.to_owned())
        } else {
            None
        };
        self.faults.extend(found);
        self.before = Some((open.number, open.first));
        self.open = Some(open);
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let against = self.against;
        let run = open.run.as_str();
        let count = open.count();
        if !open.is_broken {
            let (head, first) = match &open.stone {
                Some(stone) => (Some(stone.last), Some(stone.first)),
                None => (open.hashes.last().copied(), open.hashes.first().copied()),
            };
            if count != open.events || head != Some(open.head) || first != Some(open.first) {
                let text = format!(
                    "it is said to have {} events and the head {}, and there are {count}",
                    open.events, open.head
                );
                let fault = Fault::new(What::EndCut, run, Some(count.saturating_add(1)), text);
                self.faults.push(fault);
            }
        }
        for head in against.heads_of(run) {
            let is_known = match &open.stone {
                Some(stone) => against.heads_of(run).any(|head| *head == stone.last),
                None => open.hashes.contains(head),
            };
            if !is_known {
                self.faults.push(head_missing(run, head));
            }
        }
        self.is_signed |= against.signed_from.as_deref() == Some(run);
        if let Some(key) = against.key.as_ref().filter(|_| self.is_signed) {
            self.faults
                .extend(judge_signed(run, count, &open.vouching, key));
        }
        self.runs.push(RunReport {
            run: open.run.clone(),
            number: open.number,
            events: count,
            head: match &open.stone {
                Some(stone) => Some(stone.last),
                None => open.hashes.last().copied(),
            },
            pruned: open.stone.is_some(),
            signed_by: open.vouching.iter().map(PublicKey::fingerprint).collect(),
        });
    }

    fn end(mut self) -> Report {
        self.close();
        if !self.is_ended && !self.is_given_up {
            self.broken("it has no last line: it was cut off");
        }
        if let Some(from) = self
            .against
            .signed_from
            .as_deref()
            .filter(|_| !self.is_signed)
        {
            self.faults.push(run_missing(from, "`--signed-from`"));
        }
        let mut missing: Vec<&str> = self
            .against
            .heads
            .iter()
            .map(|(run, _)| run.as_str())
            .filter(|run| self.runs.iter().all(|there| there.run != *run))
            .collect();
        missing.dedup();
        let missing = missing
            .into_iter()
            .map(|run| run_missing(run, "a kept head"));
        self.faults.extend(missing);
        Report::new(self.runs, self.faults, Vec::new())
    }
}

impl Open {
    fn count(&self) -> u64 {
        match &self.stone {
            Some(stone) => stone.events.cast_unsigned(),
            None => self.hashes.len() as u64,
        }
    }

    fn hash_at(&self, seq: u64) -> Option<EventHash> {
        let place = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.hashes.get(place).copied()
    }

    /// Takes an event that follows those before it, or says why it does not; after the first that does not, the chain
    /// proves nothing.
    fn event(&mut self, seq: u64, link: &Link<'_>, hash: EventHash) -> Option<Fault> {
        if self.is_broken {
            return None;
        }
        let expected = self.hashes.len() as u64 + 1;
        let previous = match self.hashes.last() {
            Some(last) => Some(*last),
            None => self.previous,
        };
        let (what, text) = if seq > expected {
            (What::EventRemoved, format!("event {expected} was removed"))
        } else if seq < expected {
            (
                What::EventMoved,
                format!("event {seq} stands where event {expected} should"),
            )
        } else if link.after(previous.as_ref()) != hash {
            (
                What::EventChanged,
                format!("event {seq} was changed, put in, or follows another one"),
            )
        } else {
            self.hashes.push(hash);
            return None;
        };
        self.is_broken = true;
        Some(Fault::new(what, &self.run, Some(seq.min(expected)), text))
    }
}
