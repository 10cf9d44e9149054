//! The daemon's side: it joins the user's namespaces and executes itself again in there. What a
//! process was before it joined, a foreign process without rights over its own files in /proc, an
//! exec makes good.

use crate::ask::{Answer, Ask, Begin, ask, receive, send};
use crate::door::Door;
use crate::error::{Error, Result};
use crate::needs::Needs;
use crate::way_out::Choice;
use crate::{KEEPER, cgroup, needs};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::clone::ns;

/// Tells the second execution what the first one did: the number of the connection to the keeper.
const ENTERED: &str = "ESTIBA_ROOTLESS_ENTERED";

/// Where the keeper listens, in its directory.
pub(crate) const SOCKET: &str = "keeper.sock";
/// Held while a daemon looks for its keeper, and while a keeper decides to end.
pub(crate) const LOCK: &str = "keeper.lock";

/// What entering needs to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Directory of the keeper's files, on a memory file system; made when it is not there.
    pub dir: PathBuf,
    /// Name of the group that the daemon moves to in a delegated control group.
    pub daemon_group: &'static str,
    /// Which way out.
    pub choice: Choice,
}

/// Whether this process was executed by [`enter`].
#[must_use]
pub fn is_entered() -> bool {
    std::env::var_os(ENTERED).is_some()
}

/// The connection to the keeper, of a process that [`enter`] has executed. To be called once,
/// before anything is opened.
#[must_use]
pub fn inside() -> Option<Door> {
    let number = std::env::var(ENTERED).ok()?.parse().ok()?;
    sys::resident::inherited_fd(number).ok().map(Door::new)
}

/// Joins the user's namespaces, making them when there are none, and executes this program again
/// with the same arguments. Returns only when it cannot. The process must have no other thread.
#[must_use]
pub fn enter(setup: &Setup) -> Error {
    match enter_or_say_why(setup) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn enter_or_say_why(setup: &Setup) -> Result<std::convert::Infallible> {
    if rustix::process::geteuid().is_root() {
        return Err(Error::Root);
    }
    let making = || format!("make directory {}", setup.dir.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&setup.dir)
        .map_err(Error::io(making()))?;
    cgroup::move_aside(setup.daemon_group);
    let lock = lock(&setup.dir)?;
    let connection = match connect(&setup.dir) {
        Some(connection) => connection,
        None => {
            begin(setup)?;
            connect(&setup.dir).ok_or_else(|| Error::Keeper("the keeper does not answer".into()))?
        }
    };
    let (answer, namespaces) = ask(&connection, &Ask::Enter)?;
    drop(lock);
    if let Answer::Failed { why } = answer {
        return Err(Error::Keeper(why));
    }
    let kinds = [ns::USER, ns::NET, ns::MOUNT];
    if namespaces.len() != kinds.len() {
        return Err(Error::Keeper("the keeper does not hand the namespaces over".into()));
    }
    for (namespace, kind) in namespaces.iter().zip(kinds) {
        sys::mount::setns(namespace.as_fd(), kind).map_err(Error::io("join the namespaces"))?;
    }
    rustix::io::fcntl_setfd(&connection, rustix::io::FdFlags::empty())
        .map_err(Error::io("keep the connection to the keeper"))?;
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "estiba".into());
    let error = Command::new("/proc/self/exe")
        .arg0(name)
        .args(words)
        .env(ENTERED, connection.as_raw_fd().to_string())
        .exec();
    Err(Error::io("execute the daemon in its namespaces")(error))
}

/// The lock of a keeper's directory, held until dropped.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let locking = || format!("lock {}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(Error::io(locking()))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(Error::io(locking()))?;
    Ok(file.into())
}

/// A connection to the keeper, if there is one.
fn connect(dir: &Path) -> Option<OwnedFd> {
    let address = SocketAddrUnix::new(dir.join(SOCKET)).ok()?;
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::connect(&socket, &address).ok()?;
    Some(socket)
}

/// Starts a keeper, and waits until everything is there.
fn begin(setup: &Setup) -> Result<()> {
    let needs = Needs::find(setup.choice)?;
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let order = Begin {
        dir: setup.dir.clone(),
        resolv_conf: needs.way_out.resolv_conf(&host),
        uid_map: needs.uid_map,
        gid_map: needs.gid_map,
        newuidmap: needs.newuidmap,
        newgidmap: needs.newgidmap,
        way_out: needs.way_out,
    };
    const ACT: &str = "start the keeper of this user's namespaces";
    let (control, theirs) = sys::socket::message_pair().map_err(Error::io("make a socket pair"))?;
    let program = File::open("/proc/self/exe").map_err(Error::io("open own program"))?;
    let words = ["estiba", KEEPER, "3"].map(|word| CString::new(word).unwrap_or_default());
    let words: Vec<&std::ffi::CStr> = words.iter().map(CString::as_c_str).collect();
    let spawn = sys::spawn::Spawn::new(program.as_fd(), &words).fd(theirs.as_fd(), 3);
    spawn.spawn().map_err(Error::io(ACT))?;
    drop(theirs);
    send(&control, &order, &[]).map_err(Error::io(ACT))?;
    match receive::<Answer>(&control).map_err(Error::io(ACT))? {
        Some((Answer::Done, _)) => Ok(()),
        Some((Answer::Failed { why }, _)) => Err(Error::Keeper(why)),
        Some((Answer::Refused { errno }, _)) => {
            Err(needs::refused(rustix::io::Errno::from_raw_os_error(errno)))
        }
        None => Err(Error::Keeper("the keeper died while it made the namespaces".into())),
    }
}
