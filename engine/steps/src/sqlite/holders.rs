//! Who has a database open, and which locks they hold: from `/proc`, without touching the database.
//!
//! In WAL mode the locks lie on bytes of the `-shm`, else on bytes of the database file far behind any page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
};

use camino::Utf8Path;
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
    unistd::{Uid, User},
};
use runwright_core::{
    kind::{Cx, Failure},
    units::Time,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    raw::{self, FileId, RawFile},
    set::{SIDECARS, Set},
};

/// The byte of the database file that stands for the PENDING lock; RESERVED is the next, then 510 of SHARED.
pub(super) const PENDING_BYTE: u64 = 0x4000_0000;

/// How many lock bytes the database file has.
pub(super) const LOCK_BYTES: u64 = 512;

/// Kernel ticks a second in `/proc`: 100 on every Linux that people run services on, whatever the kernel's own HZ.
const TICKS: u64 = 100;

/// What a process does with a database, weakest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    /// It has the files open.
    Open,
    /// It is in a read transaction.
    Reader,
    /// It waits until the readers are gone, to write (rollback journal only).
    Pending,
    /// It is in a write transaction.
    Writer,
    /// It moves frames from the WAL to the database.
    Checkpointer,
    /// It rebuilds the index of the WAL.
    Recovery,
}

/// A process that has a database open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Holder {
    /// The process; 0 when it runs in another container and only its lock can be seen.
    pub(super) pid: u32,
    /// Its command line, cut to 200 characters.
    pub(super) command: String,
    /// Whose process it is.
    pub(super) user: String,
    /// When the process started.
    #[schemars(with = "Option<String>")]
    pub(super) since: Option<Time>,
    /// The strongest of what it does with the database.
    pub(super) access: Access,
    /// All it does with the database, weakest first.
    pub(super) holds: Vec<Access>,
}

/// What a scan for holders found.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// The other processes, by process number.
    pub(super) holders: Vec<Holder>,
    /// What this process itself does with the database, through other steps.
    pub(super) ours: BTreeSet<Access>,
    /// Whether somebody, also we, uses the index of the WAL: then it can be relied on.
    pub(super) wal_in_use: bool,
    /// Whether the open files of every process could be looked at; locks are seen in any case.
    pub(super) complete: bool,
}

/// Looks for those who have a file of `set` open or hold a lock on it.
pub(super) fn scan(set: &Set) -> Result<Scan, Failure> {
    let unseen = |error: &io::Error| {
        Failure::internal(format!("see who has `{}` open", set.main))
            .because(error)
            .hint("this needs Linux and a mounted /proc")
    };
    let files = Files::of(set);
    raw::sweep();
    let own = std::process::id();
    let (mut by_process, complete) = open_files(&files).map_err(|error| unseen(&error))?;
    let mut wal_in_use = false;
    let locks = fs::read_to_string("/proc/locks").map_err(|error| unseen(&error))?;
    for lock in locks.lines().filter_map(Lock::parse) {
        let Some(place) = files.place(&lock, by_process.get(&lock.pid)) else {
            continue;
        };
        wal_in_use |= place == Place::Index;
        by_process
            .entry(lock.pid)
            .or_default()
            .access
            .extend(place.accesses(&lock, files.wal_mode));
    }
    for (path, place) in [(set.shm(), Place::Index), (set.main.clone(), Place::Main)] {
        if let Some(lock) = foreign_lock(&path, place)
            && !by_process.contains_key(&lock.pid)
        {
            wal_in_use |= place == Place::Index;
            let entry = by_process.entry(lock.pid).or_default();
            entry.access.extend(place.accesses(&lock, files.wal_mode));
        }
    }
    let ours = by_process.remove(&own).unwrap_or_default().access;
    let boot = boot_time();
    Ok(Scan {
        holders: by_process
            .into_iter()
            .map(|(pid, process)| holder(pid, &process, boot))
            .collect(),
        ours,
        wal_in_use,
        complete,
    })
}

impl Scan {
    /// Returns the holders whose access is at least `access`, this process among them, each in a few words.
    pub(super) fn names(&self, access: Access) -> Vec<String> {
        let mut names: Vec<String> = self
            .holders
            .iter()
            .filter(|holder| holder.access >= access)
            .map(ToString::to_string)
            .collect();
        if let Some(strongest) = self.ours.last().filter(|ours| **ours >= access) {
            names.push(format!("this run itself ({strongest}, by another step)"));
        }
        names
    }

    /// Returns whether a process holds the database for writing by its rollback journal, or is about to.
    pub(super) fn is_written(&self) -> bool {
        let writes = |access: &Access| matches!(access, Access::Writer | Access::Pending);
        self.ours.iter().any(writes)
            || self
                .holders
                .iter()
                .any(|holder| holder.holds.iter().any(writes))
    }
}

/// Returns a failure unless nobody, also not this process, has the database open.
pub(super) fn nobody(set: &Set, what: &str) -> Result<(), Failure> {
    let names = scan(set)?.names(Access::Open);
    if names.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{what}: `{}` is held by {}",
        set.main,
        names.join(", ")
    ))
    .hint("stop the service that uses the database first"))
}

/// Returns who is in the way of a step that was told that the database is busy.
pub(super) fn in_the_way(cx: &Cx, set: &Set, access: Access) -> String {
    let names = match scan(set) {
        Ok(scan) => scan.names(access),
        Err(failure) => return format!("somebody; failed to {}", failure.line()),
    };
    if names.is_empty() {
        format!("somebody who is gone since (looked at {})", cx.host.now())
    } else {
        names.join(", ")
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Open => "has it open",
            Access::Reader => "reading",
            Access::Pending => "waiting to write",
            Access::Writer => "writing",
            Access::Checkpointer => "checkpointing",
            Access::Recovery => "recovering",
        })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (pid {}, {}", self.command, self.pid, self.access)?;
        if let Some(since) = self.since {
            write!(f, ", running since {since}")?;
        }
        f.write_str(")")
    }
}

/// The files of a set that are there, by what the kernel knows them as.
struct Files {
    main: Option<FileId>,
    index: Option<FileId>,
    others: Vec<FileId>,
    /// In WAL mode a lock on the database file says only that it is open.
    wal_mode: bool,
}

/// Which of the files a lock lies on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Index,
}

/// What one process has of the set.
#[derive(Default)]
struct Process {
    files: BTreeSet<FileId>,
    access: BTreeSet<Access>,
}

impl Files {
    fn of(set: &Set) -> Files {
        let id = |path: &Utf8Path| fs::metadata(path).ok().map(|found| FileId::of(&found));
        Files {
            main: id(&set.main),
            index: id(&set.shm()),
            others: SIDECARS
                .iter()
                .filter_map(|ending| id(&set.sidecar(ending)))
                .collect(),
            wal_mode: set
                .header()
                .is_ok_and(|header| header.is_some_and(|header| header.is_wal())),
        }
    }

    fn any(&self, id: FileId) -> bool {
        self.main == Some(id) || self.others.contains(&id)
    }

    /// Returns which of the files `lock` lies on.
    ///
    /// Some file systems (btrfs, overlay) show another device in `/proc/locks` than to `stat`: there the inode alone
    /// decides, if the process has that very file open.
    fn place(&self, lock: &Lock, process: Option<&Process>) -> Option<Place> {
        let is = |id: &Option<FileId>| {
            id.is_some_and(|id| {
                id.inode == lock.inode
                    && (id.device == lock.device
                        || process.is_some_and(|process| process.files.contains(&id)))
            })
        };
        if is(&self.main) {
            Some(Place::Main)
        } else if is(&self.index) {
            Some(Place::Index)
        } else {
            None
        }
    }
}

impl Place {
    fn accesses(self, lock: &Lock, wal_mode: bool) -> Vec<Access> {
        let holds = |byte: u64| (lock.first..=lock.last).contains(&byte);
        let mut accesses = vec![Access::Open];
        match self {
            Place::Index => {
                // Locks of the WAL's index: 120 writer, 121 checkpointer, 122 recovery, 123 to 127 readers, 128 open.
                let exclusive = |byte| holds(byte) && lock.exclusive;
                if (123..128).any(|byte| holds(byte) && !lock.exclusive) {
                    accesses.push(Access::Reader);
                }
                if exclusive(120) {
                    accesses.push(Access::Writer);
                }
                if exclusive(121) {
                    accesses.push(Access::Checkpointer);
                }
                if exclusive(122) {
                    accesses.push(Access::Recovery);
                }
            }
            Place::Main => {
                let shared = PENDING_BYTE + 2;
                let share = lock.last >= shared && lock.first < PENDING_BYTE + LOCK_BYTES;
                if share && !lock.exclusive && !wal_mode {
                    accesses.push(Access::Reader);
                }
                if holds(PENDING_BYTE) && lock.exclusive {
                    accesses.push(Access::Pending);
                }
                if (holds(PENDING_BYTE + 1) || share) && lock.exclusive {
                    accesses.push(Access::Writer);
                }
            }
        }
        accesses
    }
}

/// A lock as the kernel tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    pid: u32,
    device: u64,
    inode: u64,
    exclusive: bool,
    first: u64,
    last: u64,
}

impl Lock {
    /// Reads a line of `/proc/locks`: `1: POSIX  ADVISORY  READ 412 fe:00:1234567 128 128`.
    fn parse(line: &str) -> Option<Lock> {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A second word `->` marks somebody who waits for the lock.
        let [_, class, _, strength, pid, file, first, last] = words.as_slice() else {
            return None;
        };
        if !matches!(*class, "POSIX" | "OFDLCK") {
            return None;
        }
        let mut file = file.split(':');
        let major = u32::from_str_radix(file.next()?, 16).ok()?;
        let minor = u32::from_str_radix(file.next()?, 16).ok()?;
        Some(Lock {
            // A lock of an open file, not of a process, is shown as of -1.
            pid: pid.parse().unwrap_or(0),
            device: rustix::fs::makedev(major, minor),
            inode: file.next()?.parse().ok()?,
            exclusive: *strength == "WRITE",
            first: first.parse().ok()?,
            last: last.parse().unwrap_or(u64::MAX),
        })
    }
}

/// Returns which processes have a file of the set open, and whether all processes could be looked at.
fn open_files(files: &Files) -> io::Result<(BTreeMap<u32, Process>, bool)> {
    let mut found: BTreeMap<u32, Process> = BTreeMap::new();
    let mut complete = true;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let descriptors = match fs::read_dir(entry.path().join("fd")) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                complete &= error.kind() != io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        for descriptor in descriptors.flatten() {
            let path = descriptor.path();
            // Reading the link first spares a stat of each socket and pipe.
            if !fs::read_link(&path).is_ok_and(|target| target.is_absolute()) {
                continue;
            }
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let id = FileId::of(&metadata);
            if files.any(id) {
                let process = found.entry(pid).or_default();
                process.files.insert(id);
                process.access.insert(Access::Open);
            }
        }
    }
    Ok((found, complete))
}

/// Asks the kernel for a lock of somebody else on a file: that also shows those in other containers.
fn foreign_lock(path: &Utf8Path, place: Place) -> Option<Lock> {
    let (start, length) = match place {
        Place::Index => (120, 9),
        Place::Main => (PENDING_BYTE, LOCK_BYTES),
    };
    let file = RawFile::open(path, raw::Access::Read).ok()?;
    let id = FileId::of(&file.metadata().ok()?);
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    };
    fcntl(&*file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    if lock.l_type == libc::F_UNLCK as libc::c_short {
        return None;
    }
    let first = u64::try_from(lock.l_start).ok()?;
    Some(Lock {
        pid: u32::try_from(lock.l_pid).unwrap_or(0),
        device: id.device,
        inode: id.inode,
        exclusive: lock.l_type == libc::F_WRLCK as libc::c_short,
        first,
        last: match u64::try_from(lock.l_len) {
            Ok(length) if length > 0 => first + length - 1,
            _ => u64::MAX,
        },
    })
}

fn holder(pid: u32, process: &Process, boot: Option<u64>) -> Holder {
    let holds: Vec<Access> = process.access.iter().copied().collect();
    let folder = format!("/proc/{pid}");
    Holder {
        pid,
        command: command(&folder),
        user: fs::metadata(&folder)
            .map(|metadata| user(metadata.uid()))
            .unwrap_or_default(),
        since: boot.and_then(|boot| started(&folder, boot)),
        access: holds.last().copied().unwrap_or(Access::Open),
        holds,
    }
}

/// Returns the command line of a process, else its short name.
fn command(folder: &str) -> String {
    let line = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let line = words.join(" ");
    let line = match fs::read_to_string(format!("{folder}/comm")) {
        Ok(name) if line.is_empty() => name.trim_end().to_owned(),
        Err(_) if line.is_empty() => "a process that can't be seen from here".to_owned(),
        _ => line,
    };
    line.chars().take(200).collect()
}

fn user(id: u32) -> String {
    match User::from_uid(Uid::from_raw(id)) {
        Ok(Some(user)) => user.name,
        _ => id.to_string(),
    }
}

/// Returns when a process started: the 22nd field of its `stat`, in ticks since `boot`.
fn started(folder: &str, boot: u64) -> Option<Time> {
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    // The second field is the name in parentheses, which may itself hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let milliseconds = boot * 1_000 + ticks * 1_000 / TICKS;
    Some(Time::from_milliseconds(i64::try_from(milliseconds).ok()?))
}

/// Returns the second since 1970 in which the machine started.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_from_its_line_and_a_waiter_is_not_a_holder() {
        let lock = Lock::parse("3: POSIX  ADVISORY  READ 412 fe:00:1234567 124 124");
        let lock = lock.expect("a lock");
        assert_eq!(
            (lock.pid, lock.inode, lock.exclusive),
            (412, 1_234_567, false)
        );
        assert_eq!(
            Place::Index.accesses(&lock, true),
            [Access::Open, Access::Reader]
        );
        assert_eq!(
            Lock::parse("3: -> POSIX  ADVISORY  WRITE 413 fe:00:1234567 124 124"),
            None
        );
        let open = Lock::parse("9: POSIX ADVISORY WRITE 7 fe:00:5 0 EOF").expect("a lock");
        assert_eq!((open.first, open.last), (0, u64::MAX));
    }
}
