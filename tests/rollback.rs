//! Undoing: by itself when a step fails, and by `rollback RUN`.

use std::{fs, os::unix::fs::PermissionsExt};

use rusqlite::Connection;

use crate::harness::{Ended, PROGRAM, Sandbox, services::SystemdUser, until};

/// Changes a file, an env file with the service restarted, a database and a directory.
const PLAYBOOK: &str = r#"
playbook: change-everything
version: 1.0.0
title: Change one thing of each sort
inputs:
  folder: { type: path }
  then: { type: choice, of: ["true", "false"], default: "true" }
steps:
  - id: file
    title: Write a file
    file.write: { path: "{{ folder }}/app.conf", content: "new\n" }
  - id: env
    title: Set a variable
    file.set: { path: "{{ folder }}/app.env", format: env, key: GREETING, value: new }
  - id: restart
    title: Restart the service
    service: { name: app, state: restarted, stable_for: 100ms }
  - id: database
    title: Replace the database
    sqlite.replace: { database: "{{ folder }}/kv.db", with: "{{ folder }}/new.db" }
  - id: made
    title: Make a directory
    file.directory: { path: "{{ folder }}/made/below" }
  - id: moved
    title: Move a directory
    file.move: { from: "{{ folder }}/old", to: "{{ folder }}/made/old" }
  - id: last
    title: Succeed or fail
    command: { argv: ["{{ then }}"] }
    rollback: []
"#;

struct World {
    sandbox: Sandbox,
    systemd: SystemdUser,
}

impl World {
    fn new() -> World {
        let sandbox = Sandbox::new();
        sandbox.write("change-everything.yml", PLAYBOOK);
        let conf = sandbox.write("data/app.conf", "old\n");
        fs::set_permissions(conf, fs::Permissions::from_mode(0o640)).expect("a mode");
        let env = sandbox.write("data/app.env", "# greeting\nGREETING=old\nOTHER=1\n");
        sandbox.write("data/old/note", "a note\n");
        for (name, value) in [("kv.db", "old"), ("new.db", "new")] {
            let database =
                Connection::open(sandbox.path(&format!("data/{name}"))).expect("a database");
            let content =
                format!("CREATE TABLE kv (value TEXT); INSERT INTO kv VALUES ('{value}');");
            database.execute_batch(&content).expect("rows");
        }
        let systemd = SystemdUser::start(&sandbox);
        // What the process really runs with: it writes it down and stays.
        let running = sandbox.path("running");
        let script = format!("echo \"$$GREETING\" >{running}; exec sleep 1000");
        let unit = format!(
            "EnvironmentFile={env}\nExecStart=/bin/sh -c '{script}'\nKillMode=control-group"
        );
        systemd.unit("app", &unit);
        systemd.systemctl(&["start", "app"]).expect("started");
        let world = World { sandbox, systemd };
        until("the service runs on the old configuration", || {
            world.greeting() == "old"
        });
        world
    }

    fn runwright(&self, arguments: &[&str]) -> Ended {
        let mut program = self.systemd.program(&self.sandbox, PROGRAM, arguments);
        Ended::of(program.output().expect("it starts"))
    }

    /// Returns what the process that runs now was started with.
    fn greeting(&self) -> String {
        fs::read_to_string(self.sandbox.path("running"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    fn pid(&self) -> String {
        self.systemd
            .systemctl(&["show", "--property=MainPID", "app"])
            .expect("a pid")
    }

    fn row(&self) -> String {
        let database = Connection::open(self.sandbox.path("data/kv.db")).expect("a database");
        database
            .query_row("SELECT value FROM kv", [], |row| row.get(0))
            .expect("a row")
    }
}

#[test]
fn when_the_last_step_fails_all_is_undone_and_the_running_service_has_its_old_configuration() {
    let world = World::new();
    let (before, pid) = (world.sandbox.tree("data"), world.pid());
    let folder = format!("folder={}", world.sandbox.path("data"));
    let arguments = [
        "run",
        "./change-everything.yml",
        "--yes",
        "--output",
        "json",
        "--set",
        &folder,
        "--set",
        "then=false",
    ];
    let ended = world.runwright(&arguments).code(1);
    assert_eq!(ended.summary()["outcome"], "rolled_back");
    assert_eq!(world.sandbox.tree("data"), before, "byte for byte");
    until("the old configuration runs", || world.greeting() == "old");
    assert_ne!(world.pid(), pid, "by a restart");
    assert_eq!(
        world.systemd.systemctl(&["is-active", "app"]),
        Ok("active".to_owned())
    );
    world.sandbox.verified_journal();
}

#[test]
fn rollback_of_a_run_that_succeeded_undoes_all_of_it() {
    let world = World::new();
    let before = world.sandbox.tree("data");
    let folder = format!("folder={}", world.sandbox.path("data"));
    world
        .runwright(&["run", "./change-everything.yml", "--yes", "--set", &folder])
        .code(0);
    until("the new configuration runs", || world.greeting() == "new");
    assert_eq!(world.row(), "new");
    assert!(world.sandbox.path("data/made/old/note").exists());
    world.runwright(&["rollback", "last"]).code(3).says("--yes");
    world.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(world.sandbox.tree("data"), before, "byte for byte");
    until("the old configuration runs", || world.greeting() == "old");
    world
        .runwright(&["rollback", "last", "--yes"])
        .says("nothing to undo");
    world.sandbox.verified_journal();
}

#[test]
fn what_somebody_has_changed_since_is_left_alone_and_named() {
    let sandbox = Sandbox::new();
    let one = sandbox.write("data/one", "old\n");
    let two = sandbox.write("data/two", "old\n");
    sandbox.write(
        "two.yml",
        "
playbook: two
version: 1.0.0
title: Write two files
inputs:
  folder: { type: path }
steps:
  - id: one
    title: Write the first
    file.write: { path: \"{{ folder }}/one\", content: \"new\\n\" }
  - id: two
    title: Write the second
    file.write: { path: \"{{ folder }}/two\", content: \"new\\n\" }
",
    );
    let folder = format!("folder={}", sandbox.path("data"));
    sandbox
        .runwright(&["run", "./two.yml", "--yes", "--set", &folder])
        .code(0);
    fs::write(&one, "by hand\n").expect("a change by hand");
    sandbox
        .runwright(&["rollback", "last", "--yes"])
        .code(5)
        .says(one.as_str());
    assert_eq!(fs::read_to_string(&one).expect("a file"), "by hand\n");
    assert_eq!(fs::read_to_string(&two).expect("a file"), "old\n");
}

#[test]
fn a_run_that_died_in_always_after_its_work_was_done_is_undone_as_well() {
    let mut sandbox = Sandbox::new();
    let one = sandbox.write("data/one", "old\n");
    sandbox.write(
        "one.yml",
        "
playbook: one
version: 1.0.0
title: Write a file
steps:
  - id: one
    title: Write it
    file.write: { path: data/one, content: \"new\\n\" }
always:
  - id: say
    title: Say that it is over
    unless: { file.stat: { path: over }, that: result.exists }
    command: { argv: [touch, over] }
",
    );
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-before:2");
    let ended = sandbox.runwright(&["run", "./one.yml", "--yes"]);
    assert_eq!(ended.code, 128 + 9, "{ended:?}");
    assert_eq!(fs::read_to_string(&one).expect("a file"), "new\n");
    sandbox.set_env("RUNWRIGHT_FAULT", "perform-before:1000");
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(fs::read_to_string(&one).expect("a file"), "old\n");
    assert!(sandbox.path("over").exists(), "what was due before is done");
    sandbox.verified_journal();
}
