//! Real service managers for tests, as children that leave nothing behind.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};

use crate::testing::Bench;

/// The control group hierarchies that systemd makes groups in.
const HIERARCHIES: [&str; 4] = ["systemd", "pids", "memory", "unified"];

/// A `systemd --user` in a process and a mount namespace of its own, and a bench whose `systemctl` speaks to it.
pub(super) struct SystemdUser {
    pub(super) bench: Bench,
    namespace: Child,
    group: String,
}

impl SystemdUser {
    pub(super) fn start() -> SystemdUser {
        assert!(
            rustix::process::geteuid().is_root(),
            "a systemd of our own needs root: run the tests with sudo"
        );
        for program in [
            "/lib/systemd/systemd",
            "/usr/bin/systemctl",
            "/usr/bin/nsenter",
        ] {
            assert!(
                Utf8Path::new(program).exists(),
                "{program} is missing: apt-get install -y --no-install-recommends systemd util-linux"
            );
        }
        let mut bench = Bench::new();
        let units = bench.path("units");
        fs::create_dir(&units).expect("a folder");
        for target in ["basic", "sysinit", "default", "shutdown", "bench"] {
            let unit = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            fs::write(units.join(format!("{target}.target")), unit).expect("a unit");
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let group = format!(
            "runwright-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let namespace = namespace(&bench, &group);
        let tool = format!(
            "exec nsenter --target {} --mount --pid /usr/bin/systemctl \"$@\"",
            first_child(&namespace)
        );
        put_tool(&mut bench, "systemctl", &tool);
        bench.set_env("XDG_RUNTIME_DIR", "/run/user-of-test");
        let systemd = SystemdUser {
            bench,
            namespace,
            group,
        };
        until("systemd answers", || {
            systemd.systemctl(&["show", "--property=Version"]).is_ok()
        });
        systemd
    }

    /// Writes the unit `name` with `service` as its section.
    pub(super) fn unit(&self, name: &str, service: &str) {
        let unit = format!(
            "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\n{service}\n"
        );
        self.unit_file(name, &unit);
    }

    /// Writes the whole file of the unit `name`.
    pub(super) fn unit_file(&self, name: &str, content: &str) {
        fs::write(self.bench.path(&format!("units/{name}.service")), content).expect("a unit");
    }

    /// Makes the target of the bench want the unit `name`, or not any more: systemd remembers what is wanted.
    pub(super) fn want(&self, name: &str, wanted: bool) {
        let folder = self.bench.path("units/bench.target.wants");
        let link = folder.join(format!("{name}.service"));
        if wanted {
            fs::create_dir_all(&folder).expect("a folder");
            std::os::unix::fs::symlink(format!("../{name}.service"), link).expect("a link");
        } else {
            fs::remove_file(link).expect("removed");
        }
        self.systemctl(&["daemon-reload"]).expect("read again");
    }

    /// Does what a person would do by hand.
    pub(super) fn systemctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.bench.path("bin/systemctl"))
            .arg("--user")
            .args(arguments)
            .env("XDG_RUNTIME_DIR", "/run/user-of-test")
            .output()
            .expect("the tool runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
fn namespace(bench: &Bench, group: &str) -> Child {
    let script = format!(
        "for hierarchy in {}; do\n\
           folder=/sys/fs/cgroup/$hierarchy/{group}\n\
           mkdir -p $folder && echo $$ >$folder/cgroup.procs || true\n\
         done\n\
         exec unshare --mount --pid --fork --kill-child=SIGKILL --mount-proc bash -euc '\n\
           mount -t tmpfs tmpfs /run\n\
           mkdir -p /run/systemd/system /run/user-of-test\n\
           chmod 700 /run/user-of-test\n\
           export XDG_RUNTIME_DIR=/run/user-of-test SYSTEMD_UNIT_PATH={} SYSTEMD_LOG_TARGET=console\n\
           /lib/systemd/systemd --user --unit=bench.target &\n\
           wait'",
        HIERARCHIES.join(" "),
        bench.path("units"),
    );
    let log = fs::File::create(bench.path("systemd.log")).expect("a log");
    Command::new("bash")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", std::env::var("PATH").expect("a path"))
        .env("HOME", bench.path(""))
        .stdin(Stdio::null())
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
        let is_unshare = fs::read_to_string(format!("/proc/{}/comm", of.id()))
            .is_ok_and(|name| name == "unshare\n");
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

/// Puts a tool of that name in front of all others.
fn put_tool(bench: &mut Bench, name: &str, script: &str) {
    let folder = bench.path("bin");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), format!("#!/bin/sh\n{script}\n")).expect("a tool");
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))
        .expect("an executable");
    let path = &bench.cx().children.env["PATH"];
    if !path.starts_with(folder.as_str()) {
        let path = format!("{folder}:{path}");
        bench.set_env("PATH", &path);
    }
}

/// A supervisord, and what its configuration is.
pub(super) struct Supervisor {
    daemon: Child,
    config: Utf8PathBuf,
}

impl Supervisor {
    /// Starts one in the bench's folder with `programs` as further sections.
    pub(super) fn start(bench: &Bench, programs: &str) -> Supervisor {
        let folder = bench.path("");
        let folder = folder.as_str().trim_end_matches('/');
        let config = bench.path("supervisord.conf");
        let text = format!(
            "[unix_http_server]\nfile={folder}/s.sock\n\
             [supervisord]\nnodaemon=true\nlogfile={folder}/s.log\npidfile={folder}/s.pid\nuser=root\n\
             childlogdir={folder}\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://{folder}/s.sock\n{programs}\n"
        );
        fs::write(&config, text).expect("a configuration");
        let daemon = Command::new("supervisord")
            .args(["-c", config.as_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(
                "supervisord is missing: apt-get install -y --no-install-recommends supervisor",
            );
        let supervisor = Supervisor { daemon, config };
        until("supervisord answers", || supervisor.ctl(&["pid"]).is_ok());
        supervisor
    }

    pub(super) fn config(&self) -> &str {
        self.config.as_str()
    }

    /// Makes it the one that `supervisorctl` finds without being told.
    pub(super) fn make_usual(&self, bench: &mut Bench) {
        let tool = format!("exec /usr/bin/supervisorctl -c {} \"$@\"", self.config);
        put_tool(bench, "supervisorctl", &tool);
    }

    /// Does what a person would do by hand.
    pub(super) fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("supervisorctl")
            .args(["-c", self.config.as_str()])
            .args(arguments)
            .output()
            .expect(
                "supervisorctl is missing: apt-get install -y --no-install-recommends supervisor",
            );
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

/// Waits until `holds`; fails after 30 s.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "it did not come true within 30 s that {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
