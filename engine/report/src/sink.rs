//! The thread that writes, and the queue before it: whoever reads slowly, or not at all, never holds up a run.
//!
//! Events are never left out: their number is bounded by the run itself. Output is, beyond [`ROOM`] bytes that nobody
//! has taken yet, and the page is told how much. Progress is only ever the latest. After the first error of a page, and
//! after a panic in one, everything is taken and thrown away.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use runwright_core::{
    event::{Event, StepState},
    kind::{Progress, Stream},
    port::Told,
    summary::Summary,
};

/// How many bytes of output may wait to be written.
const ROOM: usize = 1 << 20;

/// How long a piece of output waits for room, once, before pieces are left out until there is room again.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long output waits for room in all: a slow reader slows a run down by no more than this.
const ALL_PATIENCE: Duration = Duration::from_secs(1);

/// How long a question waits until everything before it stands on the terminal.
const DRAWN_BEFORE_A_QUESTION: Duration = Duration::from_secs(1);

/// What writes: every method runs on the sink's thread, in the order in which things were told.
pub(crate) trait Page: Send + 'static {
    /// Whether nothing may be written while a question stands on the terminal.
    const HOLDS: bool;

    /// The run's id, where no event says it: its beginning was told to another process.
    fn name_run(&mut self, run: String);
    fn tell(&mut self, told: &Told<'_>) -> io::Result<()>;
    fn output(&mut self, step: &str, stream: Stream, bytes: &[u8]) -> io::Result<()>;
    /// `bytes` of the step's output are left out here.
    fn left_out(&mut self, step: &str, bytes: u64) -> io::Result<()>;
    fn progress(&mut self, step: &str, progress: &Progress) -> io::Result<()>;
    /// A question comes: leaves the terminal to it.
    fn pause(&mut self) -> io::Result<()>;
    fn go_on(&mut self) -> io::Result<()>;
    fn end(&mut self, summary: &Summary) -> io::Result<()>;
    /// Nothing more was told for now; returns after which time to call again.
    fn idle(&mut self) -> io::Result<Option<Duration>>;
}

/// The queue and its thread. Dropped, it waits until all is written.
#[derive(Debug)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
    holds: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something came in.
    news: Condvar,
    /// Something was taken out.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    news: VecDeque<News>,
    /// How many bytes of output wait.
    waiting: usize,
    /// How much was left out of a step's output since the mark for it was queued.
    left_out: BTreeMap<String, u64>,
    /// How far a step has come, for which a mark is queued.
    progress: BTreeMap<String, Progress>,
    /// Whether waiting for room has been in vain since there was room last.
    impatient: bool,
    /// How long output has waited for room so far.
    waited: Duration,
    /// A question stands on the terminal, or is about to.
    asking: bool,
    /// The page has left the terminal to the question.
    held: bool,
    /// Nothing more will come.
    closed: bool,
    /// Nobody writes any more.
    gone: bool,
}

#[derive(Debug)]
enum News {
    Event(Box<Heard>),
    Output {
        step: String,
        stream: Stream,
        bytes: Vec<u8>,
    },
    LeftOut(String),
    Progress(String),
    Run(String),
    Pause,
    GoOn,
    End(Box<Summary>),
}

/// A [`Told`] that owns its event.
#[derive(Debug)]
struct Heard {
    event: Event,
    seq: u64,
    title: Option<String>,
    depth: usize,
    kind: Option<&'static str>,
    state: StepState,
}

impl Sink {
    /// Begins to write on `page`. Where no thread can be had, nothing is ever written.
    pub(crate) fn new<P: Page>(page: P) -> Sink {
        let shared = Arc::new(Shared::default());
        let theirs = Leaving(Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("reporter".to_owned())
            .spawn(move || write_all(&theirs.0, page))
            .ok();
        Sink {
            shared,
            holds: P::HOLDS,
            thread,
        }
    }

    pub(crate) fn name_run(&self, run: &str) {
        self.push(News::Run(run.to_owned()));
    }

    pub(crate) fn tell(&self, told: &Told<'_>) {
        self.push(News::Event(Box::new(Heard {
            event: told.event.clone(),
            seq: told.seq,
            title: told.title.clone(),
            depth: told.depth,
            kind: told.kind,
            state: told.state,
        })));
    }

    pub(crate) fn output(&self, step: &str, stream: Stream, bytes: &[u8]) {
        let mut queue = self.shared.lock();
        let is_full = |queue: &mut Queue| {
            !queue.gone && queue.waiting > 0 && queue.waiting + bytes.len() > ROOM
        };
        let patience = PATIENCE.min(ALL_PATIENCE.saturating_sub(queue.waited));
        if !queue.impatient && !queue.held && is_full(&mut queue) {
            let start = Instant::now();
            let wait = self
                .shared
                .taken
                .wait_timeout_while(queue, patience, is_full);
            queue = wait.unwrap_or_else(PoisonError::into_inner).0;
            queue.waited += start.elapsed();
        }
        if queue.gone || queue.closed || bytes.is_empty() {
            return;
        }
        queue.impatient = is_full(&mut queue);
        if queue.impatient {
            let length = bytes.len() as u64;
            match queue.left_out.get_mut(step) {
                Some(left_out) => *left_out += length,
                None => {
                    queue.left_out.insert(step.to_owned(), length);
                    queue.news.push_back(News::LeftOut(step.to_owned()));
                }
            }
        } else {
            queue.waiting += bytes.len();
            queue.news.push_back(News::Output {
                step: step.to_owned(),
                stream,
                bytes: bytes.to_vec(),
            });
        }
        drop(queue);
        self.shared.news.notify_one();
    }

    pub(crate) fn progress(&self, step: &str, progress: &Progress) {
        let mut queue = self.shared.lock();
        if queue.gone || queue.closed {
            return;
        }
        match queue.progress.get_mut(step) {
            Some(latest) => progress.clone_into(latest),
            None => {
                queue.progress.insert(step.to_owned(), progress.clone());
                queue.news.push_back(News::Progress(step.to_owned()));
            }
        }
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Returns once everything so far is written and the terminal is free, or when that takes too long.
    pub(crate) fn pause(&self) {
        if !self.holds {
            return;
        }
        self.shared.lock().asking = true;
        self.push(News::Pause);
        let queue = self.shared.lock();
        let wait = self
            .shared
            .taken
            .wait_timeout_while(queue, DRAWN_BEFORE_A_QUESTION, |queue| {
                !queue.held && !queue.gone && !queue.closed
            });
        drop(wait);
    }

    pub(crate) fn go_on(&self) {
        let mut queue = self.shared.lock();
        queue.asking = false;
        if queue.held {
            queue.held = false;
            queue.news.push_front(News::GoOn);
        } else {
            // It did not come to the pause in time.
            queue.news.retain(|news| !matches!(news, News::Pause));
        }
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Writes the summary and everything before it, and returns when that is done.
    pub(crate) fn end(&mut self, summary: &Summary) {
        self.push(News::End(Box::new(summary.clone())));
        self.close();
    }

    /// Returns whether nobody writes any more.
    #[cfg(test)]
    pub(crate) fn is_gone(&self) -> bool {
        self.shared.lock().gone
    }

    fn push(&self, news: News) {
        let mut queue = self.shared.lock();
        if queue.gone || queue.closed {
            return;
        }
        queue.news.push_back(news);
        drop(queue);
        self.shared.news.notify_one();
    }

    fn close(&mut self) {
        self.go_on();
        self.shared.lock().closed = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // A page that panicked has said so itself; a report is never worth ending a run.
            let _ = thread.join();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next thing to do; `wake` is after which time the page wants to be called again.
    fn next(&self, is_idle: bool, wake: Option<Duration>) -> Next {
        let mut queue = self.lock();
        loop {
            if !queue.held
                && let Some(news) = queue.news.pop_front()
            {
                return self.take(queue, news);
            }
            if queue.closed {
                return Next::End;
            }
            if !is_idle && !queue.held {
                return Next::Idle;
            }
            let Some(wake) = wake.filter(|_| !queue.held) else {
                queue = self
                    .news
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, timeout) = self
                .news
                .wait_timeout(queue, wake)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if timeout.timed_out() && queue.news.is_empty() {
                return Next::Idle;
            }
        }
    }

    fn take(&self, mut queue: MutexGuard<'_, Queue>, news: News) -> Next {
        let next = match news {
            News::Output { ref bytes, .. } => {
                queue.waiting -= bytes.len();
                Next::News(news)
            }
            News::LeftOut(step) => {
                let bytes = queue.left_out.remove(&step).unwrap_or_default();
                Next::LeftOut(step, bytes)
            }
            News::Progress(step) => {
                let progress = queue.progress.remove(&step).unwrap_or_default();
                Next::Progress(step, progress)
            }
            news => Next::News(news),
        };
        drop(queue);
        self.taken.notify_all();
        next
    }
}

enum Next {
    News(News),
    LeftOut(String, u64),
    Progress(String, Progress),
    Idle,
    End,
}

/// Says that nobody writes any more, also when a page panics.
struct Leaving(Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.gone = true;
        queue.news.clear();
        drop(queue);
        self.0.taken.notify_all();
    }
}

fn write_all<P: Page>(shared: &Shared, mut page: P) {
    let mut wake = None;
    let mut is_idle = false;
    loop {
        let next = shared.next(is_idle, wake);
        is_idle = matches!(next, Next::Idle);
        let written = match next {
            Next::News(news) => write(shared, &mut page, news),
            Next::LeftOut(step, bytes) => page.left_out(&step, bytes),
            Next::Progress(step, progress) => page.progress(&step, &progress),
            Next::Idle => page.idle().map(|again| wake = again),
            Next::End => return,
        };
        if written.is_err() {
            return;
        }
    }
}

fn write<P: Page>(shared: &Shared, page: &mut P, news: News) -> io::Result<()> {
    match news {
        News::Event(heard) => {
            let heard = *heard;
            page.tell(&Told {
                event: &heard.event,
                seq: heard.seq,
                title: heard.title,
                depth: heard.depth,
                kind: heard.kind,
                state: heard.state,
            })
        }
        News::Output {
            step,
            stream,
            bytes,
        } => page.output(&step, stream, &bytes),
        News::Pause => {
            page.pause()?;
            let mut queue = shared.lock();
            queue.held = queue.asking;
            let is_over = !queue.asking;
            drop(queue);
            shared.taken.notify_all();
            if is_over { page.go_on() } else { Ok(()) }
        }
        News::Run(run) => {
            page.name_run(run);
            Ok(())
        }
        News::GoOn => page.go_on(),
        News::End(summary) => page.end(&summary),
        News::LeftOut(_) | News::Progress(_) => Ok(()),
    }
}

/// Makes a reporter of a struct whose `sink` does the work.
macro_rules! reporter {
    ($reporter:ident) => {
        impl $reporter {
            /// Returns the same reporter, which knows the run's id before any event: for a run that goes on.
            #[must_use]
            pub fn of_run(self, run: &str) -> $reporter {
                self.sink.name_run(run);
                self
            }
        }

        impl runwright_core::port::Reporter for $reporter {
            fn tell(&mut self, told: &runwright_core::port::Told<'_>) {
                self.sink.tell(told);
            }

            fn output(&mut self, step: &str, stream: runwright_core::kind::Stream, bytes: &[u8]) {
                self.sink.output(step, stream, bytes);
            }

            fn progress(&mut self, step: &str, progress: &runwright_core::kind::Progress) {
                self.sink.progress(step, progress);
            }

            fn pause(&mut self) {
                self.sink.pause();
            }

            fn go_on(&mut self) {
                self.sink.go_on();
            }

            fn end(&mut self, summary: &runwright_core::summary::Summary) {
                self.sink.end(summary);
            }
        }
    };
}

pub(crate) use reporter;

#[cfg(test)]
mod tests {
    use runwright_core::{diagnostic::Colour, event::Body, port::Reporter};

    use super::*;
    use crate::{
        Plain,
        testing::{
            FOUND, MORE, Paper, STOP, Story, failing_run, finished, started, summary, wait_until,
        },
    };

    fn plain(paper: &Paper) -> Plain {
        Plain::new(Box::new(paper.clone()), Colour::Plain)
    }

    #[test]
    fn a_broken_pipe_silences_the_reporter_and_nothing_fails() {
        let paper = Paper::default();
        paper.set_failing();
        let mut reporter = plain(&paper);
        Story::new(&mut reporter).step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        paper.wait_until("the pipe was found broken", |paper| paper.writes() > 0);
        let big = vec![b'x'; 64 << 10];
        for _ in 0..100 {
            reporter.output("found", Stream::Stdout, &big);
        }
        reporter.pause();
        reporter.go_on();
        failing_run(&mut reporter);
        assert_eq!(paper.text(), "");
        assert!(paper.writes() <= 2, "it is tried again and again");
    }

    #[test]
    fn a_stuck_writer_holds_nothing_up_and_what_is_left_out_is_said() {
        let paper = Paper::default();
        paper.set_stuck(true);
        let mut reporter = plain(&paper);
        let mut story = Story::new(&mut reporter);
        story.step(STOP, StepState::Running, started("stop"));
        paper.wait_until("it writes", |paper| paper.writes() > 0);
        let start = Instant::now();
        let line = format!("{}\n", "x".repeat((64 << 10) - 1));
        for _ in 0..64 {
            story.output("stop", &line);
        }
        story.step(STOP, StepState::Changed, finished(StepState::Changed, 0));
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
        paper.set_stuck(false);
        reporter.end(&summary());
        let text = paper.text();
        let said: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("not shown in time") || line.contains("changed "))
            .collect();
        assert_eq!(
            said,
            [
                "  | (3MiB were not shown in time: runwright logs RUN stop)",
                "[11:06:41] changed  stop  Stop kvdb-mem",
            ]
        );
        assert_eq!(text.matches(&"x".repeat(1_000)).count(), 16 * 65);
    }

    #[test]
    fn a_slow_writer_slows_a_run_down_by_a_bounded_time() {
        let paper = Paper::default();
        paper.set_slow(Duration::from_millis(20));
        let mut reporter = crate::Json::new(Box::new(paper.clone()));
        let start = Instant::now();
        let line = format!("{}\n", "x".repeat((64 << 10) - 1));
        for _ in 0..400 {
            reporter.output("stop", Stream::Stdout, line.as_bytes());
        }
        // Written whole, it would take eight seconds.
        let took = start.elapsed();
        assert!(took < ALL_PATIENCE + Duration::from_secs(2), "{took:?}");
        reporter.end(&summary());
        assert!(paper.text().contains(r#""kind":"left_out""#));
    }

    #[test]
    fn a_question_holds_back_what_comes_meanwhile() {
        let paper = Paper::default();
        let mut reporter = plain(&paper);
        Story::new(&mut reporter).step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        reporter.pause();
        let before = paper.text();
        assert_eq!(before, "[11:06:40] ok       found  Look at the database\n");
        let mut story = Story::new(&mut reporter);
        story.step(MORE, StepState::Ok, finished(StepState::Ok, 0));
        story.output("stop", "meanwhile\n");
        assert_eq!(paper.text(), before);
        reporter.go_on();
        wait_until("the rest is written", || {
            paper.text()
                == format!(
                    "{before}[11:06:40] ok       more  Fold the WAL\n  stop:\n  | meanwhile\n"
                )
        });
    }

    #[test]
    fn a_run_that_ends_within_a_question_is_told_to_its_end() {
        let paper = Paper::default();
        let mut reporter = plain(&paper);
        reporter.pause();
        failing_run(&mut reporter);
        assert!(
            paper
                .text()
                .ends_with("head 1a2b3c4d5e6f708192a3b4c5d6e7f8\n"),
            "{}",
            paper.text()
        );
    }

    #[test]
    fn a_question_that_was_answered_before_the_writer_came_to_it_holds_nothing_back() {
        let paper = Paper::default();
        paper.set_stuck(true);
        let mut reporter = plain(&paper);
        let mut story = Story::new(&mut reporter);
        story.step(FOUND, StepState::Ok, finished(StepState::Ok, 0));
        paper.wait_until("it writes", |paper| paper.writes() > 0);
        reporter.pause();
        reporter.go_on();
        paper.set_stuck(false);
        Story::new(&mut reporter).step(MORE, StepState::Ok, finished(StepState::Ok, 0));
        wait_until("all is written", || paper.text().contains("Fold the WAL"));
    }

    #[test]
    fn a_page_that_panics_does_not_end_the_run() {
        struct Broken;
        impl Page for Broken {
            const HOLDS: bool = true;
            fn name_run(&mut self, _: String) {}
            fn tell(&mut self, _: &Told<'_>) -> io::Result<()> {
                panic!("this test's page is broken");
            }
            fn output(&mut self, _: &str, _: Stream, _: &[u8]) -> io::Result<()> {
                Ok(())
            }
            fn left_out(&mut self, _: &str, _: u64) -> io::Result<()> {
                Ok(())
            }
            fn progress(&mut self, _: &str, _: &Progress) -> io::Result<()> {
                Ok(())
            }
            fn pause(&mut self) -> io::Result<()> {
                Ok(())
            }
            fn go_on(&mut self) -> io::Result<()> {
                Ok(())
            }
            fn end(&mut self, _: &Summary) -> io::Result<()> {
                Ok(())
            }
            fn idle(&mut self) -> io::Result<Option<Duration>> {
                Ok(None)
            }
        }
        let mut sink = Sink::new(Broken);
        let event = Event {
            at: Default::default(),
            step: "".into(),
            body: Body::Always,
        };
        sink.tell(&Told {
            event: &event,
            seq: 1,
            title: None,
            depth: 0,
            kind: None,
            state: StepState::Pending,
        });
        sink.pause();
        sink.go_on();
        sink.output("stop", Stream::Stdout, b"text");
        sink.end(&summary());
        assert!(sink.is_gone());
    }
}
