//! How a thing gets from one path to another, and back: by a rename, or by a copy to another file system.

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Cx, Failure, Undo, UndoLook};
use serde::{Deserialize, Serialize};

use super::{
    blocking, content, copy, failed, folder_of, folders,
    put_back::{dirty, kept, remove, uncomparable},
    replacement::{Over, left, put, remove_leftover, rename},
    state::{Identity, State},
};

/// The state before something is moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) from: Utf8PathBuf,
    pub(super) to: Utf8PathBuf,
    /// What is moved; with a digest where it goes to another file system.
    #[serde(flatten)]
    pub(super) was: State,
    pub(super) identity: Identity,
    /// Whether it goes to another file system.
    pub(super) across: bool,
    /// What is replaced.
    pub(super) destination: State,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) folders: Vec<Utf8PathBuf>,
    /// Where a copy is put together on the way there, and on the way back.
    pub(super) temporary: Utf8PathBuf,
    pub(super) temporary_back: Utf8PathBuf,
}

impl Before {
    pub(super) fn rename(&self, cx: &Cx) -> Result<(), Failure> {
        let (at_from, at_to) = (Identity::of(&self.from)?, Identity::of(&self.to)?);
        if at_from.is_none() && at_to.as_ref() == Some(&self.identity) {
            return Ok(());
        }
        if at_from.as_ref() != Some(&self.identity) {
            let now = State::without_content(&self.from)?;
            return Err(left(&self.from, &self.was, &now));
        }
        self.check_destination(cx)?;
        folders::make(cx, &self.folders)?;
        rename(&self.from, &self.to, Over::from(&self.destination)).map_err(|failure| {
            // Two mounts of one file system look like one until it is tried.
            if failure
                .causes
                .iter()
                .any(|cause| cause.contains("os error 18"))
            {
                failure.hint("they lie on two mounts: use `file.copy` and `file.delete`")
            } else {
                failure
            }
        })
    }

    pub(super) fn carry(&self, cx: &Cx) -> Result<(), Failure> {
        let at_from = State::like(&self.was, cx, &self.from)?;
        if State::like(&self.was, cx, &self.to)? != self.was {
            if at_from != self.was {
                return Err(left(&self.from, &self.was, &at_from));
            }
            self.check_destination(cx)?;
            folders::make(cx, &self.folders)?;
            place(
                cx,
                &self.from,
                &self.to,
                &self.temporary,
                &self.was,
                Over::from(&self.destination),
            )?;
        }
        match at_from {
            gone if !gone.exists => Ok(()),
            same if same == self.was => remove(&self.from),
            other => Err(left(&self.from, &self.was, &other)),
        }
    }

    fn check_destination(&self, cx: &Cx) -> Result<(), Failure> {
        let now = State::like(&self.destination, cx, &self.to)?;
        if now == self.destination {
            Ok(())
        } else {
            Err(left(&self.to, &self.destination, &now))
        }
    }
}

/// Makes at `to` what lies at `from` and is as `what`: a file or a link.
fn place(
    cx: &Cx,
    from: &Utf8Path,
    to: &Utf8Path,
    temporary: &Utf8Path,
    what: &State,
    over: Over,
) -> Result<(), Failure> {
    let Some(target) = &what.target else {
        return put(to, temporary, what, over, |file, temporary| {
            copy::copy(cx, from, file, temporary, true, what)
        });
    };
    remove_leftover(temporary)?;
    std::os::unix::fs::symlink(target, temporary)
        .and_then(|()| std::os::unix::fs::lchown(temporary, what.uid, what.gid))
        .map_err(|error| failed("make the link", to, &error))?;
    rename(temporary, to, over)?;
    folders::sync(folder_of(to))
}

/// Moves something back and puts back what it replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MoveBack {
    pub(super) version: u8,
    pub(super) before: Before,
}

/// How far the thing is on its way, as an undo finds it.
enum Place {
    /// At its new path.
    There,
    /// At its old path.
    Back,
    /// On another file system: at both.
    Both,
}

impl Undo for MoveBack {
    fn describe(&self) -> String {
        let Before {
            from,
            to,
            destination,
            ..
        } = &self.before;
        if destination.exists {
            format!("move `{to}` back to `{from}` and put back the file that was there")
        } else {
            format!("move `{to}` back to `{from}`")
        }
    }

    async fn look(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        let (cx, before) = (cx.clone(), self.before.clone());
        blocking(move || before.look_back(&cx)).await
    }

    async fn perform(&self, cx: &Cx) -> Result<(), Failure> {
        let (cx, before) = (cx.clone(), self.before.clone());
        blocking(move || before.move_back(&cx)).await
    }
}

impl Before {
    pub(super) fn look_back(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        if let Some(lapsed) = uncomparable(cx, &self.to, &[&self.was, &self.destination])? {
            return Ok(lapsed);
        }
        let place = match self.find(cx)? {
            Ok(place) => place,
            Err(dirty) => return Ok(dirty),
        };
        if let Place::Back = place {
            let now = State::like(&self.destination, cx, &self.to)?;
            if now == self.destination {
                let leftovers = self.temporary.exists()
                    || self.temporary_back.exists()
                    || folders::any_empty(&self.folders)?;
                return Ok(if leftovers {
                    UndoLook::Needed
                } else {
                    UndoLook::Done
                });
            }
            if now.exists {
                return Ok(dirty(&self.to, &self.destination, &now));
            }
        }
        let lapsed = match &self.destination.digest {
            Some(digest) => kept(cx, &self.to, digest),
            None => None,
        };
        Ok(lapsed.unwrap_or(UndoLook::Needed))
    }

    /// Returns where the thing is now, or what somebody did to it.
    fn find(&self, cx: &Cx) -> Result<Result<Place, UndoLook>, Failure> {
        let (at_from, at_to) = if self.across {
            let state = |path| {
                let now = State::like(&self.was, cx, path)?;
                Ok((now.exists, now == self.was))
            };
            (state(&self.from)?, state(&self.to)?)
        } else {
            let state = |path| {
                let now = Identity::of(path)?;
                Ok((now.is_some(), now.as_ref() == Some(&self.identity)))
            };
            (state(&self.from)?, state(&self.to)?)
        };
        Ok(match (at_from, at_to) {
            ((_, true), (_, true)) => Ok(Place::Both),
            ((_, true), _) => Ok(Place::Back),
            ((false, _), (_, true)) => Ok(Place::There),
            ((true, _), _) => Err(dirty(
                &self.from,
                &State::default(),
                &State::without_content(&self.from)?,
            )),
            ((false, _), _) => Err(dirty(
                &self.to,
                &State {
                    digest: None,
                    ..self.was.clone()
                },
                &State::without_content(&self.to)?,
            )),
        })
    }

    pub(super) fn move_back(&self, cx: &Cx) -> Result<(), Failure> {
        let place_now = self.find(cx)?.map_err(|dirty| {
            let UndoLook::Dirty(what) = dirty else {
                return Failure::internal(format!("move `{}` back", self.to));
            };
            Failure::refused(format!(
                "move `{}` back to `{}`: {what}",
                self.to, self.from
            ))
        })?;
        folders::make(cx, &folders::missing(folder_of(&self.from))?)?;
        match place_now {
            Place::There if !self.across => {
                rename(&self.to, &self.from, Over::Nothing)?;
                folders::sync(folder_of(&self.to))?;
            }
            Place::There => {
                place(
                    cx,
                    &self.to,
                    &self.from,
                    &self.temporary_back,
                    &self.was,
                    Over::Nothing,
                )?;
                remove(&self.to)?;
            }
            Place::Both => remove(&self.to)?,
            Place::Back => {}
        }
        folders::sync(folder_of(&self.from))?;
        if let Some(digest) = &self.destination.digest
            && !State::without_content(&self.to)?.exists
        {
            let kept = cx.host.kept(digest);
            put(
                &self.to,
                &self.temporary,
                &self.destination,
                Over::Nothing,
                |file, temporary| {
                    let hasher = content::hasher_like(cx, &self.to, digest)?;
                    content::copy_into(cx, &kept, file, temporary, hasher)
                },
            )?;
        }
        remove_leftover(&self.temporary)?;
        remove_leftover(&self.temporary_back)?;
        folders::remove_empty(&self.folders)
    }
}
