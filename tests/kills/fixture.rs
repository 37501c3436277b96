//! The world that is killed in: files, databases, a service, and a playbook that changes something of every family.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::event::Body;
use runwright_local::{journal::RunFilter, run::events};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::rounds::{Calls, Fault};
use crate::harness::{
    Ended, PROGRAM, Sandbox, need,
    services::SystemdUser,
    sqlite::{self, Other, Work},
    until,
};

/// The commands that note in the log that they have run, by the addresses of their steps.
pub(super) const LOGGED: &[&str] = &[
    "marked",
    "by_hand",
    "left",
    "right",
    "middle",
    "each[one]/round",
    "each[two]/round",
    "called/inner",
    "shaky",
];

const PLAYBOOK: &str = r#"
playbook: everything
version: 1.0.0
title: Change something of every family
inputs:
  folder: { type: path, default: FOLDER }
vars:
  data: folder ~ "/data"
  log: folder ~ "/log"
steps:
  - id: written
    title: Write over a file
    file.write: { path: "{{ data }}/app.conf", content: "new\n" }
  - id: setting
    title: Set a variable
    file.set: { path: "{{ data }}/app.env", format: env, key: GREETING, value: new }
  - id: copied
    title: Copy a file
    file.copy: { from: "{{ data }}/source", to: "{{ data }}/copy" }
  - id: made
    title: Make a directory
    file.directory: { path: "{{ data }}/made/below" }
  - id: moved
    title: Move a directory
    file.move: { from: "{{ data }}/old", to: "{{ data }}/made/old" }
  - id: deleted
    title: Delete a file for a while
    file.delete: { path: "{{ data }}/rubbish", keep: 1d }
  - id: marked
    title: Make a file by a command that says when it is done
    unless:
      file.stat: { path: "{{ data }}/marked" }
      that: result.exists
    command: { argv: [sh, -c, "echo marked >>$1/log; echo x >$1/data/marked", sh, "{{ folder }}"] }
    rollback:
      - id: unmark
        title: Remove it
        file.delete: { path: "{{ data }}/marked", keep: 0s }
  - id: by_hand
    title: Make a file by a command that says nothing
    command: { argv: [sh, -c, "echo by_hand >>$1/log; echo x >$1/data/by_hand", sh, "{{ folder }}"] }
    rollback:
      - id: away
        title: Remove it
        file.delete: { path: "{{ data }}/by_hand", keep: 0s }
      - id: say
        title: Say so
        command: { argv: [sh, -c, "echo undone by_hand >>$1/log", sh, "{{ folder }}"] }
  - id: beside
    title: Three beside each other
    parallel:
      - id: left
        title: Left
        unless:
          file.stat: { path: "{{ data }}/left" }
          that: result.exists
        command: { argv: [sh, -c, "echo left >>$1/log; echo x >$1/data/left", sh, "{{ folder }}"] }
        rollback: [{ id: away_left, title: Remove it, file.delete: { path: "{{ data }}/left", keep: 0s } }]
      - id: right
        title: Right
        unless:
          file.stat: { path: "{{ data }}/right" }
          that: result.exists
        command: { argv: [sh, -c, "echo right >>$1/log; echo x >$1/data/right", sh, "{{ folder }}"] }
        rollback: [{ id: away_right, title: Remove it, file.delete: { path: "{{ data }}/right", keep: 0s } }]
      - id: middle
        title: Middle
        unless:
          file.stat: { path: "{{ data }}/middle" }
          that: result.exists
        command: { argv: [sh, -c, "echo middle >>$1/log; echo x >$1/data/middle", sh, "{{ folder }}"] }
        rollback: [{ id: away_middle, title: Remove it, file.delete: { path: "{{ data }}/middle", keep: 0s } }]
  - id: each
    title: One after another
    foreach:
      in: [one, two]
      as: name
      key: name
      steps:
        - id: round
          title: "Make {{ name }}"
          unless:
            file.stat: { path: "{{ data }}/{{ name }}" }
            that: result.exists
          command: { argv: [sh, -c, "echo \"each[$2]/round\" >>$1/log; echo x >$1/data/$2", sh, "{{ folder }}", "{{ name }}"] }
          rollback: [{ id: away_round, title: Remove it, file.delete: { path: "{{ data }}/{{ name }}", keep: 0s } }]
  - id: called
    title: Call another
    call: { playbook: inner@^1, with: { folder: "{{ folder }}" } }
  - id: shaky
    title: Fail once, and succeed when it is tried again
    unless:
      file.stat: { path: "{{ data }}/shaky" }
      that: result.exists
    command: { argv: [sh, -c, "echo shaky >>$1/log; test $(grep -c shaky $1/log) -ge 2 && echo x >$1/data/shaky", sh, "{{ folder }}"] }
    retry: { attempts: 3, delay: 10ms, on: [exit] }
    rollback: [{ id: away_shaky, title: Remove it, file.delete: { path: "{{ data }}/shaky", keep: 0s } }]
  - id: folded
    title: Fold a WAL in
    sqlite.checkpoint: { database: "{{ data }}/kv.db" }
  - id: saved
    title: Save a database
    sqlite.backup: { database: "{{ data }}/kv.db", to: "{{ data }}/saved.db" }
  - id: indexed
    title: Build indexes anew
    sqlite.reindex: { database: "{{ data }}/idx.db" }
  - id: replaced
    title: Replace a database
    sqlite.replace: { database: "{{ data }}/kv.db", with: "{{ data }}/new.db" }
  - id: restarted
    title: Restart the service
    service: { name: app, state: restarted, stable_for: 30ms }
always:
  - id: noted
    title: Say that it is over
    unless:
      file.stat: { path: "{{ folder }}/over" }
      that: result.exists
    command: { argv: [sh, -c, "echo x >$1/over", sh, "{{ folder }}"] }
"#;

const INNER: &str = r#"
playbook: inner
version: 1.0.0
title: What is called
inputs:
  folder: { type: path }
steps:
  - id: inner
    title: Make a file
    unless:
      file.stat: { path: "{{ folder }}/data/inner" }
      that: result.exists
    command: { argv: [sh, -c, "echo called/inner >>$1/log; echo x >$1/data/inner", sh, "{{ folder }}"] }
    rollback: [{ id: away, title: Remove it, file.delete: { path: "{{ folder }}/data/inner", keep: 0s } }]
  - id: other
    title: Write a file
    file.write: { path: "{{ folder }}/data/other", content: "other\n" }
"#;

/// A sandbox with a service manager of its own, which is put back to its beginning before each round.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    systemd: SystemdUser,
}

/// All that a round may end with.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    /// Mode and content of each file; of a database only that it is there.
    files: BTreeMap<String, (u32, Vec<u8>)>,
    /// The rows of each database.
    rows: BTreeMap<String, i64>,
    /// What the service's process was started with.
    greeting: String,
}

impl End {
    /// Returns what is otherwise than `expected`, a line for each; nothing where all is the same.
    pub(super) fn differs(&self, expected: &End) -> String {
        let mut text = String::new();
        for path in self.files.keys().chain(expected.files.keys()) {
            let (is, was) = (self.files.get(path), expected.files.get(path));
            if is != was {
                let tell = |file: Option<&(u32, Vec<u8>)>| match file {
                    Some((mode, content)) => {
                        let head = &content[..content.len().min(40)];
                        format!("{mode:o} {:?}", String::from_utf8_lossy(head))
                    }
                    None => "not there".to_owned(),
                };
                text += &format!("{path}: {}, expected {}\n", tell(is), tell(was));
            }
        }
        if (&self.rows, &self.greeting) != (&expected.rows, &expected.greeting) {
            let tell = |end: &End| format!("{:?}, {}", end.rows, end.greeting);
            text += &format!("{}, expected {}\n", tell(self), tell(expected));
        }
        text
    }
}

impl World {
    pub(super) fn new() -> World {
        need("strace", "strace");
        let sandbox = Sandbox::new();
        let folder = sandbox.path("");
        let folder = folder.as_str().trim_end_matches('/');
        sandbox.write("everything.yml", PLAYBOOK.replace("FOLDER", folder));
        sandbox.write("inner.yml", INNER);
        let conf = sandbox.write("fixture/app.conf", "old\n");
        fs::set_permissions(conf, fs::Permissions::from_mode(0o640)).expect("a mode");
        sandbox.write("fixture/app.env", "# greeting\nGREETING=old\nOTHER=1\n");
        sandbox.write("fixture/source", "source\n".repeat(10_000));
        sandbox.write("fixture/old/note", "a note\n");
        sandbox.write("fixture/rubbish", "rubbish\n");
        let database = sandbox.path("fixture/kv.db");
        sqlite::create(&database, 10);
        Other::start(&database, Work::Write, 100).crash();
        fs::remove_file(sandbox.path("fixture/kv.db-shm")).expect("an index of the WAL");
        fs::remove_file(sandbox.path("fixture/kv.db.ack")).expect("an acknowledgement");
        sqlite::create(&sandbox.path("fixture/new.db"), 7);
        sqlite::create(&sandbox.path("fixture/idx.db"), 1_000);
        sqlite::break_index(&sandbox.path("fixture/idx.db"));

        let systemd = SystemdUser::start(&sandbox);
        let running = sandbox.path("running");
        let script = format!("echo \"$$GREETING\" >{running}; exec sleep 1000");
        let env = sandbox.path("data/app.env");
        let unit = format!(
            "EnvironmentFile={env}\nExecStart=/bin/sh -c '{script}'\nKillMode=control-group"
        );
        systemd.unit("app", &unit);
        World { sandbox, systemd }
    }

    /// Puts everything back to where each round begins.
    pub(super) fn reset(&self) {
        for folder in ["data", "state"] {
            let _ = fs::remove_dir_all(self.sandbox.path(folder));
        }
        for file in ["log", "over", "count"] {
            let _ = fs::remove_file(self.sandbox.path(file));
        }
        copy(&self.sandbox.path("fixture"), &self.sandbox.path("data"));
        if self.greeting() != "old" || self.systemd.systemctl(&["is-active", "app"]).is_err() {
            let _ = fs::remove_file(self.sandbox.path("running"));
            self.systemd
                .systemctl(&["restart", "app"])
                .expect("it starts");
            until("the service runs", || self.greeting() == "old");
        }
    }

    /// Runs the program to its end, or until a fault has ended it.
    pub(super) fn run(&self, arguments: &[&str], fault: Option<&Fault>) -> Ended {
        match fault {
            None => self.ended(self.program(PROGRAM, arguments)),
            Some(Fault::Point(point, nth)) => {
                self.run_with(arguments, &format!("{}:{nth}", point.name()))
            }
            Some(Fault::Call(calls, nth)) => {
                let inject = format!("inject={calls}:signal=SIGKILL:when={nth}");
                let mut all = vec![
                    "-f",
                    "--quiet=all",
                    "-o",
                    "/dev/null",
                    "-e",
                    &inject,
                    PROGRAM,
                ];
                all.extend(arguments);
                self.ended(self.program("strace", &all))
            }
            Some(Fault::Moment(after)) => {
                let mut command = self.program(PROGRAM, arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().expect("it starts");
                let started = Instant::now();
                let engine = engine(&mut child);
                // The moment itself is the point, not something to wait for.
                thread::sleep(after.saturating_sub(started.elapsed()));
                if let Some(engine) = engine {
                    let _ = kill_process(engine, Signal::KILL);
                }
                finish(child)
            }
        }
    }

    /// Runs the program with the value of `RUNWRIGHT_FAULT`.
    pub(super) fn run_with(&self, arguments: &[&str], fault: &str) -> Ended {
        let mut command = self.program(PROGRAM, arguments);
        command.env("RUNWRIGHT_FAULT", fault);
        self.ended(command)
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        self.systemd.program(&self.sandbox, program, arguments)
    }

    fn ended(&self, mut command: Command) -> Ended {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("it starts"))
    }

    /// Undoes the last run.
    pub(super) fn rollback_whole(&self) {
        self.run(&["rollback", "last", "--yes"], None).code(0);
    }

    /// Returns the durable calls that one thread of a run makes at the most.
    pub(super) fn calls(&self) -> Calls {
        let trace = self.sandbox.path("trace");
        let arguments = [
            "-f",
            "--quiet=all",
            "-o",
            trace.as_str(),
            "-e",
            Calls::TRACE,
            PROGRAM,
            "run",
            "./everything.yml",
            "--yes",
        ];
        self.ended(self.program("strace", &arguments)).code(0);
        Calls::read(&fs::read_to_string(trace).expect("a trace"))
    }

    /// Returns the last run and how it stands.
    pub(super) fn last(&self) -> Option<(String, String)> {
        let ended = self
            .sandbox
            .runwright(&["history", "--output", "json"])
            .code(0);
        let runs: Json = serde_json::from_str(ended.stdout.trim()).unwrap_or_default();
        let text = |name: &str| runs[0][name].as_str().map(str::to_owned);
        Some((text("run")?, text("state")?))
    }

    /// Returns whether a step of any run has started to act.
    pub(super) fn has_started(&self) -> bool {
        let journal = self.sandbox.verified_journal();
        let runs = journal.runs(&RunFilter::default(), 10).expect("runs");
        runs.iter().any(|record| {
            let events = events(&journal, &record.run).expect("events");
            let mut bodies = events.iter().map(|event| &event.body);
            bodies.any(|body| matches!(body, Body::Started { .. }))
        })
    }

    /// Returns what the commands have noted.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.sandbox.path("log")).unwrap_or_default()
    }

    /// Returns how everything was before.
    pub(super) fn original(&self) -> End {
        End {
            files: self.files("fixture"),
            rows: rows(&self.sandbox.path("fixture")),
            greeting: "old".to_owned(),
        }
    }

    /// Returns how everything is; the service's process may have to come so far as to say it.
    pub(super) fn end(&self) -> End {
        let mut greeting = String::new();
        until("the service says what it runs with", || {
            greeting = self.greeting();
            !greeting.is_empty()
        });
        End {
            files: self.files("data"),
            rows: rows(&self.sandbox.path("data")),
            greeting,
        }
    }

    /// Returns what the journal and the log say, for who looks at a failure.
    pub(super) fn told(&self) -> String {
        let mut text = self.sandbox.runwright(&["show", "last"]).stdout;
        let output = Command::new("sqlite3")
            .arg(self.sandbox.path("state/journal.db"))
            .arg("SELECT seq, kind, step, substr(data, 1, 150) FROM events ORDER BY rowid DESC LIMIT 25")
            .output();
        if let Ok(output) = output {
            text += &String::from_utf8_lossy(&output.stdout);
        }
        text + "log:\n" + &self.log()
    }

    fn greeting(&self) -> String {
        let text = fs::read_to_string(self.sandbox.path("running"));
        text.unwrap_or_default().trim().to_owned()
    }

    /// Returns the files below `name`; the run's own id, which is in some names, is left out.
    fn files(&self, name: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
        let above = self.sandbox.path(name);
        let ids: Vec<String> = fs::read_dir(self.sandbox.path("state/runs"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let mut files = BTreeMap::new();
        for (path, (mode, content)) in self.sandbox.tree(name) {
            let path = path.strip_prefix(&above).expect("a path below").as_str();
            // What is kept aside is named by the run and a number of its own.
            let path = ids.iter().fold(path.to_owned(), |path, id| {
                match path.split_once(&format!("{id}-")) {
                    Some((head, _)) => format!("{head}RUN"),
                    None => path.replace(id, "RUN"),
                }
            });
            // SQLite makes and removes these as it likes.
            if path.ends_with("-shm") || path.ends_with("-wal") {
                continue;
            }
            let content = match path.contains(".db") {
                true => Vec::new(),
                false => content,
            };
            files.insert(path, (mode, content));
        }
        files
    }
}

/// Returns the rows of each database in `folder`; a copy is asked, so that the question leaves no trace.
fn rows(folder: &Utf8Path) -> BTreeMap<String, i64> {
    let copies = tempfile::tempdir().expect("a folder");
    let copies = Utf8Path::from_path(copies.path()).expect("a UTF-8 path");
    copy(folder, copies);
    let entries = copies.read_dir_utf8().expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_owned());
    names
        .filter(|name| name.ends_with(".db"))
        .map(|name| {
            let rows = sqlite::rows(&copies.join(&name));
            (name, rows)
        })
        .collect()
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in from.read_dir_utf8().expect("a folder") {
        let entry = entry.expect("an entry");
        let target: Utf8PathBuf = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(entry.path(), &target),
            false => drop(fs::copy(entry.path(), &target).expect("a copy")),
        }
    }
}

/// Returns the engine's own process: `nsenter` starts it as its child. None where it has ended already.
fn engine(child: &mut Child) -> Option<Pid> {
    let id = child.id();
    let children = format!("/proc/{id}/task/{id}/children");
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        let found = fs::read_to_string(&children).ok()?;
        if let Some(pid) = found.split_whitespace().next() {
            return Pid::from_raw(pid.parse().ok()?);
        }
        thread::sleep(Duration::from_micros(200));
    }
    None
}

/// Waits for the process alone: what it has left running may hold its pipes for long.
fn finish(mut child: Child) -> Ended {
    let status = child.wait().expect("it ends");
    let read = |pipe: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    };
    let stdout = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let stderr = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    Ended::of(std::process::Output {
        status,
        stdout,
        stderr,
    })
}
