//! Who may do what: the built-in policy, by processes of several users; authorization plugins, by
//! one of our own outside the daemon; and the record of what was decided.

use lab::{Lab, Output, Setup, binaries, eventually};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;
const NOBODY: u32 = 61_003;

/// A daemon under rules, and clients of several users.
struct Ruled {
    lab: Lab,
    /// Outside the lab's own directory, which only root may enter.
    open: tempfile::TempDir,
}

fn policy(open: &Path) -> Value {
    json!({
        "audit": {"file": open.join("audit"), "required": true},
        "rules": [
            {"name": "administrators", "clients": {"users": ["root"]}, "allow": ["*"],
             "objects": "all", "containers": "any"},
            {"name": "users", "clients": {"users": [ALICE.to_string(), BOB.to_string()]},
             "allow": ["system.read", "containers.*", "images.read", "images.build", "volumes.*",
                       "networks.*"],
             "containers": {"host-mounts": [open.join("shared")]},
             "images": ["docker.io/library/*"]}
        ]
    })
}

impl Ruled {
    fn new() -> Self {
        let open = tempfile::Builder::new().prefix("estiba-authz-").tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(open.path(), 0o755);
        std::fs::create_dir(open.path().join("shared")).unwrap();
        mode(&open.path().join("shared"), 0o777);
        std::fs::copy(binaries().join("estiba"), open.path().join("estiba")).unwrap();
        let file = open.path().join("policy.json");
        std::fs::write(&file, policy(open.path()).to_string()).unwrap();
        let rules = format!("--authorization-policy={}", file.display());
        let lab = Lab::with(Setup { arguments: vec![rules], ..Setup::default() });
        // The policy is what is tested, not the mode of a file.
        mode(lab.dir(), 0o711);
        mode(&lab.socket(), 0o666);
        Self { lab, open }
    }

    fn shared(&self) -> PathBuf {
        self.open.path().join("shared")
    }

    /// `estiba ARGUMENTS…` by a user.
    fn by(&self, uid: u32, arguments: &[&str]) -> Output {
        let program = self.open.path().join("estiba");
        self.run(uid, &program, arguments)
    }

    fn run(&self, uid: u32, program: &Path, arguments: &[&str]) -> Output {
        let mut command = self.lab.client(Path::new("setpriv"));
        let id = uid.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command.args(arguments).env("HOME", self.open.path()).stdin(Stdio::null());
        let output = command.output().expect("setpriv(1) is installed");
        Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A request as curl sends it: status and body.
    fn curl(&self, uid: u32, arguments: &[&str]) -> (String, String) {
        let socket = self.lab.socket();
        let mut words = vec!["-s", "-w", "\n%{http_code}", "--unix-socket"];
        let socket = socket.to_string_lossy().into_owned();
        words.push(&socket);
        words.extend(arguments);
        let output = self.run(uid, Path::new("curl"), &words);
        let (body, status) = output.stdout.rsplit_once('\n').unwrap_or(("", ""));
        (status.to_owned(), body.to_owned())
    }

    fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.open.path().join("audit")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn users_see_and_touch_only_what_is_theirs() {
    let ruled = Ruled::new();
    ruled
        .by(ALICE, &["run", "-d", "--name", "hers", "-v", "data:/data", "busybox", "sleep", "1h"])
        .ok();
    ruled.by(ALICE, &["network", "create", "lan"]).ok();
    ruled.lab.estiba(&["network", "create", "--label", "estiba.owner=*", "common"]).ok();
    for list in [&["ps", "-q"][..], &["volume", "ls", "-q"]] {
        assert_eq!(ruled.by(ALICE, list).ok().lines().count(), 1, "{list:?}");
        assert_eq!(ruled.by(BOB, list).ok(), "", "{list:?}");
    }
    let networks = ruled.by(BOB, &["network", "ls", "--format", "{{.Name}}"]).ok().to_owned();
    assert!(networks.contains("common") && networks.contains("bridge"), "{networks}");
    assert!(!networks.contains("lan"), "{networks}");
    let id = ruled.by(ALICE, &["ps", "-q", "--no-trunc"]).ok().to_owned();
    for query in ["hers", &id, &id[..12]] {
        for act in [&["exec", query, "id"][..], &["stop", query], &["logs", query]] {
            ruled.by(BOB, act).fails(1, "No such container");
        }
    }
    for (act, why) in [
        (&["volume", "rm", "data"][..], "no such volume"),
        (&["volume", "create", "data"], "taken by another client"),
        (&["network", "rm", "lan"], "not found"),
        (&["network", "rm", "common"], "shared"),
        (&["run", "--rm", "-v", "data:/x", "busybox", "true"], "volume data is not the client's"),
        (&["run", "--rm", "--volumes-from", "hers", "busybox", "true"], "container hers is not"),
        (&["run", "--rm", "--pid", "container:hers", "busybox", "true"], "is not the client's"),
        (&["run", "--rm", "--network", "container:hers", "busybox", "true"], "is not the client's"),
        (&["run", "--rm", "--network", "lan", "busybox", "true"], "network lan is not"),
        (&["run", "--rm", "--label", "estiba.owner=uid:0", "busybox", "true"], "reserved"),
        (&["run", "--rm", "debian", "true"], "images.pull are not allowed"),
    ] {
        let refused = ruled.by(BOB, act);
        assert_ne!(refused.status, 0, "{act:?}");
        assert!(refused.stderr.contains(why), "{act:?}: {}", refused.stderr);
    }
    ruled.by(BOB, &["run", "--rm", "--network", "common", "busybox", "true"]).ok();
    ruled.by(BOB, &["container", "prune", "-f"]).ok();
    ruled.by(NOBODY, &["ps"]).fails(1, "no rule names the client uid:61003");
    assert_eq!(ruled.by(ALICE, &["exec", "hers", "echo", "here"]).ok(), "here");
    ruled.lab.estiba(&["exec", "hers", "true"]).ok();
    ruled.by(ALICE, &["rm", "-f", "hers"]).ok();
    ruled.by(ALICE, &["volume", "rm", "data"]).ok();
    ruled.by(ALICE, &["network", "rm", "lan"]).ok();
    ruled.lab.estiba(&["network", "rm", "common"]).ok();
}

#[test]
fn no_way_to_the_host_is_open_that_no_rule_opens() {
    let ruled = Ruled::new();
    let shared = ruled.shared();
    let below = format!("{}/x/..:/m", shared.display());
    for (options, why) in [
        (&["--privileged"][..], "privileged"),
        (&["-v", "/etc:/m"], "mounting /etc"),
        (&["-v", "/etc:/m:ro"], "mounting /etc"),
        (&["--mount", "type=bind,src=/,dst=/m"], "mounting /"),
        (
            &[
                "--mount",
                "type=volume,dst=/m,volume-opt=type=none,volume-opt=o=bind,\
            volume-opt=device=/etc",
            ],
            "volumes that mount something of the host",
        ),
        (&["--network", "host"], "host's network"),
        (&["--pid", "host"], "host's pid"),
        (&["--ipc", "host"], "host's ipc"),
        (&["--uts", "host"], "host's uts"),
        (&["--userns", "host"], "host's user"),
        (&["--cgroupns", "host"], "host's cgroup"),
        (&["--cap-add", "SYS_ADMIN"], "capability SYS_ADMIN"),
        (&["--device", "/dev/null"], "device \"/dev/null\""),
        (&["--device-cgroup-rule", "a *:* rwm"], "cgroup rules"),
        (&["--security-opt", "seccomp=unconfined"], "system-call filter"),
        (&["--security-opt", "systempaths=unconfined"], "masked paths"),
        (&["--security-opt", "no-new-privileges=false"], "no-new-privileges"),
        (&["--cgroup-parent", "/other"], "control group"),
        (&["--log-driver", "syslog", "--log-opt", "syslog-address=unix:///dev/log"], "log driver"),
    ] {
        let refused = ruled.by(ALICE, &[&["run", "--rm"], options, &["busybox", "true"]].concat());
        assert_ne!(refused.status, 0, "{options:?}");
        let text = &refused.stderr;
        assert!(text.contains("authorization denied by rule \"users\""), "{options:?}: {text}");
        assert!(text.contains(why) && text.contains("policy.json"), "{options:?}: {text}");
    }
    ruled.by(ALICE, &["run", "--rm", "-v", &below, "busybox", "touch", "/m/made"]).ok();
    assert!(shared.join("made").exists());
    let volume = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", "vv"];
    ruled.by(ALICE, &volume).fails(1, "volumes that mount something of the host");
    ruled.by(ALICE, &["run", "-d", "--name", "plain", "busybox", "sleep", "1h"]).ok();
    ruled.by(ALICE, &["exec", "--privileged", "plain", "true"]).fails(1, "privileged");
    ruled.by(ALICE, &["rm", "-f", "plain"]).ok();
    // What an administrator made is not a way in either: it is not there.
    ruled.lab.estiba(&["create", "--name", "strong", "--privileged", "busybox", "true"]).ok();
    ruled.by(ALICE, &["start", "strong"]).fails(1, "No such container");
    assert_eq!(ruled.by(ALICE, &["ps", "-aq"]).ok(), "");
}

/// The path is looked at when it is mounted, too: what was a directory then may be a link now.
#[test]
fn a_link_does_not_lead_out_of_a_directory_that_may_be_mounted() {
    let ruled = Ruled::new();
    let shared = ruled.shared();
    let (inner, bind) = (shared.join("inner"), format!("{}/inner:/m", shared.display()));
    std::fs::create_dir(&inner).unwrap();
    ruled.by(ALICE, &["create", "--name", "late", "-v", &bind, "busybox", "ls", "/m"]).ok();
    std::fs::remove_dir(&inner).unwrap();
    symlink("/etc", &inner).unwrap();
    let started = ruled.by(ALICE, &["start", "-a", "late"]);
    assert_ne!(started.status, 0, "{}", started.stdout);
    assert!(!started.stdout.contains("passwd"), "{}", started.stdout);
    ruled.by(ALICE, &["cp", "late:/m/passwd", "-"]).fails(1, "");
    ruled.by(ALICE, &["rm", "late"]).ok();
    ruled.by(ALICE, &["run", "--rm", "-v", &bind, "busybox", "cat", "/m/passwd"]).fails(125, "");
}

/// Whatever the bytes look like, what is judged is what would run (CVE-2024-41110 and its kin).
#[test]
fn no_framing_and_no_spelling_gets_past_the_policy() {
    let ruled = Ruled::new();
    let json = "Content-Type: application/json";
    let url = "http://d/v1.43/containers/create";
    let plain = r#"{"Image":"busybox","HostConfig":{"Privileged":true}}"#;
    let spelt = r#"{"image":"busybox","hostconfig":{"PRIVILEGED":true}}"#;
    let twice = r#"{"Image":"busybox","HostConfig":{"Privileged":false},
        "HostConfig":{"Privileged":true}}"#;
    let large = format!(
        r#"{{"Image":"busybox","Env":["A={}"],"HostConfig":{{"Privileged":true}}}}"#,
        "a".repeat(2 << 20)
    );
    let file = ruled.open.path().join("large");
    std::fs::write(&file, large).unwrap();
    let large = format!("@{}", file.display());
    for request in [
        &["-H", json, "-d", plain][..],
        &["-H", json, "-d", spelt],
        &["-H", json, "-d", twice],
        &["-H", json, "-H", "Transfer-Encoding: chunked", "-d", plain],
        &["-H", json, "--data-binary", &large],
        &["-H", "Content-Type: Application/JSON; charset=utf-8", "-d", plain],
    ] {
        let (status, body) = ruled.curl(ALICE, &[request, &[url]].concat());
        assert_eq!(status, "403", "{request:?}: {body}");
    }
    for request in [
        &["-H", "Content-Type: text/plain", "-d", plain][..],
        &["-H", json, "-H", "Content-Length: 0", "-d", plain],
    ] {
        let (status, body) = ruled.curl(ALICE, &[request, &[url]].concat());
        assert_ne!(status, "201", "{request:?}: {body}");
    }
    assert_eq!(ruled.lab.estiba(&["ps", "-aq"]).ok(), "");
}

#[test]
fn every_decision_is_written_down_or_nothing_is_done() {
    let ruled = Ruled::new();
    ruled.by(ALICE, &["run", "--rm", "--privileged", "busybox", "true"]).fails(125, "denied");
    ruled.by(NOBODY, &["volume", "create", "nope"]).fails(1, "denied");
    let lines = ruled.audit();
    let found = |wanted: &[(&str, &str)]| {
        lines.iter().any(|line| wanted.iter().all(|(key, value)| line[*key] == *value))
    };
    assert!(found(&[
        ("client", "uid:61001"),
        ("class", "containers.run"),
        ("step", "content"),
        ("verdict", "deny"),
        ("rule", "users"),
    ]));
    assert!(found(&[("client", "uid:61003"), ("step", "request"), ("verdict", "deny")]));
    assert!(found(&[("client", "uid:0"), ("class", "images.pull"), ("verdict", "allow")]));
    // Put aside, and the daemon told: lines go on in a new file.
    let (file, aside) = (ruled.open.path().join("audit"), ruled.open.path().join("audit.1"));
    let before = lines.len();
    std::fs::rename(&file, &aside).unwrap();
    kill_process(ruled.lab.daemon_pid(), Signal::HUP).unwrap();
    eventually("the record is opened anew", || file.exists());
    ruled.by(ALICE, &["ps"]).ok();
    assert!(!ruled.audit().is_empty());
    assert!(std::fs::read_to_string(&aside).unwrap().lines().count() >= before);
    // Removed: then nothing is done until there is one again.
    std::fs::remove_file(&file).unwrap();
    ruled.by(ALICE, &["ps"]).fails(1, "the audit log cannot be written");
    kill_process(ruled.lab.daemon_pid(), Signal::HUP).unwrap();
    eventually("there is a record again", || ruled.by(ALICE, &["ps"]).status == 0);
}

#[test]
fn rules_that_say_nothing_are_refused_and_new_ones_come_into_force() {
    let ruled = Ruled::new();
    let file = ruled.open.path().join("policy.json");
    let flag = format!("--authorization-policy={}", file.display());
    let validate = || {
        let mut command = Command::new(binaries().join("estiba"));
        let config = ruled.open.path().join("none.json");
        command.args(["daemon", "--validate", "--config-file"]).arg(config).arg(&flag);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(validate().0, Some(0));
    std::fs::write(&file, r#"{"rules": [{"name": "x", "allowed": ["*"]}]}"#).unwrap();
    let (status, why) = validate();
    assert!(status == Some(1) && why.contains("unknown field `allowed`"), "{why}");
    kill_process(ruled.lab.daemon_pid(), Signal::HUP).unwrap();
    let said = || ruled.lab.daemon_log().contains("unknown field `allowed`");
    eventually("the daemon says what is wrong", said);
    ruled.by(NOBODY, &["ps"]).fails(1, "no rule names");
    let mut rules = policy(ruled.open.path());
    let everybody = json!({"name": "all", "clients": {"anyone": true}, "allow": ["*.read"]});
    rules["rules"].as_array_mut().unwrap().push(everybody);
    std::fs::write(&file, rules.to_string()).unwrap();
    kill_process(ruled.lab.daemon_pid(), Signal::HUP).unwrap();
    eventually("the new rule is in force", || ruled.by(NOBODY, &["ps"]).status == 0);
    ruled.by(NOBODY, &["volume", "create", "vv"]).fails(1, "volumes.write are not allowed");
}

/// Lets the lab's daemon find the plugin of a socket under a name.
fn install(lab: &Lab, name: &str, socket: &Path) {
    let link = format!("/run/docker/plugins/{name}.sock");
    let script = format!(
        "grep -q '^lab /run tmpfs' /proc/mounts || mount -t tmpfs lab /run; \
         mkdir -p /run/docker/plugins; ln -sf {} {link}",
        socket.display()
    );
    lab.in_network(&["sh", "-c", &script]).ok();
}

#[test]
fn a_plugin_sees_what_runs_and_its_no_is_a_no() {
    let config = json!({"authorization-plugins": ["judge"]});
    let dir = tempfile::Builder::new().prefix("estiba-judge-").tempdir().unwrap();
    let mut lab = Lab::new();
    let socket = dir.path().join("judge.sock");
    install(&lab, "judge", &socket);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/data/authz.py");
    let words = ["python3", script, &socket.to_string_lossy()];
    let judge = lab.start_in_network(&words);
    eventually("the plugin listens", || socket.exists());
    lab.estiba(&["run", "--rm", "--privileged", "busybox", "true"]).ok();
    std::fs::write(lab.dir().join("daemon.json"), config.to_string()).unwrap();
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
    let asked = || std::fs::read_to_string(socket.with_extension("sock.log")).unwrap_or_default();
    eventually("the plugin is asked", || {
        lab.estiba(&["ps"]).ok();
        asked().contains("AuthZPlugin.AuthZReq")
    });
    lab.estiba(&["run", "--rm", "busybox", "true"]).ok();
    let refused = lab.estiba(&["run", "--rm", "--privileged", "busybox", "true"]);
    refused.fails(125, "authorization denied by plugin judge: privileged containers are refused");
    lab.estiba(&["volume", "create", "forbidden"]).ok();
    lab.estiba(&["volume", "inspect", "forbidden"]).fails(1, "the path is forbidden");
    lab.estiba(&["create", "--name", "secret", "busybox", "true"]).ok();
    lab.estiba(&["inspect", "secret"]).fails(1, "the answer is secret");
    let info = lab.estiba(&["info", "--format", "{{json .Plugins.Authorization}}"]);
    assert_eq!(info.ok(), r#"["judge"]"#);
    bypasses(&lab, dir.path());
    // What cannot be asked allows nothing, also after a restart.
    lab.stop_daemon();
    lab.start_daemon();
    lab.estiba(&["ps"]).ok();
    judge.signal(Signal::KILL);
    judge.finish();
    eventually("nobody answers", || lab.estiba(&["ps"]).status != 0);
    lab.estiba(&["volume", "create", "alone"]).fails(1, "plugin judge failed with error");
    std::fs::remove_file(lab.dir().join("daemon.json")).unwrap();
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
    eventually("plugins are gone", || lab.estiba(&["ps"]).status == 0);
    let volumes = lab.estiba(&["volume", "ls", "-q"]);
    assert_eq!(volumes.ok(), "forbidden");
    lab.estiba(&["volume", "rm", "forbidden"]).ok();
}

/// A body that is not shown, or not as it is parsed, must not be executed.
fn bypasses(lab: &Lab, dir: &Path) {
    let body = r#"{"Image":"busybox","HostConfig":{"Privileged":true}}"#;
    let padded = format!(r#"{{"Pad":"{}",{}"#, "a".repeat(2 << 20), &body[1..]);
    let file = dir.join("padded");
    std::fs::write(&file, padded).unwrap();
    let padded = format!("@{}", file.display());
    let json = "Content-Type: application/json";
    let socket = lab.socket();
    for (attempt, request) in [
        (
            "chunked, without a length",
            &["-H", json, "-H", "Transfer-Encoding: chunked", "-d", body][..],
        ),
        ("a length of zero", &["-H", json, "-H", "Content-Length: 0", "-d", body]),
        (
            "both",
            &[
                "-H",
                json,
                "-H",
                "Content-Length: 0",
                "-H",
                "Transfer-Encoding: chunked",
                "-d",
                body,
            ],
        ),
        ("too large to be shown", &["-H", json, "--data-binary", &padded]),
        ("not said to be JSON", &["-H", "Content-Type: text/plain", "-d", body]),
        ("nothing said", &["-H", "Content-Type:", "-d", body]),
    ] {
        let mut command = lab.client(Path::new("curl"));
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "60", "--unix-socket"]);
        command.arg(&socket).args(request).arg("http://d/v1.43/containers/create?name=sneaked");
        let output = command.output().unwrap();
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(status.starts_with('4') || status == "000", "{attempt}: {status}");
    }
    let names = lab.estiba(&["ps", "-a", "--filter", "name=sneaked", "-q"]);
    assert_eq!(names.ok(), "");
}

/// An authority, a server's certificate, and those of two clients.
const CERTIFICATES: &str = r#"cd "$1" && exec 2>&1
key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@"; }
key -x509 -days 2 -keyout ca.key -out ca.crt -subj /CN=lab -addext basicConstraints=critical,CA:TRUE
sign() {
    printf 'basicConstraints=CA:FALSE\n%s\n' "$3" >ext
    key -keyout "$1.key" -out "$1.csr" -subj "$2" &&
        openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out "$1.crt"
}
sign server /CN=server subjectAltName=IP:127.0.0.1 &&
    sign alice /OU=dev/CN=alice && sign eve /OU=sales/CN=eve"#;

/// A daemon that takes clients by certificate, and all that [`CERTIFICATES`] makes.
struct Certified {
    lab: Lab,
    dir: tempfile::TempDir,
}

impl Certified {
    const HOST: &str = "127.0.0.1:2376";

    /// `rules` gives the policy, if there is to be one, for a directory.
    fn new(rules: impl FnOnce(&Path) -> Option<Value>) -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-certs-").tempdir().unwrap();
        let made =
            Command::new("sh").args(["-c", CERTIFICATES, "sh"]).arg(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut arguments = vec![
            format!("--host=tcp://{}", Self::HOST),
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", at("ca.crt")),
            format!("--tlscert={}", at("server.crt")),
            format!("--tlskey={}", at("server.key")),
        ];
        if let Some(rules) = rules(dir.path()) {
            std::fs::write(at("policy.json"), rules.to_string()).unwrap();
            arguments.push(format!("--authorization-policy={}", at("policy.json")));
        }
        Self { lab: Lab::with(Setup { arguments, ..Setup::default() }), dir }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[test]
fn certificates_name_clients_too() {
    let certified = Certified::new(|dir| {
        Some(json!({
            "audit": {"file": dir.join("audit")},
            "rules": [
                {"name": "root", "clients": {"users": ["0"]}, "allow": ["*"], "objects": "all",
                 "containers": "any"},
                {"name": "dev", "clients": {"units": ["dev"]}, "allow": ["containers.read"]}
            ]
        }))
    });
    let lab = &certified.lab;
    let at = |name: &str| certified.at(name);
    lab.estiba(&["create", "--name", "roots", "busybox", "true"]).ok();
    let ask = |who: &str, words: &[&str], path: &str| {
        let (ca, cert, key) = (at("ca.crt"), at(&format!("{who}.crt")), at(&format!("{who}.key")));
        let first = ["curl", "-s", "-w", "\n%{http_code}", "--cacert", &ca];
        let own = ["--cert", &cert, "--key", &key];
        let own = if who.is_empty() { &[][..] } else { &own[..] };
        let url = format!("https://{}/v1.43/{path}", Certified::HOST);
        lab.in_network(&[&first[..], own, words, &[&url]].concat()).stdout
    };
    let list = "containers/json?all=1";
    assert_eq!(ask("alice", &[], list), "[]\n\n200", "what is root's is not there");
    assert!(ask("alice", &["-X", "POST"], "volumes/create").ends_with("403"));
    let refused = ask("eve", &[], list);
    assert!(refused.contains("no rule names the client cn:eve"), "{refused}");
    assert!(ask("", &[], list).ends_with("000"), "nobody without a certificate");
    let lines = std::fs::read_to_string(at("audit")).unwrap();
    assert!(lines.contains(r#""client":"cn:alice","common_name":"alice""#), "{lines}");
}

/// The client's environment as Docker's, by both command lines.
#[test]
fn the_clients_environment_leads_over_tls() {
    let certified = Certified::new(|_| None);
    let keys = certified.dir.path().join("alice");
    std::fs::create_dir(&keys).unwrap();
    for (from, to) in [("ca.crt", "ca.pem"), ("alice.crt", "cert.pem"), ("alice.key", "key.pem")] {
        std::fs::copy(certified.at(from), keys.join(to)).unwrap();
    }
    let ours = binaries().join("estiba").to_string_lossy().into_owned();
    let stock = ["/usr/local/bin/docker", "/usr/bin/docker"].into_iter();
    let stock = stock.filter(|path| Path::new(path).exists()).take(1);
    let host = format!("DOCKER_HOST=tcp://{}", Certified::HOST);
    for program in std::iter::once(ours.as_str()).chain(stock) {
        let ask = |environment: &[&str]| {
            let words = [&["env", &host], environment, &[program, "images", "-q"]].concat();
            certified.lab.in_network(&words)
        };
        let path = format!("DOCKER_CERT_PATH={}", keys.display());
        let seen = ask(&["DOCKER_TLS_VERIFY=1", &path]);
        assert_eq!(seen.ok().len(), 12, "{program}: {seen:?}");
        assert_eq!(ask(&["DOCKER_TLS=1", &path]).status, 0, "{program}: unverified");
        assert_ne!(ask(&[]).status, 0, "{program}: in the clear");
        let elsewhere = format!("DOCKER_CERT_PATH={}", certified.dir.path().display());
        assert_ne!(ask(&["DOCKER_TLS_VERIFY=1", &elsewhere]).status, 0, "{program}: no keys");
    }
}
