//! A registry of our own that can be wrong in any way: a small HTTP server whose answers are
//! decided per request, and that remembers what it was asked.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part")]

use model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// How many requests for the same target came before.
    pub before: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers, body, with the right length.
    Plain(u16, Vec<(String, String)>, Vec<u8>),
    /// The whole length is promised, so many bytes are sent, then the connection is cut.
    Cut(u16, Vec<(String, String)>, Vec<u8>, usize),
    /// Chunks without a length.
    Chunked(Vec<(String, String)>, Vec<u8>),
    /// Chunks for ever.
    Endless(Vec<(String, String)>),
    /// Headers, and then nothing.
    Stall(Vec<(String, String)>),
    /// Headers for ever.
    HeaderFlood,
    /// The connection is closed without an answer.
    Hangup,
    /// These bytes.
    Raw(Vec<u8>),
}

pub type Answers = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A listening server. Dropped, it ends.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Listens on a port of this loopback address.
    pub fn on(ip: &str, answers: Answers) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (requests, ending) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&requests));
                let ending = Arc::clone(&ending);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &answers, &seen, &ending));
                }
            }
        });
        Self { address, seen, stop }
    }

    pub fn new(answers: Answers) -> Self {
        Self::on("127.0.0.1", answers)
    }

    /// Everything that was asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    stream: TcpStream,
    answers: &Answers,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut request = read_request(&mut reader)?;
        {
            let mut seen = seen.lock().unwrap();
            request.before = seen.iter().filter(|r| r.target == request.target).count();
            seen.push(request.clone());
        }
        let head_only = request.method == "HEAD";
        match answers(&request) {
            Reply::Plain(status, headers, body) => {
                let mut out = head(status, &headers, Some(body.len()));
                if !head_only {
                    out.extend_from_slice(&body);
                }
                writer.write_all(&out).ok()?;
            }
            Reply::Cut(status, headers, body, at) => {
                let mut out = head(status, &headers, Some(body.len()));
                out.extend_from_slice(&body[..at.min(body.len())]);
                writer.write_all(&out).ok()?;
                // What was sent must arrive: an end, not a reset.
                writer.shutdown(std::net::Shutdown::Write).ok()?;
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return None;
            }
            Reply::Chunked(headers, body) => {
                let mut out = head(200, &headers, None);
                out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                out.extend_from_slice(&body);
                out.extend_from_slice(b"\r\n0\r\n\r\n");
                writer.write_all(&out).ok()?;
            }
            Reply::Endless(headers) => {
                writer.write_all(&head(200, &headers, None)).ok()?;
                let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
                while !stop.load(Ordering::Relaxed) {
                    writer.write_all(&chunk).ok()?;
                }
                return None;
            }
            Reply::Stall(headers) => {
                writer.write_all(&head(200, &headers, Some(1000))).ok()?;
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return None;
            }
            Reply::HeaderFlood => {
                writer.write_all(b"HTTP/1.1 200 OK\r\n").ok()?;
                while !stop.load(Ordering::Relaxed) {
                    writer
                        .write_all(&b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1000))
                        .ok()?;
                }
                return None;
            }
            Reply::Hangup => return None,
            Reply::Raw(bytes) => {
                writer.write_all(&bytes).ok()?;
                return None;
            }
        }
    }
}

fn head(status: u16, headers: &[(String, String)], length: Option<usize>) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Whatever\r\n");
    let own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length {
        Some(length) if !own => out.push_str(&format!("Content-Length: {length}\r\n")),
        None => out.push_str("Transfer-Encoding: chunked\r\n"),
        Some(_) => {}
    }
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    out.into_bytes()
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|have| *have > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|have| *have > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body, before: 0 })
}

/// Headers from pairs.
pub fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn text(status: u16, body: &str) -> Reply {
    Reply::Plain(status, Vec::new(), body.as_bytes().to_vec())
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// An uncompressed tar with one file.
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = block.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

/// Bytes through a program of the host.
pub fn through(program: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new(program[0])
        .args(&program[1..])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().unwrap().stdout;
    feeding.join().unwrap().unwrap();
    output
}
