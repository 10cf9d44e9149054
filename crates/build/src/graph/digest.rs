//! Digests of operations: sha256 over a canonical encoding (every field tagged by its place,
//! numbers little-endian, lengths before what varies). Structs are taken apart by name, so that
//! no field is misnamed. Never knows what the bytes of a file system are.

use super::{
    Base, Bind, CacheMount, Change, Copy, Device, DirOwner, Exec, File, FileAction, Git, Http,
    Image, Local, Mode, Mount, MountKind, NetworkMode, OciLayout, OpKind, Owner, Pull, SecretEnv,
    SecretMount, SecurityMode, Sharing, Ulimit, Unpack, Who,
};
use crate::platform::Platform;
use model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Names the encoding; to be changed with it, so that no record of the old one is found.
const ENCODING: &str = "estiba.op.1";

/// Digest of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpDigest(pub Digest);

impl OpDigest {
    /// The digest of this operation upon inputs of these digests and output numbers.
    pub fn with_inputs(self, inputs: impl IntoIterator<Item = (Self, usize)>) -> Self {
        let mut hash = Encoder::new("inputs");
        hash.bytes(self.0.as_bytes());
        for (input, output) in inputs {
            hash.bytes(input.0.as_bytes());
            hash.put(&output);
        }
        hash.finish()
    }
}

impl fmt::Display for OpDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The digest of an operation without its inputs.
pub(super) fn own(kind: &OpKind, platform: Option<&Platform>) -> OpDigest {
    let mut hash = Encoder::new("op");
    match platform {
        Some(Platform { os, architecture, variant }) => {
            hash.byte(1).put(os).put(architecture).put(variant);
        }
        None => {
            hash.byte(0);
        }
    }
    hash.put(kind);
    hash.finish()
}

struct Encoder(Sha256);

impl Encoder {
    fn new(purpose: &str) -> Self {
        let mut encoder = Self(Sha256::new());
        encoder.bytes(ENCODING.as_bytes());
        encoder.bytes(purpose.as_bytes());
        encoder
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.update([byte]);
        self
    }

    fn number(&mut self, number: i128) -> &mut Self {
        self.0.update(number.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.put(&bytes.len());
        self.0.update(bytes);
        self
    }

    fn put(&mut self, value: &impl Encode) -> &mut Self {
        value.encode(self);
        self
    }

    fn finish(self) -> OpDigest {
        OpDigest(Digest::sha256(self.0.finalize().into()))
    }
}

trait Encode {
    fn encode(&self, to: &mut Encoder);
}

macro_rules! encode_numbers {
    ($($number:ty)*) => {$(
        impl Encode for $number {
            fn encode(&self, to: &mut Encoder) {
                to.number(i128::from(*self));
            }
        }
    )*};
}
encode_numbers!(bool u8 u32 u64 i32 i64);

impl Encode for usize {
    fn encode(&self, to: &mut Encoder) {
        to.number(i128::try_from(*self).unwrap_or(i128::MAX));
    }
}

impl Encode for String {
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self.as_bytes());
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Some(value) => to.byte(1).put(value),
            None => to.byte(0),
        };
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, to: &mut Encoder) {
        to.put(&self.len());
        for value in self {
            to.put(value);
        }
    }
}

impl Encode for (String, String) {
    fn encode(&self, to: &mut Encoder) {
        to.put(&self.0).put(&self.1);
    }
}

impl Encode for BTreeMap<String, String> {
    fn encode(&self, to: &mut Encoder) {
        to.put(&self.len());
        for (key, value) in self {
            to.put(key).put(value);
        }
    }
}

impl Encode for OpKind {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Image(Image { reference, pull, layer_limit }) => {
                to.byte(1).put(reference).put(pull).put(layer_limit)
            }
            Self::OciLayout(OciLayout { reference, store, layer_limit }) => {
                to.byte(2).put(reference).put(store).put(layer_limit)
            }
            Self::Local(local) => to.byte(3).put(local),
            Self::Git(git) => to.byte(4).put(git),
            Self::Http(http) => to.byte(5).put(http),
            Self::Exec(exec) => to.byte(6).put(exec.as_ref()),
            Self::File(File { actions }) => to.byte(7).put(actions),
            Self::Merge => to.byte(8),
            Self::Diff { lower, upper } => to.byte(9).put(lower).put(upper),
        };
    }
}

impl Encode for Pull {
    fn encode(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Missing => 0,
            Self::Always => 1,
            Self::Never => 2,
        });
    }
}

impl Encode for Local {
    fn encode(&self, to: &mut Encoder) {
        let Self { name, include, exclude, follow, shared_key } = self;
        to.put(name).put(include).put(exclude).put(follow).put(shared_key);
    }
}

impl Encode for Git {
    fn encode(&self, to: &mut Encoder) {
        let Self { remote, reference, subdir, checksum, keep_git_dir, skip_submodules, .. } = self;
        let Self { token_secret, header_secret, ssh, known_hosts, .. } = self;
        to.put(remote).put(reference).put(subdir).put(checksum);
        to.put(keep_git_dir).put(skip_submodules);
        to.put(token_secret).put(header_secret).put(ssh).put(known_hosts);
    }
}

impl Encode for Http {
    fn encode(&self, to: &mut Encoder) {
        let Self { url, checksum, filename, mode, uid, gid, header_secret, unpack, headers } = self;
        to.put(url).put(checksum).put(filename).put(mode).put(uid).put(gid);
        to.put(header_secret).put(unpack).put(headers);
    }
}

impl Encode for Exec {
    fn encode(&self, to: &mut Encoder) {
        let Self { args, env, secret_env, cwd, user, hostname, root, mounts, .. } = self;
        to.put(args).put(env).put(secret_env).put(cwd).put(user).put(hostname);
        to.put(root).put(mounts);
        let Self { network, security, extra_hosts, ulimits, shm_bytes, devices, .. } = self;
        to.put(network).put(security).put(extra_hosts).put(ulimits).put(shm_bytes).put(devices);
        // Neither changes what the step makes of its inputs: a proxy is how it gets there.
        let Self { proxy: _, cgroup_parent: _, valid_exit_codes, remove_mount_stubs, .. } = self;
        to.put(valid_exit_codes).put(remove_mount_stubs);
    }
}

impl Encode for Mount {
    fn encode(&self, to: &mut Encoder) {
        let Self { dest, kind } = self;
        to.put(dest);
        match kind {
            MountKind::Bind(bind) => to.byte(1).put(bind),
            MountKind::Cache(cache) => to.byte(2).put(cache),
            MountKind::Tmpfs { size_bytes } => to.byte(3).put(size_bytes),
            MountKind::Secret(secret) => to.byte(4).put(secret),
            MountKind::Ssh(ssh) => to.byte(5).put(ssh),
        };
    }
}

impl Encode for Bind {
    fn encode(&self, to: &mut Encoder) {
        let Self { input, selector, readonly, output } = self;
        to.put(input).put(selector).put(readonly).put(output);
    }
}

impl Encode for CacheMount {
    fn encode(&self, to: &mut Encoder) {
        let Self { id, sharing, readonly, input, selector, dir } = self;
        to.put(id).put(readonly).put(input).put(selector);
        to.byte(match sharing {
            Sharing::Shared => 0,
            Sharing::Private => 1,
            Sharing::Locked => 2,
        });
        match dir {
            Some(DirOwner { uid, gid, mode }) => to.byte(1).put(uid).put(gid).put(mode),
            None => to.byte(0),
        };
    }
}

impl Encode for SecretMount {
    fn encode(&self, to: &mut Encoder) {
        let Self { id, uid, gid, mode, required } = self;
        to.put(id).put(uid).put(gid).put(mode).put(required);
    }
}

impl Encode for SecretEnv {
    fn encode(&self, to: &mut Encoder) {
        let Self { id, name, required } = self;
        to.put(id).put(name).put(required);
    }
}

impl Encode for NetworkMode {
    fn encode(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Sandbox => 0,
            Self::Host => 1,
            Self::None => 2,
        });
    }
}

impl Encode for SecurityMode {
    fn encode(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Sandbox => 0,
            Self::Insecure => 1,
        });
    }
}

impl Encode for Ulimit {
    fn encode(&self, to: &mut Encoder) {
        let Self { name, soft, hard } = self;
        to.put(name).put(soft).put(hard);
    }
}

impl Encode for Device {
    fn encode(&self, to: &mut Encoder) {
        let Self { name, required } = self;
        to.put(name).put(required);
    }
}

impl Encode for Base {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Empty => to.byte(0),
            Self::Input(slot) => to.byte(1).put(slot),
            Self::Action(number) => to.byte(2).put(number),
        };
    }
}

impl Encode for FileAction {
    fn encode(&self, to: &mut Encoder) {
        let Self { base, change, output } = self;
        to.put(base).put(output);
        match change {
            Change::Copy(copy) => to.byte(1).put(copy.as_ref()),
            Change::Mkdir { path, mode, parents, owner, time_ns } => {
                to.byte(2).put(path).put(mode).put(parents).put(owner).put(time_ns)
            }
            Change::Mkfile { path, mode, data, owner, time_ns } => {
                to.byte(3).put(path).put(mode).put(owner).put(time_ns).bytes(data)
            }
            Change::Symlink { path, target, owner, time_ns } => {
                to.byte(4).put(path).put(target).put(owner).put(time_ns)
            }
            Change::Remove { path, allow_missing, wildcard } => {
                to.byte(5).put(path).put(allow_missing).put(wildcard)
            }
        };
    }
}

impl Encode for Copy {
    fn encode(&self, to: &mut Encoder) {
        let Self { from, src, dest, owner, mode, follow_symlinks, contents_only, unpack, .. } =
            self;
        to.put(from).put(src).put(dest).put(owner).put(mode).put(follow_symlinks);
        to.put(contents_only).byte(match unpack {
            Unpack::Never => 0,
            Unpack::Detect => 1,
        });
        let Self { create_dest, wildcard, allow_empty, time_ns, include, .. } = self;
        to.put(create_dest).put(wildcard).put(allow_empty).put(time_ns).put(include);
        let Self { exclude, required, replace, .. } = self;
        to.put(exclude).put(required).put(replace);
    }
}

impl Encode for Mode {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Bits(bits) => to.byte(1).put(bits),
            Self::Symbolic(text) => to.byte(2).put(text),
        };
    }
}

impl Encode for Owner {
    fn encode(&self, to: &mut Encoder) {
        let Self { user, group } = self;
        to.put(user).put(group);
    }
}

impl Encode for Who {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Id(id) => to.byte(1).put(id),
            Self::Name { name, within } => to.byte(2).put(name).put(within),
        };
    }
}
