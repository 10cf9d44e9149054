//! A container's life through the command line: run, exit codes, logs, exec, stop, remove.

use lab::Lab;

#[test]
fn run_prints_and_hands_on_the_exit_code() {
    let lab = Lab::new();
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "hello"]).ok(), "hello");
    let failed = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", "exit 42"]);
    assert_eq!(failed.status, 42);
    lab.estiba(&["run", "--rm", "busybox", "no-such-command"])
        .fails(127, "executable file not found in $PATH");
    lab.estiba(&["run", "--rm", "busybox", "/etc"]).fails(126, "/etc");
    lab.estiba(&["run", "--rm", "no-such-image", "true"]).fails(125, "no-such-image");
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
}
