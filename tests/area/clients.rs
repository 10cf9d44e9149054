//! Other people's clients against this daemon: the stock docker command line and docker-py. Each
//! test says so and passes where the client cannot be had.

use lab::{Lab, eventually};
use std::path::PathBuf;
use std::process::Command;

macro_rules! docker {
    ($lab:expr, $($word:expr),+) => {
        match $lab.docker(&[$($word),+]) {
            Some(output) => output,
            None => {
                eprintln!("skipped: no docker command line here");
                return;
            }
        }
    };
}

#[test]
fn the_stock_command_line_runs_the_same_commands() {
    let lab = Lab::new();
    assert_eq!(docker!(lab, "run", "--rm", "busybox", "echo", "hi").ok(), "hi");
    assert_eq!(docker!(lab, "run", "--rm", "busybox", "sh", "-c", "exit 9").status, 9);
    docker!(lab, "run", "--rm", "busybox", "nothing-there").fails(127, "not found");
    docker!(
        lab,
        "run",
        "-d",
        "--name",
        "dd",
        "-p",
        "127.0.0.1:18090:80",
        "-m",
        "64m",
        "busybox",
        "sh",
        "-c",
        "echo started; exec sleep 1000"
    )
    .ok();
    eventually("it logs", || lab.docker(&["logs", "dd"]).unwrap().stdout == "started\n");
    assert_eq!(docker!(lab, "exec", "dd", "hostname").ok().len(), 12);
    assert!(docker!(lab, "ps").ok().contains("127.0.0.1:18090->80/tcp"));
    assert!(docker!(lab, "top", "dd").ok().contains("sleep 1000"));
    let stats = docker!(lab, "stats", "--no-stream", "dd");
    assert!(stats.ok().contains("64MiB"), "{stats:?}");
    docker!(lab, "pause", "dd").ok();
    docker!(lab, "unpause", "dd").ok();
    docker!(lab, "update", "--restart", "no", "dd").ok();
    docker!(lab, "rename", "dd", "ee").ok();
    docker!(lab, "stop", "-t", "0", "ee").ok();
    docker!(lab, "start", "ee").ok();
    docker!(lab, "kill", "ee").ok();
    assert_eq!(docker!(lab, "wait", "ee").ok(), "137");
    docker!(lab, "diff", "ee").ok();
    docker!(lab, "rm", "ee").ok();
    assert!(docker!(lab, "images").ok().contains("busybox"));
    assert!(docker!(lab, "history", "busybox").ok().contains("IMAGE"));
    docker!(lab, "network", "create", "n").ok();
    docker!(lab, "run", "--rm", "--network", "n", "busybox", "true").ok();
    docker!(lab, "network", "inspect", "n").ok();
    docker!(lab, "network", "rm", "n").ok();
    docker!(lab, "volume", "create", "vv").ok();
    docker!(lab, "run", "--rm", "-v", "vv:/v", "busybox", "touch", "/v/x").ok();
    docker!(lab, "volume", "rm", "vv").ok();
    docker!(lab, "info").ok();
    docker!(lab, "version").ok();
    docker!(lab, "system", "df").ok();
    let file = lab.dir().join("s.tar");
    docker!(lab, "save", "-o", file.to_str().unwrap(), "busybox").ok();
    docker!(lab, "load", "-i", file.to_str().unwrap()).ok();
}

/// A client asks for the exit code as soon as its stream ends; the daemon must know it by then.
#[test]
fn an_execs_exit_code_is_known_when_its_stream_ends() {
    let lab = Lab::new();
    docker!(lab, "run", "-d", "--name", "busy", "busybox", "sleep", "1000").ok();
    for round in 0..40 {
        let exec = docker!(lab, "exec", "busy", "sh", "-c", "echo x; exit 3");
        assert_eq!(exec.status, 3, "round {round}: {exec:?}");
    }
}

#[test]
fn both_command_lines_print_the_same() {
    let lab = Lab::new();
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "same",
        "-p",
        "127.0.0.1:18091:80",
        "-l",
        "k=v",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    lab.estiba(&["create", "--name", "made", "busybox", "a", "long command", "with 'quotes'"]).ok();
    for words in [
        &["ps", "-a"][..],
        &["ps", "-aq", "--no-trunc"],
        &["ps", "-a", "--format", "{{.Names}}|{{.Image}}|{{.Command}}|{{.Ports}}|{{.Labels}}"],
        &["ps", "-a", "--filter", "status=created", "--format", "json"],
        &["images"],
        &["images", "--digests", "--no-trunc"],
        &["inspect", "same"],
        &["inspect", "-f", "{{json .HostConfig}}", "same"],
        &["image", "inspect", "busybox"],
        &["network", "ls"],
        &["network", "inspect", "bridge"],
        &["volume", "ls"],
        &["port", "same"],
        &["logs", "same"],
        &["history", "busybox"],
        &["diff", "same"],
        &["inspect", "not-there"],
        &["rm", "not-there"],
        &["start", "not-there"],
        &["exec", "made", "true"],
        &["run", "--bad-flag", "busybox"],
        &["ps", "--help"],
        &["run", "--help"],
        &["nonsense"],
    ] {
        docker!(lab, "ps", "-q").ok();
        let program = lab.dir().join("docker");
        if !program.exists() {
            std::os::unix::fs::symlink(lab::binaries().join("estiba"), &program).unwrap();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ask = || {
            let theirs = lab.docker(words).unwrap();
            let ours = lab.client(&program).args(words).output().unwrap();
            let own = (text(&ours.stdout), text(&ours.stderr), ours.status.code());
            (own, (theirs.stdout, theirs.stderr, Some(theirs.status)))
        };
        // Ages are told in seconds, of which one may pass in between.
        let mut answers = ask();
        for _ in 0..5 {
            if answers.0 == answers.1 {
                break;
            }
            answers = ask();
        }
        assert_eq!(answers.0, answers.1, "standard output, error and status of {words:?}");
    }
}

/// A virtual environment with docker-py, made once for all runs.
fn docker_py() -> Option<PathBuf> {
    let venv = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/docker-py"));
    let python = venv.join("bin/python");
    let has = |python: &PathBuf| {
        Command::new(python).args(["-c", "import docker"]).status().is_ok_and(|s| s.success())
    };
    if !has(&python) {
        Command::new("python3").args(["-m", "venv"]).arg(&venv).status().ok()?;
        let pip = ["-m", "pip", "install", "-q", "docker==7.1.0"];
        Command::new(&python).args(pip).status().ok()?;
    }
    has(&python).then_some(python)
}

#[test]
fn docker_py_drives_a_container() {
    let Some(python) = docker_py() else {
        eprintln!("skipped: docker-py cannot be installed here");
        return;
    };
    let lab = Lab::new();
    let script = r#"
import docker, io, tarfile
d = docker.from_env()
assert d.ping()
assert d.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
try:
    d.containers.run("busybox", "sh -c 'echo no >&2; exit 3'", remove=True)
    raise SystemExit("no error")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and b"no" in error.stderr, error
c = d.containers.run("busybox", "sleep 1000", detach=True, name="py", labels={"a": "b"},
                     mem_limit="64m", environment={"X": "y"}, ports={"80/tcp": ("127.0.0.1", None)})
assert c.status == "created" and d.containers.get("py").status == "running"
assert c.exec_run("sh -c 'echo $X'").output == b"y\n"
assert c.exec_run("false").exit_code == 1
code, out = c.exec_run("sh -c 'echo o; echo e >&2'", demux=True)
assert out == (b"o\n", b"e\n"), out
c.reload()
assert c.attrs["HostConfig"]["Memory"] == 64 << 20 and c.ports["80/tcp"][0]["HostPort"]
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as t:
    info = tarfile.TarInfo("put"); info.size = 4; t.addfile(info, io.BytesIO(b"data"))
assert c.put_archive("/tmp", tar.getvalue())
assert c.exec_run("cat /tmp/put").output == b"data"
bits, stat = c.get_archive("/tmp/put")
assert stat["size"] == 4 and b"data" in b"".join(bits)
stats = c.stats(stream=False)
assert stats["memory_stats"]["limit"] == 64 << 20 and stats["pids_stats"]["current"] >= 1
assert c.top()["Processes"][0][-1] == "sleep 1000"
c.pause(); c.reload(); assert c.status == "paused"; c.unpause()
c.rename("python"); c.reload(); assert c.name == "python"
assert [x.name for x in d.containers.list(filters={"label": "a=b"})] == ["python"]
c.stop(timeout=0); assert c.wait()["StatusCode"] == 137
c.remove()
n = d.networks.create("pynet", driver="bridge"); assert n.name == "pynet"; n.remove()
v = d.volumes.create("pyvol"); assert v.name == "pyvol"; v.remove()
i = d.images.get("busybox"); assert "busybox:latest" in i.tags
assert i.tag("renamed", "x"); d.images.remove("renamed:x")
try:
    d.containers.get("nobody"); raise SystemExit("found nobody")
except docker.errors.NotFound: pass
try:
    d.images.get("nothing"); raise SystemExit("found nothing")
except docker.errors.ImageNotFound: pass
print("fine")
"#;
    let output = lab.client(&python).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fine\n", "{output:?}");
}
