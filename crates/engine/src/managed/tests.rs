//! What a plugin may and what may be set of it, by data.

use super::plan::{self, Shared};
use super::{document, settings};
use model::draft::{SharedNamespace, UsernsMode};
use model::mount::{MountKind, Propagation};
use model::network::NetworkMode;
use wire::plugin::{Config, Privilege};

const GREEDY: &str = r#"{
    "entrypoint": ["/driver", "-v"], "workdir": "/work",
    "interface": {"types": ["docker.volumedriver/1.0", "docker.logdriver/1.0", "other.x/1"],
                  "socket": "d.sock"},
    "network": {"type": "host"}, "ipchost": true, "pidhost": true,
    "propagatedMount": "/mnt/volumes",
    "linux": {"capabilities": ["CAP_SYS_ADMIN"], "allowAllDevices": true,
              "devices": [{"name": "fuse", "path": "/dev/fuse", "settable": ["path"]}]},
    "mounts": [{"name": "state", "source": "/var/lib/state", "destination": "/state",
                "type": "bind", "options": ["rbind", "ro", "rslave"], "settable": ["source"]},
               {"destination": "/tmp", "type": "tmpfs", "options": ["size=1m"]}],
    "env": [{"name": "DEBUG", "value": "0", "settable": ["value"]}, {"name": "FIXED", "value": "1"},
            {"name": "LATER", "settable": ["value"]}],
    "args": {"name": "args", "value": ["a"], "settable": ["value"]},
    "user": {"UID": 5, "GID": 6}
}"#;

fn config(text: &str) -> Config {
    document::read(text.as_bytes()).unwrap()
}

fn shared() -> Shared {
    let at = |path: &str| path.into();
    Shared { sockets: at("/s"), propagated: at("/p"), logging: at("/l") }
}

fn modest() -> Config {
    config(
        r#"{"entrypoint":["/d"],"network":{"type":"bridge"},
            "interface":{"types":["docker.authz/1.0"],"socket":"d.sock"}}"#,
    )
}

#[test]
fn everything_wanted_is_asked_for() {
    let told: Vec<String> = document::privileges(&config(GREEDY))
        .iter()
        .map(|it| format!("{}: {}", it.name, it.value.join(" ")))
        .collect();
    assert_eq!(
        told,
        [
            "network: host",
            "host ipc namespace: true",
            "host pid namespace: true",
            "mount: /var/lib/state",
            "device: /dev/fuse",
            "allow-all-devices: true",
            "capabilities: CAP_SYS_ADMIN",
        ]
    );
    assert!(document::privileges(&modest()).is_empty());
}

#[test]
fn a_grant_must_be_the_whole_and_nothing_else() {
    let config = config(GREEDY);
    let mut all = document::privileges(&config);
    all.reverse();
    document::check_granted(&config, &all).unwrap();
    let less = document::check_granted(&config, &all[1..]).unwrap_err();
    assert_eq!(less.to_string(), "incorrect privileges");
    all[0].value.push("CAP_SYS_MODULE".into());
    assert!(document::check_granted(&config, &all).is_err());
    let more = Privilege { name: "network".into(), value: vec!["host".into()], ..all[0].clone() };
    assert!(document::check_granted(&modest(), &[more]).is_err());
    document::check_granted(&modest(), &[]).unwrap();
}

#[test]
fn a_plugin_gets_what_it_was_granted() {
    let config = config(GREEDY);
    let draft = plan::draft(&config, &settings::initial(&config), &shared()).unwrap();
    let host = &draft.host;
    assert_eq!((draft.user.as_str(), draft.workdir.as_str()), ("5:6", "/work"));
    assert_eq!(draft.env, ["DEBUG=0", "FIXED=1"]);
    assert_eq!(draft.entrypoint.unwrap(), ["/driver", "-v"]);
    assert_eq!(draft.command.unwrap(), ["a"]);
    assert_eq!((&host.network, host.userns), (&NetworkMode::Host, UsernsMode::Host));
    assert_eq!((&host.ipc, &host.pid), (&SharedNamespace::Host, &SharedNamespace::Host));
    assert_eq!(host.cap_add, ["CAP_SYS_ADMIN"]);
    assert_eq!(host.resources.devices[0].host_path, "/dev/fuse");
    assert_eq!(host.resources.device_rules, ["a *:* rwm"]);
    let targets: Vec<_> = host.mounts.iter().map(|it| (it.target.as_str(), it.readonly)).collect();
    assert_eq!(
        targets,
        [
            ("/run/docker/plugins", false),
            ("/run/docker/logging", true),
            ("/mnt/volumes", false),
            ("/state", true),
            ("/tmp", false),
        ]
    );
    let propagation = |at: usize| match &host.mounts[at].kind {
        MountKind::Bind { propagation, .. } => *propagation,
        _ => None,
    };
    assert_eq!(propagation(2), Some(Propagation::RShared));
    assert_eq!(propagation(3), Some(Propagation::RSlave));
    assert!(!host.privileged && host.restart.starts_with_daemon(false));
}

#[test]
fn who_was_granted_nothing_has_nothing_of_the_host() {
    let draft = plan::draft(&modest(), &Default::default(), &shared()).unwrap();
    let host = draft.host;
    assert_eq!((&host.network, host.userns), (&NetworkMode::Default, UsernsMode::Auto));
    assert!(host.cap_add.is_empty() && host.resources.device_rules.is_empty());
    assert_eq!(host.mounts.len(), 1);
}

#[test]
fn what_cannot_be_started_is_refused() {
    for (text, why) in [
        (r#"{"interface":{"socket":"a"}}"#, "no entrypoint"),
        (r#"{"entrypoint":["/a"]}"#, "no name of a socket"),
        (r#"{"entrypoint":["/a"],"interface":{"socket":"../a"}}"#, "no name of a socket"),
        (
            r#"{"entrypoint":["/a"],"interface":{"socket":"a","protocolscheme":"x/1"}}"#,
            "protocol \"x/1\"",
        ),
        (
            r#"{"entrypoint":["/a"],"interface":{"socket":"a"},"propagatedmount":"/a/../.."}"#,
            "propagatedMount",
        ),
        (
            r#"{"entrypoint":["/a"],"interface":{"socket":"a"},
                "mounts":[{"type":"bind","destination":"/x"}]}"#,
            "source is not specified",
        ),
        (
            r#"{"entrypoint":["/a"],"interface":{"socket":"a"},
                "mounts":[{"type":"nfs","source":"a","destination":"/x"}]}"#,
            "\"nfs\" is not supported",
        ),
    ] {
        let config = config(text);
        let refused = plan::draft(&config, &settings::initial(&config), &shared()).unwrap_err();
        assert!(refused.to_string().contains(why), "{text}: {refused}");
    }
}

#[test]
fn settings_are_set_in_dockers_words() {
    let config = config(GREEDY);
    let set = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        settings::changed(&config, &settings::initial(&config), &words)
    };
    let done = set(&["DEBUG=1", "LATER.value=a=b", "state=/x", "fuse.path=/dev/null", "args=b c"]);
    let done = done.unwrap();
    assert_eq!(done.env, ["FIXED=1", "DEBUG=1", "LATER=a=b"]);
    assert_eq!(done.mounts[0].source.as_deref(), Some("/x"));
    assert_eq!(done.devices[0].path.as_deref(), Some("/dev/null"));
    assert_eq!(done.args, ["b", "c"]);
    for (word, why) in [
        ("FIXED=2", "\"FIXED\" is not settable"),
        ("DEBUG.name=2", "\"DEBUG.name\" is not settable"),
        ("nope=1", "setting \"nope\" not found in the plugin configuration"),
        ("=1", "invalid format, must be <key>=<value>: \"=1\""),
    ] {
        assert_eq!(set(&[word]).unwrap_err().to_string(), why);
    }
    assert!(set(&["DEBUG=1", "nope=1"]).is_err(), "all or none");
    let mut next = config.clone();
    next.env = Some(next.env.unwrap().into_iter().filter(|it| it.name != "LATER").collect());
    let carried = settings::carried(&next, &done);
    assert_eq!(carried.env, ["FIXED=1", "DEBUG=1"]);
    assert_eq!(carried.mounts[0].source.as_deref(), Some("/x"));
}
