//! Containers in scopes of systemd's, with one that is none: it speaks as much D-Bus as the real
//! one is asked, and moves processes. The real one is met in the virtual machine
//! (`tests/vm/systemd.sh`).

mod lab;

use lab::bundle::Bundle;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What was asked, and whether it is done.
#[derive(Debug)]
struct Asked {
    method: String,
    unit: String,
    slice: String,
    delegated: bool,
}

/// A systemd that refuses as many units as it is told.
struct Systemd {
    socket: PathBuf,
    asked: Receiver<Asked>,
}

impl Systemd {
    fn start(dir: &Path, refusals: u32) -> Self {
        let socket = dir.join("bus");
        let listener = UnixListener::bind(&socket).expect("bus");
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            let mut refusals = refusals;
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &mut refusals, &tell);
            }
        });
        Self { socket, asked }
    }

    fn runtime(&self, bundle: &Bundle, args: &[&str]) -> Output {
        let words = [&["--systemd-cgroup"], args].concat();
        let mut command = bundle.command(&words);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.socket.display()));
        if args.contains(&"--detach") {
            // The container keeps the descriptors: a pipe would never end.
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(fs::File::create(bundle.path("err")).expect("errors"));
            let status = command.status().expect("runtime");
            let stderr = fs::read(bundle.path("err")).expect("errors");
            return Output { status, stdout: Vec::new(), stderr };
        }
        command.output().expect("runtime")
    }
}

/// The tree that systemd keeps: its own beside v1, else the only one.
fn tree() -> PathBuf {
    let own = PathBuf::from("/sys/fs/cgroup/systemd");
    if own.is_dir() { own } else { PathBuf::from("/sys/fs/cgroup") }
}

fn serve(mut stream: UnixStream, refusals: &mut u32, tell: &Sender<Asked>) -> std::io::Result<()> {
    let mut line = Vec::new();
    for answer in [&b"OK 0123456789abcdef0123456789abcdef\r\n"[..], b""] {
        line.clear();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.extend(byte);
        }
        stream.write_all(answer)?;
    }
    assert_eq!(line, b"BEGIN\r\n");
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        let (body, serial, fields) = (number(4) as usize, number(8), number(12) as usize);
        let mut bytes = vec![0; fields.next_multiple_of(8) + body];
        stream.read_exact(&mut bytes)?;
        let (fields, body) = bytes.split_at(fields.next_multiple_of(8));
        let called = |name: &str| fields.windows(name.len()).any(|it| it == name.as_bytes());
        let refused = called("StartTransientUnit") && *refusals > 0;
        if refused {
            *refusals -= 1;
        } else if called("StartTransientUnit") {
            let _ = tell.send(started(body));
        } else if called("ResetFailedUnit") {
            let (unit, method) = (text(body, 0), "ResetFailedUnit".to_owned());
            let _ = tell.send(Asked { method, unit, slice: String::new(), delegated: false });
        }
        stream.write_all(&answer(serial, refused))?;
    }
}

fn text(bytes: &[u8], at: usize) -> String {
    let length = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
    String::from_utf8(bytes[at + 4..at + 4 + length].to_vec()).expect("UTF-8")
}

/// The value of a property: behind its name and its signature, aligned.
fn property(body: &[u8], name: &str, signature: &str) -> usize {
    let word = format!(
        "{name}\0{}{signature}\0",
        char::from(u8::try_from(signature.len()).expect("short"))
    );
    let at = body.windows(word.len()).position(|it| it == word.as_bytes());
    (at.expect("the property is there") + word.len()).next_multiple_of(4)
}

fn started(body: &[u8]) -> Asked {
    let number = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().expect("four"));
    let unit = text(body, 0);
    let slice = text(body, property(body, "Slice", "s"));
    let pid = number(property(body, "PIDs", "au") + 4);
    let delegated = number(property(body, "Delegate", "b")) == 1;
    let group = tree().join(&slice).join(&unit);
    fs::create_dir_all(&group).expect("group");
    fs::write(group.join("cgroup.procs"), pid.to_string()).expect("process");
    Asked { method: "StartTransientUnit".to_owned(), unit, slice, delegated }
}

/// A method's return, or an error, without a body.
fn answer(serial: u32, refused: bool) -> Vec<u8> {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(serial.to_le_bytes());
    if refused {
        let name = b"org.freedesktop.systemd1.UnitExists";
        fields.extend([4, 1, b's', 0]);
        fields.extend(u32::try_from(name.len()).expect("short").to_le_bytes());
        fields.extend(name);
        fields.push(0);
    }
    let mut out = vec![b'l', if refused { 3 } else { 2 }, 0, 1, 0, 0, 0, 0, 7, 0, 0, 0];
    out.extend(u32::try_from(fields.len()).expect("short").to_le_bytes());
    out.extend(&fields);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// A slice of this test's, and no trace of it afterwards.
struct Slice(String);

impl Slice {
    fn new(name: &str) -> Self {
        Self(format!("estibatest{name}{}.slice", std::process::id()))
    }

    fn dirs(&self, below: &str) -> Vec<PathBuf> {
        let trees = fs::read_dir("/sys/fs/cgroup").expect("trees").flatten();
        let trees = trees.map(|tree| tree.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
        trees.map(|tree| tree.join(&self.0).join(below)).filter(|dir| dir.is_dir()).collect()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        for dir in self.dirs("") {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_container_is_in_a_scope_that_systemd_was_asked_for() {
    let slice = Slice::new("a");
    let bundle = Bundle::new("scope", &["sleep", "1000"]);
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("{}:pre:{}", slice.0, bundle.id));
        config["linux"]["resources"]["pids"] = json!({"limit": 77});
    });
    let systemd = Systemd::start(bundle.dir.path(), 0);
    let unit = format!("pre-{}.scope", bundle.id);
    let run = systemd.runtime(&bundle, &["run", "--detach", &bundle.id]);
    assert!(run.status.success(), "{run:?}");
    let asked = systemd.asked.recv().expect("it was asked");
    assert_eq!((asked.method.as_str(), asked.slice), ("StartTransientUnit", slice.0.clone()));
    assert_eq!(asked.unit, unit);
    assert!(asked.delegated);
    // Its group is below the scope, in every tree, with the limit.
    let group = format!("{unit}/container");
    let pid = bundle.state()["pid"].to_string();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let place = format!("/{}/{group}", slice.0);
    assert!(groups.lines().all(|line| line.ends_with(&place)), "{groups}");
    let limit =
        slice.dirs(&group).iter().find_map(|dir| fs::read_to_string(dir.join("pids.max")).ok());
    assert_eq!(limit.expect("pids").trim(), "77");
    // Later commands find it, with the option and without.
    let exec = systemd.runtime(&bundle, &["exec", &bundle.id, "cat", "/proc/self/cgroup"]);
    assert!(exec.status.success(), "{exec:?}");
    assert!(bundle.ok(&["ps", &bundle.id]).contains("sleep 1000"));
    bundle.ok(&["update", "--pids-limit", "66", &bundle.id]);
    let limit =
        slice.dirs(&group).iter().find_map(|dir| fs::read_to_string(dir.join("pids.max")).ok());
    assert_eq!(limit.expect("pids").trim(), "66");
    bundle.ok(&["pause", &bundle.id]);
    assert_eq!(bundle.state()["status"], "paused");
    bundle.ok(&["resume", &bundle.id]);
    bundle.ok(&["delete", "--force", &bundle.id]);
    assert_eq!(slice.dirs(&unit), Vec::<PathBuf>::new(), "nothing is left of the scope");
}

#[test]
fn a_unit_that_failed_before_is_forgotten_and_made_again() {
    let slice = Slice::new("b");
    let bundle = Bundle::new("again", &["true"]);
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("{}:pre:{}", slice.0, bundle.id));
    });
    let systemd = Systemd::start(bundle.dir.path(), 2);
    let run = systemd.runtime(&bundle, &["run", &bundle.id]);
    assert!(run.status.success(), "{run:?}");
    let methods: Vec<String> = systemd.asked.try_iter().map(|asked| asked.method).collect();
    // Failed once, or not yet gone: it is asked until the name is free.
    assert_eq!(methods, ["ResetFailedUnit", "ResetFailedUnit", "StartTransientUnit"]);
    // One that stays there is somebody else's.
    let other = bundle.path("other");
    fs::create_dir(&other).expect("directory");
    let systemd = Systemd::start(&other, u32::MAX);
    let run = systemd.runtime(&bundle, &["run", &bundle.id]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(said(&run).contains("UnitExists"), "{run:?}");
    assert_eq!(bundle.ok(&["list", "-q"]), "", "nothing is left behind");
}

#[test]
fn what_systemd_cannot_place_is_refused_and_a_host_without_it_says_so() {
    let bundle = Bundle::new("none", &["true"]);
    let systemd = Systemd::start(bundle.dir.path(), 0);
    let run = systemd.runtime(&bundle, &["run", &bundle.id]);
    assert!(said(&run).contains("slice:prefix:name"), "{run:?}");
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!("a.slice:pre:x"));
    if Path::new("/run/systemd/private").exists() {
        return;
    }
    let mut command = bundle.command(&["--systemd-cgroup", "run", &bundle.id]);
    let run = command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere").output().expect("run");
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(said(&run).contains("this host does not run systemd"), "{run:?}");
    assert_eq!(bundle.ok(&["list", "-q"]), "", "nothing is left behind");
}
