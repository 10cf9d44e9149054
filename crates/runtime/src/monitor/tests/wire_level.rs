//! Peers that do not behave.

use super::super::client::Connection;
use super::super::protocol::*;
use super::harness::*;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

pub(super) fn frame(body: &str) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_le_bytes()[..], body.as_bytes()].concat()
}

pub(super) fn dial(rig: &Rig) -> UnixStream {
    let stream = UnixStream::connect(rig.directory.path().join(SOCKET_NAME)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(super) fn read_frame(mut stream: &UnixStream) -> serde_json::Value {
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; u32::from_le_bytes(header) as usize];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

pub(super) fn end(mut rig: Rig) {
    rig.ask(&Request::Signal { process: ProcessId::Init, signal: 9 });
    rig.exit();
    rig.finish();
}

#[test]
fn requests_of_the_future_are_answered() {
    let rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let mut peer = dial(&rig);
    let request = r#"{"id":7,"request":{"type":"teleport","to":"mars"},"color":"red"}"#;
    peer.write_all(&frame(request)).unwrap();
    let reply = read_frame(&peer);
    assert_eq!(reply["id"], 7);
    assert_eq!(reply["reply"]["type"], "error");
    assert_eq!(reply["reply"]["kind"], "unsupported");
    // A field of the future does not matter.
    peer.write_all(&frame(r#"{"id":8,"request":{"type":"hello","version":99,"new":1}}"#)).unwrap();
    assert_eq!(read_frame(&peer)["reply"]["version"], VERSION);
    peer.write_all(&frame(r#"{"id":9,"request":{"type":"signal","signal":"nine"}}"#)).unwrap();
    assert_eq!(read_frame(&peer)["reply"]["kind"], "invalid");
    end(rig);
}

#[test]
fn peers_that_break_the_frames_are_cut_off_alone() {
    let rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    for garbage in [
        &frame("not json")[..],
        &frame(r#"{"request":{"type":"state"}}"#),
        &u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_le_bytes(),
        &[0xff; 64],
    ] {
        let mut peer = dial(&rig);
        peer.write_all(garbage).unwrap();
        assert_eq!(peer.read(&mut [0; 8]).unwrap_or(0), 0, "{garbage:?}");
    }
    let mut slow = dial(&rig);
    for byte in frame(r#"{"id":1,"request":{"type":"state"}}"#) {
        slow.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_frame(&slow)["reply"]["phase"], "running");
    end(rig);
}

#[test]
fn a_frame_may_be_large_but_not_too_large() {
    let rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let mut peer = dial(&rig);
    let request = r#"{"id":1,"request":{"type":"state","padding":""}}"#;
    let padding = "x".repeat(MAX_FRAME_BYTES - request.len());
    let request = request.replace(r#""""#, &format!("\"{padding}\""));
    peer.write_all(&frame(&request)).unwrap();
    assert_eq!(read_frame(&peer)["id"], 1);
    end(rig);
}

#[test]
fn fds_belong_to_their_frames() {
    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    // Announced and not sent.
    let mut peer = dial(&rig);
    let mut lying = frame(r#"{"id":1,"request":{"type":"state"}}"#);
    lying[3] = 1;
    peer.write_all(&lying).unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap_or(0), 0);
    // Sent with frames that have no use for them, many times: none may stay open.
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (socket, _other) = UnixStream::pair().unwrap();
    let before = count();
    for _ in 0..200 {
        rig.ask_with(&Request::State, &[&socket, &socket]);
    }
    assert!(count() < before + 100, "{} descriptors, {before} before", count());
    // One that is no stream socket.
    let datagram = datagram_socket();
    let attach = Request::Attach(Attach { process: ProcessId::Init, options: outputs() });
    rig.connection.send(&attach, &[datagram.as_fd()]).unwrap();
    let (message, _) = rig.connection.recv().unwrap().unwrap();
    let Message::Reply(_, Reply::Error { kind, .. }) = message else { panic!("{message:?}") };
    assert_eq!(kind, ErrorKind::Invalid);
    end(rig);
}

#[test]
fn a_daemon_that_does_not_read_is_not_waited_for() {
    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let mut deaf = Connection::connect(rig.directory.path()).unwrap();
    let sender = std::thread::spawn(move || {
        // Ends when the monitor cuts the connection or is gone.
        while deaf.send(&Request::State, &[]).is_ok() {}
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(matches!(rig.ask(&Request::State), Reply::State(_)));
    end(rig);
    sender.join().unwrap();
}

#[test]
fn connections_are_bounded() {
    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let crowd: Vec<_> = (0..MAX_CONNECTIONS + 4).map(|_| dial(&rig)).collect();
    assert!(matches!(rig.ask(&Request::State), Reply::State(_)));
    drop(crowd);
    let mut late = dial(&rig);
    late.write_all(&frame(r#"{"id":1,"request":{"type":"state"}}"#)).unwrap();
    assert_eq!(read_frame(&late)["id"], 1);
    end(rig);
}
