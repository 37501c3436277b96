//! Real service managers, as children that leave nothing behind.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};

use super::{Sandbox, need, until};

/// The control group hierarchies that systemd makes groups in.
const HIERARCHIES: [&str; 4] = ["systemd", "pids", "memory", "unified"];

/// Where root's systemd has its socket.
const RUNTIME: &str = "/run/user/0";

/// A `systemd --user` in a process and a mount namespace of its own.
pub(crate) struct SystemdUser {
    enter: Vec<String>,
    units: Utf8PathBuf,
    namespace: Child,
    group: String,
}

impl SystemdUser {
    pub(crate) fn start(sandbox: &Sandbox) -> SystemdUser {
        assert!(
            rustix::process::geteuid().is_root(),
            "a systemd of our own needs root: run the tests with sudo"
        );
        need("systemd", "systemd");
        need("systemctl", "systemd");
        need("nsenter", "util-linux");
        for target in ["basic", "sysinit", "default", "shutdown", "bench"] {
            let unit = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            sandbox.write(&format!("units/{target}.target"), unit);
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let group = format!("runwright-e2e-{}-{count}", std::process::id());
        let namespace = namespace(sandbox, &group);
        let folder = sandbox.path("");
        let target = first_child(&namespace);
        let enter = format!("--target {target} --mount --pid --wd={folder}");
        let systemd = SystemdUser {
            enter: enter.split(' ').map(str::to_owned).collect(),
            units: sandbox.path("units"),
            namespace,
            group,
        };
        until("systemd answers", || {
            systemd.systemctl(&["show", "--property=Version"]).is_ok()
        });
        systemd
    }

    /// Writes the unit `name` with `service` as its section.
    pub(crate) fn unit(&self, name: &str, service: &str) {
        let unit = format!(
            "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\n{service}\n"
        );
        fs::write(self.units.join(format!("{name}.service")), unit).expect("a unit");
    }

    /// Returns a program of the sandbox that sees this systemd as its user's.
    pub(crate) fn program(&self, sandbox: &Sandbox, program: &str, arguments: &[&str]) -> Command {
        let mut command = sandbox.command("nsenter");
        command.args(&self.enter).arg(program).args(arguments);
        command
    }

    /// Does what a person would do by hand.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command
            .args(&self.enter)
            .args(["systemctl", "--user"])
            .args(arguments);
        let output = command
            .env("XDG_RUNTIME_DIR", RUNTIME)
            .output()
            .expect("nsenter starts");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for SystemdUser {
    fn drop(&mut self) {
        // Its first process goes with it, and with that one the whole namespace.
        let _ = self.namespace.kill();
        let _ = self.namespace.wait();
        for hierarchy in HIERARCHIES {
            let folder = Utf8PathBuf::from(format!("/sys/fs/cgroup/{hierarchy}/{}", self.group));
            let deadline = Instant::now() + Duration::from_secs(5);
            while folder.exists() && remove_groups(&folder).is_err() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Starts systemd behind a process that joined control groups of its own, so that nothing is made at their roots.
fn namespace(sandbox: &Sandbox, group: &str) -> Child {
    let script = format!(
        "for hierarchy in {}; do\n\
           folder=/sys/fs/cgroup/$hierarchy/{group}\n\
           mkdir -p $folder && echo $$ >$folder/cgroup.procs || true\n\
         done\n\
         exec unshare --mount --pid --fork --kill-child=SIGKILL --mount-proc bash -euc '\n\
           mount -t tmpfs tmpfs /run\n\
           mkdir -p /run/systemd/system {RUNTIME}\n\
           chmod 700 {RUNTIME}\n\
           export XDG_RUNTIME_DIR={RUNTIME} SYSTEMD_UNIT_PATH={} SYSTEMD_LOG_TARGET=console\n\
           /lib/systemd/systemd --user --unit=bench.target &\n\
           wait'",
        HIERARCHIES.join(" "),
        sandbox.path("units"),
    );
    let log = fs::File::create(sandbox.path("systemd.log")).expect("a log");
    sandbox
        .command("bash")
        .args(["-c", &script])
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("bash starts")
}

fn first_child(of: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", of.id());
    let mut found = None;
    until("the namespace is there", || {
        // The process is `bash` before it is `unshare`, and has other children then.
        let name = fs::read_to_string(format!("/proc/{}/comm", of.id()));
        let is_unshare = name.is_ok_and(|name| name == "unshare\n");
        found = fs::read_to_string(&children)
            .ok()
            .and_then(|children| children.split_whitespace().next()?.parse().ok())
            .filter(|_| is_unshare);
        found.is_some()
    });
    found.expect("it was found")
}

fn remove_groups(folder: &Utf8Path) -> io::Result<()> {
    for entry in folder.read_dir_utf8()?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_groups(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// A supervisord that `supervisorctl` of the sandbox speaks to.
pub(crate) struct Supervisor {
    daemon: Child,
    tool: Utf8PathBuf,
}

impl Supervisor {
    /// Starts one with `programs` as further sections of its configuration.
    pub(crate) fn start(sandbox: &mut Sandbox, programs: &str) -> Supervisor {
        need("supervisord", "supervisor");
        let folder = sandbox.path("");
        let folder = folder.as_str().trim_end_matches('/');
        let text = format!(
            "[unix_http_server]\nfile={folder}/s.sock\n\
             [supervisord]\nnodaemon=true\nlogfile={folder}/s.log\npidfile={folder}/s.pid\nuser=root\n\
             childlogdir={folder}\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://{folder}/s.sock\n{programs}\n"
        );
        let config = sandbox.write("supervisord.conf", text);
        sandbox.put_tool(
            "supervisorctl",
            &format!("exec /usr/bin/supervisorctl -c {config} \"$@\""),
        );
        let daemon = sandbox
            .command("supervisord")
            .args(["-c", config.as_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("supervisord starts");
        let supervisor = Supervisor {
            daemon,
            tool: sandbox.path("bin/supervisorctl"),
        };
        until("supervisord answers", || supervisor.ctl(&["pid"]).is_ok());
        supervisor
    }

    /// Does what a person would do by hand.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.tool).args(arguments).output();
        let output = output.expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(text)
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Asked to end it stops its programs first; killed it would leave them behind.
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
