//! Which mounts are worth a look.

use std::path::Path;

use crate::system::mountinfo::Mount;

/// Types that are interfaces of the kernel or of a daemon and hold no data.
///
/// The dummies of gnulib's `mountlist.c`, by which df goes, and the interfaces that Linux has beyond them. They are
/// left out by name because asking some (`autofs`) would mount something.
const INTERFACES: [&str; 33] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "ignore",
    "kernfs",
    "mqueue",
    "none",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "subfs",
    "sysfs",
    "tracefs",
];

/// Returns the mounts of real file systems, each device once: where most of it shows, then where the path is shortest.
pub(super) fn real(mounts: Vec<Mount>, exclude_types: &[String]) -> Vec<Mount> {
    let counts = |mount: &Mount| {
        let root_of_a_container = mount.kind == "overlay" && mount.point == Path::new("/");
        let excluded = exclude_types.contains(&mount.kind) && !root_of_a_container;
        !excluded && !INTERFACES.contains(&mount.kind.as_str())
    };
    let mut chosen: Vec<Mount> = Vec::new();
    for mount in mounts.into_iter().filter(counts) {
        match chosen.iter_mut().find(|other| other.number == mount.number) {
            None => chosen.push(mount),
            Some(other) if place(&mount) < place(other) => *other = mount,
            Some(_) => {}
        }
    }
    chosen
}

fn place(mount: &Mount) -> (usize, usize) {
    (mount.root.as_os_str().len(), mount.point.as_os_str().len())
}

/// Returns the mount that holds `path`, which is absolute and without links.
pub(super) fn holding<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::mountinfo;

    const HOST: &str = "\
22 27 0:21 / /proc rw - proc proc rw
27 1 8:1 / / rw - ext4 /dev/sda1 rw
28 27 8:1 /var/lib/app /srv/app rw - ext4 /dev/sda1 rw
29 27 0:25 / /run rw - tmpfs tmpfs rw
30 27 7:0 / /snap/core ro - squashfs /dev/loop0 ro
31 27 8:2 / /data/very/deep rw - xfs /dev/sdb1 rw
32 27 8:2 / /data rw - xfs /dev/sdb1 rw
33 27 0:60 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
34 27 0:70 / /database rw - nfs4 host:/export rw
";

    const CONTAINER: &str = "\
1 0 0:40 / / rw - overlay overlay rw
2 1 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw
3 1 8:1 /var/lib/docker/containers/x/hostname /etc/hostname rw - ext4 /dev/sda1 rw
";

    fn points(text: &str, exclude: &[&str]) -> Vec<String> {
        let exclude: Vec<String> = exclude.iter().map(|kind| (*kind).to_owned()).collect();
        real(mountinfo::parse(text), &exclude)
            .iter()
            .map(|mount| mount.point.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn each_real_device_counts_once() {
        let usual = super::super::without_disk();
        let usual: Vec<&str> = usual.iter().map(String::as_str).collect();
        assert_eq!(points(HOST, &usual), ["/", "/data", "/database"]);
        // A bind mount of a file shows a disk that the container fills with its logs.
        assert_eq!(points(CONTAINER, &usual), ["/", "/etc/hosts"]);
    }

    #[test]
    fn what_to_leave_out_can_be_said() {
        assert_eq!(
            points(HOST, &["ext4", "xfs", "nfs4", "squashfs"]),
            ["/run", "/var/lib/docker/overlay2/x/merged"]
        );
    }

    #[test]
    fn a_path_lies_in_the_deepest_mount_above_it() {
        let mounts = mountinfo::parse(HOST);
        let point = |path: &str| {
            holding(Path::new(path), &mounts)
                .map(|mount| mount.point.to_string_lossy().into_owned())
        };
        assert_eq!(point("/data/very/file").as_deref(), Some("/data"));
        assert_eq!(
            point("/data/very/deep/file").as_deref(),
            Some("/data/very/deep")
        );
        // A name that only begins alike is another place.
        assert_eq!(point("/databases").as_deref(), Some("/"));
    }
}
