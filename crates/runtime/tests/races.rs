//! Names that change while a container is made: a hundred thousand exchanges of a directory with a
//! link that leads elsewhere, in a directory that the container shares (laws A1, A2, A3, B1, B5).

mod lab;

use lab::{Lab, bind};
use rustix::fs::{CWD, RenameFlags};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wire::oci::runtime::Mount;

/// How often names are exchanged at least.
const SWAPS: u64 = 100_000;
/// How many containers are made at least meanwhile.
const RUNS: u32 = 25;

/// Exchanges `real` and `link` of `dir` all the time while `run` is called again and again.
fn race(dir: &Path, run: impl FnMut()) {
    race_of(&dir.join("real"), &dir.join("link"), run);
}

/// As [`race`], of any two names.
fn race_of(real: &Path, link: &Path, mut run: impl FnMut()) {
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let flags = RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, real, CWD, link, flags).expect("exchange");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut runs = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while runs < RUNS || swaps.load(Ordering::Relaxed) < SWAPS {
                run();
                runs += 1;
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

fn shared(lab: &Lab, link_to: &str) -> std::path::PathBuf {
    let dir = lab.path("shared");
    fs::create_dir_all(dir.join("real")).expect("directory");
    symlink(link_to, dir.join("link")).expect("link");
    dir
}

fn tmpfs(destination: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: "tmpfs".into(),
        source: "raced".into(),
        ..Mount::default()
    }
}

/// Where the raced mount is, by the container's own table.
fn place(mounts: &str) -> Option<&str> {
    let line = mounts.lines().find(|line| line.contains(" - tmpfs raced "))?;
    line.split(' ').nth(4)
}

#[test]
fn mount_points_never_lead_into_the_containers_proc() {
    let mut lab = Lab::new(&["cat", "/proc/self/mountinfo"]);
    let dir = shared(&lab, "/proc");
    lab.mounts().push(bind(&dir, "/vol", "rbind"));
    lab.mounts().push(tmpfs("/vol/real"));
    race(&dir, || match lab.try_run() {
        Ok(done) => {
            let at = place(&done.stdout).unwrap_or_else(|| panic!("{done:?}"));
            // Its name goes with the directory that it lies on.
            assert!(["/vol/real", "/vol/link"].contains(&at), "{at}");
        }
        Err(error) => assert!(error.to_string().contains("mount at /vol/real"), "{error}"),
    });
}

#[test]
fn mount_points_never_lead_out_of_the_root() {
    let mut lab = Lab::new(&["cat", "/proc/self/mountinfo"]);
    let outside = lab.path("outside");
    fs::create_dir(&outside).expect("directory");
    let dir = shared(&lab, outside.to_str().expect("utf-8"));
    lab.mounts().push(bind(&dir, "/vol", "rbind"));
    lab.mounts().push(tmpfs("/vol/real/below"));
    race(&dir, || {
        if let Ok(done) = lab.try_run() {
            assert!(place(&done.stdout).is_some(), "{done:?}");
        }
    });
    // What is made on the way is made inside: the link is read by the container's root.
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn subpaths_never_show_what_lies_outside_of_their_volume() {
    let mut lab = Lab::new(&["ls", "/data"]);
    let outside = lab.path("outside");
    fs::create_dir(&outside).expect("directory");
    fs::write(outside.join("secret"), "").expect("file");
    let dir = shared(&lab, "../outside");
    fs::write(dir.join("real/inside"), "").expect("file");
    lab.mounts().push(bind(&dir, "/data", "rbind,x-estiba.subpath=real"));
    let mut shown = 0;
    race(&dir, || match lab.try_run() {
        Ok(done) => {
            assert_eq!(done.stdout, "inside\n", "{done:?}");
            shown += 1;
        }
        Err(error) => assert!(error.to_string().contains("leads out of"), "{error}"),
    });
    assert!(shown > 0, "it is there half of the time");
}

#[test]
fn working_directories_never_lead_out_of_the_root() {
    // Descriptors of the runtime are reached by such a link until they are closed (CVE-2024-21626).
    for target in ["/proc/self/fd/3", "/proc/self/fd/5/../../.."] {
        let mut lab = Lab::new(&["readlink", "/proc/self/cwd"]);
        let dir = shared(&lab, target);
        lab.mounts().push(bind(&dir, "/vol", "rbind"));
        lab.process().cwd = "/vol/real".into();
        race(&dir, || match lab.try_run() {
            Ok(done) => {
                let at = done.stdout.trim();
                assert!(["/vol/real", "/vol/link"].contains(&at), "{done:?}");
            }
            Err(error) => assert!(error.exit_code() >= 125, "{error}"),
        });
    }
}

#[test]
fn users_are_never_read_outside_of_the_image() {
    let mut lab = Lab::new(&["id", "-u"]);
    lab.launch.user = Some("daemon".into());
    let outside = lab.path("outside");
    fs::write(&outside, "daemon:x:0:0::/:\n").expect("file");
    let (passwd, link) = (lab.path("lower/etc/passwd"), lab.path("lower/etc/link"));
    fs::write(&passwd, "daemon:x:41:41::/:\n").expect("file");
    symlink(&outside, &link).expect("link");
    let mut read = 0;
    race_of(&passwd, &link, || match lab.try_run() {
        Ok(done) => {
            assert_eq!(done.stdout, "41\n", "{done:?}");
            read += 1;
        }
        Err(error) => assert!(error.to_string().contains("user"), "{error}"),
    });
    assert!(read > 0, "it is there half of the time");
}
