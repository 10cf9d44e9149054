//! Fields of the OCI specification that only the kernel can answer for, through the real program.

mod lab;

use lab::bundle::Bundle;
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use wire::oci::runtime::ContainerProcessState;

const EDQUOT: Errno = Errno::DQUOT;

/// Listens for one process, answers `mkdir` with an error that nobody else gives, and lets
/// everything else go on. Gives what it was told, then the numbers of the calls that it saw.
fn agent(socket: UnixListener) -> Receiver<(ContainerProcessState, Vec<i32>)> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut bytes = vec![0; 1 << 16];
            let mut listener: Option<OwnedFd> = None;
            let first = sys::socket::recv_with_fds(connection.as_fd(), &mut bytes, |fd| {
                listener = Some(fd);
            });
            bytes.truncate(first.expect("message"));
            connection.read_to_end(&mut bytes).expect("the rest");
            let state = serde_json::from_slice(&bytes).expect("state");
            let listener = listener.expect("listener");
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                while let Some(number) = serve(&listener) {
                    seen.push(number);
                }
                drop(tell.send((state, seen)));
            });
        }
    });
    told
}

/// Answers one call; nothing when nobody is left who could make one.
fn serve(listener: &OwnedFd) -> Option<i32> {
    use rustix::event::{PollFd, PollFlags};
    loop {
        let mut wait = [PollFd::new(listener, PollFlags::IN)];
        rustix::event::poll(&mut wait, None).expect("poll");
        if !wait[0].revents().contains(PollFlags::IN) {
            return None;
        }
        let Some(call) = sys::notify::receive(listener.as_fd()).expect("receive") else { continue };
        assert!(call.pid > 0 && sys::notify::still_waits(listener.as_fd(), &call));
        let mkdirs = [rustix_number("mkdir"), rustix_number("mkdirat")];
        let answered = match mkdirs.contains(&call.number) {
            true => sys::notify::refuse(listener.as_fd(), &call, EDQUOT),
            false => sys::notify::go_on(listener.as_fd(), &call),
        };
        answered.expect("answer");
        return Some(call.number);
    }
}

fn rustix_number(name: &str) -> i32 {
    let number = runtime::seccomp::Abi::NATIVE.number(name).expect(name);
    i32::try_from(number).expect("number")
}

fn notifying(bundle: &Bundle, calls: &[&str]) {
    let socket = bundle.path("agent");
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "listenerPath": socket,
            "listenerMetadata": "who=cares",
            "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
        });
    });
}

/// Everything that the way from the filter to the command might use itself is among the calls.
const CALLS: [&str; 14] = [
    "mkdir",
    "mkdirat",
    "execve",
    "write",
    "sendmsg",
    "recvmsg",
    "read",
    "close",
    "exit",
    "exit_group",
    "futex",
    "mmap",
    "rt_sigprocmask",
    "sched_yield",
];

#[test]
fn calls_are_handed_to_an_agent() {
    let bundle = Bundle::new("agent", &["sh", "-c", "mkdir /tmp/x; sleep 1000"]);
    notifying(&bundle, &CALLS);
    let told = agent(UnixListener::bind(bundle.path("agent")).expect("agent"));
    bundle.create();
    let pid = bundle.state()["pid"].clone();
    bundle.ok(&["start", &bundle.id]);
    let exec = bundle.runtime(&["exec", &bundle.id, "mkdir", "/tmp/y"]);
    assert_ne!(exec.status.code(), Some(0), "{exec:?}");
    let stderr = String::from_utf8_lossy(&exec.stderr).into_owned();
    assert!(stderr.to_lowercase().contains("quota"), "{stderr}");
    // The exec is over: its listener has nobody left to listen to.
    let (state, seen) = told.recv().expect("the exec");
    assert_eq!((state.fds, state.metadata.as_str()), (vec!["seccompFd".into()], "who=cares"));
    assert_eq!(json!(state.state.pid), pid);
    assert_eq!((state.state.id.as_str(), state.state.status.as_str()), (&*bundle.id, "running"));
    assert_ne!(json!(state.pid), pid);
    assert_eq!(seen.first(), Some(&rustix_number("execve")), "{seen:?}");
    assert!(seen.contains(&rustix_number("mkdir")), "{seen:?}");
    bundle.ok(&["kill", "--all", &bundle.id, "KILL"]);
    let (state, seen) = told.recv().expect("the container");
    assert_eq!((json!(state.pid), json!(state.state.pid)), (pid.clone(), pid));
    assert_eq!(seen.first(), Some(&rustix_number("execve")), "{seen:?}");
}

#[test]
fn an_agent_that_is_away_fails_the_start() {
    let bundle = Bundle::new("noagent", &["true"]);
    notifying(&bundle, &["mkdir"]);
    let error = bundle.refused(&["run", &bundle.id]);
    assert!(error.contains("send the listener of system calls to"), "{error}");
    bundle.edit(|config| config["linux"]["seccomp"]["listenerPath"] = json!(""));
    assert!(bundle.refused(&["run", &bundle.id]).contains("listenerMetadata needs listenerPath"));
    bundle.edit(|config| {
        config["linux"]["seccomp"].as_object_mut().expect("map").remove("listenerMetadata");
    });
    assert!(bundle.refused(&["run", &bundle.id]).contains("SCMP_ACT_NOTIFY needs"));
}

/// A process in namespaces of its own, killed when dropped.
struct Holder(Child);

impl Holder {
    fn new(options: &[&str]) -> Self {
        let mut held = Command::new("unshare");
        held.args(options).args(["sh", "-c", "echo up; exec sleep 1000"]);
        let mut child = held.stdout(Stdio::piped()).spawn().expect("unshare");
        let mut up = [0; 3];
        child.stdout.as_mut().expect("stdout").read_exact(&mut up).expect("up");
        Self(child)
    }

    fn namespace(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn an_existing_mount_namespace_is_joined() {
    let holder = Holder::new(&["--mount", "--propagation", "private"]);
    let expect = fs::read_link(holder.namespace("mnt")).expect("namespace");
    let bundle = Bundle::new("joinmnt", &["sh", "-c", "readlink /proc/self/ns/mnt; ls -d /bin/sh"]);
    bundle.edit(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        let mount = all.iter_mut().find(|namespace| namespace["type"] == "mount");
        mount.expect("mount namespace")["path"] = json!(holder.namespace("mnt"));
    });
    let said = bundle.ok(&["run", &bundle.id]);
    assert_eq!(said, format!("{}\n/bin/sh\n", expect.display()));
    let gone = json!("/proc/self/ns/nothing");
    bundle.edit(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        let mount = all.iter_mut().find(|namespace| namespace["type"] == "mount");
        mount.expect("mount namespace")["path"] = gone;
    });
    assert!(bundle.refused(&["run", &bundle.id]).contains("join mount namespace"));
}

/// Runs a line of shell in a network namespace of its own; `$RUN` runs the container.
fn in_network(bundle: &Bundle, line: &str) -> Output {
    let run = bundle.command(&["run", &bundle.id]);
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let run: Vec<String> = words.map(|word| word.to_str().expect("utf-8").to_owned()).collect();
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-ec", line]).env("RUN", run.join(" "));
    shell.current_dir(bundle.dir.path()).output().expect("unshare")
}

#[test]
fn network_devices_are_moved_with_their_addresses() {
    let show = "ip addr show inner; ip link show up | grep -c inner";
    let bundle = Bundle::new("netdev", &["sh", "-c", show]);
    bundle.edit(|config| config["linux"]["netDevices"] = json!({"outer": {"name": "inner"}}));
    let out = in_network(
        &bundle,
        "ip link add outer type veth peer name other; ip addr add 10.11.12.13/24 dev outer; \
         ip link set outer up; ip link set other up; $RUN",
    );
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("10.11.12.13/24"), "{out:?}");
    assert!(said.trim_end().ends_with('1'), "up: {said}");
    let missing = in_network(&bundle, "$RUN");
    let error = String::from_utf8_lossy(&missing.stderr);
    assert!(error.contains("move network device outer"), "{error}");
    bundle.edit(|config| config["linux"]["netDevices"] = json!({"outer": {"name": "a/b"}}));
    assert!(bundle.refused(&["run", &bundle.id]).contains("no name of a network device"));
}

#[test]
fn memory_policy_and_execution_domain() {
    let bundle = Bundle::new("mempol", &["sh", "-c", "busybox uname -m; cat /proc/self/numa_maps"]);
    bundle.edit(|config| {
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    });
    let out = bundle.runtime(&["run", &bundle.id]);
    if fs::exists("/proc/self/numa_maps").expect("procfs") {
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.starts_with("i686\n") && said.contains("bind:0"), "{out:?}");
    } else {
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(error.contains("set the memory policy"), "{error}");
    }
    let nodes = json!({"mode": "MPOL_BIND", "nodes": "1000"});
    bundle.edit(|config| config["linux"]["memoryPolicy"] = nodes);
    assert!(bundle.refused(&["run", &bundle.id]).contains("set the memory policy"));
}

#[test]
fn resctrl_that_is_not_there_is_told() {
    let mounted = fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains(" resctrl ");
    let bundle = Bundle::new("resctrl", &["true"]);
    bundle.edit(|config| config["linux"]["intelRdt"] = json!({"closID": "estiba-test-none"}));
    let error = bundle.refused(&["run", &bundle.id]);
    let expect = if mounted { "does not exist" } else { "resctrl is not mounted" };
    assert!(error.contains(expect), "{error}");
}

#[test]
fn processors_scheduling_and_io_priority() {
    let bundle = Bundle::new("sched", &["sleep", "1000"]);
    bundle.edit(|config| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 3});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    });
    bundle.create();
    bundle.ok(&["start", &bundle.id]);
    let own = status_line("self", "Cpus_allowed_list");
    let pid = bundle.state()["pid"].to_string();
    assert_eq!(status_line(&pid, "Cpus_allowed_list"), own, "not of the first process");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    assert_eq!((fields[16], fields[38]), ("3", "3"), "nice and policy: {stat}");
    assert!(bundle.ok(&["exec", &bundle.id, "busybox", "ionice", "-p", "1"]).contains("prio 6"));
    let line = ["exec", &*bundle.id, "grep", "Cpus_allowed_list", "/proc/self/status"];
    assert_eq!(bundle.ok(&line), "Cpus_allowed_list:\t0\n");
}

fn status_line(pid: &str, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    status.lines().find(|line| line.starts_with(key)).expect(key).to_owned()
}

#[test]
fn clocks_are_set_off() {
    let bundle = Bundle::new("clocks", &["cat", "/proc/uptime"]);
    bundle.edit(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        all.push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    });
    let uptime = bundle.ok(&["run", &bundle.id]);
    assert!(uptime.starts_with("1000") && uptime.find('.') == Some(10), "{uptime}");
}

#[test]
fn bind_mounts_map_ids_by_their_own_maps() {
    let bundle = Bundle::new("idmap", &["stat", "-c", "%u:%g", "/m/file"]);
    fs::create_dir(bundle.path("shared")).expect("directory");
    fs::write(bundle.path("shared/file"), "").expect("file");
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 10}]);
    bundle.edit(|config| {
        let mount = json!({"destination": "/m", "type": "bind", "source": "shared",
            "options": ["rbind", "idmap"], "uidMappings": map(5000), "gidMappings": map(6000)});
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    assert_eq!(bundle.ok(&["run", &bundle.id]), "5000:6000\n");
    let last = |config: &mut Value, change: &dyn Fn(&mut Value)| {
        change(config["mounts"].as_array_mut().expect("mounts").last_mut().expect("mount"));
    };
    bundle.edit(|config| last(config, &|mount| mount["gidMappings"] = json!([])));
    assert!(bundle.refused(&["run", &bundle.id]).contains("gidMappings of the mount at /m"));
    bundle.edit(|config| last(config, &|mount| mount["uidMappings"] = json!([])));
    assert!(bundle.refused(&["run", &bundle.id]).contains("need mappings or a user namespace"));
}

#[test]
fn all_six_hooks_in_their_order() {
    let bundle = Bundle::new("sixhooks", &["true"]);
    let log = bundle.path("log");
    let names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    bundle.edit(|config| {
        for name in names {
            let line = format!("echo {name} >> {}", log.display());
            config["hooks"][name] = json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]);
        }
        // In the container, before its command; its files are the container's.
        let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo here > /began"]}]);
        config["hooks"]["startContainer"] = inside;
        config["root"]["readonly"] = json!(false);
    });
    bundle.create();
    assert_eq!(
        fs::read_to_string(&log).expect("log"),
        "prestart\ncreateRuntime\ncreateContainer\n"
    );
    assert!(!bundle.path("rootfs/began").exists());
    bundle.ok(&["start", &bundle.id]);
    assert_eq!(fs::read_to_string(bundle.path("rootfs/began")).expect("inside"), "here\n");
    bundle.await_status("stopped");
    bundle.ok(&["delete", &bundle.id]);
    let said = fs::read_to_string(&log).expect("log");
    assert!(said.ends_with("createContainer\npoststart\npoststop\n"), "{said}");
}

#[test]
fn descriptors_are_kept_when_asked() {
    let bundle = Bundle::new("fds", &["sh", "-c", "cat <&3; ls /proc/self/fd"]);
    fs::write(bundle.path("three"), "third\n").expect("file");
    let run = bundle.command(&["run", "--preserve-fds", "1", &bundle.id]);
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().expect("utf-8")).collect();
    let line = format!("exec 3<three 4<three; exec {}", words.join(" "));
    let mut shell = Command::new("sh");
    let out = shell.args(["-c", &line]).current_dir(bundle.dir.path()).output().expect("sh");
    // 0, 1, 2, 3 and the directory that is listed.
    assert_eq!(String::from_utf8_lossy(&out.stdout), "third\n0\n1\n2\n3\n4\n", "{out:?}");
}

#[test]
fn documents_for_others_are_refused() {
    let bundle = Bundle::new("foreign", &["true"]);
    for version in ["2.0.0", "1.0", "x", "", "1.0.0.0"] {
        bundle.edit(|config| config["ociVersion"] = json!(version));
        assert!(bundle.refused(&["run", &bundle.id]).contains("ociVersion"), "{version:?}");
    }
    for version in ["1.0.2-dev", "1.0.0-rc5", "1.3.0", "1.99.0+x"] {
        bundle.edit(|config| config["ociVersion"] = json!(version));
        bundle.ok(&["run", &bundle.id]);
    }
    bundle.edit(|config| config["windows"] = json!({"layerFolders": []}));
    assert!(bundle.refused(&["run", &bundle.id]).contains("another system"));
}
