//! Users by name, read from the container's own `etc/passwd` and `etc/group`.
//!
//! Digits are numbers and never names (law B5). The files are opened inside the root (symbolic
//! links cannot lead out) and read up to a limit; nothing is ever loaded from the container.

use crate::error::LaunchError;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use sys::Root;

/// Largest `etc/passwd` or `etc/group` that is read.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Largest id, law B5.
const ID_MAX: u32 = i32::MAX.cast_unsigned();

/// A resolved user, in ids of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one included, ascending.
    pub additional_gids: Vec<u32>,
    /// Home directory; `/` when the user has no entry.
    pub home: String,
}

/// The two files of users and groups; empty when missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `etc/passwd`.
    pub passwd: String,
    /// `etc/group`.
    pub group: String,
}

impl Accounts {
    /// Reads them in the root directory `root`.
    ///
    /// # Errors
    /// [`LaunchError`] of kind invalid for files that are too large or no files.
    pub fn read(root: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        Ok(Self { passwd: read(root, "etc/passwd")?, group: read(root, "etc/group")? })
    }
}

/// Resolves `name|uid[:group|gid]` in the root directory `root`. An empty user is root.
///
/// # Errors
/// [`LaunchError`] of kind invalid when there is no such user or group or the files are too large.
pub fn resolve(root: BorrowedFd<'_>, user: &str) -> Result<User, LaunchError> {
    resolve_in(&Accounts::read(root)?, user)
}

/// As [`resolve`], from files that were read already. Pure.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_in(accounts: &Accounts, user: &str) -> Result<User, LaunchError> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = parse_id("user", name)?;
    let entry = accounts.passwd.lines().filter_map(Account::parse).find(|entry| match number {
        Some(uid) => entry.uid == uid,
        None => entry.name == name,
    });
    let (uid, own_gid, home, login) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home, Some(entry.name)),
        (None, Some(uid)) => (uid, 0, "/", None),
        (None, None) => return Err(missing("user", name, "passwd")),
    };
    let groups: Vec<Group> = accounts.group.lines().filter_map(Group::parse).collect();
    // A group that was given stands alone; otherwise the user's memberships count.
    let (gid, mut additional_gids) = match group {
        Some(group) => (group_id(&groups, group)?, Vec::new()),
        None => (own_gid, memberships(&groups, login)),
    };
    additional_gids.push(gid);
    additional_gids.sort_unstable();
    additional_gids.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, additional_gids, home: home.to_owned() })
}

/// The id of one more group, `name|gid` (`--group-add`).
///
/// # Errors
/// [`LaunchError`] of kind invalid when there is no such group.
pub fn resolve_group(accounts: &Accounts, group: &str) -> Result<u32, LaunchError> {
    group_id(&accounts.group.lines().filter_map(Group::parse).collect::<Vec<_>>(), group)
}

fn group_id(groups: &[Group<'_>], group: &str) -> Result<u32, LaunchError> {
    if let Some(gid) = parse_id("group", group)? {
        return Ok(gid);
    }
    let found = groups.iter().find(|entry| entry.name == group);
    found.map(|entry| entry.gid).ok_or_else(|| missing("group", group, "group"))
}

fn memberships(groups: &[Group<'_>], login: Option<&str>) -> Vec<u32> {
    let Some(login) = login else { return Vec::new() };
    let of = groups.iter().filter(|group| group.members.split(',').any(|m| m == login));
    of.map(|group| group.gid).collect()
}

/// A number if it consists of digits; then it must be in range.
fn parse_id(what: &str, text: &str) -> Result<Option<u32>, LaunchError> {
    let out_of_range =
        || LaunchError::invalid(format!("{what} id {text} is not between 0 and {ID_MAX}"));
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        let id = text.parse::<u32>().ok().filter(|id| *id <= ID_MAX);
        return id.map(Some).ok_or_else(out_of_range);
    }
    if text.strip_prefix(['-', '+']).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        return Err(out_of_range());
    }
    if text.bytes().any(|b| b.is_ascii_control() || b == b':') {
        return Err(LaunchError::invalid(format!("{what} {text:?} is no name")));
    }
    Ok(None)
}

fn missing(what: &str, name: &str, file: &str) -> LaunchError {
    LaunchError::invalid(format!(
        "unable to find {what} {name}: no matching entries in {file} file"
    ))
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let mut fields = fields.skip(1);
        let uid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        let gid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        let home = fields.nth(1).unwrap_or("");
        // A home that is not a path would become part of the environment.
        let home = if home.starts_with('/') { home } else { "" };
        Some(Self { name, uid, gid, home })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let mut fields = fields.skip(1);
        let gid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        Some(Self { name, gid, members: fields.next().unwrap_or("") })
    }
}

fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, LaunchError> {
    let failed = |errno| {
        LaunchError::at(format!("read {path} of the container"), errno)
            .of_kind(crate::error::FailureKind::Invalid)
    };
    let root = rustix::io::fcntl_dupfd_cloexec(root.as_fd(), 3).map_err(failed)?;
    match Root::from(root).read(Path::new(path), MAX_FILE_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(String::new()),
        Err(error) => Err(failed(error.errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# comment:x:1:1::/:\nbad line\n\
                     bin:x:1:1:bin:/bin:/sbin/nologin\n1000:x:42:42::/trap:/bin/sh\n\
                     app:x:1000:1000::/home/app:/bin/sh\nhomeless:x:7:7:::\n\
                     huge:x:4294967296:0::/:\n"
                .into(),
            group: "root:x:0:root\nbin:x:1:root,bin\nwheel:x:10:app,root\napp:x:1000:\n".into(),
        }
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User { uid, gid, additional_gids: groups.to_vec(), home: home.into() }
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        for (text, expect) in [
            ("", user(0, 0, &[0, 1, 10], "/root")),
            ("0", user(0, 0, &[0, 1, 10], "/root")),
            ("00", user(0, 0, &[0, 1, 10], "/root")),
            ("root", user(0, 0, &[0, 1, 10], "/root")),
            ("app", user(1000, 1000, &[10, 1000], "/home/app")),
            ("1000", user(1000, 1000, &[10, 1000], "/home/app")),
            ("app:bin", user(1000, 1, &[1], "/home/app")),
            ("app:77", user(1000, 77, &[77], "/home/app")),
            ("55", user(55, 0, &[0], "/")),
            ("55:66", user(55, 66, &[66], "/")),
            (":5", user(0, 5, &[5], "/root")),
            ("homeless", user(7, 7, &[7], "/")),
        ] {
            assert_eq!(resolve_in(&accounts(), text), Ok(expect), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_user_is_refused() {
        for text in [
            "4294967296",
            "2147483648",
            "-1",
            "+1",
            "1:2:3",
            "nobody",
            "app:nogroup",
            "huge",
            "a\nb",
            "0:-1",
        ] {
            assert!(resolve_in(&accounts(), text).is_err(), "{text:?}");
        }
        let error = resolve_in(&accounts(), "foo").expect_err("foo");
        assert_eq!(
            error.to_string(),
            "unable to find user foo: no matching entries in passwd file"
        );
    }

    #[test]
    fn the_number_of_a_name_made_of_digits_is_the_number() {
        // The trap: a user called "1000" with id 42.
        assert_eq!(resolve_in(&accounts(), "1000").map(|user| user.uid), Ok(1000));
        let only_trap = Accounts { passwd: "1000:x:42:42::/trap:/".into(), ..Accounts::default() };
        assert_eq!(resolve_in(&only_trap, "1000").map(|user| user.uid), Ok(1000));
    }
}
