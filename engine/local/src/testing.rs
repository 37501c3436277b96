//! What the tests of this crate share: a home of their own, and the test itself as another process.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use camino::{Utf8Path, Utf8PathBuf};

use crate::home::Home;

/// Says to a process that it is the other one of a test, and gives it the home.
const OTHER: &str = "RUNWRIGHT_TEST_OTHER";
/// What the test wants the other process to know.
const ARGUMENT: &str = "RUNWRIGHT_TEST_ARGUMENT";

/// A folder of its own, gone afterwards.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        Sandbox {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path())
            .expect("a UTF-8 path")
            .join(name)
    }

    pub(crate) fn home(&self) -> Home {
        Home::open(&self.path("home")).expect("a home")
    }
}

/// Returns the permission bits of `path`.
pub(crate) fn mode(path: &Utf8Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

/// Returns home and argument when this process is the other one of the test that runs.
pub(crate) fn other() -> Option<(Home, String)> {
    let (path, argument) = other_at()?;
    Some((Home::open(&path).expect("the home of the test"), argument))
}

/// The same for a test that gives another folder than a home.
pub(crate) fn other_at() -> Option<(Utf8PathBuf, String)> {
    let path = Utf8PathBuf::from(env::var(OTHER).ok()?);
    let argument = env::var(ARGUMENT).expect("the argument comes with the path");
    Some((path, argument))
}

/// The other process of a test; killed when dropped.
pub(crate) struct Other {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Other {
    /// Runs the test `name` (its whole path in this crate) once more, as the other process.
    pub(crate) fn start(name: &str, home: &Utf8Path, argument: &str) -> Other {
        Other::start_in(&[], name, home, argument)
    }

    /// The same, with `wrapper` and its arguments before the program.
    pub(crate) fn start_in(wrapper: &[&str], name: &str, home: &Utf8Path, argument: &str) -> Other {
        let program = env::current_exe().expect("this test's own program");
        let program = program.to_str().expect("a UTF-8 path");
        let argv = [wrapper, &[program, "--exact", name, "--nocapture"]].concat();
        let mut child = Command::new(argv[0])
            .args(&argv[1..])
            .env(OTHER, home)
            .env(ARGUMENT, argument)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`{}` does not start: {error}", argv[0]));
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Other { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has printed a line that ends with `text`: the test harness may have begun the line.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("lines of text") > 0 {
            if line.trim_end().ends_with(text) {
                return;
            }
            line.clear();
        }
        panic!("the other process ended without saying `{text}`");
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Waits until it ends; panics when its test failed.
    pub(crate) fn join(mut self) {
        let mut output = String::new();
        self.lines
            .read_to_string(&mut output)
            .expect("lines of text");
        let status = self.child.wait().expect("it is ours");
        assert!(
            status.success(),
            "the other process failed: {status}\n{output}"
        );
        // A name that no test has succeeds, too.
        assert!(
            output.contains("1 passed"),
            "the other process ran no test:\n{output}"
        );
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
