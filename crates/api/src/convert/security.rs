//! `SecurityOpt`.

use super::null_if_empty;
use model::Denied;
use model::draft::{SeccompDraft, SecurityDraft, SecurityProfile};
use wire::docker::Strings;
use wire::profile::{ProfileFile, VERSION};

/// Every option, parsed; the text is kept to be shown back.
pub(crate) fn parse(options: Vec<String>) -> Result<SecurityDraft, Denied> {
    let mut security = SecurityDraft::default();
    for option in &options {
        read(&mut security, option)?;
    }
    security.text = options;
    Ok(security)
}

fn read(security: &mut SecurityDraft, option: &str) -> Result<(), Denied> {
    if option == "no-new-privileges" {
        security.no_new_privileges = Some(true);
        return Ok(());
    }
    if option == "disable" {
        security.labels.push(option.to_owned());
        return Ok(());
    }
    if option == "writable-cgroups" {
        security.writable_cgroups = true;
        return Ok(());
    }
    // The colon is the separator of old clients.
    let (name, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .ok_or_else(|| Denied::invalid(format!("invalid --security-opt 1: {option:?}")))?;
    let unknown = || Denied::invalid(format!("invalid --security-opt 2: {option:?}"));
    match name {
        "no-new-privileges" => security.no_new_privileges = Some(truth(value).ok_or_else(unknown)?),
        // Nothing but the two words, as Docker has it.
        "writable-cgroups" if matches!(value, "true" | "false") => {
            security.writable_cgroups = value == "true";
        }
        "label" => security.labels.push(value.to_owned()),
        "apparmor" => value.clone_into(&mut security.apparmor),
        "seccomp" => {
            security.seccomp = match value {
                "unconfined" => SeccompDraft::Unconfined,
                "builtin" | "default" => SeccompDraft::Default,
                profile => SeccompDraft::Profile(profile.to_owned()),
            }
        }
        "systempaths" if value == "unconfined" => security.unmasked = true,
        "landlock" if value == "unconfined" => security.unscoped = true,
        "profile" if value.starts_with('{') => learned(security, value)?,
        "profile" => {
            security.profile = Some(match value {
                "estiba" => SecurityProfile::Estiba,
                "docker" => SecurityProfile::Docker,
                _ => return Err(unknown()),
            });
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

/// The content of a learned profile: its filter; its capabilities are taken by [`capabilities`].
fn learned(security: &mut SecurityDraft, json: &str) -> Result<(), Denied> {
    let profile = profile(json)?;
    let filter = serde_json::to_string(&profile.seccomp)
        .map_err(|error| Denied::invalid(format!("security profile: {error}")))?;
    security.seccomp = SeccompDraft::Profile(filter);
    Ok(())
}

fn profile(json: &str) -> Result<ProfileFile, Denied> {
    let bad = |why: String| Denied::invalid(format!("security profile: {why}"));
    let profile: ProfileFile = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
    match profile.version {
        VERSION => Ok(profile),
        version => Err(bad(format!("version {version} is not known"))),
    }
}

/// The capabilities to add and to drop, with a learned profile: all are dropped but its own and
/// those that were asked for besides; what was asked to be dropped stays so.
pub(crate) fn capabilities(
    options: &[String],
    add: Vec<String>,
    drop: Vec<String>,
) -> Result<(Vec<String>, Vec<String>), Denied> {
    let json = options.iter().find_map(|option| option.strip_prefix("profile={"));
    let Some(rest) = json else { return Ok((add, drop)) };
    let profile = profile(&format!("{{{rest}"))?;
    let bare = |name: &str| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_owned)
    };
    let dropped: Vec<String> = drop.iter().map(|name| bare(name)).collect();
    let kept = |name: &String| !dropped.contains(&bare(name));
    let own = profile.capabilities.into_iter().filter(kept).collect::<Vec<_>>();
    Ok((add.into_iter().chain(own).collect(), vec!["ALL".to_owned()]))
}

/// The options of a container as they are shown: those asked for, and `labels` that go without
/// saying.
pub(crate) fn shown(asked: &SecurityDraft, labels: &[String]) -> Strings {
    let implied = labels.iter().filter(|_| asked.labels.is_empty());
    let implied = implied.map(|label| format!("label={label}"));
    null_if_empty(asked.text.iter().cloned().chain(implied).collect())
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(option: &str) -> Result<SecurityDraft, Denied> {
        parse(vec![option.to_owned()])
    }

    #[test]
    fn a_learned_profile_is_all_there_is() {
        let json = r#"{"version":1,"capabilities":["CAP_CHOWN","CAP_KILL"],
            "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[]}}"#;
        let option = format!("profile={json}");
        let security = one(&option).unwrap();
        assert!(matches!(&security.seccomp, SeccompDraft::Profile(it) if it.contains("ERRNO")));
        let words = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (add, drop) = capabilities(&[option], words(&["NET_RAW"]), words(&["kill"])).unwrap();
        assert_eq!((add, drop), (words(&["NET_RAW", "CAP_CHOWN"]), words(&["ALL"])));
        let (add, drop) = capabilities(&[], words(&["A"]), words(&["B"])).unwrap();
        assert_eq!((add, drop), (words(&["A"]), words(&["B"])));
        for bad in ["profile={}", r#"profile={"version":2,"capabilities":[],"seccomp":{}}"#] {
            assert!(one(bad).unwrap_err().to_string().contains("security profile"), "{bad}");
        }
    }

    #[test]
    fn options() {
        assert_eq!(one("no-new-privileges").unwrap().no_new_privileges, Some(true));
        assert_eq!(one("no-new-privileges:false").unwrap().no_new_privileges, Some(false));
        assert_eq!(one("no-new-privileges=true").unwrap().no_new_privileges, Some(true));
        assert_eq!(one("seccomp=unconfined").unwrap().seccomp, SeccompDraft::Unconfined);
        let profile = one(r#"seccomp={"a":"b=c"}"#).unwrap();
        assert_eq!(profile.seccomp, SeccompDraft::Profile(r#"{"a":"b=c"}"#.to_owned()));
        assert_eq!(one("label=disable").unwrap().labels, ["disable"]);
        assert_eq!(one("label:type:t").unwrap().labels, ["type:t"]);
        assert_eq!(one("disable").unwrap().labels, ["disable"]);
        assert_eq!(one("apparmor=unconfined").unwrap().apparmor, "unconfined");
        assert!(one("systempaths=unconfined").unwrap().unmasked);
        assert!(one("landlock=unconfined").unwrap().unscoped);
        assert!(one("writable-cgroups").unwrap().writable_cgroups);
        assert!(!one("writable-cgroups=false").unwrap().writable_cgroups);
        assert_eq!(one("profile=docker").unwrap().profile, Some(SecurityProfile::Docker));
        assert_eq!(one("label=disable").unwrap().text, ["label=disable"]);
    }

    #[test]
    fn refuses() {
        for (option, part) in [
            ("nonsense", "invalid --security-opt 1: \"nonsense\""),
            ("a=b", "invalid --security-opt 2: \"a=b\""),
            ("no-new-privileges=maybe", "invalid --security-opt 2"),
            ("writable-cgroups=1", "invalid --security-opt 2"),
            ("systempaths=x", "invalid --security-opt 2"),
            ("landlock=x", "invalid --security-opt 2"),
            ("profile=x", "invalid --security-opt 2"),
        ] {
            assert_eq!(one(option).unwrap_err().message.find(part), Some(0), "{option}");
        }
    }
}
