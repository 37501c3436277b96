//! A program as it is to be started, and the start itself.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Cx, Description, Failure, Host};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    group::Group,
    user::{self, User},
};

/// Where programs are looked up when the environment has no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program as it is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// What is added to the common environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Where its streams go.
    pub(crate) stdio: Stdio,
    /// The folder it runs in, relative to the run's.
    pub(crate) cwd: Option<Utf8PathBuf>,
    /// The user it runs as.
    pub(crate) user: Option<String>,
    /// How long it may take to end when asked to.
    pub(crate) grace: Duration,
    /// What becomes of it when the engine dies.
    pub(crate) orphaned: Orphaned,
}

/// What becomes of a program when the engine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// It is ended, as when the step is to end.
    Ends,
    /// It goes on to its own end, because it would leave things half done.
    GoesOn,
}

/// Where the streams of a program go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// To and from the terminal, which the program has for itself meanwhile.
    Terminal,
    /// Output to us; input is this text, `/dev/null` when it is empty.
    Piped(String),
}

impl Stdio {
    pub(super) fn of(interactive: bool, stdin: &str) -> Stdio {
        if interactive {
            Stdio::Terminal
        } else {
            Stdio::Piped(stdin.to_owned())
        }
    }
}

/// A program that was started, with our ends of its streams.
pub(super) struct Started {
    pub(super) handle: duct::Handle,
    pub(super) group: Group,
    /// Becomes readable when the program has ended.
    pub(super) pidfd: OwnedFd,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// Whether its end was learned; from then on its number may be another's.
    reaped: bool,
    host: Arc<dyn Host>,
}

impl Started {
    /// Returns how the program ended; `None` when it is still there.
    pub(super) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if !self.reaped {
            self.host.ended(self.group.number());
        }
        self.reaped = true;
        Ok(self.handle.try_wait()?.map(|output| output.status))
    }
}

/// Leaves nothing behind when reading failed, or the thread panicked.
impl Drop for Started {
    fn drop(&mut self) {
        if !self.reaped {
            self.group.kill();
            self.host.ended(self.group.number());
        }
    }
}

impl Program {
    /// Adds what there is to know beside the arguments or the script.
    pub(super) fn details(&self, mut description: Description) -> Description {
        if !self.env.is_empty() {
            let lines: Vec<String> = self
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            description = description.with("env", lines.join("\n"));
        }
        match &self.stdio {
            Stdio::Piped(text) if text.is_empty() => {}
            Stdio::Piped(text) => description = description.with_content("stdin", text),
            Stdio::Terminal => description = description.with("interactive", "true"),
        }
        if let Some(cwd) = &self.cwd {
            description = description.with("cwd", cwd.as_str());
        }
        if let Some(user) = &self.user {
            description = description.with("user", user);
        }
        description
    }

    /// Returns the program's name, as failures call it.
    pub(super) fn name(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// Starts it.
    pub(super) fn start(&self, cx: &Cx) -> Result<Started, Failure> {
        let user = self.user.as_deref().map(user::find).transpose()?.flatten();
        let cwd = match &self.cwd {
            Some(cwd) => cx.children.cwd.join(cwd),
            None => cx.children.cwd.clone(),
        };
        let env = self.environment(cx, user.as_ref());
        let path = env.get("PATH").map_or(USUAL_PATH, String::as_str);
        let executable = find(self.name(), path, &cwd).ok_or_else(|| self.not_found(path))?;
        let line = self.wrapped(executable, user.as_ref())?;
        self.spawn(cx, &line, &cwd, env)
            .map_err(|error| self.not_started(&error, &cwd))
    }

    fn environment(&self, cx: &Cx, user: Option<&User>) -> BTreeMap<String, String> {
        let mut env = cx.children.env.clone();
        if let Some(user) = user {
            env.insert("HOME".to_owned(), user.home.clone());
            env.insert("USER".to_owned(), user.name.clone());
        }
        env.extend(self.env.clone());
        env.insert(
            "RUNWRIGHT_STEP".to_owned(),
            format!("{}/{}", cx.run, cx.step),
        );
        env
    }

    /// Returns what is really executed: where the standard library can't do a thing safely, a tool in front does it.
    fn wrapped(&self, executable: PathBuf, user: Option<&User>) -> Result<Line, Failure> {
        let mut line = Line {
            executable,
            name: self.name().to_owned(),
            arguments: self.argv.iter().skip(1).map(OsString::from).collect(),
            identity: user.map(|user| (user.uid, user.gid)),
            group: true,
        };
        if let Some(user) = user.filter(|user| !user.groups.is_empty()) {
            let setpriv = find("setpriv", USUAL_PATH, Utf8Path::new("/")).ok_or_else(|| {
                Failure::internal(format!(
                    "run as `{}`: `setpriv` is not installed",
                    user.name
                ))
                .hint("install util-linux; it sets the groups of that user")
            })?;
            let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
            line = line.behind(
                setpriv,
                [
                    format!("--reuid={}", user.uid),
                    format!("--regid={}", user.gid),
                    format!("--groups={}", groups.join(",")),
                    "--".to_owned(),
                ],
            );
            line.identity = None;
        }
        if self.stdio != Stdio::Terminal
            && has_terminal()
            && let Some(setsid) = find("setsid", USUAL_PATH, Utf8Path::new("/"))
        {
            line = line.behind(setsid, []);
            // Only who leads no group yet can begin a session without a further process.
            line.group = false;
        }
        Ok(line)
    }

    fn spawn(
        &self,
        cx: &Cx,
        line: &Line,
        cwd: &Utf8Path,
        env: BTreeMap<String, String>,
    ) -> io::Result<Started> {
        let mut expression = duct::cmd(&line.executable, &line.arguments)
            .dir(cwd.as_std_path())
            .full_env(env)
            .unchecked();
        let (mut stdin, mut stdout, mut stderr) = (None, None, None);
        if let Stdio::Piped(input) = &self.stdio {
            if input.is_empty() {
                expression = expression.stdin_null();
            } else {
                let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&ours, true)?;
                expression = expression.stdin_file(theirs);
                stdin = Some(ours);
            }
            let (ours, theirs) = output_pipe()?;
            expression = expression.stdout_file(theirs);
            stdout = Some(ours);
            let (ours, theirs) = output_pipe()?;
            expression = expression.stderr_file(theirs);
            stderr = Some(ours);
        }
        let (name, identity, group) = (line.name.clone(), line.identity, line.group);
        let expression = expression.before_spawn(move |command| {
            command.arg0(&name);
            if group {
                command.process_group(0);
            }
            if let Some((uid, gid)) = identity {
                command.uid(uid).gid(gid);
            }
            Ok(())
        });
        let mut handle = None;
        let grace = (self.orphaned == Orphaned::Ends).then_some(self.grace);
        cx.host.start(grace, &mut || {
            let handle = handle.insert(expression.start()?);
            Ok(*handle.pids().first().expect("one program is one process"))
        })?;
        let handle = handle.expect("who let it start has started it");
        let pid = handle
            .pids()
            .first()
            .and_then(|pid| Pid::from_raw(i32::try_from(*pid).ok()?))
            .expect("one program has one process number above 0");
        let group = Group { leader: pid };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Started {
                handle,
                group,
                pidfd,
                stdin,
                stdout,
                stderr,
                reaped: false,
                host: Arc::clone(&cx.host),
            }),
            Err(error) => {
                group.kill();
                cx.host.ended(group.number());
                Err(error.into())
            }
        }
    }

    fn not_found(&self, path: &str) -> Failure {
        let name = self.name();
        if name.contains('/') {
            return Failure::internal(format!("run `{name}`: there is no such executable file"))
                .hint("check the path, and that the file may be executed (`chmod +x`)");
        }
        Failure::internal(format!("run `{name}`: no such program in {path}")).hint(
            "install it, or write its whole path; `env: {PATH: ...}` changes where it is looked up",
        )
    }

    fn not_started(&self, error: &io::Error, cwd: &Utf8Path) -> Failure {
        let name = self.name();
        if !cwd.is_dir() {
            return Failure::internal(format!("run `{name}` in {cwd}: there is no such folder"));
        }
        let failure = Failure::internal(format!("run `{name}` in {cwd}")).because(error);
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => {
                failure.hint("it is a script, and the interpreter in its first line does not exist")
            }
            Some(Errno::NOEXEC) => {
                failure.hint("it is no program of this machine; a script needs a `#!` line")
            }
            Some(Errno::TOOBIG) => {
                failure.hint("the arguments are too long; hand them over by `stdin` or a file")
            }
            Some(Errno::ACCESS) => {
                failure.hint("the user has no right to execute it or to enter the folder")
            }
            _ => failure,
        }
    }
}

/// What is executed, by which name and as whom.
struct Line {
    executable: PathBuf,
    name: String,
    arguments: Vec<OsString>,
    identity: Option<(u32, u32)>,
    group: bool,
}

impl Line {
    fn behind<const N: usize>(mut self, tool: PathBuf, options: [String; N]) -> Line {
        let mut arguments: Vec<OsString> = options.into_iter().map(OsString::from).collect();
        arguments.push(self.executable.into_os_string());
        arguments.append(&mut self.arguments);
        Line {
            name: tool.to_string_lossy().into_owned(),
            executable: tool,
            arguments,
            ..self
        }
    }
}

/// Returns the executable file that `name` means: looked up before the start, so that its absence is told from others,
/// and because a start without a lookup is the cheap one.
pub(super) fn find(name: &str, path: &str, cwd: &Utf8Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(cwd.as_std_path().join(name)).filter(|file| is_executable(file));
    }
    if name.is_empty() {
        return None;
    }
    path.split(':')
        .map(|folder| cwd.as_std_path().join(folder).join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Returns whether we have a controlling terminal, which a child would share.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_user_brings_all_its_groups() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: run it with sudo"
        );
        let program = Program {
            argv: ["id", "-G"].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            stdio: Stdio::Piped(String::new()),
            cwd: None,
            user: None,
            grace: Duration::ZERO,
            orphaned: Orphaned::Ends,
        };
        let user = User {
            name: "somebody".to_owned(),
            uid: 65533,
            gid: 65532,
            groups: vec![65531, 65530],
            home: "/".to_owned(),
        };
        let id = find("id", USUAL_PATH, Utf8Path::new("/")).expect("coreutils");
        let line = program.wrapped(id, Some(&user)).expect("util-linux");
        let bench = Bench::new();
        let mut started = program
            .spawn(bench.cx(), &line, Utf8Path::new("/"), BTreeMap::new())
            .expect("it starts");
        started.handle.wait().expect("it ends");
        started.reap().expect("it has ended");
        let mut groups = String::new();
        File::from(started.stdout.take().expect("a pipe"))
            .read_to_string(&mut groups)
            .expect("output");
        let mut groups: Vec<&str> = groups.split_whitespace().collect();
        groups.sort_unstable();
        assert_eq!(groups, ["65530", "65531", "65532"]);
    }

    #[test]
    fn a_program_is_found_as_a_shell_would() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            fs::write(folder.join(name), "").expect("a file");
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode))
                .expect("a mode");
        }
        fs::create_dir(folder.join("inner")).expect("a folder");
        let path = format!("/nowhere:{folder}");
        let found = |name: &str| find(name, &path, folder).map(|file| file.display().to_string());
        assert_eq!(found("tool"), Some(format!("{folder}/tool")));
        assert_eq!(found("./tool"), Some(format!("{folder}/./tool")));
        assert_eq!(
            found(&format!("{folder}/tool")),
            Some(format!("{folder}/tool"))
        );
        for name in ["text", "inner", "./text", "", "gone"] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
