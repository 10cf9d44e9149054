//! From the file to rules. Everything that can be wrong with a rule is said when it is read.

use std::io::Read;
use std::path::Path;

use model::policy::{Class, Clients, HostMount, HostNamespace, Limits, Policy, Rule};
use wire::policy::{
    AuditSettings, ClientSettings, Containers, LimitSettings, Objects, PolicyFile, RuleSettings,
};

use super::AuthorityError;
use super::names::Names;

/// The largest file, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What was read.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) policy: Policy,
    pub(super) audit: Option<AuditSettings>,
    pub(super) names: Names,
}

/// Reads the rules.
pub(super) fn read(path: &Path) -> Result<Document, AuthorityError> {
    let failed = |source| AuthorityError::Read { path: path.to_owned(), source };
    let wrong = |why: String| AuthorityError::Policy { path: path.to_owned(), why };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("it is larger than {MAX_BYTES} bytes")));
    }
    let names = Names::of_host()?;
    let file: PolicyFile = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let policy = policy(&path.to_string_lossy(), &file, &names).map_err(wrong)?;
    Ok(Document { policy, audit: file.audit, names })
}

fn policy(source: &str, file: &PolicyFile, names: &Names) -> Result<Policy, String> {
    let mut rules: Vec<Rule> = Vec::new();
    for settings in &file.rules {
        let rule =
            rule(settings, names).map_err(|why| format!("rule {:?}: {why}", settings.name))?;
        if rule.name.is_empty() || rules.iter().any(|known| known.name == rule.name) {
            return Err(format!("every rule needs a name of its own, not {:?}", rule.name));
        }
        rules.push(rule);
    }
    if let Some(audit) = &file.audit
        && !audit.file.starts_with('/')
    {
        return Err(format!("audit: file {:?} is not an absolute path", audit.file));
    }
    Ok(Policy { source: source.to_owned(), rules })
}

fn rule(settings: &RuleSettings, names: &Names) -> Result<Rule, String> {
    let mut allow = std::collections::BTreeSet::new();
    for pattern in &settings.allow {
        allow.extend(Class::matching(pattern).map_err(|denied| denied.message)?);
    }
    Ok(Rule {
        name: settings.name.clone(),
        clients: clients(&settings.clients, names)?,
        allow,
        own_objects: settings.objects == Objects::Own,
        limits: match &settings.containers {
            Containers::Word(_) => None,
            Containers::Limits(limits) => Some(self::limits(limits)?),
        },
        images: settings.images.clone(),
    })
}

fn clients(settings: &ClientSettings, names: &Names) -> Result<Clients, String> {
    if *settings == ClientSettings::default() {
        return Err("\"clients\" names nobody".to_owned());
    }
    Ok(Clients {
        anyone: settings.anyone,
        uids: settings.users.iter().map(|text| names.uid(text)).collect::<Result<_, _>>()?,
        gids: settings.groups.iter().map(|text| names.gid(text)).collect::<Result<_, _>>()?,
        common_names: settings.common_names.clone(),
        units: settings.units.clone(),
        names: settings.alternative_names.clone(),
    })
}

fn limits(settings: &LimitSettings) -> Result<Limits, String> {
    let capability = |name: &String| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    let set = |names: &[String]| names.iter().cloned().collect();
    Ok(Limits {
        privileged: settings.privileged,
        host_mounts: settings.host_mounts.iter().map(|t| mount(t)).collect::<Result<_, _>>()?,
        host_namespaces: settings
            .host_namespaces
            .iter()
            .map(|text| namespace(text))
            .collect::<Result<_, _>>()?,
        capabilities: settings.capabilities.iter().map(capability).collect(),
        devices: settings.devices.clone(),
        weaker_security: settings.weaker_security,
        runtimes: set(&settings.runtimes),
        log_drivers: set(&settings.log_drivers),
        volume_drivers: set(&settings.volume_drivers),
        network_drivers: set(&settings.network_drivers),
    })
}

fn mount(text: &str) -> Result<HostMount, String> {
    let (path, writable) = match text.strip_suffix(":ro") {
        Some(path) => (path, false),
        None => (text, true),
    };
    let odd = |part: &str| matches!(part, "." | "..");
    if !path.starts_with('/') || path.split('/').any(odd) || path.contains("//") {
        return Err(format!("host-mounts: {text:?} is not an absolute path without \"..\""));
    }
    Ok(HostMount { path: path.to_owned(), writable })
}

fn namespace(text: &str) -> Result<HostNamespace, String> {
    let named = |namespace: &&HostNamespace| namespace.name() == text;
    HostNamespace::ALL.iter().find(named).copied().ok_or_else(|| {
        let known = HostNamespace::ALL.map(HostNamespace::name).join(", ");
        format!("host-namespaces: {text:?} is none of {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_file() {
        let document = parse(
            r#"{"audit": {"file": "/var/log/a", "required": true, "reads": false},
                "rules": [
                  {"name": "root", "clients": {"users": ["root"]}, "allow": ["*"],
                   "objects": "all", "containers": "any"},
                  {"name": "dev", "clients": {"groups": ["4000000000"], "units": ["dev*"]},
                   "allow": ["containers.*", "images.read"],
                   "containers": {"host-mounts": ["/srv:ro", "/home/{user}"],
                     "host-namespaces": ["network"], "capabilities": ["cap_net_raw"]},
                   "images": ["docker.io/library/*"]}]}"#,
        )
        .unwrap();
        let [root, dev] = &document.policy.rules[..] else { panic!("two rules") };
        assert!(root.limits.is_none() && !root.own_objects && root.clients.uids.contains(&0));
        let limits = dev.limits.as_ref().unwrap();
        assert!(dev.own_objects && limits.capabilities.contains("NET_RAW"));
        assert_eq!(limits.host_mounts[0], HostMount { path: "/srv".into(), writable: false });
        assert!(document.audit.unwrap().required);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let rule = |rest: &str| {
            format!(r#"{{"rules": [{{"name": "x", "clients": {{"anyone": true}}, {rest}}}]}}"#)
        };
        for (text, why) in [
            ("{".to_owned(), "EOF"),
            (r#"{"rule": []}"#.to_owned(), "unknown field `rule`"),
            (r#"{"rules": [{"name": "x", "clients": {}, "allow": []}]}"#.into(), "names nobody"),
            (rule(r#""allow": ["containers.fly"]"#), "no class of operations is called"),
            (rule(r#""allow": [], "container": {}"#), "unknown field `container`"),
            (rule(r#""allow": [], "containers": {"privileged": "yes"}"#), "did not match"),
            (rule(r#""allow": [], "containers": {"host-mounts": ["srv"]}"#), "absolute path"),
            (rule(r#""allow": [], "containers": {"host-mounts": ["/a/../b"]}"#), "absolute path"),
            (rule(r#""allow": [], "containers": {"host-namespaces": ["net"]}"#), "is none of"),
            (
                r#"{"rules": [{"name":"x","clients":{"users":["nobody-at-all"]},"allow":[]}]}"#
                    .into(),
                "no user",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let twice = r#"{"name": "x", "clients": {"anyone": true}, "allow": []}"#;
        let error = parse(&format!(r#"{{"rules": [{twice}, {twice}]}}"#)).unwrap_err();
        assert!(error.contains("a name of its own"), "{error}");
    }
}
