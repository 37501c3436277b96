//! Space that is set aside, so that failure, rollback and end can still be written when the disk is full.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{Home, create_file};

/// How many bytes the reserve holds.
pub const RESERVE: u64 = 4 << 20;

/// How much must be free before the reserve is taken again: taking it must not fill the disk.
pub const ROOM: u64 = 4 * RESERVE;

/// How much must be free before a change begins: the run must still be able to write down how it ended.
const LOW: u64 = 1 << 20;

/// How much room there is for what a run writes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The disk has room, and the reserve is there for failure, rollback and end.
    Plenty,
    /// The disk is full but for the reserve: enough for a run that is to make room.
    Reserve,
}

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

    /// Returns how much room there is for a run that changes something to begin; none where it must not.
    ///
    /// # Errors
    ///
    /// Fails when the file system can't be asked.
    pub fn room(&self) -> io::Result<Option<Room>> {
        let has_reserve = self.has_reserve() || self.restore_reserve()?;
        Ok(match has_reserve {
            true if self.free()? >= LOW => Some(Room::Plenty),
            true => Some(Room::Reserve),
            false => None,
        })
    }

    /// Returns whether a run that began with so much room may begin another change.
    ///
    /// # Errors
    ///
    /// Fails when the file system can't be asked.
    pub fn has_room(&self, began: Room) -> io::Result<bool> {
        match began {
            Room::Plenty => Ok(self.room()? == Some(Room::Plenty)),
            Room::Reserve => Ok(self.has_reserve() || self.free()? >= LOW),
        }
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
