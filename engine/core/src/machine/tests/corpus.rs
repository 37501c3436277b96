//! Stories that between them have every node, attribute, event, state and end there is.
//!
//! What a story is to show in full stands in the other files; these are only as long as `coverage` asks for.

use super::{
    cuts,
    world::{Same, plan, run},
};

/// A playbook, what happens in the world, and what must be the same in a run of it that was cut.
pub(super) struct Told {
    pub name: &'static str,
    pub same: Same,
    pub yaml: &'static str,
    pub script: &'static str,
}

/// The corpus.
pub(super) const CORPUS: &[Told] = &[
    Told {
        name: "everything is checked and nothing fails",
        same: Same::Everything,
        yaml: r#"
requires: {git: '*'}
vars: {limit: 5}
connections: {db: "sqlite:/x"}
guards:
  - {that: limit == 5, else: not five}
  - test.read: {}
    that: result.n == 1
steps:
  - id: a
    title: Read {{ limit }}
    test.read: {}
    timeout: 10s
    sensitive: [text]
    expect:
      - {that: result.n == 1}
      - {each: "[1, 2]", that: item > 0}
      - {that: result.n == 2, severity: warning, else: not two}
      - {each: "[1, 2]", that: item == 1, severity: warning}
  - id: b
    when: a.n == 1
    unless: a.n == 2
    guards:
      - that: before.was == 0
      - test.read: {}
        that: result.n == 1
    confirm: true
    test.change: {}
  - id: c
    unless: {test.read: {}, that: result.n == 2}
    confirm: Go on?
    test.again: {of: web}
  - id: d
    when: 1 == 2
    test.read: {}
  - id: e
    unless: 1 == 1
    test.change: {}
  - id: f
    unless: {test.read: {}, that: result.n == 1}
    test.change: {}
  - id: g
    test.change: {}
  - id: h
    command: {}
    effect: read
    sensitive: true
outputs: {n: a.n, missing: d.n}
"#,
        script: "anybody says: --yes\ng look: done",
    },
    Told {
        name: "every structure",
        same: Same::Everything,
        yaml: r#"
steps:
  - id: g
    title: Some
    when: 1 == 1
    guards: [{that: 1 == 1}]
    confirm: {message: Go?}
    expect: [{that: result.ok}]
    group:
      - id: a
        test.change: {}
  - id: p
    at_once: 2
    parallel:
      - {id: p1, test.change: {}}
      - {id: p2, test.read: {}}
      - {id: p3, test.change: {}}
  - id: q
    parallel:
      - {id: q1, test.change: {}}
      - {id: q2, test.read: {}}
  - id: l
    foreach:
      in: [1, 2, 3]
      as: site
      key: site
      at_once: 2
      steps:
        - {id: x, test.change: {n: "{{ site }}"}}
        - {id: y, when: x.n == 2, test.read: {}}
  - id: empty
    foreach:
      in: []
      steps:
        - {id: z, test.change: {}}
  - id: c
    choose:
      - when: 1 == 2
        steps:
          - {id: c1, test.read: {}}
      - otherwise:
          - {id: c2, test.read: {}}
  - id: k
    choose:
      - when: 1 == 2
        steps:
          - {id: k1, test.read: {}}
  - id: outer
    call: {playbook: called-outer, with: {n: 2}}
always:
  - {id: last, test.read: {}}
outputs: {two: outer.two, keys: 'l["2"].x.n'}
---
playbook: called-outer
inputs: {n: {type: integer}}
steps:
  - id: inner
    call: {playbook: called-inner, with: {m: "{{ n }}"}}
outputs: {two: inner.m}
---
playbook: called-inner
inputs: {m: {type: integer}}
vars: {twice: m * 2}
guards: [{that: twice == 4}]
steps:
  - {id: a, test.change: {n: "{{ m }}"}}
always:
  - {id: last, test.read: {}}
outputs: {m: a.n}
"#,
        script: "anybody says: yes",
    },
    Told {
        name: "steps for people",
        same: Same::Everything,
        yaml: r#"
steps:
  - id: asked
    ask: {reason: {type: string}}
  - id: told
    manual: Do it because of {{ asked.reason }}
  - id: left
    manual: Leave it
  - id: diagnosis
    finding: {severity: info, title: It is so, advice: Look}
  - id: pause
    wait: 10s
  - id: news
    notify: {to: terminal, message: hello}
  - id: named
    set: {a: asked.reason, b: 1 + 1}
  - id: point
    confirm: {message: Sure?, phrase: "{{ asked.reason }}"}
    expect: [{that: named.b == 2, severity: critical}]
  - id: gone
    confirm: true
    test.destroy: {}
    irreversible: gone is gone
"#,
        script: "asked ask: values {\"reason\": \"why\"}; values {\"reason\": \"why\"}; values {\"reason\": \"why\"}\n\
                 told ask: done well; done well; done well\nleft ask: skip it; skip it; skip it\n\
                 anybody says: yes\nquestions: written",
    },
    Told {
        name: "attempts",
        same: Same::Everything,
        yaml: r#"
steps:
  - id: a
    test.read: {}
    retry: {attempts: 3, delay: 2s}
  - id: b
    test.change: {}
    retry: {attempts: 4, delay: 1s, backoff: exponential, max_delay: 3s, on: [exit, transport]}
  - id: c
    command: {}
    rollback: []
    retry: {attempts: 2, delay: 10s, backoff: fixed, jitter: true}
"#,
        script: "a: fail transport; fail timeout; ok\nb: fail exit; fail exit; fail exit; ok\nc: fail exit; ok",
    },
    Told {
        // How often it is asked depends on the time that the cut has cost.
        name: "asking again",
        same: Same::Outcome,
        yaml: r#"
steps:
  - id: a
    test.read: {}
    until: result.n == 2
    every: 2s
    within: 1m
  - id: b
    test.read: {}
    until: result.n == 2
    within: 1m
    stable_for: 3s
  - id: g
    until: x.n == 2
    within: 1m
    group:
      - {id: x, test.read: {}}
"#,
        script: "a: ok; fail transport; ok {\"n\": 2}\n\
                 b: ok {\"n\": 2}; ok; ok {\"n\": 2}; ok {\"n\": 2}; ok {\"n\": 2}; ok {\"n\": 2}; ok {\"n\": 2}; ok {\"n\": 2}\n\
                 x: ok; ok {\"n\": 2}; ok {\"n\": 2}",
    },
    Told {
        name: "all of it is undone",
        same: Same::Everything,
        yaml: r#"
steps:
  - id: a
    test.change: {}
  - id: r
    test.again: {of: web}
  - id: s
    test.again: {of: web}
  - id: c
    command: {}
    rollback:
      - {id: c_undo, when: before.was | default(0) == 0, test.change: {}}
  - id: g
    rollback:
      - {id: g_undo, command: {}}
    group:
      - {id: x, test.change: {}}
  - id: n
    command: {}
    rollback: []
  - id: last
    test.read: {}
always:
  - {id: z, test.read: {}}
"#,
        script: "last: fail exit\nz: fail transport",
    },
    Told {
        name: "not all of it can be undone",
        same: Same::Everything,
        yaml: r#"
steps:
  - {id: a, test.change: {}}
  - {id: b, test.change: {}}
  - {id: c, test.change: {}}
  - id: d
    command: {}
    irreversible: sent is sent
  - id: e
    command: {}
    rollback:
      - {id: e_undo, command: {}}
  - {id: last, test.read: {}}
"#,
        script: "last: fail internal\na undo: dirty\nb undo: lapsed\nc undo: fail exit\ne_undo: fail exit; fail exit; fail exit",
    },
    Told {
        name: "what somebody has put back needs no undo",
        same: Same::Nothing, // The first cut after the failed attempt has it done in the world.
        yaml: "steps:\n  - {id: a, test.change: {}}\n",
        script: "a: fail exit",
    },
    Told {
        name: "a playbook that stops",
        same: Same::Everything,
        yaml: "on_failure: stop\nsteps:\n  - {id: a, test.change: {}}\n  - {id: b, test.read: {}}\n",
        script: "b: fail exit; fail exit; fail exit",
    },
    Told {
        name: "a playbook that rolls back where its step stops",
        same: Same::Nothing, // A cut after the stop goes on, and finds the step able to work.
        yaml: "on_failure: rollback\nsteps:\n  - {id: a, test.change: {}}\n  - {id: b, on_failure: stop, test.read: {}}\n",
        script: "b: fail exit\nresume: roll back",
    },
    Told {
        name: "a playbook that asks where its group goes on",
        same: Same::Everything,
        yaml: r#"
on_failure: ask
steps:
  - id: g
    on_failure: continue
    group:
      - {id: a, test.read: {}}
  - {id: b, on_failure: continue, test.change: {}}
  - {id: c, test.read: {}}
  - {id: d, test.read: {}}
"#,
        script: "a: fail exit\nb: half exit\nc: fail exit; ok\nd: fail exit\nc ask: retry; retry; retry\n\
                 d ask: skip it; skip it; skip it",
    },
    Told {
        name: "a playbook that only reads goes on",
        same: Same::Everything,
        yaml: "on_failure: continue\nsteps:\n  - {id: a, test.read: {}}\n  - {id: b, test.read: {}}\n",
        script: "a: fail exit",
    },
    Told {
        name: "groups that stop, ask, roll back",
        same: Same::Nothing, // What is answered is used up by the cut runs.
        yaml: r#"
steps:
  - id: g
    on_failure: ask
    group:
      - {id: a, test.change: {}}
      - {id: b, test.read: {}}
  - id: h
    on_failure: stop
    group:
      - {id: c, test.read: {}}
  - id: i
    on_failure: rollback
    group:
      - {id: d, on_failure: rollback, test.read: {}}
      - {id: e, on_failure: ask, test.read: {}}
"#,
        script: "b: fail exit\nc: fail exit\nd: ok\ne: fail exit\nb ask: retry; retry; retry\ne ask: undo; undo; undo\n\
                 resume: work; work",
    },
    Told {
        name: "a person stops after a failure",
        same: Same::Nothing, // A stopped run goes on with a cut.
        yaml: "steps:\n  - {id: a, on_failure: ask, test.read: {}}\n",
        script: "a: fail exit\nanybody says: stop",
    },
    Told {
        name: "refused by a guard",
        same: Same::Everything,
        yaml: "guards: [{that: 1 == 2, else: no}]\nsteps:\n  - {id: a, test.change: {}}\n",
        script: "",
    },
    Told {
        name: "refused by what is missing",
        same: Same::Everything,
        yaml: "requires: {git: '*'}\nsteps:\n  - {id: a, test.change: {}}\n",
        script: "run require: git; git; git",
    },
    Told {
        name: "refused by the guards of steps, one of them broken",
        same: Same::Everything,
        yaml: r#"
steps:
  - id: a
    on_failure: continue
    guards: [{that: 1 == 2}]
    test.change: {}
  - id: b
    on_failure: continue
    guards: [{test.read: {}, that: result.n == 1}]
    test.change: {}
  - id: c
    on_failure: continue
    unless: {test.read: {}, that: result.n == 1}
    test.change: {}
  - id: d
    guards: [{test.read: {}, that: result.n == 2}]
    test.change: {}
"#,
        script: "b probe: fail transport\nc probe: fail transport",
    },
    Told {
        name: "a person says no",
        same: Same::Everything,
        yaml: "steps:\n  - {id: a, confirm: true, test.change: {}}\n",
        script: "anybody says: no thanks",
    },
    Told {
        name: "a person could not do it",
        same: Same::Everything,
        yaml: "steps:\n  - {id: a, manual: Do it}\n",
        script: "anybody says: failed to",
    },
    Told {
        name: "expected and not found",
        same: Same::Everything,
        yaml: r#"
steps:
  - {id: a, on_failure: continue, test.read: {}, expect: [{that: result.n == 2}]}
  - {id: b, on_failure: continue, test.read: {}, expect: [{each: "[1, 2]", that: item == 2}]}
  - {id: c, test.read: {}, expect: [{each: "[1, 2]", that: item == 2, severity: critical}]}
  - {id: d, test.read: {}, until: result.n == 2, within: 3s}
"#,
        script: "",
    },
    Told {
        name: "an output that can't be worked out",
        same: Same::Everything,
        yaml: "steps:\n  - {id: a, test.read: {}}\noutputs: {x: a.n + \"x\"}\n",
        script: "",
    },
    Told {
        name: "stopped by a signal",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, wait: 5s}\n  - {id: c, test.change: {}}\n",
        script: "signal: a changed",
    },
    Told {
        name: "a signal in the rollback",
        same: Same::Everything,
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n  - {id: c, test.read: {}}\n",
        script: "c: fail exit\nsignal: b undoing\nresume: work",
    },
    Told {
        name: "in doubt: nobody can tell",
        same: Same::Everything,
        yaml: r#"
steps:
  - {id: a, command: {}, rollback: []}
  - {id: b, test.change: {}}
  - {id: d, notify: {to: terminal, message: hello}}
"#,
        script: "",
    },
    Told {
        name: "in doubt: an unless that knows better",
        same: Same::Nothing, // What the probe says here has nothing to do with what was done.
        yaml: "steps:
  - {id: c, unless: {test.read: {}, that: result.n == 2}, command: {}, rollback: []}
",
        script: "",
    },
    Told {
        name: "in doubt: to be undone",
        same: Same::Nothing, // Only a run that is cut is asked.
        yaml: "steps:\n  - {id: a, command: {}, rollback: []}\n",
        script: "a doubt: undo",
    },
    Told {
        name: "in doubt: a look that can't tell, and a person who can't",
        same: Same::Nothing, // Only a run that is cut is asked.
        yaml: "steps:\n  - {id: a, test.change: {}}\n",
        script: "a look: unclear\na doubt: stop\nresume: roll back",
    },
    Told {
        name: "stopped while it works",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "b: fail cancelled; ok\nsignal: b started\nresume: work",
    },
    Told {
        name: "locks, and more than one person",
        same: Same::Everything,
        yaml: r#"
locks: [web]
steps:
  - id: a
    confirm: {message: Sure?, approvers: 2, not_starter: true, deadline: 24h}
    test.change: {}
"#,
        script: "anybody says: @bob yes; @eve yes; @bob yes; @eve yes; @bob yes; @eve yes; @bob yes; @eve yes",
    },
    Told {
        name: "locks that another run holds",
        same: Same::Everything,
        yaml: "locks: [web]\nsteps:\n  - {id: a, test.change: {}}\n",
        script: "run lock: held by another run",
    },
    Told {
        name: "nobody is there",
        same: Same::Nothing, // It waits as often as it is asked.
        yaml: "steps:\n  - {id: a, confirm: true, test.change: {}}\n",
        script: "anybody says: away",
    },
    Told {
        name: "cancelled",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "signal: a changed\nresume: cancel",
    },
    Told {
        name: "given up",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "signal: a changed\nresume: give up",
    },
    Told {
        name: "cancelled while it works",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "cancelled: a changed",
    },
    Told {
        name: "given up while it works",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "given up: a changed",
    },
    Told {
        name: "undone while it works",
        same: Same::Nothing, // The signal comes after one line.
        yaml: "steps:\n  - {id: a, test.change: {}}\n  - {id: b, test.change: {}}\n",
        script: "undone: a changed",
    },
];

#[test]
fn every_story_of_the_corpus_ends_the_same_however_it_is_cut() {
    for told in CORPUS {
        println!("{}:", told.name);
        let plan = plan(told.yaml);
        cuts::everywhere(told.same, &run(&plan, told.script));
    }
}
