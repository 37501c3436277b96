//! What the tests share: the real program in a folder of its own, and real components beside it.

pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod services;
pub(crate) mod sqlite;
pub(crate) mod terminal;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_local::{home::Home, journal::Journal};
use serde_json::Value as Json;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_runwright");

/// Returns the folder of the whole workspace.
pub(crate) fn root() -> Utf8PathBuf {
    let package = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package
        .ancestors()
        .nth(2)
        .expect("the package lies two folders down");
    root.to_owned()
}

/// A folder that only we can read, a journal of its own, and an environment without anything of the caller's.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = std::env::var("PATH").expect("a PATH");
        let home = folder.path().to_str().expect("a UTF-8 path").to_owned();
        let env = [
            ("PATH", path),
            ("HOME", home.clone()),
            ("LANG", "C.UTF-8".to_owned()),
            ("RUNWRIGHT_HOME", format!("{home}/state")),
            ("RUNWRIGHT_LOCKS", format!("{home}/locks")),
        ];
        Sandbox {
            folder,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// Returns the path of `name` in the sandbox.
    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        let folder = Utf8Path::from_path(self.folder.path()).expect("a UTF-8 path");
        folder.join(name)
    }

    /// Writes a file, with the folders above it; returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folders above");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Puts a tool of that name in front of all others.
    pub(crate) fn put_tool(&mut self, name: &str, script: &str) {
        let tool = self.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("an executable");
        let path = &self.env["PATH"];
        let folder = self.path("bin");
        if !path.starts_with(folder.as_str()) {
            let path = format!("{folder}:{path}");
            self.set_env("PATH", &path);
        }
    }

    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Returns the program with `arguments`, ready to start: in the sandbox, with its environment, without a terminal.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(PROGRAM);
        command.args(arguments);
        command
    }

    /// Returns any other program, ready to start in the same way.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.attached(program);
        command.stdin(Stdio::null());
        command
    }

    /// Returns a program that takes over the terminal that it is started on.
    pub(crate) fn attached(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.env)
            .current_dir(self.folder.path());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn runwright(&self, arguments: &[&str]) -> Ended {
        Ended::of(
            self.program(arguments)
                .output()
                .expect("the program starts"),
        )
    }

    /// Returns the program as the person with this login uid starts it. It runs as the same user all the same.
    pub(crate) fn program_of(&self, login: u32, arguments: &[&str]) -> Command {
        let mut command = self.command("sh");
        let script = "echo $0 >/proc/self/loginuid && exec \"$@\"";
        command.args(["-c", script, &login.to_string(), PROGRAM]);
        command.args(arguments);
        command
    }

    /// Runs the program to its end as the person with this login uid.
    pub(crate) fn runwright_of(&self, login: u32, arguments: &[&str]) -> Ended {
        let mut program = self.program_of(login, arguments);
        Ended::of(program.output().expect("the program starts"))
    }

    /// Returns how the newest run stands.
    pub(crate) fn standing(&self) -> String {
        let history = self.runwright(&["history", "-n", "1", "--output", "json"]);
        let rows: Json = serde_json::from_str(history.stdout.trim()).unwrap_or_default();
        rows[0]["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the newest run stands like this, and no process works on it any more.
    #[track_caller]
    pub(crate) fn wait_for(&self, state: &str) {
        until(&format!("the run is {state}"), || {
            let home = Home::find(&self.path("state")).ok().flatten();
            let Some(home) = home else { return false };
            let Ok(Some(journal)) = Journal::find(&home) else {
                return false;
            };
            let Ok(record) = journal.run("last") else {
                return false;
            };
            let holder = runwright_local::lock::Lock::holder(&home.lock(&record.run));
            self.standing() == state && matches!(holder, Ok(None))
        });
    }

    /// Starts the program and does not wait for it; nobody reads what it says.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut program = self.program(arguments);
        program.stdout(Stdio::null()).stderr(Stdio::null());
        program.spawn().expect("the program starts")
    }

    /// Opens the journal as another program would, and checks that every chain holds.
    pub(crate) fn verified_journal(&self) -> Journal {
        self.journal().expect("a journal is there")
    }

    /// Does the same where a program that was killed may not have come so far as to make one.
    pub(crate) fn journal(&self) -> Option<Journal> {
        let home = Home::find(&self.path("state")).expect("a home")?;
        let journal = Journal::find(&home).expect("a journal")?;
        let verification = journal.verify(None).expect("a verification");
        assert!(verification.holds(), "{verification:?}");
        Some(journal)
    }

    /// Returns every file below `name` with its content and mode.
    pub(crate) fn tree(&self, name: &str) -> BTreeMap<Utf8PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.path(name)];
        while let Some(path) = open.pop() {
            let metadata = path.symlink_metadata().expect("metadata");
            let content = if metadata.is_file() {
                fs::read(&path).expect("a file")
            } else {
                Vec::new()
            };
            if metadata.is_dir() {
                let entries = path.read_dir_utf8().expect("a folder");
                open.extend(entries.map(|entry| entry.expect("an entry").into_path()));
            }
            found.insert(path, (metadata.permissions().mode(), content));
        }
        found
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; 128 and the signal where it was killed.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Ended {
        let signal = output.status.signal().unwrap_or_default();
        Ended {
            code: output.status.code().unwrap_or(128 + signal),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }

    /// Fails with all that was printed unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Ended {
        assert_eq!(
            self.code, code,
            "\nstdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails unless `text` stands somewhere in what was printed.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Ended {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "it does not say `{text}`\nstdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Returns the last line of `--output json`: the summary of the run.
    #[track_caller]
    pub(crate) fn summary(&self) -> Json {
        let line = self.stdout.lines().last();
        let line = line.unwrap_or_else(|| panic!("nothing on stdout, on stderr:\n{}", self.stderr));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// Waits until `holds`; fails after 30 s.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "it did not come true within 30 s that {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Fails with the line that installs it unless `program` is there.
pub(crate) fn need(program: &str, package: &str) {
    let path = std::env::var("PATH").expect("a PATH");
    let places = path
        .split(':')
        .chain(["/usr/sbin", "/sbin", "/lib/systemd"]);
    assert!(
        places
            .into_iter()
            .any(|place| Utf8Path::new(place).join(program).exists()),
        "{program} is missing: apt-get install -y --no-install-recommends {package}"
    );
}
