//! Space that is set aside, so that failure, rollback and end can still be written when the disk is full.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{Home, create_file};

/// How many bytes the reserve holds.
pub const RESERVE: u64 = 4 << 20;

/// How much must be free before the reserve is taken again: taking it must not fill the disk.
pub const ROOM: u64 = 4 * RESERVE;

/// How much must be free, where the reserve was given up, before a change begins: the run must still be able to write
/// down how it ended.
const LOW: u64 = 1 << 20;

impl Home {
    /// Gives up the reserve; returns whether there was one.
    ///
    /// # Errors
    ///
    /// Fails when the file can't be removed.
    pub fn release_reserve(&self) -> io::Result<bool> {
        match fs::remove_file(self.reserve()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets the reserve aside again where it is missing and there is room; returns whether it is there now.
    ///
    /// # Errors
    ///
    /// Fails when the file can't be written for another reason than a full disk.
    pub fn restore_reserve(&self) -> io::Result<bool> {
        let reserve = self.reserve();
        if self.has_reserve() {
            return Ok(true);
        }
        if self.free()? < ROOM {
            return Ok(false);
        }
        // A name of its own for each process: two may do this at once, and the last rename wins.
        let new = self.path().join(format!("reserve.{}", std::process::id()));
        match allocate(&new).and_then(|()| fs::rename(&new, &reserve)) {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = fs::remove_file(&new);
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Returns whether the reserve is there.
    pub fn has_reserve(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|it| it.len() == RESERVE)
    }

    /// Returns whether there is room, with the reserve, for writing down what a step is about to do, its failure and its
    /// undo.
    ///
    /// The reserve counts: the run may be the one that makes room.
    pub fn has_room(&self) -> io::Result<bool> {
        Ok(self.has_reserve() || self.free()? >= LOW)
    }

    /// Returns how many bytes are free, beside the reserve.
    fn free(&self) -> io::Result<u64> {
        let free = statvfs(self.path().as_std_path())?;
        // A file system in memory may have no size of its own.
        Ok(match free.f_blocks {
            0 => u64::MAX,
            _ => free.f_bavail.saturating_mul(free.f_frsize),
        })
    }

    /// Returns where the reserve lies.
    fn reserve(&self) -> Utf8PathBuf {
        self.path().join("reserve")
    }
}

fn allocate(path: &Utf8Path) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let file = create_file(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; 64 << 10];
            (0..RESERVE / zeros.len() as u64)
                .try_for_each(|_| io::Write::write_all(&mut &file, &zeros))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn the_reserve_takes_real_blocks_and_comes_back_after_it_was_given_up() {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        let blocks = || fs::metadata(home.reserve()).map(|it| it.blocks() * 512);
        assert!(blocks().expect("a new home has one") >= RESERVE);
        assert!(home.release_reserve().expect("it can be removed"));
        assert!(!home.release_reserve().expect("it is gone"));
        assert!(home.restore_reserve().expect("there is room"));
        assert!(blocks().expect("it is back") >= RESERVE);
    }
}
