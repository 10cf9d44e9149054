//! Images from and to a registry that others wrote (Debian's `docker-registry`), with skopeo as
//! the judge of digests and the stock command line as a second client.

use lab::{Lab, Session, Setup, archive, eventually};
use std::fs;
use std::path::Path;

/// A program in the lab's network that ends with the test.
struct Background(Option<Session>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.signal(rustix::process::Signal::KILL);
            session.finish();
        }
    }
}

fn background(lab: &Lab, words: &[&str]) -> Background {
    Background(Some(lab.background(words)))
}

/// Waits until somebody listens on a port of the lab's loopback.
fn listening(lab: &Lab, port: u16) {
    let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    eventually("the port is open", || lab.in_network(&["bash", "-c", &probe]).status == 0);
}

/// `docker-registry` on a port, with more lines of configuration.
fn registry(lab: &Lab, port: u16, more: &str) -> Background {
    let dir = lab.dir().join(format!("registry-{port}"));
    fs::create_dir(&dir).unwrap();
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
         delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
        dir.display()
    );
    let config = lab.dir().join(format!("registry-{port}.yml"));
    fs::write(&config, text).unwrap();
    let running = background(lab, &["docker-registry", "serve", &config.to_string_lossy()]);
    listening(lab, port);
    running
}

/// What skopeo says about an image on the registry at port 5000.
fn judged(lab: &Lab, name: &str, format: &str) -> String {
    let image = format!("docker://{name}");
    let words = ["skopeo", "inspect", "--tls-verify=false", "--format", format, &image];
    lab.in_network(&words).ok().to_owned()
}

fn raw_manifest(lab: &Lab, name: &str) -> String {
    let image = format!("docker://{name}");
    lab.in_network(&["skopeo", "inspect", "--tls-verify=false", "--raw", &image]).stdout
}

fn digest_in(output: &str) -> String {
    let at = output.find("sha256:").unwrap_or_else(|| panic!("no digest in {output}"));
    output[at..at + 71].to_owned()
}

#[test]
fn push_pull_and_push_on_keep_every_digest() {
    let lab = Lab::new();
    let _registry = registry(&lab, 5000, "");
    let id = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "busybox"]).ok().to_owned();
    lab.estiba(&["tag", "busybox", "localhost:5000/lab/busy:1"]).ok();
    let pushed = lab.estiba(&["push", "localhost:5000/lab/busy:1"]);
    for words in ["The push refers to repository [localhost:5000/lab/busy]", ": Pushed"] {
        assert!(pushed.ok().contains(words), "{words} in {pushed:?}");
    }
    let digest = digest_in(pushed.ok().rsplit("digest: ").next().unwrap());
    assert_eq!(judged(&lab, "localhost:5000/lab/busy:1", "{{.Digest}}"), digest);
    let shown =
        lab.estiba(&["images", "--digests", "--format", "{{.Digest}}", "localhost:5000/lab/busy"]);
    assert!(shown.ok().lines().any(|line| line == digest), "{shown:?}");

    let again = lab.estiba(&["push", "localhost:5000/lab/busy:1"]);
    assert!(again.ok().contains("Layer already exists") && again.ok().contains(&digest));
    lab.estiba(&["tag", "busybox", "localhost:5000/lab/copy:2"]).ok();
    let mounted = lab.estiba(&["push", "localhost:5000/lab/copy:2"]);
    assert!(mounted.ok().contains("Mounted from lab/busy") && mounted.ok().contains(&digest));

    let all = ["rmi", "-f", "busybox", "localhost:5000/lab/busy:1", "localhost:5000/lab/copy:2"];
    lab.estiba(&all).ok();
    assert_eq!(lab.estiba(&["images", "-aq"]).ok(), "");
    let pulled = lab.estiba(&["pull", "localhost:5000/lab/busy:1"]);
    for words in [
        "1: Pulling from lab/busy",
        ": Pulling fs layer",
        ": Download complete",
        ": Pull complete",
        &format!("Digest: {digest}"),
        "Status: Downloaded newer image for localhost:5000/lab/busy:1",
    ] {
        assert!(pulled.ok().contains(words), "{words} in {pulled:?}");
    }
    let seen = lab.estiba(&[
        "image",
        "inspect",
        "-f",
        "{{.Id}} {{.RepoDigests}}",
        "localhost:5000/lab/busy:1",
    ]);
    assert_eq!(seen.ok(), format!("{id} [localhost:5000/lab/busy@{digest}]"));
    let known = lab.estiba(&["pull", "localhost:5000/lab/busy:1"]);
    assert!(known.ok().contains("Status: Image is up to date for localhost:5000/lab/busy:1"));
    let by_digest = format!("localhost:5000/lab/busy@{digest}");
    lab.estiba(&["rmi", "localhost:5000/lab/busy:1"]).ok();
    lab.estiba(&["pull", "-q", &by_digest]).ok();
    assert_eq!(lab.estiba(&["image", "inspect", "-f", "{{.Id}}", &by_digest]).ok(), id);
    lab.estiba(&["rmi", &by_digest]).ok();
    let ran = lab.estiba(&["run", "--rm", "localhost:5000/lab/busy:1", "echo", "from afar"]);
    assert_eq!(ran.ok(), "from afar");
    assert!(ran.stderr.contains("Unable to find image 'localhost:5000/lab/busy:1' locally"));
    lab.estiba(&["run", "--rm", "--pull", "never", "localhost:5000/lab/none", "true"])
        .fails(125, "No such image");
    lab.estiba(&["run", "--rm", "localhost:5000/lab/none", "true"]).fails(125, "not found");
    lab.estiba(&["pull", "--platform", "linux/s390x", "localhost:5000/lab/busy:1"])
        .fails(1, "s390x");
}

#[test]
fn what_others_made_goes_out_as_it_came() {
    let lab = Lab::new();
    let _registry = registry(&lab, 5000, "");
    let file = lab.dir().join("saved.tar");
    lab.estiba(&["save", "-o", &file.to_string_lossy(), "busybox"]).ok();
    let from = format!("docker-archive:{}", file.display());
    for (name, kind) in [("gz", "gzip"), ("zst", "zstd")] {
        let to = format!("docker://localhost:5000/made/{name}:1");
        let format = if kind == "zstd" { "oci" } else { "v2s2" };
        lab.in_network(&[
            "skopeo",
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--format",
            format,
            "--dest-compress-format",
            kind,
            &from,
            &to,
        ])
        .ok();
        let (source, target) =
            (format!("localhost:5000/made/{name}:1"), format!("localhost:5000/passed/{name}:2"));
        lab.estiba(&["pull", "-q", &source]).ok();
        lab.estiba(&["tag", &source, &target]).ok();
        let pushed = lab.estiba(&["push", &target]);
        let digest = judged(&lab, &source, "{{.Digest}}");
        assert!(pushed.ok().contains(&digest), "{digest} in {pushed:?}");
        assert_eq!(judged(&lab, &target, "{{.Digest}}"), digest);
        assert_eq!(raw_manifest(&lab, &target), raw_manifest(&lab, &source));
        lab.estiba(&["run", "--rm", &source, "true"]).ok();
    }
    // The stock command line, with our daemon.
    if let Some(pulled) = lab.docker(&["pull", "localhost:5000/passed/gz:2"]) {
        assert!(pulled.ok().contains("Status: "), "{pulled:?}");
        let pushed = lab.docker(&["push", "localhost:5000/passed/gz:2"]).unwrap();
        let digest = judged(&lab, "localhost:5000/made/gz:1", "{{.Digest}}");
        assert!(pushed.ok().contains(&digest), "{pushed:?}");
    }
    let gone = format!(
        "docker://localhost:5000/made/gz@{}",
        judged(&lab, "localhost:5000/made/gz:1", "{{.Digest}}")
    );
    lab.in_network(&["skopeo", "delete", "--tls-verify=false", &gone]).ok();
    lab.estiba(&["pull", "localhost:5000/made/gz:1"]).fails(1, "manifest unknown");
}

/// A certificate authority of the lab's own, and a registry's certificate.
fn certificates(dir: &Path) {
    let script = "set -e; cd \"$1\"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -keyout ca.key -out ca.crt -subj /CN=lab -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout r.key -out r.csr \
            -subj /CN=registry.test
        printf 'subjectAltName=DNS:registry.test\nbasicConstraints=CA:FALSE\n' > ext
        openssl x509 -req -in r.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out r.crt
        mkdir -p certs.d/registry.test:5443 && cp ca.crt certs.d/registry.test:5443/ca.crt
        htpasswd -Bbn me sesame > htpasswd
        printf '127.0.0.1 localhost registry.test\n' > hosts";
    let made = std::process::Command::new("sh").args(["-c", script, "sh"]).arg(dir).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn tls_and_passwords_are_needed_where_they_are_asked_for() {
    let mut lab = Lab::new();
    let dir = lab.dir().to_owned();
    certificates(&dir);
    let hosts = dir.join("hosts");
    lab.in_network(&["mount", "--bind", &hosts.to_string_lossy(), "/etc/hosts"]).ok();
    let more = format!(
        "  tls:\n    certificate: {0}/r.crt\n    key: {0}/r.key\nauth:\n  htpasswd:\n    realm: \
         lab\n    path: {0}/htpasswd\n",
        dir.display()
    );
    let _registry = registry(&lab, 5443, &more);
    let name = "registry.test:5443/lab/busy:1";
    lab.estiba(&["tag", "busybox", name]).ok();
    // Nobody vouches for the certificate yet, and without TLS it does not go.
    lab.estiba(&["push", name]).fails(1, "certificate");
    let settings = format!(r#"{{"registry-certificates": ["{}/certs.d"]}}"#, dir.display());
    fs::write(dir.join("daemon.json"), settings).unwrap();
    lab.stop_daemon();
    lab.start_daemon();
    lab.estiba(&["push", name]).fails(1, "denied");
    let login = ["login", "-u", "me", "--password-stdin", "registry.test:5443"];
    lab.estiba_with(&login, b"wrong").fails(1, "unauthorized");
    let done = lab.estiba_with(&login, b"sesame\n");
    assert!(done.ok().contains("Login Succeeded"));
    assert!(!done.stderr.contains("WARNING"), "{done:?}");
    sealed(&lab);
    lab.estiba(&["push", name]).ok();
    lab.estiba(&["rmi", "-f", name, "busybox"]).ok();
    lab.estiba(&["pull", name]).ok();
    assert!(lab.estiba(&["login", "registry.test:5443"]).ok().contains("existing credentials"));
    lab.estiba(&["rmi", name]).ok();
    // Other programs read what was left for them in plain text, and were warned.
    let plain = lab.estiba_with(&[&login[..], &["--plaintext"]].concat(), b"sesame\n");
    assert!(plain.stderr.contains("WARNING! Your credentials are stored unencrypted"));
    if let Some(pulled) = lab.docker(&["pull", name]) {
        pulled.ok();
        lab.estiba(&["rmi", name]).ok();
    }
    lab.estiba(&["logout", "registry.test:5443"]).ok();
    lab.estiba(&["pull", name]).fails(1, "pull access denied for registry.test:5443/lab/busy");
    lab.in_network(&["umount", "/etc/hosts"]).ok();
}

/// Nothing that lies beside the configuration says the password, and a helper by our name does.
fn sealed(lab: &Lab) {
    let home = lab.dir().join(".docker");
    for file in ["config.json", "credentials.json"] {
        let text = fs::read_to_string(home.join(file)).unwrap();
        assert!(text.contains("registry.test:5443"), "{text}");
        for secret in ["sesame", "bWU6c2VzYW1l"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let program = home.join("docker-credential-estiba");
    std::os::unix::fs::symlink(lab::binaries().join("estiba"), &program).unwrap();
    let helper = |verb: &str, input: &str| {
        let home = format!("HOME={}", lab.dir().display());
        let line = format!("printf %s '{input}' | {} {verb}", program.display());
        lab.in_network(&["env", &home, "sh", "-c", &line])
    };
    assert!(helper("get", "registry.test:5443").ok().contains(r#""Secret":"sesame""#));
    assert!(helper("list", "").ok().contains(r#"{"registry.test:5443":"me"}"#));
    assert!(helper("get", "nowhere.test").stdout.contains("credentials not found"));
    helper("store", r#"{"ServerURL":"x.test","Username":"<token>","Secret":"t"}"#).ok();
    assert!(helper("get", "x.test").ok().contains(r#""Username":"<token>","Secret":"t""#));
    helper("erase", "x.test").ok();
    assert!(!helper("list", "").ok().contains("x.test"));
}

/// A proxy of connections that counts what passes to the client, cuts every connection after some
/// bytes, and lets nothing through while a file says how much is enough.
const CUTTER: &str = r#"
import os, socket, sys, threading
port, cut, count, limit = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
lock, total = threading.Lock(), [0]
def enough():
    try: return total[0] >= int(open(limit).read())
    except (OSError, ValueError): return False
def back(server, client):
    passed = 0
    try:
        while passed < cut:
            data = server.recv(65536)
            if not data: break
            while enough():
                threading.Event().wait(0.02)
            client.sendall(data); passed += len(data)
            with lock:
                total[0] += len(data)
                open(count + '.new', 'w').write(str(total[0])); os.rename(count + '.new', count)
    except OSError: pass
    for s in (server, client):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def forth(client, server):
    try:
        while True:
            data = client.recv(65536)
            if not data: break
            server.sendall(data)
    except OSError: pass
listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('127.0.0.1', port)); listener.listen(64)
while True:
    client, _ = listener.accept()
    server = socket.create_connection(('127.0.0.1', 5000))
    threading.Thread(target=back, args=(server, client), daemon=True).start()
    threading.Thread(target=forth, args=(client, server), daemon=True).start()
"#;

#[test]
fn a_pull_survives_cuts_ctrl_c_and_the_death_of_the_daemon() {
    let mut lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let _registry = registry(&lab, 5000, "");
    let size: u64 = 40 << 20;
    let tar = lab.dir().join("big.tar");
    let script = format!(
        "cd {0} && head -c {size} /dev/urandom > noise && tar -cf big.tar noise && rm noise",
        lab.dir().display()
    );
    lab.in_network(&["sh", "-c", &script]).ok();
    lab.estiba(&["import", &tar.to_string_lossy(), "localhost:5000/lab/big:1"]).ok();
    let id = lab.estiba(&["images", "-q", "--no-trunc"]).ok().to_owned();
    lab.estiba(&["push", "localhost:5000/lab/big:1"]).ok();
    lab.estiba(&["rmi", "localhost:5000/lab/big:1"]).ok();
    let (count, limit) = (lab.dir().join("count"), lab.dir().join("limit"));
    let passed =
        || fs::read_to_string(&count).ok().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let allow = |bytes: u64| {
        let new = limit.with_extension("new");
        fs::write(&new, bytes.to_string()).unwrap();
        fs::rename(new, &limit).unwrap();
    };
    allow(10 << 20);
    let (count, limit) =
        (count.to_string_lossy().into_owned(), limit.to_string_lossy().into_owned());
    let cutting = ["python3", "-c", CUTTER, "5001", "5000000", &count, &limit];
    let _cutter = background(&lab, &cutting);
    listening(&lab, 5001);
    let name = "localhost:5001/lab/big:1";

    let first = lab.session(&["pull", name]);
    eventually("a quarter has arrived", || passed() >= 10 << 20);
    first.signal(rustix::process::Signal::INT);
    first.finish();
    allow(22 << 20);
    let second = lab.session(&["pull", name]);
    eventually("half has arrived", || passed() >= 22 << 20);
    lab.kill_daemon();
    second.finish();
    allow(1 << 40);
    lab.start_daemon();
    lab.estiba(&["pull", "-q", name]).ok();
    assert_eq!(lab.estiba(&["images", "-q", "--no-trunc"]).ok(), id);
    let extra = passed() - size;
    assert!(extra <= size / 5, "{extra} bytes came twice");
    let peak = lab.daemon_kib("VmHWM");
    assert!(peak < 64 << 10, "the daemon took {peak} KiB");
}

#[test]
fn a_mirror_serves_every_host_and_what_is_blocked_is_refused() {
    let arguments = [
        "--registry-mirror",
        "quay.io=http://localhost:5000/cache",
        "--blocked-registry",
        "docker.io",
    ];
    let arguments = arguments.map(str::to_owned).to_vec();
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let _registry = registry(&lab, 5000, "");
    lab.estiba(&["tag", "busybox", "localhost:5000/cache/org/app:1"]).ok();
    lab.estiba(&["push", "-q", "localhost:5000/cache/org/app:1"]).ok();
    lab.estiba(&["pull", "-q", "quay.io/org/app:1"]).ok();
    assert_eq!(
        lab.estiba(&["run", "--rm", "quay.io/org/app:1", "echo", "mirrored"]).ok(),
        "mirrored"
    );
    lab.estiba(&["pull", "alpine"]).fails(1, "blocked by the administrator");
}

/// What containerd's and Podman's administrators write works here, from the next pull on.
#[test]
fn hosts_toml_and_registries_conf_say_where_images_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let (certs, rules) = (dir.path().join("certs.d"), dir.path().join("registries.conf"));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = [
        "--registry-certificates".to_owned(),
        path(&certs),
        "--registry-rules".to_owned(),
        path(&rules),
    ];
    let mut arguments = arguments.to_vec();
    for name in ["quay.io", "ghcr.io", "localhost:5000", "bad.example", "mean.example"] {
        arguments.extend(["--pull-only-from".to_owned(), name.to_owned()]);
    }
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let _registry = registry(&lab, 5000, "");
    for name in ["cache/org/app:1", "moved/app:1"] {
        let name = format!("localhost:5000/{name}");
        lab.estiba(&["tag", "busybox", &name]).ok();
        lab.estiba(&["push", "-q", &name]).ok();
        lab.estiba(&["rmi", &name]).ok();
    }
    let host = |name: &str, text: &str| {
        let dir = certs.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("hosts.toml"), text).unwrap();
    };
    // Two mirrors, the first of them away; the registry itself is never reached from here.
    host(
        "quay.io",
        "server = \"http://127.0.0.1:1\"\n\
         [host.\"http://127.0.0.1:2\"]\ndial_timeout = \"2s\"\n\
         [host.\"http://127.0.0.1:5000/v2/cache\"]\noverride_path = true\n\
         capabilities = [\"pull\", \"resolve\"]\n",
    );
    lab.estiba(&["pull", "-q", "quay.io/org/app:1"]).ok();
    assert_eq!(lab.estiba(&["run", "--rm", "quay.io/org/app:1", "echo", "there"]).ok(), "there");
    // Names that begin alike are elsewhere, and some are nobody's.
    fs::write(
        &rules,
        "[[registry]]\nprefix = \"ghcr.io/old\"\nlocation = \"localhost:5000/moved\"\n\
         [[registry]]\nprefix = \"bad.example\"\nblocked = true\n",
    )
    .unwrap();
    lab.estiba(&["pull", "-q", "ghcr.io/old/app:1"]).ok();
    assert_eq!(lab.estiba(&["run", "--rm", "ghcr.io/old/app:1", "echo", "moved"]).ok(), "moved");
    lab.estiba(&["pull", "bad.example/x"]).fails(1, "blocked by the administrator");
    lab.estiba(&["pull", "alpine"]).fails(1, "the administrator lets images come from quay.io");
    let socket = lab.socket().to_string_lossy().into_owned();
    let url = "http://localhost/images/create?fromImage=alpine&tag=latest";
    let asked = ["curl", "-s", "-X", "POST", "-w", " %{http_code}", "--unix-socket", &socket, url];
    assert!(lab.in_network(&asked).ok().ends_with(" 403"), "{:?}", lab.in_network(&asked));
    // What may only be read is not written, and what is misspelt is not passed over.
    host("localhost:5000", "capabilities = [\"pull\", \"resolve\"]\n");
    lab.estiba(&["tag", "busybox", "localhost:5000/new:1"]).ok();
    lab.estiba(&["push", "localhost:5000/new:1"]).fails(1, "may not be pushed to");
    host("mean.example", "skip-verify = true\n");
    lab.estiba(&["pull", "mean.example/x"]).fails(1, "mean.example/hosts.toml: line 1");
}

#[test]
fn the_clients_proxies_reach_its_containers() {
    let lab = Lab::new();
    let dir = lab.dir().join(".docker");
    fs::create_dir(&dir).unwrap();
    // The administrators' notes, word for word.
    let config = r#"{ "proxies": { "default": { "httpProxy": "http://127.0.0.1:3001",
        "httpsProxy": "http://127.0.0.1:3001", "noProxy": "*.test.example.com, .example2.com" } } }"#;
    fs::write(dir.join("config.json"), config).unwrap();
    let seen = lab.estiba(&["run", "--rm", "busybox", "env"]);
    for line in [
        "HTTP_PROXY=http://127.0.0.1:3001",
        "https_proxy=http://127.0.0.1:3001",
        "NO_PROXY=*.test.example.com, .example2.com",
    ] {
        assert!(seen.ok().lines().any(|seen| seen == line), "{line} in {seen:?}");
    }
    let own = lab.estiba(&[
        "run",
        "--rm",
        "-e",
        "HTTP_PROXY=own",
        "busybox",
        "sh",
        "-c",
        "echo $HTTP_PROXY",
    ]);
    assert_eq!(own.ok(), "own");
    // Builds see them as well, and what is built does not keep them.
    let context = lab.dir().join("context");
    fs::create_dir(&context).unwrap();
    let text = "FROM busybox\nRUN echo \"$HTTP_PROXY $https_proxy $no_proxy\" > /seen\n";
    fs::write(context.join("Dockerfile"), text).unwrap();
    lab.estiba(&["build", "-q", "-t", "proxied", &context.to_string_lossy()]).ok();
    let proxy = "http://127.0.0.1:3001";
    let run = ["run", "--rm", "-e", "HTTP_PROXY=", "proxied", "cat", "/seen"];
    let seen = lab.estiba(&run);
    assert_eq!(seen.ok(), format!("{proxy} {proxy} *.test.example.com, .example2.com"));
    let kept = lab.estiba(&["image", "inspect", "-f", "{{.Config.Env}}", "proxied"]);
    assert!(!kept.ok().contains("3001"), "{kept:?}");
}

#[test]
fn accounts_of_the_daemons_proxies_are_not_shown() {
    let mut lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let settings = r#"{"proxies": {"http-proxy": "http://me:sesame@127.0.0.1:3128",
        "https-proxy": "127.0.0.1:3129", "no-proxy": "localhost,.lab"}}"#;
    fs::write(lab.dir().join("daemon.json"), settings).unwrap();
    lab.stop_daemon();
    lab.start_daemon();
    let said = lab.estiba(&["info"]);
    for line in [
        "HTTP Proxy: http://xxxxx:xxxxx@127.0.0.1:3128",
        "HTTPS Proxy: 127.0.0.1:3129",
        "No Proxy: localhost,.lab",
    ] {
        assert!(said.ok().contains(line), "{line} in {said:?}");
    }
    assert!(!said.stdout.contains("sesame"));
}

#[test]
fn credential_helpers_are_asked_and_their_failure_is_final() {
    let lab = Lab::new();
    let _registry = registry(&lab, 5000, "");
    let bin = lab.dir().join("bin");
    fs::create_dir_all(lab.dir().join(".docker")).unwrap();
    fs::create_dir(&bin).unwrap();
    let log = lab.dir().join("helper.log");
    let script = format!(
        "#!/bin/sh\nread key\necho \"$1 $key\" >> {}\n\
         [ $1 = get ] && echo 'broken store' && exit 1\n",
        log.display()
    );
    let helper = bin.join("docker-credential-lab");
    fs::write(&helper, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&helper, mode).unwrap();
    let config = r#"{"credHelpers": {"localhost:5000": "lab"},
        "auths": {"localhost:5000": {"auth": "bWU6c2VzYW1l"}}}"#;
    fs::write(lab.dir().join(".docker/config.json"), config).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let mut pull = lab.client(&lab::binaries().join("estiba"));
    pull.args(["pull", "localhost:5000/lab/none"]).env("PATH", path);
    let pulled = pull.output().unwrap();
    assert!(!pulled.status.success());
    let said = String::from_utf8_lossy(&pulled.stderr);
    assert!(said.contains("docker-credential-lab get") && said.contains("broken store"), "{said}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "get localhost:5000\n");
    lab.estiba(&["import", &archive("busybox").to_string_lossy(), "localhost:5000/lab/other"]).ok();
}
