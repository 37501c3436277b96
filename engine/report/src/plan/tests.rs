use console::measure_text_width;
use runwright_core::{
    kind::Effect,
    preview::{
        Condition, Confirm, Counts, Decision, Detail, Effects, Fidelity, Head, IfFails, Input,
        Lapse, Lock, Part, Planned, Preview, Required, Stop, Then, Undo, Undoing, UndoneBy, Undos,
        VERSION, Who,
    },
};

use super::*;

fn planned(id: &str, effect: Effect, decision: Decision) -> Planned {
    Planned {
        step: id.to_owned(),
        id: id.to_owned(),
        title: Some(format!("The step {id}")),
        depth: 0,
        round: None,
        part: Part::Steps,
        kind: "command".to_owned(),
        structure: false,
        effect,
        decision,
        why: None,
        fidelity: Fidelity::Exact,
        after: None,
        action: None,
        details: Vec::new(),
        contents: Vec::new(),
        change: None,
        diff: None,
        found: Vec::new(),
        unless: None,
        guards: Vec::new(),
        confirm: None,
        retry: None,
        until: None,
        timeout: None,
        undo: Undo::None,
        point_of_no_return: false,
        findings: Vec::new(),
        problem: None,
        notes: Vec::new(),
    }
}

fn detail(name: &str, text: &str) -> Detail {
    Detail {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn preview() -> Preview {
    let confirm = Confirm {
        step: "swap".to_owned(),
        message: "Replace /srv/kv.db?".to_owned(),
        phrase: Some("kv.db".to_owned()),
        who: Who::default(),
        certain: false,
    };
    let steps = vec![
        Planned {
            fidelity: Fidelity::Probed,
            action: Some("check /srv/kv.db".to_owned()),
            found: vec![detail("integrity", "ok"), detail("wal_bytes", "120MiB")],
            ..planned("found", Effect::Read, Decision::Runs)
        },
        Planned {
            fidelity: Fidelity::Simulated,
            action: Some("write /etc/kv.env".to_owned()),
            change: Some("1 line".to_owned()),
            diff: Some("--- a\n+++ b\n-LEVEL=1\n+LEVEL=2\n".to_owned()),
            guards: vec![Condition {
                text: "found.integrity == \"ok\"".to_owned(),
                holds: Some(true),
                after: None,
                why: "found.integrity = \"ok\"".to_owned(),
            }],
            undo: Undo::ByItself {
                kind: "file.write".to_owned(),
                does: None,
                lapses: None,
            },
            ..planned("write", Effect::Change, Decision::Runs)
        },
        Planned {
            why: Some(
                "`found.wal_bytes > limit`: found.wal_bytes = 120MiB, limit = 1GiB".to_owned(),
            ),
            ..planned("fold", Effect::Change, Decision::Skipped)
        },
        Planned {
            depth: 1,
            fidelity: Fidelity::Unknown,
            after: Some("step `write`".to_owned()),
            confirm: Some(confirm.clone()),
            undo: Undo::Irreversible {
                why: "the old file is gone".to_owned(),
            },
            point_of_no_return: true,
            ..planned("swap", Effect::Destroy, Decision::MayRun)
        },
        planned("rest", Effect::Change, Decision::NotReached),
    ];
    Preview {
        v: VERSION,
        head: Head {
            playbook: "wal-recover".to_owned(),
            version: "1.0.0".to_owned(),
            title: "Bring it back".to_owned(),
            path: "playbooks/wal-recover.yml".to_owned(),
            digest: "0123456789abcdef".repeat(4),
            host: "db1".to_owned(),
            user: "alice".to_owned(),
            at: "2026-11-20T10:00:00Z".to_owned(),
            counts: Counts {
                runs: Effects {
                    read: 1,
                    change: 1,
                    destroy: 0,
                },
                may_run: Effects {
                    destroy: 1,
                    ..Effects::default()
                },
                skipped: 1,
                not_reached: 1,
                ..Counts::default()
            },
            undo: Undos {
                by_itself: 1,
                by_hand: 0,
                not: 1,
                lapses: Vec::new(),
            },
            point_of_no_return: Some("swap".to_owned()),
            confirms: vec![confirm],
            requires: vec![Required {
                program: "gpg".to_owned(),
                versions: ">=2.2".to_owned(),
                there: Some(false),
                why: Some("`gpg` is not installed".to_owned()),
            }],
            inputs: vec![Input {
                name: "database".to_owned(),
                value: "/srv/kv.db".to_owned(),
                source: "--set".to_owned(),
            }],
            stop: Some(Stop {
                step: "rest".to_owned(),
                why: "there is no room".to_owned(),
                then: Then::RollBack,
                undoes: vec![detail("write", "by itself")],
            }),
            ..Head::default()
        },
        steps,
        failures: Vec::new(),
    }
}

#[test]
fn the_plan_says_first_what_a_person_must_know() {
    let expected = "\
wal-recover 1.0.0: Bring it back
  playbooks/wal-recover.yml (0123456789ab), as alice on db1, 2026-11-20T10:00:00Z
  steps   1 reads, 1 changes; perhaps also 1 DESTROYS; 1 skipped; 1 not reached
  undo    1 by itself, 1 NOT AT ALL
  needs   gpg >=2.2: MISSING, `gpg` is not installed
  input   database = /srv/kv.db  (--set)

Before you say yes
  ! the run would stop at `rest`: there is no room
  ! it would then undo `write` by itself
  ! perhaps: `swap` can't be undone: the old file is gone; from there on not everything can be
    undone (point of no return)
  ! asks before `swap`: Replace /srv/kv.db? (type `kv.db`)

Steps
  . The step found (found)                                                                     reads
      does    check /srv/kv.db
      found   integrity=ok, wal_bytes=120MiB
  ~ The step write (write)                                                                   changes
      does    write /etc/kv.env
      change  1 line
        --- a
        +++ b
        -LEVEL=1
        +LEVEL=2
      guard   `found.integrity == \"ok\"` holds: found.integrity = \"ok\"
      undo    by itself
  - The step fold (fold)                                                                     skipped
      because `found.wal_bytes > limit`: found.wal_bytes = 120MiB, limit = 1GiB
    ! The step swap (swap)                                                         may run: DESTROYS
        known   after step `write`
        asks    Replace /srv/kv.db? (type `kv.db`)
        undo    NOT AT ALL: the old file is gone
                point of no return
  / The step rest (rest)                                                       not reached (changes)
";
    assert_eq!(text(&preview(), 100, Colour::Plain), expected);
}

#[test]
fn the_short_form_has_the_counts_and_the_warnings_but_no_steps() {
    let short = short(&preview(), 100, Colour::Plain);
    assert!(short.contains("perhaps also 1 DESTROYS"), "{short}");
    assert!(short.contains("can't be undone"), "{short}");
    assert!(!short.contains("The step"), "{short}");
    assert!(short.lines().count() < 12, "{short}");
}

#[test]
fn colours_add_nothing_to_the_words() {
    let coloured = text(&preview(), 100, Colour::Ansi);
    assert!(coloured.contains('\x1b'));
    assert_eq!(
        console::strip_ansi_codes(&coloured),
        text(&preview(), 100, Colour::Plain)
    );
}

#[test]
fn a_plan_fits_a_narrow_terminal() {
    for width in [10, 40, 60, 100] {
        for line in text(&preview(), width, Colour::Plain).lines() {
            assert!(measure_text_width(line) <= width.max(40), "{width}: {line}");
        }
    }
}

#[test]
fn of_a_long_diff_the_first_forty_lines_are_shown() {
    let mut preview = preview();
    preview.steps[1].diff = Some("+line\n".repeat(100));
    let text = text(&preview, 100, Colour::Plain);
    assert_eq!(text.matches("+line").count(), 40);
    assert!(text.contains("… 60 more lines"));
}

#[test]
fn the_json_is_what_the_schema_says_and_reads_back() {
    let json = json(&preview());
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["v"], 1);
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    let mut wrong = value.clone();
    wrong["steps"][0]["decision"] = "perhaps".into();
    assert!(!validator.is_valid(&wrong));
    let back: Preview = serde_json::from_str(&json).expect("it reads back");
    assert_eq!(back, preview());
}

/// The same with locks, who answers, until when it can be undone, and what failures come to.
fn full() -> Preview {
    let mut preview = preview();
    let head = &mut preview.head;
    head.description = "When the WAL is stuck.\n\nIt never | deletes.".to_owned();
    head.undo.lapses = vec![Lapse {
        step: "write".to_owned(),
        after: "7d".to_owned(),
        until: "2026-11-27T10:00:00Z".to_owned(),
    }];
    let lock = |name: &str, free, holder: Option<&str>| Lock {
        name: name.to_owned(),
        after: None,
        step: None,
        free,
        holder: holder.map(str::to_owned),
        ways_out: holder
            .map(|_| "wait until it ends: `--wait`".to_owned())
            .into_iter()
            .collect(),
    };
    head.locks = vec![
        lock("sqlite:/srv/kv.db", Some(true), None),
        lock(
            "host",
            Some(false),
            Some("run k3 of `other` by bob has it since 10:00, pid 7"),
        ),
        Lock {
            after: Some("step `found`".to_owned()),
            step: Some("call".to_owned()),
            ..lock("db:{{ found.name }}", None, None)
        },
    ];
    head.unseen = vec![detail("found", "could not look at it within 30s")];
    head.confirms[0].who = Who {
        approvers: 2,
        not_starter: true,
        deadline: Some("30m".to_owned()),
    };
    let undoing = |step: &str, by, does: &str, steps: &[&str]| Undoing {
        step: step.to_owned(),
        by,
        does: does.to_owned(),
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        certain: step != "fold",
    };
    let failure = |step: &str, undoes: Vec<Undoing>, outcome: &str, exit_code| IfFails {
        step: step.to_owned(),
        certain: true,
        then: Then::RollBack,
        undoes,
        stays: Vec::new(),
        outcome: outcome.to_owned(),
        exit_code,
    };
    let write = undoing("write", UndoneBy::Itself, "put back /etc/kv.env", &[]);
    let fold = undoing("fold", UndoneBy::Steps, "", &["Stop it", "Start it"]);
    let again = undoing("restart", UndoneBy::Again, "restart kv", &[]);
    let three = vec![fold.clone(), write.clone(), again.clone()];
    let four = vec![write.clone(), fold.clone(), write.clone(), again.clone()];
    let five = [vec![fold], four.clone()].concat();
    preview.failures = vec![
        failure("found", Vec::new(), "failed", 1),
        failure("more", Vec::new(), "failed", 1),
        failure("write", vec![write], "rolled_back", 1),
        failure("fold", three, "rolled_back", 1),
        failure("third", four, "rolled_back", 1),
        failure("fourth", five, "rolled_back", 1),
        IfFails {
            then: Then::GoesOn,
            ..failure("passed", Vec::new(), "", 0)
        },
        IfFails {
            then: Then::Stop,
            stays: vec![detail("swap", "can't be undone: the old file is gone")],
            ..failure("swap", Vec::new(), "stopped", 1)
        },
    ];
    preview
}

#[test]
fn the_head_names_locks_and_their_holders_who_answers_and_until_when_it_can_be_undone() {
    let text = text(&full(), 100, Colour::Plain);
    let expected = "\
  undo    1 by itself, 1 NOT AT ALL
          `write` only for 7d (until 2026-11-27T10:00:00Z, if it ran now)
  lock    sqlite:/srv/kv.db: free
  lock    host: TAKEN, run k3 of `other` by bob has it since 10:00, pid 7
  lock    db:{{ found.name }} (taken at `call`): known after step `found`
  needs   gpg >=2.2: MISSING, `gpg` is not installed
  input   database = /srv/kv.db  (--set)

Before you say yes
  ! the run would stop at `rest`: there is no room
  ! it would then undo `write` by itself
  ! to get `host`: wait until it ends: `--wait`
  ! perhaps: `swap` can't be undone: the old file is gone; from there on not everything can be
    undone (point of no return)
  ! `found` is not known: could not look at it within 30s
  ! asks before `swap`: Replace /srv/kv.db? (type `kv.db`) [answered by 2 different people, one of
    whom did not start the run; no answer within 30m is a no]
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn what_a_failure_undoes_is_told_in_order_and_a_long_list_is_not_told_twice() {
    let text = text(&full(), 100, Colour::Plain);
    let expected = "
If a step fails
  On a terminal a person is asked first what to do; this is what happens without one.
  `found`, `more`: nothing is changed by then, and nothing is undone; the run is then `failed`, exit
    code 1
  `write`: undoes one thing; the run is then `rolled_back`, exit code 1
      1. `write` by itself: put back /etc/kv.env
  `fold`: undoes 3 things, in this order; the run is then `rolled_back`, exit code 1
      1. `fold` (if it ran) by steps of the playbook: Stop it, Start it
      2. `write` by itself: put back /etc/kv.env
      3. `restart` once more, after all else: restart kv
  `third`: undoes 4 things, in this order; the run is then `rolled_back`, exit code 1
      1. `write` by itself: put back /etc/kv.env
      2. `fold` (if it ran) by steps of the playbook: Stop it, Start it
      3. `write` by itself: put back /etc/kv.env
      4. `restart` once more, after all else: restart kv
  `fourth`: undoes 5 things, in this order; the run is then `rolled_back`, exit code 1
      1. `fold` (if it ran) by steps of the playbook: Stop it, Start it
      2. and then all that the failure of `third` undoes, in the same order
  `passed`: a critical finding, and the run goes on
  `swap`: it stops, and everything stays as it is; the run is then `stopped`, exit code 1
      `swap` can't be undone: the old file is gone
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn as_markdown_it_is_a_change_request() {
    let expected = "\
# wal-recover 1.0.0: Bring it back

## Purpose

When the WAL is stuck.

It never \\| deletes.

## At a glance

|  |  |
|---|---|
| Playbook | playbooks/wal-recover.yml (0123456789ab) |
| Looked at | 2026-11-20T10:00:00Z by alice on db1 |
| Steps | 1 reads, 1 changes; perhaps also 1 DESTROYS; 1 skipped; 1 not reached |
| Undo | 1 by itself; 1 NOT AT ALL; \\`write\\` only for 7d (until 2026-11-27T10:00:00Z, if it ran now) |
| Point of no return | \\`swap\\` |
| Lock | sqlite:/srv/kv.db: free |
| Lock | host: TAKEN, run k3 of \\`other\\` by bob has it since 10:00, pid 7 |
| Lock | db:{{ found.name }} (taken at \\`call\\`): known after step \\`found\\` |
| Confirm | before \\`swap\\`: Replace /srv/kv.db? (type \\`kv.db\\`) \\[answered by 2 different people, one of whom did not start the run; no answer within 30m is a no\\] |
| Program | gpg \\>=2.2: MISSING, \\`gpg\\` is not installed |

## Inputs

| Input | Value | From |
|---|---|---|
| database | /srv/kv.db | --set |

## Risks

- the run would stop at \\`rest\\`: there is no room
";
    let text = markdown(&full());
    assert!(text.starts_with(expected), "{text}");
    let steps = "\
## Steps

1. **The step found** (`found`) - reads
   - does: check /srv/kv.db
   - found: integrity=ok, wal\\_bytes=120MiB
1. **The step write** (`write`) - changes
   - does: write /etc/kv.env
   - change: 1 line
   - guard: \\`found.integrity == \"ok\"\\` holds: found.integrity = \"ok\"
   - undo: by itself
   ```diff
   --- a
   +++ b
   -LEVEL=1
   +LEVEL=2
   ```
1. **The step fold** (`fold`) - skipped
";
    assert!(text.contains(steps), "{text}");
    assert!(
        text.contains("\n   1. **The step swap** (`swap`) - may run: DESTROYS\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  1. \\`write\\` by itself: put back /etc/kv.env\n"),
        "{text}"
    );
}

#[test]
fn a_hundred_columns_hold_long_values_wide_characters_and_deep_steps() {
    let mut preview = full();
    let long = format!("{}{}", "国".repeat(150), "x".repeat(300));
    preview.head.path = long.clone();
    preview.head.inputs[0].value = long.clone();
    preview.head.locks[1].holder = Some(long.clone());
    preview.failures[2].undoes[0].does = long.clone();
    for depth in 1..8 {
        let mut step = preview.steps[1].clone();
        step.depth = depth * 6;
        step.title = Some(long.clone());
        step.action = Some(long.clone());
        step.diff = Some(format!("+{long}\n"));
        step.details = vec![
            detail("a name that is long", &long),
            detail("two", &format!("{long}\n{long}")),
        ];
        preview.steps.push(step);
    }
    for width in [80, 100] {
        for line in text(&preview, width, Colour::Plain).lines() {
            assert!(measure_text_width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn the_full_json_is_what_the_schema_says_and_reads_back() {
    let json = json(&full());
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    assert!(validator.is_valid(&value));
    let back: Preview = serde_json::from_str(&json).expect("it reads back");
    assert_eq!(back, full());
}
