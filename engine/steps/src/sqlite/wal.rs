//! The write-ahead log as it lies on disk, read by hand: that takes no lock and changes nothing.
//!
//! ```text
//! header, 32 bytes:  magic | version | page size | checkpoints | salt 1 | salt 2 | checksum 1 | checksum 2
//! frame, 24 + page:  page number | size of the database after a commit, or 0 | salt 1 | salt 2 | checksum 1 | checksum 2 | page
//! ```
//!
//! A frame counts when its salts are those of the header and its checksum, which runs on from frame to frame, is right;
//! what comes after the last commit doesn't. The first frame that is wrong ends the log, whatever lies behind it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
};

use camino::Utf8Path;

use super::{
    raw::{Access, RawFile},
    set::{Header, Set},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// What a write-ahead log holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Wal {
    /// The bytes of the file.
    pub(super) bytes: u64,
    /// Whether its header is one that SQLite accepts; the whole log is ignored when not.
    pub(super) usable: bool,
    /// The bytes of a page, as the log says.
    pub(super) page_size: u32,
    /// The frames up to the last commit.
    pub(super) frames: u64,
    /// The pages of the database after the last commit.
    pub(super) pages: u32,
    /// Frames of this log from a damaged one to the last commit behind it: SQLite will never see them.
    pub(super) lost_frames: u64,
    /// Where the last committed image of each page begins.
    latest: BTreeMap<u32, u64>,
    /// The start of the last committed image of page 1.
    page_one: Option<Header>,
}

impl Wal {
    /// Reads the log at `path`; a missing one is empty. Ends early with an error when `cancelled`.
    pub(super) fn read(path: &Utf8Path, cancelled: &dyn Fn() -> bool) -> io::Result<Wal> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Wal::default()),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata()?.len();
        let mut wal = Wal {
            bytes,
            ..Wal::default()
        };
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut header = [0; HEADER];
        if !fill(&mut file, &mut header)? {
            return Ok(wal);
        }
        let Some(mut sum) = wal.accept(&header) else {
            return Ok(wal);
        };
        let salts = &header[16..24];
        let mut frame = vec![0; FRAME_HEADER + wal.page_size as usize];
        let mut uncommitted = BTreeMap::new();
        let mut read = 0;
        let mut page_one = None;
        let mut broken = 0;
        while fill(&mut file, &mut frame)? {
            if read % 256 == 0 && cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let at = HEADER as u64 + read * frame.len() as u64;
            read += 1;
            if &frame[8..16] != salts {
                // What an earlier round of the log left behind.
                break;
            }
            let (page, pages) = (word(&frame, 0), word(&frame, 4));
            let next = sum.after(&frame[..8]).after(&frame[FRAME_HEADER..]);
            if broken > 0 || page == 0 || next.words != (word(&frame, 16), word(&frame, 20)) {
                broken += 1;
                // A transaction that is not committed may well have frames that are wrong; a commit behind them shows
                // that these once were right.
                if pages > 0 {
                    wal.lost_frames = broken;
                }
                continue;
            }
            sum = next;
            uncommitted.insert(page, at + FRAME_HEADER as u64);
            if page == 1 {
                page_one = frame[FRAME_HEADER..][..100].try_into().ok().map(Header);
            }
            if pages > 0 {
                wal.frames = read;
                wal.pages = pages;
                wal.latest.append(&mut uncommitted);
                wal.page_one = page_one.take().or(wal.page_one.take());
            }
        }
        Ok(wal)
    }

    /// Takes in the header; returns the checksum the frames go on from, or `None` when the log is of no use.
    fn accept(&mut self, header: &[u8; HEADER]) -> Option<Sum> {
        let big_endian = match word(header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page_size = word(header, 8);
        let sum = Sum {
            big_endian,
            words: (0, 0),
        }
        .after(&header[..24]);
        let right = sum.words == (word(header, 24), word(header, 28));
        if !right || !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return None;
        }
        self.page_size = page_size;
        self.usable = true;
        Some(sum)
    }

    /// Returns how many committed pages the database file does not have yet, byte for byte.
    ///
    /// True only while nobody writes: a log that was folded in but not reset has none.
    pub(super) fn pending(&self, set: &Set, cancelled: &dyn Fn() -> bool) -> io::Result<u64> {
        if self.frames == 0 {
            return Ok(0);
        }
        let log = File::open(set.wal())?;
        let main = RawFile::open(&set.main, Access::Read)?;
        let size = self.page_size as usize;
        let (mut ours, mut theirs) = (vec![0; size], vec![0; size]);
        let mut pending = 0;
        for (page, at) in &self.latest {
            if cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            // A page behind the end of the database after the last commit belongs to nobody.
            if *page > self.pages {
                continue;
            }
            log.read_exact_at(&mut ours, *at)?;
            let there = u64::from(page - 1) * size as u64;
            let known = match main.read_exact_at(&mut theirs, there) {
                Ok(()) => ours == theirs,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(error) => return Err(error),
            };
            pending += u64::from(!known);
        }
        Ok(pending)
    }

    /// Returns why this log does not belong to the database with this header, as far as that can be told.
    ///
    /// SQLite asks none of these questions: it replays any log whose checksums are right.
    pub(super) fn foreign(&self, header: &Header) -> Option<String> {
        if self.bytes == 0 {
            return None;
        }
        if !self.usable {
            return Some("the header of the WAL is not valid, SQLite ignores all of it".to_owned());
        }
        if self.frames == 0 {
            return None;
        }
        if !header.is_wal() {
            return Some(format!(
                "the database is not in WAL mode, and yet SQLite would replay {} frames into it",
                self.frames
            ));
        }
        if header.page_size() != self.page_size {
            return Some(format!(
                "the WAL has pages of {} bytes, the database of {}",
                self.page_size,
                header.page_size()
            ));
        }
        let image = self.page_one.as_ref()?;
        if image.encoding() != header.encoding() && header.encoding() != 0 {
            return Some("the WAL has another text encoding than the database".to_owned());
        }
        let behind = |ours: u32, theirs: u32| ours.wrapping_sub(theirs) as i32 > 0;
        if behind(header.changes(), image.changes())
            || behind(header.schema_cookie(), image.schema_cookie())
        {
            return Some("the database has seen later changes than its WAL".to_owned());
        }
        None
    }
}

/// SQLite's running checksum.
#[derive(Clone, Copy)]
struct Sum {
    big_endian: bool,
    words: (u32, u32),
}

impl Sum {
    /// Returns the checksum after `bytes`, whose length is a multiple of 8.
    fn after(mut self, bytes: &[u8]) -> Sum {
        let (mut one, mut two) = self.words;
        for pair in bytes.chunks_exact(8) {
            let (a, b) = if self.big_endian {
                (word(pair, 0), word(pair, 4))
            } else {
                (word(pair, 0).swap_bytes(), word(pair, 4).swap_bytes())
            };
            one = one.wrapping_add(a).wrapping_add(two);
            two = two.wrapping_add(b).wrapping_add(one);
        }
        self.words = (one, two);
        self
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Fills `buffer`; `false` when the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
