//! The undo of what gave a file a new content: the old content, mode and owner again, byte for byte.

use std::io;

use runwright_core::kind::{Cx, Digest, Failure, Undo, UndoLook};
use serde::{Deserialize, Serialize};

use super::{
    blocking, content, failed, folder_of, folders,
    replacement::{Before, Over, put, remove_leftover},
    state::State,
};
use camino::Utf8Path;

/// Puts a file back as it was before, or removes it where there was none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PutBack {
    version: u8,
    before: Before,
}

impl PutBack {
    pub(super) fn new(before: &Before) -> PutBack {
        PutBack {
            version: 1,
            before: before.clone(),
        }
    }
}

impl Undo for PutBack {
    fn describe(&self) -> String {
        let Before { path, was, .. } = &self.before;
        if was.exists {
            format!("put back `{path}` as it was: {}", was.display())
        } else {
            format!("remove `{path}`, which was not there")
        }
    }

    async fn look(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        let (cx, before) = (cx.clone(), self.before.clone());
        blocking(move || look(&cx, &before)).await
    }

    async fn perform(&self, cx: &Cx) -> Result<(), Failure> {
        let (cx, before) = (cx.clone(), self.before.clone());
        blocking(move || perform(&cx, &before)).await
    }
}

pub(super) fn look(cx: &Cx, before: &Before) -> Result<UndoLook, Failure> {
    if let Some(lapsed) = uncomparable(cx, &before.path, &[&before.was, &before.after])? {
        return Ok(lapsed);
    }
    let now = State::like(&before.after, cx, &before.path)?;
    if now == before.after {
        return Ok(match &before.was.digest {
            Some(digest) => kept(cx, &before.path, digest).unwrap_or(UndoLook::Needed),
            None => UndoLook::Needed,
        });
    }
    if State::like(&before.was, cx, &before.path)? != before.was {
        return Ok(dirty(&before.path, &before.after, &now));
    }
    let leftovers = before.temporary.exists() || folders::any_empty(&before.folders)?;
    Ok(if leftovers {
        UndoLook::Needed
    } else {
        UndoLook::Done
    })
}

pub(super) fn perform(cx: &Cx, before: &Before) -> Result<(), Failure> {
    let Before { path, was, .. } = before;
    let now = State::like(&before.after, cx, path)?;
    if now == before.after {
        match &was.digest {
            Some(digest) => restore(cx, before, digest)?,
            None => remove(path)?,
        }
    } else if State::like(was, cx, path)? != *was {
        return Err(Failure::refused(format!(
            "undo the change of `{path}`: somebody has changed it since, it is {}",
            now.display()
        )));
    }
    remove_leftover(&before.temporary)?;
    folders::remove_empty(&before.folders)
}

/// Returns what an undo says that finds `now` at `path` and not what the change left.
pub(super) fn dirty(path: &Utf8Path, after: &State, now: &State) -> UndoLook {
    UndoLook::Dirty(if now.exists {
        format!(
            "`{path}` was changed after the step ({}): it is {} now",
            after.difference(now),
            now.display()
        )
    } else {
        format!("`{path}` was removed after the step")
    })
}

/// Returns the answer where nothing can be compared with `recorded` any more: the key of its digests is gone.
pub(super) fn uncomparable(
    cx: &Cx,
    path: &Utf8Path,
    recorded: &[&State],
) -> Result<Option<UndoLook>, Failure> {
    for digest in recorded.iter().filter_map(|state| state.digest.as_ref()) {
        match cx.host.hasher_like(digest) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(UndoLook::Lapsed(format!(
                    "whether `{path}` is still as the step left it can't be told: {error}"
                ))));
            }
            Err(error) => return Err(failed("compare", path, &error)),
        }
    }
    Ok(None)
}

/// Returns the answer where the content that was kept of `path` is gone.
pub(super) fn kept(cx: &Cx, path: &Utf8Path, digest: &Digest) -> Option<UndoLook> {
    let kept = cx.host.kept(digest);
    (!kept.is_file()).then(|| {
        UndoLook::Lapsed(format!(
            "the content of `{path}` that was kept at `{kept}` is gone"
        ))
    })
}

fn restore(cx: &Cx, before: &Before, digest: &Digest) -> Result<(), Failure> {
    let kept = cx.host.kept(digest);
    put(
        &before.path,
        &before.temporary,
        &before.was,
        Over::Existing,
        |file, temporary| {
            let hasher = content::hasher_like(cx, &before.path, digest)?;
            content::copy_into(cx, &kept, file, temporary, hasher)
        },
    )
}

pub(super) fn remove(path: &Utf8Path) -> Result<(), Failure> {
    std::fs::remove_file(path).map_err(|error| failed("remove", path, &error))?;
    folders::sync(folder_of(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::testing::{Bench, kind};

    #[test]
    fn a_kept_content_that_is_gone_or_damaged_never_replaces_the_file() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "old").expect("written");
        let write = kind("file.write");
        let (_, undo) = bench
            .run(write, json!({"path": path, "content": "new"}))
            .expect("written");
        let undo = undo.expect("an undo");
        let kept = bench.cx().host.kept(&Digest::of(b"old"));
        fs::write(&kept, "odd").expect("damaged");
        bench.undo(write, &undo).expect_err("a damaged content");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        fs::remove_file(&kept).expect("removed");
        let look = bench.undo(write, &undo).expect("a look");
        assert!(
            matches!(&look, UndoLook::Lapsed(text) if text.contains("is gone")),
            "{look:?}"
        );
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    /// Every kind that puts a content back, with arguments that change `a`.
    fn changes(bench: &Bench) -> [(&'static str, serde_json::Value); 3] {
        let (path, from) = (bench.path("a"), bench.path("from"));
        fs::write(&from, "PORT=1\nNEW=2\n").expect("written");
        [
            ("file.write", json!({"path": path, "content": "PORT=2\n"})),
            (
                "file.set",
                json!({"path": path, "format": "env", "key": "PORT", "value": 2}),
            ),
            (
                "file.copy",
                json!({"from": from, "to": path, "overwrite": true}),
            ),
        ]
    }

    #[test]
    fn where_digests_are_keyed_no_plain_one_is_told_and_the_undo_compares_all_the_same() {
        let bench = Bench::new();
        let path = bench.path("a");
        for (name, arguments) in changes(&bench) {
            fs::write(&path, "PORT=1\n").expect("written");
            bench.key_digests(true);
            let (result, undo) = bench.run(kind(name), arguments.clone()).expect("changed");
            let undo = undo.expect("an undo");
            let new = fs::read(&path).expect("there");
            let told = format!("{} {}", result.to_stored(), undo.data);
            assert!(told.contains("keyed:"), "{name}: {told}");
            for content in [&b"PORT=1\n"[..], &new] {
                assert!(!told.contains(&Digest::of(content).0), "{name}: {told}");
            }
            let (again, nothing) = bench.run(kind(name), arguments).expect("done already");
            assert!(nothing.is_none(), "{name}");
            assert_eq!(again.get("digest"), result.get("digest"), "{name}");
            // The undo does not know that there was a secret.
            bench.key_digests(false);
            fs::write(&path, [&new[..], b"x"].concat()).expect("written");
            let look = bench.undo(kind(name), &undo);
            assert!(matches!(look, Ok(UndoLook::Dirty(_))), "{name}: {look:?}");
            let mut same_size = new.clone();
            same_size[0] = b'X';
            fs::write(&path, same_size).expect("written");
            let look = bench.undo(kind(name), &undo);
            assert!(matches!(look, Ok(UndoLook::Dirty(_))), "{name}: {look:?}");
            fs::write(&path, new).expect("written");
            assert_eq!(bench.undo(kind(name), &undo), Ok(UndoLook::Needed));
            assert_eq!(fs::read(&path).expect("there"), b"PORT=1\n", "{name}");
            assert_eq!(bench.undo(kind(name), &undo), Ok(UndoLook::Done));
        }
    }

    #[test]
    fn a_plain_digest_of_an_earlier_run_is_compared_by_one_that_keys_its_own() {
        let bench = Bench::new();
        let path = bench.path("a");
        for (name, arguments) in changes(&bench) {
            fs::write(&path, "PORT=1\n").expect("written");
            bench.key_digests(false);
            let (_, undo) = bench.run(kind(name), arguments).expect("changed");
            bench.key_digests(true);
            let look = bench.undo(kind(name), &undo.expect("an undo"));
            assert_eq!(look, Ok(UndoLook::Needed), "{name}");
            assert_eq!(fs::read(&path).expect("there"), b"PORT=1\n", "{name}");
        }
    }

    #[test]
    fn an_undo_whose_key_is_gone_has_lapsed() {
        let bench = Bench::new();
        let path = bench.path("a");
        bench.key_digests(true);
        let write = kind("file.write");
        let (_, undo) = bench
            .run(write, json!({"path": path, "content": "new"}))
            .expect("written");
        bench.lose_keys();
        let look = bench.undo(write, &undo.expect("an undo"));
        assert!(
            matches!(&look, Ok(UndoLook::Lapsed(text)) if text.contains("can't be told")),
            "{look:?}"
        );
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }
}
