//! A small disk of our own, mounted over a folder of the sandbox in a mount namespace that ends with the test.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use camino::Utf8PathBuf;

use super::{Ended, PROGRAM, Sandbox, need};

/// A tmpfs that only the programs started through this see.
pub(crate) struct Disk {
    folder: Utf8PathBuf,
    holder: Child,
}

impl Disk {
    /// Mounts a disk with `options` (`size=24m`, `nr_inodes=100`) over the folder `name` of the sandbox.
    pub(crate) fn mount(sandbox: &Sandbox, name: &str, options: &str) -> Disk {
        for program in ["unshare", "nsenter", "setpriv"] {
            need(program, "util-linux");
        }
        need("mount", "mount");
        let folder = sandbox.path(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut command = sandbox.command("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.arg("mount -t tmpfs -o \"$1,mode=700\" tmpfs \"$2\" && echo mounted && exec cat");
        command.args(["sh", options, folder.as_str()]);
        // It ends when its input does, however this test ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.process_group(0).spawn().expect("unshare starts");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a line from the namespace");
        assert_eq!(
            line.trim(),
            "mounted",
            "user namespaces and tmpfs are needed"
        );
        Disk { folder, holder }
    }

    /// Returns any program, ready to start where the disk can be seen.
    pub(crate) fn command(&self, sandbox: &Sandbox, program: &str, arguments: &[&str]) -> Command {
        let mut command = sandbox.command("nsenter");
        command
            .arg(format!("--target={}", self.holder.id()))
            .args(["--user", "--mount", "--preserve-credentials"])
            // A working folder that was opened outside would not see the disk.
            .args(["sh", "-c", "cd \"$0\" && exec \"$@\""])
            .arg(sandbox.path(""))
            .arg(program)
            .args(arguments);
        command
    }

    /// Runs the program under test to its end where the disk can be seen.
    pub(crate) fn runwright(&self, sandbox: &Sandbox, arguments: &[&str]) -> Ended {
        let output = self.command(sandbox, PROGRAM, arguments).output();
        Ended::of(output.expect("the program starts"))
    }

    /// Runs a script to its end where the disk can be seen; fails where it does.
    #[track_caller]
    pub(crate) fn sh(&self, sandbox: &Sandbox, script: &str) -> String {
        let output = self.command(sandbox, "sh", &["-euc", script]).output();
        Ended::of(output.expect("sh starts")).code(0).stdout
    }

    /// Returns the path under which this process sees the file `name` on the disk.
    pub(crate) fn inside(&self, name: &str) -> Utf8PathBuf {
        let root = format!("/proc/{}/root{}", self.holder.id(), self.folder);
        Utf8PathBuf::from(root).join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
