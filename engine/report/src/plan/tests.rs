use console::measure_text_width;
use runwright_core::{
    kind::Effect,
    preview::{
        Condition, Confirm, Counts, Decision, Detail, Effects, Fidelity, Head, Input, Part,
        Planned, Preview, Required, Stop, Then, Undo, Undos, VERSION, Who,
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
