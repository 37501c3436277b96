//! What the code promises about itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    diagnostic::{Colour, Source, render},
    language,
};

use crate::{
    harness::{Sandbox, root},
    shipped::playbooks,
};

/// Returns the files below `folder` of the workspace with that ending.
fn files(folder: &str, ending: &str) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in folder.read_dir_utf8().expect("a folder") {
            let path = entry.expect("an entry").into_path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension() == Some(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} has no .{ending}");
    found
}

fn read(path: &Utf8Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn dependencies_between_crates_point_downwards() {
    let floors = BTreeMap::from([
        ("core", ("", "")),
        ("steps", ("core", "core")),
        ("report", ("core", "core")),
        ("local", ("core", "core steps report")),
        (
            "cli",
            ("core steps local report", "core steps local report"),
        ),
    ]);
    let folders = root().join("engine").read_dir_utf8().expect("a folder");
    let crates: BTreeSet<String> = folders
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_owned())
        .collect();
    assert_eq!(
        crates,
        floors.keys().map(|name| (*name).to_owned()).collect(),
        "a new crate is a design question"
    );
    for (name, (code, tests)) in floors {
        let manifest = read(&root().join(format!("engine/{name}/Cargo.toml")));
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some(used) = line.strip_prefix("runwright-") else {
                continue;
            };
            let used = used.split(['.', ' ', '=']).next().unwrap_or_default();
            let allowed = match section {
                "[dependencies]" => code,
                "[dev-dependencies]" => tests,
                other => panic!("engine/{name}: {line} in {other}"),
            };
            assert!(
                allowed.split(' ').any(|other| other == used),
                "engine/{name} must not depend on {used}"
            );
        }
    }
}

#[test]
fn every_crate_but_cli_forbids_what_it_may_not_do() {
    for name in ["core", "steps", "local", "report"] {
        let bans = read(&root().join(format!("engine/{name}/clippy.toml")));
        let entries = bans.lines().filter(|line| line.contains("path = ")).count();
        assert!(entries > 0, "engine/{name}/clippy.toml forbids nothing");
        assert_eq!(
            bans.matches("reason = ").count(),
            entries,
            "engine/{name}: each ban has a reason"
        );
    }
}

#[test]
fn every_kind_has_a_text_an_example_that_loads_and_a_test() {
    let kinds = runwright_steps::kinds();
    let sources: Vec<(Utf8PathBuf, String)> = files("engine/steps/src", "rs")
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect();
    for kind in &kinds {
        let name = kind.name;
        let declared = format!("(\"{name}\")");
        let (path, source) = sources
            .iter()
            .find(|(_, source)| source.contains(&declared) && source.contains("const KIND: Kind"))
            .unwrap_or_else(|| panic!("no file declares {name}"));
        assert!(
            source.contains("#[cfg(test)]\nmod tests"),
            "{path} has no tests"
        );
        let (_, example) = source
            .split_once("/// ```yaml\n")
            .unwrap_or_else(|| panic!("{path} has no example"));
        let lines = example.lines().map(|line| {
            line.trim_start_matches("///")
                .strip_prefix(' ')
                .unwrap_or_default()
        });
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("```")).collect();
        assert!(
            lines.iter().any(|line| line.contains(&format!("{name}:"))),
            "{path}: another kind's example"
        );
        let text = playbook_of(&lines);
        let source = Source::new(format!("the example of {name}"), text.as_str());
        let (_, problems) = language::read(&source, None, &kinds);
        assert!(
            problems.is_empty(),
            "{}\n{text}",
            render(&problems, &source, Colour::Plain)
        );
    }
}

/// Returns a playbook around an example: a whole step, or its kind alone.
fn playbook_of(lines: &[&str]) -> String {
    let mut text = "playbook: example\nversion: 1.0.0\ntitle: An example\n".to_owned();
    let whole = lines.join("\n");
    let names: BTreeSet<&str> = whole
        .split("{{ ")
        .skip(1)
        .filter_map(|rest| rest.split_once(" }}"))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    if !names.is_empty() {
        text += "inputs:\n";
    }
    for name in names {
        text += &format!("  {name}: {{ type: string }}\n");
    }
    text += "steps:\n";
    let is_list = lines.first().is_some_and(|line| line.starts_with("- "));
    let (first, others) = if is_list {
        ("  ", "  ")
    } else {
        ("  - ", "    ")
    };
    for (index, line) in lines.iter().enumerate() {
        text += &format!("{}{line}\n", if index == 0 { first } else { others });
    }
    for (key, value) in [("id", "example"), ("title", "An example")] {
        if !whole.contains(&format!("{key}: ")) {
            text += &format!("    {key}: {value}\n");
        }
    }
    let says_undo = ["rollback:", "irreversible:", "effect: read"]
        .iter()
        .any(|key| whole.contains(key));
    let by_hand =
        whole.contains("argv:") || whole.contains("script:") || whole.contains("method: P");
    if by_hand && !says_undo {
        text += "    rollback: []\n";
    }
    text
}

#[test]
fn nothing_is_left_that_was_meant_for_later() {
    let forbidden = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("d", "bg!"),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("#[al", "low("),
        // Places on a machine of ours.
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let mut found = Vec::new();
    for (folder, ending) in [
        ("engine", "rs"),
        ("tests", "rs"),
        ("playbooks", "yml"),
        ("scripts", "sh"),
    ] {
        for path in files(folder, ending) {
            for (number, line) in read(&path).lines().enumerate() {
                for word in forbidden.iter().filter(|word| line.contains(**word)) {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_shipped_playbook_is_inside_the_program() {
    let sandbox = Sandbox::new();
    let list = sandbox.runwright(&["list"]).code(0);
    let built_in = read(&root().join("engine/cli/src/builtin.rs"));
    for path in playbooks() {
        let below = path
            .strip_prefix(root().join("playbooks"))
            .expect("a playbook");
        assert!(
            built_in.contains(&format!("playbooks/{below}\"")),
            "{below} is not in builtin.rs"
        );
        let name = path.file_stem().expect("a name");
        assert!(list.stdout.contains(name), "{name} is not listed");
    }
    assert_eq!(built_in.matches("include_str!").count(), playbooks().len());
}

#[test]
fn the_schemas_are_what_the_program_prints() {
    let sandbox = Sandbox::new();
    for which in ["playbook", "kinds", "output", "plan", "audit"] {
        let printed = sandbox.runwright(&["schema", which]).code(0).stdout;
        let kept =
            fs::read_to_string(root().join(format!("schemas/{which}.json"))).unwrap_or_default();
        assert!(
            kept == printed,
            "schemas/{which}.json is not up to date: cargo run -p runwright -- schema {which} >schemas/{which}.json"
        );
    }
}

#[test]
fn every_command_of_the_readme_exists() {
    let sandbox = Sandbox::new();
    let readme = read(&root().join("README.md"));
    let blocks = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .filter(|block| block.starts_with("sh\n"));
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    let commands: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            line.split_once("runwright -- ")
                .map(|(_, rest)| rest)
                .or(line.strip_prefix("runwright "))
        })
        .map(|line| line.split(" #").next().unwrap_or_default())
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let mut words = command.split_whitespace();
        let name = words.next().expect("a command");
        let mut arguments = vec![name];
        if matches!(name, "audit" | "journal") {
            arguments.push(words.next().expect("a command of its own"));
        }
        arguments.push("--help");
        let help = sandbox.runwright(&arguments).code(0).stdout;
        for flag in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "`{command}`: {name} has no {flag}");
        }
    }
    let (_, rest) = readme
        .split_once("cat >greet.yml <<'YAML'\n")
        .expect("a playbook");
    let (greet, _) = rest.split_once("\nYAML\n").expect("its end");
    sandbox.write("greet.yml", greet);
    let ended = sandbox.runwright(&["check", "./greet.yml"]).code(0);
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
    for line in lines.iter().filter(|line| line.starts_with("scripts/")) {
        let script = line.split_whitespace().next().expect("a script");
        assert!(root().join(script).exists(), "{script} is not there");
    }
}
