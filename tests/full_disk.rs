//! A disk that is full, with the journal on it: the reserve lets the run that makes room begin.

use crate::harness::{Ended, PROGRAM, Sandbox, need};

#[test]
fn a_clean_up_of_the_full_disk_that_holds_the_journal_sees_the_space_it_has_made() {
    need("unshare", "util-linux");
    assert!(
        rustix::process::geteuid().is_root(),
        "a small disk of our own needs root: run the tests with sudo"
    );
    let sandbox = Sandbox::new();
    sandbox.write(
        "clean-up.yml",
        "playbook: clean-up
version: 1.0.0
title: Make room on a full disk
inputs:
  disk: { type: path }
steps:
  - id: full
    title: See how full it is
    system.disk: { paths: [\"{{ disk }}\"] }
  - id: trim
    title: Remove old logs
    when: full.fullest.available < bytes(\"10MiB\")
    confirm: true
    irreversible: they are logs
    file.delete: { paths: \"{{ disk }}/logs/*.log\", at_most: 50, keep: 0s }
  - id: command
    title: A command works on it as well, and prints
    command: { argv: [sh, -c, \"seq 1000; rm -f $1/logs/*.tmp\", sh, \"{{ disk }}\"] }
    irreversible: they are temporary
  - id: room
    title: There is room again
    system.disk: { paths: [\"{{ disk }}\"] }
    expect:
      - that: result.fullest.available > bytes(\"20MiB\")
        else: \"only {{ result.fullest.available }} are free\"
outputs:
  before: full.fullest.available
  after: room.fullest.available
",
    );
    let script = format!(
        "set -eu
         mkdir disk && mount -t tmpfs -o size=48m,mode=700 tmpfs disk
         mkdir disk/logs
         export RUNWRIGHT_HOME=$PWD/disk/state
         run() {{ {PROGRAM} run clean-up --playbooks $PWD --yes --set disk=$PWD/disk \"$@\"; }}
         # With room, nothing is removed; the home is there from then on, with its reserve.
         echo old >disk/logs/kept.log
         run --output plain || echo first failed
         test -e disk/logs/kept.log && test -s disk/state/reserve
         cat /dev/zero >disk/logs/filling.log 2>/dev/null || true
         test $(df --output=avail disk | tail -1) = 0
         set +e
         run --output json
         echo code $?
         ls disk/state disk/logs
         {PROGRAM} history --output json",
    );
    let output = sandbox
        .command("unshare")
        .args(["--mount", "bash", "-c", &script])
        .output()
        .expect("it starts");
    let ended = Ended::of(output);
    println!("{}\n{}", ended.stdout, ended.stderr);
    let ended = ended.code(0).says("code 0");
    assert!(!ended.stdout.contains("first failed"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("filling.log\n"), "it was removed");
    assert!(!ended.stdout.contains("\nreserve\n"), "it was given up");
}
