//! The terminal for questions while a run is at work: one question at a time, line by line.
//!
//! Lines are read as the terminal gives them, its modes are never changed: a question can be withdrawn at any moment,
//! and a process that dies in the middle of one leaves nothing to restore.

use std::{
    future::Future,
    io::{Write, stderr, stdin},
    sync::LazyLock,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{QueueSelector, tcflush},
};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Duration, sleep},
};

/// The longest line that is read at once; a terminal gives no longer one.
const LINE: usize = 4096;

/// How often it is looked whether a line was typed. A thread that reads could not be told to leave the terminal alone.
const SOON: Duration = Duration::from_millis(30);

/// How long a question that was set aside waits before it is asked again: the answer to the one that came before it
/// may withdraw it.
const PAUSE: Duration = Duration::from_millis(100);

/// A process has one terminal.
static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns {
    held: Mutex::const_new(()),
    is_urgent: watch::Sender::new(false),
    broken_off: Notify::const_new(),
});

/// Who may ask on the terminal.
struct Turns {
    held: Mutex<()>,
    is_urgent: watch::Sender<bool>,
    broken_off: Notify,
}

/// Asks when no other question stands on the terminal; one that is urgent comes first, and this one again after it.
pub(crate) async fn in_turn<T, F>(ask: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let mut urgent = TURNS.is_urgent.subscribe();
    loop {
        let _held = TURNS.held.lock().await;
        let answer = tokio::select! {
            biased;
            set_aside = urgent.wait_for(|is_urgent| *is_urgent) => set_aside.err().map(|_| None),
            answer = ask() => Some(answer),
        };
        if let Some(answer) = answer {
            return answer;
        }
        drop(_held);
        urgent.wait_for(|is_urgent| !*is_urgent).await.ok()?;
        sleep(PAUSE).await;
    }
}

/// Asks at once: a question that stands on the terminal is set aside. [`break_off`] takes it back.
pub(crate) async fn urgently<T>(ask: impl Future<Output = Option<T>>) -> Option<T> {
    struct Urgent;
    impl Drop for Urgent {
        fn drop(&mut self) {
            TURNS.is_urgent.send_replace(false);
        }
    }
    TURNS.is_urgent.send_replace(true);
    let _urgent = Urgent;
    let _held = TURNS.held.lock().await;
    tokio::select! {
        biased;
        () = TURNS.broken_off.notified() => None,
        answer = ask => answer,
    }
}

/// Takes an urgent question back.
pub(crate) fn break_off() {
    TURNS.broken_off.notify_waiters();
}

/// Returns the line that is typed after `prompt`; none where the terminal is gone or was closed with Ctrl-D.
///
/// What was typed before the prompt stood there is no answer to it.
pub(crate) async fn line(prompt: &str) -> Option<String> {
    forget_typed();
    say(prompt);
    let mut typed = Vec::new();
    loop {
        while !is_waiting() {
            sleep(SOON).await;
        }
        if let Some(line) = read(&mut typed)? {
            return Some(line);
        }
    }
}

/// Does the same where no run is at work.
pub(crate) fn line_now(prompt: &str) -> Option<String> {
    forget_typed();
    say(prompt);
    let mut typed = Vec::new();
    loop {
        if let Some(line) = read(&mut typed)? {
            return Some(line);
        }
    }
}

/// Writes to the terminal; one that is gone is no reason to fail.
pub(crate) fn say(text: &str) {
    let mut out = stderr();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Drops what was typed and not read.
pub(crate) fn forget_typed() {
    let _ = tcflush(stdin(), QueueSelector::IFlush);
}

fn is_waiting() -> bool {
    let input = stdin();
    let mut asked = [PollFd::new(&input, PollFlags::IN)];
    matches!(poll(&mut asked, Some(&Timespec::default())), Ok(count) if count > 0)
}

/// Reads what is there; the line where it is whole. None where the terminal is gone.
fn read(typed: &mut Vec<u8>) -> Option<Option<String>> {
    let mut piece = [0; LINE];
    let length = loop {
        match rustix::io::read(stdin(), &mut piece) {
            Ok(0) => return None,
            Ok(length) => break length,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    };
    typed.extend_from_slice(&piece[..length]);
    if typed.last() != Some(&b'\n') {
        return Some(None);
    }
    let line = String::from_utf8_lossy(typed).trim().to_owned();
    typed.clear();
    Some(Some(line))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_urgent_question_comes_first_and_the_other_one_again() {
        let (asked, may_end) = (AtomicUsize::new(0), Notify::new());
        let plain = in_turn(|| async {
            asked.fetch_add(1, Ordering::Relaxed);
            may_end.notified().await;
            Some("plain")
        });
        let urgent = async {
            tokio::task::yield_now().await;
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            let said = urgently(async {
                may_end.notify_waiters();
                Some("urgent")
            })
            .await;
            while asked.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            may_end.notify_waiters();
            said
        };
        assert_eq!(tokio::join!(plain, urgent), (Some("plain"), Some("urgent")));

        let broken = async {
            let (said, ()) = tokio::join!(urgently(std::future::pending::<Option<()>>()), async {
                break_off();
            });
            said
        };
        assert_eq!(broken.await, None);
    }
}
