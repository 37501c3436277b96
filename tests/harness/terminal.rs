//! The real program on a pseudo-terminal of its own, and what it leaves of that.

use std::fs;

use nix::sys::signal::Signal;
use rexpect::session::{PtySession, spawn_command};

use super::{PROGRAM, Sandbox, until};

/// How long something may take to be said, in milliseconds.
const PATIENCE: u64 = 30_000;

/// A shell on a terminal that has started the program.
pub(crate) struct Terminal<'a> {
    sandbox: &'a Sandbox,
    session: PtySession,
    said: String,
}

impl Terminal<'_> {
    /// Starts the program on a terminal whose modes are looked at before and after.
    pub(crate) fn start<'a>(sandbox: &'a Sandbox, arguments: &[&str]) -> Terminal<'a> {
        for name in ["modes-before", "modes-after", "code"] {
            drop(fs::remove_file(sandbox.path(name)));
        }
        let mut command = sandbox.attached("sh");
        // What the shell traps is reset in what it starts.
        let script = "trap : INT; stty -a >modes-before; \"$@\"; code=$?; stty -a >modes-after; \
                      echo $code >code.new; mv code.new code";
        command.args(["-c", script, "sh", PROGRAM]).args(arguments);
        command.env("TERM", "xterm");
        let session = spawn_command(command, Some(PATIENCE)).expect("a program on a terminal");
        Terminal {
            sandbox,
            session,
            said: String::new(),
        }
    }

    /// Waits until `text` is said.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> &mut Self {
        match self.session.exp_string(text) {
            Ok(before) => self.said.push_str(&format!("{before}{text}")),
            Err(error) => panic!("it does not say `{text}`: {error}\nbefore:\n{}", self.said),
        }
        self
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) -> &mut Self {
        self.session.send_line(line).expect("a terminal");
        self
    }

    pub(crate) fn ctrl_c(&mut self) -> &mut Self {
        self.session.send_control('c').expect("a terminal");
        self
    }

    /// Ends the shell at once: its terminal hangs up.
    pub(crate) fn hang_up(mut self) {
        let shell = self.session.process_mut();
        shell.kill(Signal::SIGKILL).expect("it lives");
    }

    /// Waits for the program's end; fails unless the terminal is as it was. Returns the exit code and what was said
    /// after the last text that was waited for.
    #[track_caller]
    pub(crate) fn ends(mut self) -> (i32, String) {
        let rest = match self.session.exp_eof() {
            Ok(rest) => rest,
            Err(error) => panic!("it does not end: {error}\nbefore:\n{}", self.said),
        };
        let file = |name: &str| fs::read_to_string(self.sandbox.path(name)).unwrap_or_default();
        until("the code is written", || !file("code").is_empty());
        assert_eq!(file("modes-before"), file("modes-after"), "the modes");
        let all = format!("{}{rest}", self.said);
        let (hidden, shown) = (all.rfind("\x1b[?25l"), all.rfind("\x1b[?25h"));
        assert!(hidden <= shown, "the cursor is hidden:\n{all}");
        (file("code").trim().parse().expect("a code"), rest)
    }
}
