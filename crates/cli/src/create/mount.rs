//! `-v`, `--mount` and `--tmpfs`.

use std::collections::BTreeMap;
use std::path::Path;

use wire::docker::Empty;
use wire::docker::host_config::{
    BindOptions, DriverConfig, ImageOptions, Mount, TmpfsOptions, VolumeOptions,
};

use crate::flags::Matches;
use crate::{csv, number, units};

/// Reads one `--mount`: comma-separated `key[=value]`.
pub(crate) fn parse(text: &str) -> Result<Mount, String> {
    let fields = csv::split(text)?;
    if fields.len() == 1 && fields[0].is_empty() {
        return Err("value is empty".to_owned());
    }
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        set(&mut mount, field, &key, value)?;
    }
    check(&mount)?;
    Ok(mount)
}

fn set(mount: &mut Mount, field: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    let flag = || match value {
        None => Ok(true),
        Some(value) => {
            number::parse_bool(value).map_err(|_| format!("invalid value for {key}: {value}"))
        }
    };
    match key {
        "readonly" | "ro" => {
            mount.read_only = flag()?;
            return Ok(());
        }
        "volume-nocopy" => {
            volume(mount).no_copy = flag()?;
            return Ok(());
        }
        "bind-nonrecursive" => {
            bind(mount).non_recursive = flag()?;
            return Ok(());
        }
        _ => {}
    }
    let Some(value) = value else {
        return Err(format!("invalid field '{field}' must be a key=value pair"));
    };
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => {
            mount.source = value.to_owned();
            if value.starts_with('.') {
                mount.source = absolute(value);
            }
        }
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-recursive" => recursive(mount, value)?,
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-label" => insert(&mut volume(mount).labels, value),
        "volume-opt" => insert(&mut driver(mount).options, value),
        "image-subpath" => {
            let options = mount.image_options.get_or_insert_with(ImageOptions::default);
            value.clone_into(&mut options.subpath);
        }
        "uid" | "gid" => {
            let id = value.parse().map_err(|_| format!("invalid value for {key}: {value}"))?;
            let owner = mount.owner.get_or_insert_default();
            *(if key == "uid" { &mut owner.uid } else { &mut owner.gid }) = Some(id);
        }
        "mode" => {
            let mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
            mount.owner.get_or_insert_default().mode = Some(mode);
        }
        "tmpfs-size" => {
            tmpfs_options(mount).size_bytes = units::parse_bytes(value)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
        }
        "tmpfs-mode" => {
            tmpfs_options(mount).mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn recursive(mount: &mut Mount, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => bind(mount).non_recursive = true,
        "writable" => bind(mount).read_only_non_recursive = true,
        "readonly" => bind(mount).read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \
                 \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn check(mount: &Mount) -> Result<(), String> {
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (kind, given, name) in [
        ("volume", mount.volume_options.is_some(), "volume"),
        ("bind", mount.bind_options.is_some(), "bind"),
        ("image", mount.image_options.is_some(), "image"),
        ("tmpfs", mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if given && mount.kind != kind {
            return Err(format!("cannot mix '{name}-*' options with mount type '{}'", mount.kind));
        }
    }
    let forced = mount.bind_options.as_ref().is_some_and(|bind| bind.read_only_force_recursive);
    if forced && !mount.read_only {
        return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in \
                    conjunction"
            .into());
    }
    Ok(())
}

/// `--mount`, and what other flags mean in that form; nothing when there is none.
pub(super) fn long(matches: &Matches) -> Result<Option<Vec<Mount>>, String> {
    let mounts: Result<Vec<Mount>, String> = matches.list("mount").into_iter().map(parse).collect();
    Ok(Some(mounts?).filter(|mounts| !mounts.is_empty()))
}

/// `-v`: binds with a source, and volumes without a name.
pub(super) fn volumes(matches: &Matches) -> Result<(Vec<String>, BTreeMap<String, Empty>), String> {
    let (mut binds, mut anonymous) = (Vec::new(), BTreeMap::new());
    for text in matches.list("volume") {
        if text.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        match text.split_once(':') {
            // Docker's command line takes this for a drive of Windows.
            Some((drive, rest)) if is_letter(drive) && !rest.contains(':') => {
                anonymous.insert(text.to_owned(), Empty {});
            }
            None => {
                anonymous.insert(text.to_owned(), Empty {});
            }
            Some((source, rest)) if source.starts_with('.') => {
                binds.push(format!("{}:{rest}", absolute(source)));
            }
            Some(_) if text.split(':').any(str::is_empty) => {
                return Err(format!("invalid spec: {text}: empty section between colons"));
            }
            Some(_) => binds.push(text.to_owned()),
        }
    }
    Ok((binds, anonymous))
}

fn is_letter(text: &str) -> bool {
    text.len() == 1 && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// `--tmpfs path[:options]`.
pub(super) fn tmpfs(list: &[&str]) -> BTreeMap<String, String> {
    let pair = |text: &&str| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    };
    list.iter().map(pair).collect()
}

/// A path below the working directory, without `.` and `..`, as far as text tells.
pub(crate) fn absolute(path: &str) -> String {
    let mut parts: Vec<String> = match std::env::current_dir() {
        Ok(dir) if !path.starts_with('/') => {
            dir.to_string_lossy().split('/').map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts.retain(|part| !part.is_empty());
    Path::new("/").join(parts.join("/")).to_string_lossy().into_owned()
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_with(BindOptions::default)
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_with(VolumeOptions::default)
}

fn driver(mount: &mut Mount) -> &mut DriverConfig {
    volume(mount).driver_config.get_or_insert_with(DriverConfig::default)
}

fn tmpfs_options(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default)
}

fn insert(map: &mut BTreeMap<String, String>, pair: &str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(name.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_mount() {
        for (text, why) in [
            ("", "value is empty"),
            ("type=x", "target is required"),
            ("type=bind,src=/a,dst=/b,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
            ("type=bind,src", "invalid field 'src' must be a key=value pair"),
            (
                "type=bind,dst=/b,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("type=tmpfs,dst=/b,tmpfs-size=x", "invalid value for tmpfs-size: x"),
            ("type=bind,src=/a,dst=/b,readonly=no", "invalid value for readonly: no"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(absolute("/a/./b/../c"), "/a/c");
        assert!(absolute("./x").ends_with("/x"));
    }
}
