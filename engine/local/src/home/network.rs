//! Which file systems are not on this machine, so that locks and synced writes can't be relied on.

use std::io;

use camino::Utf8Path;

/// Returns the name of the network file system that `path` lies on; `None` when it is on this machine.
pub(crate) fn kind(path: &Utf8Path) -> io::Result<Option<String>> {
    // The word is signed on some architectures; the magic numbers have 32 bits.
    let magic = rustix::fs::statfs(path.as_std_path())?.f_type as u32;
    if magic != FUSE {
        return Ok(named(magic).map(str::to_owned));
    }
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path)?);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let kind = mount_kind(&mounts, device).unwrap_or("fuse");
    Ok((!LOCAL_FUSE.contains(&kind)).then(|| kind.to_owned()))
}

const FUSE: u32 = 0x6573_5546;

/// FUSE file systems that keep their files on this machine; any other may be sshfs, rclone, a bucket.
const LOCAL_FUSE: [&str; 2] = ["fuseblk", "fuse.fuse-overlayfs"];

fn named(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517B => "smb",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        0x0102_1997 => "9p",
        0x564C => "ncp",
        0x7375_7245 => "coda",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x00C3_6400 => "ceph",
        0x0BD0_0BD0 => "lustre",
        0x7461_636F => "ocfs2",
        0x0116_1970 => "gfs2",
        0x4750_4653 => "gpfs",
        0x1983_0326 => "beegfs",
        0xAAD7_AAEA => "panfs",
        0x786F_4256 => "vboxsf",
        _ => return None,
    })
}

/// Returns the type of the mount with `device`, from the lines of `/proc/self/mountinfo`.
fn mount_kind(mounts: &str, device: u64) -> Option<&str> {
    let wanted = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(wanted.as_str()))
        .find_map(|line| line.split_once(" - ")?.1.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_own_file_systems_are_local() {
        for path in [std::env::temp_dir(), "/proc".into(), "/dev/shm".into()] {
            let path = Utf8Path::from_path(&path).expect("a UTF-8 path");
            assert_eq!(kind(path).expect("a file system"), None, "{path}");
        }
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        assert_eq!(named(0x6969), Some("nfs"));
        assert_eq!(named(0xFF53_4D42), Some("cifs"));
        assert_eq!(named(0xFE53_4D42), Some("smb2"));
        assert_eq!(named(0x0102_1997), Some("9p"));
        assert_eq!(named(0xEF53), None, "ext4");
    }

    #[test]
    fn the_type_of_a_fuse_mount_comes_from_its_device() {
        let mounts = "\
36 35 98:0 / /mnt1 rw,noatime shared:1 - ext4 /dev/root rw
40 35 0:51 / /home/a/remote rw,nosuid shared:7 master:2 - fuse.sshfs a@b:/ rw,user_id=0
41 35 0:52 / /media/stick rw - fuseblk /dev/sdb1 rw
";
        let at = |minor| mount_kind(mounts, rustix::fs::makedev(0, minor));
        assert_eq!(at(51), Some("fuse.sshfs"));
        assert_eq!(at(52), Some("fuseblk"));
        assert_eq!(at(53), None);
    }
}
