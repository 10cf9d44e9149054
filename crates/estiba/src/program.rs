//! Which program this process is: decided by the name it was started by and its first word.

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The daemon, with its name for messages and its own arguments.
    Daemon {
        /// As the user knows it: `dockerd`, `estibad`, `estiba daemon`.
        name: String,
        /// What follows the name.
        arguments: Vec<String>,
    },
    /// The registry, with its name for messages and its own arguments.
    Registry {
        /// `estiba registry`.
        name: String,
        /// What follows the name.
        arguments: Vec<String>,
    },
    /// The resolver of containers' names, as a daemon starts it: where its daemon is at home, and
    /// the host's resolv.conf.
    Resolver {
        /// What follows the name.
        arguments: Vec<String>,
    },
    /// The processes that take archives apart, started by the daemon.
    Unpacker {
        /// The number of the descriptor that orders come through.
        descriptor: String,
    },
    /// The process that holds an ordinary user's namespaces, started by a daemon.
    Keeper {
        /// The number of the descriptor that orders come through.
        descriptor: String,
    },
    /// The process that carries ports into them, started by the keeper.
    Carrier {
        /// The number of the descriptor that orders come through.
        descriptor: String,
    },
    /// The command line, which reads all words itself.
    CommandLine,
}

impl Program {
    /// Decides from `argv`, program name included.
    pub(crate) fn from_words(words: &[String]) -> Self {
        let name = words.first().map(|word| word.rsplit('/').next().unwrap_or(word));
        match (name.unwrap_or_default(), words.get(1).map(String::as_str)) {
            (name @ ("estibad" | "dockerd"), _) => {
                Self::Daemon { name: name.to_owned(), arguments: words[1..].to_vec() }
            }
            ("estiba-resolver", _) => Self::Resolver { arguments: words[1..].to_vec() },
            // Only the daemon starts it so: no environment, no other word.
            ("estiba", Some(engine::unpacker::WORD)) if words.len() == 3 => {
                Self::Unpacker { descriptor: words[2].clone() }
            }
            ("estiba", Some(rootless::KEEPER)) if words.len() == 3 => {
                Self::Keeper { descriptor: words[2].clone() }
            }
            ("estiba", Some(rootless::CARRIER)) if words.len() == 3 => {
                Self::Carrier { descriptor: words[2].clone() }
            }
            (name, Some("daemon")) => {
                Self::Daemon { name: format!("{name} daemon"), arguments: words[2..].to_vec() }
            }
            // Docker has no such command: an image's or a plugin's may come.
            (name, Some("registry")) if name != "docker" => {
                Self::Registry { name: format!("{name} registry"), arguments: words[2..].to_vec() }
            }
            _ => Self::CommandLine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_first_word_decide() {
        let daemon = |name: &str, arguments: &[&str]| Program::Daemon {
            name: name.to_owned(),
            arguments: arguments.iter().map(|w| (*w).to_owned()).collect(),
        };
        for (line, want) in [
            ("/usr/bin/estiba daemon --debug", daemon("estiba daemon", &["--debug"])),
            ("estibad -H x", daemon("estibad", &["-H", "x"])),
            ("/usr/bin/dockerd", daemon("dockerd", &[])),
            ("docker daemon", daemon("docker daemon", &[])),
            (
                "estiba registry serve",
                Program::Registry {
                    name: "estiba registry".into(),
                    arguments: vec!["serve".into()],
                },
            ),
            ("docker registry", Program::CommandLine),
            ("estiba unpacker 5", Program::Unpacker { descriptor: "5".into() }),
            ("docker unpacker 5", Program::CommandLine),
            ("estiba rootless-keeper 3", Program::Keeper { descriptor: "3".into() }),
            ("estiba rootless-carrier 7", Program::Carrier { descriptor: "7".into() }),
            ("docker rootless-keeper 3", Program::CommandLine),
            ("estiba run x daemon", Program::CommandLine),
            ("docker ps", Program::CommandLine),
            ("estiba", Program::CommandLine),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(Program::from_words(&words), want, "{line}");
        }
    }
}
