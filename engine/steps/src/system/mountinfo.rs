//! The mounts of this process: `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes it.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// Where the kernel lists the mounts that this process sees.
pub(super) const PATH: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor` of the device; one of its own for a file system without one.
    pub(super) number: String,
    /// What of the file system is mounted: `/`, or the folder that a bind mount shows.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// The type: `ext4`, `nfs4`, `fuse.sshfs`.
    pub(super) kind: String,
    /// The device, or whatever the type has in its place: `/dev/sda1`, `host:/export`.
    pub(super) device: String,
    /// The options of the file system itself, comma-separated.
    pub(super) options: String,
}

/// Returns the mounts that `text` lists, in order of mounting; of several on one place only the last, which hides the
/// others.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in text.lines().filter_map(parse_line) {
        mounts.retain(|earlier| earlier.point != mount.point);
        mounts.push(mount);
    }
    mounts
}

fn parse_line(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(2);
    let mut second = second.split(' ');
    Some(Mount {
        number: first.next()?.to_owned(),
        root: unescape(first.next()?).into(),
        point: unescape(first.next()?).into(),
        kind: second.next()?.to_owned(),
        device: unescape(second.next()?).to_string_lossy().into_owned(),
        options: second.next().unwrap_or_default().to_owned(),
    })
}

/// Undoes the kernel's escapes: space, tab, line feed and backslash are three octal digits.
fn unescape(text: &str) -> OsString {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        let code = (*byte == b'\\')
            .then(|| text.get(place + 1..place + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(*byte));
        place += if code.is_some() { 4 } else { 1 };
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_is_read_whatever_stands_in_its_optional_fields() {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                    36 27 0:50 /a\\040b /mnt/with\\040space ro master:1 shared:5 - nfs4 host:/export\\134x ro,vers=4.2\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            mounts[1],
            Mount {
                number: "0:50".to_owned(),
                root: "/a b".into(),
                point: "/mnt/with space".into(),
                kind: "nfs4".to_owned(),
                device: "host:/export\\x".to_owned(),
                options: "ro,vers=4.2".to_owned(),
            }
        );
    }

    #[test]
    fn the_last_mount_on_a_place_hides_the_others() {
        let text =
            "1 0 8:1 / /data rw - ext4 /dev/sda1 rw\n2 0 8:2 / /data rw - xfs /dev/sda2 rw\n";
        let kinds: Vec<String> = parse(text).into_iter().map(|mount| mount.kind).collect();
        assert_eq!(kinds, ["xfs"]);
    }

    #[test]
    fn this_machine_has_a_root() {
        let text = super::super::proc::read(PATH).expect("mounts");
        assert!(
            parse(&text)
                .iter()
                .any(|mount| mount.point == Path::new("/"))
        );
    }
}
