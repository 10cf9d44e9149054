//! A managed plugin for tests: a volume driver, a network driver, a log driver and an authorization
//! plugin in one small program that needs nothing but itself (and busybox for mounts and links), so
//! that it can be the only file of a plugin.
//!
//! Volumes are directories below `/mnt/volumes` (or `/own`, when `KEEP=own`); one made with the
//! option `memory` is mounted while it is used. `/state` has what tests look at: `heard` (methods),
//! `started` (arguments and environment), `log` (the lines of containers that log to it).

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;

const SOCKET: &str = "/run/docker/plugins/test.sock";

fn main() {
    let mode = std::env::var("MODE").unwrap_or_default();
    if mode == "broken" {
        eprintln!("as told, this one does not start");
        std::process::exit(7);
    }
    let words: Vec<String> =
        std::env::args().chain(std::env::vars().map(|(k, v)| format!("{k}={v}"))).collect();
    note("started", &words.join("\n"));
    let _ = fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).expect("a socket in the plugins' directory");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || serve(stream));
    }
}

/// Adds a line to a file that tests look at; not every plugin has such files.
fn note(file: &str, line: &str) {
    let path = format!("/state/{file}");
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "{line}");
    }
}

fn serve(stream: UnixStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut method) = (String::new(), 0, String::new());
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(1 | 2) => break,
                Ok(_) => {}
            }
            if let Some(rest) = line.strip_prefix("POST /") {
                method = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        note("heard", &method);
        let answer = answer(&method, &body).unwrap_or_else(|why| format!("{{\"Err\":{why:?}}}"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        if reader.get_mut().write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

/// The text value of a member, wherever it stands in the document.
fn member<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}

fn place(name: &str) -> PathBuf {
    let own = std::env::var("KEEP").is_ok_and(|it| it == "own");
    let base = if own { "/own" } else { "/mnt/volumes" };
    PathBuf::from(base).join(name)
}

fn answer(method: &str, body: &str) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let name = member(body, "Name").unwrap_or_default();
    let place = place(name);
    let memory = place.with_extension("memory");
    Ok(match method {
        "Plugin.Activate" => {
            r#"{"Implements":["VolumeDriver","NetworkDriver","LogDriver","authz"]}"#.to_owned()
        }
        "VolumeDriver.Create" => {
            fs::create_dir_all(&place).map_err(told)?;
            if body.contains("\"memory\"") {
                File::create(&memory).map_err(told)?;
            }
            "{}".to_owned()
        }
        "VolumeDriver.Mount" => {
            if memory.exists() {
                busybox(&["mount", "-t", "tmpfs", "memory", &place.to_string_lossy()])?;
            }
            format!("{{\"Mountpoint\":{:?}}}", place)
        }
        "VolumeDriver.Unmount" => {
            if memory.exists() {
                busybox(&["umount", &place.to_string_lossy()])?;
            }
            "{}".to_owned()
        }
        "VolumeDriver.Remove" => {
            let _ = fs::remove_file(&memory);
            fs::remove_dir_all(&place).map_err(told)?;
            "{}".to_owned()
        }
        "VolumeDriver.Path" => format!("{{\"Mountpoint\":{:?}}}", place),
        "VolumeDriver.Get" if place.exists() => {
            let told = format!("\"Name\":{name:?},\"Mountpoint\":{place:?}");
            format!("{{\"Volume\":{{{told},\"Status\":{{\"kept\":true}}}}}}")
        }
        "VolumeDriver.Get" => return Err(format!("no volume {name}")),
        "VolumeDriver.List" => "{\"Volumes\":[]}".to_owned(),
        "VolumeDriver.Capabilities" => r#"{"Capabilities":{"Scope":"local"}}"#.to_owned(),
        "NetworkDriver.GetCapabilities" => r#"{"Scope":"local"}"#.to_owned(),
        "NetworkDriver.Join" => {
            let link = link(body);
            busybox(&["ip", "link", "add", &link, "type", "veth"])?;
            format!(r#"{{"InterfaceName":{{"SrcName":"{link}","DstPrefix":"plug"}}}}"#)
        }
        "NetworkDriver.DeleteEndpoint" => {
            // Mostly it went with the container.
            let _ = busybox(&["ip", "link", "del", &link(body)]);
            "{}".to_owned()
        }
        "NetworkDriver.CreateNetwork"
        | "NetworkDriver.DeleteNetwork"
        | "NetworkDriver.CreateEndpoint"
        | "NetworkDriver.Leave" => "{}".to_owned(),
        "LogDriver.StartLogging" => {
            let pipe = member(body, "File").unwrap_or_default();
            let pipe = File::open(pipe).map_err(|error| format!("open {pipe}: {error}"))?;
            std::thread::spawn(move || read_log(pipe));
            "{\"Err\":\"\"}".to_owned()
        }
        "LogDriver.StopLogging" => "{\"Err\":\"\"}".to_owned(),
        "LogDriver.Capabilities" => r#"{"Cap":{"ReadLogs":false}}"#.to_owned(),
        "AuthZPlugin.AuthZReq" if body.contains("forbidden") => {
            r#"{"Allow":false,"Msg":"the test plugin forbids it"}"#.to_owned()
        }
        "AuthZPlugin.AuthZReq" | "AuthZPlugin.AuthZRes" => r#"{"Allow":true}"#.to_owned(),
        other => return Err(format!("no method {other}")),
    })
}

/// The name of an endpoint's link.
fn link(body: &str) -> String {
    let endpoint = member(body, "EndpointID").unwrap_or_default();
    format!("pc{}", endpoint.get(..8).unwrap_or_default())
}

fn busybox(words: &[&str]) -> Result<(), String> {
    let done = Command::new("/bin/busybox").args(words).output().map_err(|it| it.to_string())?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// Messages of Docker's log protocol: four bytes of length, then a protocol buffer whose third
/// field is the line.
fn read_log(mut pipe: File) {
    let mut length = [0; 4];
    while pipe.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        if pipe.read_exact(&mut message).is_err() {
            return;
        }
        if let Some(line) = line_of(&message) {
            note("log", &String::from_utf8_lossy(line));
        }
    }
}

fn line_of(mut message: &[u8]) -> Option<&[u8]> {
    while let Some((tag, rest)) = message.split_first() {
        let (number, rest) = varint(rest)?;
        if tag & 7 == 2 {
            let (value, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            if tag >> 3 == 3 {
                return Some(value);
            }
            message = after;
        } else {
            message = rest;
        }
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
