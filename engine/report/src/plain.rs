//! One line for each thing that matters: for CI, pipes, log files, and the account of an earlier run.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write},
    time::Duration,
};

use runwright_core::{
    diagnostic::Colour,
    event::{Body, StepState},
    kind::{Progress, Stream},
    port::Told,
    summary::Summary,
    units::Bytes,
};

use crate::{
    book::Book,
    clean,
    line::{self, Line},
    paint::{Tone, paint},
    sink::{Page, Sink, reporter},
    summary,
    tail::Lines,
    words,
};

/// How many lines of a step's output are shown while it runs; all of it is in the log.
const LIVE_LINES: usize = 20;

/// Tells a run line by line: `[hh:mm:ss] state address  title - note`.
///
/// The times are those of the events, so that a replay reads as the run did.
#[derive(Debug)]
pub struct Plain {
    sink: Sink,
}

impl Plain {
    /// Returns a reporter that writes to `out`.
    pub fn new(out: Box<dyn Write + Send>, colour: Colour) -> Plain {
        let sink = Sink::new(Log {
            out: BufWriter::new(out),
            colour,
            book: Book::default(),
            shown: HashMap::new(),
            last: String::new(),
        });
        Plain { sink }
    }
}

reporter!(Plain);

struct Log {
    out: BufWriter<Box<dyn Write + Send>>,
    colour: Colour,
    book: Book,
    shown: HashMap<String, Shown>,
    /// The step of the line that was written last.
    last: String,
}

/// What was shown of a step's output.
#[derive(Default)]
struct Shown {
    lines: Lines,
    count: usize,
    more: u64,
}

impl Page for Log {
    const HOLDS: bool = true;

    fn name_run(&mut self, run: String) {
        self.book.run = run;
    }

    fn tell(&mut self, told: &Told<'_>) -> io::Result<()> {
        self.book.note(told);
        match &told.event.body {
            Body::Finished(finished) => {
                self.finish_output(&told.event.step, finished.state != StepState::Running)?;
            }
            Body::Undone(_) => self.finish_output(&told.event.step, true)?,
            _ => {}
        }
        for line in line::lines(told, &mut self.book) {
            self.write(told, &line)?;
        }
        self.book.forget(told);
        Ok(())
    }

    fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.book.output(step, stream, bytes);
        if !self.shown.contains_key(step) {
            self.shown.insert(step.to_owned(), Shown::default());
        }
        let shown = self
            .shown
            .get_mut(step)
            .expect("it was inserted just above");
        let mut ready = Vec::new();
        let Shown { lines, count, more } = shown;
        lines.take(stream, bytes, &mut |line| match *count < LIVE_LINES {
            true => {
                *count += 1;
                ready.push(clean::output(line));
            }
            false => *more += 1,
        });
        self.write_output(step, &ready)
    }

    fn left_out(&mut self, step: &str, bytes: u64) -> io::Result<()> {
        let size = Bytes(bytes);
        let logs = self.logs(step);
        self.write_output(step, &[format!("({size} were not shown in time: {logs})")])
    }

    fn progress(&mut self, _: &str, _: &Progress) -> io::Result<()> {
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn go_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let text = summary::text(summary, &self.book, self.colour);
        write!(self.out, "\n{text}")?;
        self.out.flush()
    }

    fn idle(&mut self) -> io::Result<Option<Duration>> {
        self.out.flush()?;
        Ok(None)
    }
}

impl Log {
    fn write(&mut self, told: &Told<'_>, line: &Line) -> io::Result<()> {
        let step = &*told.event.step;
        let mark = format!("{:<8}", line.mark.word);
        let mark = paint(self.colour, line.mark.tone, &mark);
        write!(self.out, "[{}] {mark}", words::clock(told.event.at))?;
        if !step.is_empty() {
            write!(self.out, " {}", clean::line(step))?;
        }
        let headline = line.headline.as_ref().or(told.title.as_ref());
        if let Some(headline) = headline {
            let space = if step.is_empty() { " " } else { "  " };
            write!(self.out, "{space}{}", clean::line(headline))?;
        }
        if !line.note.is_empty() {
            let nothing_before = step.is_empty() && headline.is_none();
            let dash = if nothing_before { " " } else { " - " };
            write!(self.out, "{dash}{}", clean::line(&line.note))?;
        }
        writeln!(self.out)?;
        for (tone, text) in &line.below {
            for text in clean::lines(text) {
                writeln!(self.out, "           {}", paint(self.colour, *tone, &text))?;
            }
        }
        step.clone_into(&mut self.last);
        Ok(())
    }

    /// Shows the unfinished lines of a step's output, and how much of it was not shown where the step `is_over`.
    fn finish_output(&mut self, step: &str, is_over: bool) -> io::Result<()> {
        let Some(shown) = self.shown.get_mut(step) else {
            return Ok(());
        };
        let mut ready = Vec::new();
        let Shown { lines, count, more } = shown;
        lines.finish(&mut |line| match *count < LIVE_LINES {
            true => {
                *count += 1;
                ready.push(clean::output(line));
            }
            false => *more += 1,
        });
        let more = *more;
        self.write_output(step, &ready)?;
        if more == 0 {
            // All of it stands above already.
            self.book.last_lines(step);
        }
        if is_over {
            self.shown.remove(step);
        }
        if is_over && more > 0 {
            let logs = self.logs(step);
            self.write_output(step, &[format!("({more} more lines: {logs})")])?;
        }
        Ok(())
    }

    fn write_output(&mut self, step: &str, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.last != step {
            writeln!(self.out, "  {}:", clean::line(step))?;
            step.clone_into(&mut self.last);
        }
        for line in lines {
            let line = paint(self.colour, Tone::Quiet, &format!("| {line}"));
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
    }

    fn logs(&self, step: &str) -> String {
        let run = if self.book.run.is_empty() {
            "RUN"
        } else {
            &self.book.run
        };
        clean::line(&format!("runwright logs {run} {}", words::quoted(step))).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        FOUND, Paper, SWAP, Story, every_event, failed, failing_run, finished, hostile_run,
        started, ten_thousand_steps,
    };
    use runwright_core::kind::{Class, Failure};

    fn told(tell: impl FnOnce(&mut Plain)) -> String {
        let paper = Paper::default();
        let plain = Plain::new(Box::new(paper.clone()), Colour::Plain);
        tell(&mut plain.of_run("k3x9m2p7q1zz"));
        paper.text()
    }

    #[test]
    fn a_run_reads_from_top_to_bottom() {
        assert_eq!(
            told(|plain| failing_run(plain)),
            r#"[11:06:40] run      wal-recover 1.0.0: Bring a database back - run k3x9m2p7q1zz, by kay on db1
[11:06:41] ok       found  Look at the database
[11:06:41] warning  found  the WAL has 151.1MiB
           -> look who holds a read transaction open
           and end it
[11:06:42] skipped  more  Fold the WAL - found.wal_bytes > wal_limit: 12MiB > 100MiB
[11:06:43] group    repair  Salvage a damaged database
[11:06:45] start    stop  Stop kvdb-mem - stop service kvdb-mem
[11:06:46] changed  stop  Stop kvdb-mem - running -> stopped, 1.2 s
[11:06:47] start    swap  Put the salvaged file in place - run a script of 3 lines
  | moving
  | no space left
[11:06:48] FAILED   swap  Put the salvaged file in place - exit, 2.3 s
           run a script of 3 lines: it ended with code 3
           because: no space left on device
           hint: free some space on /var
           what was changed is undone now
[11:06:49] rollback step `swap` failed
[11:06:50] undoing  stop  Stop kvdb-mem - start service kvdb-mem
[11:06:51] DIRTY    stop  Stop kvdb-mem - start service kvdb-mem
           left alone: kvdb-mem was removed
[11:06:52] end      rollback incomplete

wal-recover: ROLLBACK INCOMPLETE, 1 thing not undone - 3 steps, 2 changed, 14 s
  step `swap` failed: run a script of 3 lines: it ended with code 3
  warning   the WAL has 151.1MiB  (found)
            -> look who holds a read transaction open
            and end it
still changed:
  stop: left alone: kvdb-mem was removed
next:
  runwright show k3x9m2p7q1zz  see what happened
run k3x9m2p7q1zz, exit code 5
head 1a2b3c4d5e6f708192a3b4c5d6e7f8
"#
        );
    }

    #[test]
    fn every_event_has_its_words() {
        assert_eq!(
            told(|plain| every_event(plain)),
            r#"[11:06:40] run      wal-recover 1.0.0: Bring a database back - run k3x9m2p7q1zz, by kay on db1
[11:06:41] REFUSED  what the playbook needs is missing
           `sqlite3` is not installed
[11:06:42] REFUSED  guard 2 of the playbook does not hold
           kv.db is no database file
[11:06:44] already  more  Fold the WAL - found.ok: true
[11:06:45] foreach  each  For each - 2 rounds
[11:06:46] foreach  each  For each - no rounds: the list is empty
[11:06:47] choose   which  Which way - branch 2
[11:06:48] choose   which  Which way - no condition holds
[11:06:50] ask      swap  Put the salvaged file in place - Replace kv.db?
[11:06:51] ask      swap  Put the salvaged file in place - Replace kv.db? (type `kv.db`)
[11:06:52] wait     swap  Put the salvaged file in place - until 2026-11-20T14:30:00+08:00
[11:06:53] answer   swap  Put the salvaged file in place - yes, by kay
[11:06:54] answer   swap  Put the salvaged file in place - no: not today, by kay
[11:06:55] answer   swap  Put the salvaged file in place - rows: 3, by kay
[11:06:56] answer   swap  Put the salvaged file in place - roll back, by kay
[11:06:58] start    swap  Put the salvaged file in place - swap the files
[11:06:59] retry    swap  Put the salvaged file in place - attempt 1 failed, again in 11 s: reach db1: no route
[11:07:00] changed  swap  Put the salvaged file in place - 2 files, attempt 3, 1m 1s
[11:07:01] REFUSED  found  Look at the database
[11:07:02] not yet  found  Look at the database - try 4: result.ready: false
[11:07:04] stopping SIGTERM: what runs is let to its end, nothing new starts
[11:07:05] STOPPED  stopped by SIGTERM
[11:07:06] resume   the work goes on, by kay
[11:07:07] resume   the undoing goes on, by kay
[11:07:08] settled  stop  Stop kvdb-mem - it was in doubt: it was done
[11:07:09] settled  stop  Stop kvdb-mem - it was in doubt: it is done again
[11:07:10] settled  stop  Stop kvdb-mem - it was in doubt: the run is rolled back
[11:07:11] rollback step `swap` failed
[11:07:12] undoing  stop  Stop kvdb-mem - start kvdb-mem
[11:07:13] undone   stop  Stop kvdb-mem - start kvdb-mem
[11:07:14] undone   stop  Stop kvdb-mem - start kvdb-mem: nothing was left to undo
[11:07:15] undone   stop  Stop kvdb-mem - start kvdb-mem: it is as it was before
[11:07:16] DIRTY    stop  Stop kvdb-mem - start kvdb-mem
           too late to undo: the kept file is gone
[11:07:17] DIRTY    stop  Stop kvdb-mem - start kvdb-mem
           can't be undone: rows are gone
[11:07:18] DIRTY    stop  Stop kvdb-mem - start kvdb-mem
           failed to undo: reach db1: no route
           hint: look at the network
[11:07:19] always   what runs last
[11:07:20] warning  found  the WAL has 151.1MiB
           -> look who holds a read transaction open
           and end it
[11:07:21] skipped  more  Fold the WAL - not asked for
[11:07:22] end      succeeded
"#
        );
    }

    #[test]
    fn of_long_output_the_beginning_is_shown_live_and_the_end_with_the_failure() {
        let text = told(|plain| {
            let mut story = Story::new(plain);
            story.step(SWAP, StepState::Running, started("run a script"));
            for line in 1..=50 {
                story.output("swap", &format!("line {line}\n"));
            }
            let failure = Failure::new(Class::Exit, "run a script");
            story.step(SWAP, StepState::Failed, failed(failure));
        });
        assert_eq!(
            text,
            r#"[11:06:40] start    swap  Put the salvaged file in place - run a script
  | line 1
  | line 2
  | line 3
  | line 4
  | line 5
  | line 6
  | line 7
  | line 8
  | line 9
  | line 10
  | line 11
  | line 12
  | line 13
  | line 14
  | line 15
  | line 16
  | line 17
  | line 18
  | line 19
  | line 20
  | (30 more lines: runwright logs k3x9m2p7q1zz swap)
[11:06:41] FAILED   swap  Put the salvaged file in place - exit, 2.3 s
           run a script
           the last 10 lines of its output:
           | line 41
           | line 42
           | line 43
           | line 44
           | line 45
           | line 46
           | line 47
           | line 48
           | line 49
           | line 50
           what was changed is undone now
"#
        );
    }

    #[test]
    fn output_of_steps_beside_each_other_is_told_apart() {
        let text = told(|plain| {
            let mut story = Story::new(plain);
            story.step(SWAP, StepState::Running, started("swap"));
            story.step(FOUND, StepState::Running, started("look"));
            story.output("swap", "one\n");
            story.output("swap", "two\nhal");
            story.output("found", "other\n");
            story.output("swap", "f\n");
            story.step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
            story.output("swap", "without an end");
            story.step(SWAP, StepState::Ok, finished(StepState::Ok, 0));
        });
        assert_eq!(
            text,
            r#"[11:06:40] start    swap  Put the salvaged file in place - swap
[11:06:41] start    found  Look at the database - look
  swap:
  | one
  | two
  found:
  | other
  swap:
  | half
[11:06:42] ok       found  Look at the database
  swap:
  | without an end
[11:06:43] ok       swap  Put the salvaged file in place
"#
        );
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal() {
        let text = told(|plain| hostile_run(plain));
        assert_eq!(
            text,
            r#"[11:06:40] start    evil �  evil � - evil �
  | out
[11:06:41] FAILED   evil �  evil � - exit, 2.3 s
           evil �
           because: evil �
           hint: evil �
           what was changed is undone now
[11:06:42] CRITICAL evil �  evil �
           -> evil �

wal-recover: STOPPED where it was - 3 steps, 2 changed, 14 s
  evil �
  CRITICAL  evil �  (evil �)
            -> evil �
outputs:
  evil �: evil �
still changed:
  evil �
next:
  runwright resume k3x9m2p7q1zz  go on from there
  runwright show k3x9m2p7q1zz    see what happened
run k3x9m2p7q1zz, exit code 0
head 1a2b3c4d5e6f708192a3b4c5d6e7f8
"#
        );
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
    }

    #[test]
    fn colours_are_an_addition() {
        let paper = Paper::default();
        failing_run(&mut Plain::new(Box::new(paper.clone()), Colour::Ansi));
        let plain = told(|plain| failing_run(plain));
        let coloured = paper.text();
        assert!(
            coloured.contains("\x1b[1m\x1b[31mFAILED  \x1b[0m"),
            "{coloured:?}"
        );
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }

    #[test]
    fn ten_thousand_steps_are_written_whole() {
        let text = told(|plain| ten_thousand_steps(plain));
        assert_eq!(text.lines().count(), 20_000);
    }
}
