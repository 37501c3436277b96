//! `system.memory`: how much memory and swap there is, and how much is left.

use std::{collections::HashMap, fs};

use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::Bytes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    cgroup, mountinfo,
    proc::{self, Pressure, odd, percent},
};

pub(super) const KIND: Kind = Kind::of::<Memory>("system.memory");

const MEMINFO: &str = "/proc/meminfo";

/// Tells how much memory and swap this machine has, how much is left, and how much work waits for it.
///
/// `available` is the kernel's own estimate (`MemAvailable` of proc_meminfo(5)): what programs can still get without
/// swapping. `used` is `total` less that, as in free(1) since procps 4.
///
/// ```yaml
/// - id: memory
///   title: Is there memory left
///   system.memory: {}
///   expect:
///     - that: result.available_percent >= 10
///       else: "only {{ result.available }} of {{ result.total }} are left"
/// ```
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memory {}

/// Memory and swap.
#[derive(Debug, Serialize, JsonSchema)]
struct MemoryState {
    /// All memory.
    total: Bytes,
    /// What programs can still get without swapping.
    available: Bytes,
    /// `total` less `available`.
    used: Bytes,
    /// `available` in percent of `total`.
    available_percent: f64,
    /// All swap; `0B` without any.
    swap_total: Bytes,
    /// The swap in use.
    swap_used: Bytes,
    /// `swap_used` in percent of `swap_total`; 0 without any.
    swap_used_percent: f64,
    /// How much work waits for memory; absent where the kernel doesn't measure it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure: Option<Pressure>,
    /// The limit of the control group we run in (a container, a systemd unit); absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Bytes>,
    /// How much counts against `limit`, without the cache that can be dropped; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_used: Option<Bytes>,
    /// `limit_used` in percent of `limit`; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_used_percent: Option<f64>,
}

impl Step for Memory {
    type Output = MemoryState;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads("host")]
    }

    fn describe(&self) -> Description {
        Description::new("look how much memory is left")
    }

    async fn look(&self, _: &Cx) -> Result<Look<MemoryState, ()>, Failure> {
        Ok(Look::Done(state()?))
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<MemoryState, Failure> {
        state()
    }
}

fn state() -> Result<MemoryState, Failure> {
    let text = proc::read(MEMINFO)?;
    let meminfo = parse(&text);
    let size = |name: &str| meminfo.get(name).copied().ok_or_else(|| odd(MEMINFO, name));
    let (total, available) = (size("MemTotal")?, size("MemAvailable")?);
    let swap_total = size("SwapTotal")?;
    let used = total.saturating_sub(available);
    let swap_used = swap_total.saturating_sub(size("SwapFree")?);
    let limit = limit(total);
    Ok(MemoryState {
        total: Bytes(total),
        available: Bytes(available),
        used: Bytes(used),
        available_percent: percent(available, total),
        swap_total: Bytes(swap_total),
        swap_used: Bytes(swap_used),
        swap_used_percent: percent(swap_used, swap_total),
        pressure: proc::pressure("memory"),
        limit: limit.map(|limit| Bytes(limit.bytes)),
        limit_used: limit.map(|limit| Bytes(limit.used)),
        limit_used_percent: limit.map(|limit| percent(limit.used, limit.bytes)),
    })
}

/// Returns the sizes of meminfo, in bytes, by name; counts of huge pages, which have no unit, are left out.
fn parse(text: &str) -> HashMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let size: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
            Some((name, size * 1024))
        })
        .collect()
}

/// A kernel without control groups has no such files, and so no limit.
fn limit(total: u64) -> Option<cgroup::Limit> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string(mountinfo::PATH).ok()?;
    cgroup::memory_limit(&mountinfo::parse(&mounts), &groups, total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Bench, kind};

    #[test]
    fn the_numbers_are_those_of_meminfo() {
        let text = fs::read_to_string(MEMINFO).expect("Linux");
        let before = parse(&text);
        let (result, undo) = Bench::new()
            .run(kind("system.memory"), json!({}))
            .expect("an answer");
        assert!(undo.is_none());
        let result = result.to_plain();
        assert_eq!(result["total"], before["MemTotal"]);
        assert_eq!(result["swap_total"], before["SwapTotal"]);
        let available = result["available"].as_u64().expect("a size");
        // Others work on this machine at the same time.
        assert!(available.abs_diff(before["MemAvailable"]) < before["MemTotal"] / 4);
        assert_eq!(result["used"], before["MemTotal"] - available);
        let percent = result["available_percent"].as_f64().expect("a number");
        assert!((percent - available as f64 * 100.0 / before["MemTotal"] as f64).abs() < 0.01);
    }

    #[test]
    fn an_unknown_argument_is_refused() {
        let arguments = runwright_core::value::Value::from_stored(&json!({"path": "/"}));
        assert!((kind("system.memory").open)(&arguments).is_err());
    }
}
