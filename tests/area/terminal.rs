//! Terminals and streams: what a person at a keyboard, or a script with pipes, gets from run,
//! attach, exec and start.

use lab::{Lab, Terminal, eventually};
use rustix::process::Signal;

/// Detach keys as they are by default: ctrl-p ctrl-q.
const DETACH: &[u8] = b"\x10\x11";

fn running(lab: &Lab, name: &str) -> bool {
    lab.estiba(&["inspect", "-f", "{{.State.Running}}", name]).stdout.trim() == "true"
}

/// Types a command whose echo differs from its answer, until the answer comes.
fn asks(terminal: &mut Terminal, command: &str, answer: &str) {
    terminal.type_in(command.as_bytes());
    terminal.type_in(b"\n");
    terminal.shows(answer);
}

fn a_shell_on_a_terminal(mut terminal: Terminal) {
    terminal.shows("# ");
    assert!(terminal.is_raw(), "keys go through as they are");
    asks(&mut terminal, "echo a$((40+2))b", "a42b\r\n");
    assert!(terminal.screen().contains("echo a$((40+2))b"), "the container's terminal echoes");
    asks(&mut terminal, "tty; stty size; echo size-d'one'", "size-done");
    let screen = terminal.screen();
    assert!(screen.contains("/dev/console") || screen.contains("/dev/pts/0"), "{screen:?}");
    assert!(screen.contains("24 80"), "the size at the start: {screen:?}");
    terminal.resize(50, 132);
    for _ in 0..100 {
        terminal.type_in(b"stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        if terminal.screen().contains("50 132") {
            break;
        }
    }
    terminal.shows("50 132");
    asks(&mut terminal, "sleep 1000; echo was-$?", "sleep 1000; echo was-$?");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.type_in(b"\x03");
    asks(&mut terminal, "echo sti'll here", "");
    terminal.type_in(b"'\n");
    terminal.shows("still here");
    terminal.type_in(b"exit 5\n");
    let (status, screen) = terminal.finish();
    assert_eq!(status, 5, "{screen}");
}

#[test]
fn run_it_is_a_shell() {
    let lab = Lab::new();
    a_shell_on_a_terminal(lab.terminal(&["run", "-it", "--rm", "busybox"]));
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
}

#[test]
fn run_it_is_a_shell_for_the_stock_client() {
    let lab = Lab::new();
    match lab.docker_terminal(&["run", "-it", "--rm", "busybox"]) {
        Some(terminal) => a_shell_on_a_terminal(terminal),
        None => eprintln!("skipped: no docker command line here"),
    }
}

#[test]
fn exec_it_is_a_shell_beside() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "ee", "busybox", "sleep", "1000"]).ok();
    a_shell_on_a_terminal(lab.terminal(&["exec", "-it", "ee", "sh"]));
    if let Some(terminal) = lab.docker_terminal(&["exec", "-it", "ee", "sh"]) {
        a_shell_on_a_terminal(terminal);
    }
    assert!(running(&lab, "ee"));
}

#[test]
fn detach_and_attach_again() {
    let lab = Lab::new();
    let mut first = lab.terminal(&["run", "-it", "--name", "dd", "busybox"]);
    first.shows("# ");
    asks(&mut first, "V=kept; echo s'et'", "set\r\n");
    first.type_in(DETACH);
    assert_eq!(first.finish().0, 0);
    assert!(running(&lab, "dd"));
    // The keys may come one by one, and what only begins like them goes through.
    let mut second = lab.terminal(&["attach", "--detach-keys", "ctrl-x,q", "dd"]);
    asks(&mut second, "echo I-$V", "I-kept");
    second.type_in(b"\x18");
    std::thread::sleep(std::time::Duration::from_millis(200));
    second.type_in(b"z\x7f\x7f\n");
    asks(&mut second, "echo mo're'", "more\r\n");
    assert!(!second.ended());
    second.type_in(b"\x18");
    std::thread::sleep(std::time::Duration::from_millis(200));
    second.type_in(b"q");
    let (status, screen) = second.finish();
    assert_eq!(status, 1, "as with the stock client, attach says that it was left early");
    assert!(screen.contains("read escape sequence"), "{screen:?}");
    assert!(running(&lab, "dd"));
    let mut third = lab.terminal(&["attach", "dd"]);
    asks(&mut third, "echo again-$V", "again-kept");
    third.type_in(b"exit 6\n");
    assert_eq!(third.finish().0, 6);
    assert!(!running(&lab, "dd"));
    let mut fourth = lab.terminal(&["start", "-ai", "dd"]);
    asks(&mut fourth, "echo on'ce' more", "once more\r\n");
    fourth.type_in(b"exit 4\n");
    assert_eq!(fourth.finish().0, 4);
}

#[test]
fn the_stock_client_detaches_and_attaches() {
    let lab = Lab::new();
    let Some(mut first) = lab.docker_terminal(&["run", "-it", "--name", "dd", "busybox"]) else {
        eprintln!("skipped: no docker command line here");
        return;
    };
    first.shows("# ");
    asks(&mut first, "V=kept; echo s'et'", "set\r\n");
    first.type_in(DETACH);
    assert_eq!(first.finish().0, 0);
    assert!(running(&lab, "dd"));
    let mut again = lab.docker_terminal(&["attach", "--detach-keys", "ctrl-x", "dd"]).unwrap();
    asks(&mut again, "echo me-$V", "me-kept");
    again.type_in(b"\x18");
    assert_eq!(again.finish().0, 1);
    let mut second = lab.docker_terminal(&["attach", "dd"]).unwrap();
    asks(&mut second, "echo I-$V", "I-kept");
    second.type_in(b"exit 6\n");
    assert_eq!(second.finish().0, 6);
    let mut third = lab.docker_terminal(&["start", "-ai", "dd"]).unwrap();
    asks(&mut third, "echo on'ce' more", "once more\r\n");
    third.type_in(b"exit 4\n");
    assert_eq!(third.finish().0, 4);
}

#[test]
fn exec_detaches_and_goes_on() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "ee", "busybox", "sleep", "1000"]).ok();
    let mut shell = lab.terminal(&["exec", "-it", "ee", "sh", "-c", "echo $$ >/pid; exec sh"]);
    asks(&mut shell, "echo u'p'", "up\r\n");
    shell.type_in(DETACH);
    shell.finish();
    lab.estiba(&["exec", "ee", "sh", "-c", "kill -0 $(cat /pid)"]).ok();
}

#[test]
fn a_terminal_without_input() {
    let lab = Lab::new();
    // Without -i nothing is read from the keyboard, yet the program has a terminal.
    let terminal = lab.terminal(&["run", "-t", "--rm", "busybox", "sh", "-c", "tty && echo out"]);
    let (status, screen) = terminal.finish();
    assert_eq!(status, 0, "{screen}");
    assert!(screen.contains("/dev/") && screen.contains("out\r"), "{screen:?}");
    // Pipes outside: -t is fine, output carries the terminal's line ends; -it is refused.
    let piped = lab.estiba(&["run", "-t", "--rm", "busybox", "echo", "out"]);
    assert_eq!((piped.ok(), piped.stdout.as_str()), ("out\r", "out\r\n"));
    lab.estiba(&["run", "-it", "--rm", "busybox", "true"]).fails(1, "not a TTY");
}

#[test]
fn ctrl_c_reaches_a_program_without_a_terminal() {
    let lab = Lab::new();
    let script = "trap 'echo got INT; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = lab.terminal(&["run", "--rm", "busybox", "sh", "-c", script]);
    terminal.shows("ready");
    assert!(!terminal.is_raw());
    terminal.type_in(b"\x03");
    let (status, screen) = terminal.finish();
    assert_eq!(status, 9, "{screen}");
    assert!(screen.contains("got INT"), "{screen}");
}

#[test]
fn signals_to_the_client_reach_the_container() {
    let lab = Lab::new();
    let script = "trap 'echo usr' USR1; trap 'exit 143' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    for words in
        [&["run", "--name", "ss", "busybox", "sh", "-c", script][..], &["start", "-a", "ss"]]
    {
        let session = lab.session(words);
        eventually("ready", || session.so_far().contains("ready"));
        session.signal(Signal::USR1);
        eventually("it got USR1", || session.so_far().contains("usr"));
        session.signal(Signal::TERM);
        assert_eq!(session.finish().status, 143);
        assert!(!running(&lab, "ss"));
    }
    lab.estiba(&["start", "ss"]).ok();
    let attached = lab.session(&["attach", "--no-stdin", "ss"]);
    eventually("attached and ready", || {
        lab.estiba(&["kill", "-s", "USR1", "ss"]);
        attached.so_far().contains("usr")
    });
    attached.signal(Signal::TERM);
    assert_eq!(attached.finish().status, 143);
    // Not proxied: the client ends, the container goes on.
    lab.estiba(&["start", "ss"]).ok();
    let apart = lab.session(&["attach", "--sig-proxy=false", "ss"]);
    eventually("attached and ready", || {
        lab.estiba(&["kill", "-s", "USR1", "ss"]);
        apart.so_far().contains("usr")
    });
    apart.signal(Signal::TERM);
    apart.finish();
    assert!(running(&lab, "ss"));
    lab.estiba(&["kill", "ss"]).ok();
}

#[test]
fn input_ends_and_output_goes_on() {
    let lab = Lab::new();
    let script = "cat; echo after the end";
    let words = ["run", "-i", "--rm", "busybox", "sh", "-c", script];
    assert_eq!(lab.estiba_with(&words, b"in\n").ok(), "in\nafter the end");
    lab.estiba(&["create", "--name", "aa", "-i", "busybox", "sh", "-c", script]).ok();
    lab.estiba(&["start", "aa"]).ok();
    // Without its standard input, an attached client sees all and sends nothing.
    let mut silent = lab.session(&["attach", "--no-stdin", "aa"]);
    silent.send(b"not this\n");
    std::thread::sleep(std::time::Duration::from_millis(500));
    silent.close();
    let mut attached = lab.session(&["attach", "aa"]);
    attached.send(b"this\n");
    eventually("both see it", || attached.so_far() == "this\n" && silent.so_far() == "this\n");
    attached.close();
    assert_eq!(attached.finish().ok(), "this\nafter the end");
    assert_eq!(silent.finish().ok(), "this\nafter the end");
    // Started detached, the input belongs to no one client and outlives each.
    lab.estiba(&["run", "--name", "bb", "-id", "busybox", "sh", "-c", script]).ok();
    for line in ["one\n", "two\n"] {
        let mut attached = lab.session(&["attach", "bb"]);
        attached.send(line.as_bytes());
        eventually("it comes back", || attached.so_far().ends_with(line));
        attached.close();
        attached.signal(Signal::KILL);
        attached.finish();
    }
    assert!(running(&lab, "bb"));
    // Megabytes both ways, whole.
    let much: Vec<u8> = (0..300_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let back = lab.estiba_with(&["run", "-i", "--rm", "busybox", "cat"], &much);
    assert_eq!(back.ok().len() + 1, much.len());
    assert!(back.stdout.as_bytes() == much);
}

#[test]
fn a_client_that_never_reads_holds_up_nobody() {
    let lab = Lab::new();
    let script = "read go; seq 1 200000; echo done > /done; exec sleep 1000";
    lab.estiba(&["run", "-id", "--name", "ff", "busybox", "sh", "-c", script]).ok();
    let mut command = lab.client(&lab::binaries().join("estiba"));
    command.args(["attach", "ff"]).stdin(std::process::Stdio::null());
    let mut deaf = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut reader = lab.session(&["attach", "ff"]);
    reader.send(b"go\n");
    eventually("the program wrote all", || {
        lab.estiba(&["exec", "ff", "test", "-e", "/done"]).status == 0
    });
    eventually("the other client saw all", || reader.so_far().ends_with("\n200000\n"));
    eventually("so did the log", || lab.estiba(&["logs", "ff"]).stdout.ends_with("\n200000\n"));
    reader.signal(Signal::KILL);
    reader.finish();
    deaf.kill().unwrap();
    deaf.wait().unwrap();
}
