//! Starts, ends, execs and reconnections.

use super::super::client::Connection;
use super::super::protocol::*;
use super::harness::*;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

fn exec(id: &str, script: &str, attach: Option<AttachOptions>) -> Request {
    Request::Exec(Box::new(Exec {
        exec_id: id.into(),
        process: shell(script, false),
        user: None,
        stdin_open: attach.as_ref().is_some_and(|options| options.stdin),
        attach,
    }))
}

#[test]
fn exit_codes_and_signals() {
    let mut rig = Rig::started(Setup { script: "exit 42", ..Setup::default() });
    let exit = rig.exit();
    assert_eq!((exit.code, exit.signal), (42, None));
    assert!(exit.started_at_ns.unwrap() <= exit.finished_at_ns);
    let written = std::fs::read(rig.directory.path().join(EXIT_NAME)).unwrap();
    assert_eq!(serde_json::from_slice::<Exit>(&written).unwrap(), exit);
    rig.finish();
    assert!(!rig.directory.path().join(SOCKET_NAME).exists());

    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let signal = Request::Signal { process: ProcessId::Init, signal: 9 };
    assert!(matches!(rig.ask(&signal), Reply::Done));
    let exit = rig.exit();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    rig.finish();
}

#[test]
fn a_container_that_is_not_wanted_is_aborted() {
    let mut rig = Rig::new(Setup { script: "echo ran", ..Setup::default() });
    assert!(matches!(rig.ask(&Request::Abort), Reply::Done));
    let exit = rig.exit();
    assert_eq!((exit.signal, exit.started_at_ns), (Some(9), None));
    assert_eq!(rig.log(), "");
    rig.finish();
}

#[test]
fn execs_have_streams_and_exits_of_their_own() {
    let mut rig = Rig::started(Setup { script: "echo init; sleep 60", ..Setup::default() });
    let (client, theirs) = client_pair();
    let options = AttachOptions { stdin: true, framed: true, ..outputs() };
    let reply = rig.ask_with(&exec("e1", "cat >&2; exit 3", Some(options)), &[&theirs]);
    drop(theirs);
    let Reply::ExecStarted { pid } = reply else { panic!("{reply:?}") };
    (&client).write_all(b"abc").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), "\x02\0\0\0\0\0\0\x03abc");
    let Event::ExecExited { exec_id, exit } = rig.event() else { panic!("another event") };
    assert_eq!((exec_id.as_str(), exit.code), ("e1", 3));
    let Reply::State(state) = rig.ask(&Request::State) else { panic!("no state") };
    assert_eq!(state.phase, Phase::Running);
    assert_eq!(state.execs, [ExecState { exec_id: "e1".into(), pid, exit: Some(exit) }]);
    rig.ask(&Request::Signal { process: ProcessId::Init, signal: 15 });
    assert_eq!(rig.exit().signal, Some(15));
    assert_eq!(rig.log(), "init\n");
    rig.finish();
}

#[test]
fn an_exec_that_cannot_be_started_leaves_the_socket_to_its_owner() {
    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    let (client, mut theirs) = client_pair();
    let mut request = exec("e", "", Some(outputs()));
    if let Request::Exec(exec) = &mut request {
        exec.process.args = vec!["nothing".into()];
    }
    let reply = rig.ask_with(&request, &[&theirs]);
    let Reply::Failed { exit_code, message } = reply else { panic!("{reply:?}") };
    assert_eq!((exit_code, message.as_str()), (127, "exec: not a shell"));
    theirs.write_all(b"sorry").unwrap();
    drop(theirs);
    assert_eq!(read_all(&client), "sorry");
    rig.ask(&Request::Signal { process: ProcessId::Init, signal: 9 });
    rig.exit();
    rig.finish();
}

#[test]
fn a_thousand_finished_execs_are_remembered() {
    let mut rig = Rig::started(Setup { script: "sleep 60", ..Setup::default() });
    for number in 0..MAX_KEPT_EXECS + 5 {
        let reply = rig.ask(&exec(&number.to_string(), "exit 5", None));
        assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
        let Event::ExecExited { exec_id, exit } = rig.event() else { panic!("another event") };
        assert_eq!((exec_id, exit.code), (number.to_string(), 5));
    }
    let Reply::State(state) = rig.ask(&Request::State) else { panic!("no state") };
    assert_eq!(state.execs.len(), MAX_KEPT_EXECS);
    assert_eq!(state.execs[0].exec_id, "5");
    rig.ask(&Request::Signal { process: ProcessId::Init, signal: 9 });
    rig.exit();
    rig.finish();
}

#[test]
fn output_held_by_a_stranger_is_waited_for_two_seconds() {
    let script = "(sleep 8; echo late) & echo early";
    let mut rig = Rig::started(Setup { script, ..Setup::default() });
    let before = std::time::Instant::now();
    assert_eq!(rig.exit().code, 0);
    let waited = before.elapsed().as_secs_f64();
    assert!((1.5..6.0).contains(&waited), "{waited} s");
    assert_eq!(rig.log(), "early\n");
    rig.finish();
}

#[test]
fn the_daemon_may_go_and_another_come() {
    let setup = Setup { script: "read x; echo $x; sleep 60", stdin_open: true, ..Setup::default() };
    let mut rig = Rig::started(setup);
    let mut client = rig.attach(ProcessId::Init, AttachOptions { stdin: true, ..outputs() });
    let path = rig.directory.path().join(SOCKET_NAME);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Connection::connect(rig.directory.path()).unwrap();
    // The first connection ends here, as when its process is killed.
    rig.connection = second;
    client.write_all(b"still here\n").unwrap();
    assert_eq!(read_until(&client, "\n"), "still here\n");
    let Reply::State(state) = rig.ask(&Request::State) else { panic!("no state") };
    assert_eq!((state.phase, state.pid), (Phase::Running, rig.pid));
    assert!(state.started_at_ns.is_some() && state.exit.is_none());
    rig.ask(&Request::Signal { process: ProcessId::Init, signal: 15 });
    assert_eq!(rig.exit().code, 143);
    assert_eq!(read_all(&client), "");
    rig.finish();
}

#[test]
fn a_state_directory_may_be_deeper_than_a_socket_address() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let error = Connection::connect(&deep).unwrap_err();
    assert!(error.to_string().contains(deep.to_str().unwrap()), "{error}");
    let fd = std::fs::File::open(&deep).unwrap();
    let listener = super::super::control::Listener::bind(fd.into()).unwrap();
    let _connection = Connection::connect(&deep).unwrap();
    assert!(listener.accept().is_some());
}

#[test]
fn requests_out_of_phase_are_refused() {
    let refused = |reply| match reply {
        Reply::Error { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    let mut rig = Rig::new(Setup { script: "sleep 60", ..Setup::default() });
    assert_eq!(refused(rig.ask(&exec("e", "true", None))), ErrorKind::Conflict);
    assert_eq!(refused(rig.ask(&Request::Quit)), ErrorKind::Conflict);
    rig.start();
    assert_eq!(refused(rig.ask(&Request::Start)), ErrorKind::Conflict);
    assert_eq!(refused(rig.ask(&Request::Abort)), ErrorKind::Conflict);
    let nobody = ProcessId::Exec("nobody".into());
    let signal = Request::Signal { process: nobody.clone(), signal: 9 };
    assert_eq!(refused(rig.ask(&signal)), ErrorKind::NotFound);
    let signal = Request::Signal { process: ProcessId::Init, signal: 1000 };
    assert_eq!(refused(rig.ask(&signal)), ErrorKind::System);
    let size = TerminalSize { rows: 1, cols: 1 };
    let resize = Request::Resize { process: ProcessId::Init, size };
    assert!(matches!(rig.ask(&resize), Reply::Done), "without a terminal there is nothing to do");
    let attach = Request::Attach(Attach { process: ProcessId::Init, options: outputs() });
    assert_eq!(refused(rig.ask(&attach)), ErrorKind::Invalid);
    assert!(matches!(rig.ask(&exec("e", "sleep 60", None)), Reply::ExecStarted { .. }));
    assert_eq!(refused(rig.ask(&exec("e", "true", None))), ErrorKind::Conflict);
    let kill = |id| Request::Signal { process: id, signal: 9 };
    rig.ask(&kill(ProcessId::Exec("e".into())));
    rig.ask(&kill(ProcessId::Init));
    rig.exit();
    rig.finish();
}
