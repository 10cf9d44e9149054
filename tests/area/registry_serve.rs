//! The registry as a server, with clients that others wrote: skopeo, curl, the stock command line
//! over our daemon, and our own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Session, binaries, eventually};
use rustix::process::Signal;

/// A registry in the lab's network.
struct Registry {
    session: Option<Session>,
    url: String,
}

impl Registry {
    fn start(lab: &Lab, port: u16, arguments: &[&str]) -> Self {
        let program = binaries().join("estiba");
        let (program, root) = (program.to_string_lossy(), lab.dir().join(format!("reg-{port}")));
        let (root, address) = (root.to_string_lossy(), format!("127.0.0.1:{port}"));
        let words = [&program, "registry", "serve", "--listen", &address, "--root", &root];
        let session = Some(lab.start_in_network(&[&words[..], arguments].concat()));
        let scheme = if arguments.contains(&"--tls-key") { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let probe = ["curl", "-sk", "-o", "/dev/null", &format!("{url}/healthz")];
        eventually("the registry answers", || lab.in_network(&probe).status == 0);
        Self { session, url }
    }

    /// The answer's body.
    fn get(&self, lab: &Lab, path: &str) -> String {
        lab.in_network(&["curl", "-sk", &format!("{}{path}", self.url)]).stdout
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(session) = self.session.take() {
            session.signal(signal);
            let ended = session.finish();
            assert!(signal == Signal::KILL || ended.status == 0, "{ended:?}");
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.signal(Signal::KILL);
            session.finish();
        }
    }
}

/// skopeo, which knows nothing of daemons.
fn skopeo(lab: &Lab, arguments: &[&str]) -> lab::Output {
    let home = format!("HOME={}", lab.dir().display());
    let words = ["env", &home, "skopeo", "--insecure-policy"];
    lab.in_network(&[&words[..], arguments].concat())
}

fn saved(lab: &Lab) -> String {
    let archive = lab.dir().join("busybox.tar").to_string_lossy().into_owned();
    lab.estiba(&["save", "-o", &archive, "busybox:latest"]).ok();
    format!("docker-archive:{archive}")
}

#[test]
fn skopeo_brings_copies_lists_and_deletes() {
    let lab = Lab::new();
    let mut registry = Registry::start(&lab, 5000, &[]);
    let saved = saved(&lab);
    let (first, second) = ("docker://127.0.0.1:5000/team/one:v1", "docker://127.0.0.1:5000/two:v1");
    skopeo(&lab, &["copy", "--dest-tls-verify=false", &saved, first]).ok();
    let digest = |of: &str| {
        let words = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", of];
        skopeo(&lab, &words).ok().to_owned()
    };
    let words = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", first, second];
    skopeo(&lab, &words).ok();
    assert_eq!(digest(first), digest(second));
    assert_eq!(registry.get(&lab, "/v2/_catalog"), r#"{"repositories":["team/one","two"]}"#);
    let oci = format!("oci:{}:x", lab.dir().join("layout").display());
    skopeo(&lab, &["copy", "--src-tls-verify=false", second, &oci]).ok();
    skopeo(&lab, &["delete", "--tls-verify=false", first]).ok();
    assert!(registry.get(&lab, "/v2/team/one/manifests/v1").contains("MANIFEST_UNKNOWN"));
    registry.stop(Signal::KILL);
    let registry = Registry::start(&lab, 5000, &[]);
    assert!(registry.get(&lab, "/v2/two/tags/list").contains("v1"), "after SIGKILL");
    assert!(digest(second).starts_with("sha256:"));
}

/// A certificate for 127.0.0.1 and accounts, in the lab's directory.
fn secured(lab: &Lab) -> [String; 3] {
    let path = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    let [certificate, key, accounts] = ["cert.pem", "key.pem", "accounts"].map(path);
    lab.in_network(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ])
    .ok();
    lab.in_network(&["htpasswd", "-cbB", &accounts, "alice", "wonder"]).ok();
    [certificate, key, accounts]
}

#[test]
fn with_tls_and_accounts_nobody_else_gets_in() {
    let lab = Lab::new();
    let [certificate, key, accounts] = secured(&lab);
    let arguments = ["--tls-certificate", &certificate, "--tls-key", &key, "--htpasswd", &accounts];
    let mut registry = Registry::start(&lab, 5443, &arguments);
    assert!(registry.get(&lab, "/v2/").contains("UNAUTHORIZED"));
    let saved = saved(&lab);
    let certificates = lab.dir().join("certs");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(&certificate, certificates.join("ca.crt")).unwrap();
    let certificates = certificates.to_string_lossy().into_owned();
    let target = "docker://127.0.0.1:5443/x:v1";
    let copy = |credentials: &str| {
        let words = ["copy", "--dest-cert-dir", &certificates, "--dest-creds", credentials];
        skopeo(&lab, &[&words[..], &[&saved, target]].concat())
    };
    assert_ne!(copy("alice:wrong").status, 0);
    copy("alice:wonder").ok();
    let untrusted = ["inspect", "--creds", "alice:wonder", target];
    assert!(skopeo(&lab, &untrusted).stderr.contains("certificate"));
    let plain = "http://127.0.0.1:5443/v2/";
    assert_ne!(lab.in_network(&["curl", "-sf", plain]).status, 0, "TLS is never left out");
    registry.stop(Signal::TERM);
}

#[test]
fn it_refuses_to_be_open_to_the_world_by_accident() {
    let lab = Lab::new();
    let program = binaries().join("estiba");
    let root = lab.dir().join("root");
    let words =
        [&program.to_string_lossy(), "registry", "serve", "--root", &root.to_string_lossy()];
    let serve = |more: &[&str]| lab.in_network(&[&words[..], more].concat());
    serve(&["--listen", ":5000"]).fails(1, "--insecure");
    serve(&["--listen", "nowhere"]).fails(1, "not an address");
    let config = lab.dir().join("config.json");
    std::fs::write(&config, r#"{"readonly": true}"#).unwrap();
    serve(&["--config", &config.to_string_lossy()]).fails(1, "readonly");
    lab.in_network(&[words[0], "registry", "server"]).fails(1, "unknown command");
}

/// Where podman and buildah keep what is theirs, in the lab's directory.
fn storage(lab: &Lab, program: &str) -> [String; 7] {
    let dir = lab.dir().join("storage");
    let below = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let words = [program, "--storage-driver", "vfs", "--root", &below("root"), "--runroot"];
    let mut words = words.map(str::to_owned).to_vec();
    words.push(below("run"));
    words.try_into().unwrap()
}

#[test]
fn podman_and_buildah_see_the_same_digests() {
    let lab = Lab::new();
    let [certificate, key, accounts] = secured(&lab);
    let arguments = ["--tls-certificate", &certificate, "--tls-key", &key, "--htpasswd", &accounts];
    let mut registry = Registry::start(&lab, 5443, &arguments);
    let certificates = lab.dir().join("certs").to_string_lossy().into_owned();
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(&certificate, lab.dir().join("certs/ca.crt")).unwrap();
    let archive = saved(&lab);
    let login = ["login", "-u", "alice", "--password-stdin", "127.0.0.1:5443"];
    lab.estiba_with(&login, b"wonder").ok();
    let access = ["--cert-dir", &certificates, "--creds", "alice:wonder"];
    let home = format!("HOME={}", lab.dir().display());
    let run = |program: &str, arguments: &[&str]| {
        let own = storage(&lab, program);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        lab.in_network(&[&["env", &home][..], &own, arguments].concat())
    };
    for program in ["podman", "buildah"] {
        let pulled = run(program, &["pull", "-q", &archive]);
        let id = pulled.ok().lines().last().unwrap();
        let (theirs, ours) =
            (format!("127.0.0.1:5443/by/{program}:1"), format!("127.0.0.1:5443/for/{program}:1"));
        let file = lab.dir().join(format!("{program}.digest"));
        let pushed = file.to_string_lossy();
        let push = ["push", "-q", "--digestfile", &pushed];
        let to = format!("docker://{theirs}");
        run(program, &[&push[..], &access, &[id, &to]].concat()).ok();
        let digest = std::fs::read_to_string(&file).unwrap();
        lab.estiba(&["pull", "-q", &theirs]).ok();
        let known = ["image", "inspect", "-f", "{{.RepoDigests}}", &theirs];
        assert!(lab.estiba(&known).ok().contains(digest.trim()), "{program}: {digest}");
        assert_eq!(lab.estiba(&["run", "--rm", &theirs, "echo", program]).ok(), program);

        lab.estiba(&["tag", "busybox", &ours]).ok();
        let said = lab.estiba(&["push", &ours]);
        let digest = said.ok().rsplit("digest: ").next().unwrap().split(' ').next().unwrap();
        // They tell images apart by configuration, and the digest would stay the first one.
        run(program, &["rmi", "-a", "-f"]).ok();
        run(program, &[&["pull", "-q"][..], &access, &[&ours]].concat()).ok();
        let format = if program == "podman" { "{{.Digest}}" } else { "{{.FromImageDigest}}" };
        let inspect: &[&str] = match program {
            "podman" => &["image", "inspect", "--format", format, &ours],
            _ => &["inspect", "--type", "image", "--format", format, &ours],
        };
        assert_eq!(run(program, inspect).ok().trim(), digest, "{program}");
    }
    registry.stop(Signal::TERM);
}

#[test]
fn a_registry_runs_as_a_container_of_nothing_but_itself() {
    let lab = Lab::new();
    let context = lab.dir().join("context");
    std::fs::create_dir(&context).unwrap();
    let program = context.join("estiba").to_string_lossy().into_owned();
    let built = binaries().join("estiba").to_string_lossy().into_owned();
    lab.in_network(&["strip", "-o", &program, &built]).ok();
    let text = "FROM scratch\nCOPY estiba /estiba\nVOLUME /var/lib/estiba/registry\n\
                EXPOSE 5000\nENTRYPOINT [\"/estiba\", \"registry\", \"serve\", \"--insecure\", \
                \"--listen\", \"0.0.0.0:5000\"]\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    lab.estiba(&["build", "-q", "-t", "registry", &context.to_string_lossy()]).ok();
    lab.estiba(&["run", "-d", "--name", "reg", "-p", "127.0.0.1:5000:5000", "registry"]).ok();
    let probe = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:5000/healthz"];
    eventually("the registry answers", || lab.in_network(&probe).status == 0);
    let name = "localhost:5000/x:1";
    lab.estiba(&["tag", "busybox", name]).ok();
    lab.estiba(&["push", "-q", name]).ok();
    lab.estiba(&["restart", "-t", "5", "reg"]).ok();
    eventually("the registry answers again", || lab.in_network(&probe).status == 0);
    lab.estiba(&["rmi", name]).ok();
    assert_eq!(lab.estiba(&["run", "--rm", name, "echo", "kept"]).ok(), "kept");
    lab.estiba(&["rm", "-f", "-v", "reg"]).ok();
}
