//! Which mounts a container gets: `-v` and `--mount` win over `--volumes-from`, all of them over
//! the image's volumes.

use super::Ask;
use crate::draft::BindDraft;
use crate::error::Denied;
use crate::id::VolumeName;
use crate::mount::{Mount, MountDraft, MountKind, MountOwner, MountSource, Propagation};
use std::collections::BTreeMap;

/// How many mounts a container may ask for.
const MAX_MOUNTS: usize = 1024;

pub(super) fn resolve(ask: &Ask<'_>) -> Result<Vec<Mount>, Denied> {
    let host = &ask.draft.host;
    let mut inherited: BTreeMap<String, Mount> =
        ask.inherited.iter().map(|mount| (mount.target.clone(), mount.clone())).collect();
    let mut own = BTreeMap::new();
    let mut add = |mount: Mount| match own.insert(mount.target.clone(), mount) {
        Some(before) => Err(Denied::invalid(format!("Duplicate mount point: {}", before.target))),
        None => Ok(()),
    };
    for draft in &host.binds {
        add(bind(draft)?)?;
    }
    for draft in &host.mounts {
        add(mount(draft)?)?;
    }
    for (target, options) in &host.tmpfs {
        add(tmpfs(target, options)?)?;
    }
    inherited.extend(own);
    for target in ask.config.volumes.iter().chain(&ask.draft.volumes) {
        let target = absolute(target)?;
        inherited.entry(target.clone()).or_insert_with(|| anonymous(target));
    }
    if inherited.len() > MAX_MOUNTS {
        return Err(Denied::invalid(format!("more than {MAX_MOUNTS} mounts")));
    }
    let mut mounts: Vec<Mount> = inherited.into_values().collect();
    // Outer ones first; the order among equals is the targets'.
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
    Ok(mounts)
}

fn anonymous(target: String) -> Mount {
    Mount {
        target,
        writable: true,
        source: MountSource::Volume {
            name: String::new(),
            driver: "local".to_owned(),
            subpath: String::new(),
            copy_up: true,
            anonymous: true,
        },
        mode: String::new(),
        owner: MountOwner::default(),
        relabel: None,
    }
}

fn bind(draft: &BindDraft) -> Result<Mount, Denied> {
    let target = absolute(&draft.target)?;
    let source = if draft.source.starts_with('/') {
        MountSource::Bind {
            path: source_path(&draft.source)?,
            propagation: draft.propagation.unwrap_or(Propagation::RPrivate),
            recursive: true,
            create: true,
            readonly_recursive: true,
            within: None,
        }
    } else {
        volume_name(&draft.source)?;
        MountSource::Volume {
            name: draft.source.clone(),
            driver: "local".to_owned(),
            subpath: String::new(),
            copy_up: !draft.nocopy,
            anonymous: draft.source.is_empty(),
        }
    };
    let mode = draft.text.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
    let BindDraft { owner, relabel, .. } = *draft;
    Ok(Mount { target, writable: !draft.readonly, source, mode, owner, relabel })
}

fn mount(draft: &MountDraft) -> Result<Mount, Denied> {
    let target = absolute(&draft.target)?;
    let source = match &draft.kind {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            create_source,
            readonly_non_recursive,
            readonly_force_recursive,
        } => {
            check_depth(draft, *propagation, *readonly_force_recursive)?;
            MountSource::Bind {
                path: source_path(source).map_err(|_| {
                    Denied::invalid(format!(
                        "invalid mount config for type \"bind\": invalid mount path: '{source}' \
                         mount path must be absolute"
                    ))
                })?,
                propagation: propagation.unwrap_or(Propagation::RPrivate),
                recursive: !non_recursive,
                create: *create_source,
                readonly_recursive: !readonly_non_recursive,
                within: None,
            }
        }
        MountKind::Volume { name, nocopy, driver, subpath, .. } => {
            volume_name(name)?;
            check_subpath(subpath)?;
            MountSource::Volume {
                name: name.clone(),
                driver: if driver.is_empty() { "local".to_owned() } else { driver.clone() },
                subpath: subpath.clone(),
                copy_up: !nocopy,
                anonymous: name.is_empty(),
            }
        }
        MountKind::Tmpfs { size_bytes, mode, options } => {
            let mut out = Vec::new();
            if *size_bytes > 0 {
                out.push(format!("size={size_bytes}"));
            }
            if *mode != 0 {
                out.push(format!("mode={mode:o}"));
            }
            let MountOwner { uid, gid, mode: asked } = draft.owner;
            out.extend(uid.map(|uid| format!("uid={uid}")));
            out.extend(gid.map(|gid| format!("gid={gid}")));
            out.extend(asked.map(|mode| format!("mode={mode:o}")));
            out.extend(options.iter().cloned());
            return tmpfs_of(target, out, !draft.readonly);
        }
        MountKind::Image { source, subpath } => {
            check_subpath(subpath)?;
            let source = MountSource::Image {
                source: source.clone(),
                subpath: subpath.clone(),
                image: None,
            };
            let (mode, owner) = (String::new(), draft.owner);
            return Ok(Mount { target, writable: false, source, mode, owner, relabel: None });
        }
    };
    let (mode, owner) = (String::new(), draft.owner);
    Ok(Mount { target, writable: !draft.readonly, source, mode, owner, relabel: None })
}

/// Docker's rules of a read-only mount that reaches below itself.
fn check_depth(
    draft: &MountDraft,
    propagation: Option<Propagation>,
    force: bool,
) -> Result<(), Denied> {
    if !force {
        return Ok(());
    }
    if !draft.readonly {
        return Err(Denied::invalid(
            "invalid mount config for type \"bind\": ReadOnlyForceRecursive requires ReadOnly",
        ));
    }
    if !matches!(propagation, None | Some(Propagation::RPrivate)) {
        return Err(Denied::invalid(
            "invalid mount config for type \"bind\": ReadOnlyForceRecursive requires \
             propagation to be rprivate",
        ));
    }
    Ok(())
}

fn tmpfs(target: &str, options: &str) -> Result<Mount, Denied> {
    let words: Vec<String> =
        options.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let writable = !words.iter().any(|word| word == "ro");
    let mut mount = tmpfs_of(absolute(target)?, words, writable)?;
    options.clone_into(&mut mount.mode);
    Ok(mount)
}

/// tmpfs options that change nothing but the mount itself.
const TMPFS_OPTIONS: [&str; 28] = [
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "remount",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "bind",
    "rbind",
    "defaults",
];

/// tmpfs options with a value.
const TMPFS_VALUES: [&str; 9] =
    ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge", "inode64"];

fn tmpfs_of(target: String, options: Vec<String>, writable: bool) -> Result<Mount, Denied> {
    let known = |word: &String| match word.split_once('=') {
        Some((name, value)) => {
            TMPFS_VALUES.contains(&name) && !value.contains(|c: char| c.is_ascii_control())
        }
        None => TMPFS_OPTIONS.contains(&word.as_str()) || word == "noswap",
    };
    if let Some(word) = options.iter().find(|word| !known(word)) {
        return Err(Denied::invalid(format!("invalid tmpfs option [{word:?}]")));
    }
    let source = MountSource::Tmpfs { options };
    let (mode, owner) = (String::new(), MountOwner::default());
    Ok(Mount { target, writable, source, mode, owner, relabel: None })
}

fn volume_name(name: &str) -> Result<(), Denied> {
    if name.is_empty() {
        return Ok(());
    }
    VolumeName::parse(name).map(drop).map_err(|_| {
        Denied::invalid(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
             use absolute path"
        ))
    })
}

fn check_subpath(subpath: &str) -> Result<(), Denied> {
    if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") {
        return Err(Denied::invalid(format!(
            "subpath must be a relative path within the volume: {subpath:?}"
        )));
    }
    Ok(())
}

/// Where a bind comes from: any absolute path, the host's root too.
fn source_path(path: &str) -> Result<String, Denied> {
    clean(path).ok_or_else(|| {
        Denied::invalid(format!("invalid mount path: '{path}' mount path must be absolute"))
    })
}

fn absolute(path: &str) -> Result<String, Denied> {
    let cleaned = clean(path).ok_or_else(|| {
        Denied::invalid(format!("invalid mount path: '{path}' mount path must be absolute"))
    })?;
    if cleaned == "/" {
        return Err(Denied::invalid("invalid specification: destination can't be '/'"));
    }
    Ok(cleaned)
}

/// An absolute path without `.`, `..`, empty components and trailing slash; `None` when it is not
/// absolute or holds a NUL.
pub(super) fn clean(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
