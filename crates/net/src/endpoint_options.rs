//! What a container may ask of its interface on one network, by driver options with Docker's
//! names. Read once, before anything is made. Pure.

use crate::bridge::check_interface_name;
use crate::sysctl::Sysctl;
use model::error::Denied;
use model::network::EndpointDraft;

/// Name of the interface in the container.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";
/// Settings of the interface: `net.ipv4.conf.IFNAME.forwarding=1`, with commas between.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// Stands for the interface's name in a setting.
const PLACEHOLDER: &str = "IFNAME";

/// The name that an endpoint's interface has to have, if it has to have one.
pub fn asked_interface(draft: &EndpointDraft) -> Option<&str> {
    draft.options.get(INTERFACE_NAME).map(String::as_str).filter(|name| !name.is_empty())
}

/// The name asked for, or the first of `prefix` and a number that is not among `taken`.
pub(crate) fn interface_name(
    draft: &EndpointDraft,
    prefix: &str,
    taken: &[String],
) -> Result<String, Denied> {
    let is_taken = |name: &str| taken.iter().any(|it| it == name);
    match asked_interface(draft) {
        Some("lo") => Err(Denied::invalid("interface name \"lo\" is the loopback's")),
        // In Docker's words, which scripts look for.
        Some(name) if is_taken(name) => Err(Denied::conflict(format!(
            "error renaming interface to {name:?}: file exists: another interface of the \
             container has this name"
        ))),
        Some(name) => check_interface_name(name).map(|()| name.to_owned()),
        None => {
            let mut names = (0u32..).map(|n| format!("{prefix}{n}"));
            Ok(names.find(|name| !is_taken(name)).unwrap_or_default())
        }
    }
}

/// The settings asked for of the interface `name`, in order.
pub(crate) fn sysctls(draft: &EndpointDraft, name: &str) -> Result<Vec<Sysctl>, Denied> {
    let text = draft.options.get(SYSCTLS).map_or("", String::as_str);
    text.split(',').filter(|word| !word.is_empty()).map(|word| sysctl(word, name)).collect()
}

/// `net.FAMILY.GROUP.IFNAME.SETTING=VALUE`, of which the kernel has no others per interface.
fn sysctl(text: &str, name: &str) -> Result<Sysctl, Denied> {
    let invalid = || {
        Denied::invalid(format!(
            "invalid value {text:?} for option {SYSCTLS}: it is \
             net.{{ipv4|ipv6|mpls}}.{{conf|neigh}}.{PLACEHOLDER}.SETTING=VALUE"
        ))
    };
    let (key, value) = text.split_once('=').ok_or_else(invalid)?;
    let words: Vec<&str> = key.split('.').collect();
    let ["net", family @ ("ipv4" | "ipv6" | "mpls"), group @ ("conf" | "neigh"), link, setting] =
        words[..]
    else {
        return Err(invalid());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !link.eq_ignore_ascii_case(PLACEHOLDER) || !setting.chars().all(plain) {
        return Err(invalid());
    }
    Ok(Sysctl::new(format!("{family}/{group}/{name}/{setting}"), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn draft(option: &str, value: &str) -> EndpointDraft {
        let options = BTreeMap::from([(option.to_owned(), value.to_owned())]);
        EndpointDraft { options, ..EndpointDraft::default() }
    }

    #[test]
    fn names_are_as_asked_or_the_first_that_is_free() {
        let named = |asked: &str, taken: &[&str]| {
            let taken: Vec<String> = taken.iter().map(|it| (*it).to_owned()).collect();
            interface_name(&draft(INTERFACE_NAME, asked), "eth", &taken)
        };
        assert_eq!(named("", &[]).unwrap(), "eth0");
        assert_eq!(named("", &["eth1", "eth0", "web"]).unwrap(), "eth2");
        assert_eq!(named("web", &["eth0"]).unwrap(), "web");
        assert!(named("eth0", &["eth0"]).unwrap_err().message.contains("file exists"));
        assert!(named("lo", &[]).is_err() && named("a/b", &[]).is_err());
    }

    #[test]
    fn settings_are_of_the_interface_alone() {
        let read = |text: &str| sysctls(&draft(SYSCTLS, text), "eth7");
        let paths = |text: &str| -> Vec<String> {
            read(text).unwrap().iter().map(|it| format!("{}={}", it.path, it.value)).collect()
        };
        assert_eq!(paths(""), [""; 0]);
        assert_eq!(
            paths("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.hop_limit=7"),
            ["ipv4/conf/eth7/log_martians=1", "ipv6/conf/eth7/hop_limit=7"]
        );
        for bad in [
            "net.ipv4.conf.eth0.forwarding=1",
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.IFNAME.forwarding",
            "net.ipv4.conf.IFNAME./../x=1",
            "net.core.conf.IFNAME.somaxconn=1",
            "kernel.conf.x.IFNAME.y=1",
        ] {
            assert!(read(bad).unwrap_err().message.contains(bad), "{bad}");
        }
    }
}
