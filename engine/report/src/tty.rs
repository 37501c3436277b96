//! The live tree on a terminal: what is over stands above as lasting lines, what runs moves below them.

mod screen;

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use console::Term;
use indicatif::TermLike;
use runwright_core::{
    diagnostic::Colour,
    event::{Ask, Body, StepState},
    kind::{Progress, Stream},
    port::Told,
    summary::Summary,
    units::Bytes,
};

use self::screen::{Screen, Spinner};
use crate::{
    book::Book,
    clean,
    line::{self, Line, Weight},
    paint::{Tone, paint},
    sink::{Page, Sink, reporter},
    summary,
};

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How far a step is indented under the structure it lies in.
const INDENT: usize = 2;

/// Tells a run to a person who watches it.
#[derive(Debug)]
pub struct Tty {
    sink: Sink,
}

impl Tty {
    /// Returns a reporter that draws on the terminal behind stderr.
    pub fn new(colour: Colour) -> Tty {
        Tty::on(Box::new(Term::buffered_stderr()), colour)
    }

    /// Returns a reporter that draws on `terminal`.
    pub fn on(terminal: Box<dyn TermLike>, colour: Colour) -> Tty {
        let sink = Sink::new(Tree {
            screen: Screen::on(terminal),
            colour,
            book: Book::default(),
            running: BTreeMap::new(),
            asked_here: false,
            drawn: Instant::now(),
        });
        Tty { sink }
    }
}

reporter!(Tty);

struct Tree {
    screen: Screen,
    colour: Colour,
    book: Book,
    /// The steps that are at work, by address.
    running: BTreeMap<String, Running>,
    /// Whether a question stood on this terminal whose answer was not told yet.
    asked_here: bool,
    drawn: Instant,
}

/// A step at work.
struct Running {
    since: Instant,
    indent: usize,
    title: String,
    progress: Option<Progress>,
    /// What moves on the screen; a step that is over before the next frame never gets one.
    spinner: Option<Spinner>,
}

impl Page for Tree {
    const HOLDS: bool = true;

    fn name_run(&mut self, run: String) {
        self.book.run = run;
    }

    fn tell(&mut self, told: &Told<'_>) -> io::Result<()> {
        self.book.note(told);
        let step = &*told.event.step;
        let is_seen = match &told.event.body {
            // What flags have answered was on no screen.
            Body::Answered { by, .. } if !by.starts_with("--") => {
                std::mem::take(&mut self.asked_here)
            }
            _ => false,
        };
        match turn(told) {
            Turn::Works => self.run(
                step,
                told.depth * INDENT,
                told.title.as_deref().unwrap_or(step),
            ),
            Turn::Rests => drop(self.running.remove(step)),
            Turn::Same => {}
        }
        for line in line::lines(told, &mut self.book) {
            if line.weight != Weight::Detail && !is_seen {
                self.write(told, &line);
            }
        }
        self.book.forget(told);
        self.draw_in_time()
    }

    fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.book.output(step, stream, bytes);
        self.appear(step);
        self.draw_in_time()
    }

    fn left_out(&mut self, _: &str, _: u64) -> io::Result<()> {
        // Only the newest lines are ever on the screen.
        Ok(())
    }

    fn progress(&mut self, step: &str, progress: &Progress) -> io::Result<()> {
        self.appear(step);
        if let Some(running) = self.running.get_mut(step) {
            running.progress = Some(progress.clone());
        }
        self.draw_in_time()
    }

    fn pause(&mut self) -> io::Result<()> {
        self.draw()?;
        self.asked_here = true;
        self.screen.leave()
    }

    fn go_on(&mut self) -> io::Result<()> {
        self.screen.take_back();
        self.draw()
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        self.running.clear();
        let text = summary::text(summary, &self.book, self.colour);
        self.screen.write("\n");
        self.screen.write(&text);
        self.screen.leave()
    }

    fn idle(&mut self) -> io::Result<Option<Duration>> {
        match FRAME.checked_sub(self.drawn.elapsed()) {
            // What is over stands there at once; what moves has time until the next frame.
            Some(_) => self.screen.draw()?,
            None => self.draw()?,
        }
        Ok((!self.running.is_empty()).then(|| FRAME.saturating_sub(self.drawn.elapsed())))
    }
}

/// What an event means for the moving part of the screen.
enum Turn {
    /// The step has something to do for a while.
    Works,
    /// It has nothing to do any more, or for now.
    Rests,
    /// As before.
    Same,
}

fn turn(told: &Told<'_>) -> Turn {
    let works = match &told.event.body {
        Body::Started { .. } | Body::NotYet { .. } | Body::Undoing { .. } => true,
        Body::Looked { .. } | Body::Woke | Body::Answered { .. } => {
            matches!(
                told.state,
                StepState::Pending | StepState::Running | StepState::InDoubt
            )
        }
        Body::Finished(finished) => finished.state == StepState::Running,
        Body::Asked(question) => matches!(question.ask, Ask::Until(_)),
        Body::Asserted(_) if told.state != StepState::Already => return Turn::Same,
        Body::Raised(_) => return Turn::Same,
        _ => false,
    };
    if works { Turn::Works } else { Turn::Rests }
}

impl Tree {
    /// Shows a step as one that works.
    ///
    /// Of a step that only reads no event says when it begins: it appears with its first output, by its address.
    fn run(&mut self, step: &str, indent: usize, title: &str) {
        let title = clean::line(title).into_owned();
        match self.running.get_mut(step) {
            Some(running) => {
                running.indent = indent;
                running.title = title;
            }
            None => {
                let running = Running {
                    since: Instant::now(),
                    indent,
                    title,
                    progress: None,
                    spinner: None,
                };
                self.running.insert(step.to_owned(), running);
            }
        }
    }

    fn appear(&mut self, step: &str) {
        if !self.running.contains_key(step) {
            self.run(step, 0, step);
        }
    }

    fn write(&mut self, told: &Told<'_>, line: &Line) {
        let step = &*told.event.step;
        let indent = " ".repeat(told.depth * INDENT);
        let is_heading = line.weight == Weight::Heading;
        let name = line
            .headline
            .as_deref()
            .or(told.title.as_deref())
            .unwrap_or(step);
        let name = clean::line(name);
        let name = match is_heading {
            true => paint(self.colour, Tone::Strong, &name),
            false => name.into_owned(),
        };
        let mark = format!("{:<8}", line.mark.word);
        let mut text = format!("{indent}{}", paint(self.colour, line.mark.tone, &mark));
        if !name.is_empty() {
            text.push(' ');
            text.push_str(&name);
        }
        let note = clean::line(&line.note);
        match (note.is_empty(), name.is_empty()) {
            (true, _) => {}
            (false, true) => text.push_str(&format!(" {note}")),
            (false, false) => {
                text.push_str("  ");
                text.push_str(&paint(self.colour, Tone::Quiet, &format!("({note})")));
            }
        }
        self.screen.write(&format!("{}\n", text.trim_end()));
        for (tone, below) in &line.below {
            for below in clean::lines(below) {
                let below = paint(self.colour, *tone, &below);
                self.screen.write(&format!("{indent}         {below}\n"));
            }
        }
    }

    fn draw_in_time(&mut self) -> io::Result<()> {
        if self.drawn.elapsed() < FRAME {
            return self.screen.check();
        }
        self.draw()
    }

    fn draw(&mut self) -> io::Result<()> {
        for (step, running) in &mut self.running {
            let elapsed = running.since.elapsed();
            if elapsed < FRAME {
                continue;
            }
            let spinner = running.spinner.get_or_insert_with(|| self.screen.spinner());
            let name = spinner.name(running.indent, &running.title, elapsed);
            match &running.progress {
                Some(progress) => spinner.count(name, progress, &amount(progress), elapsed),
                None => {
                    let newest = paint(self.colour, Tone::Quiet, &self.book.newest(step));
                    spinner.say(&name, &newest, elapsed);
                }
            }
        }
        self.drawn = Instant::now();
        self.screen.draw()
    }
}

/// Returns how far something has come: `45% 12MiB of 30MiB`, `123 rows`.
fn amount(progress: &Progress) -> String {
    let one = |count: u64| match progress.unit.as_str() {
        "bytes" => Bytes(count).to_string(),
        _ => count.to_string(),
    };
    let unit = match progress.unit.as_str() {
        "bytes" | "" => String::new(),
        unit => format!(" {}", clean::line(unit)),
    };
    match progress.total {
        Some(total) if total > 0 => {
            let percent = u128::from(progress.done.min(total)) * 100 / u128::from(total);
            format!("{percent}% {} of {}{unit}", one(progress.done), one(total))
        }
        _ => format!("{}{unit}", one(progress.done)),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;
    use runwright_core::port::Reporter;

    use super::*;
    use crate::testing::{
        FOUND, MORE, STOP, SWAP, Story, failing_run, finished, hostile_run, needed, started,
        summary, ten_thousand_steps, wait_until,
    };

    fn tty(rows: u16, columns: u16) -> (InMemoryTerm, Tty) {
        let terminal = InMemoryTerm::new(rows, columns);
        let tty = Tty::on(Box::new(terminal.clone()), Colour::Plain);
        (terminal, tty)
    }

    /// Waits until the screen, with the moving spinner and the seconds taken out, is `expected`.
    fn wait_for(terminal: &InMemoryTerm, expected: &str) {
        wait_until(&format!("the screen shows\n{expected}"), || {
            let contents = terminal.contents();
            let lines = contents.lines().map(|line| {
                let line = line.trim_start_matches(['|', '/', '-', '\\']);
                let mut words: Vec<&str> = line.split(' ').collect();
                if let Some(at) = words.iter().position(|word| *word == "s")
                    && words[at - 1].parse::<u64>().is_ok()
                {
                    words[at - 1] = "N";
                }
                words.join(" ")
            });
            lines.collect::<Vec<_>>().join("\n") == expected
        });
    }

    #[test]
    fn a_run_leaves_a_tree_and_its_summary() {
        let (terminal, mut tty) = tty(50, 90);
        failing_run(&mut tty);
        assert_eq!(
            terminal.contents(),
            r#"run      wal-recover 1.0.0: Bring a database back  (run k3x9m2p7q1zz, by kay on db1)
ok       Look at the database
warning  the WAL has 151.1MiB
         -> look who holds a read transaction open
         and end it
skipped  Fold the WAL  (found.wal_bytes > wal_limit: 12MiB > 100MiB)
group    Salvage a damaged database
  changed  Stop kvdb-mem  (running -> stopped, 1.2 s)
  FAILED   Put the salvaged file in place  (exit, 2.3 s)
           run a script of 3 lines: it ended with code 3
           because: no space left on device
           hint: free some space on /var
           the last 2 lines of its output:
           | moving
           | no space left
           what was changed is undone now
rollback step `swap` failed
  undoing  Stop kvdb-mem  (start service kvdb-mem)
  DIRTY    Stop kvdb-mem  (start service kvdb-mem)
           left alone: kvdb-mem was removed

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
head 1a2b3c4d5e6f708192a3b4c5d6e7f8"#
        );
    }

    #[test]
    fn what_runs_moves_below_what_is_over() {
        let (terminal, mut tty) = tty(50, 80);
        let mut story = Story::new(&mut tty);
        story.step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        story.step(MORE, StepState::Running, started("fold"));
        let progress = Progress {
            done: 512 << 10,
            total: Some(1 << 20),
            unit: "bytes".to_owned(),
        };
        tty.progress("more", &progress);
        // What is drawn first stands above: the second step begins when the first is seen.
        wait_for(
            &terminal,
            "ok       Look at the database\
           \n        Fold the WAL  [==========>.........] 50% 512KiB of 1MiB  N s",
        );
        let mut story = Story::new(&mut tty);
        story.step(STOP, StepState::Running, started("stop"));
        story.output("stop", "first\nsecond\n");
        wait_for(
            &terminal,
            "ok       Look at the database\
           \n        Fold the WAL  [==========>.........] 50% 512KiB of 1MiB  N s\
           \n          Stop kvdb-mem  N s  second",
        );
        let progress = Progress {
            done: 7,
            total: None,
            unit: "rows".to_owned(),
        };
        tty.progress("more", &progress);
        let mut story = Story::new(&mut tty);
        story.step(STOP, StepState::Changed, finished(StepState::Changed, 0));
        wait_for(
            &terminal,
            "ok       Look at the database\
           \n  changed  Stop kvdb-mem\
           \n        Fold the WAL  N s  7 rows",
        );
    }

    #[test]
    fn a_question_has_the_terminal_for_itself_and_nothing_is_lost() {
        let (terminal, mut tty) = tty(50, 80);
        let mut story = Story::new(&mut tty);
        story.step(STOP, StepState::Running, needed("running -> stopped"));
        wait_for(
            &terminal,
            "          Stop kvdb-mem  N s  running -> stopped",
        );
        tty.pause();
        terminal
            .write_str("Stop it? [y/n] ")
            .expect("a terminal in memory");
        let mut story = Story::new(&mut tty);
        story.step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        story.output("stop", "meanwhile\n");
        tty.progress("more", &Progress::default());
        assert_eq!(terminal.contents(), "Stop it? [y/n]");
        terminal.write_line("yes").expect("a terminal in memory");
        tty.go_on();
        wait_for(
            &terminal,
            "Stop it? [y/n] yes\
           \nok       Look at the database\
           \n          Stop kvdb-mem  N s  meanwhile\
           \n        more  N s  0",
        );
        tty.pause();
        assert_eq!(
            terminal.contents(),
            "Stop it? [y/n] yes\nok       Look at the database"
        );
    }

    #[test]
    fn an_answer_that_was_typed_here_is_not_repeated() {
        use runwright_core::event::{Ask, Reply};
        let asked = runwright_core::event::Question::new(Ask::Confirm, "Stop it?");
        let answered = |by: &str| Body::Answered {
            question: asked.digest(),
            by: by.to_owned(),
            reply: Reply::Yes,
            reason: String::new(),
        };
        let (terminal, mut tty) = tty(50, 80);
        let mut story = Story::new(&mut tty);
        story.step(STOP, StepState::Pending, Body::Asked(asked.clone()));
        tty.pause();
        tty.go_on();
        let mut story = Story::new(&mut tty);
        story.step(STOP, StepState::Pending, answered("kay"));
        story.step(MORE, StepState::Pending, Body::Asked(asked.clone()));
        story.step(MORE, StepState::Pending, answered("--yes"));
        drop(tty);
        assert_eq!(
            terminal.contents(),
            "answer   Fold the WAL  (yes, by --yes)"
        );
    }

    #[test]
    fn wide_and_long_text_keeps_to_its_line() {
        let (terminal, mut tty) = tty(50, 40);
        let wide = ("wide", "数据库数据库数据库数据库数据库数据库", 0, "shell");
        let mut story = Story::new(&mut tty);
        story.step(wide, StepState::Running, started("act"));
        story.step(SWAP, StepState::Running, started("act"));
        story.output("wide", &"国".repeat(100));
        wait_until("the output is shown", || terminal.contents().contains("国"));
        wait_until("each step has one line", || {
            let contents = terminal.contents();
            contents.lines().count() == 2
                && contents
                    .lines()
                    .all(|line| console::measure_text_width(line) <= 40)
        });
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal_and_the_cursor_is_shown_at_the_end() {
        let (terminal, mut tty) = tty(50, 80);
        hostile_run(&mut tty);
        assert_eq!(
            terminal.contents(),
            r#"FAILED   evil   (exit, 2.3 s)
         evil
         because: evil
         hint: evil
         the last line of its output:
         | out
         what was changed is undone now
CRITICAL evil
         -> evil

wal-recover: STOPPED where it was - 3 steps, 2 changed, 14 s
  evil
  CRITICAL  evil   (evil )
            -> evil
outputs:
  evil : evil
still changed:
  evil
next:
  runwright resume k3x9m2p7q1zz  go on from there
  runwright show k3x9m2p7q1zz    see what happened
run k3x9m2p7q1zz, exit code 0
head 1a2b3c4d5e6f708192a3b4c5d6e7f8"#
        );
        let moves = terminal.moves_since_last_check();
        let written: Vec<&str> = moves
            .lines()
            .filter(|line| line.starts_with("Str(") && line.contains("\\u{"))
            .collect();
        assert_eq!(written, [r#"Str("\u{1b}[?25h")"#]);
    }

    #[test]
    fn a_terminal_that_is_gone_silences_the_reporter() {
        #[derive(Debug)]
        struct Gone;
        impl TermLike for Gone {
            fn width(&self) -> u16 {
                0
            }
            fn move_cursor_up(&self, _: usize) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn move_cursor_down(&self, _: usize) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn move_cursor_right(&self, _: usize) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn move_cursor_left(&self, _: usize) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn write_line(&self, _: &str) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn write_str(&self, _: &str) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn clear_line(&self) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
            fn flush(&self) -> io::Result<()> {
                Err(io::ErrorKind::Other.into())
            }
        }
        let mut tty = Tty::on(Box::new(Gone), Colour::Ansi);
        failing_run(&mut tty);
        wait_until("the thread has ended", || tty.sink.is_gone());
    }

    #[test]
    fn ten_thousand_steps_are_drawn_in_few_frames() {
        let (terminal, mut tty) = tty(10_100, 80);
        let start = Instant::now();
        ten_thousand_steps(&mut tty);
        tty.end(&summary());
        let frames = terminal
            .moves_since_last_check()
            .lines()
            .filter(|line| *line == "Flush")
            .count() as u128;
        assert!(frames <= 400 + start.elapsed().as_millis() / 10, "{frames}");
        assert_eq!(terminal.contents().matches("ok       Step").count(), 10_000);
    }
}
