//! The terminal itself: lasting lines above, spinners below, silence once it is gone.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use runwright_core::kind::Progress;

use crate::words;

/// The sequence that shows the cursor again, whoever has hidden it.
const SHOW_CURSOR: &str = "\x1b[?25h";

/// How often spinners may move a second, whatever happens.
const HERTZ: u8 = 20;

/// A terminal with lasting lines and spinners.
pub(super) struct Screen {
    terminal: Arc<Guarded>,
    spinners: MultiProgress,
    /// Lasting lines that are not written yet.
    lasting: String,
    /// Whether the terminal is as others expect it.
    is_left: bool,
}

impl Screen {
    pub(super) fn on(terminal: Box<dyn TermLike>) -> Screen {
        let terminal = Arc::new(Guarded {
            terminal,
            is_gone: AtomicBool::new(false),
        });
        let target = Box::new(Shared(Arc::clone(&terminal)));
        let target = ProgressDrawTarget::term_like_with_hz(target, HERTZ);
        Screen {
            terminal,
            spinners: MultiProgress::with_draw_target(target),
            lasting: String::new(),
            is_left: false,
        }
    }

    /// Adds a spinner below all others.
    pub(super) fn spinner(&mut self) -> Spinner {
        self.is_left = false;
        let bar = self.spinners.add(ProgressBar::no_length());
        bar.set_style(style(SPINNING));
        Spinner {
            bar,
            spinners: self.spinners.clone(),
            most: usize::from(self.terminal.width()),
        }
    }

    /// Takes lasting text, which is written with the next draw.
    pub(super) fn write(&mut self, text: &str) {
        self.is_left = false;
        self.lasting.push_str(text);
    }

    /// Draws what is new.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(super) fn draw(&mut self) -> io::Result<()> {
        if !self.lasting.is_empty() {
            self.spinners.suspend(|| {
                for line in self.lasting.lines() {
                    self.terminal.guard(|terminal| terminal.write_line(line));
                }
                self.terminal.guard(|terminal| terminal.flush());
            });
            self.lasting.clear();
        }
        self.check()
    }

    /// Draws lasting lines only and leaves the terminal as others expect it: no spinners, the cursor shown.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        if self.is_left {
            return self.check();
        }
        self.is_left = true;
        self.draw()?;
        self.spinners.clear()?;
        self.terminal
            .guard(|terminal| terminal.write_str(SHOW_CURSOR));
        self.terminal.guard(|terminal| terminal.flush());
        self.check()
    }

    /// Takes the terminal back after others had it.
    pub(super) fn take_back(&mut self) {
        self.is_left = false;
    }

    /// Returns an error once the terminal is gone.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.terminal.is_gone.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }
}

/// Also when a draw panics or the reporter is dropped without an end.
impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

/// A step at work: its name, and either its newest output or how far it has come.
pub(super) struct Spinner {
    bar: ProgressBar,
    spinners: MultiProgress,
    most: usize,
}

const SPINNING: &str = "{wide_msg}";
const COUNTING: &str = "{prefix}  [{bar:20}] {wide_msg}";

/// What turns, one after the other.
const TURNS: [char; 4] = ['|', '/', '-', '\\'];

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants that parse")
        .progress_chars("=>.")
}

impl Spinner {
    /// Returns where a step stands in the tree and what it is called; a long title leaves half of the line to the rest.
    pub(super) fn name(&self, indent: usize, title: &str, elapsed: Duration) -> String {
        let turn = TURNS[(elapsed.as_millis() / 100 % 4) as usize];
        let title = console::truncate_str(title, self.most / 2, "...");
        format!("{turn}        {}{title}", " ".repeat(indent))
    }

    /// Shows `text`, which must be clean, and how long it works already.
    pub(super) fn say(&self, name: &str, text: &str, elapsed: Duration) {
        // One call is one draw: everything is in the message.
        self.bar
            .set_message(format!("{name}  {}  {text}", seconds(elapsed)));
    }

    /// Shows how far it has come; a bar where there is a total.
    pub(super) fn count(&self, name: String, progress: &Progress, amount: &str, elapsed: Duration) {
        let Some(total) = progress.total else {
            if self.bar.length().is_some() {
                self.bar.set_style(style(SPINNING));
                self.bar.unset_length();
            }
            return self.say(&name, amount, elapsed);
        };
        if self.bar.length() != Some(total) {
            self.bar.set_style(style(COUNTING));
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
        self.bar.set_prefix(name);
        self.bar
            .set_message(format!("{amount}  {}", seconds(elapsed)));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.spinners.remove(&self.bar);
    }
}

fn seconds(elapsed: Duration) -> String {
    words::took(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX) * 1_000).replace(".0", "")
}

/// A terminal whose first error is its last: from then on nothing is written, and nothing fails.
#[derive(Debug)]
struct Guarded {
    terminal: Box<dyn TermLike>,
    is_gone: AtomicBool,
}

impl Guarded {
    fn guard(&self, write: impl FnOnce(&dyn TermLike) -> io::Result<()>) {
        if !self.is_gone.load(Ordering::Relaxed) && write(&*self.terminal).is_err() {
            self.is_gone.store(true, Ordering::Relaxed);
        }
    }

    fn width(&self) -> u16 {
        self.terminal.width().max(1)
    }
}

#[derive(Debug)]
struct Shared(Arc<Guarded>);

impl TermLike for Shared {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.terminal.height()
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.0.guard(|terminal| terminal.move_cursor_up(lines));
        Ok(())
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.0.guard(|terminal| terminal.move_cursor_down(lines));
        Ok(())
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.0.guard(|terminal| terminal.move_cursor_right(columns));
        Ok(())
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.0.guard(|terminal| terminal.move_cursor_left(columns));
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.guard(|terminal| terminal.write_line(text));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.guard(|terminal| terminal.write_str(text));
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.guard(|terminal| terminal.clear_line());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.0.guard(|terminal| terminal.flush());
        Ok(())
    }
}
