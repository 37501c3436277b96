//! What it costs to load, check and link a playbook of 5,000 steps: medians, beside the parse alone.

use std::{fmt::Write, hint::black_box, sync::Arc, time::Instant};

use runwright_core::{
    diagnostic::{Diagnostic, Source},
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    language::{link, read},
    yaml,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const STEPS: usize = 5_000;
const ROUNDS: usize = 15;

/// Runs a program.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// The program and its arguments.
    argv: Vec<String>,
}

/// How it ended.
#[derive(Serialize, JsonSchema)]
struct Ran {
    /// Its exit code.
    exit: i32,
    /// What it wrote.
    stdout: String,
}

impl Step for Command {
    type Output = Ran;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        Vec::new()
    }

    fn describe(&self) -> Description {
        Description::new(self.argv.join(" "))
    }

    async fn look(&self, _: &Cx) -> Result<Look<Ran, ()>, Failure> {
        Ok(Look::Unclear)
    }

    fn undo(&self, _: &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<Ran, Failure> {
        Err(Failure::internal("run a program in a benchmark of loading"))
    }
}

fn main() {
    measure("with conditions and checks", &playbook());
    measure("no-op commands", &plain());
}

fn measure(what: &str, text: &str) {
    let source = Source::new("big.yml", text);
    let kinds = [Kind::of::<Command>("command")];
    println!("{STEPS} steps, {what}, {} KiB of text", text.len() / 1024);
    median("parse", || {
        let mut problems = Vec::new();
        black_box(yaml::parse(text, &yaml::Limits::default(), &mut problems));
        assert_eq!(problems, []);
    });
    // What was made is given up after the last round: a program reads once and keeps it.
    let mut kept = Vec::new();
    median("load and check", || {
        let (playbook, problems) = read(&source, None, &kinds);
        assert_eq!(problems, []);
        kept.push(Arc::new(playbook.expect("it has no mistakes")));
    });
    let mut plans = Vec::new();
    median("link", || {
        let plan = link(&kept[0], &mut |_, call| {
            Err(Diagnostic::error("no calls here", call.place.clone()))
        });
        plans.push(plan.expect("a plan"));
    });
}

fn playbook() -> String {
    let mut text = String::from(
        "playbook: big\nversion: 1.0.0\ntitle: Many steps\ninputs:\n  limit: { type: integer, default: 3 }\nsteps:\n",
    );
    for step in 0..STEPS {
        let before = step.saturating_sub(1);
        let when = match step {
            0 => "limit > 2".to_owned(),
            _ => format!("step_{before}.exit == 0 and limit > 2"),
        };
        write!(
            text,
            "  - id: step_{step}\n    title: Step {step} of {{{{ limit }}}}\n    when: {when}\n    command:\n      \
             argv: [\"true\", --limit, \"{{{{ limit }}}}\"]\n    effect: read\n    expect:\n      \
             - that: result.exit == 0\n        else: \"it ended with {{{{ result.exit }}}}\"\n",
        )
        .expect("writing to a string can't fail");
    }
    text
}

fn plain() -> String {
    let mut text = String::from("playbook: big\nversion: 1.0.0\ntitle: Many steps\nsteps:\n");
    for step in 0..STEPS {
        write!(
            text,
            "  - id: step_{step}\n    command: {{ argv: [\"true\"] }}\n    effect: read\n"
        )
        .expect("writing to a string can't fail");
    }
    text
}

fn median(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<16} {:>7.1} ms", times[ROUNDS / 2]);
}
