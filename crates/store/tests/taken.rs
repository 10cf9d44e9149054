//! What code can do that has taken over an unpacker: nothing. The unpackers of this program run an
//! attacker in place of the extraction, after they have confined themselves; each archive names an
//! attack, and its error says what came of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/runner.rs"]
mod runner;
mod support;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;
use store::unpacker::Inside;
use support::*;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, descriptor] = &words[..]
        && word == store::unpacker::WORD
    {
        std::process::exit(store::unpacker::main_with(descriptor, attack));
    }
    runner::run(&[
        ("nothing_of_the_host_is_within_reach", nothing_of_the_host_is_within_reach),
        ("calls_that_are_not_for_files_are_deadly", calls_that_are_not_for_files_are_deadly),
        ("a_decompressor_has_no_files", a_decompressor_has_no_files),
        ("what_it_asks_for_stays_inside", what_it_asks_for_stays_inside),
        ("a_lie_about_the_end_is_no_layer", a_lie_about_the_end_is_no_layer),
        ("silence_and_nonsense_are_errors", silence_and_nonsense_are_errors),
        ("who_never_ends_is_ended", who_never_ends_is_ended),
    ]);
}

const RDONLY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// In the unpacker: the attack that the archive names.
fn attack(inside: Inside<'_>) {
    // It may come in pieces.
    let mut text = String::new();
    let mut piece = [0u8; 256];
    while !text.ends_with(';') {
        match rustix::io::read(inside.input, &mut piece) {
            Ok(have @ 1..) => text.push_str(&String::from_utf8_lossy(&piece[..have])),
            _ => break,
        }
    }
    let Some((_, rest)) = text.split_once("attack:") else { return };
    let name = rest.split(';').next().unwrap_or_default();
    let came_of_it = attempt(name, &inside);
    report(&inside, &came_of_it);
    // The honest part must not go on behind the attack.
    rustix_exit();
}

fn rustix_exit() {
    std::process::exit(0);
}

fn report(inside: &Inside<'_>, text: &str) {
    let text = serde_json::to_string(text).unwrap_or_default();
    let said = format!("{{\"Failed\":{{\"why\":{{\"Bad\":{text}}},\"peak_kib\":0}}}}");
    let _ = sys::socket::send_with_fds(inside.talk, said.as_bytes(), &[]);
}

fn told<T>(done: rustix::io::Result<T>) -> String {
    match done {
        Ok(_) => "done".to_owned(),
        Err(errno) => shown(errno.raw_os_error()),
    }
}

/// Asks the process outside for something, as an extractor does; its answer.
fn ask(inside: &Inside<'_>, said: &str) -> String {
    sys::socket::send_with_fds(inside.talk, said.as_bytes(), &[]).unwrap();
    let mut answer = [0u8; 64];
    let len = sys::socket::recv_with_fds(inside.talk, &mut answer, drop).unwrap();
    let number: i32 = String::from_utf8_lossy(&answer[..len]).parse().unwrap();
    shown(number)
}

/// An error number by name.
fn shown(number: i32) -> String {
    let known = [
        (0, "done"),
        (Errno::PERM.raw_os_error(), "PERM"),
        (Errno::NOENT.raw_os_error(), "NOENT"),
        (Errno::ACCESS.raw_os_error(), "ACCESS"),
        (Errno::NOTDIR.raw_os_error(), "NOTDIR"),
        (Errno::INVAL.raw_os_error(), "INVAL"),
        (Errno::ROFS.raw_os_error(), "ROFS"),
        (Errno::LOOP.raw_os_error(), "LOOP"),
    ];
    let name = known.iter().find(|(have, _)| *have == number).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| number.to_string())
}

fn numbers(path: &str) -> String {
    format!("{:?}", path.as_bytes())
}

fn attempt(name: &str, inside: &Inside<'_>) -> String {
    let done = with_files(name, inside).or_else(|| with_calls(name, inside));
    let done = done.or_else(|| with_words(name, inside));
    done.unwrap_or_else(|| format!("unknown attack {name}"))
}

/// By the calls that an extractor has.
fn with_files(name: &str, inside: &Inside<'_>) -> Option<String> {
    let open = |path: &str, flags| told(fs::openat(fs::CWD, path, flags, Mode::RUSR));
    let target = inside.target;
    let climb = "../../../../../../../../etc/shadow";
    Some(match name {
        "shadow" => open("/etc/shadow", RDONLY),
        "shadow by path" => open("/etc/shadow", OFlags::PATH),
        "climb" => told(fs::openat(target, climb, RDONLY, Mode::empty())),
        "climb by path" => told(fs::openat(target, climb, OFlags::PATH, Mode::empty())),
        "climb by openat2" => {
            told(fs::openat2(target, climb, RDONLY, Mode::empty(), ResolveFlags::empty()))
        }
        "proc" => open("/proc/1/root", OFlags::PATH),
        "own root" => open("/new", OFlags::WRONLY | OFlags::CREATE),
        "through a link" => {
            let _ = fs::symlinkat("/etc/shadow", target, "l");
            told(fs::openat(target, "l", RDONLY, Mode::empty()))
        }
        "device" => {
            let (kind, device) = (FileType::BlockDevice, fs::makedev(8, 0));
            told(fs::mknodat(target, "disk", kind, Mode::RWXU, device))
        }
        "trusted" => {
            let name = "trusted.overlay.redirect";
            let open = fs::openat(target, ".", RDONLY | OFlags::DIRECTORY, Mode::empty());
            told(open.and_then(|dir| fs::fsetxattr(&dir, name, b"/etc", fs::XattrFlags::empty())))
        }
        "read" => open(".", RDONLY),
        _ => return None,
    })
}

/// By the calls that it has not.
fn with_calls(name: &str, inside: &Inside<'_>) -> Option<String> {
    Some(match name {
        "socket" => told(rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )),
        "unix socket" => told(rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        )),
        "signal" => told(rustix::process::kill_process(
            rustix::process::Pid::INIT,
            rustix::process::Signal::KILL,
        )),
        "signal all" => {
            told(rustix::process::kill_current_process_group(rustix::process::Signal::KILL))
        }
        "pidfd" => told(rustix::process::pidfd_open(
            rustix::process::Pid::INIT,
            rustix::process::PidfdFlags::empty(),
        )),
        "trace" => told(sys::process::set_dumpable(true)),
        "fork" => told(sys::clone::clone3(0, || 0)),
        "thread" => {
            let made = std::thread::Builder::new().spawn(|| ());
            made.map_or_else(|error| format!("{error}"), |_| "done".to_owned())
        }
        "namespaces" => told(sys::mount::unshare(sys::clone::ns::USER)),
        "mount" => told(rustix::mount::mount_bind("/", "/")),
        "root" => told(rustix::process::chroot("/")),
        "change dir" => told(rustix::process::fchdir(inside.target)),
        "memory file" => told(fs::memfd_create("x", fs::MemfdFlags::empty())),
        "limits" => told(sys::sandbox::limit(sys::sandbox::Resource::Nofile, 1 << 20)),
        _ => return None,
    })
}

/// By what it says to the process outside.
fn with_words(name: &str, inside: &Inside<'_>) -> Option<String> {
    let target = inside.target;
    Some(match name {
        "node above" => {
            let path = numbers("../../../../dev/evil");
            ask(
                inside,
                &format!(
                    "{{\"Node\":{{\"path\":{path},\"block\":true,\"mode\":438,\
                     \"major\":8,\"minor\":0}}}}"
                ),
            )
        }
        "node through a link" => {
            let _ = fs::mkdirat(target, "fs", Mode::RWXU);
            let _ = fs::symlinkat("/tmp", target, "fs/l");
            let path = numbers("l/evil");
            ask(
                inside,
                &format!(
                    "{{\"Node\":{{\"path\":{path},\"block\":false,\"mode\":438,\
                     \"major\":1,\"minor\":3}}}}"
                ),
            )
        }
        "link for the root" => {
            let _ = fs::unlinkat(target, "fs", AtFlags::REMOVEDIR);
            let _ = fs::symlinkat("/tmp", target, "fs");
            ask(inside, &format!("{{\"Opaque\":{{\"path\":{}}}}}", numbers("x")))
        }
        "mark above" => ask(inside, &format!("{{\"Opaque\":{{\"path\":{}}}}}", numbers("../.."))),
        "lie" => {
            let said = b"{\"Done\":{\"entries\":1,\"bytes\":1,\"root\":null,\"peak_kib\":0}}";
            let _ = sys::socket::send_with_fds(inside.talk, said, &[]);
            rustix_exit();
            String::new()
        }
        // Never ends, and keeps everything open. What waits by a call of the kernel is no attack:
        // unpackers have none for it.
        "hang" => loop {
            std::hint::spin_loop();
        },
        // Says that it is done, and stays.
        "stay" => {
            let done = br#"{"Done":{"entries":1,"bytes":1,"root":null,"peak_kib":0}}"#;
            let _ = sys::socket::send_with_fds(inside.talk, done, &[]);
            loop {
                std::hint::spin_loop();
            }
        }
        "silence" => {
            rustix_exit();
            String::new()
        }
        "nonsense" => {
            let _ = sys::socket::send_with_fds(inside.talk, b"[[[[", &[]);
            rustix_exit();
            String::new()
        }
        _ => return None,
    })
}

/// Runs an attack in the extractor; what its error says.
fn came_of(home: &Home, name: &str) -> String {
    let lease = home.store.lease();
    let archive = format!("attack:{name};").into_bytes();
    home.store.layers().apply(&lease, &mut &archive[..], None).unwrap_err().to_string()
}

fn install() -> Home {
    store::unpacker::install(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
    Home::new()
}

const DEAD: &str = "the unpacker died of the archive";

fn nothing_of_the_host_is_within_reach() {
    let home = install();
    for (name, allowed) in [
        ("shadow", &["NOENT", "ACCESS"][..]),
        ("shadow by path", &["NOENT"]),
        ("climb", &["NOENT", "ACCESS"]),
        ("climb by path", &["NOENT"]),
        ("climb by openat2", &["NOENT", "ACCESS"]),
        ("proc", &["NOENT"]),
        ("own root", &["ACCESS", "ROFS"]),
        ("through a link", &["NOENT", "ACCESS"]),
        ("device", &["PERM"]),
        ("trusted", &["PERM"]),
    ] {
        let text = came_of(&home, name);
        assert!(allowed.contains(&text.as_str()), "{name}: {text}");
    }
    assert_eq!(home.tmp(), Vec::<String>::new());
}

fn calls_that_are_not_for_files_are_deadly() {
    let home = install();
    for name in [
        "socket",
        "unix socket",
        "signal",
        "signal all",
        "pidfd",
        "trace",
        "fork",
        "thread",
        "namespaces",
        "mount",
        "root",
        "change dir",
        "memory file",
        "limits",
    ] {
        assert_eq!(came_of(&home, name), DEAD, "{name}");
    }
    assert_eq!(home.tmp(), Vec::<String>::new());
}

fn a_decompressor_has_no_files() {
    let home = install();
    for name in ["read", "shadow", "socket", "device", "mount"] {
        let lease = home.store.lease();
        let archive = [b"\x1f\x8b", format!("attack:{name};").as_bytes()].concat();
        let done = home.store.layers().apply(&lease, &mut &archive[..], None);
        assert_eq!(done.unwrap_err().to_string(), "the decompressor died of the archive", "{name}");
    }
    assert_eq!(home.tmp(), Vec::<String>::new());
}

fn what_it_asks_for_stays_inside() {
    let home = install();
    for (name, want) in [
        ("node above", "INVAL"),
        ("node through a link", "LOOP"),
        ("link for the root", "NOTDIR"),
        ("mark above", "INVAL"),
    ] {
        assert_eq!(came_of(&home, name), want, "{name}");
    }
    assert!(std::fs::symlink_metadata("/dev/evil").is_err());
    assert!(std::fs::symlink_metadata("/tmp/evil").is_err());
}

fn a_lie_about_the_end_is_no_layer() {
    let home = install();
    let lease = home.store.lease();
    let archive = b"attack:lie;";
    // The digest is of what it was given, not of what it says.
    let other = Some(sha256(b"a layer that others trust"));
    let error = home.store.layers().apply(&lease, &mut &archive[..], other).unwrap_err();
    assert!(error.to_string().contains("layer diff id"), "{error}");
    let packed = b"\x1f\x8battack:lie;";
    let error = home.store.layers().apply(&lease, &mut &packed[..], other).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert_eq!(support::names(&home.store.root().join("layers")), Vec::<String>::new());
}

/// In a process of its own: unpackers are installed once, and others' may take longer.
fn who_never_ends_is_ended() {
    if std::env::var_os("IMPATIENT").is_none() {
        let mut own = std::process::Command::new("/proc/self/exe");
        let own = own.arg("who_never_ends_is_ended").env("IMPATIENT", "1").output().unwrap();
        assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
        return;
    }
    let limit = std::time::Duration::from_secs(2);
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    store::unpacker::install_with_limit(program, limit).unwrap();
    let home = Home::new();
    let stuck = "the unpacker got stuck with the archive, and was ended after 2 s";
    for name in ["hang", "stay"] {
        assert_eq!(came_of(&home, name), stuck, "{name}");
    }
    // A decompressor, of a layer and of what is read here.
    let lease = home.store.lease();
    let packed = b"\x1f\x8battack:hang;";
    let error = home.store.layers().apply(&lease, &mut &packed[..], None).unwrap_err();
    assert_eq!(error.to_string(), stuck);
    let mut plain = store::plain(&packed[..]).unwrap();
    let error = std::io::Read::read(&mut plain, &mut [0; 64]).unwrap_err();
    assert!(error.to_string().contains(stuck), "{error}");
    assert_eq!(home.tmp(), Vec::<String>::new());
}

fn silence_and_nonsense_are_errors() {
    let home = install();
    assert_eq!(came_of(&home, "silence"), DEAD);
    assert!(came_of(&home, "nonsense").contains("listen to an unpacker"));
    assert_eq!(home.tmp(), Vec::<String>::new());
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::File::open(dir.path()).unwrap();
    let options = store::archive::WriteOptions::default();
    let tree = &mut &b"attack:climb;"[..];
    let error = store::archive::write(root.as_fd(), "/", tree, options).unwrap_err().to_string();
    assert!(["NOENT", "ACCESS"].contains(&error.as_str()), "{error}");
}
