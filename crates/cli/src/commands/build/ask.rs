//! What the flags of `build` ask for, as an order to the daemon with descriptors. Opens what is
//! handed over; sends nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use wire::build::{BuildOrder, HandingOrder, Typed};

use super::call::Call;
use super::display::Mode as Progress;
use super::logins;
use super::output;
use super::places;
use crate::base64;
use crate::csv;
use crate::failure::Failure;
use crate::flags::Matches;
use crate::invocation::Invocation;
use crate::units;

/// The largest Dockerfile and the largest secret that are read here.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// A build asked for.
pub(crate) struct Ask {
    /// The order.
    pub(crate) order: BuildOrder,
    /// Descriptors, as the order lists them.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// How progress is shown.
    pub(crate) progress: Progress,
    /// Only the id is printed.
    pub(crate) quiet: bool,
    /// Where the id is written.
    pub(crate) iid_file: Option<String>,
    /// Where what exporters answer is written.
    pub(crate) metadata_file: Option<String>,
    /// The context is an archive on standard input.
    pub(crate) archive: bool,
    /// The context's directory, if it is one.
    pub(crate) context: Option<PathBuf>,
    /// What standard input began with, when it is an archive.
    pub(crate) head: Vec<u8>,
    /// What is asked instead of building.
    pub(crate) call: Option<Call>,
}

/// Reads the flags of `build`.
pub(crate) fn read(invocation: &Invocation, matches: &Matches) -> Result<Ask, Failure> {
    read_inline(invocation, matches, None)
}

/// Reads the flags of `build`; a Dockerfile that is in no file may come along.
pub(crate) fn read_inline(
    invocation: &Invocation,
    matches: &Matches,
    inline: Option<&str>,
) -> Result<Ask, Failure> {
    let text = |name: &str| matches.string(name).map(str::to_owned).filter(|t| !t.is_empty());
    let progress = text("progress")
        .or_else(|| std::env::var("BUILDKIT_PROGRESS").ok())
        .unwrap_or_else(|| "auto".to_owned());
    let progress = Progress::parse(&progress).map_err(Failure::new)?;
    let mut ask = Ask {
        order: BuildOrder { id: identifier()?, ..BuildOrder::default() },
        descriptors: Vec::new(),
        progress,
        quiet: matches.bool("quiet") || progress == Progress::Quiet,
        iid_file: text("iidfile"),
        metadata_file: text("metadata-file"),
        archive: false,
        context: None,
        head: Vec::new(),
        call: Call::read(matches)?,
    };
    unsupported(matches)?;
    attributes(&mut ask, matches);
    for variable in invocation.proxies()? {
        // What the command line says wins.
        if let Some((name, value)) = variable.split_once('=') {
            let attribute = format!("build-arg:{name}");
            ask.order.attrs.entry(attribute).or_insert_with(|| value.to_owned());
        }
    }
    if let Some(call) = &ask.call {
        ask.order.attrs.insert("requestid".to_owned(), call.request());
        let caps = "moby.buildkit.frontend.subrequests";
        ask.order.attrs.insert("frontend.caps".to_owned(), caps.to_owned());
    }
    limits(&mut ask, matches);
    ask.order.dockerfile = inline.map(str::to_owned);
    context(&mut ask, matches.arg(0).unwrap_or_default(), matches.text("file"))?;
    contexts(&mut ask, &matches.list("build-context"))?;
    output::read(&mut ask, matches)?;
    places::caches(&mut ask, matches)?;
    places::attestations(&mut ask, matches)?;
    secrets(&mut ask, &matches.list("secret"))?;
    agents(&mut ask, &matches.list("ssh"))?;
    ask.order.allow = matches.strings("allow");
    if matches.text("network") == "host" {
        ask.order.allow.push("network.host".to_owned());
    }
    ask.order.credentials = logins::read(invocation)?;
    ask.order.quiet = ask.quiet;
    Ok(ask)
}

impl Ask {
    /// Hands a descriptor over.
    pub(super) fn hand(&mut self, order: HandingOrder, fd: OwnedFd) {
        self.order.handings.push(order);
        self.descriptors.push(fd);
    }

    /// Whether a directory of that name is handed over.
    pub(super) fn has_directory(&self, name: &str) -> bool {
        let wanted = HandingOrder::Directory { name: name.to_owned() };
        self.order.handings.contains(&wanted)
    }

    /// Hands a directory over.
    pub(super) fn directory(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(|error| Failure::new(format!("open directory {}: {error}", path.display())))?;
        self.hand(HandingOrder::Directory { name: name.to_owned() }, fd);
        Ok(())
    }
}

/// What is accepted by no daemon of this product.
fn unsupported(matches: &Matches) -> Result<(), Failure> {
    let isolation = matches.text("isolation");
    if !matches!(isolation, "" | "default") {
        return Err(Failure::new(format!("--isolation={isolation} is not supported on Linux")));
    }
    if matches.bool("squash") {
        // As buildx has it: the flag is the classic builder's.
        eprintln!(
            "WARNING: experimental flag squash is removed with BuildKit. You should squash inside \
             build using a multi-stage Dockerfile for efficiency."
        );
    }
    Ok(())
}

/// The front end's options.
fn attributes(ask: &mut Ask, matches: &Matches) {
    let attrs = &mut ask.order.attrs;
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            attrs.insert(name.to_owned(), value.to_owned());
        }
    };
    put("target", matches.text("target"));
    let platform = match matches.list("platform").join(",") {
        given if given.is_empty() => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
        given => given,
    };
    put("platform", &platform);
    put("cgroup-parent", matches.text("cgroup-parent"));
    if matches.bool("pull") {
        put("image-resolve-mode", "pull");
    }
    put("no-cache", &matches.strings("no-cache-filter").join(","));
    if matches.bytes("shm-size") > 0 {
        put("shm-size", &matches.bytes("shm-size").to_string());
    }
    put("ulimit", &matches.list("ulimit").join(","));
    put(
        "force-network-mode",
        match matches.text("network") {
            "default" | "bridge" => "",
            mode => mode,
        },
    );
    let hosts = matches.list("add-host").into_iter().flat_map(|entry| entry.split(','));
    let hosts = hosts.map(|entry| match entry.contains('=') {
        true => entry.to_owned(),
        false => entry.replacen(':', "=", 1),
    });
    let hosts: Vec<_> = hosts.collect();
    put("add-hosts", &hosts.join(","));
    if matches.bool("no-cache") {
        attrs.insert("no-cache".to_owned(), String::new());
    }
    for (name, prefix) in [("build-arg", "build-arg:"), ("label", "label:")] {
        for entry in matches.list(name) {
            let (key, value) = match entry.split_once('=') {
                Some((key, value)) => (key, value.to_owned()),
                None if name == "label" => (entry, String::new()),
                // A build argument without a value takes the environment's, if it has one.
                None => match std::env::var(entry) {
                    Ok(value) => (entry, value),
                    Err(_) => continue,
                },
            };
            attrs.insert(format!("{prefix}{key}"), value);
        }
    }
    for name in ["SOURCE_DATE_EPOCH"] {
        if let Ok(value) = std::env::var(name) {
            attrs.entry(format!("build-arg:{name}")).or_insert(value);
        }
    }
}

/// Limits of the steps.
fn limits(ask: &mut Ask, matches: &Matches) {
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            ask.order.attrs.insert(name.to_owned(), value.to_owned());
        }
    };
    for name in ["memory", "memory-swap"] {
        if matches.changed(name) {
            put(name, &matches.bytes(name).to_string());
        }
    }
    for name in ["cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems"] {
        put(name, matches.text(name));
    }
}

/// The main context and the Dockerfile.
fn context(ask: &mut Ask, context: &str, file: &str) -> Result<(), Failure> {
    if context == "-" {
        if file == "-" {
            return Err(Failure::new(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        return from_stdin(ask, file);
    }
    if is_remote(context) {
        ask.order.attrs.insert("context".to_owned(), context.to_owned());
        if file == "-" {
            ask.order.dockerfile = Some(dockerfile_from_stdin()?);
        } else if !file.is_empty() && ask.order.dockerfile.is_none() {
            ask.order.attrs.insert("filename".to_owned(), file.to_owned());
        }
        return Ok(());
    }
    let dir = Path::new(context);
    if !dir.is_dir() {
        return Err(Failure::new(match dir.exists() {
            true => format!("unable to prepare context: {context:?} is not a directory"),
            false => format!("unable to prepare context: path {context:?} not found"),
        }));
    }
    ask.directory("context", dir)?;
    ask.context = Some(dir.to_owned());
    if ask.order.dockerfile.is_some() {
        return Ok(());
    }
    if file == "-" {
        ask.order.dockerfile = Some(dockerfile_from_stdin()?);
        return Ok(());
    }
    let path = match file {
        "" if !dir.join("Dockerfile").exists() && dir.join("dockerfile").exists() => {
            dir.join("dockerfile")
        }
        "" => dir.join("Dockerfile"),
        given => PathBuf::from(given),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failure::new(format!("invalid Dockerfile {file:?}")))?;
    if !path.exists() {
        return Err(Failure::new(format!(
            "ERROR: failed to build: failed to read dockerfile: open {}: no such file or directory",
            path.display()
        )));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    ask.directory("dockerfile", parent.unwrap_or(Path::new(".")))?;
    ask.order.attrs.insert("filename".to_owned(), name);
    Ok(())
}

/// Standard input is an archive with the context, or a Dockerfile without one.
fn from_stdin(ask: &mut Ask, file: &str) -> Result<(), Failure> {
    let mut head = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let failed = |error| Failure::new(format!("read standard input: {error}"));
    (&mut stdin).take(1024).read_to_end(&mut head).map_err(failed)?;
    if head.is_empty() {
        return Err(Failure::new("unable to prepare context: standard input is empty"));
    }
    if !file.is_empty() {
        ask.order.attrs.insert("filename".to_owned(), file.to_owned());
    }
    if is_archive(&head) {
        (ask.archive, ask.head) = (true, head);
        return Ok(());
    }
    (&mut stdin).take(MAX_TEXT_BYTES).read_to_end(&mut head).map_err(failed)?;
    ask.order.dockerfile = Some(String::from_utf8_lossy(&head).into_owned());
    // A directory that is empty and stays so: it has no name any more.
    let path = std::env::temp_dir().join(format!("estiba-build-{}", ask.order.id));
    std::fs::create_dir(&path).map_err(failed)?;
    let handed = ask.directory("context", &path);
    std::fs::remove_dir(&path).map_err(failed)?;
    handed
}

/// tar, plain or compressed.
fn is_archive(head: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    magics.iter().any(|magic| head.starts_with(magic))
        || head.get(257..262).is_some_and(|magic| magic == b"ustar")
}

fn dockerfile_from_stdin() -> Result<String, Failure> {
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(MAX_TEXT_BYTES).read_to_end(&mut text);
    read.map_err(|error| Failure::new(format!("read the Dockerfile: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether a context is fetched by the daemon.
pub(crate) fn is_remote(context: &str) -> bool {
    const SCHEMES: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    SCHEMES.iter().any(|scheme| context.starts_with(scheme))
        || (context.starts_with("github.com/") && !Path::new(context).exists())
}

/// `--build-context name=directory|address`.
fn contexts(ask: &mut Ask, entries: &[&str]) -> Result<(), Failure> {
    for entry in entries {
        let pair =
            entry.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let Some((name, value)) = pair else {
            return Err(Failure::new(format!(
                "invalid context value: {entry}, expected key=value"
            )));
        };
        let name = name.to_ascii_lowercase();
        let address = if let Some(layout) = value.strip_prefix("oci-layout://") {
            places::layout(ask, &name, layout)?
        } else if value.contains("://") || value.starts_with("target:") || is_remote(value) {
            value.to_owned()
        } else {
            ask.directory(&name, Path::new(value))?;
            format!("local:{name}")
        };
        ask.order.attrs.insert(format!("context:{name}"), address);
    }
    Ok(())
}

/// `type=x,name=value,…`.
pub(super) fn typed(value: &str, default: &str) -> Result<Typed, Failure> {
    let fields = csv::split(value).map_err(Failure::new)?;
    let mut typed = Typed { kind: default.to_owned(), attrs: BTreeMap::new() };
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            return Err(Failure::new(format!("invalid value {field}")));
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "type" => value.clone_into(&mut typed.kind),
            name => {
                typed.attrs.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    Ok(typed)
}

/// `--secret id=…[,src=file|,env=NAME]`.
fn secrets(ask: &mut Ask, entries: &[&str]) -> Result<(), Failure> {
    for entry in entries {
        let typed = typed(entry, "")?;
        let attr = |name: &str| typed.attrs.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let id =
            attr("id").ok_or_else(|| Failure::new(format!("invalid secret {entry}: no id")))?;
        let file = attr("src").or(attr("source"));
        let value = match (file, attr("env"), typed.kind.as_str()) {
            (Some(path), ..) => {
                let mut value = Vec::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(MAX_TEXT_BYTES).read_to_end(&mut value))
                    .map_err(|error| {
                        Failure::new(format!("read secret {id} from {path}: {error}"))
                    })?;
                value
            }
            (None, Some(name), _) => variable(id, name)?,
            (None, None, "env") => variable(id, id)?,
            (None, None, "file") => {
                return Err(Failure::new(format!("invalid secret {entry}: no src")));
            }
            // Without either: the environment's, else a file of that name.
            (None, None, _) => match std::env::var_os(id) {
                Some(value) => value.into_encoded_bytes(),
                None => std::fs::read(id)
                    .map_err(|error| Failure::new(format!("read secret {id}: {error}")))?,
            },
        };
        ask.order.secrets.insert(id.to_owned(), base64::encode(&value));
    }
    Ok(())
}

fn variable(id: &str, name: &str) -> Result<Vec<u8>, Failure> {
    std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes).ok_or_else(|| {
        Failure::new(format!("read secret {id}: the environment has no variable {name}"))
    })
}

/// `--ssh default|id[=socket]`.
fn agents(ask: &mut Ask, entries: &[&str]) -> Result<(), Failure> {
    for entry in entries {
        let (id, path) = entry.split_once('=').unwrap_or((entry, ""));
        let path = match path {
            "" => std::env::var("SSH_AUTH_SOCK").map_err(|_| {
                Failure::new("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
            })?,
            path => path.to_owned(),
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let fd = open(path.as_str(), flags, Mode::empty())
            .map_err(|error| Failure::new(format!("open SSH agent {path}: {error}")))?;
        let stat = rustix::fs::fstat(&fd)
            .map_err(|error| Failure::new(format!("open SSH agent {path}: {error}")))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket {
            return Err(Failure::new(format!(
                "{path} is no agent's socket; add the key to an agent with ssh-add and give that"
            )));
        }
        ask.hand(HandingOrder::Agent { id: id.to_owned() }, fd);
    }
    Ok(())
}

/// A fresh id for the build.
fn identifier() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom")
        .map_err(|error| Failure::new(format!("open /dev/urandom: {error}")))?;
    random
        .read_exact(&mut bytes)
        .map_err(|error| Failure::new(format!("read /dev/urandom: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The sizes of flags in the form the classic build takes.
pub(super) fn size(text: &str) -> i64 {
    units::parse_bytes(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_dockerfiles() {
        assert!(is_archive(b"\x1f\x8b\x08"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar));
        assert!(!is_archive(b"FROM scratch\n"));
    }

    #[test]
    fn typed_values() {
        let value = typed("type=local,dest=/a b,\"x=1,2\"", "").unwrap();
        assert_eq!((value.kind.as_str(), value.attrs["x"].as_str()), ("local", "1,2"));
        assert_eq!(value.attrs["dest"], "/a b");
        assert!(typed("nonsense", "").is_err());
    }

    #[test]
    fn contexts_that_the_daemon_fetches() {
        for address in ["https://x/y.git", "git@host:x", "git://h/x", "github.com/a/b"] {
            assert!(is_remote(address), "{address}");
        }
        for path in [".", "dir", "/abs", "./https:"] {
            assert!(!is_remote(path), "{path}");
        }
    }
}
