//! `system.processes`: what runs, what runs away, what is dead and not buried.

mod table;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use regex::Regex;
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Span, Time},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::table::{Process, State};
use super::{load, proc};
use crate::cancel::unless_cancelled;

pub(super) const KIND: Kind = Kind::of::<Processes>("system.processes");

/// The kernel counts in ticks of 10 ms: over a shorter window a percentage would be a guess.
const LEAST_SAMPLE: Span = Span::from_milliseconds(200);

/// Tells what runs on this machine: counts, zombies, runaways and the largest.
///
/// `cpu_percent` is of one core: a program with four busy threads has 400. Without `sample` it is the average over the
/// process's whole life (as in ps(1)), which costs no waiting, and finds what is busy since it was started. It is slow
/// to find what was idle for days and runs away now: for that say `sample: 1s`, which measures over that time. In both
/// cases only what is at least `older_than` old counts as a runaway, so that a compiler at work is none.
///
/// A process that ends while it is looked at is left out. Where `/proc` is mounted with `hidepid`, others' processes
/// are not seen.
///
/// ```yaml
/// - id: processes
///   title: Zombies and runaways
///   system.processes: { sample: 500ms, cpu_over: 90 }
///   expect:
///     - each: result.runaway
///       that: false
///       else: "{{ item.command }} ({{ item.pid }}, {{ item.user }}) takes {{ item.cpu_percent }} % of a core"
///       severity: warning
///     - that: result.counts.zombies < 10
///       else: "{{ result.counts.zombies }} zombies, left by {{ result.zombies | map(attribute='parent_command') | unique | join(', ') }}"
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Processes {
    /// How long to measure the use of processors: `0s` (the average over each life) or at least `200ms`.
    #[serde(default)]
    #[schemars(extend("default" = "0s"))]
    sample: Span,
    /// A regular expression: only processes whose name or command line it matches are counted and listed.
    name: Option<String>,
    /// What makes a runaway: percent of one core.
    #[serde(default = "ninety")]
    cpu_over: f64,
    /// How old a runaway is at least.
    #[serde(default = "one_minute")]
    #[schemars(extend("default" = "1m"))]
    older_than: Span,
    /// List in `largest` only processes with more memory than this.
    #[serde(default)]
    #[schemars(extend("default" = "0B"))]
    memory_over: Bytes,
    /// How many processes each list holds at most; the counts count all.
    #[serde(default = "ten")]
    limit: usize,
}

fn ninety() -> f64 {
    90.0
}

fn one_minute() -> Span {
    Span::from_seconds(60)
}

fn ten() -> usize {
    10
}

/// The processes.
#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// How many there are, of those that `name` matches.
    counts: Counts,
    /// The zombies, oldest first.
    zombies: Vec<Zombie>,
    /// Those above `cpu_over`, busiest first.
    runaway: Vec<Listed>,
    /// Those with the most memory, largest first.
    largest: Vec<Listed>,
}

/// How many processes there are.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Counts {
    /// All.
    total: usize,
    /// Running or ready to run.
    running: usize,
    /// Waiting for a disk or the like, without being able to be ended.
    blocked: usize,
    /// Ended, and not yet taken note of by their parent.
    zombies: usize,
    /// Above `cpu_over`.
    runaway: usize,
}

/// A process that has ended and whose parent has not taken note of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Zombie {
    /// Its id.
    pid: i32,
    /// The parent's id: the one to be repaired or ended.
    parent: i32,
    /// The parent's name; absent when it has just ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_command: Option<String>,
    /// Its name.
    command: String,
    /// When it was started; when it ended is not kept by the kernel.
    since: Time,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    /// Its id.
    pid: i32,
    /// Its name, as the kernel keeps it: 15 bytes. (The command line may hold secrets and is not told.)
    command: String,
    /// The user it acts for: the name, else the number.
    user: String,
    /// The use of processors in percent of one core: over `sample`, else over its life.
    cpu_percent: f64,
    /// The same over its whole life.
    cpu_lifetime_percent: f64,
    /// Its resident memory.
    memory: Bytes,
    /// When it was started.
    since: Time,
    /// What it does.
    state: State,
}

impl Step for Processes {
    type Output = Found;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut wrong = Vec::new();
        let mut complain = |name: &str, message: String| {
            wrong.push(ArgumentError {
                path: vec![name.to_owned()],
                message,
            });
        };
        let sample = match arguments.get("sample") {
            Some(Value::Text(text)) => text.parse().ok(),
            Some(Value::Duration(span)) => Some(*span),
            _ => None,
        };
        if let Some(message) = sample.and_then(wrong_sample) {
            complain("sample", message);
        }
        if let Some(Err(error)) = arguments.get("name").and_then(Value::as_str).map(pattern) {
            complain("name", error);
        }
        wrong
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads("host")]
    }

    fn describe(&self) -> Description {
        let which = match &self.name {
            Some(name) => format!("the processes that match `{name}`"),
            None => "all processes".to_owned(),
        };
        match self.sample.milliseconds {
            0 => Description::new(format!("look at {which}")),
            _ => Description::new(format!("look at {which}, for {}", self.sample)),
        }
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Found, ()>, Failure> {
        Ok(Look::Done(self.ask(cx).await?))
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Found, Failure> {
        self.ask(cx).await
    }
}

fn wrong_sample(sample: Span) -> Option<String> {
    (sample != Span::default() && sample < LEAST_SAMPLE).then(|| {
        format!("`{sample}` is too short to measure in; say `0s` or at least `{LEAST_SAMPLE}`")
    })
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("`{text}` is no regular expression: {error}"))
}

impl Processes {
    async fn ask(&self, cx: &Cx) -> Result<Found, Failure> {
        let wrong = |text: String| Failure::internal(format!("{WHAT}: {text}"));
        if let Some(text) = wrong_sample(self.sample) {
            return Err(wrong(text));
        }
        let name = self
            .name
            .as_deref()
            .map(pattern)
            .transpose()
            .map_err(wrong)?;
        let window = match self.sample.to_std() {
            Duration::ZERO => None,
            length => {
                let window = blocking(Window::open).await?;
                unless_cancelled(cx, WHAT, tokio::time::sleep(length)).await?;
                Some(window)
            }
        };
        let asked = self.clone();
        blocking(move || asked.sort_out(window, name.as_ref())).await
    }

    fn sort_out(self, window: Option<Window>, name: Option<&Regex>) -> Result<Found, Failure> {
        let processes = table::read()?;
        let use_of = CpuUse {
            window: window.map(|window| (window.start.elapsed(), window.ticks)),
            uptime: load::uptime()?,
        };
        let booted = load::booted(&proc::read("/proc/stat")?)?;
        let since = |process: &Process| {
            Time::from_milliseconds(booted.milliseconds + process.started.milliseconds)
        };
        let matching: Vec<&Process> = processes
            .iter()
            .filter(|process| name.is_none_or(|name| process.is_named(name)))
            .collect();
        let count = |state| {
            matching
                .iter()
                .filter(|process| process.state == state)
                .count()
        };

        let mut zombies: Vec<&Process> = matching.clone();
        zombies.retain(|process| process.state == State::Zombie);
        zombies.sort_by_key(|process| process.started);

        let mut runaway: Vec<(f64, &Process)> = matching
            .iter()
            .map(|process| (use_of.percent(process), *process))
            .filter(|(percent, process)| {
                *percent > self.cpu_over
                    && use_of.uptime.milliseconds - process.started.milliseconds
                        >= self.older_than.milliseconds
            })
            .collect();
        runaway.sort_by(|(a, _), (b, _)| b.total_cmp(a));

        let mut largest = matching.clone();
        largest.retain(|process| process.memory > self.memory_over.0);
        largest.sort_by_key(|process| std::cmp::Reverse(process.memory));

        let listed = |process: &Process| {
            Some(Listed {
                pid: process.pid,
                command: process.command.clone(),
                user: process.user()?,
                cpu_percent: use_of.percent(process),
                cpu_lifetime_percent: use_of.lifetime_percent(process),
                memory: Bytes(process.memory),
                since: since(process),
                state: process.state,
            })
        };
        Ok(Found {
            counts: Counts {
                total: matching.len(),
                running: count(State::Running),
                blocked: count(State::Blocked),
                zombies: zombies.len(),
                runaway: runaway.len(),
            },
            zombies: zombies
                .into_iter()
                .take(self.limit)
                .map(|process| Zombie {
                    pid: process.pid,
                    parent: process.parent,
                    parent_command: processes
                        .iter()
                        .find(|other| other.pid == process.parent)
                        .map(|parent| parent.command.clone()),
                    command: process.command.clone(),
                    since: since(process),
                })
                .collect(),
            runaway: runaway
                .into_iter()
                .filter_map(|(_, process)| listed(process))
                .take(self.limit)
                .collect(),
            largest: largest
                .into_iter()
                .filter_map(listed)
                .take(self.limit)
                .collect(),
        })
    }
}

/// What is tried, for failures.
const WHAT: &str = "look at the processes";

/// Hundreds of small files are read, and names of users may come from a slow directory service.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::internal(WHAT).because(&error))?
}

/// The processes at the start of a sample.
struct Window {
    start: Instant,
    ticks: Ticks,
}

/// The processor time used, by process; a process is its id and its start, since ids are used again.
type Ticks = HashMap<(i32, Span), Duration>;

impl Window {
    fn open() -> Result<Window, Failure> {
        let start = Instant::now();
        let ticks = table::read()?
            .into_iter()
            .map(|process| ((process.pid, process.started), process.used))
            .collect();
        Ok(Window { start, ticks })
    }
}

/// What the use of processors is measured against.
struct CpuUse {
    window: Option<(Duration, Ticks)>,
    uptime: Span,
}

impl CpuUse {
    /// Over the sample, else over the process's life. One that was started within the sample is measured by its life.
    fn percent(&self, process: &Process) -> f64 {
        let before = self.window.as_ref().and_then(|(length, ticks)| {
            let used = ticks.get(&(process.pid, process.started))?;
            Some((length, used))
        });
        match before {
            Some((length, used)) => share(process.used.saturating_sub(*used), *length),
            None => self.lifetime_percent(process),
        }
    }

    fn lifetime_percent(&self, process: &Process) -> f64 {
        let age = self.uptime.milliseconds - process.started.milliseconds;
        share(process.used, Span::from_milliseconds(age).to_std())
    }
}

/// Of a life shorter than the kernel's own tick nothing can be said.
fn share(used: Duration, length: Duration) -> f64 {
    match length < Duration::from_millis(10) {
        true => 0.0,
        false => proc::round(used.as_secs_f64() * 100.0 / length.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command, Stdio},
        time::Instant,
    };

    use runwright_core::kind::Class;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::testing::{Bench, kind};

    fn ask(arguments: Json) -> Json {
        let (result, undo) = Bench::new()
            .run(kind("system.processes"), arguments)
            .expect("an answer");
        assert!(undo.is_none());
        result.to_plain()
    }

    /// A shell with a script, ended when dropped.
    struct Shell(Child);

    impl Shell {
        fn start(script: &str) -> Shell {
            let child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::null())
                .spawn();
            Shell(child.expect("a shell"))
        }

        fn pid(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            self.0.kill().expect("it runs until it is killed");
            self.0.wait().expect("it was not waited for yet");
        }
    }

    /// Asks until `find` finds something.
    fn until<T>(arguments: &Json, find: impl Fn(&Json) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = ask(arguments.clone());
            if let Some(found) = find(&answer) {
                return found;
            }
            assert!(Instant::now() < deadline, "not found in {answer}");
        }
    }

    fn entry(list: &Json, field: &str, pid: u32) -> Option<Json> {
        let entries = list.as_array().expect("a list");
        entries.iter().find(|entry| entry[field] == pid).cloned()
    }

    #[test]
    fn a_zombie_is_listed_with_the_parent_that_left_it() {
        // The shell becomes a `sleep`, which has never heard of the child.
        let shell = Shell::start("true & exec sleep 600");
        let zombie = until(&json!({"limit": 1000}), |answer| {
            let zombie = entry(&answer["zombies"], "parent", shell.pid())?;
            (zombie["parent_command"] == "sleep").then_some(zombie)
        });
        assert!(
            zombie["pid"]
                .as_u64()
                .is_some_and(|pid| pid > u64::from(shell.pid()))
        );
        let since: Time = zombie["since"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        let ago = jiff::Timestamp::now().as_millisecond() - since.milliseconds;
        assert!((-2_000..60_000).contains(&ago), "{ago} ms ago");
    }

    #[test]
    fn a_busy_process_is_a_runaway_by_its_life_and_by_a_sample() {
        let busy = Shell::start("while :; do :; done");
        // Others work on these cores as well, so that it may get little of one.
        for sample in ["0s", "200ms"] {
            let arguments =
                json!({"sample": sample, "cpu_over": 1, "older_than": "0s", "limit": 1000});
            let found = until(&arguments, |answer| {
                assert!(answer["counts"]["runaway"].as_u64() <= answer["counts"]["total"].as_u64());
                entry(&answer["runaway"], "pid", busy.pid())
            });
            assert_eq!(found["command"], "sh");
            assert!(found["cpu_percent"].as_f64().expect("a number") > 1.0);
            assert!(found["cpu_percent"].as_f64().expect("a number") < 150.0);
            assert!(found["memory"].as_u64().expect("a size") > 100_000);
        }
        let young = ask(json!({"cpu_over": 0, "older_than": "1h", "limit": 1000}));
        assert_eq!(entry(&young["runaway"], "pid", busy.pid()), None);
    }

    #[test]
    fn this_process_is_counted_and_named() {
        let me = std::process::id();
        let answer = ask(json!({"limit": 10_000}));
        let listed = entry(&answer["largest"], "pid", me).expect("this process");
        let uid = rustix::process::geteuid();
        let user = nix::unistd::User::from_uid(uid.as_raw().into()).expect("a lookup");
        assert_eq!(listed["user"], user.expect("a user").name);
        assert!(answer["counts"]["total"].as_u64() >= Some(2));
        let memory: Vec<u64> = answer["largest"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["memory"].as_u64().expect("a size"))
            .collect();
        assert!(memory.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_name_matches_the_command_line() {
        // Other runs of this test may be under way.
        let seconds = 1_000_000 + std::process::id();
        let name = format!("^sleep {seconds}$");
        let shell = Shell::start(&format!("exec sleep {seconds}"));
        let answer = until(&json!({"name": name}), |answer| {
            (answer["counts"]["total"] == 1).then(|| answer.clone())
        });
        assert_eq!(answer["largest"][0]["pid"], shell.pid());
        let none = ask(json!({"name": name, "memory_over": "1GiB"}));
        assert_eq!(none["largest"], json!([]));
        let nobody = ask(json!({"name": "^nothing is called this$"}));
        assert_eq!(nobody["counts"]["total"], 0);
    }

    #[test]
    fn what_can_not_be_measured_is_refused_when_loaded_and_when_run() {
        let wrong = json!({"sample": "50ms", "name": "("});
        let errors = (kind("system.processes").check)(&Value::from_stored(&wrong));
        let places: Vec<&str> = errors.iter().map(|error| error.path[0].as_str()).collect();
        assert_eq!(places, ["sample", "name"]);
        let failure = Bench::new()
            .run(kind("system.processes"), wrong)
            .expect_err("too short");
        assert_eq!(failure.class, Class::Internal);
        assert!(failure.message.contains("too short"));
    }

    #[test]
    fn a_sample_ends_with_the_step() {
        let bench = Bench::new();
        bench.cancel();
        let failure = bench
            .run(kind("system.processes"), json!({"sample": "1h"}))
            .expect_err("cancelled");
        assert_eq!(failure.class, Class::Cancelled);
    }
}
