//! The undo of what gave a file a new content: the old content, mode and owner again, byte for byte.

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
    let now = State::of(cx, &before.path)?;
    if now == before.after {
        return Ok(match &before.was.digest {
            Some(digest) => kept(cx, &before.path, digest).unwrap_or(UndoLook::Needed),
            None => UndoLook::Needed,
        });
    }
    if now != before.was {
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
    let now = State::of(cx, path)?;
    if now == before.after {
        match &was.digest {
            Some(digest) => restore(cx, before, digest)?,
            None => remove(path)?,
        }
    } else if now != *was {
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
        |file, temporary| content::copy_into(cx, &kept, file, temporary),
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
}
