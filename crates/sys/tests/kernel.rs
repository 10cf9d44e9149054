//! The kernel's doors, each opened and closed once; what must stay shut is tried.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use sys::clone::{Argv, clone3, ns};
use sys::{Ended, Pidfd, Root};

/// A directory that is gone when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sys-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_child_ends_as_it_says() {
    for (status, expect) in [(0, Ended::Exited(0)), (7, Ended::Exited(7))] {
        let child = clone3(0, || status).expect("clone3");
        assert_eq!(Pidfd::from(child.pidfd).wait(), Ok(expect));
    }
    let child = clone3(0, || {
        loop {
            std::hint::spin_loop()
        }
    })
    .expect("clone3");
    let process = Pidfd::from(child.pidfd);
    assert_eq!(process.try_wait(), Ok(None));
    process.send_signal(15).expect("signal");
    let ended = process.wait().expect("wait");
    assert_eq!((ended, ended.code()), (Ended::Killed(15), 143));
    assert_eq!(process.send_signal(0).expect_err("gone").errno, Errno::SRCH);
    assert_eq!(process.wait().expect_err("waited for already").errno, Errno::CHILD);
}

#[test]
fn a_child_lives_in_the_namespaces_it_was_given() {
    let child = clone3(ns::USER | ns::PID | ns::UTS, || {
        i32::from(rustix::process::getpid().as_raw_nonzero().get() != 1)
    });
    let child = child.expect("clone3");
    assert_eq!(Pidfd::from(child.pidfd).wait(), Ok(Ended::Exited(0)));
}

#[test]
fn errors_carry_every_argument() {
    let error = Pidfd::open(-5).expect_err("no process");
    assert!(error.to_string().starts_with("pidfd_open(-5): "), "{error}");
    let io = std::io::Error::from(Root::open(Path::new("/nowhere")).expect_err("nowhere"));
    assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn programs_are_executed_from_sealed_memory() {
    let busybox = fs::File::open("/bin/busybox").expect("busybox-static is installed");
    let program = sys::memfd::sealed_copy(c"program", busybox.as_fd()).expect("copy");
    assert_eq!(rustix::io::write(&program, b"x"), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&program, 0), Err(Errno::PERM));
    let words = |list: &[&str]| {
        Argv::new(list.iter().map(|word| CString::new(*word).expect("word")).collect())
    };
    let (args, env) = (words(&["sh", "-c", "exit $CODE"]), words(&["CODE=9"]));
    let child = clone3(0, || {
        sys::clone::execve_fd(program.as_fd(), &args, &env);
        1
    });
    let child = child.expect("clone3");
    assert_eq!(Pidfd::from(child.pidfd).wait(), Ok(Ended::Exited(9)));
    // This very program is not sealed; its copy is.
    assert!(sys::memfd::own_sealed_program().expect("own program").is_none());
    let copy = sys::memfd::sealed_own_program(c"self").expect("copy");
    let length = |fd: &OwnedFd| rustix::fs::fstat(fd).expect("stat").st_size;
    let own = fs::metadata("/proc/self/exe").expect("own program").len();
    assert_eq!(u64::try_from(length(&copy)), Ok(own));
}

#[test]
fn names_cannot_leave_a_root() {
    let dir = Dir::new("root");
    let inside = dir.0.join("inside");
    fs::create_dir_all(inside.join("etc")).expect("directory");
    fs::write(dir.0.join("secret"), "outside").expect("file");
    fs::write(inside.join("secret"), "inside").expect("file");
    symlink("/secret", inside.join("absolute")).expect("link");
    symlink("../../../secret", inside.join("etc/climbing")).expect("link");
    symlink("/proc/self/root/secret", inside.join("magic")).expect("link");
    symlink("/nothing", inside.join("dangling")).expect("link");
    let root = Root::open(&inside).expect("root");
    let read = |name: &str| root.read(Path::new(name), 100).map_err(|error| error.errno);
    for name in ["secret", "/secret", "../secret", "absolute", "etc/climbing"] {
        assert_eq!(read(name), Ok(b"inside".to_vec()), "{name}");
    }
    assert_eq!(read("magic"), Err(Errno::NOENT));
    assert_eq!(root.read(Path::new("secret"), 3).expect_err("limit").errno, Errno::FBIG);
    assert_eq!(read("etc"), Err(Errno::INVAL));
    root.make_dirs(Path::new("/a/../b/./c"), Mode::from_raw_mode(0o755)).expect("directories");
    assert!(inside.join("a/b/c").is_dir() || inside.join("b/c").is_dir());
    let error = root.make_dirs(Path::new("dangling/x"), Mode::from_raw_mode(0o755));
    assert_eq!(error.expect_err("dangling").errno, Errno::EXIST);
    let fd = root.openat(Path::new("secret"), OFlags::RDONLY, Mode::empty()).expect("open");
    let flags = rustix::io::fcntl_getfd(&fd).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn descriptors_travel_over_sockets() {
    let (ours, theirs) = sys::socket::message_pair().expect("pair");
    let file = fs::File::open("/proc/self/status").expect("file");
    let fds = [file.as_fd(), file.as_fd(), file.as_fd()];
    sys::socket::send_with_fds(ours.as_fd(), b"hello", &fds).expect("send");
    let (mut bytes, mut taken) = ([0; 16], Vec::new());
    let count = sys::socket::recv_with_fds(theirs.as_fd(), &mut bytes, |fd| taken.push(fd));
    assert_eq!((count, &bytes[..5], taken.len()), (Ok(5), &b"hello"[..], 3));
    assert!(taken.iter().all(|fd| {
        rustix::io::fcntl_getfd(fd).is_ok_and(|f| f.contains(rustix::io::FdFlags::CLOEXEC))
    }));
    let many = vec![file.as_fd(); sys::socket::MAX_FDS + 1];
    let refused = sys::socket::send_with_fds(ours.as_fd(), b"x", &many);
    assert!(refused.is_err());
    drop(theirs);
    assert_eq!(sys::socket::send_with_fds(ours.as_fd(), b"x", &[]), Err(Errno::PIPE));
}

#[test]
fn another_network_is_visited_and_left() {
    let own = fs::read_link("/proc/thread-self/ns/net").expect("namespace");
    let (ready, go) = sys::socket::message_pair().expect("pair");
    let child = clone3(ns::NET, || {
        i32::from(sys::socket::recv_with_fds(go.as_fd(), &mut [0; 1], drop).is_err())
    });
    let child = child.expect("clone3");
    let netns = sys::netns::of_process(child.pid).expect("namespace");
    let there = sys::netns::run_in(netns.as_fd(), || {
        (fs::read_link("/proc/thread-self/ns/net"), fs::read_to_string("/proc/thread-self/net/dev"))
    });
    let (link, devices) = there.expect("visit");
    assert_ne!(link.expect("namespace"), own);
    assert_eq!(devices.expect("devices").lines().count(), 3, "two of heading, and lo");
    {
        let _visit = sys::netns::enter(netns.as_fd()).expect("enter");
        assert_ne!(fs::read_link("/proc/thread-self/ns/net").expect("namespace"), own);
    }
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").expect("namespace"), own);
    sys::socket::send_with_fds(ready.as_fd(), b"x", &[]).expect("send");
    assert_eq!(Pidfd::from(child.pidfd).wait(), Ok(Ended::Exited(0)));
}

#[test]
fn files_are_made_in_the_name_of_somebody_else() {
    use std::os::unix::fs::MetadataExt;
    let dir = Dir::new("ids");
    let before = sys::cred::capabilities().expect("capabilities");
    let made = sys::cred::with_fs_ids(4711, 4712, || fs::write(dir.0.join("theirs"), ""));
    made.expect("ids").expect("file");
    fs::write(dir.0.join("ours"), "").expect("file");
    let owner = |name: &str| {
        let stat = fs::metadata(dir.0.join(name)).expect("stat");
        (stat.uid(), stat.gid())
    };
    assert_eq!((owner("theirs"), owner("ours")), ((4711, 4712), (0, 0)));
    assert_eq!(sys::cred::capabilities().expect("capabilities"), before);
    assert_eq!(sys::cred::secure_bits().expect("secure bits") & sys::cred::NO_SETUID_FIXUP, 0);
}

#[test]
fn filters_are_read_from_bytes_and_refused_when_they_are_none() {
    assert_eq!(sys::seccomp::from_bytes(&[]), None);
    assert_eq!(sys::seccomp::from_bytes(&[0; 7]), None);
    assert_eq!(sys::seccomp::from_bytes(&[0; 8 * 4097]), None);
    let program = sys::seccomp::from_bytes(&[6, 0, 1, 2, 3, 0, 0, 0]).expect("program");
    assert_eq!(program, [sys::seccomp::Insn { code: 6, jt: 1, jf: 2, k: 3 }]);
    // One call is refused with an error number nobody else uses here.
    let refuse =
        |number: u32| sys::seccomp::Insn { code: 6, k: 0x0005_0000 | number, jt: 0, jf: 0 };
    let child = clone3(0, || {
        if sys::cred::set_no_new_privileges().is_err() {
            return 2;
        }
        let load = sys::seccomp::Insn { code: 0x20, jt: 0, jf: 0, k: 0 };
        let is_setsid = sys::seccomp::Insn { code: 0x15, jt: 0, jf: 1, k: 112 };
        let allow = sys::seccomp::Insn { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 };
        if sys::seccomp::load(&[load, is_setsid, refuse(77), allow], 0).is_err() {
            return 3;
        }
        let refused = rustix::process::setsid();
        i32::from(refused != Err(Errno::from_raw_os_error(77)))
    });
    let child = child.expect("clone3");
    let ended = Pidfd::from(child.pidfd).wait();
    assert_eq!(ended, Ok(Ended::Exited(0)));
}

#[test]
fn the_kernel_tells_the_peers_groups() {
    let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut groups = sys::socket::peer_groups(std::os::fd::AsFd::as_fd(&left)).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    let mut own: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    groups.sort_unstable();
    own.sort_unstable();
    assert_eq!(groups, own);
}
