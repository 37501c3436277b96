//! `system.disk`: how full the file systems are.

mod mounted;
mod usage;

use std::{cmp::Ordering, time::Duration};

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Span},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::usage::Usage;
use super::{
    mountinfo::{self, Mount},
    proc::{self, percent},
};
use crate::{cancel::unless_cancelled, network::dial::plain};

pub(super) const KIND: Kind = Kind::of::<Disk>("system.disk");

/// Tells how full the file systems are: all real ones, or those that hold the given paths.
///
/// Real are those that hold data of their own: no kernel interfaces (`proc`, `sysfs`, `cgroup2`, ...), no
/// `exclude_types`, and each device once, however often it is mounted. An overlay counts where it is mounted on `/`: in
/// a container that is the disk.
///
/// The percentages are those of df(1): `used / (used + available)`, where `available` leaves out what is reserved for
/// root, but not rounded up. Each file system is asked in a thread of its own: one that doesn't answer within `timeout`
/// (a network mount whose server is gone) is listed as `unreachable` and holds nothing up.
///
/// ```yaml
/// - id: disk
///   title: Is there room on the disks
///   system.disk: {}
///   expect:
///     - each: result.filesystems
///       that: item.used_percent < 90
///       else: "{{ item.mount }} is {{ item.used_percent }} % full, {{ item.available }} left"
///     - that: result.unreachable | length == 0
///       else: "no answer from {{ result.unreachable | map(attribute='mount') | join(', ') }}"
/// ```
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disk {
    /// Ask only for the file systems that hold these paths, whatever their type. Each must exist.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    paths: Vec<Utf8PathBuf>,
    /// Types to leave out; in place of the default, which is what holds nothing that can fill up: images that are
    /// full by nature and memory.
    #[serde(default = "without_disk")]
    #[schemars(extend("default" = ["overlay", "squashfs", "erofs", "cramfs", "iso9660", "tmpfs"]))]
    exclude_types: Vec<String>,
    /// How long to wait for an answer.
    #[serde(default = "two_seconds")]
    #[schemars(extend("default" = "2s"))]
    timeout: Span,
}

fn without_disk() -> Vec<String> {
    ["overlay", "squashfs", "erofs", "cramfs", "iso9660", "tmpfs"]
        .map(str::to_owned)
        .into()
}

fn two_seconds() -> Span {
    Span::from_seconds(2)
}

/// The file systems.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Disks {
    /// Those that answered, by mount.
    filesystems: Vec<FileSystem>,
    /// The one with the highest `used_percent`; absent when none answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    fullest: Option<FileSystem>,
    /// The one with the highest `inodes_used_percent`; absent when none has inodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    fullest_inodes: Option<FileSystem>,
    /// Those that did not answer in time, and those whose answer was an error.
    unreachable: Vec<Unreachable>,
}

/// One file system.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct FileSystem {
    /// Where it is mounted; of several places the one that shows most of it.
    mount: String,
    /// The device, or what stands for it: `/dev/sda1`, `host:/export`.
    device: String,
    /// The type: `ext4`, `nfs4`.
    r#type: String,
    /// Those of `paths` that it holds; absent without `paths`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    paths: Vec<Utf8PathBuf>,
    /// Its size.
    size: Bytes,
    /// What is in use.
    used: Bytes,
    /// What everybody, not only root, can still use.
    available: Bytes,
    /// `used` in percent of `used + available`.
    used_percent: f64,
    /// How many inodes there are; absent on a type that makes them as needed (btrfs).
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes: Option<u64>,
    /// How many inodes are in use; absent like `inodes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_used: Option<u64>,
    /// `inodes_used` in percent of `inodes`; absent like `inodes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_used_percent: Option<f64>,
    /// Whether nothing can be written, by its mount options or because the kernel found it damaged.
    read_only: bool,
}

/// A file system that could not be asked.
#[derive(Debug, Serialize, JsonSchema)]
struct Unreachable {
    /// Where it is mounted.
    mount: String,
    /// The device, or what stands for it.
    device: String,
    /// The type.
    r#type: String,
    /// What came instead of an answer.
    error: String,
}

impl Step for Disk {
    type Output = Disks;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads("host")]
    }

    fn describe(&self) -> Description {
        if self.paths.is_empty() {
            return Description::new("look how full the disks are").with(
                "without",
                format!("{} and kernel interfaces", self.exclude_types.join(", ")),
            );
        }
        let paths: Vec<&str> = self.paths.iter().map(|path| path.as_str()).collect();
        Description::new(format!(
            "look how full the disks of {} are",
            paths.join(", ")
        ))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Disks, ()>, Failure> {
        Ok(Look::Done(self.ask(cx).await?))
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Disks, Failure> {
        self.ask(cx).await
    }
}

impl Disk {
    async fn ask(&self, cx: &Cx) -> Result<Disks, Failure> {
        let mounts = mountinfo::parse(&proc::read(mountinfo::PATH)?);
        let timeout = self.timeout.to_std();
        let what = "ask the file systems";
        if self.paths.is_empty() {
            let real = mounted::real(mounts, &self.exclude_types);
            return unless_cancelled(cx, what, all(real, timeout)).await;
        }
        let paths = self
            .paths
            .iter()
            .map(|path| cx.children.cwd.join(path))
            .collect();
        unless_cancelled(cx, what, holding(paths, &mounts, timeout)).await?
    }
}

/// Asks all of `mounts`.
async fn all(mounts: Vec<Mount>, timeout: Duration) -> Disks {
    let places = mounts.iter().map(|mount| mount.point.clone()).collect();
    let answers = usage::ask_each(places, timeout, usage::of).await;
    let mut disks = Disks::default();
    for (mount, answer) in mounts.iter().zip(answers) {
        match answer {
            Some(Ok(usage)) => disks.add(mount, &usage, None),
            Some(Err(error)) => disks.add_unreachable(mount, plain(&error)),
            None => disks.add_unreachable(mount, silence(timeout)),
        }
    }
    // What has no blocks holds nothing: one more kernel interface (df leaves it out for the same reason).
    disks.filesystems.retain(|filesystem| filesystem.size.0 > 0);
    disks.rank();
    disks
}

/// Asks those of `mounts` that hold `paths`.
async fn holding(
    paths: Vec<Utf8PathBuf>,
    mounts: &[Mount],
    timeout: Duration,
) -> Result<Disks, Failure> {
    let places = paths.iter().map(|path| path.clone().into()).collect();
    let answers = usage::ask_each(places, timeout, |place| {
        // The path may be a link into another file system.
        let real = place.canonicalize()?;
        let usage = usage::of(&real)?;
        Ok((real, usage))
    })
    .await;
    let mut disks = Disks::default();
    for (path, answer) in paths.into_iter().zip(answers) {
        let nowhere = || Failure::internal(format!("find the file system that holds `{path}`"));
        match answer {
            Some(Ok((real, usage))) => {
                let mount = mounted::holding(&real, mounts).ok_or_else(nowhere)?;
                disks.add(mount, &usage, Some(path));
            }
            Some(Err(error)) => return Err(nowhere().because(&error)),
            None => {
                let mount = mounted::holding(path.as_std_path(), mounts).ok_or_else(nowhere)?;
                disks.add_unreachable(mount, silence(timeout));
            }
        }
    }
    disks.rank();
    Ok(disks)
}

fn silence(timeout: Duration) -> String {
    format!("no answer within {}", Span::from(timeout))
}

impl Disks {
    fn add(&mut self, mount: &Mount, usage: &Usage, path: Option<Utf8PathBuf>) {
        let place = mount.point.to_string_lossy();
        let same = self
            .filesystems
            .iter_mut()
            .find(|other| other.mount == place);
        if let Some(same) = same {
            same.paths.extend(path);
            return;
        }
        let inodes = (usage.inodes > 0).then_some(usage.inodes);
        self.filesystems.push(FileSystem {
            mount: place.into_owned(),
            device: mount.device.clone(),
            r#type: mount.kind.clone(),
            paths: path.into_iter().collect(),
            size: Bytes(usage.size),
            used: Bytes(usage.used),
            available: Bytes(usage.available),
            used_percent: percent(usage.used, usage.used + usage.available),
            inodes,
            inodes_used: inodes.map(|_| usage.inodes_used),
            inodes_used_percent: inodes.map(|inodes| percent(usage.inodes_used, inodes)),
            read_only: usage.read_only,
        });
    }

    fn add_unreachable(&mut self, mount: &Mount, error: String) {
        self.unreachable.push(Unreachable {
            mount: mount.point.to_string_lossy().into_owned(),
            device: mount.device.clone(),
            r#type: mount.kind.clone(),
            error,
        });
    }

    /// Orders the lists and picks the worst.
    fn rank(&mut self) {
        self.filesystems.sort_by(|a, b| a.mount.cmp(&b.mount));
        let worst = |of: fn(&FileSystem) -> Option<f64>| {
            self.filesystems
                .iter()
                .filter(|filesystem| of(filesystem).is_some())
                .max_by(|a, b| of(a).partial_cmp(&of(b)).unwrap_or(Ordering::Equal))
                .cloned()
        };
        self.fullest = worst(|filesystem| Some(filesystem.used_percent));
        self.fullest_inodes = worst(|filesystem| filesystem.inodes_used_percent);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use runwright_core::kind::Class;
    use serde_json::{Value as Json, json};

    use crate::testing::{Bench, kind};

    fn ask(bench: &Bench, arguments: Json) -> Json {
        let (result, undo) = bench
            .run(kind("system.disk"), arguments)
            .expect("an answer");
        assert!(undo.is_none());
        result.to_plain()
    }

    /// The numbers of `df` for `/`: total, used, available, percent.
    fn df(flags: &[&str]) -> [u64; 4] {
        let output = Command::new("df").args(flags).arg("/").output();
        let output = output.expect("df; apt install coreutils").stdout;
        let text = String::from_utf8(output).expect("text");
        let line = text.lines().nth(1).expect("a line for the root");
        let numbers: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(4)
            .map(|field| field.trim_end_matches('%').parse().expect("a number"))
            .collect();
        numbers.try_into().expect("four numbers")
    }

    #[test]
    fn the_numbers_are_those_of_df() {
        let (blocks, inodes) = (df(&["-P", "-B1"]), df(&["-P", "-i"]));
        let answer = ask(&Bench::new(), json!({"paths": ["/"]}));
        let root = &answer["filesystems"][0];
        let number = |name: &str| root[name].as_u64().expect("a whole number");
        let percent = |name: &str| root[name].as_f64().expect("a number");
        assert_eq!(
            (root["mount"].as_str(), number("size")),
            (Some("/"), blocks[0])
        );
        // Others write to this disk at the same time.
        let slack = 256 << 20;
        assert!(
            number("used").abs_diff(blocks[1]) < slack,
            "{root} {blocks:?}"
        );
        assert!(
            number("available").abs_diff(blocks[2]) < slack,
            "{root} {blocks:?}"
        );
        assert!(
            (percent("used_percent") - blocks[3] as f64).abs() <= 1.5,
            "{root} {blocks:?}"
        );
        assert_eq!(number("inodes"), inodes[0]);
        assert!(
            number("inodes_used").abs_diff(inodes[1]) < 20_000,
            "{root} {inodes:?}"
        );
        assert!((percent("inodes_used_percent") - inodes[3] as f64).abs() <= 1.5);
        assert_eq!(root["read_only"], false);
        assert_eq!(answer["fullest"], *root);
        assert_eq!(answer["unreachable"], json!([]));
    }

    #[test]
    fn all_holds_the_root_once_and_no_kernel_interface() {
        let answer = ask(&Bench::new(), json!({}));
        let list = answer["filesystems"].as_array().expect("a list");
        let mounts: Vec<&Json> = list.iter().map(|entry| &entry["mount"]).collect();
        assert_eq!(mounts.iter().filter(|mount| **mount == "/").count(), 1);
        for never in ["/proc", "/sys", "/dev"] {
            assert!(!mounts.iter().any(|mount| *mount == never), "{mounts:?}");
        }
        assert!(
            !list.iter().any(|entry| entry["type"] == "tmpfs"),
            "{list:?}"
        );
    }

    #[test]
    fn paths_name_any_type_and_share_their_file_system() {
        let bench = Bench::new();
        let proc = ask(&bench, json!({"paths": ["/proc/self"]}));
        assert_eq!(proc["filesystems"][0]["type"], "proc");
        // A file system without inodes has no such fields.
        assert_eq!(proc["filesystems"][0].get("inodes"), None);
        assert_eq!(proc.get("fullest_inodes"), None);
        let shared = ask(&bench, json!({"paths": ["/proc/1", "/proc/2"]}));
        assert_eq!(shared["filesystems"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            shared["filesystems"][0]["paths"],
            json!(["/proc/1", "/proc/2"])
        );
    }

    #[test]
    fn a_link_is_followed_to_the_disk_behind_it() {
        let bench = Bench::new();
        std::os::unix::fs::symlink("/proc", bench.path("link")).expect("a link");
        // A relative path is one of the run's folder.
        let answer = ask(&bench, json!({"paths": ["link"]}));
        assert_eq!(answer["filesystems"][0]["mount"], "/proc");
    }

    #[test]
    fn a_path_that_is_not_there_fails() {
        let bench = Bench::new();
        let failure = bench
            .run(kind("system.disk"), json!({"paths": ["/no/such/path"]}))
            .expect_err("it is not there");
        assert_eq!(failure.class, Class::Internal);
        assert_eq!(
            failure.message,
            "find the file system that holds `/no/such/path`"
        );
        assert_eq!(failure.causes.len(), 1);
    }
}
