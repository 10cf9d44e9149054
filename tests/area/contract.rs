//! Every operation of the ledger, over HTTP, in several versions of the API: each answer is held
//! against the published specification (`tests/data/engine-api.json`, made by
//! `scripts/conformance/schema.py`): its status, and every field of its body.

use lab::Lab;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LEDGER: &str = include_str!("../../crates/api/ledger.tsv");
const SPECIFICATION: &str = include_str!("../data/engine-api.json");

/// The version that the specification describes; fields are compared with it.
const NEWEST: &str = "1.56";
/// Fields that are ours, or that older clients still read.
const FURTHER_FIELDS: [&str; 1] = ["OnFailure"];
/// Numbers that Docker says null for when there is none, whatever the specification says.
const NULLABLE: [&str; 3] =
    ["$.HostConfig.MemorySwappiness", "$.HostConfig.OomKillDisable", "$.ExitCode"];

struct Answer {
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

/// One client: which version it speaks, what it did, and what was wrong.
struct Client<'l> {
    lab: &'l Lab,
    version: &'static str,
    specification: &'l Value,
    driven: BTreeSet<String>,
    wrong: Vec<String>,
}

impl<'l> Client<'l> {
    fn new(lab: &'l Lab, version: &'static str, specification: &'l Value) -> Self {
        Self { lab, version, specification, driven: BTreeSet::new(), wrong: Vec::new() }
    }

    fn send(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> Answer {
        let mut socket = UnixStream::connect(self.lab.socket()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let version = self.version;
        let head = format!(
            "{method} /v{version}{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap_or_else(|e| panic!("{method} {target}: {e}"));
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
        let (head, rest) = (String::from_utf8_lossy(&all[..end]).into_owned(), &all[end..]);
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            content_type: header("content-type:").unwrap_or_default(),
            body: match header("transfer-encoding:").as_deref() {
                Some("chunked") => dechunk(rest),
                _ => rest.to_vec(),
            },
        }
    }

    /// Sends raw bytes to `operation`; `target` is its path filled in.
    fn bytes(&mut self, operation: &str, target: &str, kind: &str, body: &[u8]) -> Answer {
        let method = operation.split(' ').next().unwrap();
        let answer = self.send(method, target, kind, body);
        self.driven.insert(operation.to_owned());
        if let Err(why) = self.check(operation, &answer) {
            self.wrong.push(format!("{} {operation}: {why}", self.version));
        }
        answer
    }

    /// The same with JSON, when something is to succeed.
    fn ok(&mut self, operation: &str, target: &str, body: Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.bytes(operation, target, "application/json", text.as_bytes());
        if answer.status >= 400 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            self.wrong.push(format!("{} {operation}: {} {text}", self.version, answer.status));
        }
        first_document(&answer.body).unwrap_or_default()
    }

    fn get(&mut self, path: &str, target: &str) -> Value {
        self.ok(&format!("GET {path}"), target, Value::Null)
    }

    fn post(&mut self, path: &str, target: &str, body: Value) -> Value {
        self.ok(&format!("POST {path}"), target, body)
    }

    fn delete(&mut self, path: &str, target: &str) -> Value {
        self.ok(&format!("DELETE {path}"), target, Value::Null)
    }

    fn check(&self, operation: &str, answer: &Answer) -> Result<(), String> {
        let status = answer.status.to_string();
        if answer.status >= 400 {
            let head_only = operation.starts_with("HEAD");
            let document = first_document(&answer.body).unwrap_or_default();
            let message = document["message"].as_str().unwrap_or_default();
            return match head_only || !message.is_empty() {
                true => Ok(()),
                false => Err(format!("{status} without a message: {document}")),
            };
        }
        let Some(answers) = self.specification["operations"].get(operation) else { return Ok(()) };
        let Some(schema) = answers.get(&status) else {
            return Err(format!("{status} is not among its answers"));
        };
        if schema.is_null() || answer.content_type != "application/json" {
            return Ok(());
        }
        let document = first_document(&answer.body)?;
        match self.version == NEWEST {
            true => Validator(&self.specification["definitions"]).check(schema, &document, "$"),
            false => Ok(()),
        }
    }
}

/// Values against schemas, as the specification's own clients, written in Go, read them: lists,
/// maps and objects may be null, and an enumeration may be empty where nothing was set.
struct Validator<'s>(&'s Value);

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let definition = self.0.get(name).ok_or_else(|| format!("{name} is not defined"))?;
            return self.check(definition, value, at);
        }
        if let Some(all) = schema["allOf"].as_array() {
            let known: BTreeSet<String> = self.fields(schema).into_iter().collect();
            let mut parts = all.iter().chain([schema]);
            return parts.try_for_each(|part| self.check_part(part, value, at, Some(&known)));
        }
        self.check_part(schema, value, at, None)
    }

    fn fields(&self, schema: &Value) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.fields(&self.0[name]);
        }
        let parts = schema["allOf"].as_array().into_iter().flatten();
        let own = schema["properties"].as_object().into_iter().flatten();
        own.map(|(name, _)| name.clone()).chain(parts.flat_map(|it| self.fields(it))).collect()
    }

    fn check_part(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        siblings: Option<&BTreeSet<String>>,
    ) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.check_part(&self.0[name], value, at, siblings);
        }
        let kind = schema["type"].as_str().unwrap_or_default();
        let fits = match kind {
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array() || value.is_null(),
            "object" => value.is_object() || value.is_null(),
            _ => true,
        };
        let nullable = schema["x-nullable"] == true || NULLABLE.contains(&at);
        if !fits && (!value.is_null() || !nullable) {
            return Err(format!("{at} is {value}, not {kind}"));
        }
        if let (Some(allowed), Some(text)) = (schema["enum"].as_array(), value.as_str())
            && !text.is_empty()
            && !allowed.iter().any(|it| it == text)
        {
            return Err(format!("{at} is {text:?}, none of {allowed:?}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}[{index}]"))?;
        }
        self.check_fields(schema, value, at, siblings)
    }

    fn check_fields(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        siblings: Option<&BTreeSet<String>>,
    ) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Ok(()) };
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !object.contains_key(name) {
                return Err(format!("{at} has no {name}"));
            }
        }
        let extra = schema.get("additionalProperties");
        let Some(properties) = schema["properties"].as_object() else {
            let Some(extra) = extra else { return Ok(()) };
            let mut all = object.iter();
            return all.try_for_each(|(name, it)| self.check(extra, it, &format!("{at}.{name}")));
        };
        for (name, item) in object {
            match (properties.get(name), extra) {
                (Some(schema), _) | (None, Some(schema)) => {
                    self.check(schema, item, &format!("{at}.{name}"))?;
                }
                (None, None) => {
                    let known = siblings.is_some_and(|known| known.contains(name))
                        || FURTHER_FIELDS.contains(&name.as_str());
                    if !known {
                        return Err(format!("{at}.{name} is not in the specification"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn first_document(body: &[u8]) -> Result<Value, String> {
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match documents.next() {
        None => Ok(Value::Null),
        Some(document) => document.map_err(|error| format!("no JSON: {error}")),
    }
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

fn system(c: &mut Client<'_>) {
    c.get("/_ping", "/_ping");
    c.bytes("HEAD /_ping", "/_ping", "text/plain", b"");
    c.get("/version", "/version");
    c.get("/info", "/info");
    c.get("/events", "/events?since=1&until=2");
    c.post("/build/prune", "/build/prune", json!({}));
}

fn container(c: &mut Client<'_>) {
    let made = c.post(
        "/containers/create",
        "/containers/create?name=subject",
        json!({"Image": "busybox", "Cmd": ["sleep", "600"], "Tty": true, "Labels": {"a": "b"},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 600_000_000_000u64},
            "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGKILL",
            "HostConfig": {"Binds": ["contract:/data"], "Memory": 64 << 20,
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
                "RestartPolicy": {"Name": "no"}}}),
    );
    let id = made["Id"].as_str().unwrap_or("subject").to_owned();
    let on = |rest: &str| format!("/containers/{id}{rest}");
    c.post("/containers/{id}/start", &on("/start"), Value::Null);
    c.get("/containers/json", "/containers/json?all=1&size=1");
    c.get("/containers/{id}/json", &on("/json?size=1"));
    c.get("/containers/{id}/top", &on("/top"));
    c.get("/containers/{id}/logs", &on("/logs?stdout=1"));
    c.get("/containers/{id}/stats", &on("/stats?stream=0&one-shot=1"));
    c.post("/containers/{id}/resize", &on("/resize?h=24&w=80"), Value::Null);
    c.post("/containers/{id}/update", &on("/update"), json!({"CpuShares": 512}));
    c.post("/containers/{id}/pause", &on("/pause"), Value::Null);
    c.post("/containers/{id}/unpause", &on("/unpause"), Value::Null);
    c.post("/containers/{id}/rename", &on("/rename?name=renamed"), Value::Null);
    let exec = json!({"Cmd": ["sleep", "600"], "Tty": true});
    let exec = c.post("/containers/{id}/exec", &on("/exec"), exec);
    let exec = format!("/exec/{}", exec["Id"].as_str().unwrap_or_default());
    c.post("/exec/{id}/start", &format!("{exec}/start"), json!({"Detach": true, "Tty": true}));
    c.post("/exec/{id}/resize", &format!("{exec}/resize?h=24&w=80"), Value::Null);
    c.get("/exec/{id}/json", &format!("{exec}/json"));
    let file = on("/archive?path=/etc");
    c.bytes("HEAD /containers/{id}/archive", &file, "text/plain", b"");
    c.get("/containers/{id}/archive", &file);
    let empty_archive = [0; 1024];
    c.bytes("PUT /containers/{id}/archive", &file, "application/x-tar", &empty_archive);
    c.post("/commit", &format!("/commit?container={id}&repo=contract&tag=made"), json!({}));
    c.get("/system/df", "/system/df");
    c.post("/containers/{id}/restart", &on("/restart?t=0"), Value::Null);
    c.post("/containers/{id}/kill", &on("/kill"), Value::Null);
    c.post("/containers/{id}/wait", &on("/wait"), Value::Null);
    c.post("/containers/{id}/attach", &on("/attach?logs=1&stdout=1"), Value::Null);
    c.get("/containers/{id}/changes", &on("/changes"));
    c.get("/containers/{id}/export", &on("/export"));
    c.post("/containers/{id}/stop", &on("/stop"), Value::Null);
    c.delete("/containers/{id}", &on("?v=1"));
    c.post("/containers/prune", "/containers/prune", Value::Null);
}

fn image(c: &mut Client<'_>) {
    c.get("/images/json", "/images/json?all=1");
    c.get("/images/{name}/json", "/images/contract:made/json");
    c.get("/images/{name}/history", "/images/contract:made/history");
    c.post("/images/{name}/tag", "/images/contract:made/tag?repo=contract&tag=two", Value::Null);
    c.get("/images/get", "/images/get?names=contract:two");
    let saved = c.send("GET", "/images/contract:made/get", "text/plain", b"").body;
    c.get("/images/{name}/get", "/images/contract:made/get");
    c.bytes("POST /images/load", "/images/load", "application/x-tar", &saved);
    let create = "/images/create?fromSrc=-&repo=contract&tag=imported";
    c.bytes("POST /images/create", create, "application/x-tar", &[0; 1024]);
    for tag in ["made", "two", "imported"] {
        c.delete("/images/{name}", &format!("/images/contract:{tag}"));
    }
    c.post("/images/prune", "/images/prune", Value::Null);
}

fn network_and_volume(c: &mut Client<'_>) {
    let body = json!({"Name": "contract", "Labels": {"a": "b"}});
    c.post("/networks/create", "/networks/create", body);
    let made = json!({"Image": "busybox", "Cmd": ["true"]});
    c.post("/containers/create", "/containers/create?name=joiner", made);
    c.post("/networks/{id}/connect", "/networks/contract/connect", json!({"Container": "joiner"}));
    c.get("/networks", "/networks");
    c.get("/networks/{id}", "/networks/contract");
    let leave = json!({"Container": "joiner"});
    c.post("/networks/{id}/disconnect", "/networks/contract/disconnect", leave);
    c.delete("/containers/{id}", "/containers/joiner");
    c.delete("/networks/{id}", "/networks/contract");
    c.post("/networks/prune", "/networks/prune", Value::Null);
    c.post("/volumes/create", "/volumes/create", json!({"Name": "contract-two"}));
    c.get("/volumes", "/volumes");
    c.get("/volumes/{name}", "/volumes/contract-two");
    c.delete("/volumes/{name}", "/volumes/contract-two");
    c.delete("/volumes/{name}", "/volumes/contract");
    c.post("/volumes/prune", "/volumes/prune", Value::Null);
}

fn plugin(c: &mut Client<'_>) {
    let dir = c.lab.dir().join("plugin");
    std::fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
    let config = json!({
        "description": "says nothing", "entrypoint": ["/bin/nothing"], "workdir": "/",
        "interface": {"types": ["docker.volumedriver/1.0"], "socket": "nothing.sock"},
        "network": {"type": "none"}, "args": {"name": "args", "settable": ["value"]},
        "env": [{"name": "DEBUG", "value": "0", "settable": ["value"]}],
        "mounts": [{"name": "m", "source": "/tmp", "destination": "/m", "type": "bind"}],
        "linux": {"devices": [{"name": "d", "path": "/dev/null"}]}
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let tar = c.lab.dir().join("plugin.tar");
    let words = ["tar", "-C", &dir.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."];
    c.lab.in_network(&words).ok();
    let tar = std::fs::read(tar).unwrap();
    let target = "/plugins/create?name=contract/plugin";
    let made = c.bytes("POST /plugins/create", target, "application/x-tar", &tar);
    assert_eq!(made.status, 204, "{}", String::from_utf8_lossy(&made.body));
    c.get("/plugins", "/plugins");
    c.get("/plugins/{name}/json", "/plugins/contract/plugin:latest/json");
    c.post("/plugins/{name}/set", "/plugins/contract/plugin/set", json!(["DEBUG=1", "args=a b"]));
    c.delete("/plugins/{name}", "/plugins/contract/plugin");
}

/// What is left of the ledger: nothing of that name exists, so that each is a refusal with words.
fn the_rest(c: &mut Client<'_>) {
    for line in LEDGER.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let operation = format!("{} {}", fields[0], fields[1]);
        if c.driven.contains(&operation) {
            continue;
        }
        let path = fields[1].replace("{id}", "nothing").replace("{name}", "nothing");
        let path = path.replace("{link}", "nothing/nobody");
        c.bytes(&operation, &path, "application/json", b"{}");
    }
}

fn drive(version: &'static str) {
    let specification: Value = serde_json::from_str(SPECIFICATION).unwrap();
    assert_eq!(specification["version"], NEWEST);
    let lab = Lab::new();
    let mut client = Client::new(&lab, version, &specification);
    system(&mut client);
    container(&mut client);
    image(&mut client);
    network_and_volume(&mut client);
    plugin(&mut client);
    the_rest(&mut client);
    let all: BTreeSet<String> = LEDGER
        .lines()
        .skip(1)
        .map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(client.driven, all, "an operation was not driven");
    assert!(client.wrong.is_empty(), "{}", client.wrong.join("\n"));
}

#[test]
fn the_newest_version_is_as_published() {
    drive(NEWEST);
}

#[test]
fn the_oldest_version_is_answered() {
    drive("1.24");
}

#[test]
fn versions_of_clients_in_use_are_answered() {
    drive("1.41");
    drive("1.47");
}
