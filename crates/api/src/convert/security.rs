//! `SecurityOpt`.

use model::Denied;
use model::draft::{SeccompDraft, SecurityDraft, SecurityProfile};

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
    // The colon is the separator of old clients.
    let (name, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .ok_or_else(|| Denied::invalid(format!("invalid --security-opt 1: {option:?}")))?;
    let unknown = || Denied::invalid(format!("invalid --security-opt 2: {option:?}"));
    match name {
        "no-new-privileges" => security.no_new_privileges = Some(truth(value).ok_or_else(unknown)?),
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
    fn options() {
        assert_eq!(one("no-new-privileges").unwrap().no_new_privileges, Some(true));
        assert_eq!(one("no-new-privileges:false").unwrap().no_new_privileges, Some(false));
        assert_eq!(one("no-new-privileges=true").unwrap().no_new_privileges, Some(true));
        assert_eq!(one("seccomp=unconfined").unwrap().seccomp, SeccompDraft::Unconfined);
        let profile = one(r#"seccomp={"a":"b=c"}"#).unwrap();
        assert_eq!(profile.seccomp, SeccompDraft::Profile(r#"{"a":"b=c"}"#.to_owned()));
        assert_eq!(one("label=disable").unwrap().labels, ["disable"]);
        assert_eq!(one("apparmor=unconfined").unwrap().apparmor, "unconfined");
        assert!(one("systempaths=unconfined").unwrap().unmasked);
        assert_eq!(one("profile=docker").unwrap().profile, Some(SecurityProfile::Docker));
        assert_eq!(one("label=disable").unwrap().text, ["label=disable"]);
    }

    #[test]
    fn refuses() {
        for (option, part) in [
            ("nonsense", "invalid --security-opt 1: \"nonsense\""),
            ("a=b", "invalid --security-opt 2: \"a=b\""),
            ("no-new-privileges=maybe", "invalid --security-opt 2"),
            ("systempaths=x", "invalid --security-opt 2"),
            ("profile=x", "invalid --security-opt 2"),
        ] {
            assert_eq!(one(option).unwrap_err().message.find(part), Some(0), "{option}");
        }
    }
}
