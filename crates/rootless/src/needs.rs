//! What must be there before an ordinary user's daemon can be: looked for in the order in which a
//! user would set it up, and the first that is missing is said with its cure.

use crate::error::{Error, Result};
use crate::ids::{self, Line};
use crate::way_out::{Choice, WayOut};
use rustix::fs::{Access, access};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Ids that a container has; with the user's own as the first, so many subordinate ones are
/// needed less one.
const CONTAINER_IDS: u32 = 65_536;

/// Who starts the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name in /etc/passwd.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

impl User {
    /// Who this process belongs to.
    ///
    /// # Errors
    /// [`Error::NoUser`] when /etc/passwd has no such user.
    pub fn own() -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = name_of(&passwd, uid).ok_or(Error::NoUser(uid))?;
        Ok(Self { name, uid, gid })
    }
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) uid_map: Vec<Line>,
    pub(crate) gid_map: Vec<Line>,
    pub(crate) newuidmap: PathBuf,
    pub(crate) newgidmap: PathBuf,
    pub(crate) way_out: WayOut,
}

impl Needs {
    /// Looks for everything.
    pub(crate) fn find(choice: Choice) -> Result<Self> {
        user_namespaces()?;
        let user = User::own()?;
        let newuidmap = mapper("newuidmap")?;
        let newgidmap = mapper("newgidmap")?;
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let uid_map =
            enough(ids::map(&read("/etc/subuid"), &user, user.uid), &user, "/etc/subuid")?;
        let gid_map =
            enough(ids::map(&read("/etc/subgid"), &user, user.gid), &user, "/etc/subgid")?;
        Ok(Self { uid_map, gid_map, newuidmap, newgidmap, way_out: WayOut::find(choice)? })
    }
}

fn enough(map: Vec<Line>, user: &User, file: &'static str) -> Result<Vec<Line>> {
    let (count, needed) = (ids::subordinate(&map), CONTAINER_IDS - 1);
    match count >= needed {
        true => Ok(map),
        false => Err(Error::NoIds { user: user.name.clone(), file, count, needed }),
    }
}

/// Refuses kernels that are set up against it, in the words of their own settings.
fn user_namespaces() -> Result<()> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let refuse = |why: &str| Err(Error::NoUserNamespaces { why: why.to_owned() });
    if !Path::new("/proc/self/ns/user").exists() {
        return refuse("it was built without them (CONFIG_USER_NS)");
    }
    if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return refuse("as root, run `sysctl kernel.unprivileged_userns_clone=1`");
    }
    if number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return refuse("as root, run `sysctl user.max_user_namespaces=28633`");
    }
    Ok(())
}

/// What to say when the kernel refuses in spite of that.
pub(crate) fn refused(errno: rustix::io::Errno) -> Error {
    let restricted = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let on = std::fs::read_to_string(restricted).is_ok_and(|text| text.trim() == "1");
    let why = match on {
        true => format!(
            "{errno}: AppArmor allows it to named programs alone; as root, run `sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0`, or load a profile with `userns,` \
             for this program"
        ),
        false => format!("{errno}"),
    };
    Error::NoUserNamespaces { why }
}

fn mapper(name: &'static str) -> Result<PathBuf> {
    let hint = "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)";
    let path = find_program(name).ok_or(Error::NoProgram { program: name, hint })?;
    let set_id = std::fs::metadata(&path).is_ok_and(|it| it.permissions().mode() & 0o4000 != 0);
    let mut value = [0u8; 64];
    let mut capable = || {
        rustix::fs::getxattr(&path, "security.capability", &mut value)
            .is_ok_and(|length| length > 0)
    };
    if set_id || capable() {
        return Ok(path);
    }
    Err(Error::NotPrivileged { program: path })
}

/// A program by its name: in `PATH`, or where the system keeps programs.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
    let dirs = path.split(':').filter(|dir| dir.starts_with('/')).chain(places);
    dirs.map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// The user's directory for sockets: `XDG_RUNTIME_DIR`, or what logins make of it.
///
/// # Errors
/// [`Error::NoRuntimeDir`] when there is none that is the user's own.
pub fn runtime_dir() -> Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let own = |path: &PathBuf| {
        path.is_absolute() && std::fs::metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == uid)
    };
    let given = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    given.map(PathBuf::from).filter(own).or(Some(usual).filter(own)).ok_or(Error::NoRuntimeDir(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(name_of(passwd, 7), None);
    }

    #[test]
    fn what_is_missing_comes_with_its_cure() {
        let user = User { name: "ada".into(), uid: 1000, gid: 1000 };
        let few = vec![(0, 1000, 1), (1, 5000, 10)];
        let said = enough(few, &user, "/etc/subuid").unwrap_err().to_string();
        assert!(said.contains("10 subordinate ids in /etc/subuid"), "{said}");
        assert!(said.contains("usermod --add-subuids 100000-165535"), "{said}");
        assert!(enough(vec![(0, 1, 1), (1, 9, 65_535)], &user, "/etc/subuid").is_ok());
        let said = mapper("no-such-program-of-ours").unwrap_err().to_string();
        assert!(said.contains("uidmap"), "{said}");
    }
}
