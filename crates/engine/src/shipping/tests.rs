//! Receivers of every kind, as they would see a container's lines.

use super::*;
use crate::plugins::Places;
use model::log::{GelfCompression, SinkAddress, SyslogFormat};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::thread::JoinHandle;

/// Long enough for a loaded machine; no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(60);

struct Lab {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("c-json.log")
    }

    fn write(&self, lines: &[(&str, &str)]) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        for (stream, line) in lines {
            let log = serde_json::to_string(line).unwrap();
            let time = "2026-01-02T03:04:05.000006007Z";
            writeln!(file, r#"{{"log":{log},"stream":"{stream}","time":"{time}"}}"#).unwrap();
        }
    }

    fn route(&self, kind: SinkKind) -> Route {
        let attributes = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let place = Place::new(&self.log(), kind.name());
        Route {
            sink: LogSink { kind, tag: "tagged".into(), attributes },
            origin: Origin {
                id: "0123456789abcdef".into(),
                name: "web".into(),
                image: "busybox".into(),
                image_id: "sha256:1".into(),
                command: "sh -c x".into(),
                created_ns: 0,
                entrypoint: "sh".into(),
                args: vec![],
                env: vec![],
                labels: BTreeMap::new(),
                host: "here".into(),
                log_path: self.log(),
            },
            path: self.log(),
            place,
            around: Around {
                plugins: Arc::new(Plugins::new(Places::default())),
                runtime: self.runtime.handle().clone(),
                exec_root: self.dir.path().to_owned(),
            },
            stop: Stop::new().unwrap(),
            abandoned: Arc::default(),
        }
    }

    /// Delivers what is in the log and ends.
    fn deliver(&self, kind: SinkKind) -> JoinHandle<()> {
        let route = self.route(kind);
        route.stop.stop();
        std::thread::spawn(move || {
            let reader = route.reader().unwrap();
            route.run(reader);
        })
    }
}

#[test]
fn syslog_in_every_form() {
    let lab = Lab::new();
    lab.write(&[("stdout", "one\n"), ("stderr", "two")]);
    let pid = std::process::id();
    for (format, head) in [
        (SyslogFormat::Local, format!("Jan  2 03:04:05 tagged[{pid}]: ")),
        (SyslogFormat::Rfc3164, format!("Jan  2 03:04:05 here tagged[{pid}]: ")),
        (SyslogFormat::Rfc5424, format!("1 2026-01-02T03:04:05Z here tagged {pid} tagged - ")),
        (
            SyslogFormat::Rfc5424Micro,
            format!("1 2026-01-02T03:04:05.000006Z here tagged {pid} tagged - "),
        ),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let address = SinkAddress::Udp(socket.local_addr().unwrap().to_string());
        let sending = lab.deliver(SinkKind::Syslog { address, facility: 3, format });
        let receive = || {
            let mut buffer = [0; 1000];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(receive(), format!("<30>{head}one\n"));
        assert_eq!(receive(), format!("<27>{head}two\n"));
        sending.join().unwrap();
        std::fs::remove_file(lab.dir.path().join("syslog.sent")).unwrap();
    }
}

#[test]
fn a_receiver_that_was_away_gets_everything_once_and_in_order() {
    let lab = Lab::new();
    let path = lab.dir.path().join("log.sock");
    let address = SinkAddress::Unixgram(path.to_string_lossy().into_owned());
    let kind = SinkKind::Syslog { address, facility: 3, format: SyslogFormat::Local };
    let lines: Vec<String> = (0..500).map(|number| format!("{number}\n")).collect();
    let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("stdout", line.as_str())).collect();
    lab.write(&lines[..300]);
    let route = lab.route(kind.clone());
    let stop = route.stop.clone();
    let sending = std::thread::spawn(move || {
        let reader = route.reader().unwrap();
        route.run(reader);
    });
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let number = || {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        text.trim_end().rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    for want in 0..300 {
        assert_eq!(number(), want);
    }
    stop.stop();
    sending.join().unwrap();
    // As after a restart of the daemon: from where the last one was.
    lab.write(&lines[300..]);
    let sending = lab.deliver(kind);
    for want in 300..500 {
        assert_eq!(number(), want);
    }
    sending.join().unwrap();
}

#[test]
fn graylog_over_tcp_and_in_compressed_chunks() {
    let lab = Lab::new();
    let long: String = (0..3000).map(|number| format!("{:x}", number * 7919)).collect();
    lab.write(&[("stdout", "one\n"), ("stdout", "\n"), ("stderr", &long)]);
    let check = |message: &[u8], line: &str, level: u8| {
        let message: serde_json::Value = serde_json::from_slice(message).unwrap();
        assert_eq!(message["short_message"], line);
        assert_eq!(message["level"], level);
        assert_eq!(message["host"], "here");
        assert_eq!(message["_container_name"], "web");
        assert_eq!(message["_tag"], "tagged");
        assert_eq!(message["_team"], "a");
        assert_eq!(message["timestamp"].to_string(), "1767323045.0");
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SinkAddress::Tcp(listener.local_addr().unwrap().to_string());
    let compression = GelfCompression::None;
    let sending = lab.deliver(SinkKind::Gelf { address, compression, level: None });
    let mut received = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    let all: Vec<&[u8]> = received.split(|byte| *byte == 0).collect();
    assert_eq!(all.len(), 3);
    check(all[0], "one", 6);
    check(all[1], &long, 3);

    std::fs::remove_file(lab.dir.path().join("gelf.sent")).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let address = SinkAddress::Udp(socket.local_addr().unwrap().to_string());
    let compression = GelfCompression::Gzip;
    let sending = lab.deliver(SinkKind::Gelf { address, compression, level: Some(9) });
    let receive = || {
        let mut buffer = [0; 2000];
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    let plain = |bytes: &[u8]| {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    };
    check(&plain(&receive()), "one", 6);
    let first = receive();
    let mut whole = first[12..].to_vec();
    assert!(first[11] > 1, "it takes several chunks");
    for number in 1..first[11] {
        let chunk = receive();
        assert_eq!((chunk[10], &chunk[..10]), (number, &first[..10]));
        whole.extend_from_slice(&chunk[12..]);
    }
    check(&plain(&whole), &long, 3);
    sending.join().unwrap();
}

#[test]
fn fluentd_is_asked_to_acknowledge() {
    let lab = Lab::new();
    lab.write(&[("stdout", "one\n")]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SinkAddress::Tcp(listener.local_addr().unwrap().to_string());
    let sending = lab.deliver(SinkKind::Fluentd { address, sub_second: true, acknowledge: true });
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let chunk = format!("{}-1", std::process::id());
    let mut want = msgpack::Writer::default();
    want.array(3);
    want.text(b"tagged");
    want.array(1);
    want.array(2);
    want.event_time(1_767_323_045, 6007);
    want.map(5);
    for text in ["container_id", "0123456789abcdef", "container_name", "/web", "team", "a"] {
        want.text(text.as_bytes());
    }
    for text in ["source", "stdout", "log", "one"] {
        want.text(text.as_bytes());
    }
    want.map(1);
    want.text(b"chunk");
    want.text(chunk.as_bytes());
    let mut have = vec![0; want.0.len()];
    stream.read_exact(&mut have).unwrap();
    assert_eq!(have, want.0);
    assert!(!sending.is_finished(), "it waits for the answer");
    let mut answer = msgpack::Writer::default();
    answer.map(1);
    answer.text(b"ack");
    answer.text(chunk.as_bytes());
    stream.write_all(&answer.0).unwrap();
    sending.join().unwrap();
}

#[test]
fn the_journal_gets_fields() {
    let lab = Lab::new();
    let path = lab.dir.path().join("journal.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let route = lab.route(SinkKind::Journald);
    let mut journal = journald::Journal::at(path, &route.sink, &route.origin);
    let entry = |line: &str| Entry {
        stream: Stream::Stderr,
        time_ns: 0,
        line: line.as_bytes().to_vec(),
        attrs: BTreeMap::new(),
    };
    journal.deliver(&[entry("one\n"), entry("a\nb")]).unwrap();
    let receive = || {
        let mut buffer = [0; 4000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let first = receive();
    for line in [
        "CONTAINER_ID=0123456789ab\n",
        "CONTAINER_NAME=web\n",
        "SYSLOG_IDENTIFIER=tagged\n",
        "TEAM=a\n",
        "MESSAGE=one\n",
        "PRIORITY=3\n",
        "CONTAINER_LOG_ORDINAL=1\n",
    ] {
        assert!(first.contains(line), "{line} in {first}");
    }
    assert!(!first.contains("PARTIAL"));
    let second = receive();
    assert!(second.contains("MESSAGE\n\u{3}\0\0\0\0\0\0\0a\nb\n"), "{second:?}");
    assert!(second.contains("CONTAINER_PARTIAL_MESSAGE=true\n"));
}

#[test]
fn a_receiver_that_hangs_is_left_when_the_container_is_gone() {
    let lab = Lab::new();
    lab.write(&[("stdout", "one\n")]);
    // Nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SinkAddress::Tcp(listener.local_addr().unwrap().to_string());
    drop(listener);
    let route = lab.route(SinkKind::Fluentd { address, sub_second: false, acknowledge: false });
    let abandoned = Arc::clone(&route.abandoned);
    route.stop.stop();
    let sending = std::thread::spawn(move || {
        let reader = route.reader().unwrap();
        route.run(reader);
    });
    abandoned.store(true, Ordering::Relaxed);
    sending.join().unwrap();
}
