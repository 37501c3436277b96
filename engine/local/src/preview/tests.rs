use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::Arc,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    diagnostic::Source,
    event::{Begun, FailOn, Previewed, VERSION},
    kind::{Children, Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    language,
    plan::{Plan, check_inputs},
    preview::{Decision, Fidelity, Planned, Preview, Probe, Then, Undo},
    units::Span,
    value::{Fields, Secret, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LIMIT, PreviewAround, preview};
use crate::{
    run::{Clock, Vault},
    testing::Sandbox,
};

/// A preview in the making.
struct Bench {
    sandbox: Sandbox,
    kinds: Vec<Kind>,
    vault: Arc<Vault>,
    inputs: Fields,
    probe: Probe,
    limit: Span,
    failures: bool,
}

impl Bench {
    fn new() -> Bench {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("work")).expect("a folder");
        let mut kinds = runwright_steps::kinds();
        kinds.extend([HANG, PANIC, UNREACHABLE, DENIED]);
        Bench {
            sandbox,
            kinds,
            vault: Arc::default(),
            inputs: Fields::new(),
            probe: Probe::All,
            limit: LIMIT,
            failures: false,
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.sandbox.path("work").join(name)
    }

    fn write(&self, name: &str, content: &str) -> Utf8PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the folder is ours");
        path
    }

    fn plan(&self, yaml: &str) -> Plan {
        let yaml = yaml.replace("$W", self.path("").as_str().trim_end_matches('/'));
        let source = Source::new("test.yml", yaml.clone());
        let (playbook, problems) = language::read(&source, None, &self.kinds);
        let playbook = playbook.unwrap_or_else(|| panic!("{problems:#?}\n{yaml}"));
        let called = Source::new("called.yml", CALLED);
        let (called, problems) = language::read(&called, None, &self.kinds);
        let called = Arc::new(called.unwrap_or_else(|| panic!("{problems:#?}")));
        language::link(&Arc::new(playbook), &mut |_, _| Ok(called.clone()))
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Previews a playbook with these steps; `$W` is the folder of the test.
    fn preview(&self, steps: &str) -> Preview {
        self.preview_of(&format!(
            "playbook: test\nversion: 1.0.0\ntitle: A test\n{steps}"
        ))
    }

    fn preview_of(&self, yaml: &str) -> Preview {
        self.look(yaml).0
    }

    fn look(&self, yaml: &str) -> (Preview, Previewed) {
        let plan = self.plan(yaml);
        let inputs = check_inputs(&plan.root().inputs, &self.inputs).expect("the inputs");
        let env = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        let begun = Begun {
            version: VERSION,
            engine: "0.1.0".to_owned(),
            run: "previewrun00".into(),
            playbook: plan.root().name.clone(),
            playbook_version: plan.root().version.clone(),
            title: plan.root().title.clone(),
            path: plan.root().path.clone(),
            texts: BTreeMap::new(),
            inputs,
            sources: BTreeMap::new(),
            user: "somebody".to_owned(),
            account: "somebody".to_owned(),
            host: "here".to_owned(),
            machine: String::new(),
            children: Children {
                env,
                cwd: self.path(""),
                umask: 0o022,
            },
            undoes: None,
            continues: None,
            attended: false,
            yes: false,
            fail_on: FailOn::default(),
            unseen: None,
        };
        let around = PreviewAround {
            kinds: Arc::new(self.kinds.iter().map(|kind| (kind.name, *kind)).collect()),
            vault: self.vault.clone(),
            clock: Arc::new(Clock::system()),
            probe: self.probe,
            limit: self.limit,
            locks: self.path("locks"),
            journal: None,
            failures: self.failures,
        };
        let before = snapshot(&self.sandbox.path(""));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (preview, previewed) = runtime.block_on(preview(Arc::new(plan), begun, around));
        runtime.shutdown_background();
        assert_eq!(
            before,
            snapshot(&self.sandbox.path("")),
            "something changed"
        );
        (preview, previewed)
    }
}

/// Returns everything below `folder`: kind, mode, owner, time of change and content.
fn snapshot(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().expect("a folder") {
            let path = entry.expect("an entry").into_path();
            let meta = path.symlink_metadata().expect("it is there");
            let content = match meta.is_file() {
                true => format!("{:?}", fs::read(&path).expect("a file")),
                false => String::new(),
            };
            let line = format!(
                "{:o} {} {}.{} {content}",
                meta.permissions().mode(),
                meta.uid(),
                meta.mtime(),
                meta.mtime_nsec(),
            );
            if meta.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, line);
        }
    }
    found
}

fn step<'p>(preview: &'p Preview, key: &str) -> &'p Planned {
    preview
        .steps
        .iter()
        .find(|step| step.step == key)
        .unwrap_or_else(|| panic!("no step `{key}` in {preview:#?}"))
}

fn decisions(preview: &Preview) -> Vec<(&str, Decision)> {
    preview
        .steps
        .iter()
        .map(|step| (step.step.as_str(), step.decision))
        .collect()
}

fn found<'p>(step: &'p Planned, name: &str) -> Option<&'p str> {
    step.found
        .iter()
        .find(|detail| detail.name == name)
        .map(|detail| detail.text.as_str())
}

/// What every `call` calls.
const CALLED: &str = r#"
playbook: called
version: 1.0.0
title: Called
inputs: { level: { type: integer } }
guards:
  - file.stat: { path: /tmp }
    that: result.exists
  - { that: level > 3, else: "level {{ level }} is too low" }
steps:
  - id: inner
    title: Level {{ level }}
    command: { argv: [echo, "{{ level }}"] }
    rollback: []
always:
  - id: last
    title: Last
    file.stat: { path: /tmp }
outputs:
  told: inner.stdout
"#;

const HANG: Kind = Kind::of::<Hang>("test.hang");
const PANIC: Kind = Kind::of::<Panic>("test.panic");
const UNREACHABLE: Kind = Kind::of::<Unreachable>("test.unreachable");
const DENIED: Kind = Kind::of::<Denied>("test.denied");

/// What the test kinds answer.
#[derive(Serialize, JsonSchema)]
struct Answered {
    /// A number.
    value: i64,
}

macro_rules! reading {
    ($name:ident, $doc:literal, $look:expr) => {
        #[doc = $doc]
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {}

        impl Step for $name {
            type Output = Answered;
            type Before = ();
            type Undo = NoUndo;
            const EFFECT: Effect = Effect::Read;

            fn touches(&self) -> Vec<Touch> {
                vec![Touch::reads("host")]
            }

            fn describe(&self) -> Description {
                Description::new(stringify!($name))
            }

            async fn look(&self, _: &Cx) -> Result<Look<Answered, ()>, Failure> {
                $look
            }

            fn undo(&self, (): &()) -> Option<NoUndo> {
                None
            }

            async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<Answered, Failure> {
                panic!("a preview acted");
            }
        }
    };
}

reading!(Hang, "Never answers.", std::future::pending().await);
reading!(
    Denied,
    "Is not allowed to look.",
    Err(Failure::internal("read `/srv/secret`").because(&std::io::Error::from_raw_os_error(13)))
);
reading!(Panic, "Breaks off.", panic!("a mistake in the kind"));
reading!(
    Unreachable,
    "Reaches nobody.",
    Err(Failure::new(
        runwright_core::kind::Class::Transport,
        "reach it"
    ))
);

#[test]
fn a_command_never_runs_and_is_shown_in_full() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: touch
    title: Touch a marker
    command: { argv: [touch, $W/marker], env: { LEVEL: high } }
    irreversible: the marker stays
  - id: looks
    title: Only asks
    command: { argv: [touch, $W/other] }
    effect: read
"#,
    );
    assert!(!bench.path("marker").exists() && !bench.path("other").exists());
    let touch = step(&preview, "touch");
    assert_eq!(touch.decision, Decision::Runs);
    assert_eq!(touch.fidelity, Fidelity::Exact);
    assert!(format!("{touch:?}").contains("marker"), "{touch:#?}");
    assert_eq!(preview.head.counts.runs.change, 1);
    assert_eq!(preview.head.counts.runs.read, 1);
    assert_eq!(preview.head.undo.not, 1);
    assert!(preview.head.stop.is_none(), "{:?}", preview.head.stop);
}

#[test]
fn a_file_change_is_simulated_with_its_diff_and_one_that_is_there_is_already() {
    let bench = Bench::new();
    bench.write("same", "x\n");
    bench.write("conf", "level = 1\n");
    let preview = bench.preview(
        r#"
steps:
  - id: same
    title: Already so
    file.write: { path: $W/same, content: "x\n" }
  - id: conf
    title: Raise it
    file.write: { path: $W/conf, content: "level = 2\n" }
"#,
    );
    assert_eq!(step(&preview, "same").decision, Decision::Already);
    let conf = step(&preview, "conf");
    assert_eq!(conf.fidelity, Fidelity::Simulated);
    let diff = conf.diff.as_deref().expect("a diff");
    assert!(
        diff.contains("-level = 1") && diff.contains("+level = 2"),
        "{diff}"
    );
    assert!(matches!(conf.undo, Undo::ByItself { .. }));
    assert_eq!(preview.head.counts.already, 1);
    assert_eq!(preview.head.undo.by_itself, 1);
}

#[test]
fn what_a_step_before_touches_is_shown_as_now_and_decides_nothing() {
    let bench = Bench::new();
    bench.write("conf", "old");
    bench.write("else", "12345");
    let preview = bench.preview(
        r#"
steps:
  - id: first
    title: Read it
    file.read: { path: $W/conf }
  - id: change
    title: Change it
    file.write: { path: $W/conf, content: new }
  - id: again
    title: Read it again
    file.read: { path: $W/conf }
    expect: [{ that: result.text == "new" }]
  - id: beside
    title: Read something else
    file.stat: { path: $W/else }
  - id: maybe
    title: Depends on it
    when: again.text == "new"
    file.write: { path: $W/else, content: six }
  - id: after
    title: Depends on what may run
    when: maybe.ran
    file.write: { path: $W/third, content: x }
  - id: sure
    title: Depends on the first
    when: first.text == "other"
    file.write: { path: $W/fourth, content: x }
"#,
    );
    assert_eq!(step(&preview, "first").fidelity, Fidelity::Probed);
    let again = step(&preview, "again");
    assert_eq!(again.fidelity, Fidelity::Unknown);
    assert_eq!(again.after.as_deref(), Some("step `change`"));
    assert_eq!(found(again, "text"), Some("old"));
    assert_eq!(step(&preview, "beside").fidelity, Fidelity::Probed);
    assert_eq!(
        decisions(&preview)[4..],
        [
            ("maybe", Decision::MayRun),
            ("after", Decision::MayRun),
            ("sure", Decision::Skipped)
        ]
    );
    assert_eq!(
        step(&preview, "after").after.as_deref(),
        Some("step `change`")
    );
    assert!(preview.head.stop.is_none(), "{:?}", preview.head.stop);
    assert_eq!(preview.head.counts.may_run.change, 2);
}

#[test]
fn a_change_through_a_link_is_a_change_of_what_it_leads_to() {
    let bench = Bench::new();
    fs::create_dir(bench.path("real")).expect("a folder");
    bench.write("real/conf", "old");
    std::os::unix::fs::symlink(bench.path("real"), bench.path("link")).expect("a link");
    let preview = bench.preview(
        r#"
steps:
  - id: change
    title: Change it
    file.write: { path: $W/link/conf, content: new }
  - id: read
    title: Read it
    file.read: { path: $W/real/conf }
"#,
    );
    assert_eq!(step(&preview, "read").fidelity, Fidelity::Unknown);
}

#[test]
fn a_certain_failure_stops_the_preview_and_says_what_would_be_undone() {
    let bench = Bench::new();
    bench.write("conf", "old");
    bench.write("few", "1");
    let preview = bench.preview(
        r#"
steps:
  - id: change
    title: Change it
    file.write: { path: $W/conf, content: new }
  - id: check
    title: Check it
    file.read: { path: $W/few }
    expect: [{ that: result.text == "2", else: "it is {{ result.text }}" }]
  - id: never
    title: Never comes
    group:
      - id: inner
        title: Nor this
        file.write: { path: $W/few, content: x }
always:
  - id: last
    title: Runs last
    file.stat: { path: $W/few }
"#,
    );
    let stop = preview.head.stop.as_ref().expect("it stops");
    assert_eq!(stop.step, "check");
    assert_eq!(stop.then, Then::RollBack);
    assert!(stop.why.contains("it is 1"), "{}", stop.why);
    assert_eq!(stop.undoes.len(), 1, "{:?}", stop.undoes);
    assert_eq!(stop.undoes[0].name, "change");
    assert_eq!(
        decisions(&preview)[1..],
        [
            ("check", Decision::Fails),
            ("never", Decision::NotReached),
            ("inner", Decision::NotReached),
            ("last", Decision::MayRun),
        ]
    );
}

#[test]
fn a_guard_that_does_not_hold_refuses_and_one_that_holds_is_shown_with_its_values() {
    let bench = Bench::new();
    bench.write("conf", "old");
    let preview = bench.preview(
        r#"
vars: { level: "3" }
guards:
  - file.stat: { path: $W/conf }
    that: result.exists
steps:
  - id: fine
    title: Goes
    guards:
      - that: level == 3
      - file.stat: { path: $W/conf }
        that: result.type == "file"
    file.write: { path: $W/a, content: x }
  - id: bad
    title: Does not go
    guards: [{ that: level > 5, else: "the level is only {{ level }}" }]
    file.write: { path: $W/b, content: x }
"#,
    );
    assert_eq!(preview.head.guards[0].holds, Some(true));
    let fine = step(&preview, "fine");
    assert_eq!(fine.guards[0].holds, Some(true));
    assert!(
        fine.guards[0].why.contains("level = 3"),
        "{:?}",
        fine.guards
    );
    assert_eq!(fine.guards[1].holds, Some(true));
    let bad = step(&preview, "bad");
    assert_eq!(bad.decision, Decision::Refused);
    assert!(bad.guards[0].why.contains("only 3"), "{:?}", bad.guards);
    assert_eq!(
        preview.head.stop.as_ref().map(|stop| &*stop.step),
        Some("bad")
    );
}

#[test]
fn a_playbook_whose_guard_does_not_hold_is_refused_before_its_first_step() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
guards:
  - file.stat: { path: $W/none }
    that: result.exists
    else: there is no file
steps:
  - id: one
    title: One
    file.stat: { path: $W/none }
"#,
    );
    let stop = preview.head.stop.as_ref().expect("it stops");
    assert_eq!((&*stop.step, stop.then), ("", Then::Refused));
    assert!(stop.why.contains("there is no file"), "{}", stop.why);
    assert_eq!(preview.head.guards[0].holds, Some(false));
    assert_eq!(decisions(&preview), [("one", Decision::NotReached)]);
}

#[test]
fn what_hangs_breaks_off_or_is_not_reached_is_unknown_with_the_reason_and_the_rest_is_shown() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: hang
    title: Hangs
    test.hang: {}
    timeout: 50ms
    expect: [{ that: result.value > 3 }]
  - id: broken
    title: Breaks off
    test.panic: {}
  - id: away
    title: Is not reached
    test.unreachable: {}
  - id: depends
    title: Depends on it
    when: hang.value > 3 and away.value > 3
    file.stat: { path: $W/x }
  - id: fine
    title: Fine
    file.stat: { path: $W/x }
"#,
    );
    for (key, reason) in [
        ("hang", "within 50ms"),
        ("broken", "broke off"),
        ("away", "reach it"),
    ] {
        let step = step(&preview, key);
        assert_eq!(step.decision, Decision::Runs, "{key}");
        assert_eq!(step.fidelity, Fidelity::Unknown, "{key}");
        let problem = step.problem.as_deref().expect(key);
        assert!(problem.contains(reason), "{problem}");
    }
    assert_eq!(step(&preview, "depends").decision, Decision::MayRun);
    assert_eq!(step(&preview, "fine").fidelity, Fidelity::Probed);
    assert!(preview.head.stop.is_none(), "{:?}", preview.head.stop);
}

#[test]
fn an_unknown_choice_enters_every_branch_that_is_not_ruled_out() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
vars: { level: "3" }
steps:
  - id: act
    title: Acts
    command: { argv: [echo, hello] }
    irreversible: nothing to undo
  - id: which
    title: Depends on it
    choose:
      - when: level == 4
        steps: [{ id: never, title: Never, file.stat: { path: $W/x } }]
      - when: act.exit == 0
        steps: [{ id: good, title: Good, file.write: { path: $W/x, content: x } }]
      - otherwise: [{ id: bad, title: Bad, file.stat: { path: $W/x } }]
  - id: sure
    title: Known
    choose:
      - when: level == 4
        steps: [{ id: four, title: Four, file.stat: { path: $W/x } }]
      - when: level == 3
        steps: [{ id: three, title: Three, file.stat: { path: $W/y } }]
"#,
    );
    assert_eq!(
        decisions(&preview),
        [
            ("act", Decision::Runs),
            ("which", Decision::Runs),
            ("good", Decision::MayRun),
            ("bad", Decision::MayRun),
            ("sure", Decision::Runs),
            ("three", Decision::Runs),
        ]
    );
}

#[test]
fn a_loop_over_what_is_not_known_is_one_round_that_may_run() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: listed
    title: Lists
    command: { argv: [ls] }
    irreversible: no
  - id: each
    title: Goes through it
    foreach:
      in: listed.stdout | split("\n")
      steps:
        - id: one
          title: Remove {{ item }}
          file.delete: { path: "$W/{{ item }}" }
  - id: known
    title: Goes through what is known
    foreach:
      in: [a, b]
      key: item
      steps:
        - id: two
          title: Stat {{ item }}
          file.stat: { path: "$W/{{ item }}" }
"#,
    );
    assert_eq!(
        decisions(&preview),
        [
            ("listed", Decision::Runs),
            ("each", Decision::Runs),
            ("each[?]/one", Decision::MayRun),
            ("known", Decision::Runs),
            ("known[a]/two", Decision::Runs),
            ("known[b]/two", Decision::Runs),
        ]
    );
    let one = step(&preview, "each[?]/one");
    assert_eq!(one.fidelity, Fidelity::Unknown);
    assert_eq!(one.after.as_deref(), Some("step `listed`"));
    assert_eq!(
        step(&preview, "known[b]/two").title.as_deref(),
        Some("Stat b")
    );
}

#[test]
fn a_called_playbook_is_shown_inside_its_call() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: good
    title: High enough
    call: { playbook: called, with: { level: 4 } }
  - id: uses
    title: Uses it
    when: good.told == "4"
    file.stat: { path: $W/x }
  - id: bad
    title: Too low
    call: { playbook: called, with: { level: 3 } }
"#,
    );
    assert_eq!(
        decisions(&preview),
        [
            ("good", Decision::Runs),
            ("good/inner", Decision::Runs),
            ("good/last", Decision::MayRun),
            ("uses", Decision::MayRun),
            ("bad", Decision::Refused),
            ("bad/inner", Decision::NotReached),
            ("bad/last", Decision::MayRun),
        ]
    );
    let notes = step(&preview, "good").notes.join("\n");
    assert!(notes.contains("called playbook: it holds"), "{notes}");
    let inner = step(&preview, "good/inner");
    assert_eq!((inner.depth, inner.title.as_deref()), (1, Some("Level 4")));
    let stop = preview.head.stop.as_ref().expect("it stops");
    assert!(stop.why.contains("level 3 is too low"), "{}", stop.why);
}

#[test]
fn what_would_fail_in_a_step_that_only_may_run_stops_nothing() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: act
    title: Acts
    command: { argv: [ls] }
    irreversible: no
  - id: maybe
    title: Perhaps
    when: act.exit == 0
    guards: [{ that: 1 > 2 }]
    file.write: { path: $W/x, content: x }
  - id: uses
    title: Uses it
    when: maybe.changed
    set: { x: maybe.path }
"#,
    );
    let maybe = step(&preview, "maybe");
    assert_eq!(maybe.decision, Decision::MayRun);
    assert!(
        maybe
            .problem
            .as_deref()
            .is_some_and(|why| why.contains("refused")),
        "{maybe:#?}"
    );
    assert_eq!(step(&preview, "uses").decision, Decision::MayRun);
    assert!(preview.head.stop.is_none(), "{:?}", preview.head.stop);
}

#[test]
fn questions_confirms_and_the_point_of_no_return_stand_in_the_head() {
    let bench = Bench::new();
    bench.write("old", "content");
    let preview = bench.preview(
        r#"
steps:
  - id: which
    title: Which one
    ask: { name: { type: string } }
  - id: walk
    title: Walk to it
    manual: Pull the plug.
  - id: told
    title: If they said so
    when: walk.remark == "done"
    file.stat: { path: $W/x }
  - id: remove
    title: Remove it
    confirm: { message: "Remove {{ before.bytes }}?", phrase: old }
    file.delete: { path: $W/old, keep: 0s }
    irreversible: it is gone
  - id: named
    title: Say {{ which.name }}
    notify: { to: terminal, message: "it was {{ which.name }}" }
"#,
    );
    let head = &preview.head;
    assert_eq!(head.questions.len(), 2, "{head:#?}");
    assert_eq!(head.questions[0].values, ["name"]);
    assert_eq!(head.questions[1].message, "Pull the plug.");
    assert_eq!(step(&preview, "told").decision, Decision::MayRun);
    assert_eq!(head.confirms.len(), 1, "{head:#?}");
    assert_eq!(head.confirms[0].phrase.as_deref(), Some("old"));
    assert_eq!(head.point_of_no_return.as_deref(), Some("remove"));
    assert_eq!(head.counts.runs.destroy, 1);
    assert!(head.stop.is_none(), "{:?}", head.stop);
}

#[test]
fn a_missing_program_is_told_and_the_steps_are_shown_all_the_same() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
requires: { sh: "*", runwright-none-such: "*" }
steps:
  - id: one
    title: One
    file.stat: { path: $W/x }
"#,
    );
    let there: Vec<_> = preview
        .head
        .requires
        .iter()
        .map(|required| (&*required.program, required.there))
        .collect();
    assert_eq!(
        there,
        [("sh", Some(true)), ("runwright-none-such", Some(false))]
    );
    assert_eq!(
        preview.head.stop.as_ref().map(|stop| stop.then),
        Some(Then::Refused)
    );
    assert_eq!(decisions(&preview), [("one", Decision::Runs)]);
}

#[test]
fn offline_nothing_is_looked_at() {
    let mut bench = Bench::new();
    bench.probe = Probe::Offline;
    bench.limit = Span::from_seconds(3_600);
    let preview = bench.preview(
        r#"
requires: { sh: "*" }
steps:
  - id: hang
    title: Would hang
    test.hang: {}
  - id: write
    title: Writes
    file.write: { path: $W/x, content: x }
"#,
    );
    assert_eq!(preview.head.requires[0].there, None);
    assert_eq!(step(&preview, "hang").fidelity, Fidelity::Unknown);
    let write = step(&preview, "write");
    assert_eq!(write.fidelity, Fidelity::Unknown);
    assert_eq!((&write.change, &write.diff), (&None, &None));
}

#[test]
fn an_until_that_does_not_hold_yet_is_asked_once() {
    let bench = Bench::new();
    let preview = bench.preview(
        r#"
steps:
  - id: appears
    title: Wait for it
    file.stat: { path: $W/x }
    until: result.exists
    every: 1s
    within: 5m
  - id: then
    title: Then
    when: appears.exists
    file.stat: { path: $W/y }
"#,
    );
    let appears = step(&preview, "appears");
    assert_eq!(appears.fidelity, Fidelity::Unknown);
    assert_eq!(found(appears, "exists"), Some("false"));
    assert!(
        appears
            .until
            .as_deref()
            .is_some_and(|words| words.contains("5m"))
    );
    assert_eq!(step(&preview, "then").decision, Decision::MayRun);
}

#[test]
fn no_secret_shows_in_a_preview() {
    let mut bench = Bench::new();
    bench.vault.keep("input token", "hunter2hunter2".to_owned());
    bench.inputs.insert(
        "token".to_owned(),
        Value::Secret(Secret::handle("input token")),
    );
    bench.write("conf", "token = hunter2hunter2\nlevel = 1\n");
    let preview = bench.preview(
        r#"
inputs: { token: { type: secret } }
steps:
  - id: read
    title: Read it
    file.read: { path: $W/conf }
  - id: write
    title: Write it
    file.write: { path: $W/conf, content: "token = {{ token }}\nlevel = 2\n" }
  - id: act
    title: Run it with {{ token }}
    command: { argv: [env], env: { TOKEN: "{{ token }}" } }
    irreversible: no
"#,
    );
    let text = serde_json::to_string(&preview).expect("plain data");
    assert!(!text.contains("hunter2"), "{text}");
    let diff = step(&preview, "write").diff.as_deref().expect("a diff");
    assert!(
        diff.contains("+level = 2") && !diff.contains("+token"),
        "{diff}"
    );
}

#[test]
fn a_request_that_the_playbook_calls_a_change_is_never_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("a port").port();
    let bench = Bench::new();
    let preview = bench.preview(&format!(
        r#"
steps:
  - id: trigger
    title: Trigger it
    http.request: {{ url: "http://127.0.0.1:{port}/restart", json: null }}
    effect: change
    irreversible: it has restarted
  - id: send
    title: Post it
    http.request: {{ url: "http://127.0.0.1:{port}/restart", method: POST, json: null }}
    effect: read
"#
    ));
    assert_eq!(step(&preview, "trigger").decision, Decision::Runs);
    assert_eq!(step(&preview, "send").decision, Decision::Runs);
    let error = listener.accept().expect_err("nobody has called");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn nothing_of_the_preview_but_one_function_calls_a_kind() {
    let sources = [
        ("preview.rs", include_str!("../preview.rs")),
        ("driver.rs", include_str!("driver.rs")),
        ("facts.rs", include_str!("facts.rs")),
        ("failing.rs", include_str!("failing.rs")),
        ("locks.rs", include_str!("locks.rs")),
        ("record.rs", include_str!("record.rs")),
        ("planned.rs", include_str!("planned.rs")),
        ("seek.rs", include_str!("seek.rs")),
        ("touched.rs", include_str!("touched.rs")),
        ("tree.rs", include_str!("tree.rs")),
        ("words.rs", include_str!("words.rs")),
    ];
    for (name, source) in sources {
        for call in [".open)", ".open_undo)", ".look(&cx", ".keep(", "reveal("] {
            assert!(!source.contains(call), "{name} has `{call}`");
        }
        // `perform` of the driver itself pretends only.
        assert!(!source.contains("action.perform"), "{name}");
    }
    let only = include_str!("only.rs");
    assert_eq!(only.matches(".look(").count(), 1);
    assert_eq!(only.matches(".undo(").count(), 1);
    assert_eq!(only.matches("reveal(").count(), 1);
    for call in [".perform(", ".keep(", "open_undo"] {
        assert!(!only.contains(call), "only.rs has `{call}`");
    }
}

#[test]
fn the_preview_of_every_kind_changes_nothing() {
    let bench = Bench::new();
    let database = bench.path("kv.db");
    make_database(&database);
    make_database(&bench.path("salvaged.db"));
    bench.write("conf", "level = 1\n");
    bench.write("log.old", "line\n");
    fs::create_dir(bench.path("folder")).expect("a folder");
    let examples = BTreeMap::from([
        ("command", "{ argv: [touch, $W/marker] }"),
        ("shell", "{ script: 'echo x > $W/marker' }"),
        ("file.stat", "{ path: $W/conf }"),
        ("file.find", "{ paths: '$W/*' }"),
        ("file.read", "{ path: $W/conf }"),
        ("file.write", "{ path: $W/conf, content: new }"),
        (
            "file.set",
            "{ path: $W/conf, format: conf, key: level, value: '2' }",
        ),
        ("file.copy", "{ from: $W/conf, to: $W/copy }"),
        ("file.move", "{ from: $W/conf, to: $W/moved }"),
        ("file.delete", "{ path: $W/log.old }"),
        ("file.directory", "{ path: $W/new }"),
        ("sqlite.check", "{ database: $W/kv.db, depth: full }"),
        ("sqlite.checkpoint", "{ database: $W/kv.db }"),
        ("sqlite.backup", "{ database: $W/kv.db, to: $W/backup.db }"),
        (
            "sqlite.replace",
            "{ database: $W/kv.db, with: $W/salvaged.db }",
        ),
        ("sqlite.reindex", "{ database: $W/kv.db }"),
        ("sqlite.lockers", "{ database: $W/kv.db }"),
        ("service.status", "{ name: runwright-none-such }"),
        ("service", "{ name: runwright-none-such, state: started }"),
        ("system.disk", "{}"),
        ("system.memory", "{}"),
        ("system.load", "{}"),
        ("system.processes", "{}"),
        (
            "http.request",
            "{ url: 'http://127.0.0.1:9/', method: POST, json: null }",
        ),
        ("net.connect", "{ host: 127.0.0.1, port: 9 }"),
    ]);
    for kind in runwright_steps::kinds() {
        let arguments = examples
            .get(kind.name)
            .unwrap_or_else(|| panic!("`{}` needs an example here", kind.name));
        let undo = match kind.effect {
            Effect::Read => "",
            _ => "\n    rollback: []",
        };
        // The database is one that a live process works with: it must not be disturbed either.
        let connection = rusqlite::Connection::open(&database).expect("the database");
        connection
            .execute_batch("PRAGMA journal_mode = wal; INSERT INTO t VALUES (2);")
            .expect("a write");
        let preview = bench.preview(&format!(
            "steps:\n  - id: one\n    title: One\n    {}: {arguments}{undo}\n",
            kind.name
        ));
        assert_eq!(preview.steps.len(), 1, "{}", kind.name);
        assert!(!bench.path("marker").exists());
        assert!(
            preview.steps[0].action.is_some(),
            "`{}` is not described: {preview:#?}",
            kind.name
        );
    }
}

fn make_database(path: &Utf8Path) {
    rusqlite::Connection::open(path)
        .and_then(|database| database.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))
        .expect("a database");
}

/// Returns what failing at `step` would come to: how the run stands then, and the undos in a line each.
fn failing(preview: &Preview, step: &str) -> (Then, String, Vec<String>, Vec<String>) {
    let failure = preview.failures.iter().find(|failure| failure.step == step);
    let failure = failure.unwrap_or_else(|| panic!("`{step}`: {:#?}", preview.failures));
    let undoes = failure.undoes.iter().map(|undoing| {
        let perhaps = if undoing.certain { "" } else { "?" };
        let steps = undoing.steps.join("+");
        format!("{}{perhaps} {:?} {steps}", undoing.step, undoing.by)
    });
    let stays = failure.stays.iter().map(|stays| stays.name.clone());
    (
        failure.then,
        failure.outcome.clone(),
        undoes.map(|line| line.trim().to_owned()).collect(),
        stays.collect(),
    )
}

#[test]
fn each_failure_undoes_what_the_machine_has_registered_by_then_newest_first() {
    let bench = Bench {
        failures: true,
        ..Bench::new()
    };
    bench.write("old", "content");
    bench.write("gone", "content");
    let preview = bench.preview(
        r#"
steps:
  - id: look
    title: Look
    file.stat: { path: $W/old }
  - id: write
    title: Write
    file.write: { path: $W/new, content: x }
  - id: hand
    title: By hand
    command: { argv: [touch, a] }
    rollback:
      - id: remove
        title: Remove a
        command: { argv: [rm, a] }
      - id: check
        title: Look again
        file.stat: { path: $W/a }
  - id: maybe
    title: Perhaps
    when: hand.stdout == "x"
    file.write: { path: $W/maybe, content: x }
  - id: passed
    title: Passed over
    on_failure: continue
    command: { argv: [touch, b] }
    rollback: []
  - id: kept
    title: Kept as it is
    on_failure: stop
    command: { argv: [touch, c] }
    rollback: []
  - id: once
    title: Once only
    command: { argv: [send, mail] }
    irreversible: it is sent
  - id: point
    title: No way back
    confirm: Sure?
    file.delete: { path: $W/gone, keep: 0s }
    irreversible: it is gone
  - id: after
    title: After it
    file.stat: { path: $W/old }
always:
  - id: last
    title: Last
    file.stat: { path: $W/old }
"#,
    );
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let rolled = |undoes: &[&str]| {
        (
            Then::RollBack,
            "rolled_back".to_owned(),
            texts(undoes),
            Vec::new(),
        )
    };
    let nothing = (Then::RollBack, "failed".to_owned(), Vec::new(), Vec::new());
    assert_eq!(failing(&preview, "look"), nothing);
    assert_eq!(failing(&preview, "write"), rolled(&["write Itself"]));
    let by_hand = ["hand Steps Remove a+Look again", "write Itself"];
    assert_eq!(failing(&preview, "hand"), rolled(&by_hand));
    let maybe = ["maybe? Itself", by_hand[0], by_hand[1]];
    assert_eq!(failing(&preview, "maybe"), rolled(&maybe));
    let goes_on = (Then::GoesOn, String::new(), Vec::new(), Vec::new());
    assert_eq!(failing(&preview, "passed"), goes_on);
    let (then, outcome, undoes, stays) = failing(&preview, "kept");
    assert_eq!((then, outcome.as_str()), (Then::Stop, "stopped"));
    assert_eq!(
        (undoes.len(), stays),
        (0, texts(&["maybe", "hand", "write"]))
    );
    let (then, outcome, undoes, stays) = failing(&preview, "once");
    assert_eq!(
        (then, outcome.as_str()),
        (Then::RollBack, "rollback_incomplete")
    );
    assert_eq!((undoes, stays), (texts(&maybe), texts(&["once"])));
    // Past the point of no return a failure stops, and a person decides.
    let (then, _, undoes, stays) = failing(&preview, "after");
    assert_eq!((then, undoes.len()), (Then::Stop, 0));
    assert_eq!(stays, ["point", "once", "maybe", "hand", "write"]);
    assert!(
        preview
            .failures
            .iter()
            .all(|failure| failure.step != "last")
    );
    assert!(preview.head.stop.is_none(), "{:?}", preview.head.stop);
}

#[test]
fn what_failures_come_to_is_worked_out_only_where_it_is_asked_for() {
    let preview = Bench::new().preview(
        "steps:\n  - id: write\n    title: Write\n    file.write: { path: $W/new, content: x }\n",
    );
    assert_eq!(preview.failures, []);
}

#[test]
fn locks_stand_in_the_head_with_who_has_them_and_nothing_is_made_for_it() {
    let bench = Bench::new();
    let yaml = r#"
playbook: test
version: 1.0.0
title: A test
locks: ["free", "taken"]
steps:
  - id: one
    title: One
    file.write: { path: $W/new, content: x }
"#;
    let preview = bench.preview_of(yaml);
    let free = |preview: &Preview| -> Vec<_> {
        let locks = preview.head.locks.iter();
        locks.map(|lock| (lock.name.clone(), lock.free)).collect()
    };
    let both = |taken| [("free".to_owned(), Some(true)), ("taken".to_owned(), taken)];
    assert_eq!(free(&preview), both(Some(true)));
    assert!(!bench.path("locks").exists());

    let claim = crate::locks::Claim {
        run: "abc123def456".to_owned(),
        playbook: "kv-restore".to_owned(),
        user: "alice".to_owned(),
        home: "/home/alice".into(),
        names: ["taken".to_owned()].into(),
    };
    let locks = crate::locks::Locks::open(&bench.path("locks")).expect("a folder");
    let _held = locks
        .take(&claim, Clock::system().now())
        .expect("it is free");
    let preview = bench.preview_of(yaml);
    assert_eq!(free(&preview), both(Some(false)));
    let holder = preview.head.locks[1].holder.clone().expect("somebody");
    assert!(
        holder.contains("abc123def456") && holder.contains("alice"),
        "{holder}"
    );
    assert!(!preview.head.locks[1].ways_out.is_empty());
    let stop = preview.head.stop.clone().expect("the run would be refused");
    assert_eq!(stop.then, Then::Refused);
    assert!(stop.why.contains("`taken`"), "{stop:?}");
    assert_eq!(
        step(&preview, "one").decision,
        Decision::Runs,
        "it is shown all the same"
    );

    let offline = Bench {
        probe: Probe::Offline,
        ..bench
    };
    let preview = offline.preview_of(yaml);
    assert!(preview.head.locks.iter().all(|lock| lock.free.is_none()));
    assert!(preview.head.stop.is_none());
}

#[test]
fn the_head_says_who_answers_until_when_and_how_long_it_can_be_undone() {
    let bench = Bench::new();
    bench.write("old", "content");
    bench.write("older", "content");
    let preview = bench.preview(
        r#"
steps:
  - id: older
    title: Remove the older
    file.delete: { path: $W/older, keep: 30d }
  - id: old
    title: Remove it
    confirm: { message: Sure?, approvers: 2, not_starter: true, deadline: 30m }
    file.delete: { path: $W/old }
"#,
    );
    let who = &preview.head.confirms[0].who;
    assert_eq!((who.approvers, who.not_starter), (2, true));
    assert_eq!(who.deadline.as_deref(), Some("30m"));
    let lapses = preview.head.undo.lapses.iter();
    let lapses: Vec<_> = lapses
        .map(|lapse| (lapse.step.as_str(), lapse.after.as_str()))
        .collect();
    assert_eq!(
        lapses,
        [("old", "7d"), ("older", "30d")],
        "the shortest first"
    );
    assert!(
        matches!(&step(&preview, "old").undo, Undo::ByItself { does: Some(_), lapses: Some(lapses), .. } if lapses == "7d")
    );
}

#[test]
fn what_we_may_not_read_is_unknown_stands_in_the_head_and_stops_nothing() {
    let preview = Bench::new().preview(
        r#"
steps:
  - id: denied
    title: Not for us
    test.denied: {}
  - id: next
    title: The next
    file.stat: { path: / }
"#,
    );
    let denied = step(&preview, "denied");
    assert_eq!(
        (denied.decision, denied.fidelity),
        (Decision::Runs, Fidelity::Unknown)
    );
    assert_eq!(preview.head.unseen.len(), 1, "{:#?}", preview.head.unseen);
    assert_eq!(preview.head.unseen[0].name, "denied");
    assert!(preview.head.unseen[0].text.contains("Permission denied"));
    assert_eq!(step(&preview, "next").fidelity, Fidelity::Probed);
    assert!(preview.head.stop.is_none());
}

#[test]
fn a_look_leaves_one_event_that_names_what_was_probed_and_is_no_run() {
    let mut bench = Bench::new();
    bench.write("conf", "x");
    bench.vault.keep("inputs.token", "sesame-sesame".to_owned());
    let token = Value::Secret(Secret::handle("inputs.token"));
    bench.inputs.insert("token".to_owned(), token);
    let yaml = r#"
playbook: test
version: 1.0.0
title: A test
inputs: { token: { type: secret } }
steps:
  - id: one
    title: One
    file.stat: { path: $W/conf }
  - id: two
    title: Two
    command: { argv: [x], env: { T: "{{ token }}" } }
    rollback: []
"#;
    let (_, previewed) = bench.look(yaml);
    let probed: Vec<_> = previewed
        .probed
        .iter()
        .map(|probed| (&*probed.step, probed.kind.as_str(), probed.targets.len()))
        .collect();
    assert_eq!(probed, [("one", "file.stat", 1)], "a command is not asked");

    let home = bench.sandbox.home();
    let journal = crate::journal::Journal::open(&home).expect("a journal");
    let at = Clock::system().now();
    super::record(&journal, &previewed, at, None).expect("it is written");
    let filter = |records| crate::journal::RunFilter {
        records,
        ..Default::default()
    };
    let count = |records| journal.runs(&filter(records), 9).expect("a list").len();
    use crate::journal::Records;
    assert_eq!(
        (
            count(Records::Runs),
            count(Records::Previews),
            count(Records::All)
        ),
        (0, 1, 1)
    );
    assert!(journal.run("last").is_err(), "it is never the last run");
    let events: Vec<_> = journal
        .events("previewrun00")
        .map(|event| event.expect("it reads"))
        .collect();
    assert_eq!(events.len(), 1);
    assert!(!events[0].data.contains("sesame"), "{}", events[0].data);
    assert!(journal.verify(None).expect("it can be read").holds());

    let offline = Bench {
        probe: Probe::Offline,
        ..bench
    };
    let (_, previewed) = offline.look(yaml);
    assert!(previewed.offline);
    assert_eq!(previewed.probed, []);
}
