//! Processes of LLB (`ExecOp`). Knows no other operation.

use bollard_buildkit_proto::pb;
use build::graph::{
    Bind, CacheMount, Device, Exec, Mount, MountKind, NetworkMode, OpKind, SecretEnv, SecretMount,
    SecurityMode, Sharing, Ulimit,
};

use super::{LlbError, MAX_PARTS, slot, text, texts};

/// The longest id of a cache mount, secret or agent.
const MAX_ID_BYTES: usize = 1024;

/// A process. Its mount at `/` is the root.
pub(super) fn exec(op: &pb::ExecOp) -> Result<OpKind, LlbError> {
    let meta = op.meta.as_ref().ok_or_else(|| LlbError::field("a process without a command"))?;
    if meta.args.is_empty() {
        return Err(LlbError::field("a process without a command"));
    }
    let (root, mounts) = mounts(&op.mounts)?;
    let env = texts("environment", &meta.env)?;
    let hosts = meta.extra_hosts.iter().map(|entry| (entry.host.clone(), entry.ip.clone()));
    let secret_env = op.secretenv.iter().take(MAX_PARTS).map(|secret| {
        let name = text("secret's variable", &secret.name)?;
        Ok::<_, LlbError>(SecretEnv {
            id: id("secret", &secret.id)?,
            name,
            required: !secret.optional,
        })
    });
    let ulimits = meta.ulimit.iter().map(|limit| Ulimit {
        name: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    });
    let devices = op.cdi_devices.iter();
    Ok(OpKind::Exec(Box::new(Exec {
        args: texts("arguments", &meta.args)?,
        env,
        secret_env: secret_env.collect::<Result<_, _>>()?,
        cwd: text("cwd", &meta.cwd)?,
        user: text("user", &meta.user)?,
        hostname: text("hostname", &meta.hostname)?,
        root,
        mounts,
        network: network(op.network)?,
        security: security(op.security)?,
        extra_hosts: hosts.take(MAX_PARTS).collect(),
        ulimits: ulimits.take(MAX_PARTS).collect(),
        shm_bytes: None,
        devices: devices
            .map(|device| Device { name: device.name.clone(), required: !device.optional })
            .collect(),
        proxy: meta.proxy_env.as_ref().map(proxy).unwrap_or_default(),
        cgroup_parent: text("cgroup parent", &meta.cgroup_parent)?,
        valid_exit_codes: meta.valid_exit_codes.clone(),
        remove_mount_stubs: meta.remove_mount_stubs_recursive,
    })))
}

fn network(mode: i32) -> Result<NetworkMode, LlbError> {
    match pb::NetMode::try_from(mode) {
        Ok(pb::NetMode::Unset) => Ok(NetworkMode::Sandbox),
        Ok(pb::NetMode::Host) => Ok(NetworkMode::Host),
        Ok(pb::NetMode::None) => Ok(NetworkMode::None),
        Err(_) => Err(LlbError::field(format!("unknown network mode {mode}"))),
    }
}

fn security(mode: i32) -> Result<SecurityMode, LlbError> {
    match pb::SecurityMode::try_from(mode) {
        Ok(pb::SecurityMode::Sandbox) => Ok(SecurityMode::Sandbox),
        Ok(pb::SecurityMode::Insecure) => Ok(SecurityMode::Insecure),
        Err(_) => Err(LlbError::field(format!("unknown security mode {mode}"))),
    }
}

/// The variables, in upper and lower case as BuildKit sets them.
fn proxy(proxy: &pb::ProxyEnv) -> Vec<String> {
    let pairs = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ];
    let set = pairs.into_iter().filter(|(_, value)| !value.is_empty() && !value.contains('\0'));
    set.flat_map(|(name, value)| {
        [format!("{name}={value}"), format!("{}={value}", name.to_lowercase())]
    })
    .collect()
}

fn mounts(list: &[pb::Mount]) -> Result<(Bind, Vec<Mount>), LlbError> {
    if list.len() > MAX_PARTS {
        return Err(LlbError::TooMany("mounts of one operation", MAX_PARTS));
    }
    let mut root = None;
    let mut mounts = Vec::with_capacity(list.len());
    for mount in list {
        let dest = text("mount", &mount.dest)?;
        let kind = kind(mount)?;
        match (dest.as_str(), kind) {
            ("/", MountKind::Bind(bind)) if root.is_none() => root = Some(bind),
            ("/", _) => return Err(LlbError::field("a process with several roots")),
            (_, kind) => mounts.push(Mount { dest, kind }),
        }
    }
    let root = root.ok_or_else(|| LlbError::field("a process without a root"))?;
    Ok((root, mounts))
}

fn kind(mount: &pb::Mount) -> Result<MountKind, LlbError> {
    let dest = &mount.dest;
    match pb::MountType::try_from(mount.mount_type) {
        Ok(pb::MountType::Bind) => Ok(MountKind::Bind(Bind {
            input: slot(mount.input)?,
            selector: text("selector", &mount.selector)?,
            readonly: mount.readonly,
            output: slot(mount.output)?,
        })),
        Ok(pb::MountType::Cache) => {
            let options = mount.cache_opt.clone().unwrap_or_default();
            Ok(MountKind::Cache(CacheMount {
                id: id("cache mount", if options.id.is_empty() { dest } else { &options.id })?,
                sharing: match pb::CacheSharingOpt::try_from(options.sharing) {
                    Ok(pb::CacheSharingOpt::Shared) => Sharing::Shared,
                    Ok(pb::CacheSharingOpt::Private) => Sharing::Private,
                    Ok(pb::CacheSharingOpt::Locked) => Sharing::Locked,
                    Err(_) => return Err(LlbError::field("unknown sharing of a cache mount")),
                },
                readonly: mount.readonly,
                input: slot(mount.input)?,
                selector: text("selector", &mount.selector)?,
                dir: None,
            }))
        }
        Ok(pb::MountType::Tmpfs) => {
            let size = mount.tmpfs_opt.as_ref().map_or(0, |options| options.size);
            let size_bytes = u64::try_from(size).ok().filter(|size| *size > 0);
            Ok(MountKind::Tmpfs { size_bytes })
        }
        Ok(pb::MountType::Secret) => {
            let o = mount.secret_opt.clone().unwrap_or_default();
            let file = (o.uid, o.gid, o.mode, o.optional);
            Ok(MountKind::Secret(secret("secret", &o.id, file)?))
        }
        Ok(pb::MountType::Ssh) => {
            let o = mount.ssh_opt.clone().unwrap_or_default();
            let name = if o.id.is_empty() { "default" } else { &o.id };
            let file = (o.uid, o.gid, o.mode, o.optional);
            Ok(MountKind::Ssh(secret("ssh agent", name, file)?))
        }
        Err(_) => Err(LlbError::field(format!("unknown kind of mount at {dest:?}"))),
    }
}

fn secret(
    what: &str,
    name: &str,
    (uid, gid, mode, optional): (u32, u32, u32, bool),
) -> Result<SecretMount, LlbError> {
    let (id, mode) = (id(what, name)?, mode & 0o7777);
    Ok(SecretMount { id, uid, gid, mode, required: !optional })
}

/// An id that a front end chose. It may look like a path (cache mounts are named after their
/// place), but like none that leads elsewhere.
fn id(what: &str, id: &str) -> Result<String, LlbError> {
    let fits = (1..=MAX_ID_BYTES).contains(&id.len())
        && !id.chars().any(char::is_control)
        && !id.split('/').any(|part| part == "..");
    match fits {
        true => Ok(id.to_owned()),
        false => Err(LlbError::field(format!("invalid id {id:?} of a {what}"))),
    }
}
