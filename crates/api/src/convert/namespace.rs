//! Whose namespaces a container uses: `host`, `container:<name|id>` and Docker's other words.

use model::Denied;
use model::draft::{SharedNamespace, UsernsMode};
use model::network::NetworkMode;

const CONTAINER: &str = "container:";

/// `NetworkMode`.
pub(crate) fn network(text: &str) -> Result<NetworkMode, Denied> {
    Ok(match text {
        "" | "default" => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        _ => match text.strip_prefix(CONTAINER) {
            Some("") => {
                return Err(Denied::invalid(
                    "Invalid network mode: invalid container format container:<name|id>",
                ));
            }
            Some(container) => NetworkMode::Container(container.to_owned()),
            None if text == "container" => {
                return Err(Denied::invalid(
                    "Invalid network mode: invalid container format container:<name|id>",
                ));
            }
            None => NetworkMode::Named(text.to_owned()),
        },
    })
}

/// The text of a network mode; the default one is the bridge.
pub(crate) fn network_text(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(container) => format!("{CONTAINER}{container}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

/// `PidMode`.
pub(crate) fn pid(text: &str) -> Result<SharedNamespace, Denied> {
    match text {
        "" | "private" => Ok(SharedNamespace::Private),
        "host" => Ok(SharedNamespace::Host),
        _ => container(text).ok_or_else(|| Denied::invalid(format!("invalid PID mode: {text}"))),
    }
}

/// `IpcMode`.
pub(crate) fn ipc(text: &str) -> Result<SharedNamespace, Denied> {
    match text {
        "" | "private" => Ok(SharedNamespace::Private),
        "shareable" => Ok(SharedNamespace::Shareable),
        "none" => Ok(SharedNamespace::Absent),
        "host" => Ok(SharedNamespace::Host),
        _ => container(text).ok_or_else(|| Denied::invalid(format!("invalid IPC mode: {text}"))),
    }
}

/// `UTSMode`.
pub(crate) fn uts(text: &str) -> Result<SharedNamespace, Denied> {
    match text {
        "" | "private" => Ok(SharedNamespace::Private),
        "host" => Ok(SharedNamespace::Host),
        _ => Err(Denied::invalid(format!("invalid UTS mode: {text}"))),
    }
}

/// `CgroupnsMode`.
pub(crate) fn cgroupns(text: &str) -> Result<Option<SharedNamespace>, Denied> {
    match text {
        "" => Ok(None),
        "private" => Ok(Some(SharedNamespace::Private)),
        "host" => Ok(Some(SharedNamespace::Host)),
        _ => Err(Denied::invalid(format!("invalid cgroup namespace mode: {text}"))),
    }
}

/// `UsernsMode`.
pub(crate) fn userns(text: &str) -> Result<UsernsMode, Denied> {
    match text {
        "" | "private" => Ok(UsernsMode::Auto),
        "host" => Ok(UsernsMode::Host),
        _ => Err(Denied::invalid(format!("invalid user namespace mode: {text}"))),
    }
}

/// The text of a user namespace mode.
pub(crate) fn userns_text(mode: UsernsMode) -> String {
    match mode {
        UsernsMode::Auto => String::new(),
        UsernsMode::Host => "host".to_owned(),
    }
}

/// The text of a mode whose private form is `private`.
pub(crate) fn text(mode: &SharedNamespace, private: &str) -> String {
    match mode {
        SharedNamespace::Private => private.to_owned(),
        SharedNamespace::Shareable => "shareable".to_owned(),
        SharedNamespace::Absent => "none".to_owned(),
        SharedNamespace::Host => "host".to_owned(),
        SharedNamespace::Container(container) => format!("{CONTAINER}{container}"),
    }
}

fn container(text: &str) -> Option<SharedNamespace> {
    let name = text.strip_prefix(CONTAINER).filter(|name| !name.is_empty())?;
    Some(SharedNamespace::Container(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for mode in ["none", "host", "container:db", "web"] {
            assert_eq!(network_text(&network(mode).unwrap()), mode);
        }
        assert_eq!(network_text(&network("").unwrap()), "bridge");
        for mode in ["private", "shareable", "none", "host", "container:db"] {
            assert_eq!(text(&ipc(mode).unwrap(), "private"), mode);
        }
        for mode in ["", "host", "container:db"] {
            assert_eq!(text(&pid(mode).unwrap(), ""), mode);
        }
    }

    #[test]
    fn refuses() {
        for bad in ["container", "container:"] {
            assert!(network(bad).is_err(), "{bad}");
            assert!(ipc(bad).is_err() && pid(bad).is_err(), "{bad}");
        }
        assert_eq!(pid("x").unwrap_err().message, "invalid PID mode: x");
        assert_eq!(ipc("x").unwrap_err().message, "invalid IPC mode: x");
        assert_eq!(uts("container:x").unwrap_err().message, "invalid UTS mode: container:x");
        assert!(cgroupns("x").is_err() && userns("x").is_err());
    }
}
