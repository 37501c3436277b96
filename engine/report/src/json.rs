//! JSON lines for programs: each event one line on stdout, the summary last.

mod lines;

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write},
    time::{Duration, Instant},
};

use runwright_core::{
    event::Body,
    kind::{Progress, Stream},
    port::Told,
    summary::Summary,
};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

pub use self::lines::output_schema;
use self::lines::{EventLine, LeftOutLine, Line, OutputLine, ProgressLine, SummaryLine};
use crate::{
    sink::{Page, Sink, reporter},
    tail::whole_characters,
};

/// How often a step's progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// An unfinished line of output longer than this is told in pieces.
const LONGEST: usize = 8 * 1024;

/// Tells a run as JSON lines, as [`output_schema`] describes them.
///
/// Output is told in pieces that end where a line does, as far as lines end; bytes that are no UTF-8 are replaced.
/// A question holds nothing up here: its line is what a program waits for.
#[derive(Debug)]
pub struct Json {
    sink: Sink,
}

impl Json {
    /// Returns a reporter that writes to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Json {
        let sink = Sink::new(Feed {
            out: BufWriter::new(out),
            run: String::new(),
            unfinished: HashMap::new(),
            progress: HashMap::new(),
        });
        Json { sink }
    }
}

reporter!(Json);

struct Feed {
    out: BufWriter<Box<dyn Write + Send>>,
    run: String,
    /// What a step has printed since the last line end, by stream.
    unfinished: HashMap<String, [Vec<u8>; 2]>,
    /// When a step's progress was told last.
    progress: HashMap<String, Instant>,
}

impl Page for Feed {
    const HOLDS: bool = false;

    fn name_run(&mut self, run: String) {
        self.run = run;
    }

    fn tell(&mut self, told: &Told<'_>) -> io::Result<()> {
        if let Body::Begun(begun) = &told.event.body {
            self.run = begun.run.to_string();
        }
        if matches!(told.event.body, Body::Finished(_) | Body::Undone(_)) {
            self.finish_output(&told.event.step)?;
            self.progress.remove(&*told.event.step);
        }
        let line = EventLine::of(&self.run, told);
        write_line(&mut self.out, &Line::Event(line))
    }

    fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if !self.unfinished.contains_key(step) {
            self.unfinished.insert(step.to_owned(), Default::default());
        }
        let unfinished = self
            .unfinished
            .get_mut(step)
            .expect("it was inserted just above");
        let unfinished = &mut unfinished[stream as usize];
        unfinished.extend_from_slice(bytes);
        let ready = match unfinished.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if unfinished.len() > LONGEST => whole_characters(unfinished),
            None => return Ok(()),
        };
        let rest = unfinished.split_off(ready);
        let ready = std::mem::replace(unfinished, rest);
        self.write_output(step, stream, &ready)
    }

    fn left_out(&mut self, step: &str, bytes: u64) -> io::Result<()> {
        self.finish_output(step)?;
        let line = LeftOutLine::of(&self.run, step, bytes);
        write_line(&mut self.out, &Line::LeftOut(line))
    }

    fn progress(&mut self, step: &str, progress: &Progress) -> io::Result<()> {
        let is_last = progress.total == Some(progress.done);
        let is_due = self
            .progress
            .get(step)
            .is_none_or(|told| told.elapsed() >= PROGRESS_EVERY);
        if !is_due && !is_last {
            return Ok(());
        }
        self.progress.insert(step.to_owned(), Instant::now());
        let line = ProgressLine::of(&self.run, step, progress);
        write_line(&mut self.out, &Line::Progress(line))
    }

    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn go_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let steps: Vec<String> = self.unfinished.keys().cloned().collect();
        for step in steps {
            self.finish_output(&step)?;
        }
        let line = Line::Summary(Box::new(SummaryLine::of(summary)));
        write_line(&mut self.out, &line)?;
        self.out.flush()
    }

    fn idle(&mut self) -> io::Result<Option<Duration>> {
        self.out.flush()?;
        Ok(None)
    }
}

impl Feed {
    fn finish_output(&mut self, step: &str) -> io::Result<()> {
        let Some([stdout, stderr]) = self.unfinished.remove(step) else {
            return Ok(());
        };
        self.write_output(step, Stream::Stdout, &stdout)?;
        self.write_output(step, Stream::Stderr, &stderr)
    }

    fn write_output(&mut self, step: &str, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(bytes);
        let line = OutputLine::of(&self.run, step, stream, &text);
        write_line(&mut self.out, &Line::Output(line))
    }
}

fn write_line(out: &mut dyn Write, line: &Line<'_>) -> io::Result<()> {
    line.serialize(&mut Serializer::with_formatter(&mut *out, Harmless))?;
    out.write_all(b"\n")
}

/// JSON that is harmless on a terminal: also the control characters beyond ASCII are escaped, some of which begin
/// escape sequences.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(char::is_control) {
            let (before, from) = rest.split_at(at);
            let char = from.chars().next().expect("a character was found there");
            write!(writer, "{before}\\u{:04x}", u32::from(char))?;
            rest = &from[char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::testing::{
        FOUND, Paper, SWAP, Story, begun, every_event, failing_run, finished, hostile_run, summary,
        ten_thousand_steps,
    };
    use runwright_core::{event::StepState, port::Reporter};

    fn told(tell: impl FnOnce(&mut Json)) -> String {
        let paper = Paper::default();
        tell(&mut Json::new(Box::new(paper.clone())));
        paper.text()
    }

    fn lines(text: &str) -> Vec<serde_json::Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    #[test]
    fn a_run_is_one_line_an_event_and_the_summary_last() {
        assert_eq!(
            told(|json| failing_run(json)),
            r#"{"v":1,"run":"k3x9m2p7q1zz","seq":1,"at":"2026-11-18T11:06:40Z","kind":"begun","step":"","title":null,"state":null,"data":{"version":1,"engine":"0.1.0","run":"k3x9m2p7q1zz","playbook":"wal-recover","playbook_version":"1.0.0","title":"Bring a database back","path":"wal-recover.yml","texts":{},"inputs":{},"sources":{},"user":"kay","account":"kay","host":"db1","machine":"","children":{"env":{},"cwd":"","umask":0},"yes":false,"attended":false,"fail_on":"warning"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":2,"at":"2026-11-18T11:06:41Z","kind":"finished","step":"found","title":"Look at the database","state":"ok","data":{"attempt":1,"state":"ok","findings":[{"severity":"warning","title":"the WAL has 151.1MiB","advice":"look who holds a read transaction open\nand end it"}],"took":{"$duration":"20ms"}}}
{"v":1,"run":"k3x9m2p7q1zz","seq":3,"at":"2026-11-18T11:06:42Z","kind":"skipped","step":"more","title":"Fold the WAL","state":"skipped","data":{"why":"found.wal_bytes > wal_limit: 12MiB > 100MiB"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":4,"at":"2026-11-18T11:06:43Z","kind":"entered","step":"repair","title":"Salvage a damaged database","state":"running","data":{}}
{"v":1,"run":"k3x9m2p7q1zz","seq":5,"at":"2026-11-18T11:06:44Z","kind":"looked","step":"stop","title":"Stop kvdb-mem","state":"pending","data":{"action":{"summary":"act"},"look":{"needed":{"before":null,"summary":"running -> stopped"}}}}
{"v":1,"run":"k3x9m2p7q1zz","seq":6,"at":"2026-11-18T11:06:45Z","kind":"started","step":"stop","title":"Stop kvdb-mem","state":"running","data":{"attempt":1,"action":{"summary":"stop service kvdb-mem"}}}
{"v":1,"run":"k3x9m2p7q1zz","seq":7,"at":"2026-11-18T11:06:46Z","kind":"finished","step":"stop","title":"Stop kvdb-mem","state":"changed","data":{"attempt":1,"state":"changed","took":{"$duration":"1s 250ms"}}}
{"v":1,"run":"k3x9m2p7q1zz","seq":8,"at":"2026-11-18T11:06:47Z","kind":"started","step":"swap","title":"Put the salvaged file in place","state":"running","data":{"attempt":1,"action":{"summary":"run a script of 3 lines"}}}
{"v":1,"kind":"output","run":"k3x9m2p7q1zz","step":"swap","stream":"stdout","text":"\u001b[32mmoving\u001b[0m\n10%\r50%\rno space left\n"}
{"v":1,"run":"k3x9m2p7q1zz","seq":9,"at":"2026-11-18T11:06:48Z","kind":"finished","step":"swap","title":"Put the salvaged file in place","state":"failed","data":{"attempt":1,"state":"failed","failure":{"class":"exit","message":"run a script of 3 lines: it ended with code 3","causes":["no space left on device"],"hint":"free some space on /var"},"took":{"$duration":"2s 340ms"},"then":"rollback"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":10,"at":"2026-11-18T11:06:49Z","kind":"rolling_back","step":"","title":null,"state":null,"data":{"why":"step `swap` failed"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":11,"at":"2026-11-18T11:06:50Z","kind":"undoing","step":"stop","title":"Stop kvdb-mem","state":"changed","data":{"summary":"start service kvdb-mem"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":12,"at":"2026-11-18T11:06:51Z","kind":"undone","step":"stop","title":"Stop kvdb-mem","state":"undo_failed","data":{"result":{"left":{"dirty":"kvdb-mem was removed"}},"summary":"start service kvdb-mem"}}
{"v":1,"run":"k3x9m2p7q1zz","seq":13,"at":"2026-11-18T11:06:52Z","kind":"ended","step":"","title":null,"state":null,"data":{"outcome":"rollback_incomplete","why":"step `swap` failed","dirty":["stop: left alone: kvdb-mem was removed"]}}
{"v":1,"kind":"summary","run":"k3x9m2p7q1zz","playbook":"wal-recover","version":"1.0.0","outcome":"rollback_incomplete","exit_code":5,"why":"step `swap` failed: run a script of 3 lines: it ended with code 3","steps":{"changed":2,"ok":1},"findings":[{"step":"found","severity":"warning","title":"the WAL has 151.1MiB","advice":"look who holds a read transaction open\nand end it"}],"outputs":{},"dirty":["stop: left alone: kvdb-mem was removed"],"questions":[],"undoable":0,"undos":[],"took_ms":14000,"head":"1a2b3c4d5e6f708192a3b4c5d6e7f8","signed_by":null}
"#
        );
    }

    #[test]
    fn every_line_is_valid_against_the_schema() {
        let validator = jsonschema::validator_for(&output_schema()).expect("the schema is one");
        let text = told(|json| {
            every_event(json);
            json.output("swap", Stream::Stderr, b"\xff\n");
            let progress = Progress {
                done: 3,
                total: None,
                unit: "rows".to_owned(),
            };
            json.progress("swap", &progress);
            json.end(&summary());
        });
        let mut kinds = std::collections::BTreeSet::new();
        for line in lines(&text) {
            assert!(validator.is_valid(&line), "{line}");
            kinds.insert(line["kind"].as_str().expect("a kind").to_owned());
        }
        let left_out = LeftOutLine::of("run", "swap", 7);
        assert!(validator.is_valid(&json!(Line::LeftOut(left_out))));
        // 22 kinds of events, and three of the four others.
        assert_eq!(kinds.len(), 25, "{kinds:?}");
    }

    #[test]
    fn the_schema_refuses_what_is_no_line() {
        let validator = jsonschema::validator_for(&output_schema()).expect("the schema is one");
        let good = lines(&told(|json| failing_run(json)));
        for (field, value) in [
            ("v", json!(2)),
            ("kind", json!("unheard_of")),
            ("step", json!(null)),
            ("state", json!("fine")),
        ] {
            let mut line = good[1].clone();
            line[field] = value;
            assert!(!validator.is_valid(&line), "{line}");
        }
    }

    #[test]
    fn the_kind_of_a_line_is_the_name_in_the_journal() {
        let text = told(|json| every_event(json));
        for line in lines(&text) {
            let kind = line["kind"].as_str().expect("a kind");
            let body = Body::from_stored(kind, &line["data"]).expect(kind);
            assert_eq!(body.kind(), kind);
        }
    }

    #[test]
    fn output_is_cut_at_line_ends_and_never_within_a_character() {
        let text = told(|json| {
            json.output("swap", Stream::Stdout, b"on");
            json.output("swap", Stream::Stderr, b"beside\n");
            json.output("swap", Stream::Stdout, b"e\ntwo \xe5\x9b");
            json.output("swap", Stream::Stdout, b"\xbd");
            Story::new(json).step(SWAP, StepState::Ok, finished(StepState::Ok, 0));
        });
        let pieces: Vec<_> = lines(&text)
            .iter()
            .filter(|line| line["kind"] == "output")
            .map(|line| format!("{} {}", line["stream"], line["text"]))
            .collect();
        assert_eq!(
            pieces,
            [
                r#""stderr" "beside\n""#,
                r#""stdout" "one\n""#,
                r#""stdout" "two 国""#
            ]
        );
    }

    #[test]
    fn progress_is_told_a_few_times_and_at_its_end() {
        let start = Instant::now();
        let text = told(|json| {
            for done in 0..=1_000 {
                let progress = Progress {
                    done,
                    total: Some(1_000),
                    unit: "pages".to_owned(),
                };
                json.progress("swap", &progress);
            }
        });
        let told = lines(&text);
        assert!(told.len() as u128 <= 3 + start.elapsed().as_millis() / 500);
        assert_eq!(told.last().expect("a line")["done"], 1_000);
    }

    #[test]
    fn nothing_hostile_is_written_as_it_is() {
        let text = told(|json| hostile_run(json));
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
        let found = lines(&text)
            .into_iter()
            .find(|line| line["kind"] == "output");
        assert_eq!(
            found.expect("a piece")["text"],
            "\u{9b}2J\u{1b}]0;x\u{7}out\n"
        );
    }

    #[test]
    fn a_run_that_is_known_before_its_first_event_is_named_in_every_line() {
        let paper = Paper::default();
        let mut json = Json::new(Box::new(paper.clone())).of_run("k3x9m2p7q1zz");
        Story::new(&mut json).step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        drop(json);
        assert_eq!(lines(&paper.text())[0]["run"], "k3x9m2p7q1zz");
    }

    #[test]
    fn ten_thousand_steps_are_written_whole() {
        let text = told(|json| {
            Story::new(json).run(begun());
            ten_thousand_steps(json);
        });
        assert_eq!(text.lines().count(), 1 + 20_000);
    }
}
