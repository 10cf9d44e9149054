//! Output, input and attached clients.

use super::super::protocol::*;
use super::harness::*;
use std::io::{Read, Write};
use std::net::Shutdown;

#[test]
fn a_client_attached_before_the_start_sees_everything() {
    let mut rig = Rig::new(Setup { script: "echo out; echo err >&2", ..Setup::default() });
    let client = rig.attach(ProcessId::Init, outputs());
    rig.start();
    let mut lines: Vec<_> = read_all(&client).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(rig.exit().code, 0);
    rig.finish();
}

#[test]
fn frames_are_dockers() {
    let script = "printf hello; sleep 0.2; printf oh >&2";
    let mut rig = Rig::new(Setup { script, ..Setup::default() });
    let framed = rig.attach(ProcessId::Init, AttachOptions { framed: true, ..outputs() });
    let preamble = AttachOptions { preamble: b"HTTP\r\n\r\n".to_vec(), ..AttachOptions::default() };
    let stderr = rig.attach(ProcessId::Init, AttachOptions { stderr: true, ..preamble });
    rig.start();
    assert_eq!(read_all(&framed), "\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x02oh");
    assert_eq!(read_all(&stderr), "HTTP\r\n\r\noh");
    rig.exit();
    rig.finish();
}

#[test]
fn the_end_of_the_only_clients_input_is_the_containers() {
    let setup =
        Setup { script: "cat; echo end", stdin_open: true, stdin_once: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    let options = AttachOptions { stdin: true, initial: b"early ".to_vec(), ..outputs() };
    let mut client = rig.attach(ProcessId::Init, options);
    let text = "x".repeat(300_000);
    let (mut writer, sent) = (client.try_clone().unwrap(), text.clone());
    let thread = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    thread.join().unwrap();
    assert!(received == format!("early {text}end\n"), "{} bytes", received.len());
    assert_eq!(rig.exit().code, 0);
    assert!(rig.log() == received);
    rig.finish();
}

#[test]
fn input_that_is_open_survives_its_clients() {
    let setup =
        Setup { script: "read a; read b; echo $a $b", stdin_open: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    for word in ["one\n", "two\n"] {
        let stdin = AttachOptions { stdin: true, ..AttachOptions::default() };
        let mut client = rig.attach(ProcessId::Init, stdin);
        client.write_all(word.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&client), "");
    }
    assert_eq!(rig.exit().code, 0);
    assert_eq!(rig.log(), "one two\n");
    rig.finish();
}

#[test]
fn a_client_that_vanishes_leaves_its_input() {
    let setup =
        Setup { script: "cat; echo end", stdin_open: true, stdin_once: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    let mut client = rig.attach(ProcessId::Init, AttachOptions { stdin: true, ..outputs() });
    client.write_all(b"last words\n").unwrap();
    drop(client);
    assert_eq!(rig.exit().code, 0);
    assert_eq!(rig.log(), "last words\nend\n");
    rig.finish();
}

#[test]
fn input_can_be_closed_by_request() {
    let setup = Setup { script: "cat; echo end", stdin_open: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    let reply = rig.ask(&Request::CloseStdin { process: ProcessId::Init });
    assert!(matches!(reply, Reply::Done), "{reply:?}");
    rig.exit();
    assert_eq!(rig.log(), "end\n");
    rig.finish();
}

#[test]
fn detach_keys_are_seen_across_writes() {
    let setup = Setup {
        script: "read x; echo got $x",
        terminal: true,
        stdin_open: true,
        ..Setup::default()
    };
    let mut rig = Rig::started(setup);
    let options =
        AttachOptions { stdin: true, detach_keys: DEFAULT_DETACH_KEYS.to_vec(), ..outputs() };
    let mut client = rig.attach(ProcessId::Init, options);
    let other = rig.attach(ProcessId::Init, outputs());
    client.write_all(b"ab\x10").unwrap();
    read_until(&client, "ab");
    client.write_all(b"\x11ignored\n").unwrap();
    assert_eq!(read_all(&client), "");
    assert_eq!(rig.event(), Event::Detached { process: ProcessId::Init });
    let mut client =
        rig.attach(ProcessId::Init, AttachOptions { stdin: true, ..AttachOptions::default() });
    client.write_all(b"c\n").unwrap();
    assert!(read_all(&other).ends_with("got abc\r\n"));
    assert_eq!(rig.exit().code, 0);
    assert!(rig.log().ends_with("got abc\r\n"));
    rig.finish();
}

#[test]
fn without_a_terminal_detach_keys_are_input() {
    let setup = Setup { script: "cat", stdin_open: true, stdin_once: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    let keys = DEFAULT_DETACH_KEYS.to_vec();
    let options = AttachOptions { stdin: true, detach_keys: keys, ..outputs() };
    let mut client = rig.attach(ProcessId::Init, options);
    client.write_all(b"a\x10\x11b").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), "a\x10\x11b");
    rig.exit();
    rig.finish();
}

#[test]
fn terminals_can_be_resized() {
    let script = "trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut rig = Rig::new(Setup { script, terminal: true, ..Setup::default() });
    let client = rig.attach(ProcessId::Init, outputs());
    rig.start();
    read_until(&client, "ready\r\n");
    let size = TerminalSize { rows: 33, cols: 111 };
    let reply = rig.ask(&Request::Resize { process: ProcessId::Init, size });
    assert!(matches!(reply, Reply::Done), "{reply:?}");
    assert_eq!(read_all(&client), "33 111\r\n");
    assert_eq!(rig.exit().code, 7);
    rig.finish();
}

#[test]
fn a_client_that_never_reads_holds_the_container_only_while_it_is_there() {
    // More than the client's buffers, its socket's and the pipe's together.
    let script = "head -c 8000000 /dev/zero | tr '\\0' x; echo; echo end";
    let mut rig = Rig::new(Setup { script, ..Setup::default() });
    let lazy = rig.attach(ProcessId::Init, outputs());
    rig.start();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let Reply::State(state) = rig.ask(&Request::State) else { panic!("no state") };
    assert_eq!(state.phase, Phase::Running, "the container should be held back");
    drop(lazy);
    assert_eq!(rig.exit().code, 0);
    let log = rig.log();
    assert!(log.len() == 8_000_005 && log.ends_with("x\nend\n"), "{} bytes", log.len());
    rig.finish();
}

#[test]
fn a_lazy_client_costs_the_log_nothing_at_the_end() {
    // Fits into what may wait for a client and into the pipe, so the container ends.
    let script = "head -c 1200000 /dev/zero | tr '\\0' x; echo; echo end";
    let mut rig = Rig::new(Setup { script, ..Setup::default() });
    let mut lazy = rig.attach(ProcessId::Init, outputs());
    rig.start();
    rig.exit();
    assert!(rig.log().ends_with("x\nend\n"));
    let mut received = String::new();
    lazy.read_to_string(&mut received).unwrap();
    assert!(received == rig.log());
    rig.finish();
}

#[test]
fn a_hundred_megabytes_through_rotation_and_three_clients() {
    let script = "yes 0123456789012345678901234567890123456789012345678 | head -n 2000000";
    let setup = Setup { script, max_size: Some(20 << 20), max_file: 20, ..Setup::default() };
    let mut rig = Rig::new(setup);
    let clients: Vec<_> = (0..3).map(|_| rig.attach(ProcessId::Init, outputs())).collect();
    rig.start();
    let counts: Vec<_> = clients
        .into_iter()
        .map(|client| {
            std::thread::spawn(move || {
                let mut client = std::io::BufReader::new(client);
                std::io::copy(&mut client, &mut std::io::sink()).unwrap()
            })
        })
        .collect();
    for count in counts {
        assert_eq!(count.join().unwrap(), 100_000_000);
    }
    assert_eq!(rig.exit().code, 0);
    assert_eq!(rig.log().len(), 100_000_000);
    assert!(rig.directory.path().join("c-json.log.10").exists());
    rig.finish();
}
