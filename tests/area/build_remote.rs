//! Builds by daemons elsewhere: everything goes over BuildKit's protocol, nothing by descriptor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, Setup, binaries, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Where the daemon of these tests listens besides its socket.
const ADDRESS: &str = "tcp://127.0.0.1:2375";

fn far() -> Lab {
    let arguments = ["--host", ADDRESS, "--allow-plain-tcp"].map(str::to_owned).to_vec();
    Lab::with(Setup { arguments, ..Setup::default() })
}

#[test]
fn a_remote_daemon_builds_all_that_a_local_one_does() {
    let lab = far();
    let dockerfile = "FROM busybox AS b\nCOPY --from=more x /x\nCOPY dir /dir\nARG WHO\n\
        RUN --mount=type=secret,id=word test \"$(cat /run/secrets/word)\" = canary-word && \
        echo \"$WHO\" > /who && chmod 4755 /who && ln -s who /link\n\
        FROM scratch\nCOPY --from=b /x /who /link /\nCOPY --from=b /dir /dir\n";
    let files = [
        ("elsewhere/D", dockerfile),
        (".dockerignore", "**/*.log\n"),
        ("dir/deep/kept", "kept\n"),
        ("dir/deep/left.log", "left\n"),
    ];
    let dir = lab.context(&files);
    let more = lab.context(&[("x", "of the other context\n")]);
    let (file, word) = (dir.join("elsewhere/D"), lab.dir().join("word"));
    fs::write(&word, "canary-word").unwrap();
    let out = lab.dir().join("out");
    let metadata = lab.dir().join("metadata");
    let (secret, named) = (format!("id=word,src={}", text(&word)), format!("more={}", text(&more)));
    let options = ["-f", text(&file), "--secret", &secret, "--build-context", &named];
    let rest = ["--build-arg=WHO=me", "--metadata-file", text(&metadata), text(&dir)];
    let build = |more: &[&str]| remote(&lab, &[&["build"], &options[..], more, &rest].concat());
    let built = build(&["-o", text(&out)]);
    assert_eq!(built.status, 0, "{built:?}");
    assert_eq!(fs::read_to_string(out.join("x")).unwrap(), "of the other context\n");
    assert_eq!(fs::read_to_string(out.join("link")).unwrap(), "me\n");
    let mode = fs::metadata(out.join("who")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o4755);
    assert!(out.join("dir/deep/kept").exists() && !out.join("dir/deep/left.log").exists());
    assert!(fs::read_to_string(&metadata).unwrap().contains("buildx.build.ref"));
    assert!(!lab.daemon_log().contains("canary-word"));
    // The second time all is known.
    let again = build(&["-t", "far"]);
    assert!(again.stderr.matches("CACHED").count() >= 5, "{again:?}");
    let tar = lab.dir().join("far.tar");
    let place = format!("type=tar,dest={}", text(&tar));
    assert_eq!(build(&["-o", &place]).status, 0);
    let listed = lab.in_network(&["tar", "-tf", text(&tar)]);
    assert!(listed.ok().contains("dir/deep/kept"), "{listed:?}");
    // A failure shows its lines and last words.
    fs::write(&file, "FROM busybox\nRUN echo last-words && exit 7\n").unwrap();
    let failed = build(&[]);
    failed.fails(1, "exit code: 7");
    for words in ["last-words", ">>> RUN echo last-words", " > [2/2]"] {
        assert!(failed.stderr.contains(words), "{words:?} in {failed:?}");
    }
    let checked = remote(&lab, &["build", "--call=targets", "-f", text(&file), text(&dir)]);
    assert!(checked.ok().contains("(default)"), "{checked:?}");
}

/// The command line on a daemon's TCP port, in the lab's network.
fn remote(lab: &Lab, words: &[&str]) -> Output {
    let program = binaries().join("estiba");
    let home = format!("HOME={}", lab.dir().display());
    let begin = ["env", &home, text(&program), "-H", ADDRESS];
    lab.in_network(&[&begin[..], words].concat())
}

/// Caches and layouts of the client's own directories travel as content, digest by digest.
#[test]
fn layouts_of_the_client_go_over_the_session() {
    let lab = far();
    let dockerfile = "FROM busybox\nCOPY f /f\nRUN echo made > /made\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("f", "f\n")]);
    let (cache, layout) = (lab.dir().join("cache"), lab.dir().join("layout"));
    let to = format!("type=local,dest={},mode=max", text(&cache));
    let out = format!("type=oci,tar=false,dest={},name=made:one", text(&layout));
    let first = remote(&lab, &["build", "--cache-to", &to, "-o", &out, text(&dir)]);
    assert_eq!(first.status, 0, "{first:?}");
    for place in [&cache, &layout] {
        let index = fs::read_to_string(place.join("index.json")).unwrap();
        assert!(index.contains("sha256:"), "{index}");
        assert!(place.join("oci-layout").exists());
        for blob in fs::read_dir(place.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            let name = blob.file_name().into_string().unwrap();
            let sum = lab.in_network(&["sha256sum", text(&blob.path())]);
            assert!(sum.ok().starts_with(&name), "{name}: {sum:?}");
        }
    }
    let index = fs::read_to_string(layout.join("index.json")).unwrap();
    assert!(index.contains("docker.io/library/made:one"), "{index}");
    // A node that has forgotten the steps takes them from the client's cache.
    lab.estiba(&["builder", "prune", "-af"]).ok();
    let from = format!("type=local,src={}", text(&cache));
    let again = remote(&lab, &["build", "--cache-from", &from, "-t", "again", text(&dir)]);
    assert!(again.stderr.matches("CACHED").count() >= 2, "{again:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "again", "cat", "/made", "/f"]).ok(), "made\nf");
    // And an image from the client's layout.
    let user = lab.dockerfile("FROM base\nRUN cat /made > /seen\n");
    let base = format!("base=oci-layout://{}:one", text(&layout));
    let built = remote(&lab, &["build", "--build-context", &base, "-t", "user", text(&user)]);
    assert_eq!(built.status, 0, "{built:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "user", "cat", "/seen"]).ok(), "made");
}

/// An archive on standard input is pulled through the session, so that everything else of a build
/// goes along with it.
#[test]
fn archives_on_standard_input_go_with_secrets_and_outputs() {
    let lab = far();
    let dockerfile = "FROM busybox AS b\n\
        RUN --mount=type=secret,id=word test \"$(cat /run/secrets/word)\" = canary && touch /ok\n\
        FROM scratch\nCOPY --from=b /ok /\nCOPY f /\n";
    let dir = lab.context(&[("sub/D", dockerfile), ("f", "f\n")]);
    let word = lab.dir().join("word");
    fs::write(&word, "canary").unwrap();
    let packed = lab.dir().join("c.tar.gz");
    lab.in_network(&["tar", "-C", text(&dir), "-czf", text(&packed), "."]).ok();
    let archive = fs::read(&packed).unwrap();
    let secret = format!("id=word,src={}", text(&word));
    for (number, host) in [ADDRESS, ""].into_iter().enumerate() {
        let out = lab.dir().join(format!("out-{number}"));
        let words = ["build", "-f", "sub/D", "--secret", &secret, "-o", text(&out), "-"];
        let built = match host {
            "" => lab.estiba_with(&words, &archive),
            _ => {
                let script = format!("exec \"$@\" < {}", text(&packed));
                let program = binaries().join("estiba");
                let begin = ["sh", "-c", &script, "-", text(&program), "-H", host];
                lab.in_network(&[&begin[..], &words].concat())
            }
        };
        assert_eq!(built.status, 0, "{built:?}");
        assert_eq!(fs::read_to_string(out.join("f")).unwrap(), "f\n");
        assert!(out.join("ok").exists());
    }
}
