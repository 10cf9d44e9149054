//! Both ways to an overlay, on the running kernel: the older one has to go on working.

use super::*;
use std::fs;

fn make(dir: &Path) {
    for name in ["top", "bottom", "upper", "work"] {
        fs::create_dir(dir.join(name)).expect("directory");
    }
    fs::write(dir.join("top/which"), "top").expect("file");
    fs::write(dir.join("bottom/which"), "bottom").expect("file");
    fs::write(dir.join("bottom/only"), "bottom").expect("file");
}

fn layers(dir: &Path, volatile: bool) -> Layers {
    let open = |path: &Path| layer(path, None).expect("layer");
    let writable = open(dir);
    let below = |name: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&writable, name, flags, Mode::empty()).expect("directory")
    };
    let above = Above {
        volatile,
        upper: below("upper"),
        work: below("work"),
        upper_name: "upper".into(),
        work_name: "work".into(),
        writable,
    };
    let lower = vec![open(&dir.join("top")), open(&dir.join("bottom"))];
    Layers { lower, above: Some(above), context: None }
}

fn check(mount: impl FnOnce(&Layers, &Path) -> Result<OwnedFd, Errno>) {
    let table = || fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let (dir, before) = (tempfile::tempdir().expect("directory"), table());
    let place = dir.path().join("place");
    fs::create_dir(&place).expect("directory");
    make(dir.path());
    let overlay = mount(&layers(dir.path(), false), &place).expect("overlay");
    let root = sys::Root::from(overlay);
    let read = |name: &str| root.read(Path::new(name), 100).expect(name);
    assert_eq!((read("which"), read("only")), (b"top".to_vec(), b"bottom".to_vec()));
    let flags = OFlags::WRONLY | OFlags::CREATE;
    root.openat(Path::new("new"), flags, Mode::from_raw_mode(0o644)).expect("write");
    assert!(dir.path().join("upper/new").exists());
    assert_eq!(table(), before, "something is mounted on the host");
    assert_eq!(fs::read_dir(&place).expect("place").count(), 0);
}

#[test]
fn layers_are_given_as_descriptors() {
    check(|layers, _| by_descriptor(layers));
}

#[test]
fn layers_are_given_by_name_where_the_kernel_wants_it() {
    check(|layers, place| made_by_child(|| by_path(layers, place)));
}

#[test]
fn what_was_volatile_is_mounted_again() {
    let dir = tempfile::tempdir().expect("directory");
    make(dir.path());
    let (place, work) = (dir.path().join("place"), dir.path().join("work"));
    fs::create_dir(&place).expect("directory");
    let by_path = |layers: &Layers| made_by_child(|| by_path(layers, &place));
    for mount in [&by_descriptor as &dyn Fn(&Layers) -> _, &by_path] {
        drop(mount(&layers(dir.path(), true)).expect("overlay"));
        assert!(mount(&layers(dir.path(), true)).is_err(), "the kernel does not mind any more");
        forget_volatile(&work).expect("forget");
        drop(mount(&layers(dir.path(), false)).expect("overlay"));
        forget_volatile(&work).expect("forget nothing");
    }
}

#[test]
fn what_two_paths_share_is_found() {
    for (a, b, expect) in [("/x/u", "/x/w", "/x"), ("/x/a/u", "/x/b/w", "/x"), ("/u", "/w", "/")] {
        assert_eq!(common(Path::new(a), Path::new(b)), Path::new(expect));
    }
}
