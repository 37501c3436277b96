//! The user a program runs as.

use std::ffi::CString;

use nix::unistd::{self, Uid};
use runwright_core::kind::{Class, Failure};

/// A user of this machine with what a login would give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The groups beside the first one.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Returns the user that `name` (or number) means; `None` when that is who we are already.
pub(super) fn find(name: &str) -> Result<Option<User>, Failure> {
    let found = match name.parse() {
        Ok(number) => unistd::User::from_uid(Uid::from_raw(number)),
        Err(_) => unistd::User::from_name(name),
    };
    let user = found
        .map_err(|error| Failure::internal(format!("look up the user `{name}`")).because(&error))?
        .ok_or_else(|| {
            Failure::internal(format!("run as `{name}`: this machine has no such user"))
                .hint("`getent passwd` lists the users; a number is taken as a user id")
        })?;
    if user.uid == unistd::geteuid() {
        return Ok(None);
    }
    if !unistd::geteuid().is_root() {
        return Err(Failure::new(
            Class::Refused,
            format!("run as `{name}`: only root may become another user"),
        )
        .hint("start the run as root, or as that user and leave `user` out"));
    }
    let groups = CString::new(user.name.as_str())
        .map_err(|_| nix::Error::EINVAL)
        .and_then(|name| unistd::getgrouplist(&name, user.gid))
        .map_err(|error| {
            Failure::internal(format!("list the groups of `{name}`")).because(&error)
        })?;
    Ok(Some(User {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups
            .into_iter()
            .filter(|group| *group != user.gid)
            .map(unistd::Gid::as_raw)
            .collect(),
        home: user.dir.to_string_lossy().into_owned(),
        name: user.name,
    }))
}
