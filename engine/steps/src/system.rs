//! Steps on the machine itself: disks, memory, load, processes.
//!
//! All of it is asked of the kernel (`/proc`, `statvfs`); no program is started and no text made for people is read.

mod cgroup;
mod disk;
mod load;
mod memory;
mod mountinfo;
mod proc;
mod processes;

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[disk::KIND, memory::KIND, load::KIND, processes::KIND];
