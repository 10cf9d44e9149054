//! Plugins that the node runs itself: made of a directory, sent to a registry of our own, installed
//! from there, used, and seen to have what they were granted and no more.

use lab::{Lab, Session, Setup, binaries, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const NAME: &str = "127.0.0.1:5000/lab/shelf:latest";

/// A lab whose `/run` is its own, with a registry.
struct Shop {
    lab: Lab,
    registry: Option<Session>,
}

impl Shop {
    fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let mut lab = Lab::with(setup);
        lab.stop_daemon();
        // Sockets of plugins lie in the host's /run.
        lab.in_network(&["mount", "-t", "tmpfs", "lab", "/run"]).ok();
        lab.start_daemon();
        std::fs::create_dir(lab.dir().join("state")).unwrap();
        Self { lab, registry: None }
    }

    fn state(&self, file: &str) -> String {
        std::fs::read_to_string(self.lab.dir().join("state").join(file)).unwrap_or_default()
    }

    fn serve(&mut self) {
        let program = binaries().join("estiba");
        let root = self.lab.dir().join("registry");
        let words = [
            &*program.to_string_lossy(),
            "registry",
            "serve",
            "--listen",
            "127.0.0.1:5000",
            "--root",
            &root.to_string_lossy(),
        ];
        self.registry = Some(self.lab.start_in_network(&words));
        let probe = ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:5000/healthz"];
        eventually("the registry answers", || self.lab.in_network(&probe).status == 0);
    }

    /// The directory of a plugin, with changes to what it says of itself.
    fn directory(&self, change: Value) -> PathBuf {
        let dir = self.lab.dir().join("plugin");
        let root = dir.join("rootfs");
        for part in ["bin", "mnt/volumes", "own", "state", "run/docker/plugins", "proc", "dev"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        std::fs::copy(env!("CARGO_BIN_EXE_test-plugin"), root.join("bin/driver")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let mut config = json!({
            "description": "keeps things\nwhere they are found again, and tells what it was asked",
            "documentation": "https://example.org",
            "entrypoint": ["/bin/driver", "first"],
            "interface": {
                "types": ["docker.volumedriver/1.0", "docker.logdriver/1.0", "docker.authz/1.0"],
                "socket": "test.sock"
            },
            "network": {"type": "host"},
            "propagatedMount": "/mnt/volumes",
            "linux": {"capabilities": ["CAP_SYS_ADMIN"]},
            "mounts": [{"name": "state", "source": self.lab.dir().join("state"),
                        "destination": "/state", "type": "bind", "options": ["rbind"],
                        "settable": ["source"]}],
            "env": [{"name": "MODE", "value": "", "settable": ["value"]},
                    {"name": "KEEP", "value": "", "settable": ["value"]}],
            "args": {"name": "args", "value": ["second"], "settable": ["value"]}
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        dir
    }

    fn create(&self, name: &str, change: Value) {
        let dir = self.directory(change);
        let made = self.lab.estiba(&["plugin", "create", name, &dir.to_string_lossy()]);
        assert_eq!(made.ok(), name);
    }

    fn inspect(&self, name: &str) -> Value {
        let shown = self.lab.estiba(&["plugin", "inspect", name]);
        let all: Value = serde_json::from_str(shown.ok()).unwrap();
        all[0].clone()
    }

    /// The pid of the plugin's program.
    fn pid(&self, name: &str) -> String {
        let id = self.inspect(name)["Id"].as_str().unwrap().to_owned();
        let ours = |pid: &String| {
            let read =
                |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let group = String::from_utf8_lossy(&read("cgroup")).contains(&id);
            group && read("cmdline").starts_with(b"/bin/driver")
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut all = all.filter_map(|entry| entry.file_name().into_string().ok());
        all.find(ours).expect("its program runs")
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let all = self.lab.estiba(&["plugin", "ls", "-q"]).stdout;
        for id in all.split_whitespace() {
            self.lab.estiba(&["plugin", "rm", "-f", id]);
        }
        if let Some(registry) = self.registry.take() {
            registry.signal(Signal::KILL);
            registry.finish();
        }
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn a_plugin_comes_from_a_registry_and_keeps_volumes() {
    let mut shop = Shop::new();
    shop.serve();
    shop.create(NAME, json!({}));
    let lab = &shop.lab;
    let list = lab.estiba(&["plugin", "ls", "--format", "{{.Name}} {{.Enabled}} {{.Description}}"]);
    let want = format!("{NAME} false keeps thingswhere they are found again, and …");
    assert_eq!(list.ok(), want);
    assert!(lab.estiba(&["plugin", "push", NAME]).ok().contains("latest: digest: sha256:"));
    lab.estiba(&["plugin", "rm", NAME]).ok();
    assert_eq!(lab.estiba(&["plugin", "ls", "-q"]).ok(), "");

    // Who says no gets nothing.
    let refused = lab.estiba_with(&["plugin", "install", NAME], b"n\n");
    refused.fails(1, "permission denied while installing plugin");
    let state = lab.dir().join("state");
    let asked = format!(
        "Plugin \"{NAME}\" is requesting the following privileges:\n - network: [host]\n \
         - mount: [{}]\n - capabilities: [CAP_SYS_ADMIN]\n\
         Do you grant the above permissions? [y/N] ",
        state.display()
    );
    assert_eq!(refused.stdout, asked);
    let installed =
        lab.estiba_with(&["plugin", "install", "--alias", "shelf", NAME, "MODE=x"], b"y\n");
    assert!(installed.ok().ends_with(&format!("Installed plugin {NAME}")), "{installed:?}");
    let plugin = shop.inspect("shelf");
    assert_eq!(plugin["Name"], "shelf:latest");
    assert_eq!(plugin["PluginReference"], NAME);
    assert_eq!(
        (&plugin["Enabled"], &plugin["Settings"]["Env"]),
        (&json!(true), &json!(["KEEP=", "MODE=x"]))
    );
    let started = shop.state("started");
    for word in ["/bin/driver\nfirst\nsecond", "MODE=x"] {
        assert!(started.contains(word), "{started}");
    }
    let info =
        lab.estiba(&["info", "--format", "{{.Plugins.Volume}}{{.Plugins.Log}}"]).ok().to_owned();
    assert_eq!(info.matches("shelf:latest").count(), 2, "{info}");

    // A volume in the plugin's directory, and one that it mounts: the host and containers see it.
    lab.estiba(&["volume", "create", "-d", "shelf", "books"]).ok();
    lab.estiba(&["volume", "create", "-d", "shelf:latest", "-o", "memory=1", "notes"]).ok();
    let drivers = lab.estiba(&["volume", "ls", "--format", "{{.Driver}} {{.Name}}"]);
    assert_eq!(drivers.ok(), "shelf:latest books\nshelf:latest notes");
    let status = lab.estiba(&["volume", "inspect", "-f", "{{.Status.kept}}", "books"]);
    assert_eq!(status.ok(), "true");
    for name in ["books", "notes"] {
        let volume = format!("{name}:/v");
        let script = "echo kept >/v/file; stat -f -c %T /v";
        let run = ["run", "--rm", "-v", &volume, "busybox", "sh", "-c", script];
        let kind = lab.estiba(&run).ok().to_owned();
        assert_eq!(kind == "tmpfs", name == "notes", "{kind}");
    }
    let read = ["run", "--rm", "-v", "books:/v", "busybox", "cat", "/v/file"];
    assert_eq!(lab.estiba(&read).ok(), "kept");

    // What is used stays.
    lab.estiba(&["plugin", "disable", "shelf"]).fails(1, "plugin shelf:latest is in use");
    lab.estiba(&["plugin", "rm", "shelf"]).fails(1, "plugin shelf:latest is in use");
    lab.estiba(&["volume", "rm", "books", "notes"]).ok();
    lab.estiba(&["plugin", "rm", "shelf"]).fails(1, "plugin shelf:latest is enabled");
    lab.estiba(&["plugin", "set", "shelf", "MODE=y"]).fails(1, "cannot set on an active plugin");
    lab.estiba(&["plugin", "upgrade", "shelf"]).fails(1, "the plugin must be disabled");
    assert_eq!(lab.estiba(&["plugin", "disable", "shelf"]).ok(), "shelf");
    let refused = lab.estiba(&["volume", "create", "-d", "shelf", "x1"]);
    refused.fails(1, "plugin shelf:latest found but disabled");
    lab.estiba(&["plugin", "upgrade", "--grant-all-permissions", "shelf"]).ok();
    assert_eq!(shop.inspect("shelf")["Settings"]["Env"], json!(["KEEP=", "MODE=x"]));
    assert_eq!(lab.estiba(&["plugin", "rm", "shelf"]).ok(), "shelf");
    assert!(!lab.data_root().join("plugins").read_dir().is_ok_and(|mut it| it.next().is_some()));
}

#[test]
fn a_plugin_survives_the_daemon_and_is_started_when_it_died() {
    let mut shop = Shop::new();
    shop.create("lab/shelf", json!({}));
    shop.lab.estiba(&["plugin", "enable", "lab/shelf"]).ok();
    shop.lab.estiba(&["volume", "create", "-d", "lab/shelf", "data"]).ok();
    let words = ["run", "-d", "--name", "user", "-v", "data:/d", "busybox", "sleep", "1h"];
    shop.lab.estiba(&words).ok();
    let before = shop.pid("lab/shelf");
    shop.lab.kill_daemon();
    shop.lab.start_daemon();
    assert_eq!(shop.pid("lab/shelf"), before, "it went on");
    let write = ["run", "--rm", "-v", "data:/d", "busybox", "touch", "/d/seen"];
    shop.lab.estiba(&write).ok();
    shop.lab.estiba(&["exec", "user", "test", "-e", "/d/seen"]).ok();
    // Its program dies, with a daemon that looks and with none.
    shop.lab.in_network(&["kill", "-KILL", &before]).ok();
    eventually("it is started again", || {
        let made = shop.lab.estiba(&["run", "--rm", "-v", "data:/d", "busybox", "ls", "/d/seen"]);
        made.status == 0
    });
    let again = shop.pid("lab/shelf");
    assert_ne!(again, before);
    shop.lab.kill_daemon();
    shop.lab.in_network(&["kill", "-KILL", &again]).ok();
    shop.lab.start_daemon();
    assert_ne!(shop.pid("lab/shelf"), again);
    shop.lab.estiba(&write).ok();
    shop.lab.estiba(&["rm", "-f", "user"]).ok();
    shop.lab.estiba(&["volume", "rm", "data"]).ok();
    shop.lab.estiba(&["plugin", "rm", "-f", "lab/shelf"]).ok();
}

#[test]
fn a_plugin_reads_logs_and_judges_requests() {
    let shop = Shop::new();
    let lab = &shop.lab;
    shop.create("judge", json!({"propagatedMount": ""}));
    lab.estiba(&["plugin", "enable", "judge"]).ok();
    let run = ["run", "--rm", "--log-driver", "judge", "busybox", "echo", "said once"];
    lab.estiba(&run).ok();
    eventually("the line arrives", || shop.state("log").contains("said once"));
    std::fs::write(lab.dir().join("daemon.json"), r#"{"authorization-plugins": ["judge"]}"#)
        .unwrap();
    lab.in_network(&["kill", "-HUP", &lab.daemon_pid().as_raw_nonzero().to_string()]).ok();
    eventually("it is asked", || {
        lab.estiba(&["volume", "inspect", "forbidden"])
            .stderr
            .contains("the test plugin forbids it")
    });
    lab.estiba(&["volume", "create", "fine"]).ok();
    // Who was let to stop it is not asked by it any more, until it runs again.
    lab.estiba(&["plugin", "disable", "judge"]).ok();
    lab.estiba(&["volume", "inspect", "forbidden"]).fails(1, "no such volume");
    lab.estiba(&["plugin", "enable", "judge"]).ok();
    lab.estiba(&["volume", "inspect", "forbidden"]).fails(1, "the test plugin forbids it");
    lab.estiba(&["plugin", "rm", "-f", "judge"]).ok();
    lab.estiba(&["volume", "rm", "fine"]).fails(1, "judge");
    std::fs::write(lab.dir().join("daemon.json"), "{}").unwrap();
    lab.in_network(&["kill", "-HUP", &lab.daemon_pid().as_raw_nonzero().to_string()]).ok();
    eventually("nobody is asked", || lab.estiba(&["volume", "ls"]).status == 0);
    lab.estiba(&["volume", "rm", "fine"]).ok();
}

#[test]
fn a_plugin_makes_networks() {
    let shop = Shop::new();
    let lab = &shop.lab;
    let interface = json!({"types": ["docker.networkdriver/1.0"], "socket": "test.sock"});
    let granted = json!({"capabilities": ["CAP_NET_ADMIN"]});
    shop.create("wires", json!({"propagatedMount": "", "interface": interface, "linux": granted}));
    lab.estiba(&["plugin", "enable", "wires"]).ok();
    lab.estiba(&["network", "create", "-d", "wires", "--subnet", "10.44.0.0/24", "far"]).ok();
    let seen = lab.estiba(&["run", "--rm", "--network", "far", "busybox", "ip", "-o", "addr"]);
    assert!(seen.ok().contains("plug0") && seen.ok().contains("10.44.0."), "{seen:?}");
    // While a network of its is there, it is needed.
    lab.estiba(&["plugin", "disable", "wires"]).fails(1, "is in use");
    lab.estiba(&["network", "rm", "far"]).ok();
    let heard = shop.state("heard");
    for method in ["CreateNetwork", "CreateEndpoint", "Join", "Leave", "DeleteEndpoint"] {
        assert!(heard.contains(&format!("NetworkDriver.{method}\n")), "{method}: {heard}");
    }
    eventually("it is told the end of the network", || {
        shop.state("heard").contains("NetworkDriver.DeleteNetwork\n")
    });
    lab.estiba(&["plugin", "rm", "-f", "wires"]).ok();
}

#[test]
fn a_plugin_has_what_it_was_granted_and_no_more() {
    let shop = Shop::new();
    let lab = &shop.lab;
    let nothing = json!({"network": {"type": "none"}, "propagatedMount": "", "mounts": [],
                         "linux": {}, "env": [{"name": "KEEP", "value": "own"}]});
    shop.create("modest", nothing);
    lab.estiba(&["plugin", "enable", "modest"]).ok();
    let pid = shop.pid("modest");
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = read("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(field("CapEff:") & (1 << 21), 0, "no CAP_SYS_ADMIN");
    assert_eq!(field("CapInh:"), 0);
    assert_eq!(field("Seccomp:"), 2);
    assert_ne!(read("uid_map").split_whitespace().nth(1), Some("0"), "ids of its own");
    let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(net(&pid), net(&lab.daemon_pid().as_raw_nonzero().to_string()));
    // Its volumes lie in its own root, and work all the same.
    lab.estiba(&["volume", "create", "-d", "modest", "vv"]).ok();
    lab.estiba(&["run", "--rm", "-v", "vv:/v", "busybox", "touch", "/v/file"]).ok();
    lab.estiba(&["run", "--rm", "-v", "vv:/v", "busybox", "test", "-e", "/v/file"]).ok();
    lab.estiba(&["volume", "rm", "vv"]).ok();
    lab.estiba(&["plugin", "rm", "-f", "modest"]).ok();

    shop.create("greedy", json!({}));
    lab.estiba(&["plugin", "enable", "greedy"]).ok();
    let pid = shop.pid("greedy");
    assert_eq!(net(&pid), net(&lab.daemon_pid().as_raw_nonzero().to_string()));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    let have = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_ne!(have & (1 << 21), 0, "CAP_SYS_ADMIN");
    assert_eq!(have & (1 << 16), 0, "and not CAP_SYS_MODULE");
    lab.estiba(&["plugin", "rm", "-f", "greedy"]).ok();
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let mut shop = Shop::new();
    shop.serve();
    let lab = &shop.lab;
    shop.create("broken", json!({}));
    lab.estiba(&["plugin", "set", "broken", "MODE=broken"]).ok();
    let refused = lab.estiba(&["plugin", "enable", "--timeout", "10", "broken"]);
    refused.fails(1, "it ended with 7 before it listened on test.sock");
    assert_eq!(shop.inspect("broken")["Enabled"], false);
    let id = shop.inspect("broken")["Id"].as_str().unwrap().to_owned();
    assert!(!exists(&lab.dir().join("run/containers").join(&id).join("monitor.sock")));
    for (arguments, why) in [
        (&["plugin", "create", "broken", "PLACE"][..], "plugin \"broken:latest\" already exists"),
        (&["plugin", "disable", "broken"], "found but disabled"),
        (&["plugin", "set", "broken", "nope=1"], "setting \"nope\" not found"),
        (&["plugin", "set", "broken", "KEEP.name=1"], "\"KEEP.name\" is not settable"),
        (&["plugin", "inspect", "nosuch"], "plugin \"nosuch\" not found"),
        (&["plugin", "enable", "nosuch"], "plugin \"nosuch\" not found"),
        (&["plugin", "rm", "nosuch"], "plugin \"nosuch\" not found"),
        (&["plugin", "install", "127.0.0.1:5000/no/such"], "not found"),
    ] {
        let dir = lab.dir().join("plugin").to_string_lossy().into_owned();
        let words: Vec<&str> =
            arguments.iter().map(|it| if *it == "PLACE" { &*dir } else { it }).collect();
        lab.estiba(&words).fails(1, why);
    }
    // An image is no plugin.
    lab.estiba(&["tag", "busybox", "127.0.0.1:5000/an/image"]).ok();
    lab.estiba(&["push", "-q", "127.0.0.1:5000/an/image"]).ok();
    let refused = lab.estiba(&["plugin", "install", "127.0.0.1:5000/an/image"]);
    refused.fails(1, "did not find plugin config");
    // Links in an archive lead nowhere.
    let dir = lab.dir().join("hostile");
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("config.json")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.join("rootfs")).unwrap();
    let tar = lab.dir().join("hostile.tar");
    lab.in_network(&["tar", "-C", &dir.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."]).ok();
    let socket = lab.socket();
    let sent = lab.in_network(&[
        "curl",
        "-s",
        "--unix-socket",
        &socket.to_string_lossy(),
        "-H",
        "Content-Type: application/x-tar",
        "--data-binary",
        &format!("@{}", tar.display()),
        "http://x/plugins/create?name=hostile",
    ]);
    assert!(sent.stdout.contains("there is no config.json"), "{sent:?}");
    lab.estiba(&["plugin", "rm", "broken"]).ok();
}

#[test]
fn the_stock_command_line_sees_the_same() {
    let mut shop = Shop::new();
    shop.serve();
    let lab = &shop.lab;
    if lab.docker(&["version"]).is_none() {
        return;
    }
    let docker = |words: &[&str]| lab.docker(words).unwrap();
    let dir = shop.directory(json!({}));
    assert_eq!(docker(&["plugin", "create", NAME, &dir.to_string_lossy()]).ok(), NAME);
    docker(&["plugin", "push", NAME]).ok();
    docker(&["plugin", "rm", NAME]).ok();
    let words =
        ["plugin", "install", "--grant-all-permissions", "--alias", "shelf", NAME, "MODE=x"];
    docker(&words).ok();
    for words in [
        &["plugin", "ls"][..],
        &["plugin", "ls", "--no-trunc"],
        &["plugin", "ls", "-q", "--no-trunc"],
        &["plugin", "ls", "--format", "json"],
        &["plugin", "ls", "--filter", "enabled=true", "--filter", "capability=logdriver"],
        &["plugin", "ls", "--filter", "enabled=false"],
        &["plugin", "ls", "--format", "table {{.ID}}\t{{.PluginReference}}"],
        &["plugin", "inspect", "shelf"],
        &["plugin", "inspect", "-f", "{{.Settings.Args}}", "shelf:latest"],
        &["plugin", "inspect", "nosuch"],
        &["plugin", "enable", "shelf"],
        &["plugin", "install", "--help"],
        &["plugin", "upgrade", "--help"],
        &["plugin"],
        &["inspect", "--type", "plugin", "shelf"],
    ] {
        let (theirs, mut command) = (docker(words), lab.client(&binaries().join("estiba")));
        std::os::unix::process::CommandExt::arg0(&mut command, "docker");
        let ours = command.args(words).output().unwrap();
        let ours = (ours.status.code(), String::from_utf8_lossy(&ours.stdout).into_owned());
        assert_eq!(ours, (Some(theirs.status), theirs.stdout.clone()), "{words:?}");
    }
    let shown = "{{.Action}} {{.Actor.Attributes.name}}";
    let events = ["events", "--since", "1", "--until", "0s", "--filter", "type=plugin"];
    let created = format!("create {NAME}");
    let pushed = format!("push {NAME}");
    let removed = format!("remove {NAME}");
    // The stock command line asks for the events until the last whole second.
    eventually("all of it was told", || {
        let told = docker(&[&events[..], &["--format", shown]].concat());
        [&created, &pushed, &removed, "pull shelf:latest", "enable shelf:latest"]
            .iter()
            .all(|line| told.stdout.lines().any(|it| it == *line))
    });
    docker(&["plugin", "disable", "-f", "shelf"]).ok();
    docker(&["plugin", "upgrade", "--grant-all-permissions", "shelf", NAME]).ok();
    docker(&["plugin", "rm", "shelf"]).ok();
}
