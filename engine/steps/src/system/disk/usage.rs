//! Asks file systems for their numbers, without ever waiting for one that is dead.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::StatVfsMountFlags;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// What a file system says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// All of it, in bytes.
    pub(super) size: u64,
    /// What is in use, in bytes.
    pub(super) used: u64,
    /// What is left to everybody, in bytes.
    pub(super) available: u64,
    /// How many inodes there are; 0 where they are made as needed.
    pub(super) inodes: u64,
    /// How many inodes are in use.
    pub(super) inodes_used: u64,
    /// Whether nothing can be written.
    pub(super) read_only: bool,
}

/// Returns the usage of the file system that holds `path`: statvfs(3).
pub(super) fn of(path: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Usage {
        size: bytes(stat.f_blocks),
        used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        available: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Returns what `ask` says of each of `places`, in their order; nothing for one that has not answered after `timeout`.
///
/// Each is asked in a thread of its own, which is left behind when it doesn't come back: a call that waits for a dead
/// server can't be ended. (A thread of the runtime's own pool would keep the program from ending.)
pub(super) async fn ask_each<T: Send + 'static>(
    places: Vec<PathBuf>,
    timeout: Duration,
    ask: fn(&Path) -> io::Result<T>,
) -> Vec<Option<io::Result<T>>> {
    let deadline = Instant::now() + timeout;
    let asked: Vec<io::Result<oneshot::Receiver<io::Result<T>>>> = places
        .into_iter()
        .map(|place| {
            let (answer, answered) = oneshot::channel();
            thread::Builder::new()
                .name("statvfs".to_owned())
                .spawn(move || {
                    // Nobody waits any more: nothing is lost.
                    let _ = answer.send(ask(&place));
                })
                .map(|_| answered)
        })
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for answered in asked {
        answers.push(match answered {
            Err(no_thread) => Some(Err(no_thread)),
            Ok(answered) => match timeout_at(deadline, answered).await {
                Err(_) => None,
                Ok(answer) => Some(
                    answer
                        .unwrap_or_else(|_| Err(io::Error::other("the thread that asked it died"))),
                ),
            },
        });
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Condvar, Mutex},
        time::Instant as Clock,
    };

    use super::*;

    /// Where the dead one waits until the test is over.
    static DEAD: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

    /// A server that is gone can't be mounted in a test: this hangs as its statvfs would.
    fn one_is_dead(path: &Path) -> io::Result<u64> {
        if path == Path::new("/dead") {
            let dead = DEAD.0.lock().expect("no test thread panicked");
            drop(DEAD.1.wait_while(dead, |dead| *dead));
        }
        of(Path::new("/")).map(|usage| usage.size)
    }

    #[test]
    fn a_dead_mount_holds_nobody_up() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let start = Clock::now();
        let answers = runtime.block_on(ask_each(
            vec!["/dead".into(), "/".into()],
            Duration::from_millis(60),
            one_is_dead,
        ));
        assert!(answers[0].is_none());
        // The second was asked at the same time, not after the first.
        assert!(matches!(&answers[1], Some(Ok(size)) if *size > 0));
        assert!(start.elapsed() < Duration::from_secs(5));
        *DEAD.0.lock().expect("no test thread panicked") = false;
        DEAD.1.notify_all();
    }

    #[test]
    fn an_error_is_told_from_silence() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let answers = runtime.block_on(ask_each(
            vec!["/no/such/place".into()],
            Duration::from_secs(5),
            of,
        ));
        assert!(matches!(&answers[0], Some(Err(error)) if error.kind() == io::ErrorKind::NotFound));
    }
}
