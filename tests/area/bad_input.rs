//! What is wrong is said, with the right status, and nothing half-made is left.

use lab::Lab;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn the_command_line_says_what_is_wrong() {
    let lab = Lab::new();
    let long = "x".repeat(300);
    for (words, status, said) in [
        (&["run", "--nope", "busybox"][..], 125, "unknown flag: --nope"),
        (&["run"], 1, "requires at least 1 argument"),
        (&["run", "--rm", "Busybox"], 125, "invalid reference format"),
        (&["run", "--rm", "-v", "relative:rel", "busybox"], 125, "rel"),
        (
            &["run", "--rm", "--mount", "type=bind,source=/no/such/dir,target=/x", "busybox"],
            125,
            "bind source path does not exist: /no/such/dir",
        ),
        (&["run", "--rm", "-u", "no-such-user", "busybox", "true"], 125, "no-such-user"),
        (&["run", "--rm", "-u", "4294967296", "busybox", "true"], 125, "4294967296"),
        (&["run", "--rm", "-m", "4m", "busybox"], 125, "Minimum memory limit allowed is 6MB"),
        (&["run", "--rm", "--cpus", "100000", "busybox"], 125, "CPU"),
        (&["run", "--rm", "-p", "99999:80", "busybox"], 125, "99999"),
        (&["run", "--rm", "--sysctl", "kernel.panic=1", "busybox"], 125, "kernel.panic"),
        (&["run", "--rm", "--name", "bad/name", "busybox"], 125, "Invalid container name"),
        (&["run", "--rm", "--name", &long, "busybox"], 125, "Invalid container name"),
        (&["run", "--rm", "--restart", "always", "busybox"], 125, "onflicting options"),
        (&["run", "--restart", "sometimes", "busybox"], 125, "sometimes"),
        (&["run", "--rm", "--security-opt", "nonsense", "busybox"], 125, "nonsense"),
        (&["run", "--rm", "--log-driver", "carrier-pigeon", "busybox"], 125, "carrier-pigeon"),
        (&["run", "--rm", "-w", "relative", "busybox"], 125, "relative"),
        (&["run", "--rm", "--stop-signal", "NOPE", "busybox"], 125, "NOPE"),
        (&["run", "--rm", "--runtime", "nope", "busybox"], 125, "nope"),
        (&["run", "--rm", "--device", "/dev/no-such-device", "busybox"], 125, "no-such-device"),
        (&["kill", "-s", "NOPE", "x"], 1, ""),
        (&["start", "nobody"], 1, "No such container: nobody"),
        (&["volume", "create", "../x"], 1, "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (&["volume", "rm", "nothing"], 1, "nothing"),
        (&["network", "create", "--subnet", "300.0.0.0/8", "n"], 1, "300.0.0.0/8"),
        (&["network", "create", "--driver", "teleport", "n"], 1, "teleport"),
        (&["pull", "busybox:nope"], 1, "registry-1.docker.io"),
        (&["frobnicate"], 1, "frobnicate"),
    ] {
        let output = lab.estiba(words);
        assert_eq!(output.status, status, "{words:?}: {output:?}");
        assert!(output.stderr.contains(said), "{words:?}: wanted {said:?} in {output:?}");
    }
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "", "nothing half-made");
    let snapshots = std::fs::read_dir(lab.data_root().join("snapshots")).into_iter().flatten();
    assert_eq!(snapshots.count(), 0, "nothing half-made on disk");
}

#[test]
fn without_a_daemon_it_says_so() {
    let lab = Lab::new();
    let missing = "unix:///nonexistent/estiba.sock";
    let output = lab.estiba(&["-H", missing, "ps"]);
    output.fails(1, &format!("Cannot connect to the Docker daemon at {missing}"));
    output.fails(1, "Is the docker daemon running?");
}

/// Sends bytes, and returns what comes back until the other side closes or falls silent.
fn send(lab: &Lab, bytes: &[u8]) -> String {
    let mut socket = UnixStream::connect(lab.socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.take(1 << 20).read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    let lab = Lab::new();
    let head =
        "POST /v1.47/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let body = |text: &str| format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
    let deep = format!("{{\"Image\":{}", "[".repeat(100_000));
    for (request, status) in [
        ("\0\0\0\0garbage\r\n\r\n".to_owned(), "400"),
        (body("{"), "400"),
        (body("[]"), "400"),
        (body("{\"Image\": 5}"), "400"),
        (body("{}"), "400"),
        (body(&deep), "400"),
        (format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("{head}Content-Length: 100\r\n\r\n{{}}"), ""),
        ("GET /v9.99/containers/json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET /v1.10/containers/json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET /nothing/here HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "404"),
        ("GET /containers/..%2f..%2fetc/json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "404"),
        ("GET /containers/json?filters=%7B HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = send(&lab, request.as_bytes());
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(status), "{:.80?} → {line:?}", request);
    }
    let flood: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    send(&lab, &flood);
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "alive"]).ok(), "alive");
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let lab = Lab::new();
    let mut loading = lab.session(&["load"]);
    loading.send(&[0; 4096]);
    loading.signal(rustix::process::Signal::KILL);
    loading.finish();
    let mut importing = lab.session(&["import", "-", "half"]);
    let tar = std::fs::read(lab::archive("busybox")).unwrap();
    importing.send(&tar[..tar.len() / 2]);
    importing.signal(rustix::process::Signal::KILL);
    importing.finish();
    let running = lab.session(&["run", "--name", "left", "busybox", "sleep", "1000"]);
    lab::eventually("it runs", || lab.estiba(&["ps", "-q"]).stdout.len() > 5);
    running.signal(rustix::process::Signal::KILL);
    running.finish();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Running}}", "left"]).ok(), "true");
    lab::eventually("the ingest area is empty", || lab.half_made().is_empty());
    assert_eq!(lab.estiba(&["images", "-q", "half"]).ok(), "");
}
