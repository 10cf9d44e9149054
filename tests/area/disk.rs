//! Full disks and long logs: an error with its cause, nothing half-made, everything else goes on.

use lab::{Lab, Setup, eventually};
use std::path::Path;

/// A daemon whose data root has this many mebibytes.
fn small(mib: u32) -> Lab {
    Lab::with(Setup { data_mib: Some(mib), ..Setup::default() })
}

/// A tar archive of one file that cannot be squeezed.
fn big_archive(lab: &Lab, mib: usize) -> std::path::PathBuf {
    let dir = lab.dir().join("big");
    std::fs::create_dir(&dir).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    let bytes: Vec<u8> = noise.take(mib << 17).flat_map(u64::to_le_bytes).collect();
    std::fs::write(dir.join("noise"), bytes).unwrap();
    let tar = lab.dir().join("big.tar");
    let mut command = std::process::Command::new("tar");
    command.arg("-C").arg(&dir).arg("-cf").arg(&tar).arg("noise");
    assert!(command.status().unwrap().success());
    tar
}

/// What lies in the data root, as the daemon sees it: paths with sizes.
fn listing(lab: &Lab) -> Vec<String> {
    let root = lab.data_root();
    let words = ["find", root.to_str().unwrap(), "-type", "f", "-size", "+64k", "-printf", "%P\n"];
    let found = lab.in_network(&words);
    let mut lines: Vec<String> = found.ok().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn an_import_too_big_says_why_and_leaves_nothing() {
    let lab = small(24);
    lab.estiba(&["run", "-d", "--name", "before", "busybox", "sleep", "1000"]).ok();
    let tar = big_archive(&lab, 40);
    let before = listing(&lab);
    for words in [
        &["import", tar.to_str().unwrap(), "big:1"][..],
        &["cp", lab.dir().join("big/noise").to_str().unwrap(), "before:/"],
    ] {
        let failed = lab.estiba(words);
        assert_ne!(failed.status, 0, "{words:?}");
        let said = failed.stderr.to_lowercase();
        assert!(said.contains("no space left"), "{words:?}: {failed:?}");
        if words[0] == "cp" {
            lab.estiba(&["exec", "before", "rm", "-f", "/noise"]).ok();
        }
        eventually("nothing half-made is left", || listing(&lab) == before);
    }
    assert_eq!(lab.estiba(&["images", "-q", "big"]).ok(), "");
    assert_eq!(lab.estiba(&["exec", "before", "echo", "still"]).ok(), "still");
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "alive"]).ok(), "alive");
}

#[test]
fn a_build_too_big_says_why_and_leaves_nothing() {
    let lab = small(24);
    lab.estiba(&["run", "-d", "--name", "before", "busybox", "sleep", "1000"]).ok();
    let archive = std::fs::read(big_archive(&lab, 40)).unwrap();
    let dir = lab.dir().join("big");
    let dockerfile = |text: &str| std::fs::write(dir.join("Dockerfile"), text).unwrap();
    let build = ["build", "-t", "big", dir.to_str().unwrap()];
    dockerfile("FROM busybox\nRUN echo first > /first\n");
    lab.estiba(&build).ok();
    let before = listing(&lab);
    let full = "FROM busybox\nRUN echo first > /first\n";
    let copying = format!("{full}COPY noise /noise\n");
    let running = format!("{full}RUN cat /dev/zero > /zero\n");
    let nowhere = &b""[..];
    for (text, words, input) in [
        (copying.as_str(), &build[..], nowhere),
        (running.as_str(), &build, nowhere),
        (copying.as_str(), &["build", "-"], &archive),
    ] {
        dockerfile(text);
        let failed = lab.estiba_with(words, input);
        assert_ne!(failed.status, 0, "{words:?}");
        let said = failed.stderr.to_lowercase();
        assert!(said.contains("no space left"), "{text:?}: {failed:?}");
        eventually("nothing half-made is left", || listing(&lab) == before);
    }
    // There is room again, and what was finished still is.
    dockerfile(&format!("{full}RUN echo second > /second\n"));
    let built = lab.estiba(&build);
    built.ok();
    assert!(built.stderr.contains("CACHED"), "{built:?}");
    assert_eq!(
        lab.estiba(&["run", "--rm", "big", "cat", "/first", "/second"]).ok(),
        "first\nsecond"
    );
    assert_eq!(lab.estiba(&["exec", "before", "echo", "still"]).ok(), "still");
}

#[test]
fn a_container_that_fills_the_disk_takes_nobody_along() {
    let mut lab = small(24);
    lab.estiba(&["run", "-d", "--name", "before", "busybox", "sleep", "1000"]).ok();
    let fill = "dd if=/dev/zero of=/fill bs=64k 2>/dev/null; echo full; exec sleep 1000";
    lab.estiba(&["run", "-d", "--name", "filler", "busybox", "sh", "-c", fill]).ok();
    eventually("the disk is full", || {
        let words = ["exec", "filler", "sh", "-c", "dd if=/dev/zero bs=64k count=16 >>/more"];
        lab.estiba(&words).stderr.contains("No space left")
    });
    assert_eq!(lab.estiba(&["exec", "before", "echo", "still"]).ok(), "still");
    let more = lab.estiba(&["run", "--rm", "busybox", "true"]);
    if more.status != 0 {
        assert!(more.stderr.to_lowercase().contains("no space left"), "{more:?}");
    }
    // Even a daemon that starts on a full disk finds its containers.
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Running}}", "before"]).ok(), "true");
    lab.estiba(&["stop", "-t", "0", "before"]).ok();
    lab.estiba(&["rm", "-f", "filler"]).ok();
    lab.estiba(&["start", "before"]).ok();
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "alive"]).ok(), "alive");
    assert_eq!(lab.estiba(&["exec", "before", "echo", "still"]).ok(), "still");
}

/// Bytes of all files below `dir` whose path speaks of logs.
fn log_bytes(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        if meta.is_dir() {
            bytes += log_bytes(&entry.path());
        } else if entry.file_name().to_string_lossy().contains("log") {
            bytes += meta.len();
        }
    }
    bytes
}

#[test]
fn thirty_megabytes_of_output_stay_bounded() {
    let lab = Lab::new();
    // What the image itself has by such names.
    let others = log_bytes(&lab.data_root());
    // 300,000 lines of 99 bytes.
    let script = "yes 123456789.123456789.123456789.123456789.123456789.123456789.123456789.\
                  123456789.123456789.12345678 | head -n 300000; echo the last";
    for (name, options, bound) in [
        ("plain", &[][..], 100 << 20),
        ("capped", &["--log-opt", "max-size=1m", "--log-opt", "max-file=2"], 2 << 20),
        ("single", &["--log-opt", "max-size=1m", "--log-opt", "max-file=1"], 2 << 20),
    ] {
        let words = [&["run", "--name", name][..], options, &["busybox", "sh", "-c", script]];
        lab.estiba(&words.concat()).ok();
        let bytes = log_bytes(&lab.data_root()) - others;
        assert!(bytes > 0 && bytes < bound + (1 << 16), "{name}: {bytes} bytes of logs");
        let tail = lab.estiba(&["logs", "--tail", "2", name]);
        assert!(tail.ok().ends_with("12345678\nthe last"), "{name}: {tail:?}");
        let all = lab.estiba(&["logs", name]);
        let lines: Vec<&str> = all.ok().lines().collect();
        assert!(lines.len() > 500, "{name}: {}", lines.len());
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.len() == 98), "{name}");
        lab.estiba(&["rm", name]).ok();
        assert_eq!(log_bytes(&lab.data_root()), others, "{name}: logs go with their container");
    }
}

#[test]
fn following_over_many_rotations_loses_nothing() {
    let lab = Lab::new();
    // Twenty files of 50 kB; a pause now and then lets the follower keep pace with two files.
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i of many that fill the files of \
                  the log; i=$((i+1)); [ $((i % 250)) != 0 ] || sleep 0.05; done";
    let run = ["run", "-d", "--name", "rr", "--log-opt", "max-size=100k"];
    let rest = ["--log-opt", "max-file=3", "busybox", "sh", "-c", script];
    lab.estiba(&[&run[..], &rest].concat()).ok();
    let followed = lab.estiba(&["logs", "-f", "rr"]);
    let mut expected = 0;
    for line in followed.ok().lines() {
        let number: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(number, expected, "a line is missing");
        expected += 1;
    }
    assert_eq!(expected, 20_000);
    let kept = lab.estiba(&["logs", "rr"]);
    let count = kept.ok().lines().count();
    assert!((500..19_000).contains(&count), "{count} lines are kept: it was rotated");
    assert!(kept.ok().ends_with("line 19999 of many that fill the files of the log"));
}
