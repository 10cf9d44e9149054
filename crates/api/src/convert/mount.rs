//! `--mount` as asked, and mounts as they are.

use model::Denied;
use model::mount::{Mount, MountDraft, MountKind, MountOwner, MountSource, Propagation};
use model::view::ContainerView;
use wire::docker::container::MountPoint;
use wire::docker::host_config as wire_host;

/// One mount asked for in the long form.
pub(crate) fn from_wire(mount: wire_host::Mount) -> Result<MountDraft, Denied> {
    let refuse = |why: String| {
        Denied::invalid(format!("invalid mount config for type {:?}: {why}", mount.kind))
    };
    if mount.target.is_empty() {
        return Err(refuse("field Target must not be empty".to_owned()));
    }
    if !mount.target.starts_with('/') {
        let target = &mount.target;
        let text = format!("invalid mount path: '{target}' mount path must be absolute");
        return Err(refuse(text));
    }
    if mount.target.bytes().all(|byte| byte == b'/') {
        return Err(refuse("invalid specification: destination can't be '/'".to_owned()));
    }
    for (given, field, kind) in [
        (mount.bind_options.is_some(), "BindOptions", "bind"),
        (mount.volume_options.is_some(), "VolumeOptions", "volume"),
        (mount.image_options.is_some(), "ImageOptions", "image"),
        (mount.tmpfs_options.is_some(), "TmpfsOptions", "tmpfs"),
    ] {
        if given && mount.kind != kind {
            return Err(refuse(format!("field {field} must not be specified")));
        }
    }
    let kind = match mount.kind.as_str() {
        "bind" => bind(&mount).map_err(refuse)?,
        "volume" => volume(&mount),
        "tmpfs" => tmpfs(&mount).map_err(refuse)?,
        "image" => image(&mount).map_err(refuse)?,
        "npipe" | "cluster" => {
            let kind = &mount.kind;
            return Err(Denied::unsupported(format!("mount type {kind:?} is not supported")));
        }
        _ => return Err(refuse("mount type unknown".to_owned())),
    };
    Ok(MountDraft {
        target: mount.target,
        readonly: mount.read_only,
        kind,
        consistency: mount.consistency,
        owner: owner(mount.owner.unwrap_or_default())?,
    })
}

fn owner(asked: wire_host::MountOwner) -> Result<MountOwner, Denied> {
    let wire_host::MountOwner { uid, gid, mode } = asked;
    if let Some(mode) = mode.filter(|mode| *mode > 0o7777) {
        return Err(Denied::invalid(format!("invalid mode {mode:o} of a mount")));
    }
    if [uid, gid].into_iter().flatten().any(|id| id >= u32::MAX - 1) {
        return Err(Denied::invalid("invalid owner of a mount"));
    }
    Ok(MountOwner { uid, gid, mode })
}

fn bind(mount: &wire_host::Mount) -> Result<MountKind, String> {
    let options = mount.bind_options.clone().unwrap_or_default();
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    if !mount.source.starts_with('/') {
        let source = &mount.source;
        return Err(format!("invalid mount path: '{source}' mount path must be absolute"));
    }
    let propagation = match options.propagation.as_str() {
        "" => None,
        name => Some(
            Propagation::parse(name).ok_or_else(|| format!("invalid propagation mode: {name}"))?,
        ),
    };
    Ok(MountKind::Bind {
        source: mount.source.clone(),
        propagation,
        non_recursive: options.non_recursive,
        create_source: options.create_mountpoint,
        readonly_non_recursive: options.read_only_non_recursive,
        readonly_force_recursive: options.read_only_force_recursive,
    })
}

fn volume(mount: &wire_host::Mount) -> MountKind {
    let options = mount.volume_options.clone().unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    MountKind::Volume {
        name: mount.source.clone(),
        nocopy: options.no_copy,
        labels: options.labels,
        driver: driver.name,
        driver_opts: driver.options,
        subpath: options.subpath,
    }
}

fn tmpfs(mount: &wire_host::Mount) -> Result<MountKind, String> {
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    if !mount.source.is_empty() {
        return Err("field Source must not be specified".to_owned());
    }
    if options.size_bytes < 0 {
        return Err(format!("invalid tmpfs size: {}", options.size_bytes));
    }
    let flags = options.options.into_iter().map(|option| match option.as_slice() {
        [flag] => Ok(flag.clone()),
        [name, value] => Ok(format!("{name}={value}")),
        _ => Err("tmpfs options must be a name or a name and a value".to_owned()),
    });
    Ok(MountKind::Tmpfs {
        size_bytes: options.size_bytes,
        mode: options.mode,
        options: flags.collect::<Result<_, _>>()?,
    })
}

fn image(mount: &wire_host::Mount) -> Result<MountKind, String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let subpath = mount.image_options.clone().unwrap_or_default().subpath;
    Ok(MountKind::Image { source: mount.source.clone(), subpath })
}

/// A mount as it was asked for.
pub(crate) fn to_wire(draft: &MountDraft) -> wire_host::Mount {
    let mut mount = wire_host::Mount {
        target: draft.target.clone(),
        read_only: draft.readonly,
        consistency: draft.consistency.clone(),
        owner: given(wire_host::MountOwner {
            uid: draft.owner.uid,
            gid: draft.owner.gid,
            mode: draft.owner.mode,
        }),
        ..wire_host::Mount::default()
    };
    match draft.kind.clone() {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            create_source,
            readonly_non_recursive,
            readonly_force_recursive,
        } => {
            let options = wire_host::BindOptions {
                propagation: propagation.map(|p| p.name().to_owned()).unwrap_or_default(),
                non_recursive,
                create_mountpoint: create_source,
                read_only_non_recursive: readonly_non_recursive,
                read_only_force_recursive: readonly_force_recursive,
            };
            (mount.kind, mount.source) = ("bind".to_owned(), source);
            mount.bind_options = given(options);
        }
        MountKind::Volume { name, nocopy, labels, driver, driver_opts, subpath } => {
            let driver = wire_host::DriverConfig { name: driver, options: driver_opts };
            let driver_config = given(driver);
            let options =
                wire_host::VolumeOptions { no_copy: nocopy, labels, subpath, driver_config };
            (mount.kind, mount.source) = ("volume".to_owned(), name);
            mount.volume_options = given(options);
        }
        MountKind::Tmpfs { size_bytes, mode, options } => {
            let pairs = options
                .iter()
                .map(|option| option.splitn(2, '=').map(str::to_owned).collect::<Vec<_>>());
            let options = wire_host::TmpfsOptions { size_bytes, mode, options: pairs.collect() };
            mount.kind = "tmpfs".to_owned();
            mount.tmpfs_options = given(options);
        }
        MountKind::Image { source, subpath } => {
            (mount.kind, mount.source) = ("image".to_owned(), source);
            mount.image_options = given(wire_host::ImageOptions { subpath });
        }
    }
    mount
}

fn given<T: Default + PartialEq>(options: T) -> Option<T> {
    (options != T::default()).then_some(options)
}

/// The mounts of a container as they are (`Mounts` of inspect and the list). What `--tmpfs` made is
/// not among them, as in Docker; what `--mount type=tmpfs` made is.
pub(crate) fn points(view: &ContainerView) -> Vec<MountPoint> {
    let by_tmpfs_flag = |mount: &&Mount| {
        let is_tmpfs = matches!(mount.source, MountSource::Tmpfs { .. });
        is_tmpfs && view.draft.host.tmpfs.contains_key(&mount.target)
    };
    view.spec.mounts.iter().filter(|mount| !by_tmpfs_flag(mount)).map(|m| point(view, m)).collect()
}

fn point(view: &ContainerView, mount: &Mount) -> MountPoint {
    let mut shown = MountPoint {
        destination: mount.target.clone(),
        mode: mount.mode.clone(),
        rw: mount.writable,
        ..MountPoint::default()
    };
    match &mount.source {
        MountSource::Bind { path, propagation, .. } => {
            shown.kind = "bind".to_owned();
            shown.source.clone_from(path);
            shown.propagation = propagation.name().to_owned();
        }
        MountSource::Volume { name, driver, .. } => {
            let path = view.paths.volumes.iter().find(|(target, _)| *target == mount.target);
            shown.kind = "volume".to_owned();
            shown.name.clone_from(name);
            shown.driver.clone_from(driver);
            shown.source = path.map(|(_, path)| path.clone()).unwrap_or_default();
        }
        MountSource::Tmpfs { .. } => shown.kind = "tmpfs".to_owned(),
        MountSource::Image { source, .. } => {
            shown.kind = "image".to_owned();
            shown.source.clone_from(source);
        }
        // No container that anybody sees has any.
        MountSource::Layers { .. } => shown.kind = "image".to_owned(),
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::json;

    fn parse(text: &str) -> Result<MountDraft, Denied> {
        from_wire(json::from_slice(text.as_bytes()).unwrap())
    }

    #[test]
    fn mounts_round_trip() {
        for text in [
            r#"{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}"#,
            concat!(
                r#"{"Type":"bind","Source":"/a","Target":"/b","BindOptions":"#,
                r#"{"Propagation":"rslave","CreateMountpoint":true}}"#
            ),
            r#"{"Type":"volume","Target":"/b"}"#,
            concat!(
                r#"{"Type":"volume","Source":"v","Target":"/b","VolumeOptions":{"NoCopy":true,"#,
                r#""Labels":{"a":"b"},"Subpath":"x","DriverConfig":{"Name":"local","#,
                r#""Options":{"o":"p"}}}}"#
            ),
            concat!(
                r#"{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5,"Mode":1023,"#,
                r#""Options":[["exec"],["uid","7"]]}}"#
            ),
            r#"{"Type":"image","Source":"busybox","Target":"/i"}"#,
            r#"{"Type":"bind","Source":"/a","Target":"/b","Owner":{"Uid":7,"Mode":448}}"#,
        ] {
            let shown = serde_json::to_string(&to_wire(&parse(text).unwrap())).unwrap();
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, part) in [
            (r#"{"Type":"bind","Source":"/a"}"#, "field Target must not be empty"),
            (r#"{"Type":"bind","Source":"/a","Target":"b"}"#, "mount path must be absolute"),
            (r#"{"Type":"bind","Source":"/a","Target":"/"}"#, "destination can't be '/'"),
            (r#"{"Type":"bind","Target":"/b"}"#, "field Source must not be empty"),
            (r#"{"Type":"bind","Source":"a","Target":"/b"}"#, "'a' mount path must be absolute"),
            (r#"{"Type":"tmpfs","Source":"/a","Target":"/b"}"#, "field Source must not be spec"),
            (r#"{"Type":"x","Target":"/b"}"#, "mount type unknown"),
            (r#"{"Type":"cluster","Target":"/b"}"#, "not supported"),
            (
                r#"{"Type":"tmpfs","Target":"/b","BindOptions":{}}"#,
                "field BindOptions must not be specified",
            ),
        ] {
            let denied = parse(text).unwrap_err();
            assert!(denied.message.contains(part), "{text}: {denied}");
        }
    }
}
