//! Owners and groups, by name and by number.

use nix::unistd::{Gid, Group, Uid, User};
use runwright_core::kind::Failure;

/// Returns the number of the user `name`; a number stands for itself.
pub(super) fn uid(name: &str) -> Result<u32, Failure> {
    number("user", name, |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

/// Returns the number of the group `name`; a number stands for itself.
pub(super) fn gid(name: &str) -> Result<u32, Failure> {
    number("group", name, |name| {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

/// Returns the name of the user `uid`, or its number where it has none.
pub(super) fn user(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Returns the name of the group `gid`, or its number where it has none.
pub(super) fn group(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

fn number(
    what: &str,
    name: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Failure> {
    let found = find(name).map_err(|error| {
        Failure::internal(format!("look up the {what} `{name}`")).because(&error)
    })?;
    found.or_else(|| name.parse().ok()).ok_or_else(|| {
        Failure::internal(format!("find the {what} `{name}`: this machine has none")).hint(format!(
            "see `getent {}`",
            if what == "user" { "passwd" } else { what }
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_unknown_names_are_not() {
        assert_eq!((uid("root"), gid("0")), (Ok(0), Ok(0)));
        assert_eq!(user(0), "root");
        assert_eq!(uid("4000000000"), Ok(4_000_000_000));
        assert_eq!(group(4_000_000_000), "4000000000");
        let failure = uid("no-such-user").expect_err("unknown");
        assert!(failure.message.contains("no-such-user"));
    }
}
