//! The Engine API as bytes on its socket: versions, codes, framings and streams, as any client
//! in any language would see them.

use lab::{Lab, eventually};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The newest version of the API that is spoken.
const NEWEST: &str = "1.56";
/// Versions that shaped answers differently.
const VERSIONS: [&str; 8] = ["1.24", "1.30", "1.40", "1.41", "1.43", "1.47", "1.52", NEWEST];

/// An answer, read to its end or as far as its head.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{}\n{text}", self.head);
        self
    }
}

/// Sends a request and leaves the connection open.
fn open(lab: &Lab, method: &str, target: &str, headers: &str, body: &[u8]) -> UnixStream {
    let mut socket = UnixStream::connect(lab.socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = if body.is_empty() && method != "POST" {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n");
    socket.write_all(&[head.as_bytes(), body].concat()).unwrap();
    socket
}

/// Reads the head of the answer, byte by byte so that nothing of the body is taken.
fn head(socket: &mut UnixStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("an answer's head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: Vec::new() }
}

fn call(lab: &Lab, method: &str, target: &str, body: Option<Value>) -> Answer {
    let body = body.map(|value| value.to_string()).unwrap_or_default();
    let mut socket = open(lab, method, target, "Connection: close\r\n", body.as_bytes());
    let mut answer = head(&mut socket);
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    let chunked = answer.header("Transfer-Encoding") == Some("chunked");
    answer.body = if chunked { dechunk(&rest) } else { rest };
    answer
}

fn get(lab: &Lab, target: &str) -> Answer {
    call(lab, "GET", target, None)
}

fn post(lab: &Lab, target: &str, body: Value) -> Answer {
    call(lab, "POST", target, Some(body))
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        all.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    all
}

/// The next chunk of a streamed body.
fn chunk(socket: &mut UnixStream) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a chunk's size");
        line.push(byte[0]);
    }
    let text = std::str::from_utf8(&line).unwrap().trim();
    let mut bytes = vec![0; usize::from_str_radix(text, 16).unwrap() + 2];
    socket.read_exact(&mut bytes).expect("a chunk");
    bytes.truncate(bytes.len() - 2);
    bytes
}

/// Splits `[stream, 0, 0, 0, length as big endian][bytes]…` into what each stream got.
fn frames(mut bytes: &[u8]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        assert_eq!(bytes[1..4], [0, 0, 0], "{bytes:?}");
        let size = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let to = match bytes[0] {
            1 => &mut out,
            2 => &mut err,
            other => panic!("stream {other}"),
        };
        to.extend_from_slice(&bytes[8..8 + size]);
        bytes = &bytes[8 + size..];
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Creates a container over the API.
fn create(lab: &Lab, name: &str, config: Value) -> String {
    let answer = post(lab, &format!("/containers/create?name={name}"), config);
    answer.is(201).json()["Id"].as_str().unwrap().to_owned()
}

fn shell(script: &str) -> Value {
    json!({"Image": "busybox", "Cmd": ["sh", "-c", script]})
}

#[test]
fn versions_are_negotiated() {
    let lab = Lab::with(lab::Setup { empty: true, ..Default::default() });
    for method in ["GET", "HEAD"] {
        let ping = call(&lab, method, "/_ping", None);
        assert_eq!(ping.is(200).header("Api-Version"), Some(NEWEST));
        assert_eq!(ping.header("Ostype"), Some("linux"));
        assert_eq!(ping.header("Cache-Control"), Some("no-cache, no-store, must-revalidate"));
        assert!(ping.header("Server").is_some_and(|s| s.ends_with("(linux)")), "{}", ping.head);
        assert_eq!(ping.body, if method == "GET" { &b"OK"[..] } else { b"" });
    }
    for version in VERSIONS {
        let list = get(&lab, &format!("/v{version}/containers/json"));
        assert_eq!(list.is(200).json(), json!([]));
        assert_eq!(list.header("Content-Type"), Some("application/json"));
        get(&lab, &format!("/v{version}/_ping")).is(200);
    }
    let old = get(&lab, "/v1.23/containers/json");
    assert!(old.is(400).json()["message"].as_str().unwrap().contains("too old"));
    let new = get(&lab, "/v1.99/containers/json");
    assert!(new.is(400).json()["message"].as_str().unwrap().contains("too new"));
    for nonsense in ["/vx/info", "/v1/info", "/v1.47", "/v1.47/", "/containers", "/v-1.47/info"] {
        let answer = get(&lab, nonsense);
        assert!(matches!(answer.status, 400 | 404), "{nonsense}: {}", answer.status);
        assert!(answer.json()["message"].is_string());
    }
    let version = get(&lab, "/version").is(200).json();
    assert_eq!(version["ApiVersion"], NEWEST);
    assert_eq!(version["MinAPIVersion"], "1.24");
    // A wrong method is told apart from a wrong path.
    let wrong = call(&lab, "DELETE", "/info", None);
    assert!(matches!(wrong.status, 404 | 405), "{}", wrong.status);
}

#[test]
fn what_is_nothing_is_not_missing() {
    let lab = Lab::new();
    create(&lab, "zz", json!({"Image": "busybox"}));
    for version in VERSIONS {
        let at = |path: &str| get(&lab, &format!("/v{version}{path}")).is(200).json();
        let one = at("/containers/zz/json");
        for (pointer, kind) in [
            ("/Id", "string"),
            ("/Created", "string"),
            ("/Path", "string"),
            ("/Args", "array"),
            ("/State/Status", "string"),
            ("/State/Running", "bool"),
            ("/State/Paused", "bool"),
            ("/State/OOMKilled", "bool"),
            ("/State/Dead", "bool"),
            ("/State/Pid", "number"),
            ("/State/ExitCode", "number"),
            ("/State/Error", "string"),
            ("/State/StartedAt", "string"),
            ("/State/FinishedAt", "string"),
            ("/Name", "string"),
            ("/RestartCount", "number"),
            ("/MountLabel", "string"),
            ("/ProcessLabel", "string"),
            ("/AppArmorProfile", "string"),
            ("/Mounts", "array"),
            ("/Config/Hostname", "string"),
            ("/Config/Domainname", "string"),
            ("/Config/User", "string"),
            ("/Config/AttachStdin", "bool"),
            ("/Config/Tty", "bool"),
            ("/Config/OpenStdin", "bool"),
            ("/Config/StdinOnce", "bool"),
            ("/Config/Env", "array"),
            ("/Config/Cmd", "array"),
            ("/Config/Image", "string"),
            ("/Config/WorkingDir", "string"),
            ("/Config/Labels", "object"),
            ("/HostConfig/NetworkMode", "string"),
            ("/HostConfig/Privileged", "bool"),
            ("/HostConfig/Memory", "number"),
            ("/HostConfig/NanoCpus", "number"),
            ("/HostConfig/RestartPolicy/Name", "string"),
            ("/HostConfig/RestartPolicy/MaximumRetryCount", "number"),
            ("/HostConfig/LogConfig/Type", "string"),
            ("/NetworkSettings/Networks", "object"),
            ("/NetworkSettings/SandboxID", "string"),
        ] {
            let value = one.pointer(pointer).unwrap_or(&Value::Null);
            let found = match value {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            assert_eq!(found, kind, "{pointer} at {version}");
        }
        assert_eq!(one["State"]["StartedAt"], "0001-01-01T00:00:00Z", "{version}");
        let list = at("/containers/json?all=1");
        let row = &list[0];
        assert_eq!(row["Names"], json!(["/zz"]), "{version}");
        assert!(row["Ports"].is_array() && row["Labels"].is_object(), "{version}: {row}");
        assert!(row["Created"].is_i64() && row["Mounts"].is_array(), "{version}: {row}");
        let images = at("/images/json");
        assert_eq!(images[0]["RepoTags"], json!(["busybox:latest"]), "{version}");
        assert!(images[0]["Containers"].is_i64(), "{version}: {images}");
        let volumes = at("/volumes");
        assert!(volumes.get("Volumes").is_some(), "{version}: {volumes}");
        let networks = at("/networks");
        assert!(networks.as_array().is_some_and(|n| n.len() >= 3), "{version}: {networks}");
        let info = at("/info");
        assert_eq!(info["Containers"], 1, "{version}");
        assert!(info["Plugins"].is_object() && info["Warnings"] != json!(""), "{version}");
        at("/system/df");
    }
}

#[test]
fn codes() {
    let lab = Lab::new();
    create(&lab, "run", shell("exec sleep 1000"));
    create(&lab, "idle", shell("exec sleep 1000"));
    post(&lab, "/containers/run/start", Value::Null).is(204);
    for (method, target, body, status) in [
        ("POST", "/containers/run/start", None, 304),
        ("POST", "/containers/idle/stop", None, 304),
        ("DELETE", "/containers/run", None, 409),
        ("POST", "/containers/idle/kill", None, 409),
        ("POST", "/containers/idle/pause", None, 409),
        ("POST", "/containers/run/unpause", None, 409),
        ("POST", "/containers/run/kill?signal=NOPE", None, 400),
        ("POST", "/containers/create?name=run", Some(shell("true")), 409),
        ("POST", "/containers/create?name=%2F..%2F", Some(shell("true")), 400),
        ("POST", "/containers/create", Some(json!({"Image": "no-such:image"})), 404),
        ("POST", "/containers/create", Some(json!({"Image": "-bad-"})), 400),
        ("GET", "/containers/nobody/json", None, 404),
        ("GET", "/containers/nobody/logs?stdout=1", None, 404),
        ("GET", "/containers/run/logs", None, 400),
        ("POST", "/containers/nobody/start", None, 404),
        ("POST", "/containers/nobody/stop", None, 404),
        ("POST", "/containers/nobody/wait", None, 404),
        ("POST", "/containers/run/wait?condition=nonsense", None, 400),
        ("POST", "/containers/nobody/attach?stream=1", None, 404),
        ("DELETE", "/containers/nobody", None, 404),
        ("POST", "/containers/run/rename?name=idle", None, 409),
        ("POST", "/containers/run/rename", None, 400),
        ("POST", "/containers/run/resize?h=x&w=1", None, 400),
        ("GET", "/containers/json?filters=nonsense", None, 400),
        ("GET", "/containers/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", None, 400),
        ("GET", "/containers/json?limit=x", None, 400),
        ("GET", "/events?filters=%5B", None, 400),
        ("GET", "/images/nobody/json", None, 404),
        ("DELETE", "/images/nobody", None, 404),
        ("DELETE", "/images/busybox", None, 409),
        ("GET", "/networks/nobody", None, 404),
        ("DELETE", "/networks/bridge", None, 403),
        ("POST", "/networks/create", Some(json!({"Name": "host"})), 403),
        ("GET", "/volumes/nobody", None, 404),
        ("DELETE", "/volumes/nobody", None, 404),
        ("POST", "/containers/idle/exec", Some(json!({"Cmd": ["true"]})), 409),
        ("POST", "/containers/run/exec", Some(json!({"Cmd": []})), 400),
        ("POST", "/exec/0123456789ab/start", Some(json!({})), 404),
        ("GET", "/exec/0123456789ab/json", None, 404),
        ("GET", "/containers/run/archive", None, 400),
        ("GET", "/containers/run/archive?path=/no/such", None, 404),
        ("HEAD", "/containers/run/archive?path=/no/such", None, 404),
        ("POST", "/containers/run/stop?t=0", None, 204),
        ("POST", "/containers/run/stop", None, 304),
        ("DELETE", "/containers/run?force=1&v=1", None, 204),
        ("DELETE", "/containers/idle", None, 204),
        ("DELETE", "/images/busybox", None, 200),
    ] {
        let answer = call(&lab, method, target, body.clone());
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{method} {target} {body:?}: {text}");
        if status >= 400 && method != "HEAD" {
            assert!(!answer.json()["message"].as_str().unwrap().is_empty(), "{target}");
        }
        if matches!(status, 204 | 304) {
            assert_eq!(text, "", "{method} {target}");
        }
    }
}

#[test]
fn events_are_told_and_filtered() {
    let lab = Lab::new();
    let mut live =
        open(&lab, "GET", "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D", "", b"");
    // The head comes before the first event.
    assert_eq!(head(&mut live).status, 200);
    let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let id = create(&lab, "ev", shell("exit 3"));
    post(&lab, "/containers/ev/start", Value::Null).is(204);
    post(&lab, "/containers/ev/wait", Value::Null).is(200);
    call(&lab, "DELETE", "/containers/ev", None).is(204);
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|event| event["Action"] != "destroy") {
        let text = String::from_utf8(chunk(&mut live)).unwrap();
        seen.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    drop(live);
    let actions: Vec<&str> = seen.iter().map(|e| e["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "start", "die", "destroy"]);
    for event in &seen {
        assert_eq!(event["Type"], "container");
        assert_eq!(event["Actor"]["ID"], id);
        assert_eq!(event["Actor"]["Attributes"]["name"], "ev");
        assert_eq!(event["Actor"]["Attributes"]["image"], "busybox");
        assert_eq!(event["scope"], "local");
        let (time, nano) = (event["time"].as_i64().unwrap(), event["timeNano"].as_i64().unwrap());
        assert_eq!(nano / 1_000_000_000, time);
    }
    assert_eq!(seen[2]["Actor"]["Attributes"]["exitCode"], "3");
    assert!(seen.is_sorted_by_key(|event| event["timeNano"].as_i64()));
    // The past, by time and filter; an end in the past ends the answer.
    let since = begin.as_secs().saturating_sub(1);
    let until = begin.as_secs() + 3600;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let past = |until: u64, filters: &str| -> Vec<String> {
        let answer = get(&lab, &format!("/events?since={since}&until={until}&filters={filters}"));
        let text = String::from_utf8(answer.is(200).body.clone()).unwrap();
        let events = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        events.map(|e| e["Action"].as_str().unwrap().to_owned()).collect()
    };
    std::thread::sleep(Duration::from_millis(1100));
    let until = until.min(now.as_secs() + 1);
    let all = past(until, "%7B%22container%22%3A%5B%22ev%22%5D%7D");
    for action in ["create", "connect", "start", "die", "disconnect", "destroy"] {
        let container_only = ["create", "start", "die", "destroy"].contains(&action);
        assert!(all.iter().any(|a| a == action) || !container_only, "{action} in {all:?}");
    }
    assert_eq!(past(until, "%7B%22event%22%3A%5B%22die%22%5D%7D"), ["die"]);
    assert_eq!(past(until, "%7B%22event%22%3A%7B%22die%22%3Atrue%7D%7D"), ["die"]);
    let none = past(until, "%7B%22container%22%3A%5B%22somebody-else%22%5D%7D");
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn wait_answers_at_once_and_ends_later() {
    let lab = Lab::new();
    create(&lab, "ww", shell("read line; exit 7"));
    let mut waiting = open(&lab, "POST", "/containers/ww/wait?condition=next-exit", "", b"");
    // Registered before it runs: the head comes although the container has not even started.
    assert_eq!(head(&mut waiting).status, 200);
    post(&lab, "/containers/ww/start", Value::Null).is(204);
    let exit: Value = serde_json::from_slice(&chunk(&mut waiting)).unwrap();
    assert_eq!(exit["StatusCode"], 7, "{exit}");
    let done = post(&lab, "/containers/ww/wait", Value::Null).is(200).json();
    assert!(done["StatusCode"].is_i64());
    let mut removed = open(&lab, "POST", "/containers/ww/wait?condition=removed", "", b"");
    assert_eq!(head(&mut removed).status, 200);
    call(&lab, "DELETE", "/containers/ww", None).is(204);
    let exit: Value = serde_json::from_slice(&chunk(&mut removed)).unwrap();
    assert!(exit["StatusCode"].is_i64(), "{exit}");
}

#[test]
fn attach_with_and_without_upgrade() {
    let lab = Lab::new();
    let script = "while read -r l; do echo \"got $l\"; echo \"err $l\" >&2; done; echo end";
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let ways = [("with", upgrade, 101), ("without", chunked, 200), ("silent", "", 200)];
    for (name, headers, status) in ways {
        let mut config = shell(script);
        config["OpenStdin"] = json!(true);
        config["StdinOnce"] = json!(true);
        create(&lab, name, config);
        let target = format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1");
        let mut stream = UnixStream::connect(lab.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let answer = head(&mut stream);
        assert_eq!(answer.status, status, "{}", answer.head);
        let kind = answer.header("Content-Type").unwrap().to_owned();
        if status == 101 {
            assert_eq!(answer.header("Upgrade").map(str::to_lowercase).as_deref(), Some("tcp"));
        }
        assert!(kind.starts_with("application/vnd.docker."), "{kind}");
        post(&lab, &format!("/containers/{name}/start"), Value::Null).is(204);
        // Input ends, by half-closing the socket or by the body's end, and the rest still comes.
        // Whoever says nothing of all that takes the connection over all the same.
        let taken = headers != chunked;
        if taken {
            assert_eq!(answer.header("Transfer-Encoding"), None, "{}", answer.head);
            stream.write_all(b"one\ntwo\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        } else {
            stream.write_all(b"8\r\none\ntwo\n\r\n0\r\n\r\n").unwrap();
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let all = if taken { all } else { dechunk(&all) };
        let (out, err) = frames(&all);
        assert_eq!((out.as_str(), err.as_str()), ("got one\ngot two\nend\n", "err one\nerr two\n"));
    }
    // Bytes sent together with the request are input too.
    let mut config = shell("cat");
    config["OpenStdin"] = json!(true);
    config["StdinOnce"] = json!(true);
    create(&lab, "early", config);
    post(&lab, "/containers/early/start", Value::Null).is(204);
    let mut stream = UnixStream::connect(lab.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!(
        "POST /containers/early/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
         {upgrade}\r\nat once\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(head(&mut stream).status, 101);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(frames(&all).0, "at once\n");
}

#[test]
fn logs_are_framed_or_raw() {
    let lab = Lab::new();
    create(&lab, "ff", shell("echo out; echo err >&2"));
    let mut terminal = shell("echo out");
    terminal["Tty"] = json!(true);
    create(&lab, "tt", terminal);
    for name in ["ff", "tt"] {
        post(&lab, &format!("/containers/{name}/start"), Value::Null).is(204);
        post(&lab, &format!("/containers/{name}/wait"), Value::Null).is(200);
    }
    let both = get(&lab, "/containers/ff/logs?stdout=1&stderr=1");
    assert_eq!(frames(&both.is(200).body), ("out\n".to_owned(), "err\n".to_owned()));
    let kind = both.header("Content-Type").unwrap();
    assert_eq!(kind, "application/vnd.docker.multiplexed-stream");
    let one = get(&lab, "/containers/ff/logs?stderr=1");
    assert_eq!(frames(&one.is(200).body), (String::new(), "err\n".to_owned()));
    let raw = get(&lab, "/containers/tt/logs?stdout=1");
    assert_eq!(raw.is(200).body, b"out\r\n");
    assert_eq!(raw.header("Content-Type"), Some("application/vnd.docker.raw-stream"));
    // Clients before 1.42 were always told the stream is raw.
    let old = get(&lab, "/v1.41/containers/ff/logs?stdout=1");
    assert_eq!(old.header("Content-Type"), Some("application/vnd.docker.raw-stream"));
    let none = get(&lab, "/containers/ff/logs?stdout=1&tail=0");
    assert!(none.is(200).body.is_empty());
    let stamped = get(&lab, "/containers/ff/logs?stdout=1&timestamps=1");
    assert!(frames(&stamped.body).0.ends_with("Z out\n"), "{:?}", frames(&stamped.body));
}

#[test]
fn execs_and_their_record() {
    let lab = Lab::new();
    create(&lab, "ee", shell("exec sleep 1000"));
    post(&lab, "/containers/ee/start", Value::Null).is(204);
    let config = json!({"Cmd": ["sh", "-c", "cat; echo err >&2; exit 4"], "AttachStdin": true,
        "AttachStdout": true, "AttachStderr": true, "Env": ["A=b"], "WorkingDir": "/tmp"});
    let made = post(&lab, "/containers/ee/exec", config).is(201).json();
    let id = made["Id"].as_str().unwrap().to_owned();
    let before = get(&lab, &format!("/exec/{id}/json")).is(200).json();
    assert_eq!((&before["Running"], &before["ExitCode"]), (&json!(false), &Value::Null));
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let start = format!("/exec/{id}/start");
    let mut stream = open(&lab, "POST", &start, upgrade, br#"{"Detach":false,"Tty":false}"#);
    assert_eq!(head(&mut stream).status, 101);
    eventually("it runs", || {
        let during = get(&lab, &format!("/exec/{id}/json")).json();
        during["Running"] == true && during["Pid"].as_i64().unwrap() > 0
    });
    stream.write_all(b"through").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(frames(&all), ("through".to_owned(), "err\n".to_owned()));
    eventually("its end is on record", || {
        let after = get(&lab, &format!("/exec/{id}/json")).json();
        after["Running"] == false && after["ExitCode"] == 4
    });
    let record = get(&lab, &format!("/exec/{id}/json")).json();
    assert_eq!(record["ProcessConfig"]["entrypoint"], "sh");
    assert_eq!(record["ProcessConfig"]["tty"], false);
    assert_eq!(record["OpenStdin"], true);
    assert_eq!(record["ContainerID"], get(&lab, "/containers/ee/json").json()["Id"]);
    post(&lab, &start, json!({})).is(409);
}

#[test]
fn stats_once_and_streamed() {
    let lab = Lab::new();
    create(&lab, "ss", shell("while :; do :; done"));
    post(&lab, "/containers/ss/start", Value::Null).is(204);
    let once = get(&lab, "/containers/ss/stats?stream=0&one-shot=1").is(200).json();
    assert_eq!(once["name"], "/ss");
    assert!(once["memory_stats"]["usage"].as_u64().unwrap() > 0, "{once}");
    assert!(once["pids_stats"]["current"].as_u64().unwrap() >= 1, "{once}");
    assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    let twice = get(&lab, "/containers/ss/stats?stream=0").is(200).json();
    let total = |of: &str| twice[of]["cpu_usage"]["total_usage"].as_u64().unwrap();
    assert!(total("cpu_stats") > total("precpu_stats") && total("precpu_stats") > 0, "{twice}");
    let mut stream = open(&lab, "GET", "/containers/ss/stats", "", b"");
    assert_eq!(head(&mut stream).status, 200);
    let mut last = String::new();
    for _ in 0..3 {
        let sample: Value = serde_json::from_slice(&chunk(&mut stream)).unwrap();
        let read = sample["read"].as_str().unwrap().to_owned();
        assert!(read > last, "{read} after {last}");
        last = read;
    }
    drop(stream);
    call(&lab, "DELETE", "/containers/ss?force=1", None).is(204);
    get(&lab, "/containers/ss/stats").is(404);
}

#[test]
fn containers_name_the_manifest_they_were_made_of() {
    let lab = Lab::new();
    lab.estiba(&["create", "--name", "made", "busybox"]).ok();
    let image = get(&lab, "/v1.48/images/busybox/json").is(200).json();
    let (manifest, id) = (&image["Descriptor"], image["Id"].as_str().unwrap());
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert!(manifest["size"].as_u64().is_some_and(|size| size > 0), "{manifest}");
    let digest = manifest["digest"].as_str().unwrap();
    for version in ["1.47", "1.48", NEWEST] {
        let listed = get(&lab, &format!("/v{version}/containers/json?all=1")).is(200).json();
        let inspected = get(&lab, &format!("/v{version}/containers/made/json")).is(200).json();
        for shown in [&listed[0], &inspected] {
            let shown = shown.get("ImageManifestDescriptor");
            if version == "1.47" {
                assert_eq!(shown, None);
                continue;
            }
            let shown = shown.unwrap_or_else(|| panic!("{version}: none"));
            assert_eq!(shown["digest"], digest, "{version}");
            let platform = json!({"os": image["Os"], "architecture": image["Architecture"]});
            assert_eq!(shown["platform"], platform, "{version}");
        }
    }
    // It is one of the image's names, as its id is, where the repository has a tag for it.
    for known in [digest, id] {
        lab.estiba(&["run", "--rm", &format!("busybox@{known}"), "true"]).ok();
        lab.estiba(&["run", "--rm", "--pull", "never", &format!("other@{known}"), "true"])
            .fails(125, "No such image");
    }
}
