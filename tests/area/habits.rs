//! Habits of clients in use that no specification tells: found by running their own test suites.

use lab::{Lab, Setup, eventually};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Sends a request, its connection to be read to the end.
fn send(lab: &Lab, head: &str, body: &str) -> UnixStream {
    let mut socket = UnixStream::connect(lab.socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let request = format!(
        "{head}Host: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Head and body of what comes until the end.
fn read(mut socket: UnixStream) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
    (String::from_utf8_lossy(&all[..end]).into_owned(), all[end..].to_vec())
}

fn text(lab: &Lab, method: &str, target: &str, body: &str) -> (u16, String) {
    let head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    let (head, body) = read(send(lab, &head, body));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// docker-py starts execs with a terminal as if they had none, and gets frames.
#[test]
fn who_starts_an_exec_says_whether_output_is_framed() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    for (tty, want) in [(false, &b"\x01\0\0\0\0\0\0\x02hi"[..]), (true, b"hi")] {
        let create = r#"{"Cmd":["printf","hi"],"Tty":true,"AttachStdout":true}"#;
        let (_, made) = text(&lab, "POST", "/v1.41/containers/box/exec", create);
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let id = made["Id"].as_str().unwrap();
        let head = format!(
            "POST /v1.41/exec/{id}/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        );
        let socket = send(&lab, &head, &format!("{{\"Tty\":{tty}}}"));
        let (head, body) = read(socket);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(body, want, "{:?}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn a_kill_is_over_when_it_answers() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    assert_eq!(text(&lab, "POST", "/containers/box/kill", "").0, 204);
    let state = lab.estiba(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]);
    assert_eq!(state.ok().trim(), "exited 137");
}

/// Files are copied into and out of the volumes of containers that do not run.
#[test]
fn volumes_of_stopped_containers_are_reached() {
    let lab = Lab::new();
    let file = lab.dir().join("file");
    let path = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    std::fs::write(&file, "kept").unwrap();
    let words = ["create", "--name", "box", "-v", "vol:/data/deep", "busybox", "cat"];
    lab.estiba(&[&words[..], &["/data/deep/file"]].concat()).ok();
    lab.estiba(&["cp", &path("file"), "box:/data/deep/"]).ok();
    assert_eq!(lab.estiba(&["start", "-a", "box"]).ok(), "kept");
    lab.estiba(&["cp", "box:/data/deep/file", &path("back")]).ok();
    assert_eq!(std::fs::read_to_string(path("back")).unwrap(), "kept");
    lab.estiba(&["cp", "box:/data/deep", &path("whole")]).ok();
    assert_eq!(std::fs::read_to_string(path("whole/file")).unwrap(), "kept");
    assert_eq!(
        std::fs::read_to_string(lab.data_root().join("volumes/vol/_data/file")).ok(),
        Some("kept".to_owned())
    );
}

#[test]
fn a_legacy_link_tells_its_environment_and_can_be_removed() {
    let lab = Lab::new();
    let other = ["run", "-d", "--name", "other", "-e", "KEY=value", "--expose", "80"];
    lab.estiba(&[&other[..], &["busybox", "sleep", "600"]].concat()).ok();
    let env = lab.estiba(&["run", "--name", "box", "--link", "other:my-db", "busybox", "env"]);
    let env = env.ok().to_owned();
    for line in ["MY_DB_NAME=/box/my-db", "MY_DB_ENV_KEY=value", "MY_DB_PORT_80_TCP_PORT=80"] {
        assert!(env.lines().any(|it| it == line), "{line}: {env}");
    }
    assert_eq!(text(&lab, "DELETE", "/containers/box/my-db?link=1", "").0, 204);
    let again = text(&lab, "DELETE", "/containers/box/my-db?link=1", "");
    assert_eq!(again.0, 404, "{}", again.1);
    let links = lab.estiba(&["inspect", "-f", "{{json .HostConfig.Links}}", "box"]);
    assert_eq!(links.ok().trim(), "null");
}

/// Refusals as clients of their time look for them.
#[test]
fn old_clients_get_the_words_of_their_time() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    let (status, old) = text(&lab, "DELETE", "/v1.41/containers/box", "");
    assert_eq!(status, 409);
    assert!(old.contains("You cannot remove a running container"), "{old}");
    let (_, new) = text(&lab, "DELETE", "/v1.47/containers/box", "");
    assert!(new.contains("container is running: stop the container before removing"), "{new}");
}

/// The mode says `default` when a client says nothing, which is not the default bridge then.
#[test]
fn networks_that_are_named_are_all_there_are() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "nn"]).ok();
    let of = |mode: &str, network: &str| {
        let body = format!(
            r#"{{"Image":"busybox","Cmd":["sleep","600"],"HostConfig":{{"NetworkMode":"{mode}"}},
                "NetworkingConfig":{{"EndpointsConfig":{{"{network}":{{}}}}}}}}"#
        );
        assert_eq!(text(&lab, "POST", "/v1.41/containers/create?name=box", &body).0, 201);
        lab.estiba(&["start", "box"]).ok();
        let shown = "{{range $k, $_ := .NetworkSettings.Networks}}{{$k}} {{end}}";
        let seen = lab.estiba(&["inspect", "-f", shown, "box"]).ok().trim().to_owned();
        let links = lab.estiba(&["exec", "box", "ls", "/sys/class/net"]).ok().to_owned();
        assert!(links.contains("eth0") && !links.contains("eth1"), "{links}");
        lab.estiba(&["rm", "-f", "box"]).ok();
        seen
    };
    for (mode, network, want) in [
        ("", "nn", "nn"),
        ("default", "nn", "nn"),
        ("bridge", "nn", "nn"),
        ("nn", "nn", "nn"),
        ("", "bridge", "bridge"),
        ("default", "default", "bridge"),
    ] {
        assert_eq!(of(mode, network), want, "{mode} {network}");
    }
    lab.estiba(&["network", "rm", "nn"]).ok();
}

/// What fields were called, and which were null, when a client was written.
#[test]
fn answers_have_the_fields_of_their_version() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "nn"]).ok();
    lab.estiba(&["run", "-d", "--name", "box", "--network", "nn", "busybox", "sleep", "600"]).ok();
    let get = |version: &str, target: &str| -> serde_json::Value {
        let (status, body) = text(&lab, "GET", &format!("/v{version}{target}"), "");
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let image = |version: &str| get(version, "/images/busybox/json");
    assert!(image("1.44")["ContainerConfig"]["Hostname"].is_string());
    assert!(image("1.45").get("ContainerConfig").is_none());
    assert!(image("1.49")["Config"]["Hostname"].is_string());
    let plain = &image("1.51")["Config"];
    assert!(plain.get("Hostname").is_none(), "{plain}");
    assert!(plain.get("Volumes").is_some_and(serde_json::Value::is_null), "{plain}");
    assert!(image("1.52")["Config"].get("Volumes").is_none());
    let users = |version: &str| {
        let all = get(version, "/networks");
        let one = all.as_array().unwrap().iter().find(|it| it["Name"] == "nn").cloned().unwrap();
        one["Containers"].as_object().map(serde_json::Map::len)
    };
    assert_eq!([users("1.27"), users("1.28"), users("1.52")], [Some(1), Some(0), None]);
    let info = |version: &str| get(version, "/info");
    assert_eq!(info("1.41")["KernelMemory"], true);
    assert!(info("1.42").get("KernelMemory").is_none());
    assert_eq!(info("1.48")["RuncCommit"]["Expected"], info("1.48")["RuncCommit"]["ID"]);
    assert!(info("1.49")["RuncCommit"].get("Expected").is_none());
    let line = &get("1.51", "/containers/json")[0];
    assert!(line["NetworkSettings"]["Networks"]["nn"]["Aliases"].is_null(), "{line}");
    let namespace = |version: &str| {
        let create = format!("/v{version}/containers/create?name=old");
        assert_eq!(text(&lab, "POST", &create, r#"{"Image":"busybox"}"#).0, 201);
        let mode = lab.estiba(&["inspect", "-f", "{{.HostConfig.CgroupnsMode}}", "old"]);
        lab.estiba(&["rm", "old"]).ok();
        mode.ok().to_owned()
    };
    assert_ne!(namespace("1.41"), "host");
    if std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        assert_eq!(namespace("1.40"), "host", "where groups are of the first version");
    }
}

/// The handshake and frames of RFC 6455, byte by byte.
#[test]
fn a_browser_attaches_by_websocket() {
    let lab = Lab::new();
    let words = ["create", "-i", "--name", "box", "busybox", "sh", "-c", "read x; echo got $x"];
    lab.estiba(&words).ok();
    let query = "stream=1&stdin=1&stdout=1&stderr=1";
    let head = format!(
        "GET /containers/box/attach/ws?{query} HTTP/1.1\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: x\r\n\r\n"
    );
    let mut socket = UnixStream::connect(lab.socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    // The example of the protocol's own document.
    assert!(answer.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    lab.estiba(&["start", "box"]).ok();
    // One masked text message of three bytes, masked with zeros.
    socket.write_all(b"\x81\x83\0\0\0\0hi\n").unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert!(all.windows(9).any(|it| it == b"\x82\x07got hi\n"), "{all:?}");
}

/// What is wrong with a body is said in Go's words, and sizes of terminals in Docker's.
#[test]
fn refusals_are_in_the_words_that_clients_compare() {
    let lab = Lab::new();
    for (target, body, words) in [
        ("/containers/create", "{bad", "invalid JSON: invalid character 'b' looking for"),
        ("/containers/create", "{} x", "unexpected content after JSON"),
        ("/exec/none/resize?h=1", "", "invalid resize width \\\"\\\": invalid syntax"),
        ("/exec/none/resize?h=-1&w=1", "", "invalid resize height \\\"-1\\\": value out of range"),
        ("/images/create?fromSrc=-&platform=macos", "", "operating system is not supported"),
        ("/images/busybox/tag?repo=sha256&tag=x", "", "refusing to create an ambiguous tag"),
        ("/session", "", "no upgrade"),
    ] {
        let (status, said) = text(&lab, "POST", target, body);
        assert!(status == 400 && said.contains(words), "{target} {body}: {status} {said}");
    }
}

/// Containers are found, and shown, under the names that links give them.
#[test]
fn a_link_is_a_name() {
    let lab = Lab::new();
    let asked = r#"{"Image":"busybox","HostConfig":{"Links":["none:db"]}}"#;
    let (status, said) = text(&lab, "POST", "/containers/create", asked);
    assert!(status == 400 && said.contains("could not get container for none"), "{said}");
    lab.estiba(&["create", "--name", "other", "busybox"]).ok();
    lab.estiba(&["create", "--name", "app", "--link", "other:db", "busybox"]).ok();
    let (_, by_link) = text(&lab, "GET", "/containers/app/db/json", "");
    assert!(by_link.contains("\"Name\":\"/other\""), "{by_link}");
    let (_, all) = text(&lab, "GET", "/containers/json?all=1", "");
    assert!(all.contains(r#"["/other","/app/db"]"#), "{all}");
    let links = lab.estiba(&["inspect", "-f", "{{json .HostConfig.Links}}", "app"]);
    assert_eq!(links.ok().trim(), r#"["/other:/app/db"]"#);
    assert_eq!(text(&lab, "GET", "/containers/app/none/json", "").0, 404);
}

/// Defaults that the daemon gives become the container's own.
#[test]
fn default_namespaces_are_kept_by_the_container() {
    let arguments = vec!["--default-ipc-mode=shareable".to_owned()];
    let lab = Lab::with(lab::Setup { arguments, ..lab::Setup::default() });
    let mode = |name: &str| {
        lab.estiba(&["inspect", "-f", "{{.HostConfig.IpcMode}}", name]).ok().trim().to_owned()
    };
    lab.estiba(&["create", "--name", "one", "busybox"]).ok();
    lab.estiba(&["create", "--name", "two", "--ipc", "private", "busybox"]).ok();
    assert_eq!((mode("one").as_str(), mode("two").as_str()), ("shareable", "private"));
    let volume = r#"{"Image":"busybox","Volumes":{"/v":{}}}"#;
    let (_, made) = text(&lab, "POST", "/v1.39/containers/create?name=old", volume);
    assert!(made.contains("Id"), "{made}");
    assert_eq!(mode("old"), "shareable");
    let (_, volumes) = text(&lab, "GET", "/volumes", "");
    assert!(volumes.contains("com.docker.volume.anonymous"), "{volumes}");
}

/// A commit's instructions see the environment that was there, and an empty archive is one.
#[test]
fn commits_expand_variables_and_nothing_is_an_archive() {
    let lab = Lab::new();
    lab.estiba(&["create", "--name", "box", "-e", "A=/bin", "busybox"]).ok();
    lab.estiba(&["commit", "-c", "ENV B=/usr$A", "box", "made"]).ok();
    let env = lab.estiba(&["image", "inspect", "-f", "{{json .Config.Env}}", "made"]);
    assert!(env.ok().contains("\"B=/usr/bin\""), "{}", env.ok());
    assert_eq!(text(&lab, "PUT", "/containers/box/archive?path=/tmp", "").0, 200);
    lab.estiba(&["tag", "made", "made:two"]).ok();
    let filters = "%7B%22reference%22%3A%5B%22made%3Atwo%22%5D%7D";
    let (_, listed) = text(&lab, "GET", &format!("/images/json?filters={filters}"), "");
    assert!(listed.contains("made:two") && !listed.contains("made:latest"), "{listed}");
}

/// Clients of Docker before 1.10, and scripts with netcat: the whole answer is output.
#[test]
fn an_exec_is_started_over_http_1_0() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    let create = r#"{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true}"#;
    let (_, made) = text(&lab, "POST", "/v1.24/containers/box/exec", create);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let head = format!("POST /v1.24/exec/{}/start HTTP/1.0\r\n", made["Id"].as_str().unwrap());
    let mut socket = send(&lab, &head, r#"{"Tty":true}"#);
    socket.write_all(b"typed").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let (head, body) = read(socket);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("upgrade"), "{head}");
    assert_eq!(String::from_utf8_lossy(&body), "typed");
}

/// Files copied in keep their owners; with `-a` they become the container's user's, if it has one.
#[test]
fn copies_belong_to_whom_docker_gives_them() {
    let lab = Lab::new();
    let file = lab.dir().join("file");
    std::fs::write(&file, "kept").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(56)).unwrap();
    let file = file.to_string_lossy();
    let sleeping = ["busybox", "sleep", "600"];
    lab.estiba(&[&["run", "-d", "--name", "nobodys"], &sleeping[..]].concat()).ok();
    lab.estiba(&[&["run", "-d", "--name", "users", "-u", "7:8"], &sleeping[..]].concat()).ok();
    for (name, options, want) in [
        ("nobodys", &[][..], "1234:56"),
        ("nobodys", &["-a"], "1234:56"),
        ("users", &[], "1234:56"),
        ("users", &["-a"], "7:8"),
    ] {
        let target = format!("{name}:/tmp/copied");
        lab.estiba(&[&["cp"], options, &[&*file, &*target]].concat()).ok();
        let seen = lab.estiba(&["exec", name, "stat", "-c", "%u:%g", "/tmp/copied"]);
        assert_eq!(seen.ok(), want, "{name} {options:?}");
    }
}

#[test]
fn an_exec_as_nobody_known_is_refused_before_it_is_streamed() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    for (user, why) in [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("0:nosuch", "unable to find group nosuch: no matching entries in group file"),
    ] {
        let refused = lab.estiba(&["exec", "-u", user, "box", "true"]);
        assert_ne!(refused.status, 0);
        assert_eq!(refused.stderr.trim(), format!("Error response from daemon: {why}"));
    }
    assert_eq!(lab.estiba(&["exec", "-u", "77:88", "box", "id", "-g"]).ok(), "88");
}

#[test]
fn what_is_privileged_has_no_list_of_masked_paths() {
    let lab = Lab::new();
    for (options, null) in [(&[][..], false), (&["--privileged"], true)] {
        lab.estiba(&[&["create", "--name", "box"], options, &["busybox", "true"]].concat()).ok();
        let told = lab.estiba(&["inspect", "-f", "{{json .HostConfig.MaskedPaths}}", "box"]);
        assert_eq!(told.ok() == "null", null, "{told:?}");
        lab.estiba(&["rm", "box"]).ok();
    }
}

/// With the option a container makes control groups of its own below its own; without, it cannot.
#[test]
fn control_groups_are_written_where_that_was_asked_for() {
    let lab = Lab::new();
    let make = "d=/sys/fs/cgroup; [ -d $d/pids ] && d=$d/pids; mkdir $d/own && rmdir $d/own";
    for (option, can) in [("no-new-privileges", false), ("writable-cgroups=true", true)] {
        let words = ["run", "--rm", "--security-opt", option, "busybox", "sh", "-c", make];
        let made = lab.estiba(&words);
        assert_eq!(made.status == 0, can, "{option}: {made:?}");
    }
}

#[test]
fn devices_by_name_are_listed() {
    let lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let dir = lab.dir().join("cdi");
    std::fs::create_dir(&dir).unwrap();
    let file = r#"{"cdiVersion": "0.6.0", "kind": "test.com/device", "devices": [
        {"name": "zero", "containerEdits": {"env": ["DEVICE=zero"],
         "deviceNodes": [{"path": "/dev/named", "hostPath": "/dev/zero"}]}}]}"#;
    std::fs::write(dir.join("device.json"), file).unwrap();
    let setting = format!(r#"{{"cdi-spec-dirs": [{:?}]}}"#, dir.to_string_lossy());
    std::fs::write(lab.dir().join("daemon.json"), setting).unwrap();
    rustix::process::kill_process(lab.daemon_pid(), rustix::process::Signal::HUP).unwrap();
    let told = || lab.estiba(&["info", "-f", "{{json .CDISpecDirs}}"]).ok().to_owned();
    eventually("the setting is in force", || told() == format!("[{dir:?}]"));
    let (_, info) = text(&lab, "GET", "/info", "");
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let want = serde_json::json!([{"Source": "cdi", "ID": "test.com/device=zero"}]);
    assert_eq!(info["DiscoveredDevices"], want);
    let tar = lab::archive("busybox");
    lab.estiba(&["import", &tar.to_string_lossy(), "busybox"]).ok();
    let script = "echo $DEVICE; head -c 3 /dev/named | od -An -tx1";
    let device = ["run", "--rm", "--device", "test.com/device=zero", "busybox", "sh", "-c", script];
    assert_eq!(lab.estiba(&device).ok(), "zero\n 00 00 00");
}
