//! Races for what walks through a container's files from outside: a container exchanges a directory
//! with a link to the host's, a hundred thousand times, while it is exported, committed, and while
//! another image fills the volume that it shares. (Laws A1, A6.)

use lab::{Lab, Sentinel};
use std::path::Path;
use std::process::Command;

/// How often names are exchanged at least.
const SWAPS: u64 = 100_000;

/// How often what is raced against happens at least.
const ROUNDS: u32 = 10;

/// More than any machine needs for so many exchanges.
const MOST_ROUNDS: u32 = 5000;

/// Starts a container by `script`, in which `/swapper` is the program that exchanges names.
fn swapping(lab: &Lab, options: &[&str], script: &str) {
    let program = concat!(env!("CARGO_BIN_EXE_test-swapper"), ":/swapper:ro");
    let counts = lab.dir().join("counts");
    std::fs::create_dir_all(&counts).unwrap();
    let counts = format!("{}:/counts", counts.display());
    let words = ["run", "-d", "--name", "race", "-v", program, "-v", &counts];
    lab.estiba(&[&words[..], options, &["busybox", "sh", "-c", script]].concat()).ok();
}

/// Calls `act` until there were enough exchanges.
fn race(lab: &Lab, mut act: impl FnMut(u32)) {
    let swaps = || match std::fs::metadata(lab.dir().join("counts/swaps")) {
        Ok(counts) => counts.len() * 1000,
        Err(_) => 0,
    };
    for round in 0..MOST_ROUNDS {
        act(round);
        if round >= ROUNDS && swaps() >= SWAPS {
            return;
        }
    }
    panic!("only {} exchanges were raced against", swaps());
}

/// `/tree/place` is a directory with files, or a link to the sentinels.
fn tree(host: &str) -> String {
    format!(
        "mkdir -p /tree/place/sub; for n in $(seq 50); do echo inner >/tree/place/file$n; done
         echo inner >/tree/place/file; echo inner >/tree/place/sub/deep; ln -s {host} /tree/link
         exec /swapper /counts/swaps /tree/place /tree/link"
    )
}

fn has_no_secret(archive: &Path) {
    let bytes = std::fs::read(archive).unwrap();
    let found = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    let found = found(b"host secret") || found(b"deep secret");
    assert!(!found, "{} has the host's files", archive.display());
}

#[test]
fn an_export_never_follows_a_link_out_of_the_container() {
    let lab = Lab::new();
    let host = Sentinel::new(&lab);
    swapping(&lab, &[], &tree(host.path()));
    let out = lab.dir().join("out.tar");
    race(&lab, |_| {
        // It may find that a directory is gone, and say so.
        let words = ["export", "-o", out.to_str().unwrap(), "race"];
        if lab.estiba(&words).status == 0 {
            has_no_secret(&out);
        }
        let _ = std::fs::remove_file(&out);
        host.unchanged("an export in a race");
    });
}

#[test]
fn a_commit_never_follows_a_link_out_of_the_container() {
    let lab = Lab::new();
    let host = Sentinel::new(&lab);
    swapping(&lab, &[], &tree(host.path()));
    let out = lab.dir().join("out.tar");
    race(&lab, |_| {
        if lab.estiba(&["commit", "--pause=false", "race", "raced"]).status != 0 {
            return;
        }
        // Layers of a saved image are not compressed.
        lab.estiba(&["save", "-o", out.to_str().unwrap(), "raced"]).ok();
        has_no_secret(&out);
        lab.estiba(&["rmi", "raced"]).ok();
        let _ = std::fs::remove_file(&out);
        host.unchanged("a commit in a race");
    });
}

#[test]
fn a_volume_is_never_filled_outside_of_itself() {
    let lab = Lab::new();
    let host = Sentinel::new(&lab);
    // An image whose files would become the host's, were a link followed.
    let root = lab.dir().join("evil");
    for n in 0..50 {
        let dir = root.join(format!("data/place/sub/{n}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("evil"), "evil").unwrap();
    }
    for name in ["file", "sub/deep", "hosts", "evil"] {
        std::fs::write(root.join("data/place").join(name), "evil").unwrap();
    }
    let archive = lab.dir().join("evil.tar");
    let mut tar = Command::new("tar");
    assert!(tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status().unwrap().success());
    lab.estiba(&["import", archive.to_str().unwrap(), "evil"]).ok();
    lab.estiba(&["volume", "create", "vol"]).ok();
    let data = lab.estiba(&["volume", "inspect", "-f", "{{.Mountpoint}}", "vol"]).ok().to_owned();
    let data = Path::new(&data);
    let fill = |name: &str| {
        let made = lab.estiba(&["create", "--name", name, "-v", "vol:/data", "evil", "none"]);
        lab.estiba(&["rm", "-f", name]);
        made
    };
    fill("first").ok();
    assert!(data.join("place/evil").exists(), "where nobody interferes, it is filled");
    // It is empty again whenever it is filled: its files go as soon as they are there.
    let (above, name) = (data.parent().unwrap(), data.file_name().unwrap().to_str().unwrap());
    let script = format!(
        "mkdir /vol/aside; ln -s {} /vol/aside/link
         /swapper /counts/swaps /vol/{name}/place /vol/aside/link &
         while :; do rm -rf /vol/{name}/*; done",
        host.path()
    );
    swapping(&lab, &["-v", &format!("{}:/vol", above.display())], &script);
    race(&lab, |round| {
        // What it finds may be gone before it is written; then there is no container.
        fill(&format!("filled{round}"));
        host.unchanged("the filling of a volume in a race");
    });
}
