//! `-v source:target[:options]`.

use model::Denied;
use model::VolumeName;
use model::draft::BindDraft;
use model::mount::Propagation;
use model::selinux::Relabel;

/// What one entry of `Binds` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// A host path or a named volume.
    Named(BindDraft),
    /// Only a target: an anonymous volume there.
    Anonymous(String),
}

/// Parses one entry.
pub(crate) fn parse(text: &str) -> Result<Bind, Denied> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match *parts.as_slice() {
        [target] if !target.is_empty() => {
            check_target(text, target)?;
            return Ok(Bind::Anonymous(target.to_owned()));
        }
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(specification(text)),
    };
    if source.is_empty() || target.is_empty() {
        return Err(specification(text));
    }
    check_target(text, target)?;
    check_source(source)?;
    let mut bind = BindDraft {
        source: source.to_owned(),
        target: target.to_owned(),
        text: text.to_owned(),
        ..BindDraft::default()
    };
    read_options(&mut bind, options)?;
    Ok(Bind::Named(bind))
}

fn specification(text: &str) -> Denied {
    Denied::invalid(format!("invalid volume specification: '{text}'"))
}

fn check_target(text: &str, target: &str) -> Result<(), Denied> {
    if !target.starts_with('/') {
        return Err(Denied::invalid(format!(
            "invalid volume specification: '{text}': invalid mount path: '{target}' mount path \
             must be absolute"
        )));
    }
    if target.bytes().all(|byte| byte == b'/') {
        return Err(Denied::invalid(format!(
            "invalid volume specification: '{text}': invalid specification: destination can't be \
             '/'"
        )));
    }
    Ok(())
}

fn check_source(source: &str) -> Result<(), Denied> {
    if source.starts_with('/') || VolumeName::parse(source).is_ok() {
        return Ok(());
    }
    Err(Denied::invalid(format!(
        "create {source}: {source:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )))
}

fn read_options(bind: &mut BindDraft, options: &str) -> Result<(), Denied> {
    let invalid = || Denied::invalid(format!("invalid mode: {options}"));
    let mut seen: Vec<&str> = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let class = match option {
            "ro" | "rw" => {
                bind.readonly = option == "ro";
                "access"
            }
            "nocopy" => {
                bind.nocopy = true;
                "copy"
            }
            "z" | "Z" => {
                let whose = if option == "z" { Relabel::Shared } else { Relabel::Private };
                bind.relabel = Some(whose);
                "label"
            }
            // Meaningless on Linux and accepted by Docker there.
            "consistent" | "cached" | "delegated" | "default" => "consistency",
            _ if option.starts_with("uid=") => {
                bind.owner.uid = Some(option[4..].parse().map_err(|_| invalid())?);
                "uid"
            }
            _ if option.starts_with("gid=") => {
                bind.owner.gid = Some(option[4..].parse().map_err(|_| invalid())?);
                "gid"
            }
            _ => {
                bind.propagation = Some(Propagation::parse(option).ok_or_else(invalid)?);
                "propagation"
            }
        };
        if seen.contains(&class) {
            return Err(invalid());
        }
        seen.push(class);
    }
    let is_volume = !bind.source.starts_with('/');
    if is_volume && bind.propagation.is_some() || !is_volume && bind.nocopy {
        return Err(invalid());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted() {
        let named = |text: &str| match parse(text).unwrap() {
            Bind::Named(bind) => bind,
            Bind::Anonymous(target) => panic!("{target}"),
        };
        let bind = named("/a:/b:ro,rslave,z");
        assert_eq!((bind.source.as_str(), bind.target.as_str()), ("/a", "/b"));
        assert!(bind.readonly);
        assert_eq!(bind.propagation, Some(Propagation::RSlave));
        assert_eq!(bind.relabel, Some(Relabel::Shared));
        assert_eq!(bind.text, "/a:/b:ro,rslave,z");
        assert_eq!(named("data:/b:Z").relabel, Some(Relabel::Private));
        assert!(named("data:/b:nocopy").nocopy);
        let owner = named("/a:/b:ro,uid=7,gid=8").owner;
        assert_eq!((owner.uid, owner.gid), (Some(7), Some(8)));
        let plain = named("data:/b");
        assert_eq!((plain.readonly, plain.relabel), (false, None));
        assert_eq!(parse("/data").unwrap(), Bind::Anonymous("/data".to_owned()));
    }

    #[test]
    fn what_is_refused() {
        for (text, part) in [
            ("", "invalid volume specification: ''"),
            (":", "invalid volume specification: ':'"),
            ("a:", "invalid volume specification"),
            ("a:b:c:d", "invalid volume specification"),
            ("/a:b", "mount path must be absolute"),
            ("/a:/", "destination can't be '/'"),
            ("/a://", "destination can't be '/'"),
            ("./a:/b", "includes invalid characters for a local volume name"),
            ("../a:/b", "includes invalid characters"),
            ("/a:/b:rx", "invalid mode: rx"),
            ("/a:/b:uid=x", "invalid mode: uid=x"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
            ("data:/b:rshared", "invalid mode: rshared"),
        ] {
            let denied = parse(text).unwrap_err();
            assert!(denied.message.contains(part), "{text}: {denied}");
        }
    }
}
