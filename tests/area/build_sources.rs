//! Contexts and files from elsewhere: git repositories with submodules, archives and lone
//! Dockerfiles over HTTP, and addresses that are traps (law A7).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, Server, text};
use std::path::{Path, PathBuf};

fn git(lab: &Lab, dir: &Path, words: &[&str]) -> String {
    let settings = [
        "git",
        "-C",
        text(dir),
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "protocol.file.allow=always",
        "-c",
        "init.defaultBranch=main",
    ];
    lab.in_network(&[&settings[..], words].concat()).ok().trim().to_owned()
}

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A repository with a Dockerfile, another one in a directory, a tag, and a submodule.
fn repositories(lab: &Lab) -> (PathBuf, String) {
    let home = lab.dir().join("git");
    let (library, app) = (home.join("lib"), home.join("app"));
    write(&library.join("inner"), "from the submodule\n");
    git(lab, &library, &["init", "-q"]);
    git(lab, &library, &["add", "."]);
    git(lab, &library, &["commit", "-qm", "one"]);
    let dockerfile = "FROM busybox\nCOPY . /src\n";
    write(&app.join("Dockerfile"), dockerfile);
    write(&app.join("version"), "1\n");
    write(&app.join("sub/Dockerfile"), "FROM busybox\nCOPY only /only\n");
    write(&app.join("sub/only"), "in the directory\n");
    git(lab, &app, &["init", "-q"]);
    git(lab, &app, &["submodule", "--quiet", "add", text(&library), "lib"]);
    git(lab, &app, &["config", "-f", ".gitmodules", "submodule.lib.url", "git://127.0.0.1/lib"]);
    git(lab, &app, &["add", "."]);
    git(lab, &app, &["commit", "-qm", "one"]);
    git(lab, &app, &["tag", "v1"]);
    let first = git(lab, &app, &["rev-parse", "HEAD"]);
    write(&app.join("version"), "2\n");
    git(lab, &app, &["commit", "-qam", "two"]);
    (home, first)
}

/// Serves the repositories over git's own protocol. Not by `git daemon`: that is a process which
/// waits for this one, and would leave it behind when killed.
fn serve(lab: &Lab, home: &Path) -> Server {
    let base = format!("--base-path={}", text(home));
    let program = "/usr/lib/git-core/git-daemon";
    let words = [program, "--export-all", "--listen=127.0.0.1", "--reuseaddr", &base, text(home)];
    Server::start(lab, &words, &["git", "ls-remote", "git://127.0.0.1/app"])
}

/// Serves files over HTTP.
fn serve_files(lab: &Lab, home: &Path) -> Server {
    std::fs::create_dir_all(home).unwrap();
    write(&home.join("there"), "");
    let words = ["python3", "-m", "http.server", "-d", text(home), "-b", "127.0.0.1", "8000"];
    let probe = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8000/there"];
    Server::start(lab, &words, &probe)
}

fn build(lab: &Lab, words: &[&str]) -> Output {
    lab.estiba(&[&["build", "--progress=plain"], words].concat())
}

fn show(lab: &Lab, image: &str, command: &str) -> String {
    lab.estiba(&["run", "--rm", image, "sh", "-c", command]).ok().to_owned()
}

#[test]
fn repositories_are_contexts() {
    let lab = Lab::new();
    let (home, first) = repositories(&lab);
    let _server = serve(&lab, &home);
    build(&lab, &["-t", "head", "git://127.0.0.1/app"]).ok();
    let shown = show(&lab, "head", "cd /src; cat version lib/inner; test ! -e .git && echo bare");
    assert_eq!(shown, "2\nfrom the submodule\nbare");
    build(&lab, &["-t", "tag", "git://127.0.0.1/app#v1"]).ok();
    assert_eq!(show(&lab, "tag", "cat /src/version"), "1");
    build(&lab, &["-t", "commit", &format!("git://127.0.0.1/app#{first}")]).ok();
    assert_eq!(show(&lab, "commit", "cat /src/version"), "1");
    build(&lab, &["-t", "sub", "git://127.0.0.1/app#main:sub"]).ok();
    assert_eq!(show(&lab, "sub", "cat /only"), "in the directory");
    let keep = ["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", "-t", "kept"];
    build(&lab, &[&keep[..], &["git://127.0.0.1/app"]].concat()).ok();
    assert_eq!(show(&lab, "kept", "test -e /src/.git/HEAD && echo kept"), "kept");
    // As a named context, and by ADD.
    let dir = lab.dir().join("named");
    let dockerfile = format!(
        "FROM busybox\nCOPY --from=app version /named\n\
         ADD git://127.0.0.1/app#v1 /added\n\
         ADD --checksum={first} git://127.0.0.1/app#v1 /checked\n"
    );
    write(&dir.join("Dockerfile"), &dockerfile);
    let context = ["--build-context", "app=git://127.0.0.1/app", "-t", "named", text(&dir)];
    build(&lab, &context).ok();
    assert_eq!(show(&lab, "named", "cat /named /added/version /checked/version"), "2\n1\n1");
    let wrong = format!("FROM busybox\nADD --checksum={first} git://127.0.0.1/app#main /x\n");
    write(&dir.join("Dockerfile"), &wrong);
    assert_ne!(build(&lab, &[text(&dir)]).status, 0);
}

#[test]
fn addresses_of_repositories_are_no_options() {
    let lab = Lab::new();
    let (home, _) = repositories(&lab);
    let _server = serve(&lab, &home);
    let trap = lab.dir().join("trap");
    let hit = format!("touch {}", text(&trap));
    for address in [
        format!("git://127.0.0.1/app#--upload-pack={hit}"),
        format!("git://127.0.0.1/app#-u{hit}"),
        format!("ext::sh -c '{hit}' x.git"),
        format!("git://-oProxyCommand={hit}/x.git"),
        format!("ssh://-oProxyCommand={hit}/x.git"),
        format!("file://{}", text(&home.join("app"))),
    ] {
        let refused = build(&lab, &["-t", "trapped", &address]);
        assert_ne!(refused.status, 0, "{address}: {refused:?}");
        let dir = lab.dir().join("by-add");
        let quoted = serde_json::to_string(&[address.as_str(), "/x"]).unwrap();
        write(&dir.join("Dockerfile"), &format!("FROM busybox\nADD {quoted}\n"));
        assert_ne!(build(&lab, &[text(&dir)]).status, 0, "ADD {address}");
    }
    assert!(!trap.exists(), "an address was run");
    // A directory above the repository is the repository.
    for above in ["../../..", "/etc/../.."] {
        let address = format!("git://127.0.0.1/app#v1:{above}");
        build(&lab, &["-t", "above", &address]).ok();
        assert_eq!(show(&lab, "above", "cat /src/version"), "1", "{above}");
    }
    // What a repository holds runs nothing either, and leads nowhere.
    let app = home.join("app");
    let hook = app.join(".git/hooks/post-checkout");
    write(&hook, &format!("#!/bin/sh\n{hit}\n"));
    std::os::unix::fs::symlink("/etc", app.join("link")).unwrap();
    let attributes = "version filter=evil\n";
    write(&app.join(".gitattributes"), attributes);
    git(&lab, &app, &["add", "."]);
    git(&lab, &app, &["commit", "-qm", "evil"]);
    build(&lab, &["-t", "evil", "git://127.0.0.1/app"]).ok();
    assert_eq!(show(&lab, "evil", "readlink /src/link"), "/etc");
    let outside = build(&lab, &["-t", "outside", "git://127.0.0.1/app#main:link"]);
    assert_ne!(outside.status, 0, "a link in a repository leads out of it");
    assert!(!trap.exists(), "a repository ran something");
}

/// A web server that knows nothing of git has the files of a repository: what fetches from it
/// cannot ask for one commit alone.
#[test]
fn repositories_come_over_plain_http() {
    let lab = Lab::new();
    let (home, first) = repositories(&lab);
    let web = lab.dir().join("web");
    let bare = web.join("app.git");
    lab.in_network(&["git", "clone", "-q", "--bare", text(&home.join("app")), text(&bare)]).ok();
    git(&lab, &bare, &["update-server-info"]);
    let (_submodules, _server) = (serve(&lab, &home), serve_files(&lab, &web));
    let at = "http://127.0.0.1:8000/app.git";
    let options = ["-t", "sub", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=0"];
    build(&lab, &[&options[..], &[&format!("{at}#main:sub")]].concat()).ok();
    assert_eq!(show(&lab, "sub", "cat /only"), "in the directory");
    let dir = lab.dir().join("by-add");
    let dockerfile = format!(
        "FROM busybox\nADD --checksum={first} {at}?tag=v1&submodules=0 /one\n\
         ADD {at}?branch=main&subdir=sub /two\n"
    );
    write(&dir.join("Dockerfile"), &dockerfile);
    build(&lab, &["-t", "added", text(&dir)]).ok();
    assert_eq!(show(&lab, "added", "cat /one/version /two/only"), "1\nin the directory");
    let nowhere = build(&lab, &[&format!("{at}#no-such-branch")]);
    assert!(nowhere.status != 0 && nowhere.stderr.contains("no-such-branch"), "{nowhere:?}");
}

#[test]
fn archives_and_files_come_over_http() {
    let lab = Lab::new();
    let home = lab.dir().join("web");
    let context = lab.dir().join("context");
    write(&context.join("Dockerfile"), "FROM busybox\nCOPY f /f\n");
    write(&context.join("f"), "in the archive\n");
    std::fs::create_dir_all(&home).unwrap();
    let tar = home.join("c.tar.gz");
    lab.in_network(&["tar", "-C", text(&context), "-czf", text(&tar), "."]).ok();
    write(&home.join("Lone"), "FROM busybox\nRUN echo lone > /f\n");
    write(&home.join("data"), "the data\n");
    let at = |path: &str| format!("http://127.0.0.1:8000/{path}");
    let _server = serve_files(&lab, &home);
    build(&lab, &["-t", "tar", &at("c.tar.gz")]).ok();
    assert_eq!(show(&lab, "tar", "cat /f"), "in the archive");
    build(&lab, &["-t", "lone", &at("Lone")]).ok();
    assert_eq!(show(&lab, "lone", "cat /f"), "lone");
    let missing = build(&lab, &[&at("none.tar")]);
    assert!(missing.status != 0 && missing.stderr.contains("404"), "{missing:?}");
    let sum = lab.in_network(&["sha256sum", text(&home.join("data"))]);
    let sum = sum.ok().split(' ').next().unwrap().to_owned();
    let dir = lab.dir().join("add");
    let add = |sum: &str| {
        let dockerfile = format!(
            "FROM busybox\nADD --checksum=sha256:{sum} --chmod=640 {} /d\n\
             ADD --unpack=true {} /u/\n",
            at("data"),
            at("c.tar.gz")
        );
        write(&dir.join("Dockerfile"), &dockerfile);
        build(&lab, &["-t", "added", text(&dir)])
    };
    add(&sum).ok();
    let shown = show(&lab, "added", "cat /d; stat -c %a /d; cat /u/f");
    assert_eq!(shown, "the data\n640\nin the archive");
    let wrong = add(&"0".repeat(64));
    assert!(wrong.status != 0 && wrong.stderr.contains(&sum), "{wrong:?}");
}

/// Definitions of builds that are in a repository, or at an address; what is relative in them is
/// where they are.
#[test]
fn definitions_are_baked_where_they_are() {
    let lab = Lab::new();
    let (home, _) = repositories(&lab);
    let app = home.join("app");
    let definition = "target \"default\" {\n  tags = [\"baked\"]\n}\n\
        target \"below\" {\n  context = \"sub\"\n  tags = [\"baked-below\"]\n}\n\
        target \"linked\" {\n  contexts = { other = \"sub\" }\n  \
        dockerfile-inline = \"FROM busybox\\nCOPY --from=other only /linked\\n\"\n  \
        tags = [\"baked-linked\"]\n}\n";
    write(&app.join("docker-bake.hcl"), definition);
    // What contexts leave out is no matter to definitions.
    write(&app.join(".dockerignore"), "*.hcl\n");
    git(&lab, &app, &["add", "."]);
    git(&lab, &app, &["commit", "-qm", "three"]);
    let _daemon = serve(&lab, &home);
    let bake = |words: &[&str]| lab.estiba(&[&["buildx", "bake"], words].concat());
    bake(&["git://127.0.0.1/app"]).ok();
    assert_eq!(show(&lab, "baked", "cat /src/version"), "2");
    bake(&["git://127.0.0.1/app#main", "below", "linked"]).ok();
    assert_eq!(show(&lab, "baked-below", "cat /only"), "in the directory");
    assert_eq!(show(&lab, "baked-linked", "cat /linked"), "in the directory");
    bake(&["-f", "../x", "git://127.0.0.1/app"]).fails(1, "outside of its repository");
    let web = lab.dir().join("web");
    let there = r#"{"target": {
        "default": {"context": "git://127.0.0.1/app#v1", "tags": ["by-file"]},
        "near": {"context": "."}}}"#;
    write(&web.join("bake.json"), there);
    let _files = serve_files(&lab, &web);
    let address = "http://127.0.0.1:8000/bake.json";
    bake(&[address]).ok();
    assert_eq!(show(&lab, "by-file", "cat /src/version"), "1");
    bake(&[address, "near"]).fails(1, "say cwd://");
}

/// The classic call fetches for clients that send nothing.
#[test]
fn the_classic_call_fetches_its_context() {
    let lab = Lab::new();
    let (home, _) = repositories(&lab);
    let web = lab.dir().join("web");
    write(&web.join("Lone"), "FROM busybox\nRUN echo lone > /f\n");
    let _daemon = serve(&lab, &home);
    let _files = serve_files(&lab, &web);
    let socket = lab.socket();
    let ask = |query: &str| {
        let address = format!("http://localhost/v1.43/build?{query}");
        let words = ["curl", "-sS", "-X", "POST", "--unix-socket", text(&socket), &address];
        lab.in_network(&words).ok().to_owned()
    };
    let told = ask("t=sub&remote=git%3A%2F%2F127.0.0.1%2Fapp%23main%3Asub");
    assert!(told.contains("Successfully tagged sub:latest"), "{told}");
    assert_eq!(show(&lab, "sub", "cat /only"), "in the directory");
    let told = ask("t=lone&remote=http%3A%2F%2F127.0.0.1%3A8000%2FLone");
    assert!(told.contains("Successfully tagged lone:latest"), "{told}");
    assert_eq!(show(&lab, "lone", "cat /f"), "lone");
    let told = ask("remote=file%3A%2F%2F%2Fetc");
    assert!(told.contains("is no address of a build context"), "{told}");
}
