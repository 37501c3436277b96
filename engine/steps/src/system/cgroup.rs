//! The memory limit of the control group that this process runs in, or of any above it.
//!
//! Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (`memory.max`, `memory.current`) and
//! `cgroup-v1/memory.rst` (`memory.limit_in_bytes`, `memory.usage_in_bytes`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::mountinfo::Mount;

/// A limit and how much of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// The limit, in bytes.
    pub(super) bytes: u64,
    /// How much counts against it, without the cache that the kernel drops first (`inactive_file`), which is how
    /// Kubernetes and `docker stats` count.
    pub(super) used: u64,
}

/// The names of one version's files.
struct Files {
    limit: &'static str,
    usage: &'static str,
    cache: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};

const V2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    cache: "inactive_file",
};

/// Returns the lowest limit below `total` that holds for the groups which `groups` (`/proc/self/cgroup`) names.
pub(super) fn memory_limit(mounts: &[Mount], groups: &str, total: u64) -> Option<Limit> {
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let group = Path::new(fields.next()?);
            let (mount, files) = mount_of(mounts, controllers)?;
            lowest(&folder(mount, group), &mount.point, &files)
        })
        .filter(|limit| limit.bytes < total)
        .min_by_key(|limit| limit.bytes)
}

fn mount_of<'a>(mounts: &'a [Mount], controllers: &str) -> Option<(&'a Mount, Files)> {
    let has_memory = |list: &str| list.split(',').any(|name| name == "memory");
    if controllers.is_empty() {
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
        return Some((mount, V2));
    }
    let mount = mounts
        .iter()
        .find(|mount| mount.kind == "cgroup" && has_memory(&mount.options))?;
    has_memory(controllers).then_some((mount, V1))
}

/// Returns where `group` lies below `mount`; a container often sees its own group as the root of the mount.
fn folder(mount: &Mount, group: &Path) -> PathBuf {
    match group.strip_prefix(&mount.root) {
        Ok(below) => mount.point.join(below),
        Err(_) => mount.point.clone(),
    }
}

fn lowest(folder: &Path, top: &Path, files: &Files) -> Option<Limit> {
    folder
        .ancestors()
        .take_while(|above| above.starts_with(top))
        .filter_map(|above| limit_at(above, files))
        .min_by_key(|limit| limit.bytes)
}

fn limit_at(folder: &Path, files: &Files) -> Option<Limit> {
    // `max` is no number, and so no limit.
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(folder.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let cache = fs::read_to_string(folder.join("memory.stat"))
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix(files.cache)?.trim().parse().ok())
        })
        .unwrap_or(0);
    Some(Limit {
        bytes: number(files.limit)?,
        used: number(files.usage)?.saturating_sub(cache),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{system::mountinfo, testing::Bench};

    const TOTAL: u64 = 8 << 30;

    fn write(bench: &Bench, folder: &str, files: &[(&str, &str)]) {
        let folder = bench.path(folder);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let bench = Bench::new();
        write(
            &bench,
            "unified/app",
            &[
                ("memory.max", "1073741824\n"),
                ("memory.current", "3000\n"),
                ("memory.stat", "anon 5\ninactive_file 1000\n"),
            ],
        );
        write(
            &bench,
            "unified/app/worker",
            &[("memory.max", "max\n"), ("memory.current", "1\n")],
        );
        let mounts = mountinfo::parse(&format!(
            "1 0 0:38 / {} rw - cgroup2 cgroup2 rw",
            bench.path("unified")
        ));
        assert_eq!(
            memory_limit(&mounts, "0::/app/worker\n", TOTAL),
            Some(Limit {
                bytes: 1 << 30,
                used: 2000
            })
        );
        assert_eq!(memory_limit(&mounts, "0::/\n", TOTAL), None);
    }

    #[test]
    fn version_one_says_unlimited_by_a_huge_number() {
        let bench = Bench::new();
        let usage = ("memory.usage_in_bytes", "5000\n");
        write(
            &bench,
            "memory",
            &[("memory.limit_in_bytes", "9223372036854771712\n"), usage],
        );
        // A container: the mount shows the group itself.
        let mounts = mountinfo::parse(&format!(
            "1 0 0:32 /docker/x {} rw - cgroup cgroup rw,memory",
            bench.path("memory")
        ));
        let groups = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n";
        assert_eq!(memory_limit(&mounts, groups, TOTAL), None);
        write(
            &bench,
            "memory",
            &[("memory.limit_in_bytes", "1048576\n"), usage],
        );
        assert_eq!(
            memory_limit(&mounts, groups, TOTAL),
            Some(Limit {
                bytes: 1 << 20,
                used: 5000
            })
        );
    }
}
