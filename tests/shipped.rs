//! The shipped playbooks.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    diagnostic::{Colour, Source, render},
    language,
};

use crate::harness::{Sandbox, root};

/// Returns every playbook under `playbooks/`, by path; profiles are none.
pub(crate) fn playbooks() -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("playbooks")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().expect("a folder") {
            let path = entry.expect("an entry").into_path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("yml") {
                found.push(path);
            }
        }
    }
    found.retain(|path| path.parent().and_then(Utf8Path::file_name) != Some("profiles"));
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    found
}

#[test]
fn every_shipped_playbook_loads_without_a_remark() {
    let kinds = runwright_steps::kinds();
    let mut remarks = String::new();
    for path in playbooks() {
        let source = Source::new(path.as_str(), fs::read_to_string(&path).expect("a file"));
        let (playbook, problems) = language::read(&source, Some(&path), &kinds);
        remarks += &render(&problems, &source, Colour::Plain);
        let Some(playbook) = playbook else {
            continue;
        };
        assert!(!playbook.scope.title.is_empty(), "{path} has no title");
        assert!(
            playbook.scope.description.contains("When to use it"),
            "{path}"
        );
        assert!(playbook.origin.is_some(), "{path} does not say its source");
    }
    assert!(remarks.is_empty(), "{remarks}");
}

#[test]
fn the_example_of_a_profile_fits_the_playbooks() {
    let sandbox = Sandbox::new();
    let example =
        fs::read_to_string(root().join("playbooks/profiles/example.yml")).expect("a file");
    sandbox.write("books/profiles/example.yml", example);
    let places = ["--playbooks", "books", "--profile", "example"];
    for (name, value) in [("daily-health", "85"), ("wal-recover", "128MiB")] {
        let ended = sandbox.runwright(&[&["plan", name][..], &places].concat());
        assert_ne!(ended.code, 2, "{ended:?}");
        ended.says(value);
    }
}
