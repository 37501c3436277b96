//! What the tests of the reporters share: hand-made runs, and writers that remember, fail or stand still.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use runwright_core::{
    event::{
        Ask, Asserted, Assertion, Begun, Body, Ended, Event, Finding, Finished, Goal, Outcome,
        Question, Reply, Settlement, StepState, Stop, UndoResult, Undone,
    },
    kind::{Class, Description, Failure, Looked, Stream, UndoLook},
    plan::{OnFailure, Severity},
    port::{Reporter, Told},
    summary::{Found, Summary},
    units::{Span, Time},
    value::{Fields, Value},
};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Tells hand-made events, one second apart.
pub(crate) struct Story<'a> {
    pub reporter: &'a mut dyn Reporter,
    seq: u64,
}

/// A step of a story: address, title, depth, kind.
pub(crate) type Step = (&'static str, &'static str, usize, &'static str);

impl<'a> Story<'a> {
    pub(crate) fn new(reporter: &'a mut dyn Reporter) -> Story<'a> {
        Story { reporter, seq: 0 }
    }

    pub(crate) fn run(&mut self, body: Body) {
        self.say("", None, 0, None, StepState::Pending, body);
    }

    pub(crate) fn step(&mut self, (key, title, depth, kind): Step, state: StepState, body: Body) {
        self.say(key, Some(title), depth, Some(kind), state, body);
    }

    fn say(
        &mut self,
        step: &str,
        title: Option<&str>,
        depth: usize,
        kind: Option<&'static str>,
        state: StepState,
        body: Body,
    ) {
        let at = Time {
            milliseconds: 1_795_000_000_000 + self.seq as i64 * 1_000,
            offset: 0,
        };
        self.seq += 1;
        self.reporter.tell(&Told {
            event: &Event {
                at,
                step: step.into(),
                body,
            },
            seq: self.seq,
            title: title.map(str::to_owned),
            depth,
            kind,
            state,
        });
    }

    pub(crate) fn output(&mut self, step: &str, text: &str) {
        self.reporter.output(step, Stream::Stdout, text.as_bytes());
    }
}

pub(crate) fn begun() -> Body {
    Body::Begun(Box::new(Begun {
        version: 1,
        engine: "0.1.0".to_owned(),
        run: "k3x9m2p7q1zz".into(),
        playbook: "wal-recover".to_owned(),
        playbook_version: "1.0.0".to_owned(),
        title: "Bring a database back".to_owned(),
        path: "wal-recover.yml".to_owned(),
        texts: BTreeMap::new(),
        inputs: Fields::new(),
        sources: BTreeMap::new(),
        user: "kay".to_owned(),
        account: "kay".to_owned(),
        host: "db1".to_owned(),
        machine: String::new(),
        children: Default::default(),
        undoes: None,
        continues: None,
        attended: false,
        yes: false,
        fail_on: Default::default(),
        unseen: None,
    }))
}

pub(crate) fn entered() -> Body {
    Body::Entered {
        rounds: None,
        branch: None,
    }
}

pub(crate) fn needed(summary: &str) -> Body {
    Body::Looked {
        action: Description::new("act"),
        look: Looked::Needed {
            before: Value::Null,
            summary: summary.to_owned(),
            diff: None,
        },
    }
}

pub(crate) fn started(summary: &str) -> Body {
    Body::Started {
        attempt: 1,
        action: Description::new(summary),
        before: None,
        undo: None,
    }
}

pub(crate) fn ended_as(state: StepState, milliseconds: i64) -> Finished {
    Finished {
        attempt: 1,
        state,
        result: Fields::new(),
        failure: None,
        findings: Vec::new(),
        again: None,
        took: Span::from_milliseconds(milliseconds),
        output: Vec::new(),
        then: None,
    }
}

pub(crate) fn finished(state: StepState, milliseconds: i64) -> Body {
    Body::Finished(Box::new(ended_as(state, milliseconds)))
}

pub(crate) fn failed(failure: Failure) -> Body {
    Body::Finished(Box::new(Finished {
        failure: Some(failure),
        then: Some(OnFailure::Rollback),
        ..ended_as(StepState::Failed, 2_340)
    }))
}

pub(crate) fn warning() -> Finding {
    Finding {
        severity: Severity::Warning,
        title: "the WAL has 151.1MiB".to_owned(),
        advice: Some("look who holds a read transaction open\nand end it".to_owned()),
    }
}

pub(crate) const FOUND: Step = ("found", "Look at the database", 0, "sqlite.check");
pub(crate) const REPAIR: Step = ("repair", "Salvage a damaged database", 0, "group");
pub(crate) const STOP: Step = ("stop", "Stop kvdb-mem", 1, "service");
pub(crate) const SWAP: Step = ("swap", "Put the salvaged file in place", 1, "shell");
pub(crate) const MORE: Step = ("more", "Fold the WAL", 0, "sqlite.checkpoint");

/// A run that fails and can't undo everything.
pub(crate) fn failing_run(reporter: &mut dyn Reporter) {
    let mut story = Story::new(reporter);
    story.run(begun());
    let finding = Finished {
        findings: vec![warning()],
        ..ended_as(StepState::Ok, 20)
    };
    story.step(FOUND, StepState::Ok, Body::Finished(Box::new(finding)));
    let why = "found.wal_bytes > wal_limit: 12MiB > 100MiB".to_owned();
    story.step(MORE, StepState::Skipped, Body::Skipped { why });
    story.step(REPAIR, StepState::Running, entered());
    story.step(STOP, StepState::Pending, needed("running -> stopped"));
    story.step(STOP, StepState::Running, started("stop service kvdb-mem"));
    story.step(
        STOP,
        StepState::Changed,
        finished(StepState::Changed, 1_250),
    );
    story.step(SWAP, StepState::Running, started("run a script of 3 lines"));
    story.output("swap", "\x1b[32mmoving\x1b[0m\n10%\r50%\rno space left\n");
    let failure = Failure::new(Class::Exit, "run a script of 3 lines: it ended with code 3");
    let failure = Failure {
        causes: vec!["no space left on device".to_owned()],
        ..failure.hint("free some space on /var")
    };
    story.step(SWAP, StepState::Failed, failed(failure));
    let why = "step `swap` failed".to_owned();
    story.run(Body::RollingBack { why });
    let undo = "start service kvdb-mem".to_owned();
    let undoing = Body::Undoing {
        summary: undo.clone(),
    };
    story.step(STOP, StepState::Changed, undoing);
    let result = UndoResult::Left(UndoLook::Dirty("kvdb-mem was removed".to_owned()));
    let undone = Body::Undone(Undone {
        result,
        summary: undo,
    });
    story.step(STOP, StepState::UndoFailed, undone);
    story.run(Body::Ended(Ended {
        outcome: Outcome::RollbackIncomplete,
        why: "step `swap` failed".to_owned(),
        outputs: Fields::new(),
        dirty: vec!["stop: left alone: kvdb-mem was removed".to_owned()],
    }));
    reporter.end(&Summary {
        outcome: "rollback_incomplete".to_owned(),
        exit_code: 5,
        why: "step `swap` failed: run a script of 3 lines: it ended with code 3".to_owned(),
        dirty: vec!["stop: left alone: kvdb-mem was removed".to_owned()],
        findings: vec![Found {
            step: "found".into(),
            finding: warning(),
        }],
        ..summary()
    });
}

/// Every kind of event, in an order that no run has.
pub(crate) fn every_event(reporter: &mut dyn Reporter) {
    let mut story = Story::new(reporter);
    story.run(begun());
    let missing = vec!["`sqlite3` is not installed".to_owned()];
    story.run(Body::Required { missing });
    story.run(Body::Asserted(Asserted {
        which: Assertion::Guard(1),
        holds: Some(false),
        why: "kv.db is no database file".to_owned(),
        error: None,
    }));
    let unless = |holds| Asserted {
        which: Assertion::Unless,
        holds: Some(holds),
        why: "found.ok: true".to_owned(),
        error: None,
    };
    story.step(MORE, StepState::Pending, Body::Asserted(unless(false)));
    story.step(MORE, StepState::Already, Body::Asserted(unless(true)));
    let rounds = |rounds: &[&str]| Body::Entered {
        rounds: Some(rounds.iter().map(|key| (*key).to_owned()).collect()),
        branch: None,
    };
    let each = ("each", "For each", 0, "foreach");
    story.step(each, StepState::Running, rounds(&["a", "b"]));
    story.step(each, StepState::Running, rounds(&[]));
    let choose = ("which", "Which way", 0, "choose");
    let branch = |branch| Body::Entered {
        rounds: None,
        branch,
    };
    story.step(choose, StepState::Running, branch(Some(1)));
    story.step(choose, StepState::Running, branch(None));
    story.step(choose, StepState::Ok, finished(StepState::Ok, 0));
    let ask = |ask| Question::new(ask, "Replace kv.db?");
    let until = "2026-11-20T14:30:00+08:00".parse().expect("a time");
    for question in [
        Ask::Confirm,
        Ask::Phrase("kv.db".to_owned()),
        Ask::Until(until),
    ] {
        story.step(SWAP, StepState::Pending, Body::Asked(ask(question)));
    }
    let why = "not today".to_owned();
    let values = Fields::from([("rows".to_owned(), Value::Int(3))]);
    for reply in [
        Reply::Yes,
        Reply::No { why },
        Reply::Values(values),
        Reply::RollBack,
    ] {
        let answered = Body::Answered {
            question: ask(Ask::Confirm).digest(),
            by: "kay".to_owned(),
            reply,
            reason: String::new(),
        };
        story.step(SWAP, StepState::Pending, answered);
    }
    story.step(SWAP, StepState::Pending, needed("2 files"));
    story.step(SWAP, StepState::Running, started("swap the files"));
    let again = Time::from_milliseconds(1_795_000_000_000 + 30_000);
    let failure = Failure::new(Class::Timeout, "reach db1").because(&io::Error::other("no route"));
    let retry = Finished {
        failure: Some(failure.clone()),
        again: Some(again),
        ..ended_as(StepState::Running, 0)
    };
    story.step(SWAP, StepState::Running, Body::Finished(Box::new(retry)));
    let third = Finished {
        attempt: 3,
        ..ended_as(StepState::Changed, 61_000)
    };
    story.step(SWAP, StepState::Changed, Body::Finished(Box::new(third)));
    story.step(FOUND, StepState::Refused, finished(StepState::Refused, 0));
    let not_yet = Body::NotYet {
        attempt: 4,
        found: "result.ready: false".to_owned(),
        held_since: None,
    };
    story.step(FOUND, StepState::Running, not_yet);
    story.step(FOUND, StepState::Running, Body::Woke);
    let by = "SIGTERM".to_owned();
    let (then, reason) = (Stop::Keep, String::new());
    story.run(Body::Stopping { by, then, reason });
    let why = "stopped by SIGTERM".to_owned();
    story.run(Body::Stopped { why });
    for goal in [Goal::Work, Goal::RollBack] {
        let by = "kay".to_owned();
        let attended = false;
        let reason = String::new();
        story.run(Body::Resumed {
            by,
            goal,
            attended,
            reason,
        });
    }
    for how in [
        Settlement::Done(Value::Null),
        Settlement::Redo,
        Settlement::Undo,
    ] {
        story.step(STOP, StepState::InDoubt, Body::Settled { how });
    }
    let why = "step `swap` failed".to_owned();
    story.run(Body::RollingBack { why });
    let summary = "start kvdb-mem".to_owned();
    story.step(
        STOP,
        StepState::Changed,
        Body::Undoing {
            summary: summary.clone(),
        },
    );
    for result in [
        UndoResult::Undone,
        UndoResult::Nothing,
        UndoResult::Left(UndoLook::Done),
        UndoResult::Left(UndoLook::Lapsed("the kept file is gone".to_owned())),
        UndoResult::Irreversible("rows are gone".to_owned()),
        UndoResult::Failed(failure.hint("look at the network")),
    ] {
        let summary = summary.clone();
        story.step(
            STOP,
            StepState::Undone,
            Body::Undone(Undone { result, summary }),
        );
    }
    story.run(Body::Always);
    story.step(FOUND, StepState::Failed, Body::Raised(warning()));
    let why = "not asked for".to_owned();
    story.step(MORE, StepState::Skipped, Body::Skipped { why });
    story.run(Body::Ended(Ended {
        outcome: Outcome::Succeeded,
        why: String::new(),
        outputs: Fields::new(),
        dirty: Vec::new(),
    }));
}

/// A run whose every text tries to get at the terminal.
pub(crate) fn hostile_run(reporter: &mut dyn Reporter) {
    const EVIL: &str = "\x1b[2J\x1b]52;c;aGk=\x07\u{9b}31mevil\r\u{202e}";
    let evil = || EVIL.to_owned();
    let mut story = Story::new(reporter);
    let step = (EVIL, EVIL, 0, "shell");
    story.step(step, StepState::Running, started(EVIL));
    story.output(EVIL, "\u{9b}2J\x1b]0;x\x07out\n");
    let failure = Failure {
        causes: vec![evil()],
        ..Failure::new(Class::Exit, EVIL).hint(EVIL)
    };
    story.step(step, StepState::Failed, failed(failure));
    let finding = Finding {
        severity: Severity::Critical,
        title: evil(),
        advice: Some(evil()),
    };
    story.step(step, StepState::Failed, Body::Raised(finding.clone()));
    reporter.end(&Summary {
        run: "k3x9m2p7q1zz".to_owned(),
        outcome: "stopped".to_owned(),
        why: evil(),
        findings: vec![Found {
            step: EVIL.into(),
            finding,
        }],
        outputs: Fields::from([(evil(), Value::text(EVIL))]),
        dirty: vec![evil()],
        ..summary()
    });
}

/// Two events for each of ten thousand steps.
pub(crate) fn ten_thousand_steps(reporter: &mut dyn Reporter) {
    let step = ("step", "Step", 0, "shell");
    let mut story = Story::new(reporter);
    for _ in 0..10_000 {
        story.step(step, StepState::Running, started("act"));
        story.step(step, StepState::Ok, finished(StepState::Ok, 0));
    }
}

/// A summary with nothing special in it.
pub(crate) fn summary() -> Summary {
    Summary {
        run: "k3x9m2p7q1zz".to_owned(),
        playbook: "wal-recover".to_owned(),
        version: "1.0.0".to_owned(),
        outcome: "succeeded".to_owned(),
        exit_code: 0,
        why: String::new(),
        steps: BTreeMap::from([("ok".to_owned(), 1), ("changed".to_owned(), 2)]),
        findings: Vec::new(),
        outputs: Fields::new(),
        dirty: Vec::new(),
        questions: Vec::new(),
        undoable: 0,
        undos: Vec::new(),
        took_ms: 14_000,
        head: "1a2b3c4d5e6f708192a3b4c5d6e7f8".to_owned(),
        signed_by: None,
    }
}

/// A writer that remembers, and can be told to fail or to stand still.
#[derive(Clone, Default)]
pub(crate) struct Paper {
    shared: Arc<(Mutex<Sheet>, Condvar)>,
}

#[derive(Default)]
struct Sheet {
    text: Vec<u8>,
    is_stuck: bool,
    delay: Duration,
    fails: bool,
    writes: usize,
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        let sheet = self.shared.0.lock().expect("no writer panics");
        String::from_utf8(sheet.text.clone()).expect("reporters write text")
    }

    /// Returns how often somebody has tried to write.
    pub(crate) fn writes(&self) -> usize {
        self.shared.0.lock().expect("no writer panics").writes
    }

    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        self.shared.0.lock().expect("no writer panics").is_stuck = is_stuck;
        self.shared.1.notify_all();
    }

    /// Makes every write take this long.
    pub(crate) fn set_slow(&self, delay: Duration) {
        self.shared.0.lock().expect("no writer panics").delay = delay;
    }

    pub(crate) fn set_failing(&self) {
        self.shared.0.lock().expect("no writer panics").fails = true;
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Paper) -> bool) {
        wait_until(what, || is_so(self));
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sheet = self.shared.0.lock().expect("no writer panics");
        sheet.writes += 1;
        std::thread::sleep(sheet.delay);
        while sheet.is_stuck {
            sheet = self.shared.1.wait(sheet).expect("no writer panics");
        }
        if sheet.fails {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        sheet.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until `is_so`, and panics where that does not come.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
