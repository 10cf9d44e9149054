//! table: the top level: which commands stand under which heading, and the flags before them.

use crate::command::Command;
use crate::flags::Flag;

use super::{
    artifact, build, container, context, image, manifest, network, own, plugin, profile, run,
    system, volume,
};

/// A heading of the top-level help page, with its commands by the name they have there.
pub(crate) struct Section {
    /// The heading.
    pub(crate) title: &'static str,
    /// Name and command.
    pub(crate) entries: &'static [(&'static str, &'static Command)],
}

/// The top-level commands.
pub(crate) static SECTIONS: &[Section] = &[
    Section {
        title: "Common Commands",
        entries: &[
            ("run", &run::RUN),
            ("exec", &container::EXEC),
            ("ps", &container::LS),
            ("build", &build::BUILD),
            ("pull", &image::PULL),
            ("push", &image::PUSH),
            ("images", &image::LS),
            ("login", &own::LOGIN),
            ("logout", &own::LOGOUT),
            ("search", &own::SEARCH),
            ("version", &own::VERSION),
            ("info", &system::INFO),
        ],
    },
    Section {
        title: "Management Commands",
        entries: &[
            ("artifact", &artifact::GROUP),
            ("builder", &build::BUILDER),
            ("buildx", &build::BUILDX),
            ("container", &container::GROUP),
            ("context", &context::GROUP),
            ("image", &image::GROUP),
            ("manifest", &manifest::GROUP),
            ("network", &network::GROUP),
            ("plugin", &plugin::GROUP),
            ("profile", &profile::GROUP),
            ("system", &system::GROUP),
            ("volume", &volume::GROUP),
        ],
    },
    Section {
        title: "Commands",
        entries: &[
            ("attach", &container::ATTACH),
            ("commit", &container::COMMIT),
            ("cp", &container::CP),
            ("create", &run::CREATE),
            ("diagnose", &profile::DIAGNOSE),
            ("diff", &container::DIFF),
            ("events", &system::EVENTS),
            ("export", &container::EXPORT),
            ("history", &image::HISTORY),
            ("import", &image::IMPORT),
            ("inspect", &own::INSPECT),
            ("kill", &container::KILL),
            ("load", &image::LOAD),
            ("logs", &container::LOGS),
            ("pause", &container::PAUSE),
            ("port", &container::PORT),
            ("ports", &network::PORTS),
            ("rename", &container::RENAME),
            ("restart", &container::RESTART),
            ("rm", &container::RM),
            ("rmi", &image::RM),
            ("save", &image::SAVE),
            ("start", &container::START),
            ("stats", &container::STATS),
            ("stop", &container::STOP),
            ("tag", &image::TAG),
            ("top", &container::TOP),
            ("unpause", &container::UNPAUSE),
            ("update", &container::UPDATE),
            ("wait", &container::WAIT),
        ],
    },
];

/// Docker's commands that this version does not have, by the words that select them.
static ABSENT: &[&str] = &[
    "checkpoint",
    "compose",
    "config",
    "node",
    "scout",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// The flags before the command. `{home}` stands for the configuration directory.
pub(crate) static GLOBALS: &[Flag] = &[
    Flag::string("config", "Location of client config files (default \"{home}\")"),
    Flag::string(
        "context",
        "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and \
         default context set with \"{prog} context use\")",
    )
    .short('c'),
    Flag::bool("debug", "Enable debug mode").short('D'),
    Flag::list("host", "Daemon socket to connect to").short('H'),
    Flag::string(
        "log-level",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \
         \"info\")",
    )
    .short('l'),
    Flag::bool("tls", "Use TLS; implied by --tlsverify"),
    Flag::string("tlscacert", "Trust certs signed only by this CA (default \"{home}/ca.pem\")"),
    Flag::string("tlscert", "Path to TLS certificate file (default \"{home}/cert.pem\")"),
    Flag::string("tlskey", "Path to TLS key file (default \"{home}/key.pem\")"),
    Flag::bool("tlsverify", "Use TLS and verify the remote"),
    Flag::bool("version", "Print version information and quit").short('v'),
];

/// The top-level command called `word`, with the name it is listed under.
pub(crate) fn find(word: &str) -> Option<(&'static str, &'static Command)> {
    let entries = SECTIONS.iter().flat_map(|section| section.entries);
    entries.copied().find(|(name, _)| *name == word)
}

/// Whether there is no such command at the top level, not even one that is said to be absent.
pub(crate) fn is_unknown(word: &str) -> bool {
    !word.starts_with("__") && word != "completion" && find(word).is_none() && !absent(word)
}

/// Why a command is not there, where that is more than that nobody made it yet.
pub(crate) fn reason(path: &str) -> Option<&'static str> {
    match path.split(' ').next()? {
        "trust" => Some(
            "it signs by a Notary server, which registries have given up; images are known by \
             digest, and signatures of sigstore and Notation are artifacts of the registry",
        ),
        "checkpoint" => Some(
            "containers are not frozen to disk; they outlive the daemon without it, and 'pause' \
             freezes one where it is",
        ),
        _ => None,
    }
}

/// Whether Docker has a command at `path` that this version lacks.
pub(crate) fn absent(path: &str) -> bool {
    ABSENT.contains(&path)
}
