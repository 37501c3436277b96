//! Looks for the programs that a playbook needs.

use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use runwright_core::{event::missing_line, kind::Cx, plan::Requirement};

/// Returns a line for each program that is missing or too old.
pub(crate) async fn missing(cx: Cx, requires: Vec<Requirement>) -> Vec<String> {
    let look = tokio::task::spawn_blocking(move || {
        requires
            .iter()
            .filter_map(|requirement| missing_one(&cx, requirement))
            .collect()
    });
    look.await
        .unwrap_or_else(|_| vec!["the required programs could not be looked for".to_owned()])
}

fn missing_one(cx: &Cx, requirement: &Requirement) -> Option<String> {
    let Some(path) = find(cx, &requirement.program) else {
        return Some(missing_line(requirement, None));
    };
    if requirement.versions == "*" {
        return None;
    }
    let wanted = semver::VersionReq::parse(&requirement.versions).ok()?;
    let Some(version) = version_of(cx, &path) else {
        return Some(format!(
            "`{}` does not say its version, but the playbook needs {wanted}",
            requirement.program
        ));
    };
    (!wanted.matches(&version)).then(|| missing_line(requirement, Some(&version.to_string())))
}

/// Returns where `program` is found through the children's `PATH`.
fn find(cx: &Cx, program: &str) -> Option<Utf8PathBuf> {
    let path = cx.children.env.get("PATH")?;
    path.split(':')
        .map(|folder| Utf8PathBuf::from(folder).join(program))
        .find(|path| {
            use std::os::unix::fs::PermissionsExt;
            path.metadata()
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

/// Returns the first version number that `program --version` prints.
fn version_of(cx: &Cx, path: &Utf8PathBuf) -> Option<semver::Version> {
    let output = Command::new(path)
        .arg("--version")
        .env_clear()
        .envs(&cx.children.env)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.split(|c: char| c.is_whitespace() || c == ',' || c == '(')
        .map(|word| word.trim_start_matches(['v', 'V']))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .find_map(loose_version)
}

/// Reads `2.47`, `15.18` or `1.2.3-rc1` as a version.
fn loose_version(word: &str) -> Option<semver::Version> {
    let numbers: Vec<u64> = word
        .split(['.', '-', '+'])
        .map_while(|part| {
            part.trim_end_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .ok()
        })
        .take(3)
        .collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    (!numbers.is_empty()).then(|| semver::Version::new(at(0), at(1), at(2)))
}
