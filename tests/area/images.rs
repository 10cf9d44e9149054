//! Images in and out: import, load, save, tag, history, rmi, and archives that lie.

use lab::{Lab, Setup, archive};
use std::process::Command;

#[test]
fn import_changes_history_and_run() {
    let lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let busybox = archive("busybox");
    let id = lab.estiba(&[
        "import",
        "-c",
        "CMD [\"echo\", \"imported\"]",
        "-c",
        "ENV A=b",
        "-c",
        "LABEL k=v",
        "-m",
        "from a test",
        &busybox.to_string_lossy(),
        "own:1",
    ]);
    assert!(id.ok().starts_with("sha256:"), "{id:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "own:1"]).ok(), "imported");
    assert_eq!(lab.estiba(&["run", "--rm", "own:1", "sh", "-c", "echo $A"]).ok(), "b");
    let format = "{{.Config.Labels.k}} {{.Os}}/{{.Architecture}} {{.Id}}";
    let seen = lab.estiba(&["image", "inspect", "-f", format, "own:1"]);
    assert_eq!(seen.ok(), format!("v linux/amd64 {}", id.ok()));
    assert!(lab.estiba(&["history", "own:1"]).ok().contains("from a test"));
    let listed = lab.estiba(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(listed.ok(), "own:1");
    let piped = std::fs::read(&busybox).unwrap();
    lab.estiba_with(&["import", "-", "piped"], &piped).ok();
    assert_eq!(lab.estiba(&["run", "--rm", "piped", "echo", "x"]).ok(), "x");
}

#[test]
fn save_and_load_bring_back_the_same_image() {
    let lab = Lab::new();
    lab.estiba(&["run", "--name", "cc", "busybox", "sh", "-c", "echo more > /more; rm /etc/group"])
        .ok();
    lab.estiba(&["commit", "-c", "CMD [\"cat\", \"/more\"]", "cc", "two:layers"]).ok();
    let file = lab.dir().join("saved.tar");
    let file = file.to_str().unwrap();
    lab.estiba(&["save", "-o", file, "two:layers", "busybox"]).ok();
    let id = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "two:layers"]).ok().to_owned();
    lab.estiba(&["rm", "cc"]).ok();
    lab.estiba(&["rmi", "two:layers", "busybox"]).ok();
    assert_eq!(lab.estiba(&["images", "-aq"]).ok(), "");
    assert!(lab.estiba(&["load", "-i", file]).ok().contains("Loaded image: two:layers"));
    assert_eq!(lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "two:layers"]).ok(), id);
    assert_eq!(lab.estiba(&["run", "--rm", "two:layers"]).ok(), "more");
    lab.estiba(&["run", "--rm", "two:layers", "test", "-e", "/etc/group"]).fails(1, "");
    let again = lab.dir().join("again.tar");
    lab.estiba(&["save", "-o", again.to_str().unwrap(), "two:layers"]).ok();
    let listing = Command::new("tar").arg("-tf").arg(&again).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    for want in ["manifest.json", "oci-layout", "index.json"] {
        assert!(listing.contains(want), "{want} in {listing}");
    }
    let mut gz = Command::new("gzip");
    assert!(gz.arg(&again).status().unwrap().success());
    lab.estiba(&["rmi", "two:layers"]).ok();
    lab.estiba(&["load", "-i", &format!("{}.gz", again.display())]).ok();
    assert_eq!(lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "two:layers"]).ok(), id);
}

#[test]
fn tags_conflicts_and_removal() {
    let lab = Lab::new();
    lab.estiba(&["tag", "busybox", "localhost:5000/a/b:c"]).ok();
    lab.estiba(&["tag", "busybox", "UPPER"]).fails(1, "invalid reference format");
    lab.estiba(&["tag", "nothing", "x"]).fails(1, "No such image: nothing");
    lab.estiba(&["create", "--name", "user", "busybox"]).ok();
    let id = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "busybox"]).ok().to_owned();
    lab.estiba(&["rmi", &id]).fails(1, "conflict");
    lab.estiba(&["rmi", "localhost:5000/a/b:c"]).ok();
    lab.estiba(&["rmi", "busybox"]).fails(1, "conflict");
    lab.estiba(&["rm", "user"]).ok();
    let gone = lab.estiba(&["rmi", "busybox"]);
    assert!(gone.ok().contains("Untagged: busybox:latest"), "{gone:?}");
    assert!(gone.ok().contains("Deleted: sha256:"), "{gone:?}");
    lab.estiba(&["rmi", "busybox"]).fails(1, "No such image");
    let layers = std::fs::read_dir(lab.data_root().join("layers")).into_iter().flatten().count();
    assert_eq!(layers, 0, "the layer's space came back");
}

#[test]
fn archives_that_lie_are_refused_and_leave_nothing() {
    let lab = Lab::new();
    let dir = lab.dir().join("evil");
    std::fs::create_dir(&dir).unwrap();
    let sentinel = lab.dir().join("sentinel");
    std::fs::write(&sentinel, "untouched").unwrap();
    let make = |name: &str, script: &str| {
        let out = dir.join(name);
        let mut python = Command::new("python3");
        python.arg("-c").arg(format!(
            "import tarfile, io, sys\nout = tarfile.open(sys.argv[1], 'w')\n\
             def add(name, data=b'', **more):\n    t = tarfile.TarInfo(name); \
             t.size = len(data)\n    \
             [setattr(t, k, v) for k, v in more.items()]; out.addfile(t, io.BytesIO(data))\n\
             {script}\nout.close()"
        ));
        assert!(python.arg(&out).status().unwrap().success(), "{name}");
        out.to_string_lossy().into_owned()
    };
    let target = sentinel.to_string_lossy().into_owned();
    let up = "../".repeat(20);
    let scripts = [
        ("dotdot", format!("add('{up}{target}', b'gone')")),
        ("absolute", format!("add('{target}', b'gone')")),
        (
            "link-then-write",
            format!(
                "add('l', type=tarfile.SYMTYPE, linkname='{}')\nadd('l/sentinel', b'gone')",
                lab.dir().display()
            ),
        ),
        (
            "hard-link-out",
            format!("add('h', type=tarfile.LNKTYPE, linkname='{up}{target}')\nadd('h', b'gone')"),
        ),
        ("whiteout-out", format!("add('{up}{}/.wh.sentinel')", lab.dir().display())),
    ];
    for (name, script) in &scripts {
        let file = make(name, script);
        let said = lab.estiba(&["import", &file, &format!("evil/{name}")]);
        assert!(said.status == 0 || !said.stderr.is_empty(), "{name}: {said:?}");
        assert_eq!(std::fs::read_to_string(&sentinel).unwrap(), "untouched", "{name}");
    }
    let busybox = std::fs::read(archive("busybox")).unwrap();
    lab.estiba_with(&["import", "-", "cut"], &busybox[..busybox.len() / 2]).fails(1, "");
    lab.estiba_with(&["load"], b"this is not a tar archive at all").fails(1, "");
    lab.estiba_with(&["load"], &busybox).fails(1, "manifest");
    assert_eq!(lab.estiba(&["images", "-q", "cut"]).ok(), "");
    assert_eq!(lab.half_made(), [""; 0], "half-made things were left");
}

#[test]
fn export_is_what_the_container_saw() {
    let lab = Lab::new();
    lab.estiba(&["run", "--name", "ee", "busybox", "sh", "-c", "echo x > /x; rm -r /var"]).ok();
    let out = lab.dir().join("e.tar");
    lab.estiba(&["export", "-o", out.to_str().unwrap(), "ee"]).ok();
    let listing = Command::new("tar").arg("-tf").arg(&out).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let names: Vec<&str> = listing.lines().map(|l| l.trim_start_matches("./")).collect();
    assert!(names.contains(&"x") && names.contains(&"bin/busybox"), "{listing}");
    assert!(!names.iter().any(|n| n.starts_with("var") || n.contains(".wh.")), "{listing}");
}

#[test]
fn images_tell_what_they_share() {
    let lab = Lab::new();
    for name in ["one", "two"] {
        let words = format!("head -c 100000 /dev/urandom > /{name}");
        lab.estiba(&["run", "--name", name, "busybox", "sh", "-c", &words]).ok();
        lab.estiba(&["commit", name, &format!("made/{name}")]).ok();
    }
    let socket = lab.socket();
    let sizes = |query: &str| -> Vec<(String, i64, i64)> {
        let url = format!("http://d/v1.51/images/json?{query}");
        let words = ["curl", "-sf", "--unix-socket", socket.to_str().unwrap(), &url];
        let answer = lab.in_network(&words);
        let images: Vec<serde_json::Value> = serde_json::from_str(answer.ok()).unwrap();
        let number = |image: &serde_json::Value, field: &str| image[field].as_i64().unwrap();
        let line = |image: &serde_json::Value| {
            let name = image["RepoTags"][0].as_str().unwrap().to_owned();
            (name, number(image, "Size"), number(image, "SharedSize"))
        };
        images.iter().map(line).collect()
    };
    let shares = sizes("shared-size=1");
    let of = |name: &str| shares.iter().find(|(tag, ..)| tag == name).unwrap().clone();
    let (_, base, all_of_it) = of("busybox:latest");
    assert_eq!(base, all_of_it, "{shares:?}");
    for name in ["made/one:latest", "made/two:latest"] {
        let (_, size, shared) = of(name);
        assert_eq!(shared, base, "{shares:?}");
        assert!(size - shared >= 100_000, "{shares:?}");
    }
    assert!(sizes("").iter().all(|(_, _, shared)| *shared == -1));
    // What is used is what only they have: the base goes with the last of them.
    lab.estiba(&["rmi", "-f", "made/one", "made/two"]);
    let table = lab.estiba(&["system", "df", "-v"]);
    let line = table.ok().lines().find(|line| line.starts_with("busybox")).unwrap().to_owned();
    assert!(line.contains(" 0B "), "nobody shares it any more: {line}");
}
