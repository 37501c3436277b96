//! `system.load`: how much there is to do, and since when the machine is up.

use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Span, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::proc::{self, Pressure, odd, round};

pub(super) const KIND: Kind = Kind::of::<Load>("system.load");

const LOADAVG: &str = "/proc/loadavg";
const UPTIME: &str = "/proc/uptime";
const STAT: &str = "/proc/stat";

/// Tells the load of this machine, the load per core, and since when it is up.
///
/// The load averages are those of proc_loadavg(5): tasks that run, want to run or wait for a disk, over 1, 5 and 15
/// minutes. They count the whole machine, so the load per core divides them by the cores of the whole machine that are
/// online: above 1 there is more to do than cores to do it (getloadavg(3) has no such measure; this is the usual one).
/// `usable_cores` are those that we may use ourselves, by affinity and control group quota.
///
/// ```yaml
/// - id: load
///   title: Is the machine overloaded
///   system.load: {}
///   expect:
///     - that: result.per_core_5 < 2
///       else: "load {{ result.load_5 }} on {{ result.cores }} cores"
///       severity: warning
/// ```
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Load {}

/// The load of the machine.
#[derive(Debug, Serialize, JsonSchema)]
struct LoadState {
    /// The load average over 1 minute.
    load_1: f64,
    /// The load average over 5 minutes.
    load_5: f64,
    /// The load average over 15 minutes.
    load_15: f64,
    /// The cores of the machine that are online.
    cores: usize,
    /// The cores that this process may use: by affinity and by the quota of its control group, rounded down.
    usable_cores: usize,
    /// `load_1` per core.
    per_core_1: f64,
    /// `load_5` per core.
    per_core_5: f64,
    /// `load_15` per core.
    per_core_15: f64,
    /// How much work waits for a processor; absent where the kernel doesn't measure it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure: Option<Pressure>,
    /// How long the machine is up.
    uptime: Span,
    /// When it was started.
    booted: Time,
}

impl Step for Load {
    type Output = LoadState;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads("host")]
    }

    fn describe(&self) -> Description {
        Description::new("look how much this machine has to do")
    }

    async fn look(&self, _: &Cx) -> Result<Look<LoadState, ()>, Failure> {
        Ok(Look::Done(state()?))
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<LoadState, Failure> {
        state()
    }
}

fn state() -> Result<LoadState, Failure> {
    let [load_1, load_5, load_15] =
        parse_loadavg(&proc::read(LOADAVG)?).ok_or_else(|| odd(LOADAVG, "three load averages"))?;
    let stat = proc::read(STAT)?;
    let cores = count_cores(&stat);
    if cores == 0 {
        return Err(odd(STAT, "a core"));
    }
    let usable_cores = std::thread::available_parallelism().map_err(|error| {
        Failure::internal("tell how many cores this process may use").because(&error)
    })?;
    let per_core = |load: f64| round(load / cores as f64);
    Ok(LoadState {
        load_1,
        load_5,
        load_15,
        cores,
        usable_cores: usable_cores.get(),
        per_core_1: per_core(load_1),
        per_core_5: per_core(load_5),
        per_core_15: per_core(load_15),
        pressure: proc::pressure("cpu"),
        uptime: uptime()?,
        booted: booted(&stat)?,
    })
}

/// Returns how long the machine is up.
pub(super) fn uptime() -> Result<Span, Failure> {
    let text = proc::read(UPTIME)?;
    let seconds: f64 = text
        .split(' ')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .ok_or_else(|| odd(UPTIME, "the seconds since the start"))?;
    Ok(Span::from_milliseconds((seconds * 1_000.0) as i64))
}

/// Returns when the machine was started, from the text of `/proc/stat`.
pub(super) fn booted(stat: &str) -> Result<Time, Failure> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok())
        .map(|seconds| Time::from_milliseconds(seconds * 1_000))
        .ok_or_else(|| odd(STAT, "`btime`"))
}

fn parse_loadavg(text: &str) -> Option<[f64; 3]> {
    let mut fields = text.split(' ').map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??])
}

/// `/proc/stat` has a line `cpuN` for each core that is online.
fn count_cores(stat: &str) -> usize {
    stat.lines()
        .filter_map(|line| line.strip_prefix("cpu"))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        .count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Bench, kind};

    #[test]
    fn the_load_is_that_of_this_machine() {
        let (result, _) = Bench::new()
            .run(kind("system.load"), json!({}))
            .expect("an answer");
        let result = result.to_plain();
        let number = |name: &str| result[name].as_f64().expect("a number");
        let info = rustix::system::sysinfo();
        // The kernel's own numbers are fixed point with 16 bits.
        assert!((number("load_15") - info.loads[2] as f64 / 65_536.0).abs() < 0.5);
        assert!((number("per_core_5") - number("load_5") / number("cores")).abs() < 0.01);
        assert!((number("uptime") - info.uptime as f64).abs() < 5.0);
        let booted: Time = result["booted"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        let now = jiff::Timestamp::now().as_millisecond();
        let apart = now - booted.milliseconds - (number("uptime") * 1_000.0) as i64;
        assert!(
            apart.abs() < 5_000,
            "{apart} ms between boot time and uptime"
        );
        let affinity = rustix::thread::sched_getaffinity(None).expect("an affinity");
        assert!(number("usable_cores") as u32 <= affinity.count());
        assert!(number("usable_cores") >= 1.0);
    }

    #[test]
    fn only_lines_of_single_cores_are_counted() {
        assert_eq!(count_cores("cpu  1 2\ncpu0 1\ncpu11 1\nbtime 5\n"), 2);
        assert_eq!(
            booted("cpu 1\nbtime 5\n"),
            Ok(Time::from_milliseconds(5_000))
        );
        assert!(booted("cpu 1\n").is_err());
        assert_eq!(
            parse_loadavg("0.03 0.10 0.15 1/93 10714\n"),
            Some([0.03, 0.1, 0.15])
        );
    }
}
